"""One model for hosts of several sample rates."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from adac_jax.errors import AdacError
from adac_jax.rates.derive import Derived, derive, stated_rate
from ir import Program

USUAL = 48000.0
"""Hertz that a model was made for if neither it nor the user says."""


@dataclass(frozen=True)
class Hosted:
    """A model for one host.

    Attributes:
        model: The model, made or derived for the host's rate.
        folder: Where its files go.
        derived: What was done to it; None where it was made for this rate.
    """

    model: Any
    folder: Path
    derived: Derived | None = None


def hosted(
    model: Any,
    host_rates: Sequence[float],
    out: Path,
    *,
    sample_rate: float | None = None,
    remake: Callable[[float], Any] | None = None,
) -> list[Hosted]:
    """A model for each host's rate, or refusals before anything is written.

    Args:
        model: As it was made; it is all there is if no rates are given.
        host_rates: In Hz.
        out: The folder for one rate; for several, of a folder for each, called after it.
        sample_rate: Hertz that the model was made for, if the user says so.
        remake: Makes the model for a rate, where its own code can; it is then not derived.

    Raises:
        RateError: a part of the model cannot be derived.
        AdacError: a rate is given twice, or the model was made for another one than is said.
    """
    if not host_rates:
        return [Hosted(model, out)]
    if len(set(host_rates)) < len(host_rates):
        raise AdacError(f"The host rates {', '.join(f'{r:g}' for r in host_rates)} must differ.")
    made_for = sample_rate or stated_rate(model) or USUAL
    found = []
    for rate in host_rates:
        folder = out if len(host_rates) == 1 else out / f"{rate:g}"
        if remake is not None:
            found.append(Hosted(_marked(remake(rate), rate), folder))
        else:
            derived = derive(model, rate, model_rate=made_for)
            found.append(Hosted(derived.model, folder, derived))
    return found


def _marked(model: Any, rate: float) -> Any:
    """A model that was made for a rate says so, where its factory forgot."""
    if not isinstance(model, Program) and getattr(model, "sample_rate", None) is None:
        model.sample_rate = rate
    return model
