"""A saved decoder is the decoder, in another process and on other electrodes too."""

import errno
import json
import os
import subprocess
import sys

import mne
import numpy as np
import pytest
import safetensors.torch
import torch

from braindecode_samba import (
    SAMBA,
    SAMBAClassifier,
    SAMBAFeatures,
    SAMBARegressor,
    load_checkpoint,
)
from braindecode_samba.checkpoints import CheckpointError

NAMES = ["C3", "Cz", "C4", "Pz"]
GROUPS = np.repeat(["a", "b"], 8)
SMALL = {"d_state": 4, "expand": 2}


@pytest.fixture(scope="module")
def windows(make_eeg):
    return make_eeg(16, len(NAMES), 128).numpy()


def epochs_of(x, names=NAMES, sfreq=128):
    info = mne.create_info(names, sfreq, "eeg")
    epochs = mne.EpochsArray(x, info, verbose="error")
    return epochs.set_montage("colin27_1020")


@pytest.fixture(scope="module")
def epochs(windows):
    return epochs_of(windows)


@pytest.fixture(scope="module")
def decoder(epochs):
    decoder = SAMBAClassifier(random_state=0)
    decoder.fit(epochs, ["left", "right"] * 8, groups=GROUPS)
    return decoder.adapt(epochs[:5], groups=["p"] * 5).adapt(epochs[5:9])


@pytest.fixture(scope="module")
def folder(decoder, tmp_path_factory):
    folder = tmp_path_factory.mktemp("saved") / "decoder"
    decoder.save_pretrained(folder)
    return folder


SCRIPT = """
import sys, numpy as np, mne
from braindecode_samba import SAMBAClassifier
decoder = SAMBAClassifier.from_pretrained(sys.argv[1])
own, other = (mne.read_epochs(file, verbose="error") for file in sys.argv[2:4])
np.savez(
    sys.argv[4],
    own=decoder.predict_proba(own),
    person=decoder.predict_proba(own, groups=["p"] * 4),
    other=decoder.predict_proba(other, groups=["new"] * 4),
)
"""


def test_another_process_predicts_the_same_on_any_montage(
    decoder, folder, epochs, make_eeg, tmp_path
):
    x = make_eeg(4, 3, 150, seed=1).numpy()
    given = [epochs[:4], epochs_of(x, ["FC1", "CP2", "Oz"], 100)]
    files = [tmp_path / "own-epo.fif", tmp_path / "other-epo.fif"]
    for part, file in zip(given, files, strict=True):
        part.save(file, fmt="double", verbose="error")
    arguments = [str(folder), *map(str, files), str(tmp_path / "said.npz")]
    subprocess.run([sys.executable, "-c", SCRIPT, *arguments], check=True, timeout=300)
    said = np.load(tmp_path / "said.npz")
    own, other = (mne.read_epochs(file, verbose="error") for file in files)
    expected = {
        "own": decoder.predict_proba(own),
        "person": decoder.predict_proba(own, groups=["p"] * 4),
        "other": decoder.predict_proba(other, groups=["new"] * 4),
    }
    for name, values in expected.items():
        np.testing.assert_allclose(said[name], values, atol=1e-6)


def test_all_that_was_fitted_comes_back(decoder, folder):
    again = SAMBAClassifier.from_pretrained(folder)
    ours, theirs = again.get_params(), decoder.get_params()
    assert ours == theirs
    assert again.classes_.dtype == decoder.classes_.dtype
    assert again.sfreq_ == decoder.sfreq_
    assert again.n_times_ == decoder.n_times_
    assert again.n_features_in_ == decoder.n_features_in_
    assert again.evidence_.equals(decoder.evidence_)
    assert again._alignment.people.keys() == decoder._alignment.people.keys()
    assert sorted(os.listdir(folder)) == ["config.json", "model.safetensors"]


@pytest.mark.parametrize(
    "labels",
    [
        [3, 7],
        [True, False],
        [1.0, 2.0],
        ["left", "right"],
        np.array(["a", "bc"], dtype=object),
        [1, 2, 3],
    ],
    ids=str,
)
def test_labels_keep_their_kind(windows, labels, tmp_path):
    y = np.asarray(labels)[np.arange(16) % len(labels)]
    decoder = SAMBAClassifier(
        ch_names=NAMES, sfreq=128, random_state=0, class_weight="balanced"
    )
    decoder.fit(windows, y, groups=GROUPS).save_pretrained(tmp_path)
    again = SAMBAClassifier.from_pretrained(tmp_path)
    assert again.classes_.dtype == decoder.classes_.dtype
    assert again.predict(windows).tolist() == decoder.predict(windows).tolist()


@pytest.mark.parametrize("shape", [(16,), (16, 1), (16, 2)])
def test_a_regressor_comes_back(windows, shape, tmp_path):
    y = np.random.default_rng(0).normal(50, 10, shape)
    decoder = SAMBARegressor(ch_names=NAMES, sfreq=128, align=False).fit(windows, y)
    decoder.save_pretrained(tmp_path)
    again = SAMBARegressor.from_pretrained(tmp_path)
    assert again.predict(windows).shape == shape
    np.testing.assert_allclose(
        again.predict(windows), decoder.predict(windows), rtol=1e-6
    )


@pytest.mark.parametrize(
    "options", [{}, {"layer": "pool3", "pooling": "statistics", "checkpoint": None}]
)
def test_features_come_back(windows, options, tmp_path):
    features = SAMBAFeatures(ch_names=NAMES, sfreq=128, random_state=1, **options)
    expected = features.fit_transform(windows)
    features.save_pretrained(tmp_path)
    again = SAMBAFeatures.from_pretrained(tmp_path)
    np.testing.assert_allclose(again.transform(windows), expected, atol=1e-6)
    assert len(again.get_feature_names_out()) == expected.shape[1]
    # and what is fitted anew starts from the same network
    np.testing.assert_allclose(again.fit_transform(windows), expected, atol=1e-6)


def test_a_loaded_decoder_learns_on(windows, tmp_path):
    y = ["a", "b"] * 8
    decoder = SAMBAClassifier(
        chs_info=epochs_of(windows).info["chs"],
        sfreq=128,
        start="random",
        checkpoint=None,
        max_epochs=1,
        model_params={**SMALL, "activation": torch.nn.GELU},
        class_weight={"a": 2.0, "b": 1.0},
        random_state=np.random.RandomState(0),
    )
    decoder.partial_fit(windows, y).set_params(mirror={1: 2}).save_pretrained(tmp_path)
    again = SAMBAClassifier.from_pretrained(tmp_path)
    assert again.mirror == decoder.mirror
    assert again.model_params == decoder.model_params
    for one in (decoder, again):
        one.mirror = None
    assert again.class_weight == decoder.class_weight
    before = decoder.predict_proba(windows)
    np.testing.assert_allclose(again.predict_proba(windows), before, atol=1e-6)
    after = again.partial_fit(windows, y).predict_proba(windows)
    assert not np.allclose(after, before, atol=1e-3)
    again.save_pretrained(tmp_path / "once more")


def test_the_folder_is_a_checkpoint_of_the_network(decoder, folder, epochs):
    model, report = load_checkpoint(folder, verbose=0)
    assert not report.new
    assert not report.left_over
    aligned, _ = decoder._alignment.apply(decoder._read_more(epochs))
    with torch.no_grad():
        said = model(torch.from_numpy(aligned.x)).numpy()
    np.testing.assert_allclose(said, decoder._run(aligned), atol=1e-5)
    starts_there = SAMBAClassifier(checkpoint=folder, random_state=0)
    starts_there.fit(epochs, ["a", "b"] * 8, groups=GROUPS)


def test_what_is_not_fitted_can_not_be_saved(tmp_path):
    with pytest.raises(Exception, match="not fitted"):
        SAMBAClassifier().save_pretrained(tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_a_full_disk_leaves_the_old_one(folder, epochs, monkeypatch):
    other = SAMBAClassifier.from_pretrained(folder)
    expected = other.predict_proba(epochs)
    other._alignment.people.clear()

    def full(handle):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(OSError, match="No space left"):
            other.save_pretrained(folder)
    again = SAMBAClassifier.from_pretrained(folder)
    np.testing.assert_array_equal(again.predict_proba(epochs), expected)
    assert sorted(os.listdir(folder)) == ["config.json", "model.safetensors"]


KILLED = """
import os, sys
from braindecode_samba import SAMBAClassifier
decoder = SAMBAClassifier.from_pretrained(sys.argv[1])
decoder._alignment.people.clear()
left, replace = int(sys.argv[2]), os.replace

def dies(*names):
    global left
    if left == 0:
        os._exit(9)
    left -= 1
    replace(*names)

os.replace = dies
decoder.save_pretrained(sys.argv[1])
"""


@pytest.mark.parametrize("n_renamed", [0, 1])
def test_a_kill_leaves_the_old_or_the_new_one(decoder, n_renamed, tmp_path):
    decoder.save_pretrained(tmp_path)
    command = [sys.executable, "-c", KILLED, str(tmp_path), str(n_renamed)]
    assert subprocess.run(command, timeout=300).returncode == 9
    again = SAMBAClassifier.from_pretrained(tmp_path)
    assert len(again._alignment.people) == (2 if n_renamed == 0 else 0)
    decoder.save_pretrained(tmp_path)
    assert len(SAMBAClassifier.from_pretrained(tmp_path)._alignment.people) == 2


def _changed(folder, target, change):
    """Copy of a folder with another configuration, whose hash still fits."""
    config = json.loads((folder / "config.json").read_text())
    change(config["estimator"])
    target.mkdir()
    (target / "config.json").write_text(json.dumps(config))
    (target / "model.safetensors").write_bytes(
        (folder / "model.safetensors").read_bytes()
    )
    return target


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda e: e.update(sfreq="fast"), "estimator.sfreq"),
        (lambda e: e.pop("kind"), "estimator.kind"),
        (lambda e: e["parameters"].update(colour=1), "colour"),
        (lambda e: e["learned"].pop("classes_"), "knows"),
        (lambda e: e["learned"]["classes_"]["array"].append("up"), "2 outputs"),
        (lambda e: e["learned"]["classes_"].update(dtype="V8"), "array of"),
        (lambda e: e["learned"]["classes_"]["array"].reverse(), "not sorted"),
        (lambda e: e["parameters"].update(batch_size=-1), "batch_size"),
        (lambda e: e["parameters"].update(montages=None), "montages"),
        (lambda e: e["parameters"].update(model_params="x"), "model_params"),
        (lambda e: e["alignment"].update(mode="none"), "alignment.mode"),
        (lambda e: e["alignment"]["people"].pop(), "nothing needs"),
        (lambda e: e["alignment"].update(mode="scale"), "nothing needs"),
        (lambda e: e.pop("alignment"), "alignment"),
        (lambda e: e.update(evidence={"a": 1}), "estimator.evidence"),
        (lambda e: e["evidence"]["data"][0].__setitem__(0, 999), "evidence is not"),
        (lambda e: e["evidence"]["columns"].__setitem__(0, "x"), "features"),
        (lambda e: e["evidence"]["data"].clear(), "evidence|tells of no"),
        (lambda e: e["evidence"]["index_names"].clear(), "tells of no"),
    ],
)
def test_a_changed_file_is_refused_with_what_is_wrong(
    folder, change, message, tmp_path
):
    changed = _changed(folder, tmp_path / "changed", change)
    with pytest.raises(CheckpointError, match=message):
        SAMBAClassifier.from_pretrained(changed)


def test_tensors_that_do_not_fit_are_refused(folder, tmp_path):
    tensors = safetensors.torch.load_file(folder / "model.safetensors")
    tensors["estimator.prior"] = tensors["estimator.prior"][:2]
    config = json.loads((folder / "config.json").read_text())
    del config["weights_sha256"]
    (tmp_path / "config.json").write_text(json.dumps(config))
    safetensors.torch.save_file(tensors, tmp_path / "model.safetensors")
    with pytest.raises(CheckpointError, match="estimator.prior"):
        SAMBAClassifier.from_pretrained(tmp_path)


def test_another_estimator_is_named(folder):
    with pytest.raises(CheckpointError, match="call SAMBAClassifier.from_pretrained"):
        SAMBARegressor.from_pretrained(folder)


def test_a_bare_network_is_no_estimator(motor_chs_info, tmp_path):
    SAMBA(n_outputs=2, chs_info=motor_chs_info, sfreq=128, **SMALL).save_pretrained(
        tmp_path
    )
    with pytest.raises(CheckpointError, match="no fitted estimator"):
        SAMBAClassifier.from_pretrained(tmp_path)


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(CheckpointError, match="nowhere"):
        SAMBAClassifier.from_pretrained(tmp_path / "nowhere")
