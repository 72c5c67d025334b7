"""Responses of analogue prototypes at digital frequencies."""

from __future__ import annotations

from typing import Any

import numpy as np

from adac_jax.designs.prototypes import Prototype

Namespace = Any


def magnitude_db(prototype: Prototype, omega: Any, xp: Namespace = np) -> Any:
    """20 log10 |H(j Ω)| of a second-order prototype.

    Under the bilinear transform a digital frequency f is Ω = tan(π f / fs) / tan(π f_0 / fs), so
    this is the digital filter's response without the cancellations of its polynomials in z.

    Args:
        prototype: Numerator and denominator.
        omega: Ω ≥ 0, finite.
        xp: `numpy`, or `jax.numpy` for a differentiable result.
    """
    (b0, b1, b2), (a0, a1, a2) = prototype
    square = omega * omega
    top = (b0 - b2 * square) ** 2 + b1 * b1 * square
    bottom = (a0 - a2 * square) ** 2 + a1 * a1 * square
    # |H|² is a ratio of squares; logarithms first, as the squares of two extremes may overflow.
    return 10 / np.log(10) * (xp.log(top) - xp.log(bottom))
