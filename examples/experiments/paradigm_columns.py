"""
What `evaluate_paradigms.py` scores: twelve kinds of EEG, each as windows of persons

A column holds windows, what they are labelled with, whose they are, and who is scored
when: people are never on both sides. It is read once and kept in one file.
"""

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from sklearn.model_selection import GroupKFold
from tqdm import tqdm
from trials_and_methods import RENAMED, SFREQ, fists, state

from braindecode_samba._paths import whole_file
from braindecode_samba.signals import ResponseSimulator

# people who are trained on, and people who are scored
FISTS = (range(1, 29), range(29, 40))
ARITHMETIC = (range(12), range(12, 20))
TRAINED_ON = -1  # fold of those who are never scored


@dataclass(frozen=True)
class Column:
    """Windows of one kind of EEG; ``y`` is text for classes and numbers otherwise."""

    X: np.ndarray  # (n, channels, times), float32, as recorded
    y: np.ndarray  # (n,)
    subject: np.ndarray  # (n,), text
    recording: np.ndarray  # (n,), text
    fold: np.ndarray  # (n,), in which a window is scored, or TRAINED_ON
    names: np.ndarray  # (channels,), text
    sfreq: float


@dataclass(frozen=True)
class Kind:
    """How a column is read and scored.

    ``score`` is one of those of `paradigm_scores`. Where a recording has one label,
    whitening it would take that away.
    """

    read: Callable[[Path, Path], dict]  # recordings, sets -> fields of a Column
    score: str = "AUC"
    whitened: bool = True
    frequencies: tuple[float, ...] = ()  # of flicker, Hz, for those who are told


def five_folds(subject):
    """Give each person one of five folds, the same in every run."""
    fold = np.empty(len(subject), int)
    splitter = GroupKFold(5, shuffle=True, random_state=0)
    for number, (_, test) in enumerate(splitter.split(subject, groups=subject)):
        fold[test] = number
    return fold


def one_out(subject):
    """Give each person a fold."""
    return np.unique(subject, return_inverse=True)[1]


# %%
# Recordings
# ----------


def read_people(cut, people, labels, data_path, window):
    """Windows of two classes of some people, cut from original recordings."""
    if data_path is None:
        sys.exit("say where the recordings are: --data-path FOLDER")
    parts = []
    learnt, scored = people
    for person in tqdm([*learnt, *scored], desc="recordings", disable=None):
        X, y, names = cut(data_path, person, window)
        parts.append((X * 1e6, y, np.full(len(y), person)))
    X, y, number = map(np.concatenate, zip(*parts, strict=True))
    subject = np.array([f"S{one:03d}" for one in number])
    return {
        "X": X,
        "y": np.array(labels)[y],
        "subject": subject,
        # one sitting, in which the cap stays as it is
        "recording": subject,
        "fold": np.where(np.isin(number, scored), 0, TRAINED_ON),
        "names": [RENAMED.get(name, name) for name in names],
        "sfreq": SFREQ,
    }


def left_right(data_path, sets):
    """Left or right imagined fist: eegmmidb, 4 to 38 Hz."""
    return read_people(fists, FISTS, ("left_hand", "right_hand"), data_path, (0.5, 3.5))


def arithmetic(data_path, sets):
    """Rest or mental arithmetic: eegmat, 1 to 40 Hz, the last minute of each."""
    return read_people(state, ARITHMETIC, ("rest", "work"), data_path, (0.0, 2.0))


# %%
# Sets
# ----


def read_set(name, folds=five_folds, label=None):
    """Reader of a set that has been cut before; `label` takes one part of its labels.

    The folder holds ``NAME.npz`` with ``X, y, subject, recording, names`` and
    ``sfreq``.
    """

    def read(data_path, sets):
        if sets is None:
            sys.exit("say where the sets are: --sets FOLDER")
        with np.load(sets / f"{name}.npz") as file:
            fields = {key: file[key] for key in file.files}
        if label is not None:
            fields["y"] = np.array([y.split("/")[label] for y in fields["y"]])
        fields["fold"] = folds(fields["subject"])
        return fields

    return read


# %%
# Simulated with known truth
# --------------------------

ELECTRODES = "Fp1 Fp2 F3 Fz F4 T7 C3 Cz C4 T8 P3 Pz P4 O1 Oz O2".split()
FLICKER = (7.3, 9.0, 10.8, 13.4)


def simulated(make):
    """Reader of ten simulated people; ``make(simulator)`` gives their windows."""

    def read(data_path, sets):
        simulator = ResponseSimulator(ELECTRODES, sfreq=SFREQ, seed=0)
        X, y, groups, info = make(simulator)
        subject = np.array([f"S{one:02d}" for one in groups])
        return {
            "X": X * 1e6,
            "y": y,
            "subject": subject,
            "recording": subject,
            "fold": five_folds(subject),
            "names": info["ch_names"],
            "sfreq": SFREQ,
        }

    return read


def lateralised(simulator):
    """First second of trials whose target is the log of left over right mu."""
    X, y, groups, info = simulator.regression(10, 60)
    return X[..., :SFREQ], y[:, 1], groups, info


KINDS = {
    "left_right": Kind(left_right),
    "arithmetic": Kind(arithmetic),
    "p300": Kind(read_set("p300", one_out)),
    "kalunga": Kind(
        read_set("kalunga"), "balanced accuracy", frequencies=(13.0, 17.0, 21.0)
    ),
    "graz_2b": Kind(read_set("graz_2b")),
    "eyes": Kind(read_set("guinea_bissau", label=1)),
    "diagnosis": Kind(
        read_set("guinea_bissau", label=0), "AUC over persons", whitened=False
    ),
    "adhd": Kind(read_set("adhd"), "AUC over persons", whitened=False),
    "sim_evoked": Kind(simulated(lambda one: one.evoked(10, 120))),
    "sim_ssvep": Kind(
        simulated(lambda one: one.steady_state(10, 20, frequencies=FLICKER)),
        "balanced accuracy",
        frequencies=FLICKER,
    ),
    "sim_slow_waves": Kind(simulated(lambda one: one.slow_waves(10, 30))),
    "sim_number": Kind(simulated(lateralised), "r"),
}


def read_column(folder, name, data_path=None, sets=None):
    """Column by its name, from its file if it was read before."""
    file = folder / f"{name}.npz"
    if not file.exists():
        fields = KINDS[name].read(data_path, sets)
        fields["X"] = np.asarray(fields["X"], np.float32)
        folder.mkdir(parents=True, exist_ok=True)
        with whole_file(file) as opened:
            np.savez(opened, **fields)
    with np.load(file) as data:
        fields = {key: data[key] for key in data.files}
    return Column(**(fields | {"sfreq": float(fields["sfreq"])}))
