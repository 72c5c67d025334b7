"""Reverberation times from energy decay curves."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float
from scipy import stats

from adac_jax.metrics.decay import EnergyDecay

MARGIN_DB = 5.0
"""The curve must be data for so many dB more than are evaluated."""
RANGES = (30.0, 20.0, 15.0, 10.0)
"""Ranges below −5 dB over which a decay is evaluated, the first for which there is data."""


def reverberation_time(
    decay: EnergyDecay, upper: float, lower: float
) -> Float[np.ndarray, "*bands *channels"]:
    """Seconds in which the level falls by 60 dB, from a line through a part of the curve.

    T = -60 / slope, the slope in dB/s being that of the least-squares line through the levels from
    `upper` down to `lower`: T30 from −5 to −35 dB, T20 from −5 to −25 dB, EDT from 0 to −10 dB.
    Source: ISO 3382-1:2009 and ISO 3382-2:2008.

    Args:
        decay: The curves.
        upper: Where the line begins, in dB, at most 0.
        lower: Where the line ends, in dB, below `upper`.

    Returns:
        Of each band and channel; NaN where the curve is not data 5 dB further than `lower`.

    Raises:
        ValueError: `upper` and `lower` are not in this order.
    """
    if not lower < upper <= 0:
        raise ValueError(f"`upper` (={upper}) must lie above `lower` (={lower}) dB, and at most 0.")
    return _regress(decay, np.full(decay.total.shape, upper), np.full(decay.total.shape, lower))


def evaluation_range(decay: EnergyDecay) -> Float[np.ndarray, "*bands *channels"]:
    """The largest range in dB, of 30, 20, 15 and 10, that fits below −5 dB; 0 if none does."""
    room = decay.range_db - 5.0 - MARGIN_DB
    fits = [(room >= size) * size for size in RANGES]
    return np.max(fits, axis=0)


def extrapolated_time(
    decay: EnergyDecay, range_db: Float[np.ndarray, "*bands *channels"]
) -> Float[np.ndarray, "*bands *channels"]:
    """Reverberation time from −5 dB down by a range that each band has for itself.

    Args:
        decay: The curves.
        range_db: As `evaluation_range` gives it; where it is 0 the time is NaN.
    """
    upper = np.full(decay.total.shape, -5.0)
    return _regress(decay, upper, np.where(range_db > 0, upper - range_db, np.nan))


def _regress(decay: EnergyDecay, upper: np.ndarray, lower: np.ndarray) -> np.ndarray:
    levels = decay.level_db
    data = decay.range_db
    times = np.full(decay.total.shape, np.nan)
    for index in np.ndindex(times.shape):
        if not data[index] >= MARGIN_DB - lower[index]:
            continue
        level = levels[:, *index]
        first = int(np.searchsorted(-level, -upper[index]))
        last = int(np.searchsorted(-level, -lower[index], side="right"))
        if last - first < 2 or last == len(level):
            continue
        line = stats.linregress(np.arange(first, last), level[first:last])
        slope = line.slope  # type: ignore[attr-defined]
        times[index] = -60 / (slope * decay.sample_rate)
    return times
