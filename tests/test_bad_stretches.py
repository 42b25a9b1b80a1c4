"""What annotations call bad counts nowhere: it changes nothing outside.

Each test fills the same stretches with silence, with a burst and with NaN, and wants
the same numbers everywhere else.
"""

import mne
import numpy as np
import pytest
import torch

from braindecode_samba import (
    SAMBA,
    RecordingAligner,
    SAMBAFeatures,
    chs_info_from_names,
)
from braindecode_samba.evaluation.recipes import get_recipe
from braindecode_samba.evaluation.recipes.recipe import cut_recording
from braindecode_samba.pretraining import WindowStore, write_windows
from braindecode_samba.signals.annotated import BadSamples

NAMES = ["C3", "Cz", "C4", "Pz"]
FILLS = {"silence": 0.0, "burst": 1e-2, "NaN": np.nan, "rail": -3.2e-3}
SPANS = [(3.0, 2.0, "BAD_ACQ_SKIP"), (11.0, 4.5, "bad electrode"), (22, 1, "Bad")]


def make_raw(
    fill=None, sfreq=256.0, spans=SPANS, seconds=30, first_samp=0, dated=False
):
    """Noise in volts, with something else in annotated stretches."""
    n = round(seconds * sfreq)
    data = np.random.default_rng(0).standard_normal((4, n)).cumsum(1) * 1e-6
    data -= data.mean(1, keepdims=True)
    if fill is not None:
        for onset, duration, _ in spans:
            start = round(onset * sfreq)
            data[:, start : start + round(duration * sfreq)] = fill
    info = mne.create_info(NAMES, sfreq, "eeg")
    raw = mne.io.RawArray(data, info, first_samp=first_samp, verbose="error")
    raw.set_montage("standard_1020")
    if dated:
        raw.set_meas_date(1_000_000)
    onsets, durations, descriptions = zip(*spans, strict=True)
    begin = first_samp / sfreq if dated else 0.0
    raw.set_annotations(
        mne.Annotations(
            np.add(onsets, begin),
            durations,
            descriptions,
            orig_time=raw.info["meas_date"],
        )
    )
    return raw


def expected(n, sfreq, spans=SPANS):
    """Tell which samples lie in the stretches."""
    bad = np.zeros(n, bool)
    for onset, duration, _ in spans:
        start = round(onset * sfreq)
        bad[start : start + round(duration * sfreq)] = True
    return bad


@pytest.mark.parametrize("first_samp", [0, 777])
@pytest.mark.parametrize("dated", [False, True])
def test_samples_are_found(first_samp, dated):
    raw = make_raw(first_samp=first_samp, dated=dated)
    bad = BadSamples(raw).read(0, raw.n_times)
    wanted = expected(raw.n_times, 256)
    # ends of annotations are counted in or not, as MNE has it
    assert (bad != wanted).sum() <= len(SPANS)
    parts = [
        BadSamples(raw).read(i, min(i + 999, len(bad))) for i in range(0, len(bad), 999)
    ]
    np.testing.assert_array_equal(np.concatenate(parts), bad)


@pytest.mark.parametrize("text", ["BAD", "bad_EOG", "Bad boundary", "BADCHAN"])
def test_any_case_counts(text):
    assert BadSamples(make_raw(spans=[(1, 1, text)])).read(0, 3000).any()


@pytest.mark.parametrize("text", ["good", "not bad", "EDGE", "T1", ""])
def test_other_annotations_do_not(text):
    marks = BadSamples(make_raw(spans=[(1, 1, text)]))
    assert not marks.any
    assert not marks.read(0, 3000).any()


def test_what_is_bad_in_one_channel_is_bad():
    raw = make_raw(spans=[(1, 1, "x")])
    raw.set_annotations(mne.Annotations([3], [2], ["BAD"], ch_names=[["C3"]]))
    bad = BadSamples(raw).read(0, raw.n_times)
    np.testing.assert_array_equal(bad, expected(raw.n_times, 256, [(3, 2, "")]))


@pytest.mark.parametrize("dated", [False, True])
def test_a_seam_of_two_recordings_is_bad(dated):
    parts = [make_raw(seconds=10, spans=[(1, 1, "x")], dated=dated) for _ in range(2)]
    raw = mne.concatenate_raws(parts, verbose="error")
    rows = features(layer="pool3", pooling="mean").transform_recording(
        raw, window_seconds=1
    )
    # MNE's Epochs are bad there too
    assert np.flatnonzero(rows.mask.any(1)).tolist() == [10]
    epochs = mne.make_fixed_length_epochs(raw, 0.75, preload=True, verbose="error")
    assert len(epochs) == 25


EDGES = {
    "at the start": ([(0, 1, "BAD")], [0]),
    "over the end": ([(29.5, 5, "BAD")], [29]),
    "overlapping": ([(3, 4, "BAD"), (5, 3, "bad")], [3, 4, 5, 6, 7]),
    "within a sample": ([(3.001, 1e-4, "BAD")], [3]),
}


@pytest.mark.parametrize("case", EDGES)
@pytest.mark.parametrize("dated", [False, True])
def test_edges_of_a_recording(case, dated):
    spans, wanted = EDGES[case]
    raw = make_raw(spans=spans, dated=dated, first_samp=1000)
    rows = features(layer="pool3", pooling="mean").transform_recording(
        raw, window_seconds=1
    )
    assert np.flatnonzero(rows.mask.any(1)).tolist() == wanted


def features(**params):
    torch.manual_seed(0)
    own = {"model_params": {"d_state": 4, "expand": 2}, "checkpoint": None}
    kind = SAMBAFeatures(sfreq=128, ch_names=NAMES, random_state=0, **own, **params)
    return kind.fit(np.random.default_rng(0).standard_normal((2, 4, 256)))


@pytest.mark.parametrize("sfreq", [128.0, 256.0, 250.0])
@pytest.mark.parametrize("layer", ["spatial", "encoder1", "pool3", "mediator"])
def test_good_windows_do_not_know_what_lies_in_bad_ones(layer, sfreq):
    found = {}
    fitted = features(layer=layer, pooling="mean")
    for name, fill in FILLS.items():
        raw = make_raw(fill, sfreq)
        found[name] = fitted.transform_recording(raw, window_seconds=1, bad="nan")
    first = found["silence"]
    bad = np.isnan(first).any(1)
    wanted = expected(30 * 128, 128).reshape(30, 128).any(1)
    np.testing.assert_array_equal(bad, wanted)
    np.testing.assert_array_equal(np.isnan(first).all(1), bad)
    for other in found.values():
        np.testing.assert_array_equal(other, first)


def test_marked_rows_are_masked_and_used_ones_not():
    fitted = features(layer="pool3", pooling="mean")
    raw = make_raw(1e-4)
    marked = fitted.transform_recording(raw, window_seconds=1)
    assert isinstance(marked, np.ma.MaskedArray)
    nan = fitted.transform_recording(raw, window_seconds=1, bad="nan")
    np.testing.assert_array_equal(marked.mask, np.isnan(nan))
    np.testing.assert_array_equal(marked.filled(np.nan), nan)
    assert np.isfinite(np.asarray(marked)).all()
    used = fitted.transform_recording(raw, window_seconds=1, bad="use")
    bare = raw.copy().set_annotations(None)
    plain = fitted.transform_recording(bare, window_seconds=1)
    np.testing.assert_array_equal(used, plain)
    assert not np.ma.getmaskarray(plain).any()
    assert not np.allclose(used[~marked.mask], marked.compressed(), rtol=0.01)


def test_one_row_for_all_is_of_what_is_good():
    fitted = features(layer="pool3", pooling="statistics")
    rows = [fitted.transform_recording(make_raw(fill)) for fill in FILLS.values()]
    for row in rows:
        np.testing.assert_array_equal(row, rows[0])
        assert not np.ma.getmaskarray(row).any()


def test_signals_of_a_layer_are_masked():
    torch.manual_seed(0)
    chs_info = chs_info_from_names(NAMES)
    model = SAMBA(n_outputs=2, chs_info=chs_info, d_state=4, expand=2).eval()
    signals = model.encode_recording(make_raw(1e-3), "pool3")
    assert signals.shape[1] == 30 * 16
    wanted = expected(30 * 128, 128).reshape(-1, 8).any(1)
    np.testing.assert_array_equal(signals.mask.all(0), wanted)
    np.testing.assert_array_equal(signals.mask.any(0), wanted)
    nan = model.encode_recording(make_raw(0.0), "pool3", bad="nan")
    np.testing.assert_array_equal(signals.filled(np.nan), nan)


@pytest.mark.parametrize("bad", ["drop", None, 3])
def test_other_choices_are_refused(bad):
    with pytest.raises(ValueError, match="bad=.*'mark', 'nan', 'use'"):
        features(layer="pool3").transform_recording(make_raw(), bad=bad)


def test_nan_outside_and_nothing_but_bad_are_refused():
    fitted = features(layer="pool3")
    raw = make_raw()
    raw._data[1, 5] = np.nan
    with pytest.raises(ValueError, match="NaN.*channel 1 at sample 5"):
        fitted.transform_recording(raw)
    with pytest.raises(ValueError, match="whole recording as bad: pass bad='use'"):
        fitted.transform_recording(make_raw(spans=[(0, 40, "BAD")]))


def test_the_aligner_measures_what_is_good():
    found = []
    for fill in FILLS.values():
        raw = make_raw(fill)
        aligned = RecordingAligner(window_seconds=0.5).fit_transform(raw)
        found.append(aligned.get_data()[:, ~BadSamples(raw).read(0, raw.n_times)])
    for other in found:
        np.testing.assert_array_equal(other, found[0])


def test_the_aligner_says_what_is_wrong():
    with pytest.raises(ValueError, match="bad throughout"):
        RecordingAligner().fit(make_raw(spans=[(0, 40, "BAD")]))


@pytest.mark.parametrize("reject", [None, 30.0])
def test_stores_are_scaled_by_what_is_good(tmp_path, reject):
    stores = {}
    for name, fill in FILLS.items():
        # without a filter, whose ringing ends some samples outside
        store = write_windows(
            [make_raw(fill)],
            tmp_path / name,
            subjects=["a"],
            l_freq=None,
            h_freq=None,
            sfreq=256,
            reject=reject,
        )
        stores[name] = store
    scales = [store.recordings[0].scale for store in stores.values()]
    assert scales == pytest.approx([scales[0]] * len(scales), rel=1e-6)
    sizes = {len(store) for store in stores.values()}
    assert len(sizes) == 1
    assert sizes != {0}
    first = stores["silence"]
    assert isinstance(first, WindowStore)
    for store in stores.values():
        for row in range(len(store)):
            np.testing.assert_allclose(store[row]["x"], first[row]["x"], atol=1e-3)


def test_half_a_recording_of_zeros_changes_no_scale(tmp_path):
    spans = [(0.0, 32.0, "BAD_ACQ_SKIP")]
    whole = make_raw(seconds=64)
    skipped = make_raw(0.0, seconds=64, spans=spans)
    kept = whole.copy().crop(32, None)
    found = [
        write_windows([raw], tmp_path / name, subjects=["a"], reject=8.0)
        for name, raw in {"skipped": skipped, "kept": kept}.items()
    ]
    assert len(found[0]) == pytest.approx(len(found[1]), abs=1)
    scales = [store.recordings[0].scale for store in found]
    assert scales[0] == pytest.approx(scales[1], rel=0.05)


def test_recipes_leave_bad_windows_out():
    recipe = get_recipe("stew")
    n = len(recipe.ch_names)
    info = mne.create_info(list(recipe.ch_names), 128.0, "eeg")
    data = np.random.default_rng(0).standard_normal((n, 128 * 60)) * 1e-5
    raw = mne.io.RawArray(data, info, verbose="error")
    whole = len(cut_recording(recipe, raw.copy(), "it"))
    raw.set_annotations(mne.Annotations([10], [20], ["BAD"]))
    fewer = len(cut_recording(recipe, raw.copy(), "it"))
    assert 0 < fewer < whole
    raw.set_annotations(mne.Annotations([0], [60], ["BAD"]))
    with pytest.raises(ValueError, match="annotations call all of it bad"):
        cut_recording(recipe, raw, "it")


@pytest.mark.parametrize("layer", ["pool3", "mediator"])
def test_a_layer_of_which_nothing_is_left_is_refused(layer):
    fitted = features(layer=layer, pooling="mean")
    raw = make_raw(sfreq=128.0, seconds=0.125, spans=[(0.02, 0.08, "BAD")])
    with pytest.raises(ValueError, match=f"no whole step of the layer '{layer}'"):
        fitted.transform_recording(raw)
    assert np.isfinite(fitted.transform_recording(raw, bad="use")).all()
