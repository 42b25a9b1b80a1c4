"""What the callbacks of pretraining promise: nothing is lost, nothing half done."""

import csv
import functools
import json
import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
import tqdm
from pretraining_run import (
    make_net,
    make_windows,
    train_resumable,
    train_until_killed,
)
from skorch.callbacks import Callback, EarlyStopping, ProgressBar
from torch.optim.lr_scheduler import OneCycleLR

from braindecode_samba.pretraining import (
    BenchmarkProbe,
    CSVLog,
    MaskingSchedule,
    OneCycle,
    ProbeColumn,
    ReconstructionFigure,
    SpatialWeights,
    TrainingCheckpoint,
    has_training_state,
)
from braindecode_samba.pretraining.probing import read_columns

CLOCK = ("dur",)


class Interrupted(Exception):
    """Not caught by anybody, as a signal."""


class InterruptAt(Callback):
    """Stop in the middle of a run, after some training batches."""

    def __init__(self, batch):
        self.batch = batch

    def initialize(self):
        self.done_ = 0
        return self

    def on_batch_end(self, net, training=False, **kwargs):
        self.done_ += training
        if self.done_ == self.batch:
            raise Interrupted


class InterruptValidation(Callback):
    def on_batch_begin(self, net, training=False, **kwargs):
        if not training:
            raise Interrupted


def rows_of(net):
    """History without what a clock measured."""
    return [
        {key: value for key, value in row.items() if key not in CLOCK}
        for row in net.history.to_list()
    ]


def assert_same_run(net, other):
    assert rows_of(net) == rows_of(other)
    for name, value in net.model_.state_dict().items():
        if value.dtype.is_floating_point:
            value = value.nan_to_num()
        expected = other.model_.state_dict()[name]
        assert torch.equal(value, expected.nan_to_num()), name


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    """Net after a whole run; don't train it further."""
    return train_resumable(tmp_path_factory.mktemp("whole"))


# checkpoints


@pytest.mark.parametrize("batch", range(1, 7))
def test_a_resumed_run_equals_an_uninterrupted_one(batch, tmp_path, uninterrupted):
    with pytest.raises(Interrupted):
        train_resumable(tmp_path, InterruptAt(batch))

    assert_same_run(train_resumable(tmp_path, resume=tmp_path), uninterrupted)


def test_a_run_resumes_in_the_middle_of_validation(tmp_path, uninterrupted):
    with pytest.raises(Interrupted):
        train_resumable(tmp_path, InterruptValidation())

    assert_same_run(train_resumable(tmp_path, resume=tmp_path), uninterrupted)


def test_a_run_may_be_interrupted_again_and_again(tmp_path, uninterrupted):
    with pytest.raises(Interrupted):
        train_resumable(tmp_path, InterruptAt(1))
    for _ in range(2):
        with pytest.raises(Interrupted):
            train_resumable(tmp_path, InterruptAt(2), resume=tmp_path)

    assert_same_run(train_resumable(tmp_path, resume=tmp_path), uninterrupted)


def test_a_finished_run_resumes_to_itself(tmp_path, uninterrupted):
    train_resumable(tmp_path)

    assert_same_run(train_resumable(tmp_path, resume=tmp_path), uninterrupted)


@pytest.mark.parametrize("name", ["training.json", "state-*.safetensors"])
@pytest.mark.parametrize("place", [0, 1000, -2])
def test_a_changed_byte_of_a_state_is_noticed(name, place, tmp_path):
    with pytest.raises(Interrupted):
        train_resumable(tmp_path, InterruptAt(4))
    (path,) = tmp_path.glob(name)
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    path.write_bytes(content)
    with pytest.raises(ValueError, match=f"{path} is damaged: pass resume=None"):
        train_resumable(tmp_path, resume=tmp_path)


def test_a_run_without_a_seed_resumes_with_its_own(tmp_path):
    with pytest.raises(Interrupted):
        train_resumable(tmp_path, InterruptAt(4), random_state=None)
    seed = json.loads((tmp_path / "training.json").read_text())["seed"]

    net = train_resumable(tmp_path, resume=tmp_path, random_state=None)

    assert net.seed_ == seed


def test_a_killed_process_leaves_a_whole_state(tmp_path):
    script = Path(__file__).with_name("pretraining_run.py")
    process = subprocess.Popen([sys.executable, script, "resumable", tmp_path])
    deadline = time.monotonic() + 120
    index = tmp_path / "training.json"
    while time.monotonic() < deadline:
        if has_training_state(tmp_path) and json.loads(index.read_text())["epoch"] > 1:
            break
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    epoch = json.loads(index.read_text())["epoch"]
    assert epoch > 1

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        resumed = train_until_killed(tmp_path, epoch + 1, resume=tmp_path)
        whole = train_until_killed(tmp_path / "whole", epoch + 1)
    finally:
        torch.set_num_threads(threads)
    assert_same_run(resumed, whole)


def test_early_stopping_keeps_its_patience_over_a_resume(tmp_path):
    def train(folder, *more, resume=None):
        # a threshold that no improvement reaches: it stops after 3 epochs
        early = EarlyStopping("train_loss", patience=3, threshold=0.99, sink=str)
        return train_resumable(folder, early, *more, resume=resume, max_epochs=9)

    with pytest.raises(Interrupted):
        train(tmp_path, InterruptAt(8))

    assert len(train(tmp_path, resume=tmp_path).history) == 4


def test_a_full_disk_is_told_and_loses_nothing(tmp_path, uninterrupted):
    with pytest.raises(Interrupted):
        train_resumable(tmp_path, InterruptAt(4))
    files = sorted(tmp_path.iterdir())
    before = (tmp_path / "training.json").read_bytes()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, hard))
    try:
        with pytest.raises(OSError, match="is as it was before"):
            train_resumable(tmp_path, resume=tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))

    assert sorted(tmp_path.iterdir()) == files
    assert (tmp_path / "training.json").read_bytes() == before
    assert_same_run(train_resumable(tmp_path, resume=tmp_path), uninterrupted)


def test_states_hold_no_pickles_and_no_leftovers(tmp_path):
    train_resumable(tmp_path)

    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == ["state-00002-0000003-1.safetensors", "training.json"]


def test_a_new_run_does_not_replace_the_state_of_another(tmp_path):
    train_resumable(tmp_path)

    with pytest.raises(ValueError, match="state of another run"):
        train_resumable(tmp_path)


def test_resuming_with_other_data_or_settings_is_refused(tmp_path):
    train_resumable(tmp_path)
    net = make_net(callbacks=[TrainingCheckpoint(tmp_path)])

    with pytest.raises(ValueError, match="had windows=9, and this net has 6"):
        net.fit(make_windows(6), resume=tmp_path)
    with pytest.raises(ValueError, match="batches=3, and this net has 5"):
        train_resumable(tmp_path, resume=tmp_path, batch_size=2)
    with pytest.raises(ValueError, match="had loss=.TimeFrequencyLoss"):
        train_resumable(tmp_path, resume=tmp_path, criterion__beta=2.0)


def test_resuming_from_nothing_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="holds no training state"):
        train_resumable(tmp_path, resume=tmp_path)


# the learning rate


def torch_curve(total, max_lr, **settings):
    parameter = torch.nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.AdamW([parameter], lr=1.0)
    schedule = OneCycleLR(optimizer, max_lr, total_steps=total, **settings)
    rates, betas = [], []
    for _ in range(total):
        rates.append(optimizer.param_groups[0]["lr"])
        betas.append(optimizer.param_groups[0]["betas"][0])
        optimizer.step()
        if len(rates) < total:
            schedule.step()
    return rates, betas


class Betas(Callback):
    def initialize(self):
        self.seen_ = []
        return self

    def on_batch_end(self, net, training=False, **kwargs):
        if training:
            self.seen_.append(net.optimizer_.param_groups[-1]["betas"][0])


@pytest.mark.parametrize(("pct_start", "n_windows"), [(0.1, 18), (0.3, 7), (0.5, 4)])
def test_one_cycle_is_the_curve_of_torch(pct_start, n_windows):
    callback = OneCycle(2e-3, pct_start=pct_start)
    net = make_net(max_epochs=4, callbacks=[callback, ("betas", Betas())])
    net.fit(make_windows(n_windows))

    rates = [batch["lr"] for row in net.history for batch in row["batches"]]
    total = 4 * -(-n_windows // 4)
    expected, betas = torch_curve(
        total, 2e-3, pct_start=pct_start, div_factor=2, final_div_factor=100
    )
    assert rates == pytest.approx(expected, rel=1e-12)
    assert dict(net.callbacks_)["betas"].seen_ == pytest.approx(betas, rel=1e-12)


def test_one_cycle_takes_the_rate_of_the_net():
    net = make_net(max_epochs=5, lr=3e-3, callbacks=[OneCycle(pct_start=0.3)])
    net.fit(make_windows(18))

    rates = [batch["lr"] for row in net.history for batch in row["batches"]]
    assert max(rates) == pytest.approx(3e-3, rel=0.02)
    assert rates[0] == pytest.approx(1.5e-3)
    assert rates[-1] == pytest.approx(1.5e-5)
    assert net.optimizer_.param_groups[0]["lr"] == rates[-1]


def test_one_cycle_may_leave_momentum_alone():
    net = make_net(callbacks=[OneCycle(momentum=None)], max_epochs=2)
    net.fit(make_windows(8))

    assert net.optimizer_.param_groups[0]["betas"] == (0.9, 0.999)


# the others


class VisibleShares(Callback):
    def initialize(self):
        self.seen_ = []
        return self

    def on_grad_computed(self, net, named_parameters, batch=None, **kwargs):
        self.seen_.append(batch[0]["mask"].double().mean().item())


def test_the_masking_schedule_moves_training_masks_alone():
    callbacks = [MaskingSchedule(0.25, 0.75, n_epochs=3), ("shares", VisibleShares())]
    net = make_net(max_epochs=4, lr=1e-12, callbacks=callbacks)
    net.fit(make_windows(4), valid=make_windows(4, seed=1))

    assert net.history[:, "mask_ratio"] == [0.25, 0.5, 0.75, 0.75]
    assert dict(net.callbacks_)["shares"].seen_ == [0.75, 0.5, 0.25, 0.25]
    assert np.ptp(net.history[:, "valid_loss"]) < 1e-5


def probe_of(X, y, groups=None, scored=None, every=1):
    return BenchmarkProbe({"kind": ProbeColumn(X, y, groups, scored)}, every=every)


def test_the_probe_finds_what_the_features_hold():
    slow = make_windows(20, rates=(4, 8))
    fast = make_windows(20, rates=(16, 24), seed=1)
    X, y = np.concatenate([slow, fast]), ["slow"] * 20 + ["fast"] * 20
    columns = {
        "rate": ProbeColumn(X, y),
        "nothing": ProbeColumn(X, np.random.default_rng(0).permutation(y)),
    }
    probe = BenchmarkProbe(columns, every=2)
    net = make_net(max_epochs=2, callbacks=[probe]).fit(slow)

    scores = np.array(
        net.history[:, ("probe_rate", "probe_nothing", "probe_mean")], object
    )
    assert (scores[0] == [None, None, None]).all()
    assert scores[1, 0] > 0.9
    assert scores[1, 1] == pytest.approx(0.5, abs=0.25)
    assert scores[1, 2] == scores[1, :2].mean()


def test_the_probe_finds_nothing_where_nothing_is():
    X = make_windows(60)
    y = np.random.default_rng(0).permutation(np.repeat([0, 1, 2], 20))
    net = make_net(max_epochs=1, callbacks=[probe_of(X, y)]).fit(X[:4])

    assert net.history[-1, "probe_kind"] == pytest.approx(0.5, abs=0.2)


def test_the_probe_keeps_groups_together():
    # subjects have a rate of their own, and labels that have nothing to do with it
    subjects = np.repeat(np.arange(10), 9)
    X = np.concatenate(
        [make_windows(9, rates=(2 * s + 3, 2 * s + 3.1), seed=s) for s in range(10)]
    )
    y = np.random.default_rng(1).permutation(np.repeat([0, 1], 5))[subjects]
    columns = {"leaky": ProbeColumn(X, y), "fair": ProbeColumn(X, y, subjects)}
    net = make_net(max_epochs=1, callbacks=[BenchmarkProbe(columns, every=1)])
    net.fit(X[:4])

    assert net.history[-1, "probe_leaky"] > 0.9
    assert net.history[-1, "probe_fair"] < net.history[-1, "probe_leaky"] - 0.2


def test_the_probe_scores_whom_it_is_told_to_by_what_the_others_teach():
    # in those who are scored labels stand the other way round
    slow, fast = (make_windows(40, rates=r) for r in ((4, 8), (16, 24)))
    X, y = np.concatenate([slow, fast]), np.repeat(["slow", "fast"], 40)
    people = np.tile(np.repeat(np.arange(8), 5), 2)
    scored = people >= 6
    y = np.where(scored, np.where(y == "slow", "fast", "slow"), y)
    probe = probe_of(X, y, people, scored)
    net = make_net(max_epochs=1, callbacks=[probe]).fit(X[:4])

    assert net.history[-1, "probe_kind"] < 0.1


def test_the_probe_changes_nothing_of_a_run():
    X, y = make_windows(20), np.arange(20) % 2
    with_probe, without = (
        make_net(max_epochs=2, callbacks=callbacks).fit(X[:8])
        for callbacks in ([probe_of(X, y)], [])
    )

    assert with_probe.history[:, "train_loss"] == without.history[:, "train_loss"]


@pytest.mark.parametrize(
    ("y", "groups", "scored", "words"),
    [
        ([0] * 8, None, None, "one class"),
        ([0, 1], None, None, "2 groups"),
        ([0, 1] * 4, [0, 1], None, "inconsistent"),
        ([0, 1] * 4, None, [1] * 7 + [0], "one class"),
        ([0, 1] * 4, [0] * 8, [1, 1] + [0] * 6, "people belong to one side"),
    ],
)
def test_probes_without_classes_or_groups_are_refused(y, groups, scored, words):
    net = make_net(callbacks=[probe_of(make_windows(8), y, groups, scored)])

    with pytest.raises(ValueError, match=words):
        net.fit(make_windows(8))


def test_columns_come_at_the_rate_of_the_network(tmp_path):
    np.savez(
        tmp_path / "one.npz",
        X=make_windows(4),
        y=[0, 1, 0, 1],
        subject=["a", "a", "b", "b"],
        names=["C3", "Cz", "C4"],
        sfreq=128.0,
    )
    whole = read_columns(tmp_path)["one"].X[0]["x"]
    half = read_columns(tmp_path, model_sfreq=64)["one"].X[0]["x"]
    assert half.shape[1] == whole.shape[1] // 2


def test_a_probe_without_columns_is_refused():
    with pytest.raises(ValueError, match="there are no columns"):
        make_net(callbacks=[BenchmarkProbe({})]).fit(make_windows(8))


def test_a_column_does_not_hide_the_mean_of_all():
    X = make_windows(8)
    probe = BenchmarkProbe({"mean": ProbeColumn(X, [0, 1] * 4)})
    with pytest.raises(ValueError, match="named 'mean'"):
        make_net(callbacks=[probe]).fit(X)


def test_figures_and_weights_are_written_every_few_epochs(tmp_path):
    callbacks = [
        ReconstructionFigure(tmp_path / "figures", every=2, n_channels=2),
        SpatialWeights(tmp_path / "weights", every=3),
    ]
    net = make_net(max_epochs=3, callbacks=callbacks).fit(make_windows(4))

    (figure,) = (tmp_path / "figures").iterdir()
    assert figure.name == "epoch-00002.png"
    assert figure.read_bytes().startswith(b"\x89PNG")
    (file,) = (tmp_path / "weights").iterdir()
    weights = np.load(file)
    assert weights.shape == (4, 3)
    np.testing.assert_allclose(weights.sum(1), 1, rtol=1e-6)
    pos = net.get_dataset(make_windows(4))[0]["pos"]
    np.testing.assert_allclose(weights, net.model_.spatial_weights(pos).detach())


def test_the_table_holds_all_epochs_also_after_a_resume(tmp_path):
    def table():
        with (tmp_path / "log.csv").open() as file:
            return list(csv.DictReader(file))

    log = CSVLog(tmp_path / "log.csv")
    with pytest.raises(Interrupted):
        train_resumable(tmp_path / "state", log, InterruptAt(5))
    assert [row["epoch"] for row in table()] == ["1"]

    net = train_resumable(tmp_path / "state", log, resume=tmp_path / "state")

    assert [row["epoch"] for row in table()] == ["1", "2"]
    losses = [float(row["valid_loss"]) for row in table()]
    assert losses == net.history[:, "valid_loss"]


def test_callbacks_of_skorch_go_with_these(capsys, monkeypatch):
    # by default tqdm shows losses from a tenth of a second on, which this may not take
    eager = functools.partial(tqdm.tqdm, mininterval=0)
    monkeypatch.setattr(tqdm, "tqdm", eager)
    bar = ProgressBar(detect_notebook=False)
    net = make_net(max_epochs=2, callbacks=[bar, EarlyStopping("train_loss")])
    net.fit(make_windows(8))

    assert len(net.history) == 2
    assert "train_loss" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("callback", "words"),
    [
        (OneCycle(pct_start=1.5), "pct_start=1.5"),
        (OneCycle(div_factor=0), "div_factor=0"),
        (MaskingSchedule(0.5, 1.0, 3), "ratio=1.0"),
        (MaskingSchedule(0.5, 0.6, 1), "n_epochs=1"),
        (TrainingCheckpoint("nowhere", every_batches=0), "every_batches=0"),
        (SpatialWeights("nowhere", every=0), "every=0"),
        (ReconstructionFigure("nowhere", every=0), "every=0"),
    ],
)
def test_strange_settings_are_refused_before_any_work(callback, words):
    net = make_net(callbacks=[callback])

    with pytest.raises(ValueError, match=words):
        net.fit(make_windows(4))
    assert not hasattr(net, "module_")
