"""Derivatives of `kernels`, compiled by numba.

One pass back over time: the states of a block of steps are computed again from the
state at its start, then every step hands its derivatives to the one before.
"""

import numpy as np

from braindecode_samba.scan.caching import EXACT, SUMS, compiled
from braindecode_samba.scan.kernels import BLOCK, PADDING
from braindecode_samba.scan.rows import (
    ONE,
    ZERO,
    add_products,
    add_row,
    advance_to,
    convolve_row,
    copy_rows,
    enter_row,
    fill_row,
    gather_steps,
    multiply_by,
    sigmoid,
    sigmoid_row,
    silu_row,
    step_sizes,
    widen,
)


@compiled(SUMS)
def _back_through_state(
    dS, before, after, B, C, decay, dy, u, du, ddecay, dB, dC, n_state, n
):
    """Differentiate one step of the recurrence; ``dS`` goes to the step before.

    ``before`` and ``after`` (state, features) are the states around the step.
    """
    fours = n_state // 4 * 4
    for k in range(0, fours, 4):
        _back_through_four(
            dS[k],
            dS[k + 1],
            dS[k + 2],
            dS[k + 3],
            before[k],
            before[k + 1],
            before[k + 2],
            before[k + 3],
            after[k],
            after[k + 1],
            after[k + 2],
            after[k + 3],
            B[k:],
            C[k:],
            decay,
            dy,
            u,
            du,
            ddecay,
            dB[k:],
            dC[k:],
            n,
        )
    for k in range(fours, n_state):
        dc, db = ZERO, ZERO
        for i in range(n):
            s = dS[k, i] + C[k] * dy[i]
            dc += dy[i] * after[k, i]
            db += s * u[i]
            du[i] += B[k] * s
            ddecay[i] += s * before[k, i]
            dS[k, i] = s * decay[i]
        dC[k], dB[k] = dc, db


# several states of a feature at once: what they share is read once
@compiled(SUMS, apart=True)
def _back_through_four(
    d0, d1, d2, d3, S0, S1, S2, S3, T0, T1, T2, T3, B, C, a, dy, u, du, da, dB, dC, n
):
    """Do the same for four states, with ``a`` for the decays."""
    b0, b1, b2, b3 = B[0], B[1], B[2], B[3]
    c0, c1, c2, c3 = C[0], C[1], C[2], C[3]
    dc0, dc1, dc2, dc3 = ZERO, ZERO, ZERO, ZERO
    db0, db1, db2, db3 = ZERO, ZERO, ZERO, ZERO
    for i in range(n):
        s0, s1 = d0[i] + c0 * dy[i], d1[i] + c1 * dy[i]
        s2, s3 = d2[i] + c2 * dy[i], d3[i] + c3 * dy[i]
        dc0 += dy[i] * T0[i]
        dc1 += dy[i] * T1[i]
        dc2 += dy[i] * T2[i]
        dc3 += dy[i] * T3[i]
        db0 += s0 * u[i]
        db1 += s1 * u[i]
        db2 += s2 * u[i]
        db3 += s3 * u[i]
        du[i] += b0 * s0 + b1 * s1 + b2 * s2 + b3 * s3
        da[i] += s0 * S0[i] + s1 * S1[i] + s2 * S2[i] + s3 * S3[i]
        d0[i], d1[i] = s0 * a[i], s1 * a[i]
        d2[i], d3[i] = s2 * a[i], s3 * a[i]
    dB[0], dB[1], dB[2], dB[3] = db0, db1, db2, db3
    dC[0], dC[1], dC[2], dC[3] = dc0, dc1, dc2, dc3


@compiled(EXACT, apart=True)
def _back_through_gate(z, dg, y, pull, g, dy, dz, n):
    """Compute and differentiate ``g = y silu(z)``.

    ``pull`` is a factor of g in its own derivative.
    """
    for i in range(n):
        s = sigmoid(z[i])
        v = y[i] * z[i] * s
        d = dg[i] + pull * v
        g[i] = v
        dy[i] = d * z[i] * s
        dz[i] = d * y[i] * s * (ONE + z[i] * (ONE - s))


@compiled(EXACT, apart=True)
def _back_through_silu(x, gate, dx, n):
    for i in range(n):
        dx[i] *= gate[i] + x[i] * (ONE - gate[i])


@compiled(SUMS, apart=True)
def _back_through_head(x, dy, du, ddecay, step, skip, dx, n):
    """Differentiate by the inputs of a head; sum up what its three factors get."""
    da, ddt, dskip = ZERO, ZERO, ZERO
    for i in range(n):
        da += ddecay[i]
        ddt += du[i] * x[i]
        dskip += dy[i] * x[i]
        dx[i] = step * du[i] + skip * dy[i]
    return da, ddt, dskip


@compiled(EXACT)
def _back_through_heads(
    h0, h1, head_dim, A, D, dt, decay, slope, x, dy, du, ddecay, dx, draw, dbias, dA, dD
):
    """Differentiate by ``x``, and by the steps, decays and skips of some heads.

    ``dt``, ``decay`` and ``slope``, that of the softplus, are of these heads alone.
    """
    for h in range(h0, h1):
        a, b = (h - h0) * head_dim, (h - h0 + 1) * head_dim
        step = dt[h - h0]
        da, ddt, dskip = _back_through_head(
            x[a:b], dy[a:b], du[a:b], ddecay[a:b], step, D[h], dx[a:b], head_dim
        )
        # dt A is the logarithm of the decay
        da *= decay[h - h0]
        ddt = (ddt + da * A[h]) * slope[h - h0]
        draw[h] = ddt
        dbias[h] += ddt
        dA[h] += da * step
        dD[h] += dskip


@compiled(EXACT, inner=False)
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
    g,
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
    g : ndarray, shape (sequences, time, features)
        Receives gated outputs.
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
    most = d_inner // n_ranges + PADDING
    first_dt = 2 * d_inner + n_bc
    S = np.empty((BLOCK + 1, n_state, most), np.float32)
    dS = np.empty((n_state, most), np.float32)
    pre = np.empty((BLOCK, most), np.float32)
    gate = np.empty((BLOCK, most), np.float32)
    x = np.empty((BLOCK, most), np.float32)
    u = np.empty((BLOCK, most), np.float32)
    y = np.empty((BLOCK, most), np.float32)
    decay = np.empty((BLOCK, most), np.float32)
    dt = np.empty(most, np.float32)
    skip = np.empty(most, np.float32)
    # of all times, each head of a time behind the other
    room = np.empty(n_times * n_heads, np.float32)
    dt_heads = np.empty(n_times * n_heads, np.float32)
    decay_heads = np.empty(n_times * n_heads, np.float32)
    slopes = np.empty(n_times * n_heads, np.float32)
    bc_pre = np.empty(n_bc, np.float32)
    bc = np.empty((BLOCK, n_bc), np.float32)
    dy = np.empty(most, np.float32)
    du = np.empty(most, np.float32)
    ddecay = np.empty(most, np.float32)
    for unit in range(first, last):
        s, part = unit // n_ranges, unit % n_ranges
        layer = s // (n_sequences // A.shape[0])
        h0 = part * n_heads // n_ranges
        h1 = (part + 1) * n_heads // n_ranges
        width = h1 - h0
        d0 = h0 * head_dim
        n = width * head_dim
        sequence, before = zx[s], past[s]
        taps, offsets = weight[layer], bias[layer]
        dt_offsets, rates, skips = dt_bias[layer], A[layer], D[layer]
        raw = sequence[:, first_dt:]
        # a softplus has a sigmoid as derivative
        gather_steps(raw, dt_offsets, h0, h1, room)
        sigmoid_row(room, slopes, n_times * width)
        step_sizes(raw, dt_offsets, rates, h0, h1, room, dt_heads, decay_heads)
        widen(skips[h0:h1], head_dim, skip)
        copy_rows(dstates[s], d0, dS, 0, n_state, n)
        for block in range((n_times - 1) // BLOCK, -1, -1):
            t0 = block * BLOCK
            steps = min(BLOCK, n_times - t0)
            copy_rows(starts[s, block], d0, S[0], 0, n_state, n)
            for q in range(steps):
                t = t0 + q
                convolve_row(
                    sequence, before, t, d_inner, taps, offsets, bc_pre, d_inner, n_bc
                )
                silu_row(bc_pre, bc[q], n_bc)
                convolve_row(sequence, before, t, d_inner, taps, offsets, pre[q], d0, n)
                widen(dt_heads[t * width : (t + 1) * width], head_dim, dt)
                widen(decay_heads[t * width : (t + 1) * width], head_dim, decay[q])
                enter_row(pre[q], dt, skip, gate[q], x[q], u[q], y[q], n)
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
                dz = dzx[s, t, d0 : d0 + n]
                dx = dzx[s, t, d_inner + d0 : d_inner + d0 + n]
                z, dout = sequence[t, d0 : d0 + n], dg[s, t, d0 : d0 + n]
                out = g[s, t, d0 : d0 + n]
                _back_through_gate(z, dout, y[q], pull[s, t], out, dy, dz, n)
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
                _back_through_silu(x[q], gate[q], dx, n)
        copy_rows(dS, 0, dstates[s], d0, n_state, n)


@compiled(EXACT, inner=False)
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
    n_ranges = dbc.shape[0]
    n_bc = dbc.shape[3]
    d_inner = channels - n_bc
    pre = np.empty(n_bc, np.float32)
    bc = np.empty(n_bc, np.float32)
    gate = np.empty(n_bc, np.float32)
    for s in range(first, last):
        layer = s // (n_sequences // weight.shape[0])
        w = weight[layer]
        end = d_inner + channels
        for t in range(n_times):
            convolve_row(zx[s], past[s], t, d_inner, w, bias[layer], pre, d_inner, n_bc)
            sigmoid_row(pre, gate, n_bc)
            silu_row(pre, bc, n_bc)
            row = dzx[s, t, 2 * d_inner : end]
            fill_row(row, ZERO, n_bc)
            for part in range(n_ranges):
                add_row(dbc[part, s, t], row, n_bc)
            _back_through_silu(bc, gate, row, n_bc)
            row = dzx[s, t, d_inner:end]
            add_row(row, dbias[s], channels)
            for j in range(taps):
                source = t - taps + 1 + j
                if source >= 0:
                    value = zx[s, source, d_inner:end]
                else:
                    value = past[s, taps - 1 + source]
                add_products(row, value, dweight[s, j], channels)
        # an input acts on its own step and on those behind it
        for source in range(1 - taps, n_times):
            if source >= 0:
                out = dzx[s, source, d_inner:end]
                multiply_by(out, w[taps - 1], channels)
            else:
                out = dpast[s, taps - 1 + source]
                fill_row(out, ZERO, channels)
            for j in range(taps - 1):
                t = source + taps - 1 - j
                if 0 <= t < n_times:
                    add_products(w[j], dzx[s, t, d_inner:end], out, channels)
