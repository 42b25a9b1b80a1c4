"""
MOABB's splitter with SAMBA, and a recipe
=========================================

MOABB's ``CrossSubjectSplitter`` divides trials by subject for whatever loop you write
around it. The same holds for the windows of a recipe, which sets up one of the paper's
data sets and puts published scores beside yours. On simulated EEG, without a download.
"""

# %%
# Leave one subject out
# ---------------------
# Epochs come from MOABB's paradigm with a table of subject, session and run. SAMBA
# reads from them electrodes, rate and whose recording each is: people are aligned.

import tempfile
from pathlib import Path

import moabb
import numpy as np
from moabb.evaluations.splitters import CrossSubjectSplitter
from moabb.paradigms import LeftRightImagery
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from braindecode_samba import SAMBAClassifier, SAMBAFeatures
from braindecode_samba.evaluation.recipes import get_recipe, list_recipes, run_recipe
from braindecode_samba.signals import SimulatedMotorImagery

moabb.set_log_level("error")
dataset = SimulatedMotorImagery(n_subjects=4, n_sessions=1, n_trials=20)
paradigm = LeftRightImagery(fmin=4, fmax=38, tmin=0.5, tmax=2.5, resample=128)
epochs, labels, metadata = paradigm.get_data(dataset, return_epochs=True)

splitter = CrossSubjectSplitter()
for train, test in splitter.split(labels, metadata):
    subject = metadata["subject"].iloc[test[0]]
    classifier = SAMBAClassifier().fit(epochs[train], labels[train])
    area = roc_auc_score(labels[test], classifier.decision_function(epochs[test]))
    print(f"subject {subject}: {len(train)} trials to learn from, AUC {area:.2f}")

# %%
# A recipe of the paper's
# -----------------------
# A recipe says how to get the data, which files it expects, and what of the protocol is
# published.

print(", ".join(list_recipes()))
recipe = get_recipe("stew")
print(recipe.access)
print(recipe.layout)
print(recipe.protocol)

# %%
# Files of the same form, with noise in them: low and high workload differ in the
# frontal theta of these simulated subjects.

folder = tempfile.TemporaryDirectory()
rng = np.random.default_rng(0)
times = np.arange(128 * 6) / 128
frontal = np.isin(recipe.ch_names, ["AF3", "F3", "F4", "AF4"])
for subject in range(1, 7):
    for state, theta in (("lo", 5), ("hi", 20)):
        signals = rng.normal(scale=15, size=(14, len(times)))
        signals[frontal] += theta * np.sin(2 * np.pi * 6 * times)
        file = Path(folder.name) / f"sub{subject:02d}_{state}.txt"
        np.savetxt(file, signals.T, fmt="%.2f")
ratings = "\n".join(f"{subject}, 2, 7" for subject in range(1, 7))
Path(folder.name, "ratings.txt").write_text(ratings)

# %%
# One call reads, splits by subject, fits and scores. Published scores follow; those of
# simulated files mean nothing, and the published split is not known.

probe = make_pipeline(
    SAMBAFeatures(),
    StandardScaler(),
    LogisticRegression(max_iter=1000),
)
table = run_recipe(recipe, probe, folder.name, method="linear probe")
test = table[table["part"] == "test"]
print(test.pivot_table("mean", "method", "metric").round(3).to_string())
folder.cleanup()
