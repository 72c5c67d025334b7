"""Graphic equalisers by what their response shall be."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jax import Array
from jax.typing import ArrayLike

from adac_jax import designs
from adac_jax.nn.graphic import GraphicEqualiser, per_band
from adac_jax.nn.levels import Decibels, Level, Lines, Train, decay_level, reverberation_times
from adac_jax.nn.module import Channels
from adac_jax.nn.parameters import positive_rate


class AccurateGEQ(GraphicEqualiser):
    """A graphic equaliser whose parameters are the gains its response shall have.

    The filter gains follow from the command gains by least squares through the interaction matrix
    of the filters (see `designs.graphic_solver`), all differentiable: linear in dB, and then
    corrected for what the filters deviate from proportionality. Sources: Schlecht and Habets,
    "Accurate reverberation time control in feedback delay networks" (DAFx 2017); Välimäki and
    Liski, "Accurate cascade graphic equalizer" (IEEE Signal Processing Letters 24(2), 2017).

    Args:
        channels: N, or (outputs, inputs).
        commands_db: In dB, broadcast to (bands + 2, *channels): below the bands, at each centre,
            above the bands. Within ±6 dB they are met to 1 dB at the centres whatever they are,
            and much wider ranges are where they change less from band to band.
        bands_per_octave: 1 for octave bands, 3 for third-octave bands.
        lowest: Bands lie above this frequency in Hz.
        highest: Bands lie at or below this frequency in Hz, and as far below fs/2 as they must.
        bandwidth: Ratio of a band's edges; the bands' own if None.
        corrections: Steps after the linear solution; 0 makes the design linear in dB.
        sample_rate: fs in Hz.

    Attributes:
        commands: Level of each command; its parameter is in dB.
        offsets: Level that is added to the filter gains, (bands + 3, *channels), or None: what a
            derivation for another sample rate adds, so that the response is what it was between
            the bands too (`adac_jax.at_rate`).
        bands: Where the filters are.

    Raises:
        ValueError: a value is out of its range or does not fit, or no band is left.
    """

    offsets: Level | None = None

    def __init__(
        self,
        channels: Channels,
        commands_db: ArrayLike = 0.0,
        *,
        bands_per_octave: int = 1,
        lowest: float = 31.25,
        highest: float = 16000.0,
        bandwidth: float | None = None,
        corrections: int = 1,
        sample_rate: float,
    ) -> None:
        super().__init__(channels)
        if not 0 <= corrections <= 10:
            raise ValueError(f"`corrections` (={corrections}) must lie in 0 to 10.")
        self.corrections = corrections
        self.bands = designs.graphic_bands(
            positive_rate(sample_rate), bands_per_octave, lowest, highest, bandwidth
        )
        shape = (self.bands.filters, *self.channels)
        self.commands: Level = Decibels("commands_db", commands_db, shape)

    @classmethod
    def from_t60(
        cls,
        t60: ArrayLike,
        delays: Sequence[int],
        *,
        sample_rate: float,
        bands_per_octave: int = 1,
        lowest: float = 31.25,
        highest: float = 16000.0,
        bandwidth: float | None = None,
        corrections: int = 1,
        train: Train = "gain",
        groups: Sequence[int] | None = None,
    ) -> AccurateGEQ:
        """The absorption that gives delay lines a reverberation time in each band.

        Args:
            t60: T60 in seconds, (bands + 2,) or (bands + 2, lines or groups): below the bands, in
                each, above; or one for all.
            delays: m in samples, of each line.
            sample_rate: fs in Hz.
            bands_per_octave: 1 for octave bands, 3 for third-octave bands.
            lowest: Bands lie above this frequency in Hz.
            highest: Bands lie at or below this frequency in Hz.
            bandwidth: Ratio of a band's edges; the bands' own if None.
            corrections: Steps after the linear solution.
            train: "gain": the command gains of each line; "t60" or "rate": T60, or -60 / T60, as
                given.
            groups: The group of each line, whose T60 it shares.

        Raises:
            ValueError: a value is out of its range or the shapes do not fit.
        """
        lines = Lines.of(delays, sample_rate, groups)
        module = cls(
            len(lines.delays),
            bands_per_octave=bands_per_octave,
            lowest=lowest,
            highest=highest,
            bandwidth=bandwidth,
            corrections=corrections,
            sample_rate=sample_rate,
        )
        solver = designs.graphic_solver(module.bands)
        times = reverberation_times("t60", per_band(t60, solver), (len(solver.frequencies),))
        module.commands = decay_level("t60", times, lines, train)
        module.lines = lines
        return module

    @property
    def frequencies(self) -> np.ndarray:
        """Of the commands, in Hz: below the bands, each centre, above the bands."""
        return designs.graphic_solver(self.bands).frequencies

    def filter_gains(self) -> Array:
        """The filter gains that give the commands, in dB."""
        commands = self.commands.limited()
        gains = designs.graphic_solver(self.bands).gains(commands, self.corrections)
        return gains if self.offsets is None else gains + self.offsets()
