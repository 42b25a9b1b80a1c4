"""Random numbers from a seed, whoever else draws at the same time.

torch has one generator for the whole process: who seeds it disturbs all others, in
other threads too.  Inside `seeded`, what a thread would draw from it comes from
generators of ours.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

__all__ = ["seeded"]


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Draw from a seed inside, on every device; nobody else's draws change.

    Parameters
    ----------
    seed : int
        One seed gives the same draws in any thread.

    Notes
    -----
    Fused attention with dropout on a GPU takes no generator: it alone draws from that
    of the process.
    """
    with _OwnDraws(seed):
        yield


class _OwnDraws(TorchDispatchMode):
    """Hand a generator to every operation of this thread that draws without one."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        self.seed = seed
        self.generators: dict[torch.device, torch.Generator] = {}

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        """Run an operation."""
        kwargs = kwargs or {}
        draws = torch.Tag.nondeterministic_seeded in func.tags
        given = (*args, *kwargs.values())
        if not draws or any(isinstance(one, torch.Generator) for one in given):
            return func(*args, **kwargs)
        if func is torch.ops.aten.native_dropout.default:
            return _dropout(self._generator(args, kwargs), *args)
        form = _taking_generator(func)
        if form is None:
            # what is made of others draws by these
            with self:
                found = func.decompose(*args, **kwargs)
            return func(*args, **kwargs) if found is NotImplemented else found
        own = self._generator(args, kwargs)
        return form(*args, **{**kwargs, "generator": own})

    def _generator(self, args: Any, kwargs: Any) -> torch.Generator:
        device = kwargs.get("device")
        if device is None:
            tensors = [value for value in args if isinstance(value, Tensor)]
            device = tensors[0].device if tensors else torch.get_default_device()
        device = torch.device(device)
        if device.type == "meta":
            device = torch.device("cpu")
        if device not in self.generators:
            self.generators[device] = torch.Generator(device).manual_seed(self.seed)
        return self.generators[device]


def _taking_generator(func: Any) -> Any | None:
    """Find the form of an operation that takes a generator, if it has one."""
    own = func._overloadname
    between = own.replace("_dtype", "_generator_dtype")
    for name in (own, between, f"{own}_generator", "generator"):
        form = getattr(func.overloadpacket, name, None)
        if form is not None:
            if any(one.name == "generator" for one in form._schema.arguments):
                return form
    return None


def _dropout(
    generator: torch.Generator, x: Tensor, p: float, train: bool | None = None
) -> tuple[Tensor, Tensor]:
    """Do what torch's fused dropout does, which takes no generator."""
    if train is False or p == 0:
        return x.clone(), torch.ones_like(x, dtype=torch.bool)
    kept = torch.empty_like(x).bernoulli_(1 - p, generator=generator)
    return x * kept * (0.0 if p == 1 else 1 / (1 - p)), kept.bool()
