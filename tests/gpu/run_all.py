"""Check and measure everything on a GPU, with one command and one table.

``python tests/gpu/run_all.py TABLE.md`` runs all items of the README beside this file,
each in a process of its own, so that a crash is a row and not the end.  What an item
does lives in the modules of the items.
"""

import argparse
import datetime
import gc
import importlib.metadata
import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

# where this file is run as a script, and beside the package where that isn't installed
_TESTS = Path(__file__).resolve().parents[1]
for _folder in (str(_TESTS), str(_TESTS.parent)):
    if _folder not in sys.path:
        sys.path.insert(0, _folder)

import torch  # noqa: E402

from gpu import (  # noqa: E402
    ceiling_items,
    compile_items,
    network_items,
    scan_items,
    training_items,
)
from gpu.plan import Case, Plan, has_kernel  # noqa: E402
from gpu.rows import Store, failure, markdown, write_beside  # noqa: E402

ITEMS: dict[int, Callable[[Plan], list[Case]]] = {
    1: scan_items.scan_right,
    2: scan_items.grouped,
    3: network_items.whole_network,
    4: ceiling_items.ceiling,
    5: network_items.length,
    6: compile_items.compiled,
    7: network_items.against_others,
    8: training_items.determinism,
    9: training_items.pretraining,
}
# what has to stand before CUDA and Triton start
SETTINGS = {
    1: {"TRITON_F32_DEFAULT": "ieee"},  # float32 products as such, not tf32
    2: {"TRITON_F32_DEFAULT": "ieee"},
    8: {"CUBLAS_WORKSPACE_CONFIG": ":4096:8"},
}
SCRIPT = Path(__file__).resolve()
SKIPPED = "no GPU: skipped"
BROKEN = 3  # exit code of a process whose GPU answers no more
GRACE = 20.0  # seconds for the case that runs when the time of an item is over


def environment(plan: Plan) -> list[tuple[str, str]]:
    """Names and values of what results depend on."""
    found = [("Python", platform.python_version())]
    if plan.device.type == "cuda":
        properties = torch.cuda.get_device_properties(plan.device)
        size = f"{properties.total_memory / 2**30:.0f} GiB"
        found = [("GPU", f"{properties.name}, {size}"), ("driver", _driver()), *found]
    else:
        found = [("toy sizes on a CPU", "shows that the code runs; no figure counts")]
    for name in ("torch", "triton", "mamba-ssm", "braindecode", "braindecode-samba"):
        try:
            found.append((name, importlib.metadata.version(name)))
        except importlib.metadata.PackageNotFoundError:
            found.append((name, "not installed"))
    if plan.device.type == "cuda":
        usable = "can be imported" if has_kernel(plan.device) else "can't be imported"
        found.append(("mamba-ssm's kernel", usable))
    return found


def _driver() -> str:
    command = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return done.stdout.split()[0]


def run_cases(number: int, plan: Plan, store: Store) -> int:
    """Run what an item still lacks, in this process, until its time is over.

    Parameters
    ----------
    number : int
        Item.
    plan : Plan
        How to run it.
    store : Store
        Where rows are kept.

    Returns
    -------
    int
        0, or `BROKEN` if the GPU answers no more and others must go on.
    """
    end = time.monotonic() + plan.seconds
    if plan.device.type == "cuda":  # cuDNN's convolutions are tf32 by default
        torch.backends.cuda.matmul.allow_tf32 = False
        torch.backends.cudnn.allow_tf32 = False
    for case in ITEMS[number](plan):
        if store.has(number, case.name):
            continue
        if time.monotonic() > end:
            break
        print(f"item {number}: {case.name}", flush=True)
        store.begin(number, case.name)
        try:
            rows = case.run()
        except Exception as error:  # one failure is a row
            rows = [failure(case.name, f"{type(error).__name__}: {error}")]
        store.put(number, case.name, rows)
        gc.collect()
        if plan.device.type == "cuda" and not _answers():
            return BROKEN
    return 0


def _answers() -> bool:
    # after an illegal access every call fails
    try:
        torch.cuda.synchronize()
        torch.cuda.empty_cache()
    except RuntimeError:
        return False
    return True


def run_item(number: int, options: argparse.Namespace, store: Store) -> None:
    """Run an item in a process of its own, and in another one where that one ends.

    Parameters
    ----------
    number : int
        Item.
    options : argparse.Namespace
        Of the command line.
    store : Store
        Where rows are kept.
    """
    end = time.monotonic() + 60 * options.minutes
    command = [sys.executable, str(SCRIPT), str(options.table)]
    command += ["--rows", str(store.folder), "--child", str(number)]
    if options.windows is not None:
        command += ["--windows", str(options.windows)]
    command += ["--toy"] * options.toy
    store.take_begun(number)  # of a call that was cut off: to be run again
    while (left := end - time.monotonic()) > 0:
        try:
            code = subprocess.run(
                [*command, "--minutes", str(left / 60)],
                env={**os.environ, **SETTINGS.get(number, {})},
                timeout=left + GRACE,
            ).returncode
        except subprocess.TimeoutExpired:
            print(f"item {number}: out of time in {store.take_begun(number)}")
            return
        begun = store.take_begun(number)
        if code == 0:
            return
        if begun is not None:
            reason = f"its process ended with exit code {code}"
            store.put(number, begun, [failure(begun, reason)])
        elif code != BROKEN:
            print(f"item {number}: its process ended with exit code {code}")
            return


def not_run(plan: Plan, store: Store) -> str:
    """Say how many cases of which items have no rows yet."""
    missing = []
    for number, item in ITEMS.items():
        names = [case.name for case in item(plan)]
        left = sum(not store.has(number, name) for name in names)
        if left:
            missing.append(f"item {number}: {left} of {len(names)} cases")
    return "; ".join(missing) or "nothing"


def check_environment(found: list[tuple[str, str]], folder: Path) -> str:
    """Refuse rows of another machine or version; give the date of the first call."""
    path = folder / "environment"
    if not path.exists():
        kept = {"found": dict(found), "date": datetime.date.today().isoformat()}
        write_beside(path, json.dumps(kept))
    kept = json.loads(path.read_text())
    if kept["found"] != dict(found):
        raise SystemExit(
            f"the rows in {folder} were measured with {kept['found']}, and here is "
            f"{dict(found)}; pass another folder as --rows"
        )
    return kept["date"]


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """Read the command line, and refuse what can't be run."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("table", type=Path, help="Markdown file to write")
    parser.add_argument("--items", default="1,2,3,4,5,6,7,8,9", help="such as 1,3,5")
    parser.add_argument(
        "--minutes", type=float, default=2.5, help="time of each item (default: 2.5)"
    )
    parser.add_argument(
        "--rows", type=Path, help="folder of rows (default: beside the table)"
    )
    parser.add_argument("--windows", type=Path, help=".npy of windows for item 9")
    parser.add_argument(
        "--toy", action="store_true", help="smallest sizes on the CPU: does it run?"
    )
    parser.add_argument("--child", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    names = options.items.split(",")
    if not all(name.isdigit() and int(name) in ITEMS for name in names):
        parser.error(f"--items {options.items} is no list of numbers from 1 to 9")
    options.items = [int(name) for name in names]
    if options.windows is not None and not options.windows.is_file():
        parser.error(f"--windows {options.windows} is no file")
    if options.rows is None:
        options.rows = options.table.with_suffix(".rows")
    return options


def main(arguments: list[str] | None = None) -> int:
    """Run items and write the table.

    Parameters
    ----------
    arguments : list of str, optional
        Command line; that of the process by default.

    Returns
    -------
    int
        Exit code.
    """
    options = parse(arguments)
    if not options.toy and not torch.cuda.is_available():
        print(SKIPPED)
        if options.rows.exists():
            print(f"{options.table} stays as it is: {options.rows} holds results")
        else:
            write_beside(options.table, f"# GPU results\n\n{SKIPPED}\n")
        return 0
    device = torch.device("cpu" if options.toy else "cuda")
    plan = Plan(device, options.toy, 60 * options.minutes, options.windows)
    store = Store(options.rows)
    if options.child is not None:
        return run_cases(options.child, plan, store)
    found = environment(plan)
    date = check_environment(found, options.rows)
    for number in options.items:
        run_item(number, options, store)
        found_now = [*found, ("date", date), ("not run", not_run(plan, store))]
        write_beside(options.table, markdown(found_now, store.rows()))
    print(options.table.read_text())
    return 0


if __name__ == "__main__":
    sys.exit(main())
