"""
What noise does to a decoder that was trained without it
========================================================

Left against right imagined fists as in ``evaluate.py``, whose trials it takes:
each method is trained on the recordings of subjects 1 to 28 as they are, and scores
subjects 29 to 39 with noise added: white noise, mains, dead and railed electrodes, and
bursts of muscles at the temples, at several strengths::

    python examples/experiments/evaluate_noise.py --data-path FOLDER \
        --output results/imagery \
        --methods csp shallow scratch --figure noise.png

Recordings are whitened after the noise has come in, as it would be in use. Amplitudes
are in units of the recording's median standard deviation over its electrodes.
"""

import argparse

import matplotlib.pyplot as plt
import mne
import numpy as np
from trials_and_methods import (
    METHODS,
    NETWORKS,
    SFREQ,
    SUBJECTS,
    add_common,
    add_mirrored,
    evidence_for,
    fit_people,
    read_trials,
    score_imagery,
    score_people,
    whitened_for,
)

from braindecode_samba import positions_from_names

# %%
# Noise
# -----
# Each function takes the trials of one person, (trials, channels, times), the strength,
# places of the electrodes and a generator.


def white(X, strength, places, draws):
    """Add white noise to every electrode by itself."""
    return X + strength * draws.standard_normal(X.shape)


def mains(X, strength, places, draws):
    """Add a sine of 50 Hz, with an amplitude for each electrode."""
    times = np.arange(X.shape[2]) / SFREQ
    phase = draws.uniform(0, 2 * np.pi, (len(X), 1, 1))
    gains = draws.uniform(0, 2, (1, X.shape[1], 1))
    return X + strength * gains * np.sin(2 * np.pi * 50 * times + phase)


def dead(X, n_electrodes, places, draws):
    """Let some electrodes give nothing."""
    X = X.copy()
    X[:, draws.permutation(X.shape[1])[:n_electrodes]] = 0
    return X


def railed(X, n_electrodes, places, draws):
    """Let some electrodes jump between two rails, a hundred times the signal."""
    X = X.copy()
    for electrode in draws.permutation(X.shape[1])[:n_electrodes]:
        jumps = draws.random((len(X), X.shape[2])) < 1 / SFREQ
        X[:, electrode] = 100 * np.where(jumps.cumsum(axis=1) % 2, 1, -1)
    return X


def muscle(X, strength, places, draws):
    """Add bursts of half a second from 15 Hz up at the temples, in most trials."""
    noise = draws.standard_normal((len(X), 2, X.shape[2]))
    noise = mne.filter.filter_data(
        noise, SFREQ, 15, None, method="iir", verbose="error"
    )
    noise /= noise.std()
    length = SFREQ // 2
    starts = draws.integers(0, X.shape[2] - length, (len(X), 2, 1))
    times = np.arange(X.shape[2])
    noise *= (starts <= times) & (times < starts + length)
    noise *= draws.random((len(X), 2, 1)) < 2 / 3
    temples = positions_from_names(["T7", "T8"])
    distances = np.linalg.norm(places[:, None] - temples, axis=-1)
    spread = np.exp(-((distances / 0.05) ** 2))  # (channels, 2)
    return X + strength * (spread @ noise)


NOISES = {
    "white noise": (white, (0, 0.25, 0.5, 1, 2), "amplitude"),
    "mains, 50 Hz": (mains, (0, 1, 3, 10, 30), "amplitude"),
    "dead electrodes": (dead, (0, 1, 4, 16, 32), "electrodes"),
    "railed electrodes": (railed, (0, 1, 4, 16, 32), "electrodes"),
    "muscles": (muscle, (0, 1, 3, 10, 30), "amplitude"),
}


def add_noise(X, groups, names, noise, strength, seed):
    """Noise in the recording of each person, in units of that recording."""
    places = positions_from_names(names)
    spoilt = np.empty_like(X)
    for one in np.unique(groups):
        rows = groups == one
        unit = np.median(X[rows].std(axis=(0, 2)))
        draws = np.random.default_rng([seed, int(one)])
        function = NOISES[noise][0]
        spoilt[rows] = unit * function(X[rows] / unit, strength, places, draws)
    return spoilt


LABELS = {
    "samba": "SAMBA",
    "csp": "CSP + LDA",
    "scratch": "SAMBA from scratch",
} | NETWORKS

# %%
# The table
# ---------


def score_row(dataset, pipeline, seed, window, weights, estimator, *, trials, make):
    """Train one method and score each noise."""
    data = read_trials(trials, dataset, None, window)
    X, y, groups = (data[name] for name in ("X", "y", "groups"))
    names = data["names"].tolist()
    (_, last), (first, end) = SUBJECTS[dataset]
    train, test = groups <= last, (first <= groups) & (groups <= end)
    method = make(pipeline, names, seed)
    signals = whitened_for(method, X[train], groups[train])
    learnt = add_mirrored(signals, y[train], names, {0: 1, 1: 0})
    fitted = fit_people(method, *learnt, np.tile(groups[train], 2))
    clean = X[test].astype(np.float64)
    rows = []
    for noise, (_, strengths, _) in NOISES.items():
        for strength in strengths:
            spoilt = add_noise(clean, groups[test], names, noise, strength, seed)
            worn = whitened_for(method, spoilt.astype(np.float32), groups[test])
            evidence = evidence_for(fitted, worn, groups[test])
            people = score_people(y[test], evidence, groups[test])
            rows += [
                {"noise": noise, "strength": strength, "subject": one, "score": score}
                for one, score in people.items()
            ]
    return rows


def main(arguments=None):
    """Compute what is missing, print the table and draw it."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[1])
    parser.add_argument(
        "--methods", nargs="+", choices=METHODS, default=["samba", "csp", "shallow"]
    )
    parser.add_argument("--figure", help="file to write the figure to")
    add_common(parser.add_argument)
    options = parser.parse_args(arguments)
    scores = score_imagery(options, "noise", score_row)
    means = scores.groupby(["noise", "strength", "pipeline"])["score"].mean()
    print("\nAUC over test subjects")
    print(means.unstack("pipeline").reindex(NOISES, level=0).round(3).to_string())
    if options.figure:
        draw(scores).savefig(options.figure, dpi=120)


def draw(scores):
    """One panel a noise, one line a method; bands are standard errors over people."""
    figure, panels = plt.subplots(
        1, len(NOISES), figsize=(13, 3), sharey=True, layout="constrained"
    )
    for axes, (noise, (_, strengths, unit)) in zip(panels, NOISES.items(), strict=True):
        part = scores[scores["noise"] == noise]
        places = np.arange(len(strengths))
        for method, own in part.groupby("pipeline", sort=False):
            people = own.groupby(["strength", "subject"])["score"].mean().unstack()
            mean, error = people.mean(axis=1), people.sem(axis=1)
            (line,) = axes.plot(
                places, mean, "o-", ms=4, label=LABELS.get(method, method)
            )
            axes.fill_between(
                places, mean - error, mean + error, color=line.get_color(), alpha=0.15
            )
        axes.axhline(0.5, color="0.6", lw=0.8, ls=":")
        axes.set(title=noise, xlabel=unit, xticks=places)
        axes.set_xticklabels([f"{strength:g}" for strength in strengths])
    panels[0].set_ylabel("AUC, people never seen")
    panels[0].legend(frameon=False, fontsize="small")
    return figure


if __name__ == "__main__":
    main()
