"""A network as these formats describe it: layers in a row, and what is round them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
from flax import nnx
from jax import Array
from jaxtyping import Float

from adac_jax.nn.module import Module
from adac_jax.nn.naming import call


class Network(Module):
    """y = g_out (f_K(… f_1(v)) + v_skip), with v the input, its first channel times g_in.

    v_skip is the first `skip` channels of v; one of them is added to all outputs. Channel 0 of the
    input is audio; in models of an amplifier with knobs, the others are the knobs' positions.

    Args:
        layers: f_1 … f_K, named.
        inputs: Channels in.
        outputs: Channels out.
        skip: How many channels of v are added: 0, 1 or `outputs`.
        input_gain: g_in, linear.
        output_gain: g_out, linear.
        sample_rate: In Hz, if the format states it.

    Attributes:
        layers: The modules, to train as any others.
        sample_rate: In Hz, where the format states it; else there is none.
    """

    sample_rate: float

    def __init__(
        self,
        layers: Sequence[tuple[str, Any]],
        inputs: int,
        outputs: int,
        *,
        skip: int = 0,
        input_gain: float = 1.0,
        output_gain: float = 1.0,
        sample_rate: float | None = None,
    ) -> None:
        self.names = tuple(name for name, _ in layers)
        self.layers = nnx.List([layer for _, layer in layers])
        self.inputs, self.outputs, self.skip = inputs, outputs, skip
        self.input_gain, self.output_gain = input_gain, output_gain
        if sample_rate is not None:
            self.sample_rate = sample_rate

    def __call__(
        self, x: Float[Array, "*batch time inputs"]
    ) -> Float[Array, "*batch time outputs"]:
        """Processes audio, from rest."""
        v = x
        if self.input_gain != 1:
            gains = [self.input_gain] + [1.0] * (self.inputs - 1)
            v = x * jnp.asarray(gains, x.dtype)
        y = v
        for name, layer in zip(self.names, self.layers, strict=True):
            y = call(name, layer, y)
        if self.skip:
            y = y + v[..., : self.skip]
        return y if self.output_gain == 1 else y * self.output_gain
