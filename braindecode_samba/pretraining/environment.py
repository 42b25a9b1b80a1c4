"""What a run stands on: versions, processors, the scan that serves, and caches.

`describe_environment` is what a bug report needs.
"""

import importlib
import os
import platform
import re
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import mne
import torch
from threadpoolctl import threadpool_info

from braindecode_samba.checkpoints.files import (
    read_checkpoint_files,
    shipped_checkpoints,
    short_hash,
)
from braindecode_samba.scan import serving

_PACKAGES = (
    *("braindecode-samba", "braindecode", "torch", "torchaudio", "skorch", "mne"),
    *("scikit-learn", "numpy", "scipy", "numba", "mamba-ssm", "accelerate"),
    *("safetensors", "huggingface_hub", "moabb", "pyriemann", "captum", "mne-lsl"),
)


def describe_environment() -> Iterator[str]:
    """Tell what a bug report needs, a line each."""
    yield f"Python {platform.python_version()}, {platform.platform()}"
    for name in _PACKAGES:
        yield f"{name} {_version(name)}"
    yield f"processor: {name_hardware(torch.device('cpu'))}"
    yield from _describe_threads()
    yield from _describe_gpus()
    served = serving()
    yield f"scan on a CPU: {served.path} ({served.reason})"
    yield f"scan on a GPU: {_scan_on_gpu()}"
    for name, folder in shipped_checkpoints().items():
        digest = short_hash(read_checkpoint_files(folder).sha256)
        yield f"checkpoint {name}: {digest}, {folder}"
    yield f"cache of numba: {served.cache}"
    yield from _describe_caches()


def name_hardware(device: torch.device) -> str:
    """Name a GPU, or the processor and how many of its cores torch takes."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    name, info = platform.processor() or platform.machine(), Path("/proc/cpuinfo")
    if info.is_file():
        found = re.search(r"^model name\s*:\s*(.+)$", info.read_text(), re.MULTILINE)
        name = found[1] if found else name
    return f"{torch.get_num_threads()} of {os.cpu_count()} cores of {name}"


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "is not installed"


def _describe_threads() -> Iterator[str]:
    names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_CORETYPE")
    given = [f"{name}={os.environ[name]}" for name in names if name in os.environ]
    yield f"threads: torch {torch.get_num_threads()}; {', '.join(given) or 'none set'}"
    for pool in threadpool_info():
        parts = (pool["internal_api"], pool["version"], pool.get("architecture"))
        yield f"  {' '.join(filter(None, parts))}: {pool['num_threads']}"


def _describe_gpus() -> Iterator[str]:
    if not torch.cuda.is_available():
        yield "GPU: none that CUDA can use"
    for number in range(torch.cuda.device_count()):
        memory = torch.cuda.get_device_properties(number).total_memory / 2**30
        name = torch.cuda.get_device_name(number)
        yield f"GPU {number}: {name}, {memory:.0f} GiB, CUDA {torch.version.cuda}"


def _scan_on_gpu() -> str:
    if not torch.cuda.is_available():
        return "none, because there is no GPU"
    try:
        importlib.import_module("mamba_ssm.ops.triton.ssd_combined")
    except Exception as error:  # of which there are as many as reasons
        reason = f"{type(error).__name__}: {' '.join(str(error).split())}"
        return f"torch, because mamba-ssm can't be imported ({reason})"
    return "mamba-ssm's kernel, torch for float64"


def _describe_caches() -> Iterator[str]:
    try:
        from huggingface_hub.constants import HF_HUB_CACHE

        yield f"cache of the Hugging Face hub: {HF_HUB_CACHE}"
    except ImportError:  # only who loads from the hub needs it
        yield "cache of the Hugging Face hub: none, huggingface_hub is missing"
    yield f"settings of MNE: {mne.get_config_path()}"
