"""Scans, loops, branches and convolutions: the graph computes what JAX computes."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen, nnx
from jax import lax
from readings import compared_with_jax, in_blocks, in_faust

import adac_jax
import ir

LENGTH = 60
# Float64 recursions over 60 samples of at most 100 operations on numbers below 8, contracting or
# growing by no more than LENGTH: 60 * 100 * 8 * 2^-53 = 5e-12.
TOLERANCE = 5e-12

A = np.array([[0.3, -0.5, 0.1], [0.2, 0.4, -0.3], [-0.1, 0.2, 0.5]])


def noise(channels: int = 3, length: int = LENGTH) -> np.ndarray:
    return np.random.default_rng(7).uniform(-1, 1, (length, channels))


def smoothed(x):
    """A one-pole filter, written as a scan."""

    def step(s, v):
        s = 0.9 * s + 0.1 * v
        return s, s

    return lax.scan(step, jnp.zeros(x.shape[1]), x)[1]


def from_initial(x):
    def step(s, v):
        return jnp.tanh(s @ A + v), s

    return lax.scan(step, jnp.array([0.5, -0.25, 0.125]), x)[1]


def several_carries(x):
    def step(carry, v):
        count, held, flag = carry
        up = jnp.sum(v) > 0
        held = jnp.where(up & ~flag, v, held)
        return (count + up.astype(jnp.int32), held, up), held * count.astype(v.dtype)

    start = (jnp.array(3), jnp.ones(3), jnp.array(True))
    return lax.scan(step, start, x)[1]


def nested(x):
    """Each sample: three steps of an inner scan over the channels, and a fixed iteration."""

    def step(s, v):
        s, partial = lax.scan(lambda a, b: (0.5 * a + b, a), s, v)
        s = lax.fori_loop(0, 3, lambda k, a: 0.5 * (a + jnp.tanh(a + k)), s)
        return 0.3 * s, partial

    return lax.scan(step, jnp.zeros(()), x)[1]


def branching(x):
    def step(s, v):
        s = lax.cond(v[0] > 0, lambda a: 0.5 * a + v, lambda a: 0.25 * a - v, s)
        k = jnp.clip((3 * v[1] + 1.5).astype(jnp.int32), 0, 2)
        return s, lax.switch(k, [lambda a: a, lambda a: 2 * a, lambda a: -a], s)

    return lax.scan(step, jnp.zeros(3), x)[1]


def oscillator(x):
    """Hears nothing: a rotation by a fixed angle each sample."""

    def step(s, _):
        c, d = jnp.cos(0.1), jnp.sin(0.1)
        return jnp.array([c * s[0] - d * s[1], d * s[0] + c * s[1]]), s

    s = lax.scan(step, jnp.array([1.0, 0.0]), None, length=len(x))[1]
    return x * s[:, :1]


def newton(x):
    """An implicit diode clipper by a fixed number of iterations."""

    def step(s, v):
        def once(k, y):
            return y - (y + 0.1 * jnp.sinh(y) - v - s) / (1 + 0.1 * jnp.cosh(y))

        y = lax.fori_loop(0, 4, once, s)
        return 0.5 * y, y

    return lax.scan(step, jnp.zeros(3), x)[1]


def while_known(x):
    def halved(carry):
        k, y = carry
        return k + 1, 0.5 * y + x

    return lax.while_loop(lambda c: c[0] < 4, halved, (0, x))[1]


def convolved(dilation: int = 1, groups: int = 1, kernel=None):
    def model(x):
        shape = (4, 3 // groups, 3)
        h = noise(3 * 3 // groups, 4).reshape(shape) if kernel is None else kernel
        return lax.conv_general_dilated(
            x[None],
            jnp.asarray(h, x.dtype),
            (1,),
            [((len(h) - 1) * dilation, 0)],
            rhs_dilation=(dilation,),
            dimension_numbers=("NTC", "TIO", "NTC"),
            feature_group_count=groups,
        )[0]

    return model


def over_channels(x):
    h = jnp.array([0.5, 1.0, -0.25]).reshape(1, 1, 3)
    return lax.conv_general_dilated(x[:, None, :], h, (1,), [(1, 1)])[:, 0]


def centred_then_delayed(x):
    """Padding on both sides looks ahead; a delay takes it back."""
    y = lax.conv_general_dilated(
        x.T[:, None], jnp.array([0.25, 0.5, 0.3])[None, None], (1,), [(1, 1)]
    )[:, 0].T
    return adac_jax.delay(y, 1)


CASES = {
    "scan": smoothed,
    "initial state": from_initial,
    "several carries": several_carries,
    "nested scans": nested,
    "branches": branching,
    "oscillator": oscillator,
    "newton": newton,
    "while": while_known,
    "cumsum": lambda x: jnp.cumsum(x, axis=0),
    "cumprod": lambda x: jnp.cumprod(1 - 0.01 * x, axis=0),
    "cummax": lambda x: lax.cummax(x, axis=0),
    "cummin": lambda x: lax.cummin(x, axis=0),
    "running maximum of integers": lambda x: lax.cummax((9 * x).astype(int), axis=0) / 7.0,
    "cumsum over channels": lambda x: jnp.cumsum(x, axis=1),
    "cumprod over channels, reversed": lambda x: lax.cumprod(x, axis=1, reverse=True),
    "cumlogsumexp over channels": lambda x: lax.cumlogsumexp(x, axis=1),
    "sample number": lambda x: x * jnp.sin(0.01 * jnp.arange(len(x)))[:, None],
    "phase": lambda x: x * jnp.sin(jnp.cumsum(jnp.full(len(x), 0.02)))[:, None],
    "modulated phase": lambda x: jnp.sin(jnp.cumsum(0.02 + 0.01 * x, axis=0)),
    "convolution": convolved(),
    "dilated convolution": convolved(3),
    "grouped convolution": convolved(2, 3),
    "convolution of audio that is padded": lambda x: (
        lax.conv_general_dilated(
            jnp.pad(jnp.tanh(x), ((2, 0), (0, 0))).T[None],
            jnp.asarray(A, x.dtype)[:, None],
            (1,),
            "VALID",
            feature_group_count=3,
        )[0].T
    ),
    "convolution of one tap": convolved(kernel=A[None]),
    "convolution over channels": over_channels,
    "centred convolution": centred_then_delayed,
}


@pytest.mark.parametrize("name", CASES)
def test_graph_computes_what_jax_computes(name):
    compared_with_jax(CASES[name], noise(), TOLERANCE, (in_blocks, in_faust))


class Recurrent(nnx.Module):
    """A cell under nnx.RNN and a linear output, as GuitarML and others train amplifiers."""

    inputs = 1

    def __init__(self, cell, rngs):
        self.rnn = nnx.RNN(cell(1, 5, rngs=rngs))
        self.out = nnx.Linear(5, 1, rngs=rngs)

    def __call__(self, x):
        return self.out(self.rnn(x[None])[0]) + x


class Wave(nnx.Module):
    """Dilated causal convolutions with gates and skips."""

    inputs = 1

    def __init__(self, rngs):
        self.first = nnx.Linear(1, 4, rngs=rngs)
        conv = {"kernel_size": 3, "padding": "CAUSAL", "rngs": rngs}
        self.layers = nnx.List(
            [nnx.Conv(4, 8, kernel_dilation=d, **conv) for d in (1, 2, 4)]  # type: ignore[arg-type]
        )
        self.mixes = nnx.List([nnx.Linear(4, 4, rngs=rngs) for _ in range(3)])
        self.norm = nnx.LayerNorm(4, rngs=rngs)
        self.last = nnx.Linear(4, 1, rngs=rngs)

    def __call__(self, x):
        y, skip = self.first(x)[None], 0.0
        for layer, mix in zip(self.layers, self.mixes, strict=True):
            a, b = jnp.split(layer(y), 2, axis=-1)
            z = jnp.tanh(a) * nnx.sigmoid(b)
            skip = skip + z
            y = y + mix(z)
        return self.last(self.norm(skip))[0]


LAYERS = {
    "lstm": lambda: Recurrent(nnx.LSTMCell, nnx.Rngs(0)),
    "optimised lstm": lambda: Recurrent(nnx.OptimizedLSTMCell, nnx.Rngs(0)),
    "gru": lambda: Recurrent(nnx.GRUCell, nnx.Rngs(0)),
    "simple": lambda: Recurrent(nnx.SimpleCell, nnx.Rngs(0)),
    "wavenet": lambda: Wave(nnx.Rngs(0)),
}


@pytest.mark.parametrize("name", LAYERS)
def test_flax_layers_are_exported_as_they_are(name):
    model = LAYERS[name]()
    x = noise(1)
    with jax.enable_x64(True):
        traced = adac_jax.trace(model)
        expected = np.asarray(traced.function(traced.parameters, jnp.asarray(x)))
    (found,) = ir.run(traced.program, x)
    assert np.max(np.abs(found - expected)) <= TOLERANCE
    (found,) = in_faust(traced.program, [x], LENGTH)
    assert np.max(np.abs(found - expected)) <= TOLERANCE


class LinenRNN(linen.Module):
    @linen.compact
    def __call__(self, x):
        y = linen.RNN(linen.GRUCell(4))(x[None])[0]
        return linen.Dense(1)(y)


def test_linen_recurrent_layers():
    model, x = LinenRNN(), noise(1)
    variables = model.init(jax.random.key(0), jnp.asarray(x, jnp.float32))
    with jax.enable_x64(True):
        traced = adac_jax.trace(model, parameters=variables, inputs=1)
        expected = np.asarray(traced.function(traced.parameters, jnp.asarray(x)))
    (found,) = ir.run(traced.program, x)
    assert np.max(np.abs(found - expected)) <= TOLERANCE


def test_a_parameter_chooses_a_branch():
    def model(p, x):
        return lax.cond(p["on"] > 0, lambda v: jnp.tanh(v), lambda v: 2 * v, x)

    x = noise()
    for value in (1.0, -1.0):
        with jax.enable_x64(True):
            traced = adac_jax.trace(model, parameters={"on": jnp.array(value)}, inputs=3)
            expected = np.tanh(x) if value > 0 else 2 * x
        (found,) = ir.run(traced.program, x)
        np.testing.assert_allclose(found, expected, atol=1e-14)


REFUSED = {
    "backwards": (
        lambda x: lax.scan(lambda s, v: (s + v, s), jnp.zeros(3), x, reverse=True)[1],
        "from the last",
    ),
    "final state": (lambda x: x + lax.scan(lambda s, v: (s + v, v), jnp.zeros(3), x)[0], "state"),
    "signal in each step": (
        lambda x: lax.scan(lambda s, v: (s, v + x.sum(1)[:3]), 0.0, x)[1],
        "reads a whole signal",
    ),
    "state from a signal": (
        lambda x: lax.scan(lambda s, v: (s, s[:1] + v), x[:, 0], x)[1],
        "",
    ),
    "length by signal": (
        lambda x: lax.scan(
            lambda s, v: (lax.while_loop(lambda a: a.sum() < 1, lambda a: a + 1, v), s),
            jnp.zeros(3),
            x,
        )[1],
        "depends on a signal",
    ),
    "strided": (
        lambda x: (
            jnp.repeat(
                lax.conv_general_dilated(x.T[:, None], jnp.ones((1, 1, 2)), (2,), [(1, 0)]), 2, 2
            )[:, 0, : len(x)].T
        ),
        "sample rate",
    ),
    "two-sided": (
        lambda x: lax.conv_general_dilated(x.T[:, None], jnp.ones((1, 1, 3)), (1,), "SAME")[:, 0].T,
        "1 samples ahead",
    ),
    "cumulative from the end": (lambda x: lax.cumsum(x, axis=0, reverse=True), "from the last"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_not_causal_is_refused(name):
    function, reason = REFUSED[name]
    with pytest.raises(adac_jax.AdacError) as caught:
        adac_jax.trace(function, inputs=3)
    assert reason in str(caught.value)
