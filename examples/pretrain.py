"""
Pretrain SAMBA on folders of recordings
=======================================

In two steps. ``prepare`` filters recordings (EDF, BDF, FIF and whatever else MNE reads)
and cuts them into windows, once; ``train`` learns to rebuild what is hidden of them::

    python examples/pretrain.py prepare --config examples/configs/samba_e.json \
        --data-path FOLDER --stores STORES
    python examples/pretrain.py train --config examples/configs/samba_e.json \
        --stores STORES --output OUTPUT

Either goes on where it stopped when it is called again: ``train --max-minutes 120``
trains for two hours at a time. On several GPUs train by
``accelerate launch examples/pretrain.py train ...``, with the same result.

A config is JSON. The smallest takes all recordings of a folder::

    {"corpora": {"mine": {"folder": "recordings"}}}

- ``corpora``: for each a ``folder`` below the data path, ``files`` (patterns),
  ``subject`` (a regular expression on a file's path in that folder, of which group 1,
  or all of it, names the subject), ``subjects`` to take and those of them that are
  ``held_out`` to watch the loss (names, regular expressions or ranges such as
  ``"S001..S028"``), and for the card ``title``, ``licence`` and ``attribution``.
  Electrodes go by their names, old (T3) and dotted (``Fc5.``) ones too, or by their
  positions in the file; channels whose place nobody knows are left out.
- ``windows``: arguments of `write_windows`.
- ``mixing``, ``montages``, ``masking``, ``loss``, ``model``, ``one_cycle``: arguments
  of `Corpus`, `MontageAugmentation`, `Masking`, `TimeFrequencyLoss`,
  `SAMBAReconstructor` and `OneCycle`.
- ``training``: ``epochs`` or else ``steps`` (whole epochs, each of a part of the
  windows if there are more), ``batch_size`` over all processes together, ``lr``,
  ``mixed_precision``.
- ``probe``: labels to watch, of the ``subjects`` of one ``corpus``, every so many
  epochs; ``label`` is a regular expression on file names.
- ``name``, ``seed``, and ``licence`` of the weights.

OUTPUT then holds ``checkpoint/`` (weights, config and card), ``history.csv``,
``figures/``, ``spatial/`` and ``state/``, from which a run goes on.
"""

import argparse
import json
import math
import os
import re
import shlex
import time
from pathlib import Path

import numpy as np
import torch
from pretrain_card import write_card
from pretrain_config import is_chosen, read_config
from pretrain_windows import prepare, read_stores
from skorch.callbacks import Callback
from torch.utils.data import Dataset
from tqdm import tqdm

from braindecode_samba._paths import write_whole
from braindecode_samba.pretraining import (
    AcceleratedPretrainer,
    Corpus,
    CSVLog,
    LinearProbe,
    Masking,
    MontageAugmentation,
    OneCycle,
    ReconstructionFigure,
    SAMBAPretrainer,
    SpatialWeights,
    TrainingCheckpoint,
    WindowStore,
    has_training_state,
)
from braindecode_samba.pretraining.batches import window_lengths
from braindecode_samba.pretraining.state import save_training_state


class Excerpt(Dataset):
    """A data set of which an epoch draws so many windows."""

    def __init__(self, dataset, n_drawn):
        self.dataset, self.n_drawn = dataset, n_drawn
        self.lengths = window_lengths(dataset)

    def __len__(self):
        return len(self.dataset)

    def __getitem__(self, row):
        return self.dataset[row]

    def order(self, epoch, seed):
        """Rows of one epoch."""
        return self.dataset.order(epoch, seed)[: self.n_drawn]

    def set_epoch(self, epoch):
        """Pass on which epoch comes next."""
        self.dataset.set_epoch(epoch)


def plan(corpus, training):
    """Windows as an epoch draws them, and the number of epochs."""
    if training["steps"] is None:
        return corpus, training["epochs"]
    n_windows = len(corpus.order(1, 0))
    epochs = math.ceil(training["steps"] * training["batch_size"] / n_windows)
    drawn = math.ceil(training["steps"] / epochs) * training["batch_size"]
    return Excerpt(corpus, min(drawn, n_windows)), epochs


def make_probe(probe, stores):
    """Build the callback that scores labels, which are parts of file names."""
    store = WindowStore(stores / probe["corpus"])
    chosen = [s for s in store.subjects if is_chosen(s, probe["subjects"])]
    store = WindowStore(stores / probe["corpus"], chosen)
    labels, groups = [], []
    for recording in store.recordings:
        match = re.search(probe["label"], recording.source)
        if match is None:
            raise SystemExit(
                f"the probe's {probe['label']!r} is not in {recording.source}"
            )
        label = match[1] if match.re.groups else match[0]
        labels += [label] * recording.n_windows
        groups += [recording.subject] * recording.n_windows
    return LinearProbe(store, np.array(labels), groups, every=probe["every"])


class Clock(Callback):
    """Count the minutes of a run over all its parts, and end a part when time is up.

    A part ends between two batches, with the state written.
    """

    def __init__(self, state, max_minutes):
        self.state, self.max_minutes = state, max_minutes

    def initialize(self):
        """Begin at nothing; what goes on from a state brings its own numbers."""
        self.seconds_, self.epochs_done_ = 0.0, 0
        self.bar = None
        return self

    def on_train_begin(self, net, *args, **kwargs):
        """Start the clock of this part."""
        self.begin = self.last = time.monotonic()

    def on_batch_end(self, net, batch=None, training=False, **kwargs):
        """Move the bar, and stop if time is up."""
        self.tick()
        if not training:
            return
        done = sum("train_loss" in row for row in net.history[-1]["batches"])
        done += (len(net.history) - 1) * net.n_batches_
        if self.bar is None:
            off = True if net.process_[0] else None  # None: only on a terminal
            total = net.max_epochs * net.n_batches_
            self.bar = tqdm(total=total, initial=done - 1, unit="batch", disable=off)
        self.bar.update(done - self.bar.n)
        if self.is_over(net):
            if net.process_[0] == 0:
                save_training_state(net, self.state, finished=False)
            raise KeyboardInterrupt  # skorch's way to end a fit between two batches

    def on_epoch_end(self, net, *args, **kwargs):
        """Print the losses of this epoch."""
        self.tick()
        self.epochs_done_ = len(net.history)
        if net.process_[0] == 0:
            names = ("train_loss", "valid_loss", "valid_time", "probe_auc")
            row = net.history[-1]
            values = [f"{n} {row[n]:.4f}" for n in names if row.get(n) is not None]
            minutes = f"{self.seconds_ / 60:.1f} minutes"
            place = f"epoch {len(net.history)}/{net.max_epochs}"
            tqdm.write("  ".join([place, *values, minutes]))

    def on_train_end(self, net, *args, **kwargs):
        """Close the bar."""
        if self.bar is not None:
            self.bar.close()

    def tick(self):
        """Add the time since the last call."""
        now = time.monotonic()
        self.seconds_, self.last = self.seconds_ + now - self.last, now

    def is_over(self, net):
        """Whether this part of the run is over, for any of its processes."""
        if self.max_minutes is None:
            return False
        over = time.monotonic() - self.begin > 60 * self.max_minutes
        if net.process_[1] == 1:
            return over
        flag = torch.tensor(float(over), device=net.accelerator.device)
        return bool(net.accelerator.reduce(flag, "sum"))


def make_net(config, callbacks, n_epochs, args):
    """Build the net, for the processes of accelerate if it has started several."""
    training = config["training"]
    n_processes = int(os.environ.get("WORLD_SIZE", "1"))
    if training["batch_size"] % n_processes:
        raise SystemExit(
            f"batch_size={training['batch_size']} can't be shared by {n_processes} "
            "processes: pass a multiple"
        )
    settings = {f"module__{name}": value for name, value in config["model"].items()}
    settings |= {f"criterion__{name}": value for name, value in config["loss"].items()}
    settings |= {
        "masking": Masking(**config["masking"]),
        "lr": training["lr"],
        "max_epochs": n_epochs,
        "batch_size": training["batch_size"] // n_processes,
        "iterator_train__num_workers": args.workers,
        "iterator_train__persistent_workers": args.workers > 0,
        "callbacks": callbacks,
        "random_state": config["seed"],
        "verbose": 0,
    }
    if n_processes == 1:
        precise = training["mixed_precision"]
        return SAMBAPretrainer(mixed_precision=precise, device=args.device, **settings)
    from accelerate import Accelerator

    accelerator = Accelerator(
        cpu=args.device == "cpu" or not torch.cuda.is_available(),
        mixed_precision="bf16" if training["mixed_precision"] else "no",
    )
    return AcceleratedPretrainer(accelerator=accelerator, **settings)


def train(config, args):
    """Train, or go on with what OUTPUT holds; write a checkpoint when it is done."""
    output = args.output
    state = output / "state"
    keep_config(config, output, going_on=has_training_state(state))
    learnt, watched = read_stores(config, args.stores)
    montages = {"seed": config["seed"], **config["montages"]}
    drawn = {n: MontageAugmentation(s, **montages) for n, s in learnt.items()}
    windows, n_epochs = plan(Corpus(drawn, config["mixing"]), config["training"])
    clock = Clock(state, args.max_minutes)
    callbacks = [OneCycle(**config["one_cycle"])]
    if config["probe"] is not None:
        callbacks.append(make_probe(config["probe"], args.stores))
    callbacks += [
        ReconstructionFigure(output / "figures"),
        SpatialWeights(output / "spatial"),
        CSVLog(output / "history.csv"),
        clock,
        TrainingCheckpoint(state, every_batches=args.every_batches),
    ]
    net = make_net(config, callbacks, n_epochs, args)
    net.fit(
        windows,
        valid=Corpus(watched) if watched else None,
        resume=state if has_training_state(state) else None,
    )
    if net.process_[0]:
        return
    if clock.epochs_done_ < n_epochs:
        print(f"stopped in epoch {len(net.history)} of {n_epochs}: call again to go on")
        return
    hours = clock.seconds_ / 3600
    card = write_card(config, net, learnt, watched, hours, command(args))
    folder = net.save_checkpoint(output / "checkpoint", card=card)
    write_whole(folder / "pretrain.json", json.dumps(config, indent=2).encode())
    print(f"wrote {folder}")


def keep_config(config, output, going_on):
    """Write the config beside the run, or refuse one that is not that run's."""
    path = output / "pretrain.json"
    if going_on and (there := json.loads(path.read_text())) != config:
        differ = [name for name in config if there.get(name) != config[name]]
        raise SystemExit(
            f"{output} holds a run with other settings of {', '.join(differ)}: go on "
            "with the same ones, or choose another --output"
        )
    write_whole(path, json.dumps(config, indent=2).encode())


def command(args):
    """Give the command of this run, with names for folders of this machine."""
    words = ["examples/pretrain.py", "train", "--config", Path(args.config).name]
    words += ["--stores", "STORES", "--output", "OUTPUT"]
    for name in ("epochs", "steps", "batch_size", "lr", "seed"):
        if getattr(args, name) is not None:
            words += ["--" + name.replace("_", "-"), str(getattr(args, name))]
    if args.mixed_precision:
        words.append("--mixed-precision")
    n_processes = int(os.environ.get("WORLD_SIZE", "1"))
    several = ["accelerate", "launch", "--num_processes", str(n_processes)]
    return shlex.join([*(several if n_processes > 1 else ["python"]), *words])


def main(arguments=None):
    """Run a stage as the arguments say; those of the command line by default."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[1])
    stages = parser.add_subparsers(dest="stage", required=True)
    cut, run = (stages.add_parser(name) for name in ("prepare", "train"))
    for one in (cut, run):
        one.add_argument("--config", required=True, help="JSON file")
        one.add_argument("--stores", required=True, type=Path, help="of windows")
    known = os.environ.get("BRAINDECODE_SAMBA_DATA")
    cut.add_argument(
        "--data-path",
        nargs="+",
        default=known.split(os.pathsep) if known else [],
        help="folders with recordings; BRAINDECODE_SAMBA_DATA by default",
    )
    run.add_argument("--output", required=True, type=Path)
    for name, kind in (("epochs", int), ("steps", int), ("batch-size", int)):
        run.add_argument(f"--{name}", type=kind, help="instead of the config's")
    run.add_argument("--lr", type=float, help="instead of the config's")
    run.add_argument("--seed", type=int, help="instead of the config's")
    run.add_argument("--mixed-precision", action="store_true", default=None)
    run.add_argument("--device", default="auto", help="auto, cpu, cuda")
    run.add_argument("--workers", type=int, default=0, help="that read windows")
    run.add_argument("--every-batches", type=int, default=100, help="write the state")
    run.add_argument("--max-minutes", type=float, help="stop then, to go on later")
    args = parser.parse_args(arguments)
    config = read_config(args.config, vars(args))
    if args.stage == "prepare":
        prepare(config, args.data_path, args.stores)
    else:
        train(config, args)


if __name__ == "__main__":
    main()
