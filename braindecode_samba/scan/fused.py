"""A stack of Mamba-2 layers on a CPU, compiled between its two projections.

The same results as `stack.mamba2_step` and its derivatives, tile by tile
(`fused_tile`), divided among threads as `shares` says.  Where they do not serve
(`optional`), and for anything but float32 on a CPU, `stack` goes its own way.
"""

import functools
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from braindecode_samba.scan.fused_tile import Tile
from braindecode_samba.scan.layers import LayerStack
from braindecode_samba.scan.products import multiply
from braindecode_samba.scan.shares import Parameters, Places, Share, divide
from braindecode_samba.scan.threads import run_in_threads
from braindecode_samba.scan.tiles import State, tile_rows, tile_sizes

# projected values from which a stack takes long: 16 windows of 2 s, or one of 40 s
_LONG = 2**22


def run_fused(p: LayerStack, u: Tensor, state: State) -> tuple[Tensor, State]:
    """Run stacked layers over the next steps of a sequence.

    Parameters
    ----------
    p : LayerStack
        Parameters, of layers with one group.
    u : Tensor of float32, shape (layers, batch, time, d_model)
        Inputs, on the CPU.
    state : tuple of Tensor
        States of convolution and scan before the first step.

    Returns
    -------
    y : Tensor, shape (layers, batch, time, d_model)
        Outputs.
    state : tuple of Tensor
        States after the last step.
    """
    heads = p.dt_bias.shape[1]
    # (layers, batch, heads, head_dim, state) has the state first in the loops
    y, conv_state, scan_state = _FusedStack.apply(
        u,
        p.in_proj,
        p.conv_weight.transpose(1, 2),
        p.conv_bias,
        p.dt_bias,
        -p.A_log.exp(),
        p.D,
        p.out_proj * p.norm.unsqueeze(1),
        state[0],
        state[1].flatten(2, 3).transpose(2, 3),
    )
    scan_state = scan_state.transpose(2, 3).unflatten(2, [heads, -1])
    return y, (conv_state, scan_state)


class _FusedStack(torch.autograd.Function):
    """The stack over a sequence; not twice differentiable.

    Inputs, outputs, parameters, the norm's factors and the states at the starts of
    tiles are kept for the way back; all else is computed again.
    """

    @staticmethod
    def forward(
        ctx: Any, u: Tensor, *arguments: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Compute outputs and states after the last step."""
        p = Parameters(*arguments[:7])
        conv_state, scan_state = arguments[7:]
        shares = divide(u, p, _threads(u, p))
        keep = any(ctx.needs_input_grad)
        scan_after = torch.empty_like(scan_state, memory_format=torch.contiguous_format)
        ys = Places(shares, u, p.out_proj.shape[1])
        squares = Places(shares, u, 1)
        tiles = run_in_threads(
            [
                functools.partial(
                    _forth, share, p, u, conv_state, scan_state, y, s, scan_after, keep
                )
                for share, y, s in zip(
                    shares, ys.of_shares, squares.of_shares, strict=True
                )
            ],
            _is_long(u, p),
        )
        y = ys.join()
        # 1 / rms: the factor of a step commutes with the projection
        r = torch.rsqrt(squares.join() / p.d_inner + 1e-5)
        y *= r
        if keep:
            ctx.save_for_backward(u, y, r, *p)
            ctx.shares, ctx.tiles = shares, tiles
        return y, _conv_after(u, p, conv_state), scan_after

    @staticmethod
    @once_differentiable
    def backward(
        ctx: Any, dy: Tensor, dconv_after: Tensor, dscan_after: Tensor
    ) -> tuple[Tensor | None, ...]:
        """Give the derivatives of all inputs."""
        u, y, r, *parameters = ctx.saved_tensors
        p = Parameters(*parameters)
        shares = ctx.shares
        dus = Places(shares, u, u.shape[3])
        dscan = torch.empty_like(dscan_after, memory_format=torch.contiguous_format)
        parts = run_in_threads(
            [
                functools.partial(
                    _back,
                    share,
                    p,
                    u,
                    tiles,
                    y,
                    r,
                    dy,
                    dconv_after,
                    dscan_after,
                    du,
                    dscan,
                )
                for share, tiles, du in zip(
                    shares, ctx.tiles, dus.of_shares, strict=True
                )
            ],
            _is_long(u, p),
        )
        dconv = torch.zeros_like(dconv_after)
        sums = Parameters(*(torch.zeros_like(t) for t in p))
        for share, (own_dconv, own) in zip(shares, parts, strict=True):
            share.add_to(sums, own)
            rows = dconv[share.layers, share.windows]
            features, n = share.features(p), own.d_inner
            rows[..., features] += own_dconv[..., :n]
            rows[..., p.d_inner :] += own_dconv[..., n:]
        return dus.join(), *sums, dconv, dscan


def _is_long(u: Tensor, p: Parameters) -> bool:
    """Whether a stack takes some milliseconds, forth on two cores."""
    return u[..., 0].numel() * p.in_proj.shape[1] >= _LONG


def _threads(u: Tensor, p: Parameters) -> int:
    """Threads to share a stack among: where it is short, its products alone are."""
    return torch.get_num_threads() if _is_long(u, p) else 1


def _conv_after(u: Tensor, p: Parameters, before: Tensor) -> Tensor:
    """Last inputs of the convolution: the state that the next steps need."""
    taps, channels = before.shape[2:]
    rows = p.in_proj[:, p.d_inner : p.d_inner + channels]
    last = u[:, :, max(0, u.shape[2] - taps) :]
    last = multiply(last.flatten(1, 2), rows).unflatten(1, last.shape[1:3])
    past = torch.cat([before, last], 2) if taps else before
    return past[:, :, past.shape[2] - taps :].contiguous()


def _grid(u: Tensor, p: Parameters) -> list[tuple[slice, slice, slice]]:
    """Layers, windows and times of all tiles of (layers, windows, time, d_model)."""
    n_layers, batch, n_times, _ = u.shape
    width = p.in_proj.shape[1] // 2
    # several layers at once only where all of their windows are short
    layers = min(n_layers, max(1, tile_rows(width) // (batch * n_times)))
    windows, steps = tile_sizes(batch, n_times, layers * width)
    return [
        (
            slice(a, min(a + layers, n_layers)),
            slice(b, min(b + windows, batch)),
            slice(t, min(t + steps, n_times)),
        )
        for a in range(0, n_layers, layers)
        for b in range(0, batch, windows)
        for t in range(0, n_times, steps)
    ]


def _forth(
    share: Share,
    whole: Parameters,
    u: Tensor,
    conv_state: Tensor,
    scan_state: Tensor,
    y: Tensor,
    squares: Tensor,
    scan_after: Tensor,
    keep: bool,
) -> list[State]:
    """Take a share through time: outputs without the norm's factor, sums of squares.

    Gives, with ``keep``, the state before every tile. That of the scan comes as a first
    block, with those that follow where a tile is of whole windows: they are few.
    """
    p = share.of_parameters(whole)
    features = share.features(whole)
    u = u[share.layers, share.windows]
    conv_state = share.channels(whole, conv_state)
    scan_state = scan_state[share.layers, share.windows, :, features]
    scan_after = scan_after[share.layers, share.windows, :, features]
    kept: list[State] = []
    for layers, windows, times in _grid(u, p):
        part = layers, windows
        if times.start == 0:
            conv, scan = conv_state[part], _copy(scan_state[part]).flatten(0, 1)
        own = Parameters(*(t[layers] for t in p))
        tile = Tile(u[*part, times], own, conv)
        starts = scan.new_empty(len(scan), 0, *scan.shape[1:])
        if keep and times == slice(0, u.shape[2]):
            starts = tile.new_starts(scan)
            kept.append((conv, starts))
        elif keep:
            kept.append((conv, scan.clone().unsqueeze(1)))
        squares[*part, times] = tile.forward(scan, starts)
        tile.project(y[*part, times])
        conv = tile.conv_state_after()
        if times.stop == u.shape[2]:
            scan_after[part] = scan.view_as(scan_after[part])
    return kept


def _back(
    share: Share,
    whole: Parameters,
    u: Tensor,
    kept: list[State],
    y: Tensor,
    r: Tensor,
    dy: Tensor,
    dconv_after: Tensor,
    dscan_after: Tensor,
    du: Tensor,
    dscan: Tensor,
) -> tuple[Tensor, Parameters]:
    """Take a share back through time: derivatives of inputs, state and parameters."""
    p = share.of_parameters(whole)
    features = share.features(whole)
    u, y, r, dy = (t[share.layers, share.windows] for t in (u, y, r, dy))
    dconv_after = share.channels(whole, dconv_after)
    if share.heads.start:
        # B and C are everybody's: the first heads go back through them at the end
        dconv_after[..., p.d_inner :] = 0
    dscan_after = dscan_after[share.layers, share.windows, :, features]
    dscan = dscan[share.layers, share.windows, :, features]
    dconv = torch.empty_like(dconv_after)
    sums = Parameters(*(torch.zeros_like(t) for t in p))
    dstate = dconv_after, dscan_after
    for (layers, windows, times), (conv, starts) in zip(
        reversed(_grid(u, p)), reversed(kept), strict=True
    ):
        part = layers, windows
        if times.stop == u.shape[2]:
            dstate = dconv_after[part], _copy(dscan_after[part])
        own = Parameters(*(t[layers] for t in p))
        tile = Tile(u[*part, times], own, conv)
        factor, pulled = r[*part, times], dy[*part, times]
        # through the norm: g pulls on itself by -r^2 <g, dg> / n, and <g, dg> = <y, dy>
        pull = (y[*part, times] * pulled).sum(-1, keepdim=True)
        pull *= factor.square() / -whole.d_inner
        du[*part, times], dstate, derivatives = tile.backward(
            starts, pulled * factor, pull, dstate
        )
        for total, derivative in zip(sums, derivatives, strict=True):
            total[layers] += derivative
        if times.start == 0:
            dconv[part], dscan[part] = dstate
    return dconv, sums


def _copy(x: Tensor) -> Tensor:
    return x.clone(memory_format=torch.contiguous_format)
