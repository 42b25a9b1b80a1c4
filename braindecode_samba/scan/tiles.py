"""Long inputs in pieces that fit the cache: the one mechanism behind speed and memory.

A layer that is a recurrence over time can be computed tile by tile, handing on its
state; windows of a batch can be computed some at a time.  In training every tile is
computed again in the backward pass, so that only its input and state are kept.  What
is computed in a tile is the layer's affair (`stack`).
"""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

State = tuple[Tensor, Tensor]
Step = Callable[[Tensor, Tensor, Tensor], tuple[Tensor, Tensor, Tensor]]

# Values of the widest activation in one tile.  Fresh memory is written several times
# slower than memory that stays in the cache; twice as much costs 5 to 11 %, and half as
# much is slower too for windows of a batch.
_TILE_VALUES = 2**18


def tile_rows(values_per_step: int) -> int:
    """Time steps of a tile, of all its windows together."""
    return max(1, _TILE_VALUES // values_per_step)


def tile_sizes(batch: int, n_times: int, values_per_step: int) -> tuple[int, int]:
    """Windows and time steps of a tile.

    Parameters
    ----------
    batch, n_times : int
        Windows and time steps there are.
    values_per_step : int
        Width of the widest activation, over all groups.

    Returns
    -------
    windows, steps : int
        Whole windows where several nearly fit, else steps of a single one.
    """
    rows = tile_rows(values_per_step)
    if n_times >= rows:
        return 1, rows
    # rather half a window too many than calls for one at a time
    return min(batch, round(rows / n_times)), n_times


def over_tiles(
    step: Step, x: Tensor, state: State, values_per_step: int
) -> tuple[Tensor, State]:
    """Apply ``step`` to tiles of ``x`` and hand on its state.

    Parameters
    ----------
    step : callable
        ``step(x, conv_state, scan_state) -> (y, conv_state, scan_state)`` for a tile.
    x : Tensor, shape (groups, batch, time, features)
        Input.
    state : tuple of Tensor, shapes (groups, batch, ...)
        State before the first step.
    values_per_step : int
        Width of the widest activation, over all groups.

    Returns
    -------
    y : Tensor, shape (groups, batch, time, features)
        Output.
    state : tuple of Tensor
        State after the last step.
    """
    batch, n_times = x.shape[1:3]
    windows, steps = tile_sizes(batch, n_times, values_per_step)
    if x.is_cuda or (batch <= windows and n_times <= steps):
        y, conv, scan = step(x, *state)
        return y, (conv, scan)
    parts = [
        _time_tiles(step, x_part, (conv, scan), steps)
        for x_part, conv, scan in zip(
            x.split(windows, 1),
            state[0].split(windows, 1),
            state[1].split(windows, 1),
            strict=True,
        )
    ]
    if len(parts) == 1:
        return parts[0]
    y = torch.cat([part[0] for part in parts], dim=1)
    conv = torch.cat([part[1][0] for part in parts], dim=1)
    scan = torch.cat([part[1][1] for part in parts], dim=1)
    return y, (conv, scan)


def _time_tiles(
    step: Step, x: Tensor, state: State, steps: int
) -> tuple[Tensor, State]:
    conv, scan = state
    outputs = []
    for tile in x.split(steps, dim=2):
        if torch.is_grad_enabled():
            # the layers draw no random numbers: there is no generator to restore
            y, conv, scan = checkpoint(
                step, tile, conv, scan, use_reentrant=False, preserve_rng_state=False
            )
        else:
            y, conv, scan = step(tile, conv, scan)
        outputs.append(y)
    y = outputs[0] if len(outputs) == 1 else torch.cat(outputs, dim=2)
    return y, (conv, scan)
