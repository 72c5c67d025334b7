"""Runs many copies of a program side by side, each on inputs of its own; copies can be cloned.

The copies lie along a last axis of every array. It shares with the interpreter only what an
operation does to single numbers; channels and time are written here anew.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

import ir
from ir.cycles import least_delay, order
from ir.graph import Node
from ir.interpreter import per_sample
from ir.ops import OPS

Array = np.ndarray
Rule = Callable[[Node], Callable[..., Array]]
DTYPES = {"real": np.float64, "int": np.int64, "bool": np.bool_}


class Machine:
    """`copies` of a program, at rest.

    Attributes:
        state: Arrays whose last axis is the copies.
        real: Which of them hold real numbers.
    """

    def __init__(self, program: ir.Program, copies: int) -> None:
        self.graph, self.copies, self.t = program.graph, copies, 0
        self.state: list[Array] = []
        self.real: list[bool] = []
        self.values: list[Any] = [None] * len(self.graph.nodes)
        self.steps: list[tuple[int, Callable[..., Any], tuple[int, ...]]] = []
        self.after: list[Callable[[], None]] = []
        self.inputs = [(k, self.graph.nodes[k].int("index")) for k in self.graph.inputs]
        self.knobs = sorted(self.graph.controls)
        self.positions = np.zeros((len(self.knobs), copies))
        fixed: set[int] = set()
        for k in order(self.graph):
            node = self.graph.nodes[k]
            if node.op == "coefficient":
                value = np.asarray(program.coefficients[node.text("slot")])
                self.values[k] = value[..., None]
            elif node.op == "constant":
                self.values[k] = np.asarray(node["value"], DTYPES[node.type.kind])[..., None]
            elif node.op == "input":
                continue
            elif node.op == "control":
                self.steps.append((k, self._control(node), ()))
                continue
            elif OPS[node.op].family == "time":
                self.steps.append((k, self._over_time(k, node), ()))
                continue
            else:
                function = channels(node) if node.op in CHANNELS else per_sample(node)
                if all(s in fixed for s in node.inputs):
                    with np.errstate(all="ignore"):
                        self.values[k] = function(*(self.values[s] for s in node.inputs))
                else:
                    self.steps.append((k, function, node.inputs))
                    continue
            fixed.add(k)

    def step(self, *inputs: Array) -> list[Array]:
        """One sample: inputs (*channels, copies), outputs the same.

        Knobs stand where `positions` says, (knobs, copies), from -1 (least) to 1 (greatest).
        """
        values = self.values
        for k, index in self.inputs:
            values[k] = inputs[index]
        with np.errstate(all="ignore"):
            for k, function, sources in self.steps:
                values[k] = function(*[values[s] for s in sources])
            for update in self.after:
                update()
        self.t += 1
        return [np.broadcast_to(values[k], (*self.graph.nodes[k].shape, self.copies))
                for k in self.graph.outputs]  # fmt: skip

    def pick(self, parents: Array) -> None:
        """Copy n becomes what copy parents[n] is."""
        for buffer in self.state:
            buffer[...] = buffer[..., parents]

    def level(self) -> Array:
        """The largest real state of each copy; infinite where one is not a number."""
        top = np.zeros(self.copies)
        for buffer, real in zip(self.state, self.real, strict=True):
            if real and buffer.size:
                top = np.maximum(top, np.abs(buffer).reshape(-1, self.copies).max(0))
        return np.where(np.isnan(top), np.inf, top)

    def energy(self) -> Array:
        """The sum of squares of the real states of each copy; infinite where not a number."""
        total = np.zeros(self.copies)
        with np.errstate(all="ignore"):
            for buffer, real in zip(self.state, self.real, strict=True):
                if real:
                    total = total + np.square(buffer).reshape(-1, self.copies).sum(0)
        return np.where(np.isnan(total), np.inf, total)

    # Operations of time.

    def _buffer(self, node: Node, *shape: int) -> Array:
        buffer = np.zeros((*shape, self.copies), DTYPES[node.type.kind])
        self.state.append(buffer)
        self.real.append(node.type.kind == "real")
        return buffer

    def _flat(self, k: int, size: int) -> Array:
        value = self.values[k]
        return np.broadcast_to(value.reshape(size, value.shape[-1]), (size, self.copies))

    def _control(self, node: Node) -> Callable[[], Array]:
        low, high, first, step = (
            float(node[key])
            for key in ("minimum", "maximum", "default", "step")  # type: ignore
        )
        n = self.knobs.index(node.text("name"))
        state = np.full(self.copies, first)
        self.state.append(state)
        self.real.append(False)

        def follow() -> Array:
            target = low + (high - low) * (self.positions[n] + 1) / 2
            state[...] = state + np.clip(target - state, -step, step)
            return state.copy()

        return follow

    def _over_time(self, k: int, node: Node) -> Callable[[], Array]:
        if node.op in ("delay", "variable_delay"):
            return self._delay(node)
        return self._filter(node)

    def _delay(self, node: Node) -> Callable[[], Array]:
        size, shape = node.type.size, (*node.shape, self.copies)
        varies = node.op == "variable_delay"
        if varies:
            low, longest = node.int("minimum"), node.int("maximum")
            samples = np.zeros(size, int)
        else:
            samples = np.array(node.ints("samples"), int)
            low, longest = 0, int(samples.max(initial=0))
        ring = longest + 1
        buffer = self._buffer(node, ring, size)
        channel, copy = np.arange(size), np.arange(self.copies)
        if not varies and len(node.inputs) == 2:
            given = np.asarray(self.values[node.inputs[1]])[..., 0].reshape(longest, size)
            for i, m in enumerate(samples):
                # Read at t is position (t - m) modulo the ring.
                for t in range(m):
                    buffer[(t - m) % ring, i] = given[t, i]
        source = node.inputs[0]

        def write() -> None:
            buffer[self.t % ring] = self._flat(source, size)

        def read() -> Array:
            if early:
                write()
            if varies:
                d = np.clip(self._flat(node.inputs[1], size), low, longest)
                return buffer[(self.t - d) % ring, channel[:, None], copy].reshape(shape)
            return buffer[(self.t - samples) % ring, channel].reshape(shape)

        early = least_delay(node) == 0
        if not early:
            self.after.append(write)
        return read

    def _filter(self, node: Node) -> Callable[[], Array]:
        size, shape = node.type.size, (*node.shape, self.copies)
        values = [np.asarray(self.values[s])[..., 0] for s in node.inputs[1:]]
        if node.op == "sos":
            sections = values[0].reshape(len(values[0]), 6, size)
            pairs, given = [(s[:3], s[3:]) for s in sections], values[1:]
        elif node.op == "iir":
            pairs = [tuple(v.reshape(len(v), size) for v in values[:2])]
            given = values[2:]
        else:
            taps = values[0].reshape(len(values[0]), size)
            one = np.zeros_like(taps)
            one[0] = 1
            pairs, given = [(taps, one)], []
        count = len(pairs[0][0]) - 1 if pairs else 0
        with np.errstate(all="ignore"):
            pairs = [((b / a[0])[..., None], (a / a[0])[..., None]) for b, a in pairs]
        states = [self._buffer(node, count + 1, size) for _ in pairs]
        for state, start in zip(states, given[0] if given and node.op == "sos" else given,
                                strict=False):  # fmt: skip
            state[:count] = np.asarray(start).reshape(count, size)[..., None]

        def run() -> Array:
            x = self._flat(node.inputs[0], size)
            for (b, a), state in zip(pairs, states, strict=True):
                y = b[0] * x + state[0]
                state[:-1] = state[1:] + b[1:] * x - a[1:] * y
                x = y
            return x.reshape(shape)

        return run


def channels(node: Node) -> Callable[..., Array]:
    """What an operation on channels does, with the copies along a last axis."""
    return CHANNELS[node.op](node)


def _broadcast(node: Node) -> Callable[[Array], Array]:
    axes, shape = node.ints("axes"), node.shape

    def spread(x: Array) -> Array:
        full = [1] * len(shape)
        for axis, n in zip(axes, x.shape[:-1], strict=True):
            full[axis] = n
        return np.broadcast_to(x.reshape(*full, x.shape[-1]), (*shape, x.shape[-1]))

    return spread


def _slice(node: Node) -> Callable[[Array], Array]:
    bounds = zip(node.ints("start"), node.ints("limit"), node.ints("stride"), strict=True)
    index = tuple(slice(*b) for b in bounds)
    return lambda x: x[index]


def _take(node: Node) -> Callable[[Array], Array]:
    indices = list(node.ints("indices"))
    return lambda x: x.reshape(-1, x.shape[-1])[indices].reshape(*node.shape, x.shape[-1])


def _lookup(node: Node) -> Callable[[Array, Array], Array]:
    def look(table: Array, index: Array) -> Array:
        copies = max(table.shape[-1], index.shape[-1])
        table = np.broadcast_to(table, (*table.shape[:-1], copies))
        at = np.broadcast_to(np.clip(index, 0, len(table) - 1), (*index.shape[:-1], copies))
        if table.ndim == 2 and at.ndim > 1:
            wide = table.reshape(len(table), *(1 for _ in at.shape[:-1]), copies)
            table = np.broadcast_to(wide, (len(table), *at.shape))
        return np.take_along_axis(table, at[None], 0)[0]

    return look


def _concatenate(node: Node) -> Callable[..., Array]:
    def join(*xs: Array) -> Array:
        copies = max(x.shape[-1] for x in xs)
        wide = [np.broadcast_to(x, (*x.shape[:-1], copies)) for x in xs]
        return np.concatenate(wide, axis=node.int("axis"))

    return join


def _einsum(node: Node) -> Callable[[Array, Array], Array]:
    left, rest = node.text("subscripts").split(",")
    right, result = rest.split("->")
    return lambda x, y: np.einsum(f"{left}...,{right}...->{result}...", x, y)


def _reduction(function: Callable[..., Array]) -> Callable[[Node], Callable[[Array], Array]]:
    def of(node: Node) -> Callable[[Array], Array]:
        return lambda x: function(x, axis=node.ints("axes"))

    return of


def _wrapped(make: Rule) -> Rule:
    """Integer sums and products have 32 bits."""

    def of(node: Node) -> Callable[..., Array]:
        function = make(node)
        if node.type.kind != "int":
            return function
        return lambda *xs: function(*xs).astype(np.int32).astype(np.int64)

    return of


CHANNELS: dict[str, Rule] = {
    "reshape": lambda node: lambda x: x.reshape(*node.shape, x.shape[-1]),
    "transpose": lambda node: lambda x: x.transpose(*node.ints("permutation"), x.ndim - 1),
    "broadcast": _broadcast,
    "slice": _slice,
    "concatenate": _concatenate,
    "take": _take,
    "lookup": _lookup,
    "sum": _wrapped(_reduction(np.sum)),
    "prod": _wrapped(_reduction(np.prod)),
    "max": _reduction(np.max),
    "min": _reduction(np.min),
    "einsum": _wrapped(_einsum),
}
