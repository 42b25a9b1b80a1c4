"""SAMBA, a classifier and regressor of EEG windows for braindecode."""

from numbers import Integral
from typing import Any

import numpy as np
import torch
from braindecode.models.base import EEGModuleMixin
from numpy.typing import NDArray
from sklearn.utils import check_scalar
from torch import Tensor, nn

from braindecode_samba.models.base import PositionedModel, shares_arguments
from braindecode_samba.nn.heads import ReadingsHead, make_head
from braindecode_samba.nn.long import goes_in_pieces, long_window_features
from braindecode_samba.nn.pooling import stage_variances
from braindecode_samba.nn.recordings import (
    bad_steps_at_layer,
    encode_in_parts,
    samples_at_layer,
)
from braindecode_samba.scan.traced import is_traced
from braindecode_samba.signals.annotated import set_apart
from braindecode_samba.signals.continuous import Recording


class SAMBA(PositionedModel, EEGModuleMixin, nn.Module):
    r"""SAMBA for classification and regression of EEG windows.

    :bdg-danger:`Foundation Model`

    Encoder and mediator of SAMBA [samba]_, a U-shaped network on Mamba-2 that takes any
    electrodes and any length, with a head that reads powers off several stages.

    Input: windows of shape (batch, n_chans, n_times) in any unit and at any length
    from 8 samples of the model's rate on. Offsets and scale are removed inside, and
    with ``sfreq`` other than the model's 128 Hz windows are resampled inside. The
    order of channels does not matter: each is known by its position, from ``chs_info``
    or per batch from ``pos``.

    Parameters
    ----------
    model_sfreq : float
        Rate at which the network works, Hz.
    scale : {"window", "channel", "recording"} or None
        How amplitudes are made comparable, see
        `braindecode_samba.nn.SignalInput`.
    spatial_init : {"distance", "published"}
        Start of the spatial embedding, see
        `braindecode_samba.nn.DistanceWeights`.
    head : {"power", "variance", "readings"}
        ``"power"`` (ours): log band power of the spatial embedding, each target against
        its surround, beside the log variance of the deeper stages. ``"variance"``: the
        deeper stages alone. ``"readings"`` (ours): rhythms, patterns, evoked and steady
        responses and all stages side by side (`braindecode_samba.nn.Readings`), which
        the estimators solve without gradients.
    numbers : bool
        Whether the outputs are numbers and no classes, for ``head="readings"``.
    evoked_seconds : float
        How much of a window, from its start, ``head="readings"`` reads for what is
        locked to its start.
    surround : float
        Start of the strength with which the head subtracts a target's surround,
        which is learned. 1 serves recordings as they are; 0 those that were whitened
        (`braindecode_samba.RecordingAligner`), which have lost what is common
        to all electrodes before.
    d_state, d_conv, expand : int
        Sizes of the Mamba-2 layers; published values by default.
    target_positions : sequence of sequence of float, shape (n_targets, 3), optional
        Targets of the spatial embedding, metres, in ``coordinate_frame``. By default
        the 94 electrodes of the colin27 10-20 template.
    coordinate_frame : {"head", "colin27_mri"}
        Frame of the targets. Positions always come in MNE's head frame; with
        ``"colin27_mri"`` (the authors' frame) they are taken there inside.
    activation : type of nn.Module
        Activation in the head.
    drop_prob : float
        Dropout before the last layer.

    Raises
    ------
    ValueError
        If an option is unknown, or positions are not in metres.

    Notes
    -----
    Departures from the published network, each an option: ``spatial_init="distance"``,
    ``scale="window"`` and the head; the authors publish no classification head.

    References
    ----------
    .. [samba] SAMBA, 2025, arXiv 2511.18571.

    Examples
    --------
    >>> import torch
    >>> from braindecode_samba import SAMBA, chs_info_from_names
    >>> chs_info = chs_info_from_names(["C3", "Cz", "C4"])
    >>> model = SAMBA(n_outputs=2, chs_info=chs_info, sfreq=250)
    >>> model(torch.randn(8, 3, 500)).shape
    torch.Size([8, 2])
    """

    @shares_arguments
    def __init__(
        self,
        *signals: Any,
        head: str = "power",
        surround: float = 1.0,
        numbers: bool = False,
        evoked_seconds: float = 1.0,
        activation: type[nn.Module] = nn.ELU,
        drop_prob: float = 0.5,
        **shared: Any,
    ) -> None:
        super().__init__(*signals, **shared)
        check_scalar(self.n_outputs, "n_outputs", Integral, min_val=1)
        if not isinstance(activation, type) or not issubclass(activation, nn.Module):
            raise TypeError(
                f"activation={activation!r:.40}: pass a class, such as torch.nn.ELU"
            )
        self.head = make_head(
            head,
            self.trunk.spatial.target_positions,
            self.trunk.signal.model_sfreq,
            self.n_outputs,
            numbers=numbers,
            evoked_seconds=evoked_seconds,
            surround=surround,
            activation=activation,
            drop_prob=drop_prob,
        )
        self.final_layer = nn.Linear(self.head.n_features, self.n_outputs)

    def forward(
        self,
        x: Tensor,
        pos: Tensor | None = None,
        ch_mask: Tensor | None = None,
        return_features: bool = False,
    ) -> Tensor:
        """Classify windows.

        Parameters
        ----------
        x : Tensor, shape (batch, n_chans, n_times)
            Windows, any unit, float32.
        pos : Tensor, shape (n_chans, 3) or (batch, n_chans, 3), optional
            Electrode positions, MNE head frame, metres; those of ``chs_info`` by
            default.
        ch_mask : Tensor of bool, shape (n_chans,) or (batch, n_chans), optional
            True where a channel is present. An absent one has no influence.
        return_features : bool
            Return the features that the last layer reads.

        Returns
        -------
        Tensor, shape (batch, n_outputs)
            Logits or regressed values; with ``return_features`` a dict with
            ``"features"``, shape (batch, n_features), and ``"cls_token"``, None.

        Raises
        ------
        ValueError
            If there are no positions, they don't fit the channels or are not in metres,
            a window is too short or has no present channel.
        """
        features: Tensor | None = None
        if not torch.jit.is_scripting():
            if not is_traced() and goes_in_pieces(x):
                features = long_window_features(self.trunk, self.head, x, pos, ch_mask)
        if features is None:
            stages = self.trunk(x, pos, ch_mask)
            variances = stage_variances(stages)
            features = self.head(x, stages.signals, stages.weights, variances, ch_mask)
        if not torch.jit.is_scripting():
            if return_features:
                return {"features": features, "cls_token": None}  # type: ignore[return-value]
        return self.final_layer(features)

    def encode(
        self,
        x: Tensor,
        pos: Tensor | None = None,
        ch_mask: Tensor | None = None,
        layer: str = "pool3",
    ) -> Tensor:
        """Signals of one stage, see `braindecode_samba.nn.Trunk.encode`."""
        return self.trunk.encode(x, pos, ch_mask, layer)

    def encode_recording(
        self,
        recording: Any,
        layer: str = "pool3",
        *,
        pos: Tensor | None = None,
        ch_mask: Tensor | None = None,
        bad: str = "mark",
        positions: str = "checked",
    ) -> NDArray[np.float32]:
        """Signals of one stage for a whole recording, in bounded memory.

        Equal to `encode` of the recording as one window, up to rounding, however long
        it is: it is read, scaled and encoded stretch by stretch, and each stretch
        begins with the state that the one before left. Median and scale of the channels
        take a first pass over the samples; the layer ``"mediator"``, whose norm runs
        over all time, takes one more for its mean and variance. Beside the result, some
        hundred MB are held.

        Parameters
        ----------
        recording : mne.io.Raw, RawDataset, or array of shape (n_chans, n_times)
            Any unit. Raw may stay on disk and be of any rate and any electrodes; of
            arrays the rate is ``sfreq`` of the model and the electrodes are its own.
        layer : str
            As for `encode`.
        pos : Tensor, shape (n_chans, 3), optional
            Electrode positions, head frame, metres; by default those of the recording,
            else those of the model.
        ch_mask : Tensor of bool, shape (n_chans,), optional
            True where a channel is present.
        bad : {"mark", "nan", "use"}
            What becomes of stretches of a Raw that annotations call bad. They count
            neither for scales nor for statistics, and the network meets silence there:
            what they hold changes nothing outside. ``"mark"``: results inside are
            masked, in an array of `numpy.ma`. ``"nan"``: they are NaN. ``"use"``: the
            stretches are used as any other.
        positions : {"checked", "measured", "names"}
            What happens where places that a Raw brings contradict its names: an error,
            or these or those are taken.

        Returns
        -------
        ndarray of float32, shape (features, times at the rate of the layer)
            Signals of that layer.

        Raises
        ------
        ValueError, TypeError
            If the recording holds NaN, is too short, or does not fit the positions.

        Notes
        -----
        ``scale="window"`` means the recording here. A scale that was set for
        ``scale="recording"`` is taken; without one, it is measured on this recording.
        """
        source = Recording(recording, self.trunk.signal.sfreq, bad, positions)
        n_times = samples_at_layer(self.trunk, source, layer)
        signals: NDArray[np.float32] | None = None
        stop = 0
        for part in encode_in_parts(self.trunk, source, layer, pos, ch_mask):
            new = part[0].cpu().numpy()
            if signals is None:
                signals = np.empty((len(new), n_times), np.float32)
            signals[:, stop : stop + new.shape[1]] = new
            stop += new.shape[1]
        assert signals is not None  # a recording of 8 samples reaches every layer
        inside = bad_steps_at_layer(self.trunk, source, layer).numpy()
        return set_apart(signals.T, inside, bad).T

    def reset_head(self, n_outputs: int) -> None:
        """Replace the last layer by a fresh one, and readings by unsolved ones.

        Parameters
        ----------
        n_outputs : int
            Its number of outputs.
        """
        self._set_n_outputs(n_outputs)  # type: ignore[operator]
        weight = self.final_layer.weight
        if isinstance(self.head, ReadingsHead):
            targets = self.trunk.spatial.target_positions
            self.head = self.head.for_outputs(targets, n_outputs)
        self.final_layer = nn.Linear(
            self.head.n_features, n_outputs, device=weight.device, dtype=weight.dtype
        )
