"""
Score a decoder online, as samples arrive, against the same windows offline
===========================================================================

A decoder is fitted on the imagined fists of subjects 1 to 10 of PhysioNet's eegmmidb
(runs 4, 8 and 12; 4 to 38 Hz, 3 s from 0.5 s after the cue), each recording whitened.
Subjects 11 to 20 are scored on runs 8 and 12::

    python examples/experiments/evaluate_online.py --data-path FOLDER

- offline: filtered forwards and backwards, and whitened by all windows of both runs;
- adapted: the same filter, whitened by run 4, which came before;
- online: run 4 told to ``adapt``, then runs 8 and 12 pushed into `SAMBAStream` in
  pieces of 50 ms, with a causal filter and a prediction every half second.

The windows are the same everywhere: of each trial that which the stream ends nearest
to 3.5 s after the cue.  FOLDER is as for ``evaluate.py``.  The time of a prediction is
told too, on one core.
"""

import argparse
import copy
import os
import time
from pathlib import Path

import mne
import numpy as np
import pandas as pd
import torch
from scipy.signal import butter, sosfilt, sosfilt_zi
from sklearn.metrics import roc_auc_score
from tqdm import tqdm
from trials_and_methods import MOABB_LAYOUT, edf

from braindecode_samba import SAMBAClassifier, SAMBAStream

BAND = (4, 38)
SECONDS = (0.5, 3.5)
HOP = 0.5
PIECE = 0.05
CALIBRATION, TESTED = 4, (8, 12)


def read(folder, subject, run):
    """Read a run as it was recorded, with the samples and classes of its cues."""
    name = f"S{subject:03d}/S{subject:03d}R{run:02d}.edf"
    raw = edf(folder, f"eegmmidb/{name}", f"{MOABB_LAYOUT}/{name}", name)
    mne.datasets.eegbci.standardize(raw)
    raw.set_montage("colin27_1005")
    cues, _ = mne.events_from_annotations(raw, {"T1": 0, "T2": 1}, verbose="error")
    return raw, cues[:, [0, 2]]


def epochs_of(raw, stops, seconds=SECONDS[1] - SECONDS[0]):
    """Cut windows that end before these samples."""
    n = round(seconds * raw.info["sfreq"])
    x = np.stack([raw.get_data(start=stop - n, stop=stop) for stop in stops])
    return mne.EpochsArray(x, raw.info, verbose="error")


def causal(raw):
    """Filter a run as the stream does."""
    sfreq = raw.info["sfreq"]
    sos = butter(4, BAND, "bandpass", fs=sfreq, output="sos")
    x = raw.get_data()
    start = sosfilt_zi(sos)[:, None] * x[:, :1]
    filtered, _ = sosfilt(sos, x, axis=1, zi=start)
    return mne.io.RawArray(filtered, raw.info, verbose="error")


def stops_of(raw, cues):
    """Tell where the windows of the trials end, on the grid of the stream."""
    sfreq = raw.info["sfreq"]
    hop = round(HOP * sfreq)
    exact = (cues[:, 0] + SECONDS[1] * sfreq) / hop
    return np.minimum(np.round(exact), raw.n_times // hop).astype(int) * hop


def fit(folder, subjects):
    """Fit a decoder on all runs of some subjects."""
    epochs, labels, groups = [], [], []
    for subject in tqdm(subjects, desc="reading", disable=None):
        for run in (CALIBRATION, *TESTED):
            raw, cues = read(folder, subject, run)
            stops = cues[:, 0] + round(SECONDS[1] * raw.info["sfreq"])
            inside = stops <= raw.n_times
            part = epochs_of(raw.filter(*BAND, verbose="error"), stops[inside])
            epochs.append(part)
            labels.append(cues[inside, 1])
            groups += [subject] * len(part)
    decoder = SAMBAClassifier(random_state=0)
    return decoder.fit(epochs, np.concatenate(labels), groups=groups)


def follow(stream, raw, stops):
    """Push a run piece by piece: evidence at some stops, and the times it took."""
    x = raw.get_data()
    piece = round(PIECE * raw.info["sfreq"])
    said, times = {}, []
    for start in range(0, x.shape[1], piece):
        begun = time.process_time()
        ready = stream.push(x[:, start : start + piece])
        if ready:
            times.append((time.process_time() - begun) / len(ready))
        said |= {one.stop: one.output[1] for one in ready}
    return [said[stop] for stop in stops], times


def score(decoder, folder, subject, streams):
    """AUC of one subject in each way, and the times of predictions."""
    raw, cues = read(folder, subject, CALIBRATION)
    calibration = stops_of(raw, cues)
    adapted, online = copy.deepcopy(decoder), copy.deepcopy(decoder)
    online.adapt(epochs_of(causal(raw), calibration))
    adapted.adapt(epochs_of(raw.filter(*BAND, verbose="error"), calibration))
    runs = [read(folder, subject, run) for run in TESTED]
    stops = [stops_of(raw, cues) for raw, cues in runs]
    y = np.concatenate([cues[:, 1] for _, cues in runs])
    evidence, times = {}, []
    for name, options in streams.items():
        stream = SAMBAStream(
            online,
            hop_seconds=HOP,
            band=BAND,
            chs_info=runs[0][0].info["chs"],
            sfreq=runs[0][0].info["sfreq"],
            **options,
        )
        found = []
        for (raw, _), own in zip(runs, stops, strict=True):
            # what is known of the person stays from run to run only by `adapt`
            stream.reset()
            said, took = follow(stream, raw, own)
            found += said
            times += took
        evidence[name] = found
    windows = [
        epochs_of(raw.filter(*BAND, verbose="error"), own)
        for (raw, _), own in zip(runs, stops, strict=True)
    ]
    both = mne.concatenate_epochs(windows, verbose="error")
    evidence["offline"] = decoder.decision_function(both)
    evidence["adapted"] = adapted.decision_function(both)
    scores = {name: roc_auc_score(y, found) for name, found in evidence.items()}
    return {"subject": subject, **scores}, times


def parse(arguments=None):
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[1])
    data = os.environ.get("BRAINDECODE_SAMBA_DATA", ".")
    parser.add_argument("--data-path", type=Path, default=Path(data))
    parser.add_argument("--train", nargs=2, type=int, default=(1, 10))
    parser.add_argument("--test", nargs=2, type=int, default=(11, 20))
    parser.add_argument("--half-lives", nargs="*", type=float, default=[300.0])
    return parser.parse_args(arguments)


def main(arguments=None):
    """Fit, score, and print a table."""
    options = parse(arguments)
    torch.set_num_threads(1)
    (first, last), (begin, end) = options.train, options.test
    decoder = fit(options.data_path, range(first, last + 1))
    streams = {"online, fixed": {"learning": False}, "online": {}}
    for seconds in options.half_lives:
        streams[f"online, {seconds:g} s"] = {"half_life_seconds": seconds}
    rows, times = [], []
    for subject in tqdm(range(begin, end + 1), desc="scoring", disable=None):
        row, took = score(decoder, options.data_path, subject, streams)
        rows.append(row)
        times += took
    table = pd.DataFrame(rows).set_index("subject")
    table.loc["mean"] = table.mean()
    print("\nAUC; 'fixed' learns nothing after adapt, seconds are half-lives")
    print(table.round(3).to_string())
    middle, high = 1e3 * np.quantile(times, [0.5, 0.95])
    print(
        f"\na prediction takes {middle:.1f} ms of one core, 95 % at most {high:.1f} ms"
    )


if __name__ == "__main__":
    main()
