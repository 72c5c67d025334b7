"""What each operation makes of ranges and slopes over boxes: the chain rule, rounded outwards."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from ir.certificate.intervals import (
    DOMAINS,
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
from ir.graph import Graph, Node
from ir.interpreter import per_sample
from ir.ops.elementwise import COMPARISONS, REAL_FUNCTIONS


@dataclass(frozen=True, slots=True)
class Scope:
    """The graph, and by how much a multiplier in it may be off, relatively."""

    graph: Graph
    tolerance: float


@dataclass(frozen=True, slots=True, eq=False)
class Reach:
    """Of one node: ranges (boxes, channels), and of the slopes (boxes, variables, channels)."""

    value: Interval
    slope: Interval

    @property
    def heard(self) -> np.ndarray:
        """Which variables matter."""
        return (self.slope[0] != 0) | (self.slope[1] != 0)


Rule = Callable[[Scope, Node, Sequence[Reach]], Reach | None]
RULES: dict[str, Rule] = {}
"""What is not in here, or gives None, is taken for a number that may be anything in its range."""


rule = registrar(RULES)
"""Registers the rule of some operations."""


def none(boxes: int, count: int, size: int) -> Interval:
    """Slopes of what hears no variable."""
    nothing = np.zeros((boxes, count, size))
    return nothing, nothing


def wrapped(x: Reach) -> Reach:
    """Integers of 32 bits: what could leave their range may be any."""
    low, high = x.value
    fits = (low >= INT[0]) & (high <= INT[1])
    value = np.where(fits, np.ceil(low), INT[0]), np.where(fits, np.floor(high), INT[1])
    return Reach(value, _where(fits, x.slope, _wild(x.heard)))


def _where(which: np.ndarray, x: Interval, y: Interval) -> Interval:
    """For slopes: of x where `which`, (boxes, channels), holds; else of y."""
    at = which[:, None]
    return np.where(at, x[0], y[0]), np.where(at, x[1], y[1])


def _wild(heard: np.ndarray) -> Interval:
    """Slopes of what may jump wherever it hears a variable."""
    return np.where(heard, -np.inf, 0.0), np.where(heard, np.inf, 0.0)


def _hull(x: Interval, y: Interval) -> Interval:
    return np.minimum(x[0], y[0]), np.maximum(x[1], y[1])


def _sum(x: Interval, y: Interval) -> Interval:
    return outward(x[0] + y[0], x[1] + y[1])


def _times(x: Interval, slope: Interval) -> Interval:
    """(boxes, channels) times slopes."""
    return product((x[0][:, None], x[1][:, None]), slope)


def _off(f: Scope, x: Reach) -> Reach:
    """By as much as a multiplier may be off."""
    if not f.tolerance:
        return x
    by = np.float64(1 - f.tolerance), np.float64(1 + f.tolerance)
    return Reach(product(x.value, by), product(x.slope, by))  # type: ignore[arg-type]


# -- Rules ----------------------------------------------------------------------------------------


@rule("add", "sub")
def _add(f: Scope, node: Node, inputs: Sequence[Reach]) -> Reach:
    x, y = inputs
    if node.op == "sub":
        y = _negative(y)
    return Reach(_sum(x.value, y.value), _sum(x.slope, y.slope))


@rule("neg")
def _neg(f: Scope, node: Node, inputs: Sequence[Reach]) -> Reach:
    return _negative(inputs[0])


def _negative(x: Reach) -> Reach:
    return Reach((-x.value[1], -x.value[0]), (-x.slope[1], -x.slope[0]))


@rule("mul")
def _mul(f: Scope, node: Node, inputs: Sequence[Reach]) -> Reach:
    x, y = inputs
    if node.inputs[0] == node.inputs[1]:
        squared = Node("integer_pow", node.inputs[:1], node.type, (("exponent", 2),))
        found = _function(squared, x)
    else:
        found = _product(x, y)
    return _off(f, found) if node.type.kind == "real" else found


def _product(x: Reach, y: Reach) -> Reach:
    return Reach(
        product(x.value, y.value), _sum(_times(x.value, y.slope), _times(y.value, x.slope))
    )


@rule("div")
def _div(f: Scope, node: Node, inputs: Sequence[Reach]) -> Reach | None:
    x, y = inputs
    if node.type.kind != "real":
        return None
    inverse = reciprocal(y.value)
    value = product(x.value, inverse)
    # (x / y)' = (x' - (x / y) y') / y
    down, up = _times(value, y.slope)
    return _off(f, Reach(value, _times(inverse, _sum(x.slope, (-up, -down)))))


@rule(*REAL_FUNCTIONS, "abs", "sign", "integer_pow")
def _unary(f: Scope, node: Node, inputs: Sequence[Reach]) -> Reach | None:
    if node.type.kind != "real" and node.op not in ("abs", "sign"):
        return None
    return _function(node, inputs[0])


def _function(node: Node, x: Reach) -> Reach:
    low, high = DOMAINS.get(node.op, (-np.inf, np.inf))
    outside = (x.value[0] < low) | (x.value[1] > high)
    inner = tuple(np.where(outside, min(max(1.0, low), high), b) for b in x.value)
    value = unary(node, inner)  # type: ignore[arg-type]
    value = np.where(outside, -np.inf, value[0]), np.where(outside, np.inf, value[1])
    if node.op in ("floor", "ceil", "round", "sign"):
        return Reach(value, _where(value[0] == value[1], none(*x.slope[0].shape), _wild(x.heard)))
    steep = slopes(node, inner)  # type: ignore[arg-type]
    steep = np.where(outside, -np.inf, steep[0]), np.where(outside, np.inf, steep[1])
    return Reach(value, _times(steep, x.slope))


@rule("maximum", "minimum")
def _extremum(f: Scope, node: Node, inputs: Sequence[Reach]) -> Reach:
    x, y = inputs
    value = binary(node, x.value, y.value)
    first, second = x.value[0] >= y.value[1], y.value[0] >= x.value[1]
    if node.op == "minimum":
        first, second = second, first
    return Reach(value, _where(first, x.slope, _where(second, y.slope, _hull(x.slope, y.slope))))


@rule("select")
def _select(f: Scope, node: Node, inputs: Sequence[Reach]) -> Reach:
    condition, x, y = inputs
    yes, no = condition.value[0] > 0, condition.value[1] < 1
    between, steep = _hull(x.value, y.value), _hull(x.slope, y.slope)
    value = tuple(
        np.where(yes, a, np.where(no, b, c))
        for a, b, c in zip(x.value, y.value, between, strict=True)
    )
    # Where it switches, it may jump.
    jump = _wild(condition.heard)
    steep = np.where(jump[0] < 0, jump[0], steep[0]), np.where(jump[1] > 0, jump[1], steep[1])
    return Reach(value, _where(yes, x.slope, _where(no, y.slope, steep)))  # type: ignore[arg-type]


def _decided(yes: np.ndarray, no: np.ndarray, heard: np.ndarray) -> Reach:
    value = np.where(yes, 1.0, 0.0), np.where(no, 0.0, 1.0)
    slope = _wild(heard)
    return Reach(value, _where(yes | no, none(*slope[0].shape), slope))


@rule(*COMPARISONS)
def _comparison(f: Scope, node: Node, inputs: Sequence[Reach]) -> Reach:
    x, y = inputs
    yes, no = decided(node.op, x.value, y.value)
    return _decided(yes, no, x.heard | y.heard)


def decided(op: str, x: Interval, y: Interval) -> tuple[np.ndarray, np.ndarray]:
    """Where a comparison always holds, and where it never does."""
    if op in ("lt", "le"):
        op, x, y = {"lt": "gt", "le": "ge"}[op], y, x
    if op == "gt":
        return x[0] > y[1], x[1] <= y[0]
    if op == "ge":
        return x[0] >= y[1], x[1] < y[0]
    apart = (x[0] > y[1]) | (x[1] < y[0])
    same = (x[0] == x[1]) & (y[0] == y[1]) & (x[0] == y[0])
    return (same, apart) if op == "eq" else (apart, same)


@rule("and", "or", "xor", "not")
def _logic(f: Scope, node: Node, inputs: Sequence[Reach]) -> Reach | None:
    if node.type.kind != "bool":
        return None
    low, high = (x.value[0] > 0 for x in inputs), (x.value[1] < 1 for x in inputs)
    yes, no = list(low), list(high)
    heard = np.any([np.broadcast_arrays(*(x.heard for x in inputs))], (0, 1))
    if node.op == "not":
        return _decided(no[0], yes[0], heard)
    if node.op == "and":
        return _decided(yes[0] & yes[1], no[0] | no[1], heard)
    if node.op == "or":
        return _decided(yes[0] | yes[1], no[0] & no[1], heard)
    return _decided((yes[0] & no[1]) | (no[0] & yes[1]), (yes[0] & yes[1]) | (no[0] & no[1]), heard)


@rule("convert")
def _convert(f: Scope, node: Node, inputs: Sequence[Reach]) -> Reach | None:
    (x,) = inputs
    from_ = f.graph.nodes[node.inputs[0]].type.kind
    if node.type.kind == "bool":
        return None
    if node.type.kind == "real" or from_ != "real":
        return x
    value = np.trunc(x.value[0]), np.trunc(x.value[1])
    return Reach(value, _where(value[0] == value[1], none(*x.slope[0].shape), _wild(x.heard)))


@rule("reshape", "transpose", "broadcast", "slice", "take")
def _moved(f: Scope, node: Node, inputs: Sequence[Reach]) -> Reach:
    (x,) = inputs
    shape = f.graph.nodes[node.inputs[0]].shape
    index = np.arange(int(np.prod(shape))).reshape(shape)
    plain = Node(node.op, node.inputs, type(node.type)(node.shape), node.attributes)
    at = np.asarray(per_sample(plain)(index)).ravel()
    return Reach(*(tuple(b[..., at] for b in part) for part in (x.value, x.slope)))  # type: ignore


@rule("concatenate")
def _concatenate(f: Scope, node: Node, inputs: Sequence[Reach]) -> Reach:
    shapes = [f.graph.nodes[s].shape for s in node.inputs]
    starts = np.cumsum([0, *(int(np.prod(s)) for s in shapes)])
    at = np.concatenate(
        [start + np.arange(int(np.prod(s))).reshape(s)
         for start, s in zip(starts, shapes, strict=False)], node.int("axis"),
    ).ravel()  # fmt: skip
    parts = [
        tuple(np.concatenate([getattr(x, name)[e] for x in inputs], -1)[..., at] for e in (0, 1))
        for name in ("value", "slope")
    ]
    return Reach(*parts)  # type: ignore[arg-type]


@rule("sum")
def _total(f: Scope, node: Node, inputs: Sequence[Reach]) -> Reach:
    (x,) = inputs
    shape, axes = f.graph.nodes[node.inputs[0]].shape, node.ints("axes")
    value, slope = (_summed(part, shape, axes) for part in (x.value, x.slope))
    return Reach(value, slope)


def _summed(x: Interval, shape: tuple[int, ...], axes: Sequence[int]) -> Interval:
    lead = x[0].shape[:-1]
    full = [np.broadcast_to(b, (*lead, int(np.prod(shape)))).reshape(*lead, *shape) for b in x]
    at = tuple(len(lead) + a for a in axes)
    terms = int(np.prod([shape[a] for a in axes])) if axes else 1
    size = np.maximum(np.abs(full[0]), np.abs(full[1])).sum(at)
    spare = terms * 2.0**-52 * np.where(np.isfinite(size), size, 0.0)
    low, high = outward(full[0].sum(at) - spare, full[1].sum(at) + spare)
    size = (*lead, int(np.prod([n for a, n in enumerate(shape) if a not in axes])))
    return low.reshape(size), high.reshape(size)


@rule("einsum")
def _einsum(f: Scope, node: Node, inputs: Sequence[Reach]) -> Reach:
    operands, result = node.text("subscripts").split("->")
    parts = operands.split(",")
    letters = "".join(dict.fromkeys(operands.replace(",", "")))
    shapes = [f.graph.nodes[s].shape for s in node.inputs]
    sizes = {
        c: n for part, s in zip(parts, shapes, strict=True) for c, n in zip(part, s, strict=True)
    }
    order = list(result) + [c for c in letters if c not in result]
    shape = tuple(sizes[c] for c in order)
    laid = [
        _laid(x, part, order, shape, s) for x, part, s in zip(inputs, parts, shapes, strict=True)
    ]
    found = _off(f, _product(laid[0], laid[1]))
    axes = range(len(result), len(order))
    return Reach(_summed(found.value, shape, axes), _summed(found.slope, shape, axes))


def _laid(
    x: Reach, part: str, order: Sequence[str], shape: tuple[int, ...], own: tuple[int, ...]
) -> Reach:
    """Every channel at its place among all products."""
    index = np.arange(int(np.prod(own))).reshape(own)
    index = index.transpose(sorted(range(len(part)), key=lambda a: order.index(part[a])))
    index = index.reshape([n if c in part else 1 for c, n in zip(order, shape, strict=True)])
    at = np.broadcast_to(index, shape).ravel()
    return Reach(*(tuple(b[..., at] for b in half) for half in (x.value, x.slope)))  # type: ignore
