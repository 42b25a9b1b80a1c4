"""
Networks of braindecode's beside SAMBA in `evaluate_paradigms.py`

Trained from scratch as their users do: AdamW, classes weighted by the inverse of their
share, until the loss on held-out training people stops falling, and back to the best
pass. Windows come at 128 Hz.
"""

import braindecode.models
import numpy as np
import torch
from braindecode import EEGClassifier, EEGRegressor
from paradigm_scores import is_number
from scipy.signal import resample_poly
from sklearn.base import BaseEstimator
from sklearn.model_selection import GroupShuffleSplit
from sklearn.utils.class_weight import compute_class_weight
from skorch.callbacks import EarlyStopping
from skorch.dataset import Dataset
from skorch.helper import predefined_split
from torch import nn

from braindecode_samba.nn.randomness import seeded

RATE = 128


class StoppedNet(BaseEstimator):
    """A network that stops when people who are held out gain nothing any more.

    Parameters
    ----------
    network : str
        Name of a class in `braindecode.models`.
    sfreq : float
        Sampling rate of the windows, Hz.
    lr : float
        Learning rate.
    max_epochs, patience : int
        Passes at most, and passes without a gain.
    random_state : int
        Seeds weights, order, dropout and who is held out.
    """

    def __init__(self, network, sfreq, lr, max_epochs=60, patience=10, random_state=0):
        self.network = network
        self.sfreq = sfreq
        self.lr = lr
        self.max_epochs = max_epochs
        self.patience = patience
        self.random_state = random_state

    def read(self, X):
        """Windows at 128 Hz: fit and predict take them."""
        return [resample_poly(X, RATE, round(self.sfreq), axis=-1)]

    def fit(self, read, y, groups):
        """Train on four fifths of the persons that groups name, stop by the others."""
        # one number for all windows: the unit must not matter
        self.scale_ = np.std(read[0])
        inputs, targets = self._inputs(read), self._targets(y)
        split = GroupShuffleSplit(1, test_size=0.2, random_state=self.random_state)
        ((learnt, held),) = split.split(inputs, y, groups)
        with seeded(self.random_state):
            self.net_ = self._build(
                inputs, targets, Dataset(inputs[held], targets[held])
            )
            self.net_.fit(inputs[learnt], targets[learnt])
        return self

    def _inputs(self, read):
        return (read[0] / self.scale_).astype(np.float32)

    def _targets(self, y):
        if is_number(y):
            self.mean_, self.deviation_ = y.mean(), y.std()
            return ((y - self.mean_) / self.deviation_).astype(np.float32)[:, None]
        self.classes_, targets = np.unique(y, return_inverse=True)
        return targets

    def _build(self, inputs, targets, held):
        shape = {"n_chans": inputs.shape[1], "n_times": inputs.shape[2]}
        common = {
            "optimizer": torch.optim.AdamW,
            "lr": self.lr,
            "batch_size": 64,
            "max_epochs": self.max_epochs,
            "iterator_train__shuffle": True,
            "train_split": predefined_split(held),
            "callbacks": [EarlyStopping(patience=self.patience, load_best=True)],
            "verbose": 0,
        } | {f"module__{name}": value for name, value in shape.items()}
        kind = getattr(braindecode.models, self.network)
        if targets.ndim == 2:
            return EEGRegressor(kind, module__n_outputs=1, **common)
        codes = np.arange(targets.max() + 1)
        weight = compute_class_weight("balanced", classes=codes, y=targets)
        return EEGClassifier(
            kind,
            module__n_outputs=len(codes),
            classes=codes.tolist(),
            criterion=nn.CrossEntropyLoss,
            criterion__weight=torch.tensor(weight, dtype=torch.float32),
            **common,
        )

    def predict_proba(self, read):
        """Probabilities of classes."""
        with seeded(0):
            return self.net_.predict_proba(self._inputs(read))

    def predict(self, read):
        """Numbers, in the unit of the targets."""
        with seeded(0):
            found = self.net_.predict(self._inputs(read))[:, 0]
        return found * self.deviation_ + self.mean_


def make_network(column, kind, seed, *, network, lr):
    """Network by the name of its class."""
    return StoppedNet(network, column.sfreq, lr, random_state=seed)
