"""Filters whose response at another rate is what it was: what the design leaves, sections make up.

The bilinear transform bends the frequency axis towards fs/2, a one-pole low-pass folds there, and
both do so in another place at another rate. So a filter that is designed anew from its hertz and
decibels agrees with what it was far below both Nyquist frequencies, and less and less towards the
lower one. What is missing there is fitted by a few second-order sections in series.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp
import numpy as np
from scipy.optimize import least_squares

from adac_jax import nn
from adac_jax.nn.module import Filter
from adac_jax.nn.parameters import FREQUENCY_MARGIN, QUALITY_RANGE
from adac_jax.rates.change import Change
from adac_jax.rates.levels import evaluated

TOP = 0.97
"""Responses are compared up to this share of the lower Nyquist frequency."""
LOWEST = 10.0
"""Hz from which they are compared."""
SHARE = 0.005
"""In a loop: which share of its gain in dB, and so of the reverberation time, a filter may miss."""
SHARE_DEPTH = 20.0
"""In a loop: from about this attenuation in dB on, at each pass, the share may be larger."""
LEAST_DB = 0.0005
"""In a loop: a deviation in dB that counts as none, whatever the gain."""
EDGE, EDGE_FACTOR = 0.85, 6.0
"""From this share of the lower Nyquist frequency on, tolerances grow, by this factor at `TOP`."""
AMPLITUDE_DB = 0.05
"""Out of loops: by how many dB a gain may be off at its peak, and by the same amplitude below."""
SECTIONS = 4
"""At most, in a correction."""
BEYOND = 0.3
"""What a deviation counts above the lower Nyquist frequency, where the old filter has no response
and the new one is to go on as it ended."""
KEEP = 0.85
"""Of the least loss in a loop, so much must be left at every frequency, those beyond the old
Nyquist frequency included: there a reverberation time may be 18 % longer than the longest was."""
CORRECTED = ("derived", "correction")
"""Names of a filter and its correction in series."""
HEARD_DB, HUNDREDTH = 20.0, 0.01
"""Deviations are reported of gains no more than so many dB below the largest; as a share, of at
least a hundredth of a dB."""
FLOOR_DB = -200.0


def grid(change: Change) -> np.ndarray:
    """Frequencies in Hz at which responses are compared, ascending."""
    top = TOP * change.nyquist
    return np.unique(
        np.concatenate([np.geomspace(LOWEST, top, 96), np.linspace(top / 64, top, 64)])
    )


def response_db(module: Filter, f: np.ndarray, sample_rate: float) -> np.ndarray:
    """The magnitude response of a filter with sections in dB, (frequencies, *channels)."""
    return sections_db(evaluated(module, "sos"), f, sample_rate)


def sections_db(sos: np.ndarray, f: np.ndarray, sample_rate: float) -> np.ndarray:
    """Of sections (sections, 6, *channels).

    |b_0 + b_1 z^-1 + b_2 z^-2|² = (b_0 + b_1 + b_2)² - 4 (b_0 b_1 + 4 b_0 b_2 + b_1 b_2) φ +
    16 b_0 b_2 φ², φ = sin²(π f / fs), which far below fs loses less than the sum of phasors.
    Source: Bristow-Johnson, "Cookbook formulae for audio EQ biquad filter coefficients".
    """
    phi = np.sin(np.pi * f / sample_rate) ** 2
    phi = phi.reshape(-1, *(1,) * (sos.ndim - 2))
    total: Any = 0.0
    for section in sos:
        top, bottom = (_square(c, phi) for c in (section[:3], section[3:]))
        total = total + 10 * np.log10(np.maximum(top, 1e-40) / np.maximum(bottom, 1e-300))
    return np.maximum(total, FLOOR_DB)


def _square(c: np.ndarray, phi: np.ndarray) -> np.ndarray:
    a, b, d = c
    return (a + b + d) ** 2 - 4 * (a * b + 4 * a * d + b * d) * phi + 16 * a * d * phi**2


def tolerance_db(wanted: np.ndarray, f: np.ndarray, change: Change) -> np.ndarray:
    """By how many dB each gain (frequencies, …) may be off.

    In a loop `SHARE` of the gain, for the reverberation time, and more where a single pass takes
    all there is; elsewhere as much as an error of the amplitude by `AMPLITUDE_DB` of the peak.
    """
    if change.loop:
        size = np.abs(wanted)
        limit = LEAST_DB + SHARE * size * (1 + (size / SHARE_DEPTH) ** 2)
    else:
        limit = AMPLITUDE_DB * 10 ** ((np.max(wanted, axis=0) - wanted) / 20)
    near = np.maximum(0, f / change.nyquist - EDGE) / (TOP - EDGE)
    return limit * (1 + (EDGE_FACTOR - 1) * near).reshape(-1, *(1,) * (wanted.ndim - 1))


def matched(module: Filter, wanted: np.ndarray, f: np.ndarray, change: Change, text: str) -> Filter:
    """The filter, or the filter and a correction in series, with the response that is wanted.

    Args:
        module: The filter, designed anew.
        wanted: Its response in dB, (frequencies, *channels).
        f: The frequencies in Hz.
        change: From where to where.
        text: What was done to the filter, for the record.
    """
    found = response_db(module, f, change.new)
    tolerance = tolerance_db(wanted, f, change)
    result: Filter = module
    worst = float(np.max(np.abs(found - wanted) / tolerance))
    if worst > 1:
        best = _corrected(module, wanted, tolerance, f, change)
        if best.worst < worst:
            found, text = (
                found + best.response,
                f"{text}; corrected by {len(best.sections)} sections",
            )
            result = _joined(module, best.sections, change)
    change.note(module, text, *_errors(np.abs(found - wanted), wanted, f, change))
    return result


def _errors(
    error: np.ndarray, wanted: np.ndarray, f: np.ndarray, change: Change
) -> tuple[float, float | None]:
    """The largest deviation in dB, and in a loop as a share of the gain: see `Note`."""
    heard = (f <= EDGE * change.nyquist).reshape(-1, *(1,) * (wanted.ndim - 1))
    loud = heard & (wanted >= np.max(wanted, axis=0) - HEARD_DB)
    share = error / np.maximum(np.abs(wanted), HUNDREDTH)
    most = float(np.max(share, where=loud, initial=0.0)) if change.loop else None
    return float(np.max(error, where=loud, initial=0.0)), most


@dataclass(frozen=True)
class _Correction:
    """Sections for each channel, (sections, 5, *channels): see `_curve`."""

    sections: np.ndarray
    response: np.ndarray
    worst: float


def _corrected(
    module: Filter, wanted: np.ndarray, tolerance: np.ndarray, f: np.ndarray, change: Change
) -> _Correction:
    """The fewest sections that make up what is missing, or the best of `SECTIONS`."""
    held = np.linspace(f[-1], TOP * change.new / 2, 24)[1:] if change.new > change.old else f[:0]
    points = np.concatenate([f, held])
    goal = np.concatenate([wanted, np.repeat(wanted[-1:], len(held), axis=0)])
    missing = (goal - response_db(module, points, change.new)).reshape(len(points), -1)
    weight = np.concatenate([1 / tolerance, BEYOND / np.repeat(tolerance[-1:], len(held), axis=0)])
    weight = weight.reshape(len(points), -1)
    omega = np.tan(np.pi * points / change.new)
    best: _Correction | None = None
    before: list[np.ndarray] = [np.zeros((0, 5))] * missing.shape[1]
    for count in range(1, SECTIONS + 1):
        fitted: list[np.ndarray] = []
        for k, start in enumerate(before):
            # Lines of one network want nearly the same, so one that is found serves the next.
            begins = _begins(start, missing[:, k], omega, change) if k == 0 else fitted[-1:]
            fitted.append(_fit(missing[:, k], weight[:, k], omega, begins, change))
        before = fitted
        response = np.stack([_curve(p, omega[: len(f)])[0] for p in fitted], axis=-1)
        off = np.abs(response - missing[: len(f)]) * weight[: len(f)]
        if best is None or np.max(off) < 0.7 * best.worst:
            theta = np.stack(fitted, axis=-1).reshape(count, 5, *wanted.shape[1:])
            best = _Correction(theta, response.reshape(wanted.shape), float(np.max(off)))
        if best.worst <= 1:
            break
    assert best is not None
    return best


def _curve(theta: np.ndarray, omega: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The response in dB of sections at tan(π f / fs), and its derivatives.

    The state-variable filter of `SVF` at Ω = tan(π f / fs) / g, with zeros in the left half plane:
    |H|² = ((m_LP - m_HP Ω²)² + 4 R² β² m_LP m_HP Ω²) / ((1 - Ω²)² + 4 R² Ω²).

    Args:
        theta: ln g, ln R, ln m_LP, ln β and ln m_HP, (sections, 5).
        omega: (frequencies,).

    Returns:
        (frequencies,) and (frequencies, 5 · sections).
    """
    g, R, low, beta, high = (np.exp(p)[:, None] for p in np.asarray(theta).T)
    x = (omega / g) ** 2
    middle, damping = 4 * R**2 * beta**2 * low * high * x, 4 * R**2 * x
    tilt, own = low - high * x, 1 - x
    top, bottom = tilt**2 + middle, own**2 + damping
    slopes = [
        (4 * tilt * high * x - 2 * middle) / top - (4 * own * x - 2 * damping) / bottom,
        2 * middle / top - 2 * damping / bottom,
        (2 * tilt * low + middle) / top,
        2 * middle / top,
        (middle - 2 * tilt * high * x) / top,
    ]
    db = 10 / np.log(10)
    value = db * np.sum(np.log(top) - np.log(bottom), axis=0)
    return value, db * np.stack(slopes, axis=1).reshape(-1, len(omega)).T


def _begins(
    start: np.ndarray, missing: np.ndarray, omega: np.ndarray, change: Change
) -> list[np.ndarray]:
    """Where the search for one more section begins, (sections, 5) each."""
    left = missing - (_curve(start, omega)[0] if len(start) else 0.0)
    low, high = left[0] * np.log(10) / 20, left[-1] * np.log(10) / 20
    places = np.tan(np.pi / 2 * np.array([0.25, 0.5, 0.8]) * min(1.0, 1 / change.ratio))
    found = []
    for place in places:
        for R in (0.7, 1.5):
            one = np.array([[np.log(place), np.log(R), low, 0.0, high]])
            found.append(np.concatenate([start, one]))
    return found


def _fit(
    missing: np.ndarray,
    weight: np.ndarray,
    omega: np.ndarray,
    begins: list[np.ndarray],
    change: Change,
) -> np.ndarray:
    """The sections (sections, 5) of one channel, the best of those found from several starts."""
    count = len(begins[0])
    ends = np.log(np.tan(np.pi * np.array([20.0, change.new / 2 - 20.0]) / change.new))
    damping = np.log([0.505 / QUALITY_RANGE[1], 0.495 / QUALITY_RANGE[0]])
    low = np.tile([ends[0], damping[0], -8.0, -5.0, -8.0], count)
    high = np.tile([ends[1], damping[1], 8.0, 5.0, 8.0], count)

    def residual(p: np.ndarray) -> np.ndarray:
        return weight * (_curve(p.reshape(-1, 5), omega)[0] - missing)

    def slope(p: np.ndarray) -> np.ndarray:
        return weight[:, None] * _curve(p.reshape(-1, 5), omega)[1]

    jac: Any = slope  # SciPy's annotations know its names only
    best, least = begins[0], np.inf
    for begin in begins:
        inside = np.clip(begin.ravel(), low + 1e-6, high - 1e-6)
        found = least_squares(residual, inside, jac, (low, high), x_scale="jac", max_nfev=120)
        worst = np.max(np.abs(found.fun))
        if worst < least:
            best, least = found.x.reshape(count, 5), worst
        if least <= 1:
            break
    return best


def _joined(module: Filter, theta: np.ndarray, change: Change) -> Filter:
    """The filter followed by the correction; a matrix of filters becomes plain sections."""
    g, R, low, beta, high = np.exp(np.moveaxis(theta, 1, 0))
    margin = FREQUENCY_MARGIN * 1.01
    hertz = np.clip(change.new / np.pi * np.arctan(g), margin, change.new / 2 - margin)
    correction = nn.SVF(
        module.channels,
        frequency=hertz,
        resonance=R,
        mix=(low, 2 * R * beta * np.sqrt(low * high), high),
        sections=len(theta),
        sample_rate=change.new,
    )
    if len(module.channels) == 1:
        return nn.Serial(module, correction, names=CORRECTED)  # type: ignore
    sections = np.concatenate([evaluated(m, "sos") for m in (module, correction)])
    return nn.SOS(module.channels, jnp.asarray(sections, jnp.result_type(float)))


def total_db(module: Any, f: np.ndarray, sample_rate: float) -> np.ndarray | None:
    """The response in dB of a gain, a filter or several in series; None of anything else."""
    if isinstance(module, nn.Serial):
        parts = [total_db(part, f, sample_rate) for part in module.modules]
        return None if any(p is None for p in parts) else sum(parts)  # type: ignore[arg-type]
    if isinstance(module, nn.Gain):
        level = 20 * np.log10(np.maximum(np.abs(evaluated(module, "gains")), 1e-10))
        return np.broadcast_to(level, (len(f), *level.shape))
    return response_db(module, f, sample_rate) if hasattr(module, "sos") else None


def most_db(module: Any, sample_rate: float) -> np.ndarray | None:
    """The largest gain in dB at any frequency of what `total_db` knows, (*channels)."""
    top = sample_rate / 2
    f = np.unique(np.concatenate([np.geomspace(1.0, top, 512), np.linspace(0, top, 2048)]))
    total = total_db(module, f, sample_rate)
    return None if total is None else np.max(total, axis=0)


def check_peak(module: Any, before: np.ndarray | None, change: Change) -> None:
    """Refuses what a loop would keep for longer, at any frequency, than it did at the longest.

    Args:
        module: The absorption at the new rate.
        before: What `most_db` gave at the old one, times the stretch of the lines.
        change: From where to where, at the absorption.

    Raises:
        RateError: it passes more than `KEEP` of the least loss there was.
    """
    after = None if before is None else most_db(module, change.new)
    if before is None or after is None:
        return
    allowed = np.where(before < 0, KEEP * before, before + LEAST_DB)
    if (after > allowed).any():
        k = int(np.argmax(after - allowed))
        raise change.refused(
            module,
            f"in its loop it would pass {np.ravel(after)[k]:.4f} dB where it passed "
            f"{np.ravel(before)[k]:.4f} dB at most",
        )
