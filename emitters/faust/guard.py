"""What keeps bad samples out of states: one NaN that gets into a loop never leaves it.

A sample that is no number, infinite, or 2^20 and more (120 dB above full scale) becomes zero where
it enters; all others pass with every bit. Behind that, what is linear and stable stays finite, and
so does a loop that grows by a constant a sample at most. What else there is can make such numbers
of good ones (the logarithm of less than zero, an unstable cubic), so other loops, and those that
hear what may be no number, are guarded where they go back, and recursive filters where they take
in such a signal.

The comparisons are strict, two, and choose the sample where they hold: libfaust tells LLVM that
there are no NaNs, and so may those who compile its C++, after which `abs(x) <= limit` holds of one,
and `x == x` always. A strict x > -limit fails for NaN on x86 and ARM, in scalars and vectors,
whether the compiler minds NaN or not.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby

import numpy as np

from emitters.faust.growth import largest, least, runs_away
from ir.cycles import components, is_loop
from ir.graph import Graph, Node, Program
from ir.linearity import LINEAR, SCALED, fixed_nodes

HELPERS = {
    "guard": """\
// The sample, or zero where it is NaN, infinite, or 120 dB above full scale. Strict comparisons
// that must hold: other forms let NaN through, where the compiler is told that there is none.
guard(x) = select2((x > -1048576.0) & (x < 1048576.0), 0.0, x);
""",
    "finite": """\
// The same for what goes back in a loop, or into a filter, and may become no number on the way.
finite(x) = select2((x > -18446744073709551616.0) & (x < 18446744073709551616.0), 0.0, x);
""",
}
"""Definitions in FAUST."""

RISKY = frozenset({"log1p", "tan", "asin", "acos", "acosh", "atanh", "pow", "rem"})
"""Operations that can make NaN or infinity of finite numbers, besides those that need a positive
one, those that need a moderate one, and `integer_pow` where it divides."""
EXPONENTIAL, EXPONENT = frozenset({"exp", "exp2", "expm1", "sinh", "cosh"}), 80.0
"""The latter, and up to where single precision holds them."""


@dataclass(frozen=True, slots=True)
class Guards:
    """Where guards stand inside a program.

    Attributes:
        loops: Nodes that are guarded where they go back in a loop.
        filters: Recursive filters that are guarded where they take their signal in.
    """

    loops: frozenset[int] = frozenset()
    filters: frozenset[int] = frozenset()


def guards(program: Program) -> Guards:
    """Finds what needs guards inside, given that all inputs are guarded."""
    graph = program.graph
    fixed = fixed_nodes(graph, knobs=True)
    edges = _edges(graph)
    loops = [g for g in components(range(len(graph.nodes)), edges) if is_loop(g, edges)]
    wild = _wild(program, fixed, {k for group in loops for k in group})
    guarded: set[int] = set()
    for group in loops:
        members = set(group)
        hears = {s for k in group for s in graph.nodes[k].inputs} | members
        linear = all(_is_linear(graph.nodes[k], members) for k in group)
        if not wild.isdisjoint(hears) or (not linear and runs_away(program, group)):
            guarded |= members
    filters = (k for k, node in graph if node.op in ("iir", "sos") and node.inputs[0] in wild)
    return Guards(frozenset(guarded), frozenset(filters))


def guards_for_any(program: Program) -> Guards:
    """What needs guards whatever the coefficients are: all loops, which may become unstable."""
    graph = program.graph
    unknown = {
        slot: np.full(value.shape, -np.inf) if value.dtype.kind == "f" else value
        for slot, value in program.coefficients.items()
    }
    edges = _edges(graph)
    loops = [g for g in components(range(len(graph.nodes)), edges) if is_loop(g, edges)]
    found = guards(replace(program, coefficients=unknown))
    return Guards(frozenset(k for group in loops for k in group), found.filters)


def _is_linear(node: Node, members: set[int]) -> bool:
    """Whether a node of a loop is linear in the loop's signals.

    Multipliers and delays may move: a loop that is stable at any sound is so at a loud one.
    """
    if node.op == "variable_delay":
        return node.inputs[1] not in members
    inside = [s for s in node.inputs if s in members]
    if node.op == "div":
        return node.inputs[1] not in members
    return node.op in LINEAR or (node.op in SCALED and len(inside) == 1)


def _edges(graph: Graph):
    return lambda k: graph.nodes[k].inputs


def _wild(program: Program, fixed: set[int], loops: set[int]) -> set[int]:
    """Real signals that may be no number although all inputs are."""
    graph, low, high = program.graph, least(program), largest(program, loops)
    found: set[int] = set()
    readers: dict[int, list[int]] = {}
    for k, node in graph:
        for s in node.inputs:
            readers.setdefault(s, []).append(k)
    work = [k for k, node in graph if k not in fixed and _is_risky(node, low, high, fixed)]
    while work:
        k = work.pop()
        node = graph.nodes[k]
        if k in found or node.type.kind != "real":
            continue
        found.add(k)
        # A recursive filter that is guarded gives finite numbers.
        work.extend(r for r in readers.get(k, ()) if graph.nodes[r].op not in ("iir", "sos"))
    return found


def _is_risky(
    node: Node, low: Mapping[int, float], high: Mapping[int, float], fixed: set[int]
) -> bool:
    """Whether an operation can make what is no number of numbers.

    Args:
        node: The operation.
        low: What its operands are no lower than.
        high: What their magnitudes are no higher than.
        fixed: Nodes that are the same at every sample.
    """
    if node.op in ("log", "rsqrt"):
        return low[node.inputs[0]] <= 0
    if node.op == "sqrt":
        return low[node.inputs[0]] < 0
    if node.op == "div":
        by = node.inputs[1]
        return node.type.kind == "real" and by not in fixed and low[by] <= 0
    if node.op in EXPONENTIAL:
        return high[node.inputs[0]] > EXPONENT
    return node.op in RISKY or (node.op == "integer_pow" and node.int("exponent") < 0)


def bus(names: Sequence[str]) -> str:
    """The text of functions side by side, a name for each signal.

    Args:
        names: At least one.
    """
    runs = [f"par(i, {len(list(run))}, {name})" for name, run in groupby(names)]
    return runs[0] if len(runs) == 1 else f"({', '.join(runs)})"


__all__ = ["HELPERS", "Guards", "bus", "guards", "guards_for_any"]
