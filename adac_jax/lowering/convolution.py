"""The rule of `conv_general_dilated`: over time, delays and a matrix; over channels, a matrix."""

from __future__ import annotations

import math
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from adac_jax._compat import JaxprEqn
from adac_jax.lowering.arrays import without
from adac_jax.lowering.shifts import earlier, later
from adac_jax.lowering.values import Known, Signal, Value
from adac_jax.lowering.walker import Walker, rule


@rule("conv_general_dilated")
def _convolution(w: Walker, eqn: JaxprEqn, x: Value, kernel: Value) -> Signal:
    if not isinstance(x, Signal) or not isinstance(kernel, Known):
        raise w.refusal(
            "it convolves with a signal.", "A kernel must be made of constants and parameters."
        )
    numbers = eqn.params["dimension_numbers"]
    batch, features, *spatial = numbers.lhs_spec
    if x.axis == features:
        raise w.refusal(
            "time is its axis of features, so each output needs all samples.",
            "Give audio as (batch, time, channels).",
        )
    if x.axis == batch:
        return _over_channels(w, eqn, x, kernel)
    return _over_time(w, eqn, x, kernel, spatial.index(x.axis))


def _over_channels(w: Walker, eqn: JaxprEqn, x: Signal, kernel: Known) -> Signal:
    """A convolution of each sample's channels: linear, so a matrix."""
    batch = eqn.params["dimension_numbers"].out_spec[0]
    shape = eqn.invars[0].aval.shape
    one = (*shape[: x.axis], 1, *shape[x.axis + 1 :])
    node = _product(w, x.node, kernel, eqn.params, one)
    result = without(eqn.outvars[0].aval.shape, batch)
    return w.mapped(w.add("reshape", node, shape=result), x, batch)


def _over_time(w: Walker, eqn: JaxprEqn, x: Signal, kernel: Known, place: int) -> Signal:
    """y[t] = sum_k W_k x[t - d (K - 1 - k)], delayed by what the padding in front asks for."""
    params = eqn.params
    numbers = params["dimension_numbers"]
    if w.reverse:
        raise w.refusal("it convolves in reversed time.")
    if params["window_strides"][place] != 1 or params["lhs_dilation"][place] != 1:
        raise w.refusal(
            "it takes every few samples or puts zeros between them, which changes the sample rate.",
            "Keep one sample rate throughout: strides of 1.",
        )
    axis = numbers.rhs_spec[2 + place]
    count = eqn.invars[1].aval.shape[axis]
    spacing = params["rhs_dilation"][place]
    reach = (count - 1) * spacing
    low = params["padding"][place][0]
    if params["batch_group_count"] != 1:
        raise w.refusal("it has groups of batches.")
    if reach > low:
        x = earlier(w, x, reach - low)
    # Every tap works on all samples: side by side as so many more values of the time axis, of which
    # the convolution then takes one stride each.
    shape = without(eqn.invars[0].aval.shape, x.axis)
    size = math.prod(shape)
    taps = w.add("broadcast", x.node, shape=(count, *shape), axes=tuple(range(1, 1 + len(shape))))
    samples = tuple(spacing * (count - 1 - k) for k in range(count) for _ in range(size))
    taps = w.add("delay", taps, samples=samples) if reach else taps
    window = list(params["rhs_dilation"])
    window[place] = 1
    padding = list(params["padding"])
    padding[place] = (0, 0)
    once = {**params, "rhs_dilation": tuple(window), "padding": tuple(padding)}
    # Time of the operand becomes the taps, in the place where it was.
    order = (*range(1, x.axis + 1), 0, *range(x.axis + 1, len(shape) + 1))
    moved = w.add("transpose", taps, permutation=order) if x.axis else taps
    full = (*shape[: x.axis], count, *shape[x.axis :])
    node = _product(w, moved, kernel, once, full)
    to = numbers.out_spec[2 + place]
    result = w.mapped(w.add("reshape", node, shape=without(eqn.outvars[0].aval.shape, to)), x, to)
    return later(w, result, low - reach) if low > reach else result


OPTIONS = (
    "window_strides",
    "padding",
    "lhs_dilation",
    "rhs_dilation",
    "dimension_numbers",
    "feature_group_count",
    "batch_group_count",
)


def _product(
    w: Walker, node: int, kernel: Known, params: dict[str, Any], shape: tuple[int, ...]
) -> int:
    """A convolution of one sample as a matrix, (outputs, inputs), times its numbers in a row.

    A column is what the convolution makes of one number alone, in an operand of this shape.
    """
    size = math.prod(shape)
    options = {key: params[key] for key in OPTIONS}

    def of(flat: jax.Array, h: jax.Array) -> jax.Array:
        """(numbers of one sample) → (numbers of one output sample)."""
        operand = flat.reshape(shape)
        return lax.conv_general_dilated(operand, h, **options, precision="highest").ravel()

    h = jnp.asarray(kernel.value)
    matrix = jax.vmap(of, (0, None), 1)(jnp.eye(size, dtype=h.dtype), h)
    flat = w.add("reshape", node, shape=(size,))
    weight = w.coefficient(Known(matrix, kernel.path))
    return w.add("einsum", weight, flat, subscripts="ij,j->i")
