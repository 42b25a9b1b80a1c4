"""
What each part of the network is worth
======================================

Left against right imagined fists as in ``evaluate.py``, whose trials it takes:
SAMBA from scratch on subjects 1 to 28, scored on 29 to 39, as it is and with one part
taken out or one option put back to what is published::

    python examples/experiments/evaluate_parts.py --data-path FOLDER \
        --output results/imagery

Parts are exchanged in the network of the estimator before its first step; everything
else, the seed and the number of passes among it, stays.
"""

import argparse
import functools
import os
from pathlib import Path

import numpy as np
import torch
from skorch.callbacks import Callback
from torch import nn
from trials_and_methods import (
    SFREQ,
    SUBJECTS,
    add_mirrored,
    draw_subjects,
    fill_table,
    read_trials,
    read_whitened,
    score_people,
)

from braindecode_samba.evaluation import from_scratch
from braindecode_samba.nn import Mamba2

# %%
# Parts
# -----


class Residual(nn.Module):
    """What a layer gives, beside what it was given."""

    def __init__(self, layer):
        super().__init__()
        self.layer = layer

    def forward(self, h):
        """Keep the shape."""
        return h + self.layer(h)


class NearestElectrode(nn.Module):
    """Each target is the electrode that lies nearest."""

    def forward(self, receivers, sources, present=None):
        """Give weights of 1 and 0, (..., n_receivers, n_sources)."""
        distances = (receivers.unsqueeze(-2) - sources.unsqueeze(-3)).square().sum(-1)
        if present is not None:
            distances = distances.masked_fill(~present.unsqueeze(-2), float("inf"))
        nearest = distances.argmin(-1)
        return nn.functional.one_hot(nearest, distances.shape[-1]).to(distances.dtype)


def one_mamba(model):
    """One Mamba-2 layer in the place of the multi-head differential Mamba."""
    mediator = model.trunk.mediator
    mediator.mdm = Residual(Mamba2(mediator.linear_in.out_features))


def no_mamba(model):
    """Convolutions alone, as in the authors' baseline (encoder and bottleneck)."""
    encoder = model.trunk.encoder
    n, deep = encoder.conv2.out_channels, encoder.conv3.out_channels
    # the baseline has no Linear here
    with torch.no_grad():
        encoder.linear1.weight.copy_(torch.eye(n).unsqueeze(-1))
        encoder.linear1.bias.zero_()
    encoder.linear1.requires_grad_(False)
    encoder.mamba1 = nn.Sequential(nn.Conv1d(n, n, 3, padding=1), nn.ReLU())
    encoder.conv2 = nn.Sequential(encoder.conv2, nn.ReLU())
    encoder.conv3 = nn.Sequential(encoder.conv3, nn.ReLU())
    model.trunk.mediator = nn.Sequential(nn.Conv1d(deep, deep, 3, padding=1), nn.ReLU())


def nearest_electrode(model):
    """No learned weights of electrodes."""
    model.trunk.spatial.weights = NearestElectrode()


PARTS = {"mdm": one_mamba, "mamba": no_mamba, "cdse": nearest_electrode}


class Exchange(Callback):
    """Exchange a part of the network before it is trained."""

    def __init__(self, part):
        self.part = part

    def on_train_begin(self, net, X=None, y=None, **kwargs):
        """Build the new part, and an optimiser that knows it."""
        PARTS[self.part](net.module_)
        net.module_.to(net.device)
        net.initialize_optimizer()


# name: (part, options of the network, options of the training)
VARIANTS = {
    "as it is": (None, {}, {}),
    "one Mamba-2 instead of the MDM": ("mdm", {}, {}),
    "no Mamba: the authors' convolutions": ("mamba", {}, {}),
    "no CDSE: nearest electrode": ("cdse", {}, {}),
    "spatial_init='published'": (None, {"spatial_init": "published"}, {}),
    "scale=None": (None, {"scale": None}, {}),
    "head='variance'": (None, {"head": "variance"}, {}),
    "surround=1.0": (None, {"surround": 1.0}, {}),
    "drop_prob=0.5": (None, {"drop_prob": 0.5}, {}),
    "trunk_lr_factor=1": (None, {}, {"trunk_lr_factor": 1.0}),
    "without mirrored trials": (None, {}, {"mirror": False}),
    "without alignment": (None, {"surround": 1.0}, {"align": False}),
}


def make_variant(variant, names, seed, epochs, device="auto"):
    """Build SAMBA from scratch with one thing changed."""
    part, options, training = VARIANTS[variant]
    method = from_scratch(
        ch_names=tuple(names),
        sfreq=SFREQ,
        align=False,  # the trials are whitened already
        max_epochs=epochs,
        trunk_lr_factor=training.get("trunk_lr_factor", 0.1),
        model_params={"drop_prob": 0.2, "surround": 0.0, **options},
        device=device,
        random_state=seed,
    )
    if part is not None:
        method.set_params(classifier__callbacks=[Exchange(part)])
    return method


# %%
# The table
# ---------


def score_row(variant, seed, epochs, n_train, window, *, trials, device):
    """Train one variant and score each test subject."""
    training = VARIANTS[variant][2]
    align = training.get("align", True)
    X, y, groups, names = read_whitened(trials, "imagery", window, align)
    _, (first, end) = SUBJECTS["imagery"]
    train = np.isin(groups, draw_subjects("imagery", n_train, seed))
    test = (first <= groups) & (groups <= end)
    learnt, labels = X[train], y[train]
    if training.get("mirror", True):
        learnt, labels = add_mirrored(learnt, labels, names.tolist(), {0: 1, 1: 0})
    method = make_variant(variant, names.tolist(), seed, epochs, device)
    fitted = method.fit(learnt, labels)
    evidence = fitted.predict_proba(X[test])[:, 1]
    network = fitted[-1].model_
    size = sum(value.numel() for value in network.parameters() if value.requires_grad)
    return [
        {"subject": one, "score": score, "parameters": size}
        for one, score in score_people(y[test], evidence, groups[test]).items()
    ]


def main(arguments=None):
    """Compute what is missing and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[1])
    add = parser.add_argument
    add("--data-path", default=os.environ.get("BRAINDECODE_SAMBA_DATA"))
    add("--output", type=Path, default=Path("results"), help="folder of the table")
    add("--variants", nargs="+", choices=list(VARIANTS), default=list(VARIANTS))
    add("--seeds", nargs="+", type=int, default=[0])
    add("--epochs", type=int, default=8)
    add("--n-subjects", type=int, default=28, help="training subjects")
    add("--device", default="auto")
    add("--n-jobs", type=int, default=1, help="rows at a time")
    options = parser.parse_args(arguments)
    options.output.mkdir(parents=True, exist_ok=True)
    window = [0.5, 3.5]
    trials = options.output.resolve() / "imagery-0.5-3.5s.npz"
    read_trials(trials, "imagery", options.data_path, window)
    rows = [
        {
            "variant": variant,
            "seed": seed,
            "epochs": options.epochs,
            "n_train": options.n_subjects,
            "window": window,
        }
        for seed in options.seeds
        for variant in options.variants
    ]
    score = functools.partial(score_row, trials=trials, device=options.device)
    scores = fill_table(options.output / "parts", rows, score, options.n_jobs)
    report(scores, options.variants)


def report(scores, variants):
    """Print the mean AUC of each variant, and the difference by subject."""
    people = scores.groupby(["variant", "subject"])["score"].mean().unstack("variant")
    people = people[list(variants)]
    table = people.agg(["mean", "std"]).T
    if "as it is" in people:
        table["beside as it is"] = people.sub(people["as it is"], axis=0).mean()
        better = people.gt(people["as it is"], axis=0).sum()
        table["better for"] = [f"{n} of {len(people)}" for n in better]
    sizes = scores.groupby("variant")["parameters"].first()
    table["parameters"] = sizes.reindex(table.index).astype(np.int64)
    print("\nAUC over test subjects")
    print(table.round(3).to_string())


if __name__ == "__main__":
    main()
