"""Collects what a text is made of, while rules write it."""

from __future__ import annotations

from dataclasses import dataclass, field

from emitters.faust.definitions import Definition
from emitters.faust.knobs import slider
from emitters.faust.numbers import Numbers
from emitters.faust.rules import Atoms
from emitters.faust.sections import Call, second_order
from emitters.faust.text import RESERVED, Number, identifier
from ir.graph import Node

NEEDS = {"gated": ("rate",), "section": ("keep",), "one_pole": ("keep",)}
"""Helpers that use helpers."""


@dataclass
class Writer:
    """Collects the lines of one function."""

    definitions: list[Definition | str] = field(default_factory=list)
    helpers: set[str] = field(default_factory=set)
    names: set[str] = field(default_factory=set)
    base: str = ""
    family: str = ""
    gates: int = 0
    offsets: set[int] = field(default_factory=set)
    tables: dict[tuple[float, ...], str] = field(default_factory=dict)
    knobs: list[str] = field(default_factory=list)
    numbers: Numbers | None = None

    def helper(self, name: str) -> str:
        """Notes that a helper is used; returns its name."""
        self.helpers.update((name, *NEEDS.get(name, ())))
        return name

    def name(self, expression: str, hint: str) -> str:
        """Defines a signal of its own for an expression; returns its name."""
        full = self.unique(f"{self.base}_{hint}") if hint else self.base
        self.definitions.append(Definition(full, expression, self.family))
        return full

    def argument(self, index: tuple[int, ...]) -> str:
        """The name of an argument of the function, one channel of a node."""
        return self.unique("_".join((self.base, *map(str, index)))) if index else self.base

    def table(self, values: tuple[float, ...]) -> str:
        """The name of a table of numbers, which stands before the function."""
        if values not in self.tables:
            self.tables[values] = self.unique("table")
        return self.tables[values]

    def knob(self, node: Node) -> str:
        """The name of a control's value, whose definition stands before the function."""
        self.helper("knob")
        name = self.unique(identifier(node.text("name"), "knob"))
        self.knobs.append(f"{name} = {slider(node)};")
        return name

    def filter(self, b: Atoms, a: Atoms) -> Call | None:
        """The call for a second-order section of known numbers; None if it does nothing."""
        if self.numbers is None or not any(isinstance(v, Number) for v in (*b, *a)):
            return second_order(list(b), list(a))
        return self.numbers.filter(list(b), list(a), self.base)

    def literals(self, values: Atoms) -> Atoms:
        """Numbers as literals, also those that would be data."""
        return values if self.numbers is None else self.numbers.literals(values)

    def gate(self) -> int:
        """A number that no other gate of the program has."""
        self.gates += 1
        self.helper("gated")
        return self.gates

    def ring(self, samples: int) -> int:
        """What a delay line must reach back to get a buffer of its own length; 0 if it has one.

        FAUST reads a line at (t + size - delay) & (size - 1), with a power of two for the size. Two
        lines of equal size - delay share that sum, and what is shared is not read in vectors: at
        128 lines, two such pairs halve the speed.
        """
        delay = samples + 1  # what the line has with the sample of `~`
        size = natural = 1 << delay.bit_length()
        while size - delay in self.offsets and size < 4 * natural:
            size *= 2
        self.offsets.add(size - delay)
        return size // 2 if size > natural else 0

    def start(self, name: str, fallback: str) -> None:
        """Chooses a base name that no other node has."""
        self.base = self.unique(identifier(name, fallback))

    def unique(self, name: str) -> str:
        """The name, or where it is taken the name with a number; taken from now on."""
        free, count = name, 2
        while free in self.names or free in RESERVED:
            free, count = f"{name}{count}", count + 1
        self.names.add(free)
        return free
