"""Which parts of a network a fit trains, and at what rate.

The stages of the trunk in the order of the computation, freezing the first of them, and
the optimiser with its groups of parameters.  Loops of training are in
`braindecode_samba.estimators.gradients`.
"""

from numbers import Integral
from typing import Any

import torch
from torch import nn

from braindecode_samba.models import SAMBA
from braindecode_samba.nn.trunk import Trunk
from braindecode_samba.signals.arrays import check_number

STAGES = (
    "spatial",
    "input_embedding",
    "encoder1",
    "encoder2",
    "encoder3",
    "mediator",
)
Finetune = str | int


def check_finetune(finetune: Finetune, has_checkpoint: bool) -> None:
    """Refuse what is no choice of parts to train.

    Parameters
    ----------
    finetune : {"all", "head"} or int
        Everything, only what lies behind the trunk, or the last stages of the trunk as
        well.
    has_checkpoint : bool
        Whether the trunk starts from trained weights.

    Raises
    ------
    ValueError
        If there is no such choice, or it would keep a random trunk as it is.
    """
    known = finetune in ("all", "head")
    if isinstance(finetune, Integral) and not isinstance(finetune, bool):
        known = 1 <= int(finetune) <= len(STAGES)
    if not known:
        raise ValueError(
            f"finetune={finetune!r} is unknown: pass 'all', 'head', or how many of the "
            f"last stages of the trunk to train, 1 to {len(STAGES)}"
        )
    if finetune != "all" and not has_checkpoint:
        raise ValueError(
            f"finetune={finetune!r} keeps stages of the trunk as they are, and without "
            "a checkpoint they are random: pass checkpoint, or finetune='all'"
        )


def freeze(model: SAMBA, finetune: Finetune) -> None:
    """Exclude from training what is to stay as it is.

    Parameters
    ----------
    model : SAMBA
        Its frozen parameters get no gradients, so that nothing changes them and none
        are computed for what lies before the first trained stage.
    finetune : {"all", "head"} or int
        As for `check_finetune`.
    """
    if finetune == "all":
        return
    n_trained = 0 if finetune == "head" else int(finetune)
    for modules in _stages(model.trunk)[: len(STAGES) - n_trained]:
        for module in modules:
            module.requires_grad_(False)


def _stages(trunk: Trunk) -> list[tuple[nn.Module, ...]]:
    """Modules of each of `STAGES`."""
    encoder = trunk.encoder
    return [
        (trunk.spatial,),
        (encoder.input_embedding,),
        (encoder.linear1, encoder.mamba1),
        (encoder.conv2,),
        (encoder.conv3,),
        (trunk.mediator,),
    ]


def adamw(groups: list[dict[str, Any]], lr: float, **kwargs: Any) -> torch.optim.AdamW:
    """Build AdamW that decays the weights of layers and no other parameter.

    Parameters
    ----------
    groups : list of dict
        Groups of parameters as skorch hands them to an optimiser.  With a
        ``rate_factor``, a group learns at that many times the rate.
    lr : float
        Learning rate.
    **kwargs
        Arguments of `torch.optim.AdamW`; ``fused`` is True by default, which spares
        a CPU thousands of small operations a step.

    Returns
    -------
    torch.optim.AdamW
        With two groups for each: the second, without decay, holds biases, norms,
        scalars, and what is flagged ``_no_weight_decay``, as the state-space parameters
        of Mamba are.
    """
    check_number(lr, "lr", min_val=0)
    split: list[dict[str, Any]] = []
    for group in groups:
        options = {name: value for name, value in group.items() if name != "params"}
        options["lr"] = lr * options.get("rate_factor", 1.0)
        decayed: list[nn.Parameter] = []
        free: list[nn.Parameter] = []
        for parameter in group["params"]:
            exempt = parameter.ndim < 2 or getattr(parameter, "_no_weight_decay", False)
            (free if exempt else decayed).append(parameter)
        split.append({"params": decayed, **options})
        split.append({"params": free, "weight_decay": 0.0, **options})
    return torch.optim.AdamW(split, lr=lr, **{"fused": True} | kwargs)


def trunk_first(trunk_lr_factor: float) -> list[tuple[str, dict[str, float]]]:
    """Name the groups for skorch: the trunk with its own rate, then everything else.

    Parameters
    ----------
    trunk_lr_factor : float
        Rate of the trunk over that of the rest.

    Returns
    -------
    list of tuple
        Empty if all parts learn at one rate.
    """
    if trunk_lr_factor == 1:
        return []
    return [("trunk.*", {"rate_factor": trunk_lr_factor})]


def highest_rates(lr: float, trunk_lr_factor: float) -> float | list[float]:
    """Give the highest rates of a schedule, for each group of `adamw`.

    Parameters
    ----------
    lr : float
        Rate of all but the trunk.
    trunk_lr_factor : float
        As for `trunk_first`.

    Returns
    -------
    float or list of float
        One for all groups, or one for each.
    """
    if trunk_lr_factor == 1:
        return lr
    return [lr * trunk_lr_factor] * 2 + [lr] * 2


def set_rate(optimizer: torch.optim.Optimizer, lr: float) -> None:
    """Set the rate of all groups, each with its factor.

    Parameters
    ----------
    optimizer : torch.optim.Optimizer
        Made by `adamw`.
    lr : float
        Rate of a group without a factor.
    """
    for group in optimizer.param_groups:
        group["lr"] = lr * group.get("rate_factor", 1.0)
