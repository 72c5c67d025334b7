"""The JAX primitives of delay networks."""

import adac_jax.primitives.feedback_adjoint  # noqa: F401  the derivative of `feedback`
from adac_jax.primitives.control import control, set_controls
from adac_jax.primitives.delay import delay, variable_delay
from adac_jax.primitives.feedback import feedback
from adac_jax.primitives.filters import fir, lfilter, sosfilt
from adac_jax.primitives.fractional_delay import fractional_delay
from adac_jax.primitives.moving import state_variable

__all__ = [
    "control",
    "delay",
    "feedback",
    "fir",
    "fractional_delay",
    "lfilter",
    "set_controls",
    "sosfilt",
    "state_variable",
    "variable_delay",
]
