"""`SAMBAClassifier`: labels of windows."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from scipy.special import softmax
from sklearn.base import ClassifierMixin
from sklearn.metrics import accuracy_score
from sklearn.utils import check_array
from sklearn.utils.class_weight import compute_class_weight
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import column_or_1d

from braindecode_samba.estimators.calibration import CalibratedDecoder
from braindecode_samba.estimators.interrupts import InterruptibleClassifier
from braindecode_samba.signals.arrays import as_array


@dataclass(kw_only=True, eq=False, repr=False)
class SAMBAClassifier(ClassifierMixin, CalibratedDecoder):
    """Classify windows of EEG with SAMBA.

    As it comes: the pretrained trunk `samba-e`, and a head that reads rhythms,
    patterns, evoked and steady responses and all stages of the trunk, solved on the
    training windows in seconds and without gradients. What each reading counts is
    settled on people whom it has not seen. Where recordings are known, each is whitened
    without labels, in the fit and in all that comes after. Signals may come in any
    unit.

    Parameters
    ----------
    ch_names : sequence of str, optional
        Channels of X, in order.  Arrays need these or ``chs_info``; mne.Epochs and
        windows of braindecode bring their own, which must not contradict.
    chs_info : sequence of dict, optional
        Channels with measured positions, as ``info["chs"]`` of MNE.
    sfreq : float, optional
        Sampling rate of X, Hz.  Arrays need it.
    exclude : "bads" or collection of str
        Channels to leave out: those that ``info["bads"]`` names, or these; ``()``
        keeps all.
    positions : {"checked", "measured", "names"}
        What happens where measured places contradict known names, as those of a
        mirrored, turned or relabelled cap: an error, or these or those are taken.
    align : "auto" or bool
        Whether each recording is whitened by its own covariance, which leans on that of
        the training recordings while few windows are known. ``"auto"``: where
        recordings are known and labels vary within them. What is a property of a whole
        recording, as a diagnosis, lies in what whitening removes.
    mirror : mapping, optional
        Labels that a mirrored head exchanges, as ``{"left_hand": "right_hand"}``: every
        window is trained on a second time, mirrored.
    montages : sequence
        Names of shipped montages, or lists of electrodes: every window is trained on
        once more as each of these would have recorded it, for a decoder that is to
        serve smaller headsets too.
    checkpoint : str or path-like, optional
        Trained weights that the trunk starts from, see
        `braindecode_samba.load_checkpoint`; the head starts anew. None: random ones.
        Options of the trunk are those of the checkpoint, and ``model_params`` must not
        contradict them.
    start : {"solved", "random"}
        Where the head begins: solved on the training windows
        (`braindecode_samba.estimators.solving.solve_head`), or at random, for gradients
        alone.
    max_epochs : int
        Passes of gradients over the training windows. From a solved head on, a fifth
        of the people is held out, weights are drawn to the solved ones, and what is
        not better on those people is dropped.
    lr : float
        Highest learning rate of the one-cycle schedule, and the rate of
        ``partial_fit``.
    batch_size : int
        Windows in a step; the last step of a pass takes what is left.
    weight_decay : float
        Of AdamW.  Biases, norms, scalars and the state-space parameters have none.
    model_params : dict, optional
        Arguments for `SAMBA` beyond those that follow from the data.  With
        ``scale="recording"`` the scale is measured on the training windows.
    finetune : {"all", "head"} or int
        What gradients train: everything; what lies behind the trunk; or that and the
        last so many stages of the trunk, of "spatial", "input_embedding", "encoder1",
        "encoder2", "encoder3" and "mediator" (6 are the whole trunk). What is not
        trained does not change, which needs a checkpoint.
    trunk_lr_factor : float
        Learning rate of the trunk over that of the head, at all times.
    class_weight : dict, "balanced" or None
        Weights of the classes, by label.
    callbacks : callback, or list of these, optional
        Callbacks of skorch, or ``(name, callback)``, which see the passes of gradients.
        They are used as they are: the caller's own objects hold the results.
    validation_split : float, optional
        Share to hold out for the callbacks' ``valid_loss``: people where they are
        known, else the last windows of each class.
    device : str
        "auto" takes CUDA if there is any, else the CPU; or a device of PyTorch.
    random_state : int, RandomState instance or None
        Seeds weights, order and dropout.  Global random states stay untouched.
    verbose : int
        Above 0, skorch prints a table, and what was loaded or left out is printed.

    Attributes
    ----------
    classes_ : ndarray, shape (n_classes,)
        Sorted labels.
    evidence_ : pandas.DataFrame or None
        What each reading was worth, where the head was solved.
    net_ : braindecode.EEGClassifier
        The trained net, with ``history``.
    model_ : SAMBA
        The trained network.
    n_features_in_ : int
        Number of channels, as scikit-learn counts the second axis.
    n_times_ : int
        Samples of a window.
    sfreq_ : float
        Sampling rate, Hz.
    checkpoint_report_ : CheckpointReport or None
        What was loaded; its ``short_hash`` tells the weights apart.

    Notes
    -----
    After a fit, arrays must have the same channels and rate; Epochs and windows of
    braindecode may have any electrodes, rate and length, since these travel with them.

    Examples
    --------
    >>> import numpy as np
    >>> from braindecode_samba import SAMBAClassifier
    >>> X = np.random.default_rng(0).normal(size=(16, 3, 256))
    >>> y = ["left", "right"] * 8
    >>> decoder = SAMBAClassifier(ch_names=["C3", "Cz", "C4"], sfreq=128)
    >>> decoder.fit(X, y, groups=[1] * 8 + [2] * 8).predict_proba(X).shape
    (16, 2)
    """

    _net_class = InterruptibleClassifier
    _numbers = False
    _learned = ("classes_",)
    _metric = staticmethod(accuracy_score)
    score = CalibratedDecoder.score
    __metadata_request__predict_proba: ClassVar = {"groups": True}
    __metadata_request__decision_function: ClassVar = {"groups": True}

    class_weight: Mapping[Any, float] | str | None = None

    def partial_fit(
        self,
        X: Any,
        y: ArrayLike | None = None,
        classes: ArrayLike | None = None,
        *,
        groups: ArrayLike | None = None,
    ) -> Self:
        """Train for one pass over X, at the constant rate ``lr``.

        ``mirror`` and ``montages`` are of `fit` alone: X is taken as it is.

        Parameters
        ----------
        X, y, groups
            As for `fit`.
        classes : array-like, optional
            All labels that will ever come, in the first call; None: those in y.

        Returns
        -------
        Self
            The estimator.

        Raises
        ------
        ValueError, TypeError
            As for `fit`, and if y holds labels that are none of `classes`.
        """
        if self.class_weight == "balanced":
            raise ValueError(
                "class_weight='balanced' can't be known batch by batch: pass a dict"
            )
        return self._partial_fit(X, y, classes, groups)

    def _learn(
        self, y: ArrayLike, classes: ArrayLike | None
    ) -> tuple[dict[str, Any], NDArray[Any]]:
        labels = check_labels(y)
        known = np.unique(labels if classes is None else as_labels(classes))
        if len(known) < 2:
            raise ValueError(
                f"y holds one class, {known.tolist()[0]!r}: pass at least two classes"
            )
        return {"classes_": known}, codes_of(labels, known)

    def _encode(self, y: ArrayLike, classes: ArrayLike | None) -> NDArray[np.int64]:
        if classes is not None:
            told = np.unique(as_labels(classes))
            if not np.array_equal(told, self.classes_):
                raise ValueError(
                    f"classes are {told.tolist()}, and the first call said "
                    f"{self.classes_.tolist()}: pass the same, or None"
                )
        return codes_of(check_labels(y), self.classes_)

    def _net_params(
        self, learned: dict[str, Any], targets: NDArray[Any]
    ) -> dict[str, Any]:
        classes = learned["classes_"]
        weight = None
        if self.class_weight is not None:
            values = compute_class_weight(
                self.class_weight, classes=classes, y=classes[targets]
            )
            weight = torch.tensor(values, dtype=torch.float32)
        return {
            "module__n_outputs": len(classes),
            "classes": list(range(len(classes))),
            "criterion__weight": weight,
        }

    def decision_function(
        self, X: Any, *, groups: ArrayLike | None = None
    ) -> NDArray[np.float32]:
        """Evidence for the classes.

        Parameters
        ----------
        X, groups
            As for `predict_proba`.

        Returns
        -------
        ndarray of float32, shape (n,) or (n, n_classes)
            Two classes: log-odds of ``classes_[1]``.  More: logits.
        """
        logits = self._outputs(X, groups)
        return logits[:, 1] - logits[:, 0] if logits.shape[1] == 2 else logits

    def predict_proba(
        self, X: Any, *, groups: ArrayLike | None = None
    ) -> NDArray[np.float32]:
        """Probabilities of the classes for each window.

        Parameters
        ----------
        X : array-like, mne.Epochs, list of mne.Epochs, or windows of braindecode
            Windows, of any electrodes, rate and length if they are no arrays.
        groups : array-like, shape (n,), optional
            As for `fit`; without any, these windows are one recording.

        Returns
        -------
        ndarray of float32, shape (n, n_classes)
            In the order of ``classes_``.
        """
        return self._say(self._outputs(X, groups))

    def _say(self, outputs: NDArray[np.float32]) -> NDArray[Any]:
        return softmax(outputs, axis=1)

    def predict(self, X: Any, *, groups: ArrayLike | None = None) -> NDArray[Any]:
        """Most probable label of each window.

        Parameters
        ----------
        X, groups
            As for `predict_proba`.

        Returns
        -------
        ndarray, shape (n,)
            Labels, of the kind that `fit` was given.
        """
        best = self._outputs(X, groups).argmax(axis=1)
        return self.classes_[best]

    def _truth(self, y: ArrayLike) -> NDArray[Any]:
        return check_labels(y)


def as_labels(y: ArrayLike) -> NDArray[Any]:
    """Labels as an array that scikit-learn knows."""
    labels = as_array(y, "y")
    # scikit-learn does not know numpy's variable-length text, which MNE's annotations
    # are described in
    return np.array(labels.tolist()) if labels.dtype.kind == "T" else labels


def check_labels(y: ArrayLike) -> NDArray[Any]:
    """Refuse what are no labels, one a window."""
    labels = column_or_1d(as_labels(y), warn=True)
    if labels.dtype.kind in "mMV":
        raise TypeError(f"y can't be {labels.dtype}: pass text or numbers")
    check_array(labels, ensure_2d=False, dtype=None, input_name="y")
    check_classification_targets(labels)
    return labels


def codes_of(labels: NDArray[Any], classes: NDArray[Any]) -> NDArray[np.int64]:
    """Numbers of labels among the sorted classes."""
    strange = np.setdiff1d(labels, classes)
    if len(strange):
        raise ValueError(
            f"y holds {strange.tolist()}, and the classes are {classes.tolist()}: "
            "leave these windows out, or name all classes in the first call"
        )
    return np.searchsorted(classes, labels)
