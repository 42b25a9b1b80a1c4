"""The config of a pretraining: what each key means, how it is read, whom it chooses.

A config is JSON.  What it leaves open has the defaults that stand here; the shipped
ones lie in ``data/configs``.
"""

import functools
import inspect
import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, get_args

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    field_validator,
)

from braindecode_samba._paths import data_folder
from braindecode_samba.checkpoints.configs import SIGNAL_OPTIONS
from braindecode_samba.models import SAMBAReconstructor
from braindecode_samba.pretraining.augment import MontageAugmentation
from braindecode_samba.pretraining.callbacks import OneCycle
from braindecode_samba.pretraining.choice import Masking
from braindecode_samba.pretraining.corpora import Mixing
from braindecode_samba.pretraining.losses import TimeFrequencyLoss
from braindecode_samba.pretraining.recordings import CuttingSettings

_NO_WINDOWS: Any = None
# keys that hold arguments of something else, and of what
_ARGUMENTS_OF: dict[str, Callable[..., Any]] = {
    "windows": CuttingSettings,
    "montages": functools.partial(MontageAugmentation, _NO_WINDOWS),
    "masking": Masking,
    "loss": TimeFrequencyLoss,
    "model": SAMBAReconstructor,
    "one_cycle": OneCycle,
}
# arguments that are decided elsewhere
_TAKEN = {"windows": ("unknown",), "montages": ("seed",), "model": SIGNAL_OPTIONS}


class ConfigError(ValueError):
    """A config, or a command with it, that nobody can mean."""


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)


class CorpusConfig(_Part):
    """One data set."""

    folder: str = Field(
        default=".", description="where it lies, below the folder of `prepare`"
    )
    files: list[str] | None = Field(
        default=None,
        description='patterns such as "*/*.edf"; by default all recordings',
    )
    subject: str | None = Field(
        default=None,
        description="regular expression on a file's path in that folder, of which "
        "group 1, or all of it, names the person; by default names are understood",
    )
    subjects: list[str] = Field(
        default=[".*"],
        description="people to take: names, regular expressions or ranges such as "
        '"S001..S028"',
    )
    held_out: list[str] | None = Field(
        default=None,
        description="those of them on whom the loss is watched, told in the same way; "
        "by default a tenth, at least one",
    )
    title: str | None = Field(default=None, description="for the card")
    licence: str = Field(
        default="not stated", description="of the recordings, for the card"
    )
    attribution: str | None = Field(default=None, description="for the card")


class TrainingConfig(_Part):
    """How long and how fast to train."""

    epochs: int = Field(default=10, ge=1, description="passes over the windows")
    steps: int | None = Field(
        default=None,
        ge=1,
        description="batches, instead of epochs; rounded up to whole passes",
    )
    batch_size: int = Field(
        default=64, ge=1, description="windows, of all processes together"
    )
    lr: float = Field(default=1e-3, gt=0, description="highest learning rate")
    mixed_precision: bool = Field(default=False, description="compute in bfloat16")


class ProbeConfig(_Part):
    """What frozen features are worth, watched during training."""

    folder: str = Field(
        default="probe",
        description="files NAME.npz below the folder of stores, with X (windows, "
        "channels, times), y, subject, names, sfreq and, if some are scored alone, "
        "scored",
    )
    every: int = Field(default=5, ge=1, description="epochs from one score to the next")


class Config(_Part):
    """All settings of a run."""

    name: str = Field(default="SAMBA", description="title of the card")
    licence: str = Field(default="not stated", description="of the weights")
    seed: int = Field(
        default=0, ge=0, description="of weights, order, montages and masks"
    )
    init: str | None = Field(
        default=None,
        description="checkpoint to begin with, instead of random weights: a shipped "
        "name, a folder or owner/name on the hub",
    )
    corpora: dict[str, CorpusConfig] = Field(
        default={}, description="data sets by name; by default one of all recordings"
    )
    windows: dict[str, Any] = Field(
        default={}, description="how recordings are cut, as by write_windows"
    )
    mixing: Mixing = Field(
        default="concat", description=f"of corpora: {', '.join(get_args(Mixing))}"
    )
    montages: dict[str, Any] = Field(
        default={},
        description="montages made of each window, as by MontageAugmentation",
    )
    masking: dict[str, Any] = Field(
        default={}, description="what is hidden, as by Masking"
    )
    loss: dict[str, Any] = Field(
        default={"norm": "ortho", "region": "masked"},
        description="how a rebuilt window counts, as by TimeFrequencyLoss",
    )
    model: dict[str, Any] = Field(
        default={}, description="the network, as SAMBAReconstructor"
    )
    one_cycle: dict[str, Any] = Field(
        default={}, description="course of the learning rate, as by OneCycle"
    )
    training: TrainingConfig = Field(
        default=TrainingConfig(), description="how long and how fast to train"
    )
    probe: ProbeConfig | None = Field(
        default=None, description="labels to watch; by default none"
    )

    @field_validator(*_ARGUMENTS_OF)
    @classmethod
    def _know_arguments(
        cls, given: dict[str, Any], info: ValidationInfo
    ) -> dict[str, Any]:
        key = str(info.field_name)
        known = [name for name, _ in _arguments(key)]
        if strangers := sorted(set(given) - set(known)):
            raise ValueError(
                f"unknown are {', '.join(strangers)}, known {', '.join(known)}"
            )
        if key != "model":  # which takes time to build
            try:
                _ARGUMENTS_OF[key](**given)
            except TypeError as error:
                raise ValueError(str(error)) from None
        return given


def shipped_configs() -> dict[str, Path]:
    """Files of the configs that ship with the package, by name."""
    return {path.stem: path for path in sorted(data_folder("configs").glob("*.json"))}


def read_config(name: str) -> Config:
    """Read a config and check it.

    Parameters
    ----------
    name : str
        A shipped one, such as ``"small"``, or a JSON file.

    Returns
    -------
    Config
        With defaults for what it leaves open.

    Raises
    ------
    ConfigError
        If there is no such config, or something in it can't be used.
    """
    shipped = shipped_configs()
    try:
        text = Path(shipped.get(name, name)).read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"the config {name} can't be read ({error}): pass a JSON file, or one of "
            f"{', '.join(shipped)}"
        ) from None
    try:
        return Config.model_validate_json(text)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(map(str, first["loc"]))
        if first["type"] == "extra_forbidden":
            raise ConfigError(
                f"{name} has an unknown key {where!r}: `braindecode-samba config` "
                "lists those that are known"
            ) from None
        reason = " ".join(first["msg"].removeprefix("Value error, ").split())
        where = " ".join(where.split())
        raise ConfigError(
            f"{name} can't be used: {f'{where}: ' if where else ''}{reason}"
        ) from None


def describe_keys(part: type[BaseModel] = Config, prefix: str = "") -> Iterator[str]:
    """Tell each key, its default and its meaning, a line each."""
    for name, field in part.model_fields.items():
        inner = [one for one in _models_in(field.annotation)]
        arguments = _arguments(name) if name in _ARGUMENTS_OF else []
        told = not (inner or field.is_required() or field.default == {})
        default = f" = {field.default!r}" if told else ""
        yield f"{prefix}{name}{default}: {field.description}"
        if arguments:
            yield f"    {', '.join(f'{n}={value!r}' for n, value in arguments)}"
        for one in inner:
            yield from describe_keys(one, f"{prefix}    ")


def is_chosen(subject: str, choices: Iterable[str]) -> bool:
    """Tell whether a range, FIRST..LAST, or a regular expression names a subject."""
    return any(_names(choice, subject) for choice in choices)


def _names(choice: str, subject: str) -> bool:
    bounds = re.fullmatch(r"(.*?)(\d+)\.\.(.*?)(\d+)", choice)
    if bounds is None:
        return choice == subject or re.fullmatch(choice, subject) is not None
    stem, low, same, high = bounds.groups()
    if stem != same:
        raise ConfigError(f"the range {choice} ends with another name than it begins")
    number = re.fullmatch(re.escape(stem) + r"(\d+)", subject)
    return number is not None and int(low) <= int(number[1]) <= int(high)


def _arguments(key: str) -> list[tuple[str, Any]]:
    taken = _TAKEN.get(key, ())
    parameters = inspect.signature(_ARGUMENTS_OF[key]).parameters.values()
    return [(p.name, p.default) for p in parameters if p.name not in taken]


def _models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    for one in (annotation, *get_args(annotation)):
        if inspect.isclass(one) and issubclass(one, BaseModel):
            yield one
