"""Euclidean alignment: each recording whitened by its own mean covariance.

`RecordingAligner` acts on arrays, Epochs and continuous Raw.  It uses no labels, but it
does use the trials of whoever is scored: say so beside a score.  Scaling of single
windows is in `braindecode_samba.nn.scaling`.
"""

from collections.abc import Hashable
from dataclasses import dataclass
from typing import Any, Self

import mne
import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import TransformerMixin
from sklearn.utils import check_consistent_length
from sklearn.utils.validation import check_is_fitted

from braindecode_samba.signals.annotated import BadSamples
from braindecode_samba.signals.arrays import as_numbers, check_number
from braindecode_samba.signals.broken import name_of, recording_named
from braindecode_samba.signals.declared import as_names
from braindecode_samba.signals.described import data_of, eeg_rows
from braindecode_samba.signals.inputs import TakesWindows
from braindecode_samba.signals.whitening import FLOOR, covariance_of, inverse_root

_ACCEPTED = "pass an array (n, channels, times) with groups=, mne.Epochs or mne.io.Raw"
# a Raw is one recording and has no name of its own
_RAW: Hashable = "raw"


@dataclass(kw_only=True, eq=False, repr=False)
class RecordingAligner(TransformerMixin, TakesWindows):
    r"""Whiten each recording by the mean covariance of its own windows.

    Euclidean alignment [ea]_: with :math:`R` the mean over a recording's windows of
    their covariances over time, a window :math:`X` becomes :math:`R^{-1/2} X`: the
    average covariance of every recording is then the identity.  Channels keep their
    order and, as the root is symmetric, roughly their places.  The result has no unit:
    scaling a recording changes nothing.

    Eigenvalues of :math:`R` below ``floor`` times the largest are taken as that, so
    that directions in which nothing was recorded (average reference, bipolar chains,
    interpolated and dead channels) are not blown up.

    Parameters
    ----------
    floor : float
        Least eigenvalue of a mean covariance, as a share of its largest.
    group_column : str, optional
        Column of ``epochs.metadata`` that tells whose recording an epoch belongs to.
    window_seconds : float
        Length of the pieces, s, into which a Raw is cut to measure its covariance.
        Pieces that overlap annotations beginning with "bad" don't count.

    Attributes
    ----------
    references_ : dict of ndarray, shape (n_chans, n_chans)
        Mean covariance by recording.
    filters_ : dict of ndarray, shape (n_chans, n_chans)
        What the windows of each recording are multiplied by.
    n_windows_ : dict of int
        Number of windows that each was measured on.
    n_features_in_ : int
        Number of channels.

    Notes
    -----
    Give several recordings their groups, or fit one at a time: a mean over different
    heads aligns nothing, so arrays without groups are refused.  To align whoever is
    scored, fit on that person's windows, which may be earlier ones.

    References
    ----------
    .. [ea] He, H., Wu, D. (2020). Transfer learning for brain-computer interfaces: a
       Euclidean space data alignment approach. IEEE Transactions on Biomedical
       Engineering 67(2), 399-410.

    Examples
    --------
    >>> import numpy as np
    >>> from braindecode_samba import RecordingAligner
    >>> X = np.random.default_rng(0).normal(size=(6, 3, 100)) * [[[1], [5], [20]]]
    >>> aligned = RecordingAligner().fit_transform(X, groups=[1, 1, 1, 2, 2, 2])
    >>> np.cov(np.hstack(aligned[:3])).round(1) + 0.0
    array([[1., 0., 0.],
           [0., 1., 0.],
           [0., 0., 1.]])
    """

    floor: float = FLOOR
    group_column: str | None = None
    window_seconds: float = 2.0

    def fit(self, X: Any, y: None = None, *, groups: ArrayLike | None = None) -> Self:
        """Measure the mean covariance of each recording.

        Parameters
        ----------
        X : array-like, shape (n, n_chans, n_times), mne.Epochs or mne.io.Raw
            Windows, or one continuous recording.  Of Epochs and Raw the channels of
            type EEG are used.
        y : None
            Ignored.
        groups : array-like, shape (n,), optional
            Whose recording each window belongs to.  Arrays need it; Epochs may name
            ``group_column`` instead; a Raw has none.

        Returns
        -------
        Self
            The aligner.

        Raises
        ------
        ValueError
            If groups are missing or don't fit, X holds NaN or infinity, a recording
            does not move at all, or a parameter is unknown.
        TypeError
            If X is of another kind.
        """
        self._check_settings()
        windows, keys = self._read(X, groups, cut=True)
        references = {
            key: covariance_of(windows[keys == key], key).matrix
            for key in np.unique(keys).tolist()
        }
        self.references_ = references
        self.filters_ = {
            key: inverse_root(reference, self.floor)
            for key, reference in references.items()
        }
        self.n_windows_ = {key: int((keys == key).sum()) for key in references}
        self.n_features_in_ = windows.shape[1]
        return self

    def transform(self, X: Any, *, groups: ArrayLike | None = None) -> Any:
        """Whiten windows of recordings that were fitted.

        Parameters
        ----------
        X : array-like, shape (n, n_chans, n_times), mne.Epochs or mne.io.Raw
            As for `fit`.
        groups : array-like, shape (n,), optional
            As for `fit`.

        Returns
        -------
        ndarray, mne.EpochsArray or mne.io.Raw
            A copy of the kind of X, aligned; float32 stays float32.  Channels of Epochs
            and Raw that are no EEG stay as they are.

        Raises
        ------
        ValueError
            As for `fit`, and if a recording was not fitted or has other channels.
        TypeError
            If X is of another kind.
        """
        check_is_fitted(self)
        windows, keys = self._read(X, groups, cut=False)
        if windows.shape[1] != self.n_features_in_:
            raise ValueError(
                f"X has {windows.shape[1]} channels, and the aligner was fitted on "
                f"{self.n_features_in_}: pass these"
            )
        present = np.unique(keys).tolist()
        if strange := [key for key in present if key not in self.filters_]:
            raise ValueError(
                f"the aligner was not fitted on {strange}: fit it on windows of "
                "whoever is to be aligned, no labels are needed"
            )
        aligned = np.empty_like(windows)
        for key in present:
            rows = keys == key
            aligned[rows] = self.filters_[key] @ windows[rows]
        return _put_back(X, aligned)

    def fit_transform(
        self, X: Any, y: None = None, *, groups: ArrayLike | None = None
    ) -> Any:
        """Align each recording by itself.

        Parameters
        ----------
        X : array-like, shape (n, n_chans, n_times), mne.Epochs or mne.io.Raw
            As for `fit`.
        y : None
            Ignored.
        groups : array-like, shape (n,), optional
            As for `fit`.

        Returns
        -------
        ndarray, mne.EpochsArray or mne.io.Raw
            As for `transform`.
        """
        return self.fit(X, groups=groups).transform(X, groups=groups)

    def _check_settings(self) -> None:
        inside: dict[str, Any] = {"min_val": 0, "include_boundaries": "neither"}
        check_number(self.floor, "floor", max_val=1, **inside)
        check_number(self.window_seconds, "window_seconds", **inside)

    def _read(
        self, X: Any, groups: ArrayLike | None, *, cut: bool
    ) -> tuple[NDArray[np.floating[Any]], NDArray[Any]]:
        """Windows (n, channels, times) and whose each is; a Raw is cut, or is one."""
        if isinstance(X, mne.io.BaseRaw):
            if groups is not None:
                raise ValueError("a Raw is one recording: pass groups=None")
            windows = _cut(X, self.window_seconds) if cut else _whole(X)
            keys = np.full(len(windows), _RAW)
        elif isinstance(X, mne.BaseEpochs):
            rows = eeg_rows(X.info.get_channel_types())
            windows = data_of(X, rows)
            keys = self._keys(groups, X)
        elif isinstance(X, str | bytes | dict | None):
            raise TypeError(f"X is a {type(X).__name__}: {_ACCEPTED}")
        else:
            windows = as_numbers(X, "X")
            if windows.dtype != np.float32:
                windows = windows.astype(np.float64)
            if windows.ndim != 3:
                raise ValueError(f"X has shape {windows.shape}: {_ACCEPTED}")
            keys = self._keys(groups, None)
        if not windows.size:
            raise ValueError(
                "X holds no windows: pass some, or a Raw that annotations do not call "
                "bad throughout"
            )
        if isinstance(X, mne.io.BaseRaw) and not cut:
            counted = windows[..., ~BadSamples(X).read(0, X.n_times)]
        else:
            counted = windows
        if not (np.abs(counted) < np.finfo(np.float32).max).all():
            raise ValueError(
                "X holds NaN, infinity or more than float32 can hold: repair it"
            )
        check_consistent_length(windows, keys)
        return windows, keys

    def _keys(
        self, groups: ArrayLike | None, epochs: mne.BaseEpochs | None
    ) -> NDArray[Any]:
        if groups is not None:
            return as_names("groups", groups)
        if epochs is None:
            raise ValueError(
                "nobody says whose recording each window belongs to, and a mean over "
                "several heads aligns nothing: pass groups= (one value throughout for "
                "a single recording)"
            )
        table = epochs.metadata
        if self.group_column is None or table is None or self.group_column not in table:
            raise ValueError(
                f"group_column={self.group_column!r} names no column of "
                "epochs.metadata: pass one that tells the recording, or groups="
            )
        return as_names("groups", table[self.group_column].to_numpy())


def _cut(raw: mne.io.BaseRaw, seconds: float) -> NDArray[np.float64]:
    """Pieces of a continuous recording, without those that are marked as bad."""
    duration = min(seconds, raw.n_times / raw.info["sfreq"])
    with recording_named(name_of(raw)):
        epochs = mne.make_fixed_length_epochs(
            raw, duration=duration, preload=True, verbose="error"
        )
    rows = eeg_rows(raw.get_channel_types())
    return epochs.get_data(picks=rows, verbose="error")


def _whole(raw: mne.io.BaseRaw) -> NDArray[np.float64]:
    rows = eeg_rows(raw.get_channel_types())
    with recording_named(name_of(raw)):
        return raw.get_data(picks=rows, verbose="error")[None]


def _put_back(X: Any, aligned: NDArray[np.floating[Any]]) -> Any:
    """Aligned signals as what they came as."""
    if isinstance(X, mne.io.BaseRaw):
        raw = X.copy().load_data(verbose="error")
        rows = eeg_rows(raw.get_channel_types())
        return raw.apply_function(
            lambda _: aligned[0], picks=rows, channel_wise=False, verbose="error"
        )
    if not isinstance(X, mne.BaseEpochs):
        return aligned
    data = X.get_data(verbose="error")
    data[:, eeg_rows(X.info.get_channel_types())] = aligned
    return mne.EpochsArray(
        data,
        X.info,
        events=X.events,
        tmin=X.tmin,
        event_id=X.event_id,
        metadata=X.metadata,
        selection=X.selection,
        drop_log=X.drop_log,
        verbose="error",
    )
