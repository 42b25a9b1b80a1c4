"""Items 3, 5 and 7: the whole network against others in time, memory and length."""

import gc
from collections.abc import Callable
from functools import partial

import torch
from braindecode import models
from torch import Tensor, nn

from braindecode_samba import SAMBA, chs_info_from_names
from gpu.measure import growth_exponent, longest, median_ms, peak_mib, relative_error
from gpu.plan import (
    NAMES,
    SFREQ,
    Case,
    Plan,
    dtype_name,
    inference,
    published_on,
    scanning_by,
    training_step,
    windows_on,
)
from gpu.rows import Row, at_least, at_most

DTYPES = (torch.float32, torch.bfloat16)
SIZES = ((2, 512), (100, 16), (300, 4))
# rate at which each was trained; EEGConformer has none of its own
NATIVE = {"BIOT": 200, "CBraMod": 200, "LUNA": 256, "Labram": 200, "EEGConformer": 128}


def whole_network(plan: Plan) -> list[Case]:
    """Item 3: training step and inference against the published structure."""
    return [
        Case(
            f"{mode} {dtype_name(dtype)} T={n} b={b}",
            partial(compare_networks, plan, mode, dtype, n, b),
        )
        for n, b in plan.windows_of(*SIZES)
        for mode in ("training", "inference")
        for dtype in DTYPES
    ]


def compare_networks(
    plan: Plan, mode: str, dtype: torch.dtype, n_times: int, batch: int
) -> list[Row]:
    """Time and peak memory of ours and the published structure, same parameters."""
    published = published_on(plan.device)
    ours = published.ours().to(plan.device)
    x = windows_on(plan.device, n_times, batch)
    name = f"{mode}, {n_times} samples x {batch}, {dtype_name(dtype)}"
    rows = []
    if mode == "inference":
        # Triton's float32 products are tf32 unless told otherwise
        limit = 1e-2 if dtype == torch.float32 else 5e-2
        outputs = [inference(model, x, dtype)() for model in (ours, published)]
        error = relative_error(*outputs)
        rows.append(at_most(name, "equal outputs", error, limit))
        del outputs
    make = training_step if mode == "training" else inference
    theirs_ms, theirs_peak = _cost(plan, make(published, x, dtype))
    label = f"published on {published.layers}"
    rows += [
        Row(name, f"time, {label}", theirs_ms, "ms"),
        Row(name, f"peak, {label}", theirs_peak, "MiB"),
    ]
    del published
    for way in plan.scans():
        with scanning_by(way):
            ms, peak = _cost(plan, make(ours, x, dtype))
        rows.append(Row(name, f"time, ours by {way}", ms, "ms"))
        rows.append(Row(name, f"peak, ours by {way}", peak, "MiB"))
        goal = 2.0 if n_times == 2 * SFREQ else 1.0
        rows.append(
            at_least(name, f"times faster, ours by {way}", theirs_ms / ms, goal)
        )
        if mode == "training" and peak is not None and theirs_peak is not None:
            ratio = peak / theirs_peak
            rows.append(at_most(name, f"share of the peak, ours by {way}", ratio, 0.5))
    return rows


def _cost(plan: Plan, run: Callable[[], Tensor]) -> tuple[float, float | None]:
    ms = median_ms(run, plan.device, plan.repeats)
    return ms, peak_mib(run, plan.device)


def length(plan: Plan) -> list[Case]:
    """Item 5: longest window that trains, and how time and memory grow."""
    kinds = [f"ours by {way}" for way in plan.scans()] + ["published"]
    # what is published last: its kernel may end the process
    return [
        Case(f"{what} {kind}", partial(run, plan, kind))
        for kind in kinds
        for what, run in (("growth", growth), ("longest", longest_window))
    ]


def _model(plan: Plan, kind: str) -> nn.Module:
    published = published_on(plan.device)
    return published if kind == "published" else published.ours().to(plan.device)


def growth(plan: Plan, kind: str) -> list[Row]:
    """Exponents of time and memory of one model from 30 s up, batch 1."""
    model = _model(plan, kind)
    start = 64 if plan.toy else 30 * SFREQ
    lengths = [start * 2**k for k in range(2 if plan.toy else 6)]
    rows = []
    for mode, make in (("training", training_step), ("inference", inference)):
        done: list[int] = []
        times: list[float] = []
        peaks: list[float | None] = []
        for n in lengths:
            x = windows_on(plan.device, n, 1)
            try:
                with scanning_by(_way(kind)):
                    run = make(model, x, torch.float32)
                    times.append(median_ms(run, plan.device, min(plan.repeats, 10)))
                    peaks.append(peak_mib(run, plan.device))
            except torch.OutOfMemoryError:
                times = times[: len(done)]
                break
            done.append(n)
        span = f"{done[0]} to {done[-1]} samples" if done else "nothing fits"
        for what, values in (("time", times), ("memory", _known(peaks))):
            if len(done) < 2 or len(values) < len(done):
                rows.append(Row(kind, f"{mode}, exponent of {what}", None, note=span))
                continue
            p = growth_exponent(done, values)
            measure = f"{mode}, exponent of {what}"
            if kind == "published":
                rows.append(Row(kind, measure, p, note=span))
            else:
                rows.append(at_most(kind, measure, p, 1.05, note=span))
    return rows


def _known(values: list[float | None]) -> list[float]:
    return [value for value in values if value is not None]


def _way(kind: str) -> str:
    return "torch" if kind == "ours by torch" else "mamba_ssm"


def longest_window(plan: Plan, kind: str) -> list[Row]:
    """Longest window that trains at batch 1, float32."""

    def fits(n_times: int) -> bool:
        model = _model(plan, kind)
        x = windows_on(plan.device, n_times, 1)
        try:
            with scanning_by(_way(kind)):
                training_step(model, x, torch.float32)()
                if plan.device.type == "cuda":
                    torch.cuda.synchronize(plan.device)
        except torch.OutOfMemoryError:
            return False
        except Exception as error:
            raise RuntimeError(f"at {n_times} samples: {error}") from error
        finally:
            del model, x
            gc.collect()
            torch.cuda.empty_cache()
        return True

    if plan.toy:
        found = longest(fits, 64, 128, steps=1)
    else:
        found = longest(fits, 30 * SFREQ, 2**26)
    return [Row(kind, "longest window that trains", found, "samples", note="batch 1")]


def against_others(plan: Plan) -> list[Case]:
    """Item 7: inference of braindecode's models, each at its own rate."""
    sizes = ((2, 1),) if plan.toy else SIZES
    kinds = [f"SAMBA by {way}" for way in plan.scans()] + list(NATIVE)
    return [
        Case(
            f"{kind} {dtype_name(dtype)} {seconds} s b={batch}",
            partial(cost_of_model, plan, kind, dtype, seconds, batch),
        )
        for seconds, batch in sizes
        for kind in kinds
        for dtype in DTYPES
    ]


def make_model(kind: str, seconds: int) -> tuple[nn.Module, int]:
    """Classifier of 16 channels for windows of some seconds, and its rate in Hz."""
    torch.manual_seed(0)
    chs_info = chs_info_from_names(NAMES)
    if kind.startswith("SAMBA"):
        return SAMBA(n_outputs=2, chs_info=chs_info), SFREQ
    rate = NATIVE[kind]
    signal = dict(n_outputs=2, n_chans=len(NAMES), chs_info=chs_info, sfreq=rate)
    if kind == "BIOT":
        # its table of positions is short by default
        signal["max_seq_len"] = max(1024, len(NAMES) * 2 * seconds + len(NAMES))
    n_times = samples_of(kind, seconds, rate)
    return getattr(models, kind)(n_times=n_times, **signal), rate


def samples_of(kind: str, seconds: int, rate: int) -> int:
    """Samples of a window; LUNA takes whole patches of 40 alone."""
    patch = 40 if kind == "LUNA" else 1
    return seconds * rate // patch * patch


class _Named(nn.Module):
    """LaBraM wants the names of its channels with every batch."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: Tensor) -> Tensor:
        return self.model(x, ch_names=NAMES)


def cost_of_model(
    plan: Plan, kind: str, dtype: torch.dtype, seconds: int, batch: int
) -> list[Row]:
    """Time and peak memory of one model's inference."""
    model, rate = make_model(kind, seconds)
    model = _Named(model) if kind == "Labram" else model
    x = windows_on(plan.device, samples_of(kind, seconds, rate), batch)
    way = "torch" if kind == "SAMBA by torch" else "mamba_ssm"
    with scanning_by(way):
        ms, peak = _cost(plan, inference(model.to(plan.device), x, dtype))
    name = f"{kind}, {seconds} s x {batch}, {dtype_name(dtype)}"
    return [
        Row(name, "inference time", ms, "ms", note=f"{rate} Hz"),
        Row(name, "inference peak", peak, "MiB", note=f"{rate} Hz"),
    ]
