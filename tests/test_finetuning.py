"""Estimators that start from a checkpoint: what is trained, how fast, what stays."""

import pickle

import numpy as np
import pytest
import torch
from sklearn.base import clone
from skorch.callbacks import Callback
from torch import nn

from braindecode_samba import (
    SAMBA,
    SAMBAClassifier,
    SAMBAFeatures,
    SAMBAReconstructor,
    SAMBARegressor,
)
from braindecode_samba.checkpoints import CheckpointError, CheckpointReport
from braindecode_samba.estimators.finetuning import STAGES, freeze
from braindecode_samba.pretraining.saving import write_checkpoint

SMALL = {"d_state": 4, "expand": 2}
SIGNAL = {"ch_names": ["C3", "Cz", "C4"], "sfreq": 128}
FAST = {
    **SIGNAL,
    "start": "random",
    "max_epochs": 2,
    "batch_size": 4,
    "random_state": 0,
    "device": "cpu",
}
DECODERS = (SAMBAClassifier, SAMBARegressor)


@pytest.fixture(scope="module")
def pretrained():
    torch.manual_seed(1)
    return SAMBAReconstructor(**SMALL)


@pytest.fixture(scope="module")
def checkpoint(pretrained, tmp_path_factory):
    """Folder of a small checkpoint."""
    folder = tmp_path_factory.mktemp("checkpoints") / "small"
    return write_checkpoint(folder, pretrained, {}, "")


@pytest.fixture(scope="module")
def X(make_eeg):
    return make_eeg(8, 3, 64).numpy()


Y = np.array([0, 1] * 4)


def changed(model, pretrained):
    """Names of parameters of the trunk that are not the pretrained ones."""
    before = dict(pretrained.trunk.named_parameters())
    after = model.trunk.named_parameters()
    return {name for name, value in after if not torch.equal(value, before[name])}


# never applied, as published: nothing trains it in any network
UNUSED = "encoder.mamba1.norm.weight"


def trainable(model):
    return {n for n, value in model.trunk.named_parameters() if value.requires_grad}


# what is trained


@pytest.mark.parametrize("estimator", DECODERS)
def test_a_fit_starts_from_the_trunk_of_the_checkpoint(
    estimator, checkpoint, pretrained, X
):
    decoder = estimator(**FAST, checkpoint=checkpoint, lr=1e-12, weight_decay=0)
    decoder.fit(X, Y)
    before = pretrained.trunk.state_dict()
    for name, value in decoder.model_.trunk.named_parameters():
        torch.testing.assert_close(value, before[name], rtol=0, atol=1e-9)
    report = decoder.checkpoint_report_
    assert isinstance(report, CheckpointReport)
    assert {name.split(".")[0] for name in report.used} == {"trunk"}
    assert {name.split(".")[0] for name in report.new} == {"head", "final_layer"}


@pytest.mark.parametrize("estimator", DECODERS)
def test_head_alone_leaves_the_trunk_untouched(estimator, checkpoint, pretrained, X):
    decoder = estimator(
        **FAST, checkpoint=checkpoint, finetune="head", lr=0.1, weight_decay=0.5
    ).fit(X, Y)
    assert changed(decoder.model_, pretrained) == set()
    stages = decoder.model_.trunk(torch.tensor(X))
    assert not stages.mediator.requires_grad  # nothing is kept for gradients
    decoder.partial_fit(X, Y)
    assert changed(decoder.model_, pretrained) == set()


def test_the_head_is_trained(checkpoint, X):
    options = {**FAST, "checkpoint": checkpoint, "finetune": "head"}
    slow = SAMBAClassifier(**options, lr=1e-12).fit(X, Y).model_
    fast = SAMBAClassifier(**options, lr=1e-2).fit(X, Y).model_
    for name, value in fast.named_parameters():
        if not name.startswith("trunk."):
            assert not torch.equal(value, slow.get_parameter(name)), name


@pytest.mark.parametrize("n", range(1, len(STAGES) + 1))
def test_the_last_stages_are_trained_and_the_first_stay(n, checkpoint, pretrained, X):
    decoder = SAMBAClassifier(**FAST, checkpoint=checkpoint, finetune=n, lr=1e-2)
    model = decoder.fit(X, Y).model_
    parts = [
        ("spatial.",),
        ("encoder.input_embedding.",),
        ("encoder.linear1.", "encoder.mamba1."),
        ("encoder.conv2.",),
        ("encoder.conv3.",),
        ("mediator.",),
    ]
    trained = tuple(part for stage in parts[len(STAGES) - n :] for part in stage)
    names = {name for name, _ in model.trunk.named_parameters()} - {UNUSED}
    assert trainable(model) == {name for name in names if name.startswith(trained)}
    found = changed(model, pretrained)
    assert found <= trainable(model)
    assert {name.split(".")[0] for name in found} == {
        part.split(".")[0] for part in trained
    }


def test_the_stages_are_the_whole_trunk():
    model = SAMBA(n_outputs=2, n_chans=3, **SMALL)
    freeze(model, "head")
    assert trainable(model) == set()
    assert all(p.requires_grad for p in model.head.parameters())
    assert all(p.requires_grad for p in model.final_layer.parameters())
    model = SAMBA(n_outputs=2, n_chans=3, **SMALL)
    freeze(model, "all")
    assert trainable(model) == {n for n, _ in model.trunk.named_parameters()} - {UNUSED}


def test_what_lies_before_the_trained_stages_gets_no_gradients(X):
    model = SAMBA(n_outputs=2, n_chans=3, **SMALL)
    freeze(model, 1)
    pos = torch.rand(3, 3) * 0.1
    stages = model.trunk(torch.tensor(X), pos)
    assert not stages.pool3.requires_grad
    assert stages.mediator.requires_grad


# rates


def test_the_trunk_learns_at_its_own_rate_all_along(checkpoint, X):
    rates = []

    class Watch(Callback):
        def on_batch_begin(self, net, **kwargs):
            rates.append([group["lr"] for group in net.optimizer_.param_groups])

    decoder = SAMBAClassifier(
        **{**FAST, "max_epochs": 10},
        checkpoint=checkpoint,
        lr=1e-3,
        trunk_lr_factor=0.1,
        callbacks=[Watch()],
    ).fit(X, Y)
    rates = np.array(rates)
    np.testing.assert_allclose(rates[:, :2], 0.1 * rates[:, 2:], rtol=1e-6)
    assert rates[:, 2].max() == pytest.approx(1e-3, rel=0.05)
    trunk, trunk_free, rest, rest_free = decoder.net_.optimizer_.param_groups
    assert [g["lr"] for g in (trunk, trunk_free, rest, rest_free)] == pytest.approx(
        [1e-4, 1e-4, 1e-3, 1e-3]
    )
    assert [g["weight_decay"] for g in (trunk, trunk_free, rest, rest_free)] == [
        0.01,
        0.0,
        0.01,
        0.0,
    ]
    own = {id(p) for p in decoder.model_.trunk.parameters()}
    assert {id(p) for g in (trunk, trunk_free) for p in g["params"]} == own
    for group in (trunk, rest):
        assert all(
            p.ndim > 1 and not getattr(p, "_no_weight_decay", False)
            for p in group["params"]
        )


def test_the_rates_stay_apart_in_partial_fit(checkpoint, X):
    options = {**FAST, "checkpoint": checkpoint, "trunk_lr_factor": 0.5, "lr": 1e-3}
    fitted = SAMBAClassifier(**options).fit(X, Y).partial_fit(X, Y)
    begun = SAMBAClassifier(**options).partial_fit(X, Y)
    for decoder in (fitted, begun):
        rates = [group["lr"] for group in decoder.net_.optimizer_.param_groups]
        assert rates == pytest.approx([5e-4, 5e-4, 1e-3, 1e-3])


def test_a_lower_rate_moves_the_trunk_less(checkpoint, pretrained, X):
    def distance(factor):
        decoder = SAMBAClassifier(
            **FAST, checkpoint=checkpoint, trunk_lr_factor=factor
        ).fit(X, Y)
        after = nn.utils.parameters_to_vector(decoder.model_.trunk.parameters())
        before = nn.utils.parameters_to_vector(pretrained.trunk.parameters())
        return (after - before).norm().item()

    assert distance(0.01) < 0.1 * distance(1.0)


def test_without_a_checkpoint_nothing_is_new(X):
    options = {**FAST, "checkpoint": None, "model_params": SMALL}
    plain = SAMBAClassifier(**options).fit(X, Y)
    assert plain.checkpoint_report_ is None
    assert len(plain.net_.optimizer_.param_groups) == 2
    same = SAMBAClassifier(**options, finetune="all", trunk_lr_factor=1.0).fit(X, Y)
    assert np.array_equal(plain.predict_proba(X), same.predict_proba(X))


# estimators as such


@pytest.mark.parametrize("estimator", [*DECODERS, SAMBAFeatures])
def test_clones_and_pickles_keep_the_checkpoint(estimator, checkpoint, X):
    options = FAST if estimator is not SAMBAFeatures else {**SIGNAL, "device": "cpu"}
    decoder = estimator(**options, checkpoint=str(checkpoint))
    assert clone(decoder).get_params() == decoder.get_params()
    assert decoder.get_params()["checkpoint"] == str(checkpoint)
    fitted = decoder.fit(X, Y)
    again = pickle.loads(pickle.dumps(fitted))
    method = "transform" if estimator is SAMBAFeatures else "predict"
    assert np.array_equal(getattr(again, method)(X), getattr(fitted, method)(X))
    assert again.checkpoint_report_ == fitted.checkpoint_report_
    refitted = clone(fitted).fit(X, Y)
    assert refitted.checkpoint_report_ == fitted.checkpoint_report_


def test_features_are_those_of_the_pretrained_trunk(checkpoint, pretrained, X):
    features = SAMBAFeatures(
        **SIGNAL, checkpoint=checkpoint, layer="encoder3", pooling="mean", device="cpu"
    ).fit(X)
    pos = features.model_.trunk.positions.default
    with torch.no_grad():
        wanted = pretrained.trunk.encode(torch.tensor(X), pos, layer="encoder3")
    found = features.transform(X)
    np.testing.assert_allclose(found, wanted.mean(-1).numpy(), atol=1e-5)
    assert len(features.checkpoint_report_.used) == len(pretrained.trunk.state_dict())


def test_only_a_talkative_estimator_prints_the_report(checkpoint, X, capsys):
    SAMBAClassifier(**FAST, checkpoint=checkpoint).fit(X, Y)
    SAMBAFeatures(**SIGNAL, checkpoint=checkpoint).fit(X)
    assert "tensors" not in capsys.readouterr().out
    SAMBAClassifier(**FAST, checkpoint=checkpoint, verbose=1).fit(X, Y)
    assert "tensors used" in capsys.readouterr().out


def test_a_scale_of_recordings_is_measured_on_the_new_data(tmp_path, X):
    model = SAMBAReconstructor(scale="recording", **SMALL)
    model.trunk.signal.set_recording_scale(1e6)
    write_checkpoint(tmp_path / "a", model, {}, "")
    for estimator in (
        SAMBAClassifier(**FAST, checkpoint=tmp_path / "a"),
        SAMBAFeatures(**SIGNAL, checkpoint=tmp_path / "a"),
    ):
        scale = estimator.fit(X, Y).model_.trunk.signal.recording_scale
        assert 0 < scale < 1e-2


def test_options_of_the_head_go_with_a_checkpoint(checkpoint, X):
    params = {"head": "variance", "drop_prob": 0.1, "activation": nn.GELU}
    decoder = SAMBAClassifier(**FAST, checkpoint=checkpoint, model_params=params)
    model = decoder.fit(X, Y).model_
    assert model.head.band_power is None
    assert model.head.dropout.p == 0.1


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"model_params": {"d_state": 8}}, "d_state=4.*d_state=8"),
        ({"model_params": {"scale": None}}, "scale"),
        ({"finetune": "heads"}, "finetune='heads'"),
        ({"finetune": 0}, "finetune=0.*1 to 6"),
        ({"finetune": 7}, "finetune=7"),
        ({"finetune": True}, "finetune=True"),
        ({"trunk_lr_factor": 0.0}, "trunk_lr_factor"),
        ({"checkpoint": "nothing"}, "'nothing'"),
        ({"checkpoint": None, "finetune": "head"}, "pass checkpoint"),
        ({"checkpoint": None, "finetune": 2}, "pass checkpoint"),
    ],
)
def test_what_does_not_fit_is_refused_and_an_earlier_fit_stays(
    checkpoint, options, said, X
):
    decoder = SAMBAClassifier(**FAST, checkpoint=checkpoint).fit(X, Y)
    net = decoder.net_
    decoder.set_params(**options)
    with pytest.raises(ValueError, match=said):
        decoder.fit(X, Y)
    assert decoder.net_ is net


def test_a_given_model_goes_before_a_checkpoint(checkpoint, X):
    model = SAMBA(n_outputs=2, n_chans=3, **SMALL)
    features = SAMBAFeatures(**SIGNAL, model=model, checkpoint=checkpoint).fit(X)
    assert features.checkpoint_report_ is None
    for name, value in features.model_.trunk.named_parameters():
        assert torch.equal(value, model.trunk.get_parameter(name))
    with pytest.raises(ValueError, match="either model or model_params"):
        features.set_params(model_params=SMALL).fit(X)


def test_features_refuse_what_contradicts_the_checkpoint(checkpoint, X):
    with pytest.raises(CheckpointError, match="expand"):
        SAMBAFeatures(**SIGNAL, checkpoint=checkpoint, model_params={"expand": 8}).fit(
            X
        )
