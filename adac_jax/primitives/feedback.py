"""Recursion: u = x + loop(u)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from adac_jax import blocks
from adac_jax._compat import (
    ClosedJaxpr,
    Primitive,
    ShapedArray,
    ad,
    batching,
    jaxpr_as_fun,
)
from adac_jax.errors import AdacError, DelayFreeLoopError, IRError
from adac_jax.lowering.source import calling_line
from adac_jax.lowering.values import Signal
from adac_jax.primitives.composite import (
    batch_size,
    define,
    front,
    normal_axis,
    replaced,
    transposed,
)
from adac_jax.primitives.hoisting import hoist
from adac_jax.primitives.lowered import abstractly, lower, parted, run
from ir.cycles import has_loops

_PLAIN: ContextVar[bool] = ContextVar("plain", default=False)


@contextmanager
def plainly() -> Iterator[None]:
    """Within, derivatives of loops are made of loops alone, which can be lowered and transposed."""
    token = _PLAIN.set(True)
    try:
        yield
    finally:
        _PLAIN.reset(token)


def is_plain() -> bool:
    """Whether this is within `plainly`."""
    return _PLAIN.get()


def _feedback(
    *operands: Array,
    jaxpr: ClosedJaxpr,
    axes: tuple[int, ...],
    length: int,
    reverse: bool,
    silent: tuple[bool, ...],
    in_place: bool = True,
) -> list[Array]:
    consts, xs = parted(operands, axes)
    lowered = lower(jaxpr, consts, xs, axes, length, reverse, silent)
    reading = partial(blocks.run_whole, in_place=in_place)
    return run(lowered, xs, axes, length, reverse, silent, reading)


def _abstract(*operands: Any, jaxpr: ClosedJaxpr, axes: tuple[int, ...], **_: Any) -> list[Any]:
    entering = operands[len(operands) - len(axes) :]
    results = [*entering, *jaxpr.out_avals[len(axes) :]]
    return [ShapedArray(r.shape, r.dtype) for r in results]


def tangent(
    primals: Sequence[Any],
    results: Sequence[Any],
    tangents: Sequence[Any],
    /,
    *,
    jaxpr: ClosedJaxpr,
    **parameters: Any,
) -> list[Any]:
    """u̇ = ẋ + ∂loop/∂θ θ̇ + ∂loop/∂u u̇: a loop of the same kind, round the tangent map.

    What a change of parameters θ adds is computed from the whole of u at once, outside of the loop.
    """
    axes = parameters["axes"]
    count = len(axes)
    consts, xs = parted(primals, axes)
    moved, entering = parted(tangents, axes)
    u = list(results[:count])
    real = [k for k, r in enumerate(results) if jnp.issubdtype(r.dtype, jnp.floating)]
    moving = [k for k, t in enumerate(moved) if type(t) is not ad.Zero]
    added = [0] * len(real)
    if moving:
        run = partial(_open, jaxpr=jaxpr, **parameters)

        def of_moving(*values: Array) -> list[Array]:
            found = run(*replaced(consts, moving, values), *u)
            return [found[k] for k in real]

        at, along = [consts[k] for k in moving], [moved[k] for k in moving]
        added = jax.jvp(of_moving, at, along)[1]
    parameters["silent"] = tuple(type(t) is ad.Zero and not moving for t in entering)
    entering = [
        jnp.zeros_like(x) + a if type(t) is ad.Zero else t + a
        for x, t, a in zip(xs, entering, added, strict=False)
    ]
    loop = jaxpr_as_fun(jaxpr)

    def of_directions(*operands: Array) -> list[Array]:
        residuals, directions = parted(operands, axes)
        inside, at = parted(residuals, axes)

        def of_signals(*signals: Array) -> list[Array]:
            found = loop(*inside, *signals)
            return [found[k] for k in real]

        return jax.jvp(of_signals, at, directions)[1]

    known = [*consts, *u]
    with plainly():  # loops in this one become part of one that may be transposed
        inner, kept = hoist(jax.make_jaxpr(of_directions)(*known, *entering), known)
    found = feedback_p.bind(*kept, *entering, jaxpr=inner, **parameters)
    answer: list[Any] = [ad.Zero(ShapedArray(r.shape, jax.dtypes.float0)) for r in results]
    for position, k in enumerate(real):
        answer[k] = found[position] if k < count else found[position] + added[position]
    return answer


def _open(*operands: Array, jaxpr: ClosedJaxpr, **parameters: Any) -> list[Array]:
    """loop(u): by the block reading, or as it was written if it holds loops of its own.

    The derivatives of those are better known to their primitives than to the block reading.
    """
    consts, u = parted(operands, parameters["axes"])
    lowered = lower(jaxpr, consts, u, **parameters, closed=False)
    if has_loops(lowered[0]):
        return jaxpr_as_fun(jaxpr)(*operands)
    return run(lowered, u, **parameters, reading=blocks.run_in_chunks)


def _transpose(
    cotangents: Sequence[Any], /, *operands: Any, jaxpr: ClosedJaxpr, **parameters: Any
) -> list[Any]:
    """λ = ū + (∂loop/∂u)ᵀ λ: the loop with its arrows turned round, run from the last sample on.

    Cotangents of what else the loop returns enter it where those signals leave it.
    """
    axes, reverse = parameters["axes"], parameters["reverse"]
    count = len(axes)
    consts, xs = parted(operands, axes)
    nothing = [None] * len(consts)
    if all(type(c) is ad.Zero for c in cotangents):
        return [*nothing, *(ad.Zero(x.aval) for x in xs)]
    loop = jaxpr_as_fun(jaxpr)
    specs = [jax.ShapeDtypeStruct(x.aval.shape, x.aval.dtype) for x in xs]
    try:
        if any(map(ad.is_undefined_primal, consts)):
            raise AdacError("What the loop closes over is to be transposed too.")
        found = abstractly(consts, specs, jaxpr=jaxpr, **parameters)
        others = [
            k
            for k in range(count, len(cotangents))
            if type(cotangents[k]) is not ad.Zero and isinstance(found[k], Signal)
        ]
        taken = [*range(count), *others]
        entering = [
            jnp.zeros(specs[k].shape, specs[k].dtype) if type(c) is ad.Zero else c
            for k, c in ((k, cotangents[k]) for k in taken)
        ]
        further = [f for f in (found[k] for k in others) if isinstance(f, Signal)]
        new_axes = (*axes, *(f.axis for f in further))

        def back(*values: Array) -> list[Array]:
            inside, directions = parted(values, new_axes)

            def of_taken(*signals: Array) -> list[Array]:
                # Once, for all results: cotangents that meet in it go back together.
                results = loop(*inside, *signals)
                return [results[k] for k in taken]

            turned = jax.linear_transpose(of_taken, *specs)
            return [*turned(directions), *(jnp.zeros_like(d) for d in directions[count:])]

        inner, kept = hoist(jax.make_jaxpr(back)(*consts, *entering), consts)
        silent = tuple(type(cotangents[k]) is ad.Zero for k in taken)
        options = {
            **parameters,
            "jaxpr": inner,
            "axes": new_axes,
            "reverse": not reverse,
            "silent": silent,
        }
        abstractly(kept, entering, **options)
    except (AdacError, IRError):
        # Something in it has no meaning sample by sample when time is reversed.
        free = [k for k, o in enumerate(operands) if ad.is_undefined_primal(o)]

        def of_free(*values: Array) -> list[Array]:
            full = replaced(operands, free, values)
            return _feedback(*full, jaxpr=jaxpr, **parameters, in_place=False)

        answer: list[Any] = [None] * len(operands)
        for k, value in zip(free, transposed(of_free, operands, free, cotangents), strict=True):
            answer[k] = value
        return answer
    return [*nothing, *feedback_p.bind(*kept, *entering, **options)[:count]]


def _batch(operands: Sequence[Array], axes: Sequence[int | None], /, **parameters: Any) -> Any:
    full, new = batched(operands, axes, **parameters)
    results = feedback_p.bind(*full, **new)
    return results, [0] * len(results)


def batched(
    operands: Sequence[Array],
    batch_axes: Sequence[int | None],
    own: Sequence[bool] = (),
    size: int | None = None,
    **parameters: Any,
) -> tuple[list[Array], dict[str, Any]]:
    """The operands and parameters of one loop that does what one a batch's member does.

    Args:
        operands: What the loops close over, and what enters them.
        batch_axes: Their batch axes.
        own: For each operand, whether it becomes one a member even if there is one for all.
        size: That of the batch, if not that of the operands.
        **parameters: Those of the primitive.
    """
    size = batch_size(operands, batch_axes) if size is None else size
    first = len(operands) - len(parameters["axes"])
    full, inner = [], []
    for k, (operand, axis) in enumerate(zip(operands, batch_axes, strict=True)):
        one = axis is None and k < first and not (own and own[k])
        full.append(operand if one else front(operand, axis, size))
        inner.append(None if one else 0)
    closed = jaxpr_as_fun(parameters["jaxpr"])
    mapped = jax.vmap(closed, in_axes=tuple(inner), out_axes=0, axis_size=size)
    with plainly():
        jaxpr = jax.make_jaxpr(mapped)(*full)
    return full, {**parameters, "jaxpr": jaxpr, "axes": tuple(a + 1 for a in parameters["axes"])}


feedback_p = Primitive("feedback")
feedback_p.multiple_results = True
feedback_p.def_abstract_eval(_abstract)
define(feedback_p, _feedback)
# Its derivative is in `feedback_adjoint`.
ad.primitive_transposes[feedback_p] = _transpose
batching.primitive_batchers[feedback_p] = _batch


def feedback(
    loop: Callable[..., Any],
    x: Any,
    *,
    entrance: Callable[..., Any] | None = None,
    has_aux: bool = False,
    axis: int = -2,
) -> Any:
    """Closes a loop: u[t] = entrance(x)[t] + loop(u)[t], with u = 0 before the first sample.

    Args:
        loop: A function of u, an array (or pytree of arrays) like x. It must be strictly causal:
            its output at a sample depends on earlier samples of u only, so every path through it
            passes a `delay` of at least one sample. It may hold filters and further loops, and
            close over parameters and over signals of x's length.
        x: What enters the loop: audio, or a pytree of audio signals of one length.
        entrance: A function of x, which gives u its shape; x itself if None. What looks at one
            sample and makes many channels of few is faster here than before the loop.
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
    if entrance is None:
        inside, tree_inside, through = leaves, tree, []
    else:
        inside, tree_inside = jax.tree.flatten(jax.eval_shape(entrance, x))
        through = leaves
        axes = (*(normal_axis("feedback", leaf, axis) for leaf in inside), *axes)
        lengths.update(leaf.shape[a] for leaf, a in zip(inside, axes, strict=False))
    if len(lengths) > 1:
        raise ValueError(f"`feedback`: the signals have different lengths {sorted(lengths)}.")

    aux_tree: list[Any] = []

    def flat(*signals: Array) -> list[Array]:
        u, others = signals[: len(inside)], signals[len(inside) :]
        added = jax.tree.leaves(entrance(jax.tree.unflatten(tree, others))) if entrance else ()
        result = loop(jax.tree.unflatten(tree_inside, u))
        back, aux = result if has_aux else (result, ())
        returned, found = jax.tree.flatten(back)
        shapes = [jnp.shape(r) for r in returned]
        if found != tree_inside or shapes != [s.shape for s in u]:
            raise ValueError(
                f"`feedback`: the loop returns shapes {shapes}, but what enters has "
                f"{[s.shape for s in u]}; they are added, so they must be equal."
            )
        extra, aux_found = jax.tree.flatten(aux)
        aux_tree.append(aux_found)
        returned = [jnp.asarray(r, s.dtype) for r, s in zip(returned, u, strict=True)]
        if entrance:
            returned = [a + r for a, r in zip(added, returned, strict=True)]
        return [*returned, *map(jnp.zeros_like, others), *map(jnp.asarray, extra)]

    specs = [jax.ShapeDtypeStruct(leaf.shape, leaf.dtype) for leaf in (*inside, *through)]
    jaxpr, consts = hoist(jax.make_jaxpr(flat)(*specs), [])
    silent = tuple(entrance is not None and k < len(inside) for k in range(len(specs)))
    parameters = {"axes": axes, "length": lengths.pop(), "reverse": False, "silent": silent}
    _check_causal(consts, specs, jaxpr=jaxpr, **parameters)
    entering = [
        jnp.zeros(spec.shape, spec.dtype) if quiet else leaf
        for spec, quiet, leaf in zip(specs, silent, (*inside, *through), strict=True)
    ]
    results = feedback_p.bind(*consts, *entering, jaxpr=jaxpr, **parameters)
    u = jax.tree.unflatten(tree_inside, results[: len(inside)])
    return (u, jax.tree.unflatten(aux_tree[-1], results[len(specs) :])) if has_aux else u


def _check_causal(consts: Sequence[Any], specs: Sequence[Any], **parameters: Any) -> None:
    """Refuses a delay-free loop at once, where the user called `feedback`."""
    try:
        abstractly(consts, specs, **parameters)
    except DelayFreeLoopError as error:
        raise DelayFreeLoopError(error.cycle, error.labels, calling_line()) from None
