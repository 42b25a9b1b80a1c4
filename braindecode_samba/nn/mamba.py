"""Mamba-2 layers: the single one and the multi-head differential one.

Both run the same computation (`braindecode_samba.scan.stack`), the second on all its
small layers at once.
What surrounds the layers in the network lives in `unet`.
"""

import math
from numbers import Integral

import torch
from torch import Tensor, nn

from braindecode_samba.scan.layers import LayerStack, stack_layers
from braindecode_samba.scan.stack import run_stack
from braindecode_samba.scan.tiles import State


class Mamba2(nn.Module):
    """Mamba-2 layer with mamba-ssm's parameters, names and shapes.

    A state dict of ``mamba_ssm.Mamba2`` loads into it and the other way round.

    Parameters
    ----------
    d_model : int
        Features of input and output.
    d_state : int
        Size N of the state of each feature.
    d_conv : int
        Taps of the causal convolution.
    expand : int
        Inner features per input feature.
    headdim : int
        Features of a head; divides ``expand * d_model``.
    ngroups : int
        Groups of heads that share B and C; divides the number of heads.
    chunk_size : int, optional
        Steps of a chunk of the scan; by default what suits the machine. The result does
        not depend on it.

    Raises
    ------
    ValueError
        If a size is below 1 or the sizes do not divide each other.

    References
    ----------
    Dao and Gu (2024), Transformers are SSMs, arXiv 2405.21060.
    """

    def __init__(
        self,
        d_model: int,
        d_state: int = 128,
        d_conv: int = 4,
        expand: int = 2,
        headdim: int = 64,
        ngroups: int = 1,
        chunk_size: int | None = None,
    ) -> None:
        super().__init__()
        _check_sizes(
            d_model=d_model,
            d_state=d_state,
            d_conv=d_conv,
            expand=expand,
            headdim=headdim,
            ngroups=ngroups,
            chunk_size=1 if chunk_size is None else chunk_size,
        )
        d_inner = expand * d_model
        if d_inner % headdim:
            raise ValueError(
                f"expand * d_model = {d_inner} is not a multiple of headdim={headdim}; "
                "pass a headdim that divides it"
            )
        heads = d_inner // headdim
        if heads % ngroups:
            raise ValueError(
                f"{heads} heads do not fall into ngroups={ngroups} equal groups; pass "
                "an ngroups that divides the number of heads"
            )
        self.d_model = d_model
        self.d_state = d_state
        self.ngroups = ngroups
        self.chunk_size = chunk_size or 0
        channels = d_inner + 2 * ngroups * d_state
        self.in_proj = nn.Linear(d_model, d_inner + channels + heads, bias=False)
        self.conv1d = nn.Conv1d(
            channels, channels, d_conv, groups=channels, padding=d_conv - 1
        )
        # steps between 0.001 and 0.1, decay rates between 1 and 16
        dt = torch.exp(
            torch.rand(heads) * (math.log(0.1) - math.log(1e-3)) + math.log(1e-3)
        ).clamp(min=1e-4)
        self.dt_bias = nn.Parameter(dt + torch.log(-torch.expm1(-dt)))
        self.A_log = nn.Parameter(torch.empty(heads).uniform_(1, 16).log())
        self.D = nn.Parameter(torch.ones(heads))
        self.norm = nn.RMSNorm(d_inner, eps=1e-5)
        self.out_proj = nn.Linear(d_inner, d_model, bias=False)

    def forward(self, u: Tensor) -> Tensor:
        """Run the layer over a whole sequence.

        Parameters
        ----------
        u : Tensor, shape (batch, time, d_model)
            Input.

        Returns
        -------
        Tensor, shape (batch, time, d_model)
            Output.
        """
        return self.advance(u, None)[0]

    def advance(self, u: Tensor, state: State | None) -> tuple[Tensor, State]:
        """Run the layer over the next steps of a sequence.

        Parameters
        ----------
        u : Tensor, shape (batch, time, d_model)
            Input.
        state : tuple of Tensor, or None
            What the steps before left behind; None at the start.

        Returns
        -------
        y : Tensor, shape (batch, time, d_model)
            Output: sequences may be cut anywhere.
        state : tuple of Tensor
            For the steps that follow.
        """
        y, state = run_stack(
            stack_layers([self.layer_parameters()]),
            u.unsqueeze(0),
            self.d_state,
            self.ngroups,
            self.chunk_size,
            state,
        )
        return y.squeeze(0), state

    def layer_parameters(self) -> LayerStack:
        """Parameters of this layer, without the axis that counts layers."""
        bias = self.conv1d.bias
        assert bias is not None  # mamba-ssm's default, and ours: a bias
        return LayerStack(
            self.in_proj.weight,
            self.conv1d.weight.squeeze(1),
            bias,
            self.dt_bias,
            self.A_log,
            self.D,
            self.norm.weight,
            self.out_proj.weight,
        )


def _check_sizes(**sizes: int) -> None:
    for name, size in sizes.items():
        if not isinstance(size, Integral) or size < 1:
            raise ValueError(f"{name}={size!r} is no size: pass a number of 1 or more")


class MultiHeadDifferentialMamba(nn.Module):
    """Multi-head differential Mamba (MDM), as one computation over all its layers.

    Each head reads its own slice of the features through two Mamba-2 layers, ``team1``
    and ``team2``, and subtracts: ``d = y1 - lam * y2``. ``d`` is normalised over the
    head's features and all time, heads are joined and projected, and the input is
    added. The 16 small layers run as one stack.

    Parameters
    ----------
    d_model : int
        Features of input and output.
    n_heads : int
        Heads; divides ``d_model``.
    d_state, d_conv, expand : int
        Of every Mamba-2 layer, see `Mamba2`.

    Raises
    ------
    ValueError
        If the heads do not divide the features.

    References
    ----------
    SAMBA, arXiv 2511.18571, "multi-head differential Mamba". As in the authors' code,
    the heads are concatenated and projected before the residual sum.
    """

    def __init__(
        self,
        d_model: int = 128,
        n_heads: int = 8,
        d_state: int = 16,
        d_conv: int = 2,
        expand: int = 8,
    ) -> None:
        super().__init__()
        _check_sizes(d_model=d_model, n_heads=n_heads)
        if d_model % n_heads:
            raise ValueError(
                f"d_model={d_model} is not a multiple of n_heads={n_heads}; pass a "
                "number of heads that divides it"
            )
        width = d_model // n_heads
        self.n_heads = n_heads
        self.d_state = d_state

        def team() -> nn.ModuleList:
            return nn.ModuleList(
                Mamba2(width, d_state, d_conv, expand, headdim=width)
                for _ in range(n_heads)
            )

        self.lam = nn.Parameter(torch.ones(d_model))
        self.team1 = team()
        self.team2 = team()
        self.head_norms = nn.ModuleList(
            nn.GroupNorm(1, width, eps=1e-5) for _ in range(n_heads)
        )
        self.out_proj = nn.Linear(d_model, d_model)

    def forward(self, u: Tensor) -> Tensor:
        """Run all heads over a whole sequence.

        Parameters
        ----------
        u : Tensor, shape (batch, time, d_model)
            Input.

        Returns
        -------
        Tensor, shape (batch, time, d_model)
            Output.
        """
        d, _ = self.differences(u, None)
        wide = d if d.dtype == torch.float64 else d.float()
        # torch.var_mean takes 15 times as long on a CPU
        mean = wide.mean([2, 3], keepdim=True)
        var = (wide - mean).square().mean([2, 3], keepdim=True)
        return self.join(u, d, mean, var)

    def differences(self, u: Tensor, state: State | None) -> tuple[Tensor, State]:
        """Differences of the two teams over the next steps of a sequence.

        Parameters
        ----------
        u : Tensor, shape (batch, time, d_model)
            Input.
        state : tuple of Tensor, or None
            What the steps before left behind; None at the start.

        Returns
        -------
        d : Tensor, shape (n_heads, batch, time, d_model // n_heads)
            ``y1 - lam * y2`` of every head.
        state : tuple of Tensor
            For the steps that follow.
        """
        layers: list[LayerStack] = []
        for layer in self.team1:
            layers.append(layer.layer_parameters())  # type: ignore[operator]
        for layer in self.team2:
            layers.append(layer.layer_parameters())  # type: ignore[operator]
        heads = u.unflatten(2, [self.n_heads, -1]).permute(2, 0, 1, 3)
        y, state = run_stack(
            stack_layers(layers),
            torch.cat([heads, heads]),
            self.d_state,
            1,
            0,
            state,
        )
        lam = self.lam.view(self.n_heads, 1, 1, -1)
        return y[: self.n_heads] - lam * y[self.n_heads :], state

    def join(self, u: Tensor, d: Tensor, mean: Tensor, var: Tensor) -> Tensor:
        """Normalise the differences, project them together and add the input.

        Parameters
        ----------
        u : Tensor, shape (batch, time, d_model)
            Input.
        d : Tensor, shape (n_heads, batch, time, d_model // n_heads)
            Differences.
        mean, var : Tensor, shape (n_heads, batch, 1, 1)
            Mean and variance of the differences over all time and width.

        Returns
        -------
        Tensor, shape (batch, time, d_model)
            Output.
        """
        weights: list[Tensor] = []
        biases: list[Tensor] = []
        for norm in self.head_norms:
            weights.append(norm.weight)  # type: ignore[arg-type]
            biases.append(norm.bias)  # type: ignore[arg-type]
        normal = ((d - mean) * torch.rsqrt(var + 1e-5)).to(d.dtype)
        normal = normal * torch.stack(weights)[:, None, None]
        normal = normal + torch.stack(biases)[:, None, None]
        return u + self.out_proj(normal.permute(1, 2, 0, 3).flatten(2, 3))
