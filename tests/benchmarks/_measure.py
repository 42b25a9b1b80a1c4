"""How numbers are taken: interleaving, medians, processes of their own, tables.

This module knows no network and imports no torch: the process that asks stays small,
because a child counts the peak memory of the process that started it as its own.
What runs in the child is in `_worker`.
"""

import json
import math
import os
import platform
import re
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date
from importlib.metadata import version
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
BEGIN = "<!-- tables of tests.benchmarks.run: begin -->"
END = "<!-- tables of tests.benchmarks.run: end -->"


class Refused(Exception):
    """A measurement that could not be taken; the message says why."""


@dataclass(frozen=True)
class Case:
    """One thing to measure.

    Parameters
    ----------
    model : str
        A name that `tests.benchmarks.subjects` knows.
    n_times : int
        Samples of a window.
    sfreq : int
        Rate of the windows, Hz.
    batch, n_chans : int
        Windows, and channels of each.
    mode : {"inference", "training"}
        A forward pass without gradients, or forward and backward of the mean squared
        error against the input, without optimiser.
    """

    model: str
    n_times: int
    sfreq: int = 128
    batch: int = 1
    n_chans: int = 16
    mode: str = "inference"


def interleave(
    functions: Sequence[Callable[[], object]], repeats: int, budget: float
) -> list[list[float]]:
    """Time functions in turn, A B A B, each right behind an untimed call of it.

    So it is timed as in a loop: what the other one left of threads and caches is gone.

    Parameters
    ----------
    functions : sequence of callable
        What to time.
    repeats : int
        Rounds, at least 1.
    budget : float
        Seconds after which no further round begins.

    Returns
    -------
    list of list of float
        Seconds, for each function one value a round.
    """
    start = time.perf_counter()
    times: list[list[float]] = [[] for _ in functions]
    for _ in range(repeats):
        for function, seconds in zip(functions, times, strict=True):
            function()
            begin = time.perf_counter()
            function()
            seconds.append(time.perf_counter() - begin)
        if time.perf_counter() - start > budget:
            break
    return times


def median_ratio(numerator: Sequence[float], denominator: Sequence[float]) -> float:
    """Median over rounds of the ratio within the round."""
    return statistics.median(a / b for a, b in zip(numerator, denominator, strict=True))


def exponent(sizes: Sequence[float], values: Sequence[float]) -> float:
    """Slope of log value on log size by least squares, NaN below two points."""
    if len(sizes) < 2:
        return math.nan
    fit = statistics.linear_regression(
        [math.log(size) for size in sizes], [math.log(value) for value in values]
    )
    return fit.slope


class Worker:
    """A process that answers requests one after another, and is replaced if it dies.

    Parameters
    ----------
    threads : int
        Threads of torch.
    timeout : float
        Seconds after which a request is given up and its process stopped.
    """

    def __init__(self, threads: int, timeout: float) -> None:
        self.threads = threads
        self.timeout = timeout
        self._process: subprocess.Popen[str] | None = None

    def __enter__(self) -> "Worker":
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """End the process, if there is one."""
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None

    def ask(self, **request: Any) -> Any:
        """Send a request and wait for its answer.

        Parameters
        ----------
        **request
            What `tests.benchmarks._worker` takes; cases as dicts.

        Returns
        -------
        object
            The answer.

        Raises
        ------
        Refused
            If the request fails, takes too long, or its process dies.
        """
        process = self._running()
        timer = threading.Timer(self.timeout, process.kill)
        begin = time.monotonic()
        timer.start()
        try:
            print(json.dumps(request), file=process.stdin, flush=True)
            line = process.stdout.readline()
        except BrokenPipeError:
            line = ""
        finally:
            timer.cancel()
        if not line:
            code = process.wait()
            self.stop()
            if time.monotonic() - begin >= self.timeout:
                raise Refused(f"no result within {self.timeout:g} s")
            raise Refused(f"the process ended with {code}")
        answer = json.loads(line)
        if "refused" in answer:
            raise Refused(answer["refused"])
        return answer["answer"]

    def _running(self) -> subprocess.Popen[str]:
        if self._process is None:
            threads = str(self.threads)
            self._process = subprocess.Popen(
                [sys.executable, "-W", "ignore", "-m", "tests.benchmarks._worker"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                cwd=ROOT,
                env={**os.environ, "OMP_NUM_THREADS": threads},
            )
        return self._process


def machine() -> str:
    """One line on processor, cores, versions and date."""
    cpu = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.is_file():
        found = re.search(r"^model name\s*:\s*(.+)$", info.read_text(), re.MULTILINE)
        cpu = found.group(1) if found else cpu
    versions = ", ".join(
        f"{package} {version(package)}"
        for package in ("torch", "braindecode", "braindecode-samba")
    )
    return (
        f"{cpu}, {os.cpu_count()} cores; Python {platform.python_version()}, "
        f"{versions}; {date.today().isoformat()}"
    )


def markdown_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Markdown of a table whose cells are text already."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def check_place(path: Path) -> None:
    """Refuse a file without a place for the tables.

    Raises
    ------
    ValueError
        If the file isn't there or lacks one of the two comments.
    """
    text = path.read_text() if path.is_file() else ""
    if not 0 <= text.find(BEGIN) < text.find(END):
        raise ValueError(
            f"{path} has no place for the tables; put the lines {BEGIN!r} and {END!r} "
            "into it, in this order"
        )


def insert_tables(path: Path, tables: str) -> None:
    """Replace what stands between the two comments of a file.

    Parameters
    ----------
    path : pathlib.Path
        File that passes `check_place`.
    tables : str
        Markdown.
    """
    check_place(path)
    text = path.read_text()
    before, after = text[: text.index(BEGIN)], text[text.index(END) :]
    beside = path.with_name(path.name + ".new")
    beside.write_text(f"{before}{BEGIN}\n\n{tables.strip()}\n\n{after}")
    os.replace(beside, path)
