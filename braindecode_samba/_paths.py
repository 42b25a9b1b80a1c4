"""Where the tables and weights that travel with the package lie.

Nothing is read here: `montages` and `checkpoints` own their formats.
"""

from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent


def data_folder(kind: str) -> Path:
    """Folder of the shipped data: inside an installed package, else the checkout's.

    Parameters
    ----------
    kind : {"montages", "checkpoints"}
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
