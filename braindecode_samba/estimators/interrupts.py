"""Nets that Ctrl-C stops, and that are trained or else as they were.

skorch takes an interruption for a wish to end the training early: ``fit`` returns, and
whoever called it takes the net for trained.
"""

import copy
import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Self

import skorch
from braindecode import EEGClassifier, EEGRegressor
from skorch.callbacks import EarlyStopping
from skorch.history import History
from torch.utils.data import Subset

__all__ = [
    "Interruptible",
    "InterruptibleClassifier",
    "InterruptibleRegressor",
    "all_kept",
    "attributes_kept",
]


class Interruptible(skorch.NeuralNet):
    """What makes an interruption leave a net of skorch's; mix it in first."""

    _interruption: KeyboardInterrupt | None = None

    def fit_loop(self, *args: Any, **kwargs: Any) -> Self:
        """Train, and remember why it ended."""
        with self.noting_interruptions():
            return super().fit_loop(*args, **kwargs)

    @contextmanager
    def noting_interruptions(self) -> Iterator[None]:
        """Remember an interruption, which skorch will swallow."""
        try:
            yield
        except KeyboardInterrupt as interruption:
            if not _stopped_early(self):
                self._interruption = interruption
            raise

    def partial_fit(self, *args: Any, **kwargs: Any) -> Self:
        """Train, or leave the net as it was.

        Raises
        ------
        KeyboardInterrupt
            If the user stops it, or a callback other than `EarlyStopping` does.
        ValueError
            If it comes to no finite loss, or to outputs that are none.
        """
        if not self.initialized_:
            self.initialize()
        with _put_back(self):
            super().partial_fit(*args, **kwargs)
            interruption, self._interruption = self._interruption, None
            if interruption is not None:
                raise interruption
            _refuse_divergence(self, args[0] if args else kwargs["X"])
        return self


class InterruptibleClassifier(Interruptible, EEGClassifier):
    """Classifier of braindecode's that Ctrl-C stops."""


class InterruptibleRegressor(Interruptible, EEGRegressor):
    """Regressor of braindecode's that Ctrl-C stops."""


@contextmanager
def attributes_kept(net: skorch.NeuralNet) -> Iterator[None]:
    """Put all attributes of a net back unless all goes well."""
    before = dict(vars(net))
    if net.initialized_:
        # skorch empties the one that there is
        before["history_"] = History(net.history)
    try:
        yield
    except BaseException:
        vars(net).clear()
        vars(net).update(before)
        raise


@contextmanager
def all_kept(*parts: object) -> Iterator[None]:
    """Put all attributes of objects back unless all goes well."""
    before = [dict(vars(part)) for part in parts]
    try:
        yield
    except BaseException:
        for part, state in zip(parts, before, strict=True):
            vars(part).update(state)
        raise


def _stopped_early(net: skorch.NeuralNet) -> bool:
    """Whether skorch's own callback ended the training, which it does in this way."""
    return any(
        isinstance(callback, EarlyStopping) and callback.misses_ == callback.patience
        for _, callback in net.callbacks_
    )


def _refuse_divergence(net: skorch.NeuralNet, X: Any) -> None:
    loss = net.history[-1].get("train_loss", 0.0) if len(net.history) else 0.0
    # nobody sees the loss after the last step
    if not math.isfinite(loss) or not _says_numbers(net, X):
        raise ValueError(
            f"training diverged, after a loss of {loss:g}: lower lr={net.lr:g}"
        )


def _says_numbers(net: skorch.NeuralNet, X: Any) -> bool:
    dataset = net.get_dataset(X)
    first = Subset(dataset, range(min(len(dataset), net.batch_size)))
    batch = next(iter(net.get_iterator(first, training=False)), None)
    if batch is None:  # of several processes, one may have none
        return True
    found = net.evaluation_step(batch, training=False)
    parts = found if isinstance(found, tuple) else (found,)
    return all(bool(part.isfinite().all()) for part in parts)


@contextmanager
def _put_back(net: skorch.NeuralNet) -> Iterator[None]:
    """Put weights, optimiser and history back unless all goes well."""
    weights = copy.deepcopy(net.module_.state_dict())
    steps = copy.deepcopy(net.optimizer_.state_dict())
    history = History(net.history)
    try:
        yield
    except BaseException:
        net.module_.load_state_dict(weights)
        net.optimizer_.load_state_dict(steps)
        net.history_ = history
        raise
