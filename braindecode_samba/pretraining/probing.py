"""A benchmark of frozen features that is taken while a network is pretrained.

A loss says how well hidden samples are rebuilt, not what a decoder gains.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self
from zipfile import BadZipFile

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import StratifiedGroupKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils import check_consistent_length
from skorch.callbacks import Callback

from braindecode_samba.nn.scaling import MODEL_SFREQ
from braindecode_samba.pretraining.watching import check_every
from braindecode_samba.pretraining.windows import as_dataset

_FOLDS = 5
_FIELDS = ("X", "y", "subject", "names", "sfreq")
# of the logistic regression: hundreds of features, and people differ
_STRENGTH = 0.01


@dataclass(frozen=True, eq=False)
class ProbeColumn:
    """Labelled windows of one kind, of people whom the pretraining doesn't see.

    Parameters
    ----------
    X : array-like, mne.Epochs, windows of braindecode, list of these, or Dataset
        Windows.
    y : array-like, shape (n_windows,)
        Labels.
    groups : array-like, shape (n_windows,), optional
        People, who are never learnt from and scored at once; without them windows of
        one recording fall on both sides, and the score is too high.
    scored : array-like of bool, shape (n_windows,), optional
        Windows that are scored by what all others teach; by default all, in five folds.
    """

    X: Any
    y: ArrayLike
    groups: ArrayLike | None = None
    scored: ArrayLike | None = None


@dataclass(eq=False, repr=False)
class BenchmarkProbe(Callback):
    """Score a linear classifier on frozen features of some columns, beside the loss.

    The log variances of all stages that ``net.transform`` gives are standardised and
    classified by logistic regression with balanced classes. The score is the area under
    the ROC curve (of several classes, the mean of one against the rest): the mean over
    people where they have several labels each, or the area over people, of their mean
    probability, where each has one. It is recorded as ``probe_NAME`` for each column,
    and their mean as ``probe_mean``; epochs in between have None.

    Parameters
    ----------
    columns : mapping of str to ProbeColumn
        What is told apart.
    every : int
        Epochs from one score to the next.
    """

    columns: Mapping[str, ProbeColumn]
    every: int = 5

    def initialize(self) -> Self:
        """Check labels and people."""
        check_every(self.every)
        if not self.columns:
            raise ValueError("there are no columns: pass at least one ProbeColumn")
        if "mean" in self.columns:
            raise ValueError("a column is named 'mean', as that of all: rename it")
        self.columns_ = {name: _check(name, one) for name, one in self.columns.items()}
        return self

    def on_epoch_end(self, net: Any, *args: Any, **kwargs: Any) -> None:
        """Score the features of this epoch."""
        scores: dict[str, float | None] = dict.fromkeys(self.columns_)
        scores["mean"] = None
        if len(net.history) % self.every == 0:
            scores = {name: _score(net, one) for name, one in self.columns_.items()}
            scores["mean"] = float(np.mean(list(scores.values())))
        for name, score in scores.items():
            net.history.record(f"probe_{name}", score)


def read_columns(
    folder: Path, model_sfreq: float = MODEL_SFREQ
) -> dict[str, ProbeColumn]:
    """Read the columns of a folder.

    Parameters
    ----------
    folder : pathlib.Path
        Holds a file ``NAME.npz`` for each: ``X``, shape (n_windows, channels, times),
        any unit, ``y`` and ``subject``, shape (n_windows,), ``names`` of electrodes,
        ``sfreq``, Hz, and, if some people are scored alone, ``scored``, bool.
    model_sfreq : float
        Rate of the network that will read them, Hz.

    Returns
    -------
    dict of ProbeColumn
        By name.

    Raises
    ------
    ValueError
        If there are none, or a file lacks something or holds what can't be read.
    """
    columns = {}
    for path in sorted(folder.glob("*.npz")):
        try:
            with np.load(path) as file:
                fields = {name: file[name] for name in file.files}
            if missing := [name for name in _FIELDS if name not in fields]:
                raise ValueError(f"{missing[0]!r} is missing")
            X = as_dataset(
                fields["X"],
                ch_names=fields["names"].tolist(),
                sfreq=float(fields["sfreq"]),
                model_sfreq=model_sfreq,
            )
            column = ProbeColumn(
                X, fields["y"], fields["subject"], fields.get("scored")
            )
        except (BadZipFile, EOFError, OSError, TypeError, ValueError) as error:
            raise ValueError(
                f"the probe's column {path} can't be read: {error}"
            ) from None
        columns[path.stem] = column
    if not columns:
        raise ValueError(
            f"{folder} holds no columns of a probe: put NAME.npz files there, or leave "
            "the probe out"
        )
    return columns


def _check(name: str, column: ProbeColumn) -> ProbeColumn:
    """Give a column as arrays, or say what it lacks."""
    y = np.asarray(column.y)
    groups = np.arange(len(y)) if column.groups is None else np.asarray(column.groups)
    check_consistent_length(y, groups)
    scored = None if column.scored is None else np.asarray(column.scored, bool)
    if scored is None and len(np.unique(groups)) < _FOLDS:
        raise ValueError(
            f"column {name} has {len(np.unique(groups))} groups: pass at least "
            f"{_FOLDS}, or say who is scored"
        )
    if scored is not None:
        check_consistent_length(y, scored)
        if both := np.intersect1d(groups[scored], groups[~scored]).tolist():
            raise ValueError(
                f"column {name} learns from and scores {both[0]}: people belong to one "
                "side"
            )
    for side in (y,) if scored is None else (y[scored], y[~scored]):
        if len(np.unique(side)) < 2:
            raise ValueError(f"column {name} holds one class: pass at least two")
    return ProbeColumn(column.X, y, groups, scored)


def _score(net: Any, column: ProbeColumn) -> float:
    features = net.transform(column.X)
    y, groups = np.asarray(column.y), np.asarray(column.groups)
    check_consistent_length(features, y)
    if column.scored is None:
        splitter = StratifiedGroupKFold(_FOLDS, shuffle=True, random_state=0)
        tests = [test for _, test in splitter.split(features, y, groups)]
    else:
        tests = [np.flatnonzero(column.scored)]
    chance = np.full((len(y), len(np.unique(y))), np.nan)
    for test in tests:
        learnt = np.setdiff1d(np.arange(len(y)), test)
        probe = make_pipeline(
            StandardScaler(),
            LogisticRegression(C=_STRENGTH, class_weight="balanced", max_iter=1000),
        ).fit(features[learnt], y[learnt])
        known = np.searchsorted(np.unique(y), probe.classes_)
        chance[test] = 0.0
        chance[np.ix_(test, known)] = probe.predict_proba(features[test])
    rows = np.concatenate(tests)
    return _area(y[rows], chance[rows], groups[rows])


def _area(y: NDArray[Any], chance: NDArray[Any], groups: NDArray[Any]) -> float:
    """Mean area within people, or the area over people who have one label each."""
    classes = np.unique(y)
    people = [groups == one for one in np.unique(groups)]
    if all(len(np.unique(y[one])) == 1 for one in people):
        labels = np.array([y[one][0] for one in people])
        means = np.stack([chance[one].mean(0) for one in people])
        return float(np.mean(_one_against_rest(labels, means, classes)))
    areas = [_one_against_rest(y[one], chance[one], classes) for one in people]
    return float(np.mean([np.mean(one) for one in areas if one]))


def _one_against_rest(
    y: NDArray[Any], chance: NDArray[Any], classes: NDArray[Any]
) -> list[float]:
    """Area of each class that some windows have and others don't."""
    labels = [y == one for one in classes]
    return [
        float(roc_auc_score(label, values))
        for label, values in zip(labels, chance.T, strict=True)
        if label.any() and not label.all()
    ]
