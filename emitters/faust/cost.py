"""What a program will cost in FAUST, before it is compiled.

FAUST has no loops over channels: every product is a line of its own, in the text, in the compiler
and in the code. So the number of products tells what compilers and processors will have to do.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from emitters.faust.recursion import open_loops
from ir.graph import Node, Program
from ir.ops import OPS, parse_subscripts
from ir.passes import fold, merge, prune
from ir.verify import VARYING

FUNCTIONS = frozenset(
    {"exp", "exp2", "expm1", "log", "log1p", "sin", "cos", "tan", "asin", "acos", "atan", "sinh"}
    | {"cosh", "tanh", "asinh", "acosh", "atanh", "logistic", "erf", "erfc", "pow", "atan2", "cbrt"}
)
"""What is computed by a call."""
KNOB = 10
"""Comparisons and additions by which a value follows its knob."""
COMPILE = (7e-4, 5e-8)
"""Seconds a product, and a pair of products: of LSTMs of 16 to 40 units, convolution networks of up
to 13,800 weights and dense loops of 8 to 128 lines; `benchmarks/effects.py` measures them again."""
PORTS = 3e-5
"""Seconds a pair of signals that go back in loops: of waveguide meshes of 8 × 8 to 16 × 16."""
PRODUCT, CALL, OTHER = 4.5e-10, 9e-9, 8e-10
"""Seconds that a product, a call and any other operation take, on one core."""


@dataclass(frozen=True, slots=True)
class Cost:
    """An estimate, within a factor of two or so on a processor of these years.

    Attributes:
        products: Multiplications by numbers or signals a sample.
        calls: Transcendental functions a sample.
        others: Additions, choices, comparisons and so on a sample.
        memory: Samples that delay lines keep.
        ports: Signals that go back in loops.
        compile_seconds: How long libfaust and LLVM will take.
        real_time: How many times faster than real time one core will run it, in single precision.
    """

    products: int
    calls: int
    others: int
    memory: int
    ports: int
    compile_seconds: float
    real_time: float


def cost(program: Program) -> Cost:
    """Counts what a program does at one sample.

    Args:
        program: As for `emit`.
    """
    program = fold(program)
    graph = merge(prune(program.graph))
    fixed = _fixed(graph.nodes)
    products = calls = others = memory = 0
    for k, node in graph:
        if k in fixed:
            continue
        if node.op in ("einsum", "fir", "iir", "sos"):
            products += _products(program, graph.nodes, node)
        elif node.op in ("mul", "div"):
            products += node.type.size
        elif node.op == "control":
            products, others = products + 1, others + KNOB
        elif node.op in FUNCTIONS:
            calls += node.type.size
        elif node.op in ("delay", "variable_delay"):
            memory += _memory(node)
            others += node.type.size
        elif OPS[node.op].family == "elementwise" or node.op in ("sum", "prod", "max", "min"):
            others += max(node.type.size, *(graph.nodes[s].type.size for s in node.inputs))
    opened = open_loops(graph)
    ports = sum(opened.graph.nodes[k].type.size for k in opened.graph.inputs[: opened.ports])
    seconds = COMPILE[0] * products + COMPILE[1] * products**2 + COMPILE[0] * (calls + others)
    seconds += PORTS * ports**2
    sample = products * PRODUCT + calls * CALL + others * OTHER
    real_time = 1 / max(1e-12, sample * graph.sample_rate)
    return Cost(products, calls, others, memory, ports, seconds, real_time)


def _fixed(nodes: tuple[Node, ...]) -> set[int]:
    """Nodes that are the same at every sample: they are computed while emitting."""
    found: set[int] = set()
    grown = True
    while grown:
        grown = False
        for k, node in enumerate(nodes):
            if k in found or node.op in VARYING or OPS[node.op].family == "time":
                continue
            if all(s in found for s in node.inputs):
                found.add(k)
                grown = True
    return found


def _products(program: Program, nodes: tuple[Node, ...], node: Node) -> int:
    """Products that are not by zero."""
    if node.op == "einsum":
        *terms, _ = parse_subscripts(node.text("subscripts"))
        sizes = {
            letter: n
            for term, s in zip(terms, node.inputs, strict=True)
            for letter, n in zip(term, nodes[s].shape, strict=True)
        }
        count = math.prod(sizes.values())
        shares = [_share(program, nodes[s]) for s in node.inputs]
        return round(count * min(shares))
    taps = nodes[node.inputs[1]]
    used = _share(program, taps) * taps.type.size
    return round(used * 2 if node.op == "iir" else used * 5 / 6 if node.op == "sos" else used)


def _share(program: Program, node: Node) -> float:
    """The share of a coefficient's numbers that are not zero; 1 for what is not known."""
    if node.op != "coefficient" or not node.type.size:
        return 1.0
    return float(np.mean(program.coefficients[node.text("slot")] != 0))


def _memory(node: Node) -> int:
    if node.op == "variable_delay":
        return node.type.size * node.int("maximum")
    return sum(node.ints("samples"))


__all__ = ["Cost", "cost"]
