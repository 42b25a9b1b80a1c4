"""How a network is fed, trained and run for scikit-learn: what the estimators share.

`WindowEstimator` reads and checks windows, `Decoder` owns a private net of
braindecode's and trains it.  The estimators that users meet, with their labels, targets
and features, are in `braindecode_samba.estimators`.
"""

import copy
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from numbers import Integral, Real
from typing import Any, ClassVar, Self

import numpy as np
import skorch
import torch
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator
from sklearn.model_selection import train_test_split
from sklearn.utils import Tags, check_random_state, check_scalar
from sklearn.utils.validation import check_is_fitted
from skorch.callbacks import GradientNormClipping, LRScheduler
from skorch.helper import predefined_split
from torch.optim.lr_scheduler import OneCycleLR

from braindecode_samba.checkpoints.configs import SIGNAL_OPTIONS
from braindecode_samba.checkpoints.loading import (
    Checkpoint,
    CheckpointReport,
    open_checkpoint,
)
from braindecode_samba.estimators.finetuning import (
    Finetune,
    adamw,
    check_finetune,
    freeze,
    highest_rates,
    set_rate,
    trunk_first,
)
from braindecode_samba.estimators.running import run_in_batches
from braindecode_samba.estimators.starting import STARTS, solve_head
from braindecode_samba.models import SAMBA
from braindecode_samba.nn.scaling import MODEL_SFREQ, min_times, recording_scale
from braindecode_samba.signals.inputs import (
    Channels,
    RandomState,
    Rows,
    Windows,
    read_windows,
)

_MAX_GRADIENT_NORM = 1.0
_SCHEDULE = "one_cycle"


class WindowEstimator(BaseEstimator):
    """Base of all estimators: how windows are read and checked.

    Fitted ones know `n_features_in_` (channels), `n_times_` and `sfreq_`.
    """

    ch_names: Sequence[str] | None
    chs_info: Channels | None
    sfreq: float | None
    model_params: Mapping[str, Any] | None
    batch_size: int

    def __sklearn_tags__(self) -> Tags:
        """Tags of scikit-learn: windows have three dimensions."""
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array = False
        tags.input_tags.three_d_array = True
        return tags

    def _read(self, X: Any, y: ArrayLike | None) -> Windows:
        return read_windows(
            X, y, ch_names=self.ch_names, chs_info=self.chs_info, sfreq=self.sfreq
        )

    def _read_new(self, X: Any, y: ArrayLike | None = None) -> Windows:
        """Read windows to learn from, with all checks that need no network."""
        check_scalar(self.batch_size, "batch_size", Integral, min_val=1)
        params = {} if self.model_params is None else self.model_params
        if not isinstance(params, Mapping):
            raise TypeError(
                f"model_params is a {type(params).__name__}: pass a dict of arguments "
                "of SAMBA"
            )
        if given := [name for name in SIGNAL_OPTIONS if name in params]:
            raise ValueError(
                f"model_params holds {', '.join(given)}: leave out what follows from "
                "the data"
            )
        windows = self._read(X, y)
        n_times, sfreq = windows.x.shape[2], windows.sfreq
        shortest = min_times(sfreq, params.get("model_sfreq", MODEL_SFREQ))
        if n_times < shortest:
            raise ValueError(
                f"X has windows of {n_times} samples at {sfreq:g} Hz: pass windows of "
                f"at least {shortest} (8 at the model's rate)"
            )
        return windows

    def _read_more(self, X: Any, y: ArrayLike | None = None) -> Windows:
        """Read windows for a fitted estimator: they must be like those that it saw."""
        check_is_fitted(self)
        windows = self._read(X, y)
        _, n_chans, n_times = windows.x.shape
        name = type(self).__name__
        if not np.isclose(windows.sfreq, self.sfreq_, rtol=1e-6, atol=0):
            raise ValueError(
                f"X is sampled at {windows.sfreq:g} Hz, and {name} was fitted at "
                f"{self.sfreq_:g} Hz: resample X"
            )
        if n_times != self.n_times_:
            raise ValueError(
                f"X has windows of {n_times} samples, and {name} was fitted on "
                f"{self.n_times_}: cut X to that length"
            )
        if n_chans != self.n_features_in_ and not windows.brings_positions:
            raise ValueError(
                f"X has {n_chans} channels, and {name} was fitted on "
                f"{self.n_features_in_}: pass these, or mne.Epochs with any electrodes"
            )
        return windows

    def _signal_params(self, windows: Windows) -> dict[str, Any]:
        """Name the arguments of `SAMBA` for these windows, but for n_outputs."""
        return {
            "chs_info": windows.chs_info,
            "n_chans": windows.x.shape[1],
            "n_times": windows.x.shape[2],
            "sfreq": windows.sfreq,
            **(self.model_params or {}),
        }

    def _scale_recordings(self, model: SAMBA, windows: Windows) -> None:
        """Give a model with one scale for all recordings that of the training data."""
        if model.trunk.signal.scale == "recording":
            x, mask = torch.from_numpy(windows.x), windows.ch_mask
            scale = recording_scale(x, None if mask is None else torch.from_numpy(mask))
            model.trunk.signal.set_recording_scale(scale)

    def _remember(self, windows: Windows) -> None:
        _, self.n_features_in_, self.n_times_ = windows.x.shape
        self.sfreq_ = windows.sfreq


class Decoder(WindowEstimator):
    """Base of classifier and regressor: a private net of braindecode's, trained.

    Subclasses say what a fit learns from y and how y becomes targets of the net.
    """

    _net_class: ClassVar[type[skorch.NeuralNet]]
    _stratify: ClassVar[bool]

    def __init__(
        self,
        *,
        ch_names: Sequence[str] | None = None,
        chs_info: Channels | None = None,
        sfreq: float | None = None,
        max_epochs: int = 30,
        lr: float = 1e-3,
        batch_size: int = 64,
        weight_decay: float = 1e-2,
        model_params: Mapping[str, Any] | None = None,
        checkpoint: str | os.PathLike[str] | None = None,
        finetune: Finetune = "all",
        trunk_lr_factor: float = 1.0,
        start: str = "random",
        callbacks: Sequence[Any] | None = None,
        validation_split: float | None = None,
        device: str = "auto",
        random_state: RandomState = None,
        verbose: int = 0,
    ) -> None:
        self.ch_names = ch_names
        self.chs_info = chs_info
        self.sfreq = sfreq
        self.max_epochs = max_epochs
        self.lr = lr
        self.batch_size = batch_size
        self.weight_decay = weight_decay
        self.model_params = model_params
        self.checkpoint = checkpoint
        self.finetune = finetune
        self.trunk_lr_factor = trunk_lr_factor
        self.start = start
        self.callbacks = callbacks
        self.validation_split = validation_split
        self.device = device
        self.random_state = random_state
        self.verbose = verbose

    @property
    def model_(self) -> SAMBA:
        """The trained network."""
        return self.net_.module_

    def fit(self, X: Any, y: ArrayLike | None = None) -> Self:
        """Train a new network.

        If anything is refused or training fails, an earlier fit stays as it was.

        Parameters
        ----------
        X : array-like, mne.Epochs, list of mne.Epochs, or windows of braindecode
            Windows, see `braindecode_samba.signals.read_windows`.
        y : array-like, optional
            Targets; None takes those of a data set of braindecode.

        Returns
        -------
        Self
            The estimator.

        Raises
        ------
        ValueError, TypeError
            If X, y or a parameter can't be used, or if training diverges.
        """
        self._check_settings()
        windows = self._read_new(X, y)
        learned, targets = self._learn(self._require(windows.y), None)
        seed = draw_seed(self.random_state)
        train, valid = self._split(targets, seed)
        n_batches = math.ceil(len(targets[train]) / self.batch_size)
        n_steps = int(self.max_epochs) * n_batches  # torch takes no int of numpy
        checkpoint = self._open_checkpoint()
        net = self._build_net(windows, learned, targets, n_steps, checkpoint)
        known = _default_positions(windows)
        if valid is not None:
            held_out = _samples(windows.select(valid), known)
            dataset = skorch.dataset.Dataset(held_out, targets[valid])
            net.set_params(train_split=predefined_split(dataset))
        with seeded(seed, net.device):
            net.initialize()
            report = self._prepare(net.module_, windows, checkpoint)
            self._start_head(net, windows.select(train), targets[train])
            if self.max_epochs:
                net.partial_fit(_samples(windows.select(train), known), targets[train])
        if self.max_epochs:
            _refuse_untrained(net)
        _end_schedule(net)
        # the held-out windows must not travel in pickles
        net.set_params(lr=self.lr, train_split=None)
        set_rate(net.optimizer_, self.lr)
        self._adopt(net, windows, learned, seed, report)
        return self

    def _partial_fit(self, X: Any, y: ArrayLike | None, classes: Any = None) -> Self:
        if not hasattr(self, "net_"):
            return self._begin(X, y, classes)
        windows = self._read_more(X, y)
        targets = self._encode(self._require(windows.y), classes)
        self._train_once(self.net_, windows, targets, self._seed + 1 + self._n_updates)
        self._n_updates += 1
        return self

    def _begin(self, X: Any, y: ArrayLike | None, classes: Any) -> Self:
        self._check_settings()
        if self.start == "solved":
            raise ValueError(
                "start='solved' needs all training windows at once: call fit first, or "
                "pass start='random'"
            )
        windows = self._read_new(X, y)
        learned, targets = self._learn(self._require(windows.y), classes)
        seed = draw_seed(self.random_state)
        checkpoint = self._open_checkpoint()
        net = self._build_net(windows, learned, targets, 0, checkpoint)
        with seeded(seed, net.device):
            net.initialize()
        report = self._prepare(net.module_, windows, checkpoint)
        self._train_once(net, windows, targets, seed + 1)
        _refuse_untrained(net)
        self._adopt(net, windows, learned, seed, report)
        self._n_updates = 1
        return self

    def _train_once(
        self, net: skorch.NeuralNet, windows: Windows, targets: NDArray[Any], seed: int
    ) -> None:
        """Train for one pass; the seed makes it the same whatever happened before."""
        known = getattr(self, "_positions", _default_positions(windows))
        net.set_params(max_epochs=1)
        with seeded(seed, net.device):
            net.partial_fit(_samples(windows, known), targets)

    def _check_settings(self) -> None:
        if self.start not in STARTS:
            raise ValueError(f"start={self.start!r} is unknown: pass one of {STARTS}")
        solved = self.start == "solved"
        # a solved head is trained already
        fewest = 0 if solved else 1
        check_scalar(self.max_epochs, "max_epochs", Integral, min_val=fewest)
        given = self.model_params if isinstance(self.model_params, Mapping) else {}
        kind = given.get("head", "components")
        if solved and kind != "components":
            raise ValueError(
                f"start='solved' solves head='components', and model_params has "
                f"{kind!r}: leave it out, or pass start='random'"
            )
        check_scalar(self.lr, "lr", Real, min_val=0, include_boundaries="neither")
        check_scalar(self.weight_decay, "weight_decay", Real, min_val=0)
        check_finetune(self.finetune, self.checkpoint is not None)
        check_scalar(
            self.trunk_lr_factor,
            "trunk_lr_factor",
            Real,
            min_val=0,
            include_boundaries="neither",
        )
        if self.validation_split is not None:
            check_scalar(
                self.validation_split,
                "validation_split",
                Real,
                min_val=0,
                max_val=1,
                include_boundaries="neither",
            )

    def _open_checkpoint(self) -> Checkpoint | None:
        if self.checkpoint is None:
            return None
        activation = (self.model_params or {}).get("activation")
        return open_checkpoint(self.checkpoint, activation=activation)

    def _prepare(
        self, model: SAMBA, windows: Windows, checkpoint: Checkpoint | None
    ) -> CheckpointReport | None:
        """Give a new model trained weights and its scale, and freeze what stays."""
        report = None
        if checkpoint is not None:
            # a saved head knows other classes
            report = checkpoint.fill(model, trunk_only=True)
            if self.verbose > 0:
                print(report)
        self._scale_recordings(model, windows)
        freeze(model, self.finetune)
        return report

    def _start_head(
        self, net: skorch.NeuralNet, windows: Windows, targets: NDArray[Any]
    ) -> None:
        """Solve the head, if that is wanted."""
        if self.start != "solved":
            return
        weight = getattr(net.criterion_, "weight", None)
        by_class = None if weight is None else weight.cpu().double().numpy()
        solve_head(net.module_, windows, targets, self.batch_size, by_class)

    def _require(self, y: ArrayLike | None) -> ArrayLike:
        if y is None:
            raise ValueError(
                f"{type(self).__name__} requires y to be passed, but the target y is "
                "None; of mne.Epochs it may be epochs.events[:, 2]"
            )
        return y

    def _learn(
        self, y: ArrayLike, classes: ArrayLike | None
    ) -> tuple[dict[str, Any], NDArray[Any]]:
        """Learn from y: fitted attributes by name, and the targets of the net."""
        raise NotImplementedError

    def _encode(self, y: ArrayLike, classes: ArrayLike | None) -> NDArray[Any]:
        """Turn y into targets of the net, after a fit."""
        raise NotImplementedError

    def _net_params(
        self, learned: dict[str, Any], targets: NDArray[Any]
    ) -> dict[str, Any]:
        """Name the parameters of the net that depend on the targets."""
        raise NotImplementedError

    def _split(
        self, targets: NDArray[Any], seed: int
    ) -> tuple[Rows, NDArray[np.intp] | None]:
        if self.validation_split is None:
            return slice(None), None
        train, valid = train_test_split(
            np.arange(len(targets)),
            test_size=self.validation_split,
            random_state=seed,
            stratify=targets if self._stratify else None,
        )
        return train, valid

    def _build_net(
        self,
        windows: Windows,
        learned: dict[str, Any],
        targets: NDArray[Any],
        n_steps: int,
        checkpoint: Checkpoint | None,
    ) -> skorch.NeuralNet:
        callbacks: list[Any] = [
            ("clipping", GradientNormClipping(_MAX_GRADIENT_NORM)),
            *copy.deepcopy(list(self.callbacks or ())),
        ]
        # a schedule of a single step would consist of its end, a rate near zero
        if n_steps > 1:
            schedule = LRScheduler(
                OneCycleLR,
                step_every="batch",
                max_lr=highest_rates(self.lr, self.trunk_lr_factor),
                total_steps=n_steps,
            )
            callbacks.append((_SCHEDULE, schedule))
        params = self._net_params(learned, targets)
        module = self._signal_params(windows)
        if self.start == "solved":
            module["head"] = "components"
        if checkpoint is not None:
            module["n_outputs"] = params["module__n_outputs"]
            module = checkpoint.arguments(SAMBA, module)
        net = self._net_class(
            SAMBA,
            optimizer=adamw,
            optimizer__weight_decay=self.weight_decay,
            optimizer__param_groups=trunk_first(self.trunk_lr_factor),
            lr=self.lr,
            max_epochs=int(self.max_epochs),
            batch_size=int(self.batch_size),
            iterator_train__drop_last=False,
            train_split=None,
            callbacks=callbacks,
            device=str(choose_device(self.device)),
            verbose=self.verbose,
            **{f"module__{name}": value for name, value in module.items()} | params,
        )
        # all is known: braindecode need not guess from the samples
        net.signal_args_set_ = True
        return net

    def _adopt(
        self,
        net: skorch.NeuralNet,
        windows: Windows,
        learned: dict[str, Any],
        seed: int,
        report: CheckpointReport | None,
    ) -> None:
        for name, value in learned.items():
            setattr(self, name, value)
        self._remember(windows)
        self._positions = _default_positions(windows)
        self._seed, self._n_updates = seed, 0
        self.checkpoint_report_ = report
        self.net_ = net

    def _outputs(self, X: Any) -> NDArray[np.float32]:
        """Compute raw outputs of the network, (n, n_outputs)."""
        windows = self._read_more(X)
        return run_in_batches(self.model_, self.model_, windows, self.batch_size)


def choose_device(device: str) -> torch.device:
    """Device by name; "auto" is CUDA where there is any, else the CPU."""
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    return torch.device(device)


def draw_seed(random_state: RandomState) -> int:
    """Seed for torch from any random state of scikit-learn; None is fresh entropy."""
    if random_state is None:
        # from the system: numpy's global state is not ours to advance
        return int(np.random.SeedSequence().generate_state(1)[0])
    return int(check_random_state(random_state).randint(2**31 - 1))


@contextmanager
def seeded(seed: int, device: torch.device | str) -> Iterator[None]:
    """Seed torch inside, on the CPU and `device`, and restore its states after."""
    device = torch.device(device)
    cuda = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices=cuda):
        torch.default_generator.manual_seed(seed)
        for used in cuda:
            with torch.cuda.device(used):
                torch.cuda.manual_seed(seed)
        yield


def _default_positions(windows: Windows) -> NDArray[np.float64] | None:
    """Positions that a network built on these windows knows by itself."""
    return windows.positions if windows.names else None


def _samples(
    windows: Windows, known: NDArray[np.float64] | None
) -> NDArray[np.float32] | dict[str, NDArray[Any]]:
    """Signals alone where the network knows the positions, else with positions."""
    if known is not None and np.array_equal(windows.positions, known):
        return windows.x
    shape = (len(windows.x), *windows.positions.shape[-2:])
    # a copy: torch warns of views that it may not write to
    positions = np.broadcast_to(windows.positions, shape).astype(np.float32)
    samples: dict[str, NDArray[Any]] = {"x": windows.x, "pos": positions}
    if windows.ch_mask is not None:
        samples["ch_mask"] = windows.ch_mask
    return samples


def _end_schedule(net: skorch.NeuralNet) -> None:
    """Leave a constant rate: what may follow, partial_fit, has no end to run to."""
    for callbacks in (net.callbacks, net.callbacks_):
        callbacks[:] = [
            callback
            for callback in callbacks
            if not (isinstance(callback, tuple) and callback[0] == _SCHEDULE)
        ]


def _refuse_untrained(net: skorch.NeuralNet) -> None:
    losses = [row["train_loss"] for row in net.history if "train_loss" in row]
    if not losses:
        # skorch ends a pass that is interrupted and goes on as if it were trained
        raise KeyboardInterrupt("interrupted before the end of the first pass")
    if not math.isfinite(losses[-1]):
        raise ValueError(
            f"training diverged to a loss of {losses[-1]}: lower lr={net.lr:g}"
        )
