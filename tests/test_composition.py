"""Modules in series and in parallel, their names, and training."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx
from plain import RNG, Sections, Step, agree, double, nodes, noise, sections

from adac_jax import nn


@pytest.fixture(autouse=True)
def _double():
    with double():
        yield


def test_serial_and_parallel():
    x = noise(30, 2)
    sos = sections(2)
    y = np.array([step(sample) for step in [Step(sos=sos)] for sample in x])
    W = RNG.normal(size=(3, 2))
    agree(nn.Serial(Sections(sos), nn.Matrix(3, 2, weight=W)), y @ W.T, x, 60)
    twice = nn.Parallel(nn.Gain(2, 0.5), Sections(sos), names=["same", "same"])
    agree(twice, 0.5 * x + y, x, 60)
    beside = nn.Parallel(nn.Matrix(3, 2, weight=W), nn.Gain(2, 2.0), combine="concatenate")
    agree(beside, np.concatenate([x @ W.T, 2 * x], axis=1), x, 8)
    dealt = nn.Parallel(nn.Gain(1, 2.0), nn.Delay([3]), split=True, combine="concatenate")
    wanted = np.stack([2 * x[:, 0], np.concatenate([np.zeros(3), x[:-3, 1]])], axis=1)
    agree(dealt, wanted, x, 1)
    assert (beside.inputs, beside.outputs, dealt.inputs, dealt.outputs) == (2, 5, 2, 2)


def test_names_reach_the_graph():
    model = nn.Serial(
        nn.Parallel(nn.Matrix(2, 2), nn.Matrix(2, 2), names=["branch", "branch"]),
        nn.FDN((3, 4), inputs=2, outputs=2),
        names=["early", "late"],
    )
    found = nodes(model)
    assert sum(node.name == "early.branch" and node.op == "einsum" for node in found) == 2
    assert {"late.delays", "late.matrix", "late.output_gain"} <= {node.name for node in found}
    x = noise(20, 2)
    agree(model, np.asarray(jax.jit(model)(jnp.asarray(x))), x, 20 * 16)


def test_composition_refuses():
    with pytest.raises(ValueError, match=r"'gain' \(module 0\) gives 2 channels, but 'delay'"):
        nn.Serial(nn.Gain(2), nn.Delay([1]))
    with pytest.raises(ValueError, match="at least one module"):
        nn.Serial()
    with pytest.raises(TypeError, match="is not an adac_jax"):
        nn.Serial(jnp.tanh)
    with pytest.raises(ValueError, match=r"take \[2, 1\] channels"):
        nn.Parallel(nn.Gain(2), nn.Gain(1))
    with pytest.raises(ValueError, match=r"give \[2, 3\] channels"):
        nn.Parallel(nn.Matrix(2, 2), nn.Matrix(3, 2))
    with pytest.raises(ValueError, match=r"`combine` \(='mean'\)"):
        nn.Parallel(nn.Gain(2), combine="mean")
    with pytest.raises(ValueError, match="one name for each of 1 modules"):
        nn.Serial(nn.Gain(2), names=["a", "b"])
    with pytest.raises(ValueError, match="'a/b' must be"):
        nn.Serial(nn.Gain(2), names=["a/b"])


def test_training():
    # Optax itself mixes int32 and float64.
    with jax.numpy_dtype_promotion("standard"):
        train()


def train() -> None:
    def model(seed: int) -> nn.Module:
        return nn.Serial(
            nn.FDN((3, 5, 8), outputs=2, absorption=np.full(3, 0.8), rngs=nnx.Rngs(seed)),
            nn.Gain(2),
        )

    x = jnp.asarray(noise(60, 1))
    target, learner = model(1)(x), model(2)
    optimiser = nnx.Optimizer(learner, optax.adam(3e-2), wrt=nnx.Param)

    @nnx.jit
    def step(learner, optimiser):
        value, gradient = nnx.value_and_grad(lambda m: jnp.mean((m(x) - target) ** 2))(learner)
        optimiser.update(learner, gradient)
        return value

    losses = [float(step(learner, optimiser)) for _ in range(150)]
    assert losses[-1] < 0.1 * losses[0]
    graphdef, state = nnx.split(learner)
    np.testing.assert_array_equal(nnx.merge(graphdef, state)(x), learner(x))
