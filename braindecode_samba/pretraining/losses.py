"""How far rebuilt windows are from the signals: in time and in frequency.

Sums and numbers of values are kept apart, so that several processes can join them.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn

__all__ = ["LossParts", "LossSums", "TimeFrequencyLoss"]

_NORMS = ("ortho", "backward")
_REGIONS = ("all", "masked")


class LossSums(NamedTuple):
    """Sums over values and their numbers, scalars; add those of several batches."""

    time: Tensor  # sum of |e|
    frequency: Tensor  # sum of |F(e)|^2
    n_samples: Tensor
    n_bins: Tensor


class LossParts(NamedTuple):
    """The loss and the two means of which it is the weighted sum, scalars."""

    loss: Tensor
    time: Tensor
    frequency: Tensor


class TimeFrequencyLoss(nn.Module):
    r"""Absolute error in time plus squared error in frequency.

    ``alpha * mean |e| + beta * mean |F(e)|^2`` with the error e of present channels and
    its one-sided Fourier transform F over time, ``n_times // 2 + 1`` bins.

    With ``norm="backward"`` the second mean is about n_times times the mean squared
    error, so that its weight grows with the window; with ``"ortho"`` it is about the
    mean squared error, of windows of any length.

    Parameters
    ----------
    alpha, beta : float
        Weights of the two parts, not negative and not both 0.
    norm : {"ortho", "backward"}
        Normalisation of the Fourier transform.
    region : {"all", "masked"}
        ``"masked"`` judges hidden samples alone: the transform is that of the error
        with visible samples set to 0, and the bins of a channel count for its hidden
        share, so that the parts don't fall with the number of hidden samples.

    Raises
    ------
    ValueError
        If an option is unknown or a weight out of range.

    Notes
    -----
    ``norm="backward", region="all"`` is the published loss.

    References
    ----------
    SAMBA, arXiv 2511.18571, section on the pretraining objective.

    Examples
    --------
    >>> import torch
    >>> from braindecode_samba.pretraining import TimeFrequencyLoss
    >>> loss = TimeFrequencyLoss()
    >>> loss(torch.ones(1, 2, 64), torch.zeros(1, 2, 64)) > 1
    tensor(True)
    """

    def __init__(
        self,
        alpha: float = 1.0,
        beta: float = 1.0,
        norm: str = "ortho",
        region: str = "all",
    ) -> None:
        super().__init__()
        for name, weight in (("alpha", alpha), ("beta", beta)):
            if not 0 <= weight < math.inf:
                raise ValueError(f"{name}={weight}: pass a finite weight, 0 or above")
        if alpha == beta == 0:
            raise ValueError("alpha and beta are both 0: give one part a weight")
        if norm not in _NORMS:
            raise ValueError(f"norm={norm!r} is unknown: pass one of {_NORMS}")
        if region not in _REGIONS:
            raise ValueError(f"region={region!r} is unknown: pass one of {_REGIONS}")
        self.alpha = alpha
        self.beta = beta
        self.norm = norm
        self.region = region

    def forward(
        self,
        output: Tensor,
        target: Tensor,
        mask: Tensor | None = None,
        ch_mask: Tensor | None = None,
    ) -> Tensor:
        """Compute the loss of a batch.

        Parameters
        ----------
        output, target : Tensor, shape (batch, channels, times)
            Rebuilt windows and the signals, in one unit.
        mask : Tensor of bool, shape (batch, times) or (batch, channels, times), \
        optional
            True where a sample was visible; needed if ``region="masked"``.
        ch_mask : Tensor of bool, shape (channels,) or (batch, channels), optional
            True where a channel is present. Absent ones don't count.

        Returns
        -------
        Tensor, shape ()
            The loss.

        Raises
        ------
        ValueError
            If output and target differ in shape, or a mask is needed and missing.
        """
        return self.parts(self.sums(output, target, mask, ch_mask)).loss

    def sums(
        self,
        output: Tensor,
        target: Tensor,
        mask: Tensor | None = None,
        ch_mask: Tensor | None = None,
    ) -> LossSums:
        """Sum the errors of a batch, see `forward` for the arguments.

        Returns
        -------
        LossSums
            Sums over the values that count, and their numbers.
        """
        if output.shape != target.shape or output.dim() != 3:
            raise ValueError(
                f"output has shape {tuple(output.shape)} and target "
                f"{tuple(target.shape)}: pass two of (batch, channels, times)"
            )
        error = output - target
        if error.dtype in (torch.float16, torch.bfloat16):
            error = error.float()
        counts = torch.ones(error.shape[:2], dtype=torch.bool, device=error.device)
        if ch_mask is not None:
            counts = counts & ch_mask
        counted = counts.unsqueeze(-1).expand_as(error)
        if self.region == "masked":
            if mask is None:
                raise ValueError("region='masked' needs the mask: pass mask")
            counted = counted & ~(mask.unsqueeze(1) if mask.dim() == 2 else mask)
        error = error.masked_fill(~counted, 0.0)
        spectrum = torch.fft.rfft(error, norm=self.norm)
        n_samples = counted.sum().to(error.dtype)
        return LossSums(
            error.abs().sum(),
            torch.view_as_real(spectrum).square().sum(),
            n_samples,
            n_samples * (spectrum.shape[-1] / error.shape[-1]),
        )

    def parts(self, sums: LossSums) -> LossParts:
        """Turn sums into means and the loss.

        Parameters
        ----------
        sums : LossSums
            Of one batch, or added up over several.

        Returns
        -------
        LossParts
            The loss and its two parts before weighting.
        """
        # a batch may hold nothing that counts; its loss is 0
        time = sums.time / sums.n_samples.where(sums.n_samples > 0, 1.0)
        frequency = sums.frequency / sums.n_bins.where(sums.n_bins > 0, 1.0)
        loss = self.alpha * time + self.beta * frequency
        return LossParts(loss, time, frequency)

    def extra_repr(self) -> str:
        """Name the settings, for ``print``."""
        return (
            f"alpha={self.alpha}, beta={self.beta}, norm={self.norm!r}, "
            f"region={self.region!r}"
        )
