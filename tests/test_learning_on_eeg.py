"""Pretraining on real recordings learns more than zeros and interpolation know.

The runs take minutes and are marked slow; the folder with ``eegmmidb/`` and ``eegmat/``
comes from the environment variable BRAINDECODE_SAMBA_DATA.  What a trained net is
compared with, and how, is tested on known signals in the usual suite.
"""

import os
from pathlib import Path

import numpy as np
import pytest
import torch

from braindecode_samba.pretraining import (
    Corpus,
    MontageAugmentation,
    OneCycle,
    SAMBAPretrainer,
    TimeFrequencyLoss,
    write_windows,
)
from braindecode_samba.pretraining.batches import (
    LengthBatchSampler,
    collate,
    window_lengths,
)
from braindecode_samba.pretraining.losses import LossSums

HELD_OUT = ("S017", "S018", "S019", "S020")
# the criterion of the runs: hidden samples alone, in a unit without window length
CRITERION = {"criterion__norm": "ortho", "criterion__region": "masked"}


def keep_zeros(target, mask):
    """Windows whose hidden samples are 0, the median."""
    return target.masked_fill(~mask.unsqueeze(1), 0.0)


def interpolate(target, mask):
    """Windows whose gaps are bridged by lines; the ends go on at their last value."""
    filled = target.clone()
    times = np.arange(target.shape[-1])
    for window, seen in zip(filled.numpy(), mask.numpy(), strict=True):
        for signal in window:
            signal[~seen] = np.interp(times[~seen], times[seen], signal[seen])
    return filled


def judge(net, dataset):
    """Parts of the loss of the net, of zeros and of interpolation, on the same masks.

    All three are judged by the net's criterion on the signals as the model scales them.
    """
    sums = {}
    batches = LengthBatchSampler(window_lengths(dataset), 64, shuffle=False)
    for rows in batches:
        batch = collate([dataset[row] for row in rows])
        target, output, mask = net.rebuild_batch(batch, net.masking)
        guesses = {
            "network": output,
            "zeros": keep_zeros(target, mask),
            "interpolation": interpolate(target, mask),
        }
        for name, guess in guesses.items():
            new = net.criterion_.sums(guess, target, mask, batch["ch_mask"])
            old = sums.get(name, [torch.zeros(())] * len(new))
            sums[name] = LossSums(*(a + b for a, b in zip(old, new, strict=True)))
    return {name: net.criterion_.parts(total) for name, total in sums.items()}


# what the net is compared with


@pytest.fixture
def gaps():
    return torch.tensor([[False, True, True, False, False, True, False]])


def test_zeros_stand_in_gaps_alone(gaps):
    target = torch.arange(1.0, 8.0).view(1, 1, 7)
    wanted = [[[0.0, 2.0, 3.0, 0.0, 0.0, 6.0, 0.0]]]
    assert keep_zeros(target, gaps).tolist() == wanted


def test_lines_bridge_gaps_and_ends_stay_level(gaps):
    hidden = 99.0
    target = torch.tensor(
        [[[hidden, 2, 3, hidden, hidden, 9, hidden], [hidden, 0, 1, 0, 0, -2, hidden]]]
    )
    wanted = [[[2, 2, 3, 5, 7, 9, 9], [0, 0, 1, 0, -1, -2, -2]]]
    np.testing.assert_allclose(interpolate(target, gaps), wanted, atol=1e-6)


def test_a_line_is_interpolated_without_loss_where_both_ends_are_visible():
    target = torch.linspace(-1, 1, 32).repeat(2, 3, 1)
    mask = torch.rand(2, 32) > 0.5
    mask[:, [0, -1]] = True
    loss = TimeFrequencyLoss(region="masked")
    assert loss(interpolate(target, mask), target, mask) < 1e-6
    assert loss(keep_zeros(target, mask), target, mask) > 0.1


def test_all_are_judged_by_the_criterion_of_the_net(make_eeg):
    net = SAMBAPretrainer(
        ch_names=["C3", "Cz", "C4"],
        sfreq=128,
        module__d_state=4,
        module__expand=2,
        max_epochs=1,
        lr=0.0,
        random_state=0,
        device="cpu",
        verbose=0,
        **CRITERION,
    )
    windows = make_eeg(70, 3, 64).numpy()
    net.fit(windows, valid=windows)
    found = judge(net, net.get_dataset(windows))
    # nothing is learnt at a rate of 0, so that validation saw the same network
    assert float(found["network"].loss) == pytest.approx(
        net.history[-1, "valid_loss"], rel=1e-4
    )
    target, _, mask = net.rebuild_batch(
        collate([net.get_dataset(windows)[row] for row in range(70)]), net.masking
    )
    hidden = target.masked_select(~mask.unsqueeze(1))
    assert float(found["zeros"].time) == pytest.approx(float(hidden.abs().mean()))
    # one-sided bins of a real signal hold its power once, up to the edges
    power = float(hidden.square().mean())
    assert float(found["zeros"].frequency) == pytest.approx(power, rel=0.1)


# the runs


def recordings(name, taken, files="**/*.edf"):
    """Files of a data set and whose they are, for subjects that `taken` accepts."""
    root = os.environ.get("BRAINDECODE_SAMBA_DATA")
    if not root or not Path(root, name).is_dir():
        pytest.skip(f"BRAINDECODE_SAMBA_DATA names no folder with {name}/")
    found = sorted(Path(root, name).glob(files))
    whose = [file.stem.split("_")[0].split("R")[0] for file in found]
    kept = [(f, s) for f, s in zip(found, whose, strict=True) if taken(s)]
    return [file for file, _ in kept], [subject for _, subject in kept]


def store(folder, name, taken, files="**/*.edf", stride=0.5):
    """Windows of 2 s, 1 to 45 Hz, 128 Hz; what is no electrode is left out."""
    paths, whose = recordings(name, taken, files)
    return write_windows(
        paths, folder, stride_seconds=stride, subjects=whose, unknown="drop"
    )


def pretrainer(max_epochs, **settings):
    defaults = {
        "max_epochs": max_epochs,
        "batch_size": 32,
        "lr": 2e-3,
        "callbacks": [OneCycle()],
        "random_state": 0,
        "device": "cpu",
    }
    return SAMBAPretrainer(**defaults | CRITERION | settings)


def report(title, parts):
    print(f"\n{title}")
    for name, part in parts.items():
        print(
            f"  {name:14} loss {float(part.loss):.4f}  mean|e| {float(part.time):.4f}  "
            f"mean|F e|^2 {float(part.frequency):.4f}"
        )


def learn(folder, train_on, held_out, max_epochs=5, **settings):
    """Train on some subjects of eegmmidb, and judge on others."""
    train = store(folder / "train", "eegmmidb", train_on)
    test = store(folder / "test", "eegmmidb", held_out)
    print(f"{len(train)} windows of {train.subjects}, judged on {test.subjects}")
    net = pretrainer(max_epochs, **settings).fit(train, valid=test)
    columns = ("epoch", "train_loss", "valid_loss", "valid_time", "dur")
    for row in net.history[:, columns]:
        named = zip(columns, row, strict=True)
        print("  " + "  ".join(f"{name} {value:.4g}" for name, value in named))
    found = judge(net, test)
    report("hidden samples of subjects that were not trained on", found)
    return found


@pytest.mark.slow
@pytest.mark.timeout(7200)
def test_five_epochs_beat_zeros_and_interpolation_on_other_subjects(tmp_path):
    found = learn(tmp_path, lambda s: s not in HELD_OUT, lambda s: s in HELD_OUT)
    assert found["network"].loss <= 0.8 * found["zeros"].loss
    assert found["network"].loss <= 0.9 * found["interpolation"].loss


def mixed_sources(folder, hands, states, stride):
    """64 electrodes, two montages made of them, and 19 with their old names."""
    whole = store(folder / "64", "eegmmidb", hands, "*/*R04.edf", stride)
    return {
        "eegmmidb, 64": whole,
        "Emotiv, 14": MontageAugmentation(whole, ["emotiv_epoc_14"]),
        "bipolar, 16": MontageAugmentation(whole, ["tuh_bipolar_16"]),
        "eegmat, 19": store(folder / "19", "eegmat", states, stride=stride),
    }


def learn_mixed(folder, train_on, held_out, max_epochs=3, stride=1.0, **settings):
    """Train one model on four montages at once; losses before and after, of each."""
    train = mixed_sources(folder / "train", *train_on, stride)
    test = mixed_sources(folder / "test", *held_out, stride)
    assert [source[0]["x"].shape[0] for source in test.values()] == [64, 14, 16, 19]
    # fit begins anew, from the same seed
    net = pretrainer(max_epochs, **settings).initialize()
    before = {name: judge(net, part) for name, part in test.items()}
    net.fit(Corpus(train, mixing="balanced"))
    after = {name: judge(net, part) for name, part in test.items()}
    for name in test:
        report(f"{name}, before", before[name])
        report(f"{name}, after", {"network": after[name]["network"]})
    return before, after


@pytest.mark.slow
@pytest.mark.timeout(7200)
def test_one_model_learns_four_montages_at_once(tmp_path):
    hands = ("S011", "S012", "S013", "S014", "S015", "S016")
    states = ("Subject00", "Subject01")
    before, after = learn_mixed(
        tmp_path,
        (lambda s: s in hands, lambda s: s in states),
        (lambda s: s in HELD_OUT, lambda s: s == "Subject02"),
    )
    for name, parts in after.items():
        assert parts["network"].loss < before[name]["network"].loss, name
        assert parts["network"].loss < parts["zeros"].loss, name
