"""A model for another sample rate."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from flax import nnx

from adac_jax.errors import AdacError
from adac_jax.rates import effects, filters, learned, networks, taps  # noqa: F401  (they register rules)
from adac_jax.rates.change import Change, Note, RateError
from ir import Program

LOWEST_RATE, HIGHEST_RATE = 8000.0, 768000.0
"""Hertz of rates that models are derived for."""


@dataclass(frozen=True)
class Derived:
    """A model for another rate, and what was done to it.

    Attributes:
        model: The model.
        old: Hertz that it was made for.
        new: Hertz that it is for now.
        notes: What was done to its parts.
    """

    model: Any
    old: float
    new: float
    notes: tuple[Note, ...]

    @property
    def error(self) -> float:
        """The largest deviation in a loop, as a share of its reverberation time; 0 without one."""
        return max((n.error for n in self.notes if n.error is not None), default=0.0)

    @property
    def error_db(self) -> float:
        """The largest deviation of a response out of loops in dB; 0 if there is none."""
        found = (n.error_db for n in self.notes if n.error is None and n.error_db is not None)
        return max(found, default=0.0)

    def summary(self) -> str:
        """One line for people."""
        text = f"derived for {self.new:g} Hz from {self.old:g} Hz"
        loops = [n for n in self.notes if n.error is not None]
        plain = [n for n in self.notes if n.error is None and n.error_db is not None]
        if loops:
            text += f"; reverberation times within {100 * self.error:.2f} % by design"
        if plain:
            text += f"; responses within {self.error_db:.2f} dB"
        return text


def derive(model: Any, sample_rate: float, *, model_rate: float | None = None) -> Derived:
    """As `at_rate`, with a record of what was done.

    Raises:
        RateError: a part cannot be derived, or does not say how.
        AdacError: a rate is missing, contradicted or out of range.
    """
    if not isinstance(sample_rate, (int, float)) or not LOWEST_RATE <= sample_rate <= HIGHEST_RATE:
        raise AdacError(
            f"`sample_rate` (={sample_rate}) must be {LOWEST_RATE:g} to {HIGHEST_RATE:g} Hz."
        )
    new = float(sample_rate)
    if isinstance(model, Program):
        made_for = model.graph.sample_rate
        if made_for == new:
            return Derived(model, new, new, ())
        raise RateError(
            "",
            f"A program that came as IR holds coefficients for {made_for:g} Hz and not what they "
            f"were made of; derive the model that it came from for {new:g} Hz.",
        )
    if not isinstance(model, nnx.Module):
        return _function(model, new, model_rate)
    old = _rate_of(model, model_rate)
    copy = nnx.clone(model)
    change = Change(old, new)
    found: Any = copy if old == new else change.of(copy, "")
    found.sample_rate = new
    return Derived(found, old, new, tuple(change.notes))


def at_rate(model: Any, sample_rate: float, *, model_rate: float | None = None) -> Any:
    """The model for another sample rate: the same seconds, hertz and decibels.

    Delays keep their seconds, rounded to whole samples; the absorption of delay lines follows the
    lengths they got, so that the reverberation time at each frequency stays; filters are designed
    anew from their hertz and decibels, and sections make up for what that misses near the Nyquist
    frequency. docs/sample-rates.md says for each module what is kept and how exactly.

    Args:
        model: A Flax NNX module of this package's modules and of classes that say what becomes of
            them (`at_rate`); it is not changed. Or a function of audio that takes `sample_rate`.
        sample_rate: Hertz to derive it for.
        model_rate: Hertz that it was made for; what it says itself if None.

    Returns:
        A new model, with the attribute `sample_rate`.

    Raises:
        RateError: a part cannot be derived (a learned recurrence, say), or does not say how; the
            message names it.
        AdacError: a rate is missing, contradicted or out of range.
    """
    return derive(model, sample_rate, model_rate=model_rate).model


def _function(model: Any, new: float, model_rate: float | None) -> Derived:
    """A function of audio that takes the rate as an argument."""
    name = getattr(model, "__name__", type(model).__name__)
    try:
        takes = "sample_rate" in inspect.signature(model).parameters
    except (TypeError, ValueError):
        takes = False
    if not takes:
        raise RateError(
            "",
            f"The function {name!r} cannot be derived for {new:g} Hz: it does not take "
            "`sample_rate`, so what in it depends on the rate is not known; let it take it, or "
            "run it at its own rate, between resamplers (`adac_jax.Resampled`).",
        )
    made = functools.partial(model, sample_rate=new)
    made.__name__ = name  # type: ignore[attr-defined]
    made.sample_rate = new  # type: ignore[attr-defined]
    return Derived(made, model_rate or new, new, ())


def _rate_of(model: nnx.Module, given: float | None) -> float:
    """The rate that a model was made for: as given, or as all of its parts say."""
    stated = dict(_stated(model))
    for path, rate in stated.items():
        expected = next(iter(stated.values())) if given is None else given
        if rate != expected:
            said = f"`model_rate` is {given:g} Hz" if given is not None else "others for another"
            raise AdacError(f"The part {path!r} was made for {rate:g} Hz, but {said}.")
    found = given or next(iter(stated.values()), None)
    if found is None:
        raise AdacError(
            f"The model {type(model).__name__} does not say for which sample rate it was made; "
            "give `model_rate` in hertz."
        )
    return float(found)


def stated_rate(model: Any) -> float | None:
    """The rate in Hz that a model or one of its parts says it was made for, if any does."""
    if not isinstance(model, nnx.Module):
        return getattr(model, "sample_rate", None)
    return next((rate for _, rate in _stated(model)), None)


def _stated(model: nnx.Module) -> Iterator[tuple[str, float]]:
    """All rates in a model, by where they stand."""
    for path, part in nnx.iter_graph(model):
        where = ".".join(map(str, path)) or type(part).__name__
        for holder in (part, getattr(part, "bands", None), getattr(part, "lines", None)):
            rate = getattr(holder, "sample_rate", None)
            if isinstance(rate, (int, float)):
                yield where, float(rate)
                break
