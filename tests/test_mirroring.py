"""Mirrored heads: who is whose partner, and what becomes of windows and labels."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from braindecode_samba import load_montage, positions_from_names
from braindecode_samba.signals import mirror_channels, mirror_windows

NAMES = "F3 Fz F4 C3 Cz C4 O1 O2".split()
MIRRORED = "F4 Fz F3 C4 Cz C3 O2 O1".split()
SIDES = {"left": "right", "right": "left"}


def test_partners_are_the_electrodes_of_the_other_side():
    partners = mirror_channels(positions_from_names(NAMES))
    assert [NAMES[i] for i in partners] == MIRRORED


@pytest.mark.parametrize("name", ["physionetmi_64", "emotiv_epoc_14", "clinical_19"])
def test_mirroring_twice_changes_nothing_in_whole_montages(name):
    montage = load_montage(name)
    partners = mirror_channels(montage.positions)
    np.testing.assert_array_equal(partners[partners], np.arange(len(partners)))
    x = np.asarray(montage.positions)[:, 0]
    np.testing.assert_allclose(x[partners], -x, atol=0.01)


def test_an_electrode_without_a_partner_is_refused():
    with pytest.raises(ValueError, match="channel 3 has no electrode"):
        mirror_channels(positions_from_names([*NAMES[:3], "C3"]))


@given(share=st.floats(0, 1), seed=st.integers(0, 1000))
def test_a_share_of_windows_is_mirrored_with_their_labels(share, seed):
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((12, 8, 5)), np.array(["left", "right", "rest"] * 4)
    positions = positions_from_names(NAMES)
    found, labels = mirror_windows(
        X, y, positions, SIDES, share=share, random_state=seed
    )
    order = [NAMES.index(name) for name in MIRRORED]
    changed = [i for i in range(12) if not np.array_equal(found[i], X[i])]
    assert len(changed) == round(share * 12)
    for i in range(12):
        expected = X[i][order] if i in changed else X[i]
        np.testing.assert_array_equal(found[i], expected)
        assert labels[i] == (SIDES.get(y[i], y[i]) if i in changed else y[i])


def test_what_came_in_is_not_changed():
    X, y = np.random.default_rng(0).standard_normal((4, 8, 5)), np.arange(4)
    before = X.copy()
    mirror_windows(X, y, positions_from_names(NAMES), {0: 1}, share=1)
    np.testing.assert_array_equal(X, before)
    np.testing.assert_array_equal(y, np.arange(4))


def test_windows_that_do_not_fit_are_refused():
    X, y, positions = np.zeros((4, 7, 5)), np.zeros(4), positions_from_names(NAMES)
    with pytest.raises(ValueError, match="8 positions"):
        mirror_windows(X, y, positions, {})
    with pytest.raises(ValueError, match="share=2"):
        mirror_windows(X, y, positions, {}, share=2)
