"""What the simulated responses promise: known sources, times and frequencies."""

import numpy as np
import pytest
from scipy.signal import periodogram

from braindecode_samba.signals import EEGSimulator, ResponseSimulator

NAMES = "Fz F3 F4 C3 Cz C4 P3 Pz P4 O1 Oz O2".split()
KINDS = ("evoked", "steady_state", "slow_waves")


@pytest.fixture(scope="module")
def simulator():
    return ResponseSimulator(NAMES, seed=5)


def power(X, sfreq=128.0):
    frequencies, density = periodogram(X, sfreq)
    return frequencies, density


def test_a_target_is_positive_above_its_source_at_its_time(simulator):
    X, y, _, _ = simulator.evoked(n_subjects=3, n_trials=120, strength=4)
    assert X.shape == (360, len(NAMES), 128)
    assert (y == "target").sum() == 90
    difference = X[y == "target"].mean(0) - X[y == "other"].mean(0)
    # what other stimuli evoke before is taken away from it
    peak = difference[NAMES.index("Pz")].argmax() / 128
    assert 0.32 < peak < 0.48
    assert np.abs(difference).max(1).argmax() == NAMES.index("Pz")


def test_power_does_not_tell_targets(simulator):
    X, y, _, _ = simulator.evoked(n_subjects=3, n_trials=120, strength=3)
    each = X[:, NAMES.index("Pz")].var(-1)
    ratio = each[y == "target"].mean() / each[y == "other"].mean()
    assert 0.85 < ratio < 1.15


def test_the_flicker_that_is_looked_at_is_in_the_spectrum(simulator):
    X, y, _, _ = simulator.steady_state(
        n_subjects=2, n_trials=5, frequencies=(7.5, 13), strength=5
    )
    assert sorted(set(y)) == ["13", "7.5"]
    frequencies, density = power(X[:, NAMES.index("Oz")])
    narrow = (frequencies > 5) & (frequencies < 20)
    found = frequencies[narrow][density[:, narrow].argmax(1)]
    np.testing.assert_allclose(found, y.astype(float), atol=0.26)


def test_phases_of_the_flicker_differ_between_trials(simulator):
    X, _, _, _ = simulator.steady_state(1, 30, frequencies=(12.0,), strength=5)
    oz = X[:, NAMES.index("Oz")]
    assert power(oz.mean(0))[1].max() < 0.2 * power(oz)[1].mean(0).max()


def test_slow_waves_lie_below_2_hz(simulator):
    X, y, _, _ = simulator.slow_waves(n_subjects=2, n_trials=20, strength=2)
    frequencies, density = power(X[:, NAMES.index("Fz")])
    deep, light = (density[y == one].mean(0) for one in ("deep", "light"))
    slow = (frequencies > 0.4) & (frequencies <= 1.6)
    fast = frequencies > 3
    assert deep[slow].sum() > 2 * light[slow].sum()
    assert deep[fast].sum() == pytest.approx(light[fast].sum(), rel=0.2)


@pytest.mark.parametrize("kind", KINDS)
def test_without_strength_labels_leave_no_trace(simulator, kind):
    X, y, groups, _ = getattr(simulator, kind)(1, 8, strength=0)
    other = ResponseSimulator(NAMES, seed=5)
    again, labels, _, _ = getattr(other, kind)(1, 8, strength=1e-9)
    np.testing.assert_array_equal(y, labels)
    np.testing.assert_allclose(X, again, rtol=0, atol=1e-12)


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_seed_is_the_same_data_with_any_other_people_and_channels(
    simulator, kind
):
    X, y, groups, info = getattr(simulator, kind)(2, 4)
    assert groups.tolist() == np.repeat([1, 2], len(X) // 2).tolist()
    assert info["ch_names"] == NAMES
    few = ResponseSimulator(["Oz", "Cz"], seed=5)
    first, labels, _, _ = getattr(few, kind)(1, 4)
    np.testing.assert_array_equal(labels, y[: len(labels)])
    rows = [NAMES.index("Oz"), NAMES.index("Cz")]
    np.testing.assert_allclose(first, X[: len(first), rows], rtol=0, atol=1e-10)
    assert not np.allclose(X[: len(X) // 2], X[len(X) // 2 :])


def test_rest_is_that_of_the_simulator_without_responses(simulator):
    raw = EEGSimulator(NAMES, seed=5).raw(1)
    X, _, _, _ = simulator.slow_waves(1, 8)
    assert X.std() == pytest.approx(raw.get_data().std(), rel=0.3)


def test_true_patterns_peak_above_their_sources(simulator):
    anchors = {"evoked": "Pz", "visual": "Oz", "steady_state": "Oz", "slow_wave": "Fz"}
    for subject in (1, 2, 3):
        patterns = simulator.true_patterns(subject)
        assert {"mu_left", "mu_right", "alpha"} < set(patterns)
        for name, anchor in anchors.items():
            strongest = NAMES[np.abs(patterns[name]).argmax()]
            assert strongest[0] == anchor[0], f"{name} of {subject} at {strongest}"


@pytest.mark.parametrize(
    ("kind", "arguments", "words"),
    [
        ("evoked", {"n_trials": 3}, "n_trials"),
        ("evoked", {"strength": -1}, "strength"),
        ("steady_state", {"frequencies": (0.5, 9)}, "frequencies"),
        ("slow_waves", {"n_subjects": 0}, "n_subjects"),
    ],
)
def test_wrong_arguments_are_refused(simulator, kind, arguments, words):
    with pytest.raises(ValueError, match=words):
        getattr(simulator, kind)(**arguments)
