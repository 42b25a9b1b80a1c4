"""The sources of simulated EEG: where they lie in the head, and their time courses.

Dipoles in MNE's sphere model.  What trials do to them, and how electrodes record them,
is in `simulation`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import mne
import numpy as np
from scipy.fft import irfft, rfftfreq

from braindecode_samba.signals.template import (
    info_at,
    positions_from_names,
    target_names,
    target_positions,
)

# Signals are made at this rate and then brought to the user's, so that one seed is
# one brain at every rate.
RATE = 256
RAMP_SECONDS = 0.3

SOURCES = ("mu_left", "mu_right", "alpha")
_ANCHORS = ("C3", "C4", "POz")
# distance from the centre in head radii, and root mean square in A m at rest
_DEPTHS = (0.75, 0.75, 0.7)
_MOMENTS = (26e-9, 26e-9, 45e-9)
_N_BACKGROUND = 100
_BACKGROUND_MOMENT = 36e-9


@lru_cache(maxsize=1)
def _head() -> mne.bem.ConductorModel:
    """Sphere through the colin27 template."""
    info = info_at(target_names(), target_positions())
    return mne.make_sphere_model("auto", "auto", info, verbose="error")


def head_centre() -> np.ndarray:
    """Centre of the sphere, (3,), metres."""
    return _head()["r0"]


def _unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)


@dataclass(frozen=True)
class Dipoles:
    """Sources of one subject."""

    places: np.ndarray  # (n_sources, 3), head frame, metres
    directions: np.ndarray  # (n_sources, 3), unit vectors
    moments: np.ndarray  # (n_sources,), A m, where the time course is 1


@dataclass(frozen=True)
class Brain(Dipoles):
    """One subject at rest: the three named sources first, then the background."""

    strengths: np.ndarray  # (3,), the named sources' amplitude, 1 in the population
    frequencies: np.ndarray  # (3,), Hz
    harmonic: float  # beta amplitude over mu amplitude
    depth: float  # this subject's share of the asked-for desynchronisation
    exponents: np.ndarray  # (n_background,), of the 1/f power spectra


def dipoles_below(
    rng: np.random.Generator, anchors: Sequence[str], depths: Any, moments: Any
) -> tuple[Dipoles, np.ndarray]:
    """Draw dipoles below electrodes, about radial, and their strengths around 1."""
    sphere = _head()
    outward = _unit(positions_from_names(anchors) - sphere["r0"])
    places = sphere["r0"] + sphere.radius * np.array(depths)[:, None] * outward
    places = places + rng.uniform(-0.005, 0.005, outward.shape)
    directions = _unit(outward + rng.uniform(-0.25, 0.25, outward.shape))
    strengths = np.exp(rng.normal(0, 0.15, len(outward)))
    return Dipoles(places, directions, strengths * moments), strengths


def draw_brain(rng: np.random.Generator) -> Brain:
    """Draw a subject."""
    sphere = _head()
    radius = sphere.radius
    named, strengths = dipoles_below(rng, _ANCHORS, _DEPTHS, _MOMENTS)

    shell = radius * rng.uniform(0.3, 0.75, _N_BACKGROUND)
    elsewhere = _unit(rng.standard_normal((_N_BACKGROUND, 3)))
    background = sphere["r0"] + shell[:, None] * elsewhere
    moments = _BACKGROUND_MOMENT * np.exp(rng.normal(0, 0.2, _N_BACKGROUND))
    mu = rng.uniform(10.0, 12.0)
    return Brain(
        places=np.concatenate([named.places, background]),
        directions=np.concatenate(
            [named.directions, _unit(rng.standard_normal((_N_BACKGROUND, 3)))]
        ),
        moments=np.concatenate([named.moments, moments]),
        strengths=strengths,
        frequencies=np.array([mu, mu + rng.normal(0, 0.2), rng.uniform(8.5, 11.5)]),
        harmonic=rng.uniform(0.25, 0.5),
        depth=rng.uniform(0.4, 1.1),
        exponents=rng.uniform(0.8, 1.6, _N_BACKGROUND),
    )


def leadfield(sources: Dipoles, electrodes: np.ndarray) -> np.ndarray:
    """Volts at each electrode for each source, (n_chans, n_sources)."""
    info = info_at([str(row) for row in range(len(electrodes))], electrodes)
    n = len(sources.moments)
    dipoles = mne.Dipole(
        np.arange(n), sources.places, np.ones(n), sources.directions, np.full(n, 100)
    )
    forward, _ = mne.make_forward_dipole(dipoles, _head(), info, verbose="error")
    return forward["sol"]["data"] * sources.moments


def rhythms_of(rng: np.random.Generator, brain: Brain, n_times: int) -> np.ndarray:
    """Resting time courses of the named sources, (3, n_times), unit mean square.

    z is narrow-band complex noise; a motor rhythm is Re z + h Re z²/|z|, whose second
    part is the beta rhythm at twice the frequency, locked to mu as in real EEG.
    """
    freqs = np.fft.fftfreq(n_times, 1 / RATE)
    noise = rng.standard_normal((2, 3, n_times))
    bell = np.exp(-0.5 * (freqs - brain.frequencies[:, None]) ** 2)
    z = np.fft.ifft((noise[0] + 1j * noise[1]) * bell)
    share = np.array([[brain.harmonic], [brain.harmonic], [0.0]])
    waves = z.real + share * (z * np.exp(1j * np.angle(z))).real
    return waves / np.sqrt(np.mean(waves**2, axis=1, keepdims=True))


def pink_noise(
    rng: np.random.Generator, exponents: np.ndarray, n_times: int
) -> np.ndarray:
    """Noise with power 1/f^exponent above 0.5 Hz, (n, n_times), unit mean square."""
    freqs = rfftfreq(n_times, 1 / RATE).astype(np.float32)
    gain = np.maximum(freqs, 0.5) ** (-exponents[:, None].astype(np.float32) / 2)
    gain[:, 0] = 0
    shape = (len(exponents), 2 * len(freqs))
    spectrum = rng.standard_normal(shape, dtype=np.float32).view(np.complex64)
    spectrum *= gain
    waves = irfft(spectrum, n=n_times, overwrite_x=True)
    waves /= np.sqrt(np.mean(waves**2, axis=1, keepdims=True))
    return waves


def envelope(
    factors: np.ndarray, starts: np.ndarray, stops: np.ndarray, n_times: int
) -> np.ndarray:
    """Amplitude over time, (3, n_times): 1 at rest, `factors` (n_trials, 3) in trials.

    Each trial's factor is reached by a raised-cosine ramp that ends at its start and
    left by one that begins at its stop (both in samples).
    """
    envelope = np.ones((3, n_times))
    n_ramp = round(RAMP_SECONDS * RATE)
    rise = 0.5 - 0.5 * np.cos(np.pi * (np.arange(n_ramp) + 0.5) / n_ramp)
    for factor, start, stop in zip(factors, starts, stops, strict=True):
        weight = np.concatenate([rise, np.ones(stop - start), rise[::-1]])
        piece = slice(start - n_ramp, stop + n_ramp)
        envelope[:, piece] += (factor[:, None] - 1) * weight
    return envelope
