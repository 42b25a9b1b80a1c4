"""
Windows of other lengths than those of the pretraining
======================================================

For each checkpoint and for windows of 2 to 120 s: the loss over what is hidden, and a
linear probe beside one of random weights and beside band power::

    python examples/experiments/evaluate_length.py --data-path FOLDER \
        --output results/length \
        --checkpoints samba-e samba-t --figure length.png

The loss is that of people whom the checkpoints never saw (eegmmidb 29 to 39, two runs
each, 16 bipolar pairs, 1 to 45 Hz), cut from the same two minutes at every length, with
both kinds of masks that the checkpoints were made with. The probe tells rest from
mental arithmetic (eegmat 0 to 11, scored on 12 to 19). Eyes open against closed is
there for four people alone, whom the checkpoints did see: each is scored by a probe of
the other three, and nothing follows from it.
"""

import argparse
import functools
import os
from pathlib import Path

import matplotlib.pyplot as plt
import mne
import numpy as np
import torch
from trials_and_methods import (
    SFREQ,
    SUBJECTS,
    fill_table,
    movements,
    score_people,
    state,
)

from braindecode_samba import SAMBAReconstructor, positions_from_names
from braindecode_samba._paths import whole_file
from braindecode_samba.evaluation import (
    band_power,
    checkpoint_digest,
    linear_probe,
)
from braindecode_samba.pretraining import (
    Masking,
    MontageAugmentation,
    TimeFrequencyLoss,
)
from braindecode_samba.pretraining.reconstruction import MaskedReconstruction

SPAN = 120  # seconds of a recording, at all lengths the same
LENGTHS = (2, 5, 10, 30, 60, 100, 120)
PROBED = (2, 5, 10, 20, 30)
WITH_EYES = (1, 2, 3, 15)
MASKS = ("tsr", "regions")
# eyes: 1 closed; arithmetic: 1 arithmetic
TASKS = ("arithmetic", "eyes")

# %%
# Data
# ----


def continuous(folder, subject, run):
    """One run of eegmmidb from 1 to 45 Hz at 128 Hz, volts."""
    raw = movements(Path(folder), subject, run, (1, 45))
    return raw.resample(SFREQ, verbose="error")


def bipolar(x, names):
    """Sixteen bipolar pairs of some recordings: signals and places."""
    places = torch.from_numpy(positions_from_names(names)).float()
    items = [{"x": one, "pos": places, "index": i} for i, one in enumerate(x)]
    pairs = MontageAugmentation(items, ("tuh_bipolar_16",))
    derived = [pairs[i] for i in range(len(items))]
    return torch.stack([one["x"] for one in derived]), derived[0]["pos"]


def read_hidden(file, folder):
    """Two minutes of two runs of each person who is scored, (runs, 64, times)."""
    if not file.exists():
        _, (first, last) = SUBJECTS["imagery"]
        parts = []
        for subject in range(first, last + 1):
            for run in (4, 8):
                raw = continuous(folder, subject, run)
                parts.append(raw.get_data(stop=SPAN * SFREQ).astype(np.float32))
        with whole_file(file) as opened:
            np.savez(opened, x=np.stack(parts), names=np.array(raw.ch_names))
    with np.load(file) as data:
        return torch.from_numpy(data["x"]), data["names"].tolist()


def read_labelled(task, folder, seconds):
    """Windows, labels, people and names of a task."""
    parts = []
    if task == "arithmetic":
        (first, _), (_, last) = SUBJECTS["state"]
        for subject in range(first, last + 1):
            X, y, names = state(folder, subject, (0, seconds))
            parts.append((X, y, np.full(len(y), subject)))
    else:
        for subject in WITH_EYES:
            for label, run in enumerate((1, 2)):
                raw = continuous(folder, subject, run)
                epochs = mne.make_fixed_length_epochs(
                    raw, seconds, preload=True, verbose="error"
                )
                X, names = epochs.get_data(), raw.ch_names
                parts.append((X, np.full(len(X), label), np.full(len(X), subject)))
    X, y, groups = map(np.concatenate, zip(*parts, strict=True))
    return X, y, groups, names


# %%
# One row
# -------


def hidden_loss(weights, seconds, mask, seed, *, checkpoints, output, data_path):
    """Loss of a checkpoint over what is hidden of windows of some length."""
    x, names = read_hidden(output / "hidden.npz", data_path)
    x, pos = bipolar(x, names)
    n_times = seconds * SFREQ
    n = x.shape[2] // n_times
    windows = x[..., : n * n_times].unflatten(2, (n, n_times)).transpose(1, 2)
    windows = windows.flatten(0, 1)
    model = SAMBAReconstructor.from_pretrained(checkpoints[weights], verbose=False)
    rebuilder = MaskedReconstruction(model.eval())
    masking = Masking(mask, n_blocks=4 * seconds, per_channel=mask == "regions")
    criterion = TimeFrequencyLoss(norm="ortho", region="masked")
    totals, zeros = None, None
    size = max(1, 64 // seconds)
    for start in range(0, len(windows), size):
        part = windows[start : start + size]
        places = pos.expand(len(part), -1, -1)
        index = torch.arange(start, start + len(part))
        visible = masking(index, n_times, 1, seed, places)
        with torch.no_grad():
            rebuilt, target = rebuilder(part, places, mask=visible)
            sums = criterion.sums(rebuilt, target, visible)
            nothing = criterion.sums(torch.zeros_like(target), target, visible)
        if totals is not None:
            sums = type(sums)(*map(torch.add, sums, totals))
            nothing = type(sums)(*map(torch.add, nothing, zeros))
        totals, zeros = sums, nothing
    parts, of_zeros = criterion.parts(totals), criterion.parts(zeros)
    return {
        "loss": float(parts.loss),
        "zeros": float(of_zeros.loss),
        "share of zeros": float(parts.loss / of_zeros.loss),
    }


def probe(weights, task, seconds, seed, *, checkpoints, data_path):
    """AUC of each person by a probe of the others."""
    X, y, groups, names = read_labelled(task, Path(data_path), seconds)
    if weights == "band power":
        method = band_power(sfreq=SFREQ)
    else:
        method = linear_probe(
            ch_names=tuple(names),
            sfreq=SFREQ,
            checkpoint=checkpoints.get(weights),
            batch_size=max(1, 64 // seconds),
            random_state=seed,
        )
    if task == "arithmetic":
        (_, last), _ = SUBJECTS["state"]
        folds = [groups > last]
    else:
        folds = [groups == one for one in WITH_EYES]
    rows = []
    for test in folds:
        fitted = method.fit(X[~test], y[~test])
        evidence = fitted.predict_proba(X[test])[:, 1]
        people = score_people(y[test], evidence, groups[test])
        rows += [{"subject": one, "score": score} for one, score in people.items()]
    return rows


# %%
# The table
# ---------


def main(arguments=None):
    """Compute what is missing, print the tables and draw them."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[1])
    add = parser.add_argument
    add("--data-path", default=os.environ.get("BRAINDECODE_SAMBA_DATA"))
    add("--output", type=Path, default=Path("results"), help="folder of the table")
    add("--checkpoints", nargs="+", required=True, help="names, folders or files")
    add("--lengths", nargs="+", type=int, default=list(LENGTHS), help="of the loss, s")
    add("--probed", nargs="+", type=int, default=list(PROBED), help="of the probe, s")
    add("--tasks", nargs="+", choices=TASKS, default=list(TASKS))
    add("--seed", type=int, default=0, help="of masks and of the random network")
    add("--figure", help="file to write the figure to")
    options = parser.parse_args(arguments)
    if not options.data_path:
        parser.error("say where the recordings are: --data-path FOLDER")
    options.output.mkdir(parents=True, exist_ok=True)
    files = {
        f"{Path(one).name} {checkpoint_digest(one)}": one for one in options.checkpoints
    }
    rows = [
        {"weights": weights, "seconds": seconds, "mask": mask, "seed": options.seed}
        for seconds in options.lengths
        for weights in files
        for mask in MASKS
    ]
    path = {"checkpoints": files, "data_path": options.data_path}
    output = options.output.resolve()
    lose = functools.partial(hidden_loss, output=output, **path)
    loss = fill_table(options.output / "loss", rows, lose)
    loss["weights"] = loss["weights"].str.split().str[0]
    print("\nLoss over what is hidden, as a share of that of zeros")
    shares = loss.pivot_table("share of zeros", ["mask", "weights"], "seconds")
    print(shares.round(3).to_string())

    rows = [
        {"weights": weights, "task": task, "seconds": seconds, "seed": options.seed}
        for task in options.tasks
        for seconds in options.probed
        for weights in (*files, "random", "band power")
    ]
    score = functools.partial(probe, **path)
    scores = fill_table(options.output / "probe", rows, score)
    scores["weights"] = scores["weights"].str.replace(r" \S*-\S*$", "", regex=True)
    print("\nAUC of a linear probe of pool3, mean over people")
    means = scores.pivot_table("score", ["task", "weights"], "seconds")
    print(means.round(3).to_string())
    spread = scores.pivot_table("score", ["task", "weights"], "seconds", aggfunc="std")
    print("\nand its standard deviation over people")
    print(spread.round(3).to_string())
    if options.figure:
        draw(loss, scores).savefig(options.figure, dpi=120)


def draw(loss, scores):
    """Losses of both masks, and the probe for arithmetic, over length."""
    figure, panels = plt.subplots(1, 3, figsize=(11, 3.2), layout="constrained")
    names = sorted(set(scores["weights"]), key=lambda name: name.startswith("samba"))
    colors = {name: f"C{number}" for number, name in enumerate(reversed(names))}
    for axes, mask in zip(panels, MASKS, strict=False):
        for name, own in loss[loss["mask"] == mask].groupby("weights"):
            share = own["share of zeros"]
            axes.plot(own["seconds"], share, "o-", ms=4, color=colors[name], label=name)
        axes.set(title=f"hidden by {mask!r}", ylabel="loss / loss of zeros")
    probed = scores[scores["task"] == "arithmetic"]
    for name, own in probed.groupby("weights"):
        people = own.groupby("seconds")["score"]
        mean, error = people.mean(), people.sem()
        panels[2].plot(mean, "o-", ms=4, color=colors[name], label=name)
        panels[2].fill_between(
            mean.index, mean - error, mean + error, color=colors[name], alpha=0.1
        )
    panels[2].set(title="rest against arithmetic, probe", ylabel="AUC")
    for axes, data in zip(panels, (loss, loss, probed), strict=True):
        lengths = sorted(set(data["seconds"]))
        axes.set(xscale="log", xlabel="window (s)")
        # labels must not touch each other
        ticks = [
            a for a, b in zip(lengths, [*lengths[1:], 1e9], strict=True) if b > 1.4 * a
        ]
        axes.set_xticks(ticks, ticks)
        axes.minorticks_off()
        axes.legend(frameon=False, fontsize="small")
    return figure


if __name__ == "__main__":
    main()
