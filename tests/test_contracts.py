"""What braindecode asks of its models, asked of SAMBA: our version of its model tests.

Signals are those of braindecode's own tests: three channels at random places in a cube
of one metre, 1,000 samples at 250 Hz.
"""

import inspect
import itertools
import json
import subprocess
import sys
import warnings
from types import MethodType

import mne
import numpy as np
import pytest
import torch
from braindecode import EEGClassifier
from braindecode.models import InterpolatedModel
from braindecode.models.config import make_model_config
from braindecode.models.util import interpolated_models_dict, models_dict
from braindecode.visualization.attribution import (
    input_x_gradient,
    integrated_gradients,
    saliency,
)
from skorch.dataset import ValidSplit
from torch import nn

from braindecode_samba import SAMBA, chs_info_from_names

N_TIMES, SFREQ, SECONDS = 1000, 250.0, 4.0
CHS_INFO = [
    {"ch_name": f"C{i + 1}", "kind": "eeg", "loc": loc}
    for i, loc in enumerate(np.random.default_rng(5).random((3, 12)))
]
TIMES = [
    {"n_times": N_TIMES, "sfreq": SFREQ},
    {"sfreq": SFREQ, "input_window_seconds": SECONDS},
    {"n_times": N_TIMES, "input_window_seconds": SECONDS},
    {"n_times": N_TIMES, "sfreq": SFREQ, "input_window_seconds": SECONDS},
    {"input_window_seconds": SECONDS},
    {"sfreq": SFREQ},
    {"n_times": N_TIMES},
    {},
]
CHANNELS = [{"chs_info": CHS_INFO}, {"chs_info": CHS_INFO, "n_chans": 3}]
SIGNALS = [
    {"n_outputs": 2, **channels, **times}
    for channels, times in itertools.product(CHANNELS, TIMES)
]


def plain_copy(model):
    """The module without its class: children, attributes and public functions."""
    plain = nn.Module()
    for name, child in model.named_children():
        plain.add_module(name, child)
    signal = "n_outputs n_chans chs_info n_times input_window_seconds sfreq".split()
    for name, value in vars(model).items():
        if name != "_modules":
            setattr(plain, name[1:] if name[1:] in signal else name, value)
    for name, function in inspect.getmembers(type(model), inspect.isfunction):
        if not name.startswith("_"):
            setattr(plain, name, MethodType(function, plain))
    return plain


@pytest.fixture(scope="module")
def model():
    """In eval mode. Not to be changed by a test."""
    torch.manual_seed(0)
    return SAMBA(n_outputs=2, chs_info=CHS_INFO, n_times=N_TIMES, sfreq=SFREQ).eval()


@pytest.fixture(scope="module")
def x():
    return torch.randn(1, 3, N_TIMES, generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def epochs():
    rng = np.random.default_rng(0)
    info = mne.create_info([c["ch_name"] for c in CHS_INFO], SFREQ, "eeg")
    for channel, described in zip(info["chs"], CHS_INFO, strict=True):
        channel["loc"][:] = described["loc"]
    data = rng.standard_normal((10, 3, N_TIMES))
    return mne.EpochsArray(data, info, verbose="error"), np.arange(10) % 2


# construction


@pytest.mark.parametrize("signal", SIGNALS, ids=lambda s: "-".join(s))
@torch.no_grad()
def test_any_sufficient_signal_arguments_construct(signal):
    model = SAMBA(**signal)
    assert model(torch.randn(3, 3, N_TIMES)).shape == (3, 2)
    assert model.n_chans == 3
    known = {"n_times", "sfreq", "input_window_seconds"} & set(signal)
    if len(known) >= 2:
        assert (model.n_times, model.sfreq) == (N_TIMES, SFREQ)
        assert model.input_window_seconds == SECONDS


@pytest.mark.parametrize("times", TIMES, ids=lambda s: "-".join(s) or "none")
@torch.no_grad()
def test_channels_may_be_unknown_where_positions_come_with_the_batch(times):
    pos = torch.tensor(np.array([c["loc"][:3] for c in CHS_INFO]))
    for channels in ({}, {"n_chans": 3}):
        model = SAMBA(n_outputs=2, **channels, **times)
        assert model(torch.randn(3, 3, N_TIMES), pos=pos).shape == (3, 2)


@pytest.mark.parametrize(
    "signal",
    [
        {"n_chans": 4},
        {"n_times": 900, "sfreq": SFREQ, "input_window_seconds": SECONDS},
    ],
    ids=str,
)
def test_contradicting_signal_arguments_are_refused(signal):
    with pytest.raises(ValueError, match="different|differ|match"):
        SAMBA(n_outputs=2, chs_info=CHS_INFO, **signal)


def test_parameters_follow_the_conventions():
    parameters = inspect.signature(SAMBA.__init__).parameters
    activations = [p.default for name, p in parameters.items() if "activation" in name]
    assert activations
    assert all(issubclass(default, nn.Module) for default in activations)
    assert 0 <= parameters["drop_prob"].default < 1
    kinds = {parameter.kind for parameter in parameters.values()}
    assert not kinds & {inspect.Parameter.VAR_KEYWORD, inspect.Parameter.VAR_POSITIONAL}
    assert all(
        p.annotation is not p.empty for n, p in parameters.items() if n != "self"
    )


def test_final_layer_is_among_the_last_two_children():
    model = SAMBA(n_outputs=2, chs_info=CHS_INFO)
    assert "final_layer" in [name for name, _ in model.named_children()][-2:]
    model.reset_head(5)
    assert "final_layer" in [name for name, _ in model.named_children()][-2:]


def test_model_is_registered_once():
    assert models_dict["SAMBA"] is SAMBA
    assert "SAMBA" not in interpolated_models_dict


def test_docstring_names_the_category():
    assert ":bdg-danger:`Foundation Model`" in SAMBA.__doc__


# fitting


@pytest.mark.filterwarnings("ignore::UserWarning:skorch")
def test_classifier_by_name_fits_epochs(epochs):
    X, y = epochs
    classifier = EEGClassifier(
        "SAMBA",
        optimizer=torch.optim.Adam,
        optimizer__lr=1e-4,
        batch_size=2,
        max_epochs=1,
        classes=[0, 1],
        train_split=ValidSplit(0.2, random_state=0),
        verbose=0,
    )
    classifier.fit(X, y)
    assert "final_layer" in [n for n, _ in classifier.module_.named_children()][-2:]
    assert np.isfinite(classifier.history[-1]["valid_loss"])
    assert classifier.predict(X).shape == (10,)


@pytest.mark.parametrize("training", [True, False])
def test_batch_of_one(x, training):
    model = SAMBA(n_outputs=2, chs_info=CHS_INFO).train(training)
    output = model(x)
    assert output.shape == (1, 2)
    output.sum().backward()
    assert model.training is training
    assert torch.isfinite(output).all()


# compilers


@pytest.mark.slow
@torch.no_grad()
def test_compiled_model_equals_eager(model, x):
    compiled = torch.compile(model, mode="reduce-overhead", dynamic=False)
    torch.compiler.reset()
    torch.testing.assert_close(compiled(x), model(x), rtol=0, atol=1e-4)
    torch.compiler.reset()


def test_model_is_traced_as_one_graph(model, x):
    """What compiling needs, without the minutes of a code generator."""
    x = x[..., :300]
    compiled = torch.compile(model, backend="eager", dynamic=False, fullgraph=True)
    torch.testing.assert_close(compiled(x), model(x), rtol=0, atol=1e-5)
    torch.compiler.reset()


def test_traced_model_has_the_gradients_of_the_eager_one(x):
    torch.manual_seed(0)
    x = x[..., :100]
    model = SAMBA(n_outputs=2, chs_info=CHS_INFO, sfreq=SFREQ).eval()
    gradients = []
    for forward in (model, torch.compile(model, backend="aot_eager", dynamic=False)):
        model.zero_grad()
        forward(x).square().sum().backward()
        gradients.append(
            {n: p.grad.clone() for n, p in model.named_parameters() if p.requires_grad}
        )
    torch.compiler.reset()
    largest = max(gradient.norm() for gradient in gradients[0].values())
    for name, wanted in gradients[0].items():
        error = (gradients[1][name] - wanted).norm()
        assert error <= 1e-4 * wanted.norm() + 1e-6 * largest, name


@torch.no_grad()
def test_exported_model_equals_eager(model, x):
    program = torch.export.export(model, args=(x,), strict=False)
    torch.testing.assert_close(program.module()(x), model(x), rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    "options",
    [
        {"sfreq": SFREQ},
        {"head": "variance", "scale": "channel"},
        {"head": "readings", "evoked_seconds": 0.5},
        {"coordinate_frame": "colin27_mri", "spatial_init": "published"},
    ],
    ids=str,
)
@torch.no_grad()
def test_scripted_plain_copy_equals_the_model(x, options, tmp_path):
    model = SAMBA(n_outputs=2, chs_info=CHS_INFO, **options).eval()
    plain = plain_copy(model).eval()
    torch.testing.assert_close(plain(x), model(x))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of TorchScript itself
        scripted = torch.jit.script(plain)
        scripted.save(str(tmp_path / "model.pt"))
        loaded = torch.jit.load(str(tmp_path / "model.pt"))
    torch.testing.assert_close(loaded(x), model(x), rtol=0, atol=1e-5)
    half = x[..., : N_TIMES // 2]
    torch.testing.assert_close(loaded(half), model(half), rtol=0, atol=1e-5)


# configuration and hub


@pytest.mark.parametrize("signal", SIGNALS[:7], ids=lambda s: "-".join(s))
def test_pydantic_config_makes_the_model_and_survives_json(signal):
    config_type = make_model_config(SAMBA, ["n_outputs", "chs_info"])
    config = config_type(**signal)
    assert isinstance(config.create_instance(), SAMBA)
    written = json.loads(json.dumps(config.model_dump(mode="json")))
    read = config_type.model_validate(written)
    np.testing.assert_equal(
        read.model_dump(mode="python"), config.model_dump(mode="python")
    )


def test_a_configuration_is_whole_without_the_hub():
    # with huggingface_hub, braindecode keeps the arguments in another place
    code = """
import sys
sys.modules["huggingface_hub"] = None
from braindecode_samba import SAMBA, SAMBAReconstructor
for model in (SAMBA(n_outputs=2, surround=0.5), SAMBAReconstructor(d_state=4)):
    print(len(model.get_config()), model.from_config(model.get_config()).get_config())
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    ours, twins = done.stdout.splitlines()
    # braindecode leaves chs_info out where there is none
    assert ours.startswith(str(len(inspect.signature(SAMBA).parameters) - 1))
    assert "'surround': 0.5" in ours
    assert "'head': 'power'" in ours
    assert "'d_state': 4" in twins
    assert "'readout': 'coordinate'" in twins


def test_pydantic_config_carries_every_option():
    config_type = make_model_config(SAMBA, ["n_outputs", "chs_info"])
    options = {
        "scale": "channel",
        "head": "variance",
        "activation": nn.GELU,
        "drop_prob": 0.1,
        "spatial_init": "published",
        "d_state": 8,
        "target_positions": [[0.0, 0.0, 0.1], [0.05, 0.0, 0.08]],
    }
    config = config_type(n_outputs=2, chs_info=CHS_INFO, **options)
    read = config_type.model_validate(config.model_dump(mode="json"))
    model = read.create_instance()
    assert model.spatial_weights().shape == (2, 3)
    assert any(isinstance(module, nn.GELU) for module in model.modules())
    assert model.trunk.signal.scale == "channel"


@pytest.fixture(scope="module")
def pretrained(model, tmp_path_factory):
    """Folder into which the model was saved."""
    folder = tmp_path_factory.mktemp("hub")
    model.save_pretrained(folder)
    return folder


def test_saved_folder_describes_the_model(pretrained):
    config = json.loads((pretrained / "config.json").read_text())
    assert config["n_outputs"] == 2
    assert config["n_times"] == N_TIMES
    assert config["sfreq"] == SFREQ
    assert [channel["ch_name"] for channel in config["chs_info"]] == ["C1", "C2", "C3"]
    assert "braindecode_version" in config
    assert (pretrained / "model.safetensors").exists()


@torch.no_grad()
def test_loaded_folder_gives_the_same(pretrained, model, x):
    loaded = SAMBA.from_pretrained(pretrained).eval()
    assert torch.equal(loaded(x), model(x))


@torch.no_grad()
def test_loaded_folder_may_have_other_outputs(pretrained, model, x):
    loaded = SAMBA.from_pretrained(pretrained, n_outputs=7).eval()
    assert loaded.n_outputs == 7
    assert loaded(x).shape == (1, 7)
    found = loaded(x, return_features=True)["features"]
    assert torch.equal(found, model(x, return_features=True)["features"])


@torch.no_grad()
def test_loaded_folder_may_have_other_channels(pretrained, model, make_eeg):
    names = ["Fp1", "Fp2", "Oz", "T7", "T8"]
    loaded = SAMBA.from_pretrained(
        pretrained, chs_info=chs_info_from_names(names), n_chans=5
    ).eval()
    x = make_eeg(2, 5, N_TIMES)
    assert loaded.n_chans == 5
    pos = torch.tensor(
        np.array([channel["loc"][:3] for channel in chs_info_from_names(names)])
    )
    torch.testing.assert_close(loaded(x), model(x, pos=pos))


@torch.no_grad()
def test_loaded_folder_may_have_another_rate(pretrained, model):
    loaded = SAMBA.from_pretrained(
        pretrained, sfreq=160.0, n_times=640, input_window_seconds=4.0
    ).eval()
    assert loaded.sfreq == 160
    assert loaded.get_output_shape() == (1, 2)
    x = torch.randn(1, 3, 640)
    assert torch.equal(
        loaded.trunk.encoder(x.new_ones(1, 94, 64), torch.eye(94))[3],
        model.trunk.encoder(x.new_ones(1, 94, 64), torch.eye(94))[3],
    )


# shapes, features, tables


@pytest.mark.parametrize("signal", SIGNALS[:4], ids=lambda s: "-".join(s))
def test_output_shape_is_known(signal):
    model = SAMBA(**signal)
    assert model.get_output_shape() == (1, 2)
    assert model.input_shape == (1, 3, N_TIMES)


@torch.no_grad()
def test_features_and_default_output(model, x):
    result = model(x.expand(2, -1, -1), return_features=True)
    assert isinstance(result, dict)
    assert result["features"].shape[0] == 2
    assert result["cls_token"] is None
    assert isinstance(model(x), torch.Tensor)


@torch.no_grad()
def test_new_head_has_new_outputs(x):
    model = SAMBA(n_outputs=2, chs_info=CHS_INFO)
    model.reset_head(10)
    assert model.n_outputs == 10
    assert model(x).shape == (1, 10)
    assert model.get_config()["n_outputs"] == 10


@pytest.mark.parametrize("n_outputs", [0, -1])
def test_impossible_head_is_refused(n_outputs):
    model = SAMBA(n_outputs=2, chs_info=CHS_INFO)
    with pytest.raises(ValueError, match="n_outputs"):
        model.reset_head(n_outputs)
    assert model.final_layer.out_features == model.n_outputs == 2


@pytest.mark.parametrize("signal", [SIGNALS[0], SIGNALS[7], {"n_outputs": 2}], ids=str)
def test_table_of_layers_counts_every_parameter(signal):
    model = SAMBA(**signal)
    table = model.get_torchinfo_statistics()
    assert table.total_params == sum(p.numel() for p in model.parameters())
    assert "final_layer" in str(model)


# wrappers and attribution


def target_channels():
    return chs_info_from_names(["Fz", "Cz", "Pz", "C3", "C4"])


@pytest.mark.parametrize("mode", ["always", "name_match"])
def test_interpolated_model(mode):
    interpolated = InterpolatedModel(SAMBA, target_chs_info=target_channels())
    assert issubclass(interpolated, SAMBA)
    model = interpolated(
        chs_info=target_channels()[:4],
        n_outputs=2,
        n_times=200,
        interpolation_mode=mode,
    ).eval()
    x = torch.randn(2, 4, 200)
    assert model(x).shape == (2, 2)
    assert model.n_chans == len(model.chs_info) == 4
    assert model.get_output_shape() == (1, 2)
    config = model.get_config()
    assert len(config["chs_info"]) == 4
    assert config["interpolation_mode"] == mode
    other = interpolated.from_config(config).eval()
    other.load_state_dict(model.state_dict())
    torch.testing.assert_close(other(x), model(x))


@pytest.fixture(scope="module")
def attributed():
    torch.manual_seed(0)
    model = SAMBA(
        n_outputs=2, chs_info=chs_info_from_names(["Fz", "C3", "C4", "Oz"])
    ).eval()
    x = torch.randn(4, 4, 300)
    with torch.no_grad():
        target = model(x).argmax(1)
    return model, x, target


@pytest.mark.parametrize("method", [saliency, input_x_gradient, integrated_gradients])
def test_attribution_reaches_every_channel(attributed, method):
    model, x, target = attributed
    options = {"steps": 8} if method is integrated_gradients else {}
    attribution = method(model, x, target, **options).detach()
    assert attribution.shape == x.shape
    assert torch.isfinite(attribution).all()
    assert (attribution.abs().mean(-1) > 1e-8).all()


def test_attribution_depends_on_the_input(attributed):
    model, x, target = attributed
    target = torch.zeros_like(target)
    one, other = saliency(model, x[:2], target[:2]), saliency(model, x[2:], target[2:])
    assert (one - other).abs().max() > 1e-3 * one.abs().max()


def test_integrated_gradients_are_zero_at_the_baseline(attributed):
    model, x, target = attributed
    attribution = integrated_gradients(model, x, target, baseline=x.clone(), steps=4)
    assert attribution.abs().max() <= 1e-6
