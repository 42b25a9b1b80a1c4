"""What turns the stages of the trunk into features of a window for classification.

The trunk ends in signals over time; a head ends in numbers a window.  The last linear
layer belongs to the model (`braindecode_samba.models`).
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from braindecode_samba.nn.pooling import log_variance
from braindecode_samba.nn.spatial import HEAD_RADIUS
from braindecode_samba.nn.unet import N_DEEP_FEATURES, N_FEATURES

# mu and beta: the rhythms that movement, imagery, rest and effort change
_BANDS_HZ = ((8.0, 13.0), (13.0, 30.0))
_TAPS = 65
_N_DEEP = 32


class BandPower(nn.Module):
    """Log power of rhythms at the targets, each against its surround.

    The embedding smooths over the scalp, and the encoder's pooling folds frequencies,
    so rhythms and their sides are read off here, before the encoder. Every target has a
    weighted mean of all targets around it subtracted, which removes the reference and
    other distant activity in any montage; the strength of the subtraction is learned.

    Parameters
    ----------
    target_positions : Tensor, shape (n_targets, 3)
        Targets of the spatial embedding, metres.
    sfreq : float
        Rate of the signals, Hz.
    surround : float
        Sharpness of the surround, in the units of ``kappa`` of `DistanceWeights`: small
        is wide.

    Raises
    ------
    ValueError
        If the rate is too low for the bands.
    """

    surround: Tensor
    filters: Tensor

    def __init__(
        self, target_positions: Tensor, sfreq: float, surround: float = 2.0
    ) -> None:
        super().__init__()
        if sfreq <= 2 * _BANDS_HZ[-1][1]:
            raise ValueError(
                f"model_sfreq={sfreq:g} Hz does not hold the band up to "
                f"{_BANDS_HZ[-1][1]:g} Hz that head='power' reads; pass "
                "head='variance', or a rate of more than "
                f"{2 * _BANDS_HZ[-1][1]:g} Hz"
            )
        distance = torch.cdist(target_positions, target_positions) / HEAD_RADIUS
        weights = (-surround * distance.square()).softmax(-1)
        self.register_buffer("surround", weights, persistent=False)
        filters = torch.stack([_bandpass(low, high, sfreq) for low, high in _BANDS_HZ])
        self.register_buffer("filters", filters.unsqueeze(1), persistent=False)
        self.strength = nn.Parameter(torch.ones(()))
        self.n_features = len(_BANDS_HZ) * len(target_positions)

    def forward(self, spatial: Tensor) -> Tensor:
        """Log band power (batch, n_targets * bands) of (batch, n_targets, times)."""
        rhythms = F.conv1d(
            self.local(spatial), self.filters, padding=self.filters.shape[2] // 2
        )
        return self.log_power(rhythms.square().mean(-1), spatial.shape[0])

    def local(self, spatial: Tensor) -> Tensor:
        """Targets less their surround, one a row: (batch * n_targets, 1, times)."""
        local = spatial - self.strength * torch.matmul(self.surround, spatial)
        return local.flatten(0, 1).unsqueeze(1)

    def log_power(self, power: Tensor, batch: int) -> Tensor:
        """Logarithm of powers (batch * n_targets, bands), one row a window."""
        # far below the power of any EEG in robust standard deviations
        return torch.log(power.view(batch, -1) + 1e-4)


class WindowFeatures(nn.Module):
    """Features of a window from the stages of the trunk.

    Parameters
    ----------
    target_positions : Tensor, shape (n_targets, 3)
        Targets of the spatial embedding, metres.
    sfreq : float
        Rate of the model, Hz.
    kind : {"power", "variance"}
        ``"variance"``: log variance over time of the encoder's three scales and of the
        mediator. ``"power"``: the log band power of the spatial embedding as well.
    activation : type of nn.Module
        Activation behind the layer that narrows the deep features.
    drop_prob : float
        Dropout of the features.

    Raises
    ------
    ValueError
        If ``kind`` is unknown.
    """

    def __init__(
        self,
        target_positions: Tensor,
        sfreq: float,
        kind: str = "power",
        activation: type[nn.Module] = nn.ELU,
        drop_prob: float = 0.5,
    ) -> None:
        super().__init__()
        if kind not in ("power", "variance"):
            raise ValueError(f"head={kind!r} is unknown; pass 'power' or 'variance'")
        n_variances = 2 * N_FEATURES + 2 * N_DEEP_FEATURES
        self.deep = nn.Sequential(
            nn.LayerNorm(n_variances), nn.Linear(n_variances, _N_DEEP), activation()
        )
        self.n_features: int = _N_DEEP
        self.band_power: BandPower | None = None
        self.power_norm: nn.LayerNorm | None = None
        if kind == "power":
            self.band_power = BandPower(target_positions, sfreq)
            self.power_norm = nn.LayerNorm(self.band_power.n_features)
            self.n_features += self.band_power.n_features
        self.dropout = nn.Dropout(drop_prob)

    def forward(
        self, spatial: Tensor, x1: Tensor, x2: Tensor, x3: Tensor, mediated: Tensor
    ) -> Tensor:
        """Features (batch, n_features) of stages (batch, features, times)."""
        variances = [
            log_variance(x1),
            log_variance(x2),
            log_variance(x3),
            log_variance(mediated),
        ]
        power: Tensor | None = None
        if self.band_power is not None:
            power = self.band_power(spatial)
        return self.combine(power, torch.cat(variances, dim=1))

    def combine(self, power: Tensor | None, variances: Tensor) -> Tensor:
        """Features of a window from its log band powers and log variances."""
        features = self.deep(variances)
        if self.power_norm is not None and power is not None:
            features = torch.cat([self.power_norm(power), features], dim=1)
        return self.dropout(features)


def _bandpass(low: float, high: float, sfreq: float) -> Tensor:
    """Symmetric FIR filter: the difference of two windowed low-passes."""
    t = torch.arange(_TAPS) - _TAPS // 2
    high, low = 2 * high / sfreq, 2 * low / sfreq
    ideal = high * torch.sinc(high * t) - low * torch.sinc(low * t)
    return ideal * torch.hamming_window(_TAPS, periodic=False)
