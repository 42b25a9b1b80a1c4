"""Layers of SAMBA, and whole recordings through them."""

from braindecode_samba.nn.heads import BandPower, WindowFeatures
from braindecode_samba.nn.mamba import Mamba2, MultiHeadDifferentialMamba
from braindecode_samba.nn.pooling import log_variance, nine_statistics
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
    "ResidualMamba",
    "SignalInput",
    "Stages",
    "Trunk",
    "WindowFeatures",
    "log_variance",
    "min_times",
    "nine_statistics",
    "rate_ratio",
    "recording_scale",
    "robust_scale",
]
