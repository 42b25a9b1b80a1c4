"""The checkpoint of a pretrained network: how it was trained, beside its weights.

The state of a run that goes on is in `braindecode_samba.pretraining.state`.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from braindecode_samba.checkpoints.files import WEIGHTS
from braindecode_samba.checkpoints.saving import save_model
from braindecode_samba.models import SAMBA, SAMBAReconstructor


def write_checkpoint(
    path: str | os.PathLike[str],
    model: SAMBA | SAMBAReconstructor,
    pretraining: Mapping[str, Any],
    card: str,
) -> Path:
    """Write a folder with weights, configuration and card, all or nothing.

    Parameters
    ----------
    path : str or path-like
        The folder. An earlier checkpoint there is replaced; anything else is left
        alone.
    model : SAMBAReconstructor or SAMBA
        The network, or that without a decoder.
    pretraining : mapping
        How it was trained, for JSON.
    card : str
        Markdown for ``README.md``.

    Returns
    -------
    pathlib.Path
        The folder.

    Raises
    ------
    FileExistsError
        If there is something else at that path.
    OSError
        If it can't be written; what was there before is unchanged.
    """
    path = Path(path)
    if path.exists() and not _takes_a_checkpoint(path):
        raise FileExistsError(
            f"{path} exists and is no checkpoint: choose another folder"
        )
    save_model(path, model, card, pretraining=dict(pretraining))
    return path


def _takes_a_checkpoint(path: Path) -> bool:
    """Whether a folder holds a checkpoint, or no more than another writer begins."""
    if not path.is_dir():
        return False
    names = [entry.name for entry in path.iterdir()]
    return WEIGHTS in names or all(name.startswith(".") for name in names)
