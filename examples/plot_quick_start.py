"""
Quick start: who imagines which hand?
=====================================

Ten lines from windows of EEG to a decoder that is scored on somebody it has never seen,
and a look at what it goes by. The EEG is simulated, so nothing is downloaded::

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
from braindecode_samba.plots import plot_decision_pattern
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
# The last subject is held out. ``model_params`` makes the network small and this page
# quick; leave it out on real data, and train longer.

train, test = epochs["subject < 6"], epochs["subject == 6"]
decoder = SAMBAClassifier(
    max_epochs=6,
    lr=3e-3,
    batch_size=16,
    model_params={"d_state": 4, "expand": 2},
    random_state=0,
)
decoder.fit(train, train.metadata["hand"])
hands = test.metadata["hand"]
probability = decoder.predict_proba(test)[:, 1]
print("first windows:", ", ".join(decoder.predict(test[:4])))
accuracy = accuracy_score(hands, decoder.predict(test))
auc = roc_auc_score(hands, probability)
print(f"subject 6, never seen: accuracy {accuracy:.2f}, AUC {auc:.2f}")

# %%
# A figure
# --------
# Left, what the decoder says about each window of the new subject. Right, the rhythm
# that goes with its decision: imagery weakens the rhythm of the other side of the head,
# so "right hand" is a strong rhythm on the right and a weak one on the left. The source
# of the rhythm does lie there, see
# :ref:`sphx_glr_auto_examples_plot_interpretation.py`.

fig = plt.figure(figsize=(8.5, 3.6), layout="constrained")
left, right = fig.subplots(1, 2, width_ratios=[1.1, 1])
places = np.random.default_rng(0).uniform(-0.12, 0.12, len(hands))  # side by side
for place, hand in enumerate(decoder.classes_):
    chosen = (hands == hand).to_numpy()
    left.plot(place + places[chosen], probability[chosen], "o", alpha=0.6)
left.axhline(0.5, color="0.6", linestyle=":")
left.set_xticks([0, 1], [hand.replace("_", " ") for hand in decoder.classes_])
left.set(xlim=(-0.5, 1.5), ylim=(0, 1), xlabel="imagined")
left.set(ylabel="probability of right hand", title="A subject never seen")
plot_decision_pattern(
    decoder, train, groups=train.metadata["subject"], bands={"mu": (8, 13)}, axes=right
)
if args.figure:
    fig.savefig(args.figure, dpi=120)
plt.show()
