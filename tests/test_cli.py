"""The command line, from recordings of three laboratories to a decoder.

Commands run in this process, except where they are killed or interrupted.
"""

import contextlib
import csv
import io
import json
import os
import signal
import subprocess
import sys
import time

import mne
import numpy as np
import pandas as pd
import pytest
import safetensors.torch
import torch
from laboratories import PEOPLE, write_laboratories

from braindecode_samba import SAMBAClassifier, SAMBAReconstructor
from braindecode_samba.cli import main
from braindecode_samba.pretraining import WindowStore, has_training_state
from braindecode_samba.pretraining.config import (
    Config,
    ConfigError,
    is_chosen,
    read_config,
    shipped_configs,
)
from braindecode_samba.pretraining.preparing import read_stores

# no corpora: any folder of recordings
CONFIG = {
    "name": "tiny",
    "licence": "cc0-1.0",
    "windows": {"window_seconds": 0.5, "stride_seconds": 0.25, "h_freq": 20},
    "montages": {"kinds": ["all", "dropout"]},
    "model": {"d_state": 4, "expand": 2},
    "training": {"epochs": 2, "batch_size": 16},
    "seed": 1,
}
DOTTED = {
    "folder": "dotted",
    "files": ["*/*.edf"],
    "subjects": ["S001..S002"],
    "held_out": ["S002"],
    "title": "Simulated hands",
    "licence": "CC0",
    "attribution": "Nobody (2026)",
}


def call(*words):
    """Run a command here: its exit code, and what it printed."""
    said, complained = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(complained):
        try:
            code = main(list(map(str, words)))
        except SystemExit as ended:
            code = ended.code
    return code, said.getvalue(), complained.getvalue()


def succeed(*words):
    code, said, complained = call(*words)
    assert code == 0, complained
    return said


def fail(code, *words):
    """Run what must fail, and give its one sentence."""
    got, _, complained = call(*words)
    assert got == code
    (sentence,) = complained.splitlines()
    return sentence


def write_config(path, **changes):
    path.write_text(json.dumps(CONFIG | changes))
    return path


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Recordings, among them a damaged one and a hidden one that is none."""
    root = tmp_path_factory.mktemp("recordings")
    write_laboratories(root)
    (root / "old" / "damaged.edf").write_bytes(b"no header")
    (root / "old" / "._sub-1_task-rest_raw.fif").write_bytes(b"left by a copy")
    return root


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    return write_config(tmp_path_factory.mktemp("config") / "mine.json")


@pytest.fixture(scope="module")
def prepared(folder, config, tmp_path_factory):
    """Folder of stores, and what was said."""
    stores = tmp_path_factory.mktemp("stores")
    places = [folder, "--stores", stores, "--config", config]
    return stores, succeed("prepare", *places, "--skip-broken")


@pytest.fixture(scope="module")
def stores(prepared):
    return prepared[0]


def options(stores, config, output, *others):
    return ["--stores", stores, "--config", config, "--output", output,
            "--device", "cpu", *others]  # fmt: skip


@pytest.fixture(scope="module")
def trained(stores, config, tmp_path_factory):
    """Output of one run without interruption, and what it said."""
    output = tmp_path_factory.mktemp("whole") / "run"
    return output, succeed("pretrain", *options(stores, config, output))


def weights(output):
    return safetensors.torch.load_file(output / "checkpoint" / "model.safetensors")


def assert_same_weights(output, other):
    wanted = weights(other)
    for name, tensor in weights(output).items():
        np.testing.assert_array_equal(tensor, wanted[name])


# what is in a folder


def test_what_a_folder_holds_is_told_before_anything_is_written(folder, tmp_path):
    places = [folder, "--stores", tmp_path / "stores", "--dry-run"]
    said = succeed("prepare", *places, "--skip-broken")
    for fact in (
        "recordings: 7, 0.5 minutes",
        "people: 7, 3 by numbered folders, 2 by BIDS names, 2 by numbered files",
        ", ".join(PEOPLE),
        "electrodes: 3 in 4, 4 in 3",
        "known place: ECG",
        "rates: 160 Hz in 5, 200 Hz in 2",
        "recordings that can't be used: 1",
        f"{folder / 'old' / 'damaged.edf'} can't be read",
    ):
        assert fact in said
    assert "._sub" not in said
    held_out = said.split("held out: ")[1].splitlines()[0]
    assert held_out in PEOPLE
    assert not (tmp_path / "stores").exists()


def test_a_damaged_recording_is_named_and_stops_all_but_on_demand(folder, tmp_path):
    words = ["prepare", folder, "--stores", tmp_path / "stores"]
    code, said, complained = call(*words)
    assert code == 1
    assert f"{folder / 'old' / 'damaged.edf'} can't be read" in said
    assert complained.endswith("or remove those listed above, or pass --skip-broken\n")
    assert not (tmp_path / "stores").exists()


def test_windows_are_cut_of_any_format_name_and_rate(prepared, folder):
    stores, said = prepared
    (place,) = stores.iterdir()
    assert place.name == folder.name
    store = WindowStore(place)
    assert store.subjects == PEOPLE
    assert f"{folder.name}: {len(store)} windows of 7 people" in said
    assert said.splitlines()[-1].strip().startswith(str(folder / "old" / "damaged.edf"))
    names = {recording.subject: recording.ch_names for recording in store.recordings}
    assert names["dotted/S001"] == ("C3..", "Cz..", "C4..", "Oz..")
    assert names["pairs/p1"] == ("Fp1-F7", "F7-T3", "T3-T5")
    # T3 is left, where T7 of the new names is
    old = WindowStore(place, ["old/sub-1"])
    assert old.recordings[0].ch_names == ("T3", "Cz", "T4")
    assert old[0]["pos"][0, 0] < -0.07 < 0.07 < old[0]["pos"][2, 0]


def test_an_expression_says_who_is_who(folder, tmp_path):
    words = ["prepare", folder, "--stores", tmp_path, "--dry-run", "--skip-broken"]
    said = succeed(*words, "--subject", "^([a-z]+)/")
    assert "people: 3, 3 by --subject: dotted, old, pairs\n" in said
    sentence = fail(1, *words, "--subject", "S0..")
    assert "'S0..' finds no person in old/" in sentence
    assert "'(' is no expression" in fail(2, *words, "--subject", "(")


def test_the_held_out_are_a_tenth_and_left_out_of_training(stores):
    learnt, watched = read_stores(Config(), stores)
    ((name, kept),) = watched.items()
    assert len(kept.subjects) == 1
    assert {*learnt[name].subjects, *kept.subjects} == set(PEOPLE)
    assert len(learnt[name].subjects) == 6


def test_preparing_goes_on_where_it_was_interrupted(folder, config, tmp_path):
    places = [folder, "--stores", tmp_path, "--config", config, "--skip-broken"]
    succeed("prepare", *places)
    (tmp_path / folder.name / "index.json").unlink()
    dates = {p: p.stat().st_mtime_ns for p in tmp_path.glob("*/*.npy")}
    train = options(tmp_path, config, tmp_path / "run")
    assert "prepare`, which goes on where it stopped" in fail(2, "pretrain", *train)
    succeed("prepare", *places)
    assert {p: p.stat().st_mtime_ns for p in tmp_path.glob("*/*.npy")} == dates


def test_what_shows_to_be_damaged_only_when_it_is_read_is_named_too(tmp_path):
    recordings = tmp_path / "recordings"
    write_laboratories(recordings)
    path = recordings / "old" / "sub-1_task-rest_raw.fif"
    raw = mne.io.read_raw(path, preload=True, verbose="error")
    raw._data[1, 100] = np.nan
    raw.save(path, overwrite=True, verbose="error")
    words = ["prepare", recordings, "--stores", tmp_path / "stores"]
    reason = (
        f"{path} holds NaN or infinity: repair it, mark it by annotations that begin "
        "with 'bad', or leave it out"
    )
    assert fail(1, *words) == f"braindecode-samba: {reason}: pass --skip-broken"
    said = succeed(*words, "--skip-broken")
    assert "14 windows of 7 people" not in said
    assert said.endswith(f"{reason}\n")


def test_corpora_are_where_a_config_says(folder, stores, tmp_path):
    own = write_config(tmp_path / "own.json", corpora={"hands": DOTTED})
    said = succeed("prepare", folder, "--stores", tmp_path, "--config", own)
    assert "people: 2, 2 by numbered folders: S001, S002\n  held out: S002" in said
    learnt, watched = read_stores(read_config(str(own)), tmp_path)
    assert learnt["hands"].subjects == ("S001",)
    assert watched["hands"].subjects == ("S002",)
    none = DOTTED | {"files": ["*.bdf"]}
    write_config(own, corpora={"hands": none})
    words = ["prepare", folder, "--stores", tmp_path / "new", "--config", own]
    assert "corpus hands has no recordings" in fail(1, *words)
    everybody = DOTTED | {"held_out": [".*"]}
    write_config(own, corpora={"hands": everybody})
    assert "holds out everybody" in fail(2, *words)


# training


def test_a_checkpoint_with_its_config_and_card_comes_out(trained, stores, folder):
    output, said = trained
    assert "epoch 2/2" in said
    assert "valid_loss" in said
    assert f"wrote {output / 'checkpoint'}" in said
    checkpoint = output / "checkpoint"
    model = SAMBAReconstructor.from_pretrained(str(checkpoint))
    wanted = weights(output)
    for name, tensor in model.state_dict().items():
        np.testing.assert_array_equal(tensor, wanted[name])
    kept = (checkpoint / "pretrain.json").read_text("utf-8")
    assert json.loads(kept)["training"]["epochs"] == 2
    assert json.loads(kept)["loss"] == {"norm": "ortho", "region": "masked"}
    card = (checkpoint / "README.md").read_text("utf-8")
    for fact in (
        "license: cc0-1.0", "pairs/p1 to pairs/p2", "1 to 20 Hz", "128 Hz",
        "head frame", "Seed: 1", "region='masked'", "random weights", "hours on",
        "braindecode-samba pretrain --config pretrain.json --stores STORES",
    ):  # fmt: skip
        assert fact in card, fact
    assert card.count("\n| 2 |") == 1
    # folders of this machine are nobody's business
    assert str(stores) not in card + kept
    assert str(folder) not in card + kept


def test_history_figures_and_spatial_weights_lie_beside_it(trained):
    output, _ = trained
    assert len((output / "history.csv").read_text().splitlines()) == 1 + 2
    for epoch in (1, 2):
        assert (output / "figures" / f"epoch-{epoch:05}.png").stat().st_size > 1000
        assert np.load(output / "spatial" / f"epoch-{epoch:05}.npy").shape == (94, 4)


def start(*words, **settings):
    """Start a command in a process of its own, as accurate as this one."""
    # sums over other numbers of threads round otherwise: a machine may have more cores
    # than this suite takes, and Dask leaves variables behind that say one
    threads = str(torch.get_num_threads())
    environment = os.environ | dict.fromkeys(
        ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), threads
    )
    command = [sys.executable, "-m", "braindecode_samba", *map(str, words)]
    return subprocess.Popen(
        command,
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        **settings,
    )


def wait_for_figure(run, output):
    """Wait until a run has finished its first epoch."""
    deadline = time.monotonic() + 300
    while time.monotonic() < deadline and run.poll() is None:
        if list((output / "figures").glob("*.png")):
            return
        time.sleep(0.01)


def test_a_run_that_was_killed_ends_as_if_it_had_not_been(
    trained, stores, config, tmp_path
):
    words = options(stores, config, tmp_path, "--every-batches", 2)
    with start("pretrain", *words) as run:
        wait_for_figure(run, tmp_path)
        os.kill(run.pid, signal.SIGKILL)
    assert run.returncode == -signal.SIGKILL
    assert has_training_state(tmp_path / "state")
    assert not (tmp_path / "checkpoint").exists()
    succeed("pretrain", *words)
    assert_same_weights(tmp_path, trained[0])


def test_an_interruption_says_how_to_go_on(stores, config, tmp_path):
    words = options(stores, config, tmp_path, "--every-batches", 2)
    with start("pretrain", *words) as run:
        wait_for_figure(run, tmp_path)
        run.send_signal(signal.SIGINT)
        said = run.stderr.read()
    assert run.returncode == 130
    assert said == (
        "braindecode-samba: interrupted: what is finished is kept, and the same "
        "command goes on from there\n"
    )


def test_a_run_in_parts_ends_as_one_in_a_piece(trained, stores, config, tmp_path):
    words = options(stores, config, tmp_path)
    first = succeed("pretrain", *words, "--max-minutes", 0)
    assert "the same command goes on" in first
    assert not (tmp_path / "checkpoint").exists()
    index = json.loads((tmp_path / "state" / "training.json").read_text())
    assert (index["epoch"], index["batch"]) == (1, 1)
    other = write_config(tmp_path / "other.json", seed=2)
    sentence = fail(2, "pretrain", *options(stores, other, tmp_path))
    assert "holds a run with other settings of seed" in sentence
    succeed("pretrain", *words)
    assert_same_weights(tmp_path, trained[0])


def test_a_run_begins_with_a_checkpoint(trained, stores, tmp_path):
    begun = {"training": {"steps": 2, "batch_size": 16, "lr": 1e-12}, "model": {}}
    config = write_config(tmp_path / "on.json", **begun)
    words = options(stores, config, tmp_path / "run")
    succeed("pretrain", *words, "--init", trained[0] / "checkpoint")
    wanted = weights(trained[0])
    for name, tensor in weights(tmp_path / "run").items():
        np.testing.assert_allclose(tensor, wanted[name], atol=1e-6, rtol=0)
    card = (tmp_path / "run" / "checkpoint" / "README.md").read_text("utf-8")
    assert "Begun with the weights of `checkpoint`" in card
    # 90 windows are 6 batches: one epoch is enough, and it ends after 2
    assert "1 epochs of 2 steps" in card
    assert str(trained[0]) not in card
    config = write_config(tmp_path / "on.json", **begun | {"model": {"d_state": 8}})
    words = options(stores, config, tmp_path / "other", "--init")
    sentence = fail(2, "pretrain", *words, trained[0] / "checkpoint")
    assert "has d_state=4, and the config 8" in sentence
    assert "no file, folder" in fail(1, "pretrain", *words, "nothing-there")


def test_decoders_begin_with_the_checkpoint(trained):
    X = np.random.default_rng(0).normal(size=(4, 3, 64))
    decoder = SAMBAClassifier(
        ch_names=["C3", "Cz", "C4"],
        sfreq=128,
        checkpoint=trained[0] / "checkpoint",
        max_epochs=1,
        random_state=0,
    )
    assert decoder.fit(X, [0, 1, 0, 1]).predict_proba(X).shape == (4, 2)


def test_a_probe_and_workers_are_taken(stores, folder, tmp_path):
    own = write_config(tmp_path / "own.json", corpora={"hands": DOTTED})
    succeed("prepare", folder, "--stores", tmp_path, "--config", own)
    steps = {"steps": 1, "batch_size": 8}
    settings = {"corpora": {"hands": DOTTED}, "training": steps}
    write_config(own, **settings, probe={"every": 1})
    words = options(tmp_path, own, tmp_path / "run", "--workers", 1)
    assert "holds no columns of a probe" in fail(1, "pretrain", *words)
    fields = {
        "X": np.random.default_rng(0).normal(size=(20, 2, 64)),
        "y": ["left", "right"] * 10,
        "subject": np.repeat(["a", "b", "c", "d", "e"], 4),
        "sfreq": 128.0,
    }
    column = tmp_path / "probe" / "noise.npz"
    column.parent.mkdir()
    np.savez(column, **fields)
    assert "noise.npz can't be read: 'names" in fail(1, "pretrain", *words)
    column.write_bytes(column.read_bytes()[:100])
    assert "noise.npz can't be read: " in fail(1, "pretrain", *words)
    assert not (tmp_path / "run").exists()
    np.savez(column, **fields, names=["C3", "C4"])
    assert "probe_mean 0." in succeed("pretrain", *words)
    history = pd.read_csv(tmp_path / "run" / "history.csv")
    assert history["probe_noise"].equals(history["probe_mean"])
    card = (tmp_path / "run" / "checkpoint" / "README.md").read_text("utf-8")
    assert "| probe_mean |" in card
    assert "Simulated hands" in card
    assert "Nobody (2026)" in card


def test_windows_of_another_kind_are_refused(stores, tmp_path):
    sentence = fail(2, "pretrain", *options(stores, "small", tmp_path / "run"))
    assert "was prepared with window_seconds=0.5, and the config has 2.0" in sentence
    own = write_config(tmp_path / "own.json", model={"model_sfreq": 64})
    sentence = fail(2, "pretrain", *options(stores, own, tmp_path / "run"))
    assert "was prepared with sfreq=128.0, and the config has 64" in sentence
    sentence = fail(2, "pretrain", *options(tmp_path, "small", tmp_path / "run"))
    assert "holds no windows: run `braindecode-samba prepare` first" in sentence
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_two_processes_train_as_one(trained, stores, config, tmp_path):
    command = [
        sys.executable, "-m", "accelerate.commands.launch",
        # without MPI this starts two processes also where there is no GPU
        "--multi_gpu", "--num_processes", "2", "--num_machines", "1",
        "--mixed_precision", "no", "--dynamo_backend", "no",
        "--main_process_port", "0", "-m", "braindecode_samba", "pretrain",
        *options(stores, config, tmp_path),
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
    assert "accelerate launch --num_processes 2 -m braindecode_samba pretrain" in card


# configs


def test_shipped_configs_are_printed_with_the_meaning_of_keys(tmp_path):
    said = succeed("config")
    assert "samba-e, samba-t, small" in said
    for key in Config.model_fields:
        assert f"\n{key}" in said
    assert "n_blocks=8" in said
    for name in shipped_configs():
        path = tmp_path / f"{name}.json"
        path.write_text(succeed("config", name))
        assert read_config(str(path)) == read_config(name)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"epochs": 3}, "has an unknown key 'epochs'"),
        ({"training": {"rate": 1}}, "has an unknown key 'training.rate'"),
        ({"training": {"lr": "fast"}}, "training.lr: Input should be a valid number"),
        ({"masking": {"kind": "all"}}, "masking: kind='all' is unknown"),
        ({"masking": {"share": 0.5}}, "masking: unknown are share, known kind"),
        ({"windows": {"sfreq": "high"}}, "windows: "),
        ({"windows": {"unknown": "raise"}}, "windows: unknown are unknown"),
        ({"probe": {"corpus": "new"}}, "has an unknown key 'probe.corpus'"),
    ],
)
def test_a_config_that_nobody_can_mean_is_refused(changes, message, tmp_path):
    path = write_config(tmp_path / "own.json", **changes)
    words = ["prepare", tmp_path, "--stores", tmp_path / "new", "--config", path]
    assert message in fail(2, *words)


def test_a_config_that_is_none_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="samba-e, samba-t, small"):
        read_config(str(tmp_path / "gone.json"))
    (tmp_path / "half.json").write_text('{"name": ')
    with pytest.raises(ConfigError, match=r"half.json can't be used: Invalid JSON"):
        read_config(str(tmp_path / "half.json"))


def test_ranges_and_expressions_choose_subjects():
    names = ["S009", "S010", "S011", "S100", "sub-9", "S10"]
    chosen = [name for name in names if is_chosen(name, ["S010..S099", "sub-.*"])]
    assert chosen == ["S010", "S011", "sub-9", "S10"]
    assert not is_chosen("S0101", ["S010"])
    assert is_chosen("lab (a)/p1", ["lab (a)/p1"])
    with pytest.raises(ConfigError, match="another name than it begins"):
        is_chosen("S001", ["S001..T003"])


# the command itself


def test_info_tells_what_a_bug_report_needs():
    said = succeed("info")
    for fact in ("Python 3", "torch 2", "mne 1", "numba", "mamba-ssm", "threads: ",
                 "GPU", "scan on a CPU: ", "scan on a GPU: ", "checkpoint samba-e: ",
                 "cache of numba: "):  # fmt: skip
        assert fact in said


def test_info_needs_no_optional_package(monkeypatch):
    for name in ("huggingface_hub", "huggingface_hub.constants", "moabb", "captum"):
        monkeypatch.setitem(sys.modules, name, None)
    assert "cache of the Hugging Face hub: none" in succeed("info")


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["train"],
        ["prepare", "gone", "--stores", "stores"],
        ["pretrain", "--stores", "stores"],
        ["config", "large"],
    ],
)
def test_wrong_use_is_told_in_a_sentence(words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert fail(2, *words).startswith("braindecode-samba")
    assert not list(tmp_path.iterdir())


def test_bars_are_a_line_a_minute_where_there_is_no_terminal(monkeypatch):
    from braindecode_samba.cli import _LineAMinute

    now = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    written = io.StringIO()
    stream = _LineAMinute(written)
    for second in range(0, 150, 10):
        now[0] = float(second)
        stream.write(f"\r{second} of 150")
    for text in ("\n", "a warning", "\n"):
        stream.write(text)
    assert written.getvalue() == "60 of 150\n120 of 150\na warning\n"
