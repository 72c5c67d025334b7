"""JSON: what is written is read back and fits the schema; what is broken is refused in words."""

from __future__ import annotations

import contextlib
import copy
import json

import hypothesis.strategies as st
import jsonschema
import numpy as np
import pytest
from cases import CASES
from hypothesis import example, given, settings
from work import instructions

import ir
from ir.serial import SCHEMA

VALIDATOR = jsonschema.Draft202012Validator(json.loads(SCHEMA.read_text(encoding="utf-8")))


def reverb() -> ir.Program:
    """Two lines in a loop with a filter: a bit of everything."""
    b = ir.Builder("hall «größer»")
    x = b.add("input", index=0, shape=(2,), kind="real", name="x")
    u = b.reserve((2,))
    late = b.add("delay", u, samples=(3, 5), name="hall.delay")
    sos = b.add("coefficient", slot="hall.sos", shape=(1, 6, 2), kind="real")
    damped = b.add("sos", late, sos)
    A = b.add("coefficient", slot="hall.A", shape=(2, 2), kind="real")
    mixed = b.add("einsum", damped, A, subscripts="j,ij->i")
    half = b.add("mul", mixed, b.constant(0.5))
    b.define(u, "add", x, half)
    taken = b.add("take", u, indices=(1, 0), shape=(2,))
    sections = np.array([0.5, 0.1, 0, 1, -0.2, 0])[None, :, None] * np.ones(2)
    return ir.Program(
        b.build([u, taken]), {"hall.sos": sections, "hall.A": np.array([[0.6, 0.8], [-0.8, 0.6]])}
    )


TEXT = ir.dumps(reverb())
TREE = json.loads(TEXT)


def refused(text: object, match: str = ".") -> str:
    """Loads what must be refused by an `IRError` that is one sentence; returns it."""
    written = text if isinstance(text, str) else json.dumps(text)

    def load() -> None:
        with pytest.raises(ir.IRError, match=match) as caught:
            ir.loads(written)
        messages.append(str(caught.value))

    messages: list[str] = []
    # Work goes with the length of the file, whatever sizes it speaks of. A file of nodes takes
    # eleven instructions a character.
    assert instructions(load) < 2000 + 30 * len(written)
    (message,) = messages
    assert message.endswith("."), message
    assert len(message) < 2500, message[:300]
    message.encode()
    return message


def read(tree: object) -> ir.Program | None:
    """The program, which must survive being written; None where it was refused in words."""
    try:
        program = ir.loads(json.dumps(tree))
    except ir.IRError as error:
        message = str(error)
    else:
        assert ir.dumps(ir.loads(ir.dumps(program))) == ir.dumps(program)
        return program
    assert message.endswith(".")
    return None


def changed(*path: str | int, to: object) -> dict:
    """The tree with one value replaced."""
    tree = copy.deepcopy(TREE)
    at = tree
    for key in path[:-1]:
        at = at[key]
    at[path[-1]] = to
    return tree


def paths(tree: object, path: tuple = ()) -> list[tuple]:
    """The ways to all values below the root."""
    found = [path] if path else []
    items = (
        tree.items()
        if isinstance(tree, dict)
        else enumerate(tree if isinstance(tree, list) else ())
    )
    for key, value in items:
        found += paths(value, (*path, key))
    return found


PATHS = paths(TREE)


def node(
    op: str, *inputs: int, shape: list | None = None, kind: str = "real", **attributes: object
):
    return {"op": op, "inputs": list(inputs), "kind": kind, "shape": shape or [], "name": "",
            "attributes": attributes}  # fmt: skip


def file(*nodes: dict, outputs: list | None = None, coefficients: dict | None = None) -> dict:
    return {"format": "adac_jax.ir", "version": 1, "name": "m", "sample_rate": 48000.0,
            "outputs": outputs or [], "nodes": list(nodes),
            "coefficients": coefficients or {}}  # fmt: skip


def array(data: list, *shape: int, kind: str = "real") -> dict:
    return {"kind": kind, "shape": list(shape), "data": data}


def source(shape: list) -> dict:
    return node("input", shape=shape) | {"attributes": {"index": 0, "shape": shape, "kind": "real"}}


INPUT = source([])


@pytest.mark.parametrize("case", CASES, ids=str)
def test_schema_accepts_what_is_written(case):
    VALIDATOR.validate(json.loads(ir.dumps(case.program)))


def test_schema_accepts_a_model():
    VALIDATOR.validate(TREE)


@pytest.mark.parametrize(
    "tree",
    [
        [],
        {},
        changed("version", to=2),
        changed("version", to=True),
        changed("format", to="other"),
        changed("nodes", to={}),
        changed("nodes", 0, to=3),
        changed("nodes", 1, "kind", to="complex"),
        changed("nodes", 1, "shape", to=[-1]),
        changed("nodes", 1, "inputs", to=[True]),
        changed("nodes", 1, "inputs", to=[-1]),
        changed("nodes", 1, "attributes", to={"a": None}),
        changed("nodes", 1, "extra", to=0),
        changed("sample_rate", to=0),
        changed("coefficients", "hall.A", "data", to=["0"]),
        changed("coefficients", "hall.A", to=[0.5]),
    ],
)
def test_schema_and_loader_reject(tree):
    assert not VALIDATOR.is_valid(tree)
    refused(tree)


def test_a_model_survives():
    again = ir.loads(TEXT)
    assert ir.dumps(again) == TEXT
    assert again.graph == reverb().graph


@pytest.mark.parametrize("cut", range(0, len(TEXT.rstrip()) - 1, 37))
def test_truncated(cut):
    refused(TEXT[:cut])


WRONG = [None, True, 0, -1, 0.5, 1e300, 10**400, "", "real", "x", [], [0], [[0]], {}, {"a": 1}]


@pytest.mark.parametrize("path", PATHS, ids=lambda p: ".".join(map(str, p)))
def test_another_value_in_every_place(path):
    """The file is refused in words, or it is valid and is written as it was read."""
    for value in WRONG:
        read(changed(*path, to=value))


@pytest.mark.parametrize("path", PATHS, ids=lambda p: ".".join(map(str, p)))
def test_something_missing(path):
    tree = copy.deepcopy(TREE)
    at = tree
    for key in path[:-1]:
        at = at[key]
    del at[path[-1]]
    if path[0] == "outputs" and len(path) == 2:
        ir.loads(json.dumps(tree))  # fewer outputs are a model too
    elif path[:2] == ("nodes", len(TREE["nodes"]) - 1) and len(path) == 2:
        refused(tree, "does not exist")
    else:
        refused(tree)


@pytest.mark.parametrize(
    ("tree", "match"),
    [
        (changed("version", to=2), "version 2 is not supported"),
        (changed("version", to=10**400), "not supported"),
        (changed("format", to="onnx"), "format"),
        (changed("sample_rate", to=-1), "positive"),
        (changed("sample_rate", to=0), "positive"),
        (changed("sample_rate", to=10**400), "number"),
        (changed("nodes", 1, "op", to="fft"), "does not exist"),
        (changed("nodes", 1, "inputs", to=[99]), "reads node 99"),
        (changed("nodes", 1, "inputs", to=[-1]), "does not exist"),
        (changed("nodes", 1, "inputs", to=[True]), "list of integers"),
        (changed("nodes", 1, "attributes", to={"samples": [True, False]}), "list of integers"),
        (changed("nodes", 2, "attributes", to={"samples": [1, -2]}), "every length"),
        (changed("nodes", 2, "attributes", to={"samples": [1, 2**60]}), "list of integers"),
        (changed("nodes", 1, "shape", to=[-2]), "negative"),
        (changed("nodes", 1, "shape", to=[2**40]), "declared"),
        (changed("outputs", to=[10**6]), "does not exist"),
        (changed("coefficients", "hall.A", "data", to=[1, 2, 3, 10**400]), "finite"),
        (changed("coefficients", "hall.A", "data", to=[1, 2, 3]), "do not fill"),
        (changed("coefficients", "hall.A", "shape", to=[1, 4]), "must be real"),
        (changed("coefficients", "hall.A", "shape", to=[-2, -2]), "not valid"),
        (changed("coefficients", "hall.A", "shape", to=[2**30, 2**30]), "not valid"),
        (changed("coefficients", "hall.A", "shape", to=[1] * 70), "axes"),
        (changed("coefficients", "hall.A", "shape", to=[2**52] * 10**5), "not valid"),
        (changed("coefficients", "hall.A", "kind", to="int"), "integers|kind|must be real"),
        (changed("coefficients", "other", to=array([1.0], 1)), "no node reads it"),
        (changed("coefficients", to={}), "has no value"),
        (changed("name", to="\ud800"), "not text"),
        (changed("name", to="a" * 10**6), "characters"),
        (changed("nodes", 1, "name", to="\udfff"), "not text"),
        (changed("nodes", 1, "op", to="\ud800" * 200), "does not exist"),
        (file(node("constant", value=10**400)), "number|large"),
        (file(node("constant", kind="int", value=2**31)), "32 bits"),
        (file(node("constant", kind="int", value=2**60)), "too large"),
        (file(source([2**25])), "declared|not valid"),
        (file(INPUT, node("add", 0, 1)), "no delay"),
        (file(INPUT, node("add", 0, 2), node("delay", 1, samples=[0])), "no delay"),
        (file(node("delay", 0, samples=[0])), "no delay"),
        (file(INPUT, INPUT), "numbered"),
        (file(node("coefficient", slot="s", shape=[], kind="real") | {"attributes": {"slot": "s",
              "shape": [], "kind": "real"}}, node("coefficient", shape=[2]) | {"attributes":
              {"slot": "s", "shape": [2], "kind": "real"}}), "two types"),
    ],
)  # fmt: skip
def test_hostile(tree, match):
    refused(tree, match)


@pytest.mark.parametrize(
    "subscripts",
    ["", "i", "i,j", "i,j->k", "ii,->", "i,i->ii", "i->i", ",->...", "1,2->1", "i,j->ij" * 10**5],
)
def test_bad_subscripts(subscripts):
    refused(file(source([2]), node("einsum", 0, 0, shape=[2], subscripts=subscripts)), "einsum")


@pytest.mark.parametrize("shape", [[2**24, 2**24], [0, 2**40], [1] * 40, [2**52] * 10**4])
def test_huge_shapes(shape):
    refused(file(source(shape)), "not valid")


def test_products_that_grow():
    refused(file(source([2**20]), node("einsum", 0, 0, shape=[2**20, 2**20],
                                        subscripts="i,j->ij")), "too many products")  # fmt: skip
    refused(file(source([0, 2**23]), node("einsum", 0, 0, shape=[0, 2**23, 0, 2**23],
                                           subscripts="ij,kl->ijkl")), "not valid")  # fmt: skip


def test_filters_take_no_signals_for_coefficients():
    refused(file(source([1]), node("slice", 0, shape=[1], start=[0], limit=[1], stride=[1]),
                 node("reshape", 0, shape=[]) | {"attributes": {"shape": []}},
                 node("fir", 2, 1)), "is a signal")  # fmt: skip


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999", "-1e999"])
def test_numbers_that_are_none(number):
    for old in ("0.6", "48000.0", "0.5", "3"):
        refused(TEXT.replace(old, number, 1))


@pytest.mark.parametrize(
    "text",
    [
        "", " ", "{", "[", "null", "3", '"a"', "[]", "{}", "\x00", "\ufeff" + TEXT, TEXT + "x",
        TEXT.replace(":", "=", 1), TEXT.replace('"', "'"), TEXT[::-1], "nan", "{]", "\ud800",
        "[" * 100_000, '{"a":' * 100_000, "[" * 100_000 + "]" * 100_000, "9" * 10_000,
        TEXT.replace("48000.0", "9" * 10_000), TEXT.replace("[3, 5]", "[3, " + "9" * 10_000 + "]"),
        TEXT.replace("48000.0", "-" * 100), TEXT.replace("0.6", "0x1p3"),
        TEXT.replace('"version": 1', '"version": 1, "version": 1'),
        TEXT.replace('"op": "delay"', '"op": "delay", "op": "delay"'),
    ],
    ids=lambda t: repr(t[:20]),
)  # fmt: skip
def test_not_even_json(text):
    refused(text)


LINE = '{"op":"neg","inputs":[%d],"kind":"real","shape":[],"name":"","attributes":{}}'
HEAD = '{"format":"adac_jax.ir","version":1,"name":"m","sample_rate":1.0,"coefficients":{},'


def chain(count: int, first: str) -> str:
    """So many nodes, each of which reads the one before."""
    nodes = ",".join([first, *(LINE % k for k in range(count - 1))])
    return HEAD + f'"outputs":[{count - 1}],"nodes":[{nodes}]' + "}"


@pytest.mark.parametrize("good", [True, False])
def test_work_goes_with_the_number_of_nodes(good):
    """For a chain, and for a loop that goes round all of it."""

    def work(count: int) -> int:
        text = chain(count, json.dumps(INPUT) if good else LINE % (count - 1))

        def load() -> None:
            with contextlib.nullcontext() if good else pytest.raises(ir.IRError, match="no delay"):
                ir.loads(text)

        return instructions(load)

    # In proportion but for what every file takes; 100 times if each node looked at all others.
    assert work(2000) < 10.1 * work(200)


@pytest.mark.parametrize("count", [10**4, pytest.param(10**6, marks=pytest.mark.slow)])
def test_many_nodes(count):
    """Deeper than Python calls: a chain, and a loop that goes round all of it."""
    assert len(ir.loads(chain(count, json.dumps(INPUT))).graph.nodes) == count
    with pytest.raises(ir.IRError, match="no delay"):
        ir.loads(chain(count, LINE % (count - 1)))


def test_too_many_nodes():
    nothing = ",".join(["0"] * (10**6 + 1))
    refused(HEAD + f'"outputs":[0],"nodes":[{nothing}]' + "}", "at most 1000000")


SCALARS = (
    st.none() | st.booleans() | st.integers() | st.integers(-5, 5) | st.floats()
    | st.text(max_size=5) | st.sampled_from([*ir.OPS, "real", "int", "bool"])
    | st.sampled_from([2**31, 2**53, 2**63, 10**30, -0.0, 5e-324])
)  # fmt: skip
JSON = st.recursive(
    SCALARS, lambda x: st.lists(x, max_size=4) | st.dictionaries(st.text(max_size=3), x, max_size=3)
)
EVERY = [(case.program, json.loads(ir.dumps(case.program))) for case in CASES if case.length < 100]
EVERY.append((reverb(), TREE))


@settings(max_examples=400, deadline=None, derandomize=True)
@given(st.data())
def test_any_change_of_a_valid_file(data):
    """Replaces subtrees by arbitrary JSON or by other parts of the file: verified, or refused."""
    tree = copy.deepcopy(data.draw(st.sampled_from(EVERY))[1])
    for _ in range(data.draw(st.integers(1, 3))):
        places = paths(tree)
        if not places:
            break
        *path, last = data.draw(st.sampled_from(places))
        at = tree
        for key in path:
            at = at[key]
        if data.draw(st.booleans()):
            at[last] = data.draw(JSON)
        else:
            value = tree
            for key in data.draw(st.sampled_from(places)):
                value = value[key]
            at[last] = copy.deepcopy(value)
    read(tree)


@settings(max_examples=300, deadline=None, derandomize=True)
@given(st.text())
@example("\ud800")
def test_any_text(text):
    refused(text)


@settings(max_examples=200, deadline=None, derandomize=True)
@given(st.integers(0, len(TEXT) - 1), st.characters())
def test_any_other_character(place, character):
    with contextlib.suppress(ir.IRError):
        ir.loads(TEXT[:place] + character + TEXT[place + 1 :])


def test_what_is_not_a_program_is_not_written():
    program = reverb()
    for name, value in (
        ("hall.A", np.array([[np.nan, 0], [0, 0]])),
        ("hall.A", np.zeros((2, 2), np.float32)),
        ("hall.A", np.zeros((2, 3))),
        ("other", np.zeros(1)),
    ):
        broken = ir.Program(program.graph, {**program.coefficients, name: value})
        with pytest.raises(ir.IRError):
            ir.dumps(broken)
    b = ir.Builder()
    b.add("coefficient", slot="n", shape=(), kind="int")
    with pytest.raises(ir.IRError, match="32 bits"):
        ir.dumps(ir.Program(b.build([0]), {"n": np.array(2**31)}))
    with pytest.raises(ir.IRError, match="text"):
        ir.dumps(ir.Program(ir.Builder("\ud800").build([])))
