"""Recordings on disk: the files of a window store.

A store is a folder.  Each recording is one ``.npy`` file of float16, shape (times,
channels), in robust deviations of that recording, with a ``.json`` file that describes
it; ``index.json`` is written last and makes the folder a store.  Windows are stretches
of a recording, so that windows which overlap cost no space twice, and reading one is
reading one piece of a file.  Reading windows is the matter of `store`, and what
recordings go through before of `corpora`.
"""

import contextlib
import dataclasses
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from braindecode_samba._paths import whole_file
from braindecode_samba.pretraining.sealed import read_sealed, seal

STORED = np.dtype("<f2")
_INDEX = "index.json"
_FORMAT = 1


@dataclasses.dataclass(frozen=True)
class StoredRecording:
    """What a store knows about one recording.

    Parameters
    ----------
    key : str
        Name of its files: a digest of the recording's origin and of the settings.
    source : str
        Where it came from, for people.
    subject : str
        Whose it is.
    ch_names : tuple of str
        Channels, as the recording calls them.
    positions : tuple of (float, float, float)
        One for each channel: head frame, metres.
    scale : float
        One robust deviation of the recording, volts.
    n_samples : int
        Samples on disk; 0 if the recording gave no window.
    n_bytes : int
        Size of the file.
    runs : tuple of (int, int)
        First sample and number of windows of each run of windows one stride apart.
    dropped : dict
        How many windows were left out: ``"flat"``, ``"amplitude"``, ``"annotated"``;
        ``"short"`` is 1 for a recording shorter than a window.
    dropped_channels : tuple of str
        Channels left out because nobody knows where they lie.
    """

    key: str
    source: str
    subject: str
    ch_names: tuple[str, ...]
    positions: tuple[tuple[float, float, float], ...]
    scale: float
    n_samples: int
    n_bytes: int
    runs: tuple[tuple[int, int], ...]
    dropped: dict[str, int]
    dropped_channels: tuple[str, ...]

    @property
    def n_windows(self) -> int:
        """How many windows it gives."""
        return sum(count for _, count in self.runs)


def write_recording(
    folder: Path, recording: StoredRecording, volts: NDArray[np.floating[Any]]
) -> StoredRecording:
    """Write a recording's signals and then its description.

    Either file is whole or not there, and the description comes last: where it lies,
    the recording is complete.

    Parameters
    ----------
    folder : Path
        The store.
    recording : StoredRecording
        Its description; the two sizes are filled in here.
    volts : ndarray, shape (channels, times)
        Signals; not read if the recording gave no window.

    Returns
    -------
    StoredRecording
        The description as it was written.

    Raises
    ------
    OSError
        If the disk is full or can't be written.
    """
    n_samples = n_bytes = 0
    if recording.n_windows:
        # float16 ends at 65504; anything that far out is no EEG
        limit = np.finfo(STORED).max
        units = np.clip(volts / recording.scale, -limit, limit)
        with _whole_file(folder / f"{recording.key}.npy") as file:
            np.save(file, np.ascontiguousarray(units.T, dtype=STORED))
            n_samples, n_bytes = volts.shape[1], file.tell()
    done = dataclasses.replace(recording, n_samples=n_samples, n_bytes=n_bytes)
    _write_json(folder / f"{recording.key}.json", dataclasses.asdict(done))
    return done


def finished_recording(folder: Path, key: str) -> StoredRecording | None:
    """Look for a recording that an earlier run has written whole.

    Parameters
    ----------
    folder : Path
        The store, finished or not.
    key : str
        Name of its files.

    Returns
    -------
    StoredRecording or None
        Its description; None if it must be written.
    """
    description = folder / f"{key}.json"
    if not description.exists():
        return None
    try:
        recording = _from_json(read_sealed(description, "it is written again"))
    except ValueError:
        return None
    if recording.n_windows:
        signals = folder / f"{key}.npy"
        if not signals.exists() or signals.stat().st_size != recording.n_bytes:
            return None
    return recording


def write_index(
    folder: Path, recordings: Sequence[StoredRecording], settings: dict[str, Any]
) -> None:
    """Make the folder a store; an earlier index is replaced.

    Parameters
    ----------
    folder : Path
        Where `write_recording` has put every recording.
    recordings : sequence of StoredRecording
        In the order in which their windows are counted.
    settings : dict
        How the windows were made; ``"sfreq"`` (Hz), ``"n_times"`` and ``"stride"``
        (samples) at least.

    Raises
    ------
    OSError
        If the disk is full or can't be written.
    """
    # caps repeat themselves over thousands of recordings
    montages = list(dict.fromkeys((r.ch_names, r.positions) for r in recordings))
    numbers = {montage: number for number, montage in enumerate(montages)}
    entries = []
    for recording in recordings:
        entry = dataclasses.asdict(recording)
        del entry["ch_names"], entry["positions"]
        entry["montage"] = numbers[recording.ch_names, recording.positions]
        entries.append(entry)
    content = {
        "format": _FORMAT,
        "settings": settings,
        "montages": [{"ch_names": n, "positions": p} for n, p in montages],
        "recordings": entries,
    }
    _write_json(folder / _INDEX, content)


def read_index(folder: Path) -> tuple[list[StoredRecording], dict[str, Any]]:
    """Read what `write_index` has written.

    Returns
    -------
    list of StoredRecording, dict
        Recordings and settings.

    Raises
    ------
    ValueError
        If the folder is no store, or no finished one.
    """
    path = folder / _INDEX
    if not path.exists():
        if any(folder.glob("*.json")):
            raise ValueError(
                f"writing the store {folder} was interrupted: call write_windows again "
                "with the same arguments, and it goes on where it stopped"
            )
        raise ValueError(f"{folder} is no window store: make one with write_windows")
    again = "remove it, and call write_windows again with the same arguments"
    content = read_sealed(path, again)
    if content.get("format") != _FORMAT:
        raise ValueError(
            f"{path} has format {content.get('format')}, this version reads {_FORMAT}: "
            "write the store again"
        )
    # shared between the recordings: a copy for each would grow with the store
    montages = [
        {
            "ch_names": tuple(montage["ch_names"]),
            "positions": tuple(map(tuple, montage["positions"])),
        }
        for montage in content["montages"]
    ]
    recordings = []
    for entry in content["recordings"]:
        cap = montages[entry.pop("montage")]
        recordings.append(dataclasses.replace(_from_json(entry), **cap))
    return recordings, content["settings"]


def _from_json(entry: dict[str, Any]) -> StoredRecording:
    """Turn lists back into tuples; an entry of the index leaves the montage open."""
    for name in ("positions", "runs"):
        entry[name] = tuple(map(tuple, entry.get(name, ())))
    for name in ("ch_names", "dropped_channels"):
        entry[name] = tuple(entry.get(name, ()))
    return StoredRecording(**entry)


def _write_json(path: Path, content: dict[str, Any]) -> None:
    with _whole_file(path) as file:
        file.write(seal(content))


@contextlib.contextmanager
def _whole_file(path: Path) -> Iterator[BinaryIO]:
    """Open a file by `whole_file`, and say how to go on if it can't be written."""
    try:
        with whole_file(path) as file:
            yield file
    except OSError as error:
        raise OSError(
            error.errno,
            f"{error.strerror}; write_windows, called again, keeps what it had "
            "finished",
        ) from error
