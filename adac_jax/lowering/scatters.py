"""Rules of primitives that write numbers into chosen channels: positions are constants."""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from adac_jax._compat import JaxprEqn
from adac_jax.lowering.arrays import WHOLE, without
from adac_jax.lowering.shifts import later
from adac_jax.lowering.values import Signal, Value
from adac_jax.lowering.walker import Walker, rule


def _places(
    w: Walker, eqn: JaxprEqn, x: Value, indices: Value, part: Value, does: str
) -> tuple[np.ndarray, int, dict[int, int]]:
    """What a scatter's rules begin with.

    Returns:
        The indices; the axis of x that is time; and for each axis of x that the window covers, the
        axis of the updates.
    """
    index = w.concrete(indices)
    if index is None:
        raise w.refusal(
            "its indices depend on a signal or a parameter.", "Use indices that are constants."
        )
    full, small = eqn.invars[0].aval.shape, eqn.invars[2].aval.shape
    numbers = eqn.params["dimension_numbers"]
    gone = (*numbers.inserted_window_dims, *numbers.operand_batching_dims)
    kept = [d for d in range(len(full)) if d not in gone]
    window = dict(zip(kept, numbers.update_window_dims, strict=True))
    of_part = {k: d for d, k in window.items()}
    time = x.axis if isinstance(x, Signal) else of_part.get(part.axis, -1)  # type: ignore[union-attr]
    if time not in window or small[window[time]] != full[time]:
        raise w.refusal(f"it {does} samples by their position in time.", WHOLE)
    return index, time, window


def _put_later(w: Walker, eqn: JaxprEqn, indices: Value, part: Value) -> Signal | None:
    """A signal written behind m samples, as in `zeros.at[m:].set(x[:-m])`; None if it is not so."""
    index, numbers = w.concrete(indices), eqn.params["dimension_numbers"]
    full, small = eqn.invars[0].aval.shape, eqn.invars[2].aval.shape
    if index is None or index.size != 1 or not isinstance(part, Signal) or len(full) != len(small):
        return None
    samples, time = int(index.flat[0]), part.axis
    fits = 0 <= samples == full[time] - small[time] and without(full, time) == without(small, time)
    if not fits or numbers.scatter_dims_to_operand_dims != (time,) or w.reverse:
        return None
    return later(w, Signal(part.node, time, part.shift, min(part.valid, small[time])), samples)


@rule("scatter-add")
def _scatter_add(w: Walker, eqn: JaxprEqn, x: Value, indices: Value, added: Value) -> Signal:
    put = _put_later(w, eqn, indices, added)
    if put is not None:
        aval = eqn.invars[0].aval
        return w.call(jnp.add, [x, put], [aval, aval])[0]  # type: ignore[return-value]
    index, time, window = _places(w, eqn, x, indices, added, "adds to")
    full, part = eqn.invars[0].aval.shape, eqn.invars[2].aval.shape
    numbers = eqn.params["dimension_numbers"]
    # A gather is the transpose: of positions instead of samples, with a time axis of one, it says
    # where each number goes.
    shape = without(full, time)
    positions = np.arange(math.prod(shape), dtype=np.int32).reshape(shape)
    sizes = [part[window[d]] if d in window and d != time else 1 for d in range(len(full))]
    with jax.ensure_compile_time_eval():
        found = lax.gather(
            jnp.expand_dims(positions, time),
            jnp.asarray(index),
            dimension_numbers=lax.GatherDimensionNumbers(
                offset_dims=numbers.update_window_dims,
                collapsed_slice_dims=numbers.inserted_window_dims,
                start_index_map=numbers.scatter_dims_to_operand_dims,
                operand_batching_dims=numbers.operand_batching_dims,
                start_indices_batching_dims=numbers.scatter_indices_batching_dims,
            ),
            slice_sizes=sizes,
            mode=eqn.params["mode"],
            fill_value=-1,
        )
    to = np.squeeze(np.asarray(found), window[time])
    signals = [v for v in (x, added) if isinstance(v, Signal)]
    shift = max(v.shift for v in signals)
    node = w.full(w.operand(added, window[time], shift), to.shape)
    node = _placed(w, node, to.ravel(), shape)
    if not w.is_zero(x):
        node = w.add("add", w.full(w.operand(x, time, shift), shape), node)
    return Signal(node, time, shift, min(v.valid for v in signals))


def _placed(w: Walker, node: int, to: np.ndarray, shape: tuple[int, ...]) -> int:
    """Number k of a node is added to number to[k] of the result; to none if that is negative."""
    count = len(to)
    order = np.argsort(to, kind="stable")
    order = order[to[order] >= 0]
    nth = np.arange(len(order)) - np.searchsorted(to[order], to[order])
    terms = np.full((math.prod(shape), 1 + max(nth, default=0)), count)
    terms[to[order], nth] = order
    if (terms == count).any():
        # A zero for places that get fewer numbers than others.
        none = w.builder.constant(0.0 if w.builder.type(node).kind == "real" else 0)
        flat = w.add("reshape", node, shape=(count,))
        zero = w.add("broadcast", none, shape=(1,), axes=())
        node = w.add("concatenate", flat, zero, axis=0)
    flat = tuple(int(k) for k in terms.ravel())
    if terms.shape[1] == 1:
        return w.add("take", node, indices=flat, shape=shape)
    node = w.add("take", node, indices=flat, shape=(*shape, terms.shape[1]))
    return w.add("sum", node, axes=(len(shape),))


@rule("dynamic_update_slice")
def _dynamic_update_slice(w: Walker, eqn: JaxprEqn, x: Value, part: Value, *starts: Value) -> Value:
    found = [w.concrete(s) for s in starts]
    if any(f is None for f in found):
        raise w.refusal("its position depends on a signal or a parameter.", "Use a constant.")
    full, small = (v.aval.shape for v in eqn.invars[:2])
    low = [
        min(max(int(f), 0), n - m)  # type: ignore[arg-type]
        for f, n, m in zip(found, full, small, strict=True)
    ]
    time = next(v.axis for v in (x, part) if isinstance(v, Signal))
    if small[time] != full[time]:
        raise w.refusal("it writes samples at a position in time.", "Work on whole signals.")
    rest, inner, at = (without(s, time) for s in (full, small, low))
    source = np.arange(math.prod(rest)).reshape(rest)
    source[tuple(slice(a, a + m) for a, m in zip(at, inner, strict=True))] = (
        np.arange(math.prod(inner)).reshape(inner) + source.size
    )
    return _either(w, x, part, time, source, rest, inner)


@rule("scatter")
def _scatter(w: Walker, eqn: JaxprEqn, x: Value, indices: Value, part: Value) -> Value:
    put = _put_later(w, eqn, indices, part) if w.is_zero(x) else None
    if put is not None:
        return put
    index, time, window = _places(w, eqn, x, indices, part, "writes")
    full, small = eqn.invars[0].aval.shape, eqn.invars[2].aval.shape
    rest, inner = without(full, time), without(small, window[time])
    # The same scatter, of positions in place of samples, with a time axis of one.
    places = np.arange(math.prod(rest), dtype=np.int32).reshape(rest)
    new = np.arange(math.prod(inner), dtype=np.int32).reshape(inner) + places.size
    with jax.ensure_compile_time_eval():
        source = lax.scatter(
            jnp.expand_dims(places, time),
            jnp.asarray(index),
            jnp.expand_dims(new, window[time]),
            eqn.params["dimension_numbers"],
            mode=eqn.params["mode"],
        )
    chosen = np.squeeze(np.asarray(source), time)
    return _either(w, x, part, time, chosen, rest, inner, window[time])


def _either(
    w: Walker,
    x: Value,
    part: Value,
    time: int,
    source: np.ndarray,
    rest: tuple[int, ...],
    inner: tuple[int, ...],
    part_time: int | None = None,
) -> Signal:
    """Numbers of x, and of part, which count on from those of x, by their positions."""
    signals = [v for v in (x, part) if isinstance(v, Signal)]
    shift = max(v.shift for v in signals)
    nodes = [
        w.add("reshape", w.full(w.operand(v, at, shift), shape), shape=(math.prod(shape),))
        for v, at, shape in (
            (x, time, rest),
            (part, time if part_time is None else part_time, inner),
        )
    ]
    joined = w.add("concatenate", *nodes, axis=0)
    flat = tuple(int(k) for k in source.ravel())
    node = w.add("take", joined, indices=flat, shape=source.shape)
    return Signal(node, time, shift, min(v.valid for v in signals))
