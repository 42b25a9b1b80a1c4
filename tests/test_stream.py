"""A stream says what the model says of the same windows of the finished recording."""

import copy
import re
from pathlib import Path

import mne
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.signal import butter, sosfilt, sosfilt_zi
from torchaudio.transforms import Resample

from braindecode_samba import SAMBA, SAMBAClassifier, SAMBARegressor, SAMBAStream
from braindecode_samba.nn.scaling import rate_ratio

SMALL = {"d_state": 4, "expand": 2}
QUICK = {"checkpoint": None, "start": "random", "max_epochs": 1, "model_params": SMALL}


@pytest.fixture(scope="module")
def model(motor_chs_info):
    torch.manual_seed(0)
    return SAMBA(n_outputs=2, chs_info=motor_chs_info, sfreq=100, **SMALL).eval()


def offline(model, x, length, hop):
    starts = range(0, x.shape[1] - length + 1, hop)
    with torch.no_grad():
        windows = torch.stack([x[:, start : start + length] for start in starts])
        return [start + length for start in starts], model(windows).numpy()


@settings(max_examples=25, deadline=None)
@given(
    portions=st.lists(st.integers(0, 150), max_size=8),
    hop=st.sampled_from([10, 37, 100, 130]),
)
def test_any_portions_give_the_predictions_of_whole_windows(
    model, make_eeg, portions, hop
):
    n_times = sum(portions)
    x = make_eeg(1, 3, max(n_times, 100))[0]
    stream = SAMBAStream(model, window_seconds=1, hop_seconds=hop / 100)
    said, start = [], 0
    for n in portions:
        new = stream.push(x[:, start : start + n].numpy())
        start += n
        # nothing later than the sample that completes a window
        assert all(start - n < p.stop <= start for p in new)
        said += new
    if n_times < 100:
        assert said == []
        return
    stops, outputs = offline(model, x[:, :n_times], 100, hop)
    assert [p.stop for p in said] == stops
    assert [p.seconds for p in said] == [stop / 100 for stop in stops]
    np.testing.assert_allclose([p.output for p in said], outputs, rtol=1e-4, atol=1e-5)


def test_one_long_push_equals_many_short_ones(model, make_eeg):
    x = make_eeg(1, 3, 1234)[0]
    stream = SAMBAStream(model, window_seconds=1, hop_seconds=0.5)
    said = stream.push(x)
    stops, outputs = offline(model, x, 100, 50)
    assert [p.stop for p in said] == stops
    np.testing.assert_allclose([p.output for p in said], outputs, rtol=1e-4, atol=1e-5)


def test_reset_begins_anew(model, make_eeg):
    x = make_eeg(1, 3, 150)[0]
    stream = SAMBAStream(model, window_seconds=1)
    first = stream.push(x)
    stream.reset()
    assert stream.n_seen == 0
    again = stream.push(x)
    assert first[0].stop == again[0].stop
    np.testing.assert_array_equal(first[0].output, again[0].output)


NAMES = ["C3", "Cz", "C4", "Pz"]
LENGTH, RATE = 64, 128
GROUPS = np.repeat(["a", "b"], 8)


def epochs_of(x, names=NAMES, sfreq=RATE):
    info = mne.create_info(names, sfreq, "eeg")
    epochs = mne.EpochsArray(x, info, verbose="error")
    return epochs.set_montage("colin27_1005")


@pytest.fixture(scope="module")
def windows(make_eeg):
    return make_eeg(16, len(NAMES), LENGTH).numpy()


@pytest.fixture(scope="module")
def aligned(windows):
    """A decoder that whitens, and was adapted to "me" and to nobody in particular."""
    y = ["left", "right"] * 8
    decoder = SAMBAClassifier(random_state=0)
    decoder.fit(epochs_of(windows), y, groups=GROUPS)
    decoder.adapt(epochs_of(windows[:6] * 3), groups=["me"] * 6)
    return decoder


@pytest.fixture(scope="module")
def unaligned(windows):
    decoder = SAMBAClassifier(ch_names=NAMES, sfreq=RATE, align=False, random_state=0)
    return decoder.fit(windows, ["left", "right"] * 8)


@pytest.fixture
def recording(make_eeg):
    return make_eeg(1, len(NAMES), 5 * LENGTH, seed=3)[0].numpy()


def cut(recording, length=LENGTH, hop=LENGTH):
    starts = range(0, recording.shape[1] - length + 1, hop)
    return np.stack([recording[:, start : start + length] for start in starts])


def outputs_of(said):
    return np.array([p.output for p in said])


def in_portions(stream, recording, seed=0):
    rng = np.random.default_rng(seed)
    said, start = [], 0
    while start < recording.shape[1]:
        n = int(rng.integers(0, 50))
        said += stream.push(recording[:, start : start + n])
        start += n
    return said


def test_classifiers_name_the_classes(unaligned, windows):
    (said,) = SAMBAStream(unaligned).push(windows[0])
    expected = unaligned.predict_proba(windows[:1])[0]
    np.testing.assert_allclose(said.output, expected, rtol=1e-5)
    assert said.label == unaligned.predict(windows[:1])[0]
    assert type(said.label) is str
    assert said.probabilities == dict(zip(["left", "right"], said.output, strict=True))


def test_regressors_give_values_in_the_unit_of_y(windows):
    decoder = SAMBARegressor(ch_names=NAMES, sfreq=RATE, align=False)
    decoder.fit(windows, np.arange(16.0) * 100)
    (said,) = SAMBAStream(decoder).push(windows[0])
    np.testing.assert_allclose(said.output, decoder.predict(windows[:1])[0], rtol=1e-5)
    assert said.label is None
    assert said.probabilities is None


def test_after_adapt_a_stream_says_what_predict_says(aligned, recording):
    stream = SAMBAStream(aligned, hop_seconds=0.25, group="me", learning=False)
    windows = cut(recording, hop=32)
    expected = aligned.predict_proba(epochs_of(windows), groups=["me"] * len(windows))
    said = in_portions(stream, recording)
    np.testing.assert_allclose(outputs_of(said), expected, atol=1e-5)


def test_a_stream_knows_at_each_window_what_adapt_to_all_so_far_knows(
    aligned, recording
):
    stream = SAMBAStream(aligned, group="new")
    windows = cut(recording)
    for n, window in enumerate(windows, start=1):
        (said,) = stream.push(window)
        offline = copy.deepcopy(aligned)
        offline.adapt(epochs_of(windows[:n]), groups=["new"] * n)
        ours = stream._followed._alignment.people["new"].covariance
        theirs = offline._alignment.people["new"].covariance
        assert ours.n_windows == theirs.n_windows == n
        np.testing.assert_allclose(ours.matrix, theirs.matrix, rtol=1e-5)
        expected = offline.predict_proba(epochs_of(window[None]), groups=["new"])
        # later the mean of the outputs is of alignments as they were
        atol = 1e-5 if n == 1 else 0.2
        np.testing.assert_allclose(said.output, expected[0], atol=atol)
    assert "new" not in aligned._alignment.people
    stream.reset()
    (again,) = stream.push(windows[0])
    first = aligned.predict_proba(epochs_of(windows[:1]))[0]
    np.testing.assert_allclose(again.output, first, atol=1e-5)


def test_a_stream_goes_on_from_adapt(aligned, recording):
    stream = SAMBAStream(aligned, group="me", hop_seconds=0.25)
    stream.push(recording)
    known = stream._followed._alignment.people["me"].covariance
    # half a window is new in each of the nine
    assert known.n_windows == pytest.approx(6 + 9 / 2)
    assert aligned._alignment.people["me"].covariance.n_windows == 6


def test_what_is_old_is_forgotten(aligned, recording):
    stream = SAMBAStream(aligned, group="me", half_life_seconds=0.5)
    for window in cut(recording):
        stream.push(window)
    known = stream._followed._alignment.people["me"].covariance
    # windows of half a second, a half-life each
    assert known.n_windows == pytest.approx(6 / 2**5 + sum(0.5**i for i in range(5)))


def test_recordings_of_one_size_are_followed_too(windows, recording):
    decoder = SAMBAClassifier(
        ch_names=NAMES, sfreq=RATE, align=False, random_state=0
    ).fit(windows, ["left", "right"] * 8, groups=GROUPS)
    said = SAMBAStream(decoder).push(recording * np.linspace(1, 2, 5 * LENGTH))
    x = cut(recording * np.linspace(1, 2, 5 * LENGTH))
    for n, one in enumerate(said, start=1):
        expected = decoder.predict_proba(x[:n])[-1]
        np.testing.assert_allclose(one.output, expected, atol=1e-5)


def test_other_units_than_those_of_adapt_are_told(aligned, recording):
    stream = SAMBAStream(aligned, group="me")
    with pytest.warns(UserWarning, match=r"1e\+0[56] times as large"):
        stream.push(recording * 3e5)


def test_a_flat_start_says_something_and_teaches_nothing(aligned, recording):
    flat = np.ones((len(NAMES), LENGTH), np.float32)
    for learning in (True, False):
        stream = SAMBAStream(aligned, group="new", learning=learning)
        (said,) = stream.push(flat)
        assert np.isfinite(said.output).all()
        (first,) = stream.push(recording[:, :LENGTH])
        expected = aligned.predict_proba(epochs_of(recording[None, :, :LENGTH]))[0]
        np.testing.assert_allclose(first.output, expected, atol=1e-5)
        stream.push(flat)


def test_channels_in_any_order_are_matched_by_name(aligned, recording):
    expected = SAMBAStream(aligned, group="me").push(recording)
    order = [3, 0, 2, 1]
    names = ["pz", "EEG C3-REF", "C4", "CZ"]
    arriving = np.vstack([recording[order], np.full(recording.shape[1], np.nan)])
    stream = SAMBAStream(
        aligned, group="me", ch_names=[*names, "Trigger"], exclude=["Trigger"]
    )
    assert stream.n_chans == 5
    said = stream.push(arriving)
    np.testing.assert_allclose(outputs_of(said), outputs_of(expected), atol=1e-5)


def test_places_of_another_montage_travel(aligned, make_eeg):
    names = ["FC1", "CP2", "Oz"]
    x = make_eeg(1, 3, LENGTH, seed=5)[0].numpy()
    epochs = epochs_of(x[None], names)
    expected = aligned.predict_proba(epochs)[0]
    info = mne.create_info([*names, "status"], RATE, ["eeg"] * 3 + ["stim"])
    info.set_montage(epochs.get_montage())
    arriving = np.vstack([x, np.ones(LENGTH)])
    for stream in (
        SAMBAStream(aligned, ch_names=names),
        SAMBAStream(aligned, chs_info=epochs.info["chs"]),
        SAMBAStream(aligned, chs_info=info["chs"]),
    ):
        (said,) = stream.push(arriving[: stream.n_chans])
        np.testing.assert_allclose(said.output, expected, atol=1e-4)


def test_some_electrodes_of_those_of_adapt_are_known(aligned, windows):
    stream = SAMBAStream(aligned, ch_names=["C4", "C3"], group="me", learning=False)
    (said,) = stream.push(windows[0][[2, 0]])
    epochs = epochs_of(windows[:1]).pick(["C3", "C4"])
    expected = aligned.predict_proba(epochs, groups=["me"])
    np.testing.assert_allclose(said.output, expected[0], atol=1e-5)


@pytest.mark.parametrize("sfreq", [100, 256, 250, 1000, 511.9])
def test_another_rate_is_resampled_as_the_finished_recording(
    unaligned, make_eeg, sfreq
):
    x = make_eeg(1, len(NAMES), round(4 * sfreq), seed=7)[0].numpy() + 1e-3
    stream = SAMBAStream(unaligned, sfreq=sfreq, hop_seconds=0.25)
    said = in_portions(stream, x)
    ratio = rate_ratio(sfreq, RATE)
    resample = Resample(ratio.denominator, ratio.numerator, dtype=torch.float64)
    offset = x[:, :1].astype(np.float64)
    whole = resample(torch.from_numpy(x - offset)).numpy() + offset
    expected = unaligned.predict_proba(cut(whole.astype(np.float32), hop=32))
    # the last part of a window waits for the other half of the filter
    assert len(expected) - len(said) <= 1
    np.testing.assert_allclose(outputs_of(said), expected[: len(said)], atol=1e-4)
    assert 0 < stream.delay_seconds < 0.08
    for one in said:
        assert one.stop == pytest.approx(one.seconds * sfreq, rel=1e-3, abs=1)


def test_a_prediction_comes_with_the_delay_it_tells(unaligned, make_eeg):
    x = make_eeg(1, len(NAMES), 400, seed=7)[0].numpy()
    stream = SAMBAStream(unaligned, sfreq=250)
    for n in range(400):
        if said := stream.push(x[:, n : n + 1]):
            break
    assert (n + 1) / 250 == pytest.approx(
        said[0].seconds + stream.delay_seconds, abs=1 / 128
    )


@pytest.mark.parametrize(
    "band", [(4, 38), (1, None), (None, 40), butter(2, 0.3, output="sos")]
)
def test_a_filter_is_that_of_the_finished_recording(unaligned, recording, band):
    x = recording + 1.0
    stream = SAMBAStream(unaligned, band=band, hop_seconds=0.1)
    said = in_portions(stream, x)
    if np.ndim(band) == 2:
        sos = band
    else:
        kind = "bandpass" if None not in band else ("lowpass", "highpass")[band[0] == 1]
        edges = [edge for edge in band if edge is not None]
        sos = butter(4, np.squeeze(edges), kind, fs=RATE, output="sos")
    start = sosfilt_zi(sos)[:, None] * x[:, :1].astype(float)
    filtered, _ = sosfilt(sos, x.astype(float), axis=1, zi=start)
    expected = unaligned.predict_proba(cut(filtered.astype(np.float32), hop=13))
    np.testing.assert_allclose(outputs_of(said), expected, atol=1e-4)


def test_nothing_is_nothing_in_any_shape(unaligned):
    for layout in ("channels_first", "samples_first"):
        stream = SAMBAStream(unaligned, layout=layout, sfreq=250, band=(1, 40))
        for empty in ([], [[]], np.empty((4, 0)), np.empty((0, 4)), np.empty(0)):
            assert stream.push(empty) == []
        assert stream.n_seen == 0


def test_samples_first(unaligned, windows):
    (expected,) = SAMBAStream(unaligned).push(windows[0])
    stream = SAMBAStream(unaligned, layout="samples_first")
    (said,) = stream.push(windows[0].T.tolist())
    np.testing.assert_allclose(said.output, expected.output, rtol=1e-6)
    with pytest.raises(ValueError, match="layout='channels_first'"):
        stream.push(windows[0][:, :7])
    with pytest.raises(ValueError, match="transpose them, or .*'samples_first'"):
        SAMBAStream(unaligned).push(windows[0].T)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"band": (40, 4)}, "low < high"),
        ({"band": (4, 80)}, "half the rate"),
        ({"band": 4}, "no pass band"),
        ({"band": np.ones((2, 5))}, r"\(n, 6\)"),
        ({"layout": "rows"}, "channels_first"),
        ({"ch_names": ["C3", "Trigger"]}, "Trigger"),
        ({"ch_names": ["C3", "C3"]}, "twice"),
        ({"ch_names": ["C3"], "exclude": ["C3"]}, "no channel is left"),
        ({"ch_names": ["C3"], "chs_info": [{"ch_name": "C3"}]}, "pass one"),
        ({"sfreq": -1}, "sampling rate"),
        ({"half_life_seconds": 0}, "half_life_seconds"),
        ({"group": "me", "ch_names": ["C3", "Oz"]}, "adapted to 'me'"),
    ],
)
def test_what_can_not_be_is_refused_at_once(aligned, options, message):
    with pytest.raises(ValueError, match=message):
        SAMBAStream(aligned, **options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "window_seconds"),
        ({"window_seconds": 0.01}, "too short"),
        ({"window_seconds": 1, "hop_seconds": 0}, "hop_seconds"),
    ],
)
def test_windows_that_can_not_be_are_refused(model, options, message):
    with pytest.raises(ValueError, match=message):
        SAMBAStream(model, **options)


def test_strangers_are_refused():
    with pytest.raises(TypeError, match="Linear"):
        SAMBAStream(torch.nn.Linear(2, 2))


@pytest.mark.parametrize("samples", [np.zeros((2, 5)), np.full((3, 5), np.nan)])
def test_bad_samples_are_refused_and_not_taken(model, make_eeg, samples):
    x = make_eeg(1, 3, 100)[0]
    stream = SAMBAStream(model, window_seconds=1)
    stream.push(x[:, :60])
    with pytest.raises(ValueError, match="samples"):
        stream.push(samples)
    assert stream.n_seen == 60
    (said,) = stream.push(x[:, 60:])
    np.testing.assert_allclose(
        said.output, offline(model, x, 100, 100)[1][0], rtol=1e-4, atol=1e-5
    )


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs Linux")
def test_a_day_leaves_memory_as_it_was(motor_chs_info):
    """24 hours at 128 Hz, a prediction every 10 s, as fast as it goes."""
    model = SAMBA(n_outputs=2, chs_info=motor_chs_info, sfreq=128).eval()
    stream = SAMBAStream(model, window_seconds=2, hop_seconds=10)
    rng = np.random.default_rng(0)

    count, held = 0, []
    for _ in range(24):
        for _ in range(3600):
            second = rng.standard_normal((3, 128), dtype=np.float32)
            count += len(stream.push(second))
        # of now: a peak would be that of whatever test ran before
        status = Path("/proc/self/status").read_text()
        held.append(int(re.search(r"VmRSS:\s+(\d+)", status)[1]))
    assert count == (24 * 3600 - 2) // 10 + 1
    print(f"after 1 h {held[0] / 1024:.0f} MB, after 24 h {held[-1] / 1024:.0f} MB")
    assert held[-1] - held[0] < 20 * 1024
