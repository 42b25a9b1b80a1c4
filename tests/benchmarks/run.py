"""Print the tables of speed and memory, and write them into a README on request.

The command line and the order of the tables; each table is made in `tables`, and how
numbers are taken stands in `_measure`.
"""

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from . import tables
from ._measure import check_place, insert_tables, machine


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure what the arguments ask for.

    Parameters
    ----------
    arguments : sequence of str, optional
        Command line; by default that of the process.
    """
    options = _parse(arguments)
    print(f"{machine()}\n", flush=True)
    parts = [machine()]
    with tables.Session(
        options.repeats, options.budget, options.timeout, options.max_peaks
    ) as session:
        for part in _parts(session, options):
            print(f"{part}\n", flush=True)
            parts.append(part)
    if options.write:
        insert_tables(options.write, "\n\n".join(parts))


def _parts(session: tables.Session, options: argparse.Namespace) -> Iterator[str]:
    lengths, batches, threads = options.lengths, options.batch, options.threads
    most = max(threads)
    for n in threads:
        yield tables.whole_network(session, n, most, lengths, batches)
    for n in threads:
        yield tables.classifiers(session, n, lengths, options.models)
    yield tables.classifier_peaks(session, most, lengths, options.models)
    yield tables.growth(session, most, options.growth)
    for n in threads:
        yield tables.throughput(session, n, lengths[0], max(batches))
    if options.million:
        yield tables.million(session, most)


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tests.benchmarks.run", description=__doc__.splitlines()[0]
    )
    add = parser.add_argument
    several = {"nargs": "+", "metavar": "N"}
    add(
        "--lengths",
        type=_count,
        default=[2, 10, 100, 300],
        **several,
        help="seconds of a window, shortest first",
    )
    add(
        "--growth",
        type=_count,
        default=[10, 30, 100, 300, 1000],
        **several,
        help="seconds of the windows for the exponents",
    )
    add("--threads", type=_count, default=[1, 2], **several)
    add(
        "--batch",
        type=_count,
        default=[1, 8, 32],
        **several,
        help="windows of the shortest length",
    )
    add("--models", nargs="*", choices=list(tables.RATES), default=list(tables.RATES))
    add("--repeats", type=_count, default=5, help="rounds, at most")
    add(
        "--budget",
        type=_count,
        default=120,
        help="seconds after which no further round begins",
    )
    add(
        "--timeout",
        type=_count,
        default=1800,
        help="seconds after which a measurement is given up",
    )
    add(
        "--max-peaks",
        type=_count,
        default=None,
        help="memory is measured for so many cases, one process each",
    )
    add("--million", action="store_true", help="one window of 1,000,000 samples too")
    add("--write", type=Path, metavar="FILE", help="file with a place for the tables")
    add(
        "--quick",
        action="store_true",
        help="under a minute: does it run? The numbers mean nothing",
    )
    options = parser.parse_args(arguments)
    if options.quick:
        parser.set_defaults(
            lengths=[2, 4],
            growth=[2, 4],
            threads=[1],
            batch=[1],
            repeats=2,
            models=["EEGNet", "CBraMod"],
            max_peaks=2,
        )
        options = parser.parse_args(arguments)
    options.lengths = sorted(options.lengths)
    if options.write:
        try:
            check_place(options.write)
        except ValueError as error:
            parser.error(str(error))
    return options


def _count(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{value} is below 1")
    return value


if __name__ == "__main__":
    sys.exit(main())
