"""The state of a run between two batches: written as a whole, read back exactly.

A state is a folder with ``training.json`` and the safetensors file that it names.  When
it is written is decided by `braindecode_samba.pretraining.callbacks`.
"""

import hashlib
import math
import os
from dataclasses import asdict
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from skorch import NeuralNet
from skorch.history import History
from torch import Tensor

from braindecode_samba._paths import hidden_parts, one_writer, write_whole
from braindecode_samba.checkpoints.saving import as_bytes
from braindecode_samba.pretraining.sealed import read_sealed, seal

_INDEX = "training.json"


def has_training_state(folder: str | os.PathLike[str]) -> bool:
    """Whether a folder holds the state of a run.

    Parameters
    ----------
    folder : str or path-like
        The folder; it need not exist.

    Returns
    -------
    bool
        True if `load_training_state` can be tried.
    """
    return (Path(folder) / _INDEX).is_file()


def save_training_state(
    net: NeuralNet, folder: str | os.PathLike[str], *, finished: bool
) -> None:
    """Write weights, optimiser, history and the place in the run.

    Random numbers follow from the seed and that place.

    Parameters
    ----------
    net : SAMBAPretrainer
        The net, between two batches or at the end of an epoch.
    folder : str or path-like
        Where; the state before is replaced.
    finished : bool
        Whether the last epoch of the history is over.

    Raises
    ------
    OSError
        If it can't be written; the state before stays whole.
    """
    folder = Path(folder)
    optimizer = net.optimizer_.state_dict()
    tensors = {f"model.{name}": t for name, t in net.model_.state_dict().items()}
    for number, values in optimizer["state"].items():
        for name, value in values.items():
            tensors[f"optimizer.{number}.{name}"] = torch.as_tensor(value)
    epoch = len(net.history)
    batch = count_batches(net)
    data = as_bytes(tensors)
    name = f"state-{epoch:05d}-{batch:07d}-{int(finished)}.safetensors"
    index = {
        "tensors": name,
        "tensors_sha256": hashlib.sha256(data).hexdigest(),
        "epoch": epoch,
        "batch": batch,
        "finished": finished,
        "seed": net.seed_,
        "recipe": _recipe(net),
        "optimizer": optimizer["param_groups"],
        "callbacks": _callback_states(net),
        "history": net.history.to_list(),
    }
    folder.mkdir(parents=True, exist_ok=True)
    with one_writer(folder):
        write_whole(folder / name, data)
        write_whole(folder / _INDEX, seal(index))
        cut_off = *folder.glob(".state-*.part"), *hidden_parts(folder / _INDEX)
        for stale in (*folder.glob("state-*.safetensors"), *cut_off):
            if stale.name != name:
                stale.unlink(missing_ok=True)


def load_training_state(
    net: NeuralNet, folder: str | os.PathLike[str]
) -> tuple[int, bool]:
    """Bring an initialised net to the state of a run that was interrupted.

    Parameters
    ----------
    net : SAMBAPretrainer
        With the settings of that run.
    folder : str or path-like
        Where `save_training_state` wrote.

    Returns
    -------
    batches : int
        Batches that the last epoch of the history has done.
    finished : bool
        Whether that epoch is over.

    Raises
    ------
    FileNotFoundError
        If the folder holds no state.
    ValueError
        If the state is damaged, or of a run with other data or settings.
    """
    folder = Path(folder)
    if not has_training_state(folder):
        raise FileNotFoundError(
            f"{folder} holds no training state: pass the folder of TrainingCheckpoint, "
            "or resume=None to begin anew"
        )
    anew = "pass resume=None to begin anew"
    with one_writer(folder):
        index = read_sealed(folder / _INDEX, anew)
        data = (folder / index["tensors"]).read_bytes()
    if hashlib.sha256(data).hexdigest() != index["tensors_sha256"]:
        raise ValueError(f"{folder / index['tensors']} is damaged: {anew}")
    tensors = safetensors.torch.load(data)
    for name, value in _recipe(net).items():
        if index["recipe"][name] != value:
            raise ValueError(
                f"the run in {folder} had {name}={index['recipe'][name]!r}, and this "
                f"net has {value!r}: pass the same data and settings to resume it"
            )
    parts: dict[str, dict[str, Tensor]] = {"model": {}, "optimizer": {}}
    for name, tensor in tensors.items():
        kind, _, rest = name.partition(".")
        parts.setdefault(kind, {})[rest] = tensor
    net.model_.load_state_dict(parts["model"])
    states: dict[int, dict[str, Tensor]] = {}
    for name, tensor in parts["optimizer"].items():
        number, _, key = name.partition(".")
        states.setdefault(int(number), {})[key] = tensor
    groups = [group | {"betas": tuple(group["betas"])} for group in index["optimizer"]]
    net.optimizer_.load_state_dict({"state": states, "param_groups": groups})
    net.seed_ = index["seed"]
    net.history = History(index["history"])
    callbacks: dict[str, Any] = dict(net.callbacks_)
    for name, values in index["callbacks"].items():
        if name in callbacks:
            vars(callbacks[name]).update(values)
    return index["batch"], index["finished"]


def count_batches(net: NeuralNet) -> int:
    """Training batches in the last epoch of the history."""
    return sum("train_loss" in row for row in net.history[-1]["batches"])


def _recipe(net: NeuralNet) -> dict[str, Any]:
    """Name what must not change in the middle of a run."""
    return {
        "windows": net.n_windows_,
        "batches": net.n_batches_,
        "masking": asdict(net.masking),
        "loss": repr(net.criterion_),
    }


def _callback_states(net: NeuralNet) -> dict[str, dict[str, float]]:
    """Numbers that callbacks keep, such as the best score and epochs without one."""
    return {
        name: {
            key: value
            for key, value in vars(callback).items()
            if key.endswith("_")
            and isinstance(value, int | float)
            and not isinstance(value, bool)
            and math.isfinite(value)
        }
        for name, callback in net.callbacks_
    }
