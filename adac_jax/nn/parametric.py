"""Parametric equalisers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from jax import Array
from jax.typing import ArrayLike

from adac_jax import designs
from adac_jax.nn.levels import (
    Decibels,
    Level,
    Lines,
    Train,
    rate_level,
    reverberation_times,
)
from adac_jax.nn.module import Channels
from adac_jax.nn.parameters import QUALITY_RANGE, Frequency, Positive, initial, positive_rate
from adac_jax.nn.second_order import Designed

Design = Literal["biquad", "svf"]


class PEQ(Designed):
    """A low shelf, peaks and a high shelf in series, all three values of each band trained.

    Stable for any parameters. Source of the sections: see `Biquad` and `SVF`.

    Args:
        channels: N, or (outputs, inputs).
        bands: 2 or more: the first is a low shelf, the last a high shelf, the others are peaks.
        frequencies: In Hz, (bands,) or (bands, *channels); by default spaced evenly on a
            logarithmic scale from `lowest` to `highest`.
        gains_db: In dB, broadcast likewise; used within ±80 dB.
        quality: Q of each band, broadcast likewise; with `design` "svf", R = 1 / (2 Q).
        lowest: First default frequency in Hz.
        highest: Last default frequency in Hz; 20 kHz, or 0.45 fs if that is less.
        design: "biquad": the audio equaliser cookbook's sections, whose cuts mirror their
            boosts; "svf": those of `SVF`, whose poles do not depend on the gain.
        sample_rate: fs in Hz.

    Attributes:
        frequency: See `Frequency` for its raw parameter.
        gain: Level of each band; its parameter is in dB.
        quality: Q (see `Positive` for its raw parameter).

    Raises:
        ValueError: a value is out of its range or does not fit.
    """

    def __init__(
        self,
        channels: Channels,
        bands: int = 10,
        *,
        frequencies: ArrayLike | None = None,
        gains_db: ArrayLike = 0.0,
        quality: ArrayLike = 0.5**0.5,
        lowest: float = 20.0,
        highest: float | None = None,
        design: Design = "biquad",
        sample_rate: float,
    ) -> None:
        super().__init__(channels)
        if not isinstance(bands, int) or bands < 2:
            raise ValueError(f"`bands` (={bands}) must be 2 or more: there are two shelves.")
        if design not in ("biquad", "svf"):
            raise ValueError(f"`design` (={design!r}) must be biquad or svf.")
        rate = positive_rate(sample_rate)
        if frequencies is None:
            top = min(20000.0, 0.45 * rate) if highest is None else highest
            if not 0 < lowest < top:
                raise ValueError(f"`lowest` (={lowest}) must lie in (0, {top:g}) Hz.")
            frequencies = np.geomspace(lowest, top, bands)
        self.design: Design = design
        shape = (bands, *self.channels)
        values = (
            _per_band(name, value, shape)
            for name, value in (
                ("frequencies", frequencies),
                ("gains_db", gains_db),
                ("quality", quality),
            )
        )
        f, gain, q = values
        self.frequency = Frequency(f, shape, rate, "frequencies")
        self.gain: Level = Decibels("gains_db", gain, shape)
        self.quality = Positive("quality", q, shape, QUALITY_RANGE)

    @classmethod
    def from_t60(
        cls,
        t60: ArrayLike,
        delays: Sequence[int],
        *,
        frequencies: ArrayLike,
        quality: ArrayLike = 0.5**0.5,
        design: Design = "biquad",
        sample_rate: float,
        train: Train = "gain",
        groups: Sequence[int] | None = None,
    ) -> PEQ:
        """An absorption that gives delay lines about a reverberation time at each band.

        The gains solve for the decay at the bands' frequencies, by the interaction of the bands
        at 1 dB; between bands the response is what the bands leave, so take bands that overlap.

        Args:
            t60: T60 in seconds, (bands,) or (bands, lines or groups); or one for all.
            delays: m in samples, of each line.
            frequencies: In Hz, (bands,): where the T60s hold, and where the bands are.
            quality: Q, one or (bands,).
            design: As in the constructor.
            sample_rate: fs in Hz.
            train: "gain": the gains of each line; "rate": the gains in dB per second, which lines
                share as they share T60.
            groups: The group of each line, whose T60 it shares.

        Raises:
            ValueError: a value is out of its range or the shapes do not fit.
        """
        if train not in ("gain", "rate"):
            raise ValueError(
                f"`train` (={train!r}) must be gain or rate for a PEQ, whose gains are no "
                "reverberation times."
            )
        lines = Lines.of(delays, sample_rate, groups)
        f = np.asarray(frequencies, np.float64)
        if f.ndim != 1:
            raise ValueError(f"`frequencies` of shape {f.shape} must be (bands,).")
        module = cls(
            len(lines.delays),
            len(f),
            frequencies=f,
            quality=quality,
            design=design,
            sample_rate=sample_rate,
        )
        value = np.asarray(t60, np.float64)
        value = np.full(len(f), value) if value.ndim == 0 else value
        times = reverberation_times("t60", value, (len(f),))
        warped = np.tan(np.pi * f / lines.sample_rate)
        q = _per_band("quality", quality, (len(f), 1))
        groups_of = _prototypes(design, np.ones((len(f), 1)), q)
        shapes = [
            designs.magnitude_db(prototype, warped / warped[rows, None])
            for rows, prototype in groups_of
        ]
        rates = np.linalg.lstsq(np.concatenate(shapes).T, -60 / times, rcond=None)[0]
        module.gain = rate_level("t60", rates, lines, train)
        module.lines = lines
        return module

    def prototypes(self) -> tuple[list[tuple[designs.Prototype, Array]], None]:
        """The prototypes of all bands."""
        g, q = self.frequency(), self.quality()
        groups = _prototypes(self.design, self.gain.limited(), q)
        return [(prototype, g[rows]) for rows, prototype in groups], None


def _prototypes(design: Design, db: Any, q: Any) -> list[tuple[slice, designs.Prototype]]:
    """The prototypes of all bands, in three groups."""
    kinds = ((slice(0, 1), "lowshelf"), (slice(1, -1), "peaking"), (slice(-1, None), "highshelf"))
    if design == "biquad":
        return [(rows, designs.BIQUADS[k](10 ** (db[rows] / 40), q[rows])) for rows, k in kinds]
    answer = []
    for rows, kind in kinds:
        R = 0.5 / q[rows]
        mix = designs.STATE_VARIABLE_MIXES[kind](R, 10 ** (db[rows] / 20))
        answer.append((rows, designs.state_variable(R, *mix)))
    return answer


def _per_band(name: str, value: ArrayLike, shape: tuple[int, ...]) -> np.ndarray:
    """A value for each band: (bands,) goes along the first axis, all else as NumPy broadcasts."""
    array = np.asarray(value, np.float64)
    if array.ndim == 1 and len(array) == shape[0]:
        array = array.reshape(-1, *(1,) * (len(shape) - 1))
    return initial(name, array, shape)
