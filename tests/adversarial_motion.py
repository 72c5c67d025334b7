"""Loops that vary with time, continued: what holds, freezes, counts, wraps and divides."""

from __future__ import annotations

import math

import numpy as np
from adversarial_case import Maker, Rng, distance, family

import ir

Result = tuple[ir.Program, str, str]


@family("smoothers", 1)
def smoothers(rng: Rng) -> Result:
    """u = (1 - p) x + p u[t-1] with p moved: an average of what came, never above it."""
    hold = rng.uniform() < 0.5
    most = 1.0 if hold else float(1 - 10 ** -rng.uniform(0.5, 5))
    g = Maker()
    head = g.b.reserve(())
    x, y = g.input(), g.input()
    p = g.mul(g.mul(g.add(y, 1.0), 0.5), most)
    kind = rng.integers(0, 2)
    late = g.delay(head, int(rng.integers(1, 4)))
    if kind == 0:
        g.close(head, g.mul(x, g.op("sub", 1.0, p)), g.mul(late, p))
    else:
        g.close(head, late, g.mul(g.op("sub", x, late), g.op("sub", 1.0, p)))
    return g.program(head), "bounded" if hold else "stable", f"p up to {most}"


@family("freezing", 1)
def freezing(rng: Rng) -> Result:
    """A loop that an input closes to gain one: with its input shut it is held, else it adds up."""
    shut, k = bool(rng.uniform() < 0.5), float(rng.uniform(0.1, 0.9))
    g = Maker()
    head = g.b.reserve(())
    x, y = g.input(), g.input()
    s = g.delay(head, int(rng.integers(1, 30)))
    frozen = g.op("gt", y, 0.0)
    open_ = g.add(g.mul(s, k), x)
    held = s if shut else g.add(s, x)
    g.b.define(head, "select", frozen, held, open_)
    truth, why = ("bounded", "held") if shut else ("unstable", "an integrator while frozen")
    return g.program(head), truth, why


@family("integers that wrap", 2)
def integers(rng: Rng) -> Result:
    kind = rng.integers(0, 7)
    g = Maker()
    head = g.b.reserve(())
    s = g.delay(head, int(rng.integers(1, 9)))
    x, y = g.input(), g.input()
    top = float(distance(rng, 5))
    unit = 2.0**-31

    def real(k: int) -> int:
        return g.op("convert", k, kind="real")

    def count(step: int, op: str = "add", first: int = 0) -> int:
        n = g.b.reserve((), "int")
        late = g.op("delay", n, np.array([first]), samples=(1,))
        g.b.define(n, op, late, g.b.constant(step))
        return n

    if kind == 0:
        gain = g.mul(real(count(int(rng.integers(1, 2**29)))), top * unit)
        truth, why = ("stable", "|n| 2^-31 is at most one") if top < 1 else (
            "unknown", "n is large for some of the time")  # fmt: skip
    elif kind == 1:
        n = g.b.reserve((), "int")
        late = g.op("delay", n, np.array([1]), samples=(1,))
        g.b.define(n, "or", late, g.op("shift_left", late, [1]))
        gain = g.op("select", g.op("lt", n, [0]), 1.5, 0.5)
        truth, why = "unstable", "ones shift into the sign after 31 samples"
    elif kind == 2:
        n = g.op("select", g.op("gt", y, 0.0), [-(2**31)], [5])
        gain = g.add(g.mul(real(g.op("abs", n)), -unit), 0.5)
        truth, why = "unstable", "the magnitude of -2^31 is -2^31"
    elif kind == 3:
        n = g.op("convert", g.mul(y, 65536.0), kind="int")
        gain = g.op("sub", 0.9, g.mul(real(g.mul(n, n)), 0.9 * unit / 2))
        truth, why = "unstable", "46341^2 wraps to a negative number"
    elif kind == 4:
        n = g.op("rem", count(int(rng.integers(1, 2**20))), [7])
        gain = g.mul(real(n), top / 6)
        truth, why = ("stable", "a remainder of at most 6") if top < 1 else (
            "unknown", "the remainder runs through all values")  # fmt: skip
    elif kind == 5:
        # 1 / 2 and -1 / 2 are 0.
        sign = int(rng.choice([-1, 1]))
        n = g.op("select", g.op("gt", y, 0.0), [sign], [3 * sign])
        half = real(g.op("div", n, [2]))
        gain = g.op("sub", 1.4, g.mul(half, 0.9 * sign))
        truth, why = "unstable", "a quotient of integers is truncated to zero"
    else:
        n = g.op("add", g.op("convert", g.mul(y, 3.0), kind="int"), [2**31 - 2])
        if rng.uniform() < 0.3:
            # n - (2^31 - 4) wraps back: 2 + convert(3 y) in -1 to 5, times 0.15 at most 0.75.
            gain = g.mul(real(g.op("sub", n, [2**31 - 4])), 0.15)
            truth, why = "stable", "wraps out and back again"
        else:
            gain = g.op("sub", 0.5, g.mul(real(n), unit))
            truth, why = "unstable", "a sum past 2^31 is negative, and far away"
    g.close(head, x, g.mul(s, gain))
    return g.program(head), truth, why


@family("modulated by a counter", 2)
def lfo(rng: Rng) -> Result:
    """A phase in 32-bit integers or in a remainder moves a delay in a loop."""
    top = float(distance(rng, 5))
    low = int(rng.integers(1, 6))
    high = low + int(rng.integers(1, 12))
    g = Maker()
    if rng.uniform() < 0.5:
        n = g.b.reserve((), "int")
        g.b.define(n, "add", g.delay(n, 1), g.b.constant(int(rng.integers(10**4, 10**8))))
        phase = g.mul(g.op("convert", n, kind="real"), math.pi * 2.0**-31)
    else:
        turn = g.b.reserve(())
        late = g.add(g.delay(turn, 1), float(rng.uniform(0.001, 0.2)))
        g.b.define(turn, "sub", late, g.op("floor", late))
        phase = g.mul(turn, 2 * math.pi)
    wave = g.op("sin", phase)
    head = g.b.reserve(())
    d = g.add(g.mul(wave, (high - low) / 2), (high + low) / 2)
    kind = rng.integers(0, 2)
    if kind == 0:
        whole = g.op("convert", g.op("round", d), kind="int")
        s = g.op("variable_delay", head, whole, minimum=low, maximum=high)
    else:
        # Linear interpolation between neighbours: weights that add up to one.
        base = g.op("floor", d)
        share = g.op("sub", d, base)
        whole = g.op("convert", base, kind="int")
        next_ = g.op("add", whole, [1])
        near = g.op("variable_delay", head, whole, minimum=low, maximum=high + 1)
        far = g.op("variable_delay", head, next_, minimum=low, maximum=high + 1)
        s = g.add(g.mul(near, g.op("sub", 1.0, share)), g.mul(far, share))
    g.close(head, g.input(), g.mul(s, top))
    return g.program(head), "stable" if top < 1 else "unstable", f"gain {top}"


@family("fractions", 1)
def fractions(rng: Rng) -> Result:
    """d - floor(d) weighs two taps: within 0 and 1, unless the floor is an integer that wraps."""
    g = Maker()
    head = g.b.reserve(())
    one, two = (g.delay(head, int(m)) for m in rng.integers(1, 9, 2))
    x, y = g.input(), g.input()
    top = float(distance(rng, 4))
    size = float(rng.choice([10.0, 1e4, 1e8, 1e10]))
    d, kind = g.mul(y, size), rng.integers(0, 3)
    whole = g.op("floor", d)
    if kind > 0:
        whole = g.op("convert", whole, kind="int")
        if kind == 2:
            whole = g.op("sub", g.op("add", whole, [2**30]), [2**30])
        whole = g.op("convert", whole, kind="real")
    share = g.op("sub", d, whole)
    fed = g.add(g.mul(one, g.op("sub", 1.0, share)), g.mul(two, share))
    g.close(head, x, g.mul(fed, top))
    wraps = kind > 0 and size > 2**31
    stable = top < 1 and not wraps
    return g.program(head), "stable" if stable else "unstable", f"gain {top}, lengths to {size}"


@family("guarded quotients", 1)
def guarded_quotients(rng: Rng) -> Result:
    """1 / d where a choice keeps d away from zero, or seems to."""
    g = Maker()
    head = g.b.reserve(())
    s, x, y = g.delay(head, int(rng.integers(1, 9))), g.input(), g.input()
    limit, other = float(rng.choice([0.3, -0.3])), float(rng.choice([1.0, 0.25, 0.1]))
    if rng.uniform() < 0.5:
        d = g.op("select", g.op("lt", g.op("abs", y), limit), other, y)
    else:
        d = g.op("select", g.op("ge", g.op("abs", y), limit), y, other)
    least = min(limit, other) if limit > 0 else 0.0
    top = float(distance(rng, 4))
    k = top * (least or 0.3)
    g.close(head, x, g.mul(s, g.op("div", k, d)))
    stable = least > 0 and top < 1
    return g.program(head), "stable" if stable else "unstable", f"divides by {least} at least"


@family("products of tensors", 2)
def tensors(rng: Rng) -> Result:
    """Bounded signals times signals of the loop by an Einstein sum, each channel with its bound."""
    n = int(rng.integers(2, 4))
    g = Maker()
    head = g.b.reserve((n, n))
    x, s = g.input(n, n), g.delay(head, int(rng.integers(1, 4)))
    bounds = rng.permutation(10 ** rng.uniform(-2, 1, n))
    pick = tuple(int(k) for k in rng.integers(0, n * n, n))
    t = g.mul(g.op("tanh", g.mul(g.op("take", s, indices=pick, shape=(n,)), 3.0)), bounds)
    row = "ij" if rng.uniform() < 0.5 else "ji"
    sums = g.op("einsum", t, s, subscripts=f"i,{row}->j")
    back = np.zeros((n, n, n))
    i, j = rng.integers(0, n, 2)
    back[i, j, int(rng.integers(0, n))] = float(rng.uniform(0.3, 1.5))
    g.close(head, x, g.op("einsum", sums, back, subscripts="k,ijk->ij"))
    return g.program(head), "unknown", f"bounds {bounds}"
