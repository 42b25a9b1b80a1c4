"""Simulated EEG whose sources are known, with a MOABB data set on top.

Dipoles in MNE's sphere model make the signals: `EEGSimulator` gives continuous
recordings, cut trials of imagery and trials with a continuous target; it needs MNE
alone.  `SimulatedMotorImagery` hands the same recordings to MOABB.  Nothing here
knows a model or an estimator, and no global random state is read or written.
"""

import hashlib
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from numbers import Integral, Real
from typing import Any, Literal

import mne
import numpy as np
from scipy.fft import irfft, next_fast_len, rfftfreq
from scipy.signal import resample
from scipy.spatial.transform import Rotation

from braindecode_samba._version import __version__
from braindecode_samba.signals.montages import check_positions
from braindecode_samba.signals.template import (
    check_names,
    resolve_template,
    target_names,
    target_positions,
)

try:
    from moabb.datasets.base import BaseDataset
except ImportError:

    class BaseDataset:  # type: ignore[no-redef]
        """Stand-in that keeps `EEGSimulator` usable without MOABB."""

        def __init__(self, *args: object, **kwargs: object) -> None:
            raise ImportError(
                "SimulatedMotorImagery is a MOABB data set and MOABB can't be "
                'imported: pip install "braindecode-samba[moabb]"'
            )


__all__ = ["EEGSimulator", "SimulatedMotorImagery"]

Task = Literal["left_right", "three_class"]

_TASKS = {
    "left_right": ("left_hand", "right_hand"),
    "three_class": ("left_hand", "right_hand", "rest"),
}
_DEFAULT_CHANNELS = (
    "Fp1 Fp2 F7 F3 Fz F4 F8 FC5 FC1 FC2 FC6 T7 C3 Cz C4 T8 "
    "CP5 CP1 CP2 CP6 P7 P3 Pz P4 P8 PO3 PO4 O1 Oz O2"
).split()

# Signals are made at this rate and then brought to the user's, so that one seed is
# one brain at every rate.
_RATE = 256
_TRIAL_SECONDS = 4.0
_RAMP_SECONDS = 0.3
_REACTION_SECONDS = 0.4

_SOURCES = ("mu_left", "mu_right", "alpha")
_ANCHORS = ("C3", "C4", "POz")
# distance from the centre in head radii, and root mean square in A m at rest
_DEPTHS = (0.75, 0.75, 0.7)
_MOMENTS = (26e-9, 26e-9, 45e-9)
_N_BACKGROUND = 100
_BACKGROUND_MOMENT = 36e-9
_SENSOR_NOISE = 1.5e-6
# share of the contralateral drop that the same side shows
_IPSILATERAL = 0.3

# Streams of random numbers; each is seeded by (stream, seed, subject, ...) alone, so
# that the order of access and the other subjects can't matter.
_ANATOMY, _CAP, _ELECTRODE, _WAVES, _TRIALS, _TARGETS = range(1, 7)


def _count(value: Any, name: str, least: int = 1) -> int:
    """`value` as an int from `least` to 2³² - 1, or a clear refusal."""
    if isinstance(value, bool) or not isinstance(value, Integral):
        raise TypeError(f"{name} must be an integer, got {value!r}")
    number = int(value)
    if not least <= number < 2**32:
        raise ValueError(f"{name} must lie in [{least}, 2**32 - 1], got {number}")
    return number


def _number(value: Any, name: str, low: float, high: float) -> float:
    """`value` as a float within [low, high], or a clear refusal."""
    if isinstance(value, bool) or not isinstance(value, Real):
        raise TypeError(f"{name} must be a number, got {value!r}")
    number = float(value)
    if not low <= number <= high:
        raise ValueError(f"{name} must lie in [{low:g}, {high:g}], got {number:g}")
    return number


def _classes(task: str) -> tuple[str, ...]:
    if task not in _TASKS:
        raise ValueError(f"task must be one of {', '.join(_TASKS)}, got {task!r}")
    return _TASKS[task]


def _make_info(
    ch_names: Sequence[str] | None,
    montage: str | mne.channels.DigMontage | None,
    sfreq: float,
) -> mne.Info:
    """Info with the channels at their places in the head frame."""
    if ch_names is None and montage is None:
        ch_names = _DEFAULT_CHANNELS
    if montage is None or isinstance(montage, str):
        listed = resolve_template("colin27_1005" if montage is None else montage)
        if listed is None:
            raise ValueError(f"MNE has no montage {montage!r}: pass a DigMontage")
        montage = mne.channels.make_standard_montage(listed)
    if not isinstance(montage, mne.channels.DigMontage):
        raise TypeError(
            "montage must be the name of one of MNE's or a DigMontage, "
            f"not a {type(montage).__name__}"
        )
    names = check_names(montage.ch_names if ch_names is None else ch_names)
    unknown = sorted(set(names) - set(montage.ch_names))
    if unknown:
        raise ValueError(
            f"channels {unknown} are not in the montage: use its spelling, or pass "
            "a montage that has them (for pairs, mne.set_bipolar_reference afterwards)"
        )
    if len(set(names)) < len(names):
        raise ValueError(f"each channel must be named once, got {names}")
    info = mne.create_info(names, sfreq, "eeg")
    info.set_montage(montage)
    check_positions(_places(info))
    return info


def _places(info: mne.Info) -> np.ndarray:
    """Electrodes in the head frame, (n_chans, 3), metres."""
    return np.array([channel["loc"][:3] for channel in info["chs"]])


@lru_cache(maxsize=1)
def _head() -> tuple[mne.bem.ConductorModel, np.ndarray]:
    """Sphere through the colin27 template, and the directions of the anchors."""
    names = target_names()
    info = mne.create_info(list(names), _RATE, "eeg")
    places = dict(zip(names, target_positions(), strict=True))
    info.set_montage(mne.channels.make_dig_montage(places, coord_frame="head"))
    sphere = mne.make_sphere_model("auto", "auto", info, verbose="error")
    anchors = np.array([places[name] for name in _ANCHORS])
    return sphere, _unit(anchors - sphere["r0"])


def _unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)


@dataclass(frozen=True)
class _Brain:
    """One subject: the three named sources first, then the background."""

    places: np.ndarray  # (n_sources, 3), head frame, metres
    directions: np.ndarray  # (n_sources, 3), unit vectors
    moments: np.ndarray  # (n_sources,), A m, root mean square at rest
    strengths: np.ndarray  # (3,), the named sources' amplitude, 1 in the population
    frequencies: np.ndarray  # (3,), Hz
    harmonic: float  # beta amplitude over mu amplitude
    depth: float  # this subject's share of the asked-for desynchronisation
    exponents: np.ndarray  # (n_background,), of the 1/f power spectra


def _draw_brain(rng: np.random.Generator) -> _Brain:
    sphere, outward = _head()
    radius = sphere.radius
    named = sphere["r0"] + radius * np.array(_DEPTHS)[:, None] * outward
    named = named + rng.uniform(-0.005, 0.005, (3, 3))
    named_directions = _unit(outward + rng.uniform(-0.25, 0.25, (3, 3)))
    strengths = np.exp(rng.normal(0, 0.15, 3))

    shell = radius * rng.uniform(0.3, 0.75, _N_BACKGROUND)
    elsewhere = _unit(rng.standard_normal((_N_BACKGROUND, 3)))
    background = sphere["r0"] + shell[:, None] * elsewhere
    moments = _BACKGROUND_MOMENT * np.exp(rng.normal(0, 0.2, _N_BACKGROUND))
    mu = rng.uniform(10.0, 12.0)
    return _Brain(
        places=np.concatenate([named, background]),
        directions=np.concatenate(
            [named_directions, _unit(rng.standard_normal((_N_BACKGROUND, 3)))]
        ),
        moments=np.concatenate([strengths * _MOMENTS, moments]),
        strengths=strengths,
        frequencies=np.array([mu, mu + rng.normal(0, 0.2), rng.uniform(8.5, 11.5)]),
        harmonic=rng.uniform(0.25, 0.5),
        depth=rng.uniform(0.4, 1.1),
        exponents=rng.uniform(0.8, 1.6, _N_BACKGROUND),
    )


def _rhythms(rng: np.random.Generator, brain: _Brain, n_times: int) -> np.ndarray:
    """Resting time courses of the named sources, (3, n_times), unit mean square.

    z is narrow-band complex noise; a motor rhythm is Re z + h Re z²/|z|, whose second
    part is the beta rhythm at twice the frequency, locked to mu as in real EEG.
    """
    freqs = np.fft.fftfreq(n_times, 1 / _RATE)
    noise = rng.standard_normal((2, 3, n_times))
    bell = np.exp(-0.5 * (freqs - brain.frequencies[:, None]) ** 2)
    z = np.fft.ifft((noise[0] + 1j * noise[1]) * bell)
    share = np.array([[brain.harmonic], [brain.harmonic], [0.0]])
    waves = z.real + share * (z * np.exp(1j * np.angle(z))).real
    return waves / np.sqrt(np.mean(waves**2, axis=1, keepdims=True))


def _pink(rng: np.random.Generator, exponents: np.ndarray, n_times: int) -> np.ndarray:
    """Noise with power 1/f^exponent above 0.5 Hz, (n, n_times), unit mean square."""
    freqs = rfftfreq(n_times, 1 / _RATE).astype(np.float32)
    gain = np.maximum(freqs, 0.5) ** (-exponents[:, None].astype(np.float32) / 2)
    gain[:, 0] = 0
    shape = (len(exponents), 2 * len(freqs))
    spectrum = rng.standard_normal(shape, dtype=np.float32).view(np.complex64)
    spectrum *= gain
    waves = irfft(spectrum, n=n_times, overwrite_x=True)
    waves /= np.sqrt(np.mean(waves**2, axis=1, keepdims=True))
    return waves


def _draw_gain(rng: np.random.Generator) -> float:
    return np.exp(rng.normal(0, 0.1))


def _envelope(
    factors: np.ndarray, starts: np.ndarray, stops: np.ndarray, n_times: int
) -> np.ndarray:
    """Amplitude over time, (3, n_times): 1 at rest, `factors` (n_trials, 3) in trials.

    Each trial's factor is reached by a raised-cosine ramp that ends at its start and
    left by one that begins at its stop (both in samples).
    """
    envelope = np.ones((3, n_times))
    n_ramp = round(_RAMP_SECONDS * _RATE)
    rise = 0.5 - 0.5 * np.cos(np.pi * (np.arange(n_ramp) + 0.5) / n_ramp)
    for factor, start, stop in zip(factors, starts, stops, strict=True):
        weight = np.concatenate([rise, np.ones(stop - start), rise[::-1]])
        piece = slice(start - n_ramp, stop + n_ramp)
        envelope[:, piece] += (factor[:, None] - 1) * weight
    return envelope


@dataclass(frozen=True)
class _Recording:
    raw: mne.io.RawArray
    sources: np.ndarray  # (3, n_times) at _RATE, 1 = population's root mean square
    onsets: np.ndarray  # (n_trials,), seconds


class EEGSimulator:
    """EEG of any montage and rate from dipoles that are known.

    A sphere through MNE's colin27 template holds a left and a right motor rhythm (mu
    at 10-12 Hz with its beta harmonic) below C3 and C4, an occipital alpha rhythm
    that no task touches, and 100 dipoles of 1/f background.  Subjects differ in the
    places, directions, strengths and frequencies of the sources and in how deeply mu
    desynchronises (some hardly do); sessions in a turn of the cap by some degrees and
    in each electrode's gain.  The head stays the same under every cap: electrodes act
    where the montage puts them in the head frame.  The reference is at infinity.

    The same seed, subject and session are the same data whatever was asked for before.
    Leaving out or reordering channels leaves the other channels' signals as they are,
    and another `sfreq` is the same signal resampled.

    Parameters
    ----------
    ch_names : sequence of str | None
        Channels, in the order of the data.  None: all channels of `montage`, or 30 of
        the 10-20 system if that is None too.
    montage : str | mne.channels.DigMontage | None
        Where the electrodes are: a name that MNE knows, or positions in metres.
        None: "colin27_1005".
    sfreq : float
        Sampling rate in Hz, 60 to 10,000; nothing is simulated above 128 Hz.
    erd : float
        Share of the contralateral mu amplitude that a fully able subject loses during
        imagery, 0 (nothing to decode) to 1.  Subjects reach 40 to 110 % of it.
    seed : int
        From 0 to 2**32 - 1.

    Attributes
    ----------
    info : mne.Info
        Channels, rate and positions (head frame) of all that comes out.

    Raises
    ------
    TypeError, ValueError
        For arguments of the wrong kind or outside their range, channels that the
        montage lacks, and positions that are not finite or not in metres.

    Examples
    --------
    >>> simulator = EEGSimulator(["C3", "Cz", "C4", "Oz"], sfreq=100, seed=7)
    >>> simulator.raw(subject=1, n_trials=2).info["sfreq"]
    100.0
    >>> pattern = simulator.true_patterns(subject=1)["mu_left"]
    >>> simulator.info["ch_names"][abs(pattern).argmax()]
    'C3'
    """

    def __init__(
        self,
        ch_names: Sequence[str] | None = None,
        *,
        montage: str | mne.channels.DigMontage | None = None,
        sfreq: float = 128.0,
        erd: float = 0.6,
        seed: int = 0,
    ) -> None:
        self.info = _make_info(ch_names, montage, _number(sfreq, "sfreq", 60, 10_000))
        self.erd = _number(erd, "erd", 0, 1)
        self.seed = _count(seed, "seed", least=0)

    def _rng(self, stream: int, *key: int) -> np.random.Generator:
        return np.random.default_rng([stream, self.seed, *key])

    def _brain(self, subject: int) -> _Brain:
        subject = _count(subject, "subject")
        return _draw_brain(self._rng(_ANATOMY, subject))

    def _leadfield(self, brain: _Brain, electrodes: np.ndarray) -> np.ndarray:
        """Volts at each electrode for each source at rest, (n_chans, n_sources)."""
        info = self.info.copy()
        for channel, place in zip(info["chs"], electrodes, strict=True):
            channel["loc"][:3] = place
        n = len(brain.moments)
        dipoles = mne.Dipole(
            np.arange(n), brain.places, np.ones(n), brain.directions, np.full(n, 100)
        )
        forward, _ = mne.make_forward_dipole(dipoles, _head()[0], info, verbose="error")
        return forward["sol"]["data"] * brain.moments

    def true_patterns(self, subject: int) -> dict[str, np.ndarray]:
        """Sensor patterns of the named sources, without the session's changes.

        Parameters
        ----------
        subject : int
            From 1.

        Returns
        -------
        dict of str to ndarray of shape (n_chans,)
            "mu_left", "mu_right" (the hemisphere, not the hand) and "alpha": volts at
            each electrode while the source stands at its resting root mean square.
        """
        gains = self._leadfield(self._brain(subject), _places(self.info))
        return {name: gains[:, i].copy() for i, name in enumerate(_SOURCES)}

    def _worn(self, subject: int, session: int) -> np.ndarray:
        """Electrodes as the cap sits in a session, (n_chans, 3), metres."""
        rng = self._rng(_CAP, subject, session)
        turn = Rotation.from_euler("xyz", rng.normal(0, 2.0, 3), degrees=True)
        centre = _head()[0]["r0"]
        return turn.apply(_places(self.info) - centre) + centre

    def _electrode_rngs(self, subject: int, session: int) -> list[np.random.Generator]:
        """Random numbers of each electrode; its name alone decides."""
        keys = [zlib.crc32(name.encode()) for name in self.info["ch_names"]]
        return [self._rng(_ELECTRODE, subject, session, key) for key in keys]

    def _gains(self, subject: int, session: int) -> np.ndarray:
        """Gain of each electrode in a session, (n_chans,)."""
        return np.array(
            [_draw_gain(rng) for rng in self._electrode_rngs(subject, session)]
        )

    def _amplify(self, potentials: np.ndarray, subject: int, session: int) -> None:
        """Give each electrode its gain and noise, in place."""
        rngs = self._electrode_rngs(subject, session)
        for row, rng in zip(potentials, rngs, strict=True):
            row *= _draw_gain(rng)
            row += _SENSOR_NOISE * rng.standard_normal(len(row), dtype=np.float32)

    def _record(
        self, subject: int, session: int, factors: np.ndarray, lag: float
    ) -> _Recording:
        """Record trials whose sources have the amplitudes `factors` (n_trials, 3).

        `lag` is the time in seconds from a trial's onset to its full effect.
        """
        brain = self._brain(subject)
        rng = self._rng(_WAVES, subject, session)
        pauses = rng.choice([1.5, 2.0, 2.5], len(factors))
        onsets = 2.0 + np.cumsum(pauses + _TRIAL_SECONDS) - _TRIAL_SECONDS
        seconds = next_fast_len(int(np.ceil(onsets[-1] + _TRIAL_SECONDS + 2.0)))
        n_times = seconds * _RATE

        starts = np.round((onsets + lag) * _RATE).astype(int)
        stops = np.round((onsets + _TRIAL_SECONDS) * _RATE).astype(int)
        rhythms = _rhythms(rng, brain, n_times)
        rhythms *= _envelope(factors, starts, stops, n_times)
        background = _pink(rng, brain.exponents, n_times)

        gains = self._leadfield(brain, self._worn(subject, session))
        data = gains[:, :3] @ rhythms + gains[:, 3:].astype(np.float32) @ background
        self._amplify(data, subject, session)
        # All is periodic over the recording, so that resampling in the frequency
        # domain has no edges.
        data = resample(data, round(seconds * self.info["sfreq"]), axis=1)
        raw = mne.io.RawArray(data, self.info.copy(), verbose="error")
        return _Recording(raw, brain.strengths[:, None] * rhythms, onsets)

    def raw(
        self,
        subject: int,
        session: int = 0,
        *,
        task: Task = "left_right",
        n_trials: int = 20,
    ) -> mne.io.RawArray:
        """Record one session of motor imagery.

        The mu rhythm opposite to the imagined hand loses amplitude from 0.4 s after
        the cue to the end of the trial; the same side loses 30 % of that, and "rest"
        leaves both as they are.

        Parameters
        ----------
        subject : int
            From 1.
        session : int
            From 0.
        task : {"left_right", "three_class"}
            Left and right hand, or these two and rest.
        n_trials : int
            Trials of each class, of 4 s each, in random order.

        Returns
        -------
        mne.io.RawArray
            Volts, with one annotation a trial: onset at the cue, 4 s, the class.
        """
        session = _count(session, "session", least=0)
        subject = _count(subject, "subject")
        labels = np.repeat(_classes(task), _count(n_trials, "n_trials"))
        rng = self._rng(_TRIALS, subject, session)
        rng.shuffle(labels)
        effort = self._brain(subject).depth * rng.uniform(0.6, 1.3, len(labels))
        drop = np.clip(self.erd * effort, 0, 0.95)
        factors = np.exp(rng.normal(0, 0.2, (len(labels), 3)))
        for column, contralateral in enumerate(("right_hand", "left_hand")):
            share = np.where(labels == contralateral, 1.0, _IPSILATERAL)
            share[labels == "rest"] = 0
            factors[:, column] *= 1 - share * drop
        lag = _REACTION_SECONDS + _RAMP_SECONDS
        recording = self._record(subject, session, factors, lag)
        return recording.raw.set_annotations(
            mne.Annotations(recording.onsets, _TRIAL_SECONDS, labels)
        )

    def imagery(
        self, n_subjects: int = 4, n_trials: int = 20, *, task: Task = "left_right"
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, mne.Info]:
        """Cut the trials of `raw`, first session, for subjects 1 to `n_subjects`.

        Parameters
        ----------
        n_subjects, n_trials : int
            Number of subjects, and of trials of each class a subject.
        task : {"left_right", "three_class"}
            Left and right hand, or these two and rest.

        Returns
        -------
        X : ndarray of shape (n_trials, n_chans, n_times)
            Volts, 4 s from the cue.
        y : ndarray of str, shape (n_trials,)
            Classes.
        groups : ndarray of int, shape (n_trials,)
            Subjects.
        info : mne.Info
            Of the channels of X.
        """
        parts = []
        for subject in range(1, _count(n_subjects, "n_subjects") + 1):
            raw = self.raw(subject, task=task, n_trials=n_trials)
            marks = raw.annotations
            X = _cut(raw.get_data(), raw.info["sfreq"], marks.onset)
            # plain text: scikit-learn refuses the StringDType of MNE's descriptions
            labels = np.array(marks.description.tolist())
            parts.append((X, labels, np.full(len(X), subject)))
        X, y, groups = map(np.concatenate, zip(*parts, strict=True))
        return X, y, groups, self.info.copy()

    def regression(
        self, n_subjects: int = 8, n_trials: int = 60
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, mne.Info]:
        """Trials with continuous targets: how strong alpha is, and on which side mu.

        Parameters
        ----------
        n_subjects, n_trials : int
            Number of subjects, and of trials a subject.

        Returns
        -------
        X : ndarray of shape (n_trials, n_chans, n_times)
            Volts, 4 s.
        y : ndarray of shape (n_trials, 2)
            Natural logarithms of the sources' own power in the trial: of alpha (0 is
            the population at rest), and of left over right mu.
        groups : ndarray of int, shape (n_trials,)
            Subjects.
        info : mne.Info
            Of the channels of X.
        """
        n_trials = _count(n_trials, "n_trials")
        parts = []
        for subject in range(1, _count(n_subjects, "n_subjects") + 1):
            alpha, side = self._rng(_TARGETS, subject).normal(0, 1.5, (2, n_trials))
            factors = np.exp(np.stack([side / 4, -side / 4, alpha / 2], axis=1))
            recording = self._record(subject, 0, factors, lag=0.0)
            sources = _cut(recording.sources, _RATE, recording.onsets)
            left, right, occipital = np.log(np.mean(sources**2, axis=2)).T
            y = np.stack([occipital, left - right], axis=1)
            X = _cut(recording.raw.get_data(), self.info["sfreq"], recording.onsets)
            parts.append((X, y, np.full(n_trials, subject)))
        X, y, groups = map(np.concatenate, zip(*parts, strict=True))
        return X, y, groups, self.info.copy()


def _cut(signals: np.ndarray, sfreq: float, onsets: np.ndarray) -> np.ndarray:
    """Trials of a recording, (n_trials, n_signals, n_times)."""
    n_times = round(_TRIAL_SECONDS * sfreq)
    starts = np.round(onsets * sfreq).astype(int)
    return np.stack([signals[:, start : start + n_times] for start in starts])


class SimulatedMotorImagery(BaseDataset):
    """Motor imagery for MOABB that needs no download.

    Each run is `EEGSimulator.raw`, made anew in less than a second a subject whenever
    MOABB asks.  `code`, under which MOABB files its scores, ends in a hash of all
    settings, the electrodes' places and this package's version: sets that differ
    never share a score.

    Parameters
    ----------
    n_subjects, n_sessions : int
        Number of subjects (from 1) and of sessions each.
    n_trials : int
        Trials of each class in a session.
    task : {"left_right", "three_class"}
        "left_hand" and "right_hand", or these two and "rest".
    ch_names, montage, sfreq, erd, seed
        As in `EEGSimulator`.

    Attributes
    ----------
    simulator : EEGSimulator
        What makes the signals; its `regression` and `imagery` give cut trials.

    Raises
    ------
    ImportError
        If MOABB can't be imported.
    TypeError, ValueError
        As `EEGSimulator`.

    Examples
    --------
    >>> dataset = SimulatedMotorImagery(n_subjects=2, seed=1)
    >>> sorted(dataset.get_data([2])[2])
    ['0', '1']
    """

    def __init__(
        self,
        n_subjects: int = 5,
        n_sessions: int = 2,
        n_trials: int = 20,
        *,
        task: Task = "left_right",
        ch_names: Sequence[str] | None = None,
        montage: str | mne.channels.DigMontage | None = None,
        sfreq: float = 128.0,
        erd: float = 0.6,
        seed: int = 0,
    ) -> None:
        self.simulator = EEGSimulator(
            ch_names, montage=montage, sfreq=sfreq, erd=erd, seed=seed
        )
        n_subjects = _count(n_subjects, "n_subjects")
        n_sessions = _count(n_sessions, "n_sessions")
        self.n_trials = _count(n_trials, "n_trials")
        self.task = task
        events = {name: i for i, name in enumerate(_classes(task), start=1)}
        settings = (n_subjects, n_sessions, self.n_trials, task)
        super().__init__(
            subjects=list(range(1, n_subjects + 1)),
            sessions_per_subject=n_sessions,
            events=events,
            code=f"SimulatedMotorImagery-{_digest(self.simulator, settings)}",
            interval=[0, _TRIAL_SECONDS],
            paradigm="imagery",
        )

    def true_patterns(self, subject: int) -> dict[str, np.ndarray]:
        """As `EEGSimulator.true_patterns`: volts, (n_chans,), by source."""
        return self.simulator.true_patterns(subject)

    def data_path(
        self,
        subject: int,
        path: str | None = None,
        force_update: bool = False,
        update_path: bool | None = None,
        verbose: bool | None = None,
    ) -> list[str]:
        """No files: there is nothing to download."""
        return []

    def _get_single_subject_data(
        self, subject: int
    ) -> dict[str, dict[str, mne.io.RawArray]]:
        return {
            str(session): {
                "0": self.simulator.raw(
                    subject, session, task=self.task, n_trials=self.n_trials
                )
            }
            for session in range(self.n_sessions)
        }


def _digest(simulator: EEGSimulator, settings: tuple[object, ...]) -> str:
    """Eight hexadecimal digits that change with anything that changes the signals."""
    info = simulator.info
    places = np.round(_places(info), 6) + 0.0  # no negative zeros
    numbers = (info["sfreq"], simulator.erd, simulator.seed)
    text = repr((__version__, settings, numbers, info["ch_names"], places.tolist()))
    return hashlib.sha256(text.encode()).hexdigest()[:8]
