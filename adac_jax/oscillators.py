"""Signals that are made: phases, oscillators, noise and wavetables.

All are plain JAX: they train, they export, and FAUST computes them alike. What counts, counts in
32-bit integers, which wrap: a phase that is carried for hours drifts by nothing.
"""

from __future__ import annotations

from functools import partial
from typing import Any, Literal, get_args

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike
from jaxtyping import Float, Shaped

Wave = Literal["sine", "triangle"]
TURN = 2.0**32
"""Steps of a turn."""
HIGHEST = 0.499
"""Frequencies lie within this many turns a sample."""
MULTIPLIER, INCREMENT = 1103515245, 12345
APART = 2654435769
"""Steps between channels: 2^32 over the golden ratio, and odd. Half the cycle on, for instance, the
generator gives the same numbers with another first bit."""
"""Of the linear congruential generator of the C standard's example and of FAUST's `no.noise`."""


def phasor(
    frequency: ArrayLike,
    like: Shaped[Array, "*batch time channels"],
    *,
    sample_rate: float,
    start: ArrayLike = 0.0,
    axis: int = -2,
) -> Float[Array, "*batch time channels"]:
    """A phase that runs at a frequency, in turns.

    φ[t] = start + Σ_{τ < t} round(2^32 f[τ] / fs) / 2^32, modulo 1 and within -1/2 to 1/2. The sum
    is one of integers, so there is no drift; the frequency is rounded to fs / 2^32, 1e-5 Hz. The
    gradient with respect to f is that of the sum without rounding and wrapping.

    Args:
        frequency: f in Hz, within ±0.499 fs; broadcast to `like`: a number, one a channel, or a
            signal.
        like: An array whose shape and type the phase gets.
        sample_rate: fs in Hz.
        start: φ[0] in turns: a number, or one a channel.
        axis: The time axis of `like`.
    """
    return _phase(*_arguments(frequency, like, sample_rate, start, axis))


def _arguments(
    frequency: ArrayLike, like: Array, sample_rate: float, start: ArrayLike, axis: int
) -> tuple[Array, Array, int, int]:
    """Turns a sample, of one sample if they do not move; the start; samples; and the axis."""
    turns = jnp.asarray(frequency, like.dtype) / jnp.asarray(sample_rate, like.dtype)
    place = axis % like.ndim
    begin = jnp.broadcast_to(jnp.asarray(start, like.dtype), _channels(like, axis))
    turns = jnp.clip(turns, -HIGHEST, HIGHEST)
    moves = turns.ndim == like.ndim and turns.shape[place] == like.shape[place]
    shape = like.shape if moves else _channels(like, axis)
    if turns.ndim == like.ndim and not moves:
        turns = jnp.squeeze(turns, place)
    full = jnp.broadcast_to(turns, shape)
    full = full if moves else jnp.expand_dims(full, place)
    return full, jnp.expand_dims(begin, place), like.shape[place], place


def _channels(like: Array, axis: int) -> tuple[int, ...]:
    place = axis % like.ndim
    return like.shape[:place] + like.shape[place + 1 :]


@partial(jax.custom_jvp, nondiff_argnums=(2, 3))
def _phase(turns: Array, start: Array, length: int, axis: int) -> Array:
    return _in_turns(_count(turns, start, length, axis), turns.dtype)


@_phase.defjvp
def _phase_jvp(
    length: int, axis: int, primals: tuple[Array, Array], tangents: tuple[Array, Array]
) -> tuple[Array, Array]:
    moved, begun = tangents
    return _phase(*primals, length, axis), _earlier(moved, length, axis) + begun


@partial(jax.custom_jvp, nondiff_argnums=(2, 3))
def _folded(turns: Array, start: Array, length: int, axis: int) -> Array:
    """The angle within ±1/4 turn that has the same sine."""
    count = _count(turns, start, length, axis)
    return _in_turns(jnp.where(_beyond(count), -(2**31) - count, count), turns.dtype)


@_folded.defjvp
def _folded_jvp(
    length: int, axis: int, primals: tuple[Array, Array], tangents: tuple[Array, Array]
) -> tuple[Array, Array]:
    moved, begun = tangents
    change = _earlier(moved, length, axis) + begun
    back = _beyond(_count(*primals, length, axis))
    return _folded(*primals, length, axis), jnp.where(back, -change, change)


def _beyond(count: Array) -> Array:
    return (count > 2**30) | (count < -(2**30))


def _count(turns: Array, start: Array, length: int, axis: int) -> Array:
    """The phase in whole steps, which wrap."""
    return _earlier(_steps(turns), length, axis) + _steps(start - jnp.floor(start + 0.5))


def _in_turns(count: Array, dtype: Any) -> Array:
    return count.astype(dtype) * jnp.asarray(1 / TURN, dtype)


def _earlier(steps: Array, length: int, axis: int) -> Array:
    """Σ_{τ < t} of steps, which do not move if there is but one."""
    if steps.shape[axis] == length:
        return jnp.cumsum(steps, axis=axis, dtype=steps.dtype) - steps
    count = jnp.arange(length, dtype=steps.dtype)
    return steps * count.reshape(-1, *(1,) * (steps.ndim - axis - 1))


def _steps(turns: Array) -> Array:
    """Turns, within ±1/2, in whole steps; the largest number that fits in place of 2^31."""
    steps = jnp.round(turns * jnp.asarray(TURN, turns.dtype))
    most = 2.0**31 - 1 if steps.dtype == jnp.float64 else 2.0**31 - 128
    return jnp.minimum(steps, jnp.asarray(most, steps.dtype)).astype(jnp.int32)


def oscillator(
    frequency: ArrayLike,
    like: Shaped[Array, "*batch time channels"],
    *,
    sample_rate: float,
    wave: Wave = "sine",
    start: ArrayLike = 0.0,
    axis: int = -2,
) -> Float[Array, "*batch time channels"]:
    """A low-frequency or audible oscillation, as exact as single precision holds it.

    sin(2π φ) or a triangle, for the φ of `phasor`. The phase is folded to a quarter turn while it
    is an integer, where it is exact: the result is within 2^-24 of what it should be, where
    `sine(phasor(…))` is within 2^-22.

    Args:
        frequency: As for `phasor`.
        like: As for `phasor`.
        sample_rate: fs in Hz.
        wave: "sine", or "triangle", which is in phase with it and has peaks of ±1.
        start: As for `phasor`.
        axis: As for `phasor`.

    Raises:
        ValueError: there is no such wave.
    """
    if wave not in get_args(Wave):
        raise ValueError(f"`wave` (={wave!r}) must be one of {', '.join(get_args(Wave))}.")
    folded = _folded(*_arguments(frequency, like, sample_rate, start, axis))
    return sine(folded) if wave == "sine" else 4 * folded


def sine(phase: Float[Array, ...]) -> Float[Array, ...]:
    """sin(2π φ), for φ in turns."""
    return jnp.sin(jnp.asarray(2 * jnp.pi, phase.dtype) * phase)


def triangle(phase: Float[Array, ...]) -> Float[Array, ...]:
    """A triangle in phase with `sine`: 4 φ for |φ| ≤ 1/4, with its peaks of ±1 at φ = ±1/4."""
    wrapped = phase - jnp.round(phase)
    rest = jnp.asarray(0.5, phase.dtype) - jnp.abs(wrapped)
    return 4 * jnp.sign(wrapped) * jnp.minimum(jnp.abs(wrapped), rest)


def noise(
    like: Shaped[Array, "*batch time channels"], *, seed: int = 0, axis: int = -2
) -> Float[Array, "*batch time channels"]:
    """White noise, uniform in -1 to 1, which JAX and FAUST compute bit for bit alike.

    s[t] = 1103515245 s[t-1] + 12345 modulo 2^32, y[t] = floor(s[t] / 2^8) / 2^23 for s in
    -2^31 to 2^31 - 1. The 24 bits that are heard fit single precision. Channels read the one cycle
    of 2^32 numbers at places far apart.

    Args:
        like: An array whose shape and type the noise gets.
        seed: Any whole number; others give the same cycle from elsewhere.
        axis: The time axis of `like`.
    """
    channels = _channels(like, axis)
    count = int(np.prod(channels))
    begins = np.array([_state(seed, k * APART % 2**32) for k in range(count)], np.int32)

    def step(state: Array, _: None) -> tuple[Array, Array]:
        state = MULTIPLIER * state + INCREMENT
        return state, state

    begin = jnp.asarray(begins.reshape(channels))
    found = jax.lax.scan(step, begin, length=like.shape[axis])[1]
    state = jnp.moveaxis(found, 0, axis % like.ndim)
    return (state >> 8).astype(like.dtype) * jnp.asarray(2.0**-23, like.dtype)


def _state(seed: int, steps: int) -> int:
    """The generator's state, as a signed number, so many steps after `seed`."""
    a, c, A, C = MULTIPLIER, INCREMENT, 1, 0
    while steps:
        if steps & 1:
            A, C = A * a % 2**32, (C * a + c) % 2**32
        a, c, steps = a * a % 2**32, (a * c + c) % 2**32, steps >> 1
    state = (A * seed + C) % 2**32
    return state - 2**32 * (state >= 2**31)


def wavetable(
    table: Float[Array, " entries"], phase: Float[Array, "*batch time channels"]
) -> Float[Array, "*batch time channels"]:
    """One period of a wave, read at a phase with linear interpolation.

    y = (1 - μ) w[k] + μ w[k + 1 mod N], k + μ = N (φ mod 1). Differentiable in w and in φ.

    Args:
        table: w, N numbers.
        phase: φ in turns.

    Raises:
        ValueError: the table is empty or has more than one axis.
    """
    wave = jnp.asarray(table, phase.dtype)
    if wave.ndim != 1 or not wave.size:
        raise ValueError(f"`table` of shape {wave.shape} must be a row of numbers.")
    place = (phase - jnp.floor(phase)) * len(wave)
    whole = jax.lax.stop_gradient(jnp.floor(place))
    k = jnp.clip(whole.astype(jnp.int32), 0, len(wave) - 1)
    mu = place - whole
    following = jnp.concatenate([wave[1:], wave[:1]])
    return (1 - mu) * wave[k] + mu * following[k]


__all__ = ["noise", "oscillator", "phasor", "sine", "triangle", "wavetable"]
