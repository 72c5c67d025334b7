"""Filters: finite and infinite impulse responses, as scipy.signal defines them."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike
from jaxtyping import Float

from adac_jax import kernels
from adac_jax.primitives.composite import (
    batch_signal_and_coefficients,
    composite,
    normal_axis,
    time_back,
    time_last,
)
from adac_jax.primitives.moving import moving_lfilter, moving_sosfilt


def _over_channels(coefficients: Array, own: int, x: Array) -> Array:
    """Coefficients with all of x's channel axes; x has time last."""
    missing = x.ndim - 1 - (coefficients.ndim - own)
    shape = (*coefficients.shape[:own], *(1,) * missing, *coefficients.shape[own:])
    full = (*coefficients.shape[:own], *x.shape[:-1])
    return jnp.broadcast_to(coefficients.reshape(shape), full)


def _fir(x: Array, taps: Array, *, axis: int, reverse: bool) -> Array:
    x = time_last(x, axis, reverse)
    past = jnp.zeros((*x.shape[:-1], len(taps) - 1), x.dtype)
    h = jnp.moveaxis(_over_channels(taps, 1, x), 0, -1)
    return time_back(kernels.fir(past, x, h)[1], axis, reverse)


def _lfilter(x: Array, b: Array, a: Array, zi: Array, *, axis: int, reverse: bool) -> list[Array]:
    x = time_last(x, axis, reverse)
    b, a, state = (_over_channels(c, 1, x) for c in (b, a, zi))
    prepared = kernels.prepare_iir(b, a, x.shape[-1])
    after, y = kernels.filter_block(kernels.enter(state), x, prepared)
    return [time_back(y, axis, reverse), kernels.leave(after)]


def _sosfilt(x: Array, sos: Array, zi: Array, *, axis: int, reverse: bool) -> list[Array]:
    x = time_last(x, axis, reverse)
    sos, state = _over_channels(sos, 2, x), _over_channels(zi, 2, x)
    prepared = kernels.prepare_sos(sos, x.shape[-1])
    after, y = kernels.filter_block(kernels.enter_sections(state), x, prepared)
    return [time_back(y, axis, reverse), kernels.leave_sections(after)]


fir_p = composite("fir", _fir, batch_signal_and_coefficients((1,)), linear=(0,))
lfilter_p = composite(
    "lfilter",
    _lfilter,
    batch_signal_and_coefficients((1, 1, 1)),
    linear=(0, 3),
    multiple=True,
    batched_at=(0, 1),
)
sosfilt_p = composite(
    "sosfilt",
    _sosfilt,
    batch_signal_and_coefficients((2, 2)),
    linear=(0, 2),
    multiple=True,
    batched_at=(0, 2),
)


def fir(
    x: Float[Array, "*batch time channels"], taps: ArrayLike, *, axis: int = -2
) -> Float[Array, "*batch time channels"]:
    """Causal convolution: y_i[t] = sum_k taps[k, i] x_i[t - k].

    Args:
        x: Audio.
        taps: (count,) for all channels, (count, *channels), or (count, *axes of x): then they are
            signals, taps[k, t, i] at sample t, of which each costs a product of signals.
        axis: The time axis.

    Raises:
        ValueError: the shapes do not fit.
    """
    axis = normal_axis("fir", x, axis)
    if np.ndim(taps) == x.ndim + 1:
        moving = _moving("taps", taps, 1, x, axis, None)
        return moving_lfilter(moving, jnp.ones((1,), x.dtype), x, axis)
    h = _coefficients("taps", taps, 1, x, axis)
    return fir_p.bind(x, h, axis=axis, reverse=False)


def lfilter(
    b: ArrayLike,
    a: ArrayLike,
    x: Float[Array, "*batch time channels"],
    zi: ArrayLike | None = None,
    *,
    axis: int = -2,
):
    """A recursive filter, as `scipy.signal.lfilter` defines it, per channel and differentiable.

    a_0 y[t] = sum_k b_k x[t - k] - sum_{k ≥ 1} a_k y[t - k].

    Coefficients with one axis more than x are signals: a_0[t], b_k[t] and a_k[t] at sample t.

    Args:
        b: Numerator, (count,) for all channels, (count, *channels), or (count, *axes of x).
        a: Denominator, likewise.
        x: Audio.
        zi: State before the first sample, (order, *channels) with order = max(count) - 1, that of
            the transposed direct form II. Zero if None; not for coefficients that are signals.
        axis: The time axis.

    Returns:
        y, or (y, zf) where `zi` is given.

    Raises:
        ValueError: the shapes do not fit.
    """
    axis = normal_axis("lfilter", x, axis)
    if x.ndim + 1 in (np.ndim(b), np.ndim(a)):
        B, A = (_moving(n, c, 1, x, axis, zi) for n, c in (("b", b), ("a", a)))
        return moving_lfilter(B, A, x, axis)
    B, A = (_coefficients(n, c, 1, x, axis) for n, c in (("b", b), ("a", a)))
    count = max(len(B), len(A))
    B, A = _pad(B, count), _pad(A, count)
    channels = x.shape[:axis] + x.shape[axis + 1 :]
    state = jnp.zeros((count - 1,), x.dtype)
    if zi is not None:
        state = jnp.asarray(zi, x.dtype)
        _check_state(state, (count - 1,), channels)
    y, zf = lfilter_p.bind(x, B, A, state, axis=axis, reverse=False)
    return y if zi is None else (y, zf)


def sosfilt(
    sos: ArrayLike,
    x: Float[Array, "*batch time channels"],
    zi: ArrayLike | None = None,
    *,
    axis: int = -2,
):
    """A cascade of second-order sections, as `scipy.signal.sosfilt` defines it.

    Each section (b0, b1, b2, a0, a1, a2) is
    a0 y[t] = b0 x[t] + b1 x[t-1] + b2 x[t-2] - a1 y[t-1] - a2 y[t-2].

    Coefficients with two axes more than x are signals, as for `lfilter`.

    Args:
        sos: (sections, 6) for all channels, (sections, 6, *channels), or (sections, 6, *axes of x).
        x: Audio.
        zi: State before the first sample, (sections, 2, *channels). Zero if None; not for
            coefficients that are signals.
        axis: The time axis.

    Returns:
        y, or (y, zf) where `zi` is given.

    Raises:
        ValueError: the shapes do not fit.
    """
    axis = normal_axis("sosfilt", x, axis)
    if np.ndim(sos) == x.ndim + 2:
        return moving_sosfilt(_moving("sos", sos, 2, x, axis, zi), x, axis)
    sections = _coefficients("sos", sos, 2, x, axis)
    if sections.shape[1] != 6:
        raise ValueError(
            f"`sos` has the shape {sections.shape} but must be (sections, 6, *channels)."
        )
    channels = x.shape[:axis] + x.shape[axis + 1 :]
    state = jnp.zeros((len(sections), 2), x.dtype)
    if zi is not None:
        state = jnp.asarray(zi, x.dtype)
        _check_state(state, (len(sections), 2), channels)
    y, zf = sosfilt_p.bind(x, sections, state, axis=axis, reverse=False)
    return y if zi is None else (y, zf)


def _coefficients(name: str, value: ArrayLike, own: int, x: Array, axis: int) -> Array:
    array = jnp.asarray(value, x.dtype)
    channels = x.shape[:axis] + x.shape[axis + 1 :]
    count = array.ndim - own
    fits = 0 <= count <= len(channels) and array.shape[0] > 0
    tail = channels[len(channels) - max(0, count) :]
    fits = fits and all(n in (1, m) for n, m in zip(array.shape[own:], tail, strict=False))
    if not fits:
        raise ValueError(
            f"`{name}` of shape {array.shape} does not fit the channels {channels} of `x`."
        )
    return array


def _moving(
    name: str, value: ArrayLike, own: int, x: Array, axis: int, zi: ArrayLike | None
) -> Array:
    """Coefficients of which some are signals."""
    if zi is not None:
        raise ValueError(f"`zi` is for constant coefficients, but `{name}` changes over time.")
    array = jnp.asarray(value, x.dtype)
    if array.ndim != x.ndim + own:
        return _coefficients(name, value, own, x, axis)
    fits = len(array) > 0 and (own == 1 or array.shape[1] == 6)
    fits = fits and array.shape[own + axis] == x.shape[axis]
    if not fits or any(n not in (1, m) for n, m in zip(array.shape[own:], x.shape, strict=True)):
        raise ValueError(f"`{name}` of shape {array.shape} does not fit `x` of shape {x.shape}.")
    return array


def _pad(c: Array, count: int) -> Array:
    return jnp.pad(c, [(0, count - len(c))] + [(0, 0)] * (c.ndim - 1))


def _check_state(state: Array, own: tuple[int, ...], channels: tuple[int, ...]) -> None:
    if state.shape != own + channels:
        raise ValueError(f"`zi` has the shape {state.shape} but must be {own + channels}.")
