"""Linear, time-invariant loops built to fool proofs; their poles tell what they are."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from adversarial_case import (
    RATE,
    Array,
    Maker,
    Rng,
    at_border,
    decibels,
    distance,
    family,
    frequency,
    lengths,
    orthogonal,
    peak,
    polynomial,
)

import ir

Part = Callable[[Maker, int], int]


def network(rng: Rng, m: tuple[int, ...], A: Array, *parts: Part) -> ir.Program:
    """u = B x + A parts(delay(u)); what comes out is chosen at random."""
    g, n = Maker(), len(m)
    x = g.mix(g.input(1), rng.normal(size=(n, 1))) if rng.uniform() < 0.5 else g.input(n)
    head = g.b.reserve((n,))
    s = g.delay(head, *m)
    for part in parts:
        s = part(g, s)
    g.close(head, x, g.mix(s, A))
    out = head if rng.uniform() < 0.5 else g.mix(s, rng.normal(size=(1, n)))
    return g.program(out)


def again(rng: Rng) -> Callable[[], Rng]:
    """Random numbers that are the same each time."""
    seed = int(rng.integers(2**32))
    return lambda: np.random.default_rng(seed)


def sections(sos: Array) -> Part:
    return lambda g, s: g.op("sos", s, sos)


def peaks(rng: Rng, n: int) -> Array:
    """A narrow peak in one line or in all, the same or its own; shape (sections, 6, n)."""
    count = int(rng.integers(1, 3))
    sos = np.zeros((count, 6, n))
    sos[:, 0] = sos[:, 3] = 1
    for k in range(count):
        shared = (frequency(rng), 10 ** rng.uniform(-2, 2.5), decibels(rng))
        kind = rng.integers(0, 3)
        for i in range(n):
            if kind == 0:
                sos[k, :, i] = peak(*shared)
            elif kind == 1 or i == 0:
                sos[k, :, i] = peak(frequency(rng), 10 ** rng.uniform(-2, 2.5), decibels(rng))
    return sos


@family("narrow peaks", 3)
def narrow_peaks(rng: Rng) -> ir.Program:
    n = int(rng.choice([1, 2, 4, 8, 12]))
    m, sos = lengths(rng, n, 24 if n < 8 else 10), peaks(rng, n)
    A = orthogonal(rng, n) * rng.choice([0.5, 0.9, 0.99, 1.0])
    fresh = again(rng)
    if rng.uniform() < 0.3:
        return network(fresh(), m, A, sections(sos))
    return at_border(rng, lambda gain: network(fresh(), m, gain * A, sections(sos)))


@family("a peak on a mode", 2)
def peak_on_mode(rng: Rng) -> tuple[ir.Program, str, str]:
    """A comb of any length with a narrow peak whose centre lies on one of its modes exactly."""
    m = int(10 ** rng.uniform(1, 4))
    k = int(rng.integers(1, (m + 1) // 2))
    w = k / m * RATE
    rise = 10 ** rng.uniform(-3, np.log10(12))
    top = 10 ** (rng.choice([-1, 1]) * 10 ** rng.uniform(-6, -1))
    gain = top / 10 ** (rise / 20)
    width = min(10 ** rng.uniform(-2, 1), RATE / m / 8)
    g = Maker()
    head = g.b.reserve(())
    s = g.op("sos", g.delay(head, m), peak(w, width, rise)[None])
    g.close(head, g.input(), g.mul(s, gain))
    truth = "unstable" if top > 1 else "stable"
    # At z = exp(j 2 pi k / m) the round trip is real and equals `top`, its largest magnitude.
    return g.program(head), truth, f"the round trip has the gain {top!r} at {w} Hz, its peak"


def awkward(rng: Rng, n: int) -> Array:
    """A matrix far from normal with eigenvalues of magnitude about one."""
    kind = rng.integers(0, 4)
    size = 10 ** rng.uniform(-1, 3)
    if kind == 0:
        A = np.triu(rng.normal(size=(n, n)) * size, 1) + np.diag(rng.uniform(-1, 1, n))
    elif kind == 1:
        A = np.eye(n) * rng.choice([-1.0, 1.0]) + np.diag(np.full(n - 1, min(size, 10)), 1)
    elif kind == 2:
        A = orthogonal(rng, n)
    else:
        A = rng.normal(size=(n, n)) / np.sqrt(n)
    if rng.uniform() < 0.5:
        scale = 10 ** rng.uniform(-3, 3, n)
        A = A * scale / scale[:, None]
    if rng.uniform() < 0.3:
        order = rng.permutation(n)
        A = A[order][:, order]
    return A


@family("far from normal", 3)
def far_from_normal(rng: Rng) -> ir.Program:
    n = int(rng.integers(2, 9))
    m, A = lengths(rng, n, 12), awkward(rng, n)
    if rng.uniform() < 0.4:
        m = (m[0],) * n
    fresh = again(rng)
    return at_border(rng, lambda gain: network(fresh(), m, gain * A))


@family("nearly lossless", 2)
def nearly_lossless(rng: Rng) -> ir.Program:
    n = int(rng.choice([1, 2, 3, 4, 8, 16]))
    m = lengths(rng, n, 30 if n < 8 else 8)
    radius = distance(rng)
    A = orthogonal(rng, n) * radius ** np.array(m, float)
    if rng.uniform() < 0.4:
        scale = 10 ** rng.uniform(-3, 3, n)
        A = A * scale / scale[:, None]
    return network(rng, m, A)


@family("long delays", 2)
def long_delays(rng: Rng) -> tuple[ir.Program, str, str]:
    """Too many states for eigenvalues, but every pole has the same magnitude."""
    n = int(rng.choice([1, 2, 4, 8, 16]))
    m = tuple(int(v) for v in rng.integers(300, 5000, n))
    radius = 1 + rng.choice([-1, 1]) * 10 ** -rng.uniform(3.5, 8)
    gains = radius ** np.array(m, float)
    kind = rng.integers(0, 3)
    if kind == 0:
        A = orthogonal(rng, n) * gains
    elif kind == 1:
        size = 10 ** rng.uniform(-1, 2)
        A = np.triu(rng.normal(size=(n, n)) * size, 1) + np.diag(gains)
    else:
        scale = 10 ** rng.uniform(-3, 3, n)
        A = orthogonal(rng, n) * gains * scale / scale[:, None]
    truth = "stable" if radius < 1 else "unstable"
    return network(rng, m, A), truth, f"all poles have the magnitude {radius!r}, or are zero"


@family("long and damped", 1)
def long_and_damped(rng: Rng) -> tuple[ir.Program, str, str]:
    """Combs in a triangular network, each with a low-pass whose largest gain is at 0 Hz."""
    n = int(rng.integers(1, 5))
    m = tuple(int(v) for v in rng.integers(200, 4000, n))
    p = rng.uniform(0.05, 0.9, n)
    tops = 1 - 10 ** -rng.uniform(0.5, 7, n)
    unstable = rng.uniform() < 0.5
    if unstable:
        tops[rng.integers(n)] = 1 + 10 ** -rng.uniform(1, 7)
    b, a = np.stack([1 - p, 0 * p]), np.stack([1 + 0 * p, -p])
    A = np.triu(rng.normal(size=(n, n)) * 5, 1) + np.diag(tops)
    made = network(rng, m, A, lambda g, s: g.op("iir", s, b, a))
    # 1 - p rounds, and so does the gain at 0 Hz: by 1e-15, while the tops differ by 1e-7 and more.
    return made, "unstable" if unstable else "stable", "real poles at the gains at 0 Hz"


@family("short delays", 2)
def short_delays(rng: Rng) -> ir.Program:
    n = int(rng.integers(2, 7))
    m = lengths(rng, n, 4)
    A = rng.normal(size=(n, n)) * (rng.uniform(size=(n, n)) < 0.7)
    fresh = again(rng)
    return at_border(rng, lambda gain: network(fresh(), m, gain * A))


@family("high order", 3)
def high_order(rng: Rng) -> ir.Program:
    n, order = int(rng.integers(1, 3)), int(rng.integers(3, 13))
    m, fresh = lengths(rng, n, 12), again(rng)
    kind = rng.integers(0, 3)
    if kind == 0:
        a = np.stack([polynomial(rng, order, rng.uniform(0.5, 0.98)) for _ in range(n)], 1)
        b = np.stack([polynomial(rng, order, 1.2) for _ in range(n)], 1) / 4
        scale = rng.choice([1.0, -2.0, 0.3])
        part: Part = lambda g, s: g.op("iir", s, b * scale, a * scale)  # noqa: E731
    elif kind == 1:
        count = int(rng.integers(4, 31))
        sos = np.zeros((count, 6, n))
        for k in range(count):
            for i in range(n):
                width = 10 ** rng.uniform(0, 4)
                sos[k, :, i] = peak(rng.uniform(20, 23900), width, rng.uniform(-6, 6))
        part = sections(sos)
    else:
        taps = rng.normal(size=(int(rng.integers(2, 65)), n)) / 4
        part = lambda g, s: g.op("fir", s, taps)  # noqa: E731
    A = orthogonal(rng, n)
    return at_border(rng, lambda gain: network(fresh(), m, gain * A, part))


def allpass(g: Maker, x: int, m: list[int], gains: list[float]) -> int:
    """A Schroeder allpass; the further ones stand before its delay, one in another."""
    head = g.b.reserve(())
    inner = allpass(g, head, m[1:], gains[1:]) if len(m) > 1 else head
    late = g.delay(inner, m[0])
    g.close(head, x, g.mul(late, gains[0]))
    return g.op("sub", late, g.mul(head, gains[0]))


@family("nested allpasses", 2)
def nested_allpasses(rng: Rng) -> ir.Program:
    depth, count = int(rng.integers(1, 5)), int(rng.integers(1, 4))
    shapes = []
    for _ in range(count):
        lengths_ = [int(v) for v in rng.integers(1, 9, depth)]
        shapes.append((lengths_, [float(v) for v in rng.uniform(-0.95, 0.95, depth)]))
    if rng.uniform() < 0.2:
        shapes[0][1][-1] = distance(rng) * rng.choice([-1.0, 1.0])
    m, sign = int(rng.integers(1, 20)), rng.choice([-1.0, 1.0])

    def build(gain: float) -> ir.Program:
        g = Maker()
        x, head = g.input(), g.b.reserve(())
        s = g.delay(head, m)
        for lengths_, gains in shapes:
            s = allpass(g, s, lengths_, gains)
        g.close(head, x, g.mul(s, sign * gain))
        return g.program(s)

    return at_border(rng, build)


@family("parallel branches", 2)
def parallel_branches(rng: Rng) -> ir.Program:
    count, fresh = int(rng.integers(2, 6)), again(rng)

    def build(gain: float) -> ir.Program:
        g, r = Maker(), fresh()
        x, head = g.input(), g.b.reserve(())
        base = g.delay(head, int(r.integers(1, 5))) if r.uniform() < 0.5 else head
        branches = []
        for _ in range(count):
            s = g.delay(base, int(r.integers(1, 15)))
            kind = r.integers(0, 4)
            if kind == 0:
                s = g.op("sos", s, peak(frequency(r), 10 ** r.uniform(-1, 3), decibels(r))[None])
            elif kind == 1:
                s = g.op("fir", s, r.normal(size=int(r.integers(2, 9))))
            elif kind == 2:
                a = polynomial(r, 3, 0.95)
                s = g.op("iir", s, r.normal(size=4), a)
            branches.append(g.mul(s, float(r.normal())))
        g.close(head, x, g.mul(g.add(*branches), gain))
        return g.program(head)

    return at_border(rng, build)


@family("coupled loops", 2)
def coupled_loops(rng: Rng) -> ir.Program:
    count, n, fresh = int(rng.integers(2, 4)), int(rng.integers(1, 4)), again(rng)
    strength = 10 ** rng.uniform(-4, 1)

    def build(gain: float) -> ir.Program:
        g, r = Maker(), fresh()
        heads = [g.b.reserve((n,)) for _ in range(count)]
        lates = [g.delay(h, *lengths(r, n, 9)) for h in heads]
        for k, head in enumerate(heads):
            fed = g.mix(lates[k], orthogonal(r, n) * 0.9)
            other = g.mix(lates[k - 1], r.normal(size=(n, n)) * strength)
            g.close(head, g.input(n), g.mul(g.add(fed, other), gain))
        return g.program(*lates)

    return at_border(rng, build)


@family("matrices of filters", 2)
def filter_matrices(rng: Rng) -> ir.Program:
    n, fresh = int(rng.integers(2, 5)), again(rng)
    m, kind = lengths(rng, n, 8), rng.integers(0, 3)

    def part(g: Maker, s: int, r: Rng) -> int:
        # Entry (i, j) filters what comes from line j; the sum over j follows.
        wide = g.op("broadcast", s, shape=(n, n), axes=(1,))
        if kind == 0:
            wide = g.op("fir", wide, r.normal(size=(4, n, n)) / n)
        elif kind == 1:
            sos = np.zeros((2, 6, n, n))
            for index in np.ndindex(2, n, n):
                sos[index[0], :, index[1], index[2]] = peak(
                    frequency(r), 10 ** r.uniform(-1, 3), decibels(r)
                )
            wide = g.op("sos", wide, sos)
        else:
            wide = g.delay(wide, *lengths(r, n * n, 5))
        return g.op("sum", g.mul(wide, orthogonal(r, n)), axes=(1,))

    def build(gain: float) -> ir.Program:
        r = fresh()
        return network(r, m, gain * np.eye(n), lambda g, s: part(g, s, r))

    return at_border(rng, build)


@family("fractional delays", 2)
def fractional_delays(rng: Rng) -> ir.Program:
    """Lagrange (FIR) and Thiran (allpass) interpolation, low orders to high."""
    n, order = int(rng.integers(1, 4)), int(rng.integers(1, 7))
    m, thiran = lengths(rng, n, 12), rng.uniform() < 0.5
    fractions = rng.uniform(order - 0.5, order + 0.5, n)
    if not thiran:
        fractions = rng.uniform(0, order, n)
    b, a = np.zeros((order + 1, n)), np.zeros((order + 1, n))
    for i, d in enumerate(fractions):
        k = np.arange(order + 1)
        if thiran:
            c = [
                (-1.0) ** q * _choose(order, q)
                * np.prod([(d - order + r) / (d - order + q + r) for r in k])
                for q in k
            ]  # fmt: skip
            a[:, i], b[:, i] = c, c[::-1]
        else:
            b[:, i] = [np.prod([(d - r) / (q - r) for r in k if r != q]) for q in k]
    part: Part = (lambda g, s: g.op("iir", s, b, a)) if thiran else lambda g, s: g.op("fir", s, b)
    fresh, A = again(rng), orthogonal(rng, n)
    return at_border(rng, lambda gain: network(fresh(), m, gain * A, part))


def _choose(n: int, k: int) -> float:
    return float(np.prod([(n - i) / (i + 1) for i in range(k)])) if k else 1.0
