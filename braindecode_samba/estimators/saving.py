"""Fitted estimators in a folder: safetensors and JSON, all of it or nothing.

The folder is a checkpoint of the network, which `braindecode_samba.load_checkpoint`
reads too.  What the estimator knows beside its network stands in the configuration
under "estimator", and in tensors named ``estimator.*``.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field
from sklearn.utils.validation import check_is_fitted
from torch import Tensor

from braindecode_samba.checkpoints.configs import validated
from braindecode_samba.checkpoints.contents import (
    Checkpoint,
    CheckpointReport,
    part_of,
)
from braindecode_samba.checkpoints.files import (
    ESTIMATOR,
    WEIGHTS,
    CheckpointError,
    find_checkpoint,
    read_checkpoint_files,
    read_tensors,
)
from braindecode_samba.checkpoints.loading import checkpoint_in
from braindecode_samba.checkpoints.saving import save_model
from braindecode_samba.estimators.aligning import Alignment, Person
from braindecode_samba.estimators.base import WindowEstimator
from braindecode_samba.estimators.gradients import build_net
from braindecode_samba.estimators.packing import pack, unpack
from braindecode_samba.estimators.settings import DecoderSettings
from braindecode_samba.estimators.usage import Usage
from braindecode_samba.models import SAMBA
from braindecode_samba.nn.randomness import seeded
from braindecode_samba.signals.whitening import Covariance

_Count = Annotated[int, Field(gt=0)]


class _Strict(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False)


class _Person(_Strict):
    key: str | bool | int | float
    n_windows: Annotated[float, Field(ge=0)]


class _Alignment(_Strict):
    mode: Literal["whiten", "scale", "window"]
    people: list[_Person] = []


class _Table(_Strict):
    # as pandas' orient="tight"
    index: list[str]
    columns: list[str]
    data: list[list[int | float]]
    index_names: list[str | None]
    column_names: list[str | None]


class _Usage(_Strict):
    seconds: Annotated[float, Field(gt=0)]
    band: list[Annotated[float, Field(gt=0)]] = Field(min_length=2, max_length=2)
    places: list[str]


class Known(_Strict):
    """What a saved estimator knows beside its network."""

    kind: str
    parameters: dict[str, Any]
    learned: dict[str, Any]
    channels: list[Any] | None
    n_features_in: _Count
    n_times: _Count
    sfreq: Annotated[float, Field(gt=0)]
    seed: int | None = None
    n_updates: int | None = None
    alignment: _Alignment | None = None
    evidence: _Table | None = None
    usage: _Usage | None = None


class SavedEstimator(WindowEstimator):
    """Base of estimators that are saved and loaded."""

    # fitted attributes that go beside the network
    _learned: ClassVar[tuple[str, ...]]
    # parameters that don't go into a file
    _unsaved: ClassVar[tuple[str, ...]] = ("callbacks",)

    def save_pretrained(self, folder: str | os.PathLike[str]) -> None:
        """Write the fitted estimator into a folder: all of it, or nothing.

        Parameters
        ----------
        folder : str or path-like
            Where; it is made. An earlier one is replaced.  It holds
            ``model.safetensors`` and ``config.json``, and no pickle.

        Raises
        ------
        OSError
            If it can't be written; what was there before is unchanged.
        TypeError
            If a parameter can't be written as JSON.

        Notes
        -----
        ``callbacks``, a ``random_state`` that is no number, and the ``history`` and the
        optimiser of the net are not saved.
        """
        check_is_fitted(self)
        known, beside = self._known()
        told = known.model_dump()
        save_model(Path(folder), self.model_, beside=beside, estimator=told)

    @classmethod
    def from_pretrained(
        cls, name: str | os.PathLike[str], *, device: str = "auto", **hub: Any
    ) -> Self:
        """Read an estimator that `save_pretrained` has written.

        Parameters
        ----------
        name : str or path-like
            A folder, a shipped name, or ``"owner/name"`` on the Hugging Face hub.
        device : str
            As for the constructor: where it was fitted may be another machine.
        **hub
            Arguments of `huggingface_hub.snapshot_download`.

        Returns
        -------
        Self
            Fitted: it predicts what the saved one did.

        Raises
        ------
        CheckpointError
            A ValueError: if there is no such folder, it holds another estimator or
            none, or anything about it is damaged.
        """
        files = read_checkpoint_files(find_checkpoint(name, **hub))
        path = files.config_path
        told = (files.config or {}).get(ESTIMATOR)
        if told is None:
            raise CheckpointError(
                f"{files.path.parent} holds a network and no fitted estimator: pass it "
                f"as {cls.__name__}(checkpoint=...), or to load_checkpoint"
            )
        known = validated(path, Known, told, ESTIMATOR)
        if known.kind != cls.__name__:
            raise CheckpointError(
                f"{files.path.parent} holds a {known.kind}: call "
                f"{known.kind}.from_pretrained"
            )
        checkpoint = checkpoint_in(files, str(name))
        try:
            parameters = unpack(path, known.parameters) | {"device": device}
            estimator = cls(**parameters)
            estimator.n_features_in_ = known.n_features_in
            estimator.n_times_, estimator.sfreq_ = known.n_times, known.sfreq
            estimator._fitted_channels = unpack(path, known.channels)
            learned = unpack(path, known.learned)
            if set(learned) != set(cls._learned):
                raise ValueError(f"it knows {sorted(learned)}")
            tensors = {
                tensor: value
                for tensor, value in read_tensors(files).items()
                if part_of(tensor) == ESTIMATOR
            }
            estimator._check_common()
            estimator._restore(known, learned, tensors, checkpoint)
        except CheckpointError:
            raise
        # what a changed file makes of constructors can't be foreseen
        except (ValueError, TypeError, LookupError, AttributeError) as error:
            reason = " ".join(str(error).split())
            raise CheckpointError(
                f"{path} tells of no {cls.__name__} ({reason}): get the folder again"
            ) from error
        return estimator

    def _known(self) -> tuple[Known, dict[str, Tensor]]:
        """Tell what goes into the configuration, and the tensors beside it."""
        parameters = {
            name: value
            for name, value in self.get_params(deep=False).items()
            if name not in self._unsaved
        }
        if not isinstance(parameters["random_state"], int):
            parameters["random_state"] = None
        known = Known(
            kind=type(self).__name__,
            parameters={name: pack(value, name) for name, value in parameters.items()},
            learned={name: pack(getattr(self, name), name) for name in self._learned},
            channels=pack(self._fitted_channels, "channels"),
            n_features_in=int(self.n_features_in_),
            n_times=int(self.n_times_),
            sfreq=float(self.sfreq_),
        )
        return known, {}

    def _restore(
        self,
        known: Known,
        learned: dict[str, Any],
        tensors: Mapping[str, Tensor],
        checkpoint: Checkpoint,
    ) -> None:
        """Take network and what was learned; ValueError if they don't fit."""
        raise NotImplementedError


class SavedDecoder(DecoderSettings, SavedEstimator):
    """Base of decoders: net, alignment and evidence are saved too."""

    def _known(self) -> tuple[Known, dict[str, Tensor]]:
        known, _ = super()._known()
        alignment, tensors = _pack_alignment(self._alignment)
        evidence = None
        if self.evidence_ is not None:
            evidence = _Table(**self.evidence_.to_dict(orient="tight"))
        told = {
            "seed": self._seed,
            "n_updates": self._n_updates,
            "alignment": alignment,
            "evidence": evidence,
            "usage": _Usage(**self._usage._asdict() | {"band": [*self._usage.band]}),
        }
        return known.model_copy(update=told), tensors

    def _restore(
        self,
        known: Known,
        learned: dict[str, Any],
        tensors: Mapping[str, Tensor],
        checkpoint: Checkpoint,
    ) -> None:
        module = checkpoint.arguments(SAMBA, {})
        n_outputs = module["n_outputs"]
        sizes = {len(v) for v in learned.values() if isinstance(v, np.ndarray)}
        if sizes != {n_outputs}:
            raise ValueError(f"the network has {n_outputs} outputs, not {sizes}")
        classes = learned.get("classes_")
        if classes is not None and not np.array_equal(np.unique(classes), classes):
            raise ValueError("its classes are not sorted")
        n_updates, usage = known.n_updates, known.usage
        if known.alignment is None or known.seed is None:
            raise ValueError("alignment or seed is missing")
        if n_updates is None or usage is None:
            raise ValueError("n_updates or usage is missing")
        if not usage.band[0] < usage.band[1]:
            raise ValueError(f"its band is {usage.band}")
        self._alignment = _unpack_alignment(known.alignment, tensors, n_outputs)
        targets = np.zeros((1, n_outputs)) if self._numbers else np.arange(n_outputs)
        net = build_net(self, module, self._net_params(learned, targets))
        with seeded(known.seed):
            net.initialize()
        for name, value in learned.items():
            setattr(self, name, value)
        self.checkpoint_report_: CheckpointReport | None
        self.checkpoint_report_ = checkpoint.fill(net.module_)
        self._positions = None
        if self._fitted_channels is not None:
            places = [channel["loc"][:3] for channel in self._fitted_channels]
            self._positions = np.array(places)
        self._seed, self._n_updates = known.seed, n_updates
        self._usage = Usage(usage.seconds, (usage.band[0], usage.band[1]), usage.places)
        self.evidence_ = None
        if known.evidence is not None:
            told = known.evidence.model_dump()
            self.evidence_ = pd.DataFrame.from_dict(told, orient="tight")
            _refuse_other_evidence(self.evidence_, net.module_.final_layer.in_features)
        self.net_ = net

    def _net_params(
        self, learned: dict[str, Any], targets: NDArray[Any]
    ) -> dict[str, Any]:
        """Name the parameters of the net that depend on the targets."""
        raise NotImplementedError


def _refuse_other_evidence(evidence: pd.DataFrame, n_features: int) -> None:
    sizes, penalties = evidence["features"], evidence["penalty"]
    fits = {"weight", "explained"} <= set(evidence) and sizes.dtype.kind == "i"
    if not fits or sizes.sum() != n_features or not (sizes >= 0).all():
        raise ValueError(f"its evidence is not that of {n_features} features")
    if not (penalties > 0).all():
        raise ValueError("its penalties are not above 0")


def _pack_alignment(alignment: Alignment) -> tuple[_Alignment, dict[str, Tensor]]:
    """Alignment as an entry of the configuration, and its tensors."""
    arrays: dict[str, NDArray[np.float64]] = {}
    if alignment.prior is not None and alignment.positions is not None:
        arrays = {"prior": alignment.prior, "positions": alignment.positions}
    people = []
    for i, (key, person) in enumerate(alignment.people.items()):
        people.append(_Person(key=key, n_windows=person.covariance.n_windows))  # type: ignore[arg-type]
        arrays |= {
            f"people.{i}.covariance": person.covariance.matrix,
            f"people.{i}.positions": person.positions,
            f"people.{i}.level": person.level,
        }
    tensors = {
        f"{ESTIMATOR}.{name}": torch.from_numpy(np.ascontiguousarray(array, np.float64))
        for name, array in arrays.items()
    }
    return _Alignment(mode=alignment.mode, people=people), tensors  # type: ignore[arg-type]


def _unpack_alignment(
    told: _Alignment, tensors: Mapping[str, Tensor], n_outputs: int
) -> Alignment:
    """Put together what `_pack_alignment` took apart; ValueError if it can't."""
    left = dict(tensors)

    def take(name: str, *shape: int) -> NDArray[np.float64]:
        tensor = left.pop(f"{ESTIMATOR}.{name}", None)
        if tensor is None:
            raise ValueError(f"{WEIGHTS} lacks '{ESTIMATOR}.{name}'")
        fits = len(shape) == tensor.dim() and all(
            size in (-1, own) for size, own in zip(shape, tensor.shape, strict=True)
        )
        if not (fits and tensor.dtype == torch.float64 and tensor.isfinite().all()):
            raise ValueError(
                f"'{ESTIMATOR}.{name}' of {WEIGHTS} is {tensor.dtype} of shape "
                f"{tuple(tensor.shape)}, or not finite"
            )
        return tensor.numpy()

    alignment = Alignment(told.mode)
    if told.mode == "whiten":
        alignment.positions = take("positions", -1, 3)
        n = len(alignment.positions)
        alignment.prior = take("prior", n, n)
    for i, person in enumerate(told.people):
        positions = take(f"people.{i}.positions", -1, 3)
        matrix = take(f"people.{i}.covariance", len(positions), len(positions))
        level = take(f"people.{i}.level", n_outputs)
        covariance = Covariance(person.n_windows, matrix)
        alignment.people[person.key] = Person(covariance, positions, level)
    if left:
        raise ValueError(f"{WEIGHTS} holds {sorted(left)}, which nothing needs")
    return alignment
