"""Item 6: torch.compile without graph breaks, and CUDA graphs for streams."""

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from braindecode_samba import SAMBA, chs_info_from_names
from gpu.measure import median_ms, relative_error
from gpu.plan import (
    NAMES,
    SFREQ,
    Case,
    Plan,
    published_on,
    scanning_by,
    windows_on,
)
from gpu.rows import Row, at_most


def compiled(plan: Plan) -> list[Case]:
    """Item 6: compile the classifier and a pretraining step; replay a stream's hop."""
    cases = [
        ("classifier", compile_classifier),
        ("pretraining step", compile_pretraining),
        ("stream", stream_latency),
    ]
    return [
        Case(f"{name} {way}", partial(run, plan, way))
        for way in plan.scans()
        for name, run in cases
    ]


def make_classifier(device: torch.device) -> nn.Module:
    """SAMBA for two classes, in eval mode."""
    torch.manual_seed(0)
    chs_info = chs_info_from_names(NAMES)
    return SAMBA(n_outputs=2, chs_info=chs_info).to(device).eval()


def _compile(plan: Plan, run: Callable[..., Tensor]) -> Callable[..., Tensor]:
    # a toy traces everything and leaves out minutes of a C++ compiler
    return torch.compile(run, backend="aot_eager" if plan.toy else "inductor")


def breaks_row(name: str, run: Callable[..., Tensor], *arguments: Tensor) -> Row:
    """Row with the number of graph breaks of a call and their reasons."""
    torch._dynamo.reset()
    found = torch._dynamo.explain(run)(*arguments)
    reasons = "; ".join(str(reason.reason) for reason in found.break_reasons)
    torch._dynamo.reset()
    note = " ".join(reasons.split())[:200]
    return at_most(name, "graph breaks", found.graph_break_count, 0, note=note)


def compile_classifier(plan: Plan, way: str) -> list[Row]:
    """Graph breaks, equality and speed of the compiled classifier's inference."""
    n_times, batch = plan.windows_of((2, 512))[0]
    model = make_classifier(plan.device)
    x = windows_on(plan.device, n_times, batch)
    name = f"classifier, {n_times} samples x {batch}, {way}"
    with scanning_by(way), torch.no_grad():
        rows = [breaks_row(name, model, x)]
        fast = _compile(plan, model)
        error = relative_error(fast(x), model(x))
        rows.append(at_most(name, "compiled equals eager", error, 1e-3))
        rows += _speed(plan, name, lambda: model(x), lambda: fast(x))
    return rows


def compile_pretraining(plan: Plan, way: str) -> list[Row]:
    """Graph breaks, equality and speed of a compiled pretraining step."""
    n_times, batch = plan.windows_of((2, 512))[0]
    model = published_on(plan.device).ours().to(plan.device).train()
    x = windows_on(plan.device, n_times, batch)
    visible = (torch.arange(n_times, device=plan.device) // 16) % 2 == 0
    name = f"pretraining step, {n_times} samples x {batch}, {way}"

    def loss(x: Tensor) -> Tensor:
        return F.l1_loss(model(x * visible), x)

    def step(run: Callable[[Tensor], Tensor]) -> Tensor:
        model.zero_grad(set_to_none=True)
        value = run(x)
        value.backward()
        return value.detach()

    with scanning_by(way):
        rows = [breaks_row(name, loss, x)]
        fast = _compile(plan, loss)
        error = relative_error(step(fast), step(loss))
        rows.append(at_most(name, "compiled equals eager", error, 1e-3))
        rows += _speed(plan, name, lambda: step(loss), lambda: step(fast))
    return rows


def _speed(
    plan: Plan, name: str, eager: Callable[[], Tensor], fast: Callable[[], Tensor]
) -> list[Row]:
    slow_ms = median_ms(eager, plan.device, plan.repeats)
    fast_ms = median_ms(fast, plan.device, plan.repeats)
    return [
        Row(name, "eager", slow_ms, "ms"),
        Row(name, "compiled", fast_ms, "ms"),
        Row(name, "times faster when compiled", slow_ms / fast_ms),
    ]


def stream_latency(plan: Plan, way: str) -> list[Row]:
    """Time from a hop's window in host memory to its prediction there, batch 1."""
    n_times, _ = plan.windows_of((2, 1))[0]
    model = make_classifier(plan.device)
    host = windows_on(torch.device("cpu"), n_times, 1)
    if plan.device.type == "cuda":
        host = host.pin_memory()
    name = f"stream, window of {n_times / SFREQ:g} s, {way}"

    def hop() -> Tensor:
        return model(host.to(plan.device, non_blocking=True)).cpu()

    with scanning_by(way), torch.no_grad():
        rows = [
            Row(name, "latency, eager", median_ms(hop, plan.device, plan.repeats), "ms")
        ]
        if plan.device.type == "cuda":
            replay = replayed(model, host.to(plan.device))
            error = relative_error(replay(host).cpu(), hop())
            rows.append(at_most(name, "replay equals eager", error, 1e-3))
            ms = median_ms(lambda: replay(host).cpu(), plan.device, plan.repeats)
            rows.append(Row(name, "latency, CUDA graph", ms, "ms"))
    return rows


def replayed(model: nn.Module, example: Tensor) -> Callable[[Tensor], Tensor]:
    """Capture a model's inference in a CUDA graph; windows are copied into its input.

    Parameters
    ----------
    model : nn.Module
        In eval mode, on a GPU.
    example : Tensor
        Input of the shape that will come, on the same GPU.

    Returns
    -------
    callable
        ``replay(x)``; its result is overwritten by the next call.
    """
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(3):
            model(example)
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        output = model(example)

    def replay(x: Tensor) -> Tensor:
        example.copy_(x, non_blocking=True)
        graph.replay()
        return output

    return replay
