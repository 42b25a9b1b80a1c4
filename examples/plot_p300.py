"""
Which stimulus was looked at? Evoked responses (P300)
=====================================================

A speller shows one stimulus after the other, and the brain answers to the rare one that
is meant with a slow positive wave. The same line that decodes imagery decodes this:
nothing tells SAMBA that the EEG is locked to an event. It is simulated, so the truth is
known, and nothing is downloaded::

    python examples/plot_p300.py
"""

# %%
# Stimuli of eight people
# -----------------------
# A second of EEG from each stimulus on; every fourth one is the target. Other stimuli
# evoke a wave as high, only earlier, so that power does not tell them apart. Your own
# windows should begin at the stimulus and last 0.8 to 1 s, with frequencies below 1 Hz
# filtered out and those around 5 Hz kept.

import argparse

import matplotlib.pyplot as plt
import numpy as np
from sklearn.metrics import roc_auc_score

from braindecode_samba import SAMBAClassifier
from braindecode_samba.plots import plot_evidence
from braindecode_samba.signals import ResponseSimulator

parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
parser.add_argument("--figure", help="file to write the figure to")
args, _ = parser.parse_known_args()  # a gallery has arguments of its own

NAMES = "Fz FC1 FC2 C3 Cz C4 CP1 CP2 P7 P3 Pz P4 P8 O1 Oz O2".split()
X, y, people, info = ResponseSimulator(NAMES, seed=1).evoked(8, n_trials=120)
train, held_out = people <= 6, (7, 8)
print(f"{len(X)} windows, {np.mean(y == 'target'):.0%} of them targets")

# %%
# Fit and score
# -------------
# The decoder as it comes. ``groups`` says whose the windows are.

decoder = SAMBAClassifier(chs_info=info["chs"], sfreq=info["sfreq"])
decoder.fit(X[train], y[train], groups=people[train])
column = list(decoder.classes_).index("target")
for person in held_out:
    own = people == person
    probability = decoder.predict_proba(X[own], groups=people[own])[:, column]
    area = roc_auc_score(y[own] == "target", probability)
    print(f"person {person}, never seen: AUC of single stimuli {area:.2f}")
print(decoder.evidence_.round(2).query("explained > 0.01").to_string())

# %%
# What was read
# -------------
# Left, the mean response of the two new people below Pz. Right, what each reading
# explains alone, in people that it has not seen: responses that are locked to the event
# count, rhythms don't.

fig, (left, right) = plt.subplots(1, 2, figsize=(9.5, 3.8), layout="constrained")
seconds = np.arange(X.shape[2]) / info["sfreq"]
for label, colour in (("target", "C3"), ("other", "0.4")):
    mean = X[~train & (y == label), NAMES.index("Pz")].mean(0)
    left.plot(seconds, 1e6 * mean, color=colour, label=label)
left.axhline(0, color="0.8", linewidth=0.8)
left.set(xlabel="s after the stimulus", ylabel="µV at Pz", title="Mean response")
left.legend(frameon=False)
plot_evidence(decoder, axes=right)
if args.figure:
    fig.savefig(args.figure, dpi=120)
plt.show()

# %%
# Look at the left panel for the wave at 0.3 s that the targets alone have, and at the
# right one for *evoked* and *responses*, which read it.
