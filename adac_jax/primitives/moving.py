"""Filters whose coefficients are signals: plain JAX, one recursion a sample."""

from __future__ import annotations

import jax.numpy as jnp
from jax import Array, lax
from jax.typing import ArrayLike
from jaxtyping import Float

from adac_jax.primitives.composite import normal_axis
from adac_jax.primitives.delay import delay


def moving_lfilter(b: Array, a: Array, x: Array, axis: int) -> Array:
    """a_0[t] y[t] = Σ_k b_k[t] x[t-k] - Σ_{k ≥ 1} a_k[t] y[t-k].

    Args:
        b: (count, *axes of x), or with fewer axes, which then go with those after time.
        a: Likewise.
        x: Audio.
        axis: The time axis.
    """
    B, A = (_aligned(c, x, axis) for c in (b, a))
    scale = A[0]
    past = [x if k == 0 else delay(x, k, axis=axis) for k in range(len(B))]
    v = sum(h * p for h, p in zip(B, past, strict=True)) / scale
    order = len(A) - 1
    if not order:
        return v
    # Time first, as scans have it.
    entering = jnp.moveaxis(v, axis, 0)
    back = jnp.moveaxis(jnp.broadcast_to(A[1:] / scale, (order, *x.shape)), axis + 1, 0)

    def step(carry: tuple[Array, ...], now: tuple[Array, Array]):
        u, c = now
        y = u - sum(c[k] * carry[k] for k in range(order))
        return (y, *carry[:-1]), y

    rest = (jnp.zeros_like(entering[0]),) * order
    return jnp.moveaxis(lax.scan(step, rest, (entering, back))[1], 0, axis)


def moving_sosfilt(sos: Array, x: Array, axis: int) -> Array:
    """A cascade of `moving_lfilter`s; sos (sections, 6, *axes of x)."""
    for section in sos:
        x = moving_lfilter(section[:3], section[3:], x, axis)
    return x


def _aligned(c: Array, x: Array, axis: int) -> Array:
    if c.ndim == x.ndim + 1:
        return c
    channels = x.ndim - axis - 1
    missing = channels - (c.ndim - 1)
    return c.reshape(len(c), *(1,) * (axis + 1 + missing), *c.shape[1:])


def state_variable(
    x: Float[Array, "*batch time channels"],
    frequency: ArrayLike,
    resonance: ArrayLike = 0.5**0.5,
    *,
    sample_rate: float,
    axis: int = -2,
) -> tuple[Array, Array, Array]:
    """A second-order filter whose frequency and resonance may change at every sample.

    With g = tan(π f / fs), R = 1 / (2 Q) and d = 1 / (1 + 2 R g + g²), at each sample

        hp = d (x - (2 R + g) s_1 - s_2),  bp = g hp + s_1,  lp = g bp + s_2,
        s_1 ← g hp + bp,  s_2 ← g bp + lp:

    the trapezoidal rule, which keeps the energy of its states bounded however f moves, and the
    bilinear transform of (hp, bp, lp) = (s², s, 1) / (s² + 2 R s + 1) where f stands still.
    Source: Zavalishin, "The Art of VA Filter Design" (rev. 2.1.2, 2018), section 4; for the bound,
    Laroche, "On the stability of time-varying recursive filters" (JAES 55(6), 2007).

    Args:
        x: Audio.
        frequency: f in Hz, above 0 and below fs/2; broadcast to x: a number, one a channel, or a
            signal.
        resonance: R > 0, likewise.
        sample_rate: fs in Hz.
        axis: The time axis.

    Returns:
        Low-pass, band-pass (gain 1 / (2 R) at f) and high-pass outputs, each as x.
    """
    axis = normal_axis("state_variable", x, axis)
    f, R = (jnp.asarray(c, x.dtype) for c in (frequency, resonance))
    g = jnp.tan(f * jnp.asarray(jnp.pi / sample_rate, x.dtype))
    d = 1 / (1 + 2 * R * g + g * g)
    g, R, d = (jnp.moveaxis(jnp.broadcast_to(c, x.shape), axis, 0) for c in (g, R, d))

    def step(carry: tuple[Array, Array], now: tuple[Array, ...]):
        s1, s2 = carry
        v, g, R, d = now
        high = d * (v - (2 * R + g) * s1 - s2)
        band = g * high + s1
        low = g * band + s2
        return (g * high + band, g * band + low), (low, band, high)

    entering = jnp.moveaxis(x, axis, 0)
    rest = (jnp.zeros_like(entering[0]), jnp.zeros_like(entering[0]))
    found = lax.scan(step, rest, (entering, g, R, d))[1]
    low, band, high = (jnp.moveaxis(y, 0, axis) for y in found)
    return low, band, high


__all__ = ["moving_lfilter", "moving_sosfilt", "state_variable"]
