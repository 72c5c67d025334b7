"""Random functions of audio: JAX, the interpreter, the block reading and FAUST agree.

Tolerance: each value of a function carries a bound on rounding errors (`random_functions.py`). What
is causal is traced, and its output does not change before its input does; what is not is refused,
with the line of the function that looks ahead.
"""

from __future__ import annotations

import function_parts  # noqa: F401
import function_parts_channels  # noqa: F401
import function_parts_exact  # noqa: F401
import function_parts_filters  # noqa: F401
import function_parts_moves  # noqa: F401
import function_parts_recursions  # noqa: F401
import function_parts_time  # noqa: F401
import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from non_causal import NON_CAUSAL
from plain import double
from random_functions import LENGTH, SMOOTH, Sample, audio, functions
from readings import FAST, in_blocks, in_faust

import adac_jax
import ir

QUIET = {"deadline": None, "derandomize": True, "database": None, "report_multiple_bugs": False,
         "suppress_health_check": list(HealthCheck)}  # fmt: skip
CHANGED = 30
"""From this sample on, another input is given."""
LARGEST = 1e-9
"""What no tolerance may exceed, so that a wrong sample is always seen."""


def traced(sample: Sample) -> tuple[ir.Program, np.ndarray, np.ndarray]:
    """The program of a function, an input, and what JAX makes of it; causality is checked."""
    x, other = audio(sample.seed), audio(sample.seed + 1)
    other[:CHANGED] = x[:CHANGED]
    with double():
        called = jax.jit(sample, compiler_options=FAST)
        y, changed = (np.asarray(called(jnp.asarray(v))) for v in (x, other))
        program = adac_jax.trace(sample, inputs=x.shape[1]).program
    np.testing.assert_array_equal(y[:CHANGED], changed[:CHANGED])
    return program, x, y


def agree(sample: Sample, found: np.ndarray, wanted: np.ndarray) -> None:
    tolerances = sample.tolerances()
    assert np.max(tolerances) <= LARGEST
    assert found.shape == wanted.shape
    assert np.all(np.isfinite(wanted))
    errors = np.max(np.abs(found - wanted), axis=0)
    assert np.all(errors <= tolerances), f"off by {errors}, which may be {tolerances}"


def interpreter_agrees(sample: Sample) -> None:
    program, x, y = traced(sample)
    agree(sample, ir.run(program, x)[0], y)


def every_reading_agrees(sample: Sample) -> None:
    program, x, y = traced(sample)
    agree(sample, ir.run(program, x)[0], y)
    agree(sample, in_blocks(program, [x], LENGTH)[0], y)
    agree(sample, in_faust(program, [x], LENGTH)[0], y)


@settings(max_examples=20, **QUIET)
@given(functions())
def test_graph_of_a_random_function(sample: Sample):
    interpreter_agrees(sample)


@settings(max_examples=12, **QUIET)
@given(functions())
def test_readings_of_a_random_function(sample: Sample):
    every_reading_agrees(sample)


@pytest.mark.slow
@settings(max_examples=50, **QUIET)
@given(functions(12))
def test_graphs_of_many_random_functions(sample: Sample):
    interpreter_agrees(sample)


@pytest.mark.slow
@settings(max_examples=25, **QUIET)
@given(functions(12))
def test_readings_of_many_random_functions(sample: Sample):
    every_reading_agrees(sample)


def lines(function) -> set[str]:
    """The places that a refusal may name: the lines of a function and of what it defines."""
    codes, found = [function.__code__], set()
    while codes:
        code = codes.pop()
        codes += [c for c in code.co_consts if hasattr(c, "co_lines")]
        found |= {f"{code.co_filename}:{line} ({code.co_qualname})" for *_, line in code.co_lines()}
    return found


@pytest.mark.parametrize("ingredient", NON_CAUSAL, ids=lambda f: f.__name__)
@settings(max_examples=2, **QUIET)
@given(sample=functions(2), data=st.data())
def test_what_is_not_causal_is_refused_by_its_line(ingredient, sample, data):
    way = data.draw(st.sampled_from(["plain", "checkpoint", "vmap"]))

    def model(x):
        y = sample(x)
        smooth = jnp.tanh(y[:, :1]) + x[:, :SMOOTH]
        wrapped = {
            "plain": ingredient,
            "checkpoint": jax.checkpoint(ingredient),  # type: ignore[attr-defined]
            "vmap": lambda v: jax.vmap(ingredient)(jnp.stack([v, -v])).sum(0),
        }[way]
        return jnp.concatenate([y, 0.5 * wrapped(smooth)], axis=1)

    with double(), pytest.raises(adac_jax.RefusedError) as caught:
        adac_jax.trace(model, inputs=audio(0).shape[1])
    assert caught.value.where in lines(ingredient)
    assert caught.value.where in str(caught.value)
