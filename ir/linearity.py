"""Which nodes are the same at every sample, and which are linear in a signal."""

from __future__ import annotations

from collections.abc import Container

from ir.cycles import components
from ir.graph import Graph, Node
from ir.ops import OPS

LINEAR = frozenset(
    {"add", "sub", "neg", "sum", "delay", "fir", "iir", "sos", "reshape", "transpose", "broadcast"}
    | {"slice", "concatenate", "take"}
)
"""Operations that are linear and fixed, whatever they are given."""
SCALED = frozenset({"mul", "div", "einsum"})
"""Operations that are linear in one operand if the others are fixed."""


def fixed_nodes(graph: Graph, *, knobs: bool = False) -> set[int]:
    """Nodes that are the same at every sample; with `knobs`, also what follows them alone."""
    found: set[int] = set()
    sources = {"coefficient", "constant", *(["control"] if knobs else [])}
    for group in components(range(len(graph.nodes)), lambda k: graph.nodes[k].inputs):
        k = group[0]
        node = graph.nodes[k]
        derived = node.inputs and OPS[node.op].family not in ("source", "time")
        if len(group) == 1 and (node.op in sources or (derived and found.issuperset(node.inputs))):
            found.add(k)
    return found


def is_linear(node: Node, signals: Container[int], fixed: set[int]) -> bool:
    """Whether a node is linear in what it reads of `signals`, and the same at every sample.

    Args:
        node: One that reads some of them.
        signals: Positions of nodes.
        fixed: Positions of nodes that are the same at every sample.
    """
    if node.op in LINEAR:
        return True
    others = [s for s in node.inputs if s not in signals]
    if node.op == "variable_delay":
        return node.inputs[1] in fixed
    if node.op == "div" and node.inputs[1] not in others:
        return False
    return node.op in SCALED and len(others) == len(node.inputs) - 1 and fixed.issuperset(others)
