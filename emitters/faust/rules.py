"""What each operation is in FAUST: one rule a row of the op table.

A rule gets the node and its operands, arrays of atoms (numbers, or names of signals) in the shape
of one sample, and returns an array of FAUST expressions, or of atoms where there is nothing to
compute. Moving channels about costs nothing: it only moves names.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Protocol

import numpy as np
from ir.errors import IRError
from ir.graph import Node
from ir.ops import parse_subscripts

from emitters.faust.sections import Call, delayed, direct_form, second_order
from emitters.faust.text import Atom, atom, balanced, product, total

Atoms = np.ndarray
"""An object array of atoms or of expressions."""


class Context(Protocol):
    """What a rule may ask of the program being written."""

    def helper(self, name: str) -> str:
        """Notes that a helper is used; returns its name."""
        ...

    def name(self, expression: str, hint: str) -> str:
        """Defines a signal of its own for an expression; returns its name."""
        ...

    def gate(self) -> int:
        """A number that no other gate of the program has."""
        ...

    def ring(self, samples: int) -> int:
        """What a delay line must reach back to get a buffer of its own length; 0 if it has one."""
        ...


Rule = Callable[..., Atoms]
RULES: dict[str, Rule] = {}
ADDITIVE = frozenset({"add", "sub", "sum", "einsum", "fir"})
"""Operations whose results are sums: where two others use one, it gets a barrier."""
LONG_ROW = 14
"""From this many terms on, a row of a matrix is put behind a gate of its own: a branch that is
always taken, behind which LLVM adds the products of several signals at once; see
docs/dense-matrices.md."""
GATES = 60_000
"""A gate's number divided by 65,536 is a sample rate below any that there is."""
LINEAR = frozenset({"delay", "mul", "neg"})
"""Operations that FAUST multiplies sums out through."""


def rule(*ops: str) -> Callable[[Rule], Rule]:
    """Registers the rule of one or more operations; a second one is a mistake."""

    def register(function: Rule) -> Rule:
        for op in ops:
            if op in RULES:
                raise KeyError(f"The operation {op!r} has two FAUST rules.")
            RULES[op] = function
        return function

    return register


def array(values: object, shape: tuple[int, ...]) -> Atoms:
    """An object array of a shape, from a flat sequence."""
    result = np.empty(int(np.prod(shape)), object)
    result[:] = list(values)  # type: ignore[call-overload]
    return result.reshape(shape)


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


def _linear(c: Context, pairs: Iterable[tuple[Atom, Atom]], kind: str, gated: bool = False) -> Atom:
    """A sum of products: a number where all factors are, a name where it comes to one.

    Numbers stay numbers as far as they go. A barrier round what FAUST can compute by itself makes
    its LLVM stage fail an assertion, which ends the process (2.85.9: `x + 0.5*attach(0.0, 0)`).
    """
    known: float = 0
    terms: list[tuple[int, str]] = []
    for a, b in pairs:
        if isinstance(a, str) or isinstance(b, str):
            terms.append(product(a, b))
        else:
            known += a * b
    terms = [term for term in terms if term[0]]
    if not terms:
        return float(known) if kind == "real" else int(known)
    if known:
        terms.append(product(known, 1))
    if len(terms) == 1 and terms[0][0] > 0 and terms[0][1].isidentifier():
        return terms[0][1]
    if gated and len(terms) >= LONG_ROW and kind == "real" and (gate := c.gate()) <= GATES:
        return f"gated({gate}, {balanced(terms)})"
    return _total(c, terms)


def _total(c: Context, terms: list[tuple[int, str]]) -> str:
    text = total(terms)
    if "keep(" in text:
        c.helper("keep")
    return text


def _pairs(node: Node, x: Atoms, y: Atoms) -> Iterable[tuple[Atom, Atom]]:
    full = (np.broadcast_to(o, node.shape).flat for o in (x, y))
    return zip(*full, strict=True)


@rule("add")
def _add(c: Context, node: Node, x: Atoms, y: Atoms) -> Atoms:
    pairs = _pairs(node, x, y)
    return array((_linear(c, ((a, 1), (b, 1)), node.type.kind) for a, b in pairs), node.shape)


@rule("sub")
def _sub(c: Context, node: Node, x: Atoms, y: Atoms) -> Atoms:
    def difference(a: Atom, b: Atom) -> Atom:
        return _linear(c, () if a is b or a == b else ((a, 1), (b, -1)), node.type.kind)

    return array((difference(a, b) for a, b in _pairs(node, x, y)), node.shape)


@rule("mul")
def _mul(c: Context, node: Node, x: Atoms, y: Atoms) -> Atoms:
    pairs = _pairs(node, x, y)
    return array((_linear(c, (pair,), node.type.kind) for pair in pairs), node.shape)


@rule("and")
def _and(c: Context, node: Node, x: Atoms, y: Atoms) -> Atoms:
    def both(a: Atom, b: Atom) -> Atom:
        is_zero = any(not isinstance(v, str) and v == 0 for v in (a, b))
        return 0 if is_zero else f"{atom(a)} & {atom(b)}"

    return array((both(a, b) for a, b in _pairs(node, x, y)), node.shape)


@rule("select")
def _select(c: Context, node: Node, condition: Atoms, x: Atoms, y: Atoms) -> Atoms:
    full = (np.broadcast_to(o, node.shape).flat for o in (condition, x, y))

    def chosen(which: Atom, a: Atom, b: Atom) -> Atom:
        if not isinstance(which, str):
            return a if which else b
        return f"select2({which}, {atom(b)}, {atom(a)})"

    return array((chosen(*line) for line in zip(*full, strict=True)), node.shape)


@rule("sum")
def _reduce_sum(c: Context, node: Node, x: Atoms) -> Atoms:
    rows = _rows(x, node.ints("axes"))
    return array((_linear(c, ((v, 1) for v in row), node.type.kind) for row in rows), node.shape)


def _rows(x: Atoms, axes: tuple[int, ...]) -> Atoms:
    """The groups of atoms that a reduction combines."""
    kept = [k for k in range(x.ndim) if k not in axes]
    moved = x.transpose([*kept, *axes])
    sizes = [x.shape[k] for k in (*kept, *axes)]
    return moved.reshape(math.prod(sizes[: len(kept)]), math.prod(sizes[len(kept) :]))


def _nested(template: str, combine: Callable[[list], Atom]) -> Rule:
    def reduce(c: Context, node: Node, x: Atoms) -> Atoms:
        def fold(values: list[str]) -> str:
            if len(values) == 1:
                return values[0]
            half = len(values) // 2
            return template.format(fold(values[:half]), fold(values[half:]))

        def reduced(row: Atoms) -> Atom:
            names = [v for v in row if isinstance(v, str)]
            numbers = [v for v in row if not isinstance(v, str)]
            if numbers or not names:
                known = combine(numbers)
                if not names or (combine is math.prod and known == 0):
                    return float(known) if node.type.kind == "real" else int(known)
                names.append(atom(known))
            return fold(names)

        return array(map(reduced, _rows(x, node.ints("axes"))), node.shape)

    return reduce


rule("prod")(_nested("({}*{})", math.prod))
rule("max")(_nested("max({}, {})", max))
rule("min")(_nested("min({}, {})", min))


@rule("einsum")
def _einsum(c: Context, node: Node, x: Atoms, y: Atoms) -> Atoms:
    left, right, result = parse_subscripts(node.text("subscripts"))
    summed = "".join(dict.fromkeys(s for s in left + right if s not in result))
    sizes = dict(zip(left + right, x.shape + y.shape, strict=True))
    shape = tuple(sizes[s] for s in result + summed)

    def spread(operand: Atoms, letters: str) -> Atoms:
        order = [letters.index(s) for s in result + summed if s in letters]
        moved = operand.transpose(order)
        index = tuple(slice(None) if s in letters else None for s in result + summed)
        terms = math.prod(sizes[s] for s in summed)
        return np.broadcast_to(moved[index], shape).reshape(math.prod(node.shape), terms)

    a, b = spread(x, left), spread(y, right)
    lines = (
        _linear(c, zip(p, q, strict=True), node.type.kind, gated=True)
        for p, q in zip(a, b, strict=True)
    )
    return array(lines, node.shape)


@rule("reshape")
def _reshape(c: Context, node: Node, x: Atoms) -> Atoms:
    return x.reshape(node.shape)


@rule("transpose")
def _transpose(c: Context, node: Node, x: Atoms) -> Atoms:
    return x.transpose(node.ints("permutation"))


@rule("broadcast")
def _broadcast(c: Context, node: Node, x: Atoms) -> Atoms:
    full = [1] * len(node.shape)
    for axis, n in zip(node.ints("axes"), x.shape, strict=True):
        full[axis] = n
    return np.broadcast_to(x.reshape(full), node.shape)


@rule("slice")
def _slice(c: Context, node: Node, x: Atoms) -> Atoms:
    bounds = zip(node.ints("start"), node.ints("limit"), node.ints("stride"), strict=True)
    return x[(..., *(slice(*b) for b in bounds))]


@rule("concatenate")
def _concatenate(c: Context, node: Node, *xs: Atoms) -> Atoms:
    return np.concatenate(xs, axis=node.int("axis"))


@rule("take")
def _take(c: Context, node: Node, x: Atoms) -> Atoms:
    return x.ravel()[list(node.ints("indices"))].reshape(node.shape)


@rule("delay")
def _delay(c: Context, node: Node, x: Atoms, *initial: Atoms) -> Atoms:
    lines = []
    many = len(node.ints("samples")) >= LONG_ROW
    for k, (v, m) in enumerate(zip(x.ravel().tolist(), node.ints("samples"), strict=True)):
        text = _late(v, m)
        if many and isinstance(text, str) and (reach := c.ring(m)):
            text = f"attach({text}, {atom(v)}@{reach})"
        if initial and m:
            start = initial[0].reshape(len(initial[0]), -1)[:m, k]
            if any(start != 0):
                started = _starting(c, start)
                text = started if text == 0 else f"{atom(text)} + {started}"
        lines.append(text)
    return array(lines, node.shape)


def _late(v: Atom, m: int) -> Atom:
    if m == 0 or v == 0:
        return v
    return f"{atom(v)}'" if m == 1 else f"{atom(v)}@{m}"


def _starting(c: Context, values: Atoms) -> str:
    """A signal that has these values at the first samples and zero after."""
    impulse = c.helper("impulse")
    terms = [product(v, delayed(impulse, k)) for k, v in enumerate(values)]
    return f"({_total(c, terms)})"


@rule("variable_delay")
def _variable_delay(c: Context, node: Node, x: Atoms, d: Atoms) -> Atoms:
    low, high = node.int("minimum"), node.int("maximum")
    pairs = zip(x.flat, d.flat, strict=True)

    def read(v: Atom, n: Atom) -> Atom:
        if v == 0:
            return v
        if not isinstance(n, str):
            return _late(v, min(high, max(low, int(n))))
        # The outer bounds are for the compiler, which `within` has made forget all others.
        return f"{atom(v)} @ max({low}, min({high}, {c.helper('within')}({low}, {high}, {n})))"

    return array((read(v, n) for v, n in pairs), node.shape)


@rule("fir")
def _fir(c: Context, node: Node, x: Atoms, taps: Atoms) -> Atoms:
    flat = taps.reshape(len(taps), x.size)
    lines = []
    for k, v in enumerate(x.flat):
        heard = np.flatnonzero(flat[:, k])
        if v == 0 or not heard.size or (heard.max() == 0 and not isinstance(v, str)):
            lines.append(float(flat[0, k] * v) if heard.size and v != 0 else 0.0)
            continue
        terms = [product(h, delayed(atom(v), n)) for n, h in enumerate(flat[:, k])]
        lines.append(_total(c, terms))
    return array(lines, node.shape)


@rule("iir")
def _iir(c: Context, node: Node, x: Atoms, b: Atoms, a: Atoms, *state: Atoms) -> Atoms:
    columns = [o.reshape(len(o), x.size) for o in (b, a, *state)]
    lines = [
        _filtered(c, node, v, *(column[:, k] for column in columns)) for k, v in enumerate(x.flat)
    ]
    return array(lines, node.shape)


@rule("sos")
def _sos(c: Context, node: Node, x: Atoms, sos: Atoms, *state: Atoms) -> Atoms:
    sections = sos.reshape(len(sos), 6, x.size)
    states = [s.reshape(len(s), 2, x.size) for s in state]
    lines = []
    for k, v in enumerate(x.flat):
        signal: Atom = v
        for n in range(len(sections)):
            if n and signal != v and isinstance(signal, str):
                signal = c.name(atom(signal), f"{k}_{n}")
            start = [s[n, :, k] for s in states]
            row = sections[n, :, k]
            signal = _filtered(c, node, signal, row[:3], row[3:], *start)
        lines.append(signal)
    return array(lines, node.shape)


def _filtered(
    c: Context, node: Node, signal: Atom, b: Atoms, a: Atoms, state: Atoms | None = None
) -> Atom:
    """One recursive filter of any order on one channel."""
    if a[0] == 0:
        raise IRError(f"The filter {node.name or node.op!r} has a_0 = 0, by which it must divide.")
    numeric = not any(isinstance(v, str) for v in (*b, *a))
    resting = state is None or not any(isinstance(v, str) or v != 0 for v in state)
    if resting and (signal == 0 or not any(isinstance(v, str) or v != 0 for v in b)):
        return 0.0
    x = atom(signal)
    if numeric and resting and len(b) <= 3:
        pad = [0.0] * (3 - len(b))
        call: Call | None = second_order([*b, *pad], [*a, *pad])
        if call is None:
            return signal
        c.helper(call.helper)
        return call.text(x)
    extra = []
    if state is not None and not resting:
        impulse = c.helper("impulse")
        extra = [product(v, delayed(impulse, k)) for k, v in enumerate(state)]
    if numeric:
        b, a = b / a[0], a / a[0]
    else:
        scale = atom(a[0])
        b, a = (array((f"({atom(v)}/{scale})" for v in o), o.shape) for o in (b, a))
    text = direct_form(list(b), list(a), extra, x)
    if "keep(" in text:
        c.helper("keep")
    return text
