"""Promises of `braindecode_samba.scan.tiles`: pieces give what the whole would give."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from braindecode_samba.nn import Mamba2, MultiHeadDifferentialMamba
from braindecode_samba.scan import tiles

CHANNELS = 16 * 2 + 2 * 4  # of the convolution in `small_layer`
WHOLE = 2**40


def small_layer():
    torch.manual_seed(0)
    return Mamba2(16, d_state=4, d_conv=3, expand=2, headdim=8).double()


def small_block():
    torch.manual_seed(0)
    return MultiHeadDifferentialMamba(16, 2, d_state=4, expand=2).double()


def run(module, u, tile_values):
    """Output, and gradients of input and parameters, with tiles of some size."""
    module.zero_grad()
    u = u.clone().requires_grad_()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tiles, "_TILE_VALUES", tile_values)
        y = module(u)
        (y * torch.cos(torch.arange(y.numel()).view_as(y))).sum().backward()
    gradients = {name: p.grad.clone() for name, p in module.named_parameters()}
    return {"y": y.detach(), "u": u.grad, **gradients}


def assert_same(found, wanted):
    for name, value in wanted.items():
        error = (found[name] - value).norm() / value.norm()
        assert error < 1e-11, f"{name}: {error:.1e}"


class Counted:
    """Running sum of squares that notes the shapes of its tiles."""

    def __init__(self):
        self.shapes = []

    def __call__(self, x, conv, scan):
        self.shapes.append(tuple(x.shape[1:3]))
        total = scan.unsqueeze(2) + (x * x).cumsum(2)
        return total, x[:, :, -1:], total[:, :, -1]


def counted_tiles(monkeypatch, shape, tile_values):
    monkeypatch.setattr(tiles, "_TILE_VALUES", tile_values)
    step = Counted()
    x = torch.randn(shape).double()
    groups, batch, _, features = shape
    state = (
        torch.zeros(groups, batch, 1, features).double(),
        torch.zeros(groups, batch, features).double(),
    )
    y, (_, last) = tiles.over_tiles(step, x, state, groups * features)
    torch.testing.assert_close(y, x.square().cumsum(2))
    torch.testing.assert_close(last, x.square().sum(2))
    return step.shapes


@pytest.mark.parametrize("rows", [1, 3, 16, 64, 1000])
@pytest.mark.parametrize("make", [small_layer, small_block])
def test_time_tiles_equal_the_whole(make, rows):
    module = make()
    u = torch.randn(2, 75, 16).double()
    wanted = run(module, u, WHOLE)
    assert_same(run(module, u, rows * CHANNELS), wanted)


@pytest.mark.parametrize("windows", [1, 2, 3])
@pytest.mark.parametrize("make", [small_layer, small_block])
def test_batch_tiles_equal_the_whole(make, windows):
    module = make()
    u = torch.randn(5, 30, 16).double()
    wanted = run(module, u, WHOLE)
    assert_same(run(module, u, windows * 31 * CHANNELS), wanted)


@settings(max_examples=12)
@given(n_times=st.integers(8, 400), batch=st.integers(1, 4), rows=st.integers(40, 1000))
def test_any_tiling_equals_the_whole(n_times, batch, rows):
    module = small_layer()
    u = torch.randn(batch, n_times, 16).double()
    wanted = run(module, u, WHOLE)
    assert_same(run(module, u, rows * CHANNELS), wanted)


@pytest.mark.parametrize("n_times", [2049, 20_000])
def test_long_input_equals_the_whole(n_times):
    module = small_layer()
    u = torch.randn(1, n_times, 16).double()
    wanted = run(module, u, WHOLE)
    assert_same(run(module, u, 1000 * CHANNELS), wanted)


def test_usual_tiles_equal_the_whole():
    module = Mamba2(64, d_state=16, d_conv=2, expand=8)
    u = torch.randn(1, 2000, 64)
    assert 2000 * 544 > tiles._TILE_VALUES
    wanted, found = run(module, u, WHOLE), run(module, u, tiles._TILE_VALUES)
    for name, value in wanted.items():
        error = (found[name] - value).norm() / value.norm()
        assert error < 1e-5, f"{name}: {error:.1e}"


def test_tiles_without_gradients_give_the_same():
    module = small_layer()
    u = torch.randn(3, 100, 16).double()
    wanted = run(module, u, WHOLE)["y"]
    with torch.no_grad():
        found = run_without_gradients(module, u)
        torch.testing.assert_close(found, wanted, rtol=1e-11, atol=1e-11)
    with torch.inference_mode():
        found = run_without_gradients(module, u)
        torch.testing.assert_close(found, wanted, rtol=1e-11, atol=1e-11)


def run_without_gradients(module, u):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tiles, "_TILE_VALUES", 16 * CHANNELS)
        y = module(u)
    assert not y.requires_grad
    return y


def test_gradient_reaches_an_input_of_frozen_layers():
    module = small_layer().requires_grad_(False)
    u = torch.randn(2, 100, 16).double()
    gradients = []
    for values in (WHOLE, 16 * CHANNELS):
        leaf = u.clone().requires_grad_()
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(tiles, "_TILE_VALUES", values)
            module(leaf).square().sum().backward()
        gradients.append(leaf.grad)
    torch.testing.assert_close(*gradients, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("grad", [True, False])
@pytest.mark.parametrize(
    ("shape", "tile_values", "tile_shapes"),
    [
        ((1, 2, 10, 3), 60, [(2, 10)]),  # fits as a whole
        ((1, 2, 10, 3), 50, [(2, 10)]),  # nearly
        ((1, 2, 10, 3), 44, [(1, 10)] * 2),  # window by window
        ((1, 5, 10, 3), 60, [(2, 10), (2, 10), (1, 10)]),
        ((1, 1, 10, 3), 12, [(1, 4), (1, 4), (1, 2)]),  # step by step
        ((2, 2, 10, 3), 36, [(1, 6), (1, 4)] * 2),
        ((1, 1, 3, 3), 1, [(1, 1)] * 3),  # wider than a tile may be
    ],
)
def test_tiles_are_as_near_to_their_size_as_whole_windows_let_them(
    monkeypatch, shape, tile_values, tile_shapes, grad
):
    with torch.set_grad_enabled(grad):
        assert counted_tiles(monkeypatch, shape, tile_values) == tile_shapes


def test_backward_pass_computes_tiles_again(monkeypatch):
    monkeypatch.setattr(tiles, "_TILE_VALUES", 4 * 3)
    step = Counted()
    x = torch.randn(1, 1, 10, 3).double().requires_grad_()
    state = (torch.zeros(1, 1, 1, 3).double(), torch.zeros(1, 1, 3).double())
    y, _ = tiles.over_tiles(step, x, state, 3)
    assert len(step.shapes) == 3
    y.sum().backward()
    assert len(step.shapes) == 6
    torch.testing.assert_close(
        x.grad[0, 0], 2 * x[0, 0] * torch.arange(10, 0, -1)[:, None]
    )


def test_random_numbers_are_left_alone(monkeypatch):
    monkeypatch.setattr(tiles, "_TILE_VALUES", 16 * CHANNELS)
    module = small_layer()
    u = torch.randn(2, 100, 16).double().requires_grad_()
    before = torch.random.get_rng_state()
    module(u).sum().backward()
    assert torch.equal(torch.random.get_rng_state(), before)
