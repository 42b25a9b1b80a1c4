"""The paper's data sets, end to end on simulated files of the same form."""

import dataclasses
import warnings
from functools import partial

import mne
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.io import savemat
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from braindecode_samba import SAMBAClassifier, SAMBAFeatures
from braindecode_samba.evaluation.recipes import (
    LabelledWindows,
    describe_recipes,
    get_recipe,
    list_recipes,
    published_scores,
    run_recipe,
    split_by_subject,
)
from braindecode_samba.evaluation.recipes.moabb_sets import read_left_right, read_p300
from braindecode_samba.signals import SimulatedMotorImagery

EMOTIV = get_recipe("stew").ch_names
LISTED = ("crowdsourced", "driver_distraction", "attention", "alpha")
TUAB = ("tuab_10s", "tuab_30s", "tuab_60s", "tuab_100s")
SCALP = (
    "FP1 FP2 F3 F4 C3 C4 P3 P4 O1 O2 F7 F8 T3 T4 T5 T6 A1 A2 FZ CZ PZ"  # TUAB's names
).split()


def simulate(rng, n_chans, n_times, sfreq, alpha):
    """Microvolts (n_chans, n_times): noise, and alpha in the first third of channels.

    An offset as Emotiv's files have it comes on top.
    """
    noise = rng.standard_normal((n_chans, n_times + 32)).cumsum(1)
    signals = 4 * (noise[:, 32:] - noise[:, :-32])
    wave = np.sin(2 * np.pi * 10 * np.arange(n_times) / sfreq)
    signals[: n_chans // 3] += alpha * 60 * wave
    return signals + 4200


def write_stew(folder):
    rng = np.random.default_rng(0)
    ratings = []
    for subject in range(1, 7):
        ratings.append(f"{subject}, 2, {8 if subject < 6 else 4}")
        for state, alpha in (("lo", 0), ("hi", 1)):
            # the last subject calls both states easy
            x = simulate(rng, 14, 128 * 6, 128, alpha * (subject < 6))
            np.savetxt(folder / f"sub{subject:02d}_{state}.txt", x.T, fmt="%.3f")
    np.savetxt(folder / "sub07_lo.txt", x.T, fmt="%.3f")  # nobody rated it
    (folder / "ratings.txt").write_text("\n".join(ratings) + "\n")


def write_listed(folder, classes):
    """Recordings at 256 Hz with a channel too many, two states in each."""
    rng = np.random.default_rng(0)
    lines = ["file,subject,label,start,stop"]
    names = ["COUNTER", *reversed(EMOTIV)]
    for subject in "abcdef":
        rest = simulate(rng, 15, 256 * 5, 256, 0)
        task = simulate(rng, 15, 256 * 5, 256, 1)
        info = mne.create_info(names, 256.0, "eeg")
        signals = np.concatenate([rest, task], axis=1) * 1e-6
        raw = mne.io.RawArray(signals, info, verbose="error")
        file = f"{subject}_raw.fif"
        raw.save(folder / file, verbose="error")
        lines += [
            f"{file},{subject},{classes[0]},,5",
            f"{file},{subject},{classes[1]},5,",
        ]
    (folder / "recordings.csv").write_text("\n".join(lines) + "\n")


def write_dreamer(folder):
    rng = np.random.default_rng(0)
    data = np.empty((1, 5), object)
    for subject in range(5):
        valence = np.array([[1.0], [3.0], [4.0], [5.0]])
        films = np.empty((4, 1), object)
        for film, rated in enumerate(valence.ravel()):
            length = 128 * (6 + film)  # films differ in length
            films[film, 0] = simulate(rng, 14, length, 128, rated > 3).T
        data[0, subject] = {
            "Age": "25",
            "EEG": {"baseline": films, "stimuli": films},
            "ScoreValence": valence,
        }
    electrodes = np.array(EMOTIV, object)[None]
    content = {"Data": data, "EEG_SamplingRate": 128.0, "EEG_Electrodes": electrodes}
    savemat(folder / "DREAMER.mat", {"DREAMER": content})


def spell(rng, n_repetitions):
    """A character at 240 Hz: signals (n_times, 64), flashing, code, type (n_times,)."""
    length = 42 * 12 * n_repetitions + 240
    signals = simulate(rng, 64, length, 240, 0)
    flashing, code, kind = np.zeros((3, length))
    targets = rng.choice(6) + 1, rng.choice(6) + 7
    codes = [one for _ in range(n_repetitions) for one in rng.permutation(12) + 1]
    for number, one in enumerate(codes):
        flash = slice(42 * number, 42 * number + 24)
        flashing[flash], code[flash], kind[flash] = 1, one, one in targets
        if one in targets:
            signals[:10, 42 * number + 60 : 42 * number + 90] += 60
    return signals.T, flashing, code, kind


def write_p300(folder, n_repetitions=3):
    rng = np.random.default_rng(0)
    for subject in "AB":
        spelt = [spell(rng, n_repetitions) for _ in range(4)]
        names = ("Signal", "Flashing", "StimulusCode", "StimulusType")
        content = dict(zip(names, map(np.stack, zip(*spelt, strict=True)), strict=True))
        savemat(folder / f"Subject_{subject}_Train.mat", content)
    for run in ("AAS010R01", "AAS011R02", "AAS012R01"):
        spelt = [spell(rng, n_repetitions) for _ in range(2)]
        names = ("signal", "Flashing", "StimulusCode", "StimulusType")
        joined = map(np.concatenate, zip(*spelt, strict=True))
        content = {
            name: values if values.ndim == 2 else values[:, None]
            for name, values in zip(names, joined, strict=True)
        }
        lengths = [len(one[0]) for one in spelt]
        content["trialnr"] = np.repeat([1, 2], lengths)[:, None]
        savemat(folder / f"{run}.mat", content)


def write_tuab(folder):
    """Half normal, half abnormal, in TUAB's folders and with its names of channels."""
    pytest.importorskip("edfio")
    rng = np.random.default_rng(0)
    names = [f"EEG {name}-REF" for name in SCALP]
    for number in range(8):
        label = ("normal", "abnormal")[number % 2]
        part = "eval" if number < 2 else "train"
        place = folder / "v3.0.1" / "edf" / part / label / "01_tcp_ar"
        place.mkdir(parents=True, exist_ok=True)
        signals = simulate(rng, 21, 101 * 100, 100, number % 2) * 1e-6
        raw = mne.io.RawArray(
            signals, mne.create_info(names, 100.0, "eeg"), verbose="error"
        )
        file = place / f"aaaaaa{'abcdefgh'[number]}a_s001_t000.edf"
        mne.export.export_raw(file, raw, fmt="edf", verbose="error")


WRITERS = {
    "stew": write_stew,
    "dreamer": write_dreamer,
    "p300_averaged": write_p300,
    "p300_single": write_p300,
}
WRITERS |= dict.fromkeys(TUAB, write_tuab)
WRITERS |= {
    name: partial(write_listed, classes=get_recipe(name).classes) for name in LISTED
}
SIMULATED = {
    "physionet_mi": read_left_right,
    "bnci2014_001": read_left_right,
    "grosse_wentrup2009": read_left_right,
    "p300_bnci2014_009": read_p300,
}


def simulated_set(name):
    """A data set of MOABB's with the electrodes of the recipe's."""
    pytest.importorskip("moabb")
    from moabb.datasets.fake import FakeDataset

    if name == "p300_bnci2014_009":
        return FakeDataset(
            event_list=("Target", "NonTarget"),
            paradigm="p300",
            n_subjects=3,
            n_sessions=1,
            n_runs=1,
            n_events=30,
            duration=60,
            channels=("Fz", "Cz", "Pz", "Oz"),
            sfreq=256,
            seed=0,
        )
    recipe = get_recipe(name)
    names = recipe.ch_names if recipe.montage else ("C3", "Cz", "C4", "Pz")
    return SimulatedMotorImagery(3, 1, 5, ch_names=names, sfreq=160, erd=0.9)


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """Give a recipe and the folder to read: files are written once for each kind."""
    folders = {}

    def prepare(name):
        recipe = get_recipe(name)
        if name in SIMULATED:
            read = partial(SIMULATED[name], simulated_set(name))
            return dataclasses.replace(recipe, read=read), None
        kind = WRITERS[name]
        if kind not in folders:
            folders[kind] = tmp_path_factory.mktemp(name)
            kind(folders[kind])
        return recipe, folders[kind]

    return prepare


@pytest.fixture(autouse=True)
def _quiet():
    """braindecode counts TUAB's files; MOABB and MNE announce their next versions."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Expected 2993 files")
        warnings.filterwarnings("ignore", module="moabb|mne|h5py|braindecode\\.")
        yield


def probe():
    """Features of a small network with random weights, and logistic regression."""
    small = {"d_state": 4, "expand": 2}
    features = SAMBAFeatures(
        checkpoint=None, model_params=small, random_state=0, batch_size=16
    )
    return make_pipeline(
        features, StandardScaler(), LogisticRegression(class_weight="balanced")
    )


@pytest.mark.parametrize("name", list_recipes())
def test_recipe_runs_end_to_end_on_files_of_its_form(name, prepared):
    recipe, folder = prepared(name)
    table = run_recipe(recipe, probe(), folder, method="probe")
    own = table[table["source"] == "this run"]
    parts = {"test", "valid"} if recipe.validation else {"test"}
    assert set(own["part"]) == parts
    assert set(own["metric"]) == {"accuracy", "balanced_accuracy", "roc_auc", "f1"}
    assert own["mean"].between(0, 1).all()
    if name not in SIMULATED and name != "p300_single":
        # what the classes differ in is plain to see: labels go with their windows
        areas = own[own["metric"] == "roc_auc"]["mean"]
        assert (areas > 0.9).all(), areas.tolist()
    others = table[table["source"] != "this run"]
    assert len(others) == len(published_scores(name))


@pytest.mark.parametrize("name", list_recipes())
def test_windows_are_as_the_recipe_says_and_no_subject_is_on_two_sides(name, prepared):
    recipe, folder = prepared(name)
    windows = recipe.load(folder)
    assert windows.X.dtype == np.float32
    assert windows.X.shape[1:] == (len(windows.info["ch_names"]), recipe.n_times)
    assert windows.info["sfreq"] == recipe.sfreq
    assert set(windows.y) == set(recipe.classes)
    assert np.abs(windows.X).max() < 0.1  # volts
    places = np.array([channel["loc"][:3] for channel in windows.info["chs"]])
    assert np.isfinite(places).all()
    for seed in range(5):
        parts = split_by_subject(windows, validation=recipe.validation, seed=seed)
        sides = [set(windows.groups[rows]) for rows in parts.values()]
        assert len(set.union(*sides)) == sum(map(len, sides))
        assert sum(map(len, parts.values())) == len(windows.y)


def test_classifier_learns_a_recipe(prepared):
    recipe, folder = prepared("stew")
    small = {"d_state": 4, "expand": 2}
    classifier = SAMBAClassifier(
        checkpoint=None, model_params=small, batch_size=8, random_state=0
    )
    table = run_recipe(recipe, classifier, folder)
    assert classifier.chs_info is None  # a clone was fitted
    test = table.query("part == 'test' and source == 'this run'").set_index("metric")
    assert (test["method"] == "SAMBAClassifier").all()
    assert test.loc["roc_auc", "mean"] > 0.8


def test_moabb_signals_are_those_of_its_paradigm(prepared):
    recipe, _ = prepared("bnci2014_001")
    windows = recipe.load(subjects=[2])
    raw = simulated_set("bnci2014_001").simulator.raw(2, n_trials=5)
    raw.filter(0.5, 40, method="iir", verbose="error").resample(128, verbose="error")
    onset = round(raw.annotations.onset[0] * 128)
    expected = raw.get_data()[:, onset : onset + 256]
    inner = slice(16, -16)
    same = np.corrcoef(windows.X[0][:, inner].ravel(), expected[:, inner].ravel())
    assert same[0, 1] > 0.95
    assert windows.X[0].std() == pytest.approx(expected.std(), rel=0.2)
    assert windows.y[0] == raw.annotations.description[0]
    assert windows.info["ch_names"] == list(recipe.ch_names)


def test_data_path_of_moabb_holds_while_reading_alone(monkeypatch, tmp_path):
    import os

    from moabb.datasets.download import get_dataset_path

    class Looking(SimulatedMotorImagery):
        def _get_single_subject_data(self, subject):
            self.looked = get_dataset_path("SIM", None)
            return super()._get_single_subject_data(subject)

    monkeypatch.setenv("MNE_DATA", "/before")
    dataset = Looking(1, 1, 2, ch_names=["C3", "C4"])
    recipe = dataclasses.replace(
        get_recipe("grosse_wentrup2009"), read=partial(read_left_right, dataset)
    )
    recipe.load(tmp_path)
    assert str(dataset.looked) == str(tmp_path)
    assert os.environ["MNE_DATA"] == "/before"


def test_tuab_is_the_double_banana_without_overlap(prepared):
    recipe, folder = prepared("tuab_30s")
    windows = recipe.load(folder, subjects=["aaaaaaea"])
    assert windows.X.shape == (3, 16, 3840)
    file = next(folder.rglob("aaaaaaea_*.edf"))
    raw = mne.io.read_raw_edf(file, preload=True, verbose="error")
    raw.resample(128, verbose="error")
    for row, (anode, cathode) in ((0, ("FP1", "F7")), (15, ("P4", "O2"))):
        pair = raw[f"EEG {anode}-REF"][0][0] - raw[f"EEG {cathode}-REF"][0][0]
        found = windows.X[:, row].ravel()
        np.testing.assert_allclose(found, pair[: len(found)], atol=1e-8)
    assert not windows.is_test.any()


def test_tuab_tests_on_its_evaluation_part_whatever_the_seed(prepared):
    recipe, folder = prepared("tuab_100s")
    windows = recipe.load(folder)
    for seed in range(3):
        test = split_by_subject(windows, seed=seed)["test"]
        assert set(windows.groups[test]) == {f"aaaaaa{one}a" for one in "ab"}


def test_stew_leaves_unrated_recordings_out_and_reads_each_rating(prepared):
    recipe, folder = prepared("stew")
    windows = recipe.load(folder)
    assert set(windows.groups) == set("123456")
    assert set(windows.y[windows.groups == "6"]) == {"low"}
    assert set(windows.y[windows.groups == "1"]) == {"high", "low"}
    # 150 s, 2 s each 0.5 s: what the published number of windows comes from
    assert 2 * 48 * ((150 - 2) / 0.5 + 1) == 28512
    assert (windows.groups == "1").sum() == 2 * ((6 - 2) / 0.5 + 1)


def test_windows_of_listed_recordings_stay_within_their_stretch(prepared):
    recipe, folder = prepared("alpha")
    windows = recipe.load(folder, subjects=["b"])
    assert (windows.y == "eyes_closed").sum() == (windows.y == "eyes_open").sum() == 7
    assert windows.info["ch_names"] == list(EMOTIV)


def test_averaging_joins_the_repetitions_of_a_character(prepared):
    single, folder = prepared("p300_single")
    averaged, _ = prepared("p300_averaged")
    one, mean = single.load(folder), averaged.load(folder)
    assert len(one.y) == 3 * len(mean.y)
    assert (mean.groups == "C").sum() == 4 * 12  # the unlabelled session is not read
    assert (mean.y == "target").mean() == pytest.approx(2 / 12)
    is_a = one.groups == "A"
    first = is_a & (np.cumsum(is_a) <= 36) & (one.y == "target")
    expected = one.X[first].mean(axis=0)
    found = mean.X[(mean.groups == "A") & (mean.y == "target")][:2].mean(axis=0)
    np.testing.assert_allclose(found, expected, atol=2e-9)


@given(
    subjects=st.lists(st.integers(5, 15), min_size=1, max_size=30).map(
        lambda ids: [f"s{one}" for one in ids]
    ),
    seed=st.integers(0, 100),
)
def test_split_never_divides_a_subject(subjects, seed):
    groups = np.repeat(subjects, 2)
    y = np.tile(["a", "b"], len(subjects))
    info = mne.create_info(["C3"], 128.0, "eeg")
    windows = LabelledWindows(np.zeros((len(y), 1, 8), np.float32), y, groups, info)
    if len(set(subjects)) < 3:
        with pytest.raises(ValueError, match="subjects"):
            split_by_subject(windows, seed=seed)
        return
    parts = split_by_subject(windows, seed=seed)
    again = split_by_subject(windows, seed=seed)
    sides = [set(groups[rows]) for rows in parts.values()]
    assert sum(map(len, sides)) == len(set(subjects))
    for name, rows in parts.items():
        np.testing.assert_array_equal(rows, again[name])


def test_other_seeds_test_other_subjects(prepared):
    recipe, folder = prepared("alpha")
    windows = recipe.load(folder)
    tests = {
        tuple(set(windows.groups[split_by_subject(windows, seed=seed)["test"]]))
        for seed in range(8)
    }
    assert len(tests) > 2


def test_published_test_that_shares_subjects_is_refused():
    info = mne.create_info(["C3"], 128.0, "eeg")
    windows = LabelledWindows(
        np.zeros((4, 1, 8), np.float32),
        np.array(["a", "b"] * 2),
        np.array(["x", "x", "x", "y"]),
        info,
        np.array([False, False, True, True]),
    )
    with pytest.raises(ValueError, match=r"shares subjects.*'x'"):
        split_by_subject(windows)


@pytest.mark.parametrize(
    ("y", "is_test", "message"),
    [
        ("aaaabb", None, r"\['z'\] alone show 'b'"),
        ("ababaa", [False] * 4 + [True] * 2, r"no test subject shows \['b'\]"),
    ],
)
def test_part_without_a_class_is_refused(y, is_test, message):
    windows = LabelledWindows(
        np.zeros((6, 1, 8), np.float32),
        np.array(list(y)),
        np.array(list("wxyxzz")),
        mne.create_info(["C3"], 128.0, "eeg"),
        None if is_test is None else np.array(is_test),
    )
    with pytest.raises(ValueError, match=message):
        split_by_subject(windows, validation=False)


@pytest.mark.parametrize("name", sorted(WRITERS))
def test_missing_files_are_told_with_the_layout(name, tmp_path):
    recipe = get_recipe(name)
    with pytest.raises(ValueError, match="pass data_path"):
        recipe.load()
    with pytest.raises(FileNotFoundError, match="is no folder"):
        recipe.load(tmp_path / "nowhere")
    with pytest.raises(FileNotFoundError):
        recipe.load(tmp_path)


@pytest.mark.parametrize(
    "name", ["stew", "alpha", "p300_single", "tuab_60s", "dreamer"]
)
def test_unknown_subject_is_refused(name, prepared):
    recipe, folder = prepared(name)
    with pytest.raises((ValueError, FileNotFoundError), match="subject"):
        recipe.load(folder, subjects=["nobody"])


def test_folder_that_would_mislead_tuab_labels_is_refused(tmp_path):
    folder = tmp_path / "abnormal"
    folder.mkdir()
    with pytest.raises(ValueError, match="move or link"):
        get_recipe("tuab_10s").load(folder)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("file,subject", "name,subject"), "no columns"),
        (("eyes_open", "eyes_opne"), "none of"),
        (("a_raw.fif", "z_raw.fif"), "lists z_raw.fif"),
        (("5,\n", "5,5.5\n"), "less than a window"),
    ],
)
def test_broken_table_is_refused(change, message, tmp_path):
    write_listed(tmp_path, get_recipe("alpha").classes)
    table = tmp_path / "recordings.csv"
    table.write_text(table.read_text().replace(*change))
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        get_recipe("alpha").load(tmp_path)


def test_published_scores_are_shares_with_a_source():
    table = published_scores()
    assert set(table["recipe"]) <= set(list_recipes())
    assert table["mean"].between(0, 1).all()
    assert table["source"].notna().all()
    fine = table.query("recipe == 'tuab_100s' and method == 'EEGM2 (Fine)'")
    fine = fine.set_index("metric")
    assert fine.loc["balanced_accuracy", ["mean", "std"]].tolist() == [0.8108, 0.0028]
    assert fine.loc["roc_auc", "mean"] == 0.8869


def test_description_names_every_recipe_and_where_its_data_are():
    text = describe_recipes()
    for name in list_recipes():
        recipe = get_recipe(name)
        assert name in text
        assert recipe.access in text
        assert recipe.layout in text


def test_unknown_recipe_lists_the_known():
    with pytest.raises(KeyError, match="tuab_100s"):
        get_recipe("tuab")
