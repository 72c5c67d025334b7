"""What is looked for in a loop: parts with one signal in and one out."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Set
from dataclasses import dataclass, field

import numpy as np

from ir.certificate.symbols import Symbols
from ir.graph import Graph


@dataclass(frozen=True, eq=False)
class Region:
    """A part of a loop.

    Attributes:
        output: The node of y.
        source: The node of x.
        inside: All nodes that are neither, but between them.
        delay: By how many samples y is later, least and most.
        energy: (radius, inside) → the gain of each channel for signals weighed by radius^-t.
        sums: radius → the gain of each channel's largest absolute value, weighed likewise.
    """

    output: int
    source: int
    inside: frozenset[int]
    energy: Callable[[float, bool], np.ndarray]
    sums: Callable[[float], np.ndarray]
    delay: tuple[int, int] = (0, 0)
    known: dict[tuple[float, bool], np.ndarray] = field(default_factory=dict)

    def gains(self, radius: float, inside: bool = True) -> np.ndarray:
        """Of energy, kept for the next time."""
        key = radius, inside
        if key not in self.known:
            self.known[key] = self.energy(radius, inside)
        return self.known[key]


class Parts:
    """The sums of a loop, and who hears what.

    Args:
        graph: The graph.
        members: The loop's nodes.
        symbols: Of the nodes outside.
        found: Regions that are known already, by their outputs.
    """

    def __init__(
        self, graph: Graph, members: Set[int], symbols: Symbols, found: dict[int, Region]
    ) -> None:
        self.graph, self.members, self.symbols, self.found = graph, members, symbols, found
        self.readers: dict[int, set[int]] = {}
        for k, node in graph:
            for s in node.inputs:
                self.readers.setdefault(s, set()).add(k)

    def terms(self, k: int, sign: float = 1.0) -> Iterator[tuple[float, int]]:
        """Of a sum of signals of the loop."""
        node = self.graph.nodes[k]
        if node.op in ("add", "sub") and k not in self.found and k in self.members:
            if all(s in self.members for s in node.inputs):
                yield from self.terms(node.inputs[0], sign)
                yield from self.terms(node.inputs[1], -sign if node.op == "sub" else sign)
                return
            zero = [s for s in node.inputs if s not in self.members]
            if len(zero) == 1 and self._is_zero(zero[0]) and node.op == "add":
                yield from self.terms(next(s for s in node.inputs if s != zero[0]), sign)
                return
        yield sign, k

    def _is_zero(self, s: int) -> bool:
        form = self.symbols.outside[s]
        return form.fixed and not form.c[0].any()

    def closed(self, k: int, found: set[int]) -> frozenset[int] | None:
        """What is found before the output k, if nobody else hears it."""
        whole = found | {k}
        if any(not self.readers.get(s, set()) <= whole for s in found):
            return None
        if found.intersection(self.graph.outputs):
            return None
        return frozenset(found)
