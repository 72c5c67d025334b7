"""Random programs, continued: operations of time, and loops."""

from __future__ import annotations

from typing import Any

import hypothesis.strategies as st
import numpy as np
from random_programs import SHAPES, Grower, Sample
from scipy import signal

import ir


class Looper(Grower):
    """Adds delays, filters and loops."""

    def lengths(self, size: int, least: int = 0) -> tuple[int, ...]:
        if self.one(True, False):
            return (self.number(least, 40),) * size
        return tuple(self.number(least, 40) for _ in range(size))

    def initial(self, samples: tuple[int, ...], k: int) -> list[int]:
        """Initial values, now and then."""
        if not self.one(True, False, False):
            return []
        type_ = self.b.type(k)
        size = (max(samples, default=0), *type_.shape)
        value = {
            "real": lambda: self.rng.integers(-8, 9, size) / 8,
            "int": lambda: self.rng.integers(-9, 10, size),
            "bool": lambda: self.rng.integers(0, 2, size) > 0,
        }[type_.kind]()
        return [self.coefficient(value, type_.kind)]

    def late(self, x: int, least: int = 0) -> int:
        samples = self.lengths(self.b.type(x).size, least)
        return self.apply("delay", x, *self.initial(samples, x), samples=samples)

    def variable(self, x: int, least: int = 0) -> int:
        shape = self.shape(x)
        low = self.number(least, 10)
        high = low + self.number(0, 25)
        d = self.pick("int", shape)
        if self.shape(d) != shape:
            d = self.apply("broadcast", d, shape=shape, axes=())
        d = self.apply("add", d, [low + 5])
        return self.apply("variable_delay", x, d, minimum=low, maximum=high)

    def time(self) -> int:
        pool = self.one("smooth", "smooth", "eighths", "int", "bool")
        x = self.pick(pool)
        return self.keep(pool, self.one(self.late, self.late, self.variable)(x))

    def filtered(self) -> int:
        x = self.real()
        return self.keep("smooth", self.filter(x))

    def filter(self, x: int) -> int:
        """A filter whose impulse responses have an absolute sum of at most one."""
        shape = self.shape(x)
        op = self.one("fir", "iir", "iir", "sos")
        if op == "fir":
            taps = self.rng.uniform(-1, 1, (self.one(1, 2, 5, 60), *shape))
            taps *= self.rng.uniform(size=taps.shape) < 0.7
            return self.apply(op, x, self.coefficient(taps / np.maximum(1, np.abs(taps).sum(0))))
        if op == "iir":
            order = self.number(0, 4)
            b, a = self.polynomials(order, shape)
            rest = [self.coefficient(np.asarray(c)) for c in (b, a)]
            if self.one(True, False, False):
                rest.append(self.coefficient(self.rng.integers(-4, 5, (order, *shape)) / 8))
            return self.apply(op, x, *rest)
        parts = [np.concatenate(self.polynomials(2, shape)) for _ in range(self.number(1, 3))]
        rest = [self.coefficient(np.stack(parts))]
        if self.one(True, False, False):
            rest.append(self.coefficient(self.rng.integers(-4, 5, (len(parts), 2, *shape)) / 8))
        return self.apply(op, x, *rest)

    def polynomials(self, order: int, shape: tuple) -> tuple[np.ndarray, np.ndarray]:
        b = np.zeros((order + 1, *shape))
        a = np.zeros((order + 1, *shape))
        a0 = self.one(1.0, 1.0, -2.0, 0.3)
        for index in np.ndindex(shape):
            pairs = [
                self.rng.uniform(0, 0.85) * np.exp(1j * self.rng.uniform(0, np.pi))
                for _ in range(order // 2)
            ]
            poles = [*pairs, *np.conj(pairs), *self.rng.uniform(-0.8, 0.8, order % 2)]
            denominator = np.real(np.poly(poles)) if order else np.ones(1)
            numerator = self.rng.uniform(-1, 1, order + 1)
            impulse = np.eye(1, 400)[0]
            total = np.abs(np.asarray(signal.lfilter(numerator, denominator, impulse))).sum()
            b[(slice(None), *index)] = a0 * numerator / (1.001 * total)
            a[(slice(None), *index)] = a0 * denominator
        return b, a

    # Loops.

    def loop(self, depth: int = 0, shape: tuple | None = None) -> int:
        """u = x + g body(u): one loop, or two that share their delays; `body` is a contraction."""
        shape = self.one(*SHAPES[:-1]) if shape is None else shape  # no channels have no delay
        count = self.one(1, 1, 2)
        heads = [self.b.reserve(shape) for _ in range(count)]
        lates = [self.one(self.late, self.late, self.variable)(head, 1) for head in heads]
        gain = self.one(0.3, 0.5, -0.7)
        for n, head in enumerate(heads):
            signal_ = lates[n]
            if count == 2:
                signal_ = self.average(*lates)
            if self.one(True, False, False):
                signal_ = self.average(signal_, self.late(head, 1))
            for _ in range(self.number(0, 3)):
                signal_ = self.contract(signal_, depth)
            fed = self.apply("mul", signal_, gain)
            x = self.real(shape)
            self.b.define(head, "add", x, fed, name="loop")
        self.pools["smooth"] += [*heads, *lates]
        return heads[0]

    def average(self, x: int, y: int) -> int:
        return self.apply("mul", self.apply("add", x, y), 0.5)

    def contract(self, x: int, depth: int) -> int:
        """Something of slope at most one in the maximum norm."""
        shape = self.shape(x)
        choice = self.one("neg", "sin", "tanh", "atan", "asinh", "delay", "variable", "filter",
                          "filter", "matrix", "matrix", "turn", "maximum", "select",
                          "loop")  # fmt: skip
        if choice == "delay":
            return self.late(x)
        if choice == "variable":
            return self.variable(x)
        if choice == "filter":
            return self.filter(x)
        if choice == "matrix" and shape:
            A = self.rng.uniform(-1, 1, (shape[0], shape[0]))
            A /= np.abs(A).sum(1, keepdims=True)
            rest = "jk"[1 : len(shape)]
            subscripts = f"j{rest},ij->i{rest}"
            return self.apply("einsum", x, self.coefficient(A), subscripts=subscripts)
        if choice == "turn" and shape:
            turned = tuple(np.roll(np.arange(int(np.prod(shape))), 1).tolist())
            return self.apply("take", x, indices=turned, shape=shape)
        if choice == "maximum":
            return self.apply(choice, x, self.real(shape))
        if choice == "select":
            return self.apply(choice, self.pick("bool", shape), x, self.apply("neg", x))
        if choice == "loop" and depth < 2:
            return self.inner(x, depth)
        return self.apply(choice if choice in ("sin", "tanh", "atan", "asinh") else "neg", x)

    def inner(self, x: int, depth: int) -> int:
        """A loop in a loop: v = x / 2 + g body(v) with |g| ≤ 1/2, which passes x with gain one."""
        head = self.b.reserve(self.shape(x))
        body = self.late(head, 1)
        for _ in range(self.number(0, 2)):
            body = self.contract(body, depth + 1)
        fed = self.apply("mul", body, self.one(0.5, -0.4))
        self.b.define(head, "add", self.apply("mul", x, 0.5), fed, name="inner")
        return head

    def exact_loop(self) -> int:
        """Counters and flip-flops."""
        pool = self.one("int", "bool")
        x = self.pick(pool)
        if not self.b.type(x).size:
            return x
        head = self.b.reserve(self.shape(x), pool)
        back = self.late(head, 1)
        if pool == "int":
            self.b.define(head, "rem", self.apply("add", back, x), self.b.constant(11))
        else:
            self.b.define(head, self.one("xor", "or", "and"), back, x)
        self.pools[pool].append(head)
        return head


@st.composite
def samples(draw: Any, steps: int = 14) -> Sample:
    """A random program and its inputs."""
    g = Looper(draw, draw(st.integers(64, 160)))
    for _ in range(draw(st.integers(min(3, steps), steps))):
        draw(st.sampled_from([
            g.unary, g.binary, g.power, g.decide, g.integer, g.logic, g.move, g.reduce, g.time,
            g.filtered, g.loop, g.loop, g.loop, g.exact_loop,
        ]))()  # fmt: skip
    everything = [k for pool in g.pools.values() for k in pool]
    outputs = [g.one(*everything) for _ in range(g.number(1, 3))]
    outputs += g.pools["smooth"][-1:] + g.pools["bool"][-1:] + g.pools["int"][-1:]
    if not sum(g.b.type(k).size for k in outputs):
        outputs.append(g.apply("constant", value=0.5))
    return Sample(ir.Program(g.b.build(outputs), g.coefficients), g.inputs, g.length)
