"""The trunk over a signal that comes in pieces, as if it had come at once.

Recurrences hand on their state, convolutions and pools keep the samples that they still
need, and the mediator's norm over all time takes its statistics from a first pass.
Nothing is approximated: however a signal is cut, the layers are those of one pass.
Whole windows go through `braindecode_samba.nn.trunk`; reading and scaling recordings is
the business of `braindecode_samba.nn.recordings`.
"""

from typing import NamedTuple, Protocol

import torch
from torch import Tensor
from torch.nn import functional as F

from braindecode_samba.nn.trunk import LAYERS, Trunk
from braindecode_samba.nn.unet import Mediator, ResidualMamba
from braindecode_samba.scan.tiles import State


class Stage(Protocol):
    """A layer that takes a signal piece by piece."""

    def push(self, x: Tensor | None, last: bool) -> Tensor | None:
        """Take the next piece and give what is ready.

        Parameters
        ----------
        x : Tensor, shape (batch, features, times), or None
            Next samples, if there are any.
        last : bool
            Whether the signal ends with them.

        Returns
        -------
        Tensor, shape (batch, features, times), or None
            Outputs that no later sample can change, and that were not given before.
        """


class Convolution:
    """Centred convolution with zeros beyond both ends of the signal.

    Parameters
    ----------
    weight : Tensor, shape (out_features, in_features, taps)
        An odd number of taps.
    bias : Tensor, shape (out_features,), or None
        Bias.
    """

    def __init__(self, weight: Tensor, bias: Tensor | None) -> None:
        self.weight, self.bias = weight, bias
        self.taps = weight.shape[2]
        self.kept: Tensor | None = None

    def push(self, x: Tensor | None, last: bool) -> Tensor | None:
        """See `Stage`: outputs lag half of the taps behind."""
        half = self.taps // 2
        if x is None:
            if self.kept is None or not last:
                return None
            x = self.kept
        elif self.kept is None:
            x = F.pad(x, [half, 0])
        else:
            x = torch.cat([self.kept, x], dim=2)
        if last:
            x = F.pad(x, [0, half])
        self.kept = x[:, :, max(0, x.shape[2] - self.taps + 1) :]
        if x.shape[2] < self.taps:
            return None
        return F.conv1d(x, self.weight, self.bias)


class Pool:
    """Maximum of pairs of samples; an odd one at the end falls away."""

    def __init__(self) -> None:
        self.kept: Tensor | None = None

    def push(self, x: Tensor | None, last: bool) -> Tensor | None:
        """See `Stage`."""
        if x is None:
            return None
        if self.kept is not None:
            x = torch.cat([self.kept, x], dim=2)
        even = x.shape[2] // 2 * 2
        self.kept = x[:, :, even:]
        return F.max_pool1d(x, 2) if even else None


class Recurrence:
    """`ResidualMamba` that hands on its state."""

    def __init__(self, layer: ResidualMamba) -> None:
        self.layer = layer
        self.state: State | None = None

    def push(self, x: Tensor | None, last: bool) -> Tensor | None:
        """See `Stage`: nothing lags."""
        if x is None:
            return None
        y, self.state = self.layer.mamba.advance(x.transpose(1, 2), self.state)
        return x + y.transpose(1, 2)


class TimeStatistics(NamedTuple):
    """Mean and variance over all time of what the mediator normalises."""

    mean: Tensor  # (heads, batch, 1, 1)
    var: Tensor  # (heads, batch, 1, 1)


class Mediation:
    """`Mediator` in two passes: the first measures, the second gives outputs.

    Its norm runs over all time, so that no output is known before the signal ends.

    Parameters
    ----------
    mediator : Mediator
        The layer.
    statistics : TimeStatistics, optional
        Of a first pass; without, this is the first pass and gives nothing.
    """

    def __init__(
        self, mediator: Mediator, statistics: TimeStatistics | None = None
    ) -> None:
        self.mediator = mediator
        self.given = statistics
        self.state: State | None = None
        # steps that count for the statistics, bool of shape (times,); None: all
        self.counted: Tensor | None = None
        self.n_seen = 0
        self.moments = Moments()

    def push(self, x: Tensor | None, last: bool) -> Tensor | None:
        """See `Stage`."""
        if x is None:
            return None
        h = self.mediator.linear_in(x.transpose(1, 2))
        d, self.state = self.mediator.mdm.differences(h, self.state)
        if self.given is None:
            if self.counted is not None:
                # of a pause at the end there may be no step at all
                kept = self.counted[self.n_seen : self.n_seen + d.shape[2]]
                self.n_seen += d.shape[2]
                d = d[:, :, kept]
            self.moments.add(d.transpose(2, 3).flatten(2))
            return None
        mixed = self.mediator.mdm.join(h, d, *self.given)
        return self.mediator.linear_out(mixed).transpose(1, 2)

    def statistics(self) -> TimeStatistics:
        """Statistics of all that was pushed, for a second pass."""
        mean, var = self.moments.mean(), self.moments.variance()
        return TimeStatistics(mean[..., None, None], var[..., None, None])


class Moments:
    """Mean and variance over time of a signal in pieces, summed in float64."""

    def __init__(self) -> None:
        self.count = 0
        self.total: Tensor | None = None
        self.squares: Tensor | None = None
        self.dtype = torch.float32

    def add(self, x: Tensor) -> None:
        """Add samples (..., times)."""
        # float64 is dear on some GPUs, and a piece is short: sum it as it is
        wide = x if x.is_cuda else x.double()
        total = wide.sum(-1).double()
        squares = wide.square().sum(-1).double()
        self.count += x.shape[-1]
        self.dtype = x.dtype if x.dtype == torch.float64 else torch.float32
        self.total = total if self.total is None else self.total + total
        self.squares = squares if self.squares is None else self.squares + squares

    def mean(self) -> Tensor:
        """Mean over time, shape (...)."""
        assert self.total is not None  # something was added
        return (self.total / self.count).to(self.dtype)

    def variance(self) -> Tensor:
        """Variance over time with divisor N, shape (...)."""
        assert self.total is not None  # something was added
        assert self.squares is not None
        mean = self.total / self.count
        var = self.squares / self.count - mean.square()
        return var.clamp(min=0).to(self.dtype)


class TrunkPieces:
    """All layers of a trunk up to one, for a signal that comes in pieces.

    Parameters
    ----------
    trunk : Trunk
        The layers.
    weights : Tensor, shape (n_targets, channels)
        Of `Trunk.spatial_weights`.
    last_layer : str
        Where to stop, one of ``LAYERS``.
    statistics : TimeStatistics, optional
        For the layer ``"mediator"``, which gives nothing without.
    """

    def __init__(
        self,
        trunk: Trunk,
        weights: Tensor,
        last_layer: str,
        statistics: TimeStatistics | None = None,
    ) -> None:
        encoder = trunk.encoder
        early = LAYERS.index(last_layer) < LAYERS.index("encoder1")
        self.weights = weights if early else None
        self.mediation = Mediation(trunk.mediator, statistics)
        self.stages: list[tuple[str, list[Stage]]]
        if early:
            embedding = Convolution(*encoder.input_embedding.as_one_convolution())
            wanted = last_layer == "input_embedding"
            self.stages = [("input_embedding", [embedding])] if wanted else []
            return
        stages: list[list[Stage]] = [
            [
                Convolution(*encoder.as_one_convolution(weights)),
                Recurrence(encoder.mamba1),
            ],
            [Pool()],
            [Convolution(encoder.conv2.weight, encoder.conv2.bias)],
            [Pool()],
            [Convolution(encoder.conv3.weight, encoder.conv3.bias)],
            [Pool()],
            [self.mediation],
        ]
        first = LAYERS.index("encoder1")
        names = LAYERS[first : LAYERS.index(last_layer) + 1]
        self.stages = list(zip(names, stages, strict=False))

    def push(self, x: Tensor | None, last: bool) -> dict[str, Tensor]:
        """Take the next samples.

        Parameters
        ----------
        x : Tensor, shape (batch, channels, times), or None
            Scaled signals at the model's rate.
        last : bool
            Whether the signal ends with them.

        Returns
        -------
        dict of str to Tensor
            By layer what became ready, (batch, features, times); layers without news
            are left out, and so are ``"spatial"`` and ``"input_embedding"`` unless one
            of them is the last layer.
        """
        ready: dict[str, Tensor] = {}
        y = x
        if self.weights is not None and x is not None:
            y = ready["spatial"] = torch.matmul(self.weights.to(x.dtype), x)
        for layer, steps in self.stages:
            for step in steps:
                y = step.push(y, last)
            if y is not None:
                ready[layer] = y
        return ready
