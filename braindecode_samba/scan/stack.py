"""The computation of Mamba-2 layers, on a leading axis of independent layers.

`mamba2_step` reads like the equations, `run_stack` takes it over long inputs with
`tiles`, and `dual` solves its recurrence.  The layers as modules are in
`braindecode_samba.nn.mamba`.
"""

import functools
import math

import torch
from torch import Tensor
from torch.nn import functional as F

from braindecode_samba.scan.chunks import by_hand
from braindecode_samba.scan.dual import grouped_scan
from braindecode_samba.scan.fused import run_fused
from braindecode_samba.scan.gates import (
    ConvSiluByHand,
    GatedProjectionByHand,
    conv_silu,
    gated_projection,
)
from braindecode_samba.scan.layers import LayerStack
from braindecode_samba.scan.optional import Serving, describe, loops_serve
from braindecode_samba.scan.tiles import State, over_tiles
from braindecode_samba.scan.traced import is_traced

# bias of the step sizes beyond which a layer remembers nothing, see _can_be_fused
_LONGEST_STEP = 100.0


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


def run_stack(
    p: LayerStack,
    u: Tensor,
    d_state: int,
    ngroups: int,
    chunk_size: int,
    state: State | None = None,
) -> tuple[Tensor, State]:
    """Run stacked layers over a sequence, or over its next steps.

    Parameters
    ----------
    p : LayerStack
        Parameters.
    u : Tensor, shape (layers, batch, time, d_model)
        Inputs.
    d_state, ngroups, chunk_size : int
        As for `mamba2_step`.
    state : tuple of Tensor, optional
        States of convolution and scan before the first step; zero by default.

    Returns
    -------
    y : Tensor, shape (layers, batch, time, d_model)
        Outputs.
    state : tuple of Tensor
        States after the last step.
    """
    n_layers, batch = u.shape[:2]
    channels, d_conv = p.conv_weight.shape[1:]
    if state is None:
        heads = p.dt_bias.shape[1]
        head_dim = p.out_proj.shape[2] // heads
        state = (
            u.new_zeros([n_layers, batch, d_conv - 1, channels]),
            u.new_zeros([n_layers, batch, heads, head_dim, d_state]),
        )
    if not torch.jit.is_scripting():
        if not is_traced():
            if _can_be_fused(p, u, ngroups):
                return run_fused(p, u, state)
            step = functools.partial(mamba2_step, p, d_state, ngroups, chunk_size)
            return over_tiles(step, u, state, n_layers * channels)
    y, conv_state, scan_state = mamba2_step(
        p, d_state, ngroups, chunk_size, u, state[0], state[1]
    )
    return y, (conv_state, scan_state)


def _can_be_fused(p: LayerStack, u: Tensor, ngroups: int) -> bool:
    """Whether the compiled loops apply, and are as exact as the plain way.

    A layer whose steps are so long that nothing is remembered reads each sample through
    the product of B and C. Where that is near zero, the plain way has one rounding
    error for all features, which the norm removes, and the loops one for each.
    """
    float32 = torch.float32
    return (
        ngroups == 1
        and u.device.type == "cpu"
        and not torch.is_autocast_enabled("cpu")
        and all(t.dtype == float32 for t in (u, *p))
        and u.shape[1] > 0
        and u.shape[2] > 0
        and float(p.dt_bias.detach().max()) < _LONGEST_STEP
        and loops_serve(_try_loops, torch.is_grad_enabled())
    )


def serving() -> Serving:
    """Say which way layers go on a CPU in float32, and why.

    Runs a small layer, for which the compiled loops are compiled where they have not
    been: some seconds.

    Returns
    -------
    Serving
        ``path`` is ``"compiled loops"`` or ``"torch"``; ``reason`` says why, and what
        to do where something is lost; ``cache`` is the folder in which the loops are
        kept.
    """
    return describe(_try_loops)


def _try_loops(backward: bool) -> None:
    """Run the loops over a small stack, and compare them with the equations."""
    layers, d_model, d_state, heads, head_dim = 2, 4, 2, 2, 4
    d_inner, channels = heads * head_dim, heads * head_dim + 2 * d_state
    shapes = (  # in the order of LayerStack
        *((d_inner + channels + heads, d_model), (channels, 2), (channels,)),
        *((heads,), (heads,), (heads,), (d_inner,), (d_model, d_inner)),
    )
    # plain numbers: nobody's random ones are used up
    p = LayerStack(*(_wave(layers, *shape) for shape in shapes))
    u = _wave(layers, 2, 9, d_model)
    state = _wave(layers, 2, 1, channels), _wave(layers, 2, heads, head_dim, d_state)
    inputs = [t.requires_grad_(backward) for t in (*p, u, *state)]
    fused, _ = run_fused(p, u, state)
    exact, _, _ = mamba2_step(p, d_state, 1, 0, u, *state)
    pairs = [(fused, exact)]
    if backward:
        grads = (torch.autograd.grad(y.square().sum(), inputs) for y in (fused, exact))
        pairs += zip(*grads, strict=True)
    if not all(torch.allclose(a, b, 1e-3, 1e-4) for a, b in pairs):
        raise ArithmeticError("they give other numbers than torch")


def _wave(*shape: int) -> Tensor:
    steps = torch.arange(math.prod(shape), dtype=torch.float32, device="cpu")
    return (0.5 * torch.sin(1.7 * steps + 0.3)).view(shape)
