"""Recursion: u = x + loop(u)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from adac_jax import blocks
from adac_jax._compat import ClosedJaxpr, is_tracer, jaxpr_as_fun, open_jaxpr
from adac_jax.errors import DelayFreeLoopError, RefusedError
from adac_jax.lowering.source import calling_line
from adac_jax.lowering.values import Known, Signal, Value
from adac_jax.lowering.walker import Walker
from adac_jax.primitives.composite import batch_size, composite, front, normal_axis
from ir import Builder, Graph
from ir.cycles import order


def _lower(
    jaxpr: ClosedJaxpr, consts: Sequence[Any], xs: Sequence[Any], axes: Sequence[int], length: int
) -> tuple[Graph, Walker, list[Value]]:
    """The graph of u = x + loop(u); its outputs are those of the loop that are signals."""
    from adac_jax.lowering.dsp import close_loop

    builder = Builder("feedback")
    walker = Walker(builder, lift=True)
    walker.first_input = len(xs)
    sources = [
        builder.add("input", index=k, shape=(*x.shape[:axis], *x.shape[axis + 1 :]), kind="real")
        for k, (x, axis) in enumerate(zip(xs, axes, strict=True))
    ]
    known = [Known(c) for c in consts]
    results = close_loop(walker, jaxpr, known, sources, axes, length)
    outputs = tuple(r.node for r in results if isinstance(r, Signal))
    return builder.build(outputs), walker, results


def _feedback(
    *operands: Array, jaxpr: ClosedJaxpr, axes: tuple[int, ...], length: int
) -> list[Array]:
    count = len(axes)
    consts, xs = operands[: len(operands) - count], operands[len(operands) - count :]
    graph, walker, results = _lower(jaxpr, consts, xs, axes, length)
    inputs = [jnp.moveaxis(x, axis, 0) for x, axis in zip(xs, axes, strict=True)]
    values = {name: jnp.asarray(slot.value) for name, slot in walker.slots.items()}
    found = iter(blocks.run(graph, values, [*inputs, *walker.lifted], length))
    answer = []
    for result in results:
        if isinstance(result, Signal):
            answer.append(jnp.moveaxis(next(found), 0, result.axis))
        elif isinstance(result, Known):
            answer.append(jnp.asarray(result.value))
        else:
            raise RefusedError("feedback", result.reason)
    return answer


def _batch(
    operands: Sequence[Array], axes: Sequence[int | None], parameters: dict[str, Any]
) -> tuple[list[Array], dict[str, Any]]:
    size = batch_size(operands, axes)
    count = len(parameters["axes"])
    first = len(operands) - count
    consts = [
        o if a is None else jnp.moveaxis(o, a, 0)
        for o, a in zip(operands[:first], axes[:first], strict=True)
    ]
    xs = [front(o, a, size) for o, a in zip(operands[first:], axes[first:], strict=True)]
    closed = jaxpr_as_fun(parameters["jaxpr"])
    inner = [None if a is None else 0 for a in axes[:first]] + [0] * count
    mapped = jax.vmap(closed, in_axes=tuple(inner), out_axes=0, axis_size=size)
    batched = jax.make_jaxpr(mapped)(*consts, *xs)
    new = {**parameters, "jaxpr": batched, "axes": tuple(a + 1 for a in parameters["axes"])}
    return [*consts, *xs], new


feedback_p = composite("feedback", _feedback, _batch, multiple=True)


def feedback(loop: Callable[..., Any], x: Any, *, has_aux: bool = False, axis: int = -2) -> Any:
    """Closes a loop: u[t] = x[t] + loop(u)[t], with u = 0 before the first sample.

    Args:
        loop: A function of u, an array (or pytree of arrays) like x. It must be strictly causal:
            its output at a sample depends on earlier samples of u only, so every path through it
            passes a `delay` of at least one sample. It may hold filters and further loops, and
            close over parameters and over signals of x's length.
        x: What enters the loop: audio, or a pytree of audio signals of one length.
        has_aux: `loop` returns (what goes back, further signals), and so does `feedback`: use it
            to take signals out of the loop without computing them again.
        axis: The time axis.

    Returns:
        u, or (u, further signals).

    Raises:
        DelayFreeLoopError: a path round the loop passes no delay; the message names it.
        RefusedError: the loop holds an operation that is not causal.
        ValueError: the shapes do not fit.
    """
    leaves, tree = jax.tree.flatten(x)
    if not leaves:
        raise ValueError("`feedback` needs at least one signal.")
    leaves = [jnp.asarray(leaf) for leaf in leaves]
    axes = tuple(normal_axis("feedback", leaf, axis) for leaf in leaves)
    lengths = {leaf.shape[a] for leaf, a in zip(leaves, axes, strict=True)}
    if len(lengths) > 1:
        raise ValueError(f"`feedback`: the signals have different lengths {sorted(lengths)}.")

    aux_tree: list[Any] = []

    def flat(*signals: Array) -> list[Array]:
        result = loop(jax.tree.unflatten(tree, signals))
        back, aux = result if has_aux else (result, ())
        returned, found = jax.tree.flatten(back)
        shapes = [jnp.shape(r) for r in returned]
        if found != tree or shapes != [s.shape for s in signals]:
            raise ValueError(
                f"`feedback`: the loop returns shapes {shapes}, but what enters has "
                f"{[s.shape for s in signals]}; they are added, so they must be equal."
            )
        extra, aux_found = jax.tree.flatten(aux)
        aux_tree.append(aux_found)
        returned = [jnp.asarray(r, s.dtype) for r, s in zip(returned, signals, strict=True)]
        return [*returned, *map(jnp.asarray, extra)]

    specs = [jax.ShapeDtypeStruct(leaf.shape, leaf.dtype) for leaf in leaves]
    jaxpr, consts = _hoisted(flat, specs)
    length = lengths.pop()
    _check_causal(jaxpr, consts, specs, axes, length)
    results = feedback_p.bind(*consts, *leaves, jaxpr=jaxpr, axes=axes, length=length)
    count = len(leaves)
    u = jax.tree.unflatten(tree, results[:count])
    return (u, jax.tree.unflatten(aux_tree[-1], results[count:])) if has_aux else u


def _hoisted(function: Callable[..., Any], specs: Sequence[Any]) -> tuple[ClosedJaxpr, list[Any]]:
    """A jaxpr whose first arguments are the arrays that the function closes over.

    Constant integers stay inside: they are indices, which tracing must see.
    """
    jaxpr, consts = open_jaxpr(jax.make_jaxpr(function)(*specs))
    inner = [not is_tracer(c) and not jnp.issubdtype(c.dtype, jnp.inexact) for c in consts]
    free = [k for k, stays in enumerate(inner) if not stays]
    stay = [k for k, stays in enumerate(inner) if stays]
    moved = jaxpr.replace(
        constvars=[jaxpr.constvars[k] for k in stay],
        invars=[*(jaxpr.constvars[k] for k in free), *jaxpr.invars],
        debug_info=jaxpr.debug_info._replace(arg_names=None, result_paths=None),
    )
    return ClosedJaxpr(moved, [consts[k] for k in stay]), [jnp.asarray(consts[k]) for k in free]


def _check_causal(
    jaxpr: ClosedJaxpr, consts: Sequence[Any], specs: Sequence[Any], axes: Any, length: int
) -> None:
    """Refuses a delay-free loop at once, where the user called `feedback`."""

    def lowered(*values: Array) -> list[Any]:
        graph = _lower(jaxpr, values, specs, axes, length)[0]
        order(graph)
        return []

    try:
        jax.eval_shape(lowered, *consts)
    except DelayFreeLoopError as error:
        raise DelayFreeLoopError(error.cycle, error.labels, calling_line()) from None
