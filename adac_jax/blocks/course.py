"""A loop of delays, filters and operations on one sample, run through its blocks.

Delay lines are rings as long as the longest delay, so that they stay in the processor's cache: an
array as long as the signal, read far behind where it is written, would come from memory each time.
What is kept for the way back (`blocks.adjoint`) has arrays that are written and read once, in
order.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax.numpy as jnp
from jax import Array, lax

from adac_jax.blocks.fusion import without_signals
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
    """A loop that is run this way, and what is computed in its blocks.

    Attributes:
        loop: It.
        nodes: What a block computes, in order: of what enters, within the loop, of what leaves it.
        filters: Those of the nodes that are filters.
        inputs: The input nodes that are read or are outputs as they are, and the index of each.
        entering: For each signal from before the loop that the loop reads, the u that it is part
            of: u = … + x, which delays alone read.
    """

    loop: Loop
    nodes: tuple[int, ...]
    filters: tuple[int, ...]
    inputs: dict[int, int]
    entering: dict[int, int]


def the_loop(graph: Graph, length: int) -> Course | None:
    """The loop of a graph that is run this way; None for other graphs.

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
    inside = {*loop.members()}
    after, others = [], []
    for step in steps:
        if isinstance(step, Loop):
            continue
        if inside.isdisjoint(graph.nodes[step].inputs):
            others.append(step)
        else:
            inside.add(step)
            after.append(step)
    before: list[int] = []
    read = {s for k in inside for s in graph.nodes[k].inputs}
    for step in reversed(others):
        if step in read and step not in still:
            before.insert(0, step)
            read.update(graph.nodes[step].inputs)
    ends = (*before, *graph.outputs)
    inputs = {k: graph.nodes[k].int("index") for k in ends if graph.nodes[k].op == "input"}
    if any(graph.nodes[k].op not in PER_SAMPLE for k in (*before, *after) if k not in inputs):
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
    if len(known) < len(entering) or not {*inside, *inputs}.issuperset(graph.outputs):
        return None
    nodes = (*(k for k in before if k not in inputs), *found, *after)
    return Course(loop, nodes, tuple(_filters(graph, found)), inputs, known)


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


class Way:
    """What both ways through the blocks of a loop have in common."""

    def __init__(
        self,
        graph: Graph,
        course: Course,
        coefficients: Mapping[str, Array],
        inputs: Sequence[Array],
        length: int,
    ) -> None:
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

    def at_rest(self) -> dict[int, Array]:
        """The filters' states before the first sample."""
        return {k: self.silence(k, f.step.shape[-1]) for k, f in self.filters.items()}

    def nothing_read(self, length: int) -> dict[int, Array]:
        """Zeros for what the filters' blocks read in so many samples, a multiple of each K."""
        shapes = {k: f.gather.shape[-2:] for k, f in self.filters.items()}
        return {k: self.silence(k, length // K, K + p) for k, (K, p) in shapes.items()}

    def rings(self) -> dict[int, Array]:
        """The lines' rings, each of them twice, one after the other, so that no read is split."""
        return {k: self.silence(k, 2, n * self.size) for k, n in self.blocks.items()}

    def into(self, k: int, ring: Array, x: Array, place: Array) -> Array:
        """A ring with a block written at its place, in both at once."""
        both = jnp.broadcast_to(x[..., None, :], (*x.shape[:-1], 2, self.size))
        return written(ring, both, place)

    def behind(self, k: int, ring: Array, place: Array) -> Array:
        """What was written m samples before the block of this place, in each channel."""
        turn = self.blocks[k] * self.size
        start = place + turn - max(self.samples[k])
        return delay_read(_joined(ring), self.samples[k], self.size, start)

    def ahead(self, k: int, ring: Array, place: Array) -> Array:
        """What was written m samples after it."""
        samples = self.samples[k]
        most, least = max(samples), min(samples)
        mirrored = tuple(most + least - m for m in samples)
        return delay_read(_joined(ring), mirrored, self.size, place + least)

    def entering(self, start: Array) -> dict[int, Array]:
        """The block of each input."""
        return {k: samples_from(x, 0, self.size, start) for k, x in self.signals.items()}


def _joined(ring: Array) -> Array:
    """A ring and its repetition as one line."""
    return ring.reshape(*ring.shape[:-2], -1)


def run_saving(
    graph: Graph, coefficients: Mapping[str, Array], inputs: Sequence[Array], length: int
) -> Saved:
    """As `run_whole`, for a graph that has `the_loop`; and what the way back takes of it."""
    course = the_loop(graph, length)
    assert course is not None, "asked before"
    return run_loop(Way(graph, course, coefficients, inputs, length), saving=True)


def run_loop(way: Way, *, saving: bool = False) -> Saved:
    """Runs through the blocks of a loop; what is held is nothing if it is not saved."""
    kept = [*way.kept, *way.filters] if saving else []
    stacks = {k: way.stack(k) for k in kept}
    reads = way.nothing_read(way.total) if saving else {}
    graph = way.graph
    heard = {k: way.silence(k, way.total) for k in graph.outputs if k not in way.signals}

    def step(carry: Any, at: Any) -> tuple[Any, None]:
        rings, states, reads, stacks, heard = carry
        number, start, places = at
        values = way.entering(start)
        values.update({k: way.behind(k, rings[k], places[k]) for k in way.cuts})
        after, found = {}, {}
        for k in way.course.nodes:
            if k not in way.filters:
                values[k] = way.plan.per_sample(k, values, way.size)
                continue
            x = values[way.filtered[k]]
            K = way.filters[k].gather.shape[-2]
            found[k] = run_blocks(states[k], x.reshape(*x.shape[:-1], -1, K), way.filters[k])
            values[k], after[k] = found[k].y.reshape(x.shape), found[k].after
        rings = {k: way.into(k, rings[k], values[way.source[k]], places[k]) for k in way.cuts}
        reads = {k: with_reads(x, found[k].read, number) for k, x in reads.items()}
        stacks = {k: stacked(x, values[k], number) for k, x in stacks.items()}
        heard = {k: written(x, values[k], start) for k, x in heard.items()}
        return (rings, after, reads, stacks, heard), None

    carry = (way.rings(), way.at_rest(), reads, stacks, heard)
    (_, _, reads, stacks, heard), _ = lax.scan(step, carry, way.at)
    outputs = (way.signals[k] if k in way.signals else heard[k] for k in graph.outputs)
    held = (*(stacks[k] for k in kept), *reads.values())
    return Saved(tuple(y[..., : way.length] for y in outputs), held)


def stacked(stack: Array, block: Array, number: Array) -> Array:
    """A stack of blocks, with one of them replaced."""
    return lax.dynamic_update_index_in_dim(stack, block.astype(stack.dtype), number, axis=0)


def with_reads(reads: Array, read: Array, number: Array) -> Array:
    """What a filter's blocks read, with those of one block of the loop replaced."""
    return lax.dynamic_update_slice_in_dim(reads, read, number * read.shape[-2], axis=-2)
