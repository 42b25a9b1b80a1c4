"""SAMBA on real recordings: PhysioNet's eegmmidb and eegmat, without any download.

The folder that holds ``eegmmidb/`` and ``eegmat/`` comes from the environment variable
BRAINDECODE_SAMBA_DATA; without it everything here is skipped.
"""

import os
from pathlib import Path

import mne
import numpy as np
import pytest

from braindecode_samba import SAMBAClassifier, SAMBAFeatures, positions_from_names

_FOLDER = os.environ.get("BRAINDECODE_SAMBA_DATA")
if not _FOLDER:
    pytest.skip(
        "BRAINDECODE_SAMBA_DATA names no folder with eegmmidb/ and eegmat/",
        allow_module_level=True,
    )
DATA = Path(_FOLDER).resolve()
EMOTIV = "AF3 F7 F3 FC5 T7 P7 O1 O2 P8 T8 FC6 F4 F8 AF4".split()
SMALL = {"d_state": 4, "expand": 2}
HANDS = {"T1": 1, "T2": 2}


def folder(name):
    if not (DATA / name).is_dir():
        pytest.skip(f"BRAINDECODE_SAMBA_DATA holds no {name}/")
    return DATA / name


@pytest.fixture(scope="module")
def epochs():
    """Imagined left and right hand of subject 11, 160 Hz, names with dots."""
    file = folder("eegmmidb") / "S011" / "S011R04.edf"
    raw = mne.io.read_raw_edf(file, preload=True, verbose="error")
    raw.filter(4, 38, verbose="error")
    events, _ = mne.events_from_annotations(raw, HANDS, verbose="error")
    return mne.Epochs(
        raw, events, HANDS, 0.5, 2.0, baseline=None, preload=True, verbose="error"
    )


@pytest.fixture(scope="module")
def fitted(epochs):
    """Fit as it comes, on random weights; nobody may refit it."""
    classifier = SAMBAClassifier(
        checkpoint=None, model_params=SMALL, device="cpu", random_state=0
    )
    return classifier.fit(epochs, epochs.events[:, 2])


def test_dotted_names_of_eegmmidb_lie_where_their_standard_names_do(epochs):
    assert epochs.info["sfreq"] == 160
    names = epochs.ch_names
    assert len(names) == 64
    assert {"Fc5.", "C3..", "Fp1."} <= set(names)
    standard = epochs.copy().load_data()
    mne.datasets.eegbci.standardize(standard)
    assert standard.ch_names != names
    places = positions_from_names(names)
    np.testing.assert_array_equal(places, positions_from_names(standard.ch_names))
    # left is negative x, the front is positive y, and nothing lies on another
    by_name = dict(zip(standard.ch_names, places, strict=True))
    assert by_name["C3"][0] < -0.04 < 0.04 < by_name["C4"][0]
    assert by_name["Oz"][1] < -0.04 < 0.04 < by_name["Fpz"][1]
    assert len(np.unique(places.round(4), axis=0)) == 64


def test_old_names_of_eegmat_are_read_and_what_is_no_electrode_is_refused():
    file = folder("eegmat") / "Subject00_1.edf"
    raw = mne.io.read_raw_edf(file, preload=True, verbose="error").crop(0, 8)
    strangers = ["EEG A2-A1", "ECG ECG"]
    assert {"EEG T3", "EEG T5", *strangers} <= set(raw.ch_names)
    windows = mne.make_fixed_length_epochs(
        raw, duration=2, preload=True, verbose="error"
    )
    features = SAMBAFeatures(device="cpu", random_state=0)
    with pytest.raises(ValueError, match="no position") as caught:
        features.fit(windows)
    refused = str(caught.value)
    assert "2 of 21 channels" in refused
    assert all(repr(name) in refused for name in strangers)
    assert "'EEG T3'" not in refused
    windows.drop_channels(strangers)
    new = {"T3": "T7", "T4": "T8", "T5": "P7", "T6": "P8"}
    bare = [name.removeprefix("EEG ") for name in windows.ch_names]
    np.testing.assert_array_equal(
        positions_from_names(windows.ch_names),
        positions_from_names([new.get(name, name) for name in bare]),
    )
    values = features.fit_transform(windows)
    assert values.shape[0] == len(windows)
    assert np.isfinite(values).all()
    assert (values.std(0) > 0).mean() > 0.9


def test_a_fit_on_real_epochs_gives_probabilities(epochs, fitted):
    probabilities = fitted.predict_proba(epochs)
    assert fitted.sfreq_ == 160
    assert fitted.n_features_in_ == 64
    assert np.isfinite(fitted.evidence_.to_numpy()).all()
    assert probabilities.shape == (len(epochs), 2)
    np.testing.assert_allclose(probabilities.sum(1), 1, atol=1e-5)
    assert probabilities[:, 0].std() > 1e-4


def test_volts_and_microvolts_give_the_same_probabilities(epochs, fitted):
    microvolts = mne.EpochsArray(
        1e6 * epochs.get_data(copy=True), epochs.info, epochs.events, verbose="error"
    )
    np.testing.assert_allclose(
        fitted.predict_proba(microvolts), fitted.predict_proba(epochs), atol=1e-4
    )


def test_a_model_of_64_electrodes_predicts_from_14(epochs, fitted):
    few = epochs.copy()
    mne.datasets.eegbci.standardize(few)
    few.pick(EMOTIV)
    probabilities = fitted.predict_proba(few)
    assert probabilities.shape == (len(epochs), 2)
    np.testing.assert_allclose(probabilities.sum(1), 1, atol=1e-5)
    assert probabilities[:, 0].std() > 1e-4
    # electrodes count by place, so their order can't matter
    order = np.random.default_rng(0).permutation(EMOTIV).tolist()
    np.testing.assert_allclose(
        fitted.predict_proba(few.copy().reorder_channels(order)),
        probabilities,
        atol=1e-4,
    )


def test_physionetmi_loads_offline_through_moabb(tmp_path, monkeypatch):
    pytest.importorskip("moabb", reason="needs MOABB")
    from moabb.datasets import PhysionetMI
    from moabb.paradigms import LeftRightImagery

    files = tmp_path / "MNE-eegbci-data" / "files" / "eegmmidb"
    files.mkdir(parents=True)
    (files / "1.0.0").symlink_to(folder("eegmmidb"))
    monkeypatch.setenv("MNE_DATASETS_EEGBCI_PATH", str(tmp_path))
    monkeypatch.setenv("MOABB_DOWNLOAD_PROVIDER", "upstream")
    dataset = PhysionetMI(subjects=[11])
    dataset.feet_runs = []
    paradigm = LeftRightImagery(fmin=4, fmax=38, tmin=0.5, tmax=2.0, resample=128)
    epochs, labels, meta = paradigm.get_data(dataset, return_epochs=True)
    assert set(meta.subject.astype(int)) == {11}
    assert set(labels) == {"left_hand", "right_hand"}
    assert len(epochs) == len(labels) == 45
    classifier = SAMBAClassifier(
        checkpoint=None, model_params=SMALL, device="cpu", random_state=0
    )
    classifier.fit(epochs[:16], labels[:16])
    assert set(classifier.predict(epochs[16:24])) <= set(labels)
