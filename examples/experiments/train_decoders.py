"""
Make the decoders that ship fitted: ``fists`` and ``eyes``
==========================================================

Only people who may be trained on are read, and scores are those of people who are
developed on::

    python examples/experiments/train_decoders.py --data-path FOLDER --sets SETS

They come into ``--output``, by default the folder ``checkpoints`` of the checkout.
FOLDER is as for ``evaluate.py``, SETS holds ``guinea_bissau.npz``. A fit of ``fists``
takes 8 GB and some ten minutes of one core. Cards are written by hand.
"""

import argparse
from pathlib import Path

import mne
import numpy as np
import pandas as pd
from sklearn.metrics import roc_auc_score
from trials_and_methods import MOABB_LAYOUT, RENAMED, edf

from braindecode_samba import SAMBAClassifier, load_montage

FISTS_PEOPLE = (*range(1, 29), *range(40, 70))
FISTS_SCORED = range(29, 40)
EYES_PEOPLE, EYES_SCORED = range(1, 41), range(41, 61)
RUNS = (4, 8, 12)
BAND = (4, 38)
SECONDS = (0.5, 3.5)
CAP_32 = (
    "Fp1 Fp2 AF3 AF4 F7 F3 Fz F4 F8 FC5 FC1 FC2 FC6 T7 C3 Cz C4 T8 CP5 CP1 CP2 CP6 "
    "P7 P3 Pz P4 P8 PO3 PO4 O1 Oz O2"
).split()
CAP_8 = "FC3 FC4 C3 Cz C4 CP3 CP4 Pz".split()
CAP_3 = "C3 Cz C4".split()
PAIRS = ["FC3-CP3", "FCz-CPz", "FC4-CP4"]
# few electrodes lose most: they count twice
FISTS_MONTAGES = ("clinical_19", CAP_32, CAP_8, CAP_3, CAP_3, PAIRS, "emotiv_epoc_14")
EYES_MONTAGES = (
    "F7 F8 T7 T8 P7 P8 O1 O2".split(),
    "AF3 AF4 T7 T8".split(),
    ["O1", "O2"],
)


def read_fists(folder, people):
    """Imagined fists, 0.5 to 3.5 s from the cue, 4 to 38 Hz, 128 Hz."""
    parts = []
    for subject in people:
        for run in RUNS:
            name = f"S{subject:03d}/S{subject:03d}R{run:02d}.edf"
            raw = edf(folder, f"eegmmidb/{name}", f"{MOABB_LAYOUT}/{name}", name)
            mne.datasets.eegbci.standardize(raw)
            raw.filter(*BAND, verbose="error")
            cues, _ = mne.events_from_annotations(
                raw, {"T1": 1, "T2": 2}, verbose="error"
            )
            epochs = mne.Epochs(
                raw,
                cues,
                {"left_hand": 1, "right_hand": 2},
                tmin=SECONDS[0],
                tmax=SECONDS[1] - 1 / raw.info["sfreq"],
                baseline=None,
                metadata=pd.DataFrame({"subject": [f"S{subject:03d}"] * len(cues)}),
                preload=True,
                verbose="error",
            )
            parts.append(epochs.resample(128, verbose="error"))
    return mne.concatenate_epochs(parts, verbose="error")


def labels_of(epochs):
    """Name what was imagined."""
    names = {number: name for name, number in epochs.event_id.items()}
    return np.array([names[number] for number in epochs.events[:, 2]])


def read_eyes(sets, people):
    """Windows of 4 s, 0.5 to 45 Hz, of Emotiv's 14 electrodes: X, labels, people."""
    found = np.load(sets / "guinea_bissau.npz")
    numbers = np.array([int(name[1:]) for name in found["subject"]])
    rows = np.isin(numbers, people)
    labels = np.array([label.split("/")[1] for label in found["y"][rows]])
    return found["X"][rows], labels, found["subject"][rows], found["names"].tolist()


def mean_auc(decoder, X, labels, people):
    """AUC over people, each aligned without labels."""
    said = decoder.predict_proba(X, groups=people)[:, 1]
    true = labels == decoder.classes_[1]
    chosen = [people == one for one in np.unique(people)]
    return np.mean([roc_auc_score(true[own], said[own]) for own in chosen])


def make_fists(args):
    """Train and score the decoder of fists."""
    epochs = read_fists(args.data_path, FISTS_PEOPLE)
    decoder = SAMBAClassifier(montages=FISTS_MONTAGES, random_state=0)
    decoder.fit(epochs, labels_of(epochs)).save_pretrained(args.output / "fists")
    print(decoder.evidence_.round(3).to_string())
    held = read_fists(args.data_path, FISTS_SCORED)
    labels, people = labels_of(held), held.metadata["subject"].to_numpy(str)
    clinical = [RENAMED.get(n, n) for n in load_montage("clinical_19").names]
    for names in (held.ch_names, CAP_32, clinical, CAP_8, CAP_3):
        auc = mean_auc(decoder, held.copy().pick(names), labels, people)
        print(f"fists of 29 to 39, {len(names)} electrodes: AUC {auc:.3f}")


def make_eyes(args):
    """Train and score the decoder of eyes."""
    X, labels, people, names = read_eyes(args.sets, EYES_PEOPLE)
    # samba-e has seen the four people of another laboratory who are scored
    decoder = SAMBAClassifier(
        ch_names=names,
        sfreq=128,
        checkpoint=None,
        montages=EYES_MONTAGES,
        random_state=0,
    )
    decoder.fit(X, labels, groups=people).save_pretrained(args.output / "eyes")
    print(decoder.evidence_.round(3).to_string())
    X, labels, people, _ = read_eyes(args.sets, EYES_SCORED)
    auc = mean_auc(decoder, X, labels, people)
    print(f"eyes of 41 to 60, windows of 4 s: AUC {auc:.3f}")


def main():
    """Do what the command line says."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--data-path", type=Path, required=True)
    parser.add_argument("--sets", type=Path, required=True)
    checkout = Path(__file__).parents[2]
    parser.add_argument("--output", type=Path, default=checkout / "checkpoints")
    parser.add_argument("--names", nargs="+", default=["eyes", "fists"])
    args = parser.parse_args()
    for name in args.names:
        {"fists": make_fists, "eyes": make_eyes}[name](args)


if __name__ == "__main__":
    main()
