"""
One decoder for every kind of EEG
=================================

SAMBA as it comes beside classical decoders and networks on twelve kinds of EEG, scored
on people that no one trained on::

    python examples/experiments/evaluate_paradigms.py --data-path FOLDER --sets SETS \
        --output results/paradigms

FOLDER (or the environment variable BRAINDECODE_SAMBA_DATA) holds
``eegmmidb/S001/S001R04.edf`` and ``eegmat/Subject00_1.edf`` and so on; SETS holds
windows that were cut before, one file a set, such as ``kalunga.npz`` with ``X``
(n, channels, times), ``y``, ``subject``, ``recording``, ``names`` and ``sfreq``.

All methods get the same windows. Where labels change within a recording, each
recording is whitened by its own windows, without labels, whoever is scored as well:
SAMBA does so itself, for the others it is done here. The score of a column is a mean
over people: of the AUC of their windows (balanced accuracy where there are four
classes, Pearson's r where the target is a number), or, for a diagnosis, of the share of
people with the other label who are ranked on the right side by the mean probability of
their windows, which is the AUC over people. Rows that are finished are not repeated;
``--table`` prints what there is and computes nothing. ``--develop`` scores people for
development alone, whom no checkpoint saw, and has a row for SAMBA from samba-labels.
"""

import argparse
import functools
import hashlib
import os
import sys
from pathlib import Path

import numpy as np
from feature_columns import develop
from paradigm_columns import KINDS, TRAINED_ON, read_column
from paradigm_methods import METHODS
from paradigm_scores import is_number, score_people
from sklearn.base import clone
from tqdm import tqdm

from braindecode_samba import RecordingAligner, SAMBAClassifier, SAMBARegressor
from braindecode_samba.evaluation import (
    ResumableTable,
    checkpoint_digest,
    estimator_digest,
)

SAMBAS = {
    "samba": "SAMBA as it comes",
    "samba-random": "SAMBA with random weights",
    "samba-labels": "SAMBA from samba-labels",
}
TITLES = SAMBAS | {name: method.title for name, method in METHODS.items()}

# %%
# One row: a method on a column
# -----------------------------


def make_samba(method, column, seed):
    """SAMBA, told nothing but channels and rate."""
    kind = SAMBARegressor if is_number(column.y) else SAMBAClassifier
    weights = {
        "samba": {},
        "samba-random": {"checkpoint": None, "random_state": seed},
        "samba-labels": {"checkpoint": "samba-labels"},
    }
    return kind(ch_names=column.names.tolist(), sfreq=column.sfreq, **weights[method])


def make(name, method, column, seed):
    """Estimator of a row, not fitted."""
    if method in SAMBAS:
        return make_samba(method, column, seed)
    return METHODS[method].make(column, KINDS[name], seed)


def drawn(method):
    """Tell whether seeds make a difference."""
    return METHODS[method].drawn if method in METHODS else method == "samba-random"


def can(method, name):
    """Tell whether a method can do a column."""
    if method in SAMBAS:
        return True
    if KINDS[name].score == "r":
        return METHODS[method].numbers
    return bool(KINDS[name].frequencies) or not METHODS[method].told


def ask_samba(samba, column, test):
    """Evidence for test windows from SAMBA, which aligns recordings itself."""
    known, new = column.recording[~test], column.recording[test]
    samba.fit(column.X[~test], column.y[~test], groups=known)
    ask = samba.predict if is_number(column.y) else samba.predict_proba
    return ask(column.X[test], groups=new)


def ask_other(other, column, test, read):
    """Evidence for test windows from a method that has read all windows."""
    learnt, scored = ([values[rows] for values in read] for rows in (~test, test))
    other.fit(learnt, column.y[~test], groups=column.subject[~test])
    return other.predict(scored) if is_number(column.y) else other.predict_proba(scored)


def decode(name, method, column, seed):
    """Evidence for each window from a decoder that saw nothing of the person.

    (n, classes), or (n,) for numbers; NaN for those who are trained on alone.
    """
    unfitted = make(name, method, column, seed)
    ask = ask_samba
    if method not in SAMBAS:
        X = column.X
        if KINDS[name].whitened:
            X = RecordingAligner().fit_transform(X, groups=column.recording)
        ask = functools.partial(ask_other, read=unfitted.read(X))
    found = None
    folds = np.unique(column.fold[column.fold != TRAINED_ON])
    for fold in tqdm(folds, desc=f"{name}, {method}, {seed}", disable=None):
        test = column.fold == fold
        evidence = ask(clone(unfitted), column, test)
        if found is None:
            found = np.full((len(test), *evidence.shape[1:]), np.nan)
        found[test] = evidence
    return found


def score_row(column, method, seed, data, estimator, weights, *, folder, read):
    """Score each person of a column; data, estimator and weights name the row."""
    read = read(folder, column)
    evidence = decode(column, method, read, seed)
    scored = read.fold != TRAINED_ON
    scores = score_people(
        KINDS[column].score, read.y[scored], evidence[scored], read.subject[scored]
    )
    return [{"subject": str(one), "score": score} for one, score in scores.items()]


# %%
# The table
# ---------


def digest(column):
    """Hash of windows, labels and folds."""
    hashed = hashlib.sha256()
    for values in (column.X, column.y, column.fold):
        hashed.update(np.ascontiguousarray(values))
    return hashed.hexdigest()[:12]


def reader(options):
    """Choose what reads columns: with all their folds, or people for development."""
    return develop if options.develop else read_column


def list_rows(options, folder):
    """List the settings of all rows that were asked for and make sense."""
    rows = []
    for name in options.columns:
        sources = {"data_path": options.data_path, "sets": options.sets}
        column = reader(options)(folder, name, **sources)
        data = digest(column)
        for method in (one for one in options.methods if can(one, name)):
            for seed in options.seeds if drawn(method) else options.seeds[:1]:
                estimator = make(name, method, column, seed)
                rows.append(
                    {
                        "column": name,
                        "method": method,
                        "seed": seed,
                        "data": data,
                        "estimator": estimator_digest(estimator),
                        "weights": checkpoint_digest(
                            getattr(estimator, "checkpoint", None)
                        ),
                    }
                )
    return rows


def tabulate(scores, columns):
    """Means over people and seeds, and their spread over people, as Markdown."""
    people = scores.groupby(["column", "method", "subject"])["score"].mean()
    found = people.groupby(["column", "method"]).agg(["mean", "std"])
    means = found["mean"].unstack("column").reindex(columns=columns)
    spread = found["std"].unstack("column")
    lines = [
        ["", *columns, "mean"],
        ["---"] * (len(columns) + 2),
        ["scored by", *(KINDS[name].score for name in columns), ""],
    ]
    for method in (one for one in TITLES if one in means.index):
        row = means.loc[method]
        cells = [
            "-" if np.isnan(mean) else f"{mean:.3f} ± {spread.loc[method, name]:.2f}"
            for name, mean in row.items()
        ]
        part = "" if row.notna().all() else f" (of {row.count()})"
        lines.append([TITLES[method], *cells, f"{row.mean():.3f}{part}"])
    if "samba" in means.index and len(means) > 1:
        lines.append(["SAMBA against the best other", *compare(means)])
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def compare(means):
    """SAMBA minus the best other of each column, and minus the best of all in the mean.

    The best of all is the other method with the best mean that does most columns; with
    it SAMBA is compared where both are.
    """
    samba, others = means.loc["samba"], means.drop(index=[*SAMBAS], errors="ignore")
    most = others[others.count(axis=1) > len(means.columns) / 2]
    margins = [f"{margin:+.3f}" for margin in samba - others.max()]
    if most.empty:
        return [*margins, "-"]
    best = most.mean(axis=1).idxmax()
    return [*margins, f"{(samba - most.loc[best]).mean():+.3f} ({TITLES[best]})"]


def spread_of_seeds(scores):
    """Deviation of the means of seeds, for methods that were run with several."""
    means = scores.groupby(["column", "method", "seed"])["score"].mean()
    return means.groupby(["column", "method"]).std().dropna()


def parse(arguments=None):
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[1])
    add = parser.add_argument
    add("--columns", nargs="+", choices=list(KINDS), default=list(KINDS))
    add("--methods", nargs="+", choices=list(TITLES), help="all that are fair")
    add("--seeds", nargs="+", type=int, default=[0], help="of whatever is drawn")
    add("--data-path", type=Path, default=os.environ.get("BRAINDECODE_SAMBA_DATA"))
    add("--sets", type=Path, help="folder of sets that were cut before")
    add("--output", type=Path, default=Path("results"), help="folder of the table")
    add("--develop", action="store_true", help="score whom no checkpoint saw")
    add("--table", action="store_true", help="print what is finished, compute nothing")
    add("--n-jobs", type=int, default=1, help="rows at a time")
    options = parser.parse_args(arguments)
    # it has learnt the labels of many who are scored without --develop
    unfair = () if options.develop else ("samba-labels",)
    if options.methods is None:
        options.methods = [one for one in TITLES if one not in unfair]
    if set(unfair) & set(options.methods):
        parser.error("samba-labels knows people who are scored: add --develop")
    return options


def main(arguments=None):
    """Compute what is missing and print the table."""
    options = parse(arguments)
    folder = options.output.resolve() / "columns"
    table = ResumableTable(options.output / "rows", command=" ".join(sys.argv))
    rows = list_rows(options, folder)
    if not options.table:
        print(f"{len(table.missing(rows))} of {len(rows)} rows are to be computed")
        table.run(
            rows,
            functools.partial(score_row, folder=folder, read=reader(options)),
            n_jobs=options.n_jobs,
        )
    scores = table.to_frame(rows)
    if scores.empty:
        sys.exit(f"{table.folder} holds none of these rows yet")
    print(tabulate(scores, options.columns))
    for (column, method), spread in spread_of_seeds(scores).items():
        print(f"{TITLES[method]}, {column}: seeds differ by {spread:.3f}")


if __name__ == "__main__":
    main()
