"""Readers of data sets that MOABB finds, downloads and cuts.

MOABB is imported when a set is read.  Readers take the name of a class of
`moabb.datasets` or a data set itself, such as a simulated one.
"""

import contextlib
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import mne
import numpy as np
from tqdm import tqdm

from braindecode_samba.evaluation.recipes.recipe import (
    LabelledWindows,
    Recipe,
    join_windows,
)

if TYPE_CHECKING:
    from moabb.datasets.base import BaseDataset


# rates that are no multiples of the recipe's give a sample more or less: what lies
# behind the window is cut off
_SPARE_SECONDS = 0.05


def read_left_right(
    dataset: "str | BaseDataset",
    recipe: Recipe,
    data_path: Path | None,
    subjects: Sequence[str] | None,
) -> LabelledWindows:
    """Read imagined movements of the left and the right hand, from the cue on.

    Parameters
    ----------
    dataset : str or moabb.datasets.base.BaseDataset
        A class of `moabb.datasets`, or a data set.
    recipe : Recipe
        The recipe.
    data_path : pathlib.Path, optional
        In place of MNE's setting ``MNE_DATA``: where MOABB looks for its data, and
        downloads them to.
    subjects : sequence of str, optional
        Numbers of subjects.

    Returns
    -------
    LabelledWindows
        "left_hand" and "right_hand".

    Raises
    ------
    ImportError
        If MOABB is not installed.
    ValueError
        If the data set has no such subject.
    """
    return _read("LeftRightImagery", dataset, recipe, data_path, subjects)


def read_p300(
    dataset: "str | BaseDataset",
    recipe: Recipe,
    data_path: Path | None,
    subjects: Sequence[str] | None,
) -> LabelledWindows:
    """Read what follows the stimuli of a P300 set.

    Parameters
    ----------
    dataset, recipe, data_path, subjects
        As for `read_left_right`.

    Returns
    -------
    LabelledWindows
        "Target" and "NonTarget", as MOABB calls them.

    Raises
    ------
    ImportError, ValueError
        As for `read_left_right`.
    """
    return _read("P300", dataset, recipe, data_path, subjects)


def _settings(recipe: Recipe) -> dict[str, Any]:
    low, high = recipe.band or (None, None)
    return {
        "fmin": low,
        "fmax": high,
        "tmin": 0.0,
        "tmax": recipe.window_seconds + _SPARE_SECONDS,
        "resample": recipe.sfreq,
        "channels": None if recipe.montage is None else list(recipe.ch_names),
    }


def _read(
    kind: str,
    dataset: "str | BaseDataset",
    recipe: Recipe,
    data_path: Path | None,
    subjects: Sequence[str] | None,
) -> LabelledWindows:
    moabb = _moabb()
    paradigm = getattr(moabb.paradigms, kind)(**_settings(recipe))
    if isinstance(dataset, str):
        dataset = getattr(moabb.datasets, dataset)()
    known = {str(subject): subject for subject in dataset.subject_list}
    if strange := sorted(set(subjects or ()) - set(known)):
        raise ValueError(f"{dataset.code} has no subjects {strange}")
    parts: list[tuple[Any, Any, str]] = []
    info: mne.Info | None = None
    with _data_at(data_path):
        for subject in tqdm(subjects or list(known), desc=recipe.name, disable=None):
            epochs, labels, _ = paradigm.get_data(
                dataset, subjects=[known[subject]], return_epochs=True
            )
            info = info or epochs.pick("eeg").info
            X = epochs.get_data("eeg", verbose="error")[..., : recipe.n_times]
            parts.append((X.astype(np.float32), labels, subject))
    return join_windows(recipe, parts, dataset.code, info)


@contextlib.contextmanager
def _data_at(folder: Path | None) -> Iterator[None]:
    """Let MOABB look for data in this folder, inside."""
    before = os.environ.get("MNE_DATA")
    if folder is not None:
        os.environ["MNE_DATA"] = str(folder)
    try:
        yield
    finally:
        if folder is not None:
            del os.environ["MNE_DATA"]
            if before is not None:
                os.environ["MNE_DATA"] = before


def _moabb() -> Any:
    try:
        import moabb.datasets
        import moabb.paradigms
    except ImportError as error:
        raise ImportError(
            'this recipe reads through MOABB: pip install "braindecode-samba[moabb]"'
        ) from error
    return moabb
