"""Scores of decoders that know whose recording each window is of.

scikit-learn hands ``groups`` to splitters and fits; its scorers by name do not pass
them on to the predictions that they score.
"""

import copy
import functools
from collections.abc import Callable
from typing import Any

from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator
from sklearn.metrics import get_scorer
from sklearn.utils.metadata_routing import MetadataRequest

_PREDICTIONS = ("predict", "predict_proba", "decision_function")


class GroupedScorer(BaseEstimator):
    """Scorer that hands the recording of each window to the prediction.

    For ``scoring=`` of scikit-learn's validations and searches, where metadata routing
    is on.

    Parameters
    ----------
    scoring : str
        A scorer of scikit-learn, see `sklearn.metrics.get_scorer_names`.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn import config_context
    >>> from sklearn.model_selection import LeaveOneGroupOut, cross_val_score
    >>> from braindecode_samba import SAMBAClassifier
    >>> from braindecode_samba.evaluation import GroupedScorer
    >>> X = np.random.default_rng(0).normal(size=(16, 3, 64))
    >>> decoder = SAMBAClassifier(ch_names=["C3", "Cz", "C4"], sfreq=128)
    >>> with config_context(enable_metadata_routing=True):
    ...     scores = cross_val_score(
    ...         decoder,
    ...         X,
    ...         [0, 1] * 8,
    ...         cv=LeaveOneGroupOut(),
    ...         scoring=GroupedScorer("roc_auc"),
    ...         params={"groups": [1] * 8 + [2] * 8},
    ...     )
    >>> scores.shape
    (2,)
    """

    def __init__(self, scoring: str = "roc_auc") -> None:
        self.scoring = scoring

    def get_metadata_routing(self) -> MetadataRequest:
        """Tell scikit-learn that recordings are asked for."""
        request = MetadataRequest(owner=self)
        request.score.add_request(param="groups", alias=True)
        return request

    def __call__(
        self, estimator: Any, X: Any, y: ArrayLike, groups: ArrayLike | None = None
    ) -> float:
        """Score a fitted estimator.

        Parameters
        ----------
        estimator : object
            Its predictions take ``groups``.
        X : object
            Windows.
        y : array-like, shape (n,)
            The truth.
        groups : array-like, shape (n,), optional
            The recording of each window.

        Returns
        -------
        float
            More is better.

        Raises
        ------
        ValueError
            If there is no such scorer.
        """
        scorer = get_scorer(self.scoring)
        if groups is None:
            return scorer(estimator, X, y)
        told = copy.copy(estimator)
        for name in _PREDICTIONS:
            if hasattr(estimator, name):
                setattr(told, name, _with_groups(getattr(estimator, name), groups))
        return scorer(told, X, y)


def _with_groups(
    predict: Callable[..., Any], groups: ArrayLike
) -> Callable[[Any], Any]:
    # scikit-learn goes by the name of what it calls
    @functools.wraps(predict)
    def told(X: Any) -> Any:
        return predict(X, groups=groups)

    return told
