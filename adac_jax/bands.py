"""Octave bands, the same for training and for measuring.

The bands are weights on the bins of an FFT and not the usual Butterworth filters. They are within
the limits of IEC 61260-1 for octave filters of class 1, as those are. But they have no phase, so a
band keeps its place in time; they ring less, so shorter decays can be measured; nothing at all
comes through from an octave away, so that the long decay of one band cannot hide the short one of
another; and their squares add up to one, so the bands' energies add up to that of the whole. They
cost one FFT, forwards and backwards, and so do their gradients: a loss and the metric that it is
meant to improve can mean the same by "the band at 1 kHz".
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
from jaxtyping import Float
from scipy import fft

NOMINAL = {31.25: 31.5, 62.5: 63.0}
"""Nominal centres (ISO 266) of the bands whose exact centre is another number."""
PERIODS = 16
"""Periods of a band's centre after which 98 dB of its impulse response's energy have passed."""
_TOLERANCE = 1e-9  # of an octave: rounding must not decide about a band at either end


@lru_cache(maxsize=64)
def octave_centres(
    sample_rate: float, lowest: float = 31.25, highest: float = 16000.0
) -> tuple[float, ...]:
    """Centres of the octave bands, 1000 · 2^k Hz, whose upper edge lies below fs/2.

    Args:
        sample_rate: fs in Hz.
        lowest: No centre is below, in Hz.
        highest: No centre is above, in Hz.

    Raises:
        ValueError: no band is left, or a value is out of its range.
    """
    if not sample_rate > 0:
        raise ValueError(f"`sample_rate` (={sample_rate}) must be positive.")
    if not 0 < lowest <= highest:
        raise ValueError(f"`lowest` (={lowest}) must lie in (0, {highest:g}] Hz.")
    first = math.ceil(math.log2(lowest / 1000) - _TOLERANCE)
    last = math.floor(math.log2(highest / 1000) + _TOLERANCE)
    centres = [1000 * 2.0**k for k in range(first, last + 1)]
    centres = [f for f in centres if f * math.sqrt(2) < sample_rate / 2]
    if not centres:
        raise ValueError(
            f"No octave band lies between `lowest` (={lowest}) and `highest` (={highest}) Hz at "
            f"the sample rate {sample_rate:g} Hz."
        )
    return tuple(centres)


def nominal(centre: float) -> float:
    """The number by which a band is called: 63 for 62.5 Hz."""
    return NOMINAL.get(centre, centre)


@lru_cache(maxsize=16)
def octave_weights(
    length: int, sample_rate: float, centres: tuple[float, ...]
) -> Float[np.ndarray, "bands bins"]:
    """The bands' gains at the bins of a real FFT, read-only, in float64.

    With u = |log2(f / centre)|, the gain is cos(π/2 ν(u)) for u < 1 and 0 beyond, where ν rises
    smoothly from 0 to 1 and ν(u) + ν(1 - u) = 1:

        ν(u) = u^4 (35 - 84 u + 70 u² - 20 u³)

    So between two centres cos² + sin² = 1, and at a band's edges, half an octave from its centre,
    the gain is 1/√2. Source: Daubechies, "Ten lectures on wavelets" (1992), chapter 4, on
    Meyer's wavelet.

    Args:
        length: Length of the FFT.
        sample_rate: fs in Hz.
        centres: Centres of the bands in Hz.
    """
    f = fft.rfftfreq(length, 1 / sample_rate)
    with np.errstate(divide="ignore"):  # 0 Hz is infinitely many octaves away
        u = np.minimum(np.abs(np.log2(f / np.array(centres)[:, None])), 1.0)
    rise = u**4 * (35 - 84 * u + 70 * u**2 - 20 * u**3)
    weights = np.where(u < 1, np.cos(np.pi / 2 * np.minimum(rise, 1.0)), 0.0)
    weights.flags.writeable = False
    return weights


def octave_filter(
    x: Float[np.ndarray, "time channels"],
    sample_rate: float,
    centres: tuple[float, ...],
    before: int = 0,
) -> Float[np.ndarray, "bands before+time channels"]:
    """Audio in octave bands, in float64 and without delay.

    Args:
        x: The audio.
        sample_rate: fs in Hz.
        centres: Centres of the bands in Hz.
        before: As many samples before the first are given too: a filter without phase answers
            before it is asked.
    """
    after = math.ceil(PERIODS * sample_rate / min(centres))
    length = fft.next_fast_len(before + len(x) + after, real=True)
    x = np.pad(np.asarray(x, np.float64), ((before, 0), (0, 0)))
    spectrum = np.asarray(fft.rfft(x, length, axis=0))
    weights = octave_weights(length, float(sample_rate), centres)
    bands = np.empty((len(centres), *x.shape))
    for k, gains in enumerate(weights):
        bands[k] = np.asarray(fft.irfft(gains[:, None] * spectrum, length, axis=0))[: len(x)]
    return bands
