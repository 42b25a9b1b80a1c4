"""The state-space dual scan of Mamba-2, and nothing else.

One function, `ssd_scan`, with the conventions of mamba-ssm, stands before three ways to
compute the recurrence ``S_t = exp(dt_t A) S_{t-1} + dt_t x_t B_t``, ``y_t = S_t C_t +
D x_t``: step by step (`recurrent_scan`, the slow reference), by chunks in PyTorch
(`chunks`), and mamba-ssm's Triton kernel on a GPU.  Projections, convolutions and
gates live in `stack`.
"""

import functools
import importlib
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from braindecode_samba.scan.chunks import chunked_scan

# mamba-ssm's kernel computes offsets in 32 bits: beyond some 61,000 steps, fewer with a
# wide batch, it is silently wrong (state-spaces/mamba #1015).
_KERNEL_MAX_STEPS = 32_768
_KERNEL_MAX_VALUES = 2**30
_KERNEL_CHUNK = 256


def ssd_scan(
    x: Tensor,
    dt: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    D: Tensor | None = None,
    *,
    dt_bias: Tensor | None = None,
    dt_softplus: bool = False,
    dt_limit: tuple[float, float] = (0.0, float("inf")),
    initial_state: Tensor | None = None,
    return_final_state: bool = False,
    chunk_size: int | None = None,
    backend: str = "auto",
) -> Tensor | tuple[Tensor, Tensor]:
    """Scan of a selective state-space model with scalar decay per head.

    Follows ``mamba_chunk_scan_combined`` of mamba-ssm in shapes and meaning.

    Parameters
    ----------
    x : Tensor, shape (batch, time, heads, head_dim)
        Inputs, float32, bfloat16 or float64; any number of steps from 1 on.
    dt : Tensor, shape (batch, time, heads)
        Step sizes, before bias, softplus and limits.
    A : Tensor, shape (heads,)
        Decay rates, negative.
    B, C : Tensor, shape (batch, time, groups, state)
        Input and output projections; ``heads`` is a multiple of ``groups`` and
        neighbouring heads share a group.
    D : Tensor, shape (heads,) or (heads, head_dim), optional
        Skip from input to output.
    dt_bias : Tensor, shape (heads,), optional
        Added to ``dt`` first.
    dt_softplus : bool
        Apply softplus to ``dt`` after the bias.
    dt_limit : tuple of float
        Range to which the step sizes are clamped at last.
    initial_state : Tensor, shape (batch, heads, head_dim, state), optional
        State before the first step; zero by default.
    return_final_state : bool
        Return also the state after the last step.
    chunk_size : int, optional
        Steps computed as one matrix product. By default 32 for heads of 32 features or
        more and 16 below on a CPU, 64 on a GPU, and 256 in mamba-ssm's kernel.
    backend : {"auto", "torch", "mamba_ssm"}
        ``"auto"`` takes mamba-ssm's kernel for CUDA tensors where it can be imported.

    Returns
    -------
    y : Tensor, shape (batch, time, heads, head_dim)
        Outputs, in the dtype of ``x``.
    final_state : Tensor, shape (batch, heads, head_dim, state)
        Only with ``return_final_state``; float32, or float64 for float64 input.

    Raises
    ------
    ValueError
        If shapes do not fit together, a chunk is empty or the backend is unknown.
    ImportError
        If mamba-ssm is asked for and can't be used.

    Notes
    -----
    Sums run in float32 (float64 for float64 input) also under autocast. Decays are
    exponentials of sums that are never positive, so that any ``dt * A`` is safe.

    References
    ----------
    Dao and Gu (2024), Transformers are SSMs, arXiv 2405.21060, section 6.
    """
    _check_shapes(x, dt, A, B, C, D, dt_bias, initial_state)
    if chunk_size is not None and chunk_size < 1:
        raise ValueError(f"chunk_size={chunk_size} is empty; pass 1 or more, or None")
    groups = B.shape[2]
    if dt_bias is not None:
        dt = dt.to(_sum_dtype(x)) + dt_bias
    if dt_softplus:
        dt = F.softplus(dt.to(_sum_dtype(x)))
    if dt_limit != (0.0, float("inf")):
        dt = dt.clamp(*dt_limit)
    y, state = grouped_scan(
        x.unflatten(2, (groups, -1)),
        dt.unflatten(2, (groups, -1)),
        A.unflatten(0, (groups, -1)),
        B,
        C,
        None if D is None else D.unflatten(0, (groups, -1)),
        None if initial_state is None else initial_state.unflatten(1, (groups, -1)),
        chunk_size or 0,
        backend,
    )
    y = y.flatten(2, 3)
    return (y, state.flatten(1, 2)) if return_final_state else y


def grouped_scan(
    x: Tensor,
    dt: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    D: Tensor | None,
    initial_state: Tensor | None,
    chunk_size: int = 0,
    backend: str = "auto",
) -> tuple[Tensor, Tensor]:
    """Choose the way to compute a scan whose heads are ordered by group.

    Parameters
    ----------
    x, dt, A, B, C, D, initial_state
        As for `chunked_scan`, in any float dtype.
    chunk_size : int
        Steps in a chunk; 0 takes the backend's default.
    backend : {"auto", "torch", "mamba_ssm"}
        As for `ssd_scan`.

    Returns
    -------
    y : Tensor, shape (batch, time, groups, heads, head_dim)
        Outputs, in the dtype of ``x``.
    final_state : Tensor, shape (batch, groups, heads, head_dim, state)
        State after the last step, float32 or float64.
    """
    if not torch.jit.is_scripting():
        # autocast would run the sums in half precision
        with torch.autocast(x.device.type, enabled=False):
            if _use_kernel(backend, x):
                return _kernel_scan(x, dt, A, B, C, D, initial_state, chunk_size)
            return _torch_scan(x, dt, A, B, C, D, initial_state, chunk_size)
    return _torch_scan(x, dt, A, B, C, D, initial_state, chunk_size)


def _torch_scan(
    x: Tensor,
    dt: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    D: Tensor | None,
    state: Tensor | None,
    chunk_size: int,
) -> tuple[Tensor, Tensor]:
    wide = _sum_dtype(x)
    y, state = chunked_scan(
        x.to(wide),
        dt.to(wide),
        A.to(wide),
        B.to(wide),
        C.to(wide),
        None if D is None else D.to(wide),
        None if state is None else state.to(wide),
        chunk_size if chunk_size > 0 else default_chunk_size(x.shape[4], x.is_cuda),
    )
    return y.to(x.dtype), state


def _sum_dtype(x: Tensor) -> torch.dtype:
    return torch.float64 if x.dtype == torch.float64 else torch.float32


def default_chunk_size(head_dim: int, on_gpu: bool) -> int:
    """Choose the steps in one chunk: near twice the state, products are balanced."""
    if on_gpu:
        return 64
    return 32 if head_dim >= 32 else 16


def recurrent_scan(
    x: Tensor,
    dt: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    D: Tensor | None = None,
    initial_state: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Step through the recurrence as it is written: the reference for tests.

    Parameters
    ----------
    x, dt, A, B, C, D, initial_state
        As for `ssd_scan`, with ``dt`` ready to use.

    Returns
    -------
    y : Tensor, shape (batch, time, heads, head_dim)
        Outputs.
    final_state : Tensor, shape (batch, heads, head_dim, state)
        State after the last step.
    """
    heads = x.shape[2]
    B = B.repeat_interleave(heads // B.shape[2], dim=2)
    C = C.repeat_interleave(heads // C.shape[2], dim=2)
    if initial_state is None:
        state = x.new_zeros(x.shape[0], heads, x.shape[3], B.shape[3])
    else:
        state = initial_state
    outputs = []
    for t in range(x.shape[1]):
        decay = torch.exp(dt[:, t] * A)[..., None, None]
        push = torch.einsum("bhp,bhn->bhpn", dt[:, t, :, None] * x[:, t], B[:, t])
        state = decay * state + push
        outputs.append(torch.einsum("bhpn,bhn->bhp", state, C[:, t]))
    y = torch.stack(outputs, dim=1)
    if D is not None:
        y = y + x * (D if D.ndim == 2 else D[:, None])
    return y, state


def _check_shapes(
    x: Tensor,
    dt: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    D: Tensor | None,
    dt_bias: Tensor | None,
    initial_state: Tensor | None,
) -> None:
    if x.ndim != 4 or x.shape[1] < 1:
        raise ValueError(
            f"x has shape {tuple(x.shape)}; pass (batch, time, heads, head_dim) with "
            "at least one step"
        )
    batch, n_times, heads, head_dim = x.shape
    if B.ndim != 4 or B.shape[2] < 1 or heads % B.shape[2]:
        raise ValueError(
            f"B has shape {tuple(B.shape)}; pass (batch, time, groups, state) with "
            f"groups dividing the {heads} heads of x"
        )
    groups, state = B.shape[2:]
    for name, value, shapes in (
        ("dt", dt, [(batch, n_times, heads)]),
        ("A", A, [(heads,)]),
        ("B", B, [(batch, n_times, groups, state)]),
        ("C", C, [(batch, n_times, groups, state)]),
        ("D", D, [(heads,), (heads, head_dim)]),
        ("dt_bias", dt_bias, [(heads,)]),
        ("initial_state", initial_state, [(batch, heads, head_dim, state)]),
    ):
        if value is not None and tuple(value.shape) not in shapes:
            raise ValueError(
                f"{name} has shape {tuple(value.shape)}; pass "
                + " or ".join(str(shape) for shape in shapes)
                + f" to fit x of shape {tuple(x.shape)}"
            )


def _use_kernel(backend: str, x: Tensor) -> bool:
    if backend == "torch":
        return False
    if backend == "mamba_ssm":
        if not x.is_cuda:
            raise ValueError(
                "backend='mamba_ssm' runs on CUDA tensors alone; pass backend='torch' "
                "or 'auto' for tensors on " + x.device.type
            )
        return _kernel(required=True) is not None
    if backend == "auto":
        return x.is_cuda and x.dtype != torch.float64 and _kernel() is not None
    raise ValueError(
        f"backend={backend!r} is unknown; pass 'auto', 'torch' or 'mamba_ssm'"
    )


@functools.cache
def _kernel(required: bool = False) -> Callable[..., Any] | None:
    """mamba-ssm's scan, imported at the first use on a GPU and never before."""
    try:
        module = importlib.import_module("mamba_ssm.ops.triton.ssd_combined")
    except Exception as error:  # a broken installation fails in many ways
        if required:
            raise ImportError(
                "mamba-ssm could not be imported; install it with "
                'pip install "braindecode-samba[mamba]" or pass backend="torch"'
            ) from error
        return None
    return module.mamba_chunk_scan_combined


def _kernel_scan(
    x: Tensor,
    dt: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    D: Tensor | None,
    state: Tensor | None,
    chunk_size: int,
) -> tuple[Tensor, Tensor]:
    """Run mamba-ssm's kernel in segments that hand on the state."""
    kernel = _kernel(required=True)
    assert kernel is not None
    groups = x.shape[2]
    x, dt, A = x.flatten(2, 3), dt.float().flatten(2, 3), A.float().flatten(0, 1)
    D = None if D is None else D.float().flatten(0, 1)
    state = None if state is None else state.float().flatten(1, 2)
    chunk = chunk_size if chunk_size > 0 else _KERNEL_CHUNK
    values_per_chunk = chunk * x.shape[0] * x.shape[2] * x.shape[3]
    chunks = min(_KERNEL_MAX_STEPS // chunk, _KERNEL_MAX_VALUES // values_per_chunk)
    steps = chunk * max(1, chunks)
    outputs = []
    for start in range(0, x.shape[1], steps):
        part = slice(start, start + steps)
        y, state = kernel(
            x[:, part].contiguous(),
            dt[:, part].contiguous(),
            A,
            B[:, part].to(x.dtype).contiguous(),
            C[:, part].to(x.dtype).contiguous(),
            chunk_size=chunk,
            D=D,
            initial_states=state,
            return_final_states=True,
        )
        outputs.append(y)
    y = torch.cat(outputs, dim=1).unflatten(2, (groups, -1))
    assert state is not None
    return y, state.unflatten(1, (groups, -1))
