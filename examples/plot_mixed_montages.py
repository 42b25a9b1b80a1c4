"""
Several caps in one training, and a cap never seen
==================================================

Electrodes are places on the head, so a decoder predicts for people under other caps
than those it was fitted on, and people under different caps can be fitted on together.
What does that cost, beside a decoder for that cap alone? Simulated EEG, no download::

    python examples/plot_mixed_montages.py
"""

# %%
# Four caps
# ---------
# Left against right imagined hand movement, whose rhythms lie below C3 and C4.
# PhysioNet's 64 electrodes cover them well, Emotiv's 14 leave them out, and 16 bipolar
# pairs hold differences. The fourth cap, the 19 electrodes of the clinic, is for the
# test.
#
# A simulated head keeps its signals under every cap, so each person is recorded once,
# at all electrodes that any cap has.

import argparse

import matplotlib.pyplot as plt
import mne
import numpy as np
from sklearn.metrics import roc_auc_score

from braindecode_samba import SAMBAClassifier, load_montage
from braindecode_samba.signals import EEGSimulator

parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
parser.add_argument("--seed", type=int, default=0)
parser.add_argument("--figure", help="file to write the figure to")
args, _ = parser.parse_known_args()  # a gallery has arguments of its own

mne.set_log_level("error")
files = {
    "64 electrodes": "physionetmi_64",
    "Emotiv, 14": "emotiv_epoc_14",
    "16 bipolar pairs": "tuh_bipolar_16",
    "clinical, 19": "clinical_19",
}
caps = {cap: load_montage(file).names for cap, file in files.items()}
new = "clinical, 19"
trained = [cap for cap in caps if cap != new]
everywhere = dict.fromkeys(caps["64 electrodes"] + caps[new])  # each name once
simulator = EEGSimulator(list(everywhere), seed=args.seed)


def record(subject):
    """Trials of one person at all electrodes, two seconds of imagery each."""
    raw = simulator.raw(subject, n_trials=15)
    last = 2.7 - 1 / raw.info["sfreq"]
    return mne.Epochs(raw, tmin=0.7, tmax=last, baseline=None, preload=True)


def wear(cap, epochs):
    """Give what this cap would have recorded of these trials."""
    names = list(caps[cap])
    if "-" in names[0]:
        anodes, cathodes = np.array([pair.split("-") for pair in names]).T.tolist()
        epochs = mne.set_bipolar_reference(epochs, anodes, cathodes)
    return epochs.copy().pick(names)


def labels(epochs):
    """Whether the right hand was imagined."""
    return epochs.events[:, 2] == epochs.event_id["right_hand"]


people = [record(subject) for subject in range(1, 7)]
strangers = [record(subject) for subject in range(7, 11)]

# %%
# Three fits
# ----------
# Everybody under 64 electrodes; two people under each of three caps; and everybody
# under the new cap: as many windows, of the same people. A list of Epochs is all it
# takes, and each item is a recording that is aligned.


def fit(recordings):
    """Fit on a list of Epochs, whatever their electrodes."""
    return SAMBAClassifier().fit(
        recordings, np.concatenate([labels(epochs) for epochs in recordings])
    )


many = trained[0]
decoders = {
    many: fit([wear(many, epochs) for epochs in people]),
    "three caps": fit(
        [wear(trained[i % len(trained)], epochs) for i, epochs in enumerate(people)]
    ),
    "the new cap": fit([wear(new, epochs) for epochs in people]),
}

# %%
# Strangers under every cap
# -------------------------
# Four people that no decoder has seen, the very same trials under each cap. Each call
# is one person, whose windows are aligned under the cap that they come with. AUC of
# each person; 0.5 is chance.


def scores(decoder, cap):
    """AUC of each stranger."""
    return [
        roc_auc_score(labels(epochs), decoder.decision_function(wear(cap, epochs)))
        for epochs in strangers
    ]


table = {}
for fitted, decoder in decoders.items():
    for cap in caps:
        table[fitted, cap] = scores(decoder, cap)
        mean, each = np.mean(table[fitted, cap]), np.round(table[fitted, cap], 2)
        print(f"fitted on {fitted:14} predicts {cap:17} {mean:.2f}   people: {each}")

# %%
# A cap that nobody wore is decoded nearly as well as by a decoder of its own, if
# several caps were trained with; from one cap of 64 electrodes alone it is decoded less
# well. More electrodes are not all: six people are few for 64 of them. And Emotiv's cap
# has nothing above the motor cortex. Where you know which caps a decoder is to serve,
# ``SAMBAClassifier(montages=["clinical_19"])`` fits it on every window once more as
# that cap would have recorded it. With four people and few trials all this is one draw.

fig, axes = plt.subplots(figsize=(7.5, 4.2), layout="constrained")
for row, fitted in enumerate(decoders):
    for place, cap in enumerate(caps):
        x, values = place + 0.25 * (row - 1), table[fitted, cap]
        axes.plot([x] * len(values), values, "o", color=f"C{row}", alpha=0.4)
        label = f"fitted on {fitted}" if not place else None
        ends = (x - 0.1, x + 0.1)
        axes.hlines(np.mean(values), *ends, color=f"C{row}", lw=3, label=label)
axes.axhline(0.5, color="0.6", linestyle=":")
axes.set_xticks(
    range(len(caps)), [f"{cap}\n(new)" if cap == new else cap for cap in caps]
)
axes.set(ylabel="AUC of people never seen", xlabel="cap of the prediction")
axes.legend(ncols=3, frameon=False, loc="lower center", bbox_to_anchor=(0.5, 1))
if args.figure:
    fig.savefig(args.figure, dpi=120)
plt.show()

# %%
# Look at the cap at the right, which only one of the three decoders was fitted on, and
# at Emotiv's, where none is good.
