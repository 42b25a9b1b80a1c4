"""The package as users get it: a wheel, an import without side effects, clear failure.

Everything runs in processes of its own, outside the repository, with the libraries of
this environment.
"""

import importlib.util
import json
import os
import subprocess
import sys
import zipfile
from importlib import metadata
from pathlib import Path

import pytest

import braindecode_samba

ROOT = Path(__file__).parents[1]


def run(code, folder, path=(), *flags):
    """Run Python in `folder` with `path` before all else; what it prints, as JSON."""
    done = try_to_run(code, folder, path, *flags)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def try_to_run(code, folder, path=(), *flags):
    places = os.pathsep.join(map(str, path))
    return subprocess.run(
        [sys.executable, *flags, "-c", code],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": places, "PYTHONSAFEPATH": "1"},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """Wheel built by the backend of this environment."""
    for needed in ("build", "hatchling"):
        if importlib.util.find_spec(needed) is None:
            pytest.skip(f"building a wheel needs {needed}: pip install {needed}")
    if not (ROOT / "pyproject.toml").is_file():
        pytest.skip("the tests are not in a checkout, so there is nothing to build")
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation"]
    done = subprocess.run(
        [*build, "--outdir", str(folder), str(ROOT)],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory):
    """Folder into which the wheel was installed."""
    target = tmp_path_factory.mktemp("installed")
    pip = [sys.executable, "-m", "pip", "install", "--no-deps", "--no-index"]
    done = subprocess.run(
        [*pip, "--quiet", "--target", str(target), str(wheel)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return target


def test_the_wheel_holds_code_tables_weights_and_licence(wheel):
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    for kind in ("montages", "checkpoints"):
        for file in (ROOT / kind).rglob("*"):
            if file.is_file() and "__pycache__" not in file.parts:
                place = f"braindecode_samba/data/{kind}/{file.relative_to(ROOT / kind)}"
                assert place in names
    code = (ROOT / "braindecode_samba").rglob("*.py")
    assert {str(file.relative_to(ROOT)) for file in code} <= names
    assert "braindecode_samba/py.typed" in names
    assert "braindecode_samba/data/configs/small.json" in names
    assert [name for name in names if name.endswith("licenses/LICENSE")]
    tops = {name.split("/")[0] for name in names}
    assert {top for top in tops if not top.endswith(".dist-info")} == {
        "braindecode_samba"
    }
    assert not [name for name in names if name.endswith((".pyc", ".edf"))]


def test_the_wheel_says_what_the_package_says(wheel):
    with zipfile.ZipFile(wheel) as archive:
        (place,) = (n for n in archive.namelist() if n.endswith("/METADATA"))
        text = archive.read(place).decode()
    assert f"\nVersion: {braindecode_samba.__version__}\n" in text
    for needed in ("braindecode>=1.8.1", "torch<2.15,>=2.11", "torchaudio<2.12,>=2.11"):
        assert f"\nRequires-Dist: {needed}\n" in text
    for extra in ("moabb", "mamba", "test"):
        assert f"\nProvides-Extra: {extra}\n" in text


def test_an_installed_wheel_finds_its_data_and_works(installed, tmp_path):
    code = """
import json
from importlib import metadata
import numpy as np
import braindecode_samba as package
from braindecode_samba._paths import data_folder
from braindecode_samba.signals import available_montages

X = np.random.default_rng(0).normal(size=(4, 14, 64))
montage = package.load_montage("emotiv_epoc_14")
decoder = package.SAMBAClassifier(
    chs_info=montage.chs_info(), sfreq=128
)
print(json.dumps({
    "file": package.__file__,
    "montages": str(data_folder("montages")),
    "checkpoints": str(data_folder("checkpoints")),
    "known": list(available_montages()),
    "names": montage.names,
    "version": package.__version__,
    "metadata": metadata.version("braindecode-samba"),
    "shape": decoder.fit(X, [0, 1, 0, 1]).predict_proba(X).shape,
}))
"""
    found = run(code, tmp_path, [installed])
    assert Path(found["file"]).is_relative_to(installed)
    for kind in ("montages", "checkpoints"):
        assert Path(found[kind]) == installed / "braindecode_samba" / "data" / kind
    assert set(found["known"]) >= {f.stem for f in (ROOT / "montages").glob("*.tsv")}
    assert found["names"][0] == "AF3"
    assert found["version"] == found["metadata"] == braindecode_samba.__version__
    assert found["shape"] == [4, 2]


def test_an_installed_wheel_brings_its_command_and_configs(installed, tmp_path):
    code = """
import json, sys
from importlib import metadata
from braindecode_samba.pretraining.config import shipped_configs

(command,) = metadata.entry_points(group="console_scripts", name="braindecode-samba")
print(json.dumps([command.value, {n: str(p) for n, p in shipped_configs().items()}]))
"""
    command, configs = run(code, tmp_path, [installed])
    assert command == "braindecode_samba.cli:main"
    assert set(configs) == {"samba-e", "samba-t", "small"}
    assert all(Path(path).is_relative_to(installed) for path in configs.values())


def test_a_checkout_finds_its_data():
    for kind in ("montages", "checkpoints"):
        folder = braindecode_samba._paths.data_folder(kind)
        assert folder.is_dir()
        assert folder.name == kind
    with pytest.raises(FileNotFoundError, match="'nothing'.*install"):
        braindecode_samba._paths.data_folder("nothing")


def test_the_version_comes_from_one_place():
    assert metadata.version("braindecode-samba") == braindecode_samba.__version__
    assert 'dynamic = ["version"]' in (ROOT / "pyproject.toml").read_text()


def test_importing_changes_nothing_else(tmp_path):
    code = """
import json, random, socket, sys, warnings
import numpy as np, torch

def refuse(*args, **kwargs):
    raise OSError("no network at import")

socket.socket.connect = refuse
before_braindecode = set(sys.modules)
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import braindecode, braindecode.models, skorch.callbacks
others = set(sys.modules)

def state():
    return [
        torch.get_rng_state().sum().item(),
        torch.initial_seed(),
        np.random.get_state()[1].tolist(),
        np.random.get_state()[2],
        hash(random.getstate()),
        torch.get_num_threads(),
        torch.get_default_dtype() is torch.float32,
        torch.is_grad_enabled(),
        torch.are_deterministic_algorithms_enabled(),
        np.geterr(),
    ]

torch.manual_seed(1)
np.random.seed(1)
random.seed(1)
before = state()
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    import braindecode_samba
    import braindecode_samba.evaluation
    import braindecode_samba.pretraining
ours = set(sys.modules) - others
heavy = ("mamba_ssm", "triton", "causal_conv1d", "matplotlib.pyplot", "captum")
print(json.dumps({
    "warnings": [str(w.message) for w in caught],
    "same": state() == before,
    "mamba": [name for name in sys.modules if name.split(".")[0] == "mamba_ssm"],
    "heavy": [name for name in ours if name in heavy],
}))
"""
    found = run(code, tmp_path, [ROOT])
    assert found["warnings"] == []
    assert found["same"]
    assert found["mamba"] == []
    assert found["heavy"] == []
    assert list(tmp_path.iterdir()) == []


def test_importing_warns_of_nothing(tmp_path):
    done = try_to_run("import braindecode_samba", tmp_path, [ROOT])
    assert done.stderr == ""


def test_import_registers_samba_and_overwrites_nobody(tmp_path):
    code = """
import json, warnings
warnings.simplefilter("ignore")
import braindecode.models
from braindecode.models.util import models_dict
theirs = dict(models_dict)
mine = object()
if CLASH:
    models_dict["SAMBA"] = mine
import braindecode_samba
print(json.dumps([
    models_dict["SAMBA"] is braindecode_samba.SAMBA,
    models_dict["SAMBA"] is mine,
    all(models_dict[name] is model for name, model in theirs.items()),
]))
"""
    assert run(f"CLASH = False{code}", tmp_path, [ROOT]) == [True, False, True]
    assert run(f"CLASH = True{code}", tmp_path, [ROOT]) == [False, True, True]


def test_all_public_names_are_there():
    for name in braindecode_samba.__all__:
        assert getattr(braindecode_samba, name) is not None
    assert len(set(braindecode_samba.__all__)) == len(braindecode_samba.__all__)


def test_a_torchaudio_that_does_not_fit_is_explained(tmp_path):
    broken = tmp_path / "site" / "braindecode"
    broken.mkdir(parents=True)
    (broken / "__init__.py").write_text(
        'raise OSError("Could not load this library: _torchaudio.abi3.so")\n'
    )
    code = "import braindecode_samba"
    done = try_to_run(code, tmp_path, [tmp_path / "site", ROOT])
    assert done.returncode == 1
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("ImportError: torchaudio")
    for cure in ("PyTorch index", "torchaudio/lib/*.so", "README"):
        assert cure in last
    # the cause stays visible
    assert "Could not load this library" in done.stderr


def test_no_other_failure_of_braindecode_is_renamed(tmp_path):
    broken = tmp_path / "site" / "braindecode"
    broken.mkdir(parents=True)
    (broken / "__init__.py").write_text('raise ValueError("another fault")\n')
    done = try_to_run("import braindecode_samba", tmp_path, [tmp_path / "site", ROOT])
    assert done.stderr.strip().splitlines()[-1] == "ValueError: another fault"
