"""Merges nodes that compute the same thing."""

from __future__ import annotations

from ir.graph import Graph, Node
from ir.passes.rewrite import prune, redirect


def merge(graph: Graph) -> Graph:
    """Merges nodes of equal operation, attributes and inputs, until nothing changes.

    Nodes on a loop are merged only where their inputs are one and the same node; two equal loops
    stay two. The first of equal nodes stays, with its name.
    """
    while True:
        first: dict[tuple[object, ...], int] = {}
        same: dict[int, int] = {}
        for k, node in graph:
            key = _key(node)
            if first.setdefault(key, k) != k:
                same[k] = first[key]
        if not same:
            return graph
        graph = prune(redirect(graph, same))


def _key(node: Node) -> tuple[object, ...]:
    # repr, since 0.0 == -0.0 and 1 == 1.0 == True.
    return node.op, node.inputs, node.type, repr(node.attributes)
