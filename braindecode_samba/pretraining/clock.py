"""The clock of a run: its minutes over all parts, its progress, and when it is to stop.

A part ends between two batches, with the state written.
"""

import os
import time
from dataclasses import dataclass
from typing import Any, Self

import torch
from skorch.callbacks import Callback
from tqdm import tqdm

from braindecode_samba.pretraining.state import count_batches, save_training_state

_TOLD = ("train_loss", "valid_loss", "valid_time", "probe_mean")


@dataclass(eq=False, repr=False)
class Clock(Callback):
    """Count the minutes of a run over all its parts, and end a part when time is up.

    Progress shows on terminals, and the losses after each epoch everywhere.

    Parameters
    ----------
    state : str or path-like
        Folder of `TrainingCheckpoint`.
    max_minutes : float, optional
        Length of a part; by default there is one.

    Attributes
    ----------
    seconds_ : float
        Of all parts.
    epochs_done_ : int
        Whole epochs.
    is_over_ : bool
        Whether this part ended as time was up.
    """

    state: str | os.PathLike[str]
    max_minutes: float | None = None

    def initialize(self) -> Self:
        """Begin at nothing; what goes on from a state brings its own numbers."""
        self.seconds_, self.epochs_done_, self.is_over_ = 0.0, 0, False
        self.bar: Any = None
        return self

    def on_train_begin(self, net: Any, *args: Any, **kwargs: Any) -> None:
        """Start the clock of this part."""
        self.begin = self.last = time.monotonic()

    def on_batch_end(
        self, net: Any, batch: Any = None, training: bool = False, **kwargs: Any
    ) -> None:
        """Move the bar, and stop if time is up."""
        self._tick()
        if not training:
            return
        self._show(net)
        if self._is_over(net):
            self.is_over_ = True
            if net.process_[0] == 0:
                save_training_state(net, self.state, finished=False)
            raise KeyboardInterrupt  # skorch's way to end a fit between two batches

    def on_epoch_end(self, net: Any, *args: Any, **kwargs: Any) -> None:
        """Print the losses of this epoch."""
        self._tick()
        self.epochs_done_ = len(net.history)
        if net.process_[0] == 0:
            row = net.history[-1]
            values = [f"{n} {row[n]:.4f}" for n in _TOLD if row.get(n) is not None]
            place = f"epoch {len(net.history)}/{net.max_epochs}"
            tqdm.write("  ".join([place, *values, f"{self.seconds_ / 60:.1f} minutes"]))

    def on_train_end(self, net: Any, *args: Any, **kwargs: Any) -> None:
        """Close the bar."""
        if self.bar is not None:
            self.bar.close()

    def _show(self, net: Any) -> None:
        done = count_batches(net) + (len(net.history) - 1) * net.n_batches_
        if self.bar is None:
            off = True if net.process_[0] else None  # None: only on a terminal
            total = net.max_epochs * net.n_batches_
            self.bar = tqdm(total=total, initial=done - 1, unit="batch", disable=off)
        loss = net.history[-1]["batches"][-1]["train_loss"]
        self.bar.set_postfix(loss=f"{loss:.3f}", refresh=False)
        self.bar.update(done - self.bar.n)

    def _tick(self) -> None:
        """Add the time since the last call."""
        now = time.monotonic()
        self.seconds_, self.last = self.seconds_ + now - self.last, now

    def _is_over(self, net: Any) -> bool:
        """Whether this part of the run is over, for any of its processes."""
        if self.max_minutes is None:
            return False
        over = time.monotonic() - self.begin > 60 * self.max_minutes
        if net.process_[1] == 1:
            return over
        flag = torch.tensor(float(over), device=net.accelerator.device)
        return bool(net.accelerator.reduce(flag, "sum"))
