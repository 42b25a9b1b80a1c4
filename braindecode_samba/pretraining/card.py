"""The card of a checkpoint: what was done, with what, on whom, and by which command.

The words are in ``card.md``; facts come from the config, the windows and the trained
net.
"""

import os
import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from braindecode_samba.pretraining.config import Config
from braindecode_samba.pretraining.environment import name_hardware
from braindecode_samba.pretraining.net import SAMBAPretrainer
from braindecode_samba.pretraining.store import WindowStore

_TEMPLATE = Path(__file__).with_name("card.md")
_CURVE = (
    "train_loss",
    "valid_loss",
    "valid_time",
    "valid_frequency",
    "valid_envelope",
    "probe_mean",
)


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
    n_processes = net.process_[1]
    hardware = name_hardware(next(net.model_.parameters()).device)
    settings = next(iter(learnt.values())).settings
    begin = "random weights"
    if config.init is not None:
        begin = f"the weights of `{os.path.basename(config.init)}`"
    watching = ""
    if watched:
        watching = (
            f"- The curve was watched on {_list_people(watched)}, which were not "
        )
        watching += "trained on.\n"
    launch = f"accelerate launch --num_processes {n_processes} -m braindecode_samba"
    packages = ("braindecode-samba", "torch")
    return _TEMPLATE.read_text("utf-8").format(
        config=config,
        net=net,
        model=net.model_.get_config(),  # type: ignore[operator]
        settings=settings,
        low=settings["l_freq"] or 0,
        high=settings["h_freq"] or settings["sfreq"] / 2,
        data=_data(config, learnt, watched),
        montages=config.montages.get("kinds", "the defaults of MontageAugmentation"),
        begin=begin,
        one_cycle=config.one_cycle or "",
        n_epochs=len(net.history),
        n_steps=net.history[-1]["train_batch_count"],
        precision="bfloat16" if config.training.mixed_precision else "float32",
        network=config.model or "the published sizes",
        command=launch if n_processes > 1 else "braindecode-samba",
        curve=_curve(net),
        hours=hours,
        hardware=f"{n_processes} x {hardware}" if n_processes > 1 else hardware,
        today=datetime.now(UTC),
        versions=", ".join(f"{name} {version(name)}" for name in packages),
        seen=_list_people(learnt),
        watching=watching,
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


def _curve(net: SAMBAPretrainer) -> str:
    columns = [name for name in _CURVE if any(row.get(name) for row in net.history)]
    rows = []
    for number, row in enumerate(net.history, 1):
        values = [row.get(name) for name in columns]
        cells = ["" if value is None else f"{value:.4f}" for value in values]
        rows.append([number, *cells])
    return _table(["epoch", *columns], rows)


def _list_people(stores: Mapping[str, WindowStore]) -> str:
    return "; ".join(f"{_list_subjects(s.subjects)} ({n})" for n, s in stores.items())
