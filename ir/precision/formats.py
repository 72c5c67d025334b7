"""Fixed-point formats: how many bits each signal has before and after the point.

A number of W bits with I integer bits (besides the sign) is a multiple of q = 2^(I + 1 - W) from
-2^I to 2^I - q. A signal has the fewest integer bits that hold its peak; what only moves numbers
keeps their format.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from ir.graph import Node, Program
from ir.interpreter import per_sample
from ir.linearity import fixed_nodes
from ir.ops import parse_subscripts
from ir.precision.blocks import SPREAD, fixed_values

LEAST = -24
"""Integer bits of a signal that is (nearly) zero."""
FINEST = -(10**6)
"""The exponent of the grid of numbers that are on no coarser one."""
MOVING = frozenset(
    {"delay", "variable_delay", "neg", "slice", "concatenate", "reshape", "transpose"}
    | {"broadcast", "take"}
)
"""Operations that compute nothing."""


def integer_bits(peak: np.ndarray, bits: int) -> np.ndarray:
    """The fewest integer bits I with peak ≤ 2^I - 2^(I + 1 - bits)."""
    room = 1 - 2.0 ** (1 - bits)
    with np.errstate(divide="ignore"):
        found = np.ceil(np.log2(np.asarray(peak, float) / room))
    return np.maximum(np.where(np.isfinite(found), found, LEAST), LEAST).astype(int)


def quantised(x: np.ndarray, bits: int) -> np.ndarray:
    """Coefficients rounded to words of `bits` bits that share one point."""
    if not np.size(x):
        return np.asarray(x, float)
    step = 2.0 ** (int(integer_bits(np.max(np.abs(x)), bits)) + 1 - bits)
    return np.rint(np.asarray(x, float) / step) * step


def grid(x: np.ndarray) -> np.ndarray:
    """The largest e of which each number is a multiple of 2^e; a large one for zero."""
    mantissa, exponent = np.frexp(x)
    whole = np.abs(mantissa * 2.0**53).astype(np.int64)
    lowest = np.log2(np.maximum(1, whole & -whole)).astype(int)
    return np.where(whole == 0, -FINEST, exponent - 53 + lowest)


@dataclass(frozen=True, slots=True)
class Formats:
    """A prepared program with the formats of its signals.

    Attributes:
        bits: W.
        coefficient_bits: Of the multipliers.
        program: The program.
        integer: Integer bits of each channel of each real signal, by node.
        arriving: Exponent of the grid that a node's result is on before it is rounded.
        fixed: Values of fixed nodes, rounded where a signal meets them.
        filters: b and a of each recursive filter, divided by a_0 and rounded.
    """

    bits: int
    coefficient_bits: int
    program: Program
    integer: Mapping[int, np.ndarray]
    arriving: Mapping[int, np.ndarray]
    fixed: Mapping[int, np.ndarray]
    filters: Mapping[int, tuple[np.ndarray, np.ndarray]]

    def exponent(self, k: int) -> np.ndarray:
        """Log2 q of each channel of a signal."""
        return self.integer[k] + 1 - self.bits

    def variance(self, k: int) -> np.ndarray:
        """Of what rounding adds to each channel of a signal, if it is like noise.

        Of n = 2^j equally likely remainders, ties to even, the mean square is q² (1 + 2 / n²) / 12.
        """
        q = self.exponent(k)
        lost = np.maximum(0, q - self.arriving[k])
        square = 4.0**q / 12 * (1 + 2 * 4.0 ** -np.minimum(lost, 500.0))
        return np.where(lost > 0, square, 0.0)


def exact_filters(program: Program) -> dict[int, tuple[np.ndarray, np.ndarray]]:
    """B and a of each recursive filter, divided by a_0."""
    values = fixed_values(program)
    found = {}
    for k, node in program.graph:
        if node.op == "iir":
            b, a = (values[s] for s in node.inputs[1:3])
            found[k] = b / a[0], a / a[0]
    return found


def rounded_numbers(
    program: Program, bits: int
) -> tuple[dict[int, np.ndarray], dict[int, tuple[np.ndarray, np.ndarray]]]:
    """Fixed values, rounded where a signal meets them, and b and a of each recursive filter."""
    graph, exact = program.graph, fixed_values(program)
    met = {s for k, n in graph if k not in exact for s in n.inputs if s in exact}
    fixed = {
        k: quantised(v, bits) if k in met and v.dtype.kind == "f" else v for k, v in exact.items()
    }
    filters = {
        k: (quantised(b, bits), quantised(a, bits)) for k, (b, a) in exact_filters(program).items()
    }
    return fixed, filters


def formats(
    program: Program, bits: int, peaks: Mapping[int, np.ndarray], coefficient_bits: int
) -> Formats:
    """Chooses formats.

    Args:
        program: As `prepared` makes it.
        bits: Of every signal, 4 to 48.
        peaks: The largest absolute value of each channel of each node.
        coefficient_bits: Of every multiplier.
    """
    graph = program.graph
    still = fixed_nodes(graph)
    real = [k for k, n in graph if n.type.kind == "real" and k not in still]
    integer = {k: integer_bits(peaks[k], bits) for k in real}
    for _ in range(len(real)):
        before = dict(integer)
        for k in real:
            if graph.nodes[k].op in MOVING:
                integer[k] = _moved(graph.nodes[k], integer, still, peaks, bits)
        if all(np.array_equal(before[k], integer[k]) for k in real):
            break
    fixed, filters = rounded_numbers(program, coefficient_bits)
    grids = {k: np.broadcast_to(integer[k] + 1 - bits, graph.nodes[k].shape) for k in real}
    grids |= {k: grid(v) for k, v in fixed.items() if v.dtype.kind == "f"}
    arriving = {k: _arriving(graph.nodes[k], grids) for k in real}
    return Formats(bits, coefficient_bits, program, integer, arriving, fixed, filters)


def _moved(
    node: Node,
    integer: Mapping[int, np.ndarray],
    still: set[int],
    peaks: Mapping[int, np.ndarray],
    bits: int,
) -> np.ndarray:
    """The formats of what is moved, moved likewise."""
    sources = node.inputs[:1] if "delay" in node.op else node.inputs
    xs = [integer_bits(peaks[s], bits) if s in still else integer[s] for s in sources]
    if node.op in ("delay", "variable_delay", "neg"):
        return xs[0]
    return _per_sample(node, xs)


def _per_sample(node: Node, xs: list[np.ndarray]) -> np.ndarray:
    if node.op in SPREAD:
        return SPREAD[node.op](node, *(x[..., None, None] for x in xs))[..., 0, 0]
    return np.asarray(per_sample(node)(*xs))


def _arriving(node: Node, grids: Mapping[int, np.ndarray]) -> np.ndarray:
    """On which grid a node's exact result is."""
    if node.op == "input" or node.op in MOVING:
        return np.full(node.shape, -FINEST)  # On the format's own grid, by its choice.
    if not grids.keys() >= set(node.inputs):
        return np.full(node.shape, FINEST)
    xs = [grids[s] for s in node.inputs]
    if node.op in ("add", "sub", "maximum", "minimum", "abs"):
        return np.broadcast_to(np.minimum.reduce(np.broadcast_arrays(*xs)), node.shape)
    if node.op in ("sum", "max", "min"):
        return np.min(xs[0], axis=node.ints("axes"), initial=-FINEST)
    if node.op == "mul":
        return np.broadcast_to(xs[0] + xs[1], node.shape)
    if node.op == "einsum":
        return _finest_product(node, *xs)
    return np.full(node.shape, FINEST)


def _finest_product(node: Node, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """The finest grid of the products in each sum of an `einsum`."""
    left, right, result = parse_subscripts(node.text("subscripts"))
    letters = "".join(dict.fromkeys(result + left + right))

    def spread(v: np.ndarray, own: str) -> np.ndarray:
        moved = v.transpose([own.index(c) for c in letters if c in own])
        return moved[tuple(slice(None) if c in own else None for c in letters)]

    both = np.broadcast_arrays(spread(x, left), spread(y, right))
    return np.min(both[0] + both[1], axis=tuple(range(len(result), len(letters))))


__all__ = [
    "Formats",
    "exact_filters",
    "formats",
    "grid",
    "integer_bits",
    "quantised",
    "rounded_numbers",
]
