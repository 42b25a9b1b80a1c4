"""
What stands beside SAMBA in `evaluate_paradigms.py`

All choose among what their users choose among (pass band, components, strength of the
penalty) on people who are held out of the training people. No method is told what kind
of EEG it gets; only `cca` is told the frequencies of flicker. Every one is an estimator
whose ``read(X)`` needs no labels and looks at each window by itself; ``fit(read, y,
groups=persons)`` and ``predict_proba(read)`` take what it gives.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
from paradigm_networks import make_network
from paradigm_scores import is_number, mean_score
from pyriemann.estimation import Covariances, XdawnCovariances
from pyriemann.spatialfilters import CSP, SPoC
from pyriemann.tangentspace import TangentSpace
from scipy.linalg import subspace_angles
from sklearn.base import BaseEstimator, clone
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import GroupKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from braindecode_samba.evaluation.baselines import bandpass, log_band_power

# Hz; None is the windows as they come
PASS_BANDS = (None, (0.5, 4), (4, 8), (8, 30))
EVOKED_BANDS = (None, (None, 12), (1, 12))
POWER_BANDS = ((0.5, 4), (4, 8), (8, 10), (10, 13), (13, 30), (30, 40))
HARMONICS = (1, 2, 3)
STRENGTHS = (0.001, 0.01, 0.1, 1.0, 10.0)


class ChosenOnPersons(BaseEstimator):
    """The combination that does best on training people who are held out.

    Parameters
    ----------
    readers : list of callable
        What becomes of windows, each by itself and without labels.
    transformers : list of transformer
        What is learnt about what a reader gave.
    models : list of estimator
        What decides.
    score : str
        What is best, of those of `paradigm_scores`.
    """

    def __init__(self, readers, transformers, models, score):
        self.readers = readers
        self.transformers = transformers
        self.models = models
        self.score = score

    def read(self, X):
        """Give what each reader makes of windows: fit and predict take it."""
        return [reader(X) for reader in self.readers]

    def fit(self, read, y, groups):
        """Choose, and fit what was chosen on all windows; groups name persons."""
        if len(read) == len(self.transformers) == len(self.models) == 1:
            self.number_ = 0
            only = make_pipeline(self.transformers[0], self.models[0])
            self.pipeline_ = clone(only).fit(read[0], y)
            return self
        best = -np.inf
        for number, values in enumerate(read):
            for transformer in self.transformers:
                found = self._held_out(transformer, values, y, groups)
                for model, evidence in zip(self.models, found, strict=True):
                    score = mean_score(self.score, y, evidence, groups)
                    if score > best:
                        best, steps, self.number_ = score, (transformer, model), number
        self.pipeline_ = clone(make_pipeline(*steps)).fit(read[self.number_], y)
        return self

    def _held_out(self, transformer, values, y, groups):
        """Evidence of each model about windows of people who are held out."""
        n_folds = min(4, len(np.unique(groups)))
        splitter = GroupKFold(n_folds, shuffle=True, random_state=0)
        shape = y.shape if is_number(y) else (len(y), len(np.unique(y)))
        evidence = np.empty((len(self.models), *shape))
        for learnt, held in splitter.split(y, groups=groups):
            fitted = clone(transformer).fit(values[learnt], y[learnt])
            known = fitted.transform(values[learnt])
            unknown = fitted.transform(values[held])
            for number, model in enumerate(self.models):
                decided = clone(model).fit(known, y[learnt])
                ask = decided.predict if is_number(y) else decided.predict_proba
                evidence[number, held] = ask(unknown)
        return evidence

    def predict(self, read):
        """Labels or numbers."""
        return self.pipeline_.predict(read[self.number_])

    def predict_proba(self, read):
        """Probabilities of classes."""
        return self.pipeline_.predict_proba(read[self.number_])


# %%
# What needs no labels
# --------------------


def filtered(X, sfreq, band):
    """Windows in a pass band."""
    passed = X if band is None else bandpass(X, sfreq, *band)
    return passed.astype(np.float32)


def covariances(X, sfreq, band):
    """Shrunk covariances of windows in a pass band, (n, channels, channels)."""
    return Covariances("oas").transform(filtered(X, sfreq, band))


def canonical_scores(X, sfreq, frequencies, n_harmonics):
    """Largest canonical correlation with each frequency and its harmonics."""
    time = np.arange(X.shape[-1]) / sfreq
    waves = [
        np.stack(
            [
                wave(2 * np.pi * frequency * harmonic * time)
                for harmonic in range(1, n_harmonics + 1)
                for wave in (np.sin, np.cos)
            ],
            axis=1,
        )
        for frequency in frequencies
    ]
    centred = np.asarray(X, float) - X.mean(axis=-1, keepdims=True)
    return np.array(
        [[np.cos(subspace_angles(x.T, wave).min()) for wave in waves] for x in centred]
    )


# %%
# Methods
# -------


def linear_models(numbers):
    """Linear models of several strengths of the penalty."""
    if numbers:
        return [Ridge(1 / C) for C in STRENGTHS]
    return [
        LogisticRegression(C=C, class_weight="balanced", max_iter=10_000)
        for C in STRENGTHS
    ]


def band_covariances(column):
    """Covariances in each pass band."""
    return [partial(covariances, sfreq=column.sfreq, band=band) for band in PASS_BANDS]


def make_csp(column, kind, seed):
    """CSP + LDA, or SPoC + ridge regression, in a band that is chosen."""
    numbers = is_number(column.y)
    patterns = SPoC if numbers else CSP
    lda = LinearDiscriminantAnalysis(solver="lsqr", shrinkage="auto")
    return ChosenOnPersons(
        band_covariances(column),
        [patterns(4), patterns(8)],
        linear_models(numbers) if numbers else [lda],
        kind.score,
    )


def make_tangent(column, kind, seed):
    """Covariances in a band that is chosen, in the tangent space at their mean."""
    return ChosenOnPersons(
        band_covariances(column),
        [TangentSpace()],
        linear_models(is_number(column.y)),
        kind.score,
    )


def make_xdawn(column, kind, seed):
    """Covariances of xDAWN components and templates, in their tangent space."""
    shrunk = {"estimator": "oas", "xdawn_estimator": "oas"}
    return ChosenOnPersons(
        [partial(filtered, sfreq=column.sfreq, band=band) for band in EVOKED_BANDS],
        [make_pipeline(XdawnCovariances(n, **shrunk), TangentSpace()) for n in (2, 4)],
        linear_models(numbers=False),
        kind.score,
    )


def make_cca(column, kind, seed):
    """Canonical correlations with frequencies that are told."""
    told = {"sfreq": column.sfreq, "frequencies": kind.frequencies}
    return ChosenOnPersons(
        [partial(canonical_scores, n_harmonics=n, **told) for n in HARMONICS],
        [StandardScaler()],
        linear_models(numbers=False),
        kind.score,
    )


def make_band_power(column, kind, seed):
    """Log powers of six bands of each channel."""
    return ChosenOnPersons(
        [partial(log_band_power, sfreq=column.sfreq, bands=POWER_BANDS)],
        [StandardScaler()],
        linear_models(is_number(column.y)),
        kind.score,
    )


@dataclass(frozen=True)
class Method:
    """A row of the table: ``make(column, kind, seed)`` gives its estimator."""

    title: str
    make: Callable
    numbers: bool = True  # has a twin for numbers
    told: bool = False  # needs frequencies
    drawn: bool = False  # seeds make a difference


METHODS = {
    "csp": Method("CSP + LDA", make_csp),
    "tangent": Method("tangent space + LR", make_tangent),
    "xdawn": Method("xDAWN + tangent space + LR", make_xdawn, numbers=False),
    "cca": Method("CCA, frequencies told, + LR", make_cca, numbers=False, told=True),
    "bandpower": Method("band power + LR", make_band_power),
    "eegnet": Method(
        "EEGNet", partial(make_network, network="EEGNet", lr=1e-3), drawn=True
    ),
    "shallow": Method(
        "ShallowFBCSPNet",
        partial(make_network, network="ShallowFBCSPNet", lr=1e-3),
        drawn=True,
    ),
}
