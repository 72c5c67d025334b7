"""Weights in one list, of which each layer takes its own."""

from __future__ import annotations

import math

import numpy as np

from adac_jax.interop.documents import Part


class Weights:
    """A flat list of weights that is dealt out in order.

    Args:
        part: The list.
    """

    def __init__(self, part: Part) -> None:
        self.part = part
        self.values = part.array(None)
        self.taken = 0

    def take(self, *shape: int) -> np.ndarray:
        """The next ones, in rows.

        Raises:
            FormatError: there are not as many left.
        """
        end = self.taken + math.prod(shape)
        if end > len(self.values):
            raise self.part.error(f"a list of {end} or more, for so many the sizes ask for")
        found = self.values[self.taken : end].reshape(shape)
        self.taken = end
        return found

    def end(self) -> None:
        """Refuses weights that nothing asked for."""
        if self.taken != len(self.values):
            raise self.part.error(f"a list of {self.taken}, for so many the sizes ask for")
