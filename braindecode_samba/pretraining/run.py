"""A pretraining as a config describes it, from windows on disk to a checkpoint.

It goes on where an earlier call stopped, however that ended.
"""

import contextlib
import json
import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from skorch.callbacks import Callback

from braindecode_samba._paths import write_whole
from braindecode_samba.checkpoints import load_checkpoint
from braindecode_samba.models import SAMBAReconstructor
from braindecode_samba.nn.scaling import MODEL_SFREQ
from braindecode_samba.pretraining.accelerated import AcceleratedPretrainer
from braindecode_samba.pretraining.augment import MontageAugmentation
from braindecode_samba.pretraining.callbacks import (
    CSVLog,
    OneCycle,
    TrainingCheckpoint,
)
from braindecode_samba.pretraining.card import write_card
from braindecode_samba.pretraining.choice import Masking
from braindecode_samba.pretraining.clock import Clock
from braindecode_samba.pretraining.config import (
    Config,
    ConfigError,
    TrainingConfig,
)
from braindecode_samba.pretraining.corpora import Corpus
from braindecode_samba.pretraining.net import SAMBAPretrainer
from braindecode_samba.pretraining.preparing import read_stores
from braindecode_samba.pretraining.probing import BenchmarkProbe, read_columns
from braindecode_samba.pretraining.state import has_training_state
from braindecode_samba.pretraining.store import WindowStore
from braindecode_samba.pretraining.watching import (
    ReconstructionFigure,
    SpatialWeights,
)
from braindecode_samba.signals.arrays import check_number

_CONFIG = "pretrain.json"


def pretrain(
    config: Config,
    stores: Path,
    output: Path,
    *,
    max_minutes: float | None = None,
    device: str = "auto",
    workers: int = 0,
    every_batches: int = 100,
) -> bool:
    """Train, or go on with what a folder holds; write a checkpoint when it is done.

    Parameters
    ----------
    config : Config
        Settings of the run.
    stores : pathlib.Path
        Windows of `prepare`.
    output : pathlib.Path
        Receives ``checkpoint/`` (weights, configuration, card and config),
        ``history.csv``, ``figures/``, ``spatial/``, and ``state/``, from which a run
        goes on.
    max_minutes : float, optional
        Stop after so many, between two batches.
    device : str
        "auto" takes CUDA if there is any, else the CPU.
    workers : int
        Processes that read windows.
    every_batches : int
        Batches from one state to the next.

    Returns
    -------
    bool
        Whether the run is finished.

    Raises
    ------
    ConfigError
        If settings don't go together, or with what the folders hold.
    ValueError
        If `max_minutes` or `every_batches` can't be.
    KeyboardInterrupt
        If the user stops it.
    """
    if max_minutes is not None:
        check_number(max_minutes, "max_minutes", min_val=0)
    state = output / "state"
    going_on = has_training_state(state)
    learnt, watched = read_stores(config, stores)
    montages = {"seed": config.seed, **config.montages}
    drawn = {n: MontageAugmentation(s, **montages) for n, s in learnt.items()}
    windows = _Excerpt(drawn, config.mixing)
    n_epochs = _plan(windows, config.training)
    clock = Clock(state, max_minutes)
    callbacks: list[Callback] = [OneCycle(**config.one_cycle)]
    if config.probe is not None:
        rate = config.model.get("model_sfreq", MODEL_SFREQ)
        columns = read_columns(stores / config.probe.folder, rate)
        callbacks.append(BenchmarkProbe(columns, every=config.probe.every))
    callbacks += [
        ReconstructionFigure(output / "figures"),
        SpatialWeights(output / "spatial"),
        CSVLog(output / "history.csv"),
        clock,
        TrainingCheckpoint(state, every_batches=every_batches),
    ]
    net = _make_net(config, callbacks, n_epochs, device, workers)
    _keep_config(config, output, going_on)
    if net.process_[0] == 0:
        _tell(learnt, watched)
    with contextlib.suppress(KeyboardInterrupt):
        net.fit(
            windows,
            valid=Corpus(watched) if watched else None,
            resume=state if going_on else None,
        )
    if clock.epochs_done_ < n_epochs:
        if not clock.is_over_:
            raise KeyboardInterrupt
        return False
    if net.process_[0] == 0:
        card = write_card(config, net, learnt, watched, clock.seconds_ / 3600)
        folder = net.save_checkpoint(output / "checkpoint", card=card)
        # where a checkpoint lay on this machine is nobody's business
        init = config.init and Path(config.init).name
        _write_config(config.model_copy(update={"init": init}), folder)
    return True


class _Excerpt(Corpus):
    """A corpus of which an epoch draws so many windows, or all."""

    most: int | None = None

    def order(self, epoch: int, seed: int) -> NDArray[np.int64]:
        """Rows of one epoch."""
        return super().order(epoch, seed)[: self.most]


def _plan(corpus: _Excerpt, training: TrainingConfig) -> int:
    """Say what an epoch draws, and give the number of epochs."""
    if training.steps is None:
        return training.epochs
    n_windows = sum(corpus.n_drawn)
    epochs = math.ceil(training.steps * training.batch_size / n_windows)
    drawn = math.ceil(training.steps / epochs) * training.batch_size
    corpus.most = min(drawn, n_windows)
    return epochs


def _make_net(
    config: Config,
    callbacks: Sequence[Callback],
    n_epochs: int,
    device: str,
    workers: int,
) -> SAMBAPretrainer:
    """Build the net, for the processes of accelerate if it has started several."""
    training = config.training
    n_processes = int(os.environ.get("WORLD_SIZE", "1"))
    if training.batch_size % n_processes:
        raise ConfigError(
            f"batch_size={training.batch_size} can't be shared by {n_processes} "
            "processes: pass a multiple"
        )
    settings: dict[str, Any] = {
        "masking": Masking(**config.masking),
        "lr": training.lr,
        "max_epochs": n_epochs,
        "batch_size": training.batch_size // n_processes,
        "iterator_train__num_workers": workers,
        "iterator_train__persistent_workers": workers > 0,
        "callbacks": list(callbacks),
        "random_state": config.seed,
        "verbose": 0,
        **_choose_module(config),
        **{f"criterion__{name}": value for name, value in config.loss.items()},
    }
    if n_processes == 1:
        precise = training.mixed_precision
        return SAMBAPretrainer(mixed_precision=precise, device=device, **settings)
    from accelerate import Accelerator

    accelerator = Accelerator(
        cpu=device == "cpu" or not torch.cuda.is_available(),
        mixed_precision="bf16" if training.mixed_precision else "no",
    )
    return AcceleratedPretrainer(accelerator=accelerator, **settings)


def _choose_module(config: Config) -> dict[str, Any]:
    """Take the network of a checkpoint, or describe a new one."""
    if config.init is None:
        return {f"module__{name}": value for name, value in config.model.items()}
    model, _ = load_checkpoint(config.init, SAMBAReconstructor, verbose=0)
    saved = model.get_config()  # type: ignore[operator]
    for name, value in {"model_sfreq": MODEL_SFREQ, **config.model}.items():
        if saved[name] != value:
            raise ConfigError(
                f"the checkpoint {config.init} has {name}={saved[name]!r}, and the "
                f"config {value!r}: pass the checkpoint's in the config's model"
            )
    return {"module": model}


def _keep_config(config: Config, output: Path, going_on: bool) -> None:
    """Write the config beside the run, or refuse one that is not that run's."""
    if going_on:
        there = json.loads((output / _CONFIG).read_text("utf-8"))
        settings = config.model_dump(mode="json")
        if differ := [name for name in settings if there.get(name) != settings[name]]:
            raise ConfigError(
                f"{output} holds a run with other settings of {', '.join(differ)}: go "
                "on with the same ones, or choose another --output"
            )
    _write_config(config, output)


def _write_config(config: Config, folder: Path) -> None:
    write_whole(folder / _CONFIG, config.model_dump_json(indent=2).encode())


def _tell(learnt: dict[str, WindowStore], watched: dict[str, WindowStore]) -> None:
    for name, store in learnt.items():
        people = f"{len(store)} windows of {len(store.subjects)} people"
        other = watched.get(name)
        held_out = f"{len(other)} of {', '.join(other.subjects)}" if other else "none"
        print(f"{name}: {people}; held out {held_out}")
