"""Decisions in pictures: the rhythms that go with them, and what they are made of.

The numbers come from `braindecode_samba.plots.interpretation`.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import ArrayLike
from scipy.ndimage import uniform_filter1d
from sklearn.base import is_classifier

from braindecode_samba.estimators.training import Decoder
from braindecode_samba.plots.interpretation import (
    BANDS,
    attribute_decision,
    decision_pattern,
    read_one_montage,
)
from braindecode_samba.plots.panels import take_panels
from braindecode_samba.plots.scalp import (
    draw_map,
    lay_out_electrodes,
    plot_scalp_map,
)

__all__ = ["plot_attribution", "plot_decision_pattern"]

_SMOOTHING_SECONDS = 0.1


def plot_decision_pattern(
    estimator: Decoder,
    X: Any,
    *,
    groups: ArrayLike | None = None,
    target: Any = None,
    bands: Mapping[str, tuple[float, float]] = BANDS,
    recorded: Any = None,
    axes: Axes | Sequence[Axes] | None = None,
) -> Figure:
    """Draw how band power goes with the decision: the map that points at sources.

    Parameters
    ----------
    estimator : SAMBAClassifier or SAMBARegressor
        Fitted.
    X, groups, target, bands, recorded
        See `braindecode_samba.plots.decision_pattern`.
    axes : matplotlib Axes or sequence of these, optional
        Where to draw, one for each band.

    Returns
    -------
    matplotlib Figure
        That of the axes. Red: the rhythm is strong where the evidence is high. All maps
        share one scale, in dB for one standard deviation of evidence.

    Raises
    ------
    ValueError, TypeError
        As `braindecode_samba.plots.decision_pattern`, and if there are not as
        many axes as bands.
    """
    electrodes = read_one_montage(estimator, X).chs_info
    pattern = decision_pattern(
        estimator, X, groups=groups, target=target, bands=bands, recorded=recorded
    )
    info, sphere = lay_out_electrodes(electrodes or [])
    panels = take_panels(axes, len(bands), (3.2, 3.4))
    for panel, values, (name, (low, high)) in zip(
        panels, pattern, bands.items(), strict=True
    ):
        image = draw_map(panel, values, info, sphere, abs(pattern).max(), signed=True)
        panel.set_title(f"{name}, {low:g}–{high:g} Hz")
    figure: Any = panels[0].figure
    label = f"dB per SD of the evidence\nfor {_name_target(estimator, target)}"
    figure.colorbar(image, ax=panels, shrink=0.7, label=label)
    return figure


def _name_target(estimator: Decoder, target: Any) -> str:
    if target is None:
        if is_classifier(estimator):
            return str(estimator.classes_[-1])
        return "the estimate"
    return str(target) if is_classifier(estimator) else f"estimate {target}"


def plot_attribution(
    estimator: Decoder,
    X: Any,
    *,
    target: Any = None,
    method: str = "integrated_gradients",
    axes: Sequence[Axes] | None = None,
) -> Figure:
    """Draw which electrodes and times a decision is made of, by captum.

    Not a map of sources, see `plot_decision_pattern`.

    Parameters
    ----------
    estimator : SAMBAClassifier or SAMBARegressor
        Fitted.
    X, target, method
        See `braindecode_samba.plots.attribute_decision`; sizes are averaged
        over windows.
    axes : sequence of two matplotlib Axes, optional
        Where to draw: the scalp left, time right.

    Returns
    -------
    matplotlib Figure
        That of the axes: each electrode's share of all attribution, whatever its sign,
        and how it is spread over time, electrodes together, as a mean over 0.1 s.

    Raises
    ------
    ImportError
        If captum is not installed.
    ValueError, TypeError
        As `braindecode_samba.plots.attribute_decision`.
    """
    electrodes = read_one_montage(estimator, X).chs_info
    sizes = np.abs(attribute_decision(estimator, X, target=target, method=method))
    sizes = 100 * sizes.mean(0) / max(sizes.mean(0).sum(), np.finfo(np.float32).tiny)
    left, right = take_panels(axes, 2, (4.5, 3.6))
    title = f"Attribution ({method.replace('_', ' ')})"
    plot_scalp_map(
        sizes.sum(1), electrodes or [], title=title, unit="share (%)", axes=left
    )
    sfreq = estimator.model_.trunk.signal.model_sfreq
    course = uniform_filter1d(sizes.sum(0) * sfreq, round(_SMOOTHING_SECONDS * sfreq))
    right.plot(np.arange(len(course)) / sfreq, course, color="k")
    right.set(xlabel="time in the window (s)", ylabel="share (% per second)")
    right.set(title="All electrodes", xlim=(0, len(course) / sfreq))
    right.set_ylim(bottom=0)
    return left.figure  # type: ignore[return-value]
