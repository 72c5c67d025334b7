"""Diagonal state spaces: linear recurrences that remember for long, between nonlinear layers."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax import Array, lax
from jaxtyping import Float

from adac_jax.effects.effect import Effect, positive
from adac_jax.effects.networks import Network
from adac_jax.nn.parameters import Positive, param

STEPS = (1e-6, 10.0)
"""Bounds of a step Δ."""


class S4D(Effect):
    """A diagonal state space for each channel.

    s_n[t] = Ā_n s_n[t-1] + B̄_n u[t], y[t] = 2 Re Σ_n C_n s_n[t] + D u[t], n = 0 … N/2 - 1, with
    A_n = -exp(α_n) + j ω_n, Ā_n = exp(Δ A_n), B̄_n = (Ā_n - 1) / A_n: stable for any parameters.
    States are kept as two real numbers. Source: Gu, Goel, Gupta and Ré, "On the parameterization
    and initialization of diagonal state space models" (NeurIPS 2022), "S4D-Lin".

    Args:
        channels: H.
        states: N, even.
        steps: Range (low, high) that each channel's Δ is first drawn from, evenly on a
            logarithmic scale; 1 / Δ is the number of samples that are remembered, about.
        rngs: Where the parameters are drawn from.

    Raises:
        ValueError: a count is not positive or odd, or a range is none.
    """

    def __init__(
        self,
        channels: int,
        states: int = 8,
        *,
        steps: tuple[float, float] = (1e-3, 1e-1),
        rngs: nnx.Rngs,
    ) -> None:
        super().__init__(channels)
        positive(states=states)
        if states % 2:
            raise ValueError(f"`states` (={states}) must be even: they come in conjugate pairs.")
        if not STEPS[0] < steps[0] < steps[1] < STEPS[1]:
            raise ValueError(f"`steps` (={steps}) must be a range within {STEPS}.")
        shape = (channels, states // 2)
        low, high = np.log(steps)
        drawn = jax.random.uniform(rngs.params(), (channels, 1))
        self.step = Positive(
            "steps", np.exp(low + (high - low) * np.asarray(drawn)), (channels, 1), STEPS
        )
        self.decay = param(np.full(shape, np.log(0.5)))
        self.turn = param(np.broadcast_to(np.pi * np.arange(shape[1]), shape))
        scale = np.sqrt(0.5)
        self.real, self.imaginary = (
            nnx.Param(scale * jax.random.normal(rngs.params(), shape)) for _ in range(2)
        )
        self.direct = param(np.ones(channels))

    def matrices(self) -> tuple[Array, Array]:
        """Ā and C B̄, complex, (channels, N / 2)."""
        A = lax.complex(-jnp.exp(self.decay[...]), self.turn[...])
        discrete = jnp.exp(A * self.step().astype(A.dtype))
        return discrete, lax.complex(self.real[...], self.imaginary[...]) * (discrete - 1) / A

    def __call__(self, x: Float[Array, "*batch time channels"]) -> Array:
        """Processes audio, from rest."""
        self.check(x)
        A, C = self.matrices()
        parts = (A.real, A.imag, C.real, C.imag, self.direct[...])
        a, b, c, d, direct = (v.astype(x.dtype) for v in parts)

        def step(carry: tuple[Array, Array], u: Array):
            p, q = carry
            p, q = a * p - b * q + u[..., None], b * p + a * q
            return (p, q), 2 * jnp.sum(c * p - d * q, axis=-1) + direct * u

        entering = jnp.moveaxis(x, -2, 0)
        zero = jnp.zeros((*entering.shape[1:], a.shape[-1]), x.dtype)
        return jnp.moveaxis(lax.scan(step, (zero, zero), entering)[1], 0, -2)


class S4DAmplifier(Network):
    """State spaces and gates in turn: u ← u + W (v_1 σ(v_2)), v = V gelu(S4D(u)).

    Source: Gu et al. 2022 for the layer; Yin, Cheng, Xu, Steinmetz, Reiss et al., "Modeling analog
    dynamic range compressors using deep learning and state-space models" (2024) for audio.

    Args:
        channels: Of each layer.
        layers: How many.
        states: N of each channel.
        conditions: Knobs, which enter beside the audio.
        rngs: Where the parameters are drawn from.

    Raises:
        ValueError: a count is not positive, or the states are odd.
    """

    def __init__(
        self,
        channels: int = 8,
        *,
        layers: int = 4,
        states: int = 4,
        conditions: int = 0,
        rngs: nnx.Rngs,
    ) -> None:
        super().__init__(conditions)
        positive(channels=channels, layers=layers)
        self.first = nnx.Linear(self.inputs, channels, rngs=rngs)
        self.spaces = nnx.List([S4D(channels, states, rngs=rngs) for _ in range(layers)])
        self.gates = nnx.List(
            [nnx.Linear(channels, 2 * channels, rngs=rngs) for _ in range(layers)]
        )
        self.mixes = nnx.List([nnx.Linear(channels, channels, rngs=rngs) for _ in range(layers)])
        self.out = nnx.Linear(channels, 1, rngs=rngs)

    def __call__(self, x: Float[Array, "*batch time inputs"]) -> Float[Array, "*batch time 1"]:
        """Processes audio, from rest."""
        self.check(x)
        u = self.first(x)
        for space, gate, mix in zip(self.spaces, self.gates, self.mixes, strict=True):
            left, right = jnp.split(gate(nnx.gelu(space(u))), 2, axis=-1)
            u = u + mix(left * nnx.sigmoid(right))
        return self.out(u) + x[..., :1]
