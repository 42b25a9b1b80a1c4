"""Whitening of recordings that leans on the training's, by itself and in decoders."""

import pickle
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from braindecode_samba import positions_from_names
from braindecode_samba.estimators.aligning import (
    Alignment,
    Person,
    choose_mode,
)
from braindecode_samba.signals import read_windows
from braindecode_samba.signals.whitening import (
    PRIOR_WINDOWS,
    Covariance,
    blend,
    carry_over,
    covariance_of,
    inverse_root,
    mean_shape,
    same_places,
)

NAMES = ("F3", "F4", "C3", "Cz", "C4", "P3", "P4", "O1")
PLACES = positions_from_names(NAMES)
ORDER = [3, 0, 7, 5, 1, 6, 2, 4]


def heads(n_people=3, n_windows=8, n_times=128, seed=0):
    """Windows of several heads, each with a mixture and a size of its own."""
    rng = np.random.default_rng(seed)
    parts = []
    for _ in range(n_people):
        mixture = np.eye(8) + 0.4 * rng.standard_normal((8, 8))
        noise = rng.standard_normal((n_windows, 8, n_times))
        parts.append(rng.uniform(0.3, 3) * mixture @ noise)
    return np.concatenate(parts), np.repeat(np.arange(n_people), n_windows)


def windows_of(X, groups, names=NAMES):
    return read_windows(X, ch_names=names, sfreq=128, groups=groups)


@pytest.fixture
def learned():
    X, groups = heads()
    return Alignment.learn("whiten", windows_of(X, groups))


# arithmetic


def test_covariance_of_windows_is_their_mean_about_their_means():
    X, _ = heads(1)
    found = covariance_of(X + 100, "a")
    assert found.n_windows == 8
    expected = np.mean([np.cov(x, bias=True) for x in X], axis=0)
    np.testing.assert_allclose(found.matrix, expected, rtol=1e-9)
    with pytest.raises(ValueError, match="recording 'a' does not move"):
        covariance_of(X * 0, "a")


def test_windows_that_come_in_parts_give_the_covariance_of_all():
    X, _ = heads(1)
    parts = covariance_of(X[:3], "a").joined(covariance_of(X[3:], "a"))
    whole = covariance_of(X, "a")
    assert parts.n_windows == whole.n_windows
    np.testing.assert_allclose(parts.matrix, whole.matrix, rtol=1e-9)


def test_what_is_forgotten_counts_less():
    X, _ = heads(1)
    one, other = covariance_of(X[:4], "a"), covariance_of(10 * X[4:], "a")
    found = one.joined(other, forget=0.5)
    assert found.n_windows == 6
    expected = (2 * one.matrix + 4 * other.matrix) / 6
    np.testing.assert_allclose(found.matrix, expected, rtol=1e-9)


def test_a_recording_leans_on_the_prior_by_its_windows():
    X, groups = heads()
    prior = mean_shape({g: covariance_of(X[groups == g], g) for g in (0, 1)})
    assert np.trace(prior) == pytest.approx(8)
    own = covariance_of(X[groups == 2], 2)
    power, k = np.trace(own.matrix) / 8, PRIOR_WINDOWS
    expected = (8 * own.matrix + k * power * prior) / (8 + k)
    np.testing.assert_allclose(blend(own, prior), expected, rtol=1e-9)
    nothing = Covariance(0.0, own.matrix)
    np.testing.assert_allclose(blend(nothing, prior), power * prior, rtol=1e-9)
    much = Covariance(1e9, own.matrix)
    np.testing.assert_allclose(blend(much, prior), own.matrix, rtol=1e-6, atol=1e-8)


@given(seed=st.integers(0, 100), rank=st.integers(1, 8))
def test_inverse_roots_whiten_and_are_bounded(seed, rank):
    rng = np.random.default_rng(seed)
    mixing = rng.standard_normal((8, rank))
    covariance = mixing @ mixing.T
    whitener = inverse_root(covariance, 1e-6)
    np.testing.assert_allclose(whitener, whitener.T, atol=1e-8 * abs(whitener).max())
    largest = np.linalg.eigvalsh(covariance)[-1]
    gains = np.linalg.eigvalsh(whitener)
    assert gains[0] > 0
    assert gains[-1] <= 1.001 / np.sqrt(1e-6 * largest)
    after = np.linalg.eigvalsh(whitener @ covariance @ whitener)
    assert after.max() < 1 + 1e-6


# other electrodes


def test_the_same_electrodes_in_another_order_have_the_same_prior():
    X, _ = heads(1)
    prior = mean_shape({0: covariance_of(X, 0)})
    np.testing.assert_allclose(carry_over(prior, PLACES, PLACES), prior)
    moved = carry_over(prior, PLACES, PLACES[ORDER])
    np.testing.assert_allclose(moved, prior[np.ix_(ORDER, ORDER)], rtol=1e-9)


def test_fewer_electrodes_keep_what_is_known_of_them():
    X, _ = heads(1)
    prior = mean_shape({0: covariance_of(X, 0)})
    found = carry_over(prior, PLACES, PLACES[[5, 2]])
    expected = prior[np.ix_([5, 2], [5, 2])]
    np.testing.assert_allclose(found, expected * 2 / np.trace(expected), rtol=1e-9)


def test_other_electrodes_get_a_covariance_of_their_own():
    X, _ = heads(1)
    prior = mean_shape({0: covariance_of(X, 0)})
    to = positions_from_names(["Fz", "FC3", "FC4", "Pz", "Oz"])
    found = carry_over(prior, PLACES, to)
    np.testing.assert_allclose(found, found.T, atol=1e-12)
    assert np.trace(found) == pytest.approx(5)
    assert np.linalg.eigvalsh(found)[0] > 0


def test_places_are_told_apart():
    assert same_places(PLACES[ORDER], PLACES).tolist() == ORDER
    assert same_places(PLACES[:3], PLACES).tolist() == [0, 1, 2]
    assert same_places(PLACES + [0.001, 0, 0], PLACES).tolist() == list(range(8))
    assert same_places(PLACES + [0.01, 0, 0], PLACES) is None
    assert same_places(PLACES[[0, 0]], PLACES) is None


# recordings in decoders


def test_recordings_become_alike(learned):
    X, groups = heads(n_windows=8000, n_times=8)
    aligned, keys = learned.apply(windows_of(X, groups))
    assert keys.tolist() == groups.tolist()
    for group in range(3):
        own = covariance_of(aligned.x[groups == group], group).matrix
        np.testing.assert_allclose(own, np.eye(8), atol=0.05)


@pytest.mark.parametrize("gain", [1e-6, 1e6])
def test_units_do_not_matter(learned, gain):
    X, groups = heads(seed=1)
    plain, _ = learned.apply(windows_of(X, groups))
    scaled, _ = learned.apply(windows_of(gain * X, groups))
    np.testing.assert_allclose(scaled.x, plain.x, rtol=1e-4, atol=1e-5)


def test_the_order_of_channels_does_not_matter(learned):
    X, groups = heads(seed=1)
    plain, _ = learned.apply(windows_of(X, groups))
    names = [NAMES[i] for i in ORDER]
    turned, _ = learned.apply(windows_of(X[:, ORDER], groups, names))
    np.testing.assert_allclose(turned.x, plain.x[:, ORDER], rtol=1e-4, atol=1e-5)


def test_one_window_is_sane(learned):
    """It comes out much as it would by the training's average head."""
    X, _ = heads(1, 1, n_times=16, seed=3)
    (found,) = learned.apply(windows_of(X, [0]))[0].x
    # fewer samples than would make a full covariance do not blow anything up
    assert 0.3 < found.std() < 3
    assert np.isfinite(found).all()
    by_prior = inverse_root(learned.prior) @ X[0]
    assert np.corrcoef(found.ravel(), by_prior.ravel())[0, 1] > 0.7


def test_without_names_all_windows_are_one_recording(learned):
    X, _ = heads(1, seed=2)
    without, keys = learned.apply(windows_of(X, None))
    with_name, _ = learned.apply(windows_of(X, [5] * 8))
    np.testing.assert_array_equal(without.x, with_name.x)
    assert len(set(keys.tolist())) == 1


def test_absent_channels_stay_absent(learned):
    X, groups = heads(1)
    windows = windows_of(X, groups)
    padded = replace(
        windows,
        x=np.concatenate([windows.x, np.zeros((8, 2, 128), np.float32)], 1),
        names=(),
        positions=np.tile(np.concatenate([PLACES, np.zeros((2, 3))]), (8, 1, 1)),
        ch_mask=np.tile([True] * 8 + [False] * 2, (8, 1)),
    )
    found, _ = learned.apply(padded)
    expected, _ = learned.apply(windows)
    np.testing.assert_allclose(found.x[:, :8], expected.x, rtol=1e-5, atol=1e-6)
    assert not found.x[:, 8:].any()


def test_what_comes_in_is_not_changed(learned):
    X, groups = heads()
    windows = windows_of(X, groups)
    before = windows.x.copy()
    for mode in ("whiten", "scale", "window", "none"):
        Alignment.learn(mode, windows).apply(windows)
        np.testing.assert_array_equal(windows.x, before)


def test_recordings_or_windows_are_brought_to_one_size():
    X, groups = heads()
    windows = windows_of(X, groups)
    whole, _ = Alignment("scale").apply(windows)
    for group in range(3):
        assert whole.x[groups == group].var(axis=2).mean() == pytest.approx(1, rel=1e-4)
    # the sizes of windows within a recording remain
    ratio = whole.x[1].std() / whole.x[0].std()
    assert ratio == pytest.approx(X[1].std() / X[0].std(), rel=1e-4)
    each, _ = Alignment("window").apply(windows)
    np.testing.assert_allclose(each.x.var(axis=2).mean(axis=1), 1, rtol=1e-4)


def test_a_person_is_known_in_any_order_of_electrodes():
    X, _ = heads(1)
    person = Person(covariance_of(X, 0), PLACES, np.zeros(2))
    turned = person.at(PLACES[ORDER]).covariance
    expected = covariance_of(X[:, ORDER], 0).matrix
    np.testing.assert_allclose(turned.matrix, expected, rtol=1e-9)
    fewer = person.at(PLACES[:5]).covariance.matrix
    np.testing.assert_allclose(fewer, covariance_of(X[:, :5], 0).matrix, rtol=1e-9)
    assert person.at(positions_from_names([*NAMES[:5], "Oz"])) is None


def test_an_alignment_travels_in_pickles(learned):
    X, groups = heads()
    windows = windows_of(X, groups)
    copied = pickle.loads(pickle.dumps(learned))
    np.testing.assert_array_equal(
        copied.apply(windows)[0].x, learned.apply(windows)[0].x
    )


# what is whitened


@pytest.mark.parametrize(
    ("align", "targets", "known", "mode"),
    [
        ("auto", "within", True, "whiten"),
        ("auto", "between", True, "scale"),
        ("auto", "within", False, "window"),
        (True, "between", True, "whiten"),
        (False, "within", True, "scale"),
        (False, "within", False, "window"),
    ],
)
@pytest.mark.parametrize("numbers", [False, True])
def test_a_property_of_a_recording_is_not_whitened_away(
    align, targets, known, mode, numbers
):
    X, groups = heads()
    y = np.arange(24) % 2 if targets == "within" else groups % 2
    if numbers:
        y = (y - y.mean())[:, None] / y.std()
    windows = windows_of(X, groups if known else None)
    assert choose_mode(align, windows, y) == mode


def test_a_demand_that_can_not_be_met_is_refused():
    X, _ = heads()
    with pytest.raises(ValueError, match="pass groups= to fit"):
        choose_mode(True, windows_of(X, None), np.arange(24) % 2)
