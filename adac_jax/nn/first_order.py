"""First-order filters: a one-pole low-pass and a shelf."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Literal

import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike

from adac_jax import designs
from adac_jax.nn.levels import (
    GAIN_LIMIT,
    Decibels,
    Level,
    Lines,
    Train,
    decay_level,
    reverberation_times,
)
from adac_jax.nn.module import Channels, Filter
from adac_jax.nn.parameters import Frequency
from adac_jax.primitives import lfilter


class FirstOrder(Filter):
    """A filter b_0 x[t] + b_1 x[t-1] - a_1 y[t-1] whose ends of the spectrum are given.

    Attributes:
        gain_dc: Level at DC; None: 0 dB, fixed.
        gain_nyquist: Level at Nyquist; None: 0 dB, fixed.
    """

    gain_dc: Level | None
    gain_nyquist: Level | None

    def coefficients(self) -> tuple[Array, Array]:
        """B (1 or 2, *channels) and a (2, *channels), with a_0 = 1."""
        raise NotImplementedError(f"{type(self).__name__} does not say what its coefficients are.")

    def ends(self) -> tuple[Array, Array]:
        """Linear gains at DC and Nyquist; their ratio is within ±80 dB, each within ±380 dB."""
        known = self.gain_dc if self.gain_dc is not None else self.gain_nyquist
        assert known is not None
        dc = self.gain_dc() if self.gain_dc is not None else jnp.zeros_like(known())
        nyquist = self.gain_nyquist() if self.gain_nyquist is not None else jnp.zeros_like(dc)
        tilt = jnp.clip(nyquist - dc, -GAIN_LIMIT, GAIN_LIMIT)
        dc = jnp.clip(dc, -300.0, 300.0)  # beyond, float32 has no such factors
        return 10 ** (dc / 20), 10 ** ((dc + tilt) / 20)

    def sos(self) -> Array:
        """The same filter as a second-order section, (1, 6, *channels)."""
        b, a = self.coefficients()
        zero = jnp.zeros_like(a[0])
        b1 = b[1] if len(b) > 1 else zero
        return jnp.stack([b[0], b1, zero, a[0], a[1], zero])[None]

    def __call__(self, x: Array) -> Array:
        """Filters, from rest."""
        b, a = self.coefficients()
        return self.run(x, lambda s, axis: lfilter(b, a, s, axis=axis))


class OnePole(FirstOrder):
    """y[t] = g (1 - p) x[t] + p y[t-1], the usual absorption of a delay line.

    H(1) = g, H(-1) = g (1 - p) / (1 + p), so p = (g_D - g_N) / (g_D + g_N), and |p| < 1 for any
    parameters. A low-pass if the gain at Nyquist is the smaller one. Source: Jot and Chaigne,
    "Digital delay networks for designing artificial reverberators" (AES Convention 90, 1991).

    Args:
        channels: N, or (outputs, inputs).
        gain_dc: g_D > 0, linear gain at DC.
        gain_nyquist: g_N > 0, linear gain at Nyquist.

    Attributes:
        gain_dc: Level at DC; its parameter is in dB.
        gain_nyquist: Level at Nyquist, likewise; used to within ±80 dB of that at DC.

    Raises:
        ValueError: a gain is not positive or does not fit `channels`.
    """

    def __init__(
        self, channels: Channels, gain_dc: ArrayLike = 1.0, gain_nyquist: ArrayLike = 1.0
    ) -> None:
        super().__init__(channels)
        self.gain_dc = Decibels.of_factor("gain_dc", gain_dc, self.channels)
        self.gain_nyquist = Decibels.of_factor("gain_nyquist", gain_nyquist, self.channels)

    @classmethod
    def from_t60(
        cls,
        t60_dc: ArrayLike,
        t60_nyquist: ArrayLike,
        delays: Sequence[int],
        *,
        sample_rate: float,
        train: Train = "gain",
        groups: Sequence[int] | None = None,
    ) -> OnePole:
        """The absorption that gives delay lines a reverberation time at DC and at Nyquist.

        Args:
            t60_dc: T60 at DC in seconds: one, or one a line (or a group).
            t60_nyquist: T60 at Nyquist, likewise.
            delays: m in samples, of each line.
            sample_rate: fs in Hz.
            train: "gain": the gains of each line; "t60" or "rate": T60, or -60 / T60, as given.
            groups: The group of each line, whose T60 it shares.

        Raises:
            ValueError: a value is out of its range or the shapes do not fit.
        """
        lines = Lines.of(delays, sample_rate, groups)
        module = cls(len(lines.delays))
        module.gain_dc, module.gain_nyquist = _ends(t60_dc, t60_nyquist, lines, train)
        return module

    def coefficients(self) -> tuple[Array, Array]:
        """B (1, *channels) and a (2, *channels)."""
        return designs.one_pole(*self.ends())


class FirstOrderShelf(FirstOrder):
    """A first-order shelf: its gain in dB at the crossover is half way between its ends.

    H(s) = g_N (s + √k) / (s + 1/√k), k = g_D / g_N, bilinear at the crossover; stable for any
    parameters. Source: Jot, "Proportional parametric equalizers" (AES Convention 139, 2015).

    Args:
        channels: N, or (outputs, inputs).
        gain_dc: g_D > 0, linear gain at DC.
        gain_nyquist: g_N > 0, linear gain at Nyquist.
        frequency: Crossover in Hz, in (5, fs/2 - 5).
        sample_rate: fs in Hz.
        kind: "low": a low shelf, where g_N is fixed at 1; "high": a high shelf, where g_D is;
            "both": both ends are trained.

    Attributes:
        gain_dc: Level at DC; its parameter is in dB.
        gain_nyquist: Level at Nyquist, likewise; used to within ±80 dB of that at DC.
        frequency: The crossover (see `Frequency` for its raw parameter).

    Raises:
        ValueError: a value is out of its range or does not fit `channels`.
    """

    def __init__(
        self,
        channels: Channels,
        gain_dc: ArrayLike = 1.0,
        gain_nyquist: ArrayLike = 1.0,
        frequency: ArrayLike = 1000.0,
        *,
        sample_rate: float,
        kind: Literal["low", "high", "both"] = "both",
    ) -> None:
        super().__init__(channels)
        if kind not in ("low", "high", "both"):
            raise ValueError(f"`kind` (={kind!r}) must be low, high or both.")
        level = partial(Decibels.of_factor, shape=self.channels)
        fixed = {"low": ("gain_nyquist", gain_nyquist), "high": ("gain_dc", gain_dc)}.get(kind)
        if fixed and not np.all(np.asarray(fixed[1]) == 1):
            raise ValueError(f"`{fixed[0]}` (={fixed[1]}) must be 1 for a {kind} shelf.")
        self.gain_dc = None if kind == "high" else level("gain_dc", gain_dc)
        self.gain_nyquist = None if kind == "low" else level("gain_nyquist", gain_nyquist)
        self.frequency = Frequency(frequency, self.channels, sample_rate)

    @classmethod
    def from_t60(
        cls,
        t60_dc: ArrayLike,
        t60_nyquist: ArrayLike,
        delays: Sequence[int],
        *,
        frequency: ArrayLike = 1000.0,
        sample_rate: float,
        train: Train = "gain",
        groups: Sequence[int] | None = None,
    ) -> FirstOrderShelf:
        """The absorption that gives delay lines a reverberation time at DC and at Nyquist.

        Args:
            t60_dc: T60 at DC in seconds: one, or one a line (or a group).
            t60_nyquist: T60 at Nyquist, likewise.
            delays: m in samples, of each line.
            frequency: Crossover in Hz; if one is given and `train` is not "gain", lines share it.
            sample_rate: fs in Hz.
            train: "gain": the gains of each line; "t60" or "rate": T60, or -60 / T60, as given.
            groups: The group of each line, whose T60 it shares.

        Raises:
            ValueError: a value is out of its range or the shapes do not fit.
        """
        lines = Lines.of(delays, sample_rate, groups)
        module = cls(len(lines.delays), frequency=frequency, sample_rate=sample_rate)
        module.gain_dc, module.gain_nyquist = _ends(t60_dc, t60_nyquist, lines, train)
        if train != "gain" and np.size(frequency) == 1:
            module.frequency = Frequency(frequency, (1,), sample_rate)
        return module

    def coefficients(self) -> tuple[Array, Array]:
        """B and a, each (2, *channels)."""
        return designs.shelf(*self.ends(), self.frequency())


def _ends(dc: ArrayLike, nyquist: ArrayLike, lines: Lines, train: Train) -> tuple[Level, Level]:
    return (
        decay_level("t60_dc", reverberation_times("t60_dc", dc, ()), lines, train),
        decay_level("t60_nyquist", reverberation_times("t60_nyquist", nyquist, ()), lines, train),
    )
