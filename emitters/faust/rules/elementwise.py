"""Rules of operations on each number by itself."""

from __future__ import annotations

import numpy as np

from emitters.faust.rules.registry import Atoms, Context, Rule, array, rule
from emitters.faust.rules.sums import linear, pairs
from emitters.faust.text import Atom, atom
from ir.graph import Node


def _formula(template: str) -> Rule:
    """An elementwise rule from a template in {x}, {y}, {z}."""

    def build(c: Context, node: Node, *operands: Atoms) -> Atoms:
        full = [np.broadcast_to(o, node.shape).ravel() for o in operands]
        lines = (dict(zip("xyz", map(atom, row), strict=False)) for row in zip(*full, strict=True))
        return array((template.format(**line) for line in lines), node.shape)

    return build


TEMPLATES = {
    "neg": "0-{x}", "abs": "abs({x})", "sqrt": "sqrt({x})", "rsqrt": "1.0/sqrt({x})",
    "exp": "exp({x})", "exp2": "pow(2.0, {x})", "log": "log({x})", "sin": "sin({x})",
    "cos": "cos({x})", "tan": "tan({x})", "asin": "asin({x})", "acos": "acos({x})",
    "atan": "atan({x})", "logistic": "1.0/(1.0 + exp(min(80.0, 0-{x})))", "floor": "floor({x})",
    "ceil": "ceil({x})", "round": "rint({x})", "div": "{x}/{y}",
    "rem": "fmod({x}, {y})", "pow": "pow({x}, {y})", "atan2": "atan2({x}, {y})",
    "maximum": "max({x}, {y})", "minimum": "min({x}, {y})", "eq": "{x} == {y}",
    "ne": "{x} != {y}", "lt": "{x} < {y}", "le": "{x} <= {y}", "gt": "{x} > {y}",
    "ge": "{x} >= {y}", "or": "{x} | {y}", "xor": "xor({x}, {y})",
}  # fmt: skip


FOREIGN = (
    "expm1", "log1p", "sinh", "cosh", "tanh", "asinh", "acosh", "atanh", "cbrt", "erf", "erfc"
)  # fmt: skip
"""Functions of the C library that FAUST reaches by declaration."""

INTEGER_TEMPLATES = {"div": "int({x}/{y})", "rem": "{x} % {y}"}
"""Where integers need another formula: FAUST divides them as real numbers."""


def _by_kind(real: str, integer: str) -> Rule:
    """A rule that chooses its template by the kind of the result."""
    rules = {"real": _formula(real), "int": _formula(integer)}
    return lambda c, node, *operands: rules[node.type.kind](c, node, *operands)


for _op, _template in TEMPLATES.items():
    _integer = INTEGER_TEMPLATES.get(_op)
    rule(_op)(_by_kind(_template, _integer) if _integer else _formula(_template))


def _foreign(c: Context, node: Node, x: Atoms) -> Atoms:
    name = c.helper(node.op)
    return array((f"{name}({atom(v)})" for v in x.ravel()), node.shape)


rule(*FOREIGN)(_foreign)


@rule("sign")
def _sign(c: Context, node: Node, x: Atoms) -> Atoms:
    cast = "float" if node.type.kind == "real" else ""
    return array((f"{cast}(({atom(v)} > 0) - ({atom(v)} < 0))" for v in x.ravel()), node.shape)


@rule("not")
def _not(c: Context, node: Node, x: Atoms) -> Atoms:
    template = "{} == 0" if node.type.kind == "bool" else "xor({}, (-1))"
    return array((template.format(atom(v)) for v in x.ravel()), node.shape)


@rule("convert")
def _convert(c: Context, node: Node, x: Atoms) -> Atoms:
    template = {"real": "float({})", "int": "int({})", "bool": "{} != 0"}[node.type.kind]
    return array((template.format(atom(v)) for v in x.ravel()), node.shape)


@rule("integer_pow")
def _integer_pow(c: Context, node: Node, x: Atoms) -> Atoms:
    n = node.int("exponent")

    def power(v: Atom) -> Atom:
        text = atom(v)
        if n == 0:
            return 1.0 if node.type.kind == "real" else 1
        is_int = node.type.kind == "int"
        positive = "*".join([text] * abs(n)) if abs(n) <= 8 else f"pow({text}, {abs(n)})"
        if is_int and abs(n) > 8:
            return f"int({positive})"
        return positive if n > 0 else f"1.0/({positive})"

    return array(map(power, x.ravel()), node.shape)


@rule("add")
def _add(c: Context, node: Node, x: Atoms, y: Atoms) -> Atoms:
    both = pairs(node, x, y)
    return array((linear(c, ((a, 1), (b, 1)), node.type.kind) for a, b in both), node.shape)


@rule("sub")
def _sub(c: Context, node: Node, x: Atoms, y: Atoms) -> Atoms:
    def difference(a: Atom, b: Atom) -> Atom:
        return linear(c, () if a is b or a == b else ((a, 1), (b, -1)), node.type.kind)

    return array((difference(a, b) for a, b in pairs(node, x, y)), node.shape)


@rule("mul")
def _mul(c: Context, node: Node, x: Atoms, y: Atoms) -> Atoms:
    both = pairs(node, x, y)
    return array((linear(c, (pair,), node.type.kind) for pair in both), node.shape)


@rule("and")
def _and(c: Context, node: Node, x: Atoms, y: Atoms) -> Atoms:
    def both(a: Atom, b: Atom) -> Atom:
        is_zero = any(not isinstance(v, str) and v == 0 for v in (a, b))
        return 0 if is_zero else f"{atom(a)} & {atom(b)}"

    return array((both(a, b) for a, b in pairs(node, x, y)), node.shape)


@rule("shift_left")
def _shift_left(c: Context, node: Node, x: Atoms, y: Atoms) -> Atoms:
    return _shifted(node, x, y, "{x} << {y}", "0")


@rule("shift_right_arithmetic")
def _shift_right(c: Context, node: Node, x: Atoms, y: Atoms) -> Atoms:
    return _shifted(node, x, y, "{x} >> {y}", "{x} >> 31")


@rule("shift_right_logical")
def _shift_right_logical(c: Context, node: Node, x: Atoms, y: Atoms) -> Atoms:
    # FAUST's own shift keeps the sign, which a mask takes away; a shift by zero has none to take.
    mask = "(select2({y} == 0, 2147483647, (-1)) >> max(0, {y} - 1))"
    return _shifted(node, x, y, "({x} >> {y}) & " + mask, "0")


def _shifted(node: Node, x: Atoms, y: Atoms, inside: str, outside: str) -> Atoms:
    """Shifts of 32 bits, which C leaves undefined beyond 31."""

    def text(v: Atom, n: Atom) -> str:
        named = {"x": atom(v), "y": atom(n)}
        if not isinstance(n, str):
            return (inside if 0 <= n < 32 else outside).format(**named)
        within = inside.format(x=atom(v), y=f"({atom(n)} & 31)")
        return f"select2(({atom(n)} >= 0) & ({atom(n)} < 32), {outside.format(**named)}, {within})"

    return array((text(v, n) for v, n in pairs(node, x, y)), node.shape)


@rule("select")
def _select(c: Context, node: Node, condition: Atoms, x: Atoms, y: Atoms) -> Atoms:
    full = (np.broadcast_to(o, node.shape).flat for o in (condition, x, y))

    def chosen(which: Atom, a: Atom, b: Atom) -> Atom:
        if not isinstance(which, str):
            return a if which else b
        return f"select2({which}, {atom(b)}, {atom(a)})"

    return array((chosen(*line) for line in zip(*full, strict=True)), node.shape)
