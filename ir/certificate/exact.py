"""The exact test of a linear loop: how many poles lie outside the unit circle.

The poles are the zeros of F(z) = det(I - S(z)), S(z) = C diag(H_i(z)). F has no poles outside if
the filters have none, so the number of its zeros there is how often F winds round zero as z goes
round the unit circle (argument principle). The circle is cut into cells, each so short that F
cannot vanish in it nor turn by half a revolution: with X ≈ (I - S)^-1 at its middle,

    κ = ‖X (I - S) - I‖ + ‖X C diag(ρ)‖_F,

where ρ_i bounds how far H_i moves within the cell, is small enough. Cells that fail are halved. So
nothing between two frequencies is missed. A cell may be thick as well: if κ stays below one down to
|z| = r, no pole lies between, which bounds the decay; and ‖(I - S)^-1‖ ≤ ‖X‖ / (1 - κ) bounds what
comes out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ir.certificate.small_gain import balanced
from ir.certificate.system import System

CELLS = 512
NARROWEST = 1e-13
"""Half width, in radians, below which a cell is not halved: a pole is on the circle, or so near
that rounding cannot tell."""
EFFORT = 6e9
"""Products that the test may take, about."""
SECONDS_OF = 4096
"""Cells worked on at once."""


Factor = tuple[float, float, int, list[tuple[np.ndarray, np.ndarray]]]


class TooLargeError(Exception):
    """The test would take too long."""


@dataclass(frozen=True, slots=True)
class Pole:
    """A pole z: its modulus and angle."""

    modulus: float
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
    """Some lanes of a linear system that feed back."""

    def __init__(self, system: System, group: Sequence[int]) -> None:
        self.lanes = [system.lanes[i] for i in group]
        self.system = system
        C, R = (part[np.ix_(group, group)] for part in system.joints())
        self.scaling = balanced(C)
        ratio = self.scaling[:, None] / self.scaling
        self.C, self.R = ratio * C, ratio * R + 1e-15 * np.abs(ratio * C)
        self.n = len(self.lanes)
        self.factors = [self._factor(lane) for lane in self.lanes]
        self.polynomials = sum(len(parts) for *_, parts in self.factors)

    def _factor(
        self, lane: Sequence[int]
    ) -> tuple[float, int, list[tuple[np.ndarray, np.ndarray]]]:
        """A lane as its gain, its delay and its filters."""
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
                b, d = atom.filter  # type: ignore[misc]
                parts.extend(zip(b, d, strict=True))
        return float(gain), float(loose), delay, parts

    def response(self, z: np.ndarray) -> np.ndarray:
        """H (points, lanes) at points z."""
        found = []
        for gain, _, delay, parts in self.factors:
            value = gain * np.exp(-delay * np.log(z))
            for b, a in parts:
                value = value * _at(b, z) / _at(a, z)
            found.append(value)
        return np.stack(found, 1)

    def enclosed(
        self, at: np.ndarray, half: np.ndarray, thick: float
    ) -> tuple[np.ndarray, np.ndarray]:
        """H at the middles, and how far it may move within cells that wide and thick."""
        z = np.exp(1j * at)
        values, radii = [], []
        for gain, loose, delay, parts in self.factors:
            value = gain * np.exp(-1j * _reduced(delay, at))
            grown = np.exp(delay * thick)
            turned = 2 * np.sin(np.minimum(delay * half, np.pi) / 2)
            radius = abs(gain) * (grown * turned + (grown - 1) + 1e-15 + loose)
            for b, a in parts:
                top, top_r = _cell(b, z, half, thick)
                bottom, bottom_r = _cell(a, z, half, thick)
                size = np.abs(bottom)
                left = size - bottom_r
                with np.errstate(divide="ignore", invalid="ignore"):
                    ratio = top / bottom
                    spread = np.where(left > 0, (top_r + np.abs(ratio) * bottom_r) / left, np.inf)
                radius = np.abs(value) * spread + np.abs(ratio) * radius + spread * radius
                value = value * ratio
            values.append(value)
            radii.append(radius)
        return np.stack(values, 1), np.stack(radii, 1)

    def determinant(self, z: np.ndarray) -> np.ndarray:
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


def _cell(
    c: np.ndarray, z: np.ndarray, half: np.ndarray, thick: float
) -> tuple[np.ndarray, np.ndarray]:
    """Σ c_k z^-k at z, and how far it moves for z e^s, |s| ≤ √(half² + thick²)."""
    k = np.arange(float(len(c)))
    value = _at(c, z)
    if len(c) == 1:
        return value, np.zeros_like(half)
    far = np.hypot(half, thick)
    grown = np.exp(k * thick)
    first = np.abs(_at(c * k, z))
    second = np.abs(_at(c * k**2, z))
    third = float((np.abs(c) * k**3 * grown).sum())
    rounding = 4e-16 * (len(c) + 2) * float(np.abs(c).sum())
    return value, far * first + far**2 / 2 * second + far**3 / 6 * third + rounding


def examine(loop: Loop, effort: float = EFFORT) -> Result:
    """Counts the poles outside the unit circle.

    Raises:
        TooLargeError: it would take more than `effort` products.
    """
    limit = float(np.sin(min(1.54 / np.sqrt(loop.n), 1.12)))
    low = np.pi * np.arange(CELLS) / CELLS
    up = low + np.pi / CELLS
    done: list[tuple[np.ndarray, ...]] = []
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
            narrow = at[bad][half[bad] < NARROWEST]
            return Result(None, 1.0, np.inf, loop.scaling, float(narrow[0]))
        middle, (low, up) = at[bad], (low[bad], up[bad])
        low, up = np.concatenate([low, middle]), np.concatenate([middle, up])
    at, half, phase, size = (np.concatenate(parts) for parts in zip(*done, strict=True))
    rank = np.argsort(at)
    at, half, phase, size = at[rank], half[rank], phase[rank], size[rank]
    ends = loop.determinant(np.array([1.0 + 0j, -1.0 + 0j])).imag
    steps = np.diff(np.concatenate([ends[:1], phase, ends[1:]]))
    turned = float((np.mod(steps + np.pi, 2 * np.pi) - np.pi).sum())
    outside = round(-turned / np.pi)
    nearest = float(at[np.argmax(size)])
    if outside != 0:
        return Result(outside, 1.0, np.inf, loop.scaling, nearest)
    radius, gain = _annulus(loop, at, half, size)
    return Result(0, radius, gain, loop.scaling, nearest)


def _looked_at(
    loop: Loop, at: np.ndarray, half: np.ndarray, thick: float = 0.0
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """κ, the argument of F, and ‖X‖ of each cell."""
    found = []
    step = max(1, int(SECONDS_OF * 256 / max(loop.n**2, 256)))
    for start in range(0, len(at), step):
        part = slice(start, start + step)
        H, rho = loop.enclosed(at[part], half[part], thick)
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
        found.append((kappa, np.angle(sign), size))
    return tuple(np.concatenate(parts) for parts in zip(*found, strict=True))  # type: ignore


def _frobenius(A: np.ndarray) -> np.ndarray:
    return np.sqrt((np.abs(A) ** 2).sum((1, 2)))


def _annulus(loop: Loop, at: np.ndarray, half: np.ndarray, size: np.ndarray) -> tuple[float, float]:
    """How far inside the circle no pole lies, and the gain there."""
    delays = np.array([delay for _, _, delay, _ in loop.factors], float) + 1.0
    thick = 0.5 / float(delays.max()) / max(float(size.max()), 1.0)
    for _ in range(40):
        kappa, _, norm = _looked_at(loop, at, half, thick)
        if (kappa < 0.9).all():
            return float(np.exp(-thick)), float((norm / (1 - kappa)).max())
        thick /= 2
    return 1.0, np.inf


def outside_pole(loop: Loop, angles: np.ndarray, tries: int = 24) -> Pole | None:
    """Looks for a pole outside the unit circle, by Newton's method from where F is small.

    A pole that is found is proved by how often F winds round zero on a small circle about it.

    Args:
        loop: The loop.
        angles: Where to look, in radians a sample.
        tries: From how many of these to start.
    """
    if not len(angles):
        return None
    G = np.eye(loop.n) - loop.C * loop.response(np.exp(1j * angles))[:, None, :]
    least = np.linalg.svd(G, compute_uv=False)[:, -1]
    best: Pole | None = None
    for start in np.argsort(least)[:tries]:
        z = _newton(loop, np.exp(1j * angles[start]) * (1 + 1e-9))
        if z is None or abs(z) <= 1 + 1e-12 or (best and abs(z) <= best.modulus):
            continue
        if _encircled(loop, z):
            best = Pole(float(abs(z)), float(abs(np.angle(z))))
    return best


def _newton(loop: Loop, z: complex) -> complex | None:
    for _ in range(60):
        points = np.array([z, z * (1 + 1e-7)])
        with np.errstate(all="ignore"):
            one, two = loop.determinant(points)
        change = two - one
        change = complex(change.real, (change.imag + np.pi) % (2 * np.pi) - np.pi)
        slope = change / (z * 1e-7)
        if not np.isfinite(abs(slope)) or slope == 0:
            return None
        step = 1 / slope
        step *= min(1.0, 0.05 / max(abs(step), 1e-300))
        z = z - step
        if not 0.5 < abs(z) < 4:
            return None
        if abs(step) < 1e-15:
            break
    return z


def _encircled(loop: Loop, z: complex) -> bool:
    radius = 0.5 * (abs(z) - 1)
    circle = z + radius * np.exp(2j * np.pi * np.arange(257) / 256)
    steps = np.diff(loop.determinant(circle).imag)
    turned = (np.mod(steps + np.pi, 2 * np.pi) - np.pi).sum() / (2 * np.pi)
    return round(float(turned)) >= 1


__all__ = ["Loop", "Pole", "Result", "TooLargeError", "examine", "outside_pole"]
