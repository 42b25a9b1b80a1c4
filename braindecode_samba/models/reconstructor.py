"""SAMBA as it is pretrained, with the network of the authors as one of its settings."""

from collections.abc import Mapping
from typing import Any

import torch
from braindecode.models.base import EEGModuleMixin
from numpy.typing import ArrayLike
from torch import Tensor, nn

from braindecode_samba.models.base import PositionedModel, shares_arguments
from braindecode_samba.nn.long import as_one_layer, goes_in_pieces, rebuild_long_windows
from braindecode_samba.nn.reference import (
    layer_sizes,
    reference_name,
    rename_reference_keys,
)
from braindecode_samba.nn.spatial import CoordinateReadout
from braindecode_samba.nn.unet import N_FEATURES, Decoder
from braindecode_samba.scan.traced import is_traced
from braindecode_samba.signals.positions import check_positions


class SAMBAReconstructor(PositionedModel, EEGModuleMixin, nn.Module):
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

    @shares_arguments
    def __init__(
        self, *signals: Any, readout: str = "coordinate", **shared: Any
    ) -> None:
        super().__init__(*signals, **shared)
        self.decoder = Decoder(*self.trunk.sizes)
        if readout == "coordinate":
            spatial = self.trunk.spatial
            self.readout: nn.Module = CoordinateReadout(
                N_FEATURES, spatial.target_positions, spatial.weights.init
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
        if not (return_features or is_traced()):
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
