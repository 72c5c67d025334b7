"""The frequency reading: the response of a model, exact and differentiable."""

from adac_jax.frequency.response import FrequencyResponse, frequency_response

__all__ = ["FrequencyResponse", "frequency_response"]
