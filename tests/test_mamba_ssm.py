"""Promises towards mamba-ssm: its layer, its scan, its state dicts, its absence.

The real layer runs on the CPU through Triton's interpreter, in a process of its own
(`mamba_ssm_interpreter`).  Its sources are those of an installed ``mamba_ssm``, or of
a checkout of https://github.com/state-spaces/mamba (v2.2.4 or newer; nothing to build)
named by ``MAMBA_SSM_SOURCE``; triton and einops must be importable::

    MAMBA_SSM_SOURCE=path/to/mamba python -m pytest tests/test_mamba_ssm.py -rP

prints the figures as well.  About two minutes on one core.  Without the sources these
tests are skipped; those on the absence of mamba-ssm always run.  The scan against its
recurrence and the layer against stored values are tested elsewhere.
"""

import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode

import braindecode_samba
from braindecode_samba.nn import Mamba2
from braindecode_samba.scan import dual, ssd_scan

TOLERANCE = 1e-5

# outside and inside the differential block, and a size that the network doesn't have
LAYERS = [
    dict(d_model=64, headdim=64, expand=8, d_state=16, d_conv=2),
    dict(d_model=16, headdim=16, expand=8, d_state=16, d_conv=2),
    dict(d_model=64, headdim=32, expand=2, d_state=32, d_conv=4, ngroups=2),
]
LAYER_IDS = ["width 64", "width 16", "two groups"]


@pytest.fixture(scope="module")
def package() -> Path:
    """Folder ``mamba_ssm`` of an installation or a checkout."""
    needed = ("triton", "einops", "packaging", "huggingface_hub")
    missing = [name for name in needed if importlib.util.find_spec(name) is None]
    if missing:
        pytest.skip(f"mamba-ssm's layer needs {', '.join(missing)}")
    source = os.environ.get("MAMBA_SSM_SOURCE")
    if source:
        folder = Path(source).resolve() / "mamba_ssm"
        if not (folder / "modules" / "mamba2.py").is_file():
            pytest.fail(
                f"MAMBA_SSM_SOURCE={source} holds no mamba_ssm/modules/mamba2.py"
            )
        return folder
    spec = importlib.util.find_spec("mamba_ssm")
    if spec is None or not spec.submodule_search_locations:
        pytest.skip(
            "mamba-ssm is not installed and MAMBA_SSM_SOURCE names no checkout of it"
        )
    return Path(spec.submodule_search_locations[0])


def ask(
    package: Path, folder: Path, run: str, arguments: dict[str, Any], **tensors: Tensor
) -> dict[str, Tensor]:
    """Have mamba-ssm's code compute something in another process."""
    save_file(
        {name: value.detach().contiguous() for name, value in tensors.items()},
        folder / "it.request.safetensors",
        {"run": run, "arguments": json.dumps(arguments)},
    )
    ours = str(Path(braindecode_samba.__file__).resolve().parents[1])
    paths = [ours, *filter(None, [os.environ.get("PYTHONPATH")])]
    script = Path(__file__).with_name("mamba_ssm_interpreter.py")
    done = subprocess.run(
        [sys.executable, str(script), str(package), str(folder)],
        env={
            **os.environ,
            "TRITON_INTERPRET": "1",
            "PYTHONPATH": os.pathsep.join(paths),
        },
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    return load_file(folder / "it.answer.safetensors")


def assert_same(ours: dict[str, Tensor], theirs: dict[str, Tensor]) -> None:
    """Compare each tensor relative to its largest absolute entry, and print it."""
    errors = {}
    for name, value in ours.items():
        assert value.shape == theirs[name].shape, name
        assert value.dtype == theirs[name].dtype == torch.float32, name
        largest = theirs[name].abs().max()
        assert 0 < largest < float("inf"), name
        errors[name] = ((value - theirs[name]).abs().max() / largest).item()
        print(f"{name:28s} {errors[name]:.1e}")
    # written so that a NaN fails
    worse = {name: error for name, error in errors.items() if not error <= TOLERANCE}
    assert not worse, worse


def normal(seed: int, *shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def uniform(seed: int, low: float, high: float, *shape: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.empty(*shape).uniform_(low, high, generator=generator)


def layer_without_trivial_values(arguments: dict[str, int]) -> Mamba2:
    """Our layer, with no parameter at 0 or 1 and with decays from slow to fast."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        layer = Mamba2(**arguments)
    heads = layer.A_log.shape[0]
    with torch.no_grad():
        layer.A_log.copy_(uniform(1, 0.2, 16, heads).log())
        layer.dt_bias.copy_(uniform(2, -5, 0.5, heads))
        layer.D.copy_(0.3 + 0.7 * normal(3, heads))
        layer.norm.weight.copy_(uniform(4, 0.5, 1.5, *layer.norm.weight.shape))
    return layer


def our_layer(layer: Mamba2, **tensors: Tensor) -> dict[str, Tensor]:
    """Run our layer on a request to mamba-ssm's, and name results as its answer."""
    results = {}
    for case in [name[2:] for name in tensors if name.startswith("x.")]:
        leaves = {
            "x": tensors[f"x.{case}"].clone().requires_grad_(),
            **dict(layer.named_parameters()),
        }
        y = layer(leaves["x"])
        results[f"y.{case}"] = y.detach()
        if f"g.{case}" in tensors:
            grads = torch.autograd.grad(y, list(leaves.values()), tensors[f"g.{case}"])
            for name, grad in zip(leaves, grads, strict=True):
                results[f"grad.{case}.{name}"] = grad
    return results


@pytest.mark.parametrize("arguments", LAYERS, ids=LAYER_IDS)
def test_mamba_ssm_computes_the_same_with_our_state_dict(
    package: Path, tmp_path: Path, arguments: dict[str, int]
) -> None:
    layer = layer_without_trivial_values(arguments)
    # 301 steps pass the end of a chunk of 256, mamba-ssm's default
    tensors = {
        "x.301": normal(10, 1, 301, arguments["d_model"]),
        "x.64": normal(11, 1, 64, arguments["d_model"]),
        "g.64": normal(12, 1, 64, arguments["d_model"]),
    }
    state = {f"param.{name}": value for name, value in layer.state_dict().items()}
    theirs = ask(package, tmp_path, "layer", arguments, **state, **tensors)
    assert_same(our_layer(layer, **tensors), theirs)


@pytest.mark.parametrize("arguments", LAYERS, ids=LAYER_IDS)
def test_our_layer_computes_the_same_with_mamba_ssm_state_dict(
    package: Path, tmp_path: Path, arguments: dict[str, int]
) -> None:
    tensors = {
        "x.301": normal(20, 1, 301, arguments["d_model"]),
        # two samples: a layer that mixed them would differ
        "x.64": normal(21, 2, 64, arguments["d_model"]),
        "g.64": normal(22, 2, 64, arguments["d_model"]),
    }
    theirs = ask(package, tmp_path, "layer", arguments, **tensors)
    layer = Mamba2(**arguments)
    names = [name for name in theirs if name.startswith("param.")]
    state = {name.removeprefix("param."): theirs[name] for name in names}
    assert layer.load_state_dict(state, strict=True) == ([], [])
    assert_same(our_layer(layer, **tensors), theirs)


def scan_tensors(kind: str) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Arguments of the scan under our names: 100 steps, 2 groups of 2 heads."""
    tensors = {
        "x": normal(30, 2, 100, 4, 16),
        "dt": uniform(31, 0.01, 0.3, 2, 100, 4),
        "A": -uniform(32, 0.2, 8, 4),
        "B": normal(33, 2, 100, 2, 16),
        "C": normal(34, 2, 100, 2, 16),
        "D": normal(35, 4),
        "initial_state": normal(36, 2, 4, 16, 16),
    }
    if kind == "plain":
        return tensors, {}
    # the limits cut some of the steps at both ends
    tensors["dt"] = normal(31, 2, 100, 4)
    tensors["dt_bias"] = uniform(37, -3, 0, 4)
    tensors["D"] = normal(35, 4, 16)
    return tensors, {"dt_softplus": True, "dt_limit": (0.05, 0.6)}


def our_scan(
    tensors: dict[str, Tensor], gradients: dict[str, Tensor], options: dict[str, Any]
) -> dict[str, Tensor]:
    leaves = {name: value.clone().requires_grad_() for name, value in tensors.items()}
    y, state = ssd_scan(**leaves, **options, return_final_state=True, backend="torch")
    outputs = [gradients["g.y"], gradients["g.state"]]
    grads = torch.autograd.grad([y, state], list(leaves.values()), outputs)
    results = {"y": y.detach(), "state": state.detach()}
    for name, grad in zip(leaves, grads, strict=True):
        results[f"grad.{name}"] = grad
    return results


@pytest.mark.parametrize("kind", ["plain", "softplus, bias and limits"])
def test_scan_equals_mamba_ssm_scan_with_states(
    package: Path, tmp_path: Path, kind: str
) -> None:
    tensors, options = scan_tensors(kind)
    gradients = {"g.y": normal(40, 2, 100, 4, 16), "g.state": normal(41, 2, 4, 16, 16)}
    ours = our_scan(tensors, gradients, options)

    tensors["initial_states"] = tensors.pop("initial_state")
    arguments = {**options, "chunk_size": 64}
    theirs = ask(package, tmp_path, "scan", arguments, **tensors, **gradients)
    theirs["grad.initial_state"] = theirs.pop("grad.initial_states")
    assert_same(ours, theirs)


def test_mamba_ssm_backend_hands_the_state_from_segment_to_segment(
    package: Path, tmp_path: Path
) -> None:
    tensors, options = scan_tensors("softplus, bias and limits")
    gradients = {"g.y": normal(40, 2, 100, 4, 16), "g.state": normal(41, 2, 4, 16, 16)}
    # segments of 64 and 36 steps
    arguments = {**options, "chunk_size": 32, "max_steps": 64}
    theirs = ask(package, tmp_path, "backend", arguments, **tensors, **gradients)
    assert_same(our_scan(tensors, gradients, options), theirs)


@pytest.fixture
def without_mamba_ssm(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Make ``import mamba_ssm`` fail, as where it is not installed."""
    for name in [name for name in sys.modules if name.startswith("mamba_ssm.")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "mamba_ssm", None)
    dual._kernel.cache_clear()
    yield
    dual._kernel.cache_clear()


def plain_tensors() -> list[Tensor]:
    tensors, _ = scan_tensors("plain")
    return [tensors[name] for name in ("x", "dt", "A", "B", "C", "D")]


@pytest.mark.usefixtures("without_mamba_ssm")
def test_auto_is_the_torch_scan_where_mamba_ssm_is_absent() -> None:
    y = ssd_scan(*plain_tensors(), backend="auto")
    assert torch.equal(y, ssd_scan(*plain_tensors(), backend="torch"))


@pytest.mark.usefixtures("without_mamba_ssm")
def test_mamba_ssm_backend_refuses_cpu_tensors() -> None:
    with pytest.raises(ValueError, match="CUDA tensors alone; pass backend='torch' or"):
        ssd_scan(*plain_tensors(), backend="mamba_ssm")


@pytest.mark.usefixtures("without_mamba_ssm")
def test_on_cuda_auto_falls_back_and_mamba_ssm_names_the_extra() -> None:
    # tensors without values say that they are on a GPU, and need none
    with FakeTensorMode() as mode:
        tensors = [mode.from_tensor(value).to("cuda") for value in plain_tensors()]
        assert tensors[0].is_cuda
        assert ssd_scan(*tensors).shape == tensors[0].shape
        with pytest.raises(ImportError, match=r"braindecode-samba\[mamba\]"):
            ssd_scan(*tensors, backend="mamba_ssm")


def test_unknown_backend_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ValueError, match="'auto', 'torch' or 'mamba_ssm'"):
        ssd_scan(*plain_tensors(), backend="triton")
