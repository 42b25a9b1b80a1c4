"""Targets as they come with windows, checked before any work."""

from typing import Any

from numpy.typing import ArrayLike

from braindecode_samba.signals.arrays import as_array

# what braindecode gives where a data set names no targets
_UNNAMED = -1


def required(decoder: Any, y: ArrayLike | None) -> ArrayLike:
    """Give targets back, or say what is missing.

    Parameters
    ----------
    decoder : Decoder
        Who needs them.
    y : array-like of length n, or None
        As given, else those of the data set.

    Raises
    ------
    ValueError, TypeError
        If there are none, or none for some windows.
    """
    name = type(decoder).__name__
    if y is None:
        raise ValueError(
            f"{name} requires y to be passed, but the target y is None; of mne.Epochs "
            "it may be epochs.events[:, 2]"
        )
    values = as_array(y, "y")
    if values.dtype == object and values.ndim == 1:
        _refuse_gaps(values)
    if values.size and values.dtype.kind in "if" and (values == _UNNAMED).all():
        raise ValueError(
            "y is -1 throughout, which braindecode gives where a data set names no "
            "targets (target_name=None): name them, or pass y"
        )
    return values


def _refuse_gaps(values: Any) -> None:
    gaps = [row for row, one in enumerate(values) if one is None or one != one]
    if gaps:
        raise ValueError(
            f"y is None or NaN for {len(gaps)} windows, first for window {gaps[0]}: "
            "leave these out"
        )
    kinds = sorted({type(one).__name__ for one in values})
    if "str" in kinds and len(kinds) > 1:
        raise TypeError(
            f"y mixes {' and '.join(kinds)}: pass all labels as text, or all as numbers"
        )
