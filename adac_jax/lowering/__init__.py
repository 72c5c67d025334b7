"""jaxpr → IR: one walker, one rule a primitive."""

from adac_jax.lowering import (
    arrays,
    composed,
    controls,
    convolution,
    dsp,
    elementwise,
    fractional,
    loops,
    scatters,
    shifts,
)
from adac_jax.lowering.walker import RULES, Walker

__all__ = [
    "RULES",
    "Walker",
    "arrays",
    "composed",
    "controls",
    "convolution",
    "dsp",
    "elementwise",
    "fractional",
    "loops",
    "scatters",
    "shifts",
]
