"""The bilinear transform of first- and second-order analogue prototypes.

A prototype is a ratio of polynomials in s, with s = 1 (in magnitude) at the design frequency. The
transform is s = (1/g) (1 - z^-1) / (1 + z^-1) with g = tan(π f / fs), so that the prototype's
response at s = j appears at f exactly.

Low-frequency sections have poles close to z = 1: with g = 0.002 (31 Hz at 48 kHz) what tells two
filters apart is the difference of a_1 from -2, a few 1e-6. Here the coefficients are therefore
found as small departures from the values at z = 1 or z = -1, whichever the section is nearer to,
and each is rounded once, at the end. Where even that would put a pole on the unit circle (which
takes a few Hz at float32, or an extreme gain) a_1 and a_2 are held one rounding step inside.
"""

from __future__ import annotations

from collections.abc import Sequence

import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

Polynomial = Sequence[ArrayLike]
"""Coefficients of s^0, s^1, … in this order."""


def _spread(polynomials: Sequence[Polynomial], g: Array) -> list[list[Array]]:
    """All coefficients as arrays of one shape and of g's type."""
    arrays = [[jnp.asarray(c, g.dtype) for c in p] for p in polynomials]
    shape = jnp.broadcast_shapes(g.shape, *(c.shape for p in arrays for c in p))
    return [[jnp.broadcast_to(c, shape) for c in p] for p in arrays]


def first_order(B: Polynomial, A: Polynomial, g: Array) -> tuple[Array, Array]:
    """Transforms H(s) = (B0 + B1 s) / (A0 + A1 s).

    a_0 = A1 + A0 g, a_1 = A0 g - A1, and the same for b; all divided by a_0.

    Args:
        B: Numerator, (B0, B1).
        A: Denominator, (A0, A1), both positive: then the filter is stable.
        g: tan(π f / fs) > 0.

    Returns:
        b and a, each (2, *shape), with a_0 = 1.
    """
    g = jnp.asarray(g)
    B, A = _spread([B, A], g)  # type: ignore[assignment]
    lead = A[1] + A[0] * g
    low = A[0] * g < A[1]

    def last(P: Polynomial, c0: Array) -> Array:
        return jnp.where(low, -c0 + 2 * P[0] * g / lead, c0 - 2 * P[1] / lead)

    edge = 1 - jnp.finfo(g.dtype).eps
    b0, one = (B[1] + B[0] * g) / lead, jnp.ones_like(lead)
    b = jnp.stack([b0, last(B, b0)])
    return b, jnp.stack([one, jnp.clip(last(A, one), -edge, edge)])


def second_order(B: Polynomial, A: Polynomial, g: Array) -> Array:
    """Transforms H(s) = (B0 + B1 s + B2 s²) / (A0 + A1 s + A2 s²) into sections.

    a_0 = A2 + A1 g + A0 g², a_1 = 2 (A0 g² - A2), a_2 = A2 - A1 g + A0 g², and the same for b; all
    divided by a_0. Equal polynomials give equal coefficients, so a neutral filter is the identity.

    Args:
        B: Numerator.
        A: Denominator, all positive: then the filter is stable.
        g: tan(π f / fs) > 0, (sections, *channels).

    Returns:
        (sections, 6, *channels): b_0, b_1, b_2, 1, a_1, a_2 of each section.
    """
    g = jnp.asarray(g)
    B, A = _spread([B, A], g)  # type: ignore[assignment]
    square = g * g
    lead = A[2] + A[1] * g + A[0] * square
    low = A[0] * square < A[2]

    def others(P: Polynomial, c0: Array) -> tuple[Array, Array]:
        near_one = -2 * c0 + 2 * (P[1] * g + 2 * P[0] * square) / lead
        near_minus_one = 2 * c0 - 2 * (P[1] * g + 2 * P[2]) / lead
        return jnp.where(low, near_one, near_minus_one), c0 - 2 * P[1] * g / lead

    edge = 1 - jnp.finfo(g.dtype).eps
    b0, one = (B[2] + B[1] * g + B[0] * square) / lead, jnp.ones_like(lead)
    a1, a2 = others(A, one)
    a2 = jnp.clip(a2, -edge, edge)
    a1 = jnp.clip(a1, -edge * (1 + a2), edge * (1 + a2))
    return jnp.stack([b0, *others(B, b0), one, a1, a2], axis=1)
