"""Controls: numbers in a model that its user turns while it runs."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike

from adac_jax._compat import Primitive, ShapedArray, batching, is_tracer
from adac_jax.errors import AdacError
from adac_jax.primitives.composite import define
from ir.ops.controls import check_control

Curve = Literal["linear", "log"]
RAMP = 0.05
"""Seconds in which a value goes from one end of its range to the other."""


def control(
    name: str,
    default: float,
    minimum: float,
    maximum: float,
    unit: str = "",
    curve: Curve = "linear",
    ramp: float = RAMP,
) -> Array:
    """A knob of the model: the number `default` in JAX, and a slider in FAUST.

    Whatever is computed from it is computed there too, so it may stand wherever a number may: in
    gains, matrices, filters' coefficients, delays in samples (`variable_delay`,
    `fractional_delay`), in loops and in scans. Where the knob is turned, its value follows by at
    most (maximum - minimum) / (ramp fs) a sample, with k[t] the knob's position, clipped to its
    range:

        y[t] = y[t-1] + clip(k[t] - y[t-1], -step, step),  y[-1] = default.

    At rest it is the default to the bit, from the first sample on.

    Args:
        name: What the knob is called: letters, digits, spaces, `_` and `-`, a letter first. Two of
            one name are one knob, and must agree in all that is said here.
        default: A number, where the knob stands at first.
        minimum: The lowest position.
        maximum: The highest.
        unit: For display: "dB", "s", "Hz", …
        curve: How positions are spread over the knob's way, for display: "linear" or "log".
        ramp: Seconds in which the value goes from one end of the range to the other.

    Returns:
        A scalar, of the type that a Python number would take on beside other arrays.

    Raises:
        AdacError: a value is out of its range, or depends on parameters or signals.
    """
    settings = {"default": default, "minimum": minimum, "maximum": maximum, "ramp": ramp}
    numbers = {key: _number(name, key, value) for key, value in settings.items()}
    if not np.isfinite(numbers["ramp"]) or numbers["ramp"] <= 0:
        raise AdacError(f"The control {name!r}: `ramp` (={ramp!r}) must be positive, in seconds.")
    range_ = (numbers["default"], numbers["minimum"], numbers["maximum"])
    check_control(str(name), *range_, str(unit), str(curve))
    _asked.add(name)
    given = _turned.value
    if given is not None and name in given.positions:
        return jnp.clip(jnp.asarray(given.positions[name]), *range_[1:])
    return control_p.bind(name=str(name), unit=str(unit), curve=str(curve), **numbers)


def _number(name: object, key: str, value: object) -> float:
    if is_tracer(value):
        raise AdacError(
            f"The control {name!r}: `{key}` depends on a parameter or a signal, but must be a "
            "number; make the knob a factor or an offset of the parameter."
        )
    try:
        return float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        raise AdacError(f"The control {name!r}: `{key}` (={value!r}) must be a number.") from None


def _value(*, default: float, **_: Any) -> Array:
    return jnp.asarray(float(default))  # of a Python number's type, as the abstract value says


control_p = Primitive("control")
define(control_p, _value)
control_p.def_abstract_eval(lambda **_: ShapedArray((), jnp.result_type(float), weak_type=True))
# Without operands there is nothing to differentiate or to batch.
batching.primitive_batchers[control_p] = lambda operands, axes, **kw: (control_p.bind(**kw), None)


class _Turned:
    """Positions, as JAX's caches see them: numbers by value, all else by the `with` it is in."""

    _serial = itertools.count()

    def __init__(self, positions: Mapping[str, ArrayLike]) -> None:
        self.positions = dict(positions)
        plain = all(isinstance(v, (int, float, np.number)) for v in self.positions.values())
        parts = tuple(sorted((n, float(v)) for n, v in positions.items())) if plain else ()  # type: ignore[arg-type]
        self._key = parts if plain else next(self._serial)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Turned) and self._key == other._key

    def __hash__(self) -> int:
        return hash(self._key)


_turned = jax.make_user_context(default_value=None)
_asked: set[str] = set()
"""The name of every control that was ever asked for."""


@contextmanager
def set_controls(positions: Mapping[str, ArrayLike]) -> Iterator[None]:
    """Inside, knobs stand still elsewhere than at their defaults: `model(x)` is the model there.

        with adac_jax.set_controls({"decay": 1.5}):
            y = model(x)

    Positions are part of the key of JAX's caches, so a function that was compiled before is
    compiled again for new ones, and no result is of another position. To have the gradient with
    respect to a knob, or one compilation for all positions, let a position be a tracer: say
    `jax.jit(lambda p, x: …)` with this statement inside. A position beyond the knob's range is
    clipped to it. `trace` and all that builds on it look through: they see knobs, not positions.

    Args:
        positions: A number or scalar array for each name; knobs not named stand where they stood.

    Raises:
        AdacError: a position is no scalar, or at the end, no model has ever asked for a name.
    """
    for name, value in positions.items():
        if np.ndim(value):
            raise AdacError(
                f"The position of the control {name!r} has the shape {np.shape(value)} but must be "
                "a number; the interpreter and streams take positions that change over time."
            )
    outer = _turned.value
    merged = {**(outer.positions if outer else {}), **positions}
    with _turned(_Turned(merged)):
        yield
    unknown = sorted(set(positions) - _asked)
    if unknown:
        listed = ", ".join(map(repr, sorted(_asked))) or "none"
        raise AdacError(
            f"No model has a control {unknown[0]!r}; those asked for so far are {listed}."
        )


@contextmanager
def at_rest() -> Iterator[None]:
    """Inside, every knob is a knob, wherever `set_controls` has turned it outside."""
    with _turned(None):
        yield


__all__ = ["Curve", "at_rest", "control", "control_p", "set_controls"]
