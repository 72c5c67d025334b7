"""What one sample of a signal is, as far as is known: an affine function of what delays return.

Inside a loop, every signal is written as

    y = c_0 ± r_0 + Σ_a (c_a ± r_a) w_a,

where w_a is what an *atom* returns: a delay, a filter, or a gain that may change from sample to
sample. c ± r is a range in which a number lies at each sample, differently at each if it likes:
rounding, a knob, a condition. Outside of loops there are no atoms, and y is an interval. So one
rule an operation serves both: ranges of signals, and the linear fractional form of a loop
(Zhou, Doyle, Glover, "Robust and Optimal Control", chapter 10).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ir.certificate.intervals import Interval, outward, product
from ir.errors import IRError
from ir.graph import Graph, Node, Shape

EPS = 2.0**-52
LARGEST = 2**26
"""Numbers that a form may hold; a loop with more is not looked at."""


class UnprovenError(IRError):
    """The proof stops at a node.

    Attributes:
        node: Its position.
        reason: Why, as part of a sentence.
    """

    def __init__(self, node: int, reason: str) -> None:
        self.node, self.reason = node, reason
        super().__init__(reason)


@dataclass(frozen=True, slots=True, eq=False)
class Form:
    """c ± r, each of shape (1 + atoms, *channels); row 0 is what does not depend on atoms.

    `span`, if there, is the range of row 0, which may be bounded on one side only.
    """

    c: np.ndarray
    r: np.ndarray
    span: Interval | None = None

    @property
    def atoms(self) -> int:
        """How many atoms it has rows for."""
        return len(self.c) - 1

    @property
    def shape(self) -> Shape:
        """Of one sample."""
        return self.c.shape[1:]

    @property
    def loops(self) -> np.ndarray:
        """Which channels depend on atoms: (*channels,)."""
        if not self.atoms:
            return np.zeros(self.shape, bool)
        return ((self.c[1:] != 0) | (self.r[1:] != 0)).any(0)

    @property
    def fixed(self) -> bool:
        """Whether it is the same known number at every sample."""
        return not self.atoms and not self.r.any()

    @property
    def base(self) -> Interval:
        """The range of what does not depend on atoms."""
        if self.span is not None:
            return self.span
        return self.c[0] - self.r[0], self.c[0] + self.r[0]

    def wide(self, atoms: int) -> Form:
        """The same with rows for that many atoms."""
        if atoms == self.atoms:
            return self
        rest = [(0, atoms - self.atoms)] + [(0, 0)] * (self.c.ndim - 1)
        return Form(np.pad(self.c, rest), np.pad(self.r, rest))

    def spread(self, shape: Shape) -> Form:
        """A scalar as a whole shape."""
        if self.shape == shape:
            return self
        if self.span is not None:
            return interval(tuple(np.broadcast_to(b, shape) for b in self.span))
        full = (len(self.c), *shape)
        lead = (len(self.c), *(1,) * (len(shape) - len(self.shape)), *self.shape)
        return Form(
            np.broadcast_to(self.c.reshape(lead), full), np.broadcast_to(self.r.reshape(lead), full)
        )

    def taken(self, index: np.ndarray) -> Form:
        """Channels by their flat positions, in the shape of `index`."""
        rows = len(self.c)
        if self.span is not None:
            return interval(tuple(b.ravel()[index] for b in self.span))
        return Form(self.c.reshape(rows, -1)[:, index], self.r.reshape(rows, -1)[:, index])

    def without_base(self) -> Form:
        """Only what depends on atoms."""
        c, r = self.c.copy(), self.r.copy()
        c[0] = r[0] = 0
        return Form(c, r)


def interval(bounds: Sequence[np.ndarray]) -> Form:
    """A form without atoms, of (least, greatest) values."""
    low, high = np.broadcast_arrays(*(np.asarray(b, float) for b in bounds))
    same = low == high
    with np.errstate(invalid="ignore", over="ignore"):
        middle = np.where(np.isfinite(low) & np.isfinite(high), 0.5 * low + 0.5 * high, 0.0)
        radius = np.maximum(high - middle, middle - low)
        radius = np.where(same, 0.0, radius * (1 + 4 * EPS))
    return Form(np.where(same, low, middle)[None], radius[None], (low, high))


def exactly(value: np.ndarray) -> Form:
    """Known numbers."""
    c = np.asarray(value, float)[None]
    return Form(c, np.zeros_like(c))


def add(x: Form, y: Form, sign: float = 1.0) -> Form:
    """X + sign y."""
    count = max(x.atoms, y.atoms)
    x, y = x.wide(count), y.wide(count)
    c = x.c + sign * y.c
    return Form(c, _rounded(x.r + y.r, c))


def _rounded(r: np.ndarray, c: np.ndarray, operations: int = 1) -> np.ndarray:
    """R and what rounding adds; numbers that came out exact as zero stay so."""
    return r + operations * EPS * np.abs(np.where(np.isfinite(c), c, 0))


def times(x: Form, gain: np.ndarray, tolerance: float) -> Form:
    """X times known numbers, each of which may be off by a relative `tolerance`."""
    c = _times(x.c, gain)
    exact = np.isin(np.abs(gain), (0.0, 0.5, 1.0, 2.0))  # powers of two are held exactly
    r = _times(x.r, np.abs(gain)) + np.where(exact, 0, (tolerance + EPS) * np.abs(c))
    return Form(c, r)


def _times(x: np.ndarray, gain: np.ndarray) -> np.ndarray:
    if np.isfinite(x).all():
        return x * gain
    with np.errstate(invalid="ignore"):
        return np.where((x == 0) | (gain == 0), 0.0, x * gain)


def contract(subscripts: str, x: Form, known: np.ndarray, first: bool, tolerance: float) -> Form:
    """An Einstein sum of a form and known numbers, in the order that `first` says."""
    operands, result = subscripts.split("->")
    left, right = operands.split(",")

    def run(form: np.ndarray, numbers: np.ndarray) -> np.ndarray:
        if np.isfinite(form).all():
            if first:
                return np.einsum(f"Z{left},{right}->Z{result}", form, numbers, optimize=True)
            return np.einsum(f"{left},Z{right}->Z{result}", numbers, form, optimize=True)
        # Infinite ranges: zero times infinity is zero here.
        finite = np.where(np.isfinite(form), form, 0)
        found = run(finite, numbers)
        reached = run((~np.isfinite(form)).astype(float), (numbers != 0).astype(float))
        return np.where(reached > 0, np.inf, found)

    c, size = run(x.c, known), run(np.abs(x.c), np.abs(known))
    terms = known.size + 1
    r = run(x.r, np.abs(known)) + (tolerance + terms * EPS) * np.where(np.isfinite(size), size, 0)
    return Form(c, np.where(size == 0, np.where(r > 0, r, 0), r))


@dataclass(slots=True, eq=False)
class Atoms:
    """Consecutive atoms that one node makes, one a channel that needs one.

    Attributes:
        kind: "delay", "moving", "taps", "sections", "rational", "gain" or "region".
        node: The node's position.
        start: The first one's number.
        count: How many.
        source: What enters: the position of a node, or a form of the atoms' number of channels.
        channels: Which flat channels of the source enter, one an atom.
        delays: For delays: samples; for moving ones: (least, most).
        filters: For filters: (b, a) of each.
        gain: For gains: the largest absolute value of each.
        injected: The largest absolute value that initial values bring, of each.
        region: For regions: what it is.
    """

    kind: str
    node: int
    start: int
    count: int
    source: int | Form
    channels: np.ndarray
    delays: np.ndarray = field(default_factory=lambda: np.zeros(0))
    filters: list[tuple[np.ndarray, np.ndarray]] = field(default_factory=list)
    gain: np.ndarray = field(default_factory=lambda: np.zeros(0))
    injected: np.ndarray = field(default_factory=lambda: np.zeros(0))
    region: Any = None

    @property
    def numbers(self) -> range:
        """The atoms' numbers."""
        return range(self.start, self.start + self.count)


@dataclass(frozen=True, slots=True)
class Mode:
    """How what changes from sample to sample is written.

    Attributes:
        intervals: Factors of known range as ranges of c; else as atoms, one a channel.
        saturating: What is bounded whatever comes (tanh, clip) as a bounded signal of its own.
        tolerance: By how much a multiplier may be off, relatively: its precision.
    """

    intervals: bool = False
    saturating: bool = False
    tolerance: float = 0.0


class Context:
    """The atoms that a loop's forms refer to, and what is known of its signals."""

    def __init__(
        self,
        graph: Graph,
        mode: Mode,
        reachable: dict[int, Interval] | None = None,
        outside: Mapping[int, Form] | None = None,
    ) -> None:
        self.graph, self.mode, self.reachable = graph, mode, reachable or {}
        self.outside = outside or {}
        self.atoms: list[Atoms] = []
        self.count = 0

    def range_of(self, k: int, form: Form) -> Interval:
        """In which range the values of node k lie."""
        loops = form.loops
        if not loops.any():
            return form.base
        low, high = self.reachable.get(k, (-np.inf, np.inf))
        base = form.base
        return np.where(loops, low, base[0]), np.where(loops, high, base[1])

    def make(self, kind: str, node: Node, k: int, source: int | Form, which: np.ndarray, **facts):
        """Atoms for the channels that `which` marks: their outputs as a form of node's shape."""
        channels = np.flatnonzero(which)
        count = len(channels)
        self.atoms.append(Atoms(kind, k, self.count, count, source, channels, **facts))
        size = max(which.size, 1)
        c = np.zeros((1 + self.count + count, size))
        if c.size > LARGEST:
            raise UnprovenError(k, "the loop has too many signals to be looked at together")
        c[1 + self.count + np.arange(count), channels] = 1
        self.count += count
        c = c.reshape(-1, *node.shape)
        return Form(c, np.zeros_like(c))

    def scaled(self, k: int, node: Node, x: Form, gain: Interval, why: str) -> Form:
        """X times numbers in a range, different ones at each sample."""
        x = x.spread(node.shape)
        low, high = (np.broadcast_to(g, node.shape) for g in gain)
        if (low == high).all():
            return times(x, low, 0.0)
        loops = x.loops
        if (loops & ~(np.isfinite(low) & np.isfinite(high))).any():
            raise UnprovenError(k, why)
        base = interval(product(x.base, (low, high)))
        if not loops.any():
            return base
        moving = loops & (low != high)
        if self.mode.intervals:
            # Only channels outside of the loop may be unbounded.
            with np.errstate(invalid="ignore"):
                middle, half = 0.5 * (low + high), 0.5 * (high - low)
            middle, half = (np.where(loops, v, 0.0) for v in (middle, half))
            inner = x.without_base()
            c = inner.c * middle
            r = inner.r * (np.abs(middle) + half) + np.abs(inner.c) * half + EPS * np.abs(c)
            return add(Form(c, r), base)
        still = np.where(moving, 0.0, low)
        still = np.where(loops, still, 0.0)
        size = np.maximum(high - still, still - low) * (1 + 2 * EPS)
        inner = x.without_base()
        fixed = times(inner, still, 0.0)
        if not moving.any():
            return add(fixed, base)
        moved = self.make("gain", node, k, inner, moving, gain=size.ravel()[np.flatnonzero(moving)])
        return add(add(fixed, moved), base)


def enclosing(x: Interval, y: Interval) -> Interval:
    """The least interval that holds both."""
    return np.minimum(x[0], y[0]), np.maximum(x[1], y[1])


__all__ = [
    "EPS",
    "Atoms",
    "Context",
    "Form",
    "Mode",
    "UnprovenError",
    "add",
    "contract",
    "enclosing",
    "exactly",
    "interval",
    "outward",
    "times",
]
