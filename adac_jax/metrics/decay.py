"""Energy decay curves, freed from noise."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from adac_jax.bands import octave_filter
from adac_jax.metrics.noise import NoiseFloor, noise_floor
from adac_jax.metrics.responses import channels_of, onset

BEFORE = 3
"""Periods of a band's centre by which the band may begin before the response does."""
SHORTEST = 0.01
"""Shortest interval in seconds over which powers are averaged to find the noise."""
PERIODS_AVERAGED = 1.5
"""Shortest such interval in periods of a band's centre."""


@dataclass(frozen=True, slots=True)
class EnergyDecay:
    """Energy decay curves: of each band, if there are bands, and each channel.

    Attributes:
        sample_rate: In Hz.
        onset: Sample of the response at which time begins.
        energy: Energy that is still to come, at each sample from the onset on.
        total: Energy of the whole; more than `energy[0]` by what a band filter, which has no
            phase, brings before the onset.
        noise: Mean square of the noise.
        truncation: Seconds from the onset to where decay and noise meet, or to the response's end;
            from there on the curve continues as the late decay does.
        range_db: By how many dB the curve falls until the truncation: how far it is data; 0 if
            nothing decays, and the curve is then of everything there is.
    """

    sample_rate: float
    onset: Int[np.ndarray, "*channels"]
    energy: Float[np.ndarray, " time *bands *channels"]
    total: Float[np.ndarray, "*bands *channels"]
    noise: Float[np.ndarray, "*bands *channels"]
    truncation: Float[np.ndarray, "*bands *channels"]
    range_db: Float[np.ndarray, "*bands *channels"]

    @property
    def times(self) -> Float[np.ndarray, " time"]:
        """Seconds since the onset."""
        return np.arange(len(self.energy)) / self.sample_rate

    @property
    def level_db(self) -> Float[np.ndarray, " time *bands *channels"]:
        """The curves in dB, 0 dB being the energy of the whole."""
        with np.errstate(divide="ignore", invalid="ignore"):
            return 10 * np.log10(self.energy / self.total)


def energy_decay(
    response: Float[np.ndarray, " time *channels"],
    sample_rate: float,
    centres: tuple[float, ...] | None = None,
    length: int | None = None,
) -> EnergyDecay:
    """Integrates the squared response backwards, without its noise.

    With h from the onset on, noise of mean square n² and the truncation at sample m,

        E(k) = Σ_{k ≤ i < m} (h²(i) - n²) + tail,

    the tail being the energy of the late decay after m. So a measured response, which ends in
    noise, and a computed one, which does not, are judged alike. Source: Schroeder, "New method of
    measuring reverberation time" (JASA 37, 1965); to subtract, truncate and correct is what Guski
    and Vorländer found best ("Comparison of noise compensation methods for room acoustic impulse
    response evaluations", Acta Acustica united with Acustica 100, 2014); the truncation is that of
    `noise_floor`.

    Args:
        response: (time,) or (time, channels).
        sample_rate: fs in Hz.
        centres: Centres of octave bands in Hz; the response as it is if None.
        length: Samples of the curves; as many as the response has if None.
    """
    x = channels_of(response)
    onsets = onset(x)
    length = length or len(x)
    start, before, shortest = 0, [0], [SHORTEST]
    signals = x[None]
    if centres is not None:
        start = math.ceil(BEFORE * sample_rate / min(centres))
        before = [round(BEFORE * sample_rate / f) for f in centres]
        shortest = [max(SHORTEST, PERIODS_AVERAGED / f) for f in centres]
        signals = octave_filter(x, sample_rate, centres, start)

    shape = (len(signals), x.shape[1])
    energy = np.empty((length, *shape))
    total, noise, truncation, tail = (np.empty(shape) for _ in range(4))
    for band, channel in np.ndindex(shape):
        first, end = start + onsets[channel], start + _end(x[:, channel])
        power = signals[band, :end, channel] ** 2
        floor = noise_floor(power[first:], sample_rate, shortest[band])
        energy[:, band, channel] = _integrate(power[first:], floor, length)
        early = np.sum(power[first - before[band] : first] - floor.noise)
        total[band, channel] = energy[0, band, channel] + max(early, 0.0)
        noise[band, channel] = floor.noise
        truncation[band, channel] = floor.truncation / sample_rate
        tail[band, channel] = floor.tail

    with np.errstate(divide="ignore", invalid="ignore"):
        range_db = np.where(tail > 0, 10 * np.log10(total / tail), 0.0)
    kept = (() if centres is None else shape[:1]) + np.shape(response)[1:]
    return EnergyDecay(
        sample_rate=float(sample_rate),
        onset=onsets.reshape(np.shape(response)[1:]),
        energy=energy.reshape(length, *kept),
        total=total.reshape(kept),
        noise=noise.reshape(kept),
        truncation=truncation.reshape(kept),
        range_db=range_db.reshape(kept),
    )


def _end(x: np.ndarray) -> int:
    """Where one channel ends but for zeros, which would pass for a noise floor."""
    return int(np.flatnonzero(x)[-1]) + 1


def _integrate(power: np.ndarray, floor: NoiseFloor, length: int) -> np.ndarray:
    """The curve of one channel, continued without end by the late decay."""
    m = floor.truncation
    energy = np.cumsum((power[:m] - floor.noise)[::-1]) + floor.tail
    # just before the truncation the noise that was subtracted may be more than there was
    energy = np.maximum.accumulate(np.maximum(energy, floor.tail))[::-1]
    after = floor.tail * np.exp(floor.slope * np.arange(max(0, length - m)))
    return np.concatenate([energy, after])[:length]
