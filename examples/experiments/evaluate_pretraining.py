"""
What masks, masking ratios and parts of the loss are worth
==========================================================

Short pretrainings on the 19 electrodes of the clinical caps, each with one thing other
than in ``samba-e``, beside the loss of people held out and linear probes::

    braindecode-samba prepare FOLDER --stores STORES --config samba-e
    python examples/experiments/evaluate_pretraining.py --data-path FOLDER \
        --stores STORES \
        --output results/pretraining

All variants see the same windows in the same order, with the same seed and as many
steps. The loss is that of the signals alone, by kind of mask, as a share of what zeros
lose: whoever was trained to rebuild through one kind is at home there. The probes read
imagined fists (eegmmidb, trained on 1 to 28, scored on 29 to 39, aligned) and rest
against arithmetic (eegmat, 0 to 11 and 12 to 19); nobody who is scored was seen. A
pretraining that was stopped goes on when the command is given again.
"""

import argparse
import functools
import os
import re
from pathlib import Path

import numpy as np
import torch
from trials_and_methods import (
    RENAMED,
    SFREQ,
    SUBJECTS,
    fill_table,
    read_trials,
    score_people,
    whiten,
)

from braindecode_samba import SAMBAReconstructor, load_montage
from braindecode_samba.evaluation import linear_probe
from braindecode_samba.pretraining import (
    Corpus,
    Masking,
    MontageAugmentation,
    TimeFrequencyLoss,
)
from braindecode_samba.pretraining.config import read_config
from braindecode_samba.pretraining.preparing import read_stores
from braindecode_samba.pretraining.reconstruction import MaskedReconstruction
from braindecode_samba.pretraining.run import pretrain

MASKS = {
    "tsr": {"kind": "tsr"},
    "random": {"kind": "random"},
    "regions": {"kind": "regions", "per_channel": True},
}
ENVELOPES = {"norm": "ortho", "region": "masked", "gamma": 1.0}
PUBLISHED = {"norm": "backward", "region": "all", "gamma": 0.0}

# name: (masking, loss); None: random weights
VARIANTS = {
    "random weights": None,
    "regions, as samba-e": (MASKS["regions"], ENVELOPES),
    "tsr": (MASKS["tsr"], ENVELOPES),
    "random samples": (MASKS["random"], ENVELOPES),
    "regions, ratio .25": ({**MASKS["regions"], "ratio": 0.25}, ENVELOPES),
    "regions, ratio .75": ({**MASKS["regions"], "ratio": 0.75}, ENVELOPES),
    "without envelopes": (MASKS["regions"], {**ENVELOPES, "gamma": 0.0}),
    "time alone": (MASKS["regions"], {**ENVELOPES, "gamma": 0.0, "beta": 0.0}),
    "tsr, published loss": (MASKS["tsr"], PUBLISHED),
}
# name: (task, aligned, layer, pooling)
PROBES = {
    "imagery, encoder1": ("imagery", True, "encoder1", "logvar"),
    "imagery, encoder3": ("imagery", True, "encoder3", "logvar"),
    "state, pool3": ("state", False, "pool3", "statistics"),
}
WINDOWS = {"imagery": [0.5, 3.5], "state": [0.0, 2.0]}

# %%
# One row
# -------


def settings(variant, config, options):
    """Give the config of one variant."""
    masking, loss = VARIANTS[variant]
    shipped = read_config(config)
    length = {"steps": options["steps"], "batch_size": options["batch_size"]}
    changes = {
        "name": variant,
        "masking": masking,
        "loss": loss,
        "montages": {"kinds": ["clinical_19"]},
        "probe": None,
        "seed": options["seed"],
        "training": shipped.training.model_copy(update=length),
    }
    return shipped.model_copy(update=changes)


def pretrain_variant(variant, options, *, config, stores, output, device):
    """Give the checkpoint of a variant, which is made or finished if need be."""
    name = re.sub(r"\W+", "-", variant)
    run = output / f"{name}-{options['steps']}-{options['seed']}"
    if not (run / "checkpoint" / "model.safetensors").is_file():
        pretrain(settings(variant, config, options), stores, run, device=device)
    return run / "checkpoint"


def held_out(config, stores):
    """Windows of people held out, on 19 electrodes."""
    _, watched = read_stores(read_config(config), stores)
    return Corpus(
        {
            name: MontageAugmentation(store, ("clinical_19",))
            for name, store in watched.items()
        }
    )


def load_network(checkpoint, seed):
    """Load a checkpoint, or draw random weights."""
    if checkpoint is not None:
        return SAMBAReconstructor.from_pretrained(checkpoint, verbose=False).eval()
    torch.manual_seed(seed)
    return SAMBAReconstructor(n_chans=19, n_times=256, sfreq=SFREQ).eval()


def share_of_zeros(model, windows, mask, seed):
    """Error of hidden samples, over that of zeros."""
    rebuilder = MaskedReconstruction(model)
    criterion = TimeFrequencyLoss(beta=0.0, norm="ortho", region="masked")
    masking = Masking(**MASKS[mask])
    sums = np.zeros(2)
    for start in range(0, len(windows), 64):
        rows = range(start, min(start + 64, len(windows)))
        items = [windows[row] for row in rows]
        x = torch.stack([torch.as_tensor(one["x"]) for one in items])
        pos = torch.stack([torch.as_tensor(one["pos"]) for one in items])
        visible = masking(torch.tensor(list(rows)), x.shape[2], 0, seed, pos)
        with torch.no_grad():
            rebuilt, target = rebuilder(x, pos, mask=visible)
            for place, values in enumerate((rebuilt, torch.zeros_like(target))):
                sums[place] += float(criterion.sums(values, target, visible).time)
    return sums[0] / sums[1]


def probe_people(checkpoint, name, seed, *, trials):
    """AUC of each person whom a probe of the others did not see."""
    task, align, layer, pooling = PROBES[name]
    data = read_trials(trials[task], task, None, WINDOWS[task])
    X, y, groups = (data[part] for part in ("X", "y", "groups"))
    names = data["names"].tolist()
    clinical = [RENAMED.get(n, n) for n in load_montage("clinical_19").names]
    chosen = [n for n in names if RENAMED.get(n, n) in clinical]
    X = X[:, [names.index(n) for n in chosen]]
    X = whiten(X, groups) if align else X
    (_, last), _ = SUBJECTS[task]
    test = groups > last
    method = linear_probe(
        ch_names=tuple(chosen),
        sfreq=SFREQ,
        checkpoint=checkpoint,
        layer=layer,
        pooling=pooling,
        random_state=seed,
    )
    fitted = method.fit(X[~test], y[~test])
    evidence = fitted.predict_proba(X[test])[:, 1]
    return score_people(y[test], evidence, groups[test])


def score_row(variant, seed, steps, batch_size, *, config, stores, output, device):
    """Pretrain one variant and score it."""
    options = {"seed": seed, "steps": steps, "batch_size": batch_size}
    files = {"config": config, "stores": stores}
    checkpoint = None
    if VARIANTS[variant] is not None:
        checkpoint = pretrain_variant(
            variant, options, output=output, device=device, **files
        )
    model, windows = load_network(checkpoint, seed), held_out(**files)
    rows = [
        {
            "measure": f"loss, {mask}",
            "score": share_of_zeros(model, windows, mask, seed),
        }
        for mask in MASKS
    ]
    trials = {task: trial_file(output, task) for task in WINDOWS}
    for name in PROBES:
        people = probe_people(checkpoint, name, seed, trials=trials)
        rows += [
            {"measure": name, "subject": one, "score": score}
            for one, score in people.items()
        ]
    return rows


def trial_file(output, task):
    """File of the trials of a task."""
    first, last = WINDOWS[task]
    return output / f"{task}-{first:g}-{last:g}s.npz"


# %%
# The table
# ---------


def main(arguments=None):
    """Compute what is missing and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[1])
    add = parser.add_argument
    add("--data-path", default=os.environ.get("BRAINDECODE_SAMBA_DATA"))
    add("--config", default="samba-e", help="a shipped one or a JSON file")
    add(
        "--stores",
        type=Path,
        required=True,
        help="windows that prepare has made",
    )
    add("--output", type=Path, default=Path("results"), help="folder of the table")
    add("--variants", nargs="+", choices=list(VARIANTS), default=list(VARIANTS))
    add("--seed", type=int, default=0)
    add("--steps", type=int, default=2000)
    add("--batch-size", type=int, default=16)
    add("--device", default="auto")
    options = parser.parse_args(arguments)
    output = options.output.resolve()
    output.mkdir(parents=True, exist_ok=True)
    for task, window in WINDOWS.items():
        read_trials(trial_file(output, task), task, options.data_path, window)
    rows = [
        {
            "variant": variant,
            "seed": options.seed,
            "steps": options.steps,
            "batch_size": options.batch_size,
        }
        for variant in options.variants
    ]
    score = functools.partial(
        score_row,
        config=options.config,
        stores=options.stores.resolve(),
        output=output,
        device=options.device,
    )
    report(fill_table(output / "rows", rows, score), options.variants)


def report(scores, variants):
    """Print means over people, and their standard deviations."""
    measures = list(dict.fromkeys(scores["measure"]))
    grid = scores.pivot_table("score", "variant", "measure")
    print("\nLoss over hidden samples as a share of that of zeros; AUC of probes")
    print(grid.loc[list(variants), measures].round(3).to_string())
    spread = scores.pivot_table("score", "variant", "measure", aggfunc="std")
    print("\nStandard deviation over people")
    print(spread.loc[list(variants), list(PROBES)].round(3).to_string())


if __name__ == "__main__":
    main()
