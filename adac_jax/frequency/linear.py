"""Signals as linear functions of some columns, at many frequencies at once.

The columns are the inputs of the model, or what a loop feeds back. One sample of a signal is then
y_i = Σ_c h_ic x_c, and what runs through an operation is h. Two forms keep it small: most signals
of a loop hear one column a channel, so h is a factor a channel; and where a matrix has mixed them,
the delays and filters behind it still are a factor a row. Frequencies are the last axis, which has
the length 1 as long as nothing depends on them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from ir.graph import Shape


@dataclass(frozen=True)
class Sparse:
    """y_i = factors_i x_{columns_i}.

    Attributes:
        factors: (*shape, frequencies or 1), zero where there is no column.
        columns: (*shape): the one column that each channel hears, -1 for none; fixed.
        count: How many columns there are.
    """

    factors: Array
    columns: np.ndarray
    count: int

    @property
    def shape(self) -> Shape:
        """Shape of one sample."""
        return self.columns.shape

    def scaled(self, by: Array) -> Sparse:
        """Each channel times a number, (*shape, frequencies or 1)."""
        return replace(self, factors=self.factors * by)

    def moved(self, array: Callable[[Array], Array], fixed: Callable) -> Sparse:
        """Channels moved about: by `array`, which minds the leading axes only, and in NumPy."""
        return Sparse(array(self.factors), fixed(self.columns), self.count)

    def full(self) -> Array:
        """h, (*shape, columns, frequencies or 1)."""
        return self.dense().full()

    def dense(self) -> Dense:
        """The same, in the other form."""
        hears = self.columns[..., None] == np.arange(self.count)
        return Dense(self.factors, jnp.asarray(hears[..., None], self.factors.dtype))


@dataclass(frozen=True)
class Dense:
    """y_i = factors_i Σ_c matrix_ic x_c.

    Attributes:
        factors: (*shape, frequencies or 1).
        matrix: (*shape, columns, frequencies or 1).
    """

    factors: Array
    matrix: Array

    @property
    def shape(self) -> Shape:
        """Shape of one sample."""
        return self.factors.shape[:-1]

    @property
    def count(self) -> int:
        """How many columns there are."""
        return self.matrix.shape[-2]

    def scaled(self, by: Array) -> Dense:
        """Each channel times a number, (*shape, frequencies or 1)."""
        return replace(self, factors=self.factors * by)

    def moved(self, array: Callable[[Array], Array], fixed: Callable) -> Dense:
        """Channels moved about by `array`, which minds the leading axes only."""
        return Dense(array(self.factors), array(self.matrix))

    def full(self) -> Array:
        """h, (*shape, columns, frequencies or 1)."""
        return self.factors[..., None, :] * self.matrix

    def dense(self) -> Dense:
        """Itself."""
        return self


Linear = Sparse | Dense


def unknown(shape: Shape, first: int, count: int, dtype: jnp.dtype) -> Sparse:
    """Channels that are columns themselves, from the column `first` on."""
    size = int(np.prod(shape, dtype=int))
    columns = first + np.arange(size).reshape(shape)
    return Sparse(jnp.ones((*shape, 1), dtype), columns, count)


def silent(shape: Shape, count: int, dtype: jnp.dtype) -> Sparse:
    """Channels that hear no column."""
    return Sparse(jnp.zeros((*shape, 1), dtype), np.full(shape, -1), count)


def mixed(h: Array) -> Dense:
    """A signal given by h, (*shape, columns, frequencies or 1)."""
    return Dense(jnp.ones((*h.shape[:-2], 1), h.dtype), h)


def add(x: Linear, y: Linear) -> Linear:
    """X + y, of one shape."""
    if isinstance(x, Sparse) and isinstance(y, Sparse):
        alike = (x.columns == y.columns) | (x.columns < 0) | (y.columns < 0)
        if alike.all():
            columns = np.maximum(x.columns, y.columns)
            return Sparse(x.factors + y.factors, columns, x.count)
    for one, other in ((x, y), (y, x)):
        if isinstance(other, Sparse) and (other.columns < 0).all():
            return one
    return mixed(x.full() + y.full())


def concatenate(parts: Sequence[Linear], axis: int) -> Linear:
    """Channels one after another."""
    factors = _joined([part.factors for part in parts], axis)
    sparse = [part for part in parts if isinstance(part, Sparse)]
    if len(sparse) == len(parts):
        columns = np.concatenate([part.columns for part in sparse], axis=axis)
        return Sparse(factors, columns, parts[0].count)
    return Dense(factors, _joined([part.dense().matrix for part in parts], axis))


def total(x: Linear, axes: Sequence[int]) -> Linear:
    """The sum over axes of the channels."""
    axes = tuple(axes)
    if isinstance(x, Dense):
        return mixed(jnp.sum(x.full(), axis=axes))
    kept = [a for a in range(len(x.shape)) if a not in axes]
    turned = (*kept, *axes)
    rest = tuple(x.shape[a] for a in kept)
    factors = x.factors.transpose(*turned, len(turned))
    factors = factors.reshape(x.columns.size, factors.shape[-1])
    return mixed(_gathered(factors, x.columns.transpose(turned), rest, x.count))


def _gathered(factors: Array, columns: np.ndarray, rest: Shape, count: int) -> Array:
    """H of sums over the last axes of `columns`: which numbers add up where is known before."""
    rows = int(np.prod(rest, dtype=int))
    hears = np.flatnonzero(columns >= 0)
    place = hears // max(1, columns.size // max(1, rows)) * count + columns.ravel()[hears]
    order = np.argsort(place, kind="stable")
    place, hears = place[order], hears[order]
    # The how-manieth of its place each is.
    nth = np.arange(len(place)) - np.searchsorted(place, place)
    table = np.full((rows * count, 1 + nth.max(initial=0)), columns.size)
    table[place, nth] = hears
    frequencies = factors.shape[-1]
    if not np.array_equal(table.ravel(), np.arange(columns.size)):
        factors = jnp.pad(factors, [(0, 1), (0, 0)])[table.ravel()]
    factors = factors.reshape(*table.shape, frequencies)
    found = factors[:, 0] if table.shape[1] == 1 else jnp.sum(factors, axis=1)
    return found.reshape(*rest, count, frequencies)


def contract(left: str, right: str, result: str, coefficients: Array, x: Linear) -> Linear:
    """Einsum "left,right->result" of real coefficients and a signal."""
    summed = [c for c in dict.fromkeys(left + right) if c not in result]
    sizes = dict(zip(left + right, coefficients.shape + x.shape, strict=True))
    alone = tuple(k for k, c in enumerate(left) if c in summed and c not in right)
    coefficients = jnp.sum(coefficients, axis=alone)
    left = "".join(c for c in left if c not in summed or c in right)
    summed = [c for c in summed if c in left or c in right]
    letters = [*result, *summed]
    size = int(np.prod([sizes[c] for c in letters], dtype=int))
    found = int(np.prod([sizes[c] for c in result], dtype=int)) * x.count
    if isinstance(x, Sparse) and (not summed or size <= found):
        # All products, each with its own column; those of one column then add up.
        full = tuple(sizes[c] for c in letters)
        turned = np.broadcast_to(_spread(x.columns, right, letters), full)
        gains = _spread(coefficients, left, letters)[..., None].astype(x.factors.dtype)
        factors = gains * _spread(x.factors, right, letters)
        factors = jnp.broadcast_to(factors, (*full, factors.shape[-1]))
        product = Sparse(factors, turned, x.count)
        return total(product, range(len(result), len(letters))) if summed else product
    # Two real products and not one complex.
    subscripts = f"{left},{right}...->{result}..."
    h = x.full()
    parts = (
        jnp.einsum(subscripts, coefficients, part, precision="highest") for part in (h.real, h.imag)
    )
    return mixed(lax.complex(*parts))


def _spread(x: np.ndarray | Array, letters: str, wanted: Sequence[str]) -> np.ndarray | Array:
    """An array whose leading axes have these letters, with the axes that are wanted."""
    axes = [letters.index(c) for c in wanted if c in letters]
    shape = [x.shape[letters.index(c)] if c in letters else 1 for c in wanted]
    behind = tuple(range(len(letters), x.ndim))
    return x.transpose(*axes, *behind).reshape(*shape, *x.shape[len(letters) :])


def _joined(parts: Sequence[Array], axis: int) -> Array:
    """Concatenated, after those that do not depend on frequency are repeated."""
    most = max(part.shape[-1] for part in parts)
    parts = [jnp.broadcast_to(part, (*part.shape[:-1], most)) for part in parts]
    return jnp.concatenate(parts, axis=axis)
