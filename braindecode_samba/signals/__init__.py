"""What comes in: windows, places of electrodes, alignment, mirroring, simulated EEG.

No network is known here.
"""

from braindecode_samba.signals.alignment import RecordingAligner
from braindecode_samba.signals.inputs import Windows, read_windows
from braindecode_samba.signals.mirroring import mirror_channels, mirror_windows
from braindecode_samba.signals.montages import (
    Montage,
    available_montages,
    load_montage,
    montage_from_raw,
    write_montage,
)
from braindecode_samba.signals.positions import check_positions, positions_from_chs_info
from braindecode_samba.signals.simulated_responses import ResponseSimulator
from braindecode_samba.signals.simulated_set import SimulatedMotorImagery
from braindecode_samba.signals.simulation import EEGSimulator
from braindecode_samba.signals.template import (
    chs_info_from_names,
    colin27_head_transform,
    positions_from_names,
    target_names,
    target_positions,
    to_colin27_mri,
    to_head,
)

__all__ = [
    "EEGSimulator",
    "Montage",
    "RecordingAligner",
    "ResponseSimulator",
    "SimulatedMotorImagery",
    "Windows",
    "available_montages",
    "check_positions",
    "chs_info_from_names",
    "colin27_head_transform",
    "load_montage",
    "mirror_channels",
    "mirror_windows",
    "montage_from_raw",
    "positions_from_chs_info",
    "positions_from_names",
    "read_windows",
    "target_names",
    "target_positions",
    "to_colin27_mri",
    "to_head",
    "write_montage",
]
