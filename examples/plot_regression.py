"""
Estimate a continuous target in people who were never seen
==========================================================

`SAMBARegressor` beside band power with ridge regression, on simulated EEG whose sources
are known: how strong is the occipital alpha rhythm in a trial, and how far does the
motor rhythm lie to the left? It needs no download::

    python examples/plot_regression.py
"""

# %%
# Trials and targets
# ------------------
# Both targets are natural logarithms of power of the sources themselves, which mix at
# every electrode with each other and with a hundred more. Nothing but the ten signals
# is told to the two methods.

import argparse

import matplotlib.pyplot as plt
import numpy as np
from sklearn.linear_model import RidgeCV
from sklearn.metrics import r2_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from braindecode_samba import SAMBARegressor
from braindecode_samba.evaluation.baselines import log_band_power
from braindecode_samba.signals import EEGSimulator

parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
parser.add_argument("--seed", type=int, default=0)
parser.add_argument("--figure", help="file to write the figure to")
args, _ = parser.parse_known_args()  # a gallery has arguments of its own

SFREQ = 128
NAMES = "F3 F4 C3 Cz C4 P7 P8 Pz O1 O2".split()
TARGETS = ("log alpha power", "log left / right mu power")
simulator = EEGSimulator(NAMES, sfreq=SFREQ, seed=args.seed)
X, y, subjects, _ = simulator.regression(n_subjects=10, n_trials=30)
train = subjects <= 6
held_out = np.unique(subjects[~train])
print(f"{train.sum()} trials of 6 subjects to learn from, {(~train).sum()} of 4 others")

# %%
# Two methods
# -----------
# SAMBA estimates both targets at once, as it comes. ``groups`` says whose the trials
# are.

methods = {
    "band power + ridge": make_pipeline(
        FunctionTransformer(
            log_band_power, kw_args={"sfreq": SFREQ, "bands": [(8, 13), (13, 30)]}
        ),
        StandardScaler(),
        RidgeCV(alphas=np.logspace(-1, 4, 11)),
    ),
    "SAMBA": SAMBARegressor(ch_names=NAMES, sfreq=SFREQ),
}

# %%
# Across subjects
# ---------------
# R² is taken within each held-out subject, of what differs from the subject's own mean:
# 1 is perfect, 0 is that mean. How strong a person's rhythms are in all is left out:
# alignment takes it away, and it tells of the skull as much as of the brain.


def within(values):
    """Values less the mean of their subject."""
    return values - np.array([values[subjects == one].mean(0) for one in subjects])


truth = within(y)
estimates, scores = {}, {}
for name, method in methods.items():
    known, new = {}, {}
    if name == "SAMBA":
        known, new = {"groups": subjects[train]}, {"groups": subjects[~train]}
    found = np.zeros_like(y)
    found[~train] = method.fit(X[train], y[train], **known).predict(X[~train], **new)
    estimates[name] = within(found)
    scores[name] = np.array(
        [
            r2_score(truth[one], estimates[name][one], multioutput="raw_values")
            for one in (subjects == subject for subject in held_out)
        ]
    )
    for target, values in zip(TARGETS, scores[name].T, strict=True):
        print(f"{name:18} {target:28} R² {values.mean():.2f} ± {values.std():.2f}")

# %%
# Estimates against the truth
# ---------------------------

fig, axes = plt.subplots(
    2, 2, figsize=(8, 7), sharex="col", sharey="col", layout="constrained"
)
for row, name in zip(axes, methods, strict=True):
    for panel, target, true, estimate, mark in zip(
        row, TARGETS, truth.T, estimates[name].T, scores[name].mean(0), strict=True
    ):
        for subject in held_out:
            one = subjects == subject
            panel.scatter(true[one], estimate[one], s=10, label=f"subject {subject}")
        panel.axline((0, 0), slope=1, color="k", linewidth=0.8)
        panel.set_title(f"{name}: R² = {mark:.2f}")
        panel.set_ylabel(f"estimated {target}")
for panel, target in zip(axes[1], TARGETS, strict=True):
    panel.set_xlabel(f"true {target},\nless the subject's mean")
axes[0, 0].legend()
if args.figure:
    fig.savefig(args.figure, dpi=120)
plt.show()

# %%
# Look at how close the dots lie to the line. At the left of the first column they leave
# it: alpha that is weak drowns in the other sources, whatever the method.
