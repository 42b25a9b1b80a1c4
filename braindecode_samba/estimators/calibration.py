"""Move a solved head towards a person's own labels, as far as these warrant.

The head that was solved is the mean of a Gaussian prior: a few labels change little,
many change more, and none changes nothing.
"""

from dataclasses import replace
from typing import Any, ClassVar, Self

import numpy as np
import pandas as pd
import torch
from numpy.typing import ArrayLike, NDArray
from scipy.special import softmax

from braindecode_samba.estimators.decoder import Decoder
from braindecode_samba.estimators.running import at_rate, run_in_batches
from braindecode_samba.estimators.targets import required
from braindecode_samba.signals.inputs import Windows
from braindecode_samba.signals.whitening import PRIOR_WINDOWS

# deviation of what a person's head adds to each logit (of two classes the difference
# then has 1), or to targets in deviations of those of the fit
_PRIOR_SD = 0.7
# share of the variance of the targets that a reading explains at least to be moved
_HEARD = 0.01


class CalibratedDecoder(Decoder):
    """A decoder whose solved head moves towards the labels of one person."""

    __metadata_request__calibrate: ClassVar = {"groups": True}

    def calibrate(
        self, X: Any, y: ArrayLike | None = None, *, groups: ArrayLike | None = None
    ) -> Self:
        """Move the head towards labelled windows of a person, as far as they warrant.

        Recordings that `adapt` has not seen are remembered as it does. The head moves
        on from where it is: pass each window once.

        Parameters
        ----------
        X, groups
            As for `predict`.
        y : array-like, optional
            Targets as in the fit, of classes not necessarily all; None takes those of a
            data set of braindecode.

        Returns
        -------
        Self
            The estimator.

        Raises
        ------
        ValueError, TypeError
            If X or y can't be used, y holds a class that the fit did not know, or the
            head was not solved. Nothing has moved then.

        Notes
        -----
        One step of Laplace's approximation of a Gaussian process whose mean is the head
        (Rasmussen & Williams, 2006, sections 2.2 and 3.5). Its kernel is linear, half
        in the readings' features, each scaled by what it was worth in the fit, and half
        in what the readings say: a person may need other features, and other readings.
        """
        windows = self._read_more(X, y, groups=groups)
        if self.evidence_ is None:
            raise ValueError(
                "calibrate moves a head that was solved, and this one began at random: "
                "fit with start='solved'"
            )
        targets = self._encode(required(self, windows.y), None)
        before = dict(self._alignment.people)
        keys = self._alignment.keys(windows)
        try:
            self._meet(windows, keys)
            features = self._read_by_last_layer(windows)
            middles = self._middles(features, keys)
            for key, middle in middles.items():
                features[keys == key] -= middle
            self._move(features, targets, middles)
        except BaseException:
            self._alignment.people = before
            raise
        return self

    def _meet(self, windows: Windows, keys: NDArray[Any]) -> None:
        """Remember recordings that are new."""
        if self._alignment.mode == "whiten":
            for key in set(keys.tolist()) - set(self._alignment.people):
                own = windows.select(np.flatnonzero(keys == key))
                self._alignment.join(key, own, self._run)

    def _read_by_last_layer(self, windows: Windows) -> NDArray[np.float64]:
        """Give what the last layer reads of windows, (n, n_features)."""
        aligned, _ = self._alignment.apply(windows)
        model = at_rate(self.model_, aligned.sfreq)
        return run_in_batches(
            model,
            lambda **batch: model(**batch, return_features=True)["features"],
            aligned,
            self.batch_size,
        ).astype(np.float64)

    def _middles(
        self, features: NDArray[np.float64], keys: NDArray[Any]
    ) -> dict[Any, NDArray[np.float64]]:
        """Tell where each recording lies, as far as its windows show."""
        found = {}
        if self._alignment.mode == "whiten":
            for key in np.unique(keys).tolist():
                own = features[keys == key]
                found[key] = own.sum(axis=0) / (len(own) + PRIOR_WINDOWS)
        return found

    def _move(
        self,
        features: NDArray[np.float64],
        targets: NDArray[Any],
        middles: dict[Any, NDArray[np.float64]],
    ) -> None:
        layer = self.model_.final_layer
        weight, bias = (
            tensor.detach().cpu().double().numpy()
            for tensor in (layer.weight, layer.bias)
        )
        assert self.evidence_ is not None  # `calibrate` refuses others
        weights, offsets = calibration_step(
            features, targets, weight, bias, self.evidence_
        )
        people = self._alignment.people
        for key, person in people.items():
            level = person.level + offsets
            if key in middles:
                # `Alignment.centre` takes this share of a level away
                n = person.covariance.n_windows
                level = level + weights @ middles[key] * (n + PRIOR_WINDOWS) / n
            people[key] = replace(person, level=level)
        with torch.no_grad():
            layer.weight.add_(torch.from_numpy(weights).to(layer.weight))
            layer.bias.add_(torch.from_numpy(offsets).to(layer.bias))


def calibration_step(
    features: NDArray[np.float64],
    targets: NDArray[Any],
    weight: NDArray[np.float64],
    bias: NDArray[np.float64],
    evidence: pd.DataFrame,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Tell what labelled windows add to weights and offsets of a solved head.

    Parameters
    ----------
    features : ndarray, shape (n, n_features)
        Standardised and centred.
    targets : ndarray, shape (n,) of int or (n, n_outputs) of float
        Numbers of the classes, or standardised targets.
    weight : ndarray, shape (n_outputs, n_features)
        Of the last layer.
    bias : ndarray, shape (n_outputs,)
        Of the last layer.
    evidence : pandas.DataFrame
        As `braindecode_samba.estimators.solving.solve_head` gives it.

    Returns
    -------
    weights : ndarray, shape (n_outputs, n_features)
        To add.
    offsets : ndarray, shape (n_outputs,)
        To add.
    """
    reach, basis = _directions(weight, evidence)
    inside, between = features * reach, features @ basis.T
    # both kinds count the same, whatever the size of this person's features
    sizes = [np.sqrt((part**2).sum(1).mean()) for part in (inside, between)]
    scales = [_PRIOR_SD / (np.sqrt(2) * size) if size else 0.0 for size in sizes]
    parts = np.concatenate([scales[0] * inside, scales[1] * between], axis=1)
    # beside the readings, the offset may move as well
    kernel = parts @ parts.T + _PRIOR_SD**2
    outputs = features @ weight.T + bias
    if targets.ndim == 1:
        found = softmax(outputs, axis=1)
        missing = np.eye(len(bias))[targets] - found
        certainty = float((found * (1 - found)).mean())
    else:
        # what no reading explains is noise
        certainty = 1 / (1 - min(float(evidence["explained"].max()), 0.9))
        missing = certainty * (targets - outputs)
    pulls = np.linalg.solve(certainty * kernel + np.eye(len(kernel)), missing)
    weights = scales[0] ** 2 * (pulls.T @ inside) * reach
    weights += scales[1] ** 2 * (pulls.T @ between) @ basis
    return weights, _PRIOR_SD**2 * pulls.sum(axis=0)


def _directions(
    weight: NDArray[np.float64], evidence: pd.DataFrame
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """How far each feature may move, and the rows whose share in the head may.

    The latter, (readings * outputs, features), are what each reading says, with the
    same size for all.
    """
    sizes = evidence["features"].to_numpy()
    explained = evidence["explained"].to_numpy()
    weights = np.where(explained > _HEARD, evidence["weight"], 0.0)
    reach = np.sqrt(np.repeat(weights / evidence["penalty"].to_numpy(), sizes))
    worth = weights * np.sqrt(np.maximum(explained, 0.0))
    stops = np.cumsum(sizes)
    basis = np.zeros((len(sizes), *weight.shape))
    for row, (stop, size, own) in enumerate(zip(stops, sizes, worth, strict=True)):
        if own > 0:
            block = slice(stop - size, stop)
            basis[row, :, block] = weight[:, block] / own
    return reach, basis.reshape(-1, weight.shape[1])
