"""Tables of runs: finished rows stay, missing ones are made, nothing is half there."""

import json
from pathlib import Path

import joblib
import numpy as np
import pytest

from braindecode_samba.evaluation import ResumableTable

ROWS = [
    {"pipeline": pipeline, "seed": seed}
    for pipeline in ("CSP", "LR")
    for seed in (0, 1)
]


def count(folder, pipeline, seed):
    """Score two subjects, and leave a mark for each call."""
    mark = Path(folder) / f"{pipeline}-{seed}"
    mark.write_text(mark.read_text() + "x" if mark.exists() else "x")
    return [{"subject": subject, "score": seed + subject / 10} for subject in (1, 2)]


@pytest.fixture
def calls(tmp_path):
    """Folder of the marks, and how many calls there were."""
    folder = tmp_path / "calls"
    folder.mkdir()

    def total():
        return sum(len(mark.read_text()) for mark in folder.iterdir())

    return folder, total


class Counted:
    """`count` with its folder, for other processes too."""

    def __init__(self, folder):
        self.folder = folder

    def __call__(self, pipeline, seed):
        return count(self.folder, pipeline, seed)


def fails_for_lr(pipeline, seed):
    if pipeline == "LR":
        raise ArithmeticError("no such number")
    return {"score": 1.0}


def test_finished_rows_are_not_repeated(tmp_path, calls):
    folder, total = calls
    table = ResumableTable(tmp_path / "table")
    table.run(ROWS[:2], Counted(folder))
    assert total() == 2
    assert table.missing(ROWS) == ROWS[2:]
    table.run(ROWS, Counted(folder))
    assert total() == 4
    ResumableTable(tmp_path / "table").run(ROWS, Counted(folder))
    assert total() == 4


def test_the_same_row_twice_is_one_row_in_any_order_of_settings(tmp_path, calls):
    folder, total = calls
    table = ResumableTable(tmp_path / "table")
    turned = dict(reversed(ROWS[0].items()))
    table.run([ROWS[0], turned], Counted(folder))
    assert total() == 1
    assert len(table.to_frame([turned])) == 2


def test_a_frame_has_a_line_for_each_record(tmp_path, calls):
    table = ResumableTable(tmp_path / "table")
    table.run(ROWS, Counted(calls[0]))
    frame = table.to_frame()
    assert len(frame) == 8
    assert set(frame) == {
        *("pipeline", "seed", "subject", "score"),
        *("minutes", "configuration", "version"),
    }
    assert frame["configuration"].nunique() == 4
    assert (frame["minutes"] >= 0).all()
    one = frame[(frame.pipeline == "LR") & (frame.seed == 1) & (frame.subject == 2)]
    assert one["score"].item() == 1.2
    assert len(table.to_frame(ROWS[:1])) == 2
    assert len(ResumableTable(tmp_path / "other").to_frame(ROWS)) == 0


def test_a_row_tells_all_about_itself(tmp_path):
    table = ResumableTable(tmp_path, command="evaluate.py --seeds 0")
    table.run(ROWS[:1], lambda pipeline, seed: {"score": np.float32(0.5)})
    (file,) = tmp_path.glob("*.json")
    row = json.loads(file.read_text())
    assert row["settings"] == ROWS[0]
    assert row["command"] == "evaluate.py --seeds 0"
    assert row["configuration"] == file.stem
    assert row["records"] == [{"score": 0.5}]
    assert row["version"]


def test_a_configuration_is_known_by_its_settings_alone(tmp_path):
    table = ResumableTable(tmp_path)
    table.run([{"seed": 0, "band": [8, 30]}], lambda seed, band: {"score": 1})
    assert [file.name for file in tmp_path.iterdir()] == ["6ae64e252f6663dd.json"]


@pytest.mark.parametrize(
    "backend",
    [
        "threading",
        "multiprocessing",
        # its processes import everything anew
        pytest.param("loky", marks=pytest.mark.slow),
    ],
)
def test_every_backend_gives_the_rows_of_one_process(tmp_path, calls, backend):
    alone = ResumableTable(tmp_path / "alone")
    alone.run(ROWS, Counted(calls[0]))
    spread = ResumableTable(tmp_path / backend)
    with joblib.parallel_config(backend=backend, n_jobs=2):
        spread.run(ROWS, Counted(calls[0]))
    keys = ["pipeline", "seed", "subject", "score", "configuration"]
    assert spread.to_frame()[keys].equals(alone.to_frame()[keys])


def test_rows_that_fail_are_named_after_all_others_are_finished(tmp_path):
    table = ResumableTable(tmp_path)
    rows = [ROWS[2], *ROWS[:2], ROWS[3]]
    with pytest.raises(RuntimeError, match=r"2 of 4 rows failed[\s\S]*no such number"):
        table.run(rows, fails_for_lr)
    assert table.missing(rows) == [ROWS[2], ROWS[3]]
    table.run(rows, lambda pipeline, seed: {"score": 0.0})
    assert table.missing(rows) == []
    assert table.to_frame()["score"].tolist().count(1.0) == 2


def test_an_interrupted_row_leaves_nothing(tmp_path):
    def interrupted(pipeline, seed):
        if seed:
            raise KeyboardInterrupt
        return {"score": 1.0}

    table = ResumableTable(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        table.run(ROWS[:2], interrupted)
    assert table.missing(ROWS[:2]) == ROWS[1:2]
    assert len(list(tmp_path.iterdir())) == 1


def test_what_is_being_written_is_no_row(tmp_path):
    (tmp_path / ".0123.json.abc.part").write_text("{")
    assert len(ResumableTable(tmp_path).to_frame()) == 0


def test_a_strange_file_is_named(tmp_path):
    (tmp_path / "notes.json").write_text('{"a": 1}')
    with pytest.raises(ValueError, match=r"notes\.json is no row"):
        ResumableTable(tmp_path).to_frame()


@pytest.mark.parametrize(
    ("record", "words"),
    [
        ({"score": float("nan")}, "JSON"),
        ({"score": np.zeros(2)}, "ndarray"),
        ({"seed": 3}, r"columns \['seed'\]"),
    ],
)
def test_records_that_no_table_can_hold_fail(tmp_path, record, words):
    table = ResumableTable(tmp_path)
    with pytest.raises(RuntimeError, match=words):
        table.run(ROWS[:1], lambda pipeline, seed: record)
    assert table.missing(ROWS[:1]) == ROWS[:1]


@pytest.mark.parametrize(
    ("row", "error", "words"),
    [
        ({"pipeline": "CSP"}, ValueError, "names no seed"),
        ({"seed": 0, "model": object()}, TypeError, "what JSON can't"),
        ({"seed": 0, "lr": float("nan")}, TypeError, "what JSON can't"),
    ],
)
def test_settings_are_checked_before_any_row_runs(tmp_path, calls, row, error, words):
    table = ResumableTable(tmp_path / "table")
    with pytest.raises(error, match=words):
        table.run([ROWS[0], row], Counted(calls[0]))
    assert calls[1]() == 0
