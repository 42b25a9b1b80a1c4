"""What the items have in common: cases, the device, and the networks that are measured.

An item is a function from a `Plan` to its cases.  Nothing is measured here.
"""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import torch
from benchmarks.published import PublishedNetwork
from torch import Tensor, nn
from torch.nn import functional as F

from braindecode_samba import SAMBAReconstructor, positions_from_names
from braindecode_samba.scan import dual
from braindecode_samba.signals import target_positions
from gpu.rows import Row

SFREQ = 128
NAMES = "Fp1 Fp2 F7 F3 F4 F8 T7 C3 C4 T8 P7 P3 P4 P8 O1 O2".split()
KERNEL_MODULE = "mamba_ssm.ops.triton.ssd_combined"


@dataclass(frozen=True)
class Plan:
    """How to run the items.

    Parameters
    ----------
    device : torch.device
        Where networks compute.
    toy : bool
        Smallest sizes, which show that the code runs and measure nothing.
    seconds : float
        Time that an item may take.
    windows : pathlib.Path, optional
        Array (n, channels, times) of windows for item 9; random ones by default.
    """

    device: torch.device
    toy: bool = False
    seconds: float = 150.0
    windows: Path | None = None

    @property
    def repeats(self) -> int:
        """Calls of which the median is taken."""
        return 2 if self.toy else 30

    def windows_of(self, *full: tuple[float, int]) -> list[tuple[int, int]]:
        """Samples and batches for lengths in seconds; half a second for a toy."""
        if self.toy:
            return [(64, 1)]
        return [(round(seconds * SFREQ), batch) for seconds, batch in full]

    def scans(self) -> list[str]:
        """Ways to scan that can be measured on this device."""
        return ["mamba_ssm", "torch"] if has_kernel(self.device) else ["torch"]


class Case(NamedTuple):
    """One thing that is run, under a name of its own within the item."""

    name: str
    run: Callable[[], list[Row]]


def has_kernel(device: torch.device) -> bool:
    """Whether mamba-ssm can be imported and the device can run it."""
    return device.type == "cuda" and dual._kernel() is not None


@contextmanager
def scanning_by(way: str) -> Iterator[None]:
    """Let networks scan with mamba-ssm's kernel, or as where it is not installed."""
    if way == "mamba_ssm":
        yield
        return
    before = sys.modules.get(KERNEL_MODULE)
    sys.modules[KERNEL_MODULE] = None  # type: ignore[assignment]
    dual._kernel.cache_clear()
    try:
        yield
    finally:
        del sys.modules[KERNEL_MODULE]
        if before is not None:
            sys.modules[KERNEL_MODULE] = before
        dual._kernel.cache_clear()


class Published(nn.Module):
    """The published structure with its positions: windows in, windows out.

    Parameters
    ----------
    device : torch.device
        Decides on what it is built: mamba-ssm's layers where they run.
    """

    positions: Tensor
    targets: Tensor

    def __init__(self, device: torch.device) -> None:
        super().__init__()
        self.layers = "mamba_ssm" if has_kernel(device) else "torch"
        # the best chunk of each
        chunk = 256 if self.layers == "mamba_ssm" else 64
        self.network = PublishedNetwork(len(NAMES), chunk=chunk, mamba=self.layers)
        positions = torch.tensor(positions_from_names(NAMES))
        targets = torch.tensor(target_positions())
        self.register_buffer("positions", positions.float(), persistent=False)
        self.register_buffer("targets", targets.float(), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Rebuild windows (batch, 16, times)."""
        return self.network(x, self.positions, self.targets)

    def ours(self) -> SAMBAReconstructor:
        """`SAMBAReconstructor` with the same parameters, positions and targets."""
        state = {name: p.detach().cpu() for name, p in self.network.named_parameters()}
        return SAMBAReconstructor.from_reference(
            state, self.positions.cpu().numpy(), self.targets.cpu().numpy()
        )


def published_on(device: torch.device, seed: int = 0) -> Published:
    """Published structure with seeded parameters, on a device."""
    torch.manual_seed(seed)
    return Published(device).to(device)


def windows_on(device: torch.device, n_times: int, batch: int) -> Tensor:
    """Seeded noise of unit variance, shape (batch, 16, n_times)."""
    generator = torch.Generator().manual_seed(1)
    return torch.randn(batch, len(NAMES), n_times, generator=generator).to(device)


def autocast(device: torch.device, dtype: torch.dtype) -> torch.autocast:
    """Autocast to bfloat16, or none for float32."""
    return torch.autocast(device.type, torch.bfloat16, enabled=dtype == torch.bfloat16)


def training_step(
    model: nn.Module, x: Tensor, dtype: torch.dtype
) -> Callable[[], Tensor]:
    """Make a call that does one whole training step on a batch.

    Parameters
    ----------
    model : nn.Module
        Windows in, windows out.
    x : Tensor, shape (batch, channels, times)
        Input and target.
    dtype : torch.dtype
        Of the computation.

    Returns
    -------
    callable
        Forward, L1, backward and AdamW; returns the loss.
    """
    model.train()
    wanted = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(wanted, lr=1e-3)

    def step() -> Tensor:
        optimizer.zero_grad(set_to_none=True)
        with autocast(x.device, dtype):
            loss = F.l1_loss(model(x).float(), x)
        loss.backward()
        optimizer.step()
        return loss.detach()

    return step


def inference(model: nn.Module, x: Tensor, dtype: torch.dtype) -> Callable[[], Tensor]:
    """Make a call that runs a batch without gradients."""
    model.eval()

    def run() -> Tensor:
        with torch.inference_mode(), autocast(x.device, dtype):
            return model(x)

    return run


def dtype_name(dtype: torch.dtype) -> str:
    """Name of a dtype in the table."""
    return {torch.float32: "float32", torch.bfloat16: "bf16"}[dtype]
