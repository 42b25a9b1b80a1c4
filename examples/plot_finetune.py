"""
Fine-tune a checkpoint on your own windows
==========================================

Starting from pretrained weights, what should be trained: everything, the last stages,
or the head alone? And how much do pretrained weights spare of your own data? Each
choice beside a network from scratch, with two and with four training subjects, on
simulated EEG::

    python examples/plot_finetune.py

The answer for real recordings differs with the task: scores on PhysioNet's are in the
README, and ``examples/experiments/evaluate.py`` makes the same table for them.
"""

# %%
# A task and a checkpoint
# -----------------------
# Left against right imagined hand movement, two seconds of 30 electrodes. The
# checkpoint has never seen this cap, nor any simulated head.

import argparse

import matplotlib.pyplot as plt
import numpy as np
from sklearn.metrics import roc_auc_score

from braindecode_samba.evaluation import fine_tuned, from_scratch
from braindecode_samba.signals import EEGSimulator

parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
parser.add_argument("--checkpoint", default="samba-e", help="name, folder or file")
parser.add_argument("--epochs", type=int, default=5, help="of each training")
parser.add_argument("--figure", help="file to write the figure to")
args, _ = parser.parse_known_args()  # a gallery has arguments of its own

X, y, subjects, info = EEGSimulator(seed=1).imagery(n_subjects=8, n_trials=16)
X = X[..., round(0.7 * info["sfreq"]) : round(2.7 * info["sfreq"])]
test = subjects > 4
print(f"{len(X)} windows of {X.shape[1]} electrodes; subjects 5 to 8 are for the test")

# %%
# Five ways to train
# ------------------
# ``finetune="all"`` trains everything, the trunk at a tenth of the head's rate; a
# number trains that many of the trunk's last stages; ``"head"`` leaves the trunk as it
# is. ``start="solved"`` solves the head on the training windows, here without any
# gradient after it. What a fit used of the file is in ``checkpoint_report_``.

signals = {"ch_names": tuple(info["ch_names"]), "sfreq": info["sfreq"]}
budget = {"max_epochs": args.epochs, "batch_size": 16, "random_state": 0}
ways = {
    "from scratch": from_scratch(**signals, **budget),
    "all": fine_tuned(args.checkpoint, **signals, **budget),
    "last 2 stages": fine_tuned(args.checkpoint, finetune=2, **signals, **budget),
    "head": fine_tuned(args.checkpoint, finetune="head", **signals, **budget),
    "head, solved": fine_tuned(
        args.checkpoint, start="solved", **signals, **{**budget, "max_epochs": 0}
    ),
}
scores = {way: [] for way in ways}
sizes = (2, 4)
for size in sizes:
    train = subjects <= size
    for way, pipeline in ways.items():
        fitted = pipeline.fit(X[train], y[train])
        evidence = fitted.decision_function(X[test])
        people = [
            roc_auc_score(y[subjects == one], evidence[subjects[test] == one])
            for one in np.unique(subjects[test])
        ]
        scores[way].append(people)
        print(
            f"{size} training subjects, {way:13s} AUC {np.mean(people):.2f} "
            f"(from {min(people):.2f} to {max(people):.2f})"
        )

print(ways["all"][-1].checkpoint_report_)

# %%
# A figure
# --------
# Each dot is a test subject.

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
    ["two training subjects", "four training subjects"],
)
axes.axhline(0.5, color="0.6", linestyle=":")
axes.set(ylabel="AUC of subjects never seen", ylim=(0.3, 1.02))
axes.legend(loc="lower right", ncols=2)
if args.figure:
    fig.savefig(args.figure, dpi=120)
plt.show()
