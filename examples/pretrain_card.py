"""The card of a checkpoint of `pretrain.py`: what was done, with what, and by whom."""

import os
import platform
import re
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import torch

CURVE = (
    "train_loss",
    "valid_loss",
    "valid_time",
    "valid_frequency",
    "valid_envelope",
    "probe_auc",
)


def write_card(config, net, learnt, watched, hours, command):
    """Write the card as Markdown.

    Parameters
    ----------
    config : dict
        All settings of the run.
    net : SAMBAPretrainer
        Trained.
    learnt, watched : dict of WindowStore
        What was trained on, and what was held out, by the name of the corpus.
    hours : float
        That training took, over all its parts.
    command : str
        That repeats the run.

    Returns
    -------
    str
        The card.
    """
    sections = [
        _front_matter(config),
        f"# {config['name']}",
        "A `SAMBAReconstructor` that was pretrained to rebuild what is hidden of "
        "windows of EEG.",
        _USAGE,
        "## Training data",
        _data(config, learnt, watched),
        "## Signals",
        _signals(config, next(iter(learnt.values())).settings, net),
        "## Recipe",
        _recipe(config, net),
        f"```bash\n{command}\n```",
        "The config, with the arguments in it, is `pretrain.json` beside this file.",
        "## Curve",
        _curve(net),
        "## Cost",
        f"{hours:.2f} hours on {_hardware(net)}, {datetime.now(UTC):%Y-%m-%d}. "
        + ", ".join(f"{p} {version(p)}" for p in ("braindecode-samba", "torch")),
        "## Limits",
        _limits(learnt, watched),
        "## Licence",
        f"Weights: {config['licence']}. The recordings have their own licences, above; "
        "they are not part of this folder.",
    ]
    return "\n\n".join(sections) + "\n"


_USAGE = """```python
from braindecode_samba import SAMBAReconstructor

model = SAMBAReconstructor.from_pretrained("THIS FOLDER")
```"""


def _front_matter(config):
    return f"---\nlibrary_name: braindecode\nlicense: {config['licence']}\n---"


def _data(config, learnt, watched):
    rows = [
        "| corpus | trained on | windows | electrodes | held out | windows | licence |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    credits = []
    for name, store in learnt.items():
        corpus = config["corpora"][name]
        other = watched.get(name)
        counts = sorted({len(r.ch_names) for r in store.recordings if r.n_windows})
        cells = [
            corpus["title"] or name,
            _list_subjects(store.subjects),
            f"{len(store)} of {sum(r.n_windows > 0 for r in store.recordings)} files",
            ", ".join(map(str, counts)),
            _list_subjects(other.subjects) if other else "nobody",
            str(len(other)) if other else "0",
            corpus["licence"],
        ]
        rows.append("| " + " | ".join(cells) + " |")
        if corpus["attribution"]:
            credits.append(f"- {corpus['title'] or name}: {corpus['attribution']}")
    text = "\n".join(rows)
    return text + ("\n\nAttribution:\n\n" + "\n".join(credits) if credits else "")


def _list_subjects(subjects):
    """Names in order, runs of numbers as first to last."""
    parts = [re.fullmatch(r"(.*?)(\d*)", name).groups() for name in sorted(subjects)]
    runs = []
    for name, (stem, digits) in zip(sorted(subjects), parts, strict=True):
        number = int(digits) if digits else None
        if runs and number is not None and runs[-1]["next"] == (stem, number):
            runs[-1] |= {"last": name, "next": (stem, number + 1)}
            continue
        following = (stem, number + 1) if number is not None else None
        runs.append({"first": name, "last": name, "next": following})
    return ", ".join(
        run["first"]
        if run["first"] == run["last"]
        else f"{run['first']} to {run['last']}"
        for run in runs
    )


def _signals(config, settings, net):
    model = net.model_.get_config()
    low, high = (settings[edge] for edge in ("l_freq", "h_freq"))
    band = f"{low or 0:g} to {high or settings['sfreq'] / 2:g} Hz"
    montages = config["montages"].get("kinds", "the defaults of MontageAugmentation")
    lines = [
        f"- Windows of {settings['window_seconds']:g} s, one every "
        f"{settings['stride_seconds']:g} s; whole recordings filtered to {band} (MNE, "
        f"zero phase) and resampled to {settings['sfreq']:g} Hz.",
        "- Any unit: each channel minus its median, and the window in units of its "
        f"robust deviation (`scale={model['scale']!r}`) inside the model.",
        f"- Rate of the model: {model['model_sfreq']:g} Hz; `sfreq=` resamples inside.",
        f"- Positions: metres, {model['coordinate_frame']} frame for the targets; "
        "electrodes come in MNE's head frame.",
        f"- Montages that were made of each window: {montages}.",
    ]
    return "\n".join(lines)


def _recipe(config, net):
    training = config["training"]
    last = net.history[-1]["train_batch_count"]
    lines = [
        f"- Masks: {net.masking}.",
        f"- Loss: {net.criterion_}.",
        f"- AdamW, OneCycle up to {training['lr']:g} {config['one_cycle'] or ''}; "
        f"batches of {training['batch_size']} windows.",
        f"- {len(net.history)} epochs of {last} steps; corpora mixed by "
        f"{config['mixing']!r}.",
        f"- Precision: {'bfloat16' if training['mixed_precision'] else 'float32'}. "
        f"Seed: {config['seed']}.",
        f"- Network: {config['model'] or 'the published sizes'}.",
    ]
    return "\n".join(lines)


def _curve(net):
    columns = [name for name in CURVE if any(row.get(name) for row in net.history)]
    rows = [
        "| epoch | " + " | ".join(columns) + " |",
        "| --- " * (len(columns) + 1) + "|",
    ]
    for number, row in enumerate(net.history, 1):
        values = [row.get(name) for name in columns]
        cells = ["" if value is None else f"{value:.4f}" for value in values]
        rows.append("| " + " | ".join([str(number), *cells]) + " |")
    return "\n".join(rows)


def _hardware(net):
    n_processes = net.process_[1]
    several = f"{n_processes} x " if n_processes > 1 else ""
    device = next(net.model_.parameters()).device
    if device.type == "cuda":
        return several + torch.cuda.get_device_name(device)
    name, info = platform.machine(), Path("/proc/cpuinfo")
    if info.is_file():
        found = re.search(r"^model name\s*:\s*(.+)$", info.read_text(), re.MULTILINE)
        name = found[1] if found else name
    return f"{several}{torch.get_num_threads()} of {os.cpu_count()} cores of {name}"


def _limits(learnt, watched):
    known = [f"{_list_subjects(s.subjects)} ({name})" for name, s in learnt.items()]
    seen = [f"{_list_subjects(s.subjects)} ({name})" for name, s in watched.items()]
    lines = [
        "- Not a medical device. What these subjects, caps and amplifiers don't show "
        "the network doesn't know.",
        f"- It has seen {'; '.join(known)}: no score on these says anything about "
        "other people.",
    ]
    if seen:
        lines.append(
            f"- The curve was watched on {'; '.join(seen)}, which were not trained on."
        )
    lines.append(
        "- A low loss is no promise for decoding: compare with a network from scratch."
    )
    return "\n".join(lines)
