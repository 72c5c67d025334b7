"""What all audio modules are."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax.numpy as jnp
from flax import nnx
from jax import Array
from jaxtyping import Float

Channels = int | tuple[int, ...]
"""N: one filter for each of N channels. (outputs, inputs): a filter for each pair."""


class Module(nnx.Module):
    """A function of audio with parameters: (…, time, inputs) → (…, time, outputs).

    Attributes:
        inputs: Channels that come in.
        outputs: Channels that go out.
    """

    inputs: int
    outputs: int

    def __call__(
        self, x: Float[Array, "*batch time inputs"]
    ) -> Float[Array, "*batch time outputs"]:
        """Processes audio, from rest."""
        raise NotImplementedError(f"{type(self).__name__} does not say what it does to audio.")

    def check(self, x: Array) -> None:
        """Refuses audio of another number of channels.

        Raises:
            ValueError: x is not (..., time, inputs).
        """
        if x.ndim < 2 or x.shape[-1] != self.inputs:
            raise ValueError(
                f"{type(self).__name__} takes audio of shape (..., time, {self.inputs}), "
                f"not {x.shape}."
            )


class Filter(Module):
    """One filter a channel, or a matrix of filters.

    With `channels` = N: y_i = h_i * x_i. With `channels` = (M, N): y_o = Σ_i h_oi * x_i.
    """

    def __init__(self, channels: Channels) -> None:
        self.channels = channel_shape(channels)
        self.outputs, self.inputs = self.channels[0], self.channels[-1]

    def run(self, x: Array, function: Callable[..., Any]) -> Array:
        """Applies function(signal, axis=…), which filters each channel on its own.

        Raises:
            ValueError: x does not have as many channels as the filter has inputs.
        """
        self.check(x)
        if len(self.channels) == 1:
            return function(x, axis=-2)
        spread = jnp.broadcast_to(x[..., None, :], (*x.shape[:-1], *self.channels))
        return jnp.sum(function(spread, axis=-3), axis=-1)


def channel_shape(channels: Channels) -> tuple[int, ...]:
    """The channel axes of a filter's parameters.

    Raises:
        ValueError: `channels` is neither a count nor a pair of counts.
    """
    shape = tuple(channels) if isinstance(channels, Sequence) else (channels,)
    if len(shape) not in (1, 2) or not all(isinstance(n, int) and n > 0 for n in shape):
        raise ValueError(
            f"`channels` (={channels}) must be a positive number, or (outputs, inputs)."
        )
    return shape
