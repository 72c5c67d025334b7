"""Steps of random functions that filter and convolve."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax import Array, lax
from random_functions import LIMIT, Function, Grower, UnfitError, maker
from scipy import signal

from adac_jax import fir, lfilter, sosfilt

_lfilter: Any = lfilter
_sosfilt: Any = sosfilt
"""Which return a state only where they are given one."""


def stable(g: Grower, order: int) -> tuple[np.ndarray, np.ndarray]:
    """A recursive filter whose impulse response has an absolute sum below one."""
    pairs = [
        g.rng.uniform(0, 0.8) * np.exp(1j * g.rng.uniform(0, np.pi)) for _ in range(order // 2)
    ]
    poles = [*pairs, *np.conj(pairs), *g.rng.uniform(-0.7, 0.7, order % 2)]
    a = np.real(np.poly(poles)) if order else np.ones(1)
    b = g.uniform(order + 1)
    total = np.abs(np.asarray(signal.lfilter(b, a, np.eye(1, 300)[0]))).sum()
    return b / (1.01 * total), a


NOISE = 400.0
"""Roundings of a filter: each of some ten a sample, through poles of radius 0.8 in pairs at most:
sum_k (k + 1) 0.8^k = 25, times the ten, times the second of two sections and the numerator."""


@maker(5)
def filtered(g: Grower) -> int:
    x = g.pick("smooth", "eighths", rank=1)
    shape = g.values[x].shape
    n, (b, a) = shape[-1], stable(g, g.number(0, 2))
    sos = np.stack([np.concatenate(stable(g, 2)) for _ in range(g.number(1, 2))])
    taps = g.rows(1, g.number(1, 5))[0]
    many = [stable(g, 2) for _ in range(n)]
    bs, as_ = (np.stack(c, axis=1) for c in zip(*many, strict=True))
    zi = g.rng.integers(-4, 5, (max(len(a), len(b)) - 1, *shape)) / 8
    ways: dict[str, Function] = {
        "lfilter": lambda v: _lfilter(b, a, v, axis=0),
        "lfilter with a state": lambda v: _lfilter(b, a, v, zi, axis=0)[0] / 4,
        "lfilter, time last": lambda v: _lfilter(b, a, v.T, axis=-1).T,
        "lfilter of one gain": lambda v: _lfilter(b / 2, a / 2, v, axis=0),
        "sosfilt": lambda v: _sosfilt(sos, v, axis=0),
        "sosfilt of a batch": lambda v: jax.vmap(lambda u: _sosfilt(sos, u, axis=0))(v[None])[0],
        "vmap of sosfilt": lambda v: (
            jax.vmap(lambda u: _sosfilt(sos, u[:, None])[:, 0], -1, -1)(v) if v.ndim == 2 else v
        ),
        "fir": lambda v: fir(v, taps, axis=0),
        "fir of channels": lambda v: fir(v, np.outer(taps, np.arange(1, n + 1) / n), axis=0),
        "lfilter in jit": jax.jit(lambda v: _lfilter(b, a, v, axis=0)),
        "convolve": lambda v: (
            jax.vmap(lambda u: jnp.convolve(u, jnp.asarray(taps))[: len(u)], 1, 1)(v)
            if v.ndim == 2
            else v
        ),
        "lfilter of channels": lambda v: _lfilter(bs, as_, v, axis=0),
    }
    name = g.one(*ways)
    return g.push(name, "smooth", ways[name], x, size=2 * LIMIT, roundings=NOISE, lift=False)


@maker(3)
def convolved(g: Grower) -> int:
    """A causal convolution of (time, channels): dilated, grouped, in several layouts."""
    x = g.pick("smooth", "eighths", rank=1)
    if len(g.values[x].shape) != 1:
        raise UnfitError
    n, count, dilation = g.number_of(x), g.number(1, 3), g.number(1, 4)
    groups, outputs = (n, n * g.number(1, 2)) if g.one(True, False) else (1, g.number(1, 4))
    taken = n // groups
    h = g.rows(outputs, taken * count).reshape(outputs, taken, count)
    reach = (count - 1) * dilation
    options: Any = {"rhs_dilation": (dilation,), "feature_group_count": groups}
    layer = nnx.Conv(
        n,
        outputs,
        count,
        kernel_dilation=dilation,
        feature_group_count=groups,
        padding="CAUSAL",
        rngs=nnx.Rngs(0),
        param_dtype=jnp.float64,
    )
    layer.kernel[...] = jnp.asarray(h.transpose(2, 1, 0))
    kernel = jnp.asarray(h)

    def wide(v: Array) -> Array:
        """A convolution in two dimensions, one of which is time."""
        y = lax.conv_general_dilated(
            v.T[None, :, :, None],
            kernel[..., None],
            (1, 1),
            [(reach, 0), (0, 0)],
            rhs_dilation=(dilation, 1),
            feature_group_count=groups,
        )
        return y[0, :, :, 0].T

    ways: dict[str, Function] = {
        "channels first": lambda v: (
            lax.conv_general_dilated(v.T[None], kernel, (1,), [(reach, 0)], **options)[0].T
        ),
        "channels last": lambda v: lax.conv_general_dilated(
            v[None],
            kernel.transpose(2, 1, 0),
            (1,),
            [(reach, 0)],
            dimension_numbers=("NTC", "TIO", "NTC"),
            **options,
        )[0],
        "padded before": lambda v: (
            lax.conv_general_dilated(
                jnp.pad(v, ((reach, 0), (0, 0))).T[None], kernel, (1,), "VALID", **options
            )[0].T
        ),
        "padded too much": lambda v: (
            lax.conv_general_dilated(v.T[None], kernel, (1,), [(reach + 2, -2)], **options)[0].T
        ),
        "both sides, cut": lambda v: lax.conv_general_dilated(
            v.T[None], kernel, (1,), [(reach, reach)], **options
        )[0].T[: len(v)],
        "flax": lambda v: layer(v[None])[0],
        "batch of two": lambda v: (
            lax.conv_general_dilated(jnp.stack([v.T, -v.T]), kernel, (1,), [(reach, 0)], **options)[
                1
            ].T
        ),
        "two dimensions": wide,
        "vmap": lambda v: jax.vmap(
            lambda u: (
                lax.conv_general_dilated(u.T[None], kernel, (1,), [(reach, 0)], **options)[0].T
            )
        )(v[None])[0],
        "time last": lambda v: lax.conv_general_dilated(
            v.T[..., None],
            kernel,
            (1,),
            [(reach, 0)],
            dimension_numbers=("CTN", "OIT", "TCN"),
            **options,
        )[..., 0],
    }
    name = g.one(*ways)
    return g.push(
        f"convolution, {name}", "smooth", ways[name], x, roundings=2 * n * count + 4, lift=False
    )
