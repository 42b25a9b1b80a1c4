"""
SAMBA in a braindecode script
=============================

A script as users of braindecode write it: a MOABB data set, ``preprocess``,
``create_windows_from_events``, ``EEGClassifier`` with callbacks and augmentation. It
was written for ShallowFBCSPNet, and one name changes it to SAMBA. The EEG is simulated,
so that there is nothing to download::

    python examples/plot_braindecode_trialwise.py
"""

# %%
# Recordings
# ----------
# Left against right imagined hand movement. Any other data set of MOABB goes here.

import argparse
import tempfile
import warnings
from inspect import signature

import matplotlib.pyplot as plt
import mne
import moabb
import pandas as pd
import torch

# braindecode builds montages under their old names when it is imported
warnings.filterwarnings("ignore", "Montage name", FutureWarning)
from braindecode import EEGClassifier
from braindecode.augmentation import (
    AmplitudeScale,
    AugmentedDataLoader,
    FTSurrogate,
    SmoothTimeMask,
)
from braindecode.datasets import MOABBDataset
from braindecode.datautil import load_concat_dataset
from braindecode.models import ShallowFBCSPNet
from braindecode.preprocessing import (
    Filter,
    Pick,
    Preprocessor,
    create_windows_from_events,
    exponential_moving_standardize,
    preprocess,
)
from braindecode.util import set_random_seeds
from skorch.callbacks import EarlyStopping, LRScheduler
from skorch.helper import predefined_split

from braindecode_samba import SAMBA
from braindecode_samba.signals import SimulatedMotorImagery

parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
parser.add_argument("--epochs", type=int, default=8)
parser.add_argument("--seed", type=int, default=0)
parser.add_argument("--figure", help="file to write the figure to")
args, _ = parser.parse_known_args()  # a gallery has arguments of its own

mne.set_log_level("error")
moabb.set_log_level("error")
recordings = MOABBDataset(
    SimulatedMotorImagery(n_subjects=11, n_sessions=1, n_trials=12, erd=0.8)
)

# %%
# Preprocessing and windows
# -------------------------
# The windows are written to a folder and read from there, as one does who comes back to
# them later.


def microvolts(volts):
    """MNE holds volts."""
    return volts * 1e6


preprocess(
    recordings,
    [
        Pick(picks="eeg"),
        Preprocessor(microvolts),
        Filter(l_freq=4.0, h_freq=38.0),
        Preprocessor(exponential_moving_standardize, init_block_size=512),
    ],
)
sfreq = recordings.datasets[0].raw.info["sfreq"]
windows = create_windows_from_events(
    recordings,
    trial_start_offset_samples=int(0.5 * sfreq),
    trial_stop_offset_samples=-int(1.0 * sfreq),
    mapping={"left_hand": 0, "right_hand": 1},
    preload=True,
)
folder = tempfile.TemporaryDirectory()
windows.save(folder.name)
windows = load_concat_dataset(folder.name, preload=True)

# nobody's recordings are in two parts
held_out = [8, 9, 10]
parts = windows.split({"train": list(range(6)), "valid": [6, 7], "test": held_out})
print(", ".join(f"{name}: {len(part)} windows" for name, part in parts.items()))

# %%
# Training
# --------
# The same for every network. One that reads positions of electrodes is given those of
# each window, which braindecode knows from the recording.


def train(network):
    """Train a network of braindecode's from a seed."""
    windows.set_return_ch_pos("pos" in signature(network.forward).parameters)
    set_random_seeds(args.seed, cuda=False)
    classifier = EEGClassifier(
        network,
        module__sfreq=sfreq,
        optimizer=torch.optim.AdamW,
        lr=2e-3,
        max_epochs=args.epochs,
        batch_size=16,
        classes=[0, 1],
        train_split=predefined_split(parts["valid"]),
        iterator_train=AugmentedDataLoader,
        iterator_train__transforms=[
            FTSurrogate(probability=0.3, random_state=args.seed),
            SmoothTimeMask(
                probability=0.3, mask_len_samples=64, random_state=args.seed
            ),
            AmplitudeScale(probability=0.3, random_state=args.seed),
        ],
        callbacks=[
            LRScheduler("CosineAnnealingLR", T_max=args.epochs),
            EarlyStopping(patience=5, load_best=True),
        ],
        verbose=0,
    )
    return classifier.fit(parts["train"], y=None)


def score(classifier, part):
    """Accuracy on each subject of some windows."""
    right = classifier.predict(part) == part.get_metadata()["target"]
    return right.groupby(part.get_metadata()["subject"].to_numpy()).mean()


scores, histories = {}, {}
for network in (ShallowFBCSPNet, SAMBA):
    classifier = train(network)
    scores[network.__name__] = score(classifier, parts["test"])
    histories[network.__name__] = classifier.history

table = pd.DataFrame(scores)
print("accuracy on each held-out subject")
print(pd.concat([table, table.mean().to_frame("mean").T]).round(2).to_string())

# %%
# Curves and scores
# -----------------
# The weights of the epoch with the lowest validation loss are those that were scored.

fig, (left, right) = plt.subplots(1, 2, figsize=(9, 3.6), layout="constrained")
for color, (name, history) in zip(("C0", "C3"), histories.items(), strict=True):
    epochs = history[:, "epoch"]
    left.plot(epochs, history[:, "train_loss"], color=color, linestyle=":")
    left.plot(epochs, history[:, "valid_loss"], "o-", color=color, label=name)
    place = list(scores).index(name)
    right.plot([place] * len(table), table[name], "o", color=color, alpha=0.6)
    right.hlines(table[name].mean(), place - 0.2, place + 0.2, color="k")
left.plot([], [], "k:", label="augmented training windows")
left.set(xlabel="epoch", ylabel="cross-entropy on validation subjects")
left.legend()
right.axhline(0.5, color="0.6", linestyle=":")
right.set_xticks(range(len(scores)), list(scores))
right.set(xlim=(-0.5, 1.5), ylim=(0.4, 1.0), ylabel="accuracy on a held-out subject")

# %%
# Another cap
# -----------
# The trained SAMBA scores the same people with every second electrode, in reverse
# order: it knows electrodes by their positions, which come with the windows. C3 and C4
# are not among them, which costs accuracy. ShallowFBCSPNet can't take such windows.

other_cap = load_concat_dataset(folder.name, preload=True, ids_to_load=held_out)
names = other_cap.datasets[0].raw.ch_names[::-2]
for recording in other_cap.datasets:
    recording.raw.reorder_channels(names)
other_cap.set_return_ch_pos(True)
print(f"SAMBA with {', '.join(names)}: {score(classifier, other_cap).mean():.2f}")

if args.figure:
    fig.savefig(args.figure, dpi=120)
folder.cleanup()
plt.show()

# %%
# Look at the full lines on the left, which say when to stop. The dotted ones are of
# augmented windows and may lie higher or lower. On the right, each dot is a person.
