"""Which electrode position a channel has: of its pair, else measured, else by its name.

There is one frame, MNE's head frame, and one unit, the metre.  How names are read is in
`template`, tables of positions on disk are in `montages`.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from braindecode_samba.signals.fitting import align_to_template
from braindecode_samba.signals.heads import (
    refuse_no_head,
    refuse_other_units,
    settle_places,
)
from braindecode_samba.signals.template import (
    Unknown,
    check_names,
    parse_channel_name,
    positions_from_names,
    refuse_unknown,
)

# coord_frame of channels: MNE gives 4 (head) to EEG, and 0 (unknown) to channels that
# were declared EEG later and then got a position without a montage
_HEAD_FRAMES = (4, 0)


def check_positions(positions: ArrayLike) -> NDArray[np.float64]:
    """Positions as float64, refused if they can't be electrodes in metres.

    Parameters
    ----------
    positions : array-like, shape (n, 3)
        Metres.

    Returns
    -------
    ndarray, shape (n, 3)
        A float64 copy.

    Raises
    ------
    ValueError
        On another shape, on values that are no finite real numbers, if the median
        distance from the origin exceeds 2 (those are not metres), and if the electrodes
        lie on a sphere that is no head (a radius outside 0.04 to 0.2).
    """
    points = _real_array(positions, "positions")
    if points.ndim != 2 or points.shape[1] != 3 or len(points) == 0:
        raise ValueError(
            f"positions have shape (n, 3) with n >= 1, not {points.shape}: "
            "pass one row of x, y, z for each channel"
        )
    broken = np.flatnonzero(~np.isfinite(points).all(axis=1))
    if len(broken):
        raise ValueError(
            f"positions of channels {broken.tolist()} (from 0) are NaN or infinite: "
            "pass finite metres, or leave these channels out"
        )
    refuse_no_head(points)
    return points


def _real_array(values: Any, what: str) -> NDArray[np.float64]:
    try:
        array = np.asarray(values)
        if not np.iscomplexobj(array):
            return array.astype(np.float64)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{what} are no rectangular array of numbers") from error
    raise ValueError(f"{what} are complex: pass real numbers in metres")


def positions_from_chs_info(
    chs_info: Sequence[Mapping[str, Any]],
    *,
    align: bool = False,
    unknown: Unknown = "raise",
    positions: str = "checked",
) -> NDArray[np.float64]:
    """Position of every channel: of its pair, else measured, else by its name.

    1. A name that is a pair of known electrodes ("Fp1-F7") gives their midpoint, even
       if ``loc`` is set: MNE leaves the anode's place there.
    2. Else a ``loc`` that is finite and not all zero is used as it stands, whatever the
       name: "C3" of a BioSemi cap is not quite C3 of the 10-20 system.
    3. Else the name is looked up, see `positions_from_names`.

    Parameters
    ----------
    chs_info : sequence of dict
        ``info["chs"]`` of MNE, or dicts with ``ch_name`` and, optionally, ``loc`` of 3
        or 12 numbers of which the first three are the position in metres.  A
        ``coord_frame`` is optional and says head (4) or unknown (0); other frames are
        refused, since only the recording knows the transform.
    align : bool
        Map all measured positions to the template's head by one similarity (rotation,
        shift and scale, never a reflection), fitted robustly on at least 4 electrodes
        with known names that then lie within 40 mm of the template.
    unknown : {"raise", "nan"}
        What happens to channels without any position: an error, or a row of NaN.
    positions : {"checked", "measured", "names"}
        What happens to measured places that contradict known names, as those of a
        mirrored, turned or relabelled cap: an error, or these or those are taken.
        Where all entries of `chs_info` have a key ``"positions"``, that counts.

    Returns
    -------
    ndarray, shape (n, 3)
        Head frame, metres, float64.

    Raises
    ------
    ValueError
        If channels have no position (all are listed), if the measured ones contradict
        the names, are not in metres or not in the head frame, or if with `align` fewer
        than 4 electrodes agree with the template or the head is mirrored.
    TypeError
        If `chs_info` is not a sequence of dicts.

    Examples
    --------
    >>> positions_from_chs_info([{"ch_name": "Cz", "loc": [0.0, 0.0, 0.1]}])
    array([[0. , 0. , 0.1]])
    """
    channels = check_chs_info(chs_info)
    names = check_names([channel.get("ch_name", "") for channel in channels])
    places = positions_from_names(names, unknown="nan")
    sites = [parse_channel_name(name) for name in names]
    measured = np.array([position_in_loc(channel) for channel in channels])
    single = np.array([len(site) != 2 for site in sites])
    rows = np.flatnonzero(single & np.isfinite(measured).all(axis=1))
    if len(rows):
        _check_frames([channels[row] for row in rows])
        told = {str(channels[row].get("positions", positions)) for row in rows}
        positions = told.pop() if len(told) == 1 else positions
        if align:
            refuse_other_units(measured[rows])
            places[rows] = align_to_template(measured[rows], places[rows])
        else:
            refuse_no_head(measured[rows])
            single_names = [names[row] for row in rows]
            places[rows] = settle_places(
                single_names, measured[rows], places[rows], positions
            )
    refuse_unknown(names, places, unknown)
    return places


def check_chs_info(chs_info: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Channels as a list of dicts; TypeError if they are anything else."""
    advice = 'pass info["chs"] or a list of dicts with "ch_name" and "loc"'
    if isinstance(chs_info, Mapping | str | bytes) or not isinstance(
        chs_info, Iterable
    ):
        raise TypeError(f"chs_info is a {type(chs_info).__name__}: {advice}")
    channels = list(chs_info)
    for row, channel in enumerate(channels):
        if not isinstance(channel, Mapping):
            raise TypeError(
                f"entry {row} of chs_info is a {type(channel).__name__}: {advice}"
            )
    return channels


def position_in_loc(channel: Mapping[str, Any]) -> NDArray[np.float64]:
    """Position in ``loc``, NaN where there is none."""
    nowhere = np.full(3, np.nan)
    location = channel.get("loc")
    if location is None:
        return nowhere
    what = f"'loc' of channel {channel.get('ch_name', '')!r}"
    numbers = _real_array(location, f"numbers in {what}")
    if numbers.shape not in ((3,), (12,)):
        raise ValueError(
            f"{what} has shape {numbers.shape}: pass 3 numbers, or 12 as MNE does"
        )
    place = numbers[:3]
    return place if np.isfinite(place).all() and place.any() else nowhere


def _check_frames(channels: Iterable[Mapping[str, Any]]) -> None:
    for channel in channels:
        frame = channel.get("coord_frame")
        if frame is not None and frame not in _HEAD_FRAMES:
            raise ValueError(
                f"channel {channel.get('ch_name', '')!r} is in coordinate frame "
                f"{frame}, not in MNE's head frame (4): pass positions in the head "
                "frame, as set_montage writes them"
            )
