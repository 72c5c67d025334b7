"""Checks that a graph means something; runs after tracing, loading and every pass."""

from __future__ import annotations

import math

import numpy as np

from ir.cycles import label, order
from ir.errors import IRError
from ir.graph import Graph, Program, Type
from ir.ops import OPS

DTYPES = {"real": np.float64, "int": np.int64, "bool": np.bool_}
"""The NumPy type of each kind."""


def verify(graph: Graph) -> Graph:
    """Returns the graph unchanged if it is valid.

    Raises:
        IRError: an unknown operation, a reference to nothing, wrong arity, attributes or types,
            input nodes not numbered from 0, a slot of two types.
        DelayFreeLoopError: a cycle without a delay of at least one sample.
    """
    count = len(graph.nodes)
    if not math.isfinite(graph.sample_rate) or graph.sample_rate <= 0:
        raise IRError(f"The sample rate {graph.sample_rate!r} must be a positive number of hertz.")
    slots: dict[str, Type] = {}
    for k, node in graph:
        if node.op not in OPS:
            raise IRError(f"Node {k} has the operation {node.op!r}, which does not exist.")
        for source in node.inputs:
            if not 0 <= source < count:
                raise IRError(f"Node {k} ({node.op}) reads node {source}, which does not exist.")
        try:
            types = tuple(graph.nodes[source].type for source in node.inputs)
            found = OPS[node.op].infer(types, dict(node.attributes))
        except IRError as error:
            raise IRError(f"Node {label(graph, k)}: {error}") from None
        if found != node.type:
            raise IRError(f"Node {label(graph, k)} is declared {node.type} but makes {found}.")
        if node.op == "coefficient" and slots.setdefault(node.text("slot"), found) != found:
            raise IRError(f"The coefficient {node.text('slot')!r} has two types.")
    for k in graph.outputs:
        if not 0 <= k < count:
            raise IRError(f"Output node {k} does not exist.")
    indices = [graph.nodes[k].int("index") for k in graph.inputs]
    if indices != list(range(len(indices))):
        raise IRError(f"The inputs must be numbered 0, 1, …, not {indices}.")
    order(graph)
    return graph


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
        if not np.all(np.isfinite(value)):
            bad = value[~np.isfinite(value)].flat[0]
            raise IRError(f"The coefficient {name!r} holds {bad}; every number must be finite.")
    return program
