"""Simulated EEG whose sources are known: recordings, trials and targets.

`EEGSimulator` lets the sources of `simulated_sources` be recorded; it needs MNE alone.
`simulated_set` hands the same recordings to MOABB.  Nothing here knows a model or an
estimator, and no global random state is read or written.
"""

import zlib
from collections.abc import Callable, Iterator, Sequence
from numbers import Integral, Real
from typing import Any, Literal

import mne
import numpy as np
from scipy.fft import next_fast_len
from scipy.signal import resample
from scipy.spatial.transform import Rotation

from braindecode_samba.signals.positions import check_positions
from braindecode_samba.signals.simulated_sources import (
    RAMP_SECONDS,
    RATE,
    SOURCES,
    Brain,
    draw_brain,
    envelope,
    head_centre,
    leadfield,
    pink_noise,
    rhythms_of,
)
from braindecode_samba.signals.template import check_names, resolve_template

Task = Literal["left_right", "three_class"]

_TASKS = {
    "left_right": ("left_hand", "right_hand"),
    "three_class": ("left_hand", "right_hand", "rest"),
}
_DEFAULT_CHANNELS = (
    "Fp1 Fp2 F7 F3 Fz F4 F8 FC5 FC1 FC2 FC6 T7 C3 Cz C4 T8 "
    "CP5 CP1 CP2 CP6 P7 P3 Pz P4 P8 PO3 PO4 O1 Oz O2"
).split()

TRIAL_SECONDS = 4.0
_REACTION_SECONDS = 0.4
_SENSOR_NOISE = 1.5e-6
# share of the contralateral drop that the same side shows
_IPSILATERAL = 0.3

# Streams of random numbers; each is seeded by (stream, seed, subject, ...) alone, so
# that the order of access and the other subjects can't matter.
_MOST = 2**32 - 1  # of what seeds take
_ANATOMY, _CAP, _ELECTRODE, _WAVES, _TRIALS, _TARGETS = range(1, 7)


def checked(value: Any, name: str, kind: Any, low: float, high: float = _MOST) -> Any:
    """`value` as a number of a kind within [low, high], or a clear refusal."""
    if isinstance(value, bool) or not isinstance(value, kind):
        what = "an integer" if kind is Integral else "a number"
        raise TypeError(f"{name} must be {what}, got {value!r}")
    if not low <= value <= high:
        raise ValueError(f"{name} must lie in [{low}, {high}], got {value}")
    return int(value) if kind is Integral else float(value)


def classes_of(task: str) -> tuple[str, ...]:
    """Labels of a task."""
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
    check_positions(places_of(info))
    return info


def places_of(info: mne.Info) -> np.ndarray:
    """Electrodes in the head frame, (n_chans, 3), metres."""
    return np.array([channel["loc"][:3] for channel in info["chs"]])


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
        self.info = _make_info(
            ch_names, montage, checked(sfreq, "sfreq", Real, 60, 10_000)
        )
        self.erd = checked(erd, "erd", Real, 0, 1)
        self.seed = checked(seed, "seed", Integral, 0)

    def _rng(self, stream: int, *key: int) -> np.random.Generator:
        return np.random.default_rng([stream, self.seed, *key])

    def _brain(self, subject: int) -> Brain:
        subject = checked(subject, "subject", Integral, 1)
        return draw_brain(self._rng(_ANATOMY, subject))

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
        gains = leadfield(self._brain(subject), places_of(self.info))
        return {name: gains[:, i].copy() for i, name in enumerate(SOURCES)}

    def _worn(self, subject: int, session: int) -> np.ndarray:
        """Electrodes as the cap sits in a session, (n_chans, 3), metres."""
        rng = self._rng(_CAP, subject, session)
        turn = Rotation.from_euler("xyz", rng.normal(0, 2.0, 3), degrees=True)
        centre = head_centre()
        return turn.apply(places_of(self.info) - centre) + centre

    def _electrodes(
        self, subject: int, session: int
    ) -> Iterator[tuple[float, np.random.Generator]]:
        """Gain of each electrode, and what draws its noise, by its name alone."""
        for name in self.info["ch_names"]:
            name_key = zlib.crc32(name.encode())
            rng = self._rng(_ELECTRODE, subject, session, name_key)
            yield np.exp(rng.normal(0, 0.1)), rng

    def _amplify(
        self, potentials: np.ndarray, subject: int, session: int
    ) -> mne.io.RawArray:
        """Give each electrode its gain and noise, and resample."""
        electrodes = self._electrodes(subject, session)
        for row, (gain, rng) in zip(potentials, electrodes, strict=True):
            row *= gain
            row += _SENSOR_NOISE * rng.standard_normal(len(row), dtype=np.float32)
        # All is periodic over the recording, so that resampling in the frequency
        # domain has no edges.
        n_times = round(len(row) / RATE * self.info["sfreq"])
        data = resample(potentials, n_times, axis=1)
        return mne.io.RawArray(data, self.info.copy(), verbose="error")

    def _record(
        self, subject: int, session: int, factors: np.ndarray, lag: float
    ) -> tuple[mne.io.RawArray, np.ndarray, np.ndarray]:
        """Record trials whose sources have the amplitudes `factors` (n_trials, 3).

        `lag` is the time in seconds from a trial's onset to its full effect.  Gives the
        recording, the named sources (3, n_times) at `RATE`, 1 being the population's
        root mean square, and the onsets in seconds.
        """
        brain = self._brain(subject)
        rng = self._rng(_WAVES, subject, session)
        pauses = rng.choice([1.5, 2.0, 2.5], len(factors))
        onsets = 2.0 + np.cumsum(pauses + TRIAL_SECONDS) - TRIAL_SECONDS
        seconds = next_fast_len(int(np.ceil(onsets[-1] + TRIAL_SECONDS + 2.0)))
        n_times = seconds * RATE

        starts = np.round((onsets + lag) * RATE).astype(int)
        stops = np.round((onsets + TRIAL_SECONDS) * RATE).astype(int)
        rhythms = rhythms_of(rng, brain, n_times)
        rhythms *= envelope(factors, starts, stops, n_times)
        background = pink_noise(rng, brain.exponents, n_times)

        gains = leadfield(brain, self._worn(subject, session))
        # In float64: sums in float32 would round by as much as 1e-6 otherwise with the
        # number of channels, as BLAS takes other kernels for few.
        potentials = gains @ np.concatenate([rhythms, background])
        raw = self._amplify(potentials, subject, session)
        return raw, brain.strengths[:, None] * rhythms, onsets

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
        session = checked(session, "session", Integral, 0)
        subject = checked(subject, "subject", Integral, 1)
        labels = np.repeat(classes_of(task), checked(n_trials, "n_trials", Integral, 1))
        rng = self._rng(_TRIALS, subject, session)
        rng.shuffle(labels)
        effort = self._brain(subject).depth * rng.uniform(0.6, 1.3, len(labels))
        drop = np.clip(self.erd * effort, 0, 0.95)
        factors = np.exp(rng.normal(0, 0.2, (len(labels), 3)))
        for column, contralateral in enumerate(("right_hand", "left_hand")):
            share = np.where(labels == contralateral, 1.0, _IPSILATERAL)
            share[labels == "rest"] = 0
            factors[:, column] *= 1 - share * drop
        lag = _REACTION_SECONDS + RAMP_SECONDS
        raw, _, onsets = self._record(subject, session, factors, lag)
        return raw.set_annotations(mne.Annotations(onsets, TRIAL_SECONDS, labels))

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

        def one(subject: int) -> tuple[np.ndarray, np.ndarray]:
            raw = self.raw(subject, task=task, n_trials=n_trials)
            marks = raw.annotations
            X = cut_trials(raw.get_data(), raw.info["sfreq"], marks.onset)
            # plain text: scikit-learn refuses the StringDType of MNE's descriptions
            return X, np.array(marks.description.tolist())

        return self._collect(one, n_subjects)

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
        n_trials = checked(n_trials, "n_trials", Integral, 1)

        def one(subject: int) -> tuple[np.ndarray, np.ndarray]:
            alpha, side = self._rng(_TARGETS, subject).normal(0, 1.5, (2, n_trials))
            factors = np.exp(np.stack([side / 4, -side / 4, alpha / 2], axis=1))
            raw, sources, onsets = self._record(subject, 0, factors, lag=0.0)
            powers = np.log(np.mean(cut_trials(sources, RATE, onsets) ** 2, axis=2))
            left, right, occipital = powers.T
            y = np.stack([occipital, left - right], axis=1)
            X = cut_trials(raw.get_data(), self.info["sfreq"], onsets)
            return X, y

        return self._collect(one, n_subjects)

    def _collect(
        self,
        one: Callable[[int], tuple[np.ndarray, np.ndarray]],
        n_subjects: int,
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, mne.Info]:
        """Join the trials and targets of subjects, as ``one`` gives them."""
        parts = [
            (X, y, np.full(len(X), subject))
            for subject in range(1, checked(n_subjects, "n_subjects", Integral, 1) + 1)
            for X, y in [one(subject)]
        ]
        X, y, groups = map(np.concatenate, zip(*parts, strict=True))
        return X, y, groups, self.info.copy()


def cut_trials(signals: np.ndarray, sfreq: float, onsets: np.ndarray) -> np.ndarray:
    """Trials of a recording, (n_trials, n_signals, n_times)."""
    n_times = round(TRIAL_SECONDS * sfreq)
    starts = np.round(onsets * sfreq).astype(int)
    return np.stack([signals[:, start : start + n_times] for start in starts])
