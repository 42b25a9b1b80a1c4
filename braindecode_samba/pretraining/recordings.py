"""What a recording goes through before its windows lie on disk.

MNE filters, resamples, cuts and leaves out; nothing is written here.
Lists of recordings and the store are matters of `corpora`.
"""

import dataclasses
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

import mne
import numpy as np
import torch
from numpy.typing import NDArray

from braindecode_samba.nn.scaling import MODEL_SFREQ, recording_scale
from braindecode_samba.pretraining.shards import STORED, StoredRecording
from braindecode_samba.pretraining.sources import RecordingSource
from braindecode_samba.signals.annotated import BadSamples
from braindecode_samba.signals.broken import RecordingError, recording_named
from braindecode_samba.signals.heads import ADVICE
from braindecode_samba.signals.montages import positions_from_chs_info

# a channel that spans less, in robust deviations of its recording, is switched off
_FLAT = 0.1


@dataclasses.dataclass(frozen=True)
class CuttingSettings:
    """How windows are made; what is equal here and in the files is equal on disk.

    Parameters
    ----------
    window_seconds : float
        Length of a window.
    stride_seconds : float, optional
        From one window to the next; the length of a window by default.
    sfreq : float
        Rate of the windows, Hz.
    l_freq, h_freq : float or None
        Band that is kept, Hz.
    reject : float or None
        Largest span of a channel in a window, robust deviations of the recording.
    unknown : {"raise", "drop"}
        What happens to channels whose place nobody knows.

    Raises
    ------
    ValueError
        If a number can't be.
    """

    window_seconds: float = 2.0
    stride_seconds: float | None = None
    sfreq: float = MODEL_SFREQ
    l_freq: float | None = 1.0
    h_freq: float | None = 45.0
    reject: float | None = None
    unknown: str = "raise"

    def __post_init__(self) -> None:
        if self.stride_seconds is None:
            object.__setattr__(self, "stride_seconds", self.window_seconds)
        for name, value in dataclasses.asdict(self).items():
            if name == "unknown" or value is None:
                continue
            if not 0 < value < float("inf"):
                raise ValueError(f"{name}={value}: pass a finite number above 0")
        if self.unknown not in ("raise", "drop"):
            raise ValueError(f'unknown is "raise" or "drop", not {self.unknown!r}')
        if self.n_times < 2 or self.stride < 1:
            raise ValueError(
                f"window_seconds={self.window_seconds} and "
                f"stride_seconds={self.stride_seconds} are {self.n_times} and "
                f"{self.stride} samples at {self.sfreq} Hz: pass longer ones"
            )
        if self.h_freq is None:
            return
        if self.l_freq is not None and self.l_freq >= self.h_freq:
            raise ValueError(
                f"l_freq={self.l_freq} is not below h_freq={self.h_freq}: nothing stays"
            )
        if self.h_freq >= self.sfreq / 2:
            raise ValueError(
                f"h_freq={self.h_freq} Hz is not below half of sfreq={self.sfreq} Hz: "
                "lower it, or pass a higher sfreq"
            )

    @property
    def n_times(self) -> int:
        """Samples of a window."""
        return round(self.window_seconds * self.sfreq)

    @property
    def stride(self) -> int:
        """Samples from one window to the next."""
        assert self.stride_seconds is not None
        return round(self.stride_seconds * self.sfreq)

    def to_dict(self) -> dict[str, Any]:
        """Give all of it, with samples, as a store keeps it."""
        samples = {"n_times": self.n_times, "stride": self.stride}
        return dataclasses.asdict(self) | samples


@dataclasses.dataclass(frozen=True)
class _Channels:
    """The channels of a recording that are kept, and those that can't be."""

    names: tuple[str, ...]
    positions: tuple[tuple[float, float, float], ...]
    dropped: tuple[str, ...]


class Header(NamedTuple):
    """What is known of a recording before its signals are read."""

    channels: tuple[str, ...]
    dropped_channels: tuple[str, ...]
    sfreq: float
    seconds: float
    n_bytes: int  # that its windows take on disk
    files: tuple[Path, ...]  # that it is read from


def check_recording(source: RecordingSource, settings: CuttingSettings) -> Header:
    """Refuse what can't be used by its header alone.

    Parameters
    ----------
    source : RecordingSource
        What will be cut.
    settings : CuttingSettings
        How.

    Returns
    -------
    Header
        What it holds.

    Raises
    ------
    RecordingError
        If it can't be read, no EEG channel has a position, or the rate is too low for
        the band.
    """
    raw = source.read()
    channels = _kept_channels(raw, source.place, settings.unknown)
    rate = raw.info["sfreq"]
    if settings.h_freq is not None and settings.h_freq >= rate / 2:
        raise RecordingError(
            f"{source.place} was recorded at {rate} Hz and has nothing up to "
            f"h_freq={settings.h_freq} Hz: lower h_freq or leave it out"
        )
    seconds = raw.n_times / rate
    n_samples = int(seconds * settings.sfreq)
    return Header(
        channels=channels.names,
        dropped_channels=channels.dropped,
        sfreq=rate,
        seconds=seconds,
        n_bytes=n_samples * len(channels.names) * STORED.itemsize,
        files=tuple(Path(file) for file in raw.filenames if file is not None),
    )


def cut_recording(
    source: RecordingSource, key: str, settings: CuttingSettings
) -> tuple[StoredRecording, NDArray[np.float64]]:
    """Filter and resample a recording and choose its windows.

    Parameters
    ----------
    source : RecordingSource
        What to read.
    key : str
        Name of its files.
    settings : CuttingSettings
        How.

    Returns
    -------
    StoredRecording, ndarray of shape (channels, times)
        Its description, and the signals in volts without offsets.

    Raises
    ------
    RecordingError
        If the signals can't be read, or hold NaN or infinity.
    """
    raw = source.read()
    channels = _kept_channels(raw, source.place, settings.unknown)
    recording = StoredRecording(
        key=key,
        source=source.name,
        subject=source.subject,
        ch_names=channels.names,
        positions=channels.positions,
        scale=1.0,
        n_samples=0,
        n_bytes=0,
        runs=(),
        dropped={"flat": 0, "amplitude": 0, "annotated": 0, "short": 0},
        dropped_channels=channels.dropped,
    )
    if round(raw.n_times * settings.sfreq / raw.info["sfreq"]) < settings.n_times:
        dropped = recording.dropped | {"short": 1}
        return dataclasses.replace(recording, dropped=dropped), np.empty((0, 0))
    # MNE warns of filters longer than a short recording, which does no harm here
    with mne.use_log_level("error"):
        with recording_named(source.place):
            raw = raw.copy().pick(list(channels.names)).load_data()
        volts = _filter(raw, source.place, settings)
        good = _good_samples(raw)
        scale = recording_scale(torch.from_numpy(volts[:, good]))
        starts, dropped = _choose_windows(raw, scale, settings)
    runs = _runs(starts, settings.stride)
    return dataclasses.replace(
        recording, scale=scale, runs=runs, dropped=dropped
    ), volts


def _filter(
    raw: mne.io.BaseRaw, name: str, settings: CuttingSettings
) -> NDArray[np.float64]:
    """Filter and resample in place, and give the signals without offsets."""
    unfiltered, good = raw.get_data(), _good_samples(raw)
    if not np.isfinite(unfiltered[:, good]).all():
        raise RecordingError(
            f"{name} holds NaN or infinity: repair it, mark it by annotations that "
            "begin with 'bad', or leave it out"
        )
    if not np.isfinite(unfiltered).all():
        # a filter would carry them out of the stretches that they lie in
        raw[:, :] = np.where(np.isfinite(unfiltered), unfiltered, 0.0)
    # a filter turns a constant into rounding noise, which must not pass for EEG
    dead = np.ptp(unfiltered[:, good], axis=1) == 0
    if settings.l_freq is not None or settings.h_freq is not None:
        raw.filter(settings.l_freq, settings.h_freq)
    if raw.info["sfreq"] != settings.sfreq:
        raw.resample(settings.sfreq)
    volts = raw.get_data()
    volts[dead] = 0.0
    return volts - np.median(volts[:, _good_samples(raw)], axis=1, keepdims=True)


def _good_samples(raw: mne.io.BaseRaw) -> NDArray[np.bool_]:
    """Tell samples outside bad stretches; all where these are all there is."""
    bad = BadSamples(raw).read(0, raw.n_times)
    return np.ones_like(bad) if bad.all() else ~bad


def _choose_windows(
    raw: mne.io.BaseRaw, scale: float, settings: CuttingSettings
) -> tuple[NDArray[np.int64], dict[str, int]]:
    """First samples of the windows that stay, and why others don't."""

    def all_flat(window: NDArray[np.float64]) -> tuple[bool, str]:
        return bool(np.ptp(window, axis=1).max() < _FLAT * scale), "flat"

    last = raw.n_times - settings.n_times
    starts = raw.first_samp + np.arange(0, last + 1, settings.stride)
    epochs = mne.Epochs(
        raw,
        np.column_stack([starts, np.zeros_like(starts), np.ones_like(starts)]),
        tmin=0.0,
        tmax=(settings.n_times - 1) / settings.sfreq,
        baseline=None,
    )
    reject = None if settings.reject is None else {"eeg": settings.reject * scale}
    epochs.drop_bad(reject=reject, flat={"eeg": all_flat})
    reasons = Counter(_reason(log) for log in epochs.drop_log if log)
    dropped = {why: reasons[why] for why in ("flat", "amplitude", "annotated")}
    return epochs.events[:, 0] - raw.first_samp, dropped | {"short": 0}


def _reason(log: tuple[str, ...]) -> str:
    """Group MNE's reasons: ours, an annotation, or the names of channels."""
    if "flat" in log:
        return "flat"
    marks = ("BAD", "EDGE", "NO_DATA", "TOO_SHORT")
    return "annotated" if log[0].upper().startswith(marks) else "amplitude"


def _runs(starts: NDArray[np.int64], stride: int) -> tuple[tuple[int, int], ...]:
    """Join windows one stride apart to (first sample, number of windows)."""
    breaks = np.flatnonzero(np.diff(starts) != stride) + 1
    runs = np.split(starts, breaks)
    return tuple((int(run[0]), len(run)) for run in runs if len(run))


def _kept_channels(raw: mne.io.BaseRaw, name: str, unknown: str) -> _Channels:
    with recording_named(name):
        picks = mne.pick_types(raw.info, eeg=True, exclude="bads")
    if not len(picks):
        raise RecordingError(
            f"{name} has no EEG channel that isn't marked bad: leave it out"
        )
    described = [raw.info["chs"][pick] for pick in picks]
    try:
        positions = positions_from_chs_info(
            described, unknown="raise" if unknown == "raise" else "nan"
        )
    except ValueError as error:
        advice = ", or pass unknown='drop'" if "no position" in str(error) else ""
        # a store keeps what recordings say: they are corrected, not read otherwise
        said = str(error).replace(ADVICE, "correct them by raw.set_montage")
        raise RecordingError(f"{name}: {said}{advice}") from error
    known = np.isfinite(positions).all(axis=1)
    if not known.any():
        raise RecordingError(
            f"{name} has no channel with a position: call raw.set_montage, or leave "
            "it out"
        )
    names = np.array([channel["ch_name"] for channel in described])
    # a micrometre is far below anything that a cap or a model resolves
    places = tuple(tuple(place) for place in positions[known].round(6).tolist())
    return _Channels(
        tuple(names[known].tolist()), places, tuple(names[~known].tolist())
    )
