"""Which theorem to try on a loop, and in which order."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from ir.certificate import exact, filters, moving
from ir.certificate.bounds import Bounds, by_energy, by_peaks, by_poles
from ir.certificate.domain import failure
from ir.certificate.forms import (
    Context,
    Form,
    Mode,
    UnprovenError,
    enclosing,
    interval,
)
from ir.certificate.intervals import Interval, meet, whole
from ir.certificate.invariant import invariant
from ir.certificate.loudness import louder
from ir.certificate.region import Region
from ir.certificate.regions import regions_of
from ir.certificate.rules import STAIRS, evaluate
from ir.certificate.system import System, build
from ir.certificate.verdict import LoopProof
from ir.cycles import label
from ir.graph import Graph, Node
from ir.linearity import LINEAR

WIDENINGS = ((1.5, 12), (1.05, 40), (1.004, 120))
"""By how much a range that signals are assumed to stay in is widened, and how often at most."""
LOSSLESS = 2.0**-46
"""How far from one, for each lane, a gain may be and still count as one."""


FOR_EVER = "bounded, though it may sound for ever"
"""Of loops whose signals are bounded but need not fade."""


@dataclass(frozen=True, slots=True)
class Found:
    """A proof, the ranges of the loop's nodes, and of some that hear it."""

    proof: LoopProof
    ranges: dict[int, Interval]
    heard: Mapping[int, Interval] = field(default_factory=dict)


class Prover:
    """Proves the loops of one graph."""

    def __init__(self, graph: Graph, sequence: Sequence[int], tolerance: float) -> None:
        self.graph, self.sequence, self.tolerance = graph, sequence, tolerance

    def prove(self, group: Sequence[int], outside: Mapping[int, Form]) -> Found:
        """What can be said of a loop.

        Args:
            group: Its nodes.
            outside: Forms of all nodes that it reads and is not made of.
        """
        members = set(group)
        attempt = _Attempt(self, group, [k for k in self.sequence if k in members], outside)
        return attempt.run()


BOUNDED = frozenset(
    ("tanh", "atan", "erf", "erfc", "logistic", "sin", "cos", "asin", "acos", "maximum", "minimum",
     "max", "min", "exp", "exp2", "sqrt", "integer_pow", "sign", "cosh")
)  # fmt: skip
"""Functions that may be bounded whatever enters them, alone or with others."""
MOVES = LINEAR | {"einsum"}
"""What is linear in its signals, so that a channel without a loop in it is none by structure."""


class _Attempt:
    def __init__(
        self,
        prover: Prover,
        group: Sequence[int],
        sequence: Sequence[int],
        outside: Mapping[int, Form],
    ) -> None:
        self.graph, self.tolerance, self.whole = prover.graph, prover.tolerance, prover.sequence
        self.group, self.sequence, self.outside = tuple(group), sequence, outside
        self.stopped: UnprovenError | None = None
        self.static: dict[int, Interval] = {}
        self.regions: dict[int, Region] = {}
        self.gain = np.inf
        self.name = name_of(self.graph, group)

    # -- In order ---------------------------------------------------------------------------------

    def run(self) -> Found:
        if all(self.graph.nodes[k].type.kind != "real" for k in self.group):
            return self._counter()
        self.static = static_ranges(self.graph, self.sequence, self.outside)
        self.regions = regions_of(self.graph, self.sequence, self.outside, self.tolerance)
        plain = Mode(tolerance=self.tolerance)
        system = self._build(plain)
        if system is not None:
            for method, bound in (("small gain", by_energy), ("absolute sums", by_peaks)):
                found = bound(system)
                self.gain = min(self.gain, found.gain)
                if found.gain < 1:
                    found = self._louder(system, _tightened(system, found), bound)
                    result = self._stable(system, found, method)
                    if result.proof.verdict == "stable":
                        return result
            if system.linear and not self.gain < 1:
                found = self._linear(system)
                if found.proof.verdict != "unproven" or not self._cut(system):
                    return found
            elif self._keeps(system):
                return self._lossless(system, "gains that never exceed one, wherever controls are")
        for step in (self._in_motion, self._within_ranges, self._saturating, self._invariant):
            found = step()
            if found is not None and found.proof.verdict != "unproven":
                return found
        return self._unproven(system)

    def _build(self, mode: Mode, reachable: dict[int, Interval] | None = None) -> System | None:
        known = self.static if reachable is None else _common(self.static, reachable)
        try:
            return build(
                self.graph, self.group, self.sequence, self.outside, mode, known, self.regions
            )[0]
        except UnprovenError as error:
            self.stopped = self.stopped or error
            return None

    def _counter(self) -> Found:
        proof = self._proof("stable", "integers of 32 bits, which wrap")
        return Found(proof, self._unbounded())

    def _in_motion(self) -> Found | None:
        """Coefficients that are functions of a few numbers, which may move as they like."""
        loop = moving.family(
            self.graph, self.group, self.sequence, self.outside, self.static, self.tolerance,
            self.regions,
        )  # fmt: skip
        try:
            found = None if loop is None else moving.prove(loop)
        except UnprovenError as error:
            self.stopped = self.stopped or error
            return None
        if found is None:
            return None
        system, bounds, method = found
        names = ", ".join(label(self.graph, k) for k in loop.roots)  # type: ignore[union-attr]
        return self._stable(system, bounds, f"{method} for all motions of {names}")

    # -- Nonlinear --------------------------------------------------------------------------------

    def _within_ranges(self) -> Found | None:
        """Induction: as long as signals stay in a range, the loop's gain over it keeps them there.

        What leaves the loop's delays at a time depends on what entered them before, so a bound that
        follows from the past, and is within the range assumed of it, holds at that time too.
        """
        for factor, rounds in WIDENINGS:
            found, hopeful = self._induction(factor, rounds)
            if found is not None or not hopeful:
                return found
        return None

    def _induction(self, factor: float, rounds: int) -> tuple[Found | None, bool]:
        """A proof, or whether smaller steps may find one."""
        start = 1e-6
        reachable = {
            k: (
                np.full(self.graph.nodes[k].shape, -start),
                np.full(self.graph.nodes[k].shape, start),
            )
            for k in self.group
        }
        mode = Mode(tolerance=self.tolerance)
        for step in range(rounds):
            system = self._build(mode, reachable)
            if system is None:
                return None, step > 0
            method, bound = "absolute sums", by_peaks
            found = by_peaks(system, rate=False)
            if not found.gain < 1:
                method, bound = "small gain", by_energy
                found = by_energy(system)
            if not found.gain < 1:
                # Not even small signals are held: no range will do.
                return None, step > 0
            ranges = self._ranges(system, found)
            if _within(ranges, reachable):
                found = bound(system)
                text = f"{method} over the range that signals reach"
                return self._stable(system, found, text), True
            reachable = {k: _widened(v, reachable[k], factor) for k, v in ranges.items()}
            if not all(np.isfinite(b).all() for v in reachable.values() for b in v):
                return None, True
        return None, True

    def _saturating(self) -> Found | None:
        """What is bounded whatever enters it cuts the loop."""
        if not any(self.graph.nodes[k].op in BOUNDED for k in self.group):
            return None
        system = self._build(Mode(saturating=True, tolerance=self.tolerance))
        if system is None:
            return None
        for bound in (by_energy, by_peaks):
            found = bound(system)
            if found.gain < 1:
                ranges = self._ranges(system, found)
                self.stopped = self._undefined(ranges)
                if self.stopped is not None:
                    return None
                proof = self._proof("stable", "saturation", reason=FOR_EVER)
                return Found(proof, ranges)
        return None

    def _invariant(self) -> Found | None:
        """Ranges that signals never leave; the gain over them may tell how fast it fades."""
        never = invariant(self.graph, self.sequence, self.outside, self.static, self.tolerance)
        if never is None:
            return None
        within = _common(self.static, never)
        problem = self._undefined(within)
        if problem is not None:
            self.stopped = problem
            return None
        text = "ranges that signals never leave"
        system = self._build(Mode(tolerance=self.tolerance), within)
        for method, bound in (("absolute sums", by_peaks), ("small gain", by_energy)):
            found = None if system is None else bound(system)
            if system is not None and found is not None and found.gain < 1:
                result = self._stable(system, found, f"{method} over {text}", within)
                if result.proof.verdict == "stable":
                    return result
        return Found(self._proof("stable", text, reason=FOR_EVER), within)

    # -- Linear -----------------------------------------------------------------------------------

    def _linear(self, system: System) -> Found:
        """Every group of lanes that hear each other by itself; the worst verdict is the loop's."""
        results, marginal = [], None
        for group in system.loops():
            loop = exact.Loop(system, group)
            if loop.unstable is None:
                return self._filters(system, group)
            if _lossless(loop, system, group):
                marginal = marginal or self._lossless(system)
                continue
            pole = exact.outside_pole(loop, _where_to_look(system, group))
            if pole is not None:
                return self._unstable(system, pole)
            try:
                result = exact.examine(loop)
            except exact.TooLargeError:
                node = system.atoms[system.lanes[group[0]][0]].node
                self.stopped = UnprovenError(
                    node, "small gain does not prove it, and the exact test would take too long"
                )
                return self._unproven(system)
            if result.outside is None:
                marginal = marginal or self._near_circle(system, result)
            elif result.outside:
                near = result.nearest + np.linspace(-1e-3, 1e-3, 4001)
                near = near[(near >= 0) & (near <= np.pi)]
                pole = exact.outside_pole(loop, near) or exact.Pole(None, result.nearest)
                return self._unstable(system, pole, result.outside)
            else:
                results.append((group, result))
        if marginal is not None:
            return marginal

        def bound(system: System) -> Bounds:
            return by_poles(system, results, self.gain)

        found = self._louder(system, _tightened(system, bound(system)), bound)
        return self._stable(system, replace(found, gain=np.nan), "its poles, all of them counted")

    def _louder(self, system: System, found: Bounds, bound: Callable[[System], Bounds]) -> Bounds:
        if self._cut(system):
            return found
        mode = Mode(tolerance=self.tolerance)

        def rebuilt(outside: Mapping[int, Form]) -> System:
            return build(
                self.graph, self.group, self.sequence, outside, mode, self.static, self.regions
            )[0]

        return louder(
            self.graph, self.group, self.whole, self.outside, mode, system, found, bound, rebuilt
        )

    def _near_circle(self, system: System, result: exact.Result) -> Found:
        frequency = result.nearest * self.graph.sample_rate / (2 * np.pi)
        proof = self._proof(
            "lossless",
            f"a pole on the unit circle, as far as rounding can tell, at {frequency:,.5g} Hz",
        )
        return Found(proof, self._ranges(system, None))

    def _keeps(self, system: System) -> bool:
        """Whether what moves in the loop adds no energy, up to the rounding of its multipliers."""
        if self.gain < 1 or self._cut(system):
            return False
        if any(atom.kind in ("gain", "moving") for atom in system.atoms):
            return False
        regions = sum(atom.region is not None for atom in system.atoms)
        slack = (1 + regions) * (16 * self.tolerance + len(system.atoms) * LOSSLESS)
        return self.gain <= 1 + slack

    def _lossless(
        self, system: System, why: str = "a scaled loop matrix that is orthogonal"
    ) -> Found:
        proof = self._proof("lossless", why)
        return Found(proof, self._ranges(system, None))

    def _unstable(self, system: System, pole: exact.Pole, count: int = 0) -> Found:
        if self._cut(system):
            # What rounds may hold small signals for ever, so a pole proves nothing.
            self.stopped = UnprovenError(
                self.group[0], "a pole lies outside the unit circle, but the loop is not linear"
            )
            return self._unproven(system)
        rate = self.graph.sample_rate
        growth = None
        method = f"{count} poles outside the unit circle"
        if pole.modulus is not None:
            growth = float(20 * np.log10(pole.modulus) * rate)
            method = f"a pole at z = {pole.modulus:.12g} exp(±j {pole.angle:.9g})"
        proof = self._proof(
            "unstable", method, frequency_hz=pole.angle * rate / (2 * np.pi),
            growth_db_per_second=growth,
        )  # fmt: skip
        return Found(proof, self._unbounded())

    def _filters(self, system: System, group: Sequence[int]) -> Found:
        node = next(
            system.atoms[a].node for i in group for a in system.lanes[i]
            if not _analytic_atom(system, a)
        )  # fmt: skip
        self.stopped = UnprovenError(node, "a filter in the loop has a pole on the unit circle")
        return self._unproven(system)

    # -- What is said -----------------------------------------------------------------------------

    def _stable(
        self,
        system: System,
        found: Bounds,
        method: str,
        within: dict[int, Interval] | None = None,
    ) -> Found:
        ranges = self._ranges(system, found)
        if within is not None:
            ranges = _common(within, ranges)
        cut = self._cut(system)
        problem = self._undefined(ranges) if cut or not system.linear else None
        if problem is not None:
            self.stopped = problem
            return self._unproven(system)
        decay = self._decay(found.radius)
        margin = None if np.isnan(found.gain) else _margin(found.gain)
        proof = self._proof(
            "stable", method, margin_db=None if cut else margin,
            decay_seconds=None if cut else decay, reason=cut,
        )  # fmt: skip
        return Found(proof, ranges, found.heard)

    def _undefined(self, ranges: dict[int, Interval]) -> UnprovenError | None:
        """A node whose value may be infinite, or no number, though the loop's gain is below one.

        As long as all signals are within the ranges that were found, no operation leaves its
        domain; so none ever does.
        """
        for k in self.sequence:
            inputs = [
                ranges[s] if s in ranges else self.outside[s].base
                for s in self.graph.nodes[k].inputs
            ]
            reason = failure(self.graph, k, inputs)
            if not reason and not all(np.isfinite(b).all() for b in ranges[k]):
                reason = "its value is not bounded"
            if reason:
                return UnprovenError(k, reason)
        return None

    def _cut(self, system: System) -> str:
        """Why a bounded loop need not fade: part of what goes round is not in its gain."""
        why = FOR_EVER
        kinds = {k: self.graph.nodes[k].type.kind for k in self.group}
        heard: set[int] = set()
        for k in self.sequence:
            node = self.graph.nodes[k]
            inside = k not in system.forms or system.forms[k].loops.any()
            if inside or kinds[k] != "real":
                heard.add(k)
                if kinds[k] == "real" and node.op in STAIRS:
                    return why
            elif node.op not in MOVES and heard.intersection(node.inputs):
                return why
        if system.linear:
            return ""
        # A constant inside keeps a nonlinear loop away from rest.
        offset = any(form.c[0].any() for k, form in system.forms.items() if kinds[k] == "real")
        return why if offset else ""

    def _unproven(self, system: System | None) -> Found:
        if self.stopped is None:
            node = self.group[0] if system is None else _culprit(system)
            self.stopped = UnprovenError(
                node, f"the loop's gain is bounded by {self.gain:.4g} only, which is not below one"
            )
        proof = self._proof(
            "unproven", "no theorem applies", node=label(self.graph, self.stopped.node),
            reason=self.stopped.reason,
        )  # fmt: skip
        return Found(proof, self._unbounded())

    def _proof(self, verdict: str, method: str, **facts) -> LoopProof:
        return LoopProof(self.group, self.name, verdict, method, **facts)  # type: ignore[arg-type]

    def _decay(self, radius: float) -> float | None:
        if radius >= 1:
            return None
        return float(np.log(1000) / -np.log(radius) / self.graph.sample_rate)

    def _ranges(self, system: System, found: Bounds | None) -> dict[int, Interval]:
        returns = np.full(len(system.atoms), np.inf) if found is None else found.returns
        ranges = {}
        for k, form in system.forms.items():
            low, high = form.base
            if form.atoms:
                size = np.abs(form.c[1:]) + form.r[1:]
                w = returns[: form.atoms].reshape(-1, *(1,) * len(form.shape))
                with np.errstate(invalid="ignore"):
                    reach = np.where(size > 0, size * w, 0.0).sum(0) * (1 + 1e-12)
                low, high = low - reach, high + reach
            ranges[k] = low, high
        for k in system.forms:
            node = self.graph.nodes[k]
            if node.type.kind != "real" and node.op in ("delay", "variable_delay"):
                # Known by what was assumed of it so far; it is what its source was, or its start.
                source = node.inputs[0]
                past = ranges[source] if source in ranges else self.outside[source].base
                start = self.outside[node.inputs[1]].base if self._starts(node) else (0.0, 0.0)
                first = np.min(start[0], initial=0.0), np.max(start[1], initial=0.0)
                low, high = enclosing(past, first)
                ranges[k] = np.broadcast_to(low, node.shape), np.broadcast_to(high, node.shape)
        self._within_regions(ranges)
        return _common(self.static, ranges)

    def _within_regions(self, ranges: dict[int, Interval]) -> None:
        """Ranges of what is in regions, from those of what enters them."""
        context = Context(self.graph, Mode(), outside=self.outside)
        members = set(self.group)
        for k in self.sequence:
            if k in ranges:
                continue
            node = self.graph.nodes[k]
            inputs = [interval(ranges[s]) if s in members else self.outside[s] for s in node.inputs]
            try:
                ranges[k] = evaluate(context, k, node, inputs).base
            except UnprovenError:
                ranges[k] = np.full(node.shape, -np.inf), np.full(node.shape, np.inf)

    def _starts(self, node: Node) -> bool:
        return node.op == "delay" and len(node.inputs) == 2

    def _unbounded(self) -> dict[int, Interval]:
        return {k: whole(self.graph.nodes[k].type) for k in self.group}


PASSES = 4
"""How often ranges are looked at again; each pass takes what functions bound once more round."""


def static_ranges(
    graph: Graph, sequence: Sequence[int], outside: Mapping[int, Form]
) -> dict[int, Interval]:
    """Ranges of a loop's signals that hold whatever is in the loop: what is left of everything.

    Delays return anything at first; what functions make of that (a tanh lies within ±1) bounds what
    enters the delays, and so what they return. Each pass is true by itself, so it may stop early.
    """
    known = {k: whole(graph.nodes[k].type) for k in sequence}
    members = set(sequence)
    for _ in range(PASSES):
        context = Context(graph, Mode(), outside=outside)
        for k in sequence:
            node = graph.nodes[k]
            inputs = [interval(known[s]) if s in members else outside[s] for s in node.inputs]
            try:
                found = evaluate(context, k, node, inputs).base
            except UnprovenError:
                continue
            known[k] = meet(known[k], found)
    return known


def _common(static: dict[int, Interval], found: dict[int, Interval]) -> dict[int, Interval]:
    return {k: meet(static[k], v) if k in static else v for k, v in found.items()}


def _tightened(system: System, found: Bounds) -> Bounds:
    """The same with smaller bounds on signals, where sums of absolute values give them."""
    peaks = by_peaks(system, rate=False)
    if not peaks.gain < 1:
        return found
    return replace(found, returns=np.minimum(found.returns, peaks.returns))


def _margin(gain: float) -> float:
    return float(-20 * np.log10(gain)) if gain > 0 else np.inf


def _within(inner: dict[int, Interval], outer: dict[int, Interval]) -> bool:
    return all(
        (inner[k][0] >= outer[k][0]).all() and (inner[k][1] <= outer[k][1]).all() for k in outer
    )


def _widened(new: Interval, old: Interval, factor: float) -> Interval:
    with np.errstate(invalid="ignore"):
        middle, half = 0.5 * (new[0] + new[1]), 0.5 * (new[1] - new[0]) * factor + 1e-9
        low, high = middle - half, middle + half
    return np.minimum(low, old[0]), np.maximum(high, old[1])


def _analytic_atom(system: System, a: int) -> bool:
    atom = system.atoms[a]
    if atom.filter is None or atom.kind == "taps":
        return True
    return all(filters.poles_inside(d) for d in atom.filter[1])


def _lossless(loop: exact.Loop, system: System, group: Sequence[int]) -> bool:
    """Delays alone, and a matrix that a scaling makes orthogonal: every mode stays for ever."""
    if any(system.atoms[a].kind != "delay" for i in group for a in system.lanes[i]):
        return False
    links = np.array([np.prod(system.links(system.lanes[i])) for i in group])
    S = loop.C * links
    values = np.linalg.svd(S, compute_uv=False)
    slack = len(S) * LOSSLESS + float(np.abs(loop.R * links).sum(1).max())
    return bool(np.abs(values - 1).max() <= slack)


def _where_to_look(system: System, group: Sequence[int]) -> np.ndarray:
    """Angles at which a pole outside is likely: everywhere, and near the filters' resonances."""
    found = [np.pi * (np.arange(4096) + 0.37) / 4096]
    for i in group:
        for a in system.lanes[i]:
            atom = system.atoms[a]
            if atom.filter is None:
                continue
            for d in atom.filter[1]:
                roots = np.roots(d) if len(d) > 1 else np.zeros(0)
                near = roots[np.imag(roots) >= 0]
                for root in near:
                    width = max(1 - abs(root), 1e-12)
                    offsets = np.concatenate([np.linspace(-4, 4, 33), np.linspace(-400, 400, 65)])
                    found.append(np.angle(root) + width * offsets)
    angles = np.concatenate(found)
    return angles[(angles >= 0) & (angles <= np.pi)][:20_000]


def _culprit(system: System) -> int:
    """The node of the largest coefficient between lanes: where the gain comes from."""
    between = system.between
    i = int(np.argmax(between.max(1, initial=0.0))) if between.size else 0
    return system.atoms[system.lanes[i][0]].node if system.lanes else 0


def name_of(graph: Graph, group: Sequence[int]) -> str:
    """The module path that a loop's nodes share, or the first node that has a name."""
    names = [graph.nodes[k].name for k in group if graph.nodes[k].name]
    if not names:
        return label(graph, min(group))
    parts = [name.split(".") for name in names]
    shared = []
    for column in zip(*parts, strict=False):
        if len(set(column)) > 1:
            break
        shared.append(column[0])
    return ".".join(shared) or names[0]
