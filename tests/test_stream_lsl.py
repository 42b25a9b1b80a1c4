"""The LSL example reads mne-lsl's player, in a network that holds nothing else."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import mne
import numpy as np
import pytest

from braindecode_samba import SAMBAClassifier

pytest.importorskip("mne_lsl", reason="needs mne-lsl: pip install mne-lsl")

SCRIPT = Path(__file__).parents[1] / "examples" / "stream_lsl.py"
LOOPBACK = 'ip link set lo up && ip link set lo multicast on && exec "$@"'
NAMES = ["C3", "Cz", "C4"]

# plays in the background while the example reads
REPLAY = """
import runpy, sys, mne
from mne_lsl.player import PlayerLSL
raw = mne.io.read_raw_fif(sys.argv[1], preload=True, verbose="error")
with PlayerLSL(raw, chunk_size=8, name="amplifier"):
    sys.argv = sys.argv[2:]
    runpy.run_path(sys.argv[0], run_name="__main__")
"""


def alone(*command):
    """Command in a network namespace of its own, where only the loopback is up."""
    return ["unshare", "--map-root-user", "--net", "sh", "-c", LOOPBACK, "sh", *command]


@pytest.fixture(scope="module", autouse=True)
def _namespace():
    if not (shutil.which("unshare") and shutil.which("ip")):
        pytest.skip("needs unshare and ip, of util-linux and iproute2")
    tried = subprocess.run(alone("true"), capture_output=True, text=True, check=False)
    if tried.returncode:
        pytest.skip(f"no network namespace can be made here: {tried.stderr.strip()}")


def recording(names, sfreq, seconds, types):
    rng = np.random.default_rng(0)
    x = rng.standard_normal((len(names), round(seconds * sfreq))) * 1e-5
    info = mne.create_info(names, sfreq, types)
    return mne.io.RawArray(x, info, verbose="error").set_montage("colin27_1005")


def test_the_example_reads_an_amplifier_and_prints_predictions(make_eeg, tmp_path):
    x = make_eeg(8, len(NAMES), 128).numpy()
    decoder = SAMBAClassifier(ch_names=NAMES, sfreq=128, random_state=0)
    decoder.fit(x, ["rest", "task"] * 4, groups=[1] * 4 + [2] * 4)
    decoder.save_pretrained(tmp_path / "decoder")
    raw = recording(["C4", "STI", "C3", "Pz"], 250, 20, ["eeg", "stim", "eeg", "eeg"])
    raw.save(tmp_path / "replay_raw.fif", verbose="error")
    options = ["--name", "amplifier", "--band", "4", "40", "--seconds", "5"]
    done = subprocess.run(
        alone(
            *[sys.executable, "-c", REPLAY, str(tmp_path / "replay_raw.fif")],
            *[str(SCRIPT), str(tmp_path / "decoder"), *options, "--timeout", "60"],
        ),
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    print(done.stdout)
    line = r"^ *([\d.]+) s   (rest|task) +([\d.]+) +(-?\d+) ms$"
    said = re.findall(line, done.stdout, re.MULTILINE)
    seconds = [float(one[0]) for one in said]
    # what is resampled comes a little later: the last may lie behind the end
    assert seconds == [1 + i / 2 for i in range(len(said))]
    assert 8 <= len(said) <= 10
    assert all(0.5 <= float(one[2]) <= 1 for one in said)
    assert all(int(one[3]) > 0 for one in said)
    assert "amplifier: 4 channels at 250 Hz; windows of 1 s" in done.stdout
    assert re.search(r"^median latency \d+ ms$", done.stdout, re.MULTILINE)
