"""Where the tables and weights of the package lie, and how files are written whole.

What is in them is not known here: `montages`, `checkpoints` and whoever else reads or
writes files own their formats.  A file that is being written lies beside its place,
hidden and ending in ``.part``; a killed writer leaves it there.
"""

import contextlib
import errno
import os
import time
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import BinaryIO

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

_PACKAGE = Path(__file__).resolve().parent
_LEFT_BEHIND = 3600.0  # seconds; no file takes that long to write


def data_folder(kind: str) -> Path:
    """Folder of the shipped data: inside an installed package, else the checkout's.

    Parameters
    ----------
    kind : {"montages", "checkpoints", "benchmark", "configs"}
        Which folder.

    Returns
    -------
    pathlib.Path
        An existing folder.

    Raises
    ------
    FileNotFoundError
        If the installation has lost the folder.
    """
    for folder in (_PACKAGE / "data" / kind, _PACKAGE.parent / kind):
        if folder.is_dir():
            return folder
    raise FileNotFoundError(
        f"the folder {kind!r} of braindecode-samba is missing beside {_PACKAGE}; "
        "install the package again"
    )


@contextlib.contextmanager
def whole_file(path: Path) -> Iterator[BinaryIO]:
    """Open a file to write that gets its name when all is written, or doesn't appear.

    Parameters
    ----------
    path : pathlib.Path
        The file. What was there before stays until it is replaced.

    Yields
    ------
    file
        Beside the place, hidden and ending in ``.part``.

    Raises
    ------
    OSError
        If the file can't be written; what was there before is unchanged.
    """
    part = _beside(path)
    with _told(path):
        if path.exists() and not path.is_file():
            # a folder, or a device, which a file would take the place of
            raise FileExistsError(errno.EEXIST, "it is no plain file")
        try:
            with part.open("xb") as file:
                yield file
                _to_disk(file)
            os.replace(part, path)
        finally:
            part.unlink(missing_ok=True)


def write_whole(path: str | os.PathLike[str], data: bytes) -> None:
    """Write a file by `whole_file`, in a folder that is made if need be."""
    path = Path(path)
    with _told(path):
        path.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(path) as file:
        file.write(data)


def write_together(folder: Path, contents: Mapping[str, bytes]) -> None:
    """Write files that belong together: all of them, or none appears.

    All are written before the first gets its name.  A process that is killed between
    two names leaves the other files whole beside their places, see `hidden_parts`.

    Parameters
    ----------
    folder : pathlib.Path
        Where; it is made. Files of other names stay.
    contents : mapping of str to bytes
        By name, in the order in which they appear.

    Raises
    ------
    OSError
        If they can't be written; what was there before is unchanged.
    """
    is_new = not folder.exists()
    parts = {folder / name: _beside(folder / name) for name in contents}
    first = next(iter(parts.values()))
    written = False
    with _told(folder):
        try:
            folder.mkdir(parents=True, exist_ok=True)
            for part, data in zip(parts.values(), contents.values(), strict=True):
                with part.open("xb") as file:
                    file.write(data)
                    _to_disk(file)
            written = True
            with one_writer(folder):
                try:
                    _give_names(parts)
                except OSError:
                    if first.exists():
                        raise
                    _give_names(parts)  # old files and new ones don't go together
        finally:
            if written and not first.exists():
                _give_names(parts)  # an interrupt came after the first name
            for part in parts.values():
                part.unlink(missing_ok=True)
            if is_new:
                with contextlib.suppress(OSError):  # there are files in it
                    folder.rmdir()
    remove_leftovers(folder)


def hidden_parts(path: Path) -> list[Path]:
    """Files that were to get a name, and lie beside it."""
    return sorted(path.parent.glob(f".{path.name}.*.part"))


def remove_leftovers(folder: Path) -> None:
    """Delete the beginnings of files that a killed writer left an hour ago or more."""
    for part in folder.glob(".*.part"):
        with contextlib.suppress(FileNotFoundError):
            if time.time() - part.stat().st_mtime > _LEFT_BEHIND:
                part.unlink()


@contextlib.contextmanager
def one_writer(folder: Path) -> Iterator[None]:
    """Wait for other writers of ours in a folder, where the system has such locks.

    The lock ends with the process that holds it, however that ends.
    """
    if fcntl is None:
        yield
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):  # not on every network's disk
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _beside(path: Path) -> Path:
    return path.with_name(f".{path.name}.{uuid.uuid4().hex}.part")


def _to_disk(file: BinaryIO) -> None:
    file.flush()
    os.fsync(file.fileno())


def _give_names(parts: Mapping[Path, Path]) -> None:
    for path, part in parts.items():
        if part.exists():
            os.replace(part, path)


@contextlib.contextmanager
def _told(path: Path) -> Iterator[None]:
    """Say what could not be written, and what to do."""
    try:
        yield
    except OSError as error:
        raise OSError(
            error.errno,
            f"{path} could not be written ({error.strerror or error}) and is as it was "
            "before: make room, or write elsewhere",
        ) from error
