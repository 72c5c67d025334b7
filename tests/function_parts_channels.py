"""Steps of random functions that combine or reduce channels, whose axes come last."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax import lax, nn
from random_functions import LIBM, LIMIT, Function, Grower, maker


def _rows(a: jax.Array, A: np.ndarray) -> jax.Array:
    return lax.dot_general(a, jnp.asarray(A), (((a.ndim - 1,), (1,)), ((), ())))


PRODUCTS: dict[str, Callable[[np.ndarray], Function]] = {
    "matmul": lambda A: lambda a: a @ A.T,
    "einsum": lambda A: lambda a: jnp.einsum("...i,ji->...j", a, A),
    "einsum, matrix first": lambda A: lambda a: jnp.einsum("ji,...i->...j", A, a),
    "tensordot": lambda A: lambda a: jnp.tensordot(a, A, axes=[[-1], [1]]),
    "dot_general": lambda A: lambda a: _rows(a, A),
    "vector": lambda A: (
        lambda a: jnp.vectorize(lambda v: jnp.asarray(A) @ v, signature="(n)->(m)")(a)
    ),
    "inner": lambda A: lambda a: jnp.inner(a, A),
    "sum of products": lambda A: lambda a: jnp.sum(a[..., None, :] * A, axis=-1),
    "loop": lambda A: lambda a: jnp.stack([jnp.sum(a * row, -1) for row in A], -1),
    "convolution": lambda A: lambda a: _rows(a, A),
    "dense": lambda A: _dense(A),
    "fori": lambda A: (
        lambda a: lax.fori_loop(
            0,
            A.shape[1],
            lambda k, s: s + a[..., k, None] * jnp.asarray(A)[:, k],
            jnp.zeros((*a.shape[:-1], A.shape[0])),
        )
    ),
}


def _dense(A: np.ndarray) -> Function:
    layer = nnx.Linear(A.shape[1], A.shape[0], rngs=nnx.Rngs(0), param_dtype=jnp.float64)
    layer.kernel[...] = jnp.asarray(A.T)
    return lambda a: layer(a)


@maker(4)
def product(g: Grower) -> int:
    x = g.pick("smooth", "eighths", rank=1)
    n = g.number_of(x)
    name = g.one(*PRODUCTS)
    function = PRODUCTS[name](g.rows(g.number(1, 4), n))
    return g.push(name, "smooth", function, x, roundings=2 * n + 4)


@maker(2)
def product_of_signals(g: Grower) -> int:
    x = g.pick("smooth", "eighths", rank=1)
    n = g.number_of(x)
    y = g.pick("smooth", "eighths", shape=g.values[x].shape)
    forms: dict[str, Function] = {
        "dot": lambda a, b: jnp.sum(a * b, -1),
        "vecdot": jnp.vecdot,
        "outer": lambda a, b: a[..., :, None] * b[..., None, :],
        "outer einsum": lambda a, b: jnp.einsum("...i,...j->...ij", a, b),
        "dot einsum": lambda a, b: jnp.einsum("...i,...i->...", a, b),
        "matvec": lambda a, b: (
            jnp.einsum("...ij,...j->...i", a[..., :, None] * b[..., None, :], b) / 4
        ),
        "matmul": lambda a, b: (a[..., None, :] @ b[..., :, None])[..., 0],
        "attention": lambda a, b: nn.softmax(a[..., :, None] * b[..., None, :] / 4) @ b[..., None],
        "cross": lambda a, b: jnp.cross(a, b) if n == 3 else a * b,
        "householder": lambda a, b: (
            a - 2 * b * jnp.vecdot(b, a)[..., None] / (1 + jnp.vecdot(b, b)[..., None])
        ),
        "kron": lambda a, b: (a[..., :, None] * b[..., None, :]).reshape(*a.shape[:-1], n * n),
    }
    name = g.one(*forms)
    # Sums of up to n products of three factors up to LIMIT, or as much after a division.
    bound = 8.0 * n
    return g.push(
        name, "smooth", forms[name], x, y, slope=16.0 * n, size=bound, roundings=n + 2 * LIBM
    )


REDUCTIONS: dict[str, tuple[Function, float, float]] = {
    "sum": (lambda a: jnp.sum(a, -1), 1, 1),
    "sum, kept": (lambda a: jnp.sum(a, -1, keepdims=True), 1, 1),
    "mean": (lambda a: jnp.mean(a, -1, keepdims=True), 1, 1),
    "centred": (lambda a: a - jnp.mean(a, -1, keepdims=True), 2, 2),
    "max": (lambda a: jnp.max(a, -1), 1, 1),
    "min": (lambda a: jnp.min(a, -1, keepdims=True), 1, 1),
    "max with a start": (lambda a: jnp.max(a, -1, initial=0.25), 1, 1),
    "amax": (lambda a: a - jnp.max(jnp.abs(a), -1, keepdims=True), 2, 2),
    "prod": (lambda a: jnp.prod(jnp.tanh(a), -1), 1, 1),
    "norm": (lambda a: jnp.linalg.norm(1 + jnp.abs(a), axis=-1), 1, 9),
    "norm of order 1": (lambda a: jnp.linalg.norm(a, ord=1, axis=-1, keepdims=True), 1, 1),
    "largest norm": (lambda a: jnp.linalg.norm(a, ord=jnp.inf, axis=-1), 1, 1),
    "std": (lambda a: jnp.sqrt(0.25 + jnp.var(a, -1)), 16, 4),
    "var": (lambda a: jnp.var(a, -1, keepdims=True), 16, 4),
    "ptp": (lambda a: jnp.ptp(a, -1), 2, 2),
    "median": (lambda a: jnp.median(a, -1), 1, 2),
    "softmax": (lambda a: nn.softmax(a, axis=-1), 2, 2),
    "masked softmax": (
        lambda a: nn.softmax(jnp.where(np.arange(a.shape[-1]) % 2 == 0, a, -jnp.inf), axis=-1),
        2,
        2,
    ),
    "masked max": (
        lambda a: jnp.max(a, -1, where=np.arange(a.shape[-1]) % 2 == 0, initial=-jnp.inf),
        1,
        1,
    ),
    "log softmax": (lambda a: nn.log_softmax(a, axis=-1), 2, 8),
    "logsumexp": (lambda a: nn.logsumexp(a, axis=-1), 1, 8),
    "logsumexp, kept": (lambda a: jax.scipy.special.logsumexp(a, axis=-1, keepdims=True), 1, 8),
    "logmeanexp": (lambda a: nn.logmeanexp(a, axis=-1), 1, 8),
    "standardize": (lambda a: nn.standardize(a, axis=-1, epsilon=0.5), 16, 8),
    "glu": (lambda a: nn.glu(jnp.concatenate([a, a], -1)), 2, 1),
    "cumsum": (lambda a: jnp.cumsum(a, axis=-1), 1, 1),
    "cumsum back": (lambda a: lax.cumsum(a, axis=a.ndim - 1, reverse=True), 1, 1),
    "cumprod": (lambda a: jnp.cumprod(jnp.tanh(a), axis=-1), 1, 1),
    "cumlogsumexp": (lambda a: lax.cumlogsumexp(a, axis=a.ndim - 1), 1, 8),
    "diff": (lambda a: jnp.diff(a, axis=-1, prepend=0.0), 2, 2),
    "trapezoid": (lambda a: jnp.trapezoid(a, axis=-1), 1, 1),
    "average": (lambda a: jnp.average(a, -1, weights=jnp.arange(1.0, a.shape[-1] + 1)), 1, 8),
    "top": (lambda a: lax.top_k(a, 1)[0], 1, 1),
    "add at": (lambda a: a.at[..., 0].add(a[..., -1]), 2, 2),
    "associative scan": (lambda a: lax.associative_scan(jnp.add, a, axis=a.ndim - 1), 1, 1),
    "hypercube": (lambda a: jnp.linalg.vector_norm(jnp.stack([a, 1 + a * a], -1), axis=-1), 8, 8),
    "count": (lambda a: a / (1 + jnp.sum(jnp.abs(a), -1, keepdims=True)), 4, 1),
    "sum where": (lambda a: jnp.sum(a, -1, where=np.arange(a.shape[-1]) % 2 == 0), 1, 1),
    "convolve": (
        lambda a: jnp.apply_along_axis(lambda v: jnp.convolve(v, jnp.array([0.5, 0.25])), -1, a),
        1,
        1,
    ),
}
"""Of channels: (function, slope over their number, size over their number and LIMIT)."""


@maker(5)
def reduced(g: Grower) -> int:
    x = g.pick("smooth", "smooth", "eighths", rank=1)
    n = g.number_of(x)
    name = g.one(*REDUCTIONS)
    function, slope, size = REDUCTIONS[name]
    return g.push(
        name,
        "smooth",
        function,
        x,
        slope=slope * n,
        size=size * n * LIMIT,
        roundings=2 * n + 3 * LIBM,
    )


COUNTS: dict[str, tuple[Function, str]] = {
    "argmax": (lambda a: jnp.argmax(a, -1), "int"),
    "argmin": (lambda a: jnp.argmin(a, -1, keepdims=True), "int"),
    "argsort": (lambda a: jnp.argsort(a, axis=-1), "int"),
    "argsort down": (lambda a: jnp.argsort(a, axis=-1, descending=True), "int"),
    "rank of largest": (lambda a: lax.top_k(a, 1)[1].astype(jnp.int64), "int"),
    "count nonzero": (lambda a: jnp.count_nonzero(a, axis=-1).astype(jnp.int64), "int"),
    "any": (lambda a: jnp.any(a > 0, -1), "bool"),
    "all": (lambda a: jnp.all(a > -0.5, -1, keepdims=True), "bool"),
    "equal to the largest": (lambda a: a == jnp.max(a, -1, keepdims=True), "bool"),
    "number above": (lambda a: jnp.sum(a > 0.25, -1).astype(jnp.int64), "int"),
    "one hot": (lambda a: nn.one_hot(jnp.argmax(a, -1), 3), "eighths"),
    "sum of floors": (lambda a: jnp.mod(jnp.sum(jnp.floor(a), -1), 4.0), "eighths"),
    "array equal": (lambda a: jnp.all(a == a[..., ::-1], -1), "bool"),
    "median of three": (lambda a: jnp.median(a[..., :1], -1), "eighths"),
}


@maker(3)
def counted(g: Grower) -> int:
    x = g.pick("eighths", rank=1)
    name = g.one(*COUNTS)
    function, pool = COUNTS[name]
    return g.push(name, pool, function, x)


@maker(1)
def layer(g: Grower) -> int:
    """A Flax layer for each sample."""
    x = g.pick("smooth", "eighths", rank=1)
    n = g.number_of(x)
    options: Any = {"rngs": nnx.Rngs(g.number(0, 99)), "param_dtype": jnp.float64}
    kind = g.one("norm", "rms", "linear", "einsum")
    if kind == "norm":
        made, slope, size = nnx.LayerNorm(n, epsilon=0.5, **options), 32, 16
    elif kind == "rms":
        made, slope, size = nnx.RMSNorm(n, epsilon=0.5, **options), 32, 16
    else:
        # Weights of a normal distribution of variance 1 / n, cut at two deviations.
        made, slope, size = nnx.Linear(n, 3, **options), 3.0 * n, 6.0 * n

    def apply(v: jax.Array) -> jax.Array:
        with jax.numpy_dtype_promotion("standard"):  # Flax's norms mix precisions in their code
            return made(v)

    return g.push(
        kind, "smooth", apply, x, slope=slope * n, size=size * n, roundings=2 * n + 4 * LIBM
    )
