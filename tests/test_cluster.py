"""Rows spread over processes and over a Dask cluster: the numbers of one process.

What a table does with rows, in one process, is in `test_tables`.
"""

import contextlib
import os

import joblib
import pytest
import torch

from braindecode_samba import SAMBAClassifier
from braindecode_samba.evaluation import ResumableTable, band_power
from braindecode_samba.signals import EEGSimulator

NAMES = ("F3", "F4", "C3", "C4", "O1", "O2")
ROWS = [{"method": method, "seed": 0} for method in ("band power", "SAMBA")]


def score(method, seed):
    """Probabilities of trials of a subject who was not trained on."""
    # sums of several threads are rounded in another order
    torch.set_num_threads(1)
    X, y, subjects, _ = EEGSimulator(NAMES).imagery(n_subjects=2, n_trials=4)
    X = X[..., 90:218]
    if method == "SAMBA":
        classifier = SAMBAClassifier(
            ch_names=NAMES,
            sfreq=128,
            checkpoint=None,
            start="random",
            max_epochs=1,
            model_params={"d_state": 4, "expand": 2},
            device="cpu",
            random_state=seed,
        )
    else:
        classifier = band_power(sfreq=128)
    train = subjects == 1
    classifier.fit(X[train], y[train])
    return [
        {"trial": trial, "score": right, "process": os.getpid()}
        for trial, right in enumerate(classifier.predict_proba(X[~train])[:, 1])
    ]


def fails_for_samba(method, seed):
    if method == "SAMBA":
        raise ArithmeticError("no such number")
    return {"score": 1.0}


def note_process(method, seed):
    return {"process": os.getpid()}


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """Scores of the rows by this process."""
    n_threads = torch.get_num_threads()
    table = ResumableTable(tmp_path_factory.mktemp("alone"))
    table.run(ROWS, score)
    torch.set_num_threads(n_threads)
    return table.to_frame(ROWS)


@pytest.fixture(scope="module")
def client(tmp_path_factory):
    """Client of a cluster of two workers on this machine."""
    distributed = pytest.importorskip(
        "dask.distributed",
        reason='needs Dask: pip install "braindecode-samba[cluster]"',
    )
    # Dask tells its workers to take one thread through variables of this process
    before = dict(os.environ)
    cluster = distributed.LocalCluster(
        n_workers=2,
        threads_per_worker=1,
        dashboard_address=None,
        local_directory=tmp_path_factory.mktemp("dask"),
    )
    with distributed.Client(cluster) as client:
        yield client
    # on a busy machine workers take their time to go, and Dask gives them seconds
    with contextlib.suppress(TimeoutError):
        cluster.close()
    os.environ.clear()
    os.environ.update(before)


def assert_same_scores_from_elsewhere(frame, alone):
    keys = ["method", "seed", "trial"]
    assert frame[keys].equals(alone[keys])
    assert (frame["score"] - alone["score"]).abs().max() <= 1e-6
    assert alone["score"].std() > 1e-3
    assert os.getpid() not in set(frame["process"])


@pytest.mark.slow  # its processes import everything anew, as those of the cluster do
def test_two_processes_give_the_scores_of_one(tmp_path, alone):
    table = ResumableTable(tmp_path / "loky")
    with joblib.parallel_config(backend="loky", n_jobs=2):
        table.run(ROWS, score)
    assert_same_scores_from_elsewhere(table.to_frame(ROWS), alone)


def test_a_cluster_gives_the_scores_of_one_process(tmp_path, alone, client):
    table = ResumableTable(tmp_path / "dask")
    with joblib.parallel_config(backend="dask"):
        table.run(ROWS, score)
    assert_same_scores_from_elsewhere(table.to_frame(ROWS), alone)


def test_a_cluster_leaves_finished_rows_alone(tmp_path, client):
    table = ResumableTable(tmp_path)
    table.run(ROWS[:1], note_process)
    with joblib.parallel_config(backend="dask"):
        table.run(ROWS, note_process)
    frame = table.to_frame().set_index("method")["process"]
    assert frame["band power"] == os.getpid()
    assert frame["SAMBA"] != os.getpid()


def test_a_row_that_fails_on_a_cluster_is_named_after_the_others(tmp_path, client):
    table = ResumableTable(tmp_path)
    with joblib.parallel_config(backend="dask"):
        with pytest.raises(RuntimeError, match=r"1 of 2 rows failed[\s\S]*no such num"):
            table.run(ROWS, fails_for_samba)
    assert table.missing(ROWS) == ROWS[1:]


def test_a_relative_folder_is_the_same_for_workers_elsewhere(
    tmp_path, monkeypatch, client
):
    # the workers were started in another folder
    monkeypatch.chdir(tmp_path)
    table = ResumableTable("table")
    with joblib.parallel_config(backend="dask"):
        table.run(ROWS, note_process)
    assert len(list((tmp_path / "table").glob("*.json"))) == 2


def test_a_table_stays_where_it_was_made(tmp_path, monkeypatch):
    (tmp_path / "other").mkdir()
    monkeypatch.chdir(tmp_path)
    table = ResumableTable("table")
    monkeypatch.chdir(tmp_path / "other")
    table.run(ROWS[:1], note_process)
    assert len(list((tmp_path / "table").glob("*.json"))) == 1
