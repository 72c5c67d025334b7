"""The energy of the error against that of the signal."""

from __future__ import annotations

import jax.numpy as jnp
from jax import Array
from jaxtyping import Float

from adac_jax.losses.numeric import check_pair, reference


def error_to_signal_ratio(
    prediction: Float[Array, "*batch time channels"],
    target: Float[Array, "*batch time channels"],
    pre_emphasis: float = 0.0,
) -> Float[Array, ""]:
    """Σ (y - ŷ)² / Σ y² over time, as the mean over channels and batch; Σ ŷ² if y is silent.

    With pre-emphasis both signals go through H(z) = 1 - p z^-1 first. Source: Wright, Damskägg,
    Juvela and Välimäki, "Real-time guitar amplifier emulation with deep learning" (Applied
    Sciences 10(3), 2020); p = 0.85 there.

    Args:
        prediction: (..., time, channels).
        target: Of the same shape.
        pre_emphasis: p, at least 0 and below 1.

    Raises:
        ValueError: the shapes differ, or `pre_emphasis` is out of its range.
    """
    check_pair(prediction, target)
    if not 0 <= pre_emphasis < 1:
        raise ValueError(f"`pre_emphasis` (={pre_emphasis}) must lie in [0, 1).")
    error = jnp.sum(_emphasised(target - prediction, pre_emphasis) ** 2, axis=-2)
    signal = jnp.sum(_emphasised(target, pre_emphasis) ** 2, axis=-2)
    return jnp.mean(error / reference(signal))


def _emphasised(x: Array, pre_emphasis: float) -> Array:
    before = jnp.pad(x[..., :-1, :], ((0, 0),) * (x.ndim - 2) + ((1, 0), (0, 0)))
    return x - pre_emphasis * before
