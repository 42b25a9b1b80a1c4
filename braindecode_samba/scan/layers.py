"""The parameters of Mamba-2 layers, stacked on a leading axis of independent layers.

What is computed with them is in `stack`, and compiled in `fused`.
"""

from typing import NamedTuple

import torch
from torch import Tensor


class LayerStack(NamedTuple):
    """Parameters of ``layers`` independent Mamba-2 layers of one size.

    The first axis of every tensor counts the layers; names and other axes are
    mamba-ssm's.
    """

    in_proj: Tensor  # (layers, z | x | B | C | dt, d_model)
    conv_weight: Tensor  # (layers, channels, d_conv)
    conv_bias: Tensor  # (layers, channels)
    dt_bias: Tensor  # (layers, heads)
    A_log: Tensor  # (layers, heads)
    D: Tensor  # (layers, heads)
    norm: Tensor  # (layers, d_inner)
    out_proj: Tensor  # (layers, d_model, d_inner)


def stack_layers(layers: list[LayerStack]) -> LayerStack:
    """Stack the parameters of independent layers of one size."""
    return LayerStack(
        torch.stack([p.in_proj for p in layers]),
        torch.stack([p.conv_weight for p in layers]),
        torch.stack([p.conv_bias for p in layers]),
        torch.stack([p.dt_bias for p in layers]),
        torch.stack([p.A_log for p in layers]),
        torch.stack([p.D for p in layers]),
        torch.stack([p.norm for p in layers]),
        torch.stack([p.out_proj for p in layers]),
    )
