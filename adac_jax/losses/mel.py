"""Differences between mel spectrograms."""

from __future__ import annotations

from functools import lru_cache
from typing import Literal

import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float

from adac_jax.losses.numeric import check_pair
from adac_jax.losses.stft import power_floor, spectrum_power

MelScale = Literal["slaney", "htk"]
RESOLUTIONS = ((1024, 40), (2048, 80), (4096, 128))
"""Samples of the FFT, which are also those of the window, and mel bands."""


def mel(
    prediction: Float[Array, "*batch time channels"],
    target: Float[Array, "*batch time channels"],
    sample_rate: float,
    resolutions: tuple[tuple[int, int], ...] = RESOLUTIONS,
    scale: MelScale = "slaney",
    floor_db: float = -80.0,
) -> Float[Array, ""]:
    """Distance of log mel spectrograms, at several resolutions.

        mean |ln M S - ln M Ŝ|

    with the magnitudes S of the target and Ŝ of the prediction and a bank M of triangular filters.
    Source: Kong, Kim and Bae, "HiFi-GAN" (NeurIPS 2020); several resolutions as in
    Kumar et al., "High-fidelity audio compression with improved RVQGAN" (NeurIPS 2023).
    Frames have a Hann window and a quarter of it as their hop; the magnitudes have a floor as
    in `multi_resolution_stft`.

    Args:
        prediction: (..., time, channels).
        target: Of the same shape.
        sample_rate: fs in Hz.
        resolutions: Of each, the samples of the FFT and the number of mel bands up to fs/2.
        scale: "slaney": linear up to 1 kHz and logarithmic above (Slaney, Auditory Toolbox, 1998);
            "htk": 2595 lg(1 + f/700).
        floor_db: Floor of the magnitudes in dB re the target's largest, in each channel.

    Raises:
        ValueError: the shapes differ, or there are more bands than the FFT resolves.
    """
    check_pair(prediction, target)
    terms = []
    for size, bands in resolutions:
        filters = jnp.asarray(mel_filters(size, bands, float(sample_rate), scale), target.dtype)
        resolution = (size, size // 4, size)
        ours = spectrum_power(prediction, resolution, "hann")
        theirs = spectrum_power(target, resolution, "hann")
        floor = power_floor(theirs, floor_db)
        ours, theirs = (jnp.log(jnp.sqrt(p + floor) @ filters.T) for p in (ours, theirs))
        terms.append(jnp.mean(jnp.abs(theirs - ours)))
    return jnp.mean(jnp.stack(terms))


@lru_cache(maxsize=32)
def mel_filters(
    size: int, bands: int, sample_rate: float, scale: MelScale = "slaney"
) -> Float[np.ndarray, "bands bins"]:
    """Triangles between points evenly spaced in mel from 0 to fs/2; each sums to 1.

    Args:
        size: Samples of the FFT.
        bands: Number of filters.
        sample_rate: fs in Hz.
        scale: As in `mel`.

    Raises:
        ValueError: `scale` is unknown, or a filter lies between two bins.
    """
    if scale not in ("slaney", "htk"):
        raise ValueError(f"`scale` (={scale!r}) must be 'slaney' or 'htk'.")
    top = _to_mel(np.array(sample_rate / 2), scale)
    edges = _to_hertz(np.linspace(0, top, bands + 2), scale)
    f = np.arange(size // 2 + 1) * sample_rate / size
    below, centre, above = edges[:-2, None], edges[1:-1, None], edges[2:, None]
    filters = np.maximum(
        0, np.minimum((f - below) / (centre - below), (above - f) / (above - centre))
    )
    total = filters.sum(1, keepdims=True)
    if not total.all():
        raise ValueError(
            f"`resolutions` (with {bands} bands for an FFT of {size}) must have fewer bands at "
            f"{sample_rate:g} Hz: some lie between two bins."
        )
    filters /= total
    filters.flags.writeable = False
    return filters


_LINEAR = 200 / 3  # Hz a mel below 1 kHz, in Slaney's scale
_RATIO = np.log(6.4) / 27  # of frequencies, natural logarithm a mel, above


def _to_mel(f: np.ndarray, scale: MelScale) -> np.ndarray:
    if scale == "htk":
        return 2595 * np.log10(1 + f / 700)
    return np.where(f < 1000, f / _LINEAR, 15 + np.log(np.maximum(f, 1000) / 1000) / _RATIO)


def _to_hertz(m: np.ndarray, scale: MelScale) -> np.ndarray:
    if scale == "htk":
        return 700 * (10 ** (m / 2595) - 1)
    return np.where(m < 15, m * _LINEAR, 1000 * np.exp(_RATIO * (np.maximum(m, 15) - 15)))
