"""Files of checkpoints: where they are, reading them whole, and the tensors in them.

What the tensors and the configuration mean is decided in
`braindecode_samba.checkpoints.loading`; files are written in
`braindecode_samba.checkpoints.saving`.
"""

import dataclasses
import functools
import hashlib
import io
import json
import os
import re
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import Tensor

from braindecode_samba._paths import data_folder, hidden_parts

WEIGHTS = "model.safetensors"
CONFIG = "config.json"
# the entry of a configuration that ties it to its weights
WEIGHTS_SHA256 = "weights_sha256"
# the entry of a fitted estimator, and the part of its tensors' names
ESTIMATOR = "estimator"

_PICKLES = (".pt", ".pth", ".ckpt", ".bin")
_SUFFIXES = (".safetensors", *_PICKLES)
_HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
_WRAPPERS = ("model_state_dict", "state_dict")
_PREFIXES = ("model.", "module.")
_PATIENCE_S = 5.0
_PAUSE_S = 0.01
_SHORT = 12


class CheckpointError(ValueError):
    """A checkpoint that can't be used; the message names the file and the reason."""


@dataclasses.dataclass(frozen=True)
class CheckpointFiles:
    """Contents of a checkpoint's files, all of one version.

    Parameters
    ----------
    path : pathlib.Path
        The file of weights.
    weights : bytes
        What is in it.
    config : dict, optional
        Configuration beside it, if there is one.
    """

    path: Path
    weights: bytes
    config: dict[str, Any] | None

    @functools.cached_property
    def sha256(self) -> str:
        """Hash of the file of weights, 64 hexadecimal digits."""
        return hashlib.sha256(self.weights).hexdigest()

    @property
    def config_path(self) -> Path:
        """Where the configuration is, or would be."""
        return self.path.with_name(CONFIG)


def short_hash(sha256: str) -> str:
    """First digits of a hash of weights: a parameter that tells them apart."""
    return sha256[:_SHORT]


def shipped_checkpoints() -> dict[str, Path]:
    """Folders of the checkpoints that ship with the package, by name.

    Returns
    -------
    dict of str to pathlib.Path
        Sorted by name; empty if none ships.
    """
    folders = sorted(data_folder("checkpoints").iterdir())
    return {folder.name: folder for folder in folders if (folder / WEIGHTS).exists()}


def find_checkpoint(
    name: str | os.PathLike[str], filename: str | None = None, **hub: Any
) -> Path:
    """Tell where a checkpoint is; of a hub repository, bring it here first.

    Parameters
    ----------
    name : str or path-like
        A shipped name, a folder, a file or ``"owner/name"`` on the Hugging Face hub, in
        this order. A path-like object is a folder or a file.
    filename : str, optional
        The file of a hub repository to bring.
    **hub
        Arguments of `huggingface_hub.snapshot_download`.

    Returns
    -------
    pathlib.Path
        A folder or a file.

    Raises
    ------
    CheckpointError
        If there is no such thing.
    TypeError
        If the name is neither text nor a path.
    """
    if not isinstance(name, str | os.PathLike):
        raise TypeError(
            f"checkpoint is a {type(name).__name__}: pass the name of a shipped one, a "
            "folder, a file or 'owner/name'"
        )
    shipped = shipped_checkpoints()
    if isinstance(name, str) and name in shipped:
        return shipped[name]
    path = Path(name)
    if name != "" and path.exists():
        return path
    is_path = isinstance(name, os.PathLike) or path.suffix in _SUFFIXES
    if not is_path and _HUB_NAME.fullmatch(str(name)):
        return _from_hub(str(name), filename, hub)
    if isinstance(name, os.PathLike):
        raise CheckpointError(
            f"there is no file or folder {path}: pass an existing one"
        )
    raise CheckpointError(
        f"{str(name)!r} is no file, folder or 'owner/name' of a hub repository, and "
        f"the shipped checkpoints are {sorted(shipped) or 'none'}: pass one of these"
    )


def read_checkpoint_files(path: Path, filename: str | None = None) -> CheckpointFiles:
    """Read weights and configuration of one and the same version.

    The configuration names the hash of its weights. A checkpoint that is replaced
    meanwhile is read again: for an instant its weights are new and its configuration is
    old. Where a save was cut off in this instant, the configuration lies hidden beside
    its place.

    Parameters
    ----------
    path : pathlib.Path
        A folder, or a file of weights.
    filename : str, optional
        Which file of a folder.

    Returns
    -------
    CheckpointFiles
        The contents.

    Raises
    ------
    CheckpointError
        If a file is missing, can't be read or does not belong to the other.
    """
    end = time.monotonic() + _PATIENCE_S
    while True:
        before = _identity(path)
        try:
            return _read_once(path, filename)
        except CheckpointError:
            if _identity(path) == before or time.monotonic() > end:
                raise
        time.sleep(_PAUSE_S)


def read_tensors(files: CheckpointFiles) -> dict[str, Tensor]:
    """Take the tensors out of a file of weights.

    Parameters
    ----------
    files : CheckpointFiles
        Contents; pickles of PyTorch are read with ``weights_only`` alone.

    Returns
    -------
    dict of str to Tensor
        As they are in the file, without what wraps them (``state_dict``) and without
        ``model.`` and ``module.`` before their names.

    Raises
    ------
    CheckpointError
        If the file is damaged, holds anything else, or two names are the same.
    """
    path = files.path
    if path.suffix == ".safetensors":
        found = _parse(path, lambda: safetensors.torch.load(files.weights))
    else:
        data = io.BytesIO(files.weights)
        found = _parse(path, lambda: torch.load(data, "cpu", weights_only=True))
        if isinstance(found, dict):
            found = next((found[key] for key in _WRAPPERS if key in found), found)
    if not isinstance(found, Mapping):
        raise CheckpointError(
            f"{path} holds a {type(found).__name__}: save a state_dict in it"
        )
    tensors: dict[str, Tensor] = {}
    # safetensors gives them in another order each time
    for name, value in sorted(found.items(), key=lambda item: str(item[0])):
        if not isinstance(name, str) or not isinstance(value, Tensor):
            raise CheckpointError(
                f"{path} holds {name!r}, a {type(value).__name__}, among its tensors: "
                "save a state_dict, or a dict that holds one as 'state_dict'"
            )
        short = _without_prefixes(name)
        if short in tensors:
            raise CheckpointError(
                f"{path} holds tensor {short!r} twice, with different prefixes"
            )
        tensors[short] = value
    return tensors


def _without_prefixes(name: str) -> str:
    while name.startswith(_PREFIXES):
        name = name.split(".", 1)[1]
    return name


def _parse(path: Path, parse: Callable[[], Any]) -> Any:
    try:
        return parse()
    # what a damaged file makes of a parser can't be foreseen
    except Exception as error:
        reason = _reason(error)
        if path.suffix in _PICKLES:
            raise CheckpointError(
                f"{path} is refused, since it is no complete file of plain tensors "
                f"that PyTorch loads with weights_only=True ({reason}); save a "
                "state_dict, best as .safetensors"
            ) from None
        raise CheckpointError(
            f"{path} is damaged or no file of safetensors ({reason}); get it again"
        ) from None


def _reason(error: Exception) -> str:
    """Give the line of a message that tells what is wrong."""
    said = str(error).replace("WeightsUnpickler error: ", "\n").strip()
    # PyTorch tells first how to load a file whatever is in it
    named = re.search(r".*(?:GLOBAL|Unsupported).*", said)
    lines = [named[0]] if named else said.splitlines() or [type(error).__name__]
    return lines[0].strip(" .")


def _read_once(path: Path, filename: str | None) -> CheckpointFiles:
    if path.is_dir():
        path = _weights_in(path, filename)
    elif filename is not None and filename != path.name:
        raise CheckpointError(f"{path} is a file: leave out filename={filename!r}")
    if path.suffix not in _SUFFIXES:
        raise CheckpointError(
            f"{path} ends in none of {', '.join(_SUFFIXES)}: pass a file of weights"
        )
    weights = _readable(path, path.read_bytes)
    files = CheckpointFiles(path, weights, _read_config(path.with_name(CONFIG)))
    told = (files.config or {}).get(WEIGHTS_SHA256)
    # a pickle beside it is another file, of which the configuration tells no hash
    if path.suffix in _PICKLES or told == files.sha256:
        return files
    hidden = _hidden_config(files)
    if hidden is not None:
        return dataclasses.replace(files, config=hidden)
    if told is not None:
        raise CheckpointError(
            f"{files.config_path} belongs to weights with the SHA-256 {told!r}, and "
            f"those in {path} have {files.sha256}: get both again"
        )
    return files


def _hidden_config(files: CheckpointFiles) -> dict[str, Any] | None:
    """Find the configuration of these weights that a save left beside its place."""
    for part in hidden_parts(files.config_path):
        try:
            config = _read_config(part)
        except CheckpointError:  # cut off as well
            continue
        if config is not None and config.get(WEIGHTS_SHA256) == files.sha256:
            return config
    return None


def _readable(path: Path, read: Callable[[], Any]) -> Any:
    try:
        return read()
    except OSError as error:
        raise CheckpointError(
            f"{path} can't be read ({error.strerror}): pass a readable file or folder"
        ) from None


def _read_config(path: Path) -> dict[str, Any] | None:
    if not path.exists():
        return None
    text = _readable(path, path.read_bytes)
    try:
        config = json.loads(text)
    except (ValueError, RecursionError) as error:
        reason = str(error).splitlines()[0]
        raise CheckpointError(f"{path} is no JSON ({reason}); get it again") from None
    if not isinstance(config, dict):
        raise CheckpointError(
            f"{path} holds a {type(config).__name__} instead of a configuration"
        )
    return config


def _weights_in(folder: Path, filename: str | None) -> Path:
    """File of weights in a folder."""
    names = sorted(_readable(folder, lambda: os.listdir(folder)))
    if filename is not None:
        if filename not in names:
            raise CheckpointError(f"{folder} holds {names} and no {filename!r}")
        return folder / filename
    if WEIGHTS in names:
        return folder / WEIGHTS
    weights = [name for name in names if Path(name).suffix in _SUFFIXES]
    if len(weights) != 1:
        raise CheckpointError(
            f"{folder} holds no {WEIGHTS} and {weights or 'no other'} files of "
            "weights: pass one of them, or filename"
        )
    return folder / weights[0]


def _identity(path: Path) -> list[tuple[int, int] | None]:
    """Tell what differs between files and those that take their places."""
    folder = path.parent if path.suffix in _SUFFIXES else path
    found: list[tuple[int, int] | None] = []
    for file in (folder / WEIGHTS, folder / CONFIG):
        try:
            state = file.stat()
        except OSError:
            found.append(None)
        else:
            found.append((state.st_ino, state.st_ctime_ns))
    return found


def _from_hub(name: str, filename: str | None, hub: Mapping[str, Any]) -> Path:
    """Folder with the files of a hub repository, all of one revision."""
    try:
        import huggingface_hub
    except ImportError:
        raise ImportError(
            f"{name!r} is no folder, and to get it from the Hugging Face hub "
            "huggingface_hub is needed: pip install 'braindecode[hub]'"
        ) from None
    wanted = [f"*{suffix}" for suffix in _SUFFIXES] if filename is None else [filename]
    try:
        folder = huggingface_hub.snapshot_download(
            name, allow_patterns=[*wanted, CONFIG], **hub
        )
    # its errors for no network, no such name and no permission share no base class
    except Exception as error:
        raise CheckpointError(
            f"{name!r} is no folder here and can't be had from the Hugging Face hub "
            f"({_reason(error)}); the shipped checkpoints are "
            f"{sorted(shipped_checkpoints()) or 'none'}"
        ) from error
    return Path(folder)
