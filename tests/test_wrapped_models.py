"""Flax's own transformations round layers, and Linen's: they are traced through."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen, nnx

import adac_jax
import ir
from adac_jax import effects

LENGTH = 60
# Float64: at most 3 layers of 40 operations on numbers below 8, whose errors normalisation may
# enlarge by 1 / √1e-5 where two channels happen to be equal: 3 * 40 * 8 * 300 * 2^-53 = 3.2e-11.
TOLERANCE = 3.2e-11


class Layer(nnx.Module):
    inputs = 2

    def __init__(self, rngs):
        self.linear = nnx.Linear(2, 2, rngs=rngs)

    def __call__(self, x):
        return jnp.tanh(self.linear(x)) + 0.5 * adac_jax.delay(x, 3)


def layers(count: int) -> Layer:
    """Layers whose parameters are stacked."""

    @nnx.split_rngs(splits=count)
    @nnx.vmap(in_axes=(0,), out_axes=0)
    def make(rngs):
        return Layer(rngs)

    return make(nnx.Rngs(0))


class Jitted(nnx.Module):
    inputs = 2

    def __init__(self):
        self.layer = Layer(nnx.Rngs(0))

    @nnx.jit
    def __call__(self, x):
        return self.layer(x)


class Scanned(nnx.Module):
    inputs = 2

    def __init__(self):
        self.layers = layers(3)

    def __call__(self, x):
        @nnx.scan(in_axes=(nnx.Carry, 0), out_axes=nnx.Carry)
        def through(x, layer):
            return layer(x)

        return through(x, self.layers)


class Ensemble(nnx.Module):
    inputs = 2

    def __init__(self):
        self.layers = layers(3)

    def __call__(self, x):
        @nnx.vmap(in_axes=(0, None), out_axes=0)
        def each(layer, x):
            return layer(x)

        return each(self.layers, x).sum(0)


class Checkpointed(nnx.Module):
    inputs = 2

    def __init__(self):
        self.layer = Layer(nnx.Rngs(0))

    def __call__(self, x):
        return nnx.remat(lambda layer, x: layer(x))(self.layer, x)


class Batched(nnx.Module):
    inputs = 2

    def __init__(self):
        self.effect = effects.Compressor(2, sample_rate=48000.0)

    def __call__(self, x):
        return jax.vmap(self.effect)(x[None])[0]


class Normed(nnx.Module):
    inputs = 2

    def __init__(self):
        rngs = nnx.Rngs(0)
        self.rms = nnx.RMSNorm(2, rngs=rngs)
        self.group = nnx.GroupNorm(2, num_groups=1, rngs=rngs)
        self.drop = nnx.Dropout(0.5, rngs=rngs, deterministic=True)
        self.batch = nnx.BatchNorm(2, use_running_average=True, rngs=rngs)

    def __call__(self, x):
        return self.batch(self.drop(self.group(self.rms(x)[:, None, :])[:, 0]))


class Recurrent(linen.Module):
    @linen.compact
    def __call__(self, x):
        h = linen.RNN(linen.GRUCell(4))(x[None])[0]
        h = linen.LayerNorm()(linen.Dense(3)(h))
        h = linen.Conv(4, (3,), padding="CAUSAL")(h[None])[0]
        return linen.Dense(1)(linen.gelu(h))


class Repeated(linen.Module):
    @linen.compact
    def __call__(self, x):
        class Step(linen.Module):
            @linen.compact
            def __call__(self, carry, _):
                return jnp.tanh(linen.Dense(2)(carry)), None

        options = {"variable_axes": {"params": 0}, "split_rngs": {"params": True}, "length": 3}
        return linen.scan(Step, **options)()(x, None)[0]


MODELS = [Jitted, Scanned, Ensemble, Checkpointed, Batched, Normed, Recurrent, Repeated]


@pytest.mark.parametrize("kind", MODELS, ids=lambda kind: kind.__name__)
def test_graph_computes_what_the_model_computes(kind):
    x = np.random.default_rng(4).uniform(-1, 1, (LENGTH, 2))
    model, options = kind(), {}
    if issubclass(kind, linen.Module):
        options = {"parameters": model.init(jax.random.key(0), jnp.zeros((9, 2))), "inputs": 2}
    with jax.enable_x64(True):
        traced = adac_jax.trace(model, **options)
        expected = np.asarray(traced.function(traced.parameters, jnp.asarray(x)))
    (found,) = ir.run(traced.program, x)
    assert np.max(np.abs(found - expected)) <= TOLERANCE


def test_a_jitted_function_of_a_model():
    model = Layer(nnx.Rngs(1))
    assert adac_jax.verify(jax.jit(lambda x: model(x)), inputs=2, seconds=0.1).passed


class Both(nnx.Module):
    inputs = 2

    def __init__(self):
        rngs = nnx.Rngs(0)
        one, other = (nnx.RNN(nnx.GRUCell(2, 2, rngs=rngs)) for _ in range(2))
        self.rnn = nnx.Bidirectional(one, other)

    def __call__(self, x):
        return self.rnn(x[None])[0]


class InTraining(nnx.Module):
    inputs = 2

    def __init__(self):
        self.norm = nnx.BatchNorm(2, use_running_average=False, rngs=nnx.Rngs(0))

    def __call__(self, x):
        return self.norm(x)


class Attending(nnx.Module):
    inputs = 2

    def __init__(self):
        self.attend = nnx.MultiHeadAttention(2, 2, decode=False, rngs=nnx.Rngs(0))

    def __call__(self, x):
        return self.attend(x[None])[0]


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        (Both, "reverses time"),
        (InTraining, "all samples"),
        (Attending, "each sample of one signal"),
    ],
    ids=["bidirectional", "batch norm in training", "attention over time"],
)
def test_layers_that_need_the_whole_signal_are_refused(kind, reason):
    with pytest.raises(adac_jax.RefusedError, match=reason) as caught:
        adac_jax.trace(kind())
    assert "test_wrapped_models.py" in str(caught.value)
