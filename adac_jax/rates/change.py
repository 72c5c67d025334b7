"""A change of the sample rate: what is known at each part of a model, and who knows what to do."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

import numpy as np
from flax import nnx

from adac_jax.errors import AdacError

Part = TypeVar("Part", bound=type)
Rule = Callable[[Any, "Change"], Any]

RULES: dict[type, Rule] = {}
"""What becomes of the modules of this package; by class, and not by what a class derives from."""


class RateError(AdacError):
    """A part of a model cannot be derived anew for another sample rate, or nobody says how.

    Attributes:
        path: Where in the model the part is, as `late.0.absorption`.
    """

    def __init__(self, path: str, message: str) -> None:
        self.path = path
        super().__init__(message)


@dataclass(frozen=True, slots=True)
class Note:
    """What was done to one part.

    Attributes:
        path: Where in the model it is; "" for the model itself.
        part: Its class.
        text: What was done.
        error_db: The largest deviation of the magnitude response in dB, up to 0.85 of the lower
            Nyquist frequency and 20 dB below the largest gain; None where there is no filter.
        error: In a loop, the same as a share of the gain in dB, which is the share by which the
            reverberation time deviates; None out of loops.
    """

    path: str
    part: str
    text: str
    error_db: float | None = None
    error: float | None = None


@dataclass(frozen=True)
class Change:
    """From one sample rate to another, at one place of a model.

    Attributes:
        old: Hertz that the model was made for.
        new: Hertz that it is derived for.
        path: Where in the model this is, as `late.0.absorption`.
        loop: Whether the part is in a loop, where what counts is the share of its gain in dB.
        stretch: For the absorption of delay lines: what the rounding of their lengths made of
            their durations, new over old, one a line; None elsewhere.
    """

    old: float
    new: float
    path: str = ""
    loop: bool = False
    stretch: np.ndarray | None = None
    notes: list[Note] = field(default_factory=list, repr=False)
    done: dict[int, tuple[Any, Any]] = field(default_factory=dict, repr=False)

    @property
    def ratio(self) -> float:
        """New samples for each old one."""
        return self.new / self.old

    @property
    def nyquist(self) -> float:
        """The lower of the two Nyquist frequencies, in Hz."""
        return min(self.old, self.new) / 2

    def samples(self, count: float) -> int:
        """A length in new samples: rounded, but at least 1 where it was."""
        return 0 if count <= 0 else max(1, int(np.floor(count * self.ratio + 0.5)))

    def of(
        self, part: Any, name: str, *, loop: bool | None = None, stretch: np.ndarray | None = None
    ) -> Any:
        """The part of this name at the new rate: itself, changed, or what takes its place.

        Args:
            part: A module; or anything without a state, which stays what it is.
            name: Its place in the part whose `at_rate` asks.
            loop: See `Change.loop`; as here if None.
            stretch: See `Change.stretch`.

        Raises:
            RateError: it cannot be derived anew, or does not say how.
        """
        if not isinstance(part, nnx.Pytree) or isinstance(part, nnx.Variable):
            return part
        if id(part) in self.done:
            return self.done[id(part)][1]
        path = f"{self.path}.{name}".lstrip(".")
        loop = self.loop if loop is None else loop
        here = replace(self, path=path, loop=loop, stretch=stretch)
        found = rule_of(part, here)(part, here)
        # The part is kept beside what became of it, so that no other gets its id.
        self.done[id(part)] = (part, found)
        self.done[id(found)] = (found, found)
        return found

    def note(
        self, part: Any, text: str, error_db: float | None = None, error: float | None = None
    ) -> None:
        """Writes down what was done to a part."""
        self.notes.append(Note(self.path, type(part).__name__, text, error_db, error))

    def refused(self, part: Any, reason: str) -> RateError:
        """The error for a part that cannot be derived."""
        where = f"`{self.path}` ({type(part).__name__})" if self.path else type(part).__name__
        return RateError(
            self.path,
            f"{where} cannot be derived for {self.new:g} Hz: {reason}; run the model at "
            f"{self.old:g} Hz, between resamplers (`adac_jax.Resampled`, or `--listen`, which "
            "resamples the file that it plays).",
        )


def rule(*classes: type) -> Callable[[Rule], Rule]:
    """Registers what becomes of modules of these classes: (module, change) → module.

    Raises:
        ValueError: a class has a rule already.
    """

    def register(function: Rule) -> Rule:
        for kind in classes:
            if kind in RULES:
                raise ValueError(f"{kind.__name__} has a rule already.")
            RULES[kind] = function
        return function

    return register


def rule_of(part: Any, change: Change) -> Rule:
    """The rule for a part: its own method `at_rate`, or that for its class.

    Raises:
        RateError: there is neither.
    """
    own = getattr(type(part), "at_rate", None)
    if own is not None:
        return own
    if type(part) in RULES:
        return RULES[type(part)]
    raise change.refused(
        part,
        f"the class {type(part).__name__} does not say what becomes of it; give it a method "
        "`at_rate(self, change)`, or `at_rate = adac_jax.rates.by_parts` if nothing but its parts "
        "depends on the rate",
    )


def by_parts(part: Any, change: Change) -> Any:
    """What becomes of a module of which only its parts and `sample_rate` depend on the rate.

    To be written into a class as `at_rate = adac_jax.rates.by_parts`: its parameters stay as they
    are, and each module that it holds is derived by its own rule.
    """
    for name, value in list(vars(part).items()):
        if name == "sample_rate":
            part.sample_rate = change.new
        elif isinstance(value, nnx.Pytree) and not isinstance(value, nnx.Variable):
            setattr(part, name, change.of(value, name))
    return part


def unchanged(part: Any, change: Change) -> Any:
    """What becomes of a module that means the same at any rate: a matrix, a curve."""
    return part


@rule(nnx.List)
def _list(part: nnx.List, change: Change) -> nnx.List:
    for k, value in enumerate(part):
        part[k] = change.of(value, str(k))
    return part


@rule(nnx.Dict)
def _dict(part: nnx.Dict, change: Change) -> nnx.Dict:
    for name, value in part.items():
        part[name] = change.of(value, name)
    return part
