"""Promises of `signals.montages`: names, frames, precedence, tables."""

import copy
import json
import os
import re
import runpy
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import mne
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import load_file
from scipy.spatial.transform import Rotation

from braindecode_samba import (
    chs_info_from_names,
    load_montage,
    positions_from_chs_info,
    positions_from_names,
)
from braindecode_samba.signals import (
    Montage,
    available_montages,
    check_positions,
    colin27_head_transform,
    montage_from_raw,
    montages,
    target_names,
    target_positions,
    to_colin27_mri,
    to_head,
    write_montage,
)

FOLDER = Path(__file__).parent.parent / "montages"
GOLDEN = Path(__file__).parent / "golden"
COUNTS = {
    "bci_competition_p300_64": 64,
    "bnci2014_001_22": 22,
    "clinical_19": 19,
    "emotiv_epoc_14": 14,
    "muse_4": 4,
    "physionetmi_64": 64,
    "targets_94": 94,
    "tuh_bipolar_16": 16,
}
EMOTIV = "AF3 F7 F3 FC5 T7 P7 O1 O2 P8 T8 FC6 F4 F8 AF4".split()
CLINICAL = "Fp1 Fp2 F7 F3 Fz F4 F8 T3 C3 Cz C4 T4 T5 P3 Pz P4 T6 O1 O2".split()
HEADER = "name\tx\ty\tz\tframe\n"


def info_with_montage(names, montage="colin27_1005"):
    info = mne.create_info(list(names), 100, "eeg")
    return info.set_montage(montage)


def positions_in(info):
    return np.array([channel["loc"][:3] for channel in info["chs"]])


def channels(names, positions):
    return [
        {"ch_name": name, "kind": "eeg", "loc": position}
        for name, position in zip(names, positions, strict=True)
    ]


# names


def test_names_lie_where_set_montage_puts_them():
    names = ["Fp1", "Cz", "O2", "AFp3h", "TPP10h", "M1", "A2", "Iz"]
    expected = positions_in(info_with_montage(names))
    np.testing.assert_allclose(positions_from_names(names), expected, atol=1e-12)


@pytest.mark.parametrize(
    ("written", "site"),
    [
        ("Fc5.", "FC5"),
        ("Cz..", "Cz"),
        ("T10.", "T10"),
        ("FP1", "Fp1"),
        ("CZ", "Cz"),
        ("afp3H", "AFp3h"),
        ("EEG Fp1", "Fp1"),
        ("EEG Fp1-REF", "Fp1"),
        ("EEG FP1-Ref", "Fp1"),
        ("EEG T3-LE", "T7"),
        ("EEGFz", "Fz"),
        ("EEG-Fz", "Fz"),
        ("POL O1", "O1"),
        ("  EEG  Fz - AVG ", "Fz"),
        ("Pz-CAR", "Pz"),
        ("C3-A1A2", "C3"),
        ("C3-M1+M2", "C3"),
        ("C3 REF", "C3"),
        ("Cz-0", "Cz"),
        ("Cz-1", "Cz"),
    ],
)
def test_names_as_recordings_write_them_are_understood(written, site):
    np.testing.assert_array_equal(
        positions_from_names([written]), positions_from_names([site])
    )


def mixed_case(text):
    flags = st.lists(st.booleans(), min_size=len(text), max_size=len(text))
    return flags.map(
        lambda upper: "".join(
            letter.upper() if up else letter.lower()
            for letter, up in zip(text, upper, strict=True)
        )
    )


@st.composite
def decorated(draw, core):
    """Surround a name with what says nothing about its place."""
    space = st.sampled_from(["", " ", "  "])
    return (
        draw(space)
        + draw(st.sampled_from(["", "EEG ", "eeg-", "EEG:", "Eeg_", "EEG", "POL "]))
        + draw(mixed_case(core))
        + draw(st.sampled_from(["", ".", "..", ". "]))
        + draw(st.sampled_from(["", "-REF", " - Ref", "-LE", "-avg", "_AR", "-M1M2"]))
        + draw(space)
    )


SITES = st.sampled_from(montages.load_montage("colin27_1005").names)


@given(data=st.data(), site=SITES)
def test_decoration_never_moves_a_site(data, site):
    written = data.draw(decorated(site))
    np.testing.assert_array_equal(
        positions_from_names([written]), positions_from_names([site])
    )


@given(
    data=st.data(),
    anode=SITES,
    cathode=SITES,
    dash=st.sampled_from(["-", " - ", "\u2013"]),
)
def test_pairs_lie_at_midpoints(data, anode, cathode, dash):
    ears = {"A1", "A2", "M1", "M2"}
    written = data.draw(decorated(f"{anode}{dash}{cathode}"))
    (found,) = positions_from_names([written], unknown="nan")
    scalp = [site for site in (anode, cathode) if site not in ears]
    if scalp:
        expected = positions_from_names(scalp).mean(axis=0)
        np.testing.assert_allclose(found, expected, atol=1e-15)
    else:
        assert np.isnan(found).all()


def test_numbered_pairs_of_edf_files_are_pairs():
    first, second, plain = positions_from_names(["T8-P8-0", "T8-P8-1", "T8-P8"])
    np.testing.assert_array_equal(first, plain)
    np.testing.assert_array_equal(second, plain)


@pytest.mark.parametrize("written", ["EEG F3-A2", "F3-M2", "F3-A1", "A2-F3", "F3:M1"])
def test_an_ear_beside_a_site_is_its_reference(written):
    np.testing.assert_array_equal(
        positions_from_names([written]), positions_from_names(["F3"])
    )


def test_ears_alone_lie_at_the_ears():
    expected = positions_in(info_with_montage(["A1", "M2"]))
    found = positions_from_names(["EEG A1-REF", "M2"])
    np.testing.assert_allclose(found, expected, atol=1e-12)


@pytest.mark.parametrize("written", ["EEG A2-A1", "M1-M2", "A1-M2", "A1-A1"])
def test_between_two_ears_there_is_no_site(written):
    with pytest.raises(ValueError, match=written):
        positions_from_names([written])


@pytest.mark.parametrize(
    ("old", "new"),
    [("T3", "T7"), ("T4", "T8"), ("T5", "P7"), ("T6", "P8"), ("T1", "FT9")]
    + [("T2", "FT10"), ("O9", "I1"), ("O10", "I2")],
)
def test_old_names_lie_at_the_new_ones(old, new):
    np.testing.assert_array_equal(
        positions_from_names([old]), positions_from_names([new])
    )


UNKNOWN = ["1", "EMG", "STI 014", "ECG ECG", "EEG 001", "E12", "CB1", "Fp1-F7-T3"]
UNKNOWN += ["F3-4", "C3-XYZ", "REF", "EEG REF", "", "-", "Fp1-", "not Cz", "CzEEG"]


def test_the_error_lists_unknown_names_and_no_other():
    with pytest.raises(ValueError, match="no position is known for 17 of 19") as error:
        positions_from_names(["Cz", *UNKNOWN, "T3-LE"])
    # so many that the way out stays in sight
    assert all(repr(name) in str(error.value) for name in UNKNOWN[:10])
    assert ", ..." in str(error.value)
    for name in UNKNOWN:
        with pytest.raises(ValueError, match=re.escape(f"1 of 2 channels ({name!r})")):
            positions_from_names(["Cz", name])
    assert "'Cz'" not in str(error.value)
    for way_out in ("'loc' in chs_info", "pos", "load_montage"):
        assert way_out in str(error.value)


def test_unknown_names_can_give_nan_rows():
    found = positions_from_names(["Cz", "EMG"], unknown="nan")
    assert np.isfinite(found[0]).all()
    assert np.isnan(found[1]).all()
    with pytest.raises(ValueError, match="'drop'"):
        positions_from_names(["Cz"], unknown="drop")


@given(st.text(max_size=30))
def test_any_text_is_a_place_or_nan(text):
    (found,) = positions_from_names([text], unknown="nan")
    assert np.isnan(found).all() or np.linalg.norm(found) < 0.2


@pytest.mark.parametrize("names", ["Cz", b"Cz", [1, 2], ["Cz", None], {"Cz": 1}])
def test_names_that_are_no_list_of_text_are_refused(names):
    with pytest.raises(TypeError, match="str"):
        positions_from_names(names)


def test_no_names_are_refused():
    with pytest.raises(ValueError, match="no channels"):
        positions_from_names([])


def test_numpy_names_are_names():
    found = positions_from_names(np.array(["Cz", "Pz"]))
    np.testing.assert_array_equal(found, positions_from_names(["Cz", "Pz"]))


# frames and targets


def test_targets_are_colin27_1020_after_set_montage():
    names = mne.channels.make_standard_montage("colin27_1020").ch_names
    assert target_names() == tuple(names)
    expected = positions_in(info_with_montage(names, "colin27_1020"))
    assert target_positions().dtype == np.float64
    np.testing.assert_allclose(target_positions(), expected, atol=1e-12)
    found = positions_from_names(target_names())
    np.testing.assert_allclose(found, expected, atol=1e-12)


def test_published_positions_come_back_from_the_head_frame():
    golden = load_file(GOLDEN / "emotiv14_T256.safetensors")
    emotiv = to_colin27_mri(positions_from_names(EMOTIV))
    np.testing.assert_allclose(emotiv, golden["positions"], rtol=0, atol=1e-6)
    targets = to_colin27_mri(target_positions())
    np.testing.assert_allclose(targets, golden["target_positions"], rtol=0, atol=1e-6)


def test_published_midpoints_agree_to_their_rounding():
    golden = load_file(GOLDEN / "tuab16_T1003.safetensors")
    midpoints = to_colin27_mri(load_montage("tuh_bipolar_16").positions)
    np.testing.assert_allclose(midpoints, golden["positions"], rtol=0, atol=7e-6)


def test_head_and_template_frames_are_centimetres_apart():
    shift = np.linalg.norm(
        target_positions() - to_colin27_mri(target_positions()), 2, 1
    )
    assert shift.min() > 0.04


@given(
    st.lists(
        st.tuples(*[st.floats(-2, 2, allow_subnormal=False)] * 3),
        min_size=1,
        max_size=5,
    )
)
def test_frame_conversions_undo_each_other(points):
    points = np.array(points)
    np.testing.assert_allclose(to_colin27_mri(to_head(points)), points, atol=1e-12)
    np.testing.assert_allclose(to_head(to_colin27_mri(points)), points, atol=1e-12)


def test_the_transform_is_what_to_head_does():
    transform = colin27_head_transform()
    batch = np.random.default_rng(0).uniform(-0.1, 0.1, (2, 5, 3))
    expected = batch @ transform[:3, :3].T + transform[:3, 3]
    np.testing.assert_allclose(to_head(batch), expected, atol=1e-15)
    with pytest.raises(ValueError, match="x, y, z"):
        to_head(np.zeros((3, 2)))


def test_what_a_user_gets_can_not_corrupt_what_comes_next():
    before = target_positions(), positions_from_names(["Cz"]), load_montage("muse_4")
    before = copy.deepcopy(before)
    target_positions()[:] = 7
    colin27_head_transform()[:] = 7
    positions_from_names(["Cz"])[:] = 7
    chs_info_from_names(["Cz"])[0]["loc"][:] = 7
    load_montage("colin27_1005").positions[:] = 7
    load_montage("muse_4").positions[:] = 7
    np.testing.assert_array_equal(target_positions(), before[0])
    np.testing.assert_array_equal(positions_from_names(["Cz"]), before[1])
    np.testing.assert_array_equal(load_montage("muse_4").positions, before[2].positions)


def test_positions_become_tensors_without_a_warning():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        torch.as_tensor(load_montage("muse_4").positions)
        torch.as_tensor(target_positions())


# which position wins


def test_a_pair_wins_over_the_anode_that_mne_leaves_in_loc():
    raw = mne.io.RawArray(np.zeros((2, 10)), info_with_montage(["Cz", "C3"]))
    pair = mne.set_bipolar_reference(raw, "Cz", "C3")
    anode = positions_in(raw.info)[0]
    np.testing.assert_allclose(positions_in(pair.info)[0], anode)
    found = positions_from_chs_info(pair.info["chs"])
    expected = positions_in(raw.info).mean(axis=0, keepdims=True)
    np.testing.assert_allclose(found, expected, atol=1e-12)


def test_measured_positions_win_over_names():
    info = info_with_montage(["C3", "Cz", "Fp1"], "biosemi64")
    found = positions_from_chs_info(info["chs"])
    np.testing.assert_array_equal(found, positions_in(info))
    assert np.linalg.norm(found - positions_from_names(info.ch_names), axis=1).min() > (
        0.003
    )


def test_a_measured_site_with_an_ear_reference_stays_where_it_was_measured():
    found = positions_from_chs_info(channels(["F3-A2"], [[0.01, 0.02, 0.03]]))
    np.testing.assert_array_equal(found, [[0.01, 0.02, 0.03]])


@pytest.mark.parametrize(
    "loc",
    [
        None,
        np.full(12, np.nan),
        np.zeros(12),
        [0.0, 0.0, 0.0],
        [None, None, None],
        [0.1, np.nan, 0.1],
        [0.1, np.inf, 0.1],
    ],
)
def test_without_a_measured_position_the_name_counts(loc):
    found = positions_from_chs_info([{"ch_name": "EEG Pz-REF", "loc": loc}])
    np.testing.assert_array_equal(found, positions_from_names(["Pz"]))


def test_a_missing_loc_is_no_position():
    found = positions_from_chs_info([{"ch_name": "C1", "kind": "eeg"}])
    np.testing.assert_array_equal(found, positions_from_names(["C1"]))


@pytest.mark.parametrize("kind", [list, tuple, np.array, np.float32])
@pytest.mark.parametrize("length", [3, 12])
def test_loc_may_have_3_or_12_numbers_in_any_container(kind, length):
    loc = np.concatenate([[0.01, 0.02, 0.03], np.full(length - 3, np.nan)])
    found = positions_from_chs_info([{"ch_name": "X", "loc": kind(loc)}])
    np.testing.assert_allclose(found, [[0.01, 0.02, 0.03]], rtol=1e-6)


def test_channels_need_no_name_if_they_have_a_position():
    found = positions_from_chs_info([{"loc": [0.01, 0.02, 0.03]}])
    np.testing.assert_array_equal(found, [[0.01, 0.02, 0.03]])


def test_passed_dicts_stay_as_they_were():
    given_info = chs_info_from_names(["Fp1-F7", "Cz"])
    before = copy.deepcopy(given_info)
    positions_from_chs_info(given_info)
    np.testing.assert_equal(given_info, before)


def test_channels_without_any_position_are_all_listed():
    info = mne.create_info(["Cz", "1", "EMG"], 100, "eeg")
    with pytest.raises(ValueError, match="2 of 3 channels .*'1', 'EMG'"):
        positions_from_chs_info(info["chs"])
    found = positions_from_chs_info(info["chs"], unknown="nan")
    np.testing.assert_array_equal(np.isnan(found).all(axis=1), [False, True, True])


def test_random_positions_in_a_unit_cube_pass():
    # braindecode's own tests of models place electrodes like this
    points = np.random.default_rng(0).uniform(size=(64, 3))
    names = [f"C{number}" for number in range(64)]
    found = positions_from_chs_info(channels(names, points))
    np.testing.assert_array_equal(found, points)


@pytest.mark.parametrize("factor", [100, 1000])
def test_other_units_than_metres_are_refused(factor):
    points = positions_from_names(CLINICAL) * factor
    with pytest.raises(ValueError, match="not metres"):
        positions_from_chs_info(channels(CLINICAL, points))
    with pytest.raises(ValueError, match="not metres"):
        check_positions(points)
    # the names' own metres must not hide millimetres among them
    mixed = channels(CLINICAL, points)
    for channel in mixed[:15]:
        channel["loc"] = None
    with pytest.raises(ValueError, match="not metres"):
        positions_from_chs_info(mixed)


@pytest.mark.parametrize("frame", [1, 5, mne.create_info(1, 1)["chs"][0]["kind"]])
def test_other_frames_than_the_head_are_refused(frame):
    channel = {"ch_name": "Cz", "loc": [0.0, 0.0, 0.1], "coord_frame": frame}
    with pytest.raises(ValueError, match="'Cz'.* frame .* not in MNE's head frame"):
        positions_from_chs_info([channel])


@pytest.mark.parametrize("frame", [None, 0, 4])
def test_head_and_unsaid_frames_are_taken_as_given(frame):
    channel = {"ch_name": "Cz", "loc": [0.0, 0.0, 0.1], "coord_frame": frame}
    np.testing.assert_array_equal(positions_from_chs_info([channel]), [[0, 0, 0.1]])


def test_the_frame_of_an_unused_position_does_not_matter():
    channel = {"ch_name": "Fp1-F7", "loc": [0.0, 0.0, 0.1], "coord_frame": 5}
    np.testing.assert_array_equal(
        positions_from_chs_info([channel]), positions_from_names(["Fp1-F7"])
    )


@pytest.mark.parametrize(
    ("chs_info", "error", "message"),
    [
        (mne.create_info(["Cz"], 100, "eeg"), TypeError, "chs"),
        ("Cz", TypeError, "chs"),
        (None, TypeError, "chs"),
        (["Cz", "Pz"], TypeError, "entry 0"),
        ([], ValueError, "no channels"),
        ([{"ch_name": 3}], TypeError, "name 0 is 3"),
        ([{"ch_name": "Cz", "loc": [0.1, 0.2]}], ValueError, r"'Cz'.*\(2,\)"),
        ([{"ch_name": "Cz", "loc": [[0.1] * 3]}], ValueError, r"'Cz'.*\(1, 3\)"),
        ([{"ch_name": "Cz", "loc": "here"}], ValueError, "'Cz'"),
        ([{"ch_name": "Cz", "loc": [[1], [1, 2]]}], ValueError, "'Cz'"),
        ([{"ch_name": "Cz", "loc": np.ones(3) * 1j}], ValueError, "'Cz'.*complex"),
    ],
)
def test_broken_chs_info_is_refused(chs_info, error, message):
    with pytest.raises(error, match=message):
        positions_from_chs_info(chs_info)


@settings(max_examples=20)
@given(order=st.permutations(range(19)), align=st.booleans())
def test_the_order_of_channels_does_not_matter(order, align):
    info = info_with_montage(
        [name.replace("T3", "T7").replace("T4", "T8") for name in CLINICAL],
        load_mixed_montage(),
    )
    options = {"align": align, "positions": "measured"}
    straight = positions_from_chs_info(info["chs"], **options)
    shuffled = positions_from_chs_info([info["chs"][i] for i in order], **options)
    np.testing.assert_allclose(shuffled, straight[list(order)], atol=1e-9)


def load_mixed_montage():
    """BioSemi's head with two electrodes' labels swapped."""
    places = mne.channels.make_standard_montage("biosemi64").get_positions()["ch_pos"]
    places |= {"T5": places["P7"], "T6": places["P8"]}
    places["C3"], places["O2"] = places["O2"], places["C3"]
    return mne.channels.make_dig_montage(places, coord_frame="head")


# alignment


def moved(points, seed=0, scale=1.2):
    turn = Rotation.random(random_state=seed).as_matrix()
    return scale * points @ turn.T + [0.05, -0.02, 0.1]


@pytest.mark.parametrize("scale", [0.5, 1.2, 9.0])
@pytest.mark.parametrize("seed", range(3))
def test_align_recovers_a_rotated_and_scaled_template(seed, scale):
    points = positions_from_names(CLINICAL)
    moving = channels(CLINICAL, moved(points, seed, scale))
    found = positions_from_chs_info(moving, align=True)
    np.testing.assert_allclose(found, points, atol=1e-9)


def test_align_keeps_four_electrodes_that_all_agree():
    # by least absolute distances alone, TP7 would be left out, 54 mm away
    names = ["FT10", "FC1", "P4", "TP7"]
    info = info_with_montage(names, "spherical_1010")
    found = positions_from_chs_info(info["chs"], align=True)
    distance = np.linalg.norm(found - positions_from_names(names), axis=1)
    assert distance.max() < 0.04


def test_align_carries_electrodes_of_unknown_name_along():
    points = positions_from_names(CLINICAL)
    names = [*CLINICAL[:10], *"123456789"]
    found = positions_from_chs_info(channels(names, moved(points)), align=True)
    np.testing.assert_allclose(found, points, atol=1e-9)


@pytest.mark.parametrize("shift", [1, 4, 7])
def test_align_bears_nine_of_nineteen_labels_mixed_up(shift):
    points = positions_from_names(CLINICAL)
    names = np.array(CLINICAL)
    names[:18:2] = np.roll(names[:18:2], shift)
    mixed_up = channels(names.tolist(), moved(points))
    found = positions_from_chs_info(mixed_up, align=True)
    np.testing.assert_allclose(found, points, atol=1e-6)


def test_align_brings_a_biosemi_cap_within_millimetres():
    names = mne.channels.make_standard_montage("biosemi64").ch_names
    info = info_with_montage(names, "biosemi64")
    template = positions_from_names(names)
    aligned = positions_from_chs_info(info["chs"], align=True)
    before = np.linalg.norm(positions_in(info) - template, axis=1)
    after = np.linalg.norm(aligned - template, axis=1)
    assert np.median(after) < 0.008 < np.median(before)
    # a similarity: all distances shrink or grow by one factor
    ratio = np.linalg.norm(np.diff(aligned, axis=0), axis=1) / np.linalg.norm(
        np.diff(positions_in(info), axis=0), axis=1
    )
    assert np.ptp(ratio) < 1e-9


def test_align_leaves_channels_placed_by_name_where_they_are():
    points = positions_from_names(CLINICAL)
    mixed = [
        *channels(CLINICAL, moved(points)),
        {"ch_name": "Oz"},
        {"ch_name": "Fp1-F7", "loc": moved(points)[0]},
    ]
    found = positions_from_chs_info(mixed, align=True)
    np.testing.assert_array_equal(found[19:], positions_from_names(["Oz", "Fp1-F7"]))
    by_name = [{"ch_name": name} for name in CLINICAL]
    np.testing.assert_array_equal(positions_from_chs_info(by_name, align=True), points)


@pytest.mark.parametrize("names", [["Cz", "C3", "O1"], ["Cz", "C3", "O1", "1", "2"]])
def test_align_needs_four_known_electrodes(names):
    points = np.random.default_rng(0).normal(size=(len(names), 3)) / 10
    with pytest.raises(ValueError, match="at least 4 .* found 3"):
        positions_from_chs_info(channels(names, points), align=True)


def test_align_refuses_names_of_another_system():
    # A1, A2, C1 ... C6 of BioSemi's radial names are other places than in 10-20
    names = mne.channels.make_standard_montage("biosemi128").ch_names
    info = info_with_montage(names, "biosemi128")
    with pytest.raises(ValueError, match="at least 4"):
        positions_from_chs_info(info["chs"], align=True)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_align_never_reflects(axis):
    mirrored = positions_from_names(CLINICAL)
    mirrored[:, axis] *= -1
    with pytest.raises(ValueError, match="mirror image"):
        positions_from_chs_info(channels(CLINICAL, mirrored), align=True)


def test_align_takes_electrodes_of_one_plane_but_not_of_one_line():
    midline = ["Fz", "Cz", "Pz", "Oz"]
    points = positions_from_names(midline)
    found = positions_from_chs_info(channels(midline, moved(points)), align=True)
    np.testing.assert_allclose(found, points, atol=1e-9)
    for flat in (np.arange(12.0).reshape(4, 3) / 20, np.full((4, 3), 0.1)):
        with pytest.raises(ValueError, match="one line"):
            positions_from_chs_info(channels(midline, flat), align=True)


# descriptions for braindecode


def test_descriptions_from_names_carry_their_positions():
    names = ["Fp1-F7", "EEG Cz-REF", "Fc5."]
    described = chs_info_from_names(names)
    assert [channel["ch_name"] for channel in described] == names
    assert all(channel["kind"] == "eeg" for channel in described)
    loc = np.array([channel["loc"] for channel in described])
    np.testing.assert_array_equal(loc[:, :3], positions_from_names(names))
    np.testing.assert_array_equal(loc[:, 3:], np.zeros((3, 9)))
    with pytest.raises(ValueError, match="'EMG'"):
        chs_info_from_names(["Cz", "EMG"])


@pytest.mark.parametrize("make", [chs_info_from_names, None])
def test_descriptions_survive_a_braindecode_model_and_strict_json(make):
    from braindecode.models import ShallowFBCSPNet

    described = make(CLINICAL) if make else load_montage("clinical_19").chs_info()
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message=".*chs_info")
        model = ShallowFBCSPNet(n_outputs=2, chs_info=described, n_times=256)
    text = json.dumps(model.get_config()["chs_info"], allow_nan=False)
    found = positions_from_chs_info(json.loads(text))
    np.testing.assert_allclose(found, positions_from_names(CLINICAL), atol=1e-9)


# check_positions


@pytest.mark.filterwarnings("error")
def test_good_positions_come_back_as_a_float64_copy():
    points = np.random.default_rng(0).uniform(size=(5, 3)).astype(np.float32)
    found = check_positions(points)
    assert found.dtype == np.float64
    np.testing.assert_array_equal(found, points)
    double = found.copy()
    assert not np.shares_memory(check_positions(double), double)
    np.testing.assert_array_equal(check_positions(torch.tensor(points)), points)


@pytest.mark.parametrize(
    ("points", "message"),
    [
        (np.zeros((0, 3)), r"\(0, 3\)"),
        (np.zeros(3), r"\(3,\)"),
        (np.zeros((4, 2)), r"\(4, 2\)"),
        (np.zeros((2, 4, 3)), r"\(2, 4, 3\)"),
        ([[0, 0, 0.1], [0, np.nan, 0], [np.inf, 0, 0]], r"\[1, 2\].*NaN or infinite"),
        ([[0, 0, 0.1], [0, 0]], "rectangular"),
        ([["x", "y", "z"]], "rectangular"),
        (np.ones((2, 3)) * 1j, "complex"),
        (np.full((2, 3), 1e300), "not metres"),
        (np.full((2, 3), 85.0), "not metres"),
    ],
)
@pytest.mark.filterwarnings("error")
def test_positions_that_can_not_be_electrodes_are_refused(points, message):
    with pytest.raises(ValueError, match=message):
        check_positions(points)


# tables and MNE's montages


def test_the_shipped_tables_are_these():
    assert {path.stem for path in FOLDER.glob("*.tsv")} == set(COUNTS)
    assert available_montages()[: len(COUNTS)] == tuple(sorted(COUNTS))


@pytest.mark.parametrize("name", COUNTS)
def test_shipped_tables_hold_the_places_of_their_names(name):
    montage = load_montage(name)
    assert montage.name == name
    assert montage.frame == "head"
    assert len(montage.names) == COUNTS[name]
    assert "BSD-3-Clause" in montage.source
    expected = positions_from_names(montage.names)
    # versions of MNE differ by 9e-9 m in the head transform
    np.testing.assert_allclose(montage.positions, expected, rtol=0, atol=2e-8)


def test_the_script_makes_the_shipped_tables(tmp_path):
    script = runpy.run_path(str(FOLDER / "make_tables.py"))
    script["make_tables"](tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {f"{n}.tsv" for n in COUNTS}
    for name in COUNTS:
        made, shipped = load_montage(tmp_path / f"{name}.tsv"), load_montage(name)
        assert (made.names, made.source) == (shipped.names, shipped.source)
        np.testing.assert_allclose(made.positions, shipped.positions, atol=2e-8)


def test_tables_keep_the_order_of_the_recordings():
    assert load_montage("emotiv_epoc_14").names == tuple(EMOTIV)
    assert load_montage("clinical_19").names == tuple(CLINICAL)
    assert load_montage("muse_4").names == ("TP9", "AF7", "AF8", "TP10")
    assert load_montage("targets_94").names == target_names()
    pairs = load_montage("tuh_bipolar_16").names
    assert (pairs[0], pairs[4], pairs[15]) == ("Fp1-F7", "Fp2-F8", "P4-O2")
    both = load_montage("physionetmi_64"), load_montage("bci_competition_p300_64")
    assert both[0].names == both[1].names


def test_bnci_table_names_the_channels_of_moabb():
    bnci = pytest.importorskip("moabb.datasets").BNCI2014_001()
    named = bnci.metadata.acquisition.sensors
    assert set(load_montage("bnci2014_001_22").names) <= set(named)


def test_real_recordings_have_the_table_s_channels():
    folder = os.environ.get("BRAINDECODE_SAMBA_DATA")
    if not folder or not (Path(folder) / "eegmmidb/S001/S001R01.edf").exists():
        pytest.skip("BRAINDECODE_SAMBA_DATA names no folder with eegmmidb")
    folder = Path(folder)
    raw = mne.io.read_raw_edf(folder / "eegmmidb/S001/S001R01.edf", verbose="error")
    found = positions_from_chs_info(raw.info["chs"])
    montage = load_montage("physionetmi_64")
    np.testing.assert_allclose(found, montage.positions, atol=2e-8)
    mne.datasets.eegbci.standardize(raw)
    assert tuple(raw.ch_names) == montage.names
    edf = sorted(folder.glob("eegmat/*.edf"))
    if edf:
        raw = mne.io.read_raw_edf(edf[0], verbose="error")
        with pytest.raises(ValueError, match="2 of 21 .*'EEG A2-A1', 'ECG ECG'"):
            positions_from_chs_info(raw.info["chs"])
        found = positions_from_chs_info(raw.info["chs"][:19])
        np.testing.assert_array_equal(found, positions_from_names(raw.ch_names[:19]))


def test_eegbci_names_fit_the_table():
    montage = load_montage("physionetmi_64")
    names = [f"{name.capitalize():.<4}" for name in montage.names]
    info = mne.create_info(names, 160, "eeg")
    raw = mne.io.RawArray(np.zeros((64, 10)), info, verbose="error")
    found = positions_from_names(names)
    np.testing.assert_allclose(found, montage.positions, atol=2e-8)
    mne.datasets.eegbci.standardize(raw)
    assert tuple(raw.ch_names) == montage.names


@pytest.mark.parametrize(
    "pair", [("standard_1005", "colin27_1005"), ("standard_1020", "colin27_1020")]
)
def test_old_and_new_template_names_are_one_montage(pair):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        old, new = (load_montage(name) for name in pair)
    assert old.names == new.names
    np.testing.assert_array_equal(old.positions, new.positions)
    np.testing.assert_array_equal(new.positions, positions_from_names(new.names))


def test_every_montage_of_mne_loads_in_the_head_frame_without_warning():
    names = mne.channels.get_builtin_montages()
    with warnings.catch_warnings(), ThreadPoolExecutor(4) as pool:
        warnings.simplefilter("error")
        loaded = list(pool.map(load_montage, names))
    for name, montage in zip(names, loaded, strict=True):
        own = mne.channels.make_standard_montage(name)
        assert montage.names == tuple(own.ch_names)
        head = mne.channels.montage.transform_to_head(own).get_positions()["ch_pos"]
        expected = np.array(list(head.values()))
        # a tenth of a micrometre: releases of MNE round otherwise
        np.testing.assert_allclose(montage.positions, expected, atol=1e-7)


# tables of one's own


def write(path, text):
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def test_a_table_in_the_template_frame_is_taken_to_the_head(tmp_path):
    raw = to_colin27_mri(positions_from_names(EMOTIV))
    path = tmp_path / "own.tsv"
    write_montage(path, Montage("own", EMOTIV, raw, frame="colin27_mri"))
    loaded = load_montage(str(path))
    assert (loaded.name, loaded.frame) == ("own", "head")
    expected = positions_from_names(EMOTIV)
    np.testing.assert_allclose(loaded.positions, expected, atol=1e-12)


def test_descriptions_of_a_template_montage_are_in_the_head_frame():
    raw = to_colin27_mri(positions_from_names(EMOTIV))
    described = Montage("own", EMOTIV, raw, frame="colin27_mri").chs_info()
    found = positions_from_chs_info(described)
    np.testing.assert_allclose(found, positions_from_names(EMOTIV), atol=1e-12)


def test_spreadsheet_habits_are_understood(tmp_path):
    text = "\ufeffFrame\tNotes\tZ\tY\tX\tName\r\nhead\tnew\t.3\t.2\t.1\t1\r\n\r\n"
    montage = load_montage(write(tmp_path / "own.tsv", text))
    assert montage.names == ("1",)
    np.testing.assert_array_equal(montage.positions, [[0.1, 0.2, 0.3]])


TEXT = st.text(
    st.characters(exclude_categories=("Cs", "Cc", "Zl", "Zp")), min_size=1, max_size=8
)
METRES = st.floats(-0.5, 0.5)


@settings(max_examples=50)
@given(
    places=st.dictionaries(
        TEXT.filter(lambda name: name.isprintable() and name == name.strip()),
        st.tuples(METRES, METRES, METRES),
        min_size=1,
        max_size=5,
    ),
    source=st.lists(TEXT.map(str.strip), max_size=3),
)
def test_written_tables_are_read_back_exactly(tmp_path_factory, places, source):
    path = tmp_path_factory.mktemp("tables") / "own.tsv"
    positions = np.array(list(places.values()))
    lines = "\n".join(source)
    write_montage(path, Montage("own", tuple(places), positions, source=lines))
    loaded = load_montage(path)
    assert loaded.names == tuple(places)
    np.testing.assert_array_equal(loaded.positions, positions)
    assert loaded.source.split() == lines.split()


def test_writing_replaces_a_file_and_never_rewrites_it(tmp_path):
    path = write(tmp_path / "own.tsv", "old")
    os.link(path, tmp_path / "reader.tsv")
    write_montage(path, Montage("own", ("Cz",), [[0, 0, 0.1]]))
    assert (tmp_path / "reader.tsv").read_text() == "old"
    assert load_montage(path).names == ("Cz",)


def test_failed_writing_leaves_the_old_file_and_nothing_else(tmp_path):
    path = write(tmp_path / "own.tsv", "old")
    unwritable = Montage("own", ("Cz",), [[0, 0, 0.1]], source="\ud800")
    with pytest.raises(UnicodeEncodeError):
        write_montage(path, unwritable)
    (tmp_path / "folder").mkdir()
    with pytest.raises(OSError, match="folder"):
        write_montage(tmp_path / "folder", Montage("own", ("Cz",), [[0, 0, 0.1]]))
    with pytest.raises(FileNotFoundError):
        write_montage(tmp_path / "none" / "x", Montage("own", ("Cz",), [[0, 0, 0.1]]))
    assert path.read_text() == "old"
    assert sorted(item.name for item in tmp_path.iterdir()) == ["folder", "own.tsv"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"", "no electrodes"),
        (b"\xff\xfe\x00", "not UTF-8"),
        ("# only a comment", "no electrodes"),
        (HEADER, "no electrodes"),
        ("name\tx\ty\tz\nCz\t0\t0\t.1", "line 1: 0 columns .*'frame'"),
        ("name,x,y,z,frame\nCz,0,0,.1,head", "line 1: .*separated by tabs"),
        ("name\tx\tx\ty\tz\tframe\nCz\t0\t0\t0\t.1\thead", "line 1: 2 columns .*'x'"),
        (HEADER + "Cz\t0\t0\t.1", "line 2: 4 fields"),
        ("# c\n" + HEADER + "\nCz\t0\t0\tup\thead", "line 4: .*three numbers"),
        (HEADER + "Cz\t0\t0\t0,1\thead", "line 2: .*three numbers"),
        (HEADER + "Cz\t0\t0\tnan\thead", "line 2: .*finite"),
        (HEADER + "Cz\t0\t0\t1e999\thead", "line 2: .*finite"),
        (HEADER + "Cz\t0\t0\t.1\thead\nCz\t0\t0\t.1\thead", "line 3: .*'Cz'.* twice"),
        (HEADER + "\t0\t0\t.1\thead", "line 2: the name is ''"),
        (HEADER + "C\0z\t0\t0\t.1\thead", "line 2: the name is"),
        (HEADER + "Cz\t0\t0\t.1\tmri", "line 2: frame 'mri'"),
        (HEADER + "Cz\t0\t0\t100\thead", "line 2 on: .*not metres"),
        (HEADER + "Cz\t0\t0\t1e300\tcolin27_mri", "line 2 on: .*not metres"),
        (
            HEADER + "Cz\t0\t0\t.1\thead\nPz\t0\t0\t.1\tcolin27_mri",
            "line 3: frame 'colin27_mri' after lines in 'head'",
        ),
    ],
)
def test_broken_tables_are_refused_with_file_and_line(tmp_path, text, message):
    path = write(tmp_path / "broken.tsv", text)
    with pytest.raises(ValueError, match=f"broken.tsv.*{message}") as error:
        load_montage(path)
    assert "\n" not in str(error.value)


FIELD = st.one_of(st.text(max_size=4), st.floats().map(str), st.sampled_from(["head"]))
ROWS = st.lists(st.lists(FIELD, min_size=4, max_size=6).map("\t".join), max_size=4)


@settings(max_examples=150)
@given(
    content=st.one_of(
        st.binary(max_size=60),
        st.text(max_size=60).map(lambda text: text.encode("utf-8", "replace")),
        ROWS.map(lambda rows: (HEADER + "\n".join(rows)).encode("utf-8", "replace")),
    )
)
def test_any_file_is_a_table_or_a_value_error(tmp_path_factory, content):
    path = write(tmp_path_factory.mktemp("fuzz") / "fuzz.tsv", content)
    try:
        montage = load_montage(path)
    except ValueError:
        with pytest.raises(ValueError, match="fuzz.tsv") as error:
            load_montage(path)
        assert error.type is ValueError
    else:
        check_positions(montage.positions)


@settings(max_examples=50)
@given(st.text(max_size=20))
def test_any_name_is_known_or_refused(name):
    if name in available_montages() or name in (".", ".."):
        return
    with pytest.raises((ValueError, OSError)):
        load_montage(name)


def test_unknown_montages_are_refused_with_the_known_ones(tmp_path):
    with pytest.raises(ValueError, match="'emotiv'.*emotiv_epoc_14.*colin27_1020"):
        load_montage("emotiv")
    with pytest.raises(FileNotFoundError):
        load_montage(tmp_path / "none.tsv")
    with pytest.raises(IsADirectoryError):
        load_montage(tmp_path)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"names": ("Cz", "Cz")}, ValueError, "twice: Cz"),
        ({"names": ("Cz",)}, ValueError, "1 names and 2 positions"),
        ({"names": ("Cz", " Pz")}, ValueError, "electrode 1: .*' Pz'"),
        ({"names": ("Cz", "P\tz")}, ValueError, "electrode 1"),
        ({"names": ("Cz", 3)}, TypeError, "name 1 is 3"),
        ({"positions": [[0, 0, 0.1], [0, np.nan, 0]]}, ValueError, "NaN"),
        ({"positions": [[0, 0, 100], [0, 0, 90]]}, ValueError, "not metres"),
        ({"frame": "mri"}, ValueError, "'mri'"),
    ],
)
def test_broken_montages_are_refused(change, error, message):
    good = {"name": "own", "names": ("Cz", "Pz"), "positions": np.full((2, 3), 0.1)}
    with pytest.raises(error, match=message):
        Montage(**(good | change))


def test_a_montage_keeps_its_own_positions():
    points = np.full((1, 3), 0.1)
    montage = Montage("own", ("Cz",), points)
    points[:] = 9
    np.testing.assert_array_equal(montage.positions, np.full((1, 3), 0.1))
    with pytest.raises(AttributeError):
        montage.frame = "colin27_mri"


# tables from recordings


@pytest.fixture
def digitised(tmp_path):
    """Save a file like GrosseWentrup2009's: 128 numbered, digitised channels, EOG."""
    rng = np.random.default_rng(3)
    points = rng.normal(size=(128, 3))
    points[:, 2] = np.abs(points[:, 2])
    points *= 0.09 / np.linalg.norm(points, axis=1, keepdims=True)
    points += [-0.0065, 0.0167, 0.0714]
    names = [str(number) for number in range(1, 129)]
    types = ["eeg"] * 128 + ["eog"]
    info = mne.create_info([*names, "EOG"], 500, types)
    raw = mne.io.RawArray(np.zeros((129, 50)), info, verbose="error")
    fiducials = {"nasion": [0, 0.1, 0], "lpa": [-0.08, 0, 0], "rpa": [0.08, 0, 0]}
    places = dict(zip(names, points, strict=True))
    raw.set_montage(
        mne.channels.make_dig_montage(places, **fiducials, coord_frame="head")
    )
    raw.info["bads"] = ["7"]
    path = tmp_path / "cap_raw.fif"
    raw.save(path, verbose="error")
    return mne.io.read_raw_fif(path, verbose="error"), points


def test_a_digitised_recording_gives_a_table(digitised, tmp_path):
    raw, points = digitised
    path = tmp_path / "grossewentrup2009_128.tsv"
    montage = montage_from_raw(raw, path, name="grossewentrup2009_128")
    assert montage.names == tuple(str(number) for number in range(1, 129))
    np.testing.assert_allclose(montage.positions, points, atol=1e-7)
    loaded = load_montage(path)
    assert (loaded.name, loaded.names) == (montage.name, montage.names)
    np.testing.assert_array_equal(loaded.positions, montage.positions)
    found = positions_from_chs_info(loaded.chs_info())
    np.testing.assert_array_equal(found, montage.positions)
    assert "cap" not in path.read_text()


def test_epochs_give_the_same_table(digitised):
    raw, _ = digitised
    epochs = mne.make_fixed_length_epochs(raw, duration=0.05, verbose="error")
    found = montage_from_raw(epochs)
    np.testing.assert_array_equal(found.positions, montage_from_raw(raw).positions)


def test_recordings_without_measured_positions_give_no_table(digitised, tmp_path):
    raw, _ = digitised
    named = mne.io.RawArray(
        np.zeros((2, 10)), mne.create_info(["Cz", "Pz"], 100, "eeg"), verbose="error"
    )
    path = tmp_path / "none.tsv"
    with pytest.raises(ValueError, match="'Cz', 'Pz'"):
        montage_from_raw(named, path)
    with pytest.raises(ValueError, match="no EEG"):
        montage_from_raw(raw.copy().pick(["EOG"]), path)
    with pytest.raises(TypeError, match="ndarray"):
        montage_from_raw(np.zeros((2, 10)), path)
    assert not path.exists()
