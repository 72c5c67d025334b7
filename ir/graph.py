"""The intermediate representation: a graph of per-sample operations on channel tensors.

A node computes, at every sample, one tensor from the tensors of its inputs at the same
sample. Time is implicit: only `delay`, `variable_delay` and the filters look at earlier
samples. Nodes refer to each other by position, and a reference may point forwards, so a
feedback loop is simply a cycle; `ir.verify` accepts a cycle exactly if every path round it
passes a delay of at least one sample.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

import numpy as np

Shape = tuple[int, ...]
Scalar = bool | int | float | str
Attribute = Scalar | tuple["Attribute", ...]
Attributes = Mapping[str, Attribute]

KINDS = ("real", "int", "bool")


@dataclass(frozen=True, slots=True)
class Type:
    """What one sample of a signal is: a tensor `shape` of `kind` "real", "int" or "bool"."""

    shape: Shape = ()
    kind: str = "real"

    @property
    def size(self) -> int:
        """The number of scalars in one sample."""
        return math.prod(self.shape)

    def __str__(self) -> str:
        return f"{self.kind}[{','.join(map(str, self.shape))}]"


@dataclass(frozen=True, slots=True)
class Node:
    """One operation.

    Attributes:
        op: The operation's name, a key of `ir.OPS`.
        inputs: Positions of the nodes it reads.
        type: Shape and kind of its result at one sample.
        attributes: Static settings, sorted by name.
        name: Where it comes from in the model, as a dotted path; free text, may be empty.
    """

    op: str
    inputs: tuple[int, ...] = ()
    type: Type = Type()
    attributes: tuple[tuple[str, Attribute], ...] = ()
    name: str = ""

    @property
    def shape(self) -> Shape:
        """Shape of one sample."""
        return self.type.shape

    def __getitem__(self, key: str) -> Attribute:
        for name, value in self.attributes:
            if name == key:
                return value
        raise KeyError(key)

    def ints(self, key: str) -> tuple[int, ...]:
        """The attribute `key`, which the op table says is a tuple of integers."""
        value = self[key]
        assert isinstance(value, tuple)
        return tuple(int(v) for v in value)  # type: ignore[arg-type]

    def int(self, key: str) -> int:
        """The attribute `key`, which the op table says is an integer."""
        value = self[key]
        assert isinstance(value, int)
        return value

    def text(self, key: str) -> str:
        """The attribute `key`, which the op table says is a string."""
        value = self[key]
        assert isinstance(value, str)
        return value


@dataclass(frozen=True, slots=True)
class Graph:
    """A model's structure, without its numbers.

    Attributes:
        nodes: All operations; the order means nothing but is kept.
        outputs: Positions of the output nodes, in order.
        name: The model's name.
        sample_rate: The rate in hertz that the coefficients were made for.
        latency: Samples by which the outputs come late, for a host to make up for.
    """

    nodes: tuple[Node, ...]
    outputs: tuple[int, ...]
    name: str = "model"
    sample_rate: float = 48000.0
    latency: int = 0

    @property
    def inputs(self) -> tuple[int, ...]:
        """Positions of the `input` nodes, by their index."""
        found = [k for k, node in enumerate(self.nodes) if node.op == "input"]
        return tuple(sorted(found, key=lambda k: self.nodes[k].int("index")))

    @property
    def slots(self) -> dict[str, Type]:
        """Names and types of the coefficient slots the graph reads."""
        return {n.text("slot"): n.type for n in self.nodes if n.op == "coefficient"}

    @property
    def controls(self) -> dict[str, Node]:
        """The knobs by name, in the order of the nodes."""
        return {n.text("name"): n for n in self.nodes if n.op == "control"}

    @property
    def input_channels(self) -> int:
        """The number of scalar inputs at one sample."""
        return sum(self.nodes[k].type.size for k in self.inputs)

    @property
    def output_channels(self) -> int:
        """The number of scalar outputs at one sample."""
        return sum(self.nodes[k].type.size for k in self.outputs)

    def __iter__(self) -> Iterator[tuple[int, Node]]:
        return iter(enumerate(self.nodes))


@dataclass(frozen=True, slots=True, eq=False)
class Program:
    """A graph and the values of its coefficient slots: what ships.

    Attributes:
        graph: The structure.
        coefficients: An array for each slot; float64, int64 or bool as the slot's kind says.
    """

    graph: Graph
    coefficients: Mapping[str, np.ndarray] = field(default_factory=dict)

    def with_graph(self, graph: Graph) -> Program:
        """This program with another graph, its coefficients cut down to what that reads."""
        slots = graph.slots
        kept = {k: v for k, v in self.coefficients.items() if k in slots}
        return replace(self, graph=graph, coefficients=kept)
