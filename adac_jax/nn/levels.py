"""Trainable gains in dB: free, or what delay lines need for a common decay.

Filters take each of these alike: a module that, called, gives decibels of shape (…, *channels).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax import Array
from jax.typing import ArrayLike

from adac_jax.designs import attenuation_db
from adac_jax.nn.parameters import Positive, initial, param, positive_rate

GAIN_LIMIT = 80.0
"""Gains in dB of recursive sections are clipped to ± this: float32 can hold no stronger ones."""
T60_RANGE = (1e-3, 1e3)
"""Of T60, in seconds."""

Train = Literal["gain", "t60", "rate"]
"""What is trained: the gains of each line, or a T60 or decay rate from which they follow."""


class Level(nnx.Module):
    """A gain in dB."""

    def __call__(self) -> Array:
        """The gain in dB, (…, *channels)."""
        raise NotImplementedError(f"{type(self).__name__} does not say what its gain is.")

    def limited(self) -> Array:
        """The gain in dB, clipped to ± `GAIN_LIMIT`."""
        return jnp.clip(self(), -GAIN_LIMIT, GAIN_LIMIT)

    def amplitude(self) -> Array:
        """The gain as a factor, 10^(dB/20), with the dB clipped."""
        return 10 ** (self.limited() / 20)


class Decibels(Level):
    """A free gain: the parameter `db` is the gain in dB.

    Raises:
        ValueError: the value does not fit the shape or is not finite.
    """

    def __init__(self, name: str, value: ArrayLike, shape: tuple[int, ...]) -> None:
        self.db = param(initial(name, value, shape))

    @classmethod
    def of_factor(cls, name: str, value: ArrayLike, shape: tuple[int, ...]) -> Decibels:
        """From a linear gain.

        Raises:
            ValueError: as above, or the gain is not positive.
        """
        factor = initial(name, value, shape)
        if not (factor > 0).all():
            raise ValueError(f"`{name}` (={factor.tolist()}) must be a positive factor.")
        return cls(name, 20 * np.log10(factor), shape)

    def __call__(self) -> Array:
        """The gain in dB."""
        return self.db[...]


@dataclass(frozen=True)
class Lines:
    """Delay lines, in groups that share parameters.

    Attributes:
        delays: m_i of each line, in samples.
        sample_rate: fs in Hz.
        groups: The group of each line, 0, 1, …; None: all lines share a parameter of one channel,
            and each has its own in a parameter of as many channels as lines.
    """

    delays: tuple[int, ...]
    sample_rate: float
    groups: tuple[int, ...] | None

    @classmethod
    def of(
        cls, delays: Sequence[int], sample_rate: float, groups: Sequence[int] | None = None
    ) -> Lines:
        """From any sequences.

        Raises:
            ValueError: there are no lines, a delay is negative, or the groups do not fit.
        """
        lengths = tuple(int(m) for m in delays)
        if not lengths or min(lengths) < 0:
            raise ValueError(f"`delays` (={lengths}) must be one or more lengths of 0 or more.")
        named = None if groups is None else tuple(int(k) for k in groups)
        if named is not None and (len(named) != len(lengths) or min(named) < 0):
            raise ValueError(
                f"`groups` (={named}) must name a group, 0, 1, …, for each of the "
                f"{len(lengths)} lines."
            )
        return cls(lengths, positive_rate(sample_rate), named)

    def widths(self) -> tuple[int, ...]:
        """How many channels a parameter of these lines may have."""
        return (1, len(self.delays)) if self.groups is None else (max(self.groups) + 1,)

    def check(self, name: str, value: np.ndarray) -> None:
        """Refuses a parameter whose last axis is no number of groups."""
        if value.shape[-1] not in self.widths():
            raise ValueError(
                f"`{name}` of shape {value.shape} must have {' or '.join(map(str, self.widths()))} "
                "entries along its last axis."
            )

    def spread(self, value: Array) -> Array:
        """(…, groups) → (…, lines)."""
        if self.groups is not None:
            return value[..., np.array(self.groups)]
        return jnp.broadcast_to(value, (*value.shape[:-1], len(self.delays)))

    def ceiling(self) -> np.ndarray:
        """The gain in dB that gives each line the longest T60 there is, (lines,)."""
        return attenuation_db(T60_RANGE[1], np.array(self.delays, np.float64), self.sample_rate)

    def of_dtype(self, value: Array) -> Array:
        """The delays m_i in a value's type."""
        return jnp.asarray(np.array(self.delays, np.float64), value.dtype)


class ReverberationTime(Level):
    """The gain that gives delay lines a reverberation time: -60 m_i / (fs T60) dB.

    T60 is a `Positive` between 1 ms and 1000 s, so every line loses energy, whatever the raw
    parameter is.
    """

    def __init__(self, name: str, t60: np.ndarray, lines: Lines) -> None:
        lines.check(name, t60)
        self.lines = lines
        self.t60 = Positive(name, t60, t60.shape, T60_RANGE)

    def __call__(self) -> Array:
        """The gain in dB."""
        t60 = self.lines.spread(self.t60())
        return attenuation_db(t60, self.lines.of_dtype(t60), self.lines.sample_rate)


class DecayRate(Level):
    """A gain proportional to a line's length: r m_i / fs dB.

    The parameter `rate` is r in dB per second: any real number, for the filters of an equaliser,
    of which some amplify. A decay with T60 has the rate -60 / T60.
    """

    def __init__(self, name: str, rate: np.ndarray, lines: Lines) -> None:
        lines.check(name, rate)
        self.lines = lines
        self.rate = param(rate)

    def __call__(self) -> Array:
        """The gain in dB."""
        rate = self.lines.spread(self.rate[...])
        return rate * self.lines.of_dtype(rate) / self.lines.sample_rate


def reverberation_times(name: str, t60: ArrayLike, leading: tuple[int, ...]) -> np.ndarray:
    """T60s in seconds as (*leading, groups or lines); without the last axis, one for all lines.

    Raises:
        ValueError: the shape does not fit, or a T60 is out of its range.
    """
    value = np.asarray(t60, np.float64)
    if value.ndim == len(leading):
        value = value[..., None]
    value = initial(name, value, (*leading, value.shape[-1]))
    low, high = T60_RANGE
    if not ((value > low) & (value < high)).all():
        raise ValueError(f"`{name}` (={value.tolist()}) must lie in ({low:g}, {high:g}) seconds.")
    return value


def decay_level(name: str, t60: np.ndarray, lines: Lines, train: Train) -> Level:
    """The level of a decay.

    Args:
        name: For error messages.
        t60: As `reverberation_times` gives them.
        lines: The delay lines.
        train: What is the parameter.

    Raises:
        ValueError: `train` is none of these, or the shape does not fit the lines.
    """
    if train not in get_args(Train):
        raise ValueError(f"`train` (={train!r}) must be one of {', '.join(get_args(Train))}.")
    if train == "t60":
        return ReverberationTime(name, t60, lines)
    return rate_level(name, -60 / t60, lines, train)


def rate_level(name: str, rate: np.ndarray, lines: Lines, train: Train) -> Level:
    """The level of a rate in dB per second, which is trained itself or as each line's gain.

    Raises:
        ValueError: the shape does not fit the lines.
    """
    level = DecayRate(name, rate, lines)
    if train == "rate":
        return level
    full = rate[..., np.array(lines.groups)] if lines.groups is not None else rate
    db = full * np.array(lines.delays, np.float64) / lines.sample_rate
    return Decibels(name, db, db.shape)
