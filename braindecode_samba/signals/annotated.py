"""What annotations exclude: stretches whose description begins with "bad", as in MNE.

They count nowhere: neither for scales and statistics nor for alignment and thresholds.
"""

import mne
import numpy as np
from numpy.typing import NDArray

__all__ = ["BAD_CHOICES", "BadSamples", "set_apart"]

# what may become of results inside such stretches
BAD_CHOICES = ("mark", "nan", "use")


class BadSamples:
    """Which samples of a recording lie in stretches that are annotated as bad.

    Parameters
    ----------
    raw : mne.io.BaseRaw
        The recording; its samples are not read.

    Attributes
    ----------
    any : bool
        Whether there is such an annotation at all.
    """

    def __init__(self, raw: mne.io.BaseRaw) -> None:
        descriptions = [text.lower() for text in raw.annotations.description]
        self.any = any(text.startswith("bad") for text in descriptions)
        if not self.any:
            return
        # MNE knows how onsets, dates and first samples go together; the zeros of a
        # whole recording take no memory until they are read
        info = mne.create_info(1, raw.info["sfreq"])
        self._zeros = mne.io.RawArray(
            np.zeros((1, raw.n_times)), info, first_samp=raw.first_samp, verbose="error"
        )
        self._zeros.set_meas_date(raw.info["meas_date"])
        told = raw.annotations
        # without a date MNE takes onsets from the first sample, and adds its time
        late = raw.first_time if told.orig_time is None else 0.0
        # what lasts no time, as the seam of two recordings, makes one sample bad; what
        # is bad in one channel is bad
        marks = mne.Annotations(
            told.onset - late,
            np.maximum(told.duration, 1 / raw.info["sfreq"]),
            told.description,
            told.orig_time,
        )
        self._zeros.set_annotations(marks, emit_warning=False)

    def read(self, start: int, stop: int) -> NDArray[np.bool_]:
        """Tell which of the samples from start to stop are bad: (stop - start,)."""
        if not self.any:
            return np.zeros(stop - start, bool)
        zeros = self._zeros.get_data(
            start=start, stop=stop, reject_by_annotation="NaN", verbose="error"
        )
        return np.isnan(zeros[0])


def set_apart(
    rows: NDArray[np.float32], inside: NDArray[np.bool_], bad: str
) -> NDArray[np.float32]:
    """Mark results that lie in bad stretches.

    Parameters
    ----------
    rows : ndarray, shape (n, ...)
        Results.
    inside : ndarray of bool, shape (n,)
        Which of them lie inside.
    bad : {"mark", "nan", "use"}
        How: masked in an array of `numpy.ma`, NaN, or not at all.
    """
    if bad == "mark":
        marked = np.ma.array(rows, copy=False)
        marked[inside] = np.ma.masked
        return marked
    if bad == "nan":
        rows[inside] = np.nan
    return rows
