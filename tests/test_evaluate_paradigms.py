"""The command that scores one decoder on every kind of EEG.

On small made-up sets in the form that the command reads; what it cuts of real
recordings is `trials_and_methods.py`'s affair.
"""

import importlib
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.base import BaseEstimator
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.metrics import balanced_accuracy_score, roc_auc_score
from sklearn.preprocessing import StandardScaler

pytest.importorskip(
    "pyriemann", reason='needs pyRiemann: pip install "braindecode-samba[benchmarks]"'
)

FOLDER = Path(__file__).parents[1] / "examples" / "experiments"
SFREQ = 128


@pytest.fixture(scope="module")
def command(load):
    return load("evaluate_paradigms")


@pytest.fixture(autouse=True)
def _fewer_choices(load, monkeypatch):
    """Search two strengths and two bands: how they are searched is the same."""
    methods = load("paradigm_methods")
    monkeypatch.setattr(methods, "STRENGTHS", (0.01, 1.0))
    monkeypatch.setattr(methods, "PASS_BANDS", (None, (8, 30)))
    monkeypatch.setattr(methods, "EVOKED_BANDS", (None,))


def write_set(folder, name, X, y, subject, names):
    np.savez(
        folder / f"{name}.npz",
        X=X.astype(np.float32),
        y=np.array(y),
        subject=subject,
        recording=np.char.add(subject, "/first"),
        names=np.array(names),
        sfreq=float(SFREQ),
    )


@pytest.fixture(scope="module")
def sets(tmp_path_factory):
    """Folder with flicker of six people and rest of ten, half of whom are ill."""
    folder = tmp_path_factory.mktemp("sets")
    rng = np.random.default_rng(0)
    time = np.arange(2 * SFREQ) / SFREQ
    y = np.tile(["13", "17", "21", "rest"], 6 * 4)
    subject = np.repeat([f"K{one}" for one in range(6)], 16)
    hertz = np.array([0.0 if label == "rest" else float(label) for label in y])
    phase = rng.uniform(0, 6, (len(y), 1))
    wave = np.sin(2 * np.pi * hertz[:, None] * time + phase) * (hertz > 0)[:, None]
    X = rng.standard_normal((len(y), 2, len(time))) + 0.7 * wave[:, None]
    write_set(folder, "kalunga", X, y, subject, ["O1", "O2"])

    subject = np.repeat([f"G{one}" for one in range(10)], 8)
    ill = np.repeat(np.arange(10) % 2, 8)
    closed = np.arange(len(ill)) % 2
    X = rng.standard_normal((len(ill), 2, len(time)))
    X[:, 0] += 1.5 * ill[:, None] * np.sin(2 * np.pi * 6 * time)
    X[:, 1] += 1.5 * closed[:, None] * np.sin(2 * np.pi * 10 * time)
    y = [
        f"{('Control', 'Epilepsy')[a]}/{('open', 'closed')[b]}"
        for a, b in zip(ill, closed, strict=True)
    ]
    write_set(folder, "guinea_bissau", X, y, subject, ["O1", "O2"])
    return folder


@pytest.fixture
def run(command, sets, tmp_path):
    """Run the command on these sets."""

    def run(*arguments):
        command.main(["--sets", str(sets), "--output", str(tmp_path), *arguments])

    return run


def make_column(load, *, y, n_persons=6, n_times=128, seed=0):
    """Column of noise in which each person is scored once."""
    columns = load("paradigm_columns")
    rng = np.random.default_rng(seed)
    subject = np.repeat([f"S{one}" for one in range(n_persons)], len(y) // n_persons)
    return columns.Column(
        X=rng.standard_normal((len(y), 3, n_times)).astype(np.float32),
        y=np.asarray(y),
        subject=subject,
        recording=subject,
        fold=columns.one_out(subject),
        names=np.array(["C3", "Cz", "C4"]),
        sfreq=float(SFREQ),
    )


# the table


def test_a_table_is_made_once_and_printed(run, capsys):
    asked = ["--columns", "kalunga", "eyes", "diagnosis"]
    asked += ["--methods", "cca", "bandpower"]
    run(*asked)
    said = capsys.readouterr().out
    assert "4 of 4 rows" in said
    lines = {line.split(" | ")[0].strip("| "): line for line in said.splitlines()}
    assert "AUC over persons" in lines["scored by"]
    told = lines["CCA, frequencies told, + LR"].split(" | ")
    assert told[2:4] == ["-", "-"]
    assert told[4].endswith("(of 1) |")
    assert float(told[1].split(" ± ")[0]) > 0.9
    powers = lines["band power + LR"].split(" | ")
    assert float(powers[2].split(" ± ")[0]) > 0.9
    assert float(powers[3].split(" ± ")[0]) > 0.9
    run("--columns", "kalunga", "--methods", "cca", "bandpower", "csp")
    assert "1 of 3 rows" in capsys.readouterr().out


def test_a_table_is_printed_without_computing(run, capsys):
    asked = ["--columns", "kalunga", "--methods", "cca", "bandpower"]
    with pytest.raises(SystemExit, match="none of these rows"):
        run(*asked, "--table")
    run("--columns", "kalunga", "--methods", "cca")
    capsys.readouterr()
    run(*asked, "--table")
    said = capsys.readouterr().out
    assert "rows are to be computed" not in said
    assert "CCA" in said
    assert "band power" not in said


@pytest.mark.parametrize("changed", ["X", "y", "fold"])
def test_other_windows_labels_or_folds_are_another_row(command, load, changed):
    column = make_column(load, y=np.tile(["a", "b"], 36))
    values = np.roll(getattr(column, changed), 1, axis=0)
    assert command.digest(column) == command.digest(replace(column))
    assert command.digest(column) != command.digest(
        replace(column, **{changed: values})
    )


def test_only_what_is_drawn_gets_several_seeds(command, load, sets, tmp_path):
    options = command.parse(
        ["--columns", "kalunga", "--methods", "csp", "eegnet", "--seeds", "0", "1"]
        + ["--sets", str(sets)]
    )
    rows = command.list_rows(options, tmp_path / "columns")
    assert [(row["method"], row["seed"]) for row in rows] == [
        ("csp", 0),
        ("eegnet", 0),
        ("eegnet", 1),
    ]


def test_who_knows_the_people_is_scored_on_others_alone(command, capsys):
    assert "samba-labels" not in command.parse([]).methods
    assert "samba-labels" in command.parse(["--develop"]).methods
    with pytest.raises(SystemExit):
        command.parse(["--methods", "samba-labels"])
    assert "add --develop" in capsys.readouterr().err


def test_samba_is_compared_with_the_best_of_each_column_and_of_all(command):
    import pandas as pd

    means = pd.DataFrame(
        {"kalunga": [0.8, 0.1, 0.85, 0.7], "eyes": [0.9, 0.2, np.nan, 0.8]},
        index=["samba", "samba-random", "cca", "csp"],
    )
    column, other, mean = command.compare(means)
    assert (column, other) == ("-0.050", "+0.100")
    assert mean == "+0.100 (CSP + LDA)"


# who is scored, and how


def test_everybody_is_scored_once_and_the_same_in_every_run(load):
    columns = load("paradigm_columns")
    subject = np.repeat(np.arange(12).astype(str), 3)
    fold = columns.five_folds(subject)
    assert sorted(set(fold)) == [0, 1, 2, 3, 4]
    assert all(len(set(fold[subject == one])) == 1 for one in subject)
    np.testing.assert_array_equal(fold, columns.five_folds(subject))


def test_labels_of_who_is_scored_change_nothing_for_them(command, load):
    y = np.tile(["a", "b"], 36)
    column = make_column(load, y=y)
    column = replace(column, fold=np.where(column.fold < 2, column.fold, -1))
    scored = column.fold == 0
    other = replace(column, y=np.where(scored, np.roll(y, 1), y))
    for method in ("csp", "bandpower"):
        before, after = (
            command.decode("p300", method, one, 0)[scored] for one in (column, other)
        )
        np.testing.assert_array_equal(before, after)


def test_those_who_are_trained_on_alone_are_not_scored(command, load):
    column = make_column(load, y=np.tile(["a", "b"], 36))
    column = replace(column, fold=np.where(column.fold < 4, -1, 0))
    evidence = command.decode("left_right", "bandpower", column, 0)
    assert np.isnan(evidence[column.fold == -1]).all()
    assert not np.isnan(evidence[column.fold == 0]).any()


@given(
    st.lists(
        st.tuples(st.booleans(), st.integers(0, 4)), min_size=4, max_size=12
    ).filter(lambda people: len({ill for ill, _ in people}) == 2)
)
def test_mean_rank_of_people_is_the_auc_over_people(people):
    sys.path.insert(0, str(FOLDER))
    scores = importlib.import_module("paradigm_scores")
    ill, evidence = map(np.array, zip(*people, strict=True))
    subject = np.repeat(np.arange(len(ill)), 2)
    y = np.where(ill, "ill", "well")[subject]
    # two windows a person, whose mean counts
    p = np.stack([evidence - 0.5, evidence + 0.5], axis=1).ravel()
    scores = scores.rank_people(y, np.stack([p, -p], axis=1), subject)
    assert np.mean(list(scores.values())) == pytest.approx(
        roc_auc_score(~ill, -evidence)
    )


def test_scores_within_people_are_those_of_scikit_learn(load):
    score = load("paradigm_scores").score_people
    rng = np.random.default_rng(0)
    subject = np.repeat(["a", "b"], 20)
    two, four = rng.choice(["x", "y"], 40), rng.choice(list("wxyz"), 40)
    number, evidence = rng.standard_normal(40), rng.random((40, 4))
    rows = subject == "a"
    auc = score("AUC", two, evidence[:, :2], subject)
    assert auc["a"] == roc_auc_score(two[rows] == "y", evidence[rows, 1])
    accuracy = score("balanced accuracy", four, evidence, subject)
    best = np.array(list("wxyz"))[evidence.argmax(1)]
    assert accuracy["a"] == balanced_accuracy_score(four[rows], best[rows])
    r = score("r", number, evidence[:, 0], subject)
    assert r["b"] == pytest.approx(np.corrcoef(number[~rows], evidence[~rows, 0])[0, 1])


def test_who_shows_one_class_has_no_auc(load):
    score = load("paradigm_scores").score_people
    y, subject = np.array(["a", "b", "b", "b"]), np.array(["1", "1", "2", "2"])
    assert list(score("AUC", y, np.ones((4, 2)), subject)) == ["1"]


class ByRecording(BaseEstimator):
    """A decoder in SAMBA's form that keeps what it was given."""

    def fit(self, X, y, groups):
        self.known_ = X, groups
        self.model_ = LinearDiscriminantAnalysis().fit(X.std(-1), y)
        return self

    def predict_proba(self, X, groups):
        self.new_ = X, groups
        return self.model_.predict_proba(X.std(-1))


def test_samba_gets_windows_as_they_are_and_their_recordings(command, load):
    column = make_column(load, y=np.tile(["a", "b"], 36))
    column = replace(column, recording=np.char.add(column.subject, "/morning"))
    test = column.fold == 2
    samba = ByRecording()
    evidence = command.ask_samba(samba, column, test)
    assert evidence.shape == (12, 2)
    for (X, groups), rows in ((samba.known_, ~test), (samba.new_, test)):
        np.testing.assert_array_equal(X, column.X[rows])
        np.testing.assert_array_equal(groups, column.recording[rows])


def test_samba_is_told_channels_and_rate_and_nothing_else(command, load):
    from braindecode_samba import SAMBAClassifier, SAMBARegressor

    column = make_column(load, y=np.tile(["a", "b"], 36))
    numbers = replace(column, y=np.arange(72.0))
    told = {"ch_names": ["C3", "Cz", "C4"], "sfreq": SFREQ}
    for one, kind in ((column, SAMBAClassifier), (numbers, SAMBARegressor)):
        samba = command.make("p300", "samba", one, 3)
        assert type(samba) is kind
        assert samba.get_params() == kind(**told).get_params()
        random = command.make("p300", "samba-random", one, 3)
        wanted = kind(**told, checkpoint=None, random_state=3)
        assert random.get_params() == wanted.get_params()


# columns


def test_people_of_recordings_are_cut_once_with_their_part(load):
    columns = load("paradigm_columns")

    def cut(folder, person, window):
        return np.full((2, 1, 4), person * 1e-6), np.array([0, 1]), ["T3"]

    people = ((1, 2), (3,))
    fields = columns.read_people(cut, people, ("left", "right"), "folder", (0, 1))
    assert fields["fold"].tolist() == [-1, -1, -1, -1, 0, 0]
    assert fields["y"].tolist() == ["left", "right"] * 3
    assert fields["names"] == ["T7"]
    np.testing.assert_allclose(fields["X"][:, 0, 0], [1, 1, 2, 2, 3, 3])


def test_nobody_who_is_kept_for_the_final_test_is_read(load):
    columns = load("paradigm_columns")
    assert {*columns.FISTS[0], *columns.FISTS[1]} == set(range(1, 40))
    assert {*columns.ARITHMETIC[0], *columns.ARITHMETIC[1]} == set(range(20))


def test_simulated_people_come_in_microvolts_and_five_folds(load):
    columns = load("paradigm_columns")
    fields = columns.simulated(lambda one: one.evoked(5, 4))(None, None)
    assert fields["X"].shape == (20, len(columns.ELECTRODES), SFREQ)
    assert len(set(fields["subject"])) == 5
    assert sorted(set(fields["fold"])) == [0, 1, 2, 3, 4]
    assert 1 < fields["X"].std() < 100


# methods


def test_the_reader_that_shows_the_labels_is_chosen(load):
    methods = load("paradigm_methods")
    rng = np.random.default_rng(0)
    y = np.tile(["a", "b"], 40)
    X = rng.standard_normal((80, 3))
    X[:, 1] += 3 * (y == "b")
    chosen = methods.ChosenOnPersons(
        [lambda X: X[:, :1], lambda X: X[:, 1:2], lambda X: X[:, 2:]],
        [StandardScaler()],
        methods.linear_models(numbers=False),
        "AUC",
    )
    read = chosen.read(X)
    chosen.fit(read, y, groups=np.repeat(np.arange(4), 20))
    assert chosen.number_ == 1
    assert roc_auc_score(y == "b", chosen.predict_proba(read)[:, 1]) > 0.95


def test_choices_hold_for_people_who_are_held_out(load):
    methods = load("paradigm_methods")
    rng = np.random.default_rng(0)
    person = np.repeat(np.arange(4), 20)
    y = np.tile([0.0, 1.0], 40)
    # one reader tells windows of a person apart, but otherwise in each person
    own = np.where(person % 2, y, -y)[:, None] * 5
    weak = y[:, None] + rng.standard_normal((80, 1))
    chosen = methods.ChosenOnPersons(
        [lambda X: own, lambda X: weak],
        [StandardScaler()],
        methods.linear_models(numbers=True),
        "r",
    )
    assert chosen.fit(chosen.read(None), y, groups=person).number_ == 1


@pytest.mark.parametrize("method", ["csp", "tangent", "bandpower", "eegnet"])
def test_numbers_are_predicted_by_twins(command, load, method):
    y = np.random.default_rng(1).uniform(-1, 1, 100)
    column = make_column(load, y=y, n_persons=5)
    column.X[:, 1] *= np.exp(y)[:, None]
    column = replace(column, fold=column.fold % 2)
    evidence = command.decode("sim_number", method, column, 0)
    assert evidence.shape == (100,)
    if method != "eegnet":
        assert np.corrcoef(evidence, y)[0, 1] > 0.7


def test_what_is_locked_to_the_event_is_seen_by_xdawn_alone(command, load):
    y = np.tile(["other", "target"], 60)
    column = make_column(load, y=y, n_times=64)
    column = replace(column, fold=column.fold % 2)
    bump = np.exp(-0.5 * ((np.arange(64) - 38) / 4) ** 2)
    column.X[:, 1] += np.where(y == "target", 1, -1)[:, None] * bump
    auc = {}
    for method in ("xdawn", "csp"):
        evidence = command.decode("p300", method, column, 0)
        auc[method] = roc_auc_score(y == "target", evidence[:, 1])
    assert auc["xdawn"] > 0.9
    assert auc["csp"] < 0.65


def test_networks_stop_and_go_back_to_the_best_pass(load):
    networks = load("paradigm_networks")
    column = make_column(load, y=np.tile(["a", "b"], 30), n_persons=5)
    net = networks.StoppedNet("EEGNet", 128.0, lr=1e-2, max_epochs=30, patience=2)
    read = net.read(column.X)
    net.fit(read, column.y, groups=column.subject)
    losses = net.net_.history[:, "valid_loss"]
    assert len(losses) < 30
    assert len(losses) == np.argmin(losses) + 3
    again = networks.StoppedNet("EEGNet", 128.0, lr=1e-2, max_epochs=30, patience=2)
    again.fit(read, column.y, groups=column.subject)
    np.testing.assert_array_equal(net.predict_proba(read), again.predict_proba(read))


def test_networks_see_128_hz_in_any_unit(load):
    networks = load("paradigm_networks")
    column = make_column(load, y=np.tile(["a", "b"], 30), n_persons=5, n_times=250)
    found = []
    for unit in (1.0, 1e6):
        net = networks.StoppedNet("EEGNet", 250.0, lr=1e-3, max_epochs=1)
        read = net.read(column.X * np.float32(unit))
        assert read[0].shape[-1] == 128
        net.fit(read, column.y, groups=column.subject)
        found.append(net.predict_proba(read))
    np.testing.assert_allclose(*found, atol=1e-4)


@pytest.mark.parametrize(
    ("column", "words"), [("left_right", "--data-path"), ("kalunga", "--sets")]
)
def test_a_folder_that_nobody_named_is_asked_for(
    command, tmp_path, monkeypatch, column, words
):
    monkeypatch.delenv("BRAINDECODE_SAMBA_DATA", raising=False)
    with pytest.raises(SystemExit, match=words):
        command.main(["--columns", column, "--output", str(tmp_path)])


def test_unknown_columns_are_refused_before_any_work(command, capsys):
    with pytest.raises(SystemExit):
        command.parse(["--columns", "sleep"])
    assert "invalid choice" in capsys.readouterr().err
