"""Loops over time, compiled by numba: what lies between a Mamba-2 layer's projections.

Convolution, SiLU, step sizes, recurrence and gate in one pass over time, and their
derivatives in one pass back, in float32 on a CPU.  Every value is used while it is in
the processor's cache, which no sequence of whole-tensor operations can do.  The
equations stand in `stack`, which is also what these loops are tested against; `fused`
calls them.

Arrays: ``zx`` (sequences, time, z | x | B | C | dt) is the input projection; ``states``
(sequences, state, features) has the features of all heads side by side.  Sequences are
ordered by layer, then by batch.
"""

import math

import numpy as np
from numba import njit

# Steps whose states are computed again at once on the way back.
BLOCK = 16

_LOG2E = np.float32(math.log2(math.e))
# ln 2 as a sum whose first part has few digits, so that multiples of it are exact
_LN2_HIGH = np.float32(0.693359375)
_LN2_LOW = np.float32(-2.12194440e-4)
_LOWEST = np.float32(-87.0)
_HIGHEST = np.float32(87.0)
_ZERO, _HALF, _ONE = np.float32(0.0), np.float32(0.5), np.float32(1.0)
# minimax polynomial of (exp(r) - 1 - r) / r^2 for |r| <= ln(2) / 2
_C2 = np.float32(0.5000000120)
_C3 = np.float32(0.1666666546)
_C4 = np.float32(4.166579590e-2)
_C5 = np.float32(8.333451800e-3)
_C6 = np.float32(1.398199951e-3)
_C7 = np.float32(1.987569150e-4)

_EXACT = {"contract", "nsz"}
_SUMS = _EXACT | {"reassoc"}


@njit(nogil=True, fastmath=_EXACT, cache=True, error_model="numpy")
def _sigmoid_row(v, out, bits, powers, n):
    """``out = 1 / (1 + exp(-v))`` for a row; ``powers`` is ``bits`` as float32."""
    for i in range(n):
        x = min(max(-v[i], _LOWEST), _HIGHEST)
        k = np.floor(x * _LOG2E + _HALF)
        r = x - k * _LN2_HIGH
        r = r - k * _LN2_LOW
        p = _C7
        p = p * r + _C6
        p = p * r + _C5
        p = p * r + _C4
        p = p * r + _C3
        p = p * r + _C2
        bits[i] = (np.int32(k) + np.int32(127)) << np.int32(23)
        # NaN goes through: the comparisons above would lose it
        out[i] = p * r * r + r + _ONE + (v[i] - v[i])
    for i in range(n):
        out[i] = _ONE / (_ONE + out[i] * powers[i])


@njit(nogil=True, fastmath=_EXACT, cache=True, error_model="numpy")
def _convolve_row(zx, past, t, first, weight, bias, out, c0, n):
    """Causal convolution at step t of n channels from c0 on; inputs lie at first."""
    taps = weight.shape[0]
    # slices: a loop over plain indices is vectorised, one over c0 + i is not
    start = bias[c0 : c0 + n]
    for i in range(n):
        out[i] = start[i]
    for j in range(taps):
        source = t - taps + 1 + j
        w = weight[j, c0 : c0 + n]
        if source >= 0:
            row = zx[source, first + c0 : first + c0 + n]
        else:
            row = past[taps - 1 + source, c0 : c0 + n]
        for i in range(n):
            out[i] += w[i] * row[i]


@njit(nogil=True, fastmath=_EXACT, cache=True, error_model="numpy")
def _fill(a, value, n):
    for i in range(n):
        a[i] = value


@njit(nogil=True, fastmath=_EXACT, cache=True, error_model="numpy")
def _steps(raw, bias, A, h0, h1, head_dim, dt, decay, dt_wide, decay_wide):
    """Step sizes and decays of some heads, also one for each feature."""
    for h in range(h0, h1):
        v = raw[h] + bias[h]
        # softplus, with torch's threshold
        s = v if v > np.float32(20.0) else np.float32(math.log1p(math.exp(v)))
        e = np.float32(math.exp(s * A[h]))
        dt[h] = s
        decay[h] = e
        base = (h - h0) * head_dim
        _fill(dt_wide[base : base + head_dim], s, head_dim)
        _fill(decay_wide[base : base + head_dim], e, head_dim)


# two loops, since a compiler does not vectorise where input and output may overlap
@njit(nogil=True, fastmath=_EXACT, cache=True, error_model="numpy")
def _advance(S, B, decay, u, n_state, n):
    """Overwrite every state: ``S = decay S + B u``."""
    for k in range(n_state):
        b = B[k]
        for i in range(n):
            S[k, i] = decay[i] * S[k, i] + b * u[i]


@njit(nogil=True, fastmath=_EXACT, cache=True, error_model="numpy")
def _advance_to(S, new, B, decay, u, n_state, n):
    """Compute every next state: ``new = decay S + B u``."""
    for k in range(n_state):
        b = B[k]
        for i in range(n):
            new[k, i] = decay[i] * S[k, i] + b * u[i]


@njit(nogil=True, fastmath=_EXACT, cache=True, error_model="numpy")
def _read(S, C, y, n_state, n):
    """``y += C S``."""
    for k in range(n_state):
        c = C[k]
        for i in range(n):
            y[i] += c * S[k, i]


@njit(nogil=True, fastmath=_EXACT, cache=True, error_model="numpy")
def _copy_rows(source, i0, target, j0, n_rows, n):
    for k in range(n_rows):
        row, out = source[k, i0 : i0 + n], target[k, j0 : j0 + n]
        for i in range(n):
            out[i] = row[i]


@njit(nogil=True, fastmath=_SUMS, cache=True, error_model="numpy")
def _sum(a, n):
    total = _ZERO
    for i in range(n):
        total += a[i]
    return total


@njit(nogil=True, fastmath=_SUMS, cache=True, error_model="numpy")
def _dot(a, b, n):
    total = _ZERO
    for i in range(n):
        total += a[i] * b[i]
    return total


@njit(nogil=True, fastmath=_EXACT, cache=True, error_model="numpy")
def _multiply(a, b, n):
    """Overwrite ``a`` by ``a b``."""
    for i in range(n):
        a[i] *= b[i]


@njit(nogil=True, fastmath=_EXACT, cache=True, error_model="numpy")
def _product(a, b, out, n):
    for i in range(n):
        out[i] = a[i] * b[i]


@njit(nogil=True, fastmath=_EXACT, cache=True, error_model="numpy")
def _skip(D, x, y, h0, h1, head_dim):
    """Begin each head's output with ``y = D x``."""
    for h in range(h0, h1):
        d = D[h]
        base = (h - h0) * head_dim
        out, row = y[base : base + head_dim], x[base : base + head_dim]
        for i in range(head_dim):
            out[i] = d * row[i]


@njit(nogil=True, fastmath=_EXACT, cache=True, error_model="numpy")
def _gate(y, z, sigmoid, out, n):
    for i in range(n):
        out[i] = y[i] * z[i] * sigmoid[i]


@njit(nogil=True, fastmath=_EXACT, cache=True, error_model="numpy")
def forward(
    first, last, zx, past, weight, bias, dt_bias, A, D, states, starts, g, squares
):
    """Run some units, each a range of heads of one sequence.

    Parameters
    ----------
    first, last : int
        Units to run.
    zx : ndarray, shape (sequences, time, z | x | B | C | dt)
        Input projections.
    past : ndarray, shape (sequences, taps - 1, channels)
        Inputs of the convolution before the first step.
    weight : ndarray, shape (layers, taps, channels)
        Taps.
    bias : ndarray, shape (layers, channels)
        Bias of the convolution.
    dt_bias, A, D : ndarray, shape (layers, heads)
        Bias of the steps, decay rates, skips.
    states : ndarray, shape (sequences, state, features)
        State before the first step; overwritten by that after the last.
    starts : ndarray, shape (sequences, blocks, state, features)
        Receives the state at the start of every block; empty to leave it out.
    g : ndarray, shape (sequences, time, features)
        Receives gated outputs.
    squares : ndarray, shape (ranges, sequences, time)
        Receives the sums of squares of ``g`` over each range.
    """
    n_sequences, n_times, _ = zx.shape
    n_ranges = squares.shape[0]
    n_state, d_inner = states.shape[1:]
    n_heads = A.shape[1]
    head_dim = d_inner // n_heads
    n_bc = 2 * n_state
    most = d_inner // n_ranges
    S = np.empty((n_state, most), np.float32)
    pre = np.empty(most, np.float32)
    x = np.empty(most, np.float32)
    y = np.empty(most, np.float32)
    gate = np.empty(most, np.float32)
    u = np.empty(most, np.float32)
    dt_wide = np.empty(most, np.float32)
    decay = np.empty(most, np.float32)
    dt_heads = np.empty(n_heads, np.float32)
    decay_heads = np.empty(n_heads, np.float32)
    bc = np.empty(n_bc, np.float32)
    bc_sigmoid = np.empty(n_bc, np.float32)
    bits = np.empty(max(most, n_bc), np.int32)
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
        # side by side in memory, which loops over features need
        _copy_rows(states[s], d0, S, 0, n_state, n)
        for t in range(n_times):
            if starts.shape[1] and t % BLOCK == 0:
                _copy_rows(S, 0, starts[s, t // BLOCK], d0, n_state, n)
            _convolve_row(sequence, before, t, d_inner, taps, offsets, pre, d0, n)
            _sigmoid_row(pre, x, bits, powers, n)
            _convolve_row(
                sequence,
                before,
                t,
                d_inner,
                taps,
                offsets,
                bc,
                d_inner,
                n_bc,
            )
            _sigmoid_row(bc, bc_sigmoid, bits, powers, n_bc)
            _multiply(bc, bc_sigmoid, n_bc)
            _steps(
                sequence[t, 2 * d_inner + n_bc :],
                dt_offsets,
                rates,
                h0,
                h1,
                head_dim,
                dt_heads,
                decay_heads,
                dt_wide,
                decay,
            )
            _multiply(x, pre, n)
            _product(dt_wide, x, u, n)
            _skip(skips, x, y, h0, h1, head_dim)
            _advance(S, bc, decay, u, n_state, n)
            _read(S, bc[n_state:], y, n_state, n)
            z = sequence[t, d0 : d0 + n]
            _sigmoid_row(z, gate, bits, powers, n)
            out = g[s, t, d0 : d0 + n]
            _gate(y, z, gate, out, n)
            squares[part, s, t] = _dot(out, out, n)
        _copy_rows(S, 0, states[s], d0, n_state, n)


@njit(nogil=True, fastmath=_SUMS, cache=True, error_model="numpy")
def _back_through_state(
    dS, before, after, B, C, decay, dy, u, du, ddecay, dB, dC, n_state, n
):
    """Derivatives of one step of the recurrence; ``dS`` goes to the step before.

    ``before`` and ``after`` (state, features) are the states around the step.
    """
    for k in range(n_state):
        b, c = B[k], C[k]
        total = _ZERO
        for i in range(n):
            dS[k, i] += c * dy[i]
            total += dy[i] * after[k, i]
        dC[k] = total
        total = _ZERO
        for i in range(n):
            du[i] += b * dS[k, i]
            total += dS[k, i] * u[i]
        dB[k] = total
        for i in range(n):
            ddecay[i] += dS[k, i] * before[k, i]
            dS[k, i] *= decay[i]


@njit(nogil=True, fastmath=_EXACT, cache=True, error_model="numpy")
def _back_through_gate(z, sigmoid, dg, y, pull, dy, dz, n):
    """Derivatives of ``g = y silu(z)``; ``pull`` is a factor of g in its own."""
    for i in range(n):
        dz[i] = dg[i] + pull * y[i] * z[i] * sigmoid[i]
    for i in range(n):
        dy[i] = dz[i] * z[i] * sigmoid[i]
    for i in range(n):
        dz[i] *= y[i] * sigmoid[i] * (_ONE + z[i] * (_ONE - sigmoid[i]))


@njit(nogil=True, fastmath=_EXACT, cache=True, error_model="numpy")
def _back_through_silu(x, sigmoid, dx, n):
    for i in range(n):
        dx[i] *= sigmoid[i] + x[i] * (_ONE - sigmoid[i])


@njit(nogil=True, fastmath=_SUMS, cache=True, error_model="numpy")
def _back_through_heads(
    h0,
    h1,
    head_dim,
    raw,
    bias,
    A,
    D,
    dt,
    decay,
    x,
    dy,
    du,
    ddecay,
    dx,
    draw,
    dbias,
    dA,
    dD,
):
    """Derivatives of ``x`` and of the steps, decays and skips of some heads."""
    for h in range(h0, h1):
        a, b = (h - h0) * head_dim, (h - h0 + 1) * head_dim
        x_h, du_h, dy_h, dx_h = x[a:b], du[a:b], dy[a:b], dx[a:b]
        da = _sum(ddecay[a:b], head_dim)
        ddt = _dot(du_h, x_h, head_dim)
        dskip = _dot(dy_h, x_h, head_dim)
        step, skip = dt[h], D[h]
        for i in range(head_dim):
            dx_h[i] = step * du_h[i] + skip * dy_h[i]
        # dt A is the logarithm of the decay, and softplus has a sigmoid as derivative
        da *= decay[h]
        ddt = (ddt + da * A[h]) / (_ONE + np.float32(math.exp(-(raw[h] + bias[h]))))
        draw[h] = ddt
        dbias[h] += ddt
        dA[h] += da * step
        dD[h] += dskip


@njit(nogil=True, fastmath=_EXACT, cache=True, error_model="numpy")
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
    """Derivatives of some units of `forward`.

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
    dt_heads = np.empty((BLOCK, n_heads), np.float32)
    decay_heads = np.empty((BLOCK, n_heads), np.float32)
    bc = np.empty((BLOCK, n_bc), np.float32)
    bc_sigmoid = np.empty(n_bc, np.float32)
    gate = np.empty(most, np.float32)
    dy = np.empty(most, np.float32)
    du = np.empty(most, np.float32)
    ddecay = np.empty(most, np.float32)
    bits = np.empty(max(most, n_bc), np.int32)
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
        _copy_rows(dstates[s], d0, dS, 0, n_state, n)
        for block in range((n_times - 1) // BLOCK, -1, -1):
            t0 = block * BLOCK
            steps = min(BLOCK, n_times - t0)
            _copy_rows(starts[s, block], d0, S[0], 0, n_state, n)
            for q in range(steps):
                t = t0 + q
                _convolve_row(
                    sequence,
                    before,
                    t,
                    d_inner,
                    taps,
                    offsets,
                    pre[q],
                    d0,
                    n,
                )
                _sigmoid_row(pre[q], sigmoid[q], bits, powers, n)
                _convolve_row(
                    sequence,
                    before,
                    t,
                    d_inner,
                    taps,
                    offsets,
                    bc[q],
                    d_inner,
                    n_bc,
                )
                _sigmoid_row(bc[q], bc_sigmoid, bits, powers, n_bc)
                _multiply(bc[q], bc_sigmoid, n_bc)
                _steps(
                    sequence[t, first_dt:],
                    dt_offsets,
                    rates,
                    h0,
                    h1,
                    head_dim,
                    dt_heads[q],
                    decay_heads[q],
                    dt_wide,
                    decay[q],
                )
                _product(pre[q], sigmoid[q], x[q], n)
                _product(dt_wide, x[q], u[q], n)
                _skip(skips, x[q], y[q], h0, h1, head_dim)
                _advance_to(S[q], S[q + 1], bc[q], decay[q], u[q], n_state, n)
                _read(S[q + 1], bc[q, n_state:], y[q], n_state, n)
            for q in range(steps - 1, -1, -1):
                t = t0 + q
                z = sequence[t, d0 : d0 + n]
                _sigmoid_row(z, gate, bits, powers, n)
                dout = dg[s, t, d0 : d0 + n]
                dz = dzx[s, t, d0 : d0 + n]
                dx = dzx[s, t, d_inner + d0 : d_inner + d0 + n]
                _back_through_gate(z, gate, dout, y[q], pull[s, t], dy, dz, n)
                _fill(du, _ZERO, n)
                _fill(ddecay, _ZERO, n)
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
                    sequence[t, first_dt:],
                    dt_offsets,
                    rates,
                    skips,
                    dt_heads[q],
                    decay_heads[q],
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
        _copy_rows(dS, 0, dstates[s], d0, n_state, n)


@njit(nogil=True, fastmath=_EXACT, cache=True, error_model="numpy")
def backward_convolution(
    first, last, zx, past, weight, bias, dbc, dzx, dpast, dweight, dbias
):
    """Derivatives of the convolutions of some sequences.

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
            _convolve_row(zx[s], past[s], t, d_inner, w, bias[layer], bc, d_inner, n_bc)
            _sigmoid_row(bc, sigmoid, bits, powers, n_bc)
            row = dzx[s, t, 2 * d_inner : 2 * d_inner + n_bc]
            for i in range(n_bc):
                row[i] = _ZERO
            for part in range(n_ranges):
                for i in range(n_bc):
                    row[i] += dbc[part, s, t, i]
            for i in range(n_bc):
                row[i] *= sigmoid[i] * (_ONE + bc[i] * (_ONE - sigmoid[i]))
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
                    out[i] = _ZERO
            for j in range(taps - 1):
                t = source + taps - 1 - j
                if 0 <= t < n_times:
                    row = dzx[s, t, d_inner : d_inner + channels]
                    for i in range(channels):
                        out[i] += w[j, i] * row[i]
