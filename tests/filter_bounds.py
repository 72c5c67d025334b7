"""What filters do to errors, one channel at a time: see `bounds.py`.

An error that enters a linear system comes out at most ‖h‖₁ times as large, h its impulse response.
Coefficients that are rounded by one unit act as errors that enter where they multiply.
"""

from __future__ import annotations

import numpy as np
from scipy import signal

from emitters.faust.sections import second_order


def gain(b: np.ndarray, a: np.ndarray, length: int) -> float:
    """‖h‖₁ over the samples that there are."""
    x = np.zeros(length)
    x[0] = 1.0
    return float(np.sum(np.abs(np.asarray(signal.lfilter(b, a, x)))))


def convolution(
    x: np.ndarray, y: np.ndarray, taps: np.ndarray, *, error: float, unit: float
) -> float:
    """y[t] = sum_k taps[k] x[t - k]: a sum of as many products as there are taps not zero."""
    total = float(np.sum(np.abs(taps)))
    count = np.count_nonzero(taps)
    return total * error + (count + 2) * unit * total * float(np.max(np.abs(x)))


def recursive(
    x: np.ndarray,
    y: np.ndarray,
    b: np.ndarray,
    a: np.ndarray,
    state: np.ndarray | None = None,
    *,
    error: float,
    unit: float,
) -> float:
    """A recursive filter in the form in which it is emitted."""
    through = gain(b, a, len(x)) * error
    resting = state is None or not np.any(state)
    if resting and len(b) <= 3:
        pad = [0.0] * (3 - len(b))
        call = second_order([*b, *pad], [*a, *pad])
        if call is None:
            return error
        if call.helper == "section":
            return through + _section(x, *map(float, call.settings), unit=unit)
        if call.helper == "one_pole":
            c, high, difference = map(float, call.settings)
            return through + _section(x, 0.0, 0.0, c, high, 0.0, difference, unit=unit)
    b, a = b / a[0], a / a[0]
    peaks = float(np.max(np.abs(x))), float(np.max(np.abs(y)))
    start = 0.0 if state is None else float(np.sum(np.abs(state)))
    terms = float(np.sum(np.abs(b))) * peaks[0] + float(np.sum(np.abs(a[1:]))) * peaks[1] + start
    noise = (2 * len(b) + len(a) + 2) * unit * terms
    return through + gain(np.array([1.0]), a, len(x)) * noise


def _section(
    x: np.ndarray, c1: float, c2: float, c3: float, m0: float, m1: float, m2: float, *, unit: float
) -> float:
    """The trapezoidal section: an error of each state's increment, and of the output's sum.

    s1 ← s1 + 2 d1, s2 ← s2 + 2 d2, y = m0 x + m1 (s1 + d1) + m2 (s2 + d2), with
    d1 = c2 (x - s2) - c1 s1 and d2 = c3 (x - s2) + c2 s1.
    """
    D = np.array([[-c1, -c2], [c2, -c3]])
    into = np.array([c2, c3])
    A, B = np.eye(2) + 2 * D, 2 * into
    C = np.array([m1, m2]) @ (np.eye(2) + D)
    s, peaks, largest = np.zeros(2), np.zeros(2), 0.0
    for value in x:
        peaks = np.maximum(peaks, np.abs(s))
        s = A @ s + B * value
    top = float(np.max(np.abs(x)))
    # An increment: a difference, products and their sum, coefficients rounded: five roundings.
    inner = np.abs(D) @ peaks + np.abs(into) * top
    noise = 5 * unit * 2 * inner + 2 * unit * (peaks + 2 * inner)
    power, reached = np.eye(2), np.zeros(2)
    for _ in x:
        reached += np.abs(C @ power)
        power = A @ power
    outer = abs(m0) * top + abs(m1) * (peaks[0] + inner[0]) + abs(m2) * (peaks[1] + inner[1])
    largest = float(reached @ noise) + 6 * unit * outer
    return largest + 5 * unit * float(np.abs([m1, m2]) @ inner)


def cascade(
    x: np.ndarray,
    y: np.ndarray,
    sos: np.ndarray,
    state: np.ndarray | None = None,
    *,
    error: float,
    unit: float,
) -> float:
    """Section after section."""
    for n, row in enumerate(sos):
        start = None if state is None else state[n]
        begun = np.zeros(2) if start is None else start
        out = np.asarray(signal.lfilter(row[:3], row[3:], x, zi=begun)[0])
        error = recursive(x, out, row[:3], row[3:], start, error=error, unit=unit)
        x = out
    return error
