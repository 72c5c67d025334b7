"""Rules of this package's own primitives."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import jax.numpy as jnp
import numpy as np

from adac_jax._compat import JaxprEqn, Literal, open_jaxpr
from adac_jax.lowering.controls import coefficients_that_follow
from adac_jax.lowering.refusals import AHEAD
from adac_jax.lowering.shifts import silenced
from adac_jax.lowering.values import Controlled, Known, Signal, Unusable, Value
from adac_jax.lowering.walker import WITH_SIGNALS, Walker, rule
from adac_jax.primitives.delay import expand_samples, moves
from adac_jax.primitives.moving import moving_lfilter, moving_sosfilt
from ir import Builder


def _causal(w: Walker, eqn: JaxprEqn) -> None:
    """Refuses an operation that looks at later samples, as the transpose of one here does."""
    if eqn.params["reverse"] != w.reverse:
        raise w.refusal(*AHEAD)


def _signal(w: Walker, value: Value, axis: int) -> int:
    """The node of a signal argument, which must not run ahead."""
    if isinstance(value, Signal) and value.shift:
        raise w.refusal(*AHEAD)
    return _of_all_channels(w, value, axis, w.operand(value, axis))


def _of_all_channels(w: Walker, value: Value, axis: int, k: int) -> int:
    """A node, spread where it stands for a known number that all channels have."""
    if not isinstance(value, Known):
        return k
    shape = tuple(value.value.shape)
    return w.full(k, (*shape[:axis], *shape[axis + 1 :]))


def _over(w: Walker, known: Value, own: int, channels: tuple[int, ...]) -> int:
    """The node of coefficients, spread over all channels."""
    if isinstance(known, (Signal, Controlled)):
        raise w.refusal("its coefficients change over time.", "Use constant coefficients.")
    assert isinstance(known, Known)
    shape = tuple(known.value.shape)
    full = (*shape[:own], *channels)
    if shape == full:
        return w.coefficient(known)
    missing = len(full) - len(shape)
    value = jnp.reshape(known.value, (*shape[:own], *(1,) * missing, *shape[own:]))
    return w.coefficient(Known(jnp.broadcast_to(value, full), known.path))


def _result(w: Walker, node: int, x: Value, axis: int, length: int, least: int = 0) -> Signal:
    """The result of an operation that delays by at least `least` samples."""
    valid = min(x.valid + least, length) if isinstance(x, Signal) else length
    return Signal(node, axis, 0, valid)


@rule("delay")
def _delay(w: Walker, eqn: JaxprEqn, x: Value, *initial: Value) -> Signal:
    _causal(w, eqn)
    axis, length = eqn.params["axis"], eqn.invars[0].aval.shape[eqn.params["axis"]]
    k = w.operand(x, axis, x.shift if isinstance(x, Signal) else 0)
    k = _of_all_channels(w, x, axis, k)
    channels = w.builder.type(k).shape
    samples = expand_samples(eqn.params["samples"], channels)
    least = min(samples, default=0)
    shift = x.shift if isinstance(x, Signal) else 0
    if shift:
        # Delay first, and what was ahead is taken back.
        if initial or least < shift:
            raise w.refusal(*AHEAD)
        k = silenced(w, k, shift)
        samples = tuple(m - shift for m in samples)
    if initial:
        (start,) = initial
        if not isinstance(start, Known):
            raise w.refusal("what it begins with follows a control.", "Begin with constants.")
        moved = w.coefficient(Known(jnp.moveaxis(jnp.asarray(start.value), axis, 0), start.path))
        k = w.add("delay", k, moved, samples=samples)
    elif any(samples):
        k = w.add("delay", k, samples=samples)
    return _result(w, k, x, axis, length, least)


@rule("variable_delay")
def _variable_delay(w: Walker, eqn: JaxprEqn, x: Value, d: Value) -> Signal:
    _causal(w, eqn)
    axis, length = eqn.params["axis"], eqn.invars[0].aval.shape[eqn.params["axis"]]
    k = _signal(w, x, axis)
    shape = w.builder.type(k).shape
    if isinstance(d, Controlled):
        lengths = w.full(d.node, shape)
    elif moves([v.aval for v in eqn.invars]):
        lengths = w.full(_signal(w, d, axis), shape)
    else:
        lengths = _over(w, d, 0, shape)
    node = w.add(
        "variable_delay",
        k,
        lengths,
        minimum=int(eqn.params["minimum"]),
        maximum=int(eqn.params["maximum"]),
    )
    return _result(w, node, x, axis, length, int(eqn.params["minimum"]))


@rule("fir")
def _fir(w: Walker, eqn: JaxprEqn, x: Value, taps: Value) -> Value:
    _causal(w, eqn)
    axis, length = eqn.params["axis"], eqn.invars[0].aval.shape[eqn.params["axis"]]
    if isinstance(taps, Controlled):
        ones = Known(np.ones((1,)))
        return coefficients_that_follow(w, eqn, moving_lfilter, 1, x, taps, ones)
    k = _signal(w, x, axis)
    h = _over(w, taps, 1, w.builder.type(k).shape)
    return _result(w, w.add("fir", k, h), x, axis, length)


def _recursive(
    w: Walker,
    eqn: JaxprEqn,
    op: str,
    own: int,
    moving: Callable[..., Any],
    x: Value,
    *rest: Value,
) -> list[Any]:
    _causal(w, eqn)
    axis, length = eqn.params["axis"], eqn.invars[0].aval.shape[eqn.params["axis"]]
    *coefficients, state = rest
    if any(isinstance(c, Controlled) for c in rest):
        if not w.is_zero(state):
            raise w.refusal(
                "it begins with a state, but its coefficients or that state follow a control.",
                "Start it from rest.",
            )
        return [coefficients_that_follow(w, eqn, moving, own, x, *coefficients), _END]
    k = _signal(w, x, axis)
    channels = w.builder.type(k).shape
    nodes = [_over(w, c, own, channels) for c in coefficients]
    if not w.is_zero(state):
        nodes.append(_over(w, state, own, channels))
    y = _result(w, w.add(op, k, *nodes), x, axis, length)
    return [y, _END]


_END = Unusable("the state after the last sample has no meaning sample by sample.")


@rule("lfilter")
def _lfilter(w: Walker, eqn: JaxprEqn, x: Value, b: Value, a: Value, zi: Value) -> list[Any]:
    return _recursive(w, eqn, "iir", 1, moving_lfilter, x, b, a, zi)


@rule("sosfilt")
def _sosfilt(w: Walker, eqn: JaxprEqn, x: Value, sos: Value, zi: Value) -> list[Any]:
    return _recursive(w, eqn, "sos", 2, moving_sosfilt, x, sos, zi)


@rule("feedback")
def _feedback(w: Walker, eqn: JaxprEqn, *values: Value) -> list[Value]:
    _causal(w, eqn)
    axes, length = eqn.params["axes"], eqn.params["length"]
    count = len(axes)
    consts, xs = values[: len(values) - count], values[len(values) - count :]
    sources, silent = _sources(w, eqn, xs), eqn.params["silent"]
    valid = min(x.valid if isinstance(x, Signal) else length for x in xs)
    with w.scope(w.label()):
        return close_loop(w, eqn.params["jaxpr"], consts, sources, axes, valid, silent)


@rule("feedback_saving")
def _feedback_saving(w: Walker, eqn: JaxprEqn, *values: Value) -> list[Value]:
    axes, length = eqn.params["axes"], eqn.params["length"]
    first = len(values) - len(axes)
    sources, silent = _sources(w, eqn, values[first:]), eqn.params["silent"]
    found = close_loop(w, eqn.params["jaxpr"], values[:first], sources, axes, length, silent)
    # What the lines held is read by the derivative in reverse alone, which is no graph.
    lines = [Known(np.broadcast_to(0.0, v.aval.shape)) for v in eqn.outvars[len(found) :]]
    return [*found, *lines]


def _sources(w: Walker, eqn: JaxprEqn, xs: Sequence[Value]) -> list[int]:
    """The nodes of what enters a loop; where nothing does, whatever it is, of zeros."""
    axes, found = eqn.params["axes"], []
    for x, axis, silent in zip(xs, axes, eqn.params["silent"], strict=True):
        if silent:
            shape = eqn.invars[len(eqn.invars) - len(axes) + len(found)].aval.shape
            found.append(zeros(w.builder, (*shape[:axis], *shape[axis + 1 :])))
        else:
            found.append(_signal(w, x, axis))
    return found


def zeros(builder: Builder, shape: tuple[int, ...]) -> int:
    """The node of a silent signal."""
    return builder.add("broadcast", builder.constant(0.0), shape=shape, axes=())


def close_loop(
    w: Walker,
    jaxpr: Any,
    consts: Sequence[Value],
    sources: Sequence[int],
    axes: Sequence[int],
    valid: int,
    silent: Sequence[bool],
) -> list[Value]:
    """Writes u = source + loop(u): the results are u and what else the loop returns.

    What is known to be zero is not added: where nothing comes back, u is the source, and where
    nothing enters, u is the sum that comes back.
    """
    builder = w.builder
    returns = [not _is_nothing(jaxpr, k) for k in range(len(sources))]
    heads = [
        builder.reserve(builder.type(k).shape) if back else k
        for k, back in zip(sources, returns, strict=True)
    ]
    inside = [Signal(k, axis, 0, valid) for k, axis in zip(heads, axes, strict=True)]
    returned, others = walk_loop(w, jaxpr, consts, inside)
    heard = [*returned, *(v.node for v in others if isinstance(v, Signal))]
    for head, source, back, quiet in zip(heads, sources, returned, silent, strict=True):
        if head == source:
            continue
        found, name = builder.node(back), w.label() or "loop"
        once = heard.count(back) == 1 and not builder.is_read(back)
        if quiet and found is not None and found.op == "add" and once:
            builder.adopt(head, replace(found, name=name))
        else:
            builder.define(head, "add", source, back, name=name)
    return [*inside, *others]


MOVED = frozenset({"broadcast_in_dim", "reshape", "squeeze", "transpose"})
"""Primitives that make zeros of zeros."""


def _is_nothing(jaxpr: Any, k: int) -> bool:
    """Whether result k of a loop is zeros, as `jnp.zeros_like` and `vmap` of it make them."""
    inner = open_jaxpr(jaxpr)[0]
    made = {v: eqn for eqn in inner.eqns if eqn.primitive.name in MOVED for v in eqn.outvars}
    value = inner.outvars[k]
    while not isinstance(value, Literal) and value in made:
        value = made[value].invars[0]
    return isinstance(value, Literal) and not np.any(value.val)


WITH_SIGNALS.update(
    (
        "delay",
        "variable_delay",
        "fractional_delay",
        "fir",
        "lfilter",
        "sosfilt",
        "feedback",
        "feedback_saving",
        "feedback_tangent",
    )
)


def walk_loop(
    w: Walker, jaxpr: Any, consts: Sequence[Value], signals: Sequence[Signal]
) -> tuple[list[int], list[Value]]:
    """Writes loop(u), given u: the nodes of what it returns for u, and its further results."""
    results = w.walk(*open_jaxpr(jaxpr), [*consts, *signals])
    returned = []
    for signal, result in zip(signals, results, strict=False):
        node = _signal(w, result, signal.axis)
        returned.append(w.full(node, w.builder.type(signal.node).shape))
    return returned, results[len(signals) :]
