"""A store that is bigger than what training may hold: memory, on a small scale.

The real size, and speed, are for ``python -m tests.benchmarks.corpus``.
"""

import os
import sys

import numpy as np
import pytest
from benchmarks.corpus import train, tree_memory, watched_memory, write_store

pytestmark = pytest.mark.skipif(
    not sys.platform.startswith("linux"), reason="memory is read from /proc"
)
STORE = 400e6  # bytes


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return write_store(tmp_path_factory.mktemp("big") / "store", STORE)


@pytest.fixture(scope="module")
def small_store(tmp_path_factory):
    return write_store(tmp_path_factory.mktemp("small") / "store", STORE / 20)


def test_the_store_holds_that_many_distinct_bytes(store):
    size = sum(recording.n_bytes for recording in store.recordings)
    assert size == pytest.approx(STORE, rel=0.05)
    firsts = [store[row]["x"] for row in range(0, len(store), len(store) // 20)]
    assert len({window.numpy().tobytes() for window in firsts}) == len(firsts)


def test_training_holds_a_small_part_of_the_store(store, small_store):
    # libraries, compiled loops and what steps of this size take
    train(small_store, "small", 2, 0, 4)
    before = tree_memory(os.getpid())
    # and what workers take, whatever they read: 130 MB each, of which earlier tests may
    # have left some behind
    with watched_memory(pause=0.05) as usual:
        train(small_store, "small", 20, 2, 4)
    with watched_memory(pause=0.05) as peak:
        train(store, "small", 20, 2, 4)
    print(f"{(peak[0].once - usual[0].once) / 1e6:.0f} MB more than of a small store")
    assert peak[0].once - usual[0].once < STORE / 8
    assert peak[0].summed > 2 * before.summed  # the workers were seen


def test_a_store_that_is_read_whole_is_noticed(store):
    before = tree_memory(os.getpid())
    with watched_memory(pause=0.05) as peak:
        whole = [
            np.array(np.load(store.folder / f"{recording.key}.npy", mmap_mode="r"))
            for recording in store.recordings
        ]
        assert len(whole) == len(store.recordings)
        after = tree_memory(os.getpid())
    # memory that earlier tests have left behind is taken first
    assert peak[0].once - before.once > STORE / 2
    assert after.once - before.once > STORE / 2
