"""Trained quantities at another rate: gains in dB, reverberation times, frequencies."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from adac_jax.nn.levels import T60_RANGE, DecayRate, Decibels, Level, Lines, ReverberationTime
from adac_jax.nn.parameters import FREQUENCY_MARGIN, Frequency, Positive
from adac_jax.rates.change import Change, rule, unchanged
from adac_jax.rates.lengths import rounded

INSIDE = 0.95
"""A frequency that the new rate does not have is put at this share of fs/2."""

rule(Positive)(unchanged)


def exact(module: Any) -> Any:
    """The module with its parameters in float64; to be called under `jax.enable_x64(True)`."""

    def widened(value: Any) -> Any:
        return (
            jnp.asarray(value, jnp.float64) if jnp.issubdtype(value.dtype, jnp.floating) else value
        )

    graph, state = nnx.split(module)
    return nnx.merge(graph, jax.tree.map(widened, state))


def evaluated(module: Any, method: str = "__call__") -> np.ndarray:
    """What a parameter module, called, or its method gives, in float64."""
    with jax.enable_x64(True):
        return np.asarray(getattr(exact(module), method)(), np.float64)


def put(parameter: Any, value: np.ndarray) -> nnx.Param:
    """A parameter of the old one's type with another value, which may have another shape."""
    return nnx.Param(jnp.asarray(value, parameter[...].dtype))


def lines_at(lines: Lines, change: Change) -> Lines:
    """The delay lines at the new rate; in a network, as that has chosen them."""
    if change.stretch is None or len(change.stretch) != len(lines.delays):
        return Lines(rounded(lines.delays, change), change.new, lines.groups)
    full = np.array(lines.delays) * change.ratio * change.stretch
    return Lines(tuple(round(m) for m in full), change.new, lines.groups)


def stretch_of(module: Any, change: Change) -> np.ndarray | None:
    """What rounding makes of the durations of a filter's lines: see `Change.stretch`."""
    lines = getattr(module, "lines", None)
    if change.stretch is not None or lines is None:
        return change.stretch
    new = lines_at(lines, change)
    old = np.maximum(1, np.array(lines.delays, np.float64))
    return np.array(new.delays) / (old * change.ratio)


def assign(level: Level, db: np.ndarray) -> None:
    """Gives a level, in place, the value in dB that it shall have in each line, (…, lines).

    Where lines share a parameter, it gets the mean of the rates of decay that they ask for.
    """
    if isinstance(level, Decibels):
        level.db = put(level.db, db)
    elif isinstance(level, DecayRate):
        level.rate = put(level.rate, _shared(level.lines, db, level.rate[...].shape[-1]))
    elif isinstance(level, ReverberationTime):
        rate = _shared(level.lines, db, level.t60.raw[...].shape[-1])
        low, high = (np.array(T60_RANGE) * (1.001, 0.999)).tolist()
        times = np.clip(-60 / np.minimum(rate, -60 / high), low, high)
        if times.shape != level.t60.raw[...].shape:
            level.t60.raw = put(level.t60.raw, np.zeros_like(times))
        level.t60.set(times)
    else:
        raise TypeError(f"{type(level).__name__} is no level that can be given a value.")


def _shared(lines: Lines, db: np.ndarray, width: int) -> np.ndarray:
    """Rates in dB per second of each parameter, (…, width), from dB of each line."""
    each = db * lines.sample_rate / np.array(lines.delays, np.float64)
    if lines.groups is not None:
        members = [np.array(lines.groups) == k for k in range(width)]
        return np.stack([each[..., own].mean(axis=-1) for own in members], axis=-1)
    return each if width == len(lines.delays) else each.mean(axis=-1, keepdims=True)


@rule(Decibels)
def _decibels(level: Decibels, change: Change) -> Decibels:
    if change.stretch is not None and level.db[...].shape[-1:] == change.stretch.shape:
        level.db = put(level.db, np.asarray(level.db[...], np.float64) * change.stretch)
    return level


@rule(ReverberationTime, DecayRate)
def _decay(level: ReverberationTime | DecayRate, change: Change) -> Level:
    level.lines = lines_at(level.lines, change)
    return level


@rule(Frequency)
def _frequency(frequency: Frequency, change: Change) -> Frequency:
    hertz = evaluated(frequency, "hertz")
    frequency.sample_rate = change.new
    frequency.low = float(np.tan(np.pi * FREQUENCY_MARGIN / change.new))
    frequency.high = 1 / frequency.low
    top = INSIDE * change.new / 2
    if (hertz > top).any() and change.new < change.old:
        change.note(frequency, f"{hertz.max():.0f} Hz is beyond the rate and becomes {top:.0f} Hz")
        hertz = np.minimum(hertz, top)
    inside = FREQUENCY_MARGIN * (1 + 1e-6)
    frequency.set(np.clip(hertz, inside, change.new / 2 - inside))
    return frequency
