"""The published network: its tensors, gradients and parameters."""

import pytest
import torch
from safetensors.torch import load_file

from braindecode_samba import (
    SAMBAReconstructor,
    chs_info_from_names,
    positions_from_names,
)
from braindecode_samba.nn.reference import rename_reference_keys

NETWORKS = ("emotiv14_T256", "tuab16_T1003")
EMOTIV = "AF3 F7 F3 FC5 T7 P7 O1 O2 P8 T8 FC6 F4 F8 AF4".split()
STAGES = {
    "output": "out",
    "weights": "weights",
    "decoder3": "decoder3",
    "pool3": "mid.pool3",
    "mediator": "mid.bottleneck",
    "decodeMamba3": "mid.decodeMamba3",
    "encoder1": "mid.encoder1",
    "input_embedding": "mid.input_embedding",
}
UNUSED = (
    "encoder1.1.norm.weight",
    "decodeMamba3.norm.weight",
    "decodeMamba2.norm.weight",
)


@pytest.fixture(scope="module", params=NETWORKS)
def network(request, golden_folder):
    """Tensors of one file, float32 and float64 as stored."""
    return load_file(golden_folder / f"{request.param}.safetensors")


@pytest.fixture(scope="module")
def emotiv(golden_folder):
    return load_file(golden_folder / "emotiv14_T256.safetensors")


def parameters(golden, dtype=torch.float32):
    return {
        name.removeprefix("param."): value.to(dtype)
        for name, value in golden.items()
        if name.startswith("param.")
    }


def build(golden, dtype=torch.float32):
    return SAMBAReconstructor.from_reference(
        parameters(golden, dtype), golden["positions"], golden["target_positions"]
    )


def authors_names(golden):
    """Our name of every parameter -> the authors'."""
    names = list(parameters(golden))
    ours = rename_reference_keys(parameters(golden))
    return dict(zip(ours, names, strict=True))


def named_gradients(model, golden):
    """Gradients under the authors' names and in their shapes."""
    names, shapes = authors_names(golden), parameters(golden)
    return {
        f"grad.{names[name]}": parameter.grad.view_as(shapes[names[name]])
        for name, parameter in model.named_parameters()
        if parameter.grad is not None
    }


# values


def test_every_golden_tensor_is_compared(network):
    others = {"x", "positions", "target_positions", "out.float64", "weights.float64"}
    signals = {name for name in network if not name.startswith("param.")}
    assert signals - others == set(STAGES.values())


@torch.no_grad()
def test_every_stage_equals_the_published_one(network):
    found = build(network)(network["x"], return_features=True)
    assert set(found) == set(STAGES)
    for name, golden_name in STAGES.items():
        wanted = network[golden_name]
        assert found[name].shape == wanted.shape, name
        error = (found[name] - wanted).abs().max() / wanted.abs().max()
        assert error <= 1e-4, f"{name}: {error:.1e}"
    assert (found["weights"] - network["weights"]).abs().max() <= 5e-7


@torch.no_grad()
def test_double_precision_finds_the_published_weights(network):
    """The authors subtract positions in float32: 8.5e-8 away, and 2.6e-6 at the end."""
    found = build(network, torch.float64)(network["x"].double(), return_features=True)
    assert found["output"].dtype == torch.float64
    weights = found.pop("weights")
    assert (weights - network["weights.float64"]).abs().max() <= 2e-7
    assert (found["output"] - network["out.float64"]).abs().max() <= 5e-6
    for name, value in found.items():
        assert (value - network[STAGES[name]]).abs().max() <= 5e-6, name


@torch.no_grad()
def test_double_precision_is_exact_behind_the_published_weights(network):
    model = build(network, torch.float64)
    weights = network["weights.float64"]
    model.trunk.spatial.weights.register_forward_hook(lambda *_: weights)
    found = model(network["x"].double(), return_features=True)
    assert (found["output"] - network["out.float64"]).abs().max() <= 1e-11
    for name in STAGES:  # stored in float32
        wanted = network[STAGES[name]]
        torch.testing.assert_close(
            found[name], wanted.double(), rtol=1e-7, atol=1e-7, msg=name
        )


@torch.no_grad()
def test_positions_may_come_with_the_batch(network):
    model = build(network)
    wanted = model(network["x"])
    torch.testing.assert_close(model(network["x"], pos=network["positions"]), wanted)
    each = network["positions"].expand(len(network["x"]), -1, -1)
    torch.testing.assert_close(
        model(network["x"], pos=each), wanted, rtol=1e-4, atol=1e-4
    )


@pytest.mark.parametrize(
    ("dtype", "tolerance"), [(torch.float32, 1e-4), (torch.float64, 5e-6)]
)
def test_gradients_equal_the_published_ones(emotiv, golden_folder, dtype, tolerance):
    golden = load_file(golden_folder / "gradients_T256.safetensors")
    model = build(emotiv, dtype)
    x = emotiv["x"].to(dtype, copy=True).requires_grad_()
    loss = (model(x) * golden["g"]).sum()
    loss.backward()
    found = named_gradients(model, emotiv) | {"grad.x": x.grad}
    wanted = {name: v for name, v in golden.items() if name.startswith("grad.")}
    assert len(wanted) == 30
    for name, value in wanted.items():
        error = (found[name].double() - value).abs().max() / value.abs().max()
        assert error <= tolerance, f"{name}: {error:.1e}"
    # this one cancels in the softmax: what remains is rounding
    largest = max(value.abs().max() for value in wanted.values())
    assert found["grad.saie.net.2.bias"].abs().max() <= 1e-6 * largest
    assert abs(loss.item() - golden["loss"].item()) <= tolerance * abs(golden["loss"])


def test_gradients_are_exact_behind_the_published_weights(emotiv, golden_folder):
    golden = load_file(golden_folder / "gradients_T256.safetensors")
    model = build(emotiv, torch.float64)
    weights = emotiv["weights.float64"]
    model.trunk.spatial.weights.register_forward_hook(lambda *_: weights)
    x = emotiv["x"].double().requires_grad_()
    (model(x) * golden["g"]).sum().backward()
    found = named_gradients(model, emotiv) | {"grad.x": x.grad}
    for name, value in golden.items():
        if name.startswith("grad.") and "saie" not in name:
            error = (found[name] - value).abs().max() / value.abs().max()
            assert error <= 1e-10, f"{name}: {error:.1e}"


# parameters


@pytest.mark.parametrize(
    ("n_chans", "count"),
    [
        *((4, 1_058_853), (14, 1_059_503), (16, 1_059_633), (19, 1_059_828)),
        *((22, 1_060_023), (64, 1_062_753), (128, 1_066_913), (129, 1_066_978)),
    ],
)
def test_published_network_has_its_number_of_parameters(n_chans, count):
    model = SAMBAReconstructor(
        n_chans=n_chans, readout="electrode", spatial_init="published", scale=None
    )
    n_parameters = sum(p.numel() for p in model.parameters())
    assert n_parameters == count == 1_058_593 + 65 * n_chans


def test_parts_have_their_number_of_parameters(emotiv):
    names = authors_names(emotiv)
    counts: dict[str, int] = {}
    for name, parameter in build(emotiv).named_parameters():
        part = names[name].split(".")[0]
        counts[part] = counts.get(part, 0) + parameter.numel()
    assert counts == {
        "saie": 161,
        "input_embedding": 78_720,
        "encoder1": 107_256,
        "encoder2": 12_352,
        "encoder3": 24_704,
        "bottleneck": 168_576,
        "decoder3": 98_432,
        "decodeMamba3": 403_728,
        "decoder2": 36_928,
        "decodeMamba2": 103_096,
        "decoder1": 24_640,
        "onput_embedding": 910,
    }


def test_all_204_parameters_are_loaded(network):
    golden, names = parameters(network), authors_names(network)
    loaded = dict(build(network).named_parameters())
    assert len(loaded) == len(golden) == 204
    assert set(loaded) == set(names)
    for name, value in loaded.items():
        assert torch.equal(value.flatten(), golden[names[name]].flatten()), name


def test_all_parameters_but_the_three_unused_ones_work(network):
    model = build(network)
    model(network["x"]).square().sum().backward()
    names = authors_names(network)
    idle = {names[n] for n, p in model.named_parameters() if p.grad is None}
    assert idle == set(UNUSED)


@pytest.mark.parametrize(
    "name",
    [
        "onput_embedding.bias",
        "encoder1.1.mamba.norm.weight",
        "saie.net.0.weight",
        "encoder2.weight",
        "bottleneck.1.block.lam",
        "bottleneck.1.block.team2.7.dt_bias",
        "decodeMamba3.norm.weight",
    ],
)
def test_missing_parameter_is_named(emotiv, name):
    state_dict = parameters(emotiv)
    del state_dict[name]
    with pytest.raises(ValueError, match=f"lacks.*'{name}'"):
        SAMBAReconstructor.from_reference(
            state_dict, emotiv["positions"], emotiv["target_positions"]
        )


@pytest.mark.parametrize(
    ("name", "other"),
    [
        ("encoder2.weight", "module.encoder2.weight"),
        ("saie.net.0.weight", "cdse.net.0.weight"),
        ("bottleneck.1.block.lam", "bottleneck.1.block.lambda"),
    ],
)
def test_strange_parameter_is_named(emotiv, name, other):
    state_dict = parameters(emotiv)
    state_dict[other] = state_dict[name]
    with pytest.raises(ValueError, match=f"'{other}'"):
        SAMBAReconstructor.from_reference(
            state_dict, emotiv["positions"], emotiv["target_positions"]
        )


@pytest.mark.parametrize(
    "name",
    ["encoder2.bias", "encoder1.0.weight", "bottleneck.1.block.team1.3.in_proj.weight"],
)
def test_misshapen_parameter_is_named(emotiv, name):
    state_dict = parameters(emotiv)
    state_dict[name] = state_dict[name][1:]
    with pytest.raises(ValueError, match=f"'{name}'.*shape"):
        SAMBAReconstructor.from_reference(
            state_dict, emotiv["positions"], emotiv["target_positions"]
        )


@pytest.mark.parametrize(
    ("positions", "said"),
    [
        (0.09 * torch.eye(13, 3).sub(0.3).sign(), "14 output channels"),
        (torch.full((14, 3), torch.nan), "NaN"),
        (torch.rand(14, 3) * 100, "metres"),
        (torch.zeros(14, 2), "shape"),
    ],
)
def test_wrong_positions_are_refused(emotiv, positions, said):
    with pytest.raises(ValueError, match=said):
        SAMBAReconstructor.from_reference(
            parameters(emotiv), positions, emotiv["target_positions"]
        )


# the authors' frame


@pytest.mark.parametrize("way", ["chs_info", "pos", "pos per sample"])
@torch.no_grad()
def test_head_frame_is_taken_to_the_frame_of_the_authors(emotiv, way):
    chs_info = chs_info_from_names(EMOTIV) if way == "chs_info" else None
    model = SAMBAReconstructor(
        n_chans=14,
        chs_info=chs_info,
        spatial_init="published",
        coordinate_frame="colin27_mri",
    )
    net = {
        name.removeprefix("saie.net."): value
        for name, value in parameters(emotiv).items()
        if name.startswith("saie.net.")
    }
    model.trunk.spatial.weights.net.load_state_dict(net)
    pos = None
    if way != "chs_info":
        pos = torch.tensor(positions_from_names(EMOTIV), dtype=torch.float32)
        if way == "pos per sample":
            pos = pos.expand(2, -1, -1)
    found = model.spatial_weights(pos)
    wanted = emotiv["weights"].expand_as(found)
    assert (found - wanted).abs().max() <= 1e-5
    features = model(emotiv["x"], pos, return_features=True)
    assert (features["weights"] - wanted).abs().max() <= 1e-5
