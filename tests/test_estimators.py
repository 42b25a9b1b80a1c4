"""What the three estimators promise on windows of EEG.

Networks are made small where their size doesn't matter.  scikit-learn's own checks are
in `test_sklearn_checks`, the kinds of X in `test_inputs`.
"""

import copy
import pickle
import random

import mne
import numpy as np
import pandas as pd
import pytest
import scipy.sparse
import torch
from braindecode import EEGClassifier, EEGRegressor
from braindecode.datasets import BaseConcatDataset, RawDataset
from braindecode.preprocessing import create_fixed_length_windows
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.utils import check_random_state
from skorch.callbacks import Callback, EarlyStopping

from braindecode_samba import (
    SAMBA,
    SAMBAClassifier,
    SAMBAFeatures,
    SAMBARegressor,
    chs_info_from_names,
    positions_from_names,
)
from braindecode_samba.estimators.aligning import say_unaligned
from braindecode_samba.nn import nine_statistics

NAMES = ["C3", "Cz", "C4", "Pz"]
SFREQ = 128.0
SMALL = {"d_state": 4, "expand": 2}
ON_ARRAYS = {"ch_names": NAMES, "sfreq": SFREQ}
QUICK = {
    "checkpoint": None,
    "start": "random",
    "max_epochs": 1,
    "batch_size": 8,
    "model_params": SMALL,
    "device": "cpu",
    "random_state": 0,
}
PUBLISHED = {"layer": "pool3", "pooling": "statistics"}
LABELS = np.array(["left", "right"] * 6)
RAW = mne.io.RawArray(np.zeros((1, 9)), mne.create_info(1, 9), verbose="error")


def rhythms(labels=LABELS, n_chans=4, n_times=64, seed=0):
    """Noise in volts, with a 10 Hz rhythm under C3 (left) or C4 (right)."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(len(labels), n_chans, n_times))
    phase = rng.uniform(0, 2 * np.pi, (len(labels), 1))
    wave = 4 * np.sin(2 * np.pi * 10 * np.arange(n_times) / SFREQ + phase)
    X[labels == "left", 0] += wave[labels == "left"]
    X[labels == "right", 2] += wave[labels == "right"]
    return 1e-5 * X


def as_epochs(X, names=NAMES, sfreq=SFREQ):
    epochs = mne.EpochsArray(
        X, mne.create_info(list(names), sfreq, "eeg"), verbose="error"
    )
    places = dict(zip(names, positions_from_names(names), strict=True))
    epochs.set_montage(mne.channels.make_dig_montage(places, coord_frame="head"))
    return epochs


def as_windows(epochs, targets):
    """Windows of braindecode, one recording each."""
    recordings = [
        RawDataset(
            mne.io.RawArray(x, epochs.info, verbose="error"),
            pd.Series({"target": target}),
            target_name="target",
        )
        for x, target in zip(epochs.get_data(copy=True), targets, strict=True)
    ]
    n_times = len(epochs.times)
    return create_fixed_length_windows(
        BaseConcatDataset(recordings),
        window_size_samples=n_times,
        window_stride_samples=n_times,
        on_last_window="drop",
        preload=True,
    )


def quick(kind=SAMBAClassifier, **params):
    params = {**QUICK, **params}
    if kind is SAMBAFeatures:
        del params["max_epochs"], params["start"]
    return kind(**params)


@pytest.fixture(scope="module")
def X():
    return rhythms()


@pytest.fixture(scope="module")
def fitted(X):
    """Fit a classifier on arrays; tests that change it take a copy."""
    return quick(**ON_ARRAYS).fit(X, LABELS)


@pytest.fixture(scope="module")
def fitted_on_epochs(X):
    """Fit a classifier on Epochs."""
    return quick().fit(as_epochs(X), LABELS)


def state(estimator):
    """All that a fit has left behind."""
    weights = estimator.model_.state_dict() if hasattr(estimator, "net_") else {}
    others = {k: v for k, v in vars(estimator).items() if k != "net_"}
    if "_alignment" in others:
        others["_alignment"] = vars(others["_alignment"])
    return {k: v.clone() for k, v in weights.items()}, copy.deepcopy(others)


def assert_same_weights(first, second):
    # a scale that was never set is NaN
    torch.testing.assert_close(first, second, rtol=0, atol=0, equal_nan=True)


def assert_same_state(first, second):
    assert_same_weights(first[0], second[0])
    np.testing.assert_equal(first[1], second[1])


class TestLearning:
    def test_classifier_learns_where_a_rhythm_is(self):
        labels = np.array(["left", "right"] * 16)
        decoder = quick(**ON_ARRAYS, max_epochs=5, lr=1e-2)
        decoder.fit(rhythms(labels), labels)
        test = rhythms(labels, seed=1)
        assert decoder.score(test, labels) >= 0.9
        assert roc_auc_score(labels == "right", decoder.decision_function(test)) >= 0.95

    def test_regressor_learns_how_strong_a_rhythm_is(self):
        rng = np.random.default_rng(0)
        y = rng.normal(300, 50, size=64)
        X = rng.normal(size=(64, 4, 64))
        wave = np.sin(2 * np.pi * 10 * np.arange(64) / SFREQ)
        X[:, 0] += 4 * np.exp((y[:, None] - 300) / 50) * wave
        params = {**ON_ARRAYS, "max_epochs": 6, "lr": 1e-2, "batch_size": 12}
        decoder = quick(SAMBARegressor, **params)
        decoder.fit(X[:48], y[:48])
        assert decoder.score(X[48:], y[48:]) >= 0.6

    def test_features_tell_rhythms_apart(self):
        labels = np.array(["left", "right"] * 16)
        features = SAMBAFeatures(
            **ON_ARRAYS, layer="spatial", pooling="logvar", random_state=0
        )
        decoder = make_pipeline(features, LogisticRegression(max_iter=1000))
        decoder.fit(rhythms(labels), labels)
        assert decoder.score(rhythms(labels, seed=1), labels) >= 0.9

    def test_a_batch_larger_than_the_data_trains(self, X):
        decoder = quick(**ON_ARRAYS, batch_size=64).fit(X[:5], LABELS[:5])
        assert len(decoder.net_.history[-1, "batches"]) == 1
        untrained = quick(**ON_ARRAYS, batch_size=64, lr=1e-30)
        untrained.fit(X[:5], LABELS[:5])
        name = "final_layer.weight"
        weights = [d.model_.state_dict()[name] for d in (decoder, untrained)]
        assert not torch.allclose(*weights, atol=1e-5)

    def test_no_window_is_dropped(self, X):
        decoder = quick(**ON_ARRAYS, batch_size=5).fit(X[:11], LABELS[:11])
        sizes = decoder.net_.history[-1, "batches", :, "train_batch_size"]
        assert sizes == [5, 5, 1]

    def test_the_rate_follows_one_cycle_to_its_end(self, X):
        decoder = quick(**ON_ARRAYS, max_epochs=3, batch_size=5, lr=0.01)
        decoder.fit(X, LABELS)
        rates = np.ravel(decoder.net_.history[:, "batches", :, "event_lr"])
        assert len(rates) == 9
        assert rates.max() > 0.009
        assert rates[0] == pytest.approx(0.01 / 25)
        assert rates[-1] == pytest.approx(0.01 / 25e4, rel=1e-3)

    def test_a_single_step_has_the_full_rate(self, X):
        decoder = quick(**ON_ARRAYS, batch_size=64, lr=0.01).fit(X, LABELS)
        assert decoder.net_.optimizer_.param_groups[0]["lr"] == 0.01
        assert "event_lr" not in decoder.net_.history[-1, "batches", 0]

    def test_only_the_weights_of_layers_decay(self, fitted):
        decayed, free = fitted.net_.optimizer_.param_groups
        assert decayed["weight_decay"] == fitted.weight_decay
        assert free["weight_decay"] == 0
        named = dict(fitted.model_.named_parameters())
        group = {id(p): "free" for p in free["params"]}
        kinds = {name: group.get(id(p), "decayed") for name, p in named.items()}
        assert len(decayed["params"]) + len(free["params"]) == len(named)
        for name, kind in kinds.items():
            last = name.rsplit(".", 1)[-1]
            exempt = (
                last in ("bias", "dt_bias", "A_log", "D", "kappa") or "norm" in name
            )
            assert kind == "free" or not exempt, name
        assert kinds["final_layer.weight"] == "decayed"

    def test_gradients_are_clipped(self, X):
        norms = []

        class Watch(Callback):
            def on_grad_computed(self, net, named_parameters, **kwargs):
                gradients = [p.grad for _, p in named_parameters if p.grad is not None]
                norms.append(torch.nn.utils.get_total_norm(gradients).item())

        watch = Watch()
        decoder = quick(SAMBARegressor, **ON_ARRAYS, callbacks=[watch])
        decoder.fit(X, 1000.0 * np.arange(len(X)))
        assert len(norms) == 2
        assert max(norms) <= 1.001

    def test_divergence_is_an_error(self, X):
        decoder = quick(**ON_ARRAYS, lr=1e30, max_epochs=4)
        with pytest.raises(ValueError, match="diverged.*lower lr"):
            decoder.fit(X, LABELS)
        assert not hasattr(decoder, "net_")

    def test_numbers_of_numpy_are_settings_too(self, X):
        decoder = quick(
            **ON_ARRAYS,
            max_epochs=np.int64(1),
            batch_size=np.int32(4),
            lr=np.float32(1e-3),
            validation_split=np.float64(0.25),
        )
        assert decoder.fit(X, LABELS).predict(X).shape == (12,)


class TestLabels:
    @pytest.mark.parametrize(
        "labels",
        [
            ("left", "right"),
            (-1, 1),
            (5, 6),
            (True, False),
            (0.0, 1.0),
            ("a", "b", "c"),
        ],
    )
    def test_any_labels_come_back(self, X, labels):
        y = [labels[i % len(labels)] for i in range(len(X))]
        decoder = quick(**ON_ARRAYS).fit(X, y)
        assert decoder.classes_.tolist() == sorted(labels)
        predicted = decoder.predict(X)
        assert predicted.dtype == np.asarray(y).dtype
        assert set(predicted.tolist()) <= set(labels)
        expected = decoder.classes_[decoder.predict_proba(X).argmax(axis=1)]
        assert np.array_equal(predicted, expected)

    def test_variable_length_text_is_taken(self, X):
        y = LABELS.astype(np.dtypes.StringDType())
        assert quick(**ON_ARRAYS).fit(X, y).classes_.tolist() == ["left", "right"]

    def test_pandas_labels_are_taken(self, X):
        y = pd.Series(LABELS, dtype="category", index=range(50, 62))
        assert quick(**ON_ARRAYS).fit(X, y).classes_.tolist() == ["left", "right"]

    def test_two_classes_give_log_odds(self, fitted, X):
        log_odds, proba = fitted.decision_function(X), fitted.predict_proba(X)
        assert log_odds.shape == (len(X),)
        assert proba.shape == (len(X), 2)
        np.testing.assert_allclose(proba.sum(axis=1), 1, atol=1e-6)
        np.testing.assert_allclose(
            log_odds, np.log(proba[:, 1] / proba[:, 0]), atol=1e-5
        )

    def test_more_classes_give_a_column_each(self, X):
        decoder = quick(**ON_ARRAYS).fit(X, np.arange(len(X)) % 3)
        assert decoder.decision_function(X).shape == (len(X), 3)
        assert decoder.predict_proba(X).shape == (len(X), 3)

    def test_class_weight_moves_the_decision(self, X):
        def chance_of_right(class_weight):
            decoder = quick(**ON_ARRAYS, max_epochs=6, class_weight=class_weight)
            return decoder.fit(X, LABELS).predict_proba(X)[:, 1].mean()

        right = chance_of_right({"left": 0.01, "right": 1})
        left = chance_of_right({"left": 1, "right": 0.01})
        assert right > left + 0.1

    def test_balanced_weights_are_those_of_sklearn(self, X):
        y = np.array(["left"] * 9 + ["right"] * 3)
        decoder = quick(**ON_ARRAYS, class_weight="balanced").fit(X, y)
        weight = decoder.net_.criterion_.weight
        assert weight.tolist() == pytest.approx([12 / 18, 12 / 6])


class TestTargets:
    @pytest.mark.parametrize("shape", [(12,), (12, 1), (12, 3)])
    def test_predictions_have_the_shape_of_y(self, X, shape):
        y = np.random.default_rng(0).normal(7, 3, size=shape)
        decoder = quick(SAMBARegressor, **ON_ARRAYS).fit(X, y)
        assert decoder.predict(X).shape == shape
        assert isinstance(decoder.net_, EEGRegressor)

    def test_units_of_the_targets_do_not_matter(self, X):
        y = np.random.default_rng(0).normal(size=(12, 2))
        decoder = quick(SAMBARegressor, **ON_ARRAYS)
        plain = decoder.fit(X, y).predict(X)
        scaled = decoder.fit(X, y * [1e6, 1e-6] + [5e7, 0]).predict(X)
        np.testing.assert_allclose(
            (scaled - [5e7, 0]) / [1e6, 1e-6], plain, rtol=1e-3, atol=1e-4
        )

    def test_constant_targets_are_predicted(self, X):
        decoder = quick(SAMBARegressor, **ON_ARRAYS).fit(X, np.full(12, 4.0))
        assert np.isfinite(decoder.predict(X)).all()
        assert decoder.y_scale_ == 1

    @pytest.mark.parametrize(
        ("y", "words"),
        [
            (np.full(12, np.nan), "NaN"),
            (np.zeros((12, 2, 2)), r"\(n, n_targets\)"),
            (np.zeros(12, complex), "[Cc]omplex"),
            (LABELS, "strings: pass numeric"),
        ],
    )
    def test_what_is_no_number_is_refused(self, X, y, words):
        decoder = quick(SAMBARegressor, **ON_ARRAYS)
        with pytest.raises(ValueError, match=words):
            decoder.fit(X, y)
        assert not hasattr(decoder, "net_")


class TestKindsOfX:
    def test_every_kind_gives_the_same(self, fitted_on_epochs, X):
        epochs = as_epochs(X)
        expected = fitted_on_epochs.decision_function(epochs)
        singles = [epochs[i] for i in range(len(epochs))]
        windows = as_windows(epochs, [0, 1] * 6)
        for other in (singles, windows):
            decoder = quick().fit(other, LABELS)
            np.testing.assert_allclose(
                decoder.decision_function(other), expected, atol=1e-5
            )
        on_arrays = clone(fitted_on_epochs).set_params(**ON_ARRAYS)
        for same in (X, X.tolist()):
            outputs = on_arrays.fit(same, LABELS).decision_function(same)
            np.testing.assert_allclose(outputs, expected, atol=1e-5)

    def test_targets_of_data_sets_are_taken(self, X):
        windows = as_windows(as_epochs(X), [7, 3] * 6)
        decoder = quick().fit(windows)
        assert decoder.classes_.tolist() == [3, 7]
        assert quick(SAMBARegressor).fit(windows).y_mean_ == 5
        assert decoder.predict(windows).shape == (12,)

    def test_volts_and_microvolts_give_the_same(self, fitted, X):
        np.testing.assert_allclose(
            fitted.predict_proba(X * 1e6), fitted.predict_proba(X), atol=1e-4
        )

    @pytest.mark.parametrize("order", [[3, 1, 0, 2], [1, 0, 2, 3]])
    def test_the_order_of_channels_does_not_matter(self, fitted_on_epochs, X, order):
        names = [NAMES[i] for i in order]
        turned = as_epochs(X[:, order], names)
        np.testing.assert_allclose(
            fitted_on_epochs.decision_function(turned),
            fitted_on_epochs.decision_function(as_epochs(X)),
            atol=1e-4,
        )

    def test_another_montage_is_taken_if_it_brings_positions(self, fitted_on_epochs):
        names = ["Fz", "C3", "C4", "Oz", "Pz", "T7"]
        other = as_epochs(rhythms(n_chans=6), names)
        assert fitted_on_epochs.predict_proba(other).shape == (12, 2)
        windows = as_windows(other, [0, 1] * 6)
        np.testing.assert_allclose(
            fitted_on_epochs.decision_function(windows),
            fitted_on_epochs.decision_function(other),
            atol=1e-5,
        )

    def test_mixed_montages_train_and_predict(self, X):
        few, many = as_epochs(X[:6, :2], NAMES[:2]), as_epochs(X[6:])
        windows = BaseConcatDataset(
            [as_windows(few, [0, 1] * 3), as_windows(many, [0, 1] * 3)]
        )
        seen = []

        class Watch(Callback):
            def on_batch_begin(self, net, batch, training, **kwargs):
                seen.append(batch[0])

        decoder = quick(callbacks=[Watch()]).fit(windows)
        assert decoder.n_features_in_ == 4
        present = torch.cat([batch["ch_mask"] for batch in seen])
        signals = torch.cat([batch["x"] for batch in seen])
        assert sorted(present.sum(1).tolist()) == [2] * 6 + [4] * 6
        assert torch.equal(signals.abs().sum(-1) > 0, present)
        together = decoder.decision_function(windows)
        apart = [decoder.decision_function(part) for part in (few, many)]
        np.testing.assert_allclose(together, np.concatenate(apart), atol=1e-4)

    def test_another_rate_is_resampled_inside(self):
        y = LABELS
        fast = np.repeat(rhythms(), 2, axis=2)
        decoder = quick(ch_names=NAMES, sfreq=256).fit(fast, y)
        assert decoder.sfreq_ == 256
        assert decoder.model_.encode(torch.randn(1, 4, 128)).shape[-1] == 8

    def test_a_recordings_scale_comes_from_the_fit(self, X):
        params = {**SMALL, "scale": "recording"}
        decoder = quick(**ON_ARRAYS, model_params=params).fit(X, LABELS)
        scale = decoder.model_.trunk.signal.recording_scale.item()
        assert 0.5e-5 < scale < 2e-5
        loud, soft = (decoder.decision_function(X * gain) for gain in (3, 1))
        assert not np.allclose(loud, soft, atol=1e-3)
        features = quick(SAMBAFeatures, **ON_ARRAYS, model_params=params).fit(X)
        assert features.model_.trunk.signal.recording_scale.item() == scale


class TestContradictionsAfterFit:
    @pytest.mark.parametrize(
        ("change", "words"),
        [
            (lambda X: X[:, :3], "3 channels"),
            (lambda X: np.concatenate([X, X], axis=1), "8 channels"),
            (lambda X: X[:, :, :7], "7 samples at 128 Hz.*at least 8"),
            (lambda X: X[0], r"\(n, channels, times\)"),
            (lambda X: X[:0], "0 sample"),
            (lambda X: X * np.nan, "NaN"),
        ],
        ids=["fewer", "more", "short", "one window", "empty", "nan"],
    )
    @pytest.mark.parametrize("kind", [SAMBAClassifier, SAMBAFeatures])
    def test_other_arrays_are_refused(self, fitted, X, change, words, kind):
        if kind is SAMBAFeatures:
            fitted = quick(kind, **ON_ARRAYS).fit(X)
        use = fitted.transform if kind is SAMBAFeatures else fitted.predict
        with pytest.raises(ValueError, match=words):
            use(change(X))

    def test_arrays_of_other_channels_are_refused_even_if_named(self, fitted, X):
        fitted = copy.deepcopy(fitted).set_params(ch_names=NAMES[:3])
        with pytest.raises(ValueError, match="3 channels.*fitted on 4"):
            fitted.predict(X[:, :3])

    def test_arrays_after_epochs_are_those_of_the_fit(self, fitted_on_epochs, X):
        np.testing.assert_allclose(
            fitted_on_epochs.predict_proba(X),
            fitted_on_epochs.predict_proba(as_epochs(X)),
            atol=1e-5,
        )

    @pytest.mark.parametrize("kind", [SAMBAClassifier, SAMBAFeatures])
    def test_another_rate_is_resampled(self, X, kind):
        fitted = quick(kind).fit(as_epochs(X), LABELS)
        use = fitted.transform if kind is SAMBAFeatures else fitted.predict_proba
        slow = as_epochs(rhythms(n_times=256))
        fast = slow.copy().resample(200, verbose="error")
        # at 128 Hz; what lies above 64 Hz is noise here, and gone
        low = slow.copy().filter(None, 45, verbose="error")
        other = fast.filter(None, 45, verbose="error")
        first, second = use(low), use(other)
        correlation = np.corrcoef(first[:, 0], second[:, 0])[0, 1]
        assert correlation > 0.98

    def test_batches_of_another_rate_are_refused(self, fitted_on_epochs, X):
        decoder = copy.deepcopy(fitted_on_epochs)
        with pytest.raises(ValueError, match="100 Hz.*at 128 Hz: resample"):
            decoder.partial_fit(as_epochs(X, sfreq=100.0), LABELS)

    @pytest.mark.parametrize("kind", [SAMBAClassifier, SAMBAFeatures])
    def test_other_lengths_are_taken_apart_and_together(
        self, fitted_on_epochs, X, kind
    ):
        if kind is SAMBAFeatures:
            fitted_on_epochs = quick(kind).fit(as_epochs(X))
        use = getattr(
            fitted_on_epochs, "transform" if kind is SAMBAFeatures else "predict_proba"
        )
        parts = [as_epochs(X[:, :, :60]), as_epochs(X), as_epochs(X, sfreq=100.0)]
        together = use(parts)
        apart = np.concatenate([use(part) for part in parts])
        np.testing.assert_allclose(together, apart, atol=1e-4)
        assert not np.allclose(together[:12], together[12:24], atol=1e-3)

    def test_contradicting_arguments_are_refused(self, X):
        decoder = quick(ch_names=["C3", "Cz", "C4", "Oz"])
        with pytest.raises(ValueError, match="'Oz'"):
            decoder.fit(as_epochs(X), LABELS)


BAD_CALLS = {
    "NaN": (lambda X, y: (np.where(X > 1e-5, np.nan, X), y), {}, "NaN"),
    "infinity": (lambda X, y: (np.where(X > 1e-5, np.inf, X), y), {}, "infinity"),
    "complex": (lambda X, y: (X.astype(complex), y), {}, "Complex"),
    "two dimensions": (lambda X, y: (X[:, 0], y), {}, "channels, times"),
    "empty": (lambda X, y: (X[:0], y[:0]), {}, "0 sample"),
    "short": (lambda X, y: (X[:, :, :7], y), {}, "7 samples.*at least 8"),
    "short at its rate": (
        lambda X, y: (X[:, :, :14], y),
        {"sfreq": 256},
        "14 samples at 256 Hz.*at least 15",
    ),
    "lengths": (lambda X, y: (X, y[:-1]), {}, "inconsistent"),
    "unknown name": (
        lambda X, y: (X, y),
        {"ch_names": ["C3", "Cz", "C4", "Q1"]},
        "'Q1'",
    ),
    "number of names": (lambda X, y: (X, y), {"ch_names": NAMES[:3]}, "3 names"),
    "no names": (lambda X, y: (X, y), {"ch_names": None}, "ch_names"),
    "no rate": (lambda X, y: (X, y), {"sfreq": None}, "sfreq"),
    "a rate that can't be": (lambda X, y: (X, y), {"sfreq": -1}, "sfreq"),
    "batch of none": (lambda X, y: (X, y), {"batch_size": 0}, "batch_size"),
    "data in model_params": (
        lambda X, y: (X, y),
        {"model_params": {"sfreq": 100}},
        "model_params holds sfreq",
    ),
    "unknown option": (lambda X, y: (X, y), {"model_params": {"scale": "x"}}, "scale"),
    "millimetres": (
        lambda X, y: (X, y),
        {
            "ch_names": None,
            "chs_info": [
                {"ch_name": name, "kind": "eeg", "loc": 1000 * place}
                for name, place in zip(NAMES, positions_from_names(NAMES), strict=True)
            ],
        },
        "metres",
    ),
    "NaN positions": (
        lambda X, y: (X, y),
        {
            "ch_names": None,
            "chs_info": [{"ch_name": f"E{i}", "loc": [np.nan] * 3} for i in range(4)],
        },
        "'E0'",
    ),
}
BAD_FITS = {
    **BAD_CALLS,
    "one class": (lambda X, y: (X, ["left"] * len(X)), {}, "one class, 'left'"),
    "no y": (lambda X, y: (X, None), {}, "requires y"),
    "continuous y": (lambda X, y: (X, np.linspace(0, 1, 12)), {}, "continuous"),
    "missing labels": (lambda X, y: (X, [np.nan, *range(11)]), {}, "NaN"),
    "no epochs": (lambda X, y: (X, y), {"max_epochs": 0}, "max_epochs"),
    "rate of zero": (lambda X, y: (X, y), {"lr": 0.0}, "lr"),
    "negative decay": (lambda X, y: (X, y), {"weight_decay": -1.0}, "weight_decay"),
    "half of all": (
        lambda X, y: (X, y),
        {"validation_split": 1.0},
        "validation_split",
    ),
    "split without members": (
        lambda X, y: (X, [f"class {i}" for i in range(len(X))]),
        {"validation_split": 0.5},
        "nothing can be held out",
    ),
    "weights": (
        lambda X, y: (X, y),
        {"class_weight": "heavy"},
        "class_weight",
    ),
}


class TestNothingHalfFitted:
    @pytest.mark.parametrize("case", BAD_FITS)
    def test_a_refused_fit_leaves_nothing(self, X, case):
        change, params, words = BAD_FITS[case]
        decoder = quick(**{**ON_ARRAYS, **params})
        before = set(vars(decoder))
        with pytest.raises(ValueError, match=words):
            decoder.fit(*change(X, LABELS))
        with pytest.raises(ValueError, match=words):
            decoder.fit(*change(X, LABELS))
        assert set(vars(decoder)) == before
        with pytest.raises(NotFittedError):
            decoder.predict(X)

    @pytest.mark.parametrize("case", BAD_FITS)
    def test_a_refused_refit_leaves_the_last_fit(self, fitted, X, case):
        change, params, words = BAD_FITS[case]
        decoder = copy.deepcopy(fitted).set_params(**params)
        before = state(decoder)
        with pytest.raises(ValueError, match=words):
            decoder.fit(*change(X, LABELS))
        assert_same_state(state(decoder), before)
        decoder.set_params(**fitted.get_params())
        assert np.array_equal(decoder.predict_proba(X), fitted.predict_proba(X))

    @pytest.mark.parametrize("case", [case for case in BAD_CALLS if case != "lengths"])
    def test_refused_features_leave_nothing(self, X, case):
        change, params, words = BAD_CALLS[case]
        features = quick(SAMBAFeatures, **{**ON_ARRAYS, **params})
        before = set(vars(features))
        with pytest.raises(ValueError, match=words):
            features.fit(change(X, LABELS)[0])
        assert set(vars(features)) == before

    def test_refused_batches_leave_the_network_alone(self, fitted, X):
        decoder = copy.deepcopy(fitted)
        before = state(decoder)
        for bad in ((X * np.nan, LABELS), (X[:, :3], LABELS), (X, ["up"] * 12)):
            with pytest.raises(ValueError, match="NaN|channels|'up'"):
                decoder.partial_fit(*bad)
        assert_same_state(state(decoder), before)

    @pytest.mark.parametrize(
        ("bad", "words"),
        [
            (scipy.sparse.eye(4, format="csr"), "[Ss]parse"),
            ({"x": np.zeros((2, 4, 64))}, "dict"),
            (RAW, "mne.Epochs"),
        ],
    )
    def test_other_kinds_are_type_errors(self, bad, words):
        decoder = quick(**ON_ARRAYS)
        with pytest.raises(TypeError, match=words):
            decoder.fit(bad, [0, 1])
        assert not hasattr(decoder, "net_")

    def test_unknown_arguments_of_the_model_are_type_errors(self, X):
        decoder = quick(**ON_ARRAYS, model_params={"colour": "red"})
        with pytest.raises(TypeError, match="colour"):
            decoder.fit(X, LABELS)
        with pytest.raises(TypeError, match="dict"):
            decoder.set_params(model_params="red").fit(X, LABELS)
        assert not hasattr(decoder, "net_")


class TestReproducibility:
    def test_equal_seeds_give_equal_networks(self, X):
        first, second, other = (
            quick(**ON_ARRAYS, random_state=seed, validation_split=0.25)
            .fit(X, LABELS)
            .predict_proba(X)
            for seed in (3, 3, 4)
        )
        assert np.array_equal(first, second)
        assert not np.allclose(first, other)

    def test_no_seed_gives_different_networks(self, X):
        features = quick(SAMBAFeatures, **ON_ARRAYS, random_state=None)
        first, second = (features.fit(X).transform(X) for _ in range(2))
        assert not np.allclose(first, second)

    def test_a_random_state_is_advanced_as_usual(self, X):
        generator = np.random.RandomState(0)
        features = quick(SAMBAFeatures, **ON_ARRAYS, random_state=generator)
        first, second = (features.fit(X).transform(X) for _ in range(2))
        assert not np.allclose(first, second)

    @pytest.mark.parametrize("seed", [0, None])
    def test_global_random_states_stay(self, X, seed):
        def states():
            return (
                torch.get_rng_state().tolist(),
                random.getstate(),
                # np.random's own generator, which scikit-learn calls None
                [np.asarray(p).tolist() for p in check_random_state(None).get_state()],
            )

        torch.manual_seed(5)
        before = states()
        decoder = quick(**ON_ARRAYS, random_state=seed, validation_split=0.25)
        decoder.fit(X, LABELS).partial_fit(X, LABELS).predict(X)
        quick(SAMBAFeatures, **ON_ARRAYS, random_state=seed).fit_transform(X)
        assert states() == before

    def test_the_global_random_state_has_no_say(self, X):
        outputs = []
        for seed in (1, 2):
            torch.manual_seed(seed)
            outputs.append(quick(**ON_ARRAYS).fit(X, LABELS).predict_proba(X))
        assert np.array_equal(*outputs)

    def test_refits_are_idempotent(self, X):
        decoder = quick(**ON_ARRAYS)
        first = decoder.fit(X, LABELS).predict_proba(X)
        assert np.array_equal(decoder.fit(X, LABELS).predict_proba(X), first)

    def test_windows_do_not_affect_each_other(self, fitted, X):
        together = fitted.decision_function(X)
        apart = [fitted.decision_function(x[None]) for x in X]
        np.testing.assert_allclose(np.concatenate(apart), together, atol=1e-5)
        backwards = fitted.decision_function(X[::-1])
        np.testing.assert_allclose(backwards[::-1], together, atol=1e-5)
        fitted = copy.deepcopy(fitted).set_params(batch_size=5)
        np.testing.assert_allclose(fitted.decision_function(X), together, atol=1e-5)


class TestPartialFit:
    def test_it_goes_on_at_a_constant_rate(self, X):
        decoder = quick(**ON_ARRAYS, max_epochs=7, lr=0.002)
        for n_calls in (1, 2, 3):
            decoder.partial_fit(X, LABELS)
            assert len(decoder.net_.history) == n_calls
        assert decoder.net_.optimizer_.param_groups[0]["lr"] == 0.002
        assert decoder.predict(X).shape == (12,)

    def test_it_goes_on_after_a_fit(self, fitted, X):
        decoder = copy.deepcopy(fitted)
        for _ in range(3):
            decoder.partial_fit(X, LABELS)
        assert len(decoder.net_.history) == 4
        assert decoder.net_.optimizer_.param_groups[0]["lr"] == decoder.lr
        assert not np.allclose(decoder.predict_proba(X), fitted.predict_proba(X))

    def test_it_goes_on_after_pickling_as_without(self, X):
        decoder = quick(**ON_ARRAYS).partial_fit(X, LABELS)
        copied = pickle.loads(pickle.dumps(decoder))
        outputs = [d.partial_fit(X, LABELS).predict_proba(X) for d in (decoder, copied)]
        np.testing.assert_allclose(*outputs, atol=1e-6)

    def test_passes_over_the_data_differ(self, X):
        orders = []

        class Watch(Callback):
            def on_batch_begin(self, net, batch, training, **kwargs):
                orders.append(batch[1].tolist())

        decoder = quick(**ON_ARRAYS, callbacks=[Watch()], batch_size=64)
        y = np.arange(12)
        decoder.partial_fit(X, y).partial_fit(X, y).partial_fit(X, y)
        assert len(set(map(tuple, orders))) == 3

    def test_classes_may_come_later(self, X):
        decoder = quick(**ON_ARRAYS)
        only_left = LABELS == "left"
        decoder.partial_fit(X[only_left], LABELS[only_left], classes=["right", "left"])
        assert decoder.classes_.tolist() == ["left", "right"]
        decoder.partial_fit(X[~only_left], LABELS[~only_left])
        decoder.partial_fit(X, LABELS, classes=["left", "right"])
        assert decoder.predict_proba(X).shape == (12, 2)

    def test_strange_classes_are_refused(self, X):
        decoder = quick(**ON_ARRAYS)
        with pytest.raises(ValueError, match="'right'"):
            decoder.partial_fit(X, LABELS, classes=["left", "up"])
        with pytest.raises(ValueError, match="one class"):
            decoder.partial_fit(X, ["left"] * 12)
        assert not hasattr(decoder, "net_")
        decoder.partial_fit(X, LABELS)
        with pytest.raises(ValueError, match="first call"):
            decoder.partial_fit(X, LABELS, classes=["left", "right", "up"])

    def test_balanced_weights_need_all_the_data(self, X):
        decoder = quick(**ON_ARRAYS, class_weight="balanced")
        with pytest.raises(ValueError, match="pass a dict"):
            decoder.partial_fit(X, LABELS)
        decoder.set_params(class_weight={"left": 2.0, "right": 1.0})
        decoder.partial_fit(X, LABELS)
        assert decoder.net_.criterion_.weight.tolist() == [2, 1]

    def test_another_montage_may_come(self, X):
        decoder = quick().partial_fit(as_epochs(X), LABELS)
        other = as_epochs(rhythms(n_chans=5), ["Fz", "C3", "C4", "Oz", "Pz"])
        decoder.partial_fit(other, LABELS)
        assert decoder.n_features_in_ == 4

    def test_regressor_keeps_the_first_scale(self, X):
        y = np.arange(12.0)
        decoder = quick(SAMBARegressor, **ON_ARRAYS).partial_fit(X, y)
        decoder.partial_fit(X, y + 100)
        assert decoder.y_mean_ == pytest.approx([5.5])
        with pytest.raises(ValueError, match="same targets"):
            decoder.partial_fit(X, np.c_[y, y])


class TestSklearnRules:
    @pytest.mark.parametrize("kind", [SAMBAClassifier, SAMBARegressor, SAMBAFeatures])
    def test_parameters_are_kept_as_given(self, kind):
        params = {"ch_names": ["C3"], "model_params": {}, "random_state": 3}
        estimator = kind(**params)
        assert all(estimator.get_params()[k] is v for k, v in params.items())
        assert set(vars(estimator)) == set(estimator.get_params())
        cloned = clone(estimator)
        assert cloned is not estimator
        assert cloned.get_params() == estimator.get_params()
        assert estimator.set_params(sfreq=100).sfreq == 100
        with pytest.raises(ValueError, match="Invalid parameter"):
            estimator.set_params(colour="red")

    def test_fit_changes_no_parameter(self, X):
        callbacks = [("stop", EarlyStopping("train_loss", patience=9))]
        params = {"callbacks": callbacks, "chs_info": chs_info_from_names(NAMES)}
        decoder = quick(sfreq=128, **params)
        given, before = decoder.get_params(), copy.deepcopy(decoder.get_params())
        decoder.fit(X, LABELS)
        assert all(decoder.get_params()[k] is v for k, v in given.items())
        before.pop("callbacks")
        np.testing.assert_equal({k: given[k] for k in before}, before)

    def test_clones_are_unfitted_and_take_other_shapes(self, fitted, X):
        cloned = clone(fitted)
        assert not hasattr(cloned, "net_")
        cloned.set_params(ch_names=NAMES[:3]).fit(X[:, :3, :50], [0, 1, 2] * 4)
        assert cloned.predict(X[:, :3, :50]).shape == (12,)

    def test_refits_take_another_montage(self, X):
        decoder = quick().fit(as_epochs(X), LABELS)
        names = ["Fz", "C3", "C4", "Oz", "Pz"]
        other = as_epochs(rhythms(n_chans=5, n_times=80), names)
        decoder.fit(other, [0, 1, 2] * 4)
        assert (decoder.n_features_in_, decoder.n_times_) == (5, 80)
        assert decoder.model_.n_outputs == 3

    @pytest.mark.parametrize("kind", [SAMBAClassifier, SAMBARegressor, SAMBAFeatures])
    def test_unfitted_estimators_say_so(self, X, kind):
        estimator = quick(kind, **ON_ARRAYS)
        for method in ("predict", "predict_proba", "decision_function", "transform"):
            if hasattr(estimator, method):
                with pytest.raises(NotFittedError):
                    getattr(estimator, method)(X)
        assert not hasattr(estimator, "model_")
        assert not hasattr(estimator, "n_features_in_")

    @pytest.mark.parametrize("kind", [SAMBAClassifier, SAMBARegressor, SAMBAFeatures])
    def test_pickles_give_the_same(self, X, kind):
        estimator = pickle.loads(pickle.dumps(quick(kind, **ON_ARRAYS)))
        estimator.fit(X, np.arange(12) % 2)
        copied = pickle.loads(pickle.dumps(estimator))
        method = "transform" if kind is SAMBAFeatures else "predict"
        outputs = [getattr(e, method)(X) for e in (estimator, copied)]
        np.testing.assert_allclose(*outputs, atol=1e-6)

    def test_pickles_hold_no_data(self, X):
        decoder = quick(**ON_ARRAYS).fit(X, LABELS)
        large = np.concatenate([X] * 20)
        split = quick(**ON_ARRAYS, validation_split=0.5)
        split.fit(large, np.tile(LABELS, 20))
        sizes = [len(pickle.dumps(d)) for d in (decoder, split)]
        assert sizes[1] - sizes[0] < large.astype(np.float32).nbytes / 10

    def test_tags_say_windows(self):
        for estimator in (SAMBAClassifier(), SAMBARegressor(), SAMBAFeatures()):
            tags = estimator.__sklearn_tags__()
            assert tags.input_tags.three_d_array
            assert not tags.input_tags.two_d_array
        assert SAMBAClassifier().__sklearn_tags__().estimator_type == "classifier"
        assert SAMBARegressor().__sklearn_tags__().estimator_type == "regressor"

    def test_grid_search_works_on_arrays_in_two_processes(self, X):
        search = GridSearchCV(
            quick(**ON_ARRAYS),
            {"lr": [1e-3, 1e-2]},
            cv=2,
            n_jobs=2,
            scoring="roc_auc",
            error_score="raise",
        )
        search.fit(X, LABELS)
        assert np.isfinite(search.best_score_)
        assert search.predict(X).shape == (12,)

    def test_grid_search_works_on_epochs(self, X):
        epochs = as_epochs(X)
        search = GridSearchCV(
            quick(),
            {"model_params": [SMALL, {**SMALL, "drop_prob": 0.1}]},
            cv=2,
            error_score="raise",
        )
        search.fit(epochs, LABELS)
        assert search.predict(epochs).shape == (12,)

    def test_cross_validation_equals_folds_by_hand(self, X):
        epochs = as_epochs(X)
        folds = [(np.arange(6), np.arange(6, 12)), (np.arange(6, 12), np.arange(6))]
        decoder = quick()
        scores = cross_val_score(
            decoder, epochs, LABELS, cv=folds, scoring="neg_log_loss"
        )
        for score, (train, test) in zip(scores, folds, strict=True):
            proba = decoder.fit(epochs[train], LABELS[train]).predict_proba(
                epochs[test]
            )
            right = np.where(LABELS[test] == "left", proba[:, 0], proba[:, 1])
            assert score == pytest.approx(np.log(right).mean(), abs=1e-5)

    def test_a_net_of_braindecode_is_kept(self, fitted):
        assert isinstance(fitted.net_, EEGClassifier)
        assert isinstance(fitted.model_, SAMBA)
        assert fitted.model_ is fitted.net_.module_
        assert len(fitted.net_.history) == 1


class TestCallbacksAndValidation:
    def test_a_share_is_held_out_by_class(self, X):
        decoder = quick(**ON_ARRAYS, validation_split=1 / 3, batch_size=100)
        decoder.fit(X, LABELS)
        batches = decoder.net_.history[-1, "batches"]
        assert batches[0]["train_batch_size"] == 8
        assert sum(b.get("valid_batch_size", 0) for b in batches) == 4
        assert np.isfinite(decoder.net_.history[-1, "valid_loss"])

    def test_the_last_windows_of_each_class_are_held_out(self, X):
        seen = {}

        class Look(Callback):
            def on_train_begin(self, net, X=None, y=None, **kwargs):
                seen["learnt"] = np.asarray(X)

        quick(**ON_ARRAYS, validation_split=0.5, align=False, callbacks=Look()).fit(
            X, np.repeat(["a", "b"], 6)
        )
        sizes = X.std(axis=(1, 2), keepdims=True)
        expected = (X / sizes)[[0, 1, 2, 6, 7, 8]]
        correlation = np.corrcoef(seen["learnt"].ravel(), expected.ravel())[0, 1]
        assert correlation > 0.999

    def test_a_window_of_each_class_leaves_none_to_hold_out(self, X):
        with pytest.raises(ValueError, match="nothing can be held out of 2 windows"):
            quick(**ON_ARRAYS, validation_split=0.5).fit(X[:2], ["a", "b"])

    def test_callbacks_may_stop_early(self, X):
        stop = EarlyStopping("valid_loss", patience=1, threshold=1e9)
        decoder = quick(
            **ON_ARRAYS, max_epochs=9, validation_split=0.25, callbacks=[stop]
        )
        decoder.fit(X, LABELS)
        assert len(decoder.net_.history) < 9

    def test_scores_of_sklearn_may_be_callbacks(self, X):
        windows = [as_epochs(X[i : i + 3]) for i in range(0, 12, 3)]
        windows[0].pick(NAMES[:2])
        decoder = quick(validation_split=0.5, callbacks=["roc_auc"])
        decoder.fit(windows, LABELS)
        assert 0 <= decoder.net_.history[-1, "valid_roc_auc"] <= 1

    def test_a_fit_without_recordings_is_said_once(self, X, capfd):
        say_unaligned.cache_clear()
        capfd.readouterr()
        quick(**ON_ARRAYS, align=False).fit(X, LABELS)
        quick(**ON_ARRAYS).fit(X, LABELS, groups=np.arange(12) // 6)
        assert capfd.readouterr() == ("", "")
        quick(**ON_ARRAYS).fit(X, LABELS)
        assert "pass groups=" in capfd.readouterr().out
        quick(**ON_ARRAYS).fit(X, LABELS)
        assert capfd.readouterr() == ("", "")

    @pytest.mark.filterwarnings("error")
    def test_normal_use_is_silent(self, X, capfd):
        say_unaligned()
        capfd.readouterr()
        quick(**ON_ARRAYS, validation_split=0.25).fit(X, LABELS).predict(X)
        epochs = as_epochs(X)
        quick(SAMBARegressor).fit(epochs, np.arange(12)).predict(epochs)
        mixed = [as_epochs(X[:6, :2], NAMES[:2]), as_epochs(X[6:])]
        decoder = quick().fit(mixed, LABELS)
        decoder.partial_fit(mixed, LABELS).predict(epochs)
        quick(SAMBAFeatures).fit(epochs).transform(mixed)
        assert capfd.readouterr() == ("", "")

    def test_verbose_prints_a_table(self, X, capsys):
        quick(**ON_ARRAYS, verbose=1).fit(X, LABELS)
        assert "train_loss" in capsys.readouterr().out


class TestFeatures:
    def test_statistics_are_the_published_ones(self, X):
        features = quick(SAMBAFeatures, **ON_ARRAYS, **PUBLISHED).fit(X)
        z = features.transform(X)
        assert z.dtype == np.float32
        with torch.no_grad():
            layer = features.model_.encode(torch.from_numpy(X).float())
        np.testing.assert_allclose(z, nine_statistics(layer), rtol=1e-4, atol=1e-5)
        assert z.shape == (12, 9 * 128)

    @pytest.mark.parametrize(
        ("layer", "n"), [("spatial", 94), ("encoder1", 64), ("mediator", 128)]
    )
    def test_names_belong_to_the_features(self, X, layer, n):
        features = quick(SAMBAFeatures, **ON_ARRAYS, layer=layer, pooling="statistics")
        features.set_output(transform="pandas")
        table = features.fit_transform(X)
        assert table.shape == (12, 9 * n)
        assert table.columns.is_unique
        with torch.no_grad():
            z = features.model_.encode(torch.from_numpy(X).float(), layer=layer)[:, 7]
        for name, values in {
            "min": z.amin(-1),
            "max": z.amax(-1),
            "mean": z.mean(-1),
            "std": z.std(-1),
            "q05": z.quantile(0.05, dim=-1),
            "q25": z.quantile(0.25, dim=-1),
            "median": z.quantile(0.5, dim=-1),
            "q75": z.quantile(0.75, dim=-1),
            "q95": z.quantile(0.95, dim=-1),
        }.items():
            np.testing.assert_allclose(
                table[f"{layer}_7_{name}"], values, rtol=1e-3, atol=1e-4
            )

    @pytest.mark.parametrize("pooling", ["mean", "logvar"])
    def test_poolings_give_a_number_a_feature(self, X, pooling):
        features = quick(SAMBAFeatures, **ON_ARRAYS, layer="pool1", pooling=pooling)
        z = features.fit_transform(X)
        with torch.no_grad():
            layer = features.model_.encode(torch.from_numpy(X).float(), layer="pool1")
        expected = layer.mean(-1) if pooling == "mean" else layer.var(-1).log()
        np.testing.assert_allclose(z, expected, atol=0.05)
        names = features.get_feature_names_out()
        assert list(names[:2]) == [f"pool1_0_{pooling}", f"pool1_1_{pooling}"]
        assert len(names) == z.shape[1]

    def test_a_given_model_is_taken_as_it_is(self, X):
        model = SAMBA(n_outputs=3, chs_info=chs_info_from_names(NAMES), sfreq=SFREQ)
        before = copy.deepcopy(dict(model.state_dict()))
        features = SAMBAFeatures(
            **ON_ARRAYS, **PUBLISHED, model=model, device="cpu"
        ).fit(X)
        z = features.transform(X)
        assert model.training
        assert_same_weights(dict(model.state_dict()), before)
        with torch.no_grad():
            layer = model.eval().encode(torch.from_numpy(X).float())
        np.testing.assert_allclose(z, nine_statistics(layer), rtol=1e-4, atol=1e-5)
        assert clone(features).fit(X).transform(X) == pytest.approx(z, abs=1e-5)

    def test_a_given_model_takes_any_montage(self, X):
        model = SAMBA(n_outputs=2, chs_info=chs_info_from_names(["Oz"]), sfreq=SFREQ)
        features = SAMBAFeatures(model=model, layer="pool3", pooling="mean")
        assert features.fit_transform(as_epochs(X)).shape == (12, 128)

    def test_a_given_model_takes_any_rate(self, X):
        chs_info = chs_info_from_names(NAMES)
        model = SAMBA(n_outputs=2, chs_info=chs_info, sfreq=250).eval()
        found = SAMBAFeatures(**ON_ARRAYS, **PUBLISHED, model=model).fit_transform(X)
        assert model.trunk.signal.sfreq == 250
        same = SAMBA(n_outputs=2, chs_info=chs_info, sfreq=SFREQ).eval()
        same.load_state_dict(model.state_dict())
        with torch.no_grad():
            layer = same.encode(torch.from_numpy(X).float())
        np.testing.assert_allclose(found, nine_statistics(layer), rtol=1e-4, atol=1e-5)

    def test_all_stages_lie_side_by_side_by_name(self, X):
        features = quick(SAMBAFeatures, **ON_ARRAYS)
        features.set_output(transform="pandas")
        table = features.fit_transform(X)
        assert table.shape == (12, 478)
        for stage in ("spatial", "encoder1", "encoder2", "encoder3", "mediator"):
            with torch.no_grad():
                z = features.model_.encode(torch.from_numpy(X).float(), layer=stage)
            own = table.filter(regex=f"^{stage}_")
            assert list(own) == [f"{stage}_{i}_logvar" for i in range(z.shape[1])]
            np.testing.assert_allclose(
                own, z.var(-1, correction=0).log(), rtol=1e-3, atol=1e-3
            )
        alone = quick(SAMBAFeatures, **ON_ARRAYS, pooling="mean")
        with pytest.raises(ValueError, match="pass layer='pool3'"):
            alone.fit(X)

    def test_what_is_no_model_is_refused(self, X):
        with pytest.raises(TypeError, match="pass a SAMBA"):
            SAMBAFeatures(**ON_ARRAYS, model=torch.nn.Linear(2, 2)).fit(X)
        model = SAMBA(n_outputs=2, chs_info=chs_info_from_names(NAMES), sfreq=SFREQ)
        both = SAMBAFeatures(**ON_ARRAYS, model=model, model_params=SMALL)
        with pytest.raises(ValueError, match="either"):
            both.fit(X)

    @pytest.mark.parametrize("params", [{"layer": "pool4"}, {"pooling": "sum"}])
    def test_unknown_options_are_refused(self, X, params):
        features = quick(SAMBAFeatures, **ON_ARRAYS, **params)
        with pytest.raises(ValueError, match=next(iter(params.values()))):
            features.fit(X)
        assert not hasattr(features, "model_")

    def test_windows_too_short_for_statistics_are_refused(self, X):
        features = quick(SAMBAFeatures, **ON_ARRAYS, **PUBLISHED)
        with pytest.raises(ValueError, match="16 samples"):
            features.fit(X[:, :, :15])
        assert not hasattr(features, "model_")
        assert features.fit_transform(X[:, :, :16]).shape == (12, 1152)
        features.set_params(pooling="logvar")
        with pytest.raises(ValueError, match="pooling='mean'"):
            features.fit(X[:, :, :15])
        features.set_params(pooling="mean")
        assert features.fit_transform(X[:, :, :8]).shape == (12, 128)
