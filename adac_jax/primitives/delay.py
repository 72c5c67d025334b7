"""Delays by whole samples."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike
from jaxtyping import Float, Shaped

from adac_jax import kernels
from adac_jax._compat import is_tracer
from adac_jax.primitives.composite import (
    batch_signal_and_coefficients,
    batch_size,
    composite,
    front,
    normal_axis,
    time_back,
    time_last,
)
from ir.ops import MAX_DELAY


def expand_samples(samples: tuple[int, ...], channels: tuple[int, ...]) -> tuple[int, ...]:
    """One length a channel: the lengths cover the last channel axes and repeat over the others."""
    count = int(np.prod(channels))
    return samples * (count // max(1, len(samples)))


def _delay(x: Array, *initial: Array, samples: tuple[int, ...], axis: int, reverse: bool) -> Array:
    x = time_last(x, axis, reverse)
    lengths = expand_samples(samples, x.shape[:-1])
    history = max(lengths, default=0)
    past = jnp.zeros((*x.shape[:-1], history), x.dtype)
    y = kernels.delay(past, x, lengths)[1]
    if initial:
        m = jnp.array(lengths).reshape(*x.shape[:-1], 1)
        start = jnp.broadcast_to(time_last(initial[0], axis), past.shape)[..., : y.shape[-1]]
        count = start.shape[-1]
        y = y.at[..., :count].add(jnp.where(jnp.arange(count) < m, start, 0).astype(y.dtype))
    return time_back(y, axis, reverse)


def _batch(
    operands: Sequence[Array], axes: Sequence[int | None], parameters: dict[str, Any]
) -> tuple[list[Array], dict[str, Any]]:
    size = batch_size(operands, axes)
    full = [front(o, a, size) for o, a in zip(operands, axes, strict=True)]
    return full, {**parameters, "axis": parameters["axis"] + 1}


delay_p = composite("delay", _delay, _batch, linear=(0, 1))


def delay(
    x: Shaped[Array, "*batch time channels"],
    samples: int | Sequence[int] | np.ndarray,
    *,
    initial: ArrayLike | None = None,
    axis: int = -2,
) -> Shaped[Array, "*batch time channels"]:
    """Delays each channel by a whole number of samples.

    y_i[t] = x_i[t - m_i], and before the first sample x is zero (or `initial`):
    y_i[t] = initial_i[t] for t < m_i.

    Args:
        x: Audio.
        samples: m ≥ 0; one for all, or one a channel (it goes with the axes after the time axis,
            as NumPy broadcasts).
        initial: What comes out before the first sample of x has arrived, of x's shape but with
            max(m) samples along time; zero by default.
        axis: The time axis.

    Returns:
        Audio of the same shape.

    Raises:
        ValueError: a length is negative, not whole or too large, or the shapes do not fit.
    """
    axis = normal_axis("delay", x, axis)
    channels = x.shape[axis + 1 :]
    if any(map(is_tracer, jax.tree.leaves(samples))):
        raise ValueError(
            "`samples` of a delay must be constants, but are computed by JAX, from a parameter, a "
            "signal or a control; use variable_delay for whole samples or fractional_delay."
        )
    lengths = np.asarray(samples)
    if not np.issubdtype(lengths.dtype, np.integer):
        raise ValueError(
            f"`samples` (={samples}) must be whole numbers; for others use fractional_delay."
        )
    if lengths.size and (lengths.min() < 0 or lengths.max() > MAX_DELAY):
        raise ValueError(f"`samples` (={samples}) must lie in 0 to {MAX_DELAY}.")
    try:
        lengths = np.broadcast_to(lengths, channels)
    except ValueError:
        raise ValueError(
            f"`samples` of shape {lengths.shape} does not fit the channels {channels} of `x`."
        ) from None
    flat = tuple(int(m) for m in lengths.ravel())
    if initial is None:
        return delay_p.bind(x, samples=flat, axis=axis, reverse=False)
    start = jnp.asarray(initial, x.dtype)
    wanted = (*x.shape[:axis], max(flat, default=0), *channels)
    if start.shape != wanted:
        raise ValueError(f"`initial` has the shape {start.shape} but must be {wanted}.")
    return delay_p.bind(x, start, samples=flat, axis=axis, reverse=False)


def _variable_delay(
    x: Array, d: Array, *, minimum: int, maximum: int, axis: int, reverse: bool
) -> Array:
    lengths = time_last(d, axis, reverse) if moves((x, d)) else d[..., None]
    x = time_last(x, axis, reverse)
    past = jnp.zeros((*x.shape[:-1], maximum), x.dtype)
    y = kernels.variable_delay(past, x, lengths, minimum, maximum)[1]
    return time_back(y, axis, reverse)


def moves(operands: Sequence[Any]) -> bool:
    """Whether the lengths have the axes of the signal, time among them: else only those after."""
    x, d = operands
    return d.ndim == x.ndim


def _batch_lengths(
    operands: Sequence[Array], axes: Sequence[int | None], parameters: dict[str, Any]
) -> tuple[list[Array], dict[str, Any]]:
    ranks = [o.ndim - (a is not None) for o, a in zip(operands, axes, strict=True)]
    batch = _batch if ranks[0] == ranks[1] else batch_signal_and_coefficients((0,))
    return batch(operands, axes, parameters)


variable_delay_p = composite(
    "variable_delay", _variable_delay, _batch_lengths, linear=(0,), varies=moves
)


def variable_delay(
    x: Float[Array, "*batch time channels"],
    samples: ArrayLike,
    *,
    minimum: int = 0,
    maximum: int,
    axis: int = -2,
) -> Float[Array, "*batch time channels"]:
    """Delays each channel by a number of samples that is an array: computed, trained, or a signal.

    y_i[t] = x_i[t - clip(m_i, minimum, maximum)], or with m_i[t] in place of m_i.

    Args:
        x: Audio.
        samples: m, integers that go with the axes after the time axis; or, with as many axes as x,
            a length for each sample.
        minimum: Least length; in a loop it is what makes the loop causal.
        maximum: Largest length: the memory that is kept.
        axis: The time axis.

    Raises:
        ValueError: the range is empty or too large.
        TypeError: `samples` are not integers.
    """
    axis = normal_axis("variable_delay", x, axis)
    if not 0 <= minimum <= maximum <= MAX_DELAY:
        raise ValueError(
            f"`minimum` (={minimum}) and `maximum` (={maximum}) must be a range within "
            f"0 to {MAX_DELAY}."
        )
    d = jnp.asarray(samples)
    if not jnp.issubdtype(d.dtype, jnp.integer):
        raise TypeError(f"`samples` has the type {d.dtype} but must be integers.")
    d = spread_lengths(d, x, axis)
    bounds = {"minimum": minimum, "maximum": maximum}
    return variable_delay_p.bind(x, d, **bounds, axis=axis, reverse=False)


def spread_lengths(d: Array, x: Array, axis: int) -> Array:
    """Lengths for all channels of x; for all samples too, if they have as many axes as x.

    Raises:
        ValueError: the shapes do not fit.
    """
    shape = x.shape if d.ndim == x.ndim else x.shape[axis + 1 :]
    try:
        if d.ndim == x.ndim and d.shape[axis] != x.shape[axis]:
            raise ValueError
        return jnp.broadcast_to(d, shape)
    except ValueError:
        raise ValueError(
            f"`samples` of shape {d.shape} fits neither the channels {x.shape[axis + 1 :]} of `x` "
            f"nor its samples {x.shape}."
        ) from None


__all__ = ["delay", "delay_p", "moves", "spread_lengths", "variable_delay", "variable_delay_p"]
