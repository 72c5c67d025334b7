"""adac_jax: differentiable audio that ships.

A model is written once, as a Flax module or any causal JAX function on audio (time, channels);
`verify` proves that the FAUST emitted from it is equal to it, `export` ships it.
"""

from adac_jax import nn
from adac_jax.errors import AdacError, DelayFreeLoopError, IRError, RefusedError
from adac_jax.exporting import export
from adac_jax.primitives import (
    delay,
    feedback,
    fir,
    fractional_delay,
    lfilter,
    sosfilt,
    variable_delay,
)
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
    "export",
    "feedback",
    "fir",
    "fractional_delay",
    "lfilter",
    "nn",
    "sosfilt",
    "trace",
    "variable_delay",
    "verify",
]
