"""Loops for the tests of derivatives, written by hand: each is a function (parameters, audio)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from gradient_models import LENGTH, SOS, noise
from jax import Array, lax

from adac_jax import delay, feedback, fir, fractional_delay, lfilter, sosfilt, variable_delay

TURN = np.array([[0.6, 0.8], [-0.8, 0.6]])
RAMP = np.linspace(0.2, 1.0, LENGTH)[:, None]
Function = Callable[[Any, Array], Array]


def of(body: Callable[[Array, Array], Array]) -> Function:
    """u = x + body(g, u) with two gains g."""
    return lambda g, x: feedback(lambda u: body(g, u), x)


def low(g: Array, x: Array) -> Array:
    """A loop of one sample."""
    return feedback(lambda u: g * delay(u, 1), x)


def coupled(g: Array, x: Array) -> Array:
    """Two signals of different shapes that feed each other."""

    def loop(u: dict[str, Array]) -> dict[str, Array]:
        wide, narrow = u["wide"], u["narrow"]
        return {
            "wide": g * delay(wide, (2, 4)) + 0.3 * jnp.sin(delay(narrow, 3)),
            "narrow": jnp.sum(g * delay(wide, 5), axis=1, keepdims=True),
        }

    found = feedback(loop, {"wide": x, "narrow": x[:, :1] * g[0]})
    return found["wide"] + found["narrow"] ** 2


def further_signals(g: Array, x: Array) -> Array:
    """What is taken out of a loop: signals, integers, and what depends on parameters alone."""

    def loop(u: Array) -> tuple[Array, dict[str, Array]]:
        late = delay(u, (2, 3))
        back = jnp.tanh(late @ (g * TURN))
        further = {
            "late": late,
            "count": jnp.round(4 * late).astype(int),
            "loud": late > 0.2,
            "mixed": back * g + x,
            "gains": g**2,
            "entering": x * g,
        }
        return back, further

    u, more = feedback(loop, x, has_aux=True)
    chosen = jnp.where(more["loud"], more["mixed"], more["late"] ** 2)
    return u * more["gains"] + chosen * (1 + more["count"].astype(x.dtype)) + more["entering"]


def only_further_signals(g: Array, x: Array) -> Array:
    """u itself is not read."""
    return feedback(lambda u: (g * delay(u, 2), jnp.sin(delay(u, 1))), x, has_aux=True)[1]


def over_another_axis(g: Array, x: Array) -> Array:
    """Channels of two axes, and time in the middle."""
    both = jnp.einsum("ti,tj->itj", x, x)
    u = feedback(lambda u: delay(u, (2, 3), axis=1) * g, both, axis=1)
    return jnp.einsum("itj,j->ti", u, g)


def in_batches(g: Array, x: Array) -> Array:
    """A loop mapped over parameters and signals, with a mapped function inside."""

    def one(gain: Array, v: Array) -> Array:
        inner = jax.vmap(lambda c: jnp.tanh(gain * delay(c[:, None], 2)[:, 0]), 1, 1)
        return feedback(lambda u: inner(u), v)

    return jax.vmap(one, (0, 1), 1)(g, jnp.stack([x, x[:, ::-1]], axis=1)).sum(1)


def taught(g: Array, x: Array) -> Array:
    """Parameters that are the states at the beginning."""

    def loop(u: Array) -> Array:
        v = delay(u, (3, 2), initial=jnp.outer(jnp.arange(3.0), g))
        w = lfilter([0.5, 0.2], jnp.stack([1.0, -g[0]]), v, zi=g[None])[0]
        return 0.5 * sosfilt(SOS, w, zi=jnp.full((2, 2, 2), g[1]))[0]

    return feedback(loop, x)


def all_filters(g: Array, x: Array) -> Array:
    """Filters with trained coefficients in one loop."""

    def loop(u: Array) -> Array:
        v = fir(delay(u, 2), jnp.stack([g, -0.3 * g, g**2]))
        v = lfilter(jnp.stack([0.6, g[1]]), jnp.stack([1.0, -g[0]]), v)
        return 0.5 * fractional_delay(v, 1.5 + g, minimum=0, maximum=4)

    return feedback(loop, x)


def one_after_another(g: Array, x: Array) -> Array:
    """Loops that read the signals of others."""
    a = feedback(lambda u: g * delay(u, 4), x)
    b = feedback(lambda u: g * jnp.tanh(delay(u, 3) + a) * delay(u, 2), a * x)
    return feedback(lambda u: 0.3 * delay(b, 1) * delay(u, 2), b)


def nested(g: Array, x: Array) -> Array:
    """A loop in a loop in a loop, each reading something of the others."""

    def loop(u: Array) -> Array:
        def inner(v: Array) -> Array:
            return g * delay(v, (2, 3)) + 0.2 * low(0.3 * g, delay(u, 1)) * x

        return 0.6 * feedback(inner, jnp.tanh(delay(u, 5)))

    return feedback(loop, x)


def entrance_heard(g: Array, x: Array) -> Array:
    """What enters is made of two signals, and leaves the loop as part of what is heard."""

    def entrance(signals: dict[str, Array]) -> Array:
        return signals["a"] * g + jnp.sin(signals["b"])

    def loop(u: Array) -> tuple[Array, Array]:
        late = delay(u, (2, 4))
        return (g * late) @ TURN, late @ TURN

    u, heard = feedback(loop, {"a": x[:, :1], "b": x}, entrance=entrance, has_aux=True)
    return u * g + heard


def nothing_comes_back(g: Array, x: Array) -> Array:
    """One signal of three has a loop; one is read in it, and one by nobody."""

    def loop(u: dict[str, Array]) -> dict[str, Array]:
        silence = jnp.zeros_like(x)
        return {"a": g * delay(u["a"], (2, 3)) + 0.5 * u["b"], "b": silence, "c": silence}

    found = feedback(loop, {"a": x, "b": x * g, "c": jnp.sin(x)})
    return found["a"] * found["c"] + found["b"]


def outer(x: Array) -> Array:
    """The products of all pairs of channels."""
    return jnp.einsum("ti,tj->tij", jnp.sin(x), x)


MIX = 0.3 * noise(4, 2)
PICK = np.array([1, 1])
LOOPS: dict[str, Function] = {
    "linear": of(lambda g, u: delay(u, (3, 5)) @ (g * TURN)),
    "saturating": of(lambda g, u: jnp.tanh(delay(u, (3, 5)) * g) @ TURN),
    "shapers": of(lambda g, u: g * (jnp.sin(delay(u, 2)) + jax.nn.gelu(delay(u, 4)) ** 3 / 3)),
    "product of signals": of(lambda g, u: g * jnp.sin(delay(u, 2) * delay(u, 5))),
    "kinks": of(
        lambda g, u: g * jnp.clip(jnp.abs(delay(u, 2)), 0.1, 0.7) - 0.3 * jax.nn.relu(-delay(u, 3))
    ),
    "decided": of(lambda g, u: jnp.where(delay(u, 3) > 0.1, g * delay(u, 2), -0.4 * delay(u, 5))),
    "largest channel": of(lambda g, u: g * jnp.max(delay(u, 2), axis=1, keepdims=True)),
    "normed": of(
        lambda g, u: g * delay(u, 2) / jnp.sqrt(1 + jnp.sum(delay(u, 2) ** 2, 1, keepdims=True))
    ),
    "changing over time": lambda g, x: feedback(lambda u: RAMP * g * delay(u, (1, 4)), x),
    "gain that is a signal": lambda g, x: feedback(
        lambda u: jnp.tanh(low(g, x)) * delay(u, 3) * g, x
    ),
    "one sample": low,
    "one sample in a long loop": lambda g, x: feedback(lambda u: 0.6 * low(g, delay(u, 13)), x),
    "nested": nested,
    "one after another": one_after_another,
    "entrance": lambda g, x: feedback(
        lambda u: jnp.tanh(delay(u, (3, 5)) * g) @ TURN, x[:, :1], entrance=lambda v: v * g
    ),
    "entrance, heard": entrance_heard,
    "nothing comes back": nothing_comes_back,
    "heard with what enters": lambda g, x: feedback(
        lambda u: (g * delay(u, (3, 5)), jnp.tanh(delay(u, 2)) + jnp.sin(x)), x, has_aux=True
    )[1],
    "entrance with memory": lambda g, x: feedback(
        lambda u: delay(u, (3, 5)) * g, x[:, :1], entrance=lambda v: fir(v, g) * g
    ),
    "coupled": coupled,
    "further signals": further_signals,
    "only further signals": only_further_signals,
    "another axis": over_another_axis,
    "batches": in_batches,
    "states at the beginning": taught,
    "all filters": all_filters,
    "chosen delays": of(
        lambda g, u: g * variable_delay(u, jnp.array([2, 6]), minimum=1, maximum=5)
    ),
    "padded and cut": of(lambda g, u: g * jnp.pad(u[:-3], ((3, 0), (0, 0)))[:, ::-1]),
    "ahead and back": of(lambda g, u: g * jnp.pad(delay(u, 5)[2:], ((4, 0), (0, 0)))[:-2]),
    "channels moved": of(
        lambda g, u: (
            g
            * jnp.concatenate(
                [jnp.split(delay(u, 2), 2, axis=1)[1], jnp.roll(delay(u, 3), 1, axis=1)[:, :1]],
                axis=1,
            )
        )
    ),
    "channels padded": of(
        lambda g, u: g * jnp.tile(jnp.pad(delay(u, 2), ((0, 0), (1, 2)))[:, 1:4:2], (1, 2))[:, :2]
    ),
    "a channel picked twice": of(lambda g, u: g * delay(u, 2)[:, PICK]),
    "added to a channel": of(lambda g, u: (g * delay(u, 2)).at[:, PICK].add(0.2 * delay(u, 3))),
    "checkpoint": of(jax.checkpoint(lambda g, u: g * jnp.tanh(delay(u, 2)) * delay(u, 4))),
    "compiled": of(jax.jit(lambda g, u: g * jnp.tanh(delay(u, 2)) @ TURN)),
    "product of channels": of(
        lambda g, u: g * jnp.prod(jnp.sin(delay(u, 2)), axis=1, keepdims=True)
    ),
    "silence enters a loop": of(
        lambda g, u: g * feedback(lambda v: g * delay(v, 1) + delay(u, 3), jnp.zeros_like(u))
    ),
    "padded before it is cut": of(
        lambda g, u: g * jnp.pad(jnp.pad(u, ((0, 4), (0, 0)))[2:], ((3, 0), (0, 0)))[:LENGTH]
    ),
    "permuted": of(
        lambda g, u: (
            g
            * (lax.reshape(delay(outer(u), [[2, 3], [4, 5]], axis=0), (LENGTH, 4), (0, 2, 1)) @ MIX)
        )
    ),
    "unstacked": of(
        lambda g, u: jnp.stack([0.5 * v for v in jnp.unstack(g * delay(u, 2), axis=1)], axis=1)
    ),
    "replaced": of(
        lambda g, u: (
            g
            * lax.dynamic_update_slice_in_dim(delay(u, 2), 0.5 * jnp.sin(delay(u, 3)[:, :1]), 1, 1)
        )
    ),
    "stacked": of(lambda g, u: g * jnp.stack([delay(u, 2)[:, 1], delay(u, 3)[:, 0]], axis=1)),
    "joined in time": of(lambda g, u: g * jnp.concatenate([jnp.zeros((3, 2)), u[:-3]])),
    "dynamic slice": of(
        lambda g, u: g * lax.dynamic_slice_in_dim(delay(jnp.tile(u, (1, 2)), 2), 1, 2, axis=1)
    ),
}

FALLBACK = {
    "channels padded",
    "joined in time",
}
"""Loops whose transpose has no meaning sample by sample that the walker knows."""

BROKEN = {
    "padded before it is cut": "the end of what goes back counts as signal",
}
"""Loops that have no derivative, or a wrong one, and why."""
