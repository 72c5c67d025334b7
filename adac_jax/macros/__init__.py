"""Ready knobs for models: mix, level, pre-delay, brightness, decay, freeze, size, modulation."""

from adac_jax.macros.controlled import KNOBS, Controlled, with_controls

__all__ = ["KNOBS", "Controlled", "with_controls"]
