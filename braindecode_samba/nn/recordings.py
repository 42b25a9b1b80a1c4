"""Whole recordings through the trunk, in bounded memory.

A recording, an array or MNE's Raw that may stay on disk, is read, scaled and resampled
stretch by stretch as `braindecode_samba.nn.scaling` would do it at once, and taken
through the layers by `braindecode_samba.nn.pieces`.  Windows cut out of recordings are
read in `braindecode_samba.signals.inputs`, signals that arrive while they are recorded
in `braindecode_samba.estimators.stream`.
"""

from collections.abc import Iterator
from fractions import Fraction

import numpy as np
import torch
from torch import Tensor
from torchaudio.transforms import Resample
from tqdm import tqdm

from braindecode_samba.nn.long import PIECE
from braindecode_samba.nn.pieces import TrunkPieces
from braindecode_samba.nn.scaling import (
    SignalInput,
    median,
    rate_ratio,
    scale_of_channels,
    spread,
)
from braindecode_samba.nn.trunk import LAYERS, Trunk
from braindecode_samba.signals.continuous import Recording

# Samples of all channels that are read at once to measure them: 64 MB in float64
_HELD = 2**23


class ScaledRecording:
    """A recording at the rate and scale of a model, a stretch at a time.

    As `SignalInput` does for a window that holds the whole recording: each channel less
    its median, resampled, divided by a robust scale. Median and scale come from a first
    pass over the samples; a scale that was set by `SignalInput.set_recording_scale` is
    taken as it is.

    Parameters
    ----------
    recording : Recording
        Signals.
    signal : SignalInput
        The model's settings.
    ch_mask : Tensor of bool, shape (channels,), optional
        True where a channel is present.

    Raises
    ------
    ValueError
        If the recording is too short, broken, or of a rate that can't be met.
    """

    def __init__(
        self, recording: Recording, signal: SignalInput, ch_mask: Tensor | None
    ) -> None:
        self.recording = recording
        self.limit = None if signal.scale == "none" else signal.limit
        ratio = rate_ratio(signal.sfreq, signal.model_sfreq)
        new, old = ratio.as_integer_ratio()
        self._block = (old, new)
        self.n_times = -(-recording.n_times * new // old)
        self._resample: Resample | None = None
        if isinstance(signal.resample, Resample):
            self._resample = signal.resample
            self._margin = self._resample.width // old + 2  # blocks
        if self.n_times < signal.min_times:
            raise ValueError(
                f"the recording has {self.n_times} samples at the model's rate; pass "
                f"one of at least {signal.min_times}"
            )
        self._present = torch.ones(recording.n_chans, dtype=torch.bool)
        if ch_mask is not None:
            self._present = ch_mask.cpu()
        self._centre = torch.zeros(recording.n_chans, 1)
        self._scale = torch.ones(recording.n_chans, 1)
        if signal.scale != "none":
            self._measure(signal, ratio)

    def _measure(self, signal: SignalInput, ratio: Fraction) -> None:
        n_chans = self.recording.n_chans
        deviation, fallback = torch.zeros(2, n_chans).unbind()
        moves = torch.zeros(n_chans, dtype=torch.bool)
        group = max(1, _HELD // self.recording.n_times)
        good = ~self.recording.bad_samples(0, self.recording.n_times)
        counted = ~_bad_steps(self.recording, ratio, self.n_times)
        for start in range(0, n_chans, group):
            rows = slice(start, min(start + group, n_chans))
            signals = self.recording.read(rows, 0, self.recording.n_times)
            for row, x in zip(range(start, n_chans), signals, strict=False):
                if self.recording.has_bad_samples:
                    self._centre[row] = median(x[good])
                    x = (x - self._centre[row]) * good
                else:
                    self._centre[row] = median(x)
                    x = x - self._centre[row]
                if self._resample is not None:
                    x = self._resample(x[None].to(self._device()))[0].cpu()
                if self.recording.has_bad_samples:
                    x = x[counted]
                deviation[row], fallback[row], moves[row] = spread(x)
        moves &= self._present
        if not moves.any():
            raise ValueError(
                "the recording does not move in any channel: see whether it holds "
                "signals at all"
            )
        if signal.scale == "channel":
            parts = (deviation[:, None], fallback[:, None], moves[:, None])
            self._scale = scale_of_channels(*parts)[:, 0]
        elif signal.scale == "recording" and not bool(signal.recording_scale.isnan()):
            self._scale = signal.recording_scale.cpu().expand(n_chans, 1)
        else:
            parts = (deviation[None], fallback[None], moves[None])
            self._scale = scale_of_channels(*parts)[0].expand(n_chans, 1)

    def _device(self) -> torch.device:
        assert isinstance(self._resample, Resample)
        return self._resample.kernel.device

    def read(self, start: int, stop: int) -> Tensor:
        """Give samples (1, channels, stop - start), counted at the model's rate.

        ``start`` must be a multiple of the numerator of the ratio of rates.
        """
        old, new = self._block
        if self._resample is None:
            x = self._centred(start, stop)
        else:
            first = max(0, start // new - self._margin)
            end = min((-(-stop // new) + self._margin) * old, self.recording.n_times)
            x = self._centred(first * old, end)
            x = x.masked_fill(~self._present[:, None], 0.0)
            x = self._resample(x.to(self._device())).cpu()
            x = x[:, start - first * new : stop - first * new]
        x = x.masked_fill(~self._present[:, None], 0.0) / self._scale
        if self.limit is not None:
            x = x.clamp(-self.limit, self.limit)
        return x.unsqueeze(0)

    def _centred(self, start: int, stop: int) -> Tensor:
        x = self.recording.read(slice(None), start, stop) - self._centre
        if self.recording.has_bad_samples:
            x = x.masked_fill(self.recording.bad_samples(start, stop), 0.0)
        return x

    def parts(self) -> Iterator[tuple[Tensor, bool]]:
        """Give stretches in their order, and whether each is the last."""
        step = -(-PIECE // self._block[1]) * self._block[1]
        for start in range(0, self.n_times, step):
            stop = min(start + step, self.n_times)
            yield self.read(start, stop), stop == self.n_times

    def n_parts(self) -> int:
        """Count the stretches."""
        step = -(-PIECE // self._block[1]) * self._block[1]
        return -(-self.n_times // step)


def encode_in_parts(
    trunk: Trunk,
    recording: Recording,
    layer: str,
    pos: Tensor | None = None,
    ch_mask: Tensor | None = None,
) -> Iterator[Tensor]:
    """Signals of a layer for a whole recording, in parts that follow each other.

    The mediator normalises over all time. For this layer the recording is gone through
    twice: first for the mean and the variance of what is normalised, then for the
    signals.

    Parameters
    ----------
    trunk : Trunk
        Of a model.
    recording : Recording
        Signals.
    layer : str
        One of ``LAYERS``.
    pos : Tensor, shape (channels, 3), optional
        Positions, head frame, metres; by default those of the recording, else those of
        the model.
    ch_mask : Tensor of bool, shape (channels,), optional
        True where a channel is present.

    Yields
    ------
    Tensor, shape (1, features, times)
        Next part.

    Raises
    ------
    ValueError
        If recording and positions don't fit.
    """
    device = trunk.spatial.target_positions.device
    if pos is None and recording.positions is not None:
        pos = torch.from_numpy(recording.positions).float()
    _check_channels(recording, pos, ch_mask)
    with torch.no_grad():
        if ch_mask is not None:
            ch_mask = ch_mask.to(device)
        weights = trunk.spatial_weights(pos, ch_mask)
        recording.refuse_transposed(weights.shape[-1])
        if weights.shape[-1] != recording.n_chans:
            raise ValueError(
                f"the recording has {recording.n_chans} channels and the model knows "
                f"positions of {weights.shape[-1]}; pass pos with one row a channel"
            )
        signal = _signal_input(trunk.signal, recording.sfreq)
        scaled = ScaledRecording(recording, signal, ch_mask)
        passes = 2 if layer == "mediator" else 1
        statistics = None
        with tqdm(total=passes * scaled.n_parts(), disable=None, leave=False) as bar:
            for turn in range(passes):
                pieces = TrunkPieces(trunk, weights, layer, statistics)
                if recording.has_bad_samples:
                    bad = bad_steps_at_layer(trunk, recording, "mediator")
                    pieces.mediation.counted = ~bad.to(device)
                for part, last in scaled.parts():
                    ready = pieces.push(part.to(weights), last)
                    bar.update()
                    if layer in ready and turn == passes - 1:
                        yield ready[layer]
                if passes == 2 and turn == 0:
                    statistics = pieces.mediation.statistics()


def bad_steps_at_layer(trunk: Trunk, recording: Recording, layer: str) -> Tensor:
    """Tell which steps of a layer lie in stretches that are left out.

    Returns
    -------
    Tensor of bool, shape (times at the rate of the layer,)
        True where a step holds a sample of such a stretch.
    """
    n_times = samples_at_layer(trunk, recording, layer)
    signal = _signal_input(trunk.signal, recording.sfreq)
    ratio = rate_ratio(signal.sfreq, signal.model_sfreq)
    bad = _bad_steps(recording, ratio, n_times, steps_of_layer(layer))
    if bad.all():
        raise ValueError(
            f"annotations leave no whole step of the layer {layer!r}: pass bad='use'"
        )
    return bad


def samples_at_layer(trunk: Trunk, recording: Recording, layer: str) -> int:
    """Count the samples that a recording has at one of ``LAYERS``."""
    if layer not in LAYERS:
        raise ValueError(f"layer={layer!r} is unknown; pass one of {LAYERS}")
    signal = _signal_input(trunk.signal, recording.sfreq)
    ratio = rate_ratio(signal.sfreq, signal.model_sfreq)
    n_times = -(-recording.n_times * ratio.numerator // ratio.denominator)
    return n_times // steps_of_layer(layer)


def steps_of_layer(layer: str) -> int:
    """Count the samples at the model's rate behind one step of a layer."""
    pools = ("pool1", "pool2", "pool3")
    return 2 ** sum(LAYERS.index(layer) >= LAYERS.index(pool) for pool in pools)


def _bad_steps(
    recording: Recording, ratio: Fraction, n_steps: int, length: int = 1
) -> Tensor:
    """Tell which steps, of so many samples at the model's rate, hold a bad sample."""
    if not recording.has_bad_samples:
        return torch.zeros(n_steps, dtype=torch.bool)
    n_bad = recording.bad_samples(0, recording.n_times).cumsum(0)
    before = torch.cat([n_bad.new_zeros(1), n_bad])
    edges = torch.arange(n_steps + 1) * length * ratio.denominator
    first = torch.div(edges[:-1], ratio.numerator, rounding_mode="floor")
    last = -torch.div(-edges[1:], ratio.numerator, rounding_mode="floor")
    most = recording.n_times
    return before[last.clamp(max=most)] > before[first.clamp(max=most)]


def _signal_input(own: SignalInput, sfreq: float | None) -> SignalInput:
    """Fit the model's signal input to a recording at this rate."""
    if sfreq is None or np.isclose(sfreq, own.sfreq, rtol=1e-6, atol=0):
        return own
    scale = None if own.scale == "none" else own.scale
    signal = SignalInput(sfreq, own.model_sfreq, scale).to(own.recording_scale.device)
    signal.recording_scale = own.recording_scale
    return signal


def _check_channels(
    recording: Recording, pos: Tensor | None, ch_mask: Tensor | None
) -> None:
    n_chans = recording.n_chans
    if pos is not None and pos.shape != (n_chans, 3):
        raise ValueError(
            f"pos has shape {tuple(pos.shape)} and the recording {n_chans} channels; "
            f"pass ({n_chans}, 3)"
        )
    if ch_mask is not None and (
        ch_mask.shape != (n_chans,) or ch_mask.dtype != torch.bool or not ch_mask.any()
    ):
        raise ValueError(
            f"ch_mask has shape {tuple(ch_mask.shape)} and dtype {ch_mask.dtype}; pass "
            f"bool of shape ({n_chans},), True for at least one channel"
        )
