"""adac_jax: differentiable audio that ships."""

from adac_jax.errors import AdacError, DelayFreeLoopError, IRError, RefusedError
from adac_jax.primitives import delay, feedback, fir, lfilter, sosfilt, variable_delay
from adac_jax.tracing import Traced, trace

__all__ = [
    "AdacError",
    "DelayFreeLoopError",
    "IRError",
    "RefusedError",
    "Traced",
    "delay",
    "feedback",
    "fir",
    "lfilter",
    "sosfilt",
    "trace",
    "variable_delay",
]
