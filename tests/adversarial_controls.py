"""Loops with knobs: safe where they stand by default, and perhaps not at an end, or in motion."""

from __future__ import annotations

import math

from adversarial_case import Maker, Rng, distance, family, lengths, orthogonal

import ir

Result = tuple[ir.Program, str, str]


def knob(g: Maker, name: str, low: float, high: float, default: float, seconds: float) -> int:
    """A control that needs so long for its whole way."""
    step = (high - low) / max(1.0, seconds * 48000)
    return g.b.control(name, default, low, high, step=step)


def slowness(rng: Rng) -> float:
    return float(rng.choice([0.0, 10 ** rng.uniform(-4, -2)]))


@family("knobs on gains", 2)
def gains(rng: Rng) -> Result:
    """The gain is a function of a knob whose largest value within the range is known."""
    top, n = float(distance(rng, 6)), int(rng.choice([1, 2, 4]))
    g = Maker()
    head = g.b.reserve((n,))
    s = g.delay(head, *lengths(rng, n, 12))
    x, kind = g.input(n), rng.integers(0, 4)
    if kind == 0:
        gain = knob(g, "gain", 0.0, top, 0.3 * top, slowness(rng))
    elif kind == 1:
        # Decibels: 10^(k / 20) with k up to 20 log10(top).
        high = 20 * math.log10(top)
        k = knob(g, "level", high - 30, high, high - 12, slowness(rng))
        gain = g.op("exp", g.mul(k, math.log(10) / 20))
    elif kind == 2:
        # A decay time: 0.001^(m / (48000 T)), below one whatever T is.
        seconds = knob(g, "time", 0.1, 20.0, 2.0, slowness(rng))
        gain = g.op("exp", g.op("div", -math.log(1000) * 12 / 48000, seconds))
        top = math.exp(-math.log(1000) * 12 / 48000 / 20)
    else:
        # Largest in the middle of the way.
        k = knob(g, "shape", -1.0, 1.0, -0.9, slowness(rng))
        gain = g.mul(g.op("sub", 1.0, g.mul(k, k)), top)
    g.close(head, x, g.mix(g.mul(s, gain), orthogonal(rng, n)))
    return g.program(head), "stable" if top < 1 else "unstable", f"gains up to {top}"


@family("knobs on matrices", 1)
def matrices(rng: Rng) -> Result:
    """A crossfade between two matrices: each is lossless; what lies between is not larger."""
    n, top = int(rng.integers(2, 5)), float(distance(rng, 5))
    g = Maker()
    head = g.b.reserve((n,))
    s = g.mul(g.delay(head, *lengths(rng, n, 12)), top)
    k = knob(g, "mix", 0.0, 1.0, 0.0, slowness(rng))
    one, two = g.mix(s, orthogonal(rng, n)), g.mix(s, orthogonal(rng, n))
    mixed = g.add(g.mul(one, g.op("sub", 1.0, k)), g.mul(two, k))
    g.close(head, g.input(n), mixed)
    # At an end, all poles lie at top^(1/m).
    return g.program(head), "stable" if top < 1 else "unstable", f"orthogonal times {top}"


@family("knobs on delays", 1)
def delays(rng: Rng) -> Result:
    top, low = float(distance(rng, 5)), int(rng.integers(1, 6))
    high = low + int(rng.integers(1, 30))
    g = Maker()
    head = g.b.reserve(())
    k = knob(g, "length", float(low), float(high), float(low), slowness(rng))
    d = g.op("convert", g.op("round", k), kind="int")
    s = g.op("variable_delay", head, d, minimum=low, maximum=high)
    g.close(head, g.input(), g.mul(s, top))
    return g.program(head), "stable" if top < 1 else "unstable", f"gain {top}"


@family("knobs on resonators", 1)
def resonators(rng: Rng) -> Result:
    """A recursion by hand whose a1 and a2 come from a radius and a frequency that are knobs."""
    top = float(1 - 10 ** -rng.uniform(0.5, 3))
    unsafe = bool(rng.uniform() < 0.5)
    if unsafe:
        top = float(1 + 10 ** -rng.uniform(1, 3))
    g = Maker()
    head = g.b.reserve(())
    r = knob(g, "radius", 0.0, top, 0.1, slowness(rng))
    late = g.delay(head, 1)
    w = float(rng.uniform(0, math.pi))
    a1, a2 = g.mul(r, -2 * math.cos(w)), g.mul(r, r)
    fed = g.add(g.mul(late, a1), g.mul(g.delay(late, 1), a2))
    g.close(head, g.input(), g.op("neg", fed))
    if unsafe:
        return g.program(head), "unstable", f"poles of magnitude {top} at the end of the way"
    # |a1| + |a2| < 1 is a contraction in the maximum norm at every sample.
    total = 2 * abs(math.cos(w)) * top + top * top
    truth = "stable" if total < 1 else "unknown"
    return g.program(head), truth, f"|a1| + |a2| up to {total}"
