"""Steps of random functions that recur: scans over time, loops, recurrent layers."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from function_parts_filters import stable
from jax import Array, lax
from random_functions import LIBM, Function, Grower, UnfitError, maker

from adac_jax import delay, feedback, lfilter

_lfilter: Any = lfilter


class State(NamedTuple):
    """A carry of several kinds of number."""

    smooth: Array
    memory: tuple[Array, Array]
    count: Array


@maker(5)
def scanned(g: Grower) -> int:
    """A recursion over time, a contraction in what is smooth."""
    x = g.pick("smooth", "eighths", rank=1)
    shape = g.values[x].shape
    n = shape[-1]
    e = g.pick("eighths", rank=1)
    A, gain = g.rows(n, n), g.one(0.5, -0.4, 0.7)
    start = g.one(np.zeros(shape), g.rng.integers(-8, 9, shape) / 8)
    act = g.one(jnp.tanh, jnp.sin, lambda a: a, jax.nn.relu, jnp.abs)

    def mixed(s: Array) -> Array:
        return jnp.einsum("...i,ji->...j", s, A)

    def plain(s: Array, a: Any) -> Any:
        v, _ = a
        s = gain * act(mixed(s)) + 0.25 * v
        return s, s

    def before(s: Array, a: Any) -> Any:
        v, _ = a
        return gain * act(mixed(s) + 0.25 * v), s

    def branching(s: Array, a: Any) -> Any:
        v, c = a
        up = jnp.ravel(c)[0] > 0
        s = lax.cond(up, lambda s: gain * act(s) + 0.25 * v, lambda s: 0.5 * mixed(s) - 0.25 * v, s)
        return s, jnp.where(up, s, v)

    def switching(s: Array, a: Any) -> Any:
        v, c = a
        k = jnp.abs(jnp.ravel(c)[0]).astype(jnp.int32)
        s = lax.switch(
            k, [lambda s: 0.5 * s, lambda s: gain * s + 0.25 * v, lambda s: -0.5 * mixed(s)], s
        )
        return s, s + v

    def inner(s: Array, a: Any) -> Any:
        """A scan over the channels in each sample, its last state kept."""
        v, _ = a
        first, parts = lax.scan(
            lambda b, c: (0.5 * b + 0.25 * c, b),
            jnp.zeros(shape[:-1]),
            jnp.moveaxis(v + gain * s, -1, 0),
        )
        return gain * s * 0.5 + 0.25 * first[..., None], jnp.moveaxis(parts, 0, -1)

    def iterated(s: Array, a: Any) -> Any:
        v, _ = a
        s = lax.fori_loop(0, 3, lambda k, b: 0.5 * (0.5 * b + jnp.tanh(v + k)), s)
        return 0.5 * s, s

    def kinds(s: State, a: Any) -> Any:
        v, c = a
        up = jnp.ravel(c)[-1] > 0
        held, ago = s.memory
        held = jnp.where(up & (s.count > 2), v, held)
        smooth = gain * act(s.smooth) + 0.25 * held
        count = jnp.where(up, 0, s.count + 1) % 6
        return State(smooth, (held, v), count), {"y": smooth + 0.5 * ago, "k": count}

    def dictionary(s: dict[str, Any], a: Any) -> Any:
        v, c = a
        flag = s["flag"] ^ (jnp.ravel(c)[0] > 0.25)
        y = jnp.where(flag, gain * s["y"] + 0.25 * v, mixed(s["y"]) * 0.5)
        return {"flag": flag, "y": y, "none": None}, (y, flag)

    zeros = jnp.zeros(shape)
    state = State(jnp.asarray(start), (zeros, jnp.ones(shape)), jnp.array(3))

    def over_time(step: Function) -> Function:
        return lambda v, c: lax.scan(step, jnp.asarray(start), (v, c))[1]

    steps = (plain, before, branching, switching, inner, iterated)
    ways: dict[str, Function] = {f.__name__: over_time(f) for f in steps}
    ways |= {
        "kinds": lambda v, c: (
            lambda y: y["y"] + jnp.where(y["k"] == 2, 0.5, 0.0).reshape(-1, *(1,) * len(shape))
        )(lax.scan(kinds, state, (v, c))[1]),
        "dictionary": lambda v, c: lax.scan(
            dictionary, {"flag": jnp.array(True), "y": jnp.asarray(start), "none": None}, (v, c)
        )[1][0],
        "unrolled": lambda v, c: lax.scan(plain, jnp.asarray(start), (v, c), unroll=2)[1],
        "vmap over channels": lambda v, c: jax.vmap(
            lambda u, z: lax.scan(lambda s, b: (gain * act(s) + 0.25 * b, s), z, u)[1], (-1, -1), -1
        )(v, jnp.asarray(start)),
        "twice": lambda v, c: lax.scan(
            plain, jnp.asarray(start), (lax.scan(before, zeros, (v, c))[1], c)
        )[1],
        "in a scope": lambda v, c: jax.jit(
            lambda v: lax.scan(lambda s, b: plain(s, (b, b)), jnp.asarray(start), v)[1]
        )(v),
        "vmap over a batch": lambda v, c: jax.vmap(
            lambda u: lax.scan(plain, jnp.asarray(start), (u, c))[1]
        )(jnp.stack([v, -v]))[0],
        "checkpoint": lambda v, c: lax.scan(jax.checkpoint(plain), jnp.asarray(start), (v, c))[1],  # type: ignore[attr-defined]
        "by hand": lambda v, c: lax.scan(
            lambda s, b: (gain * s + 0.25 * b,) * 2, jnp.zeros(shape), v
        )[1],
        "numbered": lambda v, c: lax.scan(
            lambda s, b: (gain * s + 0.25 * b[0] + 0.25 * (b[1] % 3).astype(b[0].dtype), s),
            zeros,
            (v, jnp.arange(len(v))),
        )[1],
        "number carried": lambda v, c: lax.scan(
            lambda s, b: (
                (s[0] + 1, gain * s[1] + 0.25 * b),
                s[1] + 0.125 * (s[0] % 4).astype(b.dtype),
            ),
            (jnp.array(0), zeros),
            v,
        )[1],
    }
    name = g.one(*ways)
    # |s| stays below 4; errors grow by 1 / (1 - 0.7) at most, and by 1 / 4 to 1 on the way in.
    rounds = 4.0 * (2 * n + 4 * LIBM)
    return g.push(
        f"scan, {name}", "smooth", ways[name], x, e, slope=6, size=8, roundings=rounds, lift=False
    )


@maker(3)
def looped(g: Grower) -> int:
    """u = x + g loop(u)."""
    x = g.pick("smooth", "eighths", rank=1)
    if len(g.values[x].shape) > 1:
        raise UnfitError
    n = g.number_of(x)
    A, gain, m = g.rows(n, n), g.one(0.5, -0.4, 0.7), tuple(g.rng.integers(1, 12, n).tolist())
    b, a = stable(g, 1)
    late = lambda u: delay(u, m)  # noqa: E731
    ways: dict[str, Function] = {
        "matrix": lambda v: feedback(lambda u: gain * late(u) @ A.T, v),
        "tanh": lambda v: feedback(lambda u: gain * jnp.tanh(late(u)), v),
        "filter": lambda v: feedback(lambda u: gain * _lfilter(b, a, late(u)), v),
        "further results": lambda v: feedback(
            lambda u: (gain * late(u), jnp.sin(u)), v, has_aux=True
        )[1],
        "two": lambda v: sum(
            feedback(lambda u: (gain * late(u[1]), gain * late(u[0])), (v, -v)), 0.0 * v
        ),
        "scan": lambda v: feedback(
            lambda u: gain * lax.scan(lambda s, a: (0.5 * (s + a), s), jnp.zeros(n), late(u))[1], v
        ),
        "pad": lambda v: feedback(lambda u: gain * jnp.pad(u, ((2, 0), (0, 0)))[: len(u)], v),
        "nested": lambda v: feedback(
            lambda u: 0.5 * gain * feedback(lambda w: 0.4 * delay(w, 2), late(u)), v
        ),
        "time last": lambda v: feedback(lambda u: gain * delay(u, 3, axis=-1), v.T, axis=-1).T,
        "sort": lambda v: feedback(lambda u: gain * jnp.sort(late(u), axis=1), v),
        "vmap": lambda v: jax.vmap(
            lambda c: feedback(lambda u: gain * delay(u, 3, axis=0), c, axis=0), 1, 1
        )(v),
    }
    name = g.one(*ways)
    # |u| below 2 / (1 - 0.7), and again for the loop in the loop.
    return g.push(
        f"feedback, {name}",
        "smooth",
        ways[name],
        x,
        slope=8,
        size=16,
        roundings=4 * (n + 4 * LIBM),
        lift=False,
    )


@maker(1)
def recurrent(g: Grower) -> int:
    """Flax's cells under nnx.RNN; their weights are made small, so that they contract."""
    x = g.pick("smooth", "eighths", rank=1)
    if len(g.values[x].shape) > 1:
        raise UnfitError
    n = g.number_of(x)
    kind = g.one(nnx.LSTMCell, nnx.OptimizedLSTMCell, nnx.GRUCell, nnx.SimpleCell)
    cell = kind(n, 2, rngs=nnx.Rngs(g.number(0, 99)), param_dtype=jnp.float64, dtype=jnp.float64)
    for part in jax.tree.leaves(
        nnx.state(cell, nnx.Param), is_leaf=lambda a: isinstance(a, nnx.Variable)
    ):
        part[...] = 0.25 * jnp.tanh(part[...])
    start = cell.initialize_carry((1, n), nnx.Rngs(0))
    graphdef, state = nnx.split(nnx.RNN(cell))
    fresh = lambda: nnx.merge(graphdef, jax.tree.map(lambda a: a, state))  # noqa: E731
    name = f"flax {kind.__name__}"
    # Weights below 1/4 on four numbers: gates change by less than the state does, which halves.
    return g.push(
        name,
        "smooth",
        lambda v: fresh()(v[None], initial_carry=start)[0],
        x,
        slope=8,
        roundings=600,
        lift=False,
    )
