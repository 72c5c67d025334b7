"""The largest gain of a cascade of second-order sections over all frequencies."""

from __future__ import annotations

from collections.abc import Sequence
from math import log
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from adac_jax.designs.prototypes import Prototype
from adac_jax.designs.response import squares

POINTS = 12
"""Of the grid, per octave."""
LOWEST, HIGHEST = -11, 6
"""Octaves of tan(π f / fs) between which the grid lies: 7 Hz and 23.8 kHz at fs = 48 kHz."""
QUIETEST_DB = -400.0
"""What counts as silence: below what sections add up to, above the logarithm of 0."""


def peak_db(sections: Sequence[tuple[Prototype, Any]]) -> Array:
    """A bound in dB of the gain of a cascade at every frequency, 0 and fs/2 included.

    Between two points of a grid, a section's gain is at most the larger of those at both and of
    those extremes that lie between: |H|² is a ratio of two quadratics in s = Ω² / (1 + Ω²), so the
    extremes are roots of a third. The cascade's gain there is at most the sum of these, in dB. So
    this is no estimate from samples: it is never below the maximum, is the maximum for a single
    section, and is above it for more of them by no more than what sections change in opposite
    directions within a twelfth of an octave.

    Args:
        sections: Prototypes, whose coefficients broadcast to (sections, *channels), and the
            tan(π f_0 / fs) that they are placed at, (sections, *channels).

    Returns:
        (*channels), in dB; differentiable where one interval is the largest.
    """
    grid = 2.0 ** np.linspace(LOWEST, HIGHEST, (HIGHEST - LOWEST) * POINTS + 1)
    total: Array | float = 0.0
    for prototype, warped in sections:
        total = total + jnp.sum(_between(prototype, jnp.asarray(warped), grid), axis=1)
    return jnp.max(jnp.asarray(total), axis=0)


def _between(prototype: Prototype, warped: Array, grid: np.ndarray) -> Array:
    """The largest gain of each section between neighbouring points, (intervals, sections, …)."""
    dtype = warped.dtype
    shape = jnp.broadcast_shapes(warped.shape, *(jnp.shape(c) for p in prototype for c in p))
    b, a = (
        tuple(jnp.broadcast_to(jnp.asarray(c, dtype), shape) for c in polynomial)
        for polynomial in prototype
    )
    w = jnp.asarray(grid, dtype).reshape(-1, *(1,) * len(shape))
    square = (w / warped) ** 2
    square = jnp.broadcast_to(square, (len(grid), *shape))
    inner = square / (1 + square)
    ends = jnp.zeros((1, *shape), dtype)
    s = jnp.concatenate([ends, inner, ends + 1])
    # 1 - s without the cancellation.
    c = jnp.concatenate([ends + 1, 1 / (1 + square), ends])

    def level(s: Array, c: Array) -> Array:
        top, bottom = squares((b, a), s, c)
        tiny = 10 ** (QUIETEST_DB / 10) if dtype == jnp.float64 else jnp.finfo(dtype).tiny
        return 10 / log(10) * (jnp.log(jnp.maximum(top, tiny)) - jnp.log(bottom))

    levels = level(s, c)
    largest = jnp.maximum(levels[1:], levels[:-1])
    for at in _extremes(b, a):
        # At an extreme, what the gain changes by does not depend on where it is taken.
        at = lax.stop_gradient(at)
        inside = (at >= s[:-1]) & (at <= s[1:])
        largest = jnp.where(inside, jnp.maximum(largest, level(at, 1 - at)), largest)
    return largest


def _extremes(b: Sequence[Array], a: Sequence[Array]) -> tuple[Array, Array]:
    """Where the derivative of |H|² in s vanishes, in [0, 1]."""

    def quadratic(c: Sequence[Array]) -> tuple[Array, Array, Array]:
        both = c[0] + c[2]
        return c[0] ** 2, c[1] ** 2 - 2 * c[0] * both, both**2 - c[1] ** 2

    p0, p1, p2 = quadratic(b)
    r0, r1, r2 = quadratic(a)
    # P' R - P R' = α s² + 2 β s + γ
    alpha, beta, gamma = p2 * r1 - p1 * r2, p2 * r0 - p0 * r2, p1 * r0 - p0 * r1
    root = jnp.sqrt(jnp.maximum(beta**2 - alpha * gamma, 0))
    t = -(beta + jnp.where(beta < 0, -root, root))

    def ratio(top: Array, bottom: Array) -> Array:
        safe = jnp.where(bottom == 0, 1, bottom)
        return jnp.clip(jnp.where(bottom == 0, 0.5, top / safe), 0, 1)

    return ratio(t, alpha), ratio(gamma, t)
