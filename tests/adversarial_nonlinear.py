"""Nonlinear loops whose stability is known by construction."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from adversarial_case import Maker, Rng, distance, family, lengths, orthogonal

import ir

Result = tuple[ir.Program, str, str]


def clip(g: Maker, s: int, low: float = -1.0, high: float = 1.0) -> int:
    return g.op("maximum", g.op("minimum", s, high), low)


def soft(g: Maker, s: int) -> int:
    """s / (1 + |s|)."""
    return g.op("div", s, g.add(g.op("abs", s), 1.0))


def unary(name: str) -> Callable[[Maker, int], int]:
    return lambda g, s: g.op(name, s)


SHAPES: dict[str, tuple[Callable[[Maker, int], int], float]] = {
    "tanh": (unary("tanh"), 1.0),
    "atan": (unary("atan"), 1.0),
    "asinh": (unary("asinh"), 1.0),
    "sin": (unary("sin"), 1.0),
    "erf": (unary("erf"), 2 / math.sqrt(math.pi)),
    "clip": (clip, 1.0),
    "soft": (soft, 1.0),
    "logistic": (lambda g, s: g.op("sub", g.op("logistic", s), 0.5), 0.25),
}
"""Odd functions, with their slope at zero, which is their largest; all grow less than any line."""


@family("saturated networks", 3)
def saturated(rng: Rng) -> Result:
    """u = x + A f(gain s): energy falls if gain · slope < 1; else zero repels, and f bounds."""
    n = int(rng.choice([1, 1, 2, 4, 8]))
    name = str(rng.choice(list(SHAPES)))
    shape, slope = SHAPES[name]
    top = distance(rng, 5)
    A = orthogonal(rng, n)
    if rng.uniform() < 0.4:
        scale = 10 ** rng.uniform(-2, 2, n)
        A = A * scale / scale[:, None]
    g = Maker()
    head = g.b.reserve((n,))
    s = g.mul(g.delay(head, *lengths(rng, n, 20)), float(top / slope))
    g.close(head, g.input(n), g.mix(shape(g, s), A))
    why = f"{name} of slope {top} at zero round an orthogonal matrix, up to a diagonal scaling"
    return g.program(head), "stable" if top < 1 else "bounded", why


@family("magnitudes", 1)
def magnitudes(rng: Rng) -> Result:
    """u = x + gain |s|."""
    top = distance(rng, 6) * rng.choice([-1.0, 1.0])
    g = Maker()
    head = g.b.reserve(())
    s = g.op("abs", g.delay(head, int(rng.integers(1, 30))))
    g.close(head, g.input(), g.mul(s, float(top)))
    return g.program(head), "stable" if abs(top) < 1 else "unstable", f"slope {top}"


@family("a line and a bend", 2)
def line_and_bend(rng: Rng) -> Result:
    """u = c x + a s + b tanh(s): what happens at small levels says nothing of large ones."""
    c, kind = float(10 ** rng.uniform(-2, 0)), rng.integers(0, 3)
    if kind == 0:
        a, b = rng.uniform(-0.9, 0.9, 2)
        b = float(np.clip(b, -0.99 - a, 0.99 - a))
        truth, why = "stable", "every slope lies within ±1"
    elif kind == 1:
        a = rng.uniform(0, 0.95)
        b = 1 - a + 10 ** rng.uniform(-3, 0)
        truth, why = "bounded", "zero repels, and the line alone is stable"
    else:
        a = 1 + 10 ** rng.uniform(-2, 0)
        b = -rng.uniform(a - 1, a)
        # f(u) = a u + b tanh u rises; it stays bounded if f(u) + c = u somewhere above zero. The
        # least of f(u) - u is where b / cosh(u)^2 = 1 - a.
        u = math.acosh(math.sqrt(-b / (a - 1))) if -b > a - 1 else 0.0
        least = (a - 1) * u + b * math.tanh(u) + c
        if abs(least) < 1e-6:
            c, least = 2 * c, least + c
        truth, why = ("stable", "held below where it would run away") if least < 0 else (
            "unstable", "a constant input carries it to where slopes exceed one")  # fmt: skip
    g = Maker()
    head = g.b.reserve(())
    s = g.delay(head, int(rng.integers(1, 9)))
    fed = g.add(g.mul(s, float(a)), g.mul(g.op("tanh", s), float(b)))
    g.close(head, g.mul(g.input(), c), fed)
    return g.program(head), truth, why


@family("powers", 2)
def powers(rng: Rng) -> Result:
    """u = a x + b s^2, b s |s|, b s^3, b s s': bounded up to an input level exactly known."""
    kind = rng.integers(0, 4)
    a, factor = float(10 ** rng.uniform(-2, 1)), distance(rng, 4)
    # A fixed point u = a + b u^2 exists while 4 a b <= 1, and u = a + b u^3 while 27 a^2 b <= 4.
    b = float((factor / (4 * a)) if kind != 2 else factor * 4 / (27 * a * a))
    g = Maker()
    head = g.b.reserve(())
    m = int(rng.integers(1, 6))
    s = g.delay(head, m)
    if kind == 0:
        p = g.op("integer_pow", s, exponent=2)
    elif kind == 1:
        p = g.mul(s, g.op("abs", s))
    elif kind == 2:
        p = g.op("integer_pow", s, exponent=3)
    else:
        p = g.mul(s, g.delay(head, m + int(rng.integers(0, 4))))
    g.close(head, g.mul(g.input(), a), g.mul(p, b))
    why = f"{factor} of the level at which a constant input runs away"
    return g.program(head), "stable" if factor < 1 else "unstable", why


@family("dead zones", 1)
def dead_zones(rng: Rng) -> Result:
    """u = a x + k (s - clip(s)): nothing below one, a slope of k above."""
    a, k = float(rng.uniform(0.1, 2)), float(distance(rng, 4) * rng.choice([1.0, 3.0, -1.0]))
    g = Maker()
    head = g.b.reserve(())
    s = g.delay(head, int(rng.integers(1, 9)))
    g.close(head, g.mul(g.input(), a), g.mul(g.op("sub", s, clip(g, s)), k))
    stable = abs(k) < 1 or a <= 1
    return g.program(head), "stable" if stable else "unstable", f"level {a}, slope {k} above one"


@family("relays and roundings", 1)
def relays(rng: Rng) -> Result:
    kind, k, size = rng.integers(0, 5), float(rng.uniform(0.2, 0.95)), 3.0
    g = Maker()
    head = g.b.reserve(())
    s = g.delay(head, int(rng.integers(1, 9)))
    if kind == 0:
        fed = g.mul(g.op("sign", s), float(rng.uniform(0.3, 3)))
        truth, why = "bounded", "a relay has two states"
    elif kind == 1:
        fed = g.op("round", g.mul(s, float(rng.uniform(0.6, 0.95))))
        truth, why = "bounded", "rounding keeps a limit cycle"
    elif kind == 2:
        # Rounding cannot hold a growing signal.
        k = float(1 + 10 ** rng.uniform(-1.5, 0))
        fed = g.mul(g.op("floor", g.mul(s, 8.0)), k / 8)
        truth, why = "unstable", f"slope {k} at large levels; floor drives it down"
    elif kind == 3:
        # What is small is rounded to zero before any gain can raise it.
        k, size = float(rng.uniform(1.05, 3)), 0.1
        fed = g.op("round", g.mul(s, k))
        truth, why = "stable", f"rounded to zero, so the slope {k} is never met"
    else:
        # Truncation to zero loses energy.
        fed = g.op("convert", g.op("convert", g.mul(s, k), kind="int"), kind="real")
        truth, why = "stable", "truncated towards zero after a gain below one"
    g.close(head, g.mul(g.input(), size), fed)
    return g.program(head), truth, why


@family("quotients", 2)
def quotients(rng: Rng) -> Result:
    kind = rng.integers(0, 4)
    g = Maker()
    head = g.b.reserve(())
    s = g.delay(head, int(rng.integers(1, 9)))
    x = g.input()
    if kind == 0:
        d, top = float(10 ** rng.uniform(-1, 1)), distance(rng, 4)
        fed = g.op("div", g.mul(s, float(top * d)), g.add(g.op("abs", s), d))
        truth, why = "stable" if top < 1 else "bounded", f"slope {top} at zero, then flat"
    elif kind == 1:
        # u = a + k / (c - u) has a fixed point while (c - a)^2 >= 4 k.
        a, c = 0.5, float(rng.uniform(1, 3))
        k = float((c - a) ** 2 / 4 * (1 - 10 ** -rng.uniform(0.2, 2)))
        x = g.mul(x, a)
        fed = g.op("div", k, g.op("sub", c, s))
        truth, why = "stable", "stays below the pole of the quotient"
    elif kind == 2:
        fed = g.op("div", g.mul(s, 0.5), x)
        truth, why = "unstable", "divides by an input that may be zero"
    else:
        fed = g.op("div", float(rng.uniform(0.1, 1)), s)
        truth, why = "unstable", "divides by its own silence"
    g.close(head, x, fed)
    return g.program(head), truth, why


@family("limited domains", 2)
def domains(rng: Rng) -> Result:
    """Roots and logarithms of what may leave their domain: one such sample stays for ever."""
    kind, safe = rng.integers(0, 5), bool(rng.uniform() < 0.5)
    g = Maker()
    head = g.b.reserve(())
    s = g.delay(head, int(rng.integers(1, 9)))
    x, edge = g.input(), float(10 ** rng.uniform(-4, -0.5))
    if kind == 0:
        # sqrt is never negative, so u >= -a, and c = a + edge keeps the argument at edge or above.
        a = float(rng.uniform(0.2, 2))
        c = a + edge if safe else a - min(edge, a / 2)
        k = float(min(1.0, math.sqrt(edge)))
        x, fed = g.mul(x, a), g.mul(g.op("sqrt", g.add(s, c)), k)
    elif kind == 1:
        # u = a + k asin(u) has a fixed point below one while a is at most this.
        k = float(rng.uniform(0.1, 0.5))
        turn = math.sqrt(1 - k * k)
        a = turn - k * math.asin(turn) + (-edge / 2 if safe else edge)
        x, fed = g.mul(x, float(a)), g.mul(g.op("asin", s), k)
    elif kind == 2:
        x, fed = g.mul(x, 2.0), g.mul(g.op("log1p", g.op("abs", s) if safe else s), 0.5)
    elif kind == 3:
        # u = a + k exp(u) has a fixed point while a <= -log(k) - 1.
        k = float(rng.uniform(0.01, 0.3))
        a = -math.log(k) - 1 + (-edge if safe else edge)
        x, fed = g.mul(x, float(a)), g.mul(g.op("exp", s), k)
    else:
        fed = g.mul(g.op("rsqrt", g.op("add", g.mul(s, s), 1.0 if safe else 0.0)), 0.3)
    g.close(head, x, fed)
    return g.program(head), "stable" if safe else "unstable", f"within or beyond by {edge}"


@family("products of signals", 2)
def products(rng: Rng) -> Result:
    kind, top = rng.integers(0, 3), distance(rng, 5)
    g = Maker()
    head = g.b.reserve(())
    s = g.delay(head, int(rng.integers(1, 20)))
    x, y = g.input(), g.input()
    if kind == 0:
        control = y
    elif kind == 1:
        # A smoothed control: (1 - p) y + p y' stays within ±1.
        p = float(1 - 10 ** -rng.uniform(0.3, 3))
        control = g.b.reserve(())
        g.close(control, g.mul(y, 1 - p), g.mul(g.delay(control, 1), p))
    else:
        # tanh(c y) reaches tanh(c) and no more.
        c = float(rng.uniform(1, 3))
        control = g.op("tanh", g.mul(y, c))
        top *= (1 / math.tanh(c)) if rng.uniform() < 0.5 else 1.0
        g.close(head, x, g.mul(g.mul(s, control), float(top)))
        most = top * math.tanh(c)
        truth = "stable" if most < 1 else "unstable"
        return g.program(head), truth, f"gain {top} times a control in ±{math.tanh(c)}"
    g.close(head, x, g.mul(g.mul(s, control), float(top)))
    return g.program(head), "stable" if top < 1 else "unstable", f"gain {top} times a control in ±1"


@family("compressors", 2)
def compressors(rng: Rng) -> Result:
    """e follows |s|; s is divided by 1 + c e, or multiplied by it."""
    p, c = float(rng.uniform(0, 0.99)), float(10 ** rng.uniform(-1, 1))
    g = Maker()
    head, e = g.b.reserve(()), g.b.reserve(())
    s = g.delay(head, int(rng.integers(1, 20)))
    g.close(e, g.mul(g.op("abs", s), 1 - p), g.mul(g.delay(e, 1), p))
    factor = g.add(g.mul(e, c), 1.0)
    if rng.uniform() < 0.5:
        top = distance(rng, 4) * rng.choice([1.0, 2.0])
        fed = g.op("div", g.mul(s, float(top)), factor)
        g.close(head, g.input(), fed)
        # |top s / (1 + c e)| <= top |s| / (1 + c (1 - p) |s|).
        return g.program(head), "stable" if top < 1 else "bounded", f"compressed from slope {top}"
    # U = a + k U (1 + c U) has a solution while (1 - k)^2 >= 4 k c a.
    k, far = float(rng.uniform(0.1, 0.9)), distance(rng, 3)
    a = float((1 - k) ** 2 / (4 * k * c) * far)
    g.close(head, g.mul(g.input(), a), g.mul(g.mul(s, factor), k))
    why = f"{far} of the level that runs away"
    return g.program(head), "stable" if far < 1 else "unstable", why


@family("sectors", 1)
def sectors(rng: Rng) -> Result:
    """A resonator with a bend: stable for every fixed slope, which proves nothing (R. Kalman)."""
    r, w = float(rng.uniform(0.5, 0.98)), float(rng.uniform(0, np.pi))
    a = np.array([1, -2 * r * np.cos(w), r * r])
    z = np.exp(1j * np.linspace(0, np.pi, 20001))
    response = 1 / (a[0] + a[1] / z + a[2] / z**2) / z
    # The circle criterion for slopes from 0 to k: Re G > -1 / k at every frequency.
    circle = -1 / np.min(response.real)
    share = float(rng.uniform(0.3, 3))
    g = Maker()
    head = g.b.reserve(())
    y = g.op("iir", g.delay(head, 1), np.array([1.0, 0, 0]), a)
    bend = g.op("tanh", y) if rng.uniform() < 0.5 else clip(g, y)
    g.close(head, g.input(), g.mul(bend, float(-share * circle)))
    truth = "stable" if share < 0.98 else "unknown"
    return g.program(y), truth, f"slope {share} of what the circle criterion allows"
