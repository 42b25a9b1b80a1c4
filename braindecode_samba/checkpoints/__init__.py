"""Trained weights: files, what their configurations mean, and how they are loaded."""

from braindecode_samba.checkpoints.contents import Checkpoint, CheckpointReport
from braindecode_samba.checkpoints.files import CheckpointError
from braindecode_samba.checkpoints.loading import load_checkpoint, open_checkpoint
from braindecode_samba.checkpoints.saving import save_model

__all__ = [
    "Checkpoint",
    "CheckpointError",
    "CheckpointReport",
    "load_checkpoint",
    "open_checkpoint",
    "save_model",
]
