"""Graphic equalisers: a shelf below, a peak in each band, a shelf above."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import Array

from adac_jax.designs.prototypes import BIQUADS, Prototype

SHELF_QUALITY = 1 / math.sqrt(2)


@dataclass(frozen=True)
class GraphicBands:
    """Where the filters of a graphic equaliser are.

    Attributes:
        centres: Centre of each band in Hz, ascending.
        crossovers: Of the low and of the high shelf, in Hz.
        bandwidth: Ratio of a band's edges.
        sample_rate: In Hz.
    """

    centres: tuple[float, ...]
    crossovers: tuple[float, float]
    bandwidth: float
    sample_rate: float

    @property
    def filters(self) -> int:
        """Sections: low shelf, peaks, high shelf."""
        return len(self.centres) + 2

    @property
    def warped(self) -> np.ndarray:
        """tan(π f / fs) of each section, in float64."""
        f = np.array([self.crossovers[0], *self.centres, self.crossovers[1]])
        return np.tan(np.pi * f / self.sample_rate)

    @property
    def qualities(self) -> np.ndarray:
        """Q of each section's prototype, in float64.

        A peak's edges are at f √r and f / √r, so Q_d = √r / (r - 1); its bandwidth is set in the
        digital domain, sin w / (2 Q) = tan(w / (2 Q_d)), as by Schlecht and Habets.
        """
        digital = math.sqrt(self.bandwidth) / (self.bandwidth - 1)
        w = 2 * np.pi * np.array(self.centres) / self.sample_rate
        peaks = np.sin(w) / (2 * np.tan(w / (2 * digital)))
        return np.array([SHELF_QUALITY, *peaks, SHELF_QUALITY])


@lru_cache(maxsize=64)
def graphic_bands(
    sample_rate: float,
    bands_per_octave: int = 1,
    lowest: float = 31.25,
    highest: float = 16000.0,
    bandwidth: float | None = None,
) -> GraphicBands:
    """The bands at 1000 · 2^(k / n) Hz that lie above `lowest` and up to `highest`.

    The shelves cross over half a band below the first and above the last centre. A band whose
    upper crossover would reach fs/2 is left out, so that the bands fit any sample rate.

    Args:
        sample_rate: fs in Hz.
        bands_per_octave: n: 1 for octave bands, 3 for third-octave bands.
        lowest: Bands lie above this frequency in Hz; from here down the low shelf acts.
        highest: Bands lie at or below this frequency in Hz.
        bandwidth: Ratio r > 1 of a peak's edges; the bands' own, 2^(1/n), if None. Schlecht and
            Habets take 2.7 for octave bands; wider peaks ripple less but interact more, and then
            commands that change much from band to band are met less well.

    Raises:
        ValueError: no band is left, or a value is out of its range.
    """
    if not sample_rate > 0:
        raise ValueError(f"`sample_rate` (={sample_rate}) must be positive.")
    if bands_per_octave < 1:
        raise ValueError(f"`bands_per_octave` (={bands_per_octave}) must be at least 1.")
    ratio = 2 ** (1 / bands_per_octave) if bandwidth is None else float(bandwidth)
    if not ratio > 1:
        raise ValueError(f"`bandwidth` (={bandwidth}) must be a ratio above 1.")
    if not 0 < lowest < highest:
        raise ValueError(f"`lowest` (={lowest}) must lie in (0, {highest:g}) Hz.")
    half = 2 ** (1 / (2 * bands_per_octave))
    tolerance = 1e-9  # of an octave: rounding must not decide about a band at either end
    first = math.floor(bands_per_octave * (math.log2(lowest / 1000) + tolerance)) + 1
    last = math.floor(bands_per_octave * (math.log2(highest / 1000) + tolerance))
    centres = [1000 * 2 ** (k / bands_per_octave) for k in range(first, last + 1)]
    centres = [f for f in centres if f * half < sample_rate / 2]
    if not centres:
        raise ValueError(
            f"No band lies between `lowest` (={lowest}) and `highest` (={highest}) Hz at the "
            f"sample rate {sample_rate:g} Hz."
        )
    crossovers = (centres[0] / half, centres[-1] * half)
    return GraphicBands(tuple(centres), crossovers, ratio, float(sample_rate))


def graphic_prototypes(
    bands: GraphicBands, A: Any, qualities: Any
) -> list[tuple[slice, Prototype]]:
    """The prototypes of the sections, in three groups.

    Args:
        bands: Where the filters are.
        A: 10^(G/40) of each section, (filters, …).
        qualities: Q of each section, as many axes as A.
    """
    groups = [
        (slice(0, 1), "lowshelf"),
        (slice(1, bands.filters - 1), "peaking"),
        (slice(bands.filters - 1, bands.filters), "highshelf"),
    ]
    return [(rows, BIQUADS[kind](A[rows], qualities[rows])) for rows, kind in groups]


def graphic_sections(bands: GraphicBands, gains_db: Array) -> list[tuple[Prototype, Array]]:
    """The sections of a graphic equaliser, but for its broadband gain.

    Source: Välimäki and Reiss, "All about audio equalization" (Applied Sciences 6(5), 2016),
    sections 3 and 4, with the layout of Schlecht and Habets (DAFx 2017).

    Args:
        bands: Where the filters are.
        gains_db: (filters, *channels): low shelf, peaks, high shelf, in dB.

    Returns:
        Prototypes, and tan(π f / fs) of each, as `second_order` and `peak_db` take them.
    """
    shape = (-1, *(1,) * (gains_db.ndim - 1))
    g = jnp.asarray(bands.warped, gains_db.dtype).reshape(shape)
    Q = jnp.asarray(bands.qualities, gains_db.dtype).reshape(shape)
    groups = graphic_prototypes(bands, 10 ** (gains_db / 40), Q)
    return [(prototype, g[rows]) for rows, prototype in groups]
