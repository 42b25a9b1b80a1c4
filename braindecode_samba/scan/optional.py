"""Whether the compiled loops serve: they are a speed-up, and torch is always there.

Nothing that happens to numba, to its cache or to threads stops a network.  The loops
are tried out before their first use; if they fail, torch serves from then on, and one
warning says why and what to do.
"""

import importlib
import threading
import warnings
from collections.abc import Callable
from typing import Any, NamedTuple


class Serving(NamedTuple):
    """Which way layers go on a CPU in float32, and why."""

    path: str  # "compiled loops" or "torch"
    reason: str  # with what to do, where something is lost
    cache: str  # folder of the compiled loops, or why they are not kept


_lock = threading.RLock()
# by whether the way back was tried too: what failed, or None
_faults: dict[bool, str | None] = {}
_told: set[str] = set()


def loops_serve(try_out: Callable[[bool], None], backward: bool) -> bool:
    """Tell whether the compiled loops serve; try them out at the first time.

    Parameters
    ----------
    try_out : callable
        ``try_out(backward)`` runs the loops and raises whatever comes, ArithmeticError
        if their numbers are wrong.
    backward : bool
        Whether derivatives are wanted.

    Returns
    -------
    bool
        False if torch has to do it.
    """
    fault = _fault(try_out, backward)
    if fault is not None:
        tell_once("SAMBA's layers run through torch, which is slower", fault)
    elif lost := _lost_cache():
        tell_once("each process compiles SAMBA's loops anew, which takes a while", lost)
    return fault is None


def tell_once(what: str, why: str) -> None:
    """Warn of a speed-up that is lost, once in a process."""
    if what not in _told:
        _told.add(what)
        warnings.warn(f"{what}: {why}", RuntimeWarning, stacklevel=2)


def describe(try_out: Callable[[bool], None]) -> Serving:
    """Say which way serves and why, with ``try_out`` as for `loops_serve`."""
    fault = _fault(try_out, backward=True)
    if fault is not None:
        return Serving("torch", fault, "none")
    from braindecode_samba.scan.kernels import forward

    cache = _lost_cache() or str(forward.stats.cache_path)
    reason = "for float32; numba has compiled them, and they agree with torch"
    return Serving("compiled loops", reason, cache)


def _fault(try_out: Callable[[bool], None], backward: bool) -> str | None:
    """Say what keeps the loops from serving, and what to do; None if they serve."""
    if backward not in _faults:
        with _lock:
            if backward not in _faults:
                _faults[backward] = _faults.get(not backward) or _find_fault(
                    try_out, backward
                )
    return _faults[backward]


def _find_fault(try_out: Callable[[bool], None], backward: bool) -> str | None:
    try:
        numba: Any = importlib.import_module("numba")
    except Exception as error:  # a broken installation fails in many ways
        return f"numba can't be imported ({_line(error)}); pip install --upgrade numba"
    if numba.config.DISABLE_JIT:
        return "NUMBA_DISABLE_JIT is set; unset this environment variable"
    failures: list[Exception] = []

    def run() -> None:
        try:
            try_out(backward)
        except Exception as error:  # whatever compilers come to
            failures.append(error)

    # in a thread of its own: gradients, autocast and hooks belong to the caller's
    thread = threading.Thread(target=run, name="samba-trial")
    try:
        thread.start()
    except RuntimeError as error:
        return f"no thread can be started ({_line(error)}); raise their limit"
    thread.join()
    if failures:
        return (
            f"numba's compiled loops fail ({_line(failures[0])}); pip install "
            "--upgrade numba"
        )
    return None


def _lost_cache() -> str | None:
    """Say why compiled loops are not kept, and what to do."""
    from braindecode_samba.scan.caching import losses

    if not losses:
        return None
    return (
        f"numba can't keep them on disk ({losses[0]}); set NUMBA_CACHE_DIR to a folder "
        "that can be written and has some room"
    )


def _line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__
