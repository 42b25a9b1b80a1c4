"""
A long recording: features over time, and a stream
==================================================

Twenty minutes in which somebody closes and opens the eyes, read from disk and taken
through the network in one go; then a decoder that follows the eyes while the samples
arrive. The EEG is simulated, so the true state is known at any time, and nothing is
downloaded::

    python examples/plot_long_recording.py
"""

# %%
# Eyes open, eyes closed
# ----------------------
# ``EEGSimulator`` gives a continuous recording, and what its alpha source looks like at
# the electrodes. More of that rhythm is added whenever the eyes are closed. The
# recording is written to disk and only opened again: it is never held as a whole from
# here on.

import argparse
import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import mne
import numpy as np
from mne.filter import filter_data
from scipy.stats import rankdata
from sklearn.metrics import roc_auc_score

from braindecode_samba import SAMBAClassifier, SAMBAFeatures, SAMBAStream
from braindecode_samba.signals import EEGSimulator

parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
parser.add_argument("--minutes", type=int, default=20, help="more than 10")
parser.add_argument("--seed", type=int, default=0)
parser.add_argument("--figure", help="file to write the figure to")
args, _ = parser.parse_known_args()  # a gallery has arguments of its own

SFREQ = 128
mne.set_log_level("error")
rng = np.random.default_rng(args.seed)
names = "Fp1 Fp2 F7 F3 Fz F4 F8 C3 Cz C4 P7 P3 Pz P4 P8 O1 O2".split()
simulator = EEGSimulator(names, sfreq=SFREQ, seed=args.seed)
simulated = simulator.raw(subject=1, n_trials=round(args.minutes * 60 / 12) + 5)
simulated.crop(tmax=args.minutes * 60, include_tmax=False).load_data()

changes = np.cumsum(rng.uniform(40, 110, round(args.minutes))) * SFREQ
closed = np.searchsorted(changes, np.arange(simulated.n_times)) % 2 == 1
alpha = filter_data(rng.standard_normal(len(closed)), SFREQ, 9, 11)
strength = filter_data(closed.astype(float), SFREQ, None, 0.5)  # it takes a second
pattern = simulator.true_patterns(subject=1)["alpha"]
rhythm = 2 * strength * alpha / alpha.std()  # twice what the source has at rest
signals = simulated.get_data() + pattern[:, None] * rhythm

folder = tempfile.TemporaryDirectory()
path = Path(folder.name, "eyes_raw.fif")
mne.io.RawArray(signals, simulated.info).save(path)
raw = mne.io.read_raw_fif(path)  # stays on disk
print(
    f"{raw.times[-1] / 60:.1f} minutes, {len(names)} electrodes, "
    f"{path.stat().st_size / 2**20:.0f} MB on disk; eyes closed {closed.mean():.0%}"
)

# %%
# Features of the whole recording
# -------------------------------
# ``encode_recording`` gives the signals of a layer, here 128 of them at 16 Hz, and
# ``transform_recording`` describes them in windows. The network hands on its states
# from stretch to stretch, so that the result equals one pass over the whole, in memory
# that hardly grows with it: beside the result some hundred MB, and 0.6 GB in all for a
# night of 8 hours and 16 electrodes.

start = mne.make_fixed_length_epochs(raw.copy().crop(tmax=10), duration=10)
features = SAMBAFeatures(layer="encoder2").fit(start)
layer = features.model_.encode_recording(raw, "pool3")
rows = features.transform_recording(raw, window_seconds=10)
print(f"pool3: {layer.shape}, {layer.nbytes / 2**20:.0f} MB")
print(f"features of 10 s: {rows.shape}, {rows.nbytes / 2**20:.1f} MB")


def share_closed(seconds):
    """How much of each window the eyes are closed."""
    length = seconds * SFREQ
    return closed[: len(closed) // length * length].reshape(-1, length).mean(1)


share = share_closed(10)
pure = (share == 0) | (share == 1)  # windows of one state
aucs = np.array([roc_auc_score(share[pure], feature[pure]) for feature in rows.T])
print(
    f"the best of {len(aucs)} single features, chosen on these windows, tells the "
    f"states apart with AUC {aucs.max():.2f}"
)

# %%
# A stream
# --------
# A decoder trained on the first eight minutes follows the others as they arrive, in
# packets of a tenth of a second. It answers every two seconds, about the last four.

WINDOW, TRAINING = 4, 8 * 60  # seconds
windows = mne.make_fixed_length_epochs(
    raw.copy().crop(tmax=TRAINING), duration=WINDOW, preload=True
)
share = share_closed(WINDOW)[: len(windows)]
pure = np.flatnonzero((share == 0) | (share == 1))
decoder = SAMBAClassifier(align=False)  # one person: there is nobody to align
decoder.fit(windows[pure], np.where(share[pure] == 1, "closed", "open"))

stream = SAMBAStream(decoder, hop_seconds=2)
answers = []
for packet in range(TRAINING * SFREQ, raw.n_times, SFREQ // 10):
    answers += stream.push(raw.get_data(start=packet, stop=packet + SFREQ // 10))
times = TRAINING + np.array([answer.seconds for answer in answers])
probability = np.array([answer.probabilities["closed"] for answer in answers])
true = closed[np.round((times - WINDOW / 2) * SFREQ).astype(int)]
agreement = np.mean((probability > 0.5) == true)
print(f"{len(answers)} answers, right in {agreement:.0%}, AUC ", end="")
print(f"{roc_auc_score(true, probability):.2f}")

# %%
# The picture
# -----------
# Features are shown as ranks over time, from those that fall when the eyes close, at
# the bottom, to those that rise. The bar above is the truth.

fig, (truth, heat, course) = plt.subplots(
    3, 1, figsize=(9, 5.4), sharex=True, height_ratios=[0.2, 3, 2], layout="constrained"
)
minutes = np.arange(len(closed)) / SFREQ / 60
truth.fill_between(minutes, closed, step="mid", color="0.2")
truth.set(yticks=[], ylim=(0, 1), title="eyes closed (black)")
ranks = rankdata(rows[:, np.argsort(aucs)], axis=0) / len(rows)
edges = np.arange(len(rows) + 1) / 6
heat.pcolormesh(edges, np.arange(ranks.shape[1] + 1), ranks.T, cmap="magma")
heat.set(ylabel=f"features of {features.layer}", yticks=[])
course.fill_between(minutes, closed, step="mid", color="0.9")
course.axvspan(0, TRAINING / 60, color="C0", alpha=0.1, lw=0)
course.text(TRAINING / 120, 0.5, "training", ha="center", va="center", color="C0")
course.plot(times / 60, probability, color="C3", lw=1)
course.set(xlabel="minutes", xlim=(0, minutes[-1]), ylim=(0, 1))
course.set_ylabel("stream: P(closed)")
raw.close()
folder.cleanup()
if args.figure:
    fig.savefig(args.figure, dpi=120)
plt.show()

# %%
# Look at the edges of the grey spans in the lower panel: the answer follows within the
# four seconds of a window. Above, bright rows at the top rise with the bar.
