"""What a recipe is, and the labelled windows that it gives.

Also here: cutting continuous recordings, which most readers share.  The readers are in
`files`, `p300_files`, `tuab` and `moabb_sets`, the recipes themselves in `registry`.
"""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import mne
import numpy as np
from numpy.typing import ArrayLike, NDArray

from braindecode_samba.signals.broken import OnBroken
from braindecode_samba.signals.montages import load_montage
from braindecode_samba.signals.template import info_at

DataPath = str | os.PathLike[str]


@dataclass(frozen=True)
class LabelledWindows:
    """Windows of EEG with what they show and whose they are.

    Parameters
    ----------
    X : ndarray of float32, shape (n, n_chans, n_times)
        Volts.
    y : ndarray of str, shape (n,)
        Classes.
    groups : ndarray of str, shape (n,)
        Subjects.
    info : mne.Info
        Names, positions and rate of the channels of X.
    is_test : ndarray of bool, shape (n,), optional
        The published test part, if the data set has one.

    Raises
    ------
    ValueError
        If the lengths differ, or there are no windows.
    """

    X: NDArray[np.float32]
    y: NDArray[np.str_]
    groups: NDArray[np.str_]
    info: mne.Info
    is_test: NDArray[np.bool_] | None = None

    def __post_init__(self) -> None:
        lengths = {len(self.X), len(self.y), len(self.groups)}
        if self.is_test is not None:
            lengths.add(len(self.is_test))
        if len(lengths) > 1 or 0 in lengths:
            raise ValueError(
                f"X, y, groups and is_test have lengths {sorted(lengths)}: pass one "
                "entry of each for every window, and at least one window"
            )


Reader = Callable[["Recipe", Path | None, Sequence[str] | None], LabelledWindows]


@dataclass(frozen=True)
class Recipe:
    """One data set under one protocol.

    Parameters
    ----------
    name : str
        Short name, for `get_recipe`.
    title : str
        The data set.
    access : str
        Where the data are, and under which terms.
    layout : str
        The files that `load` expects below ``data_path``.
    protocol : str
        What of this is published and what is a choice of this package.
    n_subjects : int
        Subjects of the whole data set.
    classes : tuple of str
        Classes, in the order of scikit-learn.
    window_seconds : float
        Length of a window.
    read : callable
        ``read(recipe, data_path, subjects)`` gives `LabelledWindows`.
    stride_seconds : float or None
        From one window's start to the next; None: one window at each event.
    band : tuple of float or None
        Pass band of a filter on the continuous signals, Hz.
    montage : str or None
        For `braindecode_samba.load_montage`: channels and their order.  None: those of
        the files, with their own positions.
    sfreq : float
        Sampling rate of the windows, Hz.
    validation : bool
        Whether subjects are kept aside for validation, beside those of the test.
    on_broken : callable, optional
        What readers tell of recordings that can't be used; `load` sets it.
    """

    name: str
    title: str
    access: str
    layout: str
    protocol: str
    n_subjects: int
    classes: tuple[str, ...]
    window_seconds: float
    read: Reader
    stride_seconds: float | None = None
    band: tuple[float, float] | None = None
    montage: str | None = None
    sfreq: float = 128.0
    validation: bool = True
    on_broken: OnBroken | None = None

    @property
    def n_times(self) -> int:
        """Samples of a window."""
        return round(self.window_seconds * self.sfreq)

    @property
    def ch_names(self) -> tuple[str, ...]:
        """Channels in order; ValueError if they come with the files."""
        if self.montage is None:
            raise ValueError(
                f"the channels of {self.name!r} come with its files: take those of "
                'load(...).info["ch_names"]'
            )
        return load_montage(self.montage).names

    def make_info(self) -> mne.Info:
        """Describe the channels of the montage, with positions, at the recipe's rate.

        Returns
        -------
        mne.Info
            Positions in the head frame, metres.
        """
        montage = load_montage(str(self.montage))
        return info_at(montage.names, montage.positions, self.sfreq)

    def load(
        self,
        data_path: DataPath | None = None,
        *,
        subjects: ArrayLike | None = None,
        on_broken: OnBroken | None = None,
    ) -> LabelledWindows:
        """Read the windows into memory, of all subjects or of some.

        Parameters
        ----------
        data_path : str or path-like, optional
            Folder with the files of ``layout``.  MOABB's sets do without: they are
            looked for, and downloaded to, where MOABB keeps its data.
        subjects : array-like of str or int, optional
            Subjects to read; None: all.
        on_broken : callable, optional
            Is told of each recording that can't be used, as a
            `braindecode_samba.pretraining.RecordingError`; it is left out. None: the
            first one is raised. ``broken.append`` makes a list.

        Returns
        -------
        LabelledWindows
            Windows as the recipe says.

        Raises
        ------
        FileNotFoundError
            If files are missing.
        ValueError
            If files are not what the layout says, or a subject is unknown.
        """
        chosen = None if subjects is None else [str(one) for one in np.ravel(subjects)]
        if chosen == []:
            raise ValueError("subjects is empty: name some, or pass None for all")
        folder = None if data_path is None else Path(data_path).resolve()
        recipe = replace(self, on_broken=on_broken)
        windows = self.read(recipe, folder, chosen)
        self._check(windows, chosen)
        return windows

    def _check(self, windows: LabelledWindows, chosen: list[str] | None) -> None:
        if windows.X.shape[2] != self.n_times:
            raise ValueError(
                f"{self.name}: windows have {windows.X.shape[2]} samples instead of "
                f"{self.n_times}"
            )
        if strange := sorted(set(windows.y.tolist()) - set(self.classes)):
            raise ValueError(f"{self.name}: {strange} are none of {self.classes}")
        if missing := sorted(set(chosen or ()) - set(windows.groups.tolist())):
            raise ValueError(f"{self.name} has no windows of the subjects {missing}")


def need_folder(recipe: Recipe, data_path: Path | None) -> Path:
    """Give the folder, or say what should be in it.

    Raises
    ------
    FileNotFoundError
        If there is no such folder.
    ValueError
        If none was named.
    """
    if data_path is None:
        raise ValueError(
            f"{recipe.name!r} reads your own files: pass data_path, a folder with "
            f"{recipe.layout}. {recipe.access}"
        )
    if not data_path.is_dir():
        raise FileNotFoundError(
            f"{data_path} is no folder: pass one with {recipe.layout}"
        )
    return data_path


def cut_recording(
    recipe: Recipe, raw: mne.io.BaseRaw, what: str
) -> NDArray[np.float32]:
    """Filter, resample and cut a continuous recording.

    Parameters
    ----------
    recipe : Recipe
        Whose band, rate, window and stride; the channels of its montage are picked.
    raw : mne.io.BaseRaw
        Recording in memory; it is changed.
    what : str
        What to call it in an error.

    Returns
    -------
    ndarray of float32, shape (n, n_chans, n_times)
        Volts; what is left at the end is dropped, and so are windows that reach into
        stretches annotated as bad.

    Raises
    ------
    ValueError
        If channels are missing, or it is shorter than a window.
    """
    names = list(recipe.ch_names)
    if missing := sorted(set(names) - set(raw.ch_names)):
        raise ValueError(
            f"{what} has no channels {missing}: rename those of the file, as "
            f"{', '.join(names)}"
        )
    raw.pick(names).reorder_channels(names)
    if raw.n_times / raw.info["sfreq"] < recipe.window_seconds:
        raise ValueError(
            f"{what} lasts {raw.n_times / raw.info['sfreq']:g} s, less than a window "
            f"of {recipe.window_seconds:g} s: leave it out"
        )
    if recipe.band is not None:
        raw.filter(*recipe.band, method="iir", verbose="error")
    if raw.info["sfreq"] != recipe.sfreq:
        raw.resample(recipe.sfreq, verbose="error")
    stride = recipe.stride_seconds or recipe.window_seconds
    epochs = mne.make_fixed_length_epochs(
        raw,
        recipe.window_seconds,
        overlap=recipe.window_seconds - stride,
        preload=True,
        verbose="error",
    )
    if not len(epochs):
        raise ValueError(f"annotations call all of {what} bad: leave it out")
    windows = epochs.get_data(copy=False, verbose="error").astype(np.float32)
    if not np.ptp(windows, axis=2).any():
        raise ValueError(f"{what} does not move in any channel: leave it out")
    return windows


def raw_from_microvolts(
    recipe: Recipe, signals: NDArray[Any], sfreq: float
) -> mne.io.RawArray:
    """Make a recording of signals (n_chans, n_times) in the montage's order."""
    info = mne.create_info(list(recipe.ch_names), sfreq, "eeg")
    return mne.io.RawArray(signals * 1e-6, info, verbose="error")


def join_windows(
    recipe: Recipe,
    parts: Sequence[tuple[NDArray[np.float32], Any, str]],
    where: object,
    info: mne.Info | None = None,
) -> LabelledWindows:
    """Join windows of recordings: ``(X, label or labels, subject)`` of each.

    Their channels are those of the recipe's montage, or of ``info``.

    Raises
    ------
    FileNotFoundError
        If there are none where they were looked for.
    """
    if not parts:
        raise FileNotFoundError(
            f"{where} holds no recording of these subjects: expected {recipe.layout}"
        )
    labels = [np.broadcast_to(np.asarray(label, str), len(X)) for X, label, _ in parts]
    groups = [np.full(len(X), subject) for X, _, subject in parts]
    return LabelledWindows(
        np.concatenate([X for X, _, _ in parts]),
        np.concatenate(labels),
        np.concatenate(groups),
        recipe.make_info() if info is None else info,
    )
