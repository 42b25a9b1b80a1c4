"""Windows of which a part is hidden, rebuilt: by the network, and by a trained net.

Training is in `braindecode_samba.pretraining.net`.
"""

import os
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from skorch.utils import to_tensor
from torch import Tensor, nn

from braindecode_samba.estimators.interrupts import Interruptible
from braindecode_samba.models import SAMBAReconstructor
from braindecode_samba.nn.pooling import all_stage_variances
from braindecode_samba.pretraining.batches import (
    LengthBatchSampler,
    collate,
    window_lengths,
)
from braindecode_samba.pretraining.choice import Masking
from braindecode_samba.pretraining.saving import write_checkpoint

# the epoch of validation masks, which are the same ones after every epoch
VALIDATION = 0


class MaskedReconstruction(nn.Module):
    """A reconstructor that hides samples after scaling, and gives what it was to find.

    Parameters
    ----------
    model : SAMBAReconstructor
        The network.
    """

    def __init__(self, model: SAMBAReconstructor) -> None:
        super().__init__()
        self.model = model

    def forward(
        self,
        x: Tensor,
        pos: Tensor,
        ch_mask: Tensor | None = None,
        mask: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Rebuild windows of which a part is hidden.

        Parameters
        ----------
        x, pos, ch_mask
            As for `SAMBAReconstructor.forward`.
        mask : Tensor of bool, shape (batch, times) or (batch, channels, times), \
        optional
            True where a sample is visible; hidden ones are set to 0, the median.

        Returns
        -------
        output, target : Tensor, shape (batch, channels, times)
            Rebuilt windows and the whole signals, both in the scaled unit.
        """
        trunk = self.model.trunk
        pos, target, weights = trunk.begin(x, pos, ch_mask)
        visible = target
        if mask is not None:
            seen = mask.unsqueeze(1) if mask.dim() == 2 else mask
            visible = target.masked_fill(~seen, 0.0)
        return self.model.rebuild(visible, pos, weights, ch_mask), target


class Rebuilder(Interruptible):
    """What a trained net does with windows: features, reconstructions, a checkpoint."""

    masking: Masking
    seed_: int

    @property
    def model_(self) -> SAMBAReconstructor:
        """The network, without what training wraps around it."""
        module: Any = self.module_
        while not isinstance(module, MaskedReconstruction):
            module = module.module if hasattr(module, "module") else module._orig_mod
        return module.model

    def _device(self) -> torch.device:
        return next(self.module_.parameters()).device

    def _hide(
        self, batch: dict[str, Tensor], masking: Masking, epoch: int
    ) -> dict[str, Tensor]:
        batch = to_tensor(batch, self._device())
        mask = masking(
            batch["index"],
            batch["x"].shape[-1],
            epoch,
            self.seed_,
            batch["pos"],
            batch["ch_mask"],
        )
        return {**batch, "mask": mask}

    def transform(self, X: Any) -> NDArray[np.float32]:
        """Compute features: the log variances of all stages.

        Parameters
        ----------
        X : array-like, mne.Epochs, windows of braindecode, list of these, or Dataset
            Windows.

        Returns
        -------
        ndarray of float32, shape (n_windows, n_targets + 384)
            One row a window, as `SAMBAFeatures` gives them.
        """

        def describe(batch: dict[str, Tensor]) -> Tensor:
            x, pos, ch_mask = batch["x"], batch["pos"], batch["ch_mask"]
            return all_stage_variances(self.model_.trunk(x, pos, ch_mask))

        return np.stack(list(self._run(X, describe)))

    def reconstruct(
        self, X: Any, masking: Masking | None = None
    ) -> NDArray[np.float32] | list[NDArray[np.float32]]:
        """Rebuild windows.

        Parameters
        ----------
        X : array-like, mne.Epochs, windows of braindecode, list of these, or Dataset
            Windows.
        masking : Masking, optional
            What to hide, as in validation; None shows everything.

        Returns
        -------
        ndarray of float32, shape (n_windows, channels, times), or list of ndarray
            Windows at the model's rate in its scaled unit; a list, one a window, if
            their shapes differ.
        """

        def rebuild(batch: dict[str, Tensor]) -> list[Tensor]:
            output = self.rebuild_batch(batch, masking)[1]
            return [w[m] for w, m in zip(output, batch["ch_mask"], strict=True)]

        windows = list(self._run(X, rebuild))
        alike = len({window.shape for window in windows}) == 1
        return np.stack(windows) if alike else windows

    def rebuild_batch(
        self, batch: dict[str, Tensor], masking: Masking | None = None
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        """Rebuild a batch and give what went into it.

        Parameters
        ----------
        batch : dict of Tensor
            See `braindecode_samba.pretraining.batches.collate`.
        masking : Masking, optional
            What to hide, as in validation; None shows everything.

        Returns
        -------
        target, output : Tensor, shape (batch, channels, times)
            The whole signals and the rebuilt ones, in the scaled unit.
        mask : Tensor of bool, shape (batch, times) or (batch, channels, times), or None
            True where a sample was visible.
        """
        self.check_is_fitted()
        if masking is not None:
            batch = self._hide(batch, masking, VALIDATION)
        inputs = to_tensor(batch, self._device())
        inputs.pop("index")
        self._set_training(False)
        with torch.no_grad():
            output, target = MaskedReconstruction(self.model_)(**inputs)
        return target, output, inputs.get("mask")

    def _run(
        self, X: Any, function: Callable[[dict[str, Tensor]], Any]
    ) -> Iterator[NDArray[np.float32]]:
        """Apply a function to all windows and give its results in their order."""
        self.check_is_fitted()
        dataset = self.get_dataset(X)
        lengths = window_lengths(dataset)
        sampler = LengthBatchSampler(lengths, self.batch_size, shuffle=False)
        results: list[Any] = [None] * len(lengths)
        self._set_training(False)
        for rows in sampler:
            batch = to_tensor(collate([dataset[row] for row in rows]), self._device())
            with torch.no_grad():
                outputs = function(batch)
            for row, output in zip(rows, outputs, strict=True):
                results[row] = output.float().cpu().numpy()
        yield from results

    def save_checkpoint(
        self, path: str | os.PathLike[str], card: str | None = None
    ) -> Path:
        """Write weights, configuration and card into a folder, all or nothing.

        Parameters
        ----------
        path : str or path-like
            The folder. An earlier checkpoint there is replaced.
        card : str, optional
            Markdown for ``README.md``; a short one is written by default.

        Returns
        -------
        pathlib.Path
            The folder with ``model.safetensors``, ``config.json`` (for
            `SAMBAReconstructor.from_pretrained`) and ``README.md``.

        Raises
        ------
        FileExistsError
            If there is something else at that path.
        OSError
            If it can't be written; what was there before is unchanged.
        """
        self.check_is_fitted()
        losses = [row.get("train_loss") for row in self.history]
        recipe = {
            "masking": asdict(self.masking),
            "loss": repr(self.criterion_),
            "epochs": len(losses),
            "windows": getattr(self, "n_windows_", None),
            "train_loss": losses[-1] if losses else None,
        }
        if card is None:
            lines = [f"- {name}: {value}" for name, value in recipe.items()]
            card = "\n".join(["# SAMBA, pretrained", "", *lines, ""])
        return write_checkpoint(path, self.model_, recipe, card)
