"""The command line: ``python -m tests.fuzz --minutes 60 [--seed 1] [--only NAME]``."""

import argparse
import resource
import sys
import time
import warnings
from pathlib import Path

from tests.fuzz import files, learning, signals, words  # noqa: F401 -- they register
from tests.fuzz.campaign import TARGETS, Found, throw


def main():
    """Throw inputs until the time is over; 1 if there were faults."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--minutes", type=float, default=1.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", action="append", choices=sorted(TARGETS))
    text = "keeps inputs that fail"
    parser.add_argument("--folder", type=Path, default=".hypothesis/fuzz", help=text)
    text = "throw the inputs of the folder alone"
    parser.add_argument("--replay", action="store_true", help=text)
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    chosen = [TARGETS[name] for name in options.only or TARGETS]
    found, told = Found(), 0.0
    end = time.monotonic() + 60 * options.minutes
    turn = 0
    while turn == 0 or (time.monotonic() < end and not options.replay):
        for one in chosen:
            known = set(found.faults)
            number = 10_000 * options.seed + turn
            folder = options.folder / one.name
            throw(one, one.share, number, found, folder, replay=options.replay)
            for mark in found.faults.keys() - known:
                print(f"FAULT {mark}\n  {found.faults[mark]}", flush=True)
            if time.monotonic() >= end:
                break
        turn += 1
        if time.monotonic() - told > 60 or time.monotonic() >= end:
            told = time.monotonic()
            print(_summary(found, turn), flush=True)
    return 1 if found.faults else 0


def _summary(found, turn):
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    minutes = (time.monotonic() - found.begin) / 60
    return (
        f"{minutes:.1f} minutes, round {turn}: {found.inputs} inputs "
        f"({found.rate:.1f} a second), {found.refused} refused, "
        f"{len(found.faults)} faults, at most {peak:.1f} GB"
    )


if __name__ == "__main__":
    sys.exit(main())
