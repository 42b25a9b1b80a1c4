"""`Aligned`: any classifier on whitened recordings, so that a comparison is fair.

SAMBA aligns recordings by itself wherever it knows them.  In MOABB's cross-subject
evaluation this gives other methods the same advantage.
"""

from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import (
    ClassifierMixin,
    MetaEstimatorMixin,
    clone,
    is_classifier,
)
from sklearn.utils.validation import check_is_fitted

from braindecode_samba.signals.alignment import RecordingAligner
from braindecode_samba.signals.inputs import TakesWindows


class Aligned(ClassifierMixin, MetaEstimatorMixin, TakesWindows):
    """Fit a classifier on recordings that are whitened by their own covariance.

    Parameters
    ----------
    classifier : classifier of scikit-learn
        Of arrays (n, channels, times), with ``predict_proba``.

    Attributes
    ----------
    classifier_ : classifier
        The fitted copy.
    classes_ : ndarray, shape (n_classes,)
        Sorted labels.
    aligned_ : bool
        Whether the fit knew subjects. Without them nothing is aligned, later neither.

    See Also
    --------
    braindecode_samba.RecordingAligner : The alignment.

    Examples
    --------
    >>> from mne.decoding import CSP
    >>> from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
    >>> from sklearn.pipeline import make_pipeline
    >>> from braindecode_samba.evaluation import Aligned
    >>> method = Aligned(make_pipeline(CSP(), LinearDiscriminantAnalysis()))
    """

    # MOABB's cross-subject evaluation hands these over to whoever asks
    __metadata_request__fit: ClassVar = {"subjects": True}

    def __init__(self, classifier: Any) -> None:
        self.classifier = classifier

    def fit(
        self, X: ArrayLike, y: ArrayLike, *, subjects: ArrayLike | None = None
    ) -> Self:
        """Whiten each subject, and fit.

        Parameters
        ----------
        X : array-like, shape (n, n_chans, n_times)
            Windows.
        y : array-like, shape (n,)
            Labels.
        subjects : array-like, shape (n,), optional
            Whose each window is.

        Returns
        -------
        Self
            The classifier.

        Raises
        ------
        TypeError
            If `classifier` is none.
        ValueError
            If windows or subjects can't be used.
        """
        if not is_classifier(self.classifier):
            raise TypeError(
                f"classifier is a {type(self.classifier).__name__}: pass a classifier "
                "of scikit-learn"
            )
        aligned = subjects is not None
        if aligned:
            X = RecordingAligner().fit_transform(X, groups=subjects)
        self.classifier_ = clone(self.classifier).fit(X, y)
        self.classes_, self.aligned_ = self.classifier_.classes_, aligned
        return self

    def predict_proba(self, X: ArrayLike) -> NDArray[np.floating[Any]]:
        """Probabilities of the classes for the windows of one recording.

        Parameters
        ----------
        X : array-like, shape (n, n_chans, n_times)
            Windows, which are whitened by their own covariance.

        Returns
        -------
        ndarray, shape (n, n_classes)
            In the order of ``classes_``.
        """
        aligned = self._align(X)
        return self.classifier_.predict_proba(aligned)

    def predict(self, X: ArrayLike) -> NDArray[Any]:
        """Label the windows of one recording.

        Parameters
        ----------
        X : array-like, shape (n, n_chans, n_times)
            As for `predict_proba`.

        Returns
        -------
        ndarray, shape (n,)
            Labels.
        """
        aligned = self._align(X)
        return self.classifier_.predict(aligned)

    def _align(self, X: ArrayLike) -> ArrayLike:
        check_is_fitted(self)
        if not self.aligned_:
            return X
        return RecordingAligner().fit_transform(X, groups=np.zeros(len(np.asarray(X))))
