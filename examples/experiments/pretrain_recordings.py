"""
Recordings of five laboratories for `braindecode-samba prepare`, of those trained on
====================================================================================

A folder for each laboratory, and one for the same recordings whitened, with a file for
each recording::

    python examples/experiments/pretrain_recordings.py --data-path FOLDER --sets SETS \
        --output RECORDINGS
    braindecode-samba prepare RECORDINGS --stores STORES --config samba-e

Signals are cut into windows of 4 s at 128 Hz, and whoever is chosen in `corpora.toml`
is taken. Decoders align what they read, so a network meets both: signals as they are,
and whitened by the covariance of their recording. Windows of one recording follow each
other, except where artefacts were left out, and in kalunga, whose trials' seams are
marked.
"""

import argparse
import os
from pathlib import Path

import mne
import numpy as np
from pretrain_windows import BAND, SECONDS, learnt, read_set
from tqdm import tqdm
from trials_and_methods import RENAMED, RUNS, SFREQ, edf, movements

from braindecode_samba import RecordingAligner

N_TIMES = int(SECONDS * SFREQ)
# what the sets' numbers are in volts; those without a unit are taken for microvolts
VOLT = 1e-6
WHITE = 1e-5  # volts; whitened signals have a deviation of one
TRIALS = ("kalunga",)


def windows_of(raw):
    """Windows that follow each other."""
    raw = raw.filter(*BAND, verbose="error").resample(SFREQ, verbose="error")
    data = raw.get_data()
    count = data.shape[1] // N_TIMES
    cut = data[:, : count * N_TIMES].reshape(len(data), count, N_TIMES)
    return cut.swapaxes(0, 1), raw.ch_names


def eegmmidb(folder, _):
    """Rest where it is there, and imagined fists."""
    for person in learnt("eegmmidb", "S{:03d}", 109):
        for run in RUNS["imagery"]:
            name = f"S{person:03d}"
            yield (
                name,
                f"R{run:02d}",
                *windows_of(movements(folder, person, run, (None, None))),
            )


def eegmat(folder, _):
    """Rest and serial subtraction."""
    for person in learnt("eegmat", "Subject{:02d}", 35):
        for number in (1, 2):
            name = f"Subject{person:02d}"
            raw = edf(folder, f"eegmat/{name}_{number}.edf")
            raw.drop_channels(["EEG A2-A1", "ECG ECG"])
            raw.rename_channels(lambda one: one.removeprefix("EEG "))
            yield name, f"R{number}", *windows_of(raw)


def cut_set(name):
    """Reader of a set that `paradigm_columns` reads too; its windows are joined."""

    def read(folder, sets):
        for number, part in enumerate(read_set(name)(folder, sets)):
            person, X, _, names = part
            yield person, f"R{number:02d}", X * VOLT, names

    return read


LABORATORIES = {
    "eegmmidb": eegmmidb,
    "eegmat": eegmat,
    **{name: cut_set(name) for name in ("guinea_bissau", "adhd", "kalunga")},
}


def write(file, X, names, seams):
    """Write windows as one recording, with some of its seams marked, seconds."""
    names = [RENAMED.get(str(name), str(name)) for name in names]
    raw = mne.io.RawArray(
        np.concatenate(list(X), axis=1),
        mne.create_info(names, SFREQ, "eeg"),
        verbose="error",
    )
    raw.set_annotations(mne.Annotations(seams, 1 / SFREQ, "BAD seam"))
    raw.set_montage("standard_1005", verbose="error")
    raw.save(file, overwrite=True, verbose="error")


def main(arguments=None):
    """Write the laboratories that are missing."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[1])
    add = parser.add_argument
    add("--data-path", type=Path, default=os.environ.get("BRAINDECODE_SAMBA_DATA"))
    add("--sets", type=Path, required=True, help="folder of sets that were cut")
    add("--output", type=Path, default=Path("recordings"), help="folder of the files")
    options = parser.parse_args(arguments)
    for laboratory, read in LABORATORIES.items():
        parts = list(
            tqdm(read(Path(options.data_path), options.sets), laboratory, disable=None)
        )
        groups = np.repeat(np.arange(len(parts)), [len(X) for _, _, X, _ in parts])
        whitened = RecordingAligner().fit_transform(
            np.concatenate([X for _, _, X, _ in parts]), groups=groups
        )
        for number, (person, occasion, X, names) in enumerate(parts):
            white = whitened[groups == number] * WHITE
            both = {laboratory: X, f"{laboratory}_whitened": white}
            for folder, windows in both.items():
                file = options.output / folder / f"{person}_{occasion}_eeg.fif"
                file.parent.mkdir(parents=True, exist_ok=True)
                ends = np.arange(1, len(X)) * SECONDS
                write(file, windows, names, ends if laboratory in TRIALS else [])


if __name__ == "__main__":
    main()
