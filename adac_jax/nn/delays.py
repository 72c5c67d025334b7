"""Delays, and how to choose their lengths."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from flax import nnx
from jax import Array
from jax.typing import ArrayLike
from jaxtyping import Float

from adac_jax import primitives
from adac_jax.nn.module import Module
from adac_jax.nn.square import parameter
from adac_jax.primitives.fractional_delay import split_delay


class Delay(Module):
    """One delay a channel, whole samples that are not trained: y_i[t] = x_i[t - m_i].

    Args:
        samples: m ≥ 0, one a channel.

    Raises:
        ValueError: a length is negative or not whole.
    """

    def __init__(self, samples: Sequence[int] | np.ndarray) -> None:
        lengths = np.atleast_1d(np.asarray(samples))
        whole = np.floor(lengths) if np.issubdtype(lengths.dtype, np.floating) else lengths
        if lengths.ndim != 1 or not (whole == lengths).all() or (lengths < 0).any():
            raise ValueError(
                f"`samples` (={samples}) must be whole numbers of samples, at least 0, one a "
                "channel; for others use FractionalDelay."
            )
        self.samples = tuple(int(m) for m in lengths)
        self.inputs = self.outputs = len(self.samples)

    def __call__(self, x: Float[Array, "time n"]) -> Float[Array, "time n"]:
        """Delays each channel."""
        return primitives.delay(x, self.samples)


class FractionalDelay(Module):
    """One delay a channel, any number of samples: trained, where bounds are given, or fixed.

    As `adac_jax.fractional_delay`. The gradient is that of the interpolator: it can move a delay
    by many samples only in small steps.

    Args:
        samples: d, one a channel; at least 0 with "lagrange" and order - 1/2 with "thiran".
        order: Of the interpolator.
        method: "lagrange" or "thiran".
        minimum: Least whole part of a trained delay.
        maximum: Largest; the memory that is kept. None: the delays are fixed.

    Raises:
        ValueError: an argument is out of range.
    """

    def __init__(
        self,
        samples: ArrayLike,
        *,
        order: int = 3,
        method: str = "lagrange",
        minimum: int = 0,
        maximum: int | None = None,
    ) -> None:
        lengths = np.atleast_1d(np.asarray(samples, np.float64))
        if lengths.ndim != 1:
            raise ValueError(f"`samples` has the shape {lengths.shape} but must be (channels,).")
        self.inputs = self.outputs = len(lengths)
        self.order, self.method = order, method
        self.minimum, self.maximum = minimum, maximum
        split_delay(lengths, lengths.shape, order, method, minimum, maximum)
        if maximum is None:
            self.samples = tuple(float(d) for d in lengths)
        else:
            self.samples = parameter("samples", lengths, lengths.shape)

    def __call__(self, x: Float[Array, "time n"]) -> Float[Array, "time n"]:
        """Delays each channel."""
        options = {"order": self.order, "method": self.method}
        if isinstance(self.samples, nnx.Param):
            return primitives.fractional_delay(
                x, self.samples[...], minimum=self.minimum, maximum=self.maximum, **options
            )
        return primitives.fractional_delay(x, np.array(self.samples), **options)


def mutually_prime_delays(lines: int, shortest: int, longest: int) -> tuple[int, ...]:
    """Distinct primes near a geometric series, in samples; the same at each call.

    No two delays share a factor, so that echoes of different lines coincide as late as can be:
    Schroeder, "Natural sounding artificial reverberation", JAES 10(3), 1962.

    Args:
        lines: How many.
        shortest: All are at least this long.
        longest: And at most this long.

    Raises:
        ValueError: the range holds fewer primes than lines.
    """
    sieve = np.ones(max(2, longest + 1), bool)
    sieve[:2] = False
    for k in range(2, int(longest**0.5) + 1):
        sieve[k * k :: k] = False
    primes = [int(p) for p in np.flatnonzero(sieve) if p >= shortest]
    if lines < 1 or len(primes) < lines:
        raise ValueError(
            f"`lines` (={lines}) must be at least 1 and at most {len(primes)}, the primes from "
            f"`shortest` (={shortest}) to `longest` (={longest})."
        )
    chosen = []
    for wanted in np.geomspace(primes[0], primes[-1], lines):
        nearest = min(primes, key=lambda p: abs(p - wanted))
        chosen.append(nearest)
        primes.remove(nearest)
    return tuple(sorted(chosen))
