"""What turns the stages of the trunk into features of a window for classification.

The trunk ends in signals over time; a head ends in numbers a window.  The last linear
layer belongs to the model (`braindecode_samba.models`).
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from braindecode_samba.nn.measures import DECIMATION, WindowMeasures, bandpass_filter
from braindecode_samba.nn.pooling import make_dropout
from braindecode_samba.nn.readings import Readings
from braindecode_samba.nn.spatial import HEAD_RADIUS
from braindecode_samba.nn.unet import N_DEEP_FEATURES, N_FEATURES
from braindecode_samba.scan.traced import is_traced

# mu and beta: the rhythms that movement, imagery, rest and effort change
_BANDS_HZ = ((8.0, 13.0), (13.0, 30.0))
HEADS = ("power", "variance", "readings")
# sharpness of a target's surround, as `kappa` of `DistanceWeights`: small is wide
_SURROUND_KAPPA = 2.0
_N_DEEP = 32
# log variances over time of the encoder's three scales and of the mediator
N_VARIANCES = 2 * N_FEATURES + 2 * N_DEEP_FEATURES
_MOST_POINTS = 64


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
        filters = torch.stack([bandpass_filter(*band, sfreq) for band in _BANDS_HZ])
        self.register_buffer("filters", filters.unsqueeze(1), persistent=False)
        self.strength = nn.Parameter(torch.tensor(float(surround)))
        self.n_features: int = len(_BANDS_HZ) * len(target_positions)

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
        Tensor, shape (batch, n_targets * bands)
            The bands of one target side by side.
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
        power = (torch.matmul(against, covariance) * against).sum(-1)
        # far below the power of any EEG in robust standard deviations
        logs = torch.log(power.clamp(min=0.0) + 1e-4).to(mixing.dtype)
        return logs.transpose(1, 2).flatten(1)


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
        mediator, narrowed to 32. ``"power"``: the log band power of the spatial
        embedding as well.
    activation : type of nn.Module
        Activation behind the layer that narrows the deep features.
    drop_prob : float
        Dropout of the features.
    surround : float
        As for `BandPower`.

    Raises
    ------
    ValueError
        As for `BandPower`.
    """

    def __init__(
        self,
        target_positions: Tensor,
        sfreq: float,
        kind: str = "power",
        activation: type[nn.Module] = nn.ELU,
        drop_prob: float = 0.5,
        surround: float = 1.0,
    ) -> None:
        super().__init__()
        self.deep = nn.Sequential(
            nn.LayerNorm(N_VARIANCES), nn.Linear(N_VARIANCES, _N_DEEP), activation()
        )
        self.band_power: BandPower | None = None
        self.power_norm: nn.LayerNorm | None = None
        self.n_features: int = _N_DEEP
        if kind == "power":
            power = BandPower(target_positions, sfreq, surround)
            self.band_power = power
            self.power_norm = nn.LayerNorm(power.n_features)
            self.n_features = power.n_features + _N_DEEP
        self.dropout = make_dropout(drop_prob)

    def forward(
        self,
        x: Tensor,
        signals: Tensor,
        mixing: Tensor,
        variances: Tensor,
        ch_mask: Tensor | None = None,
    ) -> Tensor:
        """Compute the features of windows.

        Parameters
        ----------
        x, signals, mixing, variances, ch_mask
            As for `WindowMeasures`; the head needs neither ``x`` nor ``ch_mask``.

        Returns
        -------
        Tensor, shape (batch, n_features)
            Features.
        """
        power: Tensor | None = None
        if self.band_power is not None:
            power = self.band_power(signals, mixing)
        return self.combine(power, variances)

    def combine(self, power: Tensor | None, variances: Tensor) -> Tensor:
        """Features of a window from its log band powers and log variances."""
        features = self.deep(variances)
        if self.power_norm is not None and power is not None:
            features = torch.cat([self.power_norm(power), features], dim=1)
        return self.dropout(features)


class ReadingsHead(nn.Module):
    """Readings of a window: everything that may tell windows apart, side by side.

    Parameters
    ----------
    target_positions : Tensor, shape (n_targets, 3)
        Targets of the spatial embedding, metres.
    sfreq : float
        Rate of the model, Hz.
    n_outputs : int
        Outputs of the model.
    numbers : bool
        Whether these are numbers and no classes.
    evoked_seconds : float
        How much of a window, from its start, is read for evoked responses.
    drop_prob : float
        Dropout of the features.

    Raises
    ------
    ValueError
        As for `WindowMeasures`.
    """

    def __init__(
        self,
        target_positions: Tensor,
        sfreq: float,
        n_outputs: int,
        numbers: bool = False,
        evoked_seconds: float = 1.0,
        drop_prob: float = 0.5,
    ) -> None:
        super().__init__()
        self.sfreq: float = sfreq
        self.numbers: bool = numbers
        self.evoked_seconds: float = evoked_seconds
        n_samples = math.ceil(evoked_seconds * sfreq / DECIMATION)
        samples_per_point = max(1, math.ceil(n_samples / _MOST_POINTS))
        n_points = max(1, math.ceil(n_samples / samples_per_point))
        self.measures = WindowMeasures(
            target_positions, sfreq, n_points, samples_per_point
        )
        self.readings = Readings(
            target_positions, self.measures, n_outputs, N_VARIANCES, numbers
        )
        self.n_features: int = self.readings.n_features
        self.dropout = make_dropout(drop_prob)

    def forward(
        self,
        x: Tensor,
        signals: Tensor,
        mixing: Tensor,
        variances: Tensor,
        ch_mask: Tensor | None = None,
    ) -> Tensor:
        """Compute the features of windows.

        Parameters
        ----------
        x, signals, mixing, variances, ch_mask
            As for `WindowMeasures`.

        Returns
        -------
        Tensor, shape (batch, n_features)
            Features.
        """
        measured = self.measures(x, signals, mixing, variances, ch_mask)
        return self.dropout(self.readings(measured))

    def for_outputs(self, target_positions: Tensor, n_outputs: int) -> "ReadingsHead":
        """Make a fresh head for another number of outputs: patterns are theirs.

        Parameters
        ----------
        target_positions : Tensor, shape (n_targets, 3)
            Targets, metres.
        n_outputs : int
            Outputs.

        Returns
        -------
        ReadingsHead
            On the device and in the dtype of the targets.
        """
        head = ReadingsHead(
            target_positions.float().cpu(),
            self.sfreq,
            n_outputs,
            self.numbers,
            self.evoked_seconds,
            self.dropout.p,
        )
        return head.to(target_positions).train(self.training)


def make_head(
    kind: str,
    target_positions: Tensor,
    sfreq: float,
    n_outputs: int,
    *,
    numbers: bool,
    evoked_seconds: float,
    surround: float,
    activation: type[nn.Module],
    drop_prob: float,
) -> WindowFeatures | ReadingsHead:
    """Make a head by its name; for its options see `braindecode_samba.SAMBA`.

    Raises
    ------
    ValueError
        If there is no such head, or as for the head.
    """
    if kind not in HEADS:
        raise ValueError(f"head={kind!r} is unknown; pass one of {HEADS}")
    if kind == "readings":
        return ReadingsHead(
            target_positions,
            sfreq,
            n_outputs,
            numbers=numbers,
            evoked_seconds=evoked_seconds,
            drop_prob=drop_prob,
        )
    return WindowFeatures(
        target_positions,
        sfreq,
        kind=kind,
        activation=activation,
        drop_prob=drop_prob,
        surround=surround,
    )


def _widest(x: Tensor) -> Tensor:
    """Take what no autocast narrows; Apple's GPUs have float32 at most."""
    return x if x.device.type == "mps" else x.double()
