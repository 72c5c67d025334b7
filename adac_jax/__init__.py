"""adac_jax: differentiable audio that ships.

A model is written once, as a Flax module or any causal JAX function on audio (time, channels);
it trains with optax on its exact impulse response; `verify` proves that the FAUST emitted from it
is equal to it, `export` ships it, and `fit` does all of this for a measured room.
"""

from adac_jax import interop, losses, metrics, nn
from adac_jax.certifying import CertificateError, certify
from adac_jax.errors import AdacError, DelayFreeLoopError, IRError, RefusedError
from adac_jax.exporting import export
from adac_jax.fitting import fit
from adac_jax.frequency import FrequencyResponse, frequency_response
from adac_jax.live import live
from adac_jax.oscillators import noise, oscillator, phasor, sine, triangle, wavetable
from adac_jax.primitives import (
    control,
    delay,
    feedback,
    fir,
    fractional_delay,
    lfilter,
    set_controls,
    sosfilt,
    state_variable,
    variable_delay,
)
from adac_jax.quantising import FixedPoint, fixed_point
from adac_jax.rates import RateError, Resampled, at_rate
from adac_jax.report import Check, Report
from adac_jax.streaming import Stream, stream
from adac_jax.tracing import Traced, trace
from adac_jax.verification import verify
from ir import Certificate

__all__ = [
    "AdacError",
    "Certificate",
    "CertificateError",
    "Check",
    "DelayFreeLoopError",
    "FixedPoint",
    "FrequencyResponse",
    "IRError",
    "RateError",
    "RefusedError",
    "Report",
    "Resampled",
    "Stream",
    "Traced",
    "at_rate",
    "certify",
    "control",
    "delay",
    "export",
    "feedback",
    "fir",
    "fit",
    "fixed_point",
    "fractional_delay",
    "frequency_response",
    "interop",
    "lfilter",
    "live",
    "losses",
    "metrics",
    "nn",
    "noise",
    "oscillator",
    "phasor",
    "set_controls",
    "sine",
    "sosfilt",
    "state_variable",
    "stream",
    "trace",
    "triangle",
    "variable_delay",
    "verify",
    "wavetable",
]
