"""SAMBA by scikit-learn's rules: estimators, how they are trained, and streams."""

from braindecode_samba.estimators.classifier import SAMBAClassifier
from braindecode_samba.estimators.decoding import decode_file
from braindecode_samba.estimators.features import SAMBAFeatures
from braindecode_samba.estimators.regressor import SAMBARegressor
from braindecode_samba.estimators.stream import Prediction, SAMBAStream

__all__ = [
    "Prediction",
    "SAMBAClassifier",
    "SAMBAFeatures",
    "SAMBARegressor",
    "SAMBAStream",
    "decode_file",
]
