"""Whole recordings: equal to one pass, whatever their rate, in bounded memory."""

import json
import subprocess
import sys
from pathlib import Path

import mne
import numpy as np
import pytest
import torch

from braindecode_samba import SAMBA, SAMBAFeatures
from braindecode_samba.nn import recordings

NAMES = ["C3", "Cz", "C4", "Pz"]


@pytest.fixture(autouse=True)
def short_pieces(monkeypatch):
    monkeypatch.setattr(recordings, "PIECE", 300)


@pytest.fixture(scope="module")
def build():
    """Maker of a small network for a rate."""
    from braindecode_samba import chs_info_from_names

    def make(sfreq=128, **options):
        torch.manual_seed(0)
        return SAMBA(
            2,
            chs_info=chs_info_from_names(NAMES),
            sfreq=sfreq,
            d_state=4,
            expand=2,
            **options,
        ).eval()

    return make


def one_pass(model, x, layer):
    with torch.no_grad():
        return model.encode(x, layer=layer)[0].numpy()


def worst(a, b):
    return np.abs(a - b).max() / np.abs(b).max()


@pytest.mark.parametrize("sfreq", [128, 250, 100, 512])
@pytest.mark.parametrize("layer", ["spatial", "encoder1", "pool3", "mediator"])
@pytest.mark.parametrize("n_times", [2003, 1200])
def test_a_recording_equals_one_pass(build, make_eeg, sfreq, layer, n_times):
    model = build(sfreq)
    x = make_eeg(1, 4, n_times)
    encoded = model.encode_recording(x[0].numpy(), layer)
    whole = one_pass(model, x, layer)
    assert encoded.shape == whole.shape
    assert encoded.dtype == np.float32
    assert worst(encoded, whole) < 1e-5


@pytest.mark.parametrize("options", [{"scale": "channel"}, {"scale": None}])
def test_every_scale_of_windows_works_for_recordings(build, make_eeg, options):
    model = build(**options)
    x = make_eeg(1, 4, 1000) * 1e5
    assert worst(model.encode_recording(x[0]), one_pass(model, x, "pool3")) < 1e-5


def test_a_recordings_scale_is_taken_where_set_and_measured_where_not(build, make_eeg):
    measured, given = build(scale="recording"), build(scale="recording")
    x = make_eeg(1, 4, 1000)
    window = build().encode_recording(x[0])
    np.testing.assert_allclose(measured.encode_recording(x[0]), window, rtol=1e-5)
    given.trunk.signal.set_recording_scale(1e-4)
    assert worst(given.encode_recording(x[0]), one_pass(given, x, "pool3")) < 1e-5
    assert bool(measured.trunk.signal.recording_scale.isnan())


def test_raw_brings_its_electrodes_and_rate(build, make_eeg, tmp_path):
    model = build(128)
    x = make_eeg(1, 3, 3000).double()
    info = mne.create_info(["O1", "O2", "EOG", "F4"], 256, ["eeg", "eeg", "eog", "eeg"])
    signals = np.insert(x[0].numpy(), 2, 0.1, axis=0)
    raw = mne.io.RawArray(signals, info, verbose=False)
    path = tmp_path / "night_raw.fif"
    raw.save(path, verbose=False)
    lazy = mne.io.read_raw_fif(path, preload=False, verbose=False)
    from braindecode_samba import chs_info_from_names

    chs_info = chs_info_from_names(["O1", "O2", "F4"])
    same = SAMBA(2, chs_info=chs_info, sfreq=256, d_state=4, expand=2).eval()
    same.load_state_dict(model.state_dict())
    whole = one_pass(same, x.float(), "pool3")
    for source in (raw, lazy):
        assert worst(model.encode_recording(source), whole) < 1e-5


def test_absent_channels_have_no_influence(build, make_eeg):
    model = build()
    x = make_eeg(1, 4, 900)
    present = torch.tensor([True, False, True, True])
    encoded = model.encode_recording(x[0], ch_mask=present)
    x[:, 1] = 7.0
    np.testing.assert_array_equal(
        encoded, model.encode_recording(x[0], ch_mask=present)
    )
    with torch.no_grad():
        whole = model.encode(x, ch_mask=present)[0].numpy()
    assert worst(encoded, whole) < 1e-5


def test_channels_may_be_measured_in_groups(build, make_eeg, monkeypatch):
    model, x = build(250), make_eeg(1, 4, 900)
    whole = model.encode_recording(x[0])
    monkeypatch.setattr(recordings, "_HELD", 2 * 900)
    np.testing.assert_array_equal(model.encode_recording(x[0]), whole)


@pytest.mark.parametrize(
    ("source", "options", "message"),
    [
        (np.zeros((4, 5)), {}, "5 samples at the model's rate"),
        (np.zeros((3, 50)), {}, "3 channels"),
        (np.zeros(50), {}, "shape"),
        (np.zeros((4, 50), complex), {}, "complex"),
        (np.full((4, 50), np.nan), {}, "NaN"),
        (np.zeros((4, 50)), {"layer": "pool9"}, "pool9"),
        (np.zeros((4, 50)), {"pos": torch.zeros(3, 3)}, "pos"),
        (np.zeros((4, 50)), {"ch_mask": torch.zeros(4, dtype=torch.bool)}, "ch_mask"),
    ],
)
def test_what_is_no_recording_is_refused(build, source, options, message):
    with pytest.raises(ValueError, match=message):
        build().encode_recording(source, **options)


def test_the_first_bad_sample_is_named(build, make_eeg):
    x = make_eeg(1, 4, 700)[0]
    x[2, 345] = float("inf")
    with pytest.raises(ValueError, match="channel 2 at sample 345"):
        build(scale=None).encode_recording(x)


@pytest.fixture(scope="module")
def features(make_eeg):
    return SAMBAFeatures(
        ch_names=NAMES,
        sfreq=128,
        layer="pool3",
        pooling="statistics",
        checkpoint=None,
        random_state=0,
        model_params={"expand": 2},
    ).fit(make_eeg(1, 4, 1500).numpy())


def test_features_of_a_recording_equal_those_of_one_window(features, make_eeg):
    x = make_eeg(1, 4, 1500).numpy()
    whole = features.transform(x)
    assert features.transform_recording(x[0]).shape == whole.shape
    assert worst(features.transform_recording(x[0]), whole) < 1e-4


@pytest.mark.parametrize(("window", "stride"), [(1.0, None), (2.0, 0.5), (1.3, 0.7)])
def test_windows_are_cut_from_the_layer_of_the_whole_recording(
    features, make_eeg, window, stride
):
    x = make_eeg(1, 4, 1500).numpy()[0]
    rows = features.transform_recording(x, window_seconds=window, stride_seconds=stride)
    layer = torch.from_numpy(features.model_.encode_recording(x, "pool3"))
    rate, length = 16, round(window * 16)
    starts = [round(i * (stride or window) * rate) for i in range(100)]
    from braindecode_samba.nn import nine_statistics

    expected = torch.stack(
        [
            nine_statistics(layer[None, :, start : start + length])[0]
            for start in starts
            if start + length <= layer.shape[1]
        ]
    )
    np.testing.assert_allclose(rows, expected, rtol=1e-5, atol=1e-6)


def test_windows_that_do_not_fit_are_refused(features, make_eeg):
    x = make_eeg(1, 4, 1500).numpy()[0]
    with pytest.raises(ValueError, match="lasts"):
        features.transform_recording(x, window_seconds=100)
    with pytest.raises(ValueError, match="steps"):
        features.transform_recording(x, window_seconds=0.01)
    with pytest.raises(ValueError, match="needs window_seconds"):
        features.transform_recording(x, stride_seconds=1)


# a process of its own reports what it held at most, over what Python and torch hold;
# not by getrusage, which begins with the peak of the process that started it
_NIGHT = r"""
import json, re, sys
import numpy as np, torch
torch.set_num_threads(2)
from braindecode_samba import SAMBAFeatures
def peak():
    return int(re.search(r"VmHWM:\s+(\d+)", open("/proc/self/status").read())[1])


names = ("Fp1 Fp2 F7 F3 F4 F8 T7 C3 Cz C4 T8 P3 P4 Pz O1 O2").split()
small = np.random.default_rng(0).normal(size=(1, 16, 512)).astype("float32")
features = SAMBAFeatures(
    ch_names=names, sfreq=128, layer="pool3", pooling="statistics"
).fit(small)
features.transform_recording(small[0])
before = peak()
night = np.load(sys.argv[1], mmap_mode="r")
rows = features.transform_recording(night)
after = peak()
print(json.dumps([list(rows.shape), bool(np.isfinite(rows).all()), before, after]))
"""


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs Linux")
def test_a_night_takes_less_than_a_gigabyte(tmp_path):
    path = tmp_path / "night.npy"
    night = np.lib.format.open_memmap(
        path, mode="w+", dtype=np.float32, shape=(16, 8 * 3600 * 128)
    )
    rng = np.random.default_rng(0)
    for row in night:
        row[:] = rng.standard_normal(night.shape[1], dtype=np.float32)
    del night
    result = subprocess.run(
        [sys.executable, "-c", _NIGHT, path], capture_output=True, text=True, check=True
    )
    shape, finite, before, after = json.loads(result.stdout.splitlines()[-1])
    # before: torch, braindecode and the compiled loops; after: the pages of the file,
    # which the system takes back when it needs them, are counted as well
    print(f"before {before / 1024:.0f} MB, at most {after / 1024:.0f} MB")
    assert shape == [1, 1152]
    assert finite
    assert (after - before) * 1024 < 1e9
