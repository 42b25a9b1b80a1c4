"""
Pretrainings of equal cost, each asked for something else
=========================================================

::

    python examples/experiments/pretrain_windows.py --data-path FOLDER --sets FOLDER \
        --output WINDOWS
    python examples/experiments/pretrain_search.py --windows WINDOWS --output WEIGHTS \
        --seconds 45

Every recipe of `pretrain_objectives.py` trains a network of samba-e's size for as many
seconds, on windows that lie on the device as a whole: a GPU if there is one, else the
CPU, where ``--precision float32`` is faster. Its checkpoint is a folder, and its curve
is printed; `evaluate_features.py` says what the features are worth. ``--toy`` does it
with noise and a few steps.
"""

import argparse
import copy
import itertools
import math
import time
from pathlib import Path

import numpy as np
import torch
from pretrain_objectives import RECIPES, Objective, Passage, join_windows, read_windows
from torch.nn import functional as F

from braindecode_samba import SAMBA, SAMBAReconstructor, positions_from_names
from braindecode_samba.nn.randomness import seeded
from braindecode_samba.pretraining.saving import write_checkpoint

WARM_UP = 0.05  # share of the time
LOWEST = 0.01  # of the rate, at the end
N_LINES = 10  # of a curve


def noise(seed=0):
    """Two laboratories that recorded noise."""
    rng = np.random.default_rng(seed)
    laboratories = {}
    for name, names, labels in (
        ("one", ["C3", "Cz", "C4", "Pz", "Fz"], ["a/x", "b/y"]),
        ("other", ["O1", "O2", "Fp1", "Fp2"], ["c", "d"]),
    ):
        X = rng.normal(0, 6, (40, len(names), 512)).astype(np.int8)
        laboratories[name] = {
            "X": X,
            "white": X,
            "y": np.array(labels * 20),
            "subject": np.repeat([f"{name}{i}" for i in range(4)], 10),
            "pos": positions_from_names(names).astype(np.float32),
        }
    return laboratories


def rate(progress, highest):
    """Learning rate: a linear rise, then half a cosine."""
    if progress < WARM_UP:
        return highest * max(progress / WARM_UP, LOWEST)
    fall = (1 + math.cos(math.pi * (progress - WARM_UP) / (1 - WARM_UP))) / 2
    return highest * max(fall, LOWEST)


class Network:
    """One network that starts anew for every recipe, so that it is compiled once."""

    def __init__(self, options, device):
        torch.manual_seed(options.seed)
        self.model = SAMBAReconstructor().to(device)
        self.start = {k: v.clone() for k, v in self.model.state_dict().items()}
        self.make_passages(options.compile)

    def make_passages(self, compiled):
        """Ways through the network, with and without its decoder."""
        self.passages = {both: Passage(self.model, both) for both in (True, False)}
        if compiled:
            for passage in self.passages.values():
                passage.compile(dynamic=False)

    def begin(self, recipe, windows, options):
        """Objective and optimiser, from the seed."""
        self.model.load_state_dict(self.start)
        torch.manual_seed(options.seed)
        recipe = RECIPES[recipe]
        passage = self.passages[recipe.loss is not None]
        objective = Objective(passage, recipe, windows, options.precision == "bf16")
        objective = objective.to(next(self.model.parameters()).device).train()
        wanted = [p for p in objective.parameters() if p.requires_grad]
        groups = [
            {"params": [p for p in wanted if p.dim() > 1]},
            {"params": [p for p in wanted if p.dim() <= 1], "weight_decay": 0.0},
        ]
        optimizer = torch.optim.AdamW(
            groups,
            lr=rate(0.0, options.lr),
            weight_decay=0.01,
            fused=wanted[0].is_cuda,
        )
        return objective, optimizer, wanted


def train(recipe, network, windows, options):
    """Train until the time is over; give the curve, the steps and the seconds."""
    objective, optimizer, wanted = network.begin(recipe, windows, options)
    device = windows.X.device
    generator = torch.Generator(device).manual_seed(options.seed)

    def step():
        rows = windows.draw(options.batch_size, generator)
        optimizer.zero_grad(set_to_none=True)
        parts = objective(windows, rows, generator)
        objective.total(parts).backward()
        torch.nn.utils.clip_grad_norm_(wanted, 1.0)
        optimizer.step()
        return {name: value.detach() for name, value in parts.items()}

    curve, recent, steps = [], [], 0
    step()  # kernels are compiled
    if device.type == "cuda":
        torch.cuda.synchronize()
    begin = time.perf_counter()
    while True:
        spent = time.perf_counter() - begin
        if steps == options.steps or spent > options.seconds:
            break
        progress = steps / options.steps if options.steps else spent / options.seconds
        for group in optimizer.param_groups:
            group["lr"] = rate(progress, options.lr)
        recent.append(step())
        steps += 1
        if steps in options.kept:
            work = curve, steps, time.perf_counter() - begin
            folder = options.output / f"{recipe}-{options.seed}-{steps}"
            save(folder, recipe, network.model, work, windows, options)
        # a look at the losses waits for the GPU: it is taken seldom
        if progress >= (len(curve) + 1) / N_LINES:
            curve.append(mean_losses(recent) | {"steps": steps})
            pace = steps * options.batch_size / (time.perf_counter() - begin)
            print(f"{recipe}: {pace:.0f} windows/s, {curve[-1]}", flush=True)
            if options.agreement:
                rows = windows.draw(options.batch_size, generator)
                parts = objective(windows, rows, generator)
                print(f"cosines: {agreement(parts, objective.trunk)}", flush=True)
            recent = []
    curve.append(mean_losses(recent) | {"steps": steps})
    return curve, steps, time.perf_counter() - begin


def agreement(parts, trunk):
    """Cosines between the gradients of the parts of a loss at the trunk."""
    shared = [p for p in trunk.parameters() if p.requires_grad]
    found = {}
    for name, value in parts.items():
        grads = torch.autograd.grad(
            value, shared, retain_graph=True, materialize_grads=True
        )
        found[name] = torch.cat([one.flatten() for one in grads])
    return {
        f"{one}, {other}": round(F.cosine_similarity(a, b, dim=0).item(), 3)
        for (one, a), (other, b) in itertools.combinations(found.items(), 2)
    }


def mean_losses(recent):
    """Mean of each part of the loss over some steps."""
    return {
        name: round(torch.stack([one[name] for one in recent]).mean().item(), 4)
        for name in (recent[0] if recent else ())
    }


def save(folder, recipe, model, work, windows, options):
    """Write a checkpoint, and in its configuration how it was made."""
    curve, steps, spent = work
    note = {
        "recipe": recipe,
        "seed": options.seed,
        "steps": steps,
        "batch_size": options.batch_size,
        "seconds": round(spent, 1),
        "lr": options.lr,
        "precision": options.precision,
        "curve": curve,
        "people": windows.people,
        "windows": len(windows.X),
    }
    card = f"# {recipe}\n\n{steps} steps of {options.batch_size} windows of 2 s.\n"
    kept = copy.deepcopy(model).cpu()
    if RECIPES[recipe].loss is None:  # nobody asked the decoder for anything
        trunk = kept.trunk
        with seeded(options.seed):  # and what the training draws stays as it is
            kept = SAMBA(n_outputs=1)
        kept.trunk = trunk
    write_checkpoint(folder, kept.eval(), note, card)


def main(arguments=None):
    """Train the recipes one after the other."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[1])
    add = parser.add_argument
    add("--windows", type=Path, help="folder that pretrain_windows.py has filled")
    add("--output", type=Path, default=Path("weights"), help="folder of the weights")
    add("--laboratories", nargs="+", help="files to take; all")
    add("--recipes", nargs="+", choices=list(RECIPES), default=list(RECIPES))
    add("--seconds", type=float, default=45.0, help="of each recipe")
    add("--steps", type=int, help="at most as many of each recipe")
    add("--kept", nargs="+", type=int, default=[], help="steps with a checkpoint too")
    add("--batch-size", type=int, default=512)
    add("--lr", type=float, default=2e-3)
    add("--seed", type=int, default=0)
    add("--precision", choices=("bf16", "float32"), default="bf16")
    add("--agreement", action="store_true", help="of the gradients of all parts")
    add("--compile", action="store_true", help="compile the network first")
    add("--toy", action="store_true", help="noise and three steps, on a CPU")
    options = parser.parse_args(arguments)
    if not (options.toy or options.windows):
        parser.error("say where the windows are: --windows FOLDER, or --toy")
    device = torch.device(
        "cuda" if torch.cuda.is_available() and not options.toy else "cpu"
    )
    torch.set_float32_matmul_precision("high")
    if options.toy:
        options.steps, options.batch_size = 3, 8
        windows = join_windows(noise(), device)
    else:
        windows = read_windows(options.windows, device, options.laboratories)
    print(f"{len(windows.X)} windows of 4 s, {windows.X.shape[1]} channels, {device}")
    options.output.mkdir(parents=True, exist_ok=True)
    network = Network(options, device)
    for recipe in options.recipes:
        try:
            work = train(recipe, network, windows, options)
        except Exception as error:
            if not options.compile:
                raise
            print(f"not compiled: {type(error).__name__}: {str(error)[:300]}")
            options.compile = False
            network.make_passages(False)
            work = train(recipe, network, windows, options)
        folder = options.output / f"{recipe}-{options.seed}"
        _, steps, spent = work
        save(folder, recipe, network.model, work, windows, options)
        print(f"{folder.name}: {steps} steps in {spent:.1f} s", flush=True)


if __name__ == "__main__":
    main()
