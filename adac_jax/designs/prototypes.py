"""Analogue prototypes of second-order filters.

Everything here is plain arithmetic, on NumPy or JAX values alike; `designs.second_order` makes
digital sections of it and `designs.magnitude_db` its response.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

Prototype = tuple[tuple[Any, Any, Any], tuple[Any, Any, Any]]
"""Numerator and denominator, each as coefficients of s^0, s^1, s^2."""


def _lowpass(A: Any, Q: Any) -> Prototype:
    return (A * A, 0.0, 0.0), (1.0, 1 / Q, 1.0)


def _highpass(A: Any, Q: Any) -> Prototype:
    return (0.0, 0.0, A * A), (1.0, 1 / Q, 1.0)


def _bandpass(A: Any, Q: Any) -> Prototype:
    return (0.0, A * A / Q, 0.0), (1.0, 1 / Q, 1.0)


def _notch(A: Any, Q: Any) -> Prototype:
    return (A * A, 0.0, A * A), (1.0, 1 / Q, 1.0)


def _allpass(A: Any, Q: Any) -> Prototype:
    return (A * A, -A * A / Q, A * A), (1.0, 1 / Q, 1.0)


def _peaking(A: Any, Q: Any) -> Prototype:
    return (1.0, A / Q, 1.0), (1.0, 1 / (A * Q), 1.0)


def _low_shelf(A: Any, Q: Any) -> Prototype:
    slope = A**0.5 / Q
    return (A * A, A * slope, A), (1.0, slope, A)


def _high_shelf(A: Any, Q: Any) -> Prototype:
    slope = A**0.5 / Q
    return (A, A * slope, A * A), (A, slope, 1.0)


BIQUADS: dict[str, Callable[[Any, Any], Prototype]] = {
    "lowpass": _lowpass,
    "highpass": _highpass,
    "bandpass": _bandpass,
    "notch": _notch,
    "allpass": _allpass,
    "peaking": _peaking,
    "lowshelf": _low_shelf,
    "highshelf": _high_shelf,
}
"""Prototypes of Bristow-Johnson's "Cookbook formulae for audio EQ biquad filter coefficients":
(A, Q) → prototype, with A = 10^(G/40) for a gain of G dB.

A peak has the gain A² at its centre, a shelf on its side. Pass bands, 0 dB in the cookbook (at its
centre for the band-pass), have the gain A² too.
"""


def state_variable(R: Any, low: Any, band: Any, high: Any) -> Prototype:
    """H(s) = (m_LP + m_BP s + m_HP s²) / (1 + 2 R s + s²).

    Source: Lee, Choi and Lee, "Differentiable artificial reverberation" (IEEE/ACM TASLP 2022),
    section III; the filter is stable for any R > 0.

    Args:
        R: Damping, 1 / (2 Q).
        low: m_LP, gain of the low-pass output: that of the filter at DC.
        band: m_BP; the gain at the design frequency is |m_LP - m_HP + j m_BP| / (2 R).
        high: m_HP, gain of the high-pass output: that of the filter at Nyquist.
    """
    return (low, band, high), (1.0, 2 * R, 1.0)


STATE_VARIABLE_MIXES: dict[str, Callable[[Any, Any], tuple[Any, Any, Any]]] = {
    "lowpass": lambda R, G: (G, 0.0, 0.0),
    "highpass": lambda R, G: (0.0, 0.0, G),
    "bandpass": lambda R, G: (0.0, 2 * R * G, 0.0),
    "notch": lambda R, G: (G, 0.0, G),
    "allpass": lambda R, G: (G, -2 * R * G, G),
    "peaking": lambda R, G: (1.0, 2 * R * G, 1.0),
    "lowshelf": lambda R, G: (G, 2 * R * G**0.5, 1.0),
    "highshelf": lambda R, G: (1.0, 2 * R * G**0.5, G),
}
"""(R, G) → (m_LP, m_BP, m_HP) of the usual filters, with G the linear gain: at the centre of a
peak or band-pass, on the raised side of a shelf, in the pass band else."""


def quality_from_bandwidth(octaves: float, frequency: float, sample_rate: float) -> float:
    """Q of the band between two half-gain frequencies, in the digital filter.

    1/(2 Q) = sinh(ln 2 / 2 · BW · w / sin w), w = 2 π f / fs (Bristow-Johnson's cookbook).

    Args:
        octaves: BW > 0, the distance of the two frequencies in octaves.
        frequency: Centre in Hz, in (0, fs/2).
        sample_rate: fs in Hz.

    Raises:
        ValueError: a value is out of its range.
    """
    if not octaves > 0:
        raise ValueError(f"`octaves` (={octaves}) must be positive.")
    if not 0 < frequency < sample_rate / 2:
        raise ValueError(f"`frequency` (={frequency}) must lie in (0, {sample_rate / 2:g}) Hz.")
    w = 2 * math.pi * frequency / sample_rate
    return 1 / (2 * math.sinh(math.log(2) / 2 * octaves * w / math.sin(w)))
