"""A program with the numbers that FAUST computes with: literals, rounded to the precision.

Sections are written by the settings of a trapezoidal filter (`sections`), so those are rounded, and
what they make is written back as a direct form. Its state, s ← A s + B x, y = C s + D x, is

    A = [[1 - 2 c1, -2 c2], [2 c2, 1 - 2 c3]],  B = [2 c2, 2 c3],
    C = [m1 (1 - c1) + m2 c2, m2 (1 - c3) - m1 c2],  D = m0 + m1 c2 + m2 c3.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from emitters.faust.sections import second_order
from ir.graph import Program

DTYPES = {"single": np.float32, "double": np.float64}


def rounded(program: Program, precision: str) -> Program:
    """The program with each coefficient as FAUST holds it.

    Args:
        program: Any.
        precision: "single" or "double".
    """
    found = {}
    for slot, value in program.coefficients.items():
        real = value.dtype.kind == "f"
        found[slot] = value.astype(DTYPES[precision]).astype(np.float64) if real else value
    for node in program.graph.nodes:
        slots = [_slot(program, k) for k in node.inputs[1:3]]
        if node.op == "sos" and slots[0]:
            found[slots[0]] = _sections(program.coefficients[slots[0]], precision)
        elif node.op == "iir" and slots[0] and slots[1]:
            b, a = (program.coefficients[slot] for slot in slots)
            if len(b) <= 3:
                pairs = [np.concatenate([v, np.zeros((3 - len(v), *v.shape[1:]))]) for v in (b, a)]
                both = _sections(np.concatenate(pairs)[None], precision)[0]
                found[slots[0]], found[slots[1]] = both[: len(b)], both[3 : 3 + len(b)]
    return replace(program, coefficients=found)


def _slot(program: Program, k: int) -> str:
    node = program.graph.nodes[k]
    return node.text("slot") if node.op == "coefficient" else ""


def _sections(sos: np.ndarray, precision: str) -> np.ndarray:
    flat = sos.reshape(len(sos), 6, -1)
    found = np.empty_like(flat)
    for section in range(flat.shape[0]):
        for channel in range(flat.shape[2]):
            found[section, :, channel] = realised(flat[section, :, channel], precision)
    return found.reshape(sos.shape)


def realised(section: Sequence[float] | np.ndarray, precision: str) -> np.ndarray:
    """(b0, b1, b2, 1, a1, a2) of what is emitted for a section."""
    b, a = [float(v) for v in section[:3]], [float(v) for v in section[3:]]
    if a[0] == 0:
        return np.asarray(section, float)
    call = second_order(b, a)
    if call is None:
        return np.array([b[0] / a[0], b[1] / a[0], b[2] / a[0], 1, a[1] / a[0], a[2] / a[0]])
    if precision == "double":
        return np.array([*(v / a[0] for v in b), 1.0, a[1] / a[0], a[2] / a[0]])
    settings = [float(np.float32(v)) for v in call.settings]  # type: ignore[arg-type]
    return np.array(_FORMS[call.helper](*settings))


def _direct(b0: float, b1: float, b2: float, a1: float, a2: float) -> list[float]:
    return [b0, b1, b2, 1.0, a1, a2]


def _one_pole(c: float, high: float, difference: float) -> list[float]:
    # s ← (1 - 2c) s + 2c x, y = (high + difference c) x + difference (1 - c) s
    pole = 1 - 2 * c
    now = high + difference * c
    return [now, 2 * c * difference * (1 - c) - pole * now, 0.0, 1.0, -pole, 0.0]


def _trapezoidal(c1: float, c2: float, c3: float, m0: float, m1: float, m2: float) -> list[float]:
    trace = math.fsum([2.0, -2 * c1, -2 * c3])
    determinant = math.fsum([1.0, -2 * c1, -2 * c3, 4 * c1 * c3, 4 * c2 * c2])
    left, right = m1 * (1 - c1) + m2 * c2, m2 * (1 - c3) - m1 * c2
    now = m0 + m1 * c2 + m2 * c3
    # C adj(zI - A) B, by powers of z: z (C B) + constant
    first = left * 2 * c2 + right * 2 * c3
    constant = left * (-2 * c2 * (1 - 2 * c3) - 4 * c2 * c3) + right * (
        4 * c2 * c2 - 2 * c3 * (1 - 2 * c1)
    )
    b1 = first - trace * now
    b2 = constant + determinant * now
    return [now, b1, b2, 1.0, -trace, determinant]


_FORMS = {"direct": _direct, "one_pole": _one_pole, "section": _trapezoidal}


__all__ = ["realised", "rounded"]
