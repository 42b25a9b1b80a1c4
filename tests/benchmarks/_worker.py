"""The process in which things are measured: requests come in, answers go out.

A line of JSON each.  ``{"measure": "times", "cases": [...], "repeats": n, "budget":
s}`` gives seconds for each case and round; ``{"measure": "peak", "case": ...}`` the
extra memory and the seconds of a single step, and is right only as the first request of
a process.
"""

import json
import os
import resource
import sys
import time
from typing import Any

import torch

from ._measure import Case, interleave
from .subjects import build

# kilobytes on Linux, bytes on macOS
_MAXRSS_MB = 1e-6 if sys.platform == "darwin" else 1.024e-3


def _times(
    cases: list[dict[str, Any]], repeats: int, budget: float
) -> list[list[float]]:
    steps = [build(Case(**case)).step for case in cases]
    return interleave(steps, repeats, budget)


def _peak(case: dict[str, Any]) -> dict[str, float]:
    subject = build(Case(**case))
    subject.warm_up()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    begin = time.perf_counter()
    subject.step()
    seconds = time.perf_counter() - begin
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {"mb": (after - before) * _MAXRSS_MB, "seconds": seconds}


def _reason(error: Exception) -> str:
    """One line that fits into a footnote."""
    text = " ".join(f"{type(error).__name__}: {error}".split())
    return text if len(text) <= 240 else f"{text[:239]}…"


def main() -> None:
    """Answer until the requests end."""
    # what a model prints must not come between the answers
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    torch.manual_seed(0)
    measures = {"times": _times, "peak": _peak}
    for line in sys.stdin:
        request = json.loads(line)
        measure = measures[request.pop("measure")]
        try:
            answer = {"answer": measure(**request)}
        except Exception as error:  # whatever a model dislikes goes into the table
            answer = {"refused": _reason(error)}
        print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    main()
