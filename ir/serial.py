"""Programs as JSON: `schema.json` beside this file is the format, in words a validator reads.

Floats are written with the fewest digits that give the same float64 back, so a round trip is
exact to the bit. Loading trusts nothing: whatever the text holds, it gives a verified program
or an `IRError`.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ir.errors import IRError
from ir.graph import KINDS, Attribute, Graph, Node, Program, Type
from ir.ops.table import check_shape
from ir.verify import DTYPES, verify_program

FORMAT = "adac_jax.ir"
VERSION = 1
MAX_NODES = 1_000_000
SCHEMA = Path(__file__).with_name("schema.json")


def dumps(program: Program) -> str:
    """The program as JSON text, one node a line; deterministic."""
    verify_program(program)
    graph = program.graph
    head = {
        "format": FORMAT,
        "version": VERSION,
        "name": graph.name,
        "sample_rate": graph.sample_rate,
        "outputs": list(graph.outputs),
    }
    if graph.latency:
        head["latency"] = graph.latency
    lines = [f"  {_line(key)}: {_line(value)}," for key, value in head.items()]
    lines.append('  "nodes": [')
    lines.append(",\n".join(f"    {_line(_node(node))}" for node in graph.nodes))
    lines.append('  ],\n  "coefficients": {')
    values = program.coefficients
    lines.append(
        ",\n".join(f"    {_line(slot)}: {_line(_array(values[slot]))}" for slot in sorted(values))
    )
    lines.append("  }")
    return "{\n" + "\n".join(lines) + "\n}\n"


def loads(text: str) -> Program:
    """The program that JSON text describes.

    Raises:
        IRError: the text is not JSON, not of this format and version, or not a valid program.
    """
    try:
        data = json.loads(text, object_pairs_hook=_unique, parse_constant=_refuse_constant)
    except IRError:
        raise
    except RecursionError:
        raise IRError("The JSON is nested too deeply.") from None
    except ValueError as error:
        raise IRError(f"The text is not JSON: {error}.") from None
    _expect(isinstance(data, dict), "The JSON must be an object, not a list or a number.")
    _expect(data.get("format") == FORMAT, f'The key "format" must be "{FORMAT}".')
    version = data.get("version")
    _expect(
        version == VERSION and not isinstance(version, bool),
        f"The version {_short(version)} is not supported; this release reads version {VERSION}.",
    )
    latency = data.pop("latency", 0)
    _keys(data, "the file", "format", "version", "name", "sample_rate", "outputs", "nodes",
          "coefficients")  # fmt: skip
    name, rate = data["name"], data["sample_rate"]
    _expect(
        isinstance(latency, int) and not isinstance(latency, bool),
        f"The latency {_short(latency)} must be a whole number of samples.",
    )
    _expect(isinstance(name, str), "The name must be a string.")
    _expect(_is_number(rate), f"The sample rate {_short(rate)} must be a number.")
    nodes, coefficients = data["nodes"], data["coefficients"]
    _expect(
        isinstance(nodes, list) and len(nodes) <= MAX_NODES,
        f"The nodes must be a list of at most {MAX_NODES}.",
    )
    _expect(isinstance(coefficients, dict), "The coefficients must be an object.")
    graph = Graph(
        tuple(_read_node(k, node) for k, node in enumerate(nodes)),
        _read_ints(data["outputs"], "The outputs"),
        name,
        float(rate),
        latency,
    )
    values = {slot: _read_array(slot, value) for slot, value in coefficients.items()}
    return verify_program(Program(graph, values))


def _node(node: Node) -> dict[str, Any]:
    return {
        "op": node.op,
        "inputs": list(node.inputs),
        "kind": node.type.kind,
        "shape": list(node.type.shape),
        "name": node.name,
        "attributes": dict(node.attributes),
    }


def _array(value: np.ndarray) -> dict[str, Any]:
    kind = next(kind for kind, dtype in DTYPES.items() if value.dtype == dtype)
    return {"kind": kind, "shape": list(value.shape), "data": value.ravel().tolist()}


def _line(value: Any) -> str:
    return json.dumps(value, allow_nan=False, ensure_ascii=False)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        raise IRError("The JSON has an object with the same key twice.")
    return result


def _refuse_constant(text: str) -> float:
    raise IRError(f"The JSON holds {text}; every number must be finite.")


def _expect(condition: bool, message: str) -> None:
    if not condition:
        raise IRError(message)


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _keys(data: Mapping[str, Any], what: str, *names: str) -> None:
    if data.keys() != set(names):
        raise IRError(
            f"{what[0].upper()}{what[1:]} must have the keys {', '.join(names)}, "
            f"not {_short(sorted(data))}."
        )


def _is_number(value: object) -> bool:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return False
    try:
        return math.isfinite(float(value))
    except OverflowError:
        return False


def _read_ints(value: object, what: str) -> tuple[int, ...]:
    fits = isinstance(value, list) and all(
        isinstance(v, int) and not isinstance(v, bool) and abs(v) < 2**53 for v in value
    )
    if not fits:
        raise IRError(f"{what} must be a list of integers, not {_short(value)}.")
    return tuple(value)  # type: ignore[arg-type]


def _read_kind(value: object, what: str) -> str:
    if value not in KINDS:
        raise IRError(f"{what}: the kind {_short(value)} must be one of {', '.join(KINDS)}.")
    return str(value)


def _read_attribute(value: object, what: str) -> Attribute:
    if isinstance(value, list):
        return _read_ints(value, what)
    fits = isinstance(value, (str, bool)) or _is_number(value)
    _expect(fits, f"{what} must be a number, a string or a list of integers, not {_short(value)}.")
    if isinstance(value, int) and not isinstance(value, bool):
        _expect(abs(value) < 2**53, f"{what} (={_short(value)}) is too large.")
    return value  # type: ignore[return-value]


def _read_node(k: int, data: object) -> Node:
    if not isinstance(data, dict):
        raise IRError(f"Node {k} must be an object, not {_short(data)}.")
    _keys(data, f"node {k}", "op", "inputs", "kind", "shape", "name", "attributes")
    op, name, attributes = data["op"], data["name"], data["attributes"]
    if not (isinstance(op, str) and isinstance(name, str)):
        raise IRError(f"Node {k}: the operation {_short(op)} and the name must be strings.")
    if not isinstance(attributes, dict):
        raise IRError(f"Node {k}: the attributes must be an object, not {_short(attributes)}.")
    shape = _read_ints(data["shape"], f"Node {k}: the shape")
    if any(n < 0 for n in shape):
        raise IRError(f"Node {k}: the shape {_short(shape)} has a negative size.")
    return Node(
        op,
        _read_ints(data["inputs"], f"Node {k}: the inputs"),
        Type(shape, _read_kind(data["kind"], f"Node {k}")),
        tuple(
            (key, _read_attribute(value, f"Node {k}: the attribute {_short(key)}"))
            for key, value in sorted(attributes.items())
        ),
        name,
    )


def _read_array(slot: str, data: object) -> np.ndarray:
    what = f"Coefficient {_short(slot)}"
    if not isinstance(data, dict):
        raise IRError(f"{what} must be an object, not {_short(data)}.")
    _keys(data, what, "kind", "shape", "data")
    kind = _read_kind(data["kind"], what)
    shape = _read_ints(data["shape"], f"{what}: the shape")
    values = data["data"]
    _expect(isinstance(values, list), f"{what}: the data must be a list.")
    check_shape(what, shape)
    size = math.prod(shape)
    _expect(len(values) == size, f"{what}: {len(values)} numbers do not fill the shape {shape}.")
    if kind == "bool":
        fits = all(isinstance(v, bool) for v in values)
    elif kind == "int":
        fits = all(
            isinstance(v, int) and not isinstance(v, bool) and abs(v) < 2**53 for v in values
        )
    else:
        fits = all(map(_is_number, values))
    _expect(fits, f"{what}: the data must be finite numbers of the kind {kind}.")
    return np.array(values, DTYPES[kind]).reshape(shape)
