"""Absorption whose decay times are scaled by knobs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from adac_jax.errors import AdacError
from adac_jax.frequency import frequency_response
from adac_jax.macros.sections import Sections, fitted, response, sections_like
from adac_jax.nn.module import Module

PLACES = 12
"""Powers on either side of 1 for which gains are designed."""
DEGREE = 6
"""Of the polynomials that go through them."""
NEPERS = math.log(10) / 20
"""A decibel."""
FLAT_DB = 1e-6
"""What varies less over frequency has no shape to scale."""
ROUNDS = 8
"""In which frequencies that lose too little come to count more."""
SAFE = 0.8
"""No line's loss in dB, at any frequency and power, is less than so much of its least one."""
OCTAVES = 10
"""Design frequencies an octave."""


@dataclass(frozen=True)
class Scaling:
    """How lines' absorption is raised to a power p, with filters whose poles do not move.

    |F_i(ω)|^p ≈ |F_i(ω)| g_i(p) |E_i(ω; p)|, with E_i sections of gains G_i(p). All gains are
    1 + t (c_1 + c_2 t + …) with t = log p: at p = 1 they are 1, to the bit.

    Attributes:
        sections: The filters; None where F is the same at all frequencies.
        polynomials: c, (degree, 1 + sections, lines): first g, then G of each section.
        reach: The largest |log p|.
        bands: For each band that has a knob of its own, a and b, (2, sections, lines): a power
            1 + u in that band adds u (a + b u) to the logs of G.
    """

    sections: Sections | None
    polynomials: Any
    reach: float
    bands: tuple[Any, ...] = ()


def line_responses(absorption: Module, sample_rate: float, omega: np.ndarray) -> np.ndarray:
    """|F_i| in dB of an absorption, (frequencies, lines).

    Raises:
        AdacError: it is not linear and time-invariant, or mixes lines, or is silent somewhere.
    """
    with jax.enable_x64(True):
        response = frequency_response(absorption, sample_rate=sample_rate)
        found = np.asarray(response(jnp.asarray(omega)))
    own = np.abs(np.diagonal(found, axis1=1, axis2=2))
    if np.any(np.abs(found).sum(2) - own > 1e-12 * own.max()) or not np.all(own > 0):
        raise AdacError(
            f"The absorption {type(absorption).__name__} mixes lines or silences one, so it has no "
            "decay time that a knob could scale; give each line a filter of its own."
        )
    return 20 * np.log10(own)


def scaling(
    absorption: Module, sample_rate: float, reach: float, bands: Sequence[float] = ()
) -> Scaling:
    """Designs the scaling of an absorption, with its weights as they are now.

    Args:
        absorption: N channels.
        sample_rate: fs in Hz.
        reach: The largest |log p| for a power p.
        bands: Centres in Hz of bands with knobs of their own, rising.

    Raises:
        AdacError: as `line_responses`.
    """
    low, high = 30.0, 0.49 * sample_rate
    f = np.geomspace(low, high, math.ceil(OCTAVES * math.log2(high / low)))
    hz = np.concatenate([[0.0], f])
    omega = 2 * np.pi * hz / sample_rate
    level = line_responses(absorption, sample_rate, omega)
    peak = level.max(axis=0)
    places = reach * np.arange(-PLACES, PLACES + 1) / PLACES
    if np.ptp(level, axis=0).max() < FLAT_DB and not bands:
        flat = np.expm1((np.exp(places)[:, None] - 1) * peak * NEPERS)[:, None]
        return Scaling(None, _frozen(_polynomials(places, flat)), reach)
    sections = sections_like(absorption, sample_rate)
    q = sections.weight(omega)
    # Relative errors of an octave's decibels are those of its decay time; what is heard counts.
    heard = np.where((hz > 80) & (hz < 12000), 1.0, 0.1)[:, None]
    heard = heard / np.maximum(_over_octaves(np.abs(level)), 1e-3 * np.abs(level).max())
    table = np.zeros((len(places), len(q) + 1, level.shape[1]))
    for way in (-1, 1):
        gains = table[PLACES, 1:]
        for k in range(PLACES + way, PLACES + way * (PLACES + 1), way):
            p = math.exp(places[k])
            gains, excess = _designed(q, level, p, heard, gains)
            table[k] = np.vstack([(p - 1) * peak - excess, gains])
    found = _polynomials(places, np.expm1(table * NEPERS))
    _check_safe(q, level, found, reach)
    parts = [_band(q, w[:, None] * level, heard) for w in _windows(hz, np.array(bands))]
    return Scaling(sections, _frozen(found), reach, tuple(map(_frozen, parts)))


def _polynomials(places: np.ndarray, excess: np.ndarray) -> np.ndarray:
    """Coefficients of t, t², …, (degree, gains, lines), by least squares of relative errors."""
    powers = places[:, None] ** np.arange(1, DEGREE + 1)
    flat = excess.reshape(len(places), -1)
    found = np.stack(
        [np.linalg.lstsq(powers / (1 + y)[:, None], y / (1 + y), rcond=None)[0] for y in flat.T],
        axis=-1,
    )
    return found.reshape(DEGREE, *excess.shape[1:])


def _check_safe(q: np.ndarray, level: np.ndarray, found: np.ndarray, reach: float) -> None:
    """Between the places too, no line comes near to losing nothing at any frequency."""
    for t in np.linspace(-reach, reach, 8 * PLACES + 1):
        gains = 1 + np.einsum("d,dkn->kn", t ** np.arange(1, DEGREE + 1), found)
        total = level + (20 * np.log10(gains[0]) + response(q, 20 * np.log10(gains[1:])))
        if not np.all(total <= 0.5 * math.exp(t) * level.max(axis=0)):
            raise AdacError(
                "The absorption varies too much over frequency for fixed filters to scale it; "
                "narrow the range of the knob."
            )


def _over_octaves(level: np.ndarray) -> np.ndarray:
    """Means over an octave round each frequency, (frequencies, lines)."""
    padded = np.pad(level, [(OCTAVES // 2, OCTAVES // 2), (0, 0)], mode="edge")
    count = 2 * (OCTAVES // 2) + 1
    sums = np.cumsum(np.vstack([np.zeros((1, level.shape[1])), padded]), axis=0)
    return (sums[count:] - sums[:-count]) / count


def _designed(
    q: np.ndarray, level: np.ndarray, power: float, weights: np.ndarray, start: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Gains in dB for one power, and by how much each line then is above what is safe."""
    peak = level.max(axis=0)
    gains, over = start, np.zeros(level.shape[1])
    for _ in range(ROUNDS):
        gains = fitted(q, (power - 1) * (level - peak), weights, gains)
        high = level + (power - 1) * peak + response(q, gains) - SAFE * power * peak
        over = np.maximum(0, high.max(axis=0))
        if not over.any():
            break
        weights = np.where(high > 0, 4 * weights, weights)
    return gains, over


def _windows(hz: np.ndarray, centres: np.ndarray) -> list[np.ndarray]:
    """Triangles over the logarithm of frequency, which add up to 1."""
    if not len(centres):
        return []
    place = np.log(np.maximum(hz, 1.0))
    return [np.interp(place, np.log(centres), row) for row in np.eye(len(centres))]


def _band(q: np.ndarray, level: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Log gains per u and u² of a band, (2, sections, lines): exact at u = -1/2 and u = 1."""
    ends = (-0.5, 1.0)
    gains = [fitted(q, u * level, weights) * NEPERS for u in ends]
    matrix = np.array([[u, u * u] for u in ends])
    return np.linalg.solve(matrix, np.stack(gains).reshape(2, -1)).reshape(2, *gains[0].shape)


def _frozen(value: np.ndarray) -> Any:
    """As nested tuples, which a module may hold without their becoming parameters."""
    return tuple(map(_frozen, value)) if np.ndim(value) else float(value)


def scaled(x: Array, design: Scaling, power: Array, bands: Sequence[Array] = ()) -> Array:
    """What an absorption put out, as if each line's had been raised to a power.

    Args:
        x: (…, time, lines).
        design: As `scaling` made it.
        power: p, a scalar.
        bands: The excess u of the power 1 + u of each band, as many as the design has.
    """
    c = jnp.asarray(np.array(design.polynomials), x.dtype)
    t = jnp.clip(jnp.asarray(jnp.log(power), x.dtype), -design.reach, design.reach)
    powers = [t]
    for _ in range(len(c) - 1):
        powers.append(powers[-1] * t)
    excess = jnp.einsum("d,dkn->kn", jnp.stack(powers), c, precision="highest")
    y = x * (1 + excess[0])
    if design.sections is None:
        return y
    excess = excess[1:]
    if bands:
        parts = jnp.asarray(np.array(design.bands), x.dtype)
        v = jnp.stack([jnp.stack([u, u * u]) for u in bands]).astype(x.dtype)
        more = jnp.expm1(jnp.einsum("bd,bdkn->kn", v, parts, precision="highest"))
        excess = excess + more + excess * more
    return design.sections(y, excess)
