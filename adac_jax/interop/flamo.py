"""FLAMO's filters: from the raw parameters that it trains to second-order sections.

What gdalsanto/flamo (0.2.20) computes of them in `flamo/processor/dsp.py`, `flamo/functional.py`
and `flamo/auxiliary/eq.py`. Every function takes raw parameters with the channel axes last, (N,) or
(outputs, inputs), and gives sections (sections, 6, *channels): b_0, b_1, b_2, a_0, a_1, a_2.
"""

from __future__ import annotations

import numpy as np

EPSILON = float(np.finfo(np.float32).eps)
PEAK_R = 2.7
"""What the bandwidth of a graphic equaliser's bands is made of: Q = √R / (R - 1)."""
SVF_TYPES = ("lowpass", "highpass", "bandpass", "lowshelf", "highshelf", "peaking", "notch")
BIQUAD_TYPES = {"lowpass": 2, "highpass": 2, "bandpass": 3}
"""Types of `Biquad`, and how many parameters each has."""


def biquad(raw: np.ndarray, kind: str) -> np.ndarray:
    """`Biquad`, `parallelBiquad`: lowpasses, highpasses and bandpasses of the RBJ cookbook.

    ω = π f, with f the raw frequency as a share of fs/2, held in [0, 1]; b is multiplied by |g|,
    held in [-60, 60] dB.

    Args:
        raw: (sections, 2, *channels): f, g; of a bandpass (sections, 3, *channels): f_1, f_2, g.
        kind: One of `BIQUAD_TYPES`.
    """
    gain = np.clip(np.abs(raw[:, -1]), 1e-3, 1e3)
    one = np.ones_like(gain)
    if kind == "bandpass":
        low, high = np.pi * np.clip(raw[:, :2], EPSILON, 1 - EPSILON).swapaxes(0, 1)
        w = (low + high) / 2
        octaves = np.log2(high / low)
        alpha = np.sin(w) * np.sinh(np.log(2) / 2 * octaves * w / np.sin(w))
        b = [alpha, 0 * one, -alpha]
    else:
        w = np.pi * np.clip(raw[:, 0], 0, 1)
        alpha = np.sin(w) / np.sqrt(2)
        c = np.cos(w)
        b = [(1 - c) / 2, 1 - c, (1 - c) / 2]
        if kind == "highpass":
            b = [(1 + c) / 2, -(1 + c), (1 + c) / 2]
    a = [1 + alpha, -2 * np.cos(w), 1 - alpha]
    return np.stack([*(gain * np.asarray(b)), *a], axis=1)


def svf(raw: np.ndarray, kind: str | None) -> np.ndarray:
    """`SVF`, `parallelSVF`: state variable filters.

    After Lee, Choi, Lee, "Differentiable artificial reverberation", 2022:
    f = tan(π σ(x_0) / 2), r = ln(1 + e^x_1) / ln 2, G = 10^(-ln(1 + e^x_2)), and the section of
    f, R, m_LP, m_BP, m_HP as FLAMO's documentation has it.

    Args:
        raw: (5, sections, *channels).
        kind: One of `SVF_TYPES`; None takes the m from x_2, x_3, x_4 and adds 1, 2, 1.
    """
    f = np.tan(np.pi / 2 / (1 + np.exp(-raw[0])))
    R = np.logaddexp(0, raw[1]) / np.log(2)
    G = 10 ** -np.logaddexp(0, raw[2])
    one, zero, middle = np.ones_like(f), np.zeros_like(f), 2 * R * np.sqrt(G)
    low, band, high = {
        "lowpass": (one, zero, zero),
        "highpass": (zero, zero, one),
        "bandpass": (zero, one, zero),
        "lowshelf": (one, middle, G),
        "highshelf": (G, middle, one),
        "peaking": (one, middle, one),
        "notch": (one, middle, one),
        None: (raw[2] + 1, raw[3] + 2, raw[4] + 1),
    }[kind]
    if kind == "peaking":
        R = 1 / R  # of the poles alone: the gain of the band is taken before
    b = [f * f * low + f * band + high, 2 * f * f * low - 2 * high, f * f * low - f * band + high]
    a = [f * f + 2 * R * f + 1, 2 * f * f - 2, f * f - 2 * R * f + 1]
    return np.stack([*b, *a], axis=1)


def graphic_equaliser(raw: np.ndarray, interval: int, rate: float) -> np.ndarray:
    """`GEQ`, `parallelGEQ`: a gain, a low shelf, bands an octave or its share apart, a high shelf.

    Bands stand from 31.25 Hz times 2^(1/interval) on, up to 16 kHz; the shelves half a step
    outside. Schlecht, Habets, "Accurate reverberation time control in feedback delay networks",
    DAFx 2017.

    Args:
        raw: Linear gains, (bands + 3, *channels).
        interval: Bands an octave.
        rate: fs in Hz.

    Raises:
        ValueError: there is another number of gains.
    """
    centres = band_centres(interval)
    if len(raw) != len(centres) + 3:
        raise ValueError(f"{len(raw)} gains are not the {len(centres) + 3} of {interval} an octave")
    edge = 2 ** (1 / interval / 2)
    gains = np.abs(raw)
    zero = np.zeros_like(gains[0])
    sections = [
        np.stack([gains[0], zero, zero, zero + 1, zero, zero]),
        _shelf(gains[1], centres[0] / edge, rate),
        *(_peak(g, c, rate) for g, c in zip(gains[2:-1], centres, strict=True)),
        _shelf(gains[-1], centres[-1] * edge, rate, high=True),
    ]
    return np.stack(sections)


def band_centres(interval: int) -> list[float]:
    """Of a graphic equaliser, in Hz."""
    centres = [31.25]
    while centres[-1] < 16000:
        centres.append(centres[-1] * 2 ** (1 / interval))
    return centres[1:]


def _shelf(gain: np.ndarray, frequency: float, rate: float, high: bool = False) -> np.ndarray:
    t = np.tan(np.pi * frequency / rate)
    g2, g4 = gain**0.5, gain**0.25
    middle = np.sqrt(2) * t * g4
    b = g2 * np.array([g2 * t * t + middle + 1, 2 * g2 * t * t - 2, g2 * t * t - middle + 1])
    a = np.array([g2 + middle + t * t, 2 * t * t - 2 * g2, g2 - middle + t * t])
    return np.concatenate([gain * a, b] if high else [b, a])


def _peak(gain: np.ndarray, frequency: float, rate: float) -> np.ndarray:
    w = 2 * np.pi * frequency / rate
    t = np.tan(w * (PEAK_R - 1) / np.sqrt(PEAK_R) / 2)
    root, middle = np.sqrt(gain), -2 * np.sqrt(gain) * np.cos(w)
    return np.array([root + gain * t, middle, root - gain * t, root + t, middle, root - t])
