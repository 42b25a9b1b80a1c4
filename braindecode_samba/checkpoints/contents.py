"""What a checkpoint holds, how a network is filled from it, and the report of that.

Checkpoints are opened in `braindecode_samba.checkpoints.loading`.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from braindecode_samba.checkpoints.configs import (
    SIGNAL_OPTIONS,
    merge_signals,
    options_of,
    trunk_options,
)
from braindecode_samba.checkpoints.files import CheckpointError, short_hash
from braindecode_samba.models import SAMBA, SAMBAReconstructor
from braindecode_samba.nn.reference import reference_name

# the authors' files hold parameters alone; the rest is for the caller to know
_UNTOLD = frozenset({"model_sfreq", "scale", "target_positions"})
_CONSTANTS = (".recording_scale", ".target_positions")


@dataclass(frozen=True)
class CheckpointReport:
    """What became of the tensors of a checkpoint.

    Parameters
    ----------
    name : str
        What was asked for.
    path : pathlib.Path
        The file of weights.
    sha256 : str
        Its hash, 64 hexadecimal digits.
    used : tuple of str
        Tensors of the file that the network has now, by their names in the file.
    new : tuple of str
        Parameters of the network that keep their random start.
    left_over : tuple of str
        Tensors of the file that the network has no place for.
    """

    name: str
    path: Path
    sha256: str
    used: tuple[str, ...]
    new: tuple[str, ...]
    left_over: tuple[str, ...]

    @property
    def n_tensors(self) -> int:
        """Tensors in the file."""
        return len(self.used) + len(self.left_over)

    @property
    def short_hash(self) -> str:
        """First digits of the hash: a parameter that tells weights apart."""
        return short_hash(self.sha256)

    def __str__(self) -> str:
        """One line for people."""
        return (
            f"{self.name} ({self.short_hash}): {len(self.used)} of {self.n_tensors} "
            f"tensors used; new: {_by_part(self.new)}; left over: "
            f"{_by_part(self.left_over)}"
        )


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint that was read and found whole.

    Parameters
    ----------
    name : str
        What was asked for.
    path : pathlib.Path
        The file of weights.
    sha256 : str
        Its hash.
    saved_class : type of SAMBA or SAMBAReconstructor
        The model that was saved.
    saved : mapping of str to object
        Arguments of that model.
    tensors : mapping of str to Tensor
        All of its tensors, float32, by their names in that model.
    published : bool
        Whether the file has the authors' names of parameters.
    """

    name: str
    path: Path
    sha256: str
    saved_class: type[SAMBA] | type[SAMBAReconstructor]
    saved: Mapping[str, Any]
    tensors: Mapping[str, Tensor]
    published: bool

    def arguments(
        self, model_class: type[Any], given: Mapping[str, Any]
    ) -> dict[str, Any]:
        """Arguments for a new model that this checkpoint fills.

        Parameters
        ----------
        model_class : type of SAMBA or SAMBAReconstructor
            The new model.
        given : mapping of str to object
            Arguments that the caller wants.

        Returns
        -------
        dict of str to object
            With the options of the trunk as they were saved; the caller's signals, or
            those that were saved; and the caller's options of the other parts.

        Raises
        ------
        CheckpointError
            If the caller wants another trunk, or no number of outputs is known.
        TypeError
            If the model has no such argument.
        """
        known = options_of(model_class)
        if strange := [name for name in given if name not in known]:
            raise TypeError(
                f"{model_class.__name__} has no argument {strange[0]!r}: pass "
                f"{', '.join(known)}"
            )
        free = _UNTOLD if self.published else frozenset()
        trunk = trunk_options(self.path, self.saved, given, free)
        parts = {
            name: given.get(name, self.saved.get(name))
            for name in known
            if name not in SIGNAL_OPTIONS
            and name not in trunk
            and (name in given or name in self.saved)
        }
        arguments = {**merge_signals(self.saved, given), **trunk, **parts}
        if model_class is SAMBA and arguments.get("n_outputs") is None:
            raise CheckpointError(f"{self.path} has no classifier: pass n_outputs")
        return arguments

    def fill(
        self, model: SAMBA | SAMBAReconstructor, *, trunk_only: bool = False
    ) -> CheckpointReport:
        """Give a model the tensors of this checkpoint.

        Parameters
        ----------
        model : SAMBA or SAMBAReconstructor
            Built with `arguments`.  If anything is refused, it stays as it was.
        trunk_only : bool
            Keep the start of all parts behind the trunk.

        Returns
        -------
        CheckpointReport
            What was used, what is new, what is left over.

        Raises
        ------
        CheckpointError
            If a tensor of the trunk, or of a part that was saved with the same options,
            is missing or has another shape.
        """
        config = model.get_config()  # type: ignore[operator]
        parts = {"trunk"} if trunk_only else self._shared_parts(config)
        wanted = {
            name: value
            for name, value in model.state_dict().items()
            if part_of(name) in parts
        }
        wanted = self.learned(wanted)
        used = {name: v for name, v in self.tensors.items() if name in wanted}
        self.check(used, wanted)
        model.load_state_dict(used, strict=False)
        learned = [name for name, _ in model.named_parameters()]
        over = [name for name in self.tensors if name not in used]
        return CheckpointReport(
            self.name,
            self.path,
            self.sha256,
            used=tuple(self.name_in_file(name) for name in used),
            new=tuple(name for name in learned if name not in used),
            left_over=tuple(self.name_in_file(name) for name in over),
        )

    def learned(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Choose the tensors that a file of this kind holds.

        Parameters
        ----------
        tensors : mapping of str to Tensor
            State dict of a model.

        Returns
        -------
        dict of str to Tensor
            All of them; parameters alone for a file of the authors.
        """
        return {
            name: value
            for name, value in tensors.items()
            if not self.published or not name.endswith(_CONSTANTS)
        }

    def _shared_parts(self, config: Mapping[str, Any]) -> set[str]:
        """Parts of the network that are those of the one that was saved."""
        parts = {"trunk"}
        if "readout" in self.saved and "readout" in config:
            parts.add("decoder")
            if config["readout"] == self.saved["readout"]:
                parts.add("readout")
        shape = ("head", "numbers", "evoked_seconds")
        if "head" in config and all(config[n] == self.saved.get(n) for n in shape):
            as_many = config["n_outputs"] == self.saved["n_outputs"]
            # readings know how many classes they tell apart
            if as_many or config["head"] != "readings":
                parts.add("head")
            if as_many:
                parts.add("final_layer")
        return parts

    def check(self, found: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> None:
        """Refuse tensors that are not those of a network.

        Parameters
        ----------
        found, wanted : mapping of str to Tensor
            Tensors of this checkpoint, and the state dict of the network.

        Raises
        ------
        CheckpointError
            If a tensor is missing, strange or of another shape.
        """
        missing = [self.name_in_file(name) for name in wanted if name not in found]
        strange = [self.name_in_file(name) for name in found if name not in wanted]
        faults = []
        if missing:
            faults.append(f"lacks {some_names(missing)}")
        if strange:
            faults.append(f"holds {some_names(strange)}, which the network has not")
        if faults:
            raise CheckpointError(
                f"{self.path} {' and '.join(faults)}: get the file again"
            )
        for name, value in found.items():
            if value.shape != wanted[name].shape:
                raise CheckpointError(
                    f"{self.path}: tensor {self.name_in_file(name)!r} has shape "
                    f"{self._shape(name, value)} where the network has "
                    f"{self._shape(name, wanted[name])}"
                )

    def name_in_file(self, name: str) -> str:
        """Give the name that a tensor has in the file.

        Parameters
        ----------
        name : str
            Its name in the model that was saved.

        Returns
        -------
        str
            The authors' name in a file of theirs, else the same.
        """
        return reference_name(name) if self.published else name

    def _shape(self, name: str, value: Tensor) -> tuple[int, ...]:
        """Shape of a tensor in the file."""
        linear = self.published and self.name_in_file(name) == "encoder1.0.weight"
        return tuple((value.squeeze(-1) if linear else value).shape)


def part_of(name: str) -> str:
    """Give the part of the network that a tensor belongs to: "trunk" and the like."""
    return name.split(".", 1)[0]


def some_names(names: list[str]) -> str:
    """Write names, as many as a message bears."""
    shown = ", ".join(map(repr, names[:5]))
    return shown + (f" and {len(names) - 5} more" if len(names) > 5 else "")


def _by_part(names: Iterable[str]) -> str:
    """Tell the parts of tensors, with how many there are of each."""
    counts = Counter(map(part_of, names))
    return ", ".join(f"{part} ({n})" for part, n in counts.items()) or "nothing"
