"""What is measured of a room's impulse response, in NumPy and float64.

A response is (time,) or (time, channels). Results are of each channel, and of each octave band
where bands are asked for: (*bands, *channels).
"""

from adac_jax.metrics.clarity import centre_time, clarity, definition, direct_to_reverberant
from adac_jax.metrics.comparison import Comparison, compare
from adac_jax.metrics.decay import EnergyDecay, energy_decay
from adac_jax.metrics.density import echo_density, mixing_time
from adac_jax.metrics.measures import DecayMeasures, RoomMeasures, decay_measures, measure
from adac_jax.metrics.noise import NoiseFloor, noise_floor
from adac_jax.metrics.responses import onset
from adac_jax.metrics.reverberation import (
    evaluation_range,
    extrapolated_time,
    reverberation_time,
)

__all__ = [
    "Comparison",
    "DecayMeasures",
    "EnergyDecay",
    "NoiseFloor",
    "RoomMeasures",
    "centre_time",
    "clarity",
    "compare",
    "decay_measures",
    "definition",
    "direct_to_reverberant",
    "echo_density",
    "energy_decay",
    "evaluation_range",
    "extrapolated_time",
    "measure",
    "mixing_time",
    "noise_floor",
    "onset",
    "reverberation_time",
]
