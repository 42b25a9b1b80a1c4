"""Callbacks that look at a run: a probe on labels, figures, spatial weights."""

import io
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import ArrayLike
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import StratifiedGroupKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils import check_consistent_length
from skorch.callbacks import Callback

from braindecode_samba._paths import write_whole
from braindecode_samba.pretraining.batches import collate
from braindecode_samba.pretraining.drawing import (
    draw_reconstruction,
    lay_out_panels,
    rebuild_window,
)

_FOLDS = 5


@dataclass(eq=False, repr=False)
class LinearProbe(Callback):
    """Score a linear classifier on the features, beside the loss.

    The nine statistics that ``net.transform`` gives are standardised and classified by
    logistic regression with balanced classes, in five folds.  The area under the ROC
    curve (of several classes, the mean of one against the rest) is recorded as
    ``probe_auc``; epochs in between have None.

    Parameters
    ----------
    X : array-like, mne.Epochs, windows of braindecode, list of these, or Dataset
        Labelled windows, of subjects that are not trained on.
    y : array-like, shape (n_windows,)
        Labels.
    groups : array-like, shape (n_windows,), optional
        Subjects or recordings, which stay together; without them, windows of one
        recording fall on both sides and the score is too high.
    every : int
        Epochs from one score to the next.
    """

    X: Any
    y: ArrayLike
    groups: ArrayLike | None = None
    every: int = 5

    def initialize(self) -> Self:
        """Check labels and groups."""
        _check_every(self.every)
        labels = np.asarray(self.y)
        groups = np.arange(len(labels)) if self.groups is None else self.groups
        check_consistent_length(labels, groups)
        if len(np.unique(labels)) < 2:
            raise ValueError("y holds one class: pass at least two")
        if len(np.unique(groups)) < _FOLDS:
            raise ValueError(
                f"there are {len(np.unique(groups))} groups: pass at least {_FOLDS}"
            )
        self.labels_, self.groups_ = labels, np.asarray(groups)
        return self

    def on_epoch_end(self, net: Any, *args: Any, **kwargs: Any) -> None:
        """Score the features of this epoch."""
        due = len(net.history) % self.every == 0
        net.history.record("probe_auc", self._score(net) if due else None)

    def _score(self, net: Any) -> float:
        features = net.transform(self.X)
        check_consistent_length(features, self.labels_)
        probe = make_pipeline(
            StandardScaler(), LogisticRegression(class_weight="balanced", max_iter=1000)
        )
        folds = StratifiedGroupKFold(_FOLDS, shuffle=True, random_state=0)
        scores = cross_val_predict(
            probe,
            features,
            self.labels_,
            groups=self.groups_,
            cv=folds,
            method="predict_proba",
        )
        if scores.shape[1] == 2:
            return float(roc_auc_score(self.labels_, scores[:, 1]))
        return float(roc_auc_score(self.labels_, scores, multi_class="ovr"))


@dataclass(eq=False, repr=False)
class ReconstructionFigure(Callback):
    """Draw a window, what was hidden of it, and what was made of it, with spectra.

    Parameters
    ----------
    folder : str or path-like
        Where ``epoch-00001.png`` and so on go.
    every : int
        Epochs from one figure to the next.
    n_channels : int
        Channels to draw, the first ones of the first held-out window (without any, of
        the first training window).
    """

    folder: str | os.PathLike[str]
    every: int = 1
    n_channels: int = 6

    def initialize(self) -> Self:
        """Check the settings."""
        _check_every(self.every)
        return self

    def on_epoch_end(
        self,
        net: Any,
        dataset_train: Any = None,
        dataset_valid: Any = None,
        **kwargs: Any,
    ) -> None:
        """Draw the figure of this epoch."""
        epoch = len(net.history)
        if epoch % self.every or net.process_[0]:
            return
        dataset = dataset_train if dataset_valid is None else dataset_valid
        window = rebuild_window(net, dataset[0], self.n_channels)
        # no pyplot: it would keep the figure, and choose a backend for all
        figure = Figure(layout="constrained")
        draw_reconstruction(lay_out_panels(figure, len(window.rows)), window)
        figure.suptitle(f"epoch {epoch}")
        png = io.BytesIO()
        figure.savefig(png, format="png", dpi=120)
        write_whole(Path(self.folder) / f"epoch-{epoch:05d}.png", png.getvalue())


@dataclass(eq=False, repr=False)
class SpatialWeights(Callback):
    """Keep the spatial weights of every few epochs.

    Parameters
    ----------
    folder : str or path-like
        Where ``epoch-00001.npy`` and so on go: float32, shape (n_targets, channels),
        the weights of the electrodes of the first training window.
    every : int
        Epochs from one file to the next.
    """

    folder: str | os.PathLike[str]
    every: int = 1

    def initialize(self) -> Self:
        """Check the settings."""
        _check_every(self.every)
        return self

    def on_epoch_end(self, net: Any, dataset_train: Any = None, **kwargs: Any) -> None:
        """Write the weights of this epoch."""
        epoch = len(net.history)
        if epoch % self.every or net.process_[0]:
            return
        batch = collate([dataset_train[0]])
        pos = batch["pos"][0][batch["ch_mask"][0]]
        weights = net.model_.spatial_weights(pos).detach().float().cpu().numpy()
        file = io.BytesIO()
        np.save(file, weights)
        write_whole(Path(self.folder) / f"epoch-{epoch:05d}.npy", file.getvalue())


def _check_every(every: int) -> None:
    if every < 1:
        raise ValueError(f"every={every}: pass at least 1 epoch")
