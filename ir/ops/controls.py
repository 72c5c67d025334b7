"""Knobs: numbers that a user turns while the model runs."""

from __future__ import annotations

import math
import re

from ir.errors import IRError
from ir.graph import Attribute, Attributes, Node, Type
from ir.ops.table import define

CURVES = ("linear", "log")
"""How positions are spread over a knob's way."""
MAX_TEXT = 100
"""Bound on the characters of a name or a unit."""
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_ -]*")
_UNIT = re.compile(r"[A-Za-z0-9%/*^. -]*")


def check_control(
    name: str, default: float, minimum: float, maximum: float, unit: str, curve: str
) -> None:
    """Checks what a control is made of.

    Raises:
        IRError: a value is out of its range.
    """
    if not _NAME.fullmatch(name) or len(name) > MAX_TEXT or name != name.strip():
        raise IRError(
            f"The control {name[:60]!r} must be called by a letter and then letters, digits, "
            f"spaces, `_` and `-`, {MAX_TEXT} at most."
        )
    for key, value in (("default", default), ("minimum", minimum), ("maximum", maximum)):
        if not math.isfinite(value):
            raise IRError(f"The control {name!r}: `{key}` (={value!r}) must be finite.")
    if not minimum < maximum:
        raise IRError(
            f"The control {name!r}: `minimum` (={minimum!r}) must be below `maximum` "
            f"(={maximum!r})."
        )
    if not minimum <= default <= maximum:
        raise IRError(
            f"The control {name!r}: `default` (={default!r}) must lie in {minimum!r} to "
            f"{maximum!r}."
        )
    if not _UNIT.fullmatch(unit) or len(unit) > MAX_TEXT:
        raise IRError(
            f"The control {name!r}: `unit` (={unit[:60]!r}) must be letters, digits, spaces and "
            "any of %/*^.-."
        )
    if curve not in CURVES:
        raise IRError(f'The control {name!r}: `curve` (={curve!r}) must be "linear" or "log".')
    if curve == "log" and not minimum > 0:
        raise IRError(
            f"The control {name!r}: `minimum` (={minimum!r}) must be positive on a log curve."
        )


def attribute(node: Node, key: str) -> float:
    """A numeric attribute of a control, as a float."""
    return _number(node[key])


def slug(name: str) -> str:
    """A control's name as hosts write it in a path: two names must differ in it."""
    return name.replace(" ", "_")


def check_alike(first: Node, second: Node) -> None:
    """Controls of one name must agree in all they say.

    Raises:
        IRError: they differ.
    """
    for key, value in first.attributes:
        if second[key] != value:
            raise IRError(
                f"The control {first.text('name')!r} is there twice, with `{key}` {value!r} and "
                f"{second[key]!r}; give it another name, or the same {key}."
            )


def _number(value: Attribute) -> float:
    return float(value)  # type: ignore[arg-type]


def _control(inputs: tuple[Type, ...], attributes: Attributes) -> Type:
    low, high, default = (_number(attributes[k]) for k in ("minimum", "maximum", "default"))
    name, unit, curve = (str(attributes[k]) for k in ("name", "unit", "curve"))
    check_control(name, default, low, high, unit, curve)
    step = _number(attributes["step"])
    if not (math.isfinite(step) and step > 0):
        raise IRError(f"The control {name!r}: `step` (={step!r}) must be positive and finite.")
    return Type((), "real")


define("control", 0, _control,
       "y[t] = y[t-1] + clip(k[t] - y[t-1], -step, step), y[-1] = default, where k is the position "
       "of the knob `name`, clipped to minimum … maximum", "source",
       name="text", default="number", minimum="number", maximum="number", unit="text",
       curve="text", step="number")  # fmt: skip
