"""Targets, and how inputs are thrown at them."""

import contextlib
import faulthandler
import signal
import time
from dataclasses import dataclass, field
from typing import Any

from hypothesis import HealthCheck, Phase, Verbosity, given, seed, settings
from hypothesis.database import DirectoryBasedExampleDatabase

from tests.fuzz.refusals import is_refusal, signature

TARGETS = {}
# seconds of computing after which an input hangs
PATIENCE = 30


@dataclass
class Target:
    """A public entry, and inputs for it."""

    name: str
    function: Any
    strategies: dict[str, Any]
    share: int  # inputs in a round


@dataclass
class Found:
    """What a campaign has seen so far."""

    inputs: int = 0
    refused: int = 0
    begin: float = field(default_factory=time.monotonic)
    faults: dict[str, str] = field(default_factory=dict)

    @property
    def rate(self):
        """Inputs in a second."""
        return self.inputs / max(1e-9, time.monotonic() - self.begin)


class HangError(BaseException):
    """An input took too long."""


def target(share, **strategies):
    """Make a function, which fails or raises, a target."""

    def register(function):
        name = function.__name__
        TARGETS[name] = Target(name, function, strategies, share)
        return function

    return register


def throw(one, n, seed_value, found, folder=None, *, replay=False):
    """Throw n inputs at a target, and keep the faults.

    Faults that are known already don't stop it.
    """
    database = None if folder is None else DirectoryBasedExampleDatabase(folder)
    phases = (Phase.reuse,) if replay else (Phase.generate, Phase.shrink)

    def attempt(**drawn):
        found.inputs += 1
        try:
            with _patience():
                one.function(**drawn)
        except (Exception, HangError) as error:
            if is_refusal(error):
                found.refused += 1
                return
            mark = f"{one.name}: {signature(error)}"
            if mark not in found.faults or mark == attempt.new:
                attempt.new = mark
                found.faults[mark] = f"{error!r:.300} for {drawn!r:.600}"
                raise

    attempt.new = None
    attempt.__name__ = attempt.__qualname__ = one.name
    check = settings(
        max_examples=n,
        deadline=None,
        database=database,
        phases=phases,
        verbosity=Verbosity.quiet,
        suppress_health_check=list(HealthCheck),
        report_multiple_bugs=False,
    )(seed(seed_value)(given(**one.strategies)(attempt)))
    with contextlib.suppress(Exception, HangError):
        check()


@contextlib.contextmanager
def _patience():
    def stop(number, frame):
        raise HangError(f"more than {PATIENCE} s")

    # the time of this process alone counts: others may have the machine for minutes
    before = signal.signal(signal.SIGPROF, stop)
    signal.setitimer(signal.ITIMER_PROF, PATIENCE, 1)
    # what waits for ever, or hangs in C code, hears no signal: this tells where
    faulthandler.dump_traceback_later(20 * PATIENCE)
    try:
        yield
    finally:
        faulthandler.cancel_dump_traceback_later()
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)
