"""
Fitted on 64 electrodes, scored on fewer without a refit
========================================================

Left against right imagined fists as in ``evaluate.py``, whose trials it takes:
methods are fitted on 64 electrodes of subjects 1 to 28, and score subjects 29 to 39
as if these had worn 32, 19 or 14 electrodes, or half of the 64 at random::

    python examples/experiments/evaluate_montages.py --data-path FOLDER \
        --output results/imagery \
        --methods samba scratch finetune shallow

SAMBA takes the electrodes that there are. ShallowFBCSPNet needs its 64, which are made
from those that there are in two ways: by MNE's spherical splines, and from the nearest
electrode. Every recording is whitened on the electrodes that it has, without labels,
which SAMBA as it comes does by itself.
"""

import argparse

import mne
import numpy as np
from scipy.spatial.distance import cdist
from trials_and_methods import (
    RENAMED,
    SFREQ,
    SUBJECTS,
    add_common,
    add_mirrored,
    evidence_for,
    fit_people,
    read_trials,
    score_imagery,
    score_people,
    whiten,
    whitened_for,
)

from braindecode_samba import load_montage, positions_from_names
from braindecode_samba.evaluation import BraindecodeNet

# %%
# Montages
# --------

# a common cap of 32, as far as the 64 have its sites
CAP_32 = (
    "Fp1 Fp2 F7 F3 Fz F4 F8 FC5 FC1 FC2 FC6 T7 C3 Cz C4 T8 CP5 CP1 CP2 CP6 P7 P3 Pz P4 "
    "P8 PO3 PO4 O1 Oz O2 AF3 AF4"
).split()


def montages(names):
    """Name the electrodes of each montage, in the order of the 64."""
    old = load_montage("clinical_19").names
    draws = np.random.default_rng(0)
    chosen = {
        "64": names,
        "32": CAP_32,
        "19": [RENAMED.get(name, name) for name in old],
        "14": load_montage("emotiv_epoc_14").names,
    }
    for number in (1, 2, 3):
        half = draws.choice(names, len(names) // 2, replace=False)
        chosen[f"random half {number}"] = half.tolist()
    return {kind: [n for n in names if n in some] for kind, some in chosen.items()}


def spline(X, names, everywhere):
    """Fill in the electrodes that are missing by MNE's spherical splines."""
    info = mne.create_info(list(everywhere), SFREQ, "eeg")
    full = np.zeros((len(X), len(everywhere), X.shape[2]))
    full[:, [everywhere.index(name) for name in names]] = X
    epochs = mne.EpochsArray(full, info, verbose="error")
    epochs.set_montage("colin27_1005")
    epochs.info["bads"] = [name for name in everywhere if name not in names]
    return epochs.interpolate_bads(verbose="error").get_data()


def nearest(X, names, everywhere):
    """Fill in the electrodes that are missing by the nearest that there is."""
    distances = cdist(positions_from_names(everywhere), positions_from_names(names))
    return X[:, distances.argmin(axis=1)]


# %%
# One row
# -------


def as_epochs(X, names):
    """Windows that bring their electrodes along."""
    info = mne.create_info(list(names), SFREQ, "eeg")
    epochs = mne.EpochsArray(X * 1e-6, info, verbose="error")
    return epochs.set_montage("colin27_1005")


def score_row(dataset, pipeline, seed, window, weights, estimator, *, trials, make):
    """Train one method on 64 electrodes and score each montage."""
    data = read_trials(trials, dataset, None, window)
    X, y, groups = (data[name] for name in ("X", "y", "groups"))
    everywhere = data["names"].tolist()
    (_, last), (first, end) = SUBJECTS[dataset]
    train, test = groups <= last, (first <= groups) & (groups <= end)
    method = make(pipeline, everywhere, seed)
    signals = whitened_for(method, X[train], groups[train])
    exchanged = {0: 1, 1: 0}
    learnt, labels = add_mirrored(signals, y[train], everywhere, exchanged)
    if pipeline != "shallow":
        # Epochs bring their electrodes along, whichever these are
        method.set_params(classifier__ch_names=None, classifier__sfreq=None)
        learnt = as_epochs(learnt, everywhere)
    fitted = fit_people(method, learnt, labels, np.tile(groups[train], 2))
    rows = []
    for kind, names in montages(everywhere).items():
        worn = X[test][:, [everywhere.index(name) for name in names]]
        for how, windows in inputs(method, worn, names, everywhere, groups[test]):
            evidence = evidence_for(fitted, windows, groups[test])
            people = score_people(y[test], evidence, groups[test])
            rows += [
                {
                    "montage": kind,
                    "electrodes": len(names),
                    "how": how,
                    "subject": one,
                    "score": score,
                }
                for one, score in people.items()
            ]
    return rows


def inputs(method, worn, names, everywhere, groups):
    """Give what a method sees of the electrodes that were worn."""
    if not isinstance(method, BraindecodeNet):
        yield "as worn", as_epochs(whitened_for(method, worn, groups), names)
    elif len(names) == len(everywhere):
        yield "as worn", whiten(worn, groups)
    else:
        yield "splines", whiten(spline(worn, names, everywhere), groups)
        yield "nearest", whiten(nearest(worn, names, everywhere), groups)


# %%
# The table
# ---------


def main(arguments=None):
    """Compute what is missing and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[1])
    methods = ["samba", "scratch", "finetune", "shallow"]
    parser.add_argument(
        "--methods", nargs="+", choices=methods, default=["samba", "shallow"]
    )
    add_common(parser.add_argument)
    report(score_imagery(parser.parse_args(arguments), "montages", score_row))


def report(scores):
    """Print the mean AUC of each montage, and what is lost against 64 electrodes."""
    scores["montage"] = scores["montage"].str.replace(r" \d$", "", regex=True)
    keys = ["pipeline", "how", "montage", "subject"]
    people = scores.groupby(keys)["score"].mean().reset_index()
    whole = people[people["montage"] == "64"].set_index(["pipeline", "subject"])[
        "score"
    ]
    both = people.join(whole.rename("of 64"), on=["pipeline", "subject"])
    both["lost"] = both["of 64"] - both["score"]
    table = both.groupby(["pipeline", "how", "montage"])[["score", "lost"]].agg(
        ["mean", "std"]
    )
    print("\nAUC over test subjects, and what fewer electrodes cost")
    print(table.round(3).to_string())


if __name__ == "__main__":
    main()
