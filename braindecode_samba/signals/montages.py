"""Montages: named electrode positions, and tables of them on disk.

Which position a channel of a recording has is in `positions`, how names are read in
`template`; networks are no matter of this module.
"""

import dataclasses
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import mne
import numpy as np
from numpy.typing import NDArray

from braindecode_samba._paths import data_folder, whole_file
from braindecode_samba.signals.positions import (
    check_positions,
    position_in_loc,
    positions_from_chs_info,
)
from braindecode_samba.signals.template import (
    check_names,
    describe_channels,
    refuse_unknown,
    resolve_template,
    template_positions,
    to_head,
)
from braindecode_samba.signals.template import (
    positions_from_names as positions_from_names,
)

_FRAMES = ("head", "colin27_mri")
_COLUMNS = ("name", "x", "y", "z", "frame")


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


def load_montage(
    name_or_path: str | os.PathLike[str], *, positions: str = "checked"
) -> Montage:
    """Load a table of this package, one of MNE's montages, or a table of your own.

    A table is tab-separated UTF-8 text: comment lines that begin with ``#``, a header
    with the columns name, x, y, z, frame in any order, and one line for each electrode,
    in metres.  The frame is ``head`` or ``colin27_mri``, the same in all lines.

    Parameters
    ----------
    name_or_path : str or path-like
        A name of `available_montages` (MNE's old names ``standard_*`` too), else the
        path of a table.
    positions : {"checked", "measured", "names"}
        What happens where a table contradicts the names, see `positions_from_chs_info`.

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
            points = np.array(list(places.values()))
            return Montage(listed, tuple(places), points, source=source)
        if not Path(name_or_path).exists():
            raise ValueError(
                f"{name_or_path!r} is neither a file nor a known montage; "
                f"known are {', '.join(available_montages())}"
            )
    path = Path(name_or_path)
    montage = _read_table(path)
    channels = [
        {"ch_name": name, "loc": place}
        for name, place in zip(montage.names, montage.positions, strict=True)
    ]
    try:
        settled = positions_from_chs_info(channels, unknown="nan", positions=positions)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    if positions != "names":
        return montage
    return dataclasses.replace(montage, positions=settled)


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
        If the file can't be written, or its folder is not there.
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
    refuse_unknown(names, np.array([position_in_loc(ch) for ch in channels]), "raise")
    montage = Montage(
        name,
        tuple(names),
        positions_from_chs_info(channels),
        source="Measured electrode positions of one recording",
    )
    if path is not None:
        write_montage(path, montage)
    return montage
