"""Loops that are stable in every mode, and switch between modes by their own level or an input."""

from __future__ import annotations

import math

import numpy as np
from adversarial_case import Maker, Rng, distance, family

import ir

Result = tuple[ir.Program, str, str]


@family("switched by the state", 2)
def by_state(rng: Rng) -> Result:
    """Two states; which of two stable matrices acts depends on the quadrant they lie in."""
    g = Maker()
    head = g.b.reserve((2,))
    s = g.delay(head, 1)
    w, stretch = float(rng.uniform(0.05, 1.5)), float(10 ** rng.uniform(0, 0.6))
    turn = np.array([[math.cos(w), -math.sin(w)], [math.sin(w), math.cos(w)]])
    T = np.diag([stretch, 1.0])
    r = float(1 - 10 ** -rng.uniform(0.5, 3))
    one, two = r * np.linalg.solve(T, turn @ T), r * T @ turn @ np.linalg.inv(T)
    p, q = g.channel(s, 0), g.channel(s, 1)
    chosen = g.op("gt", g.mul(p, q), 0.0)
    wide = g.op("broadcast", chosen, shape=(2,), axes=())
    g.close(head, g.input(2), g.op("select", wide, g.mix(s, one), g.mix(s, two)))
    truth = "stable" if max(np.linalg.norm(one, 2), np.linalg.norm(two, 2)) < 1 else "unknown"
    return g.program(head), truth, f"ellipses stretched by {stretch}, radius {r}"


@family("gains by level", 2)
def gains_by_level(rng: Rng) -> Result:
    """s times one gain below a level of one, and another above."""
    g = Maker()
    head = g.b.reserve(())
    s = g.delay(head, int(rng.integers(1, 9)))
    low, high = float(rng.uniform(0.1, 0.95)), float(rng.choice([rng.uniform(1.01, 3), 0.5]))
    a = float((1 - low) * distance(rng, 3))
    loud = g.op("gt", g.op("abs", s), 1.0)
    g.close(head, g.mul(g.input(), a), g.mul(s, g.op("select", loud, high, low)))
    # Below one it tends to a / (1 - low); once above, a gain over one carries it away.
    stable = high < 1 or a / (1 - low) < 1
    return g.program(head), "stable" if stable else "unstable", f"reaches {a / (1 - low)}"


@family("loud and bounded", 1)
def loud_and_bounded(rng: Rng) -> Result:
    """Any gain, but the result of a bounded function."""
    g = Maker()
    head = g.b.reserve(())
    x, s = g.input(), g.delay(head, int(rng.integers(1, 9)))
    k, kind = float(10 ** rng.uniform(0.1, 2)), rng.integers(0, 6)
    if kind == 0:
        g.b.define(head, "sin", g.add(x, g.mul(s, k)))
    elif kind == 1:
        g.close(head, x, g.op("rem", g.mul(s, k), 1.0))
    elif kind == 2:
        g.close(head, x, g.op("atan2", g.mul(s, k), 1.0))
    elif kind == 3:
        top = g.op("minimum", g.add(x, g.mul(s, k)), 1.0)
        g.b.define(head, "maximum", top, g.b.constant(-1.0))
    elif kind == 4:
        table = np.round(rng.uniform(-2, 2, 9), 3)
        at = g.op("convert", g.mul(s, k), kind="int")
        g.close(head, x, g.op("lookup", table, at))
    else:
        yes = g.op("convert", g.op("gt", s, 0.5), kind="real")
        g.close(head, x, g.mul(yes, k))
    return g.program(head), "bounded", "whatever the gain, what comes back is bounded"


@family("steep at rest", 1)
def steep(rng: Rng) -> Result:
    """Roots: no slope bounds them at zero, and yet they grow less than any line."""
    g = Maker()
    head = g.b.reserve(())
    s = g.delay(head, int(rng.integers(1, 9)))
    k = float(rng.uniform(0.3, 3))
    if rng.uniform() < 0.5:
        fed = g.mul(g.op("cbrt", s), k)
    else:
        fed = g.mul(g.op("sqrt", g.op("abs", s)), k)
    g.close(head, g.input(), fed)
    return g.program(head), "bounded", "leaves zero at the least push, and stays bounded"


@family("phasers", 2)
def phasers(rng: Rng) -> Result:
    """Allpasses whose coefficient an input moves, in a loop of gain below one."""
    g = Maker()
    x, y = g.input(), g.input()
    most, stages = float(rng.uniform(0.2, 0.98)), int(rng.integers(1, 5))
    gain = float(1 - 10 ** -rng.uniform(0.1, 3))
    a = g.mul(y, most)
    head = g.b.reserve(())
    s = g.delay(head, 1)
    for _ in range(stages):
        v = g.b.reserve(())
        late = g.delay(v, 1)
        g.b.define(v, "sub", s, g.mul(a, late))
        s = g.add(g.mul(a, v), late)
    g.close(head, x, g.mul(s, gain))
    # The sum of magnitudes of one section: |a| (1 + |a|) and what its state adds.
    return g.program(head), "unknown", f"{stages} allpasses, coefficient within ±{most}"


@family("moved state-variable filters", 1)
def moved_filters(rng: Rng) -> Result:
    """H. Chamberlin's filter with its cutoff moved by an input at every sample."""
    g = Maker()
    x, y = g.input(), g.input()
    low_f, high_f = np.sort(rng.uniform(0.02, 1.4, 2))
    q = float(10 ** rng.uniform(-2.5, 0))
    f = g.add(g.mul(y, float(high_f - low_f) / 2), float(high_f + low_f) / 2)
    low, band = g.b.reserve(()), g.b.reserve(())
    band1 = g.delay(band, 1)
    g.close(low, g.delay(low, 1), g.mul(band1, f))
    high = g.op("sub", g.op("sub", x, low), g.mul(band1, q))
    g.close(band, band1, g.mul(high, f))
    return g.program(low, band), "unknown", f"f in {low_f} to {high_f}, damping {q}"


@family("two gains", 1)
def two_gains(rng: Rng) -> Result:
    """Two controls multiply, or share: each alone may exceed one."""
    g = Maker()
    head = g.b.reserve(())
    s = g.delay(head, int(rng.integers(1, 9)))
    x, y, z = g.input(), g.input(), g.input()
    top, kind = float(distance(rng, 4)), rng.integers(0, 3)
    if kind == 0:
        # (2 + y)(2 + z) / 9 is at most one.
        gain = g.mul(g.mul(g.add(y, 2.0), g.add(z, 2.0)), top / 9)
    elif kind == 1:
        # y / (1 + y^2) is at most a half.
        gain = g.mul(g.op("div", y, g.add(g.mul(y, y), 1.0)), 2 * top)
    else:
        # y - y^3 is at most 2 / sqrt(27).
        cube = g.op("integer_pow", y, exponent=3)
        gain = g.mul(g.op("sub", y, cube), top * math.sqrt(27) / 2)
    g.close(head, x, g.mul(s, gain))
    return g.program(head), "stable" if top < 1 else "unstable", f"at most {top}"


@family("latches", 2)
def latches(rng: Rng) -> Result:
    """Integers and truth values that remember how loud the loop was, and change its gain."""
    g = Maker()
    head = g.b.reserve(())
    s, x = g.delay(head, int(rng.integers(1, 6))), g.input()
    top, kind = float(distance(rng, 3) * rng.choice([1.0, 1.3])), rng.integers(0, 5)
    loud = g.op("gt", g.op("abs", s), 0.5)
    if kind == 0:
        n = g.b.reserve((), "bool")
        late = g.delay(n, 1)
        g.b.define(n, "or", late, loud)
        gain = g.op("select", late, top, 0.5)
    else:
        n = g.b.reserve((), "int")
        if kind == 1:
            late = g.op("variable_delay", n, g.op("convert", g.mul(x, 3.0), kind="int"),
                        minimum=1, maximum=4)  # fmt: skip
        else:
            late = g.delay(n, 1)
        if kind == 2:
            # A counter of loud samples, to five.
            more = g.op("add", late, g.op("convert", loud, kind="int"))
            g.b.define(n, "minimum", more, g.b.constant(5))
        elif kind == 1:
            g.b.define(n, "maximum", late, g.op("select", loud, [5], [0]))
        else:
            g.b.define(n, "select", loud, g.b.constant(5), late)
        if kind == 3:
            table = np.array([0.1, 0.2, -0.3, 0.5, 0.4, top])
            gain = g.op("lookup", table, late)
        else:
            gain = g.add(g.mul(g.op("convert", late, kind="real"), (top - 0.5) / 5), 0.5)
    g.close(head, x, g.mul(s, gain))
    # A constant input reaches 1 in the first samples, so the latch closes.
    return g.program(head), "stable" if top < 1 else "unstable", f"gain {top} once it was loud"
