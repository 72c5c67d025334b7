"""First-order filters by their gains at DC and Nyquist."""

from __future__ import annotations

import jax.numpy as jnp
from jax import Array

from adac_jax.designs.bilinear import first_order


def one_pole(dc: Array, nyquist: Array) -> tuple[Array, Array]:
    """y[t] = g (1 - p) x[t] + p y[t - 1], with p from the two gains.

    H(1) = g and H(-1) = g (1 - p) / (1 + p), so with r = H(-1) / H(1): p = (1 - r) / (1 + r) and
    g (1 - p) = 2 g r / (1 + r), which has no cancellation. Source: Jot and Chaigne, "Digital delay
    networks for designing artificial reverberators" (AES Convention 90, 1991), section 4.

    Args:
        dc: g > 0, the linear gain at DC.
        nyquist: The linear gain at Nyquist, > 0; below g for a low-pass, above for a high-pass.

    Returns:
        b (1, *shape) and a (2, *shape).
    """
    total = dc + nyquist
    b = 2 * dc * (nyquist / total)
    p = (dc - nyquist) / total
    return b[None], jnp.stack([jnp.ones_like(p), -p])


def shelf(dc: Array, nyquist: Array, g: Array) -> tuple[Array, Array]:
    """A first-order shelf whose gain in dB at the crossover is half way between its ends.

    H(s) = g_N (s + √k) / (s + 1/√k), k = g_D / g_N, with s = j at the crossover. Source: Jot,
    "Proportional parametric equalizers" (AES Convention 139, 2015), section 2.

    Args:
        dc: g_D > 0, the linear gain at DC.
        nyquist: g_N > 0, the linear gain at Nyquist.
        g: tan(π f / fs), f the crossover.

    Returns:
        b and a, each (2, *shape), with a_0 = 1.
    """
    root = jnp.sqrt(dc / nyquist)
    return first_order((nyquist * root, nyquist), (1 / root, 1.0), g)
