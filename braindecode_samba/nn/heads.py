"""What turns the stages of the trunk into features of a window for classification.

The trunk ends in signals over time; a head ends in numbers a window.  The last linear
layer belongs to the model (`braindecode_samba.models`).
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from braindecode_samba.nn.pooling import log_variance
from braindecode_samba.nn.spatial import HEAD_RADIUS
from braindecode_samba.nn.unet import N_DEEP_FEATURES, N_FEATURES
from braindecode_samba.scan.traced import is_traced

# mu and beta: the rhythms that movement, imagery, rest and effort change
_BANDS_HZ = ((8.0, 13.0), (13.0, 30.0))
# both at once, for spatial components
_BROAD_HZ = (8.0, 30.0)
HEADS = ("power", "variance", "components")
_TAPS = 65
# sharpness of a target's surround, as `kappa` of `DistanceWeights`: small is wide
_SURROUND_KAPPA = 2.0
_N_DEEP = 32


class BandPower(nn.Module):
    """Log power of rhythms at the targets, each against its surround.

    The embedding smooths over the scalp, and the encoder's pooling folds frequencies,
    so rhythms and their sides are read off here, before the encoder. Every target has a
    weighted mean of all targets around it subtracted, which removes the reference and
    other distant activity in any montage; the strength of the subtraction is learned.

    Filtering and mixing are linear, so electrodes are filtered, and the power at a
    target, of which each electrode has the share m, is m' C m with the covariance C of
    the filtered electrodes: exact, and the signals at the targets are never held.

    Parameters
    ----------
    target_positions : Tensor, shape (n_targets, 3)
        Targets of the spatial embedding, metres.
    sfreq : float
        Rate of the signals, Hz.
    surround : float
        Start of the strength of the subtraction: 1 removes what a target shares with
        its surround, 0 nothing.
    n_components : int
        Number of further powers, from 8 to 30 Hz, each of a learnt weighted sum of the
        targets, of either sign.

    Raises
    ------
    ValueError
        If the rate is too low for the bands, or the strength is no finite number.
    """

    around: Tensor
    filters: Tensor

    def __init__(
        self,
        target_positions: Tensor,
        sfreq: float,
        surround: float = 1.0,
        n_components: int = 0,
    ) -> None:
        super().__init__()
        if not math.isfinite(surround):
            raise ValueError(f"surround={surround}: pass a number, 1 or 0 for example")
        if sfreq <= 2 * _BANDS_HZ[-1][1]:
            raise ValueError(
                f"model_sfreq={sfreq:g} Hz does not hold the band up to "
                f"{_BANDS_HZ[-1][1]:g} Hz that head='power' reads; pass "
                "head='variance', or a rate of more than "
                f"{2 * _BANDS_HZ[-1][1]:g} Hz"
            )
        distance = torch.cdist(target_positions, target_positions) / HEAD_RADIUS
        weights = (-_SURROUND_KAPPA * distance.square()).softmax(-1)
        self.register_buffer("around", weights, persistent=False)
        bands = (*_BANDS_HZ, _BROAD_HZ) if n_components else _BANDS_HZ
        filters = torch.stack([bandpass_filter(*band, sfreq) for band in bands])
        self.register_buffer("filters", filters.unsqueeze(1), persistent=False)
        self.strength = nn.Parameter(torch.tensor(float(surround)))
        self.n_at_targets: int = len(_BANDS_HZ) * len(target_positions)
        self.n_features: int = self.n_at_targets + n_components
        self.components: nn.Parameter | None = None
        if n_components:
            start = torch.randn(n_components, len(target_positions))
            self.components = nn.Parameter(start / math.sqrt(len(target_positions)))

    def forward(self, signals: Tensor, mixing: Tensor) -> Tensor:
        """Compute the log band powers.

        Parameters
        ----------
        signals : Tensor, shape (batch, channels, times)
            Signals at the electrodes.
        mixing : Tensor, shape (n_targets, channels) or (batch, n_targets, channels)
            Weights of the electrodes at the targets.

        Returns
        -------
        Tensor, shape (batch, n_targets * bands + n_components)
            The bands of one target side by side, then the components.
        """
        return self.log_power(self.covariances(signals), mixing)

    def covariances(self, signals: Tensor) -> Tensor:
        """Covariances (batch, bands, channels, channels) of the filtered electrodes."""
        # a row each: (batch * channels, 1, times)
        rows = signals.flatten(0, 1).unsqueeze(1)
        rhythms = F.conv1d(rows, self.filters, padding=self.filters.shape[2] // 2)
        n_windows, n_chans, n_times = signals.shape
        rhythms = rhythms.view(n_windows, n_chans, -1, n_times)
        return self.covariance(rhythms) / n_times

    def covariance(self, rhythms: Tensor) -> Tensor:
        """Sum over time of the products of filtered electrodes.

        Parameters
        ----------
        rhythms : Tensor, shape (batch, channels, bands, times)
            Electrodes, filtered.

        Returns
        -------
        Tensor, shape (batch, bands, channels, channels)
            In float64, where the device has it: what all electrodes share is large and
            cancels later.
        """
        # a few samples at a time: no second copy of a long signal
        rhythms = rhythms.transpose(1, 2)
        if not torch.jit.is_scripting() and is_traced():
            wide = _widest(rhythms)
            return torch.matmul(wide, wide.transpose(2, 3))
        parts = rhythms.split(4096, dim=3)
        wide = _widest(parts[0])
        total = torch.matmul(wide, wide.transpose(2, 3))
        for part in parts[1:]:
            wide = _widest(part)
            total = total + torch.matmul(wide, wide.transpose(2, 3))
        return total

    def log_power(self, covariance: Tensor, mixing: Tensor) -> Tensor:
        """Log powers, as `forward` gives them, from covariances and `mixing`."""
        shares = _widest(mixing)
        around = torch.matmul(_widest(self.around), shares)
        against = (shares - self.strength * around).unsqueeze(-3)
        components = self.components
        if components is None:
            return _log_powers(against, covariance, mixing.dtype)
        at_targets = _log_powers(against, covariance[:, :-1], mixing.dtype)
        mixed = torch.matmul(_widest(components), shares).unsqueeze(-3)
        of_components = _log_powers(mixed, covariance[:, -1:], mixing.dtype)
        return torch.cat([at_targets, of_components], dim=1)

    def at_targets(self, signals: Tensor, mixing: Tensor) -> Tensor:
        """Covariances (batch, n_targets, n_targets) in the broad band, of trace 1."""
        shares = _widest(mixing)
        covariance = self.covariances(signals)[:, -1]
        covariance = torch.matmul(torch.matmul(shares, covariance), shares.mT)
        trace = covariance.diagonal(dim1=1, dim2=2).sum(-1)
        return covariance / trace.clamp(min=1e-12)[:, None, None]


class WindowFeatures(nn.Module):
    """Features of a window from the stages of the trunk.

    Parameters
    ----------
    target_positions : Tensor, shape (n_targets, 3)
        Targets of the spatial embedding, metres.
    sfreq : float
        Rate of the model, Hz.
    kind : {"power", "variance", "components"}
        ``"variance"``: log variance over time of the encoder's three scales and of the
        mediator, narrowed to 32. ``"power"``: the log band power of the spatial
        embedding as well. ``"components"``: further the power of spatial components
        and the variances of the first scale as they are; all these are standardised.
    activation : type of nn.Module
        Activation behind the layer that narrows the deep features.
    drop_prob : float
        Dropout of the features.
    surround, n_components
        As for `BandPower`; components with ``kind="components"`` alone.

    Raises
    ------
    ValueError
        If ``kind`` is unknown, or as for `BandPower`.
    """

    centre: Tensor
    spread: Tensor
    # TorchScript leaves out what does not apply
    standardised: torch.jit.Final[bool]

    def __init__(
        self,
        target_positions: Tensor,
        sfreq: float,
        kind: str = "power",
        activation: type[nn.Module] = nn.ELU,
        drop_prob: float = 0.5,
        surround: float = 1.0,
        n_components: int = 8,
    ) -> None:
        super().__init__()
        if kind not in HEADS:
            raise ValueError(f"head={kind!r} is unknown; pass one of {HEADS}")
        if n_components < 1:
            raise ValueError(
                f"n_components={n_components}: pass 1 or more, or head='power'"
            )
        n_variances = 2 * N_FEATURES + 2 * N_DEEP_FEATURES
        self.deep = nn.Sequential(
            nn.LayerNorm(n_variances), nn.Linear(n_variances, _N_DEEP), activation()
        )
        self.band_power: BandPower | None = None
        self.power_norm: nn.LayerNorm | None = None
        self.standardised = kind == "components"
        n_measured = 0
        if kind != "variance":
            n_components = n_components if self.standardised else 0
            power = BandPower(target_positions, sfreq, surround, n_components)
            self.band_power = power
            self.power_norm = nn.LayerNorm(power.n_at_targets)
            n_measured = power.n_features + (N_FEATURES if self.standardised else 0)
        if self.standardised:
            # of the training windows: whoever trains sets them
            self.register_buffer("centre", torch.zeros(n_measured))
            self.register_buffer("spread", torch.ones(n_measured))
        self.n_measured: int = n_measured
        self.n_first: int = N_FEATURES
        self.n_features: int = n_measured + _N_DEEP
        self.dropout = nn.Dropout(drop_prob)

    def forward(
        self,
        signals: Tensor,
        mixing: Tensor,
        x1: Tensor,
        x2: Tensor,
        x3: Tensor,
        mediated: Tensor,
    ) -> Tensor:
        """Compute the features of windows.

        Parameters
        ----------
        signals, mixing : Tensor
            As for `BandPower`.
        x1, x2, x3, mediated : Tensor, shape (batch, features, times)
            Scales of the encoder, and the output of the mediator.

        Returns
        -------
        Tensor, shape (batch, n_features)
            Features.
        """
        variances = [
            log_variance(x1),
            log_variance(x2),
            log_variance(x3),
            log_variance(mediated),
        ]
        power: Tensor | None = None
        if self.band_power is not None:
            power = self.band_power(signals, mixing)
        return self.combine(power, torch.cat(variances, dim=1))

    def combine(self, power: Tensor | None, variances: Tensor) -> Tensor:
        """Features of a window from its log band powers and log variances."""
        features = self.deep(variances)
        if self.power_norm is not None and power is not None:
            assert self.band_power is not None  # what the norm is for
            n = self.band_power.n_at_targets
            measured = self.power_norm(power[:, :n])
            if self.standardised:
                first = variances[:, : self.n_first]
                measured = torch.cat([measured, power[:, n:], first], dim=1)
                measured = (measured - self.centre) / self.spread
            features = torch.cat([measured, features], dim=1)
        return self.dropout(features)


def _log_powers(shares: Tensor, covariance: Tensor, dtype: torch.dtype) -> Tensor:
    """Log of m' C m for each row m of the shares, the bands of one side by side."""
    power = (torch.matmul(shares, covariance) * shares).sum(-1)
    # far below the power of any EEG in robust standard deviations
    logs = torch.log(power.clamp(min=0.0) + 1e-4).to(dtype)
    return logs.transpose(1, 2).flatten(1)


def _widest(x: Tensor) -> Tensor:
    """Take what no autocast narrows; Apple's GPUs have float32 at most."""
    return x if x.device.type == "mps" else x.double()


def bandpass_filter(low: float, high: float, sfreq: float) -> Tensor:
    """Symmetric FIR filter of 65 taps: the difference of two windowed low-passes.

    Parameters
    ----------
    low, high : float
        Edges of the band, Hz, below half the rate.
    sfreq : float
        Rate, Hz.

    Returns
    -------
    Tensor, shape (65,)
        The filter.
    """
    t = torch.arange(_TAPS) - _TAPS // 2
    high, low = 2 * high / sfreq, 2 * low / sfreq
    ideal = high * torch.sinc(high * t) - low * torch.sinc(low * t)
    return ideal * torch.hamming_window(_TAPS, periodic=False)
