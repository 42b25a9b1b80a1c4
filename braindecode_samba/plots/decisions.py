"""Decisions in pictures: what was read, the rhythms that go with it, and where.

The numbers come from `braindecode_samba.plots.interpretation`.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import ArrayLike
from scipy.ndimage import uniform_filter1d
from sklearn.base import is_classifier

from braindecode_samba.estimators.decoder import Decoder
from braindecode_samba.plots.interpretation import (
    BANDS,
    attribute_decision,
    check_decoder,
    decision_pattern,
    read_one_montage,
)
from braindecode_samba.plots.panels import take_panels
from braindecode_samba.plots.scalp import (
    draw_map,
    lay_out_electrodes,
    plot_scalp_map,
)

_SMOOTHING_SECONDS = 0.1
# over which probabilities are averaged
_COURSE_SECONDS = 20.0


def plot_evidence(estimator: Decoder, *, axes: Axes | None = None) -> Figure:
    """Draw what each reading of a solved head was worth.

    Parameters
    ----------
    estimator : SAMBAClassifier or SAMBARegressor
        Fitted, with a solved head.
    axes : matplotlib Axes, optional
        Where to draw.

    Returns
    -------
    matplotlib Figure
        That of the axes. Bars: the share of the targets' variance that a reading
        explains alone, in people who were held out (or, where nobody is known, in
        windows that were). Dark are readings that the decoder uses: what others know,
        these know too. A reading that explains nothing has no bar.

    Raises
    ------
    ValueError
        If the head was not solved.
    TypeError
        If estimator is of another kind.
    """
    check_decoder(estimator)
    table = estimator.evidence_
    if table is None:
        raise ValueError(
            "the head was not solved, so nothing is known of its readings: fit with "
            "start='solved'"
        )
    explained = 100 * np.maximum(table["explained"].to_numpy(), 0)
    used = table["weight"].to_numpy() > 0
    (panel,) = take_panels(axes, 1, (5.2, 3.6))
    places = np.arange(len(table))[::-1]
    for chosen, colour, label in (
        (used, "C0", "used"),
        (~used, "0.8", "not used beside these"),
    ):
        if (explained[chosen] > 0).any():
            panel.barh(places[chosen], explained[chosen], color=colour, label=label)
    panel.set_yticks(places, list(table.index))
    panel.set(xlabel="explained alone, out of fold (%)", title="What the head reads")
    panel.set_xlim(0, max(1.1 * explained.max(), 1))
    panel.legend(loc="lower right", frameon=False)
    return panel.figure  # type: ignore[return-value]


def plot_decision_pattern(
    estimator: Decoder,
    X: Any,
    *,
    groups: ArrayLike | None = None,
    target: Any = None,
    bands: Mapping[str, tuple[float, float]] = BANDS,
    axes: Axes | Sequence[Axes] | None = None,
) -> Figure:
    """Draw how band power goes with the decision: the map that points at sources.

    Parameters
    ----------
    estimator : SAMBAClassifier or SAMBARegressor
        Fitted.
    X, groups, target, bands
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
    pattern = decision_pattern(estimator, X, groups=groups, target=target, bands=bands)
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


def plot_course(table: pd.DataFrame, *, axes: Axes | None = None) -> Figure:
    """Draw what a decoder says over a recording.

    Parameters
    ----------
    table : pandas.DataFrame
        As `braindecode_samba.estimators.decode_file` gives it, parts joined.
    axes : matplotlib Axes, optional
        Where to draw.

    Returns
    -------
    matplotlib Figure
        That of the axes: probabilities of the classes, of two the second. Dots are
        windows, lines means over 20 s.
    """
    (panel,) = take_panels(None if axes is None else [axes], 1, (9.0, 3.2))
    minutes = (table["start"] + table["stop"]) / 120
    seconds = (table["stop"] - table["start"]).iloc[0]
    smoothed = max(1, round(_COURSE_SECONDS / seconds))
    classes = table.columns[2:]
    for name in classes[1:] if len(classes) == 2 else classes:
        (line,) = panel.plot(minutes, table[name], ".", alpha=0.4)
        mean = table[name].rolling(smoothed, min_periods=1, center=True).mean()
        panel.plot(minutes, mean, color=line.get_color(), label=str(name))
    panel.axhline(1 / len(classes), color="0.6", linestyle=":")
    panel.set(xlabel="minutes", ylabel="probability", ylim=(0, 1))
    panel.margins(x=0.01)
    panel.legend(loc="upper right", frameon=False)
    return panel.figure  # type: ignore[return-value]


def plot_attribution(
    estimator: Decoder,
    X: Any,
    *,
    groups: ArrayLike | None = None,
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
    X, groups, target, method
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
    shares = attribute_decision(
        estimator, X, groups=groups, target=target, method=method
    )
    sizes = np.abs(shares)
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
