"""Every reading of every operation, driven by the table of cases.

Tolerances: an independent formula in NumPy, and the block reading and FAUST in double precision
against the interpreter, 1e-12 of the peak: a case makes at most a few thousand roundings of 1.1e-16
of something as large as its peak. FAUST in single precision: the running error analysis of
`bounds.py`, with nothing added.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from bounds import bounds
from cases import CASES, Case
from readings import in_blocks, in_faust, interpreted

import ir
from adac_jax.blocks.stateful import STATEFUL
from adac_jax.blocks.stateless import PER_SAMPLE
from emitters.faust import RULES
from ir import interpreter

SOURCES = {name for name, row in ir.OPS.items() if row.family == "source"}
OVER_TIME = {name for name, row in ir.OPS.items() if row.family == "time"}
PLAIN = set(ir.OPS) - SOURCES - OVER_TIME


def each_case(cases=CASES):
    return pytest.mark.parametrize("case", cases, ids=str)


def close(found: np.ndarray, wanted: np.ndarray, tolerance: float = 1e-12) -> None:
    assert found.shape == wanted.shape
    if not wanted.size:
        return
    found, wanted = found.astype(float), wanted.astype(float)
    error, peak = np.max(np.abs(found - wanted)), np.max(np.abs(wanted))
    assert error <= tolerance * peak, f"{error:.3g} for a peak of {peak:.3g}"


def test_every_reading_covers_every_operation():
    assert {case.op for case in CASES} == set(ir.OPS)
    assert set(PER_SAMPLE) == PLAIN
    assert set(STATEFUL) == OVER_TIME
    assert set(RULES) == PLAIN | OVER_TIME
    assert set(interpreter.PER_SAMPLE) == PLAIN
    assert set(interpreter.OVER_TIME) == OVER_TIME - {"sos"}  # which is expanded to `iir`


def test_labels_are_unique():
    assert len(set(map(str, CASES))) == len(CASES)


@each_case()
def test_interpreter(case: Case):
    (y,) = interpreted(case.program, case.inputs, case.length)
    node = case.program.graph.nodes[case.program.graph.outputs[0]]
    assert y.dtype == {"real": np.float64, "int": np.int64, "bool": np.bool_}[node.type.kind]
    assert case.expected is not None
    close(y, case.expected)


def together(op: str) -> tuple[ir.Program, list[np.ndarray], int, list[Case]]:
    """All cases of an operation as one program, which compiles once; inputs padded by zeros."""
    cases = [case for case in CASES if case.op == op]
    nodes: list[ir.Node] = []
    outputs: list[int] = []
    coefficients: dict[str, np.ndarray] = {}
    inputs: list[np.ndarray] = []
    length = max(case.length for case in cases)
    for n, case in enumerate(cases):
        first = len(nodes)
        for node in case.program.graph.nodes:
            attributes = dict(node.attributes)
            if node.op == "input":
                attributes["index"] = len(inputs) + node.int("index")
            if node.op == "coefficient":
                attributes["slot"] = f"{n}.{node.text('slot')}"
            sources = tuple(first + k for k in node.inputs)
            nodes.append(
                replace(node, inputs=sources, attributes=tuple(sorted(attributes.items())))
            )
        outputs += [first + k for k in case.program.graph.outputs]
        coefficients |= {f"{n}.{slot}": v for slot, v in case.program.coefficients.items()}
        for x in case.inputs:
            padding = [(0, length - len(x))] + [(0, 0)] * (x.ndim - 1)
            inputs.append(np.pad(x, padding, mode="edge"))
    return (
        ir.Program(ir.Graph(tuple(nodes), tuple(outputs), op), coefficients),
        inputs,
        length,
        cases,
    )


@pytest.mark.parametrize("op", ir.OPS)
def test_blocks(op: str):
    program, inputs, length, cases = together(op)
    found = in_blocks(program, inputs, length)
    for case, y in zip(cases, found, strict=True):
        (wanted,) = interpreted(case.program, case.inputs, case.length)
        assert y.dtype.kind == wanted.dtype.kind, case
        assert y.dtype in (np.float64, np.int32, np.bool_), case
        close(y[: case.length], wanted)


@each_case([case for case in CASES if case.program.graph.output_channels])
def test_faust_double(case: Case):
    (y,) = in_faust(case.program, case.inputs, case.length, extreme=True)
    close(y, interpreted(case.program, case.inputs, case.length)[0])


SINGLE = [case for case in CASES if case.program.graph.output_channels]
SINGLE = [case for case in SINGLE if np.max(np.abs(np.asarray(case.expected, float))) < 3e38]


@pytest.mark.parametrize("op", ir.OPS)
def test_faust_single(op: str):
    program, inputs, length, cases = together(op)
    found = in_faust(program, inputs, length, "single", extreme=True)
    for case, y in zip(cases, found, strict=True):
        if case not in SINGLE:
            continue
        (wanted,) = interpreted(case.program, case.inputs, case.length)
        (bound,) = bounds(case.program, case.inputs, case.length, 2.0**-24)
        error = np.max(np.abs(y[: case.length].astype(float) - wanted), initial=0.0)
        if case.program.graph.nodes[case.program.graph.outputs[0]].type.kind == "int":
            bound = 2.0**-24 * np.max(np.abs(wanted))  # audio out is single precision too
        assert error <= bound, f"{case}: {error:.3g} > {bound:.3g}"


@each_case()
def test_json_keeps_every_bit(case: Case):
    text = ir.dumps(case.program)
    again = ir.loads(text)
    assert again.graph == case.program.graph
    assert repr(again.graph) == repr(
        case.program.graph
    )  # which tells 0.0 from -0.0 and 1 from True
    assert list(again.coefficients) == sorted(case.program.coefficients)
    for slot, value in case.program.coefficients.items():
        assert again.coefficients[slot].dtype == value.dtype
        assert again.coefficients[slot].shape == value.shape
        assert again.coefficients[slot].tobytes() == value.tobytes()
    assert ir.dumps(again) == text


@each_case()
def test_types_are_inferred(case: Case):
    graph = case.program.graph
    node = graph.nodes[graph.outputs[0]]
    wrong = replace(node, type=ir.Type((*node.shape, 7), node.type.kind))
    nodes = tuple(wrong if other is node else other for other in graph.nodes)
    with pytest.raises(ir.IRError, match="is declared"):
        ir.verify(replace(graph, nodes=nodes))
