"""Whoever says whose recording is whose, and however: the same numbers.

By hand, in Epochs, in lists of them, through scikit-learn's routing and MOABB.
"""

import copy
import pickle

import mne
import numpy as np
import pandas as pd
import pytest
from sklearn import config_context
from sklearn.base import clone
from sklearn.metrics import get_scorer, r2_score, roc_auc_score
from sklearn.model_selection import (
    GridSearchCV,
    LeaveOneGroupOut,
    cross_val_score,
    cross_validate,
)
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

from braindecode_samba import SAMBAClassifier, SAMBARegressor, positions_from_names
from braindecode_samba.evaluation import GroupedScorer
from braindecode_samba.signals import EEGSimulator

NAMES = ("F3", "F4", "C3", "Cz", "C4", "P3", "P4", "O1")
SFREQ = 128.0
SMALL = {"d_state": 4, "expand": 2}
QUICK = {
    "checkpoint": None,
    "model_params": SMALL,
    "random_state": 0,
    "device": "cpu",
}
ON_ARRAYS = {**QUICK, "ch_names": NAMES, "sfreq": SFREQ}


class Watched(SAMBAClassifier):
    """Decoder that notes the recordings that predictions are told."""

    told = []

    def _outputs(self, X, groups):
        Watched.told.append(None if groups is None else list(groups))
        return super()._outputs(X, groups)


@pytest.fixture
def told():
    """Record of `Watched`, empty at first."""
    Watched.told.clear()
    return Watched.told


@pytest.fixture(scope="module")
def trials():
    """Signals, labels and people, of whom the last is for scores."""
    X, y, groups, _ = EEGSimulator(NAMES).imagery(n_subjects=3, n_trials=16)
    return X[..., 64:256], (y == "right_hand").astype(int), groups


@pytest.fixture(scope="module")
def by_hand(trials):
    """Decoder of the first people; tests that change it take a copy."""
    X, y, groups = trials
    train = groups < 3
    return SAMBAClassifier(**ON_ARRAYS).fit(X[train], y[train], groups=groups[train])


@pytest.fixture(scope="module")
def said(trials, by_hand):
    """What it says of the last person, as one recording."""
    X, _, groups = trials
    return by_hand.decision_function(X[groups == 3], groups=groups[groups == 3])


def as_epochs(X, groups=None, names=NAMES, column="subject"):
    info = mne.create_info(list(names), SFREQ, "eeg")
    metadata = None if groups is None else pd.DataFrame({column: groups})
    epochs = mne.EpochsArray(X, info, metadata=metadata, verbose="error")
    places = dict(zip(names, positions_from_names(names), strict=True))
    return epochs.set_montage(mne.channels.make_dig_montage(places, coord_frame="head"))


def close(found, wanted):
    np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-6 * abs(wanted).max())


# the same numbers


def test_alignment_is_on_where_recordings_are_known(trials, by_hand, said):
    X, y, groups = trials
    train = groups < 3
    unaware = SAMBAClassifier(**ON_ARRAYS).fit(X[train], y[train])
    found = unaware.decision_function(X[~train])
    assert abs(found - said).max() > 1e-2
    assert roc_auc_score(y[~train], said) > 0.8


@pytest.mark.parametrize("column", ["subject", "recording"])
def test_epochs_with_a_column_in_their_metadata(trials, said, column):
    X, y, groups = trials
    train = groups < 3
    epochs = as_epochs(X, groups, column=column)
    decoder = SAMBAClassifier(**QUICK).fit(epochs[train], y[train])
    close(decoder.decision_function(epochs[~train]), said)


def test_a_list_of_recordings(trials, said):
    X, y, groups = trials
    parts = [as_epochs(X[groups == person]) for person in (1, 2, 3)]
    decoder = SAMBAClassifier(**QUICK).fit(parts[:2], y[groups < 3])
    close(decoder.decision_function(parts[2:]), said)
    close(decoder.decision_function(parts[2]), said)


def test_without_names_a_call_is_one_recording(trials, by_hand, said):
    X, _, groups = trials
    close(by_hand.decision_function(X[groups == 3]), said)


def test_routing_of_scikit_learn(trials, said):
    X, y, groups = trials
    options = {"cv": LeaveOneGroupOut(), "params": {"groups": groups}}
    with config_context(enable_metadata_routing=True):
        found = cross_validate(
            SAMBAClassifier(**ON_ARRAYS),
            X,
            y,
            scoring=GroupedScorer("roc_auc"),
            return_estimator=True,
            **options,
        )
    last = groups == 3
    decoder = found["estimator"][2]
    close(decoder.decision_function(X[last], groups=groups[last]), said)
    wanted = roc_auc_score(y[last], said)
    assert found["test_score"][2] == pytest.approx(wanted, abs=1e-9)


@pytest.mark.parametrize(
    "scoring",
    [None, GroupedScorer("roc_auc"), {"acc": GroupedScorer("accuracy")}],
    ids=str,
)
def test_routing_tells_predictions_the_recordings(trials, told, scoring):
    X, y, groups = trials
    halves = (groups == 3).astype(int)
    with config_context(enable_metadata_routing=True):
        found = cross_validate(
            Watched(**ON_ARRAYS),
            X,
            y,
            cv=[(np.flatnonzero(halves), np.flatnonzero(1 - halves))],
            scoring=scoring,
            params={"groups": groups},
            error_score="raise",
        )
    assert told == [groups[halves == 0].tolist()]
    assert all(np.isfinite(values).all() for values in found.values())


def test_routing_with_epochs_that_say_it_themselves(trials, said):
    X, y, groups = trials
    epochs = as_epochs(X, groups)
    scores = cross_val_score(
        SAMBAClassifier(**QUICK),
        epochs,
        y,
        groups=groups,
        cv=LeaveOneGroupOut(),
        scoring="roc_auc",
    )
    assert scores[2] == pytest.approx(roc_auc_score(y[groups == 3], said), abs=1e-9)


def test_pipelines_hand_groups_on(trials, said):
    X, y, groups = trials
    train = groups < 3
    microvolts = FunctionTransformer(lambda x: 1e6 * x)
    with config_context(enable_metadata_routing=True):
        pipeline = make_pipeline(microvolts, SAMBAClassifier(**ON_ARRAYS))
        pipeline.fit(X[train], y[train], groups=groups[train])
        found = pipeline.decision_function(X[~train], groups=groups[~train])
        score = GroupedScorer("roc_auc")(pipeline, X[~train], y[~train], groups[~train])
    np.testing.assert_allclose(found, said, atol=1e-3)
    assert score == pytest.approx(roc_auc_score(y[~train], found))


def test_a_search_hands_groups_on(trials, said):
    X, y, groups = trials
    train = groups < 3
    with config_context(enable_metadata_routing=True):
        search = GridSearchCV(
            SAMBAClassifier(**ON_ARRAYS),
            {"align": ["auto"]},
            cv=LeaveOneGroupOut(),
            scoring=GroupedScorer("roc_auc"),
        )
        search.fit(X[train], y[train], groups=groups[train])
    close(search.best_estimator_.decision_function(X[~train]), said)


def test_moabb_hands_people_over(tmp_path):
    evaluations = pytest.importorskip(
        "moabb.evaluations",
        reason='needs MOABB: pip install "braindecode-samba[moabb]"',
    )
    from moabb.paradigms import LeftRightImagery

    from braindecode_samba.signals import SimulatedMotorImagery

    dataset = SimulatedMotorImagery(3, 1, 12, ch_names=NAMES, sfreq=SFREQ)
    paradigm = LeftRightImagery(fmin=4, fmax=38, tmin=1, tmax=2)
    pipeline = SAMBAClassifier(**ON_ARRAYS)
    scores = evaluations.CrossSubjectEvaluation(
        paradigm=paradigm, datasets=[dataset], hdf5_path=str(tmp_path)
    ).process({"SAMBA": pipeline})
    X, labels, meta = paradigm.get_data(dataset)
    people, y = meta["subject"].to_numpy(), (labels == "right_hand").astype(int)
    assert len(scores) == 3
    for _, row in scores.iterrows():
        test = people == int(row["subject"])
        decoder = clone(pipeline).fit(X[~test], y[~test], groups=people[~test])
        assert decoder._alignment.mode == "whiten"
        found = decoder.predict_proba(X[test])[:, 1]
        assert row["score"] == pytest.approx(roc_auc_score(y[test], found), abs=1e-6)


# scorer


@pytest.mark.parametrize("name", ["roc_auc", "accuracy", "neg_log_loss"])
def test_a_scorer_scores_what_is_said_with_groups(trials, by_hand, told, name):
    X, y, groups = trials
    watched = Watched(**by_hand.get_params())
    vars(watched).update(vars(by_hand))
    assert np.isfinite(GroupedScorer(name)(watched, X, y, groups))
    assert told == [groups.tolist()]
    # the estimator itself stays as it was
    watched.predict(X)
    assert told[1:] == [None]
    # within one recording, groups and none are the same
    test = groups == 3
    plain = get_scorer(name)(by_hand, X[test], y[test])
    score = GroupedScorer(name)
    assert score(by_hand, X[test], y[test], groups[test]) == pytest.approx(plain)
    assert score(by_hand, X[test], y[test]) == pytest.approx(plain)


def test_an_unknown_score_is_refused(trials, by_hand):
    X, y, groups = trials
    with pytest.raises(ValueError, match="'beauty'"):
        GroupedScorer("beauty")(by_hand, X, y, groups)


# who was adapted to


def test_batches_do_not_matter_once_adapted(trials, by_hand):
    X, _, groups = trials
    test = X[groups == 3]
    decoder = copy.deepcopy(by_hand).adapt(test[:6])
    together = decoder.decision_function(test)
    apart = np.concatenate([decoder.decision_function(x[None]) for x in test])
    np.testing.assert_allclose(apart, together, atol=1e-4)
    backwards = decoder.decision_function(test[::-1])[::-1]
    np.testing.assert_allclose(backwards, together, atol=1e-4)
    # without, a single window is all that is known of a recording
    alone = np.concatenate([by_hand.decision_function(x[None]) for x in test])
    assert abs(alone - by_hand.decision_function(test)).max() > 1e-2


def test_adapting_to_all_windows_is_knowing_all(trials, by_hand, said):
    X, _, groups = trials
    test = X[groups == 3]
    decoder = copy.deepcopy(by_hand).adapt(test)
    np.testing.assert_allclose(decoder.decision_function(test), said, atol=1e-4)
    named = copy.deepcopy(by_hand).adapt(test, groups=["new"] * len(test))
    found = named.decision_function(test, groups=["new"] * len(test))
    np.testing.assert_allclose(found, said, atol=1e-4)


def test_adapting_in_parts_and_orders_of_channels_is_adapting_at_once(trials, by_hand):
    X, _, groups = trials
    test, order = X[groups == 3], [3, 0, 7, 5, 1, 6, 2, 4]
    turned = as_epochs(test[8:][:, order], names=[NAMES[i] for i in order])
    parts = copy.deepcopy(by_hand).adapt(test[:8]).adapt(turned)
    once = copy.deepcopy(by_hand).adapt(test)
    mine, other = (d._alignment.people[""] for d in (parts, once))
    assert mine.covariance.n_windows == other.covariance.n_windows
    back = mine.at(other.positions)
    np.testing.assert_allclose(
        back.covariance.matrix, other.covariance.matrix, rtol=1e-4, atol=1e-16
    )


def test_somebody_who_does_not_move_leaves_nobody_half_known(trials, by_hand):
    X, _, groups = trials
    test = X[groups == 3]
    decoder = copy.deepcopy(by_hand)
    X = np.concatenate([test, 0 * test])
    names = ["a"] * len(test) + ["b"] * len(test)
    with pytest.raises(ValueError, match="recording 'b' does not move"):
        decoder.adapt(X, groups=names)
    assert not decoder._alignment.people


def test_people_travel_with_pickles_and_not_with_clones(trials, by_hand):
    X, _, groups = trials
    test = X[groups == 3]
    decoder = copy.deepcopy(by_hand).adapt(test)
    copied = pickle.loads(pickle.dumps(decoder))
    np.testing.assert_array_equal(
        copied.decision_function(test[:1]), decoder.decision_function(test[:1])
    )
    assert not hasattr(clone(decoder), "_alignment")


def test_a_decoder_that_was_not_aligned_adapts_to_nobody(trials):
    X, y, _ = trials
    decoder = SAMBAClassifier(**ON_ARRAYS, align=False).fit(X, y)
    before = decoder.decision_function(X)
    np.testing.assert_array_equal(decoder.adapt(X).decision_function(X), before)


# what else comes


def test_units_of_recordings_do_not_matter(trials, by_hand, said):
    X, _, groups = trials
    found = by_hand.decision_function(1e6 * X[groups == 3])
    np.testing.assert_allclose(found, said, rtol=1e-3, atol=1e-3)


def test_bad_channels_are_left_out_in_fit_and_prediction(trials, capsys):
    X, y, groups = trials
    train = groups < 3
    epochs = as_epochs(X, groups)
    broken = epochs.copy()
    broken._data[:, 3] = 1e-3 * np.random.default_rng(0).standard_normal(X[:, 3].shape)
    broken.info["bads"] = ["Cz"]
    without = epochs.copy().drop_channels(["Cz"])
    expected = SAMBAClassifier(**QUICK).fit(without[train], y[train])
    decoder = SAMBAClassifier(**QUICK).fit(broken[train], y[train])
    wanted = expected.decision_function(without[~train])
    close(decoder.decision_function(broken[~train]), wanted)
    # a channel may go bad later
    later = SAMBAClassifier(**QUICK).fit(epochs[train], y[train])
    assert np.isfinite(later.decision_function(broken[~train])).all()
    capsys.readouterr()
    talkative = SAMBAClassifier(**QUICK, verbose=1).fit(broken[train], y[train])
    assert "left out: Cz" in capsys.readouterr().out
    kept = talkative.set_params(exclude=(), verbose=0).fit(broken[train], y[train])
    assert kept.n_features_in_ == len(NAMES)


def test_rates_and_lengths_may_differ_between_recordings(trials, by_hand, said):
    X, y, groups = trials
    test = as_epochs(X[groups == 3])
    quick = test.copy().resample(200, verbose="error")
    short = test.copy().crop(0, 1)
    found = by_hand.decision_function([test, quick, short])
    assert found.shape == (3 * len(test),)
    close(found[: len(test)], said)
    resampled = found[len(test) : 2 * len(test)]
    assert np.corrcoef(resampled, said)[0, 1] > 0.98
    mixed = SAMBAClassifier(**QUICK).fit([test, quick], np.tile(y[groups == 3], 2))
    assert mixed.sfreq_ == SFREQ


def test_mirrored_windows_are_recordings_of_their_own(trials):
    X, y, groups = trials
    labels = np.where(y == 1, "right", "left")
    names = ["F3", "F4", "C3", "Cz", "C4", "P3", "P4"]
    options = {**ON_ARRAYS, "ch_names": names, "mirror": {"left": "right"}}
    train = groups < 3
    X = X[:, :7]
    decoder = SAMBAClassifier(**options)
    decoder.fit(X[train], labels[train], groups=groups[train])
    test = X[~train]
    order = [names.index(n) for n in ("F4", "F3", "C4", "Cz", "C3", "P4", "P3")]
    found = decoder.decision_function(test)
    mirrored = decoder.decision_function(test[:, order])
    # each side has been seen as often
    assert np.corrcoef(found, -mirrored)[0, 1] > 0.8
    with pytest.raises(ValueError, match="mirror names"):
        decoder.set_params(mirror={"up": "left"}).fit(X, labels, groups=groups)


def test_numbers_are_aligned_too():
    X, y, groups, _ = EEGSimulator(NAMES).regression(n_subjects=3, n_trials=24)
    y, train = y[:, 1], groups < 3
    decoder = SAMBARegressor(**ON_ARRAYS).fit(X[train], y[train], groups=groups[train])
    assert decoder._alignment.mode == "whiten"
    found = decoder.predict(X[~train], groups=groups[~train])
    assert np.corrcoef(found, y[~train])[0, 1] > 0.5
    score = decoder.score(X[~train], y[~train], groups=groups[~train])
    assert score == pytest.approx(r2_score(y[~train], found))
