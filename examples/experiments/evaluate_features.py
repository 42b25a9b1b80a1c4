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
alone and one penalty. ``--write STORES/probe`` writes the columns for a pretraining
whose config has ``"probe": {"every": 1}``, and scores nothing.
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
from paradigm_columns import KINDS, TRAINED_ON, read_column
from paradigm_methods import ChosenOnPersons, make_band_power, make_tangent
from paradigm_scores import score_people
from pretrain_windows import CORPORA
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler
from trials_and_methods import fill_table

from braindecode_samba import RecordingAligner, SAMBAFeatures
from braindecode_samba._paths import whole_file
from braindecode_samba.evaluation import checkpoint_digest
from braindecode_samba.pretraining.config import is_chosen

COLUMNS = [name for name in KINDS if not name.startswith("sim")]
READINGS = ("aligned", "centred", "plain")
CLASSICAL = {"bandpower": make_band_power, "tangent": make_tangent}
RANDOM = "random"
STRENGTHS = (1e-4, 1e-3, 1e-2, 1e-1)
FEW_STRENGTHS = (1e-2,)  # few people leave nobody to choose one on


# %%
# Who is scored
# -------------


# the other columns say it themselves
SCORED = {
    "kalunga": CORPORA["kalunga"]["scored"],
    "graz_2b": ["B04", "B05"],
    "eyes": CORPORA["guinea_bissau"]["scored"],
    "diagnosis": CORPORA["guinea_bissau"]["scored"],
    "adhd": CORPORA["adhd"]["scored"],
}


def thin(column, most):
    """At most so many windows of each person and label, evenly over the recording."""
    kept = []
    for one in np.unique(column.subject):
        for label in np.unique(column.y):
            rows = np.flatnonzero((column.subject == one) & (column.y == label))
            some = np.linspace(0, len(rows) - 1, min(most, len(rows)))
            kept.append(rows[some.round().astype(int)])
    return select(column, np.sort(np.concatenate(kept)))


def select(column, rows):
    """Column of some windows."""
    own = ("X", "y", "subject", "recording", "fold")
    return replace(column, **{name: getattr(column, name)[rows] for name in own})


def draw_people(subject, y, share, seed):
    """Draw a share of the people, at least one of each label that people have."""
    rng, drawn = np.random.default_rng(seed), []
    labels = {one: tuple(np.unique(y[subject == one])) for one in np.unique(subject)}
    for kind in sorted(set(labels.values())):
        people = [one for one, its in labels.items() if its == kind]
        count = max(1, round(share * len(people)))
        drawn += rng.choice(people, count, replace=False).tolist()
    return drawn


def develop(folder, name, most, data_path=None, sets=None):
    """Column whose people for development are scored by what the others teach."""
    column = read_column(folder, name, data_path, sets)
    if name in SCORED:
        scored = [is_chosen(one, SCORED[name]) for one in column.subject]
        fold = np.where(scored, 0, TRAINED_ON)
        column = replace(column, fold=fold)
    return thin(column, most) if most else column


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


def score_row(column, method, seed, reading, data, weights, share=1.0, *, most, folder):
    """Score each person of a column; data and weights name the row."""
    name, column = column, develop(folder / "columns", column, most)
    strengths = STRENGTHS if share == 1 else FEW_STRENGTHS
    unfitted = make(name, method, column, seed, reading, strengths)
    read, rows = unfitted.read(signals(name, column, reading)), []
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
                few = {"share": options.share} if options.share < 1 else {}
                rows.append(row | told | few)
    return rows


def methods_of(options):
    """Name the rows of the table."""
    classical = CLASSICAL if options.share == 1 else {}
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
