"""Velvet noise: sparse impulses of equal size and random sign."""

from __future__ import annotations

import numpy as np


def velvet_noise(
    length: int,
    density: float,
    sample_rate: float,
    channels: int | tuple[int, ...] = (),
    *,
    seed: int = 0,
) -> np.ndarray:
    """Taps of ±1, one at a random place in each interval of fs / density samples.

    Source: Välimäki, Holm-Rasmussen, Alary and Lehtonen, "Late reverberation synthesis using
    filtered velvet noise" (Applied Sciences 7(5), 2017), section 2.

    Args:
        length: Taps.
        density: Impulses a second, in (0, fs].
        sample_rate: fs in Hz.
        channels: Channels, each with a sequence of its own.
        seed: Of the random places and signs.

    Returns:
        (length, *channels), float64.

    Raises:
        ValueError: `length` or `density` is out of its range.
    """
    if length < 1:
        raise ValueError(f"`length` (={length}) must be at least 1.")
    if not 0 < density <= sample_rate:
        raise ValueError(f"`density` (={density}) must lie in (0, {sample_rate:g}] per second.")
    shape = (channels,) if isinstance(channels, int) else tuple(channels)
    random = np.random.default_rng(seed)
    step = sample_rate / density
    starts = np.arange(int(np.ceil(length / step))) * step
    taps = np.zeros((length, int(np.prod(shape))))
    for k in range(taps.shape[1]):
        places = np.floor(starts + random.uniform(0, 1, len(starts)) * step).astype(int)
        signs = random.choice([-1.0, 1.0], len(starts))
        inside = places < length
        taps[places[inside], k] = signs[inside]
    return taps.reshape(length, *shape)
