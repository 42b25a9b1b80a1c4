"""Bad input is refused by every estimator before any work, and leaves nothing behind.

Each kind of bad input comes as an array and, where MNE can hold it, as Epochs, and the
message has to help.  A callback that fails as soon as a net is set up shows that no
training has begun.  What contradicts an earlier fit is in `test_estimators`.
"""

import copy

import mne
import numpy as np
import pytest
import torch
from sklearn.exceptions import NotFittedError
from skorch.callbacks import Callback

from braindecode_samba import (
    SAMBA,
    SAMBAClassifier,
    SAMBAFeatures,
    SAMBARegressor,
    chs_info_from_names,
    positions_from_names,
)

NAMES = ("C3", "Cz", "C4", "Pz")
SFREQ = 128.0
SMALL = {"d_state": 4, "expand": 2}
KINDS = {
    "classifier": SAMBAClassifier,
    "regressor": SAMBARegressor,
    "features": SAMBAFeatures,
}
FORMS = ("array", "epochs")
X = np.random.default_rng(0).normal(0, 1e-5, (8, 4, 32))
Y = {
    "classifier": np.array(["left", "right"] * 4),
    "regressor": np.linspace(-1, 1, 8),
    "features": None,
}


class NoNet(Callback):
    """Fails when a net is set up, which every training begins with."""

    def initialize(self):
        raise AssertionError("a net was set up for input that has to be refused")


def make(kind, **params):
    """Build a small estimator of one of `KINDS`, unfitted."""
    quick = {
        "checkpoint": None,
        "model_params": SMALL,
        "device": "cpu",
        "random_state": 0,
    }
    if kind != "features":
        quick |= {"start": "random", "max_epochs": 1}
    return KINDS[kind](**{**quick, **params})


def as_epochs(x, names=NAMES, places=None):
    """Epochs with electrodes at `places`, by default where their names say."""
    epochs = mne.EpochsArray(
        x, mne.create_info(list(names), SFREQ, "eeg"), verbose="error"
    )
    places = positions_from_names(names) if places is None else places
    for channel, place in zip(epochs.info["chs"], places, strict=True):
        channel["loc"][:3] = place
    return epochs


def give(form, x=X, names=NAMES, places=None):
    """X and what the estimator has to be told about it, in one of `FORMS`."""
    if form == "epochs":
        return as_epochs(x, names, places), {}
    told = {"sfreq": SFREQ, "ch_names": names}
    if places is not None:
        chs_info = chs_info_from_names(NAMES)
        for channel, name, place in zip(chs_info, names, places, strict=True):
            channel.update(ch_name=name, loc=np.array([*place, *np.zeros(9)]))
        told = {"sfreq": SFREQ, "chs_info": chs_info}
    return x, told


def nothing(form):
    x, told = give(form)
    return x[:0], told


def with_sample(value):
    x = X.copy()
    x[5, 2, 7] = value
    return x


def nan_places():
    places = positions_from_names(NAMES)
    places[1, 2] = np.nan
    return places


def other_channels(form):
    """X of four channels for an estimator that was told of others."""
    told = {"ch_names": ("C3", "Cz", "C4", "Oz")}
    if form == "array":
        return X, {"sfreq": SFREQ, "ch_names": NAMES[:3]}
    return as_epochs(X), told


def other_places(form):
    """As `other_channels`, told by positions."""
    told = {"chs_info": chs_info_from_names(("C3", "Cz", "C4"))}
    if form == "array":
        return X, {**told, "sfreq": SFREQ}
    return as_epochs(X), told


def moved_places(form):
    """Epochs whose electrodes lie 2 cm from where the estimator was told."""
    places = positions_from_names(NAMES) + [0.0, 0.02, 0.0]
    return as_epochs(X, places=places), {"chs_info": chs_info_from_names(NAMES)}


UNKNOWN = ("C3", "Quux", "C4", "Pz")
NO_PLACE = np.full((4, 3), np.nan)
BAD = {
    "NaN samples": (lambda f: give(f, with_sample(np.nan)), "NaN.*window 5, channel 2"),
    "infinite samples": (
        lambda f: give(f, with_sample(-np.inf)),
        "infinity.*window 5, channel 2",
    ),
    "samples beyond float32": (lambda f: give(f, with_sample(1e300)), "float32"),
    "unknown channel": (
        lambda f: give(f, names=UNKNOWN, places=None if f == "array" else NO_PLACE),
        "no position is known for 1 of 4 channels .*'Quux'",
    ),
    "NaN positions": (
        lambda f: give(f, names=("C3", "E7", "C4", "Pz"), places=nan_places()),
        "no position is known for 1 of 4 channels .*'E7'.*metres",
    ),
    "other channels": (other_channels, "4 channels and 3 names|'Pz'.*was told.*'Oz'"),
    "places of other channels": (
        other_places,
        "4 channels and 3 names|'Pz'.*was told 'C3', 'Cz', 'C4'",
    ),
    "no windows": (nothing, "no windows|0 sample"),
    "short windows": (lambda f: give(f, X[..., :7]), "7 samples.*(at least 8|on 32)"),
    "complex": (lambda f: give(f, X + 1j * X), "[Cc]omplex"),
    "millimetres": (
        lambda f: give(f, places=1000 * positions_from_names(NAMES)),
        "not metres .millimetres",
    ),
}
ARRAYS_ONLY = {
    "two dimensions": (lambda f: give(f, X[0]), r"shape \(4, 32\).*n, channels, times"),
    "four dimensions": (
        lambda f: give(f, X[None]),
        r"shape \(1, 8, 4, 32\).*n, channels, times",
    ),
    "no channels": (lambda f: give(f, X[:, :0]), "at least one of each"),
    "text": (lambda f: give(f, X.astype(str).tolist()), "numeric"),
    "an empty list": (lambda f: ([], give(f)[1]), "no windows|0 sample"),
}
EPOCHS_ONLY = {
    "places that contradict": (moved_places, "more than 1 mm apart"),
}
CASES = [
    pytest.param(form, *case, id=f"{name}-{form}")
    for forms, table in (
        (FORMS, BAD),
        (FORMS[:1], ARRAYS_ONLY),
        (FORMS[1:], EPOCHS_ONLY),
    )
    for name, case in table.items()
    for form in forms
]


def targets(kind, x):
    return None if Y[kind] is None else Y[kind][: len(x)]


def refuse(estimator, x, y, words):
    """Fit, and see it refused with `words` before a net was set up."""
    if not isinstance(estimator, SAMBAFeatures):
        estimator.set_params(callbacks=[NoNet()])
    with pytest.raises((ValueError, TypeError), match=f"(?s){words}") as caught:
        estimator.fit(x, y)
    return caught.value


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("form", "bad", "words"), CASES)
def test_bad_windows_are_refused_and_leave_nothing(kind, form, bad, words):
    x, told = bad(form)
    estimator = make(kind, **told)
    refuse(estimator, x, targets(kind, x), words)
    assert not [name for name in vars(estimator) if name.endswith("_")]
    with pytest.raises(NotFittedError):
        getattr(estimator, "transform" if kind == "features" else "predict")(X)


@pytest.fixture(scope="module")
def fitted():
    """Fitted estimators and what they say, by kind and form; tests take a copy."""
    known = {}
    for kind in KINDS:
        for form in FORMS:
            x, told = give(form)
            estimator = make(kind, **told).fit(x, targets(kind, x))
            known[kind, form] = estimator, say(estimator, x)
    return known


def say(estimator, x):
    if isinstance(estimator, SAMBAFeatures):
        return estimator.transform(x)
    name = "predict_proba" if isinstance(estimator, SAMBAClassifier) else "predict"
    return getattr(estimator, name)(x)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("form", "bad", "words"), CASES)
def test_a_refused_refit_leaves_the_last_fit_usable(fitted, kind, form, bad, words):
    first, said = fitted[kind, form]
    estimator = copy.deepcopy(first)
    learnt = {name for name in vars(estimator) if name.endswith("_")}
    x, told = bad(form)
    params = estimator.get_params()
    estimator.set_params(**{"ch_names": None, "chs_info": None, "sfreq": None, **told})
    refuse(estimator, x, targets(kind, x), words)
    assert {name for name in vars(estimator) if name.endswith("_")} == learnt
    estimator.set_params(**params)
    np.testing.assert_array_equal(say(estimator, give(form)[0]), said)


# after a fit Epochs may have any electrodes, whatever was told
AFTER_A_FIT = [
    case
    for case in CASES
    if case.values[0] != "epochs"
    or case.values[1] not in (other_channels, other_places, moved_places)
]


@pytest.mark.parametrize("kind", ["classifier", "features"])
@pytest.mark.parametrize(("form", "bad", "words"), AFTER_A_FIT)
def test_bad_windows_are_refused_at_prediction_too(fitted, kind, form, bad, words):
    first, said = fitted[kind, form]
    estimator = copy.deepcopy(first)
    x, told = bad(form)
    estimator.set_params(**{"ch_names": None, "chs_info": None, "sfreq": None, **told})
    with pytest.raises((ValueError, TypeError), match=f"(?s){words}"):
        say(estimator, x)
    estimator.set_params(**first.get_params())
    np.testing.assert_array_equal(say(estimator, give(form)[0]), said)


@pytest.mark.parametrize("form", FORMS)
def test_one_class_is_refused(fitted, form):
    x, told = give(form)
    estimator = make("classifier", **told)
    error = refuse(estimator, x, ["left"] * len(x), "one class, 'left'.*two classes")
    assert "\n" not in str(error)
    assert not [name for name in vars(estimator) if name.endswith("_")]
    first, said = fitted["classifier", form]
    again = copy.deepcopy(first)
    refuse(again, x, ["right"] * len(x), "one class, 'right'")
    np.testing.assert_array_equal(say(again, x), said)


@pytest.mark.parametrize("kind", ["classifier", "regressor"])
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    ("bad", "words"),
    [
        (lambda y: None, "requires y"),
        (lambda y: y[:-1], "inconsistent numbers of samples"),
        (lambda y: np.where(np.arange(8) == 3, np.nan, np.arange(8) % 2), "NaN"),
        (lambda y: np.arange(8) % 2 + 1j, "[Cc]omplex"),
        (lambda y: np.zeros((8, 2, 2)), "shape|dim"),
    ],
    ids=["none", "other length", "NaN", "complex", "three dimensions"],
)
def test_bad_targets_are_refused(kind, form, bad, words):
    x, told = give(form)
    estimator = make(kind, **told)
    refuse(estimator, x, bad(Y[kind]), words)
    assert not [name for name in vars(estimator) if name.endswith("_")]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("told", "missing", "present"),
    [
        ({}, ("ch_names=", "chs_info=", "sfreq="), ()),
        ({"ch_names": NAMES}, ("sfreq=",), ("ch_names=[",)),
        ({"sfreq": SFREQ}, ("ch_names=", "chs_info="), ("sfreq=...",)),
    ],
    ids=["both", "rate", "names"],
)
def test_arrays_without_names_or_rate_are_told_what_to_pass(
    kind, told, missing, present
):
    error = str(refuse(make(kind, **told), X, Y[kind], "array"))
    assert all(word in error for word in (*missing, "mne.Epochs"))
    assert not any(word in error for word in present)


@pytest.mark.parametrize("sfreq", [64.0, 250.0, 1000.0])
def test_eight_samples_are_counted_at_128_hz(sfreq):
    # the fewest samples that make 8 at 128 Hz, where a part of a sample counts
    least = int(np.floor(7 * sfreq / SFREQ)) + 1
    x = np.random.default_rng(1).normal(size=(4, 4, least))
    estimator = make("classifier", ch_names=NAMES, sfreq=sfreq)
    refuse(estimator, x[..., :-1], [0, 1, 0, 1], f"at least {least} ")
    estimator.set_params(callbacks=None).fit(x, [0, 1, 0, 1])
    assert np.isfinite(estimator.predict_proba(x)).all()


MODEL = {
    "NaN positions": (lambda x, pos: (x, pos * torch.nan), "NaN"),
    "millimetres": (lambda x, pos: (x, pos * 1000), "metres"),
    "positions for fewer channels": (lambda x, pos: (x, pos[:3]), "4 channels.*3"),
    "fewer channels": (lambda x, pos: (x[:, :3], pos), "3 channels.*4"),
    "short windows": (lambda x, pos: (x[..., :7], pos), "7 samples.*at least 8"),
}


@pytest.mark.parametrize("case", MODEL)
def test_the_bare_model_refuses_bad_tensors(case):
    change, words = MODEL[case]
    model = SAMBA(n_outputs=2, chs_info=chs_info_from_names(NAMES), **SMALL).eval()
    x = torch.from_numpy(X).float()
    pos = torch.from_numpy(positions_from_names(NAMES)).float()
    assert torch.isfinite(model(x, pos)).all()
    with pytest.raises(ValueError, match=words):
        model(*change(x, pos))
