"""Gains: one a channel, or a matrix of them."""

from __future__ import annotations

from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike

from adac_jax.nn.levels import Level, Lines, Train, decay_level, reverberation_times
from adac_jax.nn.module import Channels, Filter
from adac_jax.nn.parameters import initial, param


class Gain(Filter):
    """y_i = g_i x_i, or y_o = Σ_i g_oi x_i.

    Args:
        channels: N, or (outputs, inputs).
        gain: g, linear, any sign: one for all, or an array of the parameter's shape.

    Attributes:
        gain: The parameter: g itself (or a `Level`, by `from_t60`).

    Raises:
        ValueError: `gain` does not fit `channels` or is not finite.
    """

    def __init__(self, channels: Channels, gain: ArrayLike = 1.0) -> None:
        super().__init__(channels)
        self.gain = param(initial("gain", gain, self.channels))

    @classmethod
    def from_t60(
        cls,
        t60: ArrayLike,
        delays: Sequence[int],
        *,
        sample_rate: float,
        train: Train = "gain",
        groups: Sequence[int] | None = None,
    ) -> Gain:
        """The absorption that gives delay lines a reverberation time: -60 m / (fs T60) dB.

        Args:
            t60: T60 in seconds: one, or one a line (or a group).
            delays: m in samples, of each line.
            sample_rate: fs in Hz.
            train: "gain": g of each line; "t60" or "rate": T60, or -60 / T60, as given.
            groups: The group of each line, whose T60 it shares.

        Raises:
            ValueError: a value is out of its range or the shapes do not fit.
        """
        lines = Lines.of(delays, sample_rate, groups)
        level = decay_level("t60", reverberation_times("t60", t60, ()), lines, train)
        if train == "gain":
            return cls(len(lines.delays), np.asarray(level.amplitude()))
        module = cls(len(lines.delays))
        module.gain = level  # type: ignore[assignment]
        return module

    def gains(self) -> Array:
        """g, of the shape `channels`."""
        return self.gain.amplitude() if isinstance(self.gain, Level) else self.gain[...]

    def __call__(self, x: Array) -> Array:
        """Applies the gains."""
        self.check(x)
        g = jnp.asarray(self.gains(), x.dtype)
        if g.ndim == 1:
            return x * g
        return jnp.einsum("...i,oi->...o", x, g, precision="highest")
