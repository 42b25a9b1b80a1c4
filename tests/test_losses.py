"""What the pretraining loss promises: the published formula, and counts of its own."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from braindecode_samba.pretraining import TimeFrequencyLoss, temporal_semantic_mask
from braindecode_samba.pretraining.losses import LossSums


def windows(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


@given(
    alpha=st.floats(0.01, 10),
    beta=st.floats(0.01, 10),
    n_times=st.integers(2, 70),
    seed=st.integers(0, 99),
)
def test_published_loss_is_its_formula(alpha, beta, n_times, seed):
    output, target = windows(2, 2, 3, n_times, seed=seed)
    error = output - target

    loss = TimeFrequencyLoss(alpha, beta, norm="backward")(output, target)

    time = error.abs().mean()
    frequency = torch.fft.rfft(error).abs().square().mean()
    expected = alpha * time + beta * frequency
    assert loss.item() == pytest.approx(expected.item(), rel=1e-12)


@pytest.mark.parametrize("n_times", [100, 128, 1001])
def test_ortho_is_the_same_for_a_window_and_its_repetition(n_times):
    error = windows(2, 3, n_times)
    loss = TimeFrequencyLoss(norm="ortho")

    once = loss(error, torch.zeros_like(error)).item()
    repeated = error.repeat(1, 1, 2)
    twice = loss(repeated, torch.zeros_like(repeated)).item()

    assert twice == pytest.approx(once, rel=0.01)


@pytest.mark.parametrize("norm", ["ortho", "backward"])
@pytest.mark.parametrize("region", ["all", "masked"])
def test_absent_channels_do_not_count(norm, region):
    output, target = windows(2, 3, 4, 64)
    mask = temporal_semantic_mask(3, 64, generator=torch.Generator().manual_seed(0))
    ch_mask = torch.tensor([[True, True, False, False]]).expand(3, -1)
    loss = TimeFrequencyLoss(norm=norm, region=region)

    filled = loss(output, target, mask, ch_mask)

    cut = loss(output[:, :2], target[:, :2], mask)
    assert filled.item() == pytest.approx(cut.item(), rel=1e-12)


def test_absent_channels_may_hold_anything_and_have_no_gradient():
    output, target = windows(2, 1, 2, 32)
    output[:, 1] = float("nan")
    output.requires_grad_()

    loss = TimeFrequencyLoss()(output, target, ch_mask=torch.tensor([True, False]))
    loss.backward()

    assert math.isfinite(loss.item())
    assert output.grad[:, 0].abs().min() > 0
    assert (output.grad[:, 1] == 0).all()


@pytest.mark.parametrize("per_channel", [False, True])
def test_masked_region_judges_hidden_samples_alone(per_channel):
    output, target = windows(2, 2, 3, 64)
    mask = temporal_semantic_mask(
        2,
        64,
        per_channel=per_channel,
        n_channels=3,
        generator=torch.Generator().manual_seed(0),
    )
    visible = mask if per_channel else mask.unsqueeze(1).expand(-1, 3, -1)
    error = (output - target).masked_fill(visible, 0.0)

    loss = TimeFrequencyLoss(2.0, 0.5, region="masked")
    value = loss(output, target, mask)

    time = error.abs().sum() / (~visible).sum()
    frequency = torch.fft.rfft(error, norm="ortho").abs().square().mean() / 0.5
    assert value.item() == pytest.approx((2 * time + 0.5 * frequency).item(), rel=1e-12)
    other = output + visible * 100
    assert loss(other, target, mask).item() == pytest.approx(value.item(), rel=1e-12)


@pytest.mark.parametrize("ratio", [0.1, 0.5, 0.9])
def test_masked_parts_do_not_depend_on_the_share(ratio):
    error = windows(64, 4, 256)
    mask = temporal_semantic_mask(
        64, 256, ratio=ratio, generator=torch.Generator().manual_seed(0)
    )
    loss = TimeFrequencyLoss(region="masked")

    parts = loss.parts(loss.sums(error, torch.zeros_like(error), mask))

    assert parts.time.item() == pytest.approx(math.sqrt(2 / math.pi), rel=0.03)
    assert parts.frequency.item() == pytest.approx(1.0, rel=0.03)


def test_sums_of_parts_of_a_batch_make_its_loss():
    output, target = windows(2, 5, 3, 48)
    ch_mask = torch.ones(5, 3, dtype=torch.bool)
    ch_mask[0, 1:] = False
    loss = TimeFrequencyLoss()

    whole = loss(output, target, ch_mask=ch_mask)
    first, rest = (
        loss.sums(output[part], target[part], ch_mask=ch_mask[part])
        for part in (slice(2), slice(2, None))
    )
    joined = LossSums(*(a + b for a, b in zip(first, rest, strict=True)))

    assert loss.parts(joined).loss.item() == pytest.approx(whole.item(), rel=1e-12)


def test_parts_are_the_means_before_weighting():
    output, target = windows(2, 2, 3, 48)
    loss = TimeFrequencyLoss(alpha=3.0, beta=0.25)

    parts = loss.parts(loss.sums(output, target))

    assert parts.time.item() == pytest.approx((output - target).abs().mean().item())
    assert parts.loss.item() == pytest.approx(
        3 * parts.time.item() + 0.25 * parts.frequency.item()
    )


def test_half_precision_is_summed_in_single():
    output = torch.full((2, 3, 64), 300.0, dtype=torch.bfloat16)

    loss = TimeFrequencyLoss(norm="backward")(output, torch.zeros_like(output))

    assert loss.dtype == torch.float32
    assert torch.isfinite(loss)


def test_a_batch_without_anything_to_judge_has_loss_zero():
    output, target = windows(2, 1, 2, 16)
    everything = torch.ones(1, 16, dtype=torch.bool)

    assert TimeFrequencyLoss(region="masked")(output, target, everything) == 0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"alpha": -1.0}, "alpha=-1.0"),
        ({"beta": float("inf")}, "beta=inf"),
        ({"alpha": 0.0, "beta": 0.0}, "give one part"),
        ({"gamma": 1.0, "sfreq": 60.0}, "sfreq=60"),
        ({"norm": "forward"}, "norm='forward'"),
        ({"region": "hidden"}, "region='hidden'"),
    ],
)
def test_strange_settings_are_refused(arguments, words):
    with pytest.raises(ValueError, match=words):
        TimeFrequencyLoss(**arguments)


def test_missing_masks_and_other_shapes_are_refused():
    with pytest.raises(ValueError, match="needs the mask"):
        TimeFrequencyLoss(region="masked")(windows(1, 2, 8), windows(1, 2, 8))
    with pytest.raises(ValueError, match=r"\(1, 2, 8\) and target \(1, 1, 8\)"):
        TimeFrequencyLoss()(windows(1, 2, 8), windows(1, 1, 8))


def rhythm(hz, amplitude=1.0, n_times=512, phase=0.0):
    t = torch.arange(n_times, dtype=torch.float64) / 128
    return amplitude * torch.sin(2 * math.pi * hz * t + phase).view(1, 1, -1)


def test_envelopes_know_strength_and_not_phase():
    loss = TimeFrequencyLoss(alpha=0, beta=0, gamma=1)
    target = rhythm(10)

    shifted = loss(rhythm(10, phase=1.5), target)
    weaker = loss(rhythm(10, amplitude=0.5), target)

    assert shifted < 0.05
    # two of the three bands hold nearly nothing: a third of log 4
    assert weaker.item() == pytest.approx(math.log(4) / 3, rel=0.25)


def test_envelopes_of_a_rebuilt_window_are_those_of_hidden_samples():
    target = rhythm(10, n_times=1024)
    mask = torch.ones(1, 1024, dtype=torch.bool)
    mask[:, :256] = False
    wrong = target.clone()
    wrong[..., 512:] = 0  # visible: not judged
    silent = target.clone()
    silent[..., :256] = 0
    loss = TimeFrequencyLoss(alpha=0, beta=0, gamma=1, region="masked")

    assert loss(wrong, target, mask) == 0
    assert loss(silent, target, mask) > 0.5


@pytest.mark.parametrize("region", ["all", "masked"])
def test_envelopes_leave_out_absent_channels_and_their_gradient(region):
    output, target = windows(2, 2, 3, 128)
    output = output.requires_grad_()
    target = target.clone()
    target[:, 2] = float("nan")
    mask = temporal_semantic_mask(2, 128, generator=torch.Generator().manual_seed(0))
    present = torch.tensor([True, True, False])
    loss = TimeFrequencyLoss(gamma=1, region=region)

    whole = loss(output, target, mask, present)
    whole.backward()

    part = loss(output[:, :2], target[:, :2], mask)
    assert whole.item() == pytest.approx(part.item(), rel=1e-12)
    assert torch.isfinite(output.grad).all()
    assert not output.grad[:, 2].any()


def test_envelopes_need_half_a_second():
    with pytest.raises(ValueError, match="63 samples"):
        TimeFrequencyLoss(gamma=1)(windows(1, 2, 63), windows(1, 2, 63))
