"""
Windows of five laboratories for `pretrain_search.py`, of people who are trained on
===================================================================================

One file a laboratory, ``NAME.npz``::

    python examples/experiments/pretrain_windows.py --data-path FOLDER --sets FOLDER \
        --output WINDOWS

Windows of 4 s at 128 Hz, 0.5 to 45 Hz (kalunga: from 5 Hz on), as int8: six steps
are one robust deviation of the recording, so that how strong a window is against its
recording stays. ``white`` is the same, whitened by the covariance of the recording as
decoders do it, with six steps for a deviation of one. Labels are text, and parts of it
stand between slashes.
"""

import argparse
import os
import tomllib
from pathlib import Path

import mne
import numpy as np
import torch
from tqdm import tqdm
from trials_and_methods import RENAMED, RUNS, SFREQ, edf, movements

from braindecode_samba import RecordingAligner, positions_from_names
from braindecode_samba._paths import whole_file
from braindecode_samba.nn.scaling import recording_scale
from braindecode_samba.pretraining.config import is_chosen

SECONDS = 4.0
BAND = (0.5, 45.0)
STEPS = 6  # of a robust deviation
# licences, citations, who is trained on, what is broken
CORPORA = tomllib.loads(Path(__file__).with_name("corpora.toml").read_text())


def learnt(corpus, pattern, last):
    """Numbers, from 0 on, whose people are trained on."""
    choices = CORPORA[corpus]["learnt"]
    return [n for n in range(last + 1) if is_chosen(pattern.format(n), choices)]


def cut(raw, starts):
    """Windows of a recording, from some seconds on, volts."""
    n_times = int(SECONDS * SFREQ)
    raw = raw.filter(*BAND, verbose="error").resample(SFREQ, verbose="error")
    data, first = raw.get_data(), [round(start * SFREQ) for start in starts]
    return np.stack([data[:, i : i + n_times] for i in first])


def eegmmidb(folder, _):
    """Imagined left and right fist and rest, from the cue on."""
    words = {"T0": "rest", "T1": "left_hand", "T2": "right_hand"}
    for person in learnt("eegmmidb", "S{:03d}", 109):
        for run in RUNS["imagery"]:
            raw = movements(folder, person, run, (None, None))
            last = raw.times[-1] - SECONDS
            cues = [
                (a["onset"], words[a["description"]])
                for a in raw.annotations
                if a["onset"] <= last
            ]
            starts, y = zip(*cues, strict=True)
            yield f"S{person:03d}", cut(raw, starts), y, raw.ch_names


def eegmat(folder, _):
    """Rest and serial subtraction."""
    for person in learnt("eegmat", "Subject{:02d}", 35):
        for number, label in enumerate(("rest", "work"), start=1):
            raw = edf(folder, f"eegmat/Subject{person:02d}_{number}.edf")
            raw.drop_channels(["EEG A2-A1", "ECG ECG"])
            raw.rename_channels(lambda name: name.removeprefix("EEG "))
            starts = np.arange(0, raw.times[-1] - SECONDS, SECONDS)
            windows = cut(raw, starts)
            yield f"Subject{person:02d}", windows, [label] * len(starts), raw.ch_names


def read_set(name):
    """Reader of a set that `paradigm_columns` reads too."""

    def read(_, sets):
        with np.load(sets / f"{name}.npz") as file:
            data = {key: file[key] for key in file.files}
        data["X"] = mne.filter.resample(
            data["X"].astype(float), down=float(data["sfreq"]) / SFREQ, verbose="error"
        )
        for recording in dict.fromkeys(data["recording"]):
            rows = data["recording"] == recording
            subject = data["subject"][rows][0]
            if is_chosen(subject, CORPORA[name]["learnt"]):
                yield subject, data["X"][rows], data["y"][rows], data["names"]

    return read


LABORATORIES = {
    "eegmmidb": eegmmidb,
    "eegmat": eegmat,
    **{name: read_set(name) for name in ("guinea_bissau", "adhd", "kalunga")},
}


def in_steps(X):
    """Windows as int8."""
    return (X * STEPS).round().clip(-127, 127).astype(np.int8)


def collect(laboratory, folder, sets):
    """Fields of the file of one laboratory."""
    X, y, subject, recording = [], [], [], []
    parts = LABORATORIES[laboratory](folder, sets)
    for number, part in enumerate(tqdm(parts, laboratory, disable=None)):
        person, windows, labels, channels = part
        centred = windows - np.median(windows, axis=2, keepdims=True)
        X.append(centred / recording_scale(torch.from_numpy(centred)))
        y += list(labels)
        subject += [person] * len(windows)
        recording += [number] * len(windows)
    X = np.concatenate(X)
    white = RecordingAligner().fit_transform(X, groups=recording)
    names = [RENAMED.get(name, name) for name in channels]
    return {
        "X": in_steps(X),  # (n, channels, times)
        "white": in_steps(white),
        "y": np.array(y),
        "subject": np.array(subject),
        "names": np.array(names),
        "pos": positions_from_names(names).astype(np.float32),  # metres, head frame
    }


def main(arguments=None):
    """Write the files that are missing."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[1])
    add = parser.add_argument
    add("--data-path", type=Path, default=os.environ.get("BRAINDECODE_SAMBA_DATA"))
    add("--sets", type=Path, required=True, help="folder of sets that were cut")
    add("--output", type=Path, default=Path("windows"), help="folder of the files")
    options = parser.parse_args(arguments)
    options.output.mkdir(parents=True, exist_ok=True)
    for laboratory in LABORATORIES:
        file = options.output / f"{laboratory}.npz"
        if not file.exists():
            fields = collect(laboratory, Path(options.data_path), options.sets)
            with whole_file(file) as opened:
                np.savez(opened, **fields)
        with np.load(file) as data:
            people = len(np.unique(data["subject"]))
            print(f"{laboratory}: {data['X'].shape}, {people} people")


if __name__ == "__main__":
    main()
