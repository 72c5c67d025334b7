"""Static curves, and their integrals, for waveshapers.

The integral of a curve is F(x) = c |x| + h(x), where c |x| is what grows: differences of F are then
small numbers, or exact ones.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import jax.numpy as jnp
import numpy as np
from jax import Array

Curve = Callable[[Array], Array]


@dataclass(frozen=True)
class Shape:
    """A curve with f(0) = 0 and f'(0) = 1, and its integral.

    Attributes:
        f: The curve.
        growth: c.
        rest: h.
        kink: The |x| at which f is not smooth; None: it is everywhere.
        points: Of a quadrature that is exact, but for rounding, over a smooth piece of length
            `NEAR`.
    """

    f: Curve
    growth: float
    rest: Curve
    kink: float | None = None
    points: int = 5


def _tanh_rest(x: Array) -> Array:
    return jnp.log1p(jnp.exp(-2 * jnp.abs(x)))


def _hard(x: Array) -> Array:
    return jnp.clip(x, -1, 1)


def _hard_rest(x: Array) -> Array:
    size = jnp.minimum(jnp.abs(x), 1)
    return size * size / 2 - size


def _cubic(x: Array) -> Array:
    s = jnp.clip(x, -1.5, 1.5)
    return s - s * s * s * jnp.asarray(4 / 27, x.dtype)


def _cubic_rest(x: Array) -> Array:
    size = jnp.minimum(jnp.abs(x), 1.5)
    square = size * size
    return square / 2 - square * square / 27 - size


def _rational(x: Array) -> Array:
    return x / (1 + jnp.abs(x))


def _rational_rest(x: Array) -> Array:
    return -jnp.log1p(jnp.abs(x))


def _algebraic(x: Array) -> Array:
    return x / jnp.sqrt(1 + x * x)


def _algebraic_rest(x: Array) -> Array:
    return 1 / (jnp.sqrt(1 + x * x) + jnp.abs(x))


def _arctan_rest(x: Array) -> Array:
    size = jnp.abs(x)
    return -size * jnp.arctan2(jnp.ones_like(x), size) - jnp.log1p(x * x) / 2


def _arcsinh_rest(x: Array) -> Array:
    return x * jnp.arcsinh(x) - jnp.sqrt(1 + x * x)


CURVES: dict[str, Shape] = {
    "tanh": Shape(jnp.tanh, 1.0, _tanh_rest),
    "hard": Shape(_hard, 1.0, _hard_rest, kink=1.0, points=1),
    "cubic": Shape(_cubic, 1.0, _cubic_rest, kink=1.5, points=2),
    "rational": Shape(_rational, 1.0, _rational_rest, kink=0.0),
    "algebraic": Shape(_algebraic, 1.0, _algebraic_rest),
    "arctan": Shape(jnp.arctan, np.pi / 2, _arctan_rest),
    "arcsinh": Shape(jnp.arcsinh, 0.0, _arcsinh_rest),
}
"""Curves by name: tanh x; x clipped to ±1; x - 4 x³ / 27 up to ±3/2, ±1 beyond; x / (1 + |x|);
x / √(1 + x²); arctan x; arcsinh x."""

NEAR = 0.125
"""Up to this distance a mean is taken by quadrature."""


def quadrature(f: Curve, before: Array, now: Array, points: int = 5) -> Array:
    """The mean of f from one number to another, by Gauss-Legendre quadrature.

    Exact for polynomials of a degree below twice the number of points.
    """
    middle, half = (now + before) / 2, (now - before) / 2
    values = (
        jnp.asarray(w / 2, now.dtype) * f(middle + jnp.asarray(p, now.dtype) * half)
        for p, w in zip(*np.polynomial.legendre.leggauss(points), strict=True)
    )
    return sum(values, jnp.zeros_like(now))


def mean(shape: Shape, before: Array, now: Array) -> Array:
    """The mean of f from one number to another: (F(b) - F(a)) / (b - a).

    That loses all digits where a and b are close; there it is done by quadrature, which is as
    exact. Of what grows, (|b| - |a|) / (b - a) is written as (a + b) / (|a| + |b|), so that far out
    nothing is lost in differences of large numbers. So single precision is kept: an error of some
    2^-24 h / `NEAR`.
    """
    change = now - before
    far = jnp.abs(change) > NEAR
    both = jnp.where(far, jnp.abs(now) + jnp.abs(before), 1)
    grown = jnp.asarray(shape.growth, now.dtype) * ((now + before) / both)
    rest = (shape.rest(now) - shape.rest(before)) / jnp.where(far, change, 1)
    return jnp.where(far, grown + rest, _nearby(shape, before, now))


def _nearby(shape: Shape, before: Array, now: Array) -> Array:
    """The mean over at most `NEAR`, within which there is one kink at most: piece by piece."""
    if shape.kink is None:
        return quadrature(shape.f, before, now, shape.points)
    kink = jnp.asarray(shape.kink, now.dtype) * jnp.sign(now + before)
    cut = jnp.clip(kink, jnp.minimum(before, now), jnp.maximum(before, now))
    change = now - before
    share = (cut - before) / jnp.where(change == 0, 1, change)
    first, second = (
        quadrature(shape.f, *ends, shape.points) for ends in ((before, cut), (cut, now))
    )
    return share * first + (1 - share) * second


__all__ = ["CURVES", "Shape", "mean", "quadrature"]
