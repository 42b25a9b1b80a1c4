"""SAMBA inside MOABB: its evaluations and its benchmark, offline.

All three evaluations run on arrays and on Epochs, with labels as numbers and as text,
with a grid and with two processes.  How well SAMBA decodes is asked once, of subjects
that it was not trained on.  The simulated set itself is tested in `test_simulation`.
"""

import logging
import warnings

import mne
import numpy as np
import pytest

pytest.importorskip(
    "moabb", reason='needs MOABB: pip install "braindecode-samba[moabb]"'
)

import yaml  # noqa: E402
from moabb import benchmark  # noqa: E402
from moabb.datasets.fake import FakeDataset  # noqa: E402
from moabb.evaluations import (  # noqa: E402
    CrossSessionEvaluation,
    CrossSubjectEvaluation,
    WithinSessionEvaluation,
)
from moabb.paradigms import LeftRightImagery, MotorImagery  # noqa: E402

from braindecode_samba import SAMBAClassifier  # noqa: E402
from braindecode_samba.signals import SimulatedMotorImagery  # noqa: E402

NAMES = ("FC5", "FC6", "C3", "Cz", "C4")
SFREQ = 128.0
EVALUATIONS = {
    "within_session": (WithinSessionEvaluation, {"n_splits": 2}, 4),
    "cross_session": (CrossSessionEvaluation, {}, 4),
    "cross_subject": (CrossSubjectEvaluation, {}, 4),
}


class Witness(SAMBAClassifier):
    """SAMBA that notes what MOABB hands to it, in this process."""

    fits = []

    def fit(self, X, y=None, **named):
        first = X[0] if isinstance(X, list) else X
        Witness.fits.append((type(X), type(first), np.unique(y).tolist(), self.lr))
        return super().fit(X, y, **named)


@pytest.fixture
def fits():
    """Record of `Witness`, empty at first."""
    Witness.fits.clear()
    return Witness.fits


@pytest.fixture(scope="module")
def dataset():
    return SimulatedMotorImagery(2, 2, 4, ch_names=NAMES, sfreq=SFREQ)


def paradigm():
    return LeftRightImagery(fmin=4, fmax=38, tmin=1, tmax=2)


def tiny(kind=Witness, **params):
    chosen = {
        "checkpoint": None,
        "start": "random",
        "max_epochs": 1,
        "model_params": {"d_state": 4, "expand": 2},
        "device": "cpu",
        "random_state": 0,
        **params,
    }
    return kind(**chosen)


def on_arrays(**params):
    return tiny(ch_names=NAMES, sfreq=SFREQ, **params)


def silently(run, caplog):
    """Run, and refuse every warning that comes from this package or speaks of it."""
    with warnings.catch_warnings(record=True) as caught, caplog.at_level(logging.INFO):
        warnings.simplefilter("always")
        result = run()
    said = [f"{w.filename}: {w.message}" for w in caught]
    said += [r.getMessage() for r in caplog.records if r.levelno >= logging.WARNING]
    ours = ("braindecode_samba", "SAMBA", "Simulated", "Witness")
    assert not [line for line in said if any(word in line for word in ours)]
    return result


def evaluate(kind, dataset, folder, pipeline, *, n_jobs=1, param_grid=None, **options):
    evaluation = kind(
        paradigm=paradigm(),
        datasets=[dataset],
        hdf5_path=str(folder),
        random_state=0,
        n_jobs=n_jobs,
        **options,
    )
    return evaluation.process({"SAMBA": pipeline}, param_grid=param_grid)


def assert_complete(scores, n_rows):
    assert len(scores) == n_rows
    assert scores.score.between(0, 1).all()
    assert set(scores.pipeline) == {"SAMBA"}
    assert set(scores.channels) == {len(NAMES)}


@pytest.mark.parametrize("return_epochs", [False, True], ids=["arrays", "epochs"])
@pytest.mark.parametrize("name", EVALUATIONS)
def test_each_evaluation_scores_samba_in_silence(
    name, return_epochs, dataset, fits, tmp_path, caplog
):
    kind, options, n_rows = EVALUATIONS[name]
    pipeline = tiny() if return_epochs else on_arrays()
    scores = silently(
        lambda: evaluate(
            kind, dataset, tmp_path, pipeline, return_epochs=return_epochs, **options
        ),
        caplog,
    )
    assert_complete(scores, n_rows)
    kinds = {fit[0] for fit in fits}
    assert kinds == {mne.EpochsArray if return_epochs else np.ndarray}
    assert all(fit[2] == [0, 1] for fit in fits)


@pytest.mark.parametrize("name", EVALUATIONS)
def test_each_evaluation_may_hand_over_text_labels(
    name, dataset, fits, tmp_path, caplog
):
    kind, options, n_rows = EVALUATIONS[name]
    scores = silently(
        lambda: evaluate(
            kind,
            dataset,
            tmp_path,
            tiny(),
            return_epochs=True,
            mne_labels=True,
            **options,
        ),
        caplog,
    )
    assert_complete(scores, n_rows)
    assert all(fit[2] == ["left_hand", "right_hand"] for fit in fits)


@pytest.mark.parametrize("return_epochs", [False, True], ids=["arrays", "epochs"])
def test_a_grid_is_searched_in_each_fold(
    return_epochs, dataset, fits, tmp_path, caplog
):
    pipeline = tiny() if return_epochs else on_arrays()
    rates = [1e-3, 1e-2]
    scores = silently(
        lambda: evaluate(
            CrossSubjectEvaluation,
            dataset,
            tmp_path,
            pipeline,
            return_epochs=return_epochs,
            param_grid={"SAMBA": {"lr": rates}},
        ),
        caplog,
    )
    assert_complete(scores, 4)
    # two subjects left out, three inner folds for each rate, and one fit of the best
    assert len(fits) == 2 * (3 * len(rates) + 1)
    assert {fit[3] for fit in fits} == set(rates)
    # scikit-learn takes Epochs apart into a list of one-trial Epochs
    inner = [fit for fit in fits if fit[0] is list]
    assert len(inner) == (2 * 3 * len(rates) if return_epochs else 0)
    assert all(issubclass(fit[1], mne.BaseEpochs) for fit in inner)


def test_two_processes_give_the_scores_of_one(dataset, tmp_path, caplog, capfd):
    scores = {}
    for n_jobs in (1, 2):
        pipeline = tiny(SAMBAClassifier, ch_names=NAMES, sfreq=SFREQ)
        scores[n_jobs] = silently(
            lambda n_jobs=n_jobs, pipeline=pipeline: evaluate(
                CrossSubjectEvaluation,
                dataset,
                tmp_path / str(n_jobs),
                pipeline,
                n_jobs=n_jobs,
            ),
            caplog,
        )
        assert_complete(scores[n_jobs], 4)
    keys = ["subject", "session"]
    one, two = (
        each.astype({key: str for key in keys}).sort_values(keys).score.to_numpy(float)
        for each in scores.values()
    )
    # the last digits may differ between processes, and move one trial in a ranking
    np.testing.assert_allclose(one, two, atol=0.07)
    # warnings of other processes end in their standard error
    lines = capfd.readouterr().err.splitlines()
    assert not [line for line in lines if "Warning" in line and "samba" in line.lower()]


def test_two_montages_share_an_evaluation_on_epochs(tmp_path, caplog):
    datasets = [
        SimulatedMotorImagery(2, 1, 4, ch_names=names, sfreq=SFREQ)
        for names in (NAMES, ("C3", "C4", "Pz"))
    ]
    evaluation = CrossSubjectEvaluation(
        paradigm=paradigm(),
        datasets=datasets,
        hdf5_path=str(tmp_path),
        return_epochs=True,
    )
    scores = silently(lambda: evaluation.process({"SAMBA": tiny()}), caplog)
    assert scores.groupby("dataset").channels.unique().map(list).to_dict() == {
        datasets[0].code: [5],
        datasets[1].code: [3],
    }


def test_three_classes_are_scored(tmp_path, caplog):
    dataset = SimulatedMotorImagery(
        2, 1, 4, task="three_class", ch_names=NAMES, sfreq=SFREQ
    )
    evaluation = CrossSubjectEvaluation(
        paradigm=MotorImagery(
            events=list(dataset.event_id), n_classes=3, tmin=1, tmax=2, resample=SFREQ
        ),
        datasets=[dataset],
        hdf5_path=str(tmp_path),
    )
    scores = silently(lambda: evaluation.process({"SAMBA": on_arrays()}), caplog)
    assert len(scores) == 2
    assert scores.score.between(0, 1).all()


@pytest.mark.slow
def test_samba_tells_hands_apart_in_subjects_it_never_saw(tmp_path):
    dataset = SimulatedMotorImagery(4, 1, 20, ch_names=NAMES, sfreq=SFREQ, erd=0.8)
    pipeline = SAMBAClassifier()
    evaluation = CrossSubjectEvaluation(
        paradigm=LeftRightImagery(fmin=4, fmax=38, tmin=1, tmax=3.5),
        datasets=[dataset],
        hdf5_path=str(tmp_path),
        return_epochs=True,
    )
    scores = evaluation.process({"SAMBA": pipeline}).score
    print(f"AUC {scores.mean():.3f}, by subject {scores.round(3).tolist()}")
    assert len(scores) == 4
    assert scores.mean() > 0.75
    assert scores.min() > 0.5


@pytest.fixture
def run_benchmark(tmp_path):
    """Score a YAML pipeline on MOABB's own fake set, with a contexts file."""
    dataset = FakeDataset(
        event_list=("left_hand", "right_hand"),
        n_sessions=2,
        n_runs=1,
        n_subjects=2,
        channels=("Cz", *NAMES[:3], "C4", "Pz"),
        seed=0,
        sfreq=160,
        duration=50,
        n_events=12,
    )
    context = {"fmin": 4, "fmax": 38, "tmax": 1, "resample": SFREQ}
    context["channels"] = list(NAMES)

    def run(evaluation, ch_names):
        parameters = {
            "ch_names": list(ch_names),
            "sfreq": SFREQ,
            "checkpoint": None,
            "model_params": {"d_state": 4, "expand": 2},
            "random_state": 0,
        }
        step = {
            "name": "SAMBAClassifier",
            "from": "braindecode_samba",
            "parameters": parameters,
        }
        pipeline = {
            "name": "SAMBA",
            "paradigms": ["LeftRightImagery"],
            "pipeline": [step],
        }
        folder = tmp_path / "pipelines"
        folder.mkdir(exist_ok=True)
        (folder / "samba.yml").write_text(yaml.safe_dump(pipeline))
        contexts = tmp_path / "contexts.yml"
        contexts.write_text(yaml.safe_dump({"LeftRightImagery": context}))
        return benchmark(
            pipelines=str(folder),
            evaluations=[evaluation],
            include_datasets=[dataset],
            contexts=str(contexts),
            results=str(tmp_path / "results"),
            output=str(tmp_path / "output"),
            n_jobs=1,
        )

    return run


@pytest.mark.parametrize("evaluation", ["WithinSession", "CrossSession"])
def test_benchmark_runs_a_yaml_pipeline(evaluation, run_benchmark, caplog):
    scores = silently(lambda: run_benchmark(evaluation, NAMES), caplog)
    assert len(scores) == 4
    assert set(scores.channels) == {len(NAMES)}
    assert scores.score.between(0, 1).all()


@pytest.mark.parametrize("names", [NAMES[:-1], (*NAMES, "Pz")], ids=["fewer", "more"])
def test_benchmark_refuses_names_for_other_channels(names, run_benchmark):
    with pytest.raises(ValueError, match=f"5 channels and {len(names)} names"):
        run_benchmark("CrossSession", names)
