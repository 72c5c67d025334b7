"""Builds graphs node by node; types are inferred from the op table."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ir.errors import IRError
from ir.graph import Attribute, Graph, Node, Shape, Type
from ir.ops import OPS
from ir.ops.controls import check_alike


class Builder:
    """Collects nodes.

    A loop is closed with `reserve` (a position whose type is known before its definition)
    and `define`.
    """

    def __init__(self, name: str = "model", sample_rate: float = 48000.0) -> None:
        self._nodes: list[Node | None] = []
        self._reserved: dict[int, Type] = {}
        self._constants: dict[tuple[str, str], int] = {}
        self._controls: dict[str, int] = {}
        self.name = name
        self.sample_rate = sample_rate

    def type(self, k: int) -> Type:
        """The type of node `k`, reserved ones included."""
        node = self._nodes[k]
        return self._reserved[k] if node is None else node.type

    def node(self, k: int) -> Node | None:
        """Node `k`, or None while it is only reserved."""
        return self._nodes[k]

    def add(self, op: str, *inputs: int, name: str = "", **attributes: Attribute) -> int:
        """Appends a node and returns its position."""
        self._nodes.append(self._make(op, inputs, attributes, name))
        return len(self._nodes) - 1

    def constant(self, value: bool | int | float) -> int:
        """The position of a scalar constant; equal constants share one node."""
        if isinstance(value, float) and not math.isfinite(value):
            raise IRError(f"The constant {value!r} is not finite.")
        key = (type(value).__name__, repr(value))
        if key not in self._constants:
            self._constants[key] = self.add("constant", value=value)
        return self._constants[key]

    def control(
        self,
        name: str,
        default: float,
        minimum: float,
        maximum: float,
        *,
        step: float,
        unit: str = "",
        curve: str = "linear",
    ) -> int:
        """The position of a knob; those of one name share one node.

        Raises:
            IRError: a value is out of its range, or a knob of this name differs.
        """
        numbers = {"default": default, "minimum": minimum, "maximum": maximum, "step": step}
        attributes = {key: float(value) for key, value in numbers.items()}
        node = self._make(
            "control", (), {**attributes, "name": name, "unit": unit, "curve": curve}, name
        )
        if name not in self._controls:
            self._nodes.append(node)
            self._controls[name] = len(self._nodes) - 1
        found = self._nodes[self._controls[name]]
        assert found is not None
        check_alike(found, node)
        return self._controls[name]

    def reserve(self, shape: Shape, kind: str = "real") -> int:
        """A position to be defined later: the head of a loop."""
        self._nodes.append(None)
        k = len(self._nodes) - 1
        self._reserved[k] = Type(tuple(shape), kind)
        return k

    def define(
        self, k: int, op: str, *inputs: int, name: str = "", **attributes: Attribute
    ) -> None:
        """Fills a reserved position."""
        node = self._make(op, inputs, attributes, name)
        if node.type != self._reserved[k]:
            raise IRError(
                f"The loop's head was announced as {self._reserved[k]} but is {node.type}."
            )
        self._nodes[k] = node
        del self._reserved[k]

    def adopt(self, k: int, node: Node) -> None:
        """Fills a reserved position with a node that exists already."""
        self._nodes[k] = node
        del self._reserved[k]

    def is_read(self, k: int) -> bool:
        """Whether a node takes node `k`."""
        return any(node is not None and k in node.inputs for node in self._nodes)

    def build(self, outputs: tuple[int, ...] | list[int]) -> Graph:
        """The finished graph."""
        if self._reserved:
            raise IRError(f"Nodes {sorted(self._reserved)} were reserved but never defined.")
        nodes = tuple(node for node in self._nodes if node is not None)
        return Graph(nodes, tuple(outputs), self.name, self.sample_rate)

    def _make(
        self, op: str, inputs: tuple[int, ...], attributes: dict[str, Attribute], name: str
    ) -> Node:
        if op not in OPS:
            raise IRError(f"There is no operation {op!r}.")
        attributes = {key: _plain(value) for key, value in attributes.items()}
        type_ = OPS[op].infer(tuple(self.type(k) for k in inputs), attributes)
        return Node(op, inputs, type_, tuple(sorted(attributes.items())), name)


def _plain(value: Any) -> Attribute:
    """An attribute in Python's own types; NumPy's integers come easily by accident."""
    if isinstance(value, (tuple, list)):
        return tuple(_plain(v) for v in value)
    return value.item() if isinstance(value, np.generic) else value
