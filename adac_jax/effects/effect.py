"""What all effects are."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax import Array

from adac_jax.nn.module import Module
from adac_jax.nn.parameters import initial, param

LOUDEST = 0.99
"""Largest gain of a loop that is given."""


def positive(**counts: int) -> None:
    """Refuses counts that are none.

    Raises:
        ValueError: one is not a positive number.
    """
    for name, value in counts.items():
        if not isinstance(value, int) or value < 1:
            raise ValueError(f"`{name}` (={value}) must be a positive number.")


class LoopGain(nnx.Module):
    """The gain of a loop, below 1 in magnitude whatever its parameter, its inverse tanh, is.

    Args:
        feedback: Within ±0.99.

    Raises:
        ValueError: it is not.
    """

    def __init__(self, feedback: float) -> None:
        if not abs(feedback) <= LOUDEST:
            raise ValueError(f"`feedback` (={feedback}) must lie within ±{LOUDEST}.")
        self.raw = param(np.arctanh(initial("feedback", feedback, (1,))))

    def __call__(self) -> Array:
        """The gain, (1,)."""
        return jnp.tanh(self.raw[...])


class Effect(Module):
    """A module with as many outputs as inputs.

    Args:
        channels: N.

    Raises:
        ValueError: it is not a positive number.
    """

    def __init__(self, channels: int) -> None:
        positive(channels=channels)
        self.inputs = self.outputs = channels
