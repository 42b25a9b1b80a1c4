"""Probes, fine-tuning and training from scratch, and the small networks beside them.

Signals are made so that the hand is told by which side is louder.
"""

import warnings

import numpy as np
import pytest
import torch
from sklearn.base import clone, is_classifier
from sklearn.exceptions import NotFittedError
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import cross_val_score

from braindecode_samba import SAMBAClassifier, SAMBAReconstructor
from braindecode_samba.checkpoints import CheckpointError
from braindecode_samba.evaluation import (
    BraindecodeNet,
    ProbeNet,
    Provenance,
    checkpoint_digest,
    fine_tuned,
    from_scratch,
    linear_probe,
    nonlinear_probe,
    samba,
)
from braindecode_samba.pretraining.saving import write_checkpoint

NAMES = ("C3", "Cz", "C4")
SMALL = {"d_state": 4, "expand": 2}
CHANNELS = {"ch_names": NAMES, "sfreq": 128.0, "device": "cpu", "random_state": 0}


def hands(n=32, n_times=128, seed=0):
    """Windows in which the side of the imagined hand is quieter, with its name."""
    rng = np.random.default_rng(seed)
    y = np.array(["left", "right"])[np.arange(n) % 2]
    X = rng.standard_normal((n, 3, n_times)) * 1e-5
    X[y == "left", 2] *= 0.2
    X[y == "right", 0] *= 0.2
    return X, y


def write(folder, seed):
    torch.manual_seed(seed)
    model = SAMBAReconstructor(sfreq=128, **SMALL)
    return write_checkpoint(folder, model, {"epochs": 1}, "# card")


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    """Folder of a small checkpoint; not to be changed."""
    return write(tmp_path_factory.mktemp("protocols") / "small", seed=1)


@pytest.fixture(scope="module")
def pipelines(checkpoint):
    """Makers of each pipeline, small and short."""
    short = {**CHANNELS, "max_epochs": 2}
    return {
        "linear probe": lambda: linear_probe(checkpoint=checkpoint, **CHANNELS),
        "non-linear probe": lambda: nonlinear_probe(checkpoint=checkpoint, **short),
        "fine-tuned": lambda: fine_tuned(checkpoint, **short),
        "from scratch": lambda: from_scratch(model_params=SMALL, **short),
        "as it comes": lambda: samba(checkpoint=checkpoint, **CHANNELS),
    }


KINDS = (
    "linear probe",
    "non-linear probe",
    "fine-tuned",
    "from scratch",
    "as it comes",
)


@pytest.mark.parametrize("kind", KINDS)
def test_each_is_a_classifier_that_can_be_cloned_and_scored(kind, pipelines):
    X, y = hands()
    pipeline = pipelines[kind]()
    assert is_classifier(pipeline)
    with pytest.raises(NotFittedError):
        pipeline.predict(X)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        scores = cross_val_score(clone(pipeline), X, y, cv=2, scoring="roc_auc")
    assert np.isfinite(scores).all()


@pytest.mark.parametrize("kind", KINDS)
def test_a_seed_makes_it_the_same_and_leaves_global_states_alone(kind, pipelines):
    X, y = hands(16)
    before = torch.random.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    first, second = (pipelines[kind]().fit(X, y).predict_proba(X) for _ in range(2))
    np.testing.assert_array_equal(first, second)
    np.testing.assert_allclose(first.sum(1), 1, rtol=1e-5)
    assert torch.equal(before[0], torch.random.get_rng_state())
    np.testing.assert_array_equal(before[1], np.random.get_state()[1])  # noqa: NPY002


def test_linear_probe_reads_hands_off_a_layer_that_keeps_them(checkpoint):
    X, y = hands(64)
    probe = linear_probe(
        checkpoint=checkpoint, layer="spatial", pooling="logvar", **CHANNELS
    )
    probe.fit(X[:32], y[:32])
    evidence = probe.decision_function(X[32:])
    assert roc_auc_score(y[32:] == "right", evidence) > 0.95


def test_linear_probe_is_the_published_one(pipelines):
    pipeline = pipelines["linear probe"]()
    features, regression = pipeline["features"], pipeline["classifier"].estimator
    assert (features.layer, features.pooling) == ("pool3", "statistics")
    assert regression.class_weight == "balanced"
    assert regression.max_iter >= 1_000_000
    X, y = hands(16)
    pipeline.fit(X, y)
    z = pipeline[:-1].transform(X)
    assert z.shape == (16, 1152)
    np.testing.assert_allclose(z.mean(0), 0, atol=1e-4)


def test_probes_leave_the_network_as_it_was(pipelines):
    X, y = hands(16)
    pipeline = pipelines["linear probe"]()
    fitted = pipeline.fit(X, y)["features"].model_.state_dict()
    untouched = pipelines["linear probe"]()["features"].fit(X).model_.state_dict()
    trunk = [name for name in fitted if name.startswith("trunk.")]
    assert trunk
    for name in trunk:
        torch.testing.assert_close(
            fitted[name], untouched[name], rtol=0, atol=0, equal_nan=True
        )


def test_as_it_comes_is_the_classifier_with_nothing_said(checkpoint):
    own, plain = samba()["classifier"], SAMBAClassifier()
    assert own.get_params() == plain.get_params()


def test_fine_tuning_of_the_head_keeps_the_trunk(checkpoint):
    X, y = hands(16)
    tuned = fine_tuned(checkpoint, finetune="head", max_epochs=2, **CHANNELS).fit(X, y)
    features = linear_probe(checkpoint=checkpoint, **CHANNELS)["features"].fit(X)
    one, other = (
        dict(model.trunk.named_parameters())
        for model in (tuned["classifier"].model_, features.model_)
    )
    for name, parameter in one.items():
        assert torch.equal(parameter, other[name]), name


def test_parameters_tell_seed_and_weights_as_text(pipelines, checkpoint):
    for kind in KINDS:
        params = pipelines[kind]().get_params()
        assert params["provenance__seed"] == "0"
        expected = "none" if kind == "from scratch" else checkpoint_digest(checkpoint)
        assert params["provenance__checkpoint"] == expected


def test_other_weights_at_the_same_place_have_another_digest(tmp_path):
    folder = write(tmp_path / "weights", seed=1)
    first = checkpoint_digest(folder)
    texts = [repr(linear_probe(checkpoint=folder, **CHANNELS).get_params())]
    assert checkpoint_digest(folder) == first
    write(tmp_path / "weights", seed=2)
    texts.append(repr(linear_probe(checkpoint=folder, **CHANNELS).get_params()))
    assert checkpoint_digest(folder) != first
    assert texts[0] != texts[1]


def test_a_checkpoint_that_is_not_there_is_refused_at_once():
    with pytest.raises(CheckpointError, match="samba-x"):
        linear_probe(checkpoint="samba-x", **CHANNELS)


def test_provenance_gives_back_what_it_gets():
    X = object()
    assert Provenance().fit(X).transform(X) is X


def features(n=120, seed=0):
    rng = np.random.default_rng(seed)
    y = (np.arange(n) % 3 == 0).astype(int)
    X = rng.standard_normal((n, 20)) + 1.5 * y[:, None]
    return X, np.array(["many", "few"])[y]


def test_probe_net_learns_classes_of_unequal_size():
    X, y = features()
    net = ProbeNet(random_state=0, device="cpu").fit(X, y)
    new, labels = features(seed=1)
    assert np.mean(net.predict(new) == labels) > 0.9
    assert net.classes_.tolist() == ["few", "many"]


def test_probe_net_keeps_the_epoch_with_the_lowest_loss_on_held_out_rows():
    # labels are noise: the loss on held-out rows soon grows
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((60, 30)), rng.integers(0, 2, 60)
    net = ProbeNet(max_epochs=40, lr=1e-2, random_state=0, device="cpu").fit(X, y)
    losses = net.net_.history[:, "valid_loss"]
    best = int(np.argmin(losses))
    assert best < 39
    again = ProbeNet(max_epochs=best + 1, lr=1e-2, random_state=0, device="cpu").fit(
        X, y
    )
    np.testing.assert_allclose(net.predict_proba(X), again.predict_proba(X), rtol=1e-5)


@pytest.mark.parametrize("name", ["ShallowFBCSPNet", "EEGNet"])
def test_networks_of_braindecode_take_any_unit(name):
    X, y = hands(48, 256)
    settings = {"max_epochs": 2, "random_state": 0, "device": "cpu", "sfreq": 128}
    one = BraindecodeNet(name, **settings).fit(X, y).predict_proba(X)
    other = BraindecodeNet(name, **settings).fit(X * 1e6, y).predict_proba(X * 1e6)
    np.testing.assert_allclose(one, other, rtol=1e-3, atol=1e-4)


def test_a_network_of_braindecode_learns():
    X, y = hands(96, 256)
    net = BraindecodeNet(max_epochs=8, batch_size=8, random_state=0, device="cpu")
    net.fit(X[:48], y[:48])
    assert np.mean(net.predict(X[48:]) == y[48:]) > 0.9


WRONG = {
    "one class": (lambda X, y: (X, ["left"] * len(X)), {}, "one class"),
    "NaN": (lambda X, y: (X * np.nan, y), {}, "NaN"),
    "two dimensions": (lambda X, y: (X[0], y[:3]), {}, "shape"),
    "epochs": (lambda X, y: (X, y), {"max_epochs": 0}, "max_epochs"),
    "network": (lambda X, y: (X, y), {"network": "ResNet"}, "ResNet"),
    "length of y": (lambda X, y: (X, y[:-1]), {}, "inconsistent"),
}


@pytest.mark.parametrize("case", WRONG)
def test_networks_refuse_what_they_cannot_learn_from(case):
    change, settings, words = WRONG[case]
    X, y = change(*hands(8, 256))
    with pytest.raises(ValueError, match=words):
        BraindecodeNet(device="cpu", **settings).fit(X, y)


def test_networks_refuse_other_channels_after_a_fit():
    X, y = hands(8, 256)
    net = BraindecodeNet(max_epochs=1, random_state=0, device="cpu").fit(X, y)
    with pytest.raises(ValueError, match=r"\(2, 256\)"):
        net.predict(X[:, :2])
