"""Interpolated reads of a delay whose length moves.

y[t] = Σ_j P_j(μ) x[t - k - j] with k + μ = d[t] and μ between s and s + 1 weighs x[n] by
φ(n - t + d[t]), a kernel made of the polynomials P_j, one after the other: Lagrange's interpolation
of any order; order 1 is the linear one. The absolute weights of one y[t] add up to at most

    Λ = max_μ Σ_j |P_j(μ)|.

Where d moves by at most ρ a sample, the places t - d[t] are between 1 - ρ and 1 + ρ apart; were
they 1 apart, the weights of one x[n] would add up to at most Λ too. The i-th from the middle is off
by at most i ρ, so they add up to at most Λ + 2 ρ sup|φ'| Σ_i i, and

    ‖y‖² ≤ Λ (Λ + 2 ρ sup|φ'| Σ_i i) ‖x‖²

by Schur's test, whatever the motion: 1 + 2ρ for linear interpolation.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from ir.certificate.forms import EPS, Form
from ir.certificate.region import Parts, Region
from ir.certificate.slew import Slews
from ir.certificate.symbols import Polynomial

FASTEST = 0.25
"""Samples by which a delay may move in one, at most."""
POINTS = 4096
"""At which sums of absolute values of polynomials are looked at."""
MEET = 1e-9
"""By how much neighbouring pieces of a kernel may differ where they meet."""


@dataclass(frozen=True, slots=True)
class _Tap:
    """weight · x[t - length], by their nodes."""

    weight: int
    source: int
    length: int
    inside: frozenset[int]


@dataclass(frozen=True, slots=True)
class _Whole:
    """An integer floor(D - s) + shift."""

    length: int
    start: float
    shift: tuple[int, ...]


class Reads:
    """Finds them in a loop.

    Args:
        parts: The loop.
        outside: What is known of the nodes outside.
        tolerance: By how much a multiplier may be off, relatively.
    """

    def __init__(self, parts: Parts, outside: Mapping[int, Form], tolerance: float) -> None:
        self.parts, self.graph, self.outside = parts, parts.graph, outside
        self.tolerance = tolerance
        self.slews = Slews(parts.graph, outside)

    def at(self, k: int) -> Region | None:
        """The read whose sum a node is."""
        terms = list(self.parts.terms(k))
        if len(terms) < 2:
            return None
        taps = [self._tap(core) for sign, core in terms if sign > 0]
        if any(tap is None for tap in taps) or len(taps) != len(terms):
            return None
        found: list[_Tap] = taps  # type: ignore[assignment]
        if len({tap.source for tap in found}) > 1:
            return None
        size = self.graph.nodes[k].type.size
        lengths = [self._sum(tap.length, size) for tap in found]
        if len({node for node, _ in lengths}) > 1:
            return None
        order = sorted(range(len(found)), key=lambda j: lengths[j][1])
        first = lengths[order[0]][1]
        for j, place in enumerate(order):
            if lengths[place][1] != tuple(v + j for v in first):
                return None
        base = lengths[0][0]
        whole = self._whole(base, size)
        if whole is None:
            return None
        whole = _Whole(whole.length, whole.start, _plus(whole.shift, first))
        weights = [self.parts.symbols.of(found[place].weight) for place in order]
        pieces = self._pieces(weights, base, first, whole, size)
        rho = self.slews.of(whole.length)
        if pieces is None or not np.isfinite(rho).all() or rho.max() > FASTEST:
            return None
        inside = {node for tap in found for node in tap.inside} | self._sums(k)
        source = found[0].source
        closed = self.parts.closed(k, inside - {k, source})
        gains = kernel_gains(pieces, whole.start, float(rho.max()))
        if closed is None or gains is None:
            return None
        low, high = (b.ravel() for b in self.outside[base].base)
        span = int(low.min()) + min(first), int(high.max()) + max(first) + len(found) - 1
        slack = 1 + 8 * len(found) * (self.tolerance + EPS)
        energy, sums = (g * slack for g in gains)

        def late(gain: float, radius: float) -> np.ndarray:
            return np.full(size, gain * radius ** -float(span[1]))

        return Region(
            k, source, closed,
            lambda radius, _: late(energy, radius), lambda radius: late(sums, radius), span,
        )  # fmt: skip

    def _sums(self, k: int) -> set[int]:
        """The sums on the way to a sum."""
        found: set[int] = set()
        work = [k]
        while work:
            for s in self.graph.nodes[work.pop()].inputs:
                known = s in self.parts.members and s not in self.parts.found
                if known and self.graph.nodes[s].op == "add":
                    found.add(s)
                    work.append(s)
        return found

    def _tap(self, k: int) -> _Tap | None:
        node = self.graph.nodes[k]
        if node.op != "mul":
            return None
        for delay, weight in (node.inputs, node.inputs[::-1]):
            read = self.graph.nodes[delay]
            if read.op != "variable_delay" or delay not in self.parts.members:
                continue
            if {weight, read.inputs[1]} & self.parts.members:
                return None
            if self.graph.nodes[weight].shape != node.shape:
                return None
            return _Tap(weight, read.inputs[0], read.inputs[1], frozenset((k, delay)))
        return None

    def _sum(self, k: int, size: int, alike: bool = False) -> tuple[int, tuple[int, ...]]:
        """A node, and what whole number is added to it in each channel, or `alike` in all."""
        shift = np.zeros(size, np.int64)
        while True:
            node = self.graph.nodes[k]
            fixed = [s for s in node.inputs if self.outside[s].fixed]
            inner = [s for s in node.inputs if not self.outside[s].fixed]
            falls = node.op == "sub" and fixed and fixed[0] == node.inputs[0]
            if node.op not in ("add", "sub") or len(fixed) != 1 or len(inner) != 1 or falls:
                return k, tuple(int(v) for v in shift)
            value = np.broadcast_to(self.outside[fixed[0]].c[0], node.shape).ravel()
            if (value != np.round(value)).any() or (alike and (value != value[0]).any()):
                return k, tuple(int(v) for v in shift)
            shift = shift + (-value if node.op == "sub" else value).astype(np.int64)
            k = inner[0]

    def _whole(self, k: int, size: int) -> _Whole | None:
        """What an integer is the floor of, whatever limits do nothing in between."""
        shift: tuple[int, ...] = (0,) * size
        while True:
            k, more = self._sum(k, size)
            shift = _plus(shift, more)
            node = self.graph.nodes[k]
            if node.op == "floor":
                length, by = self._sum(node.inputs[0], size, alike=True)
                return _Whole(length, -float(by[0]), shift)
            if node.op == "convert":
                k = node.inputs[0]
                continue
            limits = [s for s in node.inputs if self.outside[s].fixed]
            if node.op not in ("maximum", "minimum") or len(limits) != 1:
                return None
            k = next(s for s in node.inputs if s != limits[0])
            low, high = self.outside[k].base
            limit = self.outside[limits[0]].c[0]
            if not np.all(low >= limit if node.op == "maximum" else high <= limit):
                return None

    def _pieces(
        self,
        weights: list[list[Polynomial]],
        base: int,
        first: tuple[int, ...],
        whole: _Whole,
        size: int,
    ) -> np.ndarray | None:
        """The P_j, (taps, powers of μ), if all are polynomials of one μ = D - floor(D - s)."""
        leaves = {leaf for each in weights for p in each for m in p for leaf in m}
        nodes = {node for kind, node, _ in leaves if not kind}
        if len(nodes) != 1 or any(kind for kind, _, _ in leaves):
            return None
        if not self._is_fraction(nodes.pop(), base, first, whole, size):
            return None
        degree = max(len(m) for each in weights for p in each for m in p)
        found = np.zeros((size, len(weights), degree + 1))
        for j, each in enumerate(weights):
            for i, p in enumerate(each):
                for monomial, c in p.items():
                    if any(leaf[2] != i % size for leaf in monomial):
                        return None
                    found[i, j, len(monomial)] += c
        return found[0] if (found == found[0]).all() else None

    def _is_fraction(
        self, k: int, base: int, first: tuple[int, ...], whole: _Whole, size: int
    ) -> bool:
        """Whether a node is D - (W - shift), within limits that do nothing but for rounding."""
        node = self.graph.nodes[k]
        while node.op in ("maximum", "minimum"):
            limits = [s for s in node.inputs if self.outside[s].fixed]
            if len(limits) != 1:
                return False
            limit = self.outside[limits[0]].c[0]
            inert = limit <= whole.start if node.op == "maximum" else limit >= whole.start + 1
            if not np.all(inert):
                return False
            k = next(s for s in node.inputs if s != limits[0])
            node = self.graph.nodes[k]
        if node.op != "sub":
            return False
        second = self.graph.nodes[node.inputs[1]]
        if second.op != "convert":
            return False
        length, by = self._sum(node.inputs[0], size, alike=True)
        taken, less = self._sum(second.inputs[0], size)
        shift = _plus(whole.shift, first, -1)
        same = length == whole.length and not any(by)
        return same and taken == base and not any(_plus(shift, less))


def _plus(x: tuple[int, ...], y: tuple[int, ...], sign: int = 1) -> tuple[int, ...]:
    return tuple(a + sign * b for a, b in zip(x, y, strict=True))


def kernel_gains(pieces: np.ndarray, start: float, rho: float) -> tuple[float, float] | None:
    """Gains of energy and of the largest value of a read; None if the kernel jumps.

    Args:
        pieces: P_j, (taps, powers of μ), for μ from `start` to `start` + 1.
        start: s.
        rho: ρ, below 1.
    """
    taps, terms = pieces.shape
    ends = [np.polynomial.polynomial.polyval(start + e, pieces.T) for e in (0, 1)]
    # At v = j - s the piece j begins where the piece j + 1 ends.
    jumps = np.append(0.0, ends[0]) - np.append(ends[1], 0.0)
    if np.abs(jumps).max() > MEET:
        return None
    largest = max(abs(start), abs(start + 1))
    powers = np.arange(terms)
    slope = np.abs(pieces) @ (powers * largest ** np.maximum(powers - 1, 0))
    if terms <= 2:
        total = max(float(np.abs(e).sum()) for e in ends)
        steepest = float(np.abs(pieces[:, 1:]).max(initial=0.0))
    else:
        mu = start + np.linspace(0, 1, POINTS + 1)
        values = np.polynomial.polynomial.polyval(mu, pieces.T)
        total = float(np.abs(values).sum(0).max()) + float(slope.sum()) / (2 * POINTS)
        bend = np.abs(pieces[:, 2:]) @ (
            (powers * (powers - 1))[2:] * largest ** np.maximum(powers[2:] - 2, 0)
        )
        slopes = np.polynomial.polynomial.polyval(mu, np.polynomial.polynomial.polyder(pieces.T))
        steepest = float(np.abs(slopes).max()) + float(bend.max()) / (2 * POINTS)
    count = int(np.ceil((taps / 2 + 0.5) / (1 - rho))) - 1
    columns = total + rho * steepest * count * (count + 1) + taps * MEET
    slack = 1 + 64 * terms * EPS
    return float(np.sqrt(total * columns)) * slack, total * slack
