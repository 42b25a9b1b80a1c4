"""Settings that classifier and regressor share, and which of them go together."""

import os
from collections.abc import Mapping, Sequence
from numbers import Integral
from typing import Any, ClassVar

import skorch
from sklearn.utils import check_scalar

from braindecode_samba.estimators.base import WindowEstimator, choose_device
from braindecode_samba.estimators.callbacks import as_list, check_watchers
from braindecode_samba.estimators.finetuning import Finetune, check_finetune
from braindecode_samba.signals.arrays import check_number
from braindecode_samba.signals.inputs import RandomState

STARTS = ("solved", "random")


class DecoderSettings(WindowEstimator):
    """Settings of decoders, by name and type."""

    _net_class: ClassVar[type[skorch.NeuralNet]]
    _numbers: ClassVar[bool]
    align: str | bool
    mirror: Mapping[Any, Any] | None
    montages: Sequence[str | Sequence[str]]
    checkpoint: str | os.PathLike[str] | None
    start: str
    max_epochs: int
    lr: float
    weight_decay: float
    finetune: Finetune
    trunk_lr_factor: float
    callbacks: Any
    validation_split: float | None
    device: str
    random_state: RandomState

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
        if isinstance(self.montages, str) or not isinstance(self.montages, Sequence):
            kind = type(self.montages).__name__
            raise TypeError(
                f"montages is a {kind}: pass a list of names of montages, or of lists "
                "of electrodes"
            )
        solved = self.start == "solved"
        # a solved head is trained already
        check_scalar(
            self.max_epochs,
            "max_epochs",
            Integral,
            min_val=0 if solved else 1,
        )
        given = self.model_params if isinstance(self.model_params, Mapping) else {}
        kind = given.get("head", "readings")
        if solved and kind != "readings":
            raise ValueError(
                f"start='solved' solves head='readings', and model_params has "
                f"{kind!r}: leave it out, or pass start='random'"
            )
        check_number(self.lr, "lr", min_val=0, include_boundaries="neither")
        check_number(self.weight_decay, "weight_decay", min_val=0)
        check_finetune(self.finetune, self.checkpoint is not None)
        check_number(
            self.trunk_lr_factor,
            "trunk_lr_factor",
            min_val=0,
            include_boundaries="neither",
        )
        if self.validation_split is not None:
            check_number(
                self.validation_split,
                "validation_split",
                min_val=0,
                max_val=1,
                include_boundaries="neither",
            )
        choose_device(self.device)
        if not in_passes:
            remedy = "partial_fit holds none out, call fit with validation_split=0.2"
            check_watchers(self.callbacks, remedy)
        # from a solved head on, people are held out in any case
        elif self.validation_split is None and not (solved and self.max_epochs):
            check_watchers(self.callbacks, "pass validation_split=0.2")
        else:
            as_list(self.callbacks)
