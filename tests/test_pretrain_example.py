"""`examples/pretrain.py` from files to a checkpoint, as a user calls it.

Files are simulated, small, and of two kinds: EDF with dotted names, FIF with old ones.
"""

import contextlib
import csv
import importlib
import io
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import mne
import numpy as np
import pytest
import safetensors.torch
import torch

from braindecode_samba import SAMBAReconstructor
from braindecode_samba.pretraining import WindowStore, has_training_state
from braindecode_samba.signals import EEGSimulator

EXAMPLES = Path(__file__).parents[1] / "examples"
CONFIG = {
    "name": "tiny",
    "licence": "cc0-1.0",
    "corpora": {
        "dotted": {
            "folder": "dotted",
            "files": ["*/*.edf"],
            "subjects": ["S001..S003"],
            "held_out": ["S003"],
            "title": "Simulated hands",
            "licence": "CC0",
            "attribution": "Nobody (2026)",
        },
        "old": {"folder": "old"},
    },
    "windows": {"window_seconds": 0.5, "stride_seconds": 0.25, "h_freq": 20},
    "montages": {"kinds": ["all", "dropout"]},
    "model": {"d_state": 4, "expand": 2},
    "training": {"epochs": 2, "batch_size": 8},
    "seed": 1,
}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Four people in EDF files, of whom the config takes three, and two in FIF."""
    root = tmp_path_factory.mktemp("data")
    caps = {"dotted": ["C3", "Cz", "C4", "Oz"], "old": ["T7", "Cz", "T8"]}
    for corpus, names in caps.items():
        simulator = EEGSimulator(names, sfreq=160)
        for subject in range(1, 5 if corpus == "dotted" else 3):
            raw = simulator.raw(subject=subject, n_trials=1).crop(0, 4)
            raw.set_annotations(None)
            if corpus == "dotted":
                raw.rename_channels({name: f"{name}.." for name in names})
                path = root / "dotted" / f"S{subject:03}" / f"S{subject:03}R04.edf"
                path.parent.mkdir(parents=True)
                mne.export.export_raw(path, raw.set_montage(None), verbose="error")
            else:
                raw.rename_channels({"T7": "T3", "T8": "T4"})
                path = root / "old" / f"sub-{subject}_task-rest_raw.fif"
                path.parent.mkdir(exist_ok=True)
                raw.set_montage(None).save(path, verbose="error")
    return root


def write_config(folder, **changes):
    path = folder / "config.json"
    path.write_text(json.dumps(CONFIG | changes))
    return path


@pytest.fixture(scope="module")
def example():
    """Import the script."""
    sys.path.insert(0, str(EXAMPLES))
    yield importlib.import_module("pretrain")
    sys.path.remove(str(EXAMPLES))


@pytest.fixture(scope="module")
def call(example):
    """Run a stage here, and give what it printed."""

    def run(stage, *options):
        with contextlib.redirect_stdout(io.StringIO()) as said:
            example.main([stage, *map(str, options)])
        return said.getvalue()

    return run


@pytest.fixture(scope="module")
def stores(call, data, tmp_path_factory):
    folder = tmp_path_factory.mktemp("stores")
    config = write_config(folder)
    places = ["--config", config, "--data-path", data, "--stores", folder]
    assert "dotted: 45 windows of 3 subjects" in call("prepare", *places)
    return folder


def train_options(stores, output, *others):
    return ["--config", stores / "config.json", "--stores", stores,
            "--output", output, "--device", "cpu", *others]  # fmt: skip


@pytest.fixture(scope="module")
def trained(call, stores, tmp_path_factory):
    """Output of one run without interruption, and what it printed."""
    output = tmp_path_factory.mktemp("whole") / "run"
    return output, call("train", *train_options(stores, output))


def weights(output):
    return safetensors.torch.load_file(output / "checkpoint" / "model.safetensors")


# windows


def test_windows_are_cut_of_files_of_any_kind_and_name(stores):
    dotted, old = WindowStore(stores / "dotted"), WindowStore(stores / "old")
    assert dotted.subjects == ("S001", "S002", "S003")
    assert old.subjects == ("sub-1", "sub-2")
    assert dotted[0]["x"].shape == (4, 64)
    assert dotted.recordings[0].ch_names == ("C3..", "Cz..", "C4..", "Oz..")
    # T3 is left, where T7 of the new names is
    assert old.recordings[0].ch_names == ("T3", "Cz", "T4")
    assert old[0]["pos"][0, 0] < -0.07 < 0.07 < old[0]["pos"][2, 0]


def test_no_data_is_refused(call, stores, tmp_path):
    places = ["--config", stores / "config.json", "--stores", tmp_path]
    with pytest.raises(SystemExit, match="corpus dotted has no recordings"):
        call("prepare", *places, "--data-path", tmp_path)


def test_windows_of_another_kind_are_refused(call, stores, tmp_path):
    config = write_config(tmp_path, windows={"window_seconds": 2.0})
    with pytest.raises(SystemExit, match="was prepared with window_seconds=0.5"):
        call("train", "--config", config, "--stores", stores, "--output", tmp_path)


def test_people_whom_the_config_does_not_take_are_left_alone(example, stores, tmp_path):
    corpus = CONFIG["corpora"]["dotted"] | {"subjects": ["S001"], "held_out": []}
    config = write_config(tmp_path, corpora={"dotted": corpus})
    learnt, watched = example.read_stores(example.read_config(config, {}), stores)
    assert learnt["dotted"].subjects == ("S001",)
    assert watched == {}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"corpora": {}}, "names no corpora"),
        ({"epochs": 3}, "the config has unknown settings epochs"),
        ({"training": {"rate": 1}}, "training has unknown settings rate"),
        ({"probe": {"corpus": "new"}}, "the probe's corpus 'new' is none of dotted"),
    ],
)
def test_a_config_that_nobody_can_mean_is_refused(example, changes, message, tmp_path):
    with pytest.raises(SystemExit, match=message):
        example.read_config(write_config(tmp_path, **changes), {})


def test_ranges_and_expressions_choose_subjects(example):
    is_chosen = example.is_chosen
    names = ["S009", "S010", "S011", "S100", "sub-9", "S10"]
    chosen = [name for name in names if is_chosen(name, ["S010..S099", "sub-.*"])]
    assert chosen == ["S010", "S011", "sub-9", "S10"]
    assert not is_chosen("S0101", ["S010"])
    with pytest.raises(SystemExit, match="another name than it begins"):
        is_chosen("S001", ["S001..T003"])


# training


def test_a_checkpoint_with_its_config_and_card_comes_out(trained, data, stores):
    output, said = trained
    assert "epoch 2/2" in said
    assert "valid_loss" in said
    checkpoint = output / "checkpoint"
    model = SAMBAReconstructor.from_pretrained(str(checkpoint))
    wanted = weights(output)
    for name, tensor in model.state_dict().items():
        np.testing.assert_array_equal(tensor, wanted[name])
    kept = json.loads((checkpoint / "pretrain.json").read_text())
    assert kept["corpora"]["dotted"]["held_out"] == ["S003"]
    assert kept["training"]["epochs"] == 2
    assert kept["loss"] == {"norm": "ortho", "region": "masked"}
    card = (checkpoint / "README.md").read_text()
    for fact in (
        "license: cc0-1.0", "S001 to S002", "S003", "sub-1 to sub-2", "Nobody (2026)",
        "1 to 20 Hz", "128 Hz", "head frame", "Seed: 1", "region='masked'",
        "python examples/pretrain.py train --config config.json", "hours on",
    ):  # fmt: skip
        assert fact in card, fact
    assert card.count("\n| 2 |") == 1
    # folders of this machine are nobody's business
    assert str(stores) not in card + json.dumps(kept)
    assert str(data) not in card + json.dumps(kept)


def test_history_figures_and_spatial_weights_lie_beside_it(trained):
    output, _ = trained
    assert len((output / "history.csv").read_text().splitlines()) == 1 + 2
    for epoch in (1, 2):
        assert (output / "figures" / f"epoch-{epoch:05}.png").stat().st_size > 1000
        assert np.load(output / "spatial" / f"epoch-{epoch:05}.npy").shape == (94, 4)


def test_a_run_that_was_killed_ends_as_if_it_had_not_been(
    call, trained, stores, tmp_path
):
    options = train_options(stores, tmp_path, "--every-batches", 2)
    command = [sys.executable, EXAMPLES / "pretrain.py", "train", *options]
    # sums over other numbers of threads round otherwise: a machine may have more cores
    # than this suite takes, and Dask leaves variables behind that say one
    threads = str(torch.get_num_threads())
    environment = os.environ | dict.fromkeys(
        ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), threads
    )
    with subprocess.Popen(
        list(map(str, command)),
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as run:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and run.poll() is None:
            if len(list((tmp_path / "figures").glob("*.png"))) >= 1:
                break
            time.sleep(0.01)
        os.kill(run.pid, signal.SIGKILL)
    assert run.returncode == -signal.SIGKILL
    assert has_training_state(tmp_path / "state")
    assert not (tmp_path / "checkpoint").exists()
    call("train", *options)
    for name, tensor in weights(trained[0]).items():
        np.testing.assert_array_equal(weights(tmp_path)[name], tensor)


def test_a_run_in_parts_ends_as_one_in_a_piece(call, trained, stores, tmp_path):
    options = train_options(stores, tmp_path)
    first = call("train", *options, "--max-minutes", 0)
    assert "stopped in epoch 1 of 2: call again to go on" in first
    assert not (tmp_path / "checkpoint").exists()
    index = json.loads((tmp_path / "state" / "training.json").read_text())
    assert (index["epoch"], index["batch"]) == (1, 1)
    with pytest.raises(SystemExit, match="a run with other settings of seed"):
        call("train", *options, "--seed", 2)
    call("train", *options)
    for name, tensor in weights(trained[0]).items():
        np.testing.assert_array_equal(weights(tmp_path)[name], tensor)


def test_steps_labels_and_workers_are_taken(call, stores, tmp_path):
    probe = {"corpus": "dotted", "label": "S00[12]|S003", "every": 1}
    config = write_config(tmp_path, probe=probe)
    places = ["--config", config, "--stores", stores, "--output", tmp_path / "run"]
    limits = ["--steps", 5, "--workers", 1, "--device", "cpu"]
    # five folds need as many people
    with pytest.raises(ValueError, match="there are 3 groups: pass at least 5"):
        call("train", *places, *limits)
    write_config(tmp_path)
    call("train", *places, *limits)
    card = (tmp_path / "run" / "checkpoint" / "README.md").read_text()
    # 60 windows are 8 batches: one epoch is enough, and it ends after 5
    assert "1 epochs of 5 steps" in card
    assert "--steps 5" in card


@pytest.mark.slow
def test_two_processes_train_as_one(trained, stores, tmp_path):
    command = [
        sys.executable, "-m", "accelerate.commands.launch",
        # without MPI this starts two processes also where there is no GPU
        "--multi_gpu", "--num_processes", "2", "--num_machines", "1",
        "--mixed_precision", "no", "--dynamo_backend", "no",
        "--main_process_port", "0", EXAMPLES / "pretrain.py", "train",
        *train_options(stores, tmp_path),
    ]  # fmt: skip
    environment = os.environ | {"ACCELERATE_USE_CPU": "true", "OMP_NUM_THREADS": "1"}
    subprocess.run(list(map(str, command)), env=environment, check=True, timeout=280)

    def losses(output):
        with open(output / "history.csv", newline="") as file:
            return [
                (float(row["train_loss"]), float(row["valid_loss"]))
                for row in csv.DictReader(file)
            ]

    np.testing.assert_allclose(losses(tmp_path), losses(trained[0]), atol=1e-4)
    card = (tmp_path / "checkpoint" / "README.md").read_text()
    assert "accelerate launch --num_processes 2 examples/pretrain.py" in card
