"""Threads for work that torch does not divide by itself.

Each thread computes on one core.  torch's own threads, those of OpenMP, wait in a loop
for some milliseconds behind each of its operations, and would take the cores from
these: they are sent home before long tasks.  Before short ones that would not pay: a
system can take some milliseconds to start them again.
"""

import functools
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier, Lock
from typing import TypeVar

import torch
from threadpoolctl import ThreadpoolController

from braindecode_samba.scan.optional import tell_once

Result = TypeVar("Result")

# OpenMP's omp_pause_soft: numbers of threads and the like stay as they are set
_SOFT = 1
_lock = Lock()
# threads don't survive a fork: the process is a part of the key
_pools: dict[tuple[int, int], ThreadPoolExecutor | None] = {}


def run_in_threads(
    tasks: Sequence[Callable[[], Result]], long: bool = False
) -> list[Result]:
    """Run tasks beside each other, and wait for all.

    Parameters
    ----------
    tasks : sequence of callable
        No more than torch has threads. They run without gradients.
    long : bool
        Whether each takes more than some milliseconds.

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
    if pool is None:
        return list(map(run, tasks))
    for pause in _pauses() if long else ():
        pause(_SOFT)
    return list(pool.map(run, tasks))


@functools.cache
def _pauses() -> list[Callable[[int], int]]:
    """Functions of OpenMP 5 that send this thread's helpers home until it needs any."""
    libraries = ThreadpoolController().select(user_api="openmp").lib_controllers
    found = (getattr(lib.dynlib, "omp_pause_resource_all", None) for lib in libraries)
    return [pause for pause in found if pause is not None]


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
