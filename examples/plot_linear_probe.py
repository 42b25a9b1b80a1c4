"""
Features of a checkpoint: what do they know?
============================================

``SAMBAFeatures`` turns windows into numbers for whatever model one likes. Here a linear
classifier reads them, as they come and layer by layer, beside the same network with
random weights and beside band power of the electrodes. On simulated EEG, whose alpha
rhythm is strong or weak::

    python examples/plot_linear_probe.py
"""

# %%
# Strong or weak alpha
# --------------------
# A rhythm at the back of the head varies in strength from window to window; above the
# person's median is one class, below it the other. Four people train the probe, four
# others score it.

import argparse

import matplotlib.pyplot as plt
import numpy as np
from sklearn.linear_model import LogisticRegressionCV
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import GroupKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from braindecode_samba import SAMBAFeatures
from braindecode_samba.evaluation import band_power
from braindecode_samba.signals import EEGSimulator

parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
parser.add_argument("--checkpoint", default="samba-e", help="name, folder or file")
parser.add_argument("--figure", help="file to write the figure to")
args, _ = parser.parse_known_args()  # a gallery has arguments of its own

people = 8
X, targets, subjects, info = EEGSimulator(seed=5).regression(people, n_trials=30)
X = X[..., : round(2 * info["sfreq"])]
alpha = targets[:, 0]
medians = np.array([np.median(alpha[subjects == s]) for s in range(1, people + 1)])
y = np.where(alpha > medians[subjects - 1], "strong", "weak")
train = subjects <= people // 2


def score(probe):
    """Mean over the people of the test, and its deviation."""
    evidence = probe.fit(X[train], y[train]).decision_function(X[~train])
    areas = [
        roc_auc_score(y[subjects == one] == "weak", evidence[subjects[~train] == one])
        for one in np.unique(subjects[~train])
    ]
    return np.mean(areas), np.std(areas)


def probe(**settings):
    """Read features linearly; people of the training settle the penalty."""
    return make_pipeline(
        SAMBAFeatures(chs_info=info["chs"], sfreq=info["sfreq"], **settings),
        StandardScaler(),
        LogisticRegressionCV(
            Cs=np.logspace(-5, 0, 6),
            cv=list(GroupKFold(4).split(y[train], groups=subjects[train])),
            scoring="neg_log_loss",
            max_iter=1000,
            l1_ratios=(0,),
            use_legacy_attributes=False,
        ),
    )


# %%
# As they come, and layer by layer
# --------------------------------
# As they come, features are the log variances over time of all stages, from the spatial
# embedding to the mediator. The published probe takes nine statistics of "pool3" alone,
# ``layer="pool3", pooling="statistics"``.

parts = {"all": "all stages", "spatial": "spatial", "encoder1": "encoder1"}
parts |= {"encoder2": "encoder2", "pool3": "pool3", "mediator": "mediator"}
found = {}
for weights, checkpoint in (("trained", args.checkpoint), ("random", None)):
    for layer in parts:
        found[weights, layer] = score(
            probe(checkpoint=checkpoint, layer=layer, random_state=0)
        )
        mean, deviation = found[weights, layer]
        print(f"{weights:8s} {layer:9s} AUC {mean:.2f} +- {deviation:.2f}")
mean, deviation = score(band_power(sfreq=info["sfreq"]))
print(f"band power of the electrodes AUC {mean:.2f} +- {deviation:.2f}")

# %%
# Features by name
# ----------------
# The features are columns with names, for whatever else one wants to do with them.

features = SAMBAFeatures(chs_info=info["chs"], sfreq=info["sfreq"])
table = features.fit(X[train]).set_output(transform="pandas").transform(X[:3])
print(table.iloc[:, :4].round(2))

# %%
# What it means
# -------------
# Which window has the stronger alpha is what band power measures, and all stages
# together know it as well. Random weights know nearly as much: a network that mixes
# electrodes by their places and filters them passes rhythms on, trained or not. What
# training adds shows where one deep stage is read alone, as the published probe reads
# "pool3", and on real EEG, for what no single rhythm tells. So take all stages, or
# `SAMBAClassifier`, which reads them beside rhythms, patterns and responses.

fig, axes = plt.subplots(figsize=(6.5, 3.4), layout="constrained")
places = np.arange(len(parts))
for shift, weights in ((-0.1, "trained"), (0.1, "random")):
    means, deviations = np.transpose([found[weights, layer] for layer in parts])
    axes.errorbar(
        places + shift,
        means,
        deviations,
        fmt="o",
        capsize=3,
        label=f"{weights} weights",
    )
axes.axhline(mean, color="0.4", linestyle="--", label="band power of electrodes")
axes.axhline(0.5, color="0.7", linestyle=":")
axes.set_xticks(places, parts.values())
axes.set(ylabel="AUC of people never seen", ylim=(0.4, 1.02))
axes.legend(loc="lower left")
if args.figure:
    fig.savefig(args.figure, dpi=120)
plt.show()

# %%
# Look at how far the bars of both colours overlap at each stage: where they do,
# training is not what the features owe their worth to.
