"""Operations that look at earlier samples; before the first sample everything is zero."""

from __future__ import annotations

from ir.errors import IRError
from ir.graph import Attributes, Type
from ir.ops.table import MAX_DELAY, define, ints


def _real(op: str, inputs: tuple[Type, ...]) -> None:
    for type_ in inputs:
        if type_.kind != "real":
            raise IRError(f"`{op}` takes real numbers, not {type_}.")


def _delay(inputs: tuple[Type, ...], attributes: Attributes) -> Type:
    samples = ints(attributes, "samples")
    if len(samples) != inputs[0].size:
        raise IRError(f"`delay`: {len(samples)} lengths do not fit {inputs[0]}, one a channel.")
    if any(not 0 <= m <= MAX_DELAY for m in samples):
        raise IRError(f"`delay`: every length must lie in 0 to {MAX_DELAY} samples.")
    if len(inputs) == 2:
        expected = Type((max(samples, default=0), *inputs[0].shape), inputs[0].kind)
        if inputs[1] != expected:
            raise IRError(f"`delay`: the initial values must be {expected}, not {inputs[1]}.")
    return inputs[0]


def _variable_delay(inputs: tuple[Type, ...], attributes: Attributes) -> Type:
    low, high = attributes["minimum"], attributes["maximum"]
    if not 0 <= low <= high <= MAX_DELAY:  # type: ignore[operator]
        raise IRError(f"`variable_delay`: {low} to {high} is not a range within 0 to {MAX_DELAY}.")
    if inputs[1] != Type(inputs[0].shape, "int"):
        raise IRError(
            f"`variable_delay`: the lengths must be {Type(inputs[0].shape, 'int')}, "
            f"not {inputs[1]}."
        )
    return inputs[0]


def _fir(inputs: tuple[Type, ...], attributes: Attributes) -> Type:
    _real("fir", inputs)
    x, taps = inputs
    if taps.shape[1:] != x.shape or not taps.shape or taps.shape[0] == 0:
        raise IRError(f"`fir`: the taps must be real[taps,{_axes(x)}], not {taps}.")
    return x


def _iir(inputs: tuple[Type, ...], attributes: Attributes) -> Type:
    _real("iir", inputs)
    x, b, a = inputs[:3]
    if b != a or b.shape[1:] != x.shape or not b.shape or b.shape[0] == 0:
        raise IRError(f"`iir`: b and a must be real[order + 1,{_axes(x)}], not {b} and {a}.")
    if len(inputs) == 4 and inputs[3].shape != (b.shape[0] - 1, *x.shape):
        raise IRError(
            f"`iir`: the state must be real[{b.shape[0] - 1},{_axes(x)}], not {inputs[3]}."
        )
    return x


def _sos(inputs: tuple[Type, ...], attributes: Attributes) -> Type:
    _real("sos", inputs)
    x, sos = inputs[:2]
    if len(sos.shape) < 2 or sos.shape[1] != 6 or sos.shape[2:] != x.shape:
        raise IRError(f"`sos`: the sections must be real[sections,6,{_axes(x)}], not {sos}.")
    if len(inputs) == 3 and inputs[2].shape != (sos.shape[0], 2, *x.shape):
        raise IRError(f"`sos`: the state must be real[sections,2,{_axes(x)}], not {inputs[2]}.")
    return x


def _axes(x: Type) -> str:
    return ",".join(map(str, x.shape))


define("delay", (1, 2), _delay,
       "y_i[t] = x_i[t - samples_i], or initial_i[t] (second input) while t < samples_i",
       "time", samples="ints")  # fmt: skip
define("variable_delay", 2, _variable_delay,
       "y[t] = x[t - clip(d[t], minimum, maximum)], for inputs (x, d)",
       "time", minimum="int", maximum="int")  # fmt: skip
define("fir", 2, _fir, "y[t] = sum_k taps[k] x[t - k]", "time")
define("iir", (3, 4), _iir,
       "a0 y[t] = sum_k b_k x[t - k] - sum_{k ≥ 1} a_k y[t - k]; the state (fourth input) is that "
       "of the transposed direct form II, as scipy.signal.lfilter has it", "time")  # fmt: skip
define("sos", (2, 3), _sos,
       "a cascade of sections (b0, b1, b2, a0, a1, a2), each as `iir`; the state (third input) as "
       "scipy.signal.sosfilt has it", "time")  # fmt: skip
