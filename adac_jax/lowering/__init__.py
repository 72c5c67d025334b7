"""jaxpr → IR: one walker, one rule a primitive."""

from adac_jax.lowering import arrays, dsp, elementwise, fractional, shifts
from adac_jax.lowering.walker import RULES, Walker

__all__ = ["RULES", "Walker", "arrays", "dsp", "elementwise", "fractional", "shifts"]
