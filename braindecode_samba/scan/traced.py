"""What compilers and exporters see: torch's operations alone, for any size.

They record operations, once for all batches and lengths.  Neither compiled loops nor
memory of other libraries, nor a Python loop over as many parts as an input has, leave
anything that they could record.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

# Chunks that are carried at once, by a matrix of that size.
_BLOCK = 16


def is_traced() -> bool:
    """Whether a compiler or an exporter looks on."""
    return torch.compiler.is_compiling() or torch.jit.is_tracing()


def cut(x: Tensor, size: int) -> Tensor:
    """Cut (..., time, last) into parts (..., part, size, last).

    Zeros fill the last part and one more: exporters take a single part for a case of
    its own, which excludes all others.
    """
    # an index: of a view they ask whether sizes divide each other for every length
    n_parts = (x.shape[-2] + 2 * size - 1) // size
    starts = size * torch.arange(n_parts, device=x.device)
    steps = starts.unsqueeze(1) + torch.arange(size, device=x.device)
    return F.pad(x, (0, 0, 0, 2 * size - 1))[..., steps, :]


def join(parts: Tensor, n: int) -> Tensor:
    """Join parts (..., part, size, last) to the n first steps, (..., n, last)."""
    steps = torch.arange(n, device=parts.device)
    size = parts.shape[-2]
    part = torch.div(steps, size, rounding_mode="floor")
    return parts[..., part, steps - size * part, :]


def carry_at_once(push: Tensor, decay: Tensor, S: Tensor) -> tuple[Tensor, Tensor]:
    """Carry a state over chunks by products alone: ``chunks.chunk_states`` for tracing.

    Blocks of chunks are carried first, each from zero, and then the states of blocks:
    time and memory grow with ``chunks * 16 + (chunks / 16)^2``.

    Parameters
    ----------
    push : Tensor, shape (..., chunks, state, head_dim)
        What each chunk adds.
    decay : Tensor of float64, shape (..., chunks)
        Logarithm of the decay over each chunk.
    S : Tensor, shape (..., state, head_dim)
        State before the first chunk.

    Returns
    -------
    starts : Tensor, shape of ``push``
        State before each chunk.
    S : Tensor
        State after the last one.
    """
    shape = S.shape[-2:]
    push, S = push.flatten(-2), S.flatten(-2)  # (..., chunks, features)
    n_chunks = push.shape[-2]
    push, decay = cut(push, _BLOCK), cut(decay.unsqueeze(-1), _BLOCK).squeeze(-1)
    inside = _states(push, decay)
    block_starts = _states(inside[..., -1, :], decay.sum(-1), S)
    since = F.pad(decay.cumsum(-1)[..., :-1], (1, 0)).exp().to(S.dtype).unsqueeze(-1)
    starts = inside[..., :-1, :] + since * block_starts[..., :-1, :].unsqueeze(-2)
    return join(starts, n_chunks).unflatten(-1, shape), block_starts[
        ..., -1, :
    ].unflatten(-1, shape)


def _states(push: Tensor, decay: Tensor, S: Tensor | None = None) -> Tensor:
    """States (..., k + 1, features) before each of k steps and behind the last one."""
    past = F.pad(decay.cumsum(-1), (1, 0))
    span = (past.unsqueeze(-1) - past[..., 1:].unsqueeze(-2)).to(push.dtype)
    n = decay.shape[-1]
    # before the exponential: what is not yet added could overflow
    ahead = torch.ones(n + 1, n, dtype=torch.bool, device=push.device).triu(0)
    states = torch.matmul(span.masked_fill(ahead, -float("inf")).exp(), push)
    if S is None:
        return states
    return states + past.exp().to(push.dtype).unsqueeze(-1) * S.unsqueeze(-2)
