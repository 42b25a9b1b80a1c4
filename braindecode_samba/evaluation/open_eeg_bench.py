"""SAMBA in Open EEG Bench, a benchmark of EEG foundation models.

The benchmark builds a model itself, fills it from a file and puts a new layer in the
place of ``final_layer``: `braindecode_samba.SAMBA` keeps that contract as it is.  Here
is only how a checkpoint becomes such a file.  The package ``open_eeg_bench`` is not
imported.
"""

import os
from pathlib import Path
from typing import Any

import torch

from braindecode_samba._paths import whole_file
from braindecode_samba.checkpoints.configs import SIGNAL_OPTIONS
from braindecode_samba.checkpoints.loading import load_checkpoint
from braindecode_samba.models import SAMBA
from braindecode_samba.nn.randomness import seeded
from braindecode_samba.signals.template import chs_info_from_names

_HEAD = "final_layer"


def benchmark_arguments(
    checkpoint: str | os.PathLike[str], path: str | os.PathLike[str]
) -> dict[str, Any]:
    """Write the weights of a checkpoint for `open_eeg_bench.benchmark`.

    Parameters
    ----------
    checkpoint : str or path-like
        As for `braindecode_samba.load_checkpoint`.
    path : str or path-like
        File to write, in PyTorch's format, which the benchmark reads.

    Returns
    -------
    dict
        Arguments: ``open_eeg_bench.benchmark(**arguments, datasets=[...])``.

    Raises
    ------
    ValueError
        If there is no such checkpoint, it is damaged, or it counts on the scale of a
        whole recording, which the benchmark doesn't know.
    OSError
        If the file can't be written.

    Notes
    -----
    The benchmark fills whatever has the right name and shape.  Buffers are left out, so
    that positions and resampling are those of its data and never the checkpoint's.
    What is in the head and was not pretrained has random weights, here as there, from
    one seed: 0.  Strategies that wrap layers (LoRA and its like) change nothing in
    SAMBA's state-space layers, which read the weights of their linear parts directly:
    use ``"frozen"``, ``"ridge_probe"``, ``"two_stages"`` or ``"full_finetune"``.
    """
    with seeded(0):
        model, _ = load_checkpoint(
            checkpoint,
            SAMBA,
            verbose=0,
            n_outputs=2,
            chs_info=chs_info_from_names(["C3", "Cz", "C4"]),
        )
    options = model.get_config()  # type: ignore[operator]
    if options["scale"] == "recording":
        raise ValueError(
            f"{checkpoint} was trained with scale='recording', and the benchmark knows "
            "windows alone: pass a checkpoint with another scale"
        )
    not_text = {*SIGNAL_OPTIONS, "activation", "braindecode_version"}
    weights = {
        name: value.detach()
        for name, value in model.named_parameters()
        if not name.startswith(f"{_HEAD}.")
    }
    with whole_file(Path(path)) as file:
        torch.save(weights, file)
    return {
        "model_cls": "braindecode_samba.SAMBA",
        "checkpoint_path": os.fspath(path),
        "model_kwargs": {k: v for k, v in options.items() if k not in not_text},
        "head_module_name": _HEAD,
    }
