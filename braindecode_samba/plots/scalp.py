"""Maps over the scalp: where electrodes lie in a picture, and MNE's map of them.

What the values mean is not known here.
"""

import matplotlib.pyplot as plt
import mne
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from numpy.typing import ArrayLike, NDArray

from braindecode_samba.signals.inputs import Channels
from braindecode_samba.signals.montages import positions_from_chs_info
from braindecode_samba.signals.template import info_at, target_positions

__all__ = ["draw_map", "lay_out_electrodes", "plot_scalp_map"]

# Electrodes that lie on another sphere than the template's are believed if they are
# many and the sphere is a head, in metres: a strip of them lies on many spheres.
_ENOUGH = 16
_RADIUS_RANGE = (0.08, 0.12)
_SAME_PLACE = 1e-3


def plot_scalp_map(
    values: ArrayLike,
    chs_info: Channels,
    *,
    title: str | None = None,
    unit: str | None = None,
    limit: float | None = None,
    axes: Axes | None = None,
) -> Figure:
    """Draw one value an electrode over the scalp, seen from above.

    The head is that of the colin27 template, unless the electrodes are many and lie on
    another sphere, as those of spherical caps do. Values of both signs get diverging
    colours around 0, positive ones begin at 0.

    Parameters
    ----------
    values : array-like, shape (n_chans,)
        What to draw.
    chs_info : sequence of dict
        Electrodes, as ``info["chs"]`` of MNE; pairs lie at their midpoints.
    title, unit : str, optional
        Above the map, and beside its colour bar.
    limit : float, optional
        Value of the strongest colour; the largest one by default.
    axes : matplotlib Axes, optional
        Where to draw.

    Returns
    -------
    matplotlib Figure
        That of the axes.

    Raises
    ------
    ValueError
        If values don't fit the electrodes or are not finite, or if there are less than
        two electrodes, or two share a place.
    """
    data = np.asarray(values, np.float64)
    info, sphere = lay_out_electrodes(chs_info)
    if data.shape != (len(info.ch_names),) or not np.isfinite(data).all():
        raise ValueError(
            f"values have shape {data.shape}: pass one finite number for each of the "
            f"{len(info.ch_names)} electrodes"
        )
    if axes is None:
        _, axes = plt.subplots(figsize=(4.2, 3.6), layout="constrained")
    image = draw_map(axes, data, info, sphere, limit)
    axes.set_title(title or "")
    axes.figure.colorbar(image, ax=axes, shrink=0.7, label=unit or "")
    return axes.figure  # type: ignore[return-value]


def draw_map(
    axes: Axes,
    data: NDArray[np.float64],
    info: mne.Info,
    sphere: tuple[float, ...],
    limit: float | None = None,
    signed: bool | None = None,
) -> AxesImage:
    """Draw with MNE, into axes.

    Parameters
    ----------
    axes : matplotlib Axes
        Where to draw.
    data : ndarray, shape (n_chans,)
        One value an electrode.
    info, sphere
        As `lay_out_electrodes` gives them.
    limit : float or None
        Value of the strongest colour; the largest one by default.
    signed : bool, optional
        Diverging colours around 0; by default where there are negative values.

    Returns
    -------
    matplotlib AxesImage
        What a colour bar needs.
    """
    if signed is None:
        signed = bool((data < 0).any())
    # a map of nothing but zeros still needs a scale
    top = (abs(data).max() if limit is None else limit) or 1.0
    image, _ = mne.viz.plot_topomap(
        data,
        info,
        axes=axes,
        sphere=sphere,
        cmap="RdBu_r" if signed else "viridis",
        vlim=(-top if signed else 0.0, top),
        contours=0 if not data.any() else 6,
        show=False,
    )
    return image


def lay_out_electrodes(chs_info: Channels) -> tuple[mne.Info, tuple[float, ...]]:
    """Place electrodes and find the head under them.

    Parameters
    ----------
    chs_info : sequence of dict
        Electrodes, as ``info["chs"]`` of MNE; pairs lie at their midpoints.

    Returns
    -------
    info : mne.Info
        Of these electrodes, in the head frame.
    sphere : tuple of float
        Centre and radius of the head, metres: the sphere through the electrodes where
        that fits them far better than that of the colin27 template.

    Raises
    ------
    ValueError
        If there are less than two electrodes, one has no place, or two share one.
    """
    positions = positions_from_chs_info(chs_info)
    if len(positions) < 2:
        raise ValueError(
            f"there are {len(positions)} electrodes: pass at least 2 for a map"
        )
    names = [str(channel["ch_name"]) for channel in chs_info]
    distance = np.linalg.norm(positions[:, None] - positions, axis=2)
    first, second = np.nonzero(np.triu(distance < _SAME_PLACE, 1))
    if len(first):
        raise ValueError(
            f"channels {names[first[0]]!r} and {names[second[0]]!r} lie at the same "
            "place: leave one of them out of the map"
        )
    # numbers for names, of which MNE has ideas of its own
    numbers = [str(row) for row in range(len(positions))]
    return info_at(numbers, positions), _head_sphere(positions)


def _head_sphere(positions: NDArray[np.float64]) -> tuple[float, ...]:
    """Centre and radius of the head under the electrodes, metres."""
    centre, radius = _fit_sphere(target_positions())
    if len(positions) >= _ENOUGH:
        own_centre, own_radius = _fit_sphere(positions)
        low, high = _RADIUS_RANGE
        better = _misfit(positions, own_centre) < 0.5 * _misfit(positions, centre)
        if better and low < own_radius < high:
            return *own_centre, own_radius
    return *centre, radius


def _misfit(points: NDArray[np.float64], centre: NDArray[np.float64]) -> float:
    """How far points are from lying on a sphere around a centre, metres."""
    return float(np.linalg.norm(points - centre, axis=1).std())


def _fit_sphere(points: NDArray[np.float64]) -> tuple[NDArray[np.float64], float]:
    # |p|² = 2 p·c + (r² - |c|²) is linear in centre and constant
    matrix = np.column_stack([2 * points, np.ones(len(points))])
    solution = np.linalg.lstsq(matrix, (points**2).sum(1))[0]
    centre = solution[:3]
    return centre, float(np.sqrt(solution[3] + centre @ centre))
