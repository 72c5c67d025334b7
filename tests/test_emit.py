"""The text of the FAUST emitter: golden files, names, numbers, and what it refuses.

`ADAC_JAX_GOLDEN=1 pytest tests/test_emit.py` writes the golden files anew; read the difference.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from golden_models import MODELS, householder, network
from readings import in_faust, interpreted

import ir
from adac_jax.host import Library
from emitters import faust
from emitters.faust.text import RESERVED, atom, number, total

GOLDEN = Path(__file__).with_name("golden")
REWRITE = bool(os.environ.get("ADAC_JAX_GOLDEN"))


@pytest.mark.parametrize("model", MODELS, ids=lambda m: m.__name__)
def test_golden(model):
    text = faust.emit(model())
    file = GOLDEN / f"{model.__name__}.dsp"
    if REWRITE:
        file.write_text(text, encoding="utf-8")
    assert text == file.read_text(encoding="utf-8")


@pytest.mark.parametrize("model", MODELS, ids=lambda m: m.__name__)
def test_golden_models_run(model):
    program = model()
    rng = np.random.default_rng(1)
    inputs = []
    for k in program.graph.inputs:
        type_ = program.graph.nodes[k].type
        size = (100, *type_.shape)
        inputs.append(
            rng.integers(0, 40, size) if type_.kind == "int" else rng.uniform(-1, 1, size)
        )
    wanted = interpreted(program, inputs, 100)
    for y, w in zip(in_faust(program, inputs, 100), wanted, strict=True):
        np.testing.assert_allclose(y, w, rtol=0, atol=1e-12 * np.max(np.abs(w)))


def test_the_text_depends_on_nothing_else():
    """Two processes with different hash seeds write what this one writes."""
    code = "import golden_models as t; from emitters import faust\n"
    code += "print('%'.join(faust.emit(m()) for m in t.MODELS), end='')"
    wanted = "%".join(faust.emit(model()) for model in MODELS)
    for seed in ("1", "2"):
        environment = {**os.environ, "PYTHONHASHSEED": seed}
        found = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True,
            cwd=Path(__file__).parent, env=environment,
        )  # fmt: skip
        assert found.stdout == wanted


NAMES = [
    "", "x", "x", "x.0", "x_0", "x_0_0", "X", "process", "model", "tanh", "impulse", "keep", "par",
    "within", "in", "with", "_", "__", "0", "9lives", "größe", "π", "a b", "a\nb;", "//", "*/", '"',
    "é" * 40, "section", "one_pole", "direct", "e", "inf", "nan", "i", "_x", "x'", "float", "True",
    "y" * 900,
]  # fmt: skip


@pytest.mark.parametrize("shape", [(), (2,), (2, 2)])
def test_any_names(shape):
    """Names that are FAUST's, ours, equal, or equal once they are written, stay apart."""
    b = ir.Builder('a "name"\n')
    first = b.add("input", index=0, shape=shape, kind="real", name="x")
    second = b.add("input", index=1, shape=(), kind="real", name="x_0")
    b.add("input", index=2, shape=shape, kind="int", name="process")
    outputs = []
    for k, name in enumerate(NAMES):
        for source in (first, second):
            y = b.add("mul", source, b.constant(1.0 + k), name=name)
            outputs.append(b.add("tanh", y, name=name))
    u = b.reserve(shape)
    b.define(u, "add", first, b.add("delay", u, samples=(2,) * b.type(u).size, name="x"), name="x")
    program = ir.Program(b.build([*outputs, u]))
    rng = np.random.default_rng(2)
    inputs = [rng.uniform(-1, 1, (8, *shape)), rng.uniform(-1, 1, 8), np.ones((8, *shape), int)]
    wanted = interpreted(program, inputs, 8)
    for y, w in zip(in_faust(program, inputs, 8), wanted, strict=True):
        np.testing.assert_allclose(y, w, rtol=0, atol=1e-12)


@pytest.mark.parametrize("word", sorted(RESERVED))
def test_no_signal_takes_a_reserved_name(word):
    b = ir.Builder()
    x = b.add("input", index=0, shape=(), kind="real", name=word)
    program = ir.Program(b.build([b.add("tanh", x, name=word)]))
    lines = faust.emit(program).splitlines()
    defined = [line for line in lines if line.strip().startswith(f"{word} = ")]
    assert len(defined) == (word in ("process", "tanh"))  # those that are the program's own
    assert f"model({word})" not in "".join(lines)


@pytest.mark.parametrize(
    "value",
    [0.0, -0.0, 1.0, -1.0, 0.1, -1 / 3, 5e-324, -2.2250738585072014e-308, 1.7976931348623157e308,
     1e22, 1e-7, 123456789.123456789, np.nextafter(1, 2), float(2**53 + 2)],
)  # fmt: skip
def test_numbers_read_back(value):
    source = f"process = {number(value)};"
    with Library(source) as library:
        found = library.render(np.zeros((1, 0)))[0, 0]
    assert found.tobytes() == np.float64(value).tobytes()


@pytest.mark.parametrize("value", [0, 1, -1, True, 2**31 - 1, -(2**31)])
def test_integers_read_back(value):
    with Library(f"process = {number(value)};") as library:
        assert library.render(np.zeros((1, 0)))[0, 0] == value


@pytest.mark.parametrize("value", [np.inf, -np.inf, np.nan, 2**31, -(2**31) - 1])
def test_numbers_that_cannot_be_written(value):
    with pytest.raises(ir.IRError, match=r"cannot be written|32 bits"):
        number(value)


def test_sums():
    assert total([]) == "0.0"
    assert total([(0, "")], "0") == "0"
    assert total([(1, "a"), (0, ""), (-1, "b")]) == "a - b"
    assert total([(-1, "a"), (1, "b")]) == "0 - a + b"
    assert total([(-1, "2.0*a")]) == "(-2.0)*a"
    assert atom(-1.5) == "(-1.5)"
    long = total((1, f"x{k}") for k in range(1000))
    assert long.count("keep(") == 16


def refused(program: ir.Program, match: str) -> None:
    with pytest.raises(ir.IRError, match=match):
        faust.emit(program)


def test_refusals():
    b = ir.Builder("silent")
    x = b.add("input", index=0, shape=(0,), kind="real")
    refused(ir.Program(b.build([])), "no outputs")
    refused(ir.Program(b.build([x])), "no outputs")
    b = ir.Builder()
    y = b.add("log", b.constant(0.0))
    refused(ir.Program(b.build([y])), "cannot be written")
    b = ir.Builder()
    x = b.add("input", index=0, shape=(), kind="real")
    c = b.add("coefficient", slot="a", shape=(2,), kind="real")
    refused(ir.Program(b.build([b.add("iir", x, c, c)]), {"a": np.array([0.0, 1.0])}), "a_0")


def test_numbers_among_signals():
    """A number in an array of signals is computed here: FAUST refuses sqrt(-1.0)."""
    b = ir.Builder()
    x = b.add("input", index=0, shape=(1,), kind="real")
    c = b.add("coefficient", slot="c", shape=(2,), kind="real")
    both = b.add("concatenate", x, c, axis=0)
    program = ir.Program(b.build([b.add("sqrt", both)]), {"c": np.array([0.25, 4.0])})
    text = faust.emit(program)
    assert "sqrt" in text
    assert "0.5" in text
    assert text.count("sqrt(") == 1
    for value, op in ((-1.0, "sqrt"), (0.0, "log"), (0.0, "rsqrt")):
        b = ir.Builder()
        x = b.add("input", index=0, shape=(1,), kind="real")
        c = b.add("coefficient", slot="c", shape=(2,), kind="real")
        y = b.add(op, b.add("concatenate", x, c, axis=0))
        refused(ir.Program(b.build([y]), {"c": np.array([1.0, value])}), "cannot be written")


def structure(text: str) -> tuple[int, int]:
    """Additions and multiplications in a text, comments and text of helpers left out."""
    body = text[text.index("model(") :]
    lines = [line for line in body.splitlines() if not line.strip().startswith("//")]
    joined = "\n".join(lines)
    return joined.count(" + ") + joined.count(" - "), joined.count("*")


def test_structure_is_kept():
    """A butterfly of N log N additions stays one; a reflection stays 2 N multiplications."""
    additions, _ = structure(faust.emit(network()))
    assert additions == 4 * 2 + 4 + 3  # butterflies, inputs, the sum at the end
    _, multiplications = structure(faust.emit(householder()))
    assert multiplications == 2 * 70
