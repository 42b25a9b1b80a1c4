"""Heads that are solved on the training windows before the first gradient, or instead.

Expected values come from scikit-learn and MNE on features that are computed beside.
"""

import pickle

import mne
import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import r2_score, roc_auc_score

from braindecode_samba import (
    SAMBA,
    SAMBAClassifier,
    SAMBAReconstructor,
    SAMBARegressor,
    load_checkpoint,
)
from braindecode_samba.estimators.starting import _C, spatial_components
from braindecode_samba.pretraining.saving import write_checkpoint
from braindecode_samba.signals import EEGSimulator

NAMES = ("F3", "F4", "C3", "Cz", "C4", "P7", "P8", "Pz", "O1", "O2")
SMALL = {"d_state": 4, "expand": 2}
SOLVED = {
    "ch_names": NAMES,
    "sfreq": 128,
    "start": "solved",
    "max_epochs": 0,
    "model_params": SMALL,
    "random_state": 0,
    "device": "cpu",
}


@pytest.fixture(scope="module")
def imagery():
    """Signals, labels and people, of whom the last is for scores."""
    X, y, groups, _ = EEGSimulator(NAMES).imagery(n_subjects=4, n_trials=24)
    return X, (y == "right_hand").astype(int), groups


@pytest.fixture(scope="module")
def fitted(imagery):
    X, y, groups = imagery
    return SAMBAClassifier(**SOLVED).fit(X[groups < 4], y[groups < 4])


def covariances(rng, n=40, channels=6):
    X = rng.standard_normal((n, channels, 200)) * rng.uniform(0.5, 2, (n, channels, 1))
    X = np.einsum("ij,njt->nit", rng.standard_normal((channels, channels)), X)
    return X, np.einsum("nit,njt->nij", X, X) / 200


# components


def test_components_are_common_spatial_patterns():
    rng = np.random.default_rng(0)
    X, _ = covariances(rng)
    y = np.arange(len(X)) % 2
    X[y == 1, 0] *= 3
    C = np.einsum("nit,njt->nij", X, X) / 200
    z = (y - y.mean())[:, None, None]
    found = spatial_components(C.mean(0), (z * C).mean(0)[None], 3)
    csp = mne.decoding.CSP(3, component_order="alternate", cov_est="epoch", log=True)
    with mne.use_log_level("error"):
        csp.fit(X, y)
    angle = abs(np.corrcoef(found[0], csp.filters_[0])[0, 1])
    other = abs(np.corrcoef(found[0], csp.filters_[1])[0, 1])
    assert max(angle, other) > 0.99
    np.testing.assert_allclose(found @ C.mean(0) @ found.T, np.eye(3), atol=1e-9)


def test_components_of_several_targets_take_turns():
    rng = np.random.default_rng(1)
    _, C = covariances(rng)
    weighted = np.stack([(rng.standard_normal((40, 1, 1)) * C).mean(0) for _ in "ab"])
    both = spatial_components(C.mean(0), weighted, 4)
    for row, one in enumerate(weighted):
        own = spatial_components(C.mean(0), one[None], 2)
        np.testing.assert_allclose(both[row::2], own)


def test_components_beyond_the_rank_are_zero():
    rng = np.random.default_rng(2)
    mixing = rng.standard_normal((5, 2))
    total = mixing @ mixing.T
    found = spatial_components(total, total[None] * 0.1, 4)
    assert found.shape == (4, 5)
    assert (abs(found[:2]).sum(1) > 0).all()
    assert (found[2:] == 0).all()
    nothing = spatial_components(np.zeros((5, 5)), np.zeros((1, 5, 5)), 4)
    assert (nothing == 0).all()


# what is solved


def test_a_solved_head_decodes_people_whom_it_never_saw(imagery, fitted):
    X, y, groups = imagery
    test = groups == 4
    assert roc_auc_score(y[test], fitted.predict_proba(X[test])[:, 1]) > 0.8
    random = SAMBAClassifier(**{**SOLVED, "start": "random", "max_epochs": 1})
    random.fit(X[~test], y[~test])
    guessed = roc_auc_score(y[test], random.predict_proba(X[test])[:, 1])
    assert guessed < 0.7  # so that the gradients are not what decodes above


def test_the_last_layer_is_a_logistic_regression(imagery, fitted):
    X, y, groups = imagery
    model = fitted.model_
    with torch.no_grad():
        found = model(torch.from_numpy(X).float(), return_features=True)["features"]
    z = found[:, : model.head.n_measured].double().numpy()
    np.testing.assert_allclose(z[groups < 4].mean(0), 0, atol=1e-4)
    np.testing.assert_allclose(z[groups < 4].std(0), 1, atol=1e-3)
    regression = LogisticRegression(C=_C, max_iter=1000)
    regression.fit(z[groups < 4], y[groups < 4])
    np.testing.assert_allclose(
        fitted.decision_function(X), regression.decision_function(z), atol=1e-4
    )
    assert not model.final_layer.weight[:, model.head.n_measured :].any()


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


def test_weights_of_classes_count(imagery):
    X, y, _ = imagery
    few = np.concatenate([np.flatnonzero(y == 0), np.flatnonzero(y == 1)[:6]])
    plain = SAMBAClassifier(**SOLVED).fit(X[few], y[few]).predict_proba(X)[:, 1]
    even = SAMBAClassifier(**SOLVED, class_weight="balanced").fit(X[few], y[few])
    assert even.predict_proba(X)[:, 1].mean() > plain.mean() + 0.1


def test_gradients_go_on_from_a_solved_head(imagery, fitted):
    X, y, groups = imagery
    slow = {**SOLVED, "max_epochs": 1, "lr": 1e-6}
    moved = SAMBAClassifier(**slow).fit(X[groups < 4], y[groups < 4])
    assert len(moved.net_.history) == 1
    np.testing.assert_allclose(
        moved.decision_function(X), fitted.decision_function(X), atol=0.01
    )
    assert not torch.equal(
        moved.model_.final_layer.weight, fitted.model_.final_layer.weight
    )
    before = moved.decision_function(X)
    moved.partial_fit(X, y)
    assert not np.array_equal(moved.decision_function(X), before)


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


@pytest.mark.parametrize("names", [("C4",), ("TP9", "AF7", "AF8", "TP10")])
def test_few_electrodes_are_enough(make_eeg, names):
    X = make_eeg(12, len(names), 128).numpy()
    y = np.arange(12) % 2
    decoder = SAMBAClassifier(**{**SOLVED, "ch_names": names}).fit(X, y)
    assert np.isfinite(decoder.decision_function(X)).all()


def test_windows_in_which_nothing_moves_are_survived(make_eeg):
    X = make_eeg(8, 3, 128).numpy()
    X[:5] = 0
    names = ("C3", "Cz", "C4")
    decoder = SAMBAClassifier(**{**SOLVED, "ch_names": names}).fit(X, [0, 1] * 4)
    assert np.isfinite(decoder.decision_function(X)).all()


def test_other_electrodes_may_come_later(imagery):
    X, y, groups = imagery
    info = mne.create_info(list(NAMES), 128.0, "eeg").set_montage("colin27_1020")
    events = np.column_stack([np.arange(len(y)), np.zeros(len(y), int), y + 1])
    epochs = mne.EpochsArray(X, info, events, verbose="error")
    own = {**SOLVED, "ch_names": None, "sfreq": None}
    train = np.flatnonzero(groups < 4)
    decoder = SAMBAClassifier(**own).fit(epochs[train], y[train])
    fewer = epochs[groups == 4].pick([n for n in NAMES[::-1] if n != "O1"])
    found = decoder.predict_proba(fewer)[:, 1]
    assert roc_auc_score(y[groups == 4], found) > 0.7


# the same again


def test_fits_are_repeatable_and_copies_agree(imagery, fitted):
    X, y, groups = imagery
    state = torch.get_rng_state()
    again = clone(fitted).fit(X[groups < 4], y[groups < 4])
    assert torch.equal(state, torch.get_rng_state())
    wanted = fitted.decision_function(X)
    np.testing.assert_array_equal(again.decision_function(X), wanted)
    copied = pickle.loads(pickle.dumps(fitted))
    np.testing.assert_array_equal(copied.decision_function(X), wanted)


def test_a_solved_head_is_saved_whole(imagery, fitted, tmp_path):
    X = torch.from_numpy(imagery[0][:4]).float()
    fitted.model_.save_pretrained(tmp_path)
    loaded, report = load_checkpoint(tmp_path, verbose=0)
    assert isinstance(loaded, SAMBA)
    assert not report.new
    with torch.no_grad():
        torch.testing.assert_close(loaded(X), fitted.model_.eval()(X))
    fewer, report = load_checkpoint(tmp_path, verbose=0, n_components=2)
    assert {name.split(".")[0] for name in report.new} == {"head", "final_layer"}
    assert fewer.head.band_power.components.shape[0] == 2


# refusals


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"start": "best"}, "start='best'.*'solved'"),
        ({"start": "random"}, "max_epochs == 0, must be >= 1"),
        ({"max_epochs": -1}, "max_epochs == -1, must be >= 0"),
        ({"model_params": {"n_components": 0}}, "n_components=0"),
        ({"model_params": {"head": "power"}}, "start='solved'.*'power'"),
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
