"""Features over time as numbers a window: the published statistics and band power.

What classifies these numbers lives in `braindecode_samba.models`.
"""

import torch
from torch import Tensor, nn

from braindecode_samba.nn.trunk import Stages
from braindecode_samba.scan.traced import is_traced

_SORTED_AT_ONCE = 2**22
_QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)


def nine_statistics(z: Tensor) -> Tensor:
    """Summarise features by the nine published statistics over time.

    Parameters
    ----------
    z : Tensor, shape (batch, features, times)
        Features, at least two time steps.

    Returns
    -------
    Tensor, shape (batch, 9 * features)
        Minimum, maximum, mean and standard deviation of all features, then the
        quantiles .05, .25, .5, .75 and .95, those of one feature side by side.

    Raises
    ------
    ValueError
        If there is a single time step, which has no standard deviation.

    References
    ----------
    The probe of SAMBA's authors, arXiv 2511.18571.
    """
    if z.shape[-1] < 2:
        raise ValueError(
            "nine statistics need at least 2 time steps; at the layer 'pool3' that is "
            "a window of 16 samples at the model's rate"
        )
    q = torch.tensor(_QUANTILES, dtype=z.dtype, device=z.device)
    # torch.quantile sorts a copy, and refuses more than 16 million values at once
    some = max(1, _SORTED_AT_ONCE // max(1, z.shape[0] * z.shape[-1]))
    quantiles = torch.cat(
        [torch.quantile(part, q, dim=-1) for part in z.split(some, 1)], dim=2
    )  # (5, batch, features)
    return torch.cat(
        [
            z.amin(-1),
            z.amax(-1),
            z.mean(-1),
            z.std(-1),
            quantiles.permute(1, 2, 0).flatten(1),
        ],
        dim=1,
    )


def variance(z: Tensor, at_once: int = 2**17) -> Tensor:
    """Variance over time of (batch, features, times): (batch, features)."""
    # torch.var takes ten times as long on a CPU; some values at once, so that what is
    # centred stays in the cache
    if torch.jit.is_scripting() or not is_traced():
        some = max(1, at_once // max(1, z.shape[0] * z.shape[-1]))
        return torch.cat([_variance(part) for part in z.split(some, 1)], dim=1)
    return _variance(z)


def _variance(z: Tensor) -> Tensor:
    return (z - z.mean(-1, keepdim=True)).square().mean(-1)


def make_dropout(drop_prob: float) -> nn.Dropout:
    """Make a dropout, or refuse a share that is none."""
    if not hasattr(drop_prob, "__float__") or not 0 <= drop_prob < 1:
        raise ValueError(f"drop_prob={drop_prob!r}: pass a share from 0 to below 1")
    return nn.Dropout(drop_prob)


def log_variance(z: Tensor) -> Tensor:
    """Log variance over time of (batch, features, times): (batch, features)."""
    return torch.log(variance(z) + 1e-6)


def stage_variances(stages: Stages) -> Tensor:
    """Log variances of the encoder's scales and of the mediator: (batch, 384)."""
    deeper = (stages.encoder1, stages.encoder2, stages.encoder3, stages.mediator)
    return torch.cat([log_variance(one) for one in deeper], dim=1)


def all_stage_variances(stages: Stages) -> Tensor:
    """Those of the spatial embedding before them: (batch, n_targets + 384)."""
    at_targets = torch.matmul(stages.weights.to(stages.signals.dtype), stages.signals)
    return torch.cat([log_variance(at_targets), stage_variances(stages)], dim=1)
