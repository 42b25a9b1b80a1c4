"""Continuous recordings, read a stretch at a time: arrays, or MNE's Raw on disk.

Windows are read in `braindecode_samba.signals.inputs`; what a network makes of a whole
recording is in `braindecode_samba.nn.recordings`.
"""

from typing import Any

import mne
import numpy as np
import torch
from braindecode.datasets import RawDataset
from numpy.typing import NDArray
from torch import Tensor

from braindecode_samba.signals.annotated import BAD_CHOICES, BadSamples
from braindecode_samba.signals.arrays import as_numbers
from braindecode_samba.signals.broken import name_of, recording_named
from braindecode_samba.signals.described import eeg_rows
from braindecode_samba.signals.montages import positions_from_chs_info


class Recording:
    """Signals of one recording, read a stretch at a time.

    Parameters
    ----------
    source : ndarray, shape (channels, times), mne.io.BaseRaw, or RawDataset
        The recording, any unit. Raw may stay on disk, arrays may be memory-mapped.
    sfreq : float, optional
        Rate of an array, Hz; Raw brings its own.
    bad : {"mark", "nan", "use"}
        Whether stretches annotated as bad are left out of everything (the first two),
        or used.
    positions : {"checked", "measured", "names"}
        As for `positions_from_chs_info`.

    Attributes
    ----------
    sfreq : float or None
        Rate, Hz.
    positions : ndarray, shape (channels, 3), or None
        Head frame, metres; None for arrays.

    Raises
    ------
    ValueError, TypeError
        If it is no recording, or holds no channel of type EEG.
    """

    def __init__(
        self,
        source: Any,
        sfreq: float | None = None,
        bad: str = "mark",
        positions: str = "checked",
    ) -> None:
        if bad not in BAD_CHOICES:
            raise ValueError(f"bad={bad!r} is unknown: pass one of {BAD_CHOICES}")
        self.bad = bad
        self._marks: BadSamples | None = None
        if isinstance(source, RawDataset):
            source = source.raw
        self._raw: mne.io.BaseRaw | None = None
        self.positions: NDArray[np.float64] | None = None
        if isinstance(source, mne.io.BaseRaw):
            self._raw = source
            self._rows = eeg_rows(source.info.get_channel_types())
            channels = [source.info["chs"][row] for row in self._rows]
            self.positions = positions_from_chs_info(channels, positions=positions)
            self.sfreq: float | None = float(source.info["sfreq"])
            self.n_chans, self.n_times = len(self._rows), source.n_times
            if bad != "use" and (marks := BadSamples(source)).any:
                self._marks = marks
                if self.bad_samples(0, self.n_times).all():
                    raise ValueError(
                        "annotations mark the whole recording as bad: pass bad='use'"
                    )
            return
        is_tensor = isinstance(source, Tensor) and not source.is_complex()
        self._array = source if is_tensor else as_numbers(source, "the recording")
        if self._array.ndim != 2 or not self._array.shape[1]:
            raise ValueError(
                f"the recording has shape {tuple(self._array.shape)}: pass samples of "
                "shape (channels, times), or mne.io.Raw"
            )
        self.sfreq = sfreq
        self.n_chans, self.n_times = self._array.shape

    def refuse_transposed(self, n_chans: int) -> None:
        """Refuse an array of (times, channels).

        Parameters
        ----------
        n_chans : int
            Channels that are known.
        """
        if self.positions is None and self.n_chans != n_chans == self.n_times:
            raise ValueError(
                f"the recording has shape {(self.n_chans, self.n_times)}, and there "
                f"are {n_chans} channels: pass (channels, times), recording.T"
            )

    @property
    def has_bad_samples(self) -> bool:
        """Whether some samples are left out."""
        return self._marks is not None

    def bad_samples(self, start: int, stop: int) -> Tensor:
        """Tell which samples are left out, bool of shape (stop - start,)."""
        if self._marks is None:
            return torch.zeros(stop - start, dtype=torch.bool)
        return torch.from_numpy(self._marks.read(start, stop))

    def read(self, channels: slice, start: int, stop: int) -> Tensor:
        """Read samples of some channels, float32 of shape (channels, stop - start).

        Those that are left out are zero.

        Raises
        ------
        ValueError
            If a sample is NaN or infinite.
        """
        if self._raw is not None:
            with recording_named(name_of(self._raw)):
                found = self._raw.get_data(self._rows[channels], start, stop)
        else:
            found = self._array[channels, start:stop]
        if isinstance(found, Tensor):
            part = found.detach().float()
        else:
            # a copy: torch warns of files that it may not write to
            with np.errstate(over="ignore"):
                part = torch.from_numpy(np.array(found, np.float32))
        if self._marks is not None:
            part = part.masked_fill(self.bad_samples(start, stop), 0.0)
        # the sum is finite where all are, and costs less than looking at each
        if not bool(torch.isfinite(part.sum())) and not bool(part.isfinite().all()):
            row, column = torch.nonzero(~part.isfinite())[0].tolist()
            raise ValueError(
                f"the recording holds NaN or infinity, first in channel "
                f"{(channels.start or 0) + row} at sample {start + column}; repair it, "
                "or interpolate bad stretches with MNE"
            )
        return part
