"""Promises of `braindecode_samba.models`: units, places, masks, lengths, refusals."""

import copy
import inspect
import math
import pickle

import mne
import numpy as np
import pytest
import torch
from braindecode import EEGClassifier
from braindecode.models.util import models_dict
from hypothesis import given, settings
from hypothesis import strategies as st

from braindecode_samba import (
    SAMBA,
    SAMBAReconstructor,
    chs_info_from_names,
    load_montage,
    positions_from_names,
)
from braindecode_samba.nn import BandPower, nine_statistics
from braindecode_samba.nn.trunk import LAYERS
from braindecode_samba.signals import target_names, target_positions

NAMES = "Fp1 Fp2 F3 F4 Cz P7 P8 O1 O2".split()
MODELS = (SAMBA, SAMBAReconstructor)


def build(kind=SAMBA, names=NAMES, **options):
    """A model in eval mode whose weights depend on nothing but its options."""
    torch.manual_seed(0)
    if names is not None:
        options = {"chs_info": chs_info_from_names(names)} | options
    if kind is SAMBA:
        options = {"n_outputs": 3} | options
    return kind(**options).eval()


def positions(names=NAMES):
    return torch.tensor(positions_from_names(names), dtype=torch.float32)


@pytest.fixture(scope="module")
def model():
    """Nine electrodes, three outputs, eval mode. Not to be changed by a test."""
    return build()


@pytest.fixture(scope="module")
def x(make_eeg):
    """Two windows of nine channels and 200 samples, volts."""
    return make_eeg(2, 9, 200)


# unit, order, mask


@pytest.mark.parametrize("kind", MODELS)
@pytest.mark.parametrize("sfreq", [None, 250])
@torch.no_grad()
def test_volts_equal_microvolts(kind, sfreq, x):
    model = build(kind, sfreq=sfreq)
    wanted = model(x)
    torch.testing.assert_close(model(x * 1e6), wanted, rtol=0, atol=1e-4)
    assert wanted.std() > 0.01


@torch.no_grad()
def test_offsets_change_nothing(model, x):
    offsets = torch.linspace(-1e-4, 1e-4, 9)[:, None]
    torch.testing.assert_close(model(x + offsets), model(x), rtol=0, atol=1e-4)


@settings(max_examples=8)
@given(order=st.permutations(range(9)))
@torch.no_grad()
def test_order_of_electrodes_changes_nothing(model, x, order):
    wanted = model(x)
    found = model(x[:, order], pos=positions()[order])
    torch.testing.assert_close(found, wanted, rtol=0, atol=1e-5)
    other = build(names=[NAMES[i] for i in order])
    torch.testing.assert_close(other(x[:, order]), wanted, rtol=0, atol=1e-5)


@torch.no_grad()
def test_reconstruction_follows_the_order_of_electrodes(x):
    model = build(SAMBAReconstructor)
    order = torch.randperm(9)
    found = model(x[:, order], pos=positions()[order])
    torch.testing.assert_close(found, model(x)[:, order], rtol=0, atol=1e-5)


@torch.no_grad()
def test_places_do_matter(model, x):
    moved = model(x, pos=positions().roll(1, 0))
    assert (moved - model(x)).abs().max() > 1e-3


@pytest.mark.parametrize("scale", ["window", "channel"])
@pytest.mark.parametrize("how", ["default", "pos", "pos per sample"])
def test_masked_channel_equals_one_left_out(x, scale, how):
    present = torch.tensor([True, False, True, True, False, True, True, True, True])
    kept = [name for name, is_there in zip(NAMES, present, strict=True) if is_there]
    model = build(scale=scale)
    wanted = build(names=kept, scale=scale)(x[:, present])
    rubbish = x.clone()
    rubbish[:, 1], rubbish[:, 4, 3] = math.nan, math.inf
    pos = None
    if how != "default":
        pos = positions()
        pos[~present] = math.nan
    if how == "pos per sample":
        pos = pos.expand(2, -1, -1)
    for mask in (present, present.expand(2, -1)):
        model.zero_grad()
        found = model(rubbish, pos, mask)
        torch.testing.assert_close(found, wanted, rtol=0, atol=1e-5)
        found.sum().backward()
        for name, parameter in model.named_parameters():
            if parameter.requires_grad:
                assert torch.isfinite(parameter.grad).all(), name


@torch.no_grad()
def test_every_window_may_have_its_own_channels(model, x):
    mask = torch.ones(2, 9, dtype=torch.bool)
    mask[0, [1, 4]] = False
    mask[1, [0, 2, 8]] = False
    found = model(x, ch_mask=mask)
    for i in range(2):
        alone = model(x[[i]][:, mask[i]], pos=positions()[mask[i]])
        torch.testing.assert_close(found[[i]], alone, rtol=0, atol=1e-5)


@torch.no_grad()
def test_reconstruction_of_a_masked_channel_is_zero(x):
    model = build(SAMBAReconstructor)
    mask = torch.ones(2, 9, dtype=torch.bool)
    mask[0, 2] = False
    x = x.clone()
    x[0, 2] = math.nan
    found = model(x, ch_mask=mask, return_features=True)
    assert (found["output"][0, 2] == 0).all()
    assert torch.isfinite(found["output"]).all()
    assert (found["weights"][0, :, 2] == 0).all()


@torch.no_grad()
def test_windows_of_a_batch_do_not_mix(model, x):
    single = torch.cat([model(window) for window in x.split(1)])
    torch.testing.assert_close(model(x), single, rtol=0, atol=1e-5)


# positions


@torch.no_grad()
def test_positions_of_a_batch_replace_those_of_the_model(x):
    wanted = build()(x)
    for names in (None, NAMES[::-1]):
        other = build(names=names, n_chans=9)
        found = other(x, pos=positions())
        torch.testing.assert_close(found, wanted, rtol=0, atol=1e-5)


@torch.no_grad()
def test_model_takes_other_montages_than_its_own(model, make_eeg):
    montage = load_montage("physionetmi_64")
    pos = torch.tensor(montage.positions)  # float64, as braindecode collates it
    assert model(make_eeg(2, 64, 160), pos=pos).shape == (2, 3)


@torch.no_grad()
def test_weights_can_be_read(model):
    weights = model.spatial_weights()
    assert weights.shape == (94, 9)
    torch.testing.assert_close(weights.sum(-1), torch.ones(94))
    mask = torch.ones(9, dtype=torch.bool)
    mask[3] = False
    masked = model.spatial_weights(ch_mask=mask)
    assert (masked[:, 3] == 0).all()
    pos = positions(["C3", "C4"]).expand(2, -1, -1)
    assert model.spatial_weights(pos).shape == (2, 94, 2)
    rebuilt = build(SAMBAReconstructor)
    torch.testing.assert_close(rebuilt.spatial_weights(), weights)


def mne_chs(names):
    info = mne.create_info(names, 128.0, "eeg")
    return info.set_montage("colin27_1005")["chs"]


def without_loc(names):
    return [{"ch_name": name, "kind": "eeg"} for name in names]


def with_loc(names, make):
    places = positions_from_names(names)
    return [
        {"ch_name": name, "kind": "eeg", "loc": make(place)}
        for name, place in zip(names, places, strict=True)
    ]


@pytest.mark.filterwarnings("ignore:.*chs_info.*:UserWarning")
@pytest.mark.parametrize(
    "chs_info",
    [
        mne_chs(NAMES),
        mne.create_info(NAMES, 128.0, "eeg")["chs"],  # no montage: NaN
        with_loc(NAMES, np.array),
        with_loc(NAMES, list),
        with_loc(NAMES, lambda place: np.r_[place, np.zeros(9)]),
        with_loc(NAMES, lambda place: np.r_[place, np.full(9, np.nan)]),
        with_loc(NAMES, lambda place: np.zeros(12)),
        without_loc(NAMES),
        without_loc([f"EEG {name.upper()}-REF" for name in NAMES]),
    ],
    ids="mne nan array list zeros-behind nan-behind zero no-loc clinical".split(),
)
@torch.no_grad()
def test_any_description_of_channels_is_understood(model, x, chs_info):
    before = copy.deepcopy(chs_info)
    found = build(chs_info=chs_info)(x)
    torch.testing.assert_close(found, model(x), rtol=0, atol=1e-5)
    for channel, old in zip(chs_info, before, strict=True):
        assert channel.keys() == old.keys()
        np.testing.assert_array_equal(channel.get("loc", 0), old.get("loc", 0))


# refusals


@pytest.mark.parametrize("kind", MODELS)
@pytest.mark.parametrize("chs_info", [None, without_loc(["C3", "Unheard", "C4"])])
def test_forward_without_positions_says_what_to_pass(kind, chs_info):
    model = build(kind, names=None, n_chans=3, chs_info=chs_info)
    with pytest.raises(ValueError, match="chs_info.*pos"):
        model(torch.randn(1, 3, 100))
    assert (
        model(torch.randn(1, 3, 100), pos=positions(["C3", "Cz", "C4"]))
        .isfinite()
        .all()
    )


def nan_position(model, x):
    pos = positions()
    pos[2] = math.nan
    model(x, pos=pos)


def infinite_position(model, x):
    pos = positions()
    pos[2, 1] = math.inf
    model(x, pos=pos)


def nan_position_of_a_present_channel(model, x):
    pos = positions()
    pos[2] = math.nan
    mask = torch.ones(9, dtype=torch.bool)
    mask[3] = False
    model(x, pos, mask)


REFUSED = {
    "fewer channels": (lambda model, x: model(x[:, :4]), "4 channels.*9 positions"),
    "fewer positions": (lambda model, x: model(x, positions()[:8]), "9 channels.*8"),
    "NaN position": (nan_position, "NaN"),
    "infinite position": (infinite_position, "NaN or infinite"),
    "NaN position of a present channel": (nan_position_of_a_present_channel, "NaN"),
    "millimetres": (lambda model, x: model(x, positions() * 1000), "not metres"),
    "two coordinates": (lambda model, x: model(x, positions()[:, :2]), "shape"),
    "positions of another batch": (
        lambda model, x: model(x, positions().expand(3, -1, -1)),
        "batch|shape|windows",
    ),
    "7 samples": (lambda model, x: model(x[..., :7]), "at least 8"),
    "two dimensions": (lambda model, x: model(x[0]), "channels"),
    "four dimensions": (lambda model, x: model(x[None]), "channels"),
    "complex": (lambda model, x: model(x + 0j), "complex"),
    "mask of other channels": (
        lambda model, x: model(x, ch_mask=torch.ones(8, dtype=torch.bool)),
        "ch_mask",
    ),
    "mask that is not bool": (
        lambda model, x: model(x, ch_mask=torch.ones(9)),
        "ch_mask",
    ),
    "no present channel": (
        lambda model, x: model(x, ch_mask=torch.zeros(9, dtype=torch.bool)),
        "without any channel",
    ),
    "no present channel in one window": (
        lambda model, x: model(x, ch_mask=torch.tensor([[True] * 9, [False] * 9])),
        "without any channel",
    ),
    "no present channel, positions given": (
        lambda model, x: model(x, positions(), torch.zeros(9, dtype=torch.bool)),
        "without any channel",
    ),
}


@pytest.mark.parametrize("kind", MODELS)
@pytest.mark.parametrize("what", REFUSED)
def test_bad_input_is_refused(kind, what, x):
    call, said = REFUSED[what]
    with pytest.raises((ValueError, TypeError), match=said):
        call(build(kind), x)


@pytest.mark.parametrize("kind", MODELS)
@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"scale": "windows"}, "scale="),
        ({"spatial_init": "uniform"}, "init="),
        ({"coordinate_frame": "mni"}, "coordinate_frame="),
        ({"sfreq": 1e6}, "sfreq="),
        ({"target_positions": [[0.0, 0.0, 95.0]]}, "metres"),
        ({"target_positions": [[0.0, 0.1]]}, "shape"),
        ({"n_chans": 4}, "n_chans"),
        ({"chs_info": with_loc(NAMES, lambda place: place * 1000)}, "metres"),
    ],
    ids=str,
)
def test_bad_option_is_refused(kind, options, said):
    with pytest.raises(ValueError, match=said):
        build(kind, **options)


def test_unknown_head_and_readout_are_refused():
    with pytest.raises(ValueError, match="head="):
        build(head="mean")
    with pytest.raises(ValueError, match="readout="):
        build(SAMBAReconstructor, readout="linear")
    with pytest.raises(ValueError, match="n_outputs"):
        SAMBA(chs_info=chs_info_from_names(NAMES))
    with pytest.raises(ValueError, match="n_chans"):
        SAMBAReconstructor(readout="electrode")


def test_strange_option_is_refused():
    with pytest.raises(TypeError, match="dropout"):
        build(dropout=0.1)


# lengths and layers


@pytest.mark.parametrize("n_times", [8, 9, 15, 16, 17, 100, 255, 1003])
@torch.no_grad()
def test_any_length_from_eight_samples_on(make_eeg, n_times):
    x = make_eeg(2, 9, n_times)
    for kind in MODELS:
        output = build(kind)(x)
        wanted = (2, 3) if kind is SAMBA else (2, 9, n_times)
        assert output.shape == wanted
        assert torch.isfinite(output).all()


@pytest.mark.parametrize("sfreq", [100, 250, 512])
@torch.no_grad()
def test_reconstruction_comes_at_the_rate_of_the_model(make_eeg, sfreq):
    model = build(SAMBAReconstructor, sfreq=sfreq)
    n_times = math.ceil(200 * 128 / sfreq)
    assert model(make_eeg(1, 9, 200)).shape == (1, 9, n_times)


@pytest.mark.parametrize("n_times", [8, 203])
@torch.no_grad()
def test_every_layer_can_be_read(model, make_eeg, n_times):
    features = dict(zip(LAYERS, (94, 64, 64, 64, 64, 64, 128, 128, 128), strict=True))
    halvings = dict(zip(LAYERS, (0, 0, 0, 1, 1, 2, 2, 3, 3), strict=True))
    x = make_eeg(2, 9, n_times)
    for layer in LAYERS:
        z = model.encode(x, layer=layer)
        assert z.shape == (2, features[layer], n_times >> halvings[layer]), layer
        assert torch.isfinite(z).all()
    torch.testing.assert_close(model.encode(x), model.encode(x, layer="pool3"))


@torch.no_grad()
def test_layers_are_those_of_the_network(x):
    rebuilt = build(SAMBAReconstructor)
    model = build()
    model.trunk.load_state_dict(rebuilt.trunk.state_dict())
    stages = rebuilt(x, return_features=True)
    for layer in ("input_embedding", "encoder1", "pool3", "mediator"):
        torch.testing.assert_close(model.encode(x, layer=layer), stages[layer])
    trunk = model.trunk(x)
    for layer in ("encoder2", "encoder3"):
        torch.testing.assert_close(model.encode(x, layer=layer), getattr(trunk, layer))
    mixed = torch.matmul(trunk.weights, trunk.signals)
    torch.testing.assert_close(model.encode(x, layer="spatial"), mixed)
    halved = torch.nn.functional.max_pool1d(trunk.encoder1, 2)
    torch.testing.assert_close(model.encode(x, layer="pool1"), halved)


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("readout", ["coordinate", "electrode"])
def test_linear_layers_joined_or_one_by_one_are_the_same(x, masked, readout):
    """Positions for all windows let layers be joined, positions for each do not."""
    model = build(SAMBAReconstructor, readout=readout)
    pos = model.trunk.positions.default
    present = torch.ones(pos.shape[0], dtype=torch.bool)
    present[0] = not masked
    joined = model(x, pos, present)
    each = model(x, pos.expand(len(x), -1, -1), present.expand(len(x), -1))
    torch.testing.assert_close(joined, each, rtol=1e-4, atol=1e-5)
    weight = torch.randn_like(joined)
    parameters = [p for p in model.parameters() if p.requires_grad]
    first, second = (
        torch.autograd.grad((output * weight).sum(), parameters, allow_unused=True)
        for output in (joined, each)
    )
    # some gradients are zero but for rounding, such as those of a softmax's bias
    largest = max(float(b.abs().max()) for b in second if b is not None)
    for a, b in zip(first, second, strict=True):
        assert (a is None) == (b is None)
        if a is not None:
            torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-5 * largest)


def test_unknown_layer_is_refused(model, x):
    with pytest.raises(ValueError, match="'pool4' is unknown.*pool3"):
        model.encode(x, layer="pool4")


@torch.no_grad()
def test_nine_statistics_are_the_published_ones(model, x):
    z = model.encode(x)
    found = nine_statistics(z).numpy()
    z = z.numpy()
    moments = [z.min(-1), z.max(-1), z.mean(-1), z.std(-1, ddof=1)]
    quantiles = np.quantile(z, [0.05, 0.25, 0.5, 0.75, 0.95], axis=-1)
    wanted = np.concatenate([*moments, quantiles.transpose(1, 2, 0).reshape(2, -1)], 1)
    np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-5)
    with pytest.raises(ValueError, match="16 samples"):
        nine_statistics(model.encode(x[..., :15]))
    assert nine_statistics(model.encode(x[..., :16])).isfinite().all()


# features and heads


@torch.no_grad()
def test_features_are_what_the_last_layer_reads(model, x):
    result = model(x, return_features=True)
    assert set(result) == {"features", "cls_token"}
    assert result["cls_token"] is None
    assert result["features"].shape == (2, model.final_layer.in_features)
    torch.testing.assert_close(model.final_layer(result["features"]), model(x))


@pytest.mark.parametrize("head", ["power", "variance"])
@pytest.mark.parametrize("activation", [torch.nn.ELU, torch.nn.GELU])
def test_head_can_be_chosen(x, head, activation):
    model = build(head=head, activation=activation, drop_prob=0.2)
    assert any(isinstance(module, activation) for module in model.modules())
    assert [m.p for m in model.modules() if isinstance(m, torch.nn.Dropout)] == [0.2]
    assert model(x).shape == (2, 3)


@pytest.fixture(scope="module")
def band_power():
    return BandPower(torch.tensor(target_positions(), dtype=torch.float32), 128.0)


def rhythm_at(target, frequency, amplitude=3.0):
    """Noise at all targets and a rhythm at one, (1, 94, 512)."""
    x = torch.randn(1, 94, 512, generator=torch.Generator().manual_seed(0))
    tone = torch.sin(2 * torch.pi * frequency * torch.arange(512) / 128)
    x[0, target_names().index(target)] += amplitude * tone
    return x


@pytest.mark.parametrize(
    ("frequency", "band", "other"), [(10.0, 0, 1), (20.0, 1, 0)], ids=["mu", "beta"]
)
@pytest.mark.parametrize("target", ["C3", "O1", "Fp2"])
@torch.no_grad()
def test_head_reads_rhythms_in_their_place_and_band(
    band_power, target, frequency, band, other
):
    row = target_names().index(target)
    silent = band_power(rhythm_at(target, frequency, 0.0), torch.eye(94)).view(94, 2)
    found = band_power(rhythm_at(target, frequency), torch.eye(94)).view(94, 2)
    assert found[:, band].argmax() == row
    assert (found - silent)[row, band] > 2
    assert (found - silent)[row, other].abs() < 0.5


@torch.no_grad()
def test_head_measures_power_in_log_units(band_power):
    x = torch.zeros(1, 94, 4096)
    x[0, 40] = torch.sin(2 * torch.pi * 10 * torch.arange(4096) / 128)
    own = 1 - band_power.around[40, 40]
    wanted = torch.log(own**2 / 2)
    # the filter, half a second long, passes 91 % of the middle of its band
    assert abs(band_power(x, torch.eye(94)).view(94, 2)[40, 0] - wanted) < 0.25


@pytest.mark.parametrize("surround", [0.0, 0.5])
def test_surround_is_where_the_strength_of_the_subtraction_starts(surround):
    model = SAMBA(
        n_outputs=2, chs_info=chs_info_from_names(["C3", "Cz", "C4"]), surround=surround
    )

    assert model.head.band_power.strength.item() == surround
    assert model.get_config()["surround"] == surround


def test_a_surround_that_is_no_number_is_refused():
    with pytest.raises(ValueError, match="surround=nan"):
        SAMBA(n_outputs=2, chs_info=chs_info_from_names(["C3"]), surround=float("nan"))


@torch.no_grad()
def test_head_ignores_what_all_targets_share(band_power):
    x = rhythm_at("Cz", 10.0)
    shared = 5 * torch.sin(2 * torch.pi * 11 * torch.arange(512) / 128)
    alone, mixed = (band_power(z, torch.eye(94)) for z in (x, x + shared))
    torch.testing.assert_close(mixed, alone, rtol=0, atol=1e-3)


@torch.no_grad()
@pytest.mark.parametrize("each_window", [False, True])
def test_head_filters_electrodes_as_if_it_filtered_targets(band_power, each_window):
    x = torch.randn(2, 5, 700, generator=torch.Generator().manual_seed(1))
    x = x + 30 * torch.randn(2, 1, 700)  # the reference
    shape = (2, 94, 5) if each_window else (94, 5)
    mixing = torch.randn(shape, generator=torch.Generator().manual_seed(2)).softmax(-1)
    targets = mixing.double() @ x.double()
    targets = targets - band_power.strength * band_power.around.double() @ targets
    rhythms = torch.nn.functional.conv1d(
        targets.flatten(0, 1).unsqueeze(1), band_power.filters.double(), padding=32
    )
    wanted = torch.log(rhythms.square().mean(-1) + 1e-4).view(2, -1).float()
    torch.testing.assert_close(band_power(x, mixing), wanted, rtol=1e-5, atol=1e-5)


@torch.no_grad()
def test_new_head_has_new_outputs_on_the_same_features(x):
    model = build()
    before = model(x, return_features=True)["features"]
    model.reset_head(7)
    assert model.n_outputs == 7
    assert model(x).shape == (2, 7)
    assert model.get_config()["n_outputs"] == 7
    torch.testing.assert_close(model(x, return_features=True)["features"], before)
    assert list(dict(model.named_children()))[-1] == "final_layer"


def test_new_head_stays_in_its_dtype(x):
    model = build().double()
    model.reset_head(2)
    assert model(x.double()).dtype == torch.float64


# recordings


@torch.no_grad()
def test_scale_of_a_recording_is_set_from_outside(x):
    model = build(scale="recording")
    with pytest.raises(ValueError, match="set_recording_scale"):
        model(x)
    model.trunk.signal.set_recording_scale(1e-5)
    volts = model(x)
    assert (model(2 * x) - volts).abs().max() > 1e-3
    model.trunk.signal.set_recording_scale(10.0)
    torch.testing.assert_close(model(x * 1e6), volts, rtol=0, atol=1e-4)


def test_scale_of_a_recording_is_part_of_the_state(x):
    model = build(scale="recording")
    model.trunk.signal.set_recording_scale(1e-5)
    other = build(scale="recording")
    other.load_state_dict(model.state_dict())
    assert torch.equal(other(x), model(x))


# the object


@pytest.mark.parametrize("kind", MODELS)
@torch.no_grad()
def test_config_round_trip(kind, x):
    options = {
        "sfreq": 250.0,
        "n_times": 200,
        "spatial_init": "published",
        "scale": "channel",
        "d_state": 8,
        "expand": 4,
        "coordinate_frame": "colin27_mri",
    }
    if kind is SAMBA:
        options |= {"head": "variance", "activation": torch.nn.GELU, "drop_prob": 0.1}
    model = build(kind, **options)
    config = model.get_config()
    for name, value in options.items():
        if name != "activation":
            assert config[name] == value
    other = kind.from_config(config).eval()
    other.load_state_dict(model.state_dict())
    assert torch.equal(other(x), model(x))
    assert other.get_config() == config


@torch.no_grad()
def test_targets_survive_the_config(x):
    targets = positions_from_names(["C3", "Cz", "C4", "Oz"]).tolist()
    model = build(target_positions=targets)
    assert model.spatial_weights().shape == (4, 9)
    other = SAMBA.from_config(model.get_config()).eval()
    other.load_state_dict(model.state_dict())
    assert torch.equal(other(x), model(x))


@pytest.mark.parametrize("kind", MODELS)
@pytest.mark.parametrize(
    "copied",
    [copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model))],
    ids=["deepcopy", "pickle"],
)
@torch.no_grad()
def test_copy_gives_the_same(kind, copied, x):
    model = build(kind, sfreq=250)
    other = copied(model)
    assert torch.equal(other(x), model(x))
    assert other.get_config() == model.get_config()


@torch.no_grad()
def test_state_fits_a_model_of_another_montage(x, make_eeg):
    model = build()
    other = build(names=["C3", "Cz", "C4"])
    other.load_state_dict(model.state_dict())
    torch.testing.assert_close(other(x, pos=positions()), model(x), rtol=0, atol=1e-6)
    assert other(make_eeg(1, 3, 100)).shape == (1, 3)


@pytest.mark.parametrize("sfreq", [None, 128, 160])
@pytest.mark.parametrize("kind", MODELS)
def test_state_fits_a_model_at_another_rate(kind, sfreq):
    model, other = build(kind, sfreq=250), build(kind, sfreq=sfreq)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.01)
    other.load_state_dict(model.state_dict())
    found = dict(other.named_parameters())
    for name, parameter in model.named_parameters():
        assert torch.equal(found[name], parameter), name


@torch.no_grad()
def test_autocast_stays_near_float32(model, x):
    with torch.autocast("cpu", torch.bfloat16):
        features = model(x, return_features=True)["features"]
    wanted = model(x, return_features=True)["features"]
    assert (features - wanted).norm() < 0.02 * wanted.norm()


@torch.no_grad()
def test_evaluation_is_deterministic_and_draws_nothing(model, x):
    before = torch.random.get_rng_state()
    assert torch.equal(model(x), model(x))
    assert torch.equal(torch.random.get_rng_state(), before)
    training = build().train()
    assert not torch.equal(training(x), training(x))  # dropout


def test_input_stays_as_it_is(model, x):
    before, pos = x.clone(), positions()
    mask = torch.tensor([True] * 8 + [False])
    model(x, pos, mask)
    assert torch.equal(x, before)
    assert torch.equal(pos, positions())


@pytest.mark.parametrize("kind", MODELS)
def test_silence_gives_finite_output_and_gradients(kind):
    model = build(kind)
    for x in (torch.zeros(2, 9, 100), torch.full((2, 9, 100), 3e-5)):
        model.zero_grad()
        output = model(x)
        assert torch.isfinite(output).all()
        output.square().sum().backward()
        for name, parameter in model.named_parameters():
            if parameter.grad is not None:
                assert torch.isfinite(parameter.grad).all(), name


@given(exponent=st.floats(-12, 12))
@settings(max_examples=8)
@torch.no_grad()
def test_any_amplitude_gives_finite_output(model, exponent):
    x = torch.randn(1, 9, 64, generator=torch.Generator().manual_seed(0))
    found = model(x * 10**exponent)
    torch.testing.assert_close(found, model(x), rtol=0, atol=1e-3)


@pytest.mark.parametrize("kind", MODELS)
def test_double_precision(kind, x):
    single, double = build(kind), build(kind).double()
    output = double(x.double())
    assert output.dtype == torch.float64
    torch.testing.assert_close(output.float(), single(x), rtol=1e-3, atol=1e-4)
    # float64 windows are taken to the dtype of the model
    torch.testing.assert_close(single(x.double()), single(x))


@pytest.mark.parametrize("kind", MODELS)
def test_every_parameter_learns(kind, x):
    """All but the three norms that the published network has and never applies."""
    model = build(kind)
    with torch.no_grad():  # away from the start, where the spatial networks are zero
        for parameter in model.parameters():
            parameter.add_(0.01 * torch.randn_like(parameter))
    model(x).square().sum().backward()
    for name, parameter in model.named_parameters():
        if name.endswith(("mamba1.norm.weight", "mamba2.norm.weight")) or (
            name.endswith("mamba3.norm.weight")
        ):
            assert not parameter.requires_grad
        elif not name.endswith("net.2.bias"):  # cancels in the softmax
            assert parameter.grad.abs().sum() > 0, name


@pytest.mark.parametrize("kind", MODELS)
@pytest.mark.parametrize(
    "signal", [{}, {"n_chans": 5}, {"n_chans": 5, "n_times": 100, "sfreq": 250.0}]
)
def test_model_without_positions_prints(kind, signal):
    model = build(kind, names=None, **signal)
    assert "trunk" in str(model) or "Trunk" in str(model)
    assert model.trunk.positions.default is None


def test_output_shape_is_known_without_positions():
    model = build(names=None, n_chans=5, n_times=100)
    assert model.get_output_shape() == (1, 3)
    model = build(SAMBAReconstructor, names=None, n_chans=5, n_times=100)
    assert model.get_output_shape() == (1, 5, 100)
    with pytest.raises(ValueError, match="pos"):
        model(torch.randn(1, 5, 100))


def test_signal_arguments_come_first_and_by_name():
    signal = ["n_outputs", "n_chans", "chs_info", "n_times"]
    signal += ["input_window_seconds", "sfreq"]
    for kind in MODELS:
        parameters = list(inspect.signature(kind).parameters.values())
        assert [p.name for p in parameters[:6]] == signal
        assert all(p.kind is p.KEYWORD_ONLY for p in parameters[6:])
        assert all(p.default is not p.empty for p in parameters)


def test_forward_names_what_braindecode_hands_over():
    for kind in MODELS:
        names = list(inspect.signature(kind.forward).parameters)
        assert names == ["self", "x", "pos", "ch_mask", "return_features"]


# braindecode


@pytest.fixture(scope="module")
def epochs():
    """Twelve trials in volts on a template cap, with a 10 Hz rhythm in one class."""
    rng = np.random.default_rng(0)
    y = np.arange(12) % 2
    data = rng.standard_normal((12, 9, 160))
    rhythm = np.sin(2 * np.pi * 10 * np.arange(160) / 160)
    data[:, NAMES.index("O1")] += 4 * y[:, None] * rhythm
    info = mne.create_info(NAMES, 160.0, "eeg").set_montage("colin27_1005")
    return mne.EpochsArray(data * 1e-5, info, verbose="error"), y


def test_braindecode_knows_the_model_by_name():
    assert models_dict["SAMBA"] is SAMBA


@pytest.mark.filterwarnings("ignore::UserWarning:skorch")
def test_classifier_fits_epochs_by_name(epochs):
    X, y = epochs
    classifier = EEGClassifier(
        "SAMBA", max_epochs=2, batch_size=4, train_split=None, verbose=0, classes=[0, 1]
    )
    classifier.fit(X, y)
    module = classifier.module_
    assert isinstance(module, SAMBA)
    assert (module.n_chans, module.n_outputs, module.n_times) == (9, 2, 160)
    assert module.sfreq == 160
    assert module.trunk.positions.default is not None
    probabilities = classifier.predict_proba(X)
    assert probabilities.shape == (12, 2)
    assert np.isfinite(probabilities).all()
    assert len(classifier.history) == 2


@pytest.mark.filterwarnings("ignore::UserWarning:skorch")
def test_classifier_fits_dictionaries_with_positions_and_masks(epochs):
    X, y = epochs
    rng = np.random.default_rng(0)
    mask = rng.random((12, 9)) > 0.3
    batch = {
        "x": X.get_data(copy=True).astype(np.float32),
        "pos": np.repeat(positions().numpy()[None], 12, 0),
        "ch_mask": mask,
    }
    classifier = EEGClassifier(
        SAMBA,
        module__n_outputs=2,
        module__sfreq=160.0,
        max_epochs=1,
        batch_size=4,
        train_split=None,
        verbose=0,
        classes=[0, 1],
    )
    classifier.fit(batch, y)
    assert np.isfinite(classifier.predict_proba(batch)).all()


def test_construction_and_forward_do_not_warn(recwarn, x):
    model = build(chs_info=mne_chs(NAMES), sfreq=250.0)
    model(x)
    str(model)
    assert [str(w.message) for w in recwarn] == []
