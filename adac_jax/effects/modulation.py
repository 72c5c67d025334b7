"""Delays that move: chorus, flanger, vibrato; and what else a slow oscillator moves.

Source: Dattorro, "Effect design, part 2: delay-line modulation and chorus" (Journal of the Audio
Engineering Society 45(10), 1997); Zölzer (ed.), "DAFX: Digital Audio Effects" (2nd ed., 2011),
chapter 2.
"""

from __future__ import annotations

import jax.numpy as jnp
from flax import nnx
from jax import Array, lax
from jax.typing import ArrayLike
from jaxtyping import Float

from adac_jax import primitives
from adac_jax.effects.effect import Effect, LoopGain, positive
from adac_jax.nn.parameters import Frequency, Positive, initial, param, positive_rate
from adac_jax.oscillators import Wave, oscillator

RATES = (1e-3, 1e3)
"""Bounds of a modulation's frequency in Hz."""
TIMES = (1e-6, 1.0)
"""Bounds of delays and of their depths in seconds."""
ORDER = 3
"""Of the Lagrange interpolation."""


class LFO(nnx.Module):
    """A slow oscillation: sin(2π (f t + φ_i)), or a triangle, of one channel or of each.

    Args:
        channels: N.
        rate: f in Hz, in (0.001, 1000).
        wave: "sine" or "triangle".
        spread: φ_i = i spread / N turns: 0.5 puts two channels a quarter turn apart.
        sample_rate: fs in Hz.
    """

    def __init__(
        self, channels: int, rate: ArrayLike, wave: Wave, spread: float, sample_rate: float
    ) -> None:
        self.sample_rate = positive_rate(sample_rate)
        self.rate = Positive("rate", rate, (1,), RATES)
        self.wave: Wave = wave
        self.start = tuple(float(spread) * k / channels for k in range(channels))

    def __call__(self, x: Float[Array, "*batch time channels"]) -> Array:
        """The oscillation, in the shape of x."""
        f = self.rate().astype(x.dtype)
        start = jnp.asarray(self.start, x.dtype)
        return oscillator(f, x, sample_rate=self.sample_rate, wave=self.wave, start=start)


class ModulatedDelay(Effect):
    """A delay that an oscillation moves: what chorus, flanger and vibrato have in common.

    d_i(t) = fs (delay + depth (1 + l_i(t)) / 2) for the oscillation l_i, interpolated by Lagrange
    polynomials of third order; u_i[t] = x_i[t] + feedback u_i[t - d_i(t)] and
    y_i[t] = dry x_i[t] + wet u_i[t - d_i(t)].

    Args:
        channels: N.
        delay: Shortest delay in seconds, in (1e-6, 1).
        depth: How far it moves, in seconds, likewise.
        rate: Of the oscillation in Hz.
        feedback: Within -0.99 to 0.99; None: there is no loop. It is kept as its inverse
            hyperbolic tangent, so no step of training leaves the range.
        dry: Gain of what passes by.
        wet: Gain of what is delayed.
        wave: Of the oscillation, "sine" or "triangle".
        spread: How far the channels' oscillations are apart, in turns: see `LFO`.
        maximum: Longest delay in seconds: the memory that is kept. By default twice
            `delay` + `depth`.
        sample_rate: fs in Hz.

    Raises:
        ValueError: a value is out of its range.
    """

    def __init__(
        self,
        channels: int,
        *,
        delay: ArrayLike,
        depth: ArrayLike,
        rate: ArrayLike,
        feedback: float | None,
        dry: float,
        wet: float,
        wave: Wave,
        spread: float,
        maximum: float | None,
        sample_rate: float,
    ) -> None:
        super().__init__(channels)
        self.sample_rate = positive_rate(sample_rate)
        self.delay = Positive("delay", delay, (1,), TIMES)
        self.depth = Positive("depth", depth, (1,), TIMES)
        longest = 2 * float(jnp.max(self.delay() + self.depth())) if maximum is None else maximum
        if not 0 < longest <= 2 * sum(TIMES):
            raise ValueError(f"`maximum` (={longest}) must be above 0 and at most 2 s.")
        self.longest = int(jnp.ceil(longest * self.sample_rate)) + ORDER
        self.lfo = LFO(channels, rate, wave, spread, sample_rate)
        self.loop_gain = None if feedback is None else LoopGain(feedback)
        self.dry, self.wet = (param(initial(n, v, (1,))) for n, v in (("dry", dry), ("wet", wet)))

    def delayed(self, x: Array, lfo: Array) -> Array:
        """x_i[t - d_i(t)], for the oscillation l."""
        rate = jnp.asarray(self.sample_rate, x.dtype)
        middle = (self.delay().astype(x.dtype) + self.depth().astype(x.dtype) / 2) * rate
        # Whole samples apart, so that single precision holds but the movement.
        whole = lax.stop_gradient(jnp.round(middle))
        moved = (middle - whole) + self.depth().astype(x.dtype) * rate / 2 * lfo
        return primitives.fractional_delay(
            x,
            jnp.broadcast_to(moved, x.shape),
            order=ORDER,
            minimum=1,
            maximum=self.longest,
            offset=whole.astype(jnp.int32),
        )

    def __call__(self, x: Float[Array, "*batch time channels"]) -> Array:
        """Processes audio, from rest."""
        self.check(x)
        lfo = self.lfo(x)
        entering = x
        if self.loop_gain is not None:
            gain = self.loop_gain().astype(x.dtype)
            entering = primitives.feedback(lambda u: gain * self.delayed(u, lfo), x)
        dry, wet = self.dry[...].astype(x.dtype), self.wet[...].astype(x.dtype)
        return dry * x + wet * self.delayed(entering, lfo)


class Chorus(ModulatedDelay):
    """A voice that a slow oscillation delays, besides the dry one; see `ModulatedDelay`.

    Args:
        channels: N; with two, their oscillations are half a turn apart.
        delay: Shortest delay in seconds.
        depth: How far it moves, in seconds.
        rate: In Hz.
        mix: Gain of the voice; the dry sound's is 1.
        wave: "sine" or "triangle".
        spread: In turns, over all channels.
        maximum: Longest delay in seconds.
        sample_rate: fs in Hz.
    """

    def __init__(
        self,
        channels: int = 1,
        *,
        delay: ArrayLike = 0.012,
        depth: ArrayLike = 0.004,
        rate: ArrayLike = 0.8,
        mix: float = 0.7,
        wave: Wave = "sine",
        spread: float = 1.0,
        maximum: float | None = None,
        sample_rate: float,
    ) -> None:
        super().__init__(
            channels, delay=delay, depth=depth, rate=rate, feedback=None, dry=1.0, wet=mix,
            wave=wave, spread=spread, maximum=maximum, sample_rate=sample_rate,
        )  # fmt: skip


class Flanger(ModulatedDelay):
    """A comb filter that moves: a delay of milliseconds in a loop; see `ModulatedDelay`.

    Args:
        channels: N.
        delay: Shortest delay in seconds.
        depth: How far it moves, in seconds.
        rate: In Hz.
        feedback: Within ±0.99; of a negative one the even partials stay.
        mix: Gain of what is delayed; the dry sound's is 1.
        wave: "sine" or "triangle".
        spread: In turns, over all channels.
        maximum: Longest delay in seconds.
        sample_rate: fs in Hz.
    """

    def __init__(
        self,
        channels: int = 1,
        *,
        delay: ArrayLike = 0.0005,
        depth: ArrayLike = 0.002,
        rate: ArrayLike = 0.25,
        feedback: float = 0.6,
        mix: float = 0.7,
        wave: Wave = "triangle",
        spread: float = 0.5,
        maximum: float | None = None,
        sample_rate: float,
    ) -> None:
        super().__init__(
            channels, delay=delay, depth=depth, rate=rate, feedback=feedback, dry=1.0, wet=mix,
            wave=wave, spread=spread, maximum=maximum, sample_rate=sample_rate,
        )  # fmt: skip


class Vibrato(ModulatedDelay):
    """A pitch that wavers: the delayed voice alone; see `ModulatedDelay`.

    The pitch moves by a factor of 1 ± π rate depth for a sine.

    Args:
        channels: N.
        depth: How far the delay moves, in seconds.
        rate: In Hz.
        delay: Shortest delay in seconds.
        wave: "sine" or "triangle".
        spread: In turns, over all channels.
        maximum: Longest delay in seconds.
        sample_rate: fs in Hz.
    """

    def __init__(
        self,
        channels: int = 1,
        *,
        depth: ArrayLike = 0.001,
        rate: ArrayLike = 5.0,
        delay: ArrayLike = 0.0005,
        wave: Wave = "sine",
        spread: float = 0.0,
        maximum: float | None = None,
        sample_rate: float,
    ) -> None:
        super().__init__(
            channels, delay=delay, depth=depth, rate=rate, feedback=None, dry=0.0, wet=1.0,
            wave=wave, spread=spread, maximum=maximum, sample_rate=sample_rate,
        )  # fmt: skip


class Tremolo(Effect):
    """A level that wavers: y_i[t] = x_i[t] (1 - depth (1 - l_i(t)) / 2) for an `LFO` l_i.

    Args:
        channels: N.
        depth: 0 to 1 (silence at the lowest point); used clipped to that.
        rate: In Hz.
        wave: "sine" or "triangle".
        spread: In turns, over all channels: 1 and two channels make an auto-pan.
        sample_rate: fs in Hz.
    """

    def __init__(
        self,
        channels: int = 1,
        *,
        depth: float = 0.5,
        rate: ArrayLike = 5.0,
        wave: Wave = "sine",
        spread: float = 0.0,
        sample_rate: float,
    ) -> None:
        super().__init__(channels)
        self.depth = param(initial("depth", depth, (1,)))
        self.lfo = LFO(channels, rate, wave, spread, sample_rate)

    def __call__(self, x: Float[Array, "*batch time channels"]) -> Array:
        """Processes audio."""
        self.check(x)
        depth = jnp.clip(self.depth[...].astype(x.dtype), 0, 1)
        return x * (1 - depth / 2 * (1 - self.lfo(x)))


class Phaser(Effect):
    """First-order all-pass filters in a row, whose frequency a slow oscillation moves.

    a(t) = (g - 1) / (g + 1), g(t) = g_low (g_high / g_low)^((1 + l(t)) / 2), where the g of a
    frequency f is tan(π f / fs): there a stage turns the phase by a quarter. Each stage is a
    rotation of its input and its state, so it is lossless while a moves too: with k² = 1 - a²,
    v[t] = a u[t] + k s[t-1], s[t] = k u[t] - a s[t-1]; the first hears x and `feedback` times the
    last one's previous output, and y = x + mix v. Sources: Smith, "An allpass approach to digital
    phasing and flanging" (ICMC 1984); Gray and Markel, "A normalized digital filter structure"
    (IEEE Trans. ASSP 23(3), 1975).

    Args:
        channels: N.
        stages: All-pass filters; each two make a notch.
        low: Lowest f in Hz.
        high: Highest.
        rate: Of the oscillation in Hz.
        feedback: Within ±0.99, kept as its inverse hyperbolic tangent.
        mix: Gain of what is filtered; the dry sound's is 1.
        wave: "sine" or "triangle".
        spread: In turns, over all channels.
        sample_rate: fs in Hz.

    Raises:
        ValueError: a value is out of its range.
    """

    def __init__(
        self,
        channels: int = 1,
        *,
        stages: int = 6,
        low: ArrayLike = 300.0,
        high: ArrayLike = 3000.0,
        rate: ArrayLike = 0.4,
        feedback: float = 0.3,
        mix: float = 1.0,
        wave: Wave = "triangle",
        spread: float = 0.5,
        sample_rate: float,
    ) -> None:
        super().__init__(channels)
        positive(stages=stages)
        self.stages = stages
        self.low = Frequency(low, (1,), sample_rate, "low")
        self.high = Frequency(high, (1,), sample_rate, "high")
        self.loop_gain = LoopGain(feedback)
        self.mix = param(initial("mix", mix, (1,)))
        self.lfo = LFO(channels, rate, wave, spread, sample_rate)

    def __call__(self, x: Float[Array, "*batch time channels"]) -> Array:
        """Processes audio, from rest."""
        self.check(x)
        # Between low and high on the axis of g, on which the bilinear transform puts frequencies.
        bottom, top = (jnp.log(f().astype(x.dtype)) for f in (self.low, self.high))
        g = jnp.exp(bottom + (top - bottom) / 2 * (1 + self.lfo(x)))
        a, k = (g - 1) / (g + 1), 2 * jnp.sqrt(g) / (g + 1)
        gain = self.loop_gain().astype(x.dtype)

        def step(carry: tuple[Array, ...], now: tuple[Array, Array, Array]):
            last, *states = carry
            u, a, k = now
            v = u + gain * last
            after = []
            for s in states:
                v, s = a * v + k * s, k * v - a * s
                after.append(s)
            return (v, *after), v

        rest = (jnp.zeros_like(x[..., 0, :]),) * (self.stages + 1)
        entering = (jnp.moveaxis(x, -2, 0), jnp.moveaxis(a, -2, 0), jnp.moveaxis(k, -2, 0))
        filtered = jnp.moveaxis(lax.scan(step, rest, entering)[1], 0, -2)
        return x + self.mix[...].astype(x.dtype) * filtered
