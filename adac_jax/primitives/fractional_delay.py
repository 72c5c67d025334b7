"""Delays by fractions of a sample: Lagrange and Thiran interpolation."""

from __future__ import annotations

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jax.typing import ArrayLike
from jaxtyping import Float

from adac_jax.primitives.composite import batch_signal_and_coefficients, composite, normal_axis
from adac_jax.primitives.delay import delay_p, spread_lengths, variable_delay, variable_delay_p
from adac_jax.primitives.filters import fir_p, lfilter_p
from ir.ops import MAX_DELAY

MAX_ORDER = 32
"""Beyond this order binomial coefficients exceed what float32 holds exactly by far."""


def lagrange_taps(mu: Array, order: int) -> Array:
    """The FIR that delays by μ samples: h_k = prod_{j ≠ k} (μ - j) / (k - j), k = 0 … order.

    Exact for polynomials up to `order`, and a single 1 where μ is whole. Laakso, Välimäki,
    Karjalainen, Laine, "Splitting the unit delay", IEEE Signal Processing Magazine 13(1), 1996.

    Args:
        mu: Delays in samples, of any shape; best in the middle of 0 to `order`.
        order: One less than the number of taps.

    Returns:
        (order + 1, *shape of mu).
    """
    # Dividing factor by factor keeps whole delays exact: each factor is then 1 or one of them 0.
    return jnp.stack(
        [
            math.prod(((mu - j) / (k - j) for j in range(order + 1) if j != k), start=mu * 0 + 1)
            for k in range(order + 1)
        ]
    )


def thiran_denominator(mu: Array, order: int) -> Array:
    """The allpass z^-N A(1/z) / A(z) whose group delay is maximally flat, and μ at zero frequency.

    a_k = (-1)^k C(N, k) prod_{n=0}^{N} (μ - N + n) / (μ - N + k + n), a_0 = 1; stable for
    μ > N - 1. Thiran, "Recursive digital filters with maximally flat group delay", IEEE
    Transactions on Circuit Theory 18(6), 1971; Laakso et al. 1996.

    Args:
        mu: Delays in samples, of any shape; best within half a sample of `order`.
        order: N.

    Returns:
        (order + 1, *shape of mu).
    """
    offset = mu - order
    rows = [mu * 0 + 1]
    for k in range(1, order + 1):
        factors = ((offset + n) / (offset + (k + n)) for n in range(order + 1))
        rows.append(math.prod(factors, start=mu * 0 + (-1) ** k * math.comb(order, k)))
    return jnp.stack(rows)


def _base(method: str, order: int) -> float:
    """The least interpolated part: the whole part of a delay d is floor(d - base)."""
    return (order - 1) / 2 if method == "lagrange" else order - 0.5


def _range(method: str, order: int, minimum: int, maximum: int) -> tuple[float, float]:
    """The delays that whole parts from `minimum` to `maximum` can give."""
    if method == "lagrange":
        return minimum, maximum + order
    return minimum + order - 0.5, maximum + order + 0.5


def decompose(
    x: Array,
    d: Array,
    *,
    whole: tuple[int, ...] | None,
    order: int,
    method: str,
    minimum: int,
    maximum: int,
    axis: int,
    reverse: bool,
) -> Array:
    """What the primitive means: a delay by whole samples, then a short filter.

    Args:
        x: Audio.
        d: The delay; or where `whole` is given, what is left of it.
        whole: The whole parts if they are fixed; they are then not computed from d.
        order: The filter's.
        method: "lagrange" or "thiran".
        minimum: Least whole part that d may ask for.
        maximum: Largest.
        axis: The time axis.
        reverse: Whether time runs backwards.
    """
    if whole is None:
        d = jnp.clip(d, *_range(method, order, minimum, maximum))
        D = jnp.clip(jnp.floor(d - _base(method, order)), minimum, maximum).astype(jnp.int32)
        bounds = {"minimum": minimum, "maximum": maximum}
        x = variable_delay_p.bind(x, D, **bounds, axis=axis, reverse=reverse)
        d = d - D.astype(d.dtype)
    else:
        x = delay_p.bind(x, samples=whole, axis=axis, reverse=reverse)
    mu = d.astype(x.dtype)
    if method == "lagrange":
        return fir_p.bind(x, lagrange_taps(mu, order), axis=axis, reverse=reverse)
    a = thiran_denominator(mu, order)
    rest = jnp.zeros((order,), x.dtype)
    return lfilter_p.bind(x, a[::-1], a, rest, axis=axis, reverse=reverse)[0]


fractional_delay_p = composite(
    "fractional_delay", decompose, batch_signal_and_coefficients((0,)), linear=(0,)
)


def fractional_delay(
    x: Float[Array, "*batch time channels"],
    samples: ArrayLike,
    *,
    order: int = 3,
    method: str = "lagrange",
    minimum: int | None = None,
    maximum: int | None = None,
    offset: ArrayLike = 0,
    axis: int = -2,
) -> Float[Array, "*batch time channels"]:
    """Delays each channel by a number of samples that need not be whole.

    y_i = (interpolator of μ_i)(z^-D_i x_i) with d_i = D_i + μ_i. With "lagrange" the interpolator
    is an FIR and D = floor(d - (order - 1)/2); with "thiran" an allpass, and
    D = floor(d - (order - 1/2)). D is at least 0. Whole d are exact: y_i[t] = x_i[t - d_i].

    Numbers and NumPy arrays are fixed, and D is a plain `delay`. A JAX array may be trained or
    traced: D is then computed (a `variable_delay`), and needs `minimum` and `maximum`. The gradient
    with respect to d is that of the interpolator; D carries none. What lies beyond the range is
    taken to its end.

    An array with as many axes as x is a delay for each sample (a chorus, a vibrato):
    y_i[t] = sum_k h_k(μ_i[t]) x_i[t - D_i[t] - k], with "lagrange" only, since a recursive filter
    whose coefficients jump rings.

    Args:
        x: Audio.
        samples: d in samples, for the axes after the time axis as NumPy broadcasts: at least 0
            with "lagrange" and order - 1/2 with "thiran". Or for all axes of x.
        order: Of the interpolator, 1 to 32.
        method: "lagrange" (low-pass at high frequencies) or "thiran" (magnitude 1 throughout).
        minimum: Least D; at least 1 where only this delay makes a loop causal. d then reaches
            from `minimum` (plus order - 1/2 with "thiran").
        maximum: Largest D: the memory that is kept. d reaches to `maximum` + order (+ 1/2).
        offset: Whole samples by which it delays besides, for the axes after the time axis; where
            d is a signal only. Single precision then need not hold the sum: it holds 1000.1
            samples within 3e-5, and 0.1 within 4e-9. `minimum` and `maximum` bound the sum.
        axis: The time axis.

    Returns:
        Audio of the same shape.

    Raises:
        ValueError: an argument is out of range, or the shapes do not fit.
        TypeError: x is not floating-point audio.
    """
    axis = normal_axis("fractional_delay", x, axis)
    if not jnp.issubdtype(x.dtype, jnp.floating):
        raise TypeError(f"`x` has the type {x.dtype} but must be floating-point audio.")
    channels = x.shape[axis + 1 :]
    fixed: dict[str, Any] = {"order": int(order), "method": method, "axis": axis, "reverse": False}
    if np.ndim(samples) == x.ndim:
        samples = jnp.asarray(samples)
    if not isinstance(samples, jax.Array):
        whole, rest = split_delay(samples, channels, order, method, minimum, maximum)
        return fractional_delay_p.bind(
            x, jnp.asarray(rest, x.dtype), whole=whole, minimum=0, maximum=0, **fixed
        )
    _check(order, method, minimum, maximum)
    if minimum is None or maximum is None:
        raise ValueError(
            f"`samples` is a JAX array, so that it can be trained; `minimum` (={minimum}) and "
            f"`maximum` (={maximum}) must then bound its whole part."
        )
    if not jnp.issubdtype(samples.dtype, jnp.floating):
        samples = samples.astype(x.dtype)
    if samples.ndim == x.ndim:
        d = spread_lengths(samples, x, axis)
        base = jnp.asarray(offset, jnp.int32)
        return moving(x, d, base, order, method, minimum, maximum, axis)
    d = _broadcast(jnp, samples, channels)
    bounds = {"minimum": int(minimum), "maximum": int(maximum)}
    return fractional_delay_p.bind(x, d, whole=None, **bounds, **fixed)


def moving(
    x: Array, d: Array, base: Array, order: int, method: str, minimum: int, maximum: int, axis: int
) -> Array:
    """Delays of as many axes as x, plus `base`: what `fractional_delay` is where d is a signal."""
    if method != "lagrange":
        raise ValueError(f"`method` (={method!r}) must be 'lagrange' where the delay is a signal.")
    whole, mu = parted(d, base, order, minimum, maximum)
    reads = (
        variable_delay(x, whole + k, minimum=minimum + k, maximum=maximum + k, axis=axis)
        for k in range(order + 1)
    )
    taps = zip(lagrange_taps(mu, order), reads, strict=True)
    return sum((h * read for h, read in taps), jnp.zeros_like(x))


def parted(d: Array, base: Array, order: int, minimum: int, maximum: int) -> tuple[Array, Array]:
    """Delays base + d as the whole part that a Lagrange interpolator follows, and what it does."""
    floor = lax.stop_gradient(jnp.floor(d - _base("lagrange", order)))
    whole = jnp.clip(floor.astype(jnp.int32) + base, minimum, maximum)
    mu = d - (whole - base).astype(d.dtype)
    return whole, jnp.clip(mu, 0, order)


def split_delay(
    samples: ArrayLike,
    channels: tuple[int, ...],
    order: int,
    method: str,
    minimum: int | None = None,
    maximum: int | None = None,
) -> tuple[tuple[int, ...], np.ndarray]:
    """Fixed delays, one a channel, as whole parts and what is left; computed in float64.

    Raises:
        ValueError: as `fractional_delay`.
    """
    _check(order, method, minimum, maximum)
    d = _broadcast(np, np.asarray(samples, np.float64), channels)
    low = 0 if minimum is None else minimum
    high = MAX_DELAY if maximum is None else maximum
    least, most = _range(method, order, low, high)
    if d.size and not (np.isfinite(d).all() and d.min() >= least and d.max() <= most):
        raise ValueError(
            f"`samples` (={samples}) must lie in {least} to {most} with method={method!r} and "
            f"order={order}."
        )
    whole = np.clip(np.floor(d - _base(method, order)), low, high)
    return tuple(int(m) for m in whole.ravel()), d - whole


def _broadcast(module: Any, samples: Any, channels: tuple[int, ...]) -> Any:
    try:
        return module.broadcast_to(samples, channels)
    except ValueError:
        raise ValueError(
            f"`samples` of shape {samples.shape} does not fit the channels {channels} of `x`."
        ) from None


def _check(order: int, method: str, minimum: int | None, maximum: int | None) -> None:
    if method not in ("lagrange", "thiran"):
        raise ValueError(f"`method` (={method!r}) must be 'lagrange' or 'thiran'.")
    if order != int(order) or not 1 <= order <= MAX_ORDER:
        raise ValueError(f"`order` (={order}) must be a whole number from 1 to {MAX_ORDER}.")
    low = 0 if minimum is None else minimum
    high = MAX_DELAY if maximum is None else maximum
    if low != int(low) or high != int(high) or not 0 <= low <= high <= MAX_DELAY:
        raise ValueError(
            f"`minimum` (={minimum}) and `maximum` (={maximum}) must be a range of whole numbers "
            f"within 0 to {MAX_DELAY}."
        )


__all__ = [
    "MAX_ORDER",
    "decompose",
    "fractional_delay",
    "fractional_delay_p",
    "lagrange_taps",
    "moving",
    "split_delay",
    "thiran_denominator",
]
