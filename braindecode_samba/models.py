"""The two models: SAMBA, a braindecode classifier, and its reconstructing twin.

Both join the shared trunk (`braindecode_samba.nn.trunk`) with positions from
`braindecode_samba.signals.montages`; training loops and scikit-learn's rules live in
`braindecode_samba.estimators`.
"""

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from braindecode.models.base import EEGModuleMixin
from numpy.typing import ArrayLike, NDArray
from torch import Tensor, nn

from braindecode_samba.nn.heads import WindowFeatures
from braindecode_samba.nn.long import (
    as_one_layer,
    goes_in_pieces,
    long_window_features,
    rebuild_long_windows,
)
from braindecode_samba.nn.recordings import Recording, encode_in_parts, samples_at_layer
from braindecode_samba.nn.reference import (
    layer_sizes,
    reference_name,
    rename_reference_keys,
)
from braindecode_samba.nn.scaling import MODEL_SFREQ
from braindecode_samba.nn.spatial import CoordinateReadout
from braindecode_samba.nn.trunk import Positions, Trunk
from braindecode_samba.nn.unet import N_FEATURES, Decoder
from braindecode_samba.signals.montages import (
    check_positions,
    colin27_head_transform,
    positions_from_chs_info,
    to_colin27_mri,
)
from braindecode_samba.signals.montages import target_positions as template_targets

FRAMES = ("head", "colin27_mri")


class _PositionedModel(EEGModuleMixin, nn.Module):
    """What both models do with the positions of their trunk."""

    trunk: Trunk
    n_chans: int
    n_outputs: int

    def spatial_weights(
        self, pos: Tensor | None = None, ch_mask: Tensor | None = None
    ) -> Tensor:
        """Tell what each electrode contributes to each target.

        Parameters
        ----------
        pos : Tensor, shape (n_chans, 3) or (batch, n_chans, 3), optional
            Electrode positions, metres; those of ``chs_info`` by default.
        ch_mask : Tensor of bool, shape (n_chans,) or (batch, n_chans), optional
            True where a channel is present.

        Returns
        -------
        Tensor, shape (n_targets, n_chans) or (batch, n_targets, n_chans)
            Positive weights that sum to 1 over the channels.
        """
        return self.trunk.spatial_weights(pos, ch_mask)

    @classmethod
    def from_pretrained(
        cls,
        pretrained_model_name_or_path: str | os.PathLike[str],
        *,
        map_location: str | torch.device = "cpu",
        **arguments: Any,
    ) -> Self:
        """Load a trained model, or nothing: `braindecode_samba.load_checkpoint`.

        Parameters
        ----------
        pretrained_model_name_or_path : str or path-like
            A shipped checkpoint, a folder, a file or ``"owner/name"`` on the hub.
        map_location : str or torch.device
            Device of the model.
        **arguments
            Of `braindecode_samba.load_checkpoint`: signals and options of the model,
            ``verbose``, and those of the hub.

        Returns
        -------
        SAMBA or SAMBAReconstructor
            In evaluation mode.

        Raises
        ------
        ValueError, TypeError, ImportError
            As for `braindecode_samba.load_checkpoint`.
        """
        if cls not in (SAMBA, SAMBAReconstructor):
            # classes made of these, as braindecode's interpolating ones, have options
            # of their own
            return super().from_pretrained(
                pretrained_model_name_or_path, map_location=map_location, **arguments
            )
        # late: loading builds these models, so its room lies behind this module, but
        # braindecode expects that a model class can load itself
        from braindecode_samba.checkpoints import load_checkpoint

        model, _ = load_checkpoint(pretrained_model_name_or_path, cls, **arguments)
        return model.to(map_location)

    @classmethod
    def _from_pretrained(cls, **arguments: Any) -> Any:
        """Build a class made of these; notes in a configuration are no options."""
        from braindecode_samba.checkpoints import NOTES  # late, as above

        options = {k: v for k, v in arguments.items() if k not in NOTES}
        return super()._from_pretrained(**options)

    def save_pretrained(
        self,
        save_directory: str | os.PathLike[str],
        *,
        config: Any = None,
        repo_id: str | None = None,
        push_to_hub: bool = False,
        model_card_kwargs: dict[str, Any] | None = None,
        **push_to_hub_kwargs: Any,
    ) -> str | None:
        """Write the model into a folder, or nothing.

        Parameters
        ----------
        save_directory : str or path-like
            The folder. A card (``README.md``) that is there stays; a new one needs
            huggingface_hub.
        config, repo_id, push_to_hub, model_card_kwargs, **push_to_hub_kwargs
            As for `huggingface_hub.PyTorchModelHubMixin.save_pretrained`.

        Returns
        -------
        str or None
            Address of the commit with ``push_to_hub``.

        Raises
        ------
        OSError
            If it can't be written; what was there before is unchanged.
        """
        folder, card = Path(save_directory), None
        make_card = getattr(self, "generate_model_card", None)
        if make_card is not None and not (folder / "README.md").exists():
            card = str(make_card(**(model_card_kwargs or {})))
        self._save_pretrained(folder, card)
        if not push_to_hub:
            return None
        return self.push_to_hub(  # type: ignore[operator]
            repo_id or folder.name,
            config=config,
            model_card_kwargs=model_card_kwargs,
            **push_to_hub_kwargs,
        )

    def _save_pretrained(
        self, save_directory: str | os.PathLike[str], card: str | None = None
    ) -> None:
        """Write weights and configuration; braindecode would add a pickle."""
        from braindecode_samba.checkpoints import save_model  # late, as above

        save_model(Path(save_directory), self, card)

    def get_output_shape(self) -> tuple[int, ...]:
        """Shape of the output for one window, see `EEGModuleMixin`."""
        with _stand_in_positions(self):
            return super().get_output_shape()

    def get_torchinfo_statistics(self, *args: Any, **kwargs: Any) -> Any:
        """Table of layers, see `EEGModuleMixin`."""
        with _stand_in_positions(self):
            return super().get_torchinfo_statistics(*args, **kwargs)


class SAMBA(_PositionedModel):
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
    head : {"power", "variance", "components"}
        ``"power"`` (ours): log band power of the spatial embedding, each target against
        its surround, beside the log variance of the deeper stages. ``"variance"``: the
        deeper stages alone. ``"components"`` (ours): ``"power"``, and beside it powers
        of spatial components, which are weighted sums of all targets, and the log
        variances of the first stage; estimators with ``start="solved"`` start it.
    n_components : int
        Number of components of ``head="components"``.
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

    def __init__(
        self,
        n_outputs: int | None = None,
        n_chans: int | None = None,
        chs_info: list[dict[str, Any]] | None = None,
        n_times: int | None = None,
        input_window_seconds: float | None = None,
        sfreq: float | None = None,
        *,
        model_sfreq: float = MODEL_SFREQ,
        scale: str | None = "window",
        spatial_init: str = "distance",
        head: str = "power",
        surround: float = 1.0,
        n_components: int = 8,
        d_state: int = 16,
        d_conv: int = 2,
        expand: int = 8,
        target_positions: list[list[float]] | None = None,
        coordinate_frame: str = "head",
        activation: type[nn.Module] = nn.ELU,
        drop_prob: float = 0.5,
    ) -> None:
        super().__init__(
            n_outputs=n_outputs,
            n_chans=n_chans,
            chs_info=chs_info,
            n_times=n_times,
            input_window_seconds=input_window_seconds,
            sfreq=sfreq,
        )
        del n_outputs, n_chans, chs_info, n_times, input_window_seconds, sfreq
        self.trunk = _build_trunk(
            self,
            target_positions,
            coordinate_frame,
            model_sfreq=model_sfreq,
            scale=scale,
            spatial_init=spatial_init,
            d_state=d_state,
            d_conv=d_conv,
            expand=expand,
        )
        self.head = WindowFeatures(
            self.trunk.spatial.target_positions,
            model_sfreq,
            kind=head,
            activation=activation,
            drop_prob=drop_prob,
            surround=surround,
            n_components=n_components,
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
            if not torch.compiler.is_compiling() and goes_in_pieces(x):
                features = long_window_features(self.trunk, self.head, x, pos, ch_mask)
        if features is None:
            stages = self.trunk(x, pos, ch_mask)
            features = self.head(
                stages.signals,
                stages.weights,
                stages.encoder1,
                stages.encoder2,
                stages.encoder3,
                stages.mediator,
            )
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
        source = Recording(recording, self.trunk.signal.sfreq)
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
        return signals

    def reset_head(self, n_outputs: int) -> None:
        """Replace the last layer by a fresh one.

        Parameters
        ----------
        n_outputs : int
            Its number of outputs.
        """
        self._set_n_outputs(n_outputs)  # type: ignore[operator]
        weight = self.final_layer.weight
        self.final_layer = nn.Linear(
            self.head.n_features, n_outputs, device=weight.device, dtype=weight.dtype
        )


class SAMBAReconstructor(_PositionedModel):
    """SAMBA as it is pretrained: windows in, the same windows out.

    Parameters
    ----------
    readout : {"coordinate", "electrode"}
        ``"coordinate"`` (ours): the mirror image of the spatial embedding, for any
        electrodes. ``"electrode"``: the published layer with one output a channel.
    model_sfreq, scale, spatial_init, d_state, d_conv, expand, target_positions, \
    coordinate_frame
        As for `SAMBA`.

    Raises
    ------
    ValueError
        If an option is unknown, positions are not in metres, or the electrode readout
        does not know how many channels there are.

    Notes
    -----
    ``readout="electrode"``, ``spatial_init="published"`` and ``scale=None`` make the
    published network, with 1,058,593 + 65 n_chans parameters.

    References
    ----------
    SAMBA, 2025, arXiv 2511.18571.
    """

    def __init__(
        self,
        n_outputs: int | None = None,
        n_chans: int | None = None,
        chs_info: list[dict[str, Any]] | None = None,
        n_times: int | None = None,
        input_window_seconds: float | None = None,
        sfreq: float | None = None,
        *,
        readout: str = "coordinate",
        model_sfreq: float = MODEL_SFREQ,
        scale: str | None = "window",
        spatial_init: str = "distance",
        d_state: int = 16,
        d_conv: int = 2,
        expand: int = 8,
        target_positions: list[list[float]] | None = None,
        coordinate_frame: str = "head",
    ) -> None:
        super().__init__(
            n_outputs=n_outputs,
            n_chans=n_chans,
            chs_info=chs_info,
            n_times=n_times,
            input_window_seconds=input_window_seconds,
            sfreq=sfreq,
        )
        del n_outputs, n_chans, chs_info, n_times, input_window_seconds, sfreq
        self.trunk = _build_trunk(
            self,
            target_positions,
            coordinate_frame,
            model_sfreq=model_sfreq,
            scale=scale,
            spatial_init=spatial_init,
            d_state=d_state,
            d_conv=d_conv,
            expand=expand,
        )
        self.decoder = Decoder(d_state, d_conv, expand)
        if readout == "coordinate":
            targets = self.trunk.spatial.target_positions
            self.readout: nn.Module = CoordinateReadout(
                N_FEATURES, targets, spatial_init
            )
        elif readout == "electrode":
            self.readout = nn.Conv1d(N_FEATURES, self.n_chans, 1)
        else:
            raise ValueError(
                f"readout={readout!r} is unknown; pass 'coordinate' or 'electrode'"
            )

    @classmethod
    def from_reference(
        cls,
        state_dict: Mapping[str, Tensor],
        positions: ArrayLike,
        target_positions: ArrayLike,
    ) -> "SAMBAReconstructor":
        """Build the published network from the authors' parameters.

        Scaling and resampling are off. Positions, here and in later calls, are taken in
        the frame of the targets as they are.

        Parameters
        ----------
        state_dict : mapping of str to Tensor
            The 204 parameters under the authors' names.
        positions : array-like, shape (n_chans, 3)
            Electrodes, metres, in the frame of the targets.
        target_positions : array-like, shape (n_targets, 3)
            Targets, metres.

        Returns
        -------
        SAMBAReconstructor
            The published network, in the dtype of the parameters.

        Raises
        ------
        ValueError
            If a parameter is missing, strange or of another shape, or the positions do
            not fit.
        """
        positions = check_positions(positions)
        targets = check_positions(target_positions)
        renamed = rename_reference_keys(state_dict)
        try:
            out_channels = len(renamed["readout.bias"])
            sizes = layer_sizes(renamed, reference_name)
        except KeyError as error:
            raise ValueError(
                f"the state dict lacks {reference_name(error.args[0])!r}; pass all "
                "parameters of the published network"
            ) from None
        if len(positions) != out_channels:
            raise ValueError(
                f"the network has {out_channels} output channels and there are "
                f"{len(positions)} positions; pass one position a channel"
            )
        dtype = renamed["readout.bias"].dtype
        model = cls(
            n_chans=out_channels,
            readout="electrode",
            scale=None,
            spatial_init="published",
            d_state=sizes["d_state"],
            d_conv=sizes["d_conv"],
            expand=sizes["expand"],
            target_positions=targets.tolist(),
        ).to(dtype)
        _load_reference(model, renamed)
        default = torch.as_tensor(positions, dtype=dtype)
        model.trunk.positions.default = default
        # float32 constructions round positions; these stand as given
        model.trunk.spatial.target_positions.copy_(torch.as_tensor(targets))
        return model

    def forward(
        self,
        x: Tensor,
        pos: Tensor | None = None,
        ch_mask: Tensor | None = None,
        return_features: bool = False,
    ) -> Tensor | dict[str, Tensor]:
        """Rebuild windows.

        Parameters
        ----------
        x : Tensor, shape (batch, n_chans, n_times)
            Windows, any unit, float32.
        pos : Tensor, shape (n_chans, 3) or (batch, n_chans, 3), optional
            Electrode positions, metres; those of ``chs_info`` by default.
        ch_mask : Tensor of bool, shape (n_chans,) or (batch, n_chans), optional
            True where a channel is present.
        return_features : bool
            Return the stages as well.

        Returns
        -------
        Tensor, shape (batch, n_chans, n_times at the model's rate)
            The windows, in the scaled unit that ``trunk.signal`` gives. With
            ``return_features`` a dict of channel-first tensors: ``output``,
            ``weights``, ``decoder3`` (the third decoder stage after upsampling),
            ``decodeMamba3`` (before it), ``pool3``, ``mediator``, ``encoder1``,
            ``input_embedding``.

        Raises
        ------
        ValueError
            As for `SAMBA.forward`.
        """
        if not (return_features or torch.compiler.is_compiling()):
            if goes_in_pieces(x):
                return rebuild_long_windows(
                    self.trunk, self.decoder, self.readout, x, pos, ch_mask
                )
        stages = self.trunk(x, pos, ch_mask)
        output, d3, mamba3 = self._decode(
            stages.mediator,
            stages.encoder1,
            stages.encoder2,
            stages.encoder3,
            stages.pos,
            ch_mask,
        )
        if not return_features:
            return output
        spatial = torch.matmul(stages.weights.to(stages.signals.dtype), stages.signals)
        return {
            "output": output,
            "weights": stages.weights,
            "decoder3": d3,
            "pool3": stages.pool3,
            "mediator": stages.mediator,
            "decodeMamba3": mamba3,
            "encoder1": stages.encoder1,
            "input_embedding": self.trunk.encoder.input_embedding(spatial),
        }

    def rebuild(
        self,
        signals: Tensor,
        pos: Tensor,
        weights: Tensor,
        ch_mask: Tensor | None = None,
    ) -> Tensor:
        """Rebuild signals that are scaled and at the model's rate already.

        Parameters
        ----------
        signals : Tensor, shape (batch, n_chans, n_times)
            Signals, of which a part may be hidden.
        pos, weights : Tensor
            As `braindecode_samba.nn.Trunk.begin` gives them.
        ch_mask : Tensor of bool, shape (n_chans,) or (batch, n_chans), optional
            True where a channel is present.

        Returns
        -------
        Tensor, shape (batch, n_chans, n_times)
            The signals, in the same unit.
        """
        x1, x2, x3, pool3 = self.trunk.encoder(signals, weights)
        mediated = self.trunk.mediator(pool3)
        return self._decode(mediated, x1, x2, x3, pos, ch_mask)[0]

    def _decode(
        self,
        mediated: Tensor,
        x1: Tensor,
        x2: Tensor,
        x3: Tensor,
        pos: Tensor,
        ch_mask: Tensor | None,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Electrodes, third decoder stage after upsampling, and before it."""
        layer = as_one_layer(self.readout, pos, ch_mask)
        output, d3, mamba3 = self.decoder(mediated, x1, x2, x3, layer)
        if layer is None:
            output = self.readout(output, pos, ch_mask)
        return output, d3, mamba3


def _build_trunk(
    model: EEGModuleMixin,
    targets: Sequence[Sequence[float]] | None,
    frame: str,
    **options: Any,
) -> Trunk:
    """Trunk with the positions and rate that the model was told of."""
    if frame not in FRAMES:
        raise ValueError(f"coordinate_frame={frame!r} is unknown; pass one of {FRAMES}")
    if targets is not None:
        places = check_positions(targets)
    else:
        places = template_targets()
        if frame == "colin27_mri":
            places = to_colin27_mri(places)
    try:
        sfreq = model.sfreq
    except ValueError:
        sfreq = None
    return Trunk(
        torch.tensor(places, dtype=torch.float32),
        _default_positions(model, frame),
        sfreq=sfreq,
        **options,
    )


def _default_positions(model: EEGModuleMixin, frame: str) -> Positions:
    default = rotation = shift = None
    try:
        chs_info = model.chs_info
    except ValueError:
        chs_info = None
    if chs_info is not None:
        places = positions_from_chs_info(chs_info, unknown="nan")
        if frame == "colin27_mri":
            places = to_colin27_mri(places)
        if np.isfinite(places).all():
            default = torch.tensor(places, dtype=torch.float32)
    if frame == "colin27_mri":
        inverse = torch.tensor(np.linalg.inv(colin27_head_transform())).float()
        rotation, shift = inverse[:3, :3], inverse[:3, 3]
    return Positions(default, rotation, shift)


@contextmanager
def _stand_in_positions(model: _PositionedModel) -> Iterator[None]:
    """Positions for calls that are about shapes alone."""
    positions = model.trunk.positions
    if positions.default is not None:
        yield
        return
    try:
        n_chans = model.n_chans
    except ValueError:
        n_chans = 1
    weight = next(model.parameters())
    positions.default = weight.new_zeros(n_chans, 3)
    try:
        yield
    finally:
        positions.default = None


def _load_reference(model: nn.Module, state_dict: Mapping[str, Tensor]) -> None:
    """Load every parameter, or say by the authors' name which one does not fit."""
    wanted = dict(model.named_parameters())
    for name, value in wanted.items():
        if name not in state_dict:
            raise ValueError(f"the state dict lacks {reference_name(name)!r}")
        if state_dict[name].shape != value.shape:
            raise ValueError(
                f"parameter {reference_name(name)!r} has shape "
                f"{tuple(state_dict[name].squeeze(-1).shape)} where the network has "
                f"{tuple(value.squeeze(-1).shape)}"
            )
    strange = set(state_dict) - set(wanted)
    if strange:
        names = sorted(reference_name(name) for name in strange)
        raise ValueError(f"the network has no parameter {names[0]!r}")
    model.load_state_dict(dict(state_dict), strict=False)
