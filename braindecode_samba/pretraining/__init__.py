"""Pretraining: windows in, parts of them hidden, the whole rebuilt."""

from braindecode_samba.pretraining.accelerated import AcceleratedPretrainer
from braindecode_samba.pretraining.augment import MontageAugmentation
from braindecode_samba.pretraining.callbacks import (
    CSVLog,
    MaskingSchedule,
    OneCycle,
    TrainingCheckpoint,
)
from braindecode_samba.pretraining.choice import Masking, mask_generator
from braindecode_samba.pretraining.corpora import Corpus, write_windows
from braindecode_samba.pretraining.losses import TimeFrequencyLoss
from braindecode_samba.pretraining.masking import (
    block_mask,
    random_mask,
    region_mask,
    temporal_semantic_mask,
)
from braindecode_samba.pretraining.net import SAMBAPretrainer
from braindecode_samba.pretraining.probing import BenchmarkProbe, ProbeColumn
from braindecode_samba.pretraining.state import has_training_state
from braindecode_samba.pretraining.store import WindowStore
from braindecode_samba.pretraining.watching import (
    ReconstructionFigure,
    SpatialWeights,
)
from braindecode_samba.signals.broken import RecordingError

__all__ = [
    "AcceleratedPretrainer",
    "BenchmarkProbe",
    "CSVLog",
    "Corpus",
    "Masking",
    "MaskingSchedule",
    "MontageAugmentation",
    "OneCycle",
    "ProbeColumn",
    "ReconstructionFigure",
    "RecordingError",
    "SAMBAPretrainer",
    "SpatialWeights",
    "TimeFrequencyLoss",
    "TrainingCheckpoint",
    "WindowStore",
    "block_mask",
    "has_training_state",
    "mask_generator",
    "random_mask",
    "region_mask",
    "temporal_semantic_mask",
    "write_windows",
]
