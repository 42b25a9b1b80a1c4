"""Callbacks that look at a run and change nothing: figures, spatial weights."""

import io
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
from matplotlib.figure import Figure
from skorch.callbacks import Callback

from braindecode_samba._paths import write_whole
from braindecode_samba.pretraining.batches import collate
from braindecode_samba.pretraining.drawing import (
    draw_reconstruction,
    lay_out_panels,
    rebuild_window,
)


@dataclass(eq=False, repr=False)
class ReconstructionFigure(Callback):
    """Draw a window, what was hidden of it, and what was made of it, with spectra.

    Parameters
    ----------
    folder : str or path-like
        Where ``epoch-00001.png`` and so on go.
    every : int
        Epochs from one figure to the next.
    n_channels : int
        Channels to draw, the first ones of the first held-out window (without any, of
        the first training window).
    """

    folder: str | os.PathLike[str]
    every: int = 1
    n_channels: int = 6

    def initialize(self) -> Self:
        """Check the settings."""
        check_every(self.every)
        return self

    def on_epoch_end(
        self,
        net: Any,
        dataset_train: Any = None,
        dataset_valid: Any = None,
        **kwargs: Any,
    ) -> None:
        """Draw the figure of this epoch."""
        epoch = len(net.history)
        if epoch % self.every or net.process_[0]:
            return
        dataset = dataset_train if dataset_valid is None else dataset_valid
        window = rebuild_window(net, dataset[0], self.n_channels)
        # no pyplot: it would keep the figure, and choose a backend for all
        figure = Figure(layout="constrained")
        draw_reconstruction(lay_out_panels(figure, len(window.rows)), window)
        figure.suptitle(f"epoch {epoch}")
        png = io.BytesIO()
        figure.savefig(png, format="png", dpi=120)
        write_whole(Path(self.folder) / f"epoch-{epoch:05d}.png", png.getvalue())


@dataclass(eq=False, repr=False)
class SpatialWeights(Callback):
    """Keep the spatial weights of every few epochs.

    Parameters
    ----------
    folder : str or path-like
        Where ``epoch-00001.npy`` and so on go: float32, shape (n_targets, channels),
        the weights of the electrodes of the first training window.
    every : int
        Epochs from one file to the next.
    """

    folder: str | os.PathLike[str]
    every: int = 1

    def initialize(self) -> Self:
        """Check the settings."""
        check_every(self.every)
        return self

    def on_epoch_end(self, net: Any, dataset_train: Any = None, **kwargs: Any) -> None:
        """Write the weights of this epoch."""
        epoch = len(net.history)
        if epoch % self.every or net.process_[0]:
            return
        batch = collate([dataset_train[0]])
        pos = batch["pos"][0][batch["ch_mask"][0]]
        weights = net.model_.spatial_weights(pos).detach().float().cpu().numpy()
        file = io.BytesIO()
        np.save(file, weights)
        write_whole(Path(self.folder) / f"epoch-{epoch:05d}.npy", file.getvalue())


def check_every(every: int) -> None:
    """Refuse a number of epochs from one look to the next that can't be."""
    if every < 1:
        raise ValueError(f"every={every}: pass at least 1 epoch")
