"""Solve a head of readings on training windows, without gradients.

Each reading (`braindecode_samba.nn.Readings`) becomes a ridge regression.  How strong
its penalty is, and how much its evidence counts, is settled out of fold: on people, or
recordings, whom the regression has not seen.  All that is linear, so the last layer of
the model holds it.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple, cast

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from scipy.optimize import minimize, nnls
from scipy.special import log_softmax
from sklearn.model_selection import GroupKFold
from torch import Tensor

from braindecode_samba.estimators.running import batches_on_device, progress
from braindecode_samba.models import SAMBA
from braindecode_samba.nn.heads import ReadingsHead
from braindecode_samba.nn.pooling import stage_variances
from braindecode_samba.nn.readings import Reading
from braindecode_samba.signals.inputs import Windows

_N_FOLDS = 4
_PENALTIES = np.logspace(-3, 3, 13)
# a little, so that one class in a fold or evidence without error stays finite
_CALIBRATION_C = 100.0
_STILL = 1e-6
# of the variance of the targets, that each reading's evidence is held against
_DOUBT = 0.01
# divides what does not move: finite, so that it can be saved
_NEVER = 1e30


def solve_head(
    model: SAMBA,
    windows: Windows,
    targets: NDArray[np.generic],
    batch_size: int,
    *,
    people: NDArray[np.generic] | None = None,
    recordings: NDArray[np.generic] | None = None,
    weights: NDArray[np.float64] | None = None,
) -> pd.DataFrame:
    """Solve the head of a network on training windows.

    Parameters
    ----------
    model : SAMBA
        With ``head="readings"``; its trunk is taken as it is.
    windows : Windows
        Training windows.
    targets : ndarray, shape (n,) of int or (n, n_targets) of float
        Numbers of the classes, or standardised targets.
    batch_size : int
        Windows at a time.
    people : ndarray, shape (n,), optional
        Who each window is of: folds go by these, by default by contiguous windows.
    recordings : ndarray, shape (n,), optional
        Features are centred on these: what differs between recordings says nothing.
    weights : ndarray, shape (n_classes,), optional
        Weights of the classes.

    Returns
    -------
    pandas.DataFrame
        A row a reading: how many ``features`` it has, ``penalty`` of its ridge
        regression, ``explained`` share of the variance of the targets out of fold, and
        ``weight`` of its evidence.

    Notes
    -----
    The evidence of the readings is joined by non-negative least squares with a little
    ridge (stacking; Breiman, 1996, Machine Learning 24), and for classes becomes
    probabilities by a logistic regression on that with one slope, out of fold too.
    """
    head = model.head
    assert isinstance(head, ReadingsHead)  # `estimators` take no other
    model.eval()
    y, importance = _columns(targets, model.final_layer.out_features, weights)
    measures = measure_windows(model, windows, batch_size)
    folds = list(_folds(len(y), people))
    solved = [
        _solve_reading(cast(Reading, block), measures, y, importance, folds, recordings)
        for block in progress(head.readings.blocks.values(), desc="readings")
    ]
    evidence = np.stack([one.evidence for one in solved], -1)  # (n, columns, readings)
    # what wants the largest penalty says nothing, however much it is multiplied
    heard = np.array(
        [one.penalty < _PENALTIES[-1] and one.evidence.std() > _STILL for one in solved]
    )
    shares = _join(evidence * heard, y, importance)
    table = pd.DataFrame(
        {
            "features": [len(one.centre) for one in solved],
            "penalty": [one.penalty for one in solved],
            "explained": [_explained(one.evidence, y, importance) for one in solved],
            "weight": shares,
        },
        index=pd.Index(head.readings.blocks, name="reading"),
    )
    _set(head.readings.centre, np.concatenate([one.centre for one in solved]))
    _set(head.readings.spread, np.concatenate([one.spread for one in solved]))
    layer = np.concatenate(
        [share * one.layer for share, one in zip(shares, solved, strict=True)]
    )
    slopes, offsets = _calibrate(evidence @ shares, targets, weights)
    _set(model.final_layer.weight, slopes @ layer.T)
    _set(model.final_layer.bias, offsets)
    return table


def measure_windows(
    model: SAMBA, windows: Windows, batch_size: int
) -> dict[str, Tensor]:
    """Measures of all windows, on the CPU: see `braindecode_samba.nn.WindowMeasures`.

    Parameters
    ----------
    model : SAMBA
        With ``head="readings"``.
    windows : Windows
        What to measure.
    batch_size : int
        Windows at a time.
    """
    head = model.head
    assert isinstance(head, ReadingsHead)
    kept: dict[str, list[Tensor]] = {}
    for batch in batches_on_device(model, windows, batch_size):
        with torch.no_grad():
            stages = model.trunk(batch["x"], batch["pos"], batch.get("ch_mask"))
            variances = stage_variances(stages)
            found = head.measures(
                batch["x"],
                stages.signals,
                stages.weights,
                variances,
                batch.get("ch_mask"),
            )
        for name, value in found.items():
            kept.setdefault(name, []).append(value.float().cpu())
    return {name: torch.cat(values) for name, values in kept.items()}


class _Solved(NamedTuple):
    """A reading's regression, and its evidence for windows that it has not seen."""

    evidence: NDArray[np.float64]  # (n, columns)
    penalty: float
    centre: NDArray[np.float64]  # (features,)
    spread: NDArray[np.float64]
    layer: NDArray[np.float64]  # (features, columns)


def _solve_reading(
    block: Reading,
    measures: dict[str, Tensor],
    y: NDArray[np.float64],
    importance: NDArray[np.float64],
    folds: Sequence[tuple[NDArray[np.intp], NDArray[np.intp]]],
    recordings: NDArray[np.generic] | None,
) -> _Solved:
    n, n_columns = y.shape
    outside = np.zeros((len(_PENALTIES), n, n_columns))
    for train, test in folds:
        features, _, _ = _features(block, measures, y, train, recordings)
        layers = _ridge(features[train], y[train], importance[train])
        outside[:, test] = features[test] @ layers
    losses = (importance[:, None] * (outside - y) ** 2).sum((1, 2))
    best = int(losses.argmin())
    everything = np.arange(n)
    features, centre, spread = _features(block, measures, y, everything, recordings)
    layer = _ridge(features, y, importance, _PENALTIES[best : best + 1])[0]
    return _Solved(outside[best], float(_PENALTIES[best]), centre, spread, layer)


def _features(
    block: Reading,
    measures: dict[str, Tensor],
    y: NDArray[np.float64],
    train: NDArray[np.intp],
    recordings: NDArray[np.generic] | None,
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Features of all windows, standardised on some that its filters learn from."""
    rows = torch.from_numpy(train)
    own = {name: value[rows] for name, value in measures.items()}
    with torch.no_grad():
        block.fit(own, torch.from_numpy(y[train] - y[train].mean(0)))
        found = torch.cat(
            [
                block({name: value[i : i + 512] for name, value in measures.items()})
                for i in range(0, len(y), 512)
            ]
        )
    features = found.double().numpy()
    centre = features[train].mean(0)
    if recordings is not None:
        features = centred(features, recordings)
    else:
        features = features - centre
    spread = features[train].std(0)
    # what does not move says nothing, and rounding must not be blown up
    still = spread <= _STILL * np.maximum(1.0, np.abs(centre))
    spread[still] = _NEVER
    features[:, still] = 0.0
    return features / spread, centre, spread


def centred(
    values: NDArray[np.float64], recordings: NDArray[np.generic]
) -> NDArray[np.float64]:
    """Values (n, ...) less the mean of their recording."""
    _, which, counts = np.unique(recordings, return_inverse=True, return_counts=True)
    sums = np.zeros((len(counts), *values.shape[1:]))
    np.add.at(sums, which, values)
    return values - (sums.T / counts).T[which]


def _ridge(
    features: NDArray[np.float64],
    y: NDArray[np.float64],
    importance: NDArray[np.float64],
    penalties: NDArray[np.float64] = _PENALTIES,
) -> NDArray[np.float64]:
    """Layers (penalties, features, columns) of ridge regressions, by one eigenbasis."""
    root = np.sqrt(importance / importance.sum())[:, None]
    X, Y = features * root, (y - np.average(y, 0, importance)) * root
    if X.shape[1] <= len(X):
        values, vectors = np.linalg.eigh(X.T @ X)
        inside = vectors.T @ (X.T @ Y)
        return np.stack([vectors @ (inside / (values + p)[:, None]) for p in penalties])
    values, vectors = np.linalg.eigh(X @ X.T)
    inside = vectors.T @ Y
    return np.stack(
        [X.T @ (vectors @ (inside / (values + p)[:, None])) for p in penalties]
    )


def _folds(
    n: int, people: NDArray[np.generic] | None
) -> Iterator[tuple[NDArray[np.intp], NDArray[np.intp]]]:
    """People apart; where there is one or nobody knows, contiguous windows."""
    known = None if people is None else np.unique(people, return_inverse=True)[1]
    if known is None or known.max() < 1:
        known = np.arange(n) * min(_N_FOLDS, n) // n
    splitter = GroupKFold(min(_N_FOLDS, known.max() + 1))
    return splitter.split(np.zeros(n), groups=known)


def _columns(
    targets: NDArray[np.generic], n_outputs: int, weights: NDArray[np.float64] | None
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Columns (n, k), centred, of two classes one, of more one each; and importance."""
    importance = np.ones(len(targets))
    if targets.ndim == 1:
        if weights is not None:
            importance = weights[targets.astype(np.int64)]
        columns = np.eye(n_outputs)[targets.astype(np.int64)]
        columns = columns[:, 1:] if n_outputs == 2 else columns
    else:
        columns = targets.astype(np.float64)
    return columns - np.average(columns, 0, importance), importance


def _explained(
    evidence: NDArray[np.float64],
    y: NDArray[np.float64],
    importance: NDArray[np.float64],
) -> float:
    total = (importance[:, None] * y**2).sum()
    if total == 0:
        return 0.0
    return float(1 - (importance[:, None] * (y - evidence) ** 2).sum() / total)


def _join(
    evidence: NDArray[np.float64],
    y: NDArray[np.float64],
    importance: NDArray[np.float64],
) -> NDArray[np.float64]:
    """How much the evidence of each reading counts: none less than nothing."""
    root = np.sqrt(importance)[:, None]
    flat = (evidence * root[..., None]).reshape(-1, evidence.shape[-1])
    wanted = (y * root).ravel()
    # what explains little can't count much, however well it fits a few people
    doubt = np.sqrt(_DOUBT * (wanted**2).sum()) * np.eye(flat.shape[1])
    shares, _ = nnls(
        np.concatenate([flat, doubt]), np.concatenate([wanted, np.zeros(len(doubt))])
    )
    if not shares.any():
        # nothing can be told: probabilities will say so
        shares = np.full(evidence.shape[-1], 1 / evidence.shape[-1])
    return shares


def _calibrate(
    evidence: NDArray[np.float64],
    targets: NDArray[np.generic],
    weights: NDArray[np.float64] | None,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Slopes (n_outputs, columns) and offsets from evidence to the model's outputs.

    One slope for all classes, and none below nothing: evidence that points the wrong
    way out of fold is none.
    """
    if targets.ndim == 2:
        return np.eye(targets.shape[1]), targets.mean(0)
    which = targets.astype(np.int64)
    # of two classes, logits whose difference is the evidence for the second
    spread = np.array([[-0.5], [0.5]])
    spread = spread if evidence.shape[1] == 1 else np.eye(evidence.shape[1])
    size = evidence.std() + 1e-12
    towards = evidence @ spread.T / size  # (n, n_outputs)
    importance = np.ones(len(which)) if weights is None else weights[which]
    hit = np.eye(len(spread))[which]

    def loss(values: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        slope, offsets = values[0], values[1:]
        said = log_softmax(slope * towards + offsets, axis=1)
        pull = importance[:, None] * (np.exp(said) - hit)
        total = -(importance * said[hit > 0]).sum() + slope**2 / (2 * _CALIBRATION_C)
        along = (pull * towards).sum() + slope / _CALIBRATION_C
        return total, np.concatenate([[along], pull.sum(0)])

    bounds = [(_STILL, None), *[(None, None)] * len(spread)]
    found = minimize(loss, np.zeros(1 + len(spread)), jac=True, bounds=bounds).x
    return found[0] / size * spread, found[1:]


def _set(tensor: Tensor, values: NDArray[np.float64]) -> None:
    with torch.no_grad():
        tensor.copy_(torch.from_numpy(values))
