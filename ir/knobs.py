"""Where the knobs of a graph stand over time, and the values that follow them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ir.errors import IRError
from ir.graph import Graph, Node
from ir.ops.controls import attribute

Positions = Mapping[str, Any]
"""A number, or an array (time,), for the name of each knob that does not stay at its default."""


def check_names(graph: Graph, positions: Positions) -> None:
    """Checks that the graph has these knobs.

    Raises:
        IRError: it has no knob of a name.
    """
    known = graph.controls
    for name in positions:
        if name not in known:
            listed = ", ".join(map(repr, known)) or "none"
            raise IRError(
                f"The program {graph.name!r} has no control {str(name)[:60]!r}; it has: {listed}."
            )


def positions_of(graph: Graph, positions: Positions, length: int) -> dict[str, np.ndarray]:
    """The position of every knob at each sample, (time,), not yet clipped to its range.

    Raises:
        IRError: there is no knob of a name, or its positions are not one number or one a sample.
    """
    check_names(graph, positions)
    found = {}
    for name, node in graph.controls.items():
        given = np.asarray(positions.get(name, attribute(node, "default")), np.float64)
        if given.shape not in ((), (length,)):
            raise IRError(
                f"The positions of the control {name!r} have the shape {given.shape}; they must be "
                f"a number, or {length}, one a sample."
            )
        if not np.all(np.isfinite(given)):
            raise IRError(f"The control {name!r} is moved to a position that is not finite.")
        found[name] = np.broadcast_to(given, (length,))
    return found


def settling(graph: Graph) -> int:
    """Samples after which every knob has arrived, however far it was turned."""
    longest = 0.0
    for node in graph.controls.values():
        way = attribute(node, "maximum") - attribute(node, "minimum")
        longest = max(longest, way / attribute(node, "step"))
    return int(np.ceil(longest)) + 1 if graph.controls else 0


def follow(node: Node, positions: np.ndarray) -> np.ndarray:
    """The value of a control whose knob stands at `positions`, (time,).

    y[t] = y[t-1] + clip(k[t] - y[t-1], -step, step) with y[-1] = default, kept as the number n of
    steps from the default, y = default + step n: so that nothing is rounded on the way but y
    itself, and y is the default at rest, and k once it has arrived, to the bit.
    """
    default, step = attribute(node, "default"), attribute(node, "step")
    low, high = attribute(node, "minimum"), attribute(node, "maximum")
    y = np.empty(len(positions))
    n = 0.0
    for t, k in enumerate(np.clip(positions, low, high)):
        target = (k - default) / step
        n = max(n - 1.0, min(n + 1.0, target))
        y[t] = k if n == target else max(low, min(high, default + step * n))
    return y
