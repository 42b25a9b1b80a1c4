"""Writing checkpoints: weights, configuration and card, all of them or none.

The folder is never without a whole checkpoint: its files are replaced one after the
other, and the configuration names the hash of the weights to which it belongs, so that
`braindecode_samba.checkpoints.files` pairs them after a save that was cut off.
"""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors.torch
from braindecode import __version__ as braindecode_version
from braindecode.models.base import EEGModuleMixin
from torch import Tensor

from braindecode_samba._paths import write_together
from braindecode_samba._version import __version__
from braindecode_samba.checkpoints.files import CONFIG, WEIGHTS, WEIGHTS_SHA256


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


def save_model(
    folder: Path,
    model: EEGModuleMixin,
    card: str | None = None,
    *,
    beside: Mapping[str, Tensor] | None = None,
    **facts: Any,
) -> None:
    """Write a model into a folder.

    Parameters
    ----------
    folder : pathlib.Path
        Where; it is made. Files of other names stay.
    model : SAMBA or SAMBAReconstructor
        The model.
    card : str, optional
        Markdown for ``README.md``.
    beside : mapping of str to Tensor, optional
        What goes into the file of weights as well.
    **facts
        Further entries of the configuration, for JSON.

    Raises
    ------
    OSError
        If it can't be written; what was there before is unchanged.
    """
    weights = as_bytes({**model.state_dict(), **(beside or {})})
    config = {
        **model.get_config(),
        "braindecode_version": braindecode_version,
        "braindecode_samba_version": __version__,
        **facts,
        WEIGHTS_SHA256: hashlib.sha256(weights).hexdigest(),
    }
    contents = {WEIGHTS: weights, CONFIG: json.dumps(config, indent=1).encode()}
    if card is not None:
        contents["README.md"] = card.encode()
    write_together(folder, contents)
