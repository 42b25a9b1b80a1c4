"""Readings: what the measures of a window say about the thing to be decoded.

Each reading turns `braindecode_samba.nn.measures.WindowMeasures` into features.  Some
learn filters from training windows and their targets (`fit`), by eigenvectors and
without gradients; `braindecode_samba.estimators.solving` weighs the readings.
"""

import torch
from torch import Tensor, nn

from braindecode_samba.nn.measures import (
    N_BANDS,
    N_PARTS,
    N_STEADY,
    WindowMeasures,
    mirrored_targets,
)
from braindecode_samba.nn.patterns import (
    UpperTriangle,
    evoked_patterns,
    matrix_logarithm,
    padded,
    shrunk,
    spatial_patterns,
    whitener,
)

_N_PATTERNS = 8
_N_EVOKED = 6
_N_FREQUENCIES = 12
_RANK = 20


class Reading(nn.Module):
    """Base of all readings: features from measures."""

    n_features: int

    def fit(self, measures: dict[str, Tensor], targets: Tensor) -> None:
        """Learn filters.

        Parameters
        ----------
        measures : dict of str to Tensor, each (n, ...)
            Of the training windows.
        targets : Tensor of float64, shape (n, n_columns)
            Centred: one column for two classes, one a class for more, one a number.
        """


class Known(Reading):
    """A measure as it is.

    Parameters
    ----------
    name : str
        Which.
    n_features : int
        Its size.
    """

    def __init__(self, name: str, n_features: int) -> None:
        super().__init__()
        self.name: str = name
        self.n_features = n_features

    def forward(self, measures: dict[str, Tensor]) -> Tensor:
        """Features (batch, n_features)."""
        return measures[self.name].flatten(1)


class Sides(Reading):
    """How left and right differ: powers, and patterns that turn over in the mirror.

    A mirrored head exchanges left and right hands. What is learned from differences
    between a place and its mirror image holds for both sides at once, as if every
    window had been seen mirrored as well, with its label exchanged.

    Parameters
    ----------
    name : {"bands", "course"}
        Powers to compare.
    n_powers : int
        Powers a target.
    target_positions : Tensor, shape (n_targets, 3)
        Targets, metres, x to the right.
    maps : Tensor, shape (N_MAPS, n_targets)
        Of `WindowMeasures`.
    n_columns : int
        Columns of the targets.
    """

    partner: Tensor
    right: Tensor
    mirror: Tensor
    filters: Tensor

    def __init__(
        self,
        name: str,
        n_powers: int,
        target_positions: Tensor,
        maps: Tensor,
        n_columns: int,
    ) -> None:
        super().__init__()
        self.name: str = name
        partner = mirrored_targets(target_positions)
        right = (target_positions[:, 0] > target_positions[partner, 0]).nonzero()[:, 0]
        self.register_buffer("partner", partner[right], persistent=False)
        self.register_buffer("right", right, persistent=False)
        # what mirroring the head does to the maps
        self.register_buffer("mirror", maps[:, partner] @ maps.T, persistent=False)
        n_filters = _N_PATTERNS // 2 if n_columns == 1 else _N_PATTERNS
        self.register_buffer("filters", torch.zeros(n_filters, len(maps)))
        self.n_features = n_powers * len(right) + n_filters

    def fit(self, measures: dict[str, Tensor], targets: Tensor) -> None:
        """Learn patterns, see `Reading.fit`."""
        total, weighted = _moments(_of_trace_one(measures["rhythms"]), targets)
        mirror = self.mirror.double()
        mirrored = mirror @ weighted @ mirror.T
        found = spatial_patterns(
            (total + mirror @ total @ mirror.T) / 2,
            (weighted - mirrored) / 2,
            len(self.filters),
            one_sided=True,
        )
        self.filters.copy_(found)

    def forward(self, measures: dict[str, Tensor]) -> Tensor:
        """Features (batch, n_features)."""
        powers = measures[self.name]
        difference = powers[:, :, self.right] - powers[:, :, self.partner]
        rhythms = measures["rhythms"]
        mirrored = torch.matmul(self.filters, self.mirror)
        patterns = _log_power(self.filters, rhythms) - _log_power(mirrored, rhythms)
        return torch.cat([difference.flatten(1), patterns], 1)


class Patterns(Reading):
    """Log powers from 8 to 30 Hz of components whose power goes with the target.

    Common spatial patterns for classes, SPoC for numbers.

    Parameters
    ----------
    n_maps : int
        Maps of the measures.

    References
    ----------
    Koles et al. (1990), Brain Topography 2; Ramoser et al. (2000), IEEE Transactions on
    Rehabilitation Engineering 8; Daehne et al. (2014), NeuroImage 86.
    """

    filters: Tensor

    def __init__(self, n_maps: int) -> None:
        super().__init__()
        self.register_buffer("filters", torch.zeros(_N_PATTERNS, n_maps))
        self.n_features = _N_PATTERNS

    def fit(self, measures: dict[str, Tensor], targets: Tensor) -> None:
        """Learn patterns, see `Reading.fit`."""
        total, weighted = _moments(_of_trace_one(measures["rhythms"]), targets)
        self.filters.copy_(spatial_patterns(total, weighted, _N_PATTERNS))

    def forward(self, measures: dict[str, Tensor]) -> Tensor:
        """Features (batch, n_features)."""
        return _log_power(self.filters, measures["rhythms"])


class Tangent(Reading):
    """Logarithm of the covariance, whitened by the mean of the training windows.

    The tangent space of positive definite matrices (Barachant et al., 2012, IEEE
    Transactions on Biomedical Engineering 59), in the strongest directions.

    Parameters
    ----------
    name : {"whole", "rhythms"}
        Covariance to take.
    n_maps : int
        Maps of the measures.
    """

    whitener: Tensor

    def __init__(self, name: str, n_maps: int) -> None:
        super().__init__()
        self.name: str = name
        self.rank: int = min(_RANK, n_maps)
        self.register_buffer("whitener", torch.zeros(self.rank, n_maps))
        self._upper = UpperTriangle(self.rank)
        self.n_features = self._upper.n_features

    def fit(self, measures: dict[str, Tensor], targets: Tensor) -> None:
        """Learn the mean, see `Reading.fit`; targets don't matter."""
        mean = _of_trace_one(measures[self.name]).double().mean(0)
        self.whitener.copy_(padded(whitener(mean, 1e-4, self.rank), self.rank))

    def forward(self, measures: dict[str, Tensor]) -> Tensor:
        """Features (batch, n_features)."""
        inside = _mixed(self.whitener, measures[self.name])
        return self._upper(matrix_logarithm(shrunk(inside, 0.05)))


class Evoked(Reading):
    """What is locked to the start of the window, over time, in xDAWN's components.

    Parameters
    ----------
    n_maps, n_points : int
        Sizes of the measure.

    References
    ----------
    Rivet et al. (2009), IEEE Transactions on Biomedical Engineering 56.
    """

    filters: Tensor

    def __init__(self, n_maps: int, n_points: int) -> None:
        super().__init__()
        self.register_buffer("filters", torch.zeros(_N_EVOKED, n_maps))
        self.n_features = _N_EVOKED * n_points

    def fit(self, measures: dict[str, Tensor], targets: Tensor) -> None:
        """Learn components, see `Reading.fit`."""
        filters, _ = evoked_patterns(measures["evoked"], targets, _N_EVOKED)
        self.filters.copy_(filters)

    def forward(self, measures: dict[str, Tensor]) -> Tensor:
        """Features (batch, n_features)."""
        return torch.matmul(self.filters, measures["evoked"]).flatten(1)


class Responses(Reading):
    """How much of a window is the expected response: xDAWN covariances.

    Log covariance of the window's components beside the mean responses (Barachant &
    Congedo, 2014, arXiv 1409.0107), whitened by its mean.

    Parameters
    ----------
    n_maps, n_points, n_columns : int
        Sizes of the measure and of the targets.
    """

    filters: Tensor
    expected: Tensor
    whitener: Tensor

    def __init__(self, n_maps: int, n_points: int, n_columns: int) -> None:
        super().__init__()
        n = 4 if n_columns == 1 else 8
        self.register_buffer("filters", torch.zeros(n, n_maps))
        self.register_buffer("expected", torch.zeros(n, n_points))
        self.register_buffer("whitener", torch.zeros(2 * n, 2 * n))
        self._upper = UpperTriangle(2 * n)
        self.n_features = self._upper.n_features

    def fit(self, measures: dict[str, Tensor], targets: Tensor) -> None:
        """Learn responses, see `Reading.fit`."""
        filters, expected = evoked_patterns(
            measures["evoked"], targets, len(self.filters)
        )
        size = (filters.to(self.filters) @ measures["evoked"]).square().mean().sqrt()
        self.filters.copy_(filters / size.clamp(min=1e-6))
        size = expected.square().mean().sqrt()
        self.expected.copy_(expected / size.clamp(min=1e-12))
        mean = self._covariance(measures["evoked"]).double().mean(0)
        self.whitener.copy_(padded(whitener(mean, 1e-4, len(mean)), len(mean)))

    def _covariance(self, evoked: Tensor) -> Tensor:
        found = torch.matmul(self.filters, evoked)
        both = torch.cat([self.expected.expand_as(found), found], 1)
        eye = torch.eye(both.shape[1], dtype=both.dtype, device=both.device)
        return torch.matmul(both, both.mT) / both.shape[2] + 0.02 * eye

    def forward(self, measures: dict[str, Tensor]) -> Tensor:
        """Features (batch, n_features)."""
        inside = _mixed(self.whitener, self._covariance(measures["evoked"]))
        return self._upper(matrix_logarithm(shrunk(inside, 1e-3)))


class Steady(Reading):
    """Steady responses at the frequencies that go with the targets most.

    Parameters
    ----------
    n_columns : int
        Columns of the targets.
    """

    chosen: Tensor

    def __init__(self, n_columns: int) -> None:
        super().__init__()
        self.n_features = min(_N_FREQUENCIES * max(n_columns, 2) // 2, N_STEADY)
        self.register_buffer("chosen", torch.arange(self.n_features))

    def fit(self, measures: dict[str, Tensor], targets: Tensor) -> None:
        """Choose frequencies, see `Reading.fit`."""
        found = measures["steady"].double()
        found = (found - found.mean(0)) / found.std(0, correction=0).clamp(min=1e-6)
        scaled = targets / targets.std(0, correction=0).clamp(min=1e-12)
        together = (found.T @ scaled).abs().amax(1)
        order = together.argsort(descending=True)[: self.n_features]
        self.chosen.copy_(order.sort().values)

    def forward(self, measures: dict[str, Tensor]) -> Tensor:
        """Features (batch, n_features)."""
        return measures["steady"][:, self.chosen]


class Readings(nn.Module):
    """All readings side by side, standardised.

    Parameters
    ----------
    target_positions : Tensor, shape (n_targets, 3)
        Targets of the spatial embedding, metres.
    measures : WindowMeasures
        Where the measures come from.
    n_outputs : int
        Outputs of the model; two classes are one column of targets.
    n_stages : int
        Log variances of deeper stages.
    numbers : bool
        Whether the outputs are numbers and no classes.
    """

    centre: Tensor
    spread: Tensor

    def __init__(
        self,
        target_positions: Tensor,
        measures: WindowMeasures,
        n_outputs: int,
        n_stages: int,
        numbers: bool = False,
    ) -> None:
        super().__init__()
        n_targets, n_maps = len(target_positions), len(measures.maps)
        columns = 1 if n_outputs == 2 and not numbers else n_outputs
        places = (target_positions, measures.maps, columns)
        blocks: dict[str, Reading] = {
            "sides": Sides("bands", N_BANDS, *places),
            "sides over time": Sides("course", 2 * N_PARTS, *places),
            "powers": Known("bands", N_BANDS * n_targets),
            "powers over time": Known("course", 2 * N_PARTS * n_targets),
            "patterns": Patterns(n_maps),
            "covariance": Tangent("whole", n_maps),
            "covariance of rhythms": Tangent("rhythms", n_maps),
            "evoked": Evoked(n_maps, measures.n_points),
            "responses": Responses(n_maps, measures.n_points, columns),
            "steady": Steady(columns),
            "loudness": Known("loudness", 1),
            "stages": Known("stages", n_targets + n_stages),
        }
        self.blocks = nn.ModuleDict(blocks)
        self.n_features: int = sum(block.n_features for block in blocks.values())
        # of the training windows: whoever solves sets them
        self.register_buffer("centre", torch.zeros(self.n_features))
        self.register_buffer("spread", torch.ones(self.n_features))

    def forward(self, measures: dict[str, Tensor]) -> Tensor:
        """Features (batch, n_features), standardised."""
        found = torch.cat([block(measures) for block in self.blocks.values()], 1)
        return (found - self.centre) / self.spread


def _moments(covariances: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Mean covariance, and means of the products with each column."""
    total = covariances.mean(0, dtype=torch.float64)
    flat = covariances.flatten(1)
    weighted = (targets.to(flat.dtype).T @ flat).double() / len(flat)
    return total, weighted.unflatten(1, covariances.shape[1:])


def _of_trace_one(covariances: Tensor) -> Tensor:
    trace = covariances.diagonal(dim1=1, dim2=2).sum(-1)
    return covariances / trace.clamp(min=1e-12)[:, None, None]


def _mixed(filters: Tensor, covariances: Tensor) -> Tensor:
    return torch.matmul(torch.matmul(filters, covariances), filters.T)


def _log_power(filters: Tensor, covariances: Tensor) -> Tensor:
    power = (torch.matmul(filters, covariances) * filters).sum(-1)
    return torch.log(power.clamp(min=0.0) + 1e-6)
