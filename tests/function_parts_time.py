"""Steps of random functions that look at earlier samples by shifts, delays and running sums."""

from __future__ import annotations

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import Array, lax
from random_functions import LENGTH, LIBM, LIMIT, Function, Grower, maker

from adac_jax import delay, variable_delay

POOLS = ("smooth", "smooth", "eighths", "int", "bool")


def _front(x: Array, m: int) -> list[tuple[int, int]]:
    return [(m, 0)] + [(0, 0)] * (x.ndim - 1)


def _by_map(x: Array, m: int) -> Array:
    """A queue of m samples as the state of a scan."""
    start = jnp.zeros((m, *x.shape[1:]), x.dtype)
    return lax.scan(lambda q, v: (jnp.concatenate([q[1:], v[None]]), q[0]), start, x)[1]


SHIFTS: dict[str, Callable[[Array, int], Array]] = {
    "pad and slice": lambda x, m: jnp.pad(x, _front(x, m))[: len(x)],
    "pad, slice to": lambda x, m: jnp.pad(x, _front(x, m))[:-m],
    "zeros before": lambda x, m: jnp.concatenate([jnp.zeros_like(x[:m]), x[:-m]]),
    "zeros before, cut": lambda x, m: jnp.concatenate([jnp.zeros((m, *x.shape[1:]), x.dtype), x])[
        : len(x)
    ],
    "set behind zeros": lambda x, m: jnp.zeros_like(x).at[m:].set(x[:-m]),
    "negative pad": lambda x, m: lax.pad(
        x, jnp.zeros((), x.dtype), [(m, -m, 0)] + [(0, 0, 0)] * (x.ndim - 1)
    ),
    "ones before": lambda x, m: jnp.concatenate([jnp.ones((m, *x.shape[1:]), x.dtype), x[:-m]]),
    "delay": lambda x, m: delay(x, m, axis=0),
    "delay, time last": lambda x, m: jnp.moveaxis(delay(jnp.moveaxis(x, 0, -1), m, axis=-1), -1, 0),
    "dynamic slice": lambda x, m: lax.dynamic_slice_in_dim(jnp.pad(x, _front(x, m)), 0, len(x)),
    "ahead and back": lambda x, m: jnp.pad(x[1:], _front(x, m + 1))[: len(x)],
    "ahead, moved and back": lambda x, m: jnp.pad(jnp.flip(x[2:, None], 1)[:, 0], _front(x, m + 2))[
        : len(x)
    ],
    "ahead, padded, delayed": lambda x, m: delay(
        jnp.concatenate([x[2:], jnp.zeros_like(x[:2])]), 2 + m, axis=0
    ),
    "slice of a longer one": lambda x, m: jnp.pad(x, [(m + 3, 0)] + [(0, 0)] * (x.ndim - 1))[
        3 : len(x) + 3
    ],
    "vmap over channels": lambda x, m: (
        jax.vmap(lambda v: jnp.pad(v, (m, 0))[: len(v)], 1, 1)(x)
        if x.ndim > 1
        else delay(x, m, axis=0)
    ),
    "queue": _by_map,
    "transposed": lambda x, m: jnp.pad(x.T, [(0, 0)] * (x.ndim - 1) + [(m, 0)])[..., : len(x)].T,
    "scan": lambda x, m: lax.scan(lambda s, v: (v, s), jnp.zeros(x.shape[1:], x.dtype), x)[1],
    "associate": lambda x, m: functools.reduce(
        lambda a, _: jnp.pad(a, _front(a, 1))[:-1], range(m), x
    ),
}
"""Ways to delay by m ≥ 1 samples; "scan" by one."""


@maker(6)
def shifted(g: Grower) -> int:
    x = g.pick(*POOLS)
    name, m = g.one(*SHIFTS), g.one(1, 2, 3, 7, 20)
    function = SHIFTS[name]
    return g.push(name, g.values[x].pool, lambda v: function(v, m), x, roundings=0, lift=False)


@maker(3)
def delayed(g: Grower) -> int:
    """This package's delays, with one length a channel, or an initial state."""
    pool = g.one("smooth", "eighths")
    x = g.pick(pool, rank=1)
    shape = g.values[x].shape
    lengths = g.rng.integers(0, 9, shape[-1])
    most = int(lengths.max())
    start = g.rng.integers(-8, 9, (most, *shape)) / 8
    longer = lengths + g.number(1, 3)
    ways: dict[str, Function] = {
        "delays": lambda v: delay(v, lengths, axis=0),
        "delays with a start": lambda v: delay(v, lengths, initial=start, axis=0),
        "variable delay": lambda v: variable_delay(
            v, jnp.asarray(lengths), maximum=most + 2, axis=0
        ),
        "delays after a cut": lambda v: delay(
            jnp.pad(v[1:], [(0, 1)] + [(0, 0)] * (v.ndim - 1)), longer, axis=0
        ),
        "delay, time second": lambda v: delay(v[None], lengths, axis=1)[0],
        "batch of delays": lambda v: jax.vmap(lambda a: delay(a, lengths, axis=0))(
            jnp.stack([v, -v])
        )[0],
    }
    name = g.one(*ways)
    return g.push(name, pool, ways[name], x, roundings=0, lift=False)


@maker(3)
def differences(g: Grower) -> int:
    """Short sums of a signal and its past."""
    x = g.pick("smooth", "eighths")
    ways: dict[str, Function] = {
        "diff": lambda v: jnp.diff(v, axis=0, prepend=jnp.zeros_like(v[:1])),
        "difference of slices": lambda v: jnp.pad(v[1:] - v[:-1], _front(v, 1)),
        "mean of three": lambda v: (lambda p: (p[2:] + p[1:-1] + p[:-2]) / 3)(
            jnp.pad(v, _front(v, 2))
        ),
        "windows": lambda v: jnp.mean(
            jnp.stack([jnp.pad(v, _front(v, 3))[k : len(v) + k] for k in range(4)]), axis=0
        ),
        "curve of slices": lambda v: jnp.pad(jnp.cos(v[2:]) * v[:-2], _front(v, 2)),
        "cut and curve": lambda v: jnp.pad(jnp.cos(v[3:]), _front(v, 3)),
        "sum of shifts": lambda v: sum(
            (0.25 * jnp.pad(v, _front(v, k))[: len(v)] for k in range(1, 4)), 0.25 * v
        ),
        "moving sum": lambda v: (
            0.25
            * lax.reduce_window(
                v, 0.0, lax.add, (4,) + (1,) * (v.ndim - 1), (1,) * v.ndim, _front(v, 3)
            )
        ),
        "moving maximum": lambda v: lax.reduce_window(
            jnp.pad(v, _front(v, 3)),
            -jnp.inf,
            lax.max,
            (4,) + (1,) * (v.ndim - 1),
            (1,) * v.ndim,
            "VALID",
        ),
        "running difference": lambda v: (lambda c: (c - jnp.pad(c, _front(c, 4))[: len(c)]) / 4)(
            jnp.cumsum(v, axis=0)
        ),
        "by number": lambda v: (
            v * jnp.cos(0.125 * jnp.arange(len(v), dtype=v.dtype)).reshape(-1, *(1,) * (v.ndim - 1))
        ),
        "gated by number": lambda v: jnp.where(
            (jnp.arange(len(v)) % 5 < 2).reshape(-1, *(1,) * (v.ndim - 1)), v, 0.5 * v
        ),
        "faded in": lambda v: (
            v * jnp.minimum(1.0, jnp.arange(len(v)) / 16).reshape(-1, *(1,) * (v.ndim - 1))
        ),
    }
    name = g.one(*ways)
    size = LENGTH * LIMIT if name == "running difference" else 2 * LIMIT
    slope = 2 * LENGTH if name == "running difference" else 4
    return g.push(
        name, "smooth", ways[name], x, slope=slope, size=size, roundings=LENGTH + LIBM, lift=False
    )


@maker(2)
def cumulated(g: Grower) -> int:
    """Over time, from the first sample."""
    x = g.pick("smooth", "eighths")
    ways: dict[str, tuple[Function, float]] = {
        "cumsum": (lambda v: jnp.cumsum(v, axis=0), LENGTH),
        "cumprod": (lambda v: jnp.cumprod(jnp.tanh(v), axis=0), LENGTH),
        "cummax": (lambda v: lax.cummax(v, axis=0), 1),
        "cummin": (lambda v: lax.cummin(v, axis=0), 1),
        "accumulate": (lambda v: jnp.add.accumulate(v, axis=0), LENGTH),
        "cumsum, time last": (
            lambda v: jnp.cumsum(jnp.moveaxis(v, 0, -1), axis=-1).T if v.ndim < 3 else v,
            LENGTH,
        ),
        "phase": (lambda v: jnp.sin(jnp.cumsum(v / 8, axis=0)), LENGTH),
        "mean so far": (
            lambda v: (
                jnp.cumsum(v, axis=0)
                / jnp.arange(1.0, len(v) + 1).reshape(-1, *(1,) * (v.ndim - 1))
            ),
            LENGTH,
        ),
    }
    name = g.one(*ways)
    function, slope = ways[name]
    return g.push(
        name, "smooth", function, x, slope=slope, size=slope * LIMIT, roundings=LENGTH, lift=False
    )


@maker(1)
def counted_over_time(g: Grower) -> int:
    """Exact recursions."""
    x = g.pick("int", "bool")
    pool = g.values[x].pool
    ways: dict[str, tuple[Function, str]] = {
        "running count": (lambda v: jnp.cumsum(v, axis=0, dtype=jnp.int64) % 7, "int"),
        "highest so far": (lambda v: lax.cummax(v.astype(jnp.int64), axis=0), "int"),
        "any so far": (lambda v: lax.cummax(v.astype(jnp.int64), axis=0) > 0, "bool"),
        "edge": (lambda v: v != jnp.concatenate([jnp.zeros_like(v[:1]), v[:-1]]), "bool"),
        "flip-flop": (
            lambda v: lax.scan(
                lambda s, a: (s ^ (a > 0),) * 2, jnp.ones(v.shape[1:], bool), v.astype(jnp.int64)
            )[1],
            "bool",
        ),
        "counter": (
            lambda v: lax.scan(
                lambda s, a: ((s + a) % 5, s), jnp.full(v.shape[1:], 2), v.astype(jnp.int64)
            )[1],
            "int",
        ),
        "since": (
            lambda v: lax.scan(
                lambda s, a: (jnp.where(a > 0, 0, jnp.minimum(s + 1, 9)), s),
                jnp.zeros(v.shape[1:], jnp.int64),
                v.astype(jnp.int64),
            )[1],
            "int",
        ),
        "sample number": (
            lambda v: jnp.where(
                v.astype(bool), jnp.arange(len(v)).reshape(-1, *(1,) * (v.ndim - 1)) % 9, 0
            ),
            "int",
        ),
    }
    name = g.one(*ways)
    function, to = ways[name]
    return g.push(f"{pool}: {name}", to, function, x, lift=False)
