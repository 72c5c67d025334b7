"""Early against late energy."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from adac_jax.metrics.decay import EnergyDecay, energy_decay
from adac_jax.metrics.responses import channels_of

DIRECT = 0.0025
"""Seconds to either side of its peak that the direct sound takes."""


def clarity(decay: EnergyDecay, early: float) -> Float[np.ndarray, "*bands *channels"]:
    """C = 10 lg (energy before `early` / energy after), in dB: C50 for speech, C80 for music.

    Source: ISO 3382-1:2009, annex A.

    Args:
        decay: The curves.
        early: Seconds after the onset, such as 0.05 or 0.08; within the curves.
    """
    late = _late(decay, early)
    with np.errstate(divide="ignore", invalid="ignore"):
        return 10 * np.log10((decay.total - late) / late)


def definition(decay: EnergyDecay, early: float = 0.05) -> Float[np.ndarray, "*bands *channels"]:
    """D = energy before `early` / energy of the whole, from 0 to 1.

    Source: ISO 3382-1:2009, annex A.

    Args:
        decay: The curves.
        early: Seconds after the onset; within the curves.
    """
    with np.errstate(invalid="ignore"):
        return 1 - _late(decay, early) / decay.total


def centre_time(decay: EnergyDecay) -> Float[np.ndarray, "*bands *channels"]:
    """Seconds at which the energy has its centre: Σ n h²(n) / Σ h²(n) / fs.

    As E(k) = Σ_{n ≥ k} h²(n), this is Σ_{k ≥ 1} E(k) / E(0) / fs, as far as the curves go. Source:
    ISO 3382-1:2009, annex A.

    Args:
        decay: The curves.
    """
    with np.errstate(invalid="ignore"):
        return np.sum(decay.energy[1:], axis=0) / decay.total / decay.sample_rate


def direct_to_reverberant(
    response: Float[np.ndarray, " time *channels"],
    sample_rate: float,
    decay: EnergyDecay | None = None,
) -> Float[np.ndarray, "*channels"]:
    """Direct against reverberant energy, in dB.

    The direct sound is what lies within 2.5 ms of its peak, the largest sample in the first 2.5 ms
    after the onset; all that follows is reverberation, without noise. Source: Zahorik, "Direct-to-
    reverberant energy ratio sensitivity" (JASA 112, 2002), for the length of 2.5 ms.

    Args:
        response: (time,) or (time, channels).
        sample_rate: fs in Hz.
        decay: The response's own curves, without bands, if they are known already.

    Returns:
        Of each channel; infinite if nothing follows the direct sound.
    """
    x = channels_of(response)
    decay = decay or energy_decay(response, sample_rate)
    reach = round(DIRECT * sample_rate)
    onsets, energy = np.ravel(decay.onset), decay.energy.reshape(len(decay.energy), -1)
    ratios = np.empty(x.shape[1])
    for channel, first in enumerate(onsets):
        peak = first + int(np.argmax(np.abs(x[first : first + reach + 1, channel])))
        direct = np.sum(x[max(0, peak - reach) : peak + reach + 1, channel] ** 2)
        after = peak + reach + 1 - first
        late = energy[after, channel] if after < len(energy) else 0.0
        with np.errstate(divide="ignore"):
            ratios[channel] = 10 * np.log10(direct / late)
    return ratios.reshape(np.shape(response)[1:])


def _late(decay: EnergyDecay, early: float) -> np.ndarray:
    n = round(early * decay.sample_rate)
    if not 0 < n < len(decay.energy):
        duration = len(decay.energy) / decay.sample_rate
        raise ValueError(f"`early` (={early}) must lie between 0 and {duration:g} seconds.")
    return decay.energy[n]
