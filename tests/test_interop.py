"""Networks trained elsewhere compute what the programs that they come from compute."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from network_documents import (
    NamWaveNet,
    keras_document,
    keras_layer,
    nam_array,
    nam_document,
    nam_lstm,
    numbers,
    run_aidax,
    run_keras,
    run_nam_lstm,
    run_torch,
    torch_document,
)

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


def in_jax(model, x: np.ndarray) -> np.ndarray:
    """The model in float64."""
    with jax.enable_x64(True):
        traced = adac_jax.trace(model)
        return np.asarray(traced.function(traced.parameters, jnp.asarray(x)))


KERAS = {
    "dense": keras_document(
        2,
        keras_layer("dense", 2, 5, 0, activation="tanh"),
        keras_layer("dense", 5, 4, 10, activation="elu"),
        keras_layer("dense", 4, 3, 20, activation="softmax"),
    ),
    "conv": keras_document(
        2,
        keras_layer("conv1d", 2, 4, 0, taps=3, dilation=5, activation="relu"),
        keras_layer("conv1d", 4, 6, 10, taps=2, groups=2),
        keras_layer("prelu", 6, 6, 20),
        keras_layer("batchnorm", 6, 6, 30),
        keras_layer("activation", 6, 6, 40, activation="sigmoid"),
        keras_layer("dense", 6, 1, 50),
    ),
    "lstm": keras_document(
        1, keras_layer("lstm", 1, 4, 0, activation="tanh"), keras_layer("dense", 4, 1, 10)
    ),
    "gru": keras_document(
        3, keras_layer("gru", 3, 4, 0), keras_layer("gru", 4, 3, 10), keras_layer("dense", 3, 1, 20)
    ),
}
AIDA = {
    "plain": KERAS["lstm"],
    "skip and gains": KERAS["lstm"] | {"in_skip": 1, "in_gain": 6.0, "out_gain": -3.5},
    "two knobs": KERAS["gru"] | {"in_skip": 1, "in_gain": -6.0},
}
TORCH = {
    "lstm": torch_document("LSTM", skip=1),
    "gru": torch_document("GRU", skip=0),
    "two lstms, knobs": torch_document("LSTM", inputs=3, layers=2, hidden=3),
    "two grus, stereo": torch_document("GRU", 2, 3, 2, outputs=2, skip=2, biased=False),
}
STANDARD = NamWaveNet([nam_array(1, 4, 2), nam_array(4, 2, 1, head_bias=True)])
GATED = NamWaveNet([nam_array(1, 3, 2, gated=True), nam_array(3, 2, 1, activation="ReLU")])
NEWER = NamWaveNet(
    [
        nam_array(
            2,
            4,
            6,
            condition=2,
            gated=None,
            gating_mode="gated",
            secondary_activation="Hardtanh",
            bottleneck=2,
            kernel_size=None,
            kernel_sizes=[2, 3, 1],
            activation={"type": "LeakyReLU", "negative_slope": 0.01},
            groups_input=2,
            groups_input_mixin=2,
            layer1x1={"active": True, "groups": 2},
            head1x1={"active": True, "out_channels": 4, "groups": 1},
            conv_pre_film=False,
        ),
        nam_array(
            4,
            6,
            None,
            condition=2,
            activation="SiLU",
            layer1x1={"active": False, "groups": 1},
            head={"out_channels": 2, "kernel_size": 3, "bias": True},
            head_bias=None,
        ),
    ],
    inputs=2,
)
TAPS = numbers(0, 7)
LINEAR = nam_document("Linear", {"receptive_field": 6, "bias": True}, [TAPS])
NAM_LSTM, LSTM_WEIGHTS = nam_lstm()


def run_linear(document, x: np.ndarray) -> np.ndarray:
    return np.convolve(x[:, 0], TAPS[:6])[: len(x), None] + TAPS[6]


NAM = {
    "lstm": (lambda document, x: run_nam_lstm(LSTM_WEIGHTS, x), NAM_LSTM),
    "linear": (run_linear, LINEAR),
    **{
        f"wavenet {k}": (lambda document, x, net=net: net.evaluate(x), net.document)
        for k, net in {"standard": STANDARD, "gated": GATED, "newer": NEWER}.items()
    },
}
CASES = {
    **{f"rtneural {k}": (interop.rtneural, run_keras, d) for k, d in KERAS.items()},
    **{f"aidax {k}": (interop.aidax, run_aidax, d) for k, d in AIDA.items()},
    **{f"guitarml {k}": (interop.guitarml, run_torch, d) for k, d in TORCH.items()},
    **{f"nam {k}": (interop.nam, evaluate, d) for k, (evaluate, d) in NAM.items()},
}


@pytest.mark.parametrize("name", CASES)
def test_jax_computes_what_the_format_means(name):
    reader, evaluate, document = CASES[name]
    model = reader(document)
    x = noise(model.inputs)
    expected = evaluate(document, x)
    assert expected.shape == (LENGTH, model.outputs)
    found = in_jax(model, x)
    assert np.max(np.abs(found - expected)) <= TOLERANCE


@pytest.mark.parametrize(
    "name",
    ["rtneural conv", "aidax two knobs", "guitarml lstm", "nam lstm", "nam wavenet gated"],
)
def test_faust_computes_what_jax_does(name):
    reader, _, document = CASES[name]
    report = adac_jax.verify(reader(document), seconds=0.1)
    assert report.passed, report.checks
