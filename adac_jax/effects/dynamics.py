"""Dynamic range: compressors, limiters, expanders and gates.

Source: Giannoulis, Massberg and Reiss, "Digital dynamic range compressor design: a tutorial and
analysis" (Journal of the Audio Engineering Society 60(6), 2012).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, get_args

import jax.numpy as jnp
from jax import Array, lax
from jax.typing import ArrayLike
from jaxtyping import Float

from adac_jax import primitives
from adac_jax.effects.effect import Effect
from adac_jax.nn.levels import Decibels
from adac_jax.nn.parameters import Positive, positive_rate

FLOOR_DB = -120.0
"""Levels below count as this much."""
RATIOS = (1.0, 1e4)
KNEES = (0.01, 60.0)
TIMES = (1e-5, 10.0)
"""Bounds of ratios, of knees in dB and of times in seconds."""

Detector = Literal["forward", "feedback"]


class Dynamics(Effect):
    """A gain that follows the level: what a compressor and an expander have in common.

    With the level L = 20 log10 max(|x|, 1e-6), or that of the last output where the detector looks
    back, the gain computer's c(L) ≤ 0 in dB is smoothed by

        g[t] = a g[t-1] + (1 - a) c[t],  a = exp(-1 / (attack fs)) where c[t] < g[t-1],
                                         a = exp(-1 / (release fs)) elsewhere,

    g[-1] = 0, and y[t] = x[t] 10^((g[t] + makeup) / 20). All of it is differentiable, the
    ballistics included: the gradient runs back through the recursion.

    Args:
        channels: N.
        threshold_db: In dB re full scale.
        ratio: dB per dB beyond the threshold, in (1, 10^4).
        knee_db: Width of the soft knee, in (0.01, 60) dB.
        attack: In seconds, in (1e-5, 10): until 63 % of a fall of the gain.
        release: Likewise, of a rise.
        makeup_db: Gain of the output in dB.
        linked: Whether all channels get one gain, from the loudest, so that a stereo image stays.
        detector: "forward": the level of the input; "feedback": that of the last output.
        sample_rate: fs in Hz.

    Raises:
        ValueError: a value is out of its range.
    """

    def __init__(
        self,
        channels: int = 1,
        *,
        threshold_db: ArrayLike = -20.0,
        ratio: ArrayLike = 4.0,
        knee_db: ArrayLike = 6.0,
        attack: ArrayLike = 0.005,
        release: ArrayLike = 0.1,
        makeup_db: ArrayLike = 0.0,
        linked: bool = True,
        detector: Detector = "forward",
        sample_rate: float,
    ) -> None:
        super().__init__(channels)
        if detector not in get_args(Detector):
            raise ValueError(f"`detector` (={detector!r}) must be forward or feedback.")
        self.sample_rate = positive_rate(sample_rate)
        self.linked, self.detector = bool(linked), detector
        shape = (1,) if linked else (channels,)
        self.threshold = Decibels("threshold_db", threshold_db, shape)
        self.ratio = Positive("ratio", ratio, shape, RATIOS)
        self.knee = Positive("knee_db", knee_db, shape, KNEES)
        self.attack = Positive("attack", attack, shape, TIMES)
        self.release = Positive("release", release, shape, TIMES)
        self.makeup = Decibels("makeup_db", makeup_db, shape)

    def curve(self, level_db: Array) -> Array:
        """The gain computer: c(L) ≤ 0 in dB for levels in dB, (…, channels or 1)."""
        raise NotImplementedError(f"{type(self).__name__} does not say what its curve is.")

    def level(self, x: Array) -> Array:
        """L of samples, (…, channels), in dB; of the loudest channel where they are linked."""
        loud = jnp.abs(x)
        if self.linked:
            loud = jnp.max(loud, axis=-1, keepdims=True)
        # The derivative of the maximum keeps that of the logarithm finite.
        return (20 / jnp.log(10.0)).astype(x.dtype) * jnp.log(
            jnp.maximum(loud, jnp.asarray(10 ** (FLOOR_DB / 20), x.dtype))
        )

    def __call__(self, x: Float[Array, "*batch time channels"]) -> Array:
        """Processes audio, from rest."""
        self.check(x)
        rate = jnp.asarray(self.sample_rate, x.dtype)
        fall, rise = (jnp.exp(-1 / (time().astype(x.dtype) * rate)) for time in self._times())
        makeup = self.makeup().astype(x.dtype)

        def smooth(g: Array, c: Array) -> Array:
            a = jnp.where(c < g, fall, rise)
            return a * g + (1 - a) * c

        def amplitude(g: Array) -> Array:
            return jnp.exp((g + makeup) * jnp.asarray(jnp.log(10.0) / 20, x.dtype))

        samples = jnp.moveaxis(x, -2, 0)
        width = 1 if self.linked else self.inputs
        rest = jnp.zeros((*samples.shape[1:-1], width), x.dtype)
        if self.detector == "forward":

            def forward(g: Array, c: Array) -> tuple[Array, Array]:
                g = smooth(g, c)
                return g, g

            gains = lax.scan(forward, rest, self.curve(self.level(samples)))[1]
            return jnp.moveaxis(samples * amplitude(gains), 0, -2)

        def back(carry: tuple[Array, Array], v: Array) -> tuple[tuple[Array, Array], Array]:
            g, last = carry
            g = smooth(g, self.curve(self.level(last)))
            y = v * amplitude(g)
            return (g, y), y

        start = (rest, jnp.zeros(samples.shape[1:], x.dtype))
        return jnp.moveaxis(lax.scan(back, start, samples)[1], 0, -2)

    def _times(self) -> tuple[Positive, Positive]:
        """What it takes for the gain to fall, and to rise."""
        return self.attack, self.release


class Compressor(Dynamics):
    """Makes what is loud less loud; with a high ratio and a short attack, a limiter.

    c(L) = 0 below the knee, (1/R - 1) (L - T + W/2)² / (2 W) within it, and (1/R - 1) (L - T)
    above, for the threshold T, the ratio R and the knee's width W.
    """

    def curve(self, level_db: Array) -> Array:
        """The gain computer."""
        dtype = level_db.dtype
        over = level_db - self.threshold().astype(dtype)
        width = self.knee().astype(dtype)
        slope = 1 / self.ratio().astype(dtype) - 1
        # One expression for all three parts, whose derivative is right in each.
        within = jnp.clip(over + width / 2, 0, width)
        return slope * (within**2 / (2 * width) + jnp.maximum(over - width / 2, 0))


class Expander(Dynamics):
    """Makes what is quiet quieter; with a high ratio, a gate.

    c(L) = 0 above the knee, (1 - R) (T + W/2 - L)² / (2 W) within it, and (1 - R) (T - L) below. It
    opens by its attack and closes by its release.
    """

    def curve(self, level_db: Array) -> Array:
        """The gain computer."""
        dtype = level_db.dtype
        under = self.threshold().astype(dtype) - level_db
        width = self.knee().astype(dtype)
        slope = 1 - self.ratio().astype(dtype)
        within = jnp.clip(under + width / 2, 0, width)
        return slope * (within**2 / (2 * width) + jnp.maximum(under - width / 2, 0))

    def _times(self) -> tuple[Positive, Positive]:
        return self.release, self.attack


class Gate(Expander):
    """Closes below a threshold, as far as its range: an expander whose gain has a floor.

    c(L) as the `Expander`'s, but not below `range_db`.

    Args:
        channels: N.
        range_db: How far it closes, in dB, at most 0.
        **others: As `Dynamics`; by default a threshold of -50 dB, a ratio of 10, a knee of 3 dB, an
            attack of 1 ms and a release of 100 ms.

    Raises:
        ValueError: a value is out of its range.
    """

    def __init__(self, channels: int = 1, *, range_db: float = -60.0, **others: Any) -> None:
        usual = {"threshold_db": -50.0, "ratio": 10.0, "knee_db": 3.0, "attack": 1e-3}
        super().__init__(channels, **{**usual, **others})
        if not range_db <= 0:
            raise ValueError(f"`range_db` (={range_db}) must be at most 0.")
        self.floor = Decibels("range_db", range_db, (1,) if self.linked else (channels,))

    def curve(self, level_db: Array) -> Array:
        """The gain computer."""
        floor = jnp.minimum(self.floor().astype(level_db.dtype), 0)
        return jnp.maximum(super().curve(level_db), floor)


class Limiter(Effect):
    """Keeps every sample below a ceiling, by a gain that falls before the peak comes.

    With L = round(lookahead fs), the gain that x[t] needs is n[t] = min(1, ceiling / |x[t]|) (of
    the loudest channel), m[t] the least of n[t-L] … n[t], r[t] = min(m[t], 1 - a (1 - r[t-1])) with
    a = exp(-1 / (release fs)), g[t] the mean of r[t-L] … r[t], and y[t] = g[t] x[t-L]. All of
    the L + 1 gains in a mean are at most what the sample in hand needs, so |y| ≤ ceiling, but for
    rounding. Source: Giannoulis et al. 2012, section 3.4; Signalsmith, "Designing a straightforward
    limiter" (2022).

    Args:
        channels: N.
        ceiling_db: In dB re full scale.
        lookahead: In seconds, rounded to whole samples, one at least: the latency. Not trained.
        release: In seconds, in (1e-5, 10).
        sample_rate: fs in Hz.

    Attributes:
        latency: L in samples.

    Raises:
        ValueError: a value is out of its range.
    """

    def __init__(
        self,
        channels: int = 1,
        *,
        ceiling_db: ArrayLike = -1.0,
        lookahead: float = 0.0015,
        release: ArrayLike = 0.05,
        sample_rate: float,
    ) -> None:
        super().__init__(channels)
        self.sample_rate = positive_rate(sample_rate)
        if not 0 < lookahead <= 0.1:
            raise ValueError(f"`lookahead` (={lookahead}) must be above 0 and at most 0.1 s.")
        self.latency = max(1, round(lookahead * self.sample_rate))
        self.ceiling = Decibels("ceiling_db", ceiling_db, (1,))
        self.release = Positive("release", release, (1,), TIMES)

    def __call__(self, x: Float[Array, "*batch time channels"]) -> Array:
        """Processes audio, from rest."""
        self.check(x)
        ceiling = self.ceiling.amplitude().astype(x.dtype)
        a = jnp.exp(-1 / (self.release() * self.sample_rate)).astype(x.dtype)
        loud = jnp.max(jnp.abs(x), axis=-1, keepdims=True)
        # What is taken away, 1 - n, so that silence before the first sample takes away nothing.
        needed = 1 - ceiling / jnp.maximum(loud, ceiling)
        most = _over_window(jnp.maximum, needed, self.latency + 1)

        def step(r: Array, m: Array) -> tuple[Array, Array]:
            r = jnp.maximum(m, a * r)
            return r, r

        rest = jnp.zeros((*x.shape[:-2], 1), x.dtype)
        held = jnp.moveaxis(lax.scan(step, rest, jnp.moveaxis(most, -2, 0))[1], 0, -2)
        taken = _over_window(jnp.add, held, self.latency + 1) / (self.latency + 1)
        return primitives.delay(x, self.latency) * (1 - taken)


def _over_window(combine: Callable[[Array, Array], Array], x: Array, count: int) -> Array:
    """x[t] combined with the count - 1 samples before it, in steps that double."""
    found, have, reach = None, 0, x
    size = 1
    while have < count:
        if count & size:
            part = primitives.delay(reach, have) if have else reach
            found = part if found is None else combine(found, part)
            have += size
        reach = combine(reach, primitives.delay(reach, size))
        size *= 2
    assert found is not None
    return found
