"""Differences between energy decay reliefs: decay curves in octave bands."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float
from scipy import fft

from adac_jax.bands import PERIODS, octave_centres, octave_weights
from adac_jax.losses.decay import backward_sum, level_difference
from adac_jax.losses.numeric import channels_first, check_pair, power

LOWEST = 62.5
"""Centre in Hz of the lowest band, unless bands are given."""


def energy_decay_relief(
    prediction: Float[Array, "*batch time channels"],
    target: Float[Array, "*batch time channels"],
    sample_rate: float,
    centres: tuple[float, ...] | None = None,
    decay_range: float = 60.0,
    hop: float = 0.01,
) -> Float[Array, ""]:
    """Mean absolute difference of the energy decay curves in octave bands, in dB.

    As `energy_decay_curve`, of each band; each counts as long as the target in that band is within
    `decay_range` dB of its beginning. Source: Jot, "An analysis/synthesis approach to real-time
    artificial reverberation" (ICASSP 1992), for the relief.

    Args:
        prediction: (..., time, channels).
        target: Of the same shape.
        sample_rate: fs in Hz.
        centres: Centres of the bands in Hz; all octaves from 62.5 Hz to 16 kHz if None.
        decay_range: Levels of the target that count, in dB below its first, positive.
        hop: Seconds between two points of a curve, at least one sample.

    Raises:
        ValueError: the shapes differ, or a value is out of its range.
    """
    check_pair(prediction, target)
    centres = centres or octave_centres(sample_rate, LOWEST)
    ours, theirs = (
        backward_sum(octave_energies(x, sample_rate, centres, hop)) for x in (prediction, target)
    )
    return level_difference(ours, theirs, decay_range)


def octave_energies(
    x: Float[Array, "*batch time channels"],
    sample_rate: float,
    centres: tuple[float, ...],
    hop: float,
) -> Float[Array, "*batch channels bands frames"]:
    """Energy of each octave band in frames of `hop` seconds.

    One FFT of the whole signal; of each band's bins an inverse one, no longer than the band is
    wide, which gives the band's analytic signal at a rate of its own. Its squared magnitude is the
    band's power without the ripple at twice the frequency. All bands together cost about one FFT
    of the signal's length.

    Args:
        x: (..., time, channels).
        sample_rate: fs in Hz.
        centres: Centres of the bands in Hz.
        hop: Length of the frames in seconds, at least one sample.

    Raises:
        ValueError: `hop` is too short.
    """
    samples = round(hop * sample_rate)
    if samples < 1:
        raise ValueError(f"`hop` (={hop}) must last a sample at least.")
    plan = _plan(x.shape[-2], float(sample_rate), centres, samples)
    x = channels_first(x)
    spectrum = jnp.fft.rfft(x, plan.length, axis=-1)
    bands = []
    for band in plan.bands:
        weights = jnp.asarray(band.weights, spectrum.dtype)
        part = spectrum[..., band.first : band.first + len(band.weights)] * weights
        inverse = jnp.fft.ifft if band.analytic else jnp.fft.irfft
        squared = power(inverse(part, band.length, axis=-1))
        framed = squared.reshape(*squared.shape[:-1], plan.frames, -1)
        bands.append(jnp.sum(framed, axis=-1)[..., : plan.kept])
    return jnp.stack(bands, axis=-2)


@dataclass(frozen=True, slots=True)
class _Band:
    """How one band's power comes from the signal's spectrum.

    Attributes:
        first: First bin.
        weights: Gains of the bins from there on, scaled to the power of the inverse FFT.
        length: Samples of the inverse FFT.
        analytic: Whether it is of the positive frequencies alone.
    """

    first: int
    weights: np.ndarray
    length: int
    analytic: bool


@dataclass(frozen=True, slots=True)
class _Plan:
    length: int
    frames: int
    kept: int
    bands: tuple[_Band, ...]


@lru_cache(maxsize=32)
def _plan(samples: int, sample_rate: float, centres: tuple[float, ...], hop: int) -> _Plan:
    """Lengths and weights; what the filters bring before the signal wraps into frames not kept."""
    around = math.ceil(PERIODS * sample_rate / min(centres))
    frames: int = fft.next_fast_len(-(-(samples + around) // hop))  # type: ignore[assignment]
    length = frames * hop
    bands = []
    for centre, weights in zip(centres, octave_weights(length, sample_rate, centres), strict=True):
        # a band that reaches fs/2 has no analytic signal of its own that dies away: it stays real
        analytic = 2 * centre < sample_rate / 2
        inside = np.flatnonzero(weights)
        first, last = (int(inside[0]), int(inside[-1]) + 1) if analytic else (0, len(weights))
        size = frames * -(-(last - first) // frames) if analytic else length
        scale = math.sqrt(2 * size / length) if analytic else 1.0
        bands.append(_Band(first, scale * weights[first:last], size, analytic))
    return _Plan(length, frames, -(-samples // hop), tuple(bands))
