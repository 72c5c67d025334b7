"""What each operation is in FAUST: one rule a row of the op table.

A rule gets the node and its operands, arrays of atoms (numbers, or names of signals) in the shape
of one sample, and returns an array of FAUST expressions, or of atoms where there is nothing to
compute. Moving channels about costs nothing: it only moves names.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import numpy as np

from emitters.faust.sections import Call

Atoms = np.ndarray
"""An object array of atoms or of expressions."""


class Context(Protocol):
    """What a rule may ask of the program being written."""

    def helper(self, name: str) -> str:
        """Notes that a helper is used; returns its name."""
        ...

    def name(self, expression: str, hint: str) -> str:
        """Defines a signal of its own for an expression; returns its name."""
        ...

    def table(self, values: tuple[float, ...]) -> str:
        """The name of a table of numbers."""
        ...

    def filter(self, b: Atoms, a: Atoms) -> Call | None:
        """The call for a second-order section of known numbers; None if it does nothing."""
        ...

    def literals(self, values: Atoms) -> Atoms:
        """Numbers as literals, also those that would be data."""
        ...

    def gate(self) -> int:
        """A number that no other gate of the program has."""
        ...

    def ring(self, samples: int) -> int:
        """What a delay line must reach back to get a buffer of its own length; 0 if it has one."""
        ...


Rule = Callable[..., Atoms]
RULES: dict[str, Rule] = {}
ADDITIVE = frozenset({"add", "sub", "sum", "einsum", "fir"})
"""Operations whose results are sums: where two others use one, it gets a barrier."""
LONG_ROW = 14
"""From this many terms on, a row of a matrix is put behind a gate of its own: a branch that is
always taken, behind which LLVM adds the products of several signals at once; see
docs/dense-matrices.md."""
GATES = 60_000
"""A gate's number divided by 65,536 is a sample rate below any that there is."""
LINEAR = frozenset({"delay", "mul", "neg"})
"""Operations that FAUST multiplies sums out through."""


def rule(*ops: str) -> Callable[[Rule], Rule]:
    """Registers the rule of one or more operations; a second one is a mistake."""

    def register(function: Rule) -> Rule:
        for op in ops:
            if op in RULES:
                raise KeyError(f"The operation {op!r} has two FAUST rules.")
            RULES[op] = function
        return function

    return register


def array(values: object, shape: tuple[int, ...]) -> Atoms:
    """An object array of a shape, from a flat sequence."""
    result = np.empty(int(np.prod(shape)), object)
    result[:] = list(values)  # type: ignore[call-overload]
    return result.reshape(shape)
