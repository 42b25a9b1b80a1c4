"""What all estimators share: how windows are read, checked and remembered."""

import inspect
import os
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from numbers import Integral
from typing import Any

import mne
import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from sklearn.utils import check_random_state, check_scalar
from sklearn.utils.validation import check_is_fitted

from braindecode_samba.checkpoints.configs import SIGNAL_OPTIONS
from braindecode_samba.models import SAMBA
from braindecode_samba.nn.scaling import MODEL_SFREQ, min_times, recording_scale
from braindecode_samba.signals.arrays import moving
from braindecode_samba.signals.described import describes_itself
from braindecode_samba.signals.inputs import (
    Channels,
    RandomState,
    TakesWindows,
    Windows,
    read_windows,
)


@dataclass(kw_only=True, eq=False, repr=False)
class WindowEstimator(TakesWindows):
    """Base of all estimators: how windows are read and checked.

    Fitted ones know `n_features_in_` (channels), `n_times_` and `sfreq_`.
    """

    ch_names: Sequence[str] | None = None
    chs_info: Channels | None = None
    sfreq: float | None = None
    exclude: str | Collection[str] = "bads"
    positions: str = "checked"
    checkpoint: str | os.PathLike[str] | None = "samba-e"
    model_params: Mapping[str, Any] | None = None
    batch_size: int = 64
    device: str = "auto"
    random_state: RandomState = None
    verbose: int = 0

    def _read(self, X: Any, y: ArrayLike | None = None, **told: Any) -> Windows:
        windows = read_windows(
            X, y, exclude=self.exclude, positions=self.positions, **told
        )
        if windows.bads and self.verbose > 0:
            print(f"left out: {', '.join(windows.bads)} (exclude=() keeps them)")
        return windows

    def _read_new(self, X: Any, y: ArrayLike | None = None, **names: Any) -> Windows:
        """Read windows to learn from, with all checks that need no network."""
        self._check_common()
        windows = self._read(
            X,
            y,
            ch_names=self.ch_names,
            chs_info=self.chs_info,
            sfreq=self.sfreq,
            **names,
        )
        params = self.model_params or {}
        _refuse_short(windows, params.get("model_sfreq", MODEL_SFREQ))
        _refuse_flat(windows)
        return windows

    def _check_common(self) -> None:
        """Refuse settings that can't be used, in a fit or after one."""
        check_scalar(self.batch_size, "batch_size", Integral, min_val=1)
        check_scalar(self.verbose, "verbose", Integral, min_val=0)
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
        if strange := sorted(set(params) - set(inspect.signature(SAMBA).parameters)):
            raise TypeError(
                f"model_params holds {', '.join(map(str, strange))}: pass arguments of "
                "SAMBA"
            )

    def _read_more(self, X: Any, y: ArrayLike | None = None, **names: Any) -> Windows:
        """Read windows for a fitted estimator, of any rate and length."""
        check_is_fitted(self)
        told: dict[str, Any] = {}
        # what the constructor was told holds for the fit, and for arrays
        if not describes_itself(X):
            self._refuse_other_channels(X)
            told = {
                "ch_names": self.ch_names,
                "chs_info": self.chs_info,
                "sfreq": self.sfreq_ if self.sfreq is None else self.sfreq,
            }
            if self.ch_names is None and self.chs_info is None:
                told["chs_info"] = self._fitted_channels
        windows = self._read(X, y, **told, **names)
        _refuse_short(
            windows, (self.model_params or {}).get("model_sfreq", MODEL_SFREQ)
        )
        _refuse_flat(windows)
        return windows

    def _refuse_other_channels(self, X: Any) -> None:
        shape: tuple[int, ...] = getattr(X, "shape", ())
        if len(shape) != 3 or 0 in shape:
            return
        n_chans, n_times = shape[1], shape[2]
        if n_chans == self.n_features_in_:
            return
        advice = "pass these, or mne.Epochs with any electrodes"
        if n_times == self.n_features_in_:
            advice = "windows are (n, channels, times), X.transpose(0, 2, 1)"
        raise ValueError(
            f"X has {n_chans} channels, and {type(self).__name__} was fitted "
            f"on {self.n_features_in_}: {advice}"
        )

    def _read_parts(self, X: Any, **names: Any) -> list[Windows]:
        """Read windows for a fitted estimator; Epochs of several lengths in parts."""
        if isinstance(X, list | tuple) and len(X) > 1:
            if all(isinstance(item, mne.BaseEpochs) for item in X):
                kinds = {(len(item.times), item.info["sfreq"]) for item in X}
                if len(kinds) > 1:
                    return self._read_apart(X, **names)
        return [self._read_more(X, **names)]

    def _read_apart(self, X: Sequence[mne.BaseEpochs], **names: Any) -> list[Windows]:
        stops = np.cumsum([len(item.events) for item in X])
        parts = []
        for i, (item, stop) in enumerate(zip(X, stops, strict=True)):
            rows = slice(stop - len(item.events), stop)
            own = {
                name: None if values is None else np.asarray(values)[rows]
                for name, values in names.items()
            }
            windows = self._read_more(item, **own)
            if windows.groups is None:
                windows = replace(
                    windows, groups=np.full(len(item.events), f"item {i}")
                )
            parts.append(windows)
        return parts

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
        self._fitted_channels = windows.chs_info


def _refuse_short(windows: Windows, model_sfreq: float) -> None:
    n_times, sfreq = windows.x.shape[2], windows.sfreq
    shortest = min_times(sfreq, model_sfreq)
    if n_times < shortest:
        raise ValueError(
            f"X has windows of {n_times} samples at {sfreq:g} Hz: pass windows of "
            f"at least {shortest} (8 at the model's rate)"
        )


def _refuse_flat(windows: Windows) -> None:
    if not moving(windows.x).any():
        raise ValueError(
            f"X does not move in any channel of its {len(windows.x)} windows: see "
            "whether the recording holds signals at all, and those that are meant"
        )


def choose_device(device: str) -> torch.device:
    """Device by name; "auto" is CUDA where there is any, else the CPU."""
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    advice = "pass 'auto', 'cpu', or 'cuda' where there is a GPU"
    try:
        chosen = torch.device(device)
    except (RuntimeError, TypeError):
        raise ValueError(f"device={device!r} is unknown: {advice}") from None
    try:
        torch.empty(0, device=chosen)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = str(error).split("\n")[0].split(". ")[0].rstrip(".")
        raise ValueError(
            f"device={device!r} can't be used ({reason}): {advice}"
        ) from None
    return chosen


def draw_seed(random_state: RandomState) -> int:
    """Seed for torch from any random state of scikit-learn; None is fresh entropy."""
    if random_state is None:
        # from the system: numpy's global state is not ours to advance
        return int(np.random.SeedSequence().generate_state(1)[0])
    try:
        return int(check_random_state(random_state).randint(2**31 - 1))
    except ValueError:
        raise ValueError(
            f"random_state={random_state!r} is no seed: pass a whole number from 0 to "
            "2**32 - 1, a RandomState of numpy, or None"
        ) from None


def default_positions(windows: Windows) -> NDArray[np.float64] | None:
    """Positions that a network built on these windows knows by itself."""
    return windows.positions if windows.names else None


def samples(
    windows: Windows, known: NDArray[np.float64] | None
) -> NDArray[np.float32] | dict[str, NDArray[Any]]:
    """Signals alone where the network knows the positions, else with positions."""
    if known is not None and np.array_equal(windows.positions, known):
        return windows.x
    shape = (len(windows.x), *windows.positions.shape[-2:])
    # a copy: torch warns of views that it may not write to
    positions = np.broadcast_to(windows.positions, shape).astype(np.float32)
    batch: dict[str, NDArray[Any]] = {"x": windows.x, "pos": positions}
    if windows.ch_mask is not None:
        batch["ch_mask"] = windows.ch_mask
    return batch
