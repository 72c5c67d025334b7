"""What no causal function does: each of these reads samples that have not arrived yet."""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

NON_CAUSAL: list[Callable[[Array], Array]] = []
"""Functions of smooth audio (time, channels) with as many samples and channels."""


def _ingredient(function: Callable[[Array], Array]) -> Callable[[Array], Array]:
    NON_CAUSAL.append(function)
    return function


@_ingredient
def reversed_in_time(x: Array) -> Array:
    return x[::-1]


@_ingredient
def flipped(x: Array) -> Array:
    return jnp.flip(x, axis=0) * 0.5


@_ingredient
def filtered_by_spectrum(x: Array) -> Array:
    return jnp.fft.irfft(jnp.fft.rfft(x, axis=0), n=len(x), axis=0)


@_ingredient
def centred(x: Array) -> Array:
    return x - x.mean(0)


@_ingredient
def normalised(x: Array) -> Array:
    return x / (1 + jnp.max(jnp.abs(x), axis=0, keepdims=True))


@_ingredient
def scaled_by_energy(x: Array) -> Array:
    return x / jnp.sqrt(1 + jnp.einsum("tc,tc->", x, x))


@_ingredient
def deviation(x: Array) -> Array:
    return x * jnp.std(x, axis=0)


@_ingredient
def sorted_in_time(x: Array) -> Array:
    return jnp.sort(x, axis=0)


@_ingredient
def ranked(x: Array) -> Array:
    return jnp.argsort(x, axis=0).astype(x.dtype)


@_ingredient
def largest_first(x: Array) -> Array:
    return lax.top_k(x.T, 1)[0].T * x


@_ingredient
def place_of_the_largest(x: Array) -> Array:
    return x * jnp.argmax(x, axis=0).astype(x.dtype)


@_ingredient
def median(x: Array) -> Array:
    return x - jnp.median(x, axis=0)


@_ingredient
def held(x: Array) -> Array:
    return jnp.repeat(x[::2], 2, axis=0)[: len(x)]


@_ingredient
def ahead(x: Array) -> Array:
    return jnp.concatenate([x[3:], jnp.zeros_like(x[:3])])


@_ingredient
def ahead_by_pad(x: Array) -> Array:
    return jnp.pad(x, ((0, 1), (0, 0)))[1:]


@_ingredient
def too_little_delay(x: Array) -> Array:
    return jnp.pad(jnp.sin(x[3:]), ((2, 1), (0, 0)))


@_ingredient
def negative_pad(x: Array) -> Array:
    return lax.pad(x, jnp.zeros((), x.dtype), [(-2, 2, 0), (0, 0, 0)])


@_ingredient
def forward_difference(x: Array) -> Array:
    return jnp.diff(x, axis=0, append=jnp.zeros_like(x[:1]))


@_ingredient
def central_difference(x: Array) -> Array:
    return jnp.gradient(x, axis=0)  # type: ignore[return-value]


@_ingredient
def rolled_back(x: Array) -> Array:
    return jnp.roll(x, -1, axis=0)


@_ingredient
def rolled(x: Array) -> Array:
    return jnp.roll(x, 2, axis=0)


@_ingredient
def convolved_same(x: Array) -> Array:
    h = jnp.ones((1, 1, 3), x.dtype) / 3
    return lax.conv_general_dilated(x.T[:, None], h, (1,), "SAME")[:, 0].T


@_ingredient
def smoothed_both_ways(x: Array) -> Array:
    h = jnp.ones(5, x.dtype) / 5
    return jax.vmap(lambda v: jnp.convolve(v, h, mode="same"), 1, 1)(x)


@_ingredient
def moving_mean(x: Array) -> Array:
    return lax.reduce_window(x, 0.0, lax.add, (3, 1), (1, 1), "SAME") / 3


@_ingredient
def scanned_from_the_end(x: Array) -> Array:
    return lax.scan(lambda s, v: (0.5 * s + v, s), jnp.zeros_like(x[0]), x, reverse=True)[1]


@_ingredient
def cumulated_from_the_end(x: Array) -> Array:
    return lax.cumsum(x, axis=0, reverse=True)


@_ingredient
def last_state(x: Array) -> Array:
    return x + lax.scan(lambda s, v: (0.5 * s + v, v), jnp.zeros(x.shape[1:], x.dtype), x)[0]


@_ingredient
def last_sample(x: Array) -> Array:
    return x + x[-1:]


@_ingredient
def sixth_sample(x: Array) -> Array:
    return x * x[5]


@_ingredient
def share_of_the_sum(x: Array) -> Array:
    return jnp.cumsum(x, axis=0) / (1 + jnp.cumsum(x * x, axis=0)[-1])


@_ingredient
def softmax_over_time(x: Array) -> Array:
    return jax.nn.softmax(x, axis=0)


@_ingredient
def indexed_backwards(x: Array) -> Array:
    return x[jnp.arange(len(x))[::-1]]


@_ingredient
def taken(x: Array) -> Array:
    return jnp.take(x, np.array([9, 2]), axis=0).sum(0) + x


@_ingredient
def covariance(x: Array) -> Array:
    return x @ (x.T @ x)


@_ingredient
def mixed_axes(x: Array) -> Array:
    return jnp.roll(x.reshape(-1), -1).reshape(x.shape)


@_ingredient
def turned(x: Array) -> Array:
    return jnp.rot90(x, 2)


@_ingredient
def peak_by_map(x: Array) -> Array:
    return x / (1 + lax.fori_loop(0, 3, lambda k, p: jnp.maximum(p, jnp.abs(x).max()), 0.0))


@_ingredient
def until_quiet(x: Array) -> Array:
    return lax.while_loop(lambda v: jnp.sum(v * v) > 1, lambda v: 0.5 * v, x)


@_ingredient
def by_the_whole(x: Array) -> Array:
    return lax.cond(jnp.any(x > 0.5), lambda v: v, lambda v: -v, x)


@_ingredient
def written_over(x: Array) -> Array:
    return x.at[3].set(x[7])


@_ingredient
def cut_at_the_end(x: Array) -> Array:
    return jnp.pad(0.5 * x[:-3], ((0, 3), (0, 0)))


@_ingredient
def first_sample(x: Array) -> Array:
    return x + x[:1]
