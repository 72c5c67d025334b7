"""Rotations from skew-symmetric matrices."""

from __future__ import annotations

import math

import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jaxtyping import Float

HALVINGS = 24
"""At most: for matrices of a 1-norm up to 1.6e7."""
ROUND = 6
"""So many are undone at once, or none of them where there are fewer."""


def rotation(skew: Float[Array, "n n"]) -> Float[Array, "n n"]:
    """exp(S), which is orthogonal where S is skew-symmetric.

    The power series of S / 2^k, with k such that its 1-norm is at most 1, squared k times: the
    scaling and squaring of Moler and Van Loan, "Nineteen dubious ways to compute the exponential of
    a matrix" (SIAM Review 45(1), 2003), method 3. The series ends where its terms fall below the
    rounding of the type: those of a norm of 1 are at most 1/n!. `jax.scipy.linalg.expm` takes a
    rational approximation for each of several sizes, all of which are compiled; short loops compile
    in a fraction of the time, which a training run spends several times over.

    Args:
        skew: S.
    """
    norm = jnp.max(jnp.sum(jnp.abs(lax.stop_gradient(skew)), axis=0))
    halvings = jnp.ceil(jnp.log2(jnp.clip(norm, 1.0, 2.0**HALVINGS)))
    small = skew / 2**halvings
    eye = jnp.eye(len(skew), dtype=skew.dtype)

    def horner(found: Array, k: Array) -> tuple[Array, None]:
        return eye + jnp.matmul(small, found, precision="highest") / k, None

    def square(found: Array, k: Array) -> tuple[Array, None]:
        return jnp.where(k < halvings, jnp.matmul(found, found, precision="highest"), found), None

    def squares(found: Array, first: Array) -> tuple[Array, None]:
        def some(found: Array) -> Array:
            return lax.scan(square, found, first + jnp.arange(ROUND, dtype=skew.dtype))[0]

        return lax.cond(first < halvings, some, lambda found: found, found), None

    terms = _terms(float(jnp.finfo(skew.dtype).eps) / 2)
    series = lax.scan(horner, eye, jnp.asarray(np.arange(terms, 0, -1), skew.dtype))[0]
    return lax.scan(squares, series, jnp.asarray(np.arange(0, HALVINGS, ROUND), skew.dtype))[0]


def _terms(rounding: float) -> int:
    """How many terms of Σ 1/n! there are before the first below the rounding."""
    return next(n for n in range(1, 100) if 1 / math.factorial(n + 1) < rounding)
