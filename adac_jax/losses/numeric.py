"""What keeps losses and their gradients finite."""

from __future__ import annotations

import jax.numpy as jnp
from jax import Array
from jaxtyping import Float, Inexact

SILENCE = 1e-24
"""Power that counts as none: −240 dB re full scale."""


def check_pair(prediction: Array, target: Array) -> None:
    """Checks that two signals can be compared sample by sample.

    Raises:
        ValueError: they differ in shape, or are not (..., time, channels).
    """
    if prediction.ndim < 2:
        raise ValueError(f"`prediction` (shape {prediction.shape}) must be (..., time, channels).")
    if prediction.shape != target.shape:
        raise ValueError(
            f"`prediction` (shape {prediction.shape}) and `target` (shape {target.shape}) must "
            "have the same shape."
        )


def channels_first(x: Float[Array, "*batch time channels"]) -> Float[Array, "*batch channels time"]:
    """Time on the last axis, where it lies closest together."""
    return jnp.moveaxis(x, -2, -1)


def safe_sqrt(x: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """√x for x ≥ 0, with the derivative 0 at 0 in place of ∞."""
    positive = x > 0
    return jnp.where(positive, jnp.sqrt(jnp.where(positive, x, 1)), 0)


def reference(energy: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """What to divide by: the energy itself, or 1 where there is silence."""
    return jnp.where(energy > SILENCE, energy, 1)


def power(x: Inexact[Array, "*shape"]) -> Float[Array, "*shape"]:
    """|x|² of a real or complex array."""
    return x.real**2 + x.imag**2 if jnp.iscomplexobj(x) else x**2


def decibels(x: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """10 lg x of a positive power."""
    return 10 / jnp.log(jnp.asarray(10, x.dtype)) * jnp.log(x)


def masked_mean(x: Float[Array, "*shape"], mask: Float[Array, "*shape"]) -> Float[Array, ""]:
    """The mean of what the mask, of ones and zeros, leaves; 0 if it leaves nothing."""
    return jnp.sum(x * mask) / jnp.maximum(jnp.sum(mask), 1)
