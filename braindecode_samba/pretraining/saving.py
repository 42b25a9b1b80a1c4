"""Files that are whole or not there: single ones, and the folder of a checkpoint.

The state of a run that goes on is in `braindecode_samba.pretraining.state`.
"""

import hashlib
import json
import os
import shutil
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors.torch
from torch import Tensor

from braindecode_samba._paths import whole_file
from braindecode_samba._version import __version__
from braindecode_samba.checkpoints.files import CONFIG, WEIGHTS, WEIGHTS_SHA256
from braindecode_samba.models import SAMBAReconstructor

__all__ = ["as_bytes", "write_checkpoint", "write_whole"]


def as_bytes(tensors: Mapping[str, Tensor]) -> bytes:
    """Put tensors into the format of safetensors.

    Parameters
    ----------
    tensors : mapping of str to Tensor
        On any device; those that share memory are written twice.

    Returns
    -------
    bytes
        Contents of a ``.safetensors`` file.
    """
    apart = {
        name: tensor.detach().cpu().contiguous().clone()
        for name, tensor in tensors.items()
    }
    return safetensors.torch.save(apart)


def write_whole(path: str | os.PathLike[str], data: bytes) -> None:
    """Write a file beside its place and rename it, so that it is never half written.

    Parameters
    ----------
    path : str or path-like
        The file; its folder is made.
    data : bytes
        Contents.

    Raises
    ------
    OSError
        If it can't be written; what was there before is unchanged.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with whole_file(path) as file:
            file.write(data)
    except OSError as error:
        raise OSError(
            error.errno,
            f"{path} could not be written ({error.strerror}) and is as it was before: "
            "free some space, or save elsewhere",
        ) from error


def write_checkpoint(
    path: str | os.PathLike[str],
    model: SAMBAReconstructor,
    pretraining: Mapping[str, Any],
    card: str,
) -> Path:
    """Write a folder with weights, configuration and card, all or nothing.

    Parameters
    ----------
    path : str or path-like
        The folder. An earlier checkpoint there is replaced; anything else is left
        alone.
    model : SAMBAReconstructor
        The network.
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
    if path.exists() and not (path / WEIGHTS).exists():
        raise FileExistsError(
            f"{path} exists and is no checkpoint: choose another folder"
        )
    weights = as_bytes(model.state_dict())
    config = {
        **model.get_config(),  # type: ignore[operator]
        "braindecode_samba_version": __version__,
        "pretraining": dict(pretraining),
        # who reads while this folder takes another's place can tell
        WEIGHTS_SHA256: hashlib.sha256(weights).hexdigest(),
    }
    beside, old = (
        path.with_name(f".{path.name}.{uuid.uuid4().hex}.{kind}")
        for kind in ("part", "old")
    )
    try:
        write_whole(beside / WEIGHTS, weights)
        write_whole(beside / CONFIG, json.dumps(config, indent=1).encode())
        write_whole(beside / "README.md", card.encode())
        if path.exists():
            os.replace(path, old)
        os.replace(beside, path)
    except OSError:
        shutil.rmtree(beside, ignore_errors=True)
        if old.exists():
            os.replace(old, path)
        raise
    shutil.rmtree(old, ignore_errors=True)
    return path
