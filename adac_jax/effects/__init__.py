"""Effects: modules that train and export like all others."""

from adac_jax.effects.dynamics import Compressor, Dynamics, Expander

__all__ = ["Compressor", "Dynamics", "Expander"]
