"""From electrodes to fixed places on the head, and back: the coordinate layers.

`CoordinateEmbedding` (CDSE, in the authors' code SAIE) mixes any set of electrodes
into the signals at the target positions; `CoordinateReadout` mixes signals at the
targets back into any electrodes.  Both learn one function of the vector between two
places. Positions come ready: names, frames and units are the business of
`braindecode_samba.signals.montages`.
"""

import torch
from torch import Tensor, nn

from braindecode_samba.scan.traced import is_traced

# radius of the sphere through the targets, metres
HEAD_RADIUS = 0.099
_SHARPNESS = 20.0
_HIDDEN = 32


class DistanceWeights(nn.Module):
    """Weights of sources at receivers, from the vectors between them.

    ``w[r, s] = softmax_s(f(pos_r - pos_s) - kappa d^2)`` with a small network ``f``
    and the distance ``d`` in head radii.

    Parameters
    ----------
    init : {"distance", "published"}
        ``"distance"`` (ours): ``f`` starts at zero and ``kappa``, learnable, at 20, so
        that weights fall with distance and nearly interpolate. ``"published"``: the
        network alone with torch's start; differences of centimetres then give nearly
        equal weights everywhere.
    """

    def __init__(self, init: str = "distance") -> None:
        super().__init__()
        if init not in ("distance", "published"):
            raise ValueError(
                f"init={init!r} is unknown; pass 'distance' or 'published'"
            )
        self.init = init
        last = nn.Linear(_HIDDEN, 1)
        self.net = nn.Sequential(nn.Linear(3, _HIDDEN), nn.ReLU(), last)
        self.head_radius = HEAD_RADIUS
        self.kappa: nn.Parameter | None = None
        if init == "distance":
            nn.init.zeros_(last.weight)
            nn.init.zeros_(last.bias)
            self.kappa = nn.Parameter(torch.tensor(_SHARPNESS))

    def forward(
        self, receivers: Tensor, sources: Tensor, present: Tensor | None = None
    ) -> Tensor:
        """Compute the weights.

        Parameters
        ----------
        receivers : Tensor, shape (..., n_receivers, 3)
            Positions, metres.
        sources : Tensor, shape (..., n_sources, 3)
            Positions, metres.
        present : Tensor of bool, shape (..., n_sources), optional
            Sources that exist; others get weight 0.

        Returns
        -------
        Tensor, shape (..., n_receivers, n_sources)
            Positive weights that sum to 1 over the sources.
        """
        if present is not None:
            # whatever stands in for an absent position must not reach a gradient
            sources = sources.masked_fill(~present.unsqueeze(-1), 0.0)
        logits = self._logits(receivers, sources)
        if present is not None:
            logits = logits.masked_fill(~present.unsqueeze(-2), -float("inf"))
        return logits.softmax(-1)

    def _logits(self, receivers: Tensor, sources: Tensor) -> Tensor:
        """Compute logits; a place that several windows share once."""
        if not torch.jit.is_scripting():
            if _can_be_shared(sources):
                places, number = sources.flatten(0, 1).unique(
                    dim=0, return_inverse=True
                )
                columns = self._logits(receivers, places).t().index_select(0, number)
                return columns.unflatten(0, sources.shape[:2]).transpose(1, 2)
            if _can_be_shared(receivers):
                places, number = receivers.flatten(0, 1).unique(
                    dim=0, return_inverse=True
                )
                rows = self._logits(places, sources).index_select(0, number)
                return rows.unflatten(0, receivers.shape[:2])
        vector = receivers.unsqueeze(-2) - sources.unsqueeze(-3)
        logits = self.net(vector).squeeze(-1)
        if self.kappa is not None:
            distance2 = vector.square().sum(-1) / self.head_radius**2
            logits = logits - self.kappa * distance2
        return logits


def _can_be_shared(places: Tensor) -> bool:
    """Whether to look for places that windows (batch, n, 3) have in common.

    Not where the derivatives by places are wanted, not on a GPU, which would wait and
    add up derivatives in any order, and not for exporters.
    """
    several = places.dim() == 3 and len(places) > 1
    return several and not (places.requires_grad or places.is_cuda or is_traced())


class CoordinateEmbedding(nn.Module):
    """Coordinate-driven spatial embedding (CDSE): electrodes to target positions.

    Parameters
    ----------
    target_positions : Tensor, shape (n_targets, 3)
        Places to which signals are mixed, metres, in the frame of the electrodes.
    init : {"distance", "published"}
        How weights start, see `DistanceWeights`.

    References
    ----------
    SAMBA, arXiv 2511.18571, "coordinate-driven spatial embedding"; called SAIE in the
    abstract and in the authors' code.
    """

    target_positions: Tensor

    def __init__(self, target_positions: Tensor, init: str = "distance") -> None:
        super().__init__()
        self.register_buffer("target_positions", target_positions)
        self.weights = DistanceWeights(init)

    def forward(
        self, x: Tensor, pos: Tensor, ch_mask: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Mix electrodes into targets.

        Parameters
        ----------
        x : Tensor, shape (batch, channels, times)
            Signals.
        pos : Tensor, shape (channels, 3) or (batch, channels, 3)
            Electrode positions, metres.
        ch_mask : Tensor of bool, shape (channels,) or (batch, channels), optional
            True where a channel is present. An absent one can't influence the output,
            whatever it holds.

        Returns
        -------
        y : Tensor, shape (batch, n_targets, times)
            Signals at the targets.
        weights : Tensor, shape (n_targets, channels) or (batch, n_targets, channels)
            What each electrode contributes to each target.
        """
        if ch_mask is not None:
            x = x.masked_fill(~ch_mask.unsqueeze(-1), 0.0)
        weights = self.mixing(pos, ch_mask)
        return torch.matmul(weights.to(x.dtype), x), weights

    def mixing(self, pos: Tensor, ch_mask: Tensor | None = None) -> Tensor:
        """Weights (n_targets, channels) of electrodes, with a batch axis if needed."""
        if ch_mask is not None:
            if ch_mask.dim() == 2 and pos.dim() == 2:
                pos = pos.expand(ch_mask.shape[0], -1, -1)
        return self.weights(self.target_positions, pos, ch_mask)


class CoordinateReadout(nn.Module):
    """Mirror image of the embedding (ours): signals at the targets to any electrodes.

    One model then rebuilds recordings of many montages, where the published output
    layer knows the number of electrodes of one.

    Parameters
    ----------
    in_features : int
        Features of the decoder.
    target_positions : Tensor, shape (n_targets, 3)
        As in `CoordinateEmbedding`.
    init : {"distance", "published"}
        How weights start, see `DistanceWeights`.
    """

    target_positions: Tensor

    def __init__(
        self, in_features: int, target_positions: Tensor, init: str = "distance"
    ) -> None:
        super().__init__()
        # memory of its own: of two tensors that share it, safetensors keeps one
        self.register_buffer("target_positions", target_positions.clone())
        self.to_targets = nn.Conv1d(in_features, len(target_positions), 1)
        self.weights = DistanceWeights(init)

    def forward(self, z: Tensor, pos: Tensor, ch_mask: Tensor | None = None) -> Tensor:
        """Read electrodes out of decoder features.

        Parameters
        ----------
        z : Tensor, shape (batch, in_features, times)
            Output of the decoder.
        pos : Tensor, shape (channels, 3) or (batch, channels, 3)
            Electrode positions, metres.
        ch_mask : Tensor of bool, shape (channels,) or (batch, channels), optional
            True where a channel is present; absent ones come out as zeros.

        Returns
        -------
        Tensor, shape (batch, channels, times)
            Signals at the electrodes.
        """
        weights = self.mixing(pos, ch_mask)
        x = torch.matmul(weights.to(z.dtype), self.to_targets(z))
        if ch_mask is not None:
            x = x.masked_fill(~ch_mask.unsqueeze(-1), 0.0)
        return x

    def mixing(self, pos: Tensor, ch_mask: Tensor | None = None) -> Tensor:
        """Weights (channels, n_targets) of targets, with a batch axis if needed."""
        if ch_mask is not None:
            pos = pos.masked_fill(~ch_mask.unsqueeze(-1), 0.0)
        return self.weights(pos, self.target_positions)

    def as_one_layer(
        self, pos: Tensor, ch_mask: Tensor | None = None
    ) -> tuple[Tensor, Tensor] | None:
        """Weight (channels, in_features) and bias of the whole readout.

        None where every window has electrodes of its own.
        """
        if pos.dim() == 3 or (ch_mask is not None and ch_mask.dim() == 2):
            return None
        weights = self.mixing(pos, ch_mask)
        if ch_mask is not None:
            weights = weights.masked_fill(~ch_mask.unsqueeze(-1), 0.0)
        bias = self.to_targets.bias
        assert bias is not None  # as it was made
        matrix = torch.matmul(weights, self.to_targets.weight.squeeze(-1))
        return matrix, torch.mv(weights, bias)
