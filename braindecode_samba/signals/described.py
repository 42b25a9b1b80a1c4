"""Data that describe themselves: MNE's Epochs and braindecode's windows.

They bring channels, rate and, where somebody wrote it down, who was recorded and when.
What is made of that is decided in `braindecode_samba.signals.inputs`.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple

import mne
import numpy as np
import pandas as pd
from braindecode.datasets import (
    BaseConcatDataset,
    EEGWindowsDataset,
    RawDataset,
    WindowsDataset,
)
from numpy.typing import NDArray

from braindecode_samba.signals.broken import recording_named

Channels = Sequence[Mapping[str, Any]]
# what tells recordings apart, the best first: a cap stays on for a session, so that its
# runs are one recording
_RECORDING_COLUMNS = (("recording",), ("subject", "session"), ("subject",), ("run",))
_PERSON_COLUMNS = ("subject", "participant", "participant_id")
ACCEPTED = (
    "pass an array of shape (n, channels, times), mne.Epochs, a list of mne.Epochs, or "
    "windows of braindecode (WindowsDataset, EEGWindowsDataset, or a BaseConcatDataset "
    "of these)"
)
EMPTY = "X holds no windows: pass at least one"
_CUT_FIRST = (
    "X is a continuous recording and no windows: cut it first, for example by "
    "mne.make_fixed_length_epochs(raw, duration=2.0), mne.Epochs(raw, events), or "
    "braindecode.preprocessing.create_fixed_length_windows(dataset)"
)


class Recording(NamedTuple):
    """Windows of one recording, (n, channels, times), as they come."""

    x: NDArray[Any]
    y: list[Any] | None
    channels: Channels
    sfreq: float
    bads: tuple[str, ...]
    groups: list[Any] | None  # which recording each window is of
    subjects: list[Any] | None  # and which person
    band: tuple[float, float]  # edges of what filters left, Hz


def read_recordings(X: Any, exclude: str | Collection[str]) -> list[Recording] | None:
    """Read everything that describes its own channels; None for the rest.

    Parameters
    ----------
    X : object
        What a user handed over.
    exclude : "bads" or collection of str
        Channels to leave out, as MNE's picks.

    Raises
    ------
    ValueError, TypeError
        If X can't be used as windows.
    """
    if isinstance(X, mne.io.BaseRaw | RawDataset):
        raise TypeError(_CUT_FIRST)
    if isinstance(X, mne.BaseEpochs):
        return [_read_epochs(X, exclude)]
    if isinstance(X, list | tuple) and X:
        if all(isinstance(item, mne.BaseEpochs) for item in X):
            return _name_apart([_read_epochs(item, exclude) for item in X])
    if isinstance(X, WindowsDataset | EEGWindowsDataset):
        return [_read_dataset(X, exclude)]
    if isinstance(X, BaseConcatDataset):
        return _name_apart(_read_concatenation(X, exclude))
    return None


def describes_itself(X: Any) -> bool:
    """Whether windows bring their own channels and rate."""
    if isinstance(X, list | tuple) and X:
        return all(isinstance(item, mne.BaseEpochs) for item in X)
    kinds = mne.BaseEpochs | WindowsDataset | EEGWindowsDataset | BaseConcatDataset
    return isinstance(X, kinds)


def _name_apart(recordings: list[Recording]) -> list[Recording]:
    """Call each item of a list a recording where nobody says more.

    Items of one window each say nothing: scikit-learn cuts Epochs into these.
    """
    if all(len(recording.x) == 1 for recording in recordings):
        return recordings
    return [
        recording._replace(groups=[f"item {i}"] * len(recording.x))
        if recording.groups is None
        else recording
        for i, recording in enumerate(recordings)
    ]


def _read_concatenation(
    X: BaseConcatDataset[Any], exclude: str | Collection[str]
) -> list[Recording]:
    recordings = []
    for dataset in X.datasets:
        if isinstance(dataset, RawDataset):
            raise TypeError(_CUT_FIRST)
        if not isinstance(dataset, WindowsDataset | EEGWindowsDataset):
            raise TypeError(f"X holds a {type(dataset).__name__}: {ACCEPTED}")
        if len(dataset):
            recording = _read_dataset(dataset, exclude)
            if X.target_transform is not None:
                y = [X.target_transform(target) for target in recording.y or ()]
                recording = recording._replace(y=y)
            recordings.append(recording)
    return recordings


def _read_epochs(epochs: mne.BaseEpochs, exclude: str | Collection[str]) -> Recording:
    info = epochs.info
    rows = eeg_rows(info.get_channel_types())
    x = data_of(epochs, rows)
    channels = [info["chs"][row] for row in rows]
    table = epochs.metadata
    groups = None if table is None else _joined(table, _RECORDING_COLUMNS)
    people = [(column,) for column in _PERSON_COLUMNS]
    subjects = None if table is None else _joined(table, people)
    recording = Recording(
        x, None, channels, info["sfreq"], (), groups, subjects, band_of(info)
    )
    return _without(recording, info["bads"], exclude)


def band_of(info: mne.Info) -> tuple[float, float]:
    """Edges in Hz of what filters have left, as far as MNE knows."""
    return float(info["highpass"] or 0), float(info["lowpass"] or info["sfreq"] / 2)


def data_of(epochs: mne.BaseEpochs, rows: list[int]) -> NDArray[Any]:
    """Signals of some channels, (n, channels, times).

    Raises
    ------
    ValueError
        If bad epochs are only now left out, so that nobody could have counted them.
    """
    before = len(epochs.events)
    with recording_named(str(epochs.filename or "X")):
        x = epochs.get_data(picks=rows, copy=False, verbose="error")
    if len(x) < before:
        raise ValueError(
            f"X are Epochs of which {before - len(x)} of {before} are bad and not "
            "dropped yet: call epochs.drop_bad() before you take labels or groups"
        )
    return x


def _joined(
    table: pd.DataFrame, choices: Sequence[tuple[str, ...]]
) -> list[Any] | None:
    """Values of the first columns that are there, joined; None without any."""
    for columns in choices:
        if all(column in table for column in columns):
            if len(columns) == 1:
                return table[columns[0]].tolist()
            told = [table[column] for column in columns]
            parts = [one.astype(str).where(one.notna()) for one in told]
            return parts[0].str.cat(parts[1:], sep="/").tolist()
    return None


def _without(
    recording: Recording, bads: Sequence[str], exclude: str | Collection[str]
) -> Recording:
    """Leave channels out."""
    unwanted = set(bads) if isinstance(exclude, str) else set(exclude)
    names = [channel["ch_name"] for channel in recording.channels]
    kept = [row for row, name in enumerate(names) if name not in unwanted]
    if len(kept) == len(names):
        return recording
    if not kept:
        raise ValueError(
            f"all {len(names)} EEG channels are marked as bad or excluded: pass "
            "exclude=() to keep them, or repair the recording"
        )
    return recording._replace(
        x=recording.x[:, kept],
        channels=[recording.channels[row] for row in kept],
        bads=tuple(name for name in names if name in unwanted),
    )


def eeg_rows(kinds: Sequence[str]) -> list[int]:
    """Tell which channels are EEG, from the types of all.

    Parameters
    ----------
    kinds : sequence of str
        Types of channels, as ``info.get_channel_types()`` gives them.

    Returns
    -------
    list of int
        Rows of type "eeg"; all where every channel is "misc", as MNE makes them when
        nobody declares anything.

    Raises
    ------
    ValueError
        If there is none.
    """
    rows = [row for row, kind in enumerate(kinds) if kind == "eeg"]
    if not rows and set(kinds) == {"misc"}:
        return list(range(len(kinds)))
    if not rows:
        raise ValueError(
            f"X has channels of type {', '.join(sorted(set(kinds)))} and none of type "
            'eeg: declare them by set_channel_types({"Cz": "eeg", ...})'
        )
    return rows


def _read_dataset(
    dataset: WindowsDataset | EEGWindowsDataset, exclude: str | Collection[str]
) -> Recording:
    items = [dataset[index] for index in range(len(dataset))]
    if not items:
        raise ValueError(EMPTY)
    lengths = sorted({item[0].shape[-1] for item in items})
    if len(lengths) > 1:
        raise ValueError(say_they_differ(lengths, "samples"))
    source = dataset.raw if isinstance(dataset, EEGWindowsDataset) else dataset.windows
    channels, kinds = source.info["chs"], source.info.get_channel_types()
    if dataset.targets_from == "channels":
        # these windows come without their misc channels, which are the targets
        kept = [row for row, kind in enumerate(kinds) if kind != "misc"]
        channels, kinds = [channels[i] for i in kept], [kinds[i] for i in kept]
    if items[0][0].shape[0] != len(channels):
        raise ValueError(
            f"windows have {items[0][0].shape[0]} channels and their recording "
            f"{len(channels)}: a transform may not add or drop any"
        )
    rows = eeg_rows(kinds)
    groups, subjects = _described(dataset.description, len(items))
    recording = Recording(
        np.stack([item[0][rows] for item in items]),
        [item[1] for item in items],
        [channels[row] for row in rows],
        source.info["sfreq"],
        (),
        groups,
        subjects,
        band_of(source.info),
    )
    return _without(recording, source.info["bads"], exclude)


def _described(
    description: pd.Series | None, n: int
) -> tuple[list[Any] | None, list[Any] | None]:
    if description is None:
        return None, None
    table = pd.DataFrame([description] * n)
    people = [(column,) for column in _PERSON_COLUMNS]
    return _joined(table, _RECORDING_COLUMNS), _joined(table, people)


def say_they_differ(values: Sequence[float], unit: str) -> str:
    """Refuse windows that are not alike."""
    return (
        f"X holds windows of {' and '.join(map(str, values))} {unit}: cut and resample "
        "all recordings alike"
    )
