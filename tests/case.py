"""What a row of the table of cases is: a small program with one operation, and its inputs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

import ir

LENGTH = 24
"""Samples of a case, unless its own inputs say otherwise."""


@dataclass(frozen=True)
class Case:
    """A program and its inputs.

    Attributes:
        op: The operation it is for.
        label: What is special about it.
        program: The program.
        inputs: An array (time, *channels) each.
        length: Samples.
        expected: The output by an independent formula, where that is simple.
    """

    op: str
    label: str
    program: ir.Program
    inputs: tuple[np.ndarray, ...]
    length: int
    expected: np.ndarray | None

    def __str__(self) -> str:
        return f"{self.op}-{self.label}" if self.label else self.op


CASES: list[Case] = []


@dataclass(frozen=True)
class Fixed:
    """An operand that is a coefficient."""

    value: object


def kind_of(value: np.ndarray) -> str:
    """The kind of an array's numbers."""
    return {"b": "bool", "i": "int", "f": "real"}[value.dtype.kind]


def case(
    op: str,
    *operands: object,
    label: str = "",
    expected: Callable[..., object] | None = None,
    length: int = LENGTH,
    **attributes: ir.Attribute,
) -> None:
    """Adds a row: arrays are input signals, `Fixed` ones coefficients, numbers constants."""
    builder = ir.Builder(op)
    sources, inputs, coefficients = [], [], {}
    for operand in operands:
        if isinstance(operand, Fixed):
            value = np.asarray(operand.value)
            slot = f"c{len(coefficients)}"
            coefficients[slot] = value
            sources.append(
                builder.add("coefficient", slot=slot, shape=value.shape, kind=kind_of(value))
            )
        elif isinstance(operand, np.ndarray):
            assert operand.dtype.kind != "f" or np.all(exact(operand) == operand)
            length = len(operand)
            shape, kind = operand.shape[1:], kind_of(operand)
            sources.append(builder.add("input", index=len(inputs), shape=shape, kind=kind))
            inputs.append(operand)
        else:
            sources.append(builder.constant(operand))  # type: ignore[arg-type]
    out = builder.add(op, *sources, name=f"the.{op}", **attributes)
    program = ir.Program(builder.build([out]), coefficients)
    want = None
    if expected is not None:
        values = [np.asarray(o.value) if isinstance(o, Fixed) else o for o in operands]
        shape = builder.type(out).shape
        want = np.broadcast_to(np.asarray(expected(*values)), (length, *shape))
    CASES.append(Case(op, label, program, tuple(inputs), length, want))


def exact(x: object) -> np.ndarray:
    """The same numbers, rounded to single precision, so that both precisions start alike."""
    return np.asarray(x, np.float32).astype(np.float64)


def noise(*shape: int, low: float = -1.0, high: float = 1.0, seed: int = 1) -> np.ndarray:
    """Uniform numbers that single precision holds."""
    return exact(np.random.default_rng(seed).uniform(low, high, shape))


def integers(*shape: int, low: int = -9, high: int = 10, seed: int = 2) -> np.ndarray:
    """Integers from low to high - 1."""
    return np.random.default_rng(seed).integers(low, high, shape)


X, Y = noise(LENGTH, 3), noise(LENGTH, 3, seed=3)
I3, J3 = integers(LENGTH, 3), integers(LENGTH, 3, seed=4)
BOOLS, OTHERS = I3 > 0, J3 > 2
