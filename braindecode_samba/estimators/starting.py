"""Where a head begins that need not learn everything by gradients.

Spatial components are solved from covariances of classes or targets, and the last layer
by regularised regression on the features of the training windows; gradients then go on
from there, or not at all.  Loops of training are in
`braindecode_samba.estimators.training`.
"""

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression, RidgeCV
from torch import Tensor

from braindecode_samba.estimators.running import batches_on_device, run_in_batches
from braindecode_samba.models import SAMBA
from braindecode_samba.signals.inputs import Windows

STARTS = ("random", "solved")
# strong: people differ more than windows of one; chosen by scores of training people
# whom the fit had not seen
_C = 0.003
_ALPHAS = tuple(10.0**k for k in range(7))
# below this share of the largest, the variance of a direction is rounding
_FLOOR = 1e-3


def solve_head(
    model: SAMBA,
    windows: Windows,
    targets: NDArray[np.generic],
    batch_size: int,
    weights: NDArray[np.float64] | None = None,
) -> None:
    """Start the head of a network from what training windows say.

    Components are common spatial patterns of the signals at the targets of the spatial
    embedding, which every montage has: for each class against the others, and for each
    number to estimate, directions whose share of the power from 8 to 30 Hz goes with it
    most (SPoC). Then features are standardised, and the last layer becomes a logistic
    or ridge regression on those that are measured (powers, components, log variances
    of the first stage); the learnt mixture of deeper stages begins with no say.

    Parameters
    ----------
    model : SAMBA
        With ``head="components"``; its trunk is taken as it is.
    windows : Windows
        Training windows.
    targets : ndarray, shape (n,) of int or (n, n_targets) of float
        Numbers of the classes, or standardised targets.
    batch_size : int
        Windows at a time.
    weights : ndarray, shape (n_classes,), optional
        Weights of the classes.

    References
    ----------
    Koles et al. (1990), Brain Topography 2; Ramoser et al. (2000), IEEE Transactions on
    Rehabilitation Engineering 8; Daehne et al. (2014), NeuroImage 86.
    """
    head = model.head
    assert head.band_power is not None  # `estimators` take no other head
    assert head.band_power.components is not None
    model.eval()
    y = _columns(targets, model.final_layer.out_features)
    n_components = len(head.band_power.components)
    total, weighted = _covariances(model, windows, y, batch_size)
    _set(head.band_power.components, spatial_components(total, weighted, n_components))
    features = _features(model, windows, batch_size)
    centre, spread = features.mean(0), features.std(0)
    # what does not move says nothing, and rounding must not be blown up
    spread[spread <= 1e-6 * np.maximum(1.0, np.abs(centre))] = 1.0
    _set(head.centre, centre)
    _set(head.spread, spread)
    z = (features - centre) / spread
    layer, bias = _regress(z, targets, weights)
    whole = np.zeros((len(bias), head.n_features))
    whole[:, : head.n_measured] = layer
    _set(model.final_layer.weight, whole)
    _set(model.final_layer.bias, bias)


def spatial_components(
    total: NDArray[np.float64], weighted: NDArray[np.float64], n_components: int
) -> NDArray[np.float64]:
    """Directions whose power goes with a target most, in turn for each target.

    Parameters
    ----------
    total : ndarray, shape (n, n)
        Mean covariance.
    weighted : ndarray, shape (n_targets, n, n)
        Means of covariances times centred targets.
    n_components : int
        How many to give; those beyond the rank of ``total`` are zero.

    Returns
    -------
    ndarray, shape (n_components, n)
        Filters with a mean power of 1.
    """
    values, vectors = np.linalg.eigh(total)
    kept = values > _FLOOR * values[-1]
    whitener = vectors[:, kept] / np.sqrt(values[kept])
    candidates = []
    for one in weighted:
        strengths, turns = np.linalg.eigh(whitener.T @ one @ whitener)
        order = np.argsort(-np.abs(strengths), kind="stable")
        candidates.append((whitener @ turns[:, order]).T)
    # the first of each target, then the second of each
    in_turn = np.stack(candidates, 1).reshape(-1, len(total))[:n_components]
    return np.pad(in_turn, ((0, n_components - len(in_turn)), (0, 0)))


def _columns(targets: NDArray[np.generic], n_outputs: int) -> NDArray[np.float64]:
    """Centred columns (n, k): of two classes one, of more one each."""
    if targets.ndim == 1:
        columns = np.eye(n_outputs)[targets.astype(np.int64)]
        columns = columns[:, 1:] if n_outputs == 2 else columns
    else:
        columns = targets.astype(np.float64)
    return columns - columns.mean(0)


def _covariances(
    model: SAMBA, windows: Windows, y: NDArray[np.float64], batch_size: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean covariance at the targets, and its products with each column of y."""
    band_power = model.head.band_power
    assert band_power is not None
    n = model.trunk.spatial.target_positions.shape[0]
    total, weighted, start = np.zeros((n, n)), np.zeros((y.shape[1], n, n)), 0
    for batch in batches_on_device(model, windows, batch_size):
        with torch.no_grad():
            _, signals, mixing = model.trunk.begin(
                batch["x"], batch["pos"], batch.get("ch_mask")
            )
            parts = band_power.at_targets(signals, mixing).cpu().double().numpy()
        rows = y[start : start + len(parts)]
        total += parts.sum(0)
        weighted += np.tensordot(rows, parts, (0, 0))
        start += len(parts)
    return total / start, weighted / start


def _features(model: SAMBA, windows: Windows, batch_size: int) -> NDArray[np.float64]:
    """Measured features of all windows, (n, n_measured), not standardised."""
    head = model.head
    _set(head.centre, np.zeros(head.n_measured))
    _set(head.spread, np.ones(head.n_measured))

    def measured(**batch: Tensor) -> Tensor:
        found: dict[str, Tensor] = model(**batch, return_features=True)
        return found["features"][:, : head.n_measured]

    found = run_in_batches(model, measured, windows, batch_size)
    return found.astype(np.float64)


def _regress(
    z: NDArray[np.float64],
    targets: NDArray[np.generic],
    weights: NDArray[np.float64] | None,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Weights (n_outputs, features) and biases of the last layer."""
    if targets.ndim == 2:
        ridge = RidgeCV(_ALPHAS).fit(z, targets)
        coefficients = ridge.coef_.reshape(targets.shape[1], -1)
        return coefficients, np.atleast_1d(ridge.intercept_)
    by_class = None if weights is None else dict(enumerate(weights))
    found = LogisticRegression(C=_C, class_weight=by_class, max_iter=1000)
    found.fit(z, targets)
    if len(found.classes_) > 2:
        return found.coef_, found.intercept_
    # two logits whose difference is the evidence for the second class
    half = np.array([[-0.5], [0.5]])
    return half * found.coef_, half[:, 0] * found.intercept_


def _set(tensor: Tensor, values: NDArray[np.float64]) -> None:
    with torch.no_grad():
        tensor.copy_(torch.from_numpy(values))
