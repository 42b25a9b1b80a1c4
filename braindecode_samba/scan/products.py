"""Products of matrices in float32 on a CPU, by the faster of torch's two libraries.

torch multiplies dense float32 matrices by MKL, which uses half of the vector width on
processors of another maker.  It has oneDNN with it, which doesn't, and which its own
compiler calls for such products.
"""

import functools
import math
from collections.abc import Callable

import torch
from torch import Tensor

# Multiplications from which oneDNN's call, some 10 us, is worth it.
_FEWEST = 2**20


def multiply(a: Tensor, b: Tensor) -> Tensor:
    """Compute ``a b^T`` for each layer; outside of autograd.

    Parameters
    ----------
    a : Tensor of float32, shape (layers, rows, terms)
        Left factors, on the CPU.
    b : Tensor of float32, shape (layers, columns, terms)
        Right factors.

    Returns
    -------
    Tensor, shape (layers, rows, columns)
        Products.
    """
    if len(a) == 1 and math.prod(a.shape) * b.shape[1] >= _FEWEST:
        product = _by_onednn()
        if product is not None:
            return product(a[0], b[0]).unsqueeze(0)
    return torch.bmm(a, b.transpose(1, 2))


@functools.cache
def _by_onednn() -> Callable[[Tensor, Tensor], Tensor] | None:
    """Find torch's way to oneDNN's products; None if there is none that is right.

    It is no public function: it may go with a version of torch, and is tried.
    """
    if not torch.backends.mkldnn.is_available():
        return None
    try:
        linear = torch.ops.mkldnn._linear_pointwise.default

        def product(a: Tensor, b: Tensor) -> Tensor:
            return linear(a, b, None, "none", [], "")

        # also of transposed views, as gradients of weights are computed
        a = torch.arange(12.0).view(3, 4)
        pairs = (a, a), (a.t(), a.t())
        right = all(torch.equal(product(x, y), x @ y.t()) for x, y in pairs)
    except Exception:  # whatever comes of another signature
        return None
    return product if right else None
