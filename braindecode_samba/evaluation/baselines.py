"""Baselines beside SAMBA, each a clone-able classifier of (n, channels, times) arrays.

Their parts are well-kept ones: filters from MNE, covariances, CSP and the tangent space
from pyRiemann, networks from braindecode.  SAMBA's own pipelines are in
`braindecode_samba.evaluation.protocols`.
"""

from collections.abc import Sequence
from types import ModuleType

import mne
import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.signal import welch
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from braindecode_samba.evaluation.nets import BraindecodeNet

__all__ = ["band_power", "csp_lda", "network", "tangent_space"]

_MU_AND_BETA = (8.0, 30.0)
# Hz: delta, theta, low and high alpha, beta, gamma as far as 40 Hz
_SIX_BANDS = ((1, 4), (4, 8), (8, 10), (10, 13), (13, 30), (30, 40))


def csp_lda(
    *,
    sfreq: float,
    band: tuple[float, float] | None = _MU_AND_BETA,
    n_components: int = 8,
) -> Pipeline:
    """Build common spatial patterns and linear discriminant analysis.

    Parameters
    ----------
    sfreq : float
        Sampling rate, Hz.
    band : tuple of float or None
        Pass band of a filter on the windows, Hz; None: none.
    n_components : int
        Spatial filters.

    Returns
    -------
    sklearn.pipeline.Pipeline
        Classifier of arrays (n, channels, times) in any unit.

    Raises
    ------
    ImportError
        If pyRiemann is not installed.
    """
    riemann = _pyriemann()
    return make_pipeline(
        *_filter(sfreq, band),
        # shrinkage keeps covariances positive after an average reference
        riemann.estimation.Covariances("oas"),
        riemann.spatialfilters.CSP(n_components, metric="euclid"),
        LinearDiscriminantAnalysis(),
    )


def tangent_space(
    *, sfreq: float, band: tuple[float, float] | None = _MU_AND_BETA, C: float = 1.0
) -> Pipeline:
    """Build logistic regression on covariances, in the tangent space at their mean.

    Parameters
    ----------
    sfreq : float
        Sampling rate, Hz.
    band : tuple of float or None
        As for `csp_lda`.
    C : float
        Inverse strength of the penalty.

    Returns
    -------
    sklearn.pipeline.Pipeline
        Classifier of arrays (n, channels, times) in any unit.

    Raises
    ------
    ImportError
        If pyRiemann is not installed.
    """
    riemann = _pyriemann()
    return make_pipeline(
        *_filter(sfreq, band),
        riemann.estimation.Covariances("oas"),
        riemann.tangentspace.TangentSpace(),
        LogisticRegression(C=C, max_iter=10_000),
    )


def band_power(
    *,
    sfreq: float,
    bands: Sequence[tuple[float, float]] = _SIX_BANDS,
    C: float = 1.0,
) -> Pipeline:
    """Build logistic regression on the log power of each channel in some bands.

    Parameters
    ----------
    sfreq : float
        Sampling rate, Hz.
    bands : sequence of tuple of float
        Bands, Hz; each must hold a frequency of the windows' spectrum.
    C : float
        Inverse strength of the penalty.

    Returns
    -------
    sklearn.pipeline.Pipeline
        Classifier of arrays (n, channels, times) in any unit.
    """
    powers = FunctionTransformer(
        log_band_power, kw_args={"sfreq": sfreq, "bands": tuple(bands)}
    )
    return make_pipeline(
        powers, StandardScaler(), LogisticRegression(C=C, max_iter=10_000)
    )


def network(
    name: str,
    *,
    sfreq: float,
    max_epochs: int = 12,
    lr: float = 1e-3,
    device: str = "auto",
    random_state: int | None = None,
) -> BraindecodeNet:
    """Build a network of braindecode's, trained from scratch.

    Parameters
    ----------
    name : str
        Class in `braindecode.models`: "ShallowFBCSPNet", "EEGNet", "CTNet" and so on.
    sfreq : float
        Sampling rate, Hz.
    max_epochs, lr, device, random_state
        As for `braindecode_samba.evaluation.BraindecodeNet`.

    Returns
    -------
    BraindecodeNet
        Classifier of arrays (n, channels, times) in any unit.
    """
    return BraindecodeNet(
        name,
        sfreq=sfreq,
        max_epochs=max_epochs,
        lr=lr,
        device=device,
        random_state=random_state,
    )


def bandpass(
    X: ArrayLike, sfreq: float, low: float, high: float
) -> NDArray[np.float64]:
    """Filter windows between two frequencies, without a delay.

    Parameters
    ----------
    X : array-like, shape (..., n_times)
        Windows.
    sfreq, low, high : float
        Sampling rate and edges of the pass band, Hz.

    Returns
    -------
    ndarray of float64, shape (..., n_times)
        MNE's zero-phase Butterworth filter of order 4, forth and back.
    """
    return mne.filter.filter_data(
        np.asarray(X, np.float64), sfreq, low, high, method="iir", verbose="error"
    )


def log_band_power(
    X: ArrayLike, sfreq: float, bands: Sequence[tuple[float, float]]
) -> NDArray[np.float64]:
    """Log mean power of each channel in each band.

    Parameters
    ----------
    X : array-like, shape (n, n_chans, n_times)
        Windows, any unit.
    sfreq : float
        Sampling rate, Hz.
    bands : sequence of tuple of float
        Bands, Hz, lower edge included.

    Returns
    -------
    ndarray of float64, shape (n, n_chans * n_bands)
        Natural logarithms; the bands of a channel lie side by side.

    Raises
    ------
    ValueError
        If windows are too short for a band.
    """
    x = np.asarray(X, np.float64)
    length = min(x.shape[-1], round(2 * sfreq))
    frequencies, density = welch(x, sfreq, nperseg=length)
    powers = []
    for low, high in bands:
        inside = (low <= frequencies) & (frequencies < high)
        if not inside.any():
            raise ValueError(
                f"windows of {x.shape[-1]} samples at {sfreq:g} Hz have no frequency "
                f"from {low} to {high} Hz: pass longer windows or other bands"
            )
        powers.append(density[..., inside].mean(axis=-1))
    # dead channels have no power
    tiny = np.finfo(np.float64).tiny
    return np.log(np.maximum(np.stack(powers, axis=-1), tiny)).reshape(len(x), -1)


def _filter(
    sfreq: float, band: tuple[float, float] | None
) -> list[FunctionTransformer]:
    if band is None:
        return []
    settings = {"sfreq": sfreq, "low": band[0], "high": band[1]}
    return [FunctionTransformer(bandpass, kw_args=settings)]


def _pyriemann() -> ModuleType:
    try:
        import pyriemann.estimation
        import pyriemann.spatialfilters
        import pyriemann.tangentspace
    except ImportError as error:
        raise ImportError(
            "covariances, CSP and the tangent space are pyRiemann's: "
            'pip install "braindecode-samba[benchmarks]"'
        ) from error
    return pyriemann
