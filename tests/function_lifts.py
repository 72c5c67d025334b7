"""Ways to call a function of one sample on whole signals, and to wrap a function.

A step that works sample by sample is written for arrays whose channels come last. It is *lifted* to
signals: called as it is, by `vmap` with time on any axis, by `lax.map`, by a scan. Any step may be
*wrapped*: in `jit`, in `checkpoint`, in a function with a derivative of its own.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array, lax

Function = Callable[..., Any]
One = Callable[..., Any]


def lifted(one: One, function: Function, channels: bool) -> tuple[str, Function]:
    """A function of one sample as one of signals (time, *channels), and how that was done.

    Args:
        one: Chooses one of its arguments.
        function: Of arrays (..., *channels).
        channels: Whether all its arguments and its result have channels.
    """
    back = lambda f, to: lambda *xs: jnp.moveaxis(f(*(jnp.moveaxis(x, 0, to) for x in xs)), to, 0)  # noqa: E731
    ways = {
        "plain": function,
        "vmap": jax.vmap(function),
        "time last,": back(jax.vmap(function, -1, -1), -1),
        "map": lambda *xs: lax.map(lambda a: function(*a), xs),
        "scan": lambda *xs: lax.scan(lambda s, a: (s, function(*a)), 0, xs)[1],
        "batch of one,": lambda *xs: jax.vmap(function)(*(x[:, None] for x in xs))[:, 0],
        "in front,": lambda *xs: function(*(x[None] for x in xs))[0],
        "vmap of vmap": lambda *xs: jax.vmap(jax.vmap(function))(*(x[None] for x in xs))[0],
    }
    if channels:
        middle = back(jax.vmap(function, 1, 1), 1)
        ways["time second,"] = middle
    name = one("plain", "plain", "plain", *ways)
    return ("" if name == "plain" else name), ways[name]


def wrapped(one: One, function: Function) -> tuple[str, Function]:
    """A function that computes the same, wrapped as people wrap theirs."""

    def alone(*xs: Array) -> Array:
        return function(*xs)

    def with_jvp(*xs: Array) -> Array:
        outer = jax.custom_jvp(alone)
        outer.defjvp(lambda primals, tangents: jax.jvp(function, primals, tangents))
        return outer(*xs)

    def with_vjp(*xs: Array) -> Array:
        outer = jax.custom_vjp(alone)
        outer.defvjp(lambda *a: (function(*a), a), lambda a, t: jax.vjp(function, *a)[1](t))
        return outer(*xs)

    def within(*xs: Array) -> Array:
        with jax.named_scope("part"):
            return function(*xs)

    ways = {
        "": function,
        "jit": jax.jit(alone),
        "checkpoint": jax.checkpoint(alone),  # type: ignore[attr-defined]
        "scope": within,
        "custom_jvp": with_jvp,
        "custom_vjp": with_vjp,
        "jit of checkpoint": jax.jit(jax.checkpoint(alone)),  # type: ignore[attr-defined]
    }
    name = one("", "", "", "", "", "", *ways)
    return name, ways[name]
