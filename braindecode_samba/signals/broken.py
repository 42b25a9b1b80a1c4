"""Recordings that can't be used, by their names.

Among thousands of files one is damaged, and what reads it says so without its name.
"""

import contextlib
from collections.abc import Callable, Iterator

__all__ = ["OnBroken", "RecordingError", "recording_named"]


class RecordingError(ValueError):
    """A recording that can't be read, or has nothing that can be used; named."""


OnBroken = Callable[[RecordingError], object]


@contextlib.contextmanager
def recording_named(place: str, on_broken: OnBroken | None = None) -> Iterator[None]:
    """Name a recording in whatever is raised while it is read.

    Parameters
    ----------
    place : str
        Path of the recording, or what else tells it apart.
    on_broken : callable, optional
        Is told of a recording that can't be used, which is then left out.

    Raises
    ------
    RecordingError
        If it can't be used and nobody is to be told.
    """
    try:
        yield
    except MemoryError:
        raise
    except Exception as error:  # damaged files fail in as many ways as there are
        told = " ".join(str(error).split())
        if isinstance(error, RecordingError) or place in told:
            broken = RecordingError(told)
        else:
            reason = told or type(error).__name__
            broken = RecordingError(f"{place} can't be read ({reason})")
        if on_broken is None:
            raise broken from error
        on_broken(broken)
