"""Loops of a graph: where they are, whether they have a delay, and in which order to compute."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from ir.errors import DelayFreeLoopError
from ir.graph import Graph, Node

Edges = Callable[[int], Iterable[int]]


def least_delay(node: Node) -> int:
    """The samples by which `node`'s signal input is surely delayed; 0 for a direct path."""
    if node.op == "delay":
        return min(node.ints("samples"), default=0)
    if node.op == "variable_delay":
        return node.int("minimum")
    return 0


def instant_inputs(node: Node) -> tuple[int, ...]:
    """The inputs that the node's present output depends on at the present sample."""
    return node.inputs[1:] if least_delay(node) >= 1 else node.inputs


def components(nodes: Sequence[int], edges: Edges) -> list[list[int]]:
    """Strongly connected components, each after those it reads (Tarjan, without recursion)."""
    members = set(nodes)
    index: dict[int, int] = {}
    low: dict[int, int] = {}
    stack: list[int] = []
    on_stack: set[int] = set()
    found: list[list[int]] = []
    for root in nodes:
        if root in index:
            continue
        work = [(root, iter(edges(root)))]
        index[root] = low[root] = len(index)
        stack.append(root)
        on_stack.add(root)
        while work:
            node, rest = work[-1]
            for target in rest:
                if target not in members:
                    continue
                if target not in index:
                    index[target] = low[target] = len(index)
                    stack.append(target)
                    on_stack.add(target)
                    work.append((target, iter(edges(target))))
                    break
                if target in on_stack:
                    low[node] = min(low[node], index[target])
            else:
                work.pop()
                if work:
                    low[work[-1][0]] = min(low[work[-1][0]], low[node])
                if low[node] == index[node]:
                    group = []
                    while True:
                        member = stack.pop()
                        on_stack.discard(member)
                        group.append(member)
                        if member == node:
                            break
                    found.append(sorted(group))
    return found


def is_loop(group: Sequence[int], edges: Edges) -> bool:
    """Whether a component is a loop and not a single node without one."""
    return len(group) > 1 or group[0] in edges(group[0])


def has_loops(graph: Graph) -> bool:
    """Whether any signal depends on itself."""

    def edges(k: int) -> tuple[int, ...]:
        return graph.nodes[k].inputs

    return any(is_loop(group, edges) for group in components(range(len(graph.nodes)), edges))


def order(graph: Graph) -> list[int]:
    """Positions so ordered that each node follows all it depends on at the present sample.

    Raises:
        DelayFreeLoopError: a cycle passes no delay.
    """

    def edges(k: int) -> tuple[int, ...]:
        return instant_inputs(graph.nodes[k])

    result = []
    for group in components(range(len(graph.nodes)), edges):
        if is_loop(group, edges):
            cycle = _cycle(group, edges)
            raise DelayFreeLoopError(cycle, tuple(label(graph, k) for k in cycle))
        result.extend(group)
    return result


def label(graph: Graph, k: int) -> str:
    """How messages name a node: `fdn.mix (einsum)`."""
    node = graph.nodes[k]
    return f"{node.name} ({node.op})" if node.name else f"node {k} ({node.op})"


def _cycle(group: Sequence[int], edges: Edges) -> tuple[int, ...]:
    """One cycle within a component, in the direction in which the signal flows."""
    members, node = set(group), group[0]
    seen: dict[int, None] = {}  # in order
    while node not in seen:
        seen[node] = None
        node = next(k for k in edges(node) if k in members)
    path = list(seen)
    return tuple(reversed(path[path.index(node) :]))
