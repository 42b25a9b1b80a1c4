"""The card of a checkpoint: what was done, with what, on whom, and by which command.

Facts come from the config, the windows and the trained net.
"""

import os
import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any

from braindecode_samba.pretraining.config import Config
from braindecode_samba.pretraining.environment import name_hardware
from braindecode_samba.pretraining.net import SAMBAPretrainer
from braindecode_samba.pretraining.store import WindowStore

_CURVE = (
    "train_loss",
    "valid_loss",
    "valid_time",
    "valid_frequency",
    "valid_envelope",
    "probe_auc",
)
_USAGE = """```python
from braindecode_samba import SAMBAReconstructor

model = SAMBAReconstructor.from_pretrained("THIS FOLDER")
```"""


def write_card(
    config: Config,
    net: SAMBAPretrainer,
    learnt: Mapping[str, WindowStore],
    watched: Mapping[str, WindowStore],
    hours: float,
) -> str:
    """Write the card as Markdown.

    Parameters
    ----------
    config : Config
        All settings of the run.
    net : SAMBAPretrainer
        Trained.
    learnt, watched : mapping of str to WindowStore
        What was trained on, and what was held out, by the name of the corpus.
    hours : float
        That training took, over all its parts.

    Returns
    -------
    str
        The card.
    """
    device = next(net.model_.parameters()).device
    several = f"{net.process_[1]} x " if net.process_[1] > 1 else ""
    versions = [f"{name} {version(name)}" for name in ("braindecode-samba", "torch")]
    sections = [
        f"---\nlibrary_name: braindecode\nlicense: {config.licence}\n---",
        f"# {config.name}",
        "A `SAMBAReconstructor` that was pretrained to rebuild what is hidden of "
        "windows of EEG.",
        _USAGE,
        "## Training data",
        _data(config, learnt, watched),
        "## Signals",
        _signals(config, next(iter(learnt.values())).settings, net),
        "## Recipe",
        _recipe(config, net),
        f"```bash\n{_command(net.process_[1])}\n```",
        "The config is `pretrain.json` beside this file.",
        "## Curve",
        _curve(net),
        "## Cost",
        f"{hours:.2f} hours on {several}{name_hardware(device)}, "
        f"{datetime.now(UTC):%Y-%m-%d}. {', '.join(versions)}",
        "## Limits",
        _limits(learnt, watched),
        "## Licence",
        f"Weights: {config.licence}. The recordings have their own licences, above; "
        "they are not part of this folder.",
    ]
    return "\n\n".join(sections) + "\n"


def _command(n_processes: int) -> str:
    several = f"accelerate launch --num_processes {n_processes} -m braindecode_samba"
    return (
        f"{several if n_processes > 1 else 'braindecode-samba'} pretrain "
        "--config pretrain.json --stores STORES --output OUTPUT"
    )


def _data(
    config: Config,
    learnt: Mapping[str, WindowStore],
    watched: Mapping[str, WindowStore],
) -> str:
    rows, credits = [], []
    for name, store in learnt.items():
        corpus = config.corpora.get(name)
        title = corpus and corpus.title or name
        other = watched.get(name)
        counts = sorted({len(r.ch_names) for r in store.recordings if r.n_windows})
        rows.append(
            [
                title,
                _list_subjects(store.subjects),
                f"{len(store)} of {sum(r.n_windows > 0 for r in store.recordings)} "
                "files",
                ", ".join(map(str, counts)),
                _list_subjects(other.subjects) if other else "nobody",
                len(other) if other else 0,
                corpus.licence if corpus else "not stated",
            ]
        )
        if corpus and corpus.attribution:
            credits.append(f"- {title}: {corpus.attribution}")
    head = "corpus, trained on, windows, electrodes, held out, windows, licence"
    text = _table(head.split(", "), rows)
    return text + ("\n\nAttribution:\n\n" + "\n".join(credits) if credits else "")


def _table(head: Iterable[str], rows: Iterable[Iterable[Any]]) -> str:
    columns = list(head)
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join(f"| {' | '.join(map(str, line))} |" for line in lines)


def _list_subjects(subjects: Iterable[str]) -> str:
    """Names in order, runs of numbers as first to last."""
    runs: list[list[str]] = []
    following = None
    for name in sorted(subjects):
        stem, digits = re.fullmatch(r"(.*?)(\d*)", name).groups()  # type: ignore[union-attr]
        place = (stem, int(digits)) if digits else None
        if place and place == following:
            runs[-1][1:] = [name]
        else:
            runs.append([name])
        following = (stem, int(digits) + 1) if digits else None
    return ", ".join(" to ".join(run) for run in runs)


def _signals(config: Config, settings: Mapping[str, Any], net: SAMBAPretrainer) -> str:
    model = net.model_.get_config()  # type: ignore[operator]
    low, high = (settings[edge] for edge in ("l_freq", "h_freq"))
    band = f"{low or 0:g} to {high or settings['sfreq'] / 2:g} Hz"
    montages = config.montages.get("kinds", "the defaults of MontageAugmentation")
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


def _recipe(config: Config, net: SAMBAPretrainer) -> str:
    training = config.training
    steps = net.history[-1]["train_batch_count"]
    begin = "random weights"
    if config.init is not None:
        begin = f"the weights of `{os.path.basename(config.init)}`"
    lines = [
        f"- Begun with {begin}.",
        f"- Masks: {net.masking}.",
        f"- Loss: {net.criterion_}.",
        f"- AdamW, OneCycle up to {training.lr:g} {config.one_cycle or ''}; batches of "
        f"{training.batch_size} windows.",
        f"- {len(net.history)} epochs of {steps} steps; corpora mixed by "
        f"{config.mixing!r}.",
        f"- Precision: {'bfloat16' if training.mixed_precision else 'float32'}. "
        f"Seed: {config.seed}.",
        f"- Network: {config.model or 'the published sizes'}.",
    ]
    return "\n".join(lines)


def _curve(net: SAMBAPretrainer) -> str:
    columns = [name for name in _CURVE if any(row.get(name) for row in net.history)]
    rows = []
    for number, row in enumerate(net.history, 1):
        values = [row.get(name) for name in columns]
        cells = ["" if value is None else f"{value:.4f}" for value in values]
        rows.append([number, *cells])
    return _table(["epoch", *columns], rows)


def _limits(
    learnt: Mapping[str, WindowStore], watched: Mapping[str, WindowStore]
) -> str:
    known, seen = (
        "; ".join(f"{_list_subjects(s.subjects)} ({n})" for n, s in stores.items())
        for stores in (learnt, watched)
    )
    lines = [
        "- Not a medical device. What these subjects, caps and amplifiers don't show "
        "the network doesn't know.",
        f"- It has seen {known}: no score on these says anything about other people.",
        f"- The curve was watched on {seen}, which were not trained on."
        if seen
        else "",
        "- A low loss is no promise for decoding: compare with a network from scratch.",
    ]
    return "\n".join(filter(None, lines))
