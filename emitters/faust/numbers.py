"""Collects the numbers that a text reads as data, while the text is written."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from emitters.faust.live import GROUP, Derivation, Entry, Filters, computed, title
from emitters.faust.rules import Atoms, array
from emitters.faust.sections import SETTINGS, Call, filter_settings, kind_of
from emitters.faust.text import Atom, Number, comment, identifier, number
from ir.cycles import components
from ir.graph import Graph, Node, Program
from ir.interpreter import PER_SAMPLE

LARGEST = 1e30
"""What FAUST is told of the data's range. It clips nothing but takes no larger initial value."""
RANGE = f"{number(-LARGEST)}, {number(LARGEST)}, 1e-9"
LITERAL = "literal"
"""The place of numbers of the text that filters are made of."""
SETTING_NAMES = {
    "section": ("c1", "c2", "c3", "m0", "m1", "m2"),
    "one_pole": ("c", "high", "difference"),
    "direct": ("b0", "b1", "b2", "a1", "a2"),
    "through": (),
}

Source = tuple[int | str, int]
"""Where a number comes from: a node, a kind of filter or `LITERAL`, and its position there."""


@dataclass(frozen=True, slots=True)
class Data:
    """What is to be data.

    Attributes:
        literal: Coefficients that are not.
        dense: Whether zeros are, and filters of the most general kind that they may become.
    """

    literal: frozenset[str] = frozenset()
    dense: bool = False


@dataclass
class Numbers:
    """What the text reads as data.

    Attributes:
        graph: As it is written, without cycles.
        values: Of each node that follows from coefficients and constants alone.
        moving: Those that follow from real coefficients.
        unique: Makes a name that no other signal has.
        dense: Whether zeros are data too, and filters of the most general kind they may become.
    """

    graph: Graph
    values: dict[int, np.ndarray]
    moving: frozenset[int]
    unique: Callable[[str], str]
    dense: bool = False
    _data: dict[Number, str] = field(default_factory=dict)
    _arrays: dict[int, Atoms] = field(default_factory=dict)
    _zeros: list[Source] = field(default_factory=list)
    _fixed: set[int] = field(default_factory=set)
    _literals: list[float] = field(default_factory=list)
    _filters: dict[str, list[list[Source]]] = field(default_factory=dict)

    def atoms(self, k: int) -> Atoms:
        """What a node of `values` is in the text: literals, or names of data."""
        node, value = self.graph.nodes[k], self.values[k]
        if k not in self.moving:
            return value.astype(object)
        if node.type.kind != "real":
            self._fixed.add(k)
            return value.astype(object)
        if k not in self._arrays:
            atoms = [self._atom(k, i, v) for i, v in enumerate(value.ravel().tolist())]
            self._arrays[k] = array(atoms, node.shape)
        return self._arrays[k]

    def _atom(self, k: int, position: int, value: float) -> Atom:
        if value == 0 and not self.dense:
            self._zeros.append((k, position))
            return 0.0
        node, name = self.graph.nodes[k], title(self.graph, k)
        index = np.unravel_index(position, node.shape) if node.shape else ()
        hint = "_".join((identifier(name, node.op), *map(str, index)))
        return self._number(hint, (k, position), value, name)

    def _number(self, hint: str, source: Source, value: float, name: str) -> Number:
        found = Number(self.unique(hint), source, value)
        self._data[found] = name
        return found

    def literals(self, values: Atoms) -> Atoms:
        """Numbers as literals, which fixes the nodes they come from."""
        known = [v if isinstance(v, str) else None for v in values.flat]
        self._fixed.update(
            v.source[0] for v in known if isinstance(v, Number) and isinstance(v.source[0], int)
        )
        return array((v.value if isinstance(v, Number) else v for v in values.flat), values.shape)

    def filter(self, b: Sequence[Atom], a: Sequence[Atom], base: str) -> Call | None:
        """The call for a second-order section, of whose coefficients some are data.

        Args:
            b: Three numbers, by which its settings are called after the coefficient they are of.
            a: Three.
            base: What the settings' names begin with.
        """
        row = [*b, *a]
        values = np.array([v.value if isinstance(v, Number) else float(v) for v in row])
        kind = kind_of(values[:3].tolist(), values[3:].tolist())
        if self.dense and kind in ("through", "one_pole"):
            second = any(isinstance(v, Number) for v in (row[2], row[5]))
            kind = "section" if second else "one_pole"
        rows = self._filters.setdefault(kind, [])
        first = len(rows) * SETTINGS[kind]
        rows.append([self._source(v) for v in row])
        if kind == "through":
            return None
        name = next(self._data[v] for v in row if isinstance(v, Number))
        (found,), _ = filter_settings(kind, values[None, :3], values[None, 3:])
        names = zip(SETTING_NAMES[kind], found.tolist(), strict=True)
        return Call(
            kind,
            tuple(
                self._number(f"{base}_{setting}", (kind, first + i), value, name)
                for i, (setting, value) in enumerate(names)
            ),
        )

    def _source(self, value: Atom) -> Source:
        if isinstance(value, Number):
            return value.source
        self._literals.append(float(value))
        return LITERAL, len(self._literals) - 1

    def used(self, words: Collection[str]) -> list[Number]:
        """The data that the text reads, in order."""
        return [n for n in self._data if n in words]

    def definitions(self, data: Sequence[Number]) -> list[str]:
        """The lines that define them, under what they come from."""
        lines = []
        for entry in self.entries(data):
            lines.append(comment(f"{entry.name}: {entry.count} from {entry.start} on"))
            for k in range(entry.start, entry.start + entry.count):
                place = f'"h:{GROUP}/{k:05d}"'
                value = number(min(LARGEST, max(-LARGEST, data[k].value)))
                lines.append(f"{data[k]} = nentry({place}, {value}, {RANGE});")
        return lines

    def entries(self, data: Sequence[Number]) -> list[Entry]:
        """Where they come from, one after the other."""
        found: list[Entry] = []
        for k, n in enumerate(data):
            if found and found[-1].name == self._data[n]:
                found[-1] = Entry(found[-1].name, found[-1].start, found[-1].count + 1)
            else:
                found.append(Entry(self._data[n], k, 1))
        return found

    def derivation(self, data: Sequence[Number], slots: Mapping[str, np.ndarray]) -> Derivation:
        """How the data follow from coefficients."""
        sources = {n.source for n in data}
        kinds = sorted({place for place, _ in sources if isinstance(place, str)} | {"through"})
        groups = {kind: self._filters[kind] for kind in kinds if kind in self._filters}
        asked = [*sources, *(s for rows in groups.values() for row in rows for s in row)]
        arrays = sorted({place for place, _ in asked if isinstance(place, int)})
        starts: dict[int | str, int] = {}
        size = 0
        for k in arrays:
            starts[k], size = size, size + self.graph.nodes[k].type.size
        starts[LITERAL], size = size, size + len(self._literals)
        for kind, rows in groups.items():
            starts[kind], size = size, size + len(rows) * SETTINGS[kind]

        def positions(wanted: Sequence[Source]) -> np.ndarray:
            return np.array([starts[place] + at for place, at in wanted], np.intp)

        return Derivation(
            graph=self.graph,
            order=self._order({*arrays, *self._fixed}),
            arrays=tuple(arrays),
            literals=np.array(self._literals, np.float64),
            zeros=positions([s for s in self._zeros if s[0] in starts]),
            fixed={k: self.values[k] for k in self._fixed},
            slots=slots,
            filters=tuple(
                Filters(kind, positions([s for row in rows for s in row]).reshape(-1, 6))
                for kind, rows in groups.items()
            ),
            chosen=positions([n.source for n in data]),
        )

    def _order(self, wanted: set[int]) -> tuple[int, ...]:
        work = sorted(wanted)
        while work:
            for s in self.graph.nodes[work.pop()].inputs:
                if s not in wanted:
                    wanted.add(s)
                    work.append(s)
        return tuple(k for k in self.values if k in wanted)


def known_numbers(
    graph: Graph, program: Program, unique: Callable[[str], str], data: Data
) -> Numbers:
    """What follows from coefficients and constants alone, at every sample.

    Args:
        graph: Without cycles; its coefficients are the program's.
        program: Has their values.
        unique: Makes a name that no other signal has.
        data: What is to be data.
    """
    values: dict[int, np.ndarray] = {}
    moving: set[int] = set()
    with np.errstate(all="ignore"):
        for (k,) in components(range(len(graph.nodes)), lambda k: graph.nodes[k].inputs):
            if _is_known(graph.nodes[k], values):
                values[k] = computed(graph, k, values, program.coefficients)
                if _is_moving(graph, k, moving, data.literal):
                    moving.add(k)
    return Numbers(graph, values, frozenset(moving), unique, data.dense)


def _is_known(node: Node, values: Mapping[int, np.ndarray]) -> bool:
    if node.op in ("constant", "coefficient"):
        return True
    return node.op in PER_SAMPLE and bool(node.inputs) and all(s in values for s in node.inputs)


def _is_moving(graph: Graph, k: int, moving: Collection[int], literal: Collection[str]) -> bool:
    """Whether a node moves with real coefficients, and not by way of integers or truth values."""
    node = graph.nodes[k]
    if node.op == "coefficient":
        return node.type.kind == "real" and node.text("slot") not in literal
    return any(s in moving and graph.nodes[s].type.kind == "real" for s in node.inputs)


__all__ = ["Numbers", "known_numbers"]
