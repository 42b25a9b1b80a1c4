"""The template head: what a channel name means in it, and its frames.

Names are read as recordings write them and looked up in one template, colin27 [1]_ as
it ships with MNE, in MNE's head frame and in metres.  Here are also the targets of the
spatial embedding.  Which position a channel has is in `positions`, tables are in
`montages`, fits of measured heads in `fitting`.

References
----------
.. [1] Oostenveld, R., & Praamstra, P. (2001). The five percent electrode system for
   high-resolution EEG and ERP measurements. Clinical Neurophysiology, 112(4).
"""

import functools
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

import mne
import numpy as np
from numpy.typing import ArrayLike, NDArray

from braindecode_samba.signals.heads import contradiction

Unknown = Literal["raise", "nan"]

# names of channels in an error
_MOST_SHOWN = 10
_OLD_TEMPLATE, _NEW_TEMPLATE = "standard_", "colin27_"
_SITES_TEMPLATE = "colin27_1005"
_TARGETS_TEMPLATE = "colin27_1020"

# Old temporal names count only where the template lacks them.  T1 and T2 of clinical
# recordings lie in front of and below T3 and T4: FT9 and FT10 are the nearest sites.
_ALIASES = {
    "t3": "t7",
    "t4": "t8",
    "t5": "p7",
    "t6": "p8",
    "t1": "ft9",
    "t2": "ft10",
}
_EARS = frozenset({"a1", "a2", "m1", "m2"})
_REFERENCES = (
    "REF",  # whatever the amplifier used
    *("LE", "LER", "CLE", "AA", r"A1\+?A2"),  # ears
    *("LM", r"M1\+?M2"),  # mastoids
    *("AVG", "AVE", "AV", "AR", "CAR"),  # average
)
_DASHES = r"\-\u2010\u2013\u2212"  # hyphens, en dash, minus sign
_PREFIX = re.compile(rf"^\s*(?:EEG|POL)[\s._:{_DASHES}]*", re.IGNORECASE)
# MNE numbers two channels of one name: "T8-P8-0", "T8-P8-1"; no other number is taken,
# since "F3-4" is somebody's F3-F4
_RUNNING_NUMBER = re.compile(r"(?<=\w)-[01]\s*$")
_REFERENCE = re.compile(
    rf"[\s._:/{_DASHES}]+(?:{'|'.join(_REFERENCES)})[\s.]*$", re.IGNORECASE
)
_BETWEEN_SITES = re.compile(rf"[_:/{_DASHES}]")
_NO_PART_OF_A_SITE = re.compile(r"[\s.]+")


def resolve_template(name: str) -> str | None:
    """Name under which the installed MNE lists a template, or None.

    MNE 1.13 renamed ``standard_*`` to ``colin27_*``; both spellings are understood
    with every MNE, and asking for the listed one emits no warning.
    """
    listed = mne.channels.get_builtin_montages()
    spellings = [name]
    for given, other in (
        (_OLD_TEMPLATE, _NEW_TEMPLATE),
        (_NEW_TEMPLATE, _OLD_TEMPLATE),
    ):
        if name.startswith(given):
            spellings.append(other + name.removeprefix(given))
    return next((spelling for spelling in spellings if spelling in listed), None)


@functools.cache
def _montage_and_transform(name: str) -> tuple[Any, NDArray[np.float64]]:
    listed = resolve_template(name)
    if listed is None:
        raise ValueError(f"MNE has no montage {name!r}")
    montage = mne.channels.make_standard_montage(listed)
    transform = mne.channels.compute_native_head_t(montage, on_missing="raise")
    return montage, np.asarray(transform["trans"], dtype=np.float64)


def template_positions(name: str) -> dict[str, NDArray[np.float64]]:
    """Electrodes of one of MNE's own montages, in the head frame.

    Parameters
    ----------
    name : str
        One of MNE's names, old or new (``"standard_1005"``, ``"colin27_1005"``, ...).

    Returns
    -------
    dict of str to ndarray, shape (3,)
        Positions in metres, in MNE's order: what ``set_montage`` writes to ``loc``.

    Raises
    ------
    ValueError
        If MNE has no such montage.
    """
    montage, transform = _montage_and_transform(name)
    places = montage.get_positions()["ch_pos"]
    return {site: _apply(transform, place) for site, place in places.items()}


def _apply(
    transform: NDArray[np.floating[Any]], positions: ArrayLike
) -> NDArray[np.float64]:
    points = np.asarray(positions, dtype=np.float64)
    if points.ndim == 0 or points.shape[-1] != 3:
        raise ValueError(f"positions end in x, y, z, so not shape {points.shape}")
    return points @ transform[:3, :3].T + transform[:3, 3]


def colin27_head_transform() -> NDArray[np.float64]:
    """Transform from the colin27 template's own frame to the head frame.

    Returns
    -------
    ndarray, shape (4, 4)
        Homogeneous matrix, metres; MNE calls the frame it starts from "mri".
    """
    return _montage_and_transform(_SITES_TEMPLATE)[1].copy()


def to_head(positions: ArrayLike) -> NDArray[np.float64]:
    """Take positions from the colin27 template's own frame to the head frame.

    Parameters
    ----------
    positions : array-like, shape (..., 3)
        Metres.

    Returns
    -------
    ndarray, shape (..., 3)
        Metres, float64.

    See Also
    --------
    to_colin27_mri : The inverse.
    """
    return _apply(colin27_head_transform(), positions)


def to_colin27_mri(positions: ArrayLike) -> NDArray[np.float64]:
    """Take positions from the head frame to the colin27 template's own frame.

    The published SAMBA network was trained with positions in this frame.

    Parameters
    ----------
    positions : array-like, shape (..., 3)
        Metres.

    Returns
    -------
    ndarray, shape (..., 3)
        Metres, float64.

    See Also
    --------
    to_head : The inverse.
    """
    return _apply(np.linalg.inv(colin27_head_transform()), positions)


def target_names() -> tuple[str, ...]:
    """Names of the 94 target electrodes of the spatial embedding.

    Returns
    -------
    tuple of str
        The electrodes of ``colin27_1020`` in MNE's order, from Fp1 to A2.
    """
    return tuple(_montage_and_transform(_TARGETS_TEMPLATE)[0].ch_names)


def target_positions() -> NDArray[np.float64]:
    """Positions of the 94 target electrodes, in the head frame.

    T3, T4, T5 and T6 lie where T7, T8, P7 and P8 do.

    Returns
    -------
    ndarray, shape (94, 3)
        Metres, float64, a new array at every call.
    """
    return np.array(list(template_positions(_TARGETS_TEMPLATE).values()))


@functools.cache
def _sites() -> dict[str, NDArray[np.float64]]:
    """Positions by casefolded name; kept for reading alone."""
    # the larger template calls O9 and O10 of the smaller one I1 and I2
    places = template_positions(_TARGETS_TEMPLATE) | template_positions(_SITES_TEMPLATE)
    sites = {name.casefold(): place for name, place in places.items()}
    for alias, site in _ALIASES.items():
        sites.setdefault(alias, sites[site])
    return sites


def parse_channel_name(name: str) -> tuple[str, ...]:
    """Electrodes that a channel stands for.

    The prefix "EEG" or "POL", dots, spaces, case and a reference ("-REF", "-LE",
    "-AVG", ...) say nothing about the place.  An ear or mastoid (A1, A2, M1, M2) beside
    another electrode is a reference as well, as clinics record: "F3-A2" is F3.  Between
    two ears ("A2-A1") there is no EEG site.

    Parameters
    ----------
    name : str
        A channel's name.

    Returns
    -------
    tuple of str
        One casefolded name, two for a bipolar pair, none for an unknown channel.

    Examples
    --------
    >>> parse_channel_name("EEG Fp1-REF"), parse_channel_name("FP1-F7")
    (('fp1',), ('fp1', 'f7'))
    >>> parse_channel_name("EMG")
    ()
    """
    core = _RUNNING_NUMBER.sub("", _PREFIX.sub("", name))
    core = _REFERENCE.sub("", core)
    parts = [
        _NO_PART_OF_A_SITE.sub("", part).casefold()
        for part in _BETWEEN_SITES.split(core)
    ]
    if len(parts) > 2 or not all(part in _sites() for part in parts):
        return ()
    if len(parts) == 1:
        return tuple(parts)
    return tuple(part for part in parts if part not in _EARS)


def check_names(names: Sequence[str]) -> list[str]:
    """Channel names as a list of str, refused if they are anything else.

    Raises
    ------
    TypeError
        If `names` is one text instead of several, or holds anything but text.
    ValueError
        If there are none.
    """
    if isinstance(names, str | bytes | Mapping):
        raise TypeError(
            f"channel names come as a list of str, not as one {type(names).__name__}"
        )
    if not isinstance(names, Iterable):
        raise TypeError(f"channel names are {names!r}: pass a list of str")
    listed = list(names)
    if not listed:
        raise ValueError("there are no channels: pass at least one name")
    for row, name in enumerate(listed):
        if not isinstance(name, str):
            raise TypeError(
                f"channel name {row} is {name!r}, a {type(name).__name__}; "
                "pass names as str"
            )
    return [str(name) for name in listed]


def refuse_unknown(
    names: Sequence[str], positions: NDArray[np.float64], unknown: Unknown
) -> None:
    """Raise for the channels without a position, unless NaN was asked for.

    Raises
    ------
    ValueError
        With every channel that has no position, or if `unknown` is not an option.
    """
    if unknown not in ("raise", "nan"):
        raise ValueError(f'unknown is "raise" or "nan", not {unknown!r}')
    missing = [
        repr(name)
        for name, position in zip(names, positions, strict=True)
        if not np.isfinite(position).all()
    ]
    if missing and unknown == "raise":
        shown = ", ".join(missing[:_MOST_SHOWN])
        if len(missing) > _MOST_SHOWN:
            shown += ", ..."
        raise ValueError(
            f"no position is known for {len(missing)} of {len(names)} channels "
            f"({shown}): drop what is not EEG, or give places in metres, "
            "as 'loc' in chs_info (raw.set_montage), as pos, or from a montage file "
            "(load_montage(path).chs_info())"
        )


def positions_from_names(
    names: Sequence[str], *, unknown: Unknown = "raise"
) -> NDArray[np.float64]:
    """Positions of channels of the 10-20, 10-10 and 10-5 systems by their names.

    Names are understood in any case, with dots ("Fc5."), with "EEG" before and a
    reference behind ("EEG Fp1-REF", "F3-A2").  A pair ("Fp1-F7") lies at the midpoint
    of its electrodes.  T3, T4, T5, T6 are T7, T8, P7, P8, and T1, T2 are FT9, FT10.

    Parameters
    ----------
    names : sequence of str
        Channel names.
    unknown : {"raise", "nan"}
        What happens to names that say no place: an error, or a row of NaN.

    Returns
    -------
    ndarray, shape (n, 3)
        Head frame, metres, float64.

    Raises
    ------
    ValueError
        With the list of the names that are unknown.
    TypeError
        If `names` is not a sequence of str.

    Examples
    --------
    >>> positions_from_names(["Cz", "EEG T3-LE"]).round(3)
    array([[-0.001,  0.028,  0.14 ],
           [-0.086,  0.015,  0.031]])
    """
    listed = check_names(names)
    positions = np.full((len(listed), 3), np.nan)
    for row, name in enumerate(listed):
        if sites := parse_channel_name(name):
            positions[row] = np.mean([_sites()[site] for site in sites], axis=0)
    refuse_unknown(listed, positions, unknown)
    return positions


def chs_info_from_names(names: Sequence[str]) -> list[dict[str, Any]]:
    """Channel descriptions that carry positions, as braindecode's models take them.

    Parameters
    ----------
    names : sequence of str
        Channel names, as `positions_from_names` reads them.

    Returns
    -------
    list of dict
        ``ch_name`` as given, ``kind="eeg"`` and ``loc``, shape (12,): the position,
        then zeros (MNE's NaN would not survive strict JSON).

    Raises
    ------
    ValueError
        With the list of the names that are unknown.
    TypeError
        If `names` is not a sequence of str.
    """
    return describe_channels(check_names(names), positions_from_names(names))


def describe_channels(
    names: Sequence[str], positions: NDArray[np.float64]
) -> list[dict[str, Any]]:
    """Names and their positions, shape (n, 3), as `chs_info_from_names` gives them.

    Where they contradict each other, somebody insisted on that: it is noted.
    """
    locations = np.zeros((len(names), 12))
    locations[:, :3] = positions
    single = [
        row for row, name in enumerate(names) if len(parse_channel_name(name)) < 2
    ]
    template = positions_from_names(names, unknown="nan")
    said = contradiction(
        [names[row] for row in single], locations[single, :3], template[single]
    )
    insisted = {} if said is None else {"positions": "measured"}
    return [
        {"ch_name": name, "kind": "eeg", "loc": location.copy(), **insisted}
        for name, location in zip(names, locations, strict=True)
    ]


def info_at(
    names: Sequence[str], positions: NDArray[np.float64], sfreq: float = 1.0
) -> mne.Info:
    """Info of EEG channels at positions, shape (n, 3), of the head frame, in metres."""
    info = mne.create_info(list(names), sfreq, "eeg")
    places = dict(zip(names, positions, strict=True))
    return info.set_montage(mne.channels.make_dig_montage(places, coord_frame="head"))
