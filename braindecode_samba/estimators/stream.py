"""Predictions while a recording is being made.

`SAMBAStream` keeps the last window of the samples that arrive and runs a model on it at
a fixed hop.  Recordings that lie complete are the business of
`braindecode_samba.nn.recordings`.
"""

import warnings
from collections.abc import Callable, Collection, Hashable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.utils.validation import check_is_fitted

from braindecode_samba.estimators.aligning import ALONE
from braindecode_samba.estimators.arriving import (
    CausalFilter,
    Resampler,
    choose_channels,
)
from braindecode_samba.estimators.classifier import SAMBAClassifier
from braindecode_samba.estimators.decoder import Decoder
from braindecode_samba.estimators.following import FollowedRecording
from braindecode_samba.estimators.interrupts import all_kept
from braindecode_samba.estimators.regressor import SAMBARegressor
from braindecode_samba.estimators.running import run_in_batches
from braindecode_samba.models import SAMBA
from braindecode_samba.models.base import told
from braindecode_samba.nn.scaling import min_times
from braindecode_samba.signals.arrays import as_numbers, moving
from braindecode_samba.signals.declared import declare, refuse_odd_seconds
from braindecode_samba.signals.inputs import Channels, Windows

LAYOUTS = ("channels_first", "samples_first")
# seconds that are filtered at once: a long piece is not held beside its copies
_PIECE_SECONDS = 10.0


class Prediction(NamedTuple):
    """What a model says of one window of a stream."""

    stop: int  # samples that had arrived at the end of the window
    seconds: float  # the same in seconds since the start of the stream
    output: NDArray[Any]  # (n_outputs,), or what `predict` gives for one window
    label: Any = None  # the most probable class, of classifiers
    probabilities: dict[Any, float] | None = None  # of each class


class SAMBAStream:
    """Feed samples as they arrive, get predictions at a fixed hop.

    Every hop, the last window goes through the model as it is, from a state of zero:
    the predictions equal those for the same windows cut out of the finished recording,
    however the samples were portioned.  What is held is one window and one hop.

    A decoder whose fit was aligned aligns the stream too, by what `adapt` has told it
    of this person and by all windows so far: the formulas are those of `predict`, and
    what is not known yet is taken from the training recordings.

    Parameters
    ----------
    model : SAMBA, SAMBAClassifier or SAMBARegressor
        A network or a fitted estimator.  Classifiers give probabilities, regressors
        values in the unit of y, networks their raw outputs.
    window_seconds : float, optional
        Length of a window; by default that of the fit, or the network's ``n_times``.
    hop_seconds : float, optional
        From one prediction to the next; by default a window.
    ch_names : sequence of str, optional
        Channels that arrive, in their order; by default those of the fit.  Any names
        of electrodes will do: places travel with them.
    chs_info : sequence of dict, optional
        The same with measured positions, as ``info["chs"]`` of MNE; what is not of
        type EEG is left out.
    sfreq : float, optional
        Rate at which samples arrive, Hz; by default that of the fit.  Another one is
        resampled as the samples come, and predictions come ``delay_seconds`` later.
    band : tuple of two floats or None, or array of shape (n_sections, 6), optional
        A causal filter whose state is kept: edges of a Butterworth filter in Hz, None
        for an open end, or second-order sections. Take the band of the training
        windows.
    layout : {"channels_first", "samples_first"}
        Whether `push` takes (channels, samples) or (samples, channels).
    exclude : collection of str
        Channels that arrive and are not used, as triggers.
    positions : {"checked", "measured", "names"}
        What happens where places in `chs_info` contradict the names, as for
        `SAMBAClassifier`.
    group : hashable
        Whose the stream is, as in ``adapt(X, groups=...)``; by default who was adapted
        to without groups.
    learning : bool
        Whether each window joins what is known of this person.  False: predictions are
        those of ``model.predict`` for each window alone, after the same `adapt`.
    half_life_seconds : float, optional
        After this time, what was known counts half.  None: nothing is forgotten.

    Attributes
    ----------
    n_chans : int
        Channels that `push` takes.
    sfreq : float
        Rate at which samples arrive, Hz.
    n_seen : int
        Samples that arrived since the start.
    delay_seconds : float
        How long after the end of a window its prediction can be had.  0 without
        resampling; a causal filter delays what is in the signals by some more.

    Raises
    ------
    ValueError, TypeError
        If the model is none of these or knows no channels, a channel has no place, the
        window is too short, or an option can't be used.

    Examples
    --------
    >>> import numpy as np
    >>> from braindecode_samba import SAMBA, SAMBAStream, chs_info_from_names
    >>> chs_info = chs_info_from_names(["C3", "C4"])
    >>> model = SAMBA(n_outputs=2, chs_info=chs_info, sfreq=250)
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
        ch_names: Sequence[str] | None = None,
        chs_info: Channels | None = None,
        sfreq: float | None = None,
        band: ArrayLike | tuple[float | None, float | None] | None = None,
        layout: str = "channels_first",
        exclude: Collection[str] = (),
        positions: str = "checked",
        group: Hashable = ALONE,
        learning: bool = True,
        half_life_seconds: float | None = None,
    ) -> None:
        network = _network(model)
        if layout not in LAYOUTS:
            raise ValueError(f"layout={layout!r} is unknown: pass one of {LAYOUTS}")
        self._samples_first = layout == "samples_first"
        # what windows have; samples may arrive at another rate
        self._rate = float(network.trunk.signal.sfreq)
        arriving = declare(None, None, sfreq).sfreq
        self.sfreq = self._rate if arriving is None else arriving
        self._length, self._hop = self._lengths(
            model, network, window_seconds, hop_seconds
        )
        channels = choose_channels(
            told(network, "chs_info"), ch_names, chs_info, exclude, positions
        )
        self.n_chans, self._rows = channels.n_chans, channels.rows
        self._names, self._positions = channels.names, channels.positions
        self._filter = None
        if band is not None:
            self._filter = CausalFilter(band, self.sfreq)
        self._resample = Resampler(self.sfreq, self._rate)
        self.delay_seconds = self._resample.delay_seconds
        self._classes = getattr(model, "classes_", None)
        self._followed: FollowedRecording | None = None
        self._outputs: Callable[[Windows], NDArray[Any]]
        if isinstance(model, Decoder):
            self._followed = FollowedRecording(
                model,
                group,
                self._positions,
                learning=learning,
                share=min(1.0, self._hop / self._length),
                forget=_forget(half_life_seconds, self._hop / self._rate),
            )
            decoder, followed = model, self._followed
            self._outputs = lambda windows: decoder._say(followed.outputs(windows))
        else:
            self._outputs = lambda windows: run_in_batches(network, network, windows, 1)
        self.reset()

    def reset(self) -> None:
        """Forget all samples: the next one is the first of a new stream."""
        self.n_seen = 0
        self._said_flat = False
        self._n_ready = 0  # samples at the rate of the windows
        self._held = np.empty((len(self._rows), 0), np.float32)
        self._next_stop = self._length
        if self._filter is not None:
            self._filter.reset()
        self._resample.reset()
        if self._followed is not None:
            self._followed.reset()

    def push(self, samples: ArrayLike) -> list[Prediction]:
        """Take the next samples.

        Parameters
        ----------
        samples : array-like, shape (n_chans, n), or (n, n_chans) if samples come first
            Any unit, the same all along and that of `adapt`; any number of samples,
            also none.

        Returns
        -------
        list of Prediction
            For all windows that became complete, in order; often none.

        Raises
        ------
        ValueError
            If the samples have another number of channels, or those that are used hold
            NaN or infinity.  They are not taken then.
        KeyboardInterrupt
            If the user stops it; none of them is taken.
        """
        new = self._check(samples)
        ready = []
        piece = max(1, round(_PIECE_SECONDS * self.sfreq))
        with all_kept(*self._parts()):
            for start in range(0, new.shape[1], piece):
                ready += self._take(new[:, start : start + piece])
        return ready

    def _parts(self) -> list[object]:
        """Objects that know of the samples so far."""
        followed = () if self._followed is None else self._followed.parts
        own = [self, self._resample, *followed]
        return own if self._filter is None else [*own, self._filter]

    def _check(self, samples: ArrayLike) -> NDArray[np.float32]:
        """Give samples (n_used, n) of the channels that are used."""
        new = as_numbers(samples, "samples")
        if not new.size:
            # what a library gives when nothing came has many shapes
            return np.empty((len(self._rows), 0), np.float32)
        expected = f"({self.n_chans}, n), one row a channel"
        if self._samples_first:
            new, expected = new.T, f"(n, {self.n_chans}), one column a channel"
        if new.ndim != 2 or len(new) != self.n_chans:
            shape = np.shape(samples)
            advice = f"pass {expected}"
            if new.ndim == 2 and new.shape[1] == self.n_chans:
                other = LAYOUTS[not self._samples_first]
                advice = f"transpose them, or build the stream with layout={other!r}"
            raise ValueError(f"samples have shape {shape}: {advice}")
        with np.errstate(over="ignore"):  # becomes infinite, and is refused as such
            new = new[self._rows].astype(np.float32)
        if not np.isfinite(new).all():
            raise ValueError(
                "samples hold NaN or infinity: repeat the last good sample instead, or "
                "reset() the stream"
            )
        return new

    def _take(self, new: NDArray[np.float32]) -> list[Prediction]:
        self.n_seen += new.shape[1]
        x = new.astype(np.float64)
        if self._filter is not None:
            x = self._filter(x)
        x = self._resample(x).astype(np.float32)
        held = np.concatenate([self._held, x], axis=1)
        self._n_ready += x.shape[1]
        first = self._n_ready - held.shape[1]
        ready = []
        while self._next_stop <= self._n_ready:
            stop = self._next_stop - first
            ready.append(self._predict(held[:, stop - self._length : stop]))
            self._next_stop += self._hop
        needed = max(0, self._next_stop - self._length - first)
        self._held = held[:, needed:].copy()
        return ready

    def _predict(self, window: NDArray[np.float32]) -> Prediction:
        x = np.ascontiguousarray(window[None])
        if not moving(x).any() and not self._said_flat:
            self._said_flat = True
            warnings.warn(
                "a window of the stream does not move in any channel, and what is said "
                "of it means nothing: see whether the amplifier sends signals",
                stacklevel=4,
            )
        windows = Windows(x, None, self._names, self._positions, None, self._rate, True)
        output = self._outputs(windows)[0]
        stop = self._resample.stop_of(self._next_stop)
        seconds = self._next_stop / self._rate
        if self._classes is None:
            return Prediction(stop, seconds, output)
        labels = self._classes.tolist()
        probabilities = dict(zip(labels, output.tolist(), strict=True))
        return Prediction(
            stop, seconds, output, labels[int(output.argmax())], probabilities
        )

    def _lengths(
        self,
        model: Any,
        network: SAMBA,
        window_seconds: float | None,
        hop_seconds: float | None,
    ) -> tuple[int, int]:
        """Tell the samples of a window and of a hop, at the rate of the windows."""
        refuse_odd_seconds(window_seconds=window_seconds, hop_seconds=hop_seconds)
        if window_seconds is None:
            length = _default_length(model, network)
        else:
            length = round(window_seconds * self._rate)
        shortest = min_times(self._rate, network.trunk.signal.model_sfreq)
        if length < shortest:
            raise ValueError(
                f"a window of {length} samples is too short: pass window_seconds of at "
                f"least {shortest / self._rate:.3g}"
            )
        hop = length if hop_seconds is None else round(hop_seconds * self._rate)
        if hop < 1:
            raise ValueError(
                f"hop_seconds={hop_seconds} is less than a sample: pass at least "
                f"{1 / self._rate:.3g}"
            )
        return length, hop


def _network(model: Any) -> SAMBA:
    if isinstance(model, Decoder):
        check_is_fitted(model)
        return model.model_
    if not isinstance(model, SAMBA):
        raise TypeError(
            f"model is a {type(model).__name__}: pass a SAMBA, or a fitted "
            "SAMBAClassifier or SAMBARegressor"
        )
    return model


def _default_length(model: Any, network: SAMBA) -> int:
    if isinstance(model, Decoder):
        return model.n_times_
    length = told(network, "n_times")
    if length is None:
        raise ValueError(
            "the model does not say how long its windows are: pass window_seconds"
        )
    return int(length)


def _forget(half_life_seconds: float | None, hop_seconds: float) -> float:
    """Give what remains after a hop."""
    if half_life_seconds is None:
        return 1.0
    refuse_odd_seconds(half_life_seconds=half_life_seconds)
    return float(0.5 ** (hop_seconds / half_life_seconds))
