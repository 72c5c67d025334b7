"""Differences between reverberation times."""

from __future__ import annotations

import jax.numpy as jnp
from jax import Array
from jaxtyping import Float

from adac_jax.bands import octave_centres
from adac_jax.losses.decay import backward_sum, decay_levels
from adac_jax.losses.numeric import check_pair, masked_mean
from adac_jax.losses.relief import octave_energies

LONGEST = 100.0
"""Longer reverberation times, in seconds, count as this one."""


def reverberation_time(
    prediction: Float[Array, "*batch time channels"],
    target: Float[Array, "*batch time channels"],
    sample_rate: float,
    centres: tuple[float, ...] | None = None,
    upper: float = -5.0,
    lower: float = -35.0,
    hop: float = 0.01,
) -> Float[Array, ""]:
    """Relative error of the reverberation time in octave bands: mean |T̂ / T - 1|.

    T = -60 / slope, the slope in dB/s being that of the least-squares line through the energy
    decay curve. Both lines are drawn through the same times, those at which the target is between
    `upper` and `lower`. Source: ISO 3382-1:2009, for T20 and T30.

    A target with noise should be cut off where its decay meets the noise, and the prediction at
    the same sample.

    Args:
        prediction: (..., time, channels).
        target: Of the same shape.
        sample_rate: fs in Hz.
        centres: Centres of the bands in Hz; the octaves from 125 Hz to 8 kHz if None.
        upper: Level of the target in dB at which the line begins, at most 0.
        lower: Level of the target in dB at which it ends, below `upper`.
        hop: Seconds between two points of a curve, at least one sample.

    Returns:
        The mean over bands, channels and batch; a band whose target has not three points between
        `upper` and `lower` does not count.

    Raises:
        ValueError: the shapes differ, or a value is out of its range.
    """
    check_pair(prediction, target)
    if not lower < upper <= 0:
        raise ValueError(f"`upper` (={upper}) must lie above `lower` (={lower}) dB, and at most 0.")
    centres = centres or octave_centres(sample_rate, 125.0, 8000.0)
    ours, theirs = (
        backward_sum(octave_energies(x, sample_rate, centres, hop)) for x in (prediction, target)
    )
    level, target_level = decay_levels(ours, theirs, -lower)
    within = ((target_level <= upper) & (target_level >= lower)).astype(level.dtype)
    flattest = -60 * hop / LONGEST
    slope = jnp.minimum(_slope(level, within), flattest)
    target_slope = jnp.minimum(_slope(target_level, within), flattest)
    known = (jnp.sum(within, axis=-1) >= 3).astype(level.dtype)
    return masked_mean(jnp.abs(target_slope / slope - 1), known)


def _slope(
    level: Float[Array, "*batch points"], within: Float[Array, "*batch points"]
) -> Float[Array, "*batch"]:
    """Of the least-squares line through the points within, in dB a point."""
    points = jnp.arange(level.shape[-1], dtype=level.dtype)
    count = jnp.maximum(jnp.sum(within, axis=-1, keepdims=True), 1)
    distance = within * (points - jnp.sum(within * points, axis=-1, keepdims=True) / count)
    spread = jnp.sum(distance**2, axis=-1)
    return jnp.sum(distance * level, axis=-1) / jnp.where(spread > 0, spread, 1)
