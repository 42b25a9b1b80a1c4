"""What the spatial embedding of a network makes of electrodes, whatever the signals.

Arrays and networks come out of here; `braindecode_samba.plots` draws them.
"""

import copy
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.utils.validation import check_is_fitted
from torch import nn

from braindecode_samba.models import SAMBA, SAMBAReconstructor
from braindecode_samba.models.base import told
from braindecode_samba.nn.randomness import seeded
from braindecode_samba.nn.spatial import DistanceWeights
from braindecode_samba.signals.inputs import Channels
from braindecode_samba.signals.positions import positions_from_chs_info
from braindecode_samba.signals.template import target_names

Network = SAMBA | SAMBAReconstructor


def network_of(model: Any) -> Network:
    """Give the network itself, of a network, an estimator or a pretraining net.

    Parameters
    ----------
    model : SAMBA, SAMBAReconstructor, or fitted estimator with ``model_``
        What holds it.

    Returns
    -------
    SAMBA or SAMBAReconstructor
        The network.

    Raises
    ------
    TypeError
        If there is none.
    """
    network = model
    if not isinstance(model, nn.Module):
        check_is_fitted(model)
        network = getattr(model, "model_", None)
    if not isinstance(network, SAMBA | SAMBAReconstructor):
        raise TypeError(
            f"model is a {type(model).__name__}: pass a SAMBA, a SAMBAReconstructor, "
            "or a fitted estimator that holds one"
        )
    return network


def electrode_weights(
    model: Any, chs_info: Channels | None = None, *, target: str | int | None = None
) -> NDArray[np.float64]:
    """Tell how much each electrode contributes to the spatial embedding.

    Weights depend on places alone and not on any signal: they say how the scalp is
    sampled, and not where the sources of a decision lie, for which see
    `decision_pattern`.

    Parameters
    ----------
    model : SAMBA, SAMBAReconstructor, or fitted estimator
        The network.
    chs_info : sequence of dict, optional
        Electrodes; those of the network by default.
    target : str or int, optional
        A target, by its name in the 10-20 template or its number: its weights alone.
        By default the mean over all targets.

    Returns
    -------
    ndarray, shape (n_chans,)
        Shares between 0 and 1, which sum to 1.

    Raises
    ------
    ValueError
        If there is no such target, or electrodes have no place.
    TypeError
        If there is no network.
    """
    weights = _weights_of(network_of(model), electrodes_of(model, chs_info))
    if target is None:
        return weights.mean(0)
    return weights[_target_row(target, len(weights))]


def electrodes_of(model: Any, chs_info: Channels | None = None) -> Channels:
    """Tell which electrodes a network knows, unless others are given.

    Parameters
    ----------
    model : SAMBA, SAMBAReconstructor, or fitted estimator
        The network.
    chs_info : sequence of dict, optional
        Given back if it is not None.

    Returns
    -------
    sequence of dict
        Electrodes, as ``info["chs"]`` of MNE.

    Raises
    ------
    ValueError
        If there are neither.
    TypeError
        If there is no network.
    """
    network = network_of(model)
    if chs_info is not None:
        return chs_info
    known = told(network, "chs_info")
    if known is None:
        raise ValueError(
            "the network was built for no electrodes in particular: pass chs_info, "
            "for example info['chs'], or chs_info_from_names([...])"
        )
    return known


def _weights_of(network: Network, chs_info: Channels) -> NDArray[np.float64]:
    pos = torch.from_numpy(positions_from_chs_info(chs_info)).float()
    with torch.no_grad():
        return network.spatial_weights(pos).double().cpu().numpy()


def _target_row(target: str | int, n_targets: int) -> int:
    names = list(target_names())
    if isinstance(target, str) and len(names) == n_targets and target in names:
        return names.index(target)
    if not isinstance(target, str) and 0 <= target < n_targets:
        return int(target)
    raise ValueError(
        f"target={target!r} is none of the {n_targets} targets: pass a name of the "
        f"10-20 template such as 'C3' (if the network has it), or 0 to {n_targets - 1}"
    )


def with_spatial_start(model: Any) -> Network:
    """Copy a network and take its spatial embedding back to where training began.

    Parameters
    ----------
    model : SAMBA, SAMBAReconstructor, or fitted estimator
        The network, which stays as it is.

    Returns
    -------
    SAMBA or SAMBAReconstructor
        The copy.

    Raises
    ------
    ValueError
        If the network began from random weights, which are not known any more.
    TypeError
        If there is no network.
    """
    start = copy.deepcopy(network_of(model))
    spatial = start.trunk.spatial
    if spatial.weights.kappa is None:
        raise ValueError(
            "the spatial weights of this network began at random (init='published'): "
            "pass a copy of it from before training"
        )
    place = spatial.target_positions
    with seeded(0):
        spatial.weights = DistanceWeights("distance").to(place.device, place.dtype)
    return start
