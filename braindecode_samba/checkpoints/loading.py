"""Checkpoints: trained weights into a network, all of them or an error.

`load_checkpoint` builds a network; `open_checkpoint` gives what a network that exists
already is filled from (`braindecode_samba.checkpoints.contents`).  Finding and reading
files is in `braindecode_samba.checkpoints.files`, configurations in
`braindecode_samba.checkpoints.configs`; checkpoints are written by
`braindecode_samba.pretraining.SAMBAPretrainer.save_checkpoint`, or by
``save_pretrained`` of a model.
"""

import dataclasses
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from braindecode_samba.checkpoints.configs import (
    SIGNAL_OPTIONS,
    check_config,
    find_activation,
)
from braindecode_samba.checkpoints.contents import (
    Checkpoint,
    CheckpointReport,
    part_of,
    some_names,
)
from braindecode_samba.checkpoints.files import (
    ESTIMATOR,
    CheckpointError,
    CheckpointFiles,
    find_checkpoint,
    read_checkpoint_files,
    read_tensors,
)
from braindecode_samba.models import SAMBA, SAMBAReconstructor
from braindecode_samba.nn.randomness import seeded
from braindecode_samba.nn.reference import (
    layer_sizes,
    reference_name,
    rename_reference_keys,
)
from braindecode_samba.nn.scaling import MODEL_SFREQ

_HUB = ("revision", "cache_dir", "token", "local_files_only", "force_download")

Model = TypeVar("Model", SAMBA, SAMBAReconstructor)

_SCALE = "trunk.signal.recording_scale"
_TARGETS = "target_positions"
_WITH_TARGETS = ("trunk.spatial", "readout")


def load_checkpoint(
    name: str | os.PathLike[str],
    model_class: type[Model] = SAMBA,
    *,
    verbose: int = 1,
    filename: str | None = None,
    **arguments: Any,
) -> tuple[Model, CheckpointReport]:
    """Build a network with the weights of a checkpoint.

    Every tensor of the trunk is used or nothing is loaded.  A `SAMBA` made from a
    pretrained `SAMBAReconstructor` gets a new head and leaves the decoder over; the
    report says so.

    Parameters
    ----------
    name : str or path-like
        A shipped checkpoint, such as ``"samba-e"``; a folder with
        ``model.safetensors`` and ``config.json``; a file of weights, with
        ``config.json`` beside it, in safetensors or as a pickle of PyTorch
        (``.pt``, ``.pth``, ``.ckpt``, ``.bin``) that ``weights_only`` loads; or
        ``"owner/name"`` on the Hugging Face hub.  A shipped name comes first: write
        ``"./samba-e"`` for a folder of that name.
    model_class : type
        `SAMBA` or `SAMBAReconstructor`.
    verbose : int
        Above 0, the report is printed.
    filename : str, optional
        Which file of weights of a folder or hub repository.
    **arguments
        Of `huggingface_hub.snapshot_download`: ``revision``, ``cache_dir``, ``token``,
        ``local_files_only`` and ``force_download``.  All others are of the model.
        Signals (``n_outputs``, ``chs_info``, ``sfreq``, ...) are by default those that
        were saved.  Options of the trunk can't differ from those that were saved.
        Options of the other parts (``activation``, ``drop_prob``, ``head``,
        ``readout``) can; another ``head`` or ``readout`` makes that part new, another
        ``n_outputs`` the last layer.

    Returns
    -------
    model : SAMBA or SAMBAReconstructor
        In evaluation mode, on the CPU, float32.
    report : CheckpointReport
        Which tensors were used, which are new, which were left over.

    Raises
    ------
    CheckpointError
        A ValueError: if there is no such checkpoint, or anything about it is damaged,
        strange or missing.
    TypeError
        If the model has no such argument.
    ImportError
        If a hub repository is asked for without huggingface_hub.

    Notes
    -----
    Files with the authors' names of parameters, with or without ``model.`` or
    ``module.`` before them, make the published network in its frame,
    ``"colin27_mri"``.  Positions come in MNE's head frame like any others, as
    ``chs_info`` or per batch as ``pos``.  Such files hold parameters alone:
    ``model_sfreq`` (128 Hz), ``scale`` (None: windows come z-scored, as the authors'
    did) and ``target_positions`` may be passed.
    """
    if model_class not in (SAMBA, SAMBAReconstructor):
        raise TypeError(
            f"model_class is {model_class!r}: pass SAMBA or SAMBAReconstructor"
        )
    checkpoint = open_checkpoint(
        name,
        filename=filename,
        activation=arguments.get("activation"),
        **{key: arguments.pop(key) for key in _HUB if key in arguments},
    )
    model = model_class(**checkpoint.arguments(model_class, arguments)).eval()
    report = checkpoint.fill(model)
    if verbose > 0:
        print(report)
    return model, report


def open_checkpoint(
    name: str | os.PathLike[str],
    *,
    filename: str | None = None,
    activation: type[nn.Module] | None = None,
    **hub: Any,
) -> Checkpoint:
    """Read a checkpoint and find out whether it is whole.

    Parameters
    ----------
    name, filename
        As for `load_checkpoint`.
    activation : type of nn.Module, optional
        For a classifier that was saved with an activation other than PyTorch's.
    **hub
        Arguments of `huggingface_hub.snapshot_download`.

    Returns
    -------
    Checkpoint
        All of its tensors are those of the network that it says it is.

    Raises
    ------
    CheckpointError
        As for `load_checkpoint`.
    """
    files = read_checkpoint_files(find_checkpoint(name, filename, **hub), filename)
    return checkpoint_in(files, str(name), activation)


def checkpoint_in(
    files: CheckpointFiles, name: str, activation: type[nn.Module] | None = None
) -> Checkpoint:
    """Find out whether the checkpoint in some files is whole, as `open_checkpoint`.

    Parameters
    ----------
    files : CheckpointFiles
        Contents.
    name : str
        What was asked for.
    activation : type of nn.Module, optional
        As for `open_checkpoint`.
    """
    tensors = {
        tensor: value
        for tensor, value in read_tensors(files).items()
        if part_of(tensor) != ESTIMATOR
    }
    if any(part_of(tensor) == "trunk" for tensor in tensors):
        saved, published = _saved_arguments(files, tensors, activation), False
    else:
        tensors = _rename(files, tensors)
        saved, published = _published_arguments(files, tensors), True
    saved_class = SAMBA if "head" in saved else SAMBAReconstructor
    checkpoint = Checkpoint(
        name, files.path, files.sha256, saved_class, saved, tensors, published
    )
    wanted = _build_saved(checkpoint, files).state_dict()
    checkpoint.check(tensors, checkpoint.learned(wanted))
    values = {
        tensor: _check_values(
            files.path, checkpoint.name_in_file(tensor), value, wanted[tensor].dtype
        )
        for tensor, value in tensors.items()
    }
    for tensor in values.keys() & {f"{part}.{_TARGETS}" for part in _WITH_TARGETS}:
        if not torch.allclose(values[tensor], wanted[tensor], rtol=0, atol=1e-6):
            raise CheckpointError(
                f"{files.path}: tensor {tensor!r} holds other places than "
                f"{_TARGETS} of {files.config_path}"
            )
    return dataclasses.replace(checkpoint, tensors=values)


def _saved_arguments(
    files: CheckpointFiles,
    tensors: Mapping[str, Tensor],
    activation: type[nn.Module] | None,
) -> dict[str, Any]:
    """Arguments of the network in a checkpoint of ours, from its configuration."""
    path = files.config_path
    if files.config is None:
        raise CheckpointError(f"{path} is missing: put it beside {files.path.name}")
    saved = check_config(path, files.config)
    if "activation" in saved:
        saved["activation"] = find_activation(path, saved["activation"], activation)
    try:
        sizes = layer_sizes(tensors)
    except KeyError:
        return saved  # the tensor that is missing is named with all others
    except ValueError as error:
        raise CheckpointError(f"{files.path}: {error}") from None
    for option, size in sizes.items():
        # before a network of any size is built
        if saved[option] != size:
            raise CheckpointError(
                f"{path} says {option}={saved[option]}, and the tensors in "
                f"{files.path.name} are those of {option}={size}"
            )
    return saved


def _rename(files: CheckpointFiles, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Give tensors under the authors' names ours; refuse what has neither."""
    known, strange = {}, []
    for name, value in tensors.items():
        try:
            # one by one, to tell a single strange name from a strange file
            known.update(rename_reference_keys({name: value}))
        except ValueError:
            strange.append(name)
    if not known:
        expected = ["trunk.spatial.weights.net.0.weight", "saie.net.0.weight"]
        raise CheckpointError(
            f"no tensor of {files.path} is one of the network: expected are names like "
            f"{some_names(expected)}, and found were {some_names(strange)}"
        )
    if strange:
        raise CheckpointError(
            f"{files.path} holds {some_names(strange)}, and the published network has "
            "no such parameter: get the file again"
        )
    return known


def _published_arguments(
    files: CheckpointFiles, tensors: Mapping[str, Tensor]
) -> dict[str, Any]:
    """Arguments of the published network of which a file has the parameters."""
    try:
        sizes = layer_sizes(tensors, reference_name)
        weight, bias = tensors["readout.weight"], tensors["readout.bias"]
    except KeyError as error:
        name = reference_name(error.args[0])
        raise CheckpointError(
            f"{files.path} lacks {name!r}: get a file with all parameters"
        ) from None
    except ValueError as error:
        raise CheckpointError(f"{files.path}: {error}") from None
    if weight.dim() != 3 or bias.shape != weight.shape[:1]:
        raise CheckpointError(
            f"{files.path}: tensors {reference_name('readout.weight')!r} and "
            f"{reference_name('readout.bias')!r} have shapes {tuple(weight.shape)} and "
            f"{tuple(bias.shape)}, which do not go together"
        )
    return {
        **dict.fromkeys(SIGNAL_OPTIONS),
        "n_chans": len(bias),
        "readout": "electrode",
        "scale": None,
        "model_sfreq": MODEL_SFREQ,
        "spatial_init": "published",
        "coordinate_frame": "colin27_mri",
        _TARGETS: None,
        **sizes,
    }


def _build_saved(checkpoint: Checkpoint, files: CheckpointFiles) -> nn.Module:
    """Network like the one that was saved, with random weights."""
    try:
        # the caller's random numbers are for the network that is asked for
        with seeded(0):
            return checkpoint.saved_class(**checkpoint.saved)
    except (ValueError, TypeError, RuntimeError) as error:
        path = files.path if checkpoint.published else files.config_path
        reason = " ".join(str(error).split())
        raise CheckpointError(f"{path} tells of no network ({reason})") from None


def _check_values(path: Path, name: str, value: Tensor, wanted: torch.dtype) -> Tensor:
    """Refuse what is no plain finite number; give float32, or whole numbers."""
    plain = value.layout == torch.strided and value.device.type == "cpu"
    if plain and not wanted.is_floating_point and value.dtype == wanted:
        return value.detach()
    if not (plain and value.is_floating_point()):
        raise CheckpointError(
            f"{path}: tensor {name!r} holds {value.dtype} ({value.layout}) instead of "
            "plain floating-point numbers"
        )
    value = value.detach().float()
    unset = name == _SCALE and bool(torch.isnan(value).all())
    if not (unset or bool(torch.isfinite(value).all())):
        raise CheckpointError(f"{path}: tensor {name!r} is not finite everywhere")
    return value
