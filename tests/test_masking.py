"""What masks promise: exact shares, whole blocks, draws that nothing else changes."""

import dataclasses
import json
import pickle

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from braindecode_samba import positions_from_names
from braindecode_samba.pretraining import (
    Masking,
    block_mask,
    mask_generator,
    random_mask,
    region_mask,
    temporal_semantic_mask,
)
from braindecode_samba.pretraining.choice import KINDS

TEN_TWENTY = "Fp1 Fp2 F7 F3 Fz F4 F8 T7 C3 Cz C4 T8 P7 P3 Pz P4 P8 O1 O2".split()
ratios = st.floats(0.05, 0.95)
times = st.integers(2, 300)
seeds = st.integers(0, 2**20)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def run_lengths(row):
    """Lengths of the runs of True in a mask of one window."""
    runs, current = [], 0
    for visible in [*row.tolist(), False]:
        if visible:
            current += 1
        elif current:
            runs.append(current)
            current = 0
    return runs


def visible_count(n_times, ratio):
    return min(max(1, round((1 - ratio) * n_times)), n_times - 1)


def block_count(n_times, ratio, n_blocks=8, min_length=4):
    visible = visible_count(n_times, ratio)
    return min(n_blocks, max(1, visible // min_length), n_times - visible + 1)


@pytest.fixture(scope="module")
def positions():
    place = torch.tensor(positions_from_names(TEN_TWENTY), dtype=torch.float32)
    return place.expand(6, -1, -1)


# temporal semantic masks


@given(ratio=ratios, n_times=times, seed=seeds)
def test_visible_share_is_exact(ratio, n_times, seed):
    mask = temporal_semantic_mask(5, n_times, ratio=ratio, generator=generator(seed))

    assert mask.shape == (5, n_times)
    assert mask.sum(1).tolist() == [visible_count(n_times, ratio)] * 5


@given(
    ratio=ratios,
    n_times=times,
    n_blocks=st.integers(1, 12),
    min_length=st.integers(1, 9),
    seed=seeds,
)
def test_blocks_are_as_many_and_as_long_as_promised(
    ratio, n_times, n_blocks, min_length, seed
):
    mask = temporal_semantic_mask(
        5,
        n_times,
        ratio=ratio,
        n_blocks=n_blocks,
        min_length=min_length,
        generator=generator(seed),
    )

    visible = visible_count(n_times, ratio)
    n = block_count(n_times, ratio, n_blocks, min_length)
    for row in mask:
        runs = run_lengths(row)
        assert len(runs) == n  # blocks that touched or overlapped would be fewer
        assert min(runs) >= min(min_length, visible)


def test_lengths_stay_within_the_scales():
    mask = temporal_semantic_mask(400, 1280, generator=generator())

    runs = torch.tensor([run_lengths(row) for row in mask])
    # the extremes: one block at one bound, the seven others at the other one
    assert runs.min() >= int(640 * 0.5 / (0.5 + 7 * 1.5))
    assert runs.max() <= 640 * 1.5 / (1.5 + 7 * 0.5) + 1
    spread = runs.double().std(0)
    assert spread.max() < 1.2 * spread.min()  # the last block is one like the others


def test_equal_scales_give_equal_blocks():
    mask = temporal_semantic_mask(
        20, 256, min_scale=1.0, max_scale=1.0, generator=generator()
    )

    assert {length for row in mask for length in run_lengths(row)} == {16}


def test_every_position_is_reached_by_both():
    share = temporal_semantic_mask(4000, 64, generator=generator()).double().mean(0)

    assert share.min() > 0.02
    assert share.max() < 0.98
    # the mirror image of a mask is as likely as the mask
    assert (share - share.flip(0)).abs().max() < 0.05


def test_gaps_are_uniform_over_all_partitions():
    # 2 blocks of 2 samples and 3 hidden ones: gaps (a, b, c), b >= 1, a + b + c = 3
    mask = temporal_semantic_mask(
        6000, 7, ratio=3 / 7, n_blocks=2, min_length=2, generator=generator()
    )

    kinds, counts = mask.unique(dim=0, return_counts=True)
    assert len(kinds) == 6
    assert (counts - 1000).abs().max() < 150  # five standard deviations


def test_short_windows_have_fewer_blocks():
    mask = temporal_semantic_mask(3, 32, generator=generator())

    assert [len(run_lengths(row)) for row in mask] == [4] * 3


@given(ratio=ratios, n_times=times, seed=seeds)
def test_same_generator_same_mask(ratio, n_times, seed):
    masks = [
        temporal_semantic_mask(2, n_times, ratio=ratio, generator=generator(seed))
        for _ in range(2)
    ]

    assert torch.equal(*masks)


def test_masks_need_no_seed_and_touch_no_global_state():
    before = torch.get_rng_state()

    first, second = (temporal_semantic_mask(4, 256) for _ in range(2))

    assert not torch.equal(first, second)
    assert torch.equal(torch.get_rng_state(), before)


def test_masks_per_channel_differ_between_channels():
    mask = temporal_semantic_mask(
        2, 128, per_channel=True, n_channels=3, generator=generator()
    )

    assert mask.shape == (2, 3, 128)
    assert (mask.sum(-1) == 64).all()
    assert not torch.equal(mask[:, 0], mask[:, 1])


def test_published_masks_are_those_of_the_paper():
    mask = temporal_semantic_mask(2000, 256, variant="published", generator=generator())

    assert mask.double().mean().item() == pytest.approx(0.502, abs=0.002)
    assert not mask[:, -1].any()
    exact = (mask.sum(1) == 128).double().mean().item()
    assert 0.85 < exact < 0.95
    share = mask.double().mean(0)
    assert share[0].item() == pytest.approx(0.03, abs=0.015)
    assert share[248].item() == pytest.approx(0.11, abs=0.03)
    assert share.max().item() == pytest.approx(0.71, abs=0.05)


def test_published_masks_draw_scales_before_gaps():
    mask = temporal_semantic_mask(3, 256, variant="published", generator=generator(5))

    draws = generator(5)
    scales = 0.5 + torch.rand(3, 7, generator=draws)
    shares = torch.rand(3, 9, generator=draws) + 1e-6
    for row in range(3):
        lengths = [max(4, int(16 * scale)) for scale in scales[row]]
        lengths.append(max(4, 128 - sum(lengths)))
        hidden = 256 - sum(lengths)
        gaps = (shares[row] / shares[row].sum() * hidden).floor().int().tolist()
        signs = []
        for gap, length in zip(gaps[:8], lengths, strict=True):
            signs += [False] * gap + [True] * length
        signs += [False] * (256 - len(signs))
        assert mask[row].tolist() == signs


# the other kinds


@given(ratio=ratios, n_times=times, seed=seeds)
def test_random_masks_show_an_exact_share(ratio, n_times, seed):
    mask = random_mask(3, n_times, ratio=ratio, generator=generator(seed))

    assert mask.sum(1).tolist() == [visible_count(n_times, ratio)] * 3


def test_random_masks_treat_all_positions_alike():
    share = random_mask(4000, 50, generator=generator()).double().mean(0)

    assert (share - 0.5).abs().max() < 0.04


@pytest.mark.parametrize("evenly", [False, True])
@given(ratio=ratios, n_times=times, seed=seeds)
def test_blocks_are_equal(evenly, ratio, n_times, seed):
    mask = block_mask(4, n_times, ratio=ratio, evenly=evenly, generator=generator(seed))

    assert mask.sum(1).tolist() == [visible_count(n_times, ratio)] * 4
    for row in mask:
        runs = run_lengths(row)
        assert len(runs) == block_count(n_times, ratio)
        assert max(runs) - min(runs) <= 1


@pytest.mark.parametrize("evenly", [False, True])
def test_blocks_reach_every_position(evenly):
    share = block_mask(2000, 64, evenly=evenly, generator=generator()).double().mean(0)

    assert share.min() > 0
    assert share.max() < 1


def test_even_blocks_lie_at_equal_distances():
    mask = block_mask(20, 256, evenly=True, generator=generator())

    starts = [row.int().diff(prepend=row.new_zeros(1).int()).eq(1) for row in mask]
    steps = {step for s in starts for step in s.nonzero()[:, 0].diff().tolist()}
    assert steps == {32}


@given(ratio=ratios, n_times=times, seed=seeds)
def test_regions_hide_an_exact_share(positions, ratio, n_times, seed):
    mask = region_mask(positions, n_times, ratio=ratio, generator=generator(seed))

    cells = 19 * n_times
    assert mask.shape == (6, 19, n_times)
    assert mask.sum((1, 2)).tolist() == [visible_count(cells, ratio)] * 6


def test_regions_hide_neighbours_together(positions):
    mask = region_mask(
        positions, 256, ratio=0.2, radius=0.07, generator=generator()
    ).double()

    hidden = 1 - mask.transpose(0, 1).flatten(1)
    together = torch.corrcoef(hidden)
    distance = torch.cdist(positions[0], positions[0])
    near = (distance > 0) & (distance < 0.07)
    assert together[near].mean() > together[distance > 0.14].mean() + 0.2


def test_regions_last_no_longer_than_their_span(positions):
    mask = region_mask(positions[:, :1], 256, ratio=0.1, span=16, generator=generator())

    # one electrode, 26 hidden samples: spans of 16 at most, two may be neighbours
    assert all(max(run_lengths(~row)) <= 32 for row in mask[:, 0])
    assert {len(run_lengths(~row)) for row in mask[:, 0]} >= {2}


def test_absent_channels_belong_to_no_region(positions):
    ch_mask = torch.ones(6, 19, dtype=torch.bool)
    ch_mask[:, 5:] = False

    mask = region_mask(positions, 100, ch_mask=ch_mask, generator=generator())

    assert mask[:, 5:].all()
    assert mask[:, :5].sum((1, 2)).tolist() == [250] * 6


# the choice of a run


@pytest.mark.parametrize("kind", KINDS)
def test_a_window_has_its_mask_in_any_batch(kind, positions):
    masking = Masking(kind=kind)
    index = torch.tensor([7, 3, 900, 5, 11, 2])

    together = masking(index, 128, 4, 1, positions)
    alone = masking(index[2:3], 128, 4, 1, positions[2:3])

    assert torch.equal(together[2], alone[0])
    assert len(together.unique(dim=0)) > 1


@pytest.mark.parametrize(
    "masking",
    [Masking(per_channel=True), Masking(kind="regions")],
    ids=["tsr", "region"],
)
def test_filling_up_channels_changes_no_mask(masking, positions):
    index = torch.arange(6)
    ch_mask = torch.ones(6, 25, dtype=torch.bool)
    ch_mask[:, 19:] = False
    filled = torch.cat([positions, torch.zeros(6, 6, 3)], 1)

    mask = masking(index, 100, 1, 0, filled, ch_mask)

    assert torch.equal(mask[:, :19], masking(index, 100, 1, 0, positions))


@given(seed=seeds, epoch=st.integers(0, 1000), index=st.integers(0, 10**9))
def test_seed_epoch_and_index_make_the_mask(seed, epoch, index):
    def draw(*key):
        return torch.rand(4, generator=mask_generator(*key)).tolist()

    base = draw(seed, epoch, index)
    assert base == draw(seed, epoch, index)
    assert base != draw(seed + 1, epoch, index)
    assert base != draw(seed, epoch + 1, index)
    assert base != draw(seed, epoch, index + 1)


def test_maskings_travel_as_pickle_and_json():
    masking = Masking(kind="regions", ratio=0.3, span=8)

    assert pickle.loads(pickle.dumps(masking)) == masking
    assert Masking(**json.loads(json.dumps(dataclasses.asdict(masking)))) == masking


# refusals


@pytest.mark.parametrize("ratio", [0.0, 1.0, -0.1, 1.5, float("nan")])
def test_shares_outside_0_and_1_are_refused(ratio, positions):
    calls = (
        lambda: temporal_semantic_mask(1, 64, ratio=ratio),
        lambda: random_mask(1, 64, ratio=ratio),
        lambda: block_mask(1, 64, ratio=ratio),
        lambda: region_mask(positions, 64, ratio=ratio),
        lambda: Masking(ratio=ratio),
    )
    for call in calls:
        with pytest.raises(ValueError, match="share between 0 and 1"):
            call()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"n_blocks": 0}, "n_blocks=0"),
        ({"min_length": 0}, "min_length=0"),
        ({"min_scale": 2.0}, "ascending"),
        ({"per_channel": True}, "n_channels"),
        ({"variant": "old"}, "variant='old'"),
        ({"variant": "published", "per_channel": True, "n_channels": 2}, "common"),
        ({"generator": [generator()] * 3}, "3 generators for 1 windows"),
    ],
)
def test_strange_settings_are_refused(arguments, words):
    with pytest.raises(ValueError, match=words):
        temporal_semantic_mask(1, 64, **arguments)


def test_windows_too_short_to_hide_anything_are_refused():
    with pytest.raises(ValueError, match="at least 2"):
        temporal_semantic_mask(1, 1)
    with pytest.raises(ValueError, match="32 samples and got 31"):
        temporal_semantic_mask(1, 31, variant="published")


def test_unknown_kinds_and_missing_positions_are_refused():
    with pytest.raises(ValueError, match="kind='ssp' is unknown"):
        Masking(kind="ssp")
    with pytest.raises(ValueError, match="common to all channels"):
        Masking(kind="random", per_channel=True)
    with pytest.raises(ValueError, match="pass positions"):
        Masking(kind="regions")(torch.arange(2), 64, 1, 0)
