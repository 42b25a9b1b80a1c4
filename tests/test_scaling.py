"""Promises of `braindecode_samba.nn.scaling`: any unit, offset, amplitude and rate."""

import math
import warnings

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from braindecode_samba import SAMBA
from braindecode_samba.nn import (
    SignalInput,
    min_times,
    rate_ratio,
    recording_scale,
    robust_scale,
)
from braindecode_samba.nn.scaling import MIN_TIMES, MODEL_SFREQ
from braindecode_samba.nn.trunk import LAYERS

RATES = (100, 128, 160, 200, 250, 256, 500, 512, 1000, 1024, 2000, 166.67, 1e3 / 3)


@pytest.fixture(scope="module")
def windows(make_eeg):
    """Windows in volts, (4, 5, 200), with offsets and some anisotropy."""
    gains = torch.tensor([0.5, 1.0, 2.0, 1.5, 0.8])
    return make_eeg(4, 5, 200) * gains[:, None]


def tones(sfreq, n_chans=9, seconds=3.0, seed=0):
    """The same mixture of tones below 45 Hz, sampled at any rate; (2, chans, times)."""
    rng = np.random.default_rng(seed)
    times = np.arange(round(seconds * sfreq)) / sfreq
    frequency = rng.uniform(1, 45, (2, n_chans, 12, 1))
    phase = rng.uniform(0, 2 * np.pi, frequency.shape)
    amplitude = 1 / np.sqrt(frequency)
    signals = amplitude * np.sin(2 * np.pi * frequency * times + phase)
    return torch.tensor(signals.sum(2) * 1e-5, dtype=torch.float32)


def numpy_scale(window):
    """Scale of one window as it is defined: over the channels that move."""
    moving = window[window.max(-1) > window.min(-1)]
    low, high = np.quantile(moving, [0.25, 0.75], axis=-1)
    return np.median((high - low) / 1.349)


# unit, offset, amplitude


@pytest.mark.parametrize("scale", ["window", "channel"])
@pytest.mark.parametrize("sfreq", [None, 250])
def test_volts_equal_microvolts(windows, scale, sfreq):
    signal = SignalInput(sfreq, scale=scale)
    volts, microvolts = signal(windows), signal(windows * 1e6)
    torch.testing.assert_close(microvolts, volts, rtol=1e-4, atol=1e-4)
    assert 0.5 < volts.abs().median() < 1


@pytest.mark.parametrize("scale", ["window", "channel"])
@pytest.mark.parametrize("sfreq", [None, 250])
def test_offsets_change_nothing(windows, scale, sfreq):
    signal = SignalInput(sfreq, scale=scale)
    offsets = torch.tensor([-3e-4, 2e-3, 0.0, 1e-3, -1e-3])[:, None]
    torch.testing.assert_close(
        signal(windows + offsets), signal(windows), rtol=1e-3, atol=1e-3
    )


def test_channels_are_centred_on_their_median(windows):
    # odd: the median is a sample
    medians = SignalInput()(windows[..., :199]).median(-1).values
    torch.testing.assert_close(medians, torch.zeros(4, 5))


@pytest.mark.parametrize("scale", ["window", "channel"])
@given(exponent=st.floats(-12, 12), seed=st.integers(0, 9))
def test_any_amplitude_gives_the_same(scale, exponent, seed):
    x = torch.randn(2, 3, 40, generator=torch.Generator().manual_seed(seed))
    signal = SignalInput(scale=scale)
    found = signal(x * 10**exponent)
    torch.testing.assert_close(found, signal(x), rtol=1e-4, atol=1e-5)


@given(
    exponents=st.lists(st.floats(-12, 12), min_size=4, max_size=4),
    flat=st.lists(st.booleans(), min_size=4, max_size=4),
    scale=st.sampled_from(["window", "channel"]),
)
def test_channels_of_any_amplitudes_stay_finite(exponents, flat, scale):
    x = torch.randn(1, 4, 40, generator=torch.Generator().manual_seed(0))
    x = x.masked_fill(torch.tensor(flat)[:, None], 1.0)
    x = x * 10 ** torch.tensor(exponents)[:, None]
    y = SignalInput(scale=scale)(x)
    assert torch.isfinite(y).all()
    assert (y.abs() <= 100).all()
    assert (y[0, torch.tensor(flat)] == 0).all()


def test_topography_stays_with_one_scale_a_window(windows):
    centred = windows - windows.median(-1, keepdim=True).values
    ratio = SignalInput(scale="window")(windows).std(-1) / centred.std(-1)
    torch.testing.assert_close(ratio / ratio[:, :1], torch.ones(4, 5))


def test_scale_of_a_channel_evens_channels_out(windows):
    y = SignalInput(scale="channel")(windows)
    each = robust_scale(y.flatten(0, 1).unsqueeze(1))
    torch.testing.assert_close(each, torch.ones(20, 1, 1))


def test_windows_of_a_batch_do_not_mix(windows):
    signal = SignalInput(250)
    x = windows * torch.tensor([1.0, 100.0, 1e-4, 1e6])[:, None, None]
    single = torch.cat([signal(window) for window in x.split(1)])
    assert torch.equal(signal(x), single)


def test_railed_electrode_is_limited_and_spares_the_others(windows):
    railed = windows.clone()
    railed[:, 2, 50:] = 1e3
    signal = SignalInput()
    y = signal(railed)
    assert y.abs().max() == 100
    others = [0, 1, 3, 4]
    # the median over channels moves a little, by one channel's rank
    ratio = y[:, others] / signal(windows)[:, others]
    assert ratio.nanmedian() == pytest.approx(1, abs=0.3)


# flat channels


@pytest.mark.parametrize("scale", ["window", "channel"])
@pytest.mark.parametrize("sfreq", [None, 250])
def test_flat_channels_give_zeros_and_spare_the_others(windows, scale, sfreq):
    x = windows.clone()
    x[:, 1] = 0
    x[:, 3] = 7e-5
    signal = SignalInput(sfreq, scale=scale)
    y = signal(x)
    assert (y[:, [1, 3]] == 0).all()
    torch.testing.assert_close(y[:, [0, 2, 4]], signal(windows[:, [0, 2, 4]]))


@pytest.mark.parametrize("scale", ["window", "channel"])
@pytest.mark.parametrize("value", [0.0, -3e-5, 1e6])
@pytest.mark.parametrize("sfreq", [None, 250])
def test_flat_window_gives_zeros(scale, value, sfreq):
    x = torch.full((2, 3, 100), value).requires_grad_()
    y = SignalInput(sfreq, scale=scale)(x)
    assert (y == 0).all()
    y.sum().backward()
    assert torch.isfinite(x.grad).all()


def test_channels_that_seldom_move_are_measured_by_mean_deviation():
    x = torch.zeros(1, 3, 100)
    x[:, :, ::10] = torch.tensor([1.0, 2.0, 4.0])[:, None] * 1e-5
    wanted = 2e-5 * 0.1 * math.sqrt(math.pi / 2)
    assert robust_scale(x).item() == pytest.approx(wanted, rel=1e-3)
    y = SignalInput()(x)
    assert torch.isfinite(y).all()
    torch.testing.assert_close(y[0, 1].max().item(), 2e-5 / wanted, rtol=1e-3, atol=0)


def test_single_step_is_measured():
    x = torch.zeros(1, 1, 100)
    x[..., 99] = 1e-9
    y = SignalInput()(x)
    assert torch.isfinite(y).all()
    assert y[0, 0, 99] > 1


# the scale


@given(n_chans=st.integers(1, 6), n_times=st.integers(2, 60), seed=st.integers(0, 99))
def test_robust_scale_equals_its_definition(n_chans, n_times, seed):
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((3, n_chans, n_times)) * rng.uniform(0.5, 2, (n_chans, 1))
    x[0, rng.random(n_chans) < 0.4] = rng.uniform(-2, 2)
    wanted = [1.0 if np.ptp(w, axis=-1).max() == 0 else numpy_scale(w) for w in x]
    found = robust_scale(torch.tensor(x))
    assert found.shape == (3, 1, 1)
    np.testing.assert_allclose(found.flatten(), wanted, rtol=1e-12)


def test_gaussian_noise_has_its_standard_deviation():
    x = 3e-5 * torch.randn(1, 20, 5000)
    assert robust_scale(x).item() == pytest.approx(3e-5, rel=0.02)


def test_scale_counts_present_channels_only(windows):
    mask = torch.tensor([[True, True, False, True, False]]).repeat(4, 1)
    mask[1] = torch.tensor([True, False, False, False, True])
    found = robust_scale(windows, mask)
    wanted = [robust_scale(windows[[i]][:, mask[i]]) for i in range(4)]
    torch.testing.assert_close(found, torch.cat(wanted))


def test_long_recordings_have_a_scale():
    # torch.quantile refuses more than 16 million values
    x = torch.randn(1, 17_000_000)
    assert recording_scale(x) == pytest.approx(1, rel=0.01)


def test_scale_of_a_recording_is_one_number(windows):
    assert recording_scale(windows[0]) == pytest.approx(numpy_scale(windows[0].numpy()))
    each = [numpy_scale(window) for window in windows[:3].numpy()]
    assert recording_scale(windows[:3]) == pytest.approx(np.median(each))


def test_recording_scale_takes_a_mask(windows):
    mask = torch.tensor([True, True, False, True, False]).expand(4, -1)
    wanted = recording_scale(windows[:, [0, 1, 3]])
    assert recording_scale(windows, mask) == pytest.approx(wanted)


# scale="recording" and None


@pytest.mark.parametrize("sfreq", [None, 250])
def test_recording_scale_keeps_amplitudes_between_windows(windows, sfreq):
    signal = SignalInput(sfreq, scale="recording")
    signal.set_recording_scale(2e-5)
    loud = torch.cat([windows, 3 * windows])
    y = signal(loud)
    torch.testing.assert_close(y[4:], 3 * y[:4], rtol=1e-4, atol=1e-4)
    reference = SignalInput(sfreq)(windows[:1])
    torch.testing.assert_close(y[:1] / y[0].std(), reference / reference.std())


def test_recording_scale_is_a_divisor(windows):
    signal = SignalInput(scale="recording")
    signal.set_recording_scale(2e-5)
    centred = windows[..., :199] - windows[..., :199].median(-1, keepdim=True).values
    torch.testing.assert_close(signal(windows[..., :199]), centred / 2e-5)


def test_recording_scale_must_be_set_first(windows):
    with pytest.raises(ValueError, match="set_recording_scale"):
        SignalInput(scale="recording")(windows)


def test_recording_scale_travels_with_the_state(windows):
    signal = SignalInput(scale="recording")
    signal.set_recording_scale(2e-5)
    other = SignalInput(scale="recording")
    other.load_state_dict(signal.state_dict())
    assert torch.equal(other(windows), signal(windows))


@pytest.mark.parametrize("value", [0.0, -1.0, math.nan, math.inf])
def test_impossible_recording_scale_is_refused(value):
    signal = SignalInput(scale="recording")
    with pytest.raises(ValueError, match="positive and finite"):
        signal.set_recording_scale(value)
    assert torch.isnan(signal.recording_scale)


def test_no_scale_leaves_signals_as_they_are(windows):
    assert torch.equal(SignalInput(scale=None)(windows), windows)


@pytest.mark.parametrize("scale", ["windows", "", "none"])
def test_unknown_scale_is_refused(scale):
    with pytest.raises(ValueError, match="is unknown"):
        SignalInput(scale=scale)


# masks


@pytest.mark.parametrize("scale", ["window", "channel", "recording", None])
@pytest.mark.parametrize("sfreq", [None, 250])
def test_masked_channel_equals_one_left_out(windows, scale, sfreq):
    signal = SignalInput(sfreq, scale=scale)
    signal.set_recording_scale(2e-5)
    present = torch.tensor([True, False, True, True, False])
    x = windows.clone()
    x[:, 1] = math.nan
    x[:, 4, 10:20] = math.inf
    wanted = signal(windows[:, present])
    for mask in (present, present.expand(4, -1)):
        leaf = x.clone().requires_grad_()
        y = signal(leaf, mask)
        torch.testing.assert_close(y[:, present], wanted, rtol=1e-6, atol=1e-6)
        assert (y[:, ~present] == 0).all()
        y.square().sum().backward()
        assert torch.isfinite(leaf.grad).all()
        assert (leaf.grad[:, ~present] == 0).all()


def test_input_stays_as_it_is(windows):
    mask = torch.tensor([True, False, True, True, False])
    x = windows.clone()
    SignalInput(250)(x, mask)
    assert torch.equal(x, windows)


# rates


@pytest.mark.parametrize("sfreq", RATES)
def test_usual_rates_are_met_exactly_enough(sfreq):
    assert abs(float(rate_ratio(sfreq, 128)) * sfreq - 128) < 0.128


@given(sfreq=st.floats(1, 2e5))
def test_rate_is_met_or_refused(sfreq):
    try:
        ratio = rate_ratio(sfreq, MODEL_SFREQ)
    except ValueError:
        refused = True
    else:
        refused = False
        assert ratio > 0
        assert ratio.denominator <= 1000
        assert abs(float(ratio) * sfreq - MODEL_SFREQ) <= 0.00101 * MODEL_SFREQ
    # only rates that no small integers could bring down
    assert not refused or sfreq > 1000 * MODEL_SFREQ


@pytest.mark.parametrize("sfreq", [0, -250, math.nan, math.inf])
def test_impossible_rate_is_refused(sfreq):
    with pytest.raises(ValueError, match="is not a sampling rate"):
        SignalInput(sfreq)


@pytest.mark.parametrize("sfreq", [128_200.0, 1e6])
def test_rate_off_by_more_than_a_thousandth_is_refused(sfreq):
    with pytest.raises(ValueError, match="can't be resampled to 128"):
        SignalInput(sfreq)


@pytest.mark.parametrize("frequency", [2, 10, 45])
@pytest.mark.parametrize("sfreq", [100, 128, 160, 200, 250, 1000, 1024])
def test_tones_keep_frequency_and_amplitude(sfreq, frequency):
    times = torch.arange(4 * sfreq).double() / sfreq
    x = torch.sin(2 * torch.pi * frequency * times).float()[None, None]
    y = SignalInput(sfreq, scale=None)(x)
    assert y.shape == (1, 1, 512)
    times = torch.arange(512).double() / 128
    wanted = torch.sin(2 * torch.pi * frequency * times).float()
    # zeros beyond the ends of a window reach half a second into it
    inside = slice(64, -64)
    torch.testing.assert_close(y[0, 0, inside], wanted[inside], rtol=0, atol=5e-3)


def test_content_that_the_rate_cannot_hold_is_removed():
    times = torch.arange(1000) / 250
    x = torch.sin(2 * torch.pi * 90 * times)[None, None]
    y = SignalInput(250, scale=None)(x)
    assert y[..., 64:-64].abs().max() < 0.01


@pytest.mark.parametrize("sfreq", [250, 160, 512, 1000])
def test_features_do_not_depend_on_the_rate(scalp_chs_info, sfreq):
    """Content below 45 Hz: the worst correlation measured is .9996 (1000 Hz)."""
    torch.manual_seed(0)
    model = SAMBA(n_outputs=2, chs_info=scalp_chs_info).eval()
    other = SAMBA(n_outputs=2, chs_info=scalp_chs_info, sfreq=sfreq).eval()
    other.load_state_dict(model.state_dict(), strict=False)
    at_128, at_rate = tones(128), tones(sfreq)
    found, wanted = {}, {}
    with torch.no_grad():
        for layer in LAYERS:
            wanted[layer] = model.encode(at_128, layer=layer)
            found[layer] = other.encode(at_rate, layer=layer)
        wanted["features"] = model(at_128, return_features=True)["features"]
        found["features"] = other(at_rate, return_features=True)["features"]
    for name, value in wanted.items():
        assert found[name].shape == value.shape, name
        pair = np.stack([value.flatten(), found[name].flatten()])
        assert np.corrcoef(pair)[0, 1] >= 0.99, name


# lengths


@pytest.mark.parametrize("sfreq", [None, *RATES])
def test_shortest_window_has_eight_samples_at_the_rate_of_the_model(sfreq):
    signal = SignalInput(sfreq)
    shortest = min_times(sfreq)
    y = signal(torch.randn(1, 2, shortest))
    assert y.shape[2] >= MIN_TIMES
    assert torch.isfinite(y).all()
    with pytest.raises(ValueError, match="at least 8"):
        signal(torch.randn(1, 2, shortest - 1))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("sfreq", [None, 250])
def test_dtype_is_kept(windows, dtype, sfreq):
    signal = SignalInput(sfreq).to(dtype)
    y = signal(windows.to(dtype))
    assert y.dtype == dtype
    torch.testing.assert_close(y.float(), SignalInput(sfreq)(windows))


# numpy sorts, where nothing is differentiated or recorded


def test_a_scale_passes_gradients_on(windows):
    x = windows[:1, :3, :12].double() * 1e5
    signal = SignalInput(None).double()
    torch.testing.assert_close(signal(x.clone().requires_grad_()), signal(x))
    assert torch.autograd.gradcheck(
        signal, x.requires_grad_(), check_forward_ad=True, atol=1e-6
    )


def test_a_traced_scale_measures_each_window_anew(windows):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of tracing, on shapes
        traced = torch.jit.trace(SignalInput(None), windows)
    other = windows.flip(-1) * 3 + windows.square()
    torch.testing.assert_close(traced(other), SignalInput(None)(other))


def test_sorting_keeps_not_a_number_and_odd_layouts(windows):
    x = windows.clone()
    x[0, 0, 3] = math.nan
    slowly = SignalInput(None)(x.clone().requires_grad_())
    torch.testing.assert_close(SignalInput(None)(x), slowly, equal_nan=True)
    assert torch.isnan(slowly[0, 0, 3])
    repeated = SignalInput(250)(windows[:1].expand(2, -1, -1))
    torch.testing.assert_close(repeated[1:], SignalInput(250)(windows[:1]))
    strided = windows.transpose(0, 2)[::2].transpose(0, 2)
    torch.testing.assert_close(
        SignalInput(None)(strided), SignalInput(None)(strided.contiguous())
    )
