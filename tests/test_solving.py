"""Heads that are solved on the training windows, without gradients or before them.

Signals are simulated, so that what there is to be read is known.
"""

import pickle

import mne
import numpy as np
import pandas as pd
import pytest
import torch
from scipy.optimize import nnls
from scipy.special import softmax
from sklearn.base import clone
from sklearn.metrics import balanced_accuracy_score, r2_score, roc_auc_score

from braindecode_samba import (
    SAMBA,
    SAMBAClassifier,
    SAMBAReconstructor,
    SAMBARegressor,
    chs_info_from_names,
    load_checkpoint,
)
from braindecode_samba.estimators.solving import (
    _calibrate,
    _folds,
    _join,
    centred,
    solve_head,
)
from braindecode_samba.nn.patterns import (
    evoked_patterns,
    matrix_logarithm,
    spatial_patterns,
    sweep_inverse,
)
from braindecode_samba.pretraining.saving import write_checkpoint
from braindecode_samba.signals import EEGSimulator, read_windows

NAMES = ("F3", "F4", "C3", "Cz", "C4", "P7", "P8", "Pz", "O1", "O2")
SMALL = {"d_state": 4, "expand": 2}
SOLVED = {
    "ch_names": NAMES,
    "sfreq": 128,
    "checkpoint": None,
    "model_params": SMALL,
    "random_state": 0,
    "device": "cpu",
}
N_TIMES = 128


@pytest.fixture(scope="module")
def imagery():
    """Signals, labels and people, of whom the last is for scores."""
    X, y, groups, _ = EEGSimulator(NAMES).imagery(n_subjects=4, n_trials=24)
    return X, (y == "right_hand").astype(int), groups


@pytest.fixture(scope="module")
def fitted(imagery):
    X, y, groups = imagery
    train = groups < 4
    return SAMBAClassifier(**SOLVED).fit(X[train], y[train], groups=groups[train])


def background(n, seed):
    """Noise of several people, each with a mixture of its own, about 10 uV."""
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, len(NAMES), N_TIMES + 4)).cumsum(-1)
    X = X[..., 4:] - X[..., :-4]
    groups = np.arange(n) * 4 // n
    for person in range(4):
        mixture = np.eye(len(NAMES)) + 0.2 * rng.standard_normal((len(NAMES),) * 2)
        X[groups == person] = mixture @ X[groups == person]
    return 1e-5 * X / X.std(), groups


def evoked(y, seed=0):
    """Windows with a slow wave at Pz and P7 at 0.3 s in class 1."""
    X, groups = background(len(y), seed)
    t = np.arange(N_TIMES) / 128
    wave = np.exp(-(((t - 0.3) / 0.06) ** 2))
    X[:, 7] += 1.5e-5 * wave * (y == 1)[:, None]
    X[:, 5] += 1.0e-5 * wave * (y == 1)[:, None]
    return X, groups


def steady(y, seed=0):
    """Windows with a sine of a frequency of its class at O1 and O2, of any phase."""
    X, groups = background(len(y), seed)
    rng = np.random.default_rng(seed + 1)
    t = np.arange(N_TIMES) / 128
    frequencies = np.array([9.0, 12.0, 15.0])[y]
    phase = rng.uniform(0, 2 * np.pi, len(y))
    wave = np.sin(2 * np.pi * frequencies[:, None] * t + phase[:, None])
    X[:, 8:] += 1.0e-5 * wave[:, None]
    return X, groups


def covariances(rng, n=40, channels=6):
    X = rng.standard_normal((n, channels, 200)) * rng.uniform(0.5, 2, (n, channels, 1))
    X = np.einsum("ij,njt->nit", rng.standard_normal((channels, channels)), X)
    return X, torch.from_numpy(np.einsum("nit,njt->nij", X, X) / 200)


# patterns


def test_patterns_are_common_spatial_patterns():
    rng = np.random.default_rng(0)
    X, _ = covariances(rng)
    y = np.arange(len(X)) % 2
    X[y == 1, 0] *= 3
    C = torch.from_numpy(np.einsum("nit,njt->nij", X, X) / 200)
    z = torch.from_numpy(y - y.mean())[:, None, None]
    found = spatial_patterns(C.mean(0), (z * C).mean(0)[None], 3).numpy()
    csp = mne.decoding.CSP(3, component_order="alternate", cov_est="epoch", log=True)
    with mne.use_log_level("error"):
        csp.fit(X, y)
    likeness = [abs(np.corrcoef(found[0], csp.filters_[i])[0, 1]) for i in (0, 1)]
    assert max(likeness) > 0.99
    np.testing.assert_allclose(
        found @ C.mean(0).numpy() @ found.T, np.eye(3), atol=1e-9
    )


def test_patterns_of_several_targets_take_turns():
    rng = np.random.default_rng(1)
    _, C = covariances(rng)
    draws = [torch.from_numpy(rng.standard_normal((40, 1, 1))) for _ in "ab"]
    weighted = torch.stack([(z * C).mean(0) for z in draws])
    both = spatial_patterns(C.mean(0), weighted, 4)
    for row, one in enumerate(weighted):
        own = spatial_patterns(C.mean(0), one[None], 2)
        torch.testing.assert_close(both[row::2], own)


def test_patterns_beyond_the_rank_are_zero():
    rng = np.random.default_rng(2)
    mixing = torch.from_numpy(rng.standard_normal((5, 2)))
    total = mixing @ mixing.T
    found = spatial_patterns(total, total[None] * 0.1, 4)
    assert found.shape == (4, 5)
    assert (found[:2].abs().sum(1) > 0).all()
    assert (found[2:] == 0).all()
    nothing = spatial_patterns(torch.zeros(5, 5), torch.zeros(1, 5, 5), 4)
    assert (nothing == 0).all()


def test_evoked_patterns_find_the_response():
    rng = np.random.default_rng(3)
    y = np.arange(60) % 2
    evoked = rng.standard_normal((60, 5, 20))
    response, place = np.hanning(20), np.array([0.0, 2.0, 1.0, 0.0, 0.0])
    evoked += 2 * y[:, None, None] * place[:, None] * response
    targets = torch.from_numpy(y - y.mean())[:, None]
    filters, expected = evoked_patterns(torch.from_numpy(evoked), targets, 3)
    assert abs(np.corrcoef(expected[0], response)[0, 1]) > 0.9
    assert abs(filters[0, 1]) > 3 * filters[0, [0, 3, 4]].abs().max()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_inverse_and_logarithm_are_those_of_torch(dtype):
    generator = torch.Generator().manual_seed(0)
    roots = torch.randn(5, 8, 12, generator=generator, dtype=dtype)
    matrices = roots @ roots.mT / 12 + 0.05 * torch.eye(8, dtype=dtype)
    values, vectors = torch.linalg.eigh(matrices)
    wanted = vectors @ torch.diag_embed(values.log()) @ vectors.mT
    close = {"rtol": 1e-3, "atol": 1e-3} if dtype == torch.float32 else {}
    torch.testing.assert_close(matrix_logarithm(matrices), wanted, **close)
    torch.testing.assert_close(sweep_inverse(matrices), matrices.inverse(), **close)


# what is read


def test_a_solved_head_decodes_people_whom_it_never_saw(imagery, fitted):
    X, y, groups = imagery
    test = groups == 4
    assert roc_auc_score(y[test], fitted.predict_proba(X[test])[:, 1]) > 0.8
    table = fitted.evidence_
    rhythms = ["sides", "powers", "patterns", "covariance of rhythms"]
    assert table.loc[rhythms, "explained"].max() > 0.1
    assert table.loc[["evoked", "responses"], "explained"].max() < 0.1


def test_what_is_locked_to_the_start_is_read():
    y = np.arange(160) % 2
    X, groups = evoked(y)
    decoder = SAMBAClassifier(**SOLVED).fit(X, y, groups=groups)
    test, _ = evoked(y, seed=10)
    assert roc_auc_score(y, decoder.predict_proba(test)[:, 1]) > 0.85
    table = decoder.evidence_
    assert table["explained"].idxmax() in ("evoked", "responses")
    # the same waves at any time say nothing
    moved = np.stack([np.roll(x, 13 * i, axis=1) for i, x in enumerate(test)])
    assert roc_auc_score(y, decoder.predict_proba(moved)[:, 1]) < 0.75


def test_steady_responses_of_any_phase_are_read():
    y = np.arange(150) % 3
    X, groups = steady(y)
    decoder = SAMBAClassifier(**SOLVED).fit(X, y, groups=groups)
    test, _ = steady(y, seed=10)
    assert balanced_accuracy_score(y, decoder.predict(test)) > 0.8
    assert decoder.evidence_.loc["steady", "explained"] > 0.2
    assert decoder.evidence_.loc["evoked", "explained"] < 0.05


def test_loudness_against_the_recording_is_read():
    y = np.arange(80) % 2
    X, groups = background(80, 0)
    X *= np.where(y == 1, 1.5, 1.0)[:, None, None]
    # amplifiers differ
    X *= np.array([1.0, 30.0, 0.1, 5.0])[groups][:, None, None]
    decoder = SAMBAClassifier(**SOLVED).fit(
        X[groups < 3], y[groups < 3], groups=groups[groups < 3]
    )
    found = decoder.decision_function(1e6 * X[groups == 3])
    assert roc_auc_score(y[groups == 3], found) > 0.9
    assert decoder.evidence_["explained"].idxmax() == "loudness"


def test_three_classes_and_words(imagery):
    X, y, groups = imagery
    labels = np.where(np.arange(len(y)) % 3 == 2, "rest", np.array(["l", "r"])[y])
    X = X.copy()
    X[labels == "rest", 7] *= 4
    decoder = SAMBAClassifier(**SOLVED).fit(X[groups < 4], labels[groups < 4])
    rest = decoder.predict_proba(X[groups == 4])[
        :, list(decoder.classes_).index("rest")
    ]
    assert roc_auc_score(labels[groups == 4] == "rest", rest) > 0.9
    np.testing.assert_allclose(decoder.predict_proba(X).sum(1), 1, rtol=1e-5)


@pytest.mark.parametrize("columns", [0, [0, 1]], ids=["n", "n x 2"])
def test_numbers_are_estimated_for_others(columns):
    X, y, groups, _ = EEGSimulator(NAMES).regression(n_subjects=4, n_trials=40)
    y = y[:, columns]
    learnt, test = groups < 4, groups == 4
    found = SAMBARegressor(**SOLVED).fit(X[learnt], y[learnt]).predict(X[test])
    assert found.shape == y[test].shape
    assert r2_score(y[test], found) > 0.3


# how it is settled


def test_folds_keep_people_apart():
    people = np.array(list("aabbbccdeef"))
    for train, test in _folds(len(people), people):
        assert not set(people[train]) & set(people[test])
    tests = [test for _, test in _folds(len(people), people)]
    assert sorted(np.concatenate(tests)) == list(range(len(people)))


@pytest.mark.parametrize("people", [None, np.zeros(11, int)])
def test_windows_of_nobody_or_of_one_are_split_in_time(people):
    for _, test in _folds(11, people):
        assert np.array_equal(test, np.arange(test[0], test[-1] + 1))


def test_what_tells_people_apart_is_not_evidence():
    """Each person has one label, and a mark that no other person has."""
    groups = np.arange(96) // 12
    y = groups % 2
    X = background(96, 0)[0]
    rng = np.random.default_rng(5)
    X *= np.exp(rng.standard_normal((8, len(NAMES), 1)))[groups]
    decoder = SAMBAClassifier(**SOLVED).fit(X, y, groups=groups)
    by_windows = SAMBAClassifier(**SOLVED, align=False).fit(X, y)
    assert decoder.evidence_["explained"].max() < 0.3
    assert (
        by_windows.evidence_["explained"].max() > decoder.evidence_["explained"].max()
    )


def test_evidence_counts_for_something_or_for_nothing(fitted):
    table = fitted.evidence_
    assert isinstance(table, pd.DataFrame)
    assert list(table.columns) == ["features", "penalty", "explained", "weight"]
    assert list(table.index) == list(fitted.model_.head.readings.blocks)
    assert (table["weight"] >= 0).all()
    assert (table["weight"] > 0).any()
    assert table["features"].sum() == fitted.model_.final_layer.in_features
    assert table["explained"].max() < 1


@pytest.mark.parametrize("n_classes", [2, 3])
def test_windows_that_say_nothing_give_the_shares_of_the_classes(n_classes):
    X, groups = background(120, 0)
    rng = np.random.default_rng(1)
    shares = np.array([0.6, 0.4] if n_classes == 2 else [0.5, 0.3, 0.2])
    y = rng.choice(n_classes, 120, p=shares)
    decoder = SAMBAClassifier(**SOLVED).fit(X, y, groups=groups)
    found = decoder.predict_proba(background(40, 9)[0])
    np.testing.assert_allclose(found.mean(0), np.bincount(y) / 120, atol=0.1)
    assert found.std(0).max() < 0.15


def test_windows_that_are_all_the_same_give_the_shares_of_the_classes():
    y = np.array([0, 0, 1] * 8)
    window = np.random.default_rng(0).normal(size=(1, len(NAMES), N_TIMES))
    X = np.repeat(window, 24, axis=0)
    found = SAMBAClassifier(**SOLVED).fit(X, y).predict_proba(X)
    np.testing.assert_allclose(found[:, 1], 1 / 3, atol=0.02)


def test_the_model_gives_what_was_solved(imagery):
    """Its outputs are the intercept plus weighted evidence of all readings."""
    X, y, groups = imagery
    torch.manual_seed(0)
    model = SAMBA(
        2, chs_info=chs_info_from_names(NAMES), sfreq=128, head="readings", **SMALL
    ).eval()
    windows = read_windows(X, ch_names=NAMES, sfreq=128)
    table = solve_head(model, windows, y, 32, people=groups)
    with torch.no_grad():
        told = model(torch.from_numpy(windows.x), return_features=True)
        outputs = model(torch.from_numpy(windows.x))
    z = told["features"].double().numpy()
    np.testing.assert_allclose(z.mean(0), 0, atol=2e-3)
    moving = z.std(0) > 1e-6
    np.testing.assert_allclose(z.std(0)[moving], 1, atol=2e-3)
    stop = np.cumsum(table["features"])
    layer = model.final_layer.weight.double().detach().numpy()
    for start, end, weight in zip([0, *stop[:-1]], stop, table["weight"], strict=True):
        assert layer[:, start:end].any() == (weight > 0)
    wanted = z @ layer.T + model.final_layer.bias.double().detach().numpy()
    np.testing.assert_allclose(outputs, wanted, rtol=1e-3, atol=1e-3)
    # two logits that differ by the evidence of the second class
    np.testing.assert_allclose(layer[0], -layer[1], atol=1e-9)


def test_values_are_centred_on_their_recording():
    rng = np.random.default_rng(0)
    values, recordings = rng.normal(size=(9, 2)), np.array(list("abacbbcca"))
    found = centred(values, recordings)
    for name in "abc":
        rows = recordings == name
        np.testing.assert_allclose(found[rows], values[rows] - values[rows].mean(0))


def test_weights_of_classes_count(imagery):
    X, y, _ = imagery
    few = np.concatenate([np.flatnonzero(y == 0), np.flatnonzero(y == 1)[:12]])
    plain = SAMBAClassifier(**SOLVED).fit(X[few], y[few]).predict_proba(X)[:, 1]
    even = SAMBAClassifier(**SOLVED, class_weight="balanced").fit(X[few], y[few])
    assert even.predict_proba(X)[:, 1].mean() > plain.mean() + 0.1


# gradients behind it


def test_gradients_begin_at_the_solved_head(imagery):
    X, y, groups = imagery
    train = groups < 4
    slow = {**SOLVED, "max_epochs": 1, "lr": 1e-9, "weight_decay": 0.0}
    moved = SAMBAClassifier(**slow).fit(X[train], y[train], groups=groups[train])
    assert len(moved.net_.history) == 1
    assert roc_auc_score(y[~train], moved.decision_function(X[~train])) > 0.75
    assert moved.evidence_ is not None
    before = moved.decision_function(X)
    moved.set_params(lr=1e-3).partial_fit(X, y)
    assert not np.array_equal(moved.decision_function(X), before)


def test_gradients_that_help_nobody_leave_the_solved_head(imagery, fitted):
    X, y, groups = imagery
    train = groups < 4
    wild = {**SOLVED, "max_epochs": 2, "lr": 0.3}
    kept = SAMBAClassifier(**wild).fit(X[train], y[train], groups=groups[train])
    np.testing.assert_allclose(
        kept.decision_function(X), fitted.decision_function(X), atol=1e-4
    )


def test_a_frozen_trunk_is_read_as_it_was_trained(imagery, tmp_path):
    X, y, groups = imagery
    torch.manual_seed(5)
    pretrained = SAMBAReconstructor(**SMALL)
    folder = write_checkpoint(tmp_path / "small", pretrained, {}, "")
    both = {**SOLVED, "model_params": None, "checkpoint": folder}
    decoder = SAMBAClassifier(**both, finetune="head").fit(X, y)
    for name, value in decoder.model_.trunk.named_parameters():
        assert torch.equal(value, pretrained.trunk.get_parameter(name))
    other = SAMBAClassifier(**SOLVED).fit(X, y)
    assert abs(other.decision_function(X) - decoder.decision_function(X)).max() > 1e-3


# what may come


@pytest.mark.parametrize("names", [("C4",), ("TP9", "AF7", "AF8", "TP10")])
def test_few_electrodes_are_enough(make_eeg, names):
    X = make_eeg(12, len(names), 128).numpy()
    y = np.arange(12) % 2
    decoder = SAMBAClassifier(**{**SOLVED, "ch_names": names}).fit(X, y)
    assert np.isfinite(decoder.decision_function(X)).all()


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("n_times", [8, 9, 17, 1000])
def test_windows_of_any_length_are_solved(make_eeg, n_times):
    X = make_eeg(8, len(NAMES), n_times).numpy()
    decoder = SAMBAClassifier(**SOLVED, align=False).fit(X, [0, 1] * 4)
    assert np.isfinite(decoder.decision_function(X)).all()


@pytest.mark.filterwarnings("error")
def test_windows_in_which_nothing_moves_are_survived(make_eeg):
    X = make_eeg(8, 3, 128).numpy()
    X[:5] = 0
    names = ("C3", "Cz", "C4")
    options = {**SOLVED, "ch_names": names, "align": False}
    decoder = SAMBAClassifier(**options).fit(X, [0, 1] * 4)
    assert np.isfinite(decoder.decision_function(X)).all()


def test_what_never_moved_in_training_says_nothing():
    """Windows of unknown recordings have one size, and other windows another."""
    X, _ = background(24, 0)
    decoder = SAMBAClassifier(**SOLVED, align=False).fit(X, [0, 1] * 12)
    table = decoder.evidence_
    assert table.loc["loudness", "explained"] == 0
    assert table.loc["loudness", "weight"] == 0
    model = decoder.model_.eval()
    with torch.no_grad():
        outputs = model(torch.from_numpy(1e6 * X).float())
    assert outputs.abs().max() < 100


@pytest.mark.filterwarnings("error")
def test_numbers_that_do_not_move_are_estimated(make_eeg):
    X = make_eeg(8, len(NAMES), 64).numpy()
    decoder = SAMBARegressor(**SOLVED, align=False).fit(X, np.full(8, 4.0))
    np.testing.assert_allclose(decoder.predict(X), 4, atol=1e-3)


@pytest.mark.parametrize("n", [2, 3, 5])
def test_few_windows_are_solved(make_eeg, n):
    X = make_eeg(n, len(NAMES), 64).numpy()
    y = np.arange(n) % 2
    found = SAMBAClassifier(**SOLVED).fit(X, y).decision_function(X)
    assert np.isfinite(found).all()


def test_other_electrodes_may_come_later(imagery):
    X, y, groups = imagery
    info = mne.create_info(list(NAMES), 128.0, "eeg").set_montage("colin27_1020")
    events = np.column_stack([np.arange(len(y)), np.zeros(len(y), int), y + 1])
    epochs = mne.EpochsArray(X, info, events, verbose="error")
    own = {**SOLVED, "ch_names": None, "sfreq": None}
    train = np.flatnonzero(groups < 4)
    decoder = SAMBAClassifier(**own).fit(epochs[train], y[train], groups=groups[train])
    fewer = epochs[groups == 4].pick([n for n in NAMES[::-1] if n != "O1"])
    found = decoder.predict_proba(fewer)[:, 1]
    assert roc_auc_score(y[groups == 4], found) > 0.7


# the same again


def test_fits_are_repeatable_and_copies_agree(imagery, fitted):
    X, y, groups = imagery
    train = groups < 4
    state = torch.get_rng_state()
    again = clone(fitted).fit(X[train], y[train], groups=groups[train])
    assert torch.equal(state, torch.get_rng_state())
    wanted = fitted.decision_function(X)
    np.testing.assert_array_equal(again.decision_function(X), wanted)
    copied = pickle.loads(pickle.dumps(fitted))
    np.testing.assert_array_equal(copied.decision_function(X), wanted)
    pd.testing.assert_frame_equal(copied.evidence_, again.evidence_)


def test_a_solved_head_is_saved_whole(imagery, fitted, tmp_path):
    X = torch.from_numpy(imagery[0][:4]).float()
    fitted.model_.save_pretrained(tmp_path)
    loaded, report = load_checkpoint(tmp_path, verbose=0)
    assert isinstance(loaded, SAMBA)
    assert not report.new
    with torch.no_grad():
        torch.testing.assert_close(loaded(X), fitted.model_.eval()(X))
    more, report = load_checkpoint(tmp_path, verbose=0, n_outputs=3)
    assert {name.split(".")[0] for name in report.new} == {"final_layer"}
    assert more.final_layer.out_features == 3
    assert (more.head.readings.spread == 1).all()


def test_another_number_of_outputs_has_another_head(fitted, tmp_path):
    X = torch.randn(2, len(NAMES), 128)
    model = pickle.loads(pickle.dumps(fitted.model_)).eval()
    model.reset_head(5)
    assert model(X).shape == (2, 5)
    model.save_pretrained(tmp_path)
    loaded, report = load_checkpoint(tmp_path, verbose=0)
    assert not report.new
    with torch.no_grad():
        torch.testing.assert_close(loaded(X), model(X))


# refusals


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"start": "best"}, "start='best'.*'solved'"),
        ({"start": "random"}, "max_epochs == 0, must be >= 1"),
        ({"max_epochs": -1}, "max_epochs == -1, must be >= 0"),
        ({"model_params": {"head": "power"}}, "start='solved'.*'power'"),
        ({"model_params": {"model_sfreq": 64}}, "45 Hz.*head='variance'"),
        ({"align": "always"}, "align='always'"),
        ({"align": True}, "align=True needs to know"),
        ({"exclude": "all"}, "exclude='all'"),
    ],
)
@pytest.mark.parametrize("kind", [SAMBAClassifier, SAMBARegressor])
def test_what_does_not_go_together_is_refused(kind, changes, said, make_eeg):
    X = make_eeg(4, len(NAMES), 64).numpy()
    with pytest.raises(ValueError, match=said):
        kind(**{**SOLVED, **changes}).fit(X, [0, 1, 0, 1])


def test_a_head_can_not_be_solved_batch_by_batch(make_eeg):
    X = make_eeg(4, len(NAMES), 64).numpy()
    with pytest.raises(ValueError, match="call fit first"):
        SAMBAClassifier(**SOLVED).partial_fit(X, [0, 1, 0, 1])


# how evidence is weighed


def test_evidence_that_explains_little_counts_little():
    rng = np.random.default_rng(0)
    y = rng.standard_normal((60, 1))
    good = 0.5 * y + 0.5 * rng.standard_normal((60, 1))
    # small, as a ridge regression leaves it, and right by chance alone
    weak = 0.01 * (y + 3 * rng.standard_normal((60, 1)))
    evidence = np.stack([good, weak], -1)
    # least squares alone multiply what is small
    assert nnls(evidence[:, 0], y[:, 0])[0][1] > 2
    shares = _join(evidence, y, np.ones(60))
    assert shares[0] > 0.8
    assert shares[1] < 0.6


@pytest.mark.parametrize("n_classes", [2, 3])
def test_evidence_that_points_the_wrong_way_is_none(n_classes):
    rng = np.random.default_rng(0)
    y = np.arange(90) % n_classes
    columns = np.eye(n_classes)[y] - 1 / n_classes
    columns = columns[:, 1:] if n_classes == 2 else columns
    evidence = columns + 0.3 * rng.standard_normal(columns.shape)
    for sign, works in ((1, True), (-1, False)):
        slopes, offsets = _calibrate(sign * evidence, y, None)
        logits = sign * evidence @ slopes.T + offsets
        assert (np.diff(logits[:, -1][np.argsort(sign * evidence[:, -1])]) >= 0).all()
        said = softmax(logits, axis=1)
        if works:
            assert balanced_accuracy_score(y, said.argmax(1)) > 0.9
        else:
            np.testing.assert_allclose(said, 1 / n_classes, atol=1e-3)


def test_probabilities_follow_the_weights_of_classes():
    evidence = np.random.default_rng(0).standard_normal((100, 1)) * 1e-3
    y = (np.arange(100) < 20).astype(int)
    for weights, wanted in ((None, 0.2), (np.array([0.625, 2.5]), 0.5)):
        slopes, offsets = _calibrate(evidence, y, weights)
        said = softmax(evidence @ slopes.T + offsets, axis=1)[:, 1]
        assert said.mean() == pytest.approx(wanted, abs=0.02)
