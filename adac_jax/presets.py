"""Models to begin with."""

from __future__ import annotations

import numpy as np
from flax import nnx

from adac_jax.nn.delays import mutually_prime_delays
from adac_jax.nn.fdn import FDN
from adac_jax.nn.first_order import OnePole

LINES = 16
SHORTEST, LONGEST = 0.020, 0.080
"""Seconds of the delay lines: echoes of a room some metres wide, dense within 0.1 s."""
T60_LOW, T60_HIGH = 2.0, 0.8
"""Seconds of decay by 60 dB at zero frequency and at half the sample rate."""
LEVEL = 1.0
"""Gain of the outputs."""


def hall(sample_rate: float = 48000.0) -> FDN:
    """A stereo reverberator of 16 lines, wet only.

    Lines of mutually prime lengths, one-pole absorption for each (Jot and Chaigne, AES 90th
    Convention, 1991), a random orthogonal matrix, and orthonormal gains in and out, so that left
    and right stay apart.

    Args:
        sample_rate: Hertz.
    """
    rngs = nnx.Rngs(1)
    m = mutually_prime_delays(LINES, round(SHORTEST * sample_rate), round(LONGEST * sample_rate))
    absorption = OnePole.from_t60(T60_LOW, T60_HIGH, m, sample_rate=sample_rate)
    b, c = (nnx.initializers.orthogonal()(rngs.params(), (LINES, 2)) for _ in "bc")
    model = FDN(
        m,
        matrix="orthogonal",
        absorption=absorption,
        input_gain=np.asarray(b),
        output_gain=LEVEL * np.asarray(c).T,
        rngs=rngs,
    )
    model.sample_rate = sample_rate  # type: ignore[attr-defined]
    return model
