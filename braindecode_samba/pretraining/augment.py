"""Other montages from the electrodes that a recording has.

One corpus of 64 electrodes teaches a model 4, 14, 16 bipolar and 19: electrodes are
left out or subtracted from each other, at the places where they are.  Signals are not
changed in any other way here.
"""

import functools
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment
from scipy.spatial.distance import cdist
from torch import Tensor
from torch.utils.data import Dataset

from braindecode_samba.pretraining.batches import window_lengths
from braindecode_samba.signals.montages import load_montage, positions_from_names
from braindecode_samba.signals.template import parse_channel_name

_RANDOM = ("all", "dropout", "subset")
_DROPOUT = 0.2
_FEWEST = 4
# neighbours of the 10-10 system are 31 mm apart in the median and 39 mm at most
_SAME_SITE = 0.035  # metres
# sets these random numbers apart from others that follow from seed, epoch and index
_STREAM = 3

Rows = NDArray[np.intp]


class _Derivation(NamedTuple):
    """Channels to take, and channels to subtract from them, if it is bipolar."""

    anodes: Rows
    cathodes: Rows | None


class MontageAugmentation(Dataset[dict[str, Any]]):
    """Windows in a montage that is drawn anew in each epoch.

    What is drawn follows from seed, epoch and the window's ``"index"``: the number of
    workers and an interruption change nothing.

    - ``"all"``: the window as it is;
    - ``"dropout"``: each channel is left out with probability 0.2, one stays;
    - ``"subset"``: channels chosen at random, from 4 to all, small numbers as likely as
      large ones on a logarithmic scale;
    - a montage that `load_montage` knows, such as ``"muse_4"``: for each of its
      electrodes the nearest one, within 35 mm and none twice, at its own place; pairs
      (``"tuh_bipolar_16"``) become differences at the midpoint.

    A montage is drawn only for windows that have its electrodes; if a window has none
    of the montages it stays as it is.  Recordings must have one reference: of pairs
    there are no pairs again.

    Parameters
    ----------
    dataset : torch Dataset
        Windows, see `braindecode_samba.pretraining.batches`.
    kinds : sequence of str
        Kinds of montages.
    probabilities : sequence of float, optional
        One for each kind, in any unit; equal by default.
    seed : int
        Seed of what is drawn.

    Raises
    ------
    ValueError
        If a montage is unknown, a kind is there twice, or probabilities don't fit.
    """

    def __init__(
        self,
        dataset: Dataset[Any],
        kinds: Sequence[str] = (
            *_RANDOM,
            "muse_4",
            "emotiv_epoc_14",
            "tuh_bipolar_16",
            "clinical_19",
        ),
        probabilities: Sequence[float] | None = None,
        *,
        seed: int = 0,
    ) -> None:
        self.dataset = dataset
        self.kinds = _check_kinds(kinds)
        self.probabilities = _check_probabilities(probabilities, len(self.kinds))
        self.seed = seed
        # shared, as workers that live longer than an epoch hold a copy of the data set
        self._epoch = torch.zeros(1, dtype=torch.int64).share_memory_()

    @property
    def lengths(self) -> NDArray[np.int64]:
        """Samples of each window, shape (n_windows,)."""
        return window_lengths(self.dataset)

    @property
    def order(self) -> Any:
        """The data set's own order of rows, if it has one."""
        return self.dataset.order  # type: ignore[attr-defined]

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Share the epoch of a copy as well."""
        self.__dict__.update(state)
        self._epoch.share_memory_()

    def set_epoch(self, epoch: int) -> None:
        """Say which epoch comes next, to workers as well."""
        self._epoch.fill_(epoch)
        if hasattr(self.dataset, "set_epoch"):
            self.dataset.set_epoch(epoch)

    def __len__(self) -> int:
        """Count the windows."""
        return len(self.dataset)  # type: ignore[arg-type]

    def __getitem__(self, row: int) -> dict[str, Any]:
        """Give one window in the montage of this epoch."""
        item = self.dataset[row]
        key = (self.seed, int(self._epoch), int(item["index"]), _STREAM)
        x, pos = torch.as_tensor(item["x"]), torch.as_tensor(item["pos"])
        derivation = self._draw(pos, np.random.default_rng(key))
        return item | _derive(x, pos, derivation)

    def _draw(self, pos: Tensor, rng: np.random.Generator) -> _Derivation:
        places = pos.numpy().astype(np.float64)
        everything = np.arange(len(places))
        found = {
            kind: _find(kind, places.tobytes())
            for kind in self.kinds
            if kind not in _RANDOM
        }
        weights = np.where(
            [found.get(kind, everything) is None for kind in self.kinds],
            0.0,
            self.probabilities,
        )
        if not weights.any():
            return _Derivation(everything, None)
        kind = self.kinds[rng.choice(len(weights), p=weights / weights.sum())]
        if derivation := found.get(kind):
            return derivation
        return _Derivation(_draw_rows(kind, everything, rng), None)


def _check_kinds(kinds: Sequence[str]) -> tuple[str, ...]:
    if isinstance(kinds, str):
        raise ValueError(f"kinds={kinds!r} is one text: pass a list of str")
    listed = tuple(kinds)
    if not listed:
        raise ValueError("there are no kinds of montages: pass at least one")
    if len(set(listed)) < len(listed):
        raise ValueError(f"kinds are there twice: {sorted(listed)}")
    for kind in listed:
        if kind not in _RANDOM:
            _sites_of(kind)
    return listed


def _check_probabilities(
    probabilities: Sequence[float] | None, n_kinds: int
) -> NDArray[np.float64]:
    if probabilities is None:
        return np.full(n_kinds, 1 / n_kinds)
    values = np.asarray(probabilities, dtype=np.float64)
    fits = values.shape == (n_kinds,)
    if not fits or not np.isfinite(values).all() or (values < 0).any():
        raise ValueError(
            f"probabilities={probabilities}: pass {n_kinds} numbers of at least 0, one "
            "for each kind"
        )
    if not values.any():
        raise ValueError("all probabilities are 0: nothing could be drawn")
    return values / values.sum()


def _draw_rows(kind: str, everything: Rows, rng: np.random.Generator) -> Rows:
    n_chans = len(everything)
    if kind == "all":
        return everything
    if kind == "dropout":
        stays = rng.random(n_chans) >= _DROPOUT
        stays[rng.integers(n_chans)] = True
        return everything[stays]
    low, high = np.log(min(_FEWEST, n_chans)), np.log(n_chans)
    n_kept = round(float(np.exp(rng.uniform(low, high))))
    return np.sort(rng.choice(everything, n_kept, replace=False))


@functools.cache
def _sites_of(kind: str) -> tuple[NDArray[np.float64], Rows, Rows | None]:
    """Electrodes of a montage, and which of them are anodes and cathodes."""
    montage = load_montage(kind)
    pairs = [parse_channel_name(name) for name in montage.names]
    if not all(len(pair) == 2 for pair in pairs):
        return montage.positions, np.arange(len(montage.names)), None
    names = list(dict.fromkeys(name for pair in pairs for name in pair))
    rows = np.array([[names.index(name) for name in pair] for pair in pairs])
    return positions_from_names(names), rows[:, 0], rows[:, 1]


@functools.lru_cache(maxsize=1024)
def _find(kind: str, places: bytes) -> _Derivation | None:
    """Electrodes of a montage among those at `places`; None if they aren't there."""
    sites, anodes, cathodes = _sites_of(kind)
    there = np.frombuffer(places).reshape(-1, 3)
    if len(there) < len(sites):
        return None
    distances = np.nan_to_num(cdist(sites, there), nan=1e3, posinf=1e3)
    rows, columns = linear_sum_assignment(distances)
    if distances[rows, columns].max() > _SAME_SITE:
        return None
    return _Derivation(columns[anodes], None if cathodes is None else columns[cathodes])


def _derive(x: Tensor, pos: Tensor, derivation: _Derivation) -> dict[str, Tensor]:
    anodes = torch.from_numpy(derivation.anodes)
    if derivation.cathodes is None:
        return {"x": x[anodes], "pos": pos[anodes]}
    cathodes = torch.from_numpy(derivation.cathodes)
    return {
        "x": x[anodes] - x[cathodes],
        "pos": (pos[anodes] + pos[cathodes]) / 2,
    }
