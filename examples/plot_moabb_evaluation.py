"""
Score SAMBA in a MOABB evaluation
=================================

SAMBA as it comes beside CSP + LDA and braindecode's ShallowFBCSPNet, fitted on all
subjects but one and scored on that one. By default on simulated EEG, which needs no
download::

    python examples/plot_moabb_evaluation.py

and on real EEG, PhysionetMI as MOABB knows it, with files that are already here::

    python examples/plot_moabb_evaluation.py --dataset PhysionetMI --subjects 11-20 \
        --data-path FOLDER

where FOLDER (or the environment variable BRAINDECODE_SAMBA_DATA) holds
``eegmmidb/S011/S011R04.edf`` and so on. Without it, MOABB downloads the files.
"""

# %%
# Data set and paradigm
# ---------------------
# Left against right imagined hand movement. Every method gets the same windows, as
# arrays; SAMBA is told which electrodes they hold, in which order, and at which rate.

import argparse
import os
import tempfile
import warnings
from pathlib import Path

import matplotlib.pyplot as plt
import moabb
from mne.decoding import CSP
from moabb.datasets import PhysionetMI
from moabb.evaluations import CrossSubjectEvaluation
from moabb.paradigms import LeftRightImagery
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.pipeline import make_pipeline

from braindecode_samba import SAMBAClassifier
from braindecode_samba.evaluation import Aligned, BraindecodeNet
from braindecode_samba.signals import SimulatedMotorImagery

parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
parser.add_argument(
    "--dataset", choices=["Simulated", "PhysionetMI"], default="Simulated"
)
parser.add_argument("--subjects", default="11-20", help="first-last, of PhysionetMI")
parser.add_argument("--data-path", default=os.environ.get("BRAINDECODE_SAMBA_DATA"))
parser.add_argument("--seed", type=int, default=0)
parser.add_argument(
    "--results", help="folder for scores; finished ones are not repeated"
)
parser.add_argument("--figure", help="file to write the figure to")
args, _ = parser.parse_known_args()  # a gallery has arguments of its own

moabb.set_log_level("error")
scratch = tempfile.TemporaryDirectory()
results = args.results or scratch.name


def physionet(data_path, subjects):
    """PhysionetMI with the imagery of hands alone, from files that are here."""
    if data_path:
        root = Path(scratch.name) / "moabb"
        folder = root / "MNE-eegbci-data" / "files" / "eegmmidb"
        folder.mkdir(parents=True)
        (folder / "1.0.0").symlink_to(Path(data_path, "eegmmidb").resolve())
        os.environ["MNE_DATASETS_EEGBCI_PATH"] = str(root)
        os.environ["MOABB_DOWNLOAD_PROVIDER"] = "upstream"
    first, last = (int(number) for number in subjects.split("-"))
    dataset = PhysionetMI(subjects=list(range(first, last + 1)))
    dataset.feet_runs = []
    return dataset


if args.dataset == "PhysionetMI":
    dataset = physionet(args.data_path, args.subjects)
else:
    dataset = SimulatedMotorImagery(n_subjects=4, n_sessions=1, n_trials=20)
paradigm = LeftRightImagery(fmin=4, fmax=38, tmin=0.5, tmax=3.5, resample=128)
epochs, _, _ = paradigm.get_data(
    dataset, subjects=dataset.subject_list[:1], return_epochs=True
)
print(
    f"{dataset.code}: {len(dataset.subject_list)} subjects, {len(epochs.ch_names)} "
    f"electrodes, windows of {epochs.get_data(copy=False).shape[2]} samples"
)

# %%
# Three methods
# -------------
# SAMBA is one line. MOABB tells it whose the windows are that it is fitted on, so that
# each person is whitened without labels, and whoever is scored too. ``Aligned`` does
# the same for the other two, as comparisons on real EEG should. Simulated heads differ
# less than real ones: here CSP + LDA does better without, with an AUC of 0.88.

pipelines = {
    "CSP + LDA": Aligned(
        make_pipeline(CSP(n_components=8), LinearDiscriminantAnalysis())
    ),
    "ShallowFBCSPNet": Aligned(
        BraindecodeNet(
            "ShallowFBCSPNet", max_epochs=20, batch_size=32, random_state=args.seed
        )
    ),
    "SAMBA": SAMBAClassifier(
        ch_names=tuple(epochs.ch_names), sfreq=epochs.info["sfreq"]
    ),
}

# %%
# Evaluation
# ----------

evaluation = CrossSubjectEvaluation(
    paradigm=paradigm,
    datasets=[dataset],
    hdf5_path=results,
    suffix=f"seed{args.seed}",
    random_state=args.seed,
)
with warnings.catch_warnings():  # braindecode's and h5py's own
    warnings.filterwarnings("ignore", module="braindecode|h5py|moabb|mne")
    scores = evaluation.process(pipelines)

# %%
# A table and a figure
# --------------------
# One AUC a subject; 0.5 is chance.

scores = scores.drop_duplicates(["subject", "pipeline"])
table = scores.pivot_table("score", "subject", "pipeline")[list(pipelines)]
table.index = table.index.astype(int)
table = table.sort_index()
print(table.round(3).to_string())
print(table.agg(["mean", "std"]).round(3).to_string())
print(scores.groupby("pipeline")["time"].mean().round(1).to_string(), "seconds a fold")

fig, axes = plt.subplots(figsize=(6, 4), layout="constrained")
for place, method in enumerate(table):
    axes.plot([place] * len(table), table[method], "o", alpha=0.5)
    axes.hlines(table[method].mean(), place - 0.2, place + 0.2, color="k")
axes.axhline(0.5, color="0.6", linestyle=":")
axes.set_xticks(range(len(table.columns)), table.columns)
axes.set(ylabel="AUC of a subject that was not trained on", title=args.dataset)
if args.figure:
    fig.savefig(args.figure, dpi=120)
scratch.cleanup()
plt.show()

# %%
# Look at the dots as well as at the lines: with so few subjects, a method that is ahead
# by less than the dots differ is not better for it.
