"""Runs a model in fixed point: formats, noise floor, and what rounded multipliers do."""

from __future__ import annotations

from typing import Any, Literal

from adac_jax.verification import traced_at
from ir.precision import FixedPoint
from ir.precision import fixed_point as run_program

__all__ = ["FixedPoint", "fixed_point"]


def fixed_point(
    model: Any,
    bits: int = 24,
    *,
    coefficient_bits: int | None = None,
    overflow: Literal["saturate", "wrap"] = "saturate",
    seconds: float = 1.0,
    measured_peaks: bool = False,
    parameters: Any = None,
    inputs: int | None = None,
    sample_rate: float | None = None,
    name: str | None = None,
) -> FixedPoint:
    """What a model would be on a processor without floating point.

    Each signal is a word of `bits` bits, with as few of them before the point as hold its peak for
    inputs within ±1, so that nothing overflows. docs/precision.md says what is rounded, and how the
    noise is predicted.

    Args:
        model: As for `verify`: a module, a function of audio, or a program. Knobs stand at their
            defaults.
        bits: Of each signal, 4 to 40.
        coefficient_bits: Of each multiplier; `bits` if None.
        overflow: What becomes of a number that is too large, should there be one.
        seconds: Of noise that goes through, from which the noise floor is measured.
        measured_peaks: Give each signal the bits that hold twice what comes up, in place of what is
            proved: for programs whose proved peaks are far above, at the risk of overflow.
        parameters: For functions of (parameters, audio).
        inputs: Input channels; the model's own attribute `inputs` if None.
        sample_rate: Hertz; the model's own, or 48000, if None.
        name: What it is called.

    Returns:
        Formats, predicted and measured noise of each output in dB re 1 RMS, overflows, and the
        error of the response.

    Raises:
        RefusedError, DelayFreeLoopError, AdacError, IRError: as `trace`; or an argument is out of
            range.
    """
    _, program = traced_at(model, parameters, inputs, sample_rate, name)
    return run_program(
        program,
        bits,
        coefficient_bits=coefficient_bits,
        overflow=overflow,
        seconds=seconds,
        peaks="measured" if measured_peaks else None,
    )
