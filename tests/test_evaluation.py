"""Pipelines for MOABB, its stored scores, its benchmark files, and its statistics."""

import warnings

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.base import BaseEstimator, ClassifierMixin, clone, is_classifier
from sklearn.exceptions import NotFittedError

pytest.importorskip(
    "moabb", reason='needs MOABB: pip install "braindecode-samba[moabb]"'
)

import yaml  # noqa: E402
from moabb import benchmark  # noqa: E402
from moabb.analysis.results import get_digest  # noqa: E402
from moabb.datasets.fake import FakeDataset  # noqa: E402
from moabb.evaluations import CrossSubjectEvaluation  # noqa: E402
from moabb.paradigms import LeftRightImagery  # noqa: E402
from moabb.pipelines.utils import create_pipeline_from_config  # noqa: E402

from braindecode_samba import (  # noqa: E402
    RecordingAligner,
    SAMBAReconstructor,
    load_montage,
)
from braindecode_samba.evaluation import (  # noqa: E402
    Aligned,
    benchmark_files,
    estimator_digest,
    from_scratch,
    linear_probe,
    make_pipelines,
    paired_tests,
    summarise,
)
from braindecode_samba.pretraining.saving import write_checkpoint  # noqa: E402
from braindecode_samba.signals import SimulatedMotorImagery  # noqa: E402

NAMES = ("FC5", "FC6", "C3", "Cz", "C4")
SFREQ = 128.0


def write(folder, seed):
    torch.manual_seed(seed)
    model = SAMBAReconstructor(sfreq=128, d_state=4, expand=2)
    return write_checkpoint(folder, model, {"epochs": 1}, "# card")


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    return write(tmp_path_factory.mktemp("evaluation") / "small", seed=1)


@pytest.fixture(scope="module")
def pipelines(checkpoint):
    return make_pipelines(
        ch_names=NAMES, sfreq=SFREQ, checkpoint=checkpoint, seed=3, device="cpu"
    )


@pytest.fixture
def evaluate(tmp_path):
    """Score pipelines across two simulated subjects; results stay in one folder."""
    dataset = SimulatedMotorImagery(2, 1, 6, ch_names=NAMES, sfreq=SFREQ)
    paradigm = LeftRightImagery(
        fmin=4, fmax=38, tmin=0.5, tmax=2.5, resample=SFREQ, channels=list(NAMES)
    )

    def run(chosen):
        evaluation = CrossSubjectEvaluation(
            paradigm=paradigm, datasets=[dataset], hdf5_path=str(tmp_path)
        )
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module="braindecode|h5py|moabb|mne")
            return evaluation.process(chosen)

    return run


def test_all_pipelines_are_scored_in_one_evaluation(pipelines, evaluate):
    short = {name: clone(pipeline) for name, pipeline in pipelines.items()}
    for name in ("ShallowFBCSPNet", "EEGNet", "CTNet"):
        short[name].set_params(classifier__max_epochs=1)
    for name in ("SAMBA from scratch", "SAMBA fine-tuned"):
        short[name].set_params(classifier__max_epochs=1)
    short["CSP + LDA"].set_params(classifier__csp__nfilter=4)
    scores = evaluate(short)
    assert set(scores.pipeline) == set(pipelines)
    assert len(scores) == 2 * len(pipelines)
    assert scores.score.between(0, 1).all()
    means = summarise(scores)
    assert len(means) == len(pipelines)
    tests = paired_tests(scores)
    assert len(tests) == len(pipelines) * (len(pipelines) - 1)


def test_pipelines_are_classifiers_with_unlike_names_in_moabbs_store(pipelines):
    assert all(is_classifier(pipeline) for pipeline in pipelines.values())
    digests = {get_digest(pipeline) for pipeline in pipelines.values()}
    assert len(digests) == len(pipelines)


def test_without_a_checkpoint_weights_are_random_and_nothing_is_fine_tuned():
    pipelines = make_pipelines(ch_names=NAMES, sfreq=SFREQ, checkpoint=None)
    assert "SAMBA fine-tuned" not in pipelines
    for name in ("SAMBA", "SAMBA linear probe"):
        assert pipelines[name].get_params()["provenance__checkpoint"] == "none"


class Spy(ClassifierMixin, BaseEstimator):
    """Remembers what it was fitted on."""

    def fit(self, X, y):
        self.classes_, self.seen_ = np.unique(y), X
        return self

    def predict_proba(self, X):
        return np.full((len(X), 2), 0.5)

    def predict(self, X):
        return np.repeat(self.classes_[0], len(X))


def covariances(X, subjects):
    return [np.cov(np.hstack(X[subjects == one])) for one in np.unique(subjects)]


def test_aligned_methods_see_whitened_people_and_only_where_people_are_known():
    rng = np.random.default_rng(0)
    subjects, y = np.repeat([1, 2], 10), ["a", "b"] * 10
    X = rng.standard_normal((20, 3, 200)) * np.array([1.0, 5, 20])[:, None]
    X[subjects == 2] *= 7
    known = Aligned(Spy()).fit(X, y, subjects=subjects)
    for found in covariances(known.classifier_.seen_, subjects):
        np.testing.assert_allclose(found, np.eye(3), atol=0.05)
    assert not Aligned(Spy()).fit(X, y).aligned_
    with pytest.raises(TypeError, match="classifier is a RecordingAligner"):
        Aligned(RecordingAligner()).fit(X, y)
    with pytest.raises(NotFittedError):
        Aligned(Spy()).predict(X)


def test_moabb_tells_aligned_methods_whose_the_windows_are(evaluate, monkeypatch):
    seen = []
    fit = Aligned.fit

    def note(self, X, y, *, subjects=None):
        seen.append(subjects)
        return fit(self, X, y, subjects=subjects)

    monkeypatch.setattr(Aligned, "fit", note)
    evaluate({"spy": Aligned(Spy())})
    assert len(seen) == 2
    assert all(subjects is not None for subjects in seen)


def test_moabb_does_not_give_scores_of_other_weights_or_seeds(tmp_path, evaluate):
    folder = tmp_path / "weights"

    def probe(seed):
        return linear_probe(
            checkpoint=folder,
            ch_names=NAMES,
            sfreq=SFREQ,
            device="cpu",
            random_state=seed,
        )

    write(folder, seed=1)
    first = probe(0)
    scores = evaluate({"probe": first})
    assert get_digest(first) == get_digest(probe(0))
    assert get_digest(first) != get_digest(probe(1))
    write(folder, seed=2)
    assert get_digest(first) != get_digest(probe(0))
    again = evaluate({"probe": probe(0)})
    # a stored score would come with the time that it took before
    assert set(scores.time).isdisjoint(again.time)


def load(file):
    return yaml.safe_load(file.read_text())


def test_benchmark_pipelines_and_contexts_name_the_same_channels_and_rate():
    folder, contexts = benchmark_files()
    files = sorted(folder.glob("*.yml"))
    assert len(files) == 4
    assert contexts.parent != folder
    shared = list(load_montage("bnci2014_001_22").names)
    configs = [load(file) for file in files]
    assert len({config["name"] for config in configs}) == 4
    for config in configs:
        parameters = config["pipeline"][0]["parameters"]
        for paradigm in config["paradigms"]:
            context = load(contexts)[paradigm]
            assert parameters["ch_names"] == context["channels"] == shared
            assert parameters["sfreq"] == context["resample"]
    assert set(shared) <= set(load_montage("physionetmi_64").names)


def test_benchmark_pipelines_can_be_built_with_any_checkpoint(checkpoint):
    folder, _ = benchmark_files()
    for file in folder.glob("*.yml"):
        steps = load(file)["pipeline"]
        parameters = steps[0]["parameters"]
        assert parameters.get("checkpoint", "samba-e") == "samba-e"
        if steps[0]["name"] != "from_scratch":
            parameters["checkpoint"] = str(checkpoint)
        pipeline = create_pipeline_from_config(steps)
        assert is_classifier(pipeline)
        assert "provenance__seed" in pipeline.steps[0][1].get_params()


def test_benchmark_runs_the_shipped_files(tmp_path):
    folder, contexts = benchmark_files()
    config = load(folder / "samba_from_scratch.yml")
    config["pipeline"][0]["parameters"]["max_epochs"] = 1
    (tmp_path / "pipelines").mkdir()
    (tmp_path / "pipelines" / "short.yml").write_text(yaml.safe_dump(config))
    channels = load(contexts)["LeftRightImagery"]["channels"]
    dataset = FakeDataset(
        event_list=("left_hand", "right_hand"),
        n_sessions=2,
        n_runs=1,
        n_subjects=1,
        channels=("Fp1", *channels[::-1]),
        seed=0,
        sfreq=160,
        duration=60,
        n_events=12,
    )
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module="braindecode|h5py|moabb|mne")
        scores = benchmark(
            pipelines=str(tmp_path / "pipelines"),
            evaluations=["CrossSession"],
            include_datasets=[dataset],
            contexts=str(contexts),
            results=str(tmp_path / "results"),
            output=str(tmp_path / "output"),
            n_jobs=1,
        )
    assert len(scores) == 2
    assert set(scores.channels) == {22}


def test_estimators_are_told_apart_by_every_setting():
    one = from_scratch(ch_names=NAMES, sfreq=SFREQ, random_state=0)
    assert estimator_digest(one) == estimator_digest(clone(one))
    for change in ({"lr": 2e-2}, {"random_state": 1}, {"model_params": {"head": "x"}}):
        params = {"ch_names": NAMES, "sfreq": SFREQ, "random_state": 0, **change}
        assert estimator_digest(one) != estimator_digest(from_scratch(**params))


def scores_of(n_subjects=8, better=0.1, seeds=(0, 1)):
    rng = np.random.default_rng(0)
    lines = []
    for subject in range(n_subjects):
        skill = rng.uniform(0.5, 0.8)
        for seed in seeds:
            for pipeline, gain in (("SAMBA", better), ("CSP", 0.0)):
                score = skill + gain + rng.normal(0, 0.01)
                lines.append(("MI", pipeline, subject, seed, score))
    columns = ["dataset", "pipeline", "subject", "seed", "score"]
    return pd.DataFrame(lines, columns=columns)


def test_means_and_deviations_are_over_subjects_not_seeds():
    scores = scores_of()
    table = summarise(scores)
    assert table.index.tolist() == [("MI", "SAMBA"), ("MI", "CSP")]
    row = table.loc[("MI", "SAMBA")]
    own = scores[scores.pipeline == "SAMBA"]
    by_subject = own.groupby("subject").score.mean()
    assert row["mean"] == pytest.approx(by_subject.mean())
    assert row["std"] == pytest.approx(by_subject.std())
    assert (row["n_subjects"], row["n_seeds"]) == (8, 2)
    assert row["std_seeds"] == pytest.approx(own.groupby("seed").score.mean().std())


@pytest.mark.parametrize("n_subjects", [8, 15, 25])
def test_a_better_pipeline_is_found_by_paired_tests(n_subjects):
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    tests = paired_tests(scores_of(n_subjects)).set_index(["pipe1", "pipe2"])
    assert tests.loc[("SAMBA", "CSP"), "p"] < 0.01
    assert tests.loc[("CSP", "SAMBA"), "p"] > 0.95
    assert tests.loc[("SAMBA", "CSP"), "smd"] > 1
    assert (tests["nsub"] == n_subjects).all()
    np.testing.assert_array_equal(before, np.random.get_state()[1])  # noqa: NPY002


def test_equal_pipelines_are_not_told_apart():
    tests = paired_tests(scores_of(better=0.0))
    assert (tests["p"] > 0.05).all()


def test_a_pipeline_without_some_subjects_is_not_compared():
    scores = scores_of()
    scores = scores[(scores.pipeline == "CSP") | (scores.subject > 2)]
    with pytest.raises(ValueError, match=r"lack subjects for \['SAMBA'\]"):
        paired_tests(scores)


@pytest.mark.parametrize("function", [summarise, paired_tests])
def test_scores_that_are_none_are_refused(function):
    scores = scores_of()
    with pytest.raises(ValueError, match=r"no column \['score'\]"):
        function(scores.drop(columns="score"))
    with pytest.raises(ValueError, match="empty or hold NaN"):
        function(scores.assign(score=np.nan))
