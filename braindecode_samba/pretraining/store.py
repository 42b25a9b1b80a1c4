"""The data set that reads windows from disk.

Files and their format are in `shards`; making them is the matter of `corpora`.
"""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import Dataset

from braindecode_samba.pretraining.shards import STORED, StoredRecording, read_index

# a process may hold some 65,000 maps under Linux, and other libraries need theirs
_MOST_MAPS = 8192


class WindowStore(Dataset[dict[str, Any]]):
    """Windows that `write_windows` has put on disk.

    Files are mapped into memory, never loaded: what a process holds for itself does
    not grow with the signals, and several workers share the system's cache.  The
    signals are those of the recordings but for float16, which changes a value by 1 part
    in 2048 at most.  On two busy cores windows of 64 channels and 256 samples came at
    1,900 a second in random order, and at 220 from the same windows saved by
    braindecode.

    Parameters
    ----------
    folder : str or path-like
        The store.
    subjects : sequence of str, optional
        Whose windows to take; everybody's by default.  The number of a window
        (``"index"``) stays what it is in the whole store.

    Attributes
    ----------
    folder : Path
        The store.
    recordings : tuple of StoredRecording
        Those taken, with what was dropped of each.
    settings : dict
        How the windows were made.
    sfreq : float
        Hz.
    n_times : int
        Samples of each window.

    Raises
    ------
    ValueError
        If the folder is no finished store, a file is missing or has another size than
        it had when it was written, or a subject is unknown.

    See Also
    --------
    braindecode_samba.pretraining.write_windows : Makes a store.
    """

    def __init__(
        self, folder: str | os.PathLike[str], subjects: Sequence[str] | None = None
    ) -> None:
        self.folder = Path(folder)
        recordings, self.settings = read_index(self.folder)
        self.sfreq = float(self.settings["sfreq"])
        self.n_times = int(self.settings["n_times"])
        first = np.cumsum([0] + [recording.n_windows for recording in recordings])
        taken = _rows_of(recordings, subjects)
        self.recordings = tuple(recordings[row] for row in taken)
        for recording in self.recordings:
            self._check_file(recording)
        self._places = _places_of(self.recordings)
        self._runs = _table_of_runs(self.recordings, first[taken])
        self._ends = np.cumsum(self._runs["count"])
        self._maps: dict[int, NDArray[np.float16]] = {}

    @property
    def subjects(self) -> tuple[str, ...]:
        """Whose windows these are, each once, in the order of the recordings."""
        with_windows = (r.subject for r in self.recordings if r.n_windows)
        return tuple(dict.fromkeys(with_windows))

    @property
    def lengths(self) -> NDArray[np.int64]:
        """Samples of each window, shape (n_windows,)."""
        return np.broadcast_to(np.int64(self.n_times), len(self))

    def __len__(self) -> int:
        """Count the windows."""
        return int(self._ends[-1]) if len(self._ends) else 0

    def __getitem__(self, row: int) -> dict[str, Any]:
        """Read one window.

        Returns
        -------
        dict
            ``"x"``, float32 (channels, times), volts; ``"pos"``, float32 (channels, 3),
            head frame, metres; ``"index"``, its number in the whole store.
        """
        row = row + len(self) if row < 0 else row
        if not 0 <= row < len(self):
            raise IndexError(f"window {row} of {len(self)}")
        run = int(np.searchsorted(self._ends, row, side="right"))
        place = row - int(self._ends[run] - self._runs["count"][run])
        number = int(self._runs["recording"][run])
        start = int(self._runs["start"][run]) + place * int(self.settings["stride"])
        recording = self.recordings[number]
        units = self._signals(number)[start : start + self.n_times].T
        volts = units.astype(np.float32, order="C") * np.float32(recording.scale)
        if not np.isfinite(volts).all():
            raise ValueError(
                f"{self.folder / recording.key}.npy is damaged: remove it, and call "
                "write_windows again with the same arguments"
            )
        return {
            "x": torch.from_numpy(volts),
            "pos": self._places[number].clone(),
            "index": int(self._runs["index"][run]) + place,
        }

    def __getstate__(self) -> dict[str, Any]:
        """Leave the maps out: another process opens its own."""
        return self.__dict__ | {"_maps": {}}

    def _signals(self, number: int) -> NDArray[np.float16]:
        signals = self._maps.get(number)
        if signals is None:
            if len(self._maps) >= _MOST_MAPS:
                self._maps.pop(next(iter(self._maps)))
            recording = self.recordings[number]
            shape = (recording.n_samples, len(recording.ch_names))
            header = recording.n_bytes - shape[0] * shape[1] * STORED.itemsize
            path = self.folder / f"{recording.key}.npy"
            signals = np.memmap(path, STORED, "r", offset=header, shape=shape)
            self._maps[number] = signals
        return signals

    def _check_file(self, recording: StoredRecording) -> None:
        if not recording.n_windows:
            return
        path = self.folder / f"{recording.key}.npy"
        size = path.stat().st_size if path.exists() else 0
        if size != recording.n_bytes:
            raise ValueError(
                f"{path} has {size} bytes instead of {recording.n_bytes}: call "
                "write_windows again with the same arguments, which restores it"
            )


def _rows_of(
    recordings: Sequence[StoredRecording], subjects: Sequence[str] | None
) -> list[int]:
    if subjects is None:
        return list(range(len(recordings)))
    if isinstance(subjects, str):
        raise ValueError(f"subjects={subjects!r} is one text: pass a list of str")
    known = {recording.subject for recording in recordings}
    if strangers := [subject for subject in subjects if subject not in known]:
        raise ValueError(
            f"the store has no subjects {strangers}; it has {sorted(known)}"
        )
    chosen = set(subjects)
    return [row for row, r in enumerate(recordings) if r.subject in chosen]


def _places_of(recordings: Sequence[StoredRecording]) -> list[torch.Tensor]:
    """Positions of each recording; recordings of one cap share them."""
    places: dict[tuple[tuple[float, float, float], ...], torch.Tensor] = {}
    for recording in recordings:
        if recording.positions not in places:
            place = torch.tensor(recording.positions, dtype=torch.float32)
            places[recording.positions] = place
    return [places[recording.positions] for recording in recordings]


def _table_of_runs(
    recordings: Sequence[StoredRecording], first: NDArray[np.int64]
) -> dict[str, NDArray[np.int64]]:
    """Columns over all runs; ``index`` numbers first windows in the whole store."""
    rows = []
    for number, recording in enumerate(recordings):
        index = int(first[number])
        for start, count in recording.runs:
            rows.append((number, start, count, index))
            index += count
    columns = np.array(rows, dtype=np.int64).reshape(-1, 4).T
    return dict(
        zip(("recording", "start", "count", "index"), columns.copy(), strict=True)
    )
