"""Items 8 and 9: the same seed gives the same curve; pretraining for some minutes."""

import time
import warnings
from collections.abc import Iterator
from functools import partial

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from braindecode_samba import SAMBAReconstructor, chs_info_from_names
from braindecode_samba.nn import SignalInput
from braindecode_samba.signals import target_names
from gpu.measure import synchronize
from gpu.plan import (
    SFREQ,
    Case,
    Plan,
    autocast,
    published_on,
    scanning_by,
    training_step,
    windows_on,
)
from gpu.rows import Row, at_most


def determinism(plan: Plan) -> list[Case]:
    """Item 8: two runs from one seed."""
    return [Case(way, partial(same_curves, plan, way)) for way in plan.scans()]


def loss_curve(plan: Plan, n_times: int, batch: int, n_steps: int) -> list[float]:
    """Losses of some training steps from a fixed seed."""
    model = published_on(plan.device).ours().to(plan.device)
    step = training_step(model, windows_on(plan.device, n_times, batch), torch.float32)
    return [step().item() for _ in range(n_steps)]


def same_curves(plan: Plan, way: str) -> list[Row]:
    """Largest difference between two curves; the reason where none can be had."""
    n_times, batch = plan.windows_of((2, 64))[0]
    # odd at every level: the stretching between levels is at its most general
    sizes = (n_times + 3, batch, 3 if plan.toy else 50)
    rows = []
    with scanning_by(way):
        for strict in (True, False):
            torch.use_deterministic_algorithms(True, warn_only=not strict)
            measure = "difference of two loss curves, " + (
                "deterministic algorithms" if strict else "these where there are any"
            )
            try:
                with warnings.catch_warnings(record=True) as caught:
                    warnings.simplefilter("always")
                    curves = [loss_curve(plan, *sizes) for _ in range(2)]
            except RuntimeError as error:
                reason = " ".join(str(error).split())[:200]
                rows.append(Row(way, measure, "refused", ok=False, note=reason))
                continue
            finally:
                torch.use_deterministic_algorithms(False)
            difference = float(np.abs(np.subtract(curves[0], curves[1])).max())
            found = {str(w.message).split(" (Triggered")[0] for w in caught}
            without = [text for text in found if "deterministic" in text]
            note = " ".join("; ".join(sorted(without)).split())[:200]
            if strict:
                rows.append(at_most(way, measure, difference, 0.0, note=note))
            else:
                rows.append(Row(way, measure, difference, note=note))
    return rows


def pretraining(plan: Plan) -> list[Case]:
    """Item 9: masked reconstruction for most of the time that the item has."""
    return [Case("pretraining", partial(pretrain, plan))]


class Windows(Dataset):
    """Windows of a file that is mapped, not read; or noise drawn one by one.

    Parameters
    ----------
    plan : Plan
        Names the file, int8, float16 or float32 of shape (n, channels, times).
    """

    def __init__(self, plan: Plan) -> None:
        self.path = plan.windows
        self.array: np.ndarray | None = None
        if self.path is None:
            self.shape = (64, 16, 64) if plan.toy else (65_536, 64, 2 * SFREQ)
        else:
            self.shape = np.load(self.path, mmap_mode="r").shape
        if len(self.shape) != 3 or self.shape[1] > len(target_names()):
            raise ValueError(
                f"the windows have shape {self.shape}; pass (n, channels, times) with "
                f"at most {len(target_names())} channels"
            )

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, i: int) -> Tensor:
        if self.path is None:
            generator = torch.Generator().manual_seed(i)
            return torch.randn(self.shape[1:], generator=generator).cumsum(-1)
        if self.array is None:  # every worker maps it for itself
            self.array = np.load(self.path, mmap_mode="r")
        return torch.from_numpy(np.array(self.array[i], dtype=np.float32))


def time_masks(batch: int, n_times: int, generator: torch.Generator) -> Tensor:
    """One hidden block of half the window at a random place.

    Returns
    -------
    Tensor of bool, shape (batch, 1, n_times)
        True where samples are visible.
    """
    hidden = n_times // 2
    start = torch.randint(n_times - hidden + 1, (batch, 1), generator=generator)
    times = torch.arange(n_times)
    return ((times < start) | (times >= start + hidden)).unsqueeze(1)


def pretrain(plan: Plan) -> list[Row]:
    """Train `SAMBAReconstructor` on masked windows, bf16 autocast on a GPU."""
    data = Windows(plan)
    loader = DataLoader(
        data,
        batch_size=8 if plan.toy else 512,
        shuffle=True,
        drop_last=True,
        num_workers=0 if plan.toy else 8,
        pin_memory=plan.device.type == "cuda",
        persistent_workers=not plan.toy,
        generator=torch.Generator().manual_seed(0),
    )
    torch.manual_seed(0)
    chs_info = chs_info_from_names(list(target_names()[: data.shape[1]]))
    # windows are scaled before they are masked
    model = SAMBAReconstructor(chs_info=chs_info, scale=None).to(plan.device)
    signal = SignalInput().to(plan.device)
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-4, weight_decay=1e-2)
    generator = torch.Generator().manual_seed(0)
    dtype = torch.bfloat16 if plan.device.type == "cuda" else torch.float32

    losses, n_windows, waited = [], 0, 0.0
    batches = _forever(loader)
    next(batches)  # the workers have started
    start = time.perf_counter()
    seconds = 1.0 if plan.toy else 0.7 * plan.seconds
    while time.perf_counter() - start < seconds:
        before = time.perf_counter()
        x = next(batches)
        waited += time.perf_counter() - before
        x = signal(x.to(plan.device, non_blocking=True))
        visible = time_masks(len(x), x.shape[2], generator).to(plan.device)
        optimizer.zero_grad(set_to_none=True)
        with autocast(plan.device, dtype):
            output = model(x * visible)
        error = (output.float() - x).abs().masked_fill(visible, 0.0)
        loss = error.sum() / ((~visible).sum() * x.shape[1])
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        losses.append(loss.detach())
        n_windows += len(x)
        synchronize(plan.device)  # so that waiting for the loader is that alone
    spent = time.perf_counter() - start
    return _pretraining_rows(data, torch.stack(losses), n_windows, waited, spent)


def _forever(loader: DataLoader) -> Iterator[Tensor]:
    while True:
        yield from loader


def _pretraining_rows(
    data: Windows, losses: Tensor, n_windows: int, waited: float, spent: float
) -> list[Row]:
    source = "noise" if data.path is None else data.path.name
    name = f"pretraining, {data.shape[1]} channels x {data.shape[2]} samples, {source}"
    curve = [part.mean().item() for part in losses.chunk(10)]
    return [
        Row(name, "windows a second", n_windows / spent, note=f"{spent:.0f} s"),
        Row(name, "loader's share of the time", waited / spent),
        Row(
            *(name, "loss, first and last tenth", f"{curve[0]:.3f}, {curve[-1]:.3f}"),
            note="curve: " + ", ".join(f"{loss:.3f}" for loss in curve),
        ),
    ]
