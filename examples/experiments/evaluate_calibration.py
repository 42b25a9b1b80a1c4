"""
Score ``calibrate`` against methods that see a person's own labels alone
========================================================================

``fists`` as it ships is adapted to each person without labels, then given 0, 2, 5, 10
or 20 labelled trials of each class; all other trials are scored, in 20 draws. Beside it
stand CSP + LDA, the tangent space and the solved head, from the same trials::

    python examples/experiments/evaluate_calibration.py --data-path FOLDER --sets SETS

People are 29 to 39 of eegmmidb, and B01 to B05 of Graz 2b (``graz_2b.npz`` in SETS), of
whom the decoder has seen nobody. FOLDER is as for ``evaluate.py``.
"""

import argparse
import copy
from pathlib import Path

import mne
import numpy as np
import pandas as pd
import torch
from sklearn.metrics import roc_auc_score
from tqdm import tqdm
from train_decoders import FISTS_SCORED, SECONDS, labels_of, read_fists

from braindecode_samba import RecordingAligner, SAMBAClassifier
from braindecode_samba.evaluation import csp_lda, tangent_space

TRIALS = (0, 2, 5, 10, 20)


def read_graz(sets):
    """Trials of Graz 2b with labels, people and recordings."""
    found = np.load(sets / "graz_2b.npz")
    sfreq = float(found["sfreq"])
    start, stop = (round(second * sfreq) for second in SECONDS)
    info = mne.create_info(found["names"].tolist(), sfreq, "eeg")
    x = found["X"][..., start:stop].astype(np.float64)
    epochs = mne.EpochsArray(x, info, verbose="error")
    return epochs, found["y"], found["subject"], found["recording"]


def log_odds(decoder, features, recordings):
    """Give what `decision_function` does, from what the last layer reads."""
    layer = decoder.model_.final_layer
    outputs = layer(torch.from_numpy(features).float()).detach().numpy()
    left, right = decoder._centred(outputs, recordings, decoder._alignment).T
    return right - left


def from_own(method, epochs, labels, recordings, chosen):
    """Log-odds or score of a method that is fitted on the chosen trials alone."""
    if method == "solved":
        fitted = SAMBAClassifier(random_state=0, align=True)
        fitted.fit(epochs[chosen], labels[chosen], groups=recordings[chosen])
        return fitted.decision_function(epochs, groups=recordings)
    x = RecordingAligner().fit_transform(epochs.get_data(), groups=recordings)
    known = {"csp": csp_lda, "tangent": tangent_space}[method]
    known = known(sfreq=epochs.info["sfreq"])
    return known.fit(x[chosen], labels[chosen]).predict_proba(x)[:, 1]


def score_person(decoder, methods, epochs, labels, recordings, args):
    """Yield a row for each number of trials, draw and method."""
    known = copy.deepcopy(decoder).adapt(epochs, groups=recordings)
    # read once: a calibration changes the last layer alone
    windows = known._read_more(epochs, groups=recordings)
    features = known._read_by_last_layer(windows)
    second = labels == decoder.classes_[1]
    for n in TRIALS:
        if n >= min(second.sum(), (~second).sum()):
            continue
        rng = np.random.default_rng(0)
        for draw in range(args.draws if n else 1):
            sides = [np.flatnonzero(second == side) for side in (False, True)]
            chosen = np.concatenate(
                [rng.choice(rows, n, replace=False) for rows in sides]
            )
            rest = np.setdiff1d(np.arange(len(labels)), chosen)
            moved = copy.deepcopy(known)
            if n:
                own = {"groups": recordings[chosen]}
                moved.calibrate(epochs[chosen], labels[chosen], **own)
            said = {
                name: log_odds(one, features, recordings)
                for name, one in (("zero-shot", known), ("calibrate", moved))
            }
            for method in methods if n else ():
                if method == "solved" and draw >= args.solved_draws:
                    continue
                said[method] = from_own(method, epochs, labels, recordings, chosen)
            for method, values in said.items():
                auc = roc_auc_score(second[rest], values[rest])
                yield {"trials": n, "method": method, "draw": draw, "auc": auc}


def main():
    """Do what the command line says."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--data-path", type=Path, required=True)
    parser.add_argument("--sets", type=Path, required=True)
    parser.add_argument("--decoder", default="fists")
    parser.add_argument("--draws", type=int, default=20)
    text = "draws for the solved head, which takes longest; 20 by default"
    parser.add_argument("--solved-draws", type=int, default=20, help=text)
    methods = ("csp", "tangent", "solved")
    parser.add_argument("--methods", nargs="*", default=methods, choices=methods)
    args = parser.parse_args()
    decoder = SAMBAClassifier.from_pretrained(args.decoder)
    held = read_fists(args.data_path, FISTS_SCORED)
    people = held.metadata["subject"].to_numpy(str)
    sources = {
        "eegmmidb 29 to 39": (held, labels_of(held), people, people),
        "Graz 2b B01 to B05": read_graz(args.sets),
    }
    for name, (epochs, labels, people, recordings) in sources.items():
        rows = []
        for person in tqdm(np.unique(people), desc=name, disable=None):
            own = np.flatnonzero(people == person)
            found = score_person(
                decoder, args.methods, epochs[own], labels[own], recordings[own], args
            )
            rows += [row | {"person": person} for row in found]
        table = pd.DataFrame(rows).groupby(["method", "trials", "person"])["auc"].mean()
        means = table.groupby(["method", "trials"]).mean().unstack()
        print(f"{name}: mean AUC\n{means.round(3).to_string()}")


if __name__ == "__main__":
    main()
