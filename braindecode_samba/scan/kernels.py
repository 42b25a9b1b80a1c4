"""Loops over time, compiled by numba: what lies between a Mamba-2 layer's projections.

Convolution, SiLU, step sizes, recurrence and gate in one pass over time, in float32 on
a CPU; the way back is in `kernels_back`, the loops over one row of memory in `rows`.
Every value is used while it is in the processor's cache, which no sequence of
whole-tensor operations can do.  The equations stand in `stack`, which is also what
these loops are tested against; `fused_tile` calls them.

Arrays: ``zx`` (sequences, time, z | x | B | C | dt) is the input projection; ``states``
(sequences, state, features) has the features of all heads side by side.  Sequences are
ordered by layer, then by batch.
"""

import numpy as np

from braindecode_samba.scan.caching import EXACT, compiled
from braindecode_samba.scan.rows import (
    advance,
    convolve_row,
    copy_rows,
    enter_row,
    gate_row,
    silu_row,
    step_sizes,
    sum_squares,
    widen,
)

# Steps whose states are computed again at once on the way back.
BLOCK = 32
# Values between rows, one line of the cache.
PADDING = 16


@compiled(EXACT, inner=False)
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
    # rows that lie a power of two apart would share places in the cache
    most = d_inner // n_ranges + PADDING
    S = np.empty((n_state, most), np.float32)
    pre = np.empty(most, np.float32)
    gate = np.empty(most, np.float32)
    x = np.empty(most, np.float32)
    u = np.empty(most, np.float32)
    y = np.empty(most, np.float32)
    dt = np.empty(most, np.float32)
    decay = np.empty(most, np.float32)
    skip = np.empty(most, np.float32)
    # of all times, each head of a time behind the other
    room = np.empty(n_times * n_heads, np.float32)
    dt_heads = np.empty(n_times * n_heads, np.float32)
    decay_heads = np.empty(n_times * n_heads, np.float32)
    bc_pre = np.empty(n_bc, np.float32)
    bc = np.empty(n_bc, np.float32)
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
        raw = sequence[:, 2 * d_inner + n_bc :]
        step_sizes(raw, dt_bias[layer], A[layer], h0, h1, room, dt_heads, decay_heads)
        widen(D[layer, h0:h1], head_dim, skip)
        # side by side in memory, which loops over features need
        copy_rows(states[s], d0, S, 0, n_state, n)
        for t in range(n_times):
            if starts.shape[1] and t % BLOCK == 0:
                copy_rows(S, 0, starts[s, t // BLOCK], d0, n_state, n)
            convolve_row(
                sequence, before, t, d_inner, taps, offsets, bc_pre, d_inner, n_bc
            )
            silu_row(bc_pre, bc, n_bc)
            convolve_row(sequence, before, t, d_inner, taps, offsets, pre, d0, n)
            widen(dt_heads[t * width : (t + 1) * width], head_dim, dt)
            widen(decay_heads[t * width : (t + 1) * width], head_dim, decay)
            enter_row(pre, dt, skip, gate, x, u, y, n)
            advance(S, bc, bc[n_state:], decay, u, y, n_state, n)
            out = g[s, t, d0 : d0 + n]
            gate_row(y, sequence[t, d0 : d0 + n], out, n)
            squares[part, s, t] = sum_squares(out, n)
        copy_rows(S, 0, states[s], d0, n_state, n)
