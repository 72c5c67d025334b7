"""What an adversarial loop is, and how one is made."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import optimize
from stability_poles import spectral_radius

import ir

Rng = np.random.Generator
Array = np.ndarray
RATE = 48000.0


@dataclass(frozen=True)
class Loop:
    """A program with a loop, and what is known of it.

    Attributes:
        family: Which generator made it.
        program: The program.
        truth: "stable" (bounded inputs within ±1 give bounded signals, and what has been heard is
            forgotten), "unstable" (some input within ±1, or none at all, makes a signal grow
            without bound or cease to be a number), "marginal" (poles on the unit circle itself),
            "bounded" (never grows, but never forgets either: oscillators, counters), "unknown", or
            "poles" (linear and time-invariant: its poles tell).
        why: Why that is so.
        linear: Whether it is linear and time-invariant.
    """

    family: str
    program: ir.Program
    truth: str
    why: str = ""
    linear: bool = False


class Maker:
    """A builder that takes numbers for constants and arrays for coefficients."""

    def __init__(self) -> None:
        self.b = ir.Builder("loop", RATE)
        self.coefficients: dict[str, Array] = {}
        self.count = 0

    def input(self, *shape: int, kind: str = "real") -> int:
        self.count += 1
        return self.b.add("input", index=self.count - 1, shape=shape, kind=kind)

    def coefficient(self, value: Any) -> int:
        value = np.asarray(value)
        kind = {"b": "bool", "i": "int", "f": "real"}[value.dtype.kind]
        slot = f"c{len(self.coefficients)}"
        self.coefficients[slot] = value
        return self.b.add("coefficient", slot=slot, shape=value.shape, kind=kind)

    def node(self, source: Any) -> int:
        """A node: itself, a constant of a Python float, bool or [int], or an array."""
        if isinstance(source, (bool, float)):
            return self.b.constant(source)
        if isinstance(source, list):
            return self.b.constant(source[0])
        if isinstance(source, np.ndarray):
            return self.coefficient(source)
        return int(source)

    def op(self, name: str, *sources: Any, **attributes: Any) -> int:
        return self.b.add(name, *(self.node(s) for s in sources), **attributes)

    def add(self, *sources: Any) -> int:
        total = self.node(sources[0])
        for s in sources[1:]:
            total = self.op("add", total, s)
        return total

    def mul(self, x: Any, y: Any) -> int:
        return self.op("mul", x, y)

    def delay(self, x: int, *samples: int) -> int:
        size = self.b.type(x).size
        lengths = samples if len(samples) == size else samples * size
        return self.op("delay", x, samples=tuple(int(n) for n in lengths))

    def mix(self, x: int, A: Array) -> int:
        """A x."""
        return self.op("einsum", x, np.asarray(A, float), subscripts="j,ij->i")

    def close(self, head: int, x: Any, fed: int) -> None:
        """head = x + fed."""
        self.b.define(head, "add", self.node(x), fed)

    def channel(self, x: int, k: int) -> int:
        """Channel k of a vector, as a scalar."""
        return self.op("take", x, indices=(k,), shape=())

    def stack(self, *scalars: int) -> int:
        rows = [self.op("reshape", s, shape=(1,)) for s in scalars]
        return self.op("concatenate", *rows, axis=0)

    def program(self, *outputs: int) -> ir.Program:
        return ir.Program(self.b.build(outputs), self.coefficients)


Generator = Callable[[Rng], Loop]
FAMILIES: dict[str, Generator] = {}
WEIGHTS: dict[str, float] = {}


def family(name: str, weight: float = 1.0) -> Callable[[Callable[[Rng], Any]], Generator]:
    """Registers a generator: what it returns is a program (its poles tell), or (program, truth,
    why), or a `Loop`."""

    def register(make: Callable[[Rng], Any]) -> Generator:
        def loop(rng: Rng) -> Loop:
            made = make(rng)
            if isinstance(made, Loop):
                return made
            if isinstance(made, ir.Program):
                return Loop(name, made, "poles", "", True)
            return Loop(name, *made)

        FAMILIES[name] = loop
        WEIGHTS[name] = weight
        return loop

    return register


def distance(rng: Rng, finest: float = 9.0) -> float:
    """How far from the border, as a factor: 1 ± 10^-(1 to finest)."""
    return 1 + rng.choice([-1.0, 1.0]) * 10 ** -rng.uniform(0.7, finest)


def at_border(rng: Rng, build: Callable[[float], ir.Program], finest: float = 9.0) -> ir.Program:
    """A program near the gain at which it becomes unstable, on either side."""

    def excess(log_gain: float) -> float:
        return spectral_radius(build(float(np.exp(log_gain)))) - 1

    low, high = np.log(1e-3), np.log(3.0)
    if excess(low) > 0:
        return build(float(rng.uniform(0.2, 1)))
    if excess(high) < 0:
        return build(float(rng.uniform(0.5, 5)))
    coarse = rng.uniform() < 0.4
    border = optimize.brentq(excess, low, high, xtol=1e-3 if coarse else 1e-13, rtol=1e-14)
    factor = distance(rng, 2.0 if coarse else finest)
    return build(float(np.exp(border)) * factor)


# Parts.


def orthogonal(rng: Rng, n: int) -> Array:
    q, r = np.linalg.qr(rng.normal(size=(n, n)))
    return q * np.sign(np.diag(r))


def peak(frequency: float, bandwidth: float, gain_db: float) -> Array:
    """A peaking section: b0, b1, b2, a0, a1, a2 (R. Bristow-Johnson's, with a width in Hz)."""
    w = 2 * np.pi * frequency / RATE
    A, alpha = 10 ** (gain_db / 40), np.tan(np.pi * bandwidth / RATE)
    c = -2 * np.cos(w)
    section = np.array([1 + alpha * A, c, 1 - alpha * A, 1 + alpha / A, c, 1 - alpha / A])
    return section / section[3] if gain_db < 40 else section


def frequency(rng: Rng) -> float:
    """Anywhere, and often near 0 or half the sample rate."""
    kind = rng.integers(0, 4)
    if kind == 0:
        return float(10 ** rng.uniform(-1, 3))
    if kind == 1:
        return float(RATE / 2 - 10 ** rng.uniform(-1, 3))
    return float(rng.uniform(20, RATE / 2 - 20))


def decibels(rng: Rng) -> float:
    """±0.001 to +12 dB."""
    size = 10 ** rng.uniform(-3, np.log10(12))
    return float(size if rng.uniform() < 0.8 else -min(size, 1.0))


def lengths(rng: Rng, n: int, longest: int = 20) -> tuple[int, ...]:
    return tuple(int(v) for v in rng.integers(1, longest + 1, n))


def polynomial(rng: Rng, order: int, radius: float) -> Array:
    """A real polynomial with roots of at most a magnitude; some of them close together."""
    count = order // 2
    r = radius * rng.uniform(0.3, 1, count) ** rng.choice([0.1, 1.0])
    angle = rng.uniform(0, np.pi, count)
    if rng.uniform() < 0.3:
        angle = rng.uniform(0, np.pi) + rng.normal(size=count) * 0.05
    roots = r * np.exp(1j * angle)
    real = rng.uniform(-radius, radius, order % 2)
    return np.real(np.poly(np.concatenate([roots, roots.conj(), real])))
