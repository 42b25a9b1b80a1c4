"""Windows on disk: what was written is read, by any process, in little memory."""

import json
import multiprocessing
import os
import pickle
import threading
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, Subset

from braindecode_samba.pretraining import WindowStore
from braindecode_samba.pretraining.batches import collate, window_lengths
from braindecode_samba.pretraining.sealed import seal
from braindecode_samba.pretraining.shards import (
    StoredRecording,
    finished_recording,
    write_index,
    write_recording,
)

SETTINGS = {"sfreq": 128.0, "n_times": 64, "stride": 32}


def describe(key, subject, n_chans, runs, scale=1e-5):
    places = np.random.default_rng(n_chans).uniform(-0.1, 0.1, (n_chans, 3))
    return StoredRecording(
        key=key,
        source=f"{key}.edf",
        subject=subject,
        ch_names=tuple(f"E{n}" for n in range(n_chans)),
        positions=tuple(map(tuple, places.round(6).tolist())),
        scale=scale,
        n_samples=0,
        n_bytes=0,
        runs=runs,
        dropped={},
        dropped_channels=(),
    )


@pytest.fixture
def signals():
    """Two recordings and one without windows."""
    rng = np.random.default_rng(0)
    return {
        "aa": 1e-5 * rng.standard_normal((4, 400)),
        "bb": np.empty((0, 0)),
        "cc": 1e-5 * rng.standard_normal((3, 300)),
    }


@pytest.fixture
def folder(tmp_path, signals):
    plan = [
        describe("aa", "ann", 4, ((0, 3), (200, 2))),
        describe("bb", "ben", 4, ()),
        describe("cc", "cy", 3, ((10, 4),), scale=2e-5),
    ]
    written = [write_recording(tmp_path, one, signals[one.key]) for one in plan]
    write_index(tmp_path, written, SETTINGS)
    return tmp_path


WINDOWS = [("aa", 0), ("aa", 32), ("aa", 64), ("aa", 200), ("aa", 232)] + [
    ("cc", start) for start in (10, 42, 74, 106)
]


def test_windows_are_those_of_the_recordings(folder, signals):
    store = WindowStore(folder)
    assert len(store) == len(WINDOWS) == 9
    for row, (key, start) in enumerate(WINDOWS):
        item = store[row]
        exact = signals[key][:, start : start + 64]
        assert item["x"].dtype == item["pos"].dtype == torch.float32
        assert item["x"].is_contiguous()
        assert item["index"] == row
        # float16 keeps 11 bits
        error = np.abs(item["x"].numpy() - exact)
        assert (error <= 2.0**-11 * np.abs(exact) + 1e-12).all()
        assert item["pos"].shape == (len(exact), 3)
    np.testing.assert_allclose(store[8]["pos"], store.recordings[2].positions)
    assert store.sfreq == 128
    assert store.subjects == ("ann", "cy")


def test_rows_end_where_the_windows_end(folder):
    store = WindowStore(folder)
    assert torch.equal(store[-1]["x"], store[8]["x"])
    for row in (9, -10):
        with pytest.raises(IndexError, match="of 9"):
            store[row]
    assert [item["index"] for item in store] == list(range(9))


def test_windows_of_chosen_subjects_keep_their_numbers(folder):
    whole, part = WindowStore(folder), WindowStore(folder, subjects=["cy"])
    assert [item["index"] for item in part] == [5, 6, 7, 8]
    assert part.subjects == ("cy",)
    for item in part:
        assert torch.equal(item["x"], whole[item["index"]]["x"])
    with pytest.raises(ValueError, match=r"no subjects \['dan'\]"):
        WindowStore(folder, subjects=["dan"])
    with pytest.raises(ValueError, match="list"):
        WindowStore(folder, subjects="cy")


def test_lengths_take_no_memory_and_pass_through_subsets(folder):
    store = WindowStore(folder)
    assert window_lengths(store).tolist() == [64] * 9
    assert store.lengths.strides == (0,)
    assert window_lengths(Subset(store, [0, 8])).tolist() == [64, 64]


def test_what_a_caller_does_to_a_window_stays_with_him(folder):
    store = WindowStore(folder)
    before = store[0]["x"].clone(), store[1]["pos"].clone()
    store[0]["x"].zero_()
    store[0]["pos"].zero_()
    assert torch.equal(store[0]["x"], before[0])
    assert torch.equal(store[1]["pos"], before[1])


def test_a_pickle_holds_no_signals(folder):
    store = WindowStore(folder)
    fresh = len(pickle.dumps(store))
    assert len(list(store)) == 9
    assert len(pickle.dumps(store)) == fresh
    again = pickle.loads(pickle.dumps(store))
    assert torch.equal(again[6]["x"], store[6]["x"])


@pytest.mark.parametrize("context", ["fork", "spawn"])
def test_workers_give_what_one_process_gives(folder, context):
    if context not in multiprocessing.get_all_start_methods():
        pytest.skip(f"this system can't {context}")
    # the three rows of a batch come from one recording, then from both
    sampler = [[0, 1, 2], [4, 5, 6], [7, 8, 3]]
    store = WindowStore(folder)
    store[0]
    alone = DataLoader(store, batch_sampler=sampler, collate_fn=collate)
    shared = DataLoader(
        store,
        batch_sampler=sampler,
        collate_fn=collate,
        num_workers=2,
        multiprocessing_context=context,
    )
    for one, other in zip(alone, shared, strict=True):
        assert one.keys() == other.keys()
        assert all(torch.equal(one[name], other[name]) for name in one)


def test_maps_are_given_back_when_there_are_too_many(folder, monkeypatch):
    expected = [item["x"] for item in WindowStore(folder)]
    store = WindowStore(folder)
    monkeypatch.setattr("braindecode_samba.pretraining.store._MOST_MAPS", 1)
    for row in (0, 8, 1, 7):
        assert torch.equal(store[row]["x"], expected[row])
        assert len(store._maps) == 1


def test_a_cut_file_is_refused_when_the_store_is_opened(folder):
    signals = folder / "cc.npy"
    signals.write_bytes(signals.read_bytes()[:-2])
    with pytest.raises(ValueError, match=r"cc\.npy has \d+ bytes instead"):
        WindowStore(folder)
    assert finished_recording(folder, "cc") is None
    assert finished_recording(folder, "aa") is not None
    signals.unlink()
    with pytest.raises(ValueError, match="has 0 bytes"):
        WindowStore(folder)
    assert len(WindowStore(folder, subjects=["ann"])) == 5


def test_what_is_no_store_is_refused(tmp_path, folder):
    (empty := tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="no window store"):
        WindowStore(empty)
    (folder / "index.json").unlink()
    with pytest.raises(ValueError, match="interrupted"):
        WindowStore(folder)
    (folder / "index.json").write_bytes(seal({"format": 99}))
    with pytest.raises(ValueError, match="format 99"):
        WindowStore(folder)


@pytest.mark.parametrize("change", [0, 300, -2])
def test_a_changed_byte_of_an_index_is_noticed(folder, change):
    content = bytearray((folder / "index.json").read_bytes())
    content[change] ^= 1
    (folder / "index.json").write_bytes(content)
    with pytest.raises(ValueError, match=r"index\.json is damaged: remove it"):
        WindowStore(folder)


def test_a_damaged_window_is_named(folder):
    store = WindowStore(folder)
    path = folder / f"{store.recordings[0].key}.npy"
    content = path.read_bytes()
    path.write_bytes(content[:-900] + b"\xff" * 900)
    with pytest.raises(ValueError, match=f"{path} is damaged: remove it"):
        list(WindowStore(folder))


def test_files_are_plain_numpy_and_equal_caps_are_listed_once(folder, signals):
    stored = np.load(folder / "aa.npy")
    assert stored.dtype == np.float16
    assert stored.shape == signals["aa"].T.shape
    assert len(json.loads((folder / "index.json").read_text())["montages"]) == 2
    assert not list(folder.glob(".*"))
    store = WindowStore(folder)
    assert store.recordings[0].positions is store.recordings[1].positions


def test_an_artefact_beyond_float16_stays_finite(tmp_path):
    volts = np.full((2, 64), 1e-5)
    volts[0, 3] = 1e3
    recording = describe("dd", "dan", 2, ((0, 1),))
    write_index(tmp_path, [write_recording(tmp_path, recording, volts)], SETTINGS)
    x = WindowStore(tmp_path)[0]["x"]
    assert x.isfinite().all()
    assert x[0, 3] == x.max() > 0.5


def own_memory(pid):
    """Anonymous and shared memory of a process, bytes."""
    status = Path(f"/proc/{pid}/status").read_text().splitlines()
    fields = dict(line.split(":", 1) for line in status if ":" in line)
    kilobytes = (int(fields[name].split()[0]) for name in ("RssAnon", "RssShmem"))
    return 1024 * sum(kilobytes)


class Watch(threading.Thread):
    """Largest memory of this process and its children beyond what it had before."""

    def __init__(self):
        super().__init__(daemon=True)
        self.before = self.most = own_memory(os.getpid())
        self.ended = threading.Event()

    def run(self):
        while not self.ended.wait(0.05):
            total = 0
            for pid in (
                os.getpid(),
                *(p.pid for p in multiprocessing.active_children()),
            ):
                try:
                    total += own_memory(pid)
                except (FileNotFoundError, ProcessLookupError, KeyError):
                    continue
            self.most = max(self.most, total)


def read_everything(folder):
    """Windows read by two workers, their rate, and memory before and at most."""
    store = WindowStore(folder)
    rows = np.random.default_rng(0).permutation(len(store)).tolist()
    loader = DataLoader(
        store,
        batch_size=32,
        sampler=rows,
        collate_fn=collate,
        num_workers=2,
        multiprocessing_context="fork",
    )
    watch = Watch()
    watch.start()
    began = time.perf_counter()
    n_windows = sum(len(batch["x"]) for batch in loader)
    rate = n_windows / (time.perf_counter() - began)
    watch.ended.set()
    watch.join()
    return n_windows, rate, watch.before, watch.most


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs Linux")
def test_memory_of_two_workers_does_not_grow_with_the_store(tmp_path):
    n_chans, n_times, n_files = 64, 262_144, 30  # 34 MB each, 1 GB in all
    rng = np.random.default_rng(0)
    written = []
    for number in range(n_files):
        noise = rng.standard_normal((n_chans, n_times), dtype=np.float32)
        recording = describe(f"r{number}", "ann", n_chans, ((0, 1023),), scale=1.0)
        written.append(write_recording(tmp_path, recording, noise))
    settings = {"sfreq": 128.0, "n_times": 256, "stride": 256}
    write_index(tmp_path, written, settings)
    assert sum(recording.n_bytes for recording in written) > 1e9
    # a process of its own: workers are forks, so all that this one holds counts thrice
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=spawn) as pool:
        n_windows, rate, before, most = pool.submit(read_everything, tmp_path).result()
    print(f"{rate:.0f} windows a second")
    print(f"{before / 1e6:.0f} MB before, {most / 1e6:.0f} MB at most")
    assert n_windows == n_files * 1023
    assert most < 3 * before + 300e6
    # what three processes import is 1.5 GB of it; loaded signals would add 1 GB or more
    assert most < 1.8e9
