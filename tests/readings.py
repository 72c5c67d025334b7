"""The readings of a program that the tests compare: each gives the outputs as NumPy arrays."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np

import adac_jax
import ir
from adac_jax import blocks
from adac_jax.blocks.reading import Plan
from adac_jax.host import Library
from emitters import faust
from ir.interpreter import run_for

Outputs = tuple[np.ndarray, ...]
COMPILED: set[str] = set()
"""Every FAUST text that was compiled in this process."""
FAST = {"xla_backend_optimization_level": 0, "xla_llvm_disable_expensive_passes": True}
"""Compile in a hurry: each program runs once."""
JAX_TYPES = {"i": np.int32, "b": np.bool_}


def interpreted(program: ir.Program, inputs: Sequence[np.ndarray], length: int) -> Outputs:
    """The reference."""
    ir.verify_program(program)
    return run_for(program, length, *inputs)


def compared_with_jax(
    function: Callable[[jax.Array], jax.Array],
    x: np.ndarray,
    tolerance: float,
    readings: Sequence[Callable[..., Outputs]] = (),
) -> np.ndarray:
    """What a function of audio gives in float64, which its graph must give by each reading too."""
    with jax.enable_x64(True):
        program = adac_jax.trace(function, inputs=x.shape[1]).program
        whole = jax.jit(lambda v: function(v), compiler_options=FAST)
        expected = np.asarray(whole(jax.numpy.asarray(x)))
    for reading in (interpreted, *readings):
        (found,) = reading(program, [x], len(x))
        assert found.shape == expected.shape
        assert np.max(np.abs(found - expected)) <= tolerance
    return expected


def arrays(values: Sequence[np.ndarray], dtype: type = np.float64) -> list[jax.Array]:
    """As JAX arrays, real ones in the given precision."""
    return [jax.numpy.asarray(v, JAX_TYPES.get(v.dtype.kind, dtype)) for v in values]


def in_blocks(
    program: ir.Program,
    inputs: Sequence[np.ndarray],
    length: int,
    cuts: Sequence[int] = (),
    dtype: type = np.float64,
) -> Outputs:
    """The block reading, strict about promotion; as a stream of blocks that begin at `cuts`."""
    with jax.enable_x64(dtype is np.float64), jax.numpy_dtype_promotion("strict"):
        values = list(program.coefficients.values())
        coefficients = dict(zip(program.coefficients, arrays(values, dtype), strict=True))
        xs = arrays(inputs, dtype)
        if not cuts:
            whole = jax.jit(
                lambda c, x: blocks.run(program.graph, c, x, length), compiler_options=FAST
            )
            return tuple(np.asarray(y) for y in whole(coefficients, xs))
        state, parts = None, []
        for start, stop in itertools.pairwise([0, *cuts, length]):
            state, ys = _block(program, start == 0, stop - start, dtype)(
                coefficients, state, [x[start:stop] for x in xs]
            )
            parts.append([np.asarray(y) for y in ys])
        return tuple(np.concatenate(ys) for ys in zip(*parts, strict=True))


@functools.lru_cache(maxsize=64)
def _block(program: ir.Program, first: bool, length: int, dtype: type) -> Callable[..., Any]:
    """One block of a stream."""

    def run(coefficients: Any, state: Any, xs: Any) -> Any:
        plan = Plan(program.graph, coefficients, length, jax.numpy.dtype(dtype))
        moved = [jax.numpy.moveaxis(x, 0, -1) for x in xs]
        state, ys = plan.run(plan.start() if first else state, moved)
        return state, [jax.numpy.moveaxis(y, -1, 0) for y in ys]

    return jax.jit(run, compiler_options=FAST)


def in_faust(
    program: ir.Program,
    inputs: Sequence[np.ndarray],
    length: int,
    precision: str = "double",
    *,
    extreme: bool = False,
) -> Outputs:
    """The emitted FAUST, compiled in this process; `extreme` numbers pass and are not flushed."""
    source = faust.emit(program, guard=not extreme)
    COMPILED.add(source)
    flat = [np.asarray(x, float).reshape(length, x[0].size) for x in inputs]
    host = Library(source, precision=precision, flush_denormals=not extreme)  # type: ignore
    with host as library:
        y = library.render(np.concatenate([np.zeros((length, 0)), *flat], axis=1))
    types = [program.graph.nodes[k].type for k in program.graph.outputs]
    assert y.shape == (length, sum(t.size for t in types))
    pieces = np.split(y, np.cumsum([t.size for t in types])[:-1], axis=1)
    return tuple(p.reshape(length, *t.shape) for p, t in zip(pieces, types, strict=True))
