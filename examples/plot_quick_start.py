"""
Quick start: who imagines which hand?
=====================================

A few lines from windows of EEG to a decoder that is scored on somebody it has never
seen, and a look at what it goes by. The EEG is simulated, so nothing is downloaded::

    python examples/plot_quick_start.py
"""

# %%
# Windows of EEG
# --------------
# Left against right imagined hand movement of six people, as
# :class:`mne.Epochs`. Epochs bring their electrodes, rate and unit along, so there is
# nothing to declare. Your own come from ``mne.read_epochs("my-epo.fif")``.

import argparse

import matplotlib.pyplot as plt
import mne
import numpy as np
import pandas as pd
from sklearn.metrics import accuracy_score, roc_auc_score

from braindecode_samba import SAMBAClassifier
from braindecode_samba.plots import plot_decision_pattern, plot_evidence
from braindecode_samba.signals import EEGSimulator

parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
parser.add_argument("--figure", help="file to write the figure to")
args, _ = parser.parse_known_args()  # a gallery has arguments of its own

X, y, subjects, info = EEGSimulator(seed=1).imagery(n_subjects=6, n_trials=20)
people = pd.DataFrame({"subject": subjects, "hand": y})
epochs = mne.EpochsArray(X, info, metadata=people, verbose="error")
epochs.crop(tmin=0.7, tmax=2.7, include_tmax=False)
print(
    f"{len(epochs)} windows of {len(epochs.ch_names)} electrodes, "
    f"{len(epochs.times)} samples at {info['sfreq']:g} Hz"
)

# %%
# Fit, predict, score
# -------------------
# The last subject is held out. There is nothing to set: the trunk is pretrained, and
# the head is solved on the training windows in seconds. The column "subject" tells the
# decoder whose the windows are, so that it aligns people without labels, and checks
# what it has learnt on people apart.

train, test = epochs["subject < 6"], epochs["subject == 6"]
decoder = SAMBAClassifier().fit(train, train.metadata["hand"])
hands = test.metadata["hand"]
probability = decoder.predict_proba(test)[:, 1]
print("first windows:", ", ".join(decoder.predict(test[:4])))
accuracy = accuracy_score(hands, decoder.predict(test))
auc = roc_auc_score(hands, probability)
print(f"subject 6, never seen: accuracy {accuracy:.2f}, AUC {auc:.2f}")

# %%
# What was read
# -------------
# The head reads many things of a window. What each is worth was found out on people
# whom it had not seen, and what does not help is not used: here rhythms count, as
# patterns and covariances, and responses to events don't, since there are none.

print(decoder.evidence_.round(2).query("explained > 0.01").to_string())

# %%
# A figure
# --------
# Left, what the decoder says about each window of the new subject. In the middle, what
# each reading explains alone. Right, the rhythm that goes with the decision: imagery
# weakens the rhythm of the other side of the head, so "right hand" is a strong rhythm
# on the right and a weak one on the left. The source of the rhythm does lie there, see
# :ref:`sphx_glr_auto_examples_plot_interpretation.py`.

fig = plt.figure(figsize=(12.5, 3.8), layout="constrained")
left, middle, right = fig.subplots(1, 3, width_ratios=[1, 1, 1])
places = np.random.default_rng(0).uniform(-0.12, 0.12, len(hands))  # side by side
for place, hand in enumerate(decoder.classes_):
    chosen = (hands == hand).to_numpy()
    left.plot(place + places[chosen], probability[chosen], "o", alpha=0.6)
left.axhline(0.5, color="0.6", linestyle=":")
left.set_xticks([0, 1], [hand.replace("_", " ") for hand in decoder.classes_])
left.set(xlim=(-0.5, 1.5), ylim=(-0.03, 1.03), xlabel="imagined")
left.set(ylabel="probability of right hand", title="A subject never seen")
plot_evidence(decoder, axes=middle)
plot_decision_pattern(decoder, train, bands={"mu": (8, 13)}, axes=right)
if args.figure:
    fig.savefig(args.figure, dpi=120)
plt.show()

# %%
# Look at the left panel first: windows of the left hand should lie below the dotted
# line and those of the right hand above it. Those on the wrong side are the errors.
