"""Callbacks, loggers and files: used as they are, or refused before any work."""

import functools
import io
import socket
import threading

import numpy as np
import pytest
from sklearn import config_context
from sklearn.base import clone
from sklearn.model_selection import cross_val_score
from skorch.callbacks import (
    BatchScoring,
    Callback,
    Checkpoint,
    EarlyStopping,
    EpochScoring,
    LRScheduler,
    MlflowLogger,
    PrintLog,
    TensorBoard,
    WandbLogger,
)
from torch.optim.lr_scheduler import ReduceLROnPlateau
from tqdm import tqdm

from braindecode_samba import SAMBAClassifier, SAMBARegressor
from braindecode_samba.estimators import gradients as training
from braindecode_samba.estimators import running, solving
from braindecode_samba.pretraining import SAMBAPretrainer

TOLD = {"ch_names": ("C3", "Cz", "C4"), "sfreq": 128}
SMALL = {"d_state": 4, "expand": 2}
X = np.random.default_rng(0).standard_normal((12, 3, 64)).astype(np.float32)
Y = np.arange(12) % 2


def gradients(kind=SAMBAClassifier, **params):
    own = {"start": "random", "checkpoint": None, "max_epochs": 2}
    return kind(**TOLD, model_params=SMALL, random_state=0, **{**own, **params})


class Writer:
    """As TensorBoard's: a queue behind a lock."""

    def __init__(self):
        self.lock = threading.Lock()
        self.scalars = []

    def add_scalar(self, tag, scalar_value, global_step=None, **kwargs):
        with self.lock:
            self.scalars.append((tag, global_step))


class Run:
    """As that of wandb: a socket to a service."""

    def __init__(self):
        self.socket = socket.socket()
        self.rows = []
        self.config = {}

    def log(self, row, **kwargs):
        self.rows.append(row)

    def watch(self, module):
        self.watched = module


class Client:
    """As that of MLflow: a generator that is under way, and a lock."""

    def __init__(self):
        self.lock = threading.RLock()
        self.numbers = (number for number in range(10))
        self.metrics = []

    def log_metric(self, run_id, key, value, step=None):
        self.metrics.append(key)

    def log_batch(self, run_id, metrics=(), **kwargs):
        self.metrics += [metric.key for metric in metrics]

    def log_artifact(self, *args, **kwargs):
        pass

    def set_terminated(self, run_id):
        pass


class Info:
    """What MLflow's run says of itself."""

    run_id = "1"


class MlflowRun:
    """As that of MLflow."""

    info = Info()


class FileLog(Callback):
    """Write a line a pass to a file that the user has opened."""

    def __init__(self, file):
        self.file = file

    def on_epoch_end(self, net, **kwargs):
        self.file.write(f"{net.history[-1, 'train_loss']}\n")


class Memory(Callback):
    """Remember losses."""

    def __init__(self):
        self.losses = []

    def on_epoch_end(self, net, **kwargs):
        self.losses.append(net.history[-1, "train_loss"])


def loggers(folder):
    writer, run = Writer(), Run()
    file = (folder / "log.txt").open("w")
    return {
        "TensorBoard": (TensorBoard(writer, close_after_train=False), writer.scalars),
        "wandb": (WandbLogger(run, save_model=False), run.rows),
        "file": (FileLog(file), file),
        "stream": (FileLog(text := io.StringIO()), text),
        "own": ((memory := Memory()), memory.losses),
    }


@pytest.mark.parametrize("name", ["TensorBoard", "wandb", "file", "stream", "own"])
@pytest.mark.parametrize("listed", [True, False])
@pytest.mark.parametrize("kind", [SAMBAClassifier, SAMBARegressor])
def test_loggers_train_and_their_owner_gets_the_results(tmp_path, name, listed, kind):
    callback, results = loggers(tmp_path)[name]
    decoder = gradients(kind, callbacks=[callback] if listed else callback)
    decoder.fit(X, Y)
    if hasattr(results, "tell"):
        assert results.tell() > 0
    else:
        assert results
    assert any(one is callback for _, one in decoder.net_.callbacks_)


@pytest.mark.parametrize("name", ["TensorBoard", "wandb", "file", "own"])
def test_loggers_can_be_validated_and_cloned(tmp_path, name):
    callback, results = loggers(tmp_path)[name]
    decoder = gradients(callbacks=[callback])
    assert np.isfinite(cross_val_score(decoder, X, Y, cv=2)).all()
    twin = clone(decoder).callbacks[0]
    # what can be copied is, as scikit-learn has it
    assert (twin is callback) == (name != "own")
    assert type(twin) is type(callback)


def test_a_clone_has_the_other_settings_of_its_own():
    decoder = gradients(callbacks=[FileLog(open("/dev/null", "w"))], lr=0.5)  # noqa: SIM115, PTH123
    with config_context(enable_metadata_routing=True):
        decoder.set_fit_request(groups=False)
    twin = clone(decoder)
    assert twin.get_params()["lr"] == 0.5
    assert twin.model_params == SMALL
    assert twin.model_params is not decoder.model_params
    assert twin.get_metadata_routing().fit.requests["groups"] is False


def test_mlflow_like_loggers_train():
    client = Client()
    gradients(callbacks=MlflowLogger(MlflowRun(), client)).fit(X, Y)
    assert client.metrics


@pytest.mark.parametrize(
    "callbacks",
    [
        Memory(),
        Memory,
        ("named", Memory()),
        [Memory()],
        (Memory(), FileLog(io.StringIO())),
        [("a", Memory()), ("b", Memory())],
        [],
        None,
    ],
)
def test_callbacks_come_alone_or_together(callbacks):
    gradients(callbacks=callbacks, max_epochs=1).fit(X, Y)
    net = SAMBAPretrainer(
        **TOLD,
        max_epochs=1,
        verbose=0,
        callbacks=callbacks if not isinstance(callbacks, tuple) else list([callbacks]),
        module__d_state=4,
        module__expand=2,
    )
    if not isinstance(callbacks, tuple):
        net.fit(X)


@pytest.mark.parametrize(
    "callbacks", [Writer(), [Writer()], 3, "TensorBoard", [Memory(), None], {"a": 1}]
)
def test_what_is_no_callback_is_refused(callbacks):
    with pytest.raises(
        TypeError, match=r"callbacks(\[\d\])? is a .*TensorBoard\(writer"
    ):
        gradients(callbacks=callbacks).fit(X, Y)


WATCHERS = {
    "early stopping": lambda: EarlyStopping(),
    "early stopping, a class": lambda: EarlyStopping,
    "early stopping on accuracy": lambda: EarlyStopping("valid_acc"),
    "checkpoint": lambda: Checkpoint(),
    "plateau": lambda: LRScheduler(ReduceLROnPlateau, monitor="valid_loss"),
    "score": lambda: EpochScoring("roc_auc"),
    "score by batch": lambda: BatchScoring("accuracy", name="batch_acc"),
    "named": lambda: ("stop", EarlyStopping()),
    "the name of a score": lambda: "accuracy",
}


@pytest.mark.parametrize("watcher", WATCHERS)
def test_who_watches_held_out_windows_is_told_how_to_hold_some_out(watcher):
    decoder = gradients(callbacks=[Memory(), WATCHERS[watcher]()])
    with pytest.raises(ValueError, match="watches .*pass validation_split=0.2"):
        decoder.fit(X, Y)
    # before any work
    with pytest.raises(ValueError, match="validation_split"):
        decoder.fit("no windows", Y)
    with pytest.raises(ValueError, match="validation_split"):
        decoder.partial_fit(X, Y)


@pytest.mark.parametrize("watcher", ["early stopping", "plateau", "score", "named"])
def test_and_serves_where_some_are(watcher):
    decoder = gradients(callbacks=WATCHERS[watcher](), validation_split=0.3)
    decoder.fit(X, Y)
    assert all("valid_loss" in row for row in decoder.net_.history)
    # from a solved head on, people are held out in any case
    gradients(start="solved", callbacks=WATCHERS[watcher]()).fit(X, Y)


def test_who_only_turns_out_to_watch_is_told_too():
    class Look(Callback):
        def on_epoch_end(self, net, **kwargs):
            net.history[-1, "valid_loss"]

    for callback in (
        Look(),
        Checkpoint(monitor=lambda net: net.history[-1, "valid_loss"]),
    ):
        with pytest.raises(ValueError, match="'valid_loss'.*validation_split"):
            gradients(callbacks=callback).fit(X, Y)
    decoder = gradients(callbacks=Look(), validation_split=0.3).fit(X, Y)
    with pytest.raises(ValueError, match="'valid_loss'.*validation_split"):
        decoder.partial_fit(X, Y)


def test_errors_of_callbacks_are_theirs():
    class Broken(Callback):
        def on_epoch_end(self, net, **kwargs):
            raise KeyError("my own")

    with pytest.raises(KeyError, match="my own"):
        gradients(callbacks=Broken()).fit(X, Y)


def test_pretraining_names_its_own_remedy():
    net = SAMBAPretrainer(**TOLD, callbacks=EarlyStopping(), verbose=0)
    with pytest.raises(ValueError, match="pass valid= to fit"):
        net.fit(X)


def test_a_table_needs_no_held_out_windows():
    lines = []
    gradients(callbacks=PrintLog(sink=lines.append)).fit(X, Y)
    assert "train_loss" in lines[0]


@pytest.mark.parametrize("verbose", [0, 1])
def test_on_a_terminal_long_work_shows_its_progress(monkeypatch, verbose):
    shown = io.StringIO()
    shown.isatty = lambda: True
    told = functools.partial(
        tqdm, delay=0, disable=None, file=shown, mininterval=0, ncols=80
    )
    for module in (running, solving, training):
        monkeypatch.setattr(module, "progress", told)
    solved = SAMBAClassifier(**TOLD, checkpoint=None, verbose=verbose)
    solved.fit(X, Y, groups=np.arange(len(X)) % 2)
    assert "network" in shown.getvalue()
    assert "readings" in shown.getvalue()
    gradients(verbose=verbose).fit(X, Y)
    # skorch prints a table where it is asked to
    assert ("training" in shown.getvalue()) == (verbose == 0)
