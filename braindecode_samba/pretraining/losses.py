"""How far rebuilt windows are from the signals: in time, frequency and band power.

Sums and numbers of values are kept apart, so that several processes can join them.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchaudio.functional import fftconvolve

from braindecode_samba.nn.heads import bandpass_filter
from braindecode_samba.nn.scaling import MODEL_SFREQ

_NORMS = ("ortho", "backward")
_REGIONS = ("all", "masked")
_BANDS_HZ = ((4.0, 8.0), (8.0, 13.0), (13.0, 30.0))
# half a second at the model's rate, and a value every eighth of a second
_SMOOTHED, _HOP = 64, 16
# keeps the logarithm of silence finite; windows are in robust standard deviations
_FLOOR = 1e-2


class LossSums(NamedTuple):
    """Sums over values and their numbers, scalars; add those of several batches."""

    time: Tensor  # sum of |e|
    frequency: Tensor  # sum of |F(e)|^2
    n_samples: Tensor
    n_bins: Tensor
    envelope: Tensor  # sum of differences of log band power
    n_powers: Tensor


class LossParts(NamedTuple):
    """The loss and the means of which it is the weighted sum, scalars."""

    loss: Tensor
    time: Tensor
    frequency: Tensor
    envelope: Tensor


class TimeFrequencyLoss(nn.Module):
    r"""Absolute error in time plus squared error in frequency, and band power.

    ``alpha * mean |e| + beta * mean |F(e)|^2`` with the error e of present channels and
    its one-sided Fourier transform F over time, ``n_times // 2 + 1`` bins.

    With ``norm="backward"`` the second mean is about n_times times the mean squared
    error, so that its weight grows with the window; with ``"ortho"`` it is about the
    mean squared error, of windows of any length.

    Where a sample can't be known, both parts are least for zeros: a network learns to
    rebuild rhythms too small, and has no use for how strong they are. ``gamma`` adds
    the mean absolute difference of log power, smoothed over half a second, in the
    bands 4 to 8, 8 to 13 and 13 to 30 Hz, which asks for the strength of a rhythm even
    where its phase can't be known.

    Parameters
    ----------
    alpha, beta, gamma : float
        Weights of the error in time, in frequency and of the envelopes; not negative
        and not all 0. Envelopes need windows of at least half a second.
    norm : {"ortho", "backward"}
        Normalisation of the Fourier transform.
    region : {"all", "masked"}
        ``"masked"`` judges hidden samples alone: the transform is that of the error
        with visible samples set to 0, and the bins of a channel count for its hidden
        share, so that the parts don't fall with the number of hidden samples. Envelopes
        are those of the completed window, and each value counts for its hidden share.
    sfreq : float
        Rate of the windows, Hz, for the bands.

    Raises
    ------
    ValueError
        If an option is unknown or a weight out of range.

    Notes
    -----
    ``norm="backward", region="all", gamma=0`` is the published loss.

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

    filters: Tensor

    def __init__(
        self,
        alpha: float = 1.0,
        beta: float = 1.0,
        norm: str = "ortho",
        region: str = "all",
        gamma: float = 0.0,
        sfreq: float = MODEL_SFREQ,
    ) -> None:
        super().__init__()
        for name, weight in (("alpha", alpha), ("beta", beta), ("gamma", gamma)):
            if not 0 <= weight < math.inf:
                raise ValueError(f"{name}={weight}: pass a finite weight, 0 or above")
        if alpha == beta == gamma == 0:
            raise ValueError("alpha, beta and gamma are 0: give one part a weight")
        if gamma and not 2 * _BANDS_HZ[-1][1] < sfreq < math.inf:
            raise ValueError(
                f"sfreq={sfreq:g} Hz does not hold the bands up to "
                f"{_BANDS_HZ[-1][1]:g} Hz of the envelopes: pass gamma=0"
            )
        if norm not in _NORMS:
            raise ValueError(f"norm={norm!r} is unknown: pass one of {_NORMS}")
        if region not in _REGIONS:
            raise ValueError(f"region={region!r} is unknown: pass one of {_REGIONS}")
        self.alpha = alpha
        self.beta = beta
        self.gamma = gamma
        self.norm = norm
        self.region = region
        filters = [bandpass_filter(low, high, sfreq) for low, high in _BANDS_HZ]
        self.register_buffer(
            "filters", torch.stack(filters).unsqueeze(1), persistent=False
        )

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
        if self.gamma:
            # an absent channel may hold anything, and one that hides nothing is right
            rows = counted.any(-1)
            target, judged = target[rows], counted[rows]
            completed = torch.where(judged, output[rows], target)
            envelope, n_powers = self._envelopes(completed, target, judged)
        else:
            envelope = n_powers = error.new_zeros(())
        error = error.masked_fill(~counted, 0.0)
        spectrum = torch.fft.rfft(error, norm=self.norm)
        n_samples = counted.sum().to(error.dtype)
        return LossSums(
            error.abs().sum(),
            torch.view_as_real(spectrum).square().sum(),
            n_samples,
            n_samples * (spectrum.shape[-1] / error.shape[-1]),
            envelope,
            n_powers,
        )

    def _envelopes(
        self, completed: Tensor, target: Tensor, counted: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Sum the differences of log band powers, and count them."""
        if completed.shape[-1] < _SMOOTHED:
            raise ValueError(
                f"windows have {completed.shape[-1]} samples, and envelopes need "
                f"{_SMOOTHED}: pass longer ones, or gamma=0"
            )
        difference = self._log_power(completed) - self._log_power(target)
        share = F.avg_pool1d(counted.to(difference.dtype), _SMOOTHED, _HOP)
        share = share.unsqueeze(1)  # (rows, 1, values)
        return (difference.abs() * share).sum(), share.sum() * len(_BANDS_HZ)

    def _log_power(self, x: Tensor) -> Tensor:
        """Log power of each band over time, (rows, times) to (rows, bands, values)."""
        rows = x.unsqueeze(1)
        rows = rows if rows.dtype == torch.float64 else rows.float()
        # the filters are symmetric: convolution is correlation, and four times as fast
        # by Fourier transforms, forth and back
        filters = self.filters.to(rows.dtype).transpose(0, 1)
        bands = fftconvolve(rows, filters, mode="same")
        return torch.log(F.avg_pool1d(bands.square(), _SMOOTHED, _HOP) + _FLOOR)

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
        envelope = sums.envelope / sums.n_powers.where(sums.n_powers > 0, 1.0)
        loss = self.alpha * time + self.beta * frequency + self.gamma * envelope
        return LossParts(loss, time, frequency, envelope)

    def extra_repr(self) -> str:
        """Name the settings, for ``print``."""
        return (
            f"alpha={self.alpha}, beta={self.beta}, norm={self.norm!r}, "
            f"region={self.region!r}, gamma={self.gamma}"
        )
