"""Random models, put together from the modules: JAX, interpreter and FAUST agree."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import adac_jax
import ir
from adac_jax import nn
from adac_jax.host import Library
from adac_jax.report import compare
from emitters import faust

RATE = 48000
LENGTH = 400
DELAYS = st.integers(1, 60)
GAINS = st.floats(-0.9, 0.9).map(lambda g: round(g, 3))


def per_channel(draw, n: int) -> nn.Module:
    """A filter, gain or delay of n channels."""
    kind = draw(
        st.sampled_from(["gain", "one-pole", "shelf", "biquad", "svf", "fir", "delay", "peq"])
    )
    frequency = draw(st.floats(200.0, 9000.0))
    if kind == "gain":
        return nn.Gain(n, draw(st.lists(GAINS, min_size=n, max_size=n)))
    if kind == "one-pole":
        return nn.OnePole(n, 0.9, draw(st.floats(0.1, 0.8)))
    if kind == "shelf":
        return nn.FirstOrderShelf(n, 0.8, 0.4, frequency, sample_rate=RATE)
    if kind == "biquad":
        shape = draw(st.sampled_from(["lowpass", "highpass", "bandpass", "notch", "allpass"]))
        return nn.Biquad(n, shape, frequency=frequency, sample_rate=RATE)
    if kind == "svf":
        return nn.SVF(n, "lowpass", frequency=frequency, sample_rate=RATE)
    if kind == "fir":
        count = draw(st.integers(1, 5))
        return nn.FIR(n, np.random.default_rng(count).uniform(-0.2, 0.2, (count, n)))
    if kind == "delay":
        return nn.Delay(draw(st.lists(st.integers(0, 40), min_size=n, max_size=n)))
    return nn.PEQ(n, 3, gains_db=-3.0, sample_rate=RATE)


def network(draw, inputs: int, outputs: int, depth: int) -> nn.Module:
    """A network whose loop contracts: its gains are below one and its matrix is orthogonal."""
    n = draw(st.sampled_from([1, 2, 4]))
    matrix = draw(st.sampled_from(["orthogonal", "householder", "hadamard", "circulant"]))
    inner = model(draw, n, n, depth - 1) if depth and draw(st.booleans()) else None
    return nn.FDN(
        draw(st.lists(DELAYS, min_size=n, max_size=n)),
        inputs=inputs,
        outputs=outputs,
        matrix=matrix,
        absorption=nn.Gain(n, [0.5] * n),
        feedback_delays=draw(st.none() | st.lists(DELAYS, min_size=n, max_size=n)),
        loop=None if inner is None else nn.Serial(inner, nn.Gain(n, [0.1] * n)),
        direct=np.full((outputs, inputs), 0.25) if draw(st.booleans()) else None,
        rngs=nnx.Rngs(draw(st.integers(0, 99))),
    )


def model(draw, inputs: int, outputs: int, depth: int) -> nn.Module:
    """A module of these numbers of channels."""
    kinds = ["matrix", "network"] + (["serial", "parallel"] if depth else [])
    kinds += ["filter"] if inputs == outputs else []
    kind = draw(st.sampled_from(kinds))
    if kind == "filter":
        return per_channel(draw, inputs)
    if kind == "matrix":
        weight = np.random.default_rng(draw(st.integers(0, 99))).normal(size=(outputs, inputs))
        return nn.Matrix(outputs, inputs, weight=weight / 2)
    if kind == "network":
        return network(draw, inputs, outputs, depth)
    if kind == "serial":
        middle = draw(st.integers(1, 3))
        first, second = (
            model(draw, inputs, middle, depth - 1),
            model(draw, middle, outputs, depth - 1),
        )
        return nn.Serial(first, second)
    return nn.Parallel(*(model(draw, inputs, outputs, depth - 1) for _ in range(2)))


@st.composite
def models(draw) -> nn.Module:
    return model(draw, draw(st.integers(1, 3)), draw(st.integers(1, 3)), 2)


@settings(max_examples=40, derandomize=True, deadline=None, suppress_health_check=list(HealthCheck))
@given(models())
def test_readings_of_a_random_model_agree(module):
    x = np.random.default_rng(0).uniform(-1, 1, (LENGTH, module.inputs))
    with jax.enable_x64(True):
        traced = adac_jax.trace(module)
        expected = np.asarray(jax.jit(traced.function)(traced.parameters, jnp.asarray(x)))
    (judged,) = ir.run(traced.program, x)
    assert compare("noise", "interpreter", "JAX", judged, expected, -240.0).passed
    source = faust.emit(traced.program)
    with Library(source, precision="double", sample_rate=RATE) as library:
        assert compare("noise", "double", "JAX", library.render(x), expected, -240.0).passed
    with Library(source, precision="single", sample_rate=RATE) as library:
        assert compare("noise", "single", "JAX", library.render(x), expected, -120.0).passed
