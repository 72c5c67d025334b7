"""All that is measured of a room, in one record."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from adac_jax.bands import octave_centres
from adac_jax.metrics.clarity import centre_time, clarity, definition, direct_to_reverberant
from adac_jax.metrics.decay import EnergyDecay, energy_decay
from adac_jax.metrics.density import echo_density, mixing_time
from adac_jax.metrics.reverberation import (
    evaluation_range,
    extrapolated_time,
    reverberation_time,
)


@dataclass(frozen=True, slots=True)
class DecayMeasures:
    """What a decay is like, of each band and channel. NaN is what cannot be said.

    Attributes:
        t60: Reverberation time in seconds, from the largest range that there is data for.
        range_used: That range in dB below −5 dB: 30, 20, 15 or 10; 0 if there is none.
        t30: From −5 to −35 dB, in seconds.
        t20: From −5 to −25 dB, in seconds.
        edt: Early decay time, from 0 to −10 dB, in seconds.
        c50: Clarity at 50 ms in dB.
        c80: Clarity at 80 ms in dB.
        d50: Definition, from 0 to 1.
        centre_time: In seconds.
        level_db: Energy in dB; 0 dB is that of a unit impulse.
        noise_db: Mean square of the noise in dB; −∞ if there is none.
        truncation: Seconds after the onset at which decay and noise meet.
        range_db: By how many dB the decay curve falls until then.
    """

    t60: Float[np.ndarray, "*bands *channels"]
    range_used: Float[np.ndarray, "*bands *channels"]
    t30: Float[np.ndarray, "*bands *channels"]
    t20: Float[np.ndarray, "*bands *channels"]
    edt: Float[np.ndarray, "*bands *channels"]
    c50: Float[np.ndarray, "*bands *channels"]
    c80: Float[np.ndarray, "*bands *channels"]
    d50: Float[np.ndarray, "*bands *channels"]
    centre_time: Float[np.ndarray, "*bands *channels"]
    level_db: Float[np.ndarray, "*bands *channels"]
    noise_db: Float[np.ndarray, "*bands *channels"]
    truncation: Float[np.ndarray, "*bands *channels"]
    range_db: Float[np.ndarray, "*bands *channels"]


@dataclass(frozen=True, slots=True)
class RoomMeasures:
    """What is measured of a room's impulse response.

    Attributes:
        sample_rate: In Hz.
        centres: Of the octave bands in Hz.
        onset: Seconds before the response begins, of each channel.
        direct_to_reverberant: In dB, of each channel.
        mixing_time: Seconds until the echo density is that of noise, of each channel.
        broadband: The decay of the response as it is, of each channel.
        bands: The decay in octave bands, of each band and channel.
    """

    sample_rate: float
    centres: tuple[float, ...]
    onset: Float[np.ndarray, "*channels"]
    direct_to_reverberant: Float[np.ndarray, "*channels"]
    mixing_time: Float[np.ndarray, "*channels"]
    broadband: DecayMeasures
    bands: DecayMeasures


def measure(
    response: Float[np.ndarray, " time *channels"],
    sample_rate: float,
    centres: tuple[float, ...] | None = None,
) -> RoomMeasures:
    """Measures a room's impulse response, in octave bands and as it is.

    Args:
        response: (time,) or (time, channels), at least 80 ms long.
        sample_rate: fs in Hz.
        centres: Centres of the octave bands in Hz; 125 Hz to 8 kHz if None.

    Raises:
        ValueError: the response is too short, silent or not finite.
    """
    if np.ndim(response) > 0 and len(response) <= 0.08 * sample_rate:
        raise ValueError(
            f"`response` ({len(response) / sample_rate:g} s) must be longer than 0.08 seconds."
        )
    if centres is None:
        centres = octave_centres(sample_rate, 125.0, 8000.0)
    decay = energy_decay(response, sample_rate)
    return RoomMeasures(
        sample_rate=float(sample_rate),
        centres=centres,
        onset=decay.onset / sample_rate,
        direct_to_reverberant=direct_to_reverberant(response, sample_rate, decay),
        mixing_time=mixing_time(*echo_density(response, sample_rate)),
        broadband=decay_measures(decay),
        bands=decay_measures(energy_decay(response, sample_rate, centres)),
    )


def decay_measures(decay: EnergyDecay) -> DecayMeasures:
    """Measures energy decay curves of at least 80 ms."""
    range_used = evaluation_range(decay)
    with np.errstate(divide="ignore"):
        level_db, noise_db = 10 * np.log10(decay.total), 10 * np.log10(decay.noise)
    return DecayMeasures(
        t60=extrapolated_time(decay, range_used),
        range_used=range_used,
        t30=reverberation_time(decay, -5.0, -35.0),
        t20=reverberation_time(decay, -5.0, -25.0),
        edt=reverberation_time(decay, 0.0, -10.0),
        c50=clarity(decay, 0.05),
        c80=clarity(decay, 0.08),
        d50=definition(decay),
        centre_time=centre_time(decay),
        level_db=level_db,
        noise_db=noise_db,
        truncation=decay.truncation,
        range_db=decay.range_db,
    )
