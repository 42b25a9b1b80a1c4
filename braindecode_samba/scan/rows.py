"""Loops over one row of memory, compiled by numba, of which `kernels` are made.

Compilers turn each into vector instructions: values lie side by side, indices are
plain, and few arrays meet in one loop.
"""

import math

import numpy as np

from braindecode_samba.scan.caching import EXACT, SUMS, compiled

_LOG2E = np.float32(math.log2(math.e))
# ln 2 as a sum whose first part has few digits, so that multiples of it are exact
_LN2_HIGH = np.float32(0.693359375)
_LN2_LOW = np.float32(-2.12194440e-4)
_LOWEST = np.float32(-87.0)
_HIGHEST = np.float32(87.0)
ZERO, _HALF, ONE = np.float32(0.0), np.float32(0.5), np.float32(1.0)
# minimax polynomial of (exp(r) - 1 - r) / r^2 for |r| <= ln(2) / 2
_C2 = np.float32(0.5000000120)
_C3 = np.float32(0.1666666546)
_C4 = np.float32(4.166579590e-2)
_C5 = np.float32(8.333451800e-3)
_C6 = np.float32(1.398199951e-3)
_C7 = np.float32(1.987569150e-4)
_TWO = np.float32(2.0)
# of the series of atanh(s) for s <= 1 / 3: the next term is below 1e-8
_A3, _A5, _A7 = np.float32(1 / 3), np.float32(1 / 5), np.float32(1 / 7)
_A9, _A11, _A13 = np.float32(1 / 9), np.float32(1 / 11), np.float32(1 / 13)


@compiled(EXACT)
def _exp_parts(x):
    """``exp(x) = m 2^k``: gives m and k."""
    k = np.floor(x * _LOG2E + _HALF)
    r = x - k * _LN2_HIGH
    r = r - k * _LN2_LOW
    p = _C7
    p = p * r + _C6
    p = p * r + _C5
    p = p * r + _C4
    p = p * r + _C3
    p = p * r + _C2
    return p * r * r + r + ONE, k


@compiled(EXACT)
def sigmoid_row(v, out, bits, powers, n):
    """``out = 1 / (1 + exp(-v))`` for a row; ``powers`` is ``bits`` as float32."""
    for i in range(n):
        m, k = _exp_parts(min(max(-v[i], _LOWEST), _HIGHEST))
        bits[i] = (np.int32(k) + np.int32(127)) << np.int32(23)
        # NaN goes through: the comparisons above would lose it
        out[i] = m + (v[i] - v[i])
    for i in range(n):
        out[i] = ONE / (ONE + out[i] * powers[i])


@compiled(EXACT)
def exp_row(v, out, bits, powers, n):
    """``out = exp(v)`` for a row of numbers of at most 0."""
    for i in range(n):
        m, k = _exp_parts(max(v[i], _LOWEST))
        bits[i] = (np.int32(k) + np.int32(127)) << np.int32(23)
        out[i] = m + (v[i] - v[i])
    for i in range(n):
        out[i] *= powers[i]


@compiled(EXACT)
def softplus_row(v, out, bits, powers, n):
    """``out = log(1 + exp(v))`` for a row, of small numbers with all their digits."""
    for i in range(n):
        m, k = _exp_parts(max(-abs(v[i]), _LOWEST))
        bits[i] = (np.int32(k) + np.int32(127)) << np.int32(23)
        out[i] = m
    for i in range(n):
        # log(1 + e) = 2 atanh(e / (2 + e)), and e is at most 1
        e = out[i] * powers[i]
        s = e / (_TWO + e)
        q = s * s
        p = _A13
        p = p * q + _A11
        p = p * q + _A9
        p = p * q + _A7
        p = p * q + _A5
        p = p * q + _A3
        out[i] = max(v[i], ZERO) + _TWO * (p * q * s + s) + (v[i] - v[i])


@compiled(EXACT)
def convolve_row(zx, past, t, first, weight, bias, out, c0, n):
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


@compiled(EXACT)
def fill_row(a, value, n):
    """Set every value of a row."""
    for i in range(n):
        a[i] = value


@compiled(EXACT)
def gather_steps(raw, bias, h0, h1, out):
    """Raw step sizes of some heads at all times, the heads of a time side by side."""
    width = h1 - h0
    for t in range(raw.shape[0]):
        for h in range(width):
            out[t * width + h] = raw[t, h0 + h] + bias[h0 + h]


@compiled(EXACT)
def step_sizes(raw, bias, A, h0, h1, room, dt, decay, bits, powers):
    """Step sizes and decays of some heads at all times, as `gather_steps` lays them.

    All at once: the heads of one time are too few for vector instructions.
    """
    width = h1 - h0
    n = raw.shape[0] * width
    gather_steps(raw, bias, h0, h1, room)
    softplus_row(room, dt, bits, powers, n)
    for t in range(raw.shape[0]):
        for h in range(width):
            room[t * width + h] = dt[t * width + h] * A[h0 + h]
    exp_row(room, decay, bits, powers, n)


@compiled(EXACT)
def widen(heads, head_dim, out):
    """Repeat the value of each head for each of its features."""
    for h in range(heads.shape[0]):
        fill_row(out[h * head_dim : (h + 1) * head_dim], heads[h], head_dim)


# two functions, since a compiler does not vectorise where input and output may overlap
@compiled(EXACT)
def advance(S, B, C, decay, u, y, n_state, n):
    """Advance every state, ``S = decay S + B u``, and read it, ``y += C S``."""
    for k in range(n_state):
        b, c = B[k], C[k]
        for i in range(n):
            S[k, i] = decay[i] * S[k, i] + b * u[i]
            y[i] += c * S[k, i]


@compiled(EXACT)
def advance_to(S, new, B, C, decay, u, y, n_state, n):
    """Compute and read every next state, ``new = decay S + B u`` and ``y += C new``."""
    for k in range(n_state):
        b, c = B[k], C[k]
        for i in range(n):
            new[k, i] = decay[i] * S[k, i] + b * u[i]
            y[i] += c * new[k, i]


@compiled(EXACT)
def copy_rows(source, i0, target, j0, n_rows, n):
    """Copy n values of each row from i0 of one array to j0 of another."""
    for k in range(n_rows):
        row, out = source[k, i0 : i0 + n], target[k, j0 : j0 + n]
        for i in range(n):
            out[i] = row[i]


@compiled(SUMS)
def sum_row(a, n):
    """Sum a row."""
    total = ZERO
    for i in range(n):
        total += a[i]
    return total


@compiled(SUMS)
def dot_rows(a, b, n):
    """Sum the products of two rows."""
    total = ZERO
    for i in range(n):
        total += a[i] * b[i]
    return total


@compiled(EXACT)
def multiply_by(a, b, n):
    """Overwrite ``a`` by ``a b``."""
    for i in range(n):
        a[i] *= b[i]


@compiled(EXACT)
def multiply_to(a, b, out, n):
    """Compute ``out = a b``."""
    for i in range(n):
        out[i] = a[i] * b[i]


@compiled(EXACT)
def skip_row(D, x, y, h0, h1, head_dim):
    """Begin each head's output with ``y = D x``."""
    for h in range(h0, h1):
        d = D[h]
        base = (h - h0) * head_dim
        out, row = y[base : base + head_dim], x[base : base + head_dim]
        for i in range(head_dim):
            out[i] = d * row[i]


@compiled(EXACT)
def gate_row(y, z, sigmoid, out, n):
    """Compute ``out = y silu(z)``."""
    for i in range(n):
        out[i] = y[i] * z[i] * sigmoid[i]
