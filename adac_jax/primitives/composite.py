"""JAX primitives that are defined by a JAX function of their own.

The primitive keeps its name in a jaxpr, which is what tracing to the IR reads. What it computes,
and how it is differentiated, transposed and compiled, comes from the function; only batching is
stated by hand, so that a batched program still shows the primitive.
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
    multiple: bool = False,
    batched_at: tuple[int, ...] = (),
) -> Primitive:
    """Makes a primitive.

    Args:
        name: As it reads in a jaxpr.
        function: (*operands, **parameters) -> result (a list if `multiple`).
        batch: (operands, their batch axes, parameters) -> (operands with the batch made part of
            their shape, parameters).
        multiple: Whether there are several results.
        batched_at: The axis of each result that the batch is then at; 0 for those not stated.
    """
    primitive = Primitive(name)
    primitive.multiple_results = multiple

    @lru_cache(maxsize=256)
    def compiled(parameters: tuple[tuple[str, Any], ...]) -> Callable[..., Any]:
        return jax.jit(lambda *operands: function(*operands, **dict(parameters)))

    def implement(*operands: Array, **parameters: Any) -> Any:
        return compiled(tuple(sorted(parameters.items())))(*operands)

    def abstract(*operands: Any, **parameters: Any) -> Any:
        specs = [jax.ShapeDtypeStruct(o.shape, o.dtype) for o in operands]
        result = jax.eval_shape(lambda *o: function(*o, **parameters), *specs)
        return jax.tree.map(lambda s: ShapedArray(s.shape, s.dtype), result)

    def jvp(primals: Any, tangents: Any, /, **parameters: Any) -> Any:
        moving = [k for k, t in enumerate(tangents) if type(t) is not ad.Zero]

        def of_moving(*values: Array) -> Any:
            operands = list(primals)
            for k, value in zip(moving, values, strict=True):
                operands[k] = value
            return function(*operands, **parameters)

        return jax.jvp(of_moving, [primals[k] for k in moving], [tangents[k] for k in moving])

    def transpose(cotangents: Any, /, *operands: Any, **parameters: Any) -> list[Any]:
        linear = [k for k, o in enumerate(operands) if ad.is_undefined_primal(o)]

        def of_linear(*values: Array) -> Any:
            full = list(operands)
            for k, value in zip(linear, values, strict=True):
                full[k] = value
            return function(*full, **parameters)

        avals = [
            jax.ShapeDtypeStruct(operands[k].aval.shape, operands[k].aval.dtype) for k in linear
        ]
        results = jax.eval_shape(of_linear, *avals)
        filled = jax.tree.map(
            lambda c, s: jnp.zeros(s.shape, s.dtype) if type(c) is ad.Zero else c,
            list(cotangents) if multiple else cotangents,
            results,
            is_leaf=lambda c: type(c) is ad.Zero,
        )
        found = jax.linear_transpose(of_linear, *avals)(filled)
        answer: list[Any] = [None] * len(operands)
        for k, value in zip(linear, found, strict=True):
            answer[k] = value
        return answer

    def batched(operands: Any, batch_axes: Any, /, **parameters: Any) -> Any:
        full, new = batch(operands, batch_axes, parameters)
        result = primitive.bind(*full, **new)
        if not multiple:
            return result, 0
        return result, [*batched_at, *(0 for _ in result[len(batched_at) :])]

    primitive.def_impl(implement)
    primitive.def_abstract_eval(abstract)
    ad.primitive_jvps[primitive] = jvp
    ad.primitive_transposes[primitive] = transpose
    batching.primitive_batchers[primitive] = batched
    mlir.register_lowering(primitive, mlir.lower_fun(function, multiple_results=multiple))
    return primitive


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


def time_first(x: Array, axis: int) -> Array:
    """Moves the time axis to the front."""
    return jnp.moveaxis(x, axis, 0)


def time_back(y: Array, axis: int) -> Array:
    """Undoes `time_first`."""
    return jnp.moveaxis(y, 0, axis)


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
