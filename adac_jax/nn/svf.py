"""State-variable filters."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jax import Array
from jax.typing import ArrayLike

from adac_jax import designs
from adac_jax.nn.levels import Decibels, Level, Lines, decay_level, reverberation_times
from adac_jax.nn.module import Channels
from adac_jax.nn.parameters import QUALITY_RANGE, Frequency, Positive, initial, param
from adac_jax.nn.second_order import Designed, section_count

RESISTANCE_RANGE = (0.5 / QUALITY_RANGE[1], 0.5 / QUALITY_RANGE[0])


class SVF(Designed):
    """A cascade of state-variable filters, stable for any parameters.

    H(s) = (m_LP + m_BP s + m_HP s²) / (1 + 2 R s + s²), bilinear at f. Source: Lee, Choi and Lee,
    "Differentiable artificial reverberation" (IEEE/ACM TASLP 2022), section III.

    Args:
        channels: N, or (outputs, inputs).
        kind: None: the mix is free. Else the mix follows from R and a gain, for "lowpass",
            "highpass", "bandpass" (0 dB at its centre), "notch", "allpass", "peaking", "lowshelf"
            or "highshelf"; see `designs.STATE_VARIABLE_MIXES`.
        frequency: f in Hz, in (5, fs/2 - 5).
        resonance: R = 1 / (2 Q), in (0.005, 5); 1/√2 gives a Butterworth response.
        mix: (m_LP, m_BP, m_HP), each broadcast to (sections, *channels); by default
            (1, 2 R, 1), which changes nothing. For `kind` None only.
        gain_db: Gain in dB of the peak, shelf or pass band. Not for `kind` None or an all-pass.
        sections: Filters in series.
        sample_rate: fs in Hz.

    Attributes:
        frequency: See `Frequency` for its raw parameter.
        resonance: R (see `Positive` for its raw parameter).
        low, band, high: The mix, as it is; for `kind` None.
        gain: Level in dB, used within ±80 dB; for the other kinds but an all-pass.

    Raises:
        ValueError: a value is out of its range, does not fit, or does not go with the kind.
    """

    def __init__(
        self,
        channels: Channels,
        kind: str | None = None,
        *,
        frequency: ArrayLike = 1000.0,
        resonance: ArrayLike = 0.5**0.5,
        mix: Sequence[ArrayLike] | None = None,
        gain_db: ArrayLike = 0.0,
        sections: int = 1,
        sample_rate: float,
    ) -> None:
        super().__init__(channels)
        kinds = designs.STATE_VARIABLE_MIXES
        if kind is not None and kind not in kinds:
            raise ValueError(f"`kind` (={kind!r}) must be None or one of {', '.join(kinds)}.")
        if kind is not None and mix is not None:
            raise ValueError(f"`mix` (={mix}) follows from the kind {kind!r}; give one of the two.")
        if kind in (None, "allpass") and np.any(np.asarray(gain_db)):
            raise ValueError(f"`gain_db` (={gain_db}) has no meaning for the kind {kind!r}.")
        shape = (section_count(sections), *self.channels)
        self.kind = kind
        self.frequency = Frequency(frequency, shape, sample_rate)
        self.resonance = Positive("resonance", resonance, shape, RESISTANCE_RANGE)
        gainless = kind in (None, "allpass")
        self.gain: Level | None = None if gainless else Decibels("gain_db", gain_db, shape)
        if kind is None:
            values = (1.0, 2 * np.asarray(resonance), 1.0) if mix is None else tuple(mix)
            if len(values) != 3:
                raise ValueError(f"`mix` has {len(values)} entries but must have 3: LP, BP and HP.")
            self.low, self.band, self.high = (param(initial("mix", m, shape)) for m in values)

    @classmethod
    def from_t60(
        cls,
        t60_dc: ArrayLike,
        t60_nyquist: ArrayLike,
        delays: Sequence[int],
        *,
        frequency: ArrayLike = 1000.0,
        resonance: ArrayLike = 0.5**0.5,
        sample_rate: float,
    ) -> SVF:
        """An absorption that gives delay lines a reverberation time at DC and at Nyquist.

        m_LP = g_D, m_HP = g_N, m_BP = 2 R √(g_D g_N): the gain at f is close to the mean in dB.

        Args:
            t60_dc: T60 at DC in seconds: one, or one a line.
            t60_nyquist: T60 at Nyquist, likewise.
            delays: m in samples, of each line.
            frequency: Crossover in Hz.
            resonance: R.
            sample_rate: fs in Hz.

        Raises:
            ValueError: a value is out of its range or the shapes do not fit.
        """
        lines = Lines.of(delays, sample_rate)
        low, high = (
            np.asarray(
                decay_level(name, reverberation_times(name, t60, ()), lines, "gain").amplitude()
            )
            for name, t60 in (("t60_dc", t60_dc), ("t60_nyquist", t60_nyquist))
        )
        band = 2 * np.asarray(resonance) * np.sqrt(low * high)
        module = cls(
            len(lines.delays),
            frequency=frequency,
            resonance=resonance,
            mix=(low, band, high),
            sample_rate=sample_rate,
        )
        module.lines = lines
        return module

    def mix(self) -> tuple[Array | float, ...]:
        """(m_LP, m_BP, m_HP)."""
        if self.kind is None:
            return self.low[...], self.band[...], self.high[...]
        gain = 1.0 if self.gain is None else self.gain.amplitude()
        return designs.STATE_VARIABLE_MIXES[self.kind](self.resonance(), gain)

    def prototypes(self) -> tuple[list[tuple[designs.Prototype, Array]], None]:
        """The prototype of all sections."""
        return [(designs.state_variable(self.resonance(), *self.mix()), self.frequency())], None
