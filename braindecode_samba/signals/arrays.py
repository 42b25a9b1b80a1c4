"""Arrays of whatever callers have: tensors, tables, lists, or what is refused.

numpy shows numbers that a mask hides, and speaks of its own insides where rows differ.
"""

import math
from numbers import Real
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse import issparse
from sklearn.utils import check_scalar

# what signals span at least, in any unit: squares of less are zero
_LEAST = 1e-30


def as_array(values: Any, name: str) -> NDArray[Any]:
    """Give values as an array.

    Parameters
    ----------
    values : array-like, or torch.Tensor on any device
        Rows of one length.
    name : str
        What they are, for errors.

    Raises
    ------
    ValueError, TypeError
        If they are no rectangle, sparse, or some are masked.
    """
    if issparse(values):
        raise TypeError(f"Sparse data was passed: pass {name}.toarray()")
    if hidden := np.ma.count_masked(values) if np.ma.isMaskedArray(values) else 0:
        raise ValueError(
            f"{hidden} entries of {name} are masked: leave these out, or fill them"
        )
    try:
        if isinstance(values, torch.Tensor):
            values = values.detach().cpu()
            is_half = values.dtype == torch.bfloat16  # numpy has no such numbers
            return (values.float() if is_half else values).numpy()
        array = np.asarray(values)
    except (ValueError, TypeError, RuntimeError) as error:
        same = "inhomogeneous" in str(error)
        reason = "it is inhomogeneous" if same else str(error).split(". ")[0]
        raise ValueError(
            f"{name} can't be made an array ({reason}): pass rows of one length"
        ) from None
    if array.dtype.kind == "U" and any(
        isinstance(one, float) and math.isnan(one) for one in values
    ):
        return np.array(values, object)  # numpy writes "nan" where text is too
    return array


def as_numbers(values: Any, name: str) -> NDArray[Any]:
    """Give real numbers as an array; arguments as for `as_array`.

    Raises
    ------
    ValueError, TypeError
        As for `as_array`, and if they are no real numbers.
    """
    array = as_array(values, name)
    if array.dtype == object:
        try:
            array = array.astype(np.float64)
        except (ValueError, TypeError) as error:
            raise TypeError(
                f"{name} can't be made numbers ({str(error)[:80]}): pass numeric data"
            ) from None
    if np.iscomplexobj(array):
        raise ValueError(f"Complex data not supported: {name} can't be complex")
    if array.dtype.kind not in "biuf":
        what = "strings" if array.dtype.kind in "SUT" else array.dtype
        raise ValueError(f"{name} can't be {what}: pass numeric data")
    return array


def check_number(value: Any, name: str, **limits: Any) -> None:
    """Refuse what is no finite number within limits, see `sklearn.utils.check_scalar`.

    Raises
    ------
    ValueError, TypeError
        If it is none.
    """
    if isinstance(value, bool):
        raise TypeError(f"{name} is {value}: pass a number")
    check_scalar(value, name, Real, **limits)
    if not math.isfinite(value):
        raise ValueError(f"{name} == {value}, must be finite.")


def moving(x: NDArray[np.floating[Any]]) -> NDArray[np.bool_]:
    """Tell which signals, (..., times), move at all: (...)."""
    return np.ptp(x, axis=-1) > _LEAST
