"""Run a recipe: split by subject, fit, score, and put published scores beside.

The split takes whole subjects. Reading is in the recipes themselves.
"""

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, clone
from sklearn.metrics import check_scoring
from sklearn.model_selection import StratifiedGroupKFold

from braindecode_samba.evaluation.recipes.recipe import (
    DataPath,
    LabelledWindows,
    Recipe,
)
from braindecode_samba.evaluation.recipes.registry import get_recipe
from braindecode_samba.evaluation.recipes.scores import published_scores
from braindecode_samba.signals.broken import OnBroken

# names of the table: scikit-learn's scorers
_METRICS = {
    "accuracy": "accuracy",
    "balanced_accuracy": "balanced_accuracy",
    "roc_auc": "roc_auc",
    "f1": "f1_macro",
}
_FOLDS = 5  # a fifth of the subjects is the test, a fifth of the others validation
_COLUMNS = "recipe method part metric mean std n_subjects n_windows seed source".split()


def split_by_subject(
    windows: LabelledWindows, *, validation: bool = True, seed: int = 0
) -> dict[str, NDArray[np.intp]]:
    """Divide windows into parts that share no subject.

    Where a test part is published it is the test.  Else about a fifth of the subjects
    is, with classes in proportion as far as whole subjects allow; a fifth of the others
    are for validation.

    Parameters
    ----------
    windows : LabelledWindows
        What to divide.
    validation : bool
        Whether to make a part for validation.
    seed : int
        Seed of the choice.

    Returns
    -------
    dict of str to ndarray of int
        Rows of "train", "valid" (if asked for) and "test".

    Raises
    ------
    ValueError
        If there are too few subjects, a published split shares some, or a part lacks a
        class.
    """
    everything = np.arange(len(windows.y))
    if windows.is_test is None:
        rest, test = _cut_off(windows, everything, seed)
    else:
        rest, test = everything[~windows.is_test], everything[windows.is_test]
        if shared := sorted(set(windows.groups[rest]) & set(windows.groups[test])):
            raise ValueError(
                f"the published test part shares subjects with the rest: {shared}; "
                "these files are not the published ones"
            )
    parts = {"train": rest, "test": test}
    if validation:
        train, valid = _cut_off(windows, rest, seed)
        parts = {"train": train, "valid": valid, "test": test}
    classes = set(windows.y.tolist())
    for name, rows in parts.items():
        if lacking := sorted(classes - set(windows.y[rows].tolist())):
            raise ValueError(
                f"no {name} subject shows {lacking}: pass more subjects or another seed"
            )
    return parts


def _cut_off(
    windows: LabelledWindows, rows: NDArray[np.intp], seed: int
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Divide rows into the larger and the smaller part."""
    groups, y = windows.groups[rows], windows.y[rows]
    shown = {one: set(groups[y == one].tolist()) for one in set(y.tolist())}
    rarest = min(shown, key=lambda one: (len(shown[one]), one))
    # no more folds than the rarest class has subjects, so that each can show it
    n_folds = min(_FOLDS, len(shown[rarest]))
    if n_folds < 2:
        raise ValueError(
            f"subjects {sorted(shown[rarest])} alone show {rarest!r}: two parts need "
            "at least 2 subjects of each class, three parts 3"
        )
    folds = StratifiedGroupKFold(n_folds, shuffle=True, random_state=seed)
    larger, smaller = next(folds.split(groups, y, groups))
    return rows[larger], rows[smaller]


def run_recipe(
    recipe: Recipe | str,
    estimator: BaseEstimator,
    data_path: DataPath | None = None,
    seed: int = 0,
    *,
    method: str | None = None,
    on_broken: OnBroken | None = None,
) -> pd.DataFrame:
    """Fit an estimator on some subjects and score it on others.

    Parameters
    ----------
    recipe : Recipe or str
        A recipe or its name.
    estimator : classifier of scikit-learn
        Of arrays (n, n_chans, n_times) in volts.  A clone is fitted; where it, or a
        step of it, has parameters ``chs_info`` and ``sfreq`` and no channels yet, they
        are those of the recipe's.
    data_path : str or path-like, optional
        As for `Recipe.load`.
    seed : int
        Of the split alone.  The estimator has its own.
    method : str, optional
        What to call the estimator; by default its class.
    on_broken : callable, optional
        As for `Recipe.load`: is told of recordings that are left out.

    Returns
    -------
    pandas.DataFrame
        One line for each score: ``recipe, method, part, metric, mean, std, n_subjects,
        n_windows, seed, source``.  Those of this run come first, over all windows of
        the part, with ``std`` NaN: run several seeds and group.  Published ones follow.

    Raises
    ------
    KeyError
        If there is no such recipe.
    FileNotFoundError, ValueError
        As for `Recipe.load` and `split_by_subject`.

    Notes
    -----
    ``f1`` is the mean over the classes.
    """
    chosen = get_recipe(recipe) if isinstance(recipe, str) else recipe
    windows = chosen.load(data_path, on_broken=on_broken)
    parts = split_by_subject(windows, validation=chosen.validation, seed=seed)
    fitted = _tell_channels(estimator, windows)
    train = parts.pop("train")
    fitted.fit(windows.X[train], windows.y[train])
    score = check_scoring(fitted, scoring=_METRICS)
    lines = []
    for part, rows in parts.items():
        about = {
            "recipe": chosen.name,
            "method": method or type(estimator).__name__,
            "part": part,
            "n_subjects": len(set(windows.groups[rows].tolist())),
            "n_windows": len(rows),
            "seed": seed,
            "source": "this run",
        }
        values = score(fitted, windows.X[rows], windows.y[rows])
        lines += [about | {"metric": name, "mean": values[name]} for name in _METRICS]
    published = published_scores(chosen.name).assign(part="test")
    table = pd.DataFrame([*lines, *published.to_dict("records")]).reindex(
        columns=_COLUMNS
    )
    counts = ["n_subjects", "n_windows", "seed"]
    return table.astype({"std": float} | dict.fromkeys(counts, "Int64"))


def _tell_channels(estimator: BaseEstimator, windows: LabelledWindows) -> Any:
    """Clone, with the channels filled in wherever they are asked for and missing."""
    told = clone(estimator)
    values = told.get_params()
    channels = {"chs_info": windows.info["chs"], "sfreq": windows.info["sfreq"]}
    for name in values:
        owner = name.removesuffix("chs_info")
        if owner == name or f"{owner}sfreq" not in values:
            continue
        own = [values.get(owner + key) for key in ("ch_names", "chs_info", "sfreq")]
        if own == [None, None, None]:
            told.set_params(**{owner + key: item for key, item in channels.items()})
    return told
