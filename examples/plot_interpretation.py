"""
What a decoder goes by: maps beside known sources
=================================================

A map of a decoder is easily drawn and easily misread. Here the EEG is simulated, so the
sources are known and every map can be marked: how well does it correlate with the true
one? Then the other pictures that the package draws.
"""

# %%
# A classifier and the truth
# --------------------------
# Left against right imagined hand movement. A motor rhythm around 11 Hz lies below C3
# and another below C4, and imagery weakens the one opposite to the hand. On "right
# hand" the rhythm is therefore stronger below C4 than below C3: the true map is the
# power that the right source has at each electrode less that of the left one, over all
# power of that band there.

import matplotlib.pyplot as plt
import numpy as np
from mne.decoding import LinearModel
from sklearn.linear_model import LogisticRegression

from braindecode_samba import SAMBAClassifier, SAMBAFeatures
from braindecode_samba.plots import (
    attribute_decision,
    decision_pattern,
    electrode_weights,
    log_band_power,
    plot_attribution,
    plot_decision_pattern,
    plot_embedding,
    plot_reconstruction,
    plot_scalp_map,
    plot_spatial_weights,
)
from braindecode_samba.pretraining import SAMBAPretrainer
from braindecode_samba.signals import EEGSimulator

SFREQ, ALPHA = 128, {"alpha": (8, 13)}
simulator = EEGSimulator(sfreq=SFREQ, seed=1)
X, y, subjects, info = simulator.imagery(n_subjects=6, n_trials=20)
X = X[..., 90:346]  # two seconds of full effect

power = log_band_power(X, SFREQ, ALPHA)[:, 0]
truth = np.zeros(len(info["chs"]))
for subject in np.unique(subjects):
    patterns = simulator.true_patterns(subject)
    whole = (10 ** (power[subjects == subject] / 10)).mean(0)
    truth += (patterns["mu_right"] ** 2 - patterns["mu_left"] ** 2) / whole

decoder = SAMBAClassifier(ch_names=info["ch_names"], sfreq=SFREQ)
decoder.fit(X, y, groups=subjects)

# %%
# Four maps, marked
# -----------------
# The pattern of the decision is the covariance of each electrode's band power with the
# network's evidence. Beside it: captum's integrated gradients, the weights of the
# spatial embedding, and Haufe's pattern of a linear model on the same band power.

centred = power.copy()
for subject in np.unique(subjects):
    centred[subjects == subject] -= centred[subjects == subject].mean(0)
linear = LinearModel(LogisticRegression(max_iter=1000)).fit(centred, y)
maps = {
    "pattern of the decision": decision_pattern(
        decoder, X, groups=subjects, bands=ALPHA
    )[0],
    "pattern of a linear model": linear.patterns_.ravel(),
    "integrated gradients": attribute_decision(
        decoder, X[::20], groups=subjects[::20], target="right_hand"
    )
    .sum(2)
    .mean(0),
    "spatial weights": electrode_weights(decoder),
}
marks = {name: np.corrcoef(values, truth)[0, 1] for name, values in maps.items()}
print("correlation with the true map")
for name, mark in marks.items():
    print(f"  {name:26} {mark:5.2f}")

fig, axes = plt.subplots(2, 3, figsize=(9.5, 6.4), layout="constrained")
axes[1, 2].axis("off")
for panel, name in zip(axes.flat, ["truth", *maps], strict=False):
    values = truth if name == "truth" else maps[name]
    mark = "" if name == "truth" else f"\nr = {marks[name]:.2f}"
    plot_scalp_map(values / abs(values).max(), info["chs"], axes=panel)
    panel.set_title(name + mark)

# %%
# Both patterns point at the sources. Spatial weights can't: they follow from places
# alone and know no side, and they are large at the rim, where one electrode stands for
# much scalp. Attributions show what the network computes with, also where it only
# cancels noise, so that there are spots without a source. To ask where the signals of a
# decision lie, use the pattern:

plot_decision_pattern(decoder, X, groups=subjects)

# %%
# It needs no labels, so that it can be drawn from new recordings as well. Nor does it
# prove that the network reads a rhythm where it is drawn: what varies together with a
# source, such as its own harmonic, is shown too.

# %%
# Attribution over electrodes and time
# ------------------------------------

plot_attribution(decoder, X[:4], groups=subjects[:4], method="integrated_gradients")

# %%
# Spatial weights
# ---------------
# What each electrode contributes, and what training has changed, which in a few epochs
# is next to nothing.

fig, axes = plt.subplots(1, 3, figsize=(12, 3.6), layout="constrained")
plot_spatial_weights(decoder, axes=axes[0])
plot_spatial_weights(decoder, target="C3", axes=axes[1])
plot_spatial_weights(decoder, minus="start", axes=axes[2])

# %%
# An embedding
# ------------
# Features of the trained network, by class and by subject. Neither falls apart into
# clusters at this layer.

features = SAMBAFeatures(ch_names=info["ch_names"], sfreq=SFREQ, model=decoder.model_)
plot_embedding(features.fit_transform(X), {"class": y, "subject": subjects})

# %%
# A reconstruction
# ----------------
# A few epochs of pretraining: grey spans were hidden from the network.

pretrainer = SAMBAPretrainer(
    ch_names=info["ch_names"],
    sfreq=SFREQ,
    max_epochs=6,
    lr=3e-3,
    batch_size=8,
    module__d_state=4,
    module__expand=2,
    device="cpu",
    random_state=0,
    verbose=0,
)
pretrainer.fit(X[subjects <= 2])
plot_reconstruction(pretrainer, X[subjects == 3], n_channels=4)
plt.show()

# %%
# Look at the red lines inside the grey spans: slow waves are followed, fast ones are
# not, which the spectra at the right show as well.
