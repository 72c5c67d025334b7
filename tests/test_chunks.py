"""Gradients of signals long enough that a loop's parameters get theirs chunk by chunk."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from adac_jax import blocks, nn, trace

DELAYS = (331, 401, 523)
CHUNK = 8192
LENGTH = 2 * CHUNK + 1234
EPS = np.finfo(np.float64).eps


@pytest.fixture(autouse=True)
def _short_chunks(monkeypatch):
    """So that signals of a fraction of a second have several."""
    monkeypatch.setattr("adac_jax.blocks.whole.CHUNK", CHUNK)


class Saturating(nnx.Module):
    inputs = 1

    def __init__(self):
        self.gain = nnx.Param(jnp.array([0.8, 0.7]))

    def __call__(self, x):
        from adac_jax import delay, feedback

        def loop(u):
            return jnp.tanh(delay(u, (301, 407)) * self.gain[...])[:, ::-1]

        return feedback(loop, x.repeat(2, 1))


MODELS = {
    "gains": lambda: nn.FDN(DELAYS, absorption=[0.9, 0.8, 0.85]),
    "one pole": lambda: nn.FDN(
        DELAYS, absorption=nn.OnePole.from_t60(0.3, 0.1, DELAYS, sample_rate=48000)
    ),
    "equaliser": lambda: nn.FDN(DELAYS, absorption=nn.GEQ.from_t60(0.3, DELAYS, sample_rate=48000)),
    "fir": lambda: nn.FDN(DELAYS, absorption=nn.FIR(3, [0.5, 0.2, 0.1])),
    "saturating": Saturating,
}


@pytest.mark.parametrize("name", MODELS)
def test_a_long_gradient_is_that_of_the_scan_over_blocks(name):
    """Both add up the same products, some 10⁴ of them a parameter, in another order."""
    with jax.enable_x64(True):
        model = MODELS[name]()
        traced = trace(model)
        x = jnp.asarray(np.random.default_rng(0).normal(size=(LENGTH, 1)))
        weight = jnp.asarray(np.random.default_rng(1).normal(size=(LENGTH, 1)))

        def own(parameters):
            return jnp.sum(traced.function(parameters, x) * weight)

        def plain(parameters):
            coefficients = traced.coefficients(parameters)
            y = blocks.run_whole(traced.graph, coefficients, [x.T], LENGTH, in_place=False)
            return jnp.sum(y[0].T * weight)

        found = jax.tree.leaves(jax.jit(jax.grad(own))(traced.parameters))
        wanted = jax.tree.leaves(jax.jit(jax.grad(plain))(traced.parameters))
    for a, b in zip(found, wanted, strict=True):
        # Sums of LENGTH terms of either sign, each with a rounding error of some steps of the loop
        # and, for equalisers, of sections that multiply it (docs/design.md: up to 1e-12).
        scale = np.max(np.abs(b)) + 1
        np.testing.assert_allclose(a, b, rtol=0, atol=max(1e-11, LENGTH * EPS) * scale)
