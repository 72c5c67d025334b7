"""Shared by the passes: renumbering after nodes were merged or dropped."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from ir.graph import Graph


def redirect(graph: Graph, to: Mapping[int, int]) -> Graph:
    """Every reference to a key of `to` goes to its value instead."""
    nodes = tuple(
        replace(node, inputs=tuple(to.get(k, k) for k in node.inputs)) for node in graph.nodes
    )
    return replace(graph, nodes=nodes, outputs=tuple(to.get(k, k) for k in graph.outputs))


def prune(graph: Graph) -> Graph:
    """The graph without the nodes that no output depends on; inputs stay."""
    wanted, work = set(graph.inputs), [*graph.outputs]
    while work:
        k = work.pop()
        if k not in wanted:
            wanted.add(k)
            work.extend(graph.nodes[k].inputs)
    kept = sorted(wanted)
    new = {k: position for position, k in enumerate(kept)}
    nodes = tuple(
        replace(graph.nodes[k], inputs=tuple(new[s] for s in graph.nodes[k].inputs)) for k in kept
    )
    return replace(graph, nodes=nodes, outputs=tuple(new[k] for k in graph.outputs))
