"""The spatial embedding over the scalp: weights, what changed, and a GIF of training.

The numbers come from `braindecode_samba.plots.spatial_weights`.
"""

import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.animation import PillowWriter
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import ArrayLike, NDArray

from braindecode_samba._paths import write_whole
from braindecode_samba.plots.panels import take_panels
from braindecode_samba.plots.scalp import (
    draw_map,
    lay_out_electrodes,
    plot_scalp_map,
)
from braindecode_samba.plots.spatial_weights import (
    electrode_weights,
    electrodes_of,
    with_spatial_start,
)
from braindecode_samba.signals.inputs import Channels

# a frame of a GIF has 256 colours, for two colour maps, lines and text
_SHADES = 32


def plot_spatial_weights(
    model: Any,
    chs_info: Channels | None = None,
    *,
    target: str | int | None = None,
    minus: Any = None,
    axes: Axes | None = None,
) -> Figure:
    """Draw how much each electrode contributes to the spatial embedding.

    Not a map of sources: weights follow from places alone, and the layers behind them
    decide what is read. See `plot_decision_pattern`.

    Parameters
    ----------
    model : SAMBA, SAMBAReconstructor, or fitted estimator
        The network.
    chs_info : sequence of dict, optional
        Electrodes; those of the network by default.
    target : str or int, optional
        A target, by its name in the 10-20 template or its number; by default the mean
        over all.
    minus : "start", SAMBA, SAMBAReconstructor, or fitted estimator, optional
        Draw the difference: to the weights before training, or to those of another
        network, such as one of another task.
    axes : matplotlib Axes, optional
        Where to draw.

    Returns
    -------
    matplotlib Figure
        That of the axes.

    Raises
    ------
    ValueError
        If electrodes, target or start are not known.
    TypeError
        If there is no network.
    """
    electrodes = electrodes_of(model, chs_info)
    share = 100 * electrode_weights(model, electrodes, target=target)
    where = "all targets" if target is None else f"target {target}"
    title, unit = f"Spatial weights, {where}", "share (%)"
    if minus is not None:
        started = isinstance(minus, str) and minus == "start"
        other = with_spatial_start(model) if started else minus
        share = share - 100 * electrode_weights(other, electrodes, target=target)
        title += "\nchange since the start" if started else "\ndifference"
        unit = "difference (percentage points)"
    return plot_scalp_map(share, electrodes, title=title, unit=unit, axes=axes)


def animate_spatial_weights(
    weights: str | os.PathLike[str] | Sequence[ArrayLike],
    path: str | os.PathLike[str],
    chs_info: Channels,
    *,
    frames_per_second: int = 4,
    axes: Sequence[Axes] | None = None,
) -> Figure:
    """Write a GIF of spatial weights over training: as they are, and what changed.

    Parameters
    ----------
    weights : str, path-like, or sequence of array-like of shape (n_targets, n_chans)
        Folder of the callback `braindecode_samba.pretraining.SpatialWeights`, or what
        is in its files, in order.
    path : str or path-like
        The GIF, which is whole or not there.
    chs_info : sequence of dict
        The electrodes of the weights: those of the first training window.
    frames_per_second : int
        Speed.
    axes : sequence of two matplotlib Axes, optional
        Where to draw: weights left, change since the first frame right.

    Returns
    -------
    matplotlib Figure
        With the last frame.

    Raises
    ------
    FileNotFoundError
        If the folder holds no weights.
    ValueError
        If weights don't fit the electrodes.
    OSError
        If the file can't be written.
    """
    labels, shares = _read_frames(weights, len(chs_info))
    info, sphere = lay_out_electrodes(chs_info)
    left, right = take_panels(axes, 2, (4.2, 3.8))
    changes = shares - shares[0]
    limits = shares.max(), abs(changes).max()
    figure: Any = left.figure
    with tempfile.TemporaryDirectory() as folder:
        writer = PillowWriter(fps=frames_per_second)
        file = Path(folder) / "weights.gif"
        with writer.saving(figure, str(file), dpi=100):
            for frame, (label, share) in enumerate(zip(labels, shares, strict=True)):
                left.clear()
                right.clear()
                image = draw_map(left, share, info, sphere, limits[0])
                change = draw_map(
                    right, changes[frame], info, sphere, limits[1], signed=True
                )
                for picture in (image, change):
                    picture.set_cmap(picture.get_cmap().resampled(_SHADES))
                left.set_title(f"Spatial weights, all targets\n{label}")
                right.set_title(f"Change since\n{labels[0]}")
                if frame == 0:
                    figure.colorbar(image, ax=left, shrink=0.7, label="share (%)")
                    unit = "percentage points"
                    figure.colorbar(change, ax=right, shrink=0.7, label=unit)
                writer.grab_frame()
        write_whole(path, file.read_bytes())
    return figure


def _read_frames(
    weights: str | os.PathLike[str] | Sequence[ArrayLike], n_chans: int
) -> tuple[list[str], NDArray[np.float64]]:
    """Labels of the frames, and shares in percent, (n_frames, n_chans)."""
    if isinstance(weights, str | os.PathLike):
        files = sorted(Path(weights).glob("epoch-*.npy"))
        if not files:
            raise FileNotFoundError(
                f"{weights} holds no epoch-*.npy: pass the folder of the callback "
                "SpatialWeights"
            )
        labels = [f"epoch {int(file.stem.removeprefix('epoch-'))}" for file in files]
        arrays = [np.load(file) for file in files]
    else:
        arrays = [np.asarray(array) for array in weights]
        labels = [f"frame {frame}" for frame in range(1, len(arrays) + 1)]
    shapes = {array.shape for array in arrays}
    if len(shapes) != 1 or {len(shape) for shape in shapes} != {2}:
        raise ValueError(
            f"weights have shapes {sorted(shapes)}: pass arrays (n_targets, n_chans), "
            "all of one shape"
        )
    if arrays[0].shape[1] != n_chans:
        raise ValueError(
            f"weights are of {arrays[0].shape[1]} electrodes and chs_info has "
            f"{n_chans}: pass the electrodes of the first training window"
        )
    return labels, 100 * np.stack(arrays).astype(np.float64).mean(1)
