"""Rules of primitives that move, combine or reduce channels; time stays whole."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from adac_jax._compat import JaxprEqn
from adac_jax.lowering.lookup import looked_up
from adac_jax.lowering.values import Controlled, Known, Signal, Value
from adac_jax.lowering.walker import WITH_SIGNALS, Walker, rule

LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"


def without(sequence: Sequence[Any], axis: int) -> tuple[Any, ...]:
    """A tuple without one entry."""
    return (*sequence[:axis], *sequence[axis + 1 :])


def _shape(w: Walker, x: Signal) -> tuple[int, ...]:
    return w.builder.type(x.node).shape


@rule("reshape")
def _reshape(w: Walker, eqn: JaxprEqn, x: Signal) -> Signal:
    old, new = eqn.invars[0].aval.shape, eqn.params["new_sizes"]
    order = eqn.params["dimensions"]
    if order is not None:
        x, old = _permuted(w, x, order), tuple(old[k] for k in order)
    before = math.prod(old[: x.axis])
    for axis, size in enumerate(new):
        if size == old[x.axis] and math.prod(new[:axis]) == before:
            return w.mapped(w.add("reshape", x.node, shape=without(new, axis)), x, axis)
    raise w.refusal(
        f"reshaping {old} to {new} mixes time with other axes.",
        "Keep the time axis as it is.",
    )


@rule("squeeze")
def _squeeze(w: Walker, eqn: JaxprEqn, x: Signal) -> Signal:
    gone = eqn.params["dimensions"]
    if x.axis in gone:
        raise w.refusal("it picks one sample of a signal.", WHOLE)
    shape = [n for k, n in enumerate(eqn.outvars[0].aval.shape)]
    axis = x.axis - sum(d < x.axis for d in gone)
    return w.mapped(w.add("reshape", x.node, shape=without(shape, axis)), x, axis)


@rule("transpose")
def _transpose(w: Walker, eqn: JaxprEqn, x: Signal) -> Signal:
    return _permuted(w, x, eqn.params["permutation"])


def _permuted(w: Walker, x: Signal, permutation: Sequence[int]) -> Signal:
    permutation = tuple(permutation)
    axis = permutation.index(x.axis)
    rest = tuple(p - (p > x.axis) for p in without(permutation, axis))
    if rest == tuple(range(len(rest))):
        return w.mapped(x.node, x, axis)
    return w.mapped(w.add("transpose", x.node, permutation=rest), x, axis)


@rule("broadcast_in_dim")
def _broadcast(w: Walker, eqn: JaxprEqn, x: Signal, *dynamic: Value) -> Signal:
    shape, axes = eqn.params["shape"], eqn.params["broadcast_dimensions"]
    axis = axes[x.axis]
    if shape[axis] != eqn.invars[0].aval.shape[x.axis]:
        raise w.refusal("it repeats one sample over time.", WHOLE)
    rest = tuple(a - (a > axis) for a in without(axes, x.axis))
    return w.mapped(w.add("broadcast", x.node, shape=without(shape, axis), axes=rest), x, axis)


@rule("concatenate")
def _concatenate(w: Walker, eqn: JaxprEqn, *values: Value) -> Signal:
    dimension = eqn.params["dimension"]
    first = next(v for v in values if isinstance(v, Signal))
    if dimension == first.axis:
        from adac_jax.lowering.shifts import splice

        return splice(w, eqn, values)
    nodes, like = w.align(values)
    # A known scalar cannot stand for an array here, as it can in elementwise operations.
    nodes = [
        w.full(k, without(atom.aval.shape, like.axis))
        for k, atom in zip(nodes, eqn.invars, strict=True)
    ]
    axis = dimension - (dimension > like.axis)
    return w.mapped(w.add("concatenate", *nodes, axis=axis), like)


@rule("stack")
def _stack(w: Walker, eqn: JaxprEqn, *values: Value) -> Signal:
    dimension = eqn.params["axis"]
    nodes, like = w.align(values)
    axis = like.axis + (dimension <= like.axis)
    shape = without(eqn.outvars[0].aval.shape, axis)
    at = dimension - (dimension > axis)
    one = (*shape[:at], 1, *shape[at + 1 :])
    parts = [w.add("reshape", w.full(k, without(shape, at)), shape=one) for k in nodes]
    return w.mapped(w.add("concatenate", *parts, axis=at), like, axis)


@rule("tile")
def _tile(w: Walker, eqn: JaxprEqn, x: Signal) -> Signal:
    counts = eqn.params["reps"]
    if counts[x.axis] != 1:
        raise w.refusal("it repeats a signal in time.", WHOLE)
    shape = _shape(w, x)
    index = np.arange(math.prod(shape)).reshape(shape)
    return _taken(w, x, np.tile(index, without(counts, x.axis)))


@rule("split")
def _split(w: Walker, eqn: JaxprEqn, x: Signal) -> list[Signal]:
    axis, sizes = eqn.params["axis"], eqn.params["sizes"]
    if axis == x.axis:
        raise w.refusal("it cuts a signal into stretches of time.", WHOLE)
    at = axis - (axis > x.axis)
    shape, parts, start = _shape(w, x), [], 0
    for size in sizes:
        low, high = [0] * len(shape), list(shape)
        low[at], high[at] = start, start + size
        parts.append(w.mapped(_slice_node(w, x.node, low, high), x))
        start += size
    return parts


def _slice_node(w: Walker, k: int, low: Sequence[int], high: Sequence[int]) -> int:
    return w.add("slice", k, start=tuple(low), limit=tuple(high), stride=tuple(1 for _ in low))


def slice_channels(
    w: Walker, x: Signal, start: Sequence[int], limit: Sequence[int], stride: Sequence[int]
) -> int:
    """The node of a slice of the channels; the entries for time are left out already."""
    shape = _shape(w, x)
    if tuple(limit) == shape and not any(start) and all(s == 1 for s in stride):
        return x.node
    return w.add("slice", x.node, start=tuple(start), limit=tuple(limit), stride=tuple(stride))


@rule("rev")
def _reverse(w: Walker, eqn: JaxprEqn, x: Signal) -> Signal:
    axes = eqn.params["dimensions"]
    if x.axis in axes:
        raise w.refusal("it reverses time, so the first output needs the last input.", _CAUSAL)
    shape = _shape(w, x)
    index = np.arange(math.prod(shape)).reshape(shape)
    return _taken(w, x, np.flip(index, tuple(a - (a > x.axis) for a in axes)))


def _taken(w: Walker, x: Signal, index: np.ndarray, axis: int | None = None) -> Signal:
    """A result whose numbers are numbers of x, by their row-major position."""
    flat = tuple(int(k) for k in index.ravel())
    return w.mapped(w.add("take", x.node, indices=flat, shape=index.shape), x, axis)


@rule("gather")
def _gather(w: Walker, eqn: JaxprEqn, x: Value, indices: Value) -> Signal:
    index = w.concrete(indices)
    if isinstance(indices, Signal):
        return looked_up(w, eqn, x, indices)
    if not isinstance(x, Signal) or index is None:
        raise w.refusal("its indices depend on a parameter.", "Use indices that are constants.")
    numbers = eqn.params["dimension_numbers"]
    sizes = eqn.params["slice_sizes"]
    whole = sizes[x.axis] == eqn.invars[0].aval.shape[x.axis]
    if x.axis in numbers.collapsed_slice_dims or not whole:
        raise w.refusal("it picks samples of a signal by their position in time.", WHOLE)
    # Gather positions instead of samples, with a time axis of one.
    shape = _shape(w, x)
    positions = np.arange(math.prod(shape), dtype=np.int32).reshape(shape)
    with jax.ensure_compile_time_eval():
        found = lax.gather(
            jnp.expand_dims(positions, x.axis),
            jnp.asarray(index),
            dimension_numbers=numbers,
            slice_sizes=(*sizes[: x.axis], 1, *sizes[x.axis + 1 :]),
            mode=eqn.params["mode"],
            fill_value=-1,
        )
    kept = [d for d in range(len(sizes)) if d not in numbers.collapsed_slice_dims]
    axis = numbers.offset_dims[kept.index(x.axis)]
    picked = np.squeeze(np.asarray(found), axis)
    if (picked < 0).any():
        raise w.refusal("an index is out of range.", "")
    return _taken(w, x, picked, axis)


@rule("dynamic_slice")
def _dynamic_slice(w: Walker, eqn: JaxprEqn, x: Value, *starts: Value) -> Signal:
    found = [w.concrete(s) for s in starts]
    if not isinstance(x, Signal) or any(f is None for f in found):
        raise w.refusal("its position depends on a signal or a parameter.", WHOLE)
    sizes, full = eqn.params["slice_sizes"], eqn.invars[0].aval.shape
    # JAX moves a slice that would reach over the end.
    low = [
        min(max(int(f), 0), n - size)  # type: ignore[arg-type]
        for f, n, size in zip(found, full, sizes, strict=True)
    ]
    from adac_jax.lowering.shifts import cut

    limit = [a + s for a, s in zip(low, sizes, strict=True)]
    return cut(w, x, full[x.axis], low, limit, [1] * len(low))


def _reduction(op: str):
    def reduce(w: Walker, eqn: JaxprEqn, x: Signal) -> Signal:
        axes = eqn.params["axes"]
        if x.axis in axes:
            raise w.refusal(
                "it needs all samples of the signal at once.",
                "Use a running value: a leaky average by lfilter, or feedback.",
            )
        kept = tuple(sorted(a - (a > x.axis) for a in axes))
        axis = x.axis - sum(a < x.axis for a in axes)
        return w.mapped(w.add(op, x.node, axes=kept), x, axis)

    return reduce


for _primitive, _op in {
    "reduce_sum": "sum",
    "reduce_prod": "prod",
    "reduce_max": "max",
    "reduce_min": "min",
}.items():
    rule(_primitive)(_reduction(_op))


@rule("dot_general")
def _dot_general(w: Walker, eqn: JaxprEqn, left: Value, right: Value) -> Signal:
    (lc, rc), (lb, rb) = eqn.params["dimension_numbers"]
    ranks = [len(atom.aval.shape) for atom in eqn.invars]
    names = iter(LETTERS)
    letters: list[list[str]] = [[""] * ranks[0], [""] * ranks[1]]
    for a, b in [*zip(lb, rb, strict=True), *zip(lc, rc, strict=True)]:
        letters[0][a] = letters[1][b] = next(names)
    for side in (0, 1):
        letters[side] = [letter or next(names) for letter in letters[side]]
    result = [letters[0][a] for a in lb]
    result += [letter for k, letter in enumerate(letters[0]) if k not in (*lb, *lc)]
    result += [letter for k, letter in enumerate(letters[1]) if k not in (*rb, *rc)]

    operands = [left, right]
    signals = [v for v in operands if isinstance(v, Signal)]
    times = {letters[k][v.axis] for k, v in enumerate(operands) if isinstance(v, Signal)}
    if len(times) > 1:
        raise w.refusal("it multiplies each sample of one signal with each of another.", _CAUSAL)
    time = times.pop()
    if time not in result:
        raise w.refusal("it sums over time, so it needs all samples at once.", _CAUSAL)
    shift = max(s.shift for s in signals)
    nodes = []
    for side, value in enumerate(operands):
        if isinstance(value, (Known, Controlled)) and time not in letters[side]:
            nodes.append(w.still(value))
        else:
            nodes.append(w.operand(value, letters[side].index(time), shift))  # type: ignore[arg-type]
    parts = ["".join(letter for letter in side if letter != time) for side in letters]
    nodes = [
        w.full(
            k, tuple(n for n, letter in zip(atom.aval.shape, side, strict=True) if letter != time)
        )
        for k, atom, side in zip(nodes, eqn.invars, letters, strict=True)
    ]
    subscripts = _renamed(f"{parts[0]},{parts[1]}->{''.join(x for x in result if x != time)}")
    node = w.add("einsum", *nodes, subscripts=subscripts)
    return Signal(node, result.index(time), shift, min(s.valid for s in signals))


WITH_SIGNALS.update(("concatenate", "stack", "dot_general"))


def _renamed(subscripts: str) -> str:
    """The same subscripts with the letters i, j, k, … in order of appearance."""
    seen = dict.fromkeys(c for c in subscripts if c.isalpha())
    fresh = dict(zip(seen, LETTERS[8:] + LETTERS[:8], strict=False))
    return "".join(fresh.get(c, c) for c in subscripts)


WHOLE = "Work on whole signals; for earlier samples use delay(x, samples)."
_CAUSAL = "Each output sample may use present and earlier inputs only."
