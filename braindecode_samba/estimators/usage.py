"""What windows of a fit were like, so that those of another kind are refused.

A decoder that ships meets files that its makers have never seen: too short, filtered
otherwise, or recorded elsewhere on the head.
"""

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.distance import cdist

from braindecode_samba.signals.heads import distinct_heads
from braindecode_samba.signals.inputs import Windows
from braindecode_samba.signals.template import target_names, target_positions

# about the spacing of the 10-20 system, metres
_REACH = 0.04
# share of the length, of the octaves and of the places of the fit that must be there
_LEAST = 0.5
# Hz: what is read at all, where a filter was open
_READ = (0.5, 45.0)


class Usage(NamedTuple):
    """What windows of a fit were like.

    Parameters
    ----------
    seconds : float
        Length of a window.
    band : tuple of float
        Edges of what they hold, Hz.
    places : list of str
        Targets that every one of several montages of the fit measured.
    """

    seconds: float
    band: tuple[float, float]
    places: list[str]

    @classmethod
    def learn(cls, windows: Windows) -> "Usage":
        """Describe training windows, those of several montages among them.

        Raises
        ------
        ValueError
            If filters and rate leave them no band.
        """
        band = _held(windows.band, windows.sfreq)
        if not 0 < band[0] < band[1]:
            raise ValueError(
                f"X holds {_edges(*band)} at a rate of {windows.sfreq:g} Hz, and there "
                "is nothing to read: pass windows of which filters have left a band"
            )
        places: list[str] = []
        if windows.positions.ndim == 3:
            common = np.ones(len(target_names()), bool)
            for measured in _montages(windows):
                common &= _covered(measured)
            names = np.array(target_names())[common]
            places = names.tolist()
        seconds = windows.x.shape[2] / windows.sfreq
        return cls(seconds, band, places)

    def refuse_others(self, windows: Windows) -> None:
        """Refuse windows of another kind.

        Raises
        ------
        ValueError
            If they are shorter than half, hold less than half of the octaves, or their
            electrodes miss half of the places.
        """
        seconds = windows.x.shape[2] / windows.sfreq
        if seconds < _LEAST * self.seconds:
            raise ValueError(
                f"X has windows of {seconds:.3g} s, and the decoder reads windows of "
                f"{self.seconds:.3g} s: cut longer ones"
            )
        self.refuse_band(windows.band, windows.sfreq)
        if not self.places:
            return
        wanted = np.isin(target_names(), self.places)
        for measured in _montages(windows):
            if _covered(measured)[wanted].mean() <= _LEAST:
                shown = ", ".join(self.places[:6])
                raise ValueError(
                    f"X has {len(measured)} electrodes and too few around {shown}, "
                    "where this decoder reads: record some there, or fit a decoder on "
                    "your montage"
                )

    def refuse_band(self, filtered: tuple[float, float] | None, sfreq: float) -> None:
        """Refuse windows that lack most of what the decoder reads.

        Parameters
        ----------
        filtered : tuple of float, or None
            Edges of what filters have left, Hz, where somebody says so.
        sfreq : float
            Their rate, Hz.

        Raises
        ------
        ValueError
            If they do.
        """
        band = _passed(filtered, sfreq)
        low, high = max(band[0], self.band[0]), min(band[1], self.band[1])
        share = math.log2(max(high / low, 1)) / math.log2(self.band[1] / self.band[0])
        if share < _LEAST:
            raise ValueError(
                f"X holds {_edges(*_held(filtered, sfreq))} at a rate of {sfreq:g} Hz, "
                f"and the decoder reads {_edges(*self.band)}: record or filter that "
                "band"
            )


_edges = "{:.3g} to {:.3g} Hz".format


def _passed(filtered: tuple[float, float] | None, sfreq: float) -> tuple[float, float]:
    """Edges of what filters and rate have left."""
    low, high = filtered or (0.0, math.inf)
    return low, min(high, sfreq / 2)


def _held(filtered: tuple[float, float] | None, sfreq: float) -> tuple[float, float]:
    """Edges of what windows hold, as far as anything is read; all where nothing is."""
    passed = _passed(filtered, sfreq)
    read = max(passed[0], _READ[0]), min(passed[1], _READ[1])
    return read if read[0] < read[1] else passed


def _montages(windows: Windows) -> list[NDArray[np.float64]]:
    """Positions of the electrodes of each montage."""
    if windows.positions.ndim == 2:
        return [windows.positions]
    return distinct_heads(windows.positions, windows.ch_mask)


def _covered(positions: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Tell which targets have an electrode near."""
    return cdist(target_positions(), positions).min(axis=1) <= _REACH
