"""Equaliser sections whose poles stay where they are while their gains move.

A section is y = x + (G - 1)/2 (x ∓ A x), with A a fixed allpass of order one or two and G a gain
without memory: so G may change at every sample without a pole that moves. At G = 1 it is x, to the
bit. With q(ω) = (1 ∓ Re A(e^jω))/2, which is 1 where the section acts and 0 where it does not,

    |H(e^jω)|² = 1 + (G² - 1) q(ω),

since |A| = 1: between 1 and G² at every frequency. Source: P. Regalia and S. Mitra, "Tunable
digital frequency response equalization filters", IEEE Trans. ASSP 35(1), 1987.

Where G ≤ 1, as in loops, the gain is put on both sides of the allpass: with a² = (1 - G)/2,

    y = (1 - a²) x ± a A(a x),

the same at rest, and however a moves, y has no more energy than x: it is Uᵀ diag(1, ±A) U x with
U = (√(1 - a²), a) of length one at every sample. A gain on one side only has no such bound.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike

from adac_jax.designs.graphic import GraphicBands
from adac_jax.nn.first_order import FirstOrder
from adac_jax.primitives import sosfilt

ITERATIONS = 25
"""Of Levenberg and Marquardt's method, from a start that is near."""
DAMPING, RIDGE = 1e-3, 1e-9
"""Of its steps, as a share of the mean curvature, and at least."""
SETTLED_DB = 1e-4
"""What a last step changes at most."""
LEAST_DB = -40.0
"""Gains lie within ± this."""


@dataclass(frozen=True)
class Sections:
    """Fixed allpasses.

    Attributes:
        sos: One second-order section each, (b_0, b_1, b_2, 1, a_1, a_2).
        signs: -1 where the section is x - A x, 1 where it is x + A x.
    """

    sos: tuple[tuple[float, ...], ...]
    signs: tuple[float, ...]

    def weight(self, omega: np.ndarray) -> np.ndarray:
        """Q of each section, (sections, frequencies).

        Args:
            omega: ω in radians a sample.
        """
        z = np.exp(-1j * omega)
        rows = []
        for section, sign in zip(self.sos, self.signs, strict=True):
            b, a = np.polyval(section[2::-1], z), np.polyval(section[:2:-1], z)
            rows.append((1 + sign * (b / a).real) / 2)
        return np.clip(np.stack(rows), 0, 1) if rows else np.zeros((0, len(omega)))

    def __call__(self, x: Array, excess: ArrayLike) -> Array:
        """Applies all sections, one after the other.

        Args:
            x: Audio (…, time, channels).
            excess: G - 1 of each, (sections, channels) or (sections, 1).
        """
        half = jnp.asarray(excess, x.dtype) / 2
        for k, (passed, sign) in enumerate(self._allpasses()):
            x = x + half[k] * (x - passed(x) if sign < 0 else x + passed(x))
        return x

    def cut(self, x: Array, a: ArrayLike) -> Array:
        """The same for G ≤ 1 that move, without ever adding energy.

        Args:
            x: Audio (…, time, channels).
            a: √((1 - G)/2) of each, between 0 and 1, (sections, channels).
        """
        a = jnp.asarray(a, x.dtype)
        for k, (passed, sign) in enumerate(self._allpasses()):
            turned = a[k] * passed(a[k] * x)
            x = x - (a[k] * a[k]) * x
            x = x + turned if sign < 0 else x - turned
        return x

    def fixed(self, gains: np.ndarray, level: np.ndarray) -> np.ndarray:
        """As second-order sections, (sections, 6, channels), for gains that do not move.

        Args:
            gains: G of each, (sections, channels).
            level: What all is multiplied by, (channels,).
        """
        found, half = [], []
        for section, sign, G in zip(self.sos, self.signs, gains, strict=True):
            b, a = (np.array(part)[:, None] for part in (section[:3], section[3:]))
            made = np.concatenate([a + (G - 1) / 2 * (a + sign * b), a + 0 * G])
            # Two of order one are one of order two.
            (half if section[2] == section[5] == 0 else found).append(made)
        for k in range(0, len(half) - 1, 2):
            x, y = (h.reshape(2, 3, -1)[:, :2] for h in half[k : k + 2])
            product = (x[:, 0] * y[:, 0], x[:, 0] * y[:, 1] + x[:, 1] * y[:, 0], x[:, 1] * y[:, 1])
            found.append(np.stack(product, axis=1).reshape(6, -1))
        found += half[len(half) // 2 * 2 :]
        sos = np.stack(found)
        sos[0, :3] *= level
        return sos

    def _allpasses(self) -> list[tuple[Callable[[Array], Array], float]]:
        parts = (partial(sosfilt, np.array([section])) for section in self.sos)
        return list(zip(parts, self.signs, strict=True))  # type: ignore[arg-type]


def first_order_allpass(frequency: float, sample_rate: float) -> tuple[float, ...]:
    """A = (a + z^-1) / (1 + a z^-1): 1 at DC, -1 at Nyquist, ±90 degrees at the frequency."""
    t = np.tan(np.pi * frequency / sample_rate)
    a = float((t - 1) / (t + 1))
    return (a, 1.0, 0.0, 1.0, a, 0.0)


def second_order_allpass(frequency: float, quality: float, sample_rate: float) -> tuple[float, ...]:
    """1 at DC and Nyquist, -1 at the frequency, with the poles of a peak of 0 dB."""
    alpha = np.sin(2 * np.pi * frequency / sample_rate) / (2 * quality)
    a2 = float((1 - alpha) / (1 + alpha))
    a1 = float(-np.cos(2 * np.pi * frequency / sample_rate) * (1 + a2))
    return (a2, a1, 1.0, 1.0, a1, a2)


def sections_like(absorption: Any, sample_rate: float) -> Sections:
    """Sections that can follow an absorption.

    Of a first-order filter, high shelves an octave apart. Else a low shelf, peaks, and high
    shelves: where a graphic equaliser has its bands, or at octaves from 125 Hz to 8 kHz.
    """
    if isinstance(absorption, FirstOrder):
        octaves = [11314.0 * 2.0**-k for k in range(7)][::-1]
        sos = [first_order_allpass(f, sample_rate) for f in octaves if f < 0.42 * sample_rate]
        return Sections(tuple(sos), (-1.0,) * len(sos))
    bands: GraphicBands | None = getattr(absorption, "bands", None)
    if isinstance(bands, GraphicBands):
        peaks = list(zip(bands.centres, bands.qualities[1:-1], strict=True))
        low, high = bands.crossovers
    else:
        count = max(1, math.floor(math.log2(min(8000.0, 0.3 * sample_rate) / 125.0) + 1e-9) + 1)
        peaks = [(125.0 * 2.0**k, 1.0) for k in range(count)]
        low, high = 125.0 / 1.6, 1.6 * peaks[-1][0]
    # More than one high shelf: what air and walls take grows over octaves.
    shelves = [f for f in (high / 4, high / 2, high) if f < 0.42 * sample_rate]
    sos = [
        first_order_allpass(low, sample_rate),
        *(second_order_allpass(f, quality, sample_rate) for f, quality in peaks),
        *(first_order_allpass(f, sample_rate) for f in shelves),
    ]
    return Sections(tuple(sos), (1.0, *(-1.0 for _ in range(len(sos) - 1))))


def response(q: np.ndarray, gains_db: np.ndarray) -> np.ndarray:
    """What sections with these gains, (sections, channels), do in dB, (frequencies, channels)."""
    square = 10 ** (gains_db / 10)[:, None, :]
    return 10 * np.log10(1 + (square - 1) * q[:, :, None]).sum(0)


def fitted(
    q: np.ndarray,
    targets_db: np.ndarray,
    weights: np.ndarray,
    start: np.ndarray | None = None,
) -> np.ndarray:
    """The gains in dB whose sections together come nearest to some responses.

    Least squares in dB of Σ_k 10 lg(1 + (G_k² - 1) q_k), by Levenberg and Marquardt's method.

    Args:
        q: (sections, frequencies).
        targets_db: (frequencies, channels).
        weights: (frequencies, channels): what an error of 1 dB costs.
        start: Gains in dB to begin with; 0 if None.

    Returns:
        (sections, channels).
    """
    x = np.zeros((len(q), targets_db.shape[1])) if start is None else start
    weights = weights**2 / np.mean(weights**2, axis=0)
    for _ in range(ITERATIONS):
        square = 10 ** (x / 10)[:, None, :]
        inside = 1 + (square - 1) * q[:, :, None]
        missing = targets_db - 10 * np.log10(inside).sum(0)
        slope = np.moveaxis(square * q[:, :, None] / inside, -1, 0)  # (channels, sections, points)
        weighted = slope * np.swapaxes(weights, 0, 1)[:, None]
        normal = weighted @ np.swapaxes(slope, 1, 2)
        damped = DAMPING * np.trace(normal, axis1=1, axis2=2)[:, None, None] / len(q) + RIDGE
        right = np.einsum("ckf,fc->ck", weighted, missing)
        move = np.linalg.solve(normal + damped * np.eye(len(q)), right[..., None])[..., 0].T
        x = np.clip(x + np.clip(move, -3, 3), LEAST_DB, -LEAST_DB)
        if np.abs(move).max() < SETTLED_DB:
            break
    return x
