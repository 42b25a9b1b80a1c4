"""One tile of a stack of layers, on its way forth and back by the loops of `kernels`.

`fused` takes tiles through time.
"""

import math
import threading
from collections.abc import Callable

import torch
from torch import Tensor

from braindecode_samba.scan.products import multiply
from braindecode_samba.scan.shares import Parameters
from braindecode_samba.scan.tiles import State

# Features of a unit of the loops: the states of a block fit the second cache.
_UNIT = 256


class Room(threading.local):
    """Memory of a thread that its tiles fill one after the other: some megabytes.

    It stays in the cache, and with the thread: the system would take it back after each
    layer, and give it anew page by page.
    """

    def __init__(self) -> None:
        self.buffers: dict[str, Tensor] = {}

    def take(self, name: str, *shape: int) -> Tensor:
        """Give the memory of that name; what the last tile left there is void."""
        size = math.prod(shape)
        if name not in self.buffers or self.buffers[name].numel() < size:
            # the next tile may be one of a training
            with torch.inference_mode(False):
                self.buffers[name] = torch.empty(
                    size, dtype=torch.float32, device="cpu"
                )
        return self.buffers[name][:size].view(shape)


_room = Room()


class Tile:
    """One tile, on its way forth or back; there is one at a time in a thread.

    Parameters
    ----------
    u : Tensor, shape (layers, batch, time, d_model)
        Inputs.
    p : Parameters
        Parameters.
    conv_state : Tensor, shape (layers, batch, taps - 1, channels)
        Inputs of the convolution before the tile.
    """

    def __init__(self, u: Tensor, p: Parameters, conv_state: Tensor) -> None:
        # compiled at the first use, and not where there is no numba
        from braindecode_samba.scan.kernels import BLOCK

        layers, batch, n_times, _ = u.shape
        self.shape = layers, batch, n_times
        self.p = p
        self.u = u.reshape(layers, batch * n_times, -1)
        self.conv_state = conv_state
        self.zx = multiply(self.u, p.in_proj)
        self.n_sequences, heads = layers * batch, p.A.shape[1]
        wanted = max(p.d_inner // _UNIT, 1)
        self.n_ranges = max(
            k for k in range(1, heads + 1) if heads % k == 0 and k <= wanted
        )
        self.n_blocks = -(-n_times // BLOCK)
        self.g = _room.take("g", layers, batch * n_times, p.d_inner)

    def forward(self, scan_state: Tensor, starts: Tensor) -> Tensor:
        """Run the recurrence.

        Parameters
        ----------
        scan_state : Tensor, shape (sequences, state, features)
            State before the tile; overwritten by that after it.
        starts : Tensor, shape (sequences, blocks, state, features)
            Receives the state at the start of every block; without any, nothing.

        Returns
        -------
        Tensor, shape (layers, batch, time, 1)
            Sums of squares of the gated outputs.
        """
        from braindecode_samba.scan.kernels import forward

        n, n_times = self.n_sequences, self.shape[2]
        squares = _room.take("squares", self.n_ranges, n, n_times)
        _call(
            forward,
            n * self.n_ranges,
            *self._inputs(),
            scan_state,
            starts,
            self._by_sequence(self.g),
            squares,
        )
        return squares.sum(0).view(*self.shape, 1)

    def new_starts(self, scan_state: Tensor) -> Tensor:
        """Make memory for the states at the starts of all blocks."""
        return scan_state.new_empty(
            self.n_sequences, self.n_blocks, *scan_state.shape[1:]
        )

    def project(self, y: Tensor) -> None:
        """Project into (layers, batch, time, d_model), without the norm's factor."""
        # a tile is whole windows or a part of a single one: its rows lie evenly
        y.view(self.shape[0], -1, y.shape[3])[:] = multiply(self.g, self.p.out_proj)

    def conv_state_after(self) -> Tensor:
        """Give the state of the convolution after the tile."""
        taps, channels = self.conv_state.shape[2:]
        d = self.p.d_inner
        zx = self.zx.view(*self.shape, -1)[:, :, :, d : d + channels]
        past = torch.cat([self.conv_state, zx[:, :, max(0, zx.shape[2] - taps) :]], 2)
        return past[:, :, past.shape[2] - taps :]

    def backward(
        self, starts: Tensor, dy: Tensor, pull: Tensor, dstate: State
    ) -> tuple[Tensor, State, list[Tensor]]:
        """Give derivatives of inputs, of the state before, and of all parameters.

        ``starts`` has the states at the starts of some blocks from the first on; if
        they are not all, the way forth is gone again.
        """
        from braindecode_samba.scan.kernels_back import backward, backward_convolution

        layers, batch, n_times = self.shape
        n = self.n_sequences
        p = self.p
        dconv_after, dscan = dstate
        if starts.shape[1] < self.n_blocks:
            state = starts[:, 0].clone()
            starts = _room.take("starts", n, self.n_blocks, *state.shape[1:])
            self.forward(state, starts)
        dy = dy.reshape(layers, batch * n_times, -1)
        dg = multiply(dy, p.out_proj.transpose(1, 2))
        dzx = _room.take("dzx", *self.zx.shape)
        n_bc = 2 * dscan.shape[2]
        dbc = _room.take("dbc", self.n_ranges, n, n_times, n_bc)
        dheads = [dy.new_zeros(n, p.A.shape[1]) for _ in range(3)]
        _call(
            backward,
            n * self.n_ranges,
            *self._inputs(),
            starts,
            self._by_sequence(dg),
            pull.reshape(n, n_times).contiguous(),
            dscan.flatten(0, 1),
            self._by_sequence(self.g),
            self._by_sequence(dzx),
            dbc,
            *dheads,
        )
        dout_proj = multiply(dy.transpose(1, 2), self.g.transpose(1, 2))
        dpast = torch.empty_like(self.conv_state)
        dweight = dy.new_zeros(n, *p.weight.shape[1:])
        dbias = dy.new_zeros(n, *p.bias.shape[1:])
        _call(
            backward_convolution,
            n,
            *self._inputs()[:4],
            dbc,
            self._by_sequence(dzx),
            dpast.flatten(0, 1),
            dweight,
            dbias,
        )
        self._add_to_last_inputs(dzx, dpast, dconv_after)
        per_layer = [
            part.view(layers, batch, *part.shape[1:]).sum(1)
            for part in (dweight, dbias, *dheads)
        ]
        du = multiply(dzx, p.in_proj.transpose(1, 2)).view(*self.shape, -1)
        # fewer rows than columns: faster this way round
        din_proj = multiply(self.u.transpose(1, 2), dzx.transpose(1, 2))
        return du, (dpast, dscan), [din_proj.transpose(1, 2), *per_layer, dout_proj]

    def _add_to_last_inputs(self, dzx: Tensor, dpast: Tensor, dafter: Tensor) -> None:
        """Add derivatives of the convolution's state after the tile."""
        taps, channels = dafter.shape[2:]
        n_times, d = self.shape[2], self.p.d_inner
        inside = min(taps, n_times)
        last = dzx.view(*self.shape, -1)[:, :, n_times - inside :, d : d + channels]
        last += dafter[:, :, taps - inside :]
        if taps > inside:
            dpast[:, :, inside - taps :] += dafter[:, :, : taps - inside]

    def _inputs(self) -> tuple[Tensor, ...]:
        past = self.conv_state.contiguous().flatten(0, 1)
        return (self._by_sequence(self.zx), past, *self.p[1:6])

    def _by_sequence(self, x: Tensor) -> Tensor:
        """View with one axis for layers and windows: (sequences, time, ...)."""
        return x.view(-1, self.shape[2], x.shape[-1])


def _call(kernel: Callable[..., None], n_units: int, *arrays: Tensor) -> None:
    """Run a loop over all its units."""
    kernel(0, n_units, *(t.detach().numpy() for t in arrays))
