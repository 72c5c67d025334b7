"""What is known of signals without running them: how fast a loop can grow, how small a value gets.

Each signal of a loop is bounded by b + s P, with P the largest value that any delay of the loop
holds. A loop whose delays take in s ≤ 1 at most gains at most b a sample: it cannot run away, and a
gated cell or an envelope follower, s ≤ 1 by its gates, needs no guard to stay finite.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

from ir.cycles import order
from ir.graph import Node, Program
from ir.ops import parse_subscripts


class Growth(NamedTuple):
    """|v| ≤ b + s P; infinite where it is not known."""

    b: float
    s: float


BOUNDED = {
    "tanh": 1.0,
    "logistic": 1.0,
    "sin": 1.0,
    "cos": 1.0,
    "erf": 1.0,
    "sign": 1.0,
    "atan": 1.6,
}
"""Functions that are bounded, and by what."""
MOVING = frozenset(
    {"neg", "abs", "reshape", "transpose", "broadcast", "slice", "concatenate", "take", "delay"}
    | {"variable_delay", "maximum", "minimum", "max", "min", "select", "convert", "lookup"}
)
"""Operations of which the result is at most as large as the largest operand."""
UNKNOWN = Growth(math.inf, 0.0)
LIMIT = 2.0**20
"""Of what passes the guard of an input."""


def runs_away(program: Program, group: Sequence[int]) -> bool:
    """Whether nothing shows that a loop grows by less than a constant at each sample.

    Args:
        program: A graph and its numbers.
        group: The nodes of the loop.
    """
    graph = program.graph
    delays = {k for k in group if graph.nodes[k].op in ("delay", "variable_delay")}
    found = _all(program, dict.fromkeys(delays, Growth(0.0, 1.0)))
    return not all(found[graph.nodes[k].inputs[0]].s <= 1 for k in delays)


def largest(program: Program, loops: Iterable[int]) -> dict[int, float]:
    """A bound on each node's magnitude, ∞ where none is known, such as for nodes of loops."""
    found = _all(program, dict.fromkeys(loops, UNKNOWN))
    return {k: growth.b for k, growth in found.items()}


def _all(program: Program, known: dict[int, Growth]) -> dict[int, Growth]:
    graph = program.graph
    found = dict(known)
    for k in order(graph):
        if k not in found:
            node = graph.nodes[k]
            found[k] = _growth(program, node, [found[i] for i in node.inputs if i in found])
    return found


def least(program: Program) -> dict[int, float]:
    """A lower bound for each node that reads no later one, -∞ where none is known."""
    found: dict[int, float] = {}
    for k, node in program.graph:
        xs = [found.get(i, -math.inf) for i in node.inputs]
        found[k] = _least(program, node, xs)
    return found


def _least(program: Program, node: Node, xs: list[float]) -> float:
    if node.op == "coefficient":
        return min(map(float, program.coefficients[node.text("slot")].flat), default=math.inf)
    if node.op == "constant":
        return float(node["value"])  # type: ignore[arg-type]
    if node.op == "control":
        return float(node["minimum"])  # type: ignore[arg-type]
    if node.op == "maximum":
        return max(xs)
    if node.op in ("abs", "sqrt", "exp", "exp2", "logistic"):
        return 0.0
    if node.op == "integer_pow" and node.int("exponent") % 2 == 0:
        return 0.0
    if node.op in ("add", "minimum", "max", "min", "reshape", "broadcast", "concatenate", "select"):
        values = xs[1:] if node.op == "select" else xs
        return sum(values) if node.op == "add" else min(values)
    if node.op in ("mul", "einsum", "sum") and min(xs) >= 0:
        return 0.0
    return -math.inf


def _growth(program: Program, node: Node, xs: list[Growth]) -> Growth:
    if node.op == "coefficient":
        return Growth(float(np.abs(program.coefficients[node.text("slot")]).max(initial=0.0)), 0.0)
    if node.op == "constant":
        return Growth(abs(float(node["value"])), 0.0)  # type: ignore[arg-type]
    if node.op == "control":
        return Growth(max(abs(float(node[k])) for k in ("minimum", "maximum")), 0.0)  # type: ignore
    if node.op == "input" and node.type.kind == "real":
        return Growth(LIMIT, 0.0)
    if node.type.kind == "int":
        return Growth(2.0**31, 0.0)
    if node.op in BOUNDED or node.type.kind == "bool":
        return Growth(BOUNDED.get(node.op, 1.0), 0.0)
    if node.op in MOVING and len(xs) == len(node.inputs):
        return Growth(max(x.b for x in xs), max(x.s for x in xs))
    if node.op in ("add", "sub"):
        return Growth(sum(x.b for x in xs), sum(x.s for x in xs))
    if node.op == "sum":
        many = program.graph.nodes[node.inputs[0]].type.size / max(1, node.type.size)
        return Growth(xs[0].b * many, xs[0].s * many)
    if node.op in ("mul", "einsum"):
        many = _terms(program, node) if node.op == "einsum" else 1
        return _product(*xs, many=many)
    return UNKNOWN if all(x.s == 0 for x in xs) else Growth(math.inf, math.inf)


def _product(x: Growth, y: Growth, many: float) -> Growth:
    def times(a: float, b: float) -> float:
        return 0.0 if a == 0 or b == 0 else a * b

    s = math.inf if x.s and y.s else times(x.b, y.s) + times(x.s, y.b)
    return Growth(times(x.b, y.b) * many, s * many)


def _terms(program: Program, node: Node) -> int:
    """How many products each sum of an `einsum` has."""
    *terms, result = parse_subscripts(node.text("subscripts"))
    sizes = {
        letter: n
        for term, k in zip(terms, node.inputs, strict=True)
        for letter, n in zip(term, program.graph.nodes[k].shape, strict=True)
    }
    return math.prod(n for letter, n in sizes.items() if letter not in result)


__all__ = ["largest", "least", "runs_away"]
