"""How errors, times and memory are measured, on a GPU or on the CPU.

Every function takes the device.  What is measured, and what is demanded of the results,
lives in the modules of the items.
"""

import statistics
import time
from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

MIB = 2**20


def relative_error(value: Tensor, reference: Tensor) -> float:
    """Norm of the difference over the norm of the reference, in float64.

    Parameters
    ----------
    value, reference : Tensor, same shape
        What was computed, anywhere, and what is true. Where the truth is zero
        everywhere, the norm of ``value`` is returned.

    Returns
    -------
    float
        Error; infinite where ``value`` has an entry that is not finite.

    Raises
    ------
    ValueError
        If the shapes differ.
    """
    if value.shape != reference.shape:
        raise ValueError(
            f"shapes {tuple(value.shape)} and {tuple(reference.shape)} differ; pass "
            "tensors of the same shape"
        )
    value = value.detach().double()
    reference = reference.detach().to(value.device).double()
    norm = reference.norm().item()
    error = (value - reference).norm().item() / (norm or 1.0)
    return error if np.isfinite(error) else float("inf")


def synchronize(device: torch.device) -> None:
    """Wait until the device has done what it was told."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def median_ms(
    run: Callable[[], object],
    device: torch.device,
    repeats: int = 30,
    warmup: int = 3,
) -> float:
    """Median time of a call: device events on a GPU, the wall clock on the CPU.

    Parameters
    ----------
    run : callable
        What is timed.
    device : torch.device
        Where it computes.
    repeats, warmup : int
        Calls that count, and calls before them.

    Returns
    -------
    float
        Milliseconds.
    """
    for _ in range(warmup):
        run()
    synchronize(device)
    if device.type != "cuda":
        times = []
        for _ in range(repeats):
            start = time.perf_counter()
            run()
            times.append(1e3 * (time.perf_counter() - start))
        return statistics.median(times)
    events = []
    for _ in range(repeats):
        pair = (
            torch.cuda.Event(enable_timing=True),
            torch.cuda.Event(enable_timing=True),
        )
        pair[0].record()
        run()
        pair[1].record()
        events.append(pair)
    synchronize(device)
    return statistics.median(start.elapsed_time(end) for start, end in events)


def peak_mib(run: Callable[[], object], device: torch.device) -> float | None:
    """Most memory that a call holds beyond what was there before it.

    Parameters
    ----------
    run : callable
        What is measured.
    device : torch.device
        Where it computes.

    Returns
    -------
    float or None
        MiB by the allocator's count; None on the CPU, which keeps no such count.
    """
    if device.type != "cuda":
        run()
        return None
    synchronize(device)
    torch.cuda.empty_cache()
    before = torch.cuda.memory_allocated(device)
    torch.cuda.reset_peak_memory_stats(device)
    run()
    synchronize(device)
    return (torch.cuda.max_memory_allocated(device) - before) / MIB


def copy_rate(device: torch.device, n_bytes: int = 2**31) -> float:
    """Bytes read and written each second by a large copy on the device.

    Parameters
    ----------
    device : torch.device
        Where the copy stays.
    n_bytes : int
        Size of the copied buffer.

    Returns
    -------
    float
        Bytes a second, reading and writing counted both.
    """
    source = torch.ones(n_bytes // 4, device=device)
    target = torch.empty_like(source)
    ms = median_ms(lambda: target.copy_(source), device, repeats=10)
    return 2 * source.nbytes / (1e-3 * ms)


def product_rate(
    device: torch.device, dtype: torch.dtype = torch.bfloat16, size: int = 8192
) -> float:
    """Operations each second in a large square product.

    Parameters
    ----------
    device : torch.device
        Where it is computed.
    dtype : torch.dtype
        Of the matrices.
    size : int
        Rows and columns.

    Returns
    -------
    float
        Operations a second; a multiply-add counts as two.
    """
    a = torch.ones(size, size, device=device, dtype=dtype)
    out = torch.empty_like(a)
    ms = median_ms(lambda: torch.mm(a, a, out=out), device, repeats=10)
    return 2 * size**3 / (1e-3 * ms)


def growth_exponent(lengths: Sequence[float], values: Sequence[float]) -> float:
    """Exponent p of ``value ~ length ** p``, by least squares on the logarithms.

    Parameters
    ----------
    lengths, values : sequence of float
        At least two points, positive.

    Returns
    -------
    float
        Exponent.

    Raises
    ------
    ValueError
        If there are fewer than two points.
    """
    if len(lengths) < 2:
        raise ValueError(
            f"{len(lengths)} length was measured; pass at least two lengths"
        )
    return float(np.polyfit(np.log(lengths), np.log(values), 1)[0])


def longest(fits: Callable[[int], bool], start: int, end: int, steps: int = 4) -> int:
    """Longest length that fits: doubled while it does, then narrowed by halves.

    Parameters
    ----------
    fits : callable
        ``fits(length)``, true up to some length and false beyond.
    start, end : int
        Shortest length that is tried, and longest.
    steps : int
        Halvings, each of which halves the uncertainty.

    Returns
    -------
    int
        A length that fits, at most ``end``; 0 where ``start`` does not.
    """
    good, bad = 0, start
    while bad <= end and fits(bad):
        good, bad = bad, 2 * bad
    if good == 0 or bad > end:
        return good
    for _ in range(steps):
        middle = (good + bad) // 2
        good, bad = (middle, bad) if fits(middle) else (good, middle)
    return good
