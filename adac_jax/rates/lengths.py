"""Lengths of delays in samples of another rate."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from math import gcd, prod

from adac_jax.rates.change import Change

REACH = 1
"""By how many samples, at most, a line of a network is moved from where rounding puts it, to share
fewer factors with the others: further, and the waves of low modes would fall otherwise."""


def rounded(lengths: Sequence[int], change: Change) -> tuple[int, ...]:
    """Each length as many seconds as before, but for half a sample."""
    return tuple(change.samples(m) for m in lengths)


def coprime(lengths: Sequence[int], change: Change) -> tuple[int, ...]:
    """As `rounded`, but lengths that had no common factor in pairs have as few as can be again.

    At twice the rate all rounded lengths are even: the response has every other sample zero, and
    above the old Nyquist frequency a mirror image of what is below it. So of the lengths within
    `REACH` of the rounded one, that is taken which shares the smallest factors with those chosen
    before (none, mostly), and of these the nearest; the shortest lines choose first.
    """
    plain = rounded(lengths, change)
    if not all(gcd(a, b) == 1 for a, b in combinations(lengths, 2)):
        return plain
    chosen: dict[int, int] = {}
    for k in sorted(range(len(lengths)), key=lambda k: lengths[k]):
        wanted = lengths[k] * change.ratio
        near = range(max(1, plain[k] - REACH), plain[k] + REACH + 1)

        def cost(m: int, wanted: float = wanted) -> tuple[int, float]:
            return prod(gcd(m, c) for c in chosen.values()), abs(m - wanted)

        chosen[k] = min(near, key=cost)
    return tuple(chosen[k] for k in range(len(lengths)))
