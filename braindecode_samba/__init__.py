"""SAMBA, an EEG foundation model for any electrodes and any length, for braindecode."""

import warnings

from braindecode_samba._version import __version__

try:
    with warnings.catch_warnings():
        # braindecode builds montages under their old names when it is imported
        warnings.filterwarnings("ignore", "Montage name", FutureWarning)
        from braindecode.models.util import models_dict
except OSError as error:
    # a CPU-only torch beside the registry's torchaudio, which is built for CUDA
    raise ImportError(
        "torchaudio's compiled library does not fit this torch, so braindecode can't "
        "be imported; install torchaudio's CPU build from the PyTorch index, or delete "
        "the files torchaudio/lib/*.so in this environment (README, 'Install')"
    ) from error

from braindecode_samba.checkpoints import load_checkpoint
from braindecode_samba.estimators import (
    SAMBAClassifier,
    SAMBAFeatures,
    SAMBARegressor,
    SAMBAStream,
)
from braindecode_samba.models import SAMBA, SAMBAReconstructor
from braindecode_samba.signals import (
    RecordingAligner,
    chs_info_from_names,
    load_montage,
    positions_from_chs_info,
    positions_from_names,
)

# braindecode has no plugin hook: its own dictionary makes EEGClassifier("SAMBA") work.
# A SAMBA that braindecode itself may ship one day is not overwritten.
models_dict.setdefault("SAMBA", SAMBA)

__all__ = [
    "RecordingAligner",
    "SAMBA",
    "SAMBAClassifier",
    "SAMBAFeatures",
    "SAMBAReconstructor",
    "SAMBARegressor",
    "SAMBAStream",
    "__version__",
    "chs_info_from_names",
    "load_checkpoint",
    "load_montage",
    "positions_from_chs_info",
    "positions_from_names",
]
