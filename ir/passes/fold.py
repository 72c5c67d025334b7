"""Uses the numbers: what is fixed becomes static."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ir.graph import Node, Program
from ir.passes.rewrite import prune


def fold(program: Program) -> Program:
    """Turns each `variable_delay` whose lengths are a coefficient into a `delay`."""
    graph = program.graph
    nodes = list(graph.nodes)
    for k, node in graph:
        if node.op != "variable_delay":
            continue
        lengths = nodes[node.inputs[1]]
        if lengths.op == "coefficient":
            value = program.coefficients[lengths.text("slot")]
            clipped = np.clip(value, node.int("minimum"), node.int("maximum"))
            samples = tuple(int(m) for m in clipped.ravel())
            nodes[k] = Node("delay", node.inputs[:1], node.type, (("samples", samples),), node.name)
    return program.with_graph(prune(replace(graph, nodes=tuple(nodes))))
