"""Loops of random operations, of which nothing is known beforehand: attacks judge them."""

from __future__ import annotations

from dataclasses import dataclass, field

from adversarial_case import Loop, Maker, Rng, family
from random_loops import Looper

import ir

STEADY = ("tanh", "sin", "cos", "atan", "abs", "neg", "asinh", "erf", "logistic", "sign", "floor",
          "round", "cbrt")  # fmt: skip
WILD = ("sqrt", "exp", "log1p", "tan", "sinh", "acos", "atanh", "rsqrt", "log", "expm1", "exp2",
        "cosh", "acosh", "asin", "ceil", "erfc")  # fmt: skip

BINARY = ("add", "sub", "mul", "maximum", "minimum", "div", "atan2", "rem", "pow")
SHARES = (0.2, 0.15, 0.25, 0.1, 0.1, 0.08, 0.05, 0.04, 0.03)


@dataclass
class Grower:
    """Random expressions over what there is."""

    rng: Rng
    g: Maker
    leaves: list[int]
    wild: float
    made: list[int] = field(default_factory=list)

    def leaf(self) -> int:
        pool = self.leaves + self.made[-3:]
        return pool[self.rng.integers(len(pool))]

    def expression(self, depth: int) -> int:
        g, rng = self.g, self.rng
        if depth == 0:
            return self.leaf()
        kind = rng.integers(0, 10)
        x = self.expression(depth - 1)
        if kind < 3:
            names = WILD if rng.uniform() < self.wild else STEADY
            k = g.op(str(rng.choice(names)), x)
        elif kind == 3:
            k = g.mul(x, float(rng.normal()))
        elif kind == 4:
            k = g.add(x, float(rng.normal()))
        elif kind == 5:
            exponent = int(rng.choice([2, 3, -1, -2], p=[0.5, 0.3, 0.1, 0.1]))
            k = g.op("integer_pow", x, exponent=exponent)
        elif kind == 6:
            compare = str(rng.choice(["lt", "ge", "eq", "ne"]))
            condition = g.op(compare, self.leaf(), float(rng.choice([0.0, 0.5, -1.0])))
            k = g.op("select", condition, x, self.expression(depth - 1))
        else:
            k = g.op(str(rng.choice(BINARY, p=SHARES)), x, self.expression(depth - 1))
        self.made.append(k)
        return k

    def late(self, x: int) -> int:
        """Something of the past of x."""
        g, rng = self.g, self.rng
        if rng.uniform() < 0.75:
            return g.delay(x, int(rng.integers(1, 6)))
        low = int(rng.integers(1, 4))
        position = g.mul(self.leaves[0], 4.0)
        d = g.op("convert", position, kind="int")
        return g.op("variable_delay", x, g.op("add", d, [5]), minimum=low, maximum=low + 6)


@family("random expressions", 6)
def random_expressions(rng: Rng) -> Loop:
    g = Maker()
    inputs = [g.input(), g.input()]
    heads = [g.b.reserve(()) for _ in range(int(rng.integers(1, 4)))]
    grower = Grower(rng, g, list(inputs), wild=float(rng.choice([0.0, 0.2])))
    lates = [grower.late(h) for h in heads]
    grower.leaves += lates
    for n, head in enumerate(heads):
        body = grower.expression(int(rng.integers(1, 4)))
        # The head's own past always counts, so that there is a loop.
        own = g.mul(lates[n], float(rng.uniform(-1, 1)))
        if rng.uniform() < 0.3:
            fed = g.mul(g.add(own, body), float(rng.uniform(0.3, 1.1)))
        elif rng.uniform() < 0.5:
            fed = g.mul(own, g.op("tanh", body))
        else:
            fed = g.add(own, g.mul(g.op("tanh", body), float(rng.uniform(0, 1))))
        g.close(head, inputs[n % 2], fed)
    program = g.program(*heads, grower.made[-1] if grower.made else heads[0])
    return Loop("random expressions", program, "unknown", "random")


@family("random programs", 4)
def random_programs(rng: Rng) -> Loop:
    """The whole op table: those that drive the readings against each other elsewhere."""
    seed = int(rng.integers(2**31))
    g = Looper(lambda _: seed, 64)
    steps = (g.unary, g.binary, g.power, g.decide, g.integer, g.logic, g.move, g.reduce, g.time,
             g.filtered, g.loop, g.loop, g.loop, g.exact_loop)  # fmt: skip
    for _ in range(int(rng.integers(3, 9))):
        steps[rng.integers(len(steps))]()
    outputs = [k for pool in ("smooth", "eighths") for k in g.pools[pool][-3:]]
    if not outputs:
        outputs = [g.apply("constant", value=0.5)]
    return Loop("random programs", ir.Program(g.b.build(outputs), g.coefficients), "unknown",
                "random, with loops that contract")  # fmt: skip
