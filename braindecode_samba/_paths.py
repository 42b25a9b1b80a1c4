"""Where the tables and weights of the package lie, and how files are written whole.

What is in them is not known here: `montages`, `pretraining` and whoever else reads or
writes files own their formats.
"""

import contextlib
import os
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

_PACKAGE = Path(__file__).resolve().parent


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
        If the file can't be written.
    """
    part = path.with_name(f".{path.name}.{uuid.uuid4().hex}.part")
    try:
        with part.open("xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)
