"""Recordings of three made-up laboratories, each in its own format and with its names.

``dotted`` keeps EDF files in folders of people, ``old`` FIF files with the names of
BIDS and of old caps, ``pairs`` BDF files of bipolar channels at another rate.
"""

import edfio
import mne
import numpy as np

from braindecode_samba.signals import EEGSimulator

PEOPLE = ("dotted/S001", "dotted/S002", "dotted/S003", "old/sub-1", "old/sub-2")
PEOPLE += ("pairs/p1", "pairs/p2")


def write_laboratories(root):
    """Write four seconds of nine people below a folder."""
    for subject in (1, 2, 3):
        raw = record(["C3", "Cz", "C4", "Oz"], subject)
        raw.rename_channels({name: f"{name}.." for name in raw.ch_names})
        path = root / "dotted" / f"S{subject:03}" / f"S{subject:03}R04.edf"
        path.parent.mkdir(parents=True)
        mne.export.export_raw(path, raw, verbose="error")
    for subject in (1, 2):
        raw = record(["T7", "Cz", "T8"], subject)
        raw.rename_channels({"T7": "T3", "T8": "T4"})
        path = root / "old" / f"sub-{subject}_task-rest_raw.fif"
        path.parent.mkdir(exist_ok=True)
        raw.save(path, verbose="error")
    for subject in (1, 2):
        names = ["Fp1", "F7", "T7", "P7", "ECG"]
        raw = record(names[:4], subject, sfreq=200)
        chain = -np.diff(raw.get_data(), axis=0)
        write_bdf(
            root / "pairs" / f"p{subject}_eyes_open.bdf",
            dict(zip(["Fp1-F7", "F7-T3", "T3-T5"], chain, strict=True))
            | {"ECG": 100 * chain[0]},
            200,
        )


def record(names, subject, sfreq=160):
    """Simulate four seconds without positions and marks."""
    raw = EEGSimulator(names, sfreq=sfreq).raw(subject=subject, n_trials=1).crop(0, 4)
    return raw.set_annotations(None).set_montage(None)


def write_bdf(path, signals, sfreq):
    """Write signals (name: volts) as BDF of whole seconds."""
    path.parent.mkdir(exist_ok=True)
    written = [
        edfio.BdfSignal(
            volts[: len(volts) // sfreq * sfreq] * 1e6,
            sfreq,
            label=name,
            physical_dimension="uV",
        )
        for name, volts in signals.items()
    ]
    edfio.Bdf(written).write(path)
