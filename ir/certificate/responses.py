"""How loud a linear loop gets: absolute sums of its impulse responses, and what they leave out.

|w_a| ≤ Σ_j ‖h_aj‖₁ sup |u_j|, h_aj the response of what atom a returns to an impulse in channel j
of what enters the loop. The responses are computed for a while; everything that this leaves out is
itself something that enters the loop: what delays and filters still hold at the end, and what
rounding and the ranges of coefficients may have changed on the way. If no signal within ±1 at all
atoms at once takes w_a beyond W_a, then the absolute values of what such remainders make add up to
at most W_a times the largest of their own sums: a bound from theorems for energy, which is loose,
but of little.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import signal

from ir.certificate.rules import absolute
from ir.certificate.small_gain import UNIT
from ir.certificate.system import System

Mixes = tuple[np.ndarray, np.ndarray]
SHORTEST = 32
"""Samples between two feedbacks, at least: so many are computed at once."""
EFFORT = 4e7
"""Samples of filters and delays that are computed, at most."""
LEFT = 0.01
"""What may be left out, as a part of what was found."""


def affordable(system: System, sources: int, samples: float) -> bool:
    """Whether responses of some length are worth their time.

    Args:
        system: The loop.
        sources: How many channels enter it.
        samples: In which it fades by 60 dB.
    """
    known = {"delay", "sections", "rational", "taps"}
    if not system.linear or any(atom.kind not in known for atom in system.atoms):
        return False
    if not np.isfinite(samples) or not 0 < sources <= 16:
        return False
    return _block(system) >= SHORTEST and 2.5 * samples * sources * _work(system) <= EFFORT


def _block(system: System) -> int:
    """The shortest delay, by which feedback is late at least."""
    return min((atom.delay[0] for atom in system.atoms if atom.kind == "delay"), default=0)


def _work(system: System) -> float:
    return sum(
        1.0 if atom.filter is None else 2.0 * len(atom.filter[1]) + atom.filter[0].shape[1] / 8
        for atom in system.atoms
    )


def absolute_responses(
    system: System,
    enters: np.ndarray,
    unsure: np.ndarray,
    most: np.ndarray,
    samples: float,
    mixes: Mixes | None = None,
) -> tuple[np.ndarray, np.ndarray] | None:
    """‖h_aj‖₁ at most, (channels, atoms), and of mixes; None if they do not fade in time.

    Args:
        system: A linear loop that is proved stable.
        enters: What an impulse in channel j adds to what enters atom a: (channels, atoms).
        unsure: By how much that may be off.
        most: W.
        samples: In which the loop fades by 60 dB.
        mixes: C and R of sums of what atoms return, (mixes, atoms).
    """
    if not np.isfinite(most).all():
        return None
    n = len(system.atoms)
    mixes = (np.zeros((0, n)), np.zeros((0, n))) if mixes is None else mixes
    found, mixed = [], []
    for row, off in zip(enters, unsure, strict=True):
        if not row.any() and not off.any():
            found.append(np.zeros(n))
            mixed.append(np.zeros(len(mixes[0])))
            continue
        one = _Response(system, row, mixes).run(off, most, samples)
        if one is None:
            return None
        found.append(one[0])
        mixed.append(one[1])
    return np.stack(found), np.stack(mixed)


class _Response:
    def __init__(self, system: System, impulse: np.ndarray, mixes: Mixes) -> None:
        self.system, self.impulse, self.mixes = system, impulse, mixes
        self.mixed = np.zeros(len(mixes[0]))
        self.block = _block(system)
        self.delays = [a for a, atom in enumerate(system.atoms) if atom.kind == "delay"]
        self.order = self._filters()
        self.states = {a: [np.zeros(len(p) - 1) for p, _ in _pairs(system, a)] for a in self.order}
        n = len(system.atoms)
        self.total, self.heard = np.zeros(n), {}
        self.longest = max(system.atoms[a].delay[0] for a in self.delays)
        # What entered the delays, as long as the longest of them holds it.
        self.past = np.zeros((self.longest, n))

    def _filters(self) -> list[int]:
        """Filters, each after those that it hears at once."""
        rest = [a for a, atom in enumerate(self.system.atoms) if atom.kind != "delay"]
        found: list[int] = []
        while rest:
            ready = [a for a in rest if not self.system.size[a][rest].any()]
            if not ready:
                return []
            found += ready
            rest = [a for a in rest if a not in ready]
        return found

    def run(
        self, off: np.ndarray, most: np.ndarray, samples: float
    ) -> tuple[np.ndarray, np.ndarray] | None:
        if len(self.order) + len(self.delays) < len(self.system.atoms):
            return None
        C, n = self.system.C, len(self.system.atoms)
        blocks = int(4 * samples / self.block) + int(self.longest / self.block) + 4
        for block in range(blocks):
            w = np.zeros((self.block, n))
            for a in self.delays:
                start = self.longest - self.system.atoms[a].delay[0]
                w[:, a] = self.past[start : start + self.block, a]
            v = np.zeros((self.block, n))
            for a in self.order:
                v[:, a] = w @ C[a]
                if block == 0:
                    v[0, a] += self.impulse[a]
                w[:, a] = self._filtered(a, v[:, a])
            v[:, self.delays] = w @ C[self.delays].T
            if block == 0:
                v[0, self.delays] += self.impulse[self.delays]
            self.total += np.abs(w).sum(0)
            self.mixed += np.abs(w @ self.mixes[0].T).sum(0)
            self.past = np.concatenate([self.past[self.block :], v])
            if not np.isfinite(self.total).all():
                return None
            if block % 16 == 15 or block == blocks - 1:
                held = most * float(self._held().max())
                if (held <= LEFT * np.maximum(self.total, 0.1 * self.total.max())).all():
                    lost = most * float(self._changed(off).max())
                    return self._with(np.maximum(held, lost), self.block * blocks * UNIT)
        return None

    def _with(self, rest: np.ndarray, summed: float) -> tuple[np.ndarray, np.ndarray]:
        """What was found, and what was left out; `summed`: what rounding does to sums."""
        C, R = self.mixes
        rest = rest + summed * self.total
        rounding = R + 2 * (len(rest) + 4) * UNIT * np.abs(C)
        mixed = self.mixed * (1 + summed) + (np.abs(C) + R) @ rest + rounding @ self.total
        return (self.total + rest) * (1 + 1e-9), mixed * (1 + 1e-9)

    def _filtered(self, a: int, x: np.ndarray) -> np.ndarray:
        heard = self.heard.setdefault(a, [])
        for place, (b, c) in enumerate(_pairs(self.system, a)):
            entered = float(np.abs(x).sum())
            x, self.states[a][place] = signal.lfilter(b, c, x, zi=self.states[a][place])
            if len(heard) <= place:
                heard.append(np.zeros(2))
            heard[place] += entered, float(np.abs(x).sum())
        return x

    def _held(self) -> np.ndarray:
        """What atoms will still return, if nothing enters them."""
        found = np.zeros(len(self.system.atoms))
        for a in self.delays:
            found[a] = np.abs(self.past[-self.system.atoms[a].delay[0] :, a]).sum()
        for a in self.order:
            free = _free(self.system, a)
            found[a] = sum(
                float(np.abs(state).sum()) * f
                for state, f in zip(self.states[a], free, strict=True)
            )
        return found * (1 + 1e-9)

    def _changed(self, off: np.ndarray) -> np.ndarray:
        """What rounding, and the ranges of coefficients, may have changed on the way."""
        system, n = self.system, len(self.system.atoms)
        found = off + (system.R + 2 * (n + 4) * UNIT * np.abs(system.C)) @ self.total
        for a in self.order:
            free = _free(system, a)
            for (b, c), f, (x, y) in zip(_pairs(system, a), free, self.heard[a], strict=True):
                size = float(np.abs(b).sum()) * x + float(np.abs(c).sum()) * y
                found[a] += 32 * (len(b) + 4) * UNIT * size / abs(float(c[0])) * f
        return found * (1 + 1e-9)


def _pairs(system: System, a: int) -> Sequence[tuple[np.ndarray, np.ndarray]]:
    """Numerators and denominators of a filter, of equal lengths."""
    b, c = system.atoms[a].filter  # type: ignore[misc]
    terms = max(b.shape[1], c.shape[1])
    wide = [np.pad(part, [(0, 0), (0, terms - part.shape[1])]) for part in (b, c)]
    return list(zip(*wide, strict=True))


def _free(system: System, a: int) -> list[float]:
    """How much the absolute values of what stands in each section add up to at the end."""
    b, c = system.atoms[a].filter  # type: ignore[misc]
    kind = system.atoms[a].kind
    if kind == "taps":
        return [1.0]
    found, after = [], 1.0
    for place in reversed(range(len(b))):
        one = np.eye(1, c.shape[1]) * c[place, 0]
        found.append(sum(absolute(kind, one, c[place : place + 1])) * after)
        after *= sum(absolute(kind, b[place : place + 1], c[place : place + 1]))
    return found[::-1]
