"""Euclidean alignment: what it makes of recordings, and what it refuses."""

import sys
import warnings

import mne
import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.base import clone
from sklearn.exceptions import NotFittedError

from braindecode_samba import RecordingAligner

N_CHANS = 5
NAMES = ["C3", "Cz", "C4", "P3", "P4"]


def recordings(n_groups=3, n_windows=8, n_times=256, seed=0):
    """Windows of several heads, each with a mixture of its own, and whose each is."""
    rng = np.random.default_rng(seed)
    parts = []
    for _ in range(n_groups):
        mixture = rng.standard_normal((N_CHANS, N_CHANS)) * 10
        parts.append(mixture @ rng.standard_normal((n_windows, N_CHANS, n_times)))
    return np.concatenate(parts), np.repeat(np.arange(n_groups), n_windows)


def covariance(windows):
    """Mean covariance over windows, each about its own mean."""
    centred = windows - windows.mean(-1, keepdims=True)
    return np.mean(centred @ centred.swapaxes(1, 2), axis=0) / windows.shape[-1]


def make_raw(windows, *, sfreq=128.0, stim=False):
    data = np.concatenate(list(windows), axis=1)
    names, kinds = list(NAMES), ["eeg"] * N_CHANS
    if stim:
        data = np.vstack([data, np.arange(data.shape[1])])
        names, kinds = [*names, "STI"], [*kinds, "stim"]
    info = mne.create_info(names, sfreq, kinds)
    return mne.io.RawArray(data, info, verbose="error")


def make_epochs(X, groups, column="subject"):
    info = mne.create_info(NAMES, 128.0, "eeg")
    events = np.column_stack(
        [np.arange(len(X)) * 300, np.zeros(len(X), int), np.arange(len(X)) % 2 + 1]
    )
    metadata = pd.DataFrame({column: groups})
    return mne.EpochsArray(
        X, info, events, tmin=0.5, metadata=metadata, verbose="error"
    )


def test_mean_covariance_of_each_recording_becomes_the_identity():
    X, groups = recordings()
    aligned = RecordingAligner().fit_transform(X, groups=groups)
    for group in range(3):
        found = covariance(aligned[groups == group])
        np.testing.assert_allclose(found, np.eye(N_CHANS), atol=1e-9)


def test_filters_are_symmetric_so_that_channels_keep_their_places():
    X, groups = recordings()
    for whitener in RecordingAligner().fit(X, groups=groups).filters_.values():
        np.testing.assert_allclose(whitener, whitener.T, rtol=1e-9)
        assert (np.diag(whitener) > 0).all()


def test_a_recording_is_aligned_as_if_it_were_alone():
    X, groups = recordings()
    together = RecordingAligner().fit_transform(X, groups=groups)
    alone = RecordingAligner().fit_transform(X[groups == 1], groups=groups[groups == 1])
    np.testing.assert_allclose(together[groups == 1], alone, rtol=1e-10)


@given(exponent=st.integers(-12, 12))
def test_units_do_not_matter(exponent):
    X, groups = recordings(2, 6, 64)
    aligner = RecordingAligner()
    expected = aligner.fit_transform(X, groups=groups)
    found = aligner.fit_transform(X * 10.0**exponent, groups=groups)
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-8)


def test_offsets_do_not_change_the_filters():
    X, groups = recordings()
    plain = RecordingAligner().fit(X, groups=groups)
    shifted = RecordingAligner().fit(X + 1e5, groups=groups)
    for group in range(3):
        np.testing.assert_allclose(
            shifted.filters_[group], plain.filters_[group], rtol=1e-6, atol=1e-9
        )


def test_order_of_channels_does_not_matter():
    X, groups = recordings()
    order = [3, 0, 4, 2, 1]
    aligned = RecordingAligner().fit_transform(X, groups=groups)
    permuted = RecordingAligner().fit_transform(X[:, order], groups=groups)
    np.testing.assert_allclose(permuted, aligned[:, order], rtol=1e-8, atol=1e-9)


@pytest.mark.parametrize("case", ["average reference", "dead channel", "ring of pairs"])
def test_directions_without_a_signal_are_not_blown_up(case):
    X, groups = recordings(1)
    if case == "average reference":
        X, empty = X - X.mean(1, keepdims=True), np.ones(N_CHANS)
    elif case == "dead channel":
        X, empty = X * np.array([1, 1, 0, 1, 1])[:, None], np.eye(N_CHANS)[2]
    else:
        X, empty = X - np.roll(X, 1, axis=1), np.ones(N_CHANS)
    empty = empty / np.linalg.norm(empty)
    aligned = RecordingAligner().fit_transform(X, groups=groups)
    assert np.abs(np.einsum("c,nct->nt", empty, aligned)).max() < 1e-6
    rest = np.eye(N_CHANS) - np.outer(empty, empty)
    np.testing.assert_allclose(covariance(aligned), rest, atol=1e-6)


def test_gain_is_bounded_by_the_floor():
    X, groups = recordings(1)
    X[:, 0] *= 1e-9
    floor = 1e-4
    aligner = RecordingAligner(floor=floor).fit(X, groups=groups)
    largest = np.linalg.eigvalsh(aligner.references_[0])[-1]
    gains = np.linalg.eigvalsh(aligner.filters_[0])
    np.testing.assert_allclose(gains[-1], 1 / np.sqrt(floor * largest), rtol=1e-6)


def test_later_windows_are_aligned_by_earlier_ones():
    X, groups = recordings(2)
    aligner = RecordingAligner().fit(X, groups=groups)
    later = X[groups == 1][:3]
    found = aligner.transform(later, groups=[1, 1, 1])
    np.testing.assert_allclose(found, aligner.filters_[1] @ later)
    assert aligner.n_windows_ == {0: 8, 1: 8}


def test_float32_stays_and_what_came_in_is_not_changed():
    X, groups = recordings()
    X = X.astype(np.float32)
    before = X.copy()
    aligned = RecordingAligner().fit_transform(X, groups=groups)
    assert aligned.dtype == np.float32
    np.testing.assert_array_equal(X, before)


def test_epochs_are_aligned_by_a_column_of_their_metadata():
    X, groups = recordings()
    names = np.array(["ann", "bea", "cem"])[groups]
    epochs = make_epochs(X, names)
    aligned = RecordingAligner(group_column="subject").fit_transform(epochs)
    expected = RecordingAligner().fit_transform(X, groups=groups)
    np.testing.assert_allclose(aligned.get_data(), expected, rtol=1e-9)
    np.testing.assert_array_equal(aligned.events, epochs.events)
    np.testing.assert_array_equal(aligned.times, epochs.times)
    assert aligned.metadata.equals(epochs.metadata)
    assert aligned.ch_names == epochs.ch_names
    np.testing.assert_array_equal(epochs.get_data(), X)


def test_a_raw_is_one_recording_and_other_channels_stay():
    X, _ = recordings(1)
    raw = make_raw(X, stim=True)
    before = raw.get_data().copy()
    aligned = RecordingAligner().fit_transform(raw)
    np.testing.assert_array_equal(raw.get_data(), before)
    np.testing.assert_array_equal(aligned.get_data("stim"), raw.get_data("stim"))
    windows = np.stack(np.split(aligned.get_data("eeg"), 8, axis=1))
    np.testing.assert_allclose(covariance(windows), np.eye(N_CHANS), atol=1e-9)
    assert aligned.first_samp == raw.first_samp


def test_a_raw_and_its_windows_have_one_covariance():
    X, groups = recordings(1)
    of_raw = RecordingAligner(window_seconds=2).fit(make_raw(X)).references_
    of_windows = RecordingAligner().fit(X, groups=groups).references_
    np.testing.assert_allclose(of_raw["raw"], of_windows[0], rtol=1e-9)


def test_what_is_marked_as_bad_does_not_count():
    X, _ = recordings(1)
    clean = RecordingAligner().fit(make_raw(X[1:]))
    loud = X.copy()
    loud[0] *= 1e3
    raw = make_raw(loud).set_annotations(mne.Annotations(0, 1.9, "BAD_movement"))
    marked = RecordingAligner().fit(raw)
    np.testing.assert_allclose(
        marked.references_["raw"], clean.references_["raw"], rtol=1e-9
    )
    assert marked.n_windows_ == {"raw": 7}


def test_nothing_is_said():
    X, groups = recordings()
    epochs = make_epochs(X, groups)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        RecordingAligner().fit_transform(X, groups=groups)
        RecordingAligner(group_column="subject").fit_transform(epochs)
        RecordingAligner().fit_transform(make_raw(X))


def test_a_clone_has_the_settings_and_no_memory():
    X, groups = recordings()
    aligner = RecordingAligner(floor=1e-3).fit(X, groups=groups)
    fresh = clone(aligner)
    assert fresh.get_params() == aligner.get_params()
    with pytest.raises(NotFittedError):
        fresh.transform(X, groups=groups)


X, GROUPS = recordings(1, 2, 16)
REFUSED = {
    "array without groups": (X, {}, {}, "nobody says whose"),
    "epochs without groups": (make_epochs(X, GROUPS), {}, {}, "names no column"),
    "unknown column": (
        make_epochs(X, GROUPS),
        {"group_column": "session"},
        {},
        "'session' names no column",
    ),
    "raw with groups": (make_raw(X), {}, {"groups": [0, 0]}, "one recording"),
    "too few groups": (X, {}, {"groups": [0]}, "inconsistent numbers"),
    "gaps in groups": (X, {}, {"groups": [0, np.nan]}, "missing for 1 windows"),
    "groups of two dimensions": (X, {}, {"groups": [[0], [1]]}, "one name a window"),
    "one window": (X[0], {}, {"groups": GROUPS}, "shape"),
    "NaN": (X * np.nan, {}, {"groups": GROUPS}, "NaN"),
    "silence": (X * 0, {}, {"groups": GROUPS}, "does not move"),
    "floor": (X, {"floor": 0.0}, {"groups": GROUPS}, "floor"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refusals_say_what_to_pass(case):
    windows, settings, passed, words = REFUSED[case]
    with pytest.raises(ValueError, match=words):
        RecordingAligner(**settings).fit(windows, **passed)


def test_text_is_no_recording():
    with pytest.raises(TypeError, match="is a str"):
        RecordingAligner().fit("S001R04.edf", groups=[0])


def test_strange_recordings_and_channels_are_refused():
    windows, groups = recordings(2)
    aligner = RecordingAligner().fit(windows, groups=groups)
    with pytest.raises(ValueError, match=r"not fitted on \[7\]"):
        aligner.transform(windows[:1], groups=[7])
    with pytest.raises(ValueError, match="4 channels"):
        aligner.transform(windows[:1, :4], groups=[0])


def test_pyriemann_is_not_needed(monkeypatch):
    monkeypatch.setitem(sys.modules, "pyriemann", None)
    RecordingAligner().fit_transform(X, groups=GROUPS)
