"""Settings of decoders, checked before any work."""

from collections.abc import Mapping
from numbers import Integral, Real
from typing import TYPE_CHECKING

from sklearn.utils import check_scalar

from braindecode_samba.estimators.base import choose_device
from braindecode_samba.estimators.callbacks import as_list, check_watchers
from braindecode_samba.estimators.finetuning import check_finetune

if TYPE_CHECKING:
    from braindecode_samba.estimators.decoder import Decoder

STARTS = ("solved", "random")


def check_settings(decoder: "Decoder", *, in_passes: bool = True) -> None:
    """Refuse settings that can't be used.

    Parameters
    ----------
    decoder : Decoder
        Has the settings.
    in_passes : bool
        Whether `fit` trains, which may hold windows out; ``partial_fit`` never does.

    Raises
    ------
    ValueError, TypeError
        If one is unknown, out of range, or contradicts another.
    """
    if decoder.start not in STARTS:
        raise ValueError(f"start={decoder.start!r} is unknown: pass one of {STARTS}")
    if decoder.align not in ("auto", True, False):
        raise ValueError(
            f"align={decoder.align!r} is unknown: pass 'auto', True or False"
        )
    solved = decoder.start == "solved"
    # a solved head is trained already
    fewest = 0 if solved else 1
    check_scalar(decoder.max_epochs, "max_epochs", Integral, min_val=fewest)
    given = decoder.model_params if isinstance(decoder.model_params, Mapping) else {}
    kind = given.get("head", "readings")
    if solved and kind != "readings":
        raise ValueError(
            f"start='solved' solves head='readings', and model_params has {kind!r}: "
            "leave it out, or pass start='random'"
        )
    for name in ("lr", "trunk_lr_factor"):
        value = getattr(decoder, name)
        check_scalar(value, name, Real, min_val=0, include_boundaries="neither")
    check_scalar(decoder.weight_decay, "weight_decay", Real, min_val=0)
    check_finetune(decoder.finetune, decoder.checkpoint is not None)
    choose_device(decoder.device)
    _check_callbacks(decoder, in_passes)


def _check_callbacks(decoder: "Decoder", in_passes: bool) -> None:
    share = decoder.validation_split
    if share is not None:
        check_scalar(
            share,
            "validation_split",
            Real,
            min_val=0,
            max_val=1,
            include_boundaries="neither",
        )
    if not in_passes:
        remedy = "partial_fit holds none out, call fit with validation_split=0.2"
        check_watchers(decoder.callbacks, remedy)
    # from a solved head on, people are held out in any case
    elif share is None and not (decoder.start == "solved" and decoder.max_epochs):
        check_watchers(decoder.callbacks, "pass validation_split=0.2")
    else:
        as_list(decoder.callbacks)
