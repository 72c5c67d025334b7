"""A loop as a graph: what `feedback` and its derivatives run and reason about."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from adac_jax import blocks
from adac_jax._compat import ClosedJaxpr
from adac_jax.errors import RefusedError
from adac_jax.lowering.values import Known, Signal, Unusable, Value
from adac_jax.lowering.walker import Walker
from adac_jax.primitives.composite import time_back, time_last
from ir import Builder, Graph
from ir.cycles import order
from ir.passes import prune

Lowered = tuple[Graph, Walker, list[Value]]


def lower(
    jaxpr: ClosedJaxpr,
    consts: Sequence[Any],
    xs: Sequence[Any],
    axes: Sequence[int],
    length: int,
    reverse: bool,
    silent: tuple[bool, ...],
    closed: bool = True,
) -> Lowered:
    """The graph of u = x + loop(u) and the values of u and of what else the loop returns.

    With closed=False that of loop(x): it is then the values of what goes back that come first. The
    outputs of the graph are those values that are signals. An x that is `silent` is known to be
    zero throughout.
    """
    from adac_jax.lowering.dsp import close_loop, walk_loop, zeros

    builder = Builder("feedback")
    walker = Walker(builder, lift=True, reverse=reverse)
    walker.first_input = len(xs)
    sources = []
    for k, (x, axis, quiet) in enumerate(zip(xs, axes, silent, strict=True)):
        shape = (*x.shape[:axis], *x.shape[axis + 1 :])
        source = builder.add("input", index=k, shape=shape, kind="real")
        if quiet and closed:
            source = zeros(builder, shape)
        sources.append(source)
    known = [Known(c) for c in consts]
    if closed:
        results = close_loop(walker, jaxpr, known, sources, axes, length, silent)
    else:
        signals = [Signal(k, axis, 0, length) for k, axis in zip(sources, axes, strict=True)]
        returned, others = walk_loop(walker, jaxpr, known, signals)
        back = [Signal(k, axis, 0, length) for k, axis in zip(returned, axes, strict=True)]
        results = [*back, *others]
    outputs = tuple(r.node for r in results if isinstance(r, Signal))
    return prune(builder.build(outputs)), walker, results


def run(
    lowered: Lowered,
    xs: Sequence[Array],
    axes: Sequence[int],
    length: int,
    reverse: bool,
    silent: tuple[bool, ...],
    reading: Callable[..., tuple[Array, ...]] = blocks.run_whole,
) -> list[Array]:
    """The values of a lowered loop, by the block reading."""
    graph, walker, results = lowered
    inputs = [time_last(x, axis, reverse) for x, axis in zip(xs, axes, strict=True)]
    values = {name: jnp.asarray(slot.value) for name, slot in walker.slots.items()}
    found = iter(reading(graph, values, [*inputs, *walker.lifted], length))
    answer = []
    for result in results:
        if isinstance(result, Signal):
            answer.append(time_back(next(found), result.axis, reverse))
        elif isinstance(result, Known):
            answer.append(jnp.asarray(result.value))
        else:
            assert isinstance(result, Unusable)
            raise RefusedError("feedback", result.reason)
    return answer


def parted(operands: Sequence[Any], axes: Sequence[int]) -> tuple[list[Any], list[Any]]:
    """Operands as what the loop closes over, and what enters it."""
    first = len(operands) - len(axes)
    return list(operands[:first]), list(operands[first:])


def abstractly(consts: Sequence[Any], xs: Sequence[Any], **parameters: Any) -> list[Value]:
    """What the loop returns, without running it.

    Raises:
        AdacError, IRError: it is not one that can be run.
    """
    found: list[Value] = []

    def lowered(*values: Array) -> list[Array]:
        graph, _, results = lower(consts=values, xs=xs, **parameters)
        order(graph)
        found.extend(results)
        return []

    jax.eval_shape(lowered, *consts)
    return found
