"""Random loops of vectors, integers and truth values that all hear each other."""

from __future__ import annotations

from dataclasses import dataclass, field

from adversarial_case import Loop, Maker, Rng, family, orthogonal

WHOLE = ("add", "sub", "mul", "maximum", "minimum", "and", "or", "xor", "div", "rem")


@dataclass
class Mixer:
    """Adds operations to pools of reals, vectors, integers and truth values."""

    rng: Rng
    n: int
    g: Maker = field(default_factory=Maker)
    reals: list[int] = field(default_factory=list)
    vectors: list[int] = field(default_factory=list)
    whole: list[int] = field(default_factory=list)
    truths: list[int] = field(default_factory=list)

    def one(self, pool: list[int]) -> int:
        return pool[self.rng.integers(len(pool))]

    def number(self) -> float:
        return float(self.rng.normal() * self.rng.choice([0.3, 1.0, 3.0]))

    def grow(self) -> None:
        """One more node of some kind."""
        steps = (self.real, self.real, self.vector, self.vector, self.integer, self.integer,
                 self.truth, self.between)  # fmt: skip
        steps[self.rng.integers(len(steps))]()

    def real(self) -> None:
        g, rng = self.g, self.rng
        x, kind = self.one(self.reals), rng.integers(0, 7)
        if kind == 0:
            k = g.op(str(rng.choice(["tanh", "sin", "abs", "floor", "atan", "neg", "sign"])), x)
        elif kind == 1:
            k = g.op(str(rng.choice(["add", "sub", "mul", "minimum"])), x, self.one(self.reals))
        elif kind == 2:
            k = g.mul(x, self.number())
        elif kind == 3:
            k = g.op("select", self.one(self.truths), x, self.one(self.reals))
        elif kind == 4:
            low = g.add(g.op("abs", self.one(self.reals)), float(rng.uniform(0.3, 2)))
            k = g.op("div", x, low)
        elif kind == 5:
            k = g.channel(self.one(self.vectors), int(rng.integers(self.n)))
        else:
            k = g.op("einsum", self.one(self.vectors), self.one(self.vectors), subscripts="i,i->")
        self.reals.append(k)

    def vector(self) -> None:
        g, rng = self.g, self.rng
        x, kind = self.one(self.vectors), rng.integers(0, 7)
        if kind == 0:
            k = g.op("tanh", x)
        elif kind == 1:
            k = g.mul(x, rng.normal(size=self.n))
        elif kind == 2:
            k = g.mul(x, self.one(self.reals))
        elif kind == 3:
            k = g.op(str(rng.choice(["add", "sub", "maximum", "mul"])), x, self.one(self.vectors))
        elif kind == 4:
            k = g.mix(x, orthogonal(rng, self.n))
        elif kind == 5:
            k = g.op("take", x, indices=tuple(rng.permutation(self.n).tolist()), shape=(self.n,))
        else:
            rows = [g.op("reshape", v, shape=(1, self.n)) for v in (x, self.one(self.vectors))]
            pair = g.op("concatenate", *rows, axis=0)
            weights = g.stack(self.one(self.reals), self.one(self.reals))
            k = g.op("einsum", weights, pair, subscripts="i,ij->j")
        self.vectors.append(k)

    def integer(self) -> None:
        g, rng = self.g, self.rng
        x, kind = self.one(self.whole), rng.integers(0, 6)
        if kind == 0:
            k = g.op(str(rng.choice(WHOLE[:8])), x, self.one(self.whole))
        elif kind == 1:
            k = g.op(str(rng.choice(WHOLE)), x, [int(rng.choice([1, 2, 3, 7, -5, 255]))])
        elif kind == 2:
            k = g.op("convert", g.mul(self.one(self.reals), self.number() * 5), kind="int")
        elif kind == 3:
            k = g.op("select", self.one(self.truths), x, [int(rng.integers(-9, 10))])
        elif kind == 4:
            k = g.op(str(rng.choice(["abs", "neg", "not", "sign"])), x)
        else:
            shift = str(rng.choice(["shift_left", "shift_right_arithmetic", "shift_right_logical"]))
            k = g.op(shift, x, [int(rng.integers(0, 5))])
        self.whole.append(k)

    def truth(self) -> None:
        g, rng = self.g, self.rng
        kind = rng.integers(0, 3)
        if kind == 0:
            compare = str(rng.choice(["lt", "ge", "gt"]))
            k = g.op(compare, self.one(self.reals), float(rng.choice([0.0, 0.5, -0.3])))
        elif kind == 1:
            compare = str(rng.choice(["lt", "eq", "ne"]))
            k = g.op(compare, self.one(self.whole), [int(rng.integers(3))])
        else:
            k = g.op(str(rng.choice(["and", "or", "xor"])), self.one(self.truths),
                     self.one(self.truths))  # fmt: skip
        self.truths.append(k)

    def between(self) -> None:
        """From integers to reals, kept small."""
        g, rng = self.g, self.rng
        kind = rng.integers(0, 3)
        if kind == 0:
            small = g.op("rem", self.one(self.whole), [int(rng.integers(2, 9))])
            self.reals.append(g.mul(g.op("convert", small, kind="real"), float(rng.normal() / 4)))
        elif kind == 1:
            table = rng.normal(size=int(rng.integers(2, 6))) * 0.7
            self.reals.append(g.op("lookup", table, self.one(self.whole)))
        else:
            self.reals.append(g.op("convert", self.one(self.truths), kind="real"))


@family("random mixtures", 4)
def mixtures(rng: Rng) -> Loop:
    """A vector loop, an integer loop and a loop of truth values, joined at random."""
    n = int(rng.integers(2, 4))
    m = Mixer(rng, n)
    g = m.g
    x, y = g.input(n), g.input()
    head, count, flag = g.b.reserve((n,)), g.b.reserve((), "int"), g.b.reserve((), "bool")
    late = g.delay(head, *rng.integers(1, 5, n))
    n1, f1 = g.delay(count, int(rng.integers(1, 4))), g.delay(flag, 1)
    m.reals += [y, g.channel(late, 0)]
    m.vectors += [x, late]
    m.whole += [n1, g.op("convert", g.mul(y, 3.0), kind="int")]
    m.truths += [f1, g.op("gt", y, 0.5)]
    for _ in range(int(rng.integers(2, 9))):
        m.grow()
    g.b.define(count, str(rng.choice(WHOLE[:8])), m.one(m.whole), m.one(m.whole[-2:]))
    g.b.define(flag, str(rng.choice(["and", "or", "xor"])), m.one(m.truths), m.one(m.truths))
    own = g.mix(late, orthogonal(rng, n) * rng.uniform(0.1, 0.9))
    if rng.uniform() < 0.5:
        fed = g.add(own, g.mul(g.op("tanh", m.vectors[-1]), float(rng.uniform(0, 1))))
    else:
        fed = g.mul(own, m.reals[-1])
    g.close(head, x, fed)
    return Loop("random mixtures", g.program(head, m.reals[-1], m.vectors[-1]), "unknown", "random")
