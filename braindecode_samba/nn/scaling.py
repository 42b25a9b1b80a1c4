"""One place that turns anybody's units and rates into the model's.

A torch module, `SignalInput`, is the first step of every model: it removes offsets,
resamples with torchaudio and divides by a robust scale, so that volts and microvolts,
250 and 128 Hz give the same.  Filtering and windowing belong to MNE and braindecode.
"""

from fractions import Fraction
from numbers import Real

import torch
from torch import Tensor, nn
from torch.autograd import forward_ad
from torchaudio.transforms import Resample

from braindecode_samba.scan.traced import is_traced

MODEL_SFREQ = 128.0
MIN_TIMES = 8
# numbers of a ratio of rates are at most so large
_MOST = 1000
SCALES = ("window", "channel", "recording")
# A railed electrode is millions of robust deviations away from the rest; beyond this
# many nothing is EEG any more, and float32 must not overflow behind it.
_LIMIT = 100.0


def rate_ratio(sfreq: float, model_sfreq: float) -> Fraction:
    """Ratio of small integers by which to resample.

    Parameters
    ----------
    sfreq : float
        Sampling rate of the signal, Hz.
    model_sfreq : float
        Sampling rate of the model, Hz.

    Returns
    -------
    fractions.Fraction
        New rate over old rate.

    Raises
    ------
    ValueError
        If the rate is not positive or no ratio comes within 0.1 %.
    """
    for name, rate in (("sfreq", sfreq), ("model_sfreq", model_sfreq)):
        if not isinstance(rate, Real) or not 0 < rate < float("inf"):
            raise ValueError(
                f"{name}={rate!r} is not a sampling rate; pass a number of Hz"
            )
    exact = float(model_sfreq / sfreq)
    if exact <= _MOST:
        ratio = Fraction(exact).limit_denominator(_MOST)
        if abs(float(ratio) - exact) <= 1e-3 * exact:
            return ratio
    raise ValueError(
        f"sfreq={sfreq} Hz can't be resampled to {model_sfreq} Hz by a ratio of "
        "small integers; resample the recording with MNE first"
    )


def min_times(sfreq: float | None, model_sfreq: float = MODEL_SFREQ) -> int:
    """Shortest window, in samples of the input, that gives the model its 8 samples."""
    if sfreq is None:
        return MIN_TIMES
    ratio = rate_ratio(sfreq, model_sfreq)
    return (MIN_TIMES - 1) * ratio.denominator // ratio.numerator + 1


def robust_scale(x: Tensor, ch_mask: Tensor | None = None) -> Tensor:
    """Scale of each window: the median over channels of IQR / 1.349.

    Flat and absent channels don't count. A window whose channels move too seldom to
    have an interquartile range is measured by its mean deviation from the median; a
    window in which nothing moves has scale 1.

    Parameters
    ----------
    x : Tensor, shape (batch, channels, times)
        Signals in any unit; offsets don't matter.
    ch_mask : Tensor of bool, shape (batch, channels), optional
        True where a channel is present.

    Returns
    -------
    Tensor, shape (batch, 1, 1)
        Scale in the unit of ``x``.
    """
    deviation, fallback, moves = spread(x)
    if ch_mask is not None:
        moves = moves & ch_mask
    return scale_of_channels(deviation, fallback, moves)


def spread(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """How far the samples of each channel (..., times) spread.

    Parameters
    ----------
    x : Tensor, shape (..., times)
        Signals.

    Returns
    -------
    deviation : Tensor, shape (...)
        Interquartile range / 1.349, a Gaussian's standard deviation.
    fallback : Tensor, shape (...)
        The same from the mean deviation from the median, for channels that move too
        seldom to have an interquartile range.
    moves : Tensor of bool, shape (...)
        False for flat channels.
    """
    ordered = _ascending(x)
    moves = ordered[..., -1] > ordered[..., 0]
    iqr = _quantile(ordered, 3) - _quantile(ordered, 1)
    centred = x - _quantile(ordered, 2).unsqueeze(-1)
    # 1.2533 mean absolute deviations are a standard deviation of a Gaussian
    return iqr / 1.349, centred.abs().mean(-1) * 1.2533, moves


def scale_of_channels(deviation: Tensor, fallback: Tensor, moves: Tensor) -> Tensor:
    """Scale (batch, 1, 1) of windows from the `spread` (batch, channels) of each."""
    scale = _median_where(deviation, moves)
    scale = torch.where(scale > 0, scale, _median_where(fallback, moves))
    return torch.where(scale > 0, scale, torch.ones_like(scale))[:, None, None]


def median(x: Tensor) -> Tensor:
    """Median over time of (..., times), with linear interpolation: shape (...)."""
    return _quantile(_ascending(x), 2)


def recording_scale(x: Tensor, ch_mask: Tensor | None = None) -> float:
    """One robust scale for a whole recording, or a set of windows from it.

    Parameters
    ----------
    x : Tensor, shape (channels, times) or (batch, channels, times)
        Signals in any unit.
    ch_mask : Tensor of bool, shape (batch, channels), optional
        True where a channel is present; only with windows.

    Returns
    -------
    float
        Scale in the unit of ``x``; for windows the median over them.
    """
    if x.dim() == 2:
        x = x.unsqueeze(0)
    return robust_scale(x, ch_mask).median().item()


class SignalInput(nn.Module):
    """Centre, resample and scale windows: the first step inside every model.

    Parameters
    ----------
    sfreq : float, optional
        Rate of the windows, Hz. By default they have the model's rate already.
    model_sfreq : float
        Rate of the model, Hz.
    scale : {"window", "channel", "recording"} or None
        ``"window"``: one robust scale per window, so that topography stays.
        ``"channel"``: one per channel. ``"recording"``: one value for all windows,
        given to `set_recording_scale`. None: the signals as they are, offsets included.

    Raises
    ------
    ValueError
        If the rate can't be met or ``scale`` is unknown.
    """

    recording_scale: Tensor

    def __init__(
        self,
        sfreq: float | None = None,
        model_sfreq: float = MODEL_SFREQ,
        scale: str | None = "window",
    ) -> None:
        super().__init__()
        if scale is not None and scale not in SCALES:
            raise ValueError(
                f"scale={scale!r} is unknown; pass one of {SCALES} or None"
            )
        self.scale = scale or "none"
        ratio = rate_ratio(model_sfreq if sfreq is None else sfreq, model_sfreq)
        self.model_sfreq = float(model_sfreq)
        self.sfreq = self.model_sfreq if sfreq is None else float(sfreq)
        self.limit = _LIMIT
        self.min_times = MIN_TIMES
        # a long filter: what lies below 45 Hz must come through unchanged
        self.resample: nn.Module = (
            nn.Identity()
            if ratio == 1
            else Resample(ratio.denominator, ratio.numerator, lowpass_filter_width=32)
        )
        if ratio != 1:
            # the filter follows from the rate: weights fit models at any other
            kernel = self.resample.get_buffer("kernel")
            del self.resample.kernel
            self.resample.register_buffer("kernel", kernel, persistent=False)
        self.register_buffer("recording_scale", torch.tensor(float("nan")))

    def set_recording_scale(self, value: float) -> None:
        """Set the scale that ``scale="recording"`` divides by, in the input's unit."""
        if not 0 < value < float("inf"):
            raise ValueError(
                f"a recording's scale must be positive and finite; got {value}"
            )
        self.recording_scale.fill_(value)

    def forward(self, x: Tensor, ch_mask: Tensor | None = None) -> Tensor:
        """Bring windows to the model's rate and unit.

        Parameters
        ----------
        x : Tensor, shape (batch, channels, times)
            Windows, any unit.
        ch_mask : Tensor of bool, shape (channels,) or (batch, channels), optional
            True where a channel is present.

        Returns
        -------
        Tensor, shape (batch, channels, times at the model's rate)
            Robust standard deviations; flat and absent channels are zero.

        Raises
        ------
        ValueError
            If a window is shorter than 8 samples at the model's rate, or no recording's
            scale was set.
        """
        if ch_mask is not None:
            if ch_mask.dim() == 1:
                ch_mask = ch_mask.expand(x.shape[0], -1)
            x = x.masked_fill(~ch_mask.unsqueeze(-1), 0.0)
        if self.scale != "none":
            # before resampling: a step at the edge of a window would ring
            x = x - median(x).unsqueeze(-1)
        x = self.resample(x)
        if x.shape[2] < self.min_times:
            raise ValueError(
                f"windows have {x.shape[2]} samples at the model's rate; pass windows "
                f"of at least {self.min_times}"
            )
        if self.scale == "none":
            return x
        if self.scale == "channel":
            flat = x.flatten(0, 1).unsqueeze(1)
            x = (flat / robust_scale(flat)).view_as(x)
        elif self.scale == "window":
            x = x / robust_scale(x, ch_mask)
        else:
            if bool(torch.isnan(self.recording_scale)):
                raise ValueError(
                    "scale='recording' needs a value: call set_recording_scale() "
                    "first, or pass scale='window'"
                )
            x = x / self.recording_scale
        return x.clamp(-self.limit, self.limit)


def _ascending(x: Tensor) -> Tensor:
    """Sort over time.

    numpy takes vector instructions, and a twentieth of torch's time for windows of 2 s;
    it knows neither gradients nor tracing.
    """
    if not torch.jit.is_scripting():
        if not is_traced():
            if (
                type(x) is Tensor
                and x.device.type == "cpu"
                and x.dtype in (torch.float32, torch.float64)
                and not x.requires_grad
                and forward_ad.unpack_dual(x).tangent is None
            ):
                # np.sort would keep the layout of memory, which need not be usual
                ordered = x.numpy().copy(order="C")
                ordered.sort(axis=-1)
                return torch.from_numpy(ordered)
    return x.sort(-1).values


def _quantile(ordered: Tensor, quarters: int) -> Tensor:
    """Quantile of sorted values (..., times), with linear interpolation.

    torch.quantile refuses more than 16 million values.
    """
    # four places whose mean lies as many quarters behind the first one
    places = torch.arange(4, device=ordered.device) + quarters * (ordered.shape[-1] - 1)
    places = torch.div(places, 4, rounding_mode="floor")
    return ordered.index_select(-1, places).mean(-1)


def _median_where(values: Tensor, valid: Tensor) -> Tensor:
    """Median of the valid values of each row of (batch, channels); 0 where none is."""
    ordered = values.masked_fill(~valid, float("inf")).sort(-1).values
    last = valid.sum(-1, keepdim=True) - 1
    low = ordered.gather(1, torch.div(last, 2, rounding_mode="floor").clamp(min=0))
    high = ordered.gather(1, torch.div(last + 1, 2, rounding_mode="floor"))
    middle = (low * 0.5 + high * 0.5).squeeze(1)
    return middle.masked_fill(last.squeeze(1) < 0, 0.0)
