"""The published SAMBA network, written out plainly: what this package is measured by.

Layer after layer, the scan as einsums over chunks with its quadratic step between them,
a Python loop over heads and teams, and plain autograd. Nothing is folded, grouped,
tiled or recomputed. Parameters bear the authors' names, so that one state dict fits
this network and `SAMBAReconstructor.from_reference`. Measuring is done elsewhere.
"""

import importlib.util

import torch
from torch import Tensor, nn
from torch.nn import functional as F

D_STATE = 16
D_CONV = 2
EXPAND = 8
N_HEADS = 8


def segment_sum(a: Tensor) -> Tensor:
    """Sums over all stretches of the last axis.

    Parameters
    ----------
    a : Tensor, shape (..., steps)
        Logarithms of the decay at each step.

    Returns
    -------
    Tensor, shape (..., steps, steps)
        Entry (t, s) is ``a[s + 1] + ... + a[t]``, and minus infinity for s > t.
    """
    steps = a.shape[-1]
    square = torch.ones(steps, steps, dtype=torch.bool, device=a.device)
    terms = a.unsqueeze(-1).expand(*a.shape, steps)
    sums = terms.masked_fill(~square.tril(-1), 0.0).cumsum(-2)
    return sums.masked_fill(~square.tril(), -float("inf"))


def published_scan(
    x: Tensor, dt: Tensor, A: Tensor, B: Tensor, C: Tensor, chunk: int
) -> Tensor:
    """State-space scan in chunks, in the form of the Mamba-2 paper's listing.

    Parameters
    ----------
    x : Tensor, shape (batch, time, heads, head_dim)
        Input.
    dt : Tensor, shape (batch, time, heads)
        Steps, positive.
    A : Tensor, shape (heads,)
        Decay rates, negative.
    B, C : Tensor, shape (batch, time, state)
        Input and output maps, shared by the heads.
    chunk : int
        Steps of a chunk.

    Returns
    -------
    Tensor, shape (batch, time, heads, head_dim)
        Output, without the skip ``D x``.

    References
    ----------
    Dao and Gu, 2024, arXiv 2405.21060, section 6 and listing 1.  Letters of the
    einsums: b batch, c and z chunk, l and s step of a chunk, h head, p head dimension,
    n state.
    """
    n_times = x.shape[1]
    chunk = min(chunk, n_times)
    missing = -n_times % chunk
    # a step of zero neither decays nor adds
    x = F.pad(x * dt.unsqueeze(-1), (0, 0, 0, 0, 0, missing)).unflatten(1, (-1, chunk))
    a = F.pad(dt * A, (0, 0, 0, missing)).unflatten(1, (-1, chunk)).permute(0, 3, 1, 2)
    B = F.pad(B, (0, 0, 0, missing)).unflatten(1, (-1, chunk))
    C = F.pad(C, (0, 0, 0, missing)).unflatten(1, (-1, chunk))
    total = a.cumsum(-1)

    inside = torch.einsum("bcln,bcsn,bhcls,bcshp->bclhp", C, B, segment_sum(a).exp(), x)
    to_end = (total[..., -1:] - total).exp()
    states = torch.einsum("bcln,bhcl,bclhp->bchpn", B, to_end, x)
    states = torch.cat([torch.zeros_like(states[:, :1]), states], dim=1)
    # every chunk reads every earlier one: quadratic in their number
    between = segment_sum(F.pad(total[..., -1], (1, 0))).exp()
    states = torch.einsum("bhzc,bchpn->bzhpn", between, states)[:, :-1]
    carried = torch.einsum("bcln,bchpn,bhcl->bclhp", C, states, total.exp())
    return (inside + carried).flatten(1, 2)[:, :n_times]


class PublishedMamba2(nn.Module):
    """Mamba-2 layer on `published_scan`, in the published sizes.

    Parameters
    ----------
    d_model : int
        Features of input and output.
    headdim : int
        Width of a head.
    chunk : int
        Steps of a chunk.
    """

    def __init__(self, d_model: int, headdim: int, chunk: int) -> None:
        super().__init__()
        d_inner = EXPAND * d_model
        heads = d_inner // headdim
        channels = d_inner + 2 * D_STATE
        self.chunk = chunk
        self.sizes = (d_inner, channels, heads)
        dt = torch.empty(heads).uniform_(-6.9, -2.3).exp()
        self.dt_bias = nn.Parameter(dt + torch.log(-torch.expm1(-dt)))
        self.A_log = nn.Parameter(torch.empty(heads).uniform_(1, 16).log())
        self.D = nn.Parameter(torch.ones(heads))
        self.in_proj = nn.Linear(d_model, d_inner + channels + heads, bias=False)
        self.conv1d = nn.Conv1d(
            channels, channels, D_CONV, groups=channels, padding=D_CONV - 1
        )
        self.norm = nn.RMSNorm(d_inner, eps=1e-5)
        self.out_proj = nn.Linear(d_inner, d_model, bias=False)

    def forward(self, u: Tensor) -> Tensor:
        """Map (batch, time, d_model) to the same shape."""
        d_inner, _, heads = self.sizes
        z, xBC, dt = self.in_proj(u).split(self.sizes, dim=-1)
        xBC = F.silu(self.conv1d(xBC.transpose(1, 2))[..., : u.shape[1]])
        x, B, C = xBC.transpose(1, 2).split([d_inner, D_STATE, D_STATE], dim=-1)
        x = x.unflatten(-1, (heads, -1))
        dt = F.softplus(dt + self.dt_bias)
        y = published_scan(x, dt, -self.A_log.exp(), B, C, self.chunk)
        y = (y + self.D.unsqueeze(-1) * x).flatten(2)
        return self.out_proj(self.norm(y * F.silu(z)))


def _mamba_layer(mamba: str, d_model: int, headdim: int, chunk: int) -> nn.Module:
    if mamba == "torch":
        return PublishedMamba2(d_model, headdim, chunk)
    if mamba != "mamba_ssm":
        raise ValueError(f"mamba={mamba!r} is unknown; pass 'torch' or 'mamba_ssm'")
    # an optional package, which imports triton
    from mamba_ssm.modules.mamba2 import Mamba2

    return Mamba2(
        d_model,
        d_state=D_STATE,
        d_conv=D_CONV,
        expand=EXPAND,
        headdim=headdim,
        chunk_size=chunk,
        # its fused path calls causal-conv1d without asking whether it is there
        use_mem_eff_path=importlib.util.find_spec("causal_conv1d") is not None,
    )


class _Spatial(nn.Module):
    """Weights of electrodes at the targets, from the vectors between them."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(3, 32), nn.ReLU(), nn.Linear(32, 1))

    def forward(self, x: Tensor, positions: Tensor, targets: Tensor) -> Tensor:
        vector = targets.float().unsqueeze(1) - positions.float()
        weights = self.net(vector.to(x.dtype)).squeeze(-1).softmax(-1)
        return torch.einsum("kc,bct->bkt", weights, x)


class _MultiBranch(nn.Module):
    def __init__(self, n_targets: int) -> None:
        super().__init__()
        self.branch1 = nn.Conv1d(n_targets, 64, 1)
        self.branch3 = nn.Conv1d(n_targets, 64, 3, padding=1)
        self.branch7 = nn.Conv1d(n_targets, 64, 7, padding=3)
        self.fuse = nn.Conv1d(192, 64, 1)

    def forward(self, x: Tensor) -> Tensor:
        branches = [self.branch1(x), self.branch3(x), self.branch7(x)]
        return self.fuse(torch.cat(branches, dim=1))


class _ResidualMamba(nn.Module):
    """``h + Mamba2(h)``, with the norm that the authors make and never apply."""

    def __init__(self, mamba: str, features: int, chunk: int) -> None:
        super().__init__()
        self.mamba = _mamba_layer(mamba, features, 64, chunk)
        self.norm = nn.RMSNorm(features)

    def forward(self, h: Tensor) -> Tensor:
        return h + self.mamba(h)


class _DifferentialMamba(nn.Module):
    """One head after another, in each one team after the other."""

    def __init__(self, mamba: str, chunk: int) -> None:
        super().__init__()

        def team() -> nn.ModuleList:
            return nn.ModuleList(
                _mamba_layer(mamba, 16, 16, chunk) for _ in range(N_HEADS)
            )

        self.lam = nn.Parameter(torch.ones(128))
        self.team1 = team()
        self.team2 = team()
        self.head_norms = nn.ModuleList(nn.GroupNorm(1, 16) for _ in range(N_HEADS))
        self.out_proj = nn.Linear(128, 128)

    def forward(self, u: Tensor) -> Tensor:
        lams = self.lam.chunk(N_HEADS)
        heads = []
        for i, part in enumerate(u.chunk(N_HEADS, dim=-1)):
            d = self.team1[i](part) - lams[i] * self.team2[i](part)
            heads.append(self.head_norms[i](d.transpose(1, 2)).transpose(1, 2))
        return u + self.out_proj(torch.cat(heads, dim=-1))


class _Mediating(nn.Module):
    def __init__(self, mamba: str, chunk: int) -> None:
        super().__init__()
        self.block = _DifferentialMamba(mamba, chunk)

    def forward(self, u: Tensor) -> Tensor:
        return self.block(u)


class PublishedNetwork(nn.Module):
    """The published network as a whole.

    Parameters
    ----------
    n_chans : int
        Channels of input and output.
    n_targets : int
        Targets of the spatial embedding.
    chunk : int
        Steps of a chunk of the scan. 64 is the best one of the einsums on a CPU;
        mamba-ssm's own default is 256.
    mamba : {"torch", "mamba_ssm"}
        ``"torch"``: `PublishedMamba2`. ``"mamba_ssm"``: that package's layer, for GPUs.

    Raises
    ------
    ValueError
        If ``mamba`` is unknown.

    References
    ----------
    SAMBA, arXiv 2511.18571.
    """

    def __init__(
        self, n_chans: int, n_targets: int = 94, chunk: int = 64, mamba: str = "torch"
    ) -> None:
        super().__init__()
        self.saie = _Spatial()
        self.input_embedding = _MultiBranch(n_targets)
        self.encoder1 = nn.Sequential(
            nn.Linear(64, 64), _ResidualMamba(mamba, 64, chunk)
        )
        self.encoder2 = nn.Conv1d(64, 64, 3, padding=1)
        self.encoder3 = nn.Conv1d(64, 128, 3, padding=1)
        self.bottleneck = nn.Sequential(
            nn.Linear(128, 128), _Mediating(mamba, chunk), nn.Linear(128, 128)
        )
        self.decoder3 = nn.Conv1d(256, 128, 3, padding=1)
        self.decodeMamba3 = _ResidualMamba(mamba, 128, chunk)
        self.decoder2 = nn.Conv1d(192, 64, 3, padding=1)
        self.decodeMamba2 = _ResidualMamba(mamba, 64, chunk)
        self.decoder1 = nn.Conv1d(128, 64, 3, padding=1)
        self.onput_embedding = nn.Conv1d(64, n_chans, 1)

    def forward(self, x: Tensor, positions: Tensor, targets: Tensor) -> Tensor:
        """Rebuild windows.

        Parameters
        ----------
        x : Tensor, shape (batch, n_chans, times)
            Windows, at least 8 samples.
        positions : Tensor, shape (n_chans, 3)
            Electrodes, metres, in the frame of the targets.
        targets : Tensor, shape (n_targets, 3)
            Targets, metres.

        Returns
        -------
        Tensor, shape (batch, n_chans, times)
            Output of the network.
        """
        x1, x2, x3, mediated = self._down(x, positions, targets)
        d3 = _channel_last(self.decodeMamba3, self.decoder3(_join(x3, mediated)))
        d2 = _channel_last(self.decodeMamba2, self.decoder2(_join(x2, d3)))
        return self.onput_embedding(self.decoder1(_join(x1, d2)))

    def encode(self, x: Tensor, positions: Tensor, targets: Tensor) -> Tensor:
        """Run encoder and mediator alone: what a classifier needs.

        Parameters
        ----------
        x, positions, targets
            As for `forward`.

        Returns
        -------
        Tensor, shape (batch, 128, times // 8)
            Output of the mediator.
        """
        return self._down(x, positions, targets)[3]

    def _down(
        self, x: Tensor, positions: Tensor, targets: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        embedded = self.input_embedding(self.saie(x, positions, targets))
        x1 = _channel_last(self.encoder1, embedded)
        x2 = self.encoder2(F.max_pool1d(x1, 2))
        x3 = self.encoder3(F.max_pool1d(x2, 2))
        return x1, x2, x3, _channel_last(self.bottleneck, F.max_pool1d(x3, 2))


def _channel_last(layer: nn.Module, h: Tensor) -> Tensor:
    return layer(h.transpose(1, 2)).transpose(1, 2)


def _join(skip: Tensor, deep: Tensor) -> Tensor:
    stretched = F.interpolate(
        deep, size=skip.shape[2], mode="linear", align_corners=False
    )
    return torch.cat([skip, stretched], dim=1)
