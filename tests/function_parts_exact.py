"""Steps of random functions that decide: on exact numbers, integers and truth values."""

from __future__ import annotations

import jax.numpy as jnp
from jax import lax, nn
from random_functions import INTEGERS, Grower, maker

DECISIONS = {
    "floor": (jnp.floor, "eighths"),
    "ceil": (jnp.ceil, "eighths"),
    "round": (jnp.round, "eighths"),
    "trunc": (jnp.trunc, "eighths"),
    "fix": (lambda x: jnp.trunc(x * 2) / 2, "eighths"),
    "sign": (jnp.sign, "eighths"),
    "mod": (lambda x: jnp.mod(x, 0.75), "eighths"),
    "fmod": (lambda x: jnp.fmod(x, 0.75), "eighths"),
    "remainder": (lambda x: jnp.remainder(x, -1.5), "eighths"),
    "floor divide": (lambda x: jnp.floor_divide(x, 0.75) / 2, "eighths"),
    "divmod": (lambda x: jnp.divmod(x, 1.25)[1], "eighths"),
    "modf": (lambda x: jnp.modf(x)[0], "eighths"),
    "heaviside": (lambda x: jnp.heaviside(x, 0.5), "eighths"),
    "wrap": (lambda x: (x + 1.0) % 2.0 - 1.0, "eighths"),
    "abs": (jnp.abs, "eighths"),
    "half": (lambda x: jnp.round(4 * x) / 8, "eighths"),
    "to integers": (lambda x: (4 * x).astype(jnp.int64), "int"),
    "rounded to integers": (lambda x: jnp.rint(3 * x).astype(jnp.int64), "int"),
    "digits": (lambda x: jnp.floor(x * 8).astype(jnp.int64) % 5, "int"),
    "positive": (lambda x: x > 0, "bool"),
    "in a range": (lambda x: (x > -0.5) & (x <= 0.75), "bool"),
    "equal": (lambda x: x == 0.25, "bool"),
    "signbit": (lambda x: jnp.logical_not(x >= 0), "bool"),
    "nonzero": (lambda x: x.astype(jnp.bool_), "bool"),
    "isclose": (lambda x: jnp.isclose(x, 0.5), "bool"),
    "isnan": (lambda x: jnp.isnan(x) | (x < 0), "bool"),
}
INTEGER = {
    "double": (lambda k: (2 * k + 1) % INTEGERS, "int"),
    "remainder": (lambda k: lax.rem(k, jnp.int64(7)), "int"),
    "mod": (lambda k: jnp.mod(k, -5), "int"),
    "floor divide": (lambda k: k // 3, "int"),
    "divide": (lambda k: lax.div(k, jnp.int64(-3)), "int"),
    "power": (lambda k: (k % 4) ** 2, "int"),
    "integer abs": (jnp.abs, "int"),
    "integer sign": (jnp.sign, "int"),
    "clip": (lambda k: jnp.clip(k, -3, 9), "int"),
    "invert": (lambda k: jnp.invert(k), "int"),
    "bits": (lambda k: (k & 12) | 1, "int"),
    "xor": (lambda k: k ^ 5, "int"),
    "odd": (lambda k: k % 2 == 1, "bool"),
    "below": (lambda k: k < 3, "bool"),
    "truth": (lambda k: k.astype(jnp.bool_), "bool"),
    "to reals": (lambda k: (k % 16).astype(jnp.float64) / 8, "eighths"),
    "by table": (
        lambda k: jnp.sum(nn.one_hot(k % 4, 4) * jnp.array([0.5, -1, 0.25, 2]), -1),
        "eighths",
    ),
}
LOGIC = {
    "not": (jnp.logical_not, "bool"),
    "xor": (lambda b: b ^ True, "bool"),
    "to reals": (lambda b: b.astype(jnp.float64), "eighths"),
    "to integers": (lambda b: b.astype(jnp.int64) * 3 - 1, "int"),
    "where": (lambda b: jnp.where(b, 0.5, -0.25), "eighths"),
    "where integers": (lambda b: jnp.where(b, 3, -4), "int"),
}


@maker(4)
def decision(g: Grower) -> int:
    pool = g.one("eighths", "eighths", "int", "bool")
    table = {"eighths": DECISIONS, "int": INTEGER, "bool": LOGIC}[pool]
    name = g.one(*table)
    function, to = table[name]
    x = g.pick(pool)
    return g.push(f"{pool}: {name}", to, function, x)


@maker(2)
def pair(g: Grower) -> int:
    """Two exact signals."""
    pool = g.one("eighths", "int", "bool")
    x = g.pick(pool)
    y = g.pick(pool, shape=g.values[x].shape)
    table = {
        "eighths": {
            "less": (jnp.less, "bool"),
            "equal": (jnp.equal, "bool"),
            "ge": (lax.ge, "bool"),
            "maximum": (jnp.maximum, "eighths"),
            "minimum": (jnp.minimum, "eighths"),
            "mean": (lambda a, b: jnp.floor(4 * (a + b)) / 8, "eighths"),
        },
        "int": {
            "add": (lambda a, b: lax.rem(a + b, jnp.int64(11)), "int"),
            "multiply": (lambda a, b: (a * b) % 13, "int"),
            "maximum": (jnp.maximum, "int"),
            "less": (jnp.less, "bool"),
            "divide": (lambda a, b: a // (1 + jnp.abs(b)), "int"),
            "ne": (jnp.not_equal, "bool"),
            "and": (jnp.bitwise_and, "int"),
        },
        "bool": {
            "and": (jnp.logical_and, "bool"),
            "or": (jnp.bitwise_or, "bool"),
            "xor": (jnp.logical_xor, "bool"),
            "equal": (jnp.equal, "bool"),
            "choose": (lambda a, b: jnp.where(a, b, True), "bool"),
        },
    }[pool]
    name = g.one(*table)
    function, to = table[name]
    return g.push(f"{pool}: {name}", to, function, x, y)
