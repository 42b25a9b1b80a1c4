"""Columns of `evaluate_features.py`: who teaches, who is scored, which windows."""

from dataclasses import replace

import numpy as np
from paradigm_columns import TRAINED_ON, read_column
from pretrain_windows import CORPORA

from braindecode_samba.pretraining.config import is_chosen

# the other columns say it themselves
SCORED = {
    "kalunga": CORPORA["kalunga"]["scored"],
    "graz_2b": ["B04", "B05"],
    "eyes": CORPORA["guinea_bissau"]["scored"],
    "diagnosis": CORPORA["guinea_bissau"]["scored"],
    "adhd": CORPORA["adhd"]["scored"],
}


def thin(column, most):
    """At most so many windows of each person and label, evenly over the recording."""
    kept = []
    for one in np.unique(column.subject):
        for label in np.unique(column.y):
            rows = np.flatnonzero((column.subject == one) & (column.y == label))
            some = np.linspace(0, len(rows) - 1, min(most, len(rows)))
            kept.append(rows[some.round().astype(int)])
    return select(column, np.sort(np.concatenate(kept)))


def select(column, rows):
    """Column of some windows."""
    own = ("X", "y", "subject", "recording", "fold")
    return replace(column, **{name: getattr(column, name)[rows] for name in own})


def draw_people(subject, y, share, seed):
    """Draw a share of the people, at least one of each label that people have."""
    rng, drawn = np.random.default_rng(seed), []
    labels = {one: tuple(np.unique(y[subject == one])) for one in np.unique(subject)}
    for kind in sorted(set(labels.values())):
        people = [one for one, its in labels.items() if its == kind]
        count = max(1, round(share * len(people)))
        drawn += rng.choice(people, count, replace=False).tolist()
    return drawn


def lengthen(column, seconds):
    """Windows of another length, of one recording and label each.

    Windows of the column are joined in their order and cut anew.
    """
    n_times, X, rows = round(seconds * column.sfreq), [], []
    both = np.char.add(np.char.add(column.recording, "/"), column.y)
    for one in dict.fromkeys(both):
        own = np.flatnonzero(both == one)
        joined = np.concatenate(list(column.X[own]), axis=1)
        count = joined.shape[1] // n_times
        cut = joined[:, : count * n_times].reshape(len(joined), count, n_times)
        X.append(cut.swapaxes(0, 1))
        rows += [own[0]] * count
    return replace(select(column, rows), X=np.concatenate(X))


def by_person(column):
    """Who it is, from the first half of everybody's windows for the second."""
    late = np.zeros(len(column.y), bool)
    for one in np.unique(column.subject):
        own = np.flatnonzero(column.subject == one)
        late[own[len(own) // 2 :]] = True
    return replace(column, y=column.subject, fold=np.where(late, 0, TRAINED_ON))


def develop(folder, name, most=None, data_path=None, sets=None):
    """Column whose people for development are scored by what the others teach."""
    column = read_column(folder, name, data_path, sets)
    if name in SCORED:
        scored = [is_chosen(one, SCORED[name]) for one in column.subject]
        fold = np.where(scored, 0, TRAINED_ON)
        column = replace(column, fold=fold)
    return thin(column, most) if most else column
