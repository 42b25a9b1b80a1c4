"""What the net for pretraining promises: any windows in, the same run every time."""

import json
import os
import pickle
import resource
import subprocess
import sys
from pathlib import Path

import mne
import numpy as np
import pytest
import safetensors.torch
import torch
from accelerate import Accelerator
from braindecode.datasets import BaseConcatDataset, RawDataset, create_from_X_y
from braindecode.preprocessing import create_fixed_length_windows
from pretraining_run import MOTOR, SMALL, make_net, make_windows
from sklearn.base import clone
from skorch.helper import predefined_split
from torch.utils.data import ConcatDataset, Dataset, Subset

from braindecode_samba import SAMBAReconstructor, positions_from_names
from braindecode_samba.pretraining import (
    AcceleratedPretrainer,
    Masking,
    SAMBAPretrainer,
    TimeFrequencyLoss,
    TrainingCheckpoint,
)
from braindecode_samba.pretraining.batches import (
    LengthBatchSampler,
    collate,
    window_lengths,
)
from braindecode_samba.pretraining.windows import as_dataset


def make_epochs(ch_names, n_windows=4, n_times=64, sfreq=128.0, seed=0):
    info = mne.create_info(ch_names, sfreq, "eeg")
    x = make_windows(n_windows, len(ch_names), n_times, seed=seed)
    epochs = mne.EpochsArray(x, info, verbose="error")
    return epochs.set_montage("colin27_1005", on_missing="ignore", verbose="error")


def make_lazy(folder, ch_names, seconds=4, sfreq=128, seed=0):
    """Windows of half a second that braindecode reads from a file on disk."""
    info = mne.create_info(
        [*ch_names, "STI"], sfreq, ["eeg"] * len(ch_names) + ["stim"]
    )
    x = make_windows(1, len(ch_names) + 1, seconds * sfreq, seed=seed)[0]
    raw = mne.io.RawArray(x, info, verbose="error")
    raw.set_montage("colin27_1005", on_missing="ignore", verbose="error")
    path = Path(folder) / f"{seed}_raw.fif"
    raw.save(path, verbose="error")
    raw = mne.io.read_raw_fif(path, preload=False, verbose="error")
    return create_fixed_length_windows(
        BaseConcatDataset([RawDataset(raw)]),
        window_size_samples=sfreq // 2,
        window_stride_samples=sfreq // 2,
        on_last_window="drop",
        preload=False,
    )


class Windows(Dataset):
    """Windows with positions, of given lengths and montages."""

    def __init__(self, lengths, names=("C3", "Cz", "C4")):
        self.lengths = lengths
        self.pos = torch.tensor(positions_from_names(names), dtype=torch.float32)

    def __len__(self):
        return len(self.lengths)

    def __getitem__(self, row):
        x = make_windows(1, len(self.pos), self.lengths[row], seed=row)[0]
        return {"x": torch.tensor(x).float(), "pos": self.pos, "index": row}


@pytest.fixture(scope="module")
def trained():
    """Net after 6 epochs on 16 windows; don't train it further."""
    net = make_net(max_epochs=6, lr=3e-3)
    return net.fit(make_windows(16), valid=make_windows(8, seed=1))


# what is learnt


def test_losses_fall_and_are_the_sum_of_their_parts(trained):
    for kind in ("train", "valid"):
        keys = (f"{kind}_loss", f"{kind}_time", f"{kind}_frequency")
        loss, time, frequency = map(
            np.array, zip(*trained.history[:, keys], strict=True)
        )
        assert loss[-1] < 0.7 * loss[0]
        np.testing.assert_allclose(loss, time + frequency, rtol=1e-5)


def test_the_loss_is_that_of_hidden_windows_against_the_scaled_ones(trained):
    X = make_windows(4, seed=5)
    net = make_net(max_epochs=1, lr=1e-12).fit(X, valid=X)

    batch = collate([net.get_dataset(X)[row] for row in range(4)])
    mask = net.masking(batch["index"], 64, 0, net.seed_)
    target = net.model_.trunk.signal(batch["x"])
    unscaled = SAMBAReconstructor(
        scale=None,
        d_state=4,
        expand=2,
        target_positions=SMALL["module__target_positions"],
    )
    unscaled.load_state_dict(net.model_.state_dict())
    output = unscaled(target * mask[:, None], batch["pos"])

    expected = TimeFrequencyLoss()(output, target).item()
    assert net.history[-1, "valid_loss"] == pytest.approx(expected, rel=1e-4)


def test_validation_hides_the_same_samples_in_every_epoch():
    net = make_net(max_epochs=3, lr=1e-12)
    net.fit(make_windows(4), valid=make_windows(4, seed=1))

    assert np.ptp(net.history[:, "valid_loss"]) < 1e-6
    assert np.ptp(net.history[:, "train_loss"]) > 1e-3


def test_one_seed_makes_one_run_and_touches_no_global_state(trained):
    torch.manual_seed(123)
    before = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002

    again = make_net(max_epochs=6, lr=3e-3)
    again.fit(make_windows(16), valid=make_windows(8, seed=1))

    assert again.history[:, "train_loss"] == trained.history[:, "train_loss"]
    assert torch.equal(torch.get_rng_state(), before[0])
    assert (np.random.get_state()[1] == before[1]).all()  # noqa: NPY002
    other = make_net(max_epochs=1, random_state=1).fit(make_windows(16))
    assert other.history[0, "train_loss"] != trained.history[0, "train_loss"]


def test_workers_change_nothing():
    alone, helped = (
        make_net(max_epochs=2, iterator_train__num_workers=n).fit(make_windows(6))
        for n in (0, 1)
    )

    assert alone.history[:, "train_loss"] == helped.history[:, "train_loss"]


def test_partial_fit_goes_on_where_fit_ended():
    X = make_windows(6)
    halves = make_net(max_epochs=1).fit(X).partial_fit(X)

    whole = make_net(max_epochs=2).fit(X)

    assert halves.history[:, "train_loss"] == whole.history[:, "train_loss"]


def test_gradients_are_clipped():
    norms = []

    class Norms(SAMBAPretrainer):
        def on_batch_end(self, net, **kwargs):
            learnt = [p for p in self.module_.parameters() if p.requires_grad]
            gradients = [p.grad.norm() for p in learnt]
            norms.append(torch.stack(gradients).norm().item())
            return super().on_batch_end(net, **kwargs)

    net = make_net(Norms, criterion__alpha=1e4, max_epochs=1)
    net.fit(make_windows(4))

    assert norms[0] == pytest.approx(1.0, rel=1e-3)


def test_mixed_precision_learns_the_same_thing():
    X = make_windows(8)
    single, mixed = (
        make_net(max_epochs=2, mixed_precision=mixed).fit(X) for mixed in (False, True)
    )

    assert mixed.history[-1, "train_loss"] != single.history[-1, "train_loss"]
    assert mixed.history[-1, "train_loss"] == pytest.approx(
        single.history[-1, "train_loss"], rel=0.05
    )
    assert all(p.dtype == torch.float32 for p in mixed.model_.parameters())


@pytest.mark.parametrize(
    "settings",
    [
        {"masking": Masking(kind="regions", radius=0.06, span=8)},
        {"masking": Masking(per_channel=True)},
        {"masking": Masking(kind="published"), "criterion__norm": "backward"},
        {"criterion__region": "masked"},
    ],
    ids=["regions", "per_channel", "published", "masked"],
)
def test_every_kind_of_mask_and_loss_trains(settings):
    net = make_net(max_epochs=4, **settings).fit(make_windows(8))

    assert net.history[-1, "train_loss"] < net.history[0, "train_loss"]


def test_the_published_network_trains():
    net = make_net(
        max_epochs=2,
        module__readout="electrode",
        module__spatial_init="published",
        module__n_chans=3,
    )
    net.fit(make_windows(8))

    assert net.history[-1, "train_loss"] < net.history[0, "train_loss"]


# what may be trained on


def make_plain_net(**settings):
    return make_net(max_epochs=1, ch_names=None, sfreq=None, **settings)


@pytest.mark.filterwarnings("ignore:.drop_last_window.:DeprecationWarning")
def test_arrays_epochs_and_windows_give_the_same_run():
    X = make_windows(4)
    epochs = make_epochs(MOTOR["ch_names"])
    eager = create_from_X_y(
        X, [0] * 4, drop_last_window=False, sfreq=128, ch_names=MOTOR["ch_names"]
    )

    losses = [
        make_net(max_epochs=1).fit(X).history[-1, "train_loss"],
        make_plain_net().fit(epochs).history[-1, "train_loss"],
        make_plain_net().fit(eager).history[-1, "train_loss"],
    ]

    assert losses == pytest.approx([losses[0]] * 3, rel=1e-5)


def test_windows_on_disk_are_read_one_by_one(tmp_path):
    lazy = make_lazy(tmp_path, MOTOR["ch_names"])

    dataset = as_dataset(lazy)
    loaded = as_dataset(
        np.stack([item[0][:3] for item in lazy]), ch_names=MOTOR["ch_names"], sfreq=128
    )

    assert len(dataset) == len(loaded) == 8
    assert not lazy.datasets[0].raw.preload
    for row in (0, 5):
        torch.testing.assert_close(dataset[row], loaded[row], rtol=1e-4, atol=1e-12)
    make_plain_net(iterator_train__num_workers=1).fit(lazy)


def test_montages_rates_and_lengths_may_differ(tmp_path):
    X = [
        make_epochs(["C3", "Cz", "C4"], n_times=64),
        make_epochs(["Fp1", "Fp2", "O1", "O2", "T7-Cz"], n_times=128, sfreq=256.0),
        make_epochs(["Cz", "Pz"], n_times=100),
        make_lazy(tmp_path, ["F3", "F4"]),
    ]

    dataset = as_dataset(X)
    net = make_plain_net().fit(X, valid=X[:2])

    assert dataset.lengths.tolist() == [64] * 8 + [100] * 4 + [64] * 8
    assert [dataset[row]["x"].shape[0] for row in (0, 4, 8, 12)] == [3, 5, 2, 2]
    assert all(dataset[row]["x"].shape[1] == dataset.lengths[row] for row in range(20))
    # 64 samples: 16 windows in 4 batches; 100 samples: one batch
    assert net.history[-1, "train_batch_count"] == 5
    assert np.isfinite(net.history[-1, "valid_loss"])


def test_rates_are_unified_without_changing_the_signal():
    fine = make_epochs(["C3", "C4"], n_times=512, sfreq=256.0)
    coarse = fine.copy().resample(128, verbose="error")

    ours = as_dataset(fine)[0]["x"][:, 20:-20]

    mne_s = torch.tensor(coarse.get_data(copy=False)[0])[:, 20:-20].float()
    mne_s = mne_s - mne_s.mean(1, keepdim=True)
    ours = ours - ours.mean(1, keepdim=True)
    assert (ours - mne_s).norm() < 0.1 * mne_s.norm()


def test_datasets_of_dicts_are_taken_as_they_are():
    lengths = [64, 64, 100, 64, 100]
    dataset = Windows(lengths)

    assert as_dataset(dataset) is dataset
    net = make_plain_net(batch_size=2).fit(dataset, valid=Subset(dataset, [2, 4]))
    assert net.history[-1, "train_batch_count"] == 3
    assert net.history[-1, "valid_batch_count"] == 1


def test_data_sets_are_told_the_epoch_and_may_choose_their_order():
    class Choosy(Windows):
        epochs, rows = [], []

        def set_epoch(self, epoch):
            self.epochs.append(epoch)

        def order(self, epoch, seed):
            return [epoch % 3] * 4

        def __getitem__(self, row):
            self.rows.append(row)
            return super().__getitem__(row)

    dataset = Choosy([64] * 3)
    make_plain_net().set_params(max_epochs=2).fit(dataset)

    assert dataset.epochs == [1, 2]
    # at last the net looks at one batch once more
    assert dataset.rows[-12:] == [1] * 4 + [2] * 4 + [0, 0, 1, 2]


def test_skorchs_way_to_split_works():
    train, valid = as_dataset(make_windows(8), **MOTOR), Windows([64] * 3)

    net = make_net(max_epochs=1, train_split=predefined_split(valid)).fit(train)

    assert "valid_loss" in net.history[-1]


# what comes out


def test_reconstructions_are_those_of_the_network(trained):
    X = make_windows(6, seed=7)

    rebuilt = trained.reconstruct(X)

    batch = collate([trained.get_dataset(X)[row] for row in range(6)])
    with torch.no_grad():
        expected = trained.model_(batch["x"], batch["pos"])
    np.testing.assert_allclose(rebuilt, expected, atol=1e-5)


def test_hidden_samples_are_found_better_than_by_zeros(trained):
    X = make_windows(8, seed=9)
    batch = collate([trained.get_dataset(X)[row] for row in range(8)])

    target, output, mask = trained.rebuild_batch(batch, Masking(ratio=0.2))

    hidden = ~mask[:, None].expand_as(target)
    error = (output - target)[hidden].abs().mean()
    assert error < target[hidden].abs().mean()
    rebuilt = trained.reconstruct(X, Masking(ratio=0.2))
    np.testing.assert_allclose(rebuilt, output, atol=1e-5)


def test_reconstructions_of_several_montages_come_one_by_one(trained):
    X = [make_epochs(["C3", "Cz", "C4"], 2), make_epochs(["O1", "O2"], 1, n_times=100)]

    shapes = [w.shape for w in make_plain_net().fit(X).reconstruct(X)]

    assert shapes == [(3, 64), (3, 64), (2, 100)]


def test_features_are_log_variances_and_keep_the_order_of_windows(trained):
    X = [make_windows(2, seed=1), make_windows(3, n_times=100, seed=2)]

    features = trained.transform(X)

    assert features.shape == (5, 4 + 384)  # targets, and the stages behind them
    batch = collate([trained.get_dataset(X[0])[row] for row in range(2)])
    with torch.no_grad():
        stages = trained.model_.trunk(batch["x"], batch["pos"])
    np.testing.assert_allclose(
        features[:2, -128:], stages.mediator.var(-1, correction=0).log(), atol=1e-3
    )
    np.testing.assert_allclose(features[2:], trained.transform(X[1]), atol=1e-5)


def test_checkpoints_are_loaded_by_braindecode(trained, tmp_path):
    folder = trained.save_checkpoint(tmp_path / "small", card="# Small\n")

    names = sorted(path.name for path in folder.iterdir())
    assert names == ["README.md", "config.json", "model.safetensors"]
    assert (folder / "README.md").read_text() == "# Small\n"
    config = json.loads((folder / "config.json").read_text())
    assert config["coordinate_frame"] == "head"
    assert Masking(**config["pretraining"]["masking"]) == trained.masking
    model = SAMBAReconstructor.from_config(
        {k: v for k, v in config.items() if k in trained.model_.get_config()}
    )
    model.load_state_dict(safetensors.torch.load_file(folder / "model.safetensors"))
    batch = collate([trained.get_dataset(make_windows(2))[0]])
    with torch.no_grad():
        rebuilt = model(batch["x"], batch["pos"])
    np.testing.assert_allclose(
        rebuilt, trained.reconstruct(make_windows(2))[:1], atol=1e-5
    )


def test_checkpoints_replace_checkpoints_and_nothing_else(trained, tmp_path):
    trained.save_checkpoint(tmp_path / "a")
    trained.save_checkpoint(tmp_path / "a", card="second")
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "mine.txt").write_text("keep me")

    with pytest.raises(FileExistsError, match="is no checkpoint"):
        trained.save_checkpoint(tmp_path / "notes")

    assert (tmp_path / "a" / "README.md").read_text() == "second"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "notes"]
    assert (tmp_path / "notes" / "mine.txt").read_text() == "keep me"


def test_a_full_disk_leaves_the_earlier_checkpoint(trained, tmp_path):
    trained.save_checkpoint(tmp_path / "a", card="first")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, limits[1]))
    try:
        with pytest.raises(OSError, match="could not be written"):
            trained.save_checkpoint(tmp_path / "a", card="second")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)

    assert [path.name for path in tmp_path.iterdir()] == ["a"]
    assert (tmp_path / "a" / "README.md").read_text() == "first"


def test_nets_are_cloned_and_pickled(trained):
    fresh = clone(trained)
    assert not fresh.initialized_
    assert fresh.masking == trained.masking

    X = make_windows(2)
    copy = pickle.loads(pickle.dumps(trained))
    np.testing.assert_array_equal(copy.reconstruct(X), trained.reconstruct(X))
    assert len(pickle.dumps(trained)) < 20e6


def test_a_network_may_be_trained_further(trained):
    model = SAMBAReconstructor(
        d_state=4, expand=2, target_positions=SMALL["module__target_positions"]
    )
    model.load_state_dict(trained.model_.state_dict())
    settings = {k: v for k, v in SMALL.items() if not k.startswith("module__")}

    net = SAMBAPretrainer(model, **settings, **MOTOR, max_epochs=1, lr=1e-12)
    net.fit(make_windows(16), valid=make_windows(8, seed=1))

    last = trained.history[-1, "valid_loss"]
    assert net.history[-1, "valid_loss"] == pytest.approx(last, rel=1e-4)


# batches


def test_batches_hold_one_length_and_every_window_once():
    lengths = np.array([64] * 7 + [100] * 4 + [32])
    sampler = LengthBatchSampler(lengths, 3, seed=5)

    batches = list(sampler)

    assert len(batches) == len(sampler) == 6
    assert all(len(set(lengths[batch])) == 1 for batch in batches)
    assert sorted(row for batch in batches for row in batch) == list(range(12))


def test_order_depends_on_seed_and_epoch_alone():
    def draw(seed, epoch, skip=0):
        sampler = LengthBatchSampler([64] * 20, 4, seed=seed)
        sampler.set_epoch(epoch, skip)
        return list(sampler)

    assert draw(1, 1) == draw(1, 1)
    assert draw(1, 1) != draw(1, 2)
    assert draw(1, 1) != draw(2, 1)
    assert draw(1, 3, skip=2) == draw(1, 3)[2:]


def test_processes_share_each_batch():
    parts = [
        list(LengthBatchSampler([64] * 10, 4, seed=3, rank=r, n_processes=2))
        for r in range(2)
    ]
    whole = list(LengthBatchSampler([64] * 10, 4, seed=3))

    joined = [sorted(a + b) for a, b in zip(*parts, strict=True)]
    assert joined == [sorted(batch) for batch in whole]
    lonely = [
        list(LengthBatchSampler([64] * 5, 4, seed=3, rank=r, n_processes=2))
        for r in range(2)
    ]
    assert lonely[0][-1] == lonely[1][-1]  # one window, which both see


def test_lengths_of_parts_and_joined_sets_are_known():
    first, second = Windows([64, 100, 64]), Windows([32])

    joined = ConcatDataset([Subset(first, [2, 1]), second])

    assert window_lengths(joined).tolist() == [64, 100, 32]


def test_channels_without_position_count_as_absent():
    item = Windows([64])[0]
    item["pos"] = item["pos"].clone()
    item["pos"][1] = float("nan")

    batch = collate([item, Windows([64], ["Cz"])[0]])

    assert batch["ch_mask"].tolist() == [[True, False, True], [True, False, False]]
    assert batch["x"].shape == (2, 3, 64)
    assert batch["pos"].isfinite().all()
    assert (batch["x"][~batch["ch_mask"]] == 0).all()


# refusals


@pytest.mark.parametrize(
    ("X", "words"),
    [
        (np.zeros((3, 3, 64)), "3 of 3 windows are flat"),
        (np.zeros((0, 3, 64)), "minimum of 1"),
        (np.full((1, 3, 64), np.nan), "NaN"),
        (make_windows(2, n_chans=5), "5 channels and 3 names"),
        (make_windows(2, n_times=7), "at least 8"),
        ([], "at least one|Reshape"),
    ],
    ids=["flat", "empty", "nan", "channels", "short", "nothing"],
)
def test_windows_nobody_can_learn_from_are_refused(X, words):
    net = make_net()

    with pytest.raises(ValueError, match=words):
        net.fit(X)
    assert not net.initialized_


def test_recordings_without_positions_are_refused():
    info = mne.create_info(["X1", "X2"], 128.0, "eeg")
    epochs = mne.EpochsArray(make_windows(2, 2), info, verbose="error")
    item = Windows([64])[0] | {"pos": torch.full((3, 3), float("nan"))}

    with pytest.raises(ValueError, match="X1"):
        make_plain_net().fit(epochs)
    with pytest.raises(ValueError, match="no channel with a position"):
        collate([item])


def test_flat_windows_on_disk_are_told_when_they_are_read(tmp_path):
    lazy = make_lazy(tmp_path, ["C3", "C4"])
    raw = lazy.datasets[0].raw.load_data()
    raw._data[:, 64:128] = 0

    with pytest.raises(ValueError, match="window 1 of a recording, from sample 64"):
        as_dataset(lazy)[1]


def test_data_sets_of_another_rate_are_refused():
    dataset = Windows([64])
    dataset.sfreq = 200.0

    with pytest.raises(ValueError, match="200 Hz and the model works at 128"):
        make_plain_net().fit(dataset)


def test_arrays_without_names_or_rate_are_refused():
    with pytest.raises(ValueError, match="ch_names"):
        make_plain_net().fit(make_windows(2))


def test_mixed_lengths_that_nobody_announced_are_refused():
    class Silent(Windows):
        def __getattribute__(self, name):
            if name == "lengths":
                raise AttributeError(name)
            return super().__getattribute__(name)

        def __len__(self):
            return 4

        def __getitem__(self, row):
            return Windows([64, 100, 64, 64])[row]

    with pytest.raises(ValueError, match="64 and 100 samples"):
        make_plain_net().fit(Silent([]))


@pytest.mark.parametrize(
    ("settings", "error", "words"),
    [
        ({"masking": "tsr"}, TypeError, "pass Masking"),
        ({"module__sfreq": 250}, ValueError, "module__sfreq"),
        ({"criterion__norm": "forward"}, ValueError, "norm='forward'"),
        ({"batch_size": 0}, ValueError, "batch_size=0"),
    ],
)
def test_strange_settings_are_refused(settings, error, words):
    with pytest.raises(error, match=words):
        make_net(**settings).fit(make_windows(4))


def test_strange_arguments_of_fit_are_refused():
    with pytest.raises(TypeError, match="knows no sample_weight"):
        make_net().fit(make_windows(2), sample_weight=[1, 1])


def test_divergence_is_told_at_once():
    net = make_net(lr=1e30, max_epochs=3)

    with pytest.raises(ValueError, match="training diverged .* lower lr=1e"):
        net.fit(make_windows(8))


# several processes


def make_accelerated(**settings):
    accelerator = Accelerator(cpu=True)
    return make_net(AcceleratedPretrainer, accelerator=accelerator, **settings)


def test_one_process_of_accelerate_trains_as_the_plain_net(trained):
    net = make_accelerated(max_epochs=6, lr=3e-3)
    net.fit(make_windows(16), valid=make_windows(8, seed=1))

    keys = ("train_loss", "valid_loss", "train_frequency", "train_batch_count")
    assert net.history[:, keys] == trained.history[:, keys]
    X = make_windows(2)
    np.testing.assert_array_equal(net.reconstruct(X), trained.reconstruct(X))


def test_accelerated_runs_are_resumed(tmp_path):
    X, checkpoint = make_windows(6), TrainingCheckpoint(tmp_path)
    make_accelerated(max_epochs=1, callbacks=[checkpoint]).fit(X)

    resumed = make_accelerated(max_epochs=2, callbacks=[checkpoint])
    resumed.fit(X, resume=tmp_path)

    whole = make_net(max_epochs=2).fit(X)
    assert resumed.history[:, "train_loss"] == whole.history[:, "train_loss"]


def test_the_accelerator_decides_the_precision():
    with pytest.raises(ValueError, match="pass mixed_precision='bf16' to Accelerator"):
        make_accelerated(mixed_precision=True).fit(make_windows(2))


def test_accelerated_nets_are_silent_if_asked(capsys):
    make_accelerated(max_epochs=1).fit(make_windows(2))

    assert capsys.readouterr().out == ""


@pytest.mark.slow
def test_two_processes_train_as_one_with_twice_the_batch(tmp_path):
    script = Path(__file__).with_name("pretraining_run.py")
    command = [
        sys.executable, "-m", "accelerate.commands.launch",
        # without MPI this starts two processes also where there is no GPU
        "--multi_gpu", "--num_processes", "2", "--num_machines", "1",
        "--mixed_precision", "no", "--dynamo_backend", "no",
        "--main_process_port", "0",
        str(script), "accelerated", str(tmp_path / "two.json"),
    ]  # fmt: skip
    environment = os.environ | {"ACCELERATE_USE_CPU": "true", "OMP_NUM_THREADS": "1"}
    subprocess.run(command, env=environment, check=True, timeout=280)
    two = json.loads((tmp_path / "two.json").read_text())

    one = make_net(max_epochs=2, batch_size=6)
    one.fit(make_windows(14), valid=make_windows(5, seed=1))

    assert two["n_processes"] == 2
    losses = np.array(one.history[:, ("train_loss", "valid_loss")])
    np.testing.assert_allclose(two["losses"], losses, atol=1e-4)
    norms = [parameter.norm().item() for parameter in one.model_.parameters()]
    np.testing.assert_allclose(two["weights"], norms, rtol=1e-3, atol=1e-4)
