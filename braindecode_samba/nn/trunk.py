"""The part that every SAMBA model shares: from signals at electrodes to the mediator.

Units and rate, positions, spatial embedding, encoder and mediator, in this order.
Heads, decoder and names of channels are added in `braindecode_samba.models`.
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from braindecode_samba.nn.scaling import MODEL_SFREQ, SignalInput
from braindecode_samba.nn.spatial import CoordinateEmbedding
from braindecode_samba.nn.unet import Encoder, Mediator
from braindecode_samba.scan.traced import is_traced
from braindecode_samba.signals.heads import distinct_heads, refuse_no_head

LAYERS = (
    "spatial",
    "input_embedding",
    "encoder1",
    "pool1",
    "encoder2",
    "pool2",
    "encoder3",
    "pool3",
    "mediator",
)


class Stages(NamedTuple):
    """What the trunk computes on its way; all signals are channel-first."""

    pos: Tensor  # (channels, 3) or (batch, channels, 3), frame of the targets
    weights: Tensor  # (n_targets, channels), with a batch axis for positions per sample
    signals: Tensor  # (batch, channels, times), scaled, at the model's rate
    encoder1: Tensor  # (batch, 64, times)
    encoder2: Tensor  # (batch, 64, times // 2)
    encoder3: Tensor  # (batch, 128, times // 4)
    pool3: Tensor  # (batch, 128, times // 8)
    mediator: Tensor  # (batch, 128, times // 8)


class Positions(nn.Module):
    """Where the channels of a batch are: given with it, or by default.

    Parameters
    ----------
    default : Tensor, shape (n_chans, 3), optional
        Positions for batches that bring none, in the frame of the targets.
    rotation : Tensor, shape (3, 3), and shift : Tensor, shape (3,), optional
        Rigid motion from the frame in which batches bring positions to that of the
        targets: ``rotation @ pos + shift``.
    """

    default: Tensor | None
    rotation: Tensor | None
    shift: Tensor | None

    def __init__(
        self,
        default: Tensor | None = None,
        rotation: Tensor | None = None,
        shift: Tensor | None = None,
    ) -> None:
        super().__init__()
        # a checkpoint's montage is in its config: weights fit any other one too
        self.register_buffer("default", default, persistent=False)
        self.register_buffer("rotation", rotation, persistent=False)
        self.register_buffer("shift", shift, persistent=False)

    def forward(
        self, x: Tensor | None, pos: Tensor | None, ch_mask: Tensor | None
    ) -> Tensor:
        """Choose the positions of a batch and bring them to the frame of the targets.

        Parameters
        ----------
        x : Tensor, shape (batch, channels, times), or None
            Windows that the positions must fit.
        pos : Tensor, shape (channels, 3) or (batch, channels, 3), optional
            Positions that came with the batch, metres.
        ch_mask : Tensor of bool, shape (channels,) or (batch, channels), optional
            True where a channel is present.

        Returns
        -------
        Tensor, shape (channels, 3) or (batch, channels, 3)
            Positions in the frame of the targets.

        Raises
        ------
        ValueError
            If there are none, they don't fit, or they are not in metres.
        """
        if pos is None:
            pos = self.default
            if pos is None:
                raise ValueError(
                    "the model knows no electrode positions: construct it with "
                    "chs_info in which every channel has a known name or a location, "
                    "or pass pos of shape (channels, 3) in metres to forward"
                )
        else:
            if not torch.jit.is_scripting():
                if not is_traced():
                    _check_positions(pos, x, ch_mask)
            rotation, shift = self.rotation, self.shift
            if rotation is not None and shift is not None:
                pos = torch.matmul(pos, rotation.t()) + shift
        if x is not None:
            if pos.shape[-2] != x.shape[1]:
                advice = "pass pos with one row a channel"
                if pos.shape[-2] == x.shape[-1]:
                    advice = "windows are (batch, channels, times), x.transpose(1, 2)"
                raise ValueError(
                    f"x has {x.shape[1]} channels but there are {pos.shape[-2]} "
                    f"positions; {advice}"
                )
        return pos


def _check_windows(x: Tensor, ch_mask: Tensor | None) -> None:
    if x.dim() != 3 or x.is_complex():
        raise ValueError(
            f"x has shape {tuple(x.shape)} and dtype {x.dtype}; pass real windows of "
            "shape (batch, channels, times)"
        )
    if 0 in x.shape:
        raise ValueError(
            f"x has shape {tuple(x.shape)}: pass at least one window of at least one "
            "channel"
        )
    if ch_mask is None:
        return
    if ch_mask.dtype != torch.bool or ch_mask.shape not in (x.shape[1:2], x.shape[:2]):
        raise ValueError(
            f"ch_mask has shape {tuple(ch_mask.shape)} and dtype {ch_mask.dtype}; pass "
            "bool of shape (channels,) or (batch, channels), True where a channel is "
            "present"
        )
    if not bool(ch_mask.any(-1).all()):
        raise ValueError(
            "ch_mask leaves a window without any channel; drop that window"
        )


def _check_positions(pos: Tensor, x: Tensor | None, ch_mask: Tensor | None) -> None:
    """Refuse what `braindecode_samba.signals.check_positions` refuses, for a batch."""
    if pos.dim() not in (2, 3) or pos.shape[-1] != 3:
        raise ValueError(
            f"pos has shape {tuple(pos.shape)}; pass (channels, 3) or "
            "(batch, channels, 3)"
        )
    if x is not None and pos.dim() == 3 and pos.shape[0] != x.shape[0]:
        raise ValueError(
            f"pos has positions for {pos.shape[0]} windows and x has {x.shape[0]}; "
            "pass as many, or one set of shape (channels, 3)"
        )
    # to the CPU once, and each head once: this is part of every pass
    places = pos.detach().double().cpu()
    places = places if places.dim() == 3 else places.unsqueeze(0)
    present = torch.ones(places.shape[:2], dtype=torch.bool)
    if ch_mask is not None and ch_mask.shape[-1] == pos.shape[-2]:
        shape = torch.broadcast_shapes(places.shape[:2], ch_mask.shape)
        places, present = places.expand(*shape, 3), ch_mask.cpu().expand(shape)
    if not bool(torch.isfinite(places[present]).all()):
        raise ValueError(
            "pos has a NaN or infinite entry; give every present channel a position in "
            "metres, or mark it absent in ch_mask"
        )
    for head in distinct_heads(places.numpy(), present.numpy()):
        refuse_no_head(head)


class Trunk(nn.Module):
    """Signal input, spatial embedding, encoder and mediator.

    Parameters
    ----------
    target_positions : Tensor, shape (n_targets, 3)
        Targets of the spatial embedding, metres.
    positions : Positions
        Default positions and the change of frame.
    sfreq : float, optional
        Rate of the input, Hz; by default the model's.
    model_sfreq : float
        Rate of the model, Hz.
    scale : {"window", "channel", "recording"} or None
        See `SignalInput`.
    spatial_init : {"distance", "published"}
        See `CoordinateEmbedding`.
    d_state, d_conv, expand : int
        See `Mamba2`.
    """

    def __init__(
        self,
        target_positions: Tensor,
        positions: Positions,
        *,
        sfreq: float | None = None,
        model_sfreq: float = MODEL_SFREQ,
        scale: str | None = "window",
        spatial_init: str = "distance",
        d_state: int = 16,
        d_conv: int = 2,
        expand: int = 8,
    ) -> None:
        super().__init__()
        self.sizes = d_state, d_conv, expand
        self.positions = positions
        self.signal = SignalInput(sfreq, model_sfreq, scale)
        self.spatial = CoordinateEmbedding(target_positions, spatial_init)
        self.encoder = Encoder(len(target_positions), d_state, d_conv, expand)
        self.mediator = Mediator(d_state=d_state, d_conv=d_conv, expand=expand)

    def forward(
        self, x: Tensor, pos: Tensor | None = None, ch_mask: Tensor | None = None
    ) -> Stages:
        """Run the trunk.

        Parameters
        ----------
        x : Tensor, shape (batch, channels, times)
            Windows, any unit.
        pos : Tensor, shape (channels, 3) or (batch, channels, 3), optional
            Positions, metres.
        ch_mask : Tensor of bool, shape (channels,) or (batch, channels), optional
            True where a channel is present.

        Returns
        -------
        Stages
            All stages.
        """
        pos, signals, weights = self.begin(x, pos, ch_mask)
        x1, x2, x3, pool3 = self.encoder(signals, weights)
        mediated = self.mediator(pool3)
        return Stages(pos, weights, signals, x1, x2, x3, pool3, mediated)

    def begin(
        self, x: Tensor, pos: Tensor | None, ch_mask: Tensor | None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Check a batch, find its positions, scale its signals and weigh its channels.

        Parameters
        ----------
        x, pos, ch_mask
            As for `forward`.

        Returns
        -------
        pos : Tensor, shape (channels, 3) or (batch, channels, 3)
            Positions in the frame of the targets.
        signals : Tensor, shape (batch, channels, times at the model's rate)
            Scaled signals; absent channels are zero.
        weights : Tensor, shape (n_targets, channels) or (batch, n_targets, channels)
            What each electrode contributes to each target.
        """
        if not torch.jit.is_scripting():
            if not is_traced():
                _check_windows(x, ch_mask)
        x = x.to(self.spatial.target_positions.dtype)
        pos = self.positions(x, _like(self.spatial.target_positions, pos), ch_mask)
        return pos, self.signal(x, ch_mask), self.spatial.mixing(pos, ch_mask)

    def encode(
        self,
        x: Tensor,
        pos: Tensor | None = None,
        ch_mask: Tensor | None = None,
        layer: str = "pool3",
    ) -> Tensor:
        """Run the trunk up to one layer and no further.

        Parameters
        ----------
        x, pos, ch_mask
            As for `forward`.
        layer : str
            One of ``LAYERS``, in the order of the computation: ``"spatial"`` (94
            features at the model's rate), ``"input_embedding"`` and ``"encoder1"``
            (64), ``"pool1"`` and ``"encoder2"`` (64, half the rate), ``"pool2"`` and
            ``"encoder3"`` (64 and 128, a quarter), ``"pool3"`` and ``"mediator"``
            (128, an eighth).

        Returns
        -------
        Tensor, shape (batch, features, times)
            Signals of that layer.

        Raises
        ------
        ValueError
            If there is no such layer.
        """
        if layer not in LAYERS:
            raise ValueError(f"layer={layer!r} is unknown; pass one of {LAYERS}")
        _, signals, weights = self.begin(x, pos, ch_mask)
        h = torch.matmul(weights.to(signals.dtype), signals)
        encoder = self.encoder
        steps = (
            encoder.input_embedding,
            nn.Sequential(encoder.linear1, encoder.mamba1),
            encoder.pool,
            encoder.conv2,
            encoder.pool,
            encoder.conv3,
            encoder.pool,
            self.mediator,
        )
        for step in steps[: LAYERS.index(layer)]:
            h = step(h)
        return h

    def spatial_weights(
        self, pos: Tensor | None = None, ch_mask: Tensor | None = None
    ) -> Tensor:
        """Weights (n_targets, channels) of electrodes at the targets."""
        like = _like(self.spatial.target_positions, pos)
        return self.spatial.mixing(self.positions(None, like, ch_mask), ch_mask)


def _like(example: Tensor, pos: Tensor | None) -> Tensor | None:
    return None if pos is None else pos.to(example.device, example.dtype)
