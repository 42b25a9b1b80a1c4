"""Turn what users hand over into one checked form: signals, places and rate.

Arrays, MNE's Epochs, lists of Epochs and braindecode's windows come in, `Windows` goes
out, or an error that says what to pass instead.  Signals are neither scaled nor
resampled here, and no model is known.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

import mne
import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy.signal import resample_poly
from scipy.sparse import issparse
from sklearn.base import BaseEstimator
from sklearn.utils import Tags, check_array, check_consistent_length
from torch.utils.data import Dataset

from braindecode_samba.signals.arrays import as_numbers
from braindecode_samba.signals.declared import (
    Declared,
    Place,
    as_names,
    declare,
    find_places,
    refuse_odd_exclude,
    some_channels,
)
from braindecode_samba.signals.described import (
    ACCEPTED,
    EMPTY,
    Channels,
    Recording,
    read_recordings,
    say_they_differ,
)
from braindecode_samba.signals.template import describe_channels

Rows = slice | NDArray[np.intp]
RandomState = int | np.random.RandomState | None


class TakesWindows(BaseEstimator):
    """Base of estimators that tells scikit-learn what X is."""

    def __sklearn_tags__(self) -> Tags:
        """Tags of scikit-learn: windows have three dimensions."""
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array = False
        tags.input_tags.three_d_array = True
        return tags


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
    groups : ndarray, shape (n,), or None
        Which recording each window is of, where somebody says so.
    subjects : ndarray, shape (n,), or None
        Which person, likewise.
    bads : tuple of str
        Channels that were left out.
    band : tuple of float, or None
        Edges of what filters have left, Hz, where somebody says so.
    """

    x: NDArray[np.float32]
    y: ArrayLike | None
    names: tuple[str, ...]
    positions: NDArray[np.float64]
    ch_mask: NDArray[np.bool_] | None
    sfreq: float
    brings_positions: bool
    groups: NDArray[Any] | None = None
    subjects: NDArray[Any] | None = None
    bads: tuple[str, ...] = ()
    band: tuple[float, float] | None = None

    @property
    def chs_info(self) -> list[dict[str, Any]] | None:
        """Channel descriptions for a model, or None for several montages."""
        if not self.names:
            return None
        return describe_channels(self.names, self.positions)

    @property
    def people(self) -> NDArray[Any] | None:
        """Who each window is of: the recordings where nobody knows persons."""
        return self.groups if self.subjects is None else self.subjects

    def select(self, rows: Rows) -> "Windows":
        """Take some of the windows, without targets."""
        positions, mask = self.positions, self.ch_mask
        return replace(
            self,
            x=self.x[rows],
            y=None,
            positions=positions if positions.ndim == 2 else positions[rows],
            ch_mask=None if mask is None else mask[rows],
            groups=None if self.groups is None else self.groups[rows],
            subjects=None if self.subjects is None else self.subjects[rows],
        )


def read_windows(
    X: Any,
    y: ArrayLike | None = None,
    *,
    ch_names: Sequence[str] | None = None,
    chs_info: Channels | None = None,
    sfreq: float | None = None,
    exclude: str | Collection[str] = "bads",
    positions: str = "checked",
    groups: ArrayLike | None = None,
    subjects: ArrayLike | None = None,
) -> Windows:
    """Check windows of any accepted kind and bring them into one form.

    Parameters
    ----------
    X : array-like, mne.Epochs, list of mne.Epochs, or windows of braindecode
        An array has the shape (n, channels, times) and needs `sfreq` and one of
        `ch_names` and `chs_info`.  The others bring names, positions and rate; of their
        channels those of type EEG are used.  Recordings with fewer channels are filled
        up with zeros; those at other rates are resampled to that of the first.
    y : array-like of length n, optional
        Targets; None takes those of the data set, if it has any.
    ch_names : sequence of str, optional
        Channels in the order of an array; for other data, which channels to expect.
    chs_info : sequence of dict, optional
        The same with positions (``loc``), as ``info["chs"]`` of MNE.
    sfreq : float, optional
        Sampling rate, Hz.
    exclude : "bads" or collection of str
        Channels to leave out: those that the recording marks as bad, or these.
    positions : {"checked", "measured", "names"}
        What happens to measured places that contradict known names, see
        `positions_from_chs_info`.
    groups : array-like of length n, optional
        Which recording each window is of; None takes what the data say: the columns
        "recording", or "subject" and "session", of the metadata or the description,
        or the items of a list.
    subjects : array-like of length n, optional
        Which person each window is of; None takes the column "subject".

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
    declared = declare(ch_names, chs_info, sfreq, positions)
    refuse_odd_exclude(exclude, "bads")
    recordings = read_recordings(X, exclude)
    if recordings is None:
        windows = _read_array(X, declared)
    else:
        windows = _merge(recordings, declared)
    _refuse_broken_signals(windows.x)
    if groups is not None:
        names = _check_names("groups", groups, len(windows.x))
        windows = replace(windows, groups=names)
    if subjects is not None:
        names = _check_names("subjects", subjects, len(windows.x))
        windows = replace(windows, subjects=names)
    if y is None:
        return windows
    check_consistent_length(windows.x, y)
    return replace(windows, y=y)


def _check_names(name: str, values: ArrayLike, n: int) -> NDArray[Any]:
    """Names of recordings or people, one a window and none missing."""
    names = as_names(name, values)
    if len(names) != n:
        raise ValueError(
            f"{name} has shape {names.shape} and X {n} windows: pass one name a window"
        )
    return names


def _read_array(X: Any, declared: Declared) -> Windows:
    # scipy's dok matrices are dicts too
    strange = isinstance(X, Mapping | str | bytes | Dataset | Iterator | Set | None)
    if (strange and not issparse(X)) or _lost_its_channels(X):
        raise TypeError(f"X is a {_kind(X)}: {ACCEPTED}")
    x = check_array(
        as_numbers(X, "X"), ensure_2d=False, allow_nd=True, ensure_all_finite=False
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
        if x.shape[2] == len(names):
            raise ValueError(
                f"X has shape {x.shape} and {len(names)} names: windows are (n, "
                "channels, times), pass X.transpose(0, 2, 1)"
            )
        raise ValueError(
            f"X has {x.shape[1]} channels and {len(names)} names "
            f"({some_channels(names)}): name each channel of X, in order"
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


def _say_what_is_missing(declared: Declared) -> str:
    missing = []
    if declared.place is None:
        missing.append("ch_names=[...] (or chs_info=[...], with measured positions)")
    if declared.sfreq is None:
        missing.append("sfreq=... (the sampling rate in Hz)")
    return (
        f"X is an array, so the estimator needs {' and '.join(missing)}: pass that to "
        "its constructor, or pass X as mne.Epochs, which bring both"
    )


def _refuse_complex(x: Any) -> None:
    if np.iscomplexobj(x):
        raise ValueError("Complex data not supported: X must hold real signals")


def _as_float32(x: NDArray[Any]) -> NDArray[np.float32]:
    _refuse_complex(x)
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


def _merge(recordings: list[Recording], declared: Declared) -> Windows:
    recordings = [recording for recording in recordings if len(recording.x)]
    if not recordings:
        raise ValueError(EMPTY)
    rate = float(recordings[0].sfreq)
    at_one_rate = [_at_rate(recording, rate) for recording in recordings]
    resampled = any(
        one is not other for one, other in zip(at_one_rate, recordings, strict=True)
    )
    # one sample more or less is rounding of the rates
    lengths = sorted({recording.x.shape[-1] for recording in at_one_rate})
    if lengths[-1] - lengths[0] == 1 and resampled:
        lengths = lengths[:1]
    recordings = [one._replace(x=one.x[..., : lengths[0]]) for one in at_one_rate]
    if len(lengths) > 1:
        raise ValueError(say_they_differ(lengths, "samples"))
    if declared.sfreq is not None and not np.isclose(rate, declared.sfreq, 1e-6, 0):
        raise ValueError(
            f"X is sampled at {rate} Hz and the estimator was told "
            f"{declared.sfreq}: leave sfreq out, or resample X"
        )
    places = find_places(recordings, declared)
    targets = [target for recording in recordings for target in recording.y or ()]
    y = np.array(targets) if targets else None
    signals = [_as_float32(recording.x) for recording in recordings]
    first = places[0]
    if all(place is first for place in places):
        windows = Windows(np.concatenate(signals), y, *first, None, rate, True)
    else:
        windows = _fill_up(signals, y, places, rate)
    return replace(
        windows,
        groups=_names_of([recording.groups for recording in recordings], "groups"),
        subjects=_names_of(
            [recording.subjects for recording in recordings], "subjects"
        ),
        bads=tuple(dict.fromkeys(bad for one in recordings for bad in one.bads)),
        band=(
            max(one.band[0] for one in recordings),
            min(one.band[1] for one in recordings),
        ),
    )


def _names_of(parts: list[list[Any] | None], what: str) -> NDArray[Any] | None:
    """Names of all windows, where every recording has some."""
    known = [part for part in parts if part is not None]
    if len(known) < len(parts):
        return None
    names = [name for part in known for name in part]
    # text and numbers side by side have no order
    if len({type(name) for name in names}) > 1:
        names = [name if pd.isna(name) else str(name) for name in names]
    return _check_names(what, names, len(names))


def _at_rate(recording: Recording, sfreq: float) -> Recording:
    """Resample windows of another rate."""
    if np.isclose(recording.sfreq, sfreq, rtol=1e-6, atol=0):
        return recording
    ratio = Fraction(sfreq / recording.sfreq).limit_denominator(1000)
    x = np.asarray(recording.x, np.float64)
    resampled = resample_poly(
        x, ratio.numerator, ratio.denominator, axis=-1, padtype="line"
    )
    return recording._replace(x=resampled, sfreq=sfreq)


def _fill_up(
    signals: list[NDArray[np.float32]],
    y: NDArray[Any] | None,
    places: list[Place],
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
