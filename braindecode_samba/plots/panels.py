"""Axes for several pictures side by side: those that a caller gives, or new ones."""

from collections.abc import Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes


def take_panels(
    axes: Axes | Sequence[Axes] | None, n_panels: int, size: tuple[float, float]
) -> list[Axes]:
    """Give one axes a picture.

    Parameters
    ----------
    axes : matplotlib Axes, sequence or array of these, or None
        What the caller gave.
    n_panels : int
        Number of pictures.
    size : tuple of float
        Width and height of one, inches, for a new figure.

    Returns
    -------
    list of matplotlib Axes
        As many as there are pictures.

    Raises
    ------
    ValueError
        If the caller gave another number.
    """
    if axes is None:
        width, height = size
        figure = plt.figure(figsize=(n_panels * width, height), layout="constrained")
        return list(figure.subplots(1, n_panels, squeeze=False)[0])
    given: list[Any] = list(np.ravel(np.array(axes, dtype=object)))
    if len(given) != n_panels:
        raise ValueError(
            f"there are {n_panels} pictures and {len(given)} axes: pass one each"
        )
    return given
