"""Some seconds of `tests.fuzz`, which can run for hours; and what it judges by."""

import threading

import numpy as np
import pytest
import torch
from hypothesis import strategies as st

from braindecode_samba import SAMBAClassifier, positions_from_names
from tests.fuzz import files, learning, signals, words  # noqa: F401 -- they register
from tests.fuzz.campaign import TARGETS, Found, Target, throw
from tests.fuzz.refusals import finite, is_refusal

NAMES = ("C3", "Cz", "C4")
SMALL = {"d_state": 4, "expand": 2}


@pytest.mark.parametrize("name", TARGETS)
@pytest.mark.filterwarnings("ignore")
def test_inputs_give_numbers_or_refusals(name):
    found = Found()
    one = TARGETS[name]
    throw(one, max(2, one.share // 2), 0, found)
    assert not found.faults
    assert found.inputs > 1


def caught(function):
    try:
        function()
    except Exception as error:
        return error
    raise AssertionError("nothing was raised")


@pytest.mark.parametrize(
    "function",
    [
        lambda: positions_from_names([]),
        lambda: positions_from_names("Cz"),
        lambda: SAMBAClassifier(batch_size=0).fit([[[1.0]]], [1]),
        lambda: SAMBAClassifier(ch_names=["Cz"], sfreq=128).fit([["a"]], [1]),
    ],
)
def test_refusals_are_known(function):
    assert is_refusal(caught(function))


@pytest.mark.parametrize(
    "function",
    [
        lambda: int("x"),
        lambda: np.zeros(2) + np.zeros(3),
        lambda: torch.zeros(2) @ torch.zeros(3),
        lambda: {}["x"],
        # in the middle of our code, but by Python
        lambda: positions_from_names(iter(NAMES), unknown=np.zeros(3)),
    ],
)
def test_what_others_raise_is_a_fault(function):
    assert not is_refusal(caught(function))


@pytest.mark.parametrize(
    "function",
    [
        lambda x: finite(np.nan),
        lambda x: finite(torch.tensor([1.0, torch.inf])),
        lambda x: {}[x],
        lambda x: int("x"),
    ],
)
def test_faults_are_counted_and_kept(function, tmp_path):
    one = Target("broken", function, {"x": st.integers()}, 5)
    found = Found()
    throw(one, 20, 0, found, tmp_path)
    assert len(found.faults) == 1
    # what is known does not stop the next round
    throw(one, 20, 1, found, tmp_path)
    assert len(found.faults) == 1
    again = Found()
    throw(one, 20, 2, again, tmp_path, replay=True)
    assert list(again.faults) == list(found.faults)
    assert again.inputs < 20


def test_a_hang_is_a_fault(monkeypatch):
    monkeypatch.setattr("tests.fuzz.campaign.PATIENCE", 1)

    def hang(x):
        while True:
            pass

    found = Found()
    one = Target("hang", hang, {"x": st.just(1)}, 1)
    throw(one, 1, 0, found)
    assert "HangError" in "".join(found.faults)


def test_one_seed_gives_one_model():
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((12, 3, 64)), np.arange(12) % 2
    found = [
        SAMBAClassifier(
            ch_names=NAMES,
            sfreq=128,
            start="random",
            checkpoint=None,
            max_epochs=2,
            model_params=SMALL,
            random_state=3,
        )
        .fit(x, y)
        .predict_proba(x)
        for _ in range(2)
    ]
    np.testing.assert_array_equal(*found)


def test_threads_may_share_a_fitted_decoder():
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((24, 3, 64)), np.arange(24) % 2
    decoder = SAMBAClassifier(ch_names=NAMES, sfreq=128, random_state=0).fit(x, y)
    wanted = decoder.predict_proba(x)
    parts = np.array_split(np.arange(24), 8)
    found = [None] * 8

    def predict(i):
        for _ in range(5):
            found[i] = decoder.predict_proba(x[parts[i]])

    together = [threading.Thread(target=predict, args=(i,)) for i in range(8)]
    for thread in together:
        thread.start()
    for thread in together:
        thread.join()
    np.testing.assert_allclose(np.concatenate(found), wanted, atol=1e-6)
