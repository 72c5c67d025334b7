"""The rule of a gather at positions that are signals: wavetables, and choices among channels."""

from __future__ import annotations

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from adac_jax._compat import JaxprEqn
from adac_jax.lowering.values import Known, Signal, Value
from adac_jax.lowering.walker import Walker


def looked_up(w: Walker, eqn: JaxprEqn, x: Value, indices: Signal) -> Signal:
    """One index along one axis; what an index beyond the ends reads is the number at the end."""
    numbers, sizes = eqn.params["dimension_numbers"], eqn.params["slice_sizes"]
    if len(numbers.start_index_map) != 1 or sizes[numbers.start_index_map[0]] != 1:
        raise w.refusal(
            "it reads a table at a position on several axes, or several numbers in a row.",
            "Read one number along one axis: table[index].",
        )
    if indices.shift:
        raise w.refusal("its index looks ahead of the signal.", "Delay the signal instead.")
    batch = [k for k in range(len(eqn.outvars[0].aval.shape)) if k not in numbers.offset_dims]
    time = batch[indices.axis]
    pairs = dict(
        zip(numbers.operand_batching_dims, numbers.start_indices_batching_dims, strict=True)
    )
    of_time = [d for d, k in pairs.items() if k == indices.axis]
    if isinstance(x, Signal) and [x.axis] != of_time:
        raise w.refusal(
            "it picks samples of a signal by their position in time.",
            "For earlier samples use delay, variable_delay or fractional_delay.",
        )
    if isinstance(x, Signal) and x.shift:
        raise w.refusal("it reads a signal that runs ahead.", "Delay the signal instead.")
    positions = _positions(eqn, of_time, indices.axis, time)
    if isinstance(x, Signal):
        flat = tuple(int(k) for k in positions.ravel())
        table = w.add("take", x.node, indices=flat, shape=positions.shape)
    else:
        table = _table(w, x, positions, of_time)
    shape = w.builder.type(indices.node).shape[:-1]
    node = w.add("reshape", indices.node, shape=shape)
    rest = tuple(k - (k > time) for k in batch if k != time)
    node = w.add("broadcast", node, shape=positions.shape[1:], axes=rest)
    valid = min(indices.valid, x.valid) if isinstance(x, Signal) else indices.valid
    return Signal(w.add("lookup", table, node), time, 0, valid)


def _positions(eqn: JaxprEqn, of_time: list[int], index_time: int, time: int) -> np.ndarray:
    """(entries, *result at one sample): which number of x each entry of the table is."""
    numbers = eqn.params["dimension_numbers"]
    full, index_shape = list(eqn.invars[0].aval.shape), list(eqn.invars[1].aval.shape)
    sizes = list(eqn.params["slice_sizes"])
    for d in of_time:
        full[d] = 1
    index_shape[index_time] = 1
    numbered = np.arange(math.prod(full), dtype=np.int32).reshape(full)
    found = []
    with jax.ensure_compile_time_eval():
        for k in range(full[numbers.start_index_map[0]]):
            picked = lax.gather(
                jnp.asarray(numbered),
                jnp.full(index_shape, k, jnp.int32),
                dimension_numbers=numbers,
                slice_sizes=tuple(sizes),
                mode="clip",
            )
            found.append(np.squeeze(np.asarray(picked), time))
    return np.stack(found)


def _table(w: Walker, x: Any, positions: np.ndarray, of_time: list[int]) -> int:
    """The node of a table of known numbers."""
    assert isinstance(x, Known)
    value = jnp.asarray(x.value)
    for d in of_time:
        # A table that has a time axis, as batching makes one, is the same at all times.
        node = w.operand(x, d)
        flat = tuple(int(k) for k in positions.ravel())
        return w.add("take", node, indices=flat, shape=positions.shape)
    entries = positions.reshape(len(positions), -1)
    if (entries == entries[:, :1]).all():
        positions = entries[:, 0]
    return w.coefficient(Known(value.ravel()[positions], x.path))


__all__ = ["looked_up"]
