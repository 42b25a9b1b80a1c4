"""Mamba-2 layers: the single one and the multi-head differential one.

Both are the same computation on a leading axis of independent layers, `mamba2_step`,
which reads like the equations; `tiles` runs it over long inputs and `scan` solves its
recurrence.  What surrounds the layers in the network lives in `unet`.
"""

import functools
import math
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from braindecode_samba.nn.chunks import by_hand
from braindecode_samba.nn.gates import (
    ConvSiluByHand,
    GatedProjectionByHand,
    conv_silu,
    gated_projection,
)
from braindecode_samba.nn.scan import grouped_scan
from braindecode_samba.nn.tiles import over_tiles


class LayerStack(NamedTuple):
    """Parameters of ``layers`` independent Mamba-2 layers of one size.

    The first axis of every tensor counts the layers; names and other axes are
    mamba-ssm's.
    """

    in_proj: Tensor  # (layers, z | x | B | C | dt, d_model)
    conv_weight: Tensor  # (layers, channels, d_conv)
    conv_bias: Tensor  # (layers, channels)
    dt_bias: Tensor  # (layers, heads)
    A_log: Tensor  # (layers, heads)
    D: Tensor  # (layers, heads)
    norm: Tensor  # (layers, d_inner)
    out_proj: Tensor  # (layers, d_model, d_inner)


def mamba2_step(
    p: LayerStack,
    d_state: int,
    ngroups: int,
    chunk_size: int,
    u: Tensor,
    conv_state: Tensor,
    scan_state: Tensor,
) -> tuple[Tensor, Tensor, Tensor]:
    """Run a stack of Mamba-2 layers over some steps, from a state to a state.

    Parameters
    ----------
    p : LayerStack
        Parameters.
    d_state, ngroups, chunk_size : int
        As in `Mamba2`; ``chunk_size`` 0 takes the scan's default.
    u : Tensor, shape (layers, batch, time, d_model)
        Inputs.
    conv_state : Tensor, shape (layers, batch, d_conv - 1, channels)
        Inputs of the convolution before the first step.
    scan_state : Tensor, shape (layers, batch, heads, head_dim, d_state)
        State of the recurrence before the first step.

    Returns
    -------
    y : Tensor, shape (layers, batch, time, d_model)
        Outputs.
    conv_state, scan_state : Tensor
        States after the last step.

    References
    ----------
    Dao and Gu (2024), arXiv 2405.21060, section 7.
    """
    n_layers, batch, n_times, _ = u.shape
    heads = p.dt_bias.shape[1]
    d_inner = p.out_proj.shape[2]
    n_bc = ngroups * d_state

    # [z, x, B, C, dt] = W_in u
    zxbcdt = torch.bmm(u.reshape(n_layers, -1, u.shape[3]), p.in_proj.transpose(1, 2))
    zxbcdt = zxbcdt.view(n_layers, batch, n_times, -1)
    z, xbc, dt = zxbcdt.split([d_inner, d_inner + 2 * n_bc, heads], dim=3)

    # causal depthwise convolution with SiLU on x, B and C together
    past = torch.cat([conv_state.to(xbc.dtype), xbc], dim=2)
    conv_weight, conv_bias = p.conv_weight.to(xbc.dtype), p.conv_bias.to(xbc.dtype)
    if not torch.jit.is_scripting() and by_hand():
        v = ConvSiluByHand.apply(past, conv_weight, conv_bias)
    else:
        v = conv_silu(past, conv_weight, conv_bias)
    new_conv_state = past[:, :, n_times:]

    # S_t = exp(dt_t A) S_{t-1} + dt_t x_t B_t and y_t = S_t C_t + D x_t; heads are
    # ordered by layer, then by group: (batch, time, layers * ngroups, heads, ...)
    shape = [ngroups, heads // ngroups]
    dt = F.softplus(dt.to(p.dt_bias.dtype) + p.dt_bias.unsqueeze(1).unsqueeze(1))
    x, B, C = v.permute(1, 2, 0, 3).split([d_inner, n_bc, n_bc], dim=3)
    y, new_scan_state = grouped_scan(
        x.unflatten(3, [ngroups, heads // ngroups, -1]).flatten(2, 3),
        dt.permute(1, 2, 0, 3).unflatten(3, shape).flatten(2, 3),
        -p.A_log.exp().unflatten(1, shape).flatten(0, 1),
        B.unflatten(3, [ngroups, -1]).flatten(2, 3),
        C.unflatten(3, [ngroups, -1]).flatten(2, 3),
        p.D.unflatten(1, shape).flatten(0, 1),
        scan_state.transpose(0, 1).unflatten(2, shape).flatten(1, 2),
        chunk_size,
    )
    y = y.unflatten(2, [n_layers, ngroups]).permute(2, 0, 1, 3, 4, 5).flatten(3, 5)
    new_scan_state = (
        new_scan_state.unflatten(1, [n_layers, ngroups]).flatten(2, 3).transpose(0, 1)
    )

    # gated norm and projection: W_out (w g / rms(g)) with g = y silu(z)
    weight = (p.out_proj * p.norm.unsqueeze(1)).to(y.dtype)
    if not torch.jit.is_scripting() and ngroups == 1 and by_hand():
        out = GatedProjectionByHand.apply(y, z, weight)
    else:
        out = gated_projection(y, z, weight, ngroups)
    return out, new_conv_state, new_scan_state


class Mamba2(nn.Module):
    """Mamba-2 layer with mamba-ssm's parameters, names and shapes.

    A state dict of ``mamba_ssm.Mamba2`` loads into it and the other way round.

    Parameters
    ----------
    d_model : int
        Features of input and output.
    d_state : int
        Size N of the state of each feature.
    d_conv : int
        Taps of the causal convolution.
    expand : int
        Inner features per input feature.
    headdim : int
        Features of a head; divides ``expand * d_model``.
    ngroups : int
        Groups of heads that share B and C; divides the number of heads.
    chunk_size : int, optional
        Steps of a chunk of the scan; by default what suits the machine. The result does
        not depend on it.

    Raises
    ------
    ValueError
        If a size is below 1 or the sizes do not divide each other.

    References
    ----------
    Dao and Gu (2024), Transformers are SSMs, arXiv 2405.21060.
    """

    def __init__(
        self,
        d_model: int,
        d_state: int = 128,
        d_conv: int = 4,
        expand: int = 2,
        headdim: int = 64,
        ngroups: int = 1,
        chunk_size: int | None = None,
    ) -> None:
        super().__init__()
        _check_sizes(
            d_model=d_model,
            d_state=d_state,
            d_conv=d_conv,
            expand=expand,
            headdim=headdim,
            ngroups=ngroups,
            chunk_size=1 if chunk_size is None else chunk_size,
        )
        d_inner = expand * d_model
        if d_inner % headdim:
            raise ValueError(
                f"expand * d_model = {d_inner} is not a multiple of headdim={headdim}; "
                "pass a headdim that divides it"
            )
        heads = d_inner // headdim
        if heads % ngroups:
            raise ValueError(
                f"{heads} heads do not fall into ngroups={ngroups} equal groups; pass "
                "an ngroups that divides the number of heads"
            )
        self.d_model = d_model
        self.d_state = d_state
        self.ngroups = ngroups
        self.chunk_size = chunk_size or 0
        channels = d_inner + 2 * ngroups * d_state
        self.in_proj = nn.Linear(d_model, d_inner + channels + heads, bias=False)
        self.conv1d = nn.Conv1d(
            channels, channels, d_conv, groups=channels, padding=d_conv - 1
        )
        # steps between 0.001 and 0.1, decay rates between 1 and 16
        dt = torch.exp(
            torch.rand(heads) * (math.log(0.1) - math.log(1e-3)) + math.log(1e-3)
        ).clamp(min=1e-4)
        self.dt_bias = nn.Parameter(dt + torch.log(-torch.expm1(-dt)))
        self.A_log = nn.Parameter(torch.empty(heads).uniform_(1, 16).log())
        self.D = nn.Parameter(torch.ones(heads))
        self.norm = nn.RMSNorm(d_inner, eps=1e-5)
        self.out_proj = nn.Linear(d_inner, d_model, bias=False)

    def forward(self, u: Tensor) -> Tensor:
        """Run the layer over a whole sequence.

        Parameters
        ----------
        u : Tensor, shape (batch, time, d_model)
            Input.

        Returns
        -------
        Tensor, shape (batch, time, d_model)
            Output.
        """
        stack = stack_layers([self.layer_parameters()])
        y = run_stack(
            stack, u.unsqueeze(0), self.d_state, self.ngroups, self.chunk_size
        )
        return y.squeeze(0)

    def layer_parameters(self) -> LayerStack:
        """Parameters of this layer, without the axis that counts layers."""
        bias = self.conv1d.bias
        assert bias is not None  # mamba-ssm's default, and ours: a bias
        return LayerStack(
            self.in_proj.weight,
            self.conv1d.weight.squeeze(1),
            bias,
            self.dt_bias,
            self.A_log,
            self.D,
            self.norm.weight,
            self.out_proj.weight,
        )


def _check_sizes(**sizes: int) -> None:
    for name, size in sizes.items():
        if size < 1:
            raise ValueError(f"{name}={size} is empty; pass 1 or more")


def stack_layers(layers: list[LayerStack]) -> LayerStack:
    """Stack the parameters of independent layers of one size."""
    return LayerStack(
        torch.stack([p.in_proj for p in layers]),
        torch.stack([p.conv_weight for p in layers]),
        torch.stack([p.conv_bias for p in layers]),
        torch.stack([p.dt_bias for p in layers]),
        torch.stack([p.A_log for p in layers]),
        torch.stack([p.D for p in layers]),
        torch.stack([p.norm for p in layers]),
        torch.stack([p.out_proj for p in layers]),
    )


def run_stack(
    p: LayerStack, u: Tensor, d_state: int, ngroups: int, chunk_size: int
) -> Tensor:
    """Run stacked layers over whole sequences, from a state of zero.

    Parameters
    ----------
    p : LayerStack
        Parameters.
    u : Tensor, shape (layers, batch, time, d_model)
        Inputs.
    d_state, ngroups, chunk_size : int
        As for `mamba2_step`.

    Returns
    -------
    Tensor, shape (layers, batch, time, d_model)
        Outputs.
    """
    n_layers, batch = u.shape[:2]
    channels, d_conv = p.conv_weight.shape[1:]
    heads = p.dt_bias.shape[1]
    head_dim = p.out_proj.shape[2] // heads
    conv_state = u.new_zeros([n_layers, batch, d_conv - 1, channels])
    scan_state = u.new_zeros([n_layers, batch, heads, head_dim, d_state])
    if not torch.jit.is_scripting():
        if not torch.compiler.is_compiling():
            step = functools.partial(mamba2_step, p, d_state, ngroups, chunk_size)
            state = (conv_state, scan_state)
            return over_tiles(step, u, state, n_layers * channels)[0]
    return mamba2_step(p, d_state, ngroups, chunk_size, u, conv_state, scan_state)[0]


class MultiHeadDifferentialMamba(nn.Module):
    """Multi-head differential Mamba (MDM), as one computation over all its layers.

    Each head reads its own slice of the features through two Mamba-2 layers, ``team1``
    and ``team2``, and subtracts: ``d = y1 - lam * y2``. ``d`` is normalised over the
    head's features and all time, heads are joined and projected, and the input is
    added. The 16 small layers run as one stack.

    Parameters
    ----------
    d_model : int
        Features of input and output.
    n_heads : int
        Heads; divides ``d_model``.
    d_state, d_conv, expand : int
        Of every Mamba-2 layer, see `Mamba2`.

    Raises
    ------
    ValueError
        If the heads do not divide the features.

    References
    ----------
    SAMBA, arXiv 2511.18571, "multi-head differential Mamba". As in the authors' code,
    the heads are concatenated and projected before the residual sum.
    """

    def __init__(
        self,
        d_model: int = 128,
        n_heads: int = 8,
        d_state: int = 16,
        d_conv: int = 2,
        expand: int = 8,
    ) -> None:
        super().__init__()
        _check_sizes(d_model=d_model, n_heads=n_heads)
        if d_model % n_heads:
            raise ValueError(
                f"d_model={d_model} is not a multiple of n_heads={n_heads}; pass a "
                "number of heads that divides it"
            )
        width = d_model // n_heads
        self.n_heads = n_heads
        self.d_state = d_state

        def team() -> nn.ModuleList:
            return nn.ModuleList(
                Mamba2(width, d_state, d_conv, expand, headdim=width)
                for _ in range(n_heads)
            )

        self.lam = nn.Parameter(torch.ones(d_model))
        self.team1 = team()
        self.team2 = team()
        self.head_norms = nn.ModuleList(
            nn.GroupNorm(1, width, eps=1e-5) for _ in range(n_heads)
        )
        self.out_proj = nn.Linear(d_model, d_model)

    def forward(self, u: Tensor) -> Tensor:
        """Run all heads over a whole sequence.

        Parameters
        ----------
        u : Tensor, shape (batch, time, d_model)
            Input.

        Returns
        -------
        Tensor, shape (batch, time, d_model)
            Output.
        """
        layers: list[LayerStack] = []
        for layer in self.team1:
            layers.append(layer.layer_parameters())  # type: ignore[operator]
        for layer in self.team2:
            layers.append(layer.layer_parameters())  # type: ignore[operator]
        weights: list[Tensor] = []
        biases: list[Tensor] = []
        for norm in self.head_norms:
            weights.append(norm.weight)  # type: ignore[arg-type]
            biases.append(norm.bias)  # type: ignore[arg-type]

        n_heads = self.n_heads
        heads = u.unflatten(2, [n_heads, -1]).permute(2, 0, 1, 3)
        y = run_stack(
            stack_layers(layers), torch.cat([heads, heads]), self.d_state, 1, 0
        )
        # d (heads, batch, time, width), normalised over time and width together
        d = y[:n_heads] - self.lam.view(n_heads, 1, 1, -1) * y[n_heads:]
        wide = d if d.dtype == torch.float64 else d.float()
        var, mean = torch.var_mean(wide, dim=[2, 3], correction=0, keepdim=True)
        d = ((wide - mean) * torch.rsqrt(var + 1e-5)).to(d.dtype)
        d = d * torch.stack(weights)[:, None, None] + torch.stack(biases)[:, None, None]
        return u + self.out_proj(d.permute(1, 2, 0, 3).flatten(2, 3))
