"""What the simulated recordings promise: known sources, fixed seeds, MOABB's rules."""

import logging
import pickle
import subprocess
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path

import mne
import numpy as np
import pytest
from mne.decoding import CSP
from scipy.signal import welch
from scipy.stats import linregress
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.linear_model import Ridge
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import (
    GroupKFold,
    StratifiedKFold,
    cross_val_predict,
    cross_val_score,
)
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from braindecode_samba.signals import EEGSimulator, SimulatedMotorImagery

pytest.importorskip("moabb")

from moabb.evaluations import (  # noqa: E402
    CrossSessionEvaluation,
    CrossSubjectEvaluation,
    WithinSessionEvaluation,
)
from moabb.paradigms import LeftRightImagery, MotorImagery  # noqa: E402

FEW = ["F3", "F4", "C3", "Cz", "C4", "P3", "P4", "Oz"]


@pytest.fixture(scope="module", autouse=True)
def nothing_in_the_home_folder(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[None]:
    folder = str(tmp_path_factory.mktemp("home"))
    with pytest.MonkeyPatch.context() as patch:
        for name in ("_MNE_FAKE_HOME_DIR", "MNE_DATA", "MOABB_RESULTS"):
            patch.setenv(name, folder)
        yield


@pytest.fixture(scope="module")
def default_trials() -> tuple[np.ndarray, np.ndarray, np.ndarray, mne.Info]:
    return EEGSimulator().imagery(n_subjects=6)


def _to_array(X: np.ndarray | mne.BaseEpochs) -> np.ndarray:
    return X.get_data(copy=True) * 1e6 if isinstance(X, mne.BaseEpochs) else X


def _csp_lda() -> object:
    return make_pipeline(
        FunctionTransformer(_to_array), CSP(4), LinearDiscriminantAnalysis()
    )


def _log_power(X: np.ndarray, low: float, high: float, sfreq: float) -> np.ndarray:
    """Log band power, (trials, channels)."""
    freqs, power = welch(X, sfreq, nperseg=int(sfreq))
    return np.log(power[..., (freqs >= low) & (freqs <= high)].mean(axis=-1))


def _cosine(a: np.ndarray, b: np.ndarray) -> float:
    return abs(a @ b) / np.linalg.norm(a) / np.linalg.norm(b)


def test_same_seed_subject_and_session_are_the_same_data_in_any_order() -> None:
    first = EEGSimulator(FEW, seed=3)
    second = EEGSimulator(FEW, seed=3)
    forward = {key: first.raw(*key, n_trials=2) for key in [(1, 0), (2, 1)]}
    np.random.seed(0)  # noqa: NPY002
    for subject, session in [(2, 1), (1, 0)]:
        again = second.raw(subject, session, n_trials=2)
        expected = forward[subject, session]
        np.testing.assert_array_equal(again.get_data(), expected.get_data())
        assert again.annotations == expected.annotations


def test_other_subjects_of_the_data_set_change_nothing() -> None:
    small = SimulatedMotorImagery(2, 1, 2, ch_names=FEW).get_data([2])[2]
    large = SimulatedMotorImagery(7, 2, 2, ch_names=FEW).get_data()[2]
    np.testing.assert_array_equal(
        small["0"]["0"].get_data(), large["0"]["0"].get_data()
    )


def test_seed_subject_and_session_each_change_the_data() -> None:
    start = EEGSimulator(FEW).raw(1, 0, n_trials=2).get_data()[:, :1000]
    for other in (
        EEGSimulator(FEW, seed=1).raw(1, 0, n_trials=2),
        EEGSimulator(FEW).raw(2, 0, n_trials=2),
        EEGSimulator(FEW).raw(1, 1, n_trials=2),
    ):
        assert abs(np.corrcoef(start[0], other.get_data()[0, :1000])[0, 1]) < 0.3


def test_global_random_state_is_left_alone() -> None:
    np.random.seed(5)  # noqa: NPY002
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    EEGSimulator(FEW).regression(n_subjects=1, n_trials=2)
    np.testing.assert_array_equal(before, np.random.get_state()[1])  # noqa: NPY002


def test_left_out_and_reordered_channels_change_no_other() -> None:
    full = EEGSimulator().raw(1, n_trials=2)
    part = EEGSimulator(["Oz", "C4", "Fp1"]).raw(1, n_trials=2)
    rows = [full.ch_names.index(name) for name in part.ch_names]
    # 9 of 16 digits of signals of 1e-5 V: sums over the sources, and the transforms of
    # the resampling, may take the last ones, with other BLAS kernels and vector lengths
    np.testing.assert_allclose(
        part.get_data(), full.get_data()[rows], rtol=0, atol=1e-14
    )


@pytest.mark.parametrize("sfreq", [80, 100.0, 160, 250, 512, 333.3])
def test_any_rate_is_the_same_signal(sfreq: float) -> None:
    base = EEGSimulator(["C3"], sfreq=256).raw(1, n_trials=2)
    other = EEGSimulator(["C3"], sfreq=sfreq).raw(1, n_trials=2)
    assert other.info["sfreq"] == sfreq
    np.testing.assert_array_equal(other.annotations.onset, base.annotations.onset)
    at = np.arange(2, base.times[-1] - 2, 0.05)
    band = [
        np.interp(at, raw.times, raw.copy().filter(None, 12, verbose="error")[0][0][0])
        for raw in (base, other)
    ]
    assert np.corrcoef(*band)[0, 1] > 0.995
    assert abs(band[0].std() / band[1].std() - 1) < 0.03


@pytest.mark.parametrize(
    "montage", ["biosemi64", "GSN-HydroCel-32", "standard_1020", "colin27_1020"]
)
def test_mnes_montages_work_without_a_warning(montage: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        raw = EEGSimulator(montage=montage).raw(1, n_trials=1)
    assert np.isfinite(raw.get_data()).all()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        expected = mne.channels.make_standard_montage(montage)
    info = mne.create_info(expected.ch_names, 128.0, "eeg").set_montage(expected)
    for ours, theirs in zip(raw.info["chs"], info["chs"], strict=True):
        assert ours["ch_name"] == theirs["ch_name"]
        np.testing.assert_allclose(ours["loc"][:3], theirs["loc"][:3])


def test_own_positions_are_used_as_given() -> None:
    places = {"left": [-0.07, 0.02, 0.09], "right": [0.07, 0.02, 0.09]}
    montage = mne.channels.make_dig_montage(places, coord_frame="head")
    simulator = EEGSimulator(montage=montage)
    patterns = simulator.true_patterns(1)
    assert simulator.info["ch_names"] == ["left", "right"]
    assert patterns["mu_left"][0] > patterns["mu_left"][1]
    assert patterns["mu_right"][1] > patterns["mu_right"][0]


def test_volts_have_the_size_of_eeg() -> None:
    simulator = EEGSimulator()
    for subject in range(1, 5):
        data = simulator.raw(subject, n_trials=5).get_data()
        spread = data.std(axis=1)
        assert data.dtype == np.float64
        assert 5e-6 < spread.min() < spread.max() < 5e-5


def test_background_falls_with_frequency_as_one_over_f() -> None:
    raw = EEGSimulator(["Fz", "F7", "F8"], sfreq=256).raw(1)
    freqs, power = welch(raw.get_data(), 256, nperseg=1024)
    band = ((freqs >= 2) & (freqs <= 6)) | ((freqs >= 27) & (freqs <= 45))
    slope = linregress(np.log(freqs[band]), np.log(power.mean(axis=0)[band])).slope
    assert -1.7 < slope < -0.7


def test_true_patterns_peak_over_their_sources() -> None:
    simulator = EEGSimulator()
    names = np.array(simulator.info["ch_names"])
    for subject in range(1, 9):
        patterns = simulator.true_patterns(subject)
        peaks = {name: names[abs(p).argmax()] for name, p in patterns.items()}
        assert peaks["mu_left"] == "C3"
        assert peaks["mu_right"] == "C4"
        assert peaks["alpha"] in {"O1", "Oz", "O2", "PO3", "PO4", "Pz"}
        assert all(2e-6 < abs(p).max() < 3e-5 for p in patterns.values())


@pytest.mark.parametrize("session", [0, 1])
def test_imagery_takes_away_the_pattern_of_the_opposite_hemisphere(
    session: int,
) -> None:
    # the same seed without desynchronisation is the same recording but for the drop
    rest = EEGSimulator(erd=0.0).raw(2, session, n_trials=4)
    task = EEGSimulator(erd=0.8).raw(2, session, n_trials=4)
    patterns = EEGSimulator().true_patterns(2)
    lost = rest.get_data() - task.get_data()
    marks = rest.annotations
    within = np.zeros(lost.shape[1], dtype=bool)
    for onset, name in zip(marks.onset, marks.description, strict=True):
        full = slice(round((onset + 0.7) * 128), round((onset + 4) * 128))
        within[round(onset * 128) : round((onset + 4.4) * 128)] = True
        side = "mu_right" if name == "left_hand" else "mu_left"
        strongest = np.linalg.svd(lost[:, full], full_matrices=False)[0][:, 0]
        assert _cosine(strongest, patterns[side]) > 0.9
    space, sizes, _ = np.linalg.svd(lost, full_matrices=False)
    assert sizes[1] > 0.1 * sizes[0]
    assert sizes[2] < 1e-4 * sizes[0]
    for side in ("mu_left", "mu_right"):
        unit = patterns[side] / np.linalg.norm(patterns[side])
        # below 1 as the cap and the gains are the session's
        assert 0.97 < np.linalg.norm(space[:, :2].T @ unit) < 0.9999
    assert np.abs(lost[:, ~within]).max() < 1e-2 * np.abs(lost).max()


def test_rest_loses_nothing() -> None:
    rest, task = (
        EEGSimulator(FEW, erd=erd).raw(1, task="three_class", n_trials=3)
        for erd in (0.0, 0.8)
    )
    lost = np.abs(rest.get_data() - task.get_data())
    marks = rest.annotations
    for onset, name in zip(marks.onset, marks.description, strict=True):
        trial = lost[:, round((onset + 1) * 128) : round((onset + 4) * 128)]
        assert (trial.max() < 1e-2 * lost.max()) == (name == "rest")


def test_electrodes_at_one_place_differ_by_gain_and_their_own_noise() -> None:
    one, other = EEGSimulator(["T3", "T7"], sfreq=256).raw(1).get_data()
    gain = (one @ other) / (one @ one)
    assert 0.6 < gain < 1.6
    assert abs(gain - 1) > 1e-3
    assert 1e-6 < (other - gain * one).std() < 4e-6


def test_mu_falls_over_the_opposite_hemisphere(
    default_trials: tuple[np.ndarray, np.ndarray, np.ndarray, mne.Info],
) -> None:
    X, y, groups, info = default_trials
    power = _log_power(X, 9, 14, info["sfreq"])
    for name, hand in (("C3", "left_hand"), ("C4", "right_hand")):
        column = power[:, info["ch_names"].index(name)]
        scores = [
            roc_auc_score(y[groups == subject] == hand, column[groups == subject])
            for subject in np.unique(groups)
        ]
        assert np.mean(scores) > 0.7
        assert min(scores) > 0.45
    frontal = power[:, info["ch_names"].index("Fp1")]
    assert abs(roc_auc_score(y == "left_hand", frontal) - 0.5) < 0.1


def test_beta_falls_with_mu(
    default_trials: tuple[np.ndarray, np.ndarray, np.ndarray, mne.Info],
) -> None:
    X, y, _, info = default_trials
    power = _log_power(X, 19, 25, info["sfreq"])
    left, right = (power[:, info["ch_names"].index(name)] for name in ("C3", "C4"))
    assert roc_auc_score(y == "left_hand", left - right) > 0.65


def test_alpha_tells_nothing_about_the_task(
    default_trials: tuple[np.ndarray, np.ndarray, np.ndarray, mne.Info],
) -> None:
    X, y, _, info = default_trials
    occipital = [info["ch_names"].index(name) for name in ("O1", "Oz", "O2")]
    power = _log_power(X[:, occipital], 8, 12, info["sfreq"]).mean(axis=1)
    assert abs(roc_auc_score(y == "left_hand", power) - 0.5) < 0.1


def _across_subjects(X: np.ndarray, y: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """AUC of CSP and LDA for each left-out subject."""
    filtered = mne.filter.filter_data(X, 128.0, 8, 32, verbose="error")
    model = make_pipeline(CSP(4), LinearDiscriminantAnalysis())
    cv = GroupKFold(len(np.unique(groups)))
    return cross_val_score(
        model, filtered * 1e6, y, groups=groups, cv=cv, scoring="roc_auc"
    )


def test_default_set_is_neither_trivial_nor_hopeless(
    default_trials: tuple[np.ndarray, np.ndarray, np.ndarray, mne.Info],
) -> None:
    X, y, groups, _ = default_trials
    scores = _across_subjects(X, y, groups)
    assert 0.75 < scores.mean() < 0.92
    assert scores.min() < 0.85  # some are weak


def test_shuffled_labels_give_chance(
    default_trials: tuple[np.ndarray, np.ndarray, np.ndarray, mne.Info],
) -> None:
    X, y, groups, info = default_trials
    shuffled = y.copy()
    rng = np.random.default_rng(0)
    for subject in np.unique(groups):
        shuffled[groups == subject] = rng.permutation(y[groups == subject])
    some = [info["ch_names"].index(name) for name in FEW]
    assert abs(_across_subjects(X[:, some], shuffled, groups).mean() - 0.5) < 0.1


def test_no_desynchronisation_gives_chance() -> None:
    X, y, groups, _ = EEGSimulator(FEW, erd=0.0).imagery(n_subjects=5)
    assert abs(_across_subjects(X, y, groups).mean() - 0.5) < 0.1


def test_three_classes_are_told_apart() -> None:
    X, y, groups, info = EEGSimulator(erd=0.8).imagery(4, 15, task="three_class")
    assert X.shape == (180, len(info["ch_names"]), 512)
    assert set(y) == {"left_hand", "right_hand", "rest"}
    score = cross_val_score(
        make_pipeline(StandardScaler(), LinearDiscriminantAnalysis()),
        _log_power(X, 9, 14, info["sfreq"]),
        y,
        cv=StratifiedKFold(5, shuffle=True, random_state=0),
    ).mean()
    assert score > 0.5


def test_trials_are_the_recording_from_the_cue() -> None:
    simulator = EEGSimulator(FEW, sfreq=160)
    X, y, groups, info = simulator.imagery(n_subjects=2, n_trials=3)
    raw = simulator.raw(2, n_trials=3)
    assert y.dtype.kind == "U"
    assert info["ch_names"] == FEW
    np.testing.assert_array_equal(groups, np.repeat([1, 2], 6))
    np.testing.assert_array_equal(y[6:], raw.annotations.description)
    start = round(raw.annotations.onset[1] * 160)
    np.testing.assert_array_equal(X[7], raw.get_data()[:, start : start + 640])


def test_each_class_has_its_trials_and_rest_lies_between() -> None:
    marks = EEGSimulator(FEW).raw(1, task="three_class", n_trials=4).annotations
    names, counts = np.unique(marks.description.tolist(), return_counts=True)
    assert names.tolist() == ["left_hand", "rest", "right_hand"]
    assert counts.tolist() == [4, 4, 4]
    assert (marks.duration == 4).all()
    assert (np.diff(marks.onset) >= 5.5).all()


def test_band_power_and_ridge_predict_the_targets_across_subjects() -> None:
    X, y, groups, info = EEGSimulator().regression(n_trials=40)
    assert X.shape == (320, len(info["ch_names"]), 512)
    assert y.shape == (320, 2)
    features = _log_power(X, 8, 13, info["sfreq"])
    model = make_pipeline(StandardScaler(), Ridge(10.0))
    for target in (y[:, 0], y[:, 1], y):
        score = cross_val_score(
            model, features, target, groups=groups, cv=GroupKFold(8), scoring="r2"
        )
        assert score.mean() > 0.6
    guess = cross_val_predict(model, features, y, groups=groups, cv=GroupKFold(8))
    # each target is its own: neither serves for the other
    assert abs(np.corrcoef(guess[:, 0], y[:, 1])[0, 1]) < 0.3


def test_regression_targets_sit_where_their_sources_do() -> None:
    X, y, _, info = EEGSimulator().regression(n_subjects=1, n_trials=80)
    names = info["ch_names"]
    power = _log_power(X, 8, 14, info["sfreq"])
    occipital = power[:, [names.index(name) for name in ("O1", "Oz", "O2")]].mean(1)
    side = power[:, names.index("C3")] - power[:, names.index("C4")]
    assert np.corrcoef(occipital, y[:, 0])[0, 1] > 0.85
    assert np.corrcoef(side, y[:, 1])[0, 1] > 0.85


def test_codes_differ_with_every_setting_and_stay_with_the_same() -> None:
    shifted = mne.channels.make_dig_montage(
        {"C3": [-0.06, 0.02, 0.1], "C4": [0.07, 0.02, 0.1]}, coord_frame="head"
    )
    settings: list[dict[str, object]] = [
        {},
        {"n_subjects": 4},
        {"n_sessions": 1},
        {"n_trials": 19},
        {"task": "three_class"},
        {"ch_names": FEW},
        {"ch_names": FEW[::-1]},
        {"ch_names": ["C3", "C4"]},
        {"montage": "biosemi64", "ch_names": ["C3", "C4"]},
        {"montage": shifted},
        {"sfreq": 160},
        {"erd": 0.61},
        {"seed": 1},
    ]
    codes = [SimulatedMotorImagery(**each).code for each in settings]  # type: ignore[arg-type]
    assert len(set(codes)) == len(settings)
    assert codes == [SimulatedMotorImagery(**each).code for each in settings]  # type: ignore[arg-type]


def test_moabb_takes_name_and_code_in_silence(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with warnings.catch_warnings(), caplog.at_level(logging.INFO):
        warnings.simplefilter("error")
        SimulatedMotorImagery(2, 1, 2, ch_names=FEW).get_data()
    assert not [r for r in caplog.records if r.levelno >= logging.WARNING]


@pytest.mark.parametrize("return_epochs", [False, True])
@pytest.mark.parametrize(
    "evaluation",
    [WithinSessionEvaluation, CrossSessionEvaluation, CrossSubjectEvaluation],
)
def test_moabb_evaluates_the_set_well_above_chance(
    evaluation: type, return_epochs: bool, tmp_path: Path
) -> None:
    dataset = SimulatedMotorImagery(3, n_trials=15, ch_names=FEW, erd=0.8)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        results = evaluation(
            paradigm=LeftRightImagery(),
            datasets=[dataset],
            hdf5_path=str(tmp_path),
            return_epochs=return_epochs,
        ).process({"CSP+LDA": _csp_lda()})
    assert set(results.dataset) == {dataset.code}
    assert set(results.subject) == {"1", "2", "3"}
    assert 0.7 < results.score.mean() < 0.999
    assert not [w for w in caught if "braindecode_samba" in str(w.filename)]
    assert not [w for w in caught if "Simulated" in str(w.message)]


def test_three_classes_go_through_moabb(tmp_path: Path) -> None:
    dataset = SimulatedMotorImagery(3, 1, 15, task="three_class", ch_names=FEW, erd=0.9)
    paradigm = MotorImagery(
        events=["left_hand", "right_hand", "rest"], n_classes=3, resample=80
    )
    results = CrossSubjectEvaluation(
        paradigm=paradigm, datasets=[dataset], hdf5_path=str(tmp_path)
    ).process({"CSP+LDA": _csp_lda()})
    assert results.score.mean() > 0.42  # chance is 1/3


def test_epochs_span_the_interval_of_the_set() -> None:
    dataset = SimulatedMotorImagery(1, 1, 3, ch_names=FEW, sfreq=100)
    epochs, labels, meta = LeftRightImagery().get_data(
        dataset, return_epochs=True, subjects=[1]
    )
    assert [epochs.tmin, epochs.tmax] == dataset.interval == [0, 4]
    assert epochs.ch_names == FEW
    raw = dataset.simulator.raw(1, n_trials=3)
    assert list(labels) == raw.annotations.description.tolist()
    np.testing.assert_array_equal(
        epochs.events[:, 0], np.round(raw.annotations.onset * 100)
    )


def test_scores_of_other_settings_are_never_handed_back(tmp_path: Path) -> None:
    results = {
        erd: WithinSessionEvaluation(
            paradigm=LeftRightImagery(),
            datasets=[SimulatedMotorImagery(1, 1, 20, ch_names=FEW, erd=erd)],
            hdf5_path=str(tmp_path),
        ).process({"CSP+LDA": _csp_lda()})
        for erd in (1.0, 0.0)
    }
    assert results[1.0].score.mean() > results[0.0].score.mean() + 0.15


def test_pickled_set_makes_the_same_data() -> None:
    dataset = SimulatedMotorImagery(2, 1, 2, ch_names=FEW)
    again = pickle.loads(pickle.dumps(dataset))
    assert again.code == dataset.code
    np.testing.assert_array_equal(
        again.get_data([2])[2]["0"]["0"].get_data(),
        dataset.get_data([2])[2]["0"]["0"].get_data(),
    )


def test_nothing_is_downloaded() -> None:
    dataset = SimulatedMotorImagery(1)
    assert dataset.data_path(1) == []
    dataset.download()


def test_simulator_works_without_moabb_and_the_set_says_what_to_install() -> None:
    code = """
import sys
sys.modules["moabb"] = None
from braindecode_samba.signals import EEGSimulator, SimulatedMotorImagery
EEGSimulator(["C3", "C4"]).imagery(1, 1)
try:
    SimulatedMotorImagery()
except ImportError as error:
    assert 'pip install "braindecode-samba[moabb]"' in str(error)
    print("refused")
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False
    )
    assert done.stdout.strip() == "refused", done.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"ch_names": ["C3", "Nowhere"]}, "Nowhere"),
        ({"ch_names": ["Fp1-F7"]}, "set_bipolar_reference"),
        ({"ch_names": ["C3", "C3"]}, "once"),
        ({"ch_names": []}, "at least one"),
        ({"montage": "no_such_cap"}, "no_such_cap"),
        ({"montage": ""}, "no montage"),
        ({"sfreq": 30}, "sfreq"),
        ({"sfreq": float("nan")}, "sfreq"),
        ({"erd": 1.1}, "erd"),
        ({"erd": float("nan")}, "erd"),
        ({"seed": -1}, "seed"),
        ({"seed": 2**32}, "seed"),
        ({"task": "feet"}, "three_class"),
        ({"n_subjects": 0}, "n_subjects"),
        ({"n_sessions": 0}, "n_sessions"),
        ({"n_trials": 0}, "n_trials"),
    ],
)
def test_bad_values_are_refused(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SimulatedMotorImagery(**arguments)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"ch_names": "C3"}, "list of str"),
        ({"montage": 7}, "DigMontage"),
        ({"sfreq": "fast"}, "sfreq"),
        ({"erd": None}, "erd"),
        ({"seed": 1.0}, "seed"),
        ({"n_subjects": True}, "n_subjects"),
    ],
)
def test_bad_types_are_refused(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(TypeError, match=message):
        SimulatedMotorImagery(**arguments)  # type: ignore[arg-type]


def test_millimetres_and_missing_places_are_refused() -> None:
    for place, message in (
        ([-70.0, 20.0, 90.0], "metres"),
        ([np.nan] * 3, "NaN"),
    ):
        montage = mne.channels.make_dig_montage({"C3": place}, coord_frame="head")
        with pytest.raises(ValueError, match=message):
            EEGSimulator(montage=montage)


def test_subjects_and_sessions_that_cannot_be_are_refused() -> None:
    simulator = EEGSimulator(FEW)
    with pytest.raises(ValueError, match="subject"):
        simulator.raw(0)
    with pytest.raises(ValueError, match="session"):
        simulator.raw(1, -1)
    with pytest.raises(ValueError, match="subject"):
        simulator.true_patterns(0)
    with pytest.raises(ValueError, match="n_trials"):
        simulator.regression(1, 0)
