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
def _exp(x):
    """``exp(x)`` for x between the two limits above."""
    k = np.floor(x * _LOG2E + _HALF)
    r = x - k * _LN2_HIGH
    r = r - k * _LN2_LOW
    p = _C7
    p = p * r + _C6
    p = p * r + _C5
    p = p * r + _C4
    p = p * r + _C3
    p = p * r + _C2
    # 2^k by its bits
    power = np.int32((np.int32(k) + np.int32(127)) << np.int32(23)).view(np.float32)
    return (p * r * r + r + ONE) * power


@compiled(EXACT)
def sigmoid(x):
    """``1 / (1 + exp(-x))``."""
    # NaN goes through: comparisons would lose it
    return ONE / (ONE + _exp(min(max(-x, _LOWEST), _HIGHEST))) + (x - x)


@compiled(EXACT, apart=True)
def sigmoid_row(v, out, n):
    """``out = 1 / (1 + exp(-v))`` for a row."""
    for i in range(n):
        out[i] = sigmoid(v[i])


@compiled(EXACT, apart=True)
def silu_row(v, out, n):
    """``out = v / (1 + exp(-v))`` for a row."""
    for i in range(n):
        out[i] = v[i] * sigmoid(v[i])


@compiled(EXACT, apart=True)
def exp_row(v, out, n):
    """``out = exp(v)`` for a row of numbers of at most 0."""
    for i in range(n):
        out[i] = _exp(max(v[i], _LOWEST)) + (v[i] - v[i])


@compiled(EXACT, apart=True)
def softplus_row(v, out, n):
    """``out = log(1 + exp(v))`` for a row, of small numbers with all their digits."""
    for i in range(n):
        # log(1 + e) = 2 atanh(e / (2 + e)), and e is at most 1
        e = _exp(max(-abs(v[i]), _LOWEST))
        s = e / (_TWO + e)
        q = s * s
        p = _A13
        p = p * q + _A11
        p = p * q + _A9
        p = p * q + _A7
        p = p * q + _A5
        p = p * q + _A3
        out[i] = max(v[i], ZERO) + _TWO * (p * q * s + s) + (v[i] - v[i])


@compiled(EXACT, apart=True)
def convolve_row(zx, past, t, first, weight, bias, out, c0, n):
    """Causal convolution at step t of n channels from c0 on; inputs lie at first."""
    last = weight.shape[0] - 1
    # an index without a sign can't count from the end, which is a test less
    c0, first = np.uint64(c0), np.uint64(first)
    for i in range(n):
        c = c0 + np.uint64(i)
        out[i] = weight[last, c] * zx[t, first + c] + bias[c]
    for j in range(last):
        source = t - last + j
        if source >= 0:
            for i in range(n):
                c = c0 + np.uint64(i)
                out[i] += weight[j, c] * zx[source, first + c]
        else:
            for i in range(n):
                c = c0 + np.uint64(i)
                out[i] += weight[j, c] * past[last + source, c]


@compiled(EXACT, apart=True)
def add_products(a, b, out, n):
    """Compute ``out += a b``."""
    for i in range(n):
        out[i] += a[i] * b[i]


@compiled(EXACT, apart=True)
def add_row(a, out, n):
    """Compute ``out += a``."""
    for i in range(n):
        out[i] += a[i]


@compiled(EXACT, apart=True)
def multiply_by(out, a, n):
    """Compute ``out *= a``."""
    for i in range(n):
        out[i] *= a[i]


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
def step_sizes(raw, bias, A, h0, h1, room, dt, decay):
    """Step sizes and decays of some heads at all times, as `gather_steps` lays them.

    All at once: the heads of one time are too few for vector instructions.
    """
    width = h1 - h0
    n = raw.shape[0] * width
    gather_steps(raw, bias, h0, h1, room)
    softplus_row(room, dt, n)
    for t in range(raw.shape[0]):
        for h in range(width):
            room[t * width + h] = dt[t * width + h] * A[h0 + h]
    exp_row(room, decay, n)


@compiled(EXACT)
def widen(heads, head_dim, out):
    """Repeat the value of each head for each of its features."""
    for h in range(heads.shape[0]):
        fill_row(out[h * head_dim : (h + 1) * head_dim], heads[h], head_dim)


@compiled(EXACT, apart=True)
def enter_row(pre, dt, D, gate, x, u, y, n):
    """Compute ``x = silu(pre)``, ``u = dt x`` and ``y = D x``, and keep the sigmoid."""
    for i in range(n):
        s = sigmoid(pre[i])
        v = pre[i] * s
        gate[i] = s
        x[i] = v
        u[i] = dt[i] * v
        y[i] = D[i] * v


# Four states of a feature at once: what they share is read once.  Two functions, since
# a compiler does not vectorise where input and output may overlap.
@compiled(EXACT)
def advance(S, B, C, decay, u, y, n_state, n):
    """Advance every state, ``S = decay S + B u``, and read it, ``y += C S``."""
    fours = n_state // 4 * 4
    for k in range(0, fours, 4):
        _advance_four(S[k], S[k + 1], S[k + 2], S[k + 3], B[k:], C[k:], decay, u, y, n)
    for k in range(fours, n_state):
        b, c = B[k], C[k]
        for i in range(n):
            S[k, i] = decay[i] * S[k, i] + b * u[i]
            y[i] += c * S[k, i]


@compiled(EXACT, apart=True)
def _advance_four(S0, S1, S2, S3, B, C, decay, u, y, n):
    b0, b1, b2, b3 = B[0], B[1], B[2], B[3]
    c0, c1, c2, c3 = C[0], C[1], C[2], C[3]
    for i in range(n):
        S0[i] = decay[i] * S0[i] + b0 * u[i]
        S1[i] = decay[i] * S1[i] + b1 * u[i]
        S2[i] = decay[i] * S2[i] + b2 * u[i]
        S3[i] = decay[i] * S3[i] + b3 * u[i]
        y[i] += c0 * S0[i] + c1 * S1[i] + c2 * S2[i] + c3 * S3[i]


@compiled(EXACT)
def advance_to(S, new, B, C, decay, u, y, n_state, n):
    """Compute and read every next state, ``new = decay S + B u`` and ``y += C new``."""
    fours = n_state // 4 * 4
    for k in range(0, fours, 4):
        _advance_four_to(
            S[k],
            S[k + 1],
            S[k + 2],
            S[k + 3],
            new[k],
            new[k + 1],
            new[k + 2],
            new[k + 3],
            B[k:],
            C[k:],
            decay,
            u,
            y,
            n,
        )
    for k in range(fours, n_state):
        b, c = B[k], C[k]
        for i in range(n):
            new[k, i] = decay[i] * S[k, i] + b * u[i]
            y[i] += c * new[k, i]


@compiled(EXACT, apart=True)
def _advance_four_to(S0, S1, S2, S3, T0, T1, T2, T3, B, C, decay, u, y, n):
    b0, b1, b2, b3 = B[0], B[1], B[2], B[3]
    c0, c1, c2, c3 = C[0], C[1], C[2], C[3]
    for i in range(n):
        T0[i] = decay[i] * S0[i] + b0 * u[i]
        T1[i] = decay[i] * S1[i] + b1 * u[i]
        T2[i] = decay[i] * S2[i] + b2 * u[i]
        T3[i] = decay[i] * S3[i] + b3 * u[i]
        y[i] += c0 * T0[i] + c1 * T1[i] + c2 * T2[i] + c3 * T3[i]


@compiled(EXACT)
def copy_rows(source, i0, target, j0, n_rows, n):
    """Copy n values of each row from i0 of one array to j0 of another."""
    for k in range(n_rows):
        copy_row(source[k, i0 : i0 + n], target[k, j0 : j0 + n], n)


@compiled(EXACT, apart=True)
def copy_row(a, out, n):
    """Copy a row."""
    for i in range(n):
        out[i] = a[i]


@compiled(SUMS)
def sum_squares(a, n):
    """Sum the squares of a row."""
    total = ZERO
    for i in range(n):
        total += a[i] * a[i]
    return total


@compiled(EXACT, apart=True)
def gate_row(y, z, out, n):
    """Compute ``out = y silu(z)``."""
    for i in range(n):
        out[i] = y[i] * z[i] * sigmoid(z[i])
