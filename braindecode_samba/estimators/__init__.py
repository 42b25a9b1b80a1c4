"""SAMBA by scikit-learn's rules: estimators, how they are trained, and streams."""

from braindecode_samba.estimators.decoders import (
    SAMBAClassifier,
    SAMBAFeatures,
    SAMBARegressor,
)
from braindecode_samba.estimators.stream import Prediction, SAMBAStream

__all__ = [
    "Prediction",
    "SAMBAClassifier",
    "SAMBAFeatures",
    "SAMBARegressor",
    "SAMBAStream",
]
