"""The compiled loops give what the equations give, forth and back."""

import copy
import importlib.util
import os
import threading
from pathlib import Path

import pytest
import torch

from braindecode_samba.nn import Mamba2, MultiHeadDifferentialMamba
from braindecode_samba.scan import fused, products, stack, threads
from braindecode_samba.scan.layers import stack_layers
from braindecode_samba.scan.stack import run_stack

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("numba") is None, reason="numba is not installed"
)


@pytest.fixture(params=[1, 2, 3])
def n_threads(request, monkeypatch):
    # stacks as short as these are not shared among threads in use
    monkeypatch.setattr(fused, "_LONG", 0)
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


@pytest.fixture
def uncompiled(monkeypatch):
    """Context in which layers go the plain way."""

    class Plain:
        def __enter__(self):
            monkeypatch.setattr(stack, "loops_serve", lambda *_: False)

        def __exit__(self, *_):
            monkeypatch.undo()

    return Plain()


def outputs_and_gradients(layer, u, dtype=torch.float32):
    layer = copy.deepcopy(layer).to(dtype)
    u = u.detach().clone().to(dtype).requires_grad_()
    y = layer(u)
    generator = torch.Generator().manual_seed(1)
    weight = torch.randn(y.shape, generator=generator).to(dtype)
    (y * weight).sum().backward()
    gradients = {name: p.grad for name, p in layer.named_parameters()}
    return {"y": y.detach(), "u": u.grad} | gradients


def relative(a, b):
    return float((a.double() - b).norm() / b.norm().clamp(min=1e-30))


LAYERS = {
    "d 64": (lambda: Mamba2(64, 16, 2, 8), (2, 300, 64)),
    "one window": (lambda: Mamba2(64, 16, 2, 8), (1, 1100, 64)),
    "four taps": (lambda: Mamba2(32, 8, 4, 2, headdim=16), (3, 77, 32)),
    "shorter than the taps": (lambda: Mamba2(32, 8, 4, 2, headdim=16), (3, 2, 32)),
    "one tap": (lambda: Mamba2(16, 4, 1, 2, headdim=8), (2, 19, 16)),
    "odd sizes": (lambda: Mamba2(12, 5, 3, 3, headdim=12), (2, 33, 12)),
    "differential": (lambda: MultiHeadDifferentialMamba(128), (3, 60, 128)),
}


@pytest.mark.parametrize("name", LAYERS)
def test_loops_agree_with_the_equations_in_float64(name, n_threads):
    build, shape = LAYERS[name]
    layer, u = build(), torch.randn(shape)
    compiled = outputs_and_gradients(layer, u)
    exact = outputs_and_gradients(layer, u, torch.float64)
    for key, value in exact.items():
        assert relative(compiled[key], value) < 1e-5, key


@pytest.mark.parametrize("shift", [-4.0, 3.0, 30.0, 90.0, 1000.0])
def test_loops_are_as_exact_as_the_plain_way_under_any_decay(shift, uncompiled):
    layer, u = Mamba2(64, 16, 2, 8), torch.randn(2, 300, 64)
    with torch.no_grad():
        layer.dt_bias += shift
    compiled = outputs_and_gradients(layer, u)
    with uncompiled:
        plain = outputs_and_gradients(layer, u)
    exact = outputs_and_gradients(layer, u, torch.float64)
    largest = max(float(value.norm()) for value in exact.values())
    for key, value in exact.items():
        assert torch.isfinite(compiled[key]).all(), key
        if value.norm() > 1e-6 * largest:
            bound = max(1e-5, 2 * relative(plain[key], value))
            assert relative(compiled[key], value) < bound, key


@pytest.mark.parametrize("n_times", [8, 1000, 20_000])
def test_loops_are_exact_at_any_length(n_times):
    layer, u = Mamba2(16, 16, 2, 2, headdim=16), torch.randn(1, n_times, 16)
    compiled = outputs_and_gradients(layer, u)
    exact = outputs_and_gradients(layer, u, torch.float64)
    for key, value in exact.items():
        assert relative(compiled[key], value) < 1e-5, key


@pytest.mark.parametrize("cut", [1, 2, 100, 299])
def test_sequences_may_be_cut_anywhere(cut, n_threads):
    layer, u = Mamba2(32, 8, 4, 2, headdim=16), torch.randn(2, 300, 32)
    u.requires_grad_()
    whole = layer(u)
    first, state = layer.advance(u[:, :cut], None)
    second, _ = layer.advance(u[:, cut:], state)
    parts = torch.cat([first, second], 1)
    torch.testing.assert_close(parts, whole, rtol=1e-5, atol=1e-6)
    weight = torch.randn_like(whole)
    (expected,) = torch.autograd.grad((whole * weight).sum(), u)
    (gradient,) = torch.autograd.grad((parts * weight).sum(), u)
    torch.testing.assert_close(gradient, expected, rtol=1e-4, atol=1e-5)


def test_states_and_their_gradients_are_those_of_the_equations(n_threads):
    layer = Mamba2(32, 8, 4, 2, headdim=16)
    u = torch.randn(1, 2, 50, 32)
    state = torch.randn(1, 2, 3, 80), torch.randn(1, 2, 4, 16, 8)

    def run(dtype):
        own = copy.deepcopy(layer).to(dtype)
        leaves = [t.to(dtype).requires_grad_() for t in (u, *state)]
        p = stack_layers([own.layer_parameters()])
        y, after = run_stack(p, leaves[0], 8, 1, 0, (leaves[1], leaves[2]))
        results = [y, *after]
        total = sum((r * r.detach().sin()).sum() for r in results)
        return results + list(torch.autograd.grad(total, leaves))

    for got, exact in zip(run(torch.float32), run(torch.float64), strict=True):
        assert relative(got, exact) < 1e-5


def test_frozen_parameters_cost_no_gradient():
    layer = Mamba2(16, 4, 2, 2, headdim=16).requires_grad_(False)
    u = torch.randn(1, 20, 16, requires_grad=True)
    layer(u).sum().backward()
    assert u.grad is not None
    assert all(p.grad is None for p in layer.parameters())


def test_nan_is_not_swallowed():
    u = torch.randn(1, 40, 16)
    u[0, 20] = float("nan")
    y = Mamba2(16, 4, 2, 2, headdim=16)(u)
    assert torch.isfinite(y[0, :20]).all()
    assert torch.isnan(y[0, 20:]).all()


# far beyond a head's, states take so long steps that rounding in float32 grows
@pytest.mark.parametrize(
    ("size", "error"), [(1e-30, 1e-6), (1e-6, 1e-6), (1.0, 1e-6), (1e3, 3e-5)]
)
def test_amplitudes_from_silence_to_artefacts_agree(size, error):
    layer, u = Mamba2(16, 4, 2, 2, headdim=16), torch.randn(1, 40, 16) * size
    y = layer(u)
    exact = copy.deepcopy(layer).double()(u.double())
    assert (y - exact).norm() < error * exact.norm() + 1e-30


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_modes_without_gradients_give_the_same(mode, n_threads):
    layer, u = MultiHeadDifferentialMamba(128), torch.randn(1, 30, 128)
    expected = layer(u).detach()
    with mode():
        torch.testing.assert_close(layer(u), expected)


def test_other_precisions_go_the_plain_way():
    layer = Mamba2(16, 4, 2, 2, headdim=16).double()
    u = torch.randn(1, 20, 16, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(layer, u, fast_mode=True)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.isfinite(layer.float()(u.float())).all()


def test_threads_of_torch_are_left_as_they_were(n_threads):
    Mamba2(16, 4, 2, 2, headdim=16)(torch.randn(4, 20, 16))
    assert torch.get_num_threads() == n_threads
    seen = []
    other = threading.Thread(target=lambda: seen.append(torch.get_num_threads()))
    other.start()
    other.join()
    assert seen == [n_threads]


def test_tasks_run_beside_each_other_and_without_gradients():
    meeting = threading.Barrier(2, timeout=20)

    def task(number):
        meeting.wait()  # passes if both run at the same time
        return number, torch.get_num_threads(), torch.is_grad_enabled()

    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        results = threads.run_in_threads([lambda: task(0), lambda: task(1)])
    finally:
        torch.set_num_threads(before)
    assert results == [(0, 1, False), (1, 1, False)]


def test_an_error_in_a_thread_reaches_the_caller():
    def fail():
        raise ValueError("in a thread")

    with pytest.raises(ValueError, match="in a thread"):
        threads.run_in_threads([fail, fail])


def test_a_short_stack_is_not_shared(monkeypatch):
    shared = []

    def run(tasks, long=False):
        shared.append((len(tasks), long))
        return [task() for task in tasks]

    monkeypatch.setattr(fused, "run_in_threads", run)
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        layer = Mamba2(64, 16, 2, 8)
        for windows in (8, 32):
            with torch.no_grad():
                layer(torch.zeros(windows, 256, 64))
    finally:
        torch.set_num_threads(before)
    assert shared == [(1, False), (2, True)]


def test_torchs_waiting_threads_leave_the_cores_to_the_tasks():
    folder = Path("/proc/self/task")
    if not folder.is_dir():
        pytest.skip("this system does not list the threads of a process")
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        threads.run_in_threads([os.getpid, os.getpid])  # ours have begun
        torch.ones(2**20).exp()  # and now torch's
        alone = len(list(folder.iterdir()))
        count = [lambda: len(list(folder.iterdir()))] * 2
        beside = threads.run_in_threads(count, long=True)
        assert max(beside) < alone
        assert torch.ones(2**20).exp()[-1] == torch.ones(1).exp()  # they come back
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("layers", [1, 3])
@pytest.mark.parametrize(("rows", "terms", "columns"), [(7, 5, 3), (512, 64, 300)])
@pytest.mark.parametrize("turned", [False, True])
def test_products_are_those_of_torch(layers, rows, terms, columns, turned):
    generator = torch.Generator().manual_seed(0)
    a = torch.randn(layers, rows, terms, generator=generator)
    b = torch.randn(layers, columns, terms, generator=generator)
    if turned:
        a, b = (x.transpose(1, 2).contiguous().transpose(1, 2) for x in (a, b))
    exact = torch.bmm(a.double(), b.double().transpose(1, 2))
    assert relative(products.multiply(a, b), exact) < 1e-6


def test_products_need_no_private_function_of_torch(monkeypatch):
    a = torch.randn(1, 512, 64)
    b = torch.randn(1, 300, 64)
    wanted = products.multiply(a, b)
    monkeypatch.setattr(products, "_by_onednn", lambda: None)
    assert torch.allclose(products.multiply(a, b), wanted, atol=1e-4)
