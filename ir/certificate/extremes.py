"""The range of a function of a few numbers, by branch and bound with its slopes."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ir.certificate.forms import Form
from ir.certificate.functions import Functions
from ir.certificate.intervals import Interval
from ir.certificate.invariant import before, halves
from ir.graph import Graph

NODES, BOXES = 60, 3000
GAP = 1e-9
"""How far a bound may lie above what is reached, relatively."""


def tightened(
    graph: Graph, k: int, outside: Mapping[int, Form], tolerance: float
) -> Interval | None:
    """The range of a node, closer than operation by operation; None if no more is known of it.

    Args:
        graph: The graph.
        k: The node, a function of others at the same sample.
        outside: What is known of it and of these.
        tolerance: By how much a multiplier may be off, relatively.
    """
    between, leaves = before(graph, [k], outside)
    if k in leaves or len(between) > NODES:
        return None
    known = {s: outside[s].base for s in between}
    functions = Functions(graph, between, {s: outside[s].base for s in leaves}, known, tolerance)
    if not functions.variables:
        return None
    shape = graph.nodes[k].shape
    ends = [
        [_extreme(functions, k, i, side) for i in range(graph.nodes[k].type.size)]
        for side in (0, 1)
    ]
    low, high = (np.array(end).reshape(shape) for end in ends)
    return np.maximum(low, outside[k].base[0]), np.minimum(high, outside[k].base[1])


def _extreme(functions: Functions, k: int, i: int, side: int) -> float:
    """A bound on the least (0) or the greatest (1) value of a channel."""
    sign = 2 * side - 1
    low, high = (b[None] for b in functions.box())
    start, reached, closed, left = high - low, -np.inf, -np.inf, BOXES
    while True:
        _, bounds = functions.bounds(low, high)
        most = sign * bounds.of(k)[side][:, i]
        reached = max(reached, float((sign * bounds.middle[k].value[1 - side][:, i]).max()))
        open_ = most > reached + GAP * abs(reached)
        closed = max(closed, float(most[~open_].max(initial=-np.inf)))
        left -= len(low)
        parts = None
        if open_.any() and left > 0:
            parts = halves(low[open_], high[open_], bounds.smear(k)[open_], start)
        if parts is None:
            return sign * max(closed, float(most[open_].max(initial=-np.inf)))
        low, high = parts
