"""Gradients: a net of braindecode's, trained from scratch or from a solved head.

Where a head was solved, gradients may only improve it: people are held out, the solved
weights are the start and the anchor, and what is not better on those people is dropped.
"""

import copy
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import skorch
import torch
from numpy.typing import NDArray
from sklearn.model_selection import GroupShuffleSplit
from skorch.callbacks import Callback, GradientNormClipping, LRScheduler
from skorch.helper import predefined_split
from torch.optim.lr_scheduler import OneCycleLR

from braindecode_samba.estimators.base import (
    choose_device,
    default_positions,
    samples,
)
from braindecode_samba.estimators.callbacks import as_list, watchers_told
from braindecode_samba.estimators.finetuning import (
    adamw,
    highest_rates,
    set_rate,
    trunk_first,
)
from braindecode_samba.estimators.running import progress
from braindecode_samba.estimators.settings import DecoderSettings
from braindecode_samba.models import SAMBA
from braindecode_samba.nn.randomness import seeded
from braindecode_samba.signals.inputs import Rows, Windows

_MAX_GRADIENT_NORM = 1.0
# names of callbacks that serve one training
_SCHEDULE, _ANCHORED, _PROGRESS = "one_cycle", "anchor", "bar"
_HELD_OUT = 0.2
# pull towards the solved weights, beside a loss of order one
_ANCHOR = 1e-2
Solver = Callable[[Windows, NDArray[Any]], pd.DataFrame]


class _Anchor(Callback):
    """Pull weights towards those of the start, and keep the best of all passes."""

    def initialize(self) -> "_Anchor":
        """Forget an earlier run."""
        self.start: dict[str, torch.Tensor] = {}
        self.best_loss = math.inf
        self.best: dict[str, torch.Tensor] | None = None
        return self

    def on_train_begin(self, net: skorch.NeuralNet, **kwargs: Any) -> None:
        """Remember the start."""
        self.start = {
            name: value.detach().clone()
            for name, value in net.module_.named_parameters()
        }

    def on_grad_computed(
        self, net: skorch.NeuralNet, named_parameters: Any, **kwargs: Any
    ) -> None:
        """Add the pull."""
        for name, value in net.module_.named_parameters():
            if value.grad is not None:
                value.grad.add_(value.detach() - self.start[name], alpha=_ANCHOR)

    def on_epoch_end(self, net: skorch.NeuralNet, **kwargs: Any) -> None:
        """Keep what is best on the people who are held out."""
        loss = net.history[-1, "valid_loss"]
        if loss < self.best_loss:
            self.best_loss = loss
            self.best = copy.deepcopy(net.module_.state_dict())


class _Bar(Callback):
    """Moves a progress bar with the steps of a training."""

    def __init__(self, bar: Any) -> None:
        self.bar = bar

    def on_batch_end(
        self, net: skorch.NeuralNet, training: bool = False, **kwargs: Any
    ) -> None:
        """Count a step."""
        self.bar.update(training)


def build_net(
    decoder: DecoderSettings, module: dict[str, Any], params: dict[str, Any]
) -> skorch.NeuralNet:
    """Build the net of a decoder, not initialised.

    Parameters
    ----------
    decoder : DecoderSettings
        Has the settings.
    module : dict
        Arguments of `SAMBA`.
    params : dict
        Further parameters of the net.
    """
    callbacks: list[Any] = [
        ("clipping", GradientNormClipping(_MAX_GRADIENT_NORM)),
        *as_list(decoder.callbacks),
    ]
    net = decoder._net_class(
        SAMBA,
        optimizer=adamw,
        optimizer__weight_decay=decoder.weight_decay,
        optimizer__param_groups=trunk_first(decoder.trunk_lr_factor),
        lr=decoder.lr,
        max_epochs=int(decoder.max_epochs),
        batch_size=int(decoder.batch_size),
        iterator_train__drop_last=False,
        train_split=None,
        callbacks=callbacks,
        device=str(choose_device(decoder.device)),
        verbose=decoder.verbose,
        **{f"module__{name}": value for name, value in module.items()} | params,
    )
    # all is known: braindecode need not guess from the samples
    net.signal_args_set_ = True
    return net


class Training(NamedTuple):
    """A net, and the windows that it learns from as the decoder's settings say.

    Parameters
    ----------
    decoder : DecoderSettings
        Has the settings.
    net : skorch.NeuralNet
        Initialised; its module has the weights to start from.
    windows : Windows
        Aligned.
    targets : ndarray
        Of the net.
    seed : int
        Draws who is held out.
    """

    decoder: DecoderSettings
    net: skorch.NeuralNet
    windows: Windows
    targets: NDArray[Any]
    seed: int

    def run(self, solve: Solver) -> pd.DataFrame | None:
        """Solve the head and train by gradients.

        Parameters
        ----------
        solve : callable
            Solves the head on windows and targets.

        Returns
        -------
        pandas.DataFrame or None
            What each reading is worth, where the head was solved.
        """
        decoder, evidence = self.decoder, None
        if not decoder.max_epochs:
            evidence = solve(self.windows, self.targets)
        elif decoder.start == "solved":
            evidence = self._go_on(solve)
        else:
            self._descend(*self._split(decoder.validation_split))
        # a constant rate: what may follow, partial_fit, has no end to run to
        _take_off(self.net, _SCHEDULE)
        # the held-out windows must not travel in pickles
        self.net.set_params(lr=decoder.lr, train_split=None)
        set_rate(self.net.optimizer_, decoder.lr)
        return evidence

    def _go_on(self, solve: Solver) -> pd.DataFrame:
        """Train on from a solved head, and return to it where that helps nobody."""
        rows, held = self._split(self.decoder.validation_split or _HELD_OUT)
        assert held is not None  # a share was given
        net = self.net
        before = copy.deepcopy(net.module_.state_dict())
        evidence = solve(self.windows.select(rows), self.targets[rows])
        net.callbacks.append((_ANCHORED, _Anchor()))
        loss = _validation_loss(net, self._dataset(held))
        self._descend(rows, held)
        kept: _Anchor = dict(net.callbacks_)[_ANCHORED]
        _take_off(net, _ANCHORED)
        if kept.best is not None and kept.best_loss < loss:
            net.module_.load_state_dict(kept.best)
            return evidence
        net.module_.load_state_dict(before)
        return solve(self.windows, self.targets)

    def _samples(self, rows: Rows) -> NDArray[np.float32] | dict[str, NDArray[Any]]:
        return samples(self.windows.select(rows), default_positions(self.windows))

    def _dataset(self, rows: Rows) -> Any:
        return skorch.dataset.Dataset(self._samples(rows), self.targets[rows])

    def _descend(self, rows: Rows, held: NDArray[np.intp] | None) -> None:
        """Take all passes over some windows; others are held out for callbacks."""
        decoder, net = self.decoder, self.net
        if held is not None:
            net.set_params(train_split=predefined_split(self._dataset(held)))
            # those that are named by text look at whether anything is held out
            net.initialize_callbacks()
        n_batches = math.ceil(len(self.targets[rows]) / decoder.batch_size)
        n_steps = int(decoder.max_epochs) * n_batches  # torch takes no int of numpy
        # a schedule of a single step would consist of its end, a rate near zero
        if n_steps > 1:
            schedule = LRScheduler(
                OneCycleLR,
                step_every="batch",
                max_lr=highest_rates(decoder.lr, decoder.trunk_lr_factor),
                total_steps=n_steps,
            )
            net.callbacks.append((_SCHEDULE, schedule))
            net.callbacks_.append((_SCHEDULE, schedule.initialize()))
        off = True if decoder.verbose else None  # a table is printed then
        bar = progress(total=n_steps, desc="training", unit="step", disable=off)
        with watchers_told(), bar:
            net.callbacks_.append((_PROGRESS, _Bar(bar)))
            try:
                net.partial_fit(self._samples(rows), self.targets[rows])
            finally:
                _take_off(net, _PROGRESS)

    def _split(self, share: float | None) -> tuple[Rows, NDArray[np.intp] | None]:
        """Who is trained on and who is held out: people apart where they are known."""
        if share is None:
            return slice(None), None
        people, targets = self.windows.people, self.targets
        rows = np.arange(len(targets))
        if people is not None and len(np.unique(people)) > 1:
            splitter = GroupShuffleSplit(1, test_size=share, random_state=self.seed)
            return next(splitter.split(rows, groups=people))
        # neighbours are alike: what is held out comes last, of each class if there are
        classes = np.zeros(len(rows)) if self.decoder._numbers else targets
        held = np.zeros(len(rows), dtype=bool)
        for one in np.unique(classes):
            own = rows[classes == one]
            n_held = min(max(round(share * len(own)), 1), len(own) - 1)
            held[own[len(own) - n_held :]] = True
        if not held.any():
            raise ValueError(
                f"nothing can be held out of {len(rows)} windows, one of each class: "
                "pass more windows, or no validation_split"
            )
        return rows[~held], rows[held]


def _validation_loss(net: skorch.NeuralNet, dataset: Any) -> float:
    """Loss of a net as it is, over a data set."""
    total, n = 0.0, 0
    for batch in net.get_iterator(dataset, training=False):
        found = net.evaluation_step(batch, training=False)
        y = batch[1].to(net.device)
        total += net.get_loss(found, y, training=False).item() * len(y)
        n += len(y)
    return total / n


def _take_off(net: skorch.NeuralNet, name: str) -> None:
    """Remove a callback by its name; those of users may have none."""
    for callbacks in (net.callbacks, net.callbacks_):
        callbacks[:] = [
            one for one in callbacks if not (isinstance(one, tuple) and one[0] == name)
        ]


def train_once(
    net: skorch.NeuralNet,
    batch: NDArray[np.float32] | dict[str, NDArray[Any]],
    targets: NDArray[Any],
    seed: int,
) -> None:
    """Train for one pass; the seed makes it the same whatever happened before."""
    net.set_params(max_epochs=1)
    with seeded(seed), watchers_told():
        net.partial_fit(batch, targets)
