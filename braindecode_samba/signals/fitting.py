"""Fits of a measured head to the template's: one similarity, bearing wrong names."""

import numpy as np
from numpy.typing import NDArray

_FEWEST_LANDMARKS = 4
_AGREEMENT = 0.04  # metres, about the spacing of the 10-20 system


def align_to_template(
    measured: NDArray[np.float64], template: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Map measured positions to the template's head by one similarity.

    A rotation, shift and scale, never a reflection: first of least absolute distances,
    which bears almost half of the names being wrong, then of least squares over the
    electrodes that lie within 40 mm of the template.

    Parameters
    ----------
    measured : ndarray, shape (n, 3)
        Positions in one frame; the unit does not matter.
    template : ndarray, shape (n, 3)
        Places of the same channels by their names, metres; NaN for unknown names.

    Returns
    -------
    ndarray, shape (n, 3)
        All measured positions in the template's head, metres.

    Raises
    ------
    ValueError
        If fewer than 4 electrodes agree, if they lie on one line, or if the head is
        mirrored.
    """
    known = np.isfinite(template).all(axis=1)
    source, goal = measured[known], template[known]
    if len(source) < _FEWEST_LANDMARKS:
        raise ValueError(_too_few(len(source)))
    distance = distances(source, goal, *least_absolute(source, goal))
    flipped = source * [-1.0, 1.0, 1.0]
    mirrored = distances(flipped, goal, *least_absolute(flipped, goal))
    if mirrored.sum() < distance.sum() / 2:
        raise ValueError(
            "the measured positions are a mirror image of the names' places: x points "
            "to the right, y to the front and z up; turn the reversed axis around"
        )
    close = distance <= _AGREEMENT
    # of few electrodes, the robust fit may leave one out that least squares would keep
    everyone = distances(source, goal, *_similarity(source, goal)) <= _AGREEMENT
    if everyone.all():
        close = everyone
    while close.sum() >= _FEWEST_LANDMARKS:
        linear, shift = _similarity(source[close], goal[close])
        # electrodes only leave, so that this ends
        kept = close & (distances(source, goal, linear, shift) <= _AGREEMENT)
        if (kept == close).all():
            return measured @ linear.T + shift
        close = kept
    raise ValueError(_too_few(int(close.sum())))


def _too_few(n_agreeing: int) -> str:
    return (
        f"align needs at least {_FEWEST_LANDMARKS} electrodes with known names and "
        f"places within 40 mm of the template's, and found {n_agreeing}: pass "
        "align=False, or positions that are in the template's head already"
    )


def distances(
    source: NDArray[np.float64],
    goal: NDArray[np.float64],
    linear: NDArray[np.float64],
    shift: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Distances (n,) of mapped points (n, 3) to their goals."""
    return np.linalg.norm(source @ linear.T + shift - goal, axis=1)


def least_absolute(
    source: NDArray[np.float64], goal: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Similarity of least summed distance, by reweighted least squares."""
    weights = np.ones(len(source))
    for _ in range(100):
        linear, shift = _similarity(source, goal, weights)
        weights = 1 / np.maximum(distances(source, goal, linear, shift), 1e-3)
    return linear, shift


def _similarity(
    source: NDArray[np.float64],
    goal: NDArray[np.float64],
    weights: NDArray[np.float64] | None = None,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Scaled rotation (3, 3) and shift (3,) of least squares (Umeyama, 1991)."""
    weights = np.ones(len(source)) if weights is None else weights
    weights = weights / weights.sum()
    centre, goal_centre = weights @ source, weights @ goal
    centred = source - centre
    left, stretch, right = np.linalg.svd(
        ((goal - goal_centre) * weights[:, None]).T @ centred
    )
    if stretch[1] <= 1e-6 * stretch[0]:
        raise ValueError(
            "align needs electrodes that don't lie on one line or in one point: pass "
            "align=False, or the positions of more electrodes"
        )
    sign = np.array([1.0, 1.0, np.sign(np.linalg.det(left @ right))])
    scale = (stretch * sign).sum() / (weights @ (centred**2).sum(axis=1))
    linear = scale * (left * sign) @ right
    return linear, goal_centre - linear @ centre
