"""Rules of slicing, padding and joining along time: shifts, which amount to delays."""

from __future__ import annotations

import math
from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np

from adac_jax._compat import JaxprEqn
from adac_jax.lowering.arrays import slice_channels, without
from adac_jax.lowering.values import Known, Signal, Value
from adac_jax.lowering.walker import Walker, rule


@rule("slice")
def _slice(w: Walker, eqn: JaxprEqn, x: Signal) -> Signal:
    start, limit = eqn.params["start_indices"], eqn.params["limit_indices"]
    length = eqn.invars[0].aval.shape[x.axis]
    return cut(w, x, length, start, limit, eqn.params["strides"] or [1] * len(start))


def cut(
    w: Walker,
    x: Signal,
    length: int,
    start: Sequence[int],
    limit: Sequence[int],
    stride: Sequence[int],
) -> Signal:
    """A slice of an array `length` long; along time it moves the signal and cuts its end."""
    if stride[x.axis] != 1:
        raise w.refusal(
            f"it takes every {stride[x.axis]}th sample, which changes the sample rate.",
            "Keep one sample rate throughout.",
        )
    low, high = start[x.axis], limit[x.axis]
    if w.reverse:
        low, high = length - high, length - low
    x = earlier(w, Signal(x.node, x.axis, x.shift, min(x.valid, high)), low)
    node = slice_channels(w, x, *(without(s, x.axis) for s in (start, limit, stride)))
    return w.mapped(node, x)


def earlier(w: Walker, x: Signal, samples: int) -> Signal:
    """The array without its first samples."""
    node, shift = _undelayed(w, x.node, x.shift + samples)
    if shift:
        found = _advanced(w, node, shift)
        node, shift = (node, shift) if found is None else (found, 0)
    return Signal(node, x.axis, shift, max(0, x.valid - samples))


def _undelayed(w: Walker, k: int, ahead: int) -> tuple[int, int]:
    """Look-ahead into a delayed signal is less delay."""
    node = w.builder.node(k)
    if not ahead or node is None or node.op != "delay" or len(node.inputs) != 1:
        return k, ahead
    samples = node.ints("samples")
    back = min(ahead, min(samples, default=0))
    if set(samples) == {back}:
        return _undelayed(w, *node.inputs, ahead - back)
    return w.add("delay", *node.inputs, samples=tuple(m - back for m in samples)), ahead - back


_FIXED = ("coefficient", "constant")
_PASTS = ("input", "delay", "variable_delay", "fir", "iir", "sos")
"""What cannot be had earlier by having its inputs earlier."""


def _advanced(w: Walker, k: int, ahead: int) -> int | None:
    """A node as it is some samples later, if all it is made of was delayed by so much; else None.

    Each sample of it is then made of the same samples as before, in the same way.
    """
    needs: dict[tuple[int, int], list[tuple[int, int]]] = {}
    waiting = [(k, ahead)]
    while waiting:
        k_, m = item = waiting.pop()
        if item in needs:
            continue
        node = w.builder.node(k_)
        if node is None or any(source >= k_ for source in node.inputs):
            return None  # a loop
        samples = node.ints("samples") if node.op == "delay" and len(node.inputs) == 1 else ()
        if not m or node.op in _FIXED or min(samples, default=-1) >= m:
            needs[item] = []
        elif samples and len(set(samples)) == 1:
            needs[item] = [(node.inputs[0], m - samples[0])]
        elif node.op in _PASTS:
            return None
        else:
            needs[item] = [(source, m) for source in node.inputs]
        waiting += needs[item]
    made: dict[tuple[int, int], int] = {}
    for item in sorted(needs):
        k_, m = item
        node = w.builder.node(k_)
        assert node is not None
        sources = [made[source] for source in needs[item]]
        if not m or node.op in _FIXED:
            made[item] = k_
        elif node.op != "delay":
            made[item] = w.builder.add(node.op, *sources, name=node.name, **dict(node.attributes))
        elif sources:
            (made[item],) = sources
        else:
            made[item], _ = _undelayed(w, k_, m)
    return made[k, ahead]


@rule("pad")
def _pad(w: Walker, eqn: JaxprEqn, x: Value, value: Value) -> Signal:
    if not isinstance(x, Signal):
        raise w.refusal("it pads with a signal.")
    config = eqn.params["padding_config"]
    low, high, inner = config[x.axis]
    if w.reverse:
        low = high
    if inner:
        raise w.refusal(
            "it puts zeros between samples, which changes the sample rate.",
            "Keep one sample rate throughout.",
        )
    rest = without(config, x.axis)
    if any(before < 0 or after < 0 for before, after, _ in rest):
        raise w.refusal("it pads channels by negative amounts.", "Use slices.")
    if low > 0 and not w.is_zero(value):
        raise w.refusal("it pads time with something else than zeros.", "Pad with zeros.")
    node = x.node
    for axis, (before, after, between) in enumerate(rest):
        if between:
            node = _spaced(w, node, axis, between, value)
        if before or after:
            ends = [_filler(w, node, axis, amount, value) for amount in (before, after)]
            node = w.add("concatenate", ends[0], node, ends[1], axis=axis)
    return later(w, w.mapped(node, x), low)


def _filler(w: Walker, node: int, axis: int, amount: int, value: Value) -> int:
    shape = list(w.builder.type(node).shape)
    shape[axis] = amount
    filler = w.coefficient(value)  # type: ignore[arg-type]
    return w.add("broadcast", filler, shape=tuple(shape), axes=())


def _spaced(w: Walker, node: int, axis: int, between: int, value: Value) -> int:
    """Channels with `between` fillers after each but the last: every one picked from a few."""
    shape = w.builder.type(node).shape
    count = shape[axis]
    joined = w.add("concatenate", node, _filler(w, node, axis, 1, value), axis=axis)
    positions = np.arange(math.prod(shape) // max(1, count) * (count + 1))
    positions = positions.reshape(*shape[:axis], count + 1, *shape[axis + 1 :])
    size = max(0, count + (count - 1) * between)
    step = between + 1
    along = [k // step if k % step == 0 else count for k in range(size)]
    picked = np.take(positions, along, axis=axis)
    flat = tuple(int(k) for k in picked.ravel())
    return w.add("take", joined, indices=flat, shape=picked.shape)


def later(w: Walker, x: Signal, samples: int) -> Signal:
    """The array with that many zeros put before it (or samples taken away, if negative)."""
    if samples <= 0:
        return Signal(x.node, x.axis, x.shift - samples, max(0, x.valid + samples))
    node = x.node
    if x.shift:
        # What lies before the array's first sample must not come into view.
        node = silenced(w, node, x.shift)
    kept = min(x.shift, samples)
    return Signal(w.delayed(node, samples - kept), x.axis, x.shift - kept, x.valid + samples)


def silenced(w: Walker, node: int, samples: int) -> int:
    """A node whose first samples are zero: it is multiplied by a step."""
    kind = w.builder.type(node).kind
    one = w.builder.constant(1.0 if kind == "real" else True)
    step = w.add("delay", one, samples=(samples,))
    if kind == "real":
        return w.add("mul", node, step)
    zero = w.builder.constant(0 if kind == "int" else False)
    return w.add("select", step, node, zero)


def splice(w: Walker, eqn: JaxprEqn, values: Sequence[Value]) -> Signal:
    """A concatenation along time: known samples, then a signal, then anything known."""
    where = next(k for k, v in enumerate(values) if isinstance(v, Signal))
    x = values[where]
    assert isinstance(x, Signal)
    if w.reverse:
        raise w.refusal("it joins signals in reversed time.")
    if any(isinstance(v, Signal) for v in values[where + 1 :]):
        raise w.refusal(
            "it joins two signals one after the other in time.",
            "Add delayed signals instead.",
        )
    length = eqn.invars[where].aval.shape[x.axis]
    before = values[:where]
    count = sum(eqn.invars[k].aval.shape[x.axis] for k in range(where))
    x = Signal(x.node, x.axis, x.shift, min(x.valid, length))
    if all(map(w.is_zero, before)):
        return later(w, x, count)
    if x.shift:
        raise w.refusal("it puts known samples before a signal that was cut.")
    known = [v for v in before if isinstance(v, Known)]
    joined = jnp.concatenate([jnp.asarray(v.value) for v in known], axis=x.axis)
    initial = w.coefficient(Known(jnp.moveaxis(joined, x.axis, 0), known[0].path))
    size = w.builder.type(x.node).size
    node = w.add("delay", x.node, initial, samples=(count,) * size)
    return Signal(node, x.axis, 0, x.valid + count)
