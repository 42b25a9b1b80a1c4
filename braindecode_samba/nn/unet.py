"""The U-shaped network between spatial embedding and readout.

Encoder (with the multi-branch embedding), mediator and decoder of SAMBA, channel-first
throughout; positions, units and heads are none of their business.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from braindecode_samba.nn.mamba import Mamba2, MultiHeadDifferentialMamba
from braindecode_samba.scan.traced import is_traced

N_FEATURES = 64
N_DEEP_FEATURES = 128


class MultiBranchEmbedding(nn.Module):
    """Three parallel convolutions of 1, 3 and 7 samples, joined by a fourth.

    Parameters
    ----------
    in_features : int
        Signals at the targets.
    out_features : int
        Features of every branch and of the result.

    References
    ----------
    SAMBA, arXiv 2511.18571, input embedding; joined as in the authors' code, where the
    figure draws a sum.
    """

    def __init__(self, in_features: int, out_features: int = N_FEATURES) -> None:
        super().__init__()
        self.branch1 = nn.Conv1d(in_features, out_features, 1)
        self.branch3 = nn.Conv1d(in_features, out_features, 3, padding=1)
        self.branch7 = nn.Conv1d(in_features, out_features, 7, padding=3)
        self.fuse = nn.Conv1d(3 * out_features, out_features, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Embed (batch, in_features, times) as (batch, out_features, times)."""
        weight, bias = self.as_one_convolution()
        return F.conv1d(x, weight, bias, padding=3)

    def as_one_convolution(self) -> tuple[Tensor, Tensor]:
        """Weight and bias of the one convolution of 7 samples that the four make.

        There is no activation between them: exact, and half of the work.

        Returns
        -------
        weight : Tensor, shape (out_features, in_features, 7)
            Taps.
        bias : Tensor, shape (out_features,)
            Bias.
        """
        taps = torch.cat(
            [
                F.pad(self.branch1.weight, [3, 3]),
                F.pad(self.branch3.weight, [2, 2]),
                self.branch7.weight,
            ]
        )
        biases: list[Tensor] = []
        for layer in (self.branch1, self.branch3, self.branch7, self.fuse):
            bias = layer.bias
            assert bias is not None  # as they were made
            biases.append(bias)
        fuse = self.fuse.weight.squeeze(-1)
        weight = torch.matmul(fuse, taps.flatten(1)).view(-1, taps.shape[1], 7)
        return weight, torch.mv(fuse, torch.cat(biases[:3])) + biases[3]


class ResidualMamba(nn.Module):
    """``h + Mamba2(h)`` on channel-first signals.

    The authors create an RMSNorm here and never apply it. It is kept, frozen, so that
    their state dicts load whole.

    Parameters
    ----------
    features : int
        Features of input and output.
    d_state, d_conv, expand : int
        See `Mamba2`.
    """

    def __init__(
        self, features: int, d_state: int = 16, d_conv: int = 2, expand: int = 8
    ) -> None:
        super().__init__()
        self.mamba = Mamba2(features, d_state, d_conv, expand)
        self.norm = nn.RMSNorm(features)
        self.norm.requires_grad_(False)

    def forward(self, h: Tensor) -> Tensor:
        """Map (batch, features, times) to the same shape."""
        return h + self.mamba(h.transpose(1, 2)).transpose(1, 2)


class Mediator(nn.Module):
    """Linear, multi-head differential Mamba, Linear between encoder and decoder.

    Parameters
    ----------
    features : int
        Features of input and output.
    d_state, d_conv, expand : int
        See `Mamba2`.
    """

    def __init__(
        self,
        features: int = N_DEEP_FEATURES,
        d_state: int = 16,
        d_conv: int = 2,
        expand: int = 8,
    ) -> None:
        super().__init__()
        self.linear_in = nn.Linear(features, features)
        self.mdm = MultiHeadDifferentialMamba(
            features, d_state=d_state, d_conv=d_conv, expand=expand
        )
        self.linear_out = nn.Linear(features, features)

    def forward(self, h: Tensor) -> Tensor:
        """Map (batch, features, times) to the same shape."""
        return self.linear_out(self.mdm(self.linear_in(h.transpose(1, 2)))).transpose(
            1, 2
        )


class HalfRate(nn.Module):
    """The larger of every two samples."""

    def forward(self, x: Tensor) -> Tensor:
        """Pool (batch, features, times) to (batch, features, times // 2)."""
        if not torch.jit.is_scripting() and is_traced():
            # the same; exporters take the other for a function of one length alone
            return F.max_pool2d(x, (1, 2))
        return F.max_pool1d(x, 2)


class Encoder(nn.Module):
    """Signals at the targets to features at three scales of time.

    Parameters
    ----------
    n_targets : int
        Signals that come in.
    d_state, d_conv, expand : int
        See `Mamba2`.
    """

    def __init__(
        self, n_targets: int, d_state: int = 16, d_conv: int = 2, expand: int = 8
    ) -> None:
        super().__init__()
        self.input_embedding = MultiBranchEmbedding(n_targets)
        self.linear1 = nn.Conv1d(N_FEATURES, N_FEATURES, 1)
        self.mamba1 = ResidualMamba(N_FEATURES, d_state, d_conv, expand)
        self.conv2 = nn.Conv1d(N_FEATURES, N_FEATURES, 3, padding=1)
        self.conv3 = nn.Conv1d(N_FEATURES, N_DEEP_FEATURES, 3, padding=1)
        self.pool = HalfRate()

    def forward(
        self, signals: Tensor, mixing: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Encode.

        Parameters
        ----------
        signals : Tensor, shape (batch, channels, times)
            Signals at the electrodes, at least 8 samples.
        mixing : Tensor, shape (n_targets, channels) or (batch, n_targets, channels)
            Weights of the electrodes at the targets.

        Returns
        -------
        x1 : Tensor, shape (batch, 64, times)
            First scale.
        x2 : Tensor, shape (batch, 64, times // 2)
            Second scale.
        x3 : Tensor, shape (batch, 128, times // 4)
            Third scale.
        pool3 : Tensor, shape (batch, 128, times // 8)
            Third scale, pooled: what probes and the mediator read.
        """
        if mixing.dim() == 3:
            # every window has electrodes of its own
            signals = torch.matmul(mixing.to(signals.dtype), signals)
            weight, bias = self.as_one_convolution(None)
        else:
            weight, bias = self.as_one_convolution(mixing)
        h = F.conv1d(
            signals, weight.to(signals.dtype), bias.to(signals.dtype), padding=3
        )
        x1 = self.mamba1(h)
        x2 = self.conv2(self.pool(x1))
        x3 = self.conv3(self.pool(x2))
        return x1, x2, x3, self.pool(x3)

    def as_one_convolution(self, mixing: Tensor | None) -> tuple[Tensor, Tensor]:
        """Weight and bias of the one convolution before the first Mamba-2 layer.

        The mixing of electrodes, the multi-branch embedding and the layer behind it
        have no activation between them: exact, and a fraction of the work.

        Parameters
        ----------
        mixing : Tensor, shape (n_targets, channels), optional
            Weights of the electrodes at the targets; without, signals at the targets
            come in.

        Returns
        -------
        weight : Tensor, shape (64, channels or n_targets, 7)
            Taps.
        bias : Tensor, shape (64,)
            Bias.
        """
        weight, bias = self.input_embedding.as_one_convolution()
        linear = self.linear1.weight.squeeze(-1)
        weight = torch.matmul(linear, weight.flatten(1)).view_as(weight)
        last = self.linear1.bias
        assert last is not None  # as it was made
        if mixing is not None:
            mixed = torch.matmul(weight.transpose(1, 2), mixing.to(weight.dtype))
            weight = mixed.transpose(1, 2)
        return weight, torch.mv(linear, bias) + last


class Decoder(nn.Module):
    """Mediator features back to full rate, through the encoder's three scales.

    Parameters
    ----------
    d_state, d_conv, expand : int
        See `Mamba2`.
    """

    def __init__(self, d_state: int = 16, d_conv: int = 2, expand: int = 8) -> None:
        super().__init__()
        wide, deep = N_FEATURES, N_DEEP_FEATURES
        self.conv3 = nn.Conv1d(2 * deep, deep, 3, padding=1)
        self.mamba3 = ResidualMamba(deep, d_state, d_conv, expand)
        self.conv2 = nn.Conv1d(wide + deep, wide, 3, padding=1)
        self.mamba2 = ResidualMamba(wide, d_state, d_conv, expand)
        self.conv1 = nn.Conv1d(2 * wide, wide, 3, padding=1)

    def forward(
        self,
        mediated: Tensor,
        x1: Tensor,
        x2: Tensor,
        x3: Tensor,
        readout: tuple[Tensor, Tensor] | None = None,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Decode.

        Parameters
        ----------
        mediated : Tensor, shape (batch, 128, times // 8)
            Output of the mediator.
        x1, x2, x3 : Tensor
            Scales of the `Encoder`.
        readout : tuple of Tensor, shapes (channels, 64) and (channels,), optional
            Weight and bias of a layer to apply at once.

        Returns
        -------
        decoded : Tensor, shape (batch, 64 or channels, times)
            What the readout turns into electrodes; with ``readout`` its result.
        d3 : Tensor, shape (batch, 128, times // 2)
            Third decoder stage after upsampling.
        mamba3 : Tensor, shape (batch, 128, times // 4)
            The same before upsampling.
        """
        weight, bias = self.conv3.weight, self.conv3.bias
        assert bias is not None  # as it was made
        stretched = stretch(mediated, x3.shape[2])
        mamba3 = self.mamba3(_convolve_joined(x3, stretched, weight, bias))
        d3 = stretch(mamba3, x2.shape[2])
        weight, bias = self.conv2.weight, self.conv2.bias
        assert bias is not None  # as it was made
        d2 = self.mamba2(_convolve_joined(x2, d3, weight, bias))
        weight, bias = self.last_convolution(readout)
        stretched = stretch(d2, x1.shape[2])
        return _convolve_joined(x1, stretched, weight, bias), d3, mamba3

    def last_convolution(
        self, readout: tuple[Tensor, Tensor] | None
    ) -> tuple[Tensor, Tensor]:
        """Weight and bias of the last convolution, with a readout behind it as one.

        Parameters
        ----------
        readout : tuple of Tensor, shapes (channels, 64) and (channels,), optional
            Weight and bias of the layer behind.

        Returns
        -------
        weight : Tensor, shape (64 or channels, 128, 3)
            Taps.
        bias : Tensor, shape (64 or channels,)
            Bias.
        """
        weight, bias = self.conv1.weight, self.conv1.bias
        assert bias is not None  # as it was made
        if readout is None:
            return weight, bias
        matrix = readout[0].to(weight.dtype)
        joint = torch.matmul(matrix, weight.flatten(1))
        joint = joint.view(-1, weight.shape[1], weight.shape[2])
        return joint, torch.mv(matrix, bias) + readout[1].to(bias.dtype)


def _convolve_joined(
    skip: Tensor, deep: Tensor, weight: Tensor, bias: Tensor
) -> Tensor:
    """Convolve the features of both, of one length, as if they were joined.

    To join them would write both into fresh memory, which takes longer.
    """
    weight, bias = weight.to(skip.dtype), bias.to(skip.dtype)
    n = skip.shape[1]
    y = F.conv1d(skip, weight[:, :n], bias, padding=1)
    return y + F.conv1d(deep.to(skip.dtype), weight[:, n:], padding=1)


def stretch(x: Tensor, n_times: int, start: int = 0, stop: int | None = None) -> Tensor:
    """Stretch signals linearly over time, as `torch.nn.functional.interpolate` does.

    Parameters
    ----------
    x : Tensor, shape (batch, features, times)
        Signals.
    n_times : int
        Samples of the whole result.
    start, stop : int
        Which of them to give; all by default.

    Returns
    -------
    Tensor, shape (batch, features, stop - start)
        The stretched signals.
    """
    length = x.shape[2]
    stop = n_times if stop is None else stop
    if not is_traced() and n_times == 2 * length:
        # a neighbour more at each side makes the part independent of the rest
        first, end = max(start // 2 - 1, 0), min((stop + 1) // 2 + 1, length)
        part = F.interpolate(x[:, :, first:end], scale_factor=2.0, mode="linear")
        return part[:, :, start - 2 * first : stop - 2 * first]
    # positions far into a recording need more digits than float32 has
    places = torch.arange(start, stop, device=x.device, dtype=torch.float64)
    places = ((places + 0.5) * (length / n_times) - 0.5).clamp(min=0)
    low = places.long()
    high = (low + 1).clamp(max=length - 1)
    share = (places - low).to(x.dtype)
    return torch.lerp(x.index_select(2, low), x.index_select(2, high), share)
