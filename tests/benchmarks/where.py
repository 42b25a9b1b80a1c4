"""Where the time of a training step goes, and how near each stage is to the limit.

``python -m tests.benchmarks.where [--threads 2] [--rounds 5] [--batch 32 --seconds 2]``
runs each stage of the network alone, forth and back.  The limit of a stage is the time
of its multiplications in one matrix product of the same shape, of the steps of its
recurrence at the rate of the largest product, and of its exponentials in the cache; the
way back computes all of it again and multiplies twice.  Measured on this machine, right
before.
"""

import argparse
import math
import statistics
import sys
import time
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from braindecode_samba import SAMBAReconstructor
from braindecode_samba.nn.mamba import Mamba2
from braindecode_samba.nn.unet import stretch
from braindecode_samba.scan.products import multiply

from ._measure import Case, interleave, machine, markdown_table
from .subjects import build

# of a recurrence, for each state of a feature: decay, input, output
FLOPS_OF_STATE = 5
# two gates, each an exponential and a division, for each feature
EXPONENTIALS_OF_FEATURE = 2


class Stage(NamedTuple):
    """A part of the network and what it computes."""

    name: str
    run: Callable[[Tensor], Tensor]
    x: Tensor
    products: list[tuple[int, int, int]]  # rows, terms, columns
    states: int = 0  # states of features, over all steps
    exponentials: int = 0
    recomputed: bool = False  # whether the way back goes forth again


class Rates(NamedTuple):
    """What this machine can do."""

    product: Callable[[int, int, int], float]  # seconds of one
    flops: float  # a second
    exponentials: float  # a second


def main() -> None:
    """Print the tables that the arguments ask for."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.benchmarks.where", description=__doc__.splitlines()[0]
    )
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--batch", type=int, nargs="+", default=[32, 1])
    parser.add_argument("--seconds", type=int, nargs="+", default=[2, 300])
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    print(f"{machine()}, threads: {options.threads}\n")
    for batch, seconds in zip(options.batch, options.seconds, strict=True):
        print(f"### Training step, {batch} x {seconds} s\n")
        print(table(batch, seconds * 128, options.rounds), "\n", flush=True)


def table(batch: int, n_times: int, rounds: int) -> str:
    """Every stage of one training step, forth and back, and all of it."""
    subject = build(Case("network", n_times, batch=batch, mode="training"))
    rates = measured_rates(rounds)
    rows, total = [], [0.0] * 4
    for stage in stages(subject.network, subject.x):
        seconds = forth_and_back(stage, rounds)
        least = limits(stage, rates)
        flops = sum(2 * a * b * c for a, b, c in stage.products)
        flops += FLOPS_OF_STATE * stage.states
        rows.append(_row(stage.name, flops, _bytes(stage), seconds, least))
        total = [a + b for a, b in zip(total, (*seconds, *least), strict=True)]
    rows.append(_row("sum of these", None, None, total[:2], total[2:]))
    whole = _median(subject.step, rounds)
    rows.append(["whole step", "", "", f"{1e3 * whole:.1f} in all", "", "", ""])
    header = ["stage", "GFLOP forth", "MB in and out", "forth, ms", "back, ms"]
    return markdown_table([*header, "limit forth", "limit back"], rows)


def stages(network: SAMBAReconstructor, x: Tensor) -> list[Stage]:
    """All stages in their order, each with the input that it gets in the network."""
    encoder, decoder, mediator = (
        network.trunk.encoder,
        network.decoder,
        network.trunk.mediator,
    )
    with torch.no_grad():
        _, signals, mixing = network.trunk.begin(x, None, None)
        weight, bias = encoder.as_one_convolution(mixing)
        last, last_bias = decoder.last_convolution(
            (network.readout.weight.squeeze(-1), network.readout.bias)
        )
        h = F.conv1d(signals, weight, bias, padding=3)
        x1 = encoder.mamba1(h)
        x2 = encoder.conv2(encoder.pool(x1))
        x3 = encoder.conv3(encoder.pool(x2))
        pooled = encoder.pool(x3)
        deep = stretch(mediator(pooled), x3.shape[2])
        c3 = decoder.conv3(torch.cat([x3, deep], 1))
        d3 = stretch(decoder.mamba3(c3), x2.shape[2])
        c2 = decoder.conv2(torch.cat([x2, d3], 1))
        d2 = stretch(decoder.mamba2(c2), x1.shape[2])
    weight, bias, last, last_bias = (
        t.requires_grad_() for t in (weight, bias, last, last_bias)
    )

    def first(s: Tensor) -> Tensor:
        return F.conv1d(s, weight, bias, padding=3)

    def readout(s: Tensor) -> Tensor:
        return F.conv1d(s, last, last_bias, padding=1)

    return [
        _convolution("input convolution", first, signals, weight),
        _mamba("encoder 1, Mamba-2", encoder.mamba1, h, encoder.mamba1.mamba, 1),
        Stage("pool 1", encoder.pool, x1, []),
        _convolution(
            "encoder 2", encoder.conv2, encoder.pool(x1), encoder.conv2.weight
        ),
        _convolution(
            "encoder 3", encoder.conv3, encoder.pool(x2), encoder.conv3.weight
        ),
        _mamba("mediator, 16 Mamba-2", mediator, pooled, mediator.mdm.team1[0], 16),
        _convolution(
            "decoder 3", decoder.conv3, torch.cat([x3, deep], 1), decoder.conv3.weight
        ),
        _mamba("decoder 3, Mamba-2", decoder.mamba3, c3, decoder.mamba3.mamba, 1),
        _convolution(
            "decoder 2", decoder.conv2, torch.cat([x2, d3], 1), decoder.conv2.weight
        ),
        _mamba("decoder 2, Mamba-2", decoder.mamba2, c2, decoder.mamba2.mamba, 1),
        Stage(
            "upsampling 1", lambda s: stretch(s, x1.shape[2]), decoder.mamba2(c2), []
        ),
        _convolution("decoder 1 and readout", readout, torch.cat([x1, d2], 1), last),
    ]


def _convolution(
    name: str, run: Callable[[Tensor], Tensor], x: Tensor, weight: Tensor
) -> Stage:
    features, channels, taps = weight.shape
    return Stage(name, run, x, [(x.shape[0] * x.shape[2], channels * taps, features)])


def _mamba(name: str, run: nn.Module, x: Tensor, layer: Mamba2, layers: int) -> Stage:
    steps = x.shape[0] * x.shape[2]
    width, d_model = layer.in_proj.weight.shape
    d_inner = layer.out_proj.weight.shape[1]
    products = [(steps, d_model, width), (steps, d_inner, d_model)] * layers
    features = layers * steps * d_inner
    return Stage(
        name,
        run,
        x,
        products,
        features * layer.d_state,
        EXPONENTIALS_OF_FEATURE * features,
        recomputed=True,
    )


def measured_rates(rounds: int) -> Rates:
    """Measure products, and exponentials of values that lie in the cache."""
    known: dict[tuple[int, int, int], float] = {}

    def product(rows: int, terms: int, columns: int) -> float:
        # a tile's rows: what a limit is should not go through memory
        tile = min(rows, 512)
        key = tile, terms, columns
        if key not in known:
            a, b = torch.randn(1, tile, terms), torch.randn(1, columns, terms)
            known[key] = _in_all_threads(lambda: multiply(a, b), rounds)
        return known[key] * rows / tile

    values = torch.randn(2**13)
    out = torch.empty_like(values)
    seconds = _in_all_threads(lambda: torch.exp(values, out=out), rounds)
    largest = product(512, 512, 512)
    return Rates(product, 2 * 512**3 / largest, len(values) / seconds)


def _in_all_threads(function: Callable[[], object], rounds: int) -> float:
    """Seconds of a call on one thread, over the number of threads."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return _median(function, 20 * rounds) / threads
    finally:
        torch.set_num_threads(threads)


def limits(stage: Stage, rates: Rates) -> tuple[float, float]:
    """Seconds that the stage takes at the least, forth and back."""
    products = sum(rates.product(*shape) for shape in stage.products)
    rest = FLOPS_OF_STATE * stage.states / rates.flops
    rest += stage.exponentials / rates.exponentials
    again = products + rest if stage.recomputed else 0.0
    return products + rest, again + 2 * (products + rest)


def forth_and_back(stage: Stage, rounds: int) -> tuple[float, float]:
    """Seconds of a stage with gradients, forth and back."""
    x = stage.x.detach().requires_grad_()
    y = stage.run(x)
    pull = torch.randn_like(y)
    times = []
    for _ in range(rounds + 1):
        begin = time.perf_counter()
        y = stage.run(x)
        middle = time.perf_counter()
        y.backward(pull)
        times.append((middle - begin, time.perf_counter() - middle))
        x.grad = None
    forth, back = zip(*times[1:], strict=True)
    return statistics.median(forth), statistics.median(back)


def _median(function: Callable[[], object], rounds: int) -> float:
    """Seconds of a call, the median of some after one that is not timed."""
    return statistics.median(interleave([function], rounds, math.inf)[0])


def _bytes(stage: Stage) -> int:
    with torch.no_grad():
        y = stage.run(stage.x)
    return 4 * (stage.x.numel() + y.numel())


def _row(
    name: str,
    flops: int | None,
    size: int | None,
    seconds: tuple[float, ...] | list[float],
    least: tuple[float, ...] | list[float],
) -> list[str]:
    cells = [name, "" if flops is None else f"{flops / 1e9:.2f}"]
    cells.append("" if size is None else f"{size / 1e6:.1f}")
    cells += [f"{1e3 * s:.1f}" for s in seconds]
    return cells + [
        f"{100 * a / b:.0f} %" if a else "" for a, b in zip(least, seconds, strict=True)
    ]


if __name__ == "__main__":
    sys.exit(main())
