"""`SAMBARegressor`: numbers that go with windows."""

from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import RegressorMixin
from sklearn.metrics import r2_score
from sklearn.utils import Tags

from braindecode_samba.estimators.calibration import CalibratedDecoder
from braindecode_samba.estimators.interrupts import InterruptibleRegressor
from braindecode_samba.signals.arrays import as_numbers

# squares of more overflow float32, in which networks compute
_LARGEST = 1e18


class SAMBARegressor(RegressorMixin, CalibratedDecoder):
    """Estimate one or several numbers from windows of EEG with SAMBA.

    As `SAMBAClassifier`, by ridge regressions and squared errors.  Targets are
    standardised inside, so that each counts the same.

    Parameters
    ----------
    ch_names, chs_info, sfreq, exclude, positions, align, mirror, montages, \
    checkpoint, start, max_epochs, lr, batch_size, weight_decay, model_params, \
    finetune, trunk_lr_factor, callbacks, validation_split, device, random_state, \
    verbose
        As for `SAMBAClassifier`.

    Attributes
    ----------
    y_mean_, y_scale_ : ndarray, shape (n_targets,)
        Mean and standard deviation of the training targets.
    net_ : braindecode.EEGRegressor
        The trained net, with ``history``.
    evidence_, model_, n_features_in_, n_times_, sfreq_, checkpoint_report_
        As for `SAMBAClassifier`.
    """

    _net_class = InterruptibleRegressor
    _numbers = True
    _learned = ("y_mean_", "y_scale_", "_y_shape")
    _metric = staticmethod(r2_score)
    score = CalibratedDecoder.score

    def __sklearn_tags__(self) -> Tags:
        """Tags of scikit-learn: y may have several columns."""
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags

    def partial_fit(
        self,
        X: Any,
        y: ArrayLike | None = None,
        *,
        groups: ArrayLike | None = None,
    ) -> Self:
        """Train for one pass over X, at the constant rate ``lr``.

        ``mirror`` and ``montages`` are of `fit` alone: X is taken as it is.

        The first call decides how targets are standardised.

        Parameters
        ----------
        X, y, groups
            As for `fit`; y may have the shape (n,) or (n, n_targets).

        Returns
        -------
        Self
            The estimator.

        Raises
        ------
        ValueError, TypeError
            As for `fit`, and if y has another number of columns than before.
        """
        return self._partial_fit(X, y, None, groups)

    def _learn(
        self, y: ArrayLike, classes: ArrayLike | None
    ) -> tuple[dict[str, Any], NDArray[Any]]:
        numbers = _check_numbers(y)
        columns = numbers.reshape(len(numbers), -1)
        spread = columns.std(axis=0)
        learned = {
            "y_mean_": columns.mean(axis=0),
            "y_scale_": np.where(spread > 0, spread, 1.0),
            "_y_shape": numbers.shape[1:],
        }
        return learned, _standardised(columns, learned["y_mean_"], learned["y_scale_"])

    def _encode(self, y: ArrayLike, classes: ArrayLike | None) -> NDArray[np.float32]:
        numbers = _check_numbers(y)
        if numbers.shape[1:] != self._y_shape:
            raise ValueError(
                f"y has shape {numbers.shape}, and in the first call it was "
                f"{('n', *self._y_shape)}: pass the same targets"
            )
        columns = numbers.reshape(len(numbers), -1)
        return _standardised(columns, self.y_mean_, self.y_scale_)

    def _net_params(
        self, learned: dict[str, Any], targets: NDArray[Any]
    ) -> dict[str, Any]:
        return {"module__n_outputs": targets.shape[1]}

    def predict(
        self, X: Any, *, groups: ArrayLike | None = None
    ) -> NDArray[np.float64]:
        """Estimate the targets of each window.

        Parameters
        ----------
        X : array-like, mne.Epochs, list of mne.Epochs, or windows of braindecode
            Windows, of any electrodes, rate and length if they are no arrays.
        groups : array-like, shape (n,), optional
            As for `fit`; without any, these windows are one recording.

        Returns
        -------
        ndarray of float64, shape (n,) or (n, n_targets)
            In the shape and unit of y.
        """
        return self._say(self._outputs(X, groups))

    def _say(self, outputs: NDArray[np.float32]) -> NDArray[Any]:
        values = outputs * self.y_scale_ + self.y_mean_
        return values.reshape(len(outputs), *self._y_shape)

    def _truth(self, y: ArrayLike) -> NDArray[np.float64]:
        numbers = _check_numbers(y)
        n = int(np.prod(self._y_shape))
        if numbers.size != len(numbers) * n:
            raise ValueError(
                f"y has shape {numbers.shape}: pass {('n', *self._y_shape)}, as in the "
                "fit"
            )
        return numbers.reshape(-1, *self._y_shape)


def _check_numbers(y: ArrayLike) -> NDArray[np.float64]:
    numbers = as_numbers(y, "y").astype(np.float64)
    if numbers.ndim not in (1, 2):
        raise ValueError(f"y has shape {numbers.shape}: pass (n,) or (n, n_targets)")
    if not (np.abs(numbers) < _LARGEST).all():
        raise ValueError(
            f"y holds NaN, infinity or numbers above {_LARGEST:g}: leave these windows "
            "out, or pass y in another unit"
        )
    return numbers


def _standardised(
    y: NDArray[np.float64], mean: NDArray[np.float64], scale: NDArray[np.float64]
) -> NDArray[np.float32]:
    return ((y - mean) / scale).astype(np.float32)
