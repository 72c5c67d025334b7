"""The derivative of a loop, run through the same blocks from the last one to the first.

A loop of delays and of operations on one sample writes s_k into its delay lines k, reads
d_k[t] = s_k[t - m_k] from them, and in each block computes (s, y) = f(θ, d, x), with θ its
coefficients, x what enters and y what leaves it. With bars for the derivatives of the loss,

    s̄_k[t] = d̄_k[t + m_k],    (θ̄ +=, d̄, x̄) = f'(θ, d, x)ᵀ (s̄, ȳ)

for the samples of a block at once: what s̄ needs is of later blocks, for the same reason for which
what d needs is of earlier ones. Kept of the way forward are d, and what filters read and make.

How both ways are run is in `blocks.course`.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from string import ascii_letters
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array, lax

from adac_jax.blocks import adjoint_filters as filters
from adac_jax.blocks.course import Way, the_loop, with_reads
from adac_jax.blocks.fusion import Product
from adac_jax.blocks.reading import Plan, padded, written
from adac_jax.kernels import run as samples_from
from ir import Graph

Known = dict[str, dict[int, Any]]
"""What a block is computed with that is no signal: values of nodes, of products, of filters."""


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
    course = the_loop(graph, length)
    assert course is not None, "asked before"

    def way(values: Mapping[str, Array]) -> Way:
        return Way(graph, course, {**values, **integers}, inputs, length)

    back = _Back(way(coefficients), held, cotangents, wanted)
    _, to_coefficients = jax.vjp(lambda values: back.known_of(way(values)), dict(coefficients))
    of_known, of_inputs = back.run()
    return to_coefficients(of_known)[0], of_inputs


class _Back:
    """One run through the blocks of a loop, from the last to the first."""

    def __init__(
        self,
        way: Way,
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
        self.sums = set(way.course.entering.values())
        self.stored = [k for k in way.cuts if way.source[k] in self.sums] if asked else []
        """The delays whose input's cotangent is kept, to find those of the inputs from it."""

    def known_of(self, way: Way) -> Known:
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
    ) -> tuple[dict[int, Array], list[Array], dict[int, Array]]:
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
        entered = {k: values[way.source[k]] for k in way.cuts}
        return entered, [values[k] for k, _ in self.heard], ends

    def run(self) -> tuple[Known, list[Array | None]]:
        """The cotangents of what is known, and of the inputs that are wanted."""
        way = self.way
        size, cuts = way.size, way.cuts
        known = self.known_of(way)
        added_up = {**known, "filters": {}}
        summed = jax.tree.map(jnp.zeros_like, added_up)
        states, taps = way.at_rest(), way.nothing_read(size)
        returned = way.nothing_read(way.total)
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
            entered = {k: way.ahead(k, rings[k], places[k]) for k in cuts}
            stored = {k: written(x, entered[k], start) for k, x in stored.items()}
            heard = [samples_from(c, 0, size, start) for _, c in self.heard]
            added, of_read, after, of_taps = back((entered, heard, after))
            # The only things that read the rings come before they are written, so that this is
            # done in place.
            rings = {k: way.into(k, rings[k], of_read[k], places[k]) for k in cuts}
            returned = {k: with_reads(returned[k], x, number) for k, x in of_taps.items()}
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
        parts = list(self.through)
        if self.asked:
            heard = ((k, c) for k, c in self.heard if k in self.sums)
            sums = _added_up([*((way.source[k], s) for k, s in stored.items()), *heard])

            def before(signals: dict[int, Array]) -> list[Array]:
                values = dict(signals)
                for k in way.course.nodes:
                    if all(s in values or s in self.plan.static for s in self.plan.sources[k]):
                        values[k] = self.plan.per_sample(k, values, way.total)
                return [values[x] for x in way.course.entering]

            _, back = jax.vjp(before, way.signals)
            (of_signals,) = back([sums[u] for u in way.course.entering.values()])
            parts += [(k, of_signals[k]) for k in self.asked]
        found = _added_up(parts)
        answer: list[Array | None] = [None] * len(way.inputs)
        at = {j: k for k, j in way.course.inputs.items()}
        for j, x in enumerate(way.inputs):
            if self.wanted[j]:
                k = at.get(j)
                answer[j] = found[k][..., :length] if k in found else jnp.zeros_like(x)
        return answer


def _added_up(parts: Sequence[tuple[int, Array]]) -> dict[int, Array]:
    """The sum of the arrays of each node."""
    found: dict[int, Array] = {}
    for k, x in parts:
        found[k] = found[k] + x if k in found else x
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
