"""A bound on the error that a precision makes in a program: running error analysis, to first order.

For each node a number E bounds the error of all its samples. It is what the errors of its inputs
become (by the operation's largest derivative over the values that occur) plus what the operation
itself rounds. Round a loop the bounds feed back, so they are iterated until they settle; they do
if the loop is a contraction. Source: N. Higham, "Accuracy and Stability of Numerical Algorithms",
2nd ed., 2002, sections 2.2, 3.3 and 4.2.

Integers and truth values have to be exact: what decides (a comparison, a rounding, an index) must
be fed with exact numbers, else `UnboundedError`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
from filter_bounds import cascade, convolution, recursive

import ir
from ir.interpreter import run_for

LIBM = 4.0
"""Units in the last place by which a function of the C library may be wrong."""
SECOND_ORDER = 2.0
"""What first-order bounds are multiplied with, for the products of errors that they leave out."""
SWEEPS = 400


class UnboundedError(Exception):
    """An operation that decides got an inexact number."""


Errors = Sequence[float]
Values = Sequence[np.ndarray]
Rule = Callable[[ir.Node, Values, Errors, np.ndarray, float], float]


def bounds(
    program: ir.Program, inputs: Sequence[np.ndarray], length: int, unit: float
) -> list[float]:
    """For each output, how far a correct reading with unit roundoff `unit` may be off.

    Args:
        program: What runs.
        inputs: Its inputs, exact in the precision in question.
        length: Samples.
        unit: 2^-24 for single precision.
    """
    graph = program.graph
    everything = replace(graph, outputs=tuple(range(len(graph.nodes))))
    values = run_for(replace(program, graph=everything), length, *inputs)
    found = [0.0] * len(graph.nodes)
    filters: dict[int, tuple[float, float]] = {}  # what is added, and by what errors are multiplied
    for k, node in graph:
        if node.op in FILTERS and values[k].size:
            xs = [values[s] for s in node.inputs]
            noise, total = (FILTERS[node.op](xs, e, values[k], unit) for e in (0.0, 1.0))
            filters[k] = noise, total - noise
    for _ in range(SWEEPS):
        before = list(found)
        for k, node in graph:
            if k in filters:
                noise, gain = filters[k]
                found[k] = noise + gain * found[node.inputs[0]]
                continue
            arguments = [values[s] for s in node.inputs], [found[s] for s in node.inputs]
            found[k] = _error(node, *arguments, values[k], unit)
        if all(b <= a * (1 + 1e-6) for a, b in zip(before, found, strict=True)):
            break
    else:
        raise UnboundedError("The loop is no contraction.")
    tiny = np.finfo(np.float32).tiny if unit > 2**-50 else 0.0  # below it nothing is relative
    return [SECOND_ORDER * found[k] + tiny * len(graph.nodes) for k in graph.outputs]


def _error(node: ir.Node, xs: Values, errors: Errors, y: np.ndarray, unit: float) -> float:
    if not y.size:
        return 0.0
    if node.op in ("coefficient", "constant", "control"):
        rounded = y.astype(np.float32 if unit > 2**-50 else float)
        return float(np.max(np.abs(rounded - y))) if node.type.kind == "real" else 0.0
    exact = not any(errors)
    if node.type.kind != "real" or node.op in DECIDES:
        decided = errors if node.op in (*DECIDES, "convert", *COMPARES) else ()
        if any(decided):
            raise UnboundedError(f"{node.op} of inexact numbers")
        return 0.0
    if exact and node.op in EXACT:
        return 0.0
    return RULES[node.op](node, xs, errors, y, unit)


DECIDES = ("floor", "ceil", "round", "sign", "rem")
COMPARES = ("eq", "ne", "lt", "le", "gt", "ge")
EXACT = ("neg", "abs", "maximum", "minimum", "select", "convert", "delay", "variable_delay")
RULES: dict[str, Rule] = {}


def peak(x: np.ndarray) -> float:
    """The largest magnitude."""
    return float(np.max(np.abs(x), initial=0.0))


def _function(derivative: Callable[..., np.ndarray], roundings: float = LIBM) -> Rule:
    """A function of one number: its largest derivative over the values that occur."""

    def rule(node: ir.Node, xs: Values, errors: Errors, y: np.ndarray, unit: float) -> float:
        slope = peak(derivative(xs[0])) if errors[0] else 0.0
        return slope * errors[0] + roundings * unit * peak(y)

    return rule


def _largest(node: ir.Node, xs: Values, errors: Errors, y: np.ndarray, unit: float) -> float:
    return max(errors, default=0.0)


for _op in (
    "input", "neg", "abs", "maximum", "minimum", "select", "convert", "delay", "reshape",
    "transpose", "broadcast", "slice", "concatenate", "take", "max", "min", "variable_delay",
    "lookup",
):  # fmt: skip
    RULES[_op] = _largest
RULES |= {
    "sin": _function(np.cos),
    "cos": _function(np.sin),
    "tan": _function(lambda x: 1 / np.cos(x) ** 2),
    "tanh": _function(lambda x: 1 / np.cosh(x) ** 2),
    "sinh": _function(np.cosh),
    "cosh": _function(np.sinh),
    "atan": _function(lambda x: 1 / (1 + x**2)),
    "asinh": _function(lambda x: 1 / np.sqrt(1 + x**2)),
    "acosh": _function(lambda x: 1 / np.sqrt(x**2 - 1)),
    "atanh": _function(lambda x: 1 / (1 - x**2)),
    "asin": _function(lambda x: 1 / np.sqrt(1 - x**2)),
    "acos": _function(lambda x: 1 / np.sqrt(1 - x**2)),
    "logistic": _function(lambda x: np.full_like(x, 0.25), LIBM + 3),
    "erf": _function(lambda x: 2 / np.sqrt(np.pi) * np.exp(-(x**2))),
    "erfc": _function(lambda x: 2 / np.sqrt(np.pi) * np.exp(-(x**2))),
    "exp": _function(np.exp),
    "exp2": _function(lambda x: np.log(2) * np.exp2(x)),
    "expm1": _function(np.exp),
    "log": _function(lambda x: 1 / x),
    "log1p": _function(lambda x: 1 / (1 + x)),
    "sqrt": _function(lambda x: 0.5 / np.sqrt(x), 1),
    "rsqrt": _function(lambda x: 0.5 * np.abs(x) ** -1.5, 3),
    "cbrt": _function(lambda x: 1 / (3 * np.cbrt(x) ** 2)),
}


def _rule(op: str) -> Callable[[Rule], Rule]:
    def register(function: Rule) -> Rule:
        RULES[op] = function
        return function

    return register


def _rounded(errors: Errors, y: np.ndarray, unit: float) -> float:
    """What one correctly rounded operation adds: nothing, if the exact result is representable."""
    single = unit > 2**-50 and not any(errors) and np.array_equal(y.astype(np.float32), y)
    return 0.0 if single else unit * peak(y)


def _add(node: ir.Node, xs: Values, errors: Errors, y: np.ndarray, unit: float) -> float:
    return sum(errors) + _rounded(errors, y, unit)


RULES["add"] = RULES["sub"] = _add


@_rule("mul")
def _mul(node: ir.Node, xs: Values, errors: Errors, y: np.ndarray, unit: float) -> float:
    return peak(xs[0]) * errors[1] + peak(xs[1]) * errors[0] + _rounded(errors, y, unit)


@_rule("div")
def _div(node: ir.Node, xs: Values, errors: Errors, y: np.ndarray, unit: float) -> float:
    least = float(np.min(np.abs(xs[1])))
    return (errors[0] + peak(y) * errors[1]) / least + 2 * unit * peak(y)


@_rule("pow")
def _pow(node: ir.Node, xs: Values, errors: Errors, y: np.ndarray, unit: float) -> float:
    base, exponent = float(np.min(np.abs(xs[0]))), peak(xs[1])
    logarithm = peak(np.log(np.abs(xs[0])))
    return peak(y) * (exponent * errors[0] / base + logarithm * errors[1] + LIBM * unit)


@_rule("atan2")
def _atan2(node: ir.Node, xs: Values, errors: Errors, y: np.ndarray, unit: float) -> float:
    radius = float(np.min(np.hypot(*_together(*xs))))
    return sum(errors) / radius + LIBM * unit * peak(y) if any(errors) else LIBM * unit * peak(y)


def _together(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    rank = max(x.ndim, y.ndim)
    x, y = (v.reshape(v.shape + (1,) * (rank - v.ndim)) for v in (x, y))
    return x, y


@_rule("integer_pow")
def _integer_pow(node: ir.Node, xs: Values, errors: Errors, y: np.ndarray, unit: float) -> float:
    n = node.int("exponent")
    slope = peak(n * xs[0] ** float(n - 1)) if errors[0] and n else 0.0
    return slope * errors[0] + (abs(n) + LIBM) * unit * peak(y)


@_rule("sum")
def _sum(node: ir.Node, xs: Values, errors: Errors, y: np.ndarray, unit: float) -> float:
    axes = tuple(a + 1 for a in node.ints("axes"))
    count = int(np.prod([xs[0].shape[a] for a in axes]))
    return count * errors[0] + count * unit * peak(np.sum(np.abs(xs[0]), axis=axes))


@_rule("prod")
def _prod(node: ir.Node, xs: Values, errors: Errors, y: np.ndarray, unit: float) -> float:
    count = int(np.prod([xs[0].shape[a + 1] for a in node.ints("axes")]))
    largest = max(1.0, peak(xs[0])) ** max(0, count - 1)
    return count * (errors[0] * largest + unit * max(peak(y), largest))


@_rule("einsum")
def _einsum(node: ir.Node, xs: Values, errors: Errors, y: np.ndarray, unit: float) -> float:
    letters, result = node.text("subscripts").split("->")
    left, right = letters.split(",")
    sizes = dict(zip(left + right, xs[0].shape[1:] + xs[1].shape[1:], strict=True))
    count = int(np.prod([n for letter, n in sizes.items() if letter not in result]))
    subscripts = f"...{left},...{right}->...{result}"
    products = peak(np.einsum(subscripts, np.abs(xs[0]), np.abs(xs[1])))
    # What an error of one in every number of an operand comes to: the rows' absolute sums.
    ones = [np.ones_like(x) for x in xs]
    gains = (
        peak(np.einsum(subscripts, ones[0], np.abs(xs[1]))),
        peak(np.einsum(subscripts, np.abs(xs[0]), ones[1])),
    )
    apart = gains[0] * errors[0] + gains[1] * errors[1]
    return apart + (count + 1) * unit * products


def _filter(analyse: Callable[..., float]) -> Callable[..., float]:
    """The filters go channel by channel; their coefficients do not change."""

    def rule(xs: Values, error: float, y: np.ndarray, unit: float) -> float:
        worst = 0.0
        for index in np.ndindex(y.shape[1:]):
            at = (slice(None), *index)
            fixed = [c[0][(slice(None),) * (c.ndim - y.ndim) + index] for c in xs[1:]]
            worst = max(worst, analyse(xs[0][at], y[at], *fixed, error=error, unit=unit))
        return worst

    return rule


FILTERS = {"fir": _filter(convolution), "iir": _filter(recursive), "sos": _filter(cascade)}
"""For each filter: (inputs, error of the signal, output, unit) -> error of the output."""
