"""What pretraining takes beside its network.

``python -m tests.benchmarks.loop [--threads 2] [--rounds 10] [--steps 20]`` trains on a
store of noise as `braindecode-samba pretrain` does with its defaults: windows read
from disk, masks, augmentation, loss, clipping, AdamW and its schedule.  After each
round of steps, as many bare ones follow: the network forth and back on windows of the
same shape, the mean squared error, and nothing else.
"""

import argparse
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from skorch.callbacks import Callback
from torch.nn import functional as F

from braindecode_samba.pretraining import (
    Corpus,
    Masking,
    MontageAugmentation,
    OneCycle,
    SAMBAPretrainer,
)

from ._measure import machine, median_ratio
from .corpus import Drawn, write_store

BATCH = 32


class BareSteps(Callback):
    """Time each epoch, and as many bare steps behind it.

    Parameters
    ----------
    n_steps : int
        Steps of an epoch.
    """

    def __init__(self, n_steps: int) -> None:
        self.n_steps = n_steps
        self.epochs: list[float] = []
        self.bare: list[float] = []

    def on_epoch_begin(self, net: SAMBAPretrainer, **kwargs: Any) -> None:
        """Note the time."""
        self.begin = time.perf_counter()

    def on_batch_end(
        self, net: SAMBAPretrainer, batch: Any = None, **kwargs: Any
    ) -> None:
        """Keep what the network got."""
        self.inputs = batch[0]

    def on_epoch_end(self, net: SAMBAPretrainer, **kwargs: Any) -> None:
        """Note how long the epoch took, and time bare steps."""
        self.epochs.append(time.perf_counter() - self.begin)
        network = net.model_
        x, pos, ch_mask = (self.inputs[name] for name in ("x", "pos", "ch_mask"))
        begin = time.perf_counter()
        for _ in range(self.n_steps):
            F.mse_loss(network(x, pos, ch_mask), x).backward()
            network.zero_grad(set_to_none=True)
        self.bare.append(time.perf_counter() - begin)


def main() -> None:
    """Print the ratio, and windows a second of both."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.benchmarks.loop", description=__doc__.splitlines()[0]
    )
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--steps", type=int, default=20)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    bare = BareSteps(options.steps)
    with tempfile.TemporaryDirectory() as folder:
        store = write_store(Path(folder) / "store", 3e7)
        corpus = Corpus([MontageAugmentation(store)])
        SAMBAPretrainer(
            masking=Masking(kind="regions", per_channel=True),
            criterion__norm="ortho",
            criterion__region="masked",
            criterion__gamma=1.0,
            lr=0.002,
            max_epochs=options.rounds + 1,
            batch_size=BATCH,
            callbacks=[OneCycle(), bare],
            random_state=0,
            verbose=0,
        ).fit(Drawn(corpus, BATCH * options.steps))
    # the first round warms up
    loop, alone = bare.epochs[1:], bare.bare[1:]
    windows = BATCH * options.steps
    print(
        f"{machine()}, threads: {options.threads}; {len(loop)} rounds of "
        f"{options.steps} steps of {BATCH} windows: loop "
        f"{windows / statistics.median(loop):.1f} windows a second, bare steps "
        f"{windows / statistics.median(alone):.1f}; ratio of times "
        f"{median_ratio(loop, alone):.2f}"
    )


if __name__ == "__main__":
    sys.exit(main())
