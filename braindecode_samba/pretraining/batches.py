"""Join windows of any montage into batches of one length, in a reproducible order.

A data set for pretraining gives items ``{"x": (channels, times) float32, "pos":
(channels, 3) metres, "index": int}`` at the model's rate.  Besides ``__len__`` and
``__getitem__`` it may have

- ``lengths``, the samples of each window, if they are not all alike;
- ``order(epoch, seed)``, the rows to visit in an epoch, as many of each length in every
  epoch; all rows in random order by default;
- ``set_epoch(epoch)``, called before each epoch, for a data set that changes its
  windows: what it draws should follow from seed, epoch and index.

Where the windows come from is no business of this file.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from numbers import Integral
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor
from torch.utils.data import ConcatDataset, Dataset, Sampler, Subset


def collate(items: Sequence[Mapping[str, Any]]) -> dict[str, Tensor]:
    """Join windows of one length; missing channels are filled up with zeros.

    Parameters
    ----------
    items : sequence of mapping
        Windows: ``"x"``, shape (channels, times), ``"pos"``, shape (channels, 3), head
        frame, metres, and ``"index"``, the number of the window in its data set. A
        channel without a position (NaN) counts as absent.

    Returns
    -------
    dict of Tensor
        ``"x"``, float32, shape (batch, channels, times); ``"pos"``, float32, shape
        (batch, channels, 3), finite; ``"ch_mask"``, bool, shape (batch, channels), True
        where a channel is present; ``"index"``, int64, shape (batch,).

    Raises
    ------
    ValueError
        If lengths differ, positions don't fit, or a window has no channel with a
        position.
    """
    signals = [torch.as_tensor(item["x"], dtype=torch.float32) for item in items]
    places = [torch.as_tensor(item["pos"], dtype=torch.float32) for item in items]
    lengths = sorted({signal.shape[-1] for signal in signals})
    if len(lengths) > 1:
        raise ValueError(
            f"a batch holds windows of {' and '.join(map(str, lengths))} samples: give "
            "the data set an attribute lengths, so that batches hold one length"
        )
    n_chans = max(signal.shape[0] for signal in signals)
    x = torch.zeros(len(items), n_chans, lengths[0])
    pos = torch.zeros(len(items), n_chans, 3)
    ch_mask = torch.zeros(len(items), n_chans, dtype=torch.bool)
    index = torch.tensor([int(item["index"]) for item in items])
    for row, (signal, place) in enumerate(zip(signals, places, strict=True)):
        if place.shape != (signal.shape[0], 3):
            raise ValueError(
                f"window {index[row]} has {signal.shape[0]} channels and positions of "
                f"shape {tuple(place.shape)}: give (channels, 3)"
            )
        present = place.isfinite().all(-1)
        if not present.any():
            raise ValueError(
                f"window {index[row]} has no channel with a position: set a montage "
                "before cutting windows"
            )
        n = len(present)
        ch_mask[row, :n] = present
        x[row, :n] = signal.masked_fill(~present[:, None], 0.0)
        pos[row, :n] = place.masked_fill(~present[:, None], 0.0)
    return {"x": x, "pos": pos, "ch_mask": ch_mask, "index": index}


def window_lengths(dataset: Dataset[Any]) -> NDArray[np.int64]:
    """Tell the samples of each window; a data set that doesn't say has one length.

    Parameters
    ----------
    dataset : torch Dataset
        Windows, or a `Subset` or `ConcatDataset` of such.

    Returns
    -------
    ndarray of int64, shape (n_windows,)
        Samples; all 0 where the data set leaves them open.
    """
    if hasattr(dataset, "lengths"):
        return np.asarray(dataset.lengths, dtype=np.int64)
    if isinstance(dataset, Subset):
        return window_lengths(dataset.dataset)[np.asarray(dataset.indices, dtype=int)]
    if isinstance(dataset, ConcatDataset):
        return np.concatenate([window_lengths(part) for part in dataset.datasets])
    return np.zeros(len(dataset), dtype=np.int64)  # type: ignore[arg-type]


class LengthBatchSampler(Sampler[list[int]]):
    """Batches of windows of one length, in an order that seed and epoch decide.

    Neither the number of workers nor an interruption changes the order. Several
    processes share each batch: every one of them sees its part.

    Parameters
    ----------
    lengths : array-like of int, shape (n_windows,)
        Samples of each window.
    batch_size : int
        Windows in a batch, over all processes together; what is left of a length
        makes a smaller one.
    seed : int
        Seed of the order.
    shuffle : bool
        False keeps the order of the rows, in every epoch.
    order : callable, optional
        ``order(epoch, seed)`` gives the rows to visit in an epoch, as many of each
        length in every epoch.
    rank, n_processes : int
        Which process this is, and how many there are. A batch of fewer windows than
        processes repeats some.
    """

    def __init__(
        self,
        lengths: ArrayLike,
        batch_size: int,
        *,
        seed: int = 0,
        shuffle: bool = True,
        order: Callable[[int, int], ArrayLike] | None = None,
        rank: int = 0,
        n_processes: int = 1,
    ) -> None:
        self.lengths = np.asarray(lengths, dtype=np.int64)
        if not len(self.lengths):
            raise ValueError("there are no windows to train on: pass at least one")
        number: Any = batch_size
        if not isinstance(number, Integral) or number < 1:
            raise ValueError(f"batch_size={batch_size!r}: pass at least 1")
        self.batch_size = batch_size
        self.seed = seed
        self.shuffle = shuffle
        self.order = order
        self.rank = rank
        self.n_processes = n_processes
        self.set_epoch(1)

    def set_epoch(self, epoch: int, skip: int = 0) -> None:
        """Say which epoch comes next.

        Parameters
        ----------
        epoch : int
            Number of the epoch, from 1.
        skip : int
            Batches to leave out at its beginning, which an interrupted run has done.
        """
        self.epoch = epoch
        self.skip = skip

    def __len__(self) -> int:
        """Count the batches of a whole epoch, skipped ones included."""
        counts = np.unique(self.lengths[self._rows(1)], return_counts=True)[1]
        return int(np.ceil(counts / self.batch_size).sum())

    def __iter__(self) -> Iterator[list[int]]:
        """Give the rows of each batch, or this process's part of them."""
        for batch in self._batches()[self.skip :]:
            while len(batch) < self.n_processes:
                batch = np.concatenate([batch, batch])
            yield batch[self.rank :: self.n_processes].tolist()

    def _rows(self, epoch: int) -> NDArray[np.int64]:
        if self.order is not None and self.shuffle:
            return np.asarray(self.order(epoch, self.seed), dtype=np.int64)
        if not self.shuffle:
            return np.arange(len(self.lengths))
        return self._generator(epoch, 0).permutation(len(self.lengths))

    def _batches(self) -> list[NDArray[np.int64]]:
        rows = self._rows(self.epoch)
        lengths = self.lengths[rows]
        batches = []
        for length in np.unique(lengths):
            alike = rows[lengths == length]
            cuts = range(self.batch_size, len(alike), self.batch_size)
            batches += np.split(alike, list(cuts))
        if not self.shuffle:
            return batches
        mixed = self._generator(self.epoch, 1).permutation(len(batches))
        return [batches[i] for i in mixed]

    def _generator(self, epoch: int, purpose: int) -> np.random.Generator:
        return np.random.default_rng((self.seed, epoch, purpose))
