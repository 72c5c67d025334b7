"""What the walker knows of a value."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jax import Array


@dataclass(frozen=True, slots=True, eq=False)
class Known:
    """A value that does not depend on audio: JAX computes it, the graph sees a coefficient.

    Attributes:
        value: The array; a tracer while coefficients are being recomputed.
        path: The parameter it comes from, or the module all its parameters are in ("" for the model
            itself); None if it comes from no parameter.
        spread: If it was made by broadcasting: what was, the shape, and the axes it went to. Lets
            the walker see that a value of a signal's length does not change over time.
    """

    value: Array | np.ndarray
    path: str | None = None
    spread: tuple[Known, tuple[int, ...], tuple[int, ...]] | None = None


@dataclass(frozen=True, slots=True)
class Signal:
    """A value with a time axis: sample t of the array is the node's sample t + shift.

    Attributes:
        node: Position in the graph.
        axis: Which axis of the array is time.
        shift: Samples of look-ahead, taken back by a later delay or refused at the end.
        valid: Samples of the array for which this holds; what follows is padding.
    """

    node: int
    axis: int
    shift: int
    valid: int


@dataclass(frozen=True, slots=True)
class Controlled:
    """A value that follows knobs: it has no time axis, but changes from sample to sample.

    It stands wherever a known value may, and is a node all the same.

    Attributes:
        node: Position in the graph; its shape is that of the whole array.
    """

    node: int


@dataclass(frozen=True, slots=True)
class Unusable:
    """A result that has no per-sample meaning; refused only where something reads it.

    Attributes:
        reason: Why, as a sentence.
    """

    reason: str


Value = Known | Signal | Controlled | Unusable
