"""SAMBA as scikit-learn estimators: a classifier, a regressor and a transformer.

Each keeps plain parameters and makes its network in ``fit``, so that clones, grid
searches and other montages start afresh.  What may be handed over as X is decided in
`braindecode_samba.signals.inputs`; training and running networks is in
`braindecode_samba.estimators.training`.
"""

import copy
import functools
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Self

import numpy as np
import torch
from braindecode import EEGClassifier, EEGRegressor
from numpy.typing import ArrayLike, NDArray
from scipy.special import softmax
from sklearn.base import ClassifierMixin, RegressorMixin, TransformerMixin
from sklearn.utils import Tags, check_array
from sklearn.utils.class_weight import compute_class_weight
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, column_or_1d
from torch import Tensor

from braindecode_samba.checkpoints.loading import CheckpointReport, load_checkpoint
from braindecode_samba.estimators.finetuning import Finetune
from braindecode_samba.estimators.running import run_in_batches
from braindecode_samba.estimators.training import (
    Decoder,
    WindowEstimator,
    choose_device,
    draw_seed,
    seeded,
)
from braindecode_samba.models import SAMBA
from braindecode_samba.nn.pooling import log_variance, nine_statistics
from braindecode_samba.nn.recordings import (
    Recording,
    encode_in_parts,
    samples_at_layer,
    steps_of_layer,
)
from braindecode_samba.nn.scaling import MODEL_SFREQ
from braindecode_samba.signals.inputs import Channels, RandomState, Windows

__all__ = ["SAMBAClassifier", "SAMBAFeatures", "SAMBARegressor"]

# in the order of nine_statistics
_MOMENTS = ("min", "max", "mean", "std")
_QUANTILES = ("q05", "q25", "median", "q75", "q95")
_POOLINGS: dict[str, Callable[[Tensor], Tensor]] = {
    "statistics": nine_statistics,
    "mean": functools.partial(torch.mean, dim=-1),
    "logvar": log_variance,
}


class SAMBAClassifier(ClassifierMixin, Decoder):
    """Classify windows of EEG with SAMBA.

    Every ``fit`` trains a new network with AdamW on a one-cycle schedule, gradients
    clipped to norm 1, with a private `braindecode.EEGClassifier`.  Signals may come in
    any unit; the model scales and resamples them itself.

    Parameters
    ----------
    ch_names : sequence of str, optional
        Channels of X, in order.  Arrays need these or `chs_info`; mne.Epochs and
        windows of braindecode bring their own, which must not contradict.
    chs_info : sequence of dict, optional
        Channels with measured positions, as ``info["chs"]`` of MNE.
    sfreq : float, optional
        Sampling rate of X, Hz.  Arrays need it.
    max_epochs : int
        Passes over the training windows; 0 only with ``start="solved"``.
    lr : float
        Highest learning rate of the schedule, and the rate of ``partial_fit``.
    batch_size : int
        Windows in a step; the last step of a pass takes what is left.
    weight_decay : float
        Of AdamW.  Biases, norms, scalars and the state-space parameters have none.
    model_params : dict, optional
        Arguments for `SAMBA` beyond those that follow from the data.  With
        ``scale="recording"`` the scale is measured on the training windows.
    checkpoint : str or path-like, optional
        Trained weights that the trunk starts from, see
        `braindecode_samba.load_checkpoint`; the head starts anew. Options of the trunk
        are those of the checkpoint, and `model_params` must not contradict them.
    finetune : {"all", "head"} or int
        What is trained: everything; what lies behind the trunk; or that and the last
        so many stages of the trunk, of "spatial", "input_embedding", "encoder1",
        "encoder2", "encoder3" and "mediator" (6 are the whole trunk). What is not
        trained does not change, which needs a checkpoint.
    trunk_lr_factor : float
        Learning rate of the trunk over that of the head, at all times.
    start : {"random", "solved"}
        Where the head begins. ``"solved"`` (ours): with ``head="components"``, whose
        spatial components and last layer are solved on the training windows, see
        `braindecode_samba.estimators.starting.solve_head`; gradients go on from there,
        for `max_epochs` passes or, with 0, not at all.
    class_weight : dict, "balanced" or None
        Weights of the classes in the loss, by label.
    callbacks : list, optional
        Callbacks of skorch, or ``(name, callback)``; copied for every fit.
    validation_split : float, optional
        Share of the windows to hold out, stratified and shuffled, for the callbacks'
        ``valid_loss``.  Overlapping windows and those of one trial fall on both sides.
    device : str
        "auto" takes CUDA if there is any, else the CPU; or a device of PyTorch.
    random_state : int, RandomState instance or None
        Seeds weights, order and dropout.  Global random states stay untouched.
    verbose : int
        Above 0, skorch prints a table, and what was loaded is printed.

    Attributes
    ----------
    classes_ : ndarray, shape (n_classes,)
        Sorted labels.
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
    After a fit, arrays must have the same channels, and all windows the same length and
    rate.  Epochs and windows of braindecode may have any electrodes in any order, since
    their positions travel with them.

    Examples
    --------
    >>> import numpy as np
    >>> from braindecode_samba import SAMBAClassifier
    >>> X = np.random.default_rng(0).normal(size=(8, 3, 64))
    >>> y = ["left", "right"] * 4
    >>> decoder = SAMBAClassifier(
    ...     ch_names=["C3", "Cz", "C4"], sfreq=128, max_epochs=1, random_state=0
    ... )
    >>> decoder.fit(X, y).predict_proba(X).shape
    (8, 2)
    """

    _net_class = EEGClassifier
    _stratify = True

    def __init__(
        self,
        *,
        ch_names: Sequence[str] | None = None,
        chs_info: Channels | None = None,
        sfreq: float | None = None,
        max_epochs: int = 30,
        lr: float = 1e-3,
        batch_size: int = 64,
        weight_decay: float = 1e-2,
        model_params: Mapping[str, Any] | None = None,
        checkpoint: str | os.PathLike[str] | None = None,
        finetune: Finetune = "all",
        trunk_lr_factor: float = 1.0,
        start: str = "random",
        class_weight: Mapping[Any, float] | str | None = None,
        callbacks: Sequence[Any] | None = None,
        validation_split: float | None = None,
        device: str = "auto",
        random_state: RandomState = None,
        verbose: int = 0,
    ) -> None:
        super().__init__(
            ch_names=ch_names,
            chs_info=chs_info,
            sfreq=sfreq,
            max_epochs=max_epochs,
            lr=lr,
            batch_size=batch_size,
            weight_decay=weight_decay,
            model_params=model_params,
            checkpoint=checkpoint,
            finetune=finetune,
            trunk_lr_factor=trunk_lr_factor,
            start=start,
            callbacks=callbacks,
            validation_split=validation_split,
            device=device,
            random_state=random_state,
            verbose=verbose,
        )
        self.class_weight = class_weight

    def partial_fit(
        self, X: Any, y: ArrayLike | None = None, classes: ArrayLike | None = None
    ) -> Self:
        """Train for one pass over X, at the constant rate `lr`.

        Parameters
        ----------
        X : array-like, mne.Epochs, list of mne.Epochs, or windows of braindecode
            Windows.
        y : array-like, shape (n,), optional
            Labels; None takes those of a data set of braindecode.
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
        return self._partial_fit(X, y, classes)

    def _learn(
        self, y: ArrayLike, classes: ArrayLike | None
    ) -> tuple[dict[str, Any], NDArray[Any]]:
        labels = _check_labels(y)
        known = np.unique(labels if classes is None else _as_labels(classes))
        if len(known) < 2:
            raise ValueError(
                f"y holds one class, {known.tolist()[0]!r}: pass at least two classes"
            )
        return {"classes_": known}, _codes(labels, known)

    def _encode(self, y: ArrayLike, classes: ArrayLike | None) -> NDArray[np.int64]:
        if classes is not None:
            told = np.unique(_as_labels(classes))
            if not np.array_equal(told, self.classes_):
                raise ValueError(
                    f"classes are {told.tolist()}, and the first call said "
                    f"{self.classes_.tolist()}: pass the same, or None"
                )
        return _codes(_check_labels(y), self.classes_)

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

    def decision_function(self, X: Any) -> NDArray[np.float32]:
        """Evidence for the classes.

        Parameters
        ----------
        X : array-like, mne.Epochs, list of mne.Epochs, or windows of braindecode
            Windows.

        Returns
        -------
        ndarray of float32, shape (n,) or (n, n_classes)
            Two classes: log-odds of ``classes_[1]``.  More: logits.
        """
        logits = self._outputs(X)
        return logits[:, 1] - logits[:, 0] if logits.shape[1] == 2 else logits

    def predict_proba(self, X: Any) -> NDArray[np.float32]:
        """Probabilities of the classes for each window.

        Parameters
        ----------
        X : array-like, mne.Epochs, list of mne.Epochs, or windows of braindecode
            Windows.

        Returns
        -------
        ndarray of float32, shape (n, n_classes)
            In the order of ``classes_``.
        """
        return softmax(self._outputs(X), axis=1)

    def predict(self, X: Any) -> NDArray[Any]:
        """Most probable label of each window.

        Parameters
        ----------
        X : array-like, mne.Epochs, list of mne.Epochs, or windows of braindecode
            Windows.

        Returns
        -------
        ndarray, shape (n,)
            Labels, of the kind that `fit` was given.
        """
        best = self._outputs(X).argmax(axis=1)
        return self.classes_[best]


class SAMBARegressor(RegressorMixin, Decoder):
    """Estimate one or several numbers from windows of EEG with SAMBA.

    As `SAMBAClassifier`, with mean squared error.  Targets are standardised inside, so
    that each counts the same.

    Parameters
    ----------
    ch_names, chs_info, sfreq, max_epochs, lr, batch_size, weight_decay, model_params, \
    checkpoint, finetune, trunk_lr_factor, start, callbacks, validation_split, device, \
    random_state, verbose
        As for `SAMBAClassifier`.

    Attributes
    ----------
    y_mean_, y_scale_ : ndarray, shape (n_targets,)
        Mean and standard deviation of the training targets.
    net_ : braindecode.EEGRegressor
        The trained net, with ``history``.
    model_, n_features_in_, n_times_, sfreq_, checkpoint_report_
        As for `SAMBAClassifier`.
    """

    _net_class = EEGRegressor
    _stratify = False

    def __sklearn_tags__(self) -> Tags:
        """Tags of scikit-learn: y may have several columns."""
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags

    def partial_fit(self, X: Any, y: ArrayLike | None = None) -> Self:
        """Train for one pass over X, at the constant rate `lr`.

        The first call decides how targets are standardised.

        Parameters
        ----------
        X : array-like, mne.Epochs, list of mne.Epochs, or windows of braindecode
            Windows.
        y : array-like, shape (n,) or (n, n_targets), optional
            Targets; None takes those of a data set of braindecode.

        Returns
        -------
        Self
            The estimator.

        Raises
        ------
        ValueError, TypeError
            As for `fit`, and if y has another number of columns than before.
        """
        return self._partial_fit(X, y)

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

    def predict(self, X: Any) -> NDArray[np.float64]:
        """Estimate the targets of each window.

        Parameters
        ----------
        X : array-like, mne.Epochs, list of mne.Epochs, or windows of braindecode
            Windows.

        Returns
        -------
        ndarray of float64, shape (n,) or (n, n_targets)
            In the shape and unit of y.
        """
        z = self._outputs(X)
        values = z * self.y_scale_ + self.y_mean_
        return values.reshape(len(z), *self._y_shape)


class SAMBAFeatures(TransformerMixin, WindowEstimator):
    """Turn windows of EEG into features: statistics over time of a layer of SAMBA.

    Parameters
    ----------
    ch_names, chs_info, sfreq, batch_size, device
        As for `SAMBAClassifier`.
    layer : str
        Layer of `SAMBA.encode`: "spatial", "input_embedding", "encoder1", "pool1",
        "encoder2", "pool2", "encoder3", "pool3" or "mediator".
    pooling : {"statistics", "mean", "logvar"}
        The nine published statistics of each feature, its mean over time, or the
        logarithm of its variance.
    model : SAMBA, optional
        Network to take as it is; it is copied.  None: one from `checkpoint`, or with
        random weights.
    checkpoint : str or path-like, optional
        Trained weights, see `braindecode_samba.load_checkpoint`; not with `model`.
    model_params : dict, optional
        Arguments for the random `SAMBA`, or those that a checkpoint leaves open.
    random_state : int, RandomState instance or None
        Seeds the random weights.  Global random states stay untouched.

    Attributes
    ----------
    model_ : SAMBA
        The network.
    n_features_in_, n_times_, sfreq_, checkpoint_report_
        As for `SAMBAClassifier`.

    See Also
    --------
    braindecode_samba.nn.nine_statistics : The statistics and their order.

    Examples
    --------
    >>> import numpy as np
    >>> from braindecode_samba import SAMBAFeatures
    >>> X = np.random.default_rng(0).normal(size=(2, 3, 64))
    >>> features = SAMBAFeatures(ch_names=["C3", "Cz", "C4"], sfreq=128)
    >>> features.fit_transform(X).shape
    (2, 1152)
    """

    def __init__(
        self,
        *,
        ch_names: Sequence[str] | None = None,
        chs_info: Channels | None = None,
        sfreq: float | None = None,
        layer: str = "pool3",
        pooling: str = "statistics",
        model: SAMBA | None = None,
        checkpoint: str | os.PathLike[str] | None = None,
        model_params: Mapping[str, Any] | None = None,
        batch_size: int = 64,
        device: str = "auto",
        random_state: RandomState = None,
    ) -> None:
        self.ch_names = ch_names
        self.chs_info = chs_info
        self.sfreq = sfreq
        self.layer = layer
        self.pooling = pooling
        self.model = model
        self.checkpoint = checkpoint
        self.model_params = model_params
        self.batch_size = batch_size
        self.device = device
        self.random_state = random_state

    def __sklearn_tags__(self) -> Tags:
        """Tags of scikit-learn: features are float32 whatever comes in."""
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float32"]
        return tags

    def fit(self, X: Any, y: ArrayLike | None = None) -> Self:
        """Take the network; nothing is trained.

        Parameters
        ----------
        X : array-like, mne.Epochs, list of mne.Epochs, or windows of braindecode
            Windows, see `braindecode_samba.signals.read_windows`.
        y : None
            Ignored.

        Returns
        -------
        Self
            The estimator.

        Raises
        ------
        ValueError, TypeError
            If X or a parameter can't be used, or windows are too short: at the layer
            "pool3" statistics need 16 samples at the model's rate.
        """
        windows = self._read_new(X)
        if self.pooling not in _POOLINGS:
            raise ValueError(
                f"pooling={self.pooling!r} is unknown: pass one of {tuple(_POOLINGS)}"
            )
        model, report = self._take_model(windows)
        model = model.to(choose_device(self.device))
        first = self._describe(model, windows.select(slice(1)))
        self._remember(windows)
        self.model_ = model
        self.checkpoint_report_ = report
        self._n_features_out = first.shape[1]
        return self

    def _take_model(self, windows: Windows) -> tuple[SAMBA, CheckpointReport | None]:
        if self.model is None:
            params = {"n_outputs": 1, **self._signal_params(windows)}
            report = None
            with seeded(draw_seed(self.random_state), torch.device("cpu")):
                if self.checkpoint is None:
                    model = SAMBA(**params)
                else:
                    model, report = load_checkpoint(
                        self.checkpoint, verbose=0, **params
                    )
            self._scale_recordings(model, windows)
            return model, report
        if self.checkpoint is not None:
            raise ValueError("pass either model or checkpoint: each is a whole network")
        if not isinstance(self.model, SAMBA):
            raise TypeError(f"model is a {type(self.model).__name__}: pass a SAMBA")
        if self.model_params:
            raise ValueError("pass either model or model_params: a model has its own")
        try:
            sfreq: Any = self.model.sfreq
        except ValueError:
            sfreq = MODEL_SFREQ
        if not np.isclose(sfreq, windows.sfreq, rtol=1e-6, atol=0):
            raise ValueError(
                f"X is sampled at {windows.sfreq:g} Hz and model takes {sfreq:g} Hz: "
                "resample X, or build SAMBA with sfreq of X"
            )
        return copy.deepcopy(self.model), None

    def _describe(self, model: SAMBA, windows: Windows) -> NDArray[np.float32]:
        pool = _POOLINGS[self.pooling]

        def features(**batch: Tensor) -> Tensor:
            z = model.encode(**batch, layer=self.layer)
            if self.pooling == "logvar" and z.shape[-1] < 2:
                raise ValueError(
                    f"X has one time step at layer {self.layer!r}, which has no "
                    "variance: pass longer windows, or pooling='mean'"
                )
            return pool(z)

        return run_in_batches(model, features, windows, self.batch_size)

    def transform(self, X: Any) -> NDArray[np.float32]:
        """Compute the features of each window.

        Parameters
        ----------
        X : array-like, mne.Epochs, list of mne.Epochs, or windows of braindecode
            Windows.

        Returns
        -------
        ndarray of float32, shape (n, n_features)
            In the order of `get_feature_names_out`.
        """
        windows = self._read_more(X)
        return self._describe(self.model_, windows)

    def transform_recording(
        self,
        recording: Any,
        *,
        window_seconds: float | None = None,
        stride_seconds: float | None = None,
    ) -> NDArray[np.float32]:
        """Compute features of a whole recording, in bounded memory.

        The recording goes through the network once, with states handed on, see
        `SAMBA.encode_recording`; then the layer's signals are described, all at once or
        window by window. Windows of `transform` start from a state of zero instead, and
        each has its own scale.

        Parameters
        ----------
        recording : mne.io.Raw, RawDataset, or array of shape (n_chans, n_times)
            Raw may be of any rate and any electrodes; arrays are as those of `fit`.
        window_seconds : float, optional
            Length of the windows; by default the whole recording is one, and the
            layer's signals are held: a quarter of a GB for a night at "pool3".
        stride_seconds : float, optional
            From one window to the next; by default their length.

        Returns
        -------
        ndarray of float32, shape (n_windows, n_features)
            In the order of `get_feature_names_out`; what is left of the recording after
            the last whole window is left out.

        Raises
        ------
        ValueError, TypeError
            If the recording can't be used, or is shorter than a window.
        """
        check_is_fitted(self)
        source = Recording(recording, self.sfreq_)
        trunk = self.model_.trunk
        n_times = samples_at_layer(trunk, source, self.layer)
        pool = _POOLINGS[self.pooling]
        self.model_.eval()
        if window_seconds is None:
            if stride_seconds is not None:
                raise ValueError("stride_seconds needs window_seconds: pass both")
            signals = self.model_.encode_recording(recording, self.layer)
            return pool(torch.from_numpy(signals).unsqueeze(0)).numpy()
        rate = trunk.signal.model_sfreq / steps_of_layer(self.layer)
        length, starts = _windows_of(n_times, rate, window_seconds, stride_seconds)
        parts = encode_in_parts(trunk, source, self.layer)
        with torch.no_grad():
            rows = [pool(window) for window in _cut(parts, length, starts)]
        return torch.cat(rows).float().cpu().numpy()

    def get_feature_names_out(self, input_features: Any = None) -> NDArray[np.object_]:
        """Names of the features, such as "pool3_12_median".

        Parameters
        ----------
        input_features : None
            Ignored: features are no channels.

        Returns
        -------
        ndarray of object, shape (n_features,)
            Layer, number of the feature in it, and statistic.
        """
        check_is_fitted(self)
        if self.pooling != "statistics":
            parts = [(i, self.pooling) for i in range(self._n_features_out)]
        else:
            n = self._n_features_out // len(_MOMENTS + _QUANTILES)
            parts = [(i, name) for name in _MOMENTS for i in range(n)]
            parts += [(i, name) for i in range(n) for name in _QUANTILES]
        return np.array([f"{self.layer}_{i}_{name}" for i, name in parts], dtype=object)


def _windows_of(
    n_times: int, rate: float, window_seconds: float, stride_seconds: float | None
) -> tuple[int, list[int]]:
    """Length and starts, in steps of a layer, of windows in a signal of n_times."""
    stride = window_seconds if stride_seconds is None else stride_seconds
    length = round(window_seconds * rate)
    if length < 2 or not stride * rate >= 1:
        raise ValueError(
            f"window_seconds={window_seconds} and stride_seconds={stride_seconds} are "
            f"less than 2 and 1 steps of the layer, of which there are {rate:g} in a "
            "second: pass longer ones"
        )
    if length > n_times:
        raise ValueError(
            f"the recording lasts {n_times / rate:g} s: pass window_seconds of at most "
            "that"
        )
    n = int((n_times - length) / (stride * rate)) + 1
    starts = (round(i * stride * rate) for i in range(n + 1))
    return length, [start for start in starts if start + length <= n_times]


def _cut(parts: Iterator[Tensor], length: int, starts: list[int]) -> Iterator[Tensor]:
    """Windows of a signal that comes in parts, as soon as each is complete."""
    held: list[Tensor] = []
    first = stop = 0  # samples that are held
    waiting = iter(starts)
    start = next(waiting, None)
    for part in parts:
        held.append(part)
        stop += part.shape[2]
        while start is not None and start + length <= stop:
            held = [torch.cat(held, dim=2)]
            yield held[0][:, :, start - first : start - first + length]
            start = next(waiting, None)
        if start is not None:
            while held and first + held[0].shape[2] <= start:
                first += held.pop(0).shape[2]


def _as_labels(y: ArrayLike) -> NDArray[Any]:
    labels = np.asarray(y)
    # scikit-learn does not know numpy's variable-length text, which MNE's annotations
    # are described in
    return np.array(labels.tolist()) if labels.dtype.kind == "T" else labels


def _check_labels(y: ArrayLike) -> NDArray[Any]:
    labels = column_or_1d(_as_labels(y), warn=True)
    check_array(labels, ensure_2d=False, dtype=None, input_name="y")
    check_classification_targets(labels)
    return labels


def _codes(labels: NDArray[Any], classes: NDArray[Any]) -> NDArray[np.int64]:
    strange = np.setdiff1d(labels, classes)
    if len(strange):
        raise ValueError(
            f"y holds {strange.tolist()}, and the classes are {classes.tolist()}: name "
            "all classes in the first call of partial_fit"
        )
    return np.searchsorted(classes, labels)


def _check_numbers(y: ArrayLike) -> NDArray[np.float64]:
    numbers = check_array(
        y, dtype=np.float64, ensure_2d=False, allow_nd=True, input_name="y"
    )
    if numbers.ndim not in (1, 2):
        raise ValueError(f"y has shape {numbers.shape}: pass (n,) or (n, n_targets)")
    return numbers


def _standardised(
    y: NDArray[np.float64], mean: NDArray[np.float64], scale: NDArray[np.float64]
) -> NDArray[np.float32]:
    return ((y - mean) / scale).astype(np.float32)
