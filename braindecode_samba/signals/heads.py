"""Whether measured places can be those of electrodes of such names on a head.

Caps, children and digitisers differ from the template by centimetres.  What is refused
differs in kind: no head has that size, or left is right, or names lie elsewhere.
"""

import re

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.distance import cdist

from braindecode_samba.signals.fitting import distances, least_absolute

CHOICES = ("checked", "measured", "names")
ADVICE = (
    "pass positions='names' for the places of the names, or positions='measured' if "
    "they lie there indeed (to a model: as a key of each entry of chs_info)"
)
# metres: from newborns to adults with caps
_SMALLEST, _LARGEST = 0.04, 0.2
# metres from the origin; random positions in a unit cube stay below
_FARTHEST = 2.0
# fewer names could lie anywhere, and through fewer places goes a sphere by chance
_FEWEST_NAMES, _FEWEST_PLACES = 4, 12

_LARGEST_TURN = 28.0  # degrees, of many; caps of MNE are up to 10 from the template
_NEAR = 0.025  # metres, of the median electrode: below it, nothing is wrong
_FAR = 0.07  # metres, of any electrode, behind the best fit
# metres, of two electrodes that are so far apart: by how much both lie better in each
# other's place. Of 1,480 honest heads, jittered, turned and resized, 0.0104 is the most
_APART, _BETTER = 0.03, 0.015
# aF3 is no AF3; T1 and T2 lie where the clinic puts them
_DOUBTFUL = re.compile(r"[a-z][A-Z].*|[Tt][12]")


def distinct_heads(
    positions: NDArray[np.float64], present: NDArray[np.bool_] | None = None
) -> list[NDArray[np.float64]]:
    """Places of each head once, as windows of a recording share theirs.

    Parameters
    ----------
    positions : ndarray, shape (n_windows, n_chans, 3)
        Of each window.
    present : ndarray of bool, shape (n_windows, n_chans), optional
        Which channels are there.

    Returns
    -------
    list of ndarray, each (n, 3)
        In the order in which they come.
    """
    found = {}
    for row, places in enumerate(positions):
        head = places if present is None else places[present[row]]
        found[head.tobytes()] = head
    return list(found.values())


def refuse_other_units(points: NDArray[np.float64]) -> None:
    """Refuse places, shape (n, 3), that are far beyond metres.

    Raises
    ------
    ValueError
        If their median distance from the origin is above 2.
    """
    # hypot, as squares of absurd numbers would overflow with a warning
    norm = float(np.median(np.hypot.reduce(points, axis=1)))
    if norm > _FARTHEST:
        raise ValueError(
            f"the median distance of the electrodes from the origin is {norm:.4g}: "
            "not metres (millimetres or centimetres?); pass positions in metres"
        )


def refuse_no_head(points: NDArray[np.float64]) -> None:
    """Refuse places, shape (n, 3), on a sphere that is no head.

    Random places, or those of few electrodes, lie on none.

    Raises
    ------
    ValueError
        If its radius is outside 0.04 to 0.2 metres, these are no metres, or all of
        them lie in one place.
    """
    refuse_other_units(points)
    if len(points) >= _FEWEST_NAMES and not np.ptp(points, axis=0).any():
        raise ValueError(
            f"all {len(points)} electrodes lie in one place: pass where each lies"
        )
    if len(points) < _FEWEST_PLACES:
        return
    centred = points - points.mean(axis=0)
    squares = (centred**2).sum(axis=1)
    equations = np.hstack([2 * centred, np.ones((len(points), 1))])
    *centre, rest = np.linalg.lstsq(equations, squares, rcond=1e-6)[0]
    radius = float(np.sqrt(max(rest + np.dot(centre, centre), 0.0)))
    off = np.linalg.norm(centred - centre, axis=1) - radius
    is_sphere = np.sqrt((off**2).sum() / (len(points) - 4)) < 0.12 * radius
    # a small patch has no radius
    if is_sphere and squares.max() > (0.8 * radius) ** 2:
        _refuse_radius(radius)


def _refuse_radius(radius: float) -> None:
    if not _SMALLEST <= radius <= _LARGEST:
        raise ValueError(
            f"the electrodes lie on a sphere with a radius of {radius:.4g}, not metres "
            f"of a head, which has {_SMALLEST:g} to {_LARGEST:g}: pass positions in "
            "metres"
        )


def settle_places(
    names: list[str],
    measured: NDArray[np.float64],
    template: NDArray[np.float64],
    choice: str = "checked",
) -> NDArray[np.float64]:
    """Take the places that were measured, or those of the names.

    Parameters
    ----------
    names : list of str
        Names of single electrodes.
    measured : ndarray, shape (n, 3)
        Where they are said to lie, metres.
    template : ndarray, shape (n, 3)
        Where the template has electrodes of these names; NaN for unknown names.
    choice : {"checked", "measured", "names"}
        Refuse places that contradict the names, take them all the same, or take those
        of the names where these are known.

    Returns
    -------
    ndarray, shape (n, 3)
        Metres.

    Raises
    ------
    ValueError
        If they contradict each other.
    """
    if choice not in CHOICES:
        raise ValueError(f"positions={choice!r} is unknown: pass one of {CHOICES}")
    if choice == "names":
        return np.where(np.isfinite(template), template, measured)
    if choice == "checked" and (said := contradiction(names, measured, template)):
        raise ValueError(f"{said}; {ADVICE}")
    return measured


def contradiction(
    names: list[str], measured: NDArray[np.float64], template: NDArray[np.float64]
) -> str | None:
    """Say how places contradict names, or None; arguments as for `settle_places`.

    Only caps of which half of the names are known are judged: "C3" of a cap that counts
    from A1 to C32 is another one.
    """
    sure = [_DOUBTFUL.fullmatch(name.strip()) is None for name in names]
    judged = np.isfinite(template).all(axis=1) & np.array(sure, dtype=bool)
    if judged.sum() < max(_FEWEST_NAMES, len(names) / 2):
        return None
    source, goal = measured[judged], template[judged]
    apart = np.linalg.norm(source - goal, axis=1)
    if apart.max() < _NEAR:
        return None
    try:
        linear, shift = least_absolute(source, goal)
        left = distances(source, goal, linear, shift)
        flipped = source * [-1.0, 1.0, 1.0]
        mirrored = distances(flipped, goal, *least_absolute(flipped, goal))
    except ValueError:  # they lie on one line, which has no sides
        return None
    size = np.cbrt(np.linalg.det(linear))
    turn = np.degrees(np.arccos(np.clip((np.trace(linear) / size - 1) / 2, -1, 1)))
    # what remains without turning
    unturned = size * (source - np.median(source, 0)) - goal + np.median(goal, 0)
    pair = _exchanged(cdist(source @ linear.T + shift, goal), goal)
    if np.median(left) < _NEAR:
        # of the template's head, which has 0.1
        _refuse_radius(0.1 / float(size))
    if np.median(left) > _NEAR and mirrored.sum() < left.sum() / 2:
        what = "are a mirror image of"
    elif np.median(left) < _NEAR < np.median(np.linalg.norm(unturned, axis=1)) and (
        turn > _LARGEST_TURN * (1 + 1 / len(source))
    ):
        what = f"are turned by {turn:.0f} degrees from"
    elif left.max() > _FAR:
        what, apart = "contradict", left
    elif len(pair):
        what, apart = "exchange neighbours in", left
    else:
        return None
    rows = pair if what.startswith("exchange") else np.argsort(-apart)[:3]
    chosen = [name for name, is_judged in zip(names, judged, strict=True) if is_judged]
    worst = ", ".join(f"{chosen[i]!r} {100 * apart[i]:.0f} cm" for i in rows)
    return (
        f"the measured positions {what} the places of the names (farthest off: {worst})"
    )


def _exchanged(
    found: NDArray[np.float64], goal: NDArray[np.float64]
) -> NDArray[np.intp]:
    """Rows of two electrodes that lie better in each other's places, or none.

    ``found`` holds distances (n, n) of all electrodes to all places.
    """
    own = np.diag(found)
    better = np.minimum.outer(own, own) - np.maximum(found, found.T)
    better[cdist(goal, goal) < _APART] = 0.0
    pair = np.array(np.unravel_index(better.argmax(), better.shape))
    return pair if better.max() > _BETTER else pair[:0]
