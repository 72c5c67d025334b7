"""Rules of elementwise primitives: one IR operation on aligned operands."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from adac_jax._compat import JaxprEqn
from adac_jax.lowering.arrays import WHOLE, without
from adac_jax.lowering.values import Known, Signal, Value
from adac_jax.lowering.walker import WITH_SIGNALS, Walker, kind_of, rule
from ir.ops.elementwise import (
    COMPARISONS,
    LOGIC,
    REAL_BINARY,
    REAL_FUNCTIONS,
    SAME_KIND,
    SHIFTS,
)

_EQUAL_NAMES = (*REAL_FUNCTIONS, *SAME_KIND, *REAL_BINARY, *COMPARISONS, *LOGIC, *SHIFTS)
_EQUAL_NAMES += ("add", "sub", "mul", "div", "rem", "not")
_OTHER_NAMES = {"max": "maximum", "min": "minimum", "add_any": "add"}
_OTHER_NAMES |= {"eq_to": "eq", "le_to": "le", "lt_to": "lt"}
SAME = {name: name for name in _EQUAL_NAMES if name != "round"} | _OTHER_NAMES
"""Primitives that are one IR operation."""


def _operands(w: Walker, eqn: JaxprEqn, values: Sequence[Value]) -> tuple[list[int], Signal]:
    shape = eqn.outvars[0].aval.shape
    for value, atom in zip(values, eqn.invars, strict=True):
        if isinstance(value, Signal) and atom.aval.shape[value.axis] != shape[value.axis]:
            raise w.refusal("it repeats one sample over time.", WHOLE)
    nodes, like = w.align(values)
    return w.spread(nodes, without(shape, like.axis)), like


def _elementwise(w: Walker, eqn: JaxprEqn, *values: Value) -> Value:
    if len(values) == 2:
        for value, other in zip(values, values[::-1], strict=True):
            number = w.full_of(value)
            if number is not None and math.isinf(number) and isinstance(other, Signal):
                found = _beside_infinity(w, eqn, values, other, number)
                if found is not None:
                    return found
    nodes, like = _operands(w, eqn, values)
    name = eqn.primitive.name
    if name == "pow" and w.builder.type(nodes[1]).kind == "int":
        nodes[1] = w.add("convert", nodes[1], kind="real")
    return w.mapped(w.add(SAME[name], *nodes), like)


rule(*SAME)(_elementwise)
WITH_SIGNALS.update(SAME, ("select_n", "clamp"))


def _beside_infinity(
    w: Walker, eqn: JaxprEqn, values: Sequence[Value], x: Signal, number: float
) -> Value | None:
    """A signal is finite: how it compares with an infinite number is known, and so are extremes."""
    name, shape = SAME[eqn.primitive.name], eqn.outvars[0].aval.shape
    if (name, number) in (("maximum", -math.inf), ("minimum", math.inf)):
        return w.mapped(w.full(x.node, without(shape, x.axis)), x)
    if name not in COMPARISONS:
        return None
    left, right = (0.0 if value is x else number for value in values)
    decided = {
        "eq": left == right, "ne": left != right, "lt": left < right, "le": left <= right,
        "gt": left > right, "ge": left >= right,
    }[name]  # fmt: skip
    spread = Known(np.asarray(decided)), tuple(shape), ()
    return Known(np.full(shape, decided), None, spread)


@rule("square")
def _square(w: Walker, eqn: JaxprEqn, x: Signal) -> Signal:
    return w.mapped(w.add("mul", x.node, x.node), x)


@rule("integer_pow")
def _integer_pow(w: Walker, eqn: JaxprEqn, x: Signal) -> Signal:
    return w.mapped(w.add("integer_pow", x.node, exponent=int(eqn.params["y"])), x)


@rule("round")
def _round(w: Walker, eqn: JaxprEqn, x: Signal) -> Signal:
    if eqn.params["rounding_method"].name == "TO_NEAREST_EVEN":
        return w.mapped(w.add("round", x.node), x)
    # Halves away from zero; what is left after a floor is exact.
    size = w.add("abs", x.node)
    floor = w.add("floor", size)
    half, one, zero = (w.builder.constant(number) for number in (0.5, 1.0, 0.0))
    up = w.add("ge", w.add("sub", size, floor), half)
    size = w.add("add", floor, w.add("select", up, one, zero))
    return w.mapped(w.add("mul", w.add("sign", x.node), size), x)


@rule("select_n")
def _select(w: Walker, eqn: JaxprEqn, which: Value, *cases: Value) -> Signal:
    cases = tuple(_finite(w, case) for case in cases)
    if w.kind(which) != "bool":  # type: ignore[arg-type]
        nodes, like = _operands(w, eqn, [which, *cases])
        found = nodes[1]
        for k, case in enumerate(nodes[2:], 1):
            found = w.add("select", w.add("eq", nodes[0], w.builder.constant(k)), case, found)
        return w.mapped(w.full(found, without(eqn.outvars[0].aval.shape, like.axis)), like)
    for guard, case in zip(cases, cases[::-1], strict=True):
        if isinstance(case, Signal) and w.is_nan(guard):
            # jax.numpy's way to hand on a NaN, of which nothing here is ever one.
            return case
    chosen = w.concrete(which)
    if chosen is not None and chosen.size and (chosen == chosen.flat[0]).all():
        # Decided while tracing: the other branch, which may be a guard's NaN, is not there.
        case = cases[int(chosen.flat[0])]
        return case if isinstance(case, Signal) else _copied(w, eqn, case, cases)
    (c, if_false, if_true), like = _operands(w, eqn, [which, *cases])
    return w.mapped(w.add("select", c, if_true, if_false), like)


def _finite(w: Walker, value: Value) -> Value:
    """The largest number of single precision for an infinite one, as of a masked maximum.

    Whatever is heard is smaller, and functions that have a limit have reached it.
    """
    number = w.full_of(value)
    if number is None or not math.isinf(number):
        return value
    return Known(np.asarray(math.copysign(np.finfo(np.float32).max, number)))


def _copied(w: Walker, eqn: JaxprEqn, case: Value, values: Sequence[Value]) -> Signal:
    """A known value in place of a signal."""
    like = next(v for v in values if isinstance(v, Signal))
    node = w.operand(case, like.axis)  # type: ignore[arg-type]
    return w.mapped(w.full(node, without(eqn.outvars[0].aval.shape, like.axis)), like)


@rule("clamp")
def _clamp(w: Walker, eqn: JaxprEqn, low: Value, x: Value, high: Value) -> Signal:
    (a, k, b), like = _operands(w, eqn, [_finite(w, low), x, _finite(w, high)])
    return w.mapped(w.add("minimum", w.add("maximum", k, a), b), like)


@rule("convert_element_type")
def _convert(w: Walker, eqn: JaxprEqn, x: Signal) -> Signal:
    kind = kind_of(eqn.params["new_dtype"])
    if kind == w.kind(x):
        return x
    return w.mapped(w.add("convert", x.node, kind=kind), x)


@rule("copy", "copy_p", "stop_gradient", "optimization_barrier")
def _identity(w: Walker, eqn: JaxprEqn, *values: Any) -> Any:
    return values if eqn.primitive.multiple_results else values[0]
