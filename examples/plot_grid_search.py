"""
Search for the best settings with scikit-learn
==============================================

SAMBA's features and classifier are estimators of scikit-learn, so pipelines and grid
searches work on them, with folds that keep each person's windows together. Simulated
EEG, no download, less than a minute on one core::

    python examples/plot_grid_search.py
"""

# %%
# Windows and people
# ------------------
# Left against right imagined hand movement of six people, between 8 and 30 Hz. Arrays
# are told their electrodes and rate.

import argparse
import tempfile

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import sklearn
from mne.filter import filter_data
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, GroupKFold
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler

from braindecode_samba import SAMBAClassifier, SAMBAFeatures
from braindecode_samba.signals import EEGSimulator

parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
parser.add_argument("--figure", help="file to write the figure to")
args, _ = parser.parse_known_args()  # a gallery has arguments of its own

SFREQ = 128
X, y, subjects, info = EEGSimulator(sfreq=SFREQ, seed=1).imagery(6, n_trials=15)
X = filter_data(X, SFREQ, 8, 30, verbose="error")[..., 90:346]
print(f"{len(X)} windows of {len(np.unique(subjects))} people")

# %%
# Features, scaler, logistic regression
# -------------------------------------
# Which layer, and how much regularisation? ``GroupKFold`` scores people that a pipeline
# was not fitted on. ``memory`` keeps the features of a fold, which the values of C
# share.

folder = tempfile.TemporaryDirectory()
pipeline = Pipeline(
    [
        ("features", SAMBAFeatures(ch_names=info["ch_names"], sfreq=SFREQ)),
        ("scaler", StandardScaler()),
        ("classifier", LogisticRegression(max_iter=2000)),
    ],
    memory=folder.name,
)
search = GridSearchCV(
    pipeline,
    {
        "features__layer": ["all", "spatial", "encoder2"],
        "classifier__C": [0.001, 0.01, 0.1, 1, 10],
    },
    scoring="roc_auc",
    cv=GroupKFold(3),
).fit(X, y, groups=subjects)
folder.cleanup()
best = ", ".join(f"{name} {value}" for name, value in search.best_params_.items())
print(f"AUC of people held out: {search.best_score_:.3f} with {best}")

# %%
# The classifier itself
# ---------------------
# It settles by itself, on people apart, what it reads and how strong its penalties are,
# so there is little to search. Does it pay here to align people, and to train on
# mirrored windows too? With metadata routing, scikit-learn hands ``groups`` to the
# splitter, to the fit and to the score of people held out, so that each is aligned.
# The score is accuracy: a scorer such as "roc_auc" does not hand groups to predictions.

sides = {"left_hand": "right_hand"}
with sklearn.config_context(enable_metadata_routing=True):
    whole = GridSearchCV(
        SAMBAClassifier(ch_names=info["ch_names"], sfreq=SFREQ),
        [{"align": [False, True]}, {"mirror": [sides]}],
        cv=GroupKFold(3),
        refit=False,
    ).fit(X, y, groups=subjects)
table = pd.DataFrame(whole.cv_results_)
names = ["not aligned", "aligned", "aligned,\nmirrored"]
for name, score in zip(names, table["mean_test_score"], strict=True):
    print(f"accuracy of people held out: {score:.3f} {' '.join(name.split())}")

# %%
# What the searches tell
# ----------------------
# Which side a rhythm is on is read best from the first stage, which still knows places;
# all stages together hold it too, beside much that has nothing to do with hands. That
# is what a search is for, and `SAMBAClassifier` does the like by itself. Aligning
# people pays, and mirrored windows, which double what it learns from, pay a little
# more.
#
# The best of many candidates is a flattering score. For one to report, hold people out
# of the whole search: :func:`sklearn.model_selection.cross_val_score` around it.

results = pd.DataFrame(search.cv_results_)
fig, (left, right) = plt.subplots(
    1, 2, figsize=(9, 3.8), width_ratios=[2, 1], layout="constrained"
)
for layer, rows in results.groupby("param_features__layer", sort=False):
    left.semilogx(
        rows["param_classifier__C"].astype(float),
        rows["mean_test_score"],
        "o-",
        label=f"stage {layer}" if layer != "all" else "all stages",
    )
left.set(xlabel="C of the logistic regression", title="Features, logistic regression")
left.set_ylabel("AUC of people held out")
left.legend(frameon=False)
right.errorbar(
    np.arange(len(table)),
    table["mean_test_score"],
    table["std_test_score"],
    fmt="o",
    color="C3",
    capsize=4,
)
right.set_xticks(np.arange(len(table)), names)
right.set(title="SAMBAClassifier", xlim=(-0.5, len(table) - 0.5))
right.set_ylabel("accuracy of people held out")
for axes in (left, right):
    axes.axhline(0.5, color="0.6", linestyle=":")
if args.figure:
    fig.savefig(args.figure, dpi=120)
plt.show()

# %%
# Look at the right panel: alignment, which costs nothing, brings more than the whole
# search on the left.
