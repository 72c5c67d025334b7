"""Neural Amp Modeler's WaveNet: arrays of dilated convolutions, gated or not.

As `NAM/wavenet/model.cpp` and `NAM/wavenet/detail.h` of sdatkinson/NeuralAmpModelerCore compute it.
With x the input, which every layer also gets as its condition:

array: u = R v, with v the array before's last u, or x;
layer: z = conv(u) + M x, a = f(z) or, gated, f(z_1) g(z_2); s = s + a, u = u + P a + p;
array: its head is H s + k; the next array's s begins with it, the first one's with 0.

The output is `head_scale` times the last head. Where a layer has Q and q, s gets Q a + q in place
of a; where it has no P and p, u stays as it is.

Silence goes before the input, as the program's `prewarm` lets it. Biases make of it something other
than zeros further on, so what each convolution hears in silence is worked out of the parameters.
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

    def __call__(self, u: Array, silent: Array, condition: Array) -> tuple[Array, ...]:
        """The next layer's u, what that is in silence, what s gets, and what that is in silence."""
        z, z_silent = settled(self.conv, u, silent)
        a, a_silent = self._gated(z + self.mixin(condition)), self._gated(z_silent)
        if self.post is not None:
            u, silent = u + self.post(a), silent + self.post(a_silent)
        if self.head is not None:
            a, a_silent = self.head(a), self.head(a_silent)
        return u, silent, a, a_silent

    def _gated(self, z: Array) -> Array:
        if self.gate is None:
            return self.activation(z)
        z, gate = jnp.split(z, 2, axis=-1)
        return self.activation(z) * self.gate(gate)


class LayerArray(nnx.Module):
    """Layers of equal width in a row, and their common head.

    Args:
        rechannel: R.
        stack: The layers.
        head: H and k.
    """

    def __init__(self, rechannel: nnx.Linear, stack: Sequence[Layer], head: nnx.Conv) -> None:
        self.rechannel, self.stack, self.head = rechannel, nnx.List(stack), head

    def __call__(
        self, v: Array, v_silent: Array, condition: Array, total: Array, total_silent: Array
    ) -> tuple[Array, ...]:
        """The last u, the head, and what they are in silence: u, u silent, head, head silent."""
        u, silent = self.rechannel(v), self.rechannel(v_silent)
        for layer in self.stack:
            u, silent, own, own_silent = layer(u, silent, condition)
            total, total_silent = total + own, total_silent + own_silent
        return u, silent, *settled(self.head, total, total_silent)


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
        """Processes audio, after silence."""
        v, v_silent = x, jnp.zeros((1, self.inputs), x.dtype)
        head = head_silent = jnp.zeros((1, 1), x.dtype)
        for k, array in enumerate(self.arrays):
            with jax.named_scope(f"array_{k}"):
                v, v_silent, head, head_silent = array(v, v_silent, x, head, head_silent)
        return head * self.head_scale[...]


def settled(conv: nnx.Conv, u: Array, silent: Array) -> tuple[Array, Array]:
    """A causal convolution of what came after silence for ever.

    With e the value in silence, conv(u) = conv(u - e) + e Σ_k K_k, and what precedes u - e is 0.

    Args:
        conv: With kernel (taps, inputs / groups, outputs).
        u: Its input, (..., time, inputs).
        silent: e, (1, inputs).

    Returns:
        The output, (..., time, outputs), and what it is in silence, (1, outputs).
    """
    kernel, groups = conv.kernel[...].sum(0).astype(silent.dtype), conv.feature_group_count
    each = kernel.reshape(len(kernel), groups, -1)
    constant = jnp.einsum("gi,igo->go", silent.reshape(groups, -1), each, precision="highest")
    constant = constant.reshape(-1)
    return conv(u - silent[0]) + constant, conv(jnp.zeros_like(silent)) + constant
