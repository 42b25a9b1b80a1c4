"""A fitted decoder on a file: its windows, cut and filtered as those of the fit.

What can't be decoded is refused before anything is computed.
"""

import contextlib
import os
from collections.abc import Collection, Iterator
from pathlib import Path

import mne
import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.ndimage import minimum_filter1d
from sklearn.utils.validation import check_is_fitted
from tqdm import tqdm

from braindecode_samba.estimators.classifier import SAMBAClassifier
from braindecode_samba.signals.broken import (
    RecordingError,
    open_recording,
    recording_named,
)
from braindecode_samba.signals.declared import refuse_odd_exclude
from braindecode_samba.signals.described import band_of, eeg_rows
from braindecode_samba.signals.montages import positions_from_chs_info

# a channel that stands still for so long at a time, seconds, is switched off or at the
# end of its range; above such a share of the recording it is refused
_STILL_SECONDS, _STILL_SHARE = 0.02, 0.05
# windows, spread over the recording, that tell what it is like: enough to be whitened
_N_MET = 200
_AT_ONCE = 32


def decode_file(
    decoder: SAMBAClassifier,
    path: str | os.PathLike[str],
    *,
    exclude: Collection[str] = (),
    bar: bool = True,
) -> Iterator[pd.DataFrame]:
    """Give probabilities over time for a recording, some windows at a time.

    Windows lie side by side, and are filtered as those of the fit. The recording is
    whitened without labels by what it is like as a whole. It is held in memory: eight
    hours of 64 electrodes at 256 Hz take 4 GB.

    Parameters
    ----------
    decoder : SAMBAClassifier
        Fitted; it is adapted to the recording.
    path : str or path-like
        A file of any format that MNE reads.
    exclude : collection of str
        Channels to leave out, beside those marked as bad and those whose place nobody
        knows.
    bar : bool
        Whether progress is shown, on a terminal.

    Yields
    ------
    pandas.DataFrame
        A row a window: ``start`` and ``stop`` in seconds of the recording, and the
        probability of each class, in columns named after these. What annotations call
        bad is left out.

    Raises
    ------
    RecordingError
        A ValueError: if the file can't be read, is too short, lacks the band or the
        electrodes that the decoder reads, or holds NaN or channels that stand still.
    """
    check_is_fitted(decoder)
    refuse_odd_exclude(exclude)
    epochs = _cut(decoder, Path(path), exclude)
    chosen = np.linspace(0, len(epochs) - 1, min(_N_MET, len(epochs))).astype(int)
    with _named(path):
        decoder.adapt(epochs[chosen])
    first = epochs.events[:, 0] / epochs.info["sfreq"]
    names = [str(name) for name in decoder.classes_]
    with tqdm(total=len(epochs), unit="window", disable=None if bar else True) as shown:
        for row in range(0, len(epochs), _AT_ONCE):
            part = slice(row, row + _AT_ONCE)
            table = pd.DataFrame(decoder.predict_proba(epochs[part]), columns=names)
            table.insert(0, "start", first[part])
            table.insert(1, "stop", first[part] + decoder._usage.seconds)
            shown.update(len(table))
            yield table


def _cut(decoder: SAMBAClassifier, path: Path, exclude: Collection[str]) -> mne.Epochs:
    """Windows that the decoder reads, filtered to the band of the fit."""
    raw = open_recording(path)
    if unknown := set(exclude) - set(raw.ch_names):
        raise RecordingError(
            f"{path} has no channel {', '.join(sorted(unknown))}: its channels are "
            f"{', '.join(raw.ch_names)}"
        )
    with _named(path):
        raw.pick(_usable(raw, exclude))
        decoder._usage.refuse_band(band_of(raw.info), raw.info["sfreq"])
    seconds = decoder._usage.seconds
    if raw.n_times < round(seconds * raw.info["sfreq"]):
        raise RecordingError(
            f"{path} lasts {raw.n_times / raw.info['sfreq']:.3g} s, and the decoder "
            f"reads windows of {seconds:.3g} s: pass a longer recording"
        )
    # MNE warns of filters longer than a short recording, which does no harm here
    with mne.use_log_level("error"):
        with recording_named(str(path)):
            raw.load_data()
        _refuse_broken(raw, path)
        low, high = decoder._usage.band
        raw.filter(low, high if high < raw.info["sfreq"] / 2 else None)
        if raw.info["sfreq"] > decoder.sfreq_:
            raw.resample(decoder.sfreq_)
        epochs = mne.make_fixed_length_epochs(raw, duration=seconds, preload=True)
    if not len(epochs):
        raise RecordingError(
            f"annotations mark all windows of {path} as bad: remove these, or pass "
            "another recording"
        )
    return epochs


@contextlib.contextmanager
def _named(path: object) -> Iterator[None]:
    """Say of which file a refusal of windows is."""
    try:
        yield
    except ValueError as error:
        raise RecordingError(f"{path}: {error}") from error


def _usable(raw: mne.io.BaseRaw, exclude: Collection[str]) -> list[str]:
    """Names of good EEG channels whose place is known."""
    unwanted = {*exclude, *raw.info["bads"]}
    channels = [raw.info["chs"][row] for row in eeg_rows(raw.get_channel_types())]
    channels = [channel for channel in channels if channel["ch_name"] not in unwanted]
    names = []
    if channels:
        places: NDArray[np.float64] = positions_from_chs_info(channels, unknown="nan")
        known = np.flatnonzero(np.isfinite(places).all(axis=1))
        names = [channels[row]["ch_name"] for row in known]
    if not names:
        raise ValueError("no EEG channel is good and has a place: set a montage")
    return names


def _refuse_broken(raw: mne.io.BaseRaw, path: Path) -> None:
    n = max(3, round(_STILL_SECONDS * raw.info["sfreq"]))
    still = []
    # one at a time: copies of a whole recording take memory
    for row, name in enumerate(raw.ch_names):
        x = raw.get_data([row])[0]
        if not np.isfinite(x).all():
            raise RecordingError(
                f"{path} holds NaN or infinity: repair it, or leave these channels out"
            )
        equal = (np.diff(x) == 0).astype(np.uint8)
        if minimum_filter1d(equal, n).mean() > _STILL_SHARE:
            still.append(name)
    if still:
        raise RecordingError(
            f"{path}: {', '.join(still)} stand still, flat or clipped, for more than "
            f"{_STILL_SHARE:.0%} of the time: leave them out (--exclude), or mark "
            "them as bad"
        )
