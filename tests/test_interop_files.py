"""Files of trained networks: told apart, read by the command line, and refused by their place."""

from __future__ import annotations

import json
import random
from pathlib import Path

import jax
import jax.numpy as jnp
import pytest
from adac_documents import document as adac_document
from adac_documents import network
from network_cases import AIDA, CASES, CONTAINER, KERAS, NAM_LSTM, STANDARD, TORCH, changed

import adac_jax
from adac_jax import interop, loading
from adac_jax.cli import main

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
    assert main([str(path), "--out", str(tmp_path / "out"), "--seconds", "0.05"]) == 0
    assert (tmp_path / "out" / f"{path.stem}.dsp").is_file()


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
