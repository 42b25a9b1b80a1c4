"""What others would say in their words is said in ours, and says what to do.

MNE, torch, numpy, scikit-learn and braindecode would let these pass or speak of their
own insides.
"""

import mne
import numpy as np
import pandas as pd
import pytest
import torch
from braindecode.datasets import BaseConcatDataset, RawDataset
from braindecode.preprocessing import create_fixed_length_windows

from braindecode_samba import (
    SAMBA,
    RecordingAligner,
    SAMBAClassifier,
    SAMBAFeatures,
    SAMBAReconstructor,
    SAMBARegressor,
    SAMBAStream,
    chs_info_from_names,
    positions_from_names,
)
from braindecode_samba.evaluation import BraindecodeNet
from braindecode_samba.evaluation.recipes import get_recipe, list_recipes, run_recipe
from braindecode_samba.evaluation.recipes.files import read_listed_recordings
from braindecode_samba.pretraining import RecordingError, SAMBAPretrainer
from tests.fuzz.refusals import is_refusal

NAMES = ["C3", "Cz", "C4"]
TOLD = {"ch_names": NAMES, "sfreq": 128}
X = np.random.default_rng(0).standard_normal((12, 3, 128))
Y = np.arange(12) % 2
SMALL = {"d_state": 4, "expand": 2}
CHS_INFO = chs_info_from_names(NAMES)


def make_raw(data=None):
    if data is None:
        data = np.random.default_rng(0).standard_normal((3, 128 * 30)) * 1e-5
    info = mne.create_info(NAMES, 128.0, "eeg")
    return mne.io.RawArray(data, info, verbose="error").set_montage("standard_1020")


def lazy_epochs(how):
    """Epochs of which two of twelve are bad and not dropped yet."""
    raw = make_raw()
    raw._data[:, 300] += 1e-3
    raw._data[:, 800] += 1e-3
    reject = {"eeg": 5e-4}
    if how == "annotations":
        raw.set_annotations(mne.Annotations([2.2, 6.2], [0.1, 0.1], ["BAD", "bad"]))
        reject = None
    events = np.column_stack([np.arange(12) * 256, 0 * Y, 1 + Y])
    return mne.Epochs(
        raw,
        events,
        tmin=0,
        tmax=1,
        baseline=None,
        preload=False,
        reject=reject,
        verbose="error",
    )


@pytest.fixture(scope="module")
def decoder():
    return SAMBAClassifier(**TOLD, random_state=0).fit(X, Y)


@pytest.fixture(scope="module")
def features():
    return SAMBAFeatures(**TOLD, layer="pool3", pooling="mean").fit(X)


def refused(function, words):
    """See a refusal of ours with these words."""
    with pytest.raises((ValueError, TypeError), match=words) as caught:
        function()
    assert is_refusal(caught.value)


LAZY = {
    "classifier": lambda e: SAMBAClassifier().fit(e, 1 + Y),
    "list": lambda e: SAMBAClassifier().fit([e], 1 + Y),
    "regressor": lambda e: SAMBARegressor().fit(e, Y * 1.0),
    "features": lambda e: SAMBAFeatures().fit_transform(e),
    "aligner": lambda e: RecordingAligner().fit(e, groups=Y),
    "pretrainer": lambda e: SAMBAPretrainer(verbose=0).fit(e),
}


@pytest.mark.parametrize("how", ["reject", "annotations"])
@pytest.mark.parametrize("entry", LAZY)
def test_undropped_epochs_are_told_to_drop(entry, how):
    refused(lambda: LAZY[entry](lazy_epochs(how)), r"2 of 12 are bad.*drop_bad\(\)")


def test_dropped_and_lazy_epochs_are_read():
    epochs = lazy_epochs("reject").drop_bad()
    rows = SAMBAFeatures().fit_transform(epochs)
    assert len(rows) == 10
    bare = lazy_epochs("annotations")
    bare = mne.Epochs(make_raw(), bare.events, tmin=0, tmax=1, baseline=None)
    assert len(SAMBAFeatures().fit_transform(bare)) == 12


@pytest.mark.parametrize("value", [0.0, 5.0, -1e-9])
def test_what_never_moves_is_refused(value, decoder, features):
    still = np.full(X.shape, value)
    random = {"start": "random", "checkpoint": None, "max_epochs": 1}
    words = "not move|flat"
    for kind in (SAMBAClassifier, SAMBARegressor):
        refused(lambda kind=kind: kind(**TOLD).fit(still, Y), words)
        refused(lambda kind=kind: kind(**TOLD, **random).partial_fit(still, Y), words)
    refused(lambda: SAMBAFeatures(**TOLD).fit(still), words)
    refused(lambda: decoder.predict(still), words)
    refused(lambda: decoder.adapt(still), words)
    refused(lambda: RecordingAligner().fit(still, groups=Y), words)
    refused(lambda: features.transform_recording(still[0]), words)
    refused(lambda: features.transform_recording(make_raw(still[0])), words)
    refused(lambda: SAMBAPretrainer(**TOLD, verbose=0).fit(still), words)


def test_a_silent_stream_is_warned_of_once_and_goes_on(decoder):
    stream = SAMBAStream(decoder, hop_seconds=0.5)
    with pytest.warns(UserWarning, match="does not move in any channel") as caught:
        said = stream.push(np.zeros((3, 512)))
    assert len(caught) == 1
    assert len(said) == 7
    assert all(np.isfinite(one.output).all() for one in said)
    assert np.isfinite(stream.push(X[0])[-1].output).all()


@pytest.mark.parametrize("kind", [SAMBAClassifier, SAMBARegressor])
def test_data_sets_without_targets_are_told_to_name_them(kind):
    dataset = BaseConcatDataset([RawDataset(make_raw(), description={"subject": 1})])
    windows = create_fixed_length_windows(
        dataset,
        window_size_samples=128,
        window_stride_samples=128,
        drop_last_window=True,
    )
    refused(lambda: kind().fit(windows), "target_name=None.*pass y")
    assert kind().fit(windows, np.arange(len(windows)) % 2).n_times_ == 128


@pytest.mark.parametrize(
    ("y", "words"),
    [
        ([None] * 12, "y is None or NaN for 12 windows, first for window 0"),
        (["a", None] * 6, "for 6 windows, first for window 1"),
        (["a", 1] * 6, None),
        (np.array(["a", 1] * 6, object), "mixes int and str"),
        (pd.Series(["a", np.nan] * 6), "NaN"),
        ([-1] * 12, "-1 throughout"),
    ],
)
def test_labels_that_are_none(y, words):
    if words is None:
        assert SAMBAClassifier(**TOLD).fit(X, y).classes_.tolist() == ["1", "a"]
    else:
        refused(lambda: SAMBAClassifier(**TOLD).fit(X, y), words)


@pytest.mark.parametrize("kind", [SAMBA, SAMBAReconstructor])
def test_dense_prediction_is_refused_in_our_words(kind):
    model = kind(**({"n_outputs": 2} if kind is SAMBA else {}), chs_info=CHS_INFO)
    refused(model.to_dense_prediction_model, "look at the whole window.*SAMBAStream")


@pytest.mark.parametrize("n", [11, 128])
def test_unknown_names_do_not_hide_the_advice(n):
    names = [f"X{i}" for i in range(n)]
    x = np.random.default_rng(0).standard_normal((4, n, 64))
    info = mne.create_info(names, 128.0, "eeg")
    epochs = mne.EpochsArray(x, info, verbose="error")
    for function in (
        lambda: positions_from_names(names),
        lambda: SAMBAClassifier(ch_names=names, sfreq=128).fit(x, [0, 1] * 2),
        lambda: SAMBAClassifier().fit(epochs, [0, 1] * 2),
    ):
        refused(function, rf"for {n} of {n} channels .*'X9', \.\.\.\): drop")


@pytest.mark.parametrize("device", ["gpu", "GPU", "cuda:99", "", "cuda:x", 3.5, None])
def test_devices_that_are_none(device):
    words = "device=.*pass 'auto', 'cpu'"
    refused(lambda: SAMBAClassifier(**TOLD, device=device).fit(X, Y), words)
    refused(lambda: SAMBAFeatures(**TOLD, device=device).fit(X), words)
    refused(lambda: BraindecodeNet("EEGNet", device=device).fit(X, Y), words)
    if device is not None:
        net = SAMBAPretrainer(**TOLD, device=device, verbose=0)
        refused(lambda: net.fit(X), words)


def test_turned_signals_are_told_to_turn(decoder, features):
    turned = X.transpose(0, 2, 1)
    long = np.random.default_rng(0).standard_normal((4000, 3))
    model = SAMBA(n_outputs=2, chs_info=CHS_INFO, **SMALL).eval()
    for function, words in (
        (lambda: SAMBAClassifier(**TOLD).fit(turned, Y), "transpose"),
        (lambda: decoder.predict(turned), "transpose"),
        (lambda: model(torch.from_numpy(turned).float()), "transpose"),
        (lambda: features.transform_recording(long), r"recording\.T"),
        (lambda: features.transform_recording(long, window_seconds=1), r"\.T"),
        (lambda: model.encode_recording(long), r"recording\.T"),
        (lambda: SAMBAStream(decoder).push(turned[0]), "transpose"),
        (lambda: SAMBAPretrainer(**TOLD, verbose=0).fit(turned), "transpose"),
    ):
        refused(function, words)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -1, 0, "1"])
def test_lengths_of_time_that_are_none(value, decoder, features):
    long = np.random.default_rng(0).standard_normal((3, 4000))
    for function in (
        lambda: SAMBAStream(decoder, window_seconds=value),
        lambda: SAMBAStream(decoder, hop_seconds=value),
        lambda: SAMBAStream(decoder, half_life_seconds=value),
        lambda: features.transform_recording(long, window_seconds=value),
        lambda: features.transform_recording(
            long, window_seconds=1, stride_seconds=value
        ),
    ):
        refused(function, "finite seconds")


def write_stew(folder, broken):
    """Twelve subjects, some of whose files are broken."""
    names = get_recipe("stew").ch_names
    rng = np.random.default_rng(0)
    ratings = []
    for subject in range(1, 13):
        for part in ("lo", "hi"):
            signals = rng.standard_normal((128 * 12, len(names))) * 10
            file = folder / f"sub{subject:02}_{part}.txt"
            np.savetxt(file, signals, fmt="%.2f")
        ratings.append(f"{subject}, 2, 7")
    (folder / "ratings.txt").write_text("\n".join(ratings))
    for name, content in broken.items():
        (folder / name).write_text(content)


BROKEN = {"sub03_lo.txt": "1 2 x", "sub05_hi.txt": "", "sub07_lo.txt": "1 2\n3 4\n"}


@pytest.mark.filterwarnings("ignore:.*input contained no data")
def test_recipes_name_broken_files_and_leave_them_out(tmp_path):
    write_stew(tmp_path, BROKEN)
    recipe = get_recipe("stew")
    with pytest.raises(RecordingError, match=r"sub03_lo\.txt"):
        recipe.load(tmp_path)
    broken = []
    windows = recipe.load(tmp_path, on_broken=broken.append)
    assert [type(one) for one in broken] == [RecordingError] * 3
    for name, error in zip(BROKEN, broken, strict=True):
        assert name in str(error)
    assert set(windows.groups) == {str(one) for one in range(1, 13)}
    for name in BROKEN:
        (tmp_path / name).unlink()
    whole = recipe.load(tmp_path)
    np.testing.assert_array_equal(windows.X, whole.X)
    again = []
    write_stew(tmp_path, BROKEN)
    net = BraindecodeNet("EEGNet", max_epochs=1, random_state=0)
    table = run_recipe(recipe, net, tmp_path, on_broken=again.append)
    assert len(again) == 3
    assert len(table)


@pytest.mark.parametrize("content", [b"", b"0       ", b"x" * 300])
def test_listed_recordings_that_are_broken_are_named(tmp_path, content):
    listed = [
        name
        for name in list_recipes()
        if get_recipe(name).read.func is read_listed_recordings
    ]
    recipe = get_recipe(listed[0])
    (tmp_path / "a.edf").write_bytes(content)
    label = recipe.classes[0]
    (tmp_path / "recordings.csv").write_text(f"file,subject,label\na.edf,1,{label}\n")
    with pytest.raises(RecordingError, match=r"a\.edf"):
        recipe.load(tmp_path)
    broken = []
    with pytest.raises(FileNotFoundError):
        recipe.load(tmp_path, on_broken=broken.append)
    assert len(broken) == 1


@pytest.mark.parametrize("seed", [-1, 2**40, "x", 1.5])
def test_seeds_that_are_none(seed):
    words = "random_state=.* is no seed: pass a whole number"
    refused(lambda: SAMBAClassifier(**TOLD, random_state=seed).fit(X, Y), words)
    refused(lambda: BraindecodeNet("EEGNet", random_state=seed).fit(X, Y), words)


def test_windows_without_samples():
    model = SAMBA(n_outputs=2, chs_info=CHS_INFO, **SMALL)
    refused(lambda: model(torch.zeros(1, 3, 0)), r"shape \(1, 3, 0\)")
