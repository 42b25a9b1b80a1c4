"""How the work of a stack of layers is divided among threads.

Layers, windows and heads do not meet before the output projection, so a share of them
goes through all of time by itself.  What is computed in a share is in `fused`.
"""

from typing import NamedTuple

import torch
from torch import Tensor


class Parameters(NamedTuple):
    """Parameters of a stack as the loops take them."""

    in_proj: Tensor  # (layers, z | x | B | C | dt, d_model)
    weight: Tensor  # (layers, taps, x | B | C)
    bias: Tensor  # (layers, x | B | C)
    dt_bias: Tensor  # (layers, heads)
    A: Tensor  # (layers, heads)
    D: Tensor  # (layers, heads)
    out_proj: Tensor  # (layers, d_model, features)

    @property
    def d_inner(self) -> int:
        """Features between the two projections."""
        return self.out_proj.shape[2]


class Share(NamedTuple):
    """What one thread does: some layers, windows and heads."""

    layers: slice
    windows: slice
    heads: slice

    def of_parameters(self, p: Parameters) -> Parameters:
        """Parameters of this share alone."""
        p = Parameters(*(t[self.layers] for t in p))
        n_heads = p.A.shape[1]
        if self.heads == slice(0, n_heads):
            return Parameters(*(t.contiguous() for t in p))
        features, d = self.features(p), p.d_inner
        x = slice(d + features.start, d + features.stop)
        dt = p.in_proj[:, p.in_proj.shape[1] - n_heads :][:, self.heads]
        bc = p.in_proj[:, 2 * d : p.in_proj.shape[1] - n_heads]
        return Parameters(
            torch.cat([p.in_proj[:, features], p.in_proj[:, x], bc, dt], 1),
            torch.cat([p.weight[:, :, features], p.weight[:, :, d:]], 2),
            torch.cat([p.bias[:, features], p.bias[:, d:]], 1),
            p.dt_bias[:, self.heads].contiguous(),
            p.A[:, self.heads].contiguous(),
            p.D[:, self.heads].contiguous(),
            p.out_proj[:, :, features].contiguous(),
        )

    def add_to(self, total: Parameters, part: Parameters) -> None:
        """Add this share's derivatives of parameters to those of all."""
        total = Parameters(*(t[self.layers] for t in total))
        n_heads, d = total.A.shape[1], total.d_inner
        features, n = self.features(total), part.d_inner
        x = slice(d + features.start, d + features.stop)
        first_dt = total.in_proj.shape[1] - n_heads
        dt = slice(first_dt + self.heads.start, first_dt + self.heads.stop)
        last = 2 * n + first_dt - 2 * d
        total.in_proj[:, features] += part.in_proj[:, :n]
        total.in_proj[:, x] += part.in_proj[:, n : 2 * n]
        total.in_proj[:, 2 * d : first_dt] += part.in_proj[:, 2 * n : last]
        total.in_proj[:, dt] += part.in_proj[:, last:]
        total.weight[:, :, features] += part.weight[:, :, :n]
        total.weight[:, :, d:] += part.weight[:, :, n:]
        total.bias[:, features] += part.bias[:, :n]
        total.bias[:, d:] += part.bias[:, n:]
        for whole, own in zip(total[3:6], part[3:6], strict=True):
            whole[:, self.heads] += own
        total.out_proj[:, :, features] += part.out_proj

    def features(self, p: Parameters) -> slice:
        """Features of the heads."""
        head_dim = p.d_inner // p.A.shape[1]
        return slice(self.heads.start * head_dim, self.heads.stop * head_dim)

    def channels(self, p: Parameters, x: Tensor) -> Tensor:
        """Channels x, B and C of this share, of (layers, windows, taps, channels)."""
        x = x[self.layers, self.windows]
        features = self.features(p)
        return torch.cat([x[..., features], x[..., p.d_inner :]], -1)


class Places:
    """Where shares put what they give for (layers, batch, time, width).

    Parts of one tensor; but heads are summed, so that each share of them has its own.
    """

    def __init__(self, shares: list[Share], u: Tensor, width: int) -> None:
        whole = u.new_empty(*u.shape[:3], width)
        self.summed = len(shares) > 1 and shares[0].heads != shares[1].heads
        self.whole = whole
        self.of_shares = [whole[share.layers, share.windows] for share in shares]
        if self.summed:
            self.of_shares[1:] = [torch.empty_like(whole) for _ in shares[1:]]

    def join(self) -> Tensor:
        """Join what shares put there."""
        if self.summed:
            for other in self.of_shares[1:]:
                self.whole += other
        return self.whole


def divide(u: Tensor, p: Parameters, threads: int) -> list[Share]:
    """Divide the work among threads: by layers, else by windows, else by heads."""
    layers, batch = u.shape[:2]
    heads = p.A.shape[1]
    whole = slice(0, layers), slice(0, batch), slice(0, heads)
    if layers >= threads:
        return [Share(part, *whole[1:]) for part in _parts(layers, threads)]
    if batch >= threads:
        return [Share(whole[0], part, whole[2]) for part in _parts(batch, threads)]
    return [Share(*whole[:2], part) for part in _parts(heads, threads)]


def _parts(n: int, threads: int) -> list[slice]:
    threads = min(n, threads)
    edges = [i * n // threads for i in range(threads + 1)]
    return [slice(a, b) for a, b in zip(edges[:-1], edges[1:], strict=True)]
