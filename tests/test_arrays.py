"""Arrays as callers have them: read alike at every entry, or refused in our words."""

import copy

import mne
import numpy as np
import pandas as pd
import pytest
import torch

from braindecode_samba import (
    RecordingAligner,
    SAMBAClassifier,
    SAMBAFeatures,
    SAMBARegressor,
    SAMBAStream,
)
from braindecode_samba.pretraining import SAMBAPretrainer
from braindecode_samba.signals import mirror_windows, positions_from_names
from tests.fuzz.refusals import is_refusal

NAMES = ["C3", "Cz", "C4"]
TOLD = {"ch_names": NAMES, "sfreq": 128}
SMALL = {"d_state": 4, "expand": 2}
RNG = np.random.default_rng(0)
X = RNG.integers(-900, 900, (12, 3, 64)).astype(np.float64)
Y = np.arange(12) % 2
GROUPS = np.repeat([1, 2, 3], 4)
DECODER = SAMBAClassifier(**TOLD, random_state=0).fit(X, Y, groups=GROUPS)
FEATURES = SAMBAFeatures(**TOLD, layer="pool3", pooling="mean").fit(X)
GRADIENTS = {
    "start": "random",
    "checkpoint": None,
    "max_epochs": 1,
    "model_params": SMALL,
    "random_state": 0,
}
REGRESSOR = SAMBARegressor(**TOLD, random_state=0).fit(X, Y * 1.0)
ALIGNER = RecordingAligner().fit(X, groups=GROUPS)

ENTRIES = {
    "fit": lambda x: SAMBAFeatures(**TOLD).fit_transform(x),
    "predict": DECODER.predict_proba,
    "calibrate": lambda x: copy.deepcopy(DECODER).calibrate(x, Y).predict_proba(X),
    "adapt": lambda x: copy.deepcopy(DECODER).adapt(x).predict_proba(X),
    "aligner": lambda x: ALIGNER.transform(x, groups=GROUPS),
    "mirror": lambda x: mirror_windows(
        x, Y, positions_from_names(NAMES), {0: 1}, random_state=0
    )[0],
    "recording": lambda x: FEATURES.transform_recording(x[0]),
    "stream": lambda x: SAMBAStream(DECODER).push(x[0])[0].output,
}
FORMS = {
    "int16": X.astype(np.int16),
    "float16": X.astype(np.float16),
    "longdouble": X.astype(np.longdouble),
    "other byte order": X.astype(">f8"),
    "objects": X.astype(object),
    "lists": X.tolist(),
    "nothing masked": np.ma.masked_array(X, mask=np.zeros(X.shape, bool)),
    "tensor": torch.tensor(X),
    "tensor with gradient": torch.tensor(X, requires_grad=True),
    "backwards": X[::-1, :, ::-1].copy()[::-1, :, ::-1],
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("entry", ENTRIES)
def test_numbers_are_read_in_any_form(entry, form, recwarn):
    found = np.asarray(ENTRIES[entry](FORMS[form]))
    np.testing.assert_allclose(found, ENTRIES[entry](X), rtol=1e-4, atol=1e-4)
    assert not recwarn


def hidden(x):
    return np.ma.masked_array(x, mask=np.abs(x) > 500)


NONE = {
    "masked": (hidden(X), "entries of .* are masked"),
    "ragged": ([X[0].tolist()[:2] + [[1.0]]] * 12, "inhomogeneous"),
    "text": (X.astype(str), "strings"),
    "dates": (X.astype("datetime64[s]"), "datetime64"),
    "records": (np.zeros(X.shape, [("a", float)]), "numeric"),
    "complex": (X + 1j, "complex"),
    "no numbers": (np.full(X.shape, object()), "numeric"),
    "huge": (X * 1e300, "NaN.*infinity|infinite"),
}


@pytest.mark.filterwarnings("ignore:overflow")
@pytest.mark.parametrize("kind", NONE)
@pytest.mark.parametrize("entry", ENTRIES)
def test_what_is_no_number_is_refused(entry, kind):
    if (entry, kind) == ("mirror", "huge"):
        pytest.skip("nothing is computed from them")
    x, words = NONE[kind]
    with pytest.raises((ValueError, TypeError), match=words) as caught:
        ENTRIES[entry](x)
    assert is_refusal(caught.value)


@pytest.mark.parametrize("x", [{1, 2}, (one for one in X), None, 3.0, "x", b"x"])
def test_what_is_no_array_is_refused(x):
    for function in (
        lambda: DECODER.predict(x),
        lambda: ALIGNER.transform(x, groups=GROUPS),
        lambda: FEATURES.transform_recording(x),
        lambda: SAMBAStream(DECODER).push(x),
        lambda: SAMBAPretrainer(**TOLD, verbose=0).fit(x),
    ):
        with pytest.raises((ValueError, TypeError)) as caught:
            function()
        assert is_refusal(caught.value)


@pytest.mark.parametrize("factor", [1e-300, 1e-42, 1e-36])
def test_what_spans_nothing_in_any_unit_does_not_move(factor):
    for function in (
        lambda: SAMBAClassifier(**TOLD).fit(factor * X, Y, groups=GROUPS),
        lambda: DECODER.predict(factor * X),
        lambda: RecordingAligner().fit(factor * X, groups=GROUPS),
    ):
        with pytest.raises(ValueError, match="not move"):
            function()
    with pytest.warns(UserWarning, match="not move"):
        (said,) = SAMBAStream(DECODER).push(factor * X[0])
    assert np.isfinite(said.output).all()


def test_files_that_can_not_be_written_to_are_read_without_a_word(tmp_path, recwarn):
    np.save(tmp_path / "x.npy", X[0].astype(np.float32))
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    found = FEATURES.transform_recording(mapped)
    np.testing.assert_array_equal(found, FEATURES.transform_recording(X[0]))
    assert not recwarn


LABELS = {
    "masked": (np.ma.masked_array(Y, mask=Y == 1), "masked"),
    "a list with NaN": (["a", float("nan")] * 6, "NaN"),
    "numbers or missing": (pd.Series([0, 1, pd.NA] * 4, dtype="Int64"), "NaN"),
    "ragged": ([[1, 2], [3]] * 6, "inhomogeneous"),
    "dates": (np.array(["2020", "2021"] * 6, "datetime64[Y]"), "datetime64"),
    "records": (np.zeros(12, [("a", int)]), "numeric|pass text"),
    "two columns": (np.c_[Y, 1 - Y], "1d array|shape"),
}


@pytest.mark.parametrize("kind", LABELS)
def test_targets_that_are_none_are_refused_wherever_they_come(kind):
    y, words = LABELS[kind]
    decoders = [copy.deepcopy(DECODER), copy.deepcopy(REGRESSOR)]
    functions = [
        *(lambda one=one: one.calibrate(X, y) for one in decoders),
        *(lambda one=one: one.score(X, y) for one in decoders),
        lambda: SAMBAClassifier(**TOLD, **GRADIENTS).partial_fit(X, y),
    ]
    for function in functions:
        with pytest.raises((ValueError, TypeError), match=words) as caught:
            function()
        assert is_refusal(caught.value)


@pytest.mark.parametrize("method", ["fit", "partial_fit", "calibrate", "score"])
def test_targets_beyond_float32_are_refused(method):
    regressor = copy.deepcopy(REGRESSOR)
    if method == "partial_fit":
        regressor = SAMBARegressor(**TOLD, **GRADIENTS)
    with pytest.raises(ValueError, match=r"numbers above 1e\+18"):
        getattr(regressor, method)(X, Y * 1e300)


@pytest.mark.parametrize("y", [torch.tensor(Y), pd.Series(Y), Y.astype(np.uint8)])
def test_targets_are_read_in_any_form(y):
    wanted = copy.deepcopy(DECODER).calibrate(X, Y).predict_proba(X)
    found = copy.deepcopy(DECODER).calibrate(X, y).predict_proba(X)
    np.testing.assert_array_equal(found, wanted)
    assert DECODER.score(X, y) == DECODER.score(X, Y)


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (np.ma.masked_array(GROUPS, mask=GROUPS == 2), "masked"),
        (["a", float("nan")] * 6, "missing for 6 windows, first for 1"),
        (pd.Series(["a", pd.NA] * 6), "missing"),
        (np.where(GROUPS == 1, np.inf, 0.0), "missing"),
        (GROUPS + 1j, "complex"),
        (np.zeros(12, [("a", int)]), "pass text"),
        ([{}] * 12, "compared|pass text"),
    ],
)
def test_names_that_are_none_are_refused(names, words):
    for function in (
        lambda: DECODER.predict(X, groups=names),
        lambda: RecordingAligner().fit(X, groups=names),
        lambda: SAMBAClassifier(**TOLD).fit(X, Y, groups=names),
    ):
        with pytest.raises((ValueError, TypeError), match=words) as caught:
            function()
        assert is_refusal(caught.value)


@pytest.mark.parametrize(
    "names",
    [
        pd.date_range("2020", periods=3).repeat(4),
        np.array([b"a", b"b", b"c"]).repeat(4),
        pd.Series(list("abc"), dtype="category").repeat(4),
        torch.tensor(GROUPS),
    ],
)
def test_names_of_any_kind_go_into_a_file(names, tmp_path):
    decoder = copy.deepcopy(DECODER).adapt(X, groups=names)
    decoder.save_pretrained(tmp_path)
    again = SAMBAClassifier.from_pretrained(tmp_path)
    found = again.predict_proba(X, groups=names)
    np.testing.assert_allclose(found, decoder.predict_proba(X, groups=names), atol=1e-6)


def test_people_who_are_missing_in_a_table_are_nobody():
    info = mne.create_info(NAMES, 128.0, "eeg")
    epochs = mne.EpochsArray(1e-6 * X, info, verbose="error")
    for table in (
        pd.DataFrame({"subject": ["a", None] * 6}),
        pd.DataFrame({"subject": ["a", None] * 6, "session": [1, 2] * 6}),
    ):
        epochs.metadata = table
        with pytest.raises(ValueError, match="missing for 6 windows"):
            SAMBAClassifier().fit(epochs, Y)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize(
    "name", ["lr", "weight_decay", "trunk_lr_factor", "validation_split"]
)
def test_settings_are_finite(name, value):
    decoder = SAMBAClassifier(**TOLD, **{**GRADIENTS, name: value})
    with pytest.raises(ValueError, match=f"{name} == .*must be"):
        decoder.fit(X, Y)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"mirror": 3}, "exchanges no labels"),
        ({"mirror": {0: [1]}}, "exchanges no labels"),
        ({"montages": 3}, "montages is a int"),
        ({"montages": [3]}, "channel names"),
        ({"model_params": {"n_layers": 3}}, "model_params holds n_layers"),
        ({"ch_names": 3}, "channel names are 3"),
        ({"exclude": 3}, "exclude=3 is unknown"),
        ({"model_params": {"activation": torch.nn.ELU()}}, "pass a class"),
    ],
)
def test_settings_of_another_kind_are_refused(settings, words):
    own = {**TOLD, **GRADIENTS, "align": False, **settings}
    with pytest.raises((ValueError, TypeError), match=words) as caught:
        SAMBAClassifier(**own).fit(X, Y)
    assert is_refusal(caught.value)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"exclude": "Cz"}, "exclude='Cz' is unknown"),
        ({"exclude": None}, "exclude=None is unknown"),
        ({"chs_info": 3}, "chs_info is a int"),
        ({"chs_info": [None]}, "entry 0 of chs_info"),
        ({"group": []}, "names nobody"),
        ({"chs_info": [], "positions": []}, "no channel|positions"),
    ],
)
def test_options_of_a_stream_of_another_kind_are_refused(options, words):
    with pytest.raises((ValueError, TypeError), match=words) as caught:
        SAMBAStream(DECODER, **options)
    assert is_refusal(caught.value)


@pytest.mark.parametrize("name", ["batch_size", "lr"])
@pytest.mark.parametrize("value", [None, "x", float("nan"), -1])
def test_settings_of_a_pretraining_are_numbers(name, value):
    net = SAMBAPretrainer(**TOLD, verbose=0, **{name: value})
    with pytest.raises((ValueError, TypeError), match=name) as caught:
        net.fit(X)
    assert is_refusal(caught.value)


@pytest.mark.parametrize("lr", [1.0, 30.0, 1e20])
def test_a_last_step_that_diverges_is_refused(lr):
    # one step: its loss is that of the start
    decoder = SAMBAClassifier(**TOLD, **GRADIENTS, lr=lr)
    with pytest.raises(ValueError, match="diverged.*lower lr"):
        decoder.fit(X, Y, groups=GROUPS)
    assert not hasattr(decoder, "net_")
    decoder.set_params(lr=1e-3).fit(X, Y, groups=GROUPS)
    before = decoder.predict_proba(X)
    for group in decoder.net_.optimizer_.param_groups:
        group["lr"] = lr
    with pytest.raises(ValueError, match="diverged"):
        decoder.partial_fit(X, Y)
    np.testing.assert_array_equal(decoder.predict_proba(X), before)
