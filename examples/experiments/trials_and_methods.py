"""What the experiments share: trials of real recordings, methods, people, tables.

Recordings are those of PhysioNet's eegmmidb (imagined and executed fists) and eegmat
(rest and mental arithmetic).  They are read once, cut, and kept in one file beside the
table; who is trained on and who is scored is said here, for all.
"""

import functools
import os
import sys
from pathlib import Path

import mne
import numpy as np
from sklearn.metrics import roc_auc_score
from sklearn.pipeline import Pipeline
from tqdm import tqdm

from braindecode_samba import RecordingAligner, positions_from_names
from braindecode_samba._paths import whole_file
from braindecode_samba.evaluation import (
    BraindecodeNet,
    ResumableTable,
    band_power,
    checkpoint_digest,
    csp_lda,
    estimator_digest,
    fine_tuned,
    from_scratch,
    linear_probe,
    nonlinear_probe,
    samba,
    tangent_space,
)
from braindecode_samba.signals import mirror_windows

SFREQ = 128
SUBJECTS = {"imagery": ((1, 28), (29, 39)), "state": ((0, 11), (12, 19))}
RUNS = {"imagery": (4, 8, 12), "executed": (3, 7, 11)}
NETWORKS = {"shallow": "ShallowFBCSPNet", "eegnet": "EEGNet", "ctnet": "CTNet"}
PRETRAINED = ("samba", "probe", "mlp", "finetune")
METHODS = (*PRETRAINED, "scratch", "csp", "tangent", "band-power", *NETWORKS)
# old names of the 10-20 system in eegmat, and those of eegmmidb
RENAMED = {"T3": "T7", "T4": "T8", "T5": "P7", "T6": "P8"}
MOABB_LAYOUT = "MNE-eegbci-data/files/eegmmidb/1.0.0"


def edf(folder, *names):
    """Read the first of some files that is there."""
    for name in names:
        if (folder / name).is_file():
            return mne.io.read_raw_edf(folder / name, preload=True, verbose="error")
    sys.exit(f"{folder} holds none of {', '.join(names)}")


def movements(folder, subject, run, band):
    """One run of eegmmidb in a pass band."""
    name = f"S{subject:03d}/S{subject:03d}R{run:02d}.edf"
    raw = edf(folder, f"eegmmidb/{name}", f"{MOABB_LAYOUT}/{name}")
    mne.datasets.eegbci.standardize(raw)
    return raw.filter(*band, verbose="error")


def fists(folder, subject, window, runs=RUNS["imagery"]):
    """Left (0) and right (1) fists of a subject: volts, labels, names."""
    parts = []
    for run in runs:
        raw = movements(folder, subject, run, (4, 38))
        cues = {"T1": 0, "T2": 1}
        events, _ = mne.events_from_annotations(raw, cues, verbose="error")
        last = window[1] - 1 / raw.info["sfreq"]
        epochs = mne.Epochs(
            raw, events, None, window[0], last, None, preload=True, verbose="error"
        ).resample(SFREQ, verbose="error")
        parts.append((epochs.get_data(), epochs.events[:, 2]))
    X, y = map(np.concatenate, zip(*parts, strict=True))
    return X, y, raw.ch_names


def state(folder, subject, window):
    """Rest (0) and arithmetic (1), the last minute of each: volts, labels, names."""
    parts = []
    for label in (0, 1):
        raw = edf(folder, f"eegmat/Subject{subject:02d}_{label + 1}.edf")
        raw.drop_channels(["EEG A2-A1", "ECG ECG"])
        raw.rename_channels(lambda name: name.removeprefix("EEG "))
        raw.filter(1, 40, verbose="error").resample(SFREQ, verbose="error")
        seconds = raw.n_times / SFREQ
        raw.crop(max(0, seconds - 60), None)
        epochs = mne.make_fixed_length_epochs(
            raw, window[1] - window[0], preload=True, verbose="error"
        )
        X = epochs.get_data()
        parts.append((X, np.full(len(X), label)))
    X, y = map(np.concatenate, zip(*parts, strict=True))
    return X, y, raw.ch_names


def executed(folder, subject, window):
    """Left (0) and right (1) executed fists of a subject: volts, labels, names."""
    return fists(folder, subject, window, RUNS["executed"])


def who_executed(folder):
    """Training subjects whose runs of executed movements are all there."""
    (first, last), _ = SUBJECTS["imagery"]
    roots = [folder / "eegmmidb", folder / MOABB_LAYOUT]
    return [
        subject
        for subject in range(first, last + 1)
        if all(
            any(
                (root / f"S{subject:03d}/S{subject:03d}R{run:02d}.edf").is_file()
                for root in roots
            )
            for run in RUNS["executed"]
        )
    ] or sys.exit(f"{folder} holds no runs {RUNS['executed']} of training subjects")


def read_trials(file, task, folder, window):
    """Trials of all subjects of a task, from the file if they were cut before."""
    if not file.exists():
        if not folder:
            sys.exit("say where the recordings are: --data-path FOLDER")
        if task == "executed":
            subjects = who_executed(Path(folder))
        else:
            (first, _), (_, last) = SUBJECTS[task]
            subjects = range(first, last + 1)
        cut = {"imagery": fists, "executed": executed, "state": state}[task]
        parts = []
        for subject in tqdm(subjects, desc="recordings", disable=None):
            X, y, names = cut(Path(folder), subject, window)
            parts.append((X * 1e6, y, np.full(len(y), subject)))
        X, y, groups = map(np.concatenate, zip(*parts, strict=True))
        with whole_file(file) as opened:
            np.savez(
                opened,
                X=X.astype(np.float32),
                y=y,
                groups=groups,
                names=np.array(names),
            )
    with np.load(file) as trials:
        return {name: trials[name] for name in trials.files}


def draw_subjects(task, n_subjects, seed):
    """Training subjects: the first of a shuffled list, so that sets are nested."""
    (first, last), _ = SUBJECTS[task]
    shuffled = np.random.default_rng(seed).permutation(np.arange(first, last + 1))
    return np.sort(shuffled[:n_subjects])


def read_whitened(trials, task, window, align):
    """Trials from their file: signals, labels, subjects and names."""
    data = read_trials(trials, task, None, window)
    X, y, groups, names = (data[name] for name in ("X", "y", "groups", "names"))
    return whiten(X, groups) if align else X, y, groups, names


def aligns_itself(method):
    """Whether this is SAMBA as it comes, which is told whose trials these are."""
    last = method[-1] if isinstance(method, Pipeline) else method
    return getattr(last, "align", False) == "auto"


def whitened_for(method, X, groups):
    """Give a method whitened recordings, unless it whitens them by itself."""
    return X if aligns_itself(method) else whiten(X, groups)


def fit_people(method, X, y, groups):
    """Fit a method, and tell it whose trials these are if it wants to know."""
    told = {"classifier__groups": groups} if aligns_itself(method) else {}
    return method.fit(X, y, **told)


def evidence_for(fitted, X, groups):
    """Evidence for the second class, one number a trial."""
    if aligns_itself(fitted):
        return fitted[-1].decision_function(X, groups=groups)
    if hasattr(fitted, "decision_function"):
        return fitted.decision_function(X)
    return fitted.predict_proba(X)[:, 1]


def whiten(X, groups):
    """Whiten each recording by itself and without labels, whoever is scored as well."""
    return RecordingAligner().fit_transform(X, groups=groups)


def add_mirrored(X, y, names, exchanged):
    """Put the mirror images of trials behind them, with their labels."""
    places = positions_from_names(names)
    mirrored = mirror_windows(X, y, places, exchanged, share=1.0)
    return np.concatenate([X, mirrored[0]]), np.concatenate([y, mirrored[1]])


def score_people(y, evidence, groups):
    """AUC of each subject, by number."""
    return {
        int(one): roc_auc_score(y[groups == one], evidence[groups == one])
        for one in np.unique(groups)
    }


def make_method(
    method,
    names,
    seed,
    *,
    checkpoint="samba-e",
    align,
    device="auto",
    epochs=None,
    finetune="all",
    trunk_lr=0.1,
    lr=None,
    layer="pool3",
    pooling="statistics",
):
    """Build a method by its short name."""
    drawn = {"random_state": seed, "device": device}
    budget = {} if epochs is None else {"max_epochs": epochs}
    own = {} if lr is None else {"lr": lr}
    # gradients get trials that are whitened already, and whitened electrodes share
    # nothing that a surround could take away
    shape = {
        "align": False,
        "model_params": {"drop_prob": 0.2, "surround": 0.0 if align else 1.0},
    }
    read = {"layer": layer, "pooling": pooling}
    channels = {"ch_names": tuple(names), "sfreq": SFREQ}
    if method == "samba":
        whose = "auto" if align else False
        return samba(checkpoint=checkpoint, align=whose, **channels, **drawn)
    if method == "csp":
        return csp_lda(sfreq=SFREQ)
    if method == "tangent":
        return tangent_space(sfreq=SFREQ)
    if method == "band-power":
        return band_power(sfreq=SFREQ)
    if method in NETWORKS:
        return BraindecodeNet(NETWORKS[method], sfreq=SFREQ, **drawn, **budget)
    if method == "scratch":
        return from_scratch(
            trunk_lr_factor=trunk_lr, **channels, **drawn, **budget, **shape, **own
        )
    if method == "probe":
        return linear_probe(checkpoint=checkpoint, **channels, **drawn, **read)
    if method == "mlp":
        return nonlinear_probe(checkpoint=checkpoint, **channels, **drawn, **read)
    tuning = {"finetune": finetune, "trunk_lr_factor": trunk_lr, **own}
    return fine_tuned(checkpoint, **channels, **drawn, **budget, **shape, **tuning)


def add_common(add):
    """Declare what the commands take that score one training in many ways."""
    add("--data-path", default=os.environ.get("BRAINDECODE_SAMBA_DATA"))
    add("--output", type=Path, default=Path("results"), help="folder of the table")
    add("--checkpoint", default="samba-e", help="name, folder or file")
    add("--seeds", nargs="+", type=int, default=[0])
    add("--epochs", type=int, help="of every network; each its own by default")
    add("--trunk-lr", type=float, default=0.1, help="rate of the trunk over the head's")
    add("--device", default="auto")
    add("--n-jobs", type=int, default=1, help="rows at a time")


def fill_table(folder, rows, compute, n_jobs=1):
    """Compute what rows of a table are missing, and give all that were asked for."""
    table = ResumableTable(folder, command=" ".join(sys.argv))
    print(f"{len(table.missing(rows))} of {len(rows)} rows are to be computed")
    table.run(rows, compute, n_jobs=n_jobs)
    return table.to_frame(rows)


def score_imagery(options, name, score_row):
    """Compute what is missing of a table of all methods and seeds, and give all."""
    options.output.mkdir(parents=True, exist_ok=True)
    window = [0.5, 3.5]
    trials = options.output.resolve() / "imagery-0.5-3.5s.npz"
    names = read_trials(trials, "imagery", options.data_path, window)["names"].tolist()
    make = functools.partial(
        make_method,
        checkpoint=options.checkpoint,
        align=True,
        device=options.device,
        epochs=options.epochs,
        trunk_lr=options.trunk_lr,
    )
    digest = checkpoint_digest(options.checkpoint)
    rows = [
        {
            "dataset": "imagery",
            "pipeline": method,
            "seed": seed,
            "window": window,
            "weights": digest if method in PRETRAINED else "none",
            "estimator": estimator_digest(make(method, names, seed)),
        }
        for method in options.methods
        for seed in options.seeds
    ]
    score = functools.partial(score_row, trials=trials, make=make)
    return fill_table(options.output / name, rows, score, options.n_jobs)
