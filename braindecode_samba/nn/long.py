"""Long windows without gradients, in bounded memory: what the models do piece by piece.

A classifier needs no stage whole, only numbers a window and the mediator's short input;
a reconstructor needs the three skip connections but never two full-rate stages at once.
The results are those of one pass over all samples (`braindecode_samba.nn.trunk`).
"""

import torch
from torch import Tensor, nn

from braindecode_samba.nn.heads import BandPower, ReadingsHead, WindowFeatures
from braindecode_samba.nn.pieces import Convolution, Moments, Recurrence, TrunkPieces
from braindecode_samba.nn.pooling import variance
from braindecode_samba.nn.spatial import CoordinateReadout
from braindecode_samba.nn.trunk import Trunk
from braindecode_samba.nn.unet import Decoder, stretch

# Samples of a piece at the model's rate. Short ones hold less; but behind each of its
# operations torch's threads wait for the next one for milliseconds, and take the cores
# from ours; and a GPU wants work for all its processors.
PIECE = 2**15
_GPU_PIECE = 2**17


def piece_length(x: Tensor) -> int:
    """Tell how many samples one piece has on the device of ``x``."""
    return _GPU_PIECE if x.is_cuda else PIECE


def goes_in_pieces(x: Tensor) -> bool:
    """Whether windows (batch, channels, times) are long and need no gradients."""
    long = x.dim() == 3 and x.shape[2] > 2 * piece_length(x)
    return long and not torch.is_grad_enabled()


def long_window_features(
    trunk: Trunk,
    head: WindowFeatures | ReadingsHead,
    x: Tensor,
    pos: Tensor | None,
    ch_mask: Tensor | None,
) -> Tensor:
    """Compute the features of long windows.

    Parameters
    ----------
    trunk, head
        Parts of `braindecode_samba.SAMBA`.
    x, pos, ch_mask
        As for `Trunk.forward`.

    Returns
    -------
    Tensor, shape (batch, n_features)
        What ``head`` makes of the stages of ``trunk``.
    """
    _, signals, weights = trunk.begin(x, pos, ch_mask)
    band_power = head.band_power if isinstance(head, WindowFeatures) else None
    rows = [
        _features_of_one(trunk, band_power, signals[i : i + 1], _row(weights, i))
        for i in range(len(signals))
    ]
    powers = [power for power, _ in rows if power is not None]
    variances = torch.cat([variance for _, variance in rows])
    if isinstance(head, ReadingsHead):
        return head(x, signals, weights, variances, ch_mask)
    return head.combine(torch.cat(powers) if powers else None, variances)


def _features_of_one(
    trunk: Trunk, band_power: BandPower | None, signals: Tensor, weights: Tensor
) -> tuple[Tensor | None, Tensor]:
    pieces = TrunkPieces(trunk, weights, "pool3")
    bands = None if band_power is None else Convolution(band_power.filters, None)
    covariances = []
    moments = {name: Moments() for name in ("encoder1", "encoder2", "encoder3")}
    pooled = []
    parts = signals.split(piece_length(signals), 2)
    for i, part in enumerate(parts):
        last = i == len(parts) - 1
        ready = pieces.push(part, last)
        if band_power is not None and bands is not None:
            rhythms = bands.push(part.transpose(0, 1), last)
            if rhythms is not None:
                covariances.append(band_power.covariance(rhythms.unsqueeze(0)))
        for name, moment in moments.items():
            if name in ready:
                moment.add(ready[name])
        if "pool3" in ready:
            pooled.append(ready["pool3"])
    mediated = trunk.mediator(torch.cat(pooled, dim=2))
    variances = [moment.variance() for moment in moments.values()]
    variances.append(variance(mediated))
    power: Tensor | None = None
    if band_power is not None:
        covariance = torch.stack(covariances).sum(0) / signals.shape[2]
        power = band_power.log_power(covariance, weights)
    return power, torch.log(torch.cat(variances, dim=1) + 1e-6)


def rebuild_long_windows(
    trunk: Trunk,
    decoder: Decoder,
    readout: nn.Module,
    x: Tensor,
    pos: Tensor | None,
    ch_mask: Tensor | None,
) -> Tensor:
    """Rebuild long windows.

    Parameters
    ----------
    trunk, decoder, readout
        Parts of `braindecode_samba.SAMBAReconstructor`.
    x, pos, ch_mask
        As for `Trunk.forward`.

    Returns
    -------
    Tensor, shape (batch, channels, times at the model's rate)
        What one pass gives.
    """
    pos, signals, weights = trunk.begin(x, pos, ch_mask)
    rebuilt = []
    for i in range(len(signals)):
        own_pos = pos if pos.dim() == 2 else pos[i]
        own_mask = ch_mask if ch_mask is None or ch_mask.dim() == 1 else ch_mask[i]
        skips = _skips_of_one(trunk, signals[i : i + 1], _row(weights, i))
        last = decoder.last_convolution(as_one_layer(readout, own_pos, own_mask))
        parts = _decode_one(decoder, last, trunk.mediator(skips[3]), *skips[:3])
        rebuilt.append(torch.cat(parts, dim=2))
    return torch.cat(rebuilt)


def _skips_of_one(trunk: Trunk, signals: Tensor, weights: Tensor) -> list[Tensor]:
    """Compute the encoder's three scales and ``pool3``, each once and in its place."""
    n_times = signals.shape[2]
    names = ("encoder1", "encoder2", "encoder3", "pool3")
    encoder = trunk.encoder
    features = (
        encoder.conv2.in_channels,
        encoder.conv3.in_channels,
        encoder.conv3.out_channels,
        encoder.conv3.out_channels,
    )
    skips = [
        signals.new_empty(1, n, n_times // 2**scale) for scale, n in enumerate(features)
    ]
    filled = [0] * len(skips)
    pieces = TrunkPieces(trunk, weights, "pool3")
    parts = signals.split(piece_length(signals), 2)
    for i, part in enumerate(parts):
        ready = pieces.push(part, last=i == len(parts) - 1)
        for k, name in enumerate(names):
            if name in ready:
                new = ready[name]
                skips[k][:, :, filled[k] : filled[k] + new.shape[2]] = new
                filled[k] += new.shape[2]
    return skips


def as_one_layer(
    readout: nn.Module, pos: Tensor, ch_mask: Tensor | None
) -> tuple[Tensor, Tensor] | None:
    """Weight (channels, features) and bias of a readout, where it has one for all.

    Parameters
    ----------
    readout : CoordinateReadout or nn.Conv1d
        Of `braindecode_samba.SAMBAReconstructor`.
    pos, ch_mask
        As for `CoordinateReadout.forward`.
    """
    if isinstance(readout, CoordinateReadout):
        return readout.as_one_layer(pos, ch_mask)
    assert isinstance(readout, nn.Conv1d)
    assert readout.bias is not None  # as it was made
    return readout.weight.squeeze(-1), readout.bias


def _decode_one(
    decoder: Decoder,
    last: tuple[Tensor, Tensor],
    mediated: Tensor,
    x1: Tensor,
    x2: Tensor,
    x3: Tensor,
) -> list[Tensor]:
    """Decode, in parts that follow each other in time."""
    convolution = Convolution(decoder.conv3.weight, decoder.conv3.bias)
    mamba3 = _decode_scale(x3, mediated, convolution, Recurrence(decoder.mamba3))
    convolution = Convolution(decoder.conv2.weight, decoder.conv2.bias)
    deep = torch.cat(mamba3, dim=2)
    d2 = _decode_scale(x2, deep, convolution, Recurrence(decoder.mamba2))
    return _decode_scale(x1, torch.cat(d2, dim=2), Convolution(*last), None)


def _decode_scale(
    skip: Tensor, deep: Tensor, convolution: Convolution, recurrence: Recurrence | None
) -> list[Tensor]:
    """Decode one scale: stretch, join, convolve, and run the recurrence."""
    n_times, step = skip.shape[2], piece_length(skip)
    parts = []
    for start in range(0, n_times, step):
        stop = min(start + step, n_times)
        stretched = stretch(deep, n_times, start, stop)
        joined = torch.cat([skip[:, :, start:stop], stretched], dim=1)
        part = convolution.push(joined, stop == n_times)
        if recurrence is not None:
            part = recurrence.push(part, stop == n_times)
        if part is not None:
            parts.append(part)
    return parts


def _row(weights: Tensor, i: int) -> Tensor:
    return weights if weights.dim() == 2 else weights[i]
