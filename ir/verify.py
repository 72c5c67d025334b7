"""Checks that a graph means something; runs after tracing, loading and every pass."""

from __future__ import annotations

import math

import numpy as np

from ir.cycles import label, order
from ir.errors import IRError
from ir.graph import Graph, Node, Program, Type
from ir.ops import MAX_DELAY, OPS
from ir.ops.controls import check_alike, slug

MAX_NAME = 1000
"""Bound on the characters of a name."""
FIXED_FROM = {"fir": 1, "iir": 1, "sos": 1, "delay": 1}
"""From which input on an operation takes coefficients only, and no signal."""
VARYING = frozenset({"input", "control"})
"""Sources that differ from sample to sample."""
DTYPES = {"real": np.float64, "int": np.int64, "bool": np.bool_}
"""The NumPy type of each kind."""


def verify(graph: Graph) -> Graph:
    """Returns the graph unchanged if it is valid.

    Raises:
        IRError: an unknown operation, a reference to nothing, wrong arity, attributes or types,
            input nodes not numbered from 0, a slot of two types, a control of two ranges, a name
            that is not text, a signal where only coefficients may go.
        DelayFreeLoopError: a cycle without a delay of at least one sample.
    """
    count = len(graph.nodes)
    if not 0 <= graph.latency <= MAX_DELAY:
        raise IRError(f"The latency {graph.latency!r} must be 0 to {MAX_DELAY} samples.")
    if not math.isfinite(graph.sample_rate) or graph.sample_rate <= 0:
        raise IRError(f"The sample rate {graph.sample_rate!r} must be a positive number of hertz.")
    _check_name("The graph", graph.name)
    slots: dict[str, Type] = {}
    knobs: dict[str, Node] = {}
    for k, node in graph:
        _check_name(f"Node {k}", node.name)
        if node.op not in OPS:
            raise IRError(f"Node {k} has the operation {node.op[:60]!r}, which does not exist.")
        for source in node.inputs:
            if not 0 <= source < count:
                raise IRError(f"Node {k} ({node.op}) reads node {source}, which does not exist.")
        try:
            types = tuple(graph.nodes[source].type for source in node.inputs)
            found = OPS[node.op].infer(types, dict(node.attributes))
        except IRError as error:
            raise IRError(f"At {label(graph, k)}: {error}") from None
        if found != node.type:
            raise IRError(f"At {label(graph, k)}: it is declared {node.type} but makes {found}.")
        if node.op == "coefficient":
            slot = node.text("slot")
            _check_name(f"The slot of node {k}", slot)
            if slots.setdefault(slot, found) != found:
                raise IRError(f"The coefficient {slot!r} has two types.")
        if node.op == "control":
            known = knobs.setdefault(slug(node.text("name")), node)
            if known.text("name") != node.text("name"):
                raise IRError(
                    f"The controls {known.text('name')!r} and {node.text('name')!r} must differ in "
                    "more than spaces, which hosts write as `_`."
                )
            check_alike(known, node)
    for k in graph.outputs:
        if not 0 <= k < count:
            raise IRError(f"Output node {k} does not exist.")
    indices = [graph.nodes[k].int("index") for k in graph.inputs]
    if indices != list(range(len(indices))):
        raise IRError(f"The inputs must be numbered 0, 1, …, not {indices}.")
    _check_fixed(graph, order(graph))
    return graph


def _check_name(what: str, name: str) -> None:
    if len(name) > MAX_NAME:
        raise IRError(f"{what} has a name of {len(name)} characters; the bound is {MAX_NAME}.")
    if not name.isascii() and any("\ud800" <= c <= "\udfff" for c in name):
        raise IRError(f"{what} has the name {name[:60]!r}, which is not text: it has half a pair.")


def _check_fixed(graph: Graph, sequence: list[int]) -> None:
    """Filters have constant coefficients, and initial values are no signals."""
    fixed: set[int] = set()
    for k in sequence:
        node = graph.nodes[k]
        for source in node.inputs[FIXED_FROM.get(node.op, len(node.inputs)) :]:
            if source not in fixed:
                raise IRError(
                    f"At {label(graph, k)}: it needs coefficients, but {label(graph, source)} is "
                    "a signal."
                )
        timeless = node.op not in VARYING and OPS[node.op].family != "time"
        if timeless and all(source in fixed for source in node.inputs):
            fixed.add(k)


def verify_program(program: Program) -> Program:
    """Returns the program unchanged if graph and coefficients are valid and fit each other.

    Raises:
        IRError: as `verify`; or a slot without a value, a value without a slot, a wrong shape or
            type, a value that is not finite.
    """
    verify(program.graph)
    slots = program.graph.slots
    for name in sorted(set(slots) ^ set(program.coefficients)):
        problem = "has no value" if name in slots else "has a value but no node reads it"
        raise IRError(f"The coefficient {name!r} {problem}.")
    for name, type_ in slots.items():
        value = program.coefficients[name]
        if value.shape != type_.shape or value.dtype != DTYPES[type_.kind]:
            raise IRError(
                f"The coefficient {name!r} must be {type_}, not {value.dtype}{list(value.shape)}."
            )
        if type_.kind == "int" and value.size and (value.min() < -(2**31) or value.max() >= 2**31):
            raise IRError(f"The coefficient {name!r} holds integers that do not fit 32 bits.")
        if not np.all(np.isfinite(value)):
            bad = value[~np.isfinite(value)].flat[0]
            raise IRError(f"The coefficient {name!r} holds {bad}; every number must be finite.")
    return program
