"""Loops whose coefficients are functions of a few numbers that change: knobs, modulators.

Such a number θ may be anything in its range at every sample. With one scaling D for all of them,

    ‖D M(θ) Γ D^-1‖ < 1 for every θ

proves the loop for any motion of θ, since the bound holds at every sample (the same of Perron's
x: |M(θ)| Γ x < x). Where M is affine in each θ, norms are convex in each, so the corners of the box
decide. Otherwise the box of all θ is cut into smaller ones, over each of which M lies within a
middle and a radius, until the bound holds in each.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product

import numpy as np

from ir.certificate.bounds import Bounds, returns_of
from ir.certificate.extremes import tightened
from ir.certificate.family import Coefficients, norms, scaled, sums
from ir.certificate.forms import Context, Form, Mode, UnprovenError, interval
from ir.certificate.functions import Functions
from ir.certificate.intervals import Interval, outward
from ir.certificate.invariant import halves
from ir.certificate.products import by_products
from ir.certificate.region import Region
from ir.certificate.rules import evaluate
from ir.certificate.small_gain import (
    absolute_radius,
    applied,
    norm,
    scale,
    scale_all,
    scaled_input,
)
from ir.certificate.system import System, build, energy_gains, lane_gains, peak_gains
from ir.graph import Graph, Node
from ir.linearity import LINEAR
from ir.ops import OPS

MOST = 4
"""Numbers that may move at once."""
BOXES = 400
EFFORT = 40_000
"""Nodes that may be looked at, over all boxes: a large loop gets few."""
MANY, AT_ONCE = 20_000, 2**18
"""Boxes where slopes are known, in all, and their coefficients at once."""
MOVABLE = LINEAR | {"variable_delay"}
"""What is linear in the signals of a loop."""
ONE = "one scaling"
FEWEST = 100
"""With fewer boxes there is no point in beginning."""


@dataclass(frozen=True, slots=True)
class Family:
    """A loop for each θ of a box.

    Attributes:
        graph, group, sequence, outside, mode, static: As for `system.build`.
        regions: Parts of the loop that are looked at as a whole.
        roots: The nodes that hold θ.
        between: Nodes from the roots to the loop, in order.
    """

    graph: Graph
    group: tuple[int, ...]
    sequence: Sequence[int]
    outside: Mapping[int, Form]
    mode: Mode
    static: dict[int, Interval]
    regions: Mapping[int, Region]
    roots: tuple[int, ...]
    between: tuple[int, ...]

    def at(self, low: np.ndarray, high: np.ndarray) -> System:
        """The loop for θ between `low` and `high`."""
        forms = dict(self.outside)
        start = 0
        for k in self.roots:
            node = self.graph.nodes[k]
            part = slice(start, start + node.type.size)
            start += node.type.size
            forms[k] = interval((low[part].reshape(node.shape), high[part].reshape(node.shape)))
        context = Context(self.graph, self.mode, outside=forms)
        for k in self.between:
            node = self.graph.nodes[k]
            forms[k] = evaluate(context, k, node, [forms[s] for s in node.inputs])
        return build(
            self.graph, self.group, self.sequence, forms, self.mode, self.static, self.regions
        )[0]

    def coefficients(self, whole: System) -> Coefficients:
        """C(θ), for many boxes at once."""
        inside = set(self.group) | set(self.between)
        read = {s for k in inside for s in self.graph.nodes[k].inputs} - inside
        leaves = {k: self.outside[k].base for k in sorted(read | set(self.roots))}
        known = {k: self.outside[k].base for k in self.between}
        functions = Functions(
            self.graph, self.between, leaves, known, self.mode.tolerance, set(self.roots)
        )
        hidden = {k for region in self.regions.values() for k in region.inside}
        return Coefficients(functions, self.sequence, frozenset(hidden), whole)

    @property
    def boxes(self) -> int:
        """Into how many boxes θ may be cut."""
        return min(BOXES, EFFORT // (len(self.group) + len(self.between) + 1))

    def box(self) -> tuple[np.ndarray, np.ndarray]:
        """The whole range of θ."""
        bases = [self.outside[k].base for k in self.roots]
        return tuple(np.concatenate([b[i].ravel() for b in bases]) for i in (0, 1))  # type: ignore


def family(
    graph: Graph,
    group: Sequence[int],
    sequence: Sequence[int],
    outside: Mapping[int, Form],
    static: dict[int, Interval],
    tolerance: float,
    regions: Mapping[int, Region],
) -> Family | None:
    """The loop as a function of a few numbers, if it is one."""
    hidden = {k for region in regions.values() for k in region.inside} | set(regions)
    members = set(group) - hidden
    wanted = {
        s for k in members for s in graph.nodes[k].inputs if s not in group and not outside[s].fixed
    }
    wanted = {s for s in wanted if _scales(graph, members, s)}
    roots = _roots(graph, wanted, outside)
    if roots is None:
        return None
    # A function of other numbers may reach less than its operations one by one.
    closer = {k: tightened(graph, k, outside, tolerance) for k in roots}
    outside = dict(outside) | {k: interval(b) for k, b in closer.items() if b is not None}
    between = _reached(graph, wanted, set(roots), outside)
    mode = Mode(intervals=True, tolerance=tolerance)
    return Family(
        graph, tuple(group), sequence, outside, mode, static, regions, tuple(roots), tuple(between)
    )


def _scales(graph: Graph, members: set[int], s: int) -> bool:
    """Whether a signal from outside multiplies, chooses or bounds in the loop.

    What is added is an input, and lengths of delays matter by their range alone.
    """
    for k in members:
        node = graph.nodes[k]
        heard = node.inputs[:1] if node.op == "variable_delay" else node.inputs
        if s in heard and node.op not in ("add", "sub", "delay"):
            return True
    return False


def _memoryless(graph: Graph, k: int) -> bool:
    node = graph.nodes[k]
    return OPS[node.op].family in ("elementwise", "array") and bool(node.inputs)


def _roots(graph: Graph, wanted: set[int], outside: Mapping[int, Form]) -> list[int] | None:
    """Few nodes of finite range of which all the wanted ones are functions."""
    if not wanted:
        return None
    behind: set[int] = set()
    work = list(wanted)
    while work:
        k = work.pop()
        if k in behind or outside[k].fixed:
            continue
        behind.add(k)
        if _memoryless(graph, k):
            work.extend(graph.nodes[k].inputs)
    ends = [k for k in behind if not _memoryless(graph, k)]
    # One node through which all of them go, the nearest to the loop that is small enough.
    above = {k: len(_above(graph, behind, k)) for k in behind}
    for k in sorted(behind, key=lambda k: (-above[k], graph.nodes[k].type.size)):
        if _small(graph, [k], outside) and not _escapes(graph, wanted, k, ends, outside):
            return [k]
    return sorted(ends) if _small(graph, ends, outside) else None


def _above(graph: Graph, behind: set[int], k: int) -> set[int]:
    """Nodes that k is a function of."""
    seen: set[int] = set()
    work = [k]
    while work:
        for s in graph.nodes[work.pop()].inputs:
            if s in behind and s not in seen:
                seen.add(s)
                work.append(s)
    return seen


def _small(graph: Graph, nodes: Sequence[int], outside: Mapping[int, Form]) -> bool:
    sizes = sum(graph.nodes[k].type.size for k in nodes)
    finite = all(np.isfinite(b).all() for k in nodes for b in outside[k].base)
    return 0 < sizes <= MOST and finite


def _escapes(
    graph: Graph, wanted: set[int], root: int, ends: Sequence[int], outside: Mapping[int, Form]
) -> bool:
    """Whether what is wanted depends on something that does not come through the root."""
    seen: set[int] = set()
    work = [k for k in wanted if k != root]
    while work:
        k = work.pop()
        if k in seen or k == root or outside[k].fixed:
            continue
        if k in ends:
            return True
        seen.add(k)
        work.extend(graph.nodes[k].inputs)
    return False


def _reached(
    graph: Graph, wanted: set[int], roots: set[int], outside: Mapping[int, Form]
) -> list[int]:
    """Nodes between the roots and the loop, each after those it reads."""
    found: list[int] = []
    done: set[int] = set()

    def visit(k: int) -> None:
        work = [(k, False)]
        while work:
            k, ready = work.pop()
            if ready:
                found.append(k)
            elif k not in done and k not in roots and not outside[k].fixed:
                done.add(k)
                work.append((k, True))
                work.extend((s, False) for s in graph.nodes[k].inputs)

    for k in sorted(wanted):
        visit(k)
    return found


def prove(loop: Family) -> tuple[System, Bounds, str] | None:
    """A proof for every motion of θ, and by what: energy, absolute values, or products."""
    low, high = loop.box()
    affine = is_affine(loop)
    whole = loop.at(low, high)
    middle = loop.at(0.5 * (low + high), 0.5 * (low + high))
    if _names(middle) != _names(whole):
        return None
    together = None if affine else loop.coefficients(whole)
    if together is not None:
        least, most = together.functions.box()
        if together.over(least[None], most[None]) is None:
            together = None
    if not affine and together is None and loop.boxes < FEWEST:
        return None
    for peaks in (True, False):
        if not np.isfinite(lane_gains(whole, (peak_gains if peaks else energy_gains)(whole))).all():
            continue
        attempt = _Search(loop, whole, middle, peaks)

        def largest(search: _Search) -> float | None:
            if affine:
                return search.corners()
            return search.run(low, high) if together is None else search.run_all(together)

        gain = largest(attempt)
        if gain is None:
            continue
        if peaks:
            return whole, attempt.bounds(gain), ONE
        # On a smaller circle, which bounds the decay, and by it what adds up.
        rate = -np.log(max(gain, 1e-6)) / max(1, *(a.delay[1] for a in whole.atoms))
        for part in (0.5, 0.25, 0.1, 0.02):
            inner = _Search(loop, whole, middle, peaks, float(np.exp(-rate * part)), attempt)
            within = largest(inner)
            if within is not None:
                return whole, replace(inner.bounds(within), gain=gain), ONE
        return whole, Bounds(gain, 1.0, np.full(len(whole.atoms), np.inf)), ONE
    if not affine:
        return None
    corners = [loop.at(at, at) for at in _corners(low, high)]
    if any(_names(system) != _names(whole) for system in corners):
        return None
    with np.errstate(all="ignore"):
        found = by_products(whole, corners)
    return None if found is None else (whole, found, "products of its matrices")


def _corners(low: np.ndarray, high: np.ndarray) -> list[np.ndarray]:
    return [np.where(corner, high, low) for corner in product((False, True), repeat=len(low))]


def _names(system: System) -> list[tuple[str, int, int]]:
    return [(atom.kind, atom.node, atom.channel) for atom in system.atoms]


def is_affine(loop: Family) -> bool:
    """Whether every coefficient of the loop is affine in each θ by itself.

    Told from the structure: what depends on θ is added, moved, or multiplied by numbers that do not
    depend on θ; signals of the loop are multiplied by it once at most between two delays.
    """
    graph, members = loop.graph, set(loop.group)
    moving = set(loop.roots)
    for k in loop.between:
        node = graph.nodes[k]
        heard = [s for s in node.inputs if s in moving]
        if not heard:
            continue
        once = node.op in ("mul", "einsum") and len(heard) == 1
        once = once or (node.op == "div" and heard == [node.inputs[0]])
        if node.op not in MOVABLE and not once:
            return False
        moving.add(k)
    scaled: set[int] = set()  # signals of the loop that θ has multiplied since the last delay
    for k in loop.sequence:
        node = graph.nodes[k]
        by, held = ([s for s in node.inputs if s in among] for among in (moving, scaled))
        if node.op in ("delay", "variable_delay"):
            if held and min(_lengths(node)) == 0:
                return False
        elif node.op in ("mul", "einsum"):
            inner = [s for s in node.inputs if s in members]
            if len(inner) != 1 or (by and held):
                return False
            if by or held:
                scaled.add(k)
        elif by and node.op not in ("add", "sub"):
            return False
        elif held:
            if node.op not in MOVABLE or node.op in ("fir", "iir", "sos"):
                return False
            scaled.add(k)
    return True


def _lengths(node: Node) -> Sequence[int]:
    return node.ints("samples") if node.op == "delay" else (node.int("minimum"),)


class _Search:
    """One norm, with its weights, over all boxes."""

    def __init__(
        self,
        loop: Family,
        whole: System,
        middle: System,
        peaks: bool,
        radius: float = 1.0,
        known: _Search | None = None,
    ) -> None:
        self.loop, self.whole, self.peaks, self.radius = loop, whole, peaks, radius
        self.each = peak_gains(whole) if peaks else energy_gains(whole, radius)
        self.lanes = lane_gains(whole, self.each, radius)
        self.groups = list(whole.loops())
        self.weights = self._weights(middle) if known is None else known.weights

    def _weights(self, middle: System) -> list[np.ndarray]:
        C, R = self._joints(middle)
        found = []
        some = [] if self.peaks else [self._joints(system) for system in self._samples(middle)]
        for group in self.groups:
            at = np.ix_(group, group)
            gains = self.lanes[group]
            if self.peaks:
                size = (np.abs(C[at]) + R[at]) * gains
                x = absolute_radius(size)[0] if np.isfinite(size).all() else np.ones(len(group))
                found.append(np.maximum(x, 1e-9 * x.max()))
                continue
            start = scale(C[at], R[at], gains)[0]
            matrices = [(c[at], r[at]) for c, r in some]
            choices = [
                np.ones(len(group)),
                start,
                scale_all([c for c, _ in matrices], gains, start),
            ]

            def worst(d: np.ndarray, matrices=matrices, gains=gains) -> float:
                return max(norm(*applied(d, c * gains, r * gains)) for c, r in matrices)

            found.append(min(choices, key=worst))
        return found

    def _samples(self, middle: System) -> list[System]:
        """The loop in the middle of the box and at some of its corners."""
        low, high = self.loop.box()
        found = [middle]
        for at in _corners(low, high):
            try:
                system = self.loop.at(at, at)
            except UnprovenError:
                continue
            if _names(system) == _names(self.whole):
                found.append(system)
        return found

    def _joints(self, system: System) -> tuple[np.ndarray, np.ndarray]:
        """Between the lanes of the whole box, for a part of it."""
        heads, tails = ([lane[k] for lane in self.whole.lanes] for k in (0, -1))
        at = np.ix_(heads, tails)
        return system.C[at], system.R[at]

    def gain(self, system: System) -> float:
        if _names(system) != _names(self.whole):
            return np.inf
        C, R = self._joints(system)
        most = 0.0
        for group, weight in zip(self.groups, self.weights, strict=True):
            at = np.ix_(group, group)
            S, W = C[at] * self.lanes[group], R[at] * self.lanes[group]
            if not (np.isfinite(S).all() and np.isfinite(W).all()):
                return np.inf
            if self.peaks:
                size = (np.abs(S) + W) @ weight
                most = max(most, float((size / weight).max()) * (1 + 1e-12))
            else:
                most = max(most, norm(*applied(weight, S, W)))
        return most

    def run(self, low: np.ndarray, high: np.ndarray) -> float | None:
        """The largest gain over the box, if it is below one."""
        work, most, count = [(low, high)], 0.0, 0
        while work:
            low, high = work.pop()
            count += 1
            if count > self.loop.boxes:
                return None
            try:
                gain = self.gain(self.loop.at(low, high))
            except UnprovenError:
                gain = np.inf
            # Boxes are cut until the bound is tight, or below one by half of what there is.
            if gain < 1 and gain <= most:
                continue
            middle = self._middle(low, high)
            if gain < 1 and gain < 0.5 * (1 + middle):
                most = max(most, gain)
                continue
            if middle >= 1:
                return None
            widest = int(np.argmax(high - low))
            if high[widest] - low[widest] <= 1e-9 * max(1.0, abs(high[widest])):
                return None
            at = 0.5 * (low[widest] + high[widest])
            upper, lower = low.copy(), high.copy()
            upper[widest], lower[widest] = at, at
            work += [(low, lower), (upper, high)]
        return most

    def run_all(self, loop: Coefficients) -> float | None:
        """The same with slopes, for all boxes that are left at once, group by group of lanes."""
        most = 0.0
        for group, weight in zip(self.groups, self.weights, strict=True):
            found = self._group(loop, group, weight)
            if found is None:
                return None
            most = max(most, found)
        return most

    def _group(self, loop: Coefficients, group: list[int], weight: np.ndarray) -> float | None:
        low, high = (b[None] for b in loop.functions.box())
        start, most, best, left = high - low, 0.0, 0.0, MANY
        while len(low):
            left -= len(low)
            gains, at, smear = self._over(loop, group, weight, low, high)
            best = max(best, float(at.max()))
            if best >= 1 or left < 0:
                return None
            fine = (gains < 1) & (gains <= max(most, 0.5 * (1 + best)))
            most = max(most, float(gains[fine].max(initial=0.0)))
            rest = ~fine
            parts = halves(low[rest], high[rest], smear[rest], start)
            if parts is None:
                return None
            low, high = parts
        return most

    def _over(
        self,
        loop: Coefficients,
        group: list[int],
        weight: np.ndarray,
        low: np.ndarray,
        high: np.ndarray,
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Gains over boxes, in their middles, and how much each variable matters."""
        gains, at, smear = np.zeros(len(low)), np.zeros(len(low)), np.zeros(low.shape)
        middle = 0.5 * (low + high)
        lanes = [self.whole.lanes[i] for i in group]
        heads, tails = [lane[0] for lane in lanes], [lane[-1] for lane in lanes]
        # Of Perron's x, the units are its inverse.
        d = 1 / weight if self.peaks else weight
        many = max(1, AT_ONCE // ((1 + low.shape[1]) * len(self.whole.atoms) ** 2))
        for begin in range(0, len(low), many):
            part = slice(begin, begin + many)
            whole = loop.over(low[part], high[part])
            inner = loop.over(middle[part], middle[part], slopes=False)
            if whole is None or inner is None:
                return np.full(len(low), np.inf), np.full(len(low), np.inf), smear
            step = outward(low[part] - middle[part], high[part] - middle[part])
            S, T = (scaled(x, heads, tails, self.lanes[group], d) for x in (whole, inner))
            with np.errstate(all="ignore"):
                gains[part], at[part] = (sums if self.peaks else norms)(S, T, step)
            steep = np.maximum(np.abs(S.slope[0]), np.abs(S.slope[1])).max((2, 3), initial=0.0)
            smear[part] = np.where(steep > 0, steep * (high[part] - low[part]), 0.0)
        return gains, at, smear

    def corners(self) -> float | None:
        """The largest gain at the corners of the box, if it is below one."""
        low, high = self.loop.box()
        most = 0.0
        for at in _corners(low, high):
            try:
                most = max(most, self.gain(self.loop.at(at, at)))
            except UnprovenError:
                return None
        return most if most < 1 else None

    def _middle(self, low: np.ndarray, high: np.ndarray) -> float:
        at = 0.5 * (low + high)
        try:
            return self.gain(self.loop.at(at, at))
        except UnprovenError:
            return np.inf

    def bounds(self, gain: float) -> Bounds:
        """What follows, as for a loop that stands still with that gain."""

        def solve(group: list[int], lanes: np.ndarray, outside: np.ndarray) -> np.ndarray:
            weight = self.weights[self.groups.index(group)]
            if self.peaks:
                return weight * float((outside / weight).max(initial=0.0)) / (1 - gain)
            return scaled_input(weight, outside, gain)

        many = 1.0 if self.peaks else 1 / np.sqrt(1 - self.radius**2)
        found = returns_of(self.whole, self.groups, solve, self.each, self.lanes, many)
        return Bounds(gain, self.radius, found)
