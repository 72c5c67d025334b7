"""Delay lines."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jax.typing import ArrayLike

SLICES = 8
"""Up to this many channels a ragged delay is read by slices, whose derivative is cheap, above by
one gather of runs; by that too where the place is traced, as in loops: slices would be made part
of all that uses them, and what they read be copied before it is written."""


def delay_read(past: Array, samples: tuple[int, ...], length: int, start: ArrayLike = 0) -> Array:
    """Reads `length` samples of delay lines that end at the present.

    Args:
        past: (*channels, history + …): the last samples before the block, and the block's own as
            far as they are known. Sample t of the block is at `past[..., start + history + t]`.
        samples: A delay for each channel, at most `history` = max(samples), row-major.
        length: Samples to read; needs `past` to hold `start + history + length - min(samples)`
            samples.
        start: Where the block's history begins; may be traced.
    """
    history = max(samples, default=0)
    channels = past.shape[:-1]
    if len(set(samples)) <= 1:
        return run(past, history - (samples[0] if samples else 0), length, start)
    lines = past.reshape(-1, past.shape[-1])
    begins = [history - m for m in samples]
    if isinstance(start, int) and len(samples) <= SLICES:
        rows = [lines[k : k + 1, start + b : start + b + length] for k, b in enumerate(begins)]
        return jnp.concatenate(rows).reshape(*channels, length)
    at = np.array(begins, np.int32) + jnp.asarray(start, jnp.int32)
    numbers = lax.GatherDimensionNumbers(
        offset_dims=(1,), collapsed_slice_dims=(0,), start_index_map=(0, 1)
    )
    indices = jnp.stack([jnp.arange(len(begins), dtype=jnp.int32), at], axis=1)
    found = lax.gather(
        lines, indices, numbers, (1, length), mode="promise_in_bounds", unique_indices=True
    )
    return found.reshape(*channels, length)


def run(x: Array, begin: int, length: int, start: ArrayLike = 0) -> Array:
    """The samples from start + begin on; `start` may be traced."""
    if isinstance(start, int):
        return x[..., start + begin : start + begin + length]
    return lax.dynamic_slice_in_dim(x, start + begin, length, axis=-1)


def delay(past: Array, x: Array, samples: tuple[int, ...]) -> tuple[Array, Array]:
    """y_i[t] = x_i[t - samples_i]; `past` (*channels, max(samples)) is the state."""
    joined = jnp.concatenate([past.astype(x.dtype), x], axis=-1)
    length = x.shape[-1]
    return joined[..., length:], delay_read(joined, samples, length)


def variable_read(past: Array, d: Array, low: int, high: int, length: int) -> Array:
    """Reads `length` samples of delay lines d back; `past` (*channels, high + length)."""
    shape = (*past.shape[:-1], length)
    lengths = jnp.clip(jnp.broadcast_to(d, shape), low, high)
    at = jnp.arange(length, dtype=lengths.dtype) + high - lengths
    return jnp.take_along_axis(past, at, axis=-1)


def variable_delay(past: Array, x: Array, d: Array, low: int, high: int) -> tuple[Array, Array]:
    """y[t] = x[t - clip(d[t], low, high)]; state (*channels, high), d integers."""
    joined = jnp.concatenate([past.astype(x.dtype), x], axis=-1)
    length = x.shape[-1]
    return joined[..., length:], variable_read(joined, d, low, high, length)
