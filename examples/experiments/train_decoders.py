"""Make the decoders that ship fitted: ``fists`` and ``eyes``.

    python train_decoders.py --data-path FOLDER --sets SETS --output checkpoints

FOLDER holds ``eegmmidb/S001/S001R04.edf`` and so on, SETS ``guinea_bissau.npz``.  Only
people who may be trained on are read; scores are those of people who are developed on.
"""

import argparse
import json
from pathlib import Path

import mne
import numpy as np
import pandas as pd
from sklearn.metrics import roc_auc_score

from braindecode_samba import SAMBAClassifier

FISTS_PEOPLE = [*range(1, 29), *range(40, 70)]
FISTS_SCORED = range(29, 40)
EYES_PEOPLE = range(1, 41)
EYES_SCORED = range(41, 61)
MOTOR_8 = "FC3 FC4 C3 Cz C4 CP3 CP4 Pz".split()
MOTOR_3 = "C3 Cz C4".split()
CAP_32 = (
    "Fp1 Fp2 AF3 AF4 F7 F3 Fz F4 F8 FC5 FC1 FC2 FC6 T7 C3 Cz C4 T8 CP5 CP1 CP2 CP6 "
    "P7 P3 Pz P4 P8 PO3 PO4 O1 Oz O2"
).split()
PAIRS = ["FC3-CP3", "FCz-CPz", "FC4-CP4"]
FRONTAL_4 = "AF3 AF4 T7 T8".split()
CAP_8 = "F7 F8 T7 T8 P7 P8 O1 O2".split()


def read_fists(folder: Path, people: range | list[int]) -> mne.Epochs:
    """Imagined fists, 0.5 to 3.5 s from the cue, 4 to 38 Hz, 128 Hz."""
    parts = []
    for person in people:
        for run in ("R04", "R08", "R12"):
            path = folder / "eegmmidb" / f"S{person:03d}" / f"S{person:03d}{run}.edf"
            raw = mne.io.read_raw_edf(path, preload=True, verbose="error")
            mne.datasets.eegbci.standardize(raw)
            raw.filter(4, 38, verbose="error")
            events, ids = mne.events_from_annotations(
                raw, {"T1": 1, "T2": 2}, verbose="error"
            )
            epochs = mne.Epochs(
                raw,
                events,
                {"left_hand": 1, "right_hand": 2},
                tmin=0.5,
                tmax=3.5 - 1 / raw.info["sfreq"],
                baseline=None,
                preload=True,
                verbose="error",
            )
            epochs.resample(128, verbose="error")
            parts.append(with_metadata(epochs, f"S{person:03d}"))
    return mne.concatenate_epochs(parts, verbose="error")


def with_metadata(epochs: mne.Epochs, person: str) -> mne.Epochs:
    """Write down who it is, and the label."""
    names = {number: name for name, number in epochs.event_id.items()}
    labels = [names[number] for number in epochs.events[:, 2]]
    epochs.metadata = pd.DataFrame({"subject": person, "label": labels})
    return epochs


def score(labels: np.ndarray, chances: np.ndarray, people: np.ndarray) -> list[float]:
    """AUC of each person."""
    second = np.unique(labels)[1]
    return [
        roc_auc_score(labels[people == who] == second, chances[people == who])
        for who in np.unique(people)
    ]


def make_fists(options: argparse.Namespace) -> None:
    """Train and score the decoder of fists."""
    epochs = read_fists(options.data_path, FISTS_PEOPLE)
    montages = ("clinical_19", CAP_32, MOTOR_8, MOTOR_3, PAIRS, "emotiv_epoc_14")
    decoder = SAMBAClassifier(montages=montages, random_state=0, verbose=1)
    decoder.fit(epochs, epochs.metadata["label"].to_numpy())
    print(decoder.evidence_.round(3))
    decoder.save_pretrained(options.output / "fists")
    held = read_fists(options.data_path, FISTS_SCORED)
    labels = held.metadata["label"].to_numpy()
    people = held.metadata["subject"].to_numpy()
    scores = {}
    for name, channels in {
        "64 electrodes": held.ch_names,
        "32": CAP_32,
        "8 over the motor cortex": MOTOR_8,
        "C3, Cz, C4": MOTOR_3,
    }.items():
        part = held.copy().pick(channels)
        aligned = decoder.predict_proba(part)[:, 1]
        scores[name] = np.mean(score(labels, aligned, people)).round(3)
    print("fists, AUC of people 29 to 39:", json.dumps(scores, default=float))


def make_eyes(options: argparse.Namespace) -> None:
    """Train and score the decoder of eyes."""
    found = np.load(options.sets / "guinea_bissau.npz")
    numbers = np.array([int(name[1:]) for name in found["subject"]])
    labels = np.array([label.split("/")[1] for label in found["y"]])
    rows = np.isin(numbers, EYES_PEOPLE)
    decoder = SAMBAClassifier(
        ch_names=found["names"].tolist(),
        sfreq=float(found["sfreq"]),
        checkpoint=None,  # samba-e has seen the four people of another laboratory
        montages=(CAP_8, FRONTAL_4),
        random_state=0,
    )
    decoder.fit(found["X"][rows], labels[rows], groups=found["subject"][rows])
    print(decoder.evidence_.round(3))
    decoder.save_pretrained(options.output / "eyes")
    rows = np.isin(numbers, EYES_SCORED)
    people = found["subject"][rows]
    chances = decoder.predict_proba(found["X"][rows], groups=people)[:, 1]
    scores = score(labels[rows], chances, people)
    print(f"eyes, AUC of people 41 to 60 in windows of 4 s: {np.mean(scores):.3f}")


def main() -> None:
    """Do what the command line says."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--data-path", type=Path, required=True)
    parser.add_argument("--sets", type=Path, required=True)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("names", nargs="*", default=["fists", "eyes"])
    options = parser.parse_args()
    makers = {"fists": make_fists, "eyes": make_eyes}
    for name in options.names:
        makers[name](options)


if __name__ == "__main__":
    main()
