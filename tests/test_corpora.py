"""Recordings become windows once, and several data sets make one run."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import mne
import numpy as np
import pytest
import torch
from braindecode.datasets import BaseConcatDataset, RawDataset
from torch.utils.data import DataLoader, Dataset

from braindecode_samba import positions_from_names
from braindecode_samba._paths import remove_leftovers
from braindecode_samba.pretraining import (
    Corpus,
    RecordingError,
    WindowStore,
    write_windows,
)
from braindecode_samba.pretraining.batches import LengthBatchSampler, collate

NAMES = ("Fp1", "C3", "Cz", "O2")


def make_raw(names=NAMES, seconds=12.0, sfreq=160.0, seed=0, types="eeg"):
    """Noise of some 10 microvolts, with an offset for each channel."""
    rng = np.random.default_rng(seed)
    noise = rng.standard_normal((len(names), int(seconds * sfreq)))
    smooth = (noise + np.roll(noise, 1, axis=1)) * 1e-5
    offsets = rng.standard_normal((len(names), 1)) * 1e-3
    info = mne.create_info(list(names), sfreq, types)
    return mne.io.RawArray(smooth + offsets, info, verbose="error")


@pytest.fixture
def files(tmp_path):
    """Three recordings on disk, of two caps and two rates."""
    raws = [
        make_raw(seed=1),
        make_raw(seed=2, seconds=9.0),
        make_raw(("T3", "T5", "Pz"), sfreq=250.0, seed=3),
    ]
    paths = []
    for number, raw in enumerate(raws):
        path = tmp_path / f"s{number}_raw.fif"
        raw.save(path, fmt="double", verbose="error")
        paths.append(path)
    return paths


SUBJECTS = ["ann", "ben", "cy"]


# from recordings to windows


def test_windows_are_what_mne_filters_and_resamples(tmp_path, files):
    store = write_windows(
        files, tmp_path / "store", stride_seconds=1.0, subjects=SUBJECTS
    )
    assert [r.n_windows for r in store.recordings] == [11, 8, 11]
    assert store.subjects == tuple(SUBJECTS)
    assert (store.sfreq, store.n_times) == (128.0, 256)
    raw = mne.io.read_raw(files[2], preload=True, verbose="error")
    raw.filter(1.0, 45.0, verbose="error").resample(128.0, verbose="error")
    exact = raw.get_data()
    exact -= np.median(exact, axis=1, keepdims=True)
    for row in (0, 4, 10):
        window = store[19 + row]["x"].numpy()
        expected = exact[:, row * 128 : row * 128 + 256]
        error = np.abs(window - expected)
        assert (error <= 2.0**-11 * np.abs(expected) + 1e-12).all()
    np.testing.assert_allclose(
        store[19]["pos"], positions_from_names(["T3", "T5", "Pz"]), atol=1e-6
    )


def test_paths_raws_and_data_sets_of_braindecode_give_the_same(tmp_path, files):
    raws = [mne.io.read_raw(file, verbose="error") for file in files]
    pairs = zip(raws, SUBJECTS, strict=True)
    described = BaseConcatDataset([RawDataset(r, {"subject": s}) for r, s in pairs])
    loaded = [raw.copy().load_data() for raw in raws]
    stores = [
        write_windows(files, tmp_path / "a", subjects=SUBJECTS),
        write_windows(loaded, tmp_path / "b", subjects=SUBJECTS),
        write_windows(described, tmp_path / "c"),
    ]
    for store in stores[1:]:
        assert store.subjects == stores[0].subjects
        assert len(store) == len(stores[0]) == 16
        for one, other in zip(stores[0], store, strict=True):
            assert torch.equal(one["x"], other["x"])


def test_the_callers_recordings_are_not_changed(tmp_path):
    raw = make_raw()
    before = raw.get_data()
    write_windows([raw], tmp_path / "store", subjects=["ann"])
    np.testing.assert_array_equal(raw.get_data(), before)
    assert raw.info["sfreq"] == 160
    assert raw.info["highpass"] == 0


def test_nothing_is_written_twice(tmp_path, files):
    folder = tmp_path / "store"
    first = write_windows(files, folder, subjects=SUBJECTS)
    dates = {p.name: p.stat().st_mtime_ns for p in folder.glob("*.npy")}
    again = write_windows(files, folder, subjects=SUBJECTS)
    assert {p.name: p.stat().st_mtime_ns for p in folder.glob("*.npy")} == dates
    assert again.recordings == first.recordings


def test_a_store_grows_by_more_recordings(tmp_path, files):
    folder = tmp_path / "store"
    small = write_windows(files[:2], folder, subjects=SUBJECTS[:2])
    dates = {p.name: p.stat().st_mtime_ns for p in folder.glob("*.npy")}
    large = write_windows(files, folder, subjects=SUBJECTS)
    assert len(large) == len(small) + 6
    assert torch.equal(large[len(small) - 1]["x"], small[-1]["x"])
    assert all((folder / name).stat().st_mtime_ns == dates[name] for name in dates)


def test_a_changed_recording_is_written_again(tmp_path):
    raw, folder = make_raw(), tmp_path / "store"
    before = write_windows([raw], folder, subjects=["ann"])[0]["x"]
    raw.apply_function(lambda x: -x, channel_wise=False)
    after = write_windows([raw], folder, subjects=["ann"])[0]["x"]
    torch.testing.assert_close(after, -before)


def test_windows_in_bad_stretches_are_left_out_and_counted(tmp_path):
    raw = make_raw(seconds=20.0)
    raw.set_annotations(mne.Annotations([6.5], [1.0], ["BAD_moves"]))
    store = write_windows([raw], tmp_path / "store", subjects=["ann"])
    recording = store.recordings[0]
    # a crop counts from its own beginning
    cropped = raw.copy().crop(4.0)
    later = write_windows([cropped], tmp_path / "cropped", subjects=["ann"])
    assert later.recordings[0].runs == ((0, 1), (512, 6))
    assert recording.dropped == {"flat": 0, "amplitude": 0, "annotated": 1, "short": 0}
    assert recording.runs == ((0, 3), (1024, 6))


def test_windows_without_any_signal_are_left_out_and_counted(tmp_path):
    raw = make_raw(seconds=20.0)
    raw._data[:, 160 * 7 : 160 * 17] = raw._data[:, [160 * 7]]
    raw._data[2] = 1e-3  # one electrode that is dead throughout
    store = write_windows([raw], tmp_path / "store", subjects=["ann"])
    # the filter rings into the stretch for two seconds at its ends
    assert store.recordings[0].runs == ((0, 5), (1792, 3))
    assert store.recordings[0].dropped["flat"] == 2
    assert all(item["x"][2].eq(0).all() for item in store)
    scale = store.recordings[0].scale
    assert all(np.ptp(item["x"].numpy(), axis=1).max() > 0.1 * scale for item in store)


@pytest.mark.parametrize("reject", [None, 12.0])
def test_large_windows_are_left_out_on_demand(tmp_path, reject):
    raw = make_raw(seconds=20.0)
    raw._data[1, 160 * 9] += 3e-3
    store = write_windows([raw], tmp_path / "store", subjects=["ann"], reject=reject)
    assert store.recordings[0].dropped["amplitude"] == (reject is not None)
    spans = [np.ptp(item["x"].numpy(), axis=1).max() for item in store]
    limit = 12 * store.recordings[0].scale
    assert (max(spans) > limit) == (reject is None)


def test_a_short_recording_gives_no_window_and_stops_nothing(tmp_path, recwarn):
    raws = [make_raw(seconds=1.5), make_raw(seconds=2.0, seed=1)]
    store = write_windows(raws, tmp_path / "store", subjects=["ann", "ben"])
    assert [r.n_windows for r in store.recordings] == [0, 1]
    assert store.recordings[0].dropped["short"] == 1
    assert store.subjects == ("ben",)
    assert not [w for w in recwarn if "filter_length" in str(w.message)]


def test_channels_of_other_types_and_bad_ones_are_left_out(tmp_path):
    raw = make_raw(("C3", "C4", "HEO", "Cz"), types=["eeg", "eeg", "eog", "eeg"])
    raw.info["bads"] = ["C4"]
    store = write_windows([raw], tmp_path / "store", subjects=["ann"])
    assert store.recordings[0].ch_names == ("C3", "Cz")
    assert store[0]["x"].shape == (2, 256)


# what can go wrong


def test_a_recording_without_positions_is_refused_before_anything_is_written(
    tmp_path, files
):
    folder = tmp_path / "store"
    nowhere = make_raw(("X1", "X2"))
    with pytest.raises(ValueError, match=r"recording 3: no position.*unknown='drop'"):
        write_windows([*files, nowhere], folder, subjects=[*SUBJECTS, "dan"])
    assert not folder.exists()
    with pytest.raises(ValueError, match="no channel with a position"):
        write_windows([nowhere], folder, subjects=["dan"], unknown="drop")
    partly = make_raw(("C3", "X2", "C4"))
    store = write_windows([partly], folder, subjects=["dan"], unknown="drop")
    assert store.recordings[0].ch_names == ("C3", "C4")
    assert store.recordings[0].dropped_channels == ("X2",)


def test_a_corpus_of_nothing_is_refused(tmp_path):
    with pytest.raises(ValueError, match="no recordings"):
        write_windows([], tmp_path / "store")
    flat = make_raw()
    flat._data[:] = 1e-4
    short = make_raw(seconds=1.0)
    with pytest.raises(ValueError, match="6 windows were flat.*1 recordings shorter"):
        write_windows([flat, short], tmp_path / "store", subjects=["ann", "ben"])
    with pytest.raises(ValueError, match="interrupted"):
        WindowStore(tmp_path / "store")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"subjects": None}, "whose"),
        ({"subjects": ["ann", "ben"]}, "2 for 1"),
        ({"window_seconds": 0}, "window_seconds=0"),
        ({"stride_seconds": 1e-3}, "pass longer"),
        ({"sfreq": float("nan")}, "sfreq=nan"),
        ({"l_freq": 50.0}, "nothing stays"),
        ({"h_freq": 64.0}, "half of sfreq"),
        ({"sfreq": 400.0, "h_freq": 90.0}, "recorded at 160"),
        ({"reject": -1.0}, "reject=-1"),
        ({"unknown": "ignore"}, '"raise" or "drop"'),
    ],
)
def test_arguments_that_can_not_be_are_refused(tmp_path, change, message):
    arguments = {"subjects": ["ann"]} | change
    with pytest.raises(ValueError, match=message):
        write_windows([make_raw()], tmp_path / "store", **arguments)
    assert not (tmp_path / "store").exists()


def test_recordings_that_can_not_be_are_refused(tmp_path, files):
    folder = tmp_path / "store"
    with pytest.raises(TypeError, match="single one"):
        write_windows(files[0], folder, subjects=["ann"])
    with pytest.raises(TypeError, match="recording 1 is a ndarray"):
        write_windows([files[0], np.zeros((2, 9))], folder, subjects=["ann", "ben"])
    with pytest.raises(FileNotFoundError, match="no recording"):
        write_windows([tmp_path / "gone.edf"], folder, subjects=["ann"])
    with pytest.raises(ValueError, match="there twice: s0_raw.fif"):
        write_windows([files[0], files[0]], folder, subjects=["ann", "ann"])
    broken = make_raw()
    broken._data[1, 5] = np.nan
    with pytest.raises(ValueError, match="recording 0 holds NaN"):
        write_windows([broken], folder, subjects=["ann"])
    with pytest.raises(ValueError, match="no EEG channel"):
        write_windows([make_raw(["E1"], types="eog")], folder, subjects=["ann"])


def test_broken_recordings_are_named_and_left_out_on_demand(tmp_path, files):
    damaged, cut_off = tmp_path / "damaged.edf", tmp_path / "cut_off_raw.fif"
    damaged.write_bytes(b"no header")
    cut_off.write_bytes(files[0].read_bytes()[:-9000])
    several = [damaged, *files, cut_off]
    whose = ["dan", *SUBJECTS, "eve"]
    with pytest.raises(RecordingError, match=f"{damaged} can't be read"):
        write_windows(several, tmp_path / "store", subjects=whose)
    assert not (tmp_path / "store").exists()
    broken = []
    store = write_windows(
        several, tmp_path / "store", subjects=whose, on_broken=broken.append
    )
    assert store.subjects == tuple(SUBJECTS)
    assert [str(error).split(" can't")[0] for error in broken] == [
        str(damaged),
        str(cut_off),
    ]


def test_other_settings_do_not_touch_a_store(tmp_path, files):
    folder = tmp_path / "store"
    before = write_windows(files, folder, subjects=SUBJECTS)
    with pytest.raises(ValueError, match="same settings, or another folder"):
        write_windows(files, folder, subjects=SUBJECTS, l_freq=0.5)
    assert WindowStore(folder).recordings == before.recordings


def test_a_full_disk_is_noticed_before_the_work(tmp_path, files, monkeypatch):
    full = shutil.disk_usage(tmp_path)._replace(free=1000)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: full)
    with pytest.raises(OSError, match="make room"):
        write_windows(files, tmp_path / "store", subjects=SUBJECTS)
    assert not list((tmp_path / "store").iterdir())


@pytest.mark.parametrize("when", ["signals", "description", "index"])
def test_a_run_that_stops_anywhere_goes_on_there(tmp_path, files, monkeypatch, when):
    """The disk is full at some moment of the second recording, or at the end."""
    folder = tmp_path / "store"
    expected = write_windows(files, tmp_path / "whole", subjects=SUBJECTS)
    sync, n_done = os.fsync, {"signals": 2, "description": 3, "index": 6}[when]
    calls = []

    def fill_up(number):
        calls.append(number)
        if len(calls) > n_done:
            raise OSError(28, "No space left on device")
        sync(number)

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", fill_up)
        with pytest.raises(OSError, match="No space left.*what it had finished"):
            write_windows(files, folder, subjects=SUBJECTS)
    assert not list(folder.glob(".*"))
    assert len(list(folder.glob("*.json"))) == n_done // 2
    with pytest.raises(ValueError, match="interrupted"):
        WindowStore(folder)
    dates = {p: p.stat().st_mtime_ns for p in folder.glob("*.json")}
    store = write_windows(files, folder, subjects=SUBJECTS)
    assert all(p.stat().st_mtime_ns == date for p, date in dates.items())
    assert store.recordings == expected.recordings
    for one, other in zip(store, expected, strict=True):
        assert torch.equal(one["x"], other["x"])


_LIMITED = """
import resource, sys
from braindecode_samba.pretraining import write_windows
folder, *files = sys.argv[1:]
resource.setrlimit(resource.RLIMIT_FSIZE, (11_000, 11_000))
write_windows(files, folder, subjects=files)
"""


def test_a_file_that_the_system_refuses_leaves_no_half(tmp_path, files):
    folder = tmp_path / "store"
    # the second recording fits below the limit, the first doesn't
    order = [str(files[1]), str(files[0])]
    run = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", _LIMITED, str(folder), *order],
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 1
    assert "could not be written" in run.stderr
    assert "keeps what it had finished" in run.stderr
    assert len(list(folder.glob("*.npy"))) == 1
    assert not list(folder.glob(".*"))
    assert len(write_windows(order, folder, subjects=order)) == 10


def test_what_a_killed_run_left_is_removed_later(tmp_path, files):
    folder = tmp_path / "store"
    folder.mkdir()
    old, new = folder / ".a.npy.1.part", folder / ".b.npy.2.part"
    for part in (old, new):
        part.write_bytes(b"begun")
    os.utime(old, (1e9, 1e9))
    remove_leftovers(folder)
    assert not old.exists()
    assert new.exists()


# several data sets in one run


class Numbers(Dataset):
    """Windows that carry their source and number."""

    def __init__(self, source, n_windows, n_times=8):
        self.source, self.n_windows, self.n_times = source, n_windows, n_times
        self.epoch = None

    @property
    def lengths(self):
        return np.full(self.n_windows, self.n_times)

    def __len__(self):
        return self.n_windows

    def set_epoch(self, epoch):
        self.epoch = epoch

    def __getitem__(self, row):
        x = torch.full((1 + self.source, self.n_times), float(row))
        pos = torch.full((1 + self.source, 3), 0.05)
        return {"x": x, "pos": pos, "index": row}


@pytest.fixture
def sources():
    return {"a": Numbers(0, 10), "b": Numbers(1, 41), "c": Numbers(2, 100)}


def counts(corpus, epoch, seed=0):
    """How often each window of each source is drawn."""
    rows = corpus.order(epoch, seed)
    drawn = np.bincount(rows, minlength=len(corpus))
    return np.split(drawn, np.cumsum(corpus.sizes)[:-1])


def test_concat_draws_every_window_once(sources):
    corpus = Corpus(sources)
    assert len(corpus) == 151
    for epoch in (1, 2):
        assert all((c == 1).all() for c in counts(corpus, epoch))


def test_balanced_draws_as_many_from_each_source(sources):
    corpus = Corpus(sources, "balanced")
    for epoch in range(1, 5):
        drawn = counts(corpus, epoch)
        assert [c.sum() for c in drawn] == list(corpus.n_drawn) == [50, 50, 51]
        # none again before all were used
        assert all(c.max() - c.min() <= 1 for c in drawn)


def test_truncated_draws_what_the_smallest_has_and_repeats_nothing(sources):
    corpus = Corpus(sources, "truncated")
    seen = np.zeros(100, dtype=int)
    for epoch in range(10):
        drawn = counts(corpus, epoch)
        assert [c.sum() for c in drawn] == [10, 10, 10]
        assert max(c.max() for c in drawn) == 1
        seen += drawn[2]
    # ten epochs of ten are the hundred windows of the largest
    assert (seen == 1).all()


@pytest.mark.parametrize("mixing", ["concat", "balanced", "truncated"])
def test_an_order_follows_from_seed_and_epoch(sources, mixing):
    corpus, again = Corpus(sources, mixing), Corpus(sources, mixing)
    first = corpus.order(1, 0)
    np.testing.assert_array_equal(first, again.order(1, 0))
    assert (first != corpus.order(2, 0)).any()
    assert (first != corpus.order(1, 1)).any()
    # windows are shuffled inside a source, and sources among each other
    of_c = first[first >= 51]
    assert (np.diff(of_c) < 0).mean() > 0.2
    assert 0 < (first[: len(first) // 2] >= 51).sum() < len(of_c)


def test_workers_share_an_epoch_without_repeating_it(sources):
    corpus = Corpus(sources, "truncated")
    sampler = LengthBatchSampler(corpus.lengths, 4, seed=3, order=corpus.order)
    loader = DataLoader(
        corpus, batch_sampler=sampler, collate_fn=collate, num_workers=2
    )
    indices = torch.cat([batch["index"] for batch in loader]).tolist()
    assert len(indices) == len(set(indices)) == 30
    names = [corpus.source_of(index) for index in indices]
    assert [names.count(name) for name in "abc"] == [10, 10, 10]


def test_batches_hold_one_length():
    corpus = Corpus([Numbers(0, 10, 8), Numbers(1, 20, 16)], "balanced")
    sampler = LengthBatchSampler(corpus.lengths, 4, order=corpus.order)
    shapes = [
        collate([corpus[row] for row in batch])["x"].shape[-1] for batch in sampler
    ]
    assert sorted(set(shapes)) == [8, 16]
    assert len(shapes) == len(sampler)


def test_numbers_are_unique_over_sources_and_stay_when_one_grows():
    small = Corpus([Numbers(0, 3), Numbers(1, 4)])
    large = Corpus([Numbers(0, 9), Numbers(1, 4)])
    indices = [item["index"] for item in small]
    assert len(set(indices)) == 7
    assert [small[row]["index"] for row in range(3, 7)] == [
        large[row]["index"] for row in range(9, 13)
    ]
    assert small[-1]["index"] == indices[-1]
    with pytest.raises(IndexError):
        small[7]


def test_sources_hear_of_the_epoch(sources):
    Corpus(sources).set_epoch(7)
    assert [source.epoch for source in sources.values()] == [7, 7, 7]


def test_sources_that_can_not_be_mixed_are_refused(sources):
    with pytest.raises(ValueError, match="no data sets"):
        Corpus([])
    with pytest.raises(ValueError, match="mixing is one of"):
        Corpus(sources, "weighted")
    with pytest.raises(ValueError, match=r"data set 1 has windows of \[\] samples"):
        Corpus([Numbers(0, 3), Numbers(1, 0)])
    mixed = Corpus([Numbers(0, 3, 8), Numbers(0, 3, 16)])
    with pytest.raises(ValueError, match=r"\[8, 16\] samples"):
        Corpus([mixed])


# real recordings


def data_file(*parts):
    root = os.environ.get("BRAINDECODE_SAMBA_DATA")
    if not root:
        pytest.skip("BRAINDECODE_SAMBA_DATA names no folder of recordings")
    path = Path(root, *parts)
    if not path.exists():
        pytest.skip(f"{path.name} is not in BRAINDECODE_SAMBA_DATA")
    return path


def test_real_recordings_of_two_caps_make_one_corpus(tmp_path):
    runs = [data_file("eegmmidb", s, f"{s}R04.edf") for s in ("S011", "S012")]
    rest = data_file("eegmat", "Subject00_2.edf")
    common = {"stride_seconds": 1.0, "reject": 40.0}
    motor = write_windows(runs, tmp_path / "motor", subjects=["S011", "S012"], **common)
    sums = write_windows(
        [rest], tmp_path / "sums", subjects=["00"], unknown="drop", **common
    )
    assert motor[0]["x"].shape == (64, 256)
    assert sums[0]["x"].shape == (19, 256)
    assert sums.recordings[0].dropped_channels == ("EEG A2-A1", "ECG ECG")
    corpus = Corpus({"motor": motor, "sums": sums}, "balanced")
    sampler = LengthBatchSampler(corpus.lengths, 8, order=corpus.order)
    loader = DataLoader(corpus, batch_sampler=sampler, collate_fn=collate)
    batch = next(iter(loader))
    assert batch["x"].shape == (8, 64, 256)
    assert sorted(set(batch["ch_mask"].sum(1).tolist())) == [19, 64]
    present = batch["x"][batch["ch_mask"]]
    # microvolts, and every channel is alive
    assert 1e-6 < present.std() < 1e-4
    assert (present.std(1) > 1e-7).all()
    scales = [recording.scale for recording in (*motor.recordings, *sums.recordings)]
    assert all(1e-6 < scale < 1e-4 for scale in scales)
    # the same electrode has one place, by its old and its new name
    places = [
        dict(zip(s.recordings[0].ch_names, s[0]["pos"], strict=True))
        for s in (motor, sums)
    ]
    torch.testing.assert_close(places[0]["T7.."], places[1]["EEG T3"])


@pytest.mark.timeout(60)
@pytest.mark.parametrize("back", [0, 1, 3])
def test_a_fif_file_that_goes_in_a_circle_is_refused(tmp_path, back):
    path = tmp_path / "a_raw.fif"
    info = mne.create_info(["Cz"], 128.0, "eeg")
    raw = mne.io.RawArray(np.random.default_rng(0).standard_normal((1, 512)), info)
    raw.save(path, verbose="error")
    assert write_windows([path], tmp_path / "whole", subjects=["a"])
    content, tags = bytearray(path.read_bytes()), [0]
    for _ in range(6):
        size = int.from_bytes(content[tags[-1] + 8 : tags[-1] + 12])
        tags.append(tags[-1] + 16 + size)
    # the last of these points back
    content[tags[-1] + 12 : tags[-1] + 16] = tags[-1 - back].to_bytes(4)
    path.write_bytes(content)
    with pytest.raises(RecordingError, match="a_raw.fif.*circle"):
        write_windows([path], tmp_path / "store", subjects=["a"])
