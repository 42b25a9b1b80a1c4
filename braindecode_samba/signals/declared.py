"""What callers say about channels, against what the data say: one place for each.

A contradiction is refused here; which kinds of data there are is known in
`braindecode_samba.signals.described`.
"""

from collections.abc import Collection, Sequence
from numbers import Real
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from braindecode_samba.signals.arrays import as_array
from braindecode_samba.signals.described import Channels, Recording
from braindecode_samba.signals.montages import (
    positions_from_chs_info,
    positions_from_names,
)
from braindecode_samba.signals.template import check_names

# two statements about one electrode that differ by less are the same statement
_SAME_PLACE = 1e-3  # metres


def refuse_odd_seconds(**lengths: float | None) -> None:
    """Refuse lengths of time that are none, by the name of the argument."""
    for name, seconds in lengths.items():
        if seconds is None:
            continue
        number = isinstance(seconds, Real) and not isinstance(seconds, bool)
        if not number or not 0 < seconds < float("inf"):
            raise ValueError(f"{name}={seconds!r}: pass finite seconds, above 0")


def refuse_odd_exclude(exclude: Any, *words: str) -> None:
    """Refuse what is neither one of the words nor a list of channels."""
    if isinstance(exclude, str) and exclude in words:
        return
    if isinstance(exclude, str | bytes) or not isinstance(exclude, Collection):
        known = "".join(f"{word!r}, or " for word in words)
        raise ValueError(f"exclude={exclude!r} is unknown: pass {known}a list of names")


def as_names(name: str, values: ArrayLike) -> NDArray[Any]:
    """Names of recordings or people: a row that can be sorted, and none missing."""
    names = as_array(values, name)
    if names.dtype.kind in "cV":
        raise TypeError(f"{name} can't be {names.dtype}: pass text or numbers")
    if names.ndim != 1:
        raise ValueError(f"{name} has shape {names.shape}: pass one name a window")
    gaps = np.flatnonzero(pd.isna(names) | np.isin(names, [np.inf, -np.inf]))
    if len(gaps):
        raise ValueError(
            f"{name} are missing for {len(gaps)} windows, first for {gaps[0]}: say "
            "whose recording each belongs to"
        )
    try:
        hash(tuple(names.tolist()))
        if names.dtype.kind not in "biufUT":
            # dates and the like as files hold them
            told = [one if isinstance(one, str | Real) else str(one) for one in names]
            names = np.array(told)
        np.unique(names)
    except TypeError:
        raise TypeError(
            f"{name} are of kinds that can't be compared: pass all of them as text"
        ) from None
    return names


class Place(NamedTuple):
    """Channels and where they lie, (channels, 3)."""

    names: tuple[str, ...]
    positions: NDArray[np.float64]


class Declared(NamedTuple):
    """What the caller says about the channels beside the data."""

    place: Place | None
    measured: bool
    sfreq: float | None
    positions: str = "checked"


def declare(
    ch_names: Sequence[str] | None,
    chs_info: Channels | None,
    sfreq: float | None,
    positions: str = "checked",
) -> Declared:
    """Check what the caller says, and find the places of named channels.

    Parameters
    ----------
    ch_names, chs_info, sfreq, positions
        As for `braindecode_samba.signals.read_windows`.

    Raises
    ------
    ValueError
        If two of them contradict each other, or one can't be used.
    """
    rate = None
    if sfreq is not None:
        number = isinstance(sfreq, Real) and not isinstance(sfreq, bool)
        if not number or not 0 < sfreq < float("inf"):
            raise ValueError(f"sfreq={sfreq!r} is no sampling rate: pass Hz, above 0")
        rate = float(sfreq)
    place = None
    if chs_info is not None:
        places = positions_from_chs_info(chs_info, positions=positions)
        names = tuple(str(channel.get("ch_name", "")) for channel in chs_info)
        place = Place(names, places)
        if ch_names is not None and tuple(ch_names) != place.names:
            raise ValueError(
                f"ch_names says {some_channels(ch_names)} and chs_info "
                f"{some_channels(place.names)}: pass one of them"
            )
    elif ch_names is not None:
        place = Place(tuple(check_names(ch_names)), positions_from_names(ch_names))
    if place is not None and len(set(place.names)) < len(place.names):
        twice = sorted({name for name in place.names if place.names.count(name) > 1})
        raise ValueError(
            f"channels are named twice: {some_channels(twice)}; pass each once"
        )
    return Declared(place, chs_info is not None, rate, positions)


def some_channels(names: Sequence[str]) -> str:
    """Write out the names of channels, the first ten of many."""
    shown = ", ".join(repr(name) for name in names[:10])
    return shown if len(names) <= 10 else f"{shown}, ... {len(names)} in all"


def find_places(recordings: list[Recording], declared: Declared) -> list[Place]:
    """Place of each recording; equal ones are one object."""
    known: dict[tuple[Any, ...], Place] = {}
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


def _find_place(channels: Channels, declared: Declared) -> Place:
    names = tuple(channel["ch_name"] for channel in channels)
    choice = declared.positions
    if declared.place is None:
        return Place(names, positions_from_chs_info(channels, positions=choice))
    if set(names) != set(declared.place.names):
        raise ValueError(
            f"X has the channels {some_channels(names)}, and the estimator was told "
            f"{some_channels(declared.place.names)}: leave ch_names and chs_info out, "
            "or pick these channels of X"
        )
    if not declared.measured:
        return Place(names, positions_from_chs_info(channels, positions=choice))
    rows = [declared.place.names.index(name) for name in names]
    told = declared.place.positions[rows]
    measured = np.array([channel["loc"][:3] for channel in channels])
    has_place = np.isfinite(measured).all(axis=1) & measured.any(axis=1)
    own = positions_from_chs_info(channels, unknown="nan", positions=choice)
    far = has_place & ~(np.linalg.norm(own - told, axis=1) < _SAME_PLACE)
    if far.any():
        moved = [name for name, is_far in zip(names, far, strict=True) if is_far]
        raise ValueError(
            f"X and chs_info place {some_channels(moved)} more than 1 mm apart: leave "
            "chs_info out, or remove the montage of X by set_montage(None)"
        )
    return Place(names, told)
