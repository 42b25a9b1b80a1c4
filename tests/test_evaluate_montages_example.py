"""The command that scores fewer electrodes than were trained on, on made-up trials."""

import importlib
import sys
from pathlib import Path

import numpy as np
import pytest

from braindecode_samba import load_montage

for needed in ("moabb", "pyriemann"):
    pytest.importorskip(
        needed, reason='needs pip install "braindecode-samba[benchmarks]"'
    )

_SCRIPTS = Path(__file__).parents[1] / "examples" / "experiments"


@pytest.fixture(scope="module")
def example():
    sys.path.insert(0, str(_SCRIPTS))
    yield importlib.import_module("evaluate_montages")
    sys.path.remove(str(_SCRIPTS))


@pytest.fixture(scope="module")
def names():
    return load_montage("physionetmi_64").names


def test_montages_are_parts_of_the_64(example, names):
    chosen = example.montages(list(names))
    sizes = {kind: len(some) for kind, some in chosen.items()}
    assert sizes == {
        "64": 64, "32": 32, "19": 19, "14": 14,
        "random half 1": 32, "random half 2": 32, "random half 3": 32,
    }  # fmt: skip
    assert all(set(some) <= set(names) for some in chosen.values())
    assert chosen["random half 1"] != chosen["random half 2"]


def test_missing_electrodes_are_filled_in_and_the_others_kept(example, names):
    names = list(names)
    worn = example.montages(names)["19"]
    # a slope over the head, which both ways should continue
    slope = example.positions_from_names(names)[:, 0]
    X = slope[None, :, None] * np.sin(np.arange(64) / 5)
    kept = [names.index(name) for name in worn]

    for fill, least in ((example.spline, 0.97), (example.nearest, 0.85)):
        full = fill(X[:, kept], worn, names)
        assert full.shape == X.shape
        np.testing.assert_allclose(full[:, kept], X[:, kept], atol=1e-12)
        assert np.corrcoef(full.ravel(), X.ravel())[0, 1] > least


def test_a_table_of_montages_is_made_and_printed(example, names, tmp_path, capsys):
    rng = np.random.default_rng(0)
    n = 39 * 2
    np.savez(
        tmp_path / "imagery-0.5-3.5s.npz",
        X=rng.standard_normal((n, 64, 384)).astype(np.float32),
        y=np.arange(n) % 2,
        groups=np.arange(n) // 2 + 1,
        names=np.array(names),
    )
    example.main(
        ["--output", str(tmp_path), "--methods", "samba", "shallow", "--epochs", "1"]
    )
    said = capsys.readouterr().out
    assert "2 of 2 rows" in said
    for words in ("as worn", "splines", "nearest", "random half"):
        assert words in said
