"""Whatever happens to the compiled loops, networks give the same, and one warning.

Every case is a process of its own, since a process decides once.
"""

import json
import os
import shutil
import subprocess
import sys
import textwrap
import threading
from pathlib import Path

import numpy as np
import pytest
import torch

import braindecode_samba
from braindecode_samba import (
    SAMBA,
    SAMBAClassifier,
    SAMBAReconstructor,
    chs_info_from_names,
)
from braindecode_samba.nn import Mamba2
from braindecode_samba.scan import fused, optional, serving, stack, threads
from braindecode_samba.scan.kernels import forward

PACKAGE = Path(braindecode_samba.__file__).parent

SCRIPT = """
import copy, json, warnings
{prelude}
import torch
from braindecode_samba.nn import Mamba2
from braindecode_samba.scan import serving

def relative(a, b):
    return float((a.double() - b).norm() / b.norm())

torch.manual_seed(0)
torch.set_num_threads(2)
layer, u = Mamba2(16, 4, 2, 2, headdim=8), torch.randn(2, 40, 16)
exact = copy.deepcopy(layer).double()
errors = []
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    for _ in range(2):
        with torch.no_grad():
            errors.append(relative(layer(u), exact(u.double())))
        layer.zero_grad(), exact.zero_grad()
        for one, x in ((layer, u), (exact, u.double())):
            one(x).square().sum().backward()
        errors += [relative(a.grad, b.grad) for a, b in
                   zip(layer.parameters(), exact.parameters())]
    served = serving()
told = [str(w.message) for w in caught if "SAMBA" in str(w.message)]
print(json.dumps([served, told, max(errors)]))
"""


def run(prelude="", setup=None, **environment):
    """What served in a new process, what it warned of, and its largest error."""
    finished = subprocess.run(
        [sys.executable, "-P", "-W", "ignore", "-c", SCRIPT.format(prelude=prelude)],
        env={**os.environ, "PYTHONPATH": str(PACKAGE.parent), **environment},
        preexec_fn=setup,
        capture_output=True,
        text=True,
        check=False,
    )
    assert finished.returncode == 0, finished.stderr
    served, told, error = json.loads(finished.stdout.splitlines()[-1])
    assert error < 1e-5
    return optional.Serving(*served), told


def test_loops_that_serve_say_so_and_nothing_else():
    served, told = run()
    assert served.path == "compiled loops"
    assert Path(served.cache).is_dir()
    assert not told


FAULTS = {
    "not installed": ("import sys; sys.modules['numba'] = None", "pip install"),
    "an old llvmlite": (
        """
        import llvmlite, sys
        llvmlite.__version__ = "0.36.0"
        import llvmlite._version
        """,
        "pip install",
    ),
    "a broken library": (
        """
        import sys
        class Broken:
            def find_spec(self, name, path=None, target=None):
                if name == "numba":
                    raise OSError("libLLVM.so: cannot open shared object file")
        sys.meta_path.insert(0, Broken())
        """,
        "cannot open shared object file",
    ),
    "a compilation that fails": (
        """
        import numba.core.dispatcher as d
        def fail(self, sig):
            raise d.errors.LoweringError("LLVM has no such instruction")
        d.Dispatcher.compile = fail
        """,
        "LLVM has no such instruction",
    ),
    "no memory for code": (
        """
        import numba.core.compiler as c
        def fail(*_):
            raise MemoryError
        c.CompilerBase.compile_extra = fail
        import numba.core.caching as k
        k.Cache.load_overload = lambda *_: None
        """,
        "MemoryError",
    ),
    "wrong numbers": (
        """
        from braindecode_samba.scan import kernels
        kernels.forward = lambda *arrays: (arrays[-2].fill(1), arrays[-1].fill(1))
        """,
        "other numbers",
    ),
    "no further thread": (
        """
        import threading
        import braindecode_samba
        def fail(self):
            raise RuntimeError("can't start new thread")
        threading.Thread.start = fail
        """,
        "can't start new thread",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_without_the_loops_torch_serves_with_one_warning(fault):
    prelude, said = FAULTS[fault]
    served, told = run(textwrap.dedent(prelude))
    assert served.path == "torch"
    (warning,) = told
    assert "through torch, which is slower" in warning
    assert said in warning
    assert served.reason in warning


def test_without_compilation_torch_serves_with_one_warning():
    served, told = run(NUMBA_DISABLE_JIT="1")
    assert served.path == "torch"
    (warning,) = told
    assert "unset" in warning


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    """A folder with all that the loops of the script compile to."""
    folder = tmp_path_factory.mktemp("kept")
    run(NUMBA_CACHE_DIR=str(folder))
    return folder


def no_room():
    import resource

    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))


@pytest.fixture
def bare(tmp_path):
    """Environment of a package and a home in which nothing can be written."""
    package = shutil.copytree(
        PACKAGE, tmp_path / "bare" / PACKAGE.name, ignore=lambda *_: {"__pycache__"}
    )
    # root may write wherever there is a folder
    (package / "scan" / "__pycache__").write_text("")
    for kind in ("montages", "checkpoints"):
        (package.parent / kind).symlink_to(PACKAGE.parent / kind)
    nowhere = str(package / "scan" / "__pycache__" / "home")
    return {
        "PYTHONPATH": str(package.parent),
        "PYTHONDONTWRITEBYTECODE": "1",
        "HOME": nowhere,
        "XDG_CACHE_HOME": nowhere,
        "NUMBA_CACHE_DIR": "",
    }


def test_without_a_folder_to_write_to_one_warning_names_one(bare):
    served, told = run(**bare)
    (warning,) = told
    assert "NUMBA_CACHE_DIR" in warning
    assert "NUMBA_CACHE_DIR" in served.cache


def test_without_room_to_write_one_warning_says_so(tmp_path):
    _, told = run(setup=no_room, NUMBA_CACHE_DIR=str(tmp_path))
    (warning,) = told
    assert "some room" in warning


def cut_off(file):
    file.write_bytes(file.read_bytes()[:100])


def make_foreign(file):
    file.write_bytes(b"written by something else" * 10)


def empty(file):
    file.write_bytes(b"")


@pytest.mark.parametrize(
    ("damage", "kind"),
    [(cut_off, "nbi"), (cut_off, "nbc"), (make_foreign, "nbi"), (empty, "nbc")],
)
def test_a_damaged_cache_is_told_once_and_mended(damage, kind, kept, tmp_path):
    folder = shutil.copytree(kept, tmp_path / "kept")
    for file in folder.rglob(f"kernels.forward*.{kind}"):
        damage(file)
    served, told = run(NUMBA_CACHE_DIR=str(folder))
    assert served.path == "compiled loops"
    (warning,) = told
    assert "NUMBA_CACHE_DIR" in warning
    served, told = run(NUMBA_CACHE_DIR=str(folder))
    assert served.path == "compiled loops"
    assert not told
    assert str(folder) in served.cache


def info(**environment):
    """What the command line says of the loops, and of where they are kept."""
    finished = subprocess.run(
        [sys.executable, "-P", "-m", "braindecode_samba", "info"],
        env={**os.environ, "PYTHONPATH": str(PACKAGE.parent), **environment},
        capture_output=True,
        text=True,
        check=True,
    )
    lines = dict(line.split(": ", 1) for line in finished.stdout.splitlines()
                 if ": " in line)  # fmt: skip
    return lines["scan on a CPU"], lines["cache of numba"]


def test_info_says_what_serves_and_how_to_get_it_back():
    path, cache = info(NUMBA_DISABLE_JIT="1")
    assert path == "torch (NUMBA_DISABLE_JIT is set; unset this environment variable)"
    assert cache == "none"
    path, cache = info()
    assert path.startswith("compiled loops (for float32; ")
    assert cache == serving().cache


def test_a_pool_that_can_not_start_leaves_one_thread(monkeypatch):
    monkeypatch.setattr(threads, "_pools", {})
    monkeypatch.setattr(optional, "_told", set())
    monkeypatch.setattr(fused, "_LONG", 0)
    layer, u = Mamba2(64, 16, 2, 8), torch.randn(4, 40, 64)
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        with torch.no_grad():
            expected = layer(u)
            threads._pools.clear()
            started = []

            def start(self):
                started.append(self)
                if len(started) > 1:
                    raise RuntimeError("can't start new thread")
                real(self)

            real = threading.Thread.start
            monkeypatch.setattr(threading.Thread, "start", start)
            with pytest.warns(RuntimeWarning, match="on one core.*raise their limit"):
                given = layer(u)
            monkeypatch.undo()
            torch.testing.assert_close(given, expected)
            assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)


@pytest.fixture(params=[torch.float64, torch.bfloat16])
def other_dtype(request):
    torch.set_default_dtype(request.param)
    yield request.param
    torch.set_default_dtype(torch.float32)


def test_another_default_dtype_changes_nothing_for_a_network(other_dtype):
    torch.set_default_dtype(torch.float32)
    model = SAMBA(n_outputs=2, chs_info=chs_info_from_names(["C3", "Cz"])).eval()
    x = torch.randn(3, 2, 200)
    expected = model(x)
    expected.sum().backward()
    gradient = model.head.band_power.strength.grad.clone()
    model.zero_grad()
    torch.set_default_dtype(other_dtype)
    given = model(x)
    given.sum().backward()
    assert given.dtype == torch.float32
    assert torch.equal(given, expected)
    assert torch.equal(model.head.band_power.strength.grad, gradient)


@pytest.mark.parametrize("kind", [SAMBA, SAMBAReconstructor])
def test_networks_are_float32_under_another_default_dtype(kind, other_dtype):
    options = {"n_outputs": 2} if kind is SAMBA else {}
    model = kind(chs_info=chs_info_from_names(["C3", "Cz"]), **options)
    assert {value.dtype for value in model.state_dict().values()} == {torch.float32}
    assert model(torch.randn(3, 2, 200)).isfinite().all()


@pytest.mark.parametrize(
    "options", [{}, {"start": "random", "max_epochs": 1}, {"checkpoint": None}], ids=str
)
def test_estimators_fit_under_another_default_dtype(options, other_dtype, make_eeg):
    X = make_eeg(8, 3, 200).float().numpy()
    options = {"ch_names": ["C3", "Cz", "C4"], "sfreq": 128, "align": False, **options}
    decoder = SAMBAClassifier(random_state=0, **options).fit(X, [0, 1] * 4)
    assert np.isfinite(decoder.predict_proba(X)).all()


def test_the_trial_uses_nobodys_random_numbers_and_modes(monkeypatch):
    monkeypatch.setattr(optional, "_faults", {})
    state = torch.get_rng_state()
    saved = []
    with (
        torch.autograd.graph.saved_tensors_hooks(saved.append, lambda x: x),
        torch.inference_mode(),
        torch.autocast("cpu"),
    ):
        assert optional.loops_serve(stack._try_loops, True)
    assert not saved
    assert torch.equal(torch.get_rng_state(), state)


def test_serving_names_the_folder_of_the_loops():
    assert serving().cache == str(forward.stats.cache_path)
