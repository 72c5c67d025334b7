"""Absorption whose decay times are scaled by knobs.

Lines that lose |F| on each pass at rest lose |F|^p elsewhere. For some powers p_j there are fixed
filters H_j with |H_j| = |F|^(p_j); between two of them,

    y = cos θ H_j(cos θ x) + sin θ H_k(sin θ x),

whose response while θ stands still is cos² θ H_j + sin² θ H_k. It is Uᵀ diag(H_j, H_k) U x with U
of length one at every sample: if neither filter adds energy, no motion of θ does. A weight on one
side alone has no such bound. At p = 1 it is F x, to the bit.

Interpolation between gains exp(-p_j x) and exp(-p_k x) misses p x by about x² (p_k - p_j)² / 8, so
lines that lose more on a pass get more powers.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from adac_jax import designs
from adac_jax.errors import AdacError
from adac_jax.frequency import frequency_response
from adac_jax.macros.sections import Sections, fitted, response, sections_like
from adac_jax.nn.graphic import GraphicEqualiser
from adac_jax.nn.module import Module
from adac_jax.primitives import sosfilt

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
MISSED = 0.015
"""By how much of the decay time interpolation may miss it, about."""
MOST = 6
"""Powers on either side of 1."""
TINY = 1e-12
"""A weight whose square is less has no slope any more."""


@dataclass(frozen=True)
class Scaling:
    """How an absorption F is raised to powers.

    Attributes:
        level: log |F| of each line where F is the same at all frequencies, else None.
        powers: p_j, rising, 1 among them.
        filters: Of each power but 1, sections (sections, 6, lines): what follows F, or H_j itself.
        follows: Whether they follow F.
        bends: β_j of each interval: with λ from 0 to 1, cos² θ = 1 - λ (1 + β (1 - λ)).
        sections: Equaliser sections for the bands that have knobs of their own.
        bands: For each of them, (2, sections, lines): a power 1 + u in that band adds
            p u (b_0 + b_1 u) to the logs of the sections' gains.
    """

    level: Any
    powers: tuple[float, ...] = (1.0,)
    filters: tuple[Any, ...] = ()
    follows: bool = False
    bends: tuple[float, ...] = ()
    sections: Sections | None = None
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
    absorption: Module,
    sample_rate: float,
    least: float,
    most: float,
    bands: Sequence[float] = (),
) -> Scaling:
    """Designs the scaling of an absorption, with its weights as they are now.

    Args:
        absorption: N channels.
        sample_rate: fs in Hz.
        least: The lowest power, at most 1.
        most: The highest, at least 1.
        bands: Centres in Hz of bands with knobs of their own, rising.

    Raises:
        AdacError: as `line_responses`; or the absorption varies too much over frequency.
    """
    low, high = 30.0, 0.49 * sample_rate
    f = np.geomspace(low, high, math.ceil(OCTAVES * math.log2(high / low)))
    hz = np.concatenate([[0.0], f])
    omega = 2 * np.pi * hz / sample_rate
    level = line_responses(absorption, sample_rate, omega)
    # Relative errors of an octave's decibels are those of its decay time; what is heard counts.
    heard = np.where((hz > 80) & (hz < 12000), 1.0, 0.1)[:, None]
    heard = heard / np.maximum(_over_octaves(np.abs(level)), 1e-3 * np.abs(level).max())
    sections, parts = None, []
    if bands:
        sections = sections_like(absorption, sample_rate)
        q = sections.weight(omega)
        parts = [_band(q, w[:, None] * level, heard) for w in _windows(hz, np.array(bands))]
    knobs = {"sections": sections, "bands": tuple(map(_frozen, parts))}
    if np.ptp(level, axis=0).max() < FLAT_DB:
        return Scaling(_frozen(level.max(axis=0) * NEPERS), **knobs)
    audible = np.abs(level[(hz > 80) & (hz < 12000)]).max() * NEPERS
    powers = (*_powers(1.0, least, audible)[::-1], *_powers(1.0, most, audible)[1:])
    follows = not isinstance(absorption, GraphicEqualiser)
    design = _following if follows else _graphic
    found = design(absorption, sample_rate, omega, level, heard)
    filters = [None if p == 1 else found(p) for p in powers]
    values = [
        10 ** (level / 20)
        if s is None
        else _gain(s, omega) * (10 ** (level / 20) if follows else 1)
        for s in filters
    ]
    for p, value in zip(powers, values, strict=True):
        _check_safe(value, p * level)
    bends = [
        _bend(a, b, x, y, level * NEPERS, heard)
        for (a, b), (x, y) in zip(pairwise(powers), pairwise(values), strict=True)
    ]
    frozen = tuple(_frozen(s) for s in filters if s is not None)
    return Scaling(None, powers, frozen, follows, tuple(bends), **knobs)


def _powers(start: float, end: float, x: float) -> list[float]:
    """Powers from one to another between which interpolation of exp(-p x) is good enough."""
    found = [start]
    for count in range(1, MOST + 1):
        found = [start * (end / start) ** (k / count) for k in range(count + 1)]
        # Half of what is missed goes to either side, see `_bend`.
        steps = [x * (b - a) ** 2 / (a + b) / 8 for a, b in pairwise(found)]
        if end == start or max(map(abs, steps)) < MISSED:
            break
    return [start] if end == start else found


def _gain(sos: np.ndarray, omega: np.ndarray) -> np.ndarray:
    """|H| of sections, (frequencies, lines)."""
    z = np.exp(-1j * np.outer(omega, np.arange(3)))
    parts = np.einsum("wk,sknc->nswc", z, sos.reshape(len(sos), 2, 3, -1).swapaxes(1, 2))
    return np.abs(np.prod(parts[0] / parts[1], axis=0))


def _following(
    absorption: Module, sample_rate: float, omega: np.ndarray, level: np.ndarray, heard: np.ndarray
) -> Callable[[float], np.ndarray]:
    """Sections that follow F and make F^p of it."""
    sections = sections_like(absorption, sample_rate)
    q = sections.weight(omega)

    def design(p: float) -> np.ndarray:
        gains, over = _designed(q, level, p, heard, np.zeros((len(q), level.shape[1])))
        flat = (p - 1) * level.max(axis=0) - over
        return sections.fixed(10 ** (gains / 20), 10 ** (flat / 20))

    return design


def _graphic(
    absorption: Any, sample_rate: float, omega: np.ndarray, level: np.ndarray, heard: np.ndarray
) -> Callable[[float], np.ndarray]:
    """The same equaliser with its gains in dB times p: bands' widths follow their gains."""
    with jax.enable_x64(True):
        gains = np.asarray(absorption.filter_gains(), float)

    def design(p: float) -> np.ndarray:
        with jax.enable_x64(True):
            prototypes = designs.graphic_sections(absorption.bands, jnp.asarray(p * gains[1:]))
            parts = [np.asarray(designs.second_order(*proto, g), float) for proto, g in prototypes]
        sos = np.concatenate(parts)
        found = 20 * np.log10(_gain(sos, omega))
        weights = heard**2 / (heard**2).sum(axis=0)
        flat = (weights * (p * level - found)).sum(axis=0)
        over = np.maximum(0, (flat + found - SAFE * p * level.max(axis=0)).max(axis=0))
        sos[0, :3] *= 10 ** ((flat - over) / 20)
        return sos

    return design


def _bend(
    first: float, last: float, x: np.ndarray, y: np.ndarray, level: np.ndarray, heard: np.ndarray
) -> float:
    """β for which interpolated lines lose on average what they should between two powers."""
    shares = np.linspace(0.1, 0.9, 9)
    bends = np.linspace(-0.5, 0.5, 101)
    errors = []
    for bend in bends:
        total = 0.0
        for share in shares:
            weight = share * (1 + bend * (1 - share))
            wanted = (first + share * (last - first)) * level
            missing = np.log((1 - weight) * x + weight * y) - wanted
            total += float(np.sum((missing * heard) ** 2))
        errors.append(total)
    return float(bends[int(np.argmin(errors))])


def _check_safe(gain: np.ndarray, wanted: np.ndarray) -> None:
    """No line comes near to losing nothing at any frequency."""
    if not np.all(20 * np.log10(gain) <= 0.5 * wanted.max(axis=0)):
        raise AdacError(
            "The absorption varies too much over frequency for its decay times to be scaled; "
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


class Scaled:
    """F^p at the positions of knobs.

    Args:
        design: As `scaling` made it.
        trained: F, of (…, time, lines).
        power: p, a scalar; 1 at rest, to the bit.
        bands: The excess u of the power 1 + u of each band, as many as the design has.
    """

    def __init__(
        self,
        design: Scaling,
        trained: Callable[[Array], Array],
        power: Array,
        bands: Sequence[Array] = (),
    ) -> None:
        self.design, self.trained, self.bands = design, trained, bands
        self.p = jnp.clip(power, design.powers[0], design.powers[-1]) if design.filters else power

    def __call__(self, x: Array) -> Array:
        """Filters (…, time, lines)."""
        if self.design.level is not None:
            y = self.trained(x) * jnp.exp((self.p - 1) * np.array(self.design.level)).astype(
                x.dtype
            )
        else:
            y = self._between(x)
        return self._banded(y) if self.bands else y

    def _between(self, x: Array) -> Array:
        """From F outwards, so that it is F alone at rest."""
        powers, middle = self.design.powers, self.design.powers.index(1.0)
        filters = [self._filter(k) for k in range(len(powers))]

        def outwards(order: Sequence[int], x: Array) -> Array:
            if len(order) == 1:
                return filters[order[0]](x)
            angle = self._angle(order[0], order[1]).astype(x.dtype)
            here, there = jnp.cos(angle), jnp.sin(angle)
            return here * filters[order[0]](here * x) + there * outwards(order[1:], there * x)

        below, above = range(middle, -1, -1), range(middle, len(powers))
        if len(below) == 1 or len(above) == 1:
            return outwards(below if len(above) == 1 else above, x)
        filters[middle] = lambda x, below=filters[middle]: below(x)
        angle = self._angle(middle, middle + 1).astype(x.dtype)
        here, there = jnp.cos(angle), jnp.sin(angle)
        return here * outwards(below, here * x) + there * outwards(above[1:], there * x)

    def _filter(self, k: int) -> Callable[[Array], Array]:
        middle = self.design.powers.index(1.0)
        if k == middle:
            return self.trained
        sos = np.array(self.design.filters[k - (k > middle)])
        if self.design.follows:
            return lambda x: sosfilt(sos, self.trained(x))  # type: ignore[return-value]
        return lambda x: sosfilt(sos, x)  # type: ignore[return-value]

    def _angle(self, near: int, far: int) -> Array:
        """θ between two powers: 0 on the side of the nearer to 1, π/2 beyond the other."""
        a, b = self.design.powers[near], self.design.powers[far]
        bend = self.design.bends[min(near, far)] * (1 if far > near else -1)
        share = jnp.clip((self.p - a) / (b - a), 0, 1)
        weight = share * (1 + bend * (1 - share))
        # The root of it, but for the last part towards 0, where that would have no slope.
        root = weight / jnp.sqrt(weight + TINY)
        return jnp.arcsin(jnp.clip(root, 0, 1 - TINY))

    def _banded(self, y: Array) -> Array:
        """Bands with knobs of their own: gains on one side of a filter, which move slowly."""
        assert self.design.sections is not None
        parts = jnp.asarray(np.array(self.design.bands), y.dtype)
        v = jnp.stack([jnp.stack([u, u * u]) for u in self.bands]).astype(y.dtype)
        logs = self.p.astype(y.dtype) * jnp.einsum("bd,bdkn->kn", v, parts, precision="highest")
        return self.design.sections(y, jnp.expm1(logs))
