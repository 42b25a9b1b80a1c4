"""The masks of a run: which kind, and for each window its own random numbers.

How masks are drawn is in `braindecode_samba.pretraining.masking`.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from braindecode_samba.pretraining.masking import (
    block_mask,
    check_settings,
    random_mask,
    region_mask,
    temporal_semantic_mask,
)

KINDS = ("tsr", "published", "random", "blocks", "even_blocks", "regions")


def mask_generator(seed: int, epoch: int, index: int) -> torch.Generator:
    """Seed a generator for the mask of one window in one epoch.

    It follows from its three arguments alone: neither the other windows of a batch nor
    the number of processes, workers or interruptions change a mask.

    Parameters
    ----------
    seed : int
        Seed of the run.
    epoch : int
        Number of the epoch; 0 is for validation.
    index : int
        Number of the window in its data set.

    Returns
    -------
    torch.Generator
        On the CPU.
    """
    mixed = np.random.SeedSequence((seed, epoch, index)).generate_state(1)[0]
    return torch.Generator().manual_seed(int(mixed))


@dataclass(frozen=True)
class Masking:
    """A kind of mask with its settings: what to hide of which window, when.

    Parameters
    ----------
    kind : {"tsr", "published", "random", "blocks", "even_blocks", "regions"}
        `temporal_semantic_mask`, its published variant, `random_mask`, `block_mask`
        anywhere or evenly placed, `region_mask`.
    ratio : float
        Hidden share, between 0 and 1.
    n_blocks, min_scale, max_scale, min_length, per_channel
        See `temporal_semantic_mask`.
    radius, span
        See `region_mask`.

    Raises
    ------
    ValueError
        If the kind is unknown or a setting is out of range.
    """

    kind: str = "tsr"
    ratio: float = 0.5
    n_blocks: int = 8
    min_scale: float = 0.5
    max_scale: float = 1.5
    min_length: int = 4
    per_channel: bool = False
    radius: float = 0.09
    span: int = 32

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"kind={self.kind!r} is unknown: pass one of {KINDS}")
        check_settings(
            self.ratio,
            n_blocks=self.n_blocks,
            min_length=self.min_length,
            span=self.span,
        )
        if self.per_channel and self.kind not in ("tsr", "regions"):
            raise ValueError(
                f"masks of kind {self.kind!r} are common to all channels: pass "
                "kind='tsr', or per_channel=False"
            )

    def __call__(
        self,
        index: Tensor,
        n_times: int,
        epoch: int,
        seed: int,
        positions: Tensor | None = None,
        ch_mask: Tensor | None = None,
    ) -> Tensor:
        """Draw the masks of a batch, each by its own generator.

        Parameters
        ----------
        index : Tensor of int, shape (batch,)
            Numbers of the windows in their data set.
        n_times : int
            Samples of a window.
        epoch : int
            Number of the epoch; 0 is for validation.
        seed : int
            Seed of the run.
        positions : Tensor, shape (batch, channels, 3), optional
            Electrodes, metres; for regions and masks per channel.
        ch_mask : Tensor of bool, shape (batch, channels), optional
            True where a channel is present.

        Returns
        -------
        Tensor of bool, shape (batch, n_times) or (batch, channels, n_times)
            True where a sample is visible, on the device of `index`.

        Raises
        ------
        ValueError
            If positions are needed and missing.
        """
        generators = [mask_generator(seed, epoch, int(i)) for i in index.tolist()]
        batch = len(generators)
        if positions is None and (self.per_channel or self.kind == "regions"):
            raise ValueError("these masks differ between channels: pass positions")
        if positions is not None and self.kind == "regions":
            mask = region_mask(
                positions,
                n_times,
                ratio=self.ratio,
                radius=self.radius,
                span=self.span,
                ch_mask=ch_mask,
                generator=generators,
            )
        elif self.kind == "random":
            mask = random_mask(batch, n_times, ratio=self.ratio, generator=generators)
        elif self.kind in ("blocks", "even_blocks"):
            mask = block_mask(
                batch,
                n_times,
                ratio=self.ratio,
                n_blocks=self.n_blocks,
                min_length=self.min_length,
                evenly=self.kind == "even_blocks",
                generator=generators,
            )
        else:
            mask = temporal_semantic_mask(
                batch,
                n_times,
                ratio=self.ratio,
                n_blocks=self.n_blocks,
                min_scale=self.min_scale,
                max_scale=self.max_scale,
                min_length=self.min_length,
                per_channel=self.per_channel,
                n_channels=None if positions is None else positions.shape[1],
                variant="published" if self.kind == "published" else "exact",
                generator=generators,
            )
        return mask.to(index.device)
