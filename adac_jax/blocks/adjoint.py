"""The derivative of a loop, run through the same blocks from the last one to the first.

A loop of delays and of operations on one sample writes s_k into its delay lines k, reads
d_k[t] = s_k[t - m_k] from them, and in each block computes (s, y) = f(θ, d, x), with θ its
coefficients, x what enters and y what leaves it. With bars for the derivatives of the loss,

    s̄_k[t] = d̄_k[t + m_k],    (θ̄ +=, d̄, x̄) = f'(θ, d, x)ᵀ (s̄, ȳ)

for the samples of a block at once: what s̄ needs is of later blocks, for the same reason for which
what d needs is of earlier ones. All that is kept of the way forward is what the lines hold, and
what filters make, with their states before each block.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from string import ascii_letters
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax
from jax.typing import ArrayLike

from adac_jax.blocks import adjoint_filters as filters
from adac_jax.blocks.fusion import Product, entering
from adac_jax.blocks.reading import (
    RECURSIVE,
    Plan,
    filter_orders,
    padded,
    real_type,
    split,
    written,
)
from adac_jax.blocks.stateless import PER_SAMPLE
from adac_jax.kernels import StateSpace, delay_read, fill, whole_blocks
from adac_jax.kernels import run as samples_from
from ir import Graph
from ir.cycles import order
from ir.schedule import Loop, schedule

Known = dict[str, dict[int, Any]]
"""What a block is computed with that is no signal: values of nodes, of products, of filters."""


class Saved(NamedTuple):
    """What the way forward leaves for the way back.

    Attributes:
        outputs: As of `run_whole`.
        held: What entered each delay line, after its silence, (*channels, m + total); the states
            of each filter before each block, (*channels, blocks, order); and what each filter
            makes, (*channels, total).
    """

    outputs: tuple[Array, ...]
    held: tuple[Array, ...]


def the_loop(graph: Graph, length: int) -> Loop | None:
    """The loop of a graph whose derivative this module computes; None for other graphs.

    It is the only one, holds delays, filters and operations on one sample of real signals, and all
    outputs leave it. Each signal that enters is added to what comes back and goes into delays
    alone, as x in u = x + loop(u): its cotangent is then what s̄ is, and lies in the lines that
    hold d̄.
    """
    steps = schedule(graph, length)
    loops = [step for step in steps if isinstance(step, Loop)]
    if len(loops) != 1 or length == 0:
        return None
    (loop,) = loops
    for k in loop.body:
        if isinstance(k, Loop):
            return None
        node = graph.nodes[k]
        cut = k in loop.cuts and node.op == "delay" and len(node.inputs) == 1
        if not (cut or node.op in PER_SAMPLE or _is_filter(graph, k)) or node.type.kind != "real":
            return None
    inside = {*loop.members()}
    for step in steps[steps.index(loop) + 1 :]:
        assert not isinstance(step, Loop)
        node = graph.nodes[step]
        if not inside.isdisjoint(node.inputs):
            if node.op not in PER_SAMPLE or node.type.kind != "real":
                return None
            inside.add(step)
    orders = filter_orders(graph, loop)
    if 0 in orders or not fill(orders, whole_blocks(orders, loop.block)):
        return None
    still = _without_signals(graph)
    for k in _filters(graph, loop):
        if not still.issuperset(graph.nodes[k].inputs[1:]) or _joins(graph, loop, inside, k):
            return None
    outside = {s for k in inside for s in graph.nodes[k].inputs} - inside - still
    lines = _entered(graph, loop, inside)
    if outside - lines.keys() or any(graph.nodes[s].op != "input" for s in outside):
        return None
    return loop if inside >= set(graph.outputs) else None


def _is_filter(graph: Graph, k: int) -> bool:
    """Whether a node is a recursive filter that begins from rest."""
    node = graph.nodes[k]
    return node.op in RECURSIVE and len(node.inputs) == (2 if node.op == "sos" else 3)


def _joins(graph: Graph, loop: Loop, inside: set[int], k: int) -> bool:
    """Whether a filter's output reaches a delay line by sums and the like, without a matrix.

    ȳ would then be written beside the lines' cotangents by the same piece of code that reads them,
    and XLA would copy them in each block.
    """
    reached, new = {k}, [k]
    while new:
        at = new.pop()
        for j in inside - reached:
            if at in graph.nodes[j].inputs and graph.nodes[j].op != "einsum":
                if j in loop.cuts:
                    return True
                if graph.nodes[j].op not in RECURSIVE:
                    reached.add(j)
                    new.append(j)
    return False


def _entered(graph: Graph, loop: Loop, inside: set[int]) -> dict[int, int]:
    """For each signal from outside the u that it is part of: u = x + …, which delays alone read."""
    found = {}
    for u in sorted({graph.nodes[k].inputs[0] for k in loop.cuts} & inside):
        readers = {j for j in inside if u in graph.nodes[j].inputs}
        if graph.nodes[u].op != "add" or not readers <= set(loop.cuts):
            continue
        for x in graph.nodes[u].inputs:
            others = [j for j in inside if x in graph.nodes[j].inputs]
            if x not in inside and others == [u] and graph.nodes[x].type == graph.nodes[u].type:
                found[x] = u
    return found


def _without_signals(graph: Graph) -> set[int]:
    """The nodes that no signal reaches."""
    found: set[int] = set()
    for k in order(graph):
        node = graph.nodes[k]
        if node.op in ("coefficient", "constant", "control") or (
            node.op in PER_SAMPLE and node.inputs and found.issuperset(node.inputs)
        ):
            found.add(k)
    return found


def run_saving(
    graph: Graph, coefficients: Mapping[str, Array], inputs: Sequence[Array], length: int
) -> Saved:
    """As `run_whole`, for a graph that has `the_loop`; and what its lines and filters held."""
    plan = _plan(graph, coefficients, inputs, length)
    outputs = plan.run(plan.start(), inputs)[1]
    (loop,) = (step for step in plan.steps if isinstance(step, Loop))
    found = _filters(graph, loop)
    lines = [plan.lines[k] for k in loop.cuts]
    states, filtered = [plan.begun[k] for k in found], [plan.filtered[k] for k in found]
    return Saved(outputs, (*lines, *states, *filtered))


def pull_back(
    graph: Graph,
    coefficients: Mapping[str, Array],
    integers: Mapping[str, Array],
    inputs: Sequence[Array],
    held: Sequence[Array],
    cotangents: Sequence[Array | None],
    length: int,
    wanted: Sequence[bool],
) -> tuple[dict[str, Array], list[Array | None]]:
    """The cotangents of coefficients and inputs.

    Args:
        graph: One that has `the_loop`.
        coefficients: A JAX array for each slot of real numbers.
        integers: For each of the other slots.
        inputs: An array (*channels, length) for each input node.
        held: Of `run_saving`.
        cotangents: That of each output, (*channels, length); None for zero.
        length: Samples.
        wanted: For each input, whether its cotangent is.

    Returns:
        The cotangent of each slot, and of each input that is wanted.
    """
    plan = _plan(graph, {**coefficients, **integers}, inputs, length)
    (loop,) = (step for step in plan.steps if isinstance(step, Loop))
    back = _Back(plan, loop, inputs, held, cotangents, wanted)

    def known(values: Mapping[str, Array]) -> Known:
        return back.known_of(_plan(graph, {**values, **integers}, inputs, length))

    _, to_coefficients = jax.vjp(known, dict(coefficients))
    of_known, of_inputs = back.run()
    return to_coefficients(of_known)[0], of_inputs


def _plan(
    graph: Graph, coefficients: Mapping[str, Array], inputs: Sequence[Array], length: int
) -> Plan:
    dtype = real_type(coefficients, inputs)
    return Plan(graph, coefficients, length, dtype, ends=False, saving=True)


def _filters(graph: Graph, loop: Loop) -> list[int]:
    return [k for k in loop.body if isinstance(k, int) and graph.nodes[k].op in RECURSIVE]


class _Back:
    """One run through the blocks of a loop, from the last to the first."""

    def __init__(
        self,
        plan: Plan,
        loop: Loop,
        inputs: Sequence[Array],
        held: Sequence[Array],
        cotangents: Sequence[Array | None],
        wanted: Sequence[bool],
    ) -> None:
        self.plan, self.loop = plan, loop
        graph = plan.graph
        self.nodes = [k for k in loop.body if isinstance(k, int) and k not in loop.cuts]
        inside = set(loop.members())
        for step in plan.steps[plan.steps.index(loop) + 1 :]:
            if isinstance(step, int) and not inside.isdisjoint(graph.nodes[step].inputs):
                inside.add(step)
                self.nodes.append(step)
        self.size = plan.block_length(loop)
        self.whole, _, self.total = split(plan.length, self.size, False)
        self.lines = dict(zip(loop.cuts, held, strict=False))
        found, first = _filters(graph, loop), len(loop.cuts)
        self.begun = dict(zip(found, held[first:], strict=False))
        self.filtered = dict(zip(found, held[first + len(found) :], strict=True))
        self.samples = {k: graph.nodes[k].ints("samples") for k in loop.cuts}
        self.source = {k: graph.nodes[k].inputs[0] for k in loop.cuts}
        # As the transpose wants them: within the loop they would be turned in each block.
        self.turned = {
            k: lax.optimization_barrier(plan.products[k].matrix.T)
            for k in self.nodes
            if k in plan.products and plan.products[k].is_plain
        }
        self.filters = {k: plan.prepared[k, self.size] for k in self.begun}
        self.filters_turned = {k: filters.turned(f) for k, f in self.filters.items()}
        outside = entering(plan.sources, inside, plan.static)
        self.at = {k: graph.nodes[k].int("index") for k in outside if graph.nodes[k].op == "input"}
        self.inputs = inputs
        self.wanted = wanted
        more = self.total - plan.length
        self.entering = {k: padded(inputs[j], more) for k, j in self.at.items()}
        self.part_of = _entered(graph, loop, inside)
        self.heard = [
            (k, padded(c, more))
            for k, c in zip(graph.outputs, cotangents, strict=True)
            if c is not None
        ]
        assert set(self.at) == set(outside), "what enters the loop is an input"

    def known_of(self, plan: Plan) -> Known:
        """What the nodes of a block read that is no signal."""
        products = {k: plan.products[k].matrix for k in self.nodes if k in plan.products}
        others = [k for k in self.nodes if k not in products and k not in self.filters]
        read = {s for k in others for s in plan.graph.nodes[k].inputs}
        static = {s: plan.static[s] for s in sorted(read) if s in plan.static}
        prepared = {k: plan.prepared[k, self.size] for k in self.filters}
        return {"static": static, "products": products, "filters": prepared}

    def with_known(self, known: Known) -> Plan:
        """The plan, with these values."""
        plan = copy.copy(self.plan)
        plan.static = {**plan.static, **known["static"]}
        plan.products = {
            k: p._replace(matrix=known["products"].get(k, p.matrix))
            for k, p in plan.products.items()
        }
        return plan

    def block(
        self,
        known: Known,
        read: dict[int, Array],
        states: dict[int, Array],
        taps: dict[int, filters.Taps],
        filtered: dict[int, Array],
        signals: dict[int, Array],
    ) -> tuple[list[Array], list[Array], dict[int, Array]]:
        """What enters the delay lines of one block, the outputs that are heard, and the states."""
        plan = self.with_known(known)
        values = {**signals, **read}
        ends = {}
        for k in self.nodes:
            if k in self.filters:
                x, y = values[plan.graph.nodes[k].inputs[0]], filtered[k]
                back = self.filters_turned[k]
                ends[k], values[k] = filters.run_known(states[k], x, taps[k], y, back)
            elif k in self.turned:
                x = values[plan.products[k].source]
                values[k] = _multiplied(plan.products[k], self.turned[k], x)
            else:
                values[k] = plan.per_sample(k, values, self.size)
        entered = [values[self.source[k]] for k in self.loop.cuts]
        return entered, [values[k] for k, _ in self.heard], ends

    def run(self) -> tuple[Known, list[Array | None]]:
        """The cotangents of what is known, and of the inputs that are wanted."""
        size, cuts = self.size, self.loop.cuts
        known = self.known_of(self.plan)
        added_up = {**known, "filters": {}}
        ahead = {k: jnp.zeros_like(line) for k, line in self.lines.items()}
        summed = jax.tree.map(jnp.zeros_like, added_up)
        states = {k: jnp.zeros_like(begun[..., 0, :]) for k, begun in self.begun.items()}
        after = dict(states)
        dtype = self.plan.dtype
        taps = {k: filters.no_taps(f, size, dtype) for k, f in self.filters.items()}

        def step(carry: Any, start: Array) -> tuple[Any, Any]:
            ahead, after, summed = carry
            read = {k: delay_read(self.lines[k], self.samples[k], size, start) for k in cuts}
            signals = {k: samples_from(x, 0, size, start) for k, x in self.entering.items()}
            filtered = {k: samples_from(y, 0, size, start) for k, y in self.filtered.items()}
            _, back = jax.vjp(
                lambda *moving: self.block(*moving, filtered=filtered, signals=signals),
                added_up,
                read,
                states,
                taps,
            )
            # What was read m samples later.
            entered = [_look_ahead(ahead[k], self.samples[k], size, start) for k in cuts]
            heard = [samples_from(c, 0, size, start) for _, c in self.heard]
            added, of_read, after, of_taps = back((entered, heard, after))
            # The only things that read the lines' cotangents come before they are written, so
            # that this is done in place: x̄ is left in them until the end.
            ahead = {k: written(ahead[k], of_read[k], start) for k in cuts}
            return (ahead, after, jax.tree.map(jnp.add, summed, added)), of_taps

        starts = jnp.arange(self.whole) * size
        carry, of_taps = lax.scan(step, (ahead, after, summed), starts, reverse=True)
        ahead, _, summed = carry
        summed = {**summed, "filters": self._of_filters(of_taps)}
        answer: list[Array | None] = [None] * len(self.inputs)
        for x, j in self.at.items():
            if self.wanted[j]:
                u, length = self.part_of[x], self.plan.length
                parts = [
                    _look_ahead(ahead[k], self.samples[k], length, 0)
                    for k in cuts
                    if self.source[k] == u
                ]
                parts += [c[..., :length] for k, c in self.heard if k == u]
                answer[j] = sum(parts[1:], parts[0])
        for j, x in enumerate(self.inputs):
            if self.wanted[j] and answer[j] is None:
                answer[j] = jnp.zeros_like(x)
        return summed, answer

    def _of_filters(self, of_taps: dict[int, filters.Taps]) -> dict[int, StateSpace]:
        """The cotangents of the filters' matrices, from all blocks at once."""
        if not self.filters:
            return {}
        values = dict(self.entering)
        for k in self.loop.cuts:
            values[k] = delay_read(self.lines[k], self.samples[k], self.total)
        found = {}
        for k in self.nodes:
            if k not in self.filters:
                values[k] = self.plan.per_sample(k, values, self.total)
                continue
            f, x = self.filters[k], values[self.plan.graph.nodes[k].inputs[0]]
            states = filters.states_of(f, x, self.begun[k])
            values[k] = self.filtered[k]
            # From (blocks, …) to all samples in a row.
            of_states = jnp.moveaxis(of_taps[k].states, 0, -3).reshape(states.shape)
            of_output = jnp.moveaxis(of_taps[k].output, 0, -2).reshape(x.shape)
            found[k] = filters.gradient(f, x, states, of_states, of_output)
        return found


def _multiplied(product: Product, turned: Array, x: Array) -> Array:
    """M x, with a transpose that takes Mᵀ as it is given."""
    matrix, term, _, signal, result = product
    time = next(c for c in ascii_letters if c not in term + signal + result)
    x_time, y_time = signal + time, result + time

    def multiply(subscripts: str, *factors: Array) -> Array:
        return jnp.einsum(subscripts, *factors, precision="highest")

    @jax.custom_vjp
    def forward(matrix: Array, x: Array) -> Array:
        return multiply(f"{term},{x_time}->{y_time}", matrix, x)

    def back(x: Array, y: Array) -> tuple[Array, Array]:
        of_matrix = multiply(f"{y_time},{x_time}->{term}", y, x)
        return of_matrix, multiply(f"{term[::-1]},{y_time}->{x_time}", turned, y)

    forward.defvjp(lambda matrix, x: (forward(matrix, x), x), back)
    return forward(matrix, x)


def _look_ahead(line: Array, samples: tuple[int, ...], length: int, start: ArrayLike) -> Array:
    """What lies m samples ahead in each channel: line[start + m + t]."""
    most, least = max(samples), min(samples)
    return delay_read(line, tuple(most + least - m for m in samples), length, start + least)
