"""Neural Amp Modeler's WaveNet: arrays of dilated convolutions, gated or not.

As `NAM/wavenet/model.cpp` and `NAM/wavenet/detail.h` of sdatkinson/NeuralAmpModelerCore compute it.
With x the input, which every layer also gets as its condition:

array: u = R v, with v the array before's last u, or x;
layer: z = conv(u) + M x, a = f(z) or, gated, f(z_1) g(z_2); s = s + a, u = u + P a + p;
array: its head is H s + k; the next array's s begins with it, the first one's with 0.

The output is `head_scale` times the last head. Where a layer has Q and q, s gets Q a + q in place
of a; where it has no P and p, u stays as it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax import Array
from jaxtyping import Float

from adac_jax.nn.module import Module
from adac_jax.nn.parameters import param


class Layer(nnx.Module):
    """One layer: see the module.

    Args:
        conv: The dilated convolution.
        mixin: M.
        activation: f.
        gate: g; None where the layer is not gated.
        post: P and p; None for none.
        head: Q and q; None for none.
    """

    def __init__(
        self, conv: nnx.Conv, mixin: Any, activation: Any, gate: Any, post: Any, head: Any
    ) -> None:
        self.conv, self.mixin, self.activation = conv, mixin, activation
        self.gate, self.post, self.head = (nnx.data(m) for m in (gate, post, head))

    def __call__(self, u: Array, condition: Array) -> tuple[Array, Array]:
        """The next layer's u, and what s gets."""
        z = self.conv(u) + self.mixin(condition)
        if self.gate is None:
            a = self.activation(z)
        else:
            z, gate = jnp.split(z, 2, axis=-1)
            a = self.activation(z) * self.gate(gate)
        return (
            u if self.post is None else u + self.post(a),
            a if self.head is None else self.head(a),
        )


class LayerArray(nnx.Module):
    """Layers of equal width in a row, and their common head.

    Args:
        rechannel: R.
        stack: The layers.
        head: H and k.
    """

    def __init__(self, rechannel: nnx.Linear, stack: Sequence[Layer], head: nnx.Conv) -> None:
        self.rechannel, self.stack, self.head = rechannel, nnx.List(stack), head

    def __call__(self, v: Array, condition: Array, total: Array) -> tuple[Array, Array]:
        """The last u, and the head."""
        u = self.rechannel(v)
        for layer in self.stack:
            u, own = layer(u, condition)
            total = total + own
        return u, self.head(total)


class WaveNet(Module):
    """The whole: see the module.

    Args:
        arrays: In order.
        inputs: Channels in.
        outputs: Channels out.
        head_scale: The output's gain.

    Attributes:
        sample_rate: In Hz, where the file states it.
    """

    sample_rate: float

    def __init__(
        self, arrays: Sequence[LayerArray], inputs: int, outputs: int, head_scale: np.ndarray
    ) -> None:
        self.arrays = nnx.List(arrays)
        self.inputs, self.outputs = inputs, outputs
        self.head_scale = param(head_scale)

    def __call__(
        self, x: Float[Array, "*batch time inputs"]
    ) -> Float[Array, "*batch time outputs"]:
        """Processes audio, from rest."""
        v, head = x, jnp.zeros((), x.dtype)
        for k, array in enumerate(self.arrays):
            with jax.named_scope(f"array_{k}"):
                v, head = array(v, x, head)
        return head * self.head_scale[...]
