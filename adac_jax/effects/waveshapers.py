"""Distortion: static curves, as they are or without the worst of their aliasing."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import jax.numpy as jnp
from flax import nnx
from jax import Array
from jax.typing import ArrayLike
from jaxtyping import Float

from adac_jax import primitives
from adac_jax.effects.effect import Effect
from adac_jax.effects.shapes import CURVES, mean, quadrature
from adac_jax.nn.levels import Decibels
from adac_jax.nn.parameters import initial, param


class Waveshaper(Effect):
    """A curve: y = g_out (f(g_in x + b) - f(b)).

    With `antialias`, f(u[t]) is replaced by its mean while u goes from u[t-1] to u[t] in a straight
    line, (F(u[t]) - F(u[t-1])) / (u[t] - u[t-1]): a filter sinc(f / fs) on what a continuous signal
    would give. Harmonics just above fs / 2 lose 4 dB by it, those about fs, whose aliases are low,
    most: a sine of 5 kHz at 20 dB has aliases 6 to 7 dB lower in all, but 28 to 31 dB below 5 kHz.
    It delays by half a sample and, like a mean of two samples, dulls the highest octave. Source:
    Parker, Zavalishin and Le Bivic, "Reducing the aliasing of nonlinear waveshaping using
    continuous-time convolution" (DAFx 2016); Bilbao et al., "Antiderivative antialiasing for
    memoryless nonlinearities" (IEEE SPL 24(7), 2017).

    Args:
        channels: N.
        curve: f; one of `shapes.CURVES`.
        drive_db: g_in in dB.
        level_db: g_out in dB.
        bias: b; makes even harmonics.
        antialias: Whether to take the mean.

    Raises:
        ValueError: there is no such curve, or a value does not fit.
    """

    def __init__(
        self,
        channels: int = 1,
        curve: str = "tanh",
        *,
        drive_db: ArrayLike = 12.0,
        level_db: ArrayLike = 0.0,
        bias: ArrayLike = 0.0,
        antialias: bool = True,
    ) -> None:
        super().__init__(channels)
        if curve not in CURVES:
            raise ValueError(f"`curve` (={curve!r}) must be one of {', '.join(CURVES)}.")
        self.curve, self.antialias = curve, bool(antialias)
        self.drive = Decibels("drive_db", drive_db, (1,))
        self.level = Decibels("level_db", level_db, (1,))
        self.bias = param(initial("bias", bias, (1,)))

    def __call__(self, x: Float[Array, "*batch time channels"]) -> Array:
        """Processes audio, from rest."""
        self.check(x)
        curve = CURVES[self.curve]
        f = curve.f
        bias = self.bias[...].astype(x.dtype)
        u = x * self.drive.amplitude().astype(x.dtype) + bias
        if self.antialias:
            # Before the first sample x is zero, so u is b.
            before = primitives.delay(u - bias, 1) + bias
            y = mean(curve, before, u)
        else:
            y = f(u)
        return (y - f(bias)) * self.level.amplitude().astype(x.dtype)


class LearnedWaveshaper(Effect):
    """A curve that is learned: y = x + f(x) - f(0) for a small network f of one number.

    f(x) = W_L tanh(… tanh(W_1 x + b_1) …) + b_L, the same for all channels. With `antialias` its
    mean over straight lines, as in `Waveshaper`, by Gauss-Legendre quadrature of five points, since
    f has no integral in closed form; that costs five networks.

    Args:
        channels: N.
        hidden: Units of each hidden layer.
        antialias: Whether to take the mean.
        rngs: Where the weights are drawn from.
    """

    def __init__(
        self,
        channels: int = 1,
        hidden: Sequence[int] = (8,),
        *,
        antialias: bool = False,
        rngs: nnx.Rngs,
    ) -> None:
        super().__init__(channels)
        if not hidden or any(not isinstance(n, int) or n < 1 for n in hidden):
            raise ValueError(f"`hidden` (={hidden}) must be positive numbers, at least one.")
        sizes = [1, *hidden, 1]
        self.layers = nnx.List([nnx.Linear(a, b, rngs=rngs) for a, b in pairwise(sizes)])
        self.antialias = bool(antialias)

    def curve(self, x: Array) -> Array:
        """The network's output for each number."""
        h = x[..., None]
        for k, layer in enumerate(self.layers):
            h = layer(h if k == 0 else jnp.tanh(h))
        return h[..., 0]

    def __call__(self, x: Float[Array, "*batch time channels"]) -> Array:
        """Processes audio, from rest."""
        self.check(x)
        still = self.curve(jnp.zeros((1,), x.dtype))

        def whole(u: Array) -> Array:
            return u + self.curve(u) - still

        return quadrature(whole, primitives.delay(x, 1), x) if self.antialias else whole(x)
