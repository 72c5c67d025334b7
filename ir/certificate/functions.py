"""Functions of a few numbers over many boxes of them at once: what they reach, and how steeply.

Ranges that are computed operation by operation forget that s - clip(s) hears the same s twice. By
the mean value theorem a function of numbers v, over a box of middle m, lies within

    f(m) + Σ_v [f_v] (v - m_v),

[f_v] the range of its slope in v over the box, whose error falls with the square of the box (Moore,
"Interval Analysis", 1966; for functions with kinks, with generalised gradients: Lebourg, Comptes
Rendus 281, 1975). Slopes are computed by the chain rule, rounded outwards.
"""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence

import numpy as np

from ir.certificate.chain import RULES, Reach, Scope, none, wrapped
from ir.certificate.intervals import Interval, meet, outward, product
from ir.graph import Graph

VARIABLES = 24
"""Numbers in which slopes are looked at, at most."""


class Functions:
    """Nodes of a graph as functions of the leaves they are made of.

    Args:
        graph: The graph.
        sequence: Nodes, each after those it reads.
        leaves: Nodes that are not looked into, and their ranges.
        known: Ranges of the others, where there are any, whatever the leaves do within theirs.
        tolerance: By how much a multiplier may be off, relatively.
        free: Leaves that are looked at as variables; all, if not given.
    """

    def __init__(
        self,
        graph: Graph,
        sequence: Sequence[int],
        leaves: Mapping[int, Interval],
        known: Mapping[int, Interval],
        tolerance: float,
        free: Container[int] | None = None,
    ) -> None:
        self.graph, self.scope = graph, Scope(graph, tolerance)
        self.sequence = [k for k in sequence if k not in leaves]
        self.leaves = {k: _flat(b, graph.nodes[k].type.size) for k, b in leaves.items()}
        self.known = {k: _flat(b, graph.nodes[k].type.size) for k, b in known.items()}
        # Between true and false there is nothing.
        wide = [
            (k, i)
            for k, (low, high) in self.leaves.items()
            if (free is None or k in free) and graph.nodes[k].type.kind != "bool"
            for i in np.flatnonzero((low < high) & np.isfinite(low) & np.isfinite(high))
        ]
        self.variables = wide if len(wide) <= VARIABLES else []

    def box(self) -> Interval:
        """The whole range of the variables."""
        ends = [[self.leaves[k][e][i] for k, i in self.variables] for e in (0, 1)]
        return np.array(ends[0], float), np.array(ends[1], float)

    def over(self, low: np.ndarray, high: np.ndarray, slopes: bool = True) -> dict[int, Reach]:
        """All nodes for boxes of the variables, (boxes, variables)."""
        boxes, count = len(low), low.shape[1] if slopes else 0
        found: dict[int, Reach] = {}
        for k, (least, most) in self.leaves.items():
            value = np.tile(least, (boxes, 1)), np.tile(most, (boxes, 1))
            steep = np.zeros((boxes, count, len(least)))
            for v, (node, i) in enumerate(self.variables):
                if node == k:
                    value[0][:, i], value[1][:, i] = low[:, v], high[:, v]
                    if slopes:
                        steep[:, v, i] = 1
            found[k] = Reach(value, (steep, steep))
        for k in self.sequence:
            inputs = [found[s] for s in self.graph.nodes[k].inputs]
            found[k] = self._at(k, inputs, boxes, count)
        return found

    def _at(self, k: int, inputs: Sequence[Reach], boxes: int, count: int) -> Reach:
        node = self.graph.nodes[k]
        found = None
        if node.op in RULES and inputs:
            with np.errstate(all="ignore"):
                found = RULES[node.op](self.scope, node, inputs)
        if found is None:
            low, high = self.known.get(k, (-np.inf, np.inf))
            value = tuple(np.broadcast_to(b, (boxes, node.type.size)) for b in (low, high))
            return Reach(value, none(boxes, count, node.type.size))  # type: ignore[arg-type]
        if node.type.kind == "int":
            found = wrapped(found)
        if k not in self.known:
            return found
        return Reach(meet(found.value, self.known[k]), found.slope)

    def bounds(self, low: np.ndarray, high: np.ndarray) -> tuple[dict[int, Reach], _Bounds]:
        """The same, and what the mean value theorem makes of it."""
        whole = self.over(low, high)
        middle = 0.5 * (low + high)
        return whole, _Bounds(
            whole, self.over(middle, middle, slopes=False), low - middle, high - middle
        )


class _Bounds:
    def __init__(
        self,
        whole: dict[int, Reach],
        middle: dict[int, Reach],
        below: np.ndarray,
        above: np.ndarray,
    ) -> None:
        self.whole, self.middle = whole, middle
        # The middle is rounded.
        self.step = outward(below[:, :, None], above[:, :, None])

    def of(self, k: int) -> Interval:
        """The range of a node over each box: (boxes, channels)."""
        moved = product(self.whole[k].slope, self.step)
        low, high = self.middle[k].value
        with np.errstate(invalid="ignore"):
            low, high = low + moved[0].sum(1), high + moved[1].sum(1)
        size = np.abs(moved[0]).sum(1) + np.abs(moved[1]).sum(1)
        spare = (moved[0].shape[1] + 4) * 2.0**-52 * np.where(np.isfinite(size), size, 0.0)
        return meet(self.whole[k].value, outward(low - spare, high + spare))

    def smear(self, k: int) -> np.ndarray:
        """How much each variable widens the range of a node: (boxes, variables)."""
        moved = product(self.whole[k].slope, self.step)
        return np.maximum(np.abs(moved[0]), np.abs(moved[1])).max(2, initial=0.0)


def _flat(x: Interval, size: int) -> Interval:
    low, high = (np.asarray(b, float) for b in x)
    return np.broadcast_to(low.ravel(), (size,)), np.broadcast_to(high.ravel(), (size,))
