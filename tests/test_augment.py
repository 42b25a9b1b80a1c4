"""One corpus of 64 electrodes gives windows of many montages."""

import copy
import pickle

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.utils.data import DataLoader, Dataset

from braindecode_samba import load_montage, positions_from_names
from braindecode_samba.pretraining import Corpus, MontageAugmentation
from braindecode_samba.pretraining.batches import LengthBatchSampler, collate


class Windows(Dataset):
    """Windows of one montage; channel k of window n is constant n + k / 100."""

    def __init__(self, names, n_windows=40):
        self.names = list(names)
        self.pos = torch.tensor(positions_from_names(self.names), dtype=torch.float32)
        self.n_windows = n_windows

    def __len__(self):
        return self.n_windows

    def __getitem__(self, row):
        if row >= self.n_windows:
            raise IndexError(row)
        levels = row + torch.arange(len(self.names)) / 100
        return {"x": levels[:, None].repeat(1, 8), "pos": self.pos, "index": row}


@pytest.fixture(scope="module")
def windows():
    return Windows(load_montage("physionetmi_64").names)


@pytest.fixture(scope="module")
def clinical():
    return Windows(load_montage("clinical_19").names)


def same(one, other):
    return all(torch.equal(one[name], other[name]) for name in ("x", "pos"))


@pytest.mark.parametrize("kind", ["emotiv_epoc_14", "clinical_19"])
def test_electrodes_of_a_montage_are_those_of_its_names(windows, kind):
    montage = load_montage(kind)
    item = MontageAugmentation(windows, [kind])[3]
    np.testing.assert_allclose(item["pos"], montage.positions, atol=1e-6)
    new = {"T3": "T7", "T4": "T8", "T5": "P7", "T6": "P8"}
    rows = [windows.names.index(new.get(name, name)) for name in montage.names]
    assert torch.equal(item["x"], windows[3]["x"][rows])
    assert item["index"] == 3


def test_pairs_are_differences_at_midpoints(windows):
    montage = load_montage("tuh_bipolar_16")
    item = MontageAugmentation(windows, ["tuh_bipolar_16"])[0]
    assert item["x"].shape == (16, 8)
    np.testing.assert_allclose(item["pos"], montage.positions, atol=1e-6)
    # Fp1-F7, the first of them
    levels = windows[0]["x"][:, 0]
    difference = levels[windows.names.index("Fp1")] - levels[windows.names.index("F7")]
    torch.testing.assert_close(item["x"][0], difference.expand(8))


def test_a_neighbour_stands_in_at_its_own_place(windows):
    item = MontageAugmentation(windows, ["muse_4"])[0]
    expected = positions_from_names(["T9", "AF7", "AF8", "T10"])
    np.testing.assert_allclose(item["pos"], expected, atol=1e-6)


def test_a_montage_that_is_not_there_is_not_drawn(clinical):
    never = MontageAugmentation(clinical, ["muse_4", "emotiv_epoc_14"])
    assert all(same(never[row], clinical[row]) for row in range(5))
    some = MontageAugmentation(clinical, ["emotiv_epoc_14", "tuh_bipolar_16"])
    assert {len(some[row]["x"]) for row in range(10)} == {16}


def test_channels_without_a_position_stand_in_for_nothing(windows):
    pos = windows.pos.clone()
    pos[windows.names.index("AF7")] = float("nan")
    broken = copy.copy(windows)
    broken.pos = pos
    item = MontageAugmentation(broken, ["muse_4"])[0]
    assert len(item["x"]) == 4
    assert item["pos"].isfinite().all()


@given(seed=st.integers(0, 1000), n_chans=st.integers(1, 64))
def test_random_montages_hold_channels_of_the_window(seed, n_chans):
    names = load_montage("physionetmi_64").names[:n_chans]
    windows = Windows(names, n_windows=3)
    for kind in ("dropout", "subset"):
        item = MontageAugmentation(windows, [kind], seed=seed)[2]
        rows = torch.round((item["x"][:, 0] - 2) * 100).long().tolist()
        least = min(4, n_chans) if kind == "subset" else 1
        assert least <= len(rows) == len(set(rows)) <= n_chans
        assert torch.equal(item["x"], windows[2]["x"][rows])
        assert torch.equal(item["pos"], windows.pos[rows])


def test_dropout_takes_a_fifth_and_subsets_reach_few_and_many(windows):
    many = copy.copy(windows)
    many.n_windows = 300
    left = [len(item["x"]) for item in MontageAugmentation(many, ["dropout"])]
    assert 0.75 < np.mean(left) / 64 < 0.85
    sizes = [len(item["x"]) for item in MontageAugmentation(many, ["subset"])]
    assert min(sizes) <= 5
    assert max(sizes) >= 58
    # half of them on either side of the geometric mean of 4 and 64
    assert 0.4 < np.mean(np.array(sizes) < 16) < 0.6


def test_kinds_come_as_often_as_they_should(windows):
    many = copy.copy(windows)
    many.n_windows = 400
    kinds = ["all", "emotiv_epoc_14", "muse_4", "clinical_19"]
    augmented = MontageAugmentation(many, kinds, [1, 2, 1, 0])
    sizes = [len(item["x"]) for item in augmented]
    shares = [np.mean(np.array(sizes) == size) for size in (64, 14, 4, 19)]
    np.testing.assert_allclose(shares, [0.25, 0.5, 0.25, 0], atol=0.08)
    assert shares[3] == 0


def test_what_is_drawn_follows_from_seed_epoch_and_index(windows):
    one, other = MontageAugmentation(windows), MontageAugmentation(windows)
    assert all(same(a, b) for a, b in zip(one, other, strict=True))
    other.set_epoch(1)
    assert not all(same(a, b) for a, b in zip(one, other, strict=True))
    one.set_epoch(1)
    # in any order of access
    assert all(same(one[row], other[row]) for row in reversed(range(40)))
    reseeded = MontageAugmentation(windows, seed=1)
    reseeded.set_epoch(1)
    assert not all(same(a, b) for a, b in zip(one, reseeded, strict=True))


def test_the_window_itself_is_not_changed(windows):
    whole = windows[0]
    before = whole["x"].clone()
    item = MontageAugmentation([whole], ["all"])[0]
    item["x"].zero_()
    assert torch.equal(whole["x"], before)


@pytest.mark.parametrize("copied", [False, True])
def test_workers_that_live_on_hear_of_the_next_epoch(windows, copied):
    augmented = MontageAugmentation(windows, ["subset"])
    if copied:
        augmented = pickle.loads(pickle.dumps(copy.deepcopy(augmented)))
    loader = DataLoader(
        augmented,
        batch_size=8,
        collate_fn=collate,
        num_workers=2,
        persistent_workers=True,
    )
    for epoch in (1, 2):
        augmented.set_epoch(epoch)
        alone = MontageAugmentation(windows, ["subset"])
        alone.set_epoch(epoch)
        expected = DataLoader(alone, batch_size=8, collate_fn=collate)
        for one, other in zip(loader, expected, strict=True):
            assert torch.equal(one["ch_mask"], other["ch_mask"])
            assert torch.equal(one["x"], other["x"])


def test_corpora_are_augmented_from_outside_and_inside(windows, clinical):
    outside = MontageAugmentation(Corpus([windows, clinical], "truncated"))
    inside = Corpus([MontageAugmentation(windows, ["muse_4"]), clinical])
    assert outside.order(1, 0).shape == (80,)
    assert not hasattr(MontageAugmentation(windows), "order")
    inside.set_epoch(3)
    assert int(inside.sources[0]._epoch) == 3
    for corpus in (outside, inside):
        sampler = LengthBatchSampler(corpus.lengths, 16, order=corpus.order)
        batch = collate([corpus[row] for row in next(iter(sampler))])
        assert batch["x"].isfinite().all()
        assert len(set(batch["ch_mask"].sum(1).tolist())) > 1


@pytest.mark.parametrize(
    ("kinds", "probabilities", "message"),
    [
        ([], None, "no kinds"),
        ("all", None, "one text"),
        (["all", "all"], None, "twice"),
        (["emotif"], None, "'emotif' is neither"),
        (["all", "subset"], [1.0], "pass 2 numbers"),
        (["all", "subset"], [1.0, -1.0], "pass 2 numbers"),
        (["all", "subset"], [1.0, float("nan")], "pass 2 numbers"),
        (["all"], [0.0], "all probabilities are 0"),
    ],
)
def test_kinds_that_can_not_be_drawn_are_refused(
    windows, kinds, probabilities, message
):
    with pytest.raises(ValueError, match=message):
        MontageAugmentation(windows, kinds, probabilities)
