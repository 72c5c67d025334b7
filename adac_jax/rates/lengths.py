"""Lengths of delays in samples of another rate."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from math import gcd

from adac_jax.rates.change import Change

SHIFT = 1e-3
"""By which share of its length, at most, a line of a network is moved from where rounding puts it,
to keep the lengths coprime: 0.1 %, a hundredth of a semitone or so in a mode's frequency."""


def rounded(lengths: Sequence[int], change: Change) -> tuple[int, ...]:
    """Each length as many seconds as before, but for half a sample."""
    return tuple(change.samples(m) for m in lengths)


def coprime(lengths: Sequence[int], change: Change) -> tuple[int, ...]:
    """As `rounded`, but lengths that had no common factor in pairs have none again, where they can.

    At twice the rate all rounded lengths are even: the response has every other sample zero, and
    above the old Nyquist frequency a mirror image of what is below it. So of the lengths within
    `SHIFT` of what is wanted, the nearest is taken that has no factor in common with those chosen
    before, the shortest first; where there is none, the rounded one.
    """
    plain = rounded(lengths, change)
    if not all(gcd(a, b) == 1 for a, b in combinations(lengths, 2)):
        return plain
    chosen: dict[int, int] = {}
    for k in sorted(range(len(lengths)), key=lambda k: lengths[k]):
        wanted = lengths[k] * change.ratio
        reach = int(SHIFT * wanted)
        near = sorted(range(plain[k] - reach, plain[k] + reach + 1), key=lambda m: abs(m - wanted))
        free = (m for m in near if m > 1 and all(gcd(m, c) == 1 for c in chosen.values()))
        chosen[k] = next(free, plain[k])
    return tuple(chosen[k] for k in range(len(lengths)))
