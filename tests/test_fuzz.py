"""Whatever comes in, every public entry gives finite numbers or one of our errors.

Random but possible arguments are thrown at whole entries, and the numbers that they get
are the worst that float32 can hold.  What each error has to say is tested where the
entry is; names, tables of montages and files of weights have fuzz of their own in
`test_montages` and `test_checkpoints`.
"""

import threading

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from braindecode_samba import (
    SAMBA,
    RecordingAligner,
    SAMBAClassifier,
    SAMBAFeatures,
    SAMBAReconstructor,
    SAMBARegressor,
    SAMBAStream,
    chs_info_from_names,
    positions_from_names,
)
from braindecode_samba.pretraining import (
    Masking,
    TimeFrequencyLoss,
    block_mask,
    random_mask,
    region_mask,
    temporal_semantic_mask,
)
from braindecode_samba.signals import mirror_windows

OURS = (ValueError, TypeError)
SMALL = {"d_state": 4, "expand": 2}
NAMES = ("C3", "Cz", "C4")
CHS_INFO = chs_info_from_names(NAMES)
MODELS = {
    "classifier": SAMBA(2, chs_info=CHS_INFO, sfreq=128, **SMALL).eval(),
    "reconstructor": SAMBAReconstructor(chs_info=CHS_INFO, sfreq=128, **SMALL).eval(),
    "resampling": SAMBA(2, chs_info=CHS_INFO, sfreq=250, **SMALL).eval(),
    "variance": SAMBA(2, chs_info=CHS_INFO, head="variance", **SMALL).eval(),
    "readings": SAMBA(2, chs_info=CHS_INFO, head="readings", **SMALL).eval(),
    "each channel": SAMBA(2, chs_info=CHS_INFO, scale="channel", **SMALL).eval(),
}


@st.composite
def windows(draw, n_chans=(3, 3), n_times=(16, 80)):
    """Draw windows (n, channels, times): noise with the worst that amplifiers do."""
    shape = tuple(draw(st.integers(*ends)) for ends in ((1, 3), n_chans, n_times))
    rng = np.random.default_rng(draw(st.integers(0, 2**16)))
    x = rng.standard_normal(shape)
    for channel in range(shape[1]):
        fault = draw(
            st.sampled_from(["none", "flat", "rail", "spike", "step", "offset"])
        )
        part = x[:, channel]
        if fault == "flat":
            part[:] = draw(st.sampled_from([0.0, 1.0, -3e4]))
        elif fault == "rail":
            part[:] = np.clip(part * 100, -1, 1)
        elif fault == "spike":
            part[:, rng.integers(shape[2])] = 1e6
        elif fault == "step":
            part[:, shape[2] // 2 :] += 1e4
        elif fault == "offset":
            part += 1e5
    exponent = draw(st.floats(-12, 12))
    # numbers beyond float32 are no float32 amplitudes
    x = x / max(1.0, np.abs(x).max()) * 10.0**exponent
    return x.astype(np.float32)


@pytest.mark.parametrize("model", MODELS.values(), ids=MODELS)
@settings(max_examples=60)
@given(x=windows())
@torch.no_grad()
def test_models_turn_finite_windows_into_finite_numbers(model, x):
    assert torch.isfinite(model(torch.from_numpy(x))).all()


@settings(max_examples=20)
@given(x=windows(n_times=(16, 60)))
def test_gradients_of_finite_windows_are_finite(x):
    model = SAMBA(2, chs_info=CHS_INFO, drop_prob=0, **SMALL)
    model(torch.from_numpy(x)).square().sum().backward()
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            assert torch.isfinite(parameter.grad).all(), name


@settings(max_examples=80)
@given(
    shape=st.lists(st.integers(0, 12), min_size=1, max_size=4),
    dtype=st.sampled_from(
        [torch.float32, torch.float64, torch.int64, torch.bool, torch.complex64]
    ),
    pos_shape=st.none() | st.lists(st.integers(0, 4), min_size=1, max_size=3),
    mask_shape=st.none() | st.lists(st.integers(0, 4), min_size=1, max_size=3),
    kind=st.sampled_from(sorted(MODELS)),
)
@torch.no_grad()
def test_any_tensors_give_numbers_or_our_errors(
    shape, dtype, pos_shape, mask_shape, kind
):
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(shape, generator=generator).to(dtype)
    pos = None if pos_shape is None else torch.rand(pos_shape, generator=generator) / 9
    mask = None if mask_shape is None else torch.rand(mask_shape) > 0.3
    try:
        y = MODELS[kind](x, pos, mask)
    except OURS:
        return
    assert torch.isfinite(y).all()


@settings(max_examples=40)
@given(
    options=st.fixed_dictionaries(
        {},
        optional={
            "model_sfreq": st.sampled_from([0, -1, 64, 100.0, 128, float("nan"), "x"]),
            "sfreq": st.sampled_from([0, -5, 127.3, 128, 5000, float("inf")]),
            "scale": st.sampled_from(["window", "channel", None, "volts", 3]),
            "spatial_init": st.sampled_from(["distance", "published", "", None]),
            "head": st.sampled_from(["power", "variance", "linear", None]),
            "d_state": st.integers(-1, 4),
            "d_conv": st.integers(-1, 4),
            "expand": st.integers(-1, 3),
            "coordinate_frame": st.sampled_from(["head", "colin27_mri", "mri"]),
            "drop_prob": st.sampled_from([-1.0, 0.0, 0.5, 2.0]),
            "target_positions": st.sampled_from(
                [[[0, 0, 0.1]], [], [[0, 0]], [[float("nan")] * 3], [[0, 0, 90]]]
            ),
        },
    )
)
@torch.no_grad()
def test_any_options_make_a_model_that_works_or_our_errors(options):
    try:
        model = SAMBA(2, chs_info=CHS_INFO, **SMALL | options).eval()
    except OURS:
        return
    x = torch.randn(1, 3, 1600, generator=torch.Generator().manual_seed(0))
    assert torch.isfinite(model(x)).all()


@pytest.mark.parametrize("kind", [SAMBAClassifier, SAMBARegressor, SAMBAFeatures])
@settings(max_examples=8, suppress_health_check=[HealthCheck.too_slow])
@given(x=windows(n_chans=(1, 3), n_times=(1, 50)))
def test_estimators_give_finite_numbers_or_our_errors(kind, x):
    quick = {} if kind is SAMBAFeatures else {"max_epochs": 1}
    estimator = kind(
        ch_names=NAMES[: x.shape[1]],
        sfreq=128,
        model_params=SMALL,
        device="cpu",
        random_state=0,
        **quick,
    )
    x = np.concatenate([x, x + 1])
    y = np.arange(len(x)) % 2
    try:
        fitted = estimator.fit(x, y)
    except OURS:
        return
    found = fitted.transform(x) if kind is SAMBAFeatures else fitted.predict(x)
    assert np.isfinite(found).all()


@settings(max_examples=15)
@given(x=windows(n_times=(64, 200)), data=st.data())
def test_streams_take_any_pieces(x, data):
    stream = SAMBAStream(MODELS["classifier"], hop_seconds=0.25, window_seconds=0.5)
    signal, start, found = x[0], 0, []
    while start < signal.shape[1]:
        step = data.draw(st.integers(1, 90))
        found += list(stream.push(signal[:, start : start + step]))
        start += step
    assert len(found) == (signal.shape[1] - 64) // 32 + 1
    assert all(np.isfinite(prediction.output).all() for prediction in found)


@pytest.mark.parametrize("function", [temporal_semantic_mask, random_mask, block_mask])
@settings(max_examples=60)
@given(
    batch=st.integers(0, 3),
    n_times=st.integers(-1, 60),
    ratio=st.floats(-0.5, 1.5) | st.just(float("nan")),
)
def test_masks_hide_and_show_something_or_refuse(function, batch, n_times, ratio):
    generator = torch.Generator().manual_seed(0)
    try:
        mask = function(batch, n_times, ratio=ratio, generator=generator)
    except OURS:
        return
    assert mask.dtype == torch.bool
    assert mask.shape == (batch, n_times)
    assert mask.any(1).all()
    assert not mask.all(1).any()


@settings(max_examples=60)
@given(
    n_channels=st.integers(1, 6),
    n_times=st.integers(0, 60),
    ratio=st.floats(-0.1, 1.1),
    radius=st.floats(-0.1, 0.5),
    span=st.integers(-1, 80),
)
def test_regions_hide_and_show_something_or_refuse(
    n_channels, n_times, ratio, radius, span
):
    generator = torch.Generator().manual_seed(0)
    positions = torch.rand(2, n_channels, 3, generator=generator) * 0.1
    options = {"ratio": ratio, "radius": radius, "span": span}
    try:
        mask = region_mask(positions, n_times, **options, generator=generator)
    except OURS:
        return
    assert mask.shape == (2, n_channels, n_times)
    assert mask.flatten(1).any(1).all()
    assert not mask.flatten(1).all(1).any()


@settings(max_examples=30)
@given(x=windows(), norm=st.sampled_from(["ortho", "backward"]))
def test_losses_of_finite_windows_are_finite(x, norm):
    # what is compared is scaled: of the size of one robust deviation, or a rail
    scaled = torch.from_numpy(x / max(np.abs(x).max(), 1e-30))
    loss = TimeFrequencyLoss(norm=norm)
    assert torch.isfinite(loss(scaled, torch.zeros_like(scaled)))


@settings(max_examples=40)
@given(x=windows(n_times=(8, 60)))
def test_alignment_gives_finite_windows_or_our_errors(x):
    try:
        aligned = RecordingAligner().fit_transform(x, groups=np.zeros(len(x), int))
    except OURS:
        return
    assert np.isfinite(aligned).all()


@settings(max_examples=30)
@given(x=windows())
def test_mirrored_windows_are_finite(x):
    positions = positions_from_names(NAMES)
    mirrored, labels = mirror_windows(
        x, np.zeros(len(x), int), positions, {0: 1, 1: 0}, random_state=0
    )
    assert np.isfinite(mirrored).all()
    assert set(labels) <= {0, 1}


@pytest.mark.parametrize("kind", ["tsr", "random", "blocks", "regions", "x", None])
@pytest.mark.parametrize("ratio", [0.0, 0.5, 1.0, float("nan"), "half"])
def test_settings_of_masks_are_taken_or_refused(kind, ratio):
    if kind in ("x", None) or ratio != 0.5:
        with pytest.raises(OURS):
            Masking(kind=kind, ratio=ratio)
    else:
        assert Masking(kind=kind, ratio=ratio).ratio == 0.5


def test_one_seed_gives_one_model():
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((12, 3, 64)), np.arange(12) % 2
    found = [
        SAMBAClassifier(
            ch_names=NAMES,
            sfreq=128,
            checkpoint=None,
            max_epochs=2,
            model_params=SMALL,
            random_state=3,
        )
        .fit(x, y)
        .predict_proba(x)
        for _ in range(2)
    ]
    np.testing.assert_array_equal(*found)


def test_threads_may_share_a_fitted_decoder():
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((24, 3, 64)), np.arange(24) % 2
    decoder = SAMBAClassifier(
        ch_names=NAMES, sfreq=128, checkpoint=None, model_params=SMALL, random_state=0
    )
    decoder.fit(x, y, groups=y).adapt(x)
    wanted = decoder.predict_proba(x)
    parts = np.array_split(np.arange(24), 8)
    found = [None] * 8

    def predict(i):
        for _ in range(5):
            found[i] = decoder.predict_proba(x[parts[i]])

    together = [threading.Thread(target=predict, args=(i,)) for i in range(8)]
    for thread in together:
        thread.start()
    for thread in together:
        thread.join()
    np.testing.assert_allclose(np.concatenate(found), wanted, atol=1e-6)
