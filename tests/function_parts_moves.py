"""Steps of random functions that move channels, whose axes come last."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from random_functions import Function, Grower, UnfitError, maker

POOLS = ("smooth", "smooth", "eighths", "int", "bool")


def _pieces(a: jax.Array) -> jax.Array:
    first, *rest = jnp.array_split(a, 3, axis=-1)
    return jnp.concatenate([*rest, first], axis=-1)


def _at(index: Any) -> Function:
    return lambda a: a[..., index]


def _taken(index: np.ndarray) -> Function:
    return lambda a: jnp.take(a, jnp.asarray(index), axis=-1)


def _zeroed(index: np.ndarray) -> Function:
    return lambda a: a.at[..., index].set(0)


MOVES: dict[str, Callable[[Grower, int], Function]] = {
    "flip": lambda g, n: lambda a: jnp.flip(a, -1),
    "reversed": lambda g, n: lambda a: a[..., ::-1],
    "rev": lambda g, n: lambda a: lax.rev(a, (a.ndim - 1,)),
    "every second": lambda g, n: lambda a: a[..., ::2],
    "all but the first": lambda g, n: lambda a: a[..., min(1, n - 1) :],
    "last": lambda g, n: lambda a: a[..., -1],
    "one": lambda g, n: _at(slice(k := g.number(0, n - 1), k + 1)),
    "roll": lambda g, n: lambda a: jnp.roll(a, 1, axis=-1),
    "roll back": lambda g, n: lambda a: jnp.roll(a, -2, axis=-1),
    "fancy": lambda g, n: _at(g.rng.integers(-n, n, 3)),
    "fancy matrix": lambda g, n: _at(g.rng.integers(0, n, (2, 2))),
    "mask": lambda g, n: _at(np.arange(n) % 2 == 0),
    "take": lambda g, n: _taken(g.rng.permutation(n)),
    "take, clipped": lambda g, n: lambda a: jnp.take(a, jnp.array([0, 7]), axis=-1, mode="clip"),
    "new axis": lambda g, n: lambda a: a[..., None],
    "new axis before": lambda g, n: lambda a: jnp.expand_dims(a, -2),
    "swap": lambda g, n: lambda a: jnp.swapaxes(a[..., None], -1, -2),
    "turn": lambda g, n: lambda a: jnp.moveaxis(jnp.stack([a, a], -1), -1, -2),
    "squeeze": lambda g, n: lambda a: jnp.squeeze(a[..., None], -1),
    "tile": lambda g, n: lambda a: jnp.tile(a, 2),
    "repeat": lambda g, n: lambda a: jnp.repeat(a, 2, axis=-1),
    "repeat each": lambda g, n: (
        lambda a: jnp.repeat(
            a, np.arange(n) % 3, axis=-1, total_repeat_length=int((np.arange(n) % 3).sum())
        )
    ),
    "pad": lambda g, n: lambda a: jnp.pad(a, [(0, 0)] * (a.ndim - 1) + [(1, 2)]),
    "pad with ones": lambda g, n: (
        lambda a: jnp.pad(a, [(0, 0)] * (a.ndim - 1) + [(1, 1)], constant_values=1)
    ),
    "pad edges": lambda g, n: lambda a: jnp.pad(a, [(0, 0)] * (a.ndim - 1) + [(2, 1)], mode="edge"),
    "pad wrapped": lambda g, n: (
        lambda a: jnp.pad(a, [(0, 0)] * (a.ndim - 1) + [(1, 1)], mode="wrap")
    ),
    "pad reflected": lambda g, n: (
        lambda a: jnp.pad(a, [(0, 0)] * (a.ndim - 1) + [(1, 1)], mode="symmetric")
    ),
    "pad inside": lambda g, n: (
        lambda a: lax.pad(a, jnp.zeros((), a.dtype), [(0, 0, 0)] * (a.ndim - 1) + [(1, 0, 1)])
    ),
    "pieces": lambda g, n: _pieces,
    "split": lambda g, n: lambda a: jnp.concatenate(jnp.split(a, n, axis=-1)[::-1], axis=-1),
    "unstack": lambda g, n: lambda a: jnp.stack(jnp.unstack(a, axis=-1)[::-1], axis=-1),
    "stack": lambda g, n: lambda a: jnp.stack([a, a[..., ::-1]], axis=-2),
    "concatenate": lambda g, n: lambda a: jnp.concatenate([a, a[..., :1]], axis=-1),
    "concatenate zeros": lambda g, n: (
        lambda a: jnp.concatenate([jnp.zeros_like(a[..., :2]), a], axis=-1)
    ),
    "set": lambda g, n: lambda a: a.at[..., 0].set(a[..., -1]),
    "set to zero": lambda g, n: _zeroed(g.rng.integers(0, n, 2)),
    "update": lambda g, n: (
        lambda a: lax.dynamic_update_slice_in_dim(a, a[..., :1], n - 1, a.ndim - 1)
    ),
    "dynamic slice": lambda g, n: lambda a: lax.dynamic_slice_in_dim(a, 9, min(2, n), a.ndim - 1),
    "insert": lambda g, n: lambda a: jnp.insert(a, 0, jnp.zeros((), a.dtype), axis=-1),
    "delete": lambda g, n: lambda a: jnp.delete(a, 0, axis=-1) if n > 1 else a,
    "append": lambda g, n: lambda a: jnp.append(a, a, axis=-1),
    "flatten": lambda g, n: lambda a: jnp.stack([a, a], -2).reshape(*a.shape[:-1], 2 * n),
    "halves": lambda g, n: lambda a: a.reshape(*a.shape[:-1], 2, -1) if n % 2 == 0 else a,
    "reshape in columns": lambda g, n: (
        lambda a: a.reshape(*a.shape[:-1], -1, 2).mT if n % 2 == 0 else a
    ),
    "triangle": lambda g, n: lambda a: jnp.triu(jnp.stack([a, a], -2)),
    "diagonal": lambda g, n: lambda a: jnp.diagonal(jnp.stack([a] * n, -1), axis1=-2, axis2=-1),
    "sort": lambda g, n: lambda a: jnp.sort(a, axis=-1),
    "sort down": lambda g, n: lambda a: jnp.sort(a, axis=-1, descending=True),
    "cummax": lambda g, n: lambda a: lax.cummax(a, axis=a.ndim - 1) if a.dtype != bool else a,
    "cummin back": lambda g, n: (
        lambda a: lax.cummin(a, axis=a.ndim - 1, reverse=True) if a.dtype != bool else a
    ),
    "broadcast": lambda g, n: lambda a: jnp.broadcast_to(a[..., None], (*a.shape, 2)),
    "scan over channels": lambda g, n: (
        lambda a: jnp.moveaxis(
            lax.scan(lambda s, v: (v, s), jnp.zeros_like(a[..., 0]), jnp.moveaxis(a, -1, 0))[1],
            0,
            -1,
        )
    ),
    "scan back": lambda g, n: (
        lambda a: jnp.moveaxis(
            lax.scan(
                lambda s, v: (v, s), jnp.zeros_like(a[..., 0]), jnp.moveaxis(a, -1, 0), reverse=True
            )[1],
            0,
            -1,
        )
    ),
    "fori": lambda g, n: (
        lambda a: lax.fori_loop(0, n - 1, lambda k, b: b.at[..., k + 1].set(b[..., k]), a)
    ),
}
"""What only moves numbers, so that it is exact; of any kind of number, along the last axis."""


@maker(8)
def moved(g: Grower) -> int:
    x = g.pick(g.one(*POOLS), rank=1)
    name = g.one(*MOVES)
    if name in ("sort", "sort down") and g.number_of(x) > 6:
        raise UnfitError
    function = MOVES[name](g, g.number_of(x))
    return g.push(name, g.values[x].pool, function, x, roundings=0)


@maker(2)
def moved_axes(g: Grower) -> int:
    """Of two axes or more."""
    x = g.pick(*POOLS, rank=2)
    a, b = g.values[x].shape[-2:]
    moves: dict[str, Function] = {
        "transpose": lambda v: jnp.swapaxes(v, -1, -2),
        "mT": lambda v: v.mT,
        "ravel": lambda v: v.reshape(*v.shape[:-2], a * b),
        "ravel in columns": lambda v: v.mT.reshape(*v.shape[:-2], a * b),
        "reshape": lambda v: v.reshape(*v.shape[:-2], b, a),
        "rotate": lambda v: jnp.rot90(v, axes=(-2, -1)),
        "flip both": lambda v: jnp.flip(v, (-2, -1)),
        "first row": lambda v: v[..., 0, :],
        "last column": lambda v: v[..., -1],
        "trace": lambda v: jnp.diagonal(v, axis1=-2, axis2=-1),
        "triangle": lambda v: jnp.tril(v),
        "pairs": lambda v: v[..., np.arange(2) % a, np.arange(2) % b],
        "lax reshape": lambda v: lax.collapse(v, v.ndim - 2),
        "sort columns": lambda v: jnp.sort(v, axis=-2),
        "roll rows": lambda v: jnp.roll(v, (1, -1), (-2, -1)),
        "concatenate rows": lambda v: jnp.concatenate([v[..., 1:, :], v[..., :1, :]], -2),
    }
    name = g.one(*moves)
    return g.push(name, g.values[x].pool, moves[name], x, roundings=0)


@maker(2)
def joined(g: Grower) -> int:
    pool = g.one(*POOLS)
    x = g.pick(pool, rank=1)
    y = g.pick(pool, shape=g.values[x].shape)
    joins: dict[str, Function] = {
        "concatenate": lambda a, b: jnp.concatenate([a, b], axis=-1),
        "stack": lambda a, b: jnp.stack([a, b], axis=-1),
        "stack in front": lambda a, b: jnp.stack([a, b], axis=-1 - a.ndim)[1],
        "interleave": lambda a, b: jnp.stack([a, b], -1).reshape(*a.shape[:-1], -1),
        "set": lambda a, b: a.at[..., :1].set(b[..., -1:]),
        "set even": lambda a, b: a.at[..., ::2].set(b[..., ::2]),
        "choose": lambda a, b: jnp.where(np.arange(a.shape[-1]) % 2 == 0, a, b),
        "join parts": lambda a, b: jnp.concatenate([b[..., 1:], a[..., :1]], -1),
    }
    name = g.one(*joins)
    return g.push(name, pool, joins[name], x, y, roundings=0)
