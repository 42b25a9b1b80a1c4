"""Promises of `braindecode_samba.nn.mamba`: mamba-ssm's layer, and sixteen as one."""

import pytest
import torch
from safetensors.torch import load_file
from torch.nn import functional as F

from braindecode_samba.nn import Mamba2, MultiHeadDifferentialMamba
from braindecode_samba.scan import recurrent_scan
from braindecode_samba.scan.gates import (
    ConvSiluByHand,
    GatedProjectionByHand,
    conv_silu,
    gated_projection,
)

DECAY_PARAMETERS = ("A_log", "dt_bias")


def plain_mamba2(layer, u, d_state, ngroups):
    """Mamba-2 as its equations stand, step by step."""
    d_inner, heads = layer.out_proj.in_features, len(layer.A_log)
    n_bc, taps = ngroups * d_state, layer.conv1d.weight.shape[2]
    z, xbc, dt = layer.in_proj(u).split([d_inner, d_inner + 2 * n_bc, heads], dim=-1)
    padded = F.pad(xbc.transpose(1, 2), (taps - 1, 0))
    xbc = F.conv1d(
        padded, layer.conv1d.weight, layer.conv1d.bias, groups=d_inner + 2 * n_bc
    )
    x, B, C = F.silu(xbc).transpose(1, 2).split([d_inner, n_bc, n_bc], dim=-1)
    y, _ = recurrent_scan(
        x.unflatten(2, (heads, -1)),
        F.softplus(dt + layer.dt_bias),
        -layer.A_log.exp(),
        B.unflatten(2, (ngroups, -1)),
        C.unflatten(2, (ngroups, -1)),
        layer.D,
    )
    g = y.flatten(2) * F.silu(z)
    grouped = g.unflatten(2, (ngroups, -1))
    scale = torch.rsqrt(grouped.square().mean(-1, keepdim=True) + 1e-5)
    return layer.out_proj((grouped * scale).flatten(2) * layer.norm.weight)


def plain_mdm(mdm, u):
    """The differential block as a loop over its heads and layers."""
    outputs = []
    heads = u.chunk(mdm.n_heads, dim=-1)
    lams = mdm.lam.chunk(mdm.n_heads)
    for i, (head, lam) in enumerate(zip(heads, lams, strict=True)):
        d = mdm.team1[i](head) - lam * mdm.team2[i](head)
        outputs.append(mdm.head_norms[i](d.transpose(1, 2)).transpose(1, 2))
    return u + mdm.out_proj(torch.cat(outputs, dim=-1))


def randomise(module):
    """Move parameters away from their trivial values (norms of 1, biases of 0)."""
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    return module


def output_and_gradients(function, module, u, dtype):
    """Output, and gradients of input and parameters, under a fixed random loss."""
    module.to(dtype).zero_grad()
    u = u.detach().to(dtype).clone().requires_grad_()
    y = function(u)
    weights = torch.randn(y.shape, generator=torch.Generator().manual_seed(1))
    (y * weights.to(dtype)).sum().backward()
    results = {"y": y.detach(), "grad of u": u.grad}
    for name, parameter in module.named_parameters():
        results[f"grad of {name}"] = parameter.grad
    return results


def relative_errors(found, wanted):
    """Norm of the difference over the norm of the reference, tensor by tensor.

    A gradient below a millionth of the largest one is rounding: its error is measured
    by the largest one.
    """
    gradients = [v.norm() for name, v in wanted.items() if name.startswith("grad")]
    errors = {}
    for name, reference in wanted.items():
        assert torch.isfinite(found[name]).all(), name
        error = (found[name].double() - reference).norm()
        if name.startswith("grad") and reference.norm() < 1e-6 * max(gradients):
            errors[name] = (error / max(gradients)).item()
        else:
            errors[name] = (error / reference.norm()).item()
    return errors


def assert_tensors_agree(found, wanted, rtol):
    for name, error in relative_errors(found, wanted).items():
        assert error <= rtol, f"{name}: {error:.1e} > {rtol}"


# against mamba-ssm


@pytest.fixture(scope="module")
def golden_layers(golden_folder):
    return load_file(golden_folder / "mamba2_layer.safetensors")


@pytest.mark.parametrize(
    ("dtype", "rtol", "grad_rtol"),
    [(torch.float64, 1e-12, 1e-10), (torch.float32, 1e-5, 1e-5)],
)
@pytest.mark.parametrize(("prefix", "width"), [("a.", 64), ("b.", 16)])
def test_layer_equals_golden_layer(
    golden_layers, prefix, width, dtype, rtol, grad_rtol
):
    golden = {
        name.removeprefix(prefix): value.to(dtype)
        for name, value in golden_layers.items()
        if name.startswith(prefix)
    }
    layer = Mamba2(width, d_state=16, d_conv=2, expand=8, headdim=width).to(dtype)
    layer.load_state_dict(
        {
            name.removeprefix("param."): value
            for name, value in golden.items()
            if name.startswith("param.")
        }
    )
    x = golden["x"].clone().requires_grad_()
    y = layer(x)
    loss = (y * golden["g"]).sum()
    loss.backward()
    found = {"y": y.detach(), "loss": loss.detach(), "grad.x": x.grad}
    for name, parameter in layer.named_parameters():
        found[f"grad.{name}"] = parameter.grad
    assert len(found) == 3 + 8
    for name, value in found.items():
        wanted = golden_layers[prefix + name]
        error = (value.double() - wanted).abs().max() / wanted.abs().max()
        assert error <= (grad_rtol if name.startswith("grad") else rtol), name


@pytest.mark.parametrize(
    ("arguments", "shapes"),
    [
        (
            {"d_model": 64, "d_state": 16, "d_conv": 2, "expand": 8},
            [(8,), (8,), (8,), (1064, 64), (544, 1, 2), (544,), (512,), (64, 512)],
        ),
        (
            {"d_model": 128, "d_state": 16, "d_conv": 2, "expand": 8},
            [
                *((16,), (16,), (16,), (2096, 128), (1056, 1, 2), (1056,)),
                *((1024,), (128, 1024)),
            ],
        ),
        (
            {"d_model": 16, "d_state": 16, "d_conv": 2, "expand": 8, "headdim": 16},
            [(8,), (8,), (8,), (296, 16), (160, 1, 2), (160,), (128,), (16, 128)],
        ),
        (  # mamba-ssm's defaults
            {"d_model": 256},
            [
                *((8,), (8,), (8,), (1288, 256), (768, 1, 4), (768,)),
                *((512,), (256, 512)),
            ],
        ),
        (
            {"d_model": 64, "d_state": 8, "headdim": 16, "ngroups": 4},
            [(8,), (8,), (8,), (328, 64), (192, 1, 4), (192,), (128,), (64, 128)],
        ),
    ],
)
def test_state_dict_is_mamba_ssms(arguments, shapes):
    names = "dt_bias A_log D in_proj.weight conv1d.weight conv1d.bias norm.weight"
    wanted = dict(zip([*names.split(), "out_proj.weight"], shapes, strict=True))
    state_dict = Mamba2(**arguments).state_dict()
    assert {name: tuple(value.shape) for name, value in state_dict.items()} == wanted


def test_start_is_mamba_ssms():
    layer = Mamba2(512, headdim=4)  # 256 heads
    dt, A = F.softplus(layer.dt_bias), layer.A_log.exp()
    assert 0.001 <= dt.min() < 0.0015
    assert 0.07 < dt.max() <= 0.1001
    assert abs(dt.log().mean().item() - -4.6) < 0.2  # uniform in the logarithm
    assert 1 <= A.min() < 1.3
    assert 15.5 < A.max() <= 16
    assert (layer.D == 1).all()
    assert (layer.norm.weight == 1).all()


# against the equations


@pytest.mark.parametrize(
    "sizes",
    [
        {"d_model": 16, "d_state": 4, "headdim": 8},
        {"d_model": 16, "d_state": 4, "d_conv": 1, "expand": 3, "headdim": 8},
        {"d_model": 16, "d_state": 4, "d_conv": 3, "headdim": 8, "ngroups": 2},
        {"d_model": 24, "d_state": 3, "expand": 4, "headdim": 8, "ngroups": 4},
    ],
    ids=str,
)
@pytest.mark.parametrize("n_times", [1, 2, 45])
def test_layer_equals_its_equations(sizes, n_times):
    layer = randomise(Mamba2(**sizes))
    u = torch.randn(2, n_times, sizes["d_model"])
    ngroups = sizes.get("ngroups", 1)

    def plain(u):
        return plain_mamba2(layer, u, sizes["d_state"], ngroups)

    wanted = output_and_gradients(plain, layer, u, torch.float64)
    found = output_and_gradients(layer, layer, u, torch.float64)
    assert_tensors_agree(found, wanted, 1e-10)
    found = output_and_gradients(layer, layer, u, torch.float32)
    assert_tensors_agree(found, wanted, 1e-5)


@pytest.mark.parametrize("chunk_size", [1, 7, 64])
def test_chunk_size_changes_nothing(chunk_size):
    sizes = {"d_model": 16, "d_state": 4, "headdim": 8}
    layer = Mamba2(**sizes).double()
    other = Mamba2(**sizes, chunk_size=chunk_size).double()
    other.load_state_dict(layer.state_dict())
    u = torch.randn(2, 100, 16).double()
    torch.testing.assert_close(other(u), layer(u), rtol=1e-11, atol=1e-12)


def test_layer_is_causal():
    layer = Mamba2(16, d_state=4, headdim=8)
    u = torch.randn(1, 60, 16)
    changed = u.clone()
    changed[:, 40:] = 5
    difference = (layer(u) - layer(changed)).abs().amax((0, 2))
    assert difference[:40].max() == 0
    assert difference[40] > 1e-3


def test_windows_of_a_batch_do_not_mix():
    mdm = MultiHeadDifferentialMamba(32, n_heads=4, d_state=4, expand=2).eval()
    u = torch.randn(3, 50, 32)
    single = torch.cat([mdm(window) for window in u.split(1)])
    torch.testing.assert_close(mdm(u), single, rtol=1e-5, atol=1e-5)


def test_autocast_stays_near_float32():
    mdm = MultiHeadDifferentialMamba()
    u = torch.randn(2, 40, 128)
    wanted = mdm(u)
    with torch.autocast("cpu", torch.bfloat16):
        found = mdm(u)
    found.float().sum().backward()
    assert (found - wanted).norm() < 0.02 * wanted.norm()
    for name, parameter in mdm.named_parameters():
        assert torch.isfinite(parameter.grad).all(), name


# the differential block


@pytest.mark.parametrize("n_times", [1, 5, 33, 300])
def test_block_equals_loop_over_sixteen_layers(n_times):
    mdm = randomise(MultiHeadDifferentialMamba())
    assert len(mdm.team1) + len(mdm.team2) == 16
    u = torch.randn(2, n_times, 128)

    def loop(u):
        return plain_mdm(mdm, u)

    wanted = output_and_gradients(loop, mdm, u, torch.float64)
    assert len(wanted) == 2 + 1 + 16 * 8 + 16 + 2
    found = output_and_gradients(mdm, mdm, u, torch.float64)
    assert_tensors_agree(found, wanted, 1e-10)
    found = output_and_gradients(mdm, mdm, u, torch.float32)
    assert_tensors_agree(found, wanted, 1e-5)


@pytest.mark.parametrize("n_heads", [1, 2, 16])
def test_block_takes_any_number_of_heads(n_heads):
    mdm = randomise(
        MultiHeadDifferentialMamba(32, n_heads, d_state=3, d_conv=3, expand=2)
    ).double()
    u = torch.randn(2, 20, 32).double()
    torch.testing.assert_close(mdm(u), plain_mdm(mdm, u), rtol=1e-10, atol=1e-10)


# the two forms of the derivatives


@pytest.mark.parametrize(
    ("by_hand", "by_autograd", "shapes"),
    [
        (ConvSiluByHand.apply, conv_silu, [(2, 3, 12, 4), (2, 4, 3), (2, 4)]),
        (ConvSiluByHand.apply, conv_silu, [(1, 1, 10, 4), (1, 4, 1), (1, 4)]),
        (
            GatedProjectionByHand.apply,
            gated_projection,
            [(2, 3, 10, 6), (2, 3, 10, 6), (2, 4, 6)],
        ),
    ],
    ids=["convolution", "convolution of one tap", "projection"],
)
def test_derivatives_by_hand_equal_those_of_autograd(by_hand, by_autograd, shapes):
    leaves = [torch.randn(shape).double().requires_grad_() for shape in shapes]
    results = []
    for function in (by_hand, by_autograd):
        y = function(*leaves)
        weights = torch.cos(torch.arange(y.numel()).view_as(y).double())
        results.append((y, *torch.autograd.grad((y * weights).sum(), leaves)))
    for found, wanted in zip(*results, strict=True):
        torch.testing.assert_close(found, wanted, rtol=1e-11, atol=1e-12)
    assert torch.autograd.gradcheck(by_hand, leaves, fast_mode=True)


# adverse decay


@pytest.mark.parametrize("shift", [3, 30, 1000])
@pytest.mark.parametrize("kind", ["layer", "block"])
def test_gradients_are_right_behind_adverse_bias(kind, shift):
    if kind == "layer":
        module = Mamba2(64, d_state=16, d_conv=2, expand=8)
        u = torch.randn(2, 150, 64)

        def reference(u):
            return plain_mamba2(module, u, 16, 1)

    else:
        module = MultiHeadDifferentialMamba(32, n_heads=2)
        u = torch.randn(2, 150, 32)

        def reference(u):
            return plain_mdm(module, u)

    with torch.no_grad():
        for name, parameter in module.named_parameters():
            if name.endswith("dt_bias"):
                parameter += shift
    wanted = output_and_gradients(reference, module, u, torch.float64)
    found = output_and_gradients(module, module, u, torch.float32)
    # some gradients are differences that float32 itself can't resolve better
    plain = output_and_gradients(reference, module, u, torch.float32)
    plain = relative_errors(plain, wanted)
    for name, error in relative_errors(found, wanted).items():
        limit = 1e-4 if name.endswith(DECAY_PARAMETERS) else 1e-5
        assert error <= max(limit, 2 * plain[name]), f"{name}: {error:.1e}"
        assert error <= 1e-4, f"{name}: {error:.1e}"


# refusals


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"d_model": 20, "expand": 2, "headdim": 64}, "headdim"),
        ({"d_model": 64, "headdim": 16, "ngroups": 3}, "ngroups"),
    ],
)
def test_sizes_that_do_not_divide_are_refused(arguments, said):
    with pytest.raises(ValueError, match=said):
        Mamba2(**arguments)


@pytest.mark.parametrize(
    "size", "d_model d_state d_conv expand headdim ngroups chunk_size".split()
)
@pytest.mark.parametrize("value", [0, -1])
def test_empty_sizes_are_refused(size, value):
    with pytest.raises(ValueError, match=size):
        Mamba2(**({"d_model": 64} | {size: value}))


def test_heads_that_do_not_divide_the_features_are_refused():
    with pytest.raises(ValueError, match="n_heads=3"):
        MultiHeadDifferentialMamba(32, n_heads=3)


@pytest.mark.parametrize(
    "option",
    [{"d_ssm": 32}, {"D_has_hdim": True}, {"norm_before_gate": True}, {"bias": True}],
    ids=str,
)
def test_options_that_the_layer_lacks_are_refused(option):
    with pytest.raises(TypeError, match=next(iter(option))):
        Mamba2(64, **option)
