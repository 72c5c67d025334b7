"""Runs a graph over a block of samples; loops inside run in blocks of their own.

The same code runs a whole signal (one block from zero state) and a stream (state in, state out).
Everything that depends on coefficients alone is computed once, before any loop. Time is the last
axis of all signals here, so that the samples of a channel lie side by side.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from string import ascii_letters
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array, lax

from adac_jax.blocks.fusion import (
    entering,
    followers,
    later,
    products,
    read_outside,
    reads,
    waiting,
    without_signals,
)
from adac_jax.blocks.knobs import follow
from adac_jax.blocks.stateful import STATEFUL
from adac_jax.blocks.stateless import ELEMENTWISE, PER_SAMPLE, dtype_of
from adac_jax.kernels import delay_read, variable_read, whole_blocks
from adac_jax.kernels import run as samples_from
from ir import Graph
from ir.knobs import check_names
from ir.ops.controls import attribute
from ir.schedule import Loop, Step, schedule

RECURSIVE = ("iir", "sos")
"""The operations that are filters with a state."""
State = dict[int, Any]
Values = dict[int, Array]
Lines = Mapping[int, tuple[Array, Any]]
"""Delay lines that are read before they are written: what they hold, and where the block begins."""


class Plan:
    """A graph made ready to run on blocks of one length with given coefficients.

    Args:
        graph: What to run.
        coefficients: A JAX array a slot; tracers are welcome.
        length: Samples a block.
        dtype: The float type of signals.
        in_place: Whether the delay lines of a loop are one array that blocks are written into,
            which is fastest, or are moved on after each block, which costs a copy but has a
            derivative whose cost does not grow with the square of the length.
        moved: The names of the controls whose positions `run` is given; all others stay at their
            defaults, and what follows from them is computed once.
        ends: Whether the state after the last sample is wanted. Where it is not, loops run on to
            the end of their last block.
    """

    def __init__(
        self,
        graph: Graph,
        coefficients: Mapping[str, Array],
        length: int,
        dtype: Any,
        *,
        in_place: bool = True,
        ends: bool = True,
        moved: Collection[str] = (),
    ) -> None:
        self.graph = graph
        self.length = length
        self.dtype = dtype
        self.in_place = in_place
        self.ends = ends
        self.steps = schedule(graph, length)
        check_names(graph, dict.fromkeys(moved))
        self.moved = {
            k: node for k, node in graph if node.op == "control" and node.text("name") in moved
        }
        self.static = _static(graph, coefficients, dtype, self.moved)
        self.products = products(graph, self.static)
        self.sources = reads(graph, self.products)
        self.followers = {
            step: followers(graph, self.sources, self.steps, step, self.static)
            for step in self.steps
            if isinstance(step, Loop)
        }
        self._with_loops = {k for found in self.followers.values() for k in found}
        self.prepared: dict[tuple[int, int], Any] = {}
        self._prepare(self.steps, length, ends)

    def start(self) -> State:
        """The state before the first sample."""
        state: State = {k: jnp.zeros((), self.dtype) for k in self.moved}
        for k, node in self.graph:
            if node.op in STATEFUL:
                rest = tuple(self.static[s] for s in node.inputs[1:] if s in self.static)
                state[k] = STATEFUL[node.op].start(node, rest, dtype_of(node, self.dtype))
        return state

    def run(
        self, state: State, inputs: Sequence[Array], controls: Mapping[str, Any] | None = None
    ) -> tuple[State, tuple[Array, ...]]:
        """Runs one block: inputs (*channels, length) each; returns the new state and outputs.

        Args:
            state: That before the block.
            inputs: An array for each input node.
            controls: The positions of the moved controls, a number or (length,) each; a control
                without one is on its way to its default.
        """
        values: Values = {}
        for k in self.graph.inputs:
            node = self.graph.nodes[k]
            x = inputs[node.int("index")]
            values[k] = x if node.type.kind == "real" else x.astype(dtype_of(node, self.dtype))
        state = dict(state)
        for k, node in self.moved.items():
            default = attribute(node, "default")
            given = (controls or {}).get(node.text("name"), default)
            positions = jnp.broadcast_to(jnp.asarray(given, self.dtype), (self.length,))
            state[k], values[k] = follow(node, state[k], positions)
        self._run(self.steps, state, values, self.length, {}, self.ends)
        return state, tuple(self._block(k, values, self.length) for k in self.graph.outputs)

    def _prepare(self, steps: Sequence[Step], length: int, ends: bool) -> None:
        for step in steps:
            if isinstance(step, Loop):
                size = self.block_length(step)
                whole, rest, _ = split(length, size, ends)
                if whole:
                    self._prepare(step.body, size, True)
                if rest:
                    self._prepare(step.body, rest, True)
                continue
            node = self.graph.nodes[step]
            if node.op in STATEFUL and (step, length) not in self.prepared:
                sources = node.inputs[1:]
                if all(s in self.static for s in sources):
                    known = tuple(self.static[s] for s in sources)
                    self.prepared[step, length] = STATEFUL[node.op].prepare(node, known, length)

    def block_length(self, loop: Loop) -> int:
        """Samples a block of a loop: those of the schedule, or what its filters' blocks fill."""
        return whole_blocks(filter_orders(self.graph, loop), loop.block)

    def _run(
        self,
        steps: Sequence[Step],
        state: State,
        values: Values,
        length: int,
        lines: Lines,
        ends: bool,
    ) -> None:
        for step in steps:
            if isinstance(step, Loop):
                self._run_loop(step, state, values, length, ends)
            elif step not in self.static and step not in values and step not in self._with_loops:
                self._run_node(step, state, values, length, lines.get(step))

    def _run_node(
        self, k: int, state: State, values: Values, length: int, line: tuple[Array, Any] | None
    ) -> None:
        node = self.graph.nodes[k]
        if node.op in PER_SAMPLE:
            values[k] = self.per_sample(k, values, length)
            return
        rest = tuple(self.static[s] if s in self.static else values[s] for s in node.inputs[1:])
        if line is None:
            x = self._block(node.inputs[0], values, length)
            prepared = self.prepared.get((k, length))
            state[k], values[k] = STATEFUL[node.op].step(node, state[k], prepared, x, rest)
            return
        past, start = line
        if node.op == "delay":
            values[k] = delay_read(past, node.ints("samples"), length, start)
            return
        low, high = node.int("minimum"), node.int("maximum")
        # The block itself is not there yet, but the least delay keeps it out of reach.
        if not self.in_place:
            past = padded(past, length)
        d = rest[0] if node.inputs[1] not in self.static else rest[0][..., None]
        values[k] = variable_read(samples_from(past, 0, high + length, start), d, low, high, length)

    def per_sample(self, k: int, values: Mapping[int, Array], length: int) -> Array:
        """A stateless operation on all samples, without moving time from its place."""
        node = self.graph.nodes[k]
        if k in self.products:
            matrix, term, source, signal, result = self.products[k]
            time = next(c for c in ascii_letters if c not in term + signal + result)
            subscripts = f"{term},{signal}{time}->{result}{time}"
            return jnp.einsum(subscripts, matrix, values[source], precision="highest")
        arguments = [self.static[s] if s in self.static else values[s] for s in node.inputs]
        still = [s in self.static for s in node.inputs]
        function = PER_SAMPLE[node.op](node, self.dtype)
        if node.op in ELEMENTWISE and not all(still):
            spread = [a[..., None] if s else a for a, s in zip(arguments, still, strict=True)]
            return function(*spread)
        if node.op == "einsum" and not all(still):
            inputs, result = node.text("subscripts").split("->")
            time = next(c for c in ascii_letters if c not in inputs)
            terms = [t + ("" if s else time) for t, s in zip(inputs.split(","), still, strict=True)]
            return jnp.einsum(f"{','.join(terms)}->{result}{time}", *arguments, precision="highest")
        axes = [None if s else -1 for s in still]
        return jax.vmap(function, axes, -1, axis_size=length)(*arguments)

    def _run_loop(self, loop: Loop, state: State, values: Values, length: int, ends: bool) -> None:
        members = loop.members()
        following = self.followers.get(loop, ())
        inside = {*members, *following}
        held = [k for k in members if k in state]
        source = {k: self.graph.nodes[k].inputs[0] for k in loop.cuts}
        history = {k: state[k].shape[-1] for k in loop.cuts}
        samples = self.block_length(loop)
        whole, rest, total = split(length, samples, ends)
        outside = entering(self.sources, inside, self.static)
        signals = {k: padded(values[k], total - length) for k in outside}
        still = (
            waiting(self.graph, self.sources, loop, inside, self.static) if self.in_place else {}
        )

        def block(carry: State, start: Any, size: int) -> tuple[State, Values]:
            """Runs the block that begins at `start`; returns state and all values."""
            inner = {k: carry[k] for k in held}
            found = {
                k: samples_from(x, 0, size, start)
                for k, x in signals.items()
                if k not in still.values()
            }
            for line, k in still.items():
                found[k] = samples_from(carry[line], history[line], size, start)
            begin = start if self.in_place else 0
            lines = {k: (carry[k], begin) for k in loop.cuts}
            self._run(loop.body, inner, found, size, lines, True)
            for k in following:
                found[k] = self.per_sample(k, found, size)
            for k in loop.cuts:
                # What entered the lines is known by now.
                entered = self._block(source[k], found, size).astype(carry[k].dtype)
                if self.in_place:
                    inner[k] = written(carry[k], entered, start + history[k])
                else:
                    inner[k] = jnp.concatenate([carry[k], entered], axis=-1)[..., size:]
            return inner, found

        carry = {k: state[k] for k in held}
        read = read_outside(self.graph, self.sources, inside)
        if not self.in_place:
            carry = self._scan(block, carry, values, read, samples, whole, rest, length)
            state.update(carry)
            return
        for k in loop.cuts:
            if k in still:
                x = signals[still[k]].astype(carry[k].dtype)
                carry[k] = jnp.concatenate([carry[k], x], axis=-1)
            else:
                carry[k] = padded(carry[k], total)
        # What enters a line can be read there, and what follows from lines by little work is
        # computed from them later, all at once; all else that is wanted gets an array of its own.
        lined = {source[k]: k for k in loop.cuts}
        others = [k for k in read if k not in lined]
        after = later(self.graph, loop, others, inside, self.static)
        kept = [k for k in others if k not in after]
        results = {}
        for k in kept:
            node = self.graph.nodes[k]
            results[k] = jnp.zeros((*node.shape, total), dtype_of(node, self.dtype))

        def write(both: tuple[State, Values], start: Any, size: int) -> tuple[State, Values]:
            inner, found = block(both[0], start, size)
            return inner, {k: written(both[1][k], found[k], start) for k in kept}

        both = (carry, results)
        if whole:
            starts = jnp.arange(whole) * samples

            def further(both: tuple[State, Values], start: Array) -> tuple[Any, None]:
                return write(both, start, samples), None

            both, _ = lax.scan(further, both, starts)
        if rest:
            both = write(both, whole * samples, rest)
        carry, results = both
        for k in (*lined, *kept):
            if k not in read:
                continue
            line = lined.get(k)
            found = results[k] if line is None else carry[line][..., history[line] :]
            values[k] = found[..., :length]
        lines = {k: (carry[k], 0) for k in loop.cuts}
        again = dict(values)
        for k in after:
            if k not in again:
                self._run_node(k, {}, again, length, lines.get(k))
        values.update({k: again[k] for k in read if k in after})
        for k in loop.cuts:
            carry[k] = carry[k][..., length : length + history[k]]
        state.update(carry)

    def _scan(
        self,
        block: Any,
        carry: State,
        values: Values,
        read: Sequence[int],
        size: int,
        whole: int,
        rest: int,
        length: int,
    ) -> State:
        """Runs the blocks of a loop, collecting results as `scan` does, which can be transposed."""
        parts: list[list[Array]] = []
        if whole:

            def step(inner: State, start: Array) -> tuple[State, list[Array]]:
                after, found = block(inner, start, size)
                return after, [found[k] for k in read]

            carry, stacked = lax.scan(step, carry, jnp.arange(whole) * size)
            moved = [jnp.moveaxis(y, 0, -2) for y in stacked]
            parts.append([y.reshape(*y.shape[:-2], whole * size) for y in moved])
        if rest:
            carry, found = block(carry, whole * size, rest)
            parts.append([found[k] for k in read])
        for position, k in enumerate(read):
            joined = jnp.concatenate([part[position] for part in parts], axis=-1)
            values[k] = joined[..., :length]
        return carry

    def _block(self, k: int, values: Mapping[int, Array], length: int) -> Array:
        if k in self.static:
            static = self.static[k]
            return jnp.broadcast_to(static[..., None], (*static.shape, length))
        return values[k]


def real_type(coefficients: Mapping[str, Array], inputs: Sequence[Array]) -> Any:
    """The float type of signals that come of these numbers; the default one if none is real."""
    every = (*inputs, *coefficients.values())
    reals = [x.dtype for x in every if jnp.issubdtype(x.dtype, jnp.floating)]
    return jnp.result_type(*reals) if reals else jnp.result_type(float)


def filter_orders(graph: Graph, loop: Loop) -> set[int]:
    """The orders of the recursive filters of a loop, those of inner loops left out."""
    found = set()
    for step in loop.body:
        node = None if isinstance(step, Loop) else graph.nodes[step]
        if node is not None and node.op in RECURSIVE:
            rows = graph.nodes[node.inputs[1]].shape[0]
            found.add(2 * rows if node.op == "sos" else rows - 1)
    return found


def split(length: int, block: int, ends: bool) -> tuple[int, int, int]:
    """Whole blocks, what is left, and how many samples are run in all."""
    if ends:
        return *divmod(length, block), length
    whole = -(-length // block)
    return whole, 0, whole * block


def padded(x: Array, samples: int) -> Array:
    """A signal with so many samples of silence after it."""
    return jnp.pad(x, [(0, 0)] * (x.ndim - 1) + [(0, samples)]) if samples else x


def written(x: Array, block: Array, start: Any) -> Array:
    """A signal in which a block has been replaced from `start` on."""
    return lax.dynamic_update_slice_in_dim(x, block.astype(x.dtype), start, axis=-1)


def _static(
    graph: Graph, coefficients: Mapping[str, Array], dtype: Any, moved: Collection[int]
) -> dict[int, Array]:
    """The values of all nodes that depend on coefficients and on controls at rest alone."""
    found: dict[int, Array] = {}
    for k in without_signals(graph, moved):
        node = graph.nodes[k]
        if node.op == "coefficient":
            value = jnp.asarray(coefficients[node.text("slot")])
            found[k] = value if node.type.kind == "real" else value.astype(dtype_of(node, dtype))
        elif node.op == "constant":
            found[k] = jnp.asarray(node["value"], dtype_of(node, dtype))
        elif node.op == "control":
            found[k] = jnp.asarray(attribute(node, "default"), dtype)
        else:
            found[k] = PER_SAMPLE[node.op](node, dtype)(*(found[s] for s in node.inputs))
    return found
