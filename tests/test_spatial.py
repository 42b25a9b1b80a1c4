"""Promises of `braindecode_samba.nn.spatial`: places decide, not order."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import sph_harm_y

from braindecode_samba import load_montage, positions_from_names
from braindecode_samba.nn import CoordinateEmbedding, CoordinateReadout, DistanceWeights
from braindecode_samba.nn.spatial import HEAD_RADIUS
from braindecode_samba.signals import target_names, target_positions

TARGETS = torch.tensor(target_positions())
PHYSIONET = load_montage("physionetmi_64")
INITS = ("distance", "published")


def embedding(init="distance", trained=False):
    """An embedding in float64; a trained one has left the start of its network."""
    module = CoordinateEmbedding(TARGETS, init).double()
    if trained:
        with torch.no_grad():
            for parameter in module.weights.net.parameters():
                parameter += 0.5 * torch.randn_like(parameter)
            module.weights.net[0].weight *= 20
    return module


def readout(init="distance"):
    """A readout of signals that are at the targets already, in float64."""
    module = CoordinateReadout(len(TARGETS), TARGETS, init).double()
    with torch.no_grad():
        module.to_targets.weight.copy_(torch.eye(len(TARGETS)).unsqueeze(-1))
        module.to_targets.bias.zero_()
    return module


def random_positions(*shape):
    direction = torch.randn(*shape, 3).double()
    return HEAD_RADIUS * direction / direction.norm(dim=-1, keepdim=True)


def sphere_through(points):
    """Centre and radius of the sphere that fits points best."""
    equations = np.c_[2 * points, np.ones(len(points))]
    solution = np.linalg.lstsq(equations, (points**2).sum(1), rcond=None)[0]
    centre = solution[:3]
    return centre, math.sqrt(solution[3] + centre @ centre)


def real_harmonics(degree, positions):
    """Real spherical harmonics of one degree, shape (orders, positions).

    Directions are seen from the centre of the sphere through the targets.
    """
    vectors = np.asarray(positions) - sphere_through(TARGETS.numpy())[0]
    vectors = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    polar = np.arccos(vectors[:, 2])
    azimuth = np.arctan2(vectors[:, 1], vectors[:, 0])
    orders = range(-degree, degree + 1)
    complex_ones = [sph_harm_y(degree, abs(m), polar, azimuth) for m in orders]
    pairs = zip(orders, complex_ones, strict=True)
    return np.array([y.imag if m < 0 else y.real for m, y in pairs])


def correlations(found, wanted):
    rows = zip(found, wanted, strict=True)
    return [float(np.corrcoef(row)[0, 1]) for row in rows]


# the start


@pytest.mark.parametrize(("degree", "least"), [(1, 0.97), (2, 0.92), (3, 0.82)])
def test_distance_start_interpolates_smooth_fields(degree, least):
    """The worst order: measured .977, .935 and .839; targets below the cap limit it."""
    fields = real_harmonics(degree, PHYSIONET.positions)
    x = torch.tensor(fields).unsqueeze(0).transpose(1, 2)  # orders stand for times
    y, _ = embedding()(x, torch.tensor(PHYSIONET.positions))
    found = y[0].T.detach().numpy()
    rs = correlations(found, real_harmonics(degree, TARGETS))
    assert len(rs) == 2 * degree + 1
    assert min(rs) >= least


@pytest.mark.parametrize(("degree", "least"), [(1, 0.97), (2, 0.92), (3, 0.82)])
def test_readout_brings_smooth_fields_back(degree, least):
    fields = torch.tensor(real_harmonics(degree, TARGETS)).T.unsqueeze(0)
    x = readout()(fields, torch.tensor(PHYSIONET.positions))
    found = x[0].T.detach().numpy()
    rs = correlations(found, real_harmonics(degree, PHYSIONET.positions))
    assert min(rs) >= least


def test_electrode_dominates_the_target_of_its_name():
    _, weights = embedding()(
        torch.zeros(1, 64, 1).double(), torch.tensor(PHYSIONET.positions)
    )
    targets = list(target_names())
    own = [
        weights[targets.index(name), row].item()
        for row, name in enumerate(PHYSIONET.names)
        if name in targets
    ]
    assert len(own) > 50
    assert abs(np.median(own) - 0.71) < 0.01
    assert min(own) > 0.5


def test_head_radius_is_that_of_the_targets():
    assert abs(sphere_through(TARGETS.numpy())[1] - HEAD_RADIUS) < 5e-4


def test_distance_start_falls_with_distance():
    pos = torch.tensor(PHYSIONET.positions)
    _, weights = embedding()(torch.zeros(1, 64, 1).double(), pos)
    by_distance = torch.cdist(TARGETS, pos).argsort(1)
    assert (weights.gather(1, by_distance).diff(dim=1) < 0).all()
    wanted = torch.exp(-20 * (torch.cdist(TARGETS, pos) / 0.099).square())
    wanted = wanted / wanted.sum(1, keepdim=True)
    torch.testing.assert_close(weights, wanted, rtol=1e-9, atol=1e-12)


def test_distance_start_can_learn():
    module = embedding()
    x, pos = torch.randn(2, 8, 5).double(), random_positions(8)
    module(x, pos)[0].square().sum().backward()
    assert module.weights.kappa.item() == 20
    assert module.weights.kappa.grad.abs() > 0
    assert module.weights.net[2].weight.grad.abs().sum() > 0


def test_published_start_is_nearly_uniform():
    pos = torch.tensor(PHYSIONET.positions)
    _, weights = embedding("published")(torch.zeros(1, 64, 1).double(), pos)
    assert 0.9 < weights.min() * 64 < 1 < weights.max() * 64 < 1.1


def test_published_start_has_the_published_parameters():
    module = CoordinateEmbedding(TARGETS.float(), "published")
    shapes = {name: tuple(p.shape) for name, p in module.weights.named_parameters()}
    assert shapes == {
        "net.0.weight": (32, 3),
        "net.0.bias": (32,),
        "net.2.weight": (1, 32),
        "net.2.bias": (1,),
    }


@pytest.mark.parametrize("init", ["", "uniform", None])
def test_unknown_start_is_refused(init):
    with pytest.raises(ValueError, match="init="):
        DistanceWeights(init)


# places


@pytest.mark.parametrize("init", INITS)
def test_weights_are_positive_and_sum_to_one(init):
    _, weights = embedding(init, trained=True)(
        torch.zeros(1, 20, 1).double(), random_positions(20)
    )
    assert weights.shape == (94, 20)
    assert (weights > 0).all()
    torch.testing.assert_close(weights.sum(1), torch.ones(94).double())


def test_constant_field_stays_constant():
    y, _ = embedding(trained=True)(
        torch.full((1, 7, 3), 2.5).double(), random_positions(7)
    )
    torch.testing.assert_close(y, torch.full((1, 94, 3), 2.5).double())


@pytest.mark.parametrize("init", INITS)
@given(order=st.permutations(range(9)))
def test_order_of_electrodes_changes_nothing(init, order):
    torch.manual_seed(0)
    module = embedding(init, trained=True)
    x, pos = torch.randn(2, 9, 5).double(), random_positions(9)
    y, weights = module(x, pos)
    other, permuted = module(x[:, order], pos[order])
    torch.testing.assert_close(other, y, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(permuted, weights[:, order], rtol=1e-12, atol=1e-12)


def test_order_at_the_readout_is_the_order_of_positions():
    module = readout()
    z, pos = torch.randn(2, 94, 5).double(), random_positions(9)
    order = torch.randperm(9)
    torch.testing.assert_close(module(z, pos[order]), module(z, pos)[:, order])


@pytest.mark.parametrize("init", INITS)
def test_positions_per_model_equal_positions_per_sample(init):
    module = embedding(init, trained=True)
    x, pos = torch.randn(3, 9, 5).double(), random_positions(9)
    y, weights = module(x, pos)
    each, each_weights = module(x, pos.expand(3, -1, -1))
    torch.testing.assert_close(each, y, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(each_weights, weights.expand(3, -1, -1))
    back = CoordinateReadout(94, TARGETS, init).double()
    torch.testing.assert_close(back(y, pos.expand(3, -1, -1)), back(y, pos))


def test_every_sample_has_its_own_positions():
    module = embedding(trained=True)
    x, pos = torch.randn(3, 9, 5).double(), random_positions(3, 9)
    y, weights = module(x, pos)
    assert weights.shape == (3, 94, 9)
    single = [module(x[[i]], pos[i])[0] for i in range(3)]
    torch.testing.assert_close(y, torch.cat(single), rtol=1e-12, atol=1e-12)


def test_readout_is_the_mirror_of_the_embedding():
    pos = torch.tensor(positions_from_names(["C3", "Cz", "C4", "Oz"]))
    there, back = embedding(), readout()
    with torch.no_grad():
        for module in (there, back):
            module.weights.kappa.fill_(7.0)
    _, weights = there(torch.zeros(1, 4, 1).double(), pos)
    logits = -7 * (torch.cdist(pos, TARGETS) / HEAD_RADIUS).square()
    torch.testing.assert_close(weights, logits.T.softmax(1))
    z = torch.randn(2, 94, 5).double()
    torch.testing.assert_close(back(z, pos), logits.softmax(1) @ z)


# absence


def with_rubbish(x, pos, mask):
    """Signals and positions in which all that is absent holds what is not a number."""
    x, pos = x.clone(), pos.clone()
    x[~mask] = torch.tensor([math.nan, math.inf, -math.inf, 1e30, 0.0]).double()
    pos[~mask] = math.nan
    return x, pos


@pytest.mark.parametrize("init", INITS)
def test_masked_channel_equals_one_left_out(init):
    module = embedding(init, trained=True)
    x, pos = torch.randn(2, 9, 5).double(), random_positions(9)
    present = torch.tensor([True, False, True, True, False, True, True, True, False])
    results = []
    wide_x, wide_pos = with_rubbish(x, pos.expand(2, -1, -1), present.expand(2, -1))
    for signals, places, mask in (
        (x[:, present], pos[present], None),
        (wide_x, wide_pos[0], present),
        (wide_x, wide_pos[0], present.expand(2, -1)),
        (wide_x, wide_pos, present),
        (wide_x, wide_pos, present.expand(2, -1)),
    ):
        module.zero_grad()
        signals = signals.clone().requires_grad_()
        places = places.clone().requires_grad_()
        y, weights = module(signals, places, mask)
        y.square().sum().backward()
        grads = [p.grad for p in module.parameters()]
        if mask is not None:
            assert (weights[..., ~present] == 0).all()
            assert (signals.grad[:, ~present] == 0).all()
            assert (places.grad[..., ~present, :] == 0).all()
            signals_grad = signals.grad[:, present]
        else:
            signals_grad = signals.grad
        results.append([y.detach(), signals_grad, *grads])
    for result in results[1:]:
        for found, wanted in zip(result, results[0], strict=True):
            torch.testing.assert_close(found, wanted, rtol=1e-10, atol=1e-11)


def test_every_sample_has_its_own_mask():
    module = embedding(trained=True)
    x, pos = torch.randn(2, 6, 5).double(), random_positions(6)
    mask = torch.rand(2, 6) > 0.4
    y, _ = module(x, pos, mask)
    for i in range(2):
        alone, _ = module(x[[i]][:, mask[i]], pos[mask[i]])
        torch.testing.assert_close(y[[i]], alone, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("init", INITS)
def test_readout_gives_zeros_for_masked_channels(init):
    module = CoordinateReadout(94, TARGETS, init).double()
    z = torch.randn(2, 94, 5).double().requires_grad_()
    pos = random_positions(2, 6)
    mask = torch.rand(2, 6) > 0.4
    wanted = module(z, pos) * mask.unsqueeze(-1)
    pos[~mask] = math.nan
    pos.requires_grad_()
    x = module(z, pos, mask)
    torch.testing.assert_close(x, wanted, rtol=1e-12, atol=1e-12)
    x.square().sum().backward()
    for tensor in (z, pos, *module.parameters()):
        assert torch.isfinite(tensor.grad).all()
    assert (pos.grad[~mask] == 0).all()


def test_readout_takes_one_mask_for_all_samples():
    module = readout()
    z, pos = torch.randn(2, 94, 5).double(), random_positions(4)
    present = torch.tensor([True, False, True, True])
    x = module(z, pos, present)
    torch.testing.assert_close(x[:, present], module(z, pos[present]))
    assert (x[:, 1] == 0).all()
    torch.testing.assert_close(module(z, pos, present.expand(2, -1)), x)


@pytest.mark.parametrize("layer", ["embedding", "readout"])
def test_windows_that_share_places_get_what_each_gets_alone(layer):
    torch.manual_seed(0)
    targets = torch.randn(6, 3) * 0.05
    pool = torch.randn(5, 3) * 0.05
    pos = pool[torch.randint(5, (8, 4))]
    ch_mask = torch.rand(8, 4) < 0.7
    ch_mask[:, 0] = True
    if layer == "embedding":
        module = CoordinateEmbedding(targets, "published").double()
    else:
        module = CoordinateReadout(3, targets, "published").double()
    pos, results = pos.double(), []
    for rows in (pos, pos.clone().requires_grad_()):  # together, and each for itself
        module.zero_grad()
        weights = module.mixing(rows, ch_mask)
        weights.square().sum().backward()
        gradients = [p.grad for p in module.weights.parameters()]
        results.append([weights.detach(), *gradients])
    for together, alone in zip(*results, strict=True):
        torch.testing.assert_close(together, alone, rtol=1e-12, atol=1e-15)
