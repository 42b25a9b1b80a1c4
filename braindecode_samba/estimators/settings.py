"""Settings that classifier and regressor share, and which of them go together."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from numbers import Integral
from typing import Any, ClassVar

import skorch
from sklearn.utils import check_scalar

from braindecode_samba.estimators.base import WindowEstimator, choose_device
from braindecode_samba.estimators.callbacks import as_list, check_watchers
from braindecode_samba.estimators.finetuning import Finetune, check_finetune
from braindecode_samba.signals.arrays import check_number

STARTS = ("solved", "random")


@dataclass(kw_only=True, eq=False, repr=False)
class DecoderSettings(WindowEstimator):
    """Base of decoders that holds their settings, see `SAMBAClassifier`."""

    _net_class: ClassVar[type[skorch.NeuralNet]]
    _numbers: ClassVar[bool]

    align: str | bool = "auto"
    mirror: Mapping[Any, Any] | None = None
    montages: Sequence[str | Sequence[str]] = ()
    start: str = "solved"
    max_epochs: int = 0
    lr: float = 1e-3
    weight_decay: float = 1e-2
    finetune: Finetune = "all"
    trunk_lr_factor: float = 1.0
    callbacks: Any = None
    validation_split: float | None = None

    def _check_settings(self, *, in_passes: bool = True) -> None:
        """Refuse settings that can't be used, or not together.

        ``in_passes`` says whether `fit` trains, which may hold windows out;
        ``partial_fit`` never does.
        """
        if self.start not in STARTS:
            raise ValueError(f"start={self.start!r} is unknown: pass one of {STARTS}")
        if self.align not in ("auto", True, False):
            raise ValueError(
                f"align={self.align!r} is unknown: pass 'auto', True or False"
            )
        solved = self.start == "solved"
        # a solved head is trained already
        least = 0 if solved else 1
        check_scalar(self.max_epochs, "max_epochs", Integral, min_val=least)
        given = self.model_params if isinstance(self.model_params, Mapping) else {}
        kind = given.get("head", "readings")
        if solved and kind != "readings":
            raise ValueError(
                f"start='solved' solves head='readings', and model_params has "
                f"{kind!r}: leave it out, or pass start='random'"
            )
        check_number(self.weight_decay, "weight_decay", min_val=0)
        check_finetune(self.finetune, self.checkpoint is not None)
        inside: dict[str, Any] = {"min_val": 0, "include_boundaries": "neither"}
        check_number(self.lr, "lr", **inside)
        check_number(self.trunk_lr_factor, "trunk_lr_factor", **inside)
        share = self.validation_split
        if share is not None:
            check_number(share, "validation_split", max_val=1, **inside)
        choose_device(self.device)
        if not in_passes:
            remedy = "partial_fit holds none out, call fit with validation_split=0.2"
            check_watchers(self.callbacks, remedy)
        # from a solved head on, people are held out in any case
        elif self.validation_split is None and not (solved and self.max_epochs):
            check_watchers(self.callbacks, "pass validation_split=0.2")
        else:
            as_list(self.callbacks)

    def _check_common(self) -> None:
        super()._check_common()
        if isinstance(self.montages, str) or not isinstance(self.montages, Sequence):
            kind = type(self.montages).__name__
            raise TypeError(
                f"montages is a {kind}: pass a list of names of montages, or of lists "
                "of electrodes"
            )
