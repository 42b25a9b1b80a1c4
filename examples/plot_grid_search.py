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
# Which layer, which summary of it over time, and how much regularisation?
# ``GroupKFold`` scores people that a pipeline was not fitted on. ``memory`` keeps the
# features of a fold, which the values of C share.
#
# The network has random weights here, whose first layer mixes electrodes by their
# places alone. ``checkpoint=...`` puts trained ones into the same grid.

folder = tempfile.TemporaryDirectory()
pipeline = Pipeline(
    [
        ("features", SAMBAFeatures(ch_names=info["ch_names"], sfreq=SFREQ)),
        ("scaler", StandardScaler()),
        ("classifier", LogisticRegression(max_iter=2000)),
    ],
    memory=folder.name,
)
pipeline.set_params(features__random_state=0)
search = GridSearchCV(
    pipeline,
    {
        "features__layer": ["spatial", "encoder1", "pool3"],
        "features__pooling": ["mean", "logvar"],
        "classifier__C": [0.01, 0.1, 1, 10],
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
# The same for a network that is trained. Its size is in ``model_params``, a dictionary,
# so candidates for it are whole dictionaries. Few epochs, two folds and windows of one
# second keep this page short, so its scores are no match for those above.

training = GridSearchCV(
    SAMBAClassifier(
        ch_names=info["ch_names"],
        sfreq=SFREQ,
        model_params={"d_state": 4, "expand": 2},
        max_epochs=4,
        batch_size=16,
        random_state=0,
    ),
    {"lr": [3e-4, 3e-3]},
    scoring="roc_auc",
    cv=GroupKFold(2),
    refit=False,
).fit(X[..., :128], y, groups=subjects)
table = pd.DataFrame(training.cv_results_)
for lr, score in zip(table["param_lr"], table["mean_test_score"], strict=True):
    print(f"AUC of people held out: {score:.3f} with lr {lr:g}")

# %%
# What the searches tell
# ----------------------
# Power ("logvar") of the first layer, with a moderate C, carries over to other people;
# deeper layers of a random network hold less of it. Too small an ``lr`` learns nothing
# in so few epochs.
#
# The best of many candidates is a flattering score. For one to report, hold people out
# of the whole search: :func:`sklearn.model_selection.cross_val_score` around it.

results = pd.DataFrame(search.cv_results_)
fig, (left, right) = plt.subplots(
    1, 2, figsize=(9, 3.8), width_ratios=[2, 1], sharey=True, layout="constrained"
)
for (layer, pooling), rows in results.groupby(
    ["param_features__layer", "param_features__pooling"], sort=False
):
    style = "o-" if pooling == "logvar" else "o--"
    colour = {"spatial": "C0", "encoder1": "C1", "pool3": "C2"}[layer]
    left.semilogx(
        rows["param_classifier__C"].astype(float),
        rows["mean_test_score"],
        style,
        color=colour,
        label=f"{layer}, {pooling}",
    )
left.set(xlabel="C of the logistic regression", title="Features of random weights")
left.set_ylabel("AUC of people held out")
left.legend(ncols=3, frameon=False, loc="upper center", bbox_to_anchor=(0.5, -0.2))
right.errorbar(
    np.arange(len(table)),
    table["mean_test_score"],
    table["std_test_score"],
    fmt="o",
    color="C3",
    capsize=4,
)
right.set_xticks(np.arange(len(table)), [f"{lr:g}" for lr in table["param_lr"]])
right.set(xlabel="lr", title="Trained briefly", xlim=(-0.5, len(table) - 0.5))
for axes in (left, right):
    axes.axhline(0.5, color="0.6", linestyle=":")
if args.figure:
    fig.savefig(args.figure, dpi=120)
plt.show()
