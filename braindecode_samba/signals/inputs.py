"""Turn what users hand over into one checked form: signals, places and rate.

Arrays, MNE's Epochs, lists of Epochs and braindecode's windows come in, `Windows` goes
out, or an error that says what to pass instead.  Signals are neither scaled nor
resampled here, and no model is known.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from numbers import Real
from typing import Any, NamedTuple

import mne
import numpy as np
from braindecode.datasets import (
    BaseConcatDataset,
    EEGWindowsDataset,
    RawDataset,
    WindowsDataset,
)
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import issparse
from sklearn.utils import check_array, check_consistent_length
from torch.utils.data import Dataset

from braindecode_samba.signals.montages import (
    positions_from_chs_info,
    positions_from_names,
)

__all__ = ["Windows", "read_windows"]

# two statements about one electrode that differ by less are the same statement
_SAME_PLACE = 1e-3  # metres
_ACCEPTED = (
    "pass an array of shape (n, channels, times), mne.Epochs, a list of mne.Epochs, or "
    "windows of braindecode (WindowsDataset, EEGWindowsDataset, or a BaseConcatDataset "
    "of these)"
)
_EMPTY = "X holds no windows: pass at least one"
_CUT_FIRST = (
    "X is a continuous recording and no windows: cut it first, for example by "
    "mne.make_fixed_length_epochs(raw, duration=2.0), mne.Epochs(raw, events), or "
    "braindecode.preprocessing.create_fixed_length_windows(dataset)"
)

Channels = Sequence[Mapping[str, Any]]
Rows = slice | NDArray[np.intp]
RandomState = int | np.random.RandomState | None


@dataclass(frozen=True, eq=False)
class Windows:
    """Windows of EEG with all that a model has to know about them.

    Parameters
    ----------
    x : ndarray of float32, shape (n, channels, times)
        Signals in the unit in which they came: volts from MNE and braindecode.
    y : array-like of length n, or None
        Targets as given, else those of the data set.
    names : tuple of str
        Channels; empty for windows of several montages.
    positions : ndarray, shape (channels, 3) or (n, channels, 3)
        Head frame, metres; one set for each window if they come of several montages.
    ch_mask : ndarray of bool, shape (n, channels), or None
        False where a window of fewer channels was filled up with zeros.
    sfreq : float
        Sampling rate, Hz.
    brings_positions : bool
        Whether the windows themselves said where their channels lie: Epochs and
        windows of braindecode do, arrays don't.
    """

    x: NDArray[np.float32]
    y: ArrayLike | None
    names: tuple[str, ...]
    positions: NDArray[np.float64]
    ch_mask: NDArray[np.bool_] | None
    sfreq: float
    brings_positions: bool

    @property
    def chs_info(self) -> list[dict[str, Any]] | None:
        """Channel descriptions for a model, or None for several montages."""
        if not self.names:
            return None
        locations = np.zeros((len(self.names), 12))
        locations[:, :3] = self.positions
        return [
            {"ch_name": name, "kind": "eeg", "loc": location}
            for name, location in zip(self.names, locations, strict=True)
        ]

    def select(self, rows: Rows) -> "Windows":
        """Take some of the windows, without targets."""
        positions, mask = self.positions, self.ch_mask
        return replace(
            self,
            x=self.x[rows],
            y=None,
            positions=positions if positions.ndim == 2 else positions[rows],
            ch_mask=None if mask is None else mask[rows],
        )


class _Place(NamedTuple):
    """Channels and where they lie, (channels, 3)."""

    names: tuple[str, ...]
    positions: NDArray[np.float64]


class _Declared(NamedTuple):
    """What the caller says about the channels beside the data."""

    place: _Place | None
    measured: bool
    sfreq: float | None


class _Recording(NamedTuple):
    """Windows of one recording, (n, channels, times), as they come."""

    x: NDArray[Any]
    y: list[Any] | None
    channels: Channels
    sfreq: float


def read_windows(
    X: Any,
    y: ArrayLike | None = None,
    *,
    ch_names: Sequence[str] | None = None,
    chs_info: Channels | None = None,
    sfreq: float | None = None,
) -> Windows:
    """Check windows of any accepted kind and bring them into one form.

    Parameters
    ----------
    X : array-like, mne.Epochs, list of mne.Epochs, or windows of braindecode
        An array has the shape (n, channels, times) and needs `sfreq` and one of
        `ch_names` and `chs_info`.  The others bring names, positions and rate; of their
        channels those of type EEG are used, bad ones too: drop or interpolate these
        before.  Recordings with fewer channels are filled up with zeros.
    y : array-like of length n, optional
        Targets; None takes those of the data set, if it has any.
    ch_names : sequence of str, optional
        Channels in the order of an array; for other data, which channels to expect.
    chs_info : sequence of dict, optional
        The same with positions (``loc``), as ``info["chs"]`` of MNE.
    sfreq : float, optional
        Sampling rate, Hz.

    Returns
    -------
    Windows
        `X` stays as it is.

    Raises
    ------
    ValueError
        If something is missing, or `X` contradicts the arguments; if `X` is empty, has
        not three dimensions, is complex, or holds NaN or infinity; if channels have no
        position or positions are not in metres; if lengths or rates differ.
    TypeError
        If `X` is of another kind.
    """
    declared = _declare(ch_names, chs_info, sfreq)
    recordings = _read_recordings(X)
    if recordings is None:
        windows = _read_array(X, declared)
    else:
        windows = _merge(recordings, declared)
    _refuse_broken_signals(windows.x)
    if y is None:
        return windows
    check_consistent_length(windows.x, y)
    return replace(windows, y=y)


def _declare(
    ch_names: Sequence[str] | None, chs_info: Channels | None, sfreq: float | None
) -> _Declared:
    rate = None
    if sfreq is not None:
        number = isinstance(sfreq, Real) and not isinstance(sfreq, bool)
        if not number or not 0 < sfreq < float("inf"):
            raise ValueError(f"sfreq={sfreq!r} is no sampling rate: pass Hz, above 0")
        rate = float(sfreq)
    place = None
    if chs_info is not None:
        positions = positions_from_chs_info(chs_info)
        names = tuple(str(channel.get("ch_name", "")) for channel in chs_info)
        place = _Place(names, positions)
        if ch_names is not None and tuple(ch_names) != place.names:
            raise ValueError(
                f"ch_names says {_some(ch_names)} and chs_info {_some(place.names)}: "
                "pass one of them"
            )
    elif ch_names is not None:
        place = _Place(tuple(ch_names), positions_from_names(ch_names))
    if place is not None and len(set(place.names)) < len(place.names):
        twice = sorted({name for name in place.names if place.names.count(name) > 1})
        raise ValueError(f"channels are named twice: {_some(twice)}; pass each once")
    return _Declared(place, chs_info is not None, rate)


def _some(names: Sequence[str]) -> str:
    shown = ", ".join(repr(name) for name in names[:10])
    return shown if len(names) <= 10 else f"{shown}, ... {len(names)} in all"


def _read_array(X: Any, declared: _Declared) -> Windows:
    # scipy's dok matrices are dicts; check_array has the better words for them
    strange = isinstance(X, Mapping | str | bytes | Dataset) and not issparse(X)
    if strange or _lost_its_channels(X):
        raise TypeError(f"X is a {_kind(X)}: {_ACCEPTED}")
    x = check_array(
        X, ensure_2d=False, allow_nd=True, ensure_all_finite=False, input_name="X"
    )
    if x.ndim != 3 or x.size == 0:
        raise ValueError(
            f"X has shape {x.shape}. Reshape your data: windows are "
            "(n, channels, times), with at least one of each; a single one is X[None]"
        )
    if declared.place is None or declared.sfreq is None:
        raise ValueError(_say_what_is_missing(declared))
    names, positions = declared.place
    if x.shape[1] != len(names):
        raise ValueError(
            f"X has {x.shape[1]} channels and {len(names)} names ({_some(names)}): "
            "name each channel of X, in order"
        )
    return Windows(
        x=_as_float32(x),
        y=None,
        names=names,
        positions=positions,
        ch_mask=None,
        sfreq=declared.sfreq,
        brings_positions=False,
    )


def _lost_its_channels(X: Any) -> bool:
    """Whether X is a list of data sets or of their (window, target, ...) tuples.

    The latter is what scikit-learn's splitters make of a data set.
    """
    if not isinstance(X, list | tuple) or not len(X):
        return False
    first = X[0]
    if isinstance(first, Dataset | mne.BaseEpochs | mne.io.BaseRaw):
        return True
    return isinstance(first, tuple) and len(first) > 1 and np.ndim(first[1]) != 2


def _kind(X: Any) -> str:
    if isinstance(X, list | tuple):
        kinds = sorted({type(item).__name__ for item in X})
        return f"{type(X).__name__} of {' and '.join(kinds)}"
    return type(X).__name__


def _say_what_is_missing(declared: _Declared) -> str:
    missing = []
    if declared.place is None:
        missing.append("ch_names=[...] (or chs_info=[...], with measured positions)")
    if declared.sfreq is None:
        missing.append("sfreq=... (the sampling rate in Hz)")
    return (
        f"X is an array, so the estimator needs {' and '.join(missing)}: pass that to "
        "its constructor, or pass X as mne.Epochs, which bring both"
    )


def _as_float32(x: NDArray[Any]) -> NDArray[np.float32]:
    if np.iscomplexobj(x):
        raise ValueError("Complex data not supported: X must hold real signals")
    # what float32 can't hold becomes infinite and is refused as such; torch warns of
    # arrays that it may not write to
    with np.errstate(over="ignore"):
        return np.require(x, np.float32, ("C", "W"))


def _refuse_broken_signals(x: NDArray[np.float32]) -> None:
    windows, channels = np.nonzero(~np.isfinite(x).all(axis=-1))
    if len(windows):
        raise ValueError(
            f"X holds NaN or infinity (or more than float32 can hold) in "
            f"{len(set(windows))} of {len(x)} windows, first in window {windows[0]}, "
            f"channel {channels[0]}: drop or repair these"
        )


def _read_recordings(X: Any) -> list[_Recording] | None:
    """Read everything that describes its own channels; None for the rest."""
    if isinstance(X, mne.io.BaseRaw | RawDataset):
        raise TypeError(_CUT_FIRST)
    if isinstance(X, mne.BaseEpochs):
        return [_read_epochs(X)]
    if isinstance(X, list | tuple) and X:
        if all(isinstance(item, mne.BaseEpochs) for item in X):
            return [_read_epochs(item) for item in X]
    if isinstance(X, WindowsDataset | EEGWindowsDataset):
        return [_read_dataset(X)]
    if isinstance(X, BaseConcatDataset):
        return _read_concatenation(X)
    return None


def _read_concatenation(X: BaseConcatDataset[Any]) -> list[_Recording]:
    recordings = []
    for dataset in X.datasets:
        if isinstance(dataset, RawDataset):
            raise TypeError(_CUT_FIRST)
        if not isinstance(dataset, WindowsDataset | EEGWindowsDataset):
            raise TypeError(f"X holds a {_kind(dataset)}: {_ACCEPTED}")
        if len(dataset):
            recording = _read_dataset(dataset)
            if X.target_transform is not None:
                y = [X.target_transform(target) for target in recording.y or ()]
                recording = recording._replace(y=y)
            recordings.append(recording)
    return recordings


def _read_epochs(epochs: mne.BaseEpochs) -> _Recording:
    info = epochs.info
    rows = eeg_rows(info.get_channel_types())
    x = epochs.get_data(picks=rows, copy=False, verbose="error")
    return _Recording(x, None, [info["chs"][row] for row in rows], info["sfreq"])


def eeg_rows(kinds: Sequence[str]) -> list[int]:
    """Tell which channels are EEG, from the types of all.

    Parameters
    ----------
    kinds : sequence of str
        Types of channels, as ``info.get_channel_types()`` gives them.

    Returns
    -------
    list of int
        Rows of type "eeg"; all where every channel is "misc", as MNE makes them when
        nobody declares anything.

    Raises
    ------
    ValueError
        If there is none.
    """
    rows = [row for row, kind in enumerate(kinds) if kind == "eeg"]
    if not rows and set(kinds) == {"misc"}:
        return list(range(len(kinds)))
    if not rows:
        raise ValueError(
            f"X has channels of type {', '.join(sorted(set(kinds)))} and none of type "
            'eeg: declare them by set_channel_types({"Cz": "eeg", ...})'
        )
    return rows


def _read_dataset(dataset: WindowsDataset | EEGWindowsDataset) -> _Recording:
    items = [dataset[index] for index in range(len(dataset))]
    if not items:
        raise ValueError(_EMPTY)
    lengths = sorted({item[0].shape[-1] for item in items})
    if len(lengths) > 1:
        raise ValueError(_say_they_differ(lengths, "samples"))
    source = dataset.raw if isinstance(dataset, EEGWindowsDataset) else dataset.windows
    channels, kinds = source.info["chs"], source.info.get_channel_types()
    if dataset.targets_from == "channels":
        # these windows come without their misc channels, which are the targets
        kept = [row for row, kind in enumerate(kinds) if kind != "misc"]
        channels, kinds = [channels[i] for i in kept], [kinds[i] for i in kept]
    if items[0][0].shape[0] != len(channels):
        raise ValueError(
            f"windows have {items[0][0].shape[0]} channels and their recording "
            f"{len(channels)}: a transform may not add or drop any"
        )
    rows = eeg_rows(kinds)
    return _Recording(
        np.stack([item[0][rows] for item in items]),
        [item[1] for item in items],
        [channels[row] for row in rows],
        source.info["sfreq"],
    )


def _merge(recordings: list[_Recording], declared: _Declared) -> Windows:
    recordings = [recording for recording in recordings if len(recording.x)]
    if not recordings:
        raise ValueError(_EMPTY)
    lengths = sorted({recording.x.shape[-1] for recording in recordings})
    rates = sorted({float(recording.sfreq) for recording in recordings})
    for what, values in (("samples", lengths), ("Hz", rates)):
        if not np.allclose(values, values[0], rtol=1e-6, atol=0):
            raise ValueError(_say_they_differ(values, what))
    if declared.sfreq is not None and not np.isclose(rates[0], declared.sfreq, 1e-6, 0):
        raise ValueError(
            f"X is sampled at {rates[0]} Hz and the estimator was told "
            f"{declared.sfreq}: leave sfreq out, or resample X"
        )
    places = _find_places(recordings, declared)
    targets = [target for recording in recordings for target in recording.y or ()]
    y = np.array(targets) if targets else None
    signals = [_as_float32(recording.x) for recording in recordings]
    first = places[0]
    if all(place is first for place in places):
        return Windows(np.concatenate(signals), y, *first, None, rates[0], True)
    return _fill_up(signals, y, places, rates[0])


def _say_they_differ(values: Sequence[float], unit: str) -> str:
    return (
        f"X holds windows of {' and '.join(map(str, values))} {unit}: cut and resample "
        "all recordings alike"
    )


def _find_places(recordings: list[_Recording], declared: _Declared) -> list[_Place]:
    """Place of each recording; equal ones are one object."""
    known: dict[tuple[Any, ...], _Place] = {}
    places = []
    for recording in recordings:
        key = tuple(
            (channel["ch_name"], np.asarray(channel["loc"][:3]).tobytes())
            for channel in recording.channels
        )
        if key not in known:
            known[key] = _find_place(recording.channels, declared)
        places.append(known[key])
    return places


def _find_place(channels: Channels, declared: _Declared) -> _Place:
    names = tuple(channel["ch_name"] for channel in channels)
    if declared.place is None:
        return _Place(names, positions_from_chs_info(channels))
    if set(names) != set(declared.place.names):
        raise ValueError(
            f"X has the channels {_some(names)}, and the estimator was told "
            f"{_some(declared.place.names)}: leave ch_names and chs_info out, or pick "
            "these channels of X"
        )
    if not declared.measured:
        return _Place(names, positions_from_chs_info(channels))
    rows = [declared.place.names.index(name) for name in names]
    told = declared.place.positions[rows]
    measured = np.array([channel["loc"][:3] for channel in channels])
    has_place = np.isfinite(measured).all(axis=1) & measured.any(axis=1)
    own = positions_from_chs_info(channels, unknown="nan")
    far = has_place & ~(np.linalg.norm(own - told, axis=1) < _SAME_PLACE)
    if far.any():
        moved = [name for name, is_far in zip(names, far, strict=True) if is_far]
        raise ValueError(
            f"X and chs_info place {_some(moved)} more than 1 mm apart: leave chs_info "
            "out, or remove the montage of X by set_montage(None)"
        )
    return _Place(names, told)


def _fill_up(
    signals: list[NDArray[np.float32]],
    y: NDArray[Any] | None,
    places: list[_Place],
    sfreq: float,
) -> Windows:
    """Join windows of several montages; what is missing becomes zeros."""
    counts = [signal.shape[1] for signal in signals]
    sizes = [len(signal) for signal in signals]
    n, n_chans, n_times = sum(sizes), max(counts), signals[0].shape[2]
    x = np.zeros((n, n_chans, n_times), np.float32)
    positions = np.zeros((n, n_chans, 3))
    ch_mask = np.zeros((n, n_chans), bool)
    stop = np.cumsum(sizes)
    for end, signal, place in zip(stop, signals, places, strict=True):
        part = (slice(end - len(signal), end), slice(signal.shape[1]))
        x[part], positions[part], ch_mask[part] = signal, place.positions, True
    mask = None if ch_mask.all() else ch_mask
    return Windows(x, y, (), positions, mask, sfreq, True)
