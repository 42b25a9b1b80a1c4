"""A decoder on the windows of one recording, one after the other.

Offline a recording lies complete, and `Alignment` knows all of it.  Here what is known
grows with every window, by the same formulas.
"""

import warnings
from collections.abc import Hashable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from braindecode_samba.estimators.aligning import Alignment, nobody
from braindecode_samba.estimators.decoder import Decoder
from braindecode_samba.signals.arrays import moving
from braindecode_samba.signals.inputs import Windows

# power of the first window against what is known: other units are 1e6 and more
_OTHER_UNIT = 1e5


class FollowedRecording:
    """Outputs of a decoder for windows of a recording that comes bit by bit.

    Parameters
    ----------
    decoder : Decoder
        Fitted; it stays as it is.
    key : hashable
        The recording, as `Decoder.adapt` knows it.
    positions : ndarray, shape (n_chans, 3)
        Its electrodes.
    learning : bool
        Whether windows join what is known of the recording.
    share : float
        How much of a window is new: windows that overlap don't count twice.
    forget : float
        What is left of all that was known when the next window comes.

    Raises
    ------
    ValueError
        If the decoder was adapted to this recording with other electrodes.
    """

    def __init__(
        self,
        decoder: Decoder,
        key: Hashable,
        positions: NDArray[np.float64],
        *,
        learning: bool,
        share: float,
        forget: float,
    ) -> None:
        if not isinstance(key, Hashable):
            raise TypeError(f"group={key!r} names nobody: pass text or a number")
        self._decoder, self._key, self._positions = decoder, key, positions
        self._learning = learning and decoder._alignment.mode != "window"
        self._share, self._forget = share, forget
        self.reset()

    def reset(self) -> None:
        """Know no more than the decoder."""
        learned = self._decoder._alignment
        self._alignment = Alignment(learned.mode, learned.prior, learned.positions)
        self._is_first = True
        person = learned.people.get(self._key)
        if person is not None:
            found = person.at(self._positions)
            if found is None:
                raise ValueError(
                    f"the decoder was adapted to {self._key!r} with "
                    f"{len(person.positions)} electrodes, and the stream has others: "
                    "call adapt with those of the stream"
                )
            self._alignment.people[self._key] = found

    def outputs(self, windows: Windows) -> NDArray[np.float32]:
        """Give outputs (1, n_outputs) for the next window, aligned and centred."""
        keys = np.full(1, self._key)
        windows = replace(windows, groups=keys)
        moves = bool(moving(windows.x).any())
        if moves and self._learning:
            self._warn_of_other_units(windows)
            found = self._alignment.join(
                self._key,
                windows,
                self._decoder._run,
                n_windows=self._share if self._is_known() else 1.0,
                forget=self._forget,
            )
        elif moves or self._is_known():
            found = self._aligned_outputs(windows)
        else:
            # it can't be whitened by itself
            before = self._alignment.people
            self._alignment.people = {**before, self._key: nobody(self._positions)}
            found = self._aligned_outputs(windows)
            self._alignment.people = before
        return self._decoder._centred(found, keys, self._alignment)

    @property
    def parts(self) -> tuple[object, ...]:
        """Objects whose attributes say what is known; none is changed in place."""
        return self, self._alignment

    def _is_known(self) -> bool:
        return self._key in self._alignment.people

    def _aligned_outputs(self, windows: Windows) -> NDArray[np.float32]:
        return self._decoder._run(self._alignment.apply(windows)[0])

    def _warn_of_other_units(self, windows: Windows) -> None:
        if self._is_first and self._is_known():
            person = self._alignment.people[self._key]
            here = windows.x.var(axis=2, dtype=np.float64).mean()
            ratio = here / person.covariance.matrix.diagonal().mean()
            if not 1 / _OTHER_UNIT < ratio < _OTHER_UNIT:
                warnings.warn(
                    f"samples are {np.sqrt(ratio):.0e} times as large as those that "
                    "adapt was given: push the same unit (MNE has volts)",
                    stacklevel=4,
                )
        self._is_first = False
