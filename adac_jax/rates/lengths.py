"""Lengths of delays in samples of another rate."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from math import gcd, prod

from adac_jax.rates.change import Change

SHIFT = 2e-3
"""By which share of its length, at most, a line of a network is moved from where rounding puts it,
to keep the lengths coprime (a sample at least): 0.2 %, 3.5 cents of a mode's frequency."""


def rounded(lengths: Sequence[int], change: Change) -> tuple[int, ...]:
    """Each length as many seconds as before, but for half a sample."""
    return tuple(change.samples(m) for m in lengths)


def coprime(lengths: Sequence[int], change: Change) -> tuple[int, ...]:
    """As `rounded`, but lengths that had no common factor in pairs have as few as can be again.

    At twice the rate all rounded lengths are even: the response has every other sample zero, and
    above the old Nyquist frequency a mirror image of what is below it. So of the lengths within
    `SHIFT` of what is wanted, that is taken which shares the smallest factors with those chosen
    before (none, mostly), and of these the nearest; the shortest lines choose first.
    """
    plain = rounded(lengths, change)
    if not all(gcd(a, b) == 1 for a, b in combinations(lengths, 2)):
        return plain
    chosen: dict[int, int] = {}
    for k in sorted(range(len(lengths)), key=lambda k: lengths[k]):
        wanted = lengths[k] * change.ratio
        reach = max(1, int(SHIFT * wanted))
        near = range(max(1, plain[k] - reach), plain[k] + reach + 1)

        def cost(m: int, wanted: float = wanted) -> tuple[int, float]:
            return prod(gcd(m, c) for c in chosen.values()), abs(m - wanted)

        chosen[k] = min(near, key=cost)
    return tuple(chosen[k] for k in range(len(lengths)))
