"""What is kept of a training: its losses, and as many steps as fit into a bound of memory."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np


@dataclass(frozen=True, slots=True, eq=False)
class Moment:
    """A step as it is kept.

    Attributes:
        number: Counts updates from 0.
        topology: The number of the topology whose coefficients these are.
        loss: NaN where none was given.
        time: Of the update, in seconds since 1970.
        coefficients: float64, all in one array.
    """

    number: int
    topology: int
    loss: float
    time: float
    coefficients: np.ndarray


@dataclass
class History:
    """The newest step, and steps at even distances from the first on.

    The distance is one step at first, and doubles whenever the memory is used up. Losses are kept
    of all steps up to a number, and then thinned in the same way.

    Attributes:
        most_bytes: Bound on the memory of all steps.
        most_losses: Bound on the number of losses.
        newest: The last step, if there was one.
        count: How many losses there have been.
    """

    most_bytes: int = 2**26
    most_losses: int = 2**16
    newest: Moment | None = None
    count: int = 0
    _kept: dict[int, Moment] = field(default_factory=dict)
    _stride: int = 1
    _bytes: int = 0
    _losses: list[tuple[int, float]] = field(default_factory=list)

    @property
    def numbers(self) -> list[int]:
        """The steps that are kept, in order."""
        newest = [] if self.newest is None or self.newest.number in self._kept else [self.newest]
        return [*self._kept, *(moment.number for moment in newest)]

    def add(self, moment: Moment) -> None:
        """Adds a step, whose number is above all others."""
        self.newest = moment
        if moment.number % self._stride == 0:
            self._kept[moment.number] = moment
            self._bytes += moment.coefficients.nbytes
        while self._bytes > self.most_bytes and len(self._kept) > 1:
            self._stride *= 2
            self._kept = {n: m for n, m in self._kept.items() if n % self._stride == 0}
            self._bytes = sum(m.coefficients.nbytes for m in self._kept.values())
        self.pass_over([(moment.number, moment.loss)])

    def pass_over(self, losses: Iterable[tuple[int, float]]) -> None:
        """Adds losses of steps that are not kept, in order."""
        before = len(self._losses)
        self._losses.extend(losses)
        self.count += len(self._losses) - before
        if len(self._losses) > self.most_losses:
            self._losses = [*self._losses[:-1:2], self._losses[-1]]

    def at(self, number: int) -> Moment | None:
        """The kept step of a number, or the last one before it."""
        before = [n for n in self.numbers if n <= number]
        if not before:
            return None
        return self._kept.get(before[-1], self.newest)

    def losses(self, since: int = 0) -> list[tuple[int, float]]:
        """Steps and losses that came after `count` had been `since`."""
        new = self.count - since
        return self._losses[-new:] if new else []


__all__ = ["History", "Moment"]
