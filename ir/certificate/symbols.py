"""Numbers outside of a loop as polynomials, so that what cancels does: (1 - a²) + a² is 1.

Ranges forget which numbers move together. Here each channel of a node is a polynomial of *leaves*,
values that are not looked into, with sin² + cos² = 1 for those of one argument.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

import numpy as np

from ir.certificate.forms import EPS, Form
from ir.certificate.intervals import Interval
from ir.graph import Graph, Node
from ir.interpreter import per_sample

Leaf = tuple[str, int, int]
"""What it is, of which node, and of which channel of it."""
Monomial = tuple[Leaf, ...]
Polynomial = Mapping[Monomial, float]
MOST = 16
"""Terms; what has more is a leaf."""
MOVED = frozenset(("reshape", "transpose", "broadcast", "slice", "take"))


class Symbols:
    """Polynomials of the nodes of a graph that lie outside of a loop.

    Args:
        graph: The graph.
        outside: What is known of each node.
    """

    def __init__(self, graph: Graph, outside: Mapping[int, Form]) -> None:
        self.graph, self.outside = graph, outside
        self.known: dict[int, list[Polynomial]] = {}
        self.ranges: dict[Leaf, tuple[float, float]] = {}

    def of(self, k: int) -> list[Polynomial]:
        """Of each channel of a node."""
        work = [k]
        while work:
            node = self.graph.nodes[work[-1]]
            missing = [s for s in self._read(work[-1], node) if s not in self.known]
            if missing:
                work.extend(missing)
                continue
            self.known[work[-1]] = self._polynomials(work[-1], node)
            work.pop()
        return self.known[k]

    def _read(self, k: int, node: Node) -> tuple[int, ...]:
        if self.outside[k].fixed:
            return ()
        if node.op in MOVED or node.op in ("add", "sub", "neg", "mul", "concatenate"):
            return node.inputs
        return node.inputs if node.op == "div" and self.outside[node.inputs[1]].fixed else ()

    def _polynomials(self, k: int, node: Node) -> list[Polynomial]:
        form = self.outside[k]
        if form.fixed:
            return [{(): float(v)} if v else {} for v in form.c[0].ravel()]
        size = node.type.size
        if not self._read(k, node):
            return [self._leaf(node, k, i) for i in range(size)]
        parts = [self.known[s] for s in node.inputs]
        if node.op in MOVED:
            shape = self.graph.nodes[node.inputs[0]].shape
            index = np.arange(int(np.prod(shape))).reshape(shape)
            plain = Node(node.op, node.inputs, type(node.type)(node.shape), node.attributes)
            return [parts[0][i] for i in np.asarray(per_sample(plain)(index)).ravel()]
        if node.op == "concatenate":
            shapes = [self.graph.nodes[s].shape for s in node.inputs]
            starts = np.cumsum([0, *(int(np.prod(s)) for s in shapes)])
            index = np.concatenate(
                [start + np.arange(int(np.prod(s))).reshape(s)
                 for start, s in zip(starts, shapes, strict=False)], node.int("axis"),
            )  # fmt: skip
            whole = [p for part in parts for p in part]
            return [whole[i] for i in index.ravel()]
        # Scalars are spread over all channels.
        parts = [p * size if len(p) == 1 else p for p in parts]
        found = []
        for i, operands in enumerate(zip(*parts, strict=True)):
            value = self._combined(node.op, operands)
            found.append(value if len(value) <= MOST else self._leaf(node, k, i))
        return found

    def _combined(self, op: str, operands: tuple[Polynomial, ...]) -> Polynomial:
        if op == "neg":
            return {m: -c for m, c in operands[0].items()}
        if op in ("add", "sub"):
            return added(operands[0], operands[1], -1.0 if op == "sub" else 1.0)
        if op == "div":
            return {m: c / operands[1][()] for m, c in operands[0].items()}
        return times(operands[0], operands[1])

    def _leaf(self, node: Node, k: int, i: int) -> Polynomial:
        low, high = (float(b.ravel()[i]) for b in self.outside[k].base)
        leaf: Leaf = (node.op, node.inputs[0], i) if node.op in ("sin", "cos") else ("", k, i)
        self.ranges[leaf] = (low, high)
        return {(leaf,): 1.0}

    def range(self, polynomial: Polynomial) -> tuple[float, float]:
        """In which range a polynomial lies, leaf by leaf."""
        low = high = size = 0.0
        for monomial, c in polynomial.items():
            a, b = 1.0, 1.0
            for leaf in set(monomial):
                n = monomial.count(leaf)
                x, y = self.ranges.get(leaf, (-1.0, 1.0))
                ends = (x**n, y**n)
                x, y = min(ends), max(ends)
                if n % 2 == 0 and self.ranges.get(leaf, (-1.0, 1.0))[0] < 0 < y:
                    x = 0.0
                ends = (a * x, a * y, b * x, b * y)
                a, b = min(ends), max(ends)
            ends = (c * a, c * b)
            low, high = low + min(ends), high + max(ends)
            size += max(abs(low), abs(high), abs(c))
        slack = 8 * (len(polynomial) + 1) * EPS * size
        return low - slack, high + slack


def added(x: Polynomial, y: Polynomial, sign: float = 1.0) -> Polynomial:
    """X + sign y."""
    found = dict(x)
    for m, c in y.items():
        found[m] = found.get(m, 0.0) + sign * c
    return {m: c for m, c in found.items() if c}


def times(x: Polynomial, y: Polynomial) -> Polynomial:
    """X y, with cos² written as 1 - sin²."""
    found: dict[Monomial, float] = {}
    for m, a in x.items():
        for n, b in y.items():
            for monomial, c in _reduced(tuple(sorted(m + n))).items():
                found[monomial] = found.get(monomial, 0.0) + a * b * c
    return {m: c for m, c in found.items() if c}


def _reduced(monomial: Monomial) -> Polynomial:
    for leaf in set(monomial):
        if leaf[0] == "cos" and monomial.count(leaf) >= 2:
            rest = list(monomial)
            rest.remove(leaf)
            rest.remove(leaf)
            sine = cast(Leaf, ("sin", *leaf[1:]))
            one = _reduced(tuple(rest))
            other = _reduced(tuple(sorted((*rest, sine, sine))))
            return added(one, other, -1.0)
    return {monomial: 1.0}


def interval_of(symbols: Symbols, each: list[Polynomial]) -> Interval:
    """The ranges of several."""
    bounds = np.array([symbols.range(p) for p in each])
    return bounds[:, 0], bounds[:, 1]
