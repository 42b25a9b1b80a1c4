"""The elementwise parts of a Mamba-2 layer, and their derivatives.

A causal depthwise convolution with SiLU before the scan and a gated norm with
projection behind it.  Each has a form that autograd differentiates, the reference, and
the same with its derivatives written out.  What joins them is in `stack`.
"""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F


def conv_silu(past: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """SiLU of a causal depthwise convolution, ``b + sum_j w_j v_{t - k + 1 + j}``.

    Parameters
    ----------
    past : Tensor, shape (layers, batch, k - 1 + time, channels)
        Signals, with the k - 1 samples before the first step in front.
    weight : Tensor, shape (layers, channels, k)
        Taps.
    bias : Tensor, shape (layers, channels)
        Bias.

    Returns
    -------
    Tensor, shape (layers, batch, time, channels)
        Result.
    """
    return F.silu(_convolve(past, weight, bias))


def gated_projection(y: Tensor, z: Tensor, weight: Tensor, ngroups: int = 1) -> Tensor:
    """Project a gated and normalised signal: ``W (g / rms(g))`` with g = y silu(z).

    The root mean square is taken over the features of each group.

    Parameters
    ----------
    y, z : Tensor, shape (layers, batch, time, d_inner)
        Output of the scan, and gate.
    weight : Tensor, shape (layers, d_model, d_inner)
        Projection times the weights of the norm.
    ngroups : int
        Groups of neighbouring features.

    Returns
    -------
    Tensor, shape (layers, batch, time, d_model)
        Output.
    """
    g = (y * F.silu(z)).unflatten(3, [ngroups, -1])
    g = (g * _inverse_rms(g)).flatten(3)
    return torch.matmul(g, weight.transpose(1, 2).unsqueeze(1))


class ConvSiluByHand(torch.autograd.Function):
    """`conv_silu`; not twice differentiable."""

    @staticmethod
    def forward(ctx: Any, past: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        """Compute what `conv_silu` does."""
        pre = _convolve(past, weight, bias)
        ctx.save_for_backward(past, weight, pre)
        return F.silu(pre)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dv: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Give the derivatives of the inputs."""
        past, weight, pre = ctx.saved_tensors
        dpre = torch.ops.aten.silu_backward(dv, pre)
        n_times, taps = pre.shape[2], weight.shape[2]
        dpast = torch.zeros_like(past)
        dtaps = []
        for j in range(taps):
            part = slice(j, j + n_times)
            dpast[:, :, part].addcmul_(dpre, weight[:, None, None, :, j])
            dtaps.append((dpre * past[:, :, part]).sum((1, 2)))
        return dpast, torch.stack(dtaps, -1), dpre.sum((1, 2))


class GatedProjectionByHand(torch.autograd.Function):
    """`gated_projection` with one group; not twice differentiable.

    The factor of a time step commutes with the projection, which has fewer outputs.
    """

    @staticmethod
    def forward(ctx: Any, y: Tensor, z: Tensor, weight: Tensor) -> Tensor:
        """Compute what `gated_projection` does."""
        gate = F.silu(z)
        g = y * gate
        u = torch.bmm(g.flatten(1, 2), weight.transpose(1, 2))
        r = _inverse_rms(g).flatten(1, 2)
        ctx.save_for_backward(y, z, weight, gate, g, u, r)
        return (r * u).view(*y.shape[:3], -1)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dout: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Give the derivatives of the inputs."""
        y, z, weight, gate, g, u, r = ctx.saved_tensors
        dout = dout.flatten(1, 2)
        dr = (dout * u).sum(-1, keepdim=True)
        du = r * dout
        dweight = torch.bmm(du.transpose(1, 2), g.flatten(1, 2))
        dg = torch.bmm(du, weight).view_as(g)
        dg.addcmul_(g, (r.pow(3) * dr / -g.shape[-1]).view(*g.shape[:3], 1))
        return dg * gate, torch.ops.aten.silu_backward(dg * y, z), dweight


def _convolve(past: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    n_times = past.shape[2] - weight.shape[2] + 1
    taps = weight.unsqueeze(1).unsqueeze(1).unbind(-1)
    out = bias.unsqueeze(1).unsqueeze(1)
    for j in range(len(taps)):
        out = torch.addcmul(out, past[:, :, j : j + n_times], taps[j])
    return out


def _inverse_rms(g: Tensor) -> Tensor:
    wide = g if g.dtype == torch.float64 else g.float()
    return torch.rsqrt(wide.square().mean(-1, keepdim=True) + 1e-5).to(g.dtype)
