"""Windows of EEG in pictures: rebuilt signals, and features laid out in a plane."""

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import ArrayLike, NDArray
from sklearn.decomposition import PCA
from sklearn.manifold import TSNE
from sklearn.preprocessing import StandardScaler
from sklearn.utils import check_array, check_consistent_length

from braindecode_samba.plots.panels import take_panels
from braindecode_samba.pretraining.drawing import (
    draw_reconstruction,
    lay_out_panels,
    rebuild_window,
)
from braindecode_samba.signals.inputs import RandomState

__all__ = ["embed_features", "plot_embedding", "plot_reconstruction"]

_METHODS = {"tsne": "t-SNE", "pca": "Principal components", "umap": "UMAP"}


def plot_reconstruction(
    net: Any,
    X: Any,
    *,
    window: int = 0,
    n_channels: int = 6,
    ch_names: Sequence[str] | None = None,
    axes: NDArray[np.object_] | None = None,
) -> Figure:
    """Draw a window, what was hidden of it, what was rebuilt, and their spectra.

    Parameters
    ----------
    net : SAMBAPretrainer
        Fitted; its `masking` hides the same samples as in validation.
    X : array-like, mne.Epochs, windows of braindecode, list of these, or Dataset
        Windows.
    window : int
        Number of the window.
    n_channels : int
        Channels to draw, the first ones that have a position; with `axes` their rows.
    ch_names : sequence of str, optional
        Names of all channels of the window; by default those that the net was told.
    axes : ndarray of matplotlib Axes, shape (n_channels, 2), optional
        Where to draw: signals left, spectra right.

    Returns
    -------
    matplotlib Figure
        That of the axes.

    Raises
    ------
    ValueError, TypeError
        If windows can't be used, or there is no such window.
    """
    dataset = net.get_dataset(X)
    if not 0 <= window < len(dataset):
        raise ValueError(f"window={window}: X has windows 0 to {len(dataset) - 1}")
    count = n_channels if axes is None else len(axes)
    rebuilt = rebuild_window(net, dataset[window], count)
    known = net.ch_names if ch_names is None else ch_names
    names = None if known is None else [known[row] for row in rebuilt.rows]
    if axes is None:
        figure = plt.figure(layout="constrained")
        axes = lay_out_panels(figure, len(rebuilt.rows))
    draw_reconstruction(axes, rebuilt, names)
    return axes[0, 0].figure


def plot_embedding(
    features: ArrayLike,
    labels: ArrayLike | Mapping[str, ArrayLike],
    *,
    method: str = "tsne",
    random_state: RandomState = 0,
    axes: Axes | Sequence[Axes] | None = None,
) -> Figure:
    """Draw windows as points, laid out by their features and coloured by labels.

    Parameters
    ----------
    features : array-like, shape (n, n_features)
        Such as those of `braindecode_samba.SAMBAFeatures`.
    labels : array-like of length n, or mapping of str to these
        What to colour by, such as classes or subjects. A mapping, such as ``{"class":
        y, "subject": groups}``, draws one layout several times.
    method, random_state
        See `embed_features`.
    axes : matplotlib Axes or sequence of these, optional
        Where to draw, one each.

    Returns
    -------
    matplotlib Figure
        That of the axes.

    Raises
    ------
    ImportError
        If umap-learn is asked for and not installed.
    ValueError
        If features, labels, axes or method don't fit.
    """
    named = labels if isinstance(labels, Mapping) else {"": labels}
    if not named:
        raise ValueError("labels are empty: pass at least one set of labels")
    for values in named.values():
        check_consistent_length(features, values)
    places = embed_features(features, method, random_state)
    panels = take_panels(axes, len(named), (5.2, 4.2))
    for panel, (name, values) in zip(panels, named.items(), strict=True):
        _draw_points(panel, places, np.asarray(values))
        panel.set_title(f"{_METHODS[method]}{', by ' if name else ''}{name}")
    return panels[0].figure  # type: ignore[return-value]


def _draw_points(axes: Axes, places: NDArray[np.float64], labels: NDArray[Any]) -> None:
    kinds = np.unique(labels)
    # ten colours that are told apart at a glance, or as many as there are
    shades = plt.get_cmap("tab10") if len(kinds) <= 10 else plt.get_cmap("turbo")
    for number, kind in enumerate(kinds):
        color = shades(number) if len(kinds) <= 10 else shades(number / len(kinds))
        x, y = places[labels == kind].T
        axes.scatter(x, y, s=14, color=color, alpha=0.8, lw=0, label=str(kind))
    axes.set(xticks=[], yticks=[])
    axes.legend(
        loc="center left",
        bbox_to_anchor=(1, 0.5),
        ncols=-(-len(kinds) // 20),
        fontsize="small",
        frameon=False,
    )


def embed_features(
    features: ArrayLike, method: str = "tsne", random_state: RandomState = 0
) -> NDArray[np.float64]:
    """Lay features out in a plane, so that similar windows lie close.

    Parameters
    ----------
    features : array-like, shape (n, n_features)
        Such as those of `braindecode_samba.SAMBAFeatures`; standardised inside.
    method : {"tsne", "pca", "umap"}
        t-SNE and principal components come from scikit-learn, UMAP from umap-learn.
    random_state : int, RandomState instance or None
        Seed of the layout.

    Returns
    -------
    ndarray, shape (n, 2)
        Places; distances between far ones mean little in "tsne" and "umap".

    Raises
    ------
    ImportError
        If umap-learn is asked for and not installed.
    ValueError
        If the method is unknown or features can't be used.
    """
    table = check_array(features, input_name="features", ensure_min_samples=4)
    table = StandardScaler().fit_transform(table)
    if method == "tsne":
        # the default of 30 neighbours needs more windows than that
        perplexity = min(30.0, (len(table) - 1) / 3)
        layout: Any = TSNE(perplexity=perplexity, random_state=random_state)
    elif method == "pca":
        layout = PCA(2, random_state=random_state)
    elif method == "umap":
        layout = _umap()(random_state=random_state)
    else:
        raise ValueError(f"method={method!r} is unknown: pass 'tsne', 'pca' or 'umap'")
    return np.asarray(layout.fit_transform(table), np.float64)


def _umap() -> Any:
    try:
        from umap import UMAP
    except ImportError:
        raise ImportError(
            "method='umap' needs umap-learn: pip install umap-learn, or pass 'tsne'"
        ) from None
    return UMAP
