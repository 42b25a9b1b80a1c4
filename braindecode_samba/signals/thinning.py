"""Windows as they would have been recorded with fewer electrodes.

A decoder that has seen a person on several montages loses less on a headset that it
has not.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.distance import cdist

from braindecode_samba.signals.inputs import Windows
from braindecode_samba.signals.montages import load_montage, positions_from_names

# an electrode this near stands for one that is asked for, metres
_NEAR = 0.02


def thinned_too(
    windows: Windows, montages: Sequence[str | Sequence[str]]
) -> tuple[Windows, NDArray[np.intp]]:
    """Windows, and behind each the same on every montage.

    Whoever splits windows without knowing people finds all forms of one side by side.

    Parameters
    ----------
    windows : Windows
        Of one montage.
    montages : sequence
        Names of shipped montages (`braindecode_samba.load_montage`), or lists of names
        of electrodes and of pairs, as "FC3-CP3".

    Returns
    -------
    windows : Windows
        So many times more; electrodes that are not there are masked, and a recording on
        another montage is one of its own.
    rows : ndarray, shape (n,)
        The original window of each.

    Raises
    ------
    ValueError
        If windows come of several montages, or an electrode of a montage has none
        within 20 mm.
    """
    if windows.positions.ndim == 3:
        raise ValueError(
            "montages thins out one montage, and X holds several: leave it out"
        )
    n, n_chans, _ = windows.x.shape
    chosen = [(np.eye(n_chans, dtype=np.float32), windows.positions)]
    chosen += [_leads(windows, montage) for montage in montages]
    most = max(len(leads) for leads, _ in chosen)
    x = np.zeros((len(chosen) * n, most, windows.x.shape[2]), np.float32)
    positions = np.zeros((len(x), most, 3))
    ch_mask = np.zeros((len(x), most), bool)
    for k, (leads, places) in enumerate(chosen):
        part = (slice(k, None, len(chosen)), slice(len(leads)))
        x[part] = leads @ windows.x
        positions[part] = places
        ch_mask[part] = True
    rows = np.repeat(np.arange(n), len(chosen))
    which = np.tile(np.arange(len(chosen)), n)
    groups, people = windows.groups, windows.people
    if groups is not None:
        both = zip(groups[rows].tolist(), which.tolist(), strict=True)
        groups = np.array([f"{key} on montage {k}" for key, k in both])
    thinned = replace(
        windows,
        x=x,
        y=None if windows.y is None else np.asarray(windows.y)[rows],
        names=(),
        positions=positions,
        ch_mask=ch_mask,
        groups=groups,
        subjects=None if people is None else people[rows],
    )
    return thinned, rows


def _leads(
    windows: Windows, montage: str | Sequence[str]
) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    """Give what makes leads of electrodes, and where they lie."""
    names = load_montage(montage).names if isinstance(montage, str) else montage
    places = positions_from_names(names)
    leads = np.zeros((len(names), windows.x.shape[1]), np.float32)
    for row, name in enumerate(names):
        # a pair is the first electrode less the second
        for sign, electrode in zip((1, -1), name.split("-"), strict=False):
            leads[row, _nearest(windows, electrode)] += sign
    return leads, places


def _nearest(windows: Windows, name: str) -> int:
    distances = cdist(positions_from_names([name]), windows.positions)[0]
    if distances.min() > _NEAR:
        raise ValueError(
            f"montages asks for {name}, and X has no electrode within "
            f"{_NEAR * 1e3:g} mm of it: pass a montage whose electrodes X has"
        )
    return int(distances.argmin())
