"""Linear algebra of spatial filters: what covariances and responses tell apart.

Filters are found by eigenvectors, once; what runs at every window is made of products
and elementary operations alone, which every exported graph has.
"""

import math

import torch
from torch import Tensor, nn

# below this share of the largest, the variance of a direction is rounding
_FLOOR = 1e-3
_EVOKED_SHRINKAGE = 1e-2


def spatial_patterns(
    total: Tensor, weighted: Tensor, n_patterns: int, one_sided: bool = False
) -> Tensor:
    """Directions whose power goes with a target most, in turn for each target.

    Parameters
    ----------
    total : Tensor, shape (n, n)
        Mean covariance.
    weighted : Tensor, shape (n_columns, n, n)
        Means of covariances times centred targets.
    n_patterns : int
        How many to give; those beyond the rank of ``total`` are zero.
    one_sided : bool
        Only those whose power grows with the target.

    Returns
    -------
    Tensor, shape (n_patterns, n)
        Filters with a mean power of 1.
    """
    white = whitener(total, _FLOOR, len(total))
    candidates = []
    for one in weighted:
        strengths, turns = torch.linalg.eigh(white @ one @ white.T)
        order = (strengths if one_sided else strengths.abs()).argsort(descending=True)
        candidates.append(turns[:, order].T @ white)
    # the first of each target, then the second of each
    in_turn = torch.stack(candidates, 1).flatten(0, 1)[:n_patterns]
    return padded(in_turn, n_patterns)


def evoked_patterns(
    evoked: Tensor, targets: Tensor, n_patterns: int
) -> tuple[Tensor, Tensor]:
    """Find filters that hold most of the responses that go with the targets.

    Parameters
    ----------
    evoked : Tensor, shape (n, n_maps, n_points)
        Slow signals of windows.
    targets : Tensor, shape (n, n_columns)
        Centred.
    n_patterns : int
        How many, in turn for each column.

    Returns
    -------
    filters : Tensor, shape (n_patterns, n_maps)
        Filters.
    responses : Tensor, shape (n_patterns, n_points)
        What each gives of the response that goes with its column.
    """
    # in parts: no copy of all windows in float64
    total = sum(
        (part.double() @ part.double().mT).sum(0) for part in evoked.split(512)
    ) / (len(evoked) * evoked.shape[2])
    white = whitener(total, _EVOKED_SHRINKAGE, len(total))
    filters, responses = [], []
    for column in targets.T:
        weights = column / (column.std(correction=0) * len(column)).clamp(min=1e-12)
        response = torch.tensordot(weights.to(evoked.dtype), evoked, 1).double()
        inside = white @ response
        turns = torch.linalg.eigh(inside @ inside.T).eigenvectors.flip(1)
        filters.append(turns.T @ white)
        responses.append(filters[-1] @ response)
    chosen = torch.stack(filters, 1).flatten(0, 1)[:n_patterns]
    expected = torch.stack(responses, 1).flatten(0, 1)[:n_patterns]
    return padded(chosen, n_patterns), padded(expected, n_patterns)


def whitener(covariance: Tensor, floor: float, rank: int) -> Tensor:
    """Rows that whiten the strongest directions above a share of the strongest."""
    values, vectors = torch.linalg.eigh(covariance)
    kept = values > floor * values[-1].clamp(min=1e-30)
    kept[: max(len(values) - rank, 0)] = False
    return (vectors[:, kept] / values[kept].sqrt()).T


def padded(rows: Tensor, n: int) -> Tensor:
    """Rows, and zeros up to ``n``."""
    return torch.cat([rows, rows.new_zeros(n - len(rows), rows.shape[1])])


def sweep_inverse(matrices: Tensor) -> Tensor:
    """Inverse of positive definite matrices (..., n, n), by elementary operations.

    Each step exchanges one variable (Beaton's sweep).  Exported graphs have no inverse.
    """
    n = matrices.shape[-1]
    eye = torch.eye(n, dtype=matrices.dtype, device=matrices.device)
    for k in range(n):
        column = matrices[..., :, k : k + 1]
        row = matrices[..., k : k + 1, :]
        pivot = matrices[..., k : k + 1, k : k + 1]
        chosen = eye[:, k : k + 1]
        matrices = matrices - (column - chosen) * (row + chosen.T) / pivot
    return matrices


def matrix_logarithm(matrices: Tensor) -> Tensor:
    """Logarithm of positive definite matrices (..., n, n), by products alone.

    Four square roots by coupled Newton-Schulz steps, then a series: exported graphs
    have no eigenvalues, and gradients of these fail where two are equal. Good to 1e-8
    in float64 for condition numbers up to 1,000.
    """
    n = matrices.shape[-1]
    eye = torch.eye(n, dtype=matrices.dtype, device=matrices.device)
    scale = torch.zeros_like(matrices[..., :1, :1])
    root, factor = matrices, 1.0
    for n_steps in (18, 14, 12, 11):
        size = root.square().sum((-2, -1)).sqrt()[..., None, None]
        scale = scale + factor * torch.log(size)
        root = _square_root(root / size, eye, n_steps)
        factor = 2 * factor
    size = root.diagonal(dim1=-2, dim2=-1).mean(-1)[..., None, None]
    scale = scale + factor * torch.log(size)
    rest = root / size - eye
    # Horner's form of log(1 + x)
    total = eye / 16
    for k in range(15, 0, -1):
        total = eye / k - torch.matmul(rest, total)
    return factor * torch.matmul(rest, total) + scale * eye


def _square_root(matrices: Tensor, eye: Tensor, n_steps: int) -> Tensor:
    root, inverse = matrices, eye.expand_as(matrices)
    for _ in range(n_steps):
        step = 1.5 * eye - 0.5 * torch.matmul(inverse, root)
        root, inverse = torch.matmul(root, step), torch.matmul(step, inverse)
    return root


def shrunk(matrices: Tensor, share: float) -> Tensor:
    """Move matrices (batch, n, n) towards a multiple of one: never singular."""
    n = matrices.shape[-1]
    size = matrices.diagonal(dim1=1, dim2=2).sum(-1)[:, None, None] / n
    eye = torch.eye(n, dtype=matrices.dtype, device=matrices.device)
    return (1 - share) * matrices + (share * size + 1e-6) * eye


class UpperTriangle(nn.Module):
    """Upper triangle of symmetric matrices, so that lengths stay."""

    rows: Tensor
    columns: Tensor
    weights: Tensor

    def __init__(self, n: int) -> None:
        super().__init__()
        rows, columns = torch.triu_indices(n, n)
        weights = torch.where(rows == columns, 1.0, math.sqrt(2.0))
        self.register_buffer("rows", rows, persistent=False)
        self.register_buffer("columns", columns, persistent=False)
        self.register_buffer("weights", weights, persistent=False)
        self.n_features: int = len(rows)

    def forward(self, matrices: Tensor) -> Tensor:
        """Features (batch, n (n + 1) / 2)."""
        return matrices[:, self.rows, self.columns] * self.weights
