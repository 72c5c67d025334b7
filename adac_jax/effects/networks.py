"""Networks that learn an amplifier or an effect from a pair of recordings.

Knobs are further input channels: what they change may move while it plays.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
from flax import nnx
from jax import Array
from jaxtyping import Float

from adac_jax.effects.effect import positive
from adac_jax.interop.cells import Recurrent
from adac_jax.nn.module import Module


class Network(Module):
    """One channel of audio and K knobs to one channel: what the networks have in common.

    Args:
        conditions: K.
    """

    outputs = 1

    def __init__(self, conditions: int) -> None:
        if not isinstance(conditions, int) or conditions < 0:
            raise ValueError(f"`conditions` (={conditions}) must be a number of knobs, 0 or more.")
        self.inputs = 1 + conditions

    def check(self, x: Array) -> None:
        """Refuses audio of another number of channels.

        Raises:
            ValueError: x is not (..., time, inputs).
        """
        if x.ndim < 2 or x.shape[-1] != self.inputs:
            raise ValueError(
                f"{type(self).__name__} takes (..., time, {self.inputs}): audio, and "
                f"{self.inputs - 1} knobs; not {x.shape}."
            )


class LSTMAmplifier(Network):
    """A recurrent network: h[t] = LSTM([x[t], knobs[t]], h[t-1]), y = x + W h + b.

    Source: Wright, Damskägg and Välimäki, "Real-time black-box modelling with recurrent neural
    networks" (DAFx 2019).

    Args:
        hidden: Units.
        layers: LSTMs one after the other.
        conditions: Knobs.
        rngs: Where the weights are drawn from.

    Raises:
        ValueError: a count is not positive.
    """

    def __init__(
        self, hidden: int = 32, *, layers: int = 1, conditions: int = 0, rngs: nnx.Rngs
    ) -> None:
        super().__init__(conditions)
        positive(hidden=hidden, layers=layers)
        sizes = [self.inputs, *[hidden] * (layers - 1)]
        self.layers = nnx.List(
            [Recurrent(nnx.OptimizedLSTMCell(n, hidden, rngs=rngs), states=2) for n in sizes]
        )
        self.out = nnx.Linear(hidden, 1, rngs=rngs)

    def __call__(self, x: Float[Array, "*batch time inputs"]) -> Float[Array, "*batch time 1"]:
        """Processes audio, from rest."""
        self.check(x)
        h: Any = x
        for layer in self.layers:
            h = layer(h)
        return self.out(h) + x[..., :1]


class ConvolutionLayer(nnx.Module):
    """A dilated causal convolution, a nonlinearity, and a residual.

    z = K * u (taps `dilation` samples apart), scaled and shifted by the knobs,
    z' = (1 + P c) z + Q c; a = tanh(z'), or tanh(z'_1) σ(z'_2) of its halves if `gated`; what is
    handed on is u + W a, what the output hears is a.
    """

    def __init__(
        self,
        channels: int,
        kernel: int,
        dilation: int,
        conditions: int,
        gated: bool,
        rngs: nnx.Rngs,
    ) -> None:
        width = 2 * channels if gated else channels
        self.gated = gated
        self.conv = nnx.Conv(
            channels, width, kernel_size=(kernel,), kernel_dilation=(dilation,),
            padding="CAUSAL", rngs=rngs,
        )  # fmt: skip
        self.mix = nnx.Linear(channels, channels, rngs=rngs)
        self.film = nnx.Linear(conditions, 2 * width, rngs=rngs) if conditions else None

    def __call__(self, u: Array, knobs: Array) -> tuple[Array, Array]:
        """(batch, time, channels), (batch, time, knobs) -> what is handed on, what is heard."""
        z = self.conv(u)
        if self.film is not None:
            scale, shift = jnp.split(self.film(knobs), 2, axis=-1)
            z = (1 + scale) * z + shift
        if self.gated:
            left, right = jnp.split(z, 2, axis=-1)
            a = jnp.tanh(left) * nnx.sigmoid(right)
        else:
            a = jnp.tanh(z)
        return u + self.mix(a), a


class TCNAmplifier(Network):
    """Dilated causal convolutions with residuals, conditioned by knobs: a TCN or a WaveNet.

    Source: Damskägg, Juvela, Thuillier and Välimäki, "Deep learning for tube amplifier emulation"
    (ICASSP 2019) for gates and skips; Steinmetz and Reiss, "Efficient neural networks for real-time
    modeling of analog dynamic range compression" (AES 152, 2022) for few layers, fast growing
    dilations and knobs that scale and shift (Perez et al., "FiLM", AAAI 2018).

    Args:
        channels: Of each layer.
        dilations: Of each layer, in samples.
        kernel: Taps.
        gated: Whether tanh(.) σ(.) takes the place of tanh, at twice the cost.
        conditions: Knobs.
        rngs: Where the weights are drawn from.

    Attributes:
        receptive: Samples that an output sample hears.

    Raises:
        ValueError: a count is not positive, or there are no dilations.
    """

    def __init__(
        self,
        channels: int = 8,
        dilations: Sequence[int] = (1, 2, 4, 8, 16, 32, 64, 128, 256),
        *,
        kernel: int = 3,
        gated: bool = False,
        conditions: int = 0,
        rngs: nnx.Rngs,
    ) -> None:
        super().__init__(conditions)
        if not dilations:
            raise ValueError(f"`dilations` (={dilations}) must be positive numbers, at least one.")
        positive(
            channels=channels,
            kernel=kernel,
            **{f"dilations[{k}]": d for k, d in enumerate(dilations)},
        )
        self.receptive = 1 + (kernel - 1) * sum(dilations)
        self.first = nnx.Linear(1, channels, rngs=rngs)
        self.layers = nnx.List(
            [ConvolutionLayer(channels, kernel, d, conditions, gated, rngs) for d in dilations]
        )
        self.out = nnx.Linear(channels, 1, rngs=rngs)

    def __call__(self, x: Float[Array, "*batch time inputs"]) -> Float[Array, "*batch time 1"]:
        """Processes audio, from rest."""
        self.check(x)
        flat = x.reshape(-1, *x.shape[-2:])
        knobs, u = flat[..., 1:], self.first(flat[..., :1])
        heard = jnp.zeros_like(u)
        for layer in self.layers:
            u, a = layer(u, knobs)
            heard = heard + a
        return self.out(heard).reshape(*x.shape[:-1], 1)


__all__ = ["ConvolutionLayer", "LSTMAmplifier", "Network", "TCNAmplifier"]
