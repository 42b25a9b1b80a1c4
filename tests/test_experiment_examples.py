"""The commands behind the tables on parts, noise, length and laboratories.

On made-up trials in the files that they keep; what they cut of real recordings is
`trials_and_methods.py`'s affair.
"""

import importlib
import json

import numpy as np
import pytest
import torch

from braindecode_samba import positions_from_names
from braindecode_samba.cli import main
from braindecode_samba.evaluation import ResumableTable
from braindecode_samba.nn import Mamba2
from braindecode_samba.pretraining.config import read_config
from braindecode_samba.signals import EEGSimulator

pytest.importorskip(
    "moabb", reason='needs MOABB: pip install "braindecode-samba[moabb]"'
)
matplotlib = pytest.importorskip("matplotlib")
matplotlib.use("agg")
plt = importlib.import_module("matplotlib.pyplot")

NAMES = ["FC3", "FC4", "C3", "Cz", "C4", "T7", "T8"]
ELECTRODES_64 = (
    "Fp1 Fp2 F7 F3 Fz F4 F8 T7 C3 Cz C4 T8 P7 P3 Pz P4 P8 O1 O2 FC5 FC1 FC2 FC6 CP5"
).split()


@pytest.fixture(autouse=True)
def _no_figures_left():
    """Close what a script has drawn."""
    yield
    plt.close("all")


@pytest.fixture
def output(tmp_path):
    """Folder with imagery of 39 people, which anybody can tell apart."""
    rng = np.random.default_rng(0)
    groups = np.repeat(np.arange(1, 40), 4)
    y = np.arange(len(groups)) % 2
    X = rng.standard_normal((len(y), len(NAMES), 384))
    wave = 4 * np.sin(2 * np.pi * 11 * np.arange(384) / 128)
    X[y == 0, 4] += wave
    X[y == 1, 2] += wave
    np.savez(
        tmp_path / "imagery-0.5-3.5s.npz",
        X=(10 * X).astype(np.float32),
        y=y,
        groups=groups,
        names=np.array(NAMES),
    )
    return tmp_path


# parts


@pytest.mark.parametrize("part", ["mdm", "mamba", "cdse"])
def test_a_part_is_exchanged_before_training(load, part):
    module = load("evaluate_parts")
    variant = next(name for name, (own, *_) in module.VARIANTS.items() if own == part)
    rng = np.random.default_rng(0)
    X = rng.standard_normal((12, len(NAMES), 96)).astype(np.float32)
    y = np.arange(12) % 2
    fitted = module.make_variant(variant, NAMES, 0, 1, "cpu").fit(X, y)
    model = fitted[-1].model_
    layers = [one for one in model.modules() if isinstance(one, Mamba2)]
    # one is in the encoder; the MDM has its own kind
    assert len(layers) == {"mdm": 2, "mamba": 0, "cdse": len(layers)}[part]
    if part == "mamba":
        # what was put in has learnt
        assert model.trunk.encoder.mamba1[0].weight.grad is not None
    if part == "cdse":
        weights = model.spatial_weights()
        assert set(weights.unique().tolist()) == {0.0, 1.0}
        np.testing.assert_array_equal(weights.sum(-1), 1)
        places = torch.from_numpy(positions_from_names(NAMES)).float()
        targets = model.trunk.spatial.target_positions
        nearest = torch.cdist(targets, places).argmin(1)
        np.testing.assert_array_equal(weights.argmax(1), nearest)
    assert fitted.predict_proba(X).shape == (12, 2)


def test_options_are_put_back_one_at_a_time(load):
    module = load("evaluate_parts")
    ours = module.make_variant("as it is", NAMES, 0, 1)[-1].get_params()
    for variant, (part, options, training) in module.VARIANTS.items():
        own = module.make_variant(variant, NAMES, 0, 1)[-1].get_params()
        changed = {name for name in ours if own[name] != ours[name]}
        wanted = set()
        if part:
            wanted |= {"callbacks"}
        if options:
            wanted |= {"model_params"}
        if "trunk_lr_factor" in training:
            wanted |= {"trunk_lr_factor"}
        assert changed == wanted, variant


def test_the_table_of_parts_is_made(load, output, capsys):
    module = load("evaluate_parts")
    with np.load(output / "imagery-0.5-3.5s.npz") as trials:
        data = dict(trials)
    few = data["groups"] <= 30
    data |= {name: data[name][few] for name in ("X", "y", "groups")}
    np.savez(output / "imagery-0.5-3.5s.npz", **data)
    module.main([
        "--output", str(output), "--epochs", "1", "--n-subjects", "2",
        "--device", "cpu", "--variants", "as it is", "head='variance'",
    ])  # fmt: skip
    said = capsys.readouterr().out
    assert "2 of 2 rows" in said
    assert "of 2 " in said
    assert "head='variance'" in said


# noise


@pytest.fixture
def trials():
    return np.random.default_rng(1).standard_normal((6, len(NAMES), 384))


@pytest.mark.parametrize("noise", ["white noise", "mains, 50 Hz", "dead electrodes",
                                   "railed electrodes", "muscles"])  # fmt: skip
def test_noise_grows_from_nothing_and_can_be_drawn_again(load, trials, noise):
    module = load("evaluate_noise")
    groups = np.array([1, 1, 1, 2, 2, 2])
    strengths = module.NOISES[noise][1]
    added = [
        module.add_noise(trials, groups, NAMES, noise, strength, 0) - trials
        for strength in (*strengths[:2], strengths[2])
    ]
    np.testing.assert_allclose(added[0], 0, atol=1e-12)
    assert 0 < np.abs(added[1]).sum() < np.abs(added[2]).sum()
    again = module.add_noise(trials, groups, NAMES, noise, strengths[2], 0)
    np.testing.assert_array_equal(again - trials, added[2])
    # in units of the recording
    louder = module.add_noise(1e-6 * trials, groups, NAMES, noise, strengths[2], 0)
    np.testing.assert_allclose(louder, 1e-6 * (trials + added[2]), rtol=1e-6)


def test_each_noise_is_what_it_is_called(load, trials):
    module = load("evaluate_noise")
    groups = np.zeros(6, int)

    def spoil(noise, strength):
        return module.add_noise(trials, groups, NAMES, noise, strength, 0)

    silent = (spoil("dead electrodes", 4) == 0).all(axis=(0, 2))
    assert silent.sum() == 4
    flat = np.abs(spoil("railed electrodes", 1)).min(axis=(0, 2)) > 50
    assert flat.sum() == 1
    mains = spoil("mains, 50 Hz", 3) - trials
    spectrum = np.abs(np.fft.rfft(mains)).sum(axis=(0, 1))
    assert np.fft.rfftfreq(384, 1 / 128)[spectrum.argmax()] == 50
    bursts = (spoil("muscles", 3) - trials).std(axis=(0, 2))
    assert bursts[NAMES.index("T7")] > 5 * bursts[NAMES.index("Cz")]


def test_the_table_of_noise_is_made_and_drawn(load, output, capsys, monkeypatch):
    module = load("evaluate_noise")
    for noise in ("dead electrodes", "railed electrodes"):
        few = (module.NOISES[noise][0], (0, 1, 2), "electrodes")
        monkeypatch.setitem(module.NOISES, noise, few)
    figure = output / "noise.png"
    module.main(["--output", str(output), "--methods", "csp", "--figure", str(figure)])
    said = capsys.readouterr().out
    for noise in module.NOISES:
        assert noise in said
    frame = ResumableTable(output / "noise").to_frame()
    clean = frame[frame.strength == 0]
    assert clean.score.mean() > 0.9
    loud = frame[(frame.noise == "white noise") & (frame.strength == 2)]
    assert loud.score.mean() <= clean.score.mean()
    assert figure.stat().st_size > 10_000


# length


def test_the_loss_of_a_checkpoint_is_beside_that_of_zeros(load, tmp_path):
    module = load("evaluate_length")
    x = np.random.default_rng(0).standard_normal((2, len(ELECTRODES_64), 512))
    np.savez(
        tmp_path / "hidden.npz", x=x.astype(np.float32), names=np.array(ELECTRODES_64)
    )
    found = {
        mask: module.hidden_loss(
            "samba-e", 2, mask, 0,
            checkpoints={"samba-e": "samba-e"}, output=tmp_path, data_path=None,
        )
        for mask in module.MASKS
    }  # fmt: skip
    for values in found.values():
        assert values["share of zeros"] == pytest.approx(
            values["loss"] / values["zeros"]
        )
        # noise can't be known: nobody is better than zeros by much
        assert 0.8 < values["share of zeros"] < 2
        # mean of |e| and of e^2 of unit noise, in robust units
        assert values["zeros"] == pytest.approx(0.8 + 1, rel=0.1)


def test_bipolar_pairs_are_differences(load):
    module = load("evaluate_length")
    x = np.zeros((1, len(ELECTRODES_64), 8), np.float32)
    x[0, ELECTRODES_64.index("Fp1")] = 1
    pairs, places = module.bipolar(torch.from_numpy(x), ELECTRODES_64)
    assert pairs.shape == (1, 16, 8)
    assert places.shape == (16, 3)
    assert sorted(pairs[0, :, 0].tolist())[-1] == 1


# laboratories


def test_laboratories_are_scored_from_their_files(load, tmp_path, capsys):
    module = load("evaluate_laboratories")
    rng = np.random.default_rng(0)
    people = {"eegmmidb": range(1, 40), "eegmat": range(20)}
    for laboratory, numbers in people.items():
        groups = np.repeat(list(numbers), 4)
        y = np.arange(len(groups)) % 2
        X = rng.standard_normal((len(y), len(module.COMMON), 256))
        # work is less of the rhythm in both, and one of them is louder
        X[y == 0] += 2 * np.sin(2 * np.pi * 10 * np.arange(256) / 128)
        X *= 1e-5 if laboratory == "eegmat" else 3e-5
        file = tmp_path / f"{laboratory}-19.npz"
        np.savez(file, X=X.astype(np.float32), y=y, groups=groups)
    figure = tmp_path / "map.png"
    module.main([
        "--output", str(tmp_path), "--data-path", str(tmp_path),
        "--figure", str(figure),
    ])  # fmt: skip
    said = capsys.readouterr().out
    assert "laboratories told apart by band power: 1.000" in said
    frame = ResumableTable(tmp_path / "rows").to_frame()
    other = frame[(frame.learnt != frame.scored) & frame.centred]
    assert other[other.features == "band power"].score.mean() > 0.9
    assert set(frame[frame.scored == "eegmat"].subject) == set(range(12, 20))
    assert set(frame[frame.scored == "eegmmidb"].subject) == set(range(29, 40))
    assert figure.stat().st_size > 10_000


# pretraining


@pytest.fixture(scope="module")
def stores(tmp_path_factory):
    """Windows of three made-up people, and the config of a small network."""
    root = tmp_path_factory.mktemp("pretraining")
    config = {
        "corpora": {"mine": {"files": ["*.fif"], "held_out": ["C"]}},
        "windows": {"window_seconds": 2.0, "stride_seconds": 1.0, "h_freq": 45.0},
        "model": {"d_state": 4, "expand": 2},
        "training": {"epochs": 4, "batch_size": 32, "lr": 0.002},
    }
    (root / "config.json").write_text(json.dumps(config))
    simulator = EEGSimulator(ELECTRODES_64)
    for subject, name in enumerate("ABC", 1):
        raw = simulator.raw(subject=subject, n_trials=2).crop(0, 10)
        raw.set_annotations(None).save(root / f"{name}_raw.fif", verbose="error")
    words = ["prepare", str(root), "--config", str(root / "config.json")]
    assert main([*words, "--stores", str(root / "stores")]) == 0
    return root


def test_masks_and_losses_are_compared(load, stores, output, capsys):
    module = load("evaluate_pretraining")
    rng = np.random.default_rng(0)
    groups = np.repeat(np.arange(20), 4)
    np.savez(
        output / "state-0-2s.npz",
        X=rng.standard_normal((len(groups), 3, 256)).astype(np.float32),
        y=np.arange(len(groups)) % 2,
        groups=groups,
        names=np.array(["T3", "Cz", "T4"]),
    )
    variants = ["random weights", "regions, as samba-e", "tsr, published loss"]
    words = ["--config", str(stores / "config.json"), "--device", "cpu"]
    words += ["--stores", str(stores / "stores"), "--output", str(output)]
    words += ["--steps", "2", "--batch-size", "4", "--variants", *variants]
    module.main(words)
    said = capsys.readouterr().out
    assert "3 of 3 rows" in said
    table = ResumableTable(output / "rows").to_frame()
    assert set(table["variant"]) == set(variants)
    losses = table[table["measure"] == "loss, regions"].set_index("variant")["score"]
    assert losses.between(0.5, 1.5).all()
    assert losses.nunique() == 3
    probes = table[table["measure"].isin(module.PROBES)]
    assert probes.groupby(["variant", "measure"]).size().tolist() == [11, 11, 8] * 3
    made = json.loads(
        (output / "tsr-published-loss-2-0" / "pretrain.json").read_text("utf-8")
    )
    assert made["loss"] == module.PUBLISHED
    assert made["masking"] == {"kind": "tsr"}
    assert made["montages"] == {"kinds": ["clinical_19"]}
    module.main(words)
    assert "0 of 3 rows" in capsys.readouterr().out


def test_variants_of_pretraining_differ_in_one_thing(load):
    module = load("evaluate_pretraining")
    masking, loss = module.VARIANTS["regions, as samba-e"]
    shipped = read_config("samba-e")
    assert masking == {k: v for k, v in shipped.masking.items() if k != "ratio"}
    assert loss == shipped.loss
    for name, settings in module.VARIANTS.items():
        if settings is None or name in ("regions, as samba-e", "tsr, published loss"):
            continue
        assert (settings[0] != masking) + (settings[1] != loss) == 1
