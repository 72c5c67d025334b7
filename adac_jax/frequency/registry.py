"""The table of rules, and what a rule is given."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import jax.numpy as jnp
import numpy as np
from jax import Array

from adac_jax.errors import RefusedError
from adac_jax.frequency.linear import Linear, silent
from adac_jax.frequency.points import Points
from ir import Node


@dataclass(frozen=True)
class Known:
    """What depends on coefficients alone.

    Attributes:
        value: Its value, (*shape).
        zero: Whether it is all zeros with the parameters that the model was traced with.
    """

    value: Array
    zero: bool


Operand = Known | Linear


@dataclass(frozen=True)
class At:
    """Where a rule is applied.

    Attributes:
        node: The node.
        label: How messages name it.
        points: At which frequencies.
        count: How many columns there are.
        dtype: The complex type of signals.
        position: Where it is in the graph.
        responses: What the operations of time multiply their inputs with, by position; kept, since
            a node in a loop is visited more than once.
    """

    node: Node
    label: str
    points: Points
    count: int
    dtype: jnp.dtype
    position: int
    responses: dict[int, Array]

    def refusal(self, reason: str, instead: str = "") -> RefusedError:
        """The error that names this node."""
        return RefusedError(self.label, f"a frequency response does not exist: {reason}", instead)

    def signal(
        self,
        x: Operand,
        reason: str = "a constant is added to the signal, and comes out without an input.",
    ) -> Linear:
        """An operand as a signal; a constant must be zero."""
        if not isinstance(x, Known):
            return x
        if not x.zero:
            raise self.refusal(reason, "Leave it out, or add it outside of the model.")
        return silent(x.value.shape, self.count, self.dtype)

    def spread(self, x: Operand) -> Linear:
        """The same, a scalar repeated to the shape of the node."""
        x = self.signal(x)
        if x.shape == self.node.shape:
            return x
        shape = self.node.shape
        return x.moved(
            lambda h: jnp.broadcast_to(h, (*shape, *h.shape)),
            lambda columns: np.broadcast_to(columns, shape),
        )

    def gains(self, value: Array) -> Array:
        """Coefficients that multiply signals of the node's shape, the same at all frequencies."""
        return jnp.broadcast_to(value, self.node.shape)[..., None].astype(self.dtype)

    def filtered(self, x: Operand, response: Callable[[], Array]) -> Linear:
        """A signal times a response a channel."""
        if self.position not in self.responses:
            self.responses[self.position] = response()
        signal = self.signal(x, "a constant enters it, which begins with the first sample.")
        return signal.scaled(self.responses[self.position])

    def at_rest(self, *initial: Operand) -> None:
        """Refuses an initial state, which sounds without an input."""
        if any(isinstance(state, Known) and not state.zero for state in initial):
            raise self.refusal(
                "its initial state is not zero, and sounds without an input.",
                "Start it from rest.",
            )


Rule = Callable[..., Linear]
RULES: dict[str, Rule] = {}
"""For each operation but the sources: (place, *operands) -> signal.

At least one operand is a signal; an operation of time may also have a constant before it.
"""


def rule(*ops: str) -> Callable[[Rule], Rule]:
    """Registers the rule of one or more operations; a second one is a mistake."""

    def register(function: Rule) -> Rule:
        for op in ops:
            if op in RULES:
                raise KeyError(f"The operation {op!r} has two rules.")
            RULES[op] = function
        return function

    return register
