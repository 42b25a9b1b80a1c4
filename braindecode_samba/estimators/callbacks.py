"""Callbacks as users hand them over: taken as they are, and checked before any work.

They hold what can't be copied: writers, open files, connections of a logger.
"""

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sklearn.metrics import get_scorer_names
from skorch.callbacks import Callback
from skorch.callbacks.scoring import ScoringBase
from skorch.exceptions import SkorchException


def as_list(callbacks: Any) -> list[Any]:
    """Callbacks of skorch, or ``(name, callback)``, in a list.

    Parameters
    ----------
    callbacks : None, callback, or sequence of these
        What a user passed.

    Raises
    ------
    TypeError
        If something is no callback.
    """
    if callbacks is None:
        return []
    if _is_callback(_bare(callbacks)):
        return [callbacks]
    if not isinstance(callbacks, list | tuple):
        raise TypeError(_say_what_it_is("callbacks", callbacks))
    for number, item in enumerate(callbacks):
        if not _is_callback(_bare(item)):
            raise TypeError(_say_what_it_is(f"callbacks[{number}]", item))
    return list(callbacks)


def check_watchers(callbacks: Any, remedy: str) -> None:
    """Refuse callbacks that need held-out windows where there are none.

    Parameters
    ----------
    callbacks : None, callback, or sequence of these
        What a user passed.
    remedy : str
        How to hold some out.

    Raises
    ------
    ValueError
        If one watches ``valid_loss`` or another number of theirs.
    """
    for item in as_list(callbacks):
        callback = _bare(item)
        for watched in _watched(callback):
            name = getattr(callback, "__name__", type(callback).__name__)
            name = callback if isinstance(callback, str) else name
            raise ValueError(
                f"the callback {name} watches {watched!r}, and no windows are held out "
                f"for it: {remedy}"
            )


@contextmanager
def watchers_told() -> Iterator[None]:
    """Say what a callback lacks that turned out to read a number of held-out windows.

    Raises
    ------
    ValueError
        Instead of the KeyError of skorch's history.
    """
    try:
        yield
    except (KeyError, SkorchException) as error:
        if "valid_" not in str(error):
            raise
        raise ValueError(
            f"a callback reads {error} of held-out windows, and there are none: pass "
            "validation_split=0.2 to the estimator and call fit"
        ) from error


def copy_where_possible(callbacks: Any) -> Any:
    """Copy callbacks, but what can't be copied is the same object."""
    if isinstance(callbacks, list | tuple):
        return type(callbacks)(copy_where_possible(item) for item in callbacks)
    try:
        return copy.deepcopy(callbacks)
    except Exception:  # locks, files and sockets refuse in ways of their own
        return callbacks


def _watched(callback: Any) -> Iterator[str]:
    """Numbers of held-out windows that a callback reads."""
    if isinstance(callback, str):
        yield f"valid_{callback}"
    monitor = getattr(callback, "monitor", None)
    if isinstance(monitor, str) and monitor.startswith("valid_"):
        yield monitor.removesuffix("_best")
    if isinstance(callback, ScoringBase) and not callback.on_train:
        yield str(callback.name or callback.scoring)


def _bare(item: Any) -> Any:
    """Take the name off a callback, and make one of a class."""
    if isinstance(item, tuple | list) and len(item) == 2:
        item = item[1] if isinstance(item[0], str) else item
    if isinstance(item, type) and issubclass(item, Callback):
        try:
            return item()
        except TypeError:
            return item
    return item


def _is_callback(item: Any) -> bool:
    # braindecode makes callbacks of the names of scores
    if isinstance(item, str):
        return item in get_scorer_names()
    kind = item if isinstance(item, type) else type(item)
    return issubclass(kind, Callback)


def _say_what_it_is(where: str, item: Any) -> str:
    return (
        f"{where} is a {type(item).__name__}: pass callbacks of skorch, which wrap "
        "writers and loggers, such as skorch.callbacks.TensorBoard(writer)"
    )
