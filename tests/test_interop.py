"""Networks trained elsewhere compute what the programs that they come from compute."""

from __future__ import annotations

import copy
import json
import random
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from adac_documents import document as adac_document
from adac_documents import network
from flax import nnx
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
from readings import FAST

import adac_jax
from adac_jax import interop, loading
from adac_jax.cli import main

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


LSTM, CONV, GRU = KERAS["lstm"], KERAS["conv"], KERAS["gru"]
WAVE = STANDARD.document
ERRORS = [
    ("rtneural", [], "x.json (=a list of 0) must be an object."),
    ("rtneural", {}, "x.json has no `in_shape`; it has none."),
    (
        "rtneural",
        changed(LSTM, "layers", value=[]),
        "`layers` (=a list of 0) must be a list of one",
    ),
    ("rtneural", changed(LSTM, "in_shape", value=[None, 0]), "`in_shape[1]` (=0) must be a whole"),
    (
        "rtneural",
        changed(LSTM, "layers", 0, "type", value="conv3d"),
        "`layers[0].type` (='conv3d')",
    ),
    ("rtneural", changed(LSTM, "layers", 0, "activation", value="relu"), "`layers[0].activation`"),
    (
        "rtneural",
        changed(CONV, "layers", 0, "activation", value="gelu"),
        "(='gelu') must be one of",
    ),
    ("rtneural", changed(LSTM, "layers", 1, "weights", drop=True), "`layers[1]` has no `weights`"),
    (
        "rtneural",
        changed(LSTM, "layers", 0, "weights", 1, 2, value=[0.0] * 15),
        "`layers[0].weights[1][2]` (=a list of 15) must be a list of 16, for the shape is (4, 16).",
    ),
    (
        "rtneural",
        changed(LSTM, "layers", 1, "weights", 0, 3, 0, value=float("nan")),
        "`layers[1].weights[0][3][0]` (=nan) must be a finite number.",
    ),
    (
        "rtneural",
        changed(LSTM, "layers", 1, "weights", 1, 0, value="0.5"),
        "(='0.5') must be a finite",
    ),
    (
        "rtneural",
        changed(LSTM, "layers", 1, "weights", 1, 0, value=True),
        "(=true) must be a finite",
    ),
    (
        "rtneural",
        changed(LSTM, "layers", 1, "weights", 1, 0, value=10**400),
        "must be a finite number",
    ),
    ("rtneural", changed(LSTM, "layers", 1, "shape", value=[2]), "a shape that ends in 1"),
    ("rtneural", changed(CONV, "layers", 0, "dilation", value=[10**9]), "`layers[0].dilation[0]`"),
    ("rtneural", changed(CONV, "layers", 1, "groups", value=3), "must be a divisor of 4"),
    ("rtneural", changed(CONV, "layers", 3, "weights", 3, 0, value=-1), "none is negative"),
    (
        "aidax",
        changed(LSTM, "in_skip", value=2),
        "`in_skip` (=2) must be a whole number from 0 to 1",
    ),
    (
        "aidax",
        changed(LSTM, "in_gain", value="6 dB"),
        "`in_gain` (='6 dB') must be a finite number",
    ),
    ("aidax", KERAS["dense"], "has 2 inputs and 3 outputs; in AIDA-X"),
    (
        "guitarml",
        changed(TORCH["lstm"], "model_data", "model", value="RecNet"),
        "(='RecNet') must be",
    ),
    ("guitarml", changed(TORCH["lstm"], "model_data", "unit_type", value="RNN"), "'LSTM', 'GRU'"),
    (
        "guitarml",
        changed(TORCH["lstm"], "model_data", "hidden_size", value=10**9),
        "from 1 to 4096",
    ),
    (
        "guitarml",
        changed(TORCH["lstm"], "model_data", "hidden_size", value=5),
        "must be a list of 20",
    ),
    ("guitarml", changed(TORCH["lstm"], "model_data", "num_layers", value=2), "rec.weight_ih_l1"),
    (
        "guitarml",
        changed(TORCH["two lstms, knobs"], "model_data", "num_layers", value=1),
        "`state_dict` has 'rec.weight_ih_l1', which a LSTM of these sizes has not.",
    ),
    (
        "guitarml",
        changed(TORCH["gru"], "state_dict", "rec.bias_hh_l0", 3, value=None),
        "`state_dict['rec.bias_hh_l0'][3]` (=null) must be a finite number.",
    ),
    ("nam", changed(WAVE, "architecture", value="Transformer"), "'LSTM', 'WaveNet', 'Linear'"),
    (
        "nam",
        changed(WAVE, "weights", 5, value=float("inf")),
        "`weights[5]` (=inf) must be a finite",
    ),
    ("nam", changed(WAVE, "weights", value=[0.5] * 100), "(=a list of 100) must be a list of"),
    ("nam", changed(WAVE, "weights", value=[0.5] * 1000), "(=a list of 1000) must be a list of"),
    (
        "nam",
        changed(WAVE, "config", "layers", 1, "channels", value=3),
        "whose heads have 2 channels",
    ),
    ("nam", changed(WAVE, "config", "layers", 0, "activation", value="GELU"), "(='GELU') must be"),
    ("nam", changed(WAVE, "config", "condition_dsp", value={}), "is not read."),
    ("nam", changed(WAVE, "config", "layers", 0, "conv_pre_film", value={}), "is not read."),
    (
        "nam",
        changed(CONTAINER, "config", "submodels", 1, "model", value=CONTAINER),
        "`config.submodels[1].model.architecture` (='SlimmableContainer') must be one of",
    ),
    ("nam", changed(WAVE, "sample_rate", value=-1), "`sample_rate` (=-1) must be a finite number"),
]


@pytest.mark.parametrize(("reader", "document", "words"), ERRORS)
def test_errors_name_the_place(reader, document, words):
    with pytest.raises(interop.FormatError) as caught:
        getattr(interop, reader)(document, "x.json")
    message = str(caught.value)
    assert message.startswith("x.json")
    assert message.endswith(".")
    assert "\n" not in message
    assert words in message


@pytest.fixture
def file(tmp_path):
    def write(name: str, content) -> Path:
        path = tmp_path / name
        if isinstance(content, bytes):
            path.write_bytes(content)
        else:
            path.write_text(json.dumps(content))
        return path

    return write


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"{", "x.json is not JSON: "),
        (b"[" * 100_000, "x.json is nested too deeply."),
        (b"\xff\xfe", "x.json is not text in UTF-8"),
        (b"[" + b"9" * 5000 + b"]", "x.json is not JSON"),
        ([1], "x.json is of no known format"),
        ({"format": "adac_jax.ir"}, "x.json is of no known format"),
    ],
)
def test_files_that_hold_no_model(file, content, words):
    with pytest.raises(interop.FormatError, match=words):
        interop.load(file("x.json", content))


def test_files_that_are_not_read(file, tmp_path, monkeypatch):
    with pytest.raises(interop.FormatError, match="does not exist"):
        interop.load(tmp_path / "gone.nam")
    monkeypatch.setattr("adac_jax.interop.documents.MAX_BYTES", 10)
    with pytest.raises(interop.FormatError, match=r"x.json has \d+ bytes; at most 10 are read"):
        interop.load(file("x.json", LSTM))


@pytest.mark.parametrize(
    ("name", "document", "rate"),
    [
        ("x.json", LSTM, None),
        ("x.json", AIDA["skip and gains"] | {"samplerate": 48000}, 48000),
        ("x.aidax", AIDA["plain"] | {"metadata": {"samplerate": "44100"}}, 44100),
        ("x.json", TORCH["gru"], None),
        ("x.nam", WAVE, 44100),
        ("x.json", adac_document(network()), 48000),
    ],
)
def test_the_contents_say_which_format_it_is(file, name, document, rate):
    model = loading.load(str(file(name, document)))
    assert getattr(model, "sample_rate", None) == rate
    assert model.outputs == jax.eval_shape(model, jnp.zeros((3, model.inputs))).shape[1]
    if rate is not None:
        with pytest.raises(adac_jax.AdacError, match=f"was made for {rate} Hz, not for 96000 Hz"):
            loading.load(str(file(name, document)), sample_rate=96000)


def test_the_command_line_exports_a_capture(file, tmp_path):
    path = file("amplifier.nam", NAM_LSTM)
    command = [
        str(path),
        "--out",
        str(tmp_path / "out"),
        "--seconds",
        "0.05",
        "--name",
        "amplifier",
    ]
    assert main(command) == 0
    assert (tmp_path / "out" / "amplifier.dsp").is_file()


def test_the_command_line_names_what_is_wrong(file, capsys):
    assert main([str(file("amplifier.nam", changed(WAVE, "weights", value=[])))]) == 1
    assert "`weights` (=a list of 0) must be a list of one or more" in capsys.readouterr().err


def places(value, path=()):
    """The paths of all entries of a document."""
    yield path
    if isinstance(value, (dict, list)):
        keys = value if isinstance(value, dict) else range(len(value))
        for key in keys:
            yield from places(value[key], (*path, key))


DAMAGE = [None, True, 0, -1, 3, 10**9, 10**400, 1.5, float("nan"), 1e30, "", "x", [], [[1.0]], {}]


@pytest.mark.parametrize("name", [n for n in CASES if "standard" not in n])
def test_damaged_documents_give_a_model_or_a_sentence(name):
    reader, _, document = CASES[name]
    choose = random.Random(name)
    spots = [path for path in places(document) if path and len(path) <= 5]
    refusals = []
    for _ in range(30):
        spot = choose.choice(spots)
        damaged = changed(document, *spot, value=choose.choice(DAMAGE), drop=choose.random() < 0.2)
        try:
            model = reader(damaged, "x.json")
        except interop.FormatError as error:
            refusals.append(str(error))
        else:
            x = jax.ShapeDtypeStruct((3, model.inputs), jnp.float32)
            assert jax.eval_shape(model, x).shape == (3, model.outputs)
    assert len(refusals) > 5
    assert all(r.startswith("x.json") and r.endswith(".") and "\n" not in r for r in refusals)
