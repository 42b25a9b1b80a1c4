"""Corpora: recordings cut into windows once, and several data sets in one run.

`write_windows` puts the windows of many recordings into a store on disk; `Corpus` mixes
stores, or other data sets of windows.  Recordings are opened in `sources` and cut in
`recordings`, the files of a store are in `shards`, reading them in `store`.
"""

import contextlib
import dataclasses
import os
import shutil
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, get_args

import mne
import numpy as np
from braindecode.datasets import BaseConcatDataset, RawDataset
from numpy.typing import NDArray
from torch.utils.data import Dataset
from tqdm import tqdm

from braindecode_samba._paths import remove_leftovers
from braindecode_samba.pretraining.batches import window_lengths
from braindecode_samba.pretraining.recordings import (
    CuttingSettings,
    check_recording,
    cut_recording,
)
from braindecode_samba.pretraining.shards import (
    StoredRecording,
    finished_recording,
    read_index,
    write_index,
    write_recording,
)
from braindecode_samba.pretraining.sources import (
    Recording,
    RecordingSource,
)
from braindecode_samba.pretraining.store import WindowStore
from braindecode_samba.signals.broken import RecordingError

Mixing = Literal["concat", "balanced", "truncated"]

# windows of different sources never share a number, however the sources grow
_INDEX_STEP = 2**40
# streams of random numbers
_SHUFFLE, _DRAW = 1, 2


def write_windows(
    recordings: Iterable[Recording],
    folder: str | os.PathLike[str],
    *,
    window_seconds: float = CuttingSettings.window_seconds,
    stride_seconds: float | None = None,
    sfreq: float = CuttingSettings.sfreq,
    l_freq: float | None = CuttingSettings.l_freq,
    h_freq: float | None = CuttingSettings.h_freq,
    reject: float | None = None,
    subjects: Sequence[str] | None = None,
    unknown: Literal["raise", "drop"] = "raise",
    on_broken: Callable[[RecordingError], object] | None = None,
) -> WindowStore:
    """Filter, resample and cut recordings, once, into a store on disk.

    One recording is in memory at a time.  Each is written whole or not at all, and the
    index last: after an interruption the same call goes on where it stopped, and with
    more recordings it adds those.  A progress bar shows on terminals.

    EEG channels are kept, except those marked bad.  Windows that overlap an annotation
    that begins with "BAD" are left out, and so are those in which no channel spans 0.1
    robust deviations of the recording; how many is written down.

    Parameters
    ----------
    recordings : iterable of path, mne.io.BaseRaw or RawDataset
        Files that `mne.io.read_raw` reads, or recordings, of any montages and rates; a
        braindecode data set of recordings as well.  They are not changed.
    folder : str or path-like
        The store; made if it isn't there.
    window_seconds : float
        Length of a window.
    stride_seconds : float, optional
        From one window to the next; the length of a window by default.
    sfreq : float
        Rate of the windows, Hz.
    l_freq, h_freq : float or None
        Band that is kept, Hz; None leaves that side open.
    reject : float, optional
        Leave out windows in which a channel spans more than this, peak to peak, in
        robust deviations of the recording; by default none for that.
    subjects : sequence of str, optional
        Whose recordings these are, one for each; by default what braindecode's
        description says under ``"subject"``.
    unknown : {"raise", "drop"}
        What happens to EEG channels whose place nobody knows.
    on_broken : callable, optional
        Called with the error of each recording that can't be read or used, which is
        left out; by default the first such error is raised.

    Returns
    -------
    WindowStore
        The windows, opened.

    Raises
    ------
    RecordingError
        A ValueError, with the name of the recording: if it can't be read, has no EEG
        channel with a position, holds NaN or has a rate too low for the band.
    ValueError
        If there are no recordings or no windows in them, if nobody says whose one is,
        one is there twice, or the folder holds a store made with other settings.
    TypeError
        If a recording is of another kind.
    FileNotFoundError
        If a file isn't there.
    OSError
        If the disk is full; what was finished is kept.
    """
    settings = CuttingSettings(
        window_seconds=window_seconds,
        stride_seconds=stride_seconds,
        sfreq=sfreq,
        l_freq=l_freq,
        h_freq=h_freq,
        reject=reject,
        unknown=unknown,
    )
    sources = _list_sources(recordings, subjects)
    keys = [source.key(dataclasses.asdict(settings)) for source in sources]
    _refuse_twice(sources, keys)
    goal = Path(folder)
    _refuse_other_settings(goal, settings)
    done = {key: finished_recording(goal, key) for key in keys}
    n_bytes, todo = 0, []
    for source, key in zip(sources, keys, strict=True):
        if done[key] is None:
            with _broken_goes_to(on_broken):
                n_bytes += check_recording(source, settings).n_bytes
                todo.append((source, key))
    goal.mkdir(parents=True, exist_ok=True)
    remove_leftovers(goal)
    _refuse_full_disk(goal, n_bytes)
    for source, key in tqdm(todo, desc="windows", unit="recording", disable=None):
        with _broken_goes_to(on_broken):
            done[key] = write_recording(goal, *cut_recording(source, key, settings))
    written = [recording for key in keys if (recording := done[key]) is not None]
    _refuse_nothing(written)
    write_index(goal, written, settings.to_dict())
    return WindowStore(goal)


@contextlib.contextmanager
def _broken_goes_to(
    on_broken: Callable[[RecordingError], object] | None,
) -> Iterator[None]:
    try:
        yield
    except RecordingError as error:
        if on_broken is None:
            raise
        on_broken(error)


def _list_sources(
    recordings: Iterable[Recording], subjects: Sequence[str] | None
) -> list[RecordingSource]:
    if isinstance(recordings, str | os.PathLike | mne.io.BaseRaw | RawDataset):
        raise TypeError("recordings is a single one: pass a list of recordings")
    if isinstance(recordings, BaseConcatDataset):
        recordings = recordings.datasets
    listed = list(recordings)
    if not listed:
        raise ValueError("there are no recordings: pass at least one")
    if subjects is None:
        subjects = [None] * len(listed)  # type: ignore[list-item]
    elif isinstance(subjects, str) or len(subjects) != len(listed):
        raise ValueError(
            f"subjects names {len(subjects)} for {len(listed)} recordings: pass a list "
            "with one name for each"
        )
    pairs = zip(listed, subjects, strict=True)
    return [RecordingSource(one, whose, row) for row, (one, whose) in enumerate(pairs)]


def _refuse_twice(sources: Sequence[RecordingSource], keys: Sequence[str]) -> None:
    counts = Counter(keys)
    pairs = zip(sources, keys, strict=True)
    twice = sorted({source.name for source, key in pairs if counts[key] > 1})
    if twice:
        raise ValueError(f"recordings are there twice: {', '.join(twice)}")


def _refuse_other_settings(folder: Path, settings: CuttingSettings) -> None:
    if not (folder / "index.json").exists():
        return
    there = read_index(folder)[1]
    if there != settings.to_dict():
        raise ValueError(
            f"{folder} holds windows made with {there}: pass the same settings, or "
            "another folder"
        )


def _refuse_full_disk(folder: Path, n_bytes: int) -> None:
    free = shutil.disk_usage(folder).free
    if n_bytes > free:
        raise OSError(
            f"the windows take about {n_bytes / 1e9:.3g} GB and {folder} has "
            f"{free / 1e9:.3g} GB left: make room or choose another folder"
        )


def _refuse_nothing(written: Sequence[StoredRecording]) -> None:
    if any(recording.n_windows for recording in written):
        return
    counts: Counter[str] = Counter()
    for recording in written:
        counts.update(recording.dropped)
    raise ValueError(
        f"no window is left of {len(written)} recordings: {counts['flat']} windows "
        f"were flat, {counts['amplitude']} too large, {counts['annotated']} marked "
        f"bad, and {counts['short']} recordings shorter than a window"
    )


class Corpus(Dataset[dict[str, Any]]):
    """Several data sets of windows in one run.

    How often a source is drawn is decided by `mixing`, for an epoch over sources of
    n_1, n_2, ... windows:

    - ``"concat"``: every window once, so that sources weigh by their size;
    - ``"balanced"``: as many windows as that, the same number from each source;
    - ``"truncated"``: from each source as many as the smallest has.

    A source that gives at most half of its windows gives others in the next epoch; one
    that gives more than it has repeats a window only when all were used.  The modes are
    those of the authors' loader.  There windows are not shuffled inside a
    source, every epoch begins with the first ones, every worker repeats the same, and
    "truncated" ends early; here an order is a function of seed and epoch, and workers
    share it.

    Parameters
    ----------
    sources : mapping or sequence of torch Dataset
        Windows, see `braindecode_samba.pretraining.batches`; each source has one length
        of windows, sources may differ.  A mapping gives them names.
    mixing : {"concat", "balanced", "truncated"}
        How they are mixed.

    Attributes
    ----------
    names : tuple of str
        Of the sources.
    sizes : tuple of int
        Windows of each.

    Raises
    ------
    ValueError
        If there are no sources, one has no windows or several lengths, or the mixing is
        unknown.
    """

    def __init__(
        self,
        sources: Mapping[str, Dataset[Any]] | Sequence[Dataset[Any]],
        mixing: Mixing = "concat",
    ) -> None:
        if not isinstance(sources, Mapping):
            sources = {str(number): source for number, source in enumerate(sources)}
        if mixing not in get_args(Mixing):
            raise ValueError(f"mixing is one of {get_args(Mixing)}, not {mixing!r}")
        if not sources:
            raise ValueError("there are no data sets to mix: pass at least one")
        self.mixing = mixing
        self.names = tuple(sources)
        self.sources = tuple(sources.values())
        self._lengths = [_length_of(name, one) for name, one in sources.items()]
        self.sizes = tuple(len(one) for one in self.sources)  # type: ignore[arg-type]
        self._ends = np.cumsum(self.sizes)

    @property
    def lengths(self) -> NDArray[np.int64]:
        """Samples of each window, shape (n_windows,)."""
        return np.repeat(np.array(self._lengths), self.sizes)

    @property
    def n_drawn(self) -> tuple[int, ...]:
        """Windows that an epoch takes from each source."""
        total, n_sources = sum(self.sizes), len(self.sizes)
        if self.mixing == "concat":
            return self.sizes
        if self.mixing == "truncated":
            return (min(self.sizes),) * n_sources
        ends = [total * number // n_sources for number in range(n_sources + 1)]
        return tuple(np.diff(ends).tolist())

    def __len__(self) -> int:
        """Count the windows of all sources."""
        return int(self._ends[-1])

    def __getitem__(self, row: int) -> dict[str, Any]:
        """Give one window; ``"index"`` is its number over all sources."""
        row = row + len(self) if row < 0 else row
        if not 0 <= row < len(self):
            raise IndexError(f"window {row} of {len(self)}")
        number = int(np.searchsorted(self._ends, row, side="right"))
        place = row - int(self._ends[number]) + self.sizes[number]
        item = self.sources[number][place]
        return item | {"index": number * _INDEX_STEP + int(item["index"])}

    def source_of(self, index: int) -> str:
        """Name the source of a window by its ``"index"``."""
        return self.names[int(index) // _INDEX_STEP]

    def order(self, epoch: int, seed: int) -> NDArray[np.int64]:
        """Rows to visit in an epoch, in random order, as many in every epoch.

        Parameters
        ----------
        epoch : int
            Number of the epoch.
        seed : int
            Seed of the order.

        Returns
        -------
        ndarray of int64
            Rows of this data set; with ``"balanced"`` some more than once.
        """
        firsts = self._ends - np.array(self.sizes)
        plan = enumerate(zip(firsts, self.sizes, self.n_drawn, strict=True))
        rows = np.concatenate(
            [
                first + _draw(size, n_drawn, epoch, (seed, number))
                for number, (first, size, n_drawn) in plan
            ]
        )
        return np.random.default_rng((_SHUFFLE, seed, epoch)).permutation(rows)

    def set_epoch(self, epoch: int) -> None:
        """Tell sources that change their windows which epoch comes next."""
        for source in self.sources:
            if hasattr(source, "set_epoch"):
                source.set_epoch(epoch)


def _length_of(name: str, source: Dataset[Any]) -> int:
    lengths = np.unique(window_lengths(source))
    if len(lengths) != 1:
        raise ValueError(
            f"data set {name} has windows of {lengths.tolist()} samples: pass data "
            "sets with windows of one length, several for several lengths"
        )
    return int(lengths[0])


def _draw(
    size: int, n_drawn: int, epoch: int, seed: tuple[int, int]
) -> NDArray[np.int64]:
    """Rows of one source in one epoch, none again before all were used.

    A source that gives a part of its windows is shuffled once for as many epochs as
    have different parts; one that gives more than all is shuffled again for each time.
    """
    n_parts = max(1, size // n_drawn)
    if n_parts > 1:
        deal, part = divmod(epoch, n_parts)
        rows = np.random.default_rng((_DRAW, *seed, deal)).permutation(size)
        return rows[part * n_drawn : (part + 1) * n_drawn]
    n_times = -(-n_drawn // size)
    rng = np.random.default_rng((_DRAW, *seed, epoch))
    return np.concatenate([rng.permutation(size) for _ in range(n_times)])[:n_drawn]
