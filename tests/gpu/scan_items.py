"""Items 1 and 2: the scan is right at any length; grouped layers against a loop.

The truth for the scan is `reference`; the loop is that of the published structure.
"""

import importlib
from functools import partial

import torch
from torch import Tensor

from braindecode_samba.nn import MultiHeadDifferentialMamba
from braindecode_samba.scan import ssd_scan
from gpu.measure import median_ms, peak_mib, relative_error
from gpu.plan import KERNEL_MODULE, Case, Plan, has_kernel, published_on, scanning_by
from gpu.reference import ScanCase, ScanResult, reference_scan
from gpu.rows import Row, at_most

LENGTHS = (1, 7, 64, 255, 1000, 4097, 60_000, 61_440, 70_000, 131_072, 200_000)
LIMITS = {torch.float32: 1e-3, torch.bfloat16: 2e-2}
STATE = 16
HEADS = ("weak", "strong")  # decays; each head has a group of its own
# a batch of 32 is eight copies of four samples, each copy times one of these: exact in
# any dtype, all samples differ, and four are enough to know the truth of all. Their sum
# is not small: gradients that are sums over the batch would cancel.
SCALES = (1.0, -1.0, 2.0, -2.0, 0.5, -0.5, 4.0, -0.25)


def scan_right(plan: Plan) -> list[Case]:
    """Item 1: backends against the float64 recurrence, and the kernel alone."""
    lengths = (64,) if plan.toy else LENGTHS
    cases = [
        Case(f"ssd_scan T={n} P={p}", partial(compare_backends, plan, n, p))
        for n in lengths
        for p in (16, 64)
    ]
    # last, as a kernel that reads out of bounds ends its process
    if has_kernel(plan.device):
        cases += [
            Case(
                f"kernel alone T={n} P={p} b={b}", partial(kernel_alone, plan, n, p, b)
            )
            for n in LENGTHS
            for p in (16, 64)
            for b in (1, 32)
        ]
    return cases


def make_case(n_times: int, head_dim: int) -> ScanCase:
    """Four samples with a head of weak and a head of strong decay.

    Parameters
    ----------
    n_times, head_dim : int
        Steps, and features of a head.

    Returns
    -------
    ScanCase
        float32; all but steps, rates and skips hold values that bfloat16 can hold.
    """
    generator = torch.Generator().manual_seed(n_times + head_dim)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator).bfloat16().float()

    shape = (4, n_times, len(HEADS))
    state = (4, len(HEADS), head_dim, STATE)
    return ScanCase(
        x=normal(*shape, head_dim),
        dt=torch.rand(*shape, generator=generator) * 0.1 + 0.001,
        A=torch.tensor([-0.2, -400.0]),  # up to 0.02 and 40 a step
        B=normal(*shape, STATE),
        C=normal(*shape, STATE),
        D=normal(len(HEADS)),
        initial_state=normal(*state),
        dy=normal(*shape, head_dim),
        dstate=normal(*state),
    )


def copies(case: ScanCase, batch: int) -> tuple[ScanCase, Tensor]:
    """Case for a batch, and the factor of each of its samples."""
    if batch == 1:
        one = ScanCase(*(v if v.dim() == 1 else v[:1] for v in case))
        return one, torch.ones(1, device=case.x.device)
    scales = torch.tensor(SCALES[: batch // 4], device=case.x.device)
    scales = scales.repeat_interleave(4)

    def repeat(value: Tensor, scaled: bool) -> Tensor:
        many = value.repeat(batch // 4, *[1] * (value.dim() - 1))
        return many * scales.view(-1, *[1] * (value.dim() - 1)) if scaled else many

    many = {
        name: value
        if value.dim() == 1
        else repeat(value, name in ("x", "initial_state"))
        for name, value in case._asdict().items()
    }
    return ScanCase(**many), scales


def truth_of_copies(truth: ScanResult, scales: Tensor) -> dict[str, Tensor]:
    """Outputs and gradients of a batch made by `copies`, from those of four samples.

    The scan is linear in its inputs and its state: with the same gradients of the
    outputs, those of ``x`` and of the state stay, and all others scale.
    """
    batch = len(scales)
    results = {}
    for name, value in truth._asdict().items():
        if batch == 1:
            many = value[:1]
        else:
            many = value.repeat(batch // 4, *[1] * (value.dim() - 1))
        if name not in ("x", "initial_state"):
            many = many * scales.double().view(-1, *[1] * (value.dim() - 1))
        results[name] = many.sum(0) if name in ("A", "D") else many
    return results


def run_scan(
    case: ScanCase, device: torch.device, dtype: torch.dtype, way: str
) -> dict:
    """Outputs and gradients of one way to scan.

    Parameters
    ----------
    case : ScanCase
        Arguments.
    device, dtype : torch.device, torch.dtype
        Where, and the dtype of ``x``, ``B`` and ``C``.
    way : {"torch", "mamba_ssm", "kernel"}
        A backend of `ssd_scan`, or mamba-ssm's function itself.

    Returns
    -------
    dict of str to Tensor
        Under the names of `ScanResult`.
    """
    c = ScanCase(*(value.to(device) for value in case))
    half = {name: getattr(c, name).to(dtype) for name in ("x", "B", "C")}
    leaves = {
        name: half.get(name, getattr(c, name)).clone().requires_grad_()
        for name in ("x", "dt", "A", "B", "C", "D", "initial_state")
    }
    if way == "kernel":
        kernel = importlib.import_module(KERNEL_MODULE).mamba_chunk_scan_combined
        arguments = dict(leaves, initial_states=leaves["initial_state"])
        del arguments["initial_state"]
        y, state = kernel(**arguments, chunk_size=256, return_final_states=True)
    else:
        y, state = ssd_scan(**leaves, return_final_state=True, backend=way)
    grads = torch.autograd.grad(
        [y, state], list(leaves.values()), [c.dy.to(y.dtype), c.dstate.to(state.dtype)]
    )
    results = {"y": y.detach(), "state": state.detach()}
    return results | dict(zip(leaves, grads, strict=True))


def worst_error(results: dict, truth: dict) -> tuple[float, str]:
    """Largest relative error over tensors and heads, and where it is."""
    worst = (-1.0, "")
    for name, true in truth.items():
        axis = {"A": 0, "D": 0, "state": 1, "initial_state": 1}.get(name, 2)
        for head, decay in enumerate(HEADS):
            error = relative_error(
                results[name].select(axis, head), true.select(axis, head)
            )
            kind = name if name in ("y", "state") else f"gradient of {name}"
            worst = max(worst, (error, f"{kind}, {decay} decay"))
    return worst


def compare_backends(plan: Plan, n_times: int, head_dim: int) -> list[Row]:
    """Every backend, dtype and batch against the recurrence at one length."""
    base = make_case(n_times, head_dim)
    # the loop runs on the CPU; copies of gigabytes are made where they are used
    truth = ScanResult(*(v.to(plan.device) for v in reference_scan(base)))
    base = ScanCase(*(v.to(plan.device) for v in base))
    rows = []
    for batch in (1, 32):
        case, scales = copies(base, batch)
        true = truth_of_copies(truth, scales)
        name = f"ssd_scan, T {n_times}, head dim {head_dim}, batch {batch}"
        for way in plan.scans():
            for dtype, limit in LIMITS.items():
                measure = f"{way} {str(dtype).removeprefix('torch.')}, relative error"
                try:
                    error, where = worst_error(
                        run_scan(case, plan.device, dtype, way), true
                    )
                except torch.OutOfMemoryError:
                    rows.append(Row(name, measure, "out of memory", ok=False))
                    torch.cuda.empty_cache()
                    continue
                rows.append(at_most(name, measure, error, limit, note=where))
    return rows


def kernel_alone(plan: Plan, n_times: int, head_dim: int, batch: int) -> list[Row]:
    """mamba-ssm's function without segments, against the PyTorch scan.

    Nothing is demanded: the lengths at which it is wrong are to be known.
    """
    base = ScanCase(*(v.to(plan.device) for v in make_case(n_times, head_dim)))
    case, _ = copies(base, batch)
    true = run_scan(case, plan.device, torch.float32, "torch")
    found = run_scan(case, plan.device, torch.float32, "kernel")
    error, where = worst_error(found, true)
    verdict = "right" if error <= LIMITS[torch.float32] else "wrong"
    return [
        Row(
            f"kernel alone, T {n_times}, head dim {head_dim}, batch {batch}",
            "float32, relative error to the PyTorch scan",
            error,
            note=f"{verdict}: {where}",
        )
    ]


def grouped(plan: Plan) -> list[Case]:
    """Item 2: one computation over all layers against one layer after another."""
    sizes = plan.windows_of((2, 1), (2, 32), (100, 1), (300, 1))
    return [
        Case(f"{way} T={n} b={b}", partial(compare_grouped, plan, way, n, b))
        for way in plan.scans()
        for n, b in sizes
    ]


def compare_grouped(plan: Plan, way: str, n_times: int, batch: int) -> list[Row]:
    """Outputs, time and memory of both at one length."""
    published = published_on(plan.device)
    loop = published.network.bottleneck[1].get_submodule("block")
    ours = MultiHeadDifferentialMamba().to(plan.device)
    ours.load_state_dict(loop.state_dict())
    generator = torch.Generator().manual_seed(2)
    u = torch.randn(batch, n_times, 128, generator=generator).to(plan.device)
    name = f"mediator, {n_times} steps, batch {batch}, scan by {way}"
    theirs = f"loop over {published.layers} layers"

    def train(layer: torch.nn.Module) -> None:
        layer.zero_grad(set_to_none=True)
        layer(u).square().mean().backward()

    def infer(layer: torch.nn.Module) -> Tensor:
        with torch.inference_mode():
            return layer(u)

    with scanning_by(way):
        rows = [
            at_most(
                name, "equal outputs", relative_error(infer(ours), infer(loop)), 1e-3
            )
        ]
        for mode, call in (("inference", infer), ("training", train)):
            times, peaks = [], []
            for layer in (ours, loop):
                run = partial(call, layer)
                times.append(median_ms(run, plan.device, plan.repeats))
                peaks.append(peak_mib(run, plan.device))
            for label, ms, peak in zip(("grouped", theirs), times, peaks, strict=True):
                rows.append(Row(name, f"{mode} time, {label}", ms, "ms"))
                rows.append(Row(name, f"{mode} peak, {label}", peak, "MiB"))
            rows.append(Row(name, f"{mode}, times faster", times[1] / times[0]))
    return rows
