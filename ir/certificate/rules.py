"""What each operation makes of forms; one rule an operation."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache

import numpy as np

from ir.certificate import filters
from ir.certificate.domain import guarded
from ir.certificate.folds import QUARTER, folded
from ir.certificate.forms import (
    EPS,
    Context,
    Form,
    UnprovenError,
    add,
    contract,
    enclosing,
    exactly,
    interval,
    times,
)
from ir.certificate.intervals import (
    INT,
    Interval,
    binary,
    outward,
    product,
    reciprocal,
    slopes,
    unary,
)
from ir.certificate.registry import registrar
from ir.graph import Node
from ir.interpreter import PER_SAMPLE, per_sample
from ir.ops import OPS
from ir.ops.elementwise import COMPARISONS, LOGIC, REAL_BINARY, REAL_FUNCTIONS, SHIFTS

Rule = Callable[..., Form]
RULES: dict[str, Rule] = {}
"""For each operation but the sources: (context, position, node, forms of its inputs) -> form.

A delay that a loop is cut at has None for its input, which is not known yet.
"""


rule = registrar(RULES)
"""Registers the rule of some operations."""


def evaluate(ctx: Context, k: int, node: Node, inputs: Sequence[Form | None]) -> Form:
    """The form of a node."""
    if all(x is not None and x.fixed for x in inputs) and inputs and node.op in PER_SAMPLE:
        return _folded(ctx, node, [x for x in inputs if x is not None])
    if node.type.kind != "real" and OPS[node.op].family == "time":
        return _late_integers(ctx, k, node, inputs)
    found = _without_atoms(ctx, node, inputs)
    if found is None:
        found = RULES[node.op](ctx, k, node, *inputs)
    if node.type.kind == "int":
        return _wrapped(found)
    return found


def _late_integers(ctx: Context, k: int, node: Node, inputs: Sequence[Form | None]) -> Form:
    """Integers and conditions from before: in a loop they are known by their range alone."""
    whole = INT if node.type.kind == "int" else (0.0, 1.0)
    if inputs[0] is None:
        low, high = ctx.reachable.get(k, whole)
        return interval(_as(node, (np.asarray(low), np.asarray(high))))
    start = inputs[1].base if node.op == "delay" and len(inputs) == 2 and inputs[1] else (0.0, 0.0)
    first = np.min(start[0], initial=0.0), np.max(start[1], initial=0.0)
    return interval(_as(node, enclosing(inputs[0].base, first)))  # type: ignore[arg-type]


def _without_atoms(ctx: Context, node: Node, inputs: Sequence[Form | None]) -> Form | None:
    """Sums and products of ranges, which forms would take the middle of."""
    if node.op not in ("add", "sub", "mul", "neg") or any(x is None or x.atoms for x in inputs):
        return None
    ranges = [x.base for x in inputs if x is not None]
    if node.op == "neg":
        return interval((-ranges[0][1], -ranges[0][0]))
    fraction = _fraction(ctx, node) if node.op == "sub" and node.type.kind == "real" else None
    if fraction is not None:
        return interval(fraction)
    if node.op == "mul" and node.inputs[0] == node.inputs[1]:
        return None
    around = _modular(ctx, node) if node.type.kind == "int" else None
    if around is not None:
        return interval(around)
    low, high = binary(node, *ranges)
    if node.op == "mul" and node.type.kind == "real":
        low = low - ctx.mode.tolerance * np.abs(np.where(np.isfinite(low), low, 0))
        high = high + ctx.mode.tolerance * np.abs(np.where(np.isfinite(high), high, 0))
    return interval(_as(node, (low, high)))


def _modular(ctx: Context, node: Node) -> Interval | None:
    """The range of an integer and known ones: what wraps on the way and back again is not lost."""
    fixed = [s in ctx.outside and ctx.outside[s].fixed for s in node.inputs]
    if node.op not in ("add", "sub") or sum(fixed) != 1 or (fixed[0] and node.op == "sub"):
        return None
    other, known = node.inputs[::-1] if fixed[0] else node.inputs
    root, total = _offset(ctx, other)
    if root == other:
        return None
    total = total + (-1 if node.op == "sub" else 1) * ctx.outside[known].c[0]
    low, high = (b + total for b in _base(ctx, root))
    with np.errstate(invalid="ignore"):
        turns = 2.0**32 * np.round(0.5 * (low + high) / 2.0**32)
    low, high = _as(node, (low - turns, high - turns))
    return (low, high) if np.all(low >= INT[0]) and np.all(high <= INT[1]) else None


def _fraction(ctx: Context, node: Node) -> Interval | None:
    """The range of d + c - (floor(d + o) + n), which is c - o - n and up to one more."""
    base, shift = _whole_part(ctx, node.inputs[1])
    if base is None:
        return None
    inner, offset = _offset(ctx, ctx.graph.nodes[base].inputs[0])
    outer, added = _offset(ctx, node.inputs[0])
    if inner != outer:
        return None
    low = added - offset - shift
    slack = 4 * EPS * (np.abs(added) + np.abs(offset) + np.abs(shift))
    size = 4 * EPS * np.max(np.abs(_base(ctx, outer)), initial=0.0)
    if not np.isfinite(size):
        return None
    slack = slack + np.where(slack > 0, size, 0.0)
    return _as(node, (low - slack, low + 1 + slack))


def _base(ctx: Context, k: int) -> Interval:
    form = ctx.outside.get(k)
    nothing = np.asarray(-np.inf), np.asarray(np.inf)
    return nothing if form is None or form.atoms else form.base


def _offset(ctx: Context, k: int) -> tuple[int, np.ndarray]:
    """A node as another one and known numbers that are added to it."""
    total = np.zeros(())
    while True:
        node = ctx.graph.nodes[k]
        if node.op not in ("add", "sub"):
            return k, total
        forms = [ctx.outside.get(s) for s in node.inputs]
        second, first = (f is not None and f.fixed for f in (forms[1], forms[0]))
        if second:
            total = total + (1 if node.op == "add" else -1) * forms[1].c[0]  # type: ignore
            k = node.inputs[0]
        elif first and node.op == "add":
            total = total + forms[0].c[0]  # type: ignore[union-attr]
            k = node.inputs[1]
        else:
            return k, total


def _fits(ctx: Context, k: int) -> bool:
    """Whether an integer never wraps, nor what it is made from."""
    node = ctx.graph.nodes[k]
    for s in (k, *node.inputs):
        low, high = _base(ctx, s)
        if not (np.all(low > INT[0]) and np.all(high < INT[1])):
            return False
    return True


def _whole_part(ctx: Context, k: int) -> tuple[int | None, np.ndarray]:
    """The floor of which a node is made, and what is added; clips that never act are passed."""
    total = np.zeros(())
    while True:
        if ctx.graph.nodes[k].type.kind == "int" and not _fits(ctx, k):
            return None, total
        k, more = _offset(ctx, k)
        total = total + more
        node = ctx.graph.nodes[k]
        if node.op == "floor":
            return k, total
        if node.type.kind == "int" and not _fits(ctx, k):
            return None, total
        if node.op == "convert" and node.type.kind != "bool":
            k = node.inputs[0]
        elif node.op in ("maximum", "minimum"):
            bounds = [_base(ctx, s) for s in node.inputs]
            # Which side always wins.
            sides = bounds if node.op == "maximum" else [(-b[1], -b[0]) for b in bounds]
            if (sides[0][0] >= sides[1][1]).all():
                k = node.inputs[0]
            elif (sides[1][0] >= sides[0][1]).all():
                k = node.inputs[1]
            else:
                return None, total
        else:
            return None, total


KINDS = {"real": np.float64, "int": np.int64, "bool": np.bool_}


def _folded(ctx: Context, node: Node, inputs: list[Form]) -> Form:
    """Known numbers are computed."""
    kinds = [KINDS[ctx.graph.nodes[s].type.kind] for s in node.inputs]
    with np.errstate(all="ignore"):
        values = [x.c[0].astype(kind) for x, kind in zip(inputs, kinds, strict=True)]
        value = np.asarray(per_sample(node)(*values), float)
    return exactly(np.broadcast_to(value, node.shape))


def _wrapped(x: Form) -> Form:
    """Integers of 32 bits: what could leave their range may be any."""
    low, high = x.base
    fits = (low >= INT[0]) & (high <= INT[1])
    return interval((np.where(fits, np.ceil(low), INT[0]), np.where(fits, np.floor(high), INT[1])))


def _ranges(ctx: Context, node: Node, forms: tuple[Form, ...]) -> list[Interval]:
    return [ctx.range_of(s, x) for s, x in zip(node.inputs, forms, strict=True)]


# -- Linear ---------------------------------------------------------------------------------------


@rule("add")
def _add(ctx: Context, k: int, node: Node, x: Form, y: Form) -> Form:
    return add(x.spread(node.shape), y.spread(node.shape))


@rule("sub")
def _sub(ctx: Context, k: int, node: Node, x: Form, y: Form) -> Form:
    return add(x.spread(node.shape), y.spread(node.shape), -1.0)


@rule("neg")
def _neg(ctx: Context, k: int, node: Node, x: Form) -> Form:
    return Form(-x.c, x.r)


@rule("sum")
def _sum(ctx: Context, k: int, node: Node, x: Form) -> Form:
    axes = tuple(a + 1 for a in node.ints("axes"))
    terms = int(np.prod([x.c.shape[a] for a in axes])) if axes else 1
    size = np.abs(np.where(np.isfinite(x.c), x.c, 0)).sum(axes)
    return Form(x.c.sum(axes), x.r.sum(axes) + max(terms - 1, 0) * 2.0**-52 * size)


@rule("mul")
def _mul(ctx: Context, k: int, node: Node, x: Form, y: Form) -> Form:
    if node.inputs[0] == node.inputs[1] and not x.fixed:
        return _square(ctx, k, node, x)
    return _product(ctx, k, node, x, y, *_ranges(ctx, node, (x, y)))


def _product(
    ctx: Context, k: int, node: Node, x: Form, y: Form, of_x: Interval, of_y: Interval
) -> Form:
    """X y, for signals within the given ranges: one is taken for a gain of the other."""
    if x.fixed or (not x.loops.any() and y.loops.any()):
        x, y, of_x, of_y = y, x, of_y, of_x
    if y.fixed:
        return times(x.spread(node.shape), np.broadcast_to(y.c[0], node.shape), ctx.mode.tolerance)
    why = "it multiplies by a signal that is not known to be bounded"
    if y.loops.any():
        why = "it multiplies two signals of the loop, neither of which is known to be bounded"
        if not _bounded(of_y):
            return ctx.scaled(k, node, y, of_x, why)
    return ctx.scaled(k, node, x, of_y, why)


def _bounded(x: Interval) -> bool:
    return bool(np.isfinite(x[0]).all() and np.isfinite(x[1]).all())


def _square(ctx: Context, k: int, node: Node, x: Form) -> Form:
    squared = Node("integer_pow", node.inputs[:1], node.type, (("exponent", 2),), node.name)
    return _unary(ctx, k, squared, x)


@rule("div")
def _div(ctx: Context, k: int, node: Node, x: Form, y: Form) -> Form:
    if y.fixed and (y.c[0] != 0).all() and node.type.kind == "real":
        gain = np.broadcast_to(1 / y.c[0], node.shape)
        return times(x.spread(node.shape), gain, max(ctx.mode.tolerance, 2.0**-52))
    ranges = _ranges(ctx, node, (x, y))
    if node.type.kind == "int":
        return interval(_as(node, binary(node, *ranges)))
    low, high = reciprocal(ranges[1])
    least = guarded(ctx.graph, node.inputs[1])
    away = 1 / least if least else np.inf
    inverse = np.maximum(low, -away), np.minimum(high, away)
    if not x.loops.any():
        return interval(_as(node, product(ranges[0], inverse)))
    why = "it divides by a signal that is not known to stay away from zero"
    return ctx.scaled(k, node, x, inverse, why)


@rule("einsum")
def _einsum(ctx: Context, k: int, node: Node, x: Form, y: Form) -> Form:
    subscripts = node.text("subscripts")
    if y.fixed:
        return contract(subscripts, x, y.c[0], True, ctx.mode.tolerance)
    if x.fixed:
        return contract(subscripts, y, x.c[0], False, ctx.mode.tolerance)
    # Every product by itself, then their sum.
    operands, result = subscripts.split("->")
    left, right = operands.split(",")
    letters = "".join(dict.fromkeys(left + right))
    sizes = dict(zip(left + right, x.shape + y.shape, strict=True))
    shape = tuple(sizes[letter] for letter in letters)
    whole = Node("mul", node.inputs, type(node.type)(shape, node.type.kind), (), node.name)
    parts, ranges = [], []
    for s, form, part in zip(node.inputs, (x, y), (left, right), strict=True):
        parts.append(_laid_out(form, part, letters, shape))
        bounds = interval(_full(ctx.range_of(s, form), form.shape))
        ranges.append(_laid_out(bounds, part, letters, shape).base)
    axes = tuple(letters.index(letter) for letter in letters if letter not in result)
    products = _product(ctx, k, whole, *parts, *ranges)
    kept = [letter for letter in letters if letter in result]
    total = _sum(ctx, k, Node("sum", (), node.type, (("axes", axes),)), products)
    order = tuple(1 + kept.index(letter) for letter in result)
    if total.span is not None:
        axes = [a - 1 for a in order]
        return interval(tuple(b.transpose(axes) for b in total.span))
    return Form(total.c.transpose(0, *order), total.r.transpose(0, *order))


def _full(x: Interval, shape: tuple[int, ...]) -> Interval:
    return np.broadcast_to(x[0], shape), np.broadcast_to(x[1], shape)


def _laid_out(x: Form, part: str, letters: str, shape: tuple[int, ...]) -> Form:
    order = sorted(range(len(part)), key=lambda a: letters.index(part[a]))
    lead = [shape[i] if letter in part else 1 for i, letter in enumerate(letters)]

    def lay(v: np.ndarray) -> np.ndarray:
        moved = v.transpose(0, *(a + 1 for a in order)).reshape(len(v), *lead)
        return np.broadcast_to(moved, (len(v), *shape))

    if x.span is not None:
        low, high = (lay(b[None])[0] for b in x.span)
        return interval((low, high))
    return Form(lay(x.c), lay(x.r))


# -- Moving channels ------------------------------------------------------------------------------


@rule("reshape", "transpose", "broadcast", "slice", "take")
def _moved(ctx: Context, k: int, node: Node, x: Form) -> Form:
    index = np.arange(int(np.prod(x.shape))).reshape(x.shape)
    return x.taken(np.asarray(per_sample(_as_real(node))(index)))


def _as_real(node: Node) -> Node:
    """The node without the wrapping of integers, which positions must not meet."""
    return Node(node.op, node.inputs, type(node.type)(node.shape), node.attributes, node.name)


@rule("concatenate")
def _concatenate(ctx: Context, k: int, node: Node, *xs: Form) -> Form:
    count = max(x.atoms for x in xs)
    axis = node.int("axis") + 1
    wide = [x.wide(count) for x in xs]
    return Form(
        np.concatenate([x.c for x in wide], axis), np.concatenate([x.r for x in wide], axis)
    )


# -- Functions of one number ----------------------------------------------------------------------

STAIRS = {"floor": (-1.0, 0.0), "ceil": (0.0, 1.0), "round": (-0.5, 0.5)}


@rule(*REAL_FUNCTIONS, "abs", "sign", "integer_pow")
def _unary(ctx: Context, k: int, node: Node, x: Form) -> Form:
    loops = x.loops
    if not loops.any():
        return interval(_as(node, unary(node, x.base)))
    if node.op in STAIRS:
        return add(x, interval(tuple(np.full(node.shape, e) for e in STAIRS[node.op])))
    reach = ctx.range_of(node.inputs[0], x)
    whole = unary(node, reach)
    if _saturates(ctx, node, whole) or node.op == "sign":
        return interval(_as(node, whole))
    # f(v) = f(p) + s (v - p), with p the point of the range that is nearest to zero.
    point = np.clip(0.0, reach[0], reach[1])
    with np.errstate(all="ignore"):
        value = np.asarray(per_sample(node)(point), float)
    why = f"the slope of {node.op} is not bounded over the range of its argument"
    if not np.isfinite(value).all():
        raise UnprovenError(k, why)
    gain = _sector(node, reach, slopes(node, reach))
    inner = Form(x.c.copy(), x.r)
    inner.c[0] = inner.c[0] - point
    scaled = ctx.scaled(k, node, inner, gain, why)
    return add(scaled, interval(outward(value, value)))


def _sector(node: Node, reach: Interval, slope: Interval) -> Interval:
    """The range of (f(v) - f(p)) / (v - p): within that of the slope, often narrower."""
    if node.op in ("tanh", "atan", "asinh", "erf"):
        # f(v) / v falls from f'(0) on both sides.
        far = np.maximum(np.abs(reach[0]), np.abs(reach[1]))
        with np.errstate(all="ignore"):
            least = np.where(np.isfinite(far) & (far > 0), per_sample(node)(far) / far, slope[0])
        around = (reach[0] <= 0) & (reach[1] >= 0)
        return np.where(around, np.maximum(least * (1 - 1e-12), slope[0]), slope[0]), slope[1]
    if node.op == "integer_pow" and node.int("exponent") >= 1:
        n = node.int("exponent") - 1
        around = (reach[0] <= 0) & (reach[1] >= 0)
        ends = reach[0] ** n, reach[1] ** n
        low = np.where(around, np.minimum(np.minimum(*ends), 0), slope[0])
        high = np.where(around, np.maximum(np.maximum(*ends), 0), slope[1])
        return outward(low, high)
    return slope


def _saturates(ctx: Context, node: Node, whole: Interval) -> bool:
    return ctx.mode.saturating and _bounded(whole)


def _as(node: Node, x: Interval) -> Interval:
    low, high = x
    return np.broadcast_to(low, node.shape), np.broadcast_to(high, node.shape)


# -- Functions of two numbers, choices ------------------------------------------------------------


@rule("maximum", "minimum")
def _extremum(ctx: Context, k: int, node: Node, x: Form, y: Form) -> Form:
    ranges = _ranges(ctx, node, (x, y))
    whole = _as(node, binary(node, *ranges))
    x, y = x.spread(node.shape), y.spread(node.shape)
    if not (x.loops | y.loops).any():
        return interval(whole)
    if _saturates(ctx, node, whole):
        return interval(whole)
    if not (x.loops & y.loops).any():
        signal, other = (x, ranges[1]) if x.loops.any() else (y, ranges[0])
        low, high = _as(node, other)
        harmless = (high <= 0) if node.op == "maximum" else (low >= 0)
        if harmless.all():
            # A bound on the far side of zero: the signal, or less of it.
            zero, one = np.zeros(node.shape), np.ones(node.shape)
            return ctx.scaled(k, node, signal, (zero, one), "")
    return _between(ctx, k, node, x, y)


@rule("select")
def _select(ctx: Context, k: int, node: Node, condition: Form, x: Form, y: Form) -> Form:
    if condition.fixed:
        x, y = x.spread(node.shape), y.spread(node.shape)
        count = max(x.atoms, y.atoms)
        x, y = x.wide(count), y.wide(count)
        chosen = np.broadcast_to(condition.c[0] != 0, node.shape)
        return Form(np.where(chosen, x.c, y.c), np.where(chosen, x.r, y.r))
    first, second = (form.spread(node.shape) for form in (x, y))
    if not (first.loops | second.loops).any():
        if folded(ctx.graph, node, ctx.outside) is not None:
            return interval((np.full(node.shape, -QUARTER), np.full(node.shape, QUARTER)))
        return interval(
            enclosing(
                _given(ctx, node, node.inputs[1], first.base, True),
                _given(ctx, node, node.inputs[2], second.base, False),
            )
        )
    return _between(ctx, k, node, first, second)


def _given(ctx: Context, node: Node, k: int, x: Interval, holds: bool) -> Interval:
    """The range of node k where the condition of a select holds, or does not.

    Known of conditions that compare k with a number: `where(x > 0, x, 1)` is positive.
    """
    test = ctx.graph.nodes[node.inputs[0]]
    if test.op not in _OPPOSITE or k not in test.inputs[:2]:
        return x
    op = test.op if holds else _OPPOSITE[test.op]
    if test.inputs[1] == k:
        op = _MIRRORED[op]
    limit = ctx.graph.nodes[test.inputs[1 if test.inputs[0] == k else 0]]
    if limit.op != "constant":
        return x
    value = float(limit["value"])  # type: ignore[arg-type]
    low, high = x
    if op in ("gt", "ge"):
        low = np.maximum(low, np.nextafter(value, np.inf) if op == "gt" else value)
    else:
        high = np.minimum(high, np.nextafter(value, -np.inf) if op == "lt" else value)
    return np.minimum(low, high), np.maximum(low, high)


_OPPOSITE = {"lt": "ge", "le": "gt", "gt": "le", "ge": "lt"}
_MIRRORED = {"lt": "gt", "le": "ge", "gt": "lt", "ge": "le"}


def _between(ctx: Context, k: int, node: Node, x: Form, y: Form) -> Form:
    """S x + (1 - s) y with s between 0 and 1."""
    if not (x.loops | y.loops).any():
        return interval(enclosing(x.base, y.base))
    if ctx.mode.intervals:
        count = max(x.atoms, y.atoms)
        x, y = x.wide(count), y.wide(count)
        base = interval(enclosing(x.base, y.base))
        middle = 0.5 * (x.c + y.c)
        form = Form(middle, 0.5 * np.abs(x.c - y.c) + np.maximum(x.r, y.r)).without_base()
        return add(form, base)
    base = interval(enclosing(x.base, y.base))
    x, y = x.without_base(), y.without_base()
    zero, one = np.zeros(node.shape), np.ones(node.shape)
    if not y.loops.any():
        return add(ctx.scaled(k, node, x, (zero, one), ""), base)
    if not x.loops.any():
        return add(ctx.scaled(k, node, y, (zero, one), ""), base)
    mean = times(add(x, y), np.full(node.shape, 0.5), 0.0)
    half = times(add(x, y, -1.0), np.full(node.shape, 0.5), 0.0)
    return add(add(mean, ctx.scaled(k, node, half, (-one, one), "")), base)


@rule("max", "min")
def _reduction(ctx: Context, k: int, node: Node, x: Form) -> Form:
    op = "maximum" if node.op == "max" else "minimum"
    axes = node.ints("axes")
    kept = [a for a in range(len(x.shape)) if a not in axes]
    order = [*axes, *kept]
    rows = len(x.c)
    shape = (rows, -1, *node.shape)

    def laid(v: np.ndarray) -> np.ndarray:
        return v.transpose(0, *(a + 1 for a in order)).reshape(shape)

    c, r = laid(x.c), laid(x.r)
    parts = [Form(c[:, i], r[:, i]) for i in range(c.shape[1])]
    if not x.loops.any():
        lows, highs = zip(*(p.base for p in parts), strict=True)
        choose = np.max if node.op == "max" else np.min
        return interval((choose(lows, 0), choose(highs, 0)))
    found = parts[0]
    pair = Node(op, (k, k), node.type, (), node.name)
    for part in parts[1:]:
        found = _between(ctx, k, pair, found, part)
    return found


@rule("prod")
def _prod(ctx: Context, k: int, node: Node, x: Form) -> Form:
    low, high = ctx.range_of(node.inputs[0], x)
    axes = node.ints("axes")
    size = np.prod(np.maximum(np.abs(low), np.abs(high)), axes)
    positive = (low >= 0).all(axes)
    found = interval(outward(np.where(positive, np.prod(np.maximum(low, 0), axes), -size), size))
    if x.loops.any() and not _bounded(found.base):
        raise UnprovenError(k, "it multiplies signals of the loop that are not known to be bounded")
    return found


@rule(*REAL_BINARY, "rem")
def _pair(ctx: Context, k: int, node: Node, x: Form, y: Form) -> Form:
    if node.op == "rem" and x.loops.any() and not y.loops.any():
        # x less a whole number of y: bounded by y.
        size = np.maximum(*(np.abs(b) for b in y.base))
        return interval(_as(node, (-size, size)))
    found = _as(node, binary(node, *_ranges(ctx, node, (x, y))))
    if (x.loops.any() or y.loops.any()) and not _bounded(found):
        raise UnprovenError(k, f"{node.op} of a signal of the loop is not known to be bounded")
    return interval(found)


@rule(*COMPARISONS)
def _comparison(ctx: Context, k: int, node: Node, *xs: Form) -> Form:
    return interval((np.zeros(node.shape), np.ones(node.shape)))


@rule(*LOGIC, *SHIFTS, "not")
def _bits(ctx: Context, k: int, node: Node, *xs: Form) -> Form:
    if node.type.kind == "bool":
        return _comparison(ctx, k, node)
    every = _ranges(ctx, node, xs)
    low, high = every[0]
    if node.op == "and":
        # A mask that is not negative bounds what it leaves.
        bounds = [b[1] for b in every if (b[0] >= 0).all()]
        if bounds:
            least = np.min(np.stack([np.broadcast_to(b, node.shape) for b in bounds]), 0)
            return interval((np.zeros(node.shape), least))
    if node.op.startswith("shift_right") and xs[1].fixed and (xs[1].c[0] >= 0).all():
        scale = 2.0 ** -np.minimum(xs[1].c[0], 31)
        if node.op == "shift_right_arithmetic" or (low >= 0).all():
            return interval(_as(node, (np.floor(low * scale), np.floor(high * scale))))
        top = np.where(xs[1].c[0] > 0, np.floor((2.0**32 - 1) * scale), INT[1])
        bottom = np.where(xs[1].c[0] > 0, 0.0, INT[0])
        return interval(_as(node, (bottom, top)))
    return interval(_as(node, (np.asarray(INT[0]), np.asarray(INT[1]))))


@rule("convert")
def _convert(ctx: Context, k: int, node: Node, x: Form) -> Form:
    low, high = ctx.range_of(node.inputs[0], x)
    if node.type.kind == "bool":
        return _comparison(ctx, k, node)
    if node.type.kind == "int":
        return interval((np.trunc(low), np.trunc(high)))
    return x if not x.loops.any() else interval((low, high))


@rule("lookup")
def _lookup(ctx: Context, k: int, node: Node, table: Form, index: Form) -> Form:
    if not table.loops.any():
        low, high = table.base
        first, last = (np.clip(b, 0, len(low) - 1).astype(int) for b in index.base)
        rows = slice(int(first.min(initial=0)), int(last.max(initial=0)) + 1)
        bounds = low[rows].min(0), high[rows].max(0)
        return interval(_as(node, bounds))
    parts = [Form(table.c[:, i], table.r[:, i]).spread(node.shape) for i in range(table.shape[0])]
    found = parts[0]
    for part in parts[1:]:
        found = _between(ctx, k, node, found, part)
    return found


# -- Time -----------------------------------------------------------------------------------------


@rule("delay")
def _delay(ctx: Context, k: int, node: Node, x: Form | None, initial: Form | None = None) -> Form:
    samples = np.array(node.ints("samples"), np.int64).reshape(node.shape)
    start = np.zeros(node.shape)
    if initial is not None:
        start = np.abs(initial.c[0]).max(0, initial=0.0)
    if x is None:
        form = ctx.make(
            "delay", node, k, node.inputs[0], np.ones(node.shape, bool),
            delays=samples.ravel(), injected=start.ravel(),
        )  # fmt: skip
        return form
    if not x.loops.any() and not samples.any():
        return x
    at_once = samples == 0
    low, high = x.base
    rest = interval((np.where(at_once, low, np.minimum(low, -start)),
                     np.where(at_once, high, np.maximum(high, start))))  # fmt: skip
    if not x.loops.any():
        return rest
    inner = x.without_base()
    which = x.loops & ~at_once
    direct = Form(np.where(at_once, inner.c, 0), np.where(at_once, inner.r, 0))
    if not which.any():
        return add(direct, rest)
    places = np.flatnonzero(which)
    late = ctx.make("delay", node, k, inner, which, delays=samples.ravel()[places])
    return add(add(direct, late), rest)


@rule("variable_delay")
def _variable_delay(ctx: Context, k: int, node: Node, x: Form | None, lengths: Form) -> Form:
    least, most = node.int("minimum"), node.int("maximum")
    low, high = (np.clip(b, least, most) for b in ctx.range_of(node.inputs[1], lengths))
    spans = np.stack([np.broadcast_to(b, node.shape).ravel() for b in (low, high)], 1)
    if x is None:
        everywhere = np.ones(node.shape, bool)
        return ctx.make("moving", node, k, node.inputs[0], everywhere, delays=spans)
    below, above = x.base
    rest = interval((np.minimum(below, 0), np.maximum(above, 0)))
    if not x.loops.any():
        return rest
    inner = x.without_base()
    places = np.flatnonzero(x.loops)
    return add(ctx.make("moving", node, k, inner, x.loops, delays=spans[places]), rest)


@rule("fir")
def _fir(ctx: Context, k: int, node: Node, x: Form, taps: Form) -> Form:
    return _filtered(ctx, k, node, "taps", x, taps_of(taps.c[0]))


@rule("iir")
def _iir(ctx: Context, k: int, node: Node, x: Form, b: Form, a: Form, *state: Form) -> Form:
    kind = "sections" if len(b.c[0]) <= 3 else "rational"
    return _filtered(ctx, k, node, kind, x, rationals_of(b.c[0], a.c[0]), *state)


@rule("sos")
def _sos(ctx: Context, k: int, node: Node, x: Form, sos: Form, *state: Form) -> Form:
    return _filtered(ctx, k, node, "sections", x, cascades_of(sos.c[0]), *state)


Filter = tuple[np.ndarray, np.ndarray]
"""Numerators and denominators (sections, terms) of one channel's cascade."""


def taps_of(taps: np.ndarray) -> list[Filter]:
    """Each channel's FIR."""
    flat = taps.reshape(len(taps), -1)
    return [(flat[None, :, i], np.ones((1, 1))) for i in range(flat.shape[1])]


def rationals_of(b: np.ndarray, a: np.ndarray) -> list[Filter]:
    """Each channel's numerator and denominator."""
    b, a = b.reshape(len(b), -1), a.reshape(len(a), -1)
    return [(b[None, :, i], a[None, :, i]) for i in range(b.shape[1])]


def cascades_of(sos: np.ndarray) -> list[Filter]:
    """Each channel's sections."""
    flat = sos.reshape(len(sos), 6, -1)
    return [(flat[:, :3, i], flat[:, 3:, i]) for i in range(flat.shape[2])]


def _filtered(
    ctx: Context, k: int, node: Node, kind: str, x: Form, each: list[Filter], *state: Form
) -> Form:
    starts = _started(kind, each, state)
    low, high = (np.minimum(x.base[0], 0).ravel(), np.maximum(x.base[1], 0).ravel())
    bounds = np.zeros((2, len(each)))
    for i, (b, a) in enumerate(each):
        if low[i] == 0 == high[i] and not starts[i]:
            continue
        up, down = (np.asarray(v) for v in absolute(kind, b, a))
        around = np.asarray(low[i]), np.asarray(high[i])
        ranges = [product((up, up), around), product((-down, -down), around)]
        bounds[0, i] = min(sum(float(r[0]) for r in ranges), 0.0)
        bounds[1, i] = max(sum(float(r[1]) for r in ranges), 0.0)
        bounds[:, i] += np.array([-1, 1]) * starts[i]
    rest = interval((bounds[0].reshape(node.shape), bounds[1].reshape(node.shape)))
    if not x.loops.any():
        return rest
    places = np.flatnonzero(x.loops)
    made = ctx.make(kind, node, k, x.without_base(), x.loops, filters=[each[i] for i in places])
    return add(made, rest)


def _started(kind: str, each: list[Filter], state: tuple[Form, ...]) -> np.ndarray:
    """What initial states add to each channel's output at most.

    A state of the transposed direct form enters behind the numerator, which has been divided by
    a_0 before, and passes the sections that follow.
    """
    found = np.zeros(len(each))
    if not state or not state[0].c[0].any():
        return found
    values = np.abs(state[0].c[0])
    values = (
        values[None] if kind == "rational" or (values.ndim and len(each[0][0]) == 1) else values
    )
    sections = len(each[0][0])
    sums = values.reshape(sections, -1, len(each)).sum(1)
    for i, (b, a) in enumerate(each):
        after = 1.0
        for section in reversed(range(sections)):
            one = np.eye(1, a.shape[1])
            free = sum(absolute(kind, one, a[section : section + 1] / a[section, 0]))
            found[i] += sums[section, i] * free * after
            after *= sum(absolute(kind, b[section : section + 1], a[section : section + 1]))
    return found


def absolute(kind: str, b: np.ndarray, a: np.ndarray) -> tuple[float, float]:
    """The sums of the positive and of the negative part of an impulse response.

    Kept for the next time: the same filter is asked for with each range that enters it.
    """
    b, a = np.ascontiguousarray(b, float), np.ascontiguousarray(a, float)
    return _absolute(kind, b.tobytes(), b.shape, a.tobytes(), a.shape)


@lru_cache(maxsize=4096)
def _absolute(
    kind: str, top: bytes, rows: tuple[int, ...], bottom: bytes, columns: tuple[int, ...]
) -> tuple[float, float]:
    b, a = np.frombuffer(top).reshape(rows), np.frombuffer(bottom).reshape(columns)
    if kind == "taps":
        h = b[0]
        slack = 1 + len(h) * 2.0**-52
        return float(h[h > 0].sum()) * slack, float(-h[h < 0].sum()) * slack
    inside = (
        filters.sections_inside(filters.as_sections(b, a))
        if kind == "sections"
        else all(filters.poles_inside(q) for q in a)
    )
    return filters.absolute_sums(b, a) if inside else (np.inf, np.inf)
