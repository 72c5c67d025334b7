"""What each stateless operation does to the tensors of one sample, in `jax.numpy`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
from jax import Array, lax
from jax.scipy import special

from ir import Node

PER_SAMPLE: dict[str, Callable[[Node, Any], Callable[..., Array]]] = {}
"""For each stateless operation: (node, type of reals) -> (inputs at one sample -> output)."""


def dtype_of(node: Node, real: Any) -> Any:
    """The type of a node's numbers, given that of real ones."""
    return {"real": real, "int": jnp.int32, "bool": jnp.bool_}[node.type.kind]


def _plain(**functions: Callable[..., Array]) -> None:
    for name, function in functions.items():
        PER_SAMPLE[name.rstrip("_")] = lambda node, real, function=function: function


def _divide(x: Array, y: Array) -> Array:
    return lax.div(*_alike(x, y)) if jnp.issubdtype(x.dtype, jnp.integer) else x / y


def _remainder(x: Array, y: Array) -> Array:
    return lax.rem(*_alike(x, y))


def _alike(x: Array, y: Array) -> tuple[Array, Array]:
    """Both in one shape, which lax, unlike jax.numpy, asks for."""
    shape = jnp.broadcast_shapes(x.shape, y.shape)
    return jnp.broadcast_to(x, shape), jnp.broadcast_to(y, shape)


_plain(
    neg=jnp.negative, abs=jnp.abs, sign=jnp.sign, sqrt=jnp.sqrt, rsqrt=lax.rsqrt, cbrt=jnp.cbrt,
    exp=jnp.exp, exp2=jnp.exp2, expm1=jnp.expm1, log=jnp.log, log1p=jnp.log1p, sin=jnp.sin,
    cos=jnp.cos, tan=jnp.tan, asin=jnp.arcsin, acos=jnp.arccos, atan=jnp.arctan, sinh=jnp.sinh,
    cosh=jnp.cosh, tanh=jnp.tanh, asinh=jnp.arcsinh, acosh=jnp.arccosh, atanh=jnp.arctanh,
    logistic=special.expit, erf=special.erf, erfc=special.erfc, floor=jnp.floor, ceil=jnp.ceil,
    round=jnp.rint, add=jnp.add, sub=jnp.subtract, mul=jnp.multiply, div=_divide, rem=_remainder,
    pow=jnp.power, atan2=jnp.arctan2, maximum=jnp.maximum, minimum=jnp.minimum, eq=jnp.equal,
    ne=jnp.not_equal, lt=jnp.less, le=jnp.less_equal, gt=jnp.greater, ge=jnp.greater_equal,
    and_=jnp.bitwise_and, or_=jnp.bitwise_or, xor=jnp.bitwise_xor, not_=jnp.invert,
    select=jnp.where, shift_left=lambda x, y: lax.shift_left(*_alike(x, y)),
    shift_right_arithmetic=lambda x, y: lax.shift_right_arithmetic(*_alike(x, y)),
    shift_right_logical=lambda x, y: lax.shift_right_logical(*_alike(x, y)),
)  # fmt: skip


ELEMENTWISE = frozenset(PER_SAMPLE)
"""Those that work on numbers one by one, whatever axes there are."""


def _slice(node: Node, real: Any) -> Callable[[Array], Array]:
    bounds = (node.ints("start"), node.ints("limit"), node.ints("stride"))
    return lambda x: lax.slice(x, *bounds)


def _lookup(table: Array, index: Array) -> Array:
    at = jnp.clip(index, 0, len(table) - 1)
    return table[at] if table.ndim == 1 else jnp.take_along_axis(table, at[None], 0)[0]


def _flat(indices: tuple[int, ...]) -> Array:
    return jnp.array(indices, jnp.int32)


PER_SAMPLE |= {
    "convert": lambda node, real: lambda x: x.astype(dtype_of(node, real)),
    "integer_pow": lambda node, real: lambda x: lax.integer_pow(x, node.int("exponent")),
    "reshape": lambda node, real: lambda x: x.reshape(node.shape),
    "transpose": lambda node, real: lambda x: x.transpose(node.ints("permutation")),
    "broadcast": lambda node, real: (
        lambda x: lax.broadcast_in_dim(x, node.shape, node.ints("axes"))
    ),
    "slice": _slice,
    "concatenate": lambda node, real: lambda *xs: jnp.concatenate(xs, axis=node.int("axis")),
    "take": lambda node, real: lambda x: x.ravel()[_flat(node.ints("indices"))].reshape(node.shape),
    "lookup": lambda node, real: _lookup,
    "sum": lambda node, real: lambda x: jnp.sum(x, axis=node.ints("axes"), promote_integers=False),
    "prod": lambda node, real: (
        lambda x: jnp.prod(x, axis=node.ints("axes"), promote_integers=False)
    ),
    "max": lambda node, real: lambda x: jnp.max(x, axis=node.ints("axes")),
    "min": lambda node, real: lambda x: jnp.min(x, axis=node.ints("axes")),
    "einsum": lambda node, real: (
        lambda x, y: jnp.einsum(node.text("subscripts"), x, y, precision="highest")
    ),
}
