"""The ready knobs: their names, ranges and ramps, and what they are in the model."""

from __future__ import annotations

import math

import jax.numpy as jnp
from jax import Array

from adac_jax.primitives.control import control

DECAY = (0.5, 2.0)
"""By what decay times are multiplied."""
BAND = (0.5, 2.0)
"""By what those of one band are, besides."""
SIZE = (0.5, 1.5)
"""By what the lengths of lines are multiplied."""
LEVEL = (-60.0, 12.0)
"""Output level in dB."""
BRIGHTNESS = (-12.0, 12.0)
"""Gain in dB above `BRIGHT` Hz."""
BRIGHT = 2500.0
"""Hz."""
PRE_DELAY = 0.25
"""Seconds."""
DEPTH = 1.0
"""Milliseconds by which lines are modulated at most."""
RATE = 0.6
"""Hz of that modulation."""
DRIFT = 0.2
"""Samples that a delay may change by in one sample, which is heard as a pitch."""
LOOP_DRIFT = 0.005
"""The same within loops: a sample that is read again is energy, 2 x 0.005 of it on each pass, which
lines must lose besides."""


def decay() -> Array:
    """The factor of all decay times."""
    return control("decay", 1.0, *DECAY, "x", "log")


def band_decay(frequency: float) -> Array:
    """The factor of the decay times in the band round a frequency, as powers 1 + u: u."""
    name = f"decay {frequency:g} Hz" if frequency < 1000 else f"decay {frequency / 1000:g} kHz"
    return 1 / control(name.replace(".", "-"), 1.0, *BAND, "x", "log") - 1


def size(longest: float) -> Array:
    """The factor of all lengths.

    Args:
        longest: The longest line in samples a second, that is m / fs in seconds.
    """
    ramp = (SIZE[1] - SIZE[0]) * longest / LOOP_DRIFT
    return control("size", 1.0, *SIZE, "x", ramp=max(0.05, ramp))


def freeze() -> Array:
    """0, or 1 where lines lose nothing and take nothing in."""
    return control("freeze", 0.0, 0.0, 1.0)


def level() -> Array:
    """The output's gain."""
    return 10 ** (control("level", 0.0, *LEVEL, "dB") / 20)


def brightness() -> Array:
    """The gain in dB at high frequencies."""
    return control("brightness", 0.0, *BRIGHTNESS, "dB")


def pre_delay(sample_rate: float) -> Array:
    """In samples."""
    ramp = PRE_DELAY / DRIFT
    return control("pre-delay", 0.0, 0.0, 1000 * PRE_DELAY, "ms", ramp=ramp) * sample_rate / 1000


def modulation(sample_rate: float) -> Array:
    """The depth in samples."""
    samples = DEPTH * sample_rate / 1000
    ramp = max(0.05, samples / (LOOP_DRIFT * sample_rate))
    return control("modulation", 0.0, 0.0, DEPTH, "ms", ramp=ramp) * (sample_rate / 1000)


def mix(default: float) -> Array:
    """How much is wet, 0 to 1."""
    return control("mix", default, 0.0, 1.0)


def most_delay(sample_rate: float) -> int:
    """Samples that the pre-delay keeps."""
    return math.ceil(PRE_DELAY * sample_rate)


def decibels(db: Array) -> Array:
    """A gain from decibels: 0 dB is 1, to the bit."""
    return jnp.exp(db * (math.log(10) / 20))
