"""Readers of the Emotiv sets: STEW, DREAMER, and recordings listed in a table.

Each gives `LabelledWindows` from files that the user has.  Competition files of the
P300 speller are in `p300_files`.
"""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import mne
import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.io import loadmat

from braindecode_samba.evaluation.recipes.recipe import (
    LabelledWindows,
    Recipe,
    cut_recording,
    join_windows,
    need_folder,
    raw_from_microvolts,
)
from braindecode_samba.signals.broken import recording_named

_STEW_FILE = re.compile(r"sub(\d+)_(lo|hi)\.txt")
_STEW_RATE = 128.0
# on a scale of 1 to 9, as the paper of the predecessor divides it
_HIGH_WORKLOAD = 4
# on a scale of 1 to 5, the middle
_HIGH_VALENCE = 3
_COLUMNS = ("file", "subject", "label")


def read_stew(
    recipe: Recipe, data_path: Path | None, subjects: Sequence[str] | None
) -> LabelledWindows:
    """Read the text files of STEW; recordings without a rating are left out.

    Parameters
    ----------
    recipe : Recipe
        The recipe.
    data_path : pathlib.Path
        Folder with ``sub01_lo.txt``, ``sub01_hi.txt`` and so on (14 columns of
        microvolts at 128 Hz) and ``ratings.txt`` (subject, rating at rest, rating in
        the test).
    subjects : sequence of str, optional
        Numbers of subjects, without leading zeros.

    Returns
    -------
    LabelledWindows
        "high" where the rating of a recording exceeds 4, else "low".

    Raises
    ------
    FileNotFoundError, ValueError
        If files are missing or broken.
    """
    folder = need_folder(recipe, data_path)
    ratings = _read_ratings(folder / "ratings.txt")
    parts = []
    for file in sorted(folder.glob("sub*_*.txt")):
        name = _STEW_FILE.fullmatch(file.name)
        if name is None:
            continue
        subject, column = str(int(name[1])), ("lo", "hi").index(name[2])
        if subject not in ratings or (subjects and subject not in subjects):
            continue
        label = "high" if ratings[subject][column] > _HIGH_WORKLOAD else "low"
        with recording_named(str(file), recipe.on_broken):
            parts.append((_read_columns(recipe, file), label, subject))
    return join_windows(recipe, parts, folder)


def _read_columns(recipe: Recipe, file: Path) -> NDArray[np.float32]:
    signals = np.loadtxt(file, ndmin=2)
    if signals.shape[1] != len(recipe.ch_names):
        raise ValueError(
            f"{file} has {signals.shape[1]} columns instead of "
            f"{len(recipe.ch_names)}: one for each electrode"
        )
    raw = raw_from_microvolts(recipe, signals.T, _STEW_RATE)
    return cut_recording(recipe, raw, str(file))


def _read_ratings(file: Path) -> dict[str, tuple[float, float]]:
    if not file.is_file():
        raise FileNotFoundError(f"{file} is missing: it comes with the recordings")
    ratings = {}
    for row, line in enumerate(file.read_text().splitlines(), start=1):
        if not line.strip():
            continue
        try:
            subject, rest, test = map(float, re.split(r"[,;\s]+", line.strip()))
        except ValueError as error:
            raise ValueError(
                f"{file}, line {row}: {line!r} is not subject, rating at rest, rating "
                "in the test"
            ) from error
        ratings[str(int(subject))] = (rest, test)
    return ratings


def read_dreamer(
    recipe: Recipe, data_path: Path | None, subjects: Sequence[str] | None
) -> LabelledWindows:
    """Read ``DREAMER.mat``: EEG while films are seen, labelled by rated valence.

    Parameters
    ----------
    recipe : Recipe
        The recipe.
    data_path : pathlib.Path
        Folder with ``DREAMER.mat``.
    subjects : sequence of str, optional
        Numbers of subjects, from "1".

    Returns
    -------
    LabelledWindows
        "high" where a film's valence was rated above 3 of 5, else "low".

    Raises
    ------
    FileNotFoundError, ValueError
        If the file is missing, or not of this structure.
    """
    file = need_folder(recipe, data_path) / "DREAMER.mat"
    if not file.is_file():
        raise FileNotFoundError(f"{file} is missing. {recipe.access}")
    with recording_named(str(file)):
        content = loadmat(file, simplify_cells=True)
    try:
        data = content["DREAMER"]
        names, sfreq = list(data["EEG_Electrodes"]), float(data["EEG_SamplingRate"])
        films = [
            (str(number), signals, valence)
            for number, person in enumerate(data["Data"], start=1)
            for signals, valence in zip(
                person["EEG"]["stimuli"], np.ravel(person["ScoreValence"]), strict=True
            )
        ]
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(
            f"{file} is not built as DREAMER.mat of its authors is: {error}"
        ) from error
    info = mne.create_info(names, sfreq, "eeg")
    parts: list[tuple[Any, str, str]] = []
    for subject, signals, valence in films:
        if subjects and subject not in subjects:
            continue
        label = "high" if valence > _HIGH_VALENCE else "low"
        what = f"{file}, subject {subject}"
        with recording_named(what, recipe.on_broken):
            volts = np.asarray(signals).T * 1e-6
            raw = mne.io.RawArray(volts, info, verbose="error")
            parts.append((cut_recording(recipe, raw, what), label, subject))
    return join_windows(recipe, parts, file)


def read_listed_recordings(
    recipe: Recipe, data_path: Path | None, subjects: Sequence[str] | None
) -> LabelledWindows:
    """Read recordings that ``recordings.csv`` lists, of any format that MNE reads.

    Parameters
    ----------
    recipe : Recipe
        The recipe.
    data_path : pathlib.Path
        Folder with ``recordings.csv``: columns ``file`` (below this folder),
        ``subject`` and ``label`` (a class of the recipe), and where a recording shows
        several states also ``start`` and ``stop`` in seconds, one line for each.
    subjects : sequence of str, optional
        As they are written in the table.

    Returns
    -------
    LabelledWindows
        Windows in the order of the table; none reaches over the ends of a line's
        stretch.

    Raises
    ------
    FileNotFoundError, ValueError
        If the table or a recording is missing or broken.
    """
    folder = need_folder(recipe, data_path)
    table = _read_table(recipe, folder / "recordings.csv")
    parts = []
    for line in table.itertuples():
        if subjects and line.subject not in subjects:
            continue
        with recording_named(line.file, recipe.on_broken):
            windows = _read_line(recipe, folder, line)
            parts.append((windows, line.label, line.subject))
    return join_windows(recipe, parts, folder)


def _read_line(recipe: Recipe, folder: Path, line: Any) -> NDArray[np.float32]:
    raw = mne.io.read_raw(folder / line.file, preload=False, verbose="error")
    start = float(line.start) if line.start else 0.0
    stop = float(line.stop) if line.stop else None
    if stop is None or stop > raw.times[-1]:
        stop = raw.times[-1]
    if start >= stop:
        raise ValueError(f"{line.file}: nothing lies from {start} s to {stop} s")
    raw.crop(start, stop).load_data(verbose="error")
    return cut_recording(recipe, raw, f"{line.file} from {start:g} s")


def _read_table(recipe: Recipe, file: Path) -> pd.DataFrame:
    if not file.is_file():
        raise FileNotFoundError(f"{file} is missing: it lists {recipe.layout}")
    table = pd.read_csv(file, dtype=str, keep_default_na=False)
    if missing := [column for column in _COLUMNS if column not in table]:
        raise ValueError(f"{file} has no columns {missing}, beside start and stop")
    if strange := sorted(set(table["label"]) - set(recipe.classes)):
        raise ValueError(f"{file}: labels {strange} are none of {recipe.classes}")
    if absent := [name for name in table["file"] if not (file.parent / name).exists()]:
        raise FileNotFoundError(f"{file} lists {absent[0]}, which is not in its folder")
    for column in ("start", "stop"):
        if column not in table:
            table[column] = ""
    return table
