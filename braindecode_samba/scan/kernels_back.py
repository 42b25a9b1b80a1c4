"""Derivatives of `kernels`, compiled by numba.

One pass back over time: the states of a block of steps are computed again from the
state at its start, then every step hands its derivatives to the one before.
"""

import numpy as np

from braindecode_samba.scan.caching import EXACT, SUMS, compiled
from braindecode_samba.scan.kernels import BLOCK
from braindecode_samba.scan.rows import (
    ONE,
    ZERO,
    advance_to,
    convolve_row,
    copy_rows,
    dot_rows,
    fill_row,
    gather_steps,
    multiply_by,
    multiply_to,
    sigmoid_row,
    skip_row,
    step_sizes,
    sum_row,
    widen,
)


@compiled(SUMS)
def _back_through_state(
    dS, before, after, B, C, decay, dy, u, du, ddecay, dB, dC, n_state, n
):
    """Differentiate one step of the recurrence; ``dS`` goes to the step before.

    ``before`` and ``after`` (state, features) are the states around the step.
    """
    for k in range(n_state):
        b, c = B[k], C[k]
        total = ZERO
        for i in range(n):
            dS[k, i] += c * dy[i]
            total += dy[i] * after[k, i]
        dC[k] = total
        total = ZERO
        for i in range(n):
            du[i] += b * dS[k, i]
            total += dS[k, i] * u[i]
        dB[k] = total
        for i in range(n):
            ddecay[i] += dS[k, i] * before[k, i]
            dS[k, i] *= decay[i]


@compiled(EXACT)
def _back_through_gate(z, sigmoid, dg, y, pull, dy, dz, n):
    """Differentiate ``g = y silu(z)``; ``pull`` is a factor of g in its derivative."""
    for i in range(n):
        dz[i] = dg[i] + pull * y[i] * z[i] * sigmoid[i]
    for i in range(n):
        dy[i] = dz[i] * z[i] * sigmoid[i]
    for i in range(n):
        dz[i] *= y[i] * sigmoid[i] * (ONE + z[i] * (ONE - sigmoid[i]))


@compiled(EXACT)
def _back_through_silu(x, sigmoid, dx, n):
    for i in range(n):
        dx[i] *= sigmoid[i] + x[i] * (ONE - sigmoid[i])


@compiled(SUMS)
def _back_through_heads(
    h0, h1, head_dim, A, D, dt, decay, slope, x, dy, du, ddecay, dx, draw, dbias, dA, dD
):
    """Differentiate by ``x``, and by the steps, decays and skips of some heads.

    ``dt``, ``decay`` and ``slope``, that of the softplus, are of these heads alone.
    """
    for h in range(h0, h1):
        a, b = (h - h0) * head_dim, (h - h0 + 1) * head_dim
        x_h, du_h, dy_h, dx_h = x[a:b], du[a:b], dy[a:b], dx[a:b]
        da = sum_row(ddecay[a:b], head_dim)
        ddt = dot_rows(du_h, x_h, head_dim)
        dskip = dot_rows(dy_h, x_h, head_dim)
        step, skip = dt[h - h0], D[h]
        for i in range(head_dim):
            dx_h[i] = step * du_h[i] + skip * dy_h[i]
        # dt A is the logarithm of the decay
        da *= decay[h - h0]
        ddt = (ddt + da * A[h]) * slope[h - h0]
        draw[h] = ddt
        dbias[h] += ddt
        dA[h] += da * step
        dD[h] += dskip


@compiled(EXACT)
def backward(
    first,
    last,
    zx,
    past,
    weight,
    bias,
    dt_bias,
    A,
    D,
    starts,
    dg,
    pull,
    dstates,
    dzx,
    dbc,
    ddt_bias,
    dA,
    dD,
):
    """Differentiate some units of `forward`.

    Parameters
    ----------
    first, last, zx, past, weight, bias, dt_bias, A, D, starts
        As for `forward`.
    dg : ndarray, shape (sequences, time, features)
        Derivatives of ``g`` but for those through its norm.
    pull : ndarray, shape (sequences, time)
        Factor of ``g`` in its derivative, from the norm.
    dstates : ndarray, shape (sequences, state, features)
        Derivatives of the states after the last step; overwritten by those of the
        states before the first.
    dzx : ndarray, shape of ``zx``
        Receives derivatives of z and dt, and of x before its SiLU.
    dbc : ndarray, shape (ranges, sequences, time, B | C)
        Receives derivatives of B and C behind their SiLU, one part a range.
    ddt_bias, dA, dD : ndarray, shape (sequences, heads)
        Receive derivatives of the parameters.
    """
    n_sequences, n_times, _ = zx.shape
    n_ranges = dbc.shape[0]
    n_state, d_inner = dstates.shape[1:]
    n_heads = A.shape[1]
    head_dim = d_inner // n_heads
    n_bc = 2 * n_state
    most = d_inner // n_ranges
    first_dt = 2 * d_inner + n_bc
    S = np.empty((BLOCK + 1, n_state, most), np.float32)
    dS = np.empty((n_state, most), np.float32)
    pre = np.empty((BLOCK, most), np.float32)
    sigmoid = np.empty((BLOCK, most), np.float32)
    x = np.empty((BLOCK, most), np.float32)
    u = np.empty((BLOCK, most), np.float32)
    y = np.empty((BLOCK, most), np.float32)
    decay = np.empty((BLOCK, most), np.float32)
    dt_wide = np.empty(most, np.float32)
    # of all times, each head of a time behind the other
    room = np.empty(n_times * n_heads, np.float32)
    dt_heads = np.empty(n_times * n_heads, np.float32)
    decay_heads = np.empty(n_times * n_heads, np.float32)
    slopes = np.empty(n_times * n_heads, np.float32)
    bc = np.empty((BLOCK, n_bc), np.float32)
    bc_sigmoid = np.empty(n_bc, np.float32)
    gate = np.empty(most, np.float32)
    dy = np.empty(most, np.float32)
    du = np.empty(most, np.float32)
    ddecay = np.empty(most, np.float32)
    bits = np.empty(max(most, n_bc, n_times * n_heads), np.int32)
    powers = bits.view(np.float32)
    for unit in range(first, last):
        s, part = unit // n_ranges, unit % n_ranges
        layer = s // (n_sequences // A.shape[0])
        h0 = part * n_heads // n_ranges
        h1 = (part + 1) * n_heads // n_ranges
        d0 = h0 * head_dim
        n = (h1 - h0) * head_dim
        sequence, before = zx[s], past[s]
        taps, offsets = weight[layer], bias[layer]
        dt_offsets, rates, skips = dt_bias[layer], A[layer], D[layer]
        width = h1 - h0
        raw = sequence[:, first_dt:]
        # a softplus has a sigmoid as derivative
        gather_steps(raw, dt_offsets, h0, h1, room)
        sigmoid_row(room, slopes, bits, powers, n_times * width)
        step_sizes(
            raw, dt_offsets, rates, h0, h1, room, dt_heads, decay_heads, bits, powers
        )
        copy_rows(dstates[s], d0, dS, 0, n_state, n)
        for block in range((n_times - 1) // BLOCK, -1, -1):
            t0 = block * BLOCK
            steps = min(BLOCK, n_times - t0)
            copy_rows(starts[s, block], d0, S[0], 0, n_state, n)
            for q in range(steps):
                t = t0 + q
                convolve_row(sequence, before, t, d_inner, taps, offsets, pre[q], d0, n)
                sigmoid_row(pre[q], sigmoid[q], bits, powers, n)
                convolve_row(
                    sequence, before, t, d_inner, taps, offsets, bc[q], d_inner, n_bc
                )
                sigmoid_row(bc[q], bc_sigmoid, bits, powers, n_bc)
                multiply_by(bc[q], bc_sigmoid, n_bc)
                now = slice(t * width, (t + 1) * width)
                widen(dt_heads[now], head_dim, dt_wide)
                widen(decay_heads[now], head_dim, decay[q])
                multiply_to(pre[q], sigmoid[q], x[q], n)
                multiply_to(dt_wide, x[q], u[q], n)
                skip_row(skips, x[q], y[q], h0, h1, head_dim)
                advance_to(
                    S[q],
                    S[q + 1],
                    bc[q],
                    bc[q, n_state:],
                    decay[q],
                    u[q],
                    y[q],
                    n_state,
                    n,
                )
            for q in range(steps - 1, -1, -1):
                t = t0 + q
                now = slice(t * width, (t + 1) * width)
                z = sequence[t, d0 : d0 + n]
                sigmoid_row(z, gate, bits, powers, n)
                dout = dg[s, t, d0 : d0 + n]
                dz = dzx[s, t, d0 : d0 + n]
                dx = dzx[s, t, d_inner + d0 : d_inner + d0 + n]
                _back_through_gate(z, gate, dout, y[q], pull[s, t], dy, dz, n)
                fill_row(du, ZERO, n)
                fill_row(ddecay, ZERO, n)
                _back_through_state(
                    dS,
                    S[q],
                    S[q + 1],
                    bc[q],
                    bc[q, n_state:],
                    decay[q],
                    dy,
                    u[q],
                    du,
                    ddecay,
                    dbc[part, s, t],
                    dbc[part, s, t, n_state:],
                    n_state,
                    n,
                )
                _back_through_heads(
                    h0,
                    h1,
                    head_dim,
                    rates,
                    skips,
                    dt_heads[now],
                    decay_heads[now],
                    slopes[now],
                    x[q],
                    dy,
                    du,
                    ddecay,
                    dx,
                    dzx[s, t, first_dt:],
                    ddt_bias[s],
                    dA[s],
                    dD[s],
                )
                _back_through_silu(x[q], sigmoid[q], dx, n)
        copy_rows(dS, 0, dstates[s], d0, n_state, n)


@compiled(EXACT)
def backward_convolution(
    first, last, zx, past, weight, bias, dbc, dzx, dpast, dweight, dbias
):
    """Differentiate the convolutions of some sequences.

    Parameters
    ----------
    first, last : int
        Sequences.
    zx, past, weight, bias, dbc
        As for `backward`.
    dzx : ndarray, shape of ``zx``
        Derivatives of x before its SiLU; overwritten by those of x, B and C before the
        convolution.
    dpast : ndarray, shape (sequences, taps - 1, channels)
        Receives derivatives of ``past``.
    dweight : ndarray, shape (sequences, taps, channels)
        Receives derivatives of the taps.
    dbias : ndarray, shape (sequences, channels)
        Receives derivatives of the bias.
    """
    n_sequences, n_times, _ = zx.shape
    taps, channels = weight.shape[1:]
    n_ranges, n_bc = dbc.shape[0], dbc.shape[3]
    d_inner = channels - n_bc
    bc = np.empty(n_bc, np.float32)
    sigmoid = np.empty(n_bc, np.float32)
    bits = np.empty(n_bc, np.int32)
    powers = bits.view(np.float32)
    for s in range(first, last):
        layer = s // (n_sequences // weight.shape[0])
        w = weight[layer]
        for t in range(n_times):
            convolve_row(zx[s], past[s], t, d_inner, w, bias[layer], bc, d_inner, n_bc)
            sigmoid_row(bc, sigmoid, bits, powers, n_bc)
            row = dzx[s, t, 2 * d_inner : 2 * d_inner + n_bc]
            for i in range(n_bc):
                row[i] = ZERO
            for part in range(n_ranges):
                for i in range(n_bc):
                    row[i] += dbc[part, s, t, i]
            for i in range(n_bc):
                row[i] *= sigmoid[i] * (ONE + bc[i] * (ONE - sigmoid[i]))
            row = dzx[s, t, d_inner : d_inner + channels]
            total = dbias[s]
            for i in range(channels):
                total[i] += row[i]
            for j in range(taps):
                source = t - taps + 1 + j
                out = dweight[s, j]
                if source >= 0:
                    value = zx[s, source, d_inner : d_inner + channels]
                else:
                    value = past[s, taps - 1 + source]
                for i in range(channels):
                    out[i] += row[i] * value[i]
        # an input acts on its own step and on those behind it
        for source in range(1 - taps, n_times):
            if source >= 0:
                out = dzx[s, source, d_inner : d_inner + channels]
                for i in range(channels):
                    out[i] *= w[taps - 1, i]
            else:
                out = dpast[s, taps - 1 + source]
                for i in range(channels):
                    out[i] = ZERO
            for j in range(taps - 1):
                t = source + taps - 1 - j
                if 0 <= t < n_times:
                    row = dzx[s, t, d_inner : d_inner + channels]
                    for i in range(channels):
                        out[i] += w[j, i] * row[i]
