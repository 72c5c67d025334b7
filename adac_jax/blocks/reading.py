"""Runs a graph over a block of samples; loops inside run in blocks of their own.

The same code runs a whole signal (one block from zero state) and a stream (state in, state out).
Everything that depends on coefficients alone is computed once, before any loop.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from adac_jax.blocks.stateful import STATEFUL
from adac_jax.blocks.stateless import PER_SAMPLE, dtype_of
from adac_jax.kernels import delay_read
from ir import Graph
from ir.cycles import order
from ir.schedule import Loop, Step, schedule

State = dict[int, Any]


class Plan:
    """A graph made ready to run on blocks of one length with given coefficients.

    Args:
        graph: What to run.
        coefficients: A JAX array a slot; tracers are welcome.
        length: Samples a block.
        dtype: The float type of signals.
    """

    def __init__(
        self, graph: Graph, coefficients: Mapping[str, Array], length: int, dtype: Any
    ) -> None:
        self.graph = graph
        self.length = length
        self.dtype = dtype
        self.steps = schedule(graph, length)
        self.static = _static(graph, coefficients, dtype)
        self.prepared: dict[tuple[int, int], Any] = {}
        self._prepare(self.steps, length)

    def start(self) -> State:
        """The state before the first sample."""
        state: State = {}
        for k, node in self.graph:
            if node.op in STATEFUL:
                rest = tuple(self.static[s] for s in node.inputs[1:] if s in self.static)
                state[k] = STATEFUL[node.op].start(node, rest, dtype_of(node, self.dtype))
        return state

    def run(self, state: State, inputs: Sequence[Array]) -> tuple[State, tuple[Array, ...]]:
        """Runs one block: inputs (length, *channels) each; returns the new state and outputs."""
        values: dict[int, Array] = {}
        for k in self.graph.inputs:
            node = self.graph.nodes[k]
            x = inputs[node.int("index")]
            values[k] = x if node.type.kind == "real" else x.astype(dtype_of(node, self.dtype))
        state = dict(state)
        self._run(self.steps, state, values, self.length, frozenset())
        return state, tuple(self._block(k, values, self.length) for k in self.graph.outputs)

    def _prepare(self, steps: Sequence[Step], length: int) -> None:
        for step in steps:
            if isinstance(step, Loop):
                whole, rest = divmod(length, step.block)
                if whole:
                    self._prepare(step.body, step.block)
                if rest:
                    self._prepare(step.body, rest)
                continue
            node = self.graph.nodes[step]
            if node.op in STATEFUL and (step, length) not in self.prepared:
                sources = node.inputs[1:]
                if all(s in self.static for s in sources):
                    rest_ = tuple(self.static[s] for s in sources)
                    prepared = STATEFUL[node.op].prepare(node, rest_, length)
                    self.prepared[step, length] = prepared

    def _run(
        self,
        steps: Sequence[Step],
        state: State,
        values: dict[int, Array],
        length: int,
        cuts: frozenset[int],
    ) -> None:
        for step in steps:
            if isinstance(step, Loop):
                self._run_loop(step, state, values, length)
            elif step not in self.static and step not in values:
                self._run_node(step, state, values, length, step in cuts)
        # What entered a cut delay is known by now: it becomes the delay's past.
        for k in cuts:
            entered = self._block(self.graph.nodes[k].inputs[0], values, length)
            joined = jnp.concatenate([state[k], entered.astype(state[k].dtype)])
            state[k] = joined[length:]

    def _run_node(
        self, k: int, state: State, values: dict[int, Array], length: int, cut: bool
    ) -> None:
        node = self.graph.nodes[k]
        if node.op in PER_SAMPLE:
            arguments = [self.static.get(s, values.get(s)) for s in node.inputs]
            axes = [None if s in self.static else 0 for s in node.inputs]
            function = PER_SAMPLE[node.op](node, self.dtype)
            values[k] = jax.vmap(function, axes, axis_size=length)(*arguments)
            return
        rest = tuple(self.static[s] if s in self.static else values[s] for s in node.inputs[1:])
        if not cut:
            x = self._block(node.inputs[0], values, length)
            prepared = self.prepared.get((k, length))
            state[k], values[k] = STATEFUL[node.op].step(node, state[k], prepared, x, rest)
        elif node.op == "delay":
            values[k] = delay_read(state[k], node.ints("samples"), length)
        else:
            # The block is all zeros yet, but the least delay keeps it out of reach.
            nothing = jnp.zeros((length, *node.shape), state[k].dtype)
            values[k] = STATEFUL[node.op].step(node, state[k], None, nothing, rest)[1]

    def _run_loop(self, loop: Loop, state: State, values: dict[int, Array], length: int) -> None:
        members = loop.members()
        inside = set(members)
        read = set(self.graph.outputs)
        read.update(s for j, node in self.graph if j not in inside for s in node.inputs)
        wanted = [k for k in members if k in read]
        held = [k for k in members if k in state]
        entering = sorted(
            {
                s
                for k in members
                for s in self.graph.nodes[k].inputs
                if s not in inside and s not in self.static
            }
        )

        def body(carry: State, blocks: dict[int, Array], size: int) -> tuple[State, list[Array]]:
            inner, found = dict(carry), dict(blocks)
            self._run(loop.body, inner, found, size, frozenset(loop.cuts))
            return {k: inner[k] for k in held}, [found[k] for k in wanted]

        carry = {k: state[k] for k in held}
        whole, rest = divmod(length, loop.block)
        parts: list[list[Array]] = []
        if whole:
            blocks = {
                k: values[k][: whole * loop.block].reshape(whole, loop.block, *values[k].shape[1:])
                for k in entering
            }
            carry, stacked = jax.lax.scan(
                lambda c, b: body(c, b, loop.block), carry, blocks, length=whole
            )
            parts.append([y.reshape(whole * loop.block, *y.shape[2:]) for y in stacked])
        if rest:
            carry, tail = body(carry, {k: values[k][whole * loop.block :] for k in entering}, rest)
            parts.append(tail)
        state.update(carry)
        for position, k in enumerate(wanted):
            found = [part[position] for part in parts]
            values[k] = found[0] if len(found) == 1 else jnp.concatenate(found)

    def _block(self, k: int, values: Mapping[int, Array], length: int) -> Array:
        if k in self.static:
            static = self.static[k]
            return jnp.broadcast_to(static, (length, *static.shape))
        return values[k]


def run(
    graph: Graph, coefficients: Mapping[str, Array], inputs: Sequence[Array], length: int
) -> tuple[Array, ...]:
    """Runs a graph over whole signals from zero state.

    Args:
        graph: What to run.
        coefficients: A JAX array a slot.
        inputs: An array (length, *channels) for each input node.
        length: Samples.

    Returns:
        An array (length, *channels) for each output.
    """
    every = (*inputs, *coefficients.values())
    reals = [x.dtype for x in every if jnp.issubdtype(x.dtype, jnp.floating)]
    dtype = jnp.result_type(*reals) if reals else jnp.result_type(float)
    if length == 0:
        kinds = {"real": dtype, "int": jnp.int32, "bool": bool}
        found = [graph.nodes[k].type for k in graph.outputs]
        return tuple(jnp.zeros((0, *type_.shape), kinds[type_.kind]) for type_ in found)
    plan = Plan(graph, coefficients, length, dtype)
    return plan.run(plan.start(), inputs)[1]


def _static(graph: Graph, coefficients: Mapping[str, Array], dtype: Any) -> dict[int, Array]:
    """The values of all nodes that depend on coefficients alone."""
    found: dict[int, Array] = {}
    for k in order(graph):
        node = graph.nodes[k]
        if node.op == "coefficient":
            value = jnp.asarray(coefficients[node.text("slot")])
            found[k] = value if node.type.kind == "real" else value.astype(dtype_of(node, dtype))
        elif node.op == "constant":
            found[k] = jnp.asarray(node["value"], dtype_of(node, dtype))
        elif node.op in PER_SAMPLE and node.inputs and all(s in found for s in node.inputs):
            found[k] = PER_SAMPLE[node.op](node, dtype)(*(found[s] for s in node.inputs))
    return found
