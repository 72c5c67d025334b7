"""What each stateless operation does to the tensors of one sample, in `jax.numpy`."""

from __future__ import annotations

from collections.abc import Callable

import jax.numpy as jnp
from jax import Array, lax
from jax.scipy import special

from ir import Node

PER_SAMPLE: dict[str, Callable[[Node], Callable[..., Array]]] = {}
"""For each stateless operation: node -> (inputs at one sample -> output at that sample)."""


def _plain(**functions: Callable[..., Array]) -> None:
    for name, function in functions.items():
        PER_SAMPLE[name.rstrip("_")] = lambda node, function=function: function


def _divide(x: Array, y: Array) -> Array:
    return lax.div(x, y) if jnp.issubdtype(x.dtype, jnp.integer) else x / y


_plain(
    neg=jnp.negative, abs=jnp.abs, sign=jnp.sign, sqrt=jnp.sqrt, rsqrt=lax.rsqrt, cbrt=jnp.cbrt,
    exp=jnp.exp, exp2=jnp.exp2, expm1=jnp.expm1, log=jnp.log, log1p=jnp.log1p, sin=jnp.sin,
    cos=jnp.cos, tan=jnp.tan, asin=jnp.arcsin, acos=jnp.arccos, atan=jnp.arctan, sinh=jnp.sinh,
    cosh=jnp.cosh, tanh=jnp.tanh, asinh=jnp.arcsinh, acosh=jnp.arccosh, atanh=jnp.arctanh,
    logistic=special.expit, erf=special.erf, erfc=special.erfc, floor=jnp.floor, ceil=jnp.ceil,
    round=jnp.rint, add=jnp.add, sub=jnp.subtract, mul=jnp.multiply, div=_divide, rem=lax.rem,
    pow=jnp.power, atan2=jnp.arctan2, maximum=jnp.maximum, minimum=jnp.minimum, eq=jnp.equal,
    ne=jnp.not_equal, lt=jnp.less, le=jnp.less_equal, gt=jnp.greater, ge=jnp.greater_equal,
    and_=jnp.bitwise_and, or_=jnp.bitwise_or, xor=jnp.bitwise_xor, not_=jnp.invert,
    select=jnp.where,
)  # fmt: skip


def _slice(node: Node) -> Callable[[Array], Array]:
    bounds = (node.ints("start"), node.ints("limit"), node.ints("stride"))
    return lambda x: lax.slice(x, *bounds)


def _dtype(kind: str) -> type:
    return {"real": float, "int": int, "bool": bool}[kind]


def _flat(indices: tuple[int, ...]) -> Array:
    return jnp.array(indices, jnp.int32)


PER_SAMPLE |= {
    "convert": lambda node: lambda x: x.astype(_dtype(node.type.kind)),
    "integer_pow": lambda node: lambda x: lax.integer_pow(x, node.int("exponent")),
    "reshape": lambda node: lambda x: x.reshape(node.shape),
    "transpose": lambda node: lambda x: x.transpose(node.ints("permutation")),
    "broadcast": lambda node: lambda x: lax.broadcast_in_dim(x, node.shape, node.ints("axes")),
    "slice": _slice,
    "concatenate": lambda node: lambda *xs: jnp.concatenate(xs, axis=node.int("axis")),
    "take": lambda node: lambda x: x.ravel()[_flat(node.ints("indices"))].reshape(node.shape),
    "sum": lambda node: lambda x: jnp.sum(x, axis=node.ints("axes")),
    "prod": lambda node: lambda x: jnp.prod(x, axis=node.ints("axes")),
    "max": lambda node: lambda x: jnp.max(x, axis=node.ints("axes")),
    "min": lambda node: lambda x: jnp.min(x, axis=node.ints("axes")),
    "einsum": lambda node: lambda x, y: jnp.einsum(
        node.text("subscripts"), x, y, precision="highest"
    ),
}
