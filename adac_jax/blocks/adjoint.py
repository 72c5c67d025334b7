"""The derivative of a loop, run through the same blocks from the last one to the first.

A loop of delays and of operations on one sample writes s_k into its delay lines k, reads
d_k[t] = s_k[t - m_k] from them, and in each block computes (s, y) = f(θ, d, x), with θ its
coefficients, x what enters and y what leaves it. With bars for the derivatives of the loss,

    s̄_k[t] = d̄_k[t + m_k],    (θ̄ +=, d̄, x̄) = f'(θ, d, x)ᵀ (s̄, ȳ)

for the samples of a block at once: what s̄ needs is of later blocks, for the same reason for which
what d needs is of earlier ones. Kept of the way forward are d, and what filters read and make.

Both ways, lines are rings as long as the longest delay, so that they stay in the processor's cache:
an array as long as the signal, read far behind where it is written, would come from memory each
time. What is kept has such arrays, which are written and read once, in order.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from string import ascii_letters
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax

from adac_jax.blocks import adjoint_filters as filters
from adac_jax.blocks.fusion import Product, without_signals
from adac_jax.blocks.reading import (
    RECURSIVE,
    Plan,
    filter_orders,
    padded,
    real_type,
    split,
    written,
)
from adac_jax.blocks.stateless import PER_SAMPLE, dtype_of
from adac_jax.kernels import delay_read, fill, run_blocks, whole_blocks
from adac_jax.kernels import run as samples_from
from ir import Graph
from ir.schedule import Loop, schedule

Known = dict[str, dict[int, Any]]
"""What a block is computed with that is no signal: values of nodes, of products, of filters."""


class Saved(NamedTuple):
    """What the way forward leaves for the way back.

    Attributes:
        outputs: As of `run_whole`.
        held: What is read from each delay line that is not read by filters alone, and what each
            filter makes, (blocks, *channels, size); and what a filter's own blocks read,
            (*channels, total / K, K + p).
    """

    outputs: tuple[Array, ...]
    held: tuple[Array, ...]


@dataclass(frozen=True)
class Course:
    """A loop whose derivative this module computes, and what is computed in its blocks.

    Attributes:
        loop: It.
        nodes: What a block computes, in order: of what enters, within the loop, of what leaves it.
        filters: Those of the nodes that are filters.
        inputs: The input nodes that are read, and the index of each.
        entering: For each signal from before the loop that the loop reads, the u that it is part
            of: u = … + x, which delays alone read.
    """

    loop: Loop
    nodes: tuple[int, ...]
    filters: tuple[int, ...]
    inputs: dict[int, int]
    entering: dict[int, int]


def the_loop(graph: Graph, length: int) -> Course | None:
    """The loop of a graph whose derivative this module computes; None for other graphs.

    It is the only one, and holds delays, filters and operations on one sample of real signals; such
    operations alone come before it and after it. Each signal that enters is added to what comes
    back and goes into delays alone, as x in u = x + loop(u): its cotangent is then what s̄ is.
    """
    steps = schedule(graph, length)
    loops = [step for step in steps if isinstance(step, Loop)]
    if len(loops) != 1 or length == 0:
        return None
    (loop,) = loops
    still = set(without_signals(graph))
    found: list[int] = []
    for k in loop.body:
        if isinstance(k, Loop) or graph.nodes[k].type.kind != "real":
            return None
        node = graph.nodes[k]
        if k in loop.cuts and node.op == "delay" and len(node.inputs) == 1:
            continue
        if not (node.op in PER_SAMPLE or _is_filter(graph, k, still)):
            return None
        found.append(k)
    at = steps.index(loop)
    inside = {*loop.members()}
    after = []
    for step in steps[at + 1 :]:
        assert not isinstance(step, Loop)
        if not inside.isdisjoint(graph.nodes[step].inputs):
            inside.add(step)
            after.append(step)
    before: list[int] = []
    read = {s for k in inside for s in graph.nodes[k].inputs}
    for step in reversed(steps[:at]):
        assert not isinstance(step, Loop)
        if step in read and step not in still:
            before.insert(0, step)
            read.update(graph.nodes[step].inputs)
    inputs = {k: graph.nodes[k].int("index") for k in before if graph.nodes[k].op == "input"}
    others = [k for k in (*before, *after) if k not in inputs]
    if any(graph.nodes[k].op not in PER_SAMPLE for k in others):
        return None
    if any(graph.nodes[k].type.kind != "real" for k in (*before, *after)):
        return None
    orders = filter_orders(graph, loop)
    if 0 in orders or not fill(orders, whole_blocks(orders, loop.block)):
        return None
    entering = {
        x: _part_of(graph, loop, inside, x)
        for x in before
        if any(x in graph.nodes[k].inputs for k in inside)
    }
    known = {x: u for x, u in entering.items() if u is not None}
    if len(known) < len(entering) or not {*inside, *_inputs(graph)}.issuperset(graph.outputs):
        return None
    nodes = (*(k for k in before if k not in inputs), *found, *after)
    return Course(loop, nodes, tuple(_filters(graph, found)), inputs, known)


def _inputs(graph: Graph) -> list[int]:
    return [k for k, node in graph if node.op == "input"]


def _filters(graph: Graph, nodes: Sequence[int]) -> list[int]:
    return [k for k in nodes if graph.nodes[k].op in RECURSIVE]


def _is_filter(graph: Graph, k: int, still: set[int]) -> bool:
    """Whether a node is a recursive filter that begins from rest and does not change."""
    node = graph.nodes[k]
    rest = node.inputs[1:]
    return node.op in RECURSIVE and len(rest) == (1 if node.op == "sos" else 2) <= len(
        still.intersection(rest)
    )


def _part_of(graph: Graph, loop: Loop, inside: set[int], x: int) -> int | None:
    """The u = … + x that a signal from outside is added up in, if delays alone read it."""
    while True:
        readers = [k for k in inside if x in graph.nodes[k].inputs]
        if x in inside and readers and set(readers) <= set(loop.cuts):
            return x
        if len(readers) != 1 or graph.nodes[readers[0]].op != "add":
            return None
        u = readers[0]
        if graph.nodes[u].type != graph.nodes[x].type or graph.nodes[u].inputs.count(x) != 1:
            return None
        x = u


class _Way:
    """What both ways through the blocks of a loop have in common."""

    def __init__(
        self,
        graph: Graph,
        coefficients: Mapping[str, Array],
        inputs: Sequence[Array],
        length: int,
    ) -> None:
        course = the_loop(graph, length)
        assert course is not None, "asked before"
        self.graph, self.course, self.inputs = graph, course, inputs
        dtype = real_type(coefficients, inputs)
        self.plan = Plan(graph, coefficients, length, dtype, ends=False)
        self.length, self.dtype = length, dtype
        self.cuts = course.loop.cuts
        self.size = self.plan.block_length(course.loop)
        self.whole, _, self.total = split(length, self.size, False)
        self.samples = {k: graph.nodes[k].ints("samples") for k in self.cuts}
        self.source = {k: graph.nodes[k].inputs[0] for k in self.cuts}
        self.filters = {k: self.plan.prepared[k, self.size] for k in course.filters}
        self.filtered = {k: graph.nodes[k].inputs[0] for k in course.filters}
        others = [k for k in course.nodes if k not in self.filters]
        sources = self.plan.sources
        self.kept = [k for k in self.cuts if any(k in sources[j] for j in others)]
        """The delays whose output is read by other nodes than filters."""
        more = self.total - length
        self.signals = {k: padded(inputs[j], more) for k, j in course.inputs.items()}
        # Blocks in a ring: enough for the longest delay and for the block that is written.
        self.blocks = {k: -(-max(self.samples[k]) // self.size) + 1 for k in self.cuts}
        numbers = jnp.arange(self.whole)
        places = {k: numbers % n * self.size for k, n in self.blocks.items()}
        self.at = (numbers, numbers * self.size, places)
        """Each block's number, and where it begins: in signals, and in each ring."""

    def silence(self, k: int, *shape: int) -> Array:
        """Zeros of the channels of a node."""
        node = self.graph.nodes[k]
        return jnp.zeros((*node.shape, *shape), dtype_of(node, self.dtype))

    def stack(self, k: int) -> Array:
        """Zeros of all blocks of a node, one after another."""
        return jnp.zeros((self.whole, *self.silence(k, self.size).shape), self.silence(k).dtype)

    def rings(self) -> dict[int, Array]:
        """The lines' rings, twice over: what is read from them is never split."""
        return {k: self.silence(k, 2 * n * self.size) for k, n in self.blocks.items()}

    def into(self, k: int, ring: Array, x: Array, place: Array) -> Array:
        """A ring with a block written at its place."""
        turn = self.blocks[k] * self.size
        return written(written(ring, x, place), x, place + turn)

    def behind(self, k: int, ring: Array, place: Array) -> Array:
        """What was written m samples before the block of this place, in each channel."""
        turn = self.blocks[k] * self.size
        return delay_read(ring, self.samples[k], self.size, place + turn - max(self.samples[k]))

    def ahead(self, k: int, ring: Array, place: Array) -> Array:
        """What was written m samples after it."""
        samples = self.samples[k]
        most, least = max(samples), min(samples)
        mirrored = tuple(most + least - m for m in samples)
        return delay_read(ring, mirrored, self.size, place + least)

    def entering(self, start: Array) -> dict[int, Array]:
        """The block of each input."""
        return {k: samples_from(x, 0, self.size, start) for k, x in self.signals.items()}


def run_saving(
    graph: Graph, coefficients: Mapping[str, Array], inputs: Sequence[Array], length: int
) -> Saved:
    """As `run_whole`, for a graph that has `the_loop`; and what its lines and filters held."""
    way = _Way(graph, coefficients, inputs, length)
    heard = [k for k in dict.fromkeys(graph.outputs) if k not in way.signals]
    kept = [*way.kept, *way.filters]
    reads = {}
    for k, f in way.filters.items():
        K, p = f.gather.shape[-2:]
        reads[k] = way.silence(k, way.total // K, K + p)
    arrays = {k: way.silence(k, way.total) for k in heard}
    stacks = {k: way.stack(k) for k in kept}
    states = {k: way.silence(k, f.step.shape[-1]) for k, f in way.filters.items()}

    def step(carry: Any, at: Any) -> tuple[Any, None]:
        rings, states, reads, stacks, arrays = carry
        number, start, places = at
        values = way.entering(start)
        values.update({k: way.behind(k, rings[k], places[k]) for k in way.cuts})
        after, read_now = {}, {}
        for k in way.course.nodes:
            if k not in way.filters:
                values[k] = way.plan.per_sample(k, values, way.size)
                continue
            x = values[way.filtered[k]]
            K = way.filters[k].gather.shape[-2]
            found = run_blocks(states[k], x.reshape(*x.shape[:-1], -1, K), way.filters[k])
            values[k], after[k] = found.y.reshape(x.shape), found.after
            read_now[k] = filters.written(reads[k], found.read, number * (way.size // K))
        rings = {k: way.into(k, rings[k], values[way.source[k]], places[k]) for k in way.cuts}
        stacks = {k: stacked(x, values[k], number) for k, x in stacks.items()}
        arrays = {k: written(x, values[k], start) for k, x in arrays.items()}
        return (rings, after, read_now, stacks, arrays), None

    carry = (way.rings(), states, reads, stacks, arrays)
    (_, _, reads, stacks, arrays), _ = lax.scan(step, carry, way.at)
    outputs = (way.signals[k] if k in way.signals else arrays[k] for k in graph.outputs)
    held = (*(stacks[k] for k in kept), *reads.values())
    return Saved(tuple(y[..., :length] for y in outputs), held)


def stacked(stack: Array, block: Array, number: Array) -> Array:
    """A stack of blocks, with one of them replaced."""
    return lax.dynamic_update_index_in_dim(stack, block.astype(stack.dtype), number, axis=0)


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

    def way(values: Mapping[str, Array]) -> _Way:
        return _Way(graph, {**values, **integers}, inputs, length)

    back = _Back(way(coefficients), held, cotangents, wanted)
    _, to_coefficients = jax.vjp(lambda values: back.known_of(way(values)), dict(coefficients))
    of_known, of_inputs = back.run()
    return to_coefficients(of_known)[0], of_inputs


class _Back:
    """One run through the blocks of a loop, from the last to the first."""

    def __init__(
        self,
        way: _Way,
        held: Sequence[Array],
        cotangents: Sequence[Array | None],
        wanted: Sequence[bool],
    ) -> None:
        self.way, self.plan, self.wanted = way, way.plan, wanted
        kept = [*way.kept, *way.filters]
        self.held = dict(zip(kept, held, strict=False))
        self.reads = dict(zip(way.filters, held[len(kept) :], strict=True))
        # As the transpose wants them: within the loop they would be turned in each block.
        self.turned = {
            k: lax.optimization_barrier(self.plan.products[k].matrix.T)
            for k in way.course.nodes
            if k in self.plan.products and self.plan.products[k].is_plain
        }
        self.filters = {k: filters.transposed(f) for k, f in way.filters.items()}
        more = way.total - way.length
        given = [
            (k, padded(c, more))
            for k, c in zip(way.graph.outputs, cotangents, strict=True)
            if c is not None
        ]
        self.through = [(k, c) for k, c in given if k in way.signals]
        """Cotangents of inputs that are outputs as they are."""
        self.heard = [(k, c) for k, c in given if k not in way.signals]
        asked = [k for k, j in way.course.inputs.items() if wanted[j]]
        self.asked = asked
        self.stored = [k for k in way.cuts if way.source[k] in self._sums()] if asked else []
        """The delays whose input's cotangent is kept, to find those of the inputs from it."""

    def _sums(self) -> set[int]:
        return set(self.way.course.entering.values())

    def known_of(self, way: _Way) -> Known:
        """What the nodes of a block read that is no signal."""
        plan, nodes = way.plan, way.course.nodes
        products = {k: plan.products[k].matrix for k in nodes if k in plan.products}
        others = [k for k in nodes if k not in products and k not in way.filters]
        read = {s for k in others for s in plan.graph.nodes[k].inputs}
        static = {s: plan.static[s] for s in sorted(read) if s in plan.static}
        return {"static": static, "products": products, "filters": way.filters}

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
        taps: dict[int, Array],
        filtered: dict[int, Array],
        signals: dict[int, Array],
    ) -> tuple[list[Array], list[Array], dict[int, Array]]:
        """What enters the delay lines of one block, the outputs that are heard, and the states."""
        plan, way = self.with_known(known), self.way
        values = {**signals, **read}
        ends = {}
        for k in way.course.nodes:
            if k in self.filters:
                x, y = values[way.filtered[k]], filtered[k]
                known_run = filters.run_known(states[k], x, taps[k], y, self.filters[k])
                ends[k], values[k] = known_run
            elif k in self.turned:
                x = values[plan.products[k].source]
                values[k] = _multiplied(plan.products[k], self.turned[k], x)
            else:
                values[k] = plan.per_sample(k, values, way.size)
        entered = [values[way.source[k]] for k in way.cuts]
        return entered, [values[k] for k, _ in self.heard], ends

    def run(self) -> tuple[Known, list[Array | None]]:
        """The cotangents of what is known, and of the inputs that are wanted."""
        way = self.way
        size, cuts = way.size, way.cuts
        known = self.known_of(way)
        added_up = {**known, "filters": {}}
        summed = jax.tree.map(jnp.zeros_like, added_up)
        states = {k: way.silence(k, f.step.shape[-1]) for k, f in self.filters.items()}
        taps = {k: filters.no_taps(f, size, way.dtype) for k, f in self.filters.items()}
        returned = {k: jnp.zeros_like(read) for k, read in self.reads.items()}
        stored = {k: way.silence(k, way.total) for k in self.stored}
        silent = {k: way.silence(k, size) for k in cuts if k not in way.kept}

        def step(carry: Any, at: Any) -> tuple[Any, None]:
            rings, after, summed, returned, stored = carry
            number, start, places = at
            held = {
                k: lax.dynamic_index_in_dim(x, number, keepdims=False) for k, x in self.held.items()
            }
            read = {k: held[k] if k in held else silent[k] for k in cuts}
            filtered = {k: held[k] for k in self.filters}
            signals = way.entering(start)
            _, back = jax.vjp(
                lambda *moving: self.block(*moving, filtered=filtered, signals=signals),
                added_up,
                read,
                states,
                taps,
            )
            # What was read m samples later.
            entered = [way.ahead(k, rings[k], places[k]) for k in cuts]
            stored = {k: written(stored[k], entered[cuts.index(k)], start) for k in self.stored}
            heard = [samples_from(c, 0, size, start) for _, c in self.heard]
            added, of_read, after, of_taps = back((entered, heard, after))
            # The only things that read the rings come before they are written, so that this is
            # done in place.
            rings = {k: way.into(k, rings[k], of_read[k], places[k]) for k in cuts}
            returned = {
                k: filters.written(returned[k], x, number * x.shape[-2]) for k, x in of_taps.items()
            }
            return (rings, after, jax.tree.map(jnp.add, summed, added), returned, stored), None

        carry = (way.rings(), states, summed, returned, stored)
        carry, _ = lax.scan(step, carry, way.at, reverse=True)
        _, _, summed, returned, stored = carry
        of_filters = {k: filters.gradient(f, self.reads[k], returned[k])
                      for k, f in way.filters.items()}  # fmt: skip
        return {**summed, "filters": of_filters}, self._of_inputs(stored)

    def _of_inputs(self, stored: dict[int, Array]) -> list[Array | None]:
        """The cotangents of the inputs, from those of the lines' inputs."""
        way, length = self.way, self.way.length
        found: dict[int, Array] = {}
        for k, c in self.through:
            found[k] = found[k] + c if k in found else c
        if self.asked:
            sums: dict[int, Array] = {}
            parts = [(way.source[k], s) for k, s in stored.items()]
            for u, s in (*parts, *((k, c) for k, c in self.heard if k in self._sums())):
                sums[u] = sums[u] + s if u in sums else s

            def before(signals: dict[int, Array]) -> list[Array]:
                values = dict(signals)
                for k in way.course.nodes:
                    if all(s in values or s in self.plan.static for s in self.plan.sources[k]):
                        values[k] = self.plan.per_sample(k, values, way.total)
                return [values[x] for x in way.course.entering]

            _, back = jax.vjp(before, way.signals)
            (of_signals,) = back([sums[u] for u in way.course.entering.values()])
            for k in self.asked:
                c = of_signals[k]
                found[k] = found[k] + c if k in found else c
        answer: list[Array | None] = [None] * len(way.inputs)
        at = {j: k for k, j in way.course.inputs.items()}
        for j, x in enumerate(way.inputs):
            if self.wanted[j]:
                k = at.get(j)
                answer[j] = found[k][..., :length] if k in found else jnp.zeros_like(x)
        return answer


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
