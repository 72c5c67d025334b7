"""Values that follow knobs: they have no time axis in JAX, and are nodes of the graph.

An equation of such values, and of known ones, is the same at each sample as at any other. So it is
mapped over a time axis in front, as `loops` does with the bodies of scans, and the rules of its
parts see signals as they always do.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from adac_jax._compat import JaxprEqn, open_jaxpr, source_info_util
from adac_jax.lowering.arrays import without
from adac_jax.lowering.values import Controlled, Known, Signal, Value
from adac_jax.lowering.walker import OF_TIME, RULES, WITH_SIGNALS, Walker, rule

TRACED_LENGTH = 65521
"""The time axis that is put in front, where the walker knows of no length that only time has."""
THEMSELVES = frozenset({"scan", "while", "feedback"})
"""Primitives whose rules walk what is inside, and so take such values as they are."""


@rule("control")
def _control(w: Walker, eqn: JaxprEqn) -> Controlled:
    params = dict(eqn.params)
    way = params["maximum"] - params["minimum"]
    step = way / (params.pop("ramp") * w.builder.sample_rate)
    return Controlled(w.builder.control(params.pop("name"), **params, step=step))


def _is_knob(w: Walker, eqn: JaxprEqn) -> bool:
    return True


OF_TIME["control"] = _is_knob


def at_each_sample(w: Walker, eqn: JaxprEqn, values: Sequence[Value]) -> list[Value]:
    """The results of an equation of values without a time axis, of which some follow knobs."""
    if eqn.primitive.name in THEMSELVES:
        found = RULES[eqn.primitive.name](w, eqn, *values)
        return list(found) if eqn.primitive.multiple_results else [found]
    if eqn.primitive.name == "broadcast_in_dim":
        over_time = _over_time(w, eqn, values)
        if over_time is not None:
            return [over_time]
    length = w.time or TRACED_LENGTH
    axes = [0 if isinstance(v, Controlled) else None for v in values]
    specs = [
        jax.ShapeDtypeStruct((length, *a.aval.shape) if axis == 0 else a.aval.shape, a.aval.dtype)
        for a, axis in zip(eqn.invars, axes, strict=True)
    ]
    entering = [Signal(v.node, 0, 0, length) if isinstance(v, Controlled) else v for v in values]
    # The equations inside carry the user's line of this one, which is what a refusal names.
    with w.scope(w.label()), source_info_util.user_context(eqn.source_info.traceback):
        mapped = jax.vmap(partial(_bound, eqn), axes, 0, axis_size=length)
        results = w.walk(*open_jaxpr(jax.make_jaxpr(mapped)(*specs)), entering)
    return [_without_time(w, result) for result in results]


def _bound(eqn: JaxprEqn, *values: Any) -> list[Any]:
    params = eqn.primitive.get_bind_params(eqn.params)
    functions, params = params if isinstance(params, tuple) else ((), params)
    found = eqn.primitive.bind(*functions, *values, **params)
    return list(found) if eqn.primitive.multiple_results else [found]


def _over_time(w: Walker, eqn: JaxprEqn, values: Sequence[Value]) -> Signal | None:
    """A value repeated along time is a signal."""
    (x, *_), shape = values, eqn.params["shape"]
    axes = eqn.params["broadcast_dimensions"]
    times = [axis for axis, n in enumerate(shape) if w.is_time(n)]
    if not times:
        return None
    assert isinstance(x, Controlled)
    time = times[0]
    node = x.node
    if time in axes:
        node = w.without_axis(x, axes.index(time))
        axes = without(axes, axes.index(time))
    rest = tuple(a - (a > time) for a in axes)
    full = without(shape, time)
    if w.builder.type(node).shape != full:
        node = w.add("broadcast", node, shape=full, axes=rest)
    return Signal(node, time, 0, shape[time])


def _without_time(w: Walker, value: Value) -> Value:
    if isinstance(value, Signal):
        if value.axis or value.shift:
            raise AssertionError("what follows a knob has its time elsewhere than in front")
        return Controlled(value.node)
    if isinstance(value, Known):
        # The same at each sample, so any one of them.
        spread = value.spread
        if spread is not None and spread[2] == tuple(range(1, len(spread[1]))):
            return spread[0]
        return Known(jnp.asarray(value.value)[0], value.path)
    return value


def coefficients_that_follow(
    w: Walker, eqn: JaxprEqn, function: Callable[..., Any], own: int, x: Value, *rest: Value
) -> Value:
    """What a filter or a delay does whose settings follow a control: as if they were signals.

    They get an axis for time, of length 1, where the signal has it.

    Args:
        w: The walker.
        eqn: The equation, whose first operand is the signal.
        function: (*settings, signal, axis) -> signal.
        own: How many axes settings have before those of channels.
        x: The signal.
        *rest: The settings; a last one that the equation has not is a denominator of 1.
    """
    axis, aval = eqn.params["axis"], eqn.invars[0].aval
    channels = without(aval.shape, axis)

    def aligned(c: Any) -> Any:
        missing = len(channels) - (c.ndim - own)
        full = c.reshape(*c.shape[:own], *(1,) * missing, *c.shape[own:])
        return jnp.expand_dims(full, own + axis)

    def run(x: Any, *coefficients: Any) -> Any:
        return function(*map(aligned, coefficients), x, axis)

    avals = [aval, *(v.aval for v in eqn.invars[1 : 1 + len(rest)])]
    if len(avals) <= len(rest):
        avals.append(jax.ShapeDtypeStruct((1,), aval.dtype))  # a denominator of 1
    with w.scope(w.label()), source_info_util.user_context(eqn.source_info.traceback):
        return w.call(run, [x, *rest], avals)[0]


def with_time(w: Walker, eqn: JaxprEqn, values: Sequence[Value]) -> list[Value]:
    """The values, those known ones that have a time axis as signals.

    Beside a value that follows a knob there is then at least one signal, if there is a time axis.
    """
    found: list[Value] = []
    for value, atom in zip(values, eqn.invars, strict=True):
        times = [axis for axis, n in enumerate(atom.aval.shape) if w.is_time(n)]
        if isinstance(value, Known) and times:
            shape = without(atom.aval.shape, times[0])
            node = w.full(w.operand(value, times[0]), shape)
            value = Signal(node, times[0], 0, atom.aval.shape[times[0]])
        found.append(value)
    return found


def check_rule(w: Walker, eqn: JaxprEqn) -> None:
    """Refuses an equation of signals and values that follow knobs, if its rule takes none."""
    name = eqn.primitive.name
    if name not in WITH_SIGNALS:
        raise w.refusal(
            "it combines a signal with what a control decides, in a way that has no meaning sample "
            "by sample here.",
            "Use arithmetic, jnp.where, a matrix product, a filter, variable_delay or "
            "fractional_delay.",
        )


__all__ = ["at_each_sample", "check_rule", "coefficients_that_follow", "with_time"]
