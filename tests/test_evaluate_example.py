"""The command that makes the table of results: what it cuts, trains and scores.

Whole runs are on made-up trials, in the file that the command keeps beside its table.
"""

import os
from pathlib import Path

import numpy as np
import pytest

from braindecode_samba.evaluation import ResumableTable

pytest.importorskip(
    "moabb", reason='needs MOABB: pip install "braindecode-samba[moabb]"'
)

_FOLDER = os.environ.get("BRAINDECODE_SAMBA_DATA")
NAMES = ["FC3", "FC4", "C3", "Cz", "C4", "CP3", "CP4"]


@pytest.fixture(scope="module")
def example(load):
    return load("evaluate")


@pytest.fixture(scope="module")
def shared(load):
    return load("trials_and_methods")


@pytest.fixture
def output(tmp_path):
    """Folder of a table with trials of 39 heads, each with a mixture of its own."""
    rng = np.random.default_rng(0)
    parts = []
    times = np.arange(256) / 128
    for subject in range(1, 40):
        y = np.arange(8) % 2
        sources = rng.standard_normal((8, 7, 256))
        mu = 4 * np.sin(2 * np.pi * 11 * times + rng.uniform(0, 6, (8, 1)))
        sources[np.arange(8), np.where(y == 0, 4, 2)] += mu
        mixture = np.eye(7) + 0.2 * rng.standard_normal((7, 7))
        parts.append((mixture @ sources * 10, y, np.full(8, subject)))
    X, y, groups = map(np.concatenate, zip(*parts, strict=True))
    X = X.astype(np.float32)
    file = tmp_path / "imagery-0.5-2.5s.npz"
    np.savez(file, X=X, y=y, groups=groups, names=np.array(NAMES))
    return tmp_path


def run(example, output, *arguments):
    example.main(["--output", str(output), "--window", "0.5", "2.5", *arguments])


def test_a_table_is_made_once_and_printed(example, output, capsys):
    asked = ["--methods", "csp", "band-power", "--align", "--mirror"]
    run(example, output, *asked)
    said = capsys.readouterr().out
    assert "2 of 2 rows" in said
    assert "28 training subjects" in said
    assert "test subject's unlabelled trials used" in said
    run(example, output, *asked, "--seeds", "0", "1")
    assert "2 of 4 rows" in capsys.readouterr().out
    frame = ResumableTable(output / "rows").to_frame()
    assert len(frame) == 4 * 11
    assert sorted(set(frame.subject)) == list(range(29, 40))
    assert (frame["test subject's unlabelled trials used"] == 8).all()
    assert frame[frame.pipeline == "csp"].score.mean() > 0.9


def test_few_training_subjects_are_nested_and_those_of_the_seed(shared):
    draw = shared.draw_subjects
    five, ten = (set(draw("imagery", n, 3).tolist()) for n in (5, 10))
    assert len(five) == 5
    assert five < ten <= set(range(1, 29))
    assert set(draw("imagery", 5, 4).tolist()) != five
    assert draw("state", 12, 0).tolist() == list(range(12))


def test_a_curve_has_rows_for_each_number_of_subjects(example, output, capsys):
    run(example, output, "--methods", "csp", "--n-subjects", "1", "5")
    said = capsys.readouterr().out
    assert "1 training subjects" in said
    assert "5 training subjects" in said
    frame = ResumableTable(output / "rows").to_frame()
    assert set(frame.n_train) == {1, 5}
    assert (frame["test subject's unlabelled trials used"] == 0).all()


def test_scores_do_not_depend_on_labels_of_those_who_are_scored(example, output):
    run(example, output, "--methods", "csp", "--align")
    rows = output / "rows"
    before = ResumableTable(rows).to_frame()
    (file,) = rows.iterdir()
    file.unlink()
    (trials,) = output.glob("*.npz")
    data = dict(np.load(trials))
    scored = data["groups"] > 28
    data["y"] = np.where(scored, 1 - data["y"], data["y"])
    np.savez(trials, **data)
    run(example, output, "--methods", "csp", "--align")
    after = ResumableTable(rows).to_frame()
    np.testing.assert_allclose(after.score, 1 - before.score, atol=1e-9)


def test_samba_as_it_comes_is_told_whose_trials_these_are(example, output, shared):
    samba, other = (
        shared.make_method(name, NAMES, 0, align=True) for name in ("samba", "finetune")
    )
    assert shared.aligns_itself(samba)
    assert not shared.aligns_itself(other)
    assert not shared.aligns_itself(shared.make_method("samba", NAMES, 0, align=False))
    asked = ["--methods", "samba", "--n-subjects", "3", "--device", "cpu"]
    run(example, output, *asked, "--align", "--mirror")
    frame = ResumableTable(output / "rows").to_frame()
    assert frame.score.mean() > 0.9
    assert (frame["test subject's unlabelled trials used"] == 8).all()


def test_executed_movements_are_learnt_from_as_well(example, output, capsys):
    (trials,) = output.glob("*.npz")
    data = dict(np.load(trials))
    learnt = data["groups"] < 20
    others = {name: data[name][learnt] for name in ("X", "y", "groups")}
    np.savez(output / "executed-0.5-2.5s.npz", **(data | others))
    # who imagines the wrong hand teaches the wrong hand
    y = np.where(data["groups"] <= 28, 1 - data["y"], data["y"])
    np.savez(trials, **(data | {"y": y}))
    asked = ["--methods", "csp", "--align", "--n-subjects", "1"]
    run(example, output, *asked)
    run(example, output, *asked, "--executed")
    frame = ResumableTable(output / "rows").to_frame()
    means = frame.groupby("executed").score.mean()
    assert means[False] < 0.1
    assert means[True] > 0.9


def test_those_who_executed_are_found(shared, tmp_path):
    for subject, runs in ((2, (3, 7, 11)), (3, (3, 7)), (30, (3, 7, 11))):
        for number in runs:
            file = tmp_path / f"eegmmidb/S{subject:03d}/S{subject:03d}R{number:02d}.edf"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.touch()
    assert shared.who_executed(tmp_path) == [2]
    with pytest.raises(SystemExit, match="no runs"):
        shared.who_executed(tmp_path / "elsewhere")


def test_every_method_can_be_built(shared):
    for method in shared.METHODS:
        made = shared.make_method(method, NAMES, 0, align=True, device="cpu", epochs=1)
        assert hasattr(made, "predict_proba")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--n-subjects", "29"], "from 1 to 28"),
        (["--task", "state", "--n-subjects", "13"], "from 1 to 12"),
        (["--methods", "sambo"], "invalid choice"),
        (["--task", "state", "--executed"], "--task imagery"),
    ],
)
def test_wrong_commands_are_refused_before_any_work(example, arguments, words, capsys):
    with pytest.raises(SystemExit):
        example.parse(arguments)
    assert words in capsys.readouterr().err


def test_missing_recordings_are_named(example, tmp_path):
    with pytest.raises(SystemExit, match=r"holds none of eegmmidb/S001/S001R04\.edf"):
        run(example, tmp_path, "--data-path", str(tmp_path))
    assert not list(tmp_path.glob("*.npz"))


@pytest.mark.skipif(not _FOLDER, reason="BRAINDECODE_SAMBA_DATA names no folder")
def test_real_recordings_are_cut_as_described(shared):
    X, y, names = shared.fists(Path(_FOLDER), 11, (0.5, 3.5))
    assert X.shape == (45, 64, 384)
    assert {"C3", "Cz", "C4"} <= set(names)
    assert np.bincount(y).min() >= 20
    assert 1e-6 < X.std() < 1e-4
    X, y, names = shared.state(Path(_FOLDER), 0, (0.0, 2.0))
    assert X.shape == (60, 19, 256)
    assert np.bincount(y).tolist() == [30, 30]
