"""scikit-learn's own checks of the estimators, through an adapter for rows of numbers.

These checks speak of tables, and skip an estimator of windows altogether.  The adapter
below makes a window of each row: it repeats the row to at least 16 samples of one
channel, and passes everything else through as it is.  What it can't carry over is
listed; for windows proper the same promises are tested in `test_estimators`.
"""

from collections import Counter

import numpy as np
import pytest
import scipy.sparse
from sklearn.base import clone
from sklearn.utils import Tags
from sklearn.utils.estimator_checks import (
    check_methods_subset_invariance,
    parametrize_with_checks,
)

from braindecode_samba import SAMBAClassifier, SAMBAFeatures, SAMBARegressor

_SAMPLES = 16
_FEWEST_CHECKS = 40


def window_of_each_row(X):
    if scipy.sparse.issparse(X):
        return X
    rows = np.asarray(X)
    if rows.ndim != 2 or rows.shape[1] == 0:
        return X
    return np.tile(rows, -(-_SAMPLES // rows.shape[1]))[:, None, :]


class OnRows:
    def _read(self, X, y=None, **names):
        return super()._read(window_of_each_row(X), y, **names)

    def _read_more(self, X, y=None, **names):
        # rows are tables here, which have a width; windows may be of any length
        windows = super()._read_more(window_of_each_row(X), y, **names)
        if windows.x.shape[2] != self.n_times_:
            raise ValueError(
                f"rows of another width: windows of {windows.x.shape[2]} samples, and "
                f"of {self.n_times_} in the fit"
            )
        return windows

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array = True
        # a network for rhythms learns nothing of use from blobs within two passes
        for kind in (tags.classifier_tags, tags.regressor_tags):
            if kind is not None:
                kind.poor_score = True
        return tags


class ClassifierOnRows(OnRows, SAMBAClassifier):
    pass


class RegressorOnRows(OnRows, SAMBARegressor):
    pass


class FeaturesOnRows(OnRows, SAMBAFeatures):
    pass


_WIDTH = "n_features_in_ counts channels, and a repeated row has one whatever its width"
_ONE_NUMBER = (
    "a row of one number becomes a window in which nothing moves, which is refused "
    "in words of ours"
)
EXPECTED_FAILURES = {
    "check_fit2d_1feature": _ONE_NUMBER,
    "check_n_features_in": _WIDTH,
    "check_n_features_in_after_fitting": _WIDTH,
}


_COMMON = {
    "checkpoint": None,
    "ch_names": ["Cz"],
    "sfreq": 128,
    "model_params": {"d_state": 4, "expand": 2},
    "batch_size": 128,
    "device": "cpu",
}
ESTIMATORS = [
    ClassifierOnRows(start="random", max_epochs=1, **_COMMON),
    RegressorOnRows(start="random", max_epochs=1, **_COMMON),
    FeaturesOnRows(**_COMMON),
]
PASSED: Counter[str] = Counter()


@parametrize_with_checks(ESTIMATORS, expected_failed_checks=lambda _: EXPECTED_FAILURES)
def test_estimator_passes_check(estimator, check):
    if check.func is check_methods_subset_invariance:
        # sums of float32 depend in the seventh digit on how many windows a batch has,
        # and numbers near zero are compared more strictly than that
        estimator = clone(estimator).set_params(batch_size=1)
    check(estimator)
    PASSED[type(estimator).__name__] += 1


@pytest.mark.parametrize("estimator", ESTIMATORS, ids=lambda e: type(e).__name__)
def test_enough_checks_ran(estimator):
    if not PASSED:
        pytest.skip("counts the checks above, none of which was selected")
    assert PASSED[type(estimator).__name__] >= _FEWEST_CHECKS
