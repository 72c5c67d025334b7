"""adac_jax: differentiable audio that ships."""

from adac_jax.errors import AdacError, DelayFreeLoopError, IRError, RefusedError
from adac_jax.primitives import delay, feedback, fir, lfilter, sosfilt, variable_delay
from adac_jax.report import Check, Report
from adac_jax.tracing import Traced, trace
from adac_jax.verification import verify

__all__ = [
    "AdacError",
    "Check",
    "DelayFreeLoopError",
    "IRError",
    "RefusedError",
    "Report",
    "Traced",
    "delay",
    "feedback",
    "fir",
    "lfilter",
    "sosfilt",
    "trace",
    "variable_delay",
    "verify",
]
