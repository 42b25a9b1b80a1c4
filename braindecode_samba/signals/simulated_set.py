"""Simulated motor imagery as a MOABB data set that needs no download."""

import hashlib
from collections.abc import Sequence
from numbers import Integral

import mne
import numpy as np

from braindecode_samba._version import __version__
from braindecode_samba.signals.simulation import (
    TRIAL_SECONDS,
    EEGSimulator,
    Task,
    checked,
    classes_of,
    places_of,
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


class SimulatedMotorImagery(BaseDataset):
    """Motor imagery for MOABB that needs no download.

    Each run is `EEGSimulator.raw`, made anew in less than a second a subject whenever
    MOABB asks.  ``code``, under which MOABB files its scores, ends in a hash of all
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
        n_subjects = checked(n_subjects, "n_subjects", Integral, 1)
        n_sessions = checked(n_sessions, "n_sessions", Integral, 1)
        self.n_trials = checked(n_trials, "n_trials", Integral, 1)
        self.task = task
        events = {name: i for i, name in enumerate(classes_of(task), start=1)}
        settings = (n_subjects, n_sessions, self.n_trials, task)
        super().__init__(
            subjects=list(range(1, n_subjects + 1)),
            sessions_per_subject=n_sessions,
            events=events,
            code=f"SimulatedMotorImagery-{_digest(self.simulator, settings)}",
            interval=[0, TRIAL_SECONDS],
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
    places = np.round(places_of(info), 6) + 0.0  # no negative zeros
    numbers = (info["sfreq"], simulator.erd, simulator.seed)
    text = repr((__version__, settings, numbers, info["ch_names"], places.tolist()))
    return hashlib.sha256(text.encode()).hexdigest()[:8]
