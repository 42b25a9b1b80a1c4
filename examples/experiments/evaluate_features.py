"""
What frozen features are worth, by laboratory and label
=======================================================

The log variances of all stages of a network that is not trained any further, and a
linear model on them whose penalty is chosen on training people who are held out; beside
random weights, band power and the tangent space::

    python examples/experiments/evaluate_features.py --data-path FOLDER --sets SETS \
        --output results/features --checkpoints samba-e samba-t WEIGHTS.safetensors

Columns are those of `evaluate_paradigms.py` that were recorded, and are read as there.
Whoever is scored was seen by no pretraining: people for development. Where labels
change within a recording, each recording is whitened without labels (``--reading
centred``: features less their mean over the recording; ``plain``: neither). Scores are
means over people, with the standard error over people; ``--per-person 16`` takes that
many windows of each person and label, which makes a table in some minutes.

``--share 0.1`` learns from a tenth of the people, drawn anew for each seed, by networks
alone and one penalty. ``--seconds 10`` joins windows of one state and cuts longer ones.
``--asked person`` asks who somebody is, from the first half of everybody's windows for
the second. ``--write STORES/probe`` writes the columns for a pretraining whose config
has ``"probe": {"every": 1}``, and scores nothing.
"""

import argparse
import functools
import os
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
from evaluate_paradigms import ask_other, digest
from feature_columns import by_person, develop, draw_people, lengthen, select
from paradigm_columns import KINDS, TRAINED_ON
from paradigm_methods import ChosenOnPersons, make_band_power, make_tangent
from paradigm_scores import score_people
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler
from trials_and_methods import fill_table

from braindecode_samba import RecordingAligner, SAMBAFeatures
from braindecode_samba._paths import whole_file
from braindecode_samba.evaluation import checkpoint_digest

COLUMNS = [name for name in KINDS if not name.startswith("sim")]
READINGS = ("aligned", "centred", "plain")
CLASSICAL = {"bandpower": make_band_power, "tangent": make_tangent}
RANDOM = "random"
STRENGTHS = (1e-4, 1e-3, 1e-2, 1e-1)
ONE_STRENGTH = (1e-2,)  # where there are no people to choose one on
# what a row says if it is not as usual
UNUSUAL = {"share": 1.0, "seconds": None, "asked": "label"}


# %%
# One row: a method on a column
# -----------------------------


def encode(X, names, sfreq, checkpoint, seed):
    """Log variances of all stages, (n, features)."""
    features = SAMBAFeatures(
        ch_names=names, sfreq=sfreq, checkpoint=checkpoint, random_state=seed
    )
    return features.fit_transform(X)


def centre(values, recording):
    """Features less their mean over the recording."""
    frame = pd.DataFrame(values)
    return values - frame.groupby(recording).transform("mean").to_numpy()


def read_with(X, *, reader, recording):
    """Features, centred if recordings are told."""
    values = reader(X)
    return values if recording is None else centre(values, recording)


def make(name, method, column, seed, reading, strengths=STRENGTHS):
    """Estimator of a row, not fitted."""
    kind = KINDS[name]
    if method in CLASSICAL:
        probe = CLASSICAL[method](column, kind, seed)
    else:
        reader = functools.partial(
            encode,
            names=column.names.tolist(),
            sfreq=column.sfreq,
            checkpoint=None if method == RANDOM else method,
            seed=seed,
        )
        models = [
            LogisticRegression(C=C, class_weight="balanced", max_iter=2000)
            for C in strengths
        ]
        probe = ChosenOnPersons([reader], [StandardScaler()], models, kind.score)
    whose = column.recording if kind.whitened and reading == "centred" else None
    readers = [
        functools.partial(read_with, reader=one, recording=whose)
        for one in probe.readers
    ]
    # covariances are no features that could be centred
    return probe if method == "tangent" else probe.set_params(readers=readers)


def signals(name, column, reading):
    """Windows as they are read: whitened by recording, or as they are."""
    if KINDS[name].whitened and reading == "aligned":
        return RecordingAligner().fit_transform(column.X, groups=column.recording)
    return column.X


def score_row(column, method, seed, reading, data, weights, *, most, folder, **unusual):
    """Score each person of a column; data and weights name the row."""
    name, told = column, UNUSUAL | unusual
    column = develop(folder / "columns", name, most)
    column = replace(column, X=signals(name, column, reading))
    if told["seconds"]:
        column = lengthen(column, told["seconds"])
    if told["asked"] == "person":
        column = by_person(column)
    share = told["share"]
    alone = share < 1 or told["asked"] == "person"
    strengths = ONE_STRENGTH if alone else STRENGTHS
    unfitted = make(name, method, column, seed, reading, strengths)
    read, rows = unfitted.read(column.X), []
    for fold in np.unique(column.fold[column.fold != TRAINED_ON]):
        test = column.fold == fold
        kept = np.ones(len(test), bool)
        if share < 1:
            drawn = draw_people(column.subject[~test], column.y[~test], share, seed)
            kept = test | np.isin(column.subject, drawn)
        some, test = select(column, kept), test[kept]
        evidence = ask_other(
            clone(unfitted), some, test, [values[kept] for values in read]
        )
        if told["asked"] == "person":
            hit = np.unique(some.y[~test])[evidence.argmax(axis=1)] == some.y[test]
            scores = pd.Series(hit).groupby(some.subject[test]).mean()
        else:
            scores = score_people(
                KINDS[name].score, some.y[test], evidence, some.subject[test]
            )
        rows += [{"subject": str(one), "score": two} for one, two in scores.items()]
    return rows


# %%
# The table
# ---------


def list_rows(options, folder):
    """List the settings of all rows."""
    rows = []
    for name in options.columns:
        most = options.per_person
        data = develop(folder / "columns", name, most, options.data_path, options.sets)
        hashed = digest(data)
        for method in methods_of(options):
            drawn = method == RANDOM or options.share < 1
            for seed in options.seeds if drawn else options.seeds[:1]:
                trained = method not in (RANDOM, *CLASSICAL)
                weights = checkpoint_digest(method) if trained else "none"
                row = {"column": name, "method": method, "seed": seed}
                told = {"reading": options.reading, "data": hashed, "weights": weights}
                rows.append(row | told | unusual(options))
    return rows


def unusual(options):
    """Say what the rows do that is not as usual."""
    told = {name: getattr(options, name) for name in UNUSUAL}
    return {name: value for name, value in told.items() if value != UNUSUAL[name]}


def methods_of(options):
    """Name the rows of the table; classical ones choose on people."""
    chosen = options.share == 1 and options.asked == "label"
    classical = CLASSICAL if chosen else {}
    return [*options.checkpoints, RANDOM, *classical]


def write_columns(options, folder):
    """Write the columns for the probe of a pretraining."""
    options.write.mkdir(parents=True, exist_ok=True)
    for name in options.columns:
        most, data_path = options.per_person, options.data_path
        column = develop(folder / "columns", name, most, data_path, options.sets)
        fields = {
            "X": signals(name, column, options.reading).astype(np.float32),
            "y": column.y,
            "subject": column.subject,
            "names": column.names,
            "sfreq": column.sfreq,
        }
        if (column.fold == TRAINED_ON).any():  # else all are scored, in folds
            fields["scored"] = column.fold != TRAINED_ON
        with whole_file(options.write / f"{name}.npz") as file:
            np.savez_compressed(file, **fields)
        print(f"{name}: {len(column.y)} windows, {len(set(column.subject))} people")


def means_and_errors(people):
    """Mean over people of each column and of columns, and their standard errors.

    Parameters
    ----------
    people : pandas.Series
        Scores, by column and subject.
    """
    grouped = people.groupby("column")
    mean, error = grouped.mean(), grouped.sem()
    both = [mean.mean(), np.sqrt(error.pow(2).sum()) / len(error)]
    return mean, error, both


def tabulate(scores, columns, methods):
    """Scores, and what each method is worth over random weights, as Markdown."""
    people = scores.groupby(["method", "column", "subject"])["score"].mean()
    lines = [["", *columns, "mean", "over random weights"]]
    lines.append(["---"] * len(lines[0]))
    for method in methods:
        mean, error, both = means_and_errors(people[method])
        cells = [f"{mean[name]:.3f} ± {error[name]:.3f}" for name in columns]
        _, _, gain = means_and_errors(people[method] - people[RANDOM])
        cells += [f"{both[0]:.3f} ± {both[1]:.3f}", f"{gain[0]:+.3f} ± {gain[1]:.3f}"]
        lines.append([Path(method).stem, *cells])
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def main(arguments=None):
    """Compute what is missing and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[1])
    add = parser.add_argument
    add("--checkpoints", nargs="+", default=["samba-e", "samba-t"])
    add("--columns", nargs="+", choices=COLUMNS, default=COLUMNS)
    add("--reading", choices=READINGS, default="aligned")
    add("--per-person", type=int, help="windows of each person and label; all")
    add("--seeds", nargs="+", type=int, default=[0, 1, 2], help="of random weights")
    add("--share", type=float, default=1.0, help="of people who are learnt from")
    add("--seconds", type=float, help="length of windows; that of the column")
    add("--asked", choices=("label", "person"), default="label")
    add("--write", type=Path, help="folder of columns for a probe")
    add("--data-path", type=Path, default=os.environ.get("BRAINDECODE_SAMBA_DATA"))
    add("--sets", type=Path, help="folder of sets that were cut before")
    add("--output", type=Path, default=Path("results"), help="folder of the table")
    add("--n-jobs", type=int, default=1, help="rows at a time")
    options = parser.parse_args(arguments)
    folder = options.output.resolve()
    if options.write is not None:
        write_columns(options, folder)
        return
    rows = list_rows(options, folder)
    score = functools.partial(score_row, most=options.per_person, folder=folder)
    scores = fill_table(options.output / "rows", rows, score, options.n_jobs)
    print(tabulate(scores, options.columns, methods_of(options)))


if __name__ == "__main__":
    sys.exit(main())
