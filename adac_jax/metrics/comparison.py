"""How far a response is from the one it should be."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from adac_jax.bands import octave_centres
from adac_jax.metrics.decay import EnergyDecay, energy_decay
from adac_jax.metrics.reverberation import evaluation_range, extrapolated_time


@dataclass(frozen=True, slots=True)
class Comparison:
    """How far a response is from its target. NaN is what cannot be said.

    Attributes:
        centres: Of the octave bands in Hz.
        t60: Reverberation time of the response in seconds, of each band and channel.
        target_t60: That of the target, over the same range of levels.
        range_used: This range in dB below −5 dB; 0 where target or response have no data.
        t60_error: |t60 / target_t60 - 1| in percent, of each band and channel.
        mean_t60_error: Its mean over the bands and channels that have one.
        edc_error: Difference of the energy decay curves in dB, |response - target|: the mean over
            the curve, of each channel.
        largest_edc_error: The largest such difference, of each channel.
        edc_range: Levels of the target, in dB below 0, over which the curves are compared.
    """

    centres: tuple[float, ...]
    t60: Float[np.ndarray, " bands *channels"]
    target_t60: Float[np.ndarray, " bands *channels"]
    range_used: Float[np.ndarray, " bands *channels"]
    t60_error: Float[np.ndarray, " bands *channels"]
    mean_t60_error: float
    edc_error: Float[np.ndarray, "*channels"]
    largest_edc_error: Float[np.ndarray, "*channels"]
    edc_range: float


def compare(
    response: Float[np.ndarray, " time *channels"],
    target: Float[np.ndarray, " target_time *channels"],
    sample_rate: float,
    centres: tuple[float, ...] | None = None,
    edc_range: float = 30.0,
) -> Comparison:
    """Compares reverberation times in octave bands, and broadband energy decay curves.

    Both are judged in the same way: without noise (`energy_decay`), from their own onsets, and the
    reverberation times over the same range of levels, the largest for which both have data. The
    curves, 0 dB each at the onset, are compared as long as the target's is above −`edc_range`.

    Args:
        response: (time,) or (time, channels).
        target: As many channels as the response; its length may differ.
        sample_rate: Of both, in Hz.
        centres: Centres of the octave bands in Hz; 125 Hz to 8 kHz if None.
        edc_range: Positive, in dB.

    Raises:
        ValueError: the channels differ, or a response is empty, silent or not finite.
    """
    if np.shape(response)[1:] != np.shape(target)[1:]:
        raise ValueError(
            f"`response` (shape {np.shape(response)}) and `target` (shape {np.shape(target)}) "
            "must have the same channels."
        )
    if not edc_range > 0:
        raise ValueError(f"`edc_range` (={edc_range}) must be positive.")
    if centres is None:
        centres = octave_centres(sample_rate, 125.0, 8000.0)
    length = max(len(response), len(target))
    ours = energy_decay(response, sample_rate, centres, length)
    theirs = energy_decay(target, sample_rate, centres, length)
    range_used = np.minimum(evaluation_range(ours), evaluation_range(theirs))
    t60, target_t60 = extrapolated_time(ours, range_used), extrapolated_time(theirs, range_used)
    t60_error = 100 * np.abs(t60 / target_t60 - 1)
    known = t60_error[np.isfinite(t60_error)]
    mean, largest = _edc_errors(
        energy_decay(response, sample_rate, None, length),
        energy_decay(target, sample_rate, None, length),
        edc_range,
    )
    return Comparison(
        centres=centres,
        t60=t60,
        target_t60=target_t60,
        range_used=range_used,
        t60_error=t60_error,
        mean_t60_error=float(np.mean(known)) if len(known) else np.nan,
        edc_error=mean,
        largest_edc_error=largest,
        edc_range=edc_range,
    )


def _edc_errors(
    ours: EnergyDecay, theirs: EnergyDecay, edc_range: float
) -> tuple[np.ndarray, np.ndarray]:
    level, target_level = ours.level_db, theirs.level_db
    within = target_level >= -edc_range
    difference = np.zeros_like(level)  # outside, where both may be −∞ dB
    np.subtract(level, target_level, out=difference, where=within)
    difference = np.abs(difference)
    return np.mean(difference, axis=0, where=within), np.max(difference, axis=0)
