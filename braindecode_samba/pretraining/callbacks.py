"""Callbacks that steer a run: rate, masks, checkpoints and a table of its history.

What looks at a run without changing it is in `braindecode_samba.pretraining.watching`;
progress bar, early stopping and TensorBoard are skorch's own.
"""

import math
import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

import pandas as pd
from skorch.callbacks import Callback

from braindecode_samba._paths import write_whole
from braindecode_samba.pretraining.state import (
    count_batches,
    has_training_state,
    save_training_state,
)


@dataclass(eq=False, repr=False)
class OneCycle(Callback):
    """Learning rate up and down once in a run, a step a batch.

    The rate follows from the place in the run, `max_epochs` times the batches of an
    epoch, which is read off the history: it is right after a resume.  It is recorded
    for each batch as ``lr``.

    Parameters
    ----------
    max_lr : float, optional
        Highest rate; that of the net by default.
    pct_start : float
        Share of the run in which the rate rises.
    div_factor : float
        Highest rate over the first one.
    final_div_factor : float
        First rate over the last one.
    momentum : tuple of float or None
        First and lowest momentum (first beta of Adam), which runs against the rate;
        None leaves it alone.

    Notes
    -----
    The curve is that of `torch.optim.lr_scheduler.OneCycleLR`; skorch's scheduler loses
    its place in it after a resume.  Shares and factors are those of the published run.
    """

    max_lr: float | None = None
    pct_start: float = 0.1
    div_factor: float = 2.0
    final_div_factor: float = 100.0
    momentum: tuple[float, float] | None = (0.95, 0.85)

    def initialize(self) -> Self:
        """Check the settings."""
        if not 0 <= self.pct_start <= 1:
            raise ValueError(f"pct_start={self.pct_start}: pass a share from 0 to 1")
        for name in ("div_factor", "final_div_factor"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name}={getattr(self, name)}: pass a number above 0")
        self.n_batches_ = 0
        return self

    def on_epoch_begin(
        self, net: Any, dataset_train: Any = None, **kwargs: Any
    ) -> None:
        """Count the batches of an epoch."""
        if not self.n_batches_:
            self.n_batches_ = len(net.get_iterator(dataset_train, training=True))

    def on_batch_begin(
        self, net: Any, batch: Any = None, training: bool = False, **kwargs: Any
    ) -> None:
        """Set the rate of this batch."""
        if not training:
            return
        row = net.history[-1]
        step = (len(net.history) - 1) * self.n_batches_ + len(row["batches"]) - 1
        total = net.max_epochs * self.n_batches_
        highest = net.lr if self.max_lr is None else self.max_lr
        first = highest / self.div_factor
        lr = self._curve(step, total, first, highest, first / self.final_div_factor)
        net.history.record_batch("lr", lr)
        for group in net.optimizer_.param_groups:
            group["lr"] = lr
            if self.momentum is not None:
                high, low = self.momentum
                momentum = self._curve(step, total, high, low, high)
                if "betas" in group:
                    group["betas"] = (momentum, *group["betas"][1:])
                elif "momentum" in group:
                    group["momentum"] = momentum

    def _curve(
        self, step: int, total: int, first: float, middle: float, last: float
    ) -> float:
        """Value at a step of two half cosines, from first to middle to last."""
        turn, end = self.pct_start * total - 1, total - 1
        if step <= turn:
            return _cosine(first, middle, step / turn if turn else 1.0)
        way = (step - turn) / (end - turn) if end > turn else 1.0
        return _cosine(middle, last, min(1.0, way))


@dataclass(eq=False, repr=False)
class MaskingSchedule(Callback):
    """Hide more, or less, from epoch to epoch.

    The share moves in equal steps and stays; masks of validation don't change.  It is
    recorded for each epoch as ``mask_ratio``.

    Parameters
    ----------
    first, last : float
        Hidden share in the first epoch, and from the `n_epochs`-th on.
    n_epochs : int
        Epochs in which the share moves, at least 2.
    """

    first: float
    last: float
    n_epochs: int

    def initialize(self) -> Self:
        """Check the settings."""
        for ratio in (self.first, self.last):
            if not 0 < ratio < 1:
                raise ValueError(f"ratio={ratio}: pass shares between 0 and 1")
        if self.n_epochs < 2:
            raise ValueError(f"n_epochs={self.n_epochs}: pass at least 2")
        return self

    def on_epoch_begin(self, net: Any, *args: Any, **kwargs: Any) -> None:
        """Set the share of this epoch."""
        way = min(1.0, (len(net.history) - 1) / (self.n_epochs - 1))
        ratio = self.first + way * (self.last - self.first)
        net.masking_ = replace(net.masking, ratio=ratio)
        net.history.record("mask_ratio", ratio)


@dataclass(eq=False, repr=False)
class TrainingCheckpoint(Callback):
    """Write the state of the run, so that it can be resumed after any interruption.

    ``net.fit(X, resume=folder)`` goes on from there as if nothing had happened: on a
    CPU, weights and losses are the same numbers.  Put it last: what later callbacks do
    at the end of an epoch is not in the state.

    Parameters
    ----------
    folder : str or path-like
        Where; one state is kept.
    every_batches : int, optional
        Write after so many batches too; by default at the end of each epoch alone.
    """

    folder: str | os.PathLike[str]
    every_batches: int | None = None

    def initialize(self) -> Self:
        """Check the settings."""
        if self.every_batches is not None and self.every_batches < 1:
            raise ValueError(f"every_batches={self.every_batches}: pass at least 1")
        self.begun_ = False
        return self

    def on_epoch_begin(self, net: Any, *args: Any, **kwargs: Any) -> None:
        """Write a first state, before any work that could be lost."""
        if self.begun_:
            return
        self.begun_ = True
        if net.resumed_:
            return
        if has_training_state(self.folder):
            raise ValueError(
                f"{self.folder} holds the state of another run: call "
                "fit(..., resume=folder) to go on with it, or choose another folder"
            )
        self._save(net, finished=False)

    def on_batch_end(
        self, net: Any, batch: Any = None, training: bool = False, **kwargs: Any
    ) -> None:
        """Write the state if it is time."""
        if training and self.every_batches is not None:
            if count_batches(net) % self.every_batches == 0:
                self._save(net, finished=False)

    def on_epoch_end(self, net: Any, *args: Any, **kwargs: Any) -> None:
        """Write the state."""
        self._save(net, finished=True)

    def _save(self, net: Any, finished: bool) -> None:
        if net.process_[0] == 0:
            save_training_state(net, self.folder, finished=finished)


@dataclass(eq=False, repr=False)
class CSVLog(Callback):
    """Write the history, a row an epoch, to a CSV file.

    Put it behind the callbacks whose values it should hold.

    Parameters
    ----------
    path : str or path-like
        The file; it is written anew after each epoch.
    """

    path: str | os.PathLike[str]

    def on_epoch_end(self, net: Any, *args: Any, **kwargs: Any) -> None:
        """Write all epochs."""
        if getattr(net, "process_", (0, 1))[0] == 0:
            # as they are: pandas would make floats of whole numbers beside gaps
            table = pd.DataFrame(net.history.to_list(), dtype=object)
            text = table.drop(columns="batches").to_csv(index=False)
            write_whole(Path(self.path), text.encode())


def _cosine(start: float, end: float, way: float) -> float:
    return end + (start - end) / 2.0 * (1 + math.cos(math.pi * way))
