"""Run mamba-ssm's own Mamba-2 code on the CPU, through Triton's interpreter.

A script for `test_mamba_ssm` with a process of its own: the environment variable
``TRITON_INTERPRET=1`` has to stand before triton is imported, and parts of
``torch.cuda`` are replaced for good.  ``mamba_ssm_interpreter.py PACKAGE FOLDER``
answers every ``*.request.safetensors`` of FOLDER with an ``*.answer.safetensors``;
PACKAGE is the folder ``mamba_ssm`` of a checkout or an installation.  Comparisons live
in the test, and nothing of mamba-ssm is copied here.
"""

import contextlib
import importlib
import json
import sys
import types
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor


def prepare(package: Path) -> None:
    """Make mamba-ssm's sources importable and runnable without a GPU.

    Parameters
    ----------
    package : pathlib.Path
        Folder ``mamba_ssm``.
    """
    # registered by path: the package's own __init__ wants its CUDA extension
    module = types.ModuleType("mamba_ssm")
    module.__path__ = [str(package)]
    sys.modules["mamba_ssm"] = module
    # without causal-conv1d, which knows CUDA alone, the layer uses torch's convolution
    sys.modules["causal_conv1d"] = None  # type: ignore[assignment]

    # the code around the kernels enters the device of a tensor and asks for its size
    torch.cuda.device = lambda index: contextlib.nullcontext()  # type: ignore
    torch.cuda.get_device_properties = lambda device: types.SimpleNamespace(  # type: ignore
        multi_processor_count=1
    )

    # timing configurations against each other needs a driver: the first one is taken
    triton = importlib.import_module("triton")
    autotune = triton.autotune
    triton.autotune = lambda configs, *args, **kwargs: autotune(
        configs[:1], *args, **kwargs
    )


def run_layer(
    arguments: dict[str, Any], tensors: dict[str, Tensor]
) -> dict[str, Tensor]:
    """Build a ``mamba_ssm.Mamba2``, run it and differentiate.

    Parameters
    ----------
    arguments : dict
        Arguments of the layer.
    tensors : dict of str to Tensor
        ``param.<name>``: state dict, loaded strictly; without any, the layer keeps its
        own start. ``x.<case>``: inputs. ``g.<case>``: gradient of the output, for the
        cases to be differentiated, which run in chunks of 64.

    Returns
    -------
    dict of str to Tensor
        ``param.<name>``, ``y.<case>`` and ``grad.<case>.<name>``, the input's gradient
        under the name ``x``.
    """
    mamba2 = importlib.import_module("mamba_ssm.modules.mamba2")
    torch.manual_seed(0)
    layer = mamba2.Mamba2(**arguments, use_mem_eff_path=False)
    state = {
        name.removeprefix("param."): value
        for name, value in tensors.items()
        if name.startswith("param.")
    }
    if state:
        layer.load_state_dict(state, strict=True)
    answer = {f"param.{name}": value for name, value in layer.state_dict().items()}
    default = layer.chunk_size
    for case in [name[2:] for name in tensors if name.startswith("x.")]:
        x = tensors[f"x.{case}"]
        if f"g.{case}" not in tensors:
            layer.chunk_size = default
            with torch.no_grad():
                answer[f"y.{case}"] = layer(x)
            continue
        # in the default chunks of 256 the interpreter takes three times as long
        layer.chunk_size = 64
        leaves = {"x": x.requires_grad_(), **dict(layer.named_parameters())}
        answer[f"y.{case}"] = y = layer(x)
        grads = torch.autograd.grad(y, list(leaves.values()), tensors[f"g.{case}"])
        for name, grad in zip(leaves, grads, strict=True):
            answer[f"grad.{case}.{name}"] = grad
    return answer


def run_scan(
    arguments: dict[str, Any], tensors: dict[str, Tensor]
) -> dict[str, Tensor]:
    """Run ``mamba_chunk_scan_combined`` and differentiate.

    Parameters
    ----------
    arguments : dict
        Its plain arguments, ``chunk_size`` among them.
    tensors : dict of str to Tensor
        Its tensor arguments by name; ``g.y`` and ``g.state``, the gradients of both
        outputs.

    Returns
    -------
    dict of str to Tensor
        ``y``, ``state``, and ``grad.<name>`` for every tensor argument.
    """
    combined = importlib.import_module("mamba_ssm.ops.triton.ssd_combined")
    leaves = _leaves(tensors)
    y, state = combined.mamba_chunk_scan_combined(
        **leaves, **arguments, return_final_states=True
    )
    return _answer(y, state, leaves, tensors)


def run_backend(
    arguments: dict[str, Any], tensors: dict[str, Tensor]
) -> dict[str, Tensor]:
    """Run our ``ssd_scan`` on mamba-ssm's kernel, as it does for CUDA tensors.

    Parameters
    ----------
    arguments : dict
        Plain arguments of ``ssd_scan``, and ``max_steps``, the length of a segment.
    tensors : dict of str to Tensor
        Tensor arguments by name; ``g.y`` and ``g.state`` as for `run_scan`.

    Returns
    -------
    dict of str to Tensor
        As for `run_scan`.
    """
    dual = importlib.import_module("braindecode_samba.scan.dual")
    dual._use_kernel = lambda backend, x: True
    dual._KERNEL_MAX_STEPS = arguments.pop("max_steps")
    leaves = _leaves(tensors)
    y, state = dual.ssd_scan(**leaves, **arguments, return_final_state=True)
    return _answer(y, state, leaves, tensors)


def _leaves(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {
        name: value.requires_grad_()
        for name, value in tensors.items()
        if not name.startswith("g.")
    }


def _answer(
    y: Tensor, state: Tensor, leaves: dict[str, Tensor], tensors: dict[str, Tensor]
) -> dict[str, Tensor]:
    grads = torch.autograd.grad(
        [y, state], list(leaves.values()), [tensors["g.y"], tensors["g.state"]]
    )
    answer = {"y": y, "state": state}
    for name, grad in zip(leaves, grads, strict=True):
        answer[f"grad.{name}"] = grad
    return answer


def main(package: Path, folder: Path) -> None:
    """Answer every request of a folder.

    Parameters
    ----------
    package : pathlib.Path
        Folder ``mamba_ssm``.
    folder : pathlib.Path
        Where the requests lie: tensors, and in the metadata ``run`` (``"layer"``,
        ``"scan"`` or ``"backend"``) and ``arguments`` (JSON).
    """
    prepare(package)
    runs = {"layer": run_layer, "scan": run_scan, "backend": run_backend}
    for path in sorted(folder.glob("*.request.safetensors")):
        with safe_open(path, "pt") as request:
            metadata = request.metadata()
            tensors = {name: request.get_tensor(name) for name in request.keys()}
        answer = runs[metadata["run"]](json.loads(metadata["arguments"]), tensors)
        save_file(
            {name: value.detach().contiguous() for name, value in answer.items()},
            path.with_name(path.name.replace(".request.", ".answer.")),
        )


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
