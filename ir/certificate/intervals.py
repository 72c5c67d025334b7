"""Ranges of numbers: what each elementwise function makes of an interval, rounded outwards."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ir.graph import Node, Type
from ir.interpreter import per_sample

Interval = tuple[np.ndarray, np.ndarray]
"""Least and greatest values, of one shape."""

INT = (-(2.0**31), 2.0**31 - 1)
OUTWARD = 8 * 2.0**-52
"""Relative error of a library function, generously: four units in the last place."""

INCREASING = frozenset(
    ("sqrt", "cbrt", "exp", "exp2", "expm1", "log", "log1p", "asin", "atan", "sinh", "tanh",
     "asinh", "acosh", "atanh", "logistic", "erf", "sign", "floor", "ceil", "round")
)  # fmt: skip
DECREASING = frozenset(["rsqrt", "acos", "erfc", "neg"])
DOMAINS = {
    "sqrt": (0, np.inf), "rsqrt": (0, np.inf), "log": (0, np.inf), "log1p": (-1, np.inf),
    "asin": (-1, 1), "acos": (-1, 1), "acosh": (1, np.inf), "atanh": (-1, 1),
}  # fmt: skip


def whole(type_: Type, real: tuple[float, float] = (-np.inf, np.inf)) -> Interval:
    """All values that a signal of a type may have, those of real ones within `real`."""
    low, high = {"real": real, "int": INT, "bool": (0.0, 1.0)}[type_.kind]
    return np.full(type_.shape, low), np.full(type_.shape, high)


def outward(low: np.ndarray, high: np.ndarray) -> Interval:
    """A slightly wider interval; what is no number becomes unbounded."""
    low, high = np.asarray(low, float), np.asarray(high, float)
    low = np.where(np.isnan(low), -np.inf, low)
    high = np.where(np.isnan(high), np.inf, high)
    return low - OUTWARD * np.abs(np.where(np.isfinite(low), low, 0)), high + OUTWARD * np.abs(
        np.where(np.isfinite(high), high, 0)
    )


def meet(x: Interval, y: Interval) -> Interval:
    """What two intervals share, both of which hold the same numbers."""
    low, high = np.fmax(x[0], y[0]), np.fmin(x[1], y[1])
    # Rounding may leave nothing of a single point.
    return np.minimum(low, high), np.maximum(low, high)


def _zero_times(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """X y, where zero times infinity is zero: the bound is not reached."""
    with np.errstate(invalid="ignore", over="ignore"):
        return np.where((x == 0) | (y == 0), 0.0, x * y)


def product(x: Interval, y: Interval) -> Interval:
    """The range of x y."""
    all_ = np.stack(np.broadcast_arrays(*(_zero_times(p, q) for p in x for q in y)))
    return outward(all_.min(0), all_.max(0))


def reciprocal(y: Interval) -> Interval:
    """The range of 1 / y; unbounded where y can be zero."""
    low, high = y
    crosses = (low <= 0) & (high >= 0)
    with np.errstate(divide="ignore"):
        one, two = 1 / np.where(crosses, 1, low), 1 / np.where(crosses, 1, high)
    found = (
        np.where(crosses, -np.inf, np.minimum(one, two)),
        np.where(crosses, np.inf, np.maximum(one, two)),
    )
    return outward(*found)


WHOLE = frozenset(("floor", "ceil", "round"))
"""Functions that rounding does not touch."""


def unary(node: Node, x: Interval) -> Interval:
    """The range of a function of one number."""
    op = node.op
    if op in ("neg",):
        return -x[1], -x[0]
    if op in INCREASING | DECREASING:
        low, high = DOMAINS.get(op, (-np.inf, np.inf))
        if (x[0] < low).any() or (x[1] > high).any():
            return _everything(x)
        return _monotone(node, x, op in DECREASING)
    if op == "abs" or op == "cosh" or (op == "integer_pow" and node.int("exponent") % 2 == 0):
        inner = (x[0] <= 0) & (x[1] >= 0)
        size = np.maximum(np.abs(x[0]), np.abs(x[1]))
        least = np.where(inner, 0.0, np.minimum(np.abs(x[0]), np.abs(x[1])))
        falling = op == "integer_pow" and node.int("exponent") < 0
        return _monotone(node, (least, size), falling)
    if op == "integer_pow":
        exponent = node.int("exponent")
        if exponent > 0:
            return _monotone(node, x, False)
        crosses = (x[0] <= 0) & (x[1] >= 0)
        low, high = _monotone(node, x, True)
        return np.where(crosses, -np.inf, low), np.where(crosses, np.inf, high)
    if op in ("sin", "cos"):
        return _wave(x, 0.0 if op == "cos" else np.pi / 2)
    return _everything(x)


def _monotone(node: Node, x: Interval, falling: bool) -> Interval:
    # Integers are looked at as numbers; that they wrap is seen to elsewhere.
    function = per_sample(Node(node.op, node.inputs, Type(node.shape), node.attributes))
    with np.errstate(all="ignore"):
        low, high = (np.asarray(function(end), float) for end in x)
    if node.op in WHOLE:
        return low, high
    return outward(high, low) if falling else outward(low, high)


def _wave(x: Interval, shift: float) -> Interval:
    """The range of cos(x - shift)."""
    low, high = x[0] - shift, x[1] - shift
    with np.errstate(invalid="ignore"):
        slack = 1e-12 * (1 + np.abs(low) + np.abs(high))
        turns = np.ceil((low - slack) / (2 * np.pi)) * 2 * np.pi <= high + slack
        dips = np.ceil((low - slack - np.pi) / (2 * np.pi)) * 2 * np.pi + np.pi <= high + slack
        ends = np.cos(low), np.cos(high)
    wild = ~np.isfinite(low) | ~np.isfinite(high)
    most = np.where(turns | wild, 1.0, np.minimum(np.fmax(*ends) + slack, 1))
    least = np.where(dips | wild, -1.0, np.maximum(np.fmin(*ends) - slack, -1))
    return np.where(wild, -1.0, least), np.where(wild, 1.0, most)


def _everything(x: Interval) -> Interval:
    return np.full(np.shape(x[0]), -np.inf), np.full(np.shape(x[0]), np.inf)


def binary(node: Node, x: Interval, y: Interval) -> Interval:
    """The range of a function of two numbers."""
    op = node.op
    if op == "add":
        return outward(x[0] + y[0], x[1] + y[1])
    if op == "sub":
        return outward(x[0] - y[1], x[1] - y[0])
    if op == "mul":
        return product(x, y)
    if op == "div":
        low, high = product(x, reciprocal(y))
        return (np.trunc(low), np.trunc(high)) if node.type.kind == "int" else (low, high)
    if op == "maximum":
        return np.maximum(x[0], y[0]), np.maximum(x[1], y[1])
    if op == "minimum":
        return np.minimum(x[0], y[0]), np.minimum(x[1], y[1])
    if op == "atan2":
        shape = np.broadcast_shapes(np.shape(x[0]), np.shape(y[0]))
        return np.full(shape, -3.1415926535897936), np.full(shape, 3.1415926535897936)
    if op == "rem":
        most = np.maximum(np.abs(y[0]), np.abs(y[1]))
        # What is left of integers is less than the divisor, so one less at least.
        most = np.maximum(most - 1, 0) if node.type.kind == "int" else most
        size = np.minimum(np.maximum(np.abs(x[0]), np.abs(x[1])), most)
        return np.where(x[0] >= 0, 0.0, -size), np.where(x[1] <= 0, 0.0, size)
    if op == "pow":
        return _power(x, y)
    both = np.broadcast_arrays(x[0], y[0])[0]
    return _everything((both, both))


def _power(x: Interval, y: Interval) -> Interval:
    """x^y for x ≥ 0: monotone in each, so its range is that at the corners."""
    shape = np.broadcast_shapes(np.shape(x[0]), np.shape(y[0]))
    if (x[0] < 0).any():
        whole = np.full(shape, np.inf)
        return -whole, whole
    with np.errstate(all="ignore"):
        corners = np.stack(np.broadcast_arrays(*(np.power(p, q) for p in x for q in y)))
    return outward(np.min(corners, 0), np.max(corners, 0))


Slope = Callable[[np.ndarray], np.ndarray]
_BELL: dict[str, Slope] = {
    "tanh": lambda v: 1 / np.cosh(v) ** 2,
    "logistic": lambda v: 0.25 / np.cosh(v / 2) ** 2,
    "atan": lambda v: 1 / (1 + v * v),
    "asinh": lambda v: 1 / np.sqrt(1 + v * v),
    "erf": lambda v: 2 / np.sqrt(np.pi) * np.exp(-v * v),
    "erfc": lambda v: -2 / np.sqrt(np.pi) * np.exp(-v * v),
    "cbrt": lambda v: 1 / (3 * np.cbrt(v) ** 2),
    "asin": lambda v: 1 / np.sqrt(np.maximum((1 - v) * (1 + v), 0)),
    "acos": lambda v: -1 / np.sqrt(np.maximum((1 - v) * (1 + v), 0)),
    "atanh": lambda v: 1 / np.maximum((1 - v) * (1 + v), 0),
}
"""Derivatives that rise, or fall, from zero to both sides alike."""
_MONOTONE: dict[str, Slope] = {
    "exp": np.exp,
    "expm1": np.exp,
    "exp2": lambda v: np.log(2) * np.exp2(v),
    "sqrt": lambda v: 0.5 / np.sqrt(v),
    "rsqrt": lambda v: -0.5 * v**-1.5,
    "log": lambda v: 1 / v,
    "log1p": lambda v: 1 / (1 + v),
    "cosh": np.sinh,
}


def slopes(node: Node, x: Interval) -> Interval:
    """The range of the derivative over an interval; unbounded where it is not known."""
    op, (low, high) = node.op, x
    with np.errstate(all="ignore"):
        if op in _BELL:
            near = np.where((low <= 0) & (high >= 0), 0.0, np.minimum(np.abs(low), np.abs(high)))
            far = np.maximum(np.abs(low), np.abs(high))
            ends = _BELL[op](near), _BELL[op](far)
            ends = tuple(np.where(np.isnan(e), 0.0, e) for e in ends)
            return outward(np.minimum(*ends), np.maximum(*ends))
        if op in _MONOTONE:
            domain = DOMAINS.get(op, (-np.inf, np.inf))
            if (low < domain[0]).any():
                return _everything(x)
            ends = _MONOTONE[op](low), _MONOTONE[op](high)
            return outward(np.minimum(*ends), np.maximum(*ends))
        if op == "abs":
            return np.where(low >= 0, 1.0, -1.0), np.where(high <= 0, -1.0, 1.0)
        if op in ("sin", "cos"):
            return _wave(x, 0.0 if op == "sin" else -np.pi / 2)
        if op == "sinh":
            size = np.maximum(np.abs(low), np.abs(high))
            near = np.where((low <= 0) & (high >= 0), 0.0, np.minimum(np.abs(low), np.abs(high)))
            return outward(np.cosh(near), np.cosh(size))
        if op == "integer_pow" and node.int("exponent") >= 1:
            n = node.int("exponent")
            if n == 1:
                return np.ones_like(low), np.ones_like(low)
            ends = [n * low ** (n - 1), n * high ** (n - 1)]
            if (n - 1) % 2 == 0:
                ends.append(np.where((low <= 0) & (high >= 0), 0.0, ends[0]))
            return outward(np.min(ends, 0), np.max(ends, 0))
        if op == "integer_pow":
            n = node.int("exponent")
            ends = n * low ** float(n - 1), n * high ** float(n - 1)
            around = (low <= 0) & (high >= 0)
            least, most = outward(np.minimum(*ends), np.maximum(*ends))
            return np.where(around, -np.inf, least), np.where(around, np.inf, most)
    return _everything(x)
