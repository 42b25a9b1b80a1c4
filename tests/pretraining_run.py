"""A small pretraining run, for the tests and for the processes that they start.

``python pretraining_run.py resumable FOLDER`` trains until it is killed;
``accelerate launch pretraining_run.py accelerated FILE`` writes losses and weights.
"""

import json
import sys

import numpy as np
import torch

from braindecode_samba.pretraining import (
    AcceleratedPretrainer,
    OneCycle,
    SAMBAPretrainer,
    TrainingCheckpoint,
)

# quick, and still one of each layer
TARGETS = [[0, 0, 0.1], [0.06, 0, 0.08], [-0.06, 0, 0.08], [0, 0.08, 0.05]]
SMALL = {
    "module__d_state": 4,
    "module__expand": 2,
    "module__target_positions": TARGETS,
    "batch_size": 4,
    "random_state": 0,
    "verbose": 0,
}
MOTOR = {"ch_names": ["C3", "Cz", "C4"], "sfreq": 128}


def make_windows(n_windows, n_chans=3, n_times=64, rates=(4, 20), seed=0):
    """Waves that the channels share, of some rate in Hz, in volts."""
    rng = np.random.default_rng(seed)
    times = np.arange(n_times) / 128
    phase = rng.uniform(0, 6, (n_windows, 1, 1))
    rate = rng.uniform(*rates, (n_windows, 1, 1))
    noise = rng.standard_normal((n_windows, n_chans, n_times))
    return (np.sin(2 * np.pi * rate * times + phase) + 0.1 * noise) * 1e-5


def make_net(net_class=SAMBAPretrainer, **settings):
    return net_class(**{**SMALL, **MOTOR, **settings})


def train_resumable(folder, *callbacks, resume=None, n_windows=9, **settings):
    """Train 2 epochs of 3 batches, and keep the state after every second batch."""
    checkpoint = TrainingCheckpoint(folder, every_batches=2)
    defaults = {"max_epochs": 2, "callbacks": [OneCycle(), checkpoint, *callbacks]}
    X = make_windows(n_windows, n_times=32)
    valid = make_windows(3, n_times=32, seed=1)
    return make_net(**defaults | settings).fit(X, valid=valid, resume=resume)


def train_until_killed(folder, max_epochs=10_000, resume=None):
    """Train at a constant rate, which needs no number of epochs."""
    callbacks = [TrainingCheckpoint(folder, every_batches=1)]
    return train_resumable(
        folder, max_epochs=max_epochs, callbacks=callbacks, resume=resume
    )


def train_accelerated(path):
    from accelerate import Accelerator

    accelerator = Accelerator(cpu=True)
    net = make_net(
        AcceleratedPretrainer, accelerator=accelerator, max_epochs=2, batch_size=3
    )
    net.fit(make_windows(14), valid=make_windows(5, seed=1))
    if accelerator.is_main_process:
        losses = net.history[:, ("train_loss", "valid_loss")]
        weights = [parameter.norm().item() for parameter in net.model_.parameters()]
        result = {
            "n_processes": accelerator.num_processes,
            "losses": losses,
            "weights": weights,
        }
        with open(path, "w") as file:
            json.dump(result, file)


if __name__ == "__main__":
    torch.set_num_threads(1)
    mode, place = sys.argv[1:]
    if mode == "resumable":
        train_until_killed(place)
    else:
        train_accelerated(place)
