"""Test signals, all (time, 1), in float64."""

from __future__ import annotations

import numpy as np
from scipy import signal

SEED = 20260101


def impulse(length: int) -> np.ndarray:
    """One at the first sample."""
    x = np.zeros((length, 1))
    x[:1] = 1.0
    return x


def noise(length: int, channel: int = 0) -> np.ndarray:
    """White, uniform in -1 … 1, the same at every call, another in every channel."""
    return np.random.default_rng(SEED + channel).uniform(-1, 1, (length, 1))


def sweep(length: int, sample_rate: float) -> np.ndarray:
    """Exponential sine sweep from 20 Hz to 0.45 of the rate, faded at both ends."""
    t = np.arange(length) / sample_rate
    top = 0.45 * sample_rate
    x = signal.chirp(t, 20.0, t[-1] if length > 1 else 1.0, top, method="logarithmic", phi=-90)
    fade = np.minimum(1, np.minimum(np.arange(length), np.arange(length)[::-1]) / 64)
    return (x * fade)[:, None]


def burst(length: int, channel: int = 0) -> np.ndarray:
    """Noise for an eighth of the time, then silence."""
    x = noise(length, channel)
    x[length // 8 :] = 0
    return x


def plucked(length: int, sample_rate: float) -> np.ndarray:
    """Strings plucked four times a second, from 82 to 330 Hz: eleven partials, each decaying.

    Partial k of a string is sin(2π k f t) exp(-(3 + k) t) / k; partials above 0.45 of the rate are
    left out, and the loudest sample is 1.
    """
    t = np.arange(length) / sample_rate
    x = np.zeros(length)
    for number in range(int(np.ceil(length * 4 / sample_rate))):
        begin, f = number / 4, 82.4 * 2 ** (STEPS[number % len(STEPS)] / 12)
        k = np.arange(1, 12)
        k = k[k * f < 0.45 * sample_rate, None]
        since = t[t >= begin] - begin
        partials = np.sin(2 * np.pi * k * f * since) * np.exp(-(3 + k) * since) / k
        x[t >= begin] += partials.sum(0)
    return (x / max(np.max(np.abs(x), initial=0.0), 1e-12))[:, None]


STEPS = (0, 7, 12, 16, 19, 12, 24, 3, 10, 15, 5)
"""Semitones above the lowest string."""
