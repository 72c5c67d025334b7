"""What is kept of a training: all losses, and as many steps as fit into a bound of memory."""

from __future__ import annotations

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
    """The first step, the newest, and steps between them at even distances.

    Where the memory is used up, every other one of those between is forgotten. The losses are kept
    for `most_losses` steps, and thinned in the same way.

    Attributes:
        most_bytes: Bound on the memory of all steps.
        most_losses: Bound on the number of losses.
    """

    most_bytes: int = 2**26
    most_losses: int = 2**16
    _kept: dict[int, Moment] = field(default_factory=dict)
    _losses: list[tuple[int, float]] = field(default_factory=list)
    _bytes: int = 0
    _newest: Moment | None = None
    _forgotten: int = 0

    @property
    def newest(self) -> Moment | None:
        """The last step, if there was one."""
        return self._newest

    @property
    def numbers(self) -> list[int]:
        """The steps that are kept, in order."""
        return list(self._kept)

    @property
    def count(self) -> int:
        """How many losses there have been."""
        return self._forgotten + len(self._losses)

    def add(self, moment: Moment) -> None:
        """Adds a step, whose number is above all others."""
        self._kept[moment.number] = self._newest = moment
        self._losses.append((moment.number, moment.loss))
        self._bytes += moment.coefficients.nbytes
        while self._bytes > self.most_bytes and len(self._kept) > 2:
            numbers = list(self._kept)
            for number in numbers[1:-1:2]:
                self._bytes -= self._kept.pop(number).coefficients.nbytes
        if len(self._losses) > self.most_losses:
            before = len(self._losses)
            self._losses = [*self._losses[:-1:2], self._losses[-1]]
            self._forgotten += before - len(self._losses)

    def at(self, number: int) -> Moment | None:
        """The kept step of a number, or the last one before it."""
        if number in self._kept:
            return self._kept[number]
        before = [n for n in self._kept if n <= number]
        return self._kept[before[-1]] if before else None

    def losses(self, since: int = 0) -> list[tuple[int, float]]:
        """Steps and losses, those left out that `count` had counted at `since`."""
        new = self.count - since
        return self._losses[-new:] if 0 < new < len(self._losses) else self._losses if new else []


__all__ = ["History", "Moment"]
