"""What is a refusal of ours, and what is a fault."""

import dis
import math
import traceback
from pathlib import Path

import numpy as np
import torch

import braindecode_samba

OURS = (ValueError, TypeError, FileNotFoundError, FileExistsError)
_PACKAGE = Path(braindecode_samba.__file__).parent
# checks that are asked for by name; their words are scikit-learn's
_CHECKS = (
    "sklearn/utils/validation.py",
    "sklearn/utils/multiclass.py",
    "sklearn/utils/_param_validation.py",
)
_MOST_WORDS = 200


def is_refusal(error):
    """Whether an error is one that we raise, with a sentence of ours.

    It comes from a ``raise`` in the package (or in a check of scikit-learn's that the
    package calls): an error that Python or numpy raise in the middle of our code is a
    fault, of whatever type.
    """
    if not isinstance(error, OURS) or error.__traceback__ is None:
        return False
    step = error.__traceback__
    while step.tb_next is not None:
        step = step.tb_next
    code = step.tb_frame.f_code
    ours = Path(code.co_filename).is_relative_to(_PACKAGE)
    if not ours and not code.co_filename.endswith(_CHECKS):
        return False
    raised = any(
        one.offset == step.tb_lasti and one.opname.startswith(("RAISE", "RERAISE"))
        for one in dis.get_instructions(code)
    )
    text = str(error)
    told = bool(text) and len(text.split()) <= _MOST_WORDS
    return raised and told and ("\n" not in text.strip() or not ours)


def finite(numbers):
    """Fail unless all numbers are finite."""
    if isinstance(numbers, torch.Tensor):
        assert bool(torch.isfinite(numbers).all()), "not finite"
    elif isinstance(numbers, float):
        assert math.isfinite(numbers), "not finite"
    else:
        assert np.isfinite(np.asarray(numbers)).all(), "not finite"


def signature(error):
    """Tell faults apart: the type, and the last place in the package and in all."""
    steps = traceback.extract_tb(error.__traceback__)
    inside = [one for one in steps if Path(one.filename).is_relative_to(_PACKAGE)]
    places = [inside[-1]] if inside else []
    places += steps[-1:]
    where = " < ".join(f"{Path(p.filename).name}:{p.lineno}" for p in places)
    return f"{type(error).__name__} at {where}"
