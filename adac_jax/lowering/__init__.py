"""jaxpr → IR: one walker, one rule a primitive."""

from adac_jax.lowering import (
    arrays,
    composed,
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
    "convolution",
    "dsp",
    "elementwise",
    "fractional",
    "loops",
    "scatters",
    "shifts",
]
