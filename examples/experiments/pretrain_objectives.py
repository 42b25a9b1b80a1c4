"""
What a pretraining of `pretrain_search.py` is asked for, and the windows it gets

Everything here lives on one device: windows, other electrodes, masks and losses are
drawn and computed there, and nothing waits for the processor.
"""

from dataclasses import dataclass, field

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from braindecode_samba.nn.spatial import DistanceWeights
from braindecode_samba.pretraining import (
    TimeFrequencyLoss,
    region_mask,
    temporal_semantic_mask,
)

N_TIMES = 256  # 2 s
FEWEST = 4  # electrodes
N_FEATURES = 64 + 64 + 128 + 128  # log variances of the stages
# log spectra: frames of half a second, one every eighth of a second, 2 to 44 Hz
FRAME, HOP, BINS = 64, 16, slice(1, 23)
EMBEDDING = 64
ISOTROPY = 0.05  # weight of the regulariser against the distance of two views


@dataclass(frozen=True)
class Recipe:
    """What is asked for; None or 0: not at all."""

    loss: dict | None = None  # of TimeFrequencyLoss, for what was hidden
    masking: str = "regions"
    spectra: float = 0.0
    views: float = 0.0
    labels: float = 0.0
    people: float = 0.0  # who it is, which is known wherever people are


SAMBA_E = {"norm": "ortho", "region": "masked", "gamma": 1.0}
PUBLISHED = {"norm": "backward", "region": "all"}
RECIPES = {
    "reconstruction": Recipe(SAMBA_E),
    "reconstruction+views": Recipe(SAMBA_E, views=1.0),
    "reconstruction+labels": Recipe(SAMBA_E, labels=1.0),
    "views": Recipe(views=1.0),
    "labels": Recipe(labels=1.0),
    "people": Recipe(people=1.0),
    "labels+people": Recipe(labels=1.0, people=1.0),
    "reconstruction+labels+people": Recipe(SAMBA_E, labels=1.0, people=1.0),
    "reconstruction+spectra": Recipe(SAMBA_E, spectra=1.0),
    "spectra": Recipe(spectra=1.0),
    "all": Recipe(SAMBA_E, spectra=1.0, views=1.0, labels=1.0),
    "time": Recipe({**SAMBA_E, "beta": 0.0, "gamma": 0.0}),
    "published": Recipe(PUBLISHED, masking="tsr"),
}


# %%
# Windows
# -------


@dataclass
class Windows:
    """Windows of all laboratories, filled up to one number of channels."""

    X: torch.Tensor  # (n, channels, times), int8
    pos: torch.Tensor  # (laboratories, channels, 3), metres
    present: torch.Tensor  # (laboratories, channels), bool
    laboratory: torch.Tensor  # (n,)
    labels: torch.Tensor  # (n, tasks), a number of the class or -1
    chance: torch.Tensor  # (n,), cumulated chances to be drawn
    tasks: dict[str, list[str]] = field(default_factory=dict)  # name: classes
    people: dict[str, list[str]] = field(default_factory=dict)  # laboratory: names

    @property
    def n_classes(self):
        """Numbers of classes of all tasks; the last ones ask who somebody is."""
        asked = (*self.tasks.values(), *self.people.values())
        return [len(classes) for classes in asked]

    def draw(self, batch, generator):
        """Rows of a batch: laboratories by the root of their size, people alike."""
        draws = torch.rand(batch, generator=generator, device=self.X.device)
        rows = torch.searchsorted(self.chance, draws)
        return rows.clamp(max=len(self.chance) - 1)


def read_windows(folder, device, laboratories=None):
    """Join the files of `pretrain_windows.py`, or some of them."""
    names = laboratories or sorted(path.stem for path in folder.glob("*.npz"))
    files = {name: np.load(folder / f"{name}.npz") for name in names}
    return join_windows(
        {k: {n: f[n] for n in f.files} for k, f in files.items()}, device
    )


def join_windows(laboratories, device):
    """Join the fields of some laboratories, as they are and whitened."""
    width = max(one["X"].shape[1] for one in laboratories.values())
    total = sum(2 * len(one["X"]) for one in laboratories.values())
    X = np.zeros((total, width, next(iter(laboratories.values()))["X"].shape[2]), "i1")
    pos = np.zeros((len(laboratories), width, 3), np.float32)
    present = np.zeros((len(laboratories), width), bool)
    asked, people, chance, number = {}, {}, [], []
    start = 0
    for place, (name, one) in enumerate(laboratories.items()):
        n, n_chans = 2 * len(one["X"]), one["X"].shape[1]
        rows = slice(start, start + n)
        X[rows, :n_chans] = np.concatenate([one["X"], one["white"]])
        pos[place, :n_chans], present[place, :n_chans] = one["pos"], True
        who, inverse, counts = np.unique(one["subject"], False, True, True)
        people[name] = who.tolist()
        chance += [np.sqrt(n) / len(who) / counts[inverse]] * 2
        number.append(np.full(n, place))
        for part, texts in enumerate(zip(*np.char.split(one["y"], "/"), strict=True)):
            asked[f"{name} {part}"] = rows, texts
        asked[name] = rows, one["subject"]
        start += n
    # people behind labels
    order = [*(name for name in asked if name not in people), *people]
    labels, tasks = np.full((total, len(order)), -1), {}
    for column, name in enumerate(order):
        rows, texts = asked[name]
        classes, values = np.unique(texts, return_inverse=True)
        labels[rows, column] = np.tile(values, 2)
        if name not in people:
            tasks[name] = classes.tolist()

    def there(values):
        return torch.as_tensor(values, device=device)

    chances = np.cumsum(np.concatenate(chance))
    return Windows(
        *(there(X), there(pos), there(present), there(np.concatenate(number))),
        labels=there(labels),
        chance=there((chances / chances[-1]).astype(np.float32)),
        tasks=tasks,
        people=people,
    )


@dataclass
class Batch:
    """Windows with the electrodes that they are seen through."""

    x: torch.Tensor  # (batch, channels, times)
    pos: torch.Tensor  # (batch, channels, 3)
    ch_mask: torch.Tensor  # (batch, channels), bool
    labels: torch.Tensor  # (batch, tasks)


def view(windows, rows, generator):
    """Two seconds of each window, through all or some electrodes, at times high-passed.

    Four electrodes are as likely as all, on a logarithmic scale; the pass band begins
    anywhere up to 6 Hz in half of the windows.
    """
    device, n = windows.X.device, len(rows)

    def uniform(*shape):
        return torch.rand(*shape, generator=generator, device=device)

    place = windows.laboratory[rows]
    present, x = windows.present[place], windows.X[rows].float()
    f = torch.fft.rfftfreq(x.shape[2], 1 / 128, device=device)
    corner = 6 * uniform(n, 1, 1) * (uniform(n, 1, 1) < 0.5)
    passed = torch.sigmoid((f - corner) / 0.3).where(corner > 0, 1.0)
    x = torch.fft.irfft(torch.fft.rfft(x) * passed, x.shape[2])
    first = (uniform(n, 1, 1) * (x.shape[2] - N_TIMES + 1)).long()
    at = first + torch.arange(N_TIMES, device=device)
    x = x.gather(2, at.expand(-1, x.shape[1], -1))
    count = present.sum(1, keepdim=True)
    kept = FEWEST * (count / FEWEST).pow(uniform(n, 1))
    kept = torch.where(uniform(n, 1) < 0.4, count.float(), kept)
    order = uniform(*present.shape).masked_fill(~present, 2.0).argsort(1).argsort(1)
    ch_mask = present & (order < kept.round())
    return Batch(x, windows.pos[place], ch_mask, windows.labels[rows])


def draw_mask(kind, batch, generator):
    """Mask (batch, channels, times), True where a sample is visible."""
    n, n_chans, n_times = batch.x.shape
    if kind == "tsr":
        mask = temporal_semantic_mask(n, n_times, generator=generator)
        return mask.unsqueeze(1).expand(-1, n_chans, -1)
    pos = batch.pos.masked_fill(~batch.ch_mask.unsqueeze(-1), 0.0)
    return region_mask(pos, n_times, ch_mask=batch.ch_mask, generator=generator)


# %%
# Objectives
# ----------


class Passage(nn.Module):
    """Scaled windows through the whole network: signals and what the stages hold."""

    def __init__(self, model, rebuilds):
        super().__init__()
        self.model, self.rebuilds = model, rebuilds

    def forward(self, signals, pos, ch_mask, weights):
        """Rebuilt windows or None, mediator, log variances of all stages."""
        x1, x2, x3, pool3 = self.model.trunk.encoder(signals, weights)
        mediated, rebuilt = self.model.trunk.mediator(pool3), None
        if self.rebuilds:
            decoded = self.model.decoder(mediated, x1, x2, x3)[0]
            rebuilt = self.model.readout(decoded, pos, ch_mask)
        variances = [z.float().var(2, correction=0) for z in (x1, x2, x3, mediated)]
        return rebuilt, mediated, torch.log(torch.cat(variances, 1) + 1e-6)


class Objective(nn.Module):
    """A network, and heads that are left behind, for one recipe."""

    def __init__(self, passage, recipe, windows, half=False):
        super().__init__()
        self.passage, self.recipe, self.half = passage, recipe, half
        self.trunk = passage.model.trunk
        self.criterion = TimeFrequencyLoss(**recipe.loss) if recipe.loss else None
        # the first tasks are labels, the others people
        self.sizes, self.n_tasks = windows.n_classes, len(windows.tasks)
        targets = self.trunk.spatial.target_positions
        self.places = DistanceWeights().requires_grad_(False)
        if recipe.spectra:
            n_bins = BINS.stop - BINS.start
            self.spectra = nn.Conv1d(128, len(targets) * n_bins, 1)
        if recipe.views:
            self.project = nn.Sequential(
                nn.BatchNorm1d(N_FEATURES),
                nn.Linear(N_FEATURES, 512),
                nn.BatchNorm1d(512),
                nn.ReLU(),
                nn.Linear(512, EMBEDDING),
            )
        if recipe.labels or recipe.people:
            self.classify = nn.Sequential(
                nn.BatchNorm1d(N_FEATURES), nn.Linear(N_FEATURES, sum(self.sizes))
            )

    def forward(self, windows, rows, generator):
        """Give the parts of the loss by name, without their weights."""
        views = [view(windows, rows, generator)]
        if self.recipe.views:  # two views of half as many windows: the same cost
            views = [view(windows, part, generator) for part in (rows[::2], rows[::2])]
        batch = Batch(
            *(
                torch.cat([getattr(one, name) for one in views])
                for name in ("x", "pos", "ch_mask", "labels")
            )
        )
        signals = self.trunk.signal(batch.x, batch.ch_mask)
        mask = draw_mask(self.recipe.masking, batch, generator)
        if self.recipe.views or self.recipe.labels or self.recipe.people:
            # features are read from whole windows later: half of them are whole here
            whole = torch.arange(len(mask), device=mask.device) % 2 == 0
            mask = mask | whole.view(-1, 1, 1)
        weights = self.trunk.spatial.mixing(batch.pos, batch.ch_mask)
        seen = signals.masked_fill(~mask, 0.0)
        with torch.autocast(seen.device.type, torch.bfloat16, enabled=self.half):
            passed = self.passage(seen, batch.pos, batch.ch_mask, weights)
        return self.parts(batch, signals, mask, *passed)

    def parts(self, batch, signals, mask, rebuilt, mediated, features):
        """Compute what the recipe asks for."""
        parts, recipe = {}, self.recipe
        if self.criterion is not None:
            parts["reconstruction"] = self.criterion(
                rebuilt.float(), signals, mask, batch.ch_mask
            )
        if recipe.spectra:
            parts["spectra"] = self.spectral_error(batch, signals, mediated.float())
        if recipe.views:
            parts["views"] = view_loss(self.project(features).unflatten(0, (2, -1)))
        if recipe.labels or recipe.people:
            errors = self.label_errors(self.classify(features), batch.labels)
            asked = {"labels": slice(self.n_tasks), "people": slice(self.n_tasks, None)}
            for name, which in asked.items():
                if getattr(recipe, name):
                    parts[name] = errors[which].mean()
        return parts

    def total(self, parts):
        """Weigh the parts of the loss."""
        return sum(
            value * (getattr(self.recipe, name, 1.0) or 1.0)
            for name, value in parts.items()
        )

    def spectral_error(self, batch, signals, mediated):
        """Mean error of log spectra at the targets, told from the mediator."""
        places = self.trunk.spatial.target_positions
        mixed = self.places(places, batch.pos, batch.ch_mask) @ signals
        frames = mixed.unfold(2, FRAME, HOP)
        taper = torch.hann_window(FRAME, device=signals.device)
        power = torch.fft.rfft(frames * taper)[..., BINS].abs().square()
        wanted = torch.log(power + 1e-2)  # (batch, targets, frames, bins)
        steps = F.avg_pool1d(mediated, FRAME // 8, HOP // 8)
        told = self.spectra(steps).unflatten(1, (len(places), -1)).transpose(2, 3)
        return F.l1_loss(told, wanted)

    def label_errors(self, logits, labels):
        """Cross-entropy of each task, a mean over the windows that have a label."""
        errors = []
        for place, one in enumerate(logits.split(self.sizes, 1)):
            known = labels[:, place]
            error = F.cross_entropy(one, known, ignore_index=-1, reduction="sum")
            errors.append(error / (known >= 0).sum().clamp(min=1))
        return torch.stack(errors)


def view_loss(z):
    """Distance of two views of each window, and how far embeddings are from isotropic.

    The second part compares characteristic functions of random directions with that of
    a standard Gaussian (Epps-Pulley), as LeJEPA does (arXiv 2511.08544, SIGReg).

    Parameters
    ----------
    z : Tensor, shape (2, windows, features)
        Embeddings.
    """
    distance = (z - z.mean(0)).square().mean()
    directions = F.normalize(torch.randn(z.shape[2], 256, device=z.device), dim=0)
    t = torch.linspace(0.0, 3.0, 17, device=z.device)
    gauss = torch.exp(-t.square() / 2)
    phase = (z @ directions).unsqueeze(-1) * t  # (2, windows, directions, points)
    off = (phase.cos().mean(1) - gauss).square() + phase.sin().mean(1).square()
    statistic = z.shape[1] * torch.trapezoid(off * gauss, t).mul(2).mean()
    return (1 - ISOTROPY) * distance + ISOTROPY * statistic
