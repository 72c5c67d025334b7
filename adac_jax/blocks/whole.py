"""Whole signals, from rest, by the reading that is fastest for the graph."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array, lax

from adac_jax.blocks.course import Way, run_loop, the_loop
from adac_jax.blocks.reading import Plan, State, padded, real_type
from adac_jax.blocks.stateless import dtype_of
from adac_jax.kernels import run as samples_from
from ir import Graph

CHUNK = 2**18
"""About how many samples `run_in_chunks` takes at once: where memory is kept by the allocator, more
at once is faster, and some five seconds need less than half a gigabyte for 32 lines."""


def run_whole(
    graph: Graph,
    coefficients: Mapping[str, Array],
    inputs: Sequence[Array],
    length: int,
    in_place: bool = True,
    controls: Mapping[str, Any] | None = None,
) -> tuple[Array, ...]:
    """Runs a graph over whole signals from zero state.

    Args:
        graph: What to run.
        coefficients: A JAX array a slot.
        inputs: An array (*channels, length) for each input node.
        length: Samples.
        in_place: As for `Plan`.
        controls: Where knobs stand that are not at their defaults: a number, or one a sample.

    Returns:
        An array (*channels, length) for each output.
    """
    moved = controls or {}
    dtype = real_type(coefficients, inputs)
    if length == 0:
        nodes = [graph.nodes[k] for k in graph.outputs]
        return tuple(jnp.zeros((*n.shape, 0), dtype_of(n, dtype)) for n in nodes)
    course = the_loop(graph, length) if in_place and not moved else None
    if course is not None:
        return run_loop(Way(graph, course, coefficients, inputs, length)).outputs
    plan = Plan(
        graph, coefficients, length, dtype, in_place=in_place, ends=False, moved=tuple(moved)
    )
    return plan.run(plan.start(), inputs, moved)[1]


def run_in_chunks(
    graph: Graph, coefficients: Mapping[str, Array], inputs: Sequence[Array], length: int
) -> tuple[Array, ...]:
    """As `run_whole`, for a graph without loops, with a derivative that needs little memory.

    Chunk after chunk is run, and run again when the derivative is computed: memory does not grow
    with the length beyond that of a chunk, but for the state between chunks.
    """
    count = -(-length // CHUNK)
    if count < 2:
        return run_whole(graph, coefficients, inputs, length)
    chunk = -(-length // count)
    full = [padded(x, count * chunk - length) for x in inputs]
    plan = Plan(graph, coefficients, chunk, real_type(coefficients, inputs))

    def step(state: State, start: Array) -> tuple[State, tuple[Array, ...]]:
        return plan.run(state, [samples_from(x, 0, chunk, start) for x in full])

    ys = lax.scan(jax.checkpoint(step), plan.start(), jnp.arange(count) * chunk)[1]
    return tuple(_joined(y)[..., :length] for y in ys)


def _joined(chunks: Array) -> Array:
    """(count, *channels, chunk) → (*channels, count · chunk).

    By concatenation, whose derivative is slices: that of `reshape` finds its place in the array for
    each element.
    """
    parts = lax.split(chunks, (1,) * len(chunks))
    return jnp.concatenate([part[0] for part in parts], axis=-1)


def run(
    graph: Graph,
    coefficients: Mapping[str, Array],
    inputs: Sequence[Array],
    length: int,
    controls: Mapping[str, Any] | None = None,
) -> tuple[Array, ...]:
    """As `run_whole`, but with time as the first axis of all signals, as models have it."""
    moved = [jnp.moveaxis(x, 0, -1) for x in inputs]
    found = run_whole(graph, coefficients, moved, length, controls=controls)
    return tuple(jnp.moveaxis(y, -1, 0) for y in found)
