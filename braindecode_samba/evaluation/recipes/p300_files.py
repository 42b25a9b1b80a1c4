"""Reader of the P300 speller's files of BCI competitions II (IIb) and III (II).

The 64 electrodes are those of the montage ``bci_competition_p300_64``; windows follow
each intensification of a row or column.  MOABB's P300 sets are in `moabb_sets`.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import mne
import numpy as np
from numpy.typing import NDArray
from scipy.io import loadmat

from braindecode_samba.evaluation.recipes.recipe import (
    LabelledWindows,
    Recipe,
    join_windows,
    need_folder,
)
from braindecode_samba.signals.broken import recording_named

_RATE = 240
_THIRD = {"A": "Subject_A_Train.mat", "B": "Subject_B_Train.mat"}
# sessions 10 and 11 came with labels; the competition asked for those of session 12
_SECOND = "AAS01[01]R*.mat"


def read_competition_p300(
    averaged: bool,
    recipe: Recipe,
    data_path: Path | None,
    subjects: Sequence[str] | None,
) -> LabelledWindows:
    """Read the labelled files of the competitions.

    Parameters
    ----------
    averaged : bool
        Mean over the repetitions of a row or column within a character; else a window
        for each intensification.
    recipe : Recipe
        The recipe.
    data_path : pathlib.Path
        Folder with ``Subject_A_Train.mat`` and ``Subject_B_Train.mat`` (competition
        III) and ``AAS010R01.mat`` to ``AAS011R06.mat`` (competition II, subject "C").
    subjects : sequence of str, optional
        Of "A", "B", "C"; None: those whose files are there.

    Returns
    -------
    LabelledWindows
        "target" where the row or column holds the character, else "nontarget".

    Raises
    ------
    FileNotFoundError, ValueError
        If files are missing, or lack a variable.
    """
    folder = need_folder(recipe, data_path)
    files = {name: [folder / file] for name, file in _THIRD.items()}
    files["C"] = sorted(folder.glob(_SECOND))
    parts: list[tuple[Any, Any, str]] = []
    for subject, paths in files.items():
        present = [path for path in paths if path.is_file()]
        if not present or (subjects and subject not in subjects):
            continue
        for path in present:
            with recording_named(str(path), recipe.on_broken):
                found = [
                    _windows(recipe, averaged, *character)
                    for character in _characters(path)
                ]
                parts += [(X, y, subject) for X, y in found]
    return join_windows(recipe, parts, folder)


def _characters(file: Path) -> Iterator[tuple[NDArray[Any], ...]]:
    """Give signals (n_times, 64), flashing, code and type (n_times,) of each."""
    content = loadmat(file, squeeze_me=False)
    signals = "Signal" if file.name in _THIRD.values() else "signal"
    names = [signals, "Flashing", "StimulusCode", "StimulusType"]
    if signals == "signal":
        names.append("trialnr")
    if missing := [name for name in names if name not in content]:
        raise ValueError(f"{file} has no variables {missing}: it has other contents")
    arrays = [content[name] for name in names]
    if arrays[0].shape[-1] != 64:
        raise ValueError(f"{file}: {arrays[0].shape[-1]} channels instead of 64")
    if signals == "Signal":
        yield from zip(*arrays, strict=True)
        return
    run = [arrays[0], *(array.ravel() for array in arrays[1:])]
    for number in np.unique(run[-1][run[-1] > 0]):
        inside = run[-1] == number
        yield tuple(array[inside] for array in run[:-1])


def _windows(
    recipe: Recipe,
    averaged: bool,
    signals: NDArray[Any],
    flashing: NDArray[Any],
    code: NDArray[Any],
    kind: NDArray[Any],
) -> tuple[NDArray[np.float32], NDArray[np.str_]]:
    """Windows (n, 64, n_times) of a character and their labels."""
    onsets = np.flatnonzero(np.diff(flashing > 0, prepend=False) & (flashing > 0))
    volts = mne.filter.resample(
        signals.T.astype(np.float64) * 1e-6, recipe.sfreq, _RATE, verbose="error"
    )
    starts = np.round(onsets * recipe.sfreq / _RATE).astype(int)
    fits = starts + recipe.n_times <= volts.shape[1]
    onsets, starts = onsets[fits], starts[fits]
    X = np.zeros((len(starts), len(volts), recipe.n_times), np.float32)
    for window, start in zip(X, starts, strict=True):
        window[:] = volts[:, start : start + recipe.n_times]
    codes, is_target = code[onsets], kind[onsets] > 0
    if averaged:
        known, first = np.unique(codes, return_index=True)
        X = np.stack([X[codes == one].mean(axis=0) for one in known])
        is_target = is_target[first]
    return X, np.where(is_target, "target", "nontarget")
