"""Power of signals in bands of frequency."""

from collections.abc import Iterable

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.signal import welch

_SEGMENT_SECONDS = 2.0


def mean_power(
    x: ArrayLike, sfreq: float, bands: Iterable[tuple[float, float]]
) -> NDArray[np.float64]:
    """Mean power density of each channel in bands of frequency, by Welch's method.

    Parameters
    ----------
    x : array-like, shape (n_windows, n_chans, n_times)
        Signals, in a unit u.
    sfreq : float
        Sampling rate, Hz.
    bands : iterable of (float, float)
        Lowest frequency, included, and highest one, Hz.

    Returns
    -------
    ndarray, shape (n_windows, n_chans, n_bands)
        u² / Hz.

    Raises
    ------
    ValueError
        If windows are too short, or the rate too low, for a band.
    """
    signals = np.asarray(x, np.float64)
    n_times = signals.shape[-1]
    length = min(n_times, round(_SEGMENT_SECONDS * sfreq))
    frequencies, density = welch(signals, sfreq, nperseg=length)
    powers = []
    for low, high in bands:
        inside = (low <= frequencies) & (frequencies < high)
        if not inside.any() or high > sfreq / 2:
            raise ValueError(
                f"windows of {n_times} samples at {sfreq:g} Hz have no frequency from "
                f"{low:g} to {high:g} Hz, or not all of them: pass other bands or "
                "longer windows"
            )
        powers.append(density[..., inside].mean(-1))
    return np.stack(powers, axis=-1)
