"""Shared fixtures, and the isolation of the suite from the user's folders and settings.

What a single module alone needs stays in its test file.
"""

import importlib
import os
import shutil
import signal
import sys
import tempfile
from pathlib import Path

# a shell that starts the suite in the background has it ignore interrupts, and so all
# that it starts, in which tests of interrupts would wait for ever
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# before MNE or MOABB are imported: both write their settings and data to the home
_FOLDER = Path(tempfile.mkdtemp(prefix="braindecode-samba-tests-"))
for _variable in ("_MNE_FAKE_HOME_DIR", "MNE_DATA", "MOABB_RESULTS"):
    (_FOLDER / _variable.strip("_").lower()).mkdir()
    os.environ[_variable] = str(_FOLDER / _variable.strip("_").lower())
os.environ["HF_HUB_OFFLINE"] = "1"

import numpy as np  # noqa: E402
import pytest  # noqa: E402
import torch  # noqa: E402
from hypothesis import settings  # noqa: E402

from braindecode_samba import chs_info_from_names  # noqa: E402

# tensors are small here: more threads only wait for each other
_THREADS = min(2, torch.get_num_threads())
torch.set_num_threads(_THREADS)
settings.register_profile("suite", deadline=None, max_examples=25, derandomize=True)
settings.load_profile("suite")


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup():
    """Every test, and fixtures of any scope before it, have as many threads.

    They decide the order in which sums are rounded, and some tests leave one.
    """
    torch.set_num_threads(_THREADS)


def pytest_unconfigure():
    shutil.rmtree(_FOLDER, ignore_errors=True)


@pytest.fixture(autouse=True)
def _seeded():
    """Every test starts from the same random numbers, alone or after others."""
    torch.manual_seed(0)


@pytest.fixture(scope="session")
def golden_folder():
    """Folder with the reference tensors."""
    return Path(__file__).parent / "golden"


@pytest.fixture(scope="session")
def motor_chs_info():
    """Three electrodes over the motor cortex."""
    return chs_info_from_names(["C3", "Cz", "C4"])


@pytest.fixture(scope="session")
def scalp_chs_info():
    """Nine electrodes all over the head."""
    return chs_info_from_names("Fp1 Fp2 F3 F4 Cz P7 P8 O1 O2".split())


@pytest.fixture(scope="session")
def make_eeg():
    """Maker of EEG-like windows in volts, float32: ``make_eeg(n, channels, times)``.

    Smoothed noise that neighbouring channels share, with an offset for each channel.
    """

    def make(n_windows, n_chans, n_times, seed=0):
        rng = np.random.default_rng(seed)
        noise = rng.standard_normal((n_windows, n_chans, n_times + 8)).cumsum(-1)
        noise = noise[..., 8:] - noise[..., :-8]
        shared = rng.standard_normal((n_windows, 1, n_times))
        offsets = rng.standard_normal((n_windows, n_chans, 1)) * 20
        signals = (noise + shared + offsets) * 1e-5
        return torch.tensor(signals, dtype=torch.float32)

    return make


@pytest.fixture(scope="module")
def load():
    """Import one of the scripts of `examples/experiments`, which import each other."""
    scripts = str(Path(__file__).parents[1] / "examples" / "experiments")
    sys.path.insert(0, scripts)
    yield importlib.import_module
    sys.path.remove(scripts)
