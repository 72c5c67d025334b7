"""Differences between spectrograms at several resolutions."""

from __future__ import annotations

from functools import lru_cache

import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float
from scipy import signal

from adac_jax.losses.numeric import SILENCE, channels_first, check_pair, power, safe_sqrt

Resolution = tuple[int, int, int]
"""Samples of an FFT, between two frames, and of the window."""
RESOLUTIONS: tuple[Resolution, ...] = ((1024, 120, 600), (2048, 240, 1200), (512, 50, 240))
"""Yamamoto et al., table 1, there for 24 kHz."""


def multi_resolution_stft(
    prediction: Float[Array, "*batch time channels"],
    target: Float[Array, "*batch time channels"],
    resolutions: tuple[Resolution, ...] = RESOLUTIONS,
    window: str = "hann",
    floor_db: float = -80.0,
) -> Float[Array, ""]:
    """Spectral convergence and log magnitude, at several resolutions.

    With the magnitudes S of the target and Ŝ of the prediction, over frames and bins,

        ‖S - Ŝ‖_F / ‖S‖_F + mean |ln S - ln Ŝ|,

    as the mean over resolutions, channels and batch. Source: Yamamoto, Song and Kim, "Parallel
    WaveGAN" (ICASSP 2020). A magnitude is √(|X|² + ε²), ε being `floor_db` re the
    target's largest, so that what nobody hears does not decide. The signals are taken to be
    silent before and after, and every sample lies in as many frames.

    Args:
        prediction: (..., time, channels).
        target: Of the same shape.
        resolutions: Of each, the samples of the FFT, of the hop and of the window, which is no
            longer than the FFT.
        window: Name of a window of `scipy.signal.get_window`.
        floor_db: ε in dB re the largest magnitude of the target, in each channel.

    Raises:
        ValueError: the shapes differ, or a resolution is not in order.
    """
    check_pair(prediction, target)
    terms = [
        _distance(*_magnitudes(prediction, target, resolution, window, floor_db))
        for resolution in resolutions
    ]
    return jnp.mean(jnp.stack(terms))


def spectrum_power(
    x: Float[Array, "*batch time channels"], resolution: Resolution, window: str
) -> Float[Array, "*batch channels frames bins"]:
    """|STFT|²; the frames begin where the first reaches the first sample with its last hop."""
    size, hop, length = resolution
    if not 1 <= hop <= length <= size:
        raise ValueError(
            f"`resolutions` (with FFT {size}, hop {hop}, window {length}) must have "
            "1 ≤ hop ≤ window ≤ FFT."
        )
    x = channels_first(x)
    hops = -(-length // hop)
    frames = -(-x.shape[-1] // hop) + hops - 1
    before = (hops - 1) * hop
    after = (frames + hops - 1) * hop - before - x.shape[-1]
    x = jnp.pad(x, ((0, 0),) * (x.ndim - 1) + ((before, after),))
    # frames are put together of whole hops: slices, whose gradient is cheap, in place of a gather
    pieces = x.reshape(*x.shape[:-1], frames + hops - 1, hop)
    parts = [pieces[..., k : k + frames, :] for k in range(hops)]
    framed = jnp.concatenate(parts, axis=-1)[..., :length]
    weights = jnp.asarray(_window(window, length), x.dtype)
    return power(jnp.fft.rfft(framed * weights, size, axis=-1))


def power_floor(
    target: Float[Array, "*batch channels frames bins"], floor_db: float
) -> Float[Array, "*batch channels 1 1"]:
    """ε²: a power below the target's largest, in each channel."""
    largest = jnp.max(target, axis=(-2, -1), keepdims=True)
    return 10 ** (floor_db / 10) * largest + SILENCE


def _magnitudes(
    prediction: Array, target: Array, resolution: Resolution, window: str, floor_db: float
) -> tuple[Array, Array]:
    ours = spectrum_power(prediction, resolution, window)
    theirs = spectrum_power(target, resolution, window)
    floor = power_floor(theirs, floor_db)
    return jnp.sqrt(ours + floor), jnp.sqrt(theirs + floor)


def _distance(ours: Array, theirs: Array) -> Array:
    difference = safe_sqrt(jnp.sum((theirs - ours) ** 2, axis=(-2, -1)))
    convergence = difference / jnp.sqrt(jnp.sum(theirs**2, axis=(-2, -1)))
    return jnp.mean(convergence) + jnp.mean(jnp.abs(jnp.log(theirs) - jnp.log(ours)))


@lru_cache(maxsize=64)
def _window(name: str, length: int) -> np.ndarray:
    return np.asarray(signal.get_window(name, length))
