"""Echoes."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike
from jaxtyping import Float

from adac_jax import primitives
from adac_jax.effects.effect import Effect, LoopGain
from adac_jax.nn.parameters import Frequency, initial, param, positive_rate
from ir.ops import MAX_DELAY


class PingPong(Effect):
    """Echoes that go from channel to channel, each duller than the one before.

    u_i[t] = x_i[t] + g (h * u_{i-1})[t - m], where before the first channel comes the last, and
    y = dry x + wet (h * u)[t - m], with the low-pass h: v[t] = (1 - p) u[t] + p v[t-1],
    p = exp(-2π damping / fs). Its gain is 1 at most, so no step of training leaves what is stable.

    Args:
        channels: N.
        time: m / fs in seconds, rounded to whole samples; it is not trained.
        feedback: g, within ±0.99; kept as its inverse hyperbolic tangent.
        damping: Frequency in Hz where h falls by 3 dB (to first order in damping / fs).
        dry: Gain of what passes by.
        wet: Gain of the echoes.
        sample_rate: fs in Hz.

    Raises:
        ValueError: a value is out of its range.
    """

    def __init__(
        self,
        channels: int = 2,
        *,
        time: float = 0.35,
        feedback: float = 0.5,
        damping: ArrayLike = 4000.0,
        dry: float = 1.0,
        wet: float = 0.5,
        sample_rate: float,
    ) -> None:
        super().__init__(channels)
        rate = positive_rate(sample_rate)
        if not 1 <= time * rate <= MAX_DELAY:
            raise ValueError(
                f"`time` (={time}) must be a sample or more, up to {MAX_DELAY / rate:.0f} seconds."
            )
        self.samples = round(time * rate)
        self.loop_gain = LoopGain(feedback)
        self.damping = Frequency(damping, (1,), rate, "damping")
        self.dry, self.wet = (param(initial(n, v, (1,))) for n, v in (("dry", dry), ("wet", wet)))

    def __call__(self, x: Float[Array, "*batch time channels"]) -> Array:
        """Processes audio, from rest."""
        self.check(x)
        gain, dry, wet = (
            v.astype(x.dtype) for v in (self.loop_gain(), self.dry[...], self.wet[...])
        )

        turn = 2 * np.pi / self.damping.sample_rate
        p = jnp.exp(-turn * self.damping.hertz()).astype(x.dtype)
        b, a = 1 - p, jnp.concatenate([jnp.ones_like(p), -p])

        def loop(u: Array) -> tuple[Array, Array]:
            echo: Any = primitives.lfilter(b, a, primitives.delay(u, self.samples))
            return gain * jnp.roll(echo, 1, axis=-1), echo

        echoes = primitives.feedback(loop, x, has_aux=True)[1]
        return dry * x + wet * echoes
