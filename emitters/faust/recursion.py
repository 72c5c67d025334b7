"""Opens loops for FAUST, the one place that knows of the sample its `~` adds.

`F ~ bus` feeds the first outputs of F back to its first inputs, one sample later. So a delay of m
samples on a loop becomes a port, which carries the signal one sample late already, and a delay of
m - 1 behind it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from ir.cycles import components, is_loop, least_delay
from ir.graph import Graph, Node, Type

MANY = 64
"""Up to this many delays on a loop are tried for staying as they are; more are all opened."""


@dataclass(frozen=True, slots=True)
class Opened:
    """A graph without cycles, and what feeds back.

    Attributes:
        graph: Its inputs are the ports and then the original inputs; its outputs what feeds the
            ports and then the original outputs.
        ports: The number of ports.
    """

    graph: Graph
    ports: int


def open_loops(graph: Graph) -> Opened:
    """Replaces the delays that close loops by ports, one for all delays of a signal."""
    cuts = _cuts(graph)
    nodes = list(graph.nodes)
    ports: dict[int, int] = {}
    for k in cuts:
        node = nodes[k]
        source = node.inputs[0]
        if source not in ports:
            attributes = (("index", len(ports)), ("kind", node.type.kind), ("shape", node.shape))
            nodes.append(Node("input", (), node.type, attributes, node.name))
            ports[source] = len(nodes) - 1
        nodes[k] = _one_less(nodes, node, ports[source])
    for k in graph.inputs:
        index = graph.nodes[k].int("index") + len(ports)
        rest = [a for a in graph.nodes[k].attributes if a[0] != "index"]
        nodes[k] = replace(nodes[k], attributes=(("index", index), *rest))
    outputs = (*ports, *graph.outputs)
    return Opened(replace(graph, nodes=tuple(nodes), outputs=outputs), len(ports))


def _one_less(nodes: list[Node], node: Node, port: int) -> Node:
    """The delay behind a port, one sample shorter; what else it needs is added to `nodes`."""
    if node.op == "delay":
        samples = tuple(m - 1 for m in node.ints("samples"))
        rest = replace(node, inputs=(port,), attributes=(("samples", samples),))
        return _with_start(nodes, node, rest) if len(node.inputs) == 2 else rest
    nodes.append(Node("constant", (), Type((), "int"), (("value", 1),)))
    lengths = (node.inputs[1], len(nodes) - 1)
    nodes.append(Node("sub", lengths, nodes[node.inputs[1]].type))
    bounds = (("maximum", node.int("maximum") - 1), ("minimum", node.int("minimum") - 1))
    return replace(node, inputs=(port, len(nodes) - 1), attributes=bounds)


def _with_start(nodes: list[Node], node: Node, rest: Node) -> Node:
    """What leaves the shorter delay, plus the initial values, which are as many as before."""
    zero = {"real": 0.0, "int": 0, "bool": False}[node.type.kind]
    nodes.append(Node("constant", (), Type((), node.type.kind), (("value", zero),)))
    spread = (("axes", ()), ("shape", node.shape))
    nodes.append(Node("broadcast", (len(nodes) - 1,), node.type, spread))
    start = replace(node, inputs=(len(nodes) - 1, node.inputs[1]))
    nodes.append(replace(start, name=f"{node.name}.start" if node.name else "start"))
    nodes.append(rest)
    both = (len(nodes) - 2, len(nodes) - 1)
    return Node("or" if node.type.kind == "bool" else "add", both, node.type, (), node.name)


def _cuts(graph: Graph) -> list[int]:
    """Delays whose opening leaves no cycle; as few as a greedy choice finds."""
    everything = range(len(graph.nodes))

    def cyclic(cut: set[int]) -> list[list[int]]:
        def edges(k: int) -> tuple[int, ...]:
            return graph.nodes[k].inputs[1:] if k in cut else graph.nodes[k].inputs

        return [group for group in components(everything, edges) if is_loop(group, edges)]

    candidates = [k for group in cyclic(set()) for k in group if _may_open(graph, graph.nodes[k])]
    cut = set(candidates)
    if len(candidates) <= MANY:
        for k in reversed(candidates):
            if not cyclic(cut - {k}):
                cut.discard(k)
    return sorted(cut)


def _may_open(graph: Graph, node: Node) -> bool:
    return least_delay(node) >= 1
