"""Mirrored heads: left and right electrodes exchanged, for augmentation.

What a mirrored head means for the labels is for the caller to say.
"""

from collections.abc import Hashable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import linear_sum_assignment
from scipy.spatial.distance import cdist
from sklearn.utils import check_consistent_length, check_random_state

from braindecode_samba.signals.arrays import as_array, as_numbers
from braindecode_samba.signals.inputs import RandomState, Windows
from braindecode_samba.signals.montages import check_positions


def mirror_channels(positions: ArrayLike, tolerance: float = 0.02) -> NDArray[np.int64]:
    """Find the channel on the other side of the head for each channel.

    Parameters
    ----------
    positions : array-like, shape (n_chans, 3)
        Electrodes, MNE head frame (x to the right), metres.
    tolerance : float
        Largest distance, m, between an electrode and the mirror image of its partner.

    Returns
    -------
    ndarray of int, shape (n_chans,)
        ``x[mirror_channels(pos)]`` is the mirrored head; those on the midline are their
        own partners.

    Raises
    ------
    ValueError
        If an electrode has no partner.
    """
    places = check_positions(positions)
    distances = cdist(places, places * [-1, 1, 1])
    _, partners = linear_sum_assignment(distances**2)
    if (distances[np.arange(len(places)), partners] > tolerance).any():
        worst = int(distances.min(axis=1).argmax())
        raise ValueError(
            f"channel {worst} has no electrode within {tolerance * 1e3:g} mm of its "
            "mirrored place: leave channels out until each has a partner"
        )
    return partners


def mirror_windows(
    X: ArrayLike,
    y: ArrayLike,
    positions: ArrayLike,
    exchanged: Mapping[Any, Any],
    *,
    share: float = 0.5,
    random_state: RandomState = None,
) -> tuple[NDArray[np.floating[Any]], NDArray[Any]]:
    """Mirror a random share of windows, and exchange their labels.

    Parameters
    ----------
    X : array-like, shape (n, n_chans, n_times)
        Windows.
    y : array-like, shape (n,)
        Labels.
    positions : array-like, shape (n_chans, 3)
        As for `mirror_channels`.
    exchanged : mapping
        The label of a mirrored window for each label, as ``{"left": "right", "right":
        "left"}``; labels that are not in it stay.
    share : float
        Share of the windows to mirror, from 0 to 1.
    random_state : int, RandomState instance or None
        Draws the windows.

    Returns
    -------
    X : ndarray, shape (n, n_chans, n_times)
        A copy in which ``round(share * n)`` windows are mirrored.
    y : ndarray, shape (n,)
        Their labels.

    Raises
    ------
    ValueError
        If an electrode has no partner, or X and y don't fit.
    """
    windows = as_numbers(X, "X").copy()
    labels = as_array(y, "y").copy()
    _refuse_no_pairs(exchanged)
    check_consistent_length(windows, labels)
    if not 0 <= share <= 1:
        raise ValueError(f"share={share} is no share: pass a number from 0 to 1")
    partners = mirror_channels(positions)
    if windows.ndim != 3 or windows.shape[1] != len(partners):
        raise ValueError(
            f"X has shape {windows.shape} and there are {len(partners)} positions: "
            "pass (n, channels, times), one position a channel"
        )
    if random_state is None:
        # numpy's global state is not ours to advance
        random_state = np.random.RandomState()
    rng = check_random_state(random_state)
    chosen = rng.permutation(len(windows))[: round(share * len(windows))]
    windows[chosen] = windows[chosen][:, partners]
    labels[chosen] = [exchanged.get(label, label) for label in labels[chosen].tolist()]
    return windows, labels


def mirrored_too(
    windows: Windows, y: ArrayLike, exchanged: Mapping[Any, Any]
) -> Windows:
    """Windows, and behind each its mirror image, with its label exchanged.

    A mirrored recording is one of its own, since its electrodes are others, and belongs
    to the same person.  Whoever splits windows without knowing people finds a window
    and its image side by side.

    Parameters
    ----------
    windows : Windows
        Of one montage, in which each electrode has a partner.
    y : array-like, shape (n,)
        Labels.
    exchanged : mapping
        The label of a mirrored window; each pair may be named once, and labels that
        are not in it stay.

    Returns
    -------
    Windows
        Twice as many, with ``y``.

    Raises
    ------
    ValueError
        If an electrode has no partner, or a label of `exchanged` is not in y.
    """
    labels = as_array(y, "y")
    _refuse_no_pairs(exchanged)
    known = set(labels.tolist())
    pairs = {value: key for key, value in exchanged.items()} | dict(exchanged)
    if strange := [label for label in pairs if label not in known]:
        raise ValueError(
            f"mirror names {strange}, which are no labels of y: pass two of "
            f"{sorted(known, key=str)}"
        )
    if windows.positions.ndim == 3:
        raise ValueError(
            "mirror needs one montage, and X holds several: leave mirror out, or pass "
            "one montage at a time"
        )
    partners = mirror_channels(windows.positions)
    mirrored = np.array([pairs.get(label, label) for label in labels.tolist()])
    people = windows.people
    return replace(
        windows,
        x=_in_pairs(windows.x, windows.x[:, partners]),
        y=_in_pairs(labels, mirrored),
        groups=None if windows.groups is None else _recordings(windows.groups),
        subjects=None if people is None else _in_pairs(people, people),
    )


def _refuse_no_pairs(exchanged: Mapping[Any, Any]) -> None:
    if not isinstance(exchanged, Mapping) or not all(
        isinstance(label, Hashable) for label in exchanged.values()
    ):
        raise TypeError(
            f"{exchanged!r:.80} exchanges no labels: pass a dict of these, such as "
            "{'left': 'right'}"
        )


def _in_pairs(first: NDArray[Any], second: NDArray[Any]) -> NDArray[Any]:
    """Rows of both in turn."""
    return np.stack([first, second], 1).reshape(-1, *first.shape[1:])


def _recordings(groups: NDArray[Any]) -> NDArray[Any]:
    """Names of recordings and of their mirror images, which are heads of their own."""
    names = [str(name) for name in groups.tolist()]
    return _in_pairs(np.array(names), np.array([f"{name}, mirrored" for name in names]))
