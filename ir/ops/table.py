"""The op table: one row an operation.

A row states the arity, the attributes, and the type of the result. What an operation
*computes* is stated once per reading elsewhere (`ir.interpreter`, the emitters, JAX); a test
asserts that every reading covers every row.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from ir.errors import IRError
from ir.graph import KINDS, Attribute, Attributes, Shape, Type

MAX_SIZE = 2**24
"""Bound on the scalars in one sample of one signal, and in one coefficient."""
MAX_AXES = 32
"""Bound on the axes of one sample; NumPy's is 64."""
MAX_DELAY = 2**26
"""Bound on a delay, in samples (23 minutes at 48 kHz)."""

Infer = Callable[[tuple[Type, ...], Attributes], Type]


@dataclass(frozen=True)
class Op:
    """A row of the op table.

    Attributes:
        name: The key.
        arity: The numbers of inputs it takes, least and most (None: no bound).
        attributes: Name and kind of each setting: "int", "ints", "number", "text".
        rule: The type of the result; raises `IRError` where the inputs do not fit.
        equation: What it computes, for documentation.
        family: "source", "elementwise", "array" or "time".
    """

    name: str
    arity: tuple[int, int | None]
    attributes: Mapping[str, str]
    rule: Infer
    equation: str
    family: str

    def infer(self, inputs: tuple[Type, ...], attributes: Attributes) -> Type:
        """Checks arity and attributes, and returns the type of the result."""
        low, high = self.arity
        if len(inputs) < low or (high is not None and len(inputs) > high):
            wanted = (
                str(low) if low == high else f"{low} to {'any number' if high is None else high}"
            )
            raise IRError(f"`{self.name}` takes {wanted} inputs, not {len(inputs)}.")
        if set(attributes) != set(self.attributes):
            raise IRError(
                f"`{self.name}` has the attributes {sorted(self.attributes)}, "
                f"not {sorted(attributes)}."
            )
        for key, kind in self.attributes.items():
            _check_attribute(self.name, key, kind, attributes[key])
        result = self.rule(inputs, attributes)
        check_shape(self.name, result.shape)
        return result


OPS: dict[str, Op] = {}
"""Every operation by name."""


def define(
    name: str,
    arity: int | tuple[int, int | None],
    rule: Infer,
    equation: str,
    family: str,
    /,
    **attributes: str,
) -> None:
    """Adds a row; a second row of the same name is a mistake."""
    if name in OPS:
        raise IRError(f"The operation {name!r} is defined twice.")
    bounds = (arity, arity) if isinstance(arity, int) else arity
    OPS[name] = Op(name, bounds, attributes, rule, equation, family)


def _check_attribute(op: str, key: str, kind: str, value: Attribute) -> None:
    def is_int(v: object) -> bool:
        return isinstance(v, int) and not isinstance(v, bool)

    fits = {
        "int": is_int(value),
        "ints": isinstance(value, tuple) and all(map(is_int, value)),
        "number": isinstance(value, (bool, int, float)),
        "text": isinstance(value, str),
    }[kind]
    if not fits:
        raise IRError(f"`{op}`: the attribute `{key}` (={_short(value)}) must be {_NAMES[kind]}.")


_NAMES = {
    "int": "an integer",
    "ints": "a list of integers",
    "number": "a number",
    "text": "a string",
}


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def ints(attributes: Attributes, key: str) -> tuple[int, ...]:
    """An attribute already checked to be a tuple of integers."""
    return attributes[key]  # type: ignore[return-value]


def check_shape(op: str, shape: tuple[int, ...]) -> Shape:
    """A shape: no negative sizes, not too many numbers, and not too many axes.

    An axis of no numbers counts as one, so that what remains without it is bounded too.
    """
    size = 1
    for n in shape[:MAX_AXES]:
        size *= max(n, 1)
        if n < 0 or size > MAX_SIZE:
            raise IRError(
                f"`{op}`: the shape {_short(shape)} is not valid (at most {MAX_SIZE} numbers)."
            )
    if len(shape) > MAX_AXES:
        raise IRError(f"`{op}`: a shape of {len(shape)} axes is not valid (at most {MAX_AXES}).")
    return shape


def check_kind(op: str, kind: Attribute) -> str:
    """A kind attribute."""
    if kind not in KINDS:
        raise IRError(f"`{op}`: the kind {kind!r} must be one of {', '.join(KINDS)}.")
    return str(kind)


def same_shape(op: str, inputs: tuple[Type, ...]) -> Shape:
    """The common shape of the inputs, where a scalar goes with anything."""
    shapes = {t.shape for t in inputs if t.shape != ()}
    if len(shapes) > 1:
        raise IRError(f"`{op}` needs equal shapes, not {' and '.join(map(str, inputs))}.")
    return next(iter(shapes), ())


def same_kind(op: str, inputs: tuple[Type, ...]) -> str:
    """The common kind of the inputs."""
    kinds = {t.kind for t in inputs}
    if len(kinds) > 1:
        raise IRError(f"`{op}` needs inputs of one kind, not {' and '.join(map(str, inputs))}.")
    return kinds.pop()
