"""Threads for work that torch does not divide by itself.

Each thread computes on one core: torch's own threads would wait in a loop for work that
comes from elsewhere, and take the cores from these.
"""

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier, Lock
from typing import TypeVar

import torch

from braindecode_samba.scan.optional import tell_once

Result = TypeVar("Result")

_lock = Lock()
# threads don't survive a fork: the process is a part of the key
_pools: dict[tuple[int, int], ThreadPoolExecutor | None] = {}


def run_in_threads(tasks: Sequence[Callable[[], Result]]) -> list[Result]:
    """Run tasks beside each other, and wait for all.

    Parameters
    ----------
    tasks : sequence of callable
        No more than torch has threads. They run without gradients.

    Returns
    -------
    list
        What they return, in their order.
    """
    if len(tasks) == 1:
        return [tasks[0]()]
    inference = torch.is_inference_mode_enabled()

    def run(task: Callable[[], Result]) -> Result:
        # modes belong to a thread: these have the caller's
        with torch.inference_mode(inference), torch.no_grad():
            return task()

    pool = _pool(len(tasks))
    return list(map(run, tasks) if pool is None else pool.map(run, tasks))


def _pool(n: int) -> ThreadPoolExecutor | None:
    """Threads that wait for work; None where the system starts no more."""
    with _lock:
        key = os.getpid(), n
        if key not in _pools:
            threads = torch.get_num_threads()
            pool = ThreadPoolExecutor(n, "samba", initializer=_take_one_core)
            # every thread must have begun: its initializer sets the number of threads
            # for itself, but also for those to come, which is mended here
            begun = Barrier(n)
            try:
                list(pool.map(lambda _: begun.wait(), range(n)))
                _pools[key] = pool
            except RuntimeError as error:
                begun.abort()
                pool.shutdown()
                _pools[key] = None
                tell_once(
                    "SAMBA's compiled loops run on one core",
                    f"no thread can be started ({error}); raise their limit",
                )
            torch.set_num_threads(threads)
        return _pools[key]


def _take_one_core() -> None:
    torch.set_num_threads(1)
    # a thread reads the number of all threads at its first use, and keeps it
    torch.get_num_threads()
