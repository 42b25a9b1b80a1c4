"""Predictions while a recording is being made.

`SAMBAStream` keeps the last window of the samples that arrive and runs a model on it at
a fixed hop.  Recordings that lie complete are the business of
`braindecode_samba.nn.recordings`.
"""

import copy
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from sklearn.utils.validation import check_is_fitted

from braindecode_samba.estimators.decoders import SAMBAClassifier, SAMBARegressor
from braindecode_samba.models import SAMBA
from braindecode_samba.nn.scaling import min_times

Predict = Callable[[NDArray[np.float32]], NDArray[Any]]


class Prediction(NamedTuple):
    """What a model says of one window of a stream."""

    stop: int  # samples that had arrived at the end of the window
    seconds: float  # the same in seconds since the start of the stream
    output: NDArray[Any]  # (n_outputs,), or what `predict` gives for one window


class SAMBAStream:
    """Feed samples as they arrive, get predictions at a fixed hop.

    Every hop, the last window goes through the model as it is, from a state of zero and
    with the scale of its own samples: the predictions equal those for the same windows
    cut out of the finished recording, however the samples were portioned. A prediction
    exists as soon as the last sample of its window has arrived; what is held is one
    window and one hop.

    The predictions can't equal one pass over the whole recording: the model normalises
    over all time, its convolutions see samples to come, and the scale of a recording is
    known at its end. Nor are states carried from window to window, since a model that
    was trained on windows has never met them.

    Parameters
    ----------
    model : SAMBA, SAMBAClassifier or SAMBARegressor
        A network or a fitted estimator, whose channels and rate are those of its fit.
        Classifiers give probabilities, regressors values in the unit of y, networks
        their raw outputs.
    window_seconds : float, optional
        Length of a window; by default that of the model's ``n_times``.
    hop_seconds : float, optional
        From one prediction to the next; by default a window.

    Attributes
    ----------
    n_chans : int
        Channels that `push` takes.
    sfreq : float
        Rate at which samples arrive, Hz.
    n_seen : int
        Samples that arrived since the start.

    Raises
    ------
    ValueError, TypeError
        If the model is none of these, knows no channels, or the window is too short.

    Examples
    --------
    >>> import numpy as np
    >>> from braindecode_samba import SAMBA, SAMBAStream, chs_info_from_names
    >>> model = SAMBA(2, chs_info=chs_info_from_names(["C3", "C4"]), sfreq=250)
    >>> stream = SAMBAStream(model, window_seconds=2, hop_seconds=0.5)
    >>> rng = np.random.default_rng(0)
    >>> [p.seconds for _ in range(3) for p in stream.push(rng.normal(size=(2, 250)))]
    [2.0, 2.5, 3.0]
    """

    def __init__(
        self,
        model: SAMBA | SAMBAClassifier | SAMBARegressor,
        *,
        window_seconds: float | None = None,
        hop_seconds: float | None = None,
    ) -> None:
        network = _network(model)
        self.n_chans = network.n_chans
        self.sfreq = network.trunk.signal.sfreq
        if window_seconds is None:
            self._length = _default_length(model, network)
        else:
            self._length = round(window_seconds * self.sfreq)
        shortest = min_times(self.sfreq, network.trunk.signal.model_sfreq)
        if self._length < shortest:
            raise ValueError(
                f"a window of {self._length} samples is too short; pass window_seconds "
                f"of at least {shortest / self.sfreq:.3g}"
            )
        if not isinstance(model, SAMBA) and self._length != model.n_times_:
            raise ValueError(
                f"window_seconds={window_seconds} are {self._length} samples, and the "
                f"estimator was fitted on {model.n_times_}; leave it out"
            )
        hop = self._length if hop_seconds is None else round(hop_seconds * self.sfreq)
        if hop < 1:
            raise ValueError(
                f"hop_seconds={hop_seconds} is less than a sample; pass at least "
                f"{1 / self.sfreq:.3g}"
            )
        self._hop = hop
        self._predict = _function(model)
        self.reset()

    def reset(self) -> None:
        """Forget all samples: the next one is the first of a new stream."""
        self.n_seen = 0
        self._held = np.empty((self.n_chans, 0), np.float32)
        self._next_stop = self._length

    def push(self, samples: ArrayLike) -> list[Prediction]:
        """Take the next samples.

        Parameters
        ----------
        samples : array-like, shape (n_chans, n)
            Any unit, the same all along; any number of samples, also none.

        Returns
        -------
        list of Prediction
            For all windows that became complete, in order; often none.

        Raises
        ------
        ValueError
            If the samples have another number of channels, or hold NaN or infinity.
            They are not taken then.
        """
        new = np.asarray(samples, dtype=np.float32)
        if new.ndim != 2 or new.shape[0] != self.n_chans:
            raise ValueError(
                f"samples have shape {new.shape}; pass ({self.n_chans}, n), one row a "
                "channel"
            )
        if not np.isfinite(new).all():
            raise ValueError(
                "samples hold NaN or infinity; repeat the last good sample instead, or "
                "reset() the stream"
            )
        ready = []
        # a long piece must not be held whole beside its copy
        for start in range(0, new.shape[1], self._length):
            ready += self._take(new[:, start : start + self._length])
        return ready

    def _take(self, new: NDArray[np.float32]) -> list[Prediction]:
        held = np.concatenate([self._held, new], axis=1)
        self.n_seen += new.shape[1]
        first = self.n_seen - held.shape[1]
        ready = []
        while self._next_stop <= self.n_seen:
            stop = self._next_stop - first
            window = held[:, stop - self._length : stop]
            output = self._predict(window[None])[0]
            ready.append(
                Prediction(self._next_stop, self._next_stop / self.sfreq, output)
            )
            self._next_stop += self._hop
        needed = max(0, self._next_stop - self._length - first)
        self._held = held[:, needed:].copy()
        return ready


def _network(model: Any) -> SAMBA:
    if isinstance(model, SAMBAClassifier | SAMBARegressor):
        check_is_fitted(model)
        return model.model_
    if not isinstance(model, SAMBA):
        raise TypeError(
            f"model is a {type(model).__name__}; pass a SAMBA, or a fitted "
            "SAMBAClassifier or SAMBARegressor"
        )
    return model


def _default_length(model: Any, network: SAMBA) -> int:
    if not isinstance(model, SAMBA):
        return model.n_times_
    try:
        return int(network.n_times)  # type: ignore[arg-type]
    except ValueError:
        raise ValueError(
            "the model does not say how long its windows are; pass window_seconds"
        ) from None


def _function(model: SAMBA | SAMBAClassifier | SAMBARegressor) -> Predict:
    if isinstance(model, SAMBAClassifier | SAMBARegressor):
        # samples come without names: they are those of the channels that were fitted
        decoder = copy.copy(model)
        if decoder.ch_names is None and decoder.chs_info is None:
            network: Any = model.model_  # braindecode's property has no type
            decoder.chs_info = network.chs_info
        decoder.sfreq = model.sfreq_
        if isinstance(decoder, SAMBAClassifier):
            return decoder.predict_proba
        return decoder.predict
    device = next(model.parameters()).device

    def outputs(window: NDArray[np.float32]) -> NDArray[Any]:
        model.eval()
        with torch.no_grad():
            x = torch.from_numpy(np.ascontiguousarray(window)).to(device)
            return model(x).float().cpu().numpy()

    return outputs
