"""Numbers behind the maps: what the decisions of an estimator go with and come from.

Arrays come out of here; `braindecode_samba.plots` draws them.  What a network does to
electrodes whatever the signals is in `braindecode_samba.plots.spatial_weights`.
"""

import copy
from collections.abc import Mapping
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from sklearn.base import is_classifier
from sklearn.utils.validation import check_is_fitted
from torch import Tensor, nn

from braindecode_samba.estimators.decoder import Decoder
from braindecode_samba.estimators.running import at_rate
from braindecode_samba.estimators.solving import centred
from braindecode_samba.models import SAMBA
from braindecode_samba.nn.scaling import SignalInput
from braindecode_samba.signals.inputs import Windows
from braindecode_samba.signals.powers import mean_power

BANDS: Mapping[str, tuple[float, float]] = {
    "theta": (4.0, 8.0),
    "alpha": (8.0, 13.0),
    "beta": (13.0, 30.0),
}
_METHODS = ("integrated_gradients", "input_x_gradient", "saliency")


def log_band_power(
    x: ArrayLike, sfreq: float, bands: Mapping[str, tuple[float, float]] = BANDS
) -> NDArray[np.float64]:
    """Mean power of each channel in bands of frequency, by Welch's method.

    Parameters
    ----------
    x : array-like, shape (n_windows, n_chans, n_times)
        Signals, in a unit u.
    sfreq : float
        Sampling rate, Hz.
    bands : mapping of str to (float, float)
        Lowest frequency, included, and highest one, Hz.

    Returns
    -------
    ndarray, shape (n_windows, n_bands, n_chans)
        10 log10 of power density in u² / Hz; a flat channel has a very low constant.

    Raises
    ------
    ValueError
        If windows are too short, or the rate too low, for a band.
    """
    # the least number, as flat channels have no power
    powers = mean_power(x, sfreq, bands.values()) + np.finfo(np.float64).tiny
    return 10 * np.log10(powers).swapaxes(1, 2)


def decision_pattern(
    estimator: Decoder,
    X: Any,
    *,
    groups: ArrayLike | None = None,
    target: Any = None,
    bands: Mapping[str, tuple[float, float]] = BANDS,
) -> NDArray[np.float64]:
    r"""Tell how band power at each electrode goes with the decision.

    The activation pattern of Haufe, carried over to a network: for the log band power
    :math:`p` of an electrode and the evidence :math:`s` of the network over windows,
    :math:`\mathrm{cov}(p, s) / \mathrm{std}(s)`. Where weights and gradients show what
    is computed, also to cancel noise, this shows where the signals lie that drive the
    decision. It says which rhythms go with the decision, and not that the network
    reads them there: what varies together with a source is shown too.

    Parameters
    ----------
    estimator : SAMBAClassifier or SAMBARegressor
        Fitted.
    X : array-like, mne.Epochs, list of mne.Epochs, or windows of braindecode
        Windows of one montage, some dozens at least; best those not trained on.
    groups : array-like, shape (n_windows,), optional
        The recording of each window, as for ``predict``: only differences within each
        count, so that one with strong rhythms or a biased decision does not make the
        map. The map is of the electrodes as they were recorded, also where the decoder
        aligns them.
    target : label, int or None
        The class that speaks where the evidence is high, by default the second of two;
        for a regressor the number of the estimated column, by default the only one.
    bands : mapping of str to (float, float)
        Lowest and highest frequency, Hz.

    Returns
    -------
    ndarray, shape (n_bands, n_chans)
        Change of power in dB that comes with evidence one standard deviation higher.

    Raises
    ------
    ValueError, TypeError
        If estimator, windows, bands, groups or target can't be used, or if the
        evidence is the same in all windows.

    References
    ----------
    Haufe et al., NeuroImage 87, 96-110, 2014, doi:10.1016/j.neuroimage.2013.10.067,
    equation 7, for the linear case.
    """
    windows = read_one_montage(estimator, X, groups)
    n_windows = len(windows.x)
    belonging = np.zeros(n_windows) if windows.groups is None else windows.groups
    column = _column(estimator, target)
    power = log_band_power(windows.x, windows.sfreq, bands)
    evidence = _evidence(estimator, X, groups)[:, column]
    evidence = centred(evidence, belonging)
    spread = evidence.std()
    if not spread > 0:
        raise ValueError(
            "the decision is the same in all windows (of each group): pass more "
            "windows, or an estimator that has learnt something"
        )
    return np.tensordot(evidence, centred(power, belonging), 1) / (n_windows * spread)


def read_one_montage(
    estimator: Decoder, X: Any, groups: ArrayLike | None = None
) -> Windows:
    """Read windows for a fitted estimator; all must have the same electrodes.

    Parameters
    ----------
    estimator : SAMBAClassifier or SAMBARegressor
        Fitted.
    X : array-like, mne.Epochs, list of mne.Epochs, or windows of braindecode
        Windows.
    groups : array-like, shape (n_windows,), optional
        As for ``predict``.

    Returns
    -------
    Windows
        Signals, names and positions.

    Raises
    ------
    ValueError, TypeError
        If estimator or windows can't be used.
    """
    check_decoder(estimator)
    windows = estimator._read_more(X, groups=groups)
    if not windows.names:
        raise ValueError(
            "X holds windows of several montages: pass those of one montage at a time"
        )
    return windows


def check_decoder(estimator: Decoder) -> None:
    """Refuse what is no fitted decoder.

    Parameters
    ----------
    estimator : SAMBAClassifier or SAMBARegressor
        Fitted.

    Raises
    ------
    TypeError
        If it is of another kind.
    sklearn.exceptions.NotFittedError
        If it is not fitted.
    """
    if not isinstance(estimator, Decoder):
        raise TypeError(
            f"estimator is a {type(estimator).__name__}: pass a SAMBAClassifier or a "
            "SAMBARegressor"
        )
    check_is_fitted(estimator)


def _evidence(
    estimator: Decoder, X: Any, groups: ArrayLike | None
) -> NDArray[np.float64]:
    """Centred logits (n, n_classes) of a classifier, or estimates (n, n_targets)."""
    if not is_classifier(estimator):
        estimates = cast(Any, estimator).predict(X, groups=groups)
        return np.asarray(estimates, np.float64).reshape(len(estimates), -1)
    found = cast(Any, estimator).decision_function(X, groups=groups)
    values = np.asarray(found, np.float64)
    if values.ndim == 1:
        return np.stack([-values, values], axis=1) / 2
    return values - values.mean(1, keepdims=True)


def _column(estimator: Decoder, target: Any) -> int:
    """Find the output that a target names."""
    if is_classifier(estimator):
        known = list(cast(Any, estimator).classes_)
        if target is None and len(known) == 2:
            return 1
    else:
        known = list(range(estimator.model_.n_outputs))
        if target is None and len(known) == 1:
            return 0
    if target is None or target not in known:
        raise ValueError(f"target={target!r} is unknown: pass one of {known}")
    return known.index(target)


class _Evidence(nn.Module):
    """The network behind its scaling, with logits less their mean.

    Scaling divides a window by its own amplitude, so that the path from silence to a
    window is one and the same output all along: gradients must begin behind it.
    """

    def __init__(self, model: SAMBA, pos: Tensor, centred: bool) -> None:
        super().__init__()
        self.model = copy.deepcopy(model).eval()
        self.scaling = self.model.trunk.signal
        self.model.trunk.signal = SignalInput(
            model_sfreq=self.scaling.model_sfreq, scale=None
        )
        self.register_buffer("pos", pos)
        self.centred = centred

    def forward(self, signals: Tensor) -> Tensor:
        outputs = self.model(signals, self.pos)
        return outputs - outputs.mean(1, keepdim=True) if self.centred else outputs


def attribute_decision(
    estimator: Decoder,
    X: Any,
    *,
    groups: ArrayLike | None = None,
    target: Any = None,
    method: str = "integrated_gradients",
) -> NDArray[np.float32]:
    """Share a decision out over electrodes and time, by captum.

    A reading of the network and not of the brain: an electrode that only serves to
    cancel noise gets its share too. See `decision_pattern` for sources, at which it
    points better in simulated EEG.

    Parameters
    ----------
    estimator : SAMBAClassifier or SAMBARegressor
        Fitted.
    X : array-like, mne.Epochs, list of mne.Epochs, or windows of braindecode
        Windows of one montage; about a second each with integrated gradients.
    groups : array-like, shape (n_windows,), optional
        As for ``predict``: what is shared out are the signals behind the alignment.
    target : label, int or None
        The class whose evidence (its logit less the mean of all) is shared out, by
        default each window's most probable one; for a regressor the number of the
        estimated column, by default the only one.
    method : {"integrated_gradients", "input_x_gradient", "saliency"}
        As in `braindecode.visualization`; paths begin at silence.

    Returns
    -------
    ndarray of float32, shape (n_windows, n_chans, n_times at the model's rate)
        Shares of the evidence; of the scaled signals, as gradients with respect to raw
        ones mean nothing in a network that divides by a window's amplitude.

    Raises
    ------
    ImportError
        If captum is not installed.
    ValueError, TypeError
        If estimator, windows, target or method can't be used.

    References
    ----------
    Sundararajan et al., ICML 2017, arXiv:1703.01365.
    """
    if method not in _METHODS:
        raise ValueError(f"method={method!r} is unknown: pass one of {_METHODS}")
    from braindecode import visualization

    share_out = getattr(visualization, method)
    windows = read_one_montage(estimator, X, groups)
    if target is None and is_classifier(estimator):
        columns = _evidence(estimator, X, groups).argmax(1)
    else:
        columns = np.full(len(windows.x), _column(estimator, target))
    device = estimator.model_.final_layer.weight.device
    pos = torch.from_numpy(windows.positions).float()
    model = at_rate(estimator.model_, windows.sfreq)
    network = _Evidence(model, pos, is_classifier(estimator)).to(device)
    windows, _ = estimator._alignment.apply(windows)
    rows = []
    # one by one: each window becomes a batch of 50 on its path
    for x, column in zip(windows.x, columns, strict=True):
        with torch.no_grad():
            signals = network.scaling(torch.from_numpy(x[None]).to(device))
        wanted = torch.tensor([int(column)], device=device)
        rows.append(share_out(network, signals, wanted).float().cpu().numpy()[0])
    return np.stack(rows)
