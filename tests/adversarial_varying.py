"""Loops that vary with time: gains, coefficients and delays driven by an input, a loop, a counter.

Each is stable at every setting that stands still; what motion does is another question.
"""

from __future__ import annotations

import math

import numpy as np
from adversarial_case import Array, Maker, Rng, distance, family, lengths, orthogonal

import ir

Result = tuple[ir.Program, str, str]


@family("varying gains", 2)
def varying_gains(rng: Rng) -> Result:
    """The largest gain is known: it is reached at one end of the control, or in its middle."""
    top, kind = float(distance(rng, 6)), rng.integers(0, 6)
    g = Maker()
    head = g.b.reserve(())
    s = g.delay(head, int(rng.integers(1, 20)))
    x, y = g.input(), g.input()
    if kind == 0:
        gain = g.op("select", g.op("gt", y, 0.0), top, -top / 2)
    elif kind == 1:
        gain = g.op("div", top, g.add(g.mul(y, y), 1.0))
    elif kind == 2:
        gain = g.op("div", top * 0.1, g.op("sub", 1.1, y))
    elif kind == 3:
        gain = g.mul(g.op("cos", g.mul(y, math.pi)), top)
    elif kind == 4:
        gain = g.mul(g.op("sub", g.mul(y, y), 1.0), top)
    else:
        gain = g.mul(g.op("exp", g.op("sub", y, 1.0)), top)
    g.close(head, x, g.mul(s, gain))
    return g.program(head), "stable" if top < 1 else "unstable", f"gains up to {top}"


@family("crossfades", 2)
def crossfades(rng: Rng) -> Result:
    """Two taps; weights that add up to one, or whose squares do."""
    g = Maker()
    head = g.b.reserve(())
    one, two = (g.delay(head, int(m)) for m in rng.integers(1, 30, 2))
    x, y = g.input(), g.input()
    top = float(distance(rng, 5))
    if rng.uniform() < 0.6:
        a = g.mul(g.add(y, 1.0), 0.5)
        b = g.op("sub", 1.0, a)
    else:
        angle = g.mul(g.add(y, 1.0), math.pi / 4)
        a, b = g.op("cos", angle), g.op("sin", angle)
        top /= math.sqrt(2)
    fed = g.add(g.mul(one, a), g.mul(two, b))
    g.close(head, x, g.mul(fed, top))
    total = top if b and g.b.node(b).op == "sub" else top * math.sqrt(2)  # type: ignore[union-attr]
    if abs(total - 1) < 1e-13:
        return g.program(head), "unknown", "too near"
    return g.program(head), "stable" if total < 1 else "unstable", f"weights add up to {total}"


@family("varying rotations", 1)
def varying_rotations(rng: Rng) -> Result:
    """u = x + r R(angle) s, R a rotation: energy falls by r at every sample, whatever the angle."""
    r = float(distance(rng, 4))
    g = Maker()
    head = g.b.reserve((2,))
    s = g.delay(head, *lengths(rng, 2, 12))
    x, y = g.input(2), g.input()
    p, q = g.channel(s, 0), g.channel(s, 1)
    angle = g.mul(y, float(rng.uniform(0.1, math.pi)))
    c, d = g.mul(g.op("cos", angle), r), g.mul(g.op("sin", angle), r)
    turned = g.stack(g.op("sub", g.mul(c, p), g.mul(d, q)), g.add(g.mul(d, p), g.mul(c, q)))
    g.close(head, x, turned)
    return g.program(head), "stable" if r < 1 else "unstable", f"rotations times {r}"


def joint_radius(matrices: list[Array], length: int = 12) -> tuple[float, float]:
    """Bounds on the joint spectral radius from all products of up to `length` factors."""
    # In coordinates in which the first is close to normal, norms are tighter.
    _, T = np.linalg.eig(sum(matrices) / len(matrices) + 1e-9 * np.eye(len(matrices[0])))
    if np.linalg.cond(T) < 1e6:
        matrices = [np.linalg.solve(T, A @ T) for A in matrices]
    low, high = 0.0, math.inf
    found = np.eye(len(matrices[0]))[None]
    for k in range(1, length + 1):
        found = np.concatenate([A @ found for A in matrices])
        radius = np.abs(np.linalg.eigvals(found)).max()
        low = max(low, float(radius) ** (1 / k))
        high = min(high, float(np.linalg.norm(found, 2, axis=(1, 2)).max()) ** (1 / k))
    return low, high


def switched(low: float, high: float) -> tuple[str, str]:
    why = f"the joint spectral radius lies in {low} to {high}"
    if low > 1 + 1e-6:
        return "unstable", why
    return ("stable" if high < 1 - 1e-9 else "unknown"), why


@family("parametric resonators", 2)
def parametric(rng: Rng) -> Result:
    """y = x - a1(t) y[t-1] - a2 y[t-2]: every fixed a1 is stable, but pumping may not be."""
    r = float(rng.choice([rng.uniform(0.3, 0.9), 1 - 10 ** -rng.uniform(1, 4)]))
    one, two = np.sort(-2 * r * np.cos(np.sort(rng.uniform(0.02, np.pi, 2))))
    if rng.uniform() < 0.5:
        two = one + (two - one) * 10 ** -rng.uniform(0, 4)
    g = Maker()
    head = g.b.reserve(())
    late = g.delay(head, 1)
    x, y = g.input(), g.input()
    a1 = g.add(g.mul(y, float(two - one) / 2), float(one + two) / 2)
    g.close(head, x, g.op("neg", g.add(g.mul(late, a1), g.mul(g.delay(late, 1), float(r * r)))))
    ends = [np.array([[-a, -r * r], [1, 0]]) for a in (one, two)]
    return g.program(head), *switched(*joint_radius(ends, 13))


@family("coupled forms", 1)
def coupled_forms(rng: Rng) -> Result:
    """A resonator as a rotation with its angle moved; or with the sine and the cosine apart."""
    n, spread = int(rng.integers(2, 5)), 10 ** -rng.uniform(0, 3)
    A0 = orthogonal(rng, n) * rng.uniform(0.5, 1)
    A1 = rng.normal(size=(n, n)) * spread
    ends = [A0 + A1, A0 - A1]
    worst = max(float(np.abs(np.linalg.eigvals(A)).max()) for A in ends)
    scale = (1 - 10 ** -rng.uniform(0.3, 4)) / worst
    g = Maker()
    head = g.b.reserve((n,))
    s = g.delay(head, 1)
    x, y = g.input(n), g.input()
    moved = g.mul(g.mix(s, A1 * scale), y)
    g.close(head, x, g.add(g.mix(s, A0 * scale), moved))
    return g.program(head), *switched(*joint_radius([A * scale for A in ends], 10))


@family("varying delays", 3)
def varying_delays(rng: Rng) -> Result:
    """Lengths that jump can repeat a sample: energy is no measure, but the largest value is."""
    n, kind = int(rng.integers(1, 5)), rng.integers(0, 4)
    low = int(rng.integers(1, 6))
    high = low + int(rng.integers(1, 12))
    top = float(distance(rng, 5))
    if kind == 0:
        # Perron and Frobenius: a diagonal scaling takes the row sums of |A| to its radius.
        A = rng.normal(size=(n, n))
        A *= top / np.abs(np.linalg.eigvals(np.abs(A))).max()
        truth, why = ("stable", f"|A| has the radius {top}") if top < 1 else (
            "unknown", "|A| has a radius above one")  # fmt: skip
        if n == 1 and top > 1:
            truth = "unstable"
    elif kind == 1:
        A = np.triu(rng.normal(size=(n, n)) * 5, 1) + np.diag(rng.uniform(-1, 1, n) * min(top, 1))
        truth, why = "stable", "triangular"
    else:
        A = orthogonal(rng, n) * min(top, 1 / top)
        truth, why = ("stable" if n == 1 else "unknown"), "orthogonal, which jumps may defeat"
    g = Maker()
    head = g.b.reserve((n,))
    x = g.input(n)
    y = g.input(n) if kind < 3 else g.b.add("broadcast", g.input(), shape=(n,), axes=())
    position = g.add(g.mul(y, (high - low) / 2), (high + low) / 2)
    d = g.op("convert", g.op("round", position), kind="int")
    s = g.op("variable_delay", head, d, minimum=low, maximum=high)
    g.close(head, x, g.mix(s, A))
    return g.program(head), truth, why


@family("varying delays and filters", 2)
def varying_delays_filters(rng: Rng) -> Result:
    """Gain below one at every frequency and fixed length; the impulse response sums higher."""
    a, gain = float(rng.uniform(-0.9, 0.9)), float(1 - 10 ** -rng.uniform(0.05, 3))
    low = int(rng.integers(1, 4))
    high = low + int(rng.integers(1, 10))
    # An allpass: -a, then (1 - a^2) a^k, whose magnitudes add up to 1 + 2 |a|.
    total = gain * (1 + 2 * abs(a))
    g = Maker()
    head = g.b.reserve(())
    x, y = g.input(), g.input()
    position = g.add(g.mul(y, (high - low) / 2), (high + low) / 2)
    d = g.op("convert", g.op("round", position), kind="int")
    s = g.op("variable_delay", head, d, minimum=low, maximum=high)
    s = g.op("iir", s, np.array([-a, 1.0]), np.array([1.0, -a]))
    g.close(head, x, g.mul(s, gain))
    truth = "stable" if total < 1 - 1e-12 else "unknown"
    return g.program(head), truth, f"the impulse response of the loop sums to {total}"


@family("delays by the signal", 1)
def delays_by_signal(rng: Rng) -> Result:
    top = float(distance(rng, 5))
    low, high = 1, int(rng.integers(2, 30))
    g = Maker()
    head = g.b.reserve(())
    size = g.op("abs", g.delay(head, int(rng.integers(1, 5))))
    d = g.op("convert", g.mul(size, float(rng.uniform(1, 1e3))), kind="int")
    s = g.op("variable_delay", head, d, minimum=low, maximum=high)
    g.close(head, g.input(), g.mul(s, top))
    # Above one, the shortest or the longest delay is taken for good once the signal is large.
    return g.program(head), "stable" if top < 1 else "unstable", f"gain {top}"
