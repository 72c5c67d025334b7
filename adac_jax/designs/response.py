"""Responses of analogue prototypes at digital frequencies."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from adac_jax.designs.prototypes import Prototype

Namespace = Any


def squares(prototype: tuple[Sequence[Any], Sequence[Any]], s: Any, c: Any) -> tuple[Any, Any]:
    """Squared magnitudes of numerator and denominator at Ω² = s / c, both over 1 / c².

    With c = 1, s is Ω² itself; with s = Ω² / (1 + Ω²) and c = 1 / (1 + Ω²), Ω may be infinite.
    """
    numerator, denominator = ((p[0] * c - p[2] * s) ** 2 + p[1] * p[1] * s * c for p in prototype)
    return numerator, denominator


def magnitude_db(prototype: Prototype, omega: Any, xp: Namespace = np) -> Any:
    """20 log10 |H(j Ω)| of a second-order prototype.

    Under the bilinear transform a digital frequency f is Ω = tan(π f / fs) / tan(π f_0 / fs), so
    this is the digital filter's response without the cancellations of its polynomials in z.

    Args:
        prototype: Numerator and denominator.
        omega: Ω ≥ 0, finite.
        xp: `numpy`, or `jax.numpy` for a differentiable result.
    """
    top, bottom = squares(prototype, omega * omega, 1.0)
    # |H|² is a ratio of squares; logarithms first, as the squares of two extremes may overflow.
    return 10 / np.log(10) * (xp.log(top) - xp.log(bottom))
