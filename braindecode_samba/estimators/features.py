"""`SAMBAFeatures`: what the trunk says of windows and recordings, as numbers."""

import copy
import functools
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from sklearn.base import TransformerMixin
from sklearn.utils import Tags
from sklearn.utils.validation import check_is_fitted
from torch import Tensor

from braindecode_samba.checkpoints import CheckpointReport, load_checkpoint
from braindecode_samba.checkpoints.contents import Checkpoint
from braindecode_samba.estimators.base import (
    choose_device,
    draw_seed,
)
from braindecode_samba.estimators.running import at_rate, run_in_batches
from braindecode_samba.estimators.saving import Known, SavedEstimator
from braindecode_samba.models import SAMBA
from braindecode_samba.nn.pooling import (
    all_stage_variances,
    log_variance,
    nine_statistics,
)
from braindecode_samba.nn.randomness import seeded
from braindecode_samba.nn.recordings import (
    bad_steps_at_layer,
    encode_in_parts,
    samples_at_layer,
    steps_of_layer,
)
from braindecode_samba.signals.annotated import set_apart
from braindecode_samba.signals.continuous import Recording
from braindecode_samba.signals.declared import refuse_odd_seconds
from braindecode_samba.signals.inputs import Windows

# every stage, one behind the other
ALL_LAYERS = "all"
_STAGES = ("spatial", "encoder1", "encoder2", "encoder3", "mediator")
# in the order of nine_statistics
_MOMENTS = ("min", "max", "mean", "std")
_QUANTILES = ("q05", "q25", "median", "q75", "q95")
_POOLINGS: dict[str, Callable[[Tensor], Tensor]] = {
    "statistics": nine_statistics,
    "mean": functools.partial(torch.mean, dim=-1),
    "logvar": log_variance,
}


@dataclass(kw_only=True, eq=False, repr=False)
class SAMBAFeatures(TransformerMixin, SavedEstimator):
    """Turn windows of EEG into features: statistics over time of layers of SAMBA.

    As it comes: the log variances of all stages of `samba-labels`, which has learnt
    labels of public data sets: its card says whose, and these people are not for
    scores. `samba-e` has seen no labels. The published probe is
    ``checkpoint="samba-e", layer="pool3", pooling="statistics"``.

    Parameters
    ----------
    ch_names, chs_info, sfreq, exclude, positions, batch_size, device, verbose
        As for `SAMBAClassifier`.
    layer : str
        "all" (spatial embedding, encoder 1 to 3 and mediator side by side, by their
        log variances), or a layer of `SAMBA.encode`: "spatial", "input_embedding",
        "encoder1", "pool1", "encoder2", "pool2", "encoder3", "pool3" or "mediator".
    pooling : {"statistics", "mean", "logvar"}
        The nine published statistics of each feature, its mean over time, or the
        logarithm of its variance.
    model : SAMBA, optional
        Network to take as it is; it is copied.  None: ``checkpoint``, or a random one.
    checkpoint : str or path-like, optional
        Trained weights, see `braindecode_samba.load_checkpoint`; ``model`` goes before.
    model_params : dict, optional
        Arguments for the random `SAMBA`, or those that a checkpoint leaves open.
    random_state : int, RandomState instance or None
        Seeds the random weights.  Global random states stay untouched.

    Attributes
    ----------
    model_ : SAMBA
        The network.
    n_features_in_, n_times_, sfreq_, checkpoint_report_
        As for `SAMBAClassifier`.

    See Also
    --------
    braindecode_samba.nn.nine_statistics : The statistics and their order.

    Examples
    --------
    >>> import numpy as np
    >>> from braindecode_samba import SAMBAFeatures
    >>> X = np.random.default_rng(0).normal(size=(2, 3, 64))
    >>> features = SAMBAFeatures(ch_names=["C3", "Cz", "C4"], sfreq=128)
    >>> features.fit_transform(X).shape
    (2, 478)
    """

    _learned = ("_n_features_out",)
    _unsaved = ("model",)  # as the network it is

    layer: str = ALL_LAYERS
    pooling: str = "logvar"
    model: SAMBA | None = None
    checkpoint: str | os.PathLike[str] | None = "samba-labels"

    def __sklearn_tags__(self) -> Tags:
        """Tags of scikit-learn: features are float32 whatever comes in."""
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float32"]
        return tags

    def fit(self, X: Any, y: ArrayLike | None = None) -> Self:
        """Take the network; nothing is trained.

        Parameters
        ----------
        X : array-like, mne.Epochs, list of mne.Epochs, or windows of braindecode
            Windows, see `braindecode_samba.signals.read_windows`.
        y : None
            Ignored.

        Returns
        -------
        Self
            The estimator.

        Raises
        ------
        ValueError, TypeError
            If X or a parameter can't be used, or windows are too short: at the layer
            "pool3" statistics need 16 samples at the model's rate.
        """
        windows = self._read_new(X)
        if self.pooling not in tuple(_POOLINGS):
            raise ValueError(
                f"pooling={self.pooling!r} is unknown: pass one of {tuple(_POOLINGS)}"
            )
        if self.layer == ALL_LAYERS and self.pooling != "logvar":
            raise ValueError(
                f"pooling={self.pooling!r} needs one layer: pass layer='pool3', or "
                "pooling='logvar'"
            )
        model, report = self._take_model(windows)
        model = model.to(choose_device(self.device))
        first = self._describe(model, windows.select(slice(1)))
        self._remember(windows)
        self.model_ = model
        self.checkpoint_report_ = report
        self._n_features_out = first.shape[1]
        return self

    def _take_model(self, windows: Windows) -> tuple[SAMBA, CheckpointReport | None]:
        if self.model is None:
            params = {"n_outputs": 1, **self._signal_params(windows)}
            report = None
            with seeded(draw_seed(self.random_state)):
                if self.checkpoint is None:
                    model = SAMBA(**params)
                else:
                    model, report = load_checkpoint(
                        self.checkpoint, verbose=0, **params
                    )
            self._scale_recordings(model, windows)
            return model, report
        if not isinstance(self.model, SAMBA):
            raise TypeError(f"model is a {type(self.model).__name__}: pass a SAMBA")
        if self.model_params:
            raise ValueError("pass either model or model_params: a model has its own")
        return copy.deepcopy(self.model), None

    def _restore(
        self,
        known: Known,
        learned: dict[str, Any],
        tensors: Mapping[str, Tensor],
        checkpoint: Checkpoint,
    ) -> None:
        model = SAMBA(**checkpoint.arguments(SAMBA, {})).eval()
        self.checkpoint_report_ = checkpoint.fill(model)
        self.model_ = model.to(choose_device(self.device))
        self._n_features_out = learned["_n_features_out"]
        # another fit takes the same network
        self.model, self.model_params = self.model_, None

    def _describe(self, model: SAMBA, windows: Windows) -> NDArray[np.float32]:
        pool = _POOLINGS[self.pooling]

        def features(**batch: Tensor) -> Tensor:
            if self.layer == ALL_LAYERS:
                return all_stage_variances(model.trunk(**batch))
            z = model.encode(**batch, layer=self.layer)
            if self.pooling == "logvar" and z.shape[-1] < 2:
                raise ValueError(
                    f"X has one time step at layer {self.layer!r}, which has no "
                    "variance: pass longer windows, or pooling='mean'"
                )
            return pool(z)

        model = at_rate(model, windows.sfreq)
        return run_in_batches(model, features, windows, self.batch_size)

    def transform(self, X: Any) -> NDArray[np.float32]:
        """Compute the features of each window.

        Parameters
        ----------
        X : array-like, mne.Epochs, list of mne.Epochs, or windows of braindecode
            Windows.

        Returns
        -------
        ndarray of float32, shape (n, n_features)
            In the order of `get_feature_names_out`.
        """
        parts = self._read_parts(X)
        return np.concatenate([self._describe(self.model_, part) for part in parts])

    def transform_recording(
        self,
        recording: Any,
        *,
        window_seconds: float | None = None,
        stride_seconds: float | None = None,
        bad: str = "mark",
    ) -> NDArray[np.float32]:
        """Compute features of a whole recording, in bounded memory.

        The recording goes through the network once, with states handed on, see
        `SAMBA.encode_recording`; then the layer's signals are described, all at once or
        window by window. Windows of `transform` start from a state of zero instead, and
        each has its own scale.

        Parameters
        ----------
        recording : mne.io.Raw, RawDataset, or array of shape (n_chans, n_times)
            Raw may be of any rate and any electrodes; arrays are as those of `fit`.
        window_seconds : float, optional
            Length of the windows; by default the whole recording is one, and the
            layer's signals are held: a quarter of a GB for a night at "pool3".
        stride_seconds : float, optional
            From one window to the next; by default their length.
        bad : {"mark", "nan", "use"}
            What becomes of stretches of a Raw that annotations call bad. They count
            neither for scales nor for statistics, and the network meets silence there:
            what they hold changes nothing outside. ``"mark"``: windows that reach
            into them are masked, in an array of `numpy.ma`. ``"nan"``: they are NaN.
            ``"use"``: the stretches are used as any other.

        Returns
        -------
        ndarray of float32, shape (n_windows, n_features)
            In the order of `get_feature_names_out`; what is left of the recording after
            the last whole window is left out.

        Raises
        ------
        ValueError, TypeError
            If the recording can't be used, or is shorter than a window.
        """
        check_is_fitted(self)
        if self.layer == ALL_LAYERS:
            raise ValueError(
                "a recording is encoded layer by layer: pass layer='pool3' or another "
                "to the constructor"
            )
        source = Recording(recording, self.sfreq_, bad, self.positions)
        source.refuse_transposed(self.n_features_in_)
        trunk = self.model_.trunk
        n_times = samples_at_layer(trunk, source, self.layer)
        inside = bad_steps_at_layer(trunk, source, self.layer).numpy()
        pool = _POOLINGS[self.pooling]
        self.model_.eval()
        if window_seconds is None:
            if stride_seconds is not None:
                raise ValueError("stride_seconds needs window_seconds: pass both")
            signals = self.model_.encode_recording(recording, self.layer, bad=bad)
            good = torch.from_numpy(np.asarray(signals)[:, ~inside])
            return set_apart(pool(good.unsqueeze(0)).numpy(), np.zeros(1, bool), bad)
        rate = trunk.signal.model_sfreq / steps_of_layer(self.layer)
        length, starts = _windows_of(n_times, rate, window_seconds, stride_seconds)
        parts = encode_in_parts(trunk, source, self.layer)
        with torch.no_grad():
            rows = [pool(window) for window in _cut(parts, length, starts)]
        touched = np.array([inside[i : i + length].any() for i in starts])
        return set_apart(torch.cat(rows).float().cpu().numpy(), touched, bad)

    def get_feature_names_out(self, input_features: Any = None) -> NDArray[np.object_]:
        """Names of the features, such as "pool3_12_median".

        Parameters
        ----------
        input_features : None
            Ignored: features are no channels.

        Returns
        -------
        ndarray of object, shape (n_features,)
            Layer, number of the feature in it, and statistic.
        """
        check_is_fitted(self)
        if self.layer == ALL_LAYERS:
            model = self.model_
            sizes = [len(model.trunk.spatial.target_positions)]
            encoder = model.trunk.encoder
            sizes += [encoder.conv2.in_channels, encoder.conv3.in_channels]
            sizes += 2 * [encoder.conv3.out_channels]
            named = [
                f"{stage}_{i}_logvar"
                for stage, size in zip(_STAGES, sizes, strict=True)
                for i in range(size)
            ]
            return np.array(named, dtype=object)
        if self.pooling != "statistics":
            parts = [(i, self.pooling) for i in range(self._n_features_out)]
        else:
            n = self._n_features_out // len(_MOMENTS + _QUANTILES)
            parts = [(i, name) for name in _MOMENTS for i in range(n)]
            parts += [(i, name) for i in range(n) for name in _QUANTILES]
        return np.array([f"{self.layer}_{i}_{name}" for i, name in parts], dtype=object)


def _windows_of(
    n_times: int, rate: float, window_seconds: float, stride_seconds: float | None
) -> tuple[int, list[int]]:
    """Length and starts, in steps of a layer, of windows in a signal of n_times."""
    stride = window_seconds if stride_seconds is None else stride_seconds
    refuse_odd_seconds(window_seconds=window_seconds, stride_seconds=stride)
    length = round(window_seconds * rate)
    if length < 2 or not stride * rate >= 1:
        raise ValueError(
            f"window_seconds={window_seconds} and stride_seconds={stride_seconds} are "
            f"less than 2 and 1 steps of the layer, of which there are {rate:g} in a "
            "second: pass longer ones"
        )
    if length > n_times:
        raise ValueError(
            f"the recording lasts {n_times / rate:g} s: pass window_seconds of at most "
            "that"
        )
    n = int((n_times - length) / (stride * rate)) + 1
    starts = (round(i * stride * rate) for i in range(n + 1))
    return length, [start for start in starts if start + length <= n_times]


def _cut(parts: Iterator[Tensor], length: int, starts: list[int]) -> Iterator[Tensor]:
    """Windows of a signal that comes in parts, as soon as each is complete."""
    held: list[Tensor] = []
    first = stop = 0  # samples that are held
    waiting = iter(starts)
    start = next(waiting, None)
    for part in parts:
        held.append(part)
        stop += part.shape[2]
        while start is not None and start + length <= stop:
            held = [torch.cat(held, dim=2)]
            yield held[0][:, :, start - first : start - first + length]
            start = next(waiting, None)
        if start is not None:
            while held and first + held[0].shape[2] <= start:
                first += held.pop(0).shape[2]
