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
    """Windows, and behind them each once more on every montage.

    Parameters
    ----------
    windows : Windows
        Of one montage.
    montages : sequence
        Names of shipped montages (`braindecode_samba.load_montage`), or lists of names
        of electrodes.

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
    chosen = [np.arange(n_chans)]
    chosen += [_electrodes(windows, montage) for montage in montages]
    x = np.zeros((len(chosen) * n, *windows.x.shape[1:]), np.float32)
    positions = np.zeros((len(x), n_chans, 3))
    ch_mask = np.zeros((len(x), n_chans), bool)
    for k, electrodes in enumerate(chosen):
        part = (slice(k * n, (k + 1) * n), slice(len(electrodes)))
        x[part] = windows.x[:, electrodes]
        positions[part] = windows.positions[electrodes]
        ch_mask[part] = True
    rows = np.tile(np.arange(n), len(chosen))
    which = np.repeat(np.arange(len(chosen)), n)
    groups, subjects = windows.groups, windows.subjects
    if groups is not None:
        subjects = groups if subjects is None else subjects
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
        subjects=None if subjects is None else subjects[rows],
    )
    return thinned, rows


def _electrodes(windows: Windows, montage: str | Sequence[str]) -> NDArray[np.intp]:
    if isinstance(montage, str):
        found = load_montage(montage)
        names, places = list(found.names), found.positions
    else:
        names, places = list(montage), positions_from_names(montage)
    distances = cdist(places, windows.positions)
    if (distances.min(axis=1) > _NEAR).any():
        worst = int(distances.min(axis=1).argmax())
        raise ValueError(
            f"montages asks for {names[worst]}, and X has no electrode within "
            f"{_NEAR * 1e3:g} mm of it: pass a montage whose electrodes X has"
        )
    return np.unique(distances.argmin(axis=1))
