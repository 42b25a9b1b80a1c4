"""Alignment inside decoders: the same is done to all that comes as to the training.

`Alignment` knows the training recordings' mean covariance and whoever was adapted to.
The arithmetic is in `braindecode_samba.signals.whitening`.
"""

import functools
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field, replace
from typing import Any

import mne
import numpy as np
from numpy.typing import NDArray

from braindecode_samba.signals.inputs import Windows
from braindecode_samba.signals.whitening import (
    PRIOR_WINDOWS,
    Covariance,
    blend,
    carry_over,
    covariance_of,
    inverse_root,
    mean_shape,
    same_places,
)

# name of a recording that has none
ALONE: Hashable = ""
# share of recordings that must hold several labels for these to be no property of them
_MOST_RECORDINGS = 0.5
_LEAST_WITHIN = 0.1


@dataclass(frozen=True)
class Person:
    """What is known of somebody from unlabelled windows.

    Parameters
    ----------
    covariance : Covariance
        Of the electrodes at ``positions``.
    positions : ndarray, shape (n_chans, 3)
        Head frame, metres.
    level : ndarray, shape (n_outputs,)
        Mean output of the network.
    """

    covariance: Covariance
    positions: NDArray[np.float64]
    level: NDArray[np.float64]

    def at(self, positions: NDArray[np.float64]) -> "Person | None":
        """Give the same at some of the electrodes, in their order, or None."""
        order = same_places(positions, self.positions)
        if order is None:
            return None
        matrix = self.covariance.matrix[np.ix_(order, order)]
        covariance = self.covariance._replace(matrix=matrix)
        return Person(covariance, positions, self.level)


def nobody(positions: NDArray[np.float64]) -> Person:
    """Give a person of whom nothing is known."""
    return Person(Covariance(0.0, np.eye(len(positions))), positions, np.zeros(1))


@dataclass(eq=False)
class Alignment:
    """What a decoder does to the signals of a recording before it reads them.

    Parameters
    ----------
    mode : {"whiten", "scale", "window", "none"}
        Whether recordings are whitened, brought to one size, or windows are.
    prior : ndarray, shape (n_chans, n_chans), optional
        Mean covariance of the training recordings, with a mean power of 1.
    positions : ndarray, shape (n_chans, 3), optional
        Its electrodes.
    people : dict of Person
        Those who were adapted to, by the name of the recording.
    """

    mode: str
    prior: NDArray[np.float64] | None = None
    positions: NDArray[np.float64] | None = None
    people: dict[Hashable, Person] = field(default_factory=dict)

    @classmethod
    def learn(cls, mode: str, windows: Windows) -> "Alignment":
        """Learn the prior from training windows whose recordings are known."""
        if mode != "whiten":
            return cls(mode)
        assert windows.groups is not None  # `choose_mode` asks for these
        found, places = {}, {}
        for key in np.unique(windows.groups).tolist():
            rows = np.flatnonzero(windows.groups == key)
            x, positions = signals_of(windows, rows)
            found[key], places[key] = covariance_of(x, key), positions
        # several montages meet at the electrodes of the largest
        largest = max(places.values(), key=len)
        moved = {
            key: Covariance(
                one.n_windows,
                carry_over(mean_shape({key: one}), places[key], largest),
            )
            for key, one in found.items()
        }
        return cls(mode, mean_shape(moved), largest)

    def apply(self, windows: Windows) -> tuple[Windows, NDArray[Any]]:
        """Align windows.

        Parameters
        ----------
        windows : Windows
            Without groups they are one recording. Those who were adapted to are aligned
            by what is known of them.

        Returns
        -------
        windows : Windows
            Aligned copies.
        keys : ndarray, shape (n,)
            The recording of each.
        """
        keys = self.keys(windows)
        if self.mode == "none":
            return windows, keys
        x = windows.x.copy()
        if self.mode == "window":
            _scale(x, x)
            return replace(windows, x=x), keys
        for key in np.unique(keys).tolist():
            rows = np.flatnonzero(keys == key)
            own, positions = signals_of(windows, rows)
            person = self._known(key, positions)
            if self.mode == "whiten":
                known = covariance_of(own, key) if person is None else person.covariance
                own = self.whitener(known, positions) @ own
            elif person is None:
                _scale(own, own, together=True)
            else:
                own /= np.float32(np.sqrt(person.covariance.matrix.diagonal().mean()))
            x[rows, : own.shape[1]] = own
        return replace(windows, x=x), keys

    def _known(self, key: Hashable, positions: NDArray[np.float64]) -> Person | None:
        person = self.people.get(key)
        if person is None:
            return None
        found = person.at(positions)
        if found is None:
            raise ValueError(
                f"recording {key!r} was adapted to with {len(person.positions)} "
                f"electrodes and comes with {len(positions)}, some at other places: "
                "call adapt again with these"
            )
        return found

    def join(
        self,
        key: Hashable,
        windows: Windows,
        run: Callable[[Windows], NDArray[np.float32]],
        *,
        n_windows: float | None = None,
        forget: float = 1.0,
    ) -> NDArray[np.float32]:
        """Let windows join what is known of a person.

        Parameters
        ----------
        key : hashable
            The person.
        windows : Windows
            Without labels; they move.
        run : callable
            Outputs of the network for aligned windows.
        n_windows : float, optional
            How many windows they count for; by default as many as they are.
        forget : float
            How much of what was known remains.

        Returns
        -------
        ndarray of float32, shape (n, n_outputs)
            Outputs, aligned by all that is known now.
        """
        x, positions = signals_of(windows, np.arange(len(windows.x)))
        new = covariance_of(x, key)
        if n_windows is not None:
            new = new._replace(n_windows=n_windows)
        known = self.people.get(key)
        # of other electrodes it says nothing
        known = None if known is None else known.at(positions)
        known = known or nobody(positions)
        covariance = known.covariance.joined(new, forget)
        met = Person(covariance, positions, known.level)
        # never in place: who is interrupted has the dict of before
        self.people = {**self.people, key: met}
        named = replace(windows, groups=np.full(len(windows.x), key))
        outputs = run(self.apply(named)[0])
        before = forget * known.covariance.n_windows
        total = before * known.level + new.n_windows * outputs.mean(axis=0)
        level = (total / (before + new.n_windows)).astype(np.float64)
        self.people = {**self.people, key: replace(met, level=level)}
        return outputs

    def whitener(
        self, covariance: Covariance, positions: NDArray[np.float64]
    ) -> NDArray[np.float32]:
        """Matrix (n_chans, n_chans) that whitens a recording."""
        assert self.prior is not None
        assert self.positions is not None
        prior = carry_over(self.prior, self.positions, positions)
        return inverse_root(blend(covariance, prior)).astype(np.float32)

    def keys(self, windows: Windows) -> NDArray[Any]:
        """Tell the recording of each window; one where nobody says."""
        if windows.groups is not None:
            return windows.groups
        return np.full(len(windows.x), ALONE)

    def centre(
        self, outputs: NDArray[np.float32], keys: NDArray[Any], level: NDArray[Any]
    ) -> NDArray[np.float32]:
        """Remove what a recording's outputs have in common, as in training.

        Parameters
        ----------
        outputs : ndarray, shape (n, n_outputs)
            Of the network.
        keys : ndarray, shape (n,)
            Recordings.
        level : ndarray, shape (n_outputs,)
            Mean output over the training windows: what remains.
        """
        centred = outputs.copy()
        for key in np.unique(keys).tolist():
            rows = keys == key
            person = self.people.get(key)
            if person is None:
                n, mean = float(rows.sum()), outputs[rows].mean(axis=0)
            else:
                n, mean = person.covariance.n_windows, person.level
            centred[rows] -= (n / (n + PRIOR_WINDOWS) * (mean - level)).astype(
                outputs.dtype
            )
        return centred


def choose_mode(align: str | bool, windows: Windows, targets: NDArray[Any]) -> str:
    """Decide how recordings are aligned.

    What is a property of a whole recording, as a diagnosis, lies in the covariance
    that whitening removes: whitened is where targets vary within recordings.

    Parameters
    ----------
    align : "auto" or bool
        What the user wants.
    windows : Windows
        Training windows.
    targets : ndarray, shape (n,) or (n, n_targets)
        Numbers of classes, or standardised numbers.

    Raises
    ------
    ValueError
        If alignment is demanded and nobody says whose the windows are.
    """
    if align is False:
        return "window" if windows.groups is None else "scale"
    if windows.groups is None:
        if align is True:
            raise ValueError(
                "align=True needs to know whose recording each window is of: pass "
                "groups= to fit, or Epochs with the column 'recording' or 'subject' in "
                "their metadata"
            )
        return "window"
    if align is True or _varies_within(targets, windows.groups):
        return "whiten"
    return "scale"


def _varies_within(targets: NDArray[Any], groups: NDArray[Any]) -> bool:
    keys = np.unique(groups)
    if targets.ndim == 1:
        several = [len(np.unique(targets[groups == key])) > 1 for key in keys]
        return float(np.mean(several)) > _MOST_RECORDINGS
    within = sum(
        ((targets[groups == key] - targets[groups == key].mean(0)) ** 2).sum()
        for key in keys
    )
    return bool(within > _LEAST_WITHIN * ((targets - targets.mean(0)) ** 2).sum())


def signals_of(
    windows: Windows, rows: NDArray[np.intp]
) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    """Signals (n, channels, times) of one recording, and its electrodes."""
    positions = windows.positions
    if positions.ndim == 3:
        positions = positions[rows[0]]
    x = windows.x[rows]
    if windows.ch_mask is None:
        return x, positions
    n = int(windows.ch_mask[rows[0]].sum())
    return x[:, :n], positions[:n]


def _scale(
    x: NDArray[np.float32], to: NDArray[np.float32], *, together: bool = False
) -> None:
    """Divide windows by their size, each by its own or all by one, in place."""
    power = x.astype(np.float64).var(axis=2).mean(axis=1)
    size = np.sqrt(power.mean(keepdims=True) if together else power)
    to /= np.where(size > 0, size, 1.0)[:, None, None].astype(np.float32)


@functools.cache
def say_unaligned() -> None:
    """Say it once: whoever never has groups need not read it at every fit."""
    mne.utils.logger.info(
        "SAMBA is fitted without alignment, which is worth up to 0.10 AUC: pass "
        "groups= (the recording of each window), or Epochs with 'subject' in their "
        "metadata. align=False fits so on purpose."
    )
