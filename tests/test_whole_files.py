"""Whatever stops a writer, what it writes is there as it was before, or new.

Every writer of the package is killed at each of its steps, runs out of room, meets a
disk that refuses, is interrupted, and meets another writer.
"""

import contextlib
import functools
import json
import multiprocessing
import os
import resource
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import huggingface_hub
import numpy as np
import pytest
import torch

from braindecode_samba import SAMBA, load_montage
from braindecode_samba._paths import write_together, write_whole
from braindecode_samba.checkpoints import CheckpointError
from braindecode_samba.checkpoints.files import (
    find_checkpoint,
    read_checkpoint_files,
    read_tensors,
)
from braindecode_samba.evaluation import ResumableTable
from braindecode_samba.models import SAMBAReconstructor
from braindecode_samba.pretraining import WindowStore
from braindecode_samba.pretraining.saving import write_checkpoint
from braindecode_samba.pretraining.shards import (
    StoredRecording,
    write_index,
    write_recording,
)
from braindecode_samba.signals.montages import Montage, write_montage

SMALL = {"d_state": 4, "expand": 2, "target_positions": [[0.0, 0, 0.1], [0.1, 0, 0]]}
OLD, NEW = 1, 2


# each writer saves a version under a folder, and its reader tells which one is there


@functools.cache
def reconstructor(version):
    model = SAMBAReconstructor(n_chans=version, **SMALL)
    with torch.no_grad():
        model.trunk.encoder.conv2.weight.fill_(version)
    return model


@functools.cache
def classifier(version):
    model = SAMBA(n_outputs=2, n_chans=version, **SMALL)
    with torch.no_grad():
        model.trunk.encoder.conv2.weight.fill_(version)
    return model


def save_checkpoint(folder, version):
    write_checkpoint(folder / "c", reconstructor(version), {}, "# card")


def save_reconstructor(folder, version):
    reconstructor(version).save_pretrained(folder / "c")


def save_classifier(folder, version):
    classifier(version).save_pretrained(folder / "c")


def read_checkpoint(folder):
    files = read_checkpoint_files(find_checkpoint(folder / "c"))
    # the one is in the configuration alone, the other in the weights
    weight = read_tensors(files)["trunk.encoder.conv2.weight"]
    assert torch.all(weight == files.config["n_chans"])
    return files.config["n_chans"]


def save_table(folder, version):
    ResumableTable(folder).run([{"seed": version}], lambda seed: {"score": seed})


def read_table(folder):
    return int(ResumableTable(folder).to_frame()["score"].max())


def save_montage(folder, version):
    place = np.array([[0.0, 0, 0.1 * version]])
    write_montage(folder / "m.tsv", Montage("m", ("a",), place, "head", "a test"))


def read_montage(folder):
    return round(float(load_montage(folder / "m.tsv").positions[0, 2]) * 10)


def save_store(folder, version):
    written = [
        write_recording(
            folder,
            StoredRecording(
                **{"key": f"r{version}-{n}", "source": f"{n}.edf", "subject": str(n)},
                **{"ch_names": ("Cz",), "positions": ((0.0, 0.0, 0.1),), "scale": 1e-5},
                **{"n_samples": 0, "n_bytes": 0, "runs": ((0, 2),), "dropped": {}},
                dropped_channels=(),
            ),
            np.full((1, 96), 1e-5 * version),
        )
        for n in range(2)
    ]
    write_index(folder, written, {"sfreq": 128.0, "n_times": 64, "stride": 32})


def read_store(folder):
    values = {round(float(one["x"].mean()) / 1e-5) for one in WindowStore(folder)}
    (version,) = values
    return version


def save_text(folder, version):
    write_whole(folder / "deep" / "er" / "t.txt", str(version).encode() * 5000)


def read_text(folder):
    text = (folder / "deep" / "er" / "t.txt").read_text()
    assert len(text) == 5000
    return int(text[0])


WRITERS = {
    "write_checkpoint": (save_checkpoint, read_checkpoint),
    "SAMBAReconstructor.save_pretrained": (save_reconstructor, read_checkpoint),
    "SAMBA.save_pretrained": (save_classifier, read_checkpoint),
    "ResumableTable.run": (save_table, read_table),
    "write_montage": (save_montage, read_montage),
    "write_recording, write_index": (save_store, read_store),
    "write_whole": (save_text, read_text),
}


@pytest.fixture(scope="module", params=WRITERS)
def case(request, tmp_path_factory):
    """A writer, its reader, and a folder with what it wrote; not to be changed."""
    save, read = WRITERS[request.param]
    folder = tmp_path_factory.mktemp("old")
    save(folder, OLD)
    assert read(folder) == OLD
    return save, read, folder


def in_a_fork(action):
    """Run something in a process of its own; how it ended."""
    child = os.fork()
    if child == 0:
        status = 1
        with contextlib.suppress(BaseException):
            torch.set_num_threads(1)
            action()
            status = 0
        os._exit(status)
    return os.waitpid(child, 0)[1]


def stop_at(step, folder, stop):
    """Stop before the given step of those that the system is asked for in a folder."""
    done = 0

    def watch(event, arguments):
        nonlocal done
        asked = event in ("open", "os.rename", "os.remove", "os.mkdir", "fcntl.flock")
        if asked and (event == "fcntl.flock" or str(folder) in str(arguments[0])):
            done += 1
            if done == step:
                stop()

    sys.addaudithook(watch)


def killed_at(step, save, folder):
    """Whether a writer in a folder got as far as that step, and was killed there."""

    def killed_save():
        stop_at(step, folder, lambda: os.kill(os.getpid(), signal.SIGKILL))
        save(folder, NEW)

    status = in_a_fork(killed_save)
    assert status == 0 or os.WTERMSIG(status) == signal.SIGKILL
    return status != 0


def test_a_writer_killed_at_any_step_leaves_old_or_new(case, tmp_path):
    save, read, old = case
    found = []
    for step in range(1, 100):
        folder = shutil.copytree(old, tmp_path / str(step))
        killed = killed_at(step, save, folder)
        found.append(read(folder))
        # and the next one writes as if nothing had happened
        save(folder, NEW)
        assert read(folder) == NEW
        if not killed:
            break
    assert step > 2
    assert found == sorted(found)
    assert set(found) == {OLD, NEW}


@pytest.mark.parametrize("save", [save_checkpoint, save_classifier])
def test_a_first_save_killed_at_any_step_leaves_nothing_or_all(save, tmp_path):
    for step in range(1, 100):
        folder = tmp_path / str(step)
        folder.mkdir()
        killed = killed_at(step, save, folder)
        if (folder / "c" / "model.safetensors").exists():
            assert read_checkpoint(folder) == NEW
        else:
            assert killed
            with pytest.raises(CheckpointError, match="no file or folder|no model"):
                read_checkpoint(folder)
        save(folder, NEW)
        assert read_checkpoint(folder) == NEW
        if not killed:
            break
    assert step > 2


def test_an_interrupt_at_any_step_leaves_old_or_new_and_no_litter(case, tmp_path):
    save, read, old = case
    for step in range(1, 100):
        folder = tmp_path / str(step)
        shutil.copytree(old, folder)

        def interrupted_save(folder=folder, step=step):
            stop_at(step, folder, lambda: os.kill(os.getpid(), signal.SIGINT))
            with contextlib.suppress(KeyboardInterrupt):
                save(folder, NEW)
                os._exit(42)

        status = in_a_fork(interrupted_save)
        assert read(folder) in (OLD, NEW)
        assert not list(folder.rglob(".*.part"))
        if os.WEXITSTATUS(status) == 42:
            break
        assert status == 0
    assert step > 2


@contextlib.contextmanager
def files_of_at_most(n_bytes):
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (n_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def contents(folder):
    return {
        str(file.relative_to(folder)): file.read_bytes()
        for file in sorted(folder.rglob("*"))
        if file.is_file()
    }


@pytest.mark.parametrize("n_bytes", [0, 40])
def test_without_room_all_is_as_it_was_and_the_error_says_so(case, n_bytes, tmp_path):
    save, read, old = case
    folder = shutil.copytree(old, tmp_path / "copy")
    with files_of_at_most(n_bytes):
        with pytest.raises(OSError, match=r"could not be written .* as it was before"):
            save(folder, NEW)
    assert contents(folder) == contents(old)
    assert read(folder) == OLD


@pytest.mark.parametrize("n_bytes", [0, 40, 3000])
def test_without_room_no_beginning_of_a_checkpoint_appears(n_bytes, tmp_path):
    for save in (save_checkpoint, save_classifier, save_reconstructor):
        with files_of_at_most(n_bytes):
            with pytest.raises(OSError, match="make room"):
                save(tmp_path, NEW)
        assert not list(tmp_path.iterdir())


def test_with_room_for_the_weights_and_not_for_the_rest_nothing_changes(tmp_path):
    contents_of = {"a": b"old", "b": b"old"}
    write_together(tmp_path, contents_of)
    with files_of_at_most(100):
        with pytest.raises(OSError, match="as it was before"):
            write_together(tmp_path, {"a": b"new", "b": b"new" * 100})
    assert contents(tmp_path) == contents_of


def fill(disk):
    for number in range(100):
        (disk / str(number)).mkdir()
        save_classifier(disk / str(number), OLD)


def test_a_full_disk_leaves_both_models_on_it(tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(disk)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("mounting a small disk needs a privilege")
    try:
        with pytest.raises(OSError, match="No space left"):
            fill(disk)
        saved = sorted(folder for folder in disk.iterdir() if any(folder.iterdir()))
        assert saved
        for folder in saved:
            with pytest.raises(OSError, match="No space left"):
                save_classifier(folder, NEW)
            assert read_checkpoint(folder) == OLD
    finally:
        subprocess.run(["umount", str(disk)], check=True)


@pytest.mark.parametrize("nth", [1, 2, 3])
def test_a_disk_that_refuses_a_name_leaves_old_or_new(case, nth, tmp_path, monkeypatch):
    save, read, old = case
    folder = shutil.copytree(old, tmp_path / "copy")
    real, calls = os.replace, []

    def refuse(*arguments):
        calls.append(arguments)
        if len(calls) == nth:
            raise OSError(5, "Input/output error")
        real(*arguments)

    monkeypatch.setattr(os, "replace", refuse)
    failed = True
    with contextlib.suppress(OSError):
        save(folder, NEW)
        failed = False
    # it is asked again where an old file and a new one would be left
    assert read(folder) == (OLD if failed else NEW)


def save_often(save, folder, version, ready):
    torch.set_num_threads(1)  # those of the parent are not here
    ready.wait()
    for _ in range(20):
        save(folder, version)


def test_two_writers_leave_what_one_of_them_wrote(case, tmp_path):
    save, read, old = case
    folder = shutil.copytree(old, tmp_path / "copy")
    context = multiprocessing.get_context("fork")
    ready = context.Barrier(3)
    writers = [
        context.Process(target=save_often, args=(save, folder, version, ready))
        for version in (OLD, NEW)
    ]
    for writer in writers:
        writer.start()
    ready.wait(timeout=60)
    while any(writer.is_alive() for writer in writers):
        assert read(folder) in (OLD, NEW)
    for writer in writers:
        writer.join()
        assert writer.exitcode == 0
    assert read(folder) in (OLD, NEW)
    assert not list(folder.rglob(".*.part"))


def test_two_writers_may_begin_a_checkpoint_together(tmp_path):
    context = multiprocessing.get_context("fork")
    ready = context.Barrier(2)
    writers = [
        context.Process(
            target=save_often, args=(save_checkpoint, tmp_path, version, ready)
        )
        for version in (OLD, NEW)
    ]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
        assert writer.exitcode == 0
    assert read_checkpoint(tmp_path) in (OLD, NEW)


def test_saving_keeps_the_users_files_and_their_card(tmp_path):
    (tmp_path / "c").mkdir()
    (tmp_path / "c" / "notes.txt").write_text("mine")
    (tmp_path / "c" / "README.md").write_text("my card")
    save_classifier(tmp_path, NEW)
    assert (tmp_path / "c" / "notes.txt").read_text() == "mine"
    assert (tmp_path / "c" / "README.md").read_text() == "my card"
    assert read_checkpoint(tmp_path) == NEW


@pytest.mark.parametrize("save", [save_classifier, save_reconstructor])
def test_a_saved_model_is_three_files_and_no_pickle(save, tmp_path):
    save(tmp_path, NEW)
    names = {file.name for file in (tmp_path / "c").iterdir()}
    assert names == {"README.md", "config.json", "model.safetensors"}
    assert "SAMBA" in (tmp_path / "c" / "README.md").read_text()


def test_what_goes_to_the_hub_is_the_same_three_files(tmp_path, monkeypatch):
    sent = {}

    class Hub(huggingface_hub.HfApi):
        """The hub without its network."""

        def create_repo(self, repo_id, **options):
            return huggingface_hub.RepoUrl(f"https://huggingface.co/{repo_id}")

        def upload_folder(self, *, folder_path, repo_id, **options):
            sent[repo_id] = contents(Path(folder_path))
            return "https://huggingface.co/commit"

    monkeypatch.setattr(huggingface_hub.hub_mixin, "HfApi", Hub)
    model = reconstructor(NEW)
    assert model.save_pretrained(tmp_path / "net", push_to_hub=True, repo_id="me/net")
    model.push_to_hub("me/other", private=True)
    assert sent["me/net"] == sent["me/other"] == contents(tmp_path / "net")
    assert set(sent["me/net"]) == {"README.md", "config.json", "model.safetensors"}


def test_a_class_made_of_ours_saves_and_loads_as_braindecode_does(tmp_path):
    class Deeper(SAMBA):
        """Knows an option of its own, and any other."""

        def __init__(self, n_outputs=None, *, deep=1, **options):
            super().__init__(n_outputs=n_outputs, **options)
            self.deep = deep

    Deeper(2, n_chans=3, deep=3, **SMALL).save_pretrained(tmp_path)
    assert Deeper.from_pretrained(tmp_path).deep == 3


def test_leftovers_of_killed_writers_go_with_a_later_save(tmp_path):
    save_checkpoint(tmp_path, OLD)
    old, fresh = (tmp_path / "c" / f".model.safetensors.{n}.part" for n in (1, 2))
    for part in (old, fresh):
        part.write_bytes(b"begun")
    os.utime(old, (1e9, 1e9))
    save_checkpoint(tmp_path, NEW)
    assert not old.exists()
    assert fresh.exists()  # it may be another writer's


def test_the_configuration_names_the_weights(tmp_path):
    save_classifier(tmp_path, NEW)
    config = json.loads((tmp_path / "c" / "config.json").read_text())
    (tmp_path / "c" / "config.json").write_text(
        json.dumps(config | {"weights_sha256": "0" * 64})
    )
    with pytest.raises(CheckpointError, match="belongs to weights"):
        read_checkpoint(tmp_path)
