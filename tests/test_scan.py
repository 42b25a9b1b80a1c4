"""Promises of `braindecode_samba.scan.dual`: recurrence, gradients, refusals."""

import functools

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional as F

from braindecode_samba.scan import recurrent_scan, ssd_scan
from braindecode_samba.scan.chunks import ScanByHand, scan_chunks

LENGTHS = (1, 7, 64, 255, 1000, 4097)
DECAYS = {"weak": 0.002, "medium": 0.2, "strong": 8.0}


def make_inputs(
    n_times, *, batch=1, heads=2, head_dim=5, groups=1, state=4, step=0.2, seed=0
):
    """Inputs of a scan that float32 holds exactly, in float64."""
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape):
        return torch.randn(*shape, generator=generator)

    inputs = {
        "x": normal(batch, n_times, heads, head_dim),
        "dt": F.softplus(normal(batch, n_times, heads)) * step,
        "A": -1 - 7 * torch.rand(heads, generator=generator),
        "B": normal(batch, n_times, groups, state),
        "C": normal(batch, n_times, groups, state),
        "D": normal(heads),
        "initial_state": normal(batch, heads, head_dim, state),
    }
    return {name: value.double() for name, value in inputs.items()}


def recurrence(inputs):
    """The reference, with bias and softplus as mamba-ssm applies them."""
    inputs = dict(inputs)
    bias = inputs.pop("dt_bias", None)
    if bias is not None:
        inputs["dt"] = F.softplus(inputs["dt"] + bias)
    return recurrent_scan(**inputs)


def outputs_and_gradients(scan, inputs, dtype, seed=1):
    """Outputs and the gradient of every input, under a fixed random loss."""
    leaves = {k: v.detach().to(dtype).clone() for k, v in inputs.items()}
    for leaf in leaves.values():
        leaf.requires_grad_()
    y, final = scan(leaves)
    generator = torch.Generator().manual_seed(seed)
    loss = 0.0
    for output in (y, final):
        loss = loss + (output * torch.randn(output.shape, generator=generator)).sum()
    loss.backward()
    results = {"y": y.detach(), "final_state": final.detach()}
    return results | {f"grad of {k}": v.grad for k, v in leaves.items()}


def chunked(inputs, **options):
    return ssd_scan(**inputs, return_final_state=True, **options)


def assert_tensors_agree(found, wanted, rtol):
    """Norm of the difference over the norm of the reference, tensor by tensor.

    A gradient below a millionth of the largest one is rounding: it is compared with a
    millionth of the largest.
    """
    largest = max(v.norm() for k, v in wanted.items() if k.startswith("grad"))
    for name, reference in wanted.items():
        error = (found[name].double() - reference).norm()
        assert torch.isfinite(error), name
        size = reference.norm()
        if name.startswith("grad") and size < 1e-6 * largest:
            assert error <= 1e-6 * largest, f"{name}: {error:.1e} of {largest:.1e}"
        else:
            assert error <= rtol * size, f"{name}: {error / size:.1e} > {rtol}"


# values


@pytest.mark.parametrize("decay", DECAYS)
@pytest.mark.parametrize("n_times", LENGTHS)
def test_scan_equals_recurrence(n_times, decay):
    inputs = make_inputs(n_times, step=DECAYS[decay], seed=n_times)
    wanted = outputs_and_gradients(recurrence, inputs, torch.float64)
    found = outputs_and_gradients(chunked, inputs, torch.float32)
    assert_tensors_agree(found, wanted, 1e-5)
    exact = outputs_and_gradients(chunked, inputs, torch.float64)
    assert_tensors_agree(exact, wanted, 1e-10)


@pytest.mark.parametrize("total", [20, 80, 200, 1000])
@pytest.mark.parametrize("chunk_size", [16, 64])
def test_decay_over_a_chunk_may_be_any(total, chunk_size):
    inputs = make_inputs(3 * chunk_size, batch=2, head_dim=32)
    steps = inputs["dt"] * -inputs["A"]
    largest = steps.unflatten(1, (3, chunk_size)).sum(2).max()
    inputs["dt"] = (inputs["dt"] * total / largest).float().double()
    wanted = outputs_and_gradients(recurrence, inputs, torch.float64)
    scan = functools.partial(chunked, chunk_size=chunk_size)
    assert_tensors_agree(
        outputs_and_gradients(scan, inputs, torch.float32), wanted, 1e-5
    )


@pytest.mark.parametrize("shift", [0, 3, 30, 1000])
def test_gradients_are_right_behind_adverse_bias(shift):
    inputs = make_inputs(255, batch=2, heads=4, head_dim=16, groups=2, state=16)
    inputs["dt"] = torch.randn_like(inputs["dt"]).float().double()
    inputs["dt_bias"] = torch.linspace(-4, -2, 4).float().double() + shift
    wanted = outputs_and_gradients(recurrence, inputs, torch.float64)
    scan = functools.partial(chunked, dt_softplus=True)
    found = outputs_and_gradients(scan, inputs, torch.float32)
    assert_tensors_agree(found, wanted, 1e-5)


@pytest.mark.parametrize("chunk_size", [None, 1, 3, 16, 61, 256])
@pytest.mark.parametrize("groups", [1, 2, 6])
def test_groups_and_chunks_change_nothing(groups, chunk_size):
    inputs = make_inputs(61, batch=2, heads=6, groups=groups, seed=groups)
    wanted = outputs_and_gradients(recurrence, inputs, torch.float64)
    scan = functools.partial(chunked, chunk_size=chunk_size)
    found = outputs_and_gradients(scan, inputs, torch.float32)
    assert_tensors_agree(found, wanted, 1e-5)


def test_neighbouring_heads_share_a_group():
    inputs = make_inputs(20, heads=4, groups=2)
    y = ssd_scan(**inputs)
    inputs["B"] = inputs["B"].clone()
    inputs["B"][:, :, 1] += 1
    changed = (ssd_scan(**inputs) - y).abs().amax((0, 1, 3)) > 1e-6
    assert changed.tolist() == [False, False, True, True]


@pytest.mark.parametrize("missing", ["D", "initial_state"])
def test_optional_inputs_default_to_zero(missing):
    inputs = make_inputs(40)
    zeros = inputs | {missing: torch.zeros_like(inputs[missing])}
    del inputs[missing]
    for found, wanted in zip(chunked(inputs), recurrence(zeros), strict=True):
        torch.testing.assert_close(found, wanted, rtol=0, atol=1e-12)


def test_skip_may_differ_between_features_of_a_head():
    inputs = make_inputs(61, heads=4, groups=2)
    inputs["D"] = torch.randn(4, 5).double()
    wanted = outputs_and_gradients(recurrence, inputs, torch.float64)
    found = outputs_and_gradients(chunked, inputs, torch.float32)
    assert_tensors_agree(found, wanted, 1e-5)


def test_final_state_is_returned_on_request_only():
    inputs = make_inputs(9, batch=2)
    y, final = ssd_scan(**inputs, return_final_state=True)
    assert final.shape == (2, 2, 5, 4)
    assert torch.equal(ssd_scan(**inputs), y)


def test_inputs_stay_as_they_are():
    inputs = make_inputs(40)
    before = {name: value.clone() for name, value in inputs.items()}
    ssd_scan(**inputs)
    assert all(torch.equal(inputs[name], before[name]) for name in inputs)


def test_memory_layout_changes_nothing():
    inputs = make_inputs(40, batch=3, heads=4, groups=2)
    strided = {
        name: value.transpose(0, -1).contiguous().transpose(0, -1)
        for name, value in inputs.items()
    }
    assert not strided["x"].is_contiguous()
    assert torch.equal(ssd_scan(**strided), ssd_scan(**inputs))


# step sizes


def test_bias_comes_before_softplus():
    inputs = make_inputs(61)
    inputs["dt_bias"] = torch.tensor([-1.0, 2.0]).double()
    wanted = outputs_and_gradients(recurrence, inputs, torch.float64)
    scan = functools.partial(chunked, dt_softplus=True)
    assert_tensors_agree(
        outputs_and_gradients(scan, inputs, torch.float64), wanted, 1e-10
    )


def test_bias_alone_is_added():
    inputs = make_inputs(61)
    wanted = recurrence(inputs | {"dt": inputs["dt"] + 0.5})[0]
    found = ssd_scan(**inputs, dt_bias=torch.full((2,), 0.5).double())
    torch.testing.assert_close(found, wanted, rtol=0, atol=1e-12)


@pytest.mark.parametrize("softplus", [False, True])
def test_step_sizes_are_limited_last(softplus):
    inputs = make_inputs(61)
    inputs["dt"] = torch.randn_like(inputs["dt"])
    dt = F.softplus(inputs["dt"]) if softplus else inputs["dt"]
    low, high = 0.3, 0.7
    assert (dt < low).any()
    assert (dt > high).any()
    wanted = recurrence(inputs | {"dt": dt.clamp(low, high)})[0]
    found = ssd_scan(**inputs, dt_softplus=softplus, dt_limit=(low, high))
    torch.testing.assert_close(found, wanted, rtol=0, atol=1e-12)


# dtypes


def test_bfloat16_stays_bfloat16_and_near():
    inputs = {
        name: value.bfloat16()
        for name, value in make_inputs(255, batch=2, head_dim=16).items()
    }
    inputs["A"] = inputs["A"].float()
    wanted = recurrence({name: value.double() for name, value in inputs.items()})
    y, final = chunked(inputs)
    assert y.dtype == torch.bfloat16
    assert final.dtype == torch.float32
    # a bfloat16 has 8 bits: rounding the result alone costs up to 2^-9
    assert (y.double() - wanted[0]).norm() < 3e-3 * wanted[0].norm()
    assert (final.double() - wanted[1]).norm() < 1e-5 * wanted[1].norm()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_dtype_of_x_is_kept(dtype):
    inputs = {name: value.to(dtype) for name, value in make_inputs(20).items()}
    assert {tensor.dtype for tensor in chunked(inputs)} == {dtype}


def test_autocast_keeps_sums_in_float32():
    inputs = make_inputs(255, step=2.0)
    wanted = outputs_and_gradients(chunked, inputs, torch.float32)

    def under_autocast(leaves):
        with torch.autocast("cpu", torch.bfloat16):
            return chunked(leaves)

    found = outputs_and_gradients(under_autocast, inputs, torch.float32)
    for name, value in wanted.items():
        assert torch.equal(found[name], value), name


def test_gradients_agree_with_finite_differences():
    inputs = make_inputs(5, batch=2, head_dim=2, state=2)
    inputs["dt_bias"] = torch.tensor([-0.5, 0.5]).double()
    names = list(inputs)

    def scan(*values):
        leaves = dict(zip(names, values, strict=True))
        return chunked(leaves, dt_softplus=True, chunk_size=2)

    leaves = [value.requires_grad_() for value in inputs.values()]
    assert torch.autograd.gradcheck(scan, leaves)


# the two forms of the derivatives


def chunk_inputs(shift, steps=16):
    """Inputs in the chunked layout: 2 windows, 2 groups of 3 heads, 4 chunks."""
    generator = torch.Generator().manual_seed(3)

    def normal(*shape):
        return torch.randn(*shape, generator=generator).double()

    inputs = {
        "X": normal(2, 2, 3, 4, steps, 5),
        "dt": F.softplus(normal(2, 2, 3, 4, steps) - 3 + shift).float().double(),
        "A": -1 - 7 * torch.rand(2, 3, generator=generator).double(),
        "B": normal(2, 2, 4, steps, 6),
        "C": normal(2, 2, 4, steps, 6),
        "D": normal(2, 3),
        "S": normal(2, 2, 3, 6, 5),
    }
    return inputs


@pytest.mark.parametrize("shift", [0, 3, 30, 1000])
def test_derivatives_by_hand_equal_those_of_autograd(shift):
    def by_autograd(leaves):
        return scan_chunks(*leaves.values())

    def by_hand(leaves):
        return ScanByHand.apply(*leaves.values())

    inputs = chunk_inputs(shift)
    wanted = outputs_and_gradients(by_autograd, inputs, torch.float64)
    exact = outputs_and_gradients(by_hand, inputs, torch.float64)
    assert_tensors_agree(exact, wanted, 1e-10)
    for scan in (by_hand, by_autograd):
        found = outputs_and_gradients(scan, inputs, torch.float32)
        assert_tensors_agree(found, wanted, 1e-5)


def test_derivatives_by_hand_agree_with_finite_differences():
    leaves = [value[:1] for value in chunk_inputs(1, steps=3).values()]
    leaves[2], leaves[5] = (v.expand(2, -1) for v in (leaves[2], leaves[5]))
    leaves = [value.detach().clone().requires_grad_() for value in leaves]
    assert torch.autograd.gradcheck(ScanByHand.apply, leaves, fast_mode=True)


# states


@given(n_times=st.integers(2, 90), where=st.floats(0, 1), seed=st.integers(0, 99))
def test_state_handed_on_equals_one_pass(n_times, where, seed):
    split = 1 + int(where * (n_times - 2))
    inputs = make_inputs(n_times, batch=2, seed=seed)
    wanted, final = chunked(inputs)
    over_time = ("x", "dt", "B", "C")
    state = inputs["initial_state"]
    parts = []
    for part in (slice(0, split), slice(split, None)):
        cut = {name: inputs[name][:, part] for name in over_time}
        y, state = chunked(inputs | cut | {"initial_state": state})
        parts.append(y)
    torch.testing.assert_close(torch.cat(parts, 1), wanted, rtol=1e-11, atol=1e-11)
    torch.testing.assert_close(state, final, rtol=1e-11, atol=1e-11)


def test_gradients_flow_through_a_state_handed_on():
    inputs = make_inputs(100)

    def in_two(leaves):
        over_time = ("x", "dt", "B", "C")
        first = {name: leaves[name][:, :37] for name in over_time}
        second = {name: leaves[name][:, 37:] for name in over_time}
        y1, state = chunked(leaves | first)
        y2, state = chunked(leaves | second | {"initial_state": state})
        return torch.cat([y1, y2], 1), state

    wanted = outputs_and_gradients(recurrence, inputs, torch.float64)
    found = outputs_and_gradients(in_two, inputs, torch.float32)
    assert_tensors_agree(found, wanted, 1e-5)


# refusals


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("x", (1, 20, 10)),
        ("x", (1, 0, 2, 5)),
        ("dt", (1, 20, 3)),
        ("dt", (1, 19, 2)),
        ("A", (3,)),
        ("A", (2, 1)),
        ("B", (1, 20, 4)),
        ("B", (1, 20, 3, 4)),
        ("B", (1, 20, 0, 4)),
        ("C", (1, 20, 1, 5)),
        ("D", (3,)),
        ("D", (2, 4)),
        ("dt_bias", (1,)),
        ("initial_state", (1, 2, 4, 5)),
        ("initial_state", (2, 2, 5, 4)),
    ],
)
def test_wrong_shape_is_refused_by_name(name, shape):
    inputs = make_inputs(20) | {name: torch.zeros(shape).double()}
    with pytest.raises(ValueError, match=f"^{name} has shape"):
        ssd_scan(**inputs)


def test_unknown_backend_is_refused():
    with pytest.raises(ValueError, match="'triton' is unknown"):
        ssd_scan(**make_inputs(20), backend="triton")


def test_kernel_is_refused_on_a_cpu():
    with pytest.raises(ValueError, match="CUDA"):
        ssd_scan(**make_inputs(20), backend="mamba_ssm")


@pytest.mark.parametrize("backend", ["auto", "torch"])
def test_cpu_tensors_take_the_torch_backend(backend):
    inputs = make_inputs(20)
    assert torch.equal(ssd_scan(**inputs, backend=backend), ssd_scan(**inputs))


@pytest.mark.parametrize("chunk_size", [0, -4])
def test_empty_chunk_is_refused(chunk_size):
    with pytest.raises(ValueError, match="chunk_size"):
        ssd_scan(**make_inputs(20), chunk_size=chunk_size)
