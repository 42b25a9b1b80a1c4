"""Which samples of a window the network sees while it is pretrained.

Every function gives bool, True where a sample is visible, and an exact share of them.
`braindecode_samba.pretraining.choice` says which one a run uses, from which seed.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

Generators = torch.Generator | Sequence[torch.Generator] | None


def temporal_semantic_mask(
    batch: int,
    n_times: int,
    *,
    ratio: float = 0.5,
    n_blocks: int = 8,
    min_scale: float = 0.5,
    max_scale: float = 1.5,
    min_length: int = 4,
    per_channel: bool = False,
    n_channels: int | None = None,
    variant: str = "exact",
    generator: Generators = None,
) -> Tensor:
    """Temporal semantic random masking: visible blocks of random length and place.

    V = round((1 - ratio) n_times) samples are visible, at least one and never all, in
    n blocks with at least one hidden sample between them.  Short windows have fewer
    blocks: n = min(n_blocks, max(1, V // min_length), n_times - V + 1).  Lengths are
    uniform draws that are scaled to the sum V; all partitions of the hidden samples
    into gaps are equally likely.

    Parameters
    ----------
    batch : int
        Number of windows.
    n_times : int
        Samples of a window.
    ratio : float
        Hidden share, between 0 and 1.
    n_blocks : int
        Visible blocks.
    min_scale, max_scale : float
        Bounds of the draws; a block is about n_times (1 - ratio) / n_blocks times as
        long.
    min_length : int
        Shortest block, samples; a single one may be shorter.
    per_channel : bool
        Draw a mask for each channel, where the published one is common to all.
    n_channels : int, optional
        Number of channels, if `per_channel`.
    variant : {"exact", "published"}
        ``"published"`` draws as the authors do: about one window in ten shows more than
        it should, the last sample is always hidden, and blocks may touch.
    generator : torch.Generator, or a sequence of one for each window, optional
        Source of random numbers; masks are on its device. None starts from entropy.

    Returns
    -------
    Tensor of bool, shape (batch, n_times) or (batch, n_channels, n_times)
        True where a sample is visible.

    Raises
    ------
    ValueError
        If a setting is out of range, or the window is shorter than 2 samples (published
        variant: than all blocks at their shortest).

    References
    ----------
    SAMBA, arXiv 2511.18571, "temporal semantic random masking".
    """
    check_settings(ratio, n_blocks=n_blocks, min_length=min_length)
    if not 0 < min_scale <= max_scale:
        raise ValueError(
            f"min_scale={min_scale} and max_scale={max_scale}: pass two positive "
            "numbers in ascending order"
        )
    if per_channel and n_channels is None:
        raise ValueError("per_channel=True needs n_channels: pass their number")
    rows = n_channels if per_channel and n_channels is not None else 1
    if variant == "published":
        if per_channel:
            raise ValueError(
                "the published masks are common to all channels: pass "
                "per_channel=False, or variant='exact'"
            )
        lengths, gaps = _published(
            batch,
            n_times,
            ratio,
            n_blocks,
            (min_scale, max_scale),
            min_length,
            generator,
        )
        return _runs(lengths, gaps, n_times)
    if variant != "exact":
        raise ValueError(f"variant={variant!r} is unknown: pass 'exact' or 'published'")
    visible = _visible(n_times, ratio)
    hidden = n_times - visible
    n = min(n_blocks, max(1, visible // min_length), hidden + 1)
    free = hidden - (n - 1)
    draws = _uniform(batch, rows, n + free + n, generator)
    scales = min_scale + (max_scale - min_scale) * draws[:, :n]
    lengths = _lengths(scales, visible, min(min_length, visible // n))
    gaps = _gaps(draws[:, n:], n)
    mask = _runs(lengths, gaps, n_times)
    return mask.view(batch, rows, n_times) if per_channel else mask


def random_mask(
    batch: int, n_times: int, *, ratio: float = 0.5, generator: Generators = None
) -> Tensor:
    """Hide single samples, each with the same probability.

    Parameters
    ----------
    batch, n_times, ratio, generator
        As for `temporal_semantic_mask`.

    Returns
    -------
    Tensor of bool, shape (batch, n_times)
        True where a sample is visible.

    Raises
    ------
    ValueError
        If the ratio is out of range or the window is shorter than 2 samples.
    """
    check_settings(ratio)
    visible = _visible(n_times, ratio)
    draws = _uniform(batch, 1, n_times, generator)
    shown = draws.topk(visible).indices
    mask = torch.zeros_like(draws, dtype=torch.bool)
    return mask.scatter_(1, shown, True)


def block_mask(
    batch: int,
    n_times: int,
    *,
    ratio: float = 0.5,
    n_blocks: int = 8,
    min_length: int = 4,
    evenly: bool = False,
    generator: Generators = None,
) -> Tensor:
    """Show blocks of one length, give or take a sample.

    Parameters
    ----------
    batch, n_times, ratio, n_blocks, min_length, generator
        As for `temporal_semantic_mask`, short windows included.
    evenly : bool
        Place the blocks at equal distances with a random beginning, instead of
        anywhere.

    Returns
    -------
    Tensor of bool, shape (batch, n_times)
        True where a sample is visible.

    Raises
    ------
    ValueError
        If a setting is out of range or the window is shorter than 2 samples.
    """
    check_settings(ratio, n_blocks=n_blocks, min_length=min_length)
    visible = _visible(n_times, ratio)
    hidden = n_times - visible
    n = min(n_blocks, max(1, visible // min_length), hidden + 1)
    draws = _uniform(batch, 1, hidden - (n - 1) + n, generator)
    lengths = torch.full((batch, n), visible // n, device=draws.device)
    lengths[:, : visible % n] += 1
    if not evenly:
        return _runs(lengths, _gaps(draws, n), n_times)
    gaps = torch.full((batch, n), max(1, hidden // n), device=draws.device)
    outside = hidden - (n - 1) * gaps[:, 0]
    gaps[:, 0] = (draws[:, 0] * (outside + 1)).long()
    return _runs(lengths, gaps, n_times)


def region_mask(
    positions: Tensor,
    n_times: int,
    *,
    ratio: float = 0.5,
    radius: float = 0.09,
    span: int = 32,
    ch_mask: Tensor | None = None,
    generator: Generators = None,
) -> Tensor:
    """Hide regions of the scalp for short spans of time.

    Regions, each an electrode with all others nearer than `radius` for `span` samples,
    are hidden in random order until the share is reached; the last one in part.  What
    a hidden electrode shows can't be read off its neighbours.

    Parameters
    ----------
    positions : Tensor, shape (batch, channels, 3)
        Electrodes, metres.
    n_times : int
        Samples of a window.
    ratio : float
        Hidden share of the samples of all present channels, between 0 and 1.
    radius : float
        Extent of a region, metres, in a straight line.
    span : int
        Duration of a region, samples; a quarter of a second by default.
    ch_mask : Tensor of bool, shape (batch, channels), optional
        True where a channel is present. Absent ones are no part of any region and come
        out as visible.
    generator : torch.Generator, or a sequence of one for each window, optional
        As for `temporal_semantic_mask`; masks are on the device of the positions.

    Returns
    -------
    Tensor of bool, shape (batch, channels, n_times)
        True where a sample is visible.

    Raises
    ------
    ValueError
        If a setting is out of range or the window is shorter than 2 samples.

    References
    ----------
    arXiv 2609.33487 compares masks over space and time and recommends regions of about
    9 cm and short spans.
    """
    check_settings(ratio, span=span)
    _refuse_short(n_times)
    if not radius > 0:
        raise ValueError(f"radius={radius}: pass metres, above 0")
    batch, channels = positions.shape[:2]
    if ch_mask is None:
        ch_mask = torch.ones(batch, channels, dtype=torch.bool, device=positions.device)
    n_spans = math.ceil(n_times / span) + 1
    # a row a channel, so that filling up with absent channels changes no draw
    draws = _uniform(batch, 1 + channels, n_spans, generator).to(positions.device)
    draws = draws.view(batch, 1 + channels, n_spans)
    shift = (draws[:, 0, :1] * span).long()
    priority = draws[:, 1:].masked_fill(~ch_mask.unsqueeze(-1), float("inf"))
    near = torch.cdist(positions.double(), positions.double()) < radius
    # a sample is hidden by the first region that reaches it
    reached = priority.unsqueeze(1).masked_fill(~near.unsqueeze(-1), float("inf"))
    first = reached.amin(2).masked_fill(~ch_mask.unsqueeze(-1), float("inf"))
    times = torch.arange(n_times, device=positions.device)
    spans = ((times + shift) // span).unsqueeze(1).expand(-1, channels, -1)
    # time first: the last region is hidden up to some moment, in all its channels
    when = first.gather(2, spans).transpose(1, 2).flatten(1)
    order = when.argsort(dim=1, stable=True)
    present = ch_mask.sum(1, keepdim=True) * n_times
    shown = torch.round((1 - ratio) * present.double()).clamp(min=1)
    hidden = present - torch.minimum(shown, present - 1.0)
    later = torch.arange(order.shape[1], device=order.device) >= hidden
    mask = torch.empty_like(later).scatter_(1, order, later)
    return mask.view(batch, n_times, channels).transpose(1, 2)


def check_settings(ratio: float, **counts: int) -> None:
    """Refuse a share outside (0, 1) and named counts below 1.

    Parameters
    ----------
    ratio : float
        Hidden share.
    **counts : int
        Settings that must be at least 1.

    Raises
    ------
    ValueError
        If one is out of range.
    """
    if not hasattr(ratio, "__float__") or not 0 < ratio < 1:
        raise ValueError(
            f"ratio={ratio!r} would hide nothing or everything: pass a share between 0 "
            "and 1"
        )
    for name, count in counts.items():
        if count < 1:
            raise ValueError(f"{name}={count}: pass at least 1")


def _refuse_short(n_times: int) -> None:
    if n_times < 2:
        raise ValueError(
            f"windows of {n_times} samples can't be hidden in part: pass at least 2"
        )


def _visible(n_times: int, ratio: float) -> int:
    _refuse_short(n_times)
    return min(max(1, round((1 - ratio) * n_times)), n_times - 1)


def _uniform(
    batch: int,
    rows: int,
    n: int,
    generator: Generators,
    dtype: torch.dtype = torch.float64,
) -> Tensor:
    """Draw numbers in [0, 1) of shape (batch * rows, n).

    A window's draws, one row after the other, are the first ones of its generator, if
    it has its own.
    """
    if generator is None:
        generator = torch.Generator()
        generator.seed()
    if isinstance(generator, torch.Generator):
        device = generator.device
        return torch.rand(
            batch * rows, n, generator=generator, device=device, dtype=dtype
        )
    if len(generator) != batch:
        raise ValueError(
            f"there are {len(generator)} generators for {batch} windows: pass one each"
        )
    return torch.cat(
        [
            torch.rand(rows, n, generator=own, device=own.device, dtype=dtype)
            for own in generator
        ]
    )


def _lengths(scales: Tensor, total: int, shortest: int) -> Tensor:
    """Whole lengths in proportion to the scales, none too short, that sum to total."""
    ideal = total * scales / scales.sum(1, keepdim=True)
    excess = (ideal - shortest).clamp(min=0)
    extra = total - scales.shape[1] * shortest
    excess = excess * extra / excess.sum(1, keepdim=True).clamp(min=1e-12)
    whole = excess.floor()
    left = extra - whole.sum(1, keepdim=True)
    # what rounding down left goes to the largest remainders
    rank = (excess - whole).argsort(dim=1, descending=True).argsort(dim=1)
    return (shortest + whole + (rank < left)).long()


def _gaps(draws: Tensor, n: int) -> Tensor:
    """Gaps before each of n blocks, (rows, n), all partitions equally likely.

    Of the free samples and n bars in a row, the n largest draws become the bars.
    """
    bars = draws.topk(n).indices.sort(1).values
    gaps = bars.diff(dim=1, prepend=bars.new_full((len(bars), 1), -1)) - 1
    gaps[:, 1:] += 1
    return gaps


def _published(
    batch: int,
    n_times: int,
    ratio: float,
    n_blocks: int,
    scales: tuple[float, float],
    min_length: int,
    generator: Generators,
) -> tuple[Tensor, Tensor]:
    """Lengths and gaps as the authors draw them, in their order and precision."""
    if n_times < n_blocks * min_length:
        raise ValueError(
            f"the published masks need windows of {n_blocks * min_length} samples and "
            f"got {n_times}: pass longer ones, or variant='exact'"
        )
    kept = int((1 - ratio) * n_times)
    low, high = scales
    draws = _uniform(batch, 1, n_blocks - 1, generator, torch.float32)
    first = ((kept // n_blocks) * (low + (high - low) * draws)).floor().long()
    first = first.clamp(min=min_length)
    last = kept - first.sum(1, keepdim=True)
    lengths = torch.cat([first, last.clamp(min=min_length)], 1)
    if n_blocks == 1:
        lengths = last
    hidden = n_times - lengths.sum(1, keepdim=True)
    shares = _uniform(batch, 1, n_blocks + 1, generator, torch.float32) + 1e-6
    shares = shares / shares.sum(1, keepdim=True)
    return lengths, (shares * hidden).floor().long()[:, :n_blocks]


def _runs(lengths: Tensor, gaps: Tensor, n_times: int) -> Tensor:
    """Masks (rows, n_times) that are True in blocks after gaps, both (rows, blocks)."""
    starts = gaps.cumsum(1) + lengths.cumsum(1) - lengths
    times = torch.arange(n_times, device=lengths.device)
    after = times >= starts.unsqueeze(-1)
    before = times < (starts + lengths).unsqueeze(-1)
    return (after & before).any(1)
