"""Second-order filters of the audio equaliser cookbook."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jax import Array
from jax.typing import ArrayLike

from adac_jax import designs
from adac_jax.nn.levels import Decibels, Level, Lines, Train, decay_level, reverberation_times
from adac_jax.nn.module import Channels
from adac_jax.nn.parameters import QUALITY_RANGE, Frequency, Positive
from adac_jax.nn.second_order import Designed, section_count


class Biquad(Designed):
    """A cascade of filters of one kind, stable for any parameters.

    Source: Bristow-Johnson, "Cookbook formulae for audio EQ biquad filter coefficients"; see
    `designs.BIQUADS` for the prototypes.

    Args:
        channels: N, or (outputs, inputs).
        kind: "lowpass", "highpass", "bandpass" (0 dB at its centre), "notch", "allpass",
            "peaking", "lowshelf" or "highshelf".
        frequency: Cut-off, centre or middle of the slope in Hz, in (5, fs/2 - 5).
        gain_db: Gain in dB of the peak or shelf, and of the pass band in the other kinds. An
            all-pass has none.
        quality: Q in (0.1, 100); 1/√2 gives a Butterworth response. A band's Q by its width in
            octaves: `designs.quality_from_bandwidth`.
        sections: Filters in series.
        sample_rate: fs in Hz.

    Values are broadcast to (sections, *channels).

    Attributes:
        frequency: See `Frequency` for its raw parameter.
        gain: Level in dB, used within ±80 dB; None for an all-pass.
        quality: Q (see `Positive` for its raw parameter).

    Raises:
        ValueError: a value is out of its range, does not fit, or there is no such kind.
    """

    def __init__(
        self,
        channels: Channels,
        kind: str,
        *,
        frequency: ArrayLike = 1000.0,
        gain_db: ArrayLike = 0.0,
        quality: ArrayLike = 0.5**0.5,
        sections: int = 1,
        sample_rate: float,
    ) -> None:
        super().__init__(channels)
        if kind not in designs.BIQUADS:
            raise ValueError(f"`kind` (={kind!r}) must be one of {', '.join(designs.BIQUADS)}.")
        shape = (section_count(sections), *self.channels)
        self.kind = kind
        self.frequency = Frequency(frequency, shape, sample_rate)
        self.quality = Positive("quality", quality, shape, QUALITY_RANGE)
        if kind == "allpass" and np.any(np.asarray(gain_db)):
            raise ValueError(f"`gain_db` (={gain_db}) must be 0 for an all-pass.")
        self.gain: Level | None = None if kind == "allpass" else Decibels("gain_db", gain_db, shape)

    @classmethod
    def from_t60(
        cls,
        t60: ArrayLike,
        delays: Sequence[int],
        *,
        kind: str = "lowpass",
        frequency: ArrayLike = 8000.0,
        quality: ArrayLike = 0.5**0.5,
        sample_rate: float,
        train: Train = "gain",
        groups: Sequence[int] | None = None,
    ) -> Biquad:
        """An absorption that gives delay lines a reverberation time in the pass band.

        Args:
            t60: T60 in seconds: one, or one a line (or a group).
            delays: m in samples, of each line.
            kind: "lowpass", "highpass", "bandpass" or "notch".
            frequency: In Hz.
            quality: Q.
            sample_rate: fs in Hz.
            train: "gain": the gain of each line; "t60" or "rate": T60, or -60 / T60, as given.
            groups: The group of each line, whose T60 it shares.

        Raises:
            ValueError: a value is out of its range, does not fit, or the kind has no pass band.
        """
        if kind not in ("lowpass", "highpass", "bandpass", "notch"):
            raise ValueError(
                f"`kind` (={kind!r}) must be lowpass, highpass, bandpass or notch: the others "
                "have no pass band whose gain is theirs to set."
            )
        lines = Lines.of(delays, sample_rate, groups)
        module = cls(
            len(lines.delays),
            kind,
            frequency=frequency,
            quality=quality,
            sample_rate=sample_rate,
        )
        times = reverberation_times("t60", t60, ())[None]
        module.gain = decay_level("t60", times, lines, train)
        module.lines = lines
        return module

    def prototypes(self) -> tuple[list[tuple[designs.Prototype, Array]], None]:
        """The prototype of all sections."""
        A = 1.0 if self.gain is None else 10 ** (self.gain.limited() / 40)
        return [(designs.BIQUADS[self.kind](A, self.quality()), self.frequency())], None
