"""Layers of SAMBA, and whole recordings through them."""

from braindecode_samba.nn.heads import BandPower, ReadingsHead, WindowFeatures
from braindecode_samba.nn.mamba import Mamba2, MultiHeadDifferentialMamba
from braindecode_samba.nn.measures import WindowMeasures
from braindecode_samba.nn.pooling import log_variance, nine_statistics
from braindecode_samba.nn.readings import Readings
from braindecode_samba.nn.scaling import (
    SignalInput,
    min_times,
    rate_ratio,
    recording_scale,
    robust_scale,
)
from braindecode_samba.nn.spatial import (
    CoordinateEmbedding,
    CoordinateReadout,
    DistanceWeights,
)
from braindecode_samba.nn.trunk import Positions, Stages, Trunk
from braindecode_samba.nn.unet import (
    Decoder,
    Encoder,
    Mediator,
    MultiBranchEmbedding,
    ResidualMamba,
)

__all__ = [
    "BandPower",
    "CoordinateEmbedding",
    "CoordinateReadout",
    "Decoder",
    "DistanceWeights",
    "Encoder",
    "Mamba2",
    "Mediator",
    "MultiBranchEmbedding",
    "MultiHeadDifferentialMamba",
    "Positions",
    "Readings",
    "ReadingsHead",
    "ResidualMamba",
    "SignalInput",
    "Stages",
    "Trunk",
    "WindowFeatures",
    "WindowMeasures",
    "log_variance",
    "min_times",
    "nine_statistics",
    "rate_ratio",
    "recording_scale",
    "robust_scale",
]
