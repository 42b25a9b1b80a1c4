"""
Spread a table of runs over cores and over a cluster
====================================================

The rows of a `ResumableTable` are independent, so that any backend of joblib may run
them: one process, the cores of a machine, or Dask's workers on many machines. Here the
cluster is two workers on this one. It needs no download, and Dask::

    pip install "braindecode-samba[moabb,cluster]"
    python examples/plot_cluster.py
"""

# %%
# What a row computes
# -------------------
# A method is trained on all subjects but one and scores that one. Whatever differs from
# row to row is in its arguments, and the function makes or reads its own data: nothing
# large travels to a worker.

import argparse
import os
import tempfile
import time
from pathlib import Path

import dask
import joblib
import matplotlib.pyplot as plt
import torch
from dask.distributed import Client, LocalCluster
from sklearn.metrics import log_loss, roc_auc_score

from braindecode_samba import SAMBAClassifier
from braindecode_samba.evaluation import ResumableTable, band_power
from braindecode_samba.signals import EEGSimulator

parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
parser.add_argument("--figure", help="file to write the figure to")
args, _ = parser.parse_known_args()  # a gallery has arguments of its own

NAMES = "F3 F4 C3 Cz C4 P3 Pz P4 O1 O2".split()
SFREQ = 128
ROWS = [
    {"method": method, "held_out": subject, "seed": 0}
    for method in ("band power", "SAMBA")
    for subject in (1, 2, 3)
]


def score_row(method, held_out, seed):
    """Train one method on two subjects and score the third."""
    # a row takes one core, and rounds in the same order wherever it runs
    torch.set_num_threads(1)
    X, y, subjects, _ = EEGSimulator(NAMES, sfreq=SFREQ, erd=0.9).imagery(3, 12)
    X = X[..., 90:346]  # two seconds of full effect
    test = subjects == held_out
    if method == "SAMBA":
        classifier = SAMBAClassifier(
            ch_names=NAMES, sfreq=SFREQ, device="cpu", random_state=seed
        )
        classifier.fit(X[~test], y[~test], groups=subjects[~test])
    else:
        classifier = band_power(sfreq=SFREQ).fit(X[~test], y[~test])
    probabilities = classifier.predict_proba(X[test])
    return {
        "AUC": roc_auc_score(y[test] == "right_hand", probabilities[:, 1]),
        "log loss": log_loss(y[test], probabilities, labels=classifier.classes_),
        "process": os.getpid(),
    }


# %%
# Three ways to run them
# ----------------------
# ``run`` asks joblib, and joblib asks whoever ``parallel_config`` names. What computes
# stands below the guard: workers import a script to know its functions, and must not
# run it. On a real cluster, ``LocalCluster`` is replaced by what starts workers there,
# such as ``dask_jobqueue.SLURMCluster``, and the folder lies where all of them see it.


def run(way, folder, rows=ROWS):
    """Compute the rows that are missing in a folder, and say how it went."""
    table = ResumableTable(folder, command="examples/plot_cluster.py")
    n_missing, start = len(table.missing(rows)), time.perf_counter()
    table.run(rows, score_row)
    scores = table.to_frame(rows)
    print(
        f"{way:12} {n_missing} of {len(rows)} rows to compute: "
        f"{time.perf_counter() - start:5.1f} s, "
        f"processes behind the table: {scores['process'].nunique()}"
    )
    return scores.set_index(["method", "held_out"])[["AUC", "log loss"]]


def run_everywhere(scratch):
    """Scores by way of running."""
    scores = {"one process": run("one process", scratch / "one")}
    with joblib.parallel_config(backend="loky", n_jobs=2):
        scores["two cores"] = run("two cores", scratch / "cores")
    with (
        dask.config.set({"temporary-directory": str(scratch)}),
        LocalCluster(
            n_workers=2,
            threads_per_worker=1,
            dashboard_address=None,
            silence_logs="ERROR",  # workers that take seconds to go are no trouble
        ) as cluster,
        Client(cluster),
        joblib.parallel_config(backend="dask"),
    ):
        # as if the run had been interrupted: what is finished is not repeated
        run("Dask", scratch / "cluster", ROWS[::2])
        scores["Dask"] = run("Dask", scratch / "cluster")
        run("Dask", scratch / "cluster")
    return scores


# %%
# The same numbers
# ----------------

if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        scores = run_everywhere(Path(folder))
    reference = scores["one process"]
    print(reference.round(3).to_string())
    for way in ("two cores", "Dask"):
        difference = (scores[way] - reference).abs().to_numpy().max()
        print(f"{way}: largest difference from one process {difference:.1e}")

    fig, axes = plt.subplots(figsize=(5, 4), layout="constrained")
    limits = [0.9 * reference["log loss"].min(), 1.1 * reference["log loss"].max()]
    axes.plot(limits, limits, color="0.7", linewidth=0.8)
    for way, marker in (("two cores", "o"), ("Dask", "x")):
        axes.plot(
            reference["log loss"], scores[way]["log loss"], marker,
            markersize=9, fillstyle="none", label=way,
        )  # fmt: skip
    axes.set(
        xlabel="log loss, computed by one process",
        ylabel="log loss, spread over processes",
    )
    axes.legend()
    if args.figure:
        fig.savefig(args.figure, dpi=120)
    plt.show()

# %%
# Look for circles or crosses beside the line: there should be none, since every way
# computes the same.
