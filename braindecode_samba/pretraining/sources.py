"""One recording that is to become windows: where it is, whose it is, and its name.

What happens to it is the matter of `recordings`.
"""

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeAlias

import mne
import numpy as np
from braindecode.datasets import RawDataset

from braindecode_samba.signals.broken import open_recording

Recording: TypeAlias = str | os.PathLike[str] | mne.io.BaseRaw | RawDataset


class RecordingSource:
    """One recording that is still to be read, and whose it is.

    Parameters
    ----------
    recording : path, mne.io.BaseRaw or RawDataset
        Where the signals are.
    subject : str or None
        Whose they are; None asks braindecode's description.
    number : int
        Its place in the list, for messages.

    Attributes
    ----------
    name : str
        Of its file, as a store keeps it.
    place : str
        The whole path, for messages.
    subject : str
        Whose it is.

    Raises
    ------
    TypeError
        If it is of another kind.
    ValueError
        If nobody says whose it is.
    """

    def __init__(self, recording: Recording, subject: str | None, number: int) -> None:
        described: Any = None
        if isinstance(recording, RawDataset):
            if recording.description is not None:
                described = recording.description.get("subject")
            recording = recording.raw
        if not isinstance(recording, str | os.PathLike | mne.io.BaseRaw):
            raise TypeError(
                f"recording {number} is a {type(recording).__name__}: pass paths, Raws "
                "of MNE or RawDatasets of braindecode"
            )
        self._recording = recording
        self.place, self.name = self._place(number)
        chosen = described if subject is None else subject
        if chosen is None:
            raise ValueError(
                f"nobody says whose recording {self.place} is: pass subjects=, one for "
                "each recording, so that a checkpoint can tell whom it has seen"
            )
        self.subject = str(chosen)

    def _place(self, number: int) -> tuple[str, str]:
        file: Any = self._recording
        if isinstance(file, mne.io.BaseRaw):
            file = next((f for f in file.filenames if f is not None), None)
        if file is None:
            return f"recording {number}", f"recording {number}"
        return str(file), Path(file).name

    def read(self) -> mne.io.BaseRaw:
        """Open the recording; the caller's own is not touched by what follows."""
        if isinstance(self._recording, mne.io.BaseRaw):
            return self._recording
        return open_recording(Path(self._recording))

    def key(self, settings: Mapping[str, Any]) -> str:
        """Digest of everything that decides what is written."""
        digest = hashlib.blake2b(digest_size=12)
        digest.update(json.dumps([settings, self.subject]).encode())
        raw = self._recording
        if not isinstance(raw, mne.io.BaseRaw):
            digest.update(_state_of(Path(raw)))
            return digest.hexdigest()
        marks = [(a["onset"], a["duration"], a["description"]) for a in raw.annotations]
        kinds = raw.get_channel_types()
        places = [channel["loc"][:3].tolist() for channel in raw.info["chs"]]
        state = [raw.ch_names, kinds, raw.info["bads"], places, marks]
        digest.update(
            repr([state, raw.info["sfreq"], raw.first_samp, raw.last_samp]).encode()
        )
        files = [file for file in raw.filenames if file is not None]
        # what lies in memory may have been changed since it was read
        if raw.preload or not files:
            digest.update(np.ascontiguousarray(raw.get_data()).data)
        else:
            for file in files:
                digest.update(_state_of(Path(file)))
        return digest.hexdigest()


def _state_of(path: Path) -> bytes:
    if not path.exists():
        raise FileNotFoundError(f"there is no recording {path}")
    status = path.stat()
    return repr([str(path.resolve()), status.st_size, status.st_mtime_ns]).encode()
