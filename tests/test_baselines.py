"""Baselines: each is a classifier of arrays, in any unit, that finds what there is."""

import sys
import warnings

import numpy as np
import pytest
from sklearn.base import clone, is_classifier
from sklearn.metrics import roc_auc_score

pytest.importorskip("pyriemann", reason="needs pyRiemann")

from braindecode_samba.evaluation import (  # noqa: E402
    band_power,
    csp_lda,
    network,
    tangent_space,
)
from braindecode_samba.evaluation.baselines import (  # noqa: E402
    bandpass,
    log_band_power,
)

SFREQ = 128
BASELINES = {
    "csp": lambda: csp_lda(sfreq=SFREQ, n_components=4),
    "tangent space": lambda: tangent_space(sfreq=SFREQ),
    "band power": lambda: band_power(sfreq=SFREQ),
    "network": lambda: network(
        "ShallowFBCSPNet", sfreq=SFREQ, max_epochs=12, device="cpu", random_state=0
    ),
}


def rhythms(n=60, n_chans=6, seconds=2, seed=0):
    """Noise with a rhythm of 10 Hz that sits on one of two channels."""
    rng = np.random.default_rng(seed)
    times = np.arange(seconds * SFREQ) / SFREQ
    X = rng.standard_normal((n, n_chans, len(times)))
    y = np.array(["left", "right"])[np.arange(n) % 2]
    phases = rng.uniform(0, 2 * np.pi, (n, 1))
    X[np.arange(n), np.where(y == "left", 1, 4)] += 2 * np.sin(
        2 * np.pi * 10 * times + phases
    )
    return X * 1e-5, y


@pytest.mark.parametrize("name", BASELINES)
def test_each_finds_the_rhythm_in_windows_it_never_saw(name):
    X, y = rhythms()
    method = clone(BASELINES[name]())
    assert is_classifier(method)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        method.fit(X[:40], y[:40])
        proba = method.predict_proba(X[40:])
    assert method.classes_.tolist() == ["left", "right"]
    assert roc_auc_score(y[40:] == "right", proba[:, 1]) > 0.95


@pytest.mark.parametrize("name", ["csp", "tangent space", "band power"])
def test_units_do_not_matter(name):
    X, y = rhythms()
    volts = BASELINES[name]().fit(X, y).predict_proba(X)
    microvolts = BASELINES[name]().fit(X * 1e6, y).predict_proba(X * 1e6)
    assert np.mean(volts.argmax(1) == microvolts.argmax(1)) == 1


@pytest.mark.parametrize("name", ["csp", "tangent space"])
def test_an_average_reference_is_no_obstacle(name):
    X, y = rhythms()
    X = X - X.mean(1, keepdims=True)
    proba = BASELINES[name]().fit(X[:40], y[:40]).predict_proba(X[40:])
    assert roc_auc_score(y[40:] == "right", proba[:, 1]) > 0.9


def test_a_filter_keeps_its_band_and_removes_the_rest():
    times = np.arange(4 * SFREQ) / SFREQ
    slow, mu, fast = (np.sin(2 * np.pi * f * times) for f in (2, 12, 50))
    found = bandpass((slow + mu + fast)[None, None], SFREQ, 8, 30)[0, 0]
    middle = slice(SFREQ, 3 * SFREQ)
    np.testing.assert_allclose(found[middle], mu[middle], atol=0.05)


def test_band_power_is_that_of_the_band():
    times = np.arange(4 * SFREQ) / SFREQ
    X = np.stack([np.sin(2 * np.pi * f * times) for f in (6, 20)])[None]
    powers = log_band_power(X, SFREQ, ((4, 8), (13, 30))).reshape(2, 2)
    assert powers[0, 0] - powers[0, 1] > 5
    assert powers[1, 1] - powers[1, 0] > 5
    louder = log_band_power(10 * X, SFREQ, ((4, 8), (13, 30))).reshape(2, 2)
    np.testing.assert_allclose(np.diag(louder - powers), np.log(100), rtol=1e-6)


def test_a_dead_channel_has_a_finite_log_power():
    X = np.zeros((1, 2, 256))
    assert np.isfinite(log_band_power(X, SFREQ, ((4, 8),))).all()


def test_a_band_without_a_frequency_is_refused():
    with pytest.raises(ValueError, match="no frequency from 5 to 7 Hz"):
        log_band_power(np.zeros((1, 2, 32)), SFREQ, ((5, 7),))
    with pytest.raises(ValueError, match="no frequency from 70 to 90 Hz"):
        log_band_power(np.zeros((1, 2, 256)), SFREQ, ((70, 90),))


def test_missing_pyriemann_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "pyriemann.estimation", None)
    for make in (csp_lda, tangent_space):
        with pytest.raises(ImportError, match="pip install"):
            make(sfreq=SFREQ)
