"""Certifies a model: proves from its numbers, as they ship, that it cannot blow up."""

from __future__ import annotations

from typing import Any, Literal

from adac_jax.errors import AdacError
from adac_jax.verification import traced_at
from emitters import faust
from ir import Certificate, Program
from ir import certify as certify_program

Precision = Literal["single", "double"]
TOLERANCES = {"single": 2.0**-24, "double": 2.0**-53}
"""By how much, relatively, a multiplier that FAUST computes itself may be off."""


class CertificateError(AdacError):
    """A model is unstable, or could not be proved stable, so nothing was exported.

    Attributes:
        certificate: What was found.
    """

    def __init__(self, certificate: Certificate) -> None:
        self.certificate = certificate
        problems = certificate.problems()
        first = problems[0].sentence().rstrip(".")
        more = f", and {len(problems) - 1} more" if len(problems) > 1 else ""
        super().__init__(
            f"{certificate.name} is {certificate.verdict}: {first}{more}; "
            "`uncertified=True` (--uncertified) exports it all the same."
        )


def certify(
    model: Any,
    *,
    parameters: Any = None,
    inputs: int | None = None,
    sample_rate: float | None = None,
    name: str | None = None,
    precision: Precision = "single",
) -> Certificate:
    """Whether a model can blow up, and how loud it can get.

    The verdict holds for every input within ±1 and every position and motion of the controls. It is
    computed from the coefficients as they ship: the literals of the emitted FAUST, rounded to the
    precision. docs/certificate.md has the theorems and what they cannot prove.

    Args:
        model: As for `verify`: a module, a function of audio, or a program.
        parameters: For functions of (parameters, audio).
        inputs: Input channels; the model's own attribute `inputs` if None.
        sample_rate: Hertz; the model's own, or 48000, if None.
        name: What it is called.
        precision: What the coefficients are rounded to.

    Returns:
        The certificate: verdict, margin, decay, peaks, a proof for each loop.

    Raises:
        RefusedError, DelayFreeLoopError, AdacError, IRError: as `trace`.
    """
    if precision not in TOLERANCES:
        raise AdacError(f'`precision` (={precision!r}) must be "single" or "double".')
    _, program = traced_at(model, parameters, inputs, sample_rate, name)
    return certify_rounded(program, precision)


def certify_rounded(program: Program, precision: str = "single") -> Certificate:
    """Certifies a program with the numbers that its FAUST has."""
    return certify_program(faust.rounded(program, precision), tolerance=TOLERANCES[precision])
