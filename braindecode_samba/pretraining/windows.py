"""Windows of any accepted kind as a data set for pretraining, at the model's rate.

Arrays, Epochs and braindecode's windows, also those that are read from disk one by one,
and lists of these with different electrodes, rates and lengths.  What an array or a
recording must bring is decided in `braindecode_samba.signals.inputs`.
"""

from collections.abc import Sequence
from typing import Any

import mne
import numpy as np
import torch
from braindecode.datasets import BaseConcatDataset, EEGWindowsDataset
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from braindecode_samba.nn.scaling import MODEL_SFREQ, SignalInput, min_times, rate_ratio
from braindecode_samba.signals.inputs import Channels, Windows, read_windows


class WindowDataset(Dataset[dict[str, Any]]):
    """Windows of several recordings, resampled to one rate when they are read.

    Parameters
    ----------
    parts : sequence
        Windows of one montage and rate each.
    model_sfreq : float
        Rate of the items, Hz.

    Attributes
    ----------
    lengths : ndarray of int64, shape (n_windows,)
        Samples of each item.
    """

    def __init__(self, parts: Sequence["_Loaded | _Lazy"], model_sfreq: float) -> None:
        self.parts = list(parts)
        self.ends = np.cumsum([len(part.lengths) for part in parts])
        lengths, self._inputs = [], {}
        for part in self.parts:
            shortest = min_times(part.sfreq, model_sfreq)
            if part.lengths.min() < shortest:
                raise ValueError(
                    f"X has windows of {part.lengths.min()} samples at {part.sfreq:g} "
                    f"Hz: pass windows of at least {shortest} (8 at the model's rate)"
                )
            ratio = rate_ratio(part.sfreq, model_sfreq)
            lengths.append(-(-part.lengths * ratio.numerator // ratio.denominator))
            signal = SignalInput(part.sfreq, model_sfreq, scale=None)
            self._inputs[part.sfreq] = signal.resample
        self.lengths = np.concatenate(lengths).astype(np.int64)

    def __len__(self) -> int:
        """Count the windows."""
        return int(self.ends[-1])

    def __getitem__(self, row: int) -> dict[str, Any]:
        """Read one window.

        Returns
        -------
        dict
            ``"x"``, float32 (channels, times), in the unit in which it came, each
            channel minus its median; ``"pos"``, float32 (channels, 3), head frame,
            metres; ``"index"``, `row`.
        """
        if not 0 <= row < len(self):
            raise IndexError(f"window {row} of {len(self)}")
        number = int(np.searchsorted(self.ends, row, side="right"))
        part = self.parts[number]
        first = int(self.ends[number]) - len(part.lengths)
        x = torch.from_numpy(part.read(row - first))
        # before resampling: a step at the edge of a window would ring
        x = x - x.median(-1, keepdim=True).values
        x = self._inputs[part.sfreq](x.unsqueeze(0)).squeeze(0)
        pos = torch.from_numpy(part.positions).float()
        return {"x": x, "pos": pos, "index": row}


def as_dataset(
    X: Any,
    *,
    ch_names: Sequence[str] | None = None,
    chs_info: Channels | None = None,
    sfreq: float | None = None,
    model_sfreq: float = MODEL_SFREQ,
) -> Dataset[dict[str, Any]]:
    """Bring whatever can be trained on into one form.

    Parameters
    ----------
    X : array-like, mne.Epochs, windows of braindecode, a list of these, or a Dataset
        See `braindecode_samba.signals.read_windows`. Windows that braindecode reads
        from disk stay there. A torch Dataset whose items are dicts, see
        `braindecode_samba.pretraining.batches`, is given back as it is.
    ch_names, chs_info, sfreq
        See `braindecode_samba.signals.read_windows`.
    model_sfreq : float
        Rate of the items, Hz.

    Returns
    -------
    torch Dataset
        Items ``{"x", "pos", "index"}``.

    Raises
    ------
    ValueError, TypeError
        As for `read_windows`; if windows are flat in all channels, or too short.
    """
    if isinstance(X, Dataset) and not isinstance(X, BaseConcatDataset):
        if not len(X):  # type: ignore[arg-type]
            raise ValueError("X holds no windows: pass at least one")
        if isinstance(X[0], dict):
            rate = getattr(X, "sfreq", model_sfreq)
            if rate != model_sfreq:
                raise ValueError(
                    f"X is sampled at {rate:g} Hz and the model works at "
                    f"{model_sfreq:g}: cut the windows at that rate, or pass "
                    "module__model_sfreq"
                )
            return X
    declared = {"ch_names": ch_names, "chs_info": chs_info, "sfreq": sfreq}
    parts = [_read(item, declared) for item in _items(X)]
    if not parts:
        raise ValueError("X holds no windows: pass at least one")
    return WindowDataset(parts, model_sfreq)


class _Loaded:
    """Windows in memory: places (channels, 3), and lengths in samples."""

    def __init__(self, windows: Windows) -> None:
        self.x, self.sfreq = windows.x, windows.sfreq
        self.positions = windows.positions
        self.lengths = np.full(len(self.x), self.x.shape[2], dtype=np.int64)
        flat = (self.x.max(-1) == self.x.min(-1)).all(1)
        if flat.any():
            raise ValueError(
                f"{flat.sum()} of {len(flat)} windows are flat in all channels, first "
                f"window {flat.argmax()}: drop these"
            )

    def read(self, row: int) -> NDArray[np.float32]:
        return self.x[row]


class _Lazy:
    """Windows that braindecode reads from a recording when they are asked for."""

    def __init__(self, dataset: EEGWindowsDataset, declared: dict[str, Any]) -> None:
        self.dataset = dataset
        info = dataset.raw.info
        if dataset.targets_from == "channels":
            # these windows come without their misc channels, which are the targets
            kinds = info.get_channel_types()
            kept = [row for row, kind in enumerate(kinds) if kind != "misc"]
            info = mne.pick_info(info, kept)
        first = mne.EpochsArray(dataset[0][0][None], info, verbose="error")
        described = read_windows(first, **declared)
        self.rows = [info["ch_names"].index(name) for name in described.names]
        self.positions, self.sfreq = described.positions, described.sfreq
        starts_and_stops = np.asarray(dataset.crop_inds)[:, 1:]
        self.lengths = np.diff(starts_and_stops)[:, 0].astype(np.int64)

    def read(self, row: int) -> NDArray[np.float32]:
        x = np.require(self.dataset[row][0][self.rows], np.float32, ("C", "W"))
        if not np.isfinite(x).all() or (x.max(-1) == x.min(-1)).all():
            start = self.dataset.crop_inds[row][1]
            raise ValueError(
                f"window {row} of a recording, from sample {start} on, is flat in all "
                "channels or holds NaN or infinity: drop it"
            )
        return x


def _items(X: Any) -> list[Any]:
    if isinstance(X, BaseConcatDataset):
        return [part for part in X.datasets if len(part)]
    if isinstance(X, list | tuple) and all(_describes_many(item) for item in X):
        return [part for item in X for part in _items(item)]
    return [X]


def _describes_many(item: Any) -> bool:
    if isinstance(item, np.ndarray | Tensor):
        return item.ndim == 3
    return isinstance(item, Dataset | mne.BaseEpochs | mne.io.BaseRaw)


def _read(item: Any, declared: dict[str, Any]) -> _Loaded | _Lazy:
    if isinstance(item, EEGWindowsDataset) and len(item):
        return _Lazy(item, declared)
    return _Loaded(read_windows(item, **declared))
