"""Where an operation may give no number: a square root of a negative one, 0 / 0, inf - inf."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from ir.certificate.intervals import DOMAINS, Interval
from ir.graph import Graph, Node

HARMLESS = frozenset(
    ("abs", "neg", "sign", "maximum", "minimum", "max", "min", "select", "atan", "tanh", "logistic",
     "erf", "erfc", "exp", "exp2", "expm1", "asinh", "sinh", "cosh", "cbrt", "floor", "ceil",
     "round", "log", "log1p", "sqrt", "rsqrt", "reshape", "transpose", "broadcast", "slice", "take",
     "concatenate", "delay", "variable_delay", "lookup", "atan2", "acosh")
)  # fmt: skip
"""What gives a number, or an infinity, even for infinite arguments within its domain."""
SLACK = 64 * 2.0**-52


def _holds_zero(x: Interval) -> np.ndarray:
    return (x[0] <= 0) & (x[1] >= 0)


def _unbounded(x: Interval) -> np.ndarray:
    return ~(np.isfinite(x[0]) & np.isfinite(x[1]))


def _quotient(node: Node, x: Interval, y: Interval) -> str:
    if not _holds_zero(y).any():
        return ""
    if node.type.kind == "int":
        return "it may divide an integer by zero"
    both = np.broadcast_arrays(_holds_zero(x), _holds_zero(y))
    return "it may divide zero by zero" if (both[0] & both[1]).any() else ""


def _remainder(node: Node, x: Interval, y: Interval) -> str:
    return "it may divide by zero" if _holds_zero(y).any() else ""


def _power(node: Node, x: Interval, y: Interval) -> str:
    return "it may raise a negative number to a power" if (x[0] < 0).any() else ""


PARTIAL: dict[str, Callable[[Node, Interval, Interval], str]] = {
    "div": _quotient,
    "rem": _remainder,
    "pow": _power,
}


def guarded(graph: Graph, k: int) -> float:
    """A least absolute value of `where(|d| < e, c, d)`, min(e, |c|); of anything else, 0.

    In place of d there may be |a| + |b| where d is a - b.
    """
    nodes = graph.nodes
    node = nodes[k]
    if node.op in ("reshape", "broadcast", "transpose"):
        return guarded(graph, node.inputs[0])
    if node.op != "select":
        return 0.0
    test = nodes[node.inputs[0]]
    if test.op not in ("lt", "le", "gt", "ge") or nodes[test.inputs[1]].op != "constant":
        return 0.0
    near, far = node.inputs[1:] if test.op in ("lt", "le") else node.inputs[:0:-1]
    size, other = nodes[test.inputs[0]], nodes[near]
    if size.op != "abs" or not _as_large(graph, far, size.inputs[0]) or other.op != "constant":
        return 0.0
    limit, value = (float(nodes[i]["value"]) for i in (test.inputs[1], near))  # type: ignore
    return max(min(limit, abs(value)), 0.0)


def _as_large(graph: Graph, k: int, d: int) -> bool:
    """Whether node k has at least the absolute value of node d."""
    if k == d:
        return True
    sum_, difference = graph.nodes[k], graph.nodes[d]
    if sum_.op != "add" or difference.op != "sub":
        return False
    parts = [graph.nodes[i] for i in sum_.inputs]
    return all(p.op == "abs" for p in parts) and sorted(p.inputs[0] for p in parts) == sorted(
        difference.inputs
    )


def failure(graph: Graph, k: int, ranges: Sequence[Interval]) -> str:
    """Why node k may give no number for inputs in those ranges; empty if it always gives one."""
    node = graph.nodes[k]
    if node.type.kind == "bool" or not ranges:
        return ""
    if node.op in DOMAINS:
        low, high = DOMAINS[node.op]
        # What this analysis itself rounds is not held against the program.
        slack = SLACK * np.fmax(np.abs(ranges[0][0]), np.abs(ranges[0][1]))
        slack = np.where(np.isfinite(slack), slack, 0.0)
        if (ranges[0][0] < low - slack).any() or (ranges[0][1] > high + slack).any():
            return f"the argument of {node.op} may leave {low:g} to {high:g}"
    if node.op == "div" and guarded(graph, node.inputs[1]):
        pass
    elif node.op in PARTIAL:
        found = PARTIAL[node.op](node, ranges[0], ranges[1])
        if found:
            return found
    if node.type.kind == "int" or node.op in HARMLESS:
        return ""
    infinite = [r for r in ranges if _unbounded(r).any()]
    if not infinite:
        return ""
    alone = len(infinite) == 1
    if alone and node.op in ("mul", "div"):
        rest = [r for r in ranges if not _unbounded(r).any()]
        if all((r[0] == r[1]).all() and (r[0] != 0).all() for r in rest):
            return ""
    return "" if alone and node.op in ("add", "sub") else "an argument may be infinite"
