"""Pretraining in several processes, by accelerate.

Windows, masks and losses are those of `braindecode_samba.pretraining.net`.
"""

from typing import Any, Self

import torch
from skorch.hf import AccelerateMixin
from torch.utils.data import DataLoader

from braindecode_samba.pretraining.losses import LossSums
from braindecode_samba.pretraining.net import SAMBAPretrainer


class AcceleratedPretrainer(AccelerateMixin, SAMBAPretrainer):
    """`SAMBAPretrainer` in the processes of ``accelerate launch``.

    Every process sees its part of each batch of ``batch_size`` windows a process, and
    the loss is over all of them: two processes train as one does on twice the batch.

    Parameters
    ----------
    accelerator : accelerate.Accelerator
        Says where and in what precision to compute.
    *args, **kwargs
        As for `SAMBAPretrainer`, but for `device` and `mixed_precision`, which the
        accelerator decides.
    """

    callbacks__print_log__sink: Any
    _criteria: list[str]

    def initialize_module(self) -> Self:
        """Build the network from the seed of the run, the same in every process."""
        if self.mixed_precision:
            raise ValueError(
                "the accelerator decides the precision: pass mixed_precision='bf16' to "
                "Accelerator"
            )
        return super().initialize_module()

    def _initialize_callbacks(self) -> Self:
        # skorch prints through the accelerator even if verbose=0
        if self.callbacks__print_log__sink == "auto":
            first = self.accelerator.is_main_process
            self.callbacks__print_log__sink = print if first else _say_nothing
        return super()._initialize_callbacks()

    def _initialize_accelerator(self) -> Self:
        # the loss has no parameters, which DistributedDataParallel refuses to wrap
        criteria, self._criteria = self._criteria, []
        try:
            return super()._initialize_accelerator()
        finally:
            self._criteria = criteria

    @property
    def process_(self) -> tuple[int, int]:
        """Number of this process, and how many train together."""
        return self.accelerator.process_index, self.accelerator.num_processes

    def on_batch_end(
        self, net: Any, batch: Any = None, training: bool = False, **kwargs: Any
    ) -> None:
        """Record the windows of all processes, by which epochs weigh their batches."""
        super().on_batch_end(net, batch=batch, training=training, **kwargs)
        size = torch.tensor(len(batch[1]), device=self.accelerator.device)
        kind = "train" if training else "valid"
        together = self.accelerator.reduce(size, "sum").item()
        self.history.record_batch(f"{kind}_batch_size", together)

    def get_iterator(self, dataset: Any, training: bool = False) -> DataLoader[Any]:
        """Give this process's part of the batches, as the sampler divides them."""
        return SAMBAPretrainer.get_iterator(self, dataset, training)

    def _draw_seed(self) -> int:
        from accelerate.utils import broadcast_object_list

        return broadcast_object_list([super()._draw_seed()])[0]

    def _join(self, sums: LossSums) -> LossSums:
        n = self.accelerator.num_processes
        # the processes' gradients are averaged: n times the own part makes the sum
        own = n * torch.stack(sums)
        together = self.accelerator.reduce(torch.stack(sums).detach(), "sum")
        return LossSums(*(own + (together - own).detach()))


def _say_nothing(text: str) -> None:
    """Print nothing: the first process speaks for all."""
