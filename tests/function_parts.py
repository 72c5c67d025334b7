"""Steps of random functions that work on each real number by itself, or choose between two."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax import lax, nn
from random_functions import LIBM, LIMIT, Grower, maker

UNARY = {
    "tanh": (jnp.tanh, 1, 1),
    "sin": (jnp.sin, 1, 1),
    "cos": (jnp.cos, 1, 1),
    "sinc": (jnp.sinc, 3, 2),
    "arctan": (jnp.arctan, 1, 2),
    "arcsinh": (jnp.arcsinh, 1, 2),
    "arcsin": (lambda x: jnp.arcsin(0.4 * x), 1, 1),
    "arccos": (lambda x: jnp.arccos(0.4 * x), 1, 4),
    "arctanh": (lambda x: jnp.arctanh(0.4 * x), 2, 2),
    "arccosh": (lambda x: jnp.arccosh(1.5 + jnp.abs(x)), 1, 4),
    "erf": (lax.erf, 2, 1),
    "erfc": (lax.erfc, 2, 2),
    "erfinv": (lambda x: jax.scipy.special.erfinv(0.4 * x), 1, 2),
    "exp": (lambda x: jnp.exp(0.5 * x), 2, 3),
    "exp2": (lambda x: jnp.exp2(0.5 * x), 1, 2),
    "expm1": (lambda x: jnp.expm1(0.5 * x), 2, 2),
    "sinh": (lambda x: jnp.sinh(0.5 * x), 1, 2),
    "cosh": (lambda x: jnp.cosh(0.5 * x), 1, 2),
    "tan": (lambda x: jnp.tan(0.5 * x), 2, 2),
    "log": (lambda x: jnp.log(0.5 + jnp.abs(x)), 2, 2),
    "log10": (lambda x: jnp.log10(0.5 + jnp.abs(x)), 1, 2),
    "log2": (lambda x: jnp.log2(0.5 + jnp.abs(x)), 3, 2),
    "log1p": (lambda x: jnp.log1p(x * x), 1, 2),
    "decibels": (lambda x: 20 * jnp.log10(jnp.maximum(jnp.abs(x), 1e-2)), 900, 40),
    "sqrt": (lambda x: jnp.sqrt(0.25 + jnp.square(x)), 4, 8),
    "rsqrt": (lambda x: lax.rsqrt(0.5 + jnp.abs(x)), 2, 2),
    "cbrt": (lambda x: jnp.cbrt(0.5 + jnp.abs(x)), 1, 2),
    "reciprocal": (lambda x: jnp.reciprocal(1 + x * x), 4, 4),
    "square": (jnp.square, 4, 4),
    "cube": (lambda x: x**3, 12, 8),
    "polynomial": (lambda x: jnp.polyval(jnp.array([0.1, -0.25, 0.5, 0.1]), x), 3, 4),
    "power": (lambda x: jnp.power(0.5 + jnp.abs(x), 0.7), 1, 3),
    "float power": (lambda x: jnp.float_power(0.5 + jnp.abs(x), 1.5), 3, 4),
    "negative power": (lambda x: (1 + jnp.abs(x)) ** -2, 4, 4),
    "abs": (jnp.abs, 1, 2),
    "negative": (jnp.negative, 1, 2),
    "clip": (lambda x: jnp.clip(x, -0.5, 0.75), 1, 2),
    "clip below": (lambda x: jnp.clip(x, min=-0.5), 1, 2),
    "clamp": (lambda x: lax.clamp(-0.5, x, 0.75), 1, 2),
    "deg2rad": (jnp.deg2rad, 1, 2),
    "nan to num": (jnp.nan_to_num, 1, 2),
    "softplus": (nn.softplus, 1, 3),
    "sigmoid": (nn.sigmoid, 1, 1),
    "silu": (nn.silu, 2, 2),
    "gelu": (nn.gelu, 2, 2),
    "gelu, exact": (lambda x: nn.gelu(x, approximate=False), 2, 2),
    "relu": (nn.relu, 1, 2),
    "relu6": (nn.relu6, 1, 2),
    "leaky relu": (nn.leaky_relu, 1, 2),
    "elu": (nn.elu, 1, 2),
    "celu": (nn.celu, 1, 2),
    "selu": (nn.selu, 2, 4),
    "mish": (nn.mish, 2, 2),
    "softsign": (nn.soft_sign, 1, 1),
    "squareplus": (nn.squareplus, 1, 4),
    "log sigmoid": (nn.log_sigmoid, 1, 3),
    "hard tanh": (nn.hard_tanh, 1, 1),
    "hard sigmoid": (nn.hard_sigmoid, 1, 1),
    "hard silu": (nn.hard_silu, 2, 2),
    "sparse plus": (nn.sparse_plus, 1, 4),
    "sparse sigmoid": (nn.sparse_sigmoid, 1, 1),
    "iterations": (
        lambda x: lax.fori_loop(0, 3, lambda k, a: 0.5 * (a + jnp.tanh(a + k)), x),
        1,
        2,
    ),
    "while": (
        lambda x: lax.while_loop(
            lambda c: c[0] < 3, lambda c: (c[0] + 1, jnp.sin(c[1] + x)), (0, x)
        )[1],
        4,
        1,
    ),
    "branch": (lambda x: lax.cond(len(x.shape) > 7, jnp.sin, jnp.cos, x), 1, 1),
    "switch": (lambda x: lax.switch(2, [jnp.sin, jnp.cos, jnp.tanh], x), 1, 1),
    "derivative": (lambda x: jax.jvp(jnp.tanh, (x,), (jnp.ones_like(x),))[1], 1, 1),
    "gradient": (lambda x: jax.grad(lambda v: jnp.sum(jnp.sin(v) * v))(x), 4, 4),
    "stop gradient": (lambda x: x - 0.5 * lax.stop_gradient(x), 1, 3),
    "copysign": (lambda x: jnp.copysign(x, -1.0), 1, 2),
    "isfinite": (lambda x: jnp.where(jnp.isfinite(x), x, 0.0), 1, 2),
    "vectorize": (lambda x: jnp.vectorize(lambda v: 0.5 * v * v)(x), 2, 2),
    "polynomial by scan": (
        lambda x: lax.scan(
            lambda a, c: (0.5 * a * x + c, None), jnp.zeros_like(x), jnp.arange(4.0) / 4
        )[0],
        5,
        8,
    ),
}
"""Functions of numbers in ±LIMIT: (function, largest slope, largest magnitude on the way)."""

BINARY = {
    "add": (jnp.add, 1, 4),
    "subtract": (jnp.subtract, 1, 4),
    "multiply": (jnp.multiply, 2, 4),
    "divide": (lambda x, y: x / (1 + y * y), 3, 8),
    "maximum": (jnp.maximum, 1, 2),
    "minimum": (jnp.minimum, 1, 2),
    "fmax": (jnp.fmax, 1, 2),
    "fmin": (jnp.fmin, 1, 2),
    "hypot": (lambda x, y: jnp.hypot(1 + jnp.abs(x), y), 1, 16),
    "arctan2": (lambda x, y: jnp.arctan2(x, 0.5 + jnp.abs(y)), 2, 2),
    "logaddexp": (jnp.logaddexp, 1, 4),
    "power": (lambda x, y: jnp.power(0.5 + jnp.abs(x), 0.5 * y), 4, 4),
    "gate": (lambda x, y: jnp.tanh(x) * nn.sigmoid(y), 1, 1),
    "crossfade": (lambda x, y: x + nn.sigmoid(y) * (y - x), 3, 6),
    "fold": (lambda x, y: jnp.sin(3 * x + y), 3, 8),
}
"""The same of two numbers; the slope is that of either."""


@maker(10)
def unary(g: Grower) -> int:
    name = g.one(*UNARY)
    function, slope, size = UNARY[name]
    return g.push(
        name,
        "smooth",
        function,
        g.pick("smooth", "eighths"),
        slope=slope,
        size=size,
        roundings=3 * LIBM,
    )


@maker(4)
def binary(g: Grower) -> int:
    name = g.one(*BINARY)
    function, slope, size = BINARY[name]
    x = g.pick("smooth", "eighths")
    y = g.pick("smooth", "eighths", shape=g.values[x].shape)
    return g.push(name, "smooth", function, x, y, slope=slope, size=size, roundings=2 * LIBM)


@maker(3)
def affine(g: Grower) -> int:
    """A gain and an offset: numbers, or one a channel, broadcast in one of several ways."""
    x = g.pick("smooth", "eighths")
    shape = g.values[x].shape
    a, b = (g.uniform(*g.one((), shape, shape[-1:], (1,) * len(shape))) for _ in range(2))
    return g.push("affine", "smooth", lambda v: a * v + b, x, size=2 * LIMIT, roundings=2)


@maker(2)
def chosen(g: Grower) -> int:
    """One of two signals, by an exact one."""
    x = g.pick("smooth", "eighths")
    shape = g.values[x].shape
    y = g.pick("smooth", "eighths", shape=shape)
    way = g.one("where", "select", "where sign", "select three", "piecewise", "where number")
    if way in ("where", "select", "where number"):
        c = g.pick("bool", shape=shape)
        f = {
            "where": jnp.where,
            "select": lax.select,
            "where number": lambda c, x, y: jnp.where(c, x, 0.5) + 0.5 * jnp.where(~c, -1.0, y),
        }[way]
        return g.push(way, "smooth", f, c, x, y, size=4, roundings=2)
    c = g.pick("eighths", shape=shape)
    f = {
        "where sign": lambda c, x, y: jnp.where(c > 0, x, 0.1 * y),
        "select three": lambda c, x, y: jnp.select([c > 0.5, c < -0.5], [x, y], 0.25),
        "piecewise": lambda c, x, y: lax.select_n(
            jnp.clip(jnp.floor(c + 1.5).astype(jnp.int32), 0, 2), x, y, x - y
        ),
    }[way]
    return g.push(way, "smooth", f, c, x, y, size=4, roundings=2)


@maker(1)
def branch(g: Grower) -> int:
    """A branch for each sample, by an exact number of it."""
    c = g.pick("eighths", "int")
    x = g.pick("smooth", "eighths")
    count = len(g.values[c].shape)

    def cond(c: jax.Array, v: jax.Array) -> jax.Array:
        return lax.cond(c[(0,) * count] > 0, lambda a: jnp.tanh(a), lambda a: 0.5 * a, v)

    def switch(c: jax.Array, v: jax.Array) -> jax.Array:
        k = jnp.abs(c[(0,) * count]).astype(jnp.int32)
        return lax.switch(k, [jnp.sin, lambda a: -a, lambda a: 0.25 * a + 0.5], v)

    function = jax.vmap(g.one(cond, switch))
    return g.push("branch", "smooth", function, c, x, lift=False)
