"""Configurations of checkpoints: what each option may be, and which the caller may set.

Files are read in `braindecode_samba.checkpoints.files`; networks are built and filled
in `braindecode_samba.checkpoints.loading`.
"""

import functools
import inspect
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, TypeVar

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError, create_model
from torch import nn

from braindecode_samba.checkpoints.files import CheckpointError
from braindecode_samba.models import SAMBA, SAMBAReconstructor

SIGNAL_OPTIONS = (
    "n_outputs",
    "n_chans",
    "chs_info",
    "n_times",
    "input_window_seconds",
    "sfreq",
)
_CHANNELS = ("chs_info", "n_chans")
_LENGTH = ("n_times", "input_window_seconds")
Schema = TypeVar("Schema", bound=BaseModel)
# keeps a damaged number from asking for all memory
_LARGEST = 2**20


class _Channel(BaseModel):
    # MNE's entries; unknown places are NaN
    model_config = ConfigDict(strict=True, extra="allow", allow_inf_nan=True)

    ch_name: str
    loc: Annotated[list[float], Field(min_length=3)] | None = None


class _Notes(BaseModel):
    # what a configuration holds beside the arguments of the network
    model_config = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False)

    braindecode_version: str | None = None
    braindecode_samba_version: str | None = None
    pretraining: dict[str, Any] | None = None
    weights_sha256: str | None = None
    estimator: dict[str, Any] | None = None


NOTES = tuple(_Notes.model_fields)
_Whole = Annotated[int, Field(gt=0, le=_LARGEST)]
_Number = Annotated[float, Field(ge=0, le=_LARGEST)]
_AS_JSON: dict[Any, Any] = {
    int: _Whole,
    int | None: _Whole | None,
    float: _Number,
    float | None: _Number | None,
    type[nn.Module]: str,
}


def options_of(model_class: type[Any]) -> dict[str, Any]:
    """Arguments of a model, with their annotations.

    Parameters
    ----------
    model_class : type of SAMBA or SAMBAReconstructor
        The model.

    Returns
    -------
    dict of str to object
        In the order of the signature.
    """
    parameters = inspect.signature(model_class).parameters
    return {name: parameter.annotation for name, parameter in parameters.items()}


# what both models have decides what the trunk computes, and can't be changed
TRUNK_OPTIONS = tuple(
    name
    for name in options_of(SAMBA)
    if name in options_of(SAMBAReconstructor) and name not in SIGNAL_OPTIONS
)


@functools.cache
def _schema(model_class: type[Any]) -> type[BaseModel]:
    fields: dict[str, Any] = {
        name: (
            _AS_JSON.get(annotation, annotation),
            None if name in SIGNAL_OPTIONS else ...,
        )
        for name, annotation in options_of(model_class).items()
    }
    fields["chs_info"] = (list[_Channel] | None, None)
    return create_model(f"{model_class.__name__}Config", __base__=_Notes, **fields)


def check_config(path: Path, config: Mapping[str, Any]) -> dict[str, Any]:
    """Check a configuration and give the arguments of the network that was saved.

    Parameters
    ----------
    path : pathlib.Path
        The file, for messages.
    config : mapping
        What is in it.

    Returns
    -------
    dict of str to object
        Arguments of `SAMBA` if there is a ``head`` among them, else of
        `SAMBAReconstructor`.  The activation is the name that the file gives.

    Raises
    ------
    CheckpointError
        If an option is missing, unknown or of a wrong type or size.
    """
    model_class = SAMBA if "head" in config else SAMBAReconstructor
    validated(path, _schema(model_class), dict(config))
    saved = {name: config.get(name) for name in options_of(model_class)}
    if saved["chs_info"] is not None:
        # arrays, which braindecode would otherwise make of lists with a warning; places
        # were checked when the network was made
        saved["chs_info"] = [
            {
                **channel,
                "loc": np.array(channel["loc"], dtype=float),
                "positions": "measured",
            }
            if channel.get("loc") is not None
            else channel
            for channel in saved["chs_info"]
        ]
    return saved


def validated(path: Path, schema: type[Schema], told: Any, *within: str) -> Schema:
    """Check what a configuration tells.

    Parameters
    ----------
    path : pathlib.Path
        The file, for messages.
    schema : type of pydantic.BaseModel
        What may be told.
    told : object
        What is.
    *within : str
        Entry of the configuration in which it stands.

    Raises
    ------
    CheckpointError
        If an option is missing, unknown or of a wrong type or size.
    """
    try:
        return schema.model_validate(told)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        option = ".".join(map(str, (*within, *first["loc"])))
        raise CheckpointError(
            f"{path}: option {option!r} can't be used ({first['msg']}); get the file "
            "again, or a version of braindecode-samba that knows it"
        ) from None


def find_activation(
    path: Path, name: str, otherwise: type[nn.Module] | None
) -> type[nn.Module]:
    """Find an activation of PyTorch by the dotted name in a configuration.

    Nothing is imported for it: a file could otherwise have any code run.

    Parameters
    ----------
    path : pathlib.Path
        The file, for messages.
    name : str
        Such as ``"torch.nn.modules.activation.ELU"``.
    otherwise : type of nn.Module, optional
        The class to take if PyTorch has none of that name.

    Returns
    -------
    type of nn.Module
        The class.

    Raises
    ------
    CheckpointError
        If PyTorch has no such activation, and there is no other.
    """
    found = re.fullmatch(r"torch\.nn\.modules\.activation\.(\w+)", name)
    activation = getattr(nn.modules.activation, found[1], None) if found else None
    if isinstance(activation, type) and issubclass(activation, nn.Module):
        return activation
    if otherwise is None:
        raise CheckpointError(
            f"{path}: activation {name!r} is none of PyTorch's: pass the class as "
            "activation"
        )
    return otherwise


def merge_signals(saved: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """Signal arguments of a new network: the caller's, else those that were saved.

    Channels that the caller names replace all that was saved about channels.  A new
    rate or length replaces the saved length, and the saved rate stands unless the
    caller names one.

    Parameters
    ----------
    saved, given : mapping
        Arguments of a model; others than those of signals are passed over.

    Returns
    -------
    dict of str to object
        Arguments that don't contradict each other unless the caller's do.
    """
    told = {name for name in SIGNAL_OPTIONS if given.get(name) is not None}
    stale: set[str] = set()
    if told.intersection(_CHANNELS):
        stale.update(_CHANNELS)
    if told.intersection((*_LENGTH, "sfreq")):
        stale.update(_LENGTH)
    return {
        name: given[name] if name in told else saved[name]
        for name in SIGNAL_OPTIONS
        if name in told or name not in stale
    }


def trunk_options(
    path: Path, saved: Mapping[str, Any], given: Mapping[str, Any], free: frozenset[str]
) -> dict[str, Any]:
    """Options of the trunk as they were saved, which the caller must not contradict.

    Parameters
    ----------
    path : pathlib.Path
        The file, for messages.
    saved, given : mapping
        Arguments of a model.
    free : frozenset of str
        Options that the checkpoint does not tell, for the caller to choose.

    Returns
    -------
    dict of str to object
        All options of the trunk.

    Raises
    ------
    CheckpointError
        If the caller names another value than was saved.
    """
    options = {name: saved[name] for name in TRUNK_OPTIONS}
    for name in TRUNK_OPTIONS:
        if name not in given:
            continue
        if name in free:
            options[name] = given[name]
        elif not np.array_equal(given[name], saved[name]):
            raise CheckpointError(
                f"{path} was made with {name}={saved[name]!r}, and {name}="
                f"{given[name]!r} was passed: leave {name} out"
            )
    return options
