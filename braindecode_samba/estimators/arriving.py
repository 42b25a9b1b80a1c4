"""Samples as an amplifier sends them: chosen, filtered and resampled as they come.

All of it is causal, keeps its state from one piece to the next, and gives the same
however the samples were portioned.  What is done with them is in
`braindecode_samba.estimators.stream`.
"""

import math
from collections.abc import Collection, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.signal import butter, sosfilt, sosfilt_zi
from torchaudio.transforms import Resample

from braindecode_samba.nn.scaling import rate_ratio
from braindecode_samba.signals.declared import declare, refuse_odd_exclude
from braindecode_samba.signals.inputs import Channels
from braindecode_samba.signals.positions import check_chs_info
from braindecode_samba.signals.template import parse_channel_name

_ORDER = 4
# of channels, as MNE writes it and as its files do
_EEG = ("eeg", 2)


class Arriving(NamedTuple):
    """Which of the channels that arrive are used, and where they lie."""

    n_chans: int  # that arrive
    rows: NDArray[np.intp]  # of these, in the order in which they are used
    names: tuple[str, ...]
    positions: NDArray[np.float64]  # (n_used, 3), head frame, metres


def choose_channels(
    known: Channels | None,
    ch_names: Sequence[str] | None = None,
    chs_info: Channels | None = None,
    exclude: Collection[str] = (),
    positions: str = "checked",
) -> Arriving:
    """Tell where channels lie, and bring those of the fit into its order.

    Parameters
    ----------
    known : sequence of dict, optional
        Channels of the fit.
    ch_names : sequence of str, optional
        Channels that arrive, in order; by default those of the fit.  A name of the fit
        has its place, any other that of its name.
    chs_info : sequence of dict, optional
        The same with positions; what is not of kind EEG is left out.
    exclude : collection of str
        Channels to leave out.
    positions : {"checked", "measured", "names"}
        As for `SAMBAClassifier`.

    Raises
    ------
    ValueError
        If a channel has no place, is named twice, or none is left; or if both are
        passed.
    """
    refuse_odd_exclude(exclude)
    if ch_names is not None and chs_info is not None:
        raise ValueError("ch_names and chs_info both name the channels: pass one")
    places = {_site(one["ch_name"]): one for one in known or ()}
    if chs_info is not None:
        arriving = check_chs_info(chs_info)
    elif ch_names is not None:
        arriving = [
            {**places.get(_site(name), {}), "ch_name": name} for name in ch_names
        ]
    elif known is not None:
        arriving = list(known)
    else:
        raise ValueError(
            "the model does not know its channels: pass ch_names, or chs_info with "
            "measured positions"
        )
    order = {site: i for i, site in enumerate(places)}
    rows = [
        row
        for row, one in enumerate(arriving)
        if one.get("kind", "eeg") in _EEG and one["ch_name"] not in exclude
    ]
    if not rows:
        raise ValueError("no channel is left: name at least one of type EEG")
    rows.sort(key=lambda row: order.get(_site(arriving[row]["ch_name"]), len(order)))
    place = declare(None, [arriving[row] for row in rows], None, positions).place
    assert place is not None
    return Arriving(len(arriving), np.array(rows), *place)


def _site(name: str) -> Any:
    """Give what names of one electrode have in common, as "FP1" and "Fp1"."""
    return parse_channel_name(name) or name


class CausalFilter:
    """Second-order sections whose state is kept.

    Parameters
    ----------
    band : tuple of two floats or None, or array of shape (n_sections, 6)
        Edges in Hz of a Butterworth filter (order 4, as MNE's), None for an open end;
        or the sections themselves, as scipy's ``output="sos"``.
    sfreq : float
        Rate, Hz.

    Raises
    ------
    ValueError
        If it is neither, or the edges don't fit the rate.

    Notes
    -----
    The state begins as if the first sample had lasted for ever: an offset makes no
    step.
    """

    def __init__(self, band: Any, sfreq: float) -> None:
        if np.ndim(band) == 2:
            self._sos = np.asarray(band, np.float64)
            if self._sos.shape[1] != 6 or not np.isfinite(self._sos).all():
                raise ValueError(
                    f"band has shape {self._sos.shape}: pass (low, high) in Hz, or "
                    "finite second-order sections of shape (n, 6)"
                )
        else:
            self._sos = _butterworth(band, sfreq)
        self.reset()

    def reset(self) -> None:
        """Forget all samples."""
        self._state: NDArray[np.float64] | None = None

    def __call__(self, x: NDArray[np.float64]) -> NDArray[np.float64]:
        """Filter the next samples, of shape (channels, n)."""
        if not x.shape[1]:
            return x
        if self._state is None:
            # (sections, channels, 2)
            self._state = sosfilt_zi(self._sos)[:, None] * x[:, :1]
        filtered, self._state = sosfilt(self._sos, x, axis=1, zi=self._state)
        return filtered


def _butterworth(band: Any, sfreq: float) -> NDArray[np.float64]:
    try:
        low, high = (None if edge is None else float(edge) for edge in band)
    except (TypeError, ValueError):
        raise ValueError(
            f"band={band!r} is no pass band: pass (low, high) in Hz, None for an open "
            "end, or second-order sections of shape (n, 6)"
        ) from None
    edges = [edge for edge in (low, high) if edge is not None]
    if not edges or not all(
        0 < a < b for a, b in zip(edges, [*edges[1:], sfreq / 2], strict=True)
    ):
        raise ValueError(
            f"band={band!r} does not lie between 0 and half the rate of {sfreq:g} Hz: "
            "pass (low, high) in Hz with low < high"
        )
    kind = "bandpass" if len(edges) == 2 else "highpass" if high is None else "lowpass"
    return butter(
        _ORDER, edges if len(edges) == 2 else edges[0], kind, fs=sfreq, output="sos"
    )


class Resampler:
    """Samples at another rate, each as soon as what it needs has arrived.

    They are those that torchaudio makes of the finished recording.

    Parameters
    ----------
    sfreq : float
        Rate at which samples arrive, Hz.
    to : float
        Rate wanted, Hz.

    Attributes
    ----------
    delay_seconds : float
        How long after a moment its sample is ready: half the filter's length.
    """

    def __init__(self, sfreq: float, to: float) -> None:
        ratio = rate_ratio(sfreq, to)
        self._new, self._old = ratio.numerator, ratio.denominator
        self._resample: Resample | None = None
        self._reach = 0
        if ratio != 1:
            self._resample = Resample(self._old, self._new, dtype=torch.float64)
            # the filter's zero crossings on each side, in samples that arrive
            cutoff = min(self._old, self._new) * self._resample.rolloff
            width = self._resample.lowpass_filter_width
            self._reach = math.ceil(width * self._old / cutoff)
        self.delay_seconds = self._reach / sfreq
        self.reset()

    def reset(self) -> None:
        """Forget all samples."""
        self._held: NDArray[np.float64] | None = None
        self._offset: NDArray[np.float64] | None = None
        self._first = 0  # of the samples held, a multiple of self._old
        self._n_seen = self._n_given = 0

    def stop_of(self, n_given: int) -> int:
        """Count the arriving samples that lie before so many resampled ones."""
        return round(n_given * self._old / self._new)

    def __call__(self, x: NDArray[np.float64]) -> NDArray[np.float64]:
        """Take the next samples (channels, n), give those that are ready."""
        if self._resample is None or not x.shape[1]:
            return x
        if self._held is None or self._offset is None:
            # what lies before the first sample is taken for zero: an offset is no step
            self._offset = x[:, :1]
            self._held = np.empty((len(x), 0))
        self._held = np.concatenate([self._held, x - self._offset], axis=1)
        self._n_seen += x.shape[1]
        last = self._n_seen - 1 - self._reach
        stop = last * self._new // self._old + 1 if last >= 0 else 0
        if stop <= self._n_given:
            return np.empty((len(x), 0))
        start = self._n_given - self._first // self._old * self._new
        resampled = self._resample(torch.from_numpy(self._held)).numpy()
        ready = resampled[:, start : start + stop - self._n_given] + self._offset
        self._n_given = stop
        # blocks that no later sample reaches
        block = max(0, (stop // self._new) - math.ceil(self._reach / self._old) - 1)
        self._held = self._held[:, block * self._old - self._first :]
        self._first = block * self._old
        return ready
