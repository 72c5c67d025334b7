"""The frequency reading: a graph's transfer function at many frequencies.

Signals are pushed through the graph in order. A loop is cut open at a few nodes; with v what these
put out, v = P v + Q x, where the columns of P are found by pushing v through the loop and those of
Q by pushing the inputs x through it. Then (I - P) v = Q x is solved at each frequency, all loops
within a loop with it, and what else of the loop is heard outside follows from v.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Complex

from adac_jax.blocks.stateless import PER_SAMPLE as IN_JAX
from adac_jax.blocks.stateless import dtype_of
from adac_jax.errors import RefusedError
from adac_jax.frequency.cuts import cut_nodes, order_without
from adac_jax.frequency.elimination import solve
from adac_jax.frequency.linear import Linear, Sparse, mixed, silent, unknown
from adac_jax.frequency.points import Points
from adac_jax.frequency.registry import At, Known, Operand
from adac_jax.frequency.rules import RULES
from ir import OPS, Graph
from ir.cycles import components, is_loop, label, order
from ir.interpreter import PER_SAMPLE as IN_NUMPY
from ir.ops.controls import attribute
from ir.verify import DTYPES

Signals = dict[int, Linear]


@dataclass(frozen=True)
class Loop:
    """A loop, cut open.

    Attributes:
        cuts: The nodes whose outputs are unknowns.
        body: All its nodes, the cut ones first, each other after those it reads.
    """

    cuts: tuple[int, ...]
    body: tuple[int, ...]


class Reading:
    """A graph made ready to be evaluated at frequencies.

    Args:
        graph: What to evaluate.
        coefficients: A value for each slot; they decide what counts as zero.

    Raises:
        RefusedError: an input is no real signal.
    """

    def __init__(self, graph: Graph, coefficients: Mapping[str, np.ndarray]) -> None:
        self.graph = graph
        self.zero = _zero(graph, coefficients)
        self.steps = self._steps()
        self.columns = graph.input_channels
        for k in graph.inputs:
            if graph.nodes[k].type.kind != "real":
                raise RefusedError(label(graph, k), "a frequency response is that of real signals.")

    @property
    def unknowns(self) -> tuple[int, ...]:
        """For how many unknowns each loop is solved."""
        return tuple(
            sum(self.graph.nodes[k].type.size for k in step.cuts)
            for step in self.steps
            if isinstance(step, Loop)
        )

    def known(self, coefficients: Mapping[str, Array], dtype: jnp.dtype) -> dict[int, Known]:
        """The values of all nodes that depend on coefficients alone."""
        found: dict[int, Known] = {}
        for k, zero in self.zero.items():
            node = self.graph.nodes[k]
            if node.op == "coefficient":
                value = jnp.asarray(coefficients[node.text("slot")])
            elif node.op == "constant":
                value = jnp.asarray(node["value"])
            elif node.op == "control":
                value = jnp.asarray(attribute(node, "default"))
            else:
                value = IN_JAX[node.op](node, dtype)(*(found[s].value for s in node.inputs))
            found[k] = Known(value.astype(dtype_of(node, dtype)), zero)
        return found

    def run(
        self, known: Mapping[int, Known], points: Points, dtype: jnp.dtype
    ) -> Complex[Array, "outputs inputs frequencies"]:
        """The transfer function; the last axis may be 1 where it does not depend on frequency.

        Raises:
            RefusedError: an operation is not linear and time-invariant.
        """
        return _Run(self, known, points, dtype).run()

    def _steps(self) -> tuple[int | Loop, ...]:
        def edges(k: int) -> tuple[int, ...]:
            return self.graph.nodes[k].inputs

        signals = [k for k in range(len(self.graph.nodes)) if k not in self.zero]
        steps: list[int | Loop] = []
        for group in components(signals, edges):
            if is_loop(group, edges):
                cuts = cut_nodes(self.graph, group)
                steps.append(Loop(cuts, tuple(order_without(self.graph, group, cuts))))
            else:
                steps.append(group[0])
        return tuple(steps)


class _Run:
    """One evaluation, at some frequencies."""

    def __init__(
        self, reading: Reading, known: Mapping[int, Known], points: Points, dtype: jnp.dtype
    ) -> None:
        self.reading, self.graph = reading, reading.graph
        self.known, self.points, self.dtype = known, points, dtype
        self.responses: dict[int, Array] = {}

    def run(self) -> Array:
        signals: Signals = {}
        first, count = 0, self.reading.columns
        for k in self.graph.inputs:
            node = self.graph.nodes[k]
            signals[k] = unknown(node.shape, first, count, self.dtype)
            first += node.type.size
        for step in self.reading.steps:
            if isinstance(step, Loop):
                signals |= self._solve(step, signals)
            elif step not in signals:
                signals[step] = self._node(step, signals, count)
        return self._stacked([self._output(k, signals) for k in self.graph.outputs])

    def _node(self, k: int, signals: Mapping[int, Linear], count: int) -> Linear:
        """The value of a node, from those it reads."""
        node = self.graph.nodes[k]
        name = label(self.graph, k)
        at = At(node, name, self.points, count, self.dtype, k, self.responses)
        return RULES[node.op](at, *(self._operand(s, signals, count) for s in node.inputs))

    def _operand(self, k: int, signals: Mapping[int, Linear], count: int) -> Operand:
        if k in self.known:
            return self.known[k]
        # While a loop is pushed through with its unknowns alone, what comes in from outside is 0.
        return signals[k] if k in signals else self._silent(k, count)

    def _silent(self, k: int, count: int) -> Linear:
        return silent(self.graph.nodes[k].shape, count, self.dtype)

    def _output(self, k: int, signals: Mapping[int, Linear]) -> Linear:
        if k in signals:
            return signals[k]
        if not self.known[k].zero:
            raise RefusedError(
                label(self.graph, k), "the output does not depend on the input, and is not zero."
            )
        return self._silent(k, self.reading.columns)

    def _solve(self, loop: Loop, outside: Mapping[int, Linear]) -> Signals:
        """The values of a loop's nodes."""
        columns = self.reading.columns
        sizes = [self.graph.nodes[k].type.size for k in loop.cuts]
        firsts = [sum(sizes[:n]) for n in range(len(sizes))]
        n = sum(sizes)
        inputs = {k: self._silent(k, columns) for k in loop.cuts}
        unknowns: Signals = {
            k: unknown(self.graph.nodes[k].shape, first, n, self.dtype)
            for k, first in zip(loop.cuts, firsts, strict=True)
        }
        forced = self._stacked(self._pushed(loop, {**outside, **inputs}, columns))
        returned = self._pushed(loop, unknowns, n)
        own = _to_itself(returned, unknowns.values())
        if own is not None:
            v = forced / (1 - _aligned(own))[:, None]
        else:
            P = self._stacked(returned)
            frequencies = max(P.shape[-1], forced.shape[-1])
            M = jnp.broadcast_to(jnp.eye(n, dtype=self.dtype)[..., None] - P, (n, n, frequencies))
            v = solve(M, jnp.broadcast_to(forced, (n, columns, frequencies)))
        values: Signals = {
            k: mixed(v[first : first + size].reshape(*self.graph.nodes[k].shape, *v.shape[1:]))
            for k, first, size in zip(loop.cuts, firsts, sizes, strict=True)
        }
        everything = {**outside, **values}
        for k in loop.body:
            if k not in values:
                values[k] = everything[k] = self._node(k, everything, columns)
        return values

    def _pushed(self, loop: Loop, start: Signals, count: int) -> list[Linear]:
        """What the cut nodes put out, if this is what they are taken to put out."""
        signals = dict(start)
        for k in loop.body:
            if k not in loop.cuts:
                signals[k] = self._node(k, signals, count)
        return [self._node(k, signals, count) for k in loop.cuts]

    def _stacked(self, parts: Sequence[Linear]) -> Array:
        """All channels one after another, (channels, columns, frequencies or 1)."""
        found = [part.full() for part in parts]
        return _aligned([h.reshape(math.prod(h.shape[:-2]), *h.shape[-2:]) for h in found])


def _aligned(parts: Sequence[Array]) -> Array:
    """Concatenated along axis 0; what does not depend on frequency is repeated."""
    most = max((part.shape[-1] for part in parts), default=1)
    return jnp.concatenate([jnp.broadcast_to(p, (*p.shape[:-1], most)) for p in parts])


def _to_itself(returned: Sequence[Linear], taken: Iterable[Linear]) -> list[Array] | None:
    """What each unknown comes back with, if to itself alone, as in a bank of comb filters."""
    found = []
    for part, start in zip(returned, taken, strict=True):
        assert isinstance(start, Sparse)
        if part.count <= 1:
            h = part.full()
        elif isinstance(part, Sparse) and _within(part.columns, start.columns):
            h = part.factors
        else:
            return None
        found.append(h.reshape(start.columns.size, h.shape[-1]))
    return found


def _within(columns: np.ndarray, own: np.ndarray) -> bool:
    return bool(((columns == own) | (columns < 0)).all())


def _zero(graph: Graph, coefficients: Mapping[str, np.ndarray]) -> dict[int, bool]:
    """The nodes that depend on coefficients alone, in order, and whether they are all zeros.

    A control at rest is its default.
    """
    values: dict[int, np.ndarray] = {}
    for k in order(graph):
        node = graph.nodes[k]
        if node.op == "coefficient":
            value = coefficients[node.text("slot")]
        elif node.op == "constant":
            value = np.asarray(node["value"])
        elif node.op == "control":
            value = np.asarray(attribute(node, "default"))
        elif OPS[node.op].family in ("source", "time") or not set(node.inputs) <= set(values):
            continue
        else:
            with np.errstate(all="ignore"):
                value = IN_NUMPY[node.op](node)(*(values[s] for s in node.inputs))
        values[k] = np.asarray(value).astype(DTYPES[node.type.kind])
    return {k: not value.any() for k, value in values.items()}
