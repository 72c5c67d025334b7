"""What effects compute, sample by sample in plain NumPy from the equations of their docstrings."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import numpy as np

RATE = 48000.0
KINKS = {"hard": (-1.0, 1.0), "cubic": (-1.5, 1.5), "rational": (0.0,)}
"""Where a curve is not smooth."""
CURVES: dict[str, Callable[[Any], Any]] = {
    "tanh": np.tanh,
    "hard": lambda x: np.clip(x, -1, 1),
    "cubic": lambda x: np.where(np.abs(x) < 1.5, x - 4 * x**3 / 27, np.sign(x)),
    "rational": lambda x: x / (1 + np.abs(x)),
    "algebraic": lambda x: x / np.sqrt(1 + x**2),
    "arctan": np.arctan,
    "arcsinh": np.arcsinh,
}
NODES, WEIGHTS = np.polynomial.legendre.leggauss(32)


def oscillation(length: int, rate: float, wave: str, start: float) -> np.ndarray:
    """An oscillator that counts in 2^-32 of a turn."""
    count = np.arange(length) * round(2**32 * rate / RATE) + round(2**32 * start)
    phase = (count % 2**32) / 2**32
    phase = phase - (phase >= 0.5)
    if wave == "sine":
        return np.sin(2 * np.pi * phase)
    return np.where(np.abs(phase) <= 0.25, 4 * phase, np.sign(phase) * (2 - 4 * np.abs(phase)))


def read(u: np.ndarray, t: int, d: float) -> float:
    """u[t - d] by the cubic through four samples, of which those in the middle are nearest."""
    whole = int(np.floor(d - 1))
    found = 0.0
    for k in range(4):
        others = [j for j in range(4) if j != k]
        h = np.prod([(d - whole - j) / (k - j) for j in others])
        found += h * u[t - whole - k] if t >= whole + k else 0.0
    return found


def modulated_delay(
    x: np.ndarray,
    *,
    delay: float,
    depth: float,
    rate: float,
    feedback: float = 0.0,
    dry: float = 1.0,
    wet: float,
    wave: str,
    spread: float,
) -> np.ndarray:
    y = np.zeros_like(x)
    for i in range(x.shape[1]):
        wavering = oscillation(len(x), rate, wave, i * spread / x.shape[1])
        d = RATE * (delay + depth * (1 + wavering) / 2)
        u = x[:, i].copy()
        for t in range(len(x)):
            late = read(u, t, d[t])
            u[t] = x[t, i] + feedback * late
            y[t, i] = dry * x[t, i] + wet * late
    return y


def tremolo(x, *, depth, rate, wave, spread) -> np.ndarray:
    count = x.shape[1]
    waves = [oscillation(len(x), rate, wave, i * spread / count) for i in range(count)]
    return x * (1 - depth * (1 - np.stack(waves, 1)) / 2)


def phaser(x, *, stages, low, high, rate, feedback, mix, wave, spread) -> np.ndarray:
    bottom, top = (np.tan(np.pi * f / RATE) for f in (low, high))
    y = np.zeros_like(x)
    for i in range(x.shape[1]):
        wavering = oscillation(len(x), rate, wave, i * spread / x.shape[1])
        states, last = np.zeros(stages), 0.0
        for t in range(len(x)):
            g = bottom * (top / bottom) ** ((1 + wavering[t]) / 2)
            a = (g - 1) / (g + 1)
            k = np.sqrt(1 - a * a)
            v = x[t, i] + feedback * last
            for j in range(stages):
                v, states[j] = a * v + k * states[j], k * v - a * states[j]
            last = v
            y[t, i] = x[t, i] + mix * v
    return y


def ping_pong(x, *, time, feedback, damping, dry, wet) -> np.ndarray:
    m, p = round(time * RATE), np.exp(-2 * np.pi * damping / RATE)
    N = x.shape[1]
    u, v, y = np.zeros_like(x), np.zeros_like(x), np.zeros_like(x)
    for t in range(len(x)):
        late = v[t - m] if t >= m else np.zeros(N)
        for i in range(N):
            u[t, i] = x[t, i] + feedback * late[i - 1]
        v[t] = (1 - p) * u[t] + (p * v[t - 1] if t else 0)
        y[t] = dry * x[t] + wet * late
    return y


def gate(x, *, range_db, threshold_db, ratio, knee_db, attack, release) -> np.ndarray:
    opening, closing = (np.exp(-1 / (s * RATE)) for s in (attack, release))
    g, y = 0.0, np.zeros_like(x)
    for t, v in enumerate(x):
        under = threshold_db - 20 * np.log10(max(np.max(np.abs(v)), 1e-6))
        if under < -knee_db / 2:
            c = 0.0
        elif under <= knee_db / 2:
            c = (1 - ratio) * (under + knee_db / 2) ** 2 / (2 * knee_db)
        else:
            c = (1 - ratio) * under
        c = max(c, range_db)
        a = closing if c < g else opening
        g = a * g + (1 - a) * c
        y[t] = v * 10 ** (g / 20)
    return y


def limiter(x, *, ceiling_db, lookahead, release) -> np.ndarray:
    L, a = round(lookahead * RATE), np.exp(-1 / (release * RATE))
    loud = np.max(np.abs(x), axis=1)
    needed = np.minimum(1, 10 ** (ceiling_db / 20) / np.maximum(loud, 1e-9))
    needed = np.concatenate([np.ones(L), needed])
    held, last, y = [1.0] * L, 1.0, np.zeros_like(x)
    for t in range(len(x)):
        last = min(np.min(needed[t : t + L + 1]), 1 - a * (1 - last))
        held.append(last)
        if t >= L:
            y[t] = np.mean(held[t : t + L + 1]) * x[t - L]
    return y


def mean_of(curve: str, a: float, b: float) -> float:
    """The mean of a curve from a to b, by 32 points on each smooth piece of length 1 at most.

    The nearest singularity, of algebraic curves and the arcs, is ±j: the error is below 4^-64.
    """
    f = CURVES[curve]
    if a == b:
        return float(f(a))
    between = [*KINKS.get(curve, ()), *range(-99, 100)]
    ends = [min(a, b), *(k for k in sorted(between) if min(a, b) < k < max(a, b)), max(a, b)]
    total = 0.0
    for low, high in pairwise(ends):
        total += (high - low) / 2 * np.sum(WEIGHTS * f((low + high) / 2 + (high - low) / 2 * NODES))
    return total / (ends[-1] - ends[0])


def waveshaper(x, *, curve, drive_db, level_db=0.0, bias=0.0, antialias=True) -> np.ndarray:
    u = 10 ** (drive_db / 20) * x + bias
    f = CURVES[curve]
    if antialias:
        before = np.vstack([np.full((1, x.shape[1]), bias), u[:-1]])
        shaped = np.vectorize(lambda a, b: mean_of(curve, a, b))(before, u)
    else:
        shaped = f(u)
    return 10 ** (level_db / 20) * (shaped - f(bias))


def sections(x: np.ndarray, sos: np.ndarray) -> np.ndarray:
    """Second-order sections, (sections, 6, channels), in their direct form."""
    for b0, b1, b2, a0, a1, a2 in sos:
        y = np.zeros((len(x) + 2, x.shape[1]))
        past = np.vstack([np.zeros((2, x.shape[1])), x])
        for t in range(2, len(y)):
            heard = b0 * past[t] + b1 * past[t - 1] + b2 * past[t - 2]
            y[t] = (heard - a1 * y[t - 1] - a2 * y[t - 2]) / a0
        x = y[2:]
    return x


def tone_stack_transfer(
    t: float, m: float, low: float, parts: dict[str, float]
) -> tuple[np.ndarray, np.ndarray]:
    """b and a in rising powers of s of Yeh and Smith 2006, section 2.1, terms gathered."""
    R1, R2, R3, R4, C1, C2, C3 = (parts[n] for n in ("R1", "R2", "R3", "R4", "C1", "C2", "C3"))
    C12, C13, C23, C123 = C1 * C2, C1 * C3, C2 * C3, C1 * C2 * C3
    middle = m * (1 - m) * R3**2
    both = low * m * R2 * R3
    b1 = t * C1 * R1 + m * C3 * R3 + (C1 + C2) * (low * R2 + R3)
    b2 = (
        t * (C12 + C13) * R1 * R4
        + (C13 + C23) * (middle + both)
        + m * C13 * R1 * R3
        + low * R2 * (C12 * R1 + (C12 + C13) * R4)
        + R3 * (C12 * R1 + (C12 + C13) * R4)
    )
    b3 = C123 * ((both + middle) * (R1 + R4) + t * R1 * R4 * ((1 - m) * R3 + low * R2))
    a1 = C1 * R1 + (C1 + C2) * (R3 + low * R2) + (C2 + C3) * R4 + m * C3 * R3
    a2 = (
        (C13 + C23) * (middle + both)
        + m * R3 * (C13 * R1 - C23 * R4)
        + low * R2 * (C12 * R1 + (C12 + C13 + C23) * R4)
        + (C12 + C13) * R1 * R4
        + R3 * (C12 * R1 + (C12 + C13 + C23) * R4)
    )
    a3 = C123 * ((both + middle) * (R1 + R4) + R1 * R4 * ((1 - m) * R3 + low * R2))
    return np.array([0, b1, b2, b3]), np.array([1, a1, a2, a3])


def tone_stack(
    x: np.ndarray, t: float, m: float, low: float, parts: dict[str, float]
) -> np.ndarray:
    """The bilinear transform of the published transfer function; its loop has 64 bits of digits."""
    polynomials = tone_stack_transfer(t, m, low, parts)
    minus, plus = np.array([1, -1], np.longdouble), np.array([1, 1], np.longdouble)
    b, a = (np.zeros(4, np.longdouble) for _ in range(2))
    for into, given in zip((b, a), polynomials, strict=True):
        for power, coefficient in enumerate(given):
            term = np.ones(1, np.longdouble)
            for k in range(3):
                term = np.convolve(term, 2 * RATE * minus if k < power else plus)
            into += coefficient * term
    past = np.vstack([np.zeros((3, x.shape[1])), x]).astype(np.longdouble)
    y = np.zeros_like(past)
    for n in range(3, len(y)):
        heard = sum(b[k] * past[n - k] for k in range(4))
        y[n] = (heard - sum(a[k] * y[n - k] for k in (1, 2, 3))) / a[0]
    return y[3:].astype(float)


def gelu(x: np.ndarray) -> np.ndarray:
    return x / 2 * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)))


def state_space(
    x: np.ndarray, step: np.ndarray, A: np.ndarray, C: np.ndarray, D: np.ndarray
) -> np.ndarray:
    """Complex states, (channels, N / 2), one sample after the other."""
    turned = np.exp(step * A)
    into = (turned - 1) / A
    s, y = np.zeros_like(A), np.zeros_like(x)
    for t, u in enumerate(x):
        s = turned * s + into * u[:, None]
        y[t] = 2 * np.real(np.sum(C * s, axis=1)) + D * u
    return y


def learned_curve(weights: Sequence[tuple[np.ndarray, np.ndarray]], v: float) -> float:
    h = np.array([v])
    for k, (W, b) in enumerate(weights):
        h = (np.tanh(h) if k else h) @ W + b
    return float(h[0])
