"""Solves many small linear systems, one a frequency, by Gaussian elimination.

Frequencies are the last axis, so every operation runs over all of them side by side. LAPACK, which
`jnp.linalg.solve` calls once a matrix, is no faster for up to some 32 unknowns. And in the jaxlib
of JAX 0.10 its batched calls wait for threads of the pool that they run on: as many at once as it
has threads, and two are enough on two cores, wait for ever.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax
from jaxtyping import Complex, Int

BLOCK = 8
"""Columns that one loop eliminates; what it leaves is cut down to the columns that remain."""


class Factors(NamedTuple):
    """M = Σ_s lower_s ⊗ upper_s, with rows exchanged by name and not in memory.

    Attributes:
        lower: (step, row, frequency): column s of the rows not yet used at step s, zero elsewhere.
        upper: (step, column, frequency): the row chosen at step s, divided by its pivot.
        rows: (step, frequency): which row was chosen.
        inverse: (step, frequency): 1 / pivot.
    """

    lower: Complex[Array, "n n frequencies"]
    upper: Complex[Array, "n n frequencies"]
    rows: Int[Array, "n frequencies"]
    inverse: Complex[Array, "n frequencies"]


def solve(
    M: Complex[Array, "n n frequencies"], b: Complex[Array, "n columns frequencies"]
) -> Complex[Array, "n columns frequencies"]:
    """Solves M x = b at each frequency; differentiable in both.

    Partial pivoting: at each step the row with the largest |Re| + |Im| is chosen, as in LAPACK
    (Golub, Van Loan, "Matrix Computations", 4th ed., section 3.4). The derivative solves with the
    same factors: M dx = db - dM x.
    """
    factors = factor(lax.stop_gradient(M))
    return lax.custom_linear_solve(
        # A product and a sum, not a matrix product: frequencies stay the last axis.
        lambda x: jnp.sum(M[:, :, None] * x, axis=1),
        b,
        solve=lambda _, b: _substitute(factors, b),
        transpose_solve=lambda _, c: _substitute_transposed(factors, c),
    )


def factor(M: Complex[Array, "n n frequencies"]) -> Factors:
    """Factors M; a frequency at which it is singular gives values that are not finite."""
    n, rest = len(M), M
    free = jnp.ones((n, M.shape[-1]), bool)
    parts = []
    for start in range(0, n, BLOCK):
        part, rest, free = _eliminate(rest, min(BLOCK, n - start), free)
        # The columns before `start` are gone from these rows: they are zero.
        upper = jnp.pad(part.upper, [(0, 0), (start, 0), (0, 0)])
        parts.append(part._replace(upper=upper))
    return jax.tree.map(lambda *fields: jnp.concatenate(fields), *parts)


def _eliminate(a: Array, count: int, free: Array) -> tuple[Factors, Array, Array]:
    """Eliminates the first `count` columns of `a` (rows, columns, frequencies)."""
    n, columns, frequencies = a.shape
    rows = jnp.arange(n, dtype=jnp.int32)[:, None]

    def choose(a: Array, column: Array | int, free: Array) -> tuple[Array, Array]:
        lower = jnp.where(free, lax.dynamic_index_in_dim(a, column, 1, keepdims=False), 0)
        return lower, _largest(jnp.where(free, jnp.abs(lower.real) + jnp.abs(lower.imag), -1))

    def eliminate(step: Array, state: tuple[Array, ...]) -> tuple[Array, ...]:
        # The row was chosen in the step before: XLA would choose it again for each of its numbers.
        a, free, lower, row, *kept = state
        chosen = jnp.take_along_axis(a, row[None, None], axis=0, mode="promise_in_bounds")[0]
        pivot = lax.dynamic_index_in_dim(chosen, step, 0, keepdims=False)
        upper = chosen / pivot
        kept = [
            lax.dynamic_update_index_in_dim(whole, part, step, 0)
            for whole, part in zip(kept, (lower, upper, row, 1 / pivot), strict=True)
        ]
        free = free & (rows != row)
        a = a - jnp.where(free, lower, 0)[:, None] * upper
        return a, free, *choose(a, jnp.minimum(step + 1, count - 1), free), *kept

    kept = (
        jnp.zeros((count, n, frequencies), a.dtype),
        jnp.zeros((count, columns, frequencies), a.dtype),
        jnp.zeros((count, frequencies), jnp.int32),
        jnp.zeros((count, frequencies), a.dtype),
    )
    state = (a, free, *choose(a, 0, free), *kept)
    a, free, _, _, *kept = lax.fori_loop(0, count, eliminate, state)
    return Factors(*kept), a[:, count:], free


def _largest(size: Array) -> Array:
    """The index of the largest number along axis 0, by halving: XLA's argmax is a scalar loop."""
    index = jnp.broadcast_to(jnp.arange(len(size), dtype=jnp.int32)[:, None], size.shape)
    while len(size) > 1:
        # Of an odd number, the one in the middle meets itself.
        half = (len(size) + 1) // 2
        later = size[-half:] > size[:half]
        index = jnp.where(later, index[-half:], index[:half])
        size = jnp.where(later, size[-half:], size[:half])
    return index[0]


def _substitute(f: Factors, b: Array) -> Array:
    """Solves M x = b."""
    n = len(b)
    order = jnp.arange(n)[:, None, None]

    def forward(step: Array, state: tuple[Array, Array]) -> tuple[Array, Array]:
        b, y = state
        row = f.rows[step][None, None]
        own = jnp.take_along_axis(b, row, axis=0, mode="promise_in_bounds")[0] * f.inverse[step]
        y = lax.dynamic_update_index_in_dim(y, own, step, 0)
        return b - f.lower[step][:, None] * own, y

    def backward(k: Array, y: Array) -> Array:
        step = n - 1 - k
        above = jnp.where(order < step, lax.dynamic_index_in_dim(f.upper, step, 1), 0)
        return y - above * y[step]

    _, y = lax.fori_loop(0, n, forward, (b, jnp.zeros_like(b)))
    return lax.fori_loop(0, n - 1, backward, y)


def _substitute_transposed(f: Factors, c: Array) -> Array:
    """Solves Mᵀ x = c."""
    n = len(c)
    order = jnp.arange(n)[:, None, None]

    def forward(step: Array, c: Array) -> Array:
        return c - jnp.where(order > step, f.upper[step][:, None], 0) * c[step]

    def backward(k: Array, x: Array) -> Array:
        step = n - 1 - k
        # Rows chosen before are zero in `lower` at this step, and x is still zero at its own row.
        known = jnp.sum(f.lower[step][:, None] * x, axis=0)
        own = (c[step] - known) * f.inverse[step]
        return jnp.where(order == f.rows[step].astype(order.dtype), own, x)

    c = lax.fori_loop(0, n - 1, forward, c)
    return lax.fori_loop(0, n, backward, jnp.zeros_like(c))
