"""Random programs: the interpreter, the block reading, streams of blocks, and FAUST agree.

Tolerances: in double precision 1e-12 of the peak of what the program makes; in single precision
the running error analysis of `bounds.py`. Integers and truth values are equal.
"""

from __future__ import annotations

from collections import Counter

import hypothesis.strategies as st
import numpy as np
from bounds import bounds
from hypothesis import HealthCheck, given, settings
from random_loops import samples
from random_programs import Sample
from readings import Outputs, in_blocks, in_faust, interpreted

import ir
from emitters import faust
from ir.schedule import Loop, Step, schedule

QUIET = {"deadline": None, "derandomize": True, "database": None, "report_multiple_bugs": False,
         "suppress_health_check": [HealthCheck.too_slow, HealthCheck.data_too_large]}  # fmt: skip
TEXTS: set[str] = set()
SEEN: Counter[str] = Counter()


def agree(sample: Sample, found: Outputs, wanted: Outputs, tolerance: float = 1e-12) -> None:
    peak = max((np.max(np.abs(y.astype(float)), initial=0.0) for y in wanted), default=0.0)
    assert peak < 1e3
    for y, w, k in zip(found, wanted, sample.program.graph.outputs, strict=True):
        assert y.shape == w.shape
        error = np.max(np.abs(y.astype(float) - w.astype(float)), initial=0.0)
        if sample.program.graph.nodes[k].type.kind != "real":
            assert error == 0
        assert error <= tolerance * peak, f"output {k}: {error:.3g} for a peak of {peak:.3g}"


def depth(steps: tuple[Step, ...]) -> int:
    return max((1 + depth(s.body) for s in steps if isinstance(s, Loop)), default=0)


def test_faust():
    """At least 200 programs, which together have every operation, and loops in loops."""
    faust_agrees()
    assert len(TEXTS) >= 200
    assert set(SEEN) >= set(ir.OPS)
    assert SEEN["depth 1"] >= 20
    assert SEEN["depth 2"] >= 5


@settings(max_examples=230, **QUIET)
@given(samples())
def faust_agrees(sample: Sample):
    program, inputs, length = sample.program, sample.inputs, sample.length
    wanted = interpreted(program, inputs, length)
    TEXTS.add(faust.emit(program))
    SEEN.update({node.op for node in program.graph.nodes})
    SEEN[f"depth {depth(schedule(program.graph, length))}"] += 1
    agree(sample, in_faust(program, inputs, length), wanted)
    limits = bounds(program, inputs, length, 2.0**-24)
    found = in_faust(program, inputs, length, "single")
    for k, y, w, limit in zip(program.graph.outputs, found, wanted, limits, strict=True):
        error = np.max(np.abs(y.astype(float) - w.astype(float)), initial=0.0)
        assert error <= limit, f"output {k}: {error:.3g} beyond {limit:.3g}"


@settings(max_examples=40, **QUIET)
@given(samples())
def test_blocks(sample: Sample):
    found = in_blocks(sample.program, sample.inputs, sample.length)
    agree(sample, found, interpreted(sample.program, sample.inputs, sample.length))


@settings(max_examples=12, **QUIET)
@given(samples(steps=6), st.data())
def test_stream(sample: Sample, data: st.DataObject):
    """Blocks of any lengths give what the whole signal gives."""
    cuts = sorted(data.draw(st.sets(st.integers(1, sample.length - 1), min_size=1, max_size=3)))
    found = in_blocks(sample.program, sample.inputs, sample.length, cuts)
    agree(sample, found, interpreted(sample.program, sample.inputs, sample.length))


@settings(max_examples=100, **QUIET)
@given(samples())
def test_json(sample: Sample):
    text = ir.dumps(sample.program)
    again = ir.loads(text)
    assert again.graph == sample.program.graph
    assert ir.dumps(again) == text
    assert faust.emit(again) == faust.emit(sample.program)
