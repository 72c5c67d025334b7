"""Finite impulse responses at another rate.

Taps are samples of something at one rate. At another, the filter whose response is nearest to the
old one's below both Nyquist frequencies is the solution of a Toeplitz system; above the old Nyquist
frequency, where nothing is asked, it is free, and uses that to stay causal without any delay:
resampled taps would begin before the first one.
"""

from __future__ import annotations

import numpy as np
from scipy import linalg

from adac_jax import nn
from adac_jax.rates.change import Change, rule
from adac_jax.rates.levels import put

PASS = 0.9
"""Of the lower Nyquist frequency, up to which the response is kept."""
SILENCE = 1e-6
"""What the new filter's energy above that counts, so that it is bounded."""
TAIL = 16
"""Taps more than the same time takes."""
SPARSE = 0.2
"""Filters with a smaller share of taps that are not zero are pulses, moved one by one."""
WORST_DB = -40.0
"""The largest deviation, re the largest gain, with which a filter counts as the same."""
CHUNK = 2**22
"""Numbers held at once."""


@rule(nn.FIR)
def fir(module: nn.FIR, change: Change) -> nn.FIR:
    """The same response below both Nyquist frequencies; sparse pulses keep their places in time.

    Raises:
        RateError: the response cannot be kept to `WORST_DB`.
    """
    h = np.asarray(module.response[...], np.float64)
    flat = h.reshape(len(h), -1)
    if len(h) > TAIL and np.count_nonzero(flat) < SPARSE * flat.size:
        new = moved(flat, change)
        change.note(module, "sparse pulses, each moved to the nearest sample")
    else:
        new = resampled(flat, change)
        worst = deviation_db(flat, new, change)
        if worst > WORST_DB:
            raise change.refused(
                module,
                f"{len(h)} taps keep their response to {worst:.0f} dB only, and it takes "
                f"{WORST_DB:.0f} dB",
            )
        change.note(
            module,
            f"{len(h)} taps became {len(new)}, with the response kept to {worst:.0f} dB of its "
            f"peak up to {PASS * change.nyquist:.0f} Hz",
        )
    module.response = put(module.response, new.reshape(len(new), *h.shape[1:]))
    return module


def moved(h: np.ndarray, change: Change) -> np.ndarray:
    """Taps (count, channels), each at the sample nearest to its time."""
    new = np.zeros((change.samples(len(h) - 1) + 1, h.shape[1]))
    for at, channel in zip(*np.nonzero(h), strict=True):
        new[change.samples(at), channel] += h[at, channel]
    return new


def resampled(h: np.ndarray, change: Change) -> np.ndarray:
    """The taps (count, channels) that are nearest, in least squares, to the old response.

    They minimise ∫ |H' - H|² over frequencies up to `PASS` of the lower Nyquist frequency, and
    `SILENCE` times ∫ |H'|² over those above.
    """
    old, new = change.old, change.new
    edge = PASS * change.nyquist
    count = int(np.ceil(len(h) * change.ratio)) + TAIL
    lag = np.arange(count) / new
    row = (1 - SILENCE) * 2 * edge * np.sinc(2 * edge * lag)
    row[0] += SILENCE * new
    right = np.empty((count, h.shape[1]))
    step = max(1, CHUNK // len(h))
    for start in range(0, count, step):
        apart = lag[start : start + step, None] - np.arange(len(h)) / old
        right[start : start + step] = 2 * edge * np.sinc(2 * edge * apart) @ h
    return np.asarray(linalg.solve_toeplitz(row, right))


def deviation_db(h: np.ndarray, new: np.ndarray, change: Change) -> float:
    """The largest |H' - H| up to the edge, in dB re the largest |H| there."""
    points = 2 * max(len(h), len(new))
    f = np.linspace(0, PASS * change.nyquist, min(points, 4096))
    before, after = (
        _response(taps, f / rate) for taps, rate in ((h, change.old), (new, change.new))
    )
    peak = float(np.max(np.abs(before)))
    worst = float(np.max(np.abs(after - before)))
    return 20 * np.log10(max(worst, 1e-15) / max(peak, 1e-300))


def _response(taps: np.ndarray, turns: np.ndarray) -> np.ndarray:
    """At frequencies in turns a sample, (frequencies, channels)."""
    found = np.empty((len(turns), taps.shape[1]), complex)
    step = max(1, CHUNK // len(taps))
    for start in range(0, len(turns), step):
        angle = np.outer(turns[start : start + step], np.arange(len(taps)))
        found[start : start + step] = np.exp(-2j * np.pi * angle) @ taps
    return found
