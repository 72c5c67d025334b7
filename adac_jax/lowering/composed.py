"""Rules of primitives that are made of others: what they do to one sample, written with those."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import lax

from adac_jax._compat import JaxprEqn
from adac_jax.lowering.shifts import earlier, later
from adac_jax.lowering.values import Signal, Value
from adac_jax.lowering.walker import Walker, rule

_ALL_SAMPLES = "it needs all samples of the signal at once."
_RUNNING = "Use a running value: a leaky average by lfilter, lax.cummax, or feedback."


def composed(
    w: Walker, eqn: JaxprEqn, function: Callable[..., Any], values: Sequence[Value]
) -> list[Value]:
    """The results of a function of arrays that computes what the equation computes."""
    return w.call(function, values, [v.aval for v in eqn.invars])


def _off_time(w: Walker, values: Sequence[Value], axes: Sequence[int]) -> None:
    for value in values:
        if isinstance(value, Signal) and value.axis in axes:
            raise w.refusal(_ALL_SAMPLES, _RUNNING)


@rule("unstack")
def _unstack(w: Walker, eqn: JaxprEqn, x: Value) -> list[Value]:
    axis = eqn.params["axis"]
    _off_time(w, [x], [axis])
    count = eqn.invars[0].aval.shape[axis]
    return composed(
        w,
        eqn,
        lambda a: [lax.index_in_dim(a, k, axis, keepdims=False) for k in range(count)],
        [x],
    )


def _logical(over: Callable[..., Any], wanted: int) -> Any:
    def reduce(w: Walker, eqn: JaxprEqn, x: Value) -> Value:
        axes = tuple(eqn.params["axes"])
        _off_time(w, [x], axes)
        if eqn.invars[0].aval.dtype != jnp.bool_:
            raise w.refusal("it combines the bits of integers.", "Use comparisons.")
        return composed(
            w, eqn, lambda b: over(b.astype(jnp.int32), axis=axes) == jnp.int32(wanted), [x]
        )[0]

    return reduce


rule("reduce_and")(_logical(jnp.min, 1))
rule("reduce_or")(_logical(jnp.max, 1))


def _extreme_place(better: Callable[[Any, Any], Any]) -> Any:
    def place(w: Walker, eqn: JaxprEqn, x: Value) -> Value:
        (axis,) = eqn.params["axes"]
        _off_time(w, [x], [axis])
        count, dtype = eqn.invars[0].aval.shape[axis], eqn.params["index_dtype"]

        def first(a: Any) -> Any:
            parts = [lax.index_in_dim(a, k, axis, keepdims=False) for k in range(count)]
            best, at = parts[0], jnp.zeros(parts[0].shape, dtype)
            for k in range(1, count):
                found = better(parts[k], best)
                best = jnp.where(found, parts[k], best)
                at = jnp.where(found, jnp.asarray(k, dtype), at)
            return at

        return composed(w, eqn, first, [x])[0]

    return place


rule("argmax")(_extreme_place(lambda a, b: a > b))
rule("argmin")(_extreme_place(lambda a, b: a < b))


@rule("sort")
def _sort(w: Walker, eqn: JaxprEqn, *values: Value) -> list[Value]:
    axis, keys = eqn.params["dimension"], eqn.params["num_keys"]
    _off_time(w, values, [axis])
    if keys != 1:
        raise w.refusal("it sorts by more than one key.", "Sort by one.")
    return composed(w, eqn, lambda *a: _sorted(a, axis), values)


def _sorted(arrays: Sequence[Any], axis: int) -> list[Any]:
    """Odd-even transposition by the first array: stable, and without any branch."""
    count = arrays[0].shape[axis]
    rows = [[lax.index_in_dim(a, k, axis, keepdims=False) for a in arrays] for k in range(count)]
    for turn in range(count):
        for k in range(turn % 2, count - 1, 2):
            swap = rows[k][0] > rows[k + 1][0]
            low = [jnp.where(swap, b, a) for a, b in zip(rows[k], rows[k + 1], strict=True)]
            high = [jnp.where(swap, a, b) for a, b in zip(rows[k], rows[k + 1], strict=True)]
            rows[k], rows[k + 1] = low, high
    return [jnp.stack([row[n] for row in rows], axis=axis) for n in range(len(arrays))]


@rule("top_k")
def _top_k(w: Walker, eqn: JaxprEqn, x: Value) -> list[Value]:
    aval = eqn.invars[0].aval
    axis = eqn.params.get("axis", len(aval.shape) - 1) % len(aval.shape)
    _off_time(w, [x], [axis])
    count = eqn.params["k"]

    def largest(a: Any) -> list[Any]:
        places = lax.broadcasted_iota(jnp.int32, (1,) * axis + (a.shape[axis],), axis)
        places = places.reshape([n if k == axis else 1 for k, n in enumerate(a.shape)])
        negated, at = _sorted([-a, jnp.broadcast_to(places, a.shape)], axis)
        return [lax.slice_in_dim(v, 0, count, axis=axis) for v in (-negated, at)]

    return composed(w, eqn, largest, [x])


@rule("is_finite")
def _is_finite(w: Walker, eqn: JaxprEqn, x: Value) -> Value:
    largest = float(np.finfo(np.float32).max)
    return composed(w, eqn, lambda a: jnp.abs(a) <= jnp.asarray(largest, a.dtype), [x])[0]


@rule("erf_inv")
def _erf_inv(w: Walker, eqn: JaxprEqn, x: Value) -> Value:
    """Winitzki's start and two steps of Newton's method, whose error squares each time."""

    def inverse(y: Any) -> Any:
        a = 0.147
        log = jnp.log1p(-y * y)
        b = 2 / (math.pi * a) + log / 2
        z = jnp.sign(y) * jnp.sqrt(jnp.sqrt(b * b - log / a) - b)
        for _ in range(3):
            off = lax.erf(z) - y
            slope = (2 / math.sqrt(math.pi)) * jnp.exp(-z * z)
            # Halley's step: the curvature is -2 z times the slope.
            z = z - off / (slope + z * off)
        return z

    return composed(w, eqn, inverse, [x])[0]


def _window(op: str) -> Any:
    def pooled(w: Walker, eqn: JaxprEqn, x: Signal) -> Signal:
        params, axis = eqn.params, x.axis
        sizes = params["window_dimensions"]
        others = [k for k, n in enumerate(sizes) if n != 1 and k != axis]
        if others:
            raise w.refusal("its window covers channels.", "Reduce over channels by slices.")
        if params["window_strides"][axis] != 1 or params["base_dilation"][axis] != 1:
            raise w.refusal(
                "it takes every few samples, which changes the sample rate.",
                "Keep one sample rate throughout: strides of 1.",
            )
        if w.reverse:
            raise w.refusal("it pools in reversed time.")
        step = params["window_dilation"][axis]
        reach = (sizes[axis] - 1) * step
        low = params["padding"][axis][0]
        if low > 0 and op != "add":
            raise w.refusal(
                "before the first sample it would meet the smallest number there is.",
                "Use lax.cummax, or pad with zeros first.",
            )
        if reach > low:
            x = earlier(w, x, reach - low)
        node = x.node
        for k in range(1, sizes[axis]):
            node = w.add(op, node, w.delayed(x.node, k * step))
        result = w.mapped(node, x)
        return later(w, result, low - reach) if low > reach else result

    return pooled


for _name, _op in {"sum": "add", "max": "maximum", "min": "minimum"}.items():
    rule(f"reduce_window_{_name}")(_window(_op))


@rule("reduce_precision")
def _reduce_precision(w: Walker, eqn: JaxprEqn, x: Signal) -> Signal:
    if eqn.params["exponent_bits"] < 8 or eqn.params["mantissa_bits"] < 23:
        raise w.refusal("it rounds to less than single precision.", "Train in float32.")
    return x


@rule("device_put", "sharding_constraint")
def _placed_on_device(w: Walker, eqn: JaxprEqn, *values: Any) -> Any:
    return list(values) if eqn.primitive.multiple_results else values[0]


@rule("dce_sink")
def _sink(w: Walker, eqn: JaxprEqn, *values: Any) -> list[Any]:
    return []
