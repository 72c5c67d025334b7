"""Trainable physical quantities: what is stored is unconstrained, what is used is in range.

Each is a small module with one `nnx.Param` and, as a call, the value.
"""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax import Array
from jax.typing import ArrayLike

FREQUENCY_MARGIN = 5.0
"""Hz. Frequencies stay this far from 0 and from fs/2, so that float32 can hold the poles."""
QUALITY_RANGE = (0.1, 100.0)
"""Of Q: with these bounds float32 can hold the poles."""


def initial(name: str, value: ArrayLike, shape: tuple[int, ...]) -> np.ndarray:
    """A parameter's first value, in float64, repeated over its shape as NumPy broadcasts.

    Raises:
        ValueError: it does not fit the shape or is not finite.
    """
    array = np.asarray(value, np.float64)
    if not np.isfinite(array).all():
        raise ValueError(f"`{name}` (={value}) must be finite.")
    try:
        return np.broadcast_to(array, shape)
    except ValueError:
        raise ValueError(
            f"`{name}` of shape {array.shape} does not fit the parameter's shape {shape}."
        ) from None


def param(value: np.ndarray) -> nnx.Param:
    """A trainable parameter of JAX's default float type."""
    return nnx.Param(jnp.asarray(value, jnp.result_type(float)))


def positive_rate(sample_rate: float) -> float:
    """A sample rate in Hz.

    Raises:
        ValueError: it is too low for any filter here.
    """
    if not 4 * FREQUENCY_MARGIN < sample_rate < np.inf:
        raise ValueError(
            f"`sample_rate` (={sample_rate}) must be a finite number of Hz above "
            f"{4 * FREQUENCY_MARGIN:g}."
        )
    return float(sample_rate)


class Positive(nnx.Module):
    """A positive quantity within bounds, on a logarithmic scale.

    ln v = c + h tanh((raw - c) / h), with c the middle of ln low … ln high and h half their
    distance: near the middle raw is ln v, and any real raw gives low ≤ v ≤ high.

    Args:
        name: For error messages.
        value: First value, strictly within the bounds.
        shape: The parameter's shape, to which the value is broadcast.
        bounds: (low, high).

    Raises:
        ValueError: the value is out of bounds or does not fit the shape.
    """

    def __init__(
        self, name: str, value: ArrayLike, shape: tuple[int, ...], bounds: tuple[float, float]
    ) -> None:
        self.name = name
        self.low, self.high = float(bounds[0]), float(bounds[1])
        self.raw = param(self._inverse(initial(name, value, shape)))

    def __call__(self) -> Array:
        """The value."""
        middle, half = self._scale()
        return jnp.exp(middle + half * jnp.tanh((self.raw[...] - middle) / half))

    def set(self, value: ArrayLike) -> None:
        """Gives it another value, as in the constructor."""
        raw = self.raw[...]
        self.raw[...] = jnp.asarray(self._inverse(initial(self.name, value, raw.shape)), raw.dtype)

    def _scale(self) -> tuple[float, float]:
        low, high = np.log(self.low), np.log(self.high)
        return float(low + high) / 2, float(high - low) / 2

    def _inverse(self, value: np.ndarray) -> np.ndarray:
        if not ((value > self.low) & (value < self.high)).all():
            raise ValueError(
                f"`{self.name}` (={value.tolist()}) must lie strictly between {self.low:g} and "
                f"{self.high:g}."
            )
        middle, half = self._scale()
        return middle + half * np.arctanh((np.log(value) - middle) / half)


class Frequency(Positive):
    """A frequency in (0, fs/2), kept as its place on the bilinear transform's axis.

    g = tan(π f / fs) is a `Positive` between its values at `FREQUENCY_MARGIN` Hz and at as much
    below fs/2; far below fs/2, raw is ln f but for a constant. Calling it gives g, which designs
    need; `hertz()` gives f.

    Args:
        hertz: First value in Hz.
        shape: The parameter's shape.
        sample_rate: fs in Hz.
        name: For error messages.

    Raises:
        ValueError: a frequency is out of its range or does not fit the shape.
    """

    def __init__(
        self,
        hertz: ArrayLike,
        shape: tuple[int, ...],
        sample_rate: float,
        name: str = "frequency",
    ) -> None:
        self.sample_rate = positive_rate(sample_rate)
        low = np.tan(np.pi * FREQUENCY_MARGIN / self.sample_rate)
        super().__init__(name, hertz, shape, (low, 1 / low))

    def hertz(self) -> Array:
        """The frequency f in Hz."""
        return self.sample_rate / np.pi * jnp.arctan(self())

    def _inverse(self, value: np.ndarray) -> np.ndarray:
        top = self.sample_rate / 2 - FREQUENCY_MARGIN
        if not ((value > FREQUENCY_MARGIN) & (value < top)).all():
            raise ValueError(
                f"`{self.name}` (={value.tolist()}) must lie strictly between "
                f"{FREQUENCY_MARGIN:g} and {top:g} Hz at the sample rate {self.sample_rate:g} Hz."
            )
        return super()._inverse(np.tan(np.pi * value / self.sample_rate))
