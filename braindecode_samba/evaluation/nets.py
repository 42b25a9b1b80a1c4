"""Networks beside SAMBA as scikit-learn classifiers: a small probe, braindecode's nets.

Both are trained from a seed, with private nets that every ``fit`` makes anew.  SAMBA's
own estimators are in `braindecode_samba.estimators`; the pipelines that these stand in
are in `braindecode_samba.evaluation.protocols` and
`braindecode_samba.evaluation.baselines`.
"""

import math
from dataclasses import dataclass, field
from numbers import Integral, Real
from typing import Any, ClassVar, Self

import braindecode.models
import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils import check_array, check_scalar
from sklearn.utils.class_weight import compute_class_weight
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_consistent_length, check_is_fitted
from skorch import NeuralNetClassifier
from skorch.callbacks import EarlyStopping, LRScheduler
from skorch.dataset import ValidSplit
from torch import nn
from torch.optim.lr_scheduler import OneCycleLR

from braindecode_samba.estimators.base import choose_device, draw_seed
from braindecode_samba.estimators.interrupts import (
    Interruptible,
    InterruptibleClassifier,
)
from braindecode_samba.nn.randomness import seeded
from braindecode_samba.nn.scaling import robust_scale
from braindecode_samba.signals.inputs import RandomState, TakesWindows


@dataclass(kw_only=True, eq=False, repr=False)
class _SeededNet(ClassifierMixin, BaseEstimator):
    """A private net of skorch's behind scikit-learn's rules for classifiers.

    Subclasses say how X becomes input and which net is trained on it.
    """

    _n_dims: ClassVar[int]

    max_epochs: int
    lr: float = 1e-3
    batch_size: int = 64
    device: str = "auto"
    random_state: RandomState = None

    def fit(self, X: ArrayLike, y: ArrayLike) -> Self:
        """Train a new network.

        Parameters
        ----------
        X : array-like
            Features or windows, one row each.
        y : array-like, shape (n,)
            Labels.

        Returns
        -------
        Self
            The classifier.

        Raises
        ------
        ValueError
            If X holds NaN or has another shape than expected, y holds one class, a
            parameter can't be used, or training diverges.
        """
        check_scalar(self.max_epochs, "max_epochs", Integral, min_val=1)
        check_scalar(self.batch_size, "batch_size", Integral, min_val=1)
        check_scalar(self.lr, "lr", Real, min_val=0, include_boundaries="neither")
        inputs = self._inputs(X)
        check_consistent_length(inputs, y)
        check_classification_targets(y)
        classes, targets = np.unique(np.asarray(y), return_inverse=True)
        if len(classes) < 2:
            raise ValueError(
                f"y holds one class, {classes.tolist()[0]!r}: pass at least two"
            )
        seed = draw_seed(self.random_state)
        net = self._build(inputs, targets, seed)
        with seeded(seed):
            net.initialize().partial_fit(inputs, targets)
        # held-out rows must not travel in pickles
        net.set_params(train_split=None)
        self.classes_, self.net_ = classes, net
        self.n_features_in_, self._shape = inputs.shape[1], inputs.shape[1:]
        return self

    def _inputs(self, X: ArrayLike) -> NDArray[np.float32]:
        """Check X and bring it into the form that the net takes."""
        x = check_array(
            X, ensure_2d=False, allow_nd=True, dtype=np.float32, input_name="X"
        )
        if x.ndim != self._n_dims:
            raise ValueError(
                f"X has shape {x.shape}: pass {self._n_dims} dimensions, one row each"
            )
        return x

    def _build(
        self, inputs: NDArray[np.float32], targets: NDArray[np.int64], seed: int
    ) -> NeuralNetClassifier:
        raise NotImplementedError

    def _common(self, targets: NDArray[np.int64]) -> dict[str, Any]:
        """Parameters that every net gets."""
        return {
            "max_epochs": int(self.max_epochs),
            "lr": self.lr,
            "batch_size": int(self.batch_size),
            "optimizer": torch.optim.AdamW,
            "criterion": nn.CrossEntropyLoss,
            "classes": list(range(int(targets.max()) + 1)),
            "iterator_train__shuffle": True,
            "iterator_train__drop_last": False,
            "device": str(choose_device(self.device)),
            "verbose": 0,
        }

    def predict_proba(self, X: ArrayLike) -> NDArray[np.float32]:
        """Probabilities of the classes.

        Parameters
        ----------
        X : array-like
            As in `fit`.

        Returns
        -------
        ndarray of float32, shape (n, n_classes)
            In the order of ``classes_``.
        """
        check_is_fitted(self)
        inputs = self._inputs(X)
        if inputs.shape[1:] != self._shape:
            raise ValueError(
                f"a row of X has the shape {inputs.shape[1:]}, and "
                f"{type(self).__name__} was fitted on {self._shape}: pass the same"
            )
        # torch's loaders draw a seed, even where nothing is random
        with seeded(0):
            return self.net_.predict_proba(inputs)

    def predict(self, X: ArrayLike) -> NDArray[Any]:
        """Most probable label of each row.

        Parameters
        ----------
        X : array-like
            As in `fit`.

        Returns
        -------
        ndarray, shape (n,)
            Labels.
        """
        best = self.predict_proba(X).argmax(axis=1)
        return self.classes_[best]


@dataclass(kw_only=True, eq=False, repr=False)
class ProbeNet(_SeededNet):
    """The published non-linear probe: two hidden layers on the features of a network.

    Linear layers of 128 and 32 units with ReLU and dropout of 0.5; AdamW; cross-entropy
    with each class weighted by the inverse of its share, as in the published
    probing code.  The weights of the epoch with the lowest loss on held-out rows are
    kept.

    Parameters
    ----------
    max_epochs : int
        Passes over the rows.
    lr : float
        Learning rate.
    batch_size : int
        Rows in a step.
    validation_split : float
        Share of the rows to hold out, stratified and shuffled.
    device : str
        "auto" takes CUDA if there is any, else the CPU; or a device of PyTorch.
    random_state : int, RandomState instance or None
        Seeds weights, split, order and dropout.  Global random states stay untouched.

    Attributes
    ----------
    classes_ : ndarray, shape (n_classes,)
        Sorted labels.
    net_ : skorch.NeuralNetClassifier
        The trained net, with ``history``.
    """

    _n_dims = 2

    max_epochs: int = 20
    validation_split: float = 0.2

    def _build(
        self, inputs: NDArray[np.float32], targets: NDArray[np.int64], seed: int
    ) -> NeuralNetClassifier:
        codes = np.unique(targets)
        weight = compute_class_weight("balanced", classes=codes, y=targets)
        return _ProbeTrainer(
            _Probe,
            module__n_features=inputs.shape[1],
            module__n_outputs=len(codes),
            criterion__weight=torch.tensor(weight, dtype=torch.float32),
            train_split=ValidSplit(
                self.validation_split, stratified=True, random_state=seed
            ),
            # never stops early: it is here to bring the best epoch back
            callbacks=[EarlyStopping(patience=int(self.max_epochs), load_best=True)],
            **self._common(targets),
        )


@dataclass(kw_only=True, eq=False, repr=False)
class BraindecodeNet(TakesWindows, _SeededNet):
    """A network of braindecode's, from scratch, on windows of any unit.

    Each window is centred by channel and divided by one robust scale, as SAMBA does it;
    AdamW on a one-cycle schedule.

    Parameters
    ----------
    network : str
        Name of a class in `braindecode.models`, such as "ShallowFBCSPNet".
    sfreq : float, optional
        Sampling rate, Hz, for networks that ask for it.
    network_params : dict, optional
        Further arguments of the network.
    max_epochs : int
        Passes over the windows.
    lr : float
        Highest learning rate of the schedule.
    batch_size : int
        Windows in a step.
    weight_decay : float
        Of AdamW.
    device, random_state
        As for `ProbeNet`.

    Attributes
    ----------
    classes_ : ndarray, shape (n_classes,)
        Sorted labels.
    net_ : braindecode.EEGClassifier
        The trained net, with ``history``.
    n_features_in_ : int
        Number of channels.
    """

    _n_dims = 3

    network: str = field(default="ShallowFBCSPNet", kw_only=False)
    sfreq: float | None = None
    network_params: dict[str, Any] | None = None
    max_epochs: int = 12
    weight_decay: float = 1e-2

    def _inputs(self, X: ArrayLike) -> NDArray[np.float32]:
        x = torch.from_numpy(super()._inputs(X).copy())
        centred = x - x.median(dim=-1, keepdim=True).values
        return (centred / robust_scale(centred)).numpy()

    def _build(
        self, inputs: NDArray[np.float32], targets: NDArray[np.int64], seed: int
    ) -> NeuralNetClassifier:
        kind = getattr(braindecode.models, self.network, None)
        if not isinstance(kind, type) or not issubclass(kind, nn.Module):
            raise ValueError(
                f"network={self.network!r} is no class of braindecode.models: pass the "
                "name of one"
            )
        n_batches = math.ceil(len(targets) / self.batch_size)
        schedule = LRScheduler(
            OneCycleLR,
            step_every="batch",
            max_lr=self.lr,
            # a schedule of one step is its own end
            total_steps=max(2, int(self.max_epochs) * n_batches),
        )
        signal = {
            "n_chans": inputs.shape[1],
            "n_times": inputs.shape[2],
            "n_outputs": int(targets.max()) + 1,
            **({} if self.sfreq is None else {"sfreq": self.sfreq}),
            **(self.network_params or {}),
        }
        return InterruptibleClassifier(
            kind,
            optimizer__weight_decay=self.weight_decay,
            train_split=None,
            callbacks=[("schedule", schedule)],
            **{f"module__{name}": value for name, value in signal.items()},
            **self._common(targets),
        )


class _ProbeTrainer(Interruptible, NeuralNetClassifier):
    """What trains a probe."""


class _Probe(nn.Sequential):
    """Features (batch, n_features) to logits (batch, n_outputs)."""

    def __init__(self, n_features: int, n_outputs: int) -> None:
        super().__init__(
            nn.Linear(n_features, 128),
            nn.ReLU(),
            nn.Dropout(0.5),
            nn.Linear(128, 32),
            nn.ReLU(),
            nn.Dropout(0.5),
            nn.Linear(32, n_outputs),
        )
