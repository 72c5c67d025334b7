"""Finite impulse responses."""

from __future__ import annotations

import jax.numpy as jnp
from jax import Array
from scipy.fft import next_fast_len

FIR_DIRECT = 48
"""Up to this many taps a sum of shifted products; above, a product of spectra."""


def fir(past: Array, x: Array, taps: Array) -> tuple[Array, Array]:
    """y[t] = sum_k taps[k] x[t - k]; taps (*channels, count), `past` (*channels, count - 1)."""
    joined = jnp.concatenate([past.astype(x.dtype), x], axis=-1)
    count, length = taps.shape[-1], x.shape[-1]
    if count <= FIR_DIRECT or length <= FIR_DIRECT:
        last = count - 1
        y = sum(
            taps[..., k, None] * joined[..., last - k : last - k + length] for k in range(count)
        )
    else:
        size = next_fast_len(joined.shape[-1], real=True)
        spectrum = jnp.fft.rfft(joined, size) * jnp.fft.rfft(taps, size)
        # The first count - 1 samples hold what wraps round and what came before the block.
        y = jnp.fft.irfft(spectrum, size)[..., count - 1 : count - 1 + length].astype(x.dtype)
    return joined[..., length:], jnp.asarray(y)
