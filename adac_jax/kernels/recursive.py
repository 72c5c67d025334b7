"""Recursive filters as state-space realisations whose rounding is small at low frequencies.

At low frequencies a second-order section moves little from sample to sample: the matrix of its
transposed direct form II is close to [[2, 1], [-1, 0]], whose powers cancel to nothing. For the
state (s_0, s_0 + s_1) it is close to [[1, 1], [0, 1]], and rounding is smaller by the pole's angle,
250 times at 31 Hz and 48 kHz. Sections are kept in these coordinates: see `enter`.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax import Array, lax

from adac_jax.kernels.state_space import Realisation, StateSpace, prepare


def prepare_iir(b: Array, a: Array, length: int) -> StateSpace:
    """Prepares coefficients b, a (p + 1, *channels) for signals of `length` samples."""
    return prepare(_filter(b, a), length)


def prepare_sos(sos: Array, length: int) -> StateSpace:
    """Prepares a cascade (sections, 6, *channels) as one filter of order 2 · sections.

    Its products are large enough to be fast, where those of a section at a time are not. The state
    is that of the sections one after the other, each as `enter` makes it.
    """
    b, a = jnp.moveaxis(sos[:, :3], 1, 0), jnp.moveaxis(sos[:, 3:], 1, 0)
    return prepare(_cascade(_filter(b, a)), length)


def enter(state: Array) -> Array:
    """A state (order, *channels) of the transposed direct form II as (*channels, order)."""
    if len(state) == 2:
        state = jnp.stack([state[0], state[0] + state[1]])
    return jnp.moveaxis(state, 0, -1)


def leave(state: Array) -> Array:
    """Undoes `enter`."""
    state = jnp.moveaxis(state, -1, 0)
    return jnp.stack([state[0], state[1] - state[0]]) if len(state) == 2 else state


def enter_sections(state: Array) -> Array:
    """States (sections, 2, *channels) as those of one filter, (*channels, 2 · sections)."""
    inside = jax.vmap(enter, out_axes=-2)(state)
    return inside.reshape(*inside.shape[:-2], -1)


def leave_sections(state: Array) -> Array:
    """Undoes `enter_sections`."""
    return jax.vmap(leave, in_axes=-2)(state.reshape(*state.shape[:-1], -1, 2))


def _filter(b: Array, a: Array) -> Realisation:
    """The state of scipy.signal.lfilter, y = b0 x + s_0, s_i ← s_{i+1} + b_{i+1} x - a_{i+1} y."""
    order = len(b) - 1
    # Row by row: XLA turns a division by a broadcast value into a product with its reciprocal, one
    # rounding off, and 1 + a1 + a2 multiplies that by up to 60,000.
    b, a = (jnp.stack([row / a[0] for row in c]) for c in (b, a))
    b, a = jnp.moveaxis(b, 0, -1), jnp.moveaxis(a, 0, -1)
    C = jnp.zeros((*b.shape[:-1], order), b.dtype).at[..., :1].set(1)
    D = b[..., 0]
    if order == 2:
        # Differences that nearly cancel are taken before products.
        row = jnp.stack([-(1 + a[..., 1]), jnp.ones_like(a[..., 1])], axis=-1)
        last = jnp.stack([-(1 + a[..., 1] + a[..., 2]), jnp.ones_like(a[..., 1])], axis=-1)
        dc = b[..., 0] + b[..., 1] + b[..., 2] + last[..., 0] * D
        F = jnp.stack([b[..., 1] - a[..., 1] * D, dc], axis=-1)
        return Realisation(jnp.stack([row, last], axis=-2), F, C, D)
    shift = jnp.eye(order, order, 1, dtype=b.dtype)
    A = shift - a[..., 1:, None] * C[..., None, :]
    return Realisation(A, b[..., 1:] - a[..., 1:] * D[..., None], C, D)


def _cascade(sections: Realisation) -> Realisation:
    """Filters in a row as one; the fields have a leading axis for the place in the row.

    What leaves section j enters section i > j times the direct gains D of those between: R_ij, with
    the input in the place before the first section and the output in that after the last.
    """
    A, F, C, D = sections
    count = len(D)
    own = jnp.eye(count + 1, dtype=D.dtype).reshape(count + 1, count + 1, *(1,) * (D.ndim - 1))
    first = jnp.broadcast_to(own[0], (count + 1, *D.shape[1:]))

    def through(row: Array, section: tuple[Array, Array]) -> tuple[Array, Array]:
        direct, begins = section
        return row * direct + begins, row

    last, rows = lax.scan(through, first, (D, own[1:]))
    R = jnp.moveaxis(jnp.concatenate([rows, last[None]]), (0, 1), (-2, -1))
    A, F, C = (jnp.moveaxis(part, 0, rank) for part, rank in ((A, -3), (F, -2), (C, -2)))
    diagonal = jnp.eye(count, dtype=D.dtype)[:, None, :, None] * A[..., :, :, None, :]
    fed = R[..., :count, None, 1:, None] * F[..., :, :, None, None] * C[..., None, None, :, :]
    size = F.shape[-2] * F.shape[-1]
    channels = D.shape[1:]
    return Realisation(
        (diagonal + fed).reshape(*channels, size, size),
        (R[..., :count, :1] * F).reshape(*channels, size),
        (R[..., count, 1:, None] * C).reshape(*channels, size),
        R[..., count, 0],
    )
