"""Values of Python as JSON, and back with the same types.

What is read may have been written by anybody: no type is made but those below.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from braindecode_samba.checkpoints.configs import find_activation

_KINDS = "biufUO"


def pack(value: Any, name: str) -> Any:
    """Write a value as JSON.

    Parameters
    ----------
    value : object
        Numbers, text, paths, arrays, mappings, sequences, or an activation of PyTorch.
    name : str
        What it is, for errors.

    Returns
    -------
    object
        What `unpack` takes; of sets and lists it gives lists, of paths text.

    Raises
    ------
    TypeError
        If it is anything else.
    """
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or isinstance(value, bool | str):
        return value
    if isinstance(value, int | float):
        # MNE's named numbers are plain ones too
        return int(value) if isinstance(value, int) else float(value)
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if isinstance(value, np.ndarray) and value.dtype.kind in _KINDS:
        return {"array": value.tolist(), "dtype": value.dtype.str}
    if isinstance(value, Mapping):
        return {"items": [[pack(k, name), pack(v, name)] for k, v in value.items()]}
    if isinstance(value, tuple):
        return {"tuple": [pack(item, name) for item in value]}
    if isinstance(value, list | set | frozenset):
        return [pack(item, name) for item in value]
    if isinstance(value, type) and issubclass(value, nn.Module):
        return {"activation": f"{value.__module__}.{value.__qualname__}"}
    raise TypeError(
        f"{name} holds a {type(value).__name__}, which JSON can't: save without it"
    )


def unpack(path: Path, value: Any) -> Any:
    """Read what `pack` has written.

    Parameters
    ----------
    path : pathlib.Path
        The file, for errors.
    value : object
        Of JSON.

    Raises
    ------
    ValueError, TypeError, KeyError
        If it is nothing of the kind.
    """
    if isinstance(value, list):
        return [unpack(path, item) for item in value]
    if not isinstance(value, dict):
        return value
    if "array" in value:
        dtype = np.dtype(value["dtype"])
        if dtype.kind not in _KINDS:
            raise ValueError(f"an array of {dtype}")
        return np.array(value["array"], dtype)
    if "items" in value:
        return {unpack(path, k): unpack(path, v) for k, v in value["items"]}
    if "tuple" in value:
        return tuple(unpack(path, item) for item in value["tuple"])
    if "activation" in value:
        return find_activation(path, value["activation"], None)
    return {key: unpack(path, item) for key, item in value.items()}
