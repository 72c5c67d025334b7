"""Phases that turn back: the triangle that a counter of 32 bits makes."""

from __future__ import annotations

from collections.abc import Mapping

from ir.certificate.forms import Form
from ir.graph import Graph, Node

QUARTER = 2.0**30


def folded(graph: Graph, node: Node, outside: Mapping[int, Form]) -> int | None:
    """The n of select(n > 2^30 or n < -2^30, -2^31 - n, n), in wrapping integers: within ±2^30.

    Args:
        graph: The graph.
        node: A `select`.
        outside: What is known of numbers.
    """
    if len(node.inputs) != 3 or node.type.kind != "int":
        return None
    beyond, back, n = (graph.nodes[k] for k in node.inputs)
    at = node.inputs[2]

    def is_number(k: int, value: float) -> bool:
        form = outside.get(k)
        return form is not None and form.fixed and bool((form.c[0] == value).all())

    limits = {"gt": QUARTER, "lt": -QUARTER}
    sides = [graph.nodes[s] for s in beyond.inputs]
    if beyond.op != "or" or {side.op for side in sides} != set(limits):
        return None
    if any(s.inputs[0] != at or not is_number(s.inputs[1], limits[s.op]) for s in sides):
        return None
    turned = back.op == "sub" and back.inputs[1] == at and is_number(back.inputs[0], -2 * QUARTER)
    return at if turned and n.type.kind == "int" else None
