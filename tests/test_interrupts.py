"""Ctrl-C leaves every loop as KeyboardInterrupt, and what was fitted before as it was.

Interrupts come from where they come from in life: out of the middle of a computation,
or of a callback.
"""

import copy
import functools
import signal
import sys
import threading

import mne
import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from skorch.callbacks import Callback, EarlyStopping

from braindecode_samba import (
    SAMBAClassifier,
    SAMBAFeatures,
    SAMBARegressor,
    SAMBAStream,
)
from braindecode_samba.estimators import solving
from braindecode_samba.evaluation.nets import BraindecodeNet, ProbeNet
from braindecode_samba.nn import recordings
from braindecode_samba.pretraining import SAMBAPretrainer, TrainingCheckpoint
from braindecode_samba.pretraining.state import has_training_state

TOLD = {"ch_names": ("C3", "Cz", "C4"), "sfreq": 128}
SMALL = {"d_state": 4, "expand": 2}
X = np.random.default_rng(0).standard_normal((12, 3, 64)).astype(np.float32)
Y = np.arange(12) % 2
GROUPS = np.repeat([1, 2, 3], 4)


class Interrupt(Callback):
    """Interrupt at one event of one pass."""

    def __init__(self, event="on_batch_end", n_pass=1):
        self.event = event
        self.n_pass = n_pass

    def __getattribute__(self, name):
        found = super().__getattribute__(name)
        if not name.startswith("on_") or name != self.event:
            return found

        def event(net, **kwargs):
            if len(net.history) == self.n_pass:
                raise KeyboardInterrupt

        return event


def gradients(kind=SAMBAClassifier, **params):
    """Build a small decoder that trains by gradients."""
    own = {"start": "random", "checkpoint": None, "max_epochs": 4}
    return kind(
        **TOLD, model_params=SMALL, batch_size=4, random_state=0, **{**own, **params}
    )


def learnt(decoder):
    return copy.deepcopy(decoder.model_.state_dict())


def same(one, other):
    return all(
        torch.equal(one[name].nan_to_num(), other[name].nan_to_num()) for name in one
    )


EVENTS = [
    ("on_epoch_begin", 1),
    ("on_batch_begin", 1),
    ("on_grad_computed", 1),
    ("on_batch_end", 3),
    ("on_epoch_end", 2),
    ("on_epoch_end", 4),
]


@pytest.mark.parametrize("kind", [SAMBAClassifier, SAMBARegressor])
@pytest.mark.parametrize(("event", "n_pass"), EVENTS)
def test_an_interrupted_fit_is_none(kind, event, n_pass):
    decoder = gradients(kind, callbacks=Interrupt(event, n_pass))
    with pytest.raises(KeyboardInterrupt):
        decoder.fit(X, Y)
    assert not [name for name in vars(decoder) if name.endswith("_")]


@pytest.mark.parametrize("start", ["solved", "random"])
def test_an_earlier_fit_stays(start):
    decoder = gradients(start=start, max_epochs=1).fit(X, Y, groups=GROUPS)
    before, said = learnt(decoder), decoder.predict_proba(X)
    decoder.set_params(callbacks=Interrupt(n_pass=2), max_epochs=3)
    with pytest.raises(KeyboardInterrupt):
        decoder.fit(2 * X[::-1], Y, groups=GROUPS)
    assert same(learnt(decoder), before)
    np.testing.assert_array_equal(decoder.predict_proba(X), said)


def test_an_interrupted_first_update_is_none():
    decoder = gradients(callbacks=Interrupt())
    with pytest.raises(KeyboardInterrupt):
        decoder.partial_fit(X, Y)
    assert not [name for name in vars(decoder) if name.endswith("_")]


@pytest.mark.parametrize("event", ["on_batch_end", "on_epoch_end"])
def test_an_interrupted_update_changes_nothing(event):
    # passes of a net are counted on: the third is the second update
    decoder = gradients(callbacks=[Interrupt(event, n_pass=3)], max_epochs=1)
    twin = gradients(max_epochs=1)
    for one in (decoder, twin):
        one.fit(X, Y).partial_fit(X, Y)
    before, history = learnt(decoder), len(decoder.net_.history)
    with pytest.raises(KeyboardInterrupt):
        decoder.partial_fit(X, Y)
    assert same(learnt(decoder), before)
    assert len(decoder.net_.history) == history
    decoder.callbacks[0].event = "never"
    # and the next update is the one that was interrupted
    assert same(learnt(decoder.partial_fit(X, Y)), learnt(twin.partial_fit(X, Y)))


def test_an_update_that_diverges_changes_nothing(monkeypatch):
    decoder = gradients(max_epochs=1).fit(X, Y)
    before = learnt(decoder)
    get_loss = type(decoder.net_).get_loss

    def infinite(self, *args, **kwargs):
        return get_loss(self, *args, **kwargs) * torch.inf

    monkeypatch.setattr(type(decoder.net_), "get_loss", infinite)
    with pytest.raises(ValueError, match="diverged.*lower lr"):
        decoder.partial_fit(X, Y)
    assert same(learnt(decoder), before)


def test_validation_stops_where_somebody_interrupts():
    for search in (
        lambda model: cross_val_score(model, X, Y, cv=3, error_score=np.nan),
        lambda model: GridSearchCV(model, {"lr": [1e-3, 1e-2]}, cv=3).fit(X, Y),
    ):
        with pytest.raises(KeyboardInterrupt):
            search(gradients(callbacks=[Interrupt(n_pass=3)]))


def test_early_stopping_is_no_interruption():
    stop = EarlyStopping(patience=1, threshold=1e9, threshold_mode="abs")
    decoder = gradients(callbacks=stop, validation_split=0.3, max_epochs=20)
    decoder.fit(X, Y)
    assert 1 < len(decoder.net_.history) < 20
    assert decoder.predict(X).shape == (12,)


def interrupt_call(monkeypatch, where, name, number):
    """Interrupt a function of ours at one of its calls."""
    function, calls = getattr(where, name), []

    def interrupted(*args, **kwargs):
        calls.append(name)
        if len(calls) == number:
            raise KeyboardInterrupt
        return function(*args, **kwargs)

    monkeypatch.setattr(where, name, interrupted)
    return calls


@pytest.mark.parametrize("number", [1, 2, 5])
def test_solving_can_be_interrupted(monkeypatch, number):
    decoder = SAMBAClassifier(**TOLD, random_state=0).fit(X, Y, groups=GROUPS)
    said = decoder.predict_proba(X, groups=GROUPS)
    interrupt_call(monkeypatch, solving, "_solve_reading", number)
    with pytest.raises(KeyboardInterrupt):
        decoder.fit(X[::-1], Y, groups=GROUPS)
    np.testing.assert_array_equal(decoder.predict_proba(X, groups=GROUPS), said)


@pytest.mark.parametrize("number", [2, 3])
def test_interrupted_adaptation_remembers_nobody(monkeypatch, number):
    from braindecode_samba.estimators import decoder as room

    decoder = SAMBAClassifier(**TOLD, random_state=0).fit(X, Y, groups=GROUPS)
    decoder.adapt(X[:4], groups=["a"] * 4)
    said = decoder.predict_proba(X, groups=np.repeat(["a", "b", "c"], 4))
    interrupt_call(monkeypatch, room, "run_in_batches", number)
    with pytest.raises(KeyboardInterrupt):
        decoder.adapt(2 * X[::-1], groups=np.repeat(["a", "b", "c"], 4))
    monkeypatch.undo()
    again = decoder.predict_proba(X, groups=np.repeat(["a", "b", "c"], 4))
    np.testing.assert_array_equal(again, said)


def interrupt_at(number, function):
    """Interrupt at the call of a function of ours; whether it came to that."""
    calls = []

    def trace(frame, event, argument):
        if "braindecode_samba" in frame.f_code.co_filename:
            calls.append(frame)
            if len(calls) == number:
                raise KeyboardInterrupt

    sys.settrace(trace)
    try:
        function()
    except KeyboardInterrupt:
        return True
    finally:
        sys.settrace(None)
    return False


def test_an_interrupted_push_takes_nothing():
    decoder = SAMBAClassifier(**TOLD, random_state=0).fit(X, Y, groups=GROUPS)
    options = {"hop_seconds": 0.25, "band": (4, 38), "sfreq": 250}
    first, second = np.random.default_rng(1).standard_normal((2, 3, 300))
    twin = SAMBAStream(decoder, **options)
    wanted = [twin.push(first)[-1].output, twin.push(second)[-1].output]
    for number in (*range(2, 40, 3), 60, 90, 150, 300, 600):
        stream = SAMBAStream(decoder, **options)
        stream.push(first)
        assert interrupt_at(number, functools.partial(stream.push, second))
        assert stream.n_seen == 300
        np.testing.assert_array_equal(stream.push(second)[-1].output, wanted[1])
    stream = SAMBAStream(decoder, **options)
    assert interrupt_at(100, lambda: stream.push(first))
    np.testing.assert_array_equal(stream.push(first)[-1].output, wanted[0])


# later calls are made in other threads, or only as long as caches are empty
@pytest.mark.parametrize("number", [1, 5, 30, 100, 200, 300])
def test_interrupted_calibration_and_adaptation_change_nothing(number):
    decoder = SAMBAClassifier(**TOLD, random_state=0).fit(X, Y, groups=GROUPS)
    said = decoder.predict_proba(X, groups=GROUPS)
    for change in (
        lambda: decoder.calibrate(2 * X[::-1], Y, groups=GROUPS),
        lambda: decoder.adapt(2 * X[::-1], groups=GROUPS),
    ):
        assert interrupt_at(number, change)
        again = decoder.predict_proba(X, groups=GROUPS)
        np.testing.assert_array_equal(again, said)


@pytest.mark.parametrize("kind", [SystemExit, GeneratorExit, MemoryError])
def test_whatever_a_callback_raises_leaves_the_earlier_fit(kind):
    class Stop(Callback):
        def on_epoch_end(self, net, **kwargs):
            raise kind

    decoder = gradients().fit(X, Y)
    before = learnt(decoder)
    decoder.set_params(callbacks=Stop())
    with pytest.raises(kind):
        decoder.fit(2 * X, Y)
    assert same(learnt(decoder), before)


def test_a_recording_can_be_interrupted(monkeypatch):
    features = SAMBAFeatures(**TOLD, layer="pool3", pooling="mean").fit(X)
    raw = mne.io.RawArray(
        np.random.default_rng(0).standard_normal((3, 4000)) * 1e-5,
        mne.create_info(list(TOLD["ch_names"]), 128.0, "eeg"),
        verbose="error",
    ).set_montage("standard_1020")
    wanted = features.transform_recording(raw, window_seconds=1)
    interrupt_call(monkeypatch, recordings, "median", 2)
    with pytest.raises(KeyboardInterrupt):
        features.transform_recording(raw, window_seconds=1)
    monkeypatch.undo()
    again = features.transform_recording(raw, window_seconds=1)
    np.testing.assert_array_equal(again, wanted)


@pytest.mark.parametrize(
    "net", [BraindecodeNet("EEGNet", max_epochs=3), ProbeNet(max_epochs=3)]
)
def test_baselines_can_be_interrupted(monkeypatch, net):
    x = X if isinstance(net, BraindecodeNet) else X.reshape(12, -1)
    net = copy.deepcopy(net).set_params(random_state=0).fit(x, Y)
    said = net.predict_proba(x)
    kind = type(net.net_)
    train_step, steps = kind.train_step, []

    def interrupted(self, batch, **kwargs):
        steps.append(batch)
        if len(steps) == 2:
            raise KeyboardInterrupt
        return train_step(self, batch, **kwargs)

    monkeypatch.setattr(kind, "train_step", interrupted)
    with pytest.raises(KeyboardInterrupt):
        net.fit(x[::-1], Y)
    np.testing.assert_array_equal(net.predict_proba(x), said)


def pretrainer(**params):
    quick = {f"module__{name}": value for name, value in SMALL.items()}
    return SAMBAPretrainer(
        **TOLD, max_epochs=3, batch_size=4, random_state=0, verbose=0, **quick, **params
    )


def test_an_interrupted_pretraining_is_none_and_says_what_helps():
    net = pretrainer(callbacks=Interrupt(n_pass=2))
    with pytest.raises(KeyboardInterrupt, match="TrainingCheckpoint"):
        net.fit(X)
    assert not net.initialized_
    assert not hasattr(net, "module_")


def test_an_earlier_pretraining_stays():
    net = pretrainer().fit(X)
    before, said = copy.deepcopy(net.module_.state_dict()), net.transform(X)
    net.set_params(callbacks=[Interrupt(n_pass=2)])
    with pytest.raises(KeyboardInterrupt):
        net.fit(3 * X[:8])
    assert same(net.module_.state_dict(), before)
    assert len(net.history) == 3
    np.testing.assert_array_equal(net.transform(X), said)


def test_an_interrupted_pretraining_goes_on(tmp_path):
    wanted = pretrainer().fit(X)
    state = TrainingCheckpoint(tmp_path / "state", every_batches=1)
    net = pretrainer(callbacks=[Interrupt(n_pass=2), state])
    with pytest.raises(KeyboardInterrupt, match=r"fit\(X, resume='.*state'\)"):
        net.fit(X)
    assert has_training_state(tmp_path / "state")
    net = pretrainer(callbacks=[TrainingCheckpoint(tmp_path / "state")])
    net.fit(X, resume=tmp_path / "state")
    assert same(net.module_.state_dict(), wanted.module_.state_dict())


def test_an_interrupted_update_of_a_pretraining_changes_nothing():
    net = pretrainer().fit(X)
    before = copy.deepcopy(net.module_.state_dict())
    net.callbacks_.append(("interrupt", Interrupt(n_pass=4)))
    with pytest.raises(KeyboardInterrupt):
        net.partial_fit(X)
    assert same(net.module_.state_dict(), before)


def test_a_real_signal_stops_a_fit():
    decoder = gradients(max_epochs=100_000)
    main = threading.main_thread().ident
    timer = threading.Timer(1.0, signal.pthread_kill, (main, signal.SIGINT))
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        decoder.fit(X, Y)
    timer.join()
    assert not hasattr(decoder, "net_")


def test_a_pipeline_stops_too():
    steps = make_pipeline(SAMBAFeatures(**TOLD), LogisticRegression())
    steps.fit(X, Y)
    broken = gradients(callbacks=Interrupt())
    with pytest.raises(KeyboardInterrupt):
        make_pipeline(broken).fit(X, Y)
