"""How `evaluate_paradigms.py` scores evidence about windows: a number for a person."""

import numpy as np
from sklearn.metrics import balanced_accuracy_score, roc_auc_score

# what a score can be of, within each person but for the last
SCORES = ("AUC", "balanced accuracy", "r", "AUC over persons")


def is_number(y):
    """Tell targets from labels."""
    return y.dtype.kind == "f"


def score_people(score, y, evidence, subject):
    """Score of each person who can have one.

    Parameters
    ----------
    score : str
        One of `SCORES`.
    y : ndarray of shape (n,)
        Labels or targets.
    evidence : ndarray of shape (n, n_classes) or (n,)
        For each class in sorted order, or predicted targets.
    subject : ndarray of shape (n,)
        Whose each window is.

    Returns
    -------
    dict of float
        By person.
    """
    if score == "AUC over persons":
        return rank_people(y, evidence, subject)
    classes = np.unique(y)
    scores = {}
    for one in np.unique(subject):
        labels, found = y[subject == one], evidence[subject == one]
        if score == "r":
            scores[one] = np.corrcoef(labels, found)[0, 1] if found.std() else 0.0
        elif score == "balanced accuracy":
            best = classes[found.argmax(axis=1)]
            scores[one] = balanced_accuracy_score(labels, best)
        elif len(np.unique(labels)) == 2:
            scores[one] = roc_auc_score(labels == classes[1], found[:, 1])
    return scores


def rank_people(y, evidence, subject):
    """Share of people with the other label on whose right side a person is.

    The mean over all people with one label, and so over all, is the AUC over people of
    the mean evidence.
    """
    people = np.unique(subject)
    label = np.array([y[subject == one][0] for one in people]) == np.unique(y)[1]
    mean = np.array([evidence[subject == one, 1].mean() for one in people])
    above = (mean[:, None] > mean) + 0.5 * (mean[:, None] == mean)
    shares = (
        row[~label].mean() if own else 1 - row[label].mean()
        for row, own in zip(above, label, strict=True)
    )
    return dict(zip(people, shares, strict=True))


def mean_score(score, y, evidence, subject):
    """Mean over people."""
    return np.mean(list(score_people(score, y, evidence, subject).values()))
