"""
Gradients: when do they pay?
============================

A SAMBAClassifier as it comes is solved in seconds and trained by no gradient. They can
go on from there, or begin from random weights, as networks usually do. Four ways with
two and with four training people, on simulated EEG::

    python examples/plot_finetune.py

With few people the ways differ less than people do. On real EEG gradients have not paid
either, up to 28 people: see :doc:`/results/imagery`.
"""

# %%
# A task
# ------
# Left against right imagined hand movement, two seconds of 30 electrodes. The
# checkpoint has never seen this cap, nor any simulated head.

import argparse
import time

import matplotlib.pyplot as plt
import numpy as np
from sklearn.metrics import roc_auc_score

from braindecode_samba import SAMBAClassifier
from braindecode_samba.signals import EEGSimulator

parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
parser.add_argument("--epochs", type=int, default=5, help="of each training")
parser.add_argument("--figure", help="file to write the figure to")
args, _ = parser.parse_known_args()  # a gallery has arguments of its own

X, y, subjects, info = EEGSimulator(seed=1).imagery(n_subjects=8, n_trials=16)
X = X[..., round(0.7 * info["sfreq"]) : round(2.7 * info["sfreq"])]
test = subjects > 4
print(f"{len(X)} windows of {X.shape[1]} electrodes; people 5 to 8 are for the test")

# %%
# Four ways to train
# ------------------
# With ``max_epochs`` gradients go on from the solved head: a fifth of the people is
# held out, weights are drawn to the solved ones, and what is not better on those people
# is dropped, so that nothing is lost but time. ``finetune="head"`` leaves the trunk as
# it is; ``trunk_lr_factor`` trains it slower than the head. ``start="random"`` begins
# without a solved head, from pretrained weights or, with ``checkpoint=None``, from
# scratch.

signals = {"chs_info": info["chs"], "sfreq": info["sfreq"]}
budget = {"max_epochs": args.epochs, "batch_size": 16, "random_state": 0}
ways = {
    "as it comes": {},
    "then gradients": {**budget, "finetune": "head"},
    "gradients alone": {
        **budget,
        "start": "random",
        "trunk_lr_factor": 0.1,
        "lr": 1e-2,
    },
    "from scratch": {**budget, "start": "random", "checkpoint": None, "lr": 1e-2},
}
scores = {way: [] for way in ways}
sizes = (2, 4)
for size in sizes:
    train = subjects <= size
    for way, settings in ways.items():
        decoder = SAMBAClassifier(**signals, **settings)
        start = time.perf_counter()
        decoder.fit(X[train], y[train], groups=subjects[train])
        seconds = time.perf_counter() - start
        evidence = decoder.decision_function(X[test], groups=subjects[test])
        people = [
            roc_auc_score(y[subjects == one], evidence[subjects[test] == one])
            for one in np.unique(subjects[test])
        ]
        scores[way].append(people)
        print(
            f"{size} training people, {way:15s} AUC {np.mean(people):.2f} "
            f"(from {min(people):.2f} to {max(people):.2f}) in {seconds:.0f} s"
        )

# %%
# A figure
# --------
# Each dot is a person of the test.

fig, axes = plt.subplots(figsize=(7, 3.6), layout="constrained")
for row, way in enumerate(ways):
    for column, people in enumerate(scores[way]):
        place = column * (len(ways) + 1) + row
        axes.plot([place] * len(people), people, "o", color=f"C{row}", alpha=0.5)
        axes.plot(
            [place - 0.3, place + 0.3],
            [np.mean(people)] * 2,
            color=f"C{row}",
            label=way if column == 0 else None,
        )
centre = (len(ways) - 1) / 2
axes.set_xticks(
    [centre, centre + len(ways) + 1],
    ["two training people", "four training people"],
)
axes.axhline(0.5, color="0.6", linestyle=":")
axes.set(ylabel="AUC of people never seen", ylim=(0.3, 1.02))
axes.legend(loc="lower right", ncols=2)
if args.figure:
    fig.savefig(args.figure, dpi=120)
plt.show()

# %%
# Look at the lines beside the dots: what a way gains is small beside what people
# differ, and the time that it takes is not.
