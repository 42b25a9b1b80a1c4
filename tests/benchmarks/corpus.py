"""Train from a store bigger than memory: what that takes, and whether it waits.

``python -m tests.benchmarks.corpus --gb 20 --folder FOLDER`` writes a store of so many
distinct bytes (once; what is there is used again), trains for 500 steps drawn over all
of it with two workers, and prints the highest anonymous and shared memory of all
processes together, and windows per second of the loader alone, of training with it, and
of training on one batch that is held in memory.  Pages of files that the system keeps
for later are no part of it: it takes them back when memory is short.
"""

import argparse
import os
import re
import shutil
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch.utils.data import Dataset
from tqdm import tqdm

from braindecode_samba import load_montage
from braindecode_samba.pretraining import Corpus, SAMBAPretrainer, WindowStore
from braindecode_samba.pretraining.shards import (
    StoredRecording,
    finished_recording,
    write_index,
    write_recording,
)

SFREQ, N_TIMES = 128, 256
RECORDING = 15 * 60 * SFREQ  # samples
NETWORKS = {"small": {"d_state": 4, "expand": 2}, "full": {}}
MB = 1e6


def write_store(folder: Path, n_bytes: float) -> WindowStore:
    """Write noise at 64 electrodes, as a preparation does after its filters.

    Parameters
    ----------
    folder : Path
        The store; recordings that are there are kept.
    n_bytes : float
        Size of all signals; whole recordings of 15 minutes are written.

    Returns
    -------
    WindowStore
        The store.
    """
    montage = load_montage("physionetmi_64")
    n_chans = len(montage.names)
    n_recordings = max(1, round(n_bytes / (2 * n_chans * RECORDING)))
    free = shutil.disk_usage(folder.parent).free
    missing = [
        number
        for number in range(n_recordings)
        if finished_recording(folder, f"noise-{number:05d}") is None
    ]
    if len(missing) * 2 * n_chans * RECORDING > 0.9 * free:
        raise SystemExit(
            f"{folder.parent} has {free / 1e9:.3g} GB left: pass less --gb"
        )
    folder.mkdir(exist_ok=True)
    for number in tqdm(missing, desc="recordings", disable=None):
        rng = np.random.default_rng(number)
        volts = rng.standard_normal((n_chans, RECORDING), np.float32)
        volts *= 1e-5
        description = StoredRecording(
            key=f"noise-{number:05d}",
            source=f"noise {number}",
            subject=str(number),
            ch_names=tuple(montage.names),
            positions=tuple(map(tuple, montage.positions.tolist())),
            scale=1e-5,
            n_samples=0,
            n_bytes=0,
            runs=((0, RECORDING // N_TIMES),),
            dropped={},
            dropped_channels=(),
        )
        write_recording(folder, description, volts)
    written = [
        recording
        for number in range(n_recordings)
        if (recording := finished_recording(folder, f"noise-{number:05d}"))
    ]
    settings = {"sfreq": SFREQ, "n_times": N_TIMES, "stride": N_TIMES}
    write_index(folder, written, settings)
    return WindowStore(folder)


class Drawn(Dataset[dict[str, Any]]):
    """So many windows of a corpus, drawn over all of it.

    Parameters
    ----------
    corpus : Corpus
        The windows.
    n_windows : int
        How many an epoch draws.
    """

    def __init__(self, corpus: Corpus, n_windows: int) -> None:
        self.corpus, self.n_windows = corpus, n_windows
        self.lengths = corpus.lengths

    def __len__(self) -> int:
        return len(self.corpus)

    def __getitem__(self, row: int) -> dict[str, Any]:
        return self.corpus[row]

    def order(self, epoch: int, seed: int) -> Any:
        """Rows of one epoch; a store smaller than that begins again."""
        return np.resize(self.corpus.order(epoch, seed), self.n_windows)


class Memory(NamedTuple):
    """What processes hold for themselves: anonymous and shared memory, bytes."""

    summed: int  # RssAnon + RssShmem: pages of several processes count for each
    once: int  # proportional: pages of several processes count once


def tree_memory(root: int) -> Memory:
    """Add up what a process and its descendants hold.

    Parameters
    ----------
    root : int
        Number of the process.

    Returns
    -------
    Memory
        Of all of them together.
    """
    children: dict[int, list[int]] = {}
    for status in Path("/proc").glob("[0-9]*/status"):
        if parent := _fields(status, "PPid"):
            children.setdefault(parent["PPid"], []).append(int(status.parent.name))
    tree = [root]
    for pid in tree:
        tree += children.get(pid, [])
    summed = once = 0
    for pid in tree:
        summed += sum(_fields(Path(f"/proc/{pid}/status"), "RssAnon|RssShmem").values())
        rollup = Path(f"/proc/{pid}/smaps_rollup")
        once += sum(_fields(rollup, "Pss_Anon|Pss_Shmem").values())
    return Memory(1024 * summed, 1024 * once)


def _fields(path: Path, names: str) -> dict[str, int]:
    """Read numbers of a file of /proc; none if the process has ended."""
    try:
        found = re.findall(rf"^({names}):\s*(\d+)", path.read_text(), re.MULTILINE)
    except OSError:
        return {}
    return {name: int(value) for name, value in found}


@contextmanager
def watched_memory(pause: float = 0.2) -> Iterator[list[Memory]]:
    """Watch this process and its descendants; the list holds the highest values."""
    peak, stop = [tree_memory(os.getpid())], threading.Event()

    def watch() -> None:
        while not stop.wait(pause):
            pairs = zip(peak[0], tree_memory(os.getpid()), strict=True)
            peak[0] = Memory(*map(max, pairs))

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield peak
    finally:
        stop.set()
        thread.join()


def train(
    store: WindowStore, network: str, n_steps: int, n_workers: int, batch: int
) -> tuple[SAMBAPretrainer, Drawn]:
    """Train for some steps over the whole store.

    Returns
    -------
    SAMBAPretrainer, Drawn
        The net and its windows.
    """
    windows = Drawn(Corpus([store]), n_steps * batch)
    settings = {f"module__{name}": value for name, value in NETWORKS[network].items()}
    net = SAMBAPretrainer(
        batch_size=batch,
        max_epochs=1,
        iterator_train__num_workers=n_workers,
        criterion__region="masked",
        random_state=0,
        verbose=0,
        **settings,
    )
    return net.fit(windows), windows


def rates(net: SAMBAPretrainer, windows: Drawn) -> dict[str, float]:
    """Windows per second of the loader, of training with it, and of training alone."""
    begin = time.perf_counter()
    for batch in net.get_iterator(windows, training=True):
        held = batch
    loader = windows.n_windows / (time.perf_counter() - begin)
    n_steps = min(windows.n_windows // net.batch_size, 50)
    begin = time.perf_counter()
    for _ in range(n_steps):
        net.train_step(held)
    alone = n_steps * net.batch_size / (time.perf_counter() - begin)
    together = windows.n_windows / net.history[-1, "dur"]
    return {
        "loader": loader,
        "training with it": together,
        "one batch in memory": alone,
    }


def main(arguments: list[str] | None = None) -> None:
    """Write, train, and print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--gb", type=float, default=1.0, help="size of the store")
    parser.add_argument("--folder", type=Path, required=True, help="of the store")
    parser.add_argument("--steps", type=int, default=500)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument(
        "--networks", nargs="+", choices=list(NETWORKS), default=list(NETWORKS)
    )
    args = parser.parse_args(arguments)
    imported = tree_memory(os.getpid())
    store = write_store(args.folder, args.gb * 1e9)
    size = sum(recording.n_bytes for recording in store.recordings)
    print(
        f"{size / 1e9:.2f} GB, {len(store)} windows of 64 x {N_TIMES}; {args.steps} "
        f"steps of {args.batch}, {args.workers} workers, {torch.get_num_threads()} "
        f"threads; {imported.summed / MB:.0f} MB after the imports",
        flush=True,
    )
    for network in args.networks:
        with watched_memory() as peak:
            net, windows = train(store, network, args.steps, args.workers, args.batch)
        print(
            f"{network} network: at most {peak[0].summed / MB:.0f} MB, "
            f"{peak[0].once / MB:.0f} MB if what processes share counts once; windows "
            "per second: "
            + ", ".join(f"{n} {rate:.0f}" for n, rate in rates(net, windows).items()),
            flush=True,
        )


if __name__ == "__main__":
    main()
