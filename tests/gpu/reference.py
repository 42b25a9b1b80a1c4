"""The scan's recurrence in float64 on the CPU, with its derivatives, at any length.

Step by step, with nothing but the recurrence itself: the truth for item 1.  Plain
autograd through a loop takes time that grows with the square of the length; here the
states are kept at the beginnings of blocks alone and computed again from there.
"""

from typing import NamedTuple

import torch
from torch import Tensor

_BLOCK = 512


class ScanCase(NamedTuple):
    """Arguments of a scan with one head in each group, and gradients of its outputs."""

    x: Tensor  # (batch, time, heads, head_dim)
    dt: Tensor  # (batch, time, heads)
    A: Tensor  # (heads,)
    B: Tensor  # (batch, time, heads, state)
    C: Tensor  # (batch, time, heads, state)
    D: Tensor  # (heads,)
    initial_state: Tensor  # (batch, heads, head_dim, state)
    dy: Tensor  # as x
    dstate: Tensor  # as initial_state


class ScanResult(NamedTuple):
    """Outputs and gradients; those of ``A`` and ``D`` for each sample."""

    y: Tensor
    state: Tensor
    x: Tensor
    dt: Tensor
    A: Tensor  # (batch, heads)
    B: Tensor
    C: Tensor
    D: Tensor  # (batch, heads)
    initial_state: Tensor


def reference_scan(case: ScanCase) -> ScanResult:
    """Outputs and gradients of ``S_t = exp(dt_t A) S_{t-1} + dt_t x_t B_t``.

    Parameters
    ----------
    case : ScanCase
        Arguments, in any dtype; ``y_t = S_t C_t + D x_t``.

    Returns
    -------
    ScanResult
        In float64.
    """
    c = ScanCase(*(value.double() for value in case))
    decay = torch.exp(c.dt * c.A)
    n_times = c.x.shape[1]
    blocks = [slice(s, min(s + _BLOCK, n_times)) for s in range(0, n_times, _BLOCK)]
    y = torch.empty_like(c.x)
    starts = [c.initial_state]
    for block in blocks:
        states = _states(c, decay, block, starts[-1])
        y[:, block] = torch.einsum("bthpn,bthn->bthp", states, c.C[:, block])
        starts.append(states[:, -1].clone())
    y += c.x * c.D[:, None]

    grads = {name: torch.zeros_like(getattr(c, name)) for name in ("x", "dt", "B", "C")}
    dA = torch.zeros_like(c.dt[:, 0])
    dnext = c.dstate  # gradient of the state after the block
    for block, start in zip(reversed(blocks), starts[-2::-1], strict=True):
        dA += _block_gradients(c, decay, block, start, dnext, grads)
        dnext = grads.pop("before")
    grads["x"] += c.dy * c.D[:, None]
    dD = (c.dy * c.x).sum((1, 3))
    return ScanResult(y, starts[-1], A=dA, D=dD, initial_state=dnext, **grads)


def _states(c: ScanCase, decay: Tensor, block: slice, start: Tensor) -> Tensor:
    """States (batch, steps, heads, head_dim, state) after every step of a block."""
    weighted = c.dt[:, block, :, None] * c.x[:, block]
    states = torch.einsum("bthp,bthn->bthpn", weighted, c.B[:, block])
    factors = decay[:, block, :, None, None]
    before = start
    for t in range(states.shape[1]):
        before = states[:, t].addcmul_(factors[:, t], before)
    return states


def _block_gradients(
    c: ScanCase,
    decay: Tensor,
    block: slice,
    start: Tensor,
    dnext: Tensor,
    grads: dict[str, Tensor],
) -> Tensor:
    """Fill the gradients of one block and leave that of its start under "before"."""
    states = _states(c, decay, block, start)
    dt, x, B = c.dt[:, block], c.x[:, block], c.B[:, block]
    grads["C"][:, block] = torch.einsum("bthpn,bthp->bthn", states, c.dy[:, block])
    # G_t = dy_t C_t + a_{t+1} G_{t+1}: the gradient of every state
    G = torch.einsum("bthp,bthn->bthpn", c.dy[:, block], c.C[:, block])
    factors = decay[:, block, :, None, None]
    passed = dnext
    for t in range(G.shape[1] - 1, -1, -1):
        passed = G[:, t].add_(passed) * factors[:, t]
    grads["before"] = passed
    GB = torch.einsum("bthpn,bthn->bthp", G, B)
    grads["x"][:, block] = dt[..., None] * GB
    grads["B"][:, block] = torch.einsum("bthpn,bthp->bthn", G, dt[..., None] * x)
    previous = torch.cat([start[:, None], states[:, :-1]], dim=1)
    da = torch.einsum("bthpn,bthpn->bth", G, previous) * decay[:, block]
    grads["dt"][:, block] = (GB * x).sum(-1) + da * c.A
    return (da * dt).sum(1)
