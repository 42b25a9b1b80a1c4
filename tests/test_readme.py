"""The README: short, and every block of code in it runs as it stands."""

import inspect
import os
import re
import shutil
import site
import subprocess
import sys
from pathlib import Path

import matplotlib.pyplot as plt
import mne
import numpy as np
import pandas as pd
import pytest

from braindecode_samba import load_montage
from braindecode_samba.signals import EEGSimulator

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "README.md").read_text("utf-8")
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```", re.MULTILINE | re.DOTALL)
BLOCKS = [(language, code) for language, code in BLOCK.findall(TEXT)]
NAMES = "Fz C3 Cz C4 P3 Pz P4 O1 O2".split()


def blocks(language):
    return [code for known, code in BLOCKS if known == language]


def run(command, folder, **variables):
    """Run lines of bash, with the programs of this environment before all others."""
    places = [str(Path(sys.executable).parent), os.environ["PATH"]]
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", command],
        cwd=folder,
        env={**os.environ, "PATH": os.pathsep.join(places), **variables},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def test_it_is_short():
    assert len(TEXT.splitlines()) <= 130
    told = re.sub(r"\]\([^)]*\)", "]", BLOCK.sub("", TEXT))
    numbers = re.findall(r"(?<![\w.])\d+(?:\.\d+)*", told)
    assert len(numbers) <= 40, numbers


def test_links_and_pictures_are_there():
    targets = re.findall(r"\]\(([^)]+)\)", TEXT)
    own = [target for target in targets if "://" not in target]
    assert len(own) > 10
    assert not [target for target in own if not (ROOT / target).exists()]


def test_python_blocks_run_one_after_the_other(tmp_path, monkeypatch, capsys):
    X, y, people, info = EEGSimulator(NAMES, sfreq=128).imagery(9, 6)
    metadata = pd.DataFrame({"subject": people, "condition": y})
    epochs = mne.EpochsArray(X, info, metadata=metadata, verbose="error")
    epochs.save(tmp_path / "my-epo.fif", verbose="error")
    monkeypatch.chdir(tmp_path)
    names = {}
    for code in blocks("python"):
        exec(code, names)
    told = capsys.readouterr().out
    assert re.search(r"^(0\.\d+|1\.0)$", told, re.MULTILINE), "no score"
    assert re.search(r"^sides .*\d$", told, re.MULTILINE), "no evidence"
    np.testing.assert_array_equal(names["decoder"].classes_, np.unique(y))
    assert (tmp_path / "my-decoder" / "model.safetensors").is_file()


def test_the_first_decoder_of_the_site_runs(capsys):
    page = (ROOT / "docs" / "start" / "first_decoder.rst").read_text("utf-8")
    first = page.split(".. code-block:: python")[1]
    code = re.match(r"\n((?:\n|   .*\n)+)", first)[1]
    exec(inspect.cleandoc(code), {})
    said, score = capsys.readouterr().out.strip().splitlines()
    assert "hand" in said
    assert float(score) > 0.7


@pytest.fixture
def path(tmp_path):
    """The variable PATH, with what pip makes of the package's entry point."""
    command = tmp_path / "bin" / "braindecode-samba"
    command.parent.mkdir()
    command.write_text(f'#!/bin/sh\nexec {sys.executable} -m braindecode_samba "$@"\n')
    command.chmod(0o755)
    return os.pathsep.join([str(command.parent), os.environ["PATH"]])


def test_a_fitted_decoder_reads_a_file(tmp_path, path):
    pytest.importorskip("edfio")
    (code,) = (code for code in blocks("bash") if "braindecode-samba decode" in code)
    raw = EEGSimulator(list(load_montage("emotiv_epoc_14").names), sfreq=128).raw(1, 5)
    raw.export(tmp_path / "recording.edf", verbose="error")
    told = run(code, tmp_path, PATH=path)
    assert "closed" in told
    assert plt.imread(tmp_path / "eyes.png").std() > 0.01


def test_commands_of_pretraining_run(tmp_path, path):
    (code,) = (code for code in blocks("bash") if "braindecode-samba prepare" in code)
    assert "--max-minutes 120" in code
    (tmp_path / "FOLDER").mkdir()
    for subject in (1, 2):
        raw = EEGSimulator(NAMES, sfreq=128).raw(subject, n_trials=5)
        raw.save(tmp_path / "FOLDER" / f"sub-0{subject}_eeg.fif", verbose="error")
    # the only word that is changed: two hours are too long for a test
    told = run(code.replace("minutes 120", "minutes 0.03"), tmp_path, PATH=path)
    assert "held out: sub-01" in told
    assert "stopped after 0.03 minutes" in told
    assert (tmp_path / "OUTPUT").is_dir()


@pytest.mark.slow
def test_commands_of_installation_run(tmp_path):
    for needed in ("hatchling", "editables"):
        pytest.importorskip(needed)
    # of this environment's packages none is fetched again
    pip = {"PIP_NO_DEPS": "1", "PIP_NO_BUILD_ISOLATION": "0", "PIP_NO_INDEX": "1"}
    here = os.pathsep.join(site.getsitepackages())
    everything = {**pip, "PYTHONPATH": here, "PYTEST_ADDOPTS": "--collect-only -q"}
    folder = tmp_path / "clone"
    left_out = shutil.ignore_patterns(
        ".git", "results", "*.pyc", "_build", "auto_examples"
    )
    shutil.copytree(ROOT, folder, ignore=left_out)
    commands = [code for code in blocks("bash") if "pip install" in code]
    assert len(commands) == 2
    both, install = commands
    told = run(both, folder, **everything)
    assert "SAMBA" in told
    assert re.search(r"\d+(/\d+)? tests collected", told)
    assert (folder / "scores.png").is_file()
    run(f"python -m venv own && . own/bin/activate\n{install}", folder, **everything)
