"""Amplifiers as chains of filters and curves whose parameters mean something."""

from __future__ import annotations

from jax import Array
from jax.typing import ArrayLike
from jaxtyping import Float

from adac_jax.effects.effect import Effect
from adac_jax.effects.tone_stack import ToneStack
from adac_jax.effects.waveshapers import Waveshaper
from adac_jax.nn.parametric import PEQ
from adac_jax.nn.svf import SVF


class WienerHammerstein(Effect):
    """A filter, a curve, and a filter: y = h_2 * f(h_1 * x).

    Source: Eichas, Möller and Zölzer, "Block-oriented modeling of distortion audio effects using
    iterative minimization" (DAFx 2015).

    Args:
        channels: N.
        bands: Of each `PEQ`.
        curve: Of the `Waveshaper`.
        drive_db: Its drive.
        bias: Its bias.
        antialias: Whether its aliases are reduced.
        sample_rate: fs in Hz.

    Raises:
        ValueError: as those modules.
    """

    def __init__(
        self,
        channels: int = 1,
        *,
        bands: int = 5,
        curve: str = "tanh",
        drive_db: ArrayLike = 12.0,
        bias: ArrayLike = 0.0,
        antialias: bool = True,
        sample_rate: float,
    ) -> None:
        super().__init__(channels)
        self.before = PEQ(channels, bands, sample_rate=sample_rate)
        self.shaper = Waveshaper(channels, curve, drive_db=drive_db, bias=bias, antialias=antialias)
        self.after = PEQ(channels, bands, sample_rate=sample_rate)

    def __call__(self, x: Float[Array, "*batch time channels"]) -> Array:
        """Processes audio, from rest."""
        self.check(x)
        return self.after(self.shaper(self.before(x)))


class GrayBoxAmplifier(Effect):
    """A guitar amplifier by its stages: high-pass and a biased curve, tone stack, again a curve.

    x → high-pass → curve → tone stack → high-pass → curve → equaliser. Each part is a module of its
    own, so each number has a meaning and can be turned into a knob. Source: Eichas and Zölzer,
    "Gray-box modeling of guitar amplifiers" (JAES 66(12), 2018).

    Args:
        channels: N.
        drive_db: Of the first curve.
        power_db: Of the second one.
        bias: Of the first curve.
        treble: Knob of the `ToneStack`, 0 to 1.
        middle: Likewise.
        bass: Likewise.
        bands: Of the `PEQ` at the end, which stands for a loudspeaker.
        antialias: Whether the curves' aliases are reduced.
        sample_rate: fs in Hz.

    Raises:
        ValueError: as those modules.
    """

    def __init__(
        self,
        channels: int = 1,
        *,
        drive_db: ArrayLike = 30.0,
        power_db: ArrayLike = 12.0,
        bias: ArrayLike = 0.2,
        treble: float = 0.5,
        middle: float = 0.5,
        bass: float = 0.5,
        bands: int = 4,
        antialias: bool = True,
        sample_rate: float,
    ) -> None:
        super().__init__(channels)
        rate = sample_rate
        self.coupling = SVF(channels, "highpass", frequency=60.0, sample_rate=rate)
        self.first = Waveshaper(channels, "tanh", drive_db=drive_db, bias=bias, antialias=antialias)
        self.tone = ToneStack(channels, treble=treble, middle=middle, bass=bass, sample_rate=rate)
        self.decoupling = SVF(channels, "highpass", frequency=30.0, sample_rate=rate)
        self.second = Waveshaper(channels, "tanh", drive_db=power_db, antialias=antialias)
        self.speaker = PEQ(channels, bands, sample_rate=rate)

    def __call__(self, x: Float[Array, "*batch time channels"]) -> Array:
        """Processes audio, from rest."""
        self.check(x)
        x = self.tone(self.first(self.coupling(x)))
        return self.speaker(self.second(self.decoupling(x)))
