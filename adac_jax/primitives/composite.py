"""JAX primitives that are defined by a JAX function of their own.

The primitive keeps its name in a jaxpr, which is what tracing to the IR reads, and keeps it when
the program is batched, differentiated or transposed. What it computes comes from the function.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from adac_jax._compat import Primitive, ShapedArray, ad, batching, mlir

Batch = Callable[[Sequence[Array], Sequence[int | None], dict[str, Any]], tuple[list[Array], Any]]


def composite(
    name: str,
    function: Callable[..., Any],
    batch: Batch,
    *,
    linear: tuple[int, ...],
    multiple: bool = False,
    batched_at: tuple[int, ...] = (),
    varies: Callable[[Sequence[Any]], bool] = lambda operands: False,
) -> Primitive:
    """Makes a primitive.

    Its derivative with respect to the signal is the primitive again, and its transpose the
    primitive with time reversed, which its parameter `reverse` says: so what a loop does to
    tangents and cotangents can be traced and run like the loop itself. Derivatives with respect to
    coefficients are those of the function.

    Args:
        name: As it reads in a jaxpr.
        function: (*operands, reverse, **parameters) -> result (a list if `multiple`). With
            `reverse` it does with the last sample first what it does else. The signal is operand 0,
            and the result, the first one if there are several, has its shape.
        batch: (operands, their batch axes, parameters) -> (operands with the batch made part of
            their shape, parameters).
        linear: The operands that it is linear in, taken together: the signal, and the state at its
            beginning.
        multiple: Whether there are several results.
        batched_at: The axis of each result that the batch is then at; 0 for those not stated.
        varies: Whether, for these operands, what is done to the signal changes over time: its
            transpose is then not the primitive with time reversed.
    """
    primitive = Primitive(name)
    primitive.multiple_results = multiple
    define(primitive, function)

    def abstract(*operands: Any, **parameters: Any) -> Any:
        specs = [jax.ShapeDtypeStruct(o.shape, o.dtype) for o in operands]
        result = jax.eval_shape(lambda *o: function(*o, **parameters), *specs)
        return jax.tree.map(lambda s: ShapedArray(s.shape, s.dtype), result)

    def jvp(primals: Any, tangents: Any, /, **parameters: Any) -> Any:
        moving = [k for k, t in enumerate(tangents) if type(t) is not ad.Zero]
        result = primitive.bind(*primals, **parameters)
        found: list[Any] = []
        if any(k in linear for k in moving):
            operands = [
                _instantiated(tangents[k], primals[k]) if k in linear else primals[k]
                for k in range(len(primals))
            ]
            found.append(primitive.bind(*operands, **parameters))
        others = [k for k in moving if k not in linear]
        if others:

            def of_others(*values: Array) -> Any:
                return function(*replaced(primals, others, values), **parameters)

            found.append(
                jax.jvp(of_others, [primals[k] for k in others], [tangents[k] for k in others])[1]
            )
        return result, found[0] if len(found) == 1 else jax.tree.map(jnp.add, *found)

    def transpose(cotangents: Any, /, *operands: Any, **parameters: Any) -> list[Any]:
        free = [k for k, o in enumerate(operands) if ad.is_undefined_primal(o)]
        first, *rest = cotangents if multiple else [cotangents]
        answer: list[Any] = [None] * len(operands)
        avals = [o.aval if ad.is_undefined_primal(o) else o for o in operands]
        if free == [0] and all(type(c) is ad.Zero for c in rest) and not varies(avals):
            if type(first) is ad.Zero:
                return [ad.Zero(operands[0].aval), *answer[1:]]
            back = {**parameters, "reverse": not parameters["reverse"]}
            # The states at the beginning belong to the signal's value, not to its derivative.
            kept = [jnp.zeros_like(o) if k in linear else o for k, o in enumerate(operands) if k]
            result = primitive.bind(first, *kept, **back)
            answer[0] = result[0] if multiple else result
            return answer

        def of_free(*values: Array) -> Any:
            return function(*replaced(operands, free, values), **parameters)

        for k, value in zip(free, transposed(of_free, operands, free, cotangents), strict=True):
            answer[k] = value
        return answer

    def batched(operands: Any, batch_axes: Any, /, **parameters: Any) -> Any:
        full, new = batch(operands, batch_axes, parameters)
        result = primitive.bind(*full, **new)
        if not multiple:
            return result, 0
        return result, [*batched_at, *(0 for _ in result[len(batched_at) :])]

    primitive.def_abstract_eval(abstract)
    ad.primitive_jvps[primitive] = jvp
    ad.primitive_transposes[primitive] = transpose
    batching.primitive_batchers[primitive] = batched
    return primitive


def define(primitive: Primitive, function: Callable[..., Any]) -> None:
    """Gives a primitive its value: what a function (*operands, **parameters) computes."""

    @lru_cache(maxsize=256)
    def compiled(parameters: tuple[tuple[str, Any], ...]) -> Callable[..., Any]:
        return jax.jit(lambda *operands: function(*operands, **dict(parameters)))

    def implement(*operands: Array, **parameters: Any) -> Any:
        return compiled(tuple(sorted(parameters.items())))(*operands)

    primitive.def_impl(implement)
    lowering = mlir.lower_fun(function, multiple_results=primitive.multiple_results)
    mlir.register_lowering(primitive, lowering)


def transposed(
    function: Callable[..., Any], operands: Sequence[Any], free: Sequence[int], cotangents: Any
) -> list[Any]:
    """The cotangents of the `free` operands of a linear function of them."""
    specs = [jax.ShapeDtypeStruct(operands[k].aval.shape, operands[k].aval.dtype) for k in free]
    results = jax.eval_shape(function, *specs)
    filled = jax.tree.map(
        lambda c, s: jnp.zeros(s.shape, s.dtype) if type(c) is ad.Zero else c,
        list(cotangents) if isinstance(results, list) else cotangents,
        results,
        is_leaf=lambda c: type(c) is ad.Zero,
    )
    return list(jax.linear_transpose(function, *specs)(filled))


def _instantiated(tangent: Any, primal: Array) -> Array:
    return jnp.zeros_like(primal) if type(tangent) is ad.Zero else tangent


def replaced(operands: Sequence[Any], at: Sequence[int], values: Sequence[Any]) -> list[Any]:
    """The operands with other values at some places."""
    full = list(operands)
    for k, value in zip(at, values, strict=True):
        full[k] = value
    return full


def front(operand: Array, axis: int | None, size: int) -> Array:
    """The operand with its batch axis first; repeated if it has none."""
    if axis is None:
        return jnp.broadcast_to(operand, (size, *operand.shape))
    return jnp.moveaxis(operand, axis, 0)


def batch_size(operands: Sequence[Array], axes: Sequence[int | None]) -> int:
    """The size of the batch."""
    return next(o.shape[a] for o, a in zip(operands, axes, strict=True) if a is not None)


def batch_signal_and_coefficients(leading: Sequence[int]) -> Batch:
    """Batching for (signal, coefficients…) with the parameter `axis`, the signal's time axis.

    The signal's batch becomes its first channel axis. Coefficients have `leading[k]` axes of their
    own and then channel axes that go with the signal's last ones, as NumPy broadcasts.
    """

    def batch(
        operands: Sequence[Array], axes: Sequence[int | None], parameters: dict[str, Any]
    ) -> tuple[list[Array], dict[str, Any]]:
        size = batch_size(operands, axes)
        x = front(operands[0], axes[0], size)
        channels = x.ndim - 2
        full = [x]
        for operand, axis, own in zip(operands[1:], axes[1:], leading, strict=False):
            if axis is None:
                full.append(operand)
                continue
            moved = jnp.moveaxis(operand, axis, 0)
            missing = channels - (moved.ndim - 1 - own)
            shape = (*moved.shape[: 1 + own], *(1,) * missing, *moved.shape[1 + own :])
            full.append(jnp.moveaxis(moved.reshape(shape), 0, own))
        return full, {**parameters, "axis": parameters["axis"] + 1}

    return batch


def time_last(x: Array, axis: int, reverse: bool = False) -> Array:
    """Moves the time axis to the end, and turns it round if asked to."""
    moved = jnp.moveaxis(x, axis, -1)
    return jnp.flip(moved, -1) if reverse else moved


def time_back(y: Array, axis: int, reverse: bool = False) -> Array:
    """Undoes `time_last`."""
    return jnp.moveaxis(jnp.flip(y, -1) if reverse else y, -1, axis)


def normal_axis(name: str, x: Array, axis: int) -> int:
    """A non-negative time axis.

    Raises:
        ValueError: x has no such axis.
    """
    if not -x.ndim <= axis < x.ndim:
        raise ValueError(
            f"`{name}`: the signal of shape {x.shape} has no time axis {axis}; audio is "
            "(..., time, channels)."
        )
    return axis % x.ndim
