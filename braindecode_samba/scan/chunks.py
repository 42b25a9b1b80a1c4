"""The scan on data that are cut into chunks, and its derivatives.

`chunked_scan` cuts and joins.  `scan_chunks` reads like the equations and is
differentiated by autograd: the reference, and what compilers see.  `ScanByHand` is the
same with its derivatives written out.  Shapes of both are those of the chunked layout.

References
----------
Dao and Gu (2024), Transformers are SSMs, arXiv 2405.21060, section 6.
"""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from braindecode_samba.scan.traced import carry_at_once, cut, is_traced, join


def by_hand() -> bool:
    """Whether derivatives that are written out apply: not where compilers trace."""
    return torch.is_grad_enabled() and not is_traced()


def chunked_scan(
    x: Tensor,
    dt: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    D: Tensor | None,
    initial_state: Tensor | None,
    chunk_size: int = 0,
) -> tuple[Tensor, Tensor]:
    """Scan by chunks: products inside a chunk, a recurrence between chunks.

    Written for TorchScript as well as for eager mode. Heads are ordered by group, so
    that a stack of independent layers is a scan with more groups.

    Parameters
    ----------
    x : Tensor, shape (batch, time, groups, heads, head_dim)
        Inputs, of any float dtype; ``heads`` counts those of one group.
    dt : Tensor, shape (batch, time, groups, heads)
        Step sizes, ready to use.
    A : Tensor, shape (groups, heads)
        Decay rates.
    B, C : Tensor, shape (batch, time, groups, state)
        Projections.
    D : Tensor, shape (groups, heads) or (groups, heads, head_dim), optional
        Skip.
    initial_state : Tensor, shape (batch, groups, heads, head_dim, state), optional
        State before the first step.
    chunk_size : int
        Steps in a chunk; by default what suits the heads and the machine.

    Returns
    -------
    y : Tensor, shape (batch, time, groups, heads, head_dim)
        Outputs, in the dtype of ``x``.
    final_state : Tensor, shape (batch, groups, heads, head_dim, state)
        State after the last step, float32 or float64.
    """
    n_times = x.shape[1]
    if chunk_size < 1:
        # near twice the state, products are balanced
        chunk_size = 64 if x.is_cuda else 32 if x.shape[4] >= 32 else 16
    c = chunk_size
    if torch.jit.is_scripting() or not is_traced():
        c = min(chunk_size, n_times)
    wide = sum_dtype(x)
    X = _chunks(x.to(wide).permute(0, 2, 3, 1, 4), c).contiguous()
    dt = _chunks(dt.to(wide).permute(0, 2, 3, 1).unsqueeze(-1), c).squeeze(-1)
    A = A.to(wide)
    B = _chunks(B.to(wide).permute(0, 2, 1, 3), c).contiguous()
    C = _chunks(C.to(wide).permute(0, 2, 1, 3), c).contiguous()
    if initial_state is None:
        S = X.new_zeros([X.shape[0], X.shape[1], X.shape[2], B.shape[4], X.shape[5]])
    else:
        S = initial_state.to(wide).transpose(-1, -2)
    skip = torch.zeros_like(A) if D is None or D.dim() == 3 else D.to(wide)

    if not torch.jit.is_scripting() and by_hand():
        Y, S = ScanByHand.apply(X, dt, A, B, C, skip, S)
    else:
        Y, S = scan_chunks(X, dt, A, B, C, skip, S)
    if torch.jit.is_scripting() or not is_traced():
        y = Y.flatten(3, 4)[:, :, :, :n_times]
    else:
        y = join(Y, n_times)
    y = y.permute(0, 3, 1, 2, 4)
    if D is not None and D.dim() == 3:
        y = y + x.to(wide) * D.to(wide)
    return y.to(x.dtype), S.transpose(-1, -2)


def sum_dtype(x: Tensor) -> torch.dtype:
    """Type in which sums over values of x run."""
    return torch.float64 if x.dtype == torch.float64 else torch.float32


def _chunks(values: Tensor, c: int) -> Tensor:
    """Cut (..., time, last) to (..., chunk, step, last).

    Steps of size zero leave the state as it is: they fill the last chunk.
    """
    if not torch.jit.is_scripting() and is_traced():
        return cut(values, c)
    fill = -values.shape[-2] % c
    if fill > 0:
        values = F.pad(values, (0, 0, 0, fill))
    return values.unflatten(-2, (values.shape[-2] // c, c))


def scan_chunks(
    X: Tensor, dt: Tensor, A: Tensor, B: Tensor, C: Tensor, D: Tensor, S: Tensor
) -> tuple[Tensor, Tensor]:
    """Scan data that are cut into chunks, differentiated by autograd.

    Parameters
    ----------
    X : Tensor, shape (batch, groups, heads, chunks, steps, head_dim)
        Inputs.
    dt : Tensor, shape (batch, groups, heads, chunks, steps)
        Step sizes.
    A, D : Tensor, shape (groups, heads)
        Decay rates and skips.
    B, C : Tensor, shape (batch, groups, chunks, steps, state)
        Projections.
    S : Tensor, shape (batch, groups, heads, state, head_dim)
        State before the first chunk.

    Returns
    -------
    Y : Tensor, shape of ``X``
        Outputs.
    S : Tensor
        State after the last chunk.
    """
    cum = summed_decay(dt, A)
    # one does not decay into itself: as a constant, the diagonal adds no rounding to
    # gradients, which are small differences behind it; nor does the last step
    eye = torch.eye(dt.shape[-1], dtype=X.dtype, device=X.device)
    L = decay_within(cum, X.dtype).tril(-1) + eye
    to_end = F.pad(decay_to_end(cum, X.dtype)[..., :-1], (0, 1), value=1.0)
    CB = torch.matmul(C, B.transpose(-1, -2)).unsqueeze(2)
    M = L * CB * dt.unsqueeze(-2) + eye * D[:, :, None, None, None]
    push = (to_end * dt).unsqueeze(-1) * B.unsqueeze(2)
    pushes = torch.matmul(push.transpose(-1, -2), X)
    if not torch.jit.is_scripting() and is_traced():
        starts, S = carry_at_once(pushes, cum[..., -1], S)
    else:
        starts, S = chunk_states(pushes, cum[..., -1].exp().to(X.dtype), S)
    read = cum.to(X.dtype).exp().unsqueeze(-1) * C.unsqueeze(2)
    return torch.matmul(M, X) + torch.matmul(read, starts), S


def summed_decay(dt: Tensor, A: Tensor) -> Tensor:
    """Sum dt A inside each chunk, in float64.

    Decays are exponentials of differences of these sums, in which float32 would lose
    small steps behind large ones.
    """
    return (dt.double() * A[:, :, None, None]).cumsum(-1)


def decay_within(cum: Tensor, dtype: torch.dtype) -> Tensor:
    """``L[t, s] = exp(cum_t - cum_s)`` for s <= t, and 0 above the diagonal.

    What lies above is set before the exponential: after it, it may have overflowed, and
    gradients would be NaN.
    """
    c = cum.shape[-1]
    above = torch.ones(c, c, dtype=torch.bool, device=cum.device).triu(1)
    span = (cum.unsqueeze(-1) - cum.unsqueeze(-2)).to(dtype)
    return span.masked_fill(above, -float("inf")).exp()


def decay_to_end(cum: Tensor, dtype: torch.dtype) -> Tensor:
    """``exp(cum_end - cum_s)``: what is left of step s at the end of its chunk."""
    return (cum[..., -1:] - cum).to(dtype).exp()


def chunk_states(push: Tensor, through: Tensor, S: Tensor) -> tuple[Tensor, Tensor]:
    """Carry the state from chunk to chunk: ``S_{k+1} = through_k S_k + push_k``.

    Parameters
    ----------
    push : Tensor, shape (batch, groups, heads, chunks, state, head_dim)
        What each chunk adds.
    through : Tensor, shape (batch, groups, heads, chunks)
        Decay over each chunk.
    S : Tensor, shape (batch, groups, heads, state, head_dim)
        State before the first chunk.

    Returns
    -------
    starts : Tensor, shape of ``push``
        State before each chunk.
    S : Tensor
        State after the last one.
    """
    decays = through[..., None, None].unbind(3)
    pushes = push.unbind(3)
    starts = []
    for i in range(len(pushes)):
        starts.append(S)
        S = torch.addcmul(pushes[i], decays[i], S)
    return torch.stack(starts, dim=3), S


class ScanByHand(torch.autograd.Function):
    """`scan_chunks` with its derivatives written out. Not twice differentiable."""

    @staticmethod
    def forward(
        ctx: Any,
        X: Tensor,
        dt: Tensor,
        A: Tensor,
        B: Tensor,
        C: Tensor,
        D: Tensor,
        S: Tensor,
    ) -> tuple[Tensor, Tensor]:
        """Compute what `scan_chunks` does."""
        cum = summed_decay(dt, A)
        L = decay_within(cum, X.dtype)
        CB = torch.matmul(C, B.transpose(-1, -2)).unsqueeze(2)
        M = (L * CB).mul_(dt.unsqueeze(-2))
        M.diagonal(dim1=-2, dim2=-1).add_(D[:, :, None, None])
        to_end = decay_to_end(cum, X.dtype)
        push = (to_end * dt).unsqueeze(-1) * B.unsqueeze(2)
        through = cum[..., -1].exp().to(X.dtype)
        pushes = torch.matmul(push.transpose(-1, -2), X)
        starts, end = chunk_states(pushes, through, S)
        from_start = cum.to(X.dtype).exp()
        read = from_start.unsqueeze(-1) * C.unsqueeze(2)
        Y = torch.matmul(M, X)
        Y += torch.matmul(read, starts)
        ctx.save_for_backward(
            *(X, dt, A, B, C, L, CB, M),
            *(to_end, push, through, starts, from_start, read),
        )
        return Y, end

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dY: Tensor, dS: Tensor) -> tuple[Tensor, ...]:
        """Follow the forward computation from its end."""
        saved = ctx.saved_tensors  # a checkpoint lets them be taken once
        X, dt, A, B, C, L, CB, M = saved[:8]
        to_end, push, through, starts, from_start, read = saved[8:]

        # Y_k = M X_k + read S_k
        dX = torch.matmul(M.transpose(-1, -2), dY)
        dM = torch.matmul(dY, X.transpose(-1, -2))
        dread = torch.matmul(dY, starts.transpose(-1, -2))
        dstarts = torch.matmul(read.transpose(-1, -2), dY).unbind(3)

        # S_{k+1} = through_k S_k + push_k^T X_k, from the last chunk to the first
        decays = through[..., None, None].unbind(3)
        after: list[Tensor] = []
        for i in reversed(range(len(decays))):
            after.append(dS)
            dS = torch.addcmul(dstarts[i], decays[i], dS)
        dnext = torch.stack(after[::-1], dim=3)
        dX += torch.matmul(push, dnext)
        dpush = torch.matmul(X, dnext.transpose(-1, -2))
        dcum_end = through * (starts * dnext).sum((-1, -2))

        # M = L CB dt + D. The diagonal of L does not decay: in the sums over rows and
        # columns it would cancel, and leave its rounding behind a strong decay.
        dD = dM.diagonal(dim1=-2, dim2=-1).sum((0, 3, 4))
        dL_dt = dM.mul_(L)
        weighted = dL_dt * CB
        diagonal = weighted.diagonal(dim1=-2, dim2=-1)
        ddt = diagonal.clone()
        diagonal.zero_()
        ddt += weighted.sum(-2)
        weighted *= dt.unsqueeze(-2)
        # rows and columns nearly cancel in the gradient of A
        dcum = weighted.sum(-1, dtype=torch.float64)
        dcum -= weighted.sum(-2, dtype=torch.float64)
        dCB = dL_dt.mul_(dt.unsqueeze(-2)).sum(2)

        # read = exp(cum) C and push = exp(cum_end - cum) dt B, where the last step of a
        # chunk does not decay either
        dcum += (dread * read).sum(-1)
        dpush_dt = (dpush * B.unsqueeze(2)).sum(-1) * to_end
        ddt += dpush_dt
        lost = dpush_dt[..., :-1] * dt[..., :-1]
        dcum[..., :-1] -= lost
        dcum[..., -1] += lost.sum(-1) + dcum_end
        dC = torch.matmul(dCB, B) + (dread * from_start.unsqueeze(-1)).sum(2)
        dB = torch.matmul(dCB.transpose(-1, -2), C)
        dB += (dpush * (to_end * dt).unsqueeze(-1)).sum(2)

        # cum is the running sum of dt A
        da = dcum.flip(-1).cumsum(-1).flip(-1)
        dA = (da * dt).sum((0, 3, 4)).to(A.dtype)
        ddt += (da * A[:, :, None, None]).to(dt.dtype)
        return dX, ddt, dA, dB, dC, dD, dS
