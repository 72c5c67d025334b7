"""Primitives whose rules are made of others: the graph computes what JAX computes."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax
from readings import compared_with_jax, in_faust

LENGTH = 40
# Float64, at most a few dozen operations on numbers below 8: 100 * 8 * 2^-53 = 9e-14.
TOLERANCE = 1e-13


def noise(channels: int = 5) -> np.ndarray:
    return np.random.default_rng(3).uniform(-1, 1, (LENGTH, channels))


MASK = np.array([True, False, True, True, False])
CASES = {
    "unstack": lambda x: jnp.stack([v * k for k, v in enumerate(jnp.unstack(x, axis=1))], axis=1),
    "argmax": lambda x: jnp.argmax(x, axis=1, keepdims=True) / 3.0,
    "argmin": lambda x: jnp.argmin(x, axis=1, keepdims=True) / 3.0,
    "argmax of equals": lambda x: jnp.argmax(jnp.round(2 * x), axis=1, keepdims=True) / 3.0,
    "any and all": lambda x: jnp.stack([(x > 0).any(1), (x > -0.9).all(1)], axis=1) / 1.0,
    "sort": lambda x: jnp.sort(x, axis=1),
    "sort, descending": lambda x: jnp.sort(x, axis=1, descending=True),
    "argsort": lambda x: jnp.argsort(x, axis=1) / 7.0,
    "stable argsort": lambda x: jnp.argsort(jnp.round(x), axis=1, stable=True) / 7.0,
    "median": lambda x: jnp.median(x, axis=1, keepdims=True),
    "largest": lambda x: jnp.concatenate([v.astype(x.dtype) for v in lax.top_k(x, 2)], axis=1),
    "is finite": lambda x: jnp.where(jnp.isfinite(x), x, 0.0),
    "inverse error function": lambda x: jax.scipy.special.erfinv(0.999 * x),
    "set": lambda x: x.at[:, 1].set(jnp.sin(x[:, 0])),
    "set several": lambda x: x.at[:, np.array([3, 0])].set(x[:, 1:3]),
    "set to a number": lambda x: x.at[:, np.array([3, 0])].set(0.5),
    "signal set into zeros": lambda x: jnp.zeros_like(x).at[:, 1:3].set(x[:, :2]),
    "update a slice": lambda x: lax.dynamic_update_slice_in_dim(x, 2 * x[:, :2], 3, 1),
    "choose among three": lambda x: lax.select_n(
        jnp.clip((1.5 * x + 1.5).astype(jnp.int32), 0, 2), x, 2 * x, -x
    ),
    "moving maximum": lambda x: lax.reduce_window(
        jnp.pad(x, ((3, 0), (0, 0))), -jnp.inf, lax.max, (4, 1), (1, 1), "VALID"
    ),
    "moving sum": lambda x: lax.reduce_window(x, 0.0, lax.add, (4, 1), (1, 1), [(3, 0), (0, 0)]),
    "moving minimum": lambda x: lax.reduce_window(
        jnp.pad(x, ((3, 0), (0, 0))), jnp.inf, lax.min, (4, 1), (1, 1), "VALID"
    ),
    "precision that is there": lambda x: lax.reduce_precision(x, 11, 52),
    "softmax": lambda x: jax.nn.softmax(x, axis=1),
    "log of a sum of exponentials": lambda x: jax.nn.logsumexp(x, axis=1, keepdims=True),
    "hypot": lambda x: jnp.hypot(x, x[:, ::-1]),
    "below infinity": lambda x: jnp.where((x < jnp.inf) & (-jnp.inf != x), x, 2.0),
    "NaN to numbers": jnp.nan_to_num,
    "floor divided": lambda x: jnp.floor_divide(x, 0.25),
    "halves away from zero": lambda x: lax.round(jnp.round(8 * x) / 2) / 4,
    "edges padded": lambda x: jnp.pad(x, ((0, 0), (1, 2)), mode="edge"),
    "masked maximum": lambda x: jnp.max(x, 1, keepdims=True, where=MASK, initial=-jnp.inf),
    "masked softmax": lambda x: jax.nn.softmax(jnp.where(MASK, x, -jnp.inf), axis=1),
    "clamped from below infinity": lambda x: lax.clamp(-jnp.inf, x, 0.25),
    "set later": lambda x: jnp.zeros_like(x).at[3:].set(x[:-3]),
    "added later": lambda x: x.at[3:].add(0.5 * jnp.cos(x[:-3])),
    "set later, ahead": lambda x: jnp.zeros_like(x).at[4:].set(jnp.cos(x[3:-1])),
    "reshape with an order": lambda x: lax.reshape(
        x[:, :4].reshape(-1, 2, 2), (len(x), 4), (0, 2, 1)
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_graph_computes_what_jax_computes(name):
    compared_with_jax(CASES[name], noise(), TOLERANCE, (in_faust,))
