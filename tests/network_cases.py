"""The networks that the tests of interop read: documents, and what evaluates them in NumPy."""

from __future__ import annotations

import copy

import numpy as np
from nam_documents import NamWaveNet, nam_array, nam_document, nam_lstm, run_nam_lstm
from network_documents import (
    keras_document,
    keras_layer,
    numbers,
    run_aidax,
    run_keras,
    run_torch,
    torch_document,
)

from adac_jax import interop

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
TINY = NamWaveNet([nam_array(1, 2, 1, dilations=[1, 3])])
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
CONTAINER = nam_document(
    "SlimmableContainer",
    {
        "submodels": [
            {"max_value": 0.5, "model": STANDARD.document},
            {"max_value": 1.0, "model": TINY.document},
        ]
    },
    [[]],
)


def run_linear(document, x: np.ndarray) -> np.ndarray:
    return np.convolve(x[:, 0], TAPS[:6])[: len(x), None] + TAPS[6]


NAM = {
    "lstm": (lambda document, x: run_nam_lstm(LSTM_WEIGHTS, x), NAM_LSTM),
    "linear": (run_linear, LINEAR),
    "container": (lambda document, x: TINY.evaluate(x), CONTAINER),
    **{
        f"wavenet {k}": (lambda document, x, net=net: net.evaluate(x), net.document)
        for k, net in {"tiny": TINY, "standard": STANDARD, "gated": GATED, "newer": NEWER}.items()
    },
}
CASES = {
    **{f"rtneural {k}": (interop.rtneural, run_keras, d) for k, d in KERAS.items()},
    **{f"aidax {k}": (interop.aidax, run_aidax, d) for k, d in AIDA.items()},
    **{f"guitarml {k}": (interop.guitarml, run_torch, d) for k, d in TORCH.items()},
    **{f"nam {k}": (interop.nam, evaluate, d) for k, (evaluate, d) in NAM.items()},
}


def changed(document, *path, value=None, drop=False):
    """A copy with one entry replaced or removed."""
    document = copy.deepcopy(document)
    part = document
    for key in path[:-1]:
        part = part[key]
    if drop:
        del part[path[-1]]
    else:
        part[path[-1]] = value
    return document
