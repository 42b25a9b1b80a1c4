"""Move a solved head towards a person's own labels, as far as these warrant.

The head that was solved is the mean of a Gaussian prior, and how much each reading may
move follows from its penalty and its weight: a few labels change little, many change
more, and none changes nothing.
"""

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import softmax

# variance, in squared logits, of what a person's head adds to the one that was solved
_PRIOR_VARIANCE = 1.0


def prior_scales(evidence: pd.DataFrame) -> NDArray[np.float64]:
    """How far each standardised feature's weight may move: (n_features,).

    Parameters
    ----------
    evidence : pandas.DataFrame
        As `braindecode_samba.estimators.solving.solve_head` gives it.

    Returns
    -------
    ndarray, shape (n_features,)
        Standard deviations; their squares sum to the prior's variance.
    """
    variances = (evidence["weight"] / evidence["penalty"]).to_numpy()
    spread = np.repeat(variances, evidence["features"])
    return np.sqrt(_PRIOR_VARIANCE * spread / spread.sum())


def calibration_step(
    features: NDArray[np.float64],
    outputs: NDArray[np.float64],
    targets: NDArray[np.int64],
    scales: NDArray[np.float64],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Tell what labelled windows of a person add to weights and offsets of the head.

    One step of Laplace's approximation of a Gaussian process (Rasmussen & Williams,
    2006, section 3.5) whose mean is the head.

    Parameters
    ----------
    features : ndarray, shape (n, n_features)
        Standardised and centred, of the labelled windows.
    outputs : ndarray, shape (n, n_outputs)
        What the head says of them.
    targets : ndarray, shape (n,)
        Numbers of the classes.
    scales : ndarray, shape (n_features,)
        From `prior_scales`.

    Returns
    -------
    weights : ndarray, shape (n_outputs, n_features)
        To add to those of the last layer.
    offsets : ndarray, shape (n_outputs,)
        To add to its bias.
    """
    inside = features * scales
    # beside the readings, the offset may move as well
    kernel = inside @ inside.T + _PRIOR_VARIANCE
    found = softmax(outputs, axis=1)
    missing = np.eye(outputs.shape[1])[targets] - found
    certainty = float((found * (1 - found)).mean())
    within = certainty * kernel + np.eye(len(kernel))
    pulls = np.linalg.solve(within, missing)
    weights = (pulls.T @ inside) * scales
    return weights, _PRIOR_VARIANCE * pulls.sum(axis=0)
