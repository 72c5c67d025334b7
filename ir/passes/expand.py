"""Replaces operations by what they are made of, for readings that have no rule of their own."""

from __future__ import annotations

from ir.builder import Builder
from ir.graph import Graph, Node
from ir.passes.rewrite import prune, redirect


def expand_sos(graph: Graph) -> Graph:
    """Writes each `sos` as the chain of its sections, each an `iir` of order two."""
    builder = Builder(graph.name, graph.sample_rate)
    for _, node in graph:
        k = builder.reserve(node.shape, node.type.kind)
        builder.adopt(k, node)
    last: dict[int, int] = {}
    for k, node in graph:
        if node.op == "sos":
            last[k] = _chain(builder, node, graph.nodes[node.inputs[1]].shape[0])
    return prune(redirect(builder.build(graph.outputs), last))


def _chain(builder: Builder, node: Node, sections: int) -> int:
    signal = node.inputs[0]
    channels = node.shape
    for section in range(sections):

        def part(source: int, low: int, high: int, section: int = section) -> int:
            shape = builder.type(source).shape
            rest = shape[2:]
            piece = builder.add(
                "slice",
                source,
                start=(section, low, *(0 for _ in rest)),
                limit=(section + 1, high, *rest),
                stride=tuple(1 for _ in shape),
            )
            return builder.add("reshape", piece, shape=(high - low, *rest))

        sos = node.inputs[1]
        inputs = [signal, part(sos, 0, 3), part(sos, 3, 6)]
        if len(node.inputs) == 3:
            inputs.append(part(node.inputs[2], 0, 2))
        signal = builder.add("iir", *inputs, name=node.name)
    assert builder.type(signal).shape == channels
    return signal
