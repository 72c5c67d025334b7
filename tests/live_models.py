"""Small models for the tests of live sessions."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
from flax import nnx

import adac_jax
from adac_jax import nn


class Comb(nnx.Module):
    """Two lines that mix, a knob behind them."""

    inputs = 1

    def __init__(self, delays: tuple[int, int] = (307, 401), knob: bool = False):
        self.gains = nnx.Param(jnp.array([0.7, 0.6]))
        self.A = nnx.Param(jnp.array([[0.6, 0.8], [-0.8, 0.6]]))
        self.delays = delays
        self.knob = knob

    def __call__(self, x):
        def loop(u):
            s = adac_jax.delay(u, self.delays) * self.gains[...]
            return s @ self.A[...].T, s

        _, s = adac_jax.feedback(loop, x.repeat(2, 1), has_aux=True)
        y = s.sum(1, keepdims=True)
        return y * adac_jax.control("gain", 0.5, 0.0, 1.0) if self.knob else y


def room(lines: int = 16) -> nn.FDN:
    """A network with a graphic equaliser a line."""
    m = nn.mutually_prime_delays(lines, 960, 3840)
    t60 = np.linspace(2.0, 0.8, 11)
    absorption = nn.AccurateGEQ.from_t60(t60, m, sample_rate=48000.0, train="t60")
    return nn.FDN(m, absorption=absorption, rngs=nnx.Rngs(4))


def moved(state, rng: np.random.Generator, amount: float = 1e-3):
    """A state after a step: each number some tenth of a percent from where it was."""
    import jax

    return jax.tree.map(
        lambda p: p * (1 + amount * rng.standard_normal(p.shape)) if p.dtype.kind == "f" else p,
        state,
    )
