"""Simulated EEG that responds: evoked potentials, flicker and slow waves.

`ResponseSimulator` puts one more dipole into the heads of `simulation.EEGSimulator`, so
that all that a decoder of rhythms can't read has a known truth too.  Nothing here knows
a model or an estimator, and no global random state is read or written.
"""

from collections.abc import Sequence
from numbers import Integral, Real

import mne
import numpy as np
from numpy.typing import NDArray

from braindecode_samba.signals.simulated_sources import dipoles_below, leadfield
from braindecode_samba.signals.simulation import (
    EEGSimulator,
    checked,
    cut_trials,
    places_of,
)

Trials = tuple[NDArray[np.float64], NDArray[np.str_], NDArray[np.integer], mne.Info]

# electrode above, distance from the centre in head radii, A m where the wave is 1
_SOURCES = {
    "evoked": ("Pz", 0.7, 42e-9),
    "visual": ("Oz", 0.75, 30e-9),
    "steady_state": ("Oz", 0.75, 11e-9),
    "slow_wave": ("Fz", 0.6, 48e-9),
}
_STIMULI_PER_TRIAL = 4  # of an oddball, 1 s apart
_TARGET_SHARE = 0.25
_EARLIER = 0.12  # s, waves of other stimuli before those of targets

# streams of random numbers beside those of `simulation`
_HEADS, _EVOKED, _FLICKER, _SLEEP = range(101, 105)


class ResponseSimulator(EEGSimulator):
    """EEG of `EEGSimulator` at rest, with responses of one more known source.

    An evoked potential below Pz, flicker seen below Oz and slow waves below Fz.
    Subjects differ in place, direction and strength of the source, in latency and in
    how much of a harmonic they show.  Everything else, the arguments too, is as in
    `EEGSimulator`.

    Examples
    --------
    >>> simulator = ResponseSimulator(["Fz", "Cz", "Pz", "Oz"], seed=7)
    >>> X, y, groups, info = simulator.evoked(n_subjects=2, n_trials=20)
    >>> X.shape, y.tolist().count("target")
    ((40, 4, 128), 10)
    """

    def true_patterns(self, subject: int) -> dict[str, NDArray[np.float64]]:
        """Sensor patterns of all named sources, without the session's changes.

        Parameters
        ----------
        subject : int
            From 1.

        Returns
        -------
        dict of str to ndarray of shape (n_chans,)
            As `EEGSimulator.true_patterns`, and volts at each electrode of "evoked" at
            its peak, of "visual" (what target and other stimuli evoke alike), of
            "steady_state" and "slow_wave" at their amplitude in the population.
        """
        own = self._patterns(subject, places_of(self.info))
        return super().true_patterns(subject) | own

    def evoked(
        self, n_subjects: int = 4, n_trials: int = 120, *, strength: float = 1.0
    ) -> Trials:
        """Windows of 1 s from stimuli of which every fourth is a target.

        A target evokes a positive wave below Pz 0.32 to 0.42 s later.  Other stimuli
        evoke one as high 0.12 s before that, so that its time tells them apart and its
        power does not.  Latency and height differ between subjects and trials.  All
        stimuli evoke a short wave below Oz.

        Parameters
        ----------
        n_subjects, n_trials : int
            Number of subjects, and of stimuli a subject.
        strength : float
            Factor on the waves below Pz, from 0 (nothing to decode) to 10.

        Returns
        -------
        X : ndarray of shape (n_trials, n_chans, n_times)
            Volts, 1 s from the stimulus.
        y : ndarray of str, shape (n_trials,)
            "target" or "other".
        groups : ndarray of int, shape (n_trials,)
            Subjects.
        info : mne.Info
            Of the channels of X.
        """
        n_trials = checked(n_trials, "n_trials", Integral, 4)
        strength = checked(strength, "strength", Real, 0, 10)

        def one(subject: int) -> tuple[NDArray[np.float64], NDArray[np.str_]]:
            rng = self._rng(_EVOKED, subject)
            labels = np.where(
                np.arange(n_trials) < round(_TARGET_SHARE * n_trials), "target", "other"
            )
            rng.shuffle(labels)
            X = self._rest(subject, -(-n_trials // _STIMULI_PER_TRIAL))
            X = _split(X, _STIMULI_PER_TRIAL)[:n_trials]
            time = np.arange(X.shape[2]) / self.info["sfreq"]
            latency = rng.uniform(0.32, 0.42) + rng.normal(0, 0.02, n_trials)
            width = rng.uniform(0.05, 0.08)
            latency -= np.where(labels == "target", 0, _EARLIER)
            height = strength * np.exp(rng.normal(0, 0.3, n_trials))
            late = height[:, None] * _bump(time, latency[:, None], width)
            early = _bump(time, 0.11, 0.02) - _bump(time, 0.18, 0.03)
            early = early * np.exp(rng.normal(0, 0.3, (n_trials, 1)))
            self._add(X, subject, "evoked", late)
            self._add(X, subject, "visual", early)
            return X, labels

        return self._collect(one, n_subjects)

    def steady_state(
        self,
        n_subjects: int = 4,
        n_trials: int = 20,
        *,
        frequencies: Sequence[float] = (7.3, 9.0, 10.8, 13.4),
        strength: float = 1.0,
    ) -> Trials:
        """Windows of 4 s in which one of some frequencies is looked at.

        The phase is another in each trial: the frequency and its second harmonic are
        all that tells the trials apart.

        Parameters
        ----------
        n_subjects, n_trials : int
            Number of subjects, and of trials of each frequency a subject.
        frequencies : sequence of float
            Of the flicker, Hz, from 1 to 60.
        strength : float
            Factor on the response, from 0 (nothing to decode) to 10.

        Returns
        -------
        X : ndarray of shape (n_trials, n_chans, n_times)
            Volts, 4 s.
        y : ndarray of str, shape (n_trials,)
            Frequencies as text, such as "7.3".
        groups : ndarray of int, shape (n_trials,)
            Subjects.
        info : mne.Info
            Of the channels of X.
        """
        known = [
            checked(one, "each of frequencies", Real, 1, 60) for one in frequencies
        ]
        n_trials = checked(n_trials, "n_trials", Integral, 1)
        strength = checked(strength, "strength", Real, 0, 10)

        def one(subject: int) -> tuple[NDArray[np.float64], NDArray[np.str_]]:
            rng = self._rng(_FLICKER, subject)
            flicker = rng.permutation(np.repeat(known, n_trials))
            X = self._rest(subject, len(flicker))
            time = np.arange(X.shape[2]) / self.info["sfreq"]
            phase = 2 * np.pi * (np.outer(flicker, time) + rng.random((len(X), 1)))
            second = rng.uniform(0.3, 0.6) * np.cos(2 * phase + rng.uniform(0, 6))
            height = strength * np.exp(rng.normal(0, 0.3, (len(X), 1)))
            self._add(X, subject, "steady_state", height * (np.cos(phase) + second))
            return X, np.array([f"{one:g}" for one in flicker])

        return self._collect(one, n_subjects)

    def slow_waves(
        self, n_subjects: int = 4, n_trials: int = 30, *, strength: float = 1.0
    ) -> Trials:
        """Windows of 4 s with or without slow waves below 2 Hz, as in deep sleep.

        Parameters
        ----------
        n_subjects, n_trials : int
            Number of subjects, and of trials of each class a subject.
        strength : float
            Factor on the waves, from 0 (nothing to decode) to 10.

        Returns
        -------
        X : ndarray of shape (n_trials, n_chans, n_times)
            Volts, 4 s.
        y : ndarray of str, shape (n_trials,)
            "deep" or "light".
        groups : ndarray of int, shape (n_trials,)
            Subjects.
        info : mne.Info
            Of the channels of X.
        """
        n_trials = checked(n_trials, "n_trials", Integral, 1)
        strength = checked(strength, "strength", Real, 0, 10)

        def one(subject: int) -> tuple[NDArray[np.float64], NDArray[np.str_]]:
            rng = self._rng(_SLEEP, subject)
            labels = rng.permutation(np.repeat(["deep", "light"], n_trials))
            X = self._rest(subject, len(labels))
            time = np.arange(X.shape[2]) / self.info["sfreq"]
            wave = np.zeros((len(X), len(time)))
            for _ in range(4):
                frequency, phase = rng.uniform(
                    [[0.5], [0.0]], [[1.5], [1.0]], (2, len(X))
                )
                wave += np.cos(2 * np.pi * (np.outer(frequency, time) + phase[:, None]))
            height = strength * np.exp(rng.normal(0, 0.3, len(X))) * (labels == "deep")
            self._add(X, subject, "slow_wave", height[:, None] * wave / 2)
            return X, labels

        return self._collect(one, n_subjects)

    def _rest(self, subject: int, n_trials: int) -> NDArray[np.float64]:
        """Trials of 4 s in which nothing happens, (n_trials, channels, times)."""
        raw, _, onsets = self._record(subject, 0, np.ones((n_trials, 3)), lag=0.0)
        return cut_trials(raw.get_data(), self.info["sfreq"], onsets)

    def _add(
        self,
        X: NDArray[np.float64],
        subject: int,
        source: str,
        waves: NDArray[np.float64],
    ) -> None:
        """Add what a source sends, (n_trials, times), to trials, in place."""
        pattern = self._patterns(subject, self._worn(subject, 0))[source]
        gains = np.array([gain for gain, _ in self._electrodes(subject, 0)])
        X += (gains * pattern)[:, None] * waves[:, None]

    def _patterns(
        self, subject: int, electrodes: NDArray[np.float64]
    ) -> dict[str, NDArray[np.float64]]:
        anchors, depths, moments = zip(*_SOURCES.values(), strict=True)
        sources, _ = dipoles_below(self._rng(_HEADS, subject), anchors, depths, moments)
        return dict(zip(_SOURCES, leadfield(sources, electrodes).T, strict=True))


def _split(X: NDArray[np.float64], n_pieces: int) -> NDArray[np.float64]:
    """Trials cut into pieces of equal length, one after the other."""
    n_times = X.shape[2] // n_pieces
    pieces = X[..., : n_pieces * n_times].reshape(*X.shape[:2], n_pieces, n_times)
    return pieces.transpose(0, 2, 1, 3).reshape(-1, X.shape[1], n_times)


def _bump(
    time: NDArray[np.float64], latency: float | NDArray[np.float64], width: float
) -> NDArray[np.float64]:
    return np.exp(-0.5 * ((time - latency) / width) ** 2)
