"""
A fitted decoder: eyes open or closed, without training
=======================================================

``eyes`` comes with the package, fitted on people of another laboratory. Here it follows
a person and a headset that it has never met. The EEG is simulated, so nothing is
downloaded::

    python examples/plot_fitted_decoder.py
"""

# %%
# A recording
# -----------
# Four minutes of a headset with eight electrodes: a rhythm of 10 Hz at the back of the
# head grows whenever the eyes close. Your own file may be of any format that MNE reads.

import argparse
import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import mne
import numpy as np
import pandas as pd
from mne.filter import filter_data
from sklearn.metrics import roc_auc_score

from braindecode_samba import SAMBAClassifier
from braindecode_samba.estimators import decode_file
from braindecode_samba.plots import plot_course
from braindecode_samba.signals import EEGSimulator

parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
parser.add_argument("--figure", help="file to write the figure to")
args, _ = parser.parse_known_args()  # a gallery has arguments of its own

SFREQ = 250
names = "Fp1 Fp2 C3 C4 P7 P8 O1 O2".split()
simulator = EEGSimulator(names, sfreq=SFREQ, seed=0)
raw = simulator.raw(subject=1, n_trials=30)
raw.crop(tmax=240, include_tmax=False).load_data()
closed = raw.times // 40 % 2 == 1  # in turns of 40 s
noise = np.random.default_rng(0).standard_normal(len(closed))
rhythm = filter_data(noise, SFREQ, 9, 11, verbose="error")
pattern = simulator.true_patterns(subject=1)["alpha"]
added = 2 * pattern[:, None] * closed * rhythm / rhythm.std()
folder = tempfile.TemporaryDirectory()
path = Path(folder.name, "eyes_raw.fif")
mne.io.RawArray(raw.get_data() + added, raw.info, verbose="error").save(path)

# %%
# Decode it
# ---------
# Windows of 4 s are cut, filtered as those of the fit, aligned without labels and read.

decoder = SAMBAClassifier.from_pretrained("eyes")
table = pd.concat(decode_file(decoder, path))
print(table.round(2).head(12).to_string(index=False))

middle = (table["start"] + table["stop"]) / 2
true = middle // 40 % 2 == 1
print(f"AUC {roc_auc_score(true, table['closed']):.2f}, and not one label was needed")

# %%
# The picture
# -----------
# Dots are windows, the line is a mean over 20 s, and grey is where the eyes are closed.
# The same comes from ``braindecode-samba decode eyes_raw.fif --decoder eyes --figure
# eyes.png``.

fig, axes = plt.subplots(figsize=(9, 3.2), layout="constrained")
plot_course(table, axes=axes)
for start in range(40, 240, 80):
    axes.axvspan(start / 60, (start + 40) / 60, color="0.9", lw=0, zorder=0)
if args.figure:
    fig.savefig(args.figure, dpi=120)
folder.cleanup()
plt.show()
