"""Reader of TUAB, the abnormal EEG corpus of Temple University Hospital.

Files are found and read by `braindecode.datasets.TUHAbnormal`; here they become the 16
bipolar derivations of the double banana, cut without overlap.
"""

import warnings
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import mne
import numpy as np
from braindecode.datasets import TUHAbnormal
from tqdm import tqdm

from braindecode_samba.evaluation.recipes.recipe import (
    LabelledWindows,
    Recipe,
    cut_recording,
    join_windows,
    need_folder,
)
from braindecode_samba.signals.broken import recording_named

_VERSION = "v3.0.1"
# braindecode takes labels and parts from any folder above a file
_MISLEADING = {"normal", "abnormal", "train", "eval"}


def read_tuab(
    recipe: Recipe, data_path: Path | None, subjects: Sequence[str] | None
) -> LabelledWindows:
    """Read TUAB in its 16 bipolar derivations.

    Parameters
    ----------
    recipe : Recipe
        The recipe.
    data_path : pathlib.Path
        Folder that holds ``v3.0.1/edf/train/normal/01_tcp_ar/*.edf`` and so on.
        braindecode notes the date of each recording in a text file beside it.
    subjects : sequence of str, optional
        Subjects as the files name them, such as "aaaaaaav".

    Returns
    -------
    LabelledWindows
        "abnormal" or "normal"; the official evaluation part is the test.

    Raises
    ------
    FileNotFoundError, ValueError
        If there are no such files, or the folder's path misleads braindecode.

    Warns
    -----
    UserWarning
        By braindecode, if not all 2,993 recordings are there.
    """
    folder = need_folder(recipe, data_path)
    if wrong := sorted(_MISLEADING & set(folder.parts)):
        raise ValueError(
            f"{folder} lies in a folder called {wrong[0]!r}, which braindecode would "
            "take for a label or a part: move or link the corpus elsewhere"
        )
    if not any((folder / _VERSION).glob("edf/*/*/*/*.edf")):
        raise FileNotFoundError(
            f"{folder} holds no {_VERSION}/edf/train/normal/01_tcp_ar/*.edf. "
            f"{recipe.access}"
        )
    with warnings.catch_warnings():
        # braindecode asks for MNE's montages by their old names
        warnings.simplefilter("ignore", FutureWarning)
        try:
            corpus = TUHAbnormal(
                str(folder),
                version=_VERSION,
                target_name="pathological",
                rename_channels=True,
                on_missing_files="warn",
            )
        except Exception:
            # it reads all headers, and says nothing of where it stopped
            _name_broken(folder)
            raise
    parts, is_test = [], []
    for dataset in tqdm(corpus.datasets, desc="TUAB", disable=None):
        about = dataset.description
        if subjects and about["subject"] not in subjects:
            continue
        label = "abnormal" if about["pathological"] else "normal"
        with recording_named(str(about["path"]), recipe.on_broken):
            raw = _bipolar(recipe, dataset.raw.copy().load_data(verbose="error"))
            X = cut_recording(recipe, raw, about["path"])
            parts.append((X, label, about["subject"]))
            is_test.append(np.full(len(X), not about["train"]))
    if not parts:
        raise ValueError(f"{folder} has no recordings of the subjects {subjects}")
    joined = join_windows(recipe, parts, folder)
    return replace(joined, is_test=np.concatenate(is_test))


def _name_broken(folder: Path) -> None:
    """Raise the name of a file whose header can't be read, if there is one."""
    for path in sorted((folder / _VERSION).glob("edf/*/*/*/*.edf")):
        with recording_named(str(path)):
            mne.io.read_raw_edf(path, verbose="error")


def _bipolar(recipe: Recipe, raw: mne.io.BaseRaw) -> mne.io.BaseRaw:
    pairs = [name.split("-") for name in recipe.ch_names]
    needed = sorted({name for pair in pairs for name in pair})
    if missing := sorted(set(needed) - set(raw.ch_names)):
        raise ValueError(f"{raw.filenames[0]} has no channels {missing}")
    return mne.set_bipolar_reference(
        raw.pick(needed),
        [anode for anode, _ in pairs],
        [cathode for _, cathode in pairs],
        ch_name=list(recipe.ch_names),
        copy=False,
        verbose="error",
    )
