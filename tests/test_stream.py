"""A stream says what the model says of the same windows of the finished recording."""

import re
from pathlib import Path

import mne
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from braindecode_samba import SAMBA, SAMBAClassifier, SAMBARegressor, SAMBAStream

SMALL = {"d_state": 4, "expand": 2}
QUICK = {"checkpoint": None, "start": "random", "max_epochs": 1, "model_params": SMALL}


@pytest.fixture(scope="module")
def model(motor_chs_info):
    torch.manual_seed(0)
    return SAMBA(2, chs_info=motor_chs_info, sfreq=100, **SMALL).eval()


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


@pytest.fixture(scope="module")
def windows(make_eeg):
    return make_eeg(6, 3, 64).numpy()


def test_classifiers_give_probabilities(windows):
    decoder = SAMBAClassifier(**QUICK, ch_names=["C3", "Cz", "C4"], sfreq=128).fit(
        windows, ["a", "b"] * 3
    )
    (said,) = SAMBAStream(decoder).push(windows[0])
    np.testing.assert_allclose(
        said.output, decoder.predict_proba(windows[:1])[0], rtol=1e-5
    )


def test_a_decoder_of_epochs_hands_on_its_channels(windows):
    info = mne.create_info(["C3", "Cz", "C4"], 128, "eeg")
    epochs = mne.EpochsArray(windows, info, verbose="error")
    epochs.set_montage("colin27_1005")
    decoder = SAMBAClassifier(**QUICK, random_state=0)
    decoder.fit(epochs, ["a", "b"] * 3)
    (said,) = SAMBAStream(decoder).push(windows[0])
    np.testing.assert_allclose(
        said.output, decoder.predict_proba(epochs[:1])[0], rtol=1e-5
    )


def test_regressors_give_values_in_the_unit_of_y(windows):
    decoder = SAMBARegressor(**QUICK, ch_names=["C3", "Cz", "C4"], sfreq=128).fit(
        windows, np.arange(6.0) * 100
    )
    (said,) = SAMBAStream(decoder).push(windows[0])
    np.testing.assert_allclose(said.output, decoder.predict(windows[:1])[0], rtol=1e-5)


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
    model = SAMBA(2, chs_info=motor_chs_info, sfreq=128).eval()
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
