"""Recordings that can't be used, by their names.

Among thousands of files one is damaged, and what reads it says so without its name.
"""

import contextlib
import struct
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import mne

# length of a tag's data, and where the next tag is
_TAG = struct.Struct(">8xii")


class RecordingError(ValueError):
    """A recording that can't be read, or has nothing that can be used; named."""


OnBroken = Callable[[RecordingError], object]


@contextlib.contextmanager
def recording_named(place: str, on_broken: OnBroken | None = None) -> Iterator[None]:
    """Name a recording in whatever is raised while it is read.

    Parameters
    ----------
    place : str
        Path of the recording, or what else tells it apart.
    on_broken : callable, optional
        Is told of a recording that can't be used, which is then left out.

    Raises
    ------
    RecordingError
        If it can't be used and nobody is to be told.
    """
    try:
        yield
    except MemoryError:
        raise
    except Exception as error:  # damaged files fail in as many ways as there are
        told = " ".join(str(error).split())
        if isinstance(error, RecordingError) or place in told:
            broken = RecordingError(told)
        else:
            reason = told or type(error).__name__
            broken = RecordingError(f"{place} can't be read ({reason})")
        if on_broken is None:
            raise broken from error
        on_broken(broken)


def name_of(raw: mne.io.BaseRaw) -> str:
    """Path of a recording, where it is on disk."""
    files = (str(file) for file in raw.filenames if file is not None)
    return next(files, "the recording")


def open_recording(path: Path) -> mne.io.BaseRaw:
    """Open a file of any format that MNE reads; its signals stay on disk.

    Parameters
    ----------
    path : pathlib.Path
        The file, or folder where a format is one.

    Raises
    ------
    RecordingError
        If it can't be read.
    """
    with recording_named(str(path)):
        if str(path).endswith(".fif"):
            _refuse_endless(path)
        raw = mne.io.read_raw(path, verbose="error")
        if path.suffix.lower() in (".edf", ".bdf"):
            _warn_of_cut_off(path, raw)
        return raw


def _warn_of_cut_off(path: Path, raw: mne.io.BaseRaw) -> None:
    """Say that a file of records ends before its header says, as MNE does."""
    with path.open("rb") as file:
        header = file.read(252)
    seconds = int(header[236:244]) * float(header[244:252])
    if seconds * raw.info["sfreq"] - raw.n_times >= 1:
        warnings.warn(
            f"{path} is cut off: it lasts {raw.n_times / raw.info['sfreq']:.0f} s, and "
            f"its header says {seconds:.0f} s; what is there is used",
            RuntimeWarning,
            stacklevel=2,
        )


def _refuse_endless(path: Path) -> None:
    """Refuse a FIF file whose tags point in a circle, which MNE follows for ever."""
    seen: set[int] = set()
    position = 0
    with path.open("rb") as file:
        while position >= 0:
            if position in seen:
                raise RecordingError(f"{path} can't be read (its tags go in a circle)")
            seen.add(position)
            file.seek(position)
            tag = file.read(_TAG.size)
            if len(tag) < _TAG.size:
                return
            size, following = _TAG.unpack(tag)
            # 0 is the next one in the file, -1 the end
            position = following or position + _TAG.size + size
