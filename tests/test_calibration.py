"""A person's own labels move a solved head as far as they warrant, and no further."""

import copy

import numpy as np
import pytest
from sklearn.exceptions import NotFittedError
from sklearn.metrics import roc_auc_score

from braindecode_samba import SAMBAClassifier, SAMBARegressor, SAMBAStream
from braindecode_samba.signals import EEGSimulator

NAMES = "FC3 FC4 C3 Cz C4 CP3 CP4 Pz".split()


@pytest.fixture(scope="module")
def trials():
    simulator = EEGSimulator(NAMES, sfreq=128, seed=3)
    X, y, people, _ = simulator.imagery(n_subjects=5, n_trials=24)
    return X[..., 90:346], np.asarray(y), np.asarray(people)


@pytest.fixture(scope="module")
def fitted(trials):
    X, y, people = trials
    decoder = SAMBAClassifier(ch_names=NAMES, sfreq=128, random_state=0)
    known = people < 4
    return decoder.fit(X[known], y[known], groups=people[known])


@pytest.fixture
def decoder(fitted):
    return copy.deepcopy(fitted)


@pytest.fixture
def person(trials):
    X, y, people = trials
    return X[people == 5], y[people == 5]


def loss(decoder, X, y):
    chances = decoder.predict_proba(X)[
        np.arange(len(y)), decoder.classes_.searchsorted(y)
    ]
    return -np.log(chances).mean()


def test_labels_are_followed(decoder, person):
    X, y = person
    decoder.adapt(X)
    before = loss(decoder, X[:10], y[:10])
    decoder.calibrate(X[:10], y[:10])
    assert loss(decoder, X[:10], y[:10]) < before


def test_labels_that_are_wrong_do_not_take_over(decoder, person):
    X, y = person
    decoder.adapt(X)
    before = roc_auc_score(y, decoder.decision_function(X))
    wrong = np.roll(decoder.classes_, 1)[decoder.classes_.searchsorted(y[:2])]
    decoder.calibrate(X[:2], wrong)
    assert before > 0.8
    assert roc_auc_score(y, decoder.decision_function(X)) > before - 0.1


def test_another_mapping_is_learned_from_many_labels(decoder, person):
    X, y = person
    decoder.adapt(X)
    swapped = np.roll(decoder.classes_, 1)[decoder.classes_.searchsorted(y)]
    few = copy.deepcopy(decoder).calibrate(X[:4], swapped[:4])
    many = copy.deepcopy(decoder).calibrate(X[:20], swapped[:20])
    start, after_few, after_many = (
        loss(one, X[20:], swapped[20:]) for one in (decoder, few, many)
    )
    assert after_many < after_few < start


def test_what_the_step_says_is_what_is_predicted(decoder, person):
    """Alignment, centring and the remembered level go together, known or not."""
    X, y = person
    known = copy.deepcopy(decoder).adapt(X[:8]).calibrate(X[:8], y[:8])
    met = copy.deepcopy(decoder).calibrate(X[:8], y[:8])
    one_by_one = [met.decision_function(window[None])[0] for window in X]
    np.testing.assert_allclose(met.decision_function(X), one_by_one, atol=1e-4)
    np.testing.assert_allclose(
        met.decision_function(X), known.decision_function(X), atol=1e-4
    )


def test_the_rate_of_one_class_alone_is_moved(decoder, person):
    X, y = person
    one = y == decoder.classes_[1]
    decoder.adapt(X)
    before = decoder.predict_proba(X)[:, 1].mean()
    decoder.calibrate(X[one], y[one])
    assert decoder.predict_proba(X)[:, 1].mean() > before


def test_a_stream_goes_on_calibrated(decoder, person):
    X, y = person
    decoder.adapt(X, groups=["p"] * len(X))
    decoder.calibrate(X[:10], y[:10], groups=["p"] * 10)
    stream = SAMBAStream(decoder, group="p", learning=False)
    (prediction,) = stream.push(X[12])
    expected = decoder.predict_proba(X[12:13], groups=["p"])[0]
    np.testing.assert_allclose(prediction.output, expected, atol=1e-5)


def test_it_is_saved(decoder, person, tmp_path):
    X, y = person
    decoder.calibrate(X[:10], y[:10]).save_pretrained(tmp_path / "mine")
    loaded = SAMBAClassifier.from_pretrained(tmp_path / "mine")
    np.testing.assert_array_equal(loaded.predict_proba(X), decoder.predict_proba(X))


def test_numbers_are_followed_too(trials):
    X, y, people = trials
    numbers = 10 * (y == y[0]) + 3.0
    known = people < 4
    decoder = SAMBARegressor(ch_names=NAMES, sfreq=128, random_state=0)
    decoder.fit(X[known], numbers[known], groups=people[known])
    own, wanted = X[people == 5], numbers[people == 5] + 4
    before = np.abs(decoder.predict(own) - wanted).mean()
    decoder.calibrate(own[:12], wanted[:12])
    assert np.abs(decoder.predict(own)[12:] - wanted[12:]).mean() < before


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda X, y: (X, ["feet"] * len(y)), "feet.*classes are.*leave these"),
        (lambda X, y: (X, y[1:]), "inconsistent"),
        (lambda X, y: (X, None), "requires y"),
        (lambda X, y: (X[..., :4], y), "windows of at least 8"),
        (lambda X, y: (X[:, :3], y), "3 channels"),
    ],
)
def test_nothing_moves_where_something_is_refused(decoder, person, change, words):
    X, y = change(*person)
    before = decoder.predict_proba(person[0])
    with pytest.raises(ValueError, match=words):
        decoder.calibrate(X, y)
    assert not decoder._alignment.people
    np.testing.assert_array_equal(decoder.predict_proba(person[0]), before)


def test_a_head_that_was_not_solved_is_refused(person):
    X, y = person
    decoder = SAMBAClassifier(
        ch_names=NAMES, sfreq=128, start="random", max_epochs=1, random_state=0
    )
    with pytest.raises(NotFittedError):
        decoder.calibrate(X, y)
    with pytest.raises(ValueError, match="start='solved'"):
        decoder.fit(X, y).calibrate(X, y)
