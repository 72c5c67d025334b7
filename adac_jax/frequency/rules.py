"""What each operation makes of signals that are linear in the columns; one rule an operation.

An operation that is not linear and time-invariant is in the table too: its rule refuses it.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from adac_jax.frequency import filters
from adac_jax.frequency.linear import Linear, add, concatenate, contract, total
from adac_jax.frequency.registry import RULES, At, Known, Operand, rule
from ir.interpreter import PER_SAMPLE
from ir.ops.elementwise import COMPARISONS, LOGIC, REAL_BINARY, REAL_FUNCTIONS, SHIFTS

__all__ = ["RULES"]

# -- Linear, sample by sample ---------------------------------------------------------------------


@rule("add")
def _add(at: At, x: Operand, y: Operand) -> Linear:
    return add(at.spread(x), at.spread(y))


@rule("sub")
def _sub(at: At, x: Operand, y: Operand) -> Linear:
    return add(at.spread(x), _negative(at.spread(y)))


@rule("neg")
def _neg(at: At, x: Linear) -> Linear:
    return _negative(x)


@rule("mul")
def _mul(at: At, x: Operand, y: Operand) -> Linear:
    signal, known = _one_known(at, x, y)
    return at.spread(signal).scaled(at.gains(known.value))


@rule("div")
def _div(at: At, x: Operand, y: Operand) -> Linear:
    if not isinstance(y, Known):
        raise at.refusal("it divides by a signal.", _INSTEAD)
    return at.spread(x).scaled(at.gains(1 / y.value))


@rule("select")
def _select(at: At, condition: Operand, x: Operand, y: Operand) -> Linear:
    if not isinstance(condition, Known):
        raise at.refusal("it chooses by a signal.", _INSTEAD)
    first = at.gains(condition.value)
    return add(at.spread(x).scaled(first), at.spread(y).scaled(1 - first))


@rule("convert")
def _convert(at: At, x: Linear) -> Linear:
    if at.node.type.kind != "real":
        raise at.refusal(f"it rounds a signal to the kind {at.node.type.kind!r}.", _INSTEAD)
    return x


@rule("integer_pow")
def _integer_pow(at: At, x: Linear) -> Linear:
    if at.node.int("exponent") != 1:
        raise at.refusal("a power of a signal is not linear.", _INSTEAD)
    return x


@rule("sum")
def _sum(at: At, x: Linear) -> Linear:
    return total(x, at.node.ints("axes"))


@rule("einsum")
def _einsum(at: At, x: Operand, y: Operand) -> Linear:
    operands, result = at.node.text("subscripts").split("->")
    left, right = operands.split(",")
    signal, known = _one_known(at, x, y)
    if isinstance(x, Known):
        return contract(left, right, result, known.value, signal)
    return contract(right, left, result, known.value, signal)


# -- Moving channels ------------------------------------------------------------------------------


@rule("reshape")
def _reshape(at: At, x: Linear) -> Linear:
    shape, rank = at.node.shape, len(x.shape)
    return _rearranged(at, x, lambda h: h.reshape(*shape, *h.shape[rank:]))


@rule("transpose")
def _transpose(at: At, x: Linear) -> Linear:
    axes = at.node.ints("permutation")
    return _rearranged(at, x, lambda h: h.transpose(*axes, *range(len(axes), h.ndim)))


@rule("broadcast")
def _broadcast(at: At, x: Linear) -> Linear:
    axes, shape = at.node.ints("axes"), at.node.shape

    def spread(h: Array) -> Array:
        rest = h.shape[len(axes) :]
        behind = range(len(shape), len(shape) + len(rest))
        return lax.broadcast_in_dim(h, (*shape, *rest), (*axes, *behind))

    return _rearranged(at, x, spread)


@rule("slice")
def _slice(at: At, x: Linear) -> Linear:
    bounds = (at.node.ints("start"), at.node.ints("limit"), at.node.ints("stride"))
    index = tuple(slice(*b) for b in zip(*bounds, strict=True))
    return _rearranged(at, x, lambda h: h[index])


@rule("take")
def _take(at: At, x: Linear) -> Linear:
    indices = np.array(at.node.ints("indices"), np.int32)
    size, rank = math.prod(x.shape), len(x.shape)

    def taken(h: Array) -> Array:
        rest = h.shape[rank:]
        return h.reshape(size, *rest)[indices].reshape(*at.node.shape, *rest)

    return _rearranged(at, x, taken)


@rule("concatenate")
def _concatenate(at: At, *xs: Operand) -> Linear:
    return concatenate([at.signal(x) for x in xs], at.node.int("axis"))


# -- Time -----------------------------------------------------------------------------------------


@rule("delay")
def _delay(at: At, x: Operand, *initial: Operand) -> Linear:
    at.at_rest(*initial)
    samples = np.array(at.node.ints("samples"), np.int64).reshape(at.node.shape)
    return at.filtered(x, lambda: at.points.delay(samples))


@rule("variable_delay")
def _variable_delay(at: At, x: Operand, lengths: Operand) -> Linear:
    if not isinstance(lengths, Known):
        raise at.refusal("its length is a signal, so it changes over time.", _INSTEAD)
    low, high = at.node.int("minimum"), at.node.int("maximum")
    return at.filtered(x, lambda: at.points.delay(jnp.clip(lengths.value, low, high)))


@rule("fir")
def _fir(at: At, x: Operand, taps: Known) -> Linear:
    return at.filtered(x, lambda: filters.fir(taps.value, at.points))


@rule("iir")
def _iir(at: At, x: Operand, b: Known, a: Known, *state: Operand) -> Linear:
    at.at_rest(*state)
    return at.filtered(x, lambda: filters.iir(b.value, a.value, at.points))


@rule("sos")
def _sos(at: At, x: Operand, sos: Known, *state: Operand) -> Linear:
    at.at_rest(*state)
    return at.filtered(x, lambda: filters.sections(sos.value, at.points))


# -- Refused --------------------------------------------------------------------------------------


@rule(*REAL_FUNCTIONS, *REAL_BINARY, "abs", "sign", "rem", "maximum", "minimum")
def _not_linear(at: At, *xs: Operand) -> Linear:
    raise at.refusal(f"{at.node.op} of a signal is not linear.", _INSTEAD)


@rule("prod", "max", "min")
def _reduction(at: At, x: Operand) -> Linear:
    raise at.refusal(f"the {at.node.op} over channels is not linear.", _INSTEAD)


@rule(*COMPARISONS, *LOGIC, *SHIFTS, "not", "lookup")
def _decision(at: At, *xs: Operand) -> Linear:
    raise at.refusal(f"it decides by a signal ({at.node.op}), which is not linear.", _INSTEAD)


_INSTEAD = "Look at this model in the time domain."


def _one_known(at: At, x: Operand, y: Operand) -> tuple[Linear, Known]:
    if isinstance(x, Known) and not isinstance(y, Known):
        return y, x
    if isinstance(y, Known) and not isinstance(x, Known):
        return x, y
    raise at.refusal("it multiplies two signals.", _INSTEAD)


def _negative(x: Linear) -> Linear:
    return x.scaled(-jnp.ones((1,), x.factors.dtype))


def _rearranged(at: At, x: Linear, array: Callable[[Array], Array]) -> Linear:
    """Channels moved about; what hears which column is moved by the interpreter's NumPy rule."""
    return x.moved(array, PER_SAMPLE[at.node.op](at.node))
