"""What both models share: signals, positions and trunk, loading and saving.

The models join the trunk (`braindecode_samba.nn.trunk`) with positions from
`braindecode_samba.signals`; training loops and scikit-learn's rules live in
`braindecode_samba.estimators`.
"""

import functools
import inspect
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor, nn

from braindecode_samba.nn.scaling import MODEL_SFREQ
from braindecode_samba.nn.trunk import Positions, Trunk
from braindecode_samba.signals import template
from braindecode_samba.signals.positions import check_positions, positions_from_chs_info

FRAMES = ("head", "colin27_mri")


class PositionedModel:
    """The arguments of both models, see `SAMBA`, and what both do with positions.

    Stands before braindecode's mixin among the bases of a model, and has it not among
    its own: braindecode would note these arguments in place of the model's.
    """

    n_chans: int
    n_outputs: int
    to: Callable[..., Self]

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
        d_state: int = 16,
        d_conv: int = 2,
        expand: int = 8,
        target_positions: list[list[float]] | None = None,
        coordinate_frame: str = "head",
    ) -> None:
        super().__init__(  # type: ignore[call-arg]
            n_outputs=n_outputs,
            n_chans=n_chans,
            chs_info=chs_info,
            n_times=n_times,
            input_window_seconds=input_window_seconds,
            sfreq=sfreq,
        )
        if coordinate_frame not in FRAMES:
            raise ValueError(
                f"coordinate_frame={coordinate_frame!r} is unknown; pass one of "
                f"{FRAMES}"
            )
        self.trunk = Trunk(
            _targets(target_positions, coordinate_frame),
            _default_positions(told(self, "chs_info"), coordinate_frame),
            sfreq=told(self, "sfreq"),
            model_sfreq=model_sfreq,
            scale=scale,
            spatial_init=spatial_init,
            d_state=d_state,
            d_conv=d_conv,
            expand=expand,
        )

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

    def to_dense_prediction_model(self, axis: tuple[int, ...] | int = (2, 3)) -> None:
        """Refuse: each output of these networks needs the whole window."""
        raise TypeError(
            f"{type(self).__name__} can't give dense predictions, since its layers "
            "look at the whole window: pass overlapping windows, or use SAMBAStream or "
            "encode_recording"
        )

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
        if PositionedModel not in cls.__bases__:
            # classes made of these, as braindecode's interpolating ones, have options
            # of their own
            return super().from_pretrained(  # type: ignore[misc]
                pretrained_model_name_or_path, map_location=map_location, **arguments
            )
        model, _ = _checkpoints().load_checkpoint(
            pretrained_model_name_or_path, cls, **arguments
        )
        return model.to(map_location)

    @classmethod
    def _from_pretrained(cls, **arguments: Any) -> Any:
        """Build a class made of these; notes in a configuration are no options."""
        notes = _checkpoints().configs.NOTES
        options = {k: v for k, v in arguments.items() if k not in notes}
        return super()._from_pretrained(**options)  # type: ignore[misc]

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
        return self.push_to_hub(  # type: ignore[attr-defined]
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
            return super().get_output_shape()  # type: ignore[misc]

    def get_torchinfo_statistics(self, *args: Any, **kwargs: Any) -> Any:
        """Table of layers, see `EEGModuleMixin`."""
        with _stand_in_positions(self):
            return super().get_torchinfo_statistics(*args, **kwargs)  # type: ignore[misc]


def shares_arguments(init: Callable[..., None]) -> Callable[..., None]:
    """Name the arguments of `PositionedModel` in the signature of a model.

    skorch, braindecode and pydantic read a model's arguments off its signature.  What
    is made is float32, as weights on disk are, whatever torch's default type is.
    """
    common = inspect.signature(PositionedModel.__init__).parameters
    own = inspect.signature(init).parameters.values()
    listed = [p for p in own if p.kind is p.KEYWORD_ONLY]
    signature = inspect.Signature([*common.values(), *listed])

    @functools.wraps(init)
    def named(self: nn.Module, *args: Any, **kwargs: Any) -> None:
        init(**signature.bind(self, *args, **kwargs).arguments)
        self.float()

    named.__signature__ = signature  # type: ignore[attr-defined]
    return named


def told(model: Any, name: str) -> Any:
    """Give what a model was told of its signals, or None, where braindecode raises."""
    try:
        return getattr(model, name)
    except ValueError:
        return None


def _targets(given: Sequence[Sequence[float]] | None, frame: str) -> Tensor:
    if given is not None:
        places = check_positions(given)
    elif frame == "colin27_mri":
        places = template.to_colin27_mri(template.target_positions())
    else:
        places = template.target_positions()
    return torch.tensor(places, dtype=torch.float32)


def _default_positions(chs_info: Any, frame: str) -> Positions:
    default = rotation = shift = None
    if chs_info is not None:
        places = positions_from_chs_info(chs_info, unknown="nan")
        if frame == "colin27_mri":
            places = template.to_colin27_mri(places)
        if np.isfinite(places).all():
            default = torch.tensor(places, dtype=torch.float32)
    if frame == "colin27_mri":
        inverse = torch.tensor(np.linalg.inv(template.colin27_head_transform())).float()
        rotation, shift = inverse[:3, :3], inverse[:3, 3]
    return Positions(default, rotation, shift)


@contextmanager
def _stand_in_positions(model: PositionedModel) -> Iterator[None]:
    """Positions for calls that are about shapes alone."""
    positions = model.trunk.positions
    if positions.default is not None:
        yield
        return
    targets = model.trunk.spatial.target_positions
    positions.default = targets.new_zeros(told(model, "n_chans") or 1, 3)
    try:
        yield
    finally:
        positions.default = None


def _checkpoints() -> Any:
    """Find the room of checkpoints.

    Late: loading builds these models, so that room lies behind this module, but
    braindecode expects that a model class can load itself.
    """
    import braindecode_samba.checkpoints

    return braindecode_samba.checkpoints
