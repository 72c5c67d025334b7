"""Random programs over the whole op table, well conditioned by construction.

Signals come in four pools. *Smooth* real signals go through operations whose derivatives are
bounded, because their arguments are brought into range first (log1p(|x|), x / (1 + y²), …). What
decides (comparisons, roundings, conversions to integers, lengths of delays) gets *exact* signals
only: multiples of 1/8, integers and truth values, which are the same numbers in every precision.
Loops are contractions in the maximum norm: gains below one, mixing rows and impulse responses of
absolute sum at most one, functions of slope at most one. So a bound on rounding errors exists.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import hypothesis.strategies as st
import numpy as np
from case import exact

import ir

Draw = Callable[[st.SearchStrategy[Any]], Any]
SHAPES = [(), (1,), (3,), (3,), (2, 2), (2, 3), (0,)]
INTEGERS = 97
"""Integer signals are kept below this in magnitude."""


@dataclass
class Sample:
    """A program and what goes in."""

    program: ir.Program
    inputs: list[np.ndarray]
    length: int

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        printer.text(repr(self))

    def __repr__(self) -> str:
        lines = [f"{k}: {node.op} {node.inputs} {node.type} {dict(node.attributes)}"
                 for k, node in self.program.graph]  # fmt: skip
        return "\n".join([f"Sample of {self.length}, out {self.program.graph.outputs}:", *lines])


@dataclass
class Grower:
    """Adds operations to a graph, one after another, each chosen by a draw."""

    draw: Draw
    length: int
    b: ir.Builder = field(default_factory=lambda: ir.Builder("random"))
    coefficients: dict[str, np.ndarray] = field(default_factory=dict)
    inputs: list[np.ndarray] = field(default_factory=list)
    pools: dict[str, list[int]] = field(
        default_factory=lambda: {"smooth": [], "eighths": [], "int": [], "bool": []}
    )

    def __post_init__(self) -> None:
        self.rng = np.random.default_rng(self.draw(st.integers(0, 2**32 - 1)))
        self.knobs = 0

    # Choices.

    def one(self, *options: Any) -> Any:
        # Not drawn one by one: hypothesis would repeat itself, and here variety is what counts.
        return options[self.rng.integers(len(options))]

    def number(self, low: int, high: int) -> int:
        return int(self.rng.integers(low, high + 1))

    def pick(self, pool: str, shape: tuple | None = None) -> int:
        """A signal of a pool, of a shape if one is asked for or scalar, new if there is none."""
        found = [k for k in self.pools[pool] if shape is None or self.shape(k) in (shape, ())]
        if not found:
            return self.source(pool, shape if shape is not None else self.one(*SHAPES))
        return self.one(*found)

    def real(self, shape: tuple | None = None) -> int:
        return self.pick(self.one("smooth", "smooth", "smooth", "eighths"), shape)

    def shape(self, k: int) -> tuple:
        return self.b.type(k).shape

    # Sources.

    def source(self, pool: str, shape: tuple) -> int:
        """An input or a coefficient."""
        size = (self.length, *shape) if self.one(True, True, False) else shape
        value = {
            "smooth": lambda: exact(self.rng.uniform(-1, 1, size)),
            "eighths": lambda: self.rng.integers(-32, 33, size) / 8,
            "int": lambda: self.rng.integers(-9, 10, size),
            "bool": lambda: self.rng.integers(0, 2, size) > 0,
        }[pool]()
        kind = {"int": "int", "bool": "bool"}.get(pool, "real")
        if pool == "smooth" and shape == () == size and len(self.coefficients) % 2:
            # A knob, at rest; hosts hold positions in single precision.
            at = round(64 * float(value)) / 64
            k = self.b.control(f"knob {self.knobs}", at, -1.0, 1.0, step=0.01)
            self.knobs += 1
        elif size == shape:
            k = self.coefficient(np.asarray(value), kind)
        else:
            k = self.b.add("input", index=len(self.inputs), shape=shape, kind=kind)
            self.inputs.append(value)
        self.pools[pool].append(k)
        return k

    def coefficient(self, value: np.ndarray, kind: str = "real") -> int:
        slot = f"slot{len(self.coefficients)}"
        self.coefficients[slot] = value
        return self.b.add("coefficient", slot=slot, shape=value.shape, kind=kind)

    def keep(self, pool: str, k: int) -> int:
        """Puts a result into its pool, integers brought back into range."""
        if pool == "int":
            k = self.b.add("rem", k, self.b.constant(INTEGERS))
        self.pools[pool].append(k)
        return k

    def apply(self, op: str, *sources: int | float | list, **attributes: Any) -> int:
        """A node; floats, and numbers in a list, become constants."""
        nodes = [
            self.b.constant(s[0]) if isinstance(s, list)
            else self.b.constant(s) if isinstance(s, float) else s
            for s in sources
        ]  # fmt: skip
        return self.b.add(op, *nodes, name=f"part{self.one(*'abc')}.{op}", **attributes)

    # Elementwise.

    def small(self, k: int) -> int:
        """Into -1 to 1."""
        return self.apply("tanh", k)

    def positive(self, k: int, low: float) -> int:
        return self.apply("add", self.apply("abs", k), low)

    def unary(self) -> int:
        op = self.one(
            "neg", "abs", "sin", "cos", "tanh", "atan", "asinh", "erf", "erfc", "logistic", "log1p",
            "sqrt", "rsqrt", "cbrt", "log", "exp", "exp2", "expm1", "tan", "sinh", "cosh", "asin",
            "acos", "atanh", "acosh",
        )  # fmt: skip
        x = self.real()
        if op == "log1p":
            x = self.apply("abs", x)
        elif op in ("sqrt", "rsqrt", "cbrt", "log"):
            x = self.positive(x, 0.5)
        elif op in ("exp", "exp2", "expm1", "tan", "sinh", "cosh"):
            x = self.small(x)
        elif op in ("asin", "acos", "atanh"):
            x = self.apply("mul", self.small(x), 0.75)
        elif op == "acosh":
            x = self.positive(x, 1.5)
        return self.keep("smooth", self.apply(op, x))

    def binary(self) -> int:
        op = self.one("add", "sub", "mul", "maximum", "minimum", "div", "pow", "atan2", "select")
        x = self.real()
        y = self.real(self.shape(x))
        if op == "mul":
            x, y = self.small(x), self.small(y)
        elif op == "div":
            y = self.apply("add", self.apply("integer_pow", y, exponent=2), 1.0)
        elif op == "pow":
            x, y = self.positive(self.small(x), 0.5), self.small(y)
        elif op == "atan2":
            y = self.positive(y, 0.5)
        elif op in ("add", "sub"):
            x = self.apply("mul", x, 0.5)
        if op == "select":
            return self.keep("smooth", self.apply(op, self.pick("bool", self.shape(x)), x, y))
        if self.one(True, False, False) and op in ("add", "sub", "maximum", "minimum", "atan2"):
            y = 0.75
        return self.keep("smooth", self.apply(op, x, y))

    def power(self) -> int:
        n = self.one(-2, -1, 0, 1, 2, 3, 8, 11)
        x = self.positive(self.small(self.real()), 0.5) if n < 0 else self.small(self.real())
        return self.keep("smooth", self.apply("integer_pow", x, exponent=n))

    # Exact numbers.

    def decide(self) -> int:
        """From exact reals to exact reals, integers and truth values."""
        op = self.one("floor", "ceil", "round", "sign", "rem", "neg", "convert", "eq", "ne", "lt",
                      "le", "gt", "ge", "maximum", "abs")  # fmt: skip
        x = self.pick("eighths")
        if op == "convert":
            kind = self.one("int", "bool", "real")
            k = self.apply(op, x, kind=kind)
            return self.keep({"real": "eighths"}.get(kind, kind), k)
        if op in ("eq", "ne", "lt", "le", "gt", "ge", "maximum"):
            y = self.one(self.pick("eighths", self.shape(x)), 0.5)
            return self.keep("eighths" if op == "maximum" else "bool", self.apply(op, x, y))
        if op == "rem":
            return self.keep("eighths", self.apply(op, x, self.one(0.75, -1.5, 2.0)))
        return self.keep("eighths", self.apply(op, x))

    def integer(self) -> int:
        op = self.one("add", "sub", "mul", "div", "rem", "neg", "abs", "sign", "maximum", "minimum",
                      "and", "or", "xor", "not", "integer_pow", "convert", "lt", "eq", "select",
                      "sum", "prod", "einsum", "max", "shift_left", "shift_right_arithmetic",
                      "shift_right_logical")  # fmt: skip
        x = self.pick("int")
        y = self.pick("int", self.shape(x))
        if op == "convert":
            kind = self.one("real", "bool")
            k = self.apply(op, x, kind=kind)
            if kind == "real":
                k = self.apply("mul", k, 0.125)
            return self.keep("eighths" if kind == "real" else "bool", k)
        if op in ("div", "rem"):
            return self.keep("int", self.apply(op, x, [self.one(7, -3, 1)]))
        if op in ("lt", "eq"):
            return self.keep("bool", self.apply(op, x, y))
        if op == "integer_pow":
            return self.keep("int", self.apply(op, x, exponent=self.one(0, 1, 2, 3)))
        if op in ("neg", "abs", "sign", "not"):
            return self.keep("int", self.apply(op, x))
        if op == "select":
            return self.keep("int", self.apply(op, self.pick("bool", self.shape(x)), x, y))
        if op in ("sum", "prod", "max"):
            x = self.apply("rem", x, [5]) if op == "prod" else x
            axes = tuple(range(len(self.shape(x)))) if np.prod(self.shape(x)) else ()
            return self.keep("int", self.apply(op, x, axes=axes))
        if op == "einsum":
            letters = "ijk"[: len(self.shape(x))]
            other = "ijk"[: len(self.shape(y))]
            k = self.apply(op, x, y, subscripts=f"{letters},{other}->{letters}")
            return self.keep("int", k)
        return self.keep("int", self.apply(op, x, y))

    def logic(self) -> int:
        op = self.one("and", "or", "xor", "not", "eq", "convert", "select")
        x = self.pick("bool")
        if op == "not":
            return self.keep("bool", self.apply(op, x))
        if op == "convert":
            kind = self.one("real", "int")
            pool = "eighths" if kind == "real" else "int"
            return self.keep(pool, self.apply(op, x, kind=kind))
        y = self.pick("bool", self.shape(x))
        if op == "select":
            return self.keep("bool", self.apply(op, x, y, [self.one(True, False)]))
        return self.keep("bool", self.apply(op, x, y))

    # Channels.

    def move(self) -> int:
        pool = self.one("smooth", "smooth", "eighths", "int", "bool")
        x = self.pick(pool)
        shape = self.shape(x)
        op = self.one("reshape", "transpose", "broadcast", "slice", "concatenate", "take", "lookup")
        if op == "reshape":
            k = self.apply(op, x, shape=(*shape[::-1], 1))
        elif op == "transpose":
            k = self.apply(op, x, permutation=tuple(range(len(shape)))[::-1])
        elif op == "broadcast":
            full = (2, *shape) if len(shape) < 2 else shape
            k = self.apply(op, x, shape=full, axes=tuple(range(len(full) - len(shape), len(full))))
        elif op == "slice":
            start = tuple(self.number(0, n) for n in shape)
            limit = tuple(self.number(a, n) for a, n in zip(start, shape, strict=True))
            stride = tuple(self.one(1, 2) for _ in shape)
            k = self.apply(op, x, start=start, limit=limit, stride=stride)
        elif op == "lookup":
            return self.lookup(pool, x)
        elif op == "concatenate" and shape:
            k = self.apply(op, x, x, axis=self.number(0, len(shape) - 1))
        else:
            size = int(np.prod(shape))
            count = self.number(1, 4) if size else 0
            indices = tuple(self.number(0, size - 1) for _ in range(count))
            k = self.apply("take", x, shape=(count,), indices=indices)
        return self.keep(pool, k) if self.b.type(k).size <= 12 else self.keep(pool, x)

    def lookup(self, pool: str, x: int) -> int:
        """One of five numbers, or one of two signals, by an integer that may be beyond the ends."""
        if self.one(True, False):
            table = self.coefficient(self.rng.integers(-8, 9, 5) / 8)
            return self.keep("eighths", self.apply("lookup", table, self.pick("int")))
        shape = self.shape(x)
        index = self.pick("int", shape)
        if self.shape(index) != shape:
            index = self.apply("broadcast", index, shape=shape, axes=())
        rows = [self.apply("reshape", k, shape=(1, *shape)) for k in (x, self.same(pool, x))]
        table = self.apply("concatenate", *rows, axis=0)
        return self.keep(pool, self.apply("lookup", table, index))

    def same(self, pool: str, x: int) -> int:
        """A signal of a pool that has the shape of another one."""
        shape, found = self.shape(x), self.pick(pool, self.shape(x))
        if self.shape(found) == shape:
            return found
        return self.apply("broadcast", found, shape=shape, axes=())

    def reduce(self) -> int:
        x = self.real()
        shape = self.shape(x)
        op = self.one("sum", "prod", "max", "min", "einsum")
        if op == "einsum":
            letters = "ij"[: len(shape)]
            n = self.number(1, 3)
            A = self.rng.uniform(-1, 1, (n, *shape[:1])) / max(1, *shape[:1], 1)
            subscripts = f"{letters},{'z' + letters[:1]}->{'z' + letters[1:]}"
            return self.keep(
                "smooth", self.apply(op, x, self.coefficient(A), subscripts=subscripts)
            )
        axes = tuple(a for a, n in enumerate(shape) if n and self.one(True, False))
        return self.keep("smooth", self.apply(op, self.small(x), axes=axes))
