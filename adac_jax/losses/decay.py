"""Differences between energy decay curves."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float

from adac_jax.losses.numeric import (
    channels_first,
    check_pair,
    decibels,
    masked_mean,
    reference,
)

BELOW_RANGE_DB = 40.0
"""Decay curves have a floor this far below the range that is compared."""


def energy_decay_curve(
    prediction: Float[Array, "*batch time channels"],
    target: Float[Array, "*batch time channels"],
    decay_range: float = 60.0,
    hop: int = 64,
) -> Float[Array, ""]:
    """Mean absolute difference of the energy decay curves, in dB.

        E(n) = Σ_{m ≥ n} h²(m),    |10 lg E - 10 lg Ê|

    at every `hop` samples, as long as the target is within `decay_range` dB of its beginning; the
    mean is over all these times of all channels and batches, a silent target having none. The
    levels are absolute: a response that is 1 dB too loud is 1 dB off. Source: Schroeder, "New
    method of measuring reverberation time" (JASA 37, 1965), for the curve.

    A target with noise should be cut off where its decay meets the noise, and the prediction at
    the same sample.

    Args:
        prediction: (..., time, channels).
        target: Of the same shape.
        decay_range: Levels of the target that count, in dB below its first, positive.
        hop: Samples between two points of the curve, at least 1.

    Raises:
        ValueError: the shapes differ, or a value is out of its range.
    """
    check_pair(prediction, target)
    ours, theirs = (decay_energies(x, hop) for x in (prediction, target))
    return level_difference(ours, theirs, decay_range)


def energy_decay_linear(
    prediction: Float[Array, "*batch time channels"],
    target: Float[Array, "*batch time channels"],
    hop: int = 64,
) -> Float[Array, ""]:
    """Normalised squared difference of the energy decay curves, which weighs the beginning most.

        Σ (E - Ê)² / Σ E²

    at every `hop` samples, as the mean over channels and batch. Source: Mezza, Giampiccolo, De
    Sena and Bernardini, "Data-driven room acoustic modeling via differentiable feedback delay
    networks with learnable delay lines" (EURASIP Journal on Audio, Speech, and Music Processing,
    2024).

    Args:
        prediction: (..., time, channels).
        target: Of the same shape.
        hop: Samples between two points of the curve, at least 1.

    Raises:
        ValueError: the shapes differ, or `hop` is less than 1.
    """
    check_pair(prediction, target)
    ours, theirs = (decay_energies(x, hop) for x in (prediction, target))
    scale = reference(theirs[..., :1])
    ours, theirs = ours / scale, theirs / scale
    signal = reference(jnp.sum(theirs**2, axis=-1))
    return jnp.mean(jnp.sum((theirs - ours) ** 2, axis=-1) / signal)


def decay_energies(
    x: Float[Array, "*batch time channels"], hop: int
) -> Float[Array, "*batch channels points"]:
    """E(n) at every `hop` samples."""
    if hop < 1:
        raise ValueError(f"`hop` (={hop}) must be at least 1.")
    x = channels_first(x)
    points = -(-x.shape[-1] // hop)
    x = jnp.pad(x, ((0, 0),) * (x.ndim - 1) + ((0, points * hop - x.shape[-1]),))
    return backward_sum(jnp.sum(x.reshape(*x.shape[:-1], points, hop) ** 2, axis=-1))


def backward_sum(energies: Float[Array, "*batch points"]) -> Float[Array, "*batch points"]:
    """What is still to come, from each point on."""
    return jax.lax.cumsum(energies, axis=energies.ndim - 1, reverse=True)


def decay_levels(
    ours: Float[Array, "*batch points"], theirs: Float[Array, "*batch points"], decay_range: float
) -> tuple[Float[Array, "*batch points"], Float[Array, "*batch points"]]:
    """Two decay curves in dB re the beginning of the second, with a floor below the range."""
    if not decay_range > 0:
        raise ValueError(f"`decay_range` (={decay_range}) must be positive.")
    beginning = reference(theirs[..., :1])
    floor = 10 ** (-(decay_range + BELOW_RANGE_DB) / 10)
    return decibels(ours / beginning + floor), decibels(theirs / beginning + floor)


def level_difference(
    ours: Float[Array, "*batch points"], theirs: Float[Array, "*batch points"], decay_range: float
) -> Float[Array, ""]:
    """Mean absolute difference in dB where the second curve is within the range."""
    level, target_level = decay_levels(ours, theirs, decay_range)
    within = (target_level >= -decay_range).astype(level.dtype)
    return masked_mean(jnp.abs(level - target_level), within)
