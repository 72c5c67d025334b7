"""A linear, time-invariant program as x[t + 1] = A x[t] + B in[t], out[t] = C x[t] + D in[t].

Found by one walk over the graph in which every signal is a row of numbers: how much of each state,
of each input, and of one it holds. In float64, or in exact fractions.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np

import ir
from ir.cycles import order
from ir.graph import Node
from ir.interpreter import per_sample

Array = np.ndarray
MAX_STATES = 1200


class NotLinearError(Exception):
    """The program holds an operation that is not linear and time-invariant, or too many states."""


@dataclass(frozen=True)
class StateSpace:
    """The matrices; the last column of B and D belongs to a constant 1, for offsets.

    Attributes:
        A: (states, states).
        B: (states, inputs + 1).
        C: (outputs, states).
        D: (outputs, inputs + 1).
        x0: (states,), from initial values.
    """

    A: Array
    B: Array
    C: Array
    D: Array
    x0: Array


@dataclass
class Fixed:
    """A value that is the same at every sample."""

    value: Array


def state_space(program: ir.Program, exact: bool = False) -> StateSpace:
    """The matrices of a program.

    Args:
        program: Linear and time-invariant.
        exact: Compute in fractions; what only coefficients go into stays as float64 gives it.

    Raises:
        NotLinearError: the program is not linear, or has over `MAX_STATES` states.
    """
    return _Walk(program, exact).run()


class _Walk:
    def __init__(self, program: ir.Program, exact: bool) -> None:
        self.graph, self.coefficients = program.graph, program.coefficients
        self.exact = exact
        self.values: dict[int, Any] = {}
        self.sequence = order(self.graph)
        for k in self.sequence:
            self._fix(k)
        self.offsets: dict[int, int] = {}
        states = 0
        for k in self.sequence:
            self.offsets[k] = states
            states += self._states(k)
        if states > MAX_STATES:
            raise NotLinearError(f"{states} states")
        self.states = states
        self.width = states + self.graph.input_channels + 1
        self.next: dict[int, Array] = {}
        self.x0 = np.zeros(states)

    def run(self) -> StateSpace:
        S = self.states
        later = []
        for k in self.sequence:
            if k not in self.values:
                node = self.graph.nodes[k]
                if node.op in OVER_TIME:
                    # What a pure delay is fed may be known only later.
                    update = OVER_TIME[node.op](self, k, node)
                    later.append(update)
                else:
                    self.values[k] = self._linear(node)
        for update in later:
            update()
        empty = self.zeros(0)
        rows = np.concatenate([self.next[n] for n in range(S)] or [empty]).reshape(S, self.width)
        out = [self.form(k).reshape(-1, self.width) for k in self.graph.outputs]
        outs = np.concatenate(out or [empty.reshape(0, self.width)])
        return StateSpace(rows[:, :S], rows[:, S:], outs[:, :S], outs[:, S:], self.x0)

    # Values.

    def zeros(self, *shape: int) -> Array:
        out = np.zeros((*shape, self.width), object if self.exact else float)
        if self.exact:
            out[...] = Fraction(0)
        return out

    def number(self, value: Array) -> Array:
        """Coefficients in the arithmetic of the walk."""
        value = np.asarray(value, float)
        if not self.exact:
            return value
        out = np.empty(value.shape, object)
        for index in np.ndindex(value.shape):
            out[index] = Fraction(float(value[index]))
        return out

    def state(self, n: int) -> Array:
        unit = self.zeros()
        unit[n] = Fraction(1) if self.exact else 1.0
        return unit

    def form(self, k: int) -> Array:
        """A value as rows of numbers (*shape, width); an offset stands in the last column."""
        value = self.values[k]
        if not isinstance(value, Fixed):
            return value
        out = self.zeros(*self.graph.nodes[k].shape)
        out[..., -1] = self.number(value.value)
        return out

    def _fix(self, k: int) -> None:
        node = self.graph.nodes[k]
        if node.op == "coefficient":
            self.values[k] = Fixed(np.asarray(self.coefficients[node.text("slot")]))
        elif node.op == "constant":
            self.values[k] = Fixed(np.asarray(node["value"]))
        elif node.inputs and node.op not in OVER_TIME:
            sources = [self.values.get(s) for s in node.inputs]
            if all(isinstance(s, Fixed) for s in sources):
                with np.errstate(all="ignore"):
                    result = per_sample(node)(*(s.value for s in sources))  # type: ignore
                self.values[k] = Fixed(np.asarray(result))

    def _states(self, k: int) -> int:
        node = self.graph.nodes[k]
        size = node.type.size
        if node.op == "delay":
            return sum(node.ints("samples"))
        if node.op == "variable_delay":
            return int(self._lengths(node).sum())
        if node.op == "fir":
            return (self.graph.nodes[node.inputs[1]].shape[0] - 1) * size
        if node.op == "iir":
            return (self.graph.nodes[node.inputs[1]].shape[0] - 1) * size
        if node.op == "sos":
            return 2 * self.graph.nodes[node.inputs[1]].shape[0] * size
        return 0

    def _lengths(self, node: Node) -> Array:
        low, high = node.int("minimum"), node.int("maximum")
        d = self.values.get(node.inputs[1])
        if low == high:
            d = Fixed(np.asarray(low))
        if not isinstance(d, Fixed):
            raise NotLinearError("a delay varies")
        return np.broadcast_to(np.clip(d.value, low, high), node.shape).ravel().astype(int)

    def _linear(self, node: Node) -> Array:
        if node.op == "input":
            out = self.zeros(*node.shape)
            first = self.states
            for k in self.graph.inputs[: node.int("index")]:
                first += self.graph.nodes[k].type.size
            flat = out.reshape(-1, self.width)
            for i in range(node.type.size):
                flat[i] = self.state(first + i)
            return flat.reshape(out.shape)
        if node.op in ARRAYS:
            if node.type.kind != "real":
                raise NotLinearError(f"{node.op} of {node.type.kind}")
            return ARRAYS[node.op](node, *(self.form(s) for s in node.inputs))
        if node.op in ("mul", "div", "einsum", "select"):
            return self._product(node)
        raise NotLinearError(node.op)

    def _product(self, node: Node) -> Array:
        values = [self.values[s] for s in node.inputs]
        fixed = [isinstance(v, Fixed) for v in values]
        if node.op == "select" and fixed[0]:
            chosen = np.asarray(values[0].value)[..., None]
            return np.where(chosen, self.form(node.inputs[1]), self.form(node.inputs[2]))
        if node.op == "select" or sum(fixed) != 1 or (node.op == "div" and fixed[0]):
            raise NotLinearError(node.op)
        if node.op == "einsum":
            left, rest = node.text("subscripts").split(",")
            right, result = rest.split("->")
            if fixed[0]:
                return np.einsum(
                    f"{left},{right}Z->{result}Z", self.number(values[0].value), values[1]
                )
            return np.einsum(f"{left}Z,{right}->{result}Z", values[0], self.number(values[1].value))
        number = self.number(values[0 if fixed[0] else 1].value)[..., None]
        form = values[1 if fixed[0] else 0]
        return form / number if node.op == "div" else form * number


def _spread(node: Node, x: Array) -> Array:
    full = [1] * len(node.shape)
    for axis, n in zip(node.ints("axes"), x.shape[:-1], strict=True):
        full[axis] = n
    return np.broadcast_to(x.reshape(*full, x.shape[-1]), (*node.shape, x.shape[-1]))


def _slices(node: Node, x: Array) -> Array:
    bounds = zip(node.ints("start"), node.ints("limit"), node.ints("stride"), strict=True)
    return x[tuple(slice(*b) for b in bounds)]


ARRAYS: dict[str, Callable[..., Array]] = {
    "add": lambda node, x, y: x + y,
    "sub": lambda node, x, y: x - y,
    "neg": lambda node, x: -x,
    "convert": lambda node, x: x,
    "reshape": lambda node, x: x.reshape(*node.shape, x.shape[-1]),
    "transpose": lambda node, x: x.transpose(*node.ints("permutation"), x.ndim - 1),
    "broadcast": _spread,
    "slice": _slices,
    "concatenate": lambda node, *xs: np.concatenate(xs, axis=node.int("axis")),
    "take": lambda node, x: x.reshape(-1, x.shape[-1])[list(node.ints("indices"))].reshape(
        *node.shape, x.shape[-1]
    ),
    "sum": lambda node, x: x.sum(axis=node.ints("axes")),
}


# Operations of time: each sets its value at once and returns how to finish the next states.

OVER_TIME: dict[str, Callable[[_Walk, int, Node], Callable[[], None]]] = {}


def _delay(walk: _Walk, k: int, node: Node) -> Callable[[], None]:
    if node.op == "delay":
        lengths = np.array(node.ints("samples"), int)
    else:
        lengths = walk._lengths(node)
    ends = walk.offsets[k] + np.cumsum(lengths)
    out = walk.zeros(node.type.size)
    for i, (m, end) in enumerate(zip(lengths, ends, strict=True)):
        if m:
            out[i] = walk.state(int(end) - 1)
        else:
            out[i] = walk.form(node.inputs[0]).reshape(-1, walk.width)[i]
    walk.values[k] = out.reshape(*node.shape, walk.width)
    if node.op == "delay" and len(node.inputs) == 2 and len(lengths):
        given = walk.values[node.inputs[1]].value.reshape(-1, node.type.size)
        for i, (m, end) in enumerate(zip(lengths, ends, strict=True)):
            walk.x0[end - m : end] = given[:m, i][::-1]

    def finish() -> None:
        x = walk.form(node.inputs[0]).reshape(-1, walk.width)
        for i, (m, end) in enumerate(zip(lengths, ends, strict=True)):
            for n in range(int(end) - int(m), int(end)):
                first = n == end - m
                walk.next[n] = x[i] if first else walk.state(n - 1)

    return finish


def _filter(walk: _Walk, k: int, node: Node) -> Callable[[], None]:
    """Transposed direct form II, sections one after another."""
    channels = node.type.size
    coefficients = [walk.values[s].value for s in node.inputs[1:]]
    if node.op == "sos":
        sections = coefficients[0].reshape(len(coefficients[0]), 6, channels)
        b, a = sections[:, :3], sections[:, 3:]
        given = coefficients[1:]
    elif node.op == "iir":
        b, a = (c.reshape(1, len(c), channels) for c in coefficients[:2])
        given = coefficients[2:]
    else:
        b = coefficients[0].reshape(1, len(coefficients[0]), channels)
        a = np.zeros_like(b)
        a[:, 0] = 1
        given = []
    b, a = walk.number(b), walk.number(a)
    count, orders = b.shape[0], b.shape[1] - 1
    signal = walk.form(node.inputs[0]).reshape(channels, walk.width)
    n = walk.offsets[k]
    for section in range(count):
        out = []
        for i in range(channels):
            B, A = b[section, :, i] / a[section, 0, i], a[section, :, i] / a[section, 0, i]
            x = signal[i]
            y = B[0] * x + (walk.state(n) if orders else 0)
            for j in range(1, orders + 1):
                step = B[j] * x - A[j] * y
                walk.next[n + j - 1] = step + walk.state(n + j) if j < orders else step
            if given:
                start = given[0].reshape(count, orders, channels)[section, :, i]
                walk.x0[n : n + orders] = start
            n += orders
            out.append(y)
        signal = np.stack(out) if out else signal
    walk.values[k] = signal.reshape(*node.shape, walk.width)
    return lambda: None


OVER_TIME |= {"delay": _delay, "variable_delay": _delay}
OVER_TIME |= dict.fromkeys(("fir", "iir", "sos"), _filter)
