"""Whitening of recordings: what makes heads, caps and units alike, without labels.

The covariance of a recording of which little is known leans on that of the training
recordings; the more windows there are, the less.  Everybody who aligns signals takes
it from here.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.distance import cdist

from braindecode_samba.signals.arrays import moving

FLOOR = 1e-6
# so many windows the training recordings count for
PRIOR_WINDOWS = 3.0
# electrodes that are nearer than this to each other are one, metres
_SAME_PLACE = 5e-3
# how fast, in squared head radii, what an electrode says fades with the distance
_SHARPNESS = 20.0
_HEAD_RADIUS = 0.099


class Covariance(NamedTuple):
    """Mean covariance of windows of one recording."""

    n_windows: float
    matrix: NDArray[np.float64]  # (n_chans, n_chans), in the recording's unit, squared

    def joined(self, other: "Covariance", forget: float = 1.0) -> "Covariance":
        """Covariance of both; what was known counts ``forget`` times as much."""
        before = forget * self.n_windows
        n = before + other.n_windows
        matrix = (before * self.matrix + other.n_windows * other.matrix) / n
        return Covariance(n, matrix)


def covariance_of(windows: NDArray[np.floating[Any]], name: object) -> Covariance:
    """Mean covariance over time of windows.

    Parameters
    ----------
    windows : ndarray, shape (n, n_chans, n_times)
        Any unit; offsets don't matter.
    name : object
        Of the recording, for errors.

    Raises
    ------
    ValueError
        If nothing moves in any window.
    """
    total = np.zeros((windows.shape[1],) * 2)
    for window in windows:
        x = window.astype(np.float64)
        x -= x.mean(axis=1, keepdims=True)
        total += x @ x.T
    total /= len(windows) * windows.shape[2]
    # the mean of equal numbers is not always that number
    if not moving(windows).any():
        raise ValueError(
            f"recording {name!r} does not move in any of its {len(windows)} windows: "
            "leave it out"
        )
    return Covariance(len(windows), total)


def mean_shape(covariances: Mapping[Any, Covariance]) -> NDArray[np.float64]:
    """Mean over recordings of their covariances, each with a mean power of 1."""
    shapes = [_of_power_one(found.matrix) for found in covariances.values()]
    return np.mean(shapes, axis=0)


def blend(
    found: Covariance, prior: NDArray[np.float64], weight: float = PRIOR_WINDOWS
) -> NDArray[np.float64]:
    """Lean a recording's covariance on the training recordings'.

    ``(n R + k p) / (n + k)`` with the prior p at the power of the recording, so that
    units don't matter.

    Parameters
    ----------
    found : Covariance
        Of the recording.
    prior : ndarray, shape (n_chans, n_chans)
        Of the training recordings, with a mean power of 1.
    weight : float
        How many windows the prior counts for.
    """
    power = np.trace(found.matrix) / len(found.matrix)
    n = found.n_windows
    return (n * found.matrix + weight * power * prior) / (n + weight)


def inverse_root(
    covariance: NDArray[np.float64], floor: float = FLOOR
) -> NDArray[np.float64]:
    """Symmetric matrix that whitens: electrodes stay where they are.

    Parameters
    ----------
    covariance : ndarray, shape (n_chans, n_chans)
        Positive semi-definite.
    floor : float
        Smallest variance of a direction, as a share of the largest.
    """
    values, vectors = np.linalg.eigh(covariance)
    kept = np.maximum(values, floor * values[-1])
    return (vectors / np.sqrt(kept)) @ vectors.T


def carry_over(
    prior: NDArray[np.float64],
    positions: NDArray[np.float64],
    to: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Covariance that is expected at other electrodes.

    Electrodes that are among the old ones keep what is known of them, in any order.
    Else each new one is a mean of the old ones around it; what that mean smooths away
    comes back as noise of its own, so that every electrode has a power of 1.

    Parameters
    ----------
    prior : ndarray, shape (n_chans, n_chans)
        At the old electrodes.
    positions, to : ndarray, shape (n, 3)
        Old and new electrodes, metres.
    """
    order = same_places(to, positions)
    if order is not None:
        return _of_power_one(prior[np.ix_(order, order)])
    distance = cdist(to, positions) / _HEAD_RADIUS
    logits = -_SHARPNESS * distance**2
    weights = np.exp(logits - logits.max(axis=1, keepdims=True))
    weights /= weights.sum(axis=1, keepdims=True)
    expected = weights @ prior @ weights.T
    lost = np.maximum(1.0 - np.diag(expected), 0.05)
    return _of_power_one(expected + np.diag(lost))


def same_places(
    these: NDArray[np.float64], those: NDArray[np.float64]
) -> NDArray[np.intp] | None:
    """Tell which of those electrodes each of these is; None if one is none of them.

    Parameters
    ----------
    these, those : ndarray, shape (n, 3)
        Electrodes, metres.
    """
    distances = cdist(these, those)
    order = distances.argmin(axis=1)
    near = distances[np.arange(len(these)), order] < _SAME_PLACE
    return order if near.all() and len(set(order)) == len(order) else None


def _of_power_one(matrix: NDArray[np.float64]) -> NDArray[np.float64]:
    return matrix * (len(matrix) / np.trace(matrix))
