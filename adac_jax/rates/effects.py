"""Effects at another rate: their parameters are seconds, hertz and decibels already."""

from __future__ import annotations

import numpy as np

from adac_jax import effects
from adac_jax.effects.effect import LoopGain
from adac_jax.effects.modulation import ORDER
from adac_jax.rates.change import Change, by_parts, rule, unchanged

rule(effects.Waveshaper, effects.LearnedWaveshaper, LoopGain)(unchanged)
rule(
    effects.Compressor,
    effects.Dynamics,
    effects.Expander,
    effects.Gate,
    effects.GrayBoxAmplifier,
    effects.LFO,
    effects.Phaser,
    effects.ToneStack,
    effects.Tremolo,
    effects.WienerHammerstein,
)(by_parts)


@rule(effects.Limiter)
def limiter(module: effects.Limiter, change: Change) -> effects.Limiter:
    """The look-ahead is rounded to whole samples again."""
    module.latency = change.samples(module.latency)
    return by_parts(module, change)


@rule(effects.PingPong)
def ping_pong(module: effects.PingPong, change: Change) -> effects.PingPong:
    """The echo's time is rounded; its low-pass keeps its pole in hertz."""
    module.samples = change.samples(module.samples)
    return by_parts(module, change)


@rule(effects.ModulatedDelay, effects.Chorus, effects.Flanger, effects.Vibrato)
def modulated(module: effects.ModulatedDelay, change: Change) -> effects.ModulatedDelay:
    """Times are seconds; the memory that is kept grows with the rate."""
    module.longest = int(np.ceil((module.longest - ORDER) * change.ratio)) + ORDER
    return by_parts(module, change)
