"""How loops are compiled by numba, and kept on disk where that can be done.

numba looks for a folder to write to: that of the environment variable
``NUMBA_CACHE_DIR``, ``__pycache__`` beside the loops, the user's cache.  It refuses to
compile where there is none, and stops at a file that it can't read or write; here it
compiles again.
"""

import contextlib
from collections.abc import Callable
from typing import Any

from numba import njit
from numba.core.caching import FunctionCache

EXACT = {"contract", "nsz"}
SUMS = EXACT | {"reassoc"}

# why something could not be kept, or read, in the order in which it came
losses: list[str] = []


class OptionalCache(FunctionCache):
    """Compiled code on disk, which is used where it can be."""

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        """Read what was compiled, or nothing."""
        try:
            return super().load_overload(sig, target_context)
        except Exception as error:  # what a damaged file makes of a parser
            _lose(error)
            with contextlib.suppress(Exception):
                self.flush()
            return None

    def save_overload(self, sig: Any, data: Any) -> None:
        """Write what was compiled, if that can be done."""
        try:
            super().save_overload(sig, data)
        except Exception as error:
            _lose(error)


def compiled(
    fastmath: set[str], apart: bool = False, inner: bool = True
) -> Callable[[Callable[..., Any]], Any]:
    """Compile a loop at its first use, without Python's lock.

    Parameters
    ----------
    fastmath : set of str
        ``EXACT``, or ``SUMS`` where sums may be taken in another order.
    apart : bool
        Whether no array that is written overlaps another one. A compiler that knows
        needs no second, slower loop, and no test of which one to take.
    inner : bool
        Whether it is called by loops alone, of which it becomes a part: a call would
        pass seven values for every array, and count who refers to it. It makes no
        arrays.

    Returns
    -------
    callable
        A decorator.
    """
    options: dict[str, Any] = {"nogil": True, "error_model": "numpy"}
    if inner:
        options |= {"forceinline": True, "_nrt": False}
        options |= {"no_cpython_wrapper": True, "no_cfunc_wrapper": True}

    def decorate(loop: Callable[..., Any]) -> Any:
        made: Any = njit(fastmath=fastmath, **options)(loop)
        try:
            made._cache = OptionalCache(loop)
            if apart:
                made._compiler._customize_flags = _without_overlap
        except Exception as error:  # there is no folder, or numba has changed
            _lose(error)
        return made

    return decorate


def _without_overlap(flags: Any) -> Any:
    """Set what numba's decorator has no word for."""
    flags.noalias = True
    return flags


def _lose(error: Exception) -> None:
    losses.append(f"{type(error).__name__}: {error}".splitlines()[0])
