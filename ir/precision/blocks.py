"""Runs a program over whole signals in NumPy, in blocks as long as its loops allow.

As the interpreter, every signal is kept whole, so that a delay is a look at an earlier place; but
what happens at one sample happens at all samples of a block at once. Time is the last axis, and the
one before it counts copies that run side by side. What is done to each result, such as rounding, is
a hook.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Protocol

import numpy as np
from scipy import signal

from ir.graph import Node, Program
from ir.interpreter import PER_SAMPLE, per_sample
from ir.linearity import fixed_nodes
from ir.ops import OPS
from ir.passes import expand_sos, fold, merge, prune
from ir.schedule import Loop, Step, schedule
from ir.verify import DTYPES

Value = np.ndarray
Fixed = Mapping[int, Value]


class Arithmetic(Protocol):
    """What becomes of each result."""

    def store(self, k: int, exact: Value, start: int) -> Value:
        """The samples of node `k` from `start` on, as they are kept: (*channels, copies, time)."""
        ...

    def recur(self, k: int, forward: Value, a: Value, past: Value, start: int) -> Value:
        """A recursive filter y = forward - Σ_{j ≥ 1} a_j y[t - j].

        Args:
            k: The node.
            forward: Σ b_j x[t - j], (*channels, copies, time).
            a: a_1, a_2, … (order, *channels).
            past: The outputs before, (*channels, copies, order).
            start: The time of the first sample.
        """
        ...


def prepared(program: Program) -> Program:
    """The program in the form that this package looks at.

    Sections stand apart, equal nodes are one, and knobs stand at their defaults.
    """
    program = fold(program)
    nodes = tuple(_at_rest(node) for node in program.graph.nodes)
    graph = expand_sos(replace(program.graph, nodes=nodes))
    return program.with_graph(merge(prune(graph)))


def _at_rest(node: Node) -> Node:
    if node.op != "control":
        return node
    return replace(node, op="constant", attributes=(("value", node["default"]),))


def fixed_values(program: Program) -> dict[int, Value]:
    """What is the same at every sample, computed in float64."""
    graph = program.graph
    found: dict[int, Value] = {}
    known = fixed_nodes(graph)
    todo = sorted(known)
    while todo:
        rest = []
        for k in todo:
            node = graph.nodes[k]
            if node.op == "coefficient":
                found[k] = program.coefficients[node.text("slot")]
            elif node.op == "constant":
                found[k] = np.asarray(node["value"], DTYPES[node.type.kind])
            elif all(s in found for s in node.inputs):
                with np.errstate(all="ignore"):
                    found[k] = np.asarray(per_sample(node)(*(found[s] for s in node.inputs)))
            else:
                rest.append(k)
        todo = rest
    return found


class Runner:
    """A prepared program with its fixed values, ready to run.

    Args:
        program: As `prepared` makes it.
        fixed: The value of each fixed node, as it is to be used; filters' coefficients may be
            replaced by `filters`.
        filters: For each recursive filter b and a, divided by a_0.
    """

    def __init__(
        self, program: Program, fixed: Fixed, filters: Mapping[int, tuple[Value, Value]]
    ) -> None:
        self.graph = program.graph
        self.fixed = fixed
        self.filters = filters
        self.values: list[Value] = []

    def run(
        self, arithmetic: Arithmetic, inputs: Sequence[Value], length: int, copies: int = 1
    ) -> list[Value]:
        """Runs it; every node's samples are in `values` after.

        Args:
            arithmetic: What becomes of each result.
            inputs: (*channels, copies, length) each.
            length: Samples.
            copies: Of the program, side by side.

        Returns:
            The outputs, (*channels, copies, length).
        """
        self.arithmetic, self.copies = arithmetic, copies
        self.values = [
            np.broadcast_to(self.fixed[k][..., None, None], (*node.shape, copies, length))
            if k in self.fixed
            else np.zeros((*node.shape, copies, length), DTYPES[node.type.kind])
            for k, node in self.graph
        ]
        for k in self.graph.inputs:
            self.values[k][...] = arithmetic.store(k, inputs[self.graph.nodes[k].int("index")], 0)
        with np.errstate(all="ignore"):
            self._steps(schedule(self.graph, length), 0, length)
        return [self.values[k] for k in self.graph.outputs]

    def _steps(self, steps: Sequence[Step], start: int, end: int) -> None:
        for step in steps:
            if isinstance(step, Loop):
                for begin in range(start, end, step.block):
                    self._steps(step.body, begin, min(end, begin + step.block))
            elif step not in self.fixed and self.graph.nodes[step].op != "input":
                self._node(step, start, end)

    def _node(self, k: int, start: int, end: int) -> None:
        node = self.graph.nodes[k]
        if node.op == "iir":
            found = self._iir(k, node, start, end)
        else:
            exact = self._exact(node, start, end)
            found = exact if node.type.kind != "real" else self.arithmetic.store(k, exact, start)
        self.values[k][..., start:end] = found

    def _exact(self, node: Node, start: int, end: int) -> Value:
        if node.op in OVER_TIME:
            return OVER_TIME[node.op](self, node, start, end)
        xs = [self.values[s][..., start:end] for s in node.inputs]
        function = SPREAD.get(node.op)
        if function is not None:
            return function(node, *xs)
        if OPS[node.op].family == "elementwise":
            xs = [self._still(s, x) for s, x in zip(node.inputs, xs, strict=True)]
        return np.broadcast_to(per_sample(node)(*xs), (*node.shape, self.copies, end - start))

    def _still(self, k: int, x: Value) -> Value:
        """A fixed operand with time and copies of length one, which is faster."""
        return x if k not in self.fixed else self.fixed[k][..., None, None]

    def late(self, k: int, samples: int, start: int, end: int, channel: tuple = ()) -> Value:
        """Node `k`, or one channel of it, `samples` ago; zero before the first sample."""
        x = self.values[k][channel]
        if start >= samples:
            return x[..., start - samples : end - samples]
        missing = min(samples - start, end - start)
        found = np.zeros((*x.shape[:-1], end - start), x.dtype)
        found[..., missing:] = x[..., : max(0, end - samples)]
        return found

    def _iir(self, k: int, node: Node, start: int, end: int) -> Value:
        x = node.inputs[0]
        b, a = self.filters[k]
        forward = np.zeros(self.values[k][..., start:end].shape)
        for j, row in enumerate(b):
            forward += row[..., None, None] * self.late(x, j, start, end)
        if len(node.inputs) == 4 and start < len(a) - 1:
            # The state reaches the output: of the transposed direct form II, as the op table says.
            state = self.fixed[node.inputs[3]][start:end]
            forward[..., : len(state)] += np.moveaxis(state, 0, -1)[..., None, :]
        order = len(a) - 1
        past = [self.late(k, order - j, start, start + 1) for j in range(order)]
        joined = np.concatenate(past, -1) if past else forward[..., :0]
        return self.arithmetic.recur(k, forward, a[1:], joined, start)


def recursion(forward: Value, a: Value, past: Value) -> Value:
    """As `Arithmetic.recur`, in float64."""
    order = len(a)
    if not order:
        return forward
    found = np.empty_like(forward)
    for index in np.ndindex(forward.shape[:-2]):
        under = np.concatenate([[1.0], a[(slice(None), *index)]])
        before = past[index]
        state = np.zeros((len(before), order))
        for j in range(order):  # state_j = -Σ_{i > j} a_i y[-(i - j)]
            for i in range(j + 1, order + 1):
                state[:, j] -= under[i] * before[:, order - (i - j)]
        found[index] = signal.lfilter([1.0], under, forward[index], axis=-1, zi=state)[0]
    return found


def _delay(run: Runner, node: Node, start: int, end: int) -> Value:
    x = node.inputs[0]
    found = np.empty((*node.shape, run.values[x].shape[-2], end - start), run.values[x].dtype)
    channels = list(np.ndindex(node.shape))
    for channel, m in zip(channels, node.ints("samples"), strict=True):
        found[channel] = run.late(x, m, start, end, channel)
        if len(node.inputs) == 2 and start < m:
            initial = run.fixed[node.inputs[1]][(slice(start, min(end, m)), *channel)]
            found[channel][:, : len(initial)] = initial
    return found


def _variable_delay(run: Runner, node: Node, start: int, end: int) -> Value:
    x, d = (run.values[s] for s in node.inputs)
    lengths = np.clip(d[..., start:end], node.int("minimum"), node.int("maximum"))
    at = np.arange(start, end) - lengths
    found = np.take_along_axis(x, np.maximum(at, 0), -1)
    return np.where(at >= 0, found, 0.0)


def _fir(run: Runner, node: Node, start: int, end: int) -> Value:
    x, taps = node.inputs[0], run.fixed[node.inputs[1]]
    count = len(taps)
    begin = max(0, start - count + 1)
    found = np.empty((*node.shape, run.values[x].shape[-2], end - start))
    for channel in np.ndindex(node.shape):
        heard = run.values[x][channel][..., begin:end]
        row = taps[(slice(None), *channel)]
        filtered = np.asarray(signal.lfilter(row, [1.0], heard, axis=-1))
        found[channel] = filtered[..., start - begin :]
    return found


OVER_TIME: dict[str, Callable[[Runner, Node, int, int], Value]] = {
    "delay": _delay,
    "variable_delay": _variable_delay,
    "fir": _fir,
}
"""Operations of time but the recursive filter."""


def _einsum(node: Node, x: Value, y: Value) -> Value:
    terms, result = node.text("subscripts").split("->")
    left, right = terms.split(",")
    if len(node.shape) <= 2 and 0 in (x.strides[-1], y.strides[-1]):
        # A matrix that is the same at every sample: one product for all of them.
        if y.strides[-1] == 0:
            return np.einsum(f"{left}...,{right}->{result}...", x, y[..., 0, 0], optimize=True)
        return np.einsum(f"{left},{right}...->{result}...", x[..., 0, 0], y, optimize=True)
    return np.einsum(f"{left}...,{right}...->{result}...", x, y)


def _broadcast(node: Node, x: Value) -> Value:
    full = [1] * len(node.shape)
    for axis, n in zip(node.ints("axes"), x.shape, strict=False):
        full[axis] = n
    return np.broadcast_to(x.reshape(*full, *x.shape[-2:]), (*node.shape, *x.shape[-2:]))


def _take(node: Node, x: Value) -> Value:
    flat = x.reshape(-1, *x.shape[-2:])
    return flat[list(node.ints("indices"))].reshape(*node.shape, *x.shape[-2:])


def _lookup(node: Node, table: Value, index: Value) -> Value:
    at = np.clip(index, 0, len(table) - 1)
    columns = table.reshape(len(table), *table.shape[1:-2], *table.shape[-2:])
    if columns.ndim == 3:
        columns = columns.reshape(len(table), *[1] * (at.ndim - 2), *table.shape[-2:])
    wide = np.broadcast_to(columns, (len(table), *at.shape))
    return np.take_along_axis(wide, at[None], 0)[0]


SPREAD: dict[str, Callable[..., Value]] = {
    "einsum": _einsum,
    "reshape": lambda node, x: x.reshape(*node.shape, *x.shape[-2:]),
    "transpose": lambda node, x: x.transpose(*node.ints("permutation"), x.ndim - 2, x.ndim - 1),
    "broadcast": _broadcast,
    "take": _take,
    "lookup": _lookup,
}
"""Operations whose formula for one sample does not fit whole signals; all others' does."""
COVERED = frozenset(SPREAD) | frozenset(OVER_TIME) | {"iir"} | (frozenset(PER_SAMPLE) - {"sos"})
"""What this reading can run, besides sources."""

__all__ = ["COVERED", "Arithmetic", "Runner", "fixed_values", "prepared", "recursion"]
