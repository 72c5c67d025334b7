"""Responses of the filters of the IR, each channel at each frequency."""

from __future__ import annotations

import math

import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jaxtyping import Complex, Float

from adac_jax.frequency.points import Points

FEW = 32
"""Up to this many taps the phases of all of them are computed; above, those of their digits."""


def fir(taps: Float[Array, "taps ..."], points: Points) -> Complex[Array, "... frequencies"]:
    """Σ_k taps_k z^-k.

    For many taps, k = B i + j and Σ_i z^-Bi Σ_j taps_{Bi+j} z^-j with B ≈ √taps: as many products,
    but few phases.
    """
    count = len(taps)
    if count <= FEW:
        return _weighted(taps, points.delay(np.arange(count)))
    width = math.isqrt(count - 1) + 1
    rows = -(-count // width)
    padded = jnp.pad(taps, [(0, rows * width - count)] + [(0, 0)] * (taps.ndim - 1))
    split = padded.reshape(rows, width, *taps.shape[1:])
    inner = _weighted(jnp.moveaxis(split, 1, 0), points.delay(np.arange(width)))
    outer = points.delay(width * np.arange(rows))
    spread = outer.reshape(rows, *(1 for _ in taps.shape[1:]), outer.shape[-1])
    return jnp.sum(spread * inner, axis=0)


def iir(
    b: Float[Array, "terms ..."], a: Float[Array, "terms ..."], points: Points
) -> Complex[Array, "... frequencies"]:
    """(Σ_k b_k z^-k) / (Σ_k a_k z^-k); up to order two as `sections`."""
    order = len(b) - 1
    if order > 2:
        return fir(b, points) / fir(a, points)
    rest = [(0, 2 - order)] + [(0, 0)] * (b.ndim - 1)
    return sections(jnp.concatenate([jnp.pad(b, rest), jnp.pad(a, rest)])[None], points)


def sections(
    sos: Float[Array, "sections 6 ..."], points: Points
) -> Complex[Array, "... frequencies"]:
    """The product of second-order sections (b0, b1, b2, a0, a1, a2).

    With c = cos(ω/2) and s = sin(ω/2), b0 + b1 z^-1 + b2 z^-2 is z^-1 times

        (b0 + b1 + b2) c² - (b0 - b1 + b2) s² + 2j (b0 - b2) s c,

    and the z^-1 of numerator and denominator cancel. At low frequencies that is a sum of small
    numbers, where powers of z would take the small difference of large ones; likewise at high
    frequencies. It is the polynomial of the bilinear transform (Oppenheim, Schafer, "Discrete-Time
    Signal Processing", 3rd ed., section 7.2), read backwards.
    """
    cosine, sine = points.half()
    squares = (cosine * cosine, sine * sine, 2 * sine * cosine)

    def response(section: Array) -> Array:
        return _quadratic(section[:3], squares) / _quadratic(section[3:], squares)

    if not len(sos):
        nothing = jnp.zeros((*sos.shape[2:], len(cosine)), sos.dtype)
        return lax.complex(nothing + 1, nothing)
    return lax.scan(lambda h, s: (h * response(s), None), response(sos[0]), sos[1:])[0]


def _quadratic(c: Array, squares: tuple[Array, Array, Array]) -> Array:
    """Z (c0 + c1 z^-1 + c2 z^-2); the sums in the order in which those of a filter are exact."""
    cosine, sine, both = squares
    plus, minus, odd = (c[0] + c[1]) + c[2], (c[0] - c[1]) + c[2], c[0] - c[2]
    real = plus[..., None] * cosine - minus[..., None] * sine
    return lax.complex(real, odd[..., None] * both)


def _weighted(taps: Array, phases: Array) -> Array:
    """Σ_k taps_k phases_k as two real products: (*channels, frequencies)."""
    parts = (
        jnp.einsum("k...,kf->...f", taps, part, precision="highest")
        for part in (phases.real, phases.imag)
    )
    return lax.complex(*parts)
