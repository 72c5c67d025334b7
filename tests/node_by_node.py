"""The transfer function of a graph the long way: one equation for each channel of each node.

In NumPy: every node's value is an unknown, s = G(ω) s + B x, and the whole system is solved. What
an operation does to channels is found by running the interpreter's rule on unit vectors.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from scipy import signal

import ir
from ir.cycles import order
from ir.interpreter import PER_SAMPLE


def transfer(
    graph: ir.Graph, coefficients: Mapping[str, np.ndarray], omega: np.ndarray
) -> tuple[np.ndarray, float]:
    """H (frequencies, outputs, inputs), and the largest condition of the systems solved."""
    fixed = _fixed(graph, coefficients)
    nodes = [k for k in range(len(graph.nodes)) if k not in fixed]
    sizes = [graph.nodes[k].type.size for k in nodes]
    ends = np.cumsum(sizes)
    place = {k: slice(e - n, e) for k, n, e in zip(nodes, sizes, ends, strict=True)}
    total = sum(sizes)
    B = np.zeros((total, graph.input_channels))
    column = 0
    for k in graph.inputs:
        size = graph.nodes[k].type.size
        B[place[k], column : column + size] = np.eye(size)
        column += size
    found, worst = [], 1.0
    for w in omega:
        G = np.zeros((total, total), complex)
        for k in nodes:
            node = graph.nodes[k]
            for position, source in enumerate(node.inputs):
                if source in place and node.op != "input":
                    G[place[k], place[source]] += _part(graph, k, position, fixed, w)
        system = np.eye(total) - G
        worst = max(worst, float(np.linalg.cond(system)))
        s = np.linalg.solve(system, B.astype(complex))
        outputs = [s[place[k]] if k in place else 0 * s[:1] for k in graph.outputs]
        found.append(np.concatenate(outputs))
    return np.array(found), worst


def _fixed(graph: ir.Graph, coefficients: Mapping[str, np.ndarray]) -> dict[int, np.ndarray]:
    fixed: dict[int, np.ndarray] = {}
    for k in order(graph):
        node = graph.nodes[k]
        if node.op == "coefficient":
            fixed[k] = np.asarray(coefficients[node.text("slot")])
        elif node.op == "constant":
            fixed[k] = np.asarray(node["value"])
        elif node.inputs and node.op in PER_SAMPLE and set(node.inputs) <= set(fixed):
            fixed[k] = np.asarray(PER_SAMPLE[node.op](node)(*(fixed[s] for s in node.inputs)))
    return fixed


def _part(
    graph: ir.Graph, k: int, position: int, fixed: Mapping[int, np.ndarray], w: float
) -> np.ndarray:
    """What one input of a node adds to it."""
    node = graph.nodes[k]
    size = graph.nodes[node.inputs[position]].type.size
    if ir.OPS[node.op].family == "time":
        return np.diag(_response(node, [fixed[s] for s in node.inputs[1:]], w).ravel())
    values = [fixed.get(s, np.zeros(graph.nodes[s].shape)) for s in node.inputs]
    columns = []
    for unit in np.eye(size):
        values[position] = unit.reshape(graph.nodes[node.inputs[position]].shape)
        columns.append(np.broadcast_to(PER_SAMPLE[node.op](node)(*values), node.shape).ravel())
    return np.array(columns).reshape(size, node.type.size).T


def _response(node: ir.Node, rest: list[np.ndarray], w: float) -> np.ndarray:
    if node.op == "delay":
        return np.exp(-1j * w * np.array(node.ints("samples")))
    if node.op == "variable_delay":
        return np.exp(-1j * w * np.clip(rest[0], node.int("minimum"), node.int("maximum")))
    found = np.ones(node.shape, complex)
    for index in np.ndindex(node.shape):
        parts = [c[(..., *index)] for c in rest]
        if node.op == "fir":
            found[index] = signal.freqz(parts[0], 1, [w])[1][0]
        elif node.op == "iir":
            found[index] = signal.freqz(parts[0], parts[1], [w])[1][0]
        else:
            found[index] = np.prod([signal.freqz(s[:3], s[3:], [w])[1][0] for s in parts[0]])
    return found
