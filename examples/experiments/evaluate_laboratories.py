"""
From one laboratory to another
==============================

A probe for rest that is fitted on the people of one laboratory and scores those of the
other: eegmmidb (64 electrodes, BCI2000; rest between imagined movements against these)
and eegmat (19, Neurocom; rest before mental arithmetic against it). Only the word is
common: these are two kinds of rest against two kinds of work::

    python examples/experiments/evaluate_laboratories.py --data-path FOLDER \
        --checkpoint samba-e \
        --output results/laboratories --figure laboratories.png

Windows of 2 s, 1 to 40 Hz, on the 19 electrodes that both have; people who are scored
were seen neither by the probe nor by the checkpoint. ``centred`` takes the mean of each
recording's features away, without labels.
"""

import argparse
import functools
import os
from pathlib import Path

import mne
import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GroupKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from tqdm import tqdm
from trials_and_methods import (
    RENAMED,
    SFREQ,
    SUBJECTS,
    fill_table,
    movements,
    score_people,
    state,
)

from braindecode_samba import SAMBAFeatures
from braindecode_samba._paths import whole_file
from braindecode_samba.evaluation import checkpoint_digest
from braindecode_samba.evaluation.baselines import log_band_power
from braindecode_samba.plots import plot_embedding

LABORATORIES = {"eegmmidb": "imagery", "eegmat": "state"}
# electrodes that both laboratories have
COMMON = "Fp1 Fp2 F7 F3 Fz F4 F8 T7 C3 Cz C4 T8 P7 P3 Pz P4 P8 O1 O2".split()
BANDS = ((1, 4), (4, 8), (8, 10), (10, 13), (13, 30), (30, 40))
SECONDS = 2

# %%
# Windows
# -------


def read_movements(folder, subject):
    """Rest (0) and imagined fists (1) of two runs: volts, labels, names."""
    parts = []
    for run in (4, 8):
        raw = movements(folder, subject, run, (1, 40))
        raw.resample(SFREQ, verbose="error")
        cues = {"T0": 0, "T1": 1, "T2": 1}
        events, _ = mne.events_from_annotations(raw, cues, verbose="error")
        # both in the middle of their four seconds
        epochs = mne.Epochs(
            raw,
            events,
            None,
            1,
            1 + SECONDS - 1 / SFREQ,
            None,
            preload=True,
            verbose="error",
        )
        parts.append((epochs.get_data(), epochs.events[:, 2]))
    X, y = map(np.concatenate, zip(*parts, strict=True))
    return X, y, raw.ch_names


def read_laboratory(file, laboratory, folder):
    """Windows of all people of a laboratory on the common electrodes."""
    if not file.exists():
        (first, _), (_, last) = SUBJECTS[LABORATORIES[laboratory]]
        parts = []
        for subject in tqdm(range(first, last + 1), desc=laboratory, disable=None):
            if laboratory == "eegmat":
                X, y, names = state(folder, subject, (0, SECONDS))
            else:
                X, y, names = read_movements(folder, subject)
            names = [RENAMED.get(name, name) for name in names]
            rows = [names.index(name) for name in COMMON]
            parts.append((X[:, rows], y, np.full(len(y), subject)))
        X, y, groups = map(np.concatenate, zip(*parts, strict=True))
        with whole_file(file) as opened:
            np.savez(opened, X=X.astype(np.float32), y=y, groups=groups)
    with np.load(file) as data:
        return data["X"], data["y"], data["groups"]


def describe(kind, X, checkpoint, seed=0):
    """Features of windows."""
    if kind == "band power":
        return log_band_power(X, SFREQ, BANDS)
    features = SAMBAFeatures(
        ch_names=COMMON,
        sfreq=SFREQ,
        checkpoint=checkpoint if kind == "samba" else None,
        random_state=seed,
    )
    return features.fit(X[:1]).transform(X)


def centre(features, groups):
    """Take away the mean of each person."""
    features = features.copy()
    for one in np.unique(groups):
        features[groups == one] -= features[groups == one].mean(axis=0)
    return features


# %%
# One row
# -------


def score_row(features, centred, learnt, scored, weights, seed, *, data, checkpoint):
    """Fit a probe in one laboratory, score people of another, or of the same."""
    described = {}
    for laboratory in {learnt, scored}:
        X, y, groups = data[laboratory]
        values = describe(features, X, checkpoint, seed)
        if centred:
            values = centre(values, groups)
        (_, last), _ = SUBJECTS[LABORATORIES[laboratory]]
        described[laboratory] = values, y, groups, groups <= last
    values, y, groups, trained = described[learnt]
    probe = make_pipeline(
        StandardScaler(), LogisticRegression(class_weight="balanced", max_iter=100_000)
    ).fit(values[trained], y[trained])
    values, y, groups, trained = described[scored]
    test = ~trained
    evidence = probe.decision_function(values[test])
    people = score_people(y[test], evidence, groups[test])
    return [{"subject": one, "score": score} for one, score in people.items()]


def tell_apart(data, features, checkpoint):
    """How well the laboratories themselves are told apart, by people left out."""
    parts = []
    for number, (laboratory, (X, _, groups)) in enumerate(data.items()):
        _, (first, _) = SUBJECTS[LABORATORIES[laboratory]]
        test = groups >= first
        values = describe(features, X[test], checkpoint)
        people = groups[test] + 1000 * number
        parts.append((values, np.full(len(values), number), people))
    values, laboratories, people = map(np.concatenate, zip(*parts, strict=True))
    guessed = cross_val_predict(
        make_pipeline(StandardScaler(), LogisticRegression(max_iter=100_000)),
        values,
        laboratories,
        groups=people,
        cv=GroupKFold(5),
    )
    return (guessed == laboratories).mean()


# %%
# The table
# ---------


def main(arguments=None):
    """Compute what is missing, print the table and draw the embedding."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[1])
    add = parser.add_argument
    add("--data-path", default=os.environ.get("BRAINDECODE_SAMBA_DATA"))
    add("--output", type=Path, default=Path("results"), help="folder of the table")
    add("--checkpoint", default="samba-e", help="name, folder or file")
    add("--seeds", nargs="+", type=int, default=[0], help="of the random network")
    add("--figure", help="file to write the figure to")
    options = parser.parse_args(arguments)
    if not options.data_path:
        parser.error("say where the recordings are: --data-path FOLDER")
    options.output.mkdir(parents=True, exist_ok=True)
    data = {
        laboratory: read_laboratory(
            options.output / f"{laboratory}-19.npz", laboratory, Path(options.data_path)
        )
        for laboratory in LABORATORIES
    }
    digest = checkpoint_digest(options.checkpoint)
    rows = [
        {
            "features": features,
            "centred": centred,
            "learnt": learnt,
            "scored": scored,
            "weights": digest if features == "samba" else "none",
            "seed": seed,
        }
        for seed in options.seeds
        for features in ("samba", "random", "band power")
        for centred in (False, True)
        for learnt in LABORATORIES
        for scored in LABORATORIES
    ]
    score = functools.partial(score_row, data=data, checkpoint=options.checkpoint)
    scores = fill_table(options.output / "rows", rows, score)
    keys = ["features", "centred", "learnt", "scored"]
    means = scores.groupby(keys)["score"].agg(["mean", "std", "count"])
    print("\nAUC of rest against work, mean over people")
    print(means.round(3).to_string())
    for features in ("samba", "random", "band power"):
        share = tell_apart(data, features, options.checkpoint)
        print(f"laboratories told apart by {features}: {share:.3f} of windows")
    if options.figure:
        draw(data, options.checkpoint).savefig(options.figure, dpi=120)


def draw(data, checkpoint):
    """Lay out windows of people who are scored, of both laboratories."""
    parts = []
    for laboratory, (X, y, groups) in data.items():
        _, (first, _) = SUBJECTS[LABORATORIES[laboratory]]
        rows = np.flatnonzero(groups >= first)
        rows = np.random.default_rng(0).choice(rows, min(400, len(rows)), replace=False)
        states = np.where(y[rows] == 1, "work", "rest")
        people = [f"{laboratory} {one}" for one in groups[rows]]
        values = describe("samba", X[rows], checkpoint)
        parts.append((values, np.full(len(rows), laboratory), states, people))
    values, laboratories, states, people = map(np.concatenate, zip(*parts, strict=True))
    values = StandardScaler().fit_transform(values)
    labels = {"laboratory": laboratories, "state": states, "person": people}
    return plot_embedding(values, labels, random_state=0)


if __name__ == "__main__":
    main()
