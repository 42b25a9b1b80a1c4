"""
Which light was looked at? Steady-state responses (SSVEP)
=========================================================

Four lights flicker, each at its own frequency, and the back of the head follows the one
that is looked at. SAMBA is told neither that there is a flicker nor its frequencies: it
is the same line as for imagery and for evoked responses. The EEG is simulated, so the
truth is known, and nothing is downloaded::

    python examples/plot_ssvep.py
"""

# %%
# Trials of seven people
# ----------------------
# Four seconds each, with another phase in every trial: the frequency and its second
# harmonic are all that tells trials apart.

import argparse

import matplotlib.pyplot as plt
from scipy.signal import periodogram
from sklearn.metrics import balanced_accuracy_score

from braindecode_samba import SAMBAClassifier
from braindecode_samba.plots import plot_evidence
from braindecode_samba.signals import ResponseSimulator

parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
parser.add_argument("--figure", help="file to write the figure to")
args, _ = parser.parse_known_args()  # a gallery has arguments of its own

NAMES = "Fz C3 Cz C4 P7 P3 Pz P4 P8 PO3 PO4 O1 Oz O2".split()
X, y, people, info = ResponseSimulator(NAMES, seed=1).steady_state(7, n_trials=8)
train, held_out = people <= 5, (6, 7)
print(
    f"{len(X)} windows of {X.shape[2] / info['sfreq']:g} s, {len(set(y))} frequencies"
)

# %%
# Fit and score
# -------------
# The decoder as it comes. ``groups`` says whose the windows are.

decoder = SAMBAClassifier(chs_info=info["chs"], sfreq=info["sfreq"])
decoder.fit(X[train], y[train], groups=people[train])
for person in held_out:
    own = people == person
    found = decoder.predict(X[own], groups=people[own])
    score = balanced_accuracy_score(y[own], found)
    print(f"person {person}, never seen: {score:.2f} right, by chance 0.25")
print(decoder.evidence_.round(2).query("explained > 0.01").to_string())

# %%
# What was read
# -------------
# Left, mean spectra of the two new people at Oz, one for each light. Right, what each
# reading explains alone, in people that it has not seen: "steady" is the one that finds
# narrow frequencies, with their phase over the whole window.

fig, (left, right) = plt.subplots(1, 2, figsize=(9.5, 3.8), layout="constrained")
for light in sorted(set(y), key=float):
    windows = 1e6 * X[~train & (y == light), NAMES.index("Oz")]
    frequencies, density = periodogram(windows, info["sfreq"])
    shown = (frequencies >= 5) & (frequencies <= 30)
    left.semilogy(frequencies[shown], density.mean(0)[shown], label=f"{light} Hz")
left.set(xlabel="Hz", ylabel="µV² / Hz at Oz", title="Mean spectra")
left.legend(frameon=False)
plot_evidence(decoder, axes=right)
if args.figure:
    fig.savefig(args.figure, dpi=120)
plt.show()

# %%
# Look at the left panel for the peak of each light at its own frequency and at twice
# that; the hump around 10 Hz, which all lights share, is alpha.
