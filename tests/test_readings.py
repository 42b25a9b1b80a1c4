"""The head that reads everything, as a module of torch: sizes, gradients, exports."""

import pytest
import torch
from torch import nn

from braindecode_samba import SAMBA, chs_info_from_names
from braindecode_samba.nn.measures import WindowMeasures, bandpass_filter, smooth_maps
from braindecode_samba.signals.template import target_positions

NAMES = ("F3", "F4", "C3", "Cz", "C4", "P3", "P4", "O1")
CHS_INFO = chs_info_from_names(NAMES)
SMALL = {"d_state": 4, "expand": 2}
TARGETS = torch.tensor(target_positions(), dtype=torch.float32)


def build(**options):
    torch.manual_seed(0)
    options = {"n_outputs": 2, "chs_info": CHS_INFO, "sfreq": 128, **SMALL, **options}
    model = SAMBA(head="readings", **options)
    # as if it had been solved: no filter is zero
    for name, value in model.head.readings.named_buffers():
        if name.endswith(("filters", "expected", "whitener")):
            value.normal_(std=0.2)
    return model


@pytest.fixture(scope="module")
def model():
    """In eval mode. Not to be changed by a test."""
    return build().eval()


def draw(n=2, n_chans=8, n_times=160):
    generator = torch.Generator().manual_seed(0)
    return torch.randn(n, n_chans, n_times, generator=generator)


DEGENERATE = {
    "zeros": torch.zeros(2, 8, 160),
    "one of them zero": torch.cat([draw(1), torch.zeros(1, 8, 160)]),
    "constant": torch.ones(2, 8, 160),
    "one signal in all channels": draw(2, 1).expand(2, 8, 160).clone(),
    "two signals": torch.randn(8, 2) @ draw(2, 2),
    "average reference": draw() - draw().mean(1, keepdim=True),
    "batch of one": draw(1),
    "eight samples": draw(2, 8, 8),
    "a line": torch.linspace(0, 1, 160).expand(2, 8, 160).clone(),
    "a sine": torch.sin(0.5 * torch.arange(160.0)).expand(2, 8, 160).clone(),
    "a jump": (torch.arange(160) > 80).float().expand(2, 8, 160).clone(),
}


@pytest.mark.parametrize("gain", [1e-6, 1.0, 1e6])
@pytest.mark.parametrize("case", DEGENERATE)
@pytest.mark.parametrize("n_outputs", [2, 3])
def test_gradients_are_finite(case, gain, n_outputs):
    model = build(n_outputs=n_outputs, drop_prob=0.0)
    x = (gain * DEGENERATE[case]).requires_grad_()
    output = model(x)
    assert torch.isfinite(output).all()
    output.square().sum().backward()
    assert torch.isfinite(x.grad).all()
    for name, value in model.named_parameters():
        assert value.grad is None or torch.isfinite(value.grad).all(), name


def test_gradients_of_the_signals_are_those_of_differences():
    model = build(drop_prob=0.0).double().eval()
    x = draw(1, 8, 40).double().requires_grad_()
    direction = draw(1, 8, 40).double().flip(2)
    model(x)[0, 0].backward()
    step = 1e-6
    with torch.no_grad():
        change = model(x + step * direction) - model(x - step * direction)
    slope = change[0, 0] / (2 * step)
    torch.testing.assert_close((x.grad * direction).sum(), slope, rtol=1e-4, atol=1e-6)


@torch.no_grad()
def test_windows_do_not_affect_each_other(model):
    x = draw(5)
    together = model(x)
    for i in range(5):
        torch.testing.assert_close(model(x[i : i + 1])[0], together[i])


@torch.no_grad()
@pytest.mark.parametrize("gain", [1e-6, 1e3])
def test_only_loudness_has_a_unit(model, gain):
    x = draw()
    before = model(x, return_features=True)["features"]
    after = model(gain * x, return_features=True)["features"]
    sizes = [block.n_features for block in model.head.readings.blocks.values()]
    for name, one, other in zip(
        model.head.readings.blocks,
        before.split(sizes, 1),
        after.split(sizes, 1),
        strict=True,
    ):
        if name != "loudness":
            torch.testing.assert_close(other, one, rtol=1e-3, atol=1e-3)
            continue
        grown = torch.log(torch.tensor(gain)).expand_as(one)
        torch.testing.assert_close(other - one, grown, rtol=0.2, atol=1e-3)


@torch.no_grad()
def test_absent_channels_have_no_influence(model):
    x = draw()
    present = torch.ones(2, 8, dtype=torch.bool)
    present[:, 5:] = False
    loud = x.clone()
    loud[:, 5:] = 100 * loud[:, 5:]
    torch.testing.assert_close(model(loud, None, present), model(x, None, present))


@torch.no_grad()
def test_the_order_of_channels_has_no_influence(model):
    x, order = draw(), [3, 0, 7, 5, 1, 6, 2, 4]
    pos = model.trunk.positions.default
    torch.testing.assert_close(
        model(x[:, order], pos[order]), model(x), rtol=1e-3, atol=1e-3
    )


# exports


@torch.no_grad()
@pytest.mark.parametrize("batch", [1, 2])
def test_exported_programs_equal_the_model(model, batch):
    x = draw(batch)
    program = torch.export.export(model, args=(x,), strict=False)
    torch.testing.assert_close(program.module()(x), model(x), rtol=1e-4, atol=1e-5)


class Plain(nn.Module):
    """Head alone, as TorchScript takes it."""

    def __init__(self, head):
        super().__init__()
        self.head = head

    def forward(self, x, signals, mixing, variances):
        return self.head(x, signals, mixing, variances)


@torch.no_grad()
def test_a_scripted_head_equals_the_head(model):
    stages = model.trunk(draw())
    variances = torch.randn(2, 384)
    arguments = (draw(), stages.signals, stages.weights, variances)
    scripted = torch.jit.script(Plain(model.head))
    torch.testing.assert_close(scripted(*arguments), model.head(*arguments))


# measures


@pytest.mark.parametrize(("low", "high"), [(0.0, 12.0), (8.0, 13.0), (30.0, 45.0)])
def test_filters_pass_their_band(low, high):
    filter_ = bandpass_filter(low, high, 128.0)
    frequencies = torch.fft.rfftfreq(1024, 1 / 128)
    gain = torch.fft.rfft(filter_, 1024).abs()
    inside = (frequencies - (low + high) / 2).abs() < (high - low) / 8
    outside = (frequencies < low - 5) | (frequencies > high + 5)
    torch.testing.assert_close(gain[inside].max(), torch.tensor(1.0), rtol=0, atol=0.15)
    assert gain[outside].max() < 0.05


def test_maps_are_smooth_and_apart():
    maps = smooth_maps(TARGETS, 12)
    torch.testing.assert_close(maps @ maps.T, torch.eye(12), rtol=0, atol=1e-4)
    near = torch.cdist(TARGETS, TARGETS) < 0.03
    roughness = [((m[:, None] - m) ** 2)[near].mean() for m in maps]
    assert sum(roughness[:4]) < sum(roughness[8:]) / 2


@pytest.mark.parametrize("frequency", [6.0, 10.0, 17.5, 33.0])
def test_steady_responses_peak_at_their_frequency(frequency):
    measures = WindowMeasures(TARGETS, 128.0)
    t = torch.arange(512) / 128
    generator = torch.Generator().manual_seed(0)
    signals = torch.randn(6, 16, 512, generator=generator)
    phase = torch.rand(6, 1, generator=generator) * 6.28
    signals[:, 3] += torch.sin(2 * torch.pi * frequency * t + phase)
    found = measures.steady(signals - signals.mean(-1, keepdim=True))
    offered = measures.frequencies * 128
    # of half the frequency it is the harmonic
    alike = [(offered - f).abs() <= 0.5 for f in (frequency, frequency / 2)]
    others = found[:, ~(alike[0] | alike[1])]
    assert (found[:, offered == frequency] > others.max(1, keepdim=True).values).all()


def test_evoked_points_are_locked_to_the_start():
    measures = WindowMeasures(TARGETS, 128.0, n_points=8, samples_per_point=2)
    slow = torch.arange(11.0).expand(1, 2, 11)
    found = measures.points(slow)[0, 0]
    assert found.tolist() == [0.5, 2.5, 4.5, 6.5, 8.5, 5.0, 0.0, 0.0]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"sfreq": 90.0}, "45 Hz that head='readings' reads"),
        ({"n_points": 0}, "n_points=0"),
        ({"samples_per_point": 0}, "samples_per_point=0"),
    ],
)
def test_measures_that_can_not_be_are_refused(options, said):
    with pytest.raises(ValueError, match=said):
        WindowMeasures(TARGETS, **{"sfreq": 128.0, **options})
