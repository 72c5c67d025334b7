"""The exact test of a linear loop: how many poles lie outside the unit circle.

The poles are the zeros of F(z) = det(I - S(z)), S(z) = C diag(H_i(z)). F has no poles outside if
the filters have none, so the number of its zeros there is how often F winds round zero as z goes
round the unit circle (argument principle); where filters have poles outside, which the loop may
hold, those are added. The circle is cut into cells, each so short that F
cannot vanish in it nor turn by half a revolution: with X ≈ (I - S)^-1 at its middle,

    κ = ‖X (I - S) - I‖ + ‖X C diag(ρ)‖_F,

where ρ_i bounds how far H_i moves within the cell, is small enough. Cells that fail are halved. So
nothing between two frequencies is missed. The same on a smaller circle, |z| = r, bounds the decay,
and ‖(I - S)^-1‖ ≤ ‖X‖ / (1 - κ) on it bounds what comes out.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from scipy import linalg

from ir.certificate import filters
from ir.certificate.small_gain import balanced
from ir.certificate.system import System

CELLS = 512
NARROWEST = 1e-13
"""Half width, in radians, below which a cell is not halved: a pole is on the circle, or so near
that rounding cannot tell."""
EFFORT = 6e9
"""Products that the test may take, about."""
BATCH = 4096
"""Cells worked on at once."""


Factor = tuple[float, float, int, list[tuple[np.ndarray, np.ndarray]]]


class TooLargeError(Exception):
    """The test would take too long."""


@dataclass(frozen=True, slots=True)
class Pole:
    """A pole z: its modulus, if it was found and not only counted, and its angle."""

    modulus: float | None
    angle: float


@dataclass(frozen=True, slots=True)
class Result:
    """What the test found.

    Attributes:
        outside: Poles outside the unit circle; None where one lies too near to it to tell.
        radius: All poles lie within this, if none is outside.
        gain: ‖(I - S)^-1‖ at most, on and outside of |z| = radius, in the units of `scaling`.
        scaling: D.
        nearest: Angle, in radians a sample, at which the loop comes nearest to a pole.
    """

    outside: int | None
    radius: float
    gain: float
    scaling: np.ndarray
    nearest: float


class Loop:
    """Some lanes of a linear system that feed back, on the circle |z| = r."""

    def __init__(self, system: System, group: Sequence[int], radius: float = 1.0) -> None:
        self.lanes = [system.lanes[i] for i in group]
        self.system, self.group, self.radius = system, group, radius
        C, R = (part[np.ix_(group, group)] for part in system.joints())
        self.scaling = balanced(C)
        ratio = self.scaling[:, None] / self.scaling
        self.C, self.R = ratio * C, ratio * R + 1e-15 * np.abs(ratio * C)
        self.n = len(self.lanes)
        self.factors = [self._factor(lane) for lane in self.lanes]
        self.cascades = self._cascades()
        counts = [filters.poles_outside(a) for *_, parts in self.factors for _, a in parts]
        self.unstable = None if None in counts else sum(counts)  # type: ignore[arg-type]
        self.polynomials = sum(len(parts) for *_, parts in self.factors)

    def at_radius(self, radius: float) -> Loop:
        """The same loop on another circle."""
        return Loop(self.system, self.group, radius)

    def _factor(self, lane: Sequence[int]) -> Factor:
        """A lane as its gain, how far that may be off relatively, its delay and its filters."""
        gain, loose, delay, parts = 1.0, 0.0, 0, []
        for i, a in enumerate(lane):
            atom = self.system.atoms[a]
            if i:
                link = self.system.C[a, lane[i - 1]]
                gain *= link
                loose += self.system.R[a, lane[i - 1]] / max(abs(link), 1e-300) + 1e-15
            if atom.kind == "delay":
                delay += atom.delay[0]
            else:
                for b, d in zip(*atom.filter, strict=True):  # type: ignore[misc]
                    parts.append(
                        tuple(c * self.radius ** -np.arange(float(len(c))) for c in (b, d))
                    )
        with np.errstate(over="ignore"):
            gain *= np.exp(-delay * np.log(self.radius))
        return float(gain), float(loose), delay, parts

    def _cascades(self) -> filters.Cascades:
        """The lanes' second-order sections, and with them their gains."""
        lanes = []
        for gain, _, _, parts in self.factors:
            short = [
                filters.as_sections(b[None], a[None]) for b, a in parts if len(b) <= 3 >= len(a)
            ]
            scale = filters.IDENTITY * np.array([gain, 1, 1, 1, 1, 1])
            lanes.append(np.concatenate([scale[None], *short]))
        return filters.Cascades(filters.padded(lanes))

    def response(self, z: np.ndarray) -> np.ndarray:
        """H (points, lanes) at points z r."""
        found = []
        for gain, _, delay, parts in self.factors:
            value = gain * np.exp(-delay * np.log(z))
            for b, a in parts:
                value = value * _at(b, z) / _at(a, z)
            found.append(value)
        return np.stack(found, 1)

    def slope(self, z: np.ndarray) -> np.ndarray:
        """Z H' / H (points, lanes)."""
        found = []
        for _, _, delay, parts in self.factors:
            value = np.full(z.shape, -float(delay), complex)
            for b, a in parts:
                for c, sign in ((b, -1.0), (a, 1.0)):
                    value = value + sign * _at(c * np.arange(float(len(c))), z) / _at(c, z)
            found.append(value)
        return np.stack(found, 1)

    def enclosed(self, at: np.ndarray, half: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """H at the middles of cells, and how far it may move within them."""
        z = np.exp(1j * at)
        values, radii = [], []
        for gain, loose, delay, parts in self.factors:
            value = gain * np.exp(-1j * _reduced(delay, at))
            turned = 2 * np.sin(np.minimum(delay * half, np.pi) / 2)
            radius = abs(gain) * (turned + 1e-15 + loose)
            for b, a in parts:
                ratio, spread = _ratio(b, a, z, half)
                with np.errstate(invalid="ignore"):
                    radius = np.abs(value) * spread + np.abs(ratio) * radius + spread * radius
                    value = value * ratio
            values.append(value)
            radii.append(radius)
        return np.stack(values, 1), np.stack(radii, 1)

    def contraction(self, low: np.ndarray, up: np.ndarray) -> np.ndarray:
        """A bound on ‖S‖ in each cell, whatever the phases of the delays."""
        largest = self.cascades.most(low, up)
        at, half = 0.5 * (low + up), 0.5 * (up - low)
        for i, (_, loose, _, parts) in enumerate(self.factors):
            largest[:, i] *= 1 + loose
            for b, a in parts:
                if len(b) > 3 or len(a) > 3:
                    ratio, spread = _ratio(b, a, np.exp(1j * at), half)
                    largest[:, i] *= np.abs(ratio) + spread
        bad = ~np.isfinite(largest).all(1)
        largest[bad] = 0
        found = np.empty(len(at))
        step = max(1, 4_000_000 // self.n**2)
        for start in range(0, len(at), step):
            part = largest[start : start + step]
            S = self.C * part[:, None, :]
            size = np.linalg.svd(S, compute_uv=False)[:, 0]
            with np.errstate(over="ignore"):
                loose = np.sqrt(((self.R * part[:, None, :]) ** 2).sum((1, 2)))
            found[start : start + step] = size * (1 + 1e-13 * self.n) + loose
        found[bad] = np.inf
        return found

    def determinant(self, z: np.ndarray) -> Any:
        """The complex logarithm of F, up to 2πj."""
        G = np.eye(self.n) - self.C * self.response(z)[:, None, :]
        sign, size = np.linalg.slogdet(G)
        return np.log(sign) + size

    def cost(self, cells: int) -> float:
        """Products that so many cells take."""
        return cells * (8.0 * self.n**3 + 40.0 * self.polynomials + 2000.0)


def _at(c: np.ndarray, z: np.ndarray) -> np.ndarray:
    return np.polynomial.polynomial.polyval(1 / z, c)


def _reduced(delay: int, at: np.ndarray) -> np.ndarray:
    """Delay · at, modulo 2π where the machine has more digits."""
    return np.mod(np.longdouble(delay) * at.astype(np.longdouble), 2 * np.longdouble(np.pi)).astype(
        float
    )


def _cell(c: np.ndarray, z: np.ndarray, half: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Σ c_k z^-k at z, and how far it moves within ± half radians."""
    k = np.arange(float(len(c)))
    value = _at(c, z)
    if len(c) == 1:
        return value, np.zeros_like(half)
    first, second = np.abs(_at(c * k, z)), np.abs(_at(c * k**2, z))
    third = float((np.abs(c) * k**3).sum())
    rounding = 4e-16 * (len(c) + 2) * float(np.abs(c).sum())
    return value, half * first + half**2 / 2 * second + half**3 / 6 * third + rounding


def _ratio(
    b: np.ndarray, a: np.ndarray, z: np.ndarray, half: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """B / A at z, and how far it moves within ± half radians."""
    top, top_r = _cell(b, z, half)
    bottom, bottom_r = _cell(a, z, half)
    left = np.abs(bottom) - bottom_r
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = top / bottom
        return ratio, np.where(left > 0, (top_r + np.abs(ratio) * bottom_r) / left, np.inf)


@dataclass(frozen=True, slots=True)
class _Cells:
    """Cells in order, with what was found of each: ‖S‖, or the argument of F and ‖X‖."""

    at: np.ndarray
    half: np.ndarray
    found: np.ndarray
    size: np.ndarray


def examine(loop: Loop, effort: float = EFFORT) -> Result:
    """Counts the poles outside the unit circle, and bounds the decay if there are none.

    Raises:
        TooLargeError: it would take more than `effort` products.
    """
    first = _count(loop, effort)
    if first.outside != 0:
        return first
    for radius in _circles(loop, first):
        inner = loop.at_radius(radius)
        if inner.unstable is None:
            continue
        try:
            found = _count(inner, effort / 4)
        except TooLargeError:
            continue
        if found.outside == 0:
            return replace(found, radius=radius)
    return first


def _circles(loop: Loop, first: Result) -> Iterator[float]:
    """Circles within which all poles may lie, the smallest first."""
    angles = np.concatenate([np.linspace(0, np.pi, 1025), [first.nearest]])
    points = np.exp(1j * angles)
    S = loop.C * loop.response(points)[:, None, :]
    least = np.linalg.svd(np.eye(loop.n) - S, compute_uv=False)[:, -1]
    found = [_newton(loop, points[i]) for i in [len(angles) - 1, *np.argsort(least)[:12]]]
    moduli = [abs(z) for z in found if z is not None and abs(z) < 1]
    if moduli:
        rate = -float(np.log(max(moduli)))
        yield from (float(np.exp(-rate * factor)) for factor in (0.9, 0.6, 0.3))
    # A pole changes F by less than its distance times the steepest of all phases.
    with np.errstate(all="ignore"):
        steep = float(np.nanmax(np.abs(loop.slope(points)))) + 1.0
    rate = 0.5 / steep / first.gain
    for factor in (16.0, 4.0, 1.0, 0.25, 0.03, 1e-3, 1e-5, 1e-7):
        radius = float(np.exp(-rate * factor))
        if radius < 1:
            yield radius


def _count(loop: Loop, effort: float) -> Result:
    """Counts the poles outside the loop's circle.

    Where ‖S‖ < 1 nothing has to be followed: every eigenvalue of I - S has a positive real part, so
    the argument of F is the sum of theirs, and does not wind. Only the rest of the circle is cut
    into cells that are shorter than the delays.
    """
    calm, (low, up) = _calm_cells(loop, effort)
    fine = _fine_cells(loop, low, up, effort)
    if not isinstance(fine, _Cells):
        return Result(None, 1.0, np.inf, loop.scaling, fine)
    zeros, where = _winding(loop, calm, fine)
    # F has as many more zeros outside than its argument shows as it has poles there.
    outside = zeros + (loop.unstable or 0)
    gains = np.concatenate([calm.size, fine.size])
    if where is None:
        where = float(np.concatenate([calm.at, fine.at])[np.argmax(gains)])
    gain = float(gains.max(initial=1.0))
    return Result(outside, 1.0, gain, loop.scaling, where)


def _calm_cells(loop: Loop, effort: float) -> tuple[_Cells, tuple[np.ndarray, np.ndarray]]:
    """Cells with ‖S‖ < 1, and the ends of those where that could not be shown."""
    delays = sum(delay for _, _, delay, _ in loop.factors)
    shortest = min(0.25 / (delays + 1), np.pi / CELLS / 2)
    low = np.pi * np.arange(CELLS) / CELLS
    up = low + np.pi / CELLS
    done, wild = [], []
    spent = 0.0
    while len(low):
        spent += loop.cost(len(low))
        if spent > effort / 4:
            wild.append((low, up))
            break
        at, half = 0.5 * (low + up), 0.5 * (up - low)
        size = loop.contraction(low, up)
        # Hopeless, or as short as the cells of the second kind will be at least.
        good = size < 1
        over = ~good & ((half < shortest) | (loop.contraction(at, at) >= 1))
        done.append((at[good], half[good], size[good]))
        wild.append((low[over], up[over]))
        rest = ~good & ~over
        middle, (low, up) = at[rest], (low[rest], up[rest])
        low, up = np.concatenate([low, middle]), np.concatenate([middle, up])
    at, half, size = (np.concatenate(parts) for parts in zip(*done, strict=True))
    rank = np.argsort(at)
    cells = _Cells(at[rank], half[rank], size[rank], 1 / (1 - size[rank]))
    low, up = (np.concatenate(parts) for parts in zip(*wild, strict=True))
    return cells, (low, up)


def _fine_cells(loop: Loop, low: np.ndarray, up: np.ndarray, effort: float) -> _Cells | float:
    """Cells in which F cannot vanish nor turn far; or an angle at which that cannot be shown."""
    limit = float(np.sin(min(1.54 / np.sqrt(loop.n), 1.12)))
    done: list[tuple[np.ndarray, ...]] = [(np.zeros(0),) * 4]
    spent = 0.0
    while len(low):
        spent += loop.cost(len(low))
        if spent > effort:
            raise TooLargeError
        at, half = 0.5 * (low + up), 0.5 * (up - low)
        kappa, phase, size = _looked_at(loop, at, half)
        good = kappa <= limit
        done.append((at[good], half[good], phase[good], size[good]))
        bad = ~good
        if (half[bad] < NARROWEST).any():
            return float(at[bad][half[bad] < NARROWEST][0])
        middle, (low, up) = at[bad], (low[bad], up[bad])
        low, up = np.concatenate([low, middle]), np.concatenate([middle, up])
    at, half, phase, size = (np.concatenate(parts) for parts in zip(*done, strict=True))
    rank = np.argsort(at)
    return _Cells(at[rank], half[rank], phase[rank], size[rank])


def _winding(loop: Loop, calm: _Cells, fine: _Cells) -> tuple[int, float | None]:
    """Zeros of F outside the circle: by how many half turns its argument falls from 0 to π.

    Also the angle of the middle of the cells in which it falls most.
    """
    turned, most, where = 0.0, 0.0, None
    for first, last in _runs(calm):
        ends = np.array([calm.at[first] - calm.half[first], calm.at[last] + calm.half[last]])
        S = loop.C * loop.response(np.exp(1j * ends))[:, None, :]
        arguments = np.angle(1 - np.linalg.eigvals(S)).sum(1)
        turned += float(arguments[1] - arguments[0])
    for first, last in _runs(fine):
        ends = np.array([fine.at[first] - fine.half[first], fine.at[last] + fine.half[last]])
        outer = loop.determinant(np.exp(1j * ends)).imag
        phases = np.concatenate([outer[:1], fine.found[first : last + 1], outer[1:]])
        here = float((np.mod(np.diff(phases) + np.pi, 2 * np.pi) - np.pi).sum())
        turned += here
        if here < most:
            most, where = here, float(ends.mean())
    outside = round(-turned / np.pi)
    return outside, where if outside else None


def _runs(cells: _Cells) -> Iterator[tuple[int, int]]:
    """First and last position of cells that touch."""
    if not len(cells.at):
        return
    gaps = np.flatnonzero(
        cells.at[1:] - cells.half[1:] > cells.at[:-1] + cells.half[:-1] + 1e-3 * cells.half[1:]
    )
    starts = [0, *(gaps + 1).tolist()]
    yield from zip(starts, [*gaps.tolist(), len(cells.at) - 1], strict=True)


def _looked_at(
    loop: Loop, at: np.ndarray, half: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """κ, the argument of F, and a bound on ‖(I - S)^-1‖ in each cell."""
    found = [(np.zeros(0),) * 3]
    step = max(1, int(BATCH * 256 / max(loop.n**2, 256)))
    for start in range(0, len(at), step):
        part = slice(start, start + step)
        H, rho = loop.enclosed(at[part], half[part])
        G = np.eye(loop.n) - loop.C * H[:, None, :]
        try:
            X = np.linalg.inv(G)
        except np.linalg.LinAlgError:
            X = np.linalg.pinv(G)
        rest = X @ G - np.eye(loop.n)
        moved = (X @ loop.C) * rho[:, None, :]
        with np.errstate(invalid="ignore", over="ignore"):
            size = np.sqrt((np.abs(X) ** 2).sum((1, 2)))
            loose = size * np.sqrt(((loop.R * np.abs(H)[:, None, :]) ** 2).sum((1, 2)))
            kappa = loose + _frobenius(rest) + _frobenius(moved)
        kappa = np.where(np.isfinite(kappa), kappa, np.inf)
        sign, _ = np.linalg.slogdet(G)
        found.append((kappa, np.angle(sign), size / np.maximum(1 - kappa, 1e-9)))
    return tuple(np.concatenate(parts) for parts in zip(*found, strict=True))  # type: ignore


def _frobenius(A: np.ndarray) -> np.ndarray:
    return np.sqrt((np.abs(A) ** 2).sum((1, 2)))


def outside_pole(loop: Loop, angles: np.ndarray, tries: int = 48) -> Pole | None:
    """Looks for a pole outside the unit circle, by Newton's method from where F is small.

    A pole that is found is proved by how often F winds round zero on a small circle about it.

    Args:
        loop: The loop.
        angles: Where to look, in radians a sample.
        tries: From how many of these to start.
    """
    angles = angles[loop.contraction(angles, angles) >= 1 - 1e-9]
    if not len(angles):
        return None
    S = loop.C * loop.response(np.exp(1j * angles))[:, None, :]
    gain = np.linalg.svd(S, compute_uv=False)[:, 0]
    least = np.linalg.svd(np.eye(loop.n) - S, compute_uv=False)[:, -1]
    starts = [*np.argsort(least)[: tries // 2], *np.argsort(-gain)[: tries // 2]]
    best: Pole | None = None
    begun = [(start, 1e-9) for start in dict.fromkeys(starts)]
    begun += [(start, away) for start in starts[:8] for away in (1e-5, 1e-4, 1e-3)]
    for start, away in begun:
        for method in (_newton, _by_eigenvalue):
            z = method(loop, np.exp(1j * angles[start]) * (1 + away))
            if z is None or abs(z) <= 1 + 1e-12 or (best and abs(z) <= (best.modulus or 0)):
                continue
            if _encircled(loop, z):
                best = Pole(float(abs(z)), float(abs(np.angle(z))))
    return best


def _newton(loop: Loop, z: Any) -> complex | None:
    """A zero of F: z is corrected by F / F' = -1 / tr((I - S)^-1 S')."""
    for _ in range(80):
        at = np.array([z])
        with np.errstate(all="ignore"):
            S = loop.C * loop.response(at)[0]
            moved = S * loop.slope(at)[0]
        if not np.isfinite(moved).all():
            return None
        try:
            slope = -np.trace(np.linalg.solve(np.eye(loop.n) - S, moved))
        except np.linalg.LinAlgError:
            return z
        if slope == 0:
            return None
        with np.errstate(over="ignore", invalid="ignore"):
            step = 1 / slope  # of log z
            step *= min(1.0, 0.05 / abs(step))
        z = z * np.exp(-step)
        if not 0.5 < abs(z) < 4:
            return None
        if abs(step) < 1e-15:
            break
    return z


def _by_eigenvalue(loop: Loop, z: Any) -> complex | None:
    """A z at which S has the eigenvalue λ = 1: Newton's method on 1 / λ - 1.

    That is smooth where many filters have the same pole nearby, beside which F is of no use.
    """
    for _ in range(60):
        at = np.array([z])
        with np.errstate(all="ignore"):
            S = loop.C * loop.response(at)[0]
            moved = S * loop.slope(at)[0]
        if not (np.isfinite(S).all() and np.isfinite(moved).all()):
            return None
        try:
            found: Any = linalg.eig(S, left=True)
        except (linalg.LinAlgError, ValueError):
            return None
        values, left, right = found
        with np.errstate(all="ignore"):
            k = int(np.argmin(np.abs(1 / values - 1)))
            x, y = right[:, k], left[:, k].conj()
            slope = (y @ moved @ x) / (y @ x)
            step = (values[k] - values[k] ** 2) / slope
        if not np.isfinite(step):
            return None
        step *= min(1.0, 0.02 / max(abs(step), 1e-300))
        z = z * np.exp(step)
        if not 0.5 < abs(z) < 4:
            return None
        if abs(step) < 1e-15:
            break
    return complex(z)


def _encircled(loop: Loop, z: complex) -> bool:
    radius = 0.5 * (abs(z) - 1)
    circle = z + radius * np.exp(2j * np.pi * np.arange(257) / 256)
    steps = np.diff(loop.determinant(circle).imag)
    turned = (np.mod(steps + np.pi, 2 * np.pi) - np.pi).sum() / (2 * np.pi)
    return round(float(turned)) >= 1


__all__ = ["Loop", "Pole", "Result", "TooLargeError", "examine", "outside_pole"]
