"""Places that contradict their names are refused, honest heads are not."""

import mne
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import cdist
from scipy.spatial.transform import Rotation

from braindecode_samba import (
    SAMBA,
    SAMBAClassifier,
    SAMBAFeatures,
    SAMBAStream,
    load_montage,
    positions_from_chs_info,
    positions_from_names,
)
from braindecode_samba.pretraining import write_windows
from braindecode_samba.signals import Montage, write_montage
from braindecode_samba.signals.template import describe_channels, template_positions

NAMES = ["Fp1", "Fp2", "F3", "F4", "C3", "Cz", "C4", "P3", "P4", "O1", "O2", "T7", "T8"]
TRUE = positions_from_names(NAMES)


def turned(degrees, axis=(0, 0, 1)):
    turn = np.radians(degrees) * np.array(axis) / np.linalg.norm(axis)
    return TRUE @ Rotation.from_rotvec(turn).as_matrix().T


def exchanged(*pairs):
    places = TRUE.copy()
    for one, other in pairs:
        rows = [NAMES.index(one), NAMES.index(other)]
        places[rows] = places[rows[::-1]]
    return places


BROKEN = {
    "left is right": (TRUE * [-1, 1, 1], "mirror image"),
    "front is back": (TRUE * [1, -1, 1], "mirror image"),
    "upside down": (TRUE * [1, 1, -1], "mirror image"),
    "x is y": (TRUE[:, [1, 0, 2]], "mirror image"),
    "ALS instead of RAS": (turned(90), "turned by 90 degrees"),
    "faces backwards": (turned(180), "turned by 180 degrees"),
    "lies on its side": (turned(50, (1, 0, 0)), "turned by 50 degrees"),
    "two plugs": (exchanged(("C3", "C4")), "contradict.*'C[34]' 1. cm, 'C[34]' 1. cm"),
    "three plugs": (exchanged(("F3", "P4"), ("T7", "T8")), "contradict"),
    "two neighbours": (exchanged(("O1", "O2")), "exchange neighbours.*'O[12]' 6 cm"),
    "just turned": (turned(31), "turned by 31 degrees"),
    "another order": (TRUE[::-1], "contradict|mirror|turned"),
    "ten times": (10 * TRUE, "not metres"),
    "a unit sphere": (TRUE / np.linalg.norm(TRUE, axis=1)[:, None], "not metres"),
    "a third": (TRUE / 3, "not metres"),
    "decimillimetres": (1e4 * TRUE, "not metres"),
}


def chs_info(places, names=NAMES):
    return [
        {"ch_name": name, "kind": "eeg", "loc": np.r_[place, np.zeros(9)]}
        for name, place in zip(names, places, strict=True)
    ]


@pytest.mark.parametrize("case", BROKEN)
def test_contradictions_are_refused(case):
    places, said = BROKEN[case]
    with pytest.raises(ValueError, match=said) as error:
        positions_from_chs_info(chs_info(places))
    if "metres" not in said:
        assert "positions='names'" in str(error.value)
        assert "positions='measured'" in str(error.value)
        taken = positions_from_chs_info(chs_info(places), positions="names")
        np.testing.assert_array_equal(taken, TRUE)
        kept = positions_from_chs_info(chs_info(places), positions="measured")
        np.testing.assert_array_equal(kept, places)


# a sphere goes through few electrodes by chance
MANY = [
    name
    for name in mne.channels.get_builtin_montages()
    if len(template_positions(name)) >= 12
]


@pytest.mark.parametrize("factor", [1e-3, 0.3, 3, 10])
@pytest.mark.parametrize("name", MANY)
def test_no_head_has_another_size(name, factor):
    places = np.array(list(template_positions(name).values()))
    channels = chs_info(factor * places, list(template_positions(name)))
    with pytest.raises(ValueError, match="not metres"):
        positions_from_chs_info(channels)


UNIT = st.floats(-1, 1)
VECTOR = st.tuples(UNIT, UNIT, UNIT).filter(lambda v: np.linalg.norm(v) > 0.1)


@settings(max_examples=60, deadline=None)
@given(
    name=st.sampled_from(mne.channels.get_builtin_montages()),
    axis=VECTOR,
    degrees=st.floats(0, 15),
    way=VECTOR,
    shift=st.floats(0, 0.02),
    size=st.floats(0.75, 1.1),
    seed=st.integers(0, 1000),
)
def test_honest_heads_pass(name, axis, degrees, way, shift, size, seed):
    names = list(template_positions(name))
    places = np.array(list(template_positions(name).values()))
    turn = np.radians(degrees) * np.array(axis) / np.linalg.norm(axis)
    places = size * places @ Rotation.from_rotvec(turn).as_matrix().T
    places += shift * np.array(way) / np.linalg.norm(way)
    off = np.random.default_rng(seed).normal(size=places.shape)
    # a digitised cap: each electrode lies up to 15 mm beside its place
    off *= 0.015 / np.maximum(np.linalg.norm(off, axis=1, keepdims=True), 1.0)
    places += off
    found = positions_from_chs_info(chs_info(places, names))
    single = [row for row, n in enumerate(names) if "-" not in n]
    np.testing.assert_array_equal(found[single], places[single])


@pytest.mark.parametrize("name", ["standard_1020", "biosemi64", "easycap-M1"])
def test_neighbours_that_are_exchanged_are_found_on_any_cap(name):
    places = template_positions(name)
    known = np.isfinite(positions_from_names(list(places), unknown="nan")).all(1)
    names = [one for one, is_known in zip(places, known, strict=True) if is_known]
    measured = np.array([places[one] for one in names])
    apart = cdist(measured, measured)
    found = []
    for row in range(len(names)):
        near = np.argsort(apart[row])
        other = near[apart[row][near] > 0.045][0]
        wrong = measured.copy()
        wrong[[row, other]] = wrong[[other, row]]
        try:
            positions_from_chs_info(chs_info(wrong, names))
        except ValueError:
            found.append(row)
    assert len(found) > 0.9 * len(names)


def test_few_or_foreign_names_are_not_judged():
    for names in (NAMES[:3], [f"E{i}" for i in range(13)], ["C1", "C2", "Cz", *"abcdefghij"]):  # fmt: skip  # noqa: E501
        places = (TRUE * [-1, 1, 1])[: len(names)]
        positions_from_chs_info(chs_info(places, names))


MIRRORED = BROKEN["left is right"][0]


def recording(places):
    info = mne.create_info(NAMES, 128.0, "eeg")
    for channel, place in zip(info["chs"], places, strict=True):
        channel["loc"][:3] = place
    x = np.random.default_rng(0).normal(size=(len(NAMES), 1280))
    return mne.io.RawArray(1e-5 * x, info, verbose="error")


def epochs(places):
    return mne.make_fixed_length_epochs(
        recording(places), 1.0, preload=True, verbose="error"
    )


def model(**options):
    return SAMBA(n_outputs=2, sfreq=128, d_state=4, expand=2, **options)


def table(folder):
    path = folder / "cap.tsv"
    write_montage(path, Montage("cap", tuple(NAMES), MIRRORED))
    return path


Y = [0, 1] * 5
OPTIONS = {"align": False, "random_state": 0}
ENTRIES = {
    "Epochs": lambda _: SAMBAClassifier(**OPTIONS).fit(epochs(MIRRORED), Y),
    "a list of Epochs": lambda _: SAMBAClassifier(**OPTIONS).fit([epochs(MIRRORED)], Y),
    "features": lambda _: SAMBAFeatures().fit(epochs(MIRRORED)),
    "chs_info of an estimator": lambda _: SAMBAClassifier(
        chs_info=chs_info(MIRRORED), sfreq=128, **OPTIONS
    ).fit(np.random.default_rng(0).normal(size=(10, 13, 128)), Y),
    "chs_info of a model": lambda _: model(chs_info=chs_info(MIRRORED)),
    "a recording": lambda _: model(chs_info=chs_info(TRUE)).encode_recording(
        recording(MIRRORED), "pool3"
    ),
    "a stream": lambda _: SAMBAStream(
        model(chs_info=chs_info(TRUE)), chs_info=chs_info(MIRRORED), window_seconds=1
    ),
    "a table": lambda folder: load_montage(table(folder)),
    "a store": lambda folder: write_windows(
        [recording(MIRRORED)], folder / "store", subjects=["a"]
    ),
}


@pytest.mark.parametrize("entry", ENTRIES)
def test_all_entries_refuse_a_mirrored_head(entry, tmp_path):
    with pytest.raises(ValueError, match="mirror image.*farthest off: '") as error:
        ENTRIES[entry](tmp_path)
    remedy = "set_montage" if entry == "a store" else "positions='names'"
    assert remedy in str(error.value)


@pytest.mark.parametrize("place", [0.0, 0.1])
def test_a_head_of_one_place_is_none(place):
    pos = torch.full((2, 13, 3), place)
    with pytest.raises(ValueError, match="all 13 electrodes lie in one place"):
        model(n_chans=13)(torch.randn(2, 13, 64), pos)


@pytest.mark.parametrize("unit", [10, 0.3])
def test_positions_of_forward_are_those_of_a_head(unit):
    x, pos = torch.randn(2, 13, 64), torch.tensor(unit * TRUE).float()
    with pytest.raises(ValueError, match="not metres"):
        model(n_chans=13)(x, pos)
    with pytest.raises(ValueError, match="not metres"):
        model(n_chans=13)(x, torch.stack([pos / unit, pos]))
    mask = torch.ones(2, 13, dtype=torch.bool)
    mask[0, 12] = False
    with pytest.raises(ValueError, match="not metres"):
        model(n_chans=13)(x, torch.stack([pos / unit, pos]), mask)


@pytest.mark.parametrize("choice", ["names", "measured"])
def test_the_remedies_lead_through_a_fit_and_a_file(choice, tmp_path):
    decoder = SAMBAClassifier(positions=choice, **OPTIONS)
    decoder.fit(epochs(MIRRORED), Y)
    wanted = TRUE if choice == "names" else MIRRORED
    found = decoder.model_.trunk.positions.default.double().numpy()
    np.testing.assert_allclose(found, wanted, atol=1e-6)
    given = decoder.predict_proba(epochs(MIRRORED))
    decoder.save_pretrained(tmp_path / "decoder")
    again = SAMBAClassifier.from_pretrained(tmp_path / "decoder")
    np.testing.assert_allclose(again.predict_proba(epochs(MIRRORED)), given, atol=1e-5)
    features = model(chs_info=chs_info(TRUE)).encode_recording(
        recording(MIRRORED), "pool3", positions=choice
    )
    assert np.isfinite(features).all()


def test_tables_and_models_take_the_remedies(tmp_path):
    path = table(tmp_path)
    np.testing.assert_array_equal(load_montage(path, positions="names").positions, TRUE)
    insisted = load_montage(path, positions="measured")
    np.testing.assert_array_equal(insisted.positions, MIRRORED)
    # who has insisted once is not asked again
    found = model(chs_info=insisted.chs_info()).trunk.positions.default
    np.testing.assert_allclose(found.double(), MIRRORED, atol=1e-6)
    told = [{**one, "positions": "names"} for one in chs_info(MIRRORED)]
    found = model(chs_info=told).trunk.positions.default
    np.testing.assert_allclose(found.double(), TRUE, atol=1e-6)


def test_other_choices_are_refused():
    with pytest.raises(ValueError, match="positions='template' is unknown"):
        positions_from_chs_info(chs_info(TRUE), positions="template")
    assert "positions" not in describe_channels(NAMES, TRUE)[0]
