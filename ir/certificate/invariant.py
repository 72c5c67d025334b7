"""Ranges that a loop's signals never leave.

If what enters the loop's delays and filters lies within a range R whenever what they have held so
far does, it always does: by induction over time, and over the order of computation within a sample
(an inductive invariant: Cousot, Cousot, "Abstract interpretation", POPL 1977). A candidate is found
by letting R grow from what the delays hold at first; then it is *proved*, by cutting the box of all
that the delays may return, and of the inputs, until the mean value theorem shows the bound in each
part (`functions.py`). It needs no slope below one: s / (1 + |s|), a bend that holds what would run
away beyond it, roots.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np

from ir.certificate.forms import Context, Form, Mode, UnprovenError, interval
from ir.certificate.functions import Functions
from ir.certificate.intervals import Interval
from ir.certificate.rules import evaluate
from ir.graph import Graph
from ir.ops import OPS

STEPS = 240
"""How often a range may grow."""
NODES, CHANNELS = 400, 1500
"""Of a loop that is looked at, at most."""
BOXES, TOTAL = 1000, 12_000
"""Parts of the box that may be open at once, and looked at for one loop."""
POLISHED = 5
"""Steps of Newton's method towards a candidate."""
SLOPES = 10_000_000
"""That are held at once."""
ENDS = 24
"""Of ranges, whose effect on each other is looked at."""
LARGEST = 1e9
MARGINS = (1e-12, 1e-7, 1e-4, 3e-3, 0.05, 0.5, 4.0, 60.0)
"""By how much a candidate is wider than what signals were seen to reach."""

Ranges = dict[int, Interval]


def invariant(
    graph: Graph,
    sequence: Sequence[int],
    outside: Mapping[int, Form],
    static: Mapping[int, Interval],
    tolerance: float,
) -> Ranges | None:
    """A range for each node of a loop, which it never leaves; None if none is found.

    Args:
        graph: The graph.
        sequence: The loop's nodes in the order in which they can be computed.
        outside: What is known of all nodes that it reads and is not made of.
        static: Ranges of the loop's nodes that hold whatever is in it.
        tolerance: By how much a multiplier may be off, relatively.
    """
    loop = _Loop(graph, sequence, outside, static, tolerance)
    channels = sum(graph.nodes[k].type.size for k in loop.order)
    if len(loop.order) > NODES or channels > CHANNELS:
        return None
    try:
        for candidate in loop.candidates():
            found = loop.closed(candidate)
            if found is not None or loop.left < 0:
                return found
    except UnprovenError:
        pass
    return None


def before(
    graph: Graph, wanted: Sequence[int], outside: Mapping[int, Form]
) -> tuple[list[int], set[int]]:
    """Nodes outside of a loop that the wanted ones are functions of, in order, and their leaves."""
    found: list[int] = []
    leaves: set[int] = set()
    done: set[int] = set()
    work = [(k, False) for k in wanted]
    while work:
        k, ready = work.pop()
        if ready:
            found.append(k)
        elif k not in done:
            done.add(k)
            node = graph.nodes[k]
            if outside[k].fixed or not memoryless(graph, k):
                leaves.add(k)
            else:
                work.append((k, True))
                work.extend((s, False) for s in node.inputs)
    return found, leaves


def memoryless(graph: Graph, k: int) -> bool:
    """Whether a node's value depends on those of its inputs at the same sample alone."""
    node = graph.nodes[k]
    return OPS[node.op].family in ("elementwise", "array") and bool(node.inputs)


@dataclass
class _Loop:
    graph: Graph
    sequence: Sequence[int]
    outside: Mapping[int, Form]
    static: Mapping[int, Interval]
    tolerance: float
    left: int = TOTAL

    def __post_init__(self) -> None:
        graph, members = self.graph, set(self.sequence)
        read = {s for k in members for s in graph.nodes[k].inputs if s not in members}
        between, leaves = before(graph, sorted(read), self.outside)
        self.times = [k for k in self.sequence if OPS[graph.nodes[k].op].family == "time"]
        self.sources = sorted({graph.nodes[k].inputs[0] for k in self.times} & members)
        self.order = [*between, *self.sequence]
        self.leaves = {k: self.outside[k].base for k in leaves}
        self.known = {k: self.outside[k].base for k in between} | dict(self.static)

    def functions(self, assumed: Ranges) -> Functions:
        """The loop where what enters its delays and filters lies within ranges."""
        members = set(self.sequence)
        context = Context(self.graph, Mode(tolerance=self.tolerance), outside=self.outside)
        held: Ranges = {}
        for k in self.times:
            node = self.graph.nodes[k]
            inputs = [
                self.outside[s] if s not in members
                else interval(assumed[s] if place == 0 else self.static[s])
                for place, s in enumerate(node.inputs)
            ]  # fmt: skip
            held[k] = evaluate(context, k, node, inputs).base
        return Functions(self.graph, self.order, self.leaves | held, self.known, self.tolerance)

    # -- Candidates -------------------------------------------------------------------------------

    def candidates(self) -> Iterator[Ranges]:
        """Ranges that seem to close."""
        zero = {k: np.zeros(self.graph.nodes[k].type.size) for k in self.sources}
        ranges: Ranges = {k: (v, v) for k, v in zero.items()}
        earlier: Ranges = ranges
        for step in range(STEPS):
            reached = self.reached(ranges)
            if any(not (np.abs(b) < LARGEST).all() for v in reached.values() for b in v):
                return
            grown = {
                k: (np.minimum(v[0], ranges[k][0]), np.maximum(v[1], ranges[k][1]))
                for k, v in reached.items()
            }
            still = all(
                (a == b).all() for k in grown for a, b in zip(grown[k], ranges[k], strict=True)
            )
            if still or step in (3, 7, 15, 31, 63, 127, 180) or step == STEPS - 1:
                yield from self.around(_limit(earlier, ranges, grown))
            if still:
                return
            earlier, ranges = ranges, grown

    def around(self, limit: Ranges) -> Iterator[Ranges]:
        """Wider ones, if what was tried of them stays within."""
        for _ in range(POLISHED):
            nearer = self.nearer(limit)
            if nearer is None:
                break
            limit = nearer
        size = _size(limit)
        ways = [size]
        J = self.slopes(limit, size)
        if J is not None:
            ways.insert(0, self.solved(J, np.ones(len(J)), size, scaled=True))
        for margin, way in product(MARGINS, ways):
            wide = {
                k: tuple(a + margin * b for a, b in zip(v, way[k], strict=True))
                for k, v in limit.items()
            }
            reached = self.reached(wide)  # type: ignore[arg-type]
            if all(
                (reached[k][0] >= v[0]).all() and (reached[k][1] <= v[1]).all()
                for k, v in wide.items()
            ):
                yield wide  # type: ignore[misc]

    def moving(self, size: Ranges) -> list[tuple[int, int]]:
        """Channels that reach anything; both ends of their ranges give way together."""
        return [
            (k, int(i))
            for k in self.sources
            for i in np.flatnonzero((size[k][0] != 0) | (size[k][1] != 0))
        ]

    def excess(self, after: Ranges, before: Ranges, size: Ranges) -> np.ndarray:
        """By how much the ends of each channel's range lie further out, relative to `size`."""
        found = []
        with np.errstate(invalid="ignore", divide="ignore"):
            for k, i in self.moving(size):
                each = [(after[k][e][i] - before[k][e][i]) / size[k][e][i] for e in (0, 1)]
                found.append(max(v for v, e in zip(each, (0, 1), strict=True) if size[k][e][i]))
        return np.array(found)

    def slopes(self, limit: Ranges, size: Ranges) -> np.ndarray | None:
        """How the ends of what is reached follow those of what is assumed, by differences.

        None where one end's giving way makes all give way without end.
        """
        channels = self.moving(size)
        if not 0 < len(channels) <= ENDS:
            return None
        at = self.reached(limit)
        columns, step = [], 1e-5
        for k, i in channels:
            wide = {s: (v[0].copy(), v[1].copy()) for s, v in limit.items()}
            for e in (0, 1):
                wide[k][e][i] += step * size[k][e][i]
            columns.append(np.maximum(self.excess(self.reached(wide), at, size) / step, 0.0))
        J = np.stack(columns, 1)
        if not np.isfinite(J).all() or np.abs(np.linalg.eigvals(J)).max() > 1 - 1e-9:
            return None
        return J

    def solved(self, J: np.ndarray, much: np.ndarray, size: Ranges, scaled: bool) -> Ranges:
        """(I - J)^-1 much, as ends of ranges: where all give way by d = J d + much."""
        d = np.linalg.solve(np.eye(len(J)) - J, much)
        if scaled:
            d = d / d.max()
        found = {k: (np.zeros_like(v[0]), np.zeros_like(v[1])) for k, v in size.items()}
        for (k, i), by in zip(self.moving(size), d, strict=True):
            for e in (0, 1):
                found[k][e][i] = by * size[k][e][i]
        return found

    def nearer(self, limit: Ranges) -> Ranges | None:
        """A step of Newton's method towards ranges that are reached exactly."""
        size = _size(limit)
        J = self.slopes(limit, size)
        if J is None:
            return None
        lacks = self.excess(self.reached(limit), limit, size)
        if not np.isfinite(lacks).all() or np.abs(lacks).max() < 1e-9:
            return None
        by = self.solved(J, lacks, size, scaled=False)
        return {k: (v[0] + by[k][0], v[1] + by[k][1]) for k, v in limit.items()}

    def reached(self, assumed: Ranges) -> Ranges:
        """What enters delays and filters at some points of the box: no more than it can reach."""
        functions = self.functions(self.shaped(assumed))
        low, high = functions.box()
        at = low + _points(len(low)) * (high - low)
        found = functions.over(at, at, slopes=False)
        return {k: (found[k].value[0].min(0), found[k].value[1].max(0)) for k in self.sources}

    def shaped(self, ranges: Ranges) -> Ranges:
        return {
            k: tuple(b.reshape(self.graph.nodes[k].shape) for b in v) for k, v in ranges.items()
        }  # type: ignore[return-value]

    # -- Proof ------------------------------------------------------------------------------------

    def closed(self, wide: Ranges) -> Ranges | None:
        """The ranges of all nodes if what enters delays and filters stays within `wide`."""
        functions = self.functions(self.shaped(wide))
        low, high = (b[None] for b in functions.box())
        start = high - low
        channels = sum(self.graph.nodes[k].type.size for k in self.order)
        many = min(BOXES, SLOPES // (channels * max(1, low.shape[1])))
        hull: Ranges = {}
        while True:
            self.left -= len(low)
            whole, bounds = functions.bounds(low, high)
            out: np.ndarray = np.zeros(len(low), bool)
            smear = np.zeros(low.shape)
            each = {k: bounds.of(k) for k in self.sources}
            for k, (least, most) in each.items():
                least_, most_ = wide[k]
                if (
                    (bounds.middle[k].value[0] > most_) | (bounds.middle[k].value[1] < least_)
                ).any():
                    return None
                leaves = np.any((least < least_) | (most > most_), 1)
                out = out | leaves
                smear = np.maximum(smear, np.where(leaves[:, None], bounds.smear(k), 0.0))
            for k in self.sequence:
                low_, high_ = each.get(k, whole[k].value)
                hull[k] = _hull(hull.get(k), (low_[~out], high_[~out]))  # type: ignore[assignment]
            if not out.any():
                return self.shaped(hull)
            if np.count_nonzero(out) > many or self.left < 0 or not low.shape[1]:
                return None
            parts = halves(low[out], high[out], smear[out], start)
            if parts is None:
                return None
            low, high = parts


def halves(
    low: np.ndarray, high: np.ndarray, smear: np.ndarray, start: np.ndarray
) -> Interval | None:
    """Boxes cut in two across the variable that matters most; None where none does."""
    with np.errstate(invalid="ignore", divide="ignore"):
        share = np.where(start > 0, (high - low) / start, 0.0)
    # Jumps and infinite slopes: the widest of them first.
    weight = np.where(np.isinf(smear), 1e300 * share, np.minimum(smear, 1e290))
    weight = np.where(share > 1e-13, weight, 0.0)
    at = weight.argmax(1)
    rows = np.arange(len(low))
    if (weight[rows, at] <= 0).any():
        return None
    middle = 0.5 * (low[rows, at] + high[rows, at])
    below, above = high.copy(), low.copy()
    below[rows, at], above[rows, at] = middle, middle
    return np.concatenate([low, above]), np.concatenate([below, high])


def _hull(x: Interval | None, y: Interval) -> Interval | None:
    if not len(y[0]):
        return x
    low, high = y[0].min(0), y[1].max(0)
    return (low, high) if x is None else (np.minimum(low, x[0]), np.maximum(high, x[1]))


def _size(x: Ranges) -> Ranges:
    return {k: (np.minimum(v[0], 0), np.maximum(v[1], 0)) for k, v in x.items()}


def _limit(before: Ranges, now: Ranges, after: Ranges) -> Ranges:
    """Where ranges tend to, if each step is the same part of the one before (Aitken)."""
    found = {}
    for k in after:
        ends = []
        for a, b, c in zip(before[k], now[k], after[k], strict=True):
            with np.errstate(divide="ignore", invalid="ignore"):
                ratio = (c - b) / (b - a)
            ratio = np.clip(np.where(np.isfinite(ratio), ratio, 0.0), 0.0, 0.9999)
            ends.append(c + (c - b) * ratio / (1 - ratio))
        found[k] = ends[0], ends[1]
    return found


def _points(count: int) -> np.ndarray:
    """Corners, and some between, of a box of sides one."""
    rng = np.random.default_rng(count)
    if not count:
        return np.zeros((1, 0))
    corners = (
        np.array(list(product((0.0, 1.0), repeat=count))) if count <= 6
        else rng.choice([0.0, 1.0], (64, count))
    )  # fmt: skip
    inner = rng.uniform(size=(32, count))
    # Sides, each at a time.
    mixed = np.where(rng.uniform(size=(32, count)) < 0.5, inner, np.round(inner))
    return np.concatenate([corners.reshape(-1, count), inner, mixed, np.full((1, count), 0.5)])
