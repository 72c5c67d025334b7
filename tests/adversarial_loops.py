"""Loops built to fool a proof of stability: about half stable, half not, many close to the border.

`make(name, seed)` gives one of a family, the same each time; `sample(count, seed)` names a mixture.
Each family is a function of random numbers in one of the files imported here.
"""

from __future__ import annotations

import zlib

import adversarial_controls  # noqa: F401
import adversarial_extremes  # noqa: F401
import adversarial_fuzz  # noqa: F401
import adversarial_linear  # noqa: F401
import adversarial_mixtures  # noqa: F401
import adversarial_motion  # noqa: F401
import adversarial_nonlinear  # noqa: F401
import adversarial_structures  # noqa: F401
import adversarial_switching  # noqa: F401
import adversarial_varying  # noqa: F401
import numpy as np
from adversarial_case import FAMILIES, WEIGHTS, Loop


def make(name: str, seed: int) -> Loop:
    """Loop number `seed` of a family."""
    return FAMILIES[name](np.random.default_rng([zlib.crc32(name.encode()), seed]))


def sample(count: int, seed: int = 0) -> list[tuple[str, int]]:
    """Families and numbers of at least `count` loops, by the families' weights."""
    total = sum(WEIGHTS.values())
    chosen = []
    for name, weight in WEIGHTS.items():
        many = -int(-count * weight // total)
        chosen += [(name, 1_000_000 * seed + n) for n in range(many)]
    return chosen
