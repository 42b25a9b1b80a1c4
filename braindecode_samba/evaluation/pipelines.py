"""SAMBA beside its baselines in MOABB's evaluations, and MOABB's statistics of scores.

Pipelines come as a dictionary for `moabb.evaluations` and as YAML files for
`moabb.benchmark`.  Their parts are in `braindecode_samba.evaluation.protocols` and
`braindecode_samba.evaluation.baselines`; tables of runs are in
`braindecode_samba.evaluation.tables`.
"""

import contextlib
import hashlib
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator

from braindecode_samba._paths import data_folder
from braindecode_samba.evaluation.aligned import Aligned
from braindecode_samba.evaluation.baselines import band_power, csp_lda, tangent_space
from braindecode_samba.evaluation.nets import BraindecodeNet
from braindecode_samba.evaluation.protocols import (
    Checkpoint,
    fine_tuned,
    from_scratch,
    linear_probe,
    nonlinear_probe,
    samba,
)

_SCORES = ["dataset", "pipeline", "subject", "score"]
_NETWORKS = ("ShallowFBCSPNet", "EEGNet", "CTNet")


def make_pipelines(
    *,
    ch_names: Sequence[str],
    sfreq: float,
    checkpoint: Checkpoint | None = "samba-e",
    seed: int = 0,
    device: str = "auto",
) -> dict[str, BaseEstimator]:
    """Build SAMBA's pipelines and the baselines, for arrays of known channels.

    Parameters
    ----------
    ch_names : sequence of str
        Channels in the order of the arrays: give MOABB's paradigm the same list as
        ``channels``.
    sfreq : float
        Sampling rate, Hz: the paradigm's ``resample``.
    checkpoint : str, path-like or None
        Pretrained weights; None: random ones, and fine-tuning is left out.
    seed : int
        Seed of everything that is drawn.
    device : str
        As for `braindecode_samba.SAMBAClassifier`.

    Returns
    -------
    dict of str to estimator
        For ``process`` of MOABB's evaluations.  Hash of the checkpoint, seed and
        version stand in the parameters as text, so that MOABB's stored scores are those
        of these weights. In a cross-subject evaluation SAMBA aligns people, so the
        baselines do it as well, by `Aligned`; probes don't.
    """
    known: dict[str, Any] = {"ch_names": tuple(ch_names), "sfreq": sfreq}
    drawn: dict[str, Any] = {"device": device, "random_state": seed}
    baselines: dict[str, BaseEstimator] = {
        "CSP + LDA": csp_lda(sfreq=sfreq),
        "tangent space + LR": tangent_space(sfreq=sfreq),
        "band power + LR": band_power(sfreq=sfreq),
    }
    for name in _NETWORKS:
        baselines[name] = BraindecodeNet(name, sfreq=sfreq, **drawn)
    known |= drawn
    pipelines: dict[str, BaseEstimator] = {
        "SAMBA": samba(checkpoint=checkpoint, **known),
        "SAMBA from scratch": from_scratch(**known),
        "SAMBA linear probe": linear_probe(checkpoint=checkpoint, **known),
        "SAMBA non-linear probe": nonlinear_probe(checkpoint=checkpoint, **known),
    }
    if checkpoint is not None:
        pipelines["SAMBA fine-tuned"] = fine_tuned(checkpoint=checkpoint, **known)
    aligned = {name: Aligned(method) for name, method in baselines.items()}
    return {**aligned, **pipelines}


def benchmark_files() -> tuple[Path, Path]:
    """Tell where the YAML files for `moabb.benchmark` are.

    Returns
    -------
    pipelines : pathlib.Path
        Folder of the pipelines: SAMBA as it comes, linear probe, gradients from
        pretrained weights and from scratch.
    contexts : pathlib.Path
        The file that fixes band, window, rate and channels, which the pipelines count
        on: arrays of other channels are refused.

    Raises
    ------
    FileNotFoundError
        If the installation has lost them.
    """
    folder = data_folder("benchmark")
    return folder / "pipelines", folder / "contexts.yml"


def estimator_digest(estimator: BaseEstimator) -> str:
    """Hash of all parameters of an estimator, for the settings of a table's row.

    Parameters
    ----------
    estimator : estimator of scikit-learn
        What is going to be fitted.

    Returns
    -------
    str
        12 hexadecimal digits, the same in every process.
    """
    parameters = sorted(estimator.get_params().items())
    text = re.sub(r" at 0x[0-9a-f]+", "", repr(parameters))
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def summarise(scores: pd.DataFrame) -> pd.DataFrame:
    """Mean and standard deviation over subjects.

    Parameters
    ----------
    scores : pandas.DataFrame
        With the columns ``dataset, pipeline, subject, score`` of MOABB's results;
        several lines of a subject (sessions, seeds) are averaged first.

    Returns
    -------
    pandas.DataFrame
        For each data set and pipeline, best first: ``mean`` and ``std`` over subjects,
        ``n_subjects``, and with a column ``seed`` in `scores` also ``n_seeds`` and
        ``std_seeds``, the deviation of the seeds' means.

    Raises
    ------
    ValueError
        If a column is missing or there are no scores.
    """
    _check_scores(scores)
    keys = ["dataset", "pipeline"]
    subjects = scores.groupby([*keys, "subject"], sort=False)["score"].mean()
    table = subjects.groupby(keys, sort=False).agg(["mean", "std", "count"])
    table = table.rename(columns={"count": "n_subjects"})
    if "seed" in scores:
        by_seed = scores.groupby([*keys, "seed"], sort=False)["score"].mean()
        seeds = by_seed.groupby(keys, sort=False).agg(["count", "std"])
        table[["n_seeds", "std_seeds"]] = seeds
    return table.sort_values(["dataset", "mean"], ascending=[True, False])


def paired_tests(scores: pd.DataFrame) -> pd.DataFrame:
    """Test for each pair of pipelines whether one is better, by MOABB's statistics.

    Below 20 subjects these are permutations of the subjects' differences, else
    Wilcoxon's signed ranks; one-sided, not corrected for the number of pairs.

    Parameters
    ----------
    scores : pandas.DataFrame
        As for `summarise`; every pipeline with every subject of a data set.

    Returns
    -------
    pandas.DataFrame
        ``dataset, pipe1, pipe2, p, smd, nsub``: p of the hypothesis that ``pipe1`` is
        no better than ``pipe2``, and standardised mean difference.

    Raises
    ------
    ValueError
        If a column is missing, there are no scores, or subjects are missing.
    ImportError
        If MOABB is not installed.
    """
    try:
        from moabb.analysis.meta_analysis import compute_dataset_statistics
    except ImportError as error:
        raise ImportError(
            'these tests are MOABB\'s: pip install "braindecode-samba[moabb]"'
        ) from error
    _check_scores(scores)
    for dataset, part in scores.groupby("dataset"):
        subjects = part.groupby("pipeline")["subject"].agg(set)
        everybody = set(part["subject"])
        if lacking := [name for name, some in subjects.items() if some != everybody]:
            raise ValueError(
                f"scores of {dataset!r} lack subjects for {lacking}: score all "
                f"pipelines on the same {len(everybody)}"
            )
    with _own_numpy_state():
        tests = compute_dataset_statistics(scores[_SCORES])
    return tests[tests["pipe1"] != tests["pipe2"]].drop(columns="index")


def _check_scores(scores: pd.DataFrame) -> None:
    if missing := [name for name in _SCORES if name not in scores]:
        raise ValueError(f"scores have no column {missing}: name them as MOABB does")
    if scores.empty or scores["score"].isna().any():
        raise ValueError("scores are empty or hold NaN: leave failed runs out")


@contextlib.contextmanager
def _own_numpy_state() -> Iterator[None]:
    """Seed numpy's global state inside, which MOABB permutes from, and restore it."""
    state = np.random.get_state()  # noqa: NPY002
    np.random.seed(0)  # noqa: NPY002
    try:
        yield
    finally:
        np.random.set_state(state)  # noqa: NPY002
