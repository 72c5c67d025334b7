"""What of a graph is computed together: choices that change no value but by rounding.

Where a block's samples lie in the processor's cache, another operation on them costs little, and an
array as long as the signal that is written and read again costs much.
"""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from typing import NamedTuple

import jax.numpy as jnp
from jax import Array, lax

from adac_jax.blocks.stateless import ELEMENTWISE, PER_SAMPLE
from ir import Graph
from ir.cycles import order
from ir.schedule import Loop, Step


class Product(NamedTuple):
    """A signal times a matrix that is known before the first sample.

    Attributes:
        matrix: The known factor, with a gain of the signal multiplied into it.
        term: Its subscripts.
        source: The node of the signal.
        signal: The signal's subscripts.
        result: Those of the product.
    """

    matrix: Array
    term: str
    source: int
    signal: str
    result: str

    @property
    def is_plain(self) -> bool:
        """Whether no axis is one factor's alone, nor twice in one of the three."""
        counts = [sum(c in t for t in (self.term, self.signal, self.result)) for c in self.letters]
        single = all(len(set(t)) == len(t) for t in (self.term, self.signal, self.result))
        return single and min(counts, default=2) > 1

    @property
    def letters(self) -> set[str]:
        """All subscripts."""
        return {*self.term, *self.signal, *self.result}


def without_signals(graph: Graph, moved: Container[int] = ()) -> tuple[int, ...]:
    """The nodes that no signal reaches, nor a control that is moved, in order."""
    found: dict[int, None] = {}
    for k in order(graph):
        node = graph.nodes[k]
        if (node.op in ("coefficient", "constant", "control") and k not in moved) or (
            node.op in PER_SAMPLE and node.inputs and all(s in found for s in node.inputs)
        ):
            found[k] = None
    return tuple(found)


def products(graph: Graph, static: Mapping[int, Array]) -> dict[int, Product]:
    """How each `einsum` of a signal with something known is best computed.

    A (g x) is (A diag g) x, which saves a pass over the signal. A matrix whose first axis is summed
    over is turned: fast products want what is summed over in its last axis, and within a loop it
    would be turned each time, if the compiler saw that it can be.
    """
    found = {}
    for k, node in graph:
        if node.op != "einsum" or sum(s in static for s in node.inputs) != 1:
            continue
        inputs, result = node.text("subscripts").split("->")
        at = next(i for i, s in enumerate(node.inputs) if s in static)
        terms = inputs.split(",")
        term, signal, source = terms[at], terms[1 - at], node.inputs[1 - at]
        matrix = static[node.inputs[at]]
        gain = _gain(graph, static, source)
        if gain is not None and set(signal) <= set(term):
            g, source = gain
            matrix = jnp.einsum(f"{term},{signal}->{term}", matrix, g)
        if len(term) == 2 and term[0] not in result:
            matrix, term = lax.optimization_barrier(matrix.T), term[::-1]
        found[k] = Product(matrix, term, source, signal, result)
    return found


def reads(graph: Graph, known: Mapping[int, Product]) -> tuple[tuple[int, ...], ...]:
    """The nodes that each node is computed from, its gains and matrices multiplied beforehand."""
    return tuple((known[k].source,) if k in known else node.inputs for k, node in graph)


def _gain(graph: Graph, static: Mapping[int, Array], k: int) -> tuple[Array, int] | None:
    """The gain and the source of a signal that is another one times something known."""
    node = graph.nodes[k]
    if node.op != "mul" or sum(s in static for s in node.inputs) != 1:
        return None
    g, x = sorted(node.inputs, key=lambda s: s not in static)
    shapes = {static[g].shape, graph.nodes[x].shape}
    return (static[g], x) if shapes == {node.shape} else None


def followers(
    graph: Graph,
    sources: Sequence[tuple[int, ...]],
    steps: Sequence[Step],
    loop: Loop,
    static: Container[int],
) -> tuple[int, ...]:
    """Operations after a loop that are better done within it, in order.

    They look at one sample, at what the loop makes and at what is there before it; and fewer
    numbers leave the loop with them than without.
    """
    at = steps.index(loop)
    before = {k for step in steps[:at] for k in _members(step)}
    inside = set(loop.members())
    found: list[int] = []
    for step in steps[at + 1 :]:
        if isinstance(step, Loop) or step in static or graph.nodes[step].op not in PER_SAMPLE:
            continue
        signals = [s for s in sources[step] if s not in static]
        if inside.isdisjoint(signals) or not all(s in inside or s in before for s in signals):
            continue
        inside.add(step)
        found.append(step)

    def leaving(members: set[int]) -> int:
        return sum(graph.nodes[k].type.size for k in read_outside(graph, sources, members))

    return tuple(found) if leaving(inside) < leaving(set(loop.members())) else ()


def _members(step: Step) -> tuple[int, ...]:
    return step.members() if isinstance(step, Loop) else (step,)


def entering(
    sources: Sequence[tuple[int, ...]], inside: set[int], static: Container[int]
) -> list[int]:
    """The signals that a loop reads from outside."""
    read = {s for k in inside for s in sources[k]}
    return sorted(s for s in read if s not in inside and s not in static)


def read_outside(graph: Graph, sources: Sequence[tuple[int, ...]], inside: set[int]) -> list[int]:
    """The signals inside a loop that are read from outside."""
    read = set(graph.outputs)
    read.update(s for j, inputs in enumerate(sources) if j not in inside for s in inputs)
    return sorted(inside & read)


def later(
    graph: Graph, loop: Loop, wanted: Sequence[int], inside: set[int], static: Container[int]
) -> list[int]:
    """Wanted signals that follow from delay lines by elementwise operations, in order.

    What they need comes before them.
    """
    found: list[int] = []
    cheap: dict[int, bool] = {}

    def visit(k: int, chain: list[int]) -> bool:
        if k in static or k not in inside:
            return True
        if k not in cheap:
            node = graph.nodes[k]
            cut = k in loop.cuts and node.op == "delay"
            cheap[k] = cut or (node.op in ELEMENTWISE and all(visit(s, chain) for s in node.inputs))
            if cheap[k]:
                chain.append(k)
        return cheap[k]

    for k in wanted:
        chain: list[int] = []
        if visit(k, chain):
            found.extend(chain)
    return found


def waiting(
    graph: Graph,
    sources: Sequence[tuple[int, ...]],
    loop: Loop,
    inside: set[int],
    static: Container[int],
) -> dict[int, int]:
    """Delay lines in which a signal from outside waits to be added to what comes back.

    Where u = x + …, and u enters a line, x can lie in the line where u will be written, and
    needs no array of its own.
    """
    found: dict[int, int] = {}
    for k in loop.cuts:
        u = graph.nodes[k].inputs[0]
        node = graph.nodes[u]
        outside = [s for s in node.inputs if s not in inside and s not in static]
        if node.op != "add" or len(outside) != 1 or outside[0] in found.values():
            continue
        readers = [j for j in inside if outside[0] in sources[j]]
        if readers == [u] and graph.nodes[outside[0]].type == node.type:
            found[k] = outside[0]
    return found
