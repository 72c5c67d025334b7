"""Parts of a loop with one signal in and one out, whose energy gain is known whatever moves.

*Weights on both sides.* For filters H_j and weights u_j that change at every sample,

    y = c x + Σ_j u_j H_j(u_j x)

is Uᵀ diag(1, H_1, …) U x with U = (√c, u_1, …). With γ_j the peak gain of H_j, ‖y‖ ≤ g ‖x‖ for

    g = sup_t (|c| + Σ_j γ_j u_j²),

since the √γ_j may be taken to the weights. No bound of this kind holds where a weight is on one
side alone: what a filter holds can then be let out at a louder time.

*Reads of a delay that moves* (`reads.py`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from ir.certificate import filters
from ir.certificate.forms import EPS, Form
from ir.certificate.reads import Reads
from ir.certificate.region import Parts, Region
from ir.certificate.rules import Filter, absolute, cascades_of, rationals_of, taps_of
from ir.certificate.symbols import Polynomial, Symbols, added, interval_of, times
from ir.graph import Graph


def regions_of(
    graph: Graph, sequence: Sequence[int], outside: Mapping[int, Form], tolerance: float
) -> dict[int, Region]:
    """The regions of a loop, by their outputs; none lies within another.

    Args:
        graph: The graph.
        sequence: The loop's nodes in the order in which they can be computed.
        outside: What is known of all others.
        tolerance: By how much a multiplier may be off, relatively.
    """
    finder = _Finder(graph, sequence, outside, tolerance)
    reads = Reads(finder.parts, outside, tolerance)
    found = finder.found
    sums = [k for k in sequence if graph.nodes[k].op in ("add", "sub")]
    # All taps of a read rather than some: the last sum first.
    for k in reversed(sums):
        if not any(k in region.inside for region in found.values()):
            region = reads.at(k)
            if region is not None:
                found[k] = region
    for k in sums:
        region = None if k in found else finder.blend(k)
        if region is not None:
            found[k] = region
    within = {inner for region in found.values() for inner in region.inside}
    return {k: region for k, region in found.items() if k not in within}


@dataclass(frozen=True, slots=True)
class _Chain:
    """A term of a sum, followed towards where it comes from: its steps, outermost first.

    A step is a node and what it reads; `through` is the region that it is the output of, if any.
    """

    sign: float
    steps: tuple[tuple[int, int, Region | None], ...]

    @property
    def nodes(self) -> list[int]:
        return [self.steps[0][0] if self.steps else -1, *(step[1] for step in self.steps)]


class _Finder:
    def __init__(
        self, graph: Graph, sequence: Sequence[int], outside: Mapping[int, Form], tolerance: float
    ) -> None:
        self.graph, self.outside, self.tolerance = graph, outside, tolerance
        self.members = set(sequence)
        self.symbols = Symbols(graph, outside)
        self.found: dict[int, Region] = {}
        self.parts = Parts(graph, self.members, self.symbols, self.found)

    # -- Weights on both sides --------------------------------------------------------------------

    def blend(self, k: int) -> Region | None:
        terms = list(self.parts.terms(k))
        if not any(self._moves(f) for _, core in terms for f in self._factors(core)):
            return None
        chains = [self._chain(core, sign) for sign, core in terms]
        common = set.intersection(*(set(c.nodes) for c in chains))
        source = next((n for n in chains[0].nodes if n in common), None)
        if source is None or source == k:
            return None
        shape = self.graph.nodes[k].shape
        if self.graph.nodes[source].shape != shape:
            return None
        parts = [self._branch(c, source) for c in chains]
        if any(p is None for p in parts):
            return None
        inside = self._inside(k, source, chains)
        if inside is None:
            return None
        size = self.graph.nodes[k].type.size
        straight: list[Polynomial] = [{} for _ in range(size)]
        branches: list[_Branch] = []
        for part in parts:
            assert part is not None
            if part.path is None:
                straight = [added(a, b) for a, b in zip(straight, part.weights, strict=True)]
            else:
                branches.append(part)
        if not branches:
            return None
        low, high = interval_of(self.symbols, straight)
        if (low >= -1e-9).all():
            sizes = straight
        elif (high <= 1e-9).all():
            sizes = [added({}, p, -1.0) for p in straight]
        else:
            return None
        # -1e-9 … 0 is counted as if it were above.
        slack = 1 + 8 * (len(branches) + 1) * (self.tolerance + EPS)

        def energy(radius: float, within: bool) -> np.ndarray:
            total = sizes
            for branch in branches:
                peaks = branch.energy(radius, within)
                if not np.isfinite(peaks).all():
                    return np.full(size, np.inf)
                total = [
                    added(t, {m: c * g for m, c in w.items()})
                    for t, w, g in zip(total, branch.weights, peaks, strict=True)
                ]
            return interval_of(self.symbols, total)[1] * slack + 2e-9 * (low < 0)

        def sums(radius: float) -> np.ndarray:
            total = np.maximum(np.abs(low), np.abs(high))
            for branch in branches:
                total = total + branch.outer * branch.inner * branch.sums(radius)
            return total * slack

        return Region(k, source, inside, energy, sums)

    def _factors(self, k: int) -> Iterator[int]:
        """What a signal is multiplied by from outside."""
        node = self.graph.nodes[k]
        while node.op == "mul" and k in self.members:
            inner = [s for s in node.inputs if s in self.members]
            if len(inner) != 1:
                return
            yield from (s for s in node.inputs if s not in self.members)
            k, node = inner[0], self.graph.nodes[inner[0]]

    def _moves(self, s: int) -> bool:
        return not self.outside[s].fixed

    def _chain(self, k: int, sign: float) -> _Chain:
        steps = []
        while True:
            node = self.graph.nodes[k]
            region = self.found.get(k)
            if region is not None:
                below = region.source
            elif node.op in ("neg", "sos", "fir", "iir"):
                below = node.inputs[0]
                if len(node.inputs) > (3 if node.op == "iir" else 2):
                    break  # it begins with something in it
                if any(not self.outside[s].fixed for s in node.inputs[1:] if s != below):
                    break
            elif node.op == "mul":
                inner = [s for s in node.inputs if s in self.members]
                if len(inner) != 1 or node.inputs[0] == node.inputs[1]:
                    break
                below = inner[0]
            else:
                break
            if below not in self.members or self.graph.nodes[below].shape != node.shape:
                break
            steps.append((k, below, region))
            k = below
        if not steps:
            return _Chain(sign, ((k, k, None),))
        return _Chain(sign, tuple(steps))

    def _branch(self, chain: _Chain, source: int) -> _Branch | None:
        """What lies between the source and the sum."""
        size = self.graph.nodes[source].type.size
        steps = []
        for step in chain.steps:
            if step[0] == source:
                break
            steps.append(step)
        sign = chain.sign
        gains: list[tuple[int, list[Polynomial]]] = []
        path: list[tuple[int, Region | None]] = []
        for place, (k, _, region) in enumerate(steps):
            node = self.graph.nodes[k]
            if region is None and node.op == "neg":
                sign = -sign
            elif region is None and node.op == "mul":
                factor = next(s for s in node.inputs if s not in self.members)
                each = self.symbols.of(factor)
                gains.append((place, each * size if len(each) == 1 else each))
            else:
                path.append((place, region))
        one: list[Polynomial] = [{(): 1.0}] * size
        if not path:
            total = one
            for _, each in gains:
                total = [times(a, b) for a, b in zip(total, each, strict=True)]
            signed: list[Polynomial] = [{m: sign * c for m, c in p.items()} for p in total]
            return _Branch(signed, None, np.ones(size), np.ones(size))
        first, last = path[0][0], path[-1][0]
        outer, inner, between = one, one, np.ones(size)
        for place, each in gains:
            if place < first:
                outer = [times(a, b) for a, b in zip(outer, each, strict=True)]
            elif place > last:
                inner = [times(a, b) for a, b in zip(inner, each, strict=True)]
            else:
                low, high = interval_of(self.symbols, each)
                between = between * np.maximum(np.abs(low), np.abs(high))
        if not all(
            a == b or a == {m: -c for m, c in b.items()} for a, b in zip(outer, inner, strict=True)
        ):
            # Gains that stand still may be on either side.
            still = [all(not m for m in p) for p in outer]
            if not all(still):
                return None
            between = between * np.array([abs(p.get((), 0.0)) for p in outer])
            outer = one
            if any(not all(not m for m in p) for p in inner):
                return None
            between = between * np.array([abs(p.get((), 0.0)) for p in inner])
            inner = one
        squares = [times(a, a) for a in inner]
        reach = [np.maximum(*map(np.abs, interval_of(self.symbols, e))) for e in (outer, inner)]
        nodes = [(steps[place][0], region) for place, region in path]
        return _Branch(squares, _Path(self._parts(nodes), between), reach[0], reach[1])

    def _parts(self, nodes: Sequence[tuple[int, Region | None]]) -> list[_Part]:
        found = []
        for k, region in nodes:
            if region is not None:
                found.append(region)
                continue
            node = self.graph.nodes[k]
            c = [self.outside[s].c[0] for s in node.inputs[1:]]
            if node.op == "sos":
                found.append(("sections", cascades_of(c[0])))
            elif node.op == "iir":
                kind = "sections" if len(c[0]) <= 3 else "rational"
                found.append((kind, rationals_of(c[0], c[1])))
            else:
                found.append(("taps", taps_of(c[0])))
        return found

    def _inside(self, k: int, source: int, chains: Sequence[_Chain]) -> frozenset[int] | None:
        """What is between, if nobody else hears it."""
        found: set[int] = set()
        sums = [k]
        while sums:
            at = sums.pop()
            node = self.graph.nodes[at]
            for s in node.inputs:
                summed = self.graph.nodes[s].op in ("add", "sub") and s != source
                if summed and s in self.members and s not in self.found:
                    sums.append(s)
                    found.add(s)
        for chain in chains:
            for a, below, region in chain.steps:
                if a == source:
                    break
                found.add(a)
                if region is not None:
                    found |= region.inside
                if below == source:
                    break
        found -= {source, k}
        return self.parts.closed(k, found)


_Part = Region | tuple[str, list[Filter]]


@dataclass(frozen=True, eq=False)
class _Path:
    """Filters and regions, one after the other, and gains between them."""

    parts: list[_Part]
    between: np.ndarray

    @cached_property
    def together(self) -> np.ndarray | None:
        """All sections of each channel as one cascade: what one cuts, another may raise."""
        lists = [each for part in self.parts if isinstance(part, tuple) and part[0] == "sections"
                 for each in [part[1]]]  # fmt: skip
        if not lists:
            return None
        return filters.padded(
            [np.concatenate([filters.as_sections(*f) for f in channel])
             for channel in zip(*lists, strict=True)]
        )  # fmt: skip

    def energy(self, radius: float, inside: bool) -> np.ndarray:
        found = self.between.copy()
        if self.together is not None:
            found = found * filters.peak_of_sections(self.together, radius, inside)
        for part in self.parts:
            if isinstance(part, Region):
                found = found * part.gains(radius, inside)
            elif part[0] == "rational":
                peaks = [filters.peak_of_rational(b[0], a[0], radius, inside) for b, a in part[1]]
                found = found * np.array(peaks)
            elif part[0] == "taps":
                peaks = [filters.peak_of_taps(b[0], radius) for b, _ in part[1]]
                found = found * np.array(peaks)
        return found * (1 + 4 * len(self.parts) * EPS)

    def sums(self, radius: float) -> np.ndarray:
        found = self.between.copy()
        for part in self.parts:
            if isinstance(part, Region):
                found = found * part.sums(radius)
                continue
            each = []
            for b, a in part[1]:
                powers = radius ** -np.arange(float(b.shape[1]))
                each.append(sum(absolute(part[0], b * powers, a * powers[: a.shape[1]])))
            found = found * np.array(each)
        return found


@dataclass(frozen=True, eq=False)
class _Branch:
    """A term of a region.

    Attributes:
        weights: u² of each channel; of a term without a filter its signed weight.
        path: The filters; None if there is none.
        outer, inner: |u| of each channel at most, after and before the filters.
    """

    weights: list[Polynomial]
    path: _Path | None
    outer: np.ndarray
    inner: np.ndarray

    def energy(self, radius: float, inside: bool) -> np.ndarray:
        assert self.path is not None
        return self.path.energy(radius, inside)

    def sums(self, radius: float) -> np.ndarray:
        assert self.path is not None
        return self.path.sums(radius)
