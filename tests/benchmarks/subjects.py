"""What is measured: SAMBA, the published structure, and models of braindecode.

Every subject is one call on one tensor, built from a `Case`.  All have random weights.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from braindecode.models.util import models_dict
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from braindecode_samba import (
    SAMBA,
    SAMBAReconstructor,
    chs_info_from_names,
    load_montage,
    positions_from_names,
)
from braindecode_samba.signals import target_positions

from ._measure import Case
from .published import PublishedNetwork

NAMES_16 = tuple("Fp1 Fp2 F7 F3 Fz F4 F8 T7 C3 Cz C4 T8 P3 Pz P4 O1".split())


@dataclass
class Subject:
    """A network and its input.

    Parameters
    ----------
    network : nn.Module
        The network, in the mode of the case.
    call : callable
        Maps windows to an output.
    x : Tensor, shape (batch, n_chans, n_times)
        Windows.
    training : bool
        Whether a step has a backward pass.
    any_length : bool
        Whether ``call`` takes windows of other lengths.
    """

    network: nn.Module
    call: Callable[[Tensor], Tensor]
    x: Tensor
    training: bool
    any_length: bool = True

    def step(self) -> None:
        """Do once what is measured."""
        self._step(self.x)

    def warm_up(self) -> None:
        """Bring the libraries and their buffers up, on 64 samples."""
        if self.training:
            # the first use imports a good 150 MB of torch, and windows of many
            # tiles use it; published or ours, every process has it before
            x = torch.zeros(1, requires_grad=True)
            checkpoint(torch.sin, x, use_reentrant=False).backward()
        if self.any_length:
            self._step(self.x[:1, :, :64])
        else:
            build(Case("SAMBA", 64)).step()

    def _step(self, x: Tensor) -> None:
        if self.training:
            F.mse_loss(self.call(x), x).backward()
            self.network.zero_grad(set_to_none=True)
        else:
            with torch.inference_mode():
                self.call(x)


def build(case: Case) -> Subject:
    """Build the subject of a case.

    Parameters
    ----------
    case : Case
        ``model`` is ``"network"`` (`SAMBAReconstructor` in the published settings),
        ``"published network"``, ``"SAMBA"`` (two outputs), ``"published encoder"``
        (with its mediator, without head) or a model of braindecode (two outputs).

    Returns
    -------
    Subject
        The subject.
    """
    known = {
        "network": _network,
        "published network": _published,
        "published encoder": _published,
    }
    training = case.mode == "training"
    network, call = known.get(case.model, _classifier)(case)
    network.train(training)
    x = torch.randn(case.batch, case.n_chans, case.n_times)
    any_length = case.model in known or case.model == "SAMBA"
    return Subject(network, call, x, training, any_length)


Built = tuple[nn.Module, Callable[[Tensor], Tensor]]


def _names(n_chans: int) -> tuple[str, ...]:
    return NAMES_16 if n_chans == 16 else load_montage("physionetmi_64").names[:n_chans]


def _network(case: Case) -> Built:
    model = SAMBAReconstructor(
        chs_info=chs_info_from_names(_names(case.n_chans)),
        sfreq=case.sfreq,
        readout="electrode",
        spatial_init="published",
        scale=None,
    )
    return model, model


def _published(case: Case) -> Built:
    positions = torch.tensor(positions_from_names(_names(case.n_chans)))
    targets = torch.tensor(target_positions())
    model = PublishedNetwork(case.n_chans, len(targets))
    run = model.encode if case.model == "published encoder" else model
    return model, lambda x: run(x, positions, targets)


def _classifier(case: Case) -> Built:
    names = _names(case.n_chans)
    models = {"SAMBA": SAMBA} | models_dict
    model = models[case.model](
        n_outputs=2,
        chs_info=chs_info_from_names(names),
        n_times=case.n_times,
        sfreq=case.sfreq,
    )
    if case.model == "Labram":  # its 128 channels are chosen from by name
        return model, lambda x: model(x, ch_names=list(names))
    return model, model
