"""
Score SAMBA and its baselines on subjects that no one trained on
================================================================

Makes the rows of one table, as many as are missing, and prints it::

    python examples/experiments/evaluate.py --data-path FOLDER \
        --output results/imagery \
        --align --mirror --methods samba csp tangent scratch finetune --seeds 0 1 2

The task ``imagery`` tells left from right imagined fists (PhysioNet's eegmmidb, runs 4,
8 and 12; 4 to 38 Hz, 128 Hz, 0.5 to 3.5 s from the cue), trained on subjects 1 to 28
and scored on 29 to 39. The task ``state`` tells rest from mental arithmetic
(PhysioNet's eegmat; windows of 2 s, 1 to 40 Hz, 128 Hz), trained on subjects 0 to 11
and scored on 12 to 19. FOLDER (or the environment variable BRAINDECODE_SAMBA_DATA)
holds ``eegmmidb/S001/S001R04.edf``, or MOABB's ``MNE-eegbci-data``, and
``eegmat/Subject00_1.edf``. Rows that are finished are not repeated; a curve over the
number of training subjects is made with ``--n-subjects 1 5 10 20 28``, and
``--executed`` lets every method learn from the executed fists of subjects 1 to 28 too
(runs 3, 7 and 11, of whom they are there). ``samba`` is SAMBA as it comes, ``scratch``
and ``finetune`` are trained by gradients.
"""

import argparse
import functools

import numpy as np
from sklearn.metrics import roc_auc_score
from trials_and_methods import (
    METHODS,
    PRETRAINED,
    SUBJECTS,
    add_common,
    add_mirrored,
    aligns_itself,
    draw_subjects,
    evidence_for,
    fill_table,
    fit_people,
    make_method,
    read_trials,
    read_whitened,
    score_people,
)

from braindecode_samba.evaluation import (
    checkpoint_digest,
    estimator_digest,
    paired_tests,
    summarise,
)


def score_row(
    dataset,
    pipeline,
    seed,
    n_train,
    align,
    mirror,
    executed,
    window,
    weights,
    estimator,
    *,
    trials,
    make,
):
    """Train one method and score each test subject; weights and estimator name it."""
    _, _, _, names = read_whitened(trials, dataset, window, align=False)
    method = make(pipeline, names.tolist(), seed)
    whitened = align and not aligns_itself(method)
    X, y, groups, _ = read_whitened(trials, dataset, window, whitened)
    train = np.isin(groups, draw_subjects(dataset, n_train, seed))
    train_X, train_y, train_groups = X[train], y[train], groups[train]
    if executed:
        file = executed_beside(trials)
        others, labels, own, _ = read_whitened(file, "executed", window, whitened)
        train_X = np.concatenate([train_X, others])
        train_y = np.concatenate([train_y, labels])
        # executed runs are whitened by themselves
        train_groups = np.concatenate([train_groups, -own])
    if mirror:
        exchanged = {0: 1, 1: 0} if dataset == "imagery" else {}
        train_X, train_y = add_mirrored(train_X, train_y, names.tolist(), exchanged)
        train_groups = np.tile(train_groups, 2)
    fitted = fit_people(method, train_X, train_y, train_groups)
    _, (first, last) = SUBJECTS[dataset]
    test = (first <= groups) & (groups <= last)
    evidence = evidence_for(fitted, X[test], groups[test])
    y, groups = y[test], groups[test]
    pooled = roc_auc_score(y, evidence)
    return [
        {
            "subject": subject,
            "score": score,
            "score over all trials": pooled,
            "test subject's unlabelled trials used": int(
                align * (groups == subject).sum()
            ),
        }
        for subject, score in score_people(y, evidence, groups).items()
    ]


def executed_beside(trials):
    """File of the executed movements that belong to imagined ones."""
    return trials.with_name(trials.name.replace("imagery", "executed"))


def parse(arguments=None):
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[1])
    add = parser.add_argument
    add_common(add)
    add("--task", choices=list(SUBJECTS), default="imagery")
    add("--methods", nargs="+", choices=METHODS, default=["samba", "csp", "tangent"])
    add("--align", action="store_true", help="whiten each recording, for all methods")
    add("--mirror", action="store_true", help="train on mirrored trials as well")
    add("--executed", action="store_true", help="learn from executed fists as well")
    add("--window", nargs=2, type=float, help="seconds, from the cue for imagery")
    add("--n-subjects", nargs="+", type=int, help="training subjects; all by default")
    add("--finetune", default="all", help="all, head or a number of stages")
    add("--lr", type=float, help="of SAMBA's head; its own by default")
    add("--layer", default="pool3", help="that probe and mlp read")
    add("--pooling", default="statistics", help="of that layer: statistics, logvar")
    options = parser.parse_args(arguments)
    (first, last), _ = SUBJECTS[options.task]
    everybody = last - first + 1
    options.n_subjects = options.n_subjects or [everybody]
    if not all(1 <= n <= everybody for n in options.n_subjects):
        parser.error(f"--n-subjects goes from 1 to {everybody}")
    if options.window is None:
        options.window = [0.5, 3.5] if options.task == "imagery" else [0.0, 2.0]
    if options.finetune.isdigit():
        options.finetune = int(options.finetune)
    if options.executed and options.task != "imagery":
        parser.error("--executed goes with --task imagery")
    return options


def list_rows(options, make, names):
    """List the settings of all rows that were asked for."""
    digest = checkpoint_digest(options.checkpoint)
    return [
        {
            "dataset": options.task,
            "pipeline": method,
            "seed": seed,
            "n_train": n_train,
            "align": options.align,
            "mirror": options.mirror,
            "executed": options.executed,
            "window": list(options.window),
            "weights": digest if method in PRETRAINED else "none",
            "estimator": estimator_digest(make(method, names, seed)),
        }
        for method in options.methods
        for seed in options.seeds
        for n_train in options.n_subjects
    ]


def main(arguments=None):
    """Compute what is missing and print the table."""
    options = parse(arguments)
    options.output.mkdir(parents=True, exist_ok=True)
    span = "-".join(f"{edge:g}" for edge in options.window)
    trials = options.output.resolve() / f"{options.task}-{span}s.npz"
    data = read_trials(trials, options.task, options.data_path, options.window)
    if options.executed:
        file = executed_beside(trials)
        read_trials(file, "executed", options.data_path, options.window)
    make = functools.partial(
        make_method,
        checkpoint=options.checkpoint,
        align=options.align,
        device=options.device,
        epochs=options.epochs,
        finetune=options.finetune,
        trunk_lr=options.trunk_lr,
        lr=options.lr,
        layer=options.layer,
        pooling=options.pooling,
    )
    rows = list_rows(options, make, data["names"].tolist())
    score = functools.partial(score_row, trials=trials, make=make)
    report(fill_table(options.output / "rows", rows, score, options.n_jobs))


def report(scores):
    """Print means for each number of training subjects, and paired tests."""
    unlabelled = "test subject's unlabelled trials used"
    for n_train, part in scores.groupby("n_train"):
        means = summarise(part).round(3)
        others = part.groupby(["dataset", "pipeline"])
        means["over all trials"] = others["score over all trials"].mean().round(3)
        means[unlabelled] = others[unlabelled].mean().round(1)
        runs = part.drop_duplicates("configuration")
        means["minutes"] = (
            runs.groupby(["dataset", "pipeline"])["minutes"].mean().round(1)
        )
        print(f"\nAUC over test subjects, {n_train} training subjects")
        print(means.reset_index().to_string(index=False))
        if part["pipeline"].nunique() > 1:
            print("\np (one-sided) that the first is no better than the second")
            print(paired_tests(part).round(3).to_string(index=False))


if __name__ == "__main__":
    main()
