"""Linear, time-invariant loops, continued: written out by hand, cancelled, rounded, marginal."""

from __future__ import annotations

import numpy as np
from adversarial_case import (
    Maker,
    Rng,
    at_border,
    distance,
    family,
    frequency,
    lengths,
    orthogonal,
    peak,
)
from adversarial_linear import again, network, sections

import ir


@family("by hand", 3)
def by_hand(rng: Rng) -> ir.Program:
    """Filters made of delays of one sample."""
    return [direct_form, ladder, state_matrix, lattice, state_variable][rng.integers(0, 5)](rng)


def direct_form(rng: Rng) -> ir.Program:
    """y = b0 x + … - a1 y[t-1] - …, in the shape of a plain recursion."""
    order = int(rng.integers(1, 7))
    r = distance(rng)
    angles = rng.uniform(0, np.pi, order // 2)
    roots = r * rng.uniform(0.9, 1, order // 2) * np.exp(1j * angles)
    if len(roots):
        roots[0] = r * np.exp(1j * angles[0])
    real = [r * rng.choice([-1, 1])] * (order % 2)
    a = np.real(np.poly(np.concatenate([roots, roots.conj(), real])))
    g = Maker()
    x, head = g.input(), g.b.reserve(())
    late, terms = head, []
    for c in a[1:]:
        late = g.delay(late, 1)
        terms.append(g.mul(late, float(-c)))
    g.close(head, x, g.add(*terms))
    return g.program(head)


def ladder(rng: Rng) -> ir.Program:
    """Four one-pole low-passes in a row, fed back inverted (R. Moog), with one sample of delay."""
    p = float(10 ** rng.uniform(-3, -0.1))
    scale = 10 ** rng.uniform(0, 1)

    def build(gain: float) -> ir.Program:
        g = Maker()
        x, head = g.input(), g.b.reserve(())
        s = head
        for _ in range(4):
            y = g.b.reserve(())
            g.close(y, g.mul(s, p), g.mul(g.delay(y, 1), 1 - p))
            s = y
        g.close(head, x, g.mul(g.delay(s, 1), -gain * scale))
        return g.program(s)

    return at_border(rng, build)


def state_matrix(rng: Rng) -> ir.Program:
    """s[t] = A s[t-1] + B x with complex poles, balanced badly or not normal."""
    n = int(rng.integers(2, 13))
    angles = rng.uniform(0, np.pi, n // 2)
    A = np.zeros((n, n))
    for k, w in enumerate(angles):
        turn = np.array([[np.cos(w), -np.sin(w)], [np.sin(w), np.cos(w)]])
        A[2 * k : 2 * k + 2, 2 * k : 2 * k + 2] = turn * (1 if k == 0 else rng.uniform(0.2, 1))
    A += np.triu(rng.normal(size=(n, n)), 2) * 10 ** rng.uniform(-2, 2)
    T = orthogonal(rng, n) * 10 ** rng.uniform(-3, 3, n)
    A = np.linalg.solve(T, A @ T)
    fresh = again(rng)
    return at_border(rng, lambda gain: network(fresh(), (1,) * n, gain * A))


def lattice(rng: Rng) -> ir.Program:
    """An all-pole lattice: stable exactly if all reflection coefficients lie within ±1."""
    order = int(rng.integers(2, 8))
    k = rng.uniform(-0.98, 0.98, order)
    k[rng.integers(order)] = distance(rng, 7) * rng.choice([-1.0, 1.0])
    g = Maker()
    forward = g.input()
    backs = [g.b.reserve(()) for _ in range(order)]
    lates = [g.delay(b, 1) for b in backs]
    # f_{i-1} = f_i - k_i z^-1 b_{i-1};  b_i = z^-1 b_{i-1} + k_i f_{i-1}
    for i in range(order - 1, -1, -1):
        forward = g.op("sub", forward, g.mul(lates[i], float(k[i])))
        if i + 1 < order:
            g.close(backs[i + 1], lates[i], g.mul(forward, float(k[i])))
    g.b.define(backs[0], "add", forward, g.b.constant(0.0))
    return g.program(forward)


def state_variable(rng: Rng) -> ir.Program:
    """H. Chamberlin's: unstable above a cutoff that depends on the damping."""
    f = float(2 * np.sin(np.pi * rng.uniform(0.001, 0.4)))
    q = float((4 / f - f) / 2 * distance(rng)) if rng.uniform() < 0.5 else float(
        10 ** rng.uniform(-9, -1) * rng.choice([-1, 1])
    )  # fmt: skip
    g = Maker()
    x = g.input()
    low, band = g.b.reserve(()), g.b.reserve(())
    band1 = g.delay(band, 1)
    g.close(low, g.delay(low, 1), g.mul(band1, f))
    high = g.op("sub", g.op("sub", x, low), g.mul(band1, q))
    g.close(band, band1, g.mul(high, f))
    return g.program(low, band)


@family("cancelled", 2)
def cancelled(rng: Rng) -> ir.Program:
    """A mode that no output shows, or that no input reaches."""
    radius, kind = distance(rng, 6), rng.integers(0, 4)
    g = Maker()
    x = g.input()
    if kind == 0:
        # The same loop twice; what comes out is their difference.
        m = int(rng.integers(1, 20))
        heads = []
        for _ in range(2):
            head = g.b.reserve(())
            g.close(head, x, g.mul(g.delay(head, m), float(radius**m)))
            heads.append(head)
        return g.program(g.op("sub", *heads))
    if kind == 1:
        # A zero on the pole, after it or before it.
        zero = np.array([1, -radius])
        before = rng.uniform() < 0.5
        s = g.op("fir", x, zero) if before else x
        head = g.b.reserve(())
        g.close(head, s, g.mul(g.delay(head, 1), float(radius)))
        return g.program(head if before else g.op("fir", head, zero))
    if kind == 2:
        # A mode of the matrix to which the output gains are orthogonal.
        n = int(rng.integers(2, 6))
        q = orthogonal(rng, n)
        values = rng.uniform(-0.9, 0.9, n)
        values[0] = radius
        head = g.b.reserve((n,))
        s = g.delay(head, int(rng.integers(1, 4)))
        wide = g.mix(g.op("reshape", x, shape=(1,)), rng.normal(size=(n, 1)))
        g.close(head, wide, g.mix(s, q @ np.diag(values) @ q.T))
        return g.program(g.mix(s, q[:, 1:2].T.copy()))
    # A loop around a section that cancels in a branch of its own.
    section = peak(frequency(rng), 10 ** rng.uniform(0, 3), 6.0)[None]
    inverse = np.concatenate([section[:, 3:], section[:, :3]], 1)
    head = g.b.reserve(())
    s = g.op("sos", g.op("sos", g.delay(head, int(rng.integers(1, 9))), section), inverse)
    g.close(head, x, g.mul(s, float(radius)))
    return g.program(s)


@family("rounded", 2)
def rounded(rng: Rng) -> ir.Program:
    """Lossless in real numbers, but coefficients were rounded to single precision or fewer bits."""
    n = int(rng.choice([2, 3, 4, 8]))
    m, A = lengths(rng, n, 10), orthogonal(rng, n)
    bits = rng.integers(0, 3)
    if bits == 0:
        A = A.astype(np.float32).astype(float)
    elif bits == 1:
        A = np.round(A * 2**15) / 2**15
    else:
        A = np.vectorize(lambda v: float(f"{v:.4g}"))(A)
    if rng.uniform() < 0.5:
        return network(rng, m, A)
    w, r = 2 * np.pi * 10 ** rng.uniform(-4, -0.4), 1 - 10 ** -rng.uniform(6, 8)
    a = np.array([1, -2 * r * np.cos(w), r * r]).astype(np.float32).astype(float)
    sos = np.concatenate([[1 - r, 0, 0], a])[None]
    g = Maker()
    return g.program(g.op("sos", g.input(), sos))


@family("no loop but a filter", 1)
def open_filters(rng: Rng) -> ir.Program:
    """Recursive filters that stand in no cycle of the graph, but are loops all the same."""
    g = Maker()
    x = g.input()
    if rng.uniform() < 0.5:
        a = direct_form_roots(rng, int(rng.integers(1, 9)), distance(rng, 7))
        scale = rng.choice([1.0, -2.0, 0.25])
        return g.program(g.op("iir", x, rng.normal(size=len(a)), a * scale))
    count = int(rng.integers(1, 6))
    sos = np.stack([peak(frequency(rng), 10 ** rng.uniform(-2, 3), rng.uniform(-9, 9))
                    for _ in range(count)])  # fmt: skip
    k = rng.integers(count)
    sos[k, 5] = distance(rng, 7) ** 2
    sos[k, 4] = 2 * np.cos(rng.uniform(0, np.pi)) * np.sqrt(sos[k, 5])
    return g.program(g.op("sos", x, sos))


def direct_form_roots(rng: Rng, order: int, radius: float) -> np.ndarray:
    """A polynomial whose outermost roots have a radius."""
    pairs = radius * rng.uniform(0.2, 1, order // 2) * np.exp(
        1j * rng.uniform(0, np.pi, order // 2)
    )  # fmt: skip
    real = [radius * rng.choice([-1, 1])] * (order % 2)
    if order % 2 == 0 and len(pairs):
        pairs[0] *= radius / abs(pairs[0])
    return np.real(np.poly(np.concatenate([pairs, pairs.conj(), real])))


@family("exactly marginal", 1)
def marginal(rng: Rng) -> tuple[ir.Program, str, str]:
    """Poles on the unit circle in exact arithmetic: simple ones, or double ones that grow."""
    kind = rng.integers(0, 5)
    g = Maker()
    if kind == 0:
        head = g.b.reserve(())
        g.close(head, g.input(), g.mul(g.delay(head, int(rng.integers(1, 30))),
                                       float(rng.choice([-1, 1]))))  # fmt: skip
        return g.program(head), "marginal", "an integrator or a comb of gain one"
    if kind == 1:
        x = g.input()
        for _ in range(2):
            head = g.b.reserve(())
            g.close(head, x, g.delay(head, 1))
            x = head
        return g.program(x), "marginal", "two integrators in a row"
    n = 4
    H = np.array([[1, 1, 1, 1], [1, -1, 1, -1], [1, 1, -1, -1], [1, -1, -1, 1]]) / 2
    signs = rng.choice([-1.0, 1.0], n)
    A = H * signs if kind == 2 else np.eye(n)[rng.permutation(n)] * signs
    if kind == 4:
        a = np.array([1.0, -2 * rng.choice([0.0, 0.5, -0.5]), 1.0])
        y = g.op("iir", g.input(), np.array([1.0, 0, 0]), a)
        return g.program(y), "marginal", "z² - cz + 1"
    return network(rng, lengths(rng, n, 20), A), "marginal", "an exact unitary matrix"


@family("some lengths zero", 1)
def some_zero(rng: Rng) -> ir.Program:
    """A delay of several channels of which one is direct; the loop passes another delay."""
    n, fresh = int(rng.integers(2, 5)), again(rng)
    m = [int(v) for v in rng.integers(0, 6, n)]
    m[int(rng.integers(n))] = 0
    A = rng.normal(size=(n, n))

    def build(gain: float) -> ir.Program:
        return network(fresh(), lengths(fresh(), n, 4), gain * A,
                       lambda g, s: g.delay(s, *m))  # fmt: skip

    return at_border(rng, build)


@family("initial values", 1)
def initial_values(rng: Rng) -> ir.Program:
    """Delays and filters that start with something in them, up to a thousand times full scale."""
    n = int(rng.integers(1, 4))
    m, size = lengths(rng, n, 9), 10 ** rng.uniform(-1, 3)
    start, begin = rng.normal(size=(max(m), n)) * size, rng.normal(size=(1, 2, n)) * size
    sos = np.stack([peak(frequency(rng), 10 ** rng.uniform(0, 3), rng.uniform(-6, 3))
                    for _ in range(n)], 1)[None]  # fmt: skip
    A = orthogonal(rng, n)

    def build(gain: float) -> ir.Program:
        g = Maker()
        head = g.b.reserve((n,))
        s = g.op("delay", head, start, samples=m)
        s = g.op("sos", s, sos, begin)
        g.close(head, g.input(n), g.mix(s, A * gain))
        return g.program(head)

    return at_border(rng, build)


@family("equal peaks in many lines", 1)
def equal_peaks(rng: Rng) -> ir.Program:
    """Sixteen lines, all with one narrow peak, on a mode of the network or just beside one."""
    n = 16
    m = lengths(rng, n, 9)
    A = orthogonal(rng, n) * 0.5 ** (1 / 4)
    section = peak(frequency(rng), 10 ** rng.uniform(-2, 1), rng.uniform(0.5, 12))
    sos = np.repeat(section[None, :, None], n, 2)
    return network(rng, m, A, sections(sos))


@family("initial values of filters", 1)
def initial_states(rng: Rng) -> ir.Program:
    """Filters of any a0 that start with something in them, in a loop or in none."""
    n, count = int(rng.integers(1, 3)), int(rng.integers(1, 4))
    sos = rng.normal(size=(count, 6, n)) * 10 ** rng.uniform(-3, 0.5)
    a0 = rng.choice([1.0, 8.0, -50.0, 0.02], (count, n))
    sos[:, 3], sos[:, 5] = a0, a0 * rng.uniform(-0.8, 0.8, (count, n))
    sos[:, 4] = a0 * rng.uniform(-0.9, 0.9, (count, n)) * (1 + sos[:, 5] / a0)
    state = rng.normal(size=(count, 2, n)) * 10 ** rng.uniform(-1, 3)
    order = int(rng.integers(1, 4))
    a = np.stack([direct_form_roots(rng, order, 0.7) for _ in range(n)], 1) * a0[0]
    b, begin = rng.normal(size=a.shape), rng.normal(size=(order, n)) * 30
    fresh = again(rng)
    looped, A = rng.uniform() < 0.5, orthogonal(rng, n)

    def build(gain: float) -> ir.Program:
        g, r = Maker(), fresh()
        x = g.input(n)
        head = g.b.reserve((n,)) if looped else x
        s = g.delay(head, *lengths(r, n, 5)) if looped else x
        s = g.op("iir", g.op("sos", s, sos, state), b, a, begin)
        if not looped:
            return g.program(s)
        g.close(head, x, g.mix(s, A * gain))
        return g.program(head, s)

    return at_border(rng, build) if looped else build(1.0)
