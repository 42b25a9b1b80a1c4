"""What a rebuilt window looks like: signals, what was hidden of them, and spectra.

Drawn into given figures and axes, without pyplot.  A run draws by the callback
`ReconstructionFigure`, a user by `braindecode_samba.plots.plot_reconstruction`.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray
from scipy.signal import welch

from braindecode_samba.pretraining.batches import collate

_SEGMENT_SECONDS = 1.0
_ORIGINAL, _REBUILT, _MASKED = "0.25", "tab:red", "tab:blue"


class RebuiltWindow(NamedTuple):
    """A window and what a network made of it; arrays are (channels, times)."""

    target: NDArray[np.float32]  # robust standard deviations
    output: NDArray[np.float32]
    seen: NDArray[np.bool_]  # False where the original was hidden
    rows: NDArray[np.int64]  # (channels,), their numbers in the window as it came
    sfreq: float


def rebuild_window(net: Any, item: Mapping[str, Any], n_channels: int) -> RebuiltWindow:
    """Hide a part of a window, as in validation, and have it rebuilt.

    Parameters
    ----------
    net : SAMBAPretrainer
        Fitted.
    item : mapping
        A window of a data set, see `braindecode_samba.pretraining.batches`.
    n_channels : int
        How many channels to keep: the first ones that have a position.

    Returns
    -------
    RebuiltWindow
        At the model's rate.
    """
    batch = collate([item])
    target, output, mask = net.rebuild_batch(batch, net.masking)
    rows = batch["ch_mask"][0].nonzero()[:n_channels, 0]
    seen = mask[:, None].expand_as(target) if mask.dim() == 2 else mask
    return RebuiltWindow(
        target=target.float().cpu()[0, rows].numpy(),
        output=output.float().cpu()[0, rows].numpy(),
        seen=seen.cpu()[0, rows].numpy(),
        rows=rows.numpy(),
        sfreq=net.model_.trunk.signal.model_sfreq,
    )


def lay_out_panels(figure: Figure, n_channels: int) -> NDArray[np.object_]:
    """Make axes for `draw_reconstruction` in an empty figure, and size it.

    Parameters
    ----------
    figure : matplotlib Figure
        With a constrained layout.
    n_channels : int
        Rows.

    Returns
    -------
    ndarray of matplotlib Axes, shape (n_channels, 2)
        For signals and for spectra.
    """
    figure.set_size_inches(11, 1.4 + 1.1 * n_channels)
    return figure.subplots(
        n_channels, 2, squeeze=False, sharex="col", sharey="col", width_ratios=(3, 1)
    )


def draw_reconstruction(
    axes: NDArray[np.object_],
    window: RebuiltWindow,
    names: Sequence[str] | None = None,
) -> None:
    """Draw channels of a window, a row each: signals left, power spectra right.

    Parameters
    ----------
    axes : ndarray of matplotlib Axes, shape (n_channels, 2)
        Where to draw.
    window : RebuiltWindow
        What to draw.
    names : sequence of str, optional
        Names of the channels that are drawn; by default their numbers.
    """
    labels = [f"channel {row}" for row in window.rows] if names is None else names
    parts = zip(axes, labels, window.target, window.output, window.seen, strict=True)
    for (left, right), label, target, output, seen in parts:
        _draw_signals(left, target, output, seen, window.sfreq)
        _draw_spectra(right, target, output, seen, window.sfreq)
        left.set_ylabel(label, rotation=0, ha="right", va="center")
    axes[0, 0].set_title("signals (robust standard deviations)", fontsize="medium")
    axes[0, 1].set_title("power density (dB)", fontsize="medium")
    axes[-1, 0].set_xlabel("time (s)")
    axes[-1, 1].set_xlabel("frequency (Hz)")
    handles, texts = axes[0, 0].get_legend_handles_labels()
    axes[0, 0].figure.legend(
        handles, texts, loc="outside lower center", ncols=len(texts), frameon=False
    )


def _draw_signals(
    axes: Axes,
    target: NDArray[np.float32],
    output: NDArray[np.float32],
    seen: NDArray[np.bool_],
    sfreq: float,
) -> None:
    times = np.arange(len(target)) / sfreq
    axes.fill_between(
        times,
        0,
        1,
        where=(~seen).tolist(),
        step="mid",
        transform=axes.get_xaxis_transform(),
        color="0.9",
        lw=0,
        label="hidden",
    )
    axes.plot(times, target, color=_ORIGINAL, lw=1.2, label="original")
    axes.plot(times, output, color=_REBUILT, lw=1.2, label="rebuilt")
    axes.plot([], [], color=_MASKED, ls=":", label="as hidden (spectrum)")
    axes.set_xlim(0, times[-1])


def _draw_spectra(
    axes: Axes,
    target: NDArray[np.float32],
    output: NDArray[np.float32],
    seen: NDArray[np.bool_],
    sfreq: float,
) -> None:
    lines = np.stack([target, output, np.where(seen, target, 0)])
    n_segment = min(lines.shape[1], round(_SEGMENT_SECONDS * sfreq))
    freqs, power = welch(lines, sfreq, nperseg=n_segment)
    # without the lowest bin, which the removal of the mean has emptied
    decibel = 10 * np.log10(np.maximum(power, 1e-8))[:, 1:]
    for line, color in zip(decibel, (_ORIGINAL, _REBUILT, _MASKED), strict=True):
        axes.plot(freqs[1:], line, color=color, ls=":" if color == _MASKED else "-")
    axes.set_xlim(0, sfreq / 2)
