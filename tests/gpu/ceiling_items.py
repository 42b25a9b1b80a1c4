"""Item 4: how near a training step comes to what the machine can do.

The work that must be done follows from the sizes of the layers alone: every product
once forward and twice backward, every layer reading its inputs and writing its outputs
once, whatever an implementation really does.
"""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor
from torch.autograd import DeviceType
from torch.profiler import ProfilerActivity, profile

from gpu.measure import copy_rate, median_ms, product_rate
from gpu.network_items import DTYPES
from gpu.plan import (
    NAMES,
    Case,
    Plan,
    dtype_name,
    published_on,
    scanning_by,
    training_step,
    windows_on,
)
from gpu.rows import Row

STATE, EXPAND = 16, 8


class Work(NamedTuple):
    """What a layer does for each sample of a window at the full rate."""

    read: float  # values
    written: float  # values
    products: float  # multiply-adds


def mamba_products(features: int, head_dim: int) -> float:
    """Multiply-adds of a Mamba-2 layer for each of its steps.

    Projections, the convolution of two taps and, for every entry of the state, decay,
    input and output.
    """
    inner = EXPAND * features
    projected = 2 * inner + 2 * STATE + inner // head_dim
    conv = 2 * (inner + 2 * STATE)
    return features * projected + conv + 3 * inner * STATE + inner * features


def forward_work(n_chans: int) -> list[Work]:
    """Work of the network's layers, with all that is linear folded into one.

    Parameters
    ----------
    n_chans : int
        Channels.

    Returns
    -------
    list of Work
        From the electrodes to the electrodes.
    """
    mediator = 3 * 128**2 + 16 * mamba_products(16, 16)
    return [
        Work(n_chans, 64, 7 * n_chans * 64),  # spatial embedding to linear1
        Work(64, 64, mamba_products(64, 64)),
        Work(64, 64 / 2, 3 * 64 * 64 / 2),
        Work(64 / 2, 128 / 4, 3 * 64 * 128 / 4),
        Work(128 / 4, 128 / 8, mediator / 8),
        Work(128 / 4 + 128 / 8, 128 / 4, 3 * 256 * 128 / 4),
        Work(128 / 4, 128 / 4, mamba_products(128, 64) / 4),
        Work(64 / 2 + 128 / 4, 64 / 2, 3 * 192 * 64 / 2),
        Work(64 / 2, 64 / 2, mamba_products(64, 64) / 2),
        Work(64 + 64 / 2, n_chans, 3 * 128 * n_chans),  # conv1 and readout
    ]


def training_work(n_chans: int, samples: int, value_bytes: int) -> tuple[float, float]:
    """Operations and bytes of a training step.

    Parameters
    ----------
    n_chans : int
        Channels.
    samples : int
        Times of all windows together.
    value_bytes : int
        Bytes of a value.

    Returns
    -------
    operations, moved : float
        Operations (a multiply-add is two) and bytes. Backward, every layer reads its
        inputs and the gradient of its outputs and writes that of its inputs.
    """
    layers = forward_work(n_chans)
    operations = 3 * 2 * sum(layer.products for layer in layers)
    moved = sum(3 * layer.read + 2 * layer.written for layer in layers)
    return operations * samples, moved * samples * value_bytes


def ceiling(plan: Plan) -> list[Case]:
    """Item 4: both ceilings, and the fraction that a training step reaches."""
    return [
        Case(
            f"{way} {dtype_name(dtype)} T={n} b={b}",
            partial(fraction_reached, plan, way, dtype, n, b),
        )
        for n, b in plan.windows_of((2, 512), (100, 16))
        for way in plan.scans()
        for dtype in DTYPES
    ]


def fraction_reached(
    plan: Plan, way: str, dtype: torch.dtype, n_times: int, batch: int
) -> list[Row]:
    """Ceilings, floor of a step, its time, and the kernels that hold the rest."""
    name = f"training, {n_times} samples x {batch}, {dtype_name(dtype)}, {way}"
    bandwidth = copy_rate(plan.device, 2**20 if plan.toy else 2**31)
    products = product_rate(plan.device, size=64 if plan.toy else 8192)
    value_bytes = 4 if dtype == torch.float32 else 2
    operations, moved = training_work(len(NAMES), n_times * batch, value_bytes)
    floors = {
        "bytes": 1e3 * moved / bandwidth,
        "products": 1e3 * operations / products,
    }
    model = published_on(plan.device).ours().to(plan.device)
    with scanning_by(way):
        step = training_step(model, windows_on(plan.device, n_times, batch), dtype)
        ms = median_ms(step, plan.device, plan.repeats)
        busy, kernels = profile_step(step, plan.device)
    bound = max(floors, key=lambda what: floors[what])
    return [
        Row(name, "ceiling, copy", bandwidth / 1e9, "GB/s"),
        Row(name, "ceiling, bf16 product", products / 1e12, "TFLOP/s"),
        Row(name, "must move", moved / 1e9, "GB", note=f"{floors['bytes']:.3g} ms"),
        Row(
            *(name, "must compute", operations / 1e12, "TFLOP"),
            note=f"{floors['products']:.3g} ms",
        ),
        Row(name, "training step", ms, "ms"),
        Row(name, "fraction of the ceiling", floors[bound] / ms, note=f"by {bound}"),
        Row(name, "kernels' share of the time", busy / ms),
        Row(
            *(name, "kernel with the most time", kernels[0][0]),
            note="; ".join(f"{kernel} {part:.0%}" for kernel, part in kernels),
        ),
    ]


def profile_step(
    step: Callable[[], Tensor], device: torch.device, top: int = 5
) -> tuple[float, list[tuple[str, float]]]:
    """Profile one call.

    Parameters
    ----------
    step : callable
        What is profiled, warm.
    device : torch.device
        Its kernels count on a GPU, and operators on the CPU.
    top : int
        Kernels to name.

    Returns
    -------
    busy : float
        Time of all kernels, ms.
    kernels : list of (str, float)
        Names and shares of that time, largest first.
    """
    on_gpu = device.type == "cuda"
    activities = [ProfilerActivity.CPU] + [ProfilerActivity.CUDA] * on_gpu
    with profile(activities=activities) as found:
        step()
        if on_gpu:
            torch.cuda.synchronize(device)
    times: dict[str, float] = {}
    for event in found.key_averages():
        if event.is_user_annotation:  # a span around kernels that count themselves
            continue
        if on_gpu and event.device_type == DeviceType.CUDA:
            times[event.key] = times.get(event.key, 0.0) + event.self_device_time_total
        elif not on_gpu:
            times[event.key] = event.self_cpu_time_total
    total = sum(times.values())
    largest = sorted(times.items(), key=lambda pair: -pair[1])[:top]
    return total / 1e3, [(name[:60], part / total) for name, part in largest]
