"""Running a network over windows, some at a time, on whatever device it is.

How it is trained is in `braindecode_samba.estimators.gradients`.
"""

import copy
import functools
from collections.abc import Callable, Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from tqdm import tqdm

from braindecode_samba.models import SAMBA
from braindecode_samba.nn.scaling import SignalInput
from braindecode_samba.signals.inputs import Windows

# on terminals, for what takes longer than some seconds
progress = functools.partial(tqdm, delay=3, disable=None, leave=False)


def run_in_batches(
    model: nn.Module,
    function: Callable[..., Tensor],
    windows: Windows,
    batch_size: int,
) -> NDArray[np.float32]:
    """Compute outputs for all windows, in order and without gradients.

    Parameters
    ----------
    model : nn.Module
        Put into evaluation mode; says on which device to compute.
    function : callable
        `model` or what calls it: takes ``x``, ``pos`` and, for several montages,
        ``ch_mask``; gives a Tensor with one row a window.
    windows : Windows
        What to run over.
    batch_size : int
        Windows in a call.

    Returns
    -------
    ndarray of float32, shape (n, ...)
        One row a window.
    """
    model.eval()
    outputs = []
    for batch in batches_on_device(model, windows, batch_size):
        with torch.no_grad():
            outputs.append(function(**batch).float().cpu().numpy())
    return np.concatenate(outputs)


def batches_on_device(
    model: nn.Module, windows: Windows, batch_size: int
) -> Iterator[dict[str, Tensor]]:
    """Arguments of a network for all windows, some at a time, on its device.

    Parameters
    ----------
    model : nn.Module
        Says on which device.
    windows : Windows
        What to go over, in order.
    batch_size : int
        Windows in a part.

    Yields
    ------
    dict of str to Tensor
        ``x``, ``pos`` and, for several montages, ``ch_mask``.
    """
    device = next(model.parameters()).device
    starts = range(0, len(windows.x), batch_size)
    for start in progress(starts, desc="network", unit="batch"):
        part = windows.select(slice(start, start + batch_size))
        batch = {
            "x": torch.from_numpy(part.x),
            "pos": torch.from_numpy(part.positions).float(),
        }
        if part.ch_mask is not None:
            batch["ch_mask"] = torch.from_numpy(part.ch_mask)
        yield {name: value.to(device) for name, value in batch.items()}


def at_rate(model: SAMBA, sfreq: float) -> SAMBA:
    """Take a network at another rate of its input; weights are shared, not copied.

    Parameters
    ----------
    model : SAMBA
        Stays as it is.
    sfreq : float
        Rate of the windows to come, Hz.
    """
    signal = model.trunk.signal
    if np.isclose(signal.sfreq, sfreq, rtol=1e-6, atol=0):
        return model
    scale = None if signal.scale == "none" else signal.scale
    other = SignalInput(sfreq, signal.model_sfreq, scale)
    other.load_state_dict(signal.state_dict())
    device = next(model.parameters()).device
    trunk = copy.copy(model.trunk)
    trunk._modules = model.trunk._modules | {"signal": other.to(device)}
    found = copy.copy(model)
    found._modules = model._modules | {"trunk": trunk}
    return found
