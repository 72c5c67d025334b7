"""From reverberation time to gain."""

from __future__ import annotations

from typing import Any


def attenuation_db(t60: Any, samples: Any, sample_rate: float) -> Any:
    """The gain in dB of one pass through m samples, for a decay of 60 dB in T60 seconds.

    -60 m / (fs T60). Source: Jot and Chaigne, "Digital delay networks for designing artificial
    reverberators" (AES Convention 90, 1991), section 3. NumPy or JAX values alike.

    Args:
        t60: T60 > 0 in seconds.
        samples: m in samples.
        sample_rate: fs in Hz.
    """
    return -60.0 * samples / (sample_rate * t60)
