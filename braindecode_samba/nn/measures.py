"""What is measured of a window before anything is learned: the input of the readings.

All measures are taken at the targets of the spatial embedding, or in a few smooth maps
over them, so that every montage gives the same numbers.  What of them tells classes
apart is the business of `braindecode_samba.nn.readings`.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from braindecode_samba.nn.patterns import sweep_inverse
from braindecode_samba.nn.spatial import HEAD_RADIUS
from braindecode_samba.scan.traced import is_traced

# below 8 Hz, filtered at a quarter of the rate; the first is a low-pass
_SLOW_BANDS_HZ = ((0.0, 2.0), (2.0, 4.0), (4.0, 8.0))
_FAST_BANDS_HZ = ((8.0, 13.0), (13.0, 20.0), (20.0, 30.0), (30.0, 45.0))
N_BANDS = len(_SLOW_BANDS_HZ) + len(_FAST_BANDS_HZ)
# parts of a window in which rhythms are followed
N_PARTS = 8
_TAPS = 65
DECIMATION = 4
_EVOKED_HZ = 12.0
# smooth maps over the targets: enough for what 64 electrodes tell apart
N_MAPS = 48
_N_STEADY_MAPS = 32
_SMOOTHNESS = 4.0
# steps of what 4 s tell apart, halved
_STEADY_HZ = (5.0, 45.0, 0.125)
N_STEADY = 321
# what a window holds beyond this is no steady response, and its waves need memory
_MOST_STEADY_TIMES = 8192
_RIDGE = 1e-2


class WindowMeasures(nn.Module):
    """Powers, covariances, slow waves and steady responses of windows.

    Parameters
    ----------
    target_positions : Tensor, shape (n_targets, 3)
        Targets of the spatial embedding, metres.
    sfreq : float
        Rate of the model, Hz.
    n_points : int
        Samples of the evoked response.
    samples_per_point : int
        Samples at a quarter of the rate that are averaged into one of these.

    Raises
    ------
    ValueError
        If the rate is too low for the bands, or a number is below 1.
    """

    maps: Tensor
    evoked_filter: Tensor
    slow_filters: Tensor
    fast_filters: Tensor
    frequencies: Tensor

    def __init__(
        self,
        target_positions: Tensor,
        sfreq: float,
        n_points: int = 32,
        samples_per_point: int = 1,
    ) -> None:
        super().__init__()
        if sfreq <= 2 * _FAST_BANDS_HZ[-1][1]:
            raise ValueError(
                f"model_sfreq={sfreq:g} Hz does not hold the band up to "
                f"{_FAST_BANDS_HZ[-1][1]:g} Hz that head='readings' reads; pass "
                "head='variance', or a rate of more than "
                f"{2 * _FAST_BANDS_HZ[-1][1]:g} Hz"
            )
        if n_points < 1 or samples_per_point < 1:
            raise ValueError(
                f"n_points={n_points} and samples_per_point={samples_per_point}: pass "
                "1 or more"
            )
        slow_rate = sfreq / DECIMATION
        self._hold("maps", smooth_maps(target_positions, N_MAPS))
        self._hold("evoked_filter", bandpass_filter(0.0, _EVOKED_HZ, sfreq)[None])
        self._hold(
            "slow_filters",
            torch.stack([bandpass_filter(*b, slow_rate, 33) for b in _SLOW_BANDS_HZ]),
        )
        self._hold(
            "fast_filters",
            torch.stack([bandpass_filter(*band, sfreq) for band in _FAST_BANDS_HZ]),
        )
        low, high, step = _STEADY_HZ
        cycles = torch.arange(low, high + step / 2, step) / sfreq
        self._hold("frequencies", cycles)
        # TorchScript takes no number of the module's
        self.decimation: int = DECIMATION
        self.n_slow: int = len(_SLOW_BANDS_HZ)
        self.n_fast: int = len(_FAST_BANDS_HZ)
        self.n_parts: int = N_PARTS
        self.n_steady_maps: int = _N_STEADY_MAPS
        self.most_steady_times: int = _MOST_STEADY_TIMES
        self.ridge: float = _RIDGE
        self.n_points: int = n_points
        self.samples_per_point: int = samples_per_point

    def _hold(self, name: str, value: Tensor) -> None:
        self.register_buffer(name, value, persistent=False)

    def forward(
        self,
        x: Tensor,
        signals: Tensor,
        mixing: Tensor,
        variances: Tensor,
        ch_mask: Tensor | None = None,
    ) -> dict[str, Tensor]:
        """Measure windows.

        Parameters
        ----------
        x : Tensor, shape (batch, channels, samples)
            Windows as they came, in any unit and at any rate: how large they are.
        signals : Tensor, shape (batch, channels, times)
            The same, scaled and at the model's rate.
        mixing : Tensor, shape (n_targets, channels) or (batch, n_targets, channels)
            Weights of the electrodes at the targets.
        variances : Tensor, shape (batch, n_stages)
            Log variances of the deeper stages.
        ch_mask : Tensor of bool, shape (channels,) or (batch, channels), optional
            True where a channel is present.

        Returns
        -------
        dict of str to Tensor, each (batch, ...)
            ``bands`` (N_BANDS, n_targets) and ``course`` (2 N_PARTS, n_targets), log
            powers; ``rhythms`` and ``whole`` (N_MAPS, N_MAPS), covariances from 8 to 30
            Hz and of everything; ``evoked`` (N_MAPS, n_points); ``steady`` (N_STEADY,);
            ``loudness`` (1,); ``stages`` (n_targets + n_stages,).
        """
        mixing = mixing.to(signals.dtype)
        slow = _filtered(signals, self.evoked_filter, self.decimation)[:, :, 0]
        slow_bands = _filtered(slow, self.slow_filters, 1)
        bands = _filtered(signals, self.fast_filters, 1)
        fast = [_power(mixing, bands[:, :, k]) for k in range(self.n_fast)]
        slow_power = [_power(mixing, slow_bands[:, :, k]) for k in range(self.n_slow)]
        powers = [power.mean(-1) for power in slow_power + fast]
        course = [
            _in_parts(fast[0], self.n_parts),
            _in_parts(fast[1] + fast[2], self.n_parts),
        ]
        shares = torch.matmul(self.maps, mixing)
        rhythms = bands[:, :, 0] + bands[:, :, 1] + bands[:, :, 2]
        centred = signals - signals.mean(-1, keepdim=True)
        level = torch.matmul(mixing, centred).square().mean(-1)
        return {
            "bands": _logarithm(torch.stack(powers, 1)),
            "course": _logarithm(torch.cat(course, 1)),
            "rhythms": _covariance(torch.matmul(shares, rhythms)),
            "whole": _covariance(torch.matmul(shares, centred)),
            "evoked": self.points(torch.matmul(shares, slow)),
            "steady": self.steady(
                torch.matmul(shares[..., 0 : self.n_steady_maps, :], centred)
            ),
            "loudness": loudness(x, ch_mask).to(signals.dtype),
            "stages": torch.cat([torch.log(level + 1e-6), variances], 1),
        }

    def points(self, slow: Tensor) -> Tensor:
        """Average slow signals (batch, maps, times) to (batch, maps, n_points).

        Windows are locked to their start: what is missing at the end is zero.
        """
        n = self.n_points * self.samples_per_point
        longer = torch.cat([slow, slow.new_zeros(slow.shape[0], slow.shape[1], n)], 2)
        parts = longer[:, :, :n].reshape(
            slow.shape[0], slow.shape[1], self.n_points, self.samples_per_point
        )
        return parts.mean(-1)

    def steady(self, signals: Tensor) -> Tensor:
        """Logit of how well a sine and its harmonic explain the signals, per frequency.

        The squared canonical correlation of the channels with sine and cosine of a
        frequency and of its double (Lin et al., 2006, IEEE Transactions on Biomedical
        Engineering 53), with a ridge, at each eighth of a hertz from 5 to 45.

        Parameters
        ----------
        signals : Tensor, shape (batch, maps, times)
            Centred.

        Returns
        -------
        Tensor, shape (batch, N_STEADY)
            Logits.
        """
        signals = _first(signals, self.most_steady_times)
        n_times = signals.shape[2]
        time = torch.arange(n_times, device=signals.device, dtype=torch.float64)
        phase = 6.283185307179586 * self.frequencies.double()[:, None] * time
        # a harmonic above half the rate is none
        heard = (self.frequencies < 0.25).to(signals.dtype)[:, None]
        waves = torch.stack(
            [
                phase.sin().to(signals.dtype),
                phase.cos().to(signals.dtype),
                (2 * phase).sin().to(signals.dtype) * heard,
                (2 * phase).cos().to(signals.dtype) * heard,
            ],
            1,
        )  # (frequencies, 4, times)
        among = torch.matmul(waves, waves.mT) / n_times
        signal = torch.matmul(signals, signals.mT) / n_times
        size = signal.diagonal(dim1=1, dim2=2).mean(-1)[:, None, None].clamp(min=1e-9)
        eye = torch.eye(signals.shape[1], dtype=signals.dtype, device=signals.device)
        inverse = sweep_inverse(signal / size + self.ridge * eye)
        small = torch.eye(4, dtype=signals.dtype, device=signals.device)
        inverse_waves = sweep_inverse(among + 1e-3 * small)
        shared = torch.matmul(signals, waves.flatten(0, 1).mT) / n_times
        shared = shared.unflatten(2, (-1, 4)).transpose(1, 2)  # (batch, f, maps, 4)
        explained = torch.matmul(
            torch.matmul(shared.mT, inverse.unsqueeze(1)), shared
        ) / size.unsqueeze(1)
        largest = _largest_eigenvalue(torch.matmul(inverse_waves, explained))
        correlation = largest.clamp(1e-6, 1 - 1e-6).sqrt()
        return torch.log(correlation / (1 - correlation))


def smooth_maps(target_positions: Tensor, n_maps: int) -> Tensor:
    """Smooth patterns over the targets, the smoothest first: (n_maps, n_targets).

    Eigenvectors of a Gaussian of the distance, which on a sphere are its harmonics.
    """
    distance = torch.cdist(target_positions.double(), target_positions.double())
    kernel = torch.exp(-_SMOOTHNESS * (distance / HEAD_RADIUS).square())
    vectors = torch.linalg.eigh(kernel).eigenvectors.flip(1)
    maps = vectors[:, : min(n_maps, len(target_positions))].T.contiguous()
    return maps.to(target_positions.dtype)


def mirrored_targets(target_positions: Tensor) -> Tensor:
    """Nearest target to the mirror image of each: (n_targets,) of int."""
    flip = torch.tensor([-1.0, 1.0, 1.0], dtype=target_positions.dtype)
    return torch.cdist(target_positions * flip, target_positions).argmin(1)


def bandpass_filter(
    low: float, high: float, sfreq: float, n_taps: int = _TAPS
) -> Tensor:
    """Symmetric FIR filter: the difference of two windowed low-passes.

    Parameters
    ----------
    low, high : float
        Edges of the band, Hz, below half the rate; 0 makes a low-pass.
    sfreq : float
        Rate, Hz.
    n_taps : int
        Length, odd.

    Returns
    -------
    Tensor, shape (n_taps,)
        The filter.
    """
    t = torch.arange(n_taps) - n_taps // 2
    high, low = 2 * high / sfreq, 2 * low / sfreq
    ideal = high * torch.sinc(high * t) - low * torch.sinc(low * t)
    return ideal * torch.hamming_window(n_taps, periodic=False)


def loudness(x: Tensor, ch_mask: Tensor | None = None) -> Tensor:
    """Log of the deviation of windows (batch, channels, times): (batch, 1)."""
    power = x.double().var(-1, correction=0) if x.device.type != "mps" else x.var(-1)
    if ch_mask is not None:
        present = ch_mask.to(power.dtype).expand(power.shape)
        power = (power * present).sum(1) / present.sum(1)
    else:
        power = power.mean(1)
    # log(power + 1e-12); optimizers of ONNX drop summands below 1e-8
    return 0.5 * torch.log(1e12 * power + 1.0).unsqueeze(1) + math.log(1e-6)


def _largest_eigenvalue(matrices: Tensor) -> Tensor:
    """Largest of the real eigenvalues of (..., 4, 4) within 9 %, smoothly."""
    size = matrices.diagonal(dim1=-2, dim2=-1).sum(-1).clamp(min=1e-12)
    power = matrices / size[..., None, None]
    for _ in range(4):
        power = torch.matmul(power, power)
    trace = power.diagonal(dim1=-2, dim2=-1).sum(-1).clamp(min=1e-30)
    return size * trace.pow(1 / 16)


def _filtered(signals: Tensor, filters: Tensor, step: int) -> Tensor:
    """Filter each channel: (batch, channels, filters, times)."""
    rows = signals.flatten(0, 1).unsqueeze(1)
    out = F.conv1d(
        rows, filters.unsqueeze(1), stride=step, padding=filters.shape[-1] // 2
    )
    return out.unflatten(0, (signals.shape[0], signals.shape[1]))


def _power(mixing: Tensor, signals: Tensor) -> Tensor:
    """Squares at the targets, (batch, n_targets, times)."""
    return torch.matmul(mixing, signals).square()


def _first(x: Tensor, most: int) -> Tensor:
    """Take the first times of (batch, maps, times), at most so many."""
    if not torch.jit.is_scripting() and is_traced():
        # of a slice exporters ask whether there are more
        n = torch.sym_min(x.shape[2], most)
        return x.index_select(2, torch.arange(n, device=x.device))
    return x[:, :, :most]


def _in_parts(power: Tensor, n_parts: int) -> Tensor:
    """Means over the parts of the window, (batch, N_PARTS, n_targets)."""
    length = power.shape[2] // n_parts
    if not torch.jit.is_scripting() and is_traced():
        # the same as a product: of a slice exporters ask whether parts fill the window
        part = torch.arange(power.shape[2], device=power.device).unsqueeze(1)
        part = torch.div(part, length, rounding_mode="floor")
        inside = part == torch.arange(n_parts, device=power.device)
        return torch.matmul(power, inside.to(power.dtype) / length).transpose(1, 2)
    parts = power[:, :, : length * n_parts].unflatten(2, (n_parts, length))
    return parts.mean(-1).transpose(1, 2)


def _covariance(signals: Tensor) -> Tensor:
    return torch.matmul(signals, signals.mT) / signals.shape[2]


def _logarithm(power: Tensor) -> Tensor:
    # far below the power of any EEG in robust standard deviations
    return torch.log(power + 1e-4)
