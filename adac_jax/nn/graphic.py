"""Graphic equalisers, octave and third-octave."""

from __future__ import annotations

from collections.abc import Sequence

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
    rate_level,
    reverberation_times,
)
from adac_jax.nn.module import Channels
from adac_jax.nn.parameters import positive_rate
from adac_jax.nn.second_order import Designed


class GraphicEqualiser(Designed):
    """What both graphic equalisers have: bands, and sections made from filter gains.

    Attributes:
        bands: Where the filters are (see `designs.graphic_bands`).
    """

    bands: designs.GraphicBands

    def filter_gains(self) -> Array:
        """(filters + 1, *channels), in dB: broadband gain, low shelf, peaks, high shelf."""
        raise NotImplementedError(f"{type(self).__name__} does not say what its gains are.")

    def prototypes(self) -> tuple[list[tuple[designs.Prototype, Array]], Array]:
        """The prototypes of low shelf, peaks and high shelf, and the broadband gain."""
        gains = jnp.clip(self.filter_gains(), -GAIN_LIMIT, GAIN_LIMIT)
        return designs.graphic_sections(self.bands, gains[1:]), gains[0]


class GEQ(GraphicEqualiser):
    """A graphic equaliser whose parameters are the gains of its filters.

    A broadband gain and, in series, a low shelf, a peak in each band and a high shelf; the width
    of each band is proportional to its centre. Neighbouring bands overlap, so the response at a
    centre is the sum in dB of several gains: `AccurateGEQ` takes what the response shall be.
    Source: Välimäki and Reiss, "All about audio equalization" (Applied Sciences 6(5), 2016).

    Args:
        channels: N, or (outputs, inputs).
        gains_db: In dB, broadcast to (bands + 3, *channels): broadband, low shelf, peaks, high
            shelf. Used within ±80 dB.
        bands_per_octave: 1 for octave bands, 3 for third-octave bands.
        lowest: Bands lie above this frequency in Hz; from here down the low shelf acts.
        highest: Bands lie at or below this frequency in Hz, and as far below fs/2 as they must.
        bandwidth: Ratio of a band's edges; the bands' own if None.
        sample_rate: fs in Hz.

    Attributes:
        gains: Level of each filter; its parameter is in dB.
        bands: Where the filters are.

    Raises:
        ValueError: a value is out of its range or does not fit, or no band is left.
    """

    def __init__(
        self,
        channels: Channels,
        gains_db: ArrayLike = 0.0,
        *,
        bands_per_octave: int = 1,
        lowest: float = 31.25,
        highest: float = 16000.0,
        bandwidth: float | None = None,
        sample_rate: float,
    ) -> None:
        super().__init__(channels)
        self.bands = designs.graphic_bands(
            positive_rate(sample_rate), bands_per_octave, lowest, highest, bandwidth
        )
        shape = (self.bands.filters + 1, *self.channels)
        self.gains: Level = Decibels("gains_db", gains_db, shape)

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
        train: Train = "gain",
        groups: Sequence[int] | None = None,
    ) -> GEQ:
        """The absorption that gives delay lines a reverberation time in each band.

        The filter gains are the solution of `AccurateGEQ` without corrections.

        Args:
            t60: T60 in seconds, (bands + 2,) or (bands + 2, lines or groups): below the bands, in
                each, above; or one for all.
            delays: m in samples, of each line.
            sample_rate: fs in Hz.
            bands_per_octave: 1 for octave bands, 3 for third-octave bands.
            lowest: Bands lie above this frequency in Hz.
            highest: Bands lie at or below this frequency in Hz.
            bandwidth: Ratio of a band's edges; the bands' own if None.
            train: "gain": the filter gains of each line; "rate": the filter gains in dB per
                second, which lines share as they share T60.
            groups: The group of each line, whose T60 it shares.

        Raises:
            ValueError: a value is out of its range or the shapes do not fit.
        """
        if train not in ("gain", "rate"):
            raise ValueError(
                f"`train` (={train!r}) must be gain or rate for a GEQ, whose filter gains are no "
                "reverberation times; train AccurateGEQ for those."
            )
        lines = Lines.of(delays, sample_rate, groups)
        module = cls(
            len(lines.delays),
            bands_per_octave=bands_per_octave,
            lowest=lowest,
            highest=highest,
            bandwidth=bandwidth,
            sample_rate=sample_rate,
        )
        solver = designs.graphic_solver(module.bands)
        times = reverberation_times("t60", per_band(t60, solver), (len(solver.frequencies),))
        rates = solver.solve @ solver.targets @ (-60 / times)
        module.gains = rate_level("t60", rates, lines, train)
        module.lines = lines
        return module

    def filter_gains(self) -> Array:
        """The parameters, in dB."""
        return self.gains()


def per_band(t60: ArrayLike, solver: designs.GraphicSolver) -> np.ndarray:
    """T60s of all commands: one for all is spread over them."""
    value = np.asarray(t60, np.float64)
    return np.full(len(solver.frequencies), value) if value.ndim == 0 else value
