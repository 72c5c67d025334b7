"""Linear, time-invariant loops at the ends of what numbers and structures allow."""

from __future__ import annotations

import numpy as np
from adversarial_case import (
    Maker,
    Rng,
    at_border,
    distance,
    family,
    lengths,
    orthogonal,
    polynomial,
)
from adversarial_linear import again, network, sections

import ir


@family("stabilised by feedback", 2)
def stabilised(rng: Rng) -> ir.Program:
    """A filter that is unstable by itself, which the loop around it may hold, or not."""
    outer = float(1 + 10 ** -rng.uniform(0.5, 4))
    kind, m = rng.integers(0, 3), int(rng.integers(1, 4))
    fresh = again(rng)

    def build(gain: float) -> ir.Program:
        g, r = Maker(), fresh()
        head = g.b.reserve(())
        s = g.delay(head, m)
        if kind == 0:
            s = g.op("iir", s, np.array([1.0, 0.0]), np.array([1.0, -outer]))
        elif kind == 1:
            w = r.uniform(0.01, 3)
            a = np.array([1, -2 * outer * np.cos(w), outer**2])
            s = g.op("iir", s, np.array([0.0, -outer * np.cos(w), outer**2]) * 0.5, a)
        else:
            # Two loops: the inner one runs away, the outer one takes it back.
            inner = g.b.reserve(())
            g.close(inner, s, g.mul(g.delay(inner, 1), outer))
            s = inner
        g.close(head, g.input(), g.mul(s, -gain))
        return g.program(head, s)

    # Stable between two gains, if at all: not one border, so gains are drawn.
    return build(float((outer - 1) * 10 ** rng.uniform(-0.5, 2)))


@family("huge and tiny numbers", 1)
def magnitudes(rng: Rng) -> ir.Program:
    """Gains of 10^±100 that cancel round the loop, in series or by a diagonal scaling."""
    n, span = int(rng.integers(1, 4)), float(rng.choice([20, 60, 100]))
    m, A = lengths(rng, n, 9), orthogonal(rng, n)
    scale = 10 ** rng.uniform(-span, span, n)
    r = distance(rng, 6)
    if rng.uniform() < 0.5:
        return network(rng, m, A * r * scale / scale[:, None])
    g = Maker()
    head = g.b.reserve((n,))
    s = g.mul(g.mix(g.mul(g.delay(head, *m), scale), A), r)
    g.close(head, g.input(n), g.op("div", s, scale) if n == 1 else g.mix(s, np.eye(n) / scale[0]))
    return g.program(head)


@family("odd forms of filters", 2)
def odd_filters(rng: Rng) -> ir.Program:
    """Orders zero and up, leading and trailing zeros, a0 of any sign and size, channels apart."""
    n, order = int(rng.integers(1, 4)), int(rng.integers(0, 5))
    a = np.stack([np.append(polynomial(rng, order, 0.97), np.zeros(2)) for _ in range(n)], 1)
    b = rng.normal(size=a.shape)
    b[: int(rng.integers(0, 3))] = 0
    a0 = rng.choice([1.0, -3.0, 1e-6, 1e8], n)
    sos = rng.normal(size=(3, 6, n)) * 0.3
    sos[:, 3] = rng.choice([1.0, -2.0, 0.5], (3, n))
    sos[:, 5] = sos[:, 3] * rng.uniform(-0.9, 0.9, (3, n))
    sos[:, 4] = sos[:, 3] * rng.uniform(-1, 1, (3, n)) * (1 + sos[:, 5] / sos[:, 3])
    sos[0, 4:] = 0
    m, A, fresh = lengths(rng, n, 7), rng.normal(size=(n, n)), again(rng)

    def build(gain: float) -> ir.Program:
        return network(fresh(), m, gain * A, lambda g, s: g.op("iir", s, b * a0, a * a0),
                       sections(sos))  # fmt: skip

    return at_border(rng, build)


@family("cancelled on the circle", 1)
def cancelled_on_circle(rng: Rng) -> tuple[ir.Program, str, str]:
    """A pole on the unit circle with a zero upon it: no output shows it, but it is there."""
    g = Maker()
    x, kind = g.input(), rng.integers(0, 3)
    c = float(rng.choice([-1.0, 1.0]))
    if kind == 0:
        y = g.op("iir", x, np.array([1.0, -c]), np.array([1.0, -c]))
    elif kind == 1:
        head = g.b.reserve(())
        g.close(head, g.op("fir", x, np.array([1.0, -c])), g.mul(g.delay(head, 1), c))
        y = head
    else:
        # A running sum of eight samples, written as a recursion.
        head = g.b.reserve(())
        g.close(head, g.op("sub", x, g.delay(x, 8)), g.delay(head, 1))
        y = head
    return g.program(y), "marginal", "a pole on the unit circle that cancels"


@family("unreached", 1)
def unreached(rng: Rng) -> ir.Program:
    """Loops that no input reaches, which start from a value."""
    r, m = distance(rng, 5), int(rng.integers(1, 8))
    g = Maker()
    x, head = g.input(), g.b.reserve(())
    s = g.op("delay", head, rng.normal(size=m), samples=(m,))
    g.b.define(head, "mul", s, g.b.constant(float(r)))
    return g.program(g.add(x, head) if rng.uniform() < 0.7 else g.op("sub", x, g.mul(head, 0.0)))


@family("channels apart", 2)
def channels_apart(rng: Rng) -> ir.Program:
    """Channels that share their nodes and hear each other not at all, or one way: some of them
    lossless, some stable, some not."""
    n = int(rng.integers(2, 5))
    gains = rng.choice([1.0, -1.0, 0.5, 1.0 + 1e-6, 1.0 - 1e-6, 1.3, 0.9], n)
    A = np.diag(gains) + np.tril(rng.normal(size=(n, n)), -1) * (rng.uniform() < 0.5)
    if rng.uniform() < 0.5:
        order = rng.permutation(n)
        A = A[order][:, order]
    if rng.uniform() < 0.3:
        return network(rng, lengths(rng, n, 6), A)
    # One-poles whose gain at 0 Hz is one: the border lies there.
    p = rng.uniform(0, 0.9, n)
    b, a = np.stack([1 - p, 0 * p]), np.stack([1 + 0 * p, -p])
    return network(rng, lengths(rng, n, 6), A, lambda g, s: g.op("iir", s, b, a))


@family("filters beside a loop", 2)
def beside(rng: Rng) -> ir.Program:
    """Channels of one filter node: some in a loop that holds them, some heard by none."""
    n = int(rng.integers(2, 4))
    order = int(rng.integers(1, 4))
    A = np.tril(rng.normal(size=(n, n)), -1) * (rng.uniform(size=(n, n)) < 0.6)
    A[0, 0] = 1.0
    b, a = np.zeros((order + 1, n)), np.zeros((order + 1, n))
    a[0] = 1
    b[:, 0] = rng.normal(size=order + 1)
    # The other channels recur by themselves alone, inside the circle, outside, or near it.
    b[0, 1:] = 1
    radius = rng.choice([0.5, 0.999, 1 + 1e-4, 1.05], n - 1)
    for i in range(1, n):
        a[:, i] = np.real(np.poly(radius[i - 1] * rng.choice([-1.0, 1.0, 0.5], order)))
    m, fresh = lengths(rng, n, 3), again(rng)

    def build(gain: float) -> ir.Program:
        scaled = b.copy()
        scaled[:, 0] *= gain
        return network(fresh(), m, A, lambda g, s: g.op("iir", s, scaled, a))

    # The first channel alone has a border; the others are what they are.
    if (radius < 1).all():
        return at_border(rng, build, 4.0)
    return build(float(rng.uniform(0.1, 0.6)))
