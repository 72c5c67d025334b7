"""How far from flat a frequency response is."""

from __future__ import annotations

import jax.numpy as jnp
from jax import Array
from jaxtyping import Complex, Float, Inexact

from adac_jax.kernels import rfft
from adac_jax.losses.numeric import channels_first, power, safe_sqrt

LEAST = 1e-12
"""What is added to a relative power before its logarithm is taken: −120 dB."""


def spectrum(
    response: Float[Array, "*batch time channels"],
) -> Complex[Array, "*batch frequency channels"]:
    """H[k] = Σ_t h[t] exp(-2πi k t / n) of impulse responses h of n samples, for k = 0 … n/2.

    What `jnp.fft.rfft` gives along time, by the fastest way there is here for the length.

    Args:
        response: h.
    """
    return jnp.moveaxis(rfft(channels_first(response)), -1, -2)


def colourless(response: Inexact[Array, "*shape"]) -> Float[Array, ""]:
    """Mean of (|H| - 1)².

    Source: Dal Santo, Prawda, Schlecht and Välimäki, "Differentiable feedback delay network for
    colorless reverberation" (DAFx 2023).

    Args:
        response: H at frequencies of any number and order, complex, or its magnitude.
    """
    return jnp.mean((safe_sqrt(power(response)) - 1) ** 2)


def colourless_asymmetric(response: Inexact[Array, "*shape"]) -> Float[Array, ""]:
    """Mean of (|H| - 1)² where |H| ≤ 1, and of (|H| - 1)^4 where |H| > 1.

    It grows fastest beyond |H| = 2: the high peaks of resonances, which ring, cost more than
    anything else, and lower ones cost less than notches as deep. Source: the loss `asy_p_loss` of
    the program that accompanies Dal Santo, Prawda, Schlecht and Välimäki (DAFx 2023).

    Args:
        response: H at frequencies of any number and order, complex, or its magnitude.
    """
    excess = safe_sqrt(power(response)) - 1
    return jnp.mean(jnp.where(excess > 0, excess**4, excess**2))


def spectral_flatness(response: Inexact[Array, "*batch frequency channels"]) -> Float[Array, ""]:
    """One minus the geometric over the arithmetic mean of |H|²: 0 if flat, at most 1.

        1 - exp(mean ln |H|²) / mean |H|²

    over frequency, as the mean over channels and batch; a factor on H does not change it. Source:
    Gray and Markel, "A spectral-flatness measure for studying the autocorrelation method of linear
    prediction of speech analysis" (IEEE Transactions on Acoustics, Speech, and Signal Processing
    22(3), 1974).

    Args:
        response: H at evenly spaced frequencies, complex, or its magnitude.
    """
    squared = power(response)
    mean = jnp.maximum(jnp.mean(squared, axis=-2, keepdims=True), LEAST)
    geometric = jnp.exp(jnp.mean(jnp.log(squared / mean + LEAST), axis=-2))
    return 1 - jnp.mean(geometric)
