"""The open form: numbers as data, and how they follow from a program's coefficients.

The closed form has every number as a literal. The open form has the same graph, and every number
that follows from real coefficients is an `nentry`, which a host may write while it runs. What
follows from coefficients alone is computed here, so that FAUST is handed the numbers that the
closed form has as literals: sums and products of parameters, and the settings of filters. (Between
the settings of two stable sections, those on the straight line are stable too, and so is the way:
no step lengthens a section's state, and the mean of such steps does not either.)

What decides on the text stays in it: delays, integers, branches, long tables, zeros and the kinds
of filters. Coefficients that change these need another text, and are refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from emitters.faust.sections import filter_settings
from ir.cycles import label
from ir.errors import IRError
from ir.graph import Graph
from ir.interpreter import per_sample
from ir.verify import DTYPES

GROUP = "coefficients"
"""The group in which the numbers are, named by their position: `coefficients/00042`."""


class TopologyError(IRError):
    """Coefficients that a text cannot take on as data: they need another text."""


@dataclass(frozen=True, slots=True)
class Entry:
    """Numbers of the data that come from one place and stand together.

    Attributes:
        name: The path of the parameter, or the name of the node.
        start: The position of the first.
        count: How many.
    """

    name: str
    start: int
    count: int


@dataclass(frozen=True, slots=True, eq=False)
class Filters:
    """All filters of one kind.

    Attributes:
        kind: A key of `sections.SETTINGS`.
        sources: Where (b0, b1, b2, a0, a1, a2) of each are among the known numbers: (filters, 6).
    """

    kind: str
    sources: np.ndarray


@dataclass(frozen=True, slots=True, eq=False)
class Derivation:
    """How the data follow from coefficients.

    The known numbers are those of `arrays` one after the other, then `literals`; the settings of
    `filters` follow them; `chosen` says which of all these the data are.

    Attributes:
        graph: The program's, without cycles.
        order: What is to be computed, each node after those it reads.
        arrays: Nodes whose numbers the data are made of.
        literals: Numbers of the text that filters are made of.
        zeros: Which known numbers the text left out because they were zero.
        fixed: What decides on the text: nodes and their values.
        slots: The same of coefficients that the text does not read by name.
        filters: The filters whose numbers are coefficients.
        chosen: Positions of the data.
    """

    graph: Graph
    order: tuple[int, ...]
    arrays: tuple[int, ...]
    literals: np.ndarray
    zeros: np.ndarray
    fixed: Mapping[int, np.ndarray]
    slots: Mapping[str, np.ndarray]
    filters: tuple[Filters, ...]
    chosen: np.ndarray

    def values(self, coefficients: Mapping[str, np.ndarray]) -> np.ndarray:
        """The data; see `OpenForm.values`."""
        for slot, wanted in self.slots.items():
            if not np.array_equal(_given(coefficients, slot, wanted.shape), wanted):
                raise TopologyError(f"The coefficient {slot!r} decides on the text, and changed.")
        with np.errstate(all="ignore"):
            known = self._known(coefficients)
        parts = [known[k].ravel() for k in self.arrays]
        raw = np.concatenate([*parts, self.literals])
        if not np.all(np.isfinite(raw)):
            at = int(np.flatnonzero(~np.isfinite(raw))[0])
            raise IRError(f"{self._named(at)} holds {raw[at]}; every number must be finite.")
        if np.any(raw[self.zeros]):
            at = int(self.zeros[np.flatnonzero(raw[self.zeros])[0]])
            raise TopologyError(f"{self._named(at)} was zero in the text, and is {raw[at]:g} now.")
        made = [raw]
        for group in self.filters:
            rows = raw[group.sources]
            found, fits = filter_settings(group.kind, rows[:, :3], rows[:, 3:])
            if not np.all(fits):
                at = int(group.sources[int(np.flatnonzero(~fits)[0])][4])
                raise TopologyError(
                    f"{self._named(at)} holds a filter that is no {group.kind!r} any more."
                )
            made.append(found.ravel())
        return np.concatenate(made)[self.chosen]

    def _known(self, coefficients: Mapping[str, np.ndarray]) -> dict[int, np.ndarray]:
        known: dict[int, np.ndarray] = {}
        for k in self.order:
            known[k] = computed(self.graph, k, known, coefficients)
            if k in self.fixed and not np.array_equal(known[k], self.fixed[k]):
                raise TopologyError(
                    f"The numbers of {label(self.graph, k)} decide on the text, and changed."
                )
        return known

    def _named(self, position: int) -> str:
        for k in self.arrays:
            size = self.graph.nodes[k].type.size
            if position < size:
                return f"The coefficient {title(self.graph, k)!r}"
            position -= size
        return "A number of the text"


@dataclass(frozen=True, slots=True, eq=False)
class OpenForm:
    """A program in open form.

    Attributes:
        text: FAUST; its data begin with the program's own numbers.
        initial: These numbers, in the order of the data: an `nentry` each, by its position.
        entries: Where they come from.
        derivation: How they follow from coefficients.
    """

    text: str
    initial: np.ndarray
    entries: tuple[Entry, ...]
    derivation: Derivation

    def values(self, coefficients: Mapping[str, np.ndarray]) -> np.ndarray:
        """The data for other coefficients of the same graph.

        Args:
            coefficients: An array for each slot, as in `Program.coefficients`; others do no harm.

        Returns:
            float64 numbers in the order of the data, as many as `initial`.

        Raises:
            TopologyError: they need another text; the message names the coefficient.
            IRError: a number is not finite, or a slot has no value.
        """
        return self.derivation.values(coefficients)


def computed(
    graph: Graph,
    k: int,
    known: Mapping[int, np.ndarray],
    coefficients: Mapping[str, np.ndarray],
) -> np.ndarray:
    """The value of a node that follows from coefficients and constants alone."""
    node = graph.nodes[k]
    dtype = DTYPES[node.type.kind]
    if node.op == "constant":
        return np.asarray(node["value"], dtype)
    if node.op == "coefficient":
        return _given(coefficients, node.text("slot"), node.shape).astype(dtype)
    found = per_sample(node)(*(known[s] for s in node.inputs))
    return np.broadcast_to(np.asarray(found, dtype), node.shape)


def title(graph: Graph, k: int) -> str:
    """What the data of a node are called."""
    node = graph.nodes[k]
    return node.text("slot") if node.op == "coefficient" else node.name or node.op


def _given(coefficients: Mapping[str, np.ndarray], slot: str, shape: tuple[int, ...]) -> np.ndarray:
    if slot not in coefficients:
        raise IRError(f"The coefficient {slot!r} has no value.")
    value = np.asarray(coefficients[slot])
    if value.shape != shape:
        raise TopologyError(
            f"The coefficient {slot!r} has the shape {value.shape}, not {shape} as in the text."
        )
    return value


__all__ = ["GROUP", "Derivation", "Entry", "Filters", "OpenForm", "TopologyError"]
