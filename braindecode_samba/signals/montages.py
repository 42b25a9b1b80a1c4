"""Electrode positions: which one a channel has, and tables of them on disk.

There is one frame, MNE's head frame, and one unit, the metre.  How names are read and
heads are fitted is in `template`; networks are no matter of this module.
"""

import dataclasses
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import mne
import numpy as np
from numpy.typing import ArrayLike, NDArray

from braindecode_samba._paths import data_folder, whole_file
from braindecode_samba.signals.template import (
    Unknown,
    align_to_template,
    check_names,
    chs_info_from_names,
    colin27_head_transform,
    describe_channels,
    parse_channel_name,
    positions_from_names,
    refuse_unknown,
    resolve_template,
    target_names,
    target_positions,
    template_positions,
    to_colin27_mri,
    to_head,
)

__all__ = [
    "Montage",
    "available_montages",
    "check_positions",
    "chs_info_from_names",
    "colin27_head_transform",
    "load_montage",
    "montage_from_raw",
    "positions_from_chs_info",
    "positions_from_names",
    "target_names",
    "target_positions",
    "to_colin27_mri",
    "to_head",
    "write_montage",
]

_FRAMES = ("head", "colin27_mri")
_COLUMNS = ("name", "x", "y", "z", "frame")
_LARGEST_MEDIAN_NORM = 2.0  # metres; random positions in a unit cube stay below
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
        On another shape, on values that are no finite real numbers, and if the median
        distance from the origin exceeds 2: those are not metres.
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
    _check_metres(points)
    return points


def _real_array(values: Any, what: str) -> NDArray[np.float64]:
    try:
        array = np.asarray(values)
        if not np.iscomplexobj(array):
            return array.astype(np.float64)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{what} are no rectangular array of numbers") from error
    raise ValueError(f"{what} are complex: pass real numbers in metres")


def _check_metres(points: NDArray[np.float64]) -> None:
    # hypot, as squares of absurd numbers would overflow with a warning
    norm = float(np.median(np.hypot.reduce(points, axis=1)))
    if norm > _LARGEST_MEDIAN_NORM:
        raise ValueError(
            f"the median distance of the electrodes from the origin is {norm:.4g}: "
            "not metres (millimetres or centimetres?); pass positions in metres"
        )


def positions_from_chs_info(
    chs_info: Sequence[Mapping[str, Any]],
    *,
    align: bool = False,
    unknown: Unknown = "raise",
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

    Returns
    -------
    ndarray, shape (n, 3)
        Head frame, metres, float64.

    Raises
    ------
    ValueError
        If channels have no position (all are listed), if the measured ones are not in
        metres or not in the head frame, or if with `align` fewer than 4 electrodes
        agree with the template or the head is mirrored.
    TypeError
        If `chs_info` is not a sequence of dicts.

    Examples
    --------
    >>> positions_from_chs_info([{"ch_name": "Cz", "loc": [0.0, 0.0, 0.1]}])
    array([[0. , 0. , 0.1]])
    """
    channels = _check_chs_info(chs_info)
    names = check_names([channel.get("ch_name", "") for channel in channels])
    positions = positions_from_names(names, unknown="nan")
    sites = [parse_channel_name(name) for name in names]
    measured = np.array([_measured(channel) for channel in channels])
    single = np.array([len(site) != 2 for site in sites])
    rows = np.flatnonzero(single & np.isfinite(measured).all(axis=1))
    if len(rows):
        _check_frames([channels[row] for row in rows])
        _check_metres(measured[rows])
        if align:
            measured[rows] = align_to_template(measured[rows], positions[rows])
        positions[rows] = measured[rows]
    refuse_unknown(names, positions, unknown)
    return positions


def _check_chs_info(
    chs_info: Sequence[Mapping[str, Any]],
) -> list[Mapping[str, Any]]:
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


def _measured(channel: Mapping[str, Any]) -> NDArray[np.float64]:
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


@dataclasses.dataclass(frozen=True, eq=False)
class Montage:
    """Named electrode positions.

    Parameters
    ----------
    name : str
        What the montage is called.
    names : tuple of str
        One name for each electrode, none twice.
    positions : array-like, shape (n, 3)
        Metres; kept as a float64 copy.
    frame : {"head", "colin27_mri"}
        MNE's head frame, or the colin27 template's own ("mri" in MNE).  What
        `load_montage` gives is in the head frame.
    source : str
        Where the positions come from, and under which licence.

    Raises
    ------
    ValueError
        If a name is empty, not printable or there twice, if positions don't fit the
        names or are not metres, or if the frame is unknown.
    TypeError
        If names are not text.
    """

    name: str
    names: tuple[str, ...]
    positions: NDArray[np.float64]
    frame: str = "head"
    source: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "names", tuple(check_names(self.names)))
        object.__setattr__(self, "positions", check_positions(self.positions))
        for row, name in enumerate(self.names):
            _check_electrode_name(name, f"electrode {row}")
        if repeated := _repeated(self.names):
            raise ValueError(f"electrodes are there twice: {', '.join(repeated)}")
        if len(self.names) != len(self.positions):
            raise ValueError(
                f"{len(self.names)} names and {len(self.positions)} positions: "
                "pass one position for each name"
            )
        if self.frame not in _FRAMES:
            raise ValueError(f"frame is one of {_FRAMES}, not {self.frame!r}")

    def chs_info(self) -> list[dict[str, Any]]:
        """Channel descriptions in the head frame, as braindecode's models take them.

        Returns
        -------
        list of dict
            ``ch_name``, ``kind="eeg"`` and ``loc``, shape (12,), metres.
        """
        convert = to_head if self.frame == "colin27_mri" else np.asarray
        return describe_channels(self.names, convert(self.positions))


def _check_electrode_name(name: str, where: str) -> None:
    if not name or name != name.strip() or not name.isprintable():
        raise ValueError(
            f"{where}: the name is {name!r}, not printable text without spaces around"
        )


def _repeated(names: Sequence[str]) -> list[str]:
    return sorted({name for name in names if names.count(name) > 1})


def available_montages() -> tuple[str, ...]:
    """Names that `load_montage` takes beside files.

    Returns
    -------
    tuple of str
        The tables of this package, then MNE's own montages.
    """
    return (*_tables(), *mne.channels.get_builtin_montages())


def _tables() -> dict[str, Path]:
    files = sorted(data_folder("montages").glob("*.tsv"))
    return {file.stem: file for file in files}


def load_montage(name_or_path: str | os.PathLike[str]) -> Montage:
    """Load a table of this package, one of MNE's montages, or a table of your own.

    A table is tab-separated UTF-8 text: comment lines that begin with ``#``, a header
    with the columns name, x, y, z, frame in any order, and one line for each electrode,
    in metres.  The frame is ``head`` or ``colin27_mri``, the same in all lines.

    Parameters
    ----------
    name_or_path : str or path-like
        A name of `available_montages` (MNE's old names ``standard_*`` too), else the
        path of a table.

    Returns
    -------
    Montage
        In the head frame.

    Raises
    ------
    ValueError
        If the name is unknown, or the table broken: with the file and the line.
    OSError
        If the file can't be read.

    Examples
    --------
    >>> load_montage("muse_4").names
    ('TP9', 'AF7', 'AF8', 'TP10')
    >>> len(load_montage("standard_1020").names)
    94
    """
    if isinstance(name_or_path, str):
        if table := _tables().get(name_or_path):
            return _read_table(table)
        if listed := resolve_template(name_or_path):
            places = template_positions(listed)
            source = f"MNE-Python's montage {listed}"
            positions = np.array(list(places.values()))
            return Montage(listed, tuple(places), positions, source=source)
        if not Path(name_or_path).exists():
            raise ValueError(
                f"{name_or_path!r} is neither a file nor a known montage; "
                f"known are {', '.join(available_montages())}"
            )
    return _read_table(Path(name_or_path))


def _read_table(path: Path) -> Montage:
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not UTF-8 text: pass a table (.tsv)") from error
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    n_comments = next(
        (row for row, line in enumerate(lines) if not line.startswith("#")), len(lines)
    )
    source = "\n".join(line[1:].strip() for line in lines[:n_comments])
    numbered = [
        (row, [field.strip() for field in line.split("\t")])
        for row, line in enumerate(lines, start=1)
        if row > n_comments and line.strip()
    ]
    if len(numbered) < 2:
        raise ValueError(f"{path} holds no electrodes: expected {_header()}")
    columns = _read_header(path, *numbered[0])
    names: list[str] = []
    positions: list[list[float]] = []
    for row, fields in numbered[1:]:
        where = f"{path}, line {row}"
        if len(fields) != len(numbered[0][1]):
            raise ValueError(
                f"{where}: {len(fields)} fields under {len(numbered[0][1])} columns"
            )
        name, *place, frame = (fields[column] for column in columns)
        _check_electrode_name(name, where)
        if name in names:
            raise ValueError(f"{where}: electrode {name!r} is there twice")
        names.append(name)
        positions.append(_read_place(where, place))
        if frame not in _FRAMES:
            raise ValueError(f"{where}: frame {frame!r} is none of {_FRAMES}")
        if frame != (first := numbered[1][1][columns[-1]]):
            raise ValueError(f"{where}: frame {frame!r} after lines in {first!r}")
    try:
        montage = Montage(path.stem, tuple(names), np.array(positions), frame, source)
    except ValueError as error:
        raise ValueError(f"{path}, from line {numbered[1][0]} on: {error}") from error
    if montage.frame == "head":
        return montage
    return dataclasses.replace(montage, positions=to_head(positions), frame="head")


def _header() -> str:
    return f"a line with the columns {', '.join(_COLUMNS)}, separated by tabs"


def _read_header(path: Path, row: int, fields: list[str]) -> list[int]:
    found = [field.casefold() for field in fields]
    for column in _COLUMNS:
        if found.count(column) != 1:
            raise ValueError(
                f"{path}, line {row}: {found.count(column)} columns are called "
                f"{column!r}, expected {_header()}"
            )
    return [found.index(column) for column in _COLUMNS]


def _read_place(where: str, fields: list[str]) -> list[float]:
    try:
        place = [float(field) for field in fields]
    except ValueError as error:
        raise ValueError(f"{where}: {fields} are not three numbers") from error
    if not np.isfinite(place).all():
        raise ValueError(f"{where}: {fields} are not three finite numbers")
    return place


def write_montage(path: str | os.PathLike[str], montage: Montage) -> None:
    """Write a table that `load_montage` reads back exactly.

    The file appears whole or not at all: it is written beside its place and moved.

    Parameters
    ----------
    path : str or path-like
        An existing file is replaced.
    montage : Montage
        What to write; ``source`` becomes the comment at the top.

    Raises
    ------
    OSError
        If the file can't be written.
    """
    rows = [
        "\t".join((name, *(repr(float(value)) for value in place), montage.frame))
        for name, place in zip(montage.names, montage.positions, strict=True)
    ]
    comments = [f"# {line}".rstrip() for line in montage.source.splitlines()]
    text = "\n".join((*comments, "\t".join(_COLUMNS), *rows, ""))
    content = text.encode("utf-8")
    with whole_file(Path(path)) as file:
        file.write(content)


def montage_from_raw(
    raw: mne.io.BaseRaw | mne.BaseEpochs,
    path: str | os.PathLike[str] | None = None,
    name: str = "recording",
) -> Montage:
    """Take the measured positions of a recording's EEG channels.

    This is the way to a table for caps that no template knows, such as the 128
    digitised electrodes of GrosseWentrup2009.  Names alone give no position here.

    Parameters
    ----------
    raw : mne.io.BaseRaw or mne.BaseEpochs
        Anything with an ``info``; bad channels are kept.
    path : str or path-like, optional
        Where to write the table as well.
    name : str
        Name of the montage.

    Returns
    -------
    Montage
        In the head frame, in the recording's order.

    Raises
    ------
    TypeError
        If `raw` has no ``info``.
    ValueError
        If there is no EEG channel, or one without a measured position.
    """
    if not isinstance(getattr(raw, "info", None), mne.Info):
        raise TypeError(f"raw is an mne Raw or Epochs, not a {type(raw).__name__}")
    picks = mne.pick_types(raw.info, eeg=True, exclude=[])
    if len(picks) == 0:
        raise ValueError("the recording has no EEG channels")
    channels = [raw.info["chs"][pick] for pick in picks]
    names = [channel["ch_name"] for channel in channels]
    refuse_unknown(names, np.array([_measured(ch) for ch in channels]), "raise")
    montage = Montage(
        name,
        tuple(names),
        positions_from_chs_info(channels),
        source="Measured electrode positions of one recording",
    )
    if path is not None:
        write_montage(path, montage)
    return montage
