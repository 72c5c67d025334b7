"""What is taken for an impulse response, and where it begins."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int

ONSET = 0.1
"""The onset is the first sample that is no more than 20 dB below the largest."""


def channels_of(response: np.ndarray, name: str = "response") -> Float[np.ndarray, "time channels"]:
    """The response in float64 with an axis of channels, checked.

    Raises:
        ValueError: it is empty, not (time,) or (time, channels), not finite, or silent.
    """
    x = np.asarray(response, np.float64)
    if x.ndim not in (1, 2) or x.size == 0:
        raise ValueError(f"`{name}` (shape {x.shape}) must be (time,) or (time, channels).")
    x = x.reshape(len(x), -1)
    if not np.isfinite(x).all():
        raise ValueError(f"`{name}` must be finite, and has NaN or infinite samples.")
    silent = np.flatnonzero(~x.any(0))
    if len(silent):
        raise ValueError(f"`{name}` must not be silent, and channel {silent[0] + 1} is.")
    return x


def onset(response: Float[np.ndarray, " time *channels"]) -> Int[np.ndarray, "*channels"]:
    """The sample at which the response begins.

    The first that is no more than 20 dB below the largest. Source: ISO 3382-1:2009,
    annex A.

    Args:
        response: (time,) or (time, channels).

    Returns:
        One number, or one a channel.
    """
    x = np.abs(channels_of(response))
    first = np.argmax(x >= ONSET * np.max(x, axis=0), axis=0)
    return first.reshape(np.shape(response)[1:])
