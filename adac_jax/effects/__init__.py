"""Effects: modules that train and export like all others."""

from adac_jax.effects.amplifiers import GrayBoxAmplifier, WienerHammerstein
from adac_jax.effects.dynamics import Compressor, Dynamics, Expander, Gate, Limiter
from adac_jax.effects.echoes import PingPong
from adac_jax.effects.effect import Effect
from adac_jax.effects.modulation import (
    LFO,
    Chorus,
    Flanger,
    ModulatedDelay,
    Phaser,
    Tremolo,
    Vibrato,
)
from adac_jax.effects.networks import LSTMAmplifier, TCNAmplifier
from adac_jax.effects.state_spaces import S4D, S4DAmplifier
from adac_jax.effects.tone_stack import ToneStack
from adac_jax.effects.waveshapers import LearnedWaveshaper, Waveshaper

__all__ = [
    "LFO",
    "S4D",
    "Chorus",
    "Compressor",
    "Dynamics",
    "Effect",
    "Expander",
    "Flanger",
    "Gate",
    "GrayBoxAmplifier",
    "LSTMAmplifier",
    "LearnedWaveshaper",
    "Limiter",
    "ModulatedDelay",
    "Phaser",
    "PingPong",
    "S4DAmplifier",
    "TCNAmplifier",
    "ToneStack",
    "Tremolo",
    "Vibrato",
    "Waveshaper",
    "WienerHammerstein",
]
