"""Networks trained elsewhere compute what the programs that they come from compute."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from nam_documents import NamWaveNet, nam_array, nam_lstm
from network_cases import AIDA, CASES, KERAS, TINY
from network_documents import torch_document
from readings import FAST

import adac_jax
from adac_jax import interop

LENGTH = 200
# Float64 on both sides, of weights that both hold exactly. A sample takes at most 500 operations on
# numbers below 8, each rounded to 2^-53 of them; the recursions are too weakly fed back to amplify,
# so errors at most add up over the samples: 200 * 500 * 8 * 2^-53 = 9e-11. A wrong order of gates
# or taps gives differences above 1e-3.
TOLERANCE = 9e-11


def noise(channels: int) -> np.ndarray:
    return np.random.default_rng(7).uniform(-1, 1, (LENGTH, channels))


def in_jax(reader, document, x: np.ndarray) -> np.ndarray:
    """The document's model in float64."""
    with jax.enable_x64(True):
        model = reader(document)
        return np.asarray(jax.jit(model, compiler_options=FAST)(jnp.asarray(x)))


@pytest.mark.parametrize("name", CASES)
def test_jax_computes_what_the_format_means(name):
    reader, evaluate, document = CASES[name]
    model = reader(document)
    x = noise(model.inputs)
    expected = evaluate(document, x)
    assert expected.shape == (LENGTH, model.outputs)
    found = in_jax(reader, document, x)
    assert np.max(np.abs(found - expected)) <= TOLERANCE


SMALL = {
    "rtneural": (interop.rtneural, KERAS["lstm"]),
    "aidax": (interop.aidax, AIDA["skip and gains"]),
    "guitarml": (interop.guitarml, torch_document("GRU", inputs=2, hidden=3)),
    "nam lstm": (interop.nam, nam_lstm(count=1)[0]),
    "nam wavenet": (interop.nam, TINY.document),
}


@pytest.mark.parametrize("name", SMALL)
def test_faust_computes_what_jax_does(name):
    reader, document = SMALL[name]
    report = adac_jax.verify(reader(document), seconds=0.03)
    assert report.passed, report.checks


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_faust_computes_what_jax_does_of_all(name):
    reader, _, document = CASES[name]
    report = adac_jax.verify(reader(document), seconds=0.2)
    # Random weights may give an output that is small against the terms it is a sum of, which single
    # precision then cannot hold to -120 dB of its peak; `SMALL` is held to that.
    doubles = [check for check in report.checks if check.reading != "FAUST single"]
    assert len(doubles) > 4
    assert all(check.passed for check in doubles), doubles


@pytest.mark.slow
def test_a_capture_of_usual_size_in_faust():
    """Neural Amp Modeler's standard WaveNet: 13,802 weights, of two arrays of ten layers."""
    dilations = [2**k for k in range(10)]
    layers = [
        nam_array(1, 16, 8, dilations=dilations),
        nam_array(16, 8, 1, dilations=dilations, head_bias=True),
    ]
    net = NamWaveNet(layers)
    net.document["weights"] = [w / 4 for w in net.document["weights"]]  # of a trained one's size
    assert len(net.document["weights"]) == 13802
    report = adac_jax.verify(interop.nam(net.document), seconds=0.1)
    assert report.passed, report.checks


@pytest.mark.parametrize("name", ["rtneural conv", "guitarml gru", "nam lstm", "nam wavenet tiny"])
def test_models_train_further(name):
    """A step against the gradient of all parameters brings the output nearer to a target."""
    reader, _, document = CASES[name]
    model = reader(document)
    graphdef, parameters, rest = nnx.split(model, nnx.Param, ...)
    assert not jax.tree.leaves(nnx.filter_state(rest, nnx.RngState))
    x = jnp.asarray(noise(model.inputs), jnp.float32)

    @jax.jit
    @jax.value_and_grad
    def loss(parameters):
        return jnp.mean((nnx.merge(graphdef, parameters, rest)(x) - 0.25) ** 2)

    before, slope = loss(parameters)
    norms = np.array([float(jnp.max(jnp.abs(g))) for g in jax.tree.leaves(slope)])
    assert np.all(np.isfinite(norms))
    unheard = 2 if "wavenet" in name else 0  # what the last layer would give to a next one
    assert np.sum(norms == 0) == unheard
    after, _ = loss(jax.tree.map(lambda p, g: p - 1e-3 * g, parameters, slope))
    assert after < before


def test_models_take_batches():
    reader, _, document = CASES["nam lstm"]
    model = reader(document)
    x = jnp.asarray(np.random.default_rng(3).uniform(-1, 1, (2, 3, 20, 1)), jnp.float32)
    batched, single = jax.jit(model)(x)[1, 2], jax.jit(model)(x[1, 2])
    # 20 samples of at most 100 operations on numbers below 4, in float32: 20 * 100 * 4 * 2^-24.
    assert jnp.max(jnp.abs(batched - single)) <= 5e-4
